"""The real weir, as an operator runs it: a YAML file, a process, its logs and its monitor."""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from . import Failure, binary, check, wait_until
from . import http
from .child import Child
from .ports import free_port

READY_S = 20.0


def yaml_text(value, indent=0):
    """A dict, list or scalar as YAML in block style."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_yaml_inner(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(_yaml_entry(item, indent) for item in value)
    return f"{pad}{_yaml_scalar(value)}\n"


def _yaml_entry(item, indent):
    if isinstance(item, (dict, list)) and item:
        return " " * indent + "- " + yaml_text(item, indent + 2)[indent + 2:]
    return " " * indent + f"- {_yaml_scalar(item)}\n"


def _yaml_inner(item, indent):
    if isinstance(item, (dict, list)) and item:
        return "\n" + yaml_text(item, indent + 2)
    return f" {_yaml_scalar(item)}\n"


def _yaml_scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value == {}:
        return "{}"
    if value == []:
        return "[]"
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/%-]*", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def merged(base, over):
    """Dicts are merged key by key; None removes; anything else replaces."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    result = copy.deepcopy(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif key in result:
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


# Processors of tests fail on purpose and by the dozen: their breakers look away, unless a test is about them.
PATIENT = {"breaker": {"min_requests": 100000}}


def processor_section(to):
    """What `to` means in a configuration: a Processor, a Sandbox, anything with an authority, or a list of them."""
    return {**PATIENT, **address_section(to)}


def address_section(to):
    if isinstance(to, dict):
        return to
    if isinstance(to, (list, tuple)):
        return {"url": "http://processor.test", "endpoints": [item if isinstance(item, str) else item.authority
                                                              for item in to]}
    if isinstance(to, str):
        return {"url": f"http://{to}"}
    return {"url": to.url if hasattr(to, "url") else f"http://{to.authority}"}


class Weir(Child):
    """
    Weir(processor) proxies everything to one processor called acme, on a plain
    listener called public. `listener` and `acme` are merged into those two;
    other keywords are sections of the configuration, merged into the defaults
    (a list replaces). `config` replaces all of it: a dict, or the file's text.
    `wrap` is a command that becomes weir, as env(1) does.
    """

    def __init__(self, to=None, listener=None, acme=None, config=None, env=None, pass_fds=(), argv=None, wait=True,
                 preexec=None, wrap=(), **sections):
        self.folder = tempfile.mkdtemp(prefix="weir-test-")
        self.path = os.path.join(self.folder, "weir.yaml")
        self.monitor_address = ("127.0.0.1", free_port())
        self.admin_path = os.path.join(self.folder, "admin.sock")
        self.address = ("127.0.0.1", free_port())
        self.base = {
            "version": 1,
            "listeners": [merged({"name": "public", "address": f"127.0.0.1:{self.address[1]}"}, listener or {})],
            "processors": {"acme": merged(processor_section(to), acme or {})} if to is not None else {},
            "routes": [{"name": "all", "match": {"path": "/*"}, "to": "acme"}],
            "monitor": {"address": f"127.0.0.1:{self.monitor_address[1]}"},
            "admin": {"socket": self.admin_path},
            "shutdown": {"announce": "0s", "drain": "60s"},
        }
        if "store" not in sections:
            self.base["store"] = {"path": os.path.join(self.folder, "store"), "size": "64MiB",
                                  "secret_file": os.path.join(self.folder, "secret")}
        self.config = config if config is not None else merged(self.base, sections)
        self.write(self.config)
        super().__init__([*wrap, *(argv or [binary("weir"), "run", "-c", self.path])], env=env, pass_fds=pass_fds,
                         preexec=preexec)
        if wait:
            try:
                self.wait_ready()
            except Exception:
                self.kill()
                raise

    # The file.

    def write(self, config):
        text = config if isinstance(config, str) else yaml_text(config)
        pathlib.Path(self.path).write_text(text)

    def change(self, **sections):
        """Merges sections into the file; takes effect at reload."""
        self.config = merged(self.config, sections)
        self.write(self.config)

    # The process.

    def wait_ready(self, timeout_s=READY_S):
        wait_until(self._is_ready, timeout_s, "readiness")

    def _is_ready(self):
        if not self.alive():
            raise Failure(f"weir ended with {self.process.returncode} at its start:\n{self.error_text()}")
        try:
            return self.ask_monitor("/readyz").status == 200
        except OSError:
            return False

    def hup(self):
        self.signal(signal.SIGHUP)

    def term(self):
        self.signal(signal.SIGTERM)

    def verb(self, *argv, expected=None, timeout_s=20.0):
        """`weir VERB ...` against this process; (exit code, stdout, stderr)."""
        result = subprocess.run([binary("weir"), argv[0], "-c", self.path, *argv[1:]], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=timeout_s)
        if expected is not None:
            check(result.returncode == expected,
                  f"weir {' '.join(argv)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result.returncode, result.stdout, result.stderr

    def reload(self, expected=0):
        """Synchronous; returns what it printed."""
        _, out, error = self.verb("reload", expected=expected)
        return out + error

    # What it says.

    def events(self):
        """The events log so far, parsed; lines that are not JSON are left out."""
        return [event for event in map(_json_line, self.stderr.snapshot()) if event]

    def wait_event(self, name, count=1, timeout_s=10.0, **fields):
        def wanted(line):
            event = _json_line(line)
            if event and event.get("event") == name and all(event.get(key) == value for key, value in fields.items()):
                return event
            return None
        return self.stderr.wait_for(wanted, count, timeout_s, f"event {name} {fields or ''}")[count - 1]

    def access_lines(self):
        return [line for line in map(_json_line, self.stdout.snapshot()) if line]

    def wait_for_access(self, wanted=None, count=1, timeout_s=10.0):
        """The access line that `wanted` (a function, or a dict of fields) is true of; a list when count is above 1."""
        if isinstance(wanted, dict):
            fields = wanted

            def wanted(line):
                return all(line.get(key) == value for key, value in fields.items())

        def look(text):
            line = _json_line(text)
            return line if line and (wanted is None or wanted(line)) else None
        found = self.stdout.wait_for(look, count, timeout_s, "the access line")
        return found[0] if count == 1 else found

    def next_access(self, seen, timeout_s=10.0):
        """The access line behind the first `seen` ones."""
        def look(text):
            return _json_line(text)
        return self.stdout.wait_for(look, seen + 1, timeout_s, f"access line {seen + 1}")[seen]

    def ask_monitor(self, target, method="GET"):
        return http.ask(self.monitor_address, method, target, host="localhost")

    def metrics(self):
        """{name: {labels (a frozenset of pairs): value}}"""
        answer = self.ask_monitor("/metrics")
        check(answer.status == 200, f"/metrics says {answer.status}")
        return parse_metrics(answer.body.decode())

    def metric(self, name, **labels):
        """The sum of the series that have these labels."""
        series = self.metrics().get(name, {})
        return sum(value for have, value in series.items() if set(labels.items()) <= have)

    def wait_metric(self, name, value, timeout_s=10.0, **labels):
        wait_until(lambda: self.metric(name, **labels) == value, timeout_s, f"{name}{labels} = {value}")

    # What it is asked.

    def client(self, **more):
        return http.Client(self.address, **more)

    def ask(self, method="GET", target="/", headers=(), body=None, **more):
        return http.ask(self.address, method, target, headers, body, **more)

    def kill(self):
        super().kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _json_line(line):
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        raise Failure(f"a log line is not JSON: {line!r}")


SERIES = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


def parse_metrics(text):
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SERIES.fullmatch(line)
        check(match is not None, f"not a series: {line!r}")
        labels = frozenset(LABEL.findall(match[2] or ""))
        found.setdefault(match[1], {})[labels] = float(match[3])
    return found


def weir_command(*argv, text=None, timeout_s=20.0, env=None):
    """Runs `weir ...` to its end: (exit code, stdout, stderr). `text` becomes a file that replaces FILE in argv."""
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        path = os.path.join(folder, "weir.yaml")
        if text is not None:
            pathlib.Path(path).write_text(text if isinstance(text, str) else yaml_text(text))
        argv = [path if word == "FILE" else word for word in argv]
        result = subprocess.run([binary("weir"), *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=timeout_s, env={**os.environ, **(env or {})})
        return result.returncode, result.stdout.replace(folder + "/", ""), result.stderr.replace(folder + "/", "")
