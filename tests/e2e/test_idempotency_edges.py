"""Where two things meet that are each right alone: two headers for one key, a crowd at a key that another weir holds, a route
that goes to another processor while a payment is unknown."""

from harness import case, check, check_equal
from harness.payments import Shared, on_each_store, outcome, pay, paying, wait_state
from harness.processor import Hold, Processor, response
from test_idempotency import Asker
from test_outcomes import check_own


def test_the_processor_gets_one_key_whatever_the_client_sent():
    """A key that changes with every attempt beside one that does not would be executed with every attempt."""
    for profile, own, path in (("paypal", "PayPal-Request-Id", "/v1/payments/payment"),
                               ("checkout", "Cko-Idempotency-Key", "/payments")):
        with case(profile), Shared() as store, Processor() as processor, \
                paying(store, processor, profile=profile, key="header:Idempotency-Key") as weir:
            processor.answer("reset", "reset", response(201))  # weir itself asks once more
            check_equal(pay(weir, "order-1", headers=[f"{own}: fresh-1"], path=path).outcome, "unknown")
            wait_state(weir, "order-1", "unknown")
            check_equal(pay(weir, "order-1", headers=[f"{own}: fresh-2"], path=path).outcome, "answered")
            for seen in processor.requests():
                keys = [value for name, value in seen.headers
                        if name.lower() in (own.lower(), "idempotency-key")]
                check_equal(keys, ["order-1"])


def test_a_crowd_at_a_key_that_another_weir_holds_is_told_at_once():
    with Shared() as store, Processor() as processor:
        with paying(store, processor, acme={"timeouts": {"response": "9s"}}, wait="5s") as one, \
                paying(store, processor, acme={"timeouts": {"response": "9s"}}, wait="5s") as two:
            hold = Hold()
            processor.answer(hold)
            first = Asker(lambda: pay(one, "order-1"))
            hold.wait()
            asked = two.metric("weir_store_requests_total", op="begin")
            crowd = [Asker(lambda: pay(two, "order-1")) for _ in range(12)]
            for asker in crowd:
                check_own(asker.result(), 409, "key_in_progress", "unknown", "same_key")
            asked = two.metric("weir_store_requests_total", op="begin") - asked
            check(asked <= 12, f"the store was asked {asked} times for 12 duplicates")
            hold.release()
            check_equal(first.result().outcome, "answered")
            check_equal(len(processor.requests()), 1)


@on_each_store
def test_an_unknown_is_not_asked_for_in_another_processors_language(store):
    """After a reload the route goes to a processor that spells keys otherwise; the record's would not know its own key."""
    with Processor() as old, Processor() as new, paying(store, old, sections={"processors": {
            "other": {"profile": "checkout", "url": f"http://127.0.0.1:{new.address[1]}"}}}) as weir:
        old.answer("reset", "reset")
        check_equal(pay(weir, "order-1").outcome, "unknown")
        wait_state(weir, "order-1", "unknown")
        weir.change(routes=[{"name": "pay", "match": {"path": "/*"}, "to": "other",
                             "idempotency": {"key": "header:Idempotency-Key"}}])
        weir.reload()
        check_own(pay(weir, "order-1"), 409, "outcome_unknown", "unknown", "no")
        check_equal((len(old.requests()), len(new.requests())), (2, 0))
        check_equal(outcome(weir, "order-1")["processor"], "acme")
