"""One key, one payment: what a merchant sees who sends a payment again. What happens when nobody knows whether the money
moved is in test_idempotency_unknown.py."""

import json
import re
import threading

from harness import case, check, check_equal, wait_until
from harness.http import Closed, request
from harness.payments import (KEY_FIELD, Embedded, body_of, executions, headers_of, keys_seen, on_each_store, outcome, pay,
                              paying, request_of, wait_state)
from harness.processor import Hold, Processor, Sandbox, response
from harness.weir import Weir
from test_outcomes import check_own

MIB = 1 << 20
UUID_V8 = r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def check_same_body(answer, first):
    """Without telling a mebibyte."""
    check(answer.body == first.body, f"another body: {answer.body[:200]!r} ({len(answer.body)} bytes)")


def check_replay(answer, first):
    check_equal((answer.status, answer.outcome), (first.status, "replayed"))
    check_same_body(answer, first)
    check_equal(answer.header("Idempotent-Replayed"), "true")
    check_equal(answer.header("Content-Type"), first.header("Content-Type"))
    check(answer.header("Weir-Request-Id") != first.header("Weir-Request-Id"), "a request id of its own")


class Asker(threading.Thread):
    """Asks in the background; `answer` when it is there, or `error`."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self.ask = ask
        self.answer = None
        self.error = None
        self.start()

    def run(self):
        try:
            self.answer = self.ask()
        except Exception as error:  # told by result()
            self.error = error

    def result(self, timeout_s=20):
        self.join(timeout_s)
        check(not self.is_alive(), f"no answer within {timeout_s} s")
        if self.error is not None:
            raise self.error
        return self.answer


@on_each_store
def test_the_first_is_executed_and_the_second_is_its_answer(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        first = pay(weir, "order-1")
        check_equal((first.status, first.outcome), (200, "answered"))
        check_equal(first.header("Idempotent-Replayed"), None)
        for _ in range(3):
            check_replay(pay(weir, "order-1"), first)
        with case("asked once, executed once"):
            check_equal(keys_seen(sandbox), ["order-1"])
            check_equal(executions(sandbox, "order-1"), 1)
        with case("the log and the metrics say so"):
            line = weir.wait_for_access({"weir.outcome": "replayed"})
            check_equal((line["weir.reason"], line["http.response.status_code"]), ("replayed", 200))
            check(re.fullmatch(r"[0-9a-f]{3}x[0-9a-f]{12}", line["weir.record"]), line["weir.record"])
            check("weir.attempts" not in line and "t_ttfb_us" not in line, f"nothing was sent: {line}")
            check_equal(weir.metric("weir_idempotency_begins_total", route="pay", verdict="new"), 1)
            check_equal(weir.metric("weir_idempotency_begins_total", route="pay", verdict="replay"), 3)
            check_equal(weir.metric("weir_outcomes_total", processor="acme", outcome="replayed"), 3)
            check_equal(weir.metric("weir_outcomes_total", processor="acme", outcome="answered"), 1)
            check_equal(weir.metric("weir_requests_total", route="pay", reason="replayed"), 3)


@on_each_store
def test_what_a_replay_carries(store):
    with Processor() as processor, paying(store, processor) as weir:
        with case("fields that belong to the answer, and no others"):
            processor.answer(response(201, ["Content-Type: application/json", "Location: /v1/payments/1", "X-Kept-One: 1",
                                            "Set-Cookie: a=b", "X-Other: 2", "Cache-Control: max-age=9", "Weir-Outcome: forged",
                                            "Idempotent-Replayed: true", "Keep-Alive: timeout=5"], '{"paid": 1}', "Created"))
            first = pay(weir, "fields")
            check_equal((first.status, first.outcome), (201, "answered"))
            again = pay(weir, "fields")
            check_replay(again, first)
            check_equal((again.header("Location"), again.header("X-Kept-One")), ("/v1/payments/1", "1"))
            for name in ("Set-Cookie", "X-Other", "Keep-Alive"):
                check_equal(again.header(name), None, name)
            check(again.header("Date") is not None, "Date")
        for status, body in ((204, b""), (402, b'{"error": {"code": "card_declined"}}'), (303, b""), (422, b"no")):
            with case(f"a final {status}"):
                processor.answer(response(status, [], body, "X", length=status != 204))
                first = pay(weir, f"status-{status}")
                check_equal((first.status, first.outcome), (status, "answered"))
                check_replay(pay(weir, f"status-{status}"), first)
        with case("a chunked answer"):
            processor.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            first = pay(weir, "chunked")
            check_equal(first.body, b"abcde")
            check_replay(pay(weir, "chunked"), first)
        with case("binary, and not small"):
            body = bytes(range(256)) * 400
            processor.answer(response(200, ["Content-Type: application/octet-stream"], body))
            first = pay(weir, "binary")
            check(first.body == body, "whole")
            check_replay(pay(weir, "binary"), first)
        with case("nobody else may claim to replay"):
            count = len(processor.requests())
            pay(weir, "forged", headers=["Idempotent-Replayed: true", "Weir-Outcome: answered"])
            seen = processor.wait_requests(count + 1)[-1]
            check_equal((seen.header("Idempotent-Replayed"), seen.header("Weir-Outcome")), (None, None))
        with case("each was asked once"):
            check_equal(len(processor.requests()), 8)


@on_each_store
def test_an_answer_of_one_mebibyte_is_kept_and_a_larger_one_is_not(store):
    with Processor() as processor, paying(store, processor) as weir:
        with case("1 MiB"):
            processor.answer(response(200, [], b"a" * MIB))
            first = pay(weir, "fits")
            check_equal(len(first.body), MIB)
            check_replay(pay(weir, "fits"), first)
            check_equal(len(processor.requests()), 1)
        with case("a larger one: whole for the first, asked for again by the next"):
            body = b"b" * (MIB + (256 << 10))
            processor.answer(response(200, [], body), response(200, ["Idempotent-Replayed: true"], body))
            first = pay(weir, "too-large")
            check_equal((first.status, first.outcome, len(first.body)), (200, "answered", len(body)))
            wait_state(weir, "too-large", "done")
            again = pay(weir, "too-large")
            check_equal((again.status, again.outcome), (200, "answered"))
            check_same_body(again, first)
            check_equal([seen.header("Idempotency-Key") for seen in processor.requests()[1:]], ["too-large"] * 2)
        with case("chunked, of which the length was not known"):
            body = b"".join(b"10000\r\n%s\r\n" % (b"c" * 65536) for _ in range(20)) + b"0\r\n\r\n"
            processor.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            first = pay(weir, "large-chunks")
            check_equal((first.status, first.outcome, len(first.body)), (200, "answered", 20 * 65536))
            wait_state(weir, "large-chunks", "done")


@on_each_store
def test_another_request_under_the_key_is_refused_and_learns_nothing(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        first = pay(weir, "order-1")
        made = json.loads(first.body)
        rows = {
            "another amount": request_of("order-1", amount=4201),
            "another path": request_of("order-1", path="/v1/payment_intents"),
            "another query": request_of("order-1", path="/v1/payments?expand=1"),
            "another method": request("PATCH", "/v1/payments", headers_of("order-1"), body_of()),
            "another media type": request_of("order-1").replace(b"Content-Type: application/json", b"Content-Type: text/json"),
            "no body": request("POST", "/v1/payments", headers_of("order-1"), b""),
        }
        for name, raw in rows.items():
            with case(name), weir.client() as client:
                client.send(raw)
                answer = client.read_response()
                check_own(answer, 422, "key_reused", "not_sent", "no")
                text = answer.raw_head + answer.body
                for secret in (made["id"], made["tenant"], "4200", "succeeded", "acme", "order-1",
                               first.header("Weir-Request-Id")):
                    check(secret.encode() not in text, f"{secret} is told")
        with case("and nothing was sent"):
            check_equal(keys_seen(sandbox), ["order-1"])
            check_replay(pay(weir, "order-1"), first)
        with case("what does not make it another request"):
            check_replay(pay(weir, "order-1", headers=["User-Agent: retry/2", "X-Request-Id: r-2"]), first)
            raw = request_of("order-1").replace(b"Content-Length: 35", b"Transfer-Encoding: chunked")
            head, _, body = raw.partition(b"\r\n\r\n")
            with weir.client() as client:
                client.send(head + b"\r\n\r\n" + b"a\r\n" + body[:10] + b"\r\n%x\r\n" % len(body[10:]) + body[10:] + b"\r\n0\r\n\r\n")
                check_replay(client.read_response(), first)


def test_stripe_says_it_in_stripes_words():
    with Embedded() as store, Processor() as processor, paying(store, processor, profile="stripe") as weir:
        check_equal(pay(weir, "order-1").status, 200)
        answer = pay(weir, "order-1", amount=1)
        check_own(answer, 400, "key_reused", "not_sent", "no", "stripe")
        check_equal(json.loads(answer.body)["error"]["type"], "idempotency_error")
        with case("an account is part of the request"):
            answer = pay(weir, "order-1", headers=["Stripe-Account: acct_2"])
            check_equal((answer.status, answer.weir_reason), (400, "key_reused"))
        with case("a version of the API is not"):
            check_equal(pay(weir, "order-1", headers=["Stripe-Version: 2030-01-01"]).outcome, "replayed")
    with Embedded() as store, Processor() as processor, case("a route to it has records without being asked"):
        with Weir(processor, acme={"profile": "stripe"}, store=store.section()) as weir:
            check_equal([pay(weir, "order-1").outcome for _ in range(2)], ["answered", "replayed"])


@on_each_store
def test_the_same_key_of_another_tenant_is_another_key(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        tenants = ("sk_live_a", "sk_live_b", "sk_live_a ", "SK_LIVE_A")
        answers = {}
        for tenant in tenants[:2]:
            answers[tenant] = pay(weir, "order-1", tenant=tenant)
            check_equal(answers[tenant].outcome, "answered")
        check(json.loads(answers["sk_live_a"].body)["tenant"] != json.loads(answers["sk_live_b"].body)["tenant"], "tenants")
        for tenant in tenants[:2]:
            check_replay(pay(weir, "order-1", tenant=tenant), answers[tenant])
        check_equal(pay(weir, "order-1", tenant="SK_LIVE_A").outcome, "answered", "credentials are told apart by case")
        check_equal(executions(sandbox, "order-1"), 3)
        with case("another tenant's other body is no mismatch"):
            check_equal(pay(weir, "order-1", amount=9, tenant="sk_live_d").outcome, "answered")
        with case("and its question finds nothing"):
            check_equal(outcome(weir, "order-1", tenant="sk_live_c")["state"], "none")
            check_equal(outcome(weir, "order-1", tenant="sk_live_a")["state"], "done")


def test_a_known_tenant_keeps_its_keys_when_its_credential_changes():
    import hashlib
    import os
    with Embedded() as store, Sandbox(dedup=KEY_FIELD) as sandbox:
        path = os.path.join(store.folder, "tenants")
        with open(path, "w") as file:
            for credential in ("sk_old", "sk_new"):
                file.write(f"sha256:{hashlib.sha256(credential.encode()).hexdigest()} shop-1 gold\n")
            file.write(f"sha256:{hashlib.sha256(b'sk_two').hexdigest()} shop-2 gold\n")
        sections = {"tenants": {"known_file": path}}
        with paying(store, sandbox, sections=sections) as weir:
            first = pay(weir, "order-1", tenant="sk_old")
            check_replay(pay(weir, "order-1", tenant="sk_new"), first)
            check_equal(pay(weir, "order-1", tenant="sk_two").outcome, "answered")
            check_equal(executions(sandbox, "order-1"), 2)
        sections["tenants"]["unknown"] = "refuse"
        with paying(store, sandbox, sections=sections) as weir, case("strangers are refused, also those who only ask"):
            check_replay(pay(weir, "order-1", tenant="sk_new"), first)
            check_own(pay(weir, "order-2", tenant="sk_stranger"), 401, "unknown_tenant", "not_sent", "no")
            check_equal(weir.ask("GET", "/.well-known/weir/outcome", headers_of("order-1", "sk_stranger")).status, 401)


def test_two_spellings_are_one_key_and_what_has_two_readings_is_none():
    with Embedded() as store, Processor() as processor, paying(store, processor) as weir:
        spellings = (("order-1", '"order-1"', '"order-1";v=1', '"order-\\1"'.replace("\\1", "1"), "  order-1  "),
                     ('"a\\"b\\\\"',), ('"with space"',), ("x" * 255, '"' + "x" * 255 + '"'))
        for group in spellings:
            with case(f"{group[0][:20]}"):
                count = len(processor.requests())
                first = pay(weir, group[0])
                check_equal(first.outcome, "answered")
                for spelling in group:
                    check_replay(pay(weir, spelling), first)
                seen = processor.requests()[count:]
                check_equal(len(seen), 1)
        with case("the processor gets the bare key"):
            pay(weir, '"quoted-2"')
            check_equal(processor.requests()[-1].header("Idempotency-Key"), "quoted-2")
        malformed = ["", '""', "two words", "x" * 256, '"' + "x" * 256 + '"', '"open', '"a"b"', '"a" b', "a, b",
                     "a\tb", '"a\\n"', '" a"', '"a "']
        before = len(processor.requests())
        for key in malformed:
            with case(f"refused: {key[:12]!r}"):
                answer = pay(weir, key)
                check_own(answer, 400, "key_malformed", "not_sent", "no")
                check(json.loads(answer.body).get("detail"), "says what is wrong")
        for key, more in (("caf\u00e9", []), ("order-1", ["Idempotency-Key: order-1"]), ("order-1", ["idempotency-key: other"])):
            with case(f"no head with one reading: {key!r}, {more}"):
                answer = pay(weir, key, headers=more)
                check_equal((answer.status, answer.outcome, answer.retry), (400, "not_sent", "no"))
        check_equal(len(processor.requests()), before, "nothing of them was sent")
        for line in weir.access_lines():
            check("order-1" not in json.dumps(line), "a key in the log")


def test_a_key_may_be_required():
    with Embedded() as store, Processor() as processor:
        with paying(store, processor, required=True) as weir:
            check_own(pay(weir, None), 400, "key_missing", "not_sent", "no")
            check_equal(processor.requests(), [])
            check_equal(pay(weir, "order-1").status, 200)
            check_equal(weir.ask("GET", "/v1/payments/1").status, 200)
        with paying(store, processor) as weir, case("and else is not: then nothing is remembered"):
            processor.forget()
            for _ in range(2):
                check_equal(pay(weir, None).outcome, "answered")
            check_equal(len(processor.requests()), 2)


def test_methods_that_carry_no_key_pass():
    with Embedded() as store, Processor() as processor, paying(store, processor) as weir:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
            with case(method):
                processor.forget()
                for _ in range(2):
                    answer = weir.ask(method, "/v1/payments/1", headers_of("order-1"), b"{}" if method == "PUT" else None)
                    check_equal((answer.status, answer.outcome, answer.header("Idempotent-Replayed")), (200, "answered", None))
                check_equal([seen.header("Idempotency-Key") for seen in processor.requests()], ["order-1"] * 2)
        for method in ("POST", "PATCH"):
            with case(f"{method} does"):
                processor.forget()
                check_equal([pay(weir, method, method=method).outcome for _ in range(2)], ["answered", "replayed"])
                check_equal(len(processor.requests()), 1)
    with Embedded() as store, Processor() as processor:
        sections = {"profiles": {"house": {"methods": ["POST", "PATCH", "PUT", "DELETE"]}}}
        with paying(store, processor, sections=sections) as weir:
            for method in ("PUT", "DELETE"):
                with case(f"{method} where the profile says so"):
                    told = [weir.ask(method, "/v1/payments/1", headers_of(method), body_of() if method == "PUT" else None)
                            for _ in range(2)]
                    check_equal([answer.outcome for answer in told], ["answered", "replayed"])


@on_each_store
def test_duplicates_wait_for_the_first(store):
    with Processor() as processor, paying(store, processor, wait="10s", acme={"timeouts": {"response": "9s"}}) as weir:
        with case("one execution, all get its answer"):
            hold = Hold()
            processor.answer(hold)
            first = Asker(lambda: pay(weir, "order-1"))
            hold.wait()
            others = [Asker(lambda: pay(weir, "order-1")) for _ in range(5)]
            wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 6, what="six in flight")
            with case("another body is refused at once"):
                check_equal(pay(weir, "order-1", amount=1).weir_reason, "key_reused")
            hold.release()
            check_equal(first.result().outcome, "answered")
            for other in others:
                check_replay(other.result(), first.answer)
            check_equal(len(processor.requests()), 1)
        with case("when the first is refused by the processor, the next one is sent, and only one"):
            processor.forget()
            hold = Hold(response(429, [], b"slow down", "X"))
            processor.answer(hold)
            first = Asker(lambda: pay(weir, "order-2"))
            hold.wait()
            others = [Asker(lambda: pay(weir, "order-2")) for _ in range(3)]
            wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 4, what="four in flight")
            hold.release()
            check_equal((first.result().status, first.answer.outcome), (429, "answered"))
            told = sorted(other.result().outcome for other in others)
            check_equal(told, ["answered", "replayed", "replayed"])
            check_equal(len(processor.requests()), 2)
        with case("a duplicate that leaves does not disturb"):
            processor.forget()
            hold = Hold()
            processor.answer(hold)
            first = Asker(lambda: pay(weir, "order-3"))
            hold.wait()
            with weir.client() as leaving:
                leaving.send(request_of("order-3"))
                wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 2, what="two in flight")
                leaving.reset()
            wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 1, what="one in flight")
            hold.release()
            check_equal(first.result().outcome, "answered")
            check_equal(len(processor.requests()), 1)


def test_a_duplicate_does_not_wait_for_ever():
    with Embedded() as store, Processor() as processor, paying(store, processor, wait="200ms",
                                                               acme={"timeouts": {"response": "9s"}}) as weir:
        hold = Hold()
        processor.answer(hold)
        first = Asker(lambda: pay(weir, "order-1"))
        hold.wait()
        answer = pay(weir, "order-1")
        check_own(answer, 409, "key_in_progress", "unknown", "same_key")
        check(int(answer.header("Retry-After")) >= 1, "Retry-After")
        with case("and the question without sending says the same"):
            told = outcome(weir, "order-1")
            check_equal((told["state"], told["processor"], told["retry"]), ("in_progress", "acme", "same_key"))
        hold.release()
        check_equal(first.result().status, 200)
        check_replay(pay(weir, "order-1"), first.answer)
        check_equal(len(processor.requests()), 1)


def test_no_more_than_32_wait_for_one_key():
    with Embedded() as store, Processor() as processor, paying(store, processor, wait="30s", acme={"timeouts": {
            "response": "25s", "total": "40s"}}) as weir:
        hold = Hold()
        processor.answer(hold)
        first = Asker(lambda: pay(weir, "order-1", timeout_s=30))
        hold.wait()
        waiting = [Asker(lambda: pay(weir, "order-1", timeout_s=30)) for _ in range(32)]
        wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 33, what="33 in flight")
        for _ in range(2):
            check_own(pay(weir, "order-1"), 409, "key_in_progress", "unknown", "same_key")
        with case("another key is not held up"):
            check_equal(pay(weir, "order-2").outcome, "answered")
        hold.release()
        check_equal(first.result().outcome, "answered")
        check_equal({other.result().outcome for other in waiting}, {"replayed"})


@on_each_store
def test_a_refusal_before_anything_was_done_frees_the_key(store):
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        for status in (401, 403, 429):
            with case(f"{status}"):
                key = f"order-{status}"
                answer = pay(weir, key, fault=f"status-before={status}")
                check_equal((answer.status, answer.outcome), (status, "answered"))
                check_equal(wait_state(weir, key, "none")["state"], "none")
                answer = pay(weir, key, amount=77)  # the key is free: for any request
                check_equal((answer.status, answer.outcome), (200, "answered"))
                check_equal(executions(sandbox, key), 1)
        check_equal([event for event in weir.events() if event["event"] in ("unknown", "resolved")], [])


@on_each_store
def test_what_was_never_sent_leaves_the_key_free(store):
    import socket
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{nobody.getsockname()[1]}"
        with paying(store, authority) as weir:
            for _ in range(2):
                check_own(pay(weir, "order-1"), 502, "connect_failed", "not_sent", "same_key")
                wait_state(weir, "order-1", "none")
        nobody.listen(8)
        with paying(store, authority) as weir:  # it answers nothing, but something was sent
            check_own(pay(weir, "order-1", amount=5), 504, "response_timeout", "unknown", "same_key")
            check_equal(outcome(weir, "order-1")["state"], "unknown")


@on_each_store
def test_a_client_that_leaves_does_not_take_the_answer_with_it(store):
    with Processor() as processor, paying(store, processor, acme={"timeouts": {"response": "9s"}}) as weir:
        for how in ("reset", "half_close"):
            with case(how):
                processor.forget()
                hold = Hold()
                processor.answer(hold)
                with weir.client() as client:
                    client.send(request_of(f"order-{how}"))
                    hold.wait()
                    getattr(client, how)()
                    if how == "reset":
                        weir.wait_metric("weir_clients", 0, listener="public")
                    hold.release()
                    if how == "half_close":
                        check_equal(client.read_response().outcome, "answered")
                wait_state(weir, f"order-{how}", "done")
                check_equal(pay(weir, f"order-{how}").outcome, "replayed")
                check_equal(len(processor.requests()), 1)
        line = weir.wait_for_access({"weir.reason": "client_gone"})
        check_equal((line["http.response.status_code"], line["weir.outcome"]), (499, "answered"))
    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir, case("at every byte of its request and after it"):
        raw = request_of("cut")
        for at in list(range(0, len(raw), 7)) + [len(raw)]:
            with weir.client() as client:
                client.send(raw[:at])
                client.reset()
        answer = pay(weir, "cut")
        check_equal(answer.status, 200)
        check(executions(sandbox, "cut") == 1, f"{executions(sandbox, 'cut')} executions")


def test_the_key_that_the_processor_sees():
    with Embedded() as store, Processor() as processor:
        with paying(store, processor, upstream_key="derived") as weir:
            for tenant in ("sk_a", "sk_b"):
                for key in ("order-1", '"order-1"', "order-2"):
                    pay(weir, key, tenant=tenant)
            sent = [seen.header("Idempotency-Key") for seen in processor.requests()]
            check_equal(len(sent), 4)
            check_equal(len(set(sent)), 4, "by tenant and by key")
            for key in sent:
                check(re.fullmatch(UUID_V8, key), key)
        with case("a retry after an unknown derives the same"):
            processor.forget()
            with paying(store, processor, upstream_key="derived") as weir:
                processor.answer("close", "close")  # weir itself asks once more
                check_equal(pay(weir, "order-3").outcome, "unknown")
                check_equal(pay(weir, "order-3").outcome, "answered")
                sent = [seen.header("Idempotency-Key") for seen in processor.requests()]
                check(len(sent) == 3 and len(set(sent)) == 1, f"{sent}")
    with Embedded() as store, Processor() as processor, case("derived where the tenant is not what the processor sees"):
        with paying(store, processor, sections={"tenants": {"by": "header:X-Tenant"}}) as weir:
            pay(weir, "order-1")
            check(re.fullmatch(UUID_V8, processor.requests()[0].header("Idempotency-Key")), f"{processor.requests()}")


def ask_square(weir, body, headers=()):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return weir.ask("POST", "/v2/payments", ["Authorization: Bearer EAAA", "Content-Type: application/json", *headers], raw)


def test_a_key_in_json():
    payment = {"source_id": "cnon:card-nonce-ok", "idempotency_key": "order-1", "amount_money": {"amount": 4200, "currency": "USD"}}
    with Embedded() as store, Processor() as processor, paying(store, processor, profile="square") as weir:
        first = ask_square(weir, payment)
        check_equal((first.status, first.outcome), (200, "answered"))
        check_replay(ask_square(weir, payment), first)
        check_equal(processor.requests()[0].body, json.dumps(payment).encode(), "goes on as it came")
        check_equal(processor.requests()[0].header("Idempotency-Key"), None)
        with case("another body"):
            answer = ask_square(weir, {**payment, "amount_money": {"amount": 1, "currency": "USD"}})
            check_equal((answer.status, answer.weir_reason), (422, "key_reused"))
            check(json.loads(answer.body)["errors"][0]["category"], "square's errors")
        for name, body in {
                "named twice": b'{"idempotency_key": "a", "idempotency_key": "b"}',
                "named twice, deep inside": b'{"idempotency_key": "a", "x": {"y": 1, "y": 2}}',
                "named twice, escaped": b'{"idempotency_key": "a", "idempotency\\u005fkey": "b"}',
                "no JSON": b"idempotency_key=a", "cut short": b'{"idempotency_key": "a"', "no string": b'{"idempotency_key": 7}',
                "empty": b'{"idempotency_key": ""}', "too long": json.dumps({"idempotency_key": "x" * 256}).encode(),
                "a NUL": b'{"idempotency_key": "a\\u0000b"}', "nested too deeply": b'{"idempotency_key":"a","x":' + b"[" * 500 +
                b"]" * 500 + b"}"}.items():
            with case(f"refused: {name}"):
                check_own_square(ask_square(weir, body))
        with case("a header beside it must say the same"):
            check_own_square(ask_square(weir, payment, ["Idempotency-Key: other"]))
            check_replay(ask_square(weir, payment, ["Idempotency-Key: order-1"]), first)
        with case("a body without one passes"):
            check_equal([ask_square(weir, {"source_id": "x"}).outcome for _ in range(2)], ["answered"] * 2)
        check_equal(len(processor.requests()), 3)
        with case("and is asked for by header"):
            told = outcome(weir, "order-1", tenant="EAAA")
            check_equal((told["state"], told["status"]), ("done", 200))


def check_own_square(answer):
    check_equal((answer.status, answer.weir_reason, answer.outcome, answer.retry), (400, "key_malformed", "not_sent", "no"))


@on_each_store
def test_what_weir_says_of_a_key(store):
    def ask(weir, key, tenant="sk_test_1", method="GET"):
        return weir.ask(method, "/.well-known/weir/outcome", headers_of(key, tenant))

    with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        with case("none"):
            answer = ask(weir, "order-1")
            check_equal((answer.status, answer.header("Cache-Control"), answer.header("Content-Type")),
                        (200, "no-store", "application/json"))
            check_equal(json.loads(answer.body), {"state": "none", "since": None, "processor": None, "status": None,
                                                  "retry": "same_key"})
        with case("done"):
            pay(weir, "order-1")
            told = outcome(weir, "order-1")
            check_equal((told["state"], told["processor"], told["status"], told["retry"]), ("done", "acme", 200, "same_key"))
            check(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", told["since"]), told["since"])
        with case("unknown: the key finds the truth"):
            pay(weir, "order-2", fault="hang")
            told = outcome(weir, "order-2")
            check_equal((told["state"], told["processor"], told["status"], told["retry"]),
                        ("unknown", "acme", None, "same_key"))
        with case("in either spelling"):
            check_equal(outcome(weir, '"order-1"')["state"], "done")
        with case("HEAD"):
            answer = ask(weir, "order-1", method="HEAD")
            check_equal((answer.status, answer.body), (200, b""))
        with case("without a key, with a bad one, with two"):
            check_equal(ask(weir, None).weir_reason, "key_missing")
            check_equal(ask(weir, "two words").weir_reason, "key_malformed")
            answer = weir.ask("GET", "/.well-known/weir/outcome", headers_of("order-1", headers=["Idempotency-Key: order-2"]))
            check_equal((answer.status, answer.outcome), (400, "not_sent"))
        with case("POST is not a question: it goes to the processor"):
            check_equal(ask(weir, None, method="POST").status, 404)
        check_equal(keys_seen(sandbox), ["order-1", "order-2", None])
    with Processor() as processor, Weir(processor) as weir, case("a weir without records sends it on"):
        check_equal(json.loads(ask(weir, "order-1").body)["target"], "/.well-known/weir/outcome")


def test_a_streamed_route_has_no_records():
    with Embedded() as store, Processor() as processor:
        with Weir(processor, acme={"profile": "stripe"}, store=store.section(),
                  routes=[{"name": "upload", "match": {"path": "/files"}, "to": "acme", "stream": "request"},
                          {"name": "rest", "match": {"path": "/*"}, "to": "acme"}]) as weir:
            for _ in range(2):
                check_equal(pay(weir, "order-1", path="/files").outcome, "answered")
            check_equal(len(processor.requests()), 2)
            check_equal([pay(weir, "order-1").outcome for _ in range(2)], ["answered", "replayed"])


def test_keys_on_a_connection_that_stays():
    """Pipelined and kept alive: each request is its own."""
    with Embedded() as store, Processor() as processor, paying(store, processor) as weir, weir.client() as client:
        client.send(b"".join(request_of(key) for key in ("a", "b", "a", "b", "a")))
        answers = [client.read_response() for _ in range(5)]
        check_equal([answer.outcome for answer in answers], ["answered", "answered", "replayed", "replayed", "replayed"])
        check_equal(answers[2].body, answers[0].body)
        check_equal(answers[3].body, answers[1].body)
        client.check_open()
        client.send(request_of("a"))
        check_replay(client.read_response(), answers[0])
        try:
            client.close()
        except Closed:
            pass
