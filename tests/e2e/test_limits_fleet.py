"""One limit over several weirs on one Redis: never more than it says, whoever asks where; nobody below it is refused; and
what is refused costs Redis next to nothing.

What is asserted holds however slow the machine is. When a request was judged is not seen from outside, only that it was
between its sending and its answer: so an excess is one only where all of its requests lie within the window from end to
end, and a refusal is false only where no moment within it, however unlucky, could have been one of a full bucket."""

import bisect
import contextlib
import json
import os
import time

from harness import case, check, check_equal, wait_until
from harness.http import request
from harness.load import Load, Stream
from harness.payments import HOUSE, KEY_FIELD, SHORT, body_of, headers_of, pay, write_secret
from harness.processor import Sandbox
from harness.redis import Redis
from harness.weir import Weir

LEASE_S = 0.2         # LEASE_US
REST_MIN_S = 0.02     # LEASE_REST_MIN_US
REST_MAX_S = 0.25     # LEASE_REST_MAX_US
RATE, BURST = 100, 40
OVER = 3 * RATE       # three times the limit
BELOW = 0.9 * RATE

# A machine that is busy with other tests makes Redis slow, too: that is not the trouble that is tested here.
PATIENT = {"limit_timeout": "5s", "begin_timeout": "15s"}


class Fleet:
    """
    Weirs on one Redis, in front of one processor. One route, one limit by tenant called all, unless `limits` and
    `routes` say otherwise; a route without limits of its own has all of them.
    """

    def __init__(self, count, rate=RATE, burst=BURST, store=None, limits=None, routes=None, redis=(), **more):
        self.stack = contextlib.ExitStack()
        self.weirs = []
        self.more = more
        rate = rate if isinstance(rate, str) else f"{rate}/s"
        self.limits = limits or {"all": {"by": "tenant", "rate": rate, "burst": burst}}
        self.routes = [{"name": f"route-{number}", "match": {"path": "/*"}, "to": "acme", "limits": list(self.limits),
                        "idempotency": {"required": False}, **route} for number, route in enumerate(routes or [{}])]
        with self.stack:
            self.redis = self.stack.enter_context(Redis(*redis))
            self.sandbox = self.stack.enter_context(Sandbox(dedup=KEY_FIELD))
            secret = os.path.join(self.redis.folder, "secret")
            write_secret(secret)
            self.store = {"type": "redis", "servers": [self.redis.url], "secret_file": secret, **PATIENT, **(store or {})}
            self.start(count)
            self.stack = self.stack.pop_all()

    def launch(self):
        """One more, of which nobody knows yet whether it is ready."""
        sections = {"profiles": {"house": HOUSE}, "routes": self.routes, "limits": self.limits, "store": self.store, **self.more}
        acme = {"profile": "house", "timeouts": {**SHORT, "response": "9s"}}
        weir = self.stack.enter_context(Weir(self.sandbox, acme=acme, wait=False, **sections))
        self.weirs.append(weir)
        return weir

    def start(self, count):
        """So many more, at once; all know of each other when it returns."""
        new = [self.launch() for _ in range(count)]
        for weir in new:
            weir.wait_ready(60)
        self.wait_fleet(len(self.weirs))
        return new

    def wait_fleet(self, count):
        for weir in self.weirs:
            weir.wait_metric("weir_store_fleet", count, timeout_s=30)

    def change(self, **limit):
        """A reload of all of them."""
        for weir in self.weirs:
            weir.change(limits={"all": limit})
            weir.reload()

    def metric(self, name, **labels):
        return sum(weir.metric(name, **labels) for weir in self.weirs)

    def decisions(self, **labels):
        return self.metric("weir_ratelimit_decisions_total", limit="all", **labels)

    def calls(self, *names):
        """How often Redis has carried out these commands, from a client or from a script."""
        found = dict.fromkeys(names, 0)
        for line in self.redis.command("INFO", "commandstats").splitlines():
            name = line.partition(":")[0].removeprefix("cmdstat_")
            if name in found:
                found[name] = int(line.partition("calls=")[2].partition(",")[0])
        return found

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.__exit__(*error)


# ---- what is asked ----

def reads(tenant):
    data = request("GET", "/bytes/16", [f"Authorization: Bearer {tenant}"])
    return lambda number: data


def payments(tenant):
    """Each with a key of its own."""
    return lambda number: request("POST", "/v1/payments", headers_of(f"{tenant}-{number}", tenant), body_of())


def both(tenant):
    read, pay = reads(tenant), payments(tenant)
    return lambda number: (pay if number % 3 == 0 else read)(number)


def even(count):
    return [1] * count


def skewed(count):
    """Nine of ten at the first."""
    return [9 * (count - 1)] + [1] * (count - 1) if count > 1 else [1]


# ---- what is judged ----

def check_answered(stream):
    """Nothing but yes and no."""
    odd = [shot for shot in stream.shots if shot.status not in (200, 429)]
    check(not odd, f"{stream.name}: {len(odd)} answers are neither 200 nor 429: {odd[:3]} {odd[0].head if odd else ''}")
    check(stream.shots, f"{stream.name}: nothing was asked")


def admitted_of(shots):
    return [shot for shot in shots if shot.status == 200]


def check_bound(shots, rate, burst, late_s, name=""):
    """In no window more than `burst` and what `rate` gives in it, and in `late_s` before it."""
    answers, worst = [], None
    for shot in sorted(admitted_of(shots), key=lambda shot: -shot.sent):
        bisect.insort(answers, shot.answered)
        for count, answered in enumerate(answers, 1):  # those sent after shot.sent and answered by `answered`
            room = burst + rate * (answered - shot.sent + late_s) - count
            if worst is None or room < worst[0]:
                worst = room, count, answered - shot.sent
    check(worst is not None, f"{name}: nobody was admitted")
    room, count, width_s = worst
    print(f"{name}: {len(answers)} of {len(shots)} admitted; the fullest window: {count} in {width_s * 1000:.0f} ms, "
          f"{room:.1f} below the bound")
    check(room >= -1e-6, f"{name}: {count} were admitted within {width_s:.6f} s: {-room:.2f} above the bound")


def exact(shots, rate, burst):
    """How many an exact bucket admits of requests that come when these were sent."""
    debt, last, count = 0.0, None, 0
    for shot in sorted(shots, key=lambda shot: shot.sent):
        debt = max(0.0, debt - rate * (shot.sent - last)) if last is not None else 0.0
        last = shot.sent
        if debt + 1 <= burst:
            debt, count = debt + 1, count + 1
    return count


class Fullness:
    """The most that an exact bucket may have owed at a moment, whenever within their time the admitted were judged."""

    def __init__(self, shots, rate):
        admitted = admitted_of(shots)
        self.rate = rate
        self.sent = sorted(shot.sent for shot in admitted)
        self.by_answer = sorted(admitted, key=lambda shot: -shot.answered)

    def at(self, moment):
        """max over t of: those sent by `moment` and answered after t, less what drained in between."""
        count, most = 0, 0.0
        for shot in self.by_answer:
            if shot.sent <= moment:
                count += 1
                most = max(most, count - self.rate * max(0.0, moment - shot.answered))
        return most

    def within(self, begin, end):
        first, last = bisect.bisect_left(self.sent, begin), bisect.bisect_right(self.sent, end)
        return max(map(self.at, [begin] + self.sent[first:last]))


def check_no_false_refusal(shots, rate, burst, before_s, name=""):
    """Whoever was refused could have been by an exact bucket of this burst, then or `before_s` earlier."""
    fullness = Fullness(shots, rate)
    refused = [shot for shot in shots if shot.status == 429]
    false = [shot for shot in refused if fullness.within(shot.sent - before_s, shot.answered) + 1 <= burst]
    print(f"{name}: {len(refused)} of {len(shots)} refused, {len(false)} of them falsely")
    check(not false, f"{name}: {len(false)} of {len(refused)} refusals of {len(shots)} requests are false: {false[:5]}")


def check_excess(stream, rate=RATE, burst=BURST, late_s=LEASE_S):
    """Above the limit: held to it, and not far below it either."""
    check_answered(stream)
    check_bound(stream.shots, rate, burst, late_s, stream.name)
    count, ideal = len(admitted_of(stream.shots)), exact(stream.shots, rate, burst)
    check(count >= 0.7 * ideal, f"{stream.name}: {count} were admitted, where an exact bucket admits {ideal}")


# ---- the tests ----

SPAN_S = 3.0          # of load, unless the machine is too slow for more than the limit
SPAN_MAX_S = 10.0
REFUSED = 200         # of each stream above the limit


def streams_of(count, per_s):
    """Reads, payments and both, each of a tenant of its own; even, and most of it at one weir."""
    ways = {"even": even(count)}
    if count > 1:
        ways["skewed"] = skewed(count)
    return [Stream(make(f"sk_{make.__name__}_{way}_{per_s:.0f}"), per_s, shares,
                   name=f"{count} weirs, {make.__name__}, {way}, {per_s:.0f}/s")
            for way, shares in ways.items() for make in (reads, payments, both) if make is not both or way == "even"]


def run(weirs, streams, refused=0):
    """For a while; and until so many were refused of each, if that comes to pass."""
    begun = time.monotonic()
    with Load(weirs, streams) as load:
        while time.monotonic() < begun + (SPAN_S if min(stream.count(429) for stream in streams) >= refused else SPAN_MAX_S):
            time.sleep(0.05)
            load.check()


def wait_asked(load, streams, count, weirs=(None,)):
    """So many more of each stream; of each of these weirs."""
    begun = time.time()

    def asked():
        load.check()
        return all(sum(shot.sent > begun and shot.answered is not None and weir in (None, shot.weir)
                       for shot in stream.shots[-20 * count:]) >= count for stream in streams for weir in weirs)
    wait_until(asked, 60, f"{count} more requests")


def check_fleet(count):
    with Fleet(count) as fleet:
        over, calm = streams_of(count, OVER), streams_of(count, BELOW)
        run(fleet.weirs, over, REFUSED)
        for stream in over:
            with case(stream.name):
                check_excess(stream, late_s=0 if "payments" in stream.name else LEASE_S)
        run(fleet.weirs, calm)
        for stream in calm:
            with case(stream.name):
                check_answered(stream)
                if "payments" in stream.name:
                    check_no_false_refusal(stream.shots, RATE, BURST, 0, stream.name)
                else:
                    check_no_false_refusal(stream.shots, RATE, BURST / 2, LEASE_S + REST_MAX_S, stream.name)
        with case(f"{count} weirs: none judged alone"):
            for where in ("local", "open", "closed"):
                check_equal(fleet.decisions(where=where), 0, where)
        with case(f"{count} weirs: what they count is what their callers saw"):
            for status, decision in ((200, "admitted"), (429, "denied")):
                check_equal(fleet.decisions(decision=decision), sum(stream.count(status) for stream in over + calm), decision)


def test_one_weir():
    check_fleet(1)


def test_two_weirs():
    check_fleet(2)


def test_four_weirs():
    check_fleet(4)


def test_eight_weirs():
    check_fleet(8)


def test_refusals_cost_redis_next_to_nothing():
    """Between two questions of a weir that was refused lies half of the fleet's turn, whatever is asked of it meanwhile."""
    rate, burst, count = 16, 10, 4  # a token comes in 62 ms, half a turn is 125
    with Fleet(count, rate, burst) as fleet:
        def asked():
            return fleet.metric("weir_store_requests_total", op="lease")

        stream = Stream(reads("sk_1"), None, even(count), name="as fast as it goes")
        before, began, begun = fleet.calls("get", "set"), asked(), time.time()
        run(fleet.weirs, [stream])
        after, questions, took_s = fleet.calls("get", "set"), asked() - began, time.time() - begun
        check_excess(stream, rate, burst)
        refused = stream.count(429)
        turn_s = min(max(count / rate, REST_MIN_S), REST_MAX_S)
        granted_max = burst + rate * (took_s + LEASE_S)
        refused_max = count * (took_s / (turn_s / 2) + 1)
        own = 2 * count * (took_s + 2)  # what a weir reads and writes about itself
        gets, sets = (after[name] - before[name] for name in ("get", "set"))
        print(f"{refused} refused, {stream.count(200)} admitted in {took_s:.1f} s: {questions:.0f} questions, "
              f"at most {granted_max + refused_max:.0f}; GET {gets}, SET {sets}")
        with case("questions"):  # lease.lua looks at its bucket once, and writes it where it grants
            check(questions <= granted_max + refused_max, f"{questions} questions for {refused} refusals")
            check(gets <= granted_max + refused_max + own, f"{after} after {before}")
            check(sets <= granted_max + own, f"{after} after {before}")
        with case("all others were refused from memory"):
            cached = fleet.decisions(decision="denied", where="cache")
            check(cached >= refused - refused_max * 2 * stream.connections, f"{cached} of {refused}")


def since(stream, begin, end=None):
    """Its requests that lie wholly within this time, and none of those that were under way at its begin."""
    begin = max([begin] + [shot.answered for shot in stream.shots if shot.sent < begin and shot.answered])
    return [shot for shot in stream.shots if shot.sent >= begin and shot.answered and (end is None or shot.answered <= end)]


def test_weirs_come_and_go_under_load():
    with Fleet(2) as fleet:
        read, paid = Stream(reads("sk_1"), OVER, even(2), name="reads"), Stream(payments("sk_2"), OVER, even(2), name="payments")
        streams = [read, paid]
        with Load(fleet.weirs, streams) as load:
            wait_asked(load, streams, 200)
            load.join(fleet.start(1)[0])
            for stream in streams:
                stream.share(even(3))
            wait_asked(load, streams, 100, weirs=(2,))
            fleet.weirs.pop(0).kill()
            wait_until(lambda: load.gone == {0}, 30, "the first to be gone")
            fleet.wait_fleet(2)
            wait_asked(load, streams, 200)
        for stream, late_s in ((read, LEASE_S), (paid, 0)):
            with case(stream.name):
                odd = [shot for shot in stream.shots if shot.status not in (200, 429) and (shot.weir != 0 or shot.answered)]
                check_equal(odd, [], "neither 200 nor 429")
                check_bound(stream.shots, RATE, BURST, late_s, stream.name)
                check_equal({shot.weir for shot in admitted_of(stream.shots)}, {0, 1, 2}, "who admitted")


def test_a_limit_that_changes_under_load():
    """More takes effect at once, and so does less; who is below both is never refused."""
    low, high, bursts = 60, 180, (40, 20)
    with Fleet(4, low, bursts[0]) as fleet:
        read, paid = Stream(reads("sk_1"), 400, even(4), name="reads"), Stream(payments("sk_2"), 400, even(4), name="payments")
        calm = [Stream(reads("sk_3"), 0.9 * low, even(4), name="calm reads"),
                Stream(payments("sk_4"), 0.9 * low, skewed(4), name="calm payments")]
        marks = []

        def change(**limit):
            begin = time.time()
            fleet.change(**limit)
            marks.append((begin, time.time()))
            wait_asked(load, [read, paid], 500)
        with Load(fleet.weirs, [read, paid, *calm]) as load:
            wait_asked(load, [read, paid], 300)
            change(rate=f"{high}/s")
            change(rate=f"{low}/s", burst=bursts[1])
            load.check()
        spans = [(0, marks[0][0], low, bursts[0]), (marks[0][1], marks[1][0], high, bursts[0]), (marks[1][1], None, low, bursts[1])]
        for stream, late_s in ((read, LEASE_S), (paid, 0)):
            for begin, end, rate, burst in spans:
                name = f"{stream.name} at {rate}/s, {burst}"
                with case(name):
                    check_answered(stream)
                    shots = since(stream, begin + late_s if begin else 0, end)
                    check_bound(shots, rate, burst, late_s, name)
                    count, ideal = len(admitted_of(shots)), exact(shots, rate, 5)
                    check(count >= 0.6 * ideal, f"{count} were admitted, where an exact bucket admits {ideal}")
        for stream in calm:
            with case(stream.name):
                check_answered(stream)
                check_no_false_refusal(stream.shots, low, bursts[1] / 2, LEASE_S + REST_MAX_S, stream.name)


def test_more_takes_effect_for_who_was_refused():
    """What was refused at the old rate is asked again, however long the caller was told to stay away."""
    with Fleet(2, "1/day", 2) as fleet:
        def ask(number):
            return fleet.weirs[number].ask("GET", "/bytes/16", ["Authorization: Bearer sk_1"])
        check_equal([ask(number % 2).status for number in range(6)], [200, 200, 429, 429, 429, 429])
        check(int(ask(0).header("Retry-After")) > 80000, "it was told the whole of it")
        fleet.change(burst=4)
        for number in (0, 1):
            wait_until(lambda: ask(number).status == 200, 10, f"weir {number} to admit")
        check_equal(ask(0).status, 429)
        check(fleet.decisions(decision="denied", where="cache") > 0, "nobody was refused from memory")


def in_turn(fleet, tenant, count, keyed, path="/v1/payments"):
    """At one weir after the other: (status, the limits that refused) of each."""
    found = []
    for number in range(count):
        key = f"{tenant}-{path}-{number}" if keyed(number) else None
        answer = pay(fleet.weirs[number % len(fleet.weirs)], key, tenant=tenant, path=path)
        found.append((answer.status, json.loads(answer.body).get("violated-policies") if answer.status == 429 else None))
    return found


def test_a_shadow_counts_over_the_fleet_what_enforcing_would_have_refused():
    limits = {name: {"by": "tenant", "rate": "1/day", "burst": 5, "mode": name} for name in ("shadow", "enforce")}
    routes = [{"match": {"path": "/v1/payments"}, "limits": ["shadow"]}, {"limits": ["enforce"]}]
    ways = {"with keys": lambda number: True, "without": lambda number: False, "by turns": lambda number: number % 3 == 0}
    for name, keyed in ways.items():
        with case(name), Fleet(2, limits=limits, routes=routes) as fleet:
            check_equal(in_turn(fleet, "sk_1", 12, keyed), [(200, None)] * 12)
            check_equal(in_turn(fleet, "sk_1", 12, keyed, "/v1/payment_intents"), [(200, None)] * 5 + [(429, ["enforce"])] * 7)
            for mode in limits:
                counts = [fleet.metric("weir_ratelimit_decisions_total", limit=mode, mode=mode, decision=decision)
                          for decision in ("admitted", "denied")]
                check_equal(counts, [5, 7], mode)


def test_whom_one_limit_refuses_the_others_do_not_charge():
    limits = {"all": {"by": "tenant", "rate": "1/day", "burst": 5}, "route": {"by": ["tenant", "route"], "rate": "1/day", "burst": 2}}
    routes = [{"match": {"path": "/v1/payments"}}, {"limits": ["all"]}]
    with Fleet(2, limits=limits, routes=routes) as fleet:
        for tenant, has_key in (("sk_1", True), ("sk_2", False)):
            with case("with keys" if has_key else "without keys"):
                check_equal(in_turn(fleet, tenant, 6, lambda number: has_key), [(200, None)] * 2 + [(429, ["route"])] * 4)
                check_equal(in_turn(fleet, tenant, 5, lambda number: has_key, "/v1/payment_intents"),
                            [(200, None)] * 3 + [(429, ["all"])] * 2)
        with case("both are named"):
            check_equal(in_turn(fleet, "sk_2", 2, lambda number: True), [(429, ["all", "route"])] * 2)
        with case("and a replay asks neither"):
            check_equal(in_turn(fleet, "sk_1", 2, lambda number: True), [(200, None)] * 2)
