"""Many thousand payments at little cost: callers and their processor in one process (peers.c), around a real weir.

    crowd = Crowd()
    with Weir(crowd) as weir:
        books = crowd.pay(weir, requests=10_000, callers=32, resets=4)
        check_books(books)

It says of each payment what its caller was told and how often it came to the
processor, equal ones counted together; what is wrong about that is said here.
"""

import json
import os
import subprocess

from . import binary, check
from .ports import free_port

QUICK = os.environ.get("QUICK") == "1"


class Row:
    """So many payments that ended alike. `first` and `again` are what the caller was told; None: not asked."""

    def __init__(self, row):
        self.first, self.again = row["first"], row["again"]
        self.begun, self.whole, self.executed = row["begun"], row["whole"], row["executed"]
        self.mixed_up, self.count, self.example = row["mixed_up"], row["count"], row["example"]

    def __repr__(self):
        def words(told):
            return "nothing" if told is None else " ".join(str(told[key]) for key in ("status", "outcome", "reason", "body"))
        return (f"{self.count} payments, such as {self.example}: told {words(self.first)}, then {words(self.again)}; "
                f"begun {self.begun}, whole {self.whole}, executed {self.executed}{', mixed up' if self.mixed_up else ''}")


class Books:
    def __init__(self, text):
        told = json.loads(text)
        self.rows = [Row(row) for row in told.pop("rows")]
        self.told = told

    def __getattr__(self, name):
        if name in self.__dict__.get("told", {}):
            return self.told[name]
        raise AttributeError(name)

    def count(self, **first):
        """Payments whose first answer had these."""
        return sum(row.count for row in self.rows
                   if row.first is not None and all(row.first[key] == value for key, value in first.items()))

    def total(self):
        return sum(row.count for row in self.rows)

    def print(self, what):
        print(f"{what}: {self.total()} payments in {self.seconds:.1f} s, "
              f"{self.accepted} connections, {self.resets} resets, {self.ended_idle} ended idle")
        for row in sorted(self.rows, key=lambda row: -row.count):
            print(f"  {row}")


class Crowd:
    """`authority` is the processor's, which listens while the crowd pays. Of several, each has its own part of the callers."""

    def __init__(self, processors=1):
        self.ports = [free_port() for _ in range(processors)]
        self.authority = f"127.0.0.1:{self.ports[0]}"

    def sections(self, **processor):
        """The configuration for several processors, by the host that is asked for."""
        numbers = range(len(self.ports))
        return {"processors": {f"p{number}": {"url": f"http://127.0.0.1:{self.ports[number]}", **processor}
                               for number in numbers},
                "routes": [{"name": f"p{number}", "match": {"host": f"p{number}.example.com"}, "to": f"p{number}"}
                           for number in numbers]}

    def pay(self, weir, requests, callers, keyed=False, again=False, resets=None, keep_alive_ms=None, every_ms=None,
            hint_s=None, timeout_s=100):
        """`resets`: one of so many requests is left alone. `every_ms`: all callers at once, so often."""
        argv = [binary("e2e-peers"), "--to", str(weir.address[1]), "--requests", str(requests), "--callers", str(callers)]
        for port in self.ports:
            argv += ["--listen", str(port)]
        argv += ["--keyed"] * keyed + ["--again"] * again
        for name, value in (("--resets", resets), ("--keep-alive-ms", keep_alive_ms), ("--every-ms", every_ms),
                            ("--hint-s", hint_s)):
            argv += [name, str(value)] if value is not None else []
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
        check(done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr}")
        return Books(done.stdout)


# Room and time for a crowd on a slow machine, and no log of each payment.
WIDE = {"pool": {"connections": 2000}, "concurrency": 4000, "timeouts": {"connect": "5s"}}
WIDE_LISTENER = {"limits": {"per_address": 8000}}
QUIET = {"access": {"to": "/dev/null"}, "events": {"to": "stderr", "level": "error"}}


def check_row(row, deduplicated):
    """What is wrong about these payments; None: nothing."""
    for told in (row.first, row.again):
        if told is None:
            continue
        if told["body"] in ("others", "unreadable"):
            return "an answer that is another's, or none"
        if told["status"] == 0 or told["outcome"] not in ("not_sent", "answered", "unknown", "replayed"):
            return "a caller was told no outcome"
        if told["status"] == 200 and row.executed != 1:
            return "answered, and not executed once"
    if row.mixed_up:
        return "path, key and body are of different payments"
    if row.executed > 1:
        return "executed twice"
    if row.whole > 1 and not deduplicated:
        return "sent twice to who de-duplicates nothing"
    last = row.again or row.first
    if row.first["outcome"] == "not_sent" and (row.begun or row.executed) and (row.again is None or not deduplicated):
        return "not_sent, and it came to the processor"
    if last["outcome"] == "not_sent" and row.executed:
        return "not_sent, and executed"
    return None


def check_books(books, deduplicated=False):
    """Nobody was told not_sent of what came to the processor, nothing was executed twice, no answer went astray."""
    check(books.waiting == 0, f"{books.waiting} callers got no answer")
    check(books.behind == 0, f"{books.behind} messages had bytes behind them")
    check(books.full == 0, "the crowd's processor ran out of connections")
    wrong = [f"{why}: {row}" for row, why in ((row, check_row(row, deduplicated)) for row in books.rows) if why]
    check(not wrong, "\n".join(wrong))
