#!/usr/bin/env python3
"""What may stand nowhere: unsafe string functions, left-over marks, one machine's paths, one registry's addresses."""

import re

from tree import blank_comments, tree_of_arguments

FUNCTIONS = re.compile(r"\b(strcpy|strcat|stpcpy|strncpy|strncat|sprintf|vsprintf|atoi|atol|atoll|gets|strtok|alloca)\s*\(")
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP)\b")
PATHS = re.compile(r"(?<![\w.:/-])/(?:work|root|home/\w+)/")
TEMPORARY = re.compile(r"(?<![\w./-])/tm[p]/")
REGISTRY = re.compile(r"\"resolved\"\s*:|registry\.npm|//[\w.]*registry[\w.]*/")
TEXT = (".c", ".h", ".def", ".md", ".py", ".sh", ".js", ".mjs", ".json", ".yaml", ".yml", ".txt", ".cmake", ".service",
        ".socket", ".lua", ".pml", "Dockerfile", "run", "logrotate", ".svg")

tree = tree_of_arguments()
paths = [p for p in tree.files(endings=TEXT) if p != "tests/lint/forbidden.py"]
lines_read = 0
for path in paths:
    text = tree.text(path)
    code = blank_comments(text) if path.endswith((".c", ".h")) else ""
    for number, line in enumerate(code.split("\n"), 1):
        for match in FUNCTIONS.finditer(line):
            tree.finding(path, number, f"{match.group(1)} is not used here")
    for number, line in enumerate(text.split("\n"), 1):
        lines_read += 1
        for match in MARKS.finditer(line):
            tree.finding(path, number, f"left over: {match.group(1)}")
        for match in PATHS.finditer(line):
            tree.finding(path, number, f"a path of one machine: {match.group(0)}")
        if path.startswith(("src/", "include/", "docs/", "deploy/")) and TEMPORARY.search(line):
            tree.finding(path, number, "a path under /tmp: others can write there")
        if path.endswith((".json", ".sh", ".md", "run")) and REGISTRY.search(line):
            tree.finding(path, number, "an address of a package registry")
tree.end(f"{len(paths)} files, {lines_read} lines")
