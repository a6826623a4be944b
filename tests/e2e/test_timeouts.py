"""Every timeout, with the answer that tells it apart from the others. A time is checked only from below: early is wrong,
late is a busy machine."""

import time

from harness import case, check, check_equal, wait_until
from harness.http import request
from harness.processor import Blackhole, Hold, Processor, response
from harness.weir import Weir


def took_at_least(started, seconds):
    elapsed = time.monotonic() - started
    check(elapsed >= seconds, f"it came after {elapsed:.3f} s, not after {seconds} s")


def test_a_slow_head_is_408():
    with Processor() as processor, Weir(processor, listener={"timeouts": {"header": "300ms"}}) as weir:
        for name, part in (("one byte", b"P"), ("the request line", b"POST /x HTTP/1.1\r\n"),
                           ("all but the last byte", request("POST", "/x")[:-1])):
            with case(name), weir.client() as client:
                started = time.monotonic()
                client.send(part)
                answer = client.read_response()
                took_at_least(started, 0.28)
                check_equal((answer.status, answer.weir_reason, answer.outcome), (408, "request_timeout", "not_sent"))
                check_equal(answer.header("Connection"), "close")
                client.check_closed()
        with case("a byte now and then does not help"), weir.client() as client:
            started = time.monotonic()
            try:
                for byte in request("POST", "/x", ["X-A: " + "a" * 200]):
                    client.send(bytes([byte]))
                    time.sleep(0.02)
                check(False, "the whole head was taken")
            except OSError:
                pass
            took_at_least(started, 0.28)
        processor.check_only(0)


def test_a_slow_body_is_408():
    with Processor() as processor, Weir(processor, listener={"timeouts": {"body": "300ms"}}) as weir:
        for name, raw in (("length", request("POST", "/x", [], b"hello")[:-1]),
                          ("chunks", request("POST", "/x", ["Transfer-Encoding: chunked"]) + b"5\r\nhel")):
            with case(name), weir.client() as client:
                started = time.monotonic()
                client.send(raw)
                answer = client.read_response()
                took_at_least(started, 0.28)
                check_equal((answer.status, answer.weir_reason, answer.outcome), (408, "request_timeout", "not_sent"))
                client.check_closed()
        processor.check_only(0)


def test_an_idle_connection_is_closed_without_a_word():
    with Processor() as processor, Weir(processor, listener={"timeouts": {"idle": "300ms"}}) as weir:
        with case("that never spoke"), weir.client() as client:
            started = time.monotonic()
            client.check_closed()
            took_at_least(started, 0.28)
        with case("behind an answer"), weir.client() as client:
            check_equal(client.ask("GET", "/x").status, 200)
            started = time.monotonic()
            client.check_closed()
            took_at_least(started, 0.28)
        with case("a request in time starts it anew"), weir.client() as client:
            for _ in range(4):
                time.sleep(0.15)
                check_equal(client.ask("GET", "/x").status, 200)
        check_equal(len(processor.requests()), 5)


def test_a_client_that_reads_nothing_is_reset():
    with Processor() as processor, Weir(processor, listener={"timeouts": {"write": "400ms"}}) as weir:
        processor.answer(response(200, [], b"a" * 20_000_000))
        with weir.client(rcvbuf=4096) as client:
            started = time.monotonic()
            client.send(request("POST", "/x", [], b"x=1"))
            line = weir.next_access(0)
            took_at_least(started, 0.38)
            check_equal(line["weir.reason"], "client_gone")


def test_a_slow_answer_is_504_and_unknown():
    with Processor() as processor, Weir(processor, acme={"timeouts": {"response": "300ms"}}) as weir:
        hold = Hold()
        processor.answer(hold)
        started = time.monotonic()
        answer = weir.ask("POST", "/v1/payments", [], b"x=1")
        took_at_least(started, 0.28)
        check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry),
                    (504, "response_timeout", "unknown", "no"))
        hold.release()
        with case("the link is never used again"):
            check_equal(weir.ask("POST", "/next", [], b"x=1").status, 200)
            check_equal(processor.requests()[-1].link.number, 2)
        with case("half a head is not an answer"):
            processor.answer([b"HTTP/1.1 200 OK\r\nContent-Le", Hold()])
            answer = weir.ask("POST", "/v1/payments", [], b"x=1")
            check_equal((answer.status, answer.weir_reason, answer.outcome), (504, "response_timeout", "unknown"))
        with case("interim answers are not an answer"):
            processor.answer([b"HTTP/1.1 103 Early Hints\r\n\r\n", Hold()])
            answer = weir.ask("POST", "/v1/payments", [], b"x=1")
            check_equal((answer.status, answer.weir_reason), (504, "response_timeout"))


def test_a_late_answer_reaches_nobody():
    with Processor() as processor, Weir(processor, acme={"timeouts": {"response": "200ms"}}) as weir, weir.client() as client:
        hold = Hold(response(200, [], b"late"))
        processor.answer(hold)
        check_equal(client.ask("POST", "/v1/payments", [], b"x=1").status, 504)
        hold.release()
        for number in range(20):
            answer = client.ask("GET", "/next", [f"X-Nonce: {number}"])
            check(f'"nonce": "{number}"'.encode() in answer.body, f"{answer.body!r}")


def test_an_answer_that_never_ends_is_cut_at_total():
    def drip(link, request):
        link.send(response(200, ["Content-Length: 1000000"], length=False))
        for _ in range(400):
            link.send(b"a")
            time.sleep(0.05)

    with Processor() as processor, Weir(processor, acme={"timeouts": {"connect": "100ms", "response": "300ms",
                                                                      "total": "600ms"}}) as weir:
        processor.answer(drip)
        started = time.monotonic()
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            line = weir.next_access(0)
            took_at_least(started, 0.58)
            check_equal((line["weir.reason"], line["weir.outcome"]), ("response_timeout", "unknown"))
            client.read_head()
            try:
                client.read_exactly(1000000)
                check(False, "the answer was completed")
            except AssertionError as error:
                check("early" in str(error) or "reset" in str(error), str(error))


def test_a_route_may_have_its_own():
    with Processor() as processor, Weir(processor, routes=[
            {"name": "quick", "match": {"path": "/quick"}, "to": "acme", "timeouts": {"response": "200ms", "total": "2s"}},
            {"name": "all", "to": "acme"}], acme={"timeouts": {"response": "20s"}}) as weir:
        hold = Hold()
        processor.answer(hold)
        answer = weir.ask("POST", "/quick", [], b"x=1")
        check_equal((answer.status, answer.weir_reason), (504, "response_timeout"))


def test_a_connection_that_does_not_come_is_504_and_not_sent():
    with Blackhole() as nowhere, Weir(nowhere, acme={"timeouts": {"connect": "300ms"}}) as weir:
        started = time.monotonic()
        answer = weir.ask("POST", "/v1/payments", [], b"x=1")
        took_at_least(started, 0.28)
        check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry),
                    (504, "connect_timeout", "not_sent", "safe"))
        check_equal(weir.ask("POST", "/v1/payments", ["Idempotency-Key: k"], b"x=1").retry, "same_key")


def test_a_request_whose_time_is_up_in_the_queue_is_504_and_not_sent():
    with Processor() as processor, Weir(processor, acme={"timeouts": {"connect": "100ms", "response": "5s", "total": "6s"},
                                                         "pool": {"connections": 1}},
                                        routes=[{"name": "short", "match": {"path": "/short"}, "to": "acme",
                                                 "timeouts": {"response": "200ms", "total": "500ms"}},
                                                {"name": "all", "to": "acme"}]) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as first:
            first.send(request("POST", "/long", [], b"x=1"))
            hold.wait()
            started = time.monotonic()
            answer = weir.ask("POST", "/short", [], b"x=1")
            took_at_least(started, 0.48)
            check_equal((answer.status, answer.weir_reason, answer.outcome), (504, "deadline_before_send", "not_sent"))
            hold.release()
            check_equal(first.read_response().status, 200)
        check_equal([got.target for got in processor.requests()], ["/long"])


def test_a_processor_that_takes_no_bytes():
    """Its window is full before the request is out: sent, and no answer."""
    def read_nothing(link):
        time.sleep(10)

    with Processor(on_link=read_nothing) as processor, Weir(
            processor, listener={"limits": {"body": "64MiB"}},
            acme={"timeouts": {"connect": "200ms", "response": "400ms", "total": "1500ms"}}) as weir:
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"a" * 20_000_000))
            answer = client.read_response()
            check_equal((answer.status, answer.outcome), (504, "unknown"))
            check(answer.weir_reason in ("response_timeout", "write_failed"), answer.weir_reason)


def test_a_streamed_body_that_stops_is_408_and_unknown():
    """Part of it has reached the processor: nothing may be called safe, and nobody may say that nothing was sent."""
    with Processor() as processor, Weir(processor, listener={"timeouts": {"body": "300ms"}},
                                        routes=[{"name": "files", "to": "acme", "stream": "request"}]) as weir:
        rows = {
            "it stalls": (b"Content-Length: 10\r\n\r\nhello", b"", 408, "request_timeout"),
            "it breaks": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"zz\r\n", 400, "bad_request"),
            "it grows too large": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"ffffff\r\n", 413, "body_too_large"),
        }
        for number, (name, (first, second, status, reason)) in enumerate(rows.items()):
            with case(name), weir.client() as client:
                client.send(b"POST /files HTTP/1.1\r\nHost: a\r\n" + first)
                link = processor.wait_links(number + 1)[number]
                wait_until(lambda: b"hello" in link.received, what="the first part at the processor")
                client.send(second)
                answer = client.read_response()
                check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry), (status, reason, "unknown", "no"))
                check(b"nothing was sent" not in answer.body, f"{answer.body}")
                link.wait_end()
        check_equal(processor.requests(), [], "whole requests")
