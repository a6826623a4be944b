"""Active checks: what they ask, what they come to, and that they are no calls: not in the ledger, the pool, the metrics or the
log of these."""

import datetime
import json
import os
import signal

from harness import case, certs, check, check_equal, deadline, wait_until
from harness.http import request
from harness.payments import body_of, headers_of
from harness.processor import Hold, Processor, Sandbox, response
from harness.weir import Weir, merged
from test_outcomes import check_own

HEALTH = {"path": "/healthz", "every": "600ms", "timeout": "500ms"}
PATIENT = {"path": "/healthz", "every": "600ms", "timeout": "500ms", "down_after": 100}
QUICK_BREAKER = {"slow_is": "300ms", "open_for": "500ms", "open_max": "1s", "min_requests": 5}
FOREVER = 1000000
RAMP_S = 10


def pay(weir):
    return weir.ask("POST", "/v1/payments", headers_of(None), body_of())


def when(event):
    return datetime.datetime.fromisoformat((event.get("ts") or event["timestamp"]).replace("Z", "+00:00")).timestamp()


def checks(weir, result, **labels):
    return weir.metric("weir_processor_checks_total", processor="acme", result=result, **labels)


def wait_checks(weir, result, count, timeout_s=30.0, **labels):
    """So many more."""
    before = checks(weir, result, **labels)
    wait_until(lambda: checks(weir, result, **labels) >= before + count, timeout_s, f"{count} checks that {result}")


def shown(weir):
    told = json.loads(weir.verb("breaker", "acme", "--json", expected=0)[1])["processor"]
    return {endpoint["address"]: endpoint for endpoint in told["endpoints"]}


def is_check(got):
    return got.header("User-Agent") == "weir-check"


def sick(*paths):
    """Answers these paths with 503, and others with 200."""
    def answer(link, got):
        link.send(response(503 if got.target in paths else 200, [], b"x"))
    return answer


# ---- what a check asks ----

@deadline(60)
def test_what_a_check_asks():
    with Processor() as processor:
        port = processor.address[1]
        rows = (("the url's host and port", {"url": f"http://localhost:{port}"}, f"localhost:{port}"),
                ("the scheme's own port is left out", {"url": "http://api.acme.test", "endpoints": [processor.authority]},
                 "api.acme.test"),
                ("host: pass", {"url": "http://api.acme.test:8080", "endpoints": [processor.authority], "host": "pass"},
                 "api.acme.test:8080"))
        for name, acme, host in rows:
            with case(name):
                processor.forget()
                with Weir(merged(acme, {"health": merged(HEALTH, {"path": "/deep/health?of=all"})})) as weir:
                    wait_checks(weir, "passed", 2)
                    got = processor.wait_requests(2)[0]
                    check_equal((got.method, got.target, got.version), ("GET", "/deep/health?of=all", "1.1"))
                    check_equal([field for field, _ in got.headers], ["Host", "User-Agent", "Accept", "Connection"])
                    check_equal((got.header("Host"), got.header("User-Agent"), got.header("Connection")),
                                (host, "weir-check", "close"))


@deadline(60)
def test_each_check_has_a_connection_of_its_own_and_closes_it():
    with Processor() as processor, Weir(processor, acme={"health": HEALTH}) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        wait_checks(weir, "passed", 3)
        check_equal(weir.ask("GET", "/x").status, 200)
        for link in processor.wait_links(4):
            kinds = {is_check(got) for got in link.requests}
            if kinds == {True}:
                check_equal(len(link.requests), 1)
                check(link.wait_end() in ("eof", "reset"), f"link {link.number}")
            else:
                check_equal(kinds, {False})


# ---- down and up ----

@deadline(120)
def test_an_endpoint_that_fails_its_checks_gets_nothing_until_it_passes_them():
    with Sandbox(name="good") as good, Sandbox(name="bad") as bad, Weir([good, bad], acme={
            "health": HEALTH, "balance": "round_robin"}) as weir:
        wait_checks(weir, "passed", 1, endpoint=bad.authority)
        bad.fault("status-before=503", FOREVER, on="health")
        down = weir.wait_event("endpoint_down", endpoint=bad.authority, timeout_s=30)
        check_equal((down["processor"], down["why"], down["failed"]), ("acme", "status 503", 3))
        weir.wait_metric("weir_processor_up", 0, processor="acme", endpoint=bad.authority)
        before = len(bad.ledger())
        for _ in range(30):
            check_equal(pay(weir).status, 200)
        check_equal(len(bad.ledger()), before, "executions while it is down")
        check_equal((shown(weir)[bad.authority]["health"], shown(weir)[good.authority]["health"]), ("down", "up"))
        bad.fault(on="health")
        up = weir.wait_event("endpoint_up", endpoint=bad.authority, timeout_s=30)
        check_equal(up["passed"], 2)
        with case("it takes up its share slowly"):
            check_share(weir, bad, when(up))


def pay_many(weir, count):
    """(when, where) of each."""
    seen = len(weir.access_lines())
    for _ in range(count):
        check_equal(pay(weir).status, 200)
    lines = [weir.next_access(seen + number) for number in range(count)]
    return [(when(line), line["server.address"]) for line in lines]


def check_share(weir, endpoint, since):
    """At no time more than its ramp and its turn allow; at last an even half."""
    for _ in range(10):
        paid = pay_many(weir, 20)
        after_s = paid[-1][0] - since
        share = min(1.0, max(0.1, after_s / RAMP_S))
        there = sum(where == endpoint.authority for _, where in paid)
        check(there <= 20 * share / (1 + share) + 2, f"{there} of 20 at {after_s:.1f} s")
    wait_until(lambda: sum(where == endpoint.authority for _, where in pay_many(weir, 20)) >= 9, 30, "its whole share")


@deadline(60)
def test_with_all_of_them_down_nothing_is_sent():
    with Sandbox(name="one") as one, Sandbox(name="two") as two, Weir([one, two], acme={"health": HEALTH}) as weir:
        for sandbox in (one, two):
            sandbox.fault("status-before=503", FOREVER, on="health")
        for sandbox in (one, two):
            weir.wait_event("endpoint_down", endpoint=sandbox.authority, timeout_s=30)
        for _ in range(5):
            check_own(pay(weir), 503, "processor_down", "not_sent", "safe")
        check_equal(one.ledger() + two.ledger(), [])
        check_equal([row for row in one.requests() + two.requests() if "/v1/" in json.dumps(row)], [])
        one.fault(on="health")
        weir.wait_event("endpoint_up", endpoint=one.authority, timeout_s=30)
        check_equal(pay(weir).status, 200)
        check_equal((len(one.ledger()), len(two.ledger())), (1, 0))


@deadline(60)
def test_what_no_check_has_told_of_yet_is_used():
    hold = Hold()
    with Processor() as processor:
        def answer(link, got):
            return hold(link, got) if is_check(got) else link.send(response(200, [], b"ok"))
        processor.answer_always(answer)
        with Weir(processor, acme={"health": {"path": "/healthz", "every": "60s", "timeout": "30s"}}) as weir:
            hold.wait()
            check_equal(shown(weir)[processor.authority]["health"], "unknown")
            check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
            hold.release()
            wait_until(lambda: shown(weir)[processor.authority]["health"] == "up", 20, "the check")


@deadline(90)
def test_why_a_check_fails():
    rows = (("status", {"path": "/healthz", "status": "200-204"}, response(301, ["Location: /"], b""), "status 301"),
            ("no answer", HEALTH, Hold(), "no answer in time"),
            ("no end of the head", HEALTH, b"HTTP/1.1 200 OK\r\nX: y\r\n", "no answer in time"),
            ("closed", HEALTH, "close", "closed without an answer"),
            ("cut short", HEALTH, [b"HTTP/1.1 200", "close"], "closed within an answer"))
    for name, health, answer, words in rows:
        with case(name), Processor() as processor:
            processor.answer_always(answer)
            with Weir(processor, acme={"health": merged(HEALTH, health)}) as weir:
                down = weir.wait_event("endpoint_down", timeout_s=30)
                check_equal((down["why"], down["failed"]), (words, 3))
                check_equal(shown(weir)[processor.authority]["health_words"], words)


# ---- other kinds ----

@deadline(90)
def test_a_tcp_check_looks_at_the_connection_alone():
    with Sandbox() as sandbox, Weir(sandbox, acme={
            "health": {"type": "tcp", "every": "600ms", "timeout": "500ms"}}) as weir:
        wait_checks(weir, "passed", 2)
        check_equal(sandbox.requests(), [])
        with case("a process that stands still still accepts"):
            os.kill(sandbox.pid, signal.SIGSTOP)
            try:
                wait_checks(weir, "passed", 2)
            finally:
                os.kill(sandbox.pid, signal.SIGCONT)
        sandbox.kill()
        down = weir.wait_event("endpoint_down", timeout_s=30)
        check("refused" in down["why"], f"{down}")
        check_own(pay(weir), 503, "processor_down", "not_sent", "safe")


@deadline(90)
def test_a_tls_check_verifies_as_calls_do():
    pair = certs.server("localhost")
    tls = {"type": "tls", "every": "600ms", "timeout": "500ms"}
    with Sandbox(cert=pair.cert, key=pair.key) as sandbox:
        url = f"https://localhost:{sandbox.address[1]}"
        with case("good"), Weir({"url": url, "endpoints": [sandbox.authority], "tls": {"ca": str(certs.ca().cert)},
                                 "health": tls}) as weir:
            wait_checks(weir, "passed", 2)
            check_equal(sandbox.requests(), [])
        with case("https"), Weir({"url": url, "endpoints": [sandbox.authority], "tls": {"ca": str(certs.ca().cert)},
                                  "health": HEALTH}) as weir:
            wait_checks(weir, "passed", 2)
            check(sandbox.requests() != [], "GET /healthz")
        with case("another name"), Weir({
                "url": url, "endpoints": [sandbox.authority],
                "tls": {"ca": str(certs.ca().cert), "server_name": "other.example.com"}, "health": tls}) as weir:
            down = weir.wait_event("endpoint_down", timeout_s=30)
            check("certificate" in down["why"] or "mismatch" in down["why"], f"{down}")


# ---- checks are not calls ----

@deadline(60)
def test_checks_are_not_calls():
    with Sandbox() as sandbox, Weir(sandbox, acme={"health": HEALTH}) as weir:
        wait_checks(weir, "passed", 5)
        check_equal(sandbox.ledger(), [])
        check_equal(weir.access_lines(), [])
        for name in ("weir_requests_total", "weir_processor_connects_total", "weir_processor_connections",
                     "weir_processor_reused_total"):
            check_equal(weir.metric(name), 0, name)
        check_equal(shown(weir)[sandbox.authority]["breaker"]["calls"], 0)
        check(shown(weir)[sandbox.authority]["latency_us"] in (0, None), "latency is that of calls")


@deadline(60)
def test_checks_need_no_place_of_the_pool():
    hold = Hold()
    with Processor() as processor:
        def answer(link, got):
            return link.send(response(200, [], b"ok")) if is_check(got) else hold(link, got)
        processor.answer_always(answer)
        with Weir(processor, acme={"health": HEALTH, "concurrency": 1, "pool": {"connections": 1}}) as weir, \
                weir.client() as client:
            client.send(request("GET", "/x"))
            hold.wait()
            wait_checks(weir, "passed", 3)
            hold.release()
            check_equal(client.read_response().status, 200)


@deadline(90)
def test_a_check_that_passes_closes_no_breaker():
    with Processor() as processor:
        processor.answer_always(sick("/x"))
        with Weir(processor, acme={"health": PATIENT, "breaker": QUICK_BREAKER}) as weir:
            def is_refused():
                return weir.ask("GET", "/x").weir_reason == "breaker_open"
            wait_until(is_refused, 30, "an open breaker")
            weir.wait_event("breaker_half_open", endpoint=processor.authority, timeout_s=30)
            wait_checks(weir, "passed", 6)
            closed = [event for event in weir.events() if event.get("event") == "breaker_closed"]
            check_equal(closed, [], "checks pass, and not one call went")
            check_equal(shown(weir)[processor.authority]["breaker"]["state"], "half_open")
            check_equal(shown(weir)[processor.authority]["health"], "up")
            processor.answer_always(sick())
            wait_until(lambda: weir.ask("GET", "/x").status == 200 and
                       shown(weir)[processor.authority]["breaker"]["state"] == "closed", 40, "calls that pass")


# ---- reload ----

@deadline(90)
def test_checks_come_and_go_with_a_reload():
    with Processor() as processor:
        processor.answer_always(sick("/healthz"))
        with Weir(processor) as weir:
            check_equal(weir.ask("GET", "/x").status, 200)
            weir.change(processors={"acme": {"health": HEALTH}})
            weir.reload()
            weir.wait_event("endpoint_down", timeout_s=30)
            check_equal(weir.ask("GET", "/x").weir_reason, "processor_down")
            weir.change(processors={"acme": {"health": None}})
            weir.reload()
            check_equal(weir.ask("GET", "/x").status, 200, "nobody says any more that it is down")
            asked = sum(map(is_check, processor.requests()))
            check_equal(weir.ask("GET", "/x").status, 200)
            check(sum(map(is_check, processor.requests())) <= asked + 1, "no further check")
            check_equal(shown(weir)[processor.authority]["checked"], False)


@deadline(60)
def test_checks_end_in_order_with_weir():
    hold = Hold()
    with Processor() as processor:
        processor.answer_always(hold)
        with Weir(processor, acme={"health": {"path": "/healthz", "every": "60s", "timeout": "30s"}}) as weir:
            hold.wait()
            weir.term()
            check_equal(weir.wait(), 0)
            hold.release()
