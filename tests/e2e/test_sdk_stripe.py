"""A merchant's program on the real stripe SDK pays through weir over TLS: what it gets, what it is told when it gets
nothing, how often the SDK asks again by itself, and how often the processor executed."""

import json
import os
import shutil
import subprocess
import tempfile

from harness import ROOT, Failure, case, certs, check, check_equal, deadline
from harness.child import Lines
from harness.processor import Blackhole, Hold, Processor, Sandbox, response
from harness.weir import Weir
from test_outcomes import closed_port

FOLDER = ROOT / "tests" / "sdk"
PATIENCE_S = 60.0
ORDER = {"amount": 4200, "currency": "eur", "confirm": True, "payment_method": "pm_card_visa"}
ANSWER = response(200, ["Content-Type: application/json"],
                  '{"id": "pi_1", "object": "payment_intent", "amount": 4200, "status": "succeeded"}')
INTENTS = "/v1/payment_intents"

# How the SDK is told to retry, and what that comes to with maxNetworkRetries 1.
STOP, AGAIN = "false", "true"

# Attempts that break without an answer: weir asks once more by itself, so that the SDK hears of two only.
RESENT = ("closed_before_response", "response_incomplete")


def listener(*pairs, **more):
    pairs = pairs or (certs.server("127.0.0.1"),)
    return {"tls": {"certificates": [pair.section() for pair in pairs], **more.pop("tls", {})}, **more}


class StripeWeir(Weir):
    """weir as a merchant's SDK meets it: TLS in front, a processor that speaks Stripe's dialect behind."""

    def __init__(self, to, acme=None, single_machine=False, **more):
        more.setdefault("listener", listener())
        self.store = tempfile.mkdtemp(prefix="weir-test-") if single_machine else None
        if single_machine:
            more["store"] = {"path": f"{self.store}/records", "secret_file": f"{self.store}/secret", "size": "64MiB",
                             "single_machine": True}
        super().__init__(to, acme={"profile": "stripe", **(acme or {})}, **more)
        self.told = 0  # access lines that belong to calls looked at already

    def lines_of(self, attempts):
        """The access lines of a call's attempts, once they are written: so many, and in the end (see stop) no more."""
        if attempts > 0:
            self.wait_for_access(count=self.told + attempts, timeout_s=PATIENCE_S)
        new = self.access_lines()[self.told:]
        self.told += len(new)
        check_equal(len(new), attempts, "access lines")
        return new

    def stop(self, *args, **more):
        super().stop(*args, **more)
        if self.store:
            shutil.rmtree(self.store, ignore_errors=True)
        check_equal([line["weir.reason"] for line in self.access_lines()[self.told:]], [], "calls that nobody made")


class Sdk:
    """
    The SDK in a Node process (tests/sdk/stripe_driver.js). Options of a call
    are those of the SDK's constructor; `agent` is for an https.Agent.
    """

    def __init__(self, weir, ca=True):
        check((FOLDER / "node_modules" / "stripe").is_dir(), f"the SDK is missing: run `npm ci` in {FOLDER}")
        self.client = {"host": "127.0.0.1", "port": weir.address[1], "protocol": "https", "maxNetworkRetries": 1}
        trust = {"NODE_EXTRA_CA_CERTS": str(certs.ca().cert)} if ca else {}
        self.process = subprocess.Popen(["node", str(FOLDER / "stripe_driver.js")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, **trust})
        self.answers = Lines(self.process.stdout)
        self.errors = Lines(self.process.stderr)
        self.orders = 0

    def start(self, method, *arguments, agent=None, **client):
        """Returns a ticket for result()."""
        self.orders += 1
        order = {"id": self.orders, "client": {**self.client, **client}, "method": method, "arguments": arguments}
        if agent is not None:
            order["agent"] = agent
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

    def call(self, method, *arguments, **more):
        return self.result(self.start(method, *arguments, **more))

    def pay(self, *options, **more):
        return self.call("create", ORDER, *options, **more)

    def raw(self, method, path, headers=None, params=None, **more):
        """For what the SDK's own methods never send."""
        return self.call("rawRequest", method, path, params, {"additionalHeaders": headers or {}}, **more)

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


def check_paid(result, attempts=1):
    check(result["ok"], f"the SDK rejected: {result.get('error')}")
    value = result["value"]
    check_equal((value["object"], value["amount"], value["status"]), ("payment_intent", 4200, "succeeded"))
    check_equal(result["attempts"], attempts, "attempts of the SDK")
    check_equal(result["headers"]["weir-outcome"], "answered")


def check_rejected(result, kind):
    """It rejected, with an error of the SDK's own: what a merchant's `catch` is written for."""
    check(not result["ok"], f"the SDK took it for a success: {result.get('value')}")
    error = result["error"]
    check(error["isStripeError"], f"not an error of the SDK: {error}")
    check_equal((error["name"], error["type"]), (kind, kind), f"{error}")
    return error


def check_refused(weir, result, reason, status, kind, retry, outcome="not_sent", retries=1):
    """
    The SDK rejected with weir's own words, and asked again as weir told it to:
    `retry` is that word, `retries` what the SDK may do at most.
    """
    lines = weir.lines_of(result["attempts"])
    error = check_rejected(result, kind)
    check_equal((error["code"], error["statusCode"]), (f"weir_{reason}", status))
    check_equal(error["rawType"], "invalid_request_error" if status < 500 else "api_error")
    check(error["message"].endswith("."), f"a sentence for the merchant: {error['message']!r}")
    headers = error["headers"]
    check_equal((headers.get("weir-reason"), headers.get("weir-outcome")), (reason, outcome))
    check_equal(headers.get("stripe-should-retry"), retry, "Stripe-Should-Retry")
    check_equal(result["attempts"], 1 + (retries if retry == AGAIN else 0), "attempts of the SDK")
    check_equal({(line["weir.reason"], line["http.response.status_code"]) for line in lines}, {(reason, status)})
    # The merchant's log and weir's can be laid side by side.
    check_equal(headers.get("weir-request-id"), lines[-1]["request_id"])
    check_equal(error.get("requestId"), lines[-1]["request_id"], "err.requestId")
    return error


# Payments that work.

@deadline(180)
def test_a_payment_intent_through_tls():
    with Sandbox(name="acme") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        with case("host, port and protocol are all that a merchant changes"):
            paid = sdk.pay()
            check_paid(paid)
            made, = sandbox.ledger()
            check_equal((made["amount"], made["currency"]), (4200, "eur"))
            check(paid["value"]["id"].endswith(made["id"].rpartition("_")[2]), f"{paid['value']} is {made}")
            line, = weir.lines_of(1)
            check_equal((line["weir.reason"], line["tls.protocol.version"], line["user_agent.original"].split("/")[0]),
                        ("ok", "TLSv1.3", "Stripe"))
            check_equal(paid["headers"]["weir-request-id"], line["request_id"])
        with case("the SDK's own key and the account reach the processor as they were"):
            check(made["key"].startswith("stripe-node-retry-"), f"{made}")
            sandbox.reset()
            check_paid(sdk.pay({"idempotencyKey": "order-1"}))
            weir.lines_of(1)
            check_equal([made["key"] for made in sandbox.ledger()], ["order-1"])
        with case("what was paid can be read"):
            read = sdk.call("retrieve", paid["value"]["id"])
            check(not read["ok"], "forgotten by the sandbox")
            weir.lines_of(1)
            paid = sdk.pay()
            read = sdk.call("retrieve", paid["value"]["id"])
            check_equal(read["value"], paid["value"])
            weir.lines_of(2)
        with case("many at once, each its own answer"):
            sandbox.reset()
            tickets = {amount: sdk.start("create", {"amount": amount, "currency": "eur"}) for amount in range(100, 150)}
            for amount, ticket in tickets.items():
                result = sdk.result(ticket)
                check(result["ok"], f"{result}")
                check_equal(result["value"]["amount"], amount)
            check_equal(sorted(made["amount"] for made in sandbox.ledger()), list(tickets))
            weir.lines_of(len(tickets))


@deadline(180)
def test_the_processors_own_words_pass_through():
    """A declined card is the processor's answer: weir does not dress it, and the SDK's errors are those of no proxy."""
    rows = {
        "status-before=402": ("StripeCardError", 402, 1, "answered"),
        "status-before=400": ("StripeInvalidRequestError", 400, 1, "answered"),
        "status-before=401": ("StripeAuthenticationError", 401, 1, "answered"),
        "status-before=429": ("StripeRateLimitError", 429, 1, "answered"),
        "status-before=500": ("StripeAPIError", 500, 2, "unknown"),
        "status-before=503": ("StripeAPIError", 503, 2, "unknown"),
    }
    with Sandbox(name="acme") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        for fault, (kind, status, attempts, outcome) in rows.items():
            with case(fault):
                sandbox.fault(fault, attempts)
                result = sdk.pay()
                weir.lines_of(result["attempts"])
                check_equal(result["attempts"], attempts)
                error = check_rejected(result, kind)
                check_equal((error["statusCode"], error["message"]), (status, "as the fault asked"))
                check_equal(error["headers"]["weir-outcome"], outcome)
                check("weir-reason" not in error["headers"], "weir has nothing to say")
        check_equal(sandbox.ledger(), [])


# Who is trusted.

@deadline(180)
def test_the_sdk_verifies_weir():
    """The checks are on: what a merchant's SDK would not trust never carries a payment."""
    ca = certs.ca().cert.read_text()
    name = {"host": "pay.example.com", "agent": {"ca": ca, "address": "127.0.0.1"}}
    pairs = certs.server("pay.example.com"), certs.server("pay.example.com", kind="rsa")
    with Sandbox(name="acme") as sandbox, StripeWeir(sandbox, listener=listener(*pairs)) as weir, \
            Sdk(weir, ca=False) as sdk:
        with case("an agent that knows the CA, a real name in SNI and Host"):
            check_paid(sdk.pay(**name))
            weir.lines_of(1)
        for how in ({"maxVersion": "TLSv1.2"}, {"minVersion": "TLSv1.3"}):
            with case(f"{how}"):
                check_paid(sdk.pay(host=name["host"], agent={**name["agent"], **how}))
                line, = weir.lines_of(1)
                check_equal(line["tls.protocol.version"], *how.values())
        sandbox.reset()
        for why, host, agent, code in (
                ("a CA that nobody told it of", "pay.example.com", {"address": "127.0.0.1"},
                 "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
                ("a name that the certificate has not", "other.example.com", name["agent"],
                 "ERR_TLS_CERT_ALTNAME_INVALID")):
            with case(why):
                error = check_rejected(sdk.pay(host=host, agent=agent), "StripeConnectionError")
                check_equal(error["cause"]["code"], code)
        check_equal(sandbox.requests(), [])


@deadline(180)
def test_client_certificates_of_the_sdk():
    mine, ca = certs.client("merchant-1"), str(certs.ca().cert)
    shown = {"ca": certs.ca().cert.read_text(), "cert": mine.cert.read_text(), "key": mine.key.read_text()}
    asked = listener(tls={"client_certs": "required", "client_ca": ca})
    with Sandbox(name="acme") as sandbox, StripeWeir(sandbox, listener=asked) as weir, Sdk(weir) as sdk:
        with case("with"):
            check_paid(sdk.pay(agent=shown))
            weir.lines_of(1)
        with case("without"):
            check_rejected(sdk.pay(), "StripeConnectionError")
        check_equal(len(sandbox.ledger()), 1)


# What weir refuses by itself.

@deadline(180)
def test_requests_that_weir_does_not_pass_on():
    """Nothing was sent, and the same request would fare no better: one attempt, and words that say what is wrong."""
    routes = [{"name": "pay", "match": {"path": INTENTS}, "to": "acme"},
              {"name": "paid", "match": {"path": INTENTS + "/*"}, "to": "acme"}]
    with Processor() as processor, StripeWeir(processor, routes=routes) as weir, Sdk(weir) as sdk:
        def post(*headers, path=INTENTS, params=None):
            return sdk.raw("POST", path, dict(headers), params or {"amount": 1})

        rows = {
            "no_route": (404, "StripeInvalidRequestError", lambda: post(path="/v1/charges")),
            "body_too_large": (413, "StripeAPIError", lambda: post(params={"metadata": {"a": "x" * 300_000}})),
            "header_too_large": (431, "StripeAPIError", lambda: post(("X-Large", "x" * 20_000))),
            "bad_request": (400, "StripeInvalidRequestError", lambda: post(("Transfer-Encoding", "chunked"))),
            "expectation_failed": (417, "StripeAPIError", lambda: post(("Expect", "a miracle"))),
            "method_not_allowed": (405, "StripeAPIError", lambda: sdk.raw("TRACE", INTENTS)),
            "uri_too_long": (414, "StripeAPIError", lambda: sdk.raw("GET", "/v1/" + "a" * 20_000)),
            "not_implemented": (501, "StripeAPIError", lambda: sdk.raw("PROPFIND", INTENTS)),
        }
        for reason, (status, kind, ask) in rows.items():
            with case(reason):
                check_refused(weir, ask(), reason, status, kind, STOP)
        with case("a read is refused in the same words"):
            check_refused(weir, sdk.raw("GET", "/v1/customers"), "no_route", 404, "StripeInvalidRequestError", STOP)
        processor.check_only(0)


@deadline(180)
def test_a_request_that_does_not_arrive_whole():
    late = listener(timeouts={"body": "500ms"})
    with Processor() as processor, StripeWeir(processor, listener=late) as weir, Sdk(weir) as sdk:
        result = sdk.raw("POST", INTENTS, {"Content-Length": "1000"}, {"amount": 1})
        check_refused(weir, result, "request_timeout", 408, "StripeAPIError", AGAIN)
        processor.check_only(0)


@deadline(180)
def test_a_host_of_another_certificate():
    pairs = certs.server("pay.example.com"), certs.server("api.example.com")
    with Processor() as processor, StripeWeir(processor, listener=listener(*pairs)) as weir, Sdk(weir) as sdk:
        result = sdk.pay(host="api.example.com", agent={"address": "127.0.0.1", "servername": "pay.example.com"})
        check_refused(weir, result, "misdirected", 421, "StripeAPIError", STOP)
        processor.check_only(0)


# No way to the processor: nothing was sent, the SDK tries again with the same key.

@deadline(240)
def test_processors_that_cannot_be_reached():
    nobody, refusing = closed_port()
    stranger = certs.server_context(certs.server("processor.test", ca=certs.other_ca()))
    trust = {"ca": str(certs.ca().cert)}
    with nobody, Blackhole() as nowhere, Processor(tls=stranger) as unknown:
        rows = {
            "connect_failed": (502, {"url": f"http://{refusing}"}),
            "connect_timeout": (504, {"url": f"http://{nowhere.authority}", "timeouts": {"connect": "300ms"}}),
            "dns_failed": (502, {"url": "http://does-not-exist.invalid"}),
            "processor_tls_failed": (502, {"url": "https://processor.test", "endpoints": [unknown.authority],
                                           "tls": trust}),
        }
        for reason, (status, acme) in rows.items():
            with case(reason), StripeWeir(acme) as weir, Sdk(weir) as sdk:
                check_refused(weir, sdk.pay(), reason, status, "StripeAPIError", AGAIN)
                check_refused(weir, sdk.pay(maxNetworkRetries=0), reason, status, "StripeAPIError", AGAIN, retries=0)
                read = sdk.call("retrieve", "pi_1")
                check_refused(weir, read, reason, status, "StripeAPIError", AGAIN)
        check_equal(unknown.requests(), [])


@deadline(180)
def test_a_full_queue():
    pool = {"pool": {"connections": 1, "queue": 0}}
    with Processor() as processor, StripeWeir(processor, acme=pool) as weir, Sdk(weir) as sdk:
        hold = Hold(ANSWER)
        processor.answer(hold).answer_always(ANSWER)
        first = sdk.start("create", ORDER)
        hold.wait(PATIENCE_S)
        with case("that stays full"):
            check_refused(weir, sdk.pay(), "queue_full", 503, "StripeAPIError", AGAIN)
        with case("that has room again: the merchant notices nothing"):
            second = sdk.start("create", ORDER, maxNetworkRetries=8)
            weir.wait_for_access(count=weir.told + 1, timeout_s=PATIENCE_S)
            hold.release()
            check_paid(sdk.result(first))
            paid = sdk.result(second)
            check(paid["ok"] and paid["attempts"] > 1, f"{paid}")
            lines = weir.lines_of(1 + paid["attempts"])
            check_equal(sorted({line["weir.reason"] for line in lines}), ["ok", "queue_full"])
        keys = [got.header("Idempotency-Key") for got in processor.requests()]
        check_equal((len(keys), len(set(keys))), (2, 2), "payments, each with its key, each sent once")


@deadline(180)
def test_no_link_in_time():
    acme = {"pool": {"connections": 1}, "timeouts": {"connect": "500ms", "response": "30s", "total": "31s"}}
    short = {"response": "1s", "total": "2s"}
    routes = [{"name": "short", "match": {"path": INTENTS}, "to": "acme", "timeouts": short},
              {"name": "all", "match": {"path": "/*"}, "to": "acme"}]
    with Processor() as processor, StripeWeir(processor, acme=acme, routes=routes) as weir, Sdk(weir) as sdk:
        hold = Hold(ANSWER)
        processor.answer(hold)
        slow = sdk.start("rawRequest", "POST", "/v1/charges", {"amount": 1}, {})
        hold.wait(PATIENCE_S)
        late = sdk.pay(maxNetworkRetries=0)
        check_refused(weir, late, "deadline_before_send", 504, "StripeAPIError", AGAIN, retries=0)
        hold.release()
        check(sdk.result(slow)["ok"], "the slow one is answered")
        weir.lines_of(1)
        check_equal(len(processor.requests()), 1)


@deadline(180)
def test_a_weir_that_stops():
    with Processor() as processor, StripeWeir(processor, acme={"pool": {"connections": 1}}) as weir, Sdk(weir) as sdk:
        hold = Hold()
        processor.answer(hold)
        sent = sdk.start("create", ORDER, maxNetworkRetries=0)
        hold.wait(PATIENCE_S)
        queued = sdk.start("create", ORDER, maxNetworkRetries=0)
        weir.wait_metric("weir_processor_queue_length", 1, timeout_s=PATIENCE_S, processor="acme")
        weir.term()
        weir.wait_event("stopping", timeout_s=PATIENCE_S)
        weir.term()
        queued, sent = sdk.result(queued), sdk.result(sent)
        weir.check_clean(weir.wait(PATIENCE_S))
        lines = {line["weir.reason"]: line for line in weir.lines_of(2)}
        weir.told = 0
        with case("draining: what waited was not sent"):
            error = check_rejected(queued, "StripeAPIError")
            check_equal((error["code"], error["statusCode"]), ("weir_draining", 503))
            headers = error["headers"]
            check_equal((headers.get("weir-outcome"), headers.get("stripe-should-retry")), ("not_sent", AGAIN))
            check_equal(headers.get("weir-request-id"), lines["draining"]["request_id"])
        with case("what was sent is told to be unknown"):
            error = check_rejected(sent, "StripeAPIError")
            check_equal((error["code"], error["headers"]["weir-outcome"]), ("weir_response_timeout", "unknown"))
        with case("an SDK that asks once more finds nobody, and says so"):
            check_rejected(sdk.pay(), "StripeConnectionError")
        weir.told = 2


# Sent, and no answer.

@deadline(240)
def test_answers_that_are_none():
    """Unknown: the SDK asks again with the same key, which the processor knows; the last word stays an error."""
    two_lengths = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    rows = {
        "closed_before_response": (502, ["close", "reset"]),
        "response_incomplete": (502, [[b"HTTP/1.1 200 OK\r\nConte", "close"]]),
        "response_malformed": (502, [b"garbage\r\n\r\n", two_lengths]),
    }
    with Processor() as processor, StripeWeir(processor) as weir, Sdk(weir) as sdk:
        for reason, (status, ways) in rows.items():
            for how in ways:
                with case(f"{reason} by {how!r}"):
                    processor.forget()
                    processor.answer(how, how, how, how)
                    check_refused(weir, sdk.pay(), reason, status, "StripeAPIError", AGAIN, "unknown")
                    sent = processor.requests()
                    check_equal(len(sent), 4 if reason in RESENT else 2, "what the processor saw")
                    check_equal(len({got.header("Idempotency-Key") for got in sent}), 1, "keys")
                    check_equal(len({got.body for got in sent}), 1, "bodies")
        with case("the SDK's second attempt is answered"):
            processor.forget()
            processor.answer("reset", "reset", ANSWER)
            check_paid(sdk.pay(), attempts=2)
            check_equal([line["weir.reason"] for line in weir.lines_of(2)], ["closed_before_response", "ok"])
            check_equal(len(processor.requests()), 3)


@deadline(180)
def test_an_answer_that_does_not_come():
    acme = {"timeouts": {"response": "500ms"}}
    with Processor() as processor, StripeWeir(processor, acme=acme) as weir, Sdk(weir) as sdk:
        processor.answer_always(Hold())
        check_refused(weir, sdk.pay(), "response_timeout", 504, "StripeAPIError", AGAIN, "unknown")
        sent = processor.requests()
        check_equal((len(sent), len({got.header("Idempotency-Key") for got in sent})), (2, 1))


@deadline(180)
def test_half_an_answer_is_no_success():
    """The head says 200 and the body breaks off: however much of it came through, the SDK must not resolve."""
    head = response(200, ["Content-Type: application/json", "Content-Length: 100000"], length=False)
    whole = b'{"id": "pi_1", "object": "payment_intent", "status": "succeeded"}'
    chunked = response(200, ["Content-Type: application/json", "Transfer-Encoding: chunked"], length=False)
    ways = {
        "cut in the body": [head + b'{"id": "pi_1", "status": "succ', "close"],
        "cut behind what could be a whole object": [head + whole, "close"],
        "reset behind what could be a whole object": [head + whole, "reset"],
        "chunks without an end": [chunked + b"%x\r\n%s\r\n" % (len(whole), whole), "close"],
        "cut behind much of the body": [head + b'{"a": "' + b"x" * 90_000, "close"],
    }
    with Processor() as processor, StripeWeir(processor) as weir, Sdk(weir) as sdk:
        for name, how in ways.items():
            with case(name):
                processor.forget()
                processor.answer(*[how] * 5)
                result = sdk.pay()
                check(not result["ok"], f"the SDK took it for a success: {result.get('value')}")
                check(result["error"]["isStripeError"], f"{result['error']}")
                lines = weir.lines_of(result["attempts"])
                check_equal({(line["weir.reason"], line["weir.outcome"]) for line in lines},
                            {("response_incomplete", "unknown")})
                check_equal(len(processor.requests()), 2 * result["attempts"], "weir itself asks once more each time")


# Retries end in the truth: weir's own, of which the SDK knows nothing, and the SDK's.

@deadline(180)
def test_the_first_attempt_finds_the_truth():
    """The processor broke once: weir asks it again under the SDK's key, and the SDK that may not retry is told what it did."""
    half = response(200, ["Content-Type: application/json", "Content-Length: 100"], length=False) + b'{"id": "pi_0'
    with Sandbox(name="acme", dedup="header:Idempotency-Key") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        for fault in ("reset-before", "reset-after", "close-after", "half-answer"):
            with case(fault):
                sandbox.reset()
                sandbox.fault(fault, 1)
                paid = sdk.pay(maxNetworkRetries=0)
                check_paid(paid, attempts=1)
                made, = sandbox.ledger()
                check(paid["value"]["id"].endswith(made["id"].rpartition("_")[2]), f"{paid['value']} is {made}")
                check_equal(len(sandbox.requests()), 2, "requests that the processor saw")
                line, = weir.lines_of(1)
                check_equal((line["weir.reason"], line["weir.outcome"], line["weir.sent_again"]), ("ok", "answered", True))
    with Processor() as processor, StripeWeir(processor) as weir, Sdk(weir) as sdk, \
            case("of an answer that broke off the SDK sees nothing"):
        processor.answer([half, "reset"], ANSWER)
        paid = sdk.pay(maxNetworkRetries=0)
        check_paid(paid)
        check_equal(paid["value"]["id"], "pi_1")
        weir.lines_of(1)
        sent = processor.requests()
        check_equal((len(sent), len({(got.header("Idempotency-Key"), got.body) for got in sent})), (2, 1))


@deadline(300)
def test_the_sdks_retry_finds_the_truth():
    """The processor executed and its answer was lost: the SDK asks again with the same key, and money moved once."""
    # Those that weir asks about once more by itself break twice before the SDK hears of one.
    faults = {
        "reset-before": ("closed_before_response", "10s"),
        "reset-after": ("closed_before_response", "10s"),
        "close-after": ("closed_before_response", "10s"),
        "garbage": ("response_malformed", "10s"),
        "hang": ("response_timeout", "2s"),
        "status-after=500": ("ok", "10s"),
        "status-after=503": ("ok", "10s"),
    }
    for patience in ("10s", "2s"):
        acme = {"timeouts": {"response": patience, "total": "20s"}}
        with Sandbox(name="acme", dedup="header:Idempotency-Key") as sandbox, StripeWeir(sandbox, acme=acme) as weir, \
                Sdk(weir) as sdk:
            for fault, (reason, of) in faults.items():
                if of != patience:
                    continue
                for times in (1, 2):
                    with case(f"{fault}, {times} times"):
                        broken = times * (2 if reason in RESENT else 1)
                        sandbox.reset()
                        sandbox.fault(fault, broken)
                        paid = sdk.pay(maxNetworkRetries=2)
                        check_paid(paid, attempts=times + 1)
                        made, = sandbox.ledger()
                        check(paid["value"]["id"].endswith(made["id"].rpartition("_")[2]), f"{paid['value']} is {made}")
                        check_equal(len(sandbox.requests()), broken + 1, "requests that the processor saw")
                        lines = weir.lines_of(times + 1)
                        check_equal([line["weir.reason"] for line in lines], [reason] * times + ["ok"])
                        check_equal([line["weir.outcome"] for line in lines], ["unknown"] * times + ["answered"])


@deadline(180)
def test_more_faults_than_retries_and_then_the_same_key():
    """The SDK gives up on what is still unknown; the merchant's own repeat with the same key finds the one payment."""
    with Sandbox(name="acme", dedup="header:Idempotency-Key") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        sandbox.fault("reset-after", 6)  # the SDK asks three times, and weir twice each time
        lost = sdk.pay({"idempotencyKey": "order-7"}, maxNetworkRetries=2)
        check_refused(weir, lost, "closed_before_response", 502, "StripeAPIError", AGAIN, "unknown", retries=2)
        check_equal(len(sandbox.ledger()), 1)
        paid = sdk.pay({"idempotencyKey": "order-7"})
        check_paid(paid)
        weir.lines_of(1)
        made, = sandbox.ledger()
        check_equal(made["key"], "order-7")
        check(paid["value"]["id"].endswith(made["id"].rpartition("_")[2]), f"{paid['value']} is {made}")


@deadline(180)
def test_an_sdk_that_loses_patience():
    """Its own timeout is shorter than the processor's answer: weir sees the payment through, the retry finds it."""
    with Sandbox(name="acme", dedup="header:Idempotency-Key") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        sandbox.fault("delay=6000", 1)
        paid = sdk.pay({"timeout": 2000}, maxNetworkRetries=4)
        check(paid["ok"] and paid["attempts"] > 1, f"{paid}")
        check_equal(paid["value"]["amount"], 4200)
        lines = weir.lines_of(paid["attempts"])
        reasons = [line["weir.reason"] for line in lines]
        check("ok" in reasons or "client_gone" in reasons, f"nobody saw the answer: {reasons}")
        check(set(reasons) <= {"ok", "client_gone", "key_in_progress", "replayed"}, f"{reasons}")
        check_equal((len(sandbox.requests()), len(sandbox.ledger())), (1, 1))


# One key, one payment.

def replayed_of(result):
    return result["headers"].get("idempotent-replayed")


def silent(*answers):
    """A processor that does not answer the first payment."""
    return Processor().answer(Hold(), *answers)


@deadline(180)
def test_a_key_and_its_replay():
    with Sandbox(name="acme", dialect="stripe") as sandbox, StripeWeir(sandbox) as weir, Sdk(weir) as sdk:
        with case("the first"):
            first = sdk.pay({"idempotencyKey": "order-1"})
            check_paid(first)
            check_equal(replayed_of(first), None)
            line, = weir.lines_of(1)
        with case("the same again: the stored answer, and the SDK's program sees that it is one"):
            again = sdk.pay({"idempotencyKey": "order-1"})
            check_equal((again["ok"], again["value"], replayed_of(again)), (True, first["value"], "true"))
            check_equal(again["headers"]["weir-outcome"], "replayed")
            check_equal(again["headers"]["request-id"], first["headers"]["request-id"], "what Stripe's support is told")
            again, = weir.lines_of(1)
            check_equal((line["weir.reason"], again["weir.reason"]), ("ok", "replayed"))
        with case("another amount under the key: Stripe's own error, which the SDK does not repeat"):
            other = sdk.call("create", {**ORDER, "amount": 4300}, {"idempotencyKey": "order-1"})
            error = check_rejected(other, "StripeIdempotencyError")
            check_equal((error["statusCode"], error["rawType"], error["code"]),
                        (400, "idempotency_error", "weir_key_reused"))
            check_equal((error["headers"]["stripe-should-retry"], other["attempts"]), (STOP, 1))
            weir.lines_of(1)
        with case("for another account it is no replay"):
            other = sdk.pay({"idempotencyKey": "order-1", "stripeAccount": "acct_2"})
            check_rejected(other, "StripeIdempotencyError")
            weir.lines_of(1)
        check_equal([made["amount"] for made in sandbox.ledger()], [4200])
        check_equal(len(sandbox.requests()), 1)


@deadline(180)
def test_two_at_once_with_one_key():
    """The second waits for the first in weir; what waits for too long is told so, and the SDK asks again by itself."""
    hold = Hold(ANSWER)
    routes = [{"name": "all", "match": {"path": "/*"}, "to": "acme", "idempotency": {"wait": "100ms"}}]
    with Processor() as processor, StripeWeir(processor, routes=routes) as weir, Sdk(weir) as sdk:
        processor.answer(hold)
        first = sdk.start("create", ORDER, {"idempotencyKey": "order-1"})
        hold.wait(PATIENCE_S)
        with case("an SDK that may not retry hands the conflict to the application"):
            error = check_rejected(sdk.pay({"idempotencyKey": "order-1"}, maxNetworkRetries=0), "StripeAPIError")
            check_equal((error["statusCode"], error["rawType"], error["code"]),
                        (409, "idempotency_error", "idempotency_key_in_use"))
            headers = error["headers"]
            check_equal((headers["weir-reason"], headers["weir-outcome"], headers["stripe-should-retry"]),
                        ("key_in_progress", "unknown", AGAIN))
            check_equal([line["weir.reason"] for line in weir.lines_of(1)], ["key_in_progress"])
        with case("one that may finds the first one's answer"):
            second = sdk.start("create", ORDER, {"idempotencyKey": "order-1"}, maxNetworkRetries=8)
            weir.wait_for_access(count=weir.told + 1, timeout_s=PATIENCE_S)
            hold.release()
            check_paid(sdk.result(first))
            second = sdk.result(second)
            check_equal((second["ok"], replayed_of(second)), (True, "true"))
            lines = weir.lines_of(1 + second["attempts"])
            check_equal({line["weir.reason"] for line in lines}, {"key_in_progress", "ok", "replayed"})
        check_equal(len(processor.requests()), 1)


@deadline(180)
def test_an_outcome_that_nobody_knows():
    acme = {"timeouts": {"response": "500ms"}}
    key = {"idempotencyKey": "order-1"}
    with case("sticky: the SDK is told to ask again, and its own retry finds the truth"), \
            silent(ANSWER) as processor, StripeWeir(processor, acme=acme) as weir, Sdk(weir) as sdk:
        check_paid(sdk.pay(key), attempts=2)
        check_equal([line["weir.reason"] for line in weir.lines_of(2)], ["response_timeout", "ok"])
        sent = processor.requests()
        check_equal([got.header("Idempotency-Key") for got in sent], ["order-1", "order-1"])
        check_equal(sent[0].body, sent[1].body)
    routes = [{"name": "all", "match": {"path": "/*"}, "to": "acme", "idempotency": {"mode": "single_shot"}}]
    with case("single_shot: it is told not to, and what was sent is never sent again"), silent(ANSWER) as processor, \
            StripeWeir(processor, acme=acme, routes=routes, single_machine=True) as weir, Sdk(weir) as sdk:
        first = sdk.pay(key)
        check_refused(weir, first, "response_timeout", 504, "StripeAPIError", STOP, "unknown")
        again = sdk.pay(key)
        error = check_rejected(again, "StripeAPIError")
        check_equal((error["statusCode"], error["code"], again["attempts"]), (409, "weir_outcome_unknown", 1))
        check("do not pay again" in error["message"], error["message"])
        check_equal((error["headers"]["weir-outcome"], error["headers"]["stripe-should-retry"]), ("unknown", STOP))
        check_equal([line["weir.reason"] for line in weir.lines_of(1)], ["outcome_unknown"])
        check_equal(len(processor.requests()), 1)


@deadline(180)
def test_a_server_error_is_no_last_word():
    """Stripe keeps a 500 under its key and replays it: to weir that proves nothing, and Stripe is asked each time."""
    with Processor() as processor, StripeWeir(processor) as weir, Sdk(weir) as sdk:
        failed = response(500, ["Content-Type: application/json", "Idempotent-Replayed: true"],
                          '{"error": {"type": "api_error", "message": "Sorry."}}')
        processor.answer(failed, failed, ANSWER)
        lost = sdk.pay({"idempotencyKey": "order-1"})
        error = check_rejected(lost, "StripeAPIError")
        check_equal((lost["attempts"], error["headers"]["weir-outcome"], error["message"]), (2, "unknown", "Sorry."))
        check_equal(error["headers"]["idempotent-replayed"], "true", "the processor's own mark")
        check_paid(sdk.pay({"idempotencyKey": "order-1"}))
        check_equal([line["weir.outcome"] for line in weir.lines_of(3)], ["unknown", "unknown", "answered"])
