"""The stand-in processor in the five dialects: what the tests of the SDKs believe of it."""

import json
import subprocess

from harness import binary, case, check, check_equal
from harness.http import Client, ask, request
from harness.processor import Sandbox

PAYPAL = {"intent": "CAPTURE", "purchase_units": [{"amount": {"currency_code": "EUR", "value": "%s.00"}}]}

# How a payment of so many cents with a key is asked for; what its answer is; what a duplicate gets, while the first is at
# work and with another amount; what an error is. Where a processor does not look at the amount it tells the first answer.
DIALECTS = {
    "stripe": {
        "path": "/v1/payment_intents", "key": "Idempotency-Key: %s", "body": "amount=%s00&currency=eur", "paid": 200,
        "id": ["id"], "busy": (409, "idempotency_key_in_use"), "reused": (400, "idempotency_error"),
        "error": ["error", "message"]},
    "adyen": {
        "path": "/v72/payments", "key": "Idempotency-Key: %s", "body": '{"amount": {"value": %s00, "currency": "EUR"}}',
        "paid": 200, "id": ["pspReference"], "busy": (422, "704"), "reused": None, "error": ["message"]},
    "checkout": {
        "path": "/payments", "key": "Cko-Idempotency-Key: %s", "body": '{"amount": %s00, "currency": "EUR"}',
        "paid": 201, "id": ["id"], "busy": (429, "too_many_requests"), "reused": None, "error": ["error_codes", 0]},
    "paypal": {
        "path": "/v2/checkout/orders", "key": "PayPal-Request-Id: %s", "body": json.dumps(PAYPAL), "paid": 201,
        "id": ["id"], "busy": (409, "PREVIOUS_REQUEST_IN_PROGRESS"), "reused": None, "error": ["message"]},
    "square": {
        "path": "/v2/payments", "key": None,
        "body": '{"idempotency_key": "KEY", "amount_money": {"amount": %s00, "currency": "EUR"}}', "paid": 200,
        "id": ["payment", "id"], "busy": (409, "CONFLICT"), "reused": (400, "IDEMPOTENCY_KEY_REUSED"),
        "error": ["errors", 0, "detail"]},
}


def question(dialect, key, euros=42):
    row = DIALECTS[dialect]
    body = (row["body"] % euros).replace("KEY", key)
    return row["path"], [row["key"] % key] if row["key"] else [], body


def pay(sandbox, dialect, key, euros=42):
    path, headers, body = question(dialect, key, euros)
    return ask(sandbox.address, "POST", path, headers + ["Authorization: Bearer any"], body)


def at(answer, path):
    value = json.loads(answer.body)
    for step in path:
        value = value[step]
    return value


def test_a_payment_and_its_replay():
    for dialect, row in DIALECTS.items():
        with case(dialect), Sandbox(dialect=dialect) as sandbox:
            first = pay(sandbox, dialect, "k1")
            check_equal(first.status, row["paid"])
            check("42" in first.body.decode(), f"{first}")
            again = pay(sandbox, dialect, "k1")
            check_equal((again.status, again.body), (first.status, first.body))
            check_equal(again.header("Idempotent-Replayed"), "true" if dialect == "stripe" else None)
            made, = sandbox.ledger()
            check_equal((made["key"], made["amount"], made["currency"].upper()), ("k1", 4200, "EUR"))
            check_equal(at(first, row["id"]).rpartition("_")[2], made["id"].rpartition("_")[2])
            pay(sandbox, dialect, "k2")
            check_equal([made["key"] for made in sandbox.ledger()], ["k1", "k2"])


def test_a_key_that_is_at_work():
    for dialect, row in DIALECTS.items():
        with case(dialect), Sandbox(dialect=dialect) as sandbox, Client(sandbox.address) as client:
            path, headers, body = question(dialect, "k1")
            client.send(request("POST", path, headers + ["Authorization: Bearer any", "Sandbox-Fault: delay=4000"], body))
            sandbox.wait_ledger(1)
            busy = pay(sandbox, dialect, "k1")
            status, words = row["busy"]
            check_equal(busy.status, status)
            check(words in busy.body.decode(), f"{busy}")
            check_equal(busy.header("Transient-Error"), "true" if dialect == "adyen" else None)
            check_equal(client.read_response().status, row["paid"])
            check_equal(pay(sandbox, dialect, "k1").status, row["paid"])
            check_equal(len(sandbox.ledger()), 1)


def test_a_key_with_another_amount():
    for dialect, row in DIALECTS.items():
        with case(dialect), Sandbox(dialect=dialect) as sandbox:
            first, other = pay(sandbox, dialect, "k1"), pay(sandbox, dialect, "k1", euros=43)
            if row["reused"]:
                status, words = row["reused"]
                check_equal(other.status, status)
                check(words in other.body.decode(), f"{other}")
            else:
                check_equal((other.status, other.body), (first.status, first.body))
            check_equal([made["amount"] for made in sandbox.ledger()], [4200])


def test_errors_have_the_processors_shape():
    for dialect, row in DIALECTS.items():
        with case(dialect), Sandbox(dialect=dialect) as sandbox:
            sandbox.fault("status-before=422", 1)
            refused = pay(sandbox, dialect, "k1")
            check_equal((refused.status, at(refused, row["error"])), (422, "as the fault asked"))
            sandbox.fault("status-before=503", 1)
            down = pay(sandbox, dialect, "k1")
            check_equal((down.status, down.header("Transient-Error")), (503, "true" if dialect == "adyen" else None))
            check_equal(sandbox.ledger(), [])
            sandbox.fault("status-after=500", 1)
            check_equal(pay(sandbox, dialect, "k1").header("Transient-Error"), None)
            check_equal(pay(sandbox, dialect, "k1").status, row["paid"])
            check_equal(len(sandbox.ledger()), 1)
            check_equal(ask(sandbox.address, "POST", row["path"], [], "{}").status, 400)


def test_paypals_token_is_no_payment():
    with Sandbox(dialect="paypal") as sandbox:
        sandbox.fault("status-before=500", 1)
        token = ask(sandbox.address, "POST", "/v1/oauth2/token", ["Authorization: Basic any"], "grant_type=client_credentials")
        check_equal((token.status, at(token, ["token_type"])), (200, "Bearer"))
        check_equal(pay(sandbox, "paypal", "k1").status, 500)


def test_a_dialect_that_is_none():
    for options in (["--dialect", "none"], ["--dialect", "stripe", "--dedup", "header:X"]):
        with case(" ".join(options)):
            ended = subprocess.run([binary("weir-sandbox"), "--listen", "127.0.0.1:0", *options], capture_output=True,
                                   timeout=10, check=False)
            check_equal(ended.returncode, 64)
