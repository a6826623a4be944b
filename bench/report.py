"""From samples to what is read: medians, ratios paired within a round, the budgets,
where weir loses, a table, JSON and SVG."""

import json
import os
import statistics
import subprocess

PEERS = ("nginx", "haproxy")
HEADLINE = 64  # connections at which the budgets are judged
BUDGETS = {"pump": 1.08, "plain": 0.85, "tls": 0.80, "payment": 2.0}
MEMORY_BUDGETS_KIB = {"plain": 0.6, "tls": 14.2}
MODES = {"keep": "keep-alive", "new": "new connections", "paced": "fixed rate"}
COLOURS = {"pump": "#9aa0a6", "weir": "#1a73e8", "nginx": "#188038", "haproxy": "#e8710a",
           "weir-embedded": "#a142f4", "weir-redis": "#d93025"}


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


class Cell:
    """All samples of one proxy at one load."""

    def __init__(self, samples):
        self.samples = {sample["round"]: sample for sample in samples}
        for name in ("cpu_us", "per_second", "busy", "p50_us", "p99_us"):
            setattr(self, name, median([sample[name] for sample in samples]))
        values = [sample["cpu_us"] for sample in samples]
        self.cpu_low, self.cpu_high = min(values), max(values)
        self.errors = sum(sample["errors"] for sample in samples)

    def ratio(self, other, name="cpu_us"):
        """Median over the rounds of this one's figure to the other's in the same round: drift cancels out."""
        if other is None:
            return None
        return median([sample[name] / other.samples[number][name] for number, sample in self.samples.items()
                       if number in other.samples and other.samples[number][name]])


class Results:
    def __init__(self, samples, memory):
        loads = {}
        for sample in samples:
            loads.setdefault((sample["kind"], sample["mode"], sample["connections"]), {}) \
                 .setdefault(sample["proxy"], []).append(sample)
        self.cells = {load: {proxy: Cell(of) for proxy, of in by_proxy.items()} for load, by_proxy in loads.items()}
        self.memory = {}
        for sample in memory:
            self.memory.setdefault(sample["kind"], {}).setdefault(sample["proxy"], []).append(
                sample["kib_per_client"])
        self.memory = {kind: {proxy: median(values) for proxy, values in by_proxy.items()}
                       for kind, by_proxy in self.memory.items()}

    def pump(self, load):
        """The pump's cell at this load; for TLS the plain pump's, as there is no other."""
        cells = self.cells.get(load, {})
        if load[0] != "plain" and load[1] != "paced":
            cells = self.cells.get(("plain",) + load[1:], {})
        return cells.get("pump")

    def better_peer(self, load, name="cpu_us"):
        """Name and cell of the peer whose median is lower."""
        cells = self.cells.get(load, {})
        peers = [(getattr(cells[peer], name), peer) for peer in PEERS if peer in cells]
        return (min(peers)[1], cells[min(peers)[1]]) if peers else (None, None)


def number(value, form="%.2f"):
    return "-" if value is None else form % value


def load_rows(results):
    for load in sorted(results.cells, key=lambda load: (load[0], list(MODES).index(load[1]), load[2])):
        cells = results.cells[load]
        pump = results.pump(load)
        peer_name, peer = results.better_peer(load)
        for proxy in COLOURS:
            if proxy not in cells:
                continue
            cell = cells[proxy]
            yield [load[0], MODES[load[1]], str(load[2]), proxy, number(cell.cpu_us, "%.1f"),
                   "%.1f-%.1f" % (cell.cpu_low, cell.cpu_high),
                   number(cell.ratio(pump) if proxy != "pump" else None),
                   number(cell.ratio(peer) if proxy not in ("pump", peer_name) else None),
                   number(cell.per_second, "%.0f"), number(cell.busy * 100, "%.0f %%"),
                   number(cell.p50_us / 1000), number(cell.p99_us / 1000), str(len(cell.samples)),
                   str(cell.errors) if cell.errors else ""]


LOAD_HEAD = ["", "mode", "conns", "proxy", "CPU us/req", "low-high", "/ pump", "/ better peer", "req/s", "core busy",
             "p50 ms", "p99 ms", "rounds", "errors"]


def memory_rows(results):
    for kind, by_proxy in sorted(results.memory.items()):
        peers = [by_proxy[peer] for peer in PEERS if peer in by_proxy]
        for proxy in COLOURS:
            if proxy in by_proxy:
                ratio = by_proxy[proxy] / min(peers) if proxy == "weir" and peers and min(peers) > 0 else None
                yield [kind, proxy, number(by_proxy[proxy]), number(ratio)]


def table(head, rows):
    rows = [head] + list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def budget_list(results):
    """Each budget of the design with what was measured at the headline load: (what, limit, value)."""
    for kind in ("plain", "tls"):
        load = (kind, "keep", HEADLINE)
        cells = results.cells.get(load, {})
        weir = cells.get("weir")
        if weir and kind == "plain" and "pump" in cells:
            yield "plain CPU / pump", BUDGETS["pump"], weir.ratio(cells["pump"])
        peer_name, peer = results.better_peer(load)
        if weir and peer:
            yield "%s CPU / %s (better peer)" % (kind, peer_name), BUDGETS[kind], weir.ratio(peer)
    for proxy in ("weir-redis", "weir-embedded"):
        cell = results.cells.get(("payment", "keep", HEADLINE), {}).get(proxy)
        pump = results.pump(("payment", "keep", HEADLINE))
        if cell and pump:
            yield "payment CPU, TLS and %s / pump" % proxy[5:], BUDGETS["payment"], cell.ratio(pump)
    for kind, limit in MEMORY_BUDGETS_KIB.items():
        value = results.memory.get(kind, {}).get("weir")
        if value is not None:
            yield "%s KiB per idle client" % kind, limit, value


def verdict(limit, value):
    """`value` None: what should have happened never did."""
    if value is not None and value <= limit:
        return "met"
    return "MISSED" if value is None or limit <= 0 else "MISSED by %.0f %%" % ((value / limit - 1) * 100)


def payment_list(results):
    """What a record costs: weir with each store beside weir without, on the same requests."""
    for load, cells in sorted(results.cells.items()):
        for proxy in ("weir-redis", "weir-embedded"):
            if load[0] == "payment" and proxy in cells and "weir" in cells:
                yield "a payment with its record (%s, %d connections) takes %.2f of the CPU and %.2f of the median time" % (
                    proxy[5:], load[2], cells[proxy].ratio(cells["weir"]), cells[proxy].ratio(cells["weir"], "p50_us"))


def losses(results):
    """Every figure in which the better peer, for that figure, is ahead of weir; of latency what is beyond noise."""
    names = {"cpu_us": ("CPU", 1.0), "p50_us": ("p50", 1.05), "p99_us": ("p99", 1.05)}
    for load, cells in sorted(results.cells.items()):
        for name, (title, beyond) in names.items():
            peer_name, peer = results.better_peer(load, name)
            ratio = cells["weir"].ratio(peer, name) if "weir" in cells and peer else None
            if ratio is not None and ratio > beyond:
                yield "%s %s, %d connections: %s is %.2f of %s's" % (load[0], MODES[load[1]], load[2], title, ratio,
                                                                     peer_name)
    for kind, by_proxy in sorted(results.memory.items()):
        for peer in PEERS:
            if "weir" in by_proxy and peer in by_proxy and by_proxy["weir"] > by_proxy[peer]:
                yield "%s memory per idle client: %.2f KiB, %s %.2f" % (kind, by_proxy["weir"], peer, by_proxy[peer])


def text_build(results, notes, problems, texts=(), budgets_more=()):
    """`texts` and `budgets_more` come from parts that have a file of their own."""
    parts = []
    if results.cells:
        parts.append(table(LOAD_HEAD, load_rows(results)))
    if results.memory:
        parts.append(table(["memory", "proxy", "KiB per idle client", "/ better peer"], memory_rows(results)))
    parts.extend(text for text in texts if text)
    own = [budget for budget in budget_list(results) if budget[2] is not None]
    budgets = own + list(budgets_more)
    if budgets:
        parts.append(table(["budget (%d connections, keep-alive; idle clients)" % HEADLINE, "at most", "measured", ""],
                           [[what, "%.2f" % limit, number(value), verdict(limit, value)] for what, limit, value in budgets]))
        parts.extend("Beside plain proxying: " + line for line in payment_list(results))
    if own:
        lost = list(losses(results))
        parts.append("Where weir loses:\n" + "\n".join("- " + line for line in lost) if lost
                     else "Where weir loses: in nothing that was measured.")
    if problems:
        parts.append("Problems:\n" + "\n".join("- " + line for line in problems))
    parts.append("How it was measured:\n" + "\n".join("- " + note for note in notes))
    return "\n\n".join(parts) + "\n"


def json_write(path, results, facts, samples, memory, problems, parts=None, budgets_more=()):
    """`parts`: by name, what parts that have a file of their own add."""
    data = dict(facts, **(parts or {}))
    own = [budget for budget in budget_list(results) if budget[2] is not None]
    data["budgets"] = [{"what": what, "at_most": limit, "measured": value, "met": verdict(limit, value) == "met"}
                       for what, limit, value in [*own, *budgets_more]]
    data["weir_loses"] = list(losses(results))
    data["problems"] = problems
    data["medians"] = []
    for load, cells in sorted(results.cells.items()):
        peer_name, peer = results.better_peer(load)
        for proxy, cell in cells.items():
            data["medians"].append({
                "kind": load[0], "mode": load[1], "connections": load[2], "proxy": proxy, "rounds": len(cell.samples),
                "cpu_us": cell.cpu_us, "cpu_us_low": cell.cpu_low, "cpu_us_high": cell.cpu_high,
                "cpu_to_pump": cell.ratio(results.pump(load)), "cpu_to_better_peer": cell.ratio(peer),
                "better_peer": peer_name, "per_second": cell.per_second, "busy": cell.busy, "p50_us": cell.p50_us,
                "p99_us": cell.p99_us, "errors": cell.errors})
    data["memory_kib_per_idle_client"] = results.memory
    data["samples"] = samples
    data["memory_samples"] = memory
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.write("\n")


def svg_write(folder, results):
    """One picture for each kind of load and one of memory; returns their paths."""
    written = []
    for kind, mode in sorted({load[:2] for load in results.cells if load[1] != "paced"}):
        counts = sorted(load[2] for load in results.cells if load[:2] == (kind, mode))
        shown = [proxy for proxy in COLOURS if any(proxy in results.cells[(kind, mode, n)] for n in counts)]
        rows = []
        for count in counts:
            cells = results.cells[(kind, mode, count)]
            figures = [(cells[p].cpu_us, cells[p].cpu_low, cells[p].cpu_high) if p in cells else ("?",) * 3
                       for p in shown]
            rows.append(["\"%d connections\"" % count] + [str(value) for figure in figures for value in figure])
        plots = ["$data using %d:%d:%d%s title '%s' linecolor rgb '%s'" %
                 (2 + 3 * i, 3 + 3 * i, 4 + 3 * i, ":xticlabels(1)" if i == 0 else "", proxy, COLOURS[proxy])
                 for i, proxy in enumerate(shown)]
        title = "%s, %s: CPU of the proxy per request (median, lowest to highest round)" % (
            {"plain": "HTTP", "tls": "HTTPS", "payment": "HTTPS payments"}[kind], MODES[mode])
        path = os.path.join(folder, "%s-%s.svg" % (kind, mode))
        gnuplot_run(path, title, "microseconds", rows, plots, "errorbars linewidth 1")
        written.append(path)
    if results.memory:
        shown = [proxy for proxy in COLOURS if any(proxy in by for by in results.memory.values())]
        rows = [["\"%s\"" % kind] + [str(by.get(proxy, "?")) for proxy in shown]
                for kind, by in sorted(results.memory.items())]
        plots = ["$data using %d%s title '%s' linecolor rgb '%s'" %
                 (2 + i, ":xticlabels(1)" if i == 0 else "", proxy, COLOURS[proxy]) for i, proxy in enumerate(shown)]
        path = os.path.join(folder, "memory.svg")
        gnuplot_run(path, "Memory for each idle client", "KiB", rows, plots, "clustered")
        written.append(path)
    return written


def gnuplot_run(path, title, axis, rows, plots, style):
    script = "\n".join([
        "set terminal svg size 760,420 background rgb 'white' font 'sans-serif,13'",
        "set output '%s'" % path,
        "set title '%s'" % title,
        "set ylabel '%s'" % axis,
        "set yrange [0:*]",
        "set datafile missing '?'",
        "set style data histograms",
        "set style histogram %s gap 1" % style,
        "set style fill solid 0.9 noborder",
        "set errorbars linecolor rgb 'black'",
        "set boxwidth 0.9",
        "set grid ytics linecolor rgb '#dddddd'",
        "set border 3",
        "set tics nomirror",
        "set xtics scale 0",
        "set key outside bottom center horizontal",
        "$data << EOD"] + [" ".join(row) for row in rows] + ["EOD", "plot " + ", ".join(plots), ""])
    gnuplot_pipe(script)


def gnuplot_pipe(script):
    done = subprocess.run(["gnuplot"], input=script.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if done.returncode != 0:
        raise OSError("gnuplot: " + done.stdout.decode("utf-8", "replace"))
