"""Who the client is: replaced unless the peer is trusted."""

import re

from harness import case, check, check_equal
from harness.processor import Processor
from harness.weir import Weir

FORGED = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 666",
          "Forwarded: for=6.6.6.6;proto=https", "X-Real-IP: 6.6.6.6", "Via: 1.0 evil"]


def seen(processor):
    return processor.requests()[-1]


def test_what_nobody_vouches_for_is_replaced():
    with Processor() as processor, Weir(processor) as weir:
        check_equal(weir.ask("GET", "/x", FORGED).status, 200)
        got = seen(processor)
        check_equal(got.header("X-Forwarded-For"), "127.0.0.1")
        check_equal(got.header("X-Forwarded-Proto"), "http")
        check(re.fullmatch(r'for="?127\.0\.0\.1"?;host="?pay\.example\.com"?;proto=http', got.header("Forwarded")),
              got.header("Forwarded"))
        for name in ("X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP"):
            with case(name):
                check_equal(got.all(name), [])
        check_equal(weir.next_access(0)["client.address"], "127.0.0.1")


def test_a_trusted_peer_is_believed_and_its_list_goes_on():
    with Processor() as processor, Weir(processor, listener={"trusted": ["127.0.0.0/8", "10.0.0.0/8"]}) as weir:
        rows = {
            "one hop": ("203.0.113.7", "203.0.113.7"),
            "two hops, the nearer trusted": ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
            "a forged hop in front": ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
            "only trusted hops": ("10.1.2.3, 10.1.2.4", "10.1.2.3"),
            "an unreadable hop": ("203.0.113.7, unknown", "127.0.0.1"),
            "IPv6": ("2001:db8::7", "2001:db8::7"),
        }
        for number, (name, (value, client)) in enumerate(rows.items()):
            with case(name):
                check_equal(weir.ask("GET", "/x", [f"X-Forwarded-For: {value}", "X-Forwarded-Proto: https"]).status, 200)
                got = seen(processor)
                check_equal(got.header("X-Forwarded-For"), f"{value}, 127.0.0.1")
                check_equal(got.header("X-Forwarded-Proto"), "https")
                check_equal(weir.next_access(number)["client.address"], client)


def test_trust_is_of_the_peer_not_of_the_word():
    with Processor() as processor, Weir(processor, listener={"trusted": ["127.0.0.2/32"]}) as weir:
        for source, expected in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "203.0.113.7, 127.0.0.2")):
            with case(source), weir.client(source=source) as client:
                client.ask("GET", "/x", ["X-Forwarded-For: 203.0.113.7"])
                check_equal(seen(processor).header("X-Forwarded-For"), expected)


def test_request_ids_pass_both_ways_and_are_made():
    with Processor() as processor, Weir(processor) as weir:
        with case("made"):
            answer = weir.ask("GET", "/x")
            check(re.fullmatch(r"[0-9a-f]{32}", answer.header("Weir-Request-Id")), answer.header("Weir-Request-Id"))
            check_equal(answer.header("X-Request-Id"), seen(processor).header("X-Request-Id"))
            check_equal(weir.next_access(0)["request_id"], answer.header("Weir-Request-Id"))
        with case("passed"):
            answer = weir.ask("GET", "/x", ["X-Request-Id: mine-1"])
            check_equal((answer.header("X-Request-Id"), seen(processor).header("X-Request-Id")), ("mine-1", "mine-1"))
            check(answer.header("Weir-Request-Id") != "mine-1", "weir's own id is weir's")
        with case("different for each"):
            ids = {weir.ask("GET", "/x").header("Weir-Request-Id") for _ in range(20)}
            check_equal(len(ids), 20)
        with case("on a refusal"):
            with weir.client() as client:
                client.send(b"GET /x HTTP/1.1\r\n\r\n")
                check(re.fullmatch(r"[0-9a-f]{32}", client.read_response().header("Weir-Request-Id")), "no id")


def test_the_processors_host_is_the_urls_unless_passed():
    with Processor() as processor:
        for setting, expected in (("url", processor.authority), ("pass", "Pay.Example.com:8443")):
            with case(setting), Weir(processor, acme={"host": setting}) as weir:
                check_equal(weir.ask("GET", "/x", host="Pay.Example.com:8443").status, 200)
                check_equal(seen(processor).header("Host"), expected)
        with case("a name"), Weir({"url": "http://api.acme.example", "endpoints": [processor.authority]}) as weir:
            check_equal(weir.ask("GET", "/x").status, 200)
            check_equal(seen(processor).header("Host"), "api.acme.example")


def test_the_nearest_hop_counts_when_each_proxy_adds_a_line():
    with Processor() as processor, Weir(processor, listener={"trusted": ["127.0.0.1/32", "10.0.0.0/8"]}) as weir:
        for name, lines, address in (("two lines", ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
                                     ("a trusted hop between", ["203.0.113.9", "10.1.2.3"], "203.0.113.9"),
                                     ("an unreadable hop", ["6.6.6.6", "nobody"], "127.0.0.1")):
            with case(name):
                seen_lines = len(weir.access_lines())
                check_equal(weir.ask("GET", "/x", [f"X-Forwarded-For: {line}" for line in lines]).status, 200)
                check_equal(weir.next_access(seen_lines)["client.address"], address)


def test_only_the_two_protocols_are_passed_on():
    with Processor() as processor, Weir(processor, listener={"trusted": ["127.0.0.1/32"]}) as weir:
        for given, passed in (("https", "https"), ("http", "http"), ("gopher", "http")):
            with case(given):
                check_equal(weir.ask("GET", "/x", [f"X-Forwarded-Proto: {given}"]).status, 200)
                check_equal(seen(processor).all("X-Forwarded-Proto"), [passed])
