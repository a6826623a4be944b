"""Faults at any byte and at random, judged by three ledgers: what the client was told, what weir logged, what the processor
executed. not_sent: no execution. answered: what the answer says. unknown: at most one. And nothing is ever sent twice."""

import json
import os
import random
import signal
import threading
import time

from harness import Failure, case, check, check_equal, deadline, wait_until
from harness.http import Client, Closed, request
from harness.processor import Processor, Sandbox
from harness.relay import Relay
from harness.weir import Weir

PAYMENT = b'{"amount": 4200, "currency": "eur"}'
SHORT = {"timeouts": {"connect": "1s", "response": "2s", "total": "20s"}}


def pay(weir, key, fault=None, timeout_s=15):
    """(status, outcome), or None where the answer was cut: then the access line has the outcome."""
    headers = ["Authorization: Bearer sk_test_1", f"Idempotency-Key: {key}", f"X-Request-Id: {key}"]
    if fault:
        headers.append(f"Sandbox-Fault: {fault}")
    with weir.client(timeout_s=timeout_s) as client:
        try:
            answer = client.ask("POST", "/v1/payments", headers, PAYMENT)
        except Closed:
            return None
        return answer.status, answer.outcome


def check_books(weir, sandbox, told):
    """`told`: key to what pay() returned."""
    executed = {}
    for made in sandbox.ledger():
        executed[made["key"]] = executed.get(made["key"], 0) + 1
    arrived = {}
    for seen in sandbox.requests():
        key = dict((name.lower(), value) for name, value in seen["headers"]).get("idempotency-key")
        if key is not None:
            arrived[key] = arrived.get(key, 0) + 1
            check_equal(seen["malformed"] if seen["complete"] else None, None, f"{key} at the processor")
    lines = {line["x_request_id"]: line for line in weir.wait_for_access(count=len(told), timeout_s=30)}
    check_equal(set(told), set(lines), "keys with an access line")
    for key, answer in told.items():
        outcome = lines[key]["weir.outcome"]
        count = executed.get(key, 0)
        check(arrived.get(key, 0) <= 1, f"{key} was sent {arrived.get(key)} times")
        if answer is not None:
            check_equal(answer[1], outcome, f"{key}: what the client was told, and the log")
        if outcome == "not_sent":
            check_equal((count, arrived.get(key, 0)), (0, 0), f"{key} is not_sent: {lines[key]}")
        elif outcome == "answered":
            status = lines[key]["http.response.status_code"]
            check_equal(count, 1 if status in (200, 499) else 0, f"{key} is answered with {status}")
        else:
            check(count <= 1, f"{key} was executed {count} times")


@deadline(120)
def test_a_cut_at_any_byte_of_the_answer():
    for how in ("fin", "rst"):
        with Sandbox() as sandbox, Relay(sandbox.address) as relay, Weir(relay, acme=SHORT) as weir:
            told = {}
            for at in list(range(0, 260, 9)) + [1, 2, 259]:
                key = f"{how}-{at}"
                relay.reset_all()
                relay.down.cut(at, how)
                told[key] = pay(weir, key)
                relay.heal()
            with case(how):
                check_books(weir, sandbox, told)
                check_equal(len(sandbox.ledger()), len(told), "the processor had executed each")
                check_equal(pay(weir, "afterwards"), (200, "answered"))


@deadline(120)
def test_a_cut_at_any_byte_of_the_request():
    for how in ("fin", "rst"):
        with Sandbox() as sandbox, Relay(sandbox.address) as relay, Weir(relay, acme=SHORT) as weir:
            told = {}
            for at in list(range(0, 500, 19)) + [1, 2]:
                key = f"{how}-{at}"
                relay.reset_all()
                relay.up.cut(at, how)
                told[key] = pay(weir, key)
                relay.heal()
            with case(how):
                executed = {made["key"] for made in sandbox.ledger()}
                lines = {line["x_request_id"]: line for line in weir.wait_for_access(count=len(told))}
                for key in told:
                    check(lines[key]["weir.outcome"] in ("unknown", "answered"), f"{key}: {lines[key]}")
                    if lines[key]["weir.outcome"] == "answered":
                        check(key in executed, key)
                check_equal(pay(weir, "afterwards"), (200, "answered"))


@deadline(120)
def test_a_client_that_is_cut_at_any_byte():
    """Whole requests are executed once and logged; parts of one never reach the processor."""
    whole = request("POST", "/v1/payments", ["X-Request-Id: cut"], PAYMENT)
    for how in ("half_close", "reset"):
        with Sandbox() as sandbox, Weir(sandbox, acme=SHORT) as weir:
            with case(how):
                for at in range(1, len(whole), 3):
                    client = weir.client()
                    client.send(whole[:at])
                    getattr(client, how)()
                    client.close()
                weir.wait_metric("weir_clients", 0, listener="public", timeout_s=20)
                weir.wait_metric("weir_requests_in_flight", 0)
                check_equal((sandbox.ledger(), sandbox.requests()), ([], []))
                check_equal(pay(weir, "afterwards"), (200, "answered"))


@deadline(150)
def test_random_faults_under_load_keep_the_books():
    seed = int(os.environ.get("SEED", random.SystemRandom().randint(0, 1 << 30)))
    print(f"SEED={seed}")
    faults = [None] * 12 + ["reset-before", "reset-after", "close-before", "close-after", "half-answer", "status-before=503",
                            "status-after=500", "status-before=402", "garbage", "chunked", "two-answers", "extra-bytes",
                            "interim", "big=70000", "close", "delay=30", "delay=200,reset-after", "no-length", "early"]
    told = {}
    failures = []

    def descriptors(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    with Sandbox(dedup="header:Idempotency-Key") as sandbox, Weir(sandbox, acme={
            "timeouts": {"connect": "2s", "response": "10s", "total": "30s"}, "pool": {"connections": 8}}) as weir:
        before = descriptors(weir.pid)

        def run(worker):
            choose = random.Random(seed * 100 + worker)
            try:
                for number in range(40):
                    key = f"{worker}-{number}"
                    told[key] = pay(weir, key, choose.choice(faults), timeout_s=40)
            except Exception as error:
                failures.append(f"{worker}: {error}")
        workers = [threading.Thread(target=run, args=(worker,)) for worker in range(12)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        check_equal(failures, [])
        check_books(weir, sandbox, told)
        check_equal(pay(weir, "afterwards"), (200, "answered"))
        weir.wait_metric("weir_requests_in_flight", 0)
        weir.wait_metric("weir_processor_connections", 0, processor="acme", state="leased")
        wait_until(lambda: descriptors(weir.pid) <= before + 8, what="descriptors back to base, but for idle links")
        check(weir.metric("weir_buffers_bytes") < 100_000, "buffers are given back")


@deadline(120)
def test_a_processor_that_dies_and_comes_back():
    """Killed while payments run: each client is told what can be known, and the next weir tries finds it again."""
    with Sandbox() as sandbox:
        with Relay(sandbox.address) as relay, Weir(relay, acme=SHORT) as weir:
            told, failures, stop = {}, [], threading.Event()

            def run(worker):
                number = 0
                while not stop.is_set():
                    number += 1
                    key = f"{worker}-{number}"
                    try:
                        told[key] = pay(weir, key)
                    except (Failure, OSError) as error:
                        failures.append(f"{key}: {error}")
            workers = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
            for worker in workers:
                worker.start()
            try:
                for _ in range(3):
                    wait_until(lambda: list(told.values())[-20:].count((200, "answered")) > 10, 20, "payments")
                    relay.refuse()
                    relay.reset_all()
                    wait_until(lambda: any(answer and answer[1] == "not_sent" for answer in list(told.values())[-20:]), 20,
                               "refusals: no connection, and soon no try of one")
                    relay.listen_again()
                wait_until(lambda: list(told.values())[-20:].count((200, "answered")) > 10, 20, "payments")
            finally:
                stop.set()
                for worker in workers:
                    worker.join()
            check_equal(failures, [])
            check_books(weir, sandbox, dict(told))


@deadline(120)
def test_a_processor_that_freezes():
    with Sandbox() as sandbox, Weir(sandbox, acme={"timeouts": {"connect": "500ms", "response": "700ms", "total": "20s"}}) as weir:
        check_equal(pay(weir, "before"), (200, "answered"))
        os.kill(sandbox.pid, signal.SIGSTOP)
        try:
            told = [pay(weir, f"frozen-{number}") for number in range(3)]
            check_equal(told, [(504, "unknown")] * 3)
            check_equal(weir.ask_monitor("/readyz").status, 200)
        finally:
            os.kill(sandbox.pid, signal.SIGCONT)
        wait_until(lambda: pay(weir, "after") == (200, "answered"), 20, "the processor")
        for made in ("frozen-0", "frozen-1", "frozen-2"):
            check([one["key"] for one in sandbox.ledger()].count(made) <= 1, made)


def test_a_weir_that_was_stopped_goes_on():
    """Two seconds without the CPU: deadlines that passed are honoured, nothing storms."""
    with Processor() as processor, Weir(processor, listener={"timeouts": {"idle": "1s"}}) as weir:
        with weir.client() as idle, weir.client() as other:
            check_equal(idle.ask("GET", "/x").status, 200)
            os.kill(weir.pid, signal.SIGSTOP)
            time.sleep(2)
            other.send(request("GET", "/y"))
            os.kill(weir.pid, signal.SIGCONT)
            idle.check_closed()
            check_equal(weir.ask("GET", "/z").status, 200)


def test_slow_clients_do_not_hinder_others():
    """200 connections with half a head, 50 with half a body: a good client is served as before."""
    with Processor() as processor, Weir(processor, listener={"timeouts": {"header": "30s", "body": "30s"}}) as weir:
        slow = []
        for _ in range(200):
            client = Client(weir.address)
            client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nX-A: ")
            slow.append(client)
        for _ in range(50):
            client = Client(weir.address)
            client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhalf")
            slow.append(client)
        with weir.client() as good:
            for _ in range(100):
                check_equal(good.ask("POST", "/good", [], b"x=1").status, 200)
                for client in slow[::50]:
                    client.send(b"a")
        check_equal({got.target for got in processor.requests()}, {"/good"})
        for client in slow:
            client.close()
        weir.wait_metric("weir_clients", 0, listener="public")
        check(weir.metric("weir_buffers_bytes") < 100_000, "buffers are given back")


def test_connect_flood():
    """Connections that come and go at once, some by reset."""
    with Processor() as processor, Weir(processor) as weir:
        before = len(os.listdir(f"/proc/{weir.pid}/fd"))
        for number in range(800):  # below limits.per_address, should weir see none of them go in time
            client = Client(weir.address)
            client.reset() if number % 2 else client.close()
        check_equal(weir.ask("GET", "/x").status, 200)
        weir.wait_metric("weir_clients", 0, listener="public")
        wait_until(lambda: len(os.listdir(f"/proc/{weir.pid}/fd")) <= before + 2, what="descriptors back to base")
        weir.next_access(0)
        check_equal(len(weir.access_lines()), 1)


def test_the_body_that_comes_back_is_the_callers():
    """Many merchants, large answers, half of them leaving early: nobody sees a byte of another."""
    def echo(link, got):
        mark = got.header("X-Nonce").encode()
        body = (mark + b".") * (60_000 // (len(mark) + 1))
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    failures = []
    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 6}}) as weir:
        processor.answer_always(echo)

        def run(worker):
            choose = random.Random(worker)
            try:
                for number in range(30):
                    mark = f"{worker}x{number}"
                    with weir.client(timeout_s=30) as client:
                        client.send(request("GET", "/x", [f"X-Nonce: {mark}"]))
                        if choose.random() < 0.3:
                            client.read_head()
                            client.read_exactly(choose.randrange(1, 5000))
                            client.reset()
                            continue
                        body = client.read_response().body
                        if set(body.rstrip(b".").split(b".")) != {mark.encode()}:
                            failures.append(f"{mark}: {body[:100]!r}")
            except Exception as error:
                failures.append(f"{worker}: {type(error).__name__} {error}")
        workers = [threading.Thread(target=run, args=(worker,)) for worker in range(12)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        check_equal(failures, [])


def test_json_is_never_needed_to_tell_the_outcome():
    """Every answer of the wildest processor still has weir's own word on the outcome in its head."""
    with Sandbox() as sandbox, Weir(sandbox, acme=SHORT) as weir:
        for fault in ("", "reset-after", "status-after=500", "garbage", "status-before=429"):
            with case(fault or "none"), weir.client() as client:
                answer = client.ask("POST", "/v1/payments", [f"Sandbox-Fault: {fault}"] if fault else [], PAYMENT)
                check(answer.outcome in ("answered", "unknown"), f"{answer}")
                if answer.weir_reason:
                    check_equal(json.loads(answer.body)["outcome"], answer.outcome)
