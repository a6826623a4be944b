"""Links to a processor: reused, young for what moves money, aged out, limited, queued for."""

import time

from harness import case, check, check_equal, wait_until
from harness.http import request
from harness.processor import Hold, Processor, response
from harness.weir import Weir


def test_links_are_reused():
    with Processor() as processor, Weir(processor) as weir:
        late = 0  # a POST takes no link that nobody used for 100 ms, while that is all that was seen there
        before = time.monotonic()
        for _ in range(50):
            began = time.monotonic()
            check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
            late += time.monotonic() - before > 0.09
            before = began
        links = len(processor.links)
        check(1 <= links <= 1 + late, f"{links} links, and {late} requests came late")
        check_equal(weir.metric("weir_processor_reused_total", processor="acme"), 50 - links)
        check(1 <= weir.metric("weir_processor_connections", processor="acme", state="idle") <= links, "idle links")


def test_a_post_takes_only_a_young_link():
    """A link idle for more than a second may be closing at the other end; a GET may find out, a payment may not."""
    with Processor() as processor, Weir(processor) as weir:
        for method, body in (("POST", b"x=1"), ("PUT", b"x=1"), ("PATCH", b"x=1"), ("DELETE", None), ("GET", None)):
            with case(method):
                check_equal(weir.ask("GET", "/warm").status, 200)
                old = processor.requests()[-1].link.number
                time.sleep(1.2)
                check_equal(weir.ask(method, "/x", [], body).status, 200)
                used = processor.requests()[-1].link.number
                check((used == old) == (method == "GET"), f"link {used} was used, {old} was idle")


def test_an_idle_link_is_closed_after_its_time():
    with Processor() as processor, Weir(processor, acme={"pool": {"idle": "300ms"}}) as weir:
        started = time.monotonic()
        check_equal(weir.ask("GET", "/x").status, 200)
        processor.links[0].wait_end()
        check(time.monotonic() - started >= 0.28, "too early")
        check_equal(weir.ask("GET", "/x").status, 200)
        check_equal(len(processor.links), 2)


def test_an_old_link_is_replaced():
    with Processor() as processor, Weir(processor, acme={"pool": {"age": "500ms"}}) as weir:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            check_equal(weir.ask("GET", "/x").status, 200)
        check(2 <= len(processor.links) <= 6, f"{len(processor.links)} links in 1.5 s")
        processor.links[0].wait_end()


def test_a_link_that_the_processor_closed_is_not_used():
    with Processor() as processor, Weir(processor) as weir:
        for how in ("close", "reset", "half_close"):
            with case(how):
                check_equal(weir.ask("GET", "/warm").status, 200)
                link = processor.requests()[-1].link
                getattr(link, how)()
                wait_until(lambda: weir.metric("weir_processor_connections", processor="acme", state="idle") == 0,
                           what="no idle link")
                check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)


def test_connections_are_limited_and_the_rest_wait_in_order():
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 2, "queue": 3}}) as weir:
        holds = [Hold(), Hold()]
        processor.answer(*holds)
        clients = []
        for number in range(5):
            client = weir.client()
            client.send(request("POST", f"/{number}", [], b"x=1"))
            clients.append(client)
            if number < 2:
                holds[number].wait()
            else:
                weir.wait_metric("weir_processor_queue_length", number - 1, processor="acme")
        with case("one more is refused"):
            answer = weir.ask("POST", "/5", [], b"x=1")
            check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry),
                        (503, "queue_full", "not_sent", "safe"))
            check(int(answer.header("Retry-After")) >= 1, "Retry-After")
        check_equal(len(processor.links), 2)
        for hold in holds:
            hold.release()
        check_equal([client.read_response().status for client in clients], [200] * 5)
        check_equal(sorted(got.target for got in processor.requests()[:2]), ["/0", "/1"])
        check_equal(len(processor.requests()), 5)
        check_equal(len(processor.links), 2)
        for client in clients:
            client.close()


def test_concurrency_limits_a_processor_over_all_its_endpoints():
    with Processor() as one, Processor() as two, Weir([one, two], acme={"concurrency": 2, "pool": {"queue": 1}}) as weir:
        holds = [Hold(), Hold()]
        one.answer_always(lambda link, got: holds[len(one.requests()) + len(two.requests()) - 1](link, got))
        two.answer_always(one.always)
        first, second, third = weir.client(), weir.client(), weir.client()
        for client in (first, second):
            client.send(request("POST", "/x", [], b"x=1"))
        wait_until(lambda: len(one.requests()) + len(two.requests()) == 2, what="two in flight")
        third.send(request("POST", "/third", [], b"x=1"))
        weir.wait_metric("weir_processor_queue_length", 1, processor="acme")
        check_equal(weir.ask("POST", "/fourth", [], b"x=1").weir_reason, "queue_full")
        one.answer_always(response(200, [], b"ok"))
        two.answer_always(response(200, [], b"ok"))
        for hold in holds:
            hold.release()
        check_equal([client.read_response().status for client in (first, second, third)], [200] * 3)
        for client in (first, second, third):
            client.close()


def test_no_queue_means_no_waiting():
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 1, "queue": 0}}) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            hold.wait()
            check_equal(weir.ask("POST", "/y", [], b"x=1").weir_reason, "queue_full")
            hold.release()
            check_equal(client.read_response().status, 200)


def test_a_processor_that_comes_late_is_found():
    """weir starts without its processors, says so, and serves as soon as they are there."""
    from harness.relay import Relay
    with Processor() as processor, Relay(processor.address) as relay:
        relay.refuse()
        with Weir(relay) as weir:
            check_equal(weir.ask("POST", "/x", [], b"x=1").weir_reason, "connect_failed")
            relay.listen_again()
            wait_until(lambda: weir.ask("POST", "/x", [], b"x=1").status == 200, what="the processor")


def test_metrics_of_links_return_to_nothing():
    with Processor() as processor, Weir(processor, acme={"pool": {"idle": "200ms"}}) as weir:
        for how in (None, "close", b"garbage\r\n\r\n", "reset"):
            if how:
                processor.answer(how)
            weir.ask("POST", "/x", [], b"x=1")
        for state in ("connecting", "leased", "idle"):
            weir.wait_metric("weir_processor_connections", 0, processor="acme", state=state)
        check_equal(weir.metric("weir_requests_in_flight"), 0)
        check_equal(weir.metric("weir_buffers_bytes") < 65536, True)
