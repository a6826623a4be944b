#!/usr/bin/python3
"""What weir accepts, python3-h11 and Node's parser must frame in the same way.

Runs a corpus and seeded mutations of it through http_frames (weir), h11 and
node_frames.js. Every request that weir accepts must be seen by both with the
same method, target and body, and none behind the last one unless weir had
stopped there. Either may refuse what weir accepts only for the reasons listed
in TOLERATED. Exits 1 on a difference and prints the case.
"""
import argparse
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
HOST = b"Host: a.example\r\n"


def post(fields=b"", body=b"", version=b"HTTP/1.1"):
    return b"POST /v1/payments " + version + b"\r\n" + HOST + fields + b"\r\n" + body


def get(target=b"/v1/payments", fields=b"", method=b"GET"):
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + fields + b"\r\n"


def chunked(body, fields=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + fields, body)


ACCEPTED = [
    get(), get(b"/"), get(b"/?a[b]=c&d[]=e"), get(b"/a%20b/%C3%A4?x=%0a"), get(b"http://a.example/x?y"),
    get(b"http://a.example"), get(b"*", method=b"OPTIONS"), get(method=b"HEAD"), get(method=b"DELETE"),
    get(fields=b"Content-Length: 0\r\n"), get(fields=b"Connection: close\r\n") + get(),
    get(fields=b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n") + get(),
    get(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + get(b"/second"),
    get(fields=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n") + get(b"/second"),
    b"\r\n" + get(), get() + b"\r\n" + get(b"/second"),
    post(), post(b"Content-Length: 5\r\n", b"hello"), post(b"Content-Length: 0\r\n"),
    post(b"Content-Length: 5\r\n", b"hello") + get(b"/second"),
    post(b"Content-Length: 43\r\n", get(b"/smuggled")),
    post(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"hi"),
    post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", b"hi") + get(b"/second"),
    post(b"Content-Type: application/json\r\nIdempotency-Key: 4c1b\r\nContent-Length: 2\r\n", b"{}"),
    chunked(b"0\r\n\r\n"), chunked(b"5\r\nhello\r\n0\r\n\r\n"), chunked(b"5\r\nhello\r\n0\r\n\r\n") + get(b"/second"),
    chunked(b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n") + get(b"/second"),
    chunked(b"2\r\nhi\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n") + get(b"/second"),
    chunked(b"00000002\r\nhi\r\n00000000\r\n\r\n"), chunked(b"9\r\n0\r\n\r\nGET \r\n0\r\n\r\n"),
    chunked(b"1f\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n") + get(b"/second"),
    post(b"Transfer-Encoding:  \tChunked \r\n", b"0\r\n\r\n"),
]

# Mutations start on both sides of the line.
REFUSED = [
    get().replace(b"1.1", b"1.0"), post(b"Content-Length: 5\r\n", b"hello", b"HTTP/1.0"),
    post(b"Transfer-Encoding: chunked\t\r\n", b"0\r\n\r\n"), post(b"Content-Length: 5\t\r\n", b"hello"),
    post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"),
    post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"5c\r\n"),
    post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), post(b"Content-Length: +5\r\n", b"hello"),
    post(b"Content-Length: 05\r\n", b"hello"), post(b"Content-Length: 5, 5\r\n", b"hello"),
    post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"), post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.0"),
    get(fields=b"Content-Length: 5\r\n") + b"hello", get(fields=b"X: a\r\n b\r\n"), get(fields=b"X: a\nY: b\r\n"),
    get(fields=b": a\r\n"), get(fields=b"X : a\r\n"), get(fields=b"X_Y: a\r\n"), get(b"/a/../b"), get(b"//a"), get(b"/%2f"),
    b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    chunked(b"5;\r\nhello\r\n0\r\n\r\n"), chunked(b"5 \r\nhello\r\n0\r\n\r\n"), chunked(b"0x5\r\nhello\r\n0\r\n\r\n"),
    chunked(b"5\nhello\r\n0\r\n\r\n"), chunked(b"5\r\nhello0\r\n\r\n"), chunked(b"0\r\nContent-Length: 5\r\n\r\n"),
    chunked(b'1;a="\r\n"\r\nx\r\n0\r\n\r\n'), chunked(b"000000005\r\nhello\r\n0\r\n\r\n"), chunked(b"0\r\n\n"),
]

CORPUS = ACCEPTED + REFUSED

TOKENS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"\t", b" ", b"\x0b", b"\x7f", b"\x80", b"\xa0", b":", b",", b";", b"=", b"_", b'"',
    b"0", b"1", b"a", b"%", b"/", b"?", b"#", b"[", b"]", b"0\r\n\r\n", b"chunked", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n", b"X-A: b\r\n",
    b"Accept: */*\r\n", b"Expect: 100-continue\r\n", b";x=y", b"&b=c", b"-", b"~", b"%41", b"Cookie: a=b\r\n", b"User-Agent: x y\r\n",
]


def mutate_bytes(rng, case):
    at = rng.randrange(len(case) + 1)
    choice = rng.randrange(4)
    if choice == 0:
        return case[:at] + rng.choice(TOKENS) + case[at:]
    if choice == 1:
        return case[:at] + case[at + rng.randint(1, 4):]
    if choice == 2:
        return case[:at] + bytes([rng.randrange(256)]) + case[at + 1:]
    return case[:at] + rng.choice(TOKENS) + case[at + 1:]


def mutate_lines(rng, case):
    lines = case.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    choice = rng.randrange(4)
    if choice == 0:
        lines.insert(one, lines[other])
    elif choice == 1:
        lines[one], lines[other] = lines[other], lines[one]
    elif choice == 2:
        del lines[one]
    else:
        extra = [b"X-A: b", b"Accept: a/b;q=1, */*", b"Connection: X-A", b"Content-Length: 3", b"Cookie: a", b"TE: trailers"]
        lines.insert(max(one, 1), rng.choice(extra))
    return b"\r\n".join(lines)


def mutate_connection(rng, case):
    other = rng.choice(CORPUS)
    if rng.randrange(3) == 0:
        return case[:rng.randrange(len(case) + 1)] + other[rng.randrange(len(other) + 1):]
    return case + other


def make_cases(count, seed):
    rng = random.Random(seed)
    cases = list(CORPUS)
    while len(cases) < count:
        case = rng.choice(ACCEPTED if rng.randrange(4) else REFUSED)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            case = rng.choice([mutate_bytes, mutate_bytes, mutate_lines, mutate_connection])(rng, case)
        cases.append(case[:16384])
    return cases[:count]


def run_program(command, cases):
    data = b"".join(struct.pack(">I", len(case)) + case for case in cases)
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != len(cases):
        sys.exit(f"{command[-1]}: exit {done.returncode}, {len(lines)} lines for {len(cases)} cases")
    return [json.loads(line) for line in lines]


def frame_h11(h11, case):
    """The same as a line of http_frames, by h11 as a server that answers each request."""
    found = {"ok": True, "fault": "", "requests": [], "closed": False}
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    try:
        connection.receive_data(case)
        current = None
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                current = {"method": event.method.decode(), "target": event.target.decode("latin-1"), "body_hex": ""}
            elif isinstance(event, h11.Data):
                current["body_hex"] += bytes(event.data).hex()
            elif isinstance(event, h11.EndOfMessage):
                found["requests"].append(current)
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    found["closed"] = True
                    break
                connection.start_next_cycle()
            else:
                break  # NEED_DATA or PAUSED
    except h11.ProtocolError as error:
        found["ok"] = False
        found["fault"] = str(error)
    return found


# Refusals by the other parser of what weir accepts: (parser, its words, why that is no second reading).
TOLERATED = [
    ("h11", r"no request line received", "RFC 9112 2.2 lets a server skip an empty line before a request; h11 does not"),
]


def is_tolerated(name, fault):
    return any(name == parser and re.search(words, fault) for parser, words, _ in TOLERATED)


def origin_form(method, target):
    """weir hands on the origin form of an absolute target, after holding its authority against Host."""
    match = re.match(r"https?://[^/?]*", target, re.IGNORECASE)
    if match is None:
        return target
    return target[match.end():] or ("*" if method == "OPTIONS" else "/")


def essence(request):
    return request["method"], origin_form(request["method"], request["target"]), request["body_hex"]


def difference(name, ours, theirs):
    """None, or what the other parser sees differently in what weir accepted; ("refused", why) when it refuses."""
    count = len(ours["requests"])
    for index, request in enumerate(ours["requests"]):
        if index >= len(theirs["requests"]):
            if not theirs["ok"]:
                return None if is_tolerated(name, theirs["fault"]) else f"{name} refuses request {index}: {theirs['fault']}"
            return f"{name} does not see request {index}"
        if essence(request) != essence(theirs["requests"][index]):
            return f"{name} reads request {index} as {essence(theirs['requests'][index])}, weir as {essence(request)}"
    if ours["ok"] and not ours["closed"] and len(theirs["requests"]) > count:
        return f"{name} sees {len(theirs['requests'])} requests, weir {count}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", required=True, help="the http_frames program")
    parser.add_argument("--node", default=os.environ.get("WEIR_TEST_NODE", "node"))
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", metavar="DIR", nargs="*", default=[], help="inputs of fuzz_request, as further cases")
    parser.add_argument("--write-corpus", metavar="DIR", help="write the corpus as inputs of fuzz_request, and stop")
    arguments = parser.parse_args()
    if arguments.write_corpus:
        for index, case in enumerate(CORPUS):
            pathlib.Path(arguments.write_corpus, f"request-{index:03}").write_bytes(b"\1\0\0\0" + case)
        return 0
    import h11

    cases = make_cases(arguments.cases, arguments.seed)
    for folder in arguments.inputs:
        cases += [path.read_bytes()[4:] for path in sorted(pathlib.Path(folder).iterdir())]
    ours = run_program([arguments.frames], cases)
    others = {
        "h11": [frame_h11(h11, case) for case in cases],
        "node": run_program([arguments.node, "--no-deprecation", str(HERE / "node_frames.js")], cases),
    }
    failed = 0
    for case, found in zip(ACCEPTED, ours):
        if not found["ok"] or (found["rest"] > 0 and not found["closed"]):
            failed += 1
            print(f"weir refuses what clients send: {found}\n  {case!r}")
    for index, case in enumerate(cases):
        for name, theirs in others.items():
            text = difference(name, ours[index], theirs[index])
            if text is not None:
                failed += 1
                if failed <= 20:
                    print(f"case {index}: {text}\n  {case!r}\n  weir {ours[index]}\n  {name} {theirs[index]}")
    requests = sum(len(found["requests"]) for found in ours)
    accepting = sum(1 for found in ours if found["requests"])
    print(f"differential: {len(cases)} cases, seed {arguments.seed}: weir accepts {requests} requests in {accepting} cases, "
          f"{failed} failures against h11 {h11.__version__} and node")
    if accepting * 10 < len(cases):
        print("differential: too few cases are accepted to show anything")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
