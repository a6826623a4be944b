"""Processors that are sick: endpoints that stop and die, applications that fail, and how they come back. Merchants see the
least of it, and no payment is ever a processor's first probe while there is anything else to try."""

import contextlib
import datetime
import os
import signal
import threading
import time

from harness import case, check, check_equal, deadline, wait_until
from harness.http import request
from harness.load import Load, Stream
from harness.payments import HOUSE, Embedded, body_of, headers_of, outcome, pay, paying
from harness.processor import Processor, Sandbox, response
from harness.weir import Weir
from test_outcomes import check_own

RATE = 200           # a second: what a sanitized weir does beside other tests
CONNECTIONS = 64
FEW = 20             # min_requests, as it is by default
QUICK_BREAKER = {"min_requests": FEW, "slow_is": "300ms", "open_for": "500ms", "open_max": "1s"}
TIMES = {"connect": "500ms", "response": "2s", "total": "20s"}


def when(event):
    """Seconds since 1970 of an event or an access line."""
    text = event.get("ts") or event["timestamp"]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def state(weir, endpoint="", route="", processor="acme"):
    """The breaker's state as the metrics tell it."""
    found = [dict(labels)["state"] for labels, value in weir.metrics().get("weir_breaker_state", {}).items()
             if value == 1 and dict(labels).get("processor") == processor
             and dict(labels).get("endpoint", "") == endpoint and dict(labels).get("route", "") == route]
    check(len(found) == 1, f"states of {endpoint}{route}: {found}")
    return found[0]


def opened_count(weir):
    return weir.metric("weir_breaker_transitions_total", processor="acme", to="open")


# ---- one of three endpoints ----

def make_payment(number):
    return request("POST", "/v1/payments", headers_of(None, f"sk_live_{number % 10}"), body_of())


class Shares:
    """How many of the requests that began at some time went to one endpoint, from the access log."""

    def __init__(self, weir):
        self.begun = sorted((when(line) - line["t_total_us"] / 1e6, line.get("server.address"))
                            for line in weir.access_lines())

    def of(self, endpoint, since, seconds=1.0):
        there = [address for at, address in self.begun if since <= at < since + seconds]
        return there.count(endpoint.authority), len(there)

    def is_full(self, endpoint, since):
        """Of the last ones; only once there are enough since then."""
        there = [address for at, address in self.begun if at >= since][-RATE:]
        return len(there) == RATE and there.count(endpoint.authority) * 4 > RATE


@contextlib.contextmanager
def three_endpoints(**acme):
    with contextlib.ExitStack() as stack:
        sandboxes = [stack.enter_context(Sandbox(name=name)) for name in ("one", "two", "three")]
        weir = stack.enter_context(Weir(sandboxes, acme={"timeouts": TIMES, "breaker": QUICK_BREAKER, **acme}))
        stream = Stream(make_payment, per_s=RATE, shares=[1], connections=CONNECTIONS)
        yield sandboxes, weir, stream


def wait_more(stream, count=RATE):
    """So many more answers."""
    before = stream.count(200)
    wait_until(lambda: stream.count(200) >= before + count, 40, f"{count} more payments")


def check_slow_start(weir, endpoint, since, what):
    wait_until(lambda: Shares(weir).is_full(endpoint, since), 60, "its full share")
    there, of_all = Shares(weir).of(endpoint, since)
    print(f"  in the first second after {what} {there} of {of_all} requests went there")
    check(there * 100 <= 20 * of_all, f"{there} of {of_all} requests in the first second after {what}")


def check_recovery(weir, endpoint):
    """Its breaker is half open, then closed, and it takes up its share slowly."""
    half = weir.wait_event("breaker_half_open", endpoint=endpoint.authority, timeout_s=30)
    closed = weir.wait_event("breaker_closed", endpoint=endpoint.authority, timeout_s=60)
    check_equal(closed["cause"], "recovered")
    check_slow_start(weir, endpoint, when(closed), "its breaker closed")
    there, of_all = Shares(weir).of(endpoint, when(half))
    print(f"  in the first second of probing {there} of {of_all} requests went there")
    check(there * 100 <= 5 * of_all, f"{there} of {of_all} requests in the first second of its recovery")


def check_lost(stream, dead_at, in_flight, endpoint, weir):
    """Lost is only what was sent there before that time; all of it is unknown, and no more than was in flight there."""
    lost = [shot for shot in stream.shots if shot.status != 200]
    late = [shot for shot in lost if shot.sent > dead_at]
    check(not late, f"lost although it was sent later: {late}")
    for shot in lost:
        check(shot.head is not None and "\r\nWeir-Outcome: unknown" in shot.head, f"{shot}: {shot.head}")
    places = {line.get("server.address") for line in weir.access_lines() if line["http.response.status_code"] != 200}
    check(places <= {endpoint.authority}, f"lost at {places}")
    print(f"  {len(lost)} of {len(stream.shots)} were lost")
    check(len(lost) <= in_flight, f"{len(lost)} were lost, {in_flight} were in flight there")


def check_each_once(sandboxes, stream):
    """What was answered was executed once, and nothing else but what is unknown."""
    executed = sum(len(sandbox.ledger()) for sandbox in sandboxes)
    answered = stream.count(200)
    lost = len(stream.shots) - answered
    check(answered <= executed <= answered + lost, f"{executed} executions, {answered} answers, {lost} unknown")


@contextlib.contextmanager
def stopped(process):
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@deadline(150)
def test_one_of_three_endpoints_is_stopped():
    """Its breaker opens although nothing ever failed: all that it has is overdue, and nothing ends."""
    checks = {"path": "/healthz", "every": "500ms", "timeout": "400ms", "down_after": 100}
    with three_endpoints(balance="round_robin", health=checks) as (sandboxes, weir, stream):
        sick = sandboxes[1]
        with Load([weir], [stream]):
            wait_more(stream)
            with stopped(sick):
                opened = weir.wait_event("breaker_open", endpoint=sick.authority, timeout_s=30)
                wait_more(stream)
            print(f"opened for {opened['cause']} with {opened['in_flight']} in flight, {opened['overdue']} overdue")
            check(opened["cause"] in ("silent", "slow"), opened["cause"])
            check_recovery(weir, sick)
        check_lost(stream, when(opened), opened["in_flight"], sick, weir)
        check_each_once(sandboxes, stream)


@deadline(150)
def test_one_of_three_endpoints_is_stopped_and_load_goes_by_latency():
    """Its oldest call in flight is latency that is certain, so hardly any more go there, and checks find it down."""
    checks = {"path": "/healthz", "every": "500ms", "timeout": "400ms"}
    with three_endpoints(health=checks) as (sandboxes, weir, stream):
        sick = sandboxes[1]
        with Load([weir], [stream]):
            wait_more(stream)
            with stopped(sick):
                down = weir.wait_event("endpoint_down", endpoint=sick.authority, timeout_s=30)
                wait_more(stream)
            up = weir.wait_event("endpoint_up", endpoint=sick.authority, timeout_s=30)
            check_slow_start(weir, sick, when(up), "its checks passed")
        check_lost(stream, when(down), 10, sick, weir)
        check_each_once(sandboxes, stream)


@deadline(150)
def test_one_of_three_endpoints_is_killed():
    with three_endpoints() as (sandboxes, weir, stream), contextlib.ExitStack() as until_all_ended:
        sick, port = sandboxes[1], sandboxes[1].address[1]
        sick.fault("delay=30", 1_000_000)  # so that something is in flight
        with Load([weir], [stream]):
            wait_more(stream)
            sick.kill()
            dead_at = time.time()
            opened = weir.wait_event("breaker_open", endpoint=sick.authority, timeout_s=30)
            check_equal(opened["cause"], "unreached")
            wait_more(stream)
            back = until_all_ended.enter_context(Sandbox(name="two", listen=f"127.0.0.1:{port}"))
            check_recovery(weir, back)
        check_lost(stream, dead_at, CONNECTIONS, sick, weir)
        check_equal(weir.metric("weir_requests_in_flight"), 0)


# ---- what opens a breaker, and what does not ----

class Callers:
    """Some callers, each with a credential of its own, one request after another."""

    def __init__(self, weir, count=5, first=0):
        self.clients = [(weir.client(timeout_s=30), f"sk_live_{first + number}") for number in range(count)]
        self.turn = 0

    def ask(self, path, method="POST", key=None):
        client, tenant = self.clients[self.turn % len(self.clients)]
        self.turn += 1
        return client.ask(method, path, headers_of(key, tenant), None if method == "GET" else body_of())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for client, _ in self.clients:
            client.close()


def by_path(answers, otherwise=response(200, [], b"ok")):
    """A processor's answers by the start of the path; may be changed while it runs."""
    def answer(link, got):
        for path, known in answers.items():
            if got.target.startswith(path):
                return link.send(known)
        return link.send(otherwise)
    return answer


def arrivals(processor, path=""):
    return sum(seen.target.startswith(path) for seen in processor.requests())


BROKEN = response(500, ["Content-Type: application/json"], b'{"error": "out of order"}')
TWO_ROUTES = [{"name": "payouts", "match": {"path": "/payouts/*"}, "to": "acme"},
              {"name": "charges", "match": {"path": "/charges/*"}, "to": "acme"}]


def until_refused(callers, path, status, limit=60, **more):
    """Asks until weir refuses; how many answers of the processor came before, and the refusal."""
    for count in range(limit):
        answer = callers.ask(path, **more)
        if answer.weir_reason is not None:
            return count, answer
        check_equal((answer.status, answer.weir_reason), (status, None))
    check(False, f"{limit} answers of {status} opened nothing")


@deadline(60)
def test_a_route_whose_application_fails():
    for profile in ("generic", "stripe"):
        answers = {"/payouts/": BROKEN}
        with case(profile), Processor() as processor, Weir(
                processor, acme={"profile": profile, "breaker": QUICK_BREAKER}, routes=TWO_ROUTES) as weir, \
                Callers(weir) as callers:
            processor.answer_always(by_path(answers))
            count, answer = until_refused(callers, "/payouts/new", 500)
            check_equal(count, FEW, "answers before it opened")
            check_own(answer, 503, "breaker_open", "not_sent", "safe", profile)
            event = weir.wait_event("breaker_open", route="payouts")
            check_equal((event["processor"], event["cause"], event["calls"], event["failed"]),
                        ("acme", "failures", FEW, FEW))
            check("%" in event["message"] and str(FEW) in event["message"], event["message"])
            check_equal(state(weir, route="payouts"), "open")
            check_equal((state(weir, route="charges"), state(weir, endpoint=processor.authority)), ("closed", "closed"))
            check_equal(weir.metric("weir_breaker_transitions_total", to="open", cause="failures"), 1)
            for _ in range(20):
                check_equal(callers.ask("/charges/new").status, 200, "another route of the processor")
            answers.clear()  # it is mended
            closed = []

            def ask_all():
                callers.ask("/payouts/1", "GET")
                callers.ask("/payouts/new")
                closed[:] = [event for event in weir.events() if event["event"] == "breaker_closed"]
                return closed
            wait_until(ask_all, 30, "its recovery")
            check_equal((closed[0]["route"], closed[0]["cause"]), ("payouts", "recovered"))
            check_equal(callers.ask("/payouts/new").status, 200)


@deadline(60)
def test_a_key_that_an_open_breaker_refuses_is_free():
    with Embedded() as store, Processor() as processor, paying(
            store, processor, acme={"breaker": QUICK_BREAKER}) as weir, Callers(weir) as callers:
        processor.answer_always(BROKEN)
        for number in range(60):
            answer = callers.ask("/v1/payments", key=f"order-{number}")
            if answer.weir_reason == "breaker_open":
                break
            check_equal((answer.status, answer.outcome), (500, "unknown"))
        check_own(answer, 503, "breaker_open", "not_sent", "same_key")
        check_equal(outcome(weir, f"order-{number}", callers.clients[number % 5][1])["state"], "none")
        with case("one whose outcome is unknown stays so"):
            answer = pay(weir, "order-0", tenant=callers.clients[0][1])
            check_equal((answer.weir_reason, answer.outcome, answer.retry), ("breaker_open", "unknown", "same_key"))
            check_equal(outcome(weir, "order-0", callers.clients[0][1])["state"], "unknown")


@deadline(60)
def test_gateway_failures_open_the_endpoint():
    for status in (502, 503, 504):
        with case(f"{status} of the only one"), Processor() as processor, Weir(
                processor, acme={"breaker": QUICK_BREAKER}, routes=TWO_ROUTES) as weir, Callers(weir) as callers:
            processor.answer_always(response(status, [], b"away"))
            _, answer = until_refused(callers, "/payouts/new", status)
            check_own(answer, 503, "breaker_open", "not_sent", "safe")
            check_equal(state(weir, endpoint=processor.authority), "open")
            check_own(callers.ask("/charges/new"), 503, "breaker_open", "not_sent", "safe")
    with case("of one of two"), Processor() as good, Processor() as bad, Weir(
            [good, bad], acme={"breaker": {"min_requests": FEW, "open_for": "60s"}, "balance": "round_robin"}) as weir, Callers(weir) as callers:
        bad.answer_always(response(503, [], b"away"))
        statuses = [callers.ask("/x").status for _ in range(100)]
        check_equal((statuses.count(503), statuses.count(200)), (FEW, 100 - FEW))
        check_equal(state(weir, endpoint=bad.authority), "open")
    with case("one of two says when to come again"), Processor() as good, Processor() as bad, Weir(
            [good, bad], acme={"breaker": {"min_requests": FEW}, "balance": "round_robin"}) as weir, Callers(weir) as callers:
        bad.answer_always(response(503, ["Retry-After: 30"], b"away"))
        statuses = [callers.ask("/x").status for _ in range(100)]
        check_equal((statuses.count(503), statuses.count(200)), (1, 99))
        check_equal(opened_count(weir), 0)


@deadline(60)
def test_what_opens_nothing():
    for status, headers in ((429, ["Retry-After: 7"]), (402, []), (401, []), (404, []), (408, []), (501, [])):
        with case(f"{status}"), Processor() as processor, Weir(processor, acme={"breaker": QUICK_BREAKER}) as weir, \
                Callers(weir) as callers:
            processor.answer_always(response(status, headers, b"no"))
            for _ in range(100):
                answer = callers.ask("/x")
                check_equal((answer.status, answer.body, answer.weir_reason), (status, b"no", None))
                check_equal(answer.header("Retry-After"), "7" if status == 429 else None)
            check_equal(opened_count(weir), 0)
            check_equal(arrivals(processor), 100)


@deadline(60)
def test_one_callers_requests_that_always_fail():
    """Half of all traffic gets 500, and all of it is one caller's: nothing opens, and the others are served."""
    def answer(link, got):
        link.send(BROKEN if got.header("Authorization") == "Bearer sk_live_99" else response(200, [], b"ok"))

    with Processor() as processor, Weir(processor, acme={"breaker": QUICK_BREAKER}) as weir, \
            Callers(weir) as others, Callers(weir, 1, 99) as poisoned:
        processor.answer_always(answer)
        for _ in range(200):
            check_equal(poisoned.ask("/x").status, 500)
            check_equal(others.ask("/x").status, 200)
        check_equal(opened_count(weir), 0)
    with Processor() as processor, Weir(processor, acme={"breaker": QUICK_BREAKER}) as weir, \
            Callers(weir, 1, 99) as alone, case("but when there is nobody else"):
        processor.answer_always(answer)
        count, refused = until_refused(alone, "/x", 500)
        check_equal((count, refused.weir_reason), (FEW, "breaker_open"))


@deadline(60)
def test_what_weir_refuses_itself_counts_for_nothing():
    """A breaker that is open is not kept open by what it refuses, and limits open nothing."""
    with Processor() as processor, Weir(
            processor, acme={"breaker": QUICK_BREAKER}, limits={"few": {"by": "tenant", "rate": "1/day", "burst": 1}},
            routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["few"]}]) as weir, \
            Callers(weir) as callers:
        statuses = [callers.ask("/x").status for _ in range(100)]
        check_equal((statuses.count(200), statuses.count(429)), (5, 95))
        check_equal(opened_count(weir), 0)


# ---- the first probe ----

class Traffic:
    """Callers that go on asking, each its own kind of request, until it is left."""

    def __init__(self, weir, kinds):
        self.weir, self.ending, self.errors = weir, threading.Event(), []
        self.threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def _run(self, kind):
        number = 0
        try:
            with self.weir.client(timeout_s=30) as client:
                while not self.ending.wait(0.02):
                    number += 1
                    client.send(kind(number))
                    client.read_response()
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            check_equal(self.errors, [])


def bare(caller):
    return lambda number: request("POST", "/pay/bare", headers_of(None, f"sk_live_{caller}"), body_of())


def keyed(caller):
    return lambda number: request("POST", "/pay/keyed", headers_of(f"order-{caller}-{number}", f"sk_live_{caller}"), body_of())


def of_test(caller):
    return lambda number: request("POST", "/pay/test", headers_of(None, f"sk_test_{caller}"), body_of())


def read(caller):
    return lambda number: request("GET", "/pay/1", headers_of(None, f"sk_live_{caller}"))


class Sickly:
    """A processor whose gateway fails while `sick`; when each request came."""

    def __init__(self, processor):
        self.sick = False
        self.came = []
        processor.answer_always(self.answer)

    def answer(self, link, got):
        self.came.append((time.time(), got))
        link.send(response(503, [], b"away") if self.sick else response(200, [], b"ok"))

    def first_since(self, at):
        return next((got for came, got in self.came if came >= at), None)


def first_probes(kinds, rounds, expected, health=None, timeout_s=30):
    """What came first to a processor whose breaker was open, each time."""
    with Embedded() as store, Processor() as processor, paying(
            store, processor, acme={"breaker": QUICK_BREAKER, **({"health": health} if health else {})},
            sections={"profiles": {"house": {**HOUSE, "test_keys": ["sk_test_"]}}}) as weir:
        sickly = Sickly(processor)
        with Traffic(weir, kinds):
            for number in range(rounds):
                sickly.sick = True
                weir.wait_event("breaker_open", number + 1, timeout_s, endpoint=processor.authority)
                sickly.sick = False
                half = weir.wait_event("breaker_half_open", number + 1, timeout_s, endpoint=processor.authority)
                first = wait_until(lambda: sickly.first_since(when(half)), timeout_s, "the first probe")
                check(expected(first), f"the first probe was {first}")
                weir.wait_event("breaker_closed", number + 1, timeout_s, endpoint=processor.authority)


@deadline(100)
def test_the_first_probe_is_a_read():
    first_probes([bare(1), bare(2), keyed(3), keyed(4), read(5)], 3, lambda got: got.method == "GET")


@deadline(100)
def test_the_first_probe_is_test_traffic():
    first_probes([bare(1), bare(2), keyed(3), of_test(5)], 2, lambda got: got.target == "/pay/test")


@deadline(100)
def test_the_first_probe_is_a_check():
    first_probes([bare(1), bare(2), keyed(3), keyed(4)], 2, lambda got: got.target == "/healthz",
                 {"path": "/healthz", "every": "500ms", "timeout": "400ms", "down_after": 100})


@deadline(100)
def test_a_payment_with_a_key_goes_before_one_without():
    first_probes([bare(1), bare(2), keyed(3)], 2, lambda got: got.target == "/pay/keyed")


@deadline(100)
def test_a_payment_is_the_first_probe_where_nothing_else_comes():
    first_probes([bare(1), bare(2)], 1, lambda got: got.target == "/pay/bare")


# ---- an operator's word, and a queue that keeps nobody waiting in vain ----

def breaker_verb(weir, *words, expected=0):
    return weir.verb("breaker", "acme", *words, expected=expected)[1]


@deadline(60)
def test_an_operators_word():
    with Processor() as processor, Weir(processor, acme={"breaker": QUICK_BREAKER}, routes=TWO_ROUTES) as weir, \
            Callers(weir) as callers:
        check_equal(callers.ask("/charges/new").status, 200)
        with case("open"):
            breaker_verb(weir, "open", "--for", "30m", "--why", "they said so on the phone")
            check_own(callers.ask("/charges/new"), 503, "breaker_open", "not_sent", "safe")
            check_own(callers.ask("/payouts/new"), 503, "breaker_open", "not_sent", "safe")
            word = weir.wait_event("breaker_forced_by_operator")
            check_equal((word["processor"], word["breakers"], word["why"], word["audit"]),
                        ("acme", "open", "they said so on the phone", True))
            check(word["actor"].startswith(f"uid {os.getuid()} "), word["actor"])
            check("they said so on the phone" in weir.verb("processors", expected=0)[1], "weir processors tells why")
        with case("auto again: it is probed, and closes"):
            breaker_verb(weir, "auto", "--why", "they are back")

            def is_closed():
                callers.ask("/charges/1", "GET")
                return state(weir, endpoint=processor.authority) == "closed" and state(weir, route="charges") == "closed"
            wait_until(is_closed, 30, "closed breakers")
        with case("closed, whatever fails"):
            breaker_verb(weir, "closed", "--for", "30m", "--why", "a drill")
            processor.answer_always(BROKEN)
            for _ in range(60):
                check_equal((callers.ask("/charges/new").status), 500)
            breaker_verb(weir, "auto", "--why", "it is over")
            check(until_refused(callers, "/charges/new", 500, 100)[1].weir_reason == "breaker_open", "it opens by itself")
        with case("for a time alone"):
            processor.answer_always(response(200, [], b"ok"))
            breaker_verb(weir, "open", "--for", "1s", "--why", "a moment")
            check_equal(callers.ask("/charges/new").weir_reason, "breaker_open")
            weir.wait_event("breaker_word_expired")
            wait_until(is_closed, 30, "closed breakers")
        with case("not without an end and a reason"):
            for words in (("open", "--why", "x"), ("open", "--for", "30m"), ("open", "--for", "25h", "--why", "x"),
                          ("ajar", "--for", "30m", "--why", "x")):
                check(weir.verb("breaker", "acme", *words)[0] != 0, f"{words}")
            check(weir.verb("breaker", "nobody", "open", "--for", "30m", "--why", "x")[0] != 0, "no such processor")


@deadline(60)
def test_who_would_wait_in_vain_is_refused_at_once():
    """One place, a second each, less than six in all: who could not be answered in time is told so on arrival, and not sent."""
    def slowly(link, got):
        time.sleep(1)
        link.send(response(200, [], b"ok"))

    with Processor() as processor, Weir(processor, acme={
            "concurrency": 1, "timeouts": {"connect": "500ms", "response": "3s", "total": "5700ms"}}) as weir:
        processor.answer_always(slowly)
        check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)  # it has seen how long one takes
        clients = [weir.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(request("POST", f"/{number}", [], b"x=1"))
        answers = [client.read_response() for client in clients]
        for client in clients:
            client.close()
        served = sum(answer.status == 200 for answer in answers)
        check(3 <= served <= 6, f"{[answer.status for answer in answers]}")
        for answer in answers:
            if answer.status != 200:
                check_own(answer, 503, "queue_full", "not_sent", "safe")
        check_equal(len(processor.requests()), 1 + served)
