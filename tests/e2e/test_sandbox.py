"""The stand-in processor itself: what other tests believe of it."""

import json
import signal
import subprocess
import time

from harness import Failure, binary, case, certs, check, check_equal, wait_until
from harness.http import Client, ask, chunked, request
from harness.processor import Sandbox

PAYMENT = '{"amount": 4200, "currency": "eur"}'


def pay(sandbox, *headers, body=PAYMENT, target="/v1/payments"):
    return ask(sandbox.address, "POST", target, headers, body)


def test_a_payment_is_executed_and_can_be_read():
    with Sandbox(name="acme") as sandbox:
        answer = pay(sandbox, "Authorization: Bearer sk_test_1", "Idempotency-Key: k1")
        made = json.loads(answer.body)
        check_equal(answer.status, 200)
        check_equal((made["object"], made["amount"], made["currency"], made["status"], made["processor"]),
                    ("payment", 4200, "eur", "succeeded", "acme"))
        check(made["id"].startswith("pay_") and len(made["tenant"]) == 12, f"{made}")
        check_equal(json.loads(ask(sandbox.address, "GET", "/v1/payments/" + made["id"]).body), made)
        check_equal(ask(sandbox.address, "GET", "/v1/payments/pay_0").status, 404)
        (row,) = sandbox.ledger()
        check_equal((row["id"], row["key"], row["amount"], row["tenant"]), (made["id"], "k1", 4200, made["tenant"]))


def test_amounts_are_read_in_every_dialect():
    rows = {PAYMENT: 4200, "amount=1200&currency=usd": 1200, '{"amount": {"value": 7, "currency": "eur"}}': 7,
            '{"amount_money": {"amount": 9, "currency": "USD"}}': 9, "{}": None, "amount=x": None, '{"amount": "1"}': None,
            '{"amount": -1}': None, "[": None, "": None}
    with Sandbox() as sandbox:
        for body, amount in rows.items():
            with case(body or "nothing"):
                answer = pay(sandbox, body=body)
                check_equal(answer.status, 200 if amount is not None else 400)
                if amount is not None:
                    check_equal(json.loads(answer.body)["amount"], amount)
        check_equal(len(sandbox.ledger()), 4)


def test_stripe_dialect():
    with Sandbox() as sandbox:
        answer = pay(sandbox, body="amount=2000&currency=usd&confirm=true", target="/v1/payment_intents")
        made = json.loads(answer.body)
        check_equal((made["object"], made["amount"], made["status"]), ("payment_intent", 2000, "succeeded"))
        check(made["id"].startswith("pi_"), made["id"])
        check_equal(json.loads(ask(sandbox.address, "GET", "/v1/payment_intents/" + made["id"]).body), made)
        check_equal(sandbox.ledger()[0]["id"], made["id"])


def test_a_key_executes_once_with_dedup_alone():
    for dedup, executions in ((None, 3), ("header:Idempotency-Key", 2)):
        with case(str(dedup)), Sandbox(dedup=dedup) as sandbox:
            first = pay(sandbox, "Idempotency-Key: k", "Authorization: a")
            second = pay(sandbox, "Idempotency-Key: k", "Authorization: a")
            pay(sandbox, "Idempotency-Key: k", "Authorization: another merchant")
            check_equal(len(sandbox.ledger()), executions)
            check_equal(second.header("Idempotent-Replayed"), "true" if dedup else None)
            check_equal(second.body == first.body, bool(dedup))
    with case("another header"), Sandbox(dedup="header:Cko-Idempotency-Key") as sandbox:
        for _ in range(2):
            pay(sandbox, "Cko-Idempotency-Key: k")
        check_equal([row["key"] for row in sandbox.ledger()], ["k"])


def test_requests_are_kept_as_they_came():
    with Sandbox() as sandbox, Client(sandbox.address) as client:
        raw = request("POST", "/v1/payments?a=b", ["x-B: 2", "X-a:  1 ", "x-B: 3"], PAYMENT)
        client.send(raw + raw)
        check_equal([client.read_response().status for _ in range(2)], [200, 200])
        first, second = sandbox.requests()
        check_equal((first["method"], first["target"]), ("POST", "/v1/payments?a=b"))
        check_equal(first["headers"], [["Host", "pay.example.com"], ["x-B", "2"], ["X-a", "1"], ["x-B", "3"],
                                       ["Content-Length", str(len(PAYMENT))]])
        check_equal((first["body"], first["body_bytes"], first["complete"]), (PAYMENT, len(PAYMENT), True))
        check_equal(first["raw"] + first["body"], raw.decode())
        check_equal((first["reused"], second["reused"], first["connection"] == second["connection"]), (False, True, True))
        with case("cut short and malformed ones too"):
            for bytes_, why in ((raw[:-3], "the body was cut short"), (raw[:20], "the head was cut short")):
                with Client(sandbox.address) as other:
                    other.send(bytes_)
                    other.half_close()
                    other.check_closed()
                check_equal((sandbox.requests()[-1]["malformed"], sandbox.requests()[-1]["complete"]), (why, False))
            check_equal(ask(sandbox.address, "GET", "/", ["Host: twice"]).status, 400)
            check(sandbox.requests()[-1]["malformed"], "says what is wrong")
        with case("reset forgets"):
            sandbox.reset()
            check_equal((sandbox.requests(), sandbox.ledger()), ([], []))


def test_each_fault():
    with Sandbox() as sandbox:
        rows = {  # executions, what comes
            "reset-before": (0, "reset"), "reset-after": (1, "reset"), "close-before": (0, "ended"), "close-after": (1, "ended"),
            "half-answer": (1, "early"), "garbage": (1, "not a status line"), "hang": (1, "nothing came"),
            "delay=50,reset-after": (1, "reset"),
        }
        for fault, (executions, words) in rows.items():
            with case(fault):
                before = len(sandbox.ledger())
                with Client(sandbox.address, timeout_s=1) as client:
                    try:
                        raise Exception(f"it answered {client.ask('POST', '/v1/payments', [f'Sandbox-Fault: {fault}'], PAYMENT)}")
                    except Failure as error:
                        check(words in str(error), str(error))
                check_equal(len(sandbox.ledger()) - before, executions)
        rows = {"status-before=503": (0, 503), "status-after=500": (1, 500), "status-before=402": (0, 402), "early": (0, 413),
                "chunked": (1, 200), "two-answers": (1, 200), "extra-bytes": (1, 200), "interim": (1, 200), "close": (1, 200),
                "no-length": (1, 200), "big=100000": (1, 200), "trickle=1": (1, 200), "delay=50": (1, 200),
                "delay=20, chunked, big=3000": (1, 200), "": (1, 200), "nonsense": (0, 400), "delay": (0, 400), "big=x": (0, 400)}
        for fault, (executions, status) in rows.items():
            with case(fault or "none"):
                before, started = len(sandbox.ledger()), time.monotonic()
                with Client(sandbox.address) as client:
                    answer = client.ask("POST", "/v1/payments", [f"Sandbox-Fault: {fault}"], PAYMENT)
                    check_equal(answer.status, status)
                    check(json.loads(answer.body), "JSON")
                    check_equal(bool(answer.chunks), "chunked" in fault)
                    check_equal(answer.until_close, fault == "no-length")
                    check_equal([one.status for one in answer.interim], [103] if fault == "interim" else [])
                    check_equal(answer.header("Connection"), "close" if fault in ("close", "no-length") or status == 400 else None)
                    check("big=100000" not in fault or len(answer.body) >= 100000, "big")
                    check(not fault.startswith("delay=") or time.monotonic() - started >= 0.02, "delay")
                    if fault == "two-answers":
                        check_equal(client.read_response().body, answer.body)
                    elif fault == "extra-bytes":
                        check_equal(client.read_exactly(5), b"extra")
                check_equal(len(sandbox.ledger()) - before, executions)


def test_faults_are_armed_for_payments():
    with Sandbox() as sandbox:
        sandbox.fault("status-after=500", 2)
        check_equal(ask(sandbox.address, "GET", "/healthz").status, 200, "not a payment")
        check_equal([pay(sandbox).status for _ in range(3)], [500, 500, 200])
        sandbox.fault("status-after=500", 5)
        sandbox.fault()
        check_equal(pay(sandbox).status, 200, "disarmed")
        check_equal(ask(sandbox.address, "POST", "/_fault", [], '{"fault": "nonsense"}').status, 400)
        check_equal(ask(sandbox.address, "POST", "/_fault", [], '{"on": "nothing"}').status, 400)
        check_equal(ask(sandbox.address, "POST", "/_fault", [], '{"on": 1}').status, 400)


def test_faults_are_armed_for_health():
    with Sandbox() as sandbox:
        sandbox.fault("status-before=503", 2, on="health")
        check_equal(pay(sandbox).status, 200, "a payment")
        check_equal([ask(sandbox.address, "GET", "/healthz").status for _ in range(3)], [503, 503, 200])
        sandbox.fault("status-before=503", 9, on="health")
        sandbox.fault()
        check_equal(ask(sandbox.address, "GET", "/healthz").status, 503, "payments alone were disarmed")
        sandbox.fault(on="health")
        check_equal(ask(sandbox.address, "GET", "/healthz").status, 200)


def test_framings_and_sizes():
    with Sandbox() as sandbox, Client(sandbox.address) as client:
        with case("pipelined in order"):
            client.send(b"".join(request("GET", f"/bytes/{number}") for number in range(200)))
            check_equal([len(client.read_response().body) for _ in range(200)], list(range(200)))
        with case("a delayed answer holds those behind it"):
            client.send(request("POST", "/v1/payments", ["Sandbox-Fault: delay=100"], PAYMENT) + request("GET", "/bytes/3") * 2)
            check_equal([len(client.read_response().body) for _ in range(3)][1:], [3, 3])
        with case("chunked"):
            client.send(request("POST", "/v1/payments", ["Transfer-Encoding: chunked"]) + chunked(PAYMENT[:9].encode(),
                                                                                              PAYMENT[9:].encode()))
            check_equal(client.read_response().status, 200)
        with case("100-continue"):
            client.send(request("POST", "/v1/payments", ["Expect: 100-continue"], PAYMENT)[:-len(PAYMENT)])
            check_equal(client.read_head().status, 100)
            client.send_slowly(PAYMENT.encode())
            check_equal(client.read_response().status, 200)
        with case("large"):
            check_equal(len(client.ask("GET", "/bytes/5000000").body), 5000000)
            check_equal(client.ask("POST", "/v1/payments", [], "x" * 300000).status, 400)
        with case("HEAD, 404"):
            check_equal(client.ask("HEAD", "/bytes/512").header("Content-Length"), "512")
            check_equal(client.ask("GET", "/nothing").status, 404)


def test_over_tls():
    pair = certs.server("processor.test")
    with Sandbox(cert=pair.cert, key=pair.key) as sandbox:
        answer = ask(sandbox.address, "POST", "/v1/payments", [], PAYMENT, tls=certs.client_context(), server_name="processor.test")
        check_equal(answer.status, 200)
        check_equal(len(sandbox.ledger()), 1)


def test_it_ends_clean_with_work_under_way():
    with Sandbox() as sandbox:
        clients = []
        for raw in (request("POST", "/v1/payments", ["Sandbox-Fault: delay=60000"], PAYMENT),
                    request("POST", "/v1/payments", ["Sandbox-Fault: hang"], PAYMENT), request("GET", "/bytes/90000000"),
                    request("POST", "/v1/payments", ["Sandbox-Fault: trickle=1000"], PAYMENT), b"POST /v1", b""):
            client = Client(sandbox.address)
            client.send(raw)
            clients.append(client)
        wait_until(lambda: len(sandbox.ledger()) == 3, what="three executions")
        sandbox.signal(signal.SIGTERM)
        sandbox.check_clean(sandbox.wait(10))
        for client in clients:
            client.close()


def test_usage():
    rows = [((), 64), (("--listen", "nowhere"), 64), (("--listen", "127.0.0.1:0", "--cert", "x"), 64),
            (("--listen", "127.0.0.1:0", "--dedup", "body"), 64), (("--nonsense",), 64), (("--help",), 0),
            (("--listen", "127.0.0.1:0", "--cert", "/nowhere", "--key", "/nowhere"), 1), (("--listen", "192.0.2.1:1"), 1)]
    for argv, code in rows:
        with case(" ".join(argv) or "nothing"):
            result = subprocess.run([binary("weir-sandbox"), *argv], capture_output=True, text=True, timeout=10)
            check_equal(result.returncode, code, result.stderr)
            check(result.stdout + result.stderr, "it says something")


def test_a_connection_that_is_reset_in_the_middle():
    with Sandbox() as sandbox:
        for raw in (request("POST", "/v1/payments", ["Sandbox-Fault: delay=100"], PAYMENT), request("GET", "/bytes/50000000")):
            client = Client(sandbox.address)
            client.send(raw)
            client.reset()
        check_equal(pay(sandbox).status, 200)
