"""A processor that is stopped, killed, and returns, while merchants go on asking:
how soon its breaker opens, who is lost meanwhile, how much it has to do when it is
back and what is tried first; with three endpoints, and with a processor that stands
by. And what breaker and balancing cost. Merchants and endpoints are bench/sick.c,
which notes every request on both sides. Called by run.py."""

import bisect
import calendar
import collections
import csv
import json
import os
import re
import signal
import struct
import subprocess
import time

import measure
import proxies
import report

RATE, PAYMENTS_PERCENT, DELAY_US = 2000, 20, 2000
SLOW_MS, RESPONSE_MS = 500, 2000
BIN_S = 0.1
OPEN_WITHIN_MS = 150            # beside slow_is
FIRST_SECOND_MAX_PERCENT = 5.0  # of what is offered to all
COST_MAX_PERCENT = 2.0
PLAIN_CONNECTIONS = 64
NOTE = struct.Struct("=QQII")   # struct note of sick.c
KINDS = ("read", "payment", "check")

Asked = collections.namedtuple("Asked", "number kind due over status outcome reason endpoint")
Note = collections.namedtuple("Note", "endpoint number kind received answered")
# What befalls endpoints: they are gone from `gone` on and back at `back`; it is looked at until `until`. All in seconds.
Episode = collections.namedtuple("Episode", "how endpoints gone back until")


class Plan:
    """About a minute and a half, and half a minute of --quick."""

    def __init__(self, quick):
        self.steady_s = 2 if quick else 4
        self.stopped_s, self.killed_s, self.away_s = (3, 2, 4) if quick else (6, 5, 6)
        self.back_s = 5 if quick else 15
        self.plain_rounds = 1 if quick else 3

    def endpoints_s(self):
        return self.steady_s + self.stopped_s + self.back_s + self.killed_s + self.back_s

    def failover_s(self):
        return self.steady_s + self.away_s + self.back_s


# ---- who takes part ----

class Endpoint:
    """One of them, by its port; each of its lives keeps notes of its own."""

    def __init__(self, tool, folder, name, core):
        self.tool, self.folder, self.name, self.core = tool, folder, name, core
        self.port, self.lives, self.process = proxies.port_free(), [], None
        self.start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def start(self):
        notes = os.path.join(self.folder, "%s-%d.notes" % (self.name, len(self.lives)))
        self.lives.append(notes)
        self.process = proxies.process_start([self.tool, "--endpoint", str(self.port), "--name", self.name, "--delay-us",
                                              str(DELAY_US), "--notes", notes], self.core)

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        proxies.process_stop(self.process)

    def notes(self):
        """All that it was asked, in order."""
        for life in self.lives:
            with open(life, "rb") as file:
                count = struct.unpack("=Q", file.read(8))[0]
                for received, answered, number, kind in NOTE.iter_unpack(file.read(count * NOTE.size)):
                    yield Note(self.name, number, KINDS[kind], received / 1e6, answered / 1e6)


class SickWeir(proxies.Weir):
    tls = False

    def __init__(self, setup, template, **lists):
        super().__init__(setup)
        self.template = template
        self.words = {name: ", ".join('"%s"' % endpoint.address for endpoint in endpoints)
                      for name, endpoints in lists.items()}

    def argv(self, words):
        words.update(self.words, SLOW_MS=SLOW_MS, RESPONSE_MS=RESPONSE_MS,
                     SECRET=proxies.secret_write(self.setup, self.folder))
        return super().argv(words)

    def events(self):
        """Its log of events; `at` is seconds of the monotonic clock."""
        offset = time.time() - time.monotonic()
        with open(self.events_log, encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                whole, part = re.match(r"(.*)(\.\d+)Z", event["ts"]).groups()
                event["at"] = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(part) - offset
                yield event


class Scene:
    """One weir, its endpoints, and merchants that ask for so many seconds; `acts` are what is done meanwhile."""

    def __init__(self, run, name, template, **names):
        self.run, self.name, self.setup = run, name, run.setup
        self.tool = os.path.join(self.setup.tools, "bench_sick")
        self.folder = os.path.join(self.setup.folder, name)
        os.makedirs(self.folder, exist_ok=True)
        lists = {word: [Endpoint(self.tool, self.folder, each, self.setup.client_core) for each in of]
                 for word, of in names.items()}
        self.endpoints = {endpoint.name: endpoint for of in lists.values() for endpoint in of}
        self.weir = SickWeir(self.setup, template, **lists)

    def close(self):
        self.weir.stop()
        for endpoint in self.endpoints.values():
            endpoint.close()

    def act(self, begin, acts):
        """Does each at its time; returns the times at which each began, or, of a kill, at which it was over."""
        done = []
        for at, names, what in acts:
            time.sleep(max(0.0, begin + at - time.monotonic()))
            began = time.monotonic()
            for name in names:
                if what == "start":
                    self.endpoints[name].start()
                else:
                    self.endpoints[name].signal(what)
            done.append(time.monotonic() if what == signal.SIGKILL else began)
        return done

    def play(self, seconds, acts):
        self.weir.start()
        time.sleep(1.5)  # checks have seen all endpoints
        path = os.path.join(self.folder, "asked.csv")
        with open(path, "wb") as out:
            client = proxies.process_start(
                [self.tool, "--port", str(self.weir.port), "--seconds", str(seconds), "--rate", str(RATE), "--payments",
                 str(PAYMENTS_PERCENT), "--run", self.name], self.setup.client_core, stdout=out)
        begin, busy = time.monotonic(), self.busy_ns(client)
        done = self.act(begin, acts)
        time.sleep(max(0.0, begin + seconds - 0.2 - time.monotonic()))
        ours, others = (after - before for after, before in zip(self.busy_ns(client), busy))
        passed = (time.monotonic() - begin) * 1e9
        if client.wait(timeout=30) != 0:
            raise measure.MeasureError("bench_sick ended with %d" % client.returncode)
        self.weir.stop()  # its last words are in the log
        asked = list(asked_read(path))
        return Played(asked, [note for endpoint in self.endpoints.values() for note in endpoint.notes()],
                      list(self.weir.events()), [at - asked[0].due for at in done], ours / passed, others / passed)

    def busy_ns(self, client):
        """What client and weir took, and what nobody of us did; endpoints come and go, and count as the client's."""
        ours = measure.cpu_ns(client.pid) + measure.cpu_ns(self.weir.process.pid)
        endpoints = sum(measure.cpu_ns(each.process.pid) for each in self.endpoints.values())
        return ours, measure.machine_busy_ns() - ours - endpoints


def asked_read(path):
    with open(path, newline="", encoding="ascii") as file:
        for number, kind, due, over, status, outcome, reason, endpoint in csv.reader(file):
            yield Asked(int(number), kind, int(due) / 1e6, int(over) / 1e6, int(status), outcome, reason, endpoint)


class Played:
    """What came of a scene. All times are seconds after the first request was due."""

    def __init__(self, asked, notes, events, acts, ours_busy, others_busy):
        begin = asked[0].due
        self.asked = [each._replace(due=each.due - begin, over=each.over - begin if each.over else 0.0) for each in asked]
        self.notes = sorted((note._replace(received=note.received - begin,
                                           answered=note.answered - begin if note.answered else 0.0) for note in notes),
                            key=lambda note: note.received)
        self.events = [dict(event, at=event["at"] - begin) for event in events]
        self.acts, self.ours_busy, self.others_busy = acts, ours_busy, others_busy
        self.by_number = {each.number: each for each in self.asked}

    def changes(self, endpoint=None):
        """Breakers' changes of state, of one endpoint or all."""
        return [dict(event, to=event["event"][len("breaker_"):]) for event in self.events
                if event["event"] in ("breaker_open", "breaker_half_open", "breaker_closed") and
                (endpoint is None or event.get("endpoint") == endpoint)]

    def bins(self, standby):
        """Of the requests that were due in each 100 ms: answered, failed over, failed and why."""
        rows = [{"answered": 0, "failed_over": 0, "failed": 0, "reasons": {}} for _ in range(bin_of(self.asked[-1].due) + 1)]
        for each in self.asked:
            what = "failed" if not good(each) else "failed_over" if each.endpoint in standby else "answered"
            row = rows[bin_of(each.due)]
            row[what] += 1
            if what == "failed":
                row["reasons"][reason_of(each)] = row["reasons"].get(reason_of(each), 0) + 1
        return rows

    def calls_bins(self, endpoints):
        """Calls that these endpoints answered in each 100 ms, in good time: what they read late does not count."""
        counts = [0] * (bin_of(self.asked[-1].due) + 1)
        for note in self.notes:
            if note.endpoint in endpoints and note.kind != "check" and note.number in self.by_number and \
                    note.received - self.by_number[note.number].due < SLOW_MS / 1000 and bin_of(note.received) < len(counts):
                counts[bin_of(note.received)] += 1
        return counts


def good(asked):
    return asked.status == 200


def reason_of(asked):
    return "%s, %s" % (asked.reason or "no answer", asked.outcome or "-")


def bin_of(moment):
    return int((moment + 1e-6) / BIN_S)


# ---- the scenes ----

def scene_endpoints(run, plan):
    """One of three endpoints is stopped and goes on; another is killed and started again."""
    scene = Scene(run, "sick", "weir_sick.yaml", ENDPOINTS=["acme-1", "acme-2", "acme-3"])
    stop = plan.steady_s
    back = stop + plan.stopped_s
    kill = back + plan.back_s
    again = kill + plan.killed_s
    try:
        played = scene.play(plan.endpoints_s(), [
            (stop, ["acme-2"], signal.SIGSTOP), (back, ["acme-2"], signal.SIGCONT),
            (kill, ["acme-3"], signal.SIGKILL), (again, ["acme-3"], "start")])
        addresses = {name: endpoint.address for name, endpoint in scene.endpoints.items()}
    finally:
        scene.close()
    stop, back, kill, again = played.acts
    return scene_read(played, addresses, (), [
        Episode("stopped", ("acme-2",), stop, back, kill), Episode("killed", ("acme-3",), kill, again, plan.endpoints_s())])


def scene_failover(run, plan):
    """Both endpoints of a processor are stopped and go on; another processor stands by."""
    scene = Scene(run, "failover", "weir_failover.yaml", ENDPOINTS=["acme-1", "acme-2"], STANDBY=["standby-1"])
    acme, stop = ["acme-1", "acme-2"], plan.steady_s
    try:
        played = scene.play(plan.failover_s(), [(stop, acme, signal.SIGSTOP),
                                                (stop + plan.away_s, acme, signal.SIGCONT)])
        addresses = {name: endpoint.address for name, endpoint in scene.endpoints.items()}
    finally:
        scene.close()
    stop, back = played.acts
    return scene_read(played, addresses, ("standby-1",),
                      [Episode("processor stopped", tuple(acme), stop, back, plan.failover_s())])


# ---- what came of one ----

def scene_read(played, addresses, standby, episodes):
    read = [episode_read(played, addresses, episode) for episode in episodes]
    begin = episodes[0].gone - 1
    return {
        "bins": played.bins(standby), "episodes": read, "others_busy": played.others_busy, "ours_busy": played.ours_busy,
        "calls": {name: played.calls_bins((name,)) for name in addresses},
        "asked": len(played.asked), "answered": sum(map(good, played.asked)),
        "failed_over": sum(good(each) and each.endpoint in standby for each in played.asked),
        "failed": reasons([each for each in played.asked if not good(each)]),
        "steady": times([each for each in played.asked if 0.5 < each.due < begin]),
        "changes": [{name: event[name] for name in event if name != "ts"} for event in played.changes()],
        "money": money_read(played, standby),
    }


def reasons(failed):
    """How many by reason and outcome."""
    return dict(collections.Counter(map(reason_of, failed)))


def times(asked):
    took = sorted(each.over - each.due for each in asked if good(each))
    return {"count": len(took), "p50_ms": took[len(took) // 2] * 1e3, "p99_ms": took[len(took) * 99 // 100] * 1e3,
            "max_ms": took[-1] * 1e3} if took else None


def money_read(played, standby):
    """Payments by what endpoints noted, beside what their callers were told."""
    seen = collections.defaultdict(list)
    for note in played.notes:
        if note.kind != "check":
            seen[note.number].append(note.endpoint in standby)
    payments = [each for each in played.asked if each.kind == "payment"]
    return {"payments": len(payments), "asked_for": sum(each.number in seen for each in payments),
            "on_two_processors": sum(len(set(seen[each.number])) > 1 for each in payments if each.number in seen),
            "sent_again": sum(len(seen[each.number]) > 1 for each in payments if each.number in seen),
            "not_sent_but_seen": sum(each.outcome == "not_sent" and each.number in seen for each in played.asked)}


def episode_read(played, addresses, episode):
    """One episode's figures; times in milliseconds after it began, or after it was over."""
    here = {addresses[name] for name in episode.endpoints}
    changes = [change for change in played.changes() if change.get("endpoint") in here and episode.gone <= change["at"]
               < episode.until]
    opened = [change for change in changes if change["to"] == "open" and change["at"] < episode.back]
    closed = [change for change in changes if change["to"] == "closed" and change["at"] >= episode.back]
    out_at = max(first_by_endpoint(opened).values()) if len(first_by_endpoint(opened)) == len(here) else None
    # What was in flight when it went fell due before; the same of the next episode is the next one's.
    failed = [each for each in played.asked if not good(each) and episode.gone - 0.5 <= each.due < episode.until - 0.5]
    # Who stops takes along what is sent until it is found out, who is killed what it has; after that only probes are sent.
    known = episode.gone if episode.how == "killed" else out_at
    probes = [each for each in failed if known is not None and each.due > known and each.outcome != "not_sent"]
    found = {
        "how": episode.how, "endpoints": episode.endpoints, "gone_s": episode.gone, "back_s": episode.back,
        "opened_ms": (out_at - episode.gone) * 1e3 if out_at else None,
        "causes": [change.get("cause") for change in opened], "half_open_s": [
            change["at"] for change in changes if change["to"] == "half_open"],
        "opened_s": out_at, "closed_s": closed[-1]["at"] if closed else None,
        "in_flight": in_flight(played, episode, opened), "failed": len(failed), "reasons": reasons(failed),
        "failed_payments": sum(each.kind == "payment" for each in failed),
        "refused": sum(each.outcome == "not_sent" for each in failed), "probes_lost": len(probes),
        "payments_lost_as_probes": sum(each.kind == "payment" for each in probes),
        "away": times([each for each in played.asked if episode.gone + 1 < each.due < episode.back]),
        "after": times([each for each in played.asked if episode.back + 1 < each.due < episode.until - 2.5]),
    }
    found.update(recovery_read(played, episode))
    return found


def first_by_endpoint(changes):
    first = {}
    for change in changes:
        first.setdefault(change["endpoint"], change["at"])
    return first


def in_flight(played, episode, opened):
    """Calls that were on the endpoints when they were found out; of one that was killed, those that it had begun."""
    if episode.how == "killed":
        return sum(note.endpoint in episode.endpoints and episode.gone - 2 < note.received < episode.back and
                   not note.answered for note in played.notes)
    return sum({change["endpoint"]: change.get("in_flight", 0) for change in reversed(opened)}.values())


def recovery_read(played, episode):
    """What the endpoints were asked once they were back; what was sent before, and is read only now, does not count."""
    asked = []
    for note in played.notes:
        if note.endpoint in episode.endpoints and episode.back <= note.received < episode.until:
            due = played.by_number[note.number].due if note.number in played.by_number else None
            if note.kind == "check" or (due is not None and due >= episode.back - 0.05):
                asked.append(note)
    calls = [note.received for note in asked if note.kind != "check"]
    first = {note.endpoint: note.kind for note in reversed(asked)}
    seconds = int(episode.until - episode.back)
    return {
        "first_asked": [note.kind for note in asked[:3]],
        "payments_as_first_probe": sum(kind == "payment" for kind in first.values()),
        "first_call_s": calls[0] if calls else None,
        "first_second_percent": share_percent(calls, calls[0]) if calls else 0.0,
        "seconds_percent": [share_percent(calls, episode.back + second) for second in range(seconds)],
    }


def share_percent(moments, begin):
    """Of all that is offered in the second from `begin`."""
    return 100.0 * (bisect.bisect_left(moments, begin + 1) - bisect.bisect_left(moments, begin)) / RATE


# ---- what breaker and balancing cost ----

class CostWeir(proxies.Weir):
    """Plain, as ever: what the cost is a share of."""


def cost_measure(run, plan):
    """Nanoseconds of breaker and balancing a request (bench/micro_breaker.c), and microseconds of a plain request."""
    done = subprocess.run([os.path.join(run.setup.tools, "bench_micro_breaker")], stdout=subprocess.PIPE, check=True,
                          timeout=60).stdout.decode()
    print("".join("  " + line for line in done.splitlines(True)), end="", flush=True)
    found = {"ns": {int(count): float(ns) for count, ns in re.findall(r"(\d+) endpoints?\s+([\d.]+) ns", done)}}
    weir, cell = CostWeir(run.setup), {"kind": "plain", "mode": "keep", "connections": PLAIN_CONNECTIONS}
    try:
        weir.start()
        samples = [measure.cell_measure(run.setup, run.backend, weir, cell, run.options.seconds, run.client_core)
                   for _ in range(plan.plain_rounds)]
        found["plain_us"] = report.median([sample["cpu_us"] for sample in samples])
        found["others_busy"] = report.median([sample["others_busy"] for sample in samples])
    finally:
        weir.stop()
    return found


def cost_percent(cost, count):
    return cost["ns"][count] / 10 / cost["plain_us"]


def measure_all(run):
    """All scenes; None where they cannot be played here."""
    why = proxies.Weir(run.setup).missing()
    if why:
        run.problem("sick processors have no rows: " + why)
        return None
    print("sick processors", flush=True)
    plan, results = Plan(run.options.quick), {"scenes": {}}
    for name, play in (("endpoints", scene_endpoints), ("failover", scene_failover), ("cost", cost_measure)):
        try:
            found = play(run, plan)
            if name == "cost":
                results["cost"] = found
                continue
            results["scenes"][name] = found
            for episode in found["episodes"]:
                print("  %s: %d failed, opened after %s ms" % (episode["how"], episode["failed"],
                                                             report.number(episode["opened_ms"], "%.0f")), flush=True)
        except (measure.MeasureError, proxies.StartError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            run.problem("sick, %s: %r" % (name, error))
    return results if results["scenes"] else None


# ---- what is read ----

def episodes_of(results):
    return [episode for scene in results["scenes"].values() for episode in scene["episodes"]]


def by_how(results, how):
    return next((episode for episode in episodes_of(results) if episode["how"] == how), None)


def text_build(results):
    number = report.number
    rows = [[episode["how"], number(episode["opened_ms"], "%.0f"), ", ".join(map(str, episode["causes"][:2])) or "-",
             str(episode["in_flight"]), str(episode["failed"]), str(episode["failed_payments"]),
             str(episode["refused"]), str(episode["probes_lost"]),
             number((episode["away"] or {}).get("p99_ms"), "%.1f"), number((episode["after"] or {}).get("p99_ms"), "%.1f")]
            for episode in episodes_of(results)]
    parts = [report.table(["sick: %d requests/s" % RATE, "open after ms", "cause", "in flight on it", "failed", "payments",
                           "refused", "lost as probes", "p99 ms meanwhile", "p99 ms after"], rows)]
    rows = [[episode["how"], ", ".join(episode["first_asked"]) or "-", str(payments_as_probes(episode)),
             number(since(episode, "first_call_s"), "%.1f"), number(episode["first_second_percent"], "%.2f"),
             ", ".join("%.1f" % each for each in episode["seconds_percent"][:14]), number(since(episode, "closed_s"), "%.1f")]
            for episode in episodes_of(results)]
    parts.append(report.table(["sick: back again", "asked first", "payments as first probe", "first call after s",
                               "first second, % of offered", "each second after it is back, % of offered",
                               "closed after s"], rows))
    rows = [[name, str(scene["asked"]), str(scene["answered"]), str(scene["failed_over"]),
             "; ".join("%d %s" % (count, what) for what, count in scene["failed"].items()) or "none",
             str(scene["money"]["payments"]), str(scene["money"]["sent_again"]), str(scene["money"]["on_two_processors"]),
             str(scene["money"]["not_sent_but_seen"])] for name, scene in results["scenes"].items()]
    parts.append(report.table(["sick: in all", "asked", "answered", "of these failed over", "failed", "payments",
                               "sent twice", "on two processors", "not_sent, but seen"], rows))
    if "cost" in results:
        parts.append(report.table(["sick: breaker and balancing", "ns/request", "%% of plain (%.1f us)" %
                                   results["cost"]["plain_us"]],
                                  [["%d endpoint%s" % (count, "" if count == 1 else "s"), "%.0f" % ns,
                                    "%.2f" % cost_percent(results["cost"], count)]
                                   for count, ns in results["cost"]["ns"].items()]))
    parts.append("How sick processors were measured:\n" + "\n".join("- " + note for note in notes_build(results)))
    return "\n\n".join(parts)


def payments_as_probes(episode):
    """The first that an endpoint was asked when it was back; and what was lost while it was not."""
    return episode["payments_as_first_probe"] + episode["payments_lost_as_probes"]


def lost(episode):
    """Those that were sent to it before it was found out."""
    return episode["failed"] - episode["refused"] - episode["probes_lost"]


def since(episode, name):
    return episode[name] - episode["back_s"] if episode[name] is not None else None


def notes_build(results):
    yield ("%d requests a second by the clock, whatever comes back, %d %% of them payments, of fifty callers; endpoints take "
           "%g ms; slow_is %d ms, response %d ms. Nobody asks twice" % (RATE, PAYMENTS_PERCENT, DELAY_US / 1000, SLOW_MS,
                                                                      RESPONSE_MS))
    yield ("stopped: SIGSTOP, then SIGCONT, of one of three endpoints; killed: kill -9, then another on the same port; both "
           "with health checks each second, and payments without a record. Processor stopped: both endpoints of a processor, "
           "another of one endpoint stands by, payments with a key in the embedded store, no health checks")
    yield ("open after: by the event of the breaker (of the last endpoint, where there are several); in flight on it: as that "
           "event says; of one that was killed, what it had begun by its own notes")
    yield ("refused: not_sent, though others were well. Lost as probes: sent there after the breaker had opened, or after the "
           "kill. Back again: by the endpoints' own notes, without what had been sent before and was read late; the first "
           "second is that after the first call")
    if "cost" in results:
        yield ("breaker and balancing: bench/micro_breaker.c, warm, beside CPU of a plain request at %d connections, median of "
               "a few measurements" % PLAIN_CONNECTIONS)
    yield ("all other programs of the machine took %s of a core: the more they take, the more is shed" %
           ", ".join("%.2f" % scene["others_busy"] for scene in results["scenes"].values()))


def budget_list(results):
    """(what, at most, measured), as report.budget_list has them."""
    stopped, killed, processor = (by_how(results, how) for how in ("stopped", "killed", "processor stopped"))
    if stopped:
        yield ("open after SIGSTOP, ms beside slow_is", OPEN_WITHIN_MS,
               stopped["opened_ms"] - SLOW_MS if stopped["opened_ms"] is not None else None)
        yield "lost with an endpoint that is stopped: at most what is in flight on it", stopped["in_flight"], lost(stopped)
    if killed:
        yield "lost after an endpoint was killed", 0, killed["probes_lost"]
    if processor:
        yield "lost with a processor that is stopped: at most what is in flight on it", processor["in_flight"], lost(processor)
    yield "refused though others were well", 0, sum(each["refused"] for each in episodes_of(results))
    for episode in (stopped, killed):
        if episode:
            yield ("load in the first second of recovery, % of offered, " + episode["how"], FIRST_SECOND_MAX_PERCENT,
                   episode["first_second_percent"])
    if episodes_of(results):
        yield "payments used as first probe", 0, sum(map(payments_as_probes, episodes_of(results)))
        yield "payments on two processors, or not_sent and yet seen", 0, sum(
            scene["money"]["on_two_processors"] + scene["money"]["not_sent_but_seen"] for scene in results["scenes"].values())
    for count in results.get("cost", {}).get("ns", {}):
        yield ("breaker and balancing, %d endpoint%s, %% of plain" % (count, "" if count == 1 else "s"), COST_MAX_PERCENT,
               cost_percent(results["cost"], count))


def json_of(results):
    return results


# ---- the picture ----

def plot_write(folder, results):
    """Both scenes as tables and as one picture; returns the paths."""
    scenes = results["scenes"]
    if len(scenes) < 2:
        return []
    written = []
    for name, scene in scenes.items():
        path = os.path.join(folder, "processors-%s.csv" % name)
        calls = list(scene["calls"])
        with open(path, "w", encoding="utf-8") as file:
            file.write(",".join(["seconds", "answered", "failed_over", "failed"] + calls) + "\n")
            for number, row in enumerate(scene["bins"]):
                file.write("%.1f,%d,%d,%d,%s\n" % (number * BIN_S, row["answered"], row["failed_over"], row["failed"],
                                                  ",".join(str(scene["calls"][each][number]) for each in calls)))
        written.append(path)
    picture = os.path.join(folder, "processors-failover.svg")
    report.gnuplot_pipe(plot_script(picture, written, scenes["endpoints"], scenes["failover"]))
    return written + [picture]


def moments(scene, words):
    """Labelled lines: what was done to the endpoints, and what their breakers made of it."""
    for episode in scene["episodes"]:
        gone, back = words[episode["how"]]
        yield episode["gone_s"], gone, "#202124"
        yield episode["back_s"], back, "#202124"
        if episode["opened_s"] is not None:
            yield episode["opened_s"], "open", "#d93025"
        if episode["closed_s"] is not None:
            yield episode["closed_s"], "closed", "#188038"


def moments_script(scene, words, high):
    """Words that are close to one another stand on steps."""
    lines, free = ["unset arrow", "unset label"], [0.0, 0.0, 0.0, 0.0]
    for at, word, colour in sorted(moments(scene, words)):
        step = next((step for step, until in enumerate(free) if until <= at), 0)
        free[step] = at + len(word) * len(scene["bins"]) * BIN_S / 90
        lines += ["set arrow from %.2f,0 to %.2f,%g nohead linecolor rgb '%s' dashtype 3" %
                  (at, at, high * (1.1 + 0.13 * step), colour),
                  "set label '%s' at %.2f,%g offset 0.2,0 textcolor rgb '%s' font ',11'" %
                  (word, at, high * (1.1 + 0.13 * step), colour)]
    return lines


def plot_script(picture, tables, endpoints, failover):
    high = RATE * BIN_S
    column = lambda scene, name: 5 + list(scene["calls"]).index(name)  # noqa: E731
    line = "'%s' skip 1 using 1:%d with lines linewidth %g linecolor rgb '%s' title '%s'"
    failed = "'%s' skip 1 using 1:($4 > 0 ? $4 : 1/0) with impulses linewidth 3 linecolor rgb '#d93025' title 'failed'"
    return "\n".join([
        "set terminal svg size 860,680 background rgb 'white' font 'sans-serif,13'",
        "set output '%s'" % picture,
        "set datafile separator ','",
        "set border 3", "set tics nomirror", "set grid ytics linecolor rgb '#dddddd'",
        "set lmargin 9", "set rmargin 3", "set yrange [0:%g]" % (high * 1.55),
        "set ytics 0,%g,%g" % (high / 4, high), "set ylabel 'in each 100 ms'",
        "set key outside bottom center horizontal maxrows 1 samplen 2",
        "set multiplot",
        "set origin 0,0.5", "set size 1,0.5", "set xrange [0:%g]" % (len(endpoints["bins"]) * BIN_S),
        "set title 'One of three endpoints is stopped and returns, another is killed and started again'",
        ] + moments_script(endpoints, {"stopped": ("acme-2 stopped", "goes on"),
                                       "killed": ("acme-3 killed", "started again")}, high) + [
        "plot " + ", ".join([
            line % (tables[0], 2, 2, "#1a73e8", "answered of %g due" % high),
            line % (tables[0], column(endpoints, "acme-2"), 1.5, "#e8710a", "taken by acme-2"),
            line % (tables[0], column(endpoints, "acme-3"), 1.5, "#a142f4", "taken by acme-3"),
            failed % tables[0]]),
        "set origin 0,0", "set size 1,0.5", "set xrange [0:%g]" % (len(failover["bins"]) * BIN_S),
        "set xlabel 'seconds'",
        "set title 'All of acme is stopped and returns; standby takes what acme cannot'",
        ] + moments_script(failover, {"processor stopped": ("acme stopped", "goes on")}, high) + [
        "plot " + ", ".join([
            line % (tables[1], 2, 2, "#1a73e8", "answered by acme of %g due" % high),
            line % (tables[1], 3, 2, "#188038", "failed over to standby"),
            failed % tables[1]]),
        "unset multiplot", ""])
