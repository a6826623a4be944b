#!/usr/bin/env python3
"""Every check is shown a small tree with the fault that it is there for, and one without: it must tell them apart."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def run(check, files):
    """Exit status and output of a check on a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            at = os.path.join(root, path)
            os.makedirs(os.path.dirname(at), exist_ok=True)
            with open(at, "w", encoding="utf-8") as f:
                f.write(text)
        ran = subprocess.run([sys.executable, os.path.join(HERE, check), "--root", root], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        return ran.returncode, ran.stdout


class Checks(unittest.TestCase):
    def refuses(self, check, files, words):
        status, out = run(check, files)
        self.assertEqual(status, 1, out)
        self.assertIn(words, out)

    def passes(self, check, files):
        status, out = run(check, files)
        self.assertEqual(status, 0, out)

    def test_a_lower_layer_may_not_include_a_higher_one(self):
        self.refuses("layers.py", {"src/io/a.c": '#include "weir/gate/gate.h"\n'}, "io may not include gate: it is above")

    def test_layers_side_by_side_do_not_include_each_other(self):
        self.refuses("layers.py", {"include/weir/http/a.h": '#include "weir/conf/conf.h"\n'}, "side by side")

    def test_a_library_stays_in_its_place(self):
        self.refuses("layers.py", {"src/gate/a.c": "#include <uv.h>\n"}, "uv.h is included only in")
        self.refuses("layers.py", {"src/base/tls.c": "#include <openssl/ssl.h>\n"}, "openssl/ssl.h is included only in")
        self.refuses("layers.py", {"src/http/head.c": "#include <llhttp.h>\n"}, "llhttp.h is included only in")

    def test_looking_down_is_fine(self):
        self.passes("layers.py", {"src/gate/a.c": '#include "weir/io/loop.h"\n', "src/base/digest.c": "#include <openssl/evp.h>\n",
                                  "src/main.c": '#include "weir/app/verbs.h"\n'})

    def test_an_unsafe_function_is_found_but_not_in_a_comment(self):
        self.refuses("forbidden.py", {"src/a.c": "int x = " + "at" + "oi(t);\n"}, "is not used here")
        self.passes("forbidden.py", {"src/a.c": "/* no str" + "cpy(a, b) here */\n"})

    def test_a_left_over_mark_and_a_machine_path_are_found(self):
        self.refuses("forbidden.py", {"docs/a.md": "TO" + "DO: more\n"}, "left over")
        self.refuses("forbidden.py", {"docs/a.md": "see /ro" + "ot/x\n"}, "a path of one machine")
        self.refuses("forbidden.py", {"deploy/a.sh": "cat > /t" + "mp/x\n"}, "a path under")

    def test_a_lock_file_that_names_its_registry_is_found(self):
        self.refuses("forbidden.py", {"tests/sdk/package-lock.json": '"reso' + 'lved": "x"\n'}, "package registry")

    def test_a_prototype_without_a_comment_is_found(self):
        bare = "/*\n * A.\n */\n#ifndef WEIR_BASE_A_H\n#define WEIR_BASE_A_H\n\nint a_open(void);\n\n#endif\n"
        self.refuses("headers.py", {"include/weir/base/a.h": bare}, "a_open has no comment")
        self.passes("headers.py", {"include/weir/base/a.h": bare.replace("int a_open", "/* Opens. */\nint a_open")})

    def test_a_page_that_names_what_is_not_there_is_found(self):
        code = {"src/gate/a.c": "/*\n * A.\n */\nvoid a_open(int x,\n            int y)\n{\n}\n", "src/gate/b.c": "\n"}
        page = "docs/life-of-a-request.md"
        self.passes("pages.py", {**code, page: "| `gate/a.c` `a_open()` |\n\n`a_open()` is not in `gate/b.c`.\n"})
        self.refuses("pages.py", {**code, page: "`a_close()`\n"}, "a_close() is defined nowhere")
        self.refuses("pages.py", {**code, page: "| `gate/b.c` `a_open()` |\n"}, "a_open() is not in src/gate/b.c")
        self.refuses("pages.py", {**code, page: "see `gate/c.c`\n"}, "gate/c.c: there is no such file")

    def test_a_second_setter_of_a_state_is_found(self):
        one = "/*\n * A.\n */\nvoid f(struct link *l)\n{\n    l->state = state;\n}\n"
        self.passes("shape.py", {"src/a.c": one})
        self.refuses("shape.py", {"src/a.c": one + "void g(struct link *l)\n{\n    l->state = other;\n}\n"}, "in 2 places")

    def test_a_stop_that_is_shorter_than_the_drain_is_found(self):
        files = {"deploy/weir.service": "[Service]\nTimeoutStopSec=50s\n", "deploy/weir.yaml": "shutdown: {announce: 5s, drain: 45s}\n"}
        self.refuses("systemd.py", files, "not longer than announce and drain (50000 ms)")

    def test_a_unit_that_is_open_wide_is_found(self):
        files = {"deploy/weir.service": "[Service]\nExecStart=/usr/sbin/weir\nTimeoutStopSec=90s\n", "deploy/weir.yaml": ""}
        self.refuses("systemd.py", files, "exposure")

    def test_an_alert_without_a_runbook_a_test_or_a_metric_is_found(self):
        alert = ("groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: weir_x > 0\n        annotations:\n"
                 "          runbook: docs/operations.md#what-to-do\n")
        world = ("rule_files: [../../deploy/prometheus/rules.yml]\ntests:\n  - interval: 1m\n    input_series:\n"
                 "      - {series: weir_x, values: '0 1'}\n    alert_rule_test:\n"
                 "      - {eval_time: 0m, alertname: A, exp_alerts: []}\n      - eval_time: 1m\n        alertname: A\n"
                 "        exp_alerts:\n          - exp_annotations: {runbook: 'docs/operations.md#what-to-do'}\n")
        files = {"deploy/prometheus/rules.yml": alert, "tests/lint/rules_test.yml": world,
                 "docs/operations.md": "# Operations\n\n## What to do\n", "src/a.c": 'x = "weir_x";\n'}
        self.passes("rules.py", files)
        self.refuses("rules.py", {**files, "docs/operations.md": "# Operations\n"}, "the runbook is no section")
        self.refuses("rules.py", {**files, "src/a.c": "\n"}, "weir_x: weir prints no such metric")
        self.refuses("rules.py", {**files, "tests/lint/rules_test.yml": world.replace("0 1", "0 0")}, "promtool test")
        self.refuses("rules.py", {**files, "tests/lint/rules_test.yml": world.split("      - eval_time: 1m")[0]},
                     "does not show A fire")
        self.refuses("rules.py", {**files, "deploy/prometheus/rules.yml": alert.replace("> 0", "> > 0")}, "promtool check")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad else 0)
