"""A merchant's program on the real checkout-sdk-node pays through weir."""

from harness import case, check, check_equal, deadline
from harness import sdk as cases
from harness.sdk import Shop, error_of

SHOP = Shop(package="checkout-sdk-node", driver="checkout_driver.js", profile="checkout",
            client=lambda port: {"host": f"https://127.0.0.1:{port}"},
            body=lambda amount: {"source": {"type": "token", "token": "tok_1"}, "amount": amount, "currency": "EUR"},
            key=lambda request: request.header("Cko-Idempotency-Key"),
            answer=(201, {"id": "pay_1", "amount": 4200, "currency": "EUR", "approved": True, "status": "Authorized"}))

# The SDK's classes, by status alone.
KINDS = {400: "API Error", 401: "AuthenticationError", 403: "ActionNotAllowed", 404: "NotFoundError",
         409: "UrlAlreadyRegistered", 422: "ValidationError", 429: "TooManyRequestsError", 500: "API Error",
         502: "Bad gateway", 504: "API Error"}
TYPES = {"key_reused": "request_invalid", "key_in_progress": "too_many_requests", "response_timeout": "processing_error"}


def paid(result, amount):
    check(result["ok"], f"the SDK rejected: {result.get('error')}")
    value = result["value"]
    check_equal((value["amount"], value["approved"], value["status"]), (amount, True, "Authorized"))


def refused(result, reason, status):
    error = error_of(result, [status])
    check_equal(error["kind"], KINDS[status])
    told = error["body"]
    check_equal((told["error_type"], told["error_codes"], told["reason"]), (TYPES[reason], [f"weir_{reason}"], reason))
    check(told["title"].endswith("."), f"a sentence for the merchant: {told}")


@deadline(180)
def test_a_payment_and_its_key():
    cases.a_payment_its_replay_and_another_request(SHOP, paid, refused)


@deadline(180)
def test_the_processors_own_errors():
    rows = {"status-before=422": (422, "answered"), "status-before=401": (401, "answered"),
            "status-before=403": (403, "answered"), "status-before=500": (500, "unknown"),
            "status-before=502": (502, "unknown")}

    def refusal(error, status):
        check_equal(error["kind"], KINDS[status])
        if status != 502:  # of which the SDK tells nothing more
            check_equal(error["body"]["error_codes"], ["as the fault asked"])
    cases.the_processors_own_errors(SHOP, rows, refusal)


@deadline(180)
def test_a_refusal_is_forgotten_as_at_checkout():
    """A request that was refused may come again, and corrected, under its key."""
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        sandbox.fault("status-before=422", 1)
        error_of(sdk.pay(), [422])
        with case("corrected"):
            paid(sdk.pay(amount=4300), 4300)
        with case("and from then on it is that payment's key"):
            refused(sdk.pay(amount=4400), "key_reused", 422)
        check_equal([made["amount"] for made in sandbox.ledger()], [4300])


@deadline(180)
def test_one_in_progress():
    cases.one_in_progress(SHOP, paid, refused, status=429)


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
        check_equal(read["value"]["id"], made["value"]["id"])
