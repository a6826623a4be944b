#!/usr/bin/env python3
"""The scripts parse and please shellcheck; the image and the pod say what a drain needs. Neither can be built here."""

import re
import shutil
import subprocess

from tree import tree_of_arguments

# Indirect calls through trap and eval, `A && B || C` where B cannot fail, and $ meant literally.
SHELLCHECK_OFF = "SC2015,SC2016,SC2317"


def check_scripts(tree):
    paths = tree.files(endings=(".sh", ".ci/run"))
    for path in paths:
        ran = subprocess.run(["sh", "-n", path], cwd=tree.root, stderr=subprocess.PIPE, text=True)
        if ran.returncode:
            tree.finding(path, 1, ran.stderr.strip())
    if shutil.which("shellcheck") is None:
        tree.finding("tests/packages.txt", 1, "shellcheck is missing")
    elif paths:
        ran = subprocess.run(["shellcheck", "-f", "gcc", "-e", SHELLCHECK_OFF, *paths], cwd=tree.root,
                             stdout=subprocess.PIPE, text=True)
        for line in ran.stdout.splitlines():
            path, number, rest = line.split(":", 2)
            tree.finding(path, int(number), rest.strip())
    return len(paths)


def check_image(tree, path):
    text = re.sub(r"\\\n", " ", tree.text(path))
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    for stage in stages:
        if not re.match(r"\S+:\S+", stage):
            tree.finding(path, 1, f"FROM {stage.split()[0]}: no tag")
    last = stages[-1]
    user = re.search(r"^USER (\S+)", last, re.M)
    if user is None or user.group(1).split(":")[0] in ("root", "0"):
        tree.finding(path, 1, "the image runs as root")
    for word in ("HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL SIGTERM"):
        if not re.search(rf"^{word}\b", last, re.M):
            tree.finding(path, 1, f"no {word}")
    # A binary without one of its libraries does not start, and nobody builds this image here.
    for built_with in re.findall(r"^(lib\S+)-dev$", tree.text("deploy/packages.txt"), re.M):
        if built_with != "libc6" and not re.search(rf" {re.escape(built_with)}[\d.-]* ", last):
            tree.finding(path, 1, f"weir is built with {built_with}-dev, and the image has no {built_with}")
    for copied in re.findall(r"^COPY (?!--from)(\S+) \S", text, re.M):
        if copied != "." and copied not in tree.files():
            tree.finding(path, 1, f"COPY {copied}: no such file")


def check_pod(tree, path):
    text = tree.text(path)
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", text)
    stop = re.search(r"^TimeoutStopSec=(\d+)s$", tree.text("deploy/weir.service"), re.M)
    # lint/systemd.py compares the unit with the drain; the pod has at least as long.
    if grace is None or stop is None or int(grace.group(1)) < int(stop.group(1)):
        tree.finding(path, 1, "terminationGracePeriodSeconds is shorter than TimeoutStopSec of the unit")
    for probe, at in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        if not re.search(rf"{probe}:\s+httpGet: \{{path: {at},", text):
            tree.finding(path, 1, f"{probe} does not ask {at}")


tree = tree_of_arguments()
scripts = check_scripts(tree)
check_image(tree, "deploy/Dockerfile")
check_pod(tree, "deploy/kubernetes/weir.yaml")
tree.end(f"{scripts} scripts, the image, the pod")
