"""One measurement: a client runs against one proxy, and CPU time and answered
requests are read at the same two instants in the middle of the run, so that
connecting and stopping are nobody's cost."""

import glob
import json
import math
import os
import re
import select
import subprocess
import time

import proxies

WARM_S = 0.4
HANDSHAKE_S = 0.002  # more than one takes, with client and proxy at work on the others' requests
IDLE_READY_S = 60
REQUEST_PATH = "/v1/payments"
UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


class MeasureError(Exception):
    """A measurement that gave no figures."""


def process_tree(pid):
    pids = [pid]
    for children in glob.glob("/proc/%d/task/*/children" % pid):
        try:
            with open(children, encoding="ascii") as file:
                for child in file.read().split():
                    pids += process_tree(int(child))
        except OSError:
            continue  # the thread ended
    return pids


def cpu_ns(pid):
    """User and system time of a process, its threads and its children, in nanoseconds."""
    total = 0
    for member in process_tree(pid):
        for path in glob.glob("/proc/%d/task/*/schedstat" % member):
            try:
                with open(path, encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except OSError:
                continue
    if total == 0:
        raise MeasureError("this kernel keeps no /proc/PID/schedstat")
    return total


def memory_kib(pid):
    """Memory of a process and its children: all but what is mapped from files, which other programs share.
    Pages that a parent and its child share count once."""
    total = 0
    for member in process_tree(pid):
        with open("/proc/%d/smaps_rollup" % member, encoding="ascii") as file:
            total += sum(int(size) for size in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", file.read(), re.M))
    return total


def machine_busy_ns():
    """Time that all cores of the machine spent working."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def instant(backend, proxy, client):
    """What is read twice in a run: clock, the proxy's CPU time, answers, everybody else's CPU time."""
    cpu = cpu_ns(proxy.process.pid)
    others = machine_busy_ns() - cpu - cpu_ns(client.pid) - cpu_ns(backend.process.pid)
    return time.monotonic(), cpu, backend.answered(), others


def wrk_argv(proxy, kind, connections, seconds, headers=()):
    scheme, port = ("http", proxy.port) if kind == "plain" else ("https", proxy.tls_port)
    url = "%s://127.0.0.1:%d%s" % (scheme, port, REQUEST_PATH)
    script = ["-s", os.path.join(proxies.PEERS, "payment.lua")] if kind == "payment" else []
    fields = [word for header in headers for word in ("-H", header)]
    return ["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--latency", "--timeout", "5s"] + fields + script + [url]


def load_argv(setup, proxy, kind, connections, seconds, extra):
    port = proxy.tls_port if kind == "tls" else proxy.port
    argv = [os.path.join(setup.tools, "bench_load"), "--port", str(port), "--connections", str(connections),
            "--seconds", str(seconds)] + extra
    return argv + (["--tls"] if kind == "tls" else [])


def wrk_read(text):
    """Latency and errors from what wrk prints."""
    def latency(percent):
        found = re.search(r"^\s+%d%%\s+([\d.]+)(us|ms|s|m)$" % percent, text, re.M)
        if not found:
            raise MeasureError("wrk printed no latency:\n" + text)
        return float(found.group(1)) * UNITS_US[found.group(2)]

    errors = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if sockets:
        errors += sum(int(n) for n in sockets.groups())
    return {"p50_us": latency(50), "p99_us": latency(99), "errors": errors}


def load_read(text):
    data = json.loads(text)
    return {"p50_us": data["p50_us"], "p99_us": data["p99_us"], "errors": data["errors"] + data["resumed"]}


def cell_measure(setup, backend, proxy, cell, seconds, client_core):
    """CPU time and answers in the middle of one client's run; latency as the client saw it."""
    kind, mode, connections = cell["kind"], cell["mode"], cell["connections"]
    warm_s = WARM_S + (connections * HANDSHAKE_S if kind != "plain" and mode == "keep" else 0)
    window_s = seconds - WARM_S - 0.1
    seconds = math.ceil(warm_s + window_s)
    if mode == "keep":
        argv, read = wrk_argv(proxy, kind, connections, seconds, cell.get("headers", ())), wrk_read
    else:
        extra = ["--new"] if mode == "new" else ["--rate", str(cell["rate"])]
        argv, read = load_argv(setup, proxy, kind, connections, seconds, extra), load_read
    environment = dict(os.environ, OPENSSL_CONF=os.path.join(proxies.PEERS, "openssl.cnf"))
    proxy.log_lines_drop()
    client = proxies.process_start(argv, client_core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment)
    try:
        time.sleep(warm_s)
        first = instant(backend, proxy, client)
        time.sleep(window_s)
        last = instant(backend, proxy, client)
        text = client.communicate(timeout=seconds + 15)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired as error:
        raise MeasureError("the client did not end") from error
    finally:
        proxies.process_stop(client)
    if client.returncode != 0:
        raise MeasureError("the client failed:\n" + text)
    took_s, cpu, answered, others = (b - a for a, b in zip(first, last))
    if answered == 0:
        raise MeasureError("no request was answered")
    sample = read(text)
    sample.update(cpu_us=cpu / 1e3 / answered, per_second=answered / took_s, busy=cpu / 1e9 / took_s,
                  others_busy=max(0.0, others / 1e9 / took_s), logged_bytes=proxy.log_lines_drop())
    return sample


def idle_open(setup, port, count, kind, core):
    """Starts idle clients and waits until all of them have had their answer."""
    client = proxies.process_start([os.path.join(setup.tools, "bench_idle"), str(port), str(count), kind], core,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    readable = select.select([client.stdout], [], [], IDLE_READY_S)[0]
    said = client.stdout.readline().decode("utf-8", "replace").strip() if readable else "not ready in time"
    if said != "ready %d" % count:
        proxies.process_stop(client)
        raise MeasureError("idle clients: %s" % said)
    return client


def memory_settled_kib(pid):
    """Memory once it has stopped moving for half a second, at most five."""
    held = memory_kib(pid)
    still_since = time.monotonic()
    deadline = still_since + 5
    while time.monotonic() < deadline and time.monotonic() - still_since < 0.5:
        time.sleep(0.1)
        now = memory_kib(pid)
        if now != held:
            held, still_since = now, time.monotonic()
    return held


def idle_measure(setup, proxy, kind, count, client_core):
    """KiB that one idle client holds: what grew, beside what the first fifty needed."""
    port = proxy.tls_port if kind == "tls" else proxy.port
    clients = []
    try:
        clients.append(idle_open(setup, port, 50, kind, client_core))
        before = memory_settled_kib(proxy.process.pid)
        clients.append(idle_open(setup, port, count, kind, client_core))
        after = memory_settled_kib(proxy.process.pid)
    finally:
        for client in clients:
            client.stdin.close()
            proxies.process_stop(client)
    return {"kib_per_client": (after - before) / count, "before_kib": before, "after_kib": after}
