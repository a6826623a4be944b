"""A merchant's program on the real @paypal/paypal-server-sdk pays through weir, which answers to PayPal's own name."""

import json

from harness import case, check, check_equal, deadline
from harness import sdk as cases
from harness.processor import response
from harness.sdk import Shop, error_of

NAME = "api-m.sandbox.paypal.com"
TOKEN = response(200, ["Content-Type: application/json"], json.dumps(
    {"scope": "", "access_token": "A21AAtoken", "token_type": "Bearer", "app_id": "APP-1", "expires_in": 32400}))


def money(amount):
    return f"{amount // 100}.{amount % 100:02d}"


def body(amount):
    return {"intent": "CAPTURE", "purchaseUnits": [{"amount": {"currencyCode": "EUR", "value": money(amount)}}],
            "paymentSource": {"card": {"number": "4111111111111111", "expiry": "2030-01"}}}


SHOP = Shop(package="@paypal/paypal-server-sdk", driver="paypal_driver.js", profile="paypal", names=[NAME], first=[TOKEN],
            client=lambda port: {}, body=body, key=lambda request: request.header("PayPal-Request-Id"),
            answer=(201, {"id": "5O190127TN364715T", "status": "COMPLETED", "purchase_units": [
                {"reference_id": "default", "amount": {"currency_code": "EUR", "value": "42.00"}}]}))

NAMES = {"key_reused": "UNPROCESSABLE_ENTITY", "key_in_progress": "RESOURCE_CONFLICT",
         "response_timeout": "INTERNAL_SERVER_ERROR"}
ISSUES = {"key_reused": "WEIR_KEY_REUSED", "key_in_progress": "PREVIOUS_REQUEST_IN_PROGRESS",
          "response_timeout": "WEIR_RESPONSE_TIMEOUT"}


def paid(result, amount):
    check(result["ok"], f"the SDK rejected: {result.get('error')}")
    check_equal(result["value"]["status"], "COMPLETED")
    check_equal(result["value"]["purchaseUnits"][0]["amount"], {"currencyCode": "EUR", "value": money(amount)})


def refused(result, reason, status):
    error = error_of(result, [status])
    check(error["isCustomError"], f"{error}")
    # It reads the body for statuses that the call declares (400, 401, 422); for others the application has the text.
    told = error["result"] if error.get("result") else json.loads(error["body"])
    check_equal((told["name"], told["details"][0]["issue"], told["reason"]), (NAMES[reason], ISSUES[reason], reason))
    check(told["message"].endswith("."), f"a sentence for the merchant: {told}")
    check_equal(error["headers"]["weir-reason"], reason)
    check_equal(told["debug_id"], error["headers"]["weir-request-id"])


@deadline(180)
def test_a_payment_and_its_key():
    cases.a_payment_its_replay_and_another_request(
        SHOP, paid, refused, marked=lambda result: result["headers"].get("idempotent-replayed"))


@deadline(180)
def test_the_processors_own_errors():
    rows = {"status-before=422": (422, "answered"), "status-before=400": (400, "answered"),
            "status-before=403": (403, "answered"), "status-before=429": (429, "answered"),
            "status-before=500": (500, "unknown"), "status-before=503": (503, "unknown")}

    def refusal(error, status):
        told = error["result"] if error.get("result") else json.loads(error["body"])
        check_equal(told["message"], "as the fault asked")
    cases.the_processors_own_errors(SHOP, rows, refusal)


@deadline(180)
def test_words_about_the_id_prove_nothing():
    """PayPal fails the second of two requests that came at once, in words about the id: the first may have been paid."""
    rows = {"DUPLICATE_REQUEST_ID": 400, "PAYPAL_REQUEST_ID_PREVIOUSLY_USED": 422, "PREVIOUS_REQUEST_IN_PROGRESS": 409}
    for word, status in rows.items():
        told = {"name": word, "message": "The id was used.", "debug_id": "1", "details": [{"issue": word}]}
        answer = response(status, ["Content-Type: application/json"], json.dumps(told))
        with case(word), SHOP.scripted(answer, SHOP.answer) as processor, SHOP.weir(processor) as weir, \
                SHOP.sdk(weir) as sdk:
            error_of(sdk.pay(), [status, 409])
            check_equal(cases.reasons(weir, 2)[-1][1], "unknown")
            paid(sdk.pay(), 4200)
            check_equal(len(SHOP.payments(processor)), 2)


@deadline(180)
def test_a_decline_is_read_and_final():
    """The SDK would take a compressed answer, in which those words could not be read: weir asks for a plain one."""
    told = {"name": "UNPROCESSABLE_ENTITY", "message": "Declined.", "details": [{"issue": "INSTRUMENT_DECLINED"}]}
    declined = response(422, ["Content-Type: application/json"], json.dumps(told))
    with SHOP.scripted(declined) as processor, SHOP.weir(processor) as weir, SHOP.sdk(weir) as sdk:
        for _ in range(2):
            error = error_of(sdk.pay(), [422])
            check_equal(error["result"]["details"][0]["issue"], "INSTRUMENT_DECLINED")
        check_equal(cases.reasons(weir, 3)[1:], [("ok", "answered"), ("replayed", "replayed")])
        only, = SHOP.payments(processor)
        check_equal(only.all("Accept-Encoding"), ["identity"])


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
def test_what_was_paid_can_be_read():
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        made = sdk.pay()
        read = sdk.pay(key=None, method="read", body={"id": made["value"]["id"]})
        check_equal(read["value"], made["value"])
