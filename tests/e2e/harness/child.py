"""A server process under test: started, watched, and held to a clean end."""

import os
import re
import signal
import subprocess
import threading
import time

from . import Failure, check, wait_until

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer|CHECK failed")


class Lines:
    """The lines of a pipe, read by a thread as they come."""

    def __init__(self, pipe):
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self.thread.start()

    def _read(self, pipe):
        for line in pipe:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        pipe.close()

    def snapshot(self):
        with self.changed:
            return list(self.lines)

    def wait_for(self, wanted, count=1, timeout_s=10.0, what="a line"):
        """The lines that `wanted` returns something for, once there are `count` of them: what it returned."""
        end = time.monotonic() + timeout_s
        with self.changed:
            while True:
                found = [answer for answer in map(wanted, self.lines) if answer]
                if len(found) >= count:
                    return found
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    tail = "\n".join(self.lines[-20:])
                    raise Failure(f"{what}: {len(found)} of {count} came within {timeout_s:g} s; the last lines:\n{tail}")
                self.changed.wait(left)


class Child:
    """Subclasses say what to run and when it is ready."""

    def __init__(self, argv, env=None, pass_fds=(), cwd=None, preexec=None):
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        environment.update(env or {})
        self.argv = argv
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, errors="replace", bufsize=1, env=environment, pass_fds=pass_fds,
                                        cwd=cwd, preexec_fn=preexec)
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)
        self.stopped = False

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def check_alive(self):
        if not self.alive():
            raise Failure(f"{self.argv[0]} ended with {self.process.returncode}:\n{self.error_text()}")

    def error_text(self):
        return "\n".join(self.stderr.snapshot()[-80:])

    def signal(self, number):
        self.check_alive()
        self.process.send_signal(number)

    def wait(self, timeout_s=20.0):
        """The exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.argv[0]} still runs {timeout_s:g} s later:\n{self.error_text()}")
        self.stdout.thread.join(5)
        self.stderr.thread.join(5)
        return code

    def check_clean(self, code, expected=0):
        text = "\n".join(self.stderr.snapshot())
        found = SANITIZER.search(text)
        if found:
            raise Failure(f"{self.argv[0]}: {found.group()}:\n{text[-6000:]}")
        check(code == expected, f"{self.argv[0]} ended with {code}, not {expected}:\n{text[-3000:]}")

    def stop(self, expected=0, timeout_s=30.0):
        """Ends it by TERM and checks that it ended well. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.check_clean(self.wait(timeout_s), expected)
        finally:
            self.kill()

    def kill(self):
        """For the end of a test that failed, or that wants a sudden death."""
        self.stopped = True
        if self.alive():
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.stop()
            return
        # The test has failed already: what the process has to say belongs to it.
        print(f"--- {' '.join(self.argv)} (pid {self.pid}, {'alive' if self.alive() else self.process.returncode})")
        print(self.error_text())
        self.kill()


def wait_line(child, text, timeout_s=20.0):
    def look():
        found = [line for line in child.stderr.snapshot() if text in line]
        if not found:
            child.check_alive()
        return found
    return wait_until(look, timeout_s, f"{child.argv[0]} saying '{text}'")[0]
