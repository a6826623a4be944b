#!/usr/bin/env python3
"""What /metrics prints pleases `promtool check metrics`: names, help, types, units. A real weir is asked."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

CONFIGURATION = """version: 1
listeners:
  - name: public
    address: "127.0.0.1:0"
processors:
  acme:
    profile: stripe
    url: http://127.0.0.1:9
routes:
  - name: all
    match: {{path: /*}}
    to: acme
store: {{path: {at}/store, size: 16MiB, secret_file: {at}/secret}}
monitor: {{address: "127.0.0.1:{port}"}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def metrics(port, process):
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.05)
    raise SystemExit("weir did not start:\n" + process.stdout.read().decode(errors="replace"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build-dev")
    weir = os.path.join(parser.parse_args().build, "weir")
    with tempfile.TemporaryDirectory() as at:
        port = free_port()
        path = os.path.join(at, "weir.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(CONFIGURATION.format(port=port, at=at))
        process = subprocess.Popen([weir, "run", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            text = metrics(port, process)
        finally:
            for sig in (signal.SIGTERM, signal.SIGTERM):
                if process.poll() is None:
                    process.send_signal(sig)
            process.wait(timeout=20)
    ran = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    words = ran.stdout.decode().strip()
    families = text.count(b"# TYPE ")
    good = ran.returncode == 0 and not words and b"# TYPE weir_store_up " in text
    print(f"{families} families\n{words}\n{int(good)} passed, {int(not good)} failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
