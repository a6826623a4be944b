"""What a client may put on the wire, and what of it a processor gets to see.

Refused requests: the client reads the status and the reason, its connection is
closed, and the processor has not received one byte. Each case asks a second,
good request behind the bad one, so that "nothing came" is known and not hoped.
Accepted requests: the processor received them in one canonical form.
Rows and leniencies of reliability.md 3.1 and 3.3.
"""

from harness import case, check, check_equal, deadline
from harness.http import Closed, chunked, request
from harness.processor import Processor
from harness.weir import Weir

ROUTES = [{"name": "all", "to": "acme"}]
HOST = b"Host: pay.example.com\r\n"
BODY = b'{"amount":1}'


def post(lines=b"", body=b"", target=b"/v1/payments", host=HOST, version=b"HTTP/1.1", method=b"POST"):
    return method + b" " + target + b" " + version + b"\r\n" + host + lines + b"\r\n" + body


def get(lines=b"", **more):
    return post(lines, method=b"GET", **more)


def with_length(lines=b"", body=BODY):
    return post(lines + b"Content-Length: %d\r\n" % len(body), body)


def chunks(body, lines=b""):
    return post(lines + b"Transfer-Encoding: chunked\r\n", body)


BAD, NOT_IMPLEMENTED = (400, "bad_request"), (501, "not_implemented")
VERSION, METHOD = (505, "version_unsupported"), (405, "method_not_allowed")
TOO_LARGE, HEADER, URI = (413, "body_too_large"), (431, "header_too_large"), (414, "uri_too_long")
EXPECTATION = (417, "expectation_failed")
MISDIRECTED = (421, "misdirected")

GOOD_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

FRAMING = {
    "length and chunked": (post(b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", GOOD_CHUNKS), BAD),
    "chunked and length": (chunks(GOOD_CHUNKS, b"") .replace(b"chunked\r\n", b"chunked\r\nContent-Length: 15\r\n", 1), BAD),
    "empty coding and length": (post(b"Transfer-Encoding:\r\nContent-Length: 5\r\n", b"hello"), BAD),
    "two codings": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", GOOD_CHUNKS), BAD),
    "chunked, then identity": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", GOOD_CHUNKS), BAD),
    "coding in HTTP/1.0": (post(b"Transfer-Encoding: chunked\r\n", GOOD_CHUNKS, version=b"HTTP/1.0"), (BAD, VERSION)),
    "coding folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", GOOD_CHUNKS), BAD),
    "coding with an underscore": (post(b"Transfer_Encoding: chunked\r\nContent-Length: 15\r\n", GOOD_CHUNKS), BAD),
    "a coding that weir does not have": (post(b"Transfer-Encoding: gzip\r\n", GOOD_CHUNKS), NOT_IMPLEMENTED),
    "two lengths that differ": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"), BAD),
    "two equal lengths": (post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), BAD),
    "length with an underscore": (post(b"Content_Length: 5\r\n", b"hello"), BAD),
}
for text in (b"identity", b"gzip, chunked", b"identity, chunked", b",chunked", b", chunked", b"chunked,", b"chunked, chunked",
             b"", b'"chunked"', b"chunked;q=1", b"xchunked", b"chunkedx", b"chu nked", b"chunked\x0b", b"\x0bchunked",
             b"\x0cchunked", b"chunked\x85", b"\xa0chunked", b"chunked\x00", b"chunked, identity"):
    FRAMING[f"coding {text!r}"] = (post(b"Transfer-Encoding: " + text + b"\r\n", GOOD_CHUNKS), BAD)
for text in (b"+5", b"-5", b"0x5", b"5 5", b"", b"5e0", b"5.0", b"05", b"00", b"5,5", b"5, 5", b"5;", b"1" * 19,
             b"18446744073709551615", b"18446744073709551616", b"5_0", b"\x0b5", b"five", b"5\x00", b"\xb2"):
    FRAMING[f"length {text!r}"] = (post(b"Content-Length: " + text + b"\r\n", b"hello"), BAD)
for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
    FRAMING[f"{method.decode()} with a body"] = (post(b"Content-Length: 5\r\n", b"hello", method=method), BAD)
    FRAMING[f"{method.decode()} with a chunked body"] = (post(b"Transfer-Encoding: chunked\r\n", GOOD_CHUNKS, method=method), BAD)

CHUNKS = {
    "a sign": (chunks(b"+5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a minus": (chunks(b"-5\r\nhello\r\n0\r\n\r\n"), BAD),
    "0x": (chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), BAD),
    "an underscore": (chunks(b"0_5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a space before": (chunks(b" 5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a space behind": (chunks(b"5 \r\nhello\r\n0\r\n\r\n"), BAD),
    "a tab behind": (chunks(b"5\t\r\nhello\r\n0\r\n\r\n"), BAD),
    "no size": (chunks(b"\r\nhello\r\n0\r\n\r\n"), BAD),
    "no size but an extension": (chunks(b";a=b\r\nhello\r\n0\r\n\r\n"), BAD),
    "not hex": (chunks(b"5g\r\nhello\r\n0\r\n\r\n"), BAD),
    "nine digits": (chunks(b"000000005\r\nhello\r\n0\r\n\r\n"), BAD),
    "forty zeros": (chunks(b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n"), BAD),
    "2^64-1": (chunks(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), BAD),
    "2^64+5": (chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), BAD),
    "4 GiB": (chunks(b"ffffffff\r\nhello\r\n0\r\n\r\n"), TOO_LARGE),
    "LF behind the size": (chunks(b"5\nhello\r\n0\r\n\r\n"), BAD),
    "CR behind the size": (chunks(b"5\rhello\r\n0\r\n\r\n"), BAD),
    "CR and another byte": (chunks(b"5\rXhello\r\n0\r\n\r\n"), BAD),
    "CR CR LF": (chunks(b"5\r\r\nhello\r\n0\r\n\r\n"), BAD),
    "LF behind the data": (chunks(b"5\r\nhello\n0\r\n\r\n"), BAD),
    "two bytes behind the data": (chunks(b"5\r\nhelloXX0\r\n\r\n"), BAD),
    "longer than its size": (chunks(b"5\r\nhello!\r\n0\r\n\r\n"), BAD),
    "shorter than its size": (chunks(b"6\r\nhello\r\n0\r\n\r\n"), BAD),
    "LF behind the last chunk": (chunks(b"5\r\nhello\r\n0\n\r\n"), BAD),
    "LF as the end": (chunks(b"5\r\nhello\r\n0\r\n\n"), BAD),
    "extensions of 300 bytes": (chunks(b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"), BAD),
    "many small extensions": (chunks(b"".join(b"1;abcdefghij\r\nx\r\n" for _ in range(40)) + b"0\r\n\r\n"), BAD),
    "LF in an extension": (chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), BAD),
    "CR in an extension": (chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), BAD),
    "NUL in an extension": (chunks(b"5;a\x00b\r\nhello\r\n0\r\n\r\n"), BAD),
    "a quoted string in an extension": (chunks(b'5;a="b"\r\nhello\r\n0\r\n\r\n'), BAD),
    "a quoted line end in an extension": (chunks(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\nhello\r\n0\r\n\r\n'), BAD),
    "a trailer that frames": (chunks(b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"), BAD),
    "a trailer that codes": (chunks(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), BAD),
    "a trailer that names a host": (chunks(b"5\r\nhello\r\n0\r\nHost: other\r\n\r\n"), BAD),
    "a trailer that authorizes": (chunks(b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n"), BAD),
    "a trailer that is a key": (chunks(b"5\r\nhello\r\n0\r\nIdempotency-Key: k\r\n\r\n"), BAD),
    "a trailer without a colon": (chunks(b"5\r\nhello\r\n0\r\nX-Trailer\r\n\r\n"), BAD),
    "a trailer with LF": (chunks(b"5\r\nhello\r\n0\r\nX-Trailer: a\n\r\n"), BAD),
    "a folded trailer": (chunks(b"5\r\nhello\r\n0\r\nX-Trailer: a\r\n b\r\n\r\n"), BAD),
    "a trailer with a control byte": (chunks(b"5\r\nhello\r\n0\r\nX-Trailer: \x01\r\n\r\n"), BAD),
    "trailers of 8 KiB": (chunks(b"5\r\nhello\r\n0\r\n" + b"X-Trailer: aaaaaaaaaaaaaaaaaaaa\r\n" * 260 + b"\r\n"),
                          (BAD, HEADER)),
}

HEAD = {
    "LF behind the request line": (b"GET /x HTTP/1.1\nHost: pay.example.com\r\n\r\n", BAD),
    "LF behind a field": (b"GET /x HTTP/1.1\r\nHost: pay.example.com\nX-A: b\r\n\r\n", BAD),
    "LF as the empty line": (b"GET /x HTTP/1.1\r\nHost: pay.example.com\r\n\n", BAD),
    "LF alone throughout": (b"GET /x HTTP/1.1\nHost: pay.example.com\n\n", BAD),
    "CR behind a field": (b"GET /x HTTP/1.1\r\nHost: pay.example.com\rX-A: b\r\n\r\n", BAD),
    "CR in a value": (get(b"X-A: b\rc\r\n"), BAD),
    "CR X ends the head": (b"GET /x HTTP/1.1\r\nHost: pay.example.com\r\n\rX\r\n\r\n", BAD),
    "CR CR LF": (b"GET /x HTTP/1.1\r\r\nHost: pay.example.com\r\n\r\n", BAD),
    "NUL in a value": (get(b"X-A: b\x00c\r\n"), BAD),
    "NUL in a name": (get(b"X-\x00A: b\r\n"), BAD),
    "NUL in the target": (get(target=b"/x\x00y"), BAD),
    "a control byte in a value": (get(b"X-A: b\x01c\r\n"), BAD),
    "an escape in a value": (get(b"X-A: \x1b[2J\r\n"), BAD),
    "DEL in a value": (get(b"X-A: b\x7fc\r\n"), BAD),
    "a folded value": (get(b"X-A: b\r\n c\r\n"), BAD),
    "a value folded by a tab": (get(b"X-A: b\r\n\tc\r\n"), BAD),
    "a folded Host": (get(host=b"Host:\r\n pay.example.com\r\n"), BAD),
    "a field before the first field's line": (b"GET /x HTTP/1.1\r\n Host: pay.example.com\r\nHost: pay.example.com\r\n\r\n", BAD),
    "a folded length": (post(b"X-A: b\r\n Content-Length: 5\r\n", b"hello"), BAD),
    "a space before the colon": (get(b"X-A : b\r\n"), BAD),
    "a tab before the colon": (get(b"X-A\t: b\r\n"), BAD),
    "a length with a space before the colon": (post(b"Content-Length : 5\r\n", b"hello"), BAD),
    "an empty name": (get(b": b\r\n"), BAD),
    "no colon": (get(b"X-A\r\n"), BAD),
    "a space in a name": (get(b"X A: b\r\n"), BAD),
    "a byte above 0x7f in a name": (get(b"X-\xc3\xa9: b\r\n"), BAD),
    "a byte above 0x7f in a value": (get(b"X-A: caf\xc3\xa9\r\n"), BAD),
    "a byte above 0x7f in a key": (with_length(b"Idempotency-Key: \xc3\xa9\r\n"), BAD),
    "an underscore in a name": (get(b"X_A: b\r\n"), BAD),
    "a key with an underscore": (with_length(b"Idempotency_Key: k\r\n"), BAD),
    "two spaces behind the method": (b"GET  /x HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    "two spaces behind the target": (b"GET /x  HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    "a tab behind the method": (b"GET\t/x HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    "a space before the method": (b" GET /x HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    "a space behind the version": (b"GET /x HTTP/1.1 \r\n" + HOST + b"\r\n", BAD),
    "two empty lines first": (b"\r\n\r\n" + get(), BAD),
    "LF first": (b"\n" + get(), BAD),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 32 + b"\r\n\r\n", BAD),
}
for name in (b"(", b")", b",", b"/", b";", b"<", b"=", b">", b"?", b"@", b"[", b"\\", b"]", b"{", b"}", b'"'):
    HEAD[f"{name.decode()} in a name"] = (get(b"X" + name + b"A: b\r\n"), BAD)

TARGETS = {
    "two slashes": (get(target=b"/v1//payments"), BAD),
    "two slashes first": (get(target=b"//evil.example/x"), BAD),
    "a dot segment": (get(target=b"/v1/./payments"), BAD),
    "two dots": (get(target=b"/v1/../admin"), BAD),
    "two dots last": (get(target=b"/v1/.."), BAD),
    "encoded dots": (get(target=b"/v1/%2e%2e/admin"), BAD),
    "half encoded dots": (get(target=b"/v1/.%2E/admin"), BAD),
    "an encoded slash": (get(target=b"/v1%2fadmin"), BAD),
    "an encoded backslash": (get(target=b"/v1%5Cadmin"), BAD),
    "an encoded NUL": (get(target=b"/v1/x%00.json"), BAD),
    "an encoded NUL in the query": (get(target=b"/v1/x?a=%00"), BAD),
    "an encoded line end": (get(target=b"/v1/x%0d%0aSet-Cookie:a"), BAD),
    "a fragment": (get(target=b"/v1/x#y"), BAD),
    "a space": (get(target=b"/v1/x y"), BAD),
    "a tab": (get(target=b"/v1/x\ty"), BAD),
    "a byte above 0x7f": (get(target=b"/caf\xc3\xa9"), BAD),
    "a form feed": (get(target=b"/v1/\x0cx"), BAD),
    "DEL": (get(target=b"/v1/\x7fx"), BAD),
    "a percent alone": (get(target=b"/v1/100%"), BAD),
    "a percent and no hex": (get(target=b"/v1/%zz"), BAD),
    "* with GET": (get(target=b"*"), BAD),
    "no slash": (get(target=b"v1/payments"), BAD),
    "a query alone": (get(target=b"?a=b"), BAD),
    "another authority": (get(target=b"http://evil.example/x"), (BAD, MISDIRECTED)),
    "another port": (get(target=b"http://pay.example.com:81/x"), (BAD, MISDIRECTED)),
    "userinfo": (get(target=b"http://user@pay.example.com/x"), (BAD, MISDIRECTED)),
    "another scheme": (get(target=b"ftp://pay.example.com/x"), (BAD, MISDIRECTED)),
    "an authority": (get(target=b"pay.example.com:443"), BAD),
    "empty": (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    "9 KiB": (get(target=b"/" + b"a" * 9000), URI),
}
for byte in b'"<>\\^`{|}':
    TARGETS[f"{chr(byte)}"] = (get(target=b"/v1/x" + bytes([byte]) + b"y"), BAD)

HOSTS = {
    "none": (get(host=b""), BAD),
    "none in HTTP/1.0": (get(host=b"", version=b"HTTP/1.0"), (BAD, VERSION)),
    "empty": (get(host=b"Host:\r\n"), BAD),
    "two": (get(host=HOST + b"Host: other.example\r\n"), BAD),
    "two equal": (get(host=HOST + HOST), BAD),
    "a list": (get(host=b"Host: a.example, b.example\r\n"), BAD),
    "userinfo": (get(host=b"Host: user@pay.example.com\r\n"), BAD),
    "a space": (get(host=b"Host: pay.example.com evil\r\n"), BAD),
    "a path": (get(host=b"Host: pay.example.com/x\r\n"), BAD),
    "a port of letters": (get(host=b"Host: pay.example.com:http\r\n"), BAD),
    "a port too high": (get(host=b"Host: pay.example.com:65536\r\n"), BAD),
    "two ports": (get(host=b"Host: pay.example.com:80:80\r\n"), BAD),
    "too long": (get(host=b"Host: " + b"a." * 150 + b"com\r\n"), BAD),
    "a percent": (get(host=b"Host: pay%2eexample.com\r\n"), BAD),
    "an open bracket": (get(host=b"Host: [::1\r\n"), BAD),
    "an underscored twin": (get(b"X_Forwarded_Host: evil\r\n"), BAD),
}

METHODS = {
    "TRACE": (get().replace(b"GET", b"TRACE", 1), METHOD),
    "CONNECT": (b"CONNECT pay.example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", METHOD),
    "CONNECT to a path": (get().replace(b"GET", b"CONNECT", 1), METHOD),
    "unknown": (get().replace(b"GET", b"PAY", 1), NOT_IMPLEMENTED),
    "webdav": (get().replace(b"GET", b"PROPFIND", 1), NOT_IMPLEMENTED),
    "lower case": (get().replace(b"GET", b"get", 1), (NOT_IMPLEMENTED, BAD)),
    "a token with signs": (get().replace(b"GET", b"G-T!", 1), (NOT_IMPLEMENTED, BAD)),
    "not a token": (get().replace(b"GET", b"G(T", 1), BAD),
    "quoted": (get().replace(b"GET", b'"GET"', 1), BAD),
}

VERSIONS = {
    "0.9": (b"GET /x\r\n\r\n", BAD),
    "0.9 with a field": (b"GET /x\r\n" + HOST + b"\r\n", BAD),
    "0.9 with LF": (b"GET /x\n" + HOST + b"\r\n", BAD),
    "HTTP/0.9": (get(version=b"HTTP/0.9"), (VERSION, BAD)),
    "HTTP/1.0": (get(version=b"HTTP/1.0"), VERSION),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), VERSION),
    "HTTP/2.0": (get(version=b"HTTP/2.0"), VERSION),
    "HTTP/3": (get(version=b"HTTP/3"), (VERSION, BAD)),
    "HTTP/1.10": (get(version=b"HTTP/1.10"), (VERSION, BAD)),
    "HTTP/01.1": (get(version=b"HTTP/01.1"), (VERSION, BAD)),
    "http/1.1": (get(version=b"http/1.1"), (VERSION, BAD)),
    "HTTP": (get(version=b"HTTP"), (VERSION, BAD)),
    "ICE/1.0": (get(version=b"ICE/1.0").replace(b"GET", b"SOURCE", 1), (VERSION, BAD, NOT_IMPLEMENTED)),
    "RTSP/1.0": (get(version=b"RTSP/1.0").replace(b"GET", b"DESCRIBE", 1), (VERSION, BAD, NOT_IMPLEMENTED)),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (VERSION, BAD, NOT_IMPLEMENTED)),
}

FIELDS = {
    "two Content-Types": (with_length(b"Content-Type: a/b\r\nContent-Type: a/b\r\n"), BAD),
    "two Authorizations": (with_length(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), BAD),
    "two keys": (with_length(b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"), (BAD, (400, "key_malformed"))),
    "two equal keys": (with_length(b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n"), (BAD, (400, "key_malformed"))),
    "two Expects": (with_length(b"Expect: 100-continue\r\nExpect: 100-continue\r\n"), (BAD, EXPECTATION)),
    "another expectation": (with_length(b"Expect: 200-ok\r\n"), EXPECTATION),
    "an empty expectation": (with_length(b"Expect:\r\n"), EXPECTATION),
    "an expectation in a list": (with_length(b"Expect: 100-continue, x\r\n"), EXPECTATION),
    "an expectation in HTTP/1.0": (with_length(b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
                                   (EXPECTATION, VERSION)),
    "101 fields": (get(b"".join(b"X-%d: a\r\n" % i for i in range(101))), HEADER),
    "a head of 20 KiB": (get(b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(20))), HEADER),
    "a field of 20 KiB": (get(b"X-A: " + b"a" * 20000 + b"\r\n"), HEADER),
    "a name of 20 KiB": (get(b"X-" + b"A" * 20000 + b": a\r\n"), HEADER),
}
for name in (b"Host", b"Content-Length", b"Authorization", b"Idempotency-Key", b"X-Forwarded-For", b"X-Forwarded-Proto",
             b"Forwarded", b"Weir-Request-Id", b"Transfer-Encoding", b"Content-Type", b"X-Request-Id", b"Expect"):
    FIELDS[f"Connection nominates {name.decode()}"] = (with_length(b"Connection: " + name + b"\r\n"), BAD)
    FIELDS[f"Connection nominates {name.decode().lower()} in a list"] = (
        with_length(b"Connection: keep-alive, " + name.lower() + b"\r\n"), BAD)


def allowed(expected):
    return expected if isinstance(expected[0], tuple) else (expected,)


def read_refusal(client, raw):
    """A refused HEAD may be answered with a body or without: its method was not accepted."""
    if raw.startswith(b"HEAD "):
        answer = client.read_head()
        client.read_all()
        return answer
    return client.read_response()


def check_refused(weir, processor, raw, expected, slowly):
    processor.forget()
    with weir.client() as client:
        try:
            if slowly:
                for at in range(0, len(raw), 7):
                    client.send(raw[at:at + 7])
            else:
                client.send(raw)
        except OSError:
            pass  # refused and closed before the last byte: the answer is there to be read
        answer = read_refusal(client, raw)
        got = (answer.status, answer.weir_reason)
        check(got in allowed(expected), f"expected {allowed(expected)}, got {got}: {answer.body[:300]!r}")
        check_equal(answer.outcome, "not_sent")
        check_equal(answer.header("Connection"), "close")
        client.check_closed()
    check_equal(weir.ask("GET", "/good").status, 200, "the good request behind it")
    processor.wait_requests(1)
    processor.check_only(1)
    check_equal(processor.requests()[0].target, "/good")


def check_table(table, slowly=False):
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir:
        for name, (raw, expected) in table.items():
            with case(name):
                check_refused(weir, processor, raw, expected, slowly)


def test_framing_with_two_readings_is_refused():
    check_table(FRAMING)


def test_chunks_with_two_readings_are_refused():
    check_table(CHUNKS)


def test_bytes_that_a_head_may_not_have_are_refused():
    check_table(HEAD)


def test_targets_with_two_readings_are_refused():
    check_table(TARGETS)


def test_hosts_with_two_readings_are_refused():
    check_table(HOSTS)


def test_methods_outside_the_list_are_refused():
    check_table(METHODS)


def test_other_versions_are_refused():
    check_table(VERSIONS)


def test_fields_that_may_not_stand_twice_or_be_nominated_are_refused():
    check_table(FIELDS)


@deadline(120)
def test_refusals_do_not_depend_on_how_the_bytes_arrive():
    for table in (FRAMING, CHUNKS, HEAD, TARGETS, HOSTS, METHODS, VERSIONS):
        check_table({f"slowly: {name}": row for name, row in table.items()}, slowly=True)


# What is accepted.

OWN = ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Request-Id", "Via")


def passed(processor):
    """The one request that came, and its fields without those that weir adds to every request."""
    processor.wait_requests(1)
    processor.check_only(1)
    got = processor.requests()[0]
    return got, [pair for pair in got.headers if pair[0] not in OWN]


def check_passed(weir, processor, raw, target, fields, body=b"", method=None):
    processor.forget()
    with weir.client() as client:
        client.send(raw)
        answer = client.read_response(head=raw.startswith(b"HEAD "))
        check_equal(answer.status, 200)
        check_equal(answer.outcome, "answered")
    got, others = passed(processor)
    check_equal(got.target, target)
    check_equal(got.version, "1.1")
    check_equal(others, [("Host", processor.authority), *fields])
    check_equal(got.body, body)
    if method:
        check_equal(got.method, method)


def test_accepted_requests_go_on_in_one_canonical_form():
    five = [("Content-Length", "5")]
    table = {
        "a length": (post(b"Content-Length: 5\r\n", b"hello"), "/v1/payments", five, b"hello"),
        "a body of nothing": (post(b"Content-Length: 0\r\n"), "/v1/payments", [("Content-Length", "0")], b""),
        "a POST without a length": (post(), "/v1/payments", [("Content-Length", "0")], b""),
        "chunks": (chunks(b"5\r\nhello\r\n0\r\n\r\n"), "/v1/payments", five, b"hello"),
        "small chunks": (chunks(chunked(b"h", b"e", b"l", b"l", b"o")), "/v1/payments", five, b"hello"),
        "chunk sizes with zeros": (chunks(b"005\r\nhello\r\n0\r\n\r\n"), "/v1/payments", five, b"hello"),
        "chunk sizes of eight digits": (chunks(b"00000005\r\nhello\r\n00000000\r\n\r\n"), "/v1/payments", five, b"hello"),
        "capital hex": (chunks(b"A\r\nhellohello\r\n0\r\n\r\n"), "/v1/payments", [("Content-Length", "10")], b"hellohello"),
        "a short chunk extension": (chunks(b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n"), "/v1/payments", five, b"hello"),
        "a trailer": (chunks(b"5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n"), "/v1/payments", five, b"hello"),
        "Chunked": (post(b"Transfer-Encoding: Chunked\r\n", GOOD_CHUNKS), "/v1/payments", five, b"hello"),
        "chunked between spaces": (post(b"Transfer-Encoding:  chunked \r\n", GOOD_CHUNKS), "/v1/payments", five, b"hello"),
        "one empty line first": (b"\r\n" + get(target=b"/x"), "/x", [], b""),
        "GET with a length of 0": (get(b"Content-Length: 0\r\n", target=b"/x"), "/x", [], b""),
        "HEAD": (get(target=b"/x").replace(b"GET", b"HEAD", 1), "/x", [], b""),
        "brackets in the query": (get(target=b"/x?a[]=1&b[c]=2"), "/x?a[]=1&b[c]=2", [], b""),
        "encodings stay as they are": (get(target=b"/x%41y?%2F%2e%5c=%7e"), "/x%41y?%2F%2e%5c=%7e", [], b""),
        "all that a path may hold": (get(target=b"/a-b._~!$&'()*+,;=:@/..c/...?a/b?c"), "/a-b._~!$&'()*+,;=:@/..c/...?a/b?c", [],
                                     b""),
        "an absolute target": (get(target=b"http://pay.example.com/x?y"), "/x?y", [], b""),
        "an absolute target in capitals": (get(target=b"HTTP://PAY.EXAMPLE.COM/x"), "/x", [], b""),
        "no white space behind the colon": (get(b"X-A:b\r\n", target=b"/x"), "/x", [("X-A", "b")], b""),
        "white space around the value": (get(b"X-A: \t b c \t\r\n", target=b"/x"), "/x", [("X-A", "b c")], b""),
        "an empty value": (get(b"X-A:\r\n", target=b"/x"), "/x", [("X-A", "")], b""),
        "a tab in a value": (get(b"X-A: a\tb\r\n", target=b"/x"), "/x", [("X-A", "a\tb")], b""),
        "order, case and doubles": (get(b"x-B: 2\r\nX-a: 1\r\nx-B: 3\r\n", target=b"/x"), "/x",
                                    [("x-B", "2"), ("X-a", "1"), ("x-B", "3")], b""),
        "a key": (with_length(b"Idempotency-Key: 4a-b\r\n", b"hello"), "/v1/payments", [("Idempotency-Key", "4a-b"), *five],
                  b"hello"),
        "a credential": (get(b"Authorization: Bearer sk_test_1\r\n", target=b"/x"), "/x",
                         [("Authorization", "Bearer sk_test_1")], b""),
    }
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir:
        for name, (raw, target, fields, body) in table.items():
            with case(name):
                check_passed(weir, processor, raw, target, fields, body)
        for method in (b"PUT", b"PATCH"):
            with case(method.decode()):
                check_passed(weir, processor, post(b"Content-Length: 5\r\n", b"hello", method=method), "/v1/payments", five,
                             b"hello", method.decode())
        with case("DELETE with a length of 0"):
            processor.forget()
            check_equal(weir.ask("DELETE", "/x", ["Content-Length: 0"]).status, 200)
            got, fields = passed(processor)
            check_equal(got.method, "DELETE")
            check(fields in ([("Host", processor.authority)], [("Host", processor.authority), ("Content-Length", "0")]),
                  f"{fields}")
        with case("OPTIONS *"):
            check_passed(weir, processor, get(target=b"*").replace(b"GET", b"OPTIONS", 1), "*", [], b"")


def test_fields_of_one_hop_do_not_go_on():
    lines = {
        "Connection": b"Connection: keep-alive\r\n",
        "a nominated field": b"Connection: X-Hop\r\nX-Hop: a\r\n",
        "a nominated field in a list": b"Connection: keep-alive , x-hop\r\nX-Hop: a\r\n",
        "fields nominated by two lines": b"Connection: X-Hop\r\nConnection: X-Jump\r\nX-Hop: a\r\nX-Jump: b\r\n",
        "Keep-Alive": b"Keep-Alive: timeout=5\r\n",
        "Proxy-Connection": b"Proxy-Connection: keep-alive\r\n",
        "TE": b"TE: trailers\r\n",
        "Trailer": b"Trailer: X-Trailer\r\n",
        "Upgrade": b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "h2c": b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "weir's own": b"Weir-Outcome: replayed\r\nweir-request-id: x\r\nWeir-Anything: y\r\n",
        "a forged replay": b"Idempotent-Replayed: true\r\n",
        "an address that nobody vouches for": b"X-Real-IP: 10.0.0.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n",
    }
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir:
        for name, text in lines.items():
            with case(name):
                check_passed(weir, processor, get(text, target=b"/x"), "/x", [])
        for text in (b"Range: bytes=0-1\r\n", b"If-None-Match: *\r\n", b"If-Match: a\r\n",
                     b"If-Modified-Since: Sun, 22 Nov 2026 10:00:00 GMT\r\n", b"If-Range: a\r\n"):
            name = text.split(b":")[0].decode()
            with case(f"{name} of a POST"):
                check_passed(weir, processor, with_length(text, b"hello"), "/v1/payments", [("Content-Length", "5")], b"hello")
            with case(f"{name} of a GET goes on"):
                value = text[len(name) + 2:-2].decode()
                check_passed(weir, processor, get(text, target=b"/x"), "/x", [(name, value)])


def test_an_upgrade_is_never_granted_and_the_bytes_behind_it_are_a_request():
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir, weir.client() as client:
        client.send(get(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", target=b"/one") + get(target=b"/two"))
        check_equal([client.read_response().status for _ in range(2)], [200, 200])
        processor.wait_requests(2)
        check_equal([got.target for got in processor.requests()], ["/one", "/two"])
        processor.check_only(2)


def test_limits_of_the_head_are_the_configured_ones():
    with Processor() as processor, Weir(processor, routes=ROUTES, listener={"limits": {"header": "2KiB"}}) as weir:
        with case("100 fields pass"):
            answer = weir.ask("GET", "/x", [f"X-{i}: a" for i in range(98)])
            check_equal(answer.status, 200)
        with case("below the limit"):
            check_equal(weir.ask("GET", "/x", ["X-A: " + "a" * 1900]).status, 200)
        with case("above the limit"):
            processor.forget()
            answer = weir.ask("GET", "/x", ["X-A: " + "a" * 2048])
            check_equal((answer.status, answer.weir_reason), HEADER)
        with case("above the limit and without an end"):
            with weir.client() as client:
                client.send(b"GET /x HTTP/1.1\r\nX-A: " + b"a" * 4000)
                answer = client.read_response()
                check_equal((answer.status, answer.weir_reason), HEADER)
                client.check_closed()


def test_the_target_may_have_8_kib():
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir:
        for size, status in ((8192, 200), (8193, 414)):
            with case(str(size)):
                check_equal(weir.ask("GET", "/" + "a" * (size - 1)).status, status)


def test_what_stands_behind_a_refused_request_is_never_read_as_one():
    smuggled = request("POST", "/smuggled", [], b"x=1")
    with Processor() as processor, Weir(processor, routes=ROUTES) as weir:
        for name, (raw, _) in {**FRAMING, **CHUNKS}.items():
            with case(name):
                processor.forget()
                with weir.client() as client:
                    try:
                        client.send(raw + smuggled)
                    except OSError:
                        pass
                    check(read_refusal(client, raw).status >= 400, "it was answered")
                    try:
                        rest = client.read_all()
                    except Closed:
                        rest = b""
                    check_equal(rest, b"", "a second answer")
                check_equal(weir.ask("GET", "/good").status, 200)
                processor.wait_requests(1)
                processor.check_only(1)
