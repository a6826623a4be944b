"""Connections to a processor that are reset at each byte of request and answer, ten thousand times.

What a caller is told of its money is compared with what the processor did:
never not_sent for what came there, never executed twice, never another's answer.
"""

from harness import case, certs, check, check_equal, deadline
from harness.http import Closed
from harness.payments import Embedded, pay, paying
from harness.peers import QUICK, QUIET, WIDE, WIDE_LISTENER, Crowd, check_books
from harness.processor import Sandbox
from harness.relay import Relay
from harness.weir import Weir, merged

RUNS = 1_500 if QUICK else 4_500  # requests of each kind of route; three of four are reset
LEAVE = 4
# One of four is healthy, so the share of those that fail never gets there.
NEVER_OPEN = merged(WIDE, {"breaker": {"open_at": "100%"}})


def check_met(books):
    """Each byte was met, and a good part of the links had carried a request before."""
    cases = books.request_bytes + 1 + books.answer_bytes + 1
    check(books.cases_met >= RUNS // 2, f"{books.cases_met} runs were reset")
    check(books.cases_least >= 1, f"of {cases} bytes some were never met in {books.cases_met} runs")
    check(books.cases_kept * 10 > books.cases_met, f"{books.cases_kept} of {books.cases_met} links were kept ones")
    print(f"  {cases} bytes, each met at least {books.cases_least} times, {books.cases_kept} times on a kept link")


@deadline(120)
def test_unkeyed_requests():
    crowd = Crowd()
    with Weir(crowd, acme=NEVER_OPEN, listener=WIDE_LISTENER, logging=QUIET) as weir:
        books = crowd.pay(weir, RUNS, callers=32, resets=LEAVE)
        books.print("unkeyed")
        check_met(books)
        check_books(books)
        check_equal(books.count(outcome="not_sent"), 0, "each was sent")
        check(books.count(outcome="unknown", status=502) > RUNS // 2, "what was reset is unknown")
        for row in books.rows:
            check(row.begun <= 1, f"a request without a key was sent again: {row}")


@deadline(120)
def test_keys_that_the_processor_knows():
    """weir may ask again by itself, within its budget; and whoever is told unknown finds the truth under the same key."""
    crowd = Crowd()
    with Embedded() as store, paying(store, crowd, "stripe", NEVER_OPEN, sections={"logging": QUIET}) as weir:
        books = crowd.pay(weir, RUNS, callers=32, keyed=True, again=True, resets=LEAVE)
        books.print("keyed, de-duplicated")
        check_met(books)
        check_books(books, deduplicated=True)
        for row in books.rows:
            last = row.again or row.first
            check((last["status"], last["body"], row.executed) == (200, "own", 1), f"the truth was not found: {row}")
            check(row.first["outcome"] != "not_sent", f"each was sent: {row}")


@deadline(120)
def test_keys_that_the_processor_does_not_know():
    """single_shot: sent once, whatever happens; and who asks again is told that nobody knows."""
    crowd = Crowd()
    with Embedded() as store, paying(store, crowd, acme=NEVER_OPEN, sections={"logging": QUIET},
                                        mode="single_shot") as weir:
        books = crowd.pay(weir, RUNS, callers=32, keyed=True, again=True, resets=LEAVE)
        books.print("single_shot")
        check_met(books)
        check_books(books)
        for row in books.rows:
            check(row.begun <= 1, f"sent twice: {row}")
            check(row.first["outcome"] != "not_sent", f"each was sent: {row}")
            if row.again is not None:
                check_equal((row.again["status"], row.again["reason"]), (409, "outcome_unknown"), f"{row}")


@deadline(120)
def test_with_the_breaker_as_it_comes():
    """It opens, and what it refuses never came to the processor."""
    acme = merged(WIDE, {"breaker": {"min_requests": 20}})
    for name, keyed in (("unkeyed", False), ("keyed", True)):
        crowd = Crowd()
        with case(name), Embedded() as store:
            with (paying(store, crowd, acme=acme, sections={"logging": QUIET}) if keyed
                  else Weir(crowd, acme=acme, listener=WIDE_LISTENER, logging=QUIET)) as weir:
                books = crowd.pay(weir, RUNS, callers=32, keyed=keyed, resets=LEAVE)
                books.print(f"{name}, with a breaker")
                check_books(books, deduplicated=keyed)
                check(books.count(reason="breaker_open", outcome="not_sent", status=503) > 0, "it never opened")


@deadline(150)
def test_over_tls():
    """A byte of ciphertext is a byte: what broke in the handshake was not sent, what broke behind its end may have been."""
    pair = certs.server("processor.test")
    with Sandbox(cert=pair.cert, key=pair.key) as sandbox, Relay(sandbox.address) as relay, Weir(
            {"url": "https://processor.test", "endpoints": [relay.authority], "tls": {"ca": str(certs.ca().cert)}}) as weir:
        told, at = {}, 0
        while [outcome for outcome, _ in told.values()][-3:] != ["answered"] * 3:  # then it is behind the last byte
            at += 13
            check_equal(pay(weir, None).status, 200)  # five handshakes in a row that break would open its breaker
            relay.reset_all()  # no link is kept: each begins with a handshake
            relay.up.cut(at, "rst")
            key = f"cut-{at}"
            try:
                answer = pay(weir, key)
                told[key] = (answer.outcome, answer.weir_reason)
            except Closed:
                told[key] = ("answered", None)  # relayed in part: its head said so
            relay.heal()
        executed = [made["key"] for made in sandbox.ledger()]
        outcomes = [outcome for outcome, _ in told.values()]
        print(f"  {len(told)} cuts in {at} bytes: {[(what, outcomes.count(what)) for what in sorted(set(outcomes))]}")
        check(outcomes.count("not_sent") > 5 and outcomes.count("unknown") > 5, "both sides of the handshake's end were met")
        for key, (outcome, reason) in told.items():
            count = executed.count(key)
            check(count <= 1, f"{key} was executed {count} times")
            if outcome == "not_sent":
                check(count == 0 and reason in ("processor_tls_failed", "connect_failed"), f"{key}: {count} executions, {reason}")
            elif outcome == "answered":
                check_equal(count, 1, key)
