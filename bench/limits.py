"""What limits cost, and how exact they are: several weirs on one Redis, whose own
counts say how often it was asked; the CPU of one weir with limits over the same weir
without; and what is admitted of three times the limit, beside an exact bucket.
Called by run.py; the load is that of the end-to-end tests."""

import bisect
import concurrent.futures
import copy
import itertools
import os
import re
import sys
import time

import measure
import proxies
import report

sys.path.append(os.path.join(os.path.dirname(proxies.PEERS), os.pardir, "tests", "e2e"))
from harness import Failure  # noqa: E402
from harness.http import request  # noqa: E402
from harness.load import Load, Stream  # noqa: E402

LEASE_S = 0.2                            # LEASE_US of include/weir/policy/lease.h
READS_PER_S, READS_TRIPS_MAX = 1000, 0.2
REFUSED_TRIPS_MAX = 0.05                 # about none
PAYMENTS_PER_S = 200
ROOMY_RATE, ROOMY_BURST = 1200, 600      # above what is asked of it
TIGHT_RATE, TIGHT_BURST = 100, 50        # a third of what is asked of it
FLEET_READY_S = 20
WARM_S = 0.5                             # until a weir knows how much is asked of it
GRID_S = 0.04                            # of the plot
CPU_CONNECTIONS = 32
CREDENTIAL = "Authorization: Bearer sk_bench_4f3c2b1a"  # also in peers/payment.lua
# Scripts that no request asked for: each makes one of these, and no other script does.
OWN_SCRIPTS = {"zcard": "fleet", "zcount": "sweep"}


class Plan:
    """How much of it: at most a minute, and at most twenty seconds of --quick."""

    def __init__(self, quick):
        self.fleets = (1, 8) if quick else (1, 2, 4, 8)
        self.plotted = (1, 4, 8)
        self.payments_s, self.reads_s, self.flood_s = (0.3, 0.7, 0.3) if quick else (0.5, 1.5, 1.0)
        self.tight_s = 1.6 if quick else 4.0
        self.cpu_rounds, self.cpu_s = (2 if quick else 5), 1

    def tight_for_s(self, count):
        return self.tight_s if count in self.plotted else self.tight_s / 2


# ---- weirs ----

class LimitedWeir(proxies.Weir):
    """One weir on the Redis of this part. `limits` are those of all routes but `roomy` and `tight`."""

    template = "weir_limits.yaml"

    def __init__(self, setup, name, redis, secret, limits):
        super().__init__(setup)
        self.name, self.redis, self.secret, self.limits = name, redis, secret, limits
        self.folder = os.path.join(setup.folder, name)
        self.access_log, self.output, self.events_log = (
            os.path.join(self.folder, file) for file in ("access.log", "output.log", "events.log"))

    @property
    def address(self):
        return "127.0.0.1", self.port

    def argv(self, words):
        words.update(STORE=self.redis.store(self.secret), LIMITS=self.limits, ROOMY_RATE=ROOMY_RATE,
                     ROOMY_BURST=ROOMY_BURST, TIGHT_RATE=TIGHT_RATE, TIGHT_BURST=TIGHT_BURST)
        return super().argv(words)


class Limits:
    """All of it, on a Redis of its own."""

    def __init__(self, run):
        self.run, self.plan = run, Plan(run.options.quick)
        self.setup = run.setup
        self.free = copy.copy(run.setup)  # a fleet is more than two cores have room for: it runs where there is room
        self.free.core = None
        self.redis = proxies.Redis(run.setup)
        self.secret = proxies.secret_write(run.setup, run.folder)
        self.weirs = []

    def start(self, setup, names, limits):
        """Several at once: most of it is waiting."""
        weirs = [LimitedWeir(setup, name, self.redis, self.secret, limits) for name in names]
        self.weirs += weirs
        for weir in weirs:
            weir.launch()
        for weir in weirs:
            weir.ready_wait()
        return weirs

    def stop(self):
        with concurrent.futures.ThreadPoolExecutor(len(self.weirs) or 1) as pool:
            list(pool.map(LimitedWeir.stop, self.weirs))
        self.weirs = []

    def close(self):
        self.stop()
        self.redis.stop()

    def metric(self, name, **labels):
        return sum(weir.metric(name, **labels) for weir in self.weirs)

    def fleet_wait(self):
        deadline = time.monotonic() + FLEET_READY_S
        while any(weir.metric("weir_store_fleet") != len(self.weirs) for weir in self.weirs):
            if time.monotonic() > deadline:
                raise measure.MeasureError("%d weirs do not find each other" % len(self.weirs))
            time.sleep(0.05)

    # How often Redis is asked.

    def calls(self):
        """Scripts that Redis has run by its own count, those of requests alone; and what they did to it."""
        found = {name: int(calls) for name, calls in
                 re.findall(r"^cmdstat_(\w+):calls=(\d+)", self.redis.ask("INFO commandstats"), re.M)}
        count = lambda name: found.get(name, 0)  # noqa: E731
        return {"trips": count("evalsha") + count("eval") - sum(map(count, OWN_SCRIPTS)),
                "begins": count("zadd") - count("zcard"),  # both begin and fleet add to an index
                "completes": count("zrem"), "writes": count("set")}

    def ask(self, make, per_s, seconds, name, warm_s=0.0):
        """Asks all weirs in turn, and says what Redis did meanwhile; of the time after `warm_s`. `per_s` None: as fast
        as it goes."""
        stream = Stream(make, per_s, [1] * len(self.weirs), name=name)
        before, first = self.calls(), 0
        with Load(self.weirs, [stream]) as load:
            if warm_s:
                time.sleep(warm_s)
                before, first = self.calls(), len(stream.shots)
            time.sleep(seconds)
            load.check()
        counted = {name: after - before[name] for name, after in self.calls().items()}
        shots = stream.shots[first:]
        counted.update(asked=len(shots), admitted=sum(shot.status == 200 for shot in shots),
                       refused=sum(shot.status == 429 for shot in shots), seconds=seconds)
        if not shots or counted["admitted"] + counted["refused"] < len(shots):
            raise measure.MeasureError("%s: of %d requests some were answered neither 200 nor 429: %s" %
                                       (name, len(shots), stream.statuses()))
        return stream, counted

    def fleet_measure(self, count):
        """Payments, reads below their limit and three times a limit, on so many weirs; each of a caller of its own."""
        new = range(len(self.weirs), count)
        self.start(self.free, ["weir-limits-%d" % number for number in new], "[tenant, address]")
        self.fleet_wait()
        plan, who = self.plan, "sk_fleet_%d" % count
        _, paid = self.ask(payments(who), PAYMENTS_PER_S, plan.payments_s, "payments")
        _, read = self.ask(reads(who, "/v1/roomy"), READS_PER_S, plan.reads_s, "reads", WARM_S)
        stream, tight = self.ask(reads(who, "/v1/tight"), 3 * TIGHT_RATE, plan.tight_for_s(count), "three times")
        tight.update(exactness(stream.shots, TIGHT_RATE, TIGHT_BURST))
        _, flood = self.ask(reads(who + "_flood", "/v1/tight"), None, plan.flood_s, "as fast as it goes")
        counted = {"payments": paid, "reads": read, "tight": tight, "flood": flood}
        print("  %s: %s" % (weirs_text(count), "; ".join("%s: %d admitted, %d refused, %d scripts" % (
            name, each["admitted"], each["refused"], each["trips"]) for name, each in counted.items())), flush=True)
        return counted, curve(stream.shots)

    # What a request costs weir.

    def cpu_measure(self):
        """Samples of one weir with limits and one without, in turn: reads, whose tokens are prepaid, and payments."""
        pair = self.start(self.setup, ["limits-off"], "[]") + self.start(self.setup, ["limits-on"], "[tenant, address]")
        for number in range(self.plan.cpu_rounds):
            for kind in ("plain", "payment"):
                for weir in (pair if number % 2 == 0 else reversed(pair)):
                    try:
                        yield self.cell_measure(weir, kind, number)
                    except measure.MeasureError as error:  # a busy machine may leave it no time at all: one sample less
                        self.run.problem("limits, %s %s: %s" % (weir.name, kind, error))

    def cell_measure(self, weir, kind, number):
        cell = {"kind": kind, "mode": "keep", "connections": CPU_CONNECTIONS, "headers": [CREDENTIAL]}
        sample = measure.cell_measure(self.setup, self.run.backend, weir, cell, self.plan.cpu_s, self.run.client_core)
        sample.update(proxy=weir.name, kind=kind, round=number)
        print("  %-7s %-10s %6.1f us/req %7.0f req/s%s" % (
            kind, weir.name, sample["cpu_us"], sample["per_second"],
            "  %d errors" % sample["errors"] if sample["errors"] else ""), flush=True)
        return sample


def measure_all(run):
    """The whole part; None where it cannot be measured here."""
    why = proxies.Weir(run.setup).missing() or proxies.redis_missing()
    if why:
        run.problem("limits have no rows: " + why)
        return None
    print("limits", flush=True)
    limits, results = None, {"fleets": [], "curves": {}, "cpu_samples": []}
    try:
        limits = Limits(run)
        for count in limits.plan.fleets:
            counted, points = limits.fleet_measure(count)
            results["fleets"].append(dict(counted, weirs=count))
            if count in limits.plan.plotted:
                results["curves"][count] = points
        limits.stop()
        for sample in limits.cpu_measure():
            results["cpu_samples"].append(sample)
    except (measure.MeasureError, proxies.StartError, Failure, OSError) as error:
        run.problem("limits: %s" % error)
    finally:
        if limits:
            limits.close()
    return results


# ---- what is asked ----

def reads(tenant, path):
    data = request("GET", path, ["Authorization: Bearer " + tenant])
    return lambda number: data


def payments(tenant):
    """Each with a key of its own."""
    return lambda number: request("POST", "/v1/payments", [
        "Authorization: Bearer " + tenant, "Idempotency-Key: %s-%d" % (tenant, number),
        "Content-Type: application/json"], '{"amount":1299,"currency":"eur"}')


# ---- what came of it ----

def share(counted, of, to):
    return counted[of] / counted[to] if counted[to] else 0.0


def refusing(counted):
    """Scripts that refused, for each request that was: a script that granted has written its bucket."""
    return (counted["trips"] - counted["writes"]) / counted["refused"] if counted["refused"] else 0.0


def bucket_exact(shots, rate, burst):
    """Those of the requests that an exact bucket admits, were they judged when they were sent."""
    debt, last = 0.0, None
    for shot in sorted(shots, key=lambda shot: shot.sent):
        debt = max(0.0, debt - rate * (shot.sent - last)) if last is not None else 0.0
        last = shot.sent
        if debt + 1 <= burst:
            debt += 1
            yield shot


def exactness(shots, rate, burst):
    """`above`: by how much the fullest window is above burst + rate * w. Of each window only those requests count that
    were sent and answered within it, so none is blamed for what took its time on the way."""
    answered, above = [], float("-inf")
    for shot in sorted((shot for shot in shots if shot.status == 200), key=lambda shot: -shot.sent):
        bisect.insort(answered, shot.answered)
        above = max(above, max(count - burst - rate * (end - shot.sent) for count, end in enumerate(answered, 1)))
    return {"exact": sum(1 for _ in bucket_exact(shots, rate, burst)), "above": above, "above_max": rate * LEASE_S}


def curve(shots):
    """Rows of seconds, admitted until then, and what an exact bucket admitted of the same requests."""
    begin = min(shot.sent for shot in shots)
    admitted = sorted(shot.answered - begin for shot in shots if shot.status == 200)
    exact = sorted(shot.sent - begin for shot in bucket_exact(shots, TIGHT_RATE, TIGHT_BURST))
    steps = int((max(shot.sent for shot in shots) - begin) / GRID_S)
    return [(step * GRID_S, bisect.bisect_right(admitted, step * GRID_S), bisect.bisect_right(exact, step * GRID_S))
            for step in range(steps + 1)]


def cpu_cells(samples):
    """By kind: the weir with limits and the one without, where a round has both."""
    for kind in ("plain", "payment"):
        on, off = ([sample for sample in samples if (sample["kind"], sample["proxy"]) == (kind, name)]
                   for name in ("limits-on", "limits-off"))
        if {sample["round"] for sample in on} & {sample["round"] for sample in off}:
            yield kind, report.Cell(on), report.Cell(off)


# ---- what is read ----

def weirs_text(count):
    return "%d weir%s" % (count, "" if count == 1 else "s")


def text_build(results):
    parts = []
    if results["fleets"]:
        parts.append(report.table(
            ["limits: scripts of Redis", "begin / payment", "complete / payment", "/ admitted read at %d/s" % READS_PER_S,
             "/ refused read at 3 times the limit", "/ refused read", "at times the limit"],
            [[weirs_text(fleet["weirs"]), "%.2f" % share(fleet["payments"], "begins", "admitted"),
              "%.2f" % share(fleet["payments"], "completes", "admitted"),
              "%.3f" % share(fleet["reads"], "trips", "admitted"),
              "%.3f" % refusing(fleet["tight"]), "%.4f" % refusing(fleet["flood"]),
              "%.0f" % (fleet["flood"]["asked"] / fleet["flood"]["seconds"] / TIGHT_RATE)] for fleet in results["fleets"]]))
        parts.append(report.table(
            ["limits: %d/s burst %d, three times asked" % (TIGHT_RATE, TIGHT_BURST), "asked", "admitted", "an exact bucket",
             "fullest window above burst + rate * w", "at most"],
            [[weirs_text(fleet["weirs"])] + ["%d" % fleet["tight"][name] for name in ("asked", "admitted", "exact")] +
             ["%.1f" % fleet["tight"]["above"], "%.0f" % fleet["tight"]["above_max"]] for fleet in results["fleets"]]))
    cells = list(cpu_cells(results["cpu_samples"]))
    if cells:
        parts.append(report.table(
            ["limits: CPU us/request", "off", "on", "on / off", "low-high", "rounds"],
            [[{"plain": "read, tokens prepaid", "payment": "payment, TLS, its limit in begin"}[kind], "%.1f" % off.cpu_us,
              "%.1f" % on.cpu_us, "%.2f" % on.ratio(off), "%.2f-%.2f" % (min(ratios), max(ratios)), str(len(ratios))]
             for kind, on, off in cells for ratios in [ratios_of(on, off)]]))
    parts.append("How limits were measured:\n" + "\n".join("- " + note for note in notes_build(results)))
    return "\n\n".join(parts)


def notes_build(results):
    yield ("scripts: by INFO commandstats, without those that no request asked for (that a weir is there, each second; the "
           "sweep of open records); a script that refused is one that wrote no bucket")
    yield "reads from half a second after their begin; payments each with a key of its own; every caller with a full bucket"
    yield ("windows: all of them, by the times of sending and answering, so that none is above by what took its time on the "
           "way; above 0 only by tokens prepaid in another window")
    if results["cpu_samples"]:
        yield ("CPU: two limits, by tenant and by client_ip, that refuse nobody; one weir with them and one without, in "
               "turn, %d connections; all other programs of the machine took %.2f of a core (median), above 0.1 the "
               "figures are noisy" %
               (CPU_CONNECTIONS, report.median([sample["others_busy"] for sample in results["cpu_samples"]])))


def ratios_of(on, off):
    return [sample["cpu_us"] / off.samples[number]["cpu_us"] for number, sample in on.samples.items()
            if number in off.samples]


def budget_list(results):
    """(what, at most, measured), as report.budget_list has them."""
    for fleet in results["fleets"]:
        if fleet["weirs"] == max(each["weirs"] for each in results["fleets"]):
            yield "begin / payment, " + weirs_text(fleet["weirs"]), 1.0, share(fleet["payments"], "begins", "admitted")
            yield ("script / read at %d/s, %s" % (READS_PER_S, weirs_text(fleet["weirs"])), READS_TRIPS_MAX,
                   share(fleet["reads"], "trips", "admitted"))
            for name, what in (("tight", "at 3 times the limit"), ("flood", "as fast as it goes")):
                yield ("script / refused read %s, %s" % (what, weirs_text(fleet["weirs"])), REFUSED_TRIPS_MAX,
                       refusing(fleet[name]))
        yield ("admitted above burst + rate * w, " + weirs_text(fleet["weirs"]), fleet["tight"]["above_max"],
               fleet["tight"]["above"])


def json_of(results):
    return {"fleets": results["fleets"], "cpu_samples": results["cpu_samples"],
            "cpu": [{"kind": kind, "on_us": on.cpu_us, "off_us": off.cpu_us, "on_to_off": on.ratio(off)}
                    for kind, on, off in cpu_cells(results["cpu_samples"])]}


def plot_write(folder, results):
    """The curves as a table and as a picture; returns the paths."""
    counts = sorted(results["curves"])
    if not counts:
        return []
    table, picture = (os.path.join(folder, "limits-admitted." + ending) for ending in ("csv", "svg"))
    with open(table, "w", encoding="utf-8") as file:
        file.write(",".join(["seconds"] + ["weirs_%d,exact_of_%d" % (count, count) for count in counts]) + "\n")
        for rows in itertools.zip_longest(*(results["curves"][count] for count in counts)):
            at = next(row[0] for row in rows if row)
            file.write(",".join(["%.2f" % at] + ["%d,%d" % row[1:] if row else "," for row in rows]) + "\n")
    apart = max((abs(row[1] - row[2]) for rows in results["curves"].values() for row in rows), default=0)
    report.gnuplot_pipe(plot_script(table, picture, counts, max(1, apart // 4)))
    return [table, picture]


def plot_script(table, picture, counts, step):
    colours = dict(zip(counts, ("#1a73e8", "#e8710a", "#188038", "#d93025")))
    names = {count: "%d prox%s" % (count, "y" if count == 1 else "ies") for count in counts}
    return "\n".join([
        "set terminal svg size 760,560 background rgb 'white' font 'sans-serif,13'",
        "set output '%s'" % picture,
        "set datafile separator ','",
        "set border 3", "set tics nomirror", "set grid linecolor rgb '#dddddd'",
        "set lmargin 9", "set rmargin 3", "set samples 2",  # what is plotted beside the table are straight lines
        "set multiplot",
        "set origin 0,0.38", "set size 1,0.62",
        "set title 'Admitted of %d requests a second under a limit of %d/s, burst %d'" %
        (3 * TIGHT_RATE, TIGHT_RATE, TIGHT_BURST),
        "set ylabel 'admitted'", "set yrange [0:*]", "set key top left Left reverse",
        "plot %d*x title 'asked' linecolor rgb '#bbbbbb' dashtype 2, " % (3 * TIGHT_RATE) +
        "%d + %d*(x + %g) title 'burst + rate * (t + 200 ms)' linecolor rgb '#9aa0a6' dashtype 3, " %
        (TIGHT_BURST, TIGHT_RATE, LEASE_S) +
        "'%s' skip 1 using 1:3 with lines linewidth 3 linecolor rgb 'black' title 'an exact bucket', " % table +
        ", ".join("'%s' skip 1 using 1:%d with lines linewidth 1.5 linecolor rgb '%s' title '%s'" %
                  (table, 2 + 2 * i, colours[count], names[count]) for i, count in enumerate(counts)),
        "set origin 0,0", "set size 1,0.38",
        "set title 'The same, less what an exact bucket admitted of the same requests'",
        "set ylabel 'requests'", "set xlabel 'seconds'", "set yrange [*:*]", "set ytics %d" % step, "unset key",
        # Titles that nobody sees: else the picture would hold the path of the table.
        "plot 0 title 'none' linecolor rgb 'black' linewidth 3, " +
        ", ".join("'%s' skip 1 using 1:(column(%d)-column(%d)) title '%s' with lines linewidth 1.5 linecolor rgb '%s'" %
                  (table, 2 + 2 * i, 3 + 2 * i, names[count], colours[count]) for i, count in enumerate(counts)),
        "unset multiplot", ""])
