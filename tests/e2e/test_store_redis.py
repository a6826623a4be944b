"""Redis as it is run: behind TLS and users, restarted, paused, killed, emptied, full, a replica. A payment that cannot be
made safe is refused before it is sent; a sticky one stays safe whatever Redis forgets."""

import json
import os

from harness import case, check, check_equal, wait_until
from harness import certs
from harness.payments import (KEY_FIELD, Shared, executions, keys_seen, outcome, pay, paying, request_of, wait_state,
                              write_secret)
from harness.processor import Hold, Processor, Sandbox, default_answer
from harness.redis import Redis
from harness.relay import Relay
from harness.weir import merged
from test_idempotency import Asker, check_replay
from test_outcomes import check_own

QUICK_BEGIN = {"store": {"begin_timeout": "300ms"}}


def check_store_down(answer, retry="same_key"):
    check_own(answer, 503, "store_down", "not_sent", retry)


def wait_up(weir, up=1):
    weir.wait_metric("weir_store_up", up, timeout_s=20)


def try_pay(weir, key, **more):
    """Until the store is there again; what is refused meanwhile is refused properly."""
    def once():
        answer = pay(weir, key, **more)
        if answer.weir_reason == "store_down":
            check_store_down(answer)
            return None
        return answer
    return wait_until(once, 20, "a payment that is taken")


class Secured:
    """A store section with more in it, for paying()."""

    kind = "redis"

    def __init__(self, redis, **more):
        self.redis = redis
        self.more = more
        self.secret_path = os.path.join(redis.folder, "secret")
        if not os.path.exists(self.secret_path):
            write_secret(self.secret_path)

    def section(self, single_shot=False):
        return merged({"type": "redis", "servers": [self.redis.url], "secret_file": self.secret_path}, self.more)


def check_works(weir, key="order-1"):
    wait_up(weir)
    check_equal([pay(weir, key).outcome for _ in range(2)], ["answered", "replayed"])


def store_state(weir):
    return json.loads(weir.verb("status", "--json", expected=0)[1])["store"]


def check_fails(weir, processor, words):
    """The store cannot be used: its state says why, and keyed payments are refused."""
    before = len(processor.requests())
    # In the log when it goes down, and in the state for as long as it is.
    wait_until(lambda: any(words in line for line in weir.stderr.snapshot()) or words in str(store_state(weir)["trouble"]), 15,
               f"the words '{words}'")
    check_store_down(pay(weir, "order-1"))
    check_equal(len(processor.requests()), before)
    check_equal(weir.ask("GET", "/v1/payments").status, 200, "what has no key goes on")
    check_equal(weir.metric("weir_store_up"), 0)


def test_tls():
    ca = str(certs.ca().cert)
    with Redis(tls=certs.server("127.0.0.1", "cache.example")) as redis, Processor() as processor:
        with case("verified"), paying(Secured(redis, tls={"ca": ca}), processor) as weir:
            check_works(weir, "verified")
        with case("by another name"), paying(Secured(redis, tls={"ca": ca, "server_name": "cache.example"}), processor) as weir:
            check_works(weir, "named")
        with case("not verified, as was written"), paying(Secured(redis, tls={"verify": "off"}), processor) as weir:
            check_works(weir, "trusting")
        with case("another CA"), paying(Secured(redis, tls={"ca": str(certs.other_ca().cert)}), processor) as weir:
            check_fails(weir, processor, "certificate")
        with case("another name"), paying(Secured(redis, tls={"ca": ca, "server_name": "other.example"}), processor) as weir:
            check_fails(weir, processor, "certificate")
        with case("plain, where TLS is spoken"):
            plain = Secured(redis, servers=[f"redis://127.0.0.1:{redis.address[1]}"])
            with paying(plain, processor) as weir:
                check_fails(weir, processor, "store_down")
    with Redis() as redis, Processor() as processor, case("TLS, where it is not spoken"):
        with paying(Secured(redis, servers=[f"rediss://127.0.0.1:{redis.address[1]}"], tls={"ca": ca}), processor) as weir:
            check_fails(weir, processor, "store_down")
    pair = certs.client("weir-store")
    with Redis(tls=certs.server("127.0.0.1"), require_client=True) as redis, Processor() as processor:
        with case("a client certificate"), paying(Secured(redis, tls={"ca": ca, "cert": str(pair.cert), "key": str(pair.key)}),
                                                  processor) as weir:
            check_works(weir)
        with case("without one"), paying(Secured(redis, tls={"ca": ca}), processor) as weir:
            check_fails(weir, processor, "store_down")


def password_file(redis, text):
    path = os.path.join(redis.folder, "password")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


# What weir needs, and no more.
RIGHTS = ("resetkeys", "~w:*", "resetchannels", "-@all", "+@read", "+@write", "+@connection", "+@scripting", "+info", "+time")


def test_a_user_of_its_own():
    with Redis("--appendonly", "yes") as redis, Processor() as processor:
        redis.command("ACL", "SETUSER", "weir", "on", ">first", *RIGHTS)
        redis.command("CONFIG", "SET", "requirepass", "admin")
        redis.be("default", "admin")
        path = password_file(redis, "first\n")
        store = Secured(redis, username="weir", password_file=path)
        with paying(store, processor) as weir:
            with case("works with the rights that it needs"):
                check_works(weir)
                check_equal(redis.command("ACL", "LOG"), [])
                names = [line for line in redis.command("CLIENT", "LIST").splitlines() if "user=weir" in line]
                check_equal(len(names), 1)
                check("name=weir" in names[0], names[0])
            with case("the password changes: first here, then there"):
                password_file(redis, "second\n")
                weir.reload()
                redis.command("ACL", "SETUSER", "weir", ">second", "<first")
                check_works(weir, "order-2")
                redis.command("CLIENT", "KILL", "USER", "weir")
                check_equal(try_pay(weir, "order-3").outcome, "answered")
            with case("there, and never here: refused once the connection is gone, and well again with the file"):
                redis.command("ACL", "SETUSER", "weir", ">third", "<second")
                redis.command("CLIENT", "KILL", "USER", "weir")
                check_fails(weir, processor, "refuses the password")
                password_file(redis, "third\n")
                weir.reload()
                check_equal(try_pay(weir, "order-4").outcome, "answered")
        with case("a wrong password"), paying(Secured(redis, username="weir", password_file=password_file(redis, "wrong")),
                                              processor) as weir:
            check_fails(weir, processor, "refuses the password")
            for line in weir.stderr.snapshot():
                check("wrong" not in line.replace("WRONGPASS", "").replace("wrong number", ""), f"the password is told: {line}")
        with case("no password"), paying(Secured(redis), processor) as weir:
            check_fails(weir, processor, "NOAUTH")
        with case("a user that may not write"):
            redis.command("ACL", "SETUSER", "reader", "on", ">reader", "~w:*", "-@all", "+@read", "+@connection", "+info")
            with paying(Secured(redis, username="reader", password_file=password_file(redis, "reader")), processor) as weir:
                check_store_down(pay(weir, "order-9"))
                wait_until(lambda: any("NOPERM" in line for line in weir.stderr.snapshot()), 10, "what the server says")
        with case("a user that may not see INFO: single_shot cannot know what it needs"):
            redis.command("ACL", "SETUSER", "blind", "on", ">blind", *RIGHTS, "-info")
            path = password_file(redis, "blind")
            with paying(Secured(redis, username="blind", password_file=path), processor) as weir:
                check_works(weir, "order-10")
            with paying(Secured(redis, username="blind", password_file=path), processor, mode="single_shot") as weir:
                wait_up(weir)
                check_store_down(pay(weir, "order-11"))


def test_it_may_come_later():
    """weir starts without its store, and is ready without it, too."""
    with Shared() as store, Processor() as processor:
        store.redis.crash()
        weir = paying(store, processor, sections=QUICK_BEGIN)
        with weir:
            check_equal(weir.metric("weir_store_up"), 0)
            check_store_down(pay(weir, "order-1"))
            check_equal(weir.ask("GET", "/v1/payments").status, 200)
            check_equal(processor.requests()[-1].method, "GET")
            answer = weir.ask("GET", "/.well-known/weir/outcome", ["Authorization: Bearer a", "Idempotency-Key: order-1"])
            check_equal((answer.status, answer.weir_reason), (503, "store_down"))
            store.redis.start()
            check_equal(try_pay(weir, "order-1").outcome, "answered")
            check_equal(pay(weir, "order-1").outcome, "replayed")
            weir.wait_event("store_up")


def test_restarts():
    with Shared() as store, Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox, sections=QUICK_BEGIN) as weir:
        first = pay(weir, "order-1")
        for number, how in enumerate(("shutdown", "crash")):
            with case(how):
                if how == "shutdown":
                    store.redis.process.terminate()
                    store.redis.process.wait(10)
                else:
                    store.redis.crash()
                key = f"order-{how}"
                check_store_down(pay(weir, key))
                check_equal(executions(sandbox, key), 0)
                store.redis.start()
                check_equal(try_pay(weir, key).outcome, "answered")
                check_replay(pay(weir, "order-1"), first)
                check_equal(executions(sandbox, key), 1)
        with case("an answer that comes while it is gone is given, and stored when it is back"):
            asker = Asker(lambda: pay(weir, "order-2", fault="delay=800"))
            sandbox.wait_ledger(4)
            store.redis.crash()
            answer = asker.result()
            check_equal((answer.status, answer.outcome), (200, "answered"))
            weir.wait_metric("weir_store_unsettled", 1)
            store.redis.start()
            weir.wait_metric("weir_store_unsettled", 0, timeout_s=20)
            check_replay(pay(weir, "order-2"), answer)
            check_equal(executions(sandbox, "order-2"), 1)
        with case("it lost nothing"):
            check_equal([line for line in weir.events() if line["event"] == "store_lost_writes"], [])


def test_pauses():
    with Shared() as store, Processor() as processor, paying(store, processor, sections=QUICK_BEGIN) as weir:
        wait_up(weir)
        with case("a begin without reply is refused in time, and leaves nothing behind"):
            store.redis.pause()
            answer = pay(weir, "order-1")
            check_store_down(answer)
            check_equal(processor.requests(), [])
            store.redis.go_on()
            weir.wait_metric("weir_store_unsettled", 0, timeout_s=20)
            check_equal(wait_until(lambda: try_outcome(weir, "order-1"), 20, "its state")["state"], "none")
            check_equal(try_pay(weir, "order-1", amount=77).outcome, "answered")
        with case("an answer does not wait for it"):
            hold = Hold()
            processor.answer(hold)
            asker = Asker(lambda: pay(weir, "order-2"))
            hold.wait()
            store.redis.pause()
            hold.release()
            answer = asker.result()
            check_equal((answer.status, answer.outcome), (200, "answered"))
            check_equal(weir.metric("weir_store_unsettled"), 1)
            store.redis.go_on()
            weir.wait_metric("weir_store_unsettled", 0, timeout_s=20)
            wait_up(weir)
            check_replay(try_pay(weir, "order-2"), answer)
        with case("a client that is gone meanwhile changes nothing"):
            store.redis.pause()
            with weir.client() as client:
                client.send(request_of("order-3"))
                wait_until(lambda: weir.metric("weir_requests_in_flight", route="pay") == 1, what="in flight")
                client.reset()
            weir.wait_metric("weir_requests_in_flight", 0, route="pay")
            store.redis.go_on()
            weir.wait_metric("weir_store_unsettled", 0, timeout_s=20)
            wait_up(weir)
            check_equal(wait_until(lambda: try_outcome(weir, "order-3"), 20, "its state")["state"], "none")


def try_outcome(weir, key):
    try:
        return outcome(weir, key)
    except AssertionError:
        return None


def test_pass_when_it_is_down():
    """Asked for: then the processor alone makes a payment once."""
    with Shared() as store, Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox, sections=QUICK_BEGIN,
                                                                        store_down="pass") as weir:
        check_works(weir)
        store.redis.crash()
        for _ in range(2):
            answer = pay(weir, "order-2")
            check_equal((answer.status, answer.outcome), (200, "answered"))
        check_equal(executions(sandbox, "order-2"), 1)
        check_equal(keys_seen(sandbox).count("order-2"), 2)
        with case("what breaks off without a record weir does not ask about once more"):
            sandbox.fault("reset-after", 1)
            check_equal(pay(weir, "order-3").outcome, "unknown")
            check_equal(keys_seen(sandbox).count("order-3"), 1)
        store.redis.start()
        wait_up(weir)
        weir.wait_event("unknown")  # told once the record is there
        check_equal(try_pay(weir, "order-2").outcome in ("answered", "replayed"), True)
        check_equal(executions(sandbox, "order-2"), 1)
        with case("what broke off is settled like any other"):
            check_equal(pay(weir, "order-3").outcome, "answered")
            check_equal(executions(sandbox, "order-3"), 1)


def test_everything_is_forgotten():
    with Shared() as store, Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
        first = pay(weir, "order-1")
        check_equal(pay(weir, "order-2", fault="reset-after").outcome, "unknown")
        wait_state(weir, "order-2", "unknown")
        store.redis.command("FLUSHALL")
        with case("sticky: the processor knows"):
            for key in ("order-1", "order-2"):
                answer = try_pay(weir, key)
                check_equal((answer.status, answer.outcome), (200, "answered"))
                check_equal(executions(sandbox, key), 1)
            check_equal(json.loads(pay(weir, "order-1").body)["id"], json.loads(first.body)["id"])
        with case("an owner at work puts its record back"):
            asker = Asker(lambda: pay(weir, "order-3", fault="delay=800"))
            wait_until(lambda: executions(sandbox, "order-3"), 10, "execution")
            store.redis.command("FLUSHALL")
            answer = asker.result()
            check_equal(answer.outcome, "answered")
            check_replay(pay(weir, "order-3"), answer)
        with case("scripts are forgotten, too"):
            store.redis.command("SCRIPT", "FLUSH")
            check_works(weir, "order-4")
    with Shared() as store, Sandbox() as sandbox, paying(store, sandbox, mode="single_shot") as weir:
        wait_up(weir)
        check_equal(pay(weir, "order-1").outcome, "answered")
        store.redis.command("FLUSHALL")
        store.redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with case("single_shot: refused until an operator accepts the loss"):
            weir.wait_event("store_lost_writes")
            check_store_down(pay(weir, "order-1"))
            check_store_down(pay(weir, "order-2"))
            check_equal(executions(sandbox, "order-1"), 1)
            check_equal(weir.metric("weir_store_durable"), 0)
            weir.verb("idempotency", "accept-loss", "--why", "the test did it", expected=0)
            check_equal(try_pay(weir, "order-2").outcome, "answered")
            weir.wait_metric("weir_store_durable", 1)


def test_what_single_shot_wants():
    with Shared() as store, Sandbox() as sandbox, paying(store, sandbox, mode="single_shot") as weir:
        wait_up(weir)
        check_equal(pay(weir, "order-1").outcome, "answered")
        for name, bad, good in (("maxmemory-policy", "allkeys-lru", "noeviction"), ("appendonly", "no", "yes")):
            with case(name):
                store.redis.command("CONFIG", "SET", name, bad)
                weir.wait_metric("weir_store_durable", 0)
                check_store_down(pay(weir, f"order-{name}"))
                check_equal(executions(sandbox, f"order-{name}"), 0)
                check(weir.wait_event("store_trouble")["kind"] in ("eviction", "persistence"), "kind")
                store.redis.command("CONFIG", "SET", name, good)
                weir.wait_metric("weir_store_durable", 1)
                check_equal(pay(weir, f"order-{name}").outcome, "answered")
    with Shared("--maxmemory-policy", "allkeys-lru") as store, Sandbox(dedup=KEY_FIELD) as sandbox, \
            paying(store, sandbox) as weir, case("sticky goes on, and says it"):
        check_works(weir)
        check_equal(weir.wait_event("store_trouble")["kind"], "eviction")


def test_full():
    with Shared() as store, Processor() as processor, paying(store, processor, acme={"timeouts": {"response": "9s"}}) as weir:
        check_works(weir)
        hold = Hold()
        processor.answer(hold)
        asker = Asker(lambda: pay(weir, "order-2"))
        hold.wait()
        store.redis.command("CONFIG", "SET", "maxmemory", 1)
        with case("no new key is taken"):
            check_store_down(pay(weir, "order-3"))
            check_equal(len(processor.requests()), 2)
            wait_until(lambda: any("OOM" in line for line in weir.stderr.snapshot()), 10, "what the server says")
        with case("what is on its way is settled"):
            hold.release()
            answer = asker.result()
            check_equal(answer.outcome, "answered")
            weir.wait_metric("weir_store_unsettled", 0)
            check_equal(outcome(weir, "order-2")["state"], "done")
        with case("a retry is refused and costs nothing"):
            check_store_down(pay(weir, "order-1"))
            check_equal(len(processor.requests()), 2)
        with case("and with room again all is there"):
            store.redis.command("CONFIG", "SET", "maxmemory", 0)
            check_equal(try_pay(weir, "order-3").outcome, "answered")
            check_replay(pay(weir, "order-2"), answer)
            check_equal(pay(weir, "order-1").outcome, "replayed")


def test_full_is_not_forgetful():
    """What weir writes to find out whether writes were lost finds no room either: that is no loss."""
    with Shared() as store, Processor() as processor, paying(store, processor, mode="single_shot", acme={"timeouts": {
            "response": "9s"}}) as weir:
        wait_up(weir)
        check_equal(pay(weir, "order-1").outcome, "answered")
        hold = Hold()
        processor.answer(hold)
        asker = Asker(lambda: pay(weir, "order-2"))
        hold.wait()
        store.redis.command("CONFIG", "SET", "maxmemory", 1)
        hold.release()
        check_equal(asker.result().outcome, "answered")
        weir.wait_metric("weir_store_unsettled", 0)
        store.redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: len([line for line in weir.events() if line["event"] == "store_up"]) >= 2, 20, "another connection")
        store.redis.command("CONFIG", "SET", "maxmemory", 0)
        check_equal([line for line in weir.events() if line["event"] == "store_lost_writes"], [])
        weir.wait_metric("weir_store_durable", 1)
        check_equal(try_pay(weir, "order-3").outcome, "answered")
        check_equal(pay(weir, "order-2").outcome, "replayed")


def test_what_never_arrived_was_not_lost():
    with Shared() as store, Sandbox() as sandbox, Relay(store.redis.address) as relay:
        through = Secured(store.redis, servers=[f"redis://{relay.authority}"], secret_file=store.secret_path)
        with paying(through, sandbox, mode="single_shot", sections=QUICK_BEGIN) as weir:
            wait_up(weir)
            check_equal(pay(weir, "order-1").outcome, "answered")
            for number in range(3):
                relay.up.stalled = True  # from now on nothing reaches Redis
                check_store_down(pay(weir, f"lost-{number}"))
                relay.reset_all()
                relay.heal()
                for again in range(3):
                    check_equal(try_pay(weir, f"order-{number}-{again}").outcome, "answered")
            check_equal([line for line in weir.events() if line["event"] == "store_lost_writes"], [])
            check_equal(pay(weir, "order-1").outcome, "replayed")


def test_a_replica_is_of_no_use():
    with Shared() as master, Redis("--replicaof", "127.0.0.1", str(master.redis.address[1])) as replica, \
            Processor() as processor:
        wait_until(lambda: replica.info("master_link_status") == "up", 20, "replication")
        with paying(Secured(replica), processor) as weir, case("from the start"):
            check_fails(weir, processor, "it is a replica")
            replica.command("REPLICAOF", "NO", "ONE")
            check_equal(try_pay(weir, "order-1").outcome, "answered")
            with case("and while it runs"):
                replica.command("REPLICAOF", "127.0.0.1", master.redis.address[1])
                wait_up(weir, 0)
                check_store_down(pay(weir, "order-2"))
                replica.command("REPLICAOF", "NO", "ONE")
                check_equal(try_pay(weir, "order-2").outcome, "answered")
    with Shared() as store, Redis() as other, Processor() as processor, case("a master that is demoted before weir looks"):
        with paying(store, processor) as weir:
            check_works(weir)
            store.redis.command("REPLICAOF", *map(str, other.address))
            check_store_down(pay(weir, "order-2"))
            check_equal(len(processor.requests()), 1)


def test_weirs_with_two_secrets():
    with Shared() as store, Processor() as processor, paying(store, processor) as one:
        check_works(one)
        path = os.path.join(store.redis.folder, "other-secret")
        write_secret(path)
        other = Secured(store.redis, secret_file=path)
        for mode in ("pass", "refuse"):
            with paying(other, processor, store_down=mode) as two, case(mode):
                wait_up(two)
                before = len(processor.requests())
                check_store_down(pay(two, "order-1"))
                check_equal(len(processor.requests()), before)
                check_equal(two.wait_event("store_trouble")["kind"], "secret")
        with case("the first is not disturbed"):
            check_equal(pay(one, "order-1").outcome, "replayed")


def test_a_network_that_breaks():
    """Bytes cut anywhere in what Redis says: nothing is mistaken for the reply of another."""
    with Shared() as store, Sandbox(dedup=KEY_FIELD) as sandbox, Relay(store.redis.address) as relay:
        through = Secured(store.redis, servers=[f"redis://{relay.authority}"], secret_file=store.secret_path)
        with paying(through, sandbox, sections=QUICK_BEGIN) as weir:
            wait_up(weir)
            for number in range(40):
                relay.down.cut(at=number * 37 % 700, how=("rst", "fin", "stall")[number % 3])
                if number % 4 == 0:
                    relay.reset_all()
                key = f"order-{number}"
                answer = pay(weir, key)
                check(answer.outcome in ("answered", "replayed", "not_sent"), f"{answer}")
                if answer.outcome != "not_sent":
                    made = json.loads(answer.body)
                    check_equal(made["amount"], 4200)
            relay.heal()
            relay.reset_all()
            weir.wait_metric("weir_store_unsettled", 0, timeout_s=30)
            ids = set()
            for number in range(40):
                answer = try_pay(weir, f"order-{number}")
                ids.add(json.loads(answer.body)["id"])
                check_equal(executions(sandbox, f"order-{number}"), 1)
            check_equal(len(ids), 40, "an answer of another key")
    with Processor(on_link=lambda link: link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 1000)) as stranger, \
            Shared() as store, Processor() as processor, case("something else listens there"):
        wrong = Secured(store.redis, servers=[f"redis://{stranger.authority}"], secret_file=store.secret_path)
        with paying(wrong, processor, sections=QUICK_BEGIN) as weir:
            check_fails(weir, processor, "store_down")


def test_many_at_once():
    """More payments than one turn of the loop, each with its own answer."""
    with Shared() as store, Processor() as processor, paying(store, processor) as weir:
        processor.answer_always(lambda link, request: default_answer(link, request))
        askers = [Asker(lambda number=number: pay(weir, f"order-{number}", headers=[f"X-Nonce: n{number}"]))
                  for number in range(100)]
        answers = [asker.result(60) for asker in askers]
        check_equal([json.loads(answer.body)["nonce"] for answer in answers], [f"n{number}" for number in range(100)])
        for number in range(0, 100, 7):
            check_replay(pay(weir, f"order-{number}"), answers[number])
        names = store.redis.keys()
        check_equal(sum(":i:" in name for name in names), 100)
        for name in names:
            check("order" not in name and "sk_test" not in name, name)
