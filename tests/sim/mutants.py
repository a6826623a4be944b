#!/usr/bin/env python3
"""Shows that the simulator sees what it must see: breaks a copy of the tree in one place at a time and looks for the seed that tells.

    mutants.py [--runs N] [--only WORD]

Each mutant is a defect that such code really has had. One that survives N runs
is a hole in the oracle. Prints 'N mutants, N caught' and, for the test driver,
'N passed, N failed'.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

# name, file, what stands there, what the mutant has instead
MUTANTS = [
    ("a request is sent again after a part of it was sent", "src/gate/exchange.c",
     "    if (exchange_sent(x)) {\n        return end_here(x, REASON_WRITE_FAILED",
     "    if (false) {\n        return end_here(x, REASON_WRITE_FAILED"),
    ("a write that took a byte and failed counts as not sent", "src/gate/forward.c",
     "    if (wrote.sent) {", "    if (wrote.sent && wrote.err == ERR_OK) {"),
    ("the outcome of what was sent is not_sent", "src/gate/exchange_end.c",
     "    return OUTCOME_UNKNOWN;\n", "    return OUTCOME_NOT_SENT;\n"),
    ("a streamed request that broke is told that a retry is safe", "src/gate/reply.c",
     "        .sent = exchange_sent(x),", "        .sent = false,"),
    ("an answer that overtook its request leaves the link in use", "src/upstream/call.c",
     "    if (!call->request_done || stream_queued_bytes(call->link->stream) > 0) {", "    if (!call->request_done) {"),
    ("a link with bytes behind its answer is reused", "src/upstream/call.c",
     "    if (rest.len > 0 || !http_message_head(call->message)->keep_alive) {",
     "    if (!http_message_head(call->message)->keep_alive) {"),
    ("a spoilt link is reused", "src/upstream/link.c",
     "    if (link->spoilt) {", "    if (link->spoilt && link->calls_count == 0) {"),
    ("a POST goes out on an old link", "src/upstream/link.c",
     "(!safe && now_us - link->idle_since_us > LINK_YOUNG_US)", "(!safe && now_us < link->idle_since_us)"),
    ("the queue has no bound", "src/upstream/call.c",
     "    if (processor->queue_count >= processor->settings.queue) {", "    if (processor->queue_count >= 1000) {"),
    ("links have no bound", "src/upstream/processor.c",
     "    return open < endpoint->processor->settings.connections;", "    return open < 1000;"),
    ("per_address has no effect", "src/gate/listener.c",
     "    if (count >= listener->conf->per_address) {", "    if (count >= 1000) {"),
    ("an end after a whole request is leaving", "src/gate/client.c",
     "\"the client reset the connection\");\n        return;\n    }\n",
     "\"the client reset the connection\");\n        return;\n    }\n    if (client->state == CLIENT_BUSY) {\n"
     "        client_lose(client, false, \"the client ended\");\n        return;\n    }\n"),
    ("a client that leaves after the first byte out cancels", "src/gate/exchange_events.c",
     "    if (!exchange_sent(x) || !x->request_whole) {", "    if (!exchange_sent(x) || x->request_whole) {"),
    ("a request goes out before its body is whole", "src/gate/exchange.c",
     "    if (!x->request_whole) {\n        set_deadline", "    if (!x->request_whole && x->body.len == 0) {\n        set_deadline"),
    ("a client is answered twice", "src/gate/exchange_end.c",
     "    if (!x->answer_begun && reason != REASON_OK) {", "    if (reason != REASON_OK) {"),
    ("a cut answer looks whole", "src/gate/client_http1.c",
     "    if (client->chunked && end) {", "    if (client->chunked) {"),
    ("a lingering client loses the end of its answer", "src/gate/client.c",
     "client->state != CLIENT_LINGER || stream_queued_bytes(client->face.stream) > 0", "client->state != CLIENT_LINGER"),
    ("a slow client is never written to again", "src/gate/exchange_events.c",
     "        x->answer_paused = false;\n        call_resume(&x->call);", "        call_resume(&x->call);"),
    ("an answer stands still for ever", "src/gate/exchange_events.c",
     "        x->answer_paused = false;\n        call_resume(&x->call);", "        x->answer_paused = false;"),
    ("a drain leaves idle clients alone", "src/gate/client.c",
     "        if (client->state == CLIENT_IDLE && client_pending_bytes(client) == 0) {\n            client_linger",
     "        if (client->state == CLIENT_IDLE && client_pending_bytes(client) > 0) {\n            client_linger"),
    ("a reload that was refused moves a processor", "src/upstream/processor.c",
     "    settings_free(&processor->next); /* of a generation that never came into use */\n    if (!settings_read(&processor->next, conf, tls)) {\n        processor_release(processor);\n        return NULL;\n    }\n",
     "    settings_free(&processor->next); /* of a generation that never came into use */\n    if (!settings_read(&processor->next, conf, tls)) {\n        processor_release(processor);\n        return NULL;\n    }\n    processor_use(processor, conf);\n"),
    ("two listeners share one maximum and do not know it", "src/gate/listener.c",
     "           listener->gate->clients_count >= listener->gate->options.clients_max;", "           false;"),
]


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def copy_tree(to):
    skipped = shutil.ignore_patterns("build", "build-*", ".git", "node_modules", "__pycache__")
    shutil.copytree(ROOT, to, ignore=skipped, dirs_exist_ok=True)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)


def build(tree):
    return run(["cmake", "--build", os.path.join(tree, "out"), "--target", "weir-sim"])


def simulate(tree, runs):
    try:
        return run([os.path.join(tree, "out", "tests", "sim", "weir-sim"), "--seed", "1", "--runs", str(runs)], timeout=300)
    except subprocess.TimeoutExpired:
        return None


def words_of(told):
    """(the seed that failed, what was said of it)"""
    if told is None:
        return "?", "it never ended"
    seed = re.search(r"^seed (\d+) failed", told.stdout, re.M)
    why = re.search(r"^(?:violated: (.*)|.*(CHECK.*|check failed.*|ERROR: .*|runtime error: .*))$", told.stdout, re.M)
    words = next((group for group in why.groups() if group), "") if why else told.stdout.strip().split("\n")[0]
    return seed.group(1) if seed else "?", words[:110]


def try_mutant(tree, mutant, runs):
    """True: caught."""
    name, path, old, new = mutant
    at = os.path.join(tree, path)
    original = text_of(at)
    if original.count(old) != 1:
        print(f"  stale   {name}: {path} has the place {original.count(old)} times")
        return False
    write(at, original.replace(old, new))
    try:
        built = build(tree)
        if built.returncode != 0:
            print(f"  broken  {name}: does not compile\n{built.stdout[-1500:]}")
            return False
        told = simulate(tree, runs)
        if told is not None and told.returncode == 0:
            print(f"  MISSED  {name}")
            return False
        seed, words = words_of(told)
        print(f"  caught  {name}: seed {seed}, {words}")
        return True
    finally:
        write(at, original)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3000, help="seeds that a mutant gets")
    parser.add_argument("--only", default="", help="mutants whose name has this word")
    wishes = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if wishes.only in mutant[0]]
    with tempfile.TemporaryDirectory(prefix="weir-mutants-") as tree:
        copy_tree(tree)
        flags = os.path.join(tree, "cmake", "flags.cmake")
        write(flags, text_of(flags).replace(" -Werror\n", "\n"))  # a mutant need not be tidy
        configured = run(["cmake", "-S", tree, "-B", os.path.join(tree, "out"), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                          "-DCMAKE_C_FLAGS_DEBUG=-O1 -g"])
        healthy = configured if configured.returncode != 0 else build(tree)
        if healthy.returncode == 0:
            healthy = simulate(tree, 300)
        if healthy is None or healthy.returncode != 0:
            print(healthy.stdout[-3000:] if healthy else "the healthy tree never ends")
            print("0 passed, 1 failed")
            return 1
        caught = sum(try_mutant(tree, mutant, wishes.runs) for mutant in chosen)
    print(f"{len(chosen)} mutants, {caught} caught")
    print(f"{caught} passed, {len(chosen) - caught} failed")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
