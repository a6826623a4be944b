"""What the tests stand on: cases, waiting, and where things are.

The parts: weir (the real binary), processor (a scriptable one, and the real
sandbox), http (a raw client), certs, relay (a faulty network), redis.
"""

import contextlib
import os
import pathlib
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Failure(AssertionError):
    """What a test finds wrong, in words."""


class Skip(Exception):
    """The test cannot run here, for a reason that is not weir's."""


class Case:
    def __init__(self, name, why=None, skipped=False):
        self.name = name
        self.why = why  # None: passed
        self.skipped = skipped


_cases = []


def _why(error):
    if isinstance(error, Failure):
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/harness/" not in frame.filename]
        where = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
        return where + str(error)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)[-12:])


@contextlib.contextmanager
def case(name):
    """One of several cases of a test: its failure is noted, and the test goes on."""
    try:
        yield
    except Skip as error:
        _cases.append(Case(name, str(error), skipped=True))
    except Exception as error:
        _cases.append(Case(name, _why(error)))
    else:
        _cases.append(Case(name))


def run_cases(function):
    """Runs a test; returns its cases. The test itself counts when it had none, or when it failed outside them."""
    _cases.clear()
    try:
        function()
    except Skip as error:
        _cases.append(Case("", str(error), skipped=True))
    except Exception as error:
        _cases.append(Case("", _why(error)))
    else:
        if not _cases:
            _cases.append(Case(""))
    return list(_cases)


def deadline(seconds):
    """For a test that may take longer than run.py's deadline."""
    def mark(function):
        function.deadline_s = seconds
        return function
    return mark


def check(condition, why):
    if not condition:
        raise Failure(why)


def check_equal(got, expected, what=""):
    if got != expected:
        raise Failure(f"{what + ': ' if what else ''}expected {expected!r}, got {got!r}")


def wait_until(question, timeout_s=10.0, what="the condition"):
    """Asks until the answer is true, and returns it. The wait is a limit, never a guess."""
    end = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise Failure(f"{what} did not come true within {timeout_s:g} s")
        time.sleep(0.005)


def binary(name):
    path = pathlib.Path(os.environ.get("WEIR_BUILD", ROOT / "build-dev")) / name
    check(path.exists(), f"{path} does not exist: build it, or name the folder with --build")
    return str(path)


def cache_dir():
    """Shared by the tests of one run."""
    path = pathlib.Path(os.environ.get("WEIR_E2E_CACHE") or f"{tempfile.gettempdir()}/weir-e2e-{os.getuid()}")
    path.mkdir(parents=True, exist_ok=True)
    return path
