#!/usr/bin/env python3
"""deploy/prometheus/rules.yml: promtool likes it, each alert fires and does not fire where it should, names a section of
docs/operations.md that is there, and asks only for metrics that weir prints."""

import os
import re
import subprocess

from tree import tree_of_arguments

RULES = "deploy/prometheus/rules.yml"
TESTS = "tests/lint/rules_test.yml"
RUNBOOK = "docs/operations.md"
METRIC = re.compile(r"\bweir_[a-z_]+\b")


def run_promtool(tree, *arguments, at):
    ran = subprocess.run(["promtool", *arguments], cwd=os.path.join(tree.root, at), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        tree.finding(RULES, 1, "promtool " + " ".join(arguments) + ":\n" + ran.stdout.strip())


def slug_of(heading):
    """The anchor that a heading has on the usual forges."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def alerts_of(text):
    """(name, first line, text) of each rule."""
    parts = re.split(r"^ {6}- alert: ", text, flags=re.M)
    line = parts[0].count("\n") + 1
    for part in parts[1:]:
        yield part.split("\n", 1)[0].strip(), line, part
        line += part.count("\n")


def check_runbook(tree, line, alert, sections):
    found = re.search(r"^ {10}runbook: (\S+)$", alert, re.M)
    page, _, section = found.group(1).partition("#") if found else ("", "", "")
    if page != RUNBOOK or section not in sections:
        tree.finding(RULES, line, f"the runbook is no section of {RUNBOOK}: {found.group(1) if found else 'none'}")


def check_tests(tree, line, name, tests):
    """Seen to fire, and seen not to."""
    quiet = re.search(rf"alertname: {name}, exp_alerts: \[\]", tests)
    firing = re.search(rf"alertname: {name}\n +exp_alerts:\n", tests)
    if not quiet or not firing:
        tree.finding(RULES, line, f"{TESTS} does not show {name} {'fire' if quiet else 'being quiet'}")


def check_metrics(tree, line, alert, printed):
    expression = re.search(r"^ {8}expr: (.*)$", alert, re.M).group(1)
    for metric in METRIC.findall(expression):
        if metric not in printed:
            tree.finding(RULES, line, f"{metric}: weir prints no such metric")


tree = tree_of_arguments()
rules, tests = tree.text(RULES), tree.text(TESTS)
sections = {slug_of(heading) for heading in re.findall(r"^#+ (.*)$", tree.text(RUNBOOK), re.M)}
# Names of families stand in quotes where they are defined, and in the text that process.c prints.
printed = set()
for path in tree.files("src/", endings=(".c",)):
    printed.update(re.findall(r'["\\n ](weir_[a-z_]+)\b', tree.text(path)))
run_promtool(tree, "check", "rules", os.path.basename(RULES), at=os.path.dirname(RULES))
run_promtool(tree, "test", "rules", os.path.basename(TESTS), at=os.path.dirname(TESTS))
count = 0
for name, line, alert in alerts_of(rules):
    count += 1
    check_runbook(tree, line, alert, sections)
    check_tests(tree, line, name, tests)
    check_metrics(tree, line, alert, printed)
if count == 0:
    tree.finding(RULES, 1, "there is no alert")
tree.end(f"{count} alerts")
