"""Bodies both ways: sizes, limits, slow and vanishing peers, memory."""

import hashlib
import os
import threading

from harness import case, check, check_equal, wait_until
from harness.http import Closed, chunked, request
from harness.processor import Hold, Processor, response
from harness.weir import Weir


def digest(answer):
    return answer.body.split(b'"body_sha256": "')[1][:64].decode()


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def test_request_bodies_of_all_sizes_arrive_whole():
    with Processor() as processor, Weir(processor, listener={"limits": {"body": "4MiB"}}) as weir, weir.client() as client:
        for size in (0, 1, 4095, 4096, 4097, 16384, 65535, 65536, 262144, 1000000, 4 * 1024 * 1024):
            body = os.urandom(size)
            with case(f"{size} with a length"):
                answer = client.ask("POST", "/x", [], body)
                check_equal((answer.status, digest(answer)), (200, hashlib.sha256(body).hexdigest()))
            with case(f"{size} in chunks"):
                parts = [body[at:at + 9000] for at in range(0, size, 9000)]
                client.send(request("POST", "/x", ["Transfer-Encoding: chunked"]) + chunked(*parts))
                answer = client.read_response()
                check_equal((answer.status, digest(answer)), (200, hashlib.sha256(body).hexdigest()))
                got = processor.requests()[-1]
                check_equal((got.header("Content-Length"), got.header("Transfer-Encoding")), (str(size), None))


def test_a_body_over_the_limit_is_413_and_sends_nothing_on():
    with Processor() as processor, Weir(processor, listener={"limits": {"body": "1KiB"}},
                                        routes=[{"name": "large", "match": {"path": "/large"}, "to": "acme", "body": "2KiB"},
                                                {"name": "small", "match": {"path": "/small"}, "to": "acme", "body": "10B"},
                                                {"name": "all", "to": "acme"}]) as weir:
        rows = [("/x", 1024, 200), ("/x", 1025, 413), ("/large", 2048, 200), ("/large", 2049, 413), ("/small", 10, 200),
                ("/small", 11, 413)]
        for target, size, status in rows:
            for framing in ("length", "chunks"):
                with case(f"{size} bytes to {target}, {framing}"):
                    processor.forget()
                    with weir.client() as client:
                        raw = request("POST", target, [], b"a" * size)
                        if framing == "chunks":
                            raw = request("POST", target, ["Transfer-Encoding: chunked"]) + chunked(b"a" * size)
                        client.send(raw)
                        answer = client.read_response()
                        check_equal(answer.status, status)
                        if status == 413:
                            check_equal((answer.weir_reason, answer.outcome), ("body_too_large", "not_sent"))
                            client.check_closed()
                    processor.check_only(1 if status == 200 else 0)


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        answer = client.read_response()
        check_equal((answer.status, answer.weir_reason), (413, "body_too_large"))
        client.check_closed()


def test_the_answer_to_a_refused_body_survives_what_the_client_still_sends():
    """RFC 9112 9.6: without a lingering close the reset of unread bytes would erase the 413."""
    with Processor() as processor, Weir(processor) as weir:
        for size in (300_000, 330_000):
            with case(str(size)), weir.client() as client:
                try:
                    client.send(request("POST", "/x", [], b"a" * size))
                except OSError:
                    pass
                check_equal(client.read_response().status, 413)


def test_nothing_goes_on_before_the_body_is_whole():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        raw = request("POST", "/slow", [], b"hello world")
        client.send_slowly(raw[:-1])
        check_equal(weir.ask("GET", "/other").status, 200)
        check_equal([got.target for got in processor.requests()], ["/other"])
        processor.check_only(1)
        client.send(raw[-1:])
        check_equal(client.read_response().status, 200)
        check_equal(processor.requests()[-1].body, b"hello world")


def test_answers_of_all_sizes_arrive_whole():
    with Processor() as processor, Weir(processor) as weir, weir.client(timeout_s=30) as client:
        for size in (0, 1, 4096, 16384, 65536, 262144, 1000000, 20_000_000):
            body = os.urandom(size)
            with case(f"{size} with a length"):
                processor.answer(response(200, [], body))
                answer = client.ask("GET", "/x")
                check(answer.body == body, f"{len(answer.body)} bytes came, or others")
            with case(f"{size} in chunks"):
                parts = [body[at:at + 70000] for at in range(0, size, 70000)]
                processor.answer(response(200, ["Transfer-Encoding: chunked"], length=False) + chunked(*parts))
                answer = client.ask("GET", "/x")
                check(answer.body == body, f"{len(answer.body)} bytes came, or others")


def test_a_slow_reader_does_not_grow_weir():
    """100 MiB to a client that reads nothing: weir holds a bounded part, and others are served meanwhile."""
    size = 100 * 1024 * 1024
    piece = b"a" * 65536

    def pour(link, request):
        link.send(response(200, [f"Content-Length: {size}"], length=False))
        for _ in range(size // len(piece)):
            link.send(piece)

    with Processor() as processor, Weir(processor, listener={"timeouts": {"write": "60s"}}) as weir:
        check_equal(weir.ask("GET", "/warm").status, 200)
        before = resident_kib(weir.pid)
        processor.answer(pour)
        with weir.client(timeout_s=60, rcvbuf=65536) as client:
            client.send(request("GET", "/large"))
            client.read_head()
            for _ in range(20):
                check_equal(weir.ask("GET", "/other").status, 200)
            grown = resident_kib(weir.pid) - before
            check(grown < 16 * 1024, f"weir grew by {grown} KiB for one slow reader")
            left = size
            while left:
                left -= len(client.read_exactly(min(left, 1 << 20)))
            client.check_open()


def test_a_slow_processor_does_not_grow_weir():
    """Clients with large requests for a processor that reads nothing."""
    stuck = threading.Event()

    def read_nothing(link):
        stuck.wait(30)
        while link.read_more():
            if link.received.endswith(b"END"):
                link.send(response(200, [], b"ok"))

    with Processor(on_link=read_nothing) as processor, Weir(
            processor, listener={"limits": {"body": "64MiB"}, "timeouts": {"body": "60s"}},
            routes=[{"name": "all", "to": "acme", "stream": "request"}]) as weir:
        before = resident_kib(weir.pid)
        with weir.client(timeout_s=60) as client:
            body = b"a" * (64 * 1024 * 1024 - 3) + b"END"
            sender = threading.Thread(target=client.send, args=(request("POST", "/x", [], body),), daemon=True)
            sender.start()
            processor.wait_links(1)
            for _ in range(20):
                check_equal(weir.ask_monitor("/livez").status, 200)
            grown = resident_kib(weir.pid) - before
            check(grown < 16 * 1024, f"weir grew by {grown} KiB for one slow processor")
            stuck.set()
            check_equal(client.read_response().status, 200)
            sender.join(10)


def test_a_client_that_leaves_in_the_middle_of_its_answer():
    released = threading.Event()

    def slowly(link, request):
        link.send(response(200, ["Content-Length: 2000000"], length=False) + b"a" * 1_000_000)
        released.wait(20)
        link.send(b"a" * 1_000_000)

    with Processor() as processor, Weir(processor) as weir:
        processor.answer(slowly)
        client = weir.client()
        client.send(request("POST", "/v1/payments", [], b"x=1"))
        client.read_head()
        client.read_exactly(1000)
        client.reset()
        check_equal(weir.ask("GET", "/other").status, 200)
        released.set()
        line = weir.wait_for_access({"url.path": "/v1/payments"})
        check_equal((line["weir.reason"], line["weir.outcome"]), ("client_gone", "answered"))


def test_all_buffered_bytes_have_one_bound():
    """Requests that wait with half a body each: beyond memory.buffers the next is shed, those that wait are served."""
    with Processor() as processor, Weir(processor, memory={"buffers": "1MiB"}, listener={"limits": {"body": "1MiB"}}) as weir:
        half = b"a" * 200_000
        clients = []
        shed = 0
        for number in range(12):
            client = weir.client()
            client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 200001\r\n\r\n" + half)
            clients.append(client)
        check_equal(weir.ask_monitor("/livez").status, 200)
        answers = []
        for client in clients:
            try:
                client.send(b"b")
            except OSError:
                pass  # shed already: the answer is there to be read
            try:
                answers.append(client.read_response())
            except Closed:
                answers.append(None)
        statuses = [answer and answer.status for answer in answers]
        shed = [answer for answer in answers if answer is not None and answer.status == 503]
        check(shed and statuses.count(200) >= 2, f"{statuses}")
        for answer in shed:
            check_equal((answer.weir_reason, answer.outcome, answer.retry), ("shed", "not_sent", "safe"))
            check(int(answer.header("Retry-After")) >= 1, "Retry-After")
        check_equal(len(processor.requests()), statuses.count(200))
        wait_until(lambda: weir.ask("POST", "/x", [], half).status == 200, what="room again")
        check_equal(weir.metric("weir_buffers_bytes") < 1_000_000, True)


def test_a_streamed_request_goes_on_as_it_comes():
    with Processor() as processor, Weir(processor, routes=[
            {"name": "files", "match": {"path": "/files/*"}, "to": "acme", "stream": "request", "body": "100MiB"},
            {"name": "all", "to": "acme"}]) as weir:
        with case("the processor sees the head before the body is whole"), weir.client() as client:
            client.send(b"POST /files/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
            link = processor.wait_links(1)[0]
            wait_until(lambda: link.received.endswith(b"hello"), what="the first half")
            check(b"Content-Length: 10\r\n" in link.received, f"{link.received!r}")
            client.send(b"world")
            check_equal(client.read_response().status, 200)
            check_equal(processor.requests()[-1].body, b"helloworld")
        with case("chunks stay chunks"), weir.client() as client:
            client.send(request("POST", "/files/1", ["Transfer-Encoding: chunked"]) + chunked(b"hello", b"world"))
            check_equal(client.read_response().status, 200)
            got = processor.requests()[-1]
            check_equal((got.body, got.header("Transfer-Encoding"), got.header("Content-Length")),
                        (b"helloworld", "chunked", None))
        with case("50 MiB"), weir.client(timeout_s=60) as client:
            body = os.urandom(1 << 20) * 50
            client.send(request("POST", "/files/1", [], body))
            answer = client.read_response()
            check_equal((answer.status, digest(answer)), (200, hashlib.sha256(body).hexdigest()))
        with case("over its limit"), weir.client() as client:
            client.send(b"POST /files/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
            check_equal(client.read_response().status, 413)
        with case("a cut is never completed"):
            client = weir.client()
            client.send(b"POST /files/cut HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
            count = len(processor.requests())
            wait_until(lambda: any(link.unread.endswith(b"hello") for link in processor.links), what="the first half")
            client.reset()
            line = weir.wait_for_access({"url.path": "/files/cut"})
            check_equal((line["weir.reason"], line["weir.outcome"]), ("client_gone", "unknown"))
            wait_until(lambda: any(link.ended == "reset" for link in processor.links), what="the link's reset")
            check_equal(len(processor.requests()), count)


def test_the_nonce_of_a_held_answer_is_its_own():
    hold = Hold(response(200, [], b"a" * 300_000))
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        processor.answer(hold)
        client.send(request("GET", "/one"))
        hold.wait()
        check_equal(weir.ask("GET", "/two", ["X-Nonce: two"]).body.count(b"two"), 2)
        hold.release()
        check_equal(client.read_response().body, b"a" * 300_000)


def test_the_connection_goes_on_after_an_upload_that_was_held_back():
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 1}}, routes=[
            {"name": "upload", "match": {"path": "/upload"}, "to": "acme", "stream": "request"},
            {"name": "rest", "to": "acme"}]) as weir, weir.client() as client, weir.client() as first:
        hold = Hold()
        processor.answer(hold)
        first.send(request("POST", "/first", [], b"x=1"))
        hold.wait()
        client.send(request("POST", "/upload", [], b"a" * 80000))
        client.send(request("GET", "/behind"))
        hold.release()
        check_equal(first.read_response().status, 200)
        check_equal(client.read_response().status, 200)
        check_equal(client.read_response().status, 200)
