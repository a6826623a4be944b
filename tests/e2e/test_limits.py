"""Limits as a merchant meets them: who is refused, what it reads, and what it costs nobody."""

import json
import time

from harness import case, check, check_equal, wait_until
from harness.http import Closed
from harness.payments import KEY_FIELD, executions, on_each_store, pay, paying
from harness.processor import Hold, Processor, Sandbox, response
from harness.weir import Weir

DAY = "1/day"  # so slow that no test sees a second token
QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
ABNORMAL = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"


def limited(store, to, limits, names=None, sections=None, route=None, **more):
    """A weir whose payments route has these limits."""
    patient = {"store": {"limit_timeout": "10s"}} if store.kind == "redis" else {}
    return paying(store, to, sections={"limits": limits, **patient, **(sections or {})},
                  route={"limits": names or list(limits), **(route or {})}, **more)


def decisions(weir, limit, **labels):
    return weir.metric("weir_ratelimit_decisions_total", limit=limit, **labels)


def check_refused(answer, limit, reason="rate_limited", kind=QUOTA):
    check_equal((answer.status, answer.weir_reason, answer.outcome), (429, reason, "not_sent"))
    problem = json.loads(answer.body)
    check_equal(problem["type"], kind)
    check_equal(problem["violated-policies"], [limit])
    check(int(answer.header("Retry-After")) >= 1, "Retry-After")
    check_equal(answer.header("Cache-Control"), "no-store")
    return answer


@on_each_store
def test_payments_within_the_burst_and_not_one_more(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, \
            limited(store, sandbox, {"writes": {"by": "tenant", "rate": DAY, "burst": 3}}) as weir:
        for number in range(3):
            answer = pay(weir, f"order-{number}")
            check_equal(answer.status, 200)
            check_equal(answer.header("RateLimit-Policy"), '"writes";q=3;w=259200')
            check(answer.header("RateLimit").startswith(f'"writes";r={2 - number};t='), answer.header("RateLimit"))
        with case("the fourth is refused, and reads when to come again"):
            answer = check_refused(pay(weir, "order-3"), "writes")
            check_equal(answer.retry, "same_key")
            check(80000 < int(answer.header("Retry-After")) < 100000, answer.header("Retry-After"))
            check_equal(answer.header("RateLimit"), f'"writes";r=0;t={answer.header("Retry-After")}')
        with case("a replay costs nothing, and is served"):
            for _ in range(3):
                answer = pay(weir, "order-0")
                check_equal((answer.status, answer.outcome), (200, "replayed"))
        with case("another tenant has its own"):
            check_equal(pay(weir, "order-3", tenant="sk_test_2").status, 200)
        with case("the refused key is free"):
            check_equal(executions(sandbox, "order-3"), 1)
            weir.change(limits={"writes": {"by": "tenant", "rate": DAY, "burst": 4}})
            weir.reload()
            check_equal(pay(weir, "order-3").status, 200)
            check_equal(pay(weir, "order-4").status, 429)
        check_equal(decisions(weir, "writes", decision="admitted", where="store"), 5)
        check_equal(decisions(weir, "writes", decision="denied", where="store"), 2)


@on_each_store
def test_whoever_waits_as_told_is_admitted(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, \
            limited(store, sandbox, {"writes": {"by": "tenant", "rate": "1/s", "burst": 1}}) as weir:
        check_equal(pay(weir, "order-0").status, 200)
        refused = pay(weir, "order-1")
        check_equal(refused.status, 429)
        time.sleep(int(refused.header("Retry-After")))  # what a client does, and the very thing that is tested
        check_equal(pay(weir, "order-1").status, 200)


@on_each_store
def test_who_is_refused_by_one_limit_is_charged_by_none(store):
    limits = {"all": {"by": "tenant", "rate": DAY, "burst": 20}, "here": {"by": ["tenant", "route"], "rate": DAY, "burst": 1}}
    with Sandbox(dedup=KEY_FIELD) as sandbox, limited(store, sandbox, limits) as weir:
        check_equal([pay(weir, None).status for _ in range(4)], [200, 429, 429, 429])
        for _ in range(4):  # the refusal is remembered for a second; then the store is asked again
            time.sleep(1.1)
            check_refused(pay(weir, None), "here")
        weir.change(limits={**limits, "here": {**limits["here"], "mode": "off"}})
        weir.reload()
        check(sum(pay(weir, None).status == 200 for _ in range(25)) >= 18, "19 were left, and one may have been asked for in vain")


@on_each_store
def test_requests_without_a_key_share_the_bucket(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, \
            limited(store, sandbox, {"all": {"by": "tenant", "rate": DAY, "burst": 4}}) as weir:
        check_equal(pay(weir, "order-0").status, 200)
        check_equal(pay(weir, None).status, 200)
        check_equal(pay(weir, "order-1").status, 200)
        check_equal(pay(weir, None).status, 200)
        for _ in range(3):
            check_refused(pay(weir, None), "all")
        check_refused(pay(weir, "order-2"), "all")
        check(decisions(weir, "all", decision="denied", where="cache") >= 1, "the second refusal asks nobody")
        with case("a limit that was raised holds nobody up"):
            weir.change(limits={"all": {"by": "tenant", "rate": DAY, "burst": 5}})
            weir.reload()
            check_equal([pay(weir, None).status for _ in range(2)], [200, 429])
        check_equal(pay(weir, "order-1").outcome, "replayed")


def test_without_a_store_limits_count_in_the_process():
    limits = {"reads": {"by": "tenant", "rate": DAY, "burst": 2}, "mine": {"by": "header:X-Merchant", "rate": DAY, "burst": 1}}
    with Processor() as processor, \
            Weir(processor, limits=limits, routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["reads", "mine"]}]) as weir:
        one = ["Authorization: Bearer one"]
        with case("a part that is missing skips its limit"):
            check_equal([weir.ask("GET", "/x", one).status for _ in range(2)], [200, 200])
            check_equal(decisions(weir, "mine", decision="skipped"), 2)
            check_refused(weir.ask("GET", "/x", one), "reads")
        with case("no credential, no tenant"):
            check_equal([weir.ask("GET", "/x").status for _ in range(4)], [200] * 4)
        with case("all or nothing"):
            two = ["Authorization: Bearer two", "X-Merchant: m1"]
            check_equal(weir.ask("GET", "/x", two).status, 200)
            check_refused(weir.ask("GET", "/x", two), "mine")
            check_refused(weir.ask("GET", "/x", two), "mine")
            check_equal(weir.ask("GET", "/x", ["Authorization: Bearer two", "X-Merchant: m2"]).status, 200)
            check_refused(weir.ask("GET", "/x", ["Authorization: Bearer two", "X-Merchant: m3"]), "reads")


def test_an_address_counts_in_the_process_and_by_what_trusted_peers_say():
    limits = {"per-address": {"by": "client_ip", "rate": DAY, "burst": 2}}
    route = {"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["per-address"]}
    with Processor() as processor, Weir(processor, listener={"trusted": ["127.0.0.0/8"]}, limits=limits, routes=[route]) as weir:
        def ask(address):
            return weir.ask("GET", "/x", [f"X-Forwarded-For: {address}"])
        check_equal([ask("192.0.2.1").status for _ in range(2)], [200, 200])
        check_refused(ask("192.0.2.1"), "per-address")
        check_equal(ask("192.0.2.2").status, 200)
        with case("IPv4 is the same in its IPv6 form, and one customer each"):
            check_refused(ask("::ffff:192.0.2.1"), "per-address")
            check_equal([ask(f"::ffff:192.0.2.{n}").status for n in (3, 4, 5)], [200] * 3)
        with case("IPv6 by its /64"):
            check_equal([ask(f"2001:db8:1:2::{n}").status for n in (1, 2)], [200, 200])
            check_refused(ask("2001:db8:1:2:ffff::9"), "per-address")
            check_equal(ask("2001:db8:1:3::1").status, 200)


def test_a_refused_caller_keeps_its_connection():
    limits = {"per-address": {"by": "client_ip", "rate": DAY, "burst": 1}}
    route = {"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["per-address"]}
    with Processor() as processor, Weir(processor, limits=limits, routes=[route]) as weir, weir.client() as client:
        check_equal(client.ask("POST", "/x", [], b"x" * 1000).status, 200)
        for size in (0, 10, 60000):
            with case(f"a body of {size} goes by"):
                check_refused(client.ask("POST", "/x", [], b"x" * size), "per-address")
        with case("one that comes late, too"):
            client.send(b"POST /x HTTP/1.1\r\nHost: pay.example.com\r\nContent-Length: 10\r\n\r\n")
            time.sleep(0.1)
            client.send(b"0123456789")
            check_refused(client.read_response(), "per-address")
        with case("who asks first is told at once"):
            client.send(b"POST /x HTTP/1.1\r\nHost: pay.example.com\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            check_refused(client.read_response(), "per-address")
        with case("a large one is not waited for"), weir.client() as other:
            other.send(b"POST /x HTTP/1.1\r\nHost: pay.example.com\r\nContent-Length: 200000\r\n\r\n")
            check_refused(other.read_response(), "per-address")
        check_equal(len(processor.requests()), 1)


def test_a_new_connection_is_charged_before_its_tls():
    limits = {"arrivals": {"by": "client_ip", "rate": DAY, "burst": 3}}
    with Processor() as processor, Weir(processor, listener={"limits": {"accept": ["arrivals"]}}, limits=limits) as weir:
        with weir.client() as client:
            check_equal(client.ask("GET", "/x").status, 200)
            check_equal([weir.ask("GET", "/x").status for _ in range(2)], [200, 200])
            with case("over it the connection is closed"):
                try:
                    weir.ask("GET", "/x")
                    check(False, "served")
                except (Closed, ConnectionError):
                    pass
            with case("open ones go on"):
                check_equal(client.ask("GET", "/x").status, 200)
        check_equal(decisions(weir, "arrivals", decision="denied"), 1)


def test_strangers_are_slowed_by_their_address():
    import hashlib
    import os
    import tempfile
    with tempfile.TemporaryDirectory() as folder, Processor() as processor:
        path = os.path.join(folder, "tenants")
        with open(path, "w") as file:
            file.write(f"sha256:{hashlib.sha256(b'right').hexdigest()} acme basic\n")
        limits = {"per-address": {"by": "client_ip", "rate": DAY, "burst": 3}, "writes": {"by": "tenant", "rate": DAY, "burst": 9}}
        with Weir(processor, limits=limits, tenants={"known_file": path, "unknown": "refuse"},
                  routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["per-address", "writes"]}]) as weir:
            statuses = [weir.ask("GET", "/x", [f"Authorization: Bearer wrong-{n}"]).status for n in range(6)]
            check_equal(statuses, [401] * 3 + [429] * 3)
            check_equal(processor.requests(), [])


def test_requests_at_once():
    limits = {"in-flight": {"by": "tenant", "concurrent": 2}}
    with Processor() as processor, \
            Weir(processor, limits=limits, routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["in-flight"]}]) as weir:
        one = ["Authorization: Bearer one"]
        holds = [Hold(), Hold()]
        with weir.client() as a, weir.client() as b:
            for hold, client in zip(holds, (a, b)):
                processor.answer(hold)
                client.send(b"GET /slow HTTP/1.1\r\nHost: pay.example.com\r\nAuthorization: Bearer one\r\n\r\n")
                hold.wait()
            refused = check_refused(weir.ask("GET", "/x", one), "in-flight", "concurrency_limited")
            check_equal(refused.header("RateLimit-Policy"), '"in-flight";q=2;qu="concurrent-requests"')
            check_equal(weir.ask("GET", "/x", ["Authorization: Bearer two"]).status, 200)
            with case("an answer frees a place"):
                holds[0].release()
                check_equal(a.read_response().status, 200)
                check_equal(weir.ask("GET", "/x", one).status, 200)
            with case("and so does a client that leaves"):
                b.reset()
                wait_until(lambda: weir.ask("GET", "/x", one).status == 200)
            holds[1].release()
        for _ in range(3):
            check_equal(weir.ask("GET", "/x", one).status, 200)


@on_each_store
def test_a_shadow_refuses_nobody_and_says_what_it_would_have(store):
    limits = {"trial": {"by": "tenant", "rate": DAY, "burst": 2, "mode": "shadow"}, "off": {"by": "tenant", "rate": DAY, "burst": 1, "mode": "off"}}
    with Sandbox(dedup=KEY_FIELD) as sandbox, limited(store, sandbox, limits) as weir:
        for number in range(5):
            answer = pay(weir, f"order-{number}")
            check_equal((answer.status, answer.header("RateLimit")), (200, None))
        check_equal(decisions(weir, "trial", decision="admitted", mode="shadow"), 2)
        check_equal(decisions(weir, "trial", decision="denied", mode="shadow"), 3)


@on_each_store
def test_declines_are_charged_and_stop_the_next(store):
    limits = {"card-testing": {"by": "tenant", "rate": "2/day", "burst": 2, "charge_on": "decline"}}
    with Processor() as processor, limited(store, processor, limits) as weir:
        def answer_always(status):
            processor.answer_always(response(status, body=b'{"error": {"code": "card_declined"}}'))
        answer_always(200)
        check_equal([pay(weir, f"fine-{n}").status for n in range(4)], [200] * 4)
        answer_always(402)
        check_equal([pay(weir, f"bad-{n}").status for n in range(2)], [402, 402])
        wait_until(lambda: pay(weir, "next").status == 429, what="the limit to stop the next one")
        check_refused(pay(weir, "next-2"), "card-testing", kind=ABNORMAL)
        with case("without a key, too"):
            wait_until(lambda: pay(weir, None).status == 429, what="the limit to stop one without a key")
        with case("what was answered is replayed"):
            check_equal((pay(weir, "bad-0").status, pay(weir, "fine-0").outcome), (402, "replayed"))


def test_a_decline_that_only_its_body_tells_counts_without_a_key_too():
    limits = {"card-testing": {"by": "tenant", "rate": DAY, "burst": 2, "charge_on": "decline"}}
    route = {"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["card-testing"], "idempotency": "off"}
    refused = b'{"pspReference": "993617895215577D", "resultCode": "Refused", "refusalReason": "Refused"}'
    with Processor() as processor, Weir(processor, acme={"profile": "adyen"}, limits=limits, routes=[route]) as weir:
        def ask(method="POST"):
            return weir.ask(method, "/payments", ["Authorization: Bearer one"], b"{}" if method == "POST" else None).status
        with case("split anywhere"):
            def in_pieces(link, request):
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(refused)
                for at in range(0, len(refused), 7):
                    link.send(head + refused[at:at + 7])
                    head = b""
                    time.sleep(0.005)
            processor.answer_always(in_pieces)
            check_equal(ask("GET"), 200)  # a question about it is no decline
            check_equal([ask() for _ in range(3)], [200, 200, 429])


def test_tiers_come_with_the_credential():
    import hashlib
    import os
    import tempfile
    with tempfile.TemporaryDirectory() as folder, Processor() as processor:
        path = os.path.join(folder, "tenants")
        with open(path, "w") as file:
            for key, name, tier in (("one", "small", "basic"), ("two", "large", "gold"), ("three", "large", "gold")):
                file.write(f"sha256:{hashlib.sha256(key.encode()).hexdigest()} {name} {tier}\n")
        limits = {"reads": {"by": "tenant", "rate": DAY, "burst": 1, "tiers": {"gold": {"rate": DAY, "burst": 3}}}}
        with Weir(processor, limits=limits, tenants={"known_file": path},
                  routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["reads"]}]) as weir:
            def statuses(key, count):
                return [weir.ask("GET", "/x", [f"Authorization: Bearer {key}"]).status for _ in range(count)]
            check_equal(statuses("one", 2), [200, 429])
            with case("two credentials of one tenant share its bucket"):
                check_equal(statuses("two", 2) + statuses("three", 2), [200, 200, 200, 429])
