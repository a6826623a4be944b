"""A merchant's program on the real @adyen/api-library pays through weir, which answers to Adyen's own name."""

from harness import case, check, check_equal, deadline
from harness import sdk as cases
from harness.sdk import Shop, error_of

NAME = "checkout-test.adyen.com"


def body(amount):
    return {"amount": {"currency": "EUR", "value": amount}, "reference": "order", "merchantAccount": "Shop",
            "paymentMethod": {"type": "scheme"}, "returnUrl": "https://shop.example/done"}


SHOP = Shop(package="@adyen/api-library", driver="adyen_driver.js", profile="adyen", names=[NAME],
            client=lambda port: {}, body=body, sections={"tenants": {"by": "header:X-API-Key"}},
            answer=(200, {"pspReference": "NC6HT9CRT65ZGN82", "resultCode": "Authorised",
                          "amount": {"currency": "EUR", "value": 4200}}))

TYPES = {"key_reused": "validation", "key_in_progress": "internal", "response_timeout": "internal"}


def paid(result, amount):
    check(result["ok"], f"the SDK rejected: {result.get('error')}")
    check_equal((result["value"]["resultCode"], result["value"]["amount"]["value"]), ("Authorised", amount))


def refused(result, reason, status):
    error = error_of(result, [status])
    check_equal(error["name"], "HttpClientException")
    check_equal(error["errorCode"], "704" if reason == "key_in_progress" else f"weir_{reason}")
    told = error["apiError"]
    check_equal((told["status"], told["errorType"], told["reason"]), (status, TYPES[reason], reason))
    check(told["message"].endswith(".") and told["message"] in error["message"], f"a sentence for the merchant: {error}")
    check_equal(error["headers"]["weir-reason"], reason)


@deadline(180)
def test_a_payment_and_its_key():
    cases.a_payment_its_replay_and_another_request(SHOP, paid, refused)


@deadline(180)
def test_the_processors_own_errors():
    rows = {"status-before=422": (422, "answered"), "status-before=401": (401, "answered"),
            "status-before=403": (403, "answered"), "status-before=429": (429, "answered"),
            "status-before=503": (503, "answered"), "status-after=500": (500, "unknown")}

    def refusal(error, status):
        check_equal((error["name"], error["apiError"]["message"]), ("HttpClientException", "as the fault asked"))
        # Adyen says of a 503 that nothing was executed: Transient-Error passes through.
        check_equal(error["headers"].get("transient-error"), "true" if status == 503 else None)

    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        for count, (fault, (status, outcome)) in enumerate(rows.items()):
            with case(fault):
                sandbox.fault(fault, 1)
                refusal(error_of(sdk.pay(f"order-{count}"), [status]), status)
                check_equal(cases.reasons(weir, count + 1)[-1], ("ok", outcome))
        check_equal(len(sandbox.ledger()), 1)


@deadline(180)
def test_a_transient_error_leaves_the_key_free():
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        sandbox.fault("status-before=503", 1)
        error_of(sdk.pay(), [503])
        with case("even another amount is a first request now"):
            paid(sdk.pay(amount=4300), 4300)
        check_equal([made["amount"] for made in sandbox.ledger()], [4300])


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
def test_two_merchants_with_one_key_never_see_each_others_payment():
    """The credential is X-API-Key, which is no Authorization: told so (tenants.by) or not."""
    for told in (True, False):
        with case("tenants.by is header:X-API-Key" if told else "tenants.by is the default"), SHOP.sandbox() as sandbox:
            shop = SHOP if told else Shop(SHOP.package, SHOP.driver, SHOP.profile, SHOP.client, SHOP.body,
                                          (200, {}), names=SHOP.names)
            with shop.weir(sandbox) as weir, shop.sdk(weir) as sdk:
                first = sdk.pay(apiKey="merchant-a")
                paid(first, 4200)
                other = sdk.pay(apiKey="merchant-b")
                if other["ok"]:
                    paid(other, 4200)
                    check(other["value"]["pspReference"] != first["value"]["pspReference"], f"{other} is {first}")
                else:
                    refused(other, "key_reused", 422)
