"""TERM: readyz turns at once, accepting goes on for `announce`, what runs is finished, exit 0."""

import json
import signal
import threading
import time

from harness import case, check, check_equal, wait_until
from harness.http import request
from harness.payments import Shared
from harness.processor import Hold, Processor, response
from harness.weir import Weir
from test_reload import Load, refuses


def ready(weir):
    return weir.ask_monitor("/readyz").status


def test_a_quiet_weir_ends_at_once():
    for number in (signal.SIGTERM, signal.SIGINT):
        with case(number.name), Processor() as processor:
            weir = Weir(processor)
            check_equal(weir.ask("GET", "/x").status, 200)
            with weir.client():  # an idle connection does not hold it
                weir.signal(number)
                weir.check_clean(weir.wait(10))
            stopped = weir.wait_event("stopped")
            check_equal((stopped["drained"], stopped["cut"]), (0, 0))
            weir.kill()


def test_announce_turns_readyz_and_goes_on_accepting():
    with Processor() as processor, Weir(processor, shutdown={"announce": "1500ms"}) as weir:
        with weir.client() as client:
            check_equal(client.ask("GET", "/x").header("Connection"), None)
            weir.term()
            wait_until(lambda: ready(weir) == 503, what="readyz 503")
            check_equal(weir.ask_monitor("/livez").status, 200)
            with case("a new connection is served, and told to go"):
                answer = weir.ask("POST", "/x", [], b"x=1")
                check_equal((answer.status, answer.header("Connection")), (200, "close"))
            with case("an old connection is served, and told to go"):
                answer = client.ask("POST", "/x", [], b"x=1")
                check_equal((answer.status, answer.header("Connection")), (200, "close"))
                client.check_closed()
        weir.check_clean(weir.wait(20))
        weir.kill()


def test_what_runs_is_finished():
    with Processor() as processor, Weir(processor) as weir:
        hold = Hold()
        with weir.client() as client, weir.client() as idle:
            check_equal(idle.ask("GET", "/x").status, 200)
            processor.answer(hold)
            client.send(request("POST", "/slow", [], b"x=1"))
            hold.wait()
            weir.term()
            wait_until(lambda: refuses(weir.address), what="closed listeners")
            idle.check_closed()
            check(weir.alive(), "it waits")
            hold.release()
            answer = client.read_response()
            check_equal((answer.status, answer.header("Connection")), (200, "close"))
            client.check_closed()
        weir.check_clean(weir.wait(20))
        stopped = weir.wait_event("stopped")
        check_equal((stopped["drained"], stopped["cut"]), (1, 0))
        check_equal(len(weir.access_lines()), 2)
        weir.kill()


def test_drain_under_load_fails_no_request():
    """Another instance takes over: what each of them accepted is answered."""
    with Processor() as processor, Weir(processor, shutdown={"announce": "1500ms"}) as weir:
        load = Load(weir)
        try:
            load.wait(100)
            weir.term()
            wait_until(lambda: ready(weir) == 503, what="readyz 503")
            load.wait(30)
        finally:
            load.stop()  # the load balancer has noticed: no new requests
        check_equal(weir.wait(20), 0)
        stopped = weir.wait_event("stopped")
        check_equal(stopped["cut"], 0)
        processor.check_only(load.answers)
        weir.check_clean(0)
        weir.kill()


def test_a_second_term_ends_at_once():
    with Processor() as processor, Weir(processor) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(request("POST", "/v1/payments", [], b"x=1"))
            hold.wait()
            weir.term()
            wait_until(lambda: refuses(weir.address), what="closed listeners")
            weir.term()
            weir.check_clean(weir.wait(10))
            stopped = weir.wait_event("stopped")
            check_equal(stopped["cut"], 1)
            line = weir.access_lines()[-1]
            check_equal((line["url.path"], line["weir.outcome"]), ("/v1/payments", "unknown"))
        weir.kill()


def test_drain_has_an_end():
    with Processor() as processor, Weir(processor, acme={"timeouts": {"connect": "100ms", "response": "1s", "total": "1500ms"}},
                                        shutdown={"drain": "1500ms"}) as weir:
        release = threading.Event()

        def drip(link, got):
            link.send(response(200, ["Content-Length: 1000000"], length=False))
            while not release.wait(0.05):
                link.send(b"a")

        processor.answer(drip)
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            client.read_head()
            started = time.monotonic()
            weir.term()
            weir.check_clean(weir.wait(10))
            check(time.monotonic() - started < 8, "drain ended")
        release.set()
        weir.kill()


def test_what_was_not_sent_is_told_so_when_it_is_cut():
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 1}}) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as first, weir.client() as second:
            first.send(request("POST", "/sent", [], b"x=1"))
            hold.wait()
            second.send(request("POST", "/queued", [], b"x=1"))
            weir.wait_metric("weir_processor_queue_length", 1, processor="acme")
            weir.term()
            wait_until(lambda: refuses(weir.address), what="closed listeners")
            weir.term()
            answer = second.read_response()
            check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "draining", "not_sent"))
            check(int(answer.header("Retry-After")) >= 1, "Retry-After")
            weir.check_clean(weir.wait(10))
        weir.kill()


def test_a_payment_whose_client_left_is_drained_too():
    with Processor() as processor, Weir(processor) as weir:
        hold = Hold()
        processor.answer(hold)
        client = weir.client()
        client.send(request("POST", "/v1/payments", [], b"x=1"))
        hold.wait()
        client.reset()
        weir.term()
        wait_until(lambda: refuses(weir.address), what="closed listeners")
        check(weir.alive(), "it waits for the answer")
        hold.release()
        weir.check_clean(weir.wait(10))
        line = weir.access_lines()[-1]
        check_equal((line["weir.reason"], line["weir.outcome"]), ("client_gone", "answered"))
        weir.kill()


def test_terms_until_the_very_end_do_not_kill_it():
    """Whoever loses patience sends more of them: the process still ends with 0, and its logs whole."""
    with Processor() as processor:
        for number in (signal.SIGTERM, signal.SIGINT):
            with case(number.name):
                weir = Weir(processor)
                check_equal(weir.ask("GET", "/x").status, 200)
                weir.term()
                while weir.alive():
                    weir.process.send_signal(number)
                weir.check_clean(weir.wait(15))
                weir.wait_event("stopped")
                weir.kill()


def test_term_in_every_phase_ends_clean():
    """The sanitizers see what is left open, whatever was under way."""
    from harness import certs
    from harness.http import Client
    pair = certs.server("pay.example.com")
    tls = {"tls": {"certificates": [pair.section()]}}

    def half_hello(weir):
        client = Client(weir.address)
        client.send(b"\x16\x03\x01\x02\x00\x01\x00")
        return client

    def tls_idle(weir):
        return Client(weir.address, tls=certs.client_context(), server_name="pay.example.com")

    def plain(data):
        def start(weir):
            client = Client(weir.address)
            client.send(data)
            return client
        return start

    rows = {
        "a new connection": ({}, plain(b"")),
        "half a head": ({}, plain(b"POST /x HT")),
        "half a body": ({}, plain(request("POST", "/x", [], b"hello")[:-2])),
        "half a handshake": (tls, half_hello),
        "an idle TLS connection": (tls, tls_idle),
    }
    for name, (listener, start) in rows.items():
        for times in (1, 2):
            with case(f"{name}, TERM {times}"), Processor() as processor:
                weir = Weir(processor, listener={**listener, "timeouts": {"handshake": "1s", "header": "1s", "body": "1s"}})
                client = start(weir)
                wait_until(lambda: weir.metric("weir_clients", listener="public") == 1, what="the client")
                for _ in range(times):
                    weir.term()
                    if times > 1:
                        wait_until(lambda: weir.wait_event("stopping"), what="stopping")
                weir.check_clean(weir.wait(15))
                client.close()
                weir.kill()


def test_questions_about_limits_do_not_hold_it():
    """The store hangs, requests wait for it, and it is told to stop at once: whoever waits is told, and nothing is left."""
    limits = {"reads": {"by": "tenant", "rate": "100/s", "burst": 10}}
    with Shared() as store, Processor() as processor, \
            Weir(processor, limits=limits, store={**store.section(), "limit_timeout": "10s", "begin_timeout": "20s"},
                 routes=[{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["reads"]}]) as weir:
        check_equal(weir.ask("GET", "/x", ["Authorization: Bearer one"]).status, 200)
        store.redis.pause()
        try:
            with weir.client() as first, weir.client() as second:
                for client, name in ((first, "two"), (second, "three")):
                    client.send(request("GET", "/x", [f"Authorization: Bearer {name}"]))
                wait_until(lambda: json.loads(weir.verb("status", "--json", expected=0)[1])["exchanges"] == 2,
                           what="two requests that wait for their limits")
                weir.term()
                weir.wait_event("draining")
                weir.term()
                for client in (first, second):
                    answer = client.read_response()
                    check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "draining", "not_sent"))
                weir.check_clean(weir.wait(20))
        finally:
            store.redis.go_on()
