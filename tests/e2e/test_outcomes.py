"""Did the money move? Every answer says so, and what the caller may do, in weir's words and in the SDK's."""

import json
import socket

from harness import case, check, check_equal
from harness.http import request
from harness.processor import Blackhole, Hold, Processor, Sandbox, response
from harness.weir import Weir

KEY = "Idempotency-Key: order-1"


def closed_port():
    """Nobody listens there, and nobody will: it is bound and never listened on."""
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    return one, f"127.0.0.1:{one.getsockname()[1]}"


def check_own(answer, status, reason, outcome, retry, profile="generic"):
    """An answer that weir made: headers and body tell one story."""
    check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry), (status, reason, outcome, retry))
    check_equal(answer.header("Cache-Control"), "no-store")
    check(answer.header("Content-Type").startswith("application/problem+json"), answer.header("Content-Type"))
    check(answer.header("Date") is None or answer.header("Date").endswith("GMT"), "Date")
    body = json.loads(answer.body)
    check_equal(body["status"], status)
    check_equal((body["reason"], body["outcome"], body["retry"]), (reason, outcome, retry))
    check_equal(body["request_id"], answer.header("Weir-Request-Id"))
    check(body["type"] and body["title"], "type and title (RFC 9457)")
    check(b"<" not in answer.body, "never HTML")
    if status in (429, 503):
        check(int(answer.header("Retry-After")) >= 1, "Retry-After")
    if profile == "stripe":
        error = body["error"]
        check_equal(error["code"], f"weir_{reason}")
        check(error["message"] and error["type"].endswith("_error"), f"{error}")
        check_equal(answer.header("Stripe-Should-Retry"), "false" if retry == "no" else "true")
        if retry == "same_key":
            check(int(answer.header("Retry-After")) >= 1, "Retry-After")
    else:
        check("error" not in body, f"{body}")
        check_equal(answer.header("Stripe-Should-Retry"), None)
    return body


def test_answers_of_the_processor_by_status():
    """A definite answer is answered; what proves nothing is unknown, and relayed as it is."""
    definite = (200, 201, 202, 204, 301, 303, 307, 400, 401, 402, 403, 404, 405, 409, 410, 422, 424, 425, 428, 429)
    unproven = (408, 500, 502, 503, 504, 520, 521, 524, 529)
    with Processor() as processor, Weir(processor) as weir:
        for status in definite + unproven:
            with case(f"POST {status}"):
                body = b"" if status == 204 else b'{"a": 1}'
                processor.answer(response(status, ["Retry-After: 7"], body, "X", length=status != 204))
                answer = weir.ask("POST", "/v1/payments", [], b"x=1")
                check_equal((answer.status, answer.body), (status, body))
                check_equal(answer.outcome, "unknown" if status in unproven else "answered")
                check_equal(answer.header("Retry-After"), "7")
                check_equal(answer.weir_reason, None)
                check_equal(answer.retry, None)
            with case(f"GET {status}"):
                processor.answer(response(status, [], b"" if status == 204 else b"x", "X", length=status != 204))
                check_equal(weir.ask("GET", "/v1/payments/1").outcome, "answered")


def test_each_reason_of_weir_in_both_dialects():
    for profile in ("generic", "stripe"):
        truth = "same_key" if profile == "stripe" else "no"
        acme = {"profile": profile, "timeouts": {"connect": "200ms", "response": "200ms", "total": "10s"}}

        with Processor() as processor, Weir(processor, acme=acme) as weir:
            def ask(*headers, method="POST"):
                return weir.ask(method, "/v1/payments", headers, b"x=1" if method == "POST" else None)

            for reason, how in (("closed_before_response", "close"), ("closed_before_response", "reset"),
                                ("response_incomplete", [b"HTTP/1.1 200 OK\r\nConte", "close"]),
                                ("response_malformed", b"garbage\r\n\r\n")):
                with case(f"{profile}: {reason} by {how!r}"):
                    processor.answer(how)
                    check_own(ask(), 502, reason, "unknown", "no", profile)
                    # What broke is asked about once more where the processor knows keys; that breaks, too.
                    again = profile == "stripe" and reason != "response_malformed"
                    processor.answer(*[how] * (2 if again else 1))
                    check_own(ask(KEY), 502, reason, "unknown", truth, profile)
                    processor.answer(how)
                    check_equal(ask(method="GET").retry, "safe")
            with case(f"{profile}: response_timeout"):
                processor.answer(Hold())
                check_own(ask(), 504, "response_timeout", "unknown", "no", profile)
                processor.answer(Hold())
                check_own(ask(KEY), 504, "response_timeout", "unknown", truth, profile)
            with case(f"{profile}: body_too_large"):
                answer = weir.ask("POST", "/v1/payments", [], b"a" * 300_000)
                check_own(answer, 413, "body_too_large", "not_sent", "no", profile)

        nobody, address = closed_port()
        with nobody, Weir({"url": f"http://{address}", **acme}) as weir:
            with case(f"{profile}: connect_failed"):
                check_own(weir.ask("POST", "/x", [], b"x=1"), 502, "connect_failed", "not_sent", "safe", profile)
                check_own(weir.ask("POST", "/x", [KEY], b"x=1"), 502, "connect_failed", "not_sent", "same_key", profile)
        with Blackhole() as nowhere, Weir(nowhere, acme=acme) as weir, case(f"{profile}: connect_timeout"):
            check_own(weir.ask("POST", "/x", [], b"x=1"), 504, "connect_timeout", "not_sent", "safe", profile)
        with Weir({"url": "http://does-not-exist.invalid", **acme}) as weir, case(f"{profile}: dns_failed"):
            check_own(weir.ask("POST", "/x", [], b"x=1"), 502, "dns_failed", "not_sent", "safe", profile)


def test_reasons_before_a_route_is_known():
    with Processor() as processor, Weir(processor, routes=[{"name": "pay", "match": {"path": "/pay"}, "to": "acme"}]) as weir:
        rows = {
            "no_route": (request("POST", "/x", [], b"x=1"), 404),
            "bad_request": (b"GET /x HTTP/1.1\r\n\r\n", 400),
            "method_not_allowed": (b"TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            "uri_too_long": (request("GET", "/" + "a" * 9000), 414),
            "expectation_failed": (request("POST", "/pay", ["Expect: x"], b"x"), 417),
            "header_too_large": (request("GET", "/pay", ["X-A: " + "a" * 20000]), 431),
            "not_implemented": (b"PROPFIND /x HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            "version_unsupported": (b"GET /x HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        }
        for reason, (raw, status) in rows.items():
            with case(reason), weir.client() as client:
                client.send(raw)
                answer = client.read_response()
                check_own(answer, status, reason, "not_sent", "no")
                if status == 405:
                    check("TRACE" not in answer.header("Allow") and "POST" in answer.header("Allow"), "Allow")


def test_a_head_request_gets_the_head_of_the_error():
    nobody, address = closed_port()
    with nobody, Weir({"url": f"http://{address}"}) as weir, weir.client() as client:
        answer = client.ask("HEAD", "/x")
        check_equal((answer.status, answer.weir_reason, answer.body), (502, "connect_failed", b""))
        check(int(answer.header("Content-Length")) > 0, "the length that GET would have")
        check_equal(client.ask("GET", "/x").status, 502, "the connection goes on")


def test_nothing_is_ever_sent_twice():
    """Whatever breaks after the first byte: one request, one arrival."""
    ways = ["close", "reset", "half-close", b"garbage\r\n\r\n", [b"HTTP/1.1 200 OK\r\n", "reset"],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "reset"]]
    with Processor() as processor, Weir(processor) as weir:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for how in ways:
                for warm in (False, True):
                    with case(f"{method}, {how!r}, {'a kept link' if warm else 'a new link'}"):
                        if warm:
                            check_equal(weir.ask("GET", "/warm").status, 200)
                        processor.forget()
                        processor.answer(how)
                        with weir.client() as client:
                            client.send(request(method, "/v1/payments", [KEY], None if method == "DELETE" else b"x=1"))
                            try:
                                client.read_response()
                            except AssertionError:
                                pass
                        weir.ask("GET", "/good")
                        check_equal([got.target for got in processor.requests()], ["/v1/payments", "/good"])


def test_faults_of_the_sandbox_leave_the_ledger_in_step_with_the_outcome():
    """not_sent: no execution. answered: what the answer says. unknown: at most one, though weir asked twice."""
    asked_twice = ("reset-before", "reset-after", "close-before", "close-after", "half-answer")
    with Sandbox(name="acme", dedup="header:Idempotency-Key") as sandbox, Weir(sandbox, acme={"profile": "stripe", "timeouts": {
            "connect": "500ms", "response": "3s", "total": "20s"}}) as weir:
        rows = {
            "": (200, "answered", 1),
            "chunked": (200, "answered", 1),
            "interim": (200, "answered", 1),
            "two-answers": (200, "answered", 1),
            "extra-bytes": (200, "answered", 1),
            "close": (200, "answered", 1),
            "big=300000": (200, "answered", 1),
            "reset-before": (502, "unknown", 0),
            "reset-after": (502, "unknown", 1),
            "close-before": (502, "unknown", 0),
            "close-after": (502, "unknown", 1),
            "half-answer": (502, "unknown", 1),
            "status-before=503": (503, "unknown", 0),
            "status-after=500": (500, "unknown", 1),
            "status-before=402": (402, "answered", 0),
            "status-before=429": (429, "answered", 0),
            "garbage": (502, "unknown", 1),
            "no-length": (502, "unknown", 1),
            "hang": (504, "unknown", 1),
            "delay=4000": (504, "unknown", 1),
        }
        for fault, (status, outcome, executions) in rows.items():
            with case(fault or "none"):
                sandbox.reset()
                headers = ["Authorization: Bearer sk_test_1", f"Idempotency-Key: {fault or 'none'}"]
                answer = weir.ask("POST", "/v1/payments", headers + ([f"Sandbox-Fault: {fault}"] if fault else []),
                                  b'{"amount": 4200, "currency": "eur"}')
                check_equal((answer.status, answer.outcome), (status, outcome))
                check_equal(len(sandbox.ledger()), executions)
                if executions:
                    made = sandbox.ledger()[0]
                    check_equal((made["amount"], made["currency"], made["key"]), (4200, "eur", fault or "none"))
                if status == 200:
                    check_equal(json.loads(answer.body)["status"], "succeeded")
                seen = sandbox.requests()
                check_equal(len(seen), 2 if fault in asked_twice else 1, "requests that the processor saw")
                check_equal({(one["malformed"], one["complete"], one["body"]) for one in seen}, {(None, True, seen[0]["body"])})


def test_an_answer_that_trickles_is_an_answer():
    with Sandbox(name="acme") as sandbox, Weir(sandbox) as weir:
        answer = weir.ask("POST", "/v1/payments", ["Sandbox-Fault: trickle=1"], b'{"amount": 4200}')
        check_equal((answer.status, answer.outcome), (200, "answered"))
        check_equal(json.loads(answer.body)["amount"], 4200)
        check_equal(len(sandbox.ledger()), 1)
