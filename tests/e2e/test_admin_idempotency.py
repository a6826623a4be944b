"""What operators see of payments whose outcome nobody knows, what they may say of them, and the store of a process: when it
is opened, what a reload may change of it, and how it is closed."""

import getpass
import datetime
import json
import os
import re

from harness import case, check, check_equal, wait_until
from harness import http
from harness.payments import KEY_FIELD, Embedded, Shared, executions, keys_seen, on_each_store, pay, paying, wait_state, \
    write_secret
from harness.ports import free_port
from harness.processor import Hold, Processor, Sandbox
from harness.weir import Weir

RECORD = r"[0-9a-f]{3}x[0-9a-f]{12}"
SINGLE = {"mode": "single_shot"}


def unknowns(weir, *options):
    return json.loads(weir.verb("idempotency", "list", "--unknown", "--json", *options, expected=0)[1])["records"]


def make_unknown(weir, processor, key):
    """A payment that was sent and never answered. Returns its record."""
    processor.answer("reset")
    answer = pay(weir, key)
    check_equal((answer.status, answer.outcome), (502, "unknown"))
    record = weir.wait_for_access({"request_id": answer.header("Weir-Request-Id")})["weir.record"]
    wait_state(weir, key, "unknown")
    return record


def check_same(got, row):
    """Redis says in whole milliseconds how long a key stays: its end may be one more or less each time that it is asked."""
    check_equal({**got, "expires": None}, {**row, "expires": None})
    ends = [datetime.datetime.fromisoformat(each["expires"].replace("Z", "+00:00")) for each in (got, row)]
    check(abs((ends[0] - ends[1]).total_seconds()) < 1, f"{got} and {row}")


@on_each_store
def test_an_unknown_payment_is_listed_shown_found_and_resolved(store):
    with Processor() as processor, paying(store, processor, **SINGLE) as weir:
        with case("nothing is unknown"):
            check("no record is unknown" in weir.verb("idempotency", "list", "--unknown", expected=0)[1], "the words")
            check_equal(unknowns(weir), [])
        check_equal(pay(weir, "fine").status, 200)
        record = make_unknown(weir, processor, "lost")
        check(re.fullmatch(RECORD, record), record)
        (row,) = unknowns(weir)
        with case("the list"):
            check_equal((row["record"], row["state"], row["processor"], row["status"]), (record, "unknown", "acme", 0))
            check(row["name"].startswith(record), row["name"])
            check(row["begun"] <= row["unknown_since"], f"{row}")
            check(record in weir.verb("idempotency", "list", "--unknown", expected=0)[1], "the table")
        with case("by its name"):
            out = weir.verb("idempotency", "show", record, expected=0)[1]
            check(row["request_id"] in out and f"weir idempotency resolve {record}" in out, out)
            check_same(json.loads(weir.verb("idempotency", "show", row["name"], "--json", expected=0)[1])["record"], row)
        with case("by its request"):
            found = json.loads(weir.verb("idempotency", "find", "--request-id", row["request_id"], "--json", expected=0)[1])
            check_same(found["record"], row)
        with case("a done one too, which is not in the list"):
            line = weir.wait_for_access({"weir.outcome": "answered"})
            done = json.loads(weir.verb("idempotency", "find", "--request-id", line["request_id"], "--json", expected=0)[1])
            check_equal((done["record"]["state"], done["record"]["status"]), ("done", 200))
            check_equal(done["record"]["record"], line["weir.record"])
        with case("what is told holds no key and no credential"):
            told = weir.verb("idempotency", "show", record, "--json", expected=0)[1]
            check("lost" not in told and "sk_test" not in told, told)
        with case("it is refused for as long as nobody knows"):
            answer = pay(weir, "lost")
            check_equal((answer.status, answer.weir_reason), (409, "outcome_unknown"))
        with case("resolved as executed"):
            out = weir.verb("idempotency", "resolve", record, "--executed", "--why", "it's in the dashboard, 100%", expected=0)[1]
            check("resolved as executed" in out, out)
            event = weir.wait_event("idempotency_resolved_by_operator")
            check_equal((event["record"], event["executed"], event["why"], event["result"], event["audit"]),
                        (record, "yes", "it's in the dashboard, 100%", "done", True))
            check(event["actor"].startswith(f"uid {os.getuid()} ({getpass.getuser()}), pid "), event["actor"])
            check_equal(weir.wait_event("resolved")["how"], "operator")
            check_equal(unknowns(weir), [])
            weir.wait_metric("weir_idempotency_unresolved", 0)
        with case("and never a new payment"):
            answer = pay(weir, "lost")
            check_equal((answer.status, answer.weir_reason), (409, "outcome_unknown"))
            check("an operator found that it was executed" in json.loads(answer.body)["detail"], f"{answer.body}")
            check_equal([seen.header("Idempotency-Key") for seen in processor.requests()], ["fine", "lost"])


@on_each_store
def test_a_payment_that_was_not_executed_is_sent_again_under_the_same_key(store):
    with Processor() as processor, paying(store, processor, upstream_key="derived", **SINGLE) as weir:
        record = make_unknown(weir, processor, "lost")
        out = weir.verb("idempotency", "resolve", record, "--not-executed", "--why", "the processor has no trace of it", expected=0)[1]
        check("its key is free" in out, out)
        check_equal(weir.wait_event("idempotency_resolved_by_operator")["executed"], "no")
        check_equal(weir.wait_event("resolved")["record"], record)
        check_equal(weir.verb("idempotency", "show", record)[0], 1, "there is no record any more")
        check_equal(pay(weir, "lost").status, 200)
        first, second = (seen.header("Idempotency-Key") for seen in processor.requests())
        check_equal(first, second, "the processor would know it")


@on_each_store
def test_what_cannot_be_resolved(store):
    with Processor() as processor, paying(store, processor, acme={"timeouts": {"response": "20s", "total": "30s"}}) as weir:
        def resolve(record, *options):
            return weir.verb("idempotency", "resolve", record, *(options or ("--executed", "--why", "because")))
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client, case("what is in flight"):
            client.send(http.request("POST", "/v1/payments", ["Idempotency-Key: slow"], b"{}"))
            hold.wait()
            (row,) = json.loads(weir.verb("idempotency", "list", "--json", expected=0)[1])["records"]
            check_equal((row["state"], row["unknown_since"]), ("in_progress", None))
            check_equal(unknowns(weir), [])
            code, out, error = resolve(row["record"])
            check_equal(code, 1)
            check("is in flight" in error, error)
            hold.release()
            check_equal(client.read_response().outcome, "answered")
        with case("what is done"):
            code, out, error = resolve(row["record"])
            check_equal(code, 1)
            check("the processor answered it with 200" in error, error)
        with case("what is not there"):
            code, out, error = resolve("1a3x9f2c44d0e1b7")
            check_equal(code, 1)
            check("there is no record 1a3x9f2c44d0e1b7" in error, error)
        with case("what is no name"):
            code, out, error = resolve("order-1001")
            check_equal(code, 1)
            check("is not a record" in error, error)
        with case("without a reason, without an outcome"):
            check_equal(resolve("1a3x9f2c44d0e1b7", "--executed")[0], 64)
            check_equal(resolve("1a3x9f2c44d0e1b7", "--why", "x")[0], 64)
            answer = http.ask(weir.admin_path, "POST", "/api/v1/idempotency/resolve?record=1a3x9f2c44d0e1b7&executed=true",
                              body=b"", host="localhost")
            check_equal((answer.status, json.loads(answer.body)["ok"]), (400, False))
        with case("by looking"):
            answer = http.ask(weir.admin_path, "GET",
                              f"/api/v1/idempotency/resolve?record={row['record']}&executed=true&why=x", host="localhost")
            check_equal(answer.status, 405)
        with case("the request of a retry"):
            answer = pay(weir, "slow")
            code, out, error = weir.verb("idempotency", "find", "--request-id", "0" * 32)
            check_equal(code, 1)
            check("weir.record" in error, error)
        check_equal([event for event in weir.events() if event["event"] == "idempotency_resolved_by_operator"], [])


@on_each_store
def test_status_and_metrics_tell_of_the_store(store):
    with Processor() as processor, paying(store, processor, **SINGLE) as weir:
        make_unknown(weir, processor, "lost")
        with case("status"):
            status = json.loads(weir.verb("status", "--json", expected=0)[1])["store"]
            check_equal((status["type"], status["up"], status["trouble"], status["durable"], status["unknown"]),
                        (store.kind, True, None, True, 1))
            check(status["oldest_unknown"] is not None, f"{status}")
            out = weir.verb("status", expected=0)[1]
            check(f"{store.kind}, up" in out and "1, the oldest for" in out, out)
        with case("metrics"):
            check_equal(weir.metric("weir_store_up"), 1)
            check_equal(weir.metric("weir_store_durable"), 1)
            check_equal(weir.metric("weir_idempotency_unresolved"), 1)
            wait_until(lambda: weir.metric("weir_idempotency_oldest_unknown_seconds") > 0, what="an age")
        with case("the dump of USR2"):
            weir.signal(12)
            check_equal(weir.wait_event("state_store")["unknown"], 1)
        with case("nothing was lost, so there is nothing to accept"):
            out = weir.verb("idempotency", "accept-loss", "--why", "only looking", expected=0)[1]
            check("single_shot routes may use the store" in out, out)
            event = weir.wait_event("store_loss_accepted_by_operator")
            check_equal((event["why"], event["accepted"], event["audit"]), ("only looking", "nothing", True))


def test_lost_writes_stop_single_shot_until_they_are_accepted():
    with Shared() as store, Processor() as processor, paying(store, processor, **SINGLE) as weir:
        check_equal(pay(weir, "before").status, 200)
        store.redis.command("FLUSHALL")
        store.redis.command("CLIENT", "KILL", "TYPE", "normal")  # it is looked for after a reconnect
        weir.wait_metric("weir_store_trouble", 1, kind="loss")
        answer = pay(weir, "after")
        check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "store_down", "not_sent"))
        check("single_shot refused" in weir.verb("status", expected=0)[1], "status")
        weir.verb("idempotency", "accept-loss", "--why", "nobody retries any more", expected=0)
        event = weir.wait_event("store_loss_accepted_by_operator")
        check_equal(event["not_durable"], None)
        check(event["accepted"] != "nothing", event["accepted"])
        check_equal(weir.metric("weir_store_trouble", kind="loss"), 0)
        check_equal(pay(weir, "after").status, 200)


# ---- readiness ----

def statuses_of_readyz(weir):
    """Asks until it is ready; what it said on the way."""
    said = []

    def ready():
        weir.check_alive()
        try:
            answer = weir.ask_monitor("/readyz")
        except OSError:
            return False
        said.append((answer.status, answer.body.decode()))
        return answer.status == 200
    wait_until(ready, 20, "readiness")
    return said


def without_redis(store):
    """The section of a store where nobody listens yet, and its port."""
    port = free_port()
    return {**store.section(), "servers": [f"redis://127.0.0.1:{port}"]}, port


def test_a_weir_without_its_store_becomes_ready_after_a_while_and_refuses_keys():
    with Shared() as store, Processor() as processor:
        section, _ = without_redis(store)
        with paying(store, processor, sections={"store": section}, route={"idempotency": {"required": True}}) as weir:
            with case("ready, since waiting longer would not help"):
                check_equal(weir.ask_monitor("/readyz").status, 200)
                check_equal(json.loads(weir.verb("status", "--json", expected=0)[1])["store"]["up"], False)
                check("DOWN" in weir.verb("status", expected=0)[1], "status")
                check_equal(weir.metric("weir_store_up"), 0)
            answer = pay(weir, "order-1")
            check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "store_down", "not_sent"))
            check_equal(weir.ask("GET", "/x").status, 200, "what has no key goes on")
            with case("an operator is told so, too"):
                code, out, error = weir.verb("idempotency", "list", "--unknown")
                check_equal(code, 1)
                check("store" in error, error)


def test_readiness_waits_for_the_store_and_no_longer():
    with Shared() as store, Processor() as processor:
        section, _ = without_redis(store)
        weir = paying_unready(store, processor, section)
        try:
            said = statuses_of_readyz(weir)
            check((503, "not ready: waiting for the store\n") in said, f"{said}")
        finally:
            weir.kill()


def paying_unready(store, processor, section):
    """As paying(), without waiting until it is ready."""
    return Weir(processor, acme={"profile": "stripe"}, routes=[{"name": "pay", "match": {"path": "/*"}, "to": "acme"}],
                store=section, wait=False)


@on_each_store
def test_a_store_that_answers_makes_ready_and_never_unready(store):
    with Processor() as processor, paying(store, processor) as weir:
        check_equal(weir.ask_monitor("/readyz").status, 200)
        if store.kind != "redis":
            return
        store.redis.kill()
        weir.wait_metric("weir_store_up", 0)
        check_equal(weir.ask_monitor("/readyz").status, 200)


# ---- reload ----

def test_the_first_need_opens_the_store_at_a_reload():
    with Embedded() as store, Sandbox(dedup=KEY_FIELD) as sandbox:
        with Weir(sandbox, acme={"profile": "stripe"}, store=store.section(),
                  routes=[{"name": "pay", "match": {"path": "/*"}, "to": "acme", "idempotency": "off"}]) as weir:
            with case("there is none"):
                check_equal(json.loads(weir.verb("status", "--json", expected=0)[1])["store"], None)
                code, out, error = weir.verb("idempotency", "list", "--unknown")
                check_equal(code, 1)
                check("no route has idempotency" in error, error)
                check("weir_store_up" not in weir.metrics(), "no metric of a store that is not there")
                check(not os.path.exists(store.section()["path"]), "no files")
            weir.change(routes=[{"name": "pay", "match": {"path": "/*"}, "to": "acme"}])
            weir.reload()
            check_equal(weir.ask_monitor("/readyz").status, 200, "it was ready, and stays so")
            check_equal(pay(weir, "order-1").outcome, "answered")
            check_equal(pay(weir, "order-1").outcome, "replayed")
            check_equal(weir.metric("weir_store_up"), 1)
            with case("and it stays when nobody needs it any more"):
                weir.change(routes=[{"name": "pay", "match": {"path": "/*"}, "to": "acme", "idempotency": "off"}])
                weir.reload()
                check_equal(pay(weir, "order-1").outcome, "answered")
                weir.change(routes=[{"name": "pay", "match": {"path": "/*"}, "to": "acme"}])
                weir.reload()
                check_equal(pay(weir, "order-1").outcome, "replayed")
            check_equal(executions(sandbox, "order-1"), 1)


def lines_of(path):
    with open(path) as file:
        return dict(line.split() for line in file if line.strip() and not line.startswith("#"))


def rewrite(path, keys):
    with open(path, "w") as file:
        file.writelines(f"{name} {key}\n" for name, key in keys.items())


@on_each_store
def test_a_secret_may_get_seals_and_nothing_else(store):
    with Processor() as processor, paying(store, processor) as weir:
        path = store.section()["secret_file"]
        check_equal(pay(weir, "order-1").outcome, "answered")
        old, other_path = lines_of(path), os.path.join(os.path.dirname(path), "other")
        write_secret(other_path)
        other = lines_of(other_path)
        for name in ("index", "fingerprint"):
            with case(f"another {name}"):
                rewrite(path, {**old, name: other[name]})
                out = weir.reload(expected=1)
                check("only seals may change" in out and "generation 1 stays active" in out, out)
                check_equal(pay(weir, "order-1").outcome, "replayed")
        with case("a second seal"):
            rewrite(path, {**old, "seal.2": other["seal.1"]})
            check("generation 2 active" in weir.reload(), "the reload")
            check_equal(pay(weir, "order-1").outcome, "replayed")
            check_equal(pay(weir, "order-2").outcome, "answered")
        with case("what the first one sealed cannot be opened without it"):
            rewrite(path, {"index": old["index"], "fingerprint": old["fingerprint"], "seal.2": other["seal.1"]})
            weir.reload()
            check_equal(pay(weir, "order-2").outcome, "replayed")
            answer = pay(weir, "order-1")
            check_equal((answer.status, answer.weir_reason), (409, "outcome_unknown"))
        processor.check_only(2)


def test_another_store_waits_for_a_restart():
    with Embedded() as store, Processor() as processor, paying(store, processor) as weir:
        check_equal(pay(weir, "order-1").outcome, "answered")
        section = {**store.section(), "path": store.section()["path"] + "-2"}
        weir.change(store=section)
        out = weir.reload()
        check("store changes at the next start" in out, out)
        check_equal(pay(weir, "order-1").outcome, "replayed")
        check(not os.path.exists(section["path"]), "it was not opened")


# ---- the end, and what comes after it ----

def test_what_was_answered_is_replayed_by_the_next_process():
    with Embedded() as store, Sandbox(dedup=KEY_FIELD) as sandbox:
        with paying(store, sandbox) as weir:
            check_equal(pay(weir, "order-1").outcome, "answered")
            weir.term()
            check_equal(weir.wait(20), 0)
        with paying(store, sandbox) as weir:
            check_equal(pay(weir, "order-1").outcome, "replayed")
        check_equal(keys_seen(sandbox), ["order-1"])


def test_one_store_is_one_weirs():
    with Embedded() as store, Processor() as processor, paying(store, processor) as weir:
        second = Weir(processor, acme={"profile": "stripe"}, store=store.section(), wait=False)
        try:
            check_equal(second.wait(20), 1)
            check("store: " in second.error_text(), second.error_text())
        finally:
            second.kill()
        check_equal(pay(weir, "order-1").status, 200)


@on_each_store
def test_a_stop_under_load_leaves_nothing_open(store):
    """A second TERM cuts what is sent: its record says unknown at once, and the next process says the same."""
    with Processor() as processor, paying(store, processor, acme={"timeouts": {"response": "20s", "total": "30s"}},
                                          **SINGLE) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(http.request("POST", "/v1/payments", ["Idempotency-Key: cut"], b"{}"))
            hold.wait()
            weir.term()
            weir.wait_event("draining")
            weir.term()
            check_equal(client.read_response().outcome, "unknown")
            check_equal(weir.wait(20), 0)
        check_equal(len([event for event in weir.events() if event["event"] == "unknown"]), 1)
        with paying(store, processor, **SINGLE) as weir:
            wait_until(lambda: len(unknowns(weir)) == 1, what="the record in the list")
            answer = http.ask(weir.address, "POST", "/v1/payments", ["Idempotency-Key: cut"], b"{}")
            check_equal((answer.status, answer.weir_reason), (409, "outcome_unknown"))
        hold.release()


def test_a_stop_does_not_wait_for_a_store_that_is_gone():
    with Shared() as store, Processor() as processor, paying(store, processor) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(http.request("POST", "/v1/payments", ["Idempotency-Key: late"], b"{}"))
            hold.wait()
            store.redis.kill()
            hold.release()
            check_equal(client.read_response().status, 200, "the truth is worth more than its record")
        check_equal(json.loads(weir.verb("status", "--json", expected=0)[1])["store"]["unsettled"], 1)
        weir.term()
        weir.wait_event("store_settling", unsettled=1)
        check_equal(weir.wait(20), 0)
