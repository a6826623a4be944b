#!/usr/bin/env python3
"""Layers look down only, and every library is spoken to in one place."""

import re

from tree import tree_of_arguments

RANK = {"base": 0, "conf": 1, "http": 1, "policy": 1, "io": 2, "store": 3, "upstream": 3, "gate": 4, "app": 5}

# A header of a library, and the only places that may include it. src/app/version.c
# reads version numbers and calls nothing.
HOMES = [
    (re.compile(r"uv/version\.h$"), ("src/io/", "src/app/version.c")),
    (re.compile(r"uv\.h$|uv/(?!version\.h$)"), ("src/io/", "include/weir/io/")),
    (re.compile(r"openssl/"), ("src/io/", "src/base/digest.c", "src/base/keyring.c")),
    (re.compile(r"llhttp\.h$"), ("src/http/parser.c", "src/app/version.c")),
    (re.compile(r"libfyaml\.h$"), ("src/conf/",)),
    (re.compile(r"jansson\.h$"), ("src/http/json_key.c", "src/app/version.c")),
    (re.compile(r"xxhash\.h$"), ("src/base/",)),
    (re.compile(r"hiredis/|lmdb\.h$"), ("src/store/", "src/app/version.c")),
]

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.M)
OURS = re.compile(r"^(?:src|include/weir)/(\w+)/")


def check(tree, path):
    layer = OURS.match(path)
    layer = layer.group(1) if layer else "app"  # src/main.c
    if layer not in RANK:
        tree.finding(path, 1, f"'{layer}' is not a layer; the layers are {', '.join(RANK)}")
        return
    text = tree.text(path)
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        name = match.group(2)
        theirs = re.match(r"weir/(\w+)/", name)
        if theirs:
            check_layer(tree, path, line, layer, theirs.group(1))
        elif "../" in name:
            tree.finding(path, line, f"{name}: a path out of the layer's folder")
        for library, homes in HOMES:
            if library.match(name) and not path.startswith(homes):
                tree.finding(path, line, f"{name} is included only in {', '.join(homes)}")


def check_layer(tree, path, line, mine, theirs):
    if theirs not in RANK:
        tree.finding(path, line, f"weir/{theirs}: no such layer")
    elif theirs != mine and RANK[theirs] > RANK[mine]:
        tree.finding(path, line, f"{mine} may not include {theirs}: it is above")
    elif theirs != mine and RANK[theirs] == RANK[mine]:
        tree.finding(path, line, f"{mine} may not include {theirs}: they stand side by side")


tree = tree_of_arguments()
paths = tree.files("src/", "include/", endings=(".c", ".h", ".def"))
for path in paths:
    check(tree, path)
tree.end(f"{len(paths)} files in {len(RANK)} layers")
