"""What every check of the tree shares: which files there are, and how a finding is told.

A check is a program: `CHECK.py [--root DIR]`. It prints `path:line: words` for
each finding, then one line of figures and one of counts, and its exit status is
1 when there was a finding.
"""

import argparse
import os
import re
import subprocess
import sys

SKIPPED_DIRS = ("build", "node_modules", "__pycache__", ".git")


class Tree:
    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.findings = 0

    def files(self, *prefixes, endings=("",)):
        """Paths below the root, sorted; what git ignores is left out."""
        return [p for p in self._all() if p.startswith(prefixes or ("",)) and p.endswith(tuple(endings))]

    def _all(self):
        try:
            listed = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-co", "--exclude-standard"],
                check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.split("\n")
            if any(listed):
                return sorted(p for p in set(listed) if p and os.path.isfile(os.path.join(self.root, p)))
        except (OSError, subprocess.CalledProcessError):
            pass  # a tree without git: a release archive, or a test's own
        found = []
        for at, dirs, names in os.walk(self.root):
            dirs[:] = [d for d in dirs if not d.startswith("build-") and d not in SKIPPED_DIRS]
            found += [os.path.relpath(os.path.join(at, n), self.root) for n in names]
        return sorted(found)

    def text(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
            return f.read()

    def finding(self, path, line, words):
        self.findings += 1
        print(f"{path}:{line}: {words}")

    def end(self, figures):
        print(figures + f"; {self.findings} findings")
        print(f"{0 if self.findings else 1} passed, {1 if self.findings else 0} failed")
        sys.exit(1 if self.findings else 0)


def tree_of_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    return Tree(parser.parse_args().root)


def blank_comments(text, strings=True):
    """C text with comments (and strings) blanked out; lines and columns stay."""
    def blank(match):
        part = match.group(0)
        if part[0] in "\"'" and not strings:
            return part
        if part[0] in "\"'":
            return part[0] + " " * (len(part) - 2) + part[-1]
        return re.sub(r"[^\n]", " ", part)
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", blank, text, flags=re.S)
