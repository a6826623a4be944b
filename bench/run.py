"""weir against the pump, nginx and HAProxy: CPU of the proxy per request, latency,
and memory per idle client. Called by run.sh once everything is built. Rounds are
interleaved, the order turns, and the figures are medians and ratios: what they say
holds between the programs of one run on one machine, and nothing else does."""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import limits
import measure
import overload
import proxies
import report
import sick

CONNECTIONS = (16, 64, 512)
# Parts that have a file of their own: measure_all(run); text_build, budget_list, json_of, plot_write of what it returned.
PARTS = {"limits": limits, "overload": overload, "sick": sick}


def options_read():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="64 connections, short measurements: about four minutes")
    parser.add_argument("--only", choices=("plain", "tls", "payment", "memory", *PARTS), help="one part alone")
    parser.add_argument("--seconds", type=int, help="of each measurement (2)")
    parser.add_argument("--rounds", type=int, help="of keep-alive loads (5); of the others three fifths")
    parser.add_argument("--minutes", type=float, default=12.0, help="no round begins that would end later (12)")
    parser.add_argument("--connections", help="comma-separated (16,64,512)")
    parser.add_argument("--proxies", help="comma-separated: pump,weir,weir-embedded,weir-redis,nginx,haproxy")
    parser.add_argument("--idle", type=int, help="idle clients (4000)")
    parser.add_argument("--cores", default="0,1", help="proxy's core, client's and backend's core (0,1)")
    parser.add_argument("--peer-log", choices=("on", "off"), default="on", help="access log of the peers (on)")
    parser.add_argument("--build", default="build", help="folder with weir and bench/")
    options = parser.parse_args()
    options.seconds = max(1, options.seconds or (1 if options.quick else 2))
    options.rounds = max(1, options.rounds or (3 if options.quick else 5))
    options.idle = options.idle or 4000
    options.connections = [int(n) for n in options.connections.split(",")] if options.connections else (
        [64] if options.quick else list(CONNECTIONS))
    options.build = os.path.abspath(options.build)
    return options


def cores_choose(text):
    wanted = [int(core) for core in text.split(",")]
    present = os.sched_getaffinity(0)
    if len(wanted) == 2 and set(wanted) <= present:
        return wanted
    print("cores %s are not all here: nothing is pinned, the figures are worth less" % text)
    return [None, None]


def loads_list(options):
    """Every load to measure: which connections, which way, how many rounds."""
    lesser = max(1, options.rounds * 3 // 5)
    for kind in ("plain", "tls"):
        if options.only in (None, kind):
            for mode, rounds in (("keep", options.rounds), ("new", lesser)):
                for connections in options.connections:
                    yield {"kind": kind, "mode": mode, "connections": connections, "rounds": rounds}
    if options.only in (None, "payment"):
        for connections in options.connections:
            yield {"kind": "payment", "mode": "keep", "connections": connections, "rounds": options.rounds}
            if options.only == "payment":  # the floor, in the same run
                yield {"kind": "plain", "mode": "keep", "connections": connections, "rounds": options.rounds}


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.started = time.monotonic()
        self.samples, self.memory, self.problems, self.records, self.parts = [], [], [], {}, {}
        self.core, self.client_core = cores_choose(options.cores)
        self.tools = os.path.join(options.build, "bench")
        self.running = []
        self.backend = proxies.Backend(folder, self.tools, self.client_core)
        self.setup = proxies.Setup(folder, self.tools, options.build, self.backend.port,
                                   (self.core, self.client_core), options.peer_log == "on")
        self.proxies = self.proxies_choose()

    def problem(self, text):
        print("  ! " + text.replace("\n", "\n    "), flush=True)
        self.problems.append(text)

    def proxies_choose(self):
        wanted = self.options.proxies.split(",") if self.options.proxies else [cls.name for cls in proxies.ALL]
        chosen = []
        for cls in proxies.ALL:
            proxy = cls(self.setup)
            why = proxy.missing() if proxy.name in wanted else None
            if why:
                self.problem("%s has no rows: %s" % (proxy.name, why))
            elif proxy.name in wanted:
                chosen.append(proxy)
        return chosen

    def left_s(self):
        return self.options.minutes * 60 - (time.monotonic() - self.started)

    def proxies_start(self):
        for proxy in list(self.proxies):
            try:
                proxy.start()
                self.running.append(proxy)
            except proxies.StartError as error:
                self.proxies.remove(proxy)
                self.problem("%s has no rows: %s" % (proxy.name, error))
        ciphers = {proxy.cipher for proxy in self.running if proxy.cipher}
        if len(ciphers) > 1:
            print("servers prefer different suites (%s); the clients ask for one" % ", ".join(sorted(ciphers)))

    def stop(self):
        for proxy in self.running:
            proxy.stop()
        self.running = []

    def cell_run(self, proxy, load, number):
        if load["kind"] not in proxy.kinds or (load["kind"] == "tls" and not proxy.tls):
            return
        try:
            sample = measure.cell_measure(self.setup, self.backend, proxy, load, self.options.seconds,
                                          self.client_core)
        except measure.MeasureError as error:
            self.problem("%s, %s %s, %d connections: %s" % (proxy.name, load["kind"], load["mode"],
                                                            load["connections"], error))
            if proxy.process.poll() is not None:
                self.problem("%s ended with %d" % (proxy.name, proxy.process.returncode))
                self.proxies.remove(proxy)
            return
        sample.update(proxy=proxy.name, kind=load["kind"], mode=load["mode"], connections=load["connections"],
                      round=number)
        self.samples.append(sample)
        print("  %-5s %-5s %4d %-8s %6.1f us/req %7.0f req/s  p50 %6.2f ms  p99 %6.2f ms%s" % (
            load["kind"], load["mode"], load["connections"], proxy.name, sample["cpu_us"], sample["per_second"],
            sample["p50_us"] / 1000, sample["p99_us"] / 1000,
            "  %d errors" % sample["errors"] if sample["errors"] else ""), flush=True)

    def rounds_run(self, loads, reserve_s=0.0):
        """All loads once for each round; within a load the proxies follow one another, in a turning order."""
        took_s = 0.0
        for number in range(max((load["rounds"] for load in loads), default=0)):
            if number > 0 and took_s > self.left_s() - reserve_s:
                self.problem("stopped after %d rounds: no time for more" % number)
                return
            print("round %d" % (number + 1), flush=True)
            began = time.monotonic()
            for load in loads:
                if number < load["rounds"]:
                    turn = number % max(1, len(self.proxies))
                    for proxy in self.proxies[turn:] + self.proxies[:turn]:
                        self.cell_run(proxy, load, number)
            took_s = time.monotonic() - began

    def paced_loads(self):
        """A fixed rate that all carry with ease: a quarter of what the slowest reached, as client and backend
        share a core."""
        results = report.Results(self.samples, [])
        for kind in ("plain", "tls"):
            cells = results.cells.get((kind, "keep", report.HEADLINE), {})
            if cells:
                rate = int(min(cell.per_second for cell in cells.values()) / 4 / 100) * 100
                yield {"kind": kind, "mode": "paced", "connections": report.HEADLINE, "rate": max(100, rate),
                       "rounds": max(1, self.options.rounds * 3 // 5)}

    def loads_run(self):
        loads = list(loads_list(self.options))
        if not loads:
            return
        self.proxies_start()
        try:
            self.rounds_run(loads, reserve_s=self.options.rounds * 5 * self.options.seconds)
            paced = list(self.paced_loads())
            for load in paced:
                print("fixed rate, %s: %d requests a second" % (load["kind"], load["rate"]))
            self.rounds_run(paced)
            self.records = {proxy.name: proxy.record_bytes() for proxy in self.running
                            if isinstance(proxy, proxies.WeirRecords)}
        finally:
            self.stop()
        self.logs_check()

    def logs_check(self):
        """A log that was said to be on has lines."""
        for proxy in self.proxies:
            if not proxy.logs_to_file or (proxy.name != "weir" and self.options.peer_log == "off"):
                continue
            samples = [sample for sample in self.samples if sample["proxy"] == proxy.name]
            if samples and not any(sample["logged_bytes"] for sample in samples):
                self.problem("%s wrote no access log" % proxy.name)

    def memory_run(self):
        """Growth hardly varies, so two rounds are enough; none begins that would leave too little for the loads."""
        for number in range(1 if self.options.quick else 2):
            began = time.monotonic()
            for proxy in [proxy for proxy in self.proxies if proxy.tls and "tls" in proxy.kinds]:
                for kind in ("plain", "tls"):
                    self.memory_measure(proxy, kind, number)
            if time.monotonic() - began > self.options.minutes * 60 / 8:
                return

    def memory_measure(self, proxy, kind, number):
        try:
            proxy.start()
            self.running.append(proxy)
            sample = measure.idle_measure(self.setup, proxy, kind, self.options.idle, self.client_core)
            sample.update(proxy=proxy.name, kind=kind, round=number)
            self.memory.append(sample)
            print("  idle %-5s %-8s %6.2f KiB per client" % (kind, proxy.name, sample["kib_per_client"]), flush=True)
        except (proxies.StartError, measure.MeasureError) as error:
            self.problem("memory of %s, %s: %s" % (proxy.name, kind, error))
        finally:
            self.stop()

    def close(self):
        self.stop()
        self.backend.stop()


def commit_name():
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False) if shutil.which("git") else None
    return done.stdout.decode().strip() if done and done.returncode == 0 else "unknown"


def facts_collect(run):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(),
                    "kernel": platform.release()},
        "commit": commit_name(),
        "versions": {proxy.name: proxy.version() for proxy in run.proxies if proxy.version()},
        "options": {key: value for key, value in vars(run.options).items() if key != "build"},
    }


def notes_build(run, facts):
    options = run.options
    log = {"on": "nginx to a file, buffered by 64 KiB; HAProxy to a ring in its memory",
           "off": "of the peers off"}[options.peer_log]
    suites = sorted({proxy.cipher for proxy in run.proxies if proxy.cipher})
    yield "%s, %d cores, kernel %s; commit %s; %s" % (
        facts["machine"]["cpu"], facts["machine"]["cores"], facts["machine"]["kernel"], facts["commit"],
        ", ".join(facts["versions"].values()))
    yield ("one worker each on core %s; client and backend on core %s; %d-byte answers; %d s a measurement, proxies "
           "in turn, rounds interleaved; medians, ratios within a round" %
           (run.core, run.client_core, proxies.Backend.BODY_BYTES, options.seconds))
    yield ("CPU: user and system time of the proxy's processes over requests answered, both read in the middle of a "
           "run; keep-alive by wrk (closed loop), the others by bench/load.c: new connections close after one answer, "
           "full handshakes; at a fixed rate (a quarter of what the slowest proxy carried) latency counts from when a "
           "request was due")
    if run.samples:
        yield ("all other programs of the machine took %.2f of a core (median); above 0.1 the figures are noisy" %
               report.median([sample["others_busy"] for sample in run.samples]))
    for name, value in run.records.items():
        if value:
            yield ("payment: a key of its own for each request, its record made before the first byte and its sealed "
                   "answer stored before the client gets it; %s: %.0f bytes for each record with its %d-byte answer" %
                   (name, value, proxies.Backend.BODY_BYTES))
    yield "access log: weir JSON to a file; %s; forwarded headers on, see bench/peers" % log
    yield ("TLS: %s asked for by the client, X25519, ECDSA P-256; each server by its own choice: %s" %
           ("TLSv1.3 TLS_AES_256_GCM_SHA384", ", ".join(suites) or "-"))
    yield ("memory: growth of what is not mapped from files by %d idle clients after one request each, beside what the "
           "first 50 needed" % options.idle)
    yield ("the pump is plain also beside TLS; it pools nothing: at new connections it opens two for each request, so it "
           "is no floor there")


def main():
    options = options_read()
    out = os.path.join(options.build, "bench")
    os.makedirs(out, exist_ok=True)
    proxies.descriptors_raise()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="run.", dir=out) as folder:
        run = Run(options, folder)
        try:
            if options.only in (None, "memory"):
                run.memory_run()
            for name, part in PARTS.items():
                if options.only in (None, name):
                    run.parts[name] = part.measure_all(run)
            run.loads_run()
        finally:
            run.close()
    facts = facts_collect(run)
    results = report.Results(run.samples, run.memory)
    parts = {name: found for name, found in run.parts.items() if found}
    budgets = [budget for name, found in parts.items() for budget in PARTS[name].budget_list(found)]
    text = report.text_build(results, list(notes_build(run, facts)), run.problems,
                             [PARTS[name].text_build(found) for name, found in parts.items()], budgets)
    report.json_write(os.path.join(out, "results.json"), results, facts, run.samples, run.memory, run.problems,
                      {name: PARTS[name].json_of(found) for name, found in parts.items()}, budgets)
    with open(os.path.join(out, "results.md"), "w", encoding="utf-8") as file:
        file.write(text)
    print("\n" + text)
    pictures = report.svg_write(out, results)
    for name, found in parts.items():
        pictures += PARTS[name].plot_write(out, found)
    print("written: " + " ".join([os.path.join(out, "results.json"), os.path.join(out, "results.md")] + pictures))
    return 1 if run.problems and not run.samples and not run.memory and not parts else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (proxies.StartError, measure.MeasureError, OSError, subprocess.SubprocessError) as failure:
        print("bench: %s" % failure, file=sys.stderr)
        sys.exit(1)
