#!/usr/bin/env python3
"""One setter and one birth per state machine; files open with a paragraph; the longest files and functions are printed, to be read at review."""

import os
import re
import statistics

from tree import blank_comments, tree_of_arguments

ASSIGNED = re.compile(r"\b(\w+)((?:->|\.)\w+)*?(?:->|\.)(phase|state)\s*=(?!=)\s*([^;]*)")
DECLARED = r"\bstruct (\w+) \**{name}\b"


def functions(code):
    """(name, first line, lines) of each function: the house style opens its body with a brace alone on its line."""
    lines = code.split("\n")
    for at, line in enumerate(lines):
        if line != "{":
            continue
        end = next((i for i in range(at, len(lines)) if lines[i] == "}"), None)
        head = at - 1
        while head > 0 and lines[head].strip() and lines[head][0] in " \t":
            head -= 1
        name = re.search(r"(\w+)\(", lines[head])
        if end is not None and name:
            yield name.group(1), head + 1, end - head + 1


def machine_of(code, match):
    """The struct whose field is set: the declaration of the variable nearest above, and the members between."""
    if match.group(2):
        return None  # a member's member: not a machine of its own name here
    declared = list(re.finditer(DECLARED.format(name=re.escape(match.group(1))), code[:match.start()]))
    return declared[-1].group(1) if declared else match.group(1)


tree = tree_of_arguments()
setters = {}
lengths = []
bodies = []
for path in tree.files("src/", "bench/sandbox/", endings=(".c", ".h")):
    text = tree.text(path)
    code = blank_comments(text)
    lengths.append((text.count("\n"), path))
    if not text.startswith("/*"):
        tree.finding(path, 1, "the file does not open with a paragraph on what it owns and never does")
    for match in ASSIGNED.finditer(code):
        machine = machine_of(code, match)
        if machine:
            place = (path, code.count("\n", 0, match.start()) + 1)
            # The setter takes the new state as its parameter; a birth names it.
            kind = "set" if re.fullmatch(r"(?:\(\w+\))?[a-z]\w*", match.group(4)) else "born"
            setters.setdefault((os.path.dirname(path), machine, match.group(3), kind), []).append(place)
    for name, line, length in functions(code):
        bodies.append((length, f"{path}:{line} {name}"))

for (_, machine, field, kind), places in sorted(setters.items()):
    if len(places) > 1:
        for path, line in places:
            tree.finding(path, line, f"{machine}.{field} is {kind} in {len(places)} places, not one")

print("longest files:")
for length, path in sorted(lengths, reverse=True)[:10]:
    print(f"  {length:5} {path}")
print("longest functions:")
for length, where in sorted(bodies, reverse=True)[:10]:
    print(f"  {length:5} {where}")
sizes = sorted(length for length, _ in bodies) or [0]
tree.end(f"{len(lengths)} files, {len(bodies)} functions: median {statistics.median(sizes):.0f} lines, "
         f"p90 {sizes[int(len(sizes) * 0.9) - 1 if len(sizes) > 1 else 0]}; {len({key[:3] for key in setters})} state machines")
