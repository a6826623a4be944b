"""Limits while Redis hangs, dies, forgets, is full or somebody else's: a few requests wait for it, then none does; each weir
holds its callers to its share; payments with keys are refused before they are sent; and it is shared again by itself."""

import datetime
import hashlib
import json
import math
import os
import tempfile
import time

from harness import case, check, check_equal, deadline, wait_until
from harness.http import request
from harness.load import Load, Stream
from harness.payments import pay
from test_limits_fleet import (BURST, LEASE_S, OVER, RATE, REST_MAX_S, Fleet, Fullness, check_bound, even, payments, reads,
                               wait_asked)
from test_store_redis import check_store_down, try_pay

DAY = "1/day"      # so slow that no test sees a second token
RUN = 5            # LEASE_PATIENCE_RUN
PROBE_S = 0.2      # LEASE_PROBE_US, less a fifth
STRANGERS_MAX = 32768
# Short enough to be waited for, long enough that a busy machine is no trouble of Redis.
STORE = {"limit_timeout": "500ms", "begin_timeout": "2s"}


def read(weir, tenant="sk_1", target="/bytes/16", headers=()):
    return weir.ask("GET", target, [f"Authorization: Bearer {tenant}", *headers])


def statuses(weir, count, **more):
    return [read(weir, **more).status for _ in range(count)]


def decisions(weir, limit="all", **labels):
    return weir.metric("weir_ratelimit_decisions_total", limit=limit, **labels)


def questions(weir, result):
    return weir.metric("weir_store_requests_total", op="lease", result=result)


def is_away(weir):
    return weir.metric("weir_ratelimit_store_away") == 1


def check_away(weir, count=20, **more):
    """It judges alone, and each request is admitted."""
    check_equal(set(statuses(weir, count, **more)), {200})
    check(is_away(weir), "limits go on as if the store answered")
    weir.wait_event("limits_without_store")


def come_back(weir, **more):
    """Somebody has to ask for it to be noticed."""
    def asked():
        check_equal(read(weir, **more).status, 200)
        return not is_away(weir)
    wait_until(asked, 20, "limits that are shared again")
    weir.wait_event("limits_with_store")


def check_shared(weirs, tenant):
    """The bucket is one: what is asked there counts here. Its burst is 3."""
    answers = [read(weirs[number % len(weirs)], tenant).status for number in range(6)]
    check_equal(answers, [200] * 3 + [429] * 3)


# ---- hung ----

def test_a_redis_that_hangs_costs_a_few_requests_their_patience_and_then_none():
    with Fleet(2, DAY, 1000, store=STORE) as fleet:
        weir, other = fleet.weirs
        check_equal(statuses(weir, 10) + statuses(other, 10), [200] * 20)
        check_equal(decisions(weir, where="local"), 0)
        fleet.redis.pause()
        before, begun = questions(weir, "down"), time.monotonic()
        with case("requests without a key are judged here"):
            check_away(weir, 300)
            waited, took_s = questions(weir, "down") - before, time.monotonic() - begun
            check_equal(decisions(weir, decision="admitted", where="local"), 300)
            check(waited <= RUN + 1 + took_s / PROBE_S, f"{waited} questions in {took_s} s that nobody answered")
            check_equal(len([event for event in weir.events() if event["event"] == "limits_without_store"]), 1)
        with case("payments with keys are refused, and nothing is sent"):
            for number in range(2):
                check_store_down(pay(weir, f"order-{number}", timeout_s=30))
            check_equal(fleet.sandbox.ledger(), [])
        with case("one without a key is none of them"):
            check_equal(pay(weir, None).status, 200)
        fleet.redis.go_on()
        with case("and it is shared again"):
            come_back(weir)
            alone = decisions(weir, where="local")
            check_equal(statuses(weir, 5), [200] * 5)
            check_equal(decisions(weir, where="local"), alone)
            check_equal(try_pay(weir, "order-0").status, 200)


def test_requests_that_wait_together_wait_once():
    """A hundred come while Redis hangs: one question is asked for all of them, and one failure is theirs."""
    with Fleet(1, DAY, 1000, store=STORE) as fleet:
        weir = fleet.weirs[0]
        check_equal(read(weir).status, 200)
        fleet.redis.pause()
        before, begun = questions(weir, "down"), time.monotonic()
        clients = [weir.client(timeout_s=30) for _ in range(100)]
        for client in clients:
            client.send(request("GET", "/bytes/16", ["Authorization: Bearer sk_1"]))
        check_equal({client.read_response().status for client in clients}, {200})
        for client in clients:
            client.close()
        waited, took_s = questions(weir, "down") - before, time.monotonic() - begun
        check(waited <= RUN + 1 + took_s / PROBE_S, f"{waited} questions in {took_s} s that nobody answered")
        check_equal(decisions(weir, decision="admitted", where="local"), 100)
        fleet.redis.go_on()


def test_a_client_that_leaves_while_its_request_waits_for_redis():
    limits = {"all": {"by": "tenant", "rate": DAY, "burst": 1000}, "at-once": {"by": "tenant", "concurrent": 3}}
    with Fleet(1, limits=limits, store={"limit_timeout": "10s"}) as fleet:
        weir = fleet.weirs[0]
        check_equal(read(weir).status, 200)
        fleet.redis.pause()

        def ask(tenant="sk_1"):
            client = weir.client(timeout_s=30)
            client.send(request("GET", "/bytes/16", [f"Authorization: Bearer {tenant}"]))
            return client

        def wait_in_flight(count):
            wait_until(lambda: weir.metric("weir_requests_in_flight", route="route-0") == count, what=f"{count} in flight")
        with case("it gives back what it held"):
            for _ in range(3):
                leaving = [ask() for _ in range(3)]
                wait_in_flight(3)
                check_equal(read(weir).weir_reason, "concurrency_limited")
                for client in leaving:
                    client.reset()
                wait_in_flight(0)
        with case("one that stays is served for all that"):
            staying = ask()
            wait_in_flight(1)
            leaving = ask()
            wait_in_flight(2)
            leaving.reset()
            wait_in_flight(1)
            fleet.redis.go_on()
            check_equal(staying.read_response().status, 200)
            staying.close()
        with case("and weir ends in order while some wait"):
            weir.change(store={"limit_timeout": "1s"})
            weir.reload()
            fleet.redis.pause()
            waiting = [ask("sk_2") for _ in range(3)]
            wait_in_flight(3)
            waiting[0].reset()
            wait_in_flight(2)
            weir.term()
            check_equal([client.read_response().status for client in waiting[1:]], [200, 200])
            for client in waiting[1:]:
                client.close()
            weir.stop(timeout_s=60)  # the sanitizers agree


# ---- gone ----

def test_each_weir_holds_its_callers_to_its_share():
    with Fleet(2, DAY, 7, store=STORE) as fleet:
        fleet.redis.crash()
        for number, weir in enumerate(fleet.weirs):
            with case(f"weir {number}"):
                check_equal(statuses(weir, 10), [200] * 3 + [429] * 7)
                answer = read(weir)
                check_equal((answer.weir_reason, answer.outcome), ("rate_limited", "not_sent"))
                check(int(answer.header("Retry-After")) > 80000, answer.header("Retry-After"))
                check_equal(decisions(weir, decision="admitted", where="local"), 3)
                check_equal(decisions(weir, decision="denied", where="local"), 8)
                check_equal(statuses(weir, 4, tenant="sk_2"), [200] * 3 + [429])
                check_store_down(pay(weir, "order-1"))
        with case("what operators read"):
            told = json.loads(fleet.weirs[0].verb("limits", "--json", expected=0)[1])
            check_equal((told["fleet"], told["store_away"]), (2, True))
            row = told["limits"][0]
            check_equal((row["admitted"], row["refused"]), (decisions(fleet.weirs[0], decision="admitted"),
                                                            decisions(fleet.weirs[0], decision="denied")))
            check_equal(row["callers"], fleet.weirs[0].metric("weir_ratelimit_callers"))
            check_equal(sum(held["refused"] for held in told["held"]), row["refused"])
        with case("one that dies meanwhile leaves its share to nobody, until Redis is there again"):
            fleet.weirs.pop().kill()
            check_equal(statuses(fleet.weirs[0], 4, tenant="sk_3"), [200] * 3 + [429])
            fleet.redis.start()
            fleet.wait_fleet(1)
            come_back_anew(fleet.weirs[0], "sk_4")
            fleet.redis.crash()
            check_equal(statuses(fleet.weirs[0], 8, tenant="sk_5"), [200] * 7 + [429])


def test_what_redis_admitted_counts_in_the_share():
    """Or a Redis that comes and goes would be one limit, and the shares another beside it."""
    with Fleet(2, DAY, 8, store=STORE) as fleet:
        one, other = fleet.weirs
        check_equal(statuses(one, 3), [200] * 3)
        check_equal(pay(other, "order-1", tenant="sk_1").status, 200)
        fleet.redis.crash()
        check_equal(statuses(one, 3), [200, 429, 429])
        check_equal(statuses(other, 5), [200] * 3 + [429] * 2)


def test_a_fleet_that_comes_back_is_not_taken_for_a_smaller_one():
    """Redis has forgotten who there is, and goes again as soon as both have found it: the first of them was told of itself alone."""
    with Fleet(2, DAY, 8, store=STORE) as fleet:
        for number in range(2):
            fleet.redis.crash()
            fleet.redis.start()
            wait_until(lambda: all(weir.metric("weir_store_up") == 1 for weir in fleet.weirs), 30, "the store")
            fleet.redis.crash()
            for weir in fleet.weirs:
                check_equal(statuses(weir, 10, tenant=f"sk_{number}").count(200), 4)


def test_a_weir_that_starts_without_redis():
    for how in ("gone", "hung"):
        with case(how), Fleet(0, DAY, 5, store=STORE) as fleet:
            fleet.redis.crash() if how == "gone" else fleet.redis.pause()
            weir = fleet.launch()

            def served():
                weir.check_alive()
                try:
                    return read(weir, "sk_0").status == 200
                except OSError:
                    return False
            wait_until(served, 20, "the first answer")  # readiness comes later: it waits a while for its store
            check_equal(statuses(weir, 7), [200] * 5 + [429] * 2)
            check_equal(decisions(weir, decision="admitted", where="local"), 6)
            fleet.redis.start() if how == "gone" else fleet.redis.go_on()
            come_back_anew(weir, how)
            check_equal(statuses(weir, 7, tenant="sk_3"), [200] * 5 + [429] * 2)
            check(decisions(weir, decision="admitted", where="store") >= 5, "the store was asked")


def odd_of(shots):
    """Answers that nobody should see, and requests without one."""
    return [shot for shot in shots if shot.status not in (200, 429) and not (shot.status == 503 and "store_down" in shot.head)]


def check_calm(stream, weirs_count, rate, burst):
    """Nobody below the limit is refused: not where one bucket counts, nor where each weir has its share of it."""
    fullness = Fullness(stream.shots, rate)
    shares = [Fullness([shot for shot in stream.shots if shot.weir == weir], rate / weirs_count) for weir in range(weirs_count)]
    before_s = LEASE_S + REST_MAX_S
    refused = [shot for shot in stream.shots if shot.status == 429]
    false = [shot for shot in refused
             if fullness.within(shot.sent - before_s, shot.answered) + 1 <= burst / 2 and
             shares[shot.weir].within(shot.sent - before_s, shot.answered) + 1 <= burst / weirs_count]
    print(f"{stream.name}: {len(refused)} of {len(stream.shots)} refused, {len(false)} of them falsely")
    check(not false, f"{stream.name}: {len(false)} of {len(refused)} refusals are false: {false[:5]}")


def away_times(weir, begun):
    """[begin, end] of each time that it judged alone."""
    times = []
    for event in weir.events():
        at = datetime.datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).timestamp()
        if event["event"] == "limits_without_store" and at >= begun:
            times.append([at, math.inf])
        elif event["event"] == "limits_with_store" and times:
            times[-1][1] = at
    return times


def apart_s(times):
    """For how long some were alone while others were not, in seconds of a weir alone."""
    moments = sorted({moment for each in times for time_ in each for moment in time_})
    alone = [(end - begin, sum(any(first <= begin and end <= last for first, last in each) for each in times))
             for begin, end in zip(moments, moments[1:])]
    return sum(length * count for length, count in alone if 0 < count < len(times))


def check_outage(fleet, fail, heal, forgets=False):
    """Above the limit and below it, before, during and after."""
    count, shares = len(fleet.weirs), even(len(fleet.weirs))
    tenant, begun = f"sk_{forgets}", time.time()
    over, paid = Stream(reads(f"{tenant}_1"), OVER, shares, name="reads"), Stream(payments(f"{tenant}_2"), OVER, shares, name="payments")
    calm = Stream(reads(f"{tenant}_3"), 0.4 * RATE, shares, name="calm reads")
    fleet.wait_fleet(count)
    with Load(fleet.weirs, [over, paid, calm]) as load:
        wait_asked(load, [over, paid], 150)
        fail()
        wait_until(lambda: all(map(is_away, fleet.weirs)), 30, "all of them alone")
        wait_asked(load, [over, calm], 40, weirs=range(count))
        heal()
        wait_until(lambda: not any(map(is_away, fleet.weirs)), 30, "limits that are shared again")
        wait_until(lambda: all(weir.metric("weir_store_up") == 1 for weir in fleet.weirs), 30, "the store")
        wait_asked(load, [over, paid], 100, weirs=range(count))
        wait_until(lambda: any(shot.status in (200, 429) for shot in paid.shots[-20:]), 30, "payments that are taken again")
    for stream in (over, paid, calm):
        check_equal(odd_of(stream.shots), [], f"{stream.name}: odd answers")
    check_equal({shot.status for shot in over.shots + calm.shots} - {429}, {200})
    # A burst of the shares when Redis goes, and another of the bucket that has drained, or was forgotten, when it is back.
    # Who has no Redis when others have it again goes on with its share.
    times = [away_times(weir, begun) for weir in fleet.weirs]
    bursts, extra_s = 1 + 2 * max(map(len, times)), apart_s(times) / count
    print(f"alone {[[f'{end - begin:.2f}' for begin, end in each] for each in times]}, {extra_s:.2f} s apart")
    check_bound(over.shots, RATE, bursts * BURST, LEASE_S + extra_s, over.name)
    check_bound(paid.shots, RATE, (2 if forgets else 1) * BURST, 0, paid.name)
    check_calm(calm, count, RATE, BURST)


def test_killed_and_restarted_under_load():
    with Fleet(2, store=STORE, redis=("--appendonly", "yes")) as fleet:
        with case("with its data"):
            check_outage(fleet, fleet.redis.crash, fleet.redis.start)
        fleet.redis.command_line += ["--appendonly", "no"]
        with case("without its data"):
            check_outage(fleet, fleet.redis.crash, fleet.redis.start, forgets=True)


def test_hung_and_going_on_under_load():
    with Fleet(2, store=STORE) as fleet:
        check_outage(fleet, fleet.redis.pause, fleet.redis.go_on)


# ---- it answers, and not what was wanted ----

def test_scripts_that_are_forgotten_fail_no_request():
    with Fleet(2) as fleet:
        read_, paid = Stream(reads("sk_1"), OVER, even(2), name="reads"), Stream(payments("sk_2"), OVER, even(2), name="payments")
        with Load(fleet.weirs, [read_, paid]) as load:
            for _ in range(10):
                fleet.redis.command("SCRIPT", "FLUSH")
                wait_asked(load, [read_, paid], 40)
        check(int(fleet.redis.info("errorstat_NOSCRIPT").partition("=")[2]) >= 20, "scripts were missed")
        for stream, late_s in ((read_, LEASE_S), (paid, 0)):
            with case(stream.name):
                check_equal([shot for shot in stream.shots if shot.status not in (200, 429)], [])
                check_bound(stream.shots, RATE, BURST, late_s, stream.name)
        check_equal(fleet.decisions(where="local"), 0)
        check_equal(fleet.metric("weir_store_requests_total", op="lease", result="down"), 0)


def test_a_redis_that_takes_no_writes():
    with Fleet(2, DAY, 3, store=STORE) as fleet:
        redis, weir = fleet.redis, fleet.weirs[0]

        def full(on):
            redis.command("CONFIG", "SET", "maxmemory", 1 if on else 0)

        def replica(on):
            redis.command("REPLICAOF", *(("127.0.0.1", "1") if on else ("NO", "ONE")))
        for trouble in (full, replica):
            name = trouble.__name__
            with case(name):
                check_shared(fleet.weirs, f"sk_{name}_0")
                trouble(True)
                for number in range(10):  # each a tenant of its own: its share is 1
                    check_equal(statuses(weir, 2, tenant=f"sk_{name}_away_{number}"), [200, 429])
                check(is_away(weir), "limits go on as if the store answered")
                check_store_down(pay(weir, f"order-{name}", tenant=f"sk_{name}_1"))
                trouble(False)
                come_back_anew(weir, name)
                for other in fleet.weirs[1:]:
                    wait_until(lambda: other.metric("weir_store_up") == 1, 20, "the store")
                check_shared(fleet.weirs, f"sk_{name}_2")
                check_equal(try_pay(weir, f"order-{name}", tenant=f"sk_{name}_3").status, 200)


def come_back_anew(weir, name):
    """Each question by a tenant of its own, where nobody has more than a few."""
    number = iter(range(1_000_000))

    def asked():
        check_equal(read(weir, f"sk_{name}_back_{next(number)}").status, 200)
        return not is_away(weir)
    wait_until(asked, 20, "limits that are shared again")


def test_a_redis_that_is_loading():
    with Fleet(1, DAY, 1000, store=STORE) as fleet:
        weir, redis = fleet.weirs[0], fleet.redis
        check_equal(read(weir).status, 200)
        for number in range(300):
            redis.command("SET", f"w:filler:{number}", "x" * 2000)
        redis.command("SAVE")
        redis.crash()
        redis.command_line += ["--rdbcompression", "no", "--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"]
        redis.start(wait=False)
        wait_until(lambda: says_loading(redis), 20, "LOADING")
        check_away(weir)
        check_store_down(pay(weir, "order-1"))
        check(says_loading(redis), "it is not loading any more")
        redis.command("CONFIG", "SET", "key-load-delay", "0")
        redis.wait_answers(60)
        come_back(weir)
        check_equal(try_pay(weir, "order-1").status, 200)


def says_loading(redis):
    try:
        redis.command("GET", "w:x")
    except OSError:
        return False
    except RuntimeError as error:
        return "LOADING" in str(error)
    return False


def test_a_bucket_that_is_damaged():
    """It owes nothing; or it cannot be read, and then this weir judges. No request fails for it."""
    with Fleet(1, DAY, 2, store=STORE) as fleet:
        weir, redis = fleet.weirs[0], fleet.redis

        def bucket_of(tenant):
            """Full, and its weir has not been refused yet."""
            before = set(redis.keys("w:*:l:*"))
            check_equal(statuses(weir, 2, tenant=tenant), [200, 200])
            new = set(redis.keys("w:*:l:*")) - before
            check_equal(len(new), 1, "buckets")
            return new.pop()
        values = ["", "garbage", "1:2", "::", "-1:-1:-1", "1:2:3:4", "1:2:0", "9" * 40 + ":1:1", "0:" + "9" * 400 + ":1", "nan:nan:nan",
                  "1e300:1:1", "x" * 100000, "18446744073709551615:18446744073709551615:18446744073709551615"]
        for number, value in enumerate(values):
            for key, way in ((f"order-{number}", "with a key"), (None, "without a key")):
                with case(f"{value[:20]!r}, {way}"):
                    tenant = f"sk_{way}_{number}"
                    redis.command("SET", bucket_of(tenant), value)
                    keys = [f"{key}-{each}" if key else None for each in range(3)]
                    check_equal([pay(weir, each, tenant=tenant).status for each in keys], [200, 200, 429])
        check_equal(decisions(weir, where="local"), 0)
        seen = set(redis.keys("w:*:l:*"))
        with case("another type"):
            check_equal(read(weir, "sk_hash").status, 200)
            bucket = (set(redis.keys("w:*:l:*")) - seen).pop()
            redis.command("DEL", bucket)
            redis.command("HSET", bucket, "a", "b")
            check_store_down(pay(weir, "order-hash", tenant="sk_hash"))
            check_equal(statuses(weir, 3, tenant="sk_hash"), [200, 429, 429])  # its share, less what was admitted already
            check_equal(decisions(weir, where="local"), 3)
            check_equal(pay(weir, "order-other", tenant="sk_other").status, 200)
            redis.command("DEL", bucket)
            check_equal(try_pay(weir, "order-hash", tenant="sk_hash").status, 200)


# ---- what limits are set to ----

def test_open_and_closed():
    limits = {name: {"by": "tenant", "rate": DAY, "burst": 2, "store_down": name} for name in ("open", "closed")}
    limits["testing"] = {"by": "tenant", "rate": DAY, "burst": 2, "charge_on": "decline"}
    routes = [{"match": {"path": "/v1/*"}, "limits": ["closed"]}] + \
        [{"match": {"path": f"/bytes/{number}"}, "limits": [name]} for number, name in enumerate(limits, 1)]
    with Fleet(1, limits=limits, routes=routes, store=STORE) as fleet:
        weir = fleet.weirs[0]
        check_equal(statuses(weir, 3, target="/bytes/1"), [200, 200, 429])
        check_equal(statuses(weir, 3, target="/bytes/2"), [200, 200, 429])
        check_equal(pay(weir, "order-1", tenant="sk_2").status, 200)
        fleet.redis.crash()
        with case("open admits all"):
            wait_until(lambda: read(weir, target="/bytes/1").status == 200, 10, "the end of its refusal")
            check_equal(statuses(weir, 10, target="/bytes/1"), [200] * 10)
            check(decisions(weir, "open", decision="admitted", where="open") >= 10, "where it was decided")
        with case("closed refuses all, and says why"):
            for _ in range(10):
                answer = read(weir, "sk_3", target="/bytes/2")
                check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "store_down", "not_sent"))
                check(answer.header("Retry-After") is not None, "Retry-After")
            check_equal(decisions(weir, "closed", decision="denied", where="closed"), 10)
        with case("payments with keys wait for their begin alone"):
            check_store_down(pay(weir, "order-2", tenant="sk_2"))
            check_equal(decisions(weir, "closed", decision="denied", where="closed"), 10)
        with case("declines are not known"):
            check_equal(statuses(weir, 5, target="/bytes/3"), [200] * 5)
            check_equal(decisions(weir, "testing", decision="admitted", where="open"), 5)
        fleet.redis.start()
        with case("and back"):
            wait_until(lambda: read(weir, "sk_4", target="/bytes/2").status == 200, 20, "the store")
            check_equal(statuses(weir, 3, tenant="sk_5", target="/bytes/2"), [200, 200, 429])
            check_equal(try_pay(weir, "order-2", tenant="sk_2").status, 200)


def test_a_limit_by_address_never_asks_redis():
    with Fleet(1, limits={"per-address": {"by": "client_ip", "rate": DAY, "burst": 20}}) as fleet:
        weir = fleet.weirs[0]
        before, begun = fleet.calls("get", "set"), time.monotonic()
        check_equal(statuses(weir, 30), [200] * 20 + [429] * 10)
        after, took_s = fleet.calls("get", "set"), time.monotonic() - begun
        own = took_s + 2  # what a weir reads and writes about itself in a second
        check(all(after[name] - before[name] <= own for name in before), f"{after} after {before}")
        check_equal(weir.metric("weir_store_requests_total", op="lease"), 0)
        check_equal(fleet.redis.keys("w:*:l:*"), [])
        fleet.redis.crash()
        check_equal(statuses(weir, 5), [429] * 5)
        check_equal(decisions(weir, "per-address", where="local"), 35)


# ---- credentials that nobody knows ----

def known_file(folder, **tenants):
    path = os.path.join(folder, "tenants")
    with open(path, "w") as file:
        for credential, name in tenants.items():
            file.write(f"sha256:{hashlib.sha256(credential.encode()).hexdigest()} {name} basic\n")
    return path


def test_strangers_leave_nothing_where_they_are_refused():
    with tempfile.TemporaryDirectory() as folder, \
            Fleet(1, DAY, 2, tenants={"unknown": "refuse", "known_file": known_file(folder, sk_known="shop")}) as fleet:
        weir = fleet.weirs[0]
        for number in range(20):
            check_equal((read(weir, f"sk_{number}").status, pay(weir, f"order-{number}", tenant=f"sk_{number}").status), (401, 401))
        check_equal(fleet.redis.keys("w:*:l:*"), [])
        check_equal(weir.metric("weir_ratelimit_callers"), 0)
        check_equal(statuses(weir, 3, tenant="sk_known"), [200, 200, 429])
        check_equal(len(fleet.redis.keys("w:*:l:*")), 1)


@deadline(400)
def test_invented_credentials_leave_a_bounded_number_of_buckets():
    """One more than there is room for shares a bucket with all of its like; who was there before keeps its own."""
    count = 40000
    with tempfile.TemporaryDirectory() as folder, \
            Fleet(1, DAY, 3, tenants={"known_file": known_file(folder, sk_known="shop")}) as fleet:
        weir = fleet.weirs[0]
        check_equal(read(weir, "sk_known").status, 200)
        stream = Stream(lambda number: request("GET", "/bytes/1", [f"Authorization: Bearer invented-{number}"]), None, [1], connections=32)
        with Load([weir], [stream]) as load:
            def asked():
                load.check()
                return stream.made > count
            wait_until(asked, 300, "that many requests")
        names = fleet.redis.command("DBSIZE")
        check(stream.count(200) >= STRANGERS_MAX, f"{stream.statuses()}")
        check(stream.count(429) > 0, f"nobody was refused: {stream.statuses()}")
        check(STRANGERS_MAX <= names <= STRANGERS_MAX + 10, f"{names} keys in Redis")  # the known one, all the others', and weir's own
        check(weir.metric("weir_ratelimit_callers") <= STRANGERS_MAX + 2, "callers")
        with case("one that is known has its own"):
            check_equal(statuses(weir, 3, tenant="sk_known"), [200, 200, 429])
        with case("and so has who came first"):
            check_equal(statuses(weir, 3, tenant="invented-0"), [200, 200, 429])
