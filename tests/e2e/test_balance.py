"""Which endpoint takes the next call, and what a bad one costs."""

import threading
import time

from harness import case, check, check_equal
from harness.processor import Blackhole, Processor, response
from harness.weir import Weir
from test_outcomes import closed_port


# Never shed, however busy the machine is: who takes the calls is the question here.
PAYMENTS = [{"name": "all", "match": {"path": "/*"}, "to": "acme", "class": "payment"}]


def counts(*processors):
    return [len(processor.requests()) for processor in processors]


def test_round_robin_is_even():
    with Processor() as one, Processor() as two, Processor() as three:
        with Weir([one, two, three], acme={"balance": "round_robin"}) as weir:
            for _ in range(60):
                check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
            check_equal(counts(one, two, three), [20, 20, 20])


def ask_many(weir, total, workers=4):
    failures = []

    def run():
        try:
            with weir.client(timeout_s=30) as client:
                for _ in range(total // workers):
                    check_equal(client.ask("GET", "/x").status, 200)
        except Exception as error:
            failures.append(str(error))
    threads = [threading.Thread(target=run) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_equal(failures, [])


def test_every_way_uses_every_endpoint():
    for way in ("p2c", "least", "round_robin"):
        with case(way), Processor() as one, Processor() as two, Processor() as three:
            with Weir([one, two, three], acme={"balance": way}, routes=PAYMENTS) as weir:
                ask_many(weir, 240)
                check(min(counts(one, two, three)) > 0, f"{counts(one, two, three)}")
                check_equal(sum(counts(one, two, three)), 240)


def test_a_slow_endpoint_gets_less():
    def slowly(link, request):
        time.sleep(0.05)
        link.send(response(200, [], b"slow"))

    for way in ("p2c", "least"):
        with case(way), Processor() as quick, Processor() as slow:
            slow.answer_always(slowly)
            with Weir([quick, slow], acme={"balance": way}, routes=PAYMENTS) as weir:
                ask_many(weir, 400, workers=8)
                check(counts(slow)[0] * 3 < counts(quick)[0], f"quick and slow: {counts(quick, slow)}")


def test_an_endpoint_that_refuses_costs_no_request():
    nobody, address = closed_port()
    with nobody, Processor() as good:
        for way in ("p2c", "least", "round_robin"):
            with case(way), Weir([address, good], acme={"balance": way}) as weir:
                for _ in range(30):
                    check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
                check(weir.metric("weir_processor_connects_total", processor="acme", result="failed") <= 10,
                      "a resting endpoint is passed over")


def test_an_endpoint_that_is_silent_costs_no_request():
    with Blackhole() as nowhere, Processor() as good, Weir([nowhere, good], acme={
            "balance": "round_robin", "timeouts": {"connect": "200ms"}}) as weir:
        for _ in range(20):
            check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
        check_equal(len(good.requests()), 20)


def test_all_endpoints_refusing_is_one_answer():
    one, first = closed_port()
    two, second = closed_port()
    with one, two, Weir([first, second]) as weir:
        told = []
        for _ in range(5):
            answer = weir.ask("POST", "/x", [], b"x=1")
            check_equal((answer.outcome, answer.retry), ("not_sent", "safe"))
            told.append((answer.status, answer.weir_reason))
        check_equal(told[0], (502, "connect_failed"))
        # Five refusals in a row, in whatever time, and nobody is asked any more.
        check(set(told) <= {(502, "connect_failed"), (503, "breaker_open")}, f"{told}")


def test_a_sent_request_never_moves_to_another_endpoint():
    with Processor() as one, Processor() as two, Weir([one, two], acme={"balance": "round_robin"}) as weir:
        one.answer_always("reset")
        two.answer_always("reset")
        for number in range(10):
            answer = weir.ask("POST", f"/{number}", ["Idempotency-Key: k"], b"x=1")
            check_equal((answer.status, answer.outcome), (502, "unknown"))
        targets = sorted(got.target for got in one.requests() + two.requests())
        check_equal(targets, sorted(f"/{number}" for number in range(10)))
