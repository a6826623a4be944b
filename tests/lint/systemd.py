#!/usr/bin/env python3
"""The unit is hardened (systemd-analyze security at most 1.5) and gives a drain the time that it takes."""

import re
import shutil
import subprocess

from tree import tree_of_arguments

UNIT_MS = {"": 1000, "ms": 1, "s": 1000, "m": 60000, "min": 60000, "h": 3600000}
THRESHOLD = 15  # tenths


def milliseconds(words):
    number, unit = re.fullmatch(r"(\d+)\s*([a-z]*)", words.strip()).groups()
    return int(number) * UNIT_MS[unit]


tree = tree_of_arguments()
unit = tree.text("deploy/weir.service")
example = tree.text("deploy/weir.yaml")

stop = re.search(r"^TimeoutStopSec=(.+)$", unit, re.M)
stop_ms = milliseconds(stop.group(1)) if stop else 0
# Where the example is silent the defaults hold (docs/configuration.md).
section = re.search(r"^shutdown:.*(?:\n[ \t]+.*)*", example, re.M)
section = section.group(0) if section else ""
announce = re.search(r"announce:\s*(\w+)", section)
drain = re.search(r"drain:\s*(\w+)", section)
needed_ms = milliseconds(announce.group(1) if announce else "5s") + milliseconds(drain.group(1) if drain else "45s")
if stop_ms <= needed_ms:
    tree.finding("deploy/weir.service", 1, f"TimeoutStopSec ({stop_ms} ms) is not longer than announce and drain ({needed_ms} ms)")

# Restarts have no limit, so what no restart can mend must not be restarted: usage and configuration of enum app_exit.
prevented = re.search(r"^RestartPreventExitStatus=(.+)$", unit, re.M)
if not {"64", "78"} <= set(prevented.group(1).split() if prevented else ()):
    tree.finding("deploy/weir.service", 1, "RestartPreventExitStatus lacks 64 or 78")
if re.search(r"^ExecStartPre=", unit, re.M):
    tree.finding("deploy/weir.service", 1, "RestartPreventExitStatus does not hold for ExecStartPre: a failing one is restarted for ever")

exposure = "not measured"
if not shutil.which("systemd-analyze"):
    tree.finding("deploy/weir.service", 1, "systemd-analyze is missing (tests/packages.txt has its package)")
else:
    ran = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager",
                          f"{tree.root}/deploy/weir.service"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    level = re.search(r"exposure level for \S+: ([\d.]+)", ran.stdout)
    exposure = level.group(1) if level else "not printed"
    if ran.returncode != 0:
        tree.finding("deploy/weir.service", 1, f"systemd-analyze security: exposure {exposure}, over {THRESHOLD / 10}")

tree.end(f"exposure {exposure}, stop {stop_ms} ms for {needed_ms} ms")
