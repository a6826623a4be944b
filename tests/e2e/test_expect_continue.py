"""Expect: 100-continue is answered by weir, after the head passed every check, and never goes on."""

from harness import case, check, check_equal
from harness.http import request
from harness.processor import Processor, response
from harness.weir import Weir

EXPECT = "Expect: 100-continue"


def test_weir_says_100_and_the_processor_never_sees_the_wish():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        raw = request("POST", "/x", [EXPECT], b"hello")
        for _ in range(2):
            client.send(raw[:-5])
            check_equal(client.read_head().status, 100)
            client.send(raw[-5:])
            answer = client.read_response()
            check_equal((answer.status, answer.interim), (200, []))
            got = processor.requests()[-1]
            check_equal((got.body, got.header("Expect")), (b"hello", None))


def test_a_chunked_body_may_be_announced_too():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(request("POST", "/x", [EXPECT, "Transfer-Encoding: chunked"]))
        check_equal(client.read_head().status, 100)
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        check_equal(client.read_response().status, 200)
        check_equal(processor.requests()[-1].body, b"hello")


def test_the_processor_hears_nothing_before_the_body_is_there():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(request("POST", "/x", [EXPECT], b"hello")[:-5])
        check_equal(client.read_head().status, 100)
        check_equal(weir.ask("GET", "/other").status, 200)
        processor.check_only(1)


def test_a_request_that_is_refused_gets_no_100():
    with Processor() as processor, Weir(processor, listener={"limits": {"body": "1KiB"}},
                                        routes=[{"name": "pay", "match": {"path": "/pay"}, "to": "acme"}]) as weir:
        rows = {
            "too large": (request("POST", "/pay", [EXPECT], b"a" * 2000)[:-2000], 413),
            "no route": (request("POST", "/other", [EXPECT], b"hello")[:-5], 404),
            "malformed": (request("POST", "/pay", [EXPECT, "Host: twice"], b"hello")[:-5], 400),
            "another expectation": (request("POST", "/pay", ["Expect: 100-continue-please"], b"hello")[:-5], 417),
        }
        for name, (raw, status) in rows.items():
            with case(name), weir.client() as client:
                client.send(raw)
                answer = client.read_response()
                check_equal((answer.status, answer.interim), (status, []))
                check_equal(answer.outcome, "not_sent")
                client.check_closed()
        processor.check_only(0)


def test_a_client_that_does_not_wait_is_served():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(request("POST", "/x", [EXPECT], b"hello"))
        answer = client.read_response()
        check(answer.status == 200 and [one.status for one in answer.interim] in ([], [100]), f"{answer}")
        check_equal(client.ask("GET", "/next").status, 200)


def test_without_a_body_there_is_nothing_to_go_on_with():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        for name, raw in (("GET", request("GET", "/x", [EXPECT])), ("length 0", request("POST", "/x", [EXPECT], b""))):
            with case(name):
                client.send(raw)
                answer = client.read_response()
                check_equal((answer.status, answer.interim), (200, []))
                check_equal(processor.requests()[-1].header("Expect"), None)


def test_a_processors_own_100_does_not_reach_the_client():
    with Processor() as processor, Weir(processor) as weir:
        processor.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + response(200, [], b"hello"))
        answer = weir.ask("POST", "/x", [], b"hello")
        check_equal((answer.status, answer.interim, answer.body), (200, [], b"hello"))
