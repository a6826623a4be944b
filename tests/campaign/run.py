#!/usr/bin/python3
"""The fault campaign: two weirs on one Redis, processors that misbehave, merchants who retry and duplicate across both,
while weirs, Redis and processors are killed, stopped and restarted. Then the books are compared (books.py).

Two thirds of the time routes move and the store keeps what it said; the last
third the store is emptied at random, and only sticky keys are paid.

    tests/campaign/run.py --build build-dev [--seconds 120] [--seed N] [--merchants N]
"""

import argparse
import collections
import json
import os
import pathlib
import random
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
sys.path.insert(0, str(HERE))

from books import Arrivals, Books  # noqa: E402
from merchants import Merchants  # noqa: E402
from world import LEASE_S, World, wait_settled  # noqa: E402

GRACE_S = 12.0   # a stay, a reconnect, a retry
LOOK_EVERY_S = 20
TOLD_MAX = 20    # violations in full


class Part:
    """Some time of trouble, the healing, and the books."""

    def __init__(self, name, world, merchants, kinds, emptying):
        self.name = name
        self.world = world
        self.merchants = merchants
        self.kinds = kinds
        self.emptying = emptying
        self.violations = []
        self.sent_twice = []  # by weir itself
        self.arrivals = {name: Arrivals(sandbox) for name, sandbox in world.sandboxes.items()}

    def look(self, over):
        """At the processors, now and then: they keep the last of their requests only."""
        while not over.wait(LOOK_EVERY_S):
            for arrivals in self.arrivals.values():
                try:
                    arrivals.look()
                except OSError:
                    pass  # it is stopped

    def run(self, seconds):
        until = time.monotonic() + seconds
        over = threading.Event()
        looking = threading.Thread(target=self.look, args=(over,))
        looking.start()
        threads = self.merchants.work(until, self.kinds, mismatches=not self.emptying)
        try:
            self.world.wreak(until, self.emptying)
        finally:
            for thread in threads:
                thread.join()
            over.set()
            looking.join()
        self.world.heal(moved_home=not self.emptying)
        self.settle()
        for weir in self.world.weirs:
            wait_settled(weir)
        books = Books(self.merchants.payments, self.world.sandboxes, self.arrivals, self.violations)
        books.check_all(self.emptying)
        self.sent_twice = books.sent_twice()
        if not self.emptying:
            self.check_events()

    def settle(self):
        opened, left, took_s = self.merchants.settle(LEASE_S + GRACE_S)
        print(f"{self.name}: {len(opened)} of {len(self.merchants.payments)} payments were open; settled in {took_s:.1f} s")
        for payment in left:
            last = payment.attempts[-1]
            law = "H9" if last.reason == "key_in_progress" else "H8"
            self.violations.append(f"{law}: no last word after {took_s:.0f} s: {last}; {len(payment.attempts)} attempts")

    def check_events(self):
        """Lines that were not written yet die with a killed weir: each record is told at most once, and nothing alarming is."""
        told = {"unknown": {}, "resolved": {}}
        for weir in self.world.weirs:
            for event in weir.all_events():
                kind = event.get("event")
                if kind in told and "record" in event:
                    told[kind][event["record"]] = told[kind].get(event["record"], 0) + 1
                if kind in ("double_execution_suspected", "store_lost_writes"):
                    self.violations.append(f"alarm: {weir.name} says {event}")
        for kind, records in told.items():
            for record, count in records.items():
                if count > 1:
                    self.violations.append(f"H8: {record} was told {kind} {count} times")


def report(parts, world, seconds, seed):
    payments = [payment for part in parts for payment in part.merchants.payments]
    attempts = [attempt for payment in payments for attempt in payment.attempts]
    violations = [words for part in parts for words in part.violations] + [words for weir in world.weirs for words in weir.faults]
    outcomes, faults = {}, {}
    for attempt in attempts:
        word = attempt.outcome or "no answer"
        outcomes[word] = outcomes.get(word, 0) + 1
    for part in parts:
        for name, count in part.merchants.faults.items():
            faults[name] = faults.get(name, 0) + count

    def line(counts):
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))

    print(f"faults of processors and clients: {line(faults)}")
    print(f"what happened to the world: {line(world.happened)}")
    print(f"what merchants were told: {line(outcomes)}")
    twice = [attempt for part in parts for attempt in part.sent_twice]
    print(f"sent once more by weir itself: {len(twice)}, of which answered: "
          f"{sum(attempt.outcome == 'answered' for attempt in twice)}")
    violations.sort(key=lambda words: not words.startswith("alarm"))  # what weir itself saw is where to begin
    laws = collections.Counter(words.partition(":")[0] for words in violations)
    print(f"violations: {line(laws) or 'none'}")
    for words in violations[:TOLD_MAX]:
        print(f"VIOLATION {words}")
    if len(violations) > TOLD_MAX:
        print(f"... and {len(violations) - TOLD_MAX} more")
    print(f"campaign: {len(payments)} payments, {len(attempts)} requests, {sum(world.happened.values())} incidents, "
          f"{len(violations)} violations in {seconds} s, seed {seed}")
    print(f"{len(payments)} passed, {len(violations)} failed")
    return 1 if violations or not payments else 0


def write_logs(folder, world):
    os.makedirs(folder, exist_ok=True)
    logs = {"world": world.diary, "redis": world.redis.said()}
    for weir in world.weirs:
        logs[f"weir-{weir.name}"] = [json.dumps(event) for event in weir.all_events()]
    for name, lines in logs.items():
        pathlib.Path(folder, f"campaign-{name}.log").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("WEIR_BUILD", "build-dev"), help="where the binaries are")
    parser.add_argument("--seconds", type=int, default=120, help="of trouble; healing comes on top")
    parser.add_argument("--seed", type=int, default=None, help="of all that is chosen here (timing is the machine's)")
    parser.add_argument("--logs", default=None, help="a folder for what weirs, Redis and the campaign itself said, with times")
    parser.add_argument("--merchants", type=int, default=12, help="at a time")
    args = parser.parse_args()
    os.environ["WEIR_BUILD"] = str(pathlib.Path(args.build).resolve())
    seed = args.seed if args.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", flush=True)
    world = World(seed)
    parts = []
    try:
        for name, share, kinds, emptying in (("store keeps", 2 / 3, ("sticky", "sticky", "single"), False),
                                             ("store forgets", 1 / 3, ("sticky",), True)):
            if emptying:
                for sandbox in world.sandboxes.values():
                    sandbox.reset()
            merchants = Merchants(world.weirs, random.Random(f"{seed}-{name}"), args.merchants,
                                  first_number=1_000_000 * len(parts))
            part = Part(name, world, merchants, kinds, emptying)
            parts.append(part)
            part.run(args.seconds * share)
        world.end()
    finally:
        if args.logs:
            write_logs(args.logs, world)
        world.close()
    return report(parts, world, args.seconds, seed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
