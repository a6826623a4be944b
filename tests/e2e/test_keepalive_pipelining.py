"""Connections of clients: kept, pipelined, half-closed, left."""

import tempfile
import threading

from harness import case, check, check_equal, wait_until
from harness.http import Client, chunked, request
from harness.processor import Hold, Processor, response
from harness.weir import Weir


def nonce(answer):
    check(b'"nonce": "' in answer.body, f"not an echo: {answer}")
    return answer.body.split(b'"nonce": "')[1].split(b'"')[0].decode()


def test_a_connection_serves_many_requests():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        for number in range(200):
            answer = client.ask("POST" if number % 2 else "GET", "/x", [f"X-Nonce: {number}"], b"x" if number % 2 else None)
            check_equal((answer.status, nonce(answer)), (200, str(number)))
        client.check_open()
        check_equal(weir.metric("weir_connections_accepted_total", listener="public"), 1)
        processor.check_only(200)


def test_pipelined_requests_are_answered_in_order():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        many = b"".join(request("POST", f"/{number}", [f"X-Nonce: {number}"], b"a" * number) for number in range(100))
        threading.Thread(target=client.send, args=(many,), daemon=True).start()
        for number in range(100):
            check_equal(nonce(client.read_response()), str(number))
        processor.check_only(100)


def test_pipelined_requests_go_on_one_at_a_time():
    """The second must not reach a processor before the first is answered: the first may decide about it."""
    hold = Hold()
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        processor.answer(hold)
        client.send(request("POST", "/one", [], b"1") + request("POST", "/two", [], b"2"))
        hold.wait()
        check_equal(weir.ask("GET", "/other").status, 200)  # weir has turned meanwhile
        check_equal([got.target for got in processor.requests()], ["/one", "/other"])
        hold.release()
        check_equal([client.read_response().status for _ in range(2)], [200, 200])
        check_equal(processor.requests()[-1].target, "/two")


def test_pipelined_requests_in_every_framing():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        chunks = request("POST", "/chunks", ["Transfer-Encoding: chunked"]) + chunked(b"hel", b"lo")
        whole = request("POST", "/length", [], b"hello")
        client.send((chunks + whole + request("GET", "/none") + b"\r\n" + request("HEAD", "/head")) * 5)
        for _ in range(5):
            for head in (False, False, False, True):
                check_equal(client.read_response(head=head).status, 200)
        check_equal([got.target for got in processor.requests()], ["/chunks", "/length", "/none", "/head"] * 5)
        check_equal([got.body for got in processor.requests()][:2], [b"hello", b"hello"])
        processor.check_only(20)


def test_more_than_may_wait_is_held_back_and_still_served():
    """10,000 pipelined requests while the first is held: TCP holds the client, nothing is lost."""
    hold = Hold()
    with Processor() as processor, Weir(processor) as weir, weir.client(timeout_s=60) as client:
        processor.answer(hold)
        one = request("GET", "/x")
        sender = threading.Thread(target=client.send, args=(one * 10000,), daemon=True)
        sender.start()
        hold.wait()
        check_equal(weir.ask("GET", "/other").status, 200)
        hold.release()
        for _ in range(10000):
            check_equal(client.read_response().status, 200)
        sender.join(5)
        processor.check_only(10001)


def test_a_refused_request_ends_the_pipeline():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(request("GET", "/one") + b"GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + request("GET", "/three"))
        check_equal(client.read_response().status, 200)
        check_equal(client.read_response().status, 400)
        client.check_closed()
        check_equal([got.target for got in processor.requests()], ["/one"])


def test_connection_close_is_kept():
    with Processor() as processor, Weir(processor) as weir:
        for spelling in ("close", "Close", "close, x-a", "keep-alive, close", " close "):
            with case(spelling):
                processor.forget()
                with weir.client() as client:
                    client.send(request("GET", "/one", [f"Connection: {spelling}"]) + request("GET", "/two"))
                    answer = client.read_response()
                    check_equal((answer.status, answer.header("Connection")), (200, "close"))
                    client.check_closed()
                check_equal(weir.ask("GET", "/good").status, 200)
                check_equal([got.target for got in processor.requests()], ["/one", "/good"])


def test_a_processor_that_closes_does_not_close_the_client():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        for _ in range(3):
            processor.answer([response(200, ["Connection: close"], b"hello"), "close"])
            answer = client.ask("GET", "/x")
            check_equal((answer.status, answer.body), (200, b"hello"))
        client.check_open()


def test_a_half_closed_client_gets_its_answer():
    for name, more in (("one", b""), ("pipelined", request("GET", "/two"))):
        with case(name):
            hold = Hold()
            with Processor() as processor, Weir(processor) as weir, weir.client() as client:
                processor.answer(hold)
                client.send(request("POST", "/one", [], b"hello") + more)
                client.half_close()
                hold.wait()
                hold.release()
                check_equal(client.read_response().status, 200)
                if more:
                    check_equal(client.read_response().status, 200)
                client.check_closed()
                check_equal(len(processor.requests()), 2 if more else 1)


def test_a_client_that_ends_in_the_middle_sends_nothing_on():
    cuts = {
        "in the head": request("POST", "/cut", [], b"hello")[:-20],
        "in the body": request("POST", "/cut", [], b"hello")[:-1],
        "in a chunk": request("POST", "/cut", ["Transfer-Encoding: chunked"]) + b"5\r\nhel",
        "before the last chunk": request("POST", "/cut", ["Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n",
        "before the last line": request("POST", "/cut", ["Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n0\r\n",
    }
    with Processor() as processor, Weir(processor) as weir:
        seen = 0
        for name, raw in cuts.items():
            for how in ("half_close", "close", "reset"):
                with case(f"{name}, {how}"):
                    processor.forget()
                    client = weir.client()
                    client.send(raw)
                    getattr(client, how)()
                    line = weir.next_access(seen)
                    check_equal((line["weir.reason"], line["weir.outcome"]), ("client_gone", "not_sent"))
                    client.close()
                    check_equal(weir.ask("GET", "/good").status, 200)
                    weir.next_access(seen + 1)
                    seen += 2
                    processor.check_only(1)


def test_a_client_that_leaves_before_the_first_byte_cancels():
    """It waits for a link; what leaves the queue never reaches the processor."""
    hold = Hold()
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 1}}) as weir:
        processor.answer(hold)
        with weir.client() as first:
            first.send(request("POST", "/one", [], b"1"))
            hold.wait()
            second = weir.client()
            second.send(request("POST", "/two", [], b"2"))
            wait_until(lambda: weir.metric("weir_processor_queue_length", processor="acme") == 1, what="the queue")
            second.reset()
            line = weir.wait_for_access({"url.path": "/two"})
            check_equal((line["weir.reason"], line["weir.outcome"]), ("client_gone", "not_sent"))
            hold.release()
            check_equal(first.read_response().status, 200)
        check_equal(weir.ask("GET", "/good").status, 200)
        check_equal([got.target for got in processor.requests()], ["/one", "/good"])


def test_a_payment_outlives_its_client():
    """A reset after the request was sent does not reset the processor: the payment is under way."""
    hold = Hold()
    with Processor() as processor, Weir(processor) as weir:
        processor.answer(hold)
        client = weir.client()
        client.send(request("POST", "/v1/payments", [], b"x=1"))
        hold.wait()
        client.reset()
        check_equal(weir.ask("GET", "/other").status, 200)
        check_equal(processor.links[0].ended, None, "the link")
        hold.release()
        line = weir.wait_for_access({"url.path": "/v1/payments"})
        check_equal((line["weir.reason"], line["weir.outcome"], line["http.response.status_code"]),
                    ("client_gone", "answered", 499))


def test_an_idle_connection_costs_no_request():
    with Processor() as processor, Weir(processor) as weir:
        with weir.client():
            check_equal(weir.ask("GET", "/x").status, 200)
        with weir.client() as client:
            client.half_close()
            client.check_closed()
        weir.next_access(0)
        check_equal(len(weir.access_lines()), 1)


def test_per_address_limit_closes_the_next_connection_at_once():
    with Processor() as processor, Weir(processor, listener={"limits": {"per_address": 4}}) as weir:
        clients = [weir.client() for _ in range(4)]
        for client in clients:
            check_equal(client.ask("GET", "/x").status, 200)
        try:
            with Client(weir.address) as fifth:
                fifth.check_closed()
        except OSError:
            pass  # reset at once
        check_equal(weir.metric("weir_connections_refused_total", listener="public"), 1)
        with Client(weir.address, source="127.0.0.2") as other:
            check_equal(other.ask("GET", "/x").status, 200, "another address")
        clients.pop().close()
        wait_until(lambda: weir.metric("weir_clients", listener="public") == 3, what="3 clients")
        check_equal(weir.ask("GET", "/x").status, 200, "after one left")
        for client in clients:
            client.close()


def test_connections_over_the_limit_wait_in_the_kernel():
    with Processor() as processor, Weir(processor, listener={"limits": {"connections": 2}}) as weir:
        first, second = weir.client(), weir.client()
        check_equal([client.ask("GET", "/x").status for client in (first, second)], [200, 200])
        third = weir.client()
        third.send(request("GET", "/third"))
        check_equal(first.ask("GET", "/x").status, 200)
        check_equal([got.target for got in processor.requests()], ["/x"] * 3)
        second.close()
        check_equal(third.read_response().status, 200)
        first.close()
        third.close()


def test_a_unix_socket_is_a_listener_too():
    with tempfile.TemporaryDirectory() as folder, Processor() as processor:
        path = f"{folder}/front.sock"
        with Weir(processor, listener={"address": f"unix:{path}"}) as weir, Client(path) as client:
            check_equal(client.ask("GET", "/x").status, 200)
            line = weir.next_access(0)
            check_equal((line["client.address"], line["weir.listener"]), ("unix", "public"))


def test_answers_never_cross():
    """Many clients at once over few links: each gets the answer with its own nonce."""
    failures = []
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 8}}) as weir:
        def run(worker):
            try:
                with weir.client(timeout_s=30) as client:
                    for number in range(100):
                        mark = f"{worker}-{number}"
                        answer = client.ask("POST", "/x", [f"X-Nonce: {mark}"], mark.encode() * 20)
                        check_equal((answer.status, nonce(answer)), (200, mark))
            except Exception as error:
                failures.append(f"{worker}: {error}")
        workers = [threading.Thread(target=run, args=(worker,)) for worker in range(20)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        check_equal(failures, [])
        processor.check_only(2000)


def test_a_stray_crlf_behind_a_request_is_no_request():
    with Processor() as processor, Weir(processor, listener={"timeouts": {"header": "200ms"}}) as weir:
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            check_equal(client.read_response().status, 200)
            client.send(b"\r\n")
            with weir.client() as later:  # begins after it and runs out of time: by then the stray one would have
                later.send(b"P")
                check_equal(later.read_response().status, 408)
            client.check_open()
            check_equal(client.ask("POST", "/y", [], b"x=1").status, 200)
        check_equal(sorted(line.get("url.path", "") for line in weir.wait_for_access(count=3)), ["", "/x", "/y"])
