"""A merchant's program on the real square SDK pays through weir: its key stands in the body."""

import json

from harness import check, check_equal, deadline
from harness import sdk as cases
from harness.sdk import Shop, error_of

ANSWER = {"payment": {"id": "sq_1", "amount_money": {"amount": 4200, "currency": "EUR"}, "status": "COMPLETED"}}


def key_of(request):
    return json.loads(request.body or b"{}").get("idempotency_key")


SHOP = Shop(package="square", driver="square_driver.js", profile="square", key=key_of,
            client=lambda port: {"baseUrl": f"https://127.0.0.1:{port}", "maxRetries": 0},
            body=lambda amount: {"sourceId": "cnon:card-nonce-ok", "amountMoney": {"amount": amount, "currency": "EUR"}},
            answer=(200, ANSWER))

CODES = {"key_reused": ("INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED"), "key_in_progress": ("API_ERROR", "CONFLICT"),
         "response_timeout": ("API_ERROR", "GATEWAY_TIMEOUT"), "key_malformed": ("INVALID_REQUEST_ERROR", "BAD_REQUEST")}


def paid(result, amount):
    check(result["ok"], f"the SDK rejected: {result.get('error')}")
    check_equal((result["value"]["amountMoney"]["amount"], result["value"]["status"]), (amount, "COMPLETED"))


def refused(result, reason, status):
    error = error_of(result, [status])
    check_equal(error["name"], "SquareError")
    only, = error["errors"]
    check_equal((only["category"], only["code"]), CODES[reason])
    check(only["detail"].endswith("."), f"a sentence for the merchant: {only}")
    check_equal((error["body"]["reason"], error["headers"]["weir-reason"]), (reason, reason))


@deadline(180)
def test_a_payment_and_its_key():
    cases.a_payment_its_replay_and_another_request(
        SHOP, paid, refused, marked=lambda result: result["headers"].get("idempotent-replayed"))


@deadline(180)
def test_the_processors_own_errors():
    rows = {"status-before=402": (402, "answered"), "status-before=401": (401, "answered"),
            "status-before=400": (400, "answered"), "status-before=429": (429, "answered"),
            "status-before=500": (500, "unknown"), "status-before=503": (503, "unknown")}

    def refusal(error, status):
        check_equal((error["name"], error["errors"][0]["detail"]), ("SquareError", "as the fault asked"))
    cases.the_processors_own_errors(SHOP, rows, refusal)


@deadline(180)
def test_one_in_progress():
    cases.one_in_progress(SHOP, paid, refused)


@deadline(180)
def test_an_unknown_outcome():
    cases.an_unknown_outcome(SHOP, paid, refused)


@deadline(180)
def test_a_break_that_nobody_hears_of():
    cases.a_break_that_nobody_hears_of(SHOP, paid)


@deadline(180)
def test_the_sdks_own_retry_finds_the_truth():
    """The SDK repeats what was answered 5xx, after the time in Retry-After, with the same body and so the same key."""
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir, maxRetries=2) as sdk:
        # What breaks without an answer weir asks about once more by itself: the SDK hears of what breaks twice.
        for count, (fault, times) in enumerate((("status-after=500", 1), ("reset-after", 2), ("close-after", 2))):
            before = len(sandbox.requests())
            sandbox.fault(fault, times)
            paid(sdk.pay(f"order-{count}"), 4200)
            check_equal(len(sandbox.ledger()), count + 1)
            check_equal(len(sandbox.requests()) - before, times + 1)
            check_equal(cases.reasons(weir, 2 * (count + 1))[-2][1], "unknown")


@deadline(180)
def test_a_key_that_is_none():
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        refused(sdk.pay(""), "key_malformed", 400)
        refused(sdk.pay("a\nb"), "key_malformed", 400)
        check_equal(sandbox.requests(), [])


@deadline(180)
def test_what_was_paid_can_be_read():
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        made = sdk.pay()
        read = sdk.pay(key=None, method="read", body={"id": made["value"]["id"]})
        check_equal(read["value"], made["value"])
