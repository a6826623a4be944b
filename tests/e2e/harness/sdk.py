"""
A merchant's program on a processor's real SDK: the SDK in a Node process (tests/sdk/*_driver.js), weir with TLS in front
and that processor's profile, and what stands behind it.

    SHOP = Shop(package="square", driver="square_driver.js", profile="square", client=..., body=..., answer=...)
    with SHOP.sandbox() as sandbox, SHOP.weir(sandbox) as weir, SHOP.sdk(weir) as sdk:
        result = sdk.pay("order-1")

The cases that are the same for every SDK are functions here; what the SDK makes of each is its own test's to say, in two
callbacks: paid(result, amount) and refused(result, reason, status).
"""

import json
import os
import subprocess

from . import ROOT, Failure, case, certs, check, check_equal
from .child import Lines
from .processor import Hold, Processor, Sandbox, response
from .weir import Weir, merged

FOLDER = ROOT / "tests" / "sdk"
PATIENCE_S = 60.0
KEY = "order-1"


class Shop:
    """
    What one SDK needs. `client(port)`: options of its constructor; `names`: the hosts that it insists on, which then lead
    to weir; `body(amount)`: a payment of so many cents; `answer`: (status, body) of one of 42.00 EUR; `first`: what the
    processor is asked before the first payment, as scripted answers; `sections`: more of weir's configuration.
    """

    def __init__(self, package, driver, profile, client, body, answer, names=(), first=(), sections=None, key=None):
        self.package, self.driver, self.profile = package, driver, profile
        self.client, self.body, self.names, self.first = client, body, names, list(first)
        self.sections = sections or {}
        self.answer = response(answer[0], ["Content-Type: application/json"], json.dumps(answer[1]))
        self.key = key or (lambda request: request.header("Idempotency-Key"))

    def sandbox(self):
        return Sandbox(name="acme", dialect=self.profile)

    def weir(self, to, acme=None, **idempotency):
        pair = certs.server(*self.names) if self.names else certs.server("127.0.0.1")
        route = {"name": "all", "match": {"path": "/*"}, "to": "acme"}
        if idempotency:
            route["idempotency"] = idempotency
        return Weir(to, acme=merged({"profile": self.profile}, acme or {}), routes=[route],
                    listener={"tls": {"certificates": [pair.section()]}}, **self.sections)

    def sdk(self, weir, **client):
        return Sdk(self, weir, client)

    def scripted(self, *answers):
        """A processor that is asked for what comes before the first payment, too."""
        return Processor().answer(*self.first, *answers)

    def payments(self, processor):
        """Of the requests that reached it."""
        return [request for request in processor.requests() if self.key(request)]


class Sdk:
    """The SDK in its process. Orders run at the same time."""

    def __init__(self, shop, weir, client):
        check((FOLDER / "node_modules" / shop.package).is_dir(), f"the SDK is missing: run `npm ci` in {FOLDER}")
        self.shop = shop
        self.client = {**shop.client(weir.address[1]), **client}
        redirect = ["-r", str(FOLDER / "redirect.js")] if shop.names else []
        env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(certs.ca().cert), "NODE_NO_WARNINGS": "1",
               "WEIR_PORT": str(weir.address[1]), "WEIR_NAMES": ",".join(shop.names)}
        self.process = subprocess.Popen(["node", *redirect, str(FOLDER / shop.driver)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, env=env)
        self.answers = Lines(self.process.stdout)
        self.errors = Lines(self.process.stderr)
        self.orders = 0

    def start(self, key=KEY, amount=4200, method="pay", body=None, **client):
        """Returns a ticket for result()."""
        self.orders += 1
        order = {"id": self.orders, "client": {**self.client, **client}, "method": method,
                 "body": body if body is not None else self.shop.body(amount)}
        if key is not None:
            order["key"] = key
        self.process.stdin.write(json.dumps(order) + "\n")
        return self.orders

    def result(self, ticket):
        def wanted(line):
            answer = json.loads(line)
            return answer if answer["id"] == ticket else None
        try:
            return self.answers.wait_for(wanted, timeout_s=PATIENCE_S, what="the SDK's answer")[0]
        except Failure as failure:
            raise Failure(f"{failure}\n" + "\n".join(self.errors.snapshot()))

    def pay(self, key=KEY, amount=4200, **more):
        return self.result(self.start(key, amount, **more))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if error[0] is None:
            check_equal(self.errors.snapshot(), [], "what Node complains of")


def error_of(result, statuses):
    """What the application can catch; it must be an error of the SDK's own."""
    check(not result["ok"], f"the SDK took it for a success: {result.get('value')}")
    error = result["error"]
    check(error["isSdkError"], f"not an error of the SDK: {error}")
    check(error["statusCode"] in statuses, f"{error['statusCode']} is not in {statuses}: {error}")
    return error


def reasons(weir, count):
    """weir.reason and weir.outcome of the last lines of the access log, once there are `count` of all."""
    weir.wait_for_access(count=count, timeout_s=PATIENCE_S)
    return [(line["weir.reason"], line["weir.outcome"]) for line in weir.access_lines()]


# The cases.

def a_payment_its_replay_and_another_request(shop, paid, refused, reused=422, marked=None):
    """marked(result): the SDK shows Idempotent-Replayed, and whether it was set."""
    with shop.sandbox() as sandbox, shop.weir(sandbox) as weir, shop.sdk(weir) as sdk:
        before = len(shop.first)
        with case("a payment"):
            first = sdk.pay()
            paid(first, 4200)
            made, = sandbox.ledger()
            check_equal((made["key"], made["amount"], made["currency"]), (KEY, 4200, "EUR"))
            if marked:
                check_equal(marked(first), None)
        with case("the same again: the same answer, and the processor is not asked"):
            again = sdk.pay()
            check_equal(again["value"], first["value"])
            if marked:
                check_equal(marked(again), "true")
            check_equal(len([row for row in sandbox.requests() if KEY in row["raw"] + row["body"]]), 1)
        with case("another amount under the same key"):
            refused(sdk.pay(amount=4300), "key_reused", reused)
            check_equal([made["amount"] for made in sandbox.ledger()], [4200])
        with case("another key is another payment"):
            paid(sdk.pay("order-2", 4300), 4300)
            check_equal([made["amount"] for made in sandbox.ledger()], [4200, 4300])
        check_equal(reasons(weir, before + 4)[before:], [("ok", "answered"), ("replayed", "replayed"),
                                                         ("key_reused", "not_sent"), ("ok", "answered")])


def the_processors_own_errors(shop, rows, refusal):
    """rows: fault -> (statuses, outcome). refusal(error): what the SDK read in the processor's own words."""
    with shop.sandbox() as sandbox, shop.weir(sandbox) as weir, shop.sdk(weir) as sdk:
        for count, (fault, (status, outcome)) in enumerate(rows.items()):
            with case(fault):
                sandbox.fault(fault, 9)
                error = error_of(sdk.pay(f"order-{count}"), [status])
                refusal(error, status)
                check_equal(reasons(weir, len(shop.first) + count + 1)[-1], ("ok", outcome))
        check_equal(sandbox.ledger(), [])


def one_in_progress(shop, paid, refused, status=409):
    hold = Hold(shop.answer)
    with shop.scripted(hold) as processor, shop.weir(processor, wait="100ms") as weir, shop.sdk(weir) as sdk:
        first = sdk.start()
        hold.wait(PATIENCE_S)
        with case("the second is told to wait"):
            refused(sdk.pay(), "key_in_progress", status)
        with case("the first is answered"):
            hold.release()
            paid(sdk.result(first), 4200)
        with case("and so is who asks again"):
            paid(sdk.pay(), 4200)
        check_equal(len(shop.payments(processor)), 1, "payments that the processor saw")


def a_break_that_nobody_hears_of(shop, paid):
    """The processor breaks once: weir asks it again under the same key, and the application's first call has the truth."""
    with shop.sandbox() as sandbox, shop.weir(sandbox) as weir, shop.sdk(weir) as sdk:
        for count, fault in enumerate(("reset-before", "reset-after", "close-after", "half-answer")):
            with case(fault):
                key = f"order-{count}"
                sandbox.fault(fault, 1)
                paid(sdk.pay(key), 4200)
                check_equal([made["key"] for made in sandbox.ledger()].count(key), 1, "executions")
                check_equal(len([row for row in sandbox.requests() if key in row["raw"] + row["body"]]), 2, "attempts")
                lines = len(shop.first) + count + 1
                told = reasons(weir, lines)
                check_equal((len(told), told[-1]), (lines, ("ok", "answered")), "what the SDK asked")


def an_unknown_outcome(shop, paid, refused, attempts=1, **client):
    """
    The processor is silent: the application is told that nobody knows. The same key then finds the truth, since weir asks
    the same processor under the same key.
    """
    hold = Hold()
    acme = {"timeouts": {"response": "500ms"}}
    with shop.scripted(hold, shop.answer) as processor, shop.weir(processor, acme=acme) as weir, \
            shop.sdk(weir, **client) as sdk:
        with case("no answer"):
            refused(sdk.pay(), "response_timeout", 504)
        with case("the same key again"):
            paid(sdk.pay(), 4200)
        sent = shop.payments(processor)
        check_equal((len(sent), {shop.key(request) for request in sent}), (2, {KEY}))
        check_equal(sent[0].body, sent[1].body)
        with case("and once more: from the record"):
            paid(sdk.pay(), 4200)
            check_equal(len(shop.payments(processor)), 2)
        check_equal(reasons(weir, len(shop.first) + 3)[len(shop.first):],
                    [("response_timeout", "unknown"), ("ok", "answered"), ("replayed", "replayed")])
