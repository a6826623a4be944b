"""Three times what weir can do, of six classes: what each class loses, what payments
feel of it, and how the level moves. Clients and processor are bench/overload.c, on a
core of their own; a ballast takes most of the proxy's core, since on two equal cores
no client can offer three times what the proxy can do. Called by run.py."""

import copy
import json
import os
import subprocess
import threading
import time

import measure
import proxies
import report

# Class, its part of what is asked, how many connections its clients open, method.
CLASSES = (("payment", 10, 512, "POST"), ("write", 10, 256, "POST"), ("read", 25, 256, "GET"),
           ("list", 15, 256, "GET"), ("test", 25, 256, "GET"), ("background", 15, 256, "GET"))
PAYMENT_SHARE = CLASSES[0][1] / sum(row[1] for row in CLASSES)
TIMES = 3
DELAY_MS = 20             # of the processor; real ones take longer, which would flatter the ratios
BALLAST_US = (200, 300)   # busy, of a period
CAPACITY_CONNECTIONS = 400
LEVEL_EVERY_S = 0.2
LOST_MAX_PERCENT, P99_TIMES_MAX, TURNS_MAX = 0.1, 2.0, 2


class Plan:
    """At most a minute, and a quarter of that of --quick."""

    def __init__(self, quick):
        self.capacity_s, self.unloaded_s = (1, 2) if quick else (3, 5)
        self.overload_s, self.settle_s = (7, 4) if quick else (24, 5)
        self.peers = () if quick else (proxies.Nginx, proxies.Haproxy)
        self.peer_s = 5


class OverloadWeir(proxies.Weir):
    template = "weir_overload.yaml"
    tls = False


class Levels(threading.Thread):
    """weir_shed_level as time goes by, until it is told to stop."""

    def __init__(self, weir):
        super().__init__(daemon=True)
        self.weir, self.rows, self.ends = weir, [], threading.Event()
        self.began = time.monotonic()

    def run(self):
        while not self.ends.wait(LEVEL_EVERY_S):
            try:
                self.rows.append((round(time.monotonic() - self.began, 2), int(self.weir.metric("weir_shed_level"))))
            except (OSError, ValueError):
                continue  # it is busy: the next one

    def stop(self):
        self.ends.set()
        self.join()
        return self.rows


class Overload:
    def __init__(self, run):
        self.run, self.plan, self.setup = run, Plan(run.options.quick), copy.copy(run.setup)
        self.tool = os.path.join(self.setup.tools, "bench_overload")
        self.setup.backend_port = proxies.port_free()
        self.processes = [
            proxies.process_start([self.tool, "--processor", str(self.setup.backend_port), "--delay-ms", str(DELAY_MS)],
                                  self.setup.client_core),
            proxies.process_start([self.tool, "--ballast", "%d,%d" % BALLAST_US], self.setup.core)]
        self.proxy = None

    def start(self, cls):
        """One proxy, less urgent than the ballast."""
        self.proxy = cls(self.setup)
        self.proxy.start()
        try:
            os.setpriority(os.PRIO_PROCESS, self.processes[1].pid, -10)
        except PermissionError:
            for pid in measure.process_tree(self.proxy.process.pid):
                os.setpriority(os.PRIO_PROCESS, pid, 10)
        return self.proxy

    def stop(self):
        if self.proxy:
            self.proxy.stop()
            self.proxy = None

    def close(self):
        self.stop()
        for process in self.processes:
            proxies.process_stop(process)

    def ask(self, classes, rate, seconds, settle=0):
        """What bench_overload printed, and how busy its core was, and everybody else."""
        argv = [self.tool, "--port", str(self.proxy.port), "--seconds", str(seconds), "--settle", str(settle),
                "--rate", "%d" % rate]
        for row in classes:
            argv += ["--class", ",".join(map(str, row))]
        client = proxies.process_start(argv, self.setup.client_core, stdout=subprocess.PIPE)
        pids = [client.pid, self.processes[0].pid], [self.processes[1].pid, self.proxy.process.pid]
        time.sleep(seconds * 0.2)
        first = self.instant(*pids)
        time.sleep(seconds * 0.7)
        last = self.instant(*pids)
        printed = client.communicate(timeout=seconds + 30)[0]
        if client.returncode != 0:
            raise measure.MeasureError("bench_overload ended with %d" % client.returncode)
        passed, ours, others = (after - before for before, after in zip(first, last))
        found = json.loads(printed)
        found.update(rate=rate, duration=seconds, clients_busy=ours / passed, others_busy=max(0, others) / passed)
        return found

    @staticmethod
    def instant(clients, proxies_and_ballast):
        """Nanoseconds: the clock, what clients and processor took, and what nobody of us did."""
        ours = sum(measure.cpu_ns(pid) for pid in clients)
        others = measure.machine_busy_ns() - ours - sum(measure.cpu_ns(pid) for pid in proxies_and_ballast)
        return time.monotonic_ns(), ours, others

    def mixture(self):
        return [(name, share, connections, method, "/" + name) for name, share, connections, method in CLASSES]

    def capacity(self):
        self.start(OverloadWeir)
        found = self.ask([("all", 1, CAPACITY_CONNECTIONS, "GET", "/")], 0, self.plan.capacity_s)
        self.stop()
        return found["classes"][0]["answered"]["count"] / self.plan.capacity_s

    def unloaded(self, rate):
        """As many payments as later, and nothing else."""
        name, _, connections, method = CLASSES[0]
        self.start(OverloadWeir)
        found = self.ask([(name, 1, connections, method, "/" + name)], rate * PAYMENT_SHARE, self.plan.unloaded_s, 1)
        self.stop()
        return found

    def overload(self, rate):
        weir = self.start(OverloadWeir)
        levels = Levels(weir)
        levels.start()
        found = self.ask(self.mixture(), rate, self.plan.overload_s, self.plan.settle_s)
        found["levels"] = levels.stop()
        self.stop()
        return found

    def peer(self, cls, rate):
        self.start(cls)
        found = self.ask(self.mixture(), rate, self.plan.peer_s, 1)
        self.stop()
        return found


def measure_all(run):
    why = proxies.Weir(run.setup).missing() or ("two cores are needed" if run.core is None else None)
    if why:
        run.problem("overload has no rows: " + why)
        return None
    print("overload", flush=True)
    results, overload = {"peers": {}}, Overload(run)
    try:
        results["capacity"] = overload.capacity()
        rate = results["capacity"] * TIMES
        results["unloaded"] = overload.unloaded(rate)
        results["overload"] = overload.overload(rate)
        for cls in overload.plan.peers:
            if cls(run.setup).missing() is None:
                results["peers"][cls.name] = overload.peer(cls, rate)
    except (measure.MeasureError, proxies.StartError, subprocess.TimeoutExpired, OSError, ValueError) as error:
        run.problem("overload: %s" % error)
    finally:
        overload.close()
    return results if "overload" in results else None


# ---- what came of it ----

def percent(found, *names):
    parts = sum(found[name]["count"] if isinstance(found[name], dict) else found[name] for name in names)
    return 100.0 * parts / found["due"] if found["due"] else 0.0


def lost_percent(found):
    """What was due and never answered by the processor's word."""
    return 100.0 - percent(found, "answered")


def turns(levels):
    """How often the level turned round."""
    count, direction = 0, 0
    for (_, before), (_, after) in zip(levels, levels[1:]):
        moves = (after > before) - (after < before)
        count += 1 if moves and direction and moves != direction else 0
        direction = moves or direction
    return count


def p99_ratio(results):
    before = results["unloaded"]["classes"][0]["settled"]["p99_us"]
    return results["overload"]["classes"][0]["settled"]["p99_us"] / before if before else None


def row(proxy, each, seconds, sheds=True):
    ms = ["%.1f" % (each["settled"][name] / 1000) if each["settled"]["count"] else "-" for name in ("p50_us", "p99_us")]
    return [proxy, each["name"], "%.0f" % (each["due"] / seconds), "%.2f" % percent(each, "answered"),
            "%.1f" % percent(each, "shed") if sheds else "-",
            "%.1f" % percent(each, "failed", "given_up", "unanswered")] + ms


def text_build(results):
    found = results["overload"]
    rows = [row("weir", each, found["duration"]) for each in found["classes"]]
    rows += [row(name, peer["classes"][0], peer["duration"], False) for name, peer in results["peers"].items()]
    return "\n\n".join([
        report.table(["overload: %d times capacity" % TIMES, "class", "asked/s", "answered %", "shed %",
                      "given up or failed %", "p50 ms", "p99 ms"], rows),
        "How overload was measured:\n" + "\n".join("- " + note for note in notes_build(results))])


def notes_build(results):
    found, before = results["overload"], results["unloaded"]["classes"][0]["settled"]
    yield ("weir can do %.0f requests a second of these with what the ballast leaves it of its core; %.0f are asked, by the "
           "clock, whatever comes back" % (results["capacity"], found["rate"]))
    yield ("classes by route; the processor takes %d ms; a request waits for a connection of its class (%s) and is given up "
           "after 2 s; latency counts from when it was due, and of what is due after the first %d s, while the level finds "
           "its place" % (DELAY_MS, ", ".join("%s %d" % (row[0], row[2]) for row in CLASSES),
                          settle_s(found)))
    yield ("payments alone, as many a second: p50 %.1f ms, p99 %.1f ms; in the first seconds of the overload p99 is %s ms" %
           (before["p50_us"] / 1000, before["p99_us"] / 1000,
            ", ".join("%.0f" % (second["answered"]["p99_us"] / 1000) for second in found["seconds"][:settle_s(found)])))
    yield ("clients and processor took %.2f of their core, other programs of the machine %.2f of one: where these two leave "
           "little of a core, the clients are what is overloaded" % (found["clients_busy"], found["others_busy"]))
    if found["levels"]:
        yield "the level ended at %d of 400 and turned round %d times in %d s" % (
            found["levels"][-1][1], turns(found["levels"]), found["duration"])
    for name, peer in results["peers"].items():
        yield "%s is asked as much as weir, whatever its own capacity; of its classes it loses %s %%" % (
            name, ", ".join("%s %.0f" % (each["name"], lost_percent(each)) for each in peer["classes"]))


def settle_s(found):
    return Plan(found["duration"] == Plan(True).overload_s).settle_s


def budget_list(results):
    found = results["overload"]
    yield ("payments lost at %d times capacity, percent" % TIMES, LOST_MAX_PERCENT, lost_percent(found["classes"][0]))
    yield "payments' p99 at %d times capacity / unloaded" % TIMES, P99_TIMES_MAX, p99_ratio(results)
    yield "times that the level turned round", TURNS_MAX, turns(found["levels"])  # in less than a minute


def json_of(results):
    return dict(results, p99_ratio=p99_ratio(results), level_turns=turns(results["overload"]["levels"]),
                payments_lost_percent=lost_percent(results["overload"]["classes"][0]))


def plot_write(folder, results):
    """Payments second by second and the level, as tables and as a picture; returns the paths."""
    found = results["overload"]
    payments, levels, picture = (os.path.join(folder, name) for name in
                                 ("overload-payments.csv", "overload-level.csv", "overload.svg"))
    with open(payments, "w", encoding="utf-8") as file:
        file.write("second,answered,p50_ms,p99_ms\n")
        for number, second in enumerate(found["seconds"]):
            file.write("%.1f,%d,%.2f,%.2f\n" % (number + 0.5, second["answered"]["count"],
                                                second["answered"]["p50_us"] / 1000, second["answered"]["p99_us"] / 1000))
    with open(levels, "w", encoding="utf-8") as file:
        file.write("seconds,level\n" + "".join("%.2f,%d\n" % row for row in found["levels"]))
    before = results["unloaded"]["classes"][0]["settled"]["p99_us"] / 1000
    report.gnuplot_pipe("\n".join([
        "set terminal svg size 760,520 background rgb 'white' font 'sans-serif,13'",
        "set output '%s'" % picture,
        "set datafile separator ','",
        "set border 3", "set tics nomirror", "set grid linecolor rgb '#dddddd'",
        "set lmargin 9", "set rmargin 3", "set samples 2", "set xrange [0:%d]" % found["duration"],
        "set multiplot",
        "set origin 0,0.42", "set size 1,0.58",
        "set title 'Payments while %d times as much is asked as can be done'" % TIMES,
        "set ylabel 'ms'", "set logscale y", "set key top right",
        "plot '%s' skip 1 using 1:4 with linespoints pointtype 7 pointsize 0.4 linewidth 2 linecolor rgb '#1a73e8' "
        "title 'p99', '%s' skip 1 using 1:3 with lines linewidth 1.5 linecolor rgb '#188038' title 'p50', "
        "%g title 'p99 unloaded' linecolor rgb '#9aa0a6' dashtype 3" % (payments, payments, before),
        "set origin 0,0", "set size 1,0.42",
        "unset logscale y",
        "set title 'The level: 100 all of test and background, 200 lists, 300 reads, 400 writes'",
        "set ylabel 'level'", "set xlabel 'seconds'", "set yrange [0:400]", "set ytics 100", "unset key",
        "plot '%s' skip 1 using 1:2 with steps linewidth 2 linecolor rgb '#d93025'" % levels,
        "unset multiplot", ""]))
    return [payments, levels, picture]
