"""The PROXY header in front of a connection, versions 1 and 2."""

import socket
import struct

from harness import case, check, check_equal
from harness.http import request
from harness.processor import Processor
from harness.weir import Weir
from harness import certs
from harness.http import Client

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REQUIRED = {"proxy_protocol": "required", "trusted": ["127.0.0.1/32"]}


def version_2(command=0x21, family=0x11, source="203.0.113.7", target="10.0.0.1", ports=(5555, 443), extra=b""):
    if family in (0x21, 0x22):
        body = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    else:
        body = socket.inet_aton(source) + socket.inet_aton(target)
    body += struct.pack(">HH", *ports) + extra
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(body)) + body


GOOD = {
    "1, TCP4": (b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 443\r\n", "203.0.113.7"),
    "1, TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n", "2001:db8::7"),
    "1, UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "1, UNKNOWN with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "2, TCP4": (version_2(), "203.0.113.7"),
    "2, TCP6": (version_2(family=0x21, source="2001:db8::7", target="2001:db8::1"), "2001:db8::7"),
    "2, LOCAL": (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
    "2, with extras": (version_2(extra=b"\x04\x00\x03abc"), "203.0.113.7"),
}

BAD = {
    "none": b"",
    "1, cut": b"PROXY TCP4 203.0.113.7\r\n",
    "1, no address": b"PROXY TCP4 nobody 10.0.0.1 5555 443\r\n",
    "1, a port too high": b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
    "1, leading zeros": b"PROXY TCP4 203.0.113.7 10.0.0.1 05555 443\r\n",
    "1, lower case": b"proxy TCP4 203.0.113.7 10.0.0.1 5555 443\r\n",
    "1, two spaces": b"PROXY  TCP4 203.0.113.7 10.0.0.1 5555 443\r\n",
    "1, too long": b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
    "1, wrong family": b"PROXY TCP4 2001:db8::7 2001:db8::1 5555 443\r\n",
    "2, version 3": SIGNATURE + b"\x31\x11\x00\x0c" + b"\x00" * 12,
    "2, unknown command": SIGNATURE + b"\x22\x11\x00\x0c" + b"\x00" * 12,
    "2, too short for its family": SIGNATURE + b"\x21\x11\x00\x04" + b"\x00" * 4,
    "2, too long": SIGNATURE + b"\x21\x11\xff\xff" + b"\x00" * 3000,
    "2, a bad signature": b"\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c" + b"\x00" * 12,
}


def test_the_header_tells_who_the_client_is():
    with Processor() as processor, Weir(processor, listener=REQUIRED) as weir:
        number = 0
        for name, (header, address) in GOOD.items():
            for slowly in (False, True):
                with case(f"{name}{', slowly' if slowly else ''}"), weir.client() as client:
                    if slowly:
                        client.send_slowly(header)
                    else:
                        client.send(header)
                    check_equal(client.ask("GET", "/x").status, 200)
                    check_equal(client.ask("GET", "/again").status, 200)
                    got = processor.requests()[-1]
                    check_equal(got.header("X-Forwarded-For").rpartition(", ")[2], address)
                    check_equal(weir.next_access(number)["client.address"], address)
                    number += 2


def test_header_and_request_in_one_packet():
    with Processor() as processor, Weir(processor, listener=REQUIRED) as weir:
        for name, (header, address) in GOOD.items():
            with case(name), weir.client() as client:
                client.send(header + request("POST", "/x", [], b"hello"))
                check_equal(client.read_response().status, 200)
                check_equal(processor.requests()[-1].body, b"hello")


def test_what_is_no_header_closes_the_connection():
    with Processor() as processor, Weir(processor, listener=REQUIRED) as weir:
        for name, header in BAD.items():
            with case(name), weir.client() as client:
                try:
                    client.send(header + request("GET", "/x"))
                except OSError:
                    pass
                client.check_closed()
        processor.check_only(0)


def test_others_may_not_speak_for_a_client():
    with Processor() as processor, Weir(processor, listener={**REQUIRED, "trusted": ["127.0.0.2/32"]}) as weir:
        with case("not trusted"):
            try:
                with weir.client() as client:
                    client.send(GOOD["1, TCP4"][0] + request("GET", "/x"))
                    client.check_closed()
            except OSError:
                pass  # reset at once
        with case("trusted"), weir.client(source="127.0.0.2") as client:
            client.send(GOOD["1, TCP4"][0])
            check_equal(client.ask("GET", "/x").status, 200)


def test_the_proxied_client_is_not_trusted_for_its_words():
    """The balancer vouches for the address, the client behind it for nothing."""
    with Processor() as processor, Weir(processor, listener=REQUIRED) as weir, weir.client() as client:
        client.send(GOOD["1, TCP4"][0])
        client.ask("GET", "/x", ["X-Forwarded-For: 6.6.6.6"])
        check_equal(processor.requests()[-1].header("X-Forwarded-For"), "203.0.113.7")


def test_where_it_is_off_a_header_is_a_bad_request():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        client.send(GOOD["1, TCP4"][0] + request("GET", "/x"))
        answer = client.read_response()
        check_equal(answer.status, 400)
        processor.check_only(0)


def test_the_header_stands_in_front_of_tls():
    pair = certs.server("pay.example.com")
    with Processor() as processor, Weir(processor, listener={**REQUIRED, "tls": {"certificates": [pair.section()]}}) as weir:
        for name, (header, address) in GOOD.items():
            with case(name):
                raw = Client(weir.address)
                raw.send(header)
                raw.socket = certs.client_context().wrap_socket(raw.socket, server_hostname="pay.example.com")
                check_equal(raw.ask("GET", "/x").status, 200)
                check_equal(processor.requests()[-1].header("X-Forwarded-For"), address)
                check_equal(processor.requests()[-1].header("X-Forwarded-Proto"), "https")
                raw.close()


def test_a_header_that_never_comes_is_waited_for_and_no_longer():
    with Processor() as processor, Weir(processor, listener={**REQUIRED, "timeouts": {"handshake": "200ms"}}) as weir:
        for name, part in (("nothing", b""), ("half", b"PROXY TCP4")):
            with case(name), weir.client() as client:
                client.send(part)
                client.check_closed()
                check(True, "")


def test_a_header_cut_anywhere_loses_nothing_behind_it():
    header = GOOD["1, TCP4"][0]
    body = bytes(range(256)) * 16
    with Processor() as processor, Weir(processor, listener=REQUIRED) as weir:
        for at in range(1, len(header) + 1):
            with case(f"cut behind {at} bytes"), weir.client() as client:
                client.send(header[:at])
                client.send(header[at:] + request("POST", f"/{at}", [], body))
                check_equal(client.read_response().status, 200)
                check_equal(processor.requests()[-1].body, body)
