"""What a processor may put on the wire, and what of it a client gets to see.

A processor is trusted with money, not with framing: an answer that could be
read in two ways would hand one merchant another's. Rows of reliability.md 3.2
and the leniencies of 3.3.
"""

from harness import Failure, case, check, check_equal, deadline
from harness.http import Closed, chunked
from harness.processor import Processor, response
from harness.weir import Weir

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def head(lines, body=b"hello", line=OK):
    return line + lines + b"\r\n" + body


MALFORMED = {
    "length and chunked": head(b"Content-Length: 15\r\n" + CHUNKED, HELLO),
    "chunked and length": head(CHUNKED + b"Content-Length: 15\r\n", HELLO),
    "two lengths that differ": head(b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    "two equal lengths": head(FIVE + FIVE),
    "two codings": head(CHUNKED + CHUNKED, HELLO),
    "coding in HTTP/1.0": head(CHUNKED, HELLO, b"HTTP/1.0 200 OK\r\n"),
    "a folded value": head(FIVE + b"X-A: b\r\n c\r\n"),
    "a folded coding": head(b"Transfer-Encoding:\r\n chunked\r\n", HELLO),
    "a folded length": head(b"X-A: b\r\n Content-Length: 5\r\n"),
    "white space before the first field": OK + b" " + FIVE + b"\r\nhello",
    "a space before the colon": head(b"Content-Length : 5\r\n"),
    "an empty name": head(FIVE + b": b\r\n"),
    "no colon": head(FIVE + b"X-A\r\n"),
    "a space in a name": head(FIVE + b"X A: b\r\n"),
    "LF behind the status line": b"HTTP/1.1 200 OK\n" + FIVE + b"\r\nhello",
    "LF behind a field": OK + b"Content-Length: 5\n\r\nhello",
    "LF as the empty line": OK + FIVE + b"\nhello",
    "CR in a value": head(FIVE + b"X-A: b\rSet-Cookie: c\r\n"),
    "CR in the reason": head(FIVE, line=b"HTTP/1.1 200 O\rK\r\n"),
    "CR X ends the head": OK + b"Content-Length: 5\r\n\rXhello\r\n\r\n",
    "NUL in a value": head(FIVE + b"X-A: b\x00c\r\n"),
    "NUL in the reason": head(FIVE, line=b"HTTP/1.1 200 O\x00K\r\n"),
    "a control byte in a value": head(FIVE + b"X-A: \x01\r\n"),
    "an empty line first": b"\r\n" + head(FIVE),
    "a space first": b" " + head(FIVE),
    "no version": head(FIVE, line=b"200 OK\r\n"),
    "no status": head(FIVE, line=b"HTTP/1.1 OK\r\n"),
    "two spaces before the status": head(FIVE, line=b"HTTP/1.1  200 OK\r\n"),
    "a status of two digits": head(FIVE, line=b"HTTP/1.1 20 OK\r\n"),
    "a status of four digits": head(FIVE, line=b"HTTP/1.1 2000 OK\r\n"),
    "status 099": head(FIVE, line=b"HTTP/1.1 099 X\r\n"),
    "status 600": head(FIVE, line=b"HTTP/1.1 600 X\r\n"),
    "status 999": head(FIVE, line=b"HTTP/1.1 999 X\r\n"),
    "status -1": head(FIVE, line=b"HTTP/1.1 -01 X\r\n"),
    "HTTP/2.0": head(FIVE, line=b"HTTP/2.0 200 OK\r\n"),
    "HTTP/0.9": head(FIVE, line=b"HTTP/0.9 200 OK\r\n"),
    "HTTP/1.2": head(FIVE, line=b"HTTP/1.2 200 OK\r\n"),
    "http/1.1": head(FIVE, line=b"http/1.1 200 OK\r\n"),
    "ICY": head(FIVE, line=b"ICY 200 OK\r\n"),
    "TLS": b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n",
    "frames of HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18 + b"\r\n\r\n",
    "HTML": b"<html><body>502 Bad Gateway</body></html>\r\n\r\n",
    "101": head(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"", b"HTTP/1.1 101 Switching Protocols\r\n"),
    "101 without Upgrade": head(FIVE, line=b"HTTP/1.1 101 Switching Protocols\r\n"),
    "eleven interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 11 + head(FIVE),
    "a malformed interim answer": b"HTTP/1.1 100 Continue\n\n" + head(FIVE),
    "1000 fields": head(FIVE + b"".join(b"X-%d: a\r\n" % i for i in range(1000))),
    "a head of 80 KiB": head(FIVE + b"X-A: " + b"a" * 80000 + b"\r\n"),
}
for text in (b"five", b"+5", b"-5", b"05", b"5,5", b"5, 5", b"", b"5 5", b"0x5", b"5.0", b"1" * 19,
             b"18446744073709551615", b"18446744073709551621"):
    MALFORMED[f"length {text!r}"] = head(b"Content-Length: " + text + b"\r\n")
for text in (b"gzip", b"identity", b"chunked, chunked", b"gzip, chunked", b"xchunked", b"", b'"chunked"', b",chunked",
             b"chunked;q=1", b"chunked\x0b"):
    MALFORMED[f"coding {text!r}"] = head(b"Transfer-Encoding: " + text + b"\r\n", HELLO)

# Nothing of the body may reach the client as if it were whole.
MALFORMED_CHUNKS = {
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "not hex": b"zz\r\nhello\r\n0\r\n\r\n",
    "too many digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "2^64-1": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "two bytes behind the data": b"5\r\nhelloXX0\r\n\r\n",
    "longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "LF behind the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "LF as the end": b"5\r\nhello\r\n0\r\n\n",
    "extensions of 300 bytes": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "a trailer that frames": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: a\r\n b\r\n\r\n",
}


def check_502(answer, reason):
    check_equal((answer.status, answer.weir_reason), (502, reason))
    check_equal(answer.outcome, "unknown")


def check_recovers(weir, processor):
    """The next request is served, on another link than the one that went wrong."""
    answer = weir.ask("GET", "/next", ["X-Nonce: next"])
    check_equal(answer.status, 200, "the next request")
    check(b'"nonce": "next"' in answer.body, f"the next request got {answer.body!r}")


def test_a_malformed_head_is_502_with_an_unknown_outcome():
    with Processor() as processor, Weir(processor) as weir:
        for name, raw in MALFORMED.items():
            with case(name):
                processor.forget()
                processor.answer([raw])
                answer = weir.ask("POST", "/v1/payments", [], b"x=1")
                check_502(answer, "response_malformed")
                check(b"hello" not in answer.body, "the processor's bytes are in the answer")
                processor.requests()[0].link.wait_end()
                check_recovers(weir, processor)


@deadline(120)
def test_a_malformed_head_is_refused_however_it_arrives():
    def trickle(raw):
        def send(link, request):
            try:
                for at in range(0, len(raw), max(1, len(raw) // 40)):
                    link.send(raw[at:at + max(1, len(raw) // 40)])
            except OSError:
                pass  # weir has seen enough
        return send

    with Processor() as processor, Weir(processor) as weir:
        for name, raw in MALFORMED.items():
            with case(name):
                processor.answer(trickle(raw))
                check_502(weir.ask("POST", "/v1/payments", [], b"x=1"), "response_malformed")
                check_recovers(weir, processor)


def test_a_malformed_chunk_never_ends_as_a_whole_answer():
    with Processor() as processor, Weir(processor) as weir:
        for number, (name, raw) in enumerate(MALFORMED_CHUNKS.items()):
            with case(name):
                processor.forget()
                processor.answer([head(CHUNKED, raw)])
                with weir.client() as client:
                    try:
                        answer = client.ask("POST", f"/{number}", [], b"x=1")
                    except Closed:
                        pass  # its head had gone out: the cut is all that can be said
                    else:
                        check_502(answer, "response_malformed")
                processor.requests()[0].link.wait_end()
                line = weir.wait_for_access({"url.path": f"/{number}"})
                check_equal((line["weir.reason"], line["weir.outcome"]), ("response_malformed", "unknown"))
                check_recovers(weir, processor)


def test_an_answer_without_a_length_is_refused():
    with Processor() as processor, Weir(processor) as weir:
        for name, line in (("HTTP/1.1", OK), ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n")):
            with case(name):
                processor.answer([head(b"Content-Type: text/plain\r\n", b"hello", line), "close"])
                check_502(weir.ask("POST", "/v1/payments", [], b"x=1"), "response_malformed")


def test_an_answer_from_http_1_0_with_a_length_is_passed():
    with Processor() as processor, Weir(processor) as weir:
        processor.answer([head(FIVE, b"hello", b"HTTP/1.0 200 OK\r\n")])
        answer = weir.ask("POST", "/v1/payments", [], b"x=1")
        check_equal((answer.status, answer.body, answer.version), (200, b"hello", "1.1"))
        processor.requests()[0].link.wait_end()  # 1.0 without keep-alive


def test_a_connection_closed_without_an_answer_is_unknown():
    with Processor() as processor, Weir(processor) as weir:
        for name, how in (("close", "close"), ("reset", "reset"), ("half-close", "half-close")):
            with case(name):
                processor.answer(how)
                answer = weir.ask("POST", "/v1/payments", [], b"x=1")
                check_502(answer, "closed_before_response")
                check_recovers(weir, processor)


def test_a_head_that_is_cut_short_is_unknown():
    with Processor() as processor, Weir(processor) as weir:
        for how in ("close", "reset"):
            with case(how):
                processor.answer([OK + b"Content-Le", how])
                check_502(weir.ask("POST", "/v1/payments", [], b"x=1"), "response_incomplete")


def test_a_body_that_is_cut_short_is_never_padded():
    cuts = {
        "length": head(FIVE, b"hel"),
        "length, nothing": head(FIVE, b""),
        "inside a chunk": head(CHUNKED, b"5\r\nhel"),
        "between chunks": head(CHUNKED, b"5\r\nhello\r\n"),
        "before the last line": head(CHUNKED, b"5\r\nhello\r\n0\r\n"),
        "large": head(b"Content-Length: 1000000\r\n", b"a" * 500000),
    }
    with Processor() as processor, Weir(processor) as weir:
        for number, (name, raw) in enumerate(cuts.items()):
            for how in ("close", "reset"):
                with case(f"{name}, {how}"):
                    processor.answer([raw, how])
                    with weir.client() as client:
                        try:
                            answer = client.ask("POST", f"/{number}-{how}", [], b"x=1")
                        except Closed:
                            pass
                        else:
                            check_502(answer, "response_incomplete")
                    line = weir.wait_for_access({"url.path": f"/{number}-{how}"})
                    check_equal((line["weir.reason"], line["weir.outcome"]), ("response_incomplete", "unknown"))


def test_bytes_behind_an_answer_reach_nobody():
    extra = {
        "garbage": b"garbage",
        "an empty line": b"\r\n",
        "a second answer": head(FIVE, b"EVIL!"),
        "a second answer with a nonce": response(200, [], b'{"nonce": "stolen"}'),
    }
    with Processor() as processor, Weir(processor) as weir:
        for name, more in extra.items():
            for framing, first in (("length", head(FIVE)), ("chunks", head(CHUNKED, HELLO)),
                                   ("204", head(b"", b"", b"HTTP/1.1 204 No Content\r\n"))):
                with case(f"{name} behind {framing}"):
                    processor.forget()
                    processor.answer([first + more])
                    with weir.client() as client:
                        answer = client.ask("POST", "/v1/payments", [], b"x=1")
                        check_equal(answer.status, 204 if framing == "204" else 200)
                        check_equal(answer.body, b"" if framing == "204" else b"hello")
                        processor.requests()[0].link.wait_end()
                        again = client.ask("GET", "/next", ["X-Nonce: next"])
                        check(b'"nonce": "next"' in again.body, f"the next request got {again.body!r}")


def test_unasked_bytes_on_an_idle_link_close_it():
    with Processor() as processor, Weir(processor) as weir:
        check_equal(weir.ask("GET", "/one").status, 200)
        link = processor.links[0]
        link.send(response(200, [], b'{"nonce": "stolen"}'))
        link.wait_end()
        check_recovers(weir, processor)
        check_equal(len(processor.links), 2, "links")


def test_interim_answers_are_swallowed():
    with Processor() as processor, Weir(processor) as weir:
        for name, interim in {
                "100": b"HTTP/1.1 100 Continue\r\n\r\n",
                "102": b"HTTP/1.1 102 Processing\r\n\r\n",
                "103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n",
                "100 with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
                "ten": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10,
        }.items():
            with case(name):
                processor.answer([interim + head(FIVE)])
                answer = weir.ask("POST", "/v1/payments", [], b"x=1")
                check_equal((answer.status, answer.body, answer.interim), (200, b"hello", []))
                check_recovers(weir, processor)


def test_answers_that_have_no_body_have_none_whatever_they_say():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        rows = {
            "HEAD with a length": ("HEAD", head(FIVE, b"")),
            "HEAD with chunks": ("HEAD", head(CHUNKED, b"")),
            "HEAD without": ("HEAD", head(b"", b"")),
            "204": ("POST", head(b"", b"", b"HTTP/1.1 204 No Content\r\n")),
            "204 with a length": ("POST", head(FIVE, b"", b"HTTP/1.1 204 No Content\r\n")),
            "304": ("GET", head(b"", b"", b"HTTP/1.1 304 Not Modified\r\n")),
            "304 with a length": ("GET", head(FIVE, b"", b"HTTP/1.1 304 Not Modified\r\n")),
        }
        for name, (method, raw) in rows.items():
            with case(name):
                processor.answer([raw])
                answer = client.ask(method, "/x", [], b"x=1" if method == "POST" else None)
                check_equal(answer.body, b"")
                check_equal(answer.all("Transfer-Encoding"), [])
                if answer.status == 204:
                    check_equal(answer.all("Content-Length"), [])
                again = client.ask("GET", "/next", ["X-Nonce: n"])
                check(b'"nonce": "n"' in again.body, f"the next answer is {again.body!r}")
        check_equal(len(processor.links), 1, "links: a body that is not there does not cost the link")


def test_fields_of_an_answer_pass_as_they_are():
    lines = [("Content-Type", "application/json"), ("X-a", "1"), ("x-B", "2"), ("X-a", "3"),
             ("Set-Cookie", "a=b; Path=/"), ("Set-Cookie", "c=d"), ("Location", "https://x.example/y?z=%20"),
             ("ETag", '"v1"'), ("Idempotent-Replayed", "true"), ("Stripe-Version", "2026-01-01"), ("Empty", ""),
             ("Date", "Sun, 22 Nov 2026 10:00:00 GMT"), ("Server", "acme")]
    with Processor() as processor, Weir(processor) as weir:
        processor.answer(response(201, lines, b"hello", "Created"))
        answer = weir.ask("POST", "/v1/payments", [], b"x=1")
        check_equal((answer.status, answer.body, answer.outcome), (201, b"hello", "answered"))
        kept = [pair for pair in answer.headers if pair in lines]
        check_equal(kept, lines)
        check_equal(answer.weir_reason, None)
        check_equal(answer.header("Content-Length"), "5")


def test_fields_of_one_hop_and_weirs_own_do_not_pass():
    gone = [("Connection", "X-Hop, keep-alive"), ("X-Hop", "a"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"),
            ("Upgrade", "h2c"), ("Trailer", "X-T"), ("TE", "trailers"), ("Weir-Outcome", "not_sent"), ("Weir-Retry", "safe"),
            ("Weir-Reason", "rate_limited"), ("Weir-Request-Id", "forged")]
    with Processor() as processor, Weir(processor) as weir:
        processor.answer(response(200, [*gone, ("X-Stays", "b")], b"hello"))
        answer = weir.ask("POST", "/v1/payments", [], b"x=1")
        for name, value in gone:
            with case(name):
                check(value not in answer.all(name), f"{name}: {answer.all(name)}")
        check_equal(answer.header("X-Stays"), "b")
        check_equal(answer.outcome, "answered")


def test_chunks_of_an_answer_are_joined_or_chunked_anew():
    with Processor() as processor, Weir(processor) as weir:
        for name, raw in {
                "one": chunked(b"hello"),
                "five": chunked(b"h", b"e", b"l", b"l", b"o"),
                "none": chunked(),
                "extensions": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
                "a trailer": b"5\r\nhello\r\n0\r\nX-T: a\r\n\r\n",
        }.items():
            with case(name):
                processor.answer([head(CHUNKED, raw)])
                answer = weir.ask("POST", "/v1/payments", [], b"x=1")
                check_equal((answer.status, answer.body), (200, b"" if name == "none" else b"hello"))
                check_equal(answer.all("X-T"), [])
                check_recovers(weir, processor)


def test_an_early_answer_is_relayed_and_its_link_closed():
    """The answer comes while weir still writes a large request."""
    def early(link):
        while b"\r\n\r\n" not in link.received:
            if not link.read_more():
                return
        link.send(response(413, [], b"too much", "Content Too Large"))

    with Processor(on_link=early) as processor, Weir(
            processor, listener={"limits": {"body": "16MiB"}}) as weir:
        answer = weir.ask("POST", "/v1/files", [], b"a" * 8_000_000)
        check_equal((answer.status, answer.body), (413, b"too much"))
        processor.links[0].wait_end()


def test_a_link_is_kept_only_after_a_faultless_exchange():
    with Processor() as processor, Weir(processor) as weir:
        for _ in range(3):
            check_equal(weir.ask("GET", "/x").status, 200)
        check_equal(len(processor.links), 1, "links of three faultless exchanges")
        processor.answer(response(200, ["Connection: close"], b"hello"))
        check_equal(weir.ask("GET", "/x").body, b"hello")
        processor.links[0].wait_end()
        check_recovers(weir, processor)
        check_equal(len(processor.links), 2, "links")


def test_garbage_without_an_end_is_bounded():
    """A processor that never stops saying interim answers, or its head, costs neither memory nor time."""
    def endless(piece):
        def send(link, request):
            try:
                for _ in range(200000):
                    link.send(piece)
            except OSError:
                return
            raise Failure("weir took it all")
        return send

    with Processor() as processor, Weir(processor) as weir:
        for name, piece in (("fields", b"X-A: " + b"a" * 1000 + b"\r\n"), ("interim answers", b"HTTP/1.1 103 E\r\n\r\n" * 50),
                            ("bytes", b"a" * 1000)):
            with case(name):
                processor.answer([OK if name == "fields" else b"", endless(piece)])
                check_502(weir.ask("POST", "/v1/payments", [], b"x=1"), "response_malformed")
                check_recovers(weir, processor)


def test_an_answer_of_many_small_chunks_in_one_packet_is_passed():
    with Processor() as processor, Weir(processor) as weir:
        for count in (1, 58, 59, 60, 61, 62, 63, 64, 65, 70, 128, 1000):
            with case(f"{count} chunks"):
                processor.answer([head(CHUNKED, b"1\r\na\r\n" * count + b"0\r\n\r\n")])
                answer = weir.ask("POST", "/x", [], b"x=1")
                check_equal((answer.status, answer.body), (200, b"a" * count))
