#!/usr/bin/python3
"""Runs the end-to-end tests against real binaries.

Every test function runs in a process group of its own under a deadline, a few
at a time; what it started dies with it. A test may check several cases (see
harness.case): each counts. The last line says `N passed, N failed`.

    tests/e2e/run.py --build build-dev [-k TEXT] [-j N] [-v]
"""

import argparse
import ctypes
import importlib
import inspect
import os
import pathlib
import pickle
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402

DEADLINE_S = 120

# What a quick run asks (tests/run.sh --quick sets QUICK=1): the wire, the money, and that it comes and goes in order.
QUICK = ("test_wire_requests.test_framing", "test_wire_requests.test_chunks", "test_wire_requests.test_bytes",
         "test_wire_requests.test_targets", "test_wire_requests.test_accepted", "test_wire_requests.test_fields",
         "test_wire_requests.test_what_stands", "test_wire_responses.test_a_malformed_head_is_502",
         "test_wire_responses.test_bytes_behind", "test_wire_responses.test_a_body_that_is_cut",
         "test_keepalive_pipelining.test_pipelined", "test_keepalive_pipelining.test_answers_never",
         "test_keepalive_pipelining.test_a_payment", "test_outcomes.test_nothing_is_ever", "test_outcomes.test_answers_of",
         "test_outcomes.test_reasons_before", "test_outcomes.test_faults", "test_timeouts.test_a_slow_answer",
         "test_routing.test_the_first", "test_tls.test_both", "test_tls.test_a_processor_is_verified",
         "test_tls.test_client_certificates", "test_forwarded.test_what_nobody", "test_pool.test_links",
         "test_reload.test_a_request_ends", "test_reload.test_a_bad_file", "test_shutdown.test_what_runs",
         "test_shutdown.test_drain_under", "test_logs_metrics.test_every", "test_logs_metrics.test_card",
         "test_cli.test_five", "test_admin.test_status", "test_idempotency.test_the_first", "test_idempotency.test_another_request",
         "test_idempotency.test_duplicates", "test_idempotency.test_a_key_in_json",
         "test_idempotency_unknown.test_a_retry_of", "test_idempotency_unknown.test_single_shot",
         "test_idempotency_unknown.test_two_weirs", "test_limits.test_payments_within", "test_limits.test_requests_without",
         "test_limits_fleet.test_two_weirs", "test_limits_trouble.test_each_weir", "test_resets.test_unkeyed",
         "test_resets.test_keys_that_the_processor_knows", "test_keepalive_race.test_a_keep_alive_as", "test_again.test_a_read",
         "test_again.test_a_payment_that", "test_failover.test_a_key_moves", "test_failover.test_an_unkeyed_request_goes",
         "test_sick.test_a_key_that", "test_sick.test_one_callers", "test_canary.test_what_callers_send_is_written_nowhere_in_redis")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Running:
    """A test that runs in its own process group."""

    def __init__(self, name, function):
        self.name = name
        self.started = time.monotonic()
        self.deadline_s = getattr(function, "deadline_s", DEADLINE_S)
        self.pickled = b""
        self.output = tempfile.TemporaryFile()
        self.result_fd, write_fd = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.result_fd)
            self.run(function, write_fd)
        try:
            os.setpgid(self.pid, self.pid)  # here too: whoever comes first
        except (PermissionError, ProcessLookupError):
            pass
        os.close(write_fd)

    def run(self, function, write_fd):
        """The child: never returns."""
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(self.output.fileno(), 1)
        os.dup2(self.output.fileno(), 2)
        os.set_inheritable(write_fd, False)
        cases = harness.run_cases(function)
        sys.stdout.flush()
        data = memoryview(pickle.dumps(cases))
        while data:
            data = data[os.write(write_fd, data):]
        os._exit(0)

    def elapsed_s(self):
        return time.monotonic() - self.started

    def read(self):
        """False at the end."""
        part = os.read(self.result_fd, 65536)
        self.pickled += part
        return bool(part)

    def kill_group(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def finish(self):
        """The cases of the test, with what went wrong. Nothing of its group is left afterwards."""
        if self.pickled:
            os.waitpid(self.pid, 0)
        self.kill_group()
        try:
            while True:
                os.waitpid(-self.pid, 0)
        except ChildProcessError:
            pass
        os.close(self.result_fd)
        if not self.pickled:
            overdue = self.elapsed_s() >= self.deadline_s
            why = f"took longer than {self.deadline_s} s" if overdue else "ended without a result"
            return [harness.Case("", why)]
        return pickle.loads(self.pickled)

    def text(self):
        self.output.seek(0)
        return self.output.read().decode("utf-8", "replace")


def discover(pattern):
    """(name, function) of every test, in the order of the files."""
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        try:
            module = importlib.import_module(path.stem)
        except Exception:
            why = traceback.format_exc()

            def broken(why=why):
                raise harness.Failure(why)

            found.append((f"{path.stem}.import", broken))
            continue
        functions = [(name, value) for name, value in vars(module).items()
                     if name.startswith("test_") and inspect.isfunction(value) and value.__module__ == path.stem]
        functions.sort(key=lambda item: item[1].__code__.co_firstlineno)
        found += [(f"{path.stem}.{name}", value) for name, value in functions]
    if not pattern and os.environ.get("QUICK") == "1":
        found = [item for item in found if item[0].startswith(QUICK)]
    if pattern:
        words = pattern.split(" or ")
        found = [item for item in found if any(word.strip() in item[0] for word in words)]
    return found


class Tally:
    def __init__(self, verbose):
        self.passed = 0
        self.failed = []
        self.skipped = 0
        self.verbose = verbose

    def note(self, running):
        bad = []
        for case in running.finish():
            name = f"{running.name}[{case.name}]" if case.name else running.name
            if case.skipped:
                self.skipped += 1
                print(f"skip {name}: {case.why}")
            elif case.why is None:
                self.passed += 1
            else:
                bad.append((name, case.why))
        if not bad:
            if self.verbose:
                print(f"ok   {running.name} ({running.elapsed_s():.1f} s)", flush=True)
            return
        self.failed += [name for name, _ in bad]
        for name, why in bad:
            print(f"FAIL {name} ({running.elapsed_s():.1f} s)\n    " + why.rstrip().replace("\n", "\n    "))
        text = running.text().strip()
        if text:
            lines = text.splitlines()[-60:]
            print("  what it printed:\n    " + "\n    ".join(lines))
        sys.stdout.flush()


def run(tests, jobs, tally):
    waiting = list(reversed(tests))
    running = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(Running(*waiting.pop()))
        by_fd = {item.result_fd: item for item in running}
        wait_s = max(0.0, min(item.deadline_s - item.elapsed_s() for item in running))
        ready, _, _ = select.select(list(by_fd), [], [], min(wait_s, 1.0))
        for item in list(running):
            ended = item.result_fd in ready and not item.read()
            if ended or item.elapsed_s() >= item.deadline_s:
                if not ended:
                    item.pickled = b""
                running.remove(item)
                tally.note(item)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("WEIR_BUILD", "build-dev"), help="where the binaries are")
    parser.add_argument("-k", metavar="TEXT", help="only tests whose name contains TEXT ('a or b': either)")
    parser.add_argument("-j", type=int, default=2 * (os.cpu_count() or 1), help="tests at a time")
    parser.add_argument("-v", action="store_true", help="name every test")
    parser.add_argument("--list", action="store_true", help="name the tests and end")
    args = parser.parse_args()

    build = pathlib.Path(args.build).resolve()
    os.environ["WEIR_BUILD"] = str(build)
    cache = tempfile.mkdtemp(prefix="weir-e2e-")
    os.environ["WEIR_E2E_CACHE"] = cache
    # What a test's processes leave behind is ours to reap.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        tests = discover(args.k)
        if args.list:
            print("\n".join(name for name, _ in tests))
            return 0
        for binary in ("weir", "weir-sandbox"):
            if not (build / binary).exists():
                print(f"note: {build / binary} does not exist")
        tally = Tally(args.v)
        started = time.monotonic()
        run(tests, args.j, tally)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    if tally.failed:
        print("\nfailed:\n  " + "\n  ".join(tally.failed))
    if tally.skipped:
        print(f"{tally.skipped} skipped")
    print(f"{len(tests)} tests in {time.monotonic() - started:.0f} s")
    print(f"{tally.passed} passed, {len(tally.failed)} failed")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
