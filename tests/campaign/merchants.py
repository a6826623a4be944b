"""Merchants: they pay, they retry, they send duplicates to both weirs, they leave. What they were told is noted."""

import collections
import json
import random
import threading
import time

from harness import Failure
from harness.http import Client, Closed
from harness.payments import request_of

TENANTS = ("sk_live_a", "sk_live_b", "sk_live_c", "sk_live_d")
REFUSALS = ("status-before=401", "status-before=403", "status-before=429")   # not executed, and the key is free
# The link breaks without an answer: weir asks once more where the processor de-duplicates. A fault of a merchant's attempt
# is met by both; what world.break_next arms is met by one.
BREAKS = ("reset-before", "reset-after", "close-before", "close-after", "half-answer")
# The processor goes on as it would; what it says is lost, late, broken, or proves nothing.
AMBIGUOUS = BREAKS + ("hang", "garbage", "no-length", "status-before=500", "status-before=503", "status-before=504",
                      "status-before=408", "status-before=409", "status-after=500", "status-after=502", "delay=1200",
                      "delay=2000")
HARMLESS = ("delay=100", "delay=500", "chunked", "interim", "trickle=1", "two-answers", "extra-bytes", "close", "early",
            "big=1300000")
DECLINED = "status-before=402"


class Attempt:
    """One request, and what became of it."""

    def __init__(self, payment, number, weir_name, fault, amount, leaves):
        self.id = f"{payment.id}-{number}"
        self.payment = payment
        self.weir_name = weir_name
        self.fault = fault
        self.amount = amount
        self.leaves = leaves       # bytes after which the client resets; -1: right behind the request; None: it stays
        self.began = time.monotonic()
        self.ended = None
        self.status = None         # None: there was no answer
        self.outcome = self.reason = self.retry = None
        self.body = b""

    @property
    def is_mismatch(self):
        return self.amount != self.payment.amount

    @property
    def is_final(self):
        """The processor's last word, as far as weir is concerned."""
        if self.outcome == "replayed":
            return True
        return self.outcome == "answered" and f"status-before={self.status}" not in REFUSALS

    def __repr__(self):
        return (f"{self.id} at {self.weir_name} ({self.fault or 'no fault'}{', leaves' if self.leaves is not None else ''}): "
                f"{self.status} {self.outcome} {self.reason or ''}")


class Payment:
    def __init__(self, number, kind, plan):
        self.id = f"p{number}"
        self.kind = kind                  # "sticky" or "single"
        self.tenant = TENANTS[number % len(TENANTS)]
        self.key = f"order-{kind}-{number // 2}"  # two tenants choose the same one
        self.amount = 1000 + number
        self.declined = plan.random() < 0.04
        self.attempts = []
        self.lock = threading.Lock()

    @property
    def host(self):
        return f"{self.kind}.example"

    def final(self):
        return next((attempt for attempt in self.attempts if attempt.is_final and not attempt.is_mismatch), None)

    def begin(self, weir_name, fault, amount=None, leaves=None):
        with self.lock:
            attempt = Attempt(self, len(self.attempts), weir_name, fault, self.amount if amount is None else amount, leaves)
            self.attempts.append(attempt)
            return attempt


def send(weir, attempt):
    """Carries an attempt out. An answer, a cut connection, or nobody there."""
    payment = attempt.payment
    raw = request_of(payment.key, attempt.amount, payment.tenant, attempt.fault, [f"X-Request-Id: {attempt.id}"])
    raw = raw.replace(b"Host: pay.example.com", b"Host: " + payment.host.encode())
    try:
        with Client(weir.address, timeout_s=25) as client:
            if attempt.leaves is not None and attempt.leaves >= 0:
                client.send(raw[:attempt.leaves])
                client.reset()
                return
            client.send(raw)
            if attempt.leaves is not None:
                client.reset()
                return
            answer = client.read_response()
            attempt.status, attempt.outcome, attempt.body = answer.status, answer.outcome, answer.body
            attempt.reason, attempt.retry = answer.weir_reason, answer.retry
    except (OSError, Closed):
        pass
    except Failure as error:
        attempt.reason = f"unreadable: {error}"
    finally:
        attempt.ended = time.monotonic()


class Merchants:
    """`count` of them at work until `until`; each takes the next payment when it is through with one."""

    def __init__(self, weirs, seed_random, count, first_number):
        self.weirs = weirs
        self.first_number = first_number  # of payments; their keys and amounts come from it
        self.random = seed_random
        self.count = count
        self.payments = []
        self.faults = collections.Counter()
        self.lock = threading.Lock()

    def next_payment(self, kinds):
        with self.lock:
            number = self.first_number + len(self.payments)
            payment = Payment(number, self.random.choice(kinds), self.random)
            self.payments.append(payment)
            return payment, self.random.getrandbits(64)

    def work(self, until, kinds, mismatches):
        threads = [threading.Thread(target=self._work, args=(until, kinds, mismatches)) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, until, kinds, mismatches):
        while time.monotonic() < until:
            payment, seed = self.next_payment(kinds)
            self._pay(payment, random.Random(seed), until, mismatches)

    def _fault(self, payment, plan):
        if payment.declined:
            return DECLINED
        pick = plan.random()
        if pick < 0.45:
            return None
        return plan.choice(REFUSALS if pick < 0.55 else HARMLESS if pick < 0.68 else AMBIGUOUS)

    def _attempt(self, payment, plan, fault, amount=None):
        leaves = None
        if plan.random() < 0.06:
            leaves = plan.choice((-1, -1, plan.randrange(0, 300)))
        weir = plan.choice(self.weirs)
        attempt = payment.begin(weir.name, fault, amount, leaves)
        with self.lock:
            self.faults[(fault or "none").partition("=")[0] if fault not in (None, DECLINED) else fault or "none"] += 1
            self.faults["client leaves"] += leaves is not None
        send(weir, attempt)
        return attempt

    def _pay(self, payment, plan, until, mismatches):
        for _ in range(plan.randint(1, 6)):
            fault = self._fault(payment, plan)
            if plan.random() < 0.3:
                crowd = [threading.Thread(target=self._attempt, args=(payment, random.Random(plan.getrandbits(64)), fault))
                         for _ in range(plan.randint(2, 3))]
                for thread in crowd:
                    thread.start()
                for thread in crowd:
                    thread.join()
            else:
                self._attempt(payment, plan, fault)
            if payment.final() is not None or time.monotonic() > until:
                break
            time.sleep(plan.uniform(0, 0.3))
        if payment.final() is not None:
            if plan.random() < 0.4:
                self._attempt(payment, plan, DECLINED if payment.declined else None)
            if mismatches and plan.random() < 0.2:
                self._attempt(payment, plan, DECLINED if payment.declined else None, payment.amount + 500_000)

    # After all is well again.

    def settle(self, deadline_s):
        """Retries what has no last word, turn by turn, without faults. Returns the payments that had none, those that still
        have none, and how long it took."""
        began = time.monotonic()
        open_payments = [payment for payment in self.payments if payment.final() is None]
        todo = collections.deque(open_payments)

        def retry():
            while time.monotonic() < began + deadline_s:
                try:
                    payment = todo.popleft()
                except IndexError:
                    return
                if not self._settle_one(payment):
                    todo.append(payment)
                    time.sleep(0.3)

        threads = [threading.Thread(target=retry) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return open_payments, list(todo), time.monotonic() - began

    def _settle_one(self, payment):
        weir = self.weirs[len(payment.attempts) % len(self.weirs)]
        attempt = payment.begin(weir.name, DECLINED if payment.declined else None)
        send(weir, attempt)
        # As far as a single_shot payment may come without an operator.
        return attempt.is_final or (payment.kind == "single" and attempt.reason == "outcome_unknown")


def body_of(attempt):
    """The payment that an answer tells of; None: it is not one."""
    try:
        made = json.loads(attempt.body)
    except ValueError:
        return None
    return made if isinstance(made, dict) and "id" in made and "amount" in made else None
