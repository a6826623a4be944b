#!/usr/bin/env python3
"""What the pages for people who change weir name is there: each `path.c`, and each `function()`, in the file that its row names."""

import re

from tree import blank_comments, tree_of_arguments

PAGES = ("docs/life-of-a-request.md", "docs/lifetimes.md", "docs/layers.md", "docs/testing.md")
NAMED = re.compile(r"`(?:(?P<path>[\w./-]+\.(?:c|h|def|py|sh|js))|(?P<function>[a-z_][a-z0-9_]*)\(\))`")
# A definition at the left margin, or the head of one that goes on in the next line; a member that is called through a
# table of operations.
DEFINED = re.compile(r"^[a-z][^;={}\n]*?\b([a-z_][a-z0-9_]*)\([^;]*?\)\s*\{", re.M)
MEMBER = re.compile(r"\(\*([a-z_][a-z0-9_]*)\)\(")
ROOTS = ("", "src/", "include/weir/")


def functions_of(text):
    text = blank_comments(text)
    return set(DEFINED.findall(text)) | set(MEMBER.findall(text))


def check(tree, page, number, text, is_cell):
    """In a cell of a table a path says where the functions behind it are; elsewhere a function may be anywhere."""
    at = None
    count = 0
    for match in NAMED.finditer(text):
        count += 1
        path, function = match.group("path", "function")
        if path:
            found = [root + path for root in ROOTS if root + path in paths]
            at = found[0] if found and is_cell else None
            if not found:
                tree.finding(page, number, f"{path}: there is no such file")
        elif function not in anywhere:
            tree.finding(page, number, f"{function}() is defined nowhere")
        elif at in functions and function not in functions[at]:
            tree.finding(page, number, f"{function}() is not in {at}")
    return count


tree = tree_of_arguments()
paths = set(tree.files())
functions = {path: functions_of(tree.text(path)) for path in tree.files("src/", "include/", endings=(".c", ".h"))}
anywhere = set().union(*functions.values())
names = 0
for page in sorted(paths.intersection(PAGES)):
    for number, line in enumerate(tree.text(page).split("\n"), 1):
        for cell in line.split("|"):
            names += check(tree, page, number, cell, line.startswith("|"))
tree.end(f"{names} names of files and functions")
