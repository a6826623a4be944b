"""The world of a campaign: one Redis, two weirs, three processors, and what happens to them.

acme and other de-duplicate keys, single does not. The route for
sticky.example goes to acme or other, whichever the last reload said, and not
always the same at both weirs; the one for single.example to single.
"""

import collections
import datetime
import os
import random
import shutil
import signal
import tempfile
import threading
import time

from harness import Failure, wait_until
from harness.child import SANITIZER, Child
from harness.payments import HOUSE, KEY_FIELD, PLAIN, write_secret
from harness.processor import Sandbox
from harness.redis import Redis
from harness.weir import Weir, merged
from merchants import BREAKS

LEASE_S = 15.0
TIMEOUTS = {"connect": "500ms", "response": "800ms", "total": "3s", "late": "2s"}
STICKY = ("acme", "other")


def routes_to(processor):
    return [{"name": "sticky", "match": {"host": "sticky.example"}, "to": processor, "idempotency": {"wait": "500ms"}},
            {"name": "single", "match": {"host": "single.example"}, "to": "single",
             "idempotency": {"mode": "single_shot", "wait": "500ms"}}]


class Proxy(Weir):
    """A weir that can die and come back: same file, same ports."""

    def __init__(self, name, processors, store):
        self.name = name
        self.earlier_events = []
        self.faults = []       # what it must never do
        self.guard = threading.RLock()
        super().__init__(None, processors=processors, store=store, profiles={"house": HOUSE, "plain": merged(HOUSE, PLAIN)},
                         routes=routes_to("acme"), shutdown={"announce": "0s", "drain": "4s"})

    def keep_events(self):
        self.stdout.thread.join(5)
        self.stderr.thread.join(5)
        self.earlier_events += self.events()
        text = "\n".join(self.stderr.snapshot())
        if SANITIZER.search(text):
            self.faults.append(f"{self.name}: {text[-4000:]}")

    def all_events(self):
        return self.earlier_events + self.events()

    def crash(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.keep_events()

    def end(self):
        """As an operator would: TERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.wait(20)
        except Failure as error:
            self.faults.append(f"{self.name} does not end: {error}")
            self.process.kill()
            code = self.process.wait()
        if code != 0:
            self.faults.append(f"{self.name} ended with {code}: {self.error_text()}")
        self.keep_events()

    def revive(self):
        if self.process.poll() is not None:
            Child.__init__(self, self.argv)
            self.wait_ready(30)

    def look(self):
        """It may be dead only because we killed it."""
        with self.guard:
            if self.process.poll() is not None:
                self.faults.append(f"{self.name} ended by itself with {self.process.returncode}: {self.error_text()}")
                self.keep_events()
                self.revive()


class LoggedRedis(Redis):
    def __init__(self, *options):
        self.earlier = []
        super().__init__(*options)

    def start(self, wait=True):
        if hasattr(self, "process"):
            self.earlier += self.stdout.snapshot()
        super().start(wait)

    def said(self):
        return self.earlier + self.stdout.snapshot()


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.happened = collections.Counter()
        self.lock = threading.Lock()
        self.diary = []
        self.redis = LoggedRedis("--appendonly", "yes", "--appendfsync", "always")
        self.sandboxes = {"acme": Sandbox("acme", dedup=KEY_FIELD), "other": Sandbox("other", dedup=KEY_FIELD),
                          "single": Sandbox("single")}
        processors = {name: {"url": sandbox.url, "profile": "plain" if name == "single" else "house", "timeouts": TIMEOUTS}
                      for name, sandbox in self.sandboxes.items()}
        secret = os.path.join(tempfile.mkdtemp(prefix="weir-campaign-"), "secret")
        write_secret(secret)
        store = {"type": "redis", "servers": [self.redis.url], "secret_file": secret, "begin_timeout": "300ms"}
        self.weirs = [Proxy("a", processors, store), Proxy("b", processors, store)]
        self.secret = secret
        for weir in self.weirs:
            weir.wait_metric("weir_store_up", 1)

    # What happens. Each returns when it is over.

    def kill_weir(self):
        weir = self.random.choice(self.weirs)
        with weir.guard:
            weir.crash()
            time.sleep(self.random.uniform(0, 1))
            weir.revive()

    def restart_weir(self):
        weir = self.random.choice(self.weirs)
        with weir.guard:
            weir.end()
            weir.revive()

    def stop_weir(self, longest_s=2.5):
        weir = self.random.choice(self.weirs)
        with weir.guard:
            weir.process.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(0.2, longest_s))
            weir.process.send_signal(signal.SIGCONT)

    def stop_weir_beyond_its_leases(self):
        weir = self.random.choice(self.weirs)
        with weir.guard:
            weir.process.send_signal(signal.SIGSTOP)
            time.sleep(LEASE_S + 2)
            weir.process.send_signal(signal.SIGCONT)

    def move_route(self):
        weir = self.random.choice(self.weirs)
        with weir.guard:
            weir.change(routes=routes_to(self.random.choice(STICKY)))
            weir.verb("reload", timeout_s=30)

    def kill_redis(self):
        self.redis.crash()
        time.sleep(self.random.uniform(0, 1))
        self.redis.start()

    def restart_redis(self):
        self.redis.process.terminate()
        self.redis.process.wait(20)
        self.redis.start()

    def stop_redis(self):
        self.redis.pause()
        time.sleep(self.random.uniform(0.1, 2.5))
        self.redis.go_on()

    def cut_redis(self):
        self.redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def fill_redis(self):
        self.redis.command("CONFIG", "SET", "maxmemory", 1)
        time.sleep(self.random.uniform(0.2, 1))
        self.redis.command("CONFIG", "SET", "maxmemory", 0)

    def forget_scripts(self):
        self.redis.command("SCRIPT", "FLUSH")

    def empty_redis(self):
        self.redis.command("FLUSHALL")

    def stop_processor(self):
        """What was sent meanwhile is executed late: after its client was told that nothing is known."""
        sandbox = self.sandboxes[self.random.choice(list(self.sandboxes))]
        sandbox.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.3, 2.5))
        sandbox.process.send_signal(signal.SIGCONT)

    def break_next(self):
        """At each processor, of whoever comes next without a fault of its own: one is mended by weir, of two maybe none."""
        for sandbox in self.sandboxes.values():
            sandbox.fault(self.random.choice(BREAKS), self.random.choice((1, 1, 2)))

    # What takes its time, and what is over at once: one of each goes on at any moment.
    HEAVY = (("kill_weir", 6), ("restart_weir", 2), ("stop_weir", 4), ("stop_weir_beyond_its_leases", 1), ("kill_redis", 3),
             ("restart_redis", 1), ("stop_redis", 4), ("stop_processor", 3))
    LIGHT = (("cut_redis", 3), ("fill_redis", 2), ("forget_scripts", 1), ("break_next", 9))

    def note(self, words):
        self.diary.append(f"{datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds')} {words}")

    def wreak(self, until, emptying):
        """`emptying`: FLUSHALL; else routes move: both together could pay twice, since the store alone knows who was asked."""
        light = self.LIGHT + ((("empty_redis", 4),) if emptying else (("move_route", 4),))
        light_random = random.Random(self.random.getrandbits(64))
        other = threading.Thread(target=self._wreak, args=(until, light, light_random))
        other.start()
        self._wreak(until, self.HEAVY, self.random)
        other.join()

    def _wreak(self, until, choices, plan):
        names, weights = zip(*choices)
        while time.monotonic() < until:
            time.sleep(plan.uniform(0.1, 1))
            name = plan.choices(names, weights)[0]
            if time.monotonic() + (LEASE_S + 2 if "beyond" in name else 0) > until:
                continue
            self.note(f"{name} begins")
            try:
                getattr(self, name)()
            except (OSError, RuntimeError, Failure):
                if name in dict(self.HEAVY):
                    raise
                continue  # whom it was to happen to is down
            self.note(f"{name} is over")
            with self.lock:
                self.happened[name] += 1
            for weir in self.weirs:
                weir.look()

    def heal(self, moved_home):
        """All is well again, from now on."""
        self.note("healing")
        for sandbox in self.sandboxes.values():
            sandbox.process.send_signal(signal.SIGCONT)
            sandbox.fault()
        self.redis.process.send_signal(signal.SIGCONT)
        for weir in self.weirs:
            weir.look()
            if moved_home:
                weir.change(routes=routes_to("acme"))
                weir.verb("reload", timeout_s=30)
        for weir in self.weirs:
            weir.wait_metric("weir_store_up", 1, timeout_s=30)

    def end(self):
        for weir in self.weirs:
            weir.look()
            weir.end()

    def close(self):
        for one in [*self.weirs, *self.sandboxes.values(), self.redis]:
            one.kill()
        shutil.rmtree(os.path.dirname(self.secret), ignore_errors=True)


def wait_settled(weir):
    wait_until(lambda: weir.metric("weir_store_unsettled") == 0, 30, f"{weir.name}: nothing left to settle")
