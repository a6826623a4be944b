"""Payments with keys: weirs that keep records, in either store, and what a merchant sends them.

    @on_each_store
    def test_something(store):
        with Sandbox(dedup=KEY_FIELD) as sandbox, paying(store, sandbox) as weir:
            answer = pay(weir, "order-1")

    paying(store, processor, mode="single_shot")       keywords of routes.idempotency
    paying(store, processor, profile="stripe", sections={"tenants": {...}})

A store outlives the weirs that use it, so a test may kill one and start
another. WEIR_E2E_STORES names the kinds to test (all unless set).
"""

import functools
import json
import os
import pathlib
import shutil
import tempfile

from . import Skip, wait_until
from . import http
from .redis import Redis
from .weir import Weir, merged, weir_command

KEY_FIELD = "header:Idempotency-Key"

# As a processor that keeps keys for a day. 422 key_reused, unlike stripe's 400.
HOUSE = {"deduplicates": True, "key": KEY_FIELD, "retention": [{"keep": "24h"}], "errors": "problem",
         "busy": ["409"], "kept_fields": ["X-Kept-*"], "replay_marker": "Idempotent-Replayed: true"}
# As one that de-duplicates nothing.
PLAIN = {"deduplicates": False, "key": KEY_FIELD, "retention": None, "busy": None}

SHORT = {"connect": "1s", "response": "1s", "total": "10s", "late": "5s"}


class Embedded:
    kind = "embedded"

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-store-")

    def section(self, single_shot=False):
        section = {"path": os.path.join(self.folder, "records"), "size": "64MiB",
                   "secret_file": os.path.join(self.folder, "secret")}
        if single_shot:
            section["single_machine"] = True
        return section

    def bytes(self):
        """Everything that the store wrote."""
        return {str(path): path.read_bytes() for path in pathlib.Path(self.folder).rglob("*")
                if path.is_file() and path.name != "secret"}

    def stop(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


class Shared:
    """A Redis of the test's own, and the secret that its weirs share."""

    kind = "redis"

    def __init__(self, *options, **more):
        self.redis = Redis("--appendonly", "yes", "--appendfsync", "always", *options, **more)
        self.secret_path = os.path.join(self.redis.folder, "secret")
        write_secret(self.secret_path)

    def section(self, single_shot=False):
        return {"type": "redis", "servers": [self.redis.url], "secret_file": self.secret_path}

    def stop(self):
        self.redis.kill()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


def write_secret(path):
    code, text, error = weir_command("secret", "new")
    if code != 0:
        raise RuntimeError(error)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


KINDS = {"embedded": Embedded, "redis": Shared}


def on_each_store(test):
    """Makes of test_x(store) a test_x for each kind of store, so that they run side by side."""
    wanted = os.environ.get("WEIR_E2E_STORES", " ".join(KINDS)).split()

    def of_kind(kind):
        @functools.wraps(test)
        def run():
            if kind not in wanted:
                raise Skip("not in WEIR_E2E_STORES")
            with KINDS[kind]() as store:
                test(store)
        run.__code__ = run.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
        run.__name__ = f"{test.__name__}_in_{kind}"
        return run

    made = [of_kind(kind) for kind in KINDS]
    for function in made[1:]:
        test.__globals__[function.__name__] = function
    return made[0]


def paying(store, to, profile=None, acme=None, sections=None, route=None, **idempotency):
    """A weir whose one route has idempotency. The profile is one that de-duplicates unless the mode is single_shot."""
    single_shot = idempotency.get("mode") == "single_shot"
    sections = dict(sections or {})
    if profile is None:
        profile = "plain" if single_shot else "house"
        sections["profiles"] = merged({"house": HOUSE} if not single_shot else {"plain": merged(HOUSE, PLAIN)},
                                      sections.get("profiles", {}))
    section = dict(idempotency) or {"required": False}
    routes = [merged({"name": "pay", "match": {"path": "/*"}, "to": "acme", "idempotency": section}, route or {})]
    base = {"routes": routes, "store": store.section(single_shot)}
    return Weir(to, acme=merged({"profile": profile, "timeouts": SHORT}, acme or {}), **merged(base, sections))


def body_of(amount=4200, **more):
    return json.dumps({"amount": amount, "currency": "eur", **more}).encode()


def headers_of(key, tenant="sk_test_1", fault=None, headers=()):
    lines = [f"Authorization: Bearer {tenant}", "Content-Type: application/json"]
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    if fault:
        lines.append(f"Sandbox-Fault: {fault}")
    return lines + list(headers)


def request_of(key, amount=4200, tenant="sk_test_1", fault=None, headers=(), path="/v1/payments"):
    """The bytes of a payment."""
    return http.request("POST", path, headers_of(key, tenant, fault, headers), body_of(amount))


def pay(weir, key, amount=4200, tenant="sk_test_1", fault=None, headers=(), method="POST", path="/v1/payments",
        timeout_s=http.TIMEOUT_S):
    with weir.client(timeout_s=timeout_s) as client:
        return client.ask(method, path, headers_of(key, tenant, fault, headers), body_of(amount))


def outcome(weir, key, tenant="sk_test_1"):
    """What weir says of a key when it is asked without sending."""
    answer = weir.ask("GET", "/.well-known/weir/outcome", headers_of(key, tenant))
    if answer.status != 200:
        raise AssertionError(f"the outcome resource says {answer}")
    return json.loads(answer.body)


def wait_state(weir, key, state, tenant="sk_test_1", timeout_s=10.0):
    return wait_until(lambda: outcome(weir, key, tenant)["state"] == state and outcome(weir, key, tenant), timeout_s,
                      f"state {state}")


def executions(sandbox, key):
    """How often this key's money moved."""
    return sum(made["key"] == key for made in sandbox.ledger())


def keys_seen(sandbox):
    """The Idempotency-Key of every payment that reached the processor, in order; None where there was none."""
    found = []
    for seen in sandbox.requests():
        fields = {name.lower(): value for name, value in seen["headers"]}
        found.append(fields.get("idempotency-key"))
    return found
