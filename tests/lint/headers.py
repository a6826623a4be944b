#!/usr/bin/env python3
"""A header is a contract: each prototype has a comment, its own or its group's; undocumented fields are counted.

A group is a run of lines without a blank one. The include guard is the path.
"""

import re

from tree import blank_comments, tree_of_arguments

PROTOTYPE = re.compile(r"^(?!\s|#|typedef|struct \w+ *[{;]|enum \w+ *[{;]|extern \"C\"|static)[\w *]+?\b(\w+)\((?!\*)")
FIELD = re.compile(r"^ {4}[\w *]+?[ *](\w+)(?:\[[^\]]*\])?(?:, \*?\w+(?:\[[^\]]*\])?)*;|^ {4}[\w *]+\(\*(\w+)\)\(")


def groups(lines):
    start = 0
    for at in range(len(lines) + 1):
        if at == len(lines) or not lines[at].strip():
            if at > start:
                yield start, at
            start = at + 1


def file_comment_end(lines):
    """Line behind the paragraph that opens the file: it belongs to no prototype."""
    for at, line in enumerate(lines):
        if "*/" in line:
            return at + 1
    return 0


def comment_lines(text):
    """Numbers (from 0) of the lines that a comment touches."""
    touched = set()
    for match in re.finditer(r"/\*.*?\*/|//[^\n]*", text, re.S):
        first = text.count("\n", 0, match.start())
        touched.update(range(first, first + match.group(0).count("\n") + 1))
    return touched


def check(tree, path, totals):
    text = tree.text(path)
    lines = text.split("\n")
    guard = re.sub(r"\W", "_", path[len("include/"):]).upper()
    if path.endswith(".h") and f"#ifndef {guard}\n#define {guard}" not in text:
        tree.finding(path, 1, f"the include guard is not {guard}")
    if not text.startswith("/*"):
        tree.finding(path, 1, "the file does not open with a paragraph on what it is")
    code = blank_comments(text).split("\n")
    commented = comment_lines(text)
    opening = file_comment_end(lines)
    for start, end in groups(lines):
        has_comment = any(at in commented and at >= opening for at in range(start, end))
        depth_struct = False
        for at in range(start, end):
            prototype = PROTOTYPE.match(code[at])
            if prototype:
                totals["prototypes"] += 1
                if not has_comment:
                    totals["bare prototypes"] += 1
                    tree.finding(path, at + 1, f"{prototype.group(1)} has no comment, nor has its group")
            field = FIELD.match(code[at])
            if field:
                totals["fields"] += 1
                if not has_comment:
                    totals["bare fields"] += 1


tree = tree_of_arguments()
totals = {"prototypes": 0, "bare prototypes": 0, "fields": 0, "bare fields": 0}
paths = tree.files("include/", endings=(".h",))
for path in paths:
    check(tree, path, totals)
tree.end(f"{len(paths)} headers, " + ", ".join(f"{n} {what}" for what, n in totals.items()))
