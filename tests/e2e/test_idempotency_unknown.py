"""When nobody knows whether the money moved: who may ask again, what they are told, and that each unknown is told once and
ends once."""

import base64
import json
import os
import re
import signal
import threading
import time

from harness import case, check, check_equal, wait_until
from harness.http import Closed
from harness.payments import (KEY_FIELD, Embedded, Shared, executions, keys_seen, on_each_store, outcome, pay, paying,
                              request_of, wait_state)
from harness.processor import Hold, Processor, Sandbox
from test_idempotency import Asker, check_replay
from test_outcomes import check_own

AUDIT = ("unknown", "resolved")


def audit(weir):
    """(event, record, how) of every line that tells of an unknown record, in order."""
    return [(line["event"], line["record"], line.get("how")) for line in weir.events() if line["event"] in AUDIT and
            "record" in line]


def check_told(weirs, expected_how):
    """Each unknown was told once and resolved once. `expected_how`: how, for as many records as there were."""
    def told():
        lines = [line for weir in weirs for line in audit(weir)]
        resolved = [line for line in lines if line[0] == "resolved"]
        return lines if len(resolved) >= len(expected_how) else None
    lines = wait_until(told, 15, f"{len(expected_how)} resolved events")
    unknown = sorted(record for event, record, _ in lines if event == "unknown")
    resolved = sorted(record for event, record, _ in lines if event == "resolved")
    check_equal(len(unknown), len(set(unknown)), "an unknown was told twice")
    check_equal(unknown, resolved)
    check_equal(sorted(how for event, _, how in lines if event == "resolved"), sorted(expected_how))


# Attempts that break: weir asks once more by itself, and here that breaks, too.
RESENT = ("reset-before", "reset-after", "close-before", "close-after", "half-answer")


@on_each_store
def test_a_retry_of_an_unknown_finds_the_truth(store):
    faults = ("hang", "reset-before", "reset-after", "close-before", "close-after", "half-answer", "garbage", "no-length",
              "status-after=500", "status-before=503", "status-after=504", "status-before=408")
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        for fault in faults:
            with case(fault):
                key = f"order-{fault}"
                first = pay(weir, key, fault=fault)
                check_equal(first.outcome, "unknown")
                check(first.status >= 400, f"{first.status}")
                if first.weir_reason:
                    check_equal(first.retry, "same_key")
                check_equal(outcome(weir, key)["state"], "unknown")
                again = pay(weir, key)
                check_equal((again.status, again.outcome), (200, "answered"))
                check_equal(json.loads(again.body)["amount"], 4200)
                check_equal(executions(sandbox, key), 1)
                check_equal(keys_seen(sandbox).count(key), 3 if fault in RESENT else 2)
                check_replay(pay(weir, key), again)
        check_told([weir], ["replay"] * len(faults))
        with case("metrics"):
            check_equal(weir.metric("weir_idempotency_unknown_total"), len(faults))
            check_equal(weir.metric("weir_idempotency_resolved_total", how="replay"), len(faults))
            check_equal(weir.metric("weir_idempotency_begins_total", verdict="taken_over"), len(faults))
            check_equal(weir.metric("weir_idempotency_unresolved"), 0)
            check_equal(weir.metric("weir_audit_lost_total"), 0)


def test_the_lines_of_an_unknown():
    with Embedded() as store, Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        answer = pay(weir, "order-secret-1", fault="hang")
        weir.wait_metric("weir_idempotency_unresolved", 1)
        unknown = weir.wait_event("unknown")
        check_equal((unknown["request_id"], unknown["processor"], unknown["audit"]),
                    (answer.header("Weir-Request-Id"), "acme", True))
        check(re.fullmatch(r"[0-9a-f]{3}x[0-9a-f]{12}", unknown["record"]), unknown["record"])
        access = weir.wait_for_access({"request_id": answer.header("Weir-Request-Id")})
        check_equal(access["weir.record"], unknown["record"])
        wait_until(lambda: weir.metric("weir_idempotency_oldest_unknown_seconds") > 0, what="its age")
        check_equal(pay(weir, "order-secret-1").status, 200)
        resolved = weir.wait_event("resolved")
        check_equal((resolved["record"], resolved["request_id"], resolved["how"], resolved["processor"]),
                    (unknown["record"], unknown["request_id"], "replay", "acme"))
        weir.wait_metric("weir_idempotency_unresolved", 0)
        for text in weir.stdout.snapshot() + weir.stderr.snapshot():
            check("order-secret-1" not in text, "the key is in a log")


@on_each_store
def test_an_unknown_stays_with_its_processor_and_its_key(store):
    """Another route's processor, a refusal, a failed connection: none of them frees a key that may have been executed."""
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        check_equal(pay(weir, "order-1", fault="reset-after").outcome, "unknown")
        for fault, status in (("status-before=429", 429), ("status-before=401", 401), ("status-before=409", 409)):
            with case(f"after it, {status} proves nothing"):
                answer = pay(weir, "order-1", fault=fault)
                check_equal((answer.status, answer.outcome), (status, "unknown"))
                check_equal(outcome(weir, "order-1")["state"], "unknown")
        with case("and another request is still refused"):
            check_own(pay(weir, "order-1", amount=1), 422, "key_reused", "not_sent", "no")
        check_equal(pay(weir, "order-1").outcome, "answered")
        check_equal(executions(sandbox, "order-1"), 1)
        check_told([weir], ["replay"])
    with Processor() as first, Processor() as second, case("the route now goes elsewhere"):
        processors = {"acme": {"url": first.url, "profile": "house"}, "other": {"url": second.url, "profile": "house"}}
        with paying(store, first, sections={"processors": processors}) as weir:
            first.answer("close", "close")
            check_equal(pay(weir, "order-2").outcome, "unknown")
            routes = [dict(weir.config["routes"][0], to="other")]
            weir.change(routes=routes)
            weir.reload()
            check_equal(pay(weir, "order-2").outcome, "answered")
            check_equal(pay(weir, "order-3").outcome, "answered")
            check_equal([seen.header("Idempotency-Key") for seen in first.requests()], ["order-2"] * 3)
            check_equal([seen.header("Idempotency-Key") for seen in second.requests()], ["order-3"])
    with Processor() as processor, case("its processor refuses connections"):
        with paying(store, processor) as weir:
            processor.answer("close", "close")
            check_equal(pay(weir, "order-4").outcome, "unknown")
            processor.stop()
            answer = pay(weir, "order-4")
            check_equal((answer.weir_reason, answer.outcome, answer.retry), ("connect_failed", "unknown", "same_key"))
            check_equal(outcome(weir, "order-4")["state"], "unknown")


@on_each_store
def test_single_shot_never_sends_twice(store):
    with Sandbox() as sandbox, paying(store, sandbox, mode="single_shot") as weir:
        with case("a definite answer is replayed"):
            first = pay(weir, "order-1")
            check_replay(pay(weir, "order-1"), first)
            check_equal(executions(sandbox, "order-1"), 1)
        for fault in ("hang", "reset-before", "close-after", "status-after=500", "half-answer"):
            with case(fault):
                key = f"order-{fault}"
                answer = pay(weir, key, fault=fault)
                check_equal(answer.outcome, "unknown")
                if answer.weir_reason:
                    check_equal(answer.retry, "no")
                for _ in range(3):
                    answer = pay(weir, key)
                    check_own(answer, 409, "outcome_unknown", "unknown", "no")
                    check_equal(answer.header("Retry-After"), None)
                told = outcome(weir, key)
                check_equal((told["state"], told["retry"]), ("unknown", "no"))
                check_equal(keys_seen(sandbox).count(key), 1)
        with case("a refusal frees the key here, too"):
            check_equal(pay(weir, "order-2", fault="status-before=429").status, 429)
            check_equal(pay(weir, "order-2").status, 200)


@on_each_store
def test_a_late_answer_settles_it(store):
    for mode in ("sticky", "single_shot"):
        with Sandbox(dedup=KEY_FIELD if mode == "sticky" else None) as sandbox, \
                paying(store, sandbox, mode=mode, acme={"timeouts": {"response": "500ms"}}) as weir, case(mode):
            key = f"late-{mode}"
            answer = pay(weir, key, fault="delay=1500")
            check_equal((answer.status, answer.weir_reason), (504, "response_timeout"))
            check_equal(outcome(weir, key)["state"], "unknown")
            told = wait_state(weir, key, "done")
            check_equal(told["status"], 200)
            again = pay(weir, key)
            check_equal((again.status, again.outcome), (200, "replayed"))
            check_equal(json.loads(again.body)["status"], "succeeded")
            check_equal(keys_seen(sandbox), [key])
            check_equal(executions(sandbox, key), 1)
            check_told([weir], ["late"])
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox, acme={"timeouts": {
            "response": "300ms", "late": "600ms"}}) as weir, case("later than late is too late"):
        check_equal(pay(weir, "later", fault="delay=2500").outcome, "unknown")
        sandbox.wait_ledger(1)
        check_equal(pay(weir, "later").outcome, "answered")
        check_told([weir], ["replay"])
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox, acme={"timeouts": {"response": "500ms"}}) as weir, \
            case("a retry and a late answer at once are one"):
        check_equal(pay(weir, "both", fault="delay=1200").outcome, "unknown")
        answer = pay(weir, "both")  # the sandbox knows the key already
        check_equal((answer.status, answer.outcome), (200, "answered"))
        check_equal(executions(sandbox, "both"), 1)
        check_equal(pay(weir, "both").outcome, "replayed")
        check_told([weir], ["replay"])


@on_each_store
def test_a_weir_that_is_killed_leaves_its_keys_to_the_next(store):
    """An embedded store knows at its start that nobody holds its keys; in a shared one the lease has to end."""
    with Sandbox(dedup=KEY_FIELD) as sandbox:
        weir = paying(store, sandbox, acme={"timeouts": {"response": "9s"}})
        with weir.client() as client, weir.client() as other:
            done = pay(weir, "done")
            client.send(request_of("order-1", fault="delay=2000"))
            other.send(request_of("order-2", fault="reset-after"))
            check_equal(other.read_response().outcome, "unknown")
            sandbox.wait_ledger(3)
            weir.wait_event("unknown")  # a line that is not written yet dies with its process
            weir.process.send_signal(signal.SIGKILL)
            weir.process.wait()
        before = weir.events()
        weir.kill()
        with paying(store, sandbox) as next_weir:
            check_replay(pay(next_weir, "done"), done)
            check_equal(pay(next_weir, "order-2").outcome, "answered", "an unknown is taken over at once")
            if store.kind == "redis":
                answer = pay(next_weir, "order-1")
                check_own(answer, 409, "key_in_progress", "unknown", "same_key")
                check_equal(outcome(next_weir, "order-1")["state"], "in_progress")
            again = wait_until(lambda: answered(next_weir, "order-1"), 25, "the end of the lease")
            check_equal(again.status, 200)
            for key in ("done", "order-1", "order-2"):
                check_equal(executions(sandbox, key), 1, key)
            check_replay(pay(next_weir, "order-1"), again)
            count = 2 if store.kind == "embedded" else 1  # a lease that ends by a takeover was never told

            def told():
                lines = [line for line in before + next_weir.events() if line["event"] in AUDIT]
                records = {event: sorted(line["record"] for line in lines if line["event"] == event) for event in AUDIT}
                return records if len(records["resolved"]) >= count else None
            records = wait_until(told, 10, "the resolved events")
            check_equal(len(records["unknown"]), count)
            check_equal(len(set(records["unknown"])), count, "told twice")
            check_equal(records["unknown"], records["resolved"])


def answered(weir, key):
    answer = pay(weir, key)
    return answer if answer.outcome == "answered" else None


@on_each_store
def test_what_is_on_its_way_at_the_end_is_left_unknown(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox:
        weir = paying(store, sandbox, acme={"timeouts": {"response": "20s", "total": "30s"}})
        with weir.client() as client:
            client.send(request_of("order-1", fault="hang"))
            sandbox.wait_ledger(1)
            weir.term()
            weir.wait_event("draining")
            weir.term()  # at once
            check_equal(weir.wait(20), 0)
            lines = audit(weir)
            check_equal([event for event, _, _ in lines], ["unknown"])
            weir.check_clean(0)
        weir.kill()
        with paying(store, sandbox) as next_weir:
            answer = pay(next_weir, "order-1")  # no lease to wait for
            check_equal((answer.status, answer.outcome), (200, "answered"))
            check_equal(executions(sandbox, "order-1"), 1)
            resolved = next_weir.wait_event("resolved")
            check_equal((resolved["record"], resolved["how"]), (lines[0][1], "replay"))
    with Sandbox(dedup=KEY_FIELD) as sandbox, case("and what ends while draining is stored"):
        weir = paying(store, sandbox)
        with weir.client() as client:
            client.send(request_of("order-2", fault="delay=500"))
            sandbox.wait_ledger(1)
            weir.term()
            first = client.read_response()
            check_equal((first.status, first.outcome), (200, "answered"))
            weir.check_clean(weir.wait(20))
        weir.kill()
        with paying(store, sandbox) as next_weir:
            check_replay(pay(next_weir, "order-2"), first)
            check_equal(keys_seen(sandbox).count("order-2"), 1)


@on_each_store
def test_answers_are_kept_for_as_long_as_the_route_says(store):
    times = {"keep": "1s", "keep_receipt": "3s", "keep_unknown": "4s",
             "acme": {"timeouts": {"response": "1s", "total": "3s", "late": "1s"}}}
    with Processor() as processor, paying(store, processor, **times) as weir:
        check_equal(pay(weir, "order-1").outcome, "answered")
        check_equal(pay(weir, "order-1").outcome, "replayed")
        answer = wait_until(lambda: answered(weir, "order-1"), 10, "the end of keep")
        check_equal(outcome(weir, "order-1")["state"], "done")
        check_equal(len(processor.requests()), 2, "sticky: it is asked for again, under its key")
        with case("then the receipt ends, and the key is free"):
            wait_state(weir, "order-1", "none")
            check_equal(pay(weir, "order-1", amount=1).outcome, "answered")
    with Sandbox() as sandbox, paying(store, sandbox, mode="single_shot", **times) as weir, case("single_shot"):
        check_equal(pay(weir, "order-2").outcome, "answered")
        answer = wait_until(lambda: not_replayed(weir, "order-2"), 10, "the end of keep")
        check_own(answer, 409, "outcome_unknown", "unknown", "no")
        check("200" in json.loads(answer.body)["detail"], "the status is still known")
        told = outcome(weir, "order-2")
        check_equal((told["state"], told["status"]), ("done", 200))
        check_equal(executions(sandbox, "order-2"), 1)
    with Sandbox() as sandbox, paying(store, sandbox, mode="single_shot", **times) as weir, case("an unknown expires, and is told"):
        check_equal(pay(weir, "order-3", fault="reset-after").outcome, "unknown")
        check_own(pay(weir, "order-3"), 409, "outcome_unknown", "unknown", "no")
        check_told([weir], ["expired"])
        check_equal(outcome(weir, "order-3")["state"], "none")
        weir.wait_metric("weir_idempotency_unresolved", 0)


def not_replayed(weir, key):
    answer = pay(weir, key)
    return answer if answer.outcome != "replayed" else None


def test_resending_stops_before_the_processor_forgets():
    """A retention of 12 s, less a stay of 10 s: after about a second, sending again could pay twice."""
    sections = {"profiles": {"house": {"retention": [{"keep": "12s"}]}}}
    with Embedded() as store, Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox, sections=sections) as weir:
        began = time.monotonic()
        check_equal(pay(weir, "order-1", fault="reset-after").outcome, "unknown")
        check_equal(outcome(weir, "order-1")["state"], "unknown")
        answer = wait_until(lambda: stuck(weir, "order-1"), 13, "the end of what may be sent again")
        check_own(answer, 409, "outcome_unknown", "unknown", "no")
        check(time.monotonic() - began < 12.5, "too late")
        check_equal(outcome(weir, "order-1")["retry"], "no")


def stuck(weir, key):
    """Asked without a way to end it: each attempt breaks off."""
    answer = pay(weir, key, fault="reset-before")
    return answer if answer.weir_reason == "outcome_unknown" else None


def test_two_weirs_share_their_keys():
    with Shared() as store, Processor() as processor:
        with paying(store, processor, acme={"timeouts": {"response": "9s"}}) as one, \
                paying(store, processor, acme={"timeouts": {"response": "9s"}}) as two:
            hold = Hold()
            processor.answer(hold)
            first = Asker(lambda: pay(one, "order-1"))
            hold.wait()
            with case("in progress at one"):
                answer = pay(two, "order-1")
                check_own(answer, 409, "key_in_progress", "unknown", "same_key")
                check_equal(outcome(two, "order-1")["state"], "in_progress")
                check_own(pay(two, "order-1", amount=1), 422, "key_reused", "not_sent", "no")
            hold.release()
            check_equal(first.result().outcome, "answered")
            check_replay(pay(two, "order-1"), first.answer)
            check_equal(len(processor.requests()), 1)
            with case("unknown at one, taken over by the other"):
                processor.forget()
                processor.answer("reset", "reset")
                check_equal(pay(one, "order-2").outcome, "unknown")
                wait_state(two, "order-2", "unknown")  # the client does not wait for the mark
                check_equal(pay(two, "order-2").outcome, "answered")
                check_equal(pay(one, "order-2").outcome, "replayed")
                check_equal([seen.header("Idempotency-Key") for seen in processor.requests()], ["order-2"] * 3)
                check_told([one, two], ["replay"])
            with case("the same derived keys"):
                with paying(store, processor, upstream_key="derived") as three, \
                        paying(store, processor, upstream_key="derived") as four:
                    processor.forget()
                    processor.answer("close", "close")
                    check_equal(pay(three, "order-3").outcome, "unknown")
                    wait_state(four, "order-3", "unknown")
                    check_equal(pay(four, "order-3").outcome, "answered")
                    sent = [seen.header("Idempotency-Key") for seen in processor.requests()]
                    check(len(sent) == 3 and set(sent) == {sent[0]} != {"order-3"}, f"{sent}")
            with case("a crowd at both: one execution"):
                processor.forget()
                askers = [Asker(lambda weir=weir: pay(weir, "order-4")) for weir in (one, two) * 8]
                told = [asker.result() for asker in askers]
                check_equal({answer.outcome for answer in told} - {"answered", "replayed", "unknown"}, set())
                check_equal(sum(answer.outcome == "answered" for answer in told), 1)
                check_equal({answer.status for answer in told if answer.outcome == "unknown"} - {409}, set())
                check_equal(len(processor.requests()), 1)


@on_each_store
def test_an_operator_ends_an_unknown(store):
    with Sandbox() as sandbox, paying(store, sandbox, mode="single_shot") as weir:
        for key in ("executed", "not-executed"):
            check_equal(pay(weir, key, fault="reset-after" if key == "executed" else "reset-before").outcome, "unknown")
        records = {key: weir.wait_for_access({"weir.outcome": "unknown"}, count=2)[at]["weir.record"]
                   for at, key in enumerate(("executed", "not-executed"))}
        _, text, _ = weir.verb("idempotency", "list", "--unknown", "--json", expected=0)
        for record in records.values():
            check(record in text, f"{record} is not listed: {text}")
        weir.verb("idempotency", "resolve", records["executed"], "--executed", "--why", "seen at the processor", expected=0)
        weir.verb("idempotency", "resolve", records["not-executed"], "--not-executed", "--why", "asked their support", expected=0)
        with case("executed: it is not sent again"):
            answer = pay(weir, "executed")
            check_own(answer, 409, "outcome_unknown", "unknown", "no")
            check("operator" in json.loads(answer.body)["detail"], answer.body)
            check_equal(outcome(weir, "executed")["state"], "done")
        with case("not executed: the key is free"):
            check_equal(outcome(weir, "not-executed")["state"], "none")
            check_equal(pay(weir, "not-executed").outcome, "answered")
        check_equal([executions(sandbox, key) for key in records], [1, 1])
        check_told([weir], ["operator"] * 2)


@on_each_store
def test_seals_are_changed_while_it_runs(store):
    with Processor() as processor, paying(store, processor) as weir:
        path = store.section()["secret_file"]
        first = pay(weir, "order-1")
        lines = open(path).read().splitlines()
        new_seal = f"seal.2 {new_key()}"

        def write(*text):
            with open(path, "w") as file:
                file.write("\n".join(text) + "\n")
            weir.reload()

        write(*lines, new_seal)
        check_replay(pay(weir, "order-1"), first)
        second = pay(weir, "order-2")
        check_replay(pay(weir, "order-2"), second)
        with case("a seal that is gone opens nothing, and nothing is sent blindly"):
            write(*[line for line in lines if not line.startswith("seal.1")], new_seal)
            check_replay(pay(weir, "order-2"), second)
            answer = pay(weir, "order-1")
            check_own(answer, 409, "outcome_unknown", "unknown", "no")
            check_equal(len(processor.requests()), 2)
        with case("and back"):
            write(*lines, new_seal)
            check_replay(pay(weir, "order-1"), first)


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


@on_each_store
def test_another_secret_is_refused(store):
    """Keys would have other names: every payment could be made once more."""
    with Processor() as processor:
        with paying(store, processor) as weir:
            first = pay(weir, "order-1")
        path = store.section()["secret_file"]
        text = open(path).read()
        with open(path, "w") as file:
            file.write("".join(f"{line.split()[0]} {new_key()}\n" for line in text.splitlines()))
        with paying(store, processor) as weir:
            check_own(pay(weir, "order-1"), 503, "store_down", "not_sent", "same_key")
            check_equal(len(processor.requests()), 1)
            check_equal(weir.ask("GET", "/v1/payments").status, 200, "what has no key is served")
        with open(path, "w") as file:
            file.write(text)
        with paying(store, processor) as weir:
            check_replay(pay(weir, "order-1"), first)


@on_each_store
def test_nobody_is_told_twice_in_a_crowd(store):
    """Payments that break in every way, retried by many at once; in the end each record was told once and ended once."""
    faults = [None, "reset-before", "reset-after", "close-after", "status-after=500", "half-answer", "garbage", None]
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        def until_answered(number):
            key = f"crowd-{number}"
            fault = faults[number % len(faults)]
            for _ in range(20):
                try:
                    answer = pay(weir, key, fault=fault)
                except Closed:
                    continue
                if answer.outcome in ("answered", "replayed"):
                    return answer.status
                fault = None
                time.sleep(0.05)
            return None

        results = {}

        def work(worker):
            for number in range(40):
                results[worker, number] = until_answered(number)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        check_equal(set(results.values()), {200})
        ledger = {made["key"] for made in sandbox.ledger()}
        check_equal(len(sandbox.ledger()), len(ledger), "executed twice")
        check_equal(len(ledger), 40)
        weir.wait_metric("weir_idempotency_unresolved", 0)
        unknown = [record for event, record, _ in audit(weir) if event == "unknown"]
        resolved = [record for event, record, _ in audit(weir) if event == "resolved"]
        check_equal(sorted(unknown), sorted(resolved))
        check(len(unknown) >= 20, f"only {len(unknown)} were unknown")
        check_equal(weir.metric("weir_idempotency_unknown_total"), len(unknown))
        check_equal(weir.metric("weir_idempotency_resolved_total"), len(resolved))
