"""Another processor for what could not be sent: without a key at once, with one after its record has moved; and never for
what was sent. Both ledgers together hold each key at most once, whatever dies meanwhile."""

import contextlib
import json
import os
import random
import threading
import time

from harness import Failure, case, check, check_equal, deadline, wait_until
from harness.http import Closed
from harness.payments import (HOUSE, KEY_FIELD, PLAIN, SHORT, Embedded, executions, keys_seen, outcome, pay, wait_state)
from harness.peers import QUICK
from harness.processor import Blackhole, Hold, Processor, Sandbox, response
from harness.relay import Relay
from harness.weir import Weir, merged
from test_idempotency import check_replay
from test_outcomes import check_own, closed_port
from test_sick import BROKEN, QUICK_BREAKER, Callers, state

KEYED = {"mode": "failover"}


def url_of(to):
    return to if isinstance(to, str) else f"http://{to.authority}"


def moving(acme, standby, store=None, keyed=True, profile=None, more=None, **idempotency):
    """A weir whose route goes to acme, and to standby while acme cannot be had."""
    profiles = {"house": HOUSE, "plain": merged(HOUSE, PLAIN)}
    # Where keys are de-duplicated nothing fails over without records.
    common = merged({"profile": profile or ("house" if keyed else "plain"), "timeouts": SHORT, "breaker": QUICK_BREAKER}, more or {})
    route = {"name": "pay", "match": {"path": "/*"}, "to": "acme", "failover": "standby",
             "idempotency": {**KEYED, **idempotency} if keyed else "off"}
    sections = {"store": {**store.section(True)}} if store is not None else {}
    return Weir(processors={"acme": {"url": url_of(acme), **common}, "standby": {"url": url_of(standby), **common}},
                routes=[route], profiles=profiles, **sections)


def who(answer):
    """Whose answer it is, of the two sandboxes."""
    return json.loads(answer.body)["processor"]


@contextlib.contextmanager
def nobody():
    listener, address = closed_port()
    with listener:
        yield f"http://{address}"


# ---- without a key ----

def test_an_unkeyed_request_goes_to_the_standby():
    with Sandbox(name="standby") as standby:
        with case("nobody listens"), nobody() as gone, moving(gone, standby, keyed=False) as weir:
            for number in range(30):
                answer = pay(weir, None)
                check_equal((answer.status, answer.outcome, who(answer)), (200, "answered", "standby"))
            line = weir.wait_for_access(count=30)[-1]
            check_equal((line["weir.processor"], line["weir.failover_from"], line["server.address"]),
                        ("standby", "acme", standby.authority))
            with case("and once its breaker is open nobody tries"):
                connects = weir.metric("weir_processor_connects_total", processor="acme")
                check(5 <= connects < 30, f"{connects} connects for 30 requests")
        with case("nobody answers a connect"), Blackhole() as nowhere, moving(
                nowhere, standby, keyed=False, more={"timeouts": {"connect": "200ms"}}) as weir:
            check_equal(who(pay(weir, None)), "standby")
        with case("its name is unknown"), moving("http://does-not-exist.invalid", standby, keyed=False) as weir:
            check_equal(who(pay(weir, None)), "standby")


def test_an_unkeyed_request_that_was_sent_never_moves():
    ways = {"reset": (502, "closed_before_response"), "close": (502, "closed_before_response"), "hang": (504, "response_timeout"),
            "half": (502, "response_incomplete"), "garbage": (502, "response_malformed"), "503": (503, None)}
    for how, (status, reason) in ways.items():
        with case(how), Processor() as acme, Processor() as standby, moving(acme, standby, keyed=False) as weir:
            acme.answer_always({"reset": "reset", "close": "close", "hang": Hold(), "garbage": b"garbage\r\n\r\n",
                                "half": [b"HTTP/1.1 200 OK\r\nConte", "close"], "503": response(503, [], b"away")}[how])
            answer = pay(weir, None)
            check_equal((answer.status, answer.weir_reason, answer.outcome), (status, reason, "unknown"))
            acme.check_only(1)
            check_equal(standby.requests(), [])


def test_an_open_breaker_moves_what_it_refuses():
    with Processor() as acme, Processor() as standby, moving(
            acme, standby, keyed=False, more={"breaker": {"open_for": "60s", "open_max": "60s"}}) as weir, Callers(weir) as callers:
        acme.answer_always(BROKEN)
        for _ in range(60):
            answer = callers.ask("/x")
            check((answer.status, answer.outcome) in ((500, "unknown"), (200, "answered")), f"{answer}")
        check_equal(state(weir, route="pay"), "open")
        check_equal(len(acme.requests()) + len(standby.requests()), 60)
        check_equal(len(acme.requests()), 20, "before it opened")


def test_both_are_gone():
    with nobody() as one, nobody() as other, Embedded() as store, moving(one, other, store) as weir:
        answer = pay(weir, "order-1")
        check_own(answer, 502, "connect_failed", "not_sent", "same_key")
        check_equal(outcome(weir, "order-1")["state"], "none")


# ---- with a key ----

def record_of(weir, key):
    """What the store says of a payment, as an operator sees it."""
    line = weir.wait_for_access(lambda line: line.get("weir.record") and line.get("x_request_id") == key)
    return json.loads(weir.verb("idempotency", "show", line["weir.record"], "--json", expected=0)[1])["record"]


def pay_as(weir, key, **more):
    return pay(weir, key, headers=[f"X-Request-Id: {key}"], **more)


@deadline(60)
def test_a_key_moves_with_its_record():
    with Embedded() as store, Sandbox(name="acme", dedup=KEY_FIELD) as acme, Sandbox(name="standby", dedup=KEY_FIELD) as standby, \
            Relay(acme.address) as relay, moving(relay, standby, store) as weir:
        first = pay_as(weir, "at-acme")
        check_equal(who(first), "acme")
        relay.refuse()
        relay.reset_all()
        moved = pay_as(weir, "moved")
        check_equal((moved.status, moved.outcome, who(moved)), (200, "answered", "standby"))
        check_equal(record_of(weir, "moved")["processor"], "standby")
        check_equal(outcome(weir, "moved")["processor"], "standby")
        with case("what acme answered is replayed although it is gone"):
            check_replay(pay_as(weir, "at-acme"), first)
        standby.fault("status-after=500")
        check_equal(pay_as(weir, "lost").outcome, "unknown")
        check_equal(record_of(weir, "lost")["processor"], "standby")
        relay.listen_again()
        wait_until(lambda: who(pay(weir, f"probe-{time.monotonic()}")) == "acme", 30, "acme again")
        with case("acme is back, and what standby has stays there"):
            check_replay(pay_as(weir, "moved"), moved)
            found = pay_as(weir, "lost")
            check_equal((found.status, found.outcome, who(found)), (200, "answered", "standby"))
            for key in ("moved", "lost"):
                check_equal((executions(acme, key), executions(standby, key)), (0, 1), key)
                check(key not in keys_seen(acme), f"{key} was sent to acme")


@deadline(60)
def test_what_was_sent_stays_with_its_processor():
    """Resets, silence and statuses that prove nothing: the key is acme's, although acme is gone then."""
    for fault, status in (("reset-before", 502), ("reset-after", 502), ("hang", 504), ("status-after=500", 500),
                          ("status-before=503", 503), ("half-answer", 502)):
        with case(fault), Embedded() as store, Sandbox(name="acme", dedup=KEY_FIELD) as acme, \
                Sandbox(name="standby", dedup=KEY_FIELD) as standby, Relay(acme.address) as relay, \
                moving(relay, standby, store) as weir:
            acme.fault(fault, 2)  # weir may ask once more by itself
            answer = pay(weir, "order-1")
            check_equal((answer.status, answer.outcome), (status, "unknown"))
            acme.fault()
            relay.refuse()
            relay.reset_all()
            answer = pay(weir, "order-1")
            check_equal((answer.weir_reason, answer.outcome, answer.retry), ("connect_failed", "unknown", "same_key"))
            check_equal(who(pay(weir, "order-2")), "standby", "a new key")
            check_equal(keys_seen(standby), ["order-2"])
            relay.listen_again()
            found = wait_until(lambda: (lambda answer: answer.status == 200 and answer)(pay(weir, "order-1")), 30, "the truth")
            check_equal((found.outcome, who(found)), ("answered", "acme"))
            check_equal((executions(acme, "order-1"), executions(standby, "order-1")), (1, 0))


@deadline(60)
def test_a_refusal_of_acme_is_an_answer():
    """Nothing was done there, and yet it was sent: the answer is the caller's, and standby is not asked."""
    with Embedded() as store, Processor() as acme, Processor() as standby, moving(acme, standby, store) as weir:
        for status in (402, 429, 401):
            with case(f"{status}"):
                acme.answer(response(status, [], b"{}"))
                answer = pay(weir, f"order-{status}")
                check_equal((answer.status, answer.outcome), (status, "answered"))
        check_equal(standby.requests(), [])


@deadline(60)
def test_a_processor_that_knows_no_keys():
    """plain: what was sent is never sent again, what was not may still move, once."""
    with Embedded() as store, Sandbox(name="acme") as acme, Sandbox(name="standby") as standby, \
            Relay(acme.address) as relay, moving(relay, standby, store, profile="plain") as weir:
        acme.fault("reset-after")
        check_equal(pay(weir, "at-acme").outcome, "unknown")
        relay.refuse()
        relay.reset_all()
        check_equal(who(pay(weir, "moved")), "standby")
        standby.fault("reset-after")
        check_equal(pay(weir, "lost").outcome, "unknown")
        relay.listen_again()
        for key, processor in (("at-acme", "acme"), ("lost", "standby")):
            with case(key):
                check_own(pay(weir, key), 409, "outcome_unknown", "unknown", "no")
                check_equal(outcome(weir, key)["processor"], processor)
        check_equal((executions(acme, "at-acme"), executions(standby, "at-acme")), (1, 0))
        check_equal((executions(acme, "lost"), executions(standby, "lost")), (0, 1))
        check_equal(len(acme.requests()) + len(standby.requests()), 3)


def quietly(run, *args):
    """For a caller whose weir dies."""
    try:
        run(*args)
    except (OSError, Failure):
        pass


@deadline(60)
def test_a_kill_behind_the_move():
    """weir dies while standby has a request that moved: the next weir asks standby, and nobody else."""
    with Embedded() as store, Sandbox(name="acme", dedup=KEY_FIELD) as acme, Processor() as standby, \
            Relay(acme.address) as relay:
        relay.refuse()
        hold = Hold()
        standby.answer(hold)
        weir = moving(relay, standby, store)
        asking = threading.Thread(target=quietly, args=(pay, weir, "order-1"))
        asking.start()
        hold.wait()
        weir.process.kill()
        weir.process.wait()
        asking.join(20)
        weir.kill()
        hold.release()
        relay.listen_again()
        with moving(relay, standby, store) as weir:
            wait_state(weir, "order-1", "unknown")
            check_equal(outcome(weir, "order-1")["processor"], "standby")
            check_equal(pay(weir, "order-1").outcome, "answered")
            check_equal(len(standby.requests()), 2)
            check_equal(keys_seen(acme), [])
            check_equal(who(pay(weir, "order-2")), "acme")


# ---- at random ----

class Merchants:
    """
    Each pays key after key. What nobody knows of is asked for again later, for its processor may be away for long;
    once they are told to end, until all of it is known.
    """

    def __init__(self, world, count):
        self.world, self.ending = world, threading.Event()
        self.paid, self.errors = {}, []
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]

    def _run(self, merchant):
        number, unknown = 0, []
        try:
            while not self.ending.is_set():
                number += 1
                unknown += self._pay(f"{merchant}-{number}")
                if unknown and number % 5 == 0:
                    unknown += self._pay(unknown.pop(0))
            end = time.monotonic() + 60
            while unknown:
                check(time.monotonic() < end, f"nobody knows of {unknown}")
                unknown += self._pay(unknown.pop(0))
                time.sleep(0.02)
        except Exception as error:
            self.errors.append(f"{merchant}: {type(error).__name__} {error}")

    def _pay(self, key):
        """Until its answer is not that nothing was sent; the key, if nobody knows then."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                answer = pay(self.world.weir, key)
            except (OSError, Closed):
                time.sleep(0.02)  # its weir is dead: the next one is on its way
                continue
            if answer.status == 200:
                self.paid[key] = who(answer)
                return []
            check(answer.retry in (None, "same_key"), f"{key}: {answer}")
            if answer.outcome == "unknown":
                return [key]
            check_equal(answer.outcome, "not_sent", key)
            time.sleep(0.02)
        raise Failure(f"{key} was never sent")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ending.set()
        for thread in self.threads:
            thread.join(130)


class World:
    """Two processors, a network before the first that fails, and a weir that is killed."""

    def __init__(self, store, acme, standby):
        self.store, self.acme, self.standby = store, acme, standby
        self.relay = Relay(acme.address)
        self.away = False
        self.weir = moving(self.relay, standby, store)

    def leave(self):
        self.relay.refuse()
        self.relay.reset_all()
        self.away = True

    def come_back(self):
        if self.away:
            self.relay.listen_again()
            self.away = False

    def kill_weir(self):
        old = self.weir
        old.process.kill()
        old.process.wait()
        old.kill()
        self.weir = moving(self.relay, self.standby, self.store)

    def stop(self):
        self.relay.stop()
        self.weir.stop()


@deadline(150)
def test_weirs_and_processors_die_at_random():
    seed = int(os.environ.get("SEED", random.SystemRandom().randint(0, 1 << 30)))
    print(f"SEED={seed}")
    choose = random.Random(seed)
    with Embedded() as store, Sandbox(name="acme", dedup=KEY_FIELD) as acme, Sandbox(name="standby", dedup=KEY_FIELD) as standby:
        world = World(store, acme, standby)
        try:
            with Merchants(world, 6) as merchants:
                for _ in range(3 if QUICK else 20):
                    before = len(merchants.paid)
                    what = choose.choice(("leave", "kill", "leave and kill", "faults"))
                    if "leave" in what:
                        world.leave()
                        time.sleep(choose.uniform(0, 0.3))  # not for luck: any moment will do
                    if "kill" in what:
                        world.kill_weir()
                    if what == "faults":
                        for sandbox in (acme, standby):
                            sandbox.fault(choose.choice(("reset-after", "reset-before", "status-after=500", "half-answer")), 5)
                    wait_until(lambda: len(merchants.paid) >= before + 20, 60, "twenty payments")
                    world.come_back()
            check_equal(merchants.errors, [])
            both = {}
            for name, sandbox in (("acme", acme), ("standby", standby)):
                for made in sandbox.ledger():
                    both.setdefault(made["key"], []).append(name)
            twice = {key: where for key, where in both.items() if len(where) > 1}
            check_equal(twice, {}, "executed at more than one processor")
            for key, where in merchants.paid.items():
                check_equal(both.get(key), [where], f"{key} was answered by {where}")
            moved = sum(where == "standby" for where in merchants.paid.values())
            print(f"{len(merchants.paid)} payments, {moved} of them at standby")
            check(moved > 0, "nothing moved")
        finally:
            world.stop()
