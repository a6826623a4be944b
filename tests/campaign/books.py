"""The books: what merchants were told, what processors got, what they executed. Each line of the law is a function.

H1  a key's money moves at most once, over all processors
H2  a success was executed exactly once; not_sent was not sent; refused before anything was done was not executed
H3  all final answers of one key are one answer
H4  a refusal by weir of what was asked (400, 422) sent nothing
H5  no answer crosses tenants or payments
H6  a key goes to one processor, unless all others refused it before anything was done
H7  a processor that does not de-duplicate gets a key once; one that does gets a request twice at most, the second time by
    weir itself, and only where the first broke without an answer
H8  when all is well again every key comes to its last word (single_shot: or stays unknown, and is told so)
H9  and none is in progress for longer than a lease and a stay
H10 H1 where the store forgot everything
"""

import collections
import hashlib

from harness import Failure
from merchants import BREAKS, REFUSALS, body_of


def tenant_of(token):
    return hashlib.sha256(f"Bearer {token}".encode()).hexdigest()[:12]


class Arrivals:
    """What a processor got, in order, though it keeps the last ten thousand requests only."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.seen = []

    def look(self):
        fresh = self.sandbox.requests()
        marks = [(one["connection"], one["raw"]) for one in fresh]
        known = [(one["connection"], one["raw"]) for one in self.seen[-len(fresh):]]
        overlap = next((count for count in range(len(known), 0, -1)
                        if known[-1] == marks[count - 1] and known[-count:] == marks[:count]), 0)
        if self.seen and not overlap:
            raise Failure("the processor forgot requests that nobody had looked at")
        self.seen[len(self.seen) - overlap:] = fresh


class Books:
    def __init__(self, payments, sandboxes, arrivals, violations):
        self.payments = payments
        self.attempts = {attempt.id: attempt for payment in payments for attempt in payment.attempts}
        self.violations = violations
        self.executions = collections.defaultdict(list)  # (tenant, key): entries of all ledgers
        self.sends = collections.defaultdict(list)       # attempt id: processors, as often as it arrived there
        self.arrivals = collections.defaultdict(list)    # (tenant, key): (processor, attempt id), in order at each
        for name, sandbox in sandboxes.items():
            for made in sandbox.ledger():
                self.executions[made["tenant"], made["key"]].append(made)
            arrivals[name].look()
            for seen in arrivals[name].seen:
                self.note_request(name, seen)

    def note_request(self, processor, seen):
        fields = {name.lower(): value for name, value in seen["headers"]}
        identity = fields.get("x-request-id")
        attempt = self.attempts.get(identity)
        if attempt is None:
            self.violate("H5", f"{processor} got a request that nobody sent: {seen['headers']}")
            return
        if seen["malformed"] and seen["complete"]:
            self.violate("H4", f"{processor} got a malformed request: {seen}")
        if fields.get("idempotency-key") != attempt.payment.key:
            self.violate("H6", f"{attempt}: arrived with key {fields.get('idempotency-key')}")
        self.sends[identity].append(processor)
        self.arrivals[self.name_of(attempt.payment)].append((processor, identity))

    def violate(self, law, words):
        self.violations.append(f"{law}: {words}")

    def name_of(self, payment):
        return tenant_of(payment.tenant), payment.key

    def executions_of(self, payment):
        return self.executions.get(self.name_of(payment), [])

    def tell(self, payment):
        lines = [repr(attempt) for attempt in payment.attempts]
        lines += [f"{processor} got {identity}" for processor, identity in self.arrivals[self.name_of(payment)]]
        lines += [f"executed: {made}" for made in self.executions_of(payment)]
        return f"{payment.id} ({payment.tenant}, {payment.key}, {payment.kind})\n      " + "\n      ".join(lines)

    # The law.

    def check_all(self, store_forgets):
        for payment in self.payments:
            self.check_once(payment, "H10" if store_forgets else "H1")
            self.check_told(payment, store_forgets)
            self.check_one_answer(payment)
            self.check_answers_are_its_own(payment)
            self.check_one_processor(payment, store_forgets)
            if payment.kind == "single":
                self.check_sent_once(payment)
        for identity, processors in self.sends.items():
            if len(processors) > 1 and not self.may_be_sent_twice(self.attempts[identity], processors):
                self.violate("H7", f"{self.attempts[identity]} was sent {len(processors)} times: {processors}")

    def may_be_sent_twice(self, attempt, processors):
        """Without a fault of its own it may have met one that was armed for anybody (world.break_next)."""
        broke = attempt.fault is None or attempt.fault in BREAKS
        return attempt.payment.kind == "sticky" and broke and processors == [processors[0]] * 2

    def sent_twice(self):
        """Attempts that weir made twice by itself."""
        return [self.attempts[identity] for identity, processors in self.sends.items() if len(processors) == 2]

    def check_once(self, payment, law):
        count = len(self.executions_of(payment))
        if count > 1:
            self.violate(law, f"executed {count} times: {self.tell(payment)}")

    def check_told(self, payment, store_forgets):
        count = len(self.executions_of(payment))
        for attempt in payment.attempts:
            if attempt.outcome == "not_sent" and self.sends[attempt.id]:
                law = "H4" if attempt.status in (400, 422) else "H2"
                self.violate(law, f"told not_sent: {attempt}: {self.tell(payment)}")
            if attempt.status == 200 and attempt.outcome in ("answered", "replayed") and count != 1:
                self.violate("H2", f"told paid and executed {count} times: {attempt}: {self.tell(payment)}")
            if attempt.is_mismatch and attempt.outcome in ("answered", "replayed"):
                self.violate("H4", f"another request under the key was answered: {attempt}: {self.tell(payment)}")
        words = [attempt for attempt in payment.attempts if attempt.outcome is None or attempt.outcome == "unknown"]
        refused = all(attempt.outcome == "not_sent" or f"status-before={attempt.status}" in REFUSALS
                      for attempt in payment.attempts)
        if refused and not words and count != 0 and not store_forgets:
            self.violate("H2", f"told that nothing was executed: {self.tell(payment)}")
        if payment.declined and count != 0:
            self.violate("H2", f"declined and executed: {self.tell(payment)}")

    def check_one_answer(self, payment):
        finals = [attempt for attempt in payment.attempts if attempt.is_final and not attempt.is_mismatch]
        # A body that was blown up is another one; who it is of must agree all the same.
        answers = {(attempt.status, (body_of(attempt) or {}).get("id")) for attempt in finals}
        plain = {attempt.body for attempt in finals if len(attempt.body) < 2000}
        if len(answers) > 1 or len(plain) > 1:
            self.violate("H3", f"{len(answers)} final answers: {self.tell(payment)}")

    def check_answers_are_its_own(self, payment):
        for attempt in payment.attempts:
            made = body_of(attempt)
            if made is None:
                continue
            if made["tenant"] != tenant_of(payment.tenant) or made["amount"] != payment.amount:
                self.violate("H5", f"another's answer: {attempt}: {made}: {self.tell(payment)}")
            if made["id"] not in {"pay_" + one["id"].removeprefix("pay_") for one in self.executions_of(payment)}:
                self.violate("H2", f"an answer of no execution: {attempt}: {made}: {self.tell(payment)}")

    def check_one_processor(self, payment, store_forgets):
        counted = {processor for processor, identity in self.arrivals[self.name_of(payment)]
                   if self.attempts[identity].fault not in REFUSALS}
        if len(counted) > 1:
            self.violate("H6", f"it went to {sorted(counted)}: {self.tell(payment)}")

    def check_sent_once(self, payment):
        arrivals = self.arrivals[self.name_of(payment)]
        for place, (_, identity) in enumerate(arrivals[:-1]):
            if self.attempts[identity].fault not in REFUSALS:
                self.violate("H7", f"sent again after {arrivals[place]}: {self.tell(payment)}")
                return
