"""Where the ways of a sick processor cross: a second attempt and its late answer, an address that comes back with its
breaker open, payments that are nobody's probes, bodies that are no longer needed."""

import threading
import time

from harness import case, check, check_equal, deadline, wait_until
from harness.payments import SHORT, Embedded, headers_of, outcome, pay, paying, wait_state
from harness.processor import Hold, Processor, response
from harness.weir import Weir
from test_outcomes import closed_port

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
HALF_500 = b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nab"


def late(status, after_s):
    def answer(link, request):
        time.sleep(after_s)
        link.send(response(status, [], b"late"))
    return answer


@deadline(90)
def test_a_late_answer_is_judged_by_itself():
    """The first attempt's half an answer says nothing of the second's whole one."""
    for first, status, known in ((HALF, 500, None), (HALF, 409, None), (HALF_500, 200, "done")):
        with case(f"{status} behind a cut {first[9:12].decode()}"), Embedded() as store, Processor() as processor, \
                paying(store, processor) as weir:
            processor.answer([first, "close"], late(status, 2))
            answer = pay(weir, "order-1")
            check_equal((answer.status, answer.outcome), (504, "unknown"))
            if known:
                wait_state(weir, "order-1", known)
                check_equal(pay(weir, "order-1").outcome, "replayed")
                continue
            wait_until(lambda: len(processor.requests()) == 2, 10, "two attempts")
            processor.answer_always(response(200, [], b"the truth"))
            wait_state(weir, "order-1", "unknown")
            wait_until(lambda: weir.metric("weir_processor_connections", processor="acme", state="leased") == 0, 10,
                       "the late answer came, and its link is closed")
            check_equal(outcome(weir, "order-1")["state"], "unknown")
            answer = pay(weir, "order-1")
            check_equal((answer.status, answer.outcome, answer.body), (200, "answered", b"the truth"))


@deadline(60)
def test_a_key_without_a_record_does_not_move():
    """Its caller comes again with it, to the first processor, and nobody would remember that the other one was asked."""
    nobody, address = closed_port()
    route = {"name": "pay", "match": {"method": "POST", "path": "/*"}, "to": "acme", "failover": "standby"}
    with nobody, Processor() as standby, \
            Weir(None, processors={"acme": {"url": f"http://{address}"}, "standby": {"url": standby.url}},
                 routes=[route]) as weir:
        answer = pay(weir, "order-1")
        check_equal((answer.weir_reason, answer.outcome), ("connect_failed", "not_sent"))
        check_equal(len(standby.requests()), 0)
        check_equal(pay(weir, None).outcome, "answered")
        check_equal(len(standby.requests()), 1)


@deadline(60)
def test_a_read_moves_on_a_route_for_reads_alone():
    """Another processor does not know this one's payments: its 404 would be taken for the truth."""
    for method, moved in ((None, 0), ("GET", 1)):
        match = {"path": "/*", **({"method": method} if method else {})}
        nobody, address = closed_port()
        with case(f"method {method}"), nobody, Processor() as standby, \
                Weir(None, processors={"acme": {"url": f"http://{address}"}, "standby": {"url": standby.url}},
                     routes=[{"name": "all", "match": match, "to": "acme", "failover": "standby"}]) as weir:
            answer = weir.ask("GET", "/v1/payments/1")
            check_equal(len(standby.requests()), moved)
            check_equal(answer.outcome, "answered" if moved else "not_sent")


@deadline(90)
def test_an_address_that_comes_back_with_its_breaker_open_is_probed():
    with Embedded() as store, Processor() as first, Processor() as second:
        acme = {"endpoints": [first.authority], "timeouts": {**SHORT, "late": "60s"},
                "breaker": {"min_requests": 5, "open_for": "1s"}}
        with paying(store, first, acme=acme) as weir:
            first.answer_always(Hold())
            for number in range(8):
                if pay(weir, f"lost-{number}").weir_reason == "breaker_open":
                    break
            weir.change(processors={"acme": {"endpoints": [second.authority]}})
            weir.reload()
            check_equal(pay(weir, "elsewhere").outcome, "answered")
            first.answer_always(response(200, [], b"fine"))
            weir.change(processors={"acme": {"endpoints": [first.authority]}})
            weir.reload()
            numbers = iter(range(1000))
            wait_until(lambda: pay(weir, f"again-{next(numbers)}").outcome == "answered", 30, "it is probed, and taken")


@deadline(60)
def test_batch_payments_are_no_first_probe():
    """Class background is shed first; that makes its payments no reads."""
    with Processor() as processor, \
            Weir(processor, acme={"breaker": {"min_requests": 5, "open_for": "500ms"}},
                 routes=[{"name": "payouts", "match": {"path": "/*"}, "to": "acme", "class": "background"}]) as weir:
        processor.answer_always(response(503, [], b"sick"))
        for _ in range(8):
            answer = pay(weir, None)
        check_equal(answer.weir_reason, "breaker_open")
        processor.answer_always(response(200, [], b"fine"))
        weir.wait_event("breaker_half_open", timeout_s=10)
        asked = len(processor.requests())
        check_equal({pay(weir, None).weir_reason for _ in range(20)}, {"breaker_open"})
        check_equal(len(processor.requests()), asked)
        check_equal(weir.ask("GET", "/v1/payments/1").outcome, "answered")  # a read is, and then they go
        wait_until(lambda: pay(weir, None).outcome == "answered", 20, "payments go on")


@deadline(60)
def test_what_listens_on_holds_no_body():
    with Embedded() as store, Processor() as processor, paying(store, processor, acme={"timeouts": {**SHORT, "late": "30s"}}) as weir:
        processor.answer_always(Hold())
        body = b'{"a":"' + b"x" * 200000 + b'"}'

        def one(number):
            with weir.client(timeout_s=30) as client:
                check_equal(client.ask("POST", "/v1/payments", headers_of(f"order-{number}"), body).status, 504)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        held = weir.metric("weir_buffers_bytes")
        check(held < 1_000_000, f"{held} bytes are held for 10 payments that were answered")
