"""The command line: verbs, exit codes, diagnostics."""

import json
import os
import re
import stat
import subprocess
import tempfile

from harness import ROOT, binary, case, certs, check, check_equal
from harness.processor import Processor
from harness.weir import Weir, weir_command

GOOD = """version: 1
listeners:
  - name: public
    address: "127.0.0.1:8443"
processors:
  acme:
    url: http://127.0.0.1:9001
routes:
  - name: all
    match: {path: /*}
    to: acme
"""

FIVE = """version: 1
listeners:
  - name: public
    address: "127.0.0.1:8443"
    timeouts: {header: 5}
processors:
  acme:
    url: http://127.0.0.1:9001
    time_outs: {connect: 1s}
    balance: fair
routes:
  - name: all
    match: {path: v1}
    to: acmee
"""


def test_check_accepts_a_good_file():
    code, out, error = weir_command("check", "-c", "FILE", text=GOOD)
    check_equal((code, error), (0, ""))
    check("ok" in out, out)


def test_five_mistakes_yield_five_errors_with_positions():
    code, out, error = weir_command("check", "-c", "FILE", text=FIVE)
    check_equal(code, 1)
    found = re.findall(r"^weir\.yaml:(\d+):(\d+): error: ", out, re.MULTILINE)
    check_equal([int(line) for line, _ in found], [5, 9, 10, 13, 14])
    with case("the line, the caret and the suggestion"):
        check("unknown key 'time_outs' in processors.acme" in out, out)
        check("\n    9 |     time_outs: {connect: 1s}\n      |     ^~~~~~~~~ did you mean 'timeouts'?\n" in out, out)
        check(re.search(r"= allowed here: .*profile, .*url, ", out), out)
        check("'acmee'" in out and "did you mean 'acme'" in out, out)
    with case("the last line counts"):
        check(out.rstrip().splitlines()[-1].startswith("weir.yaml: 5 errors"), out)
    with case("as JSON"):
        code, out, error = weir_command("check", "-c", "FILE", "--format", "json", text=FIVE)
        body = json.loads(out)
        check_equal((code, body["ok"], len(body["findings"])), (1, False, 5))
        check_equal([row["line"] for row in body["findings"]], [5, 9, 10, 13, 14])


def test_warnings_pass_unless_strict():
    text = GOOD.replace("http://127.0.0.1:9001", "https://127.0.0.1:9001\n    tls: {verify: off}")
    check_equal(weir_command("check", "-c", "FILE", text=text)[0], 0)
    code, out, _ = weir_command("check", "-c", "FILE", "--strict", text=text)
    check_equal(code, 1)
    check("warning" in out and "verify" in out, out)


def test_mistakes_by_kind():
    rows = {
        "duplicate key": (GOOD + "version: 1\n", "version"),
        "anchor": (GOOD.replace("processors:\n  acme:", "processors:\n  acme: &a"), None),
        "tag": (GOOD.replace("version: 1", "version: !!int 1"), None),
        "two documents": (GOOD + "---\nversion: 1\n", None),
        "tab": (GOOD.replace("  - name: public", "\t- name: public"), None),
        "not UTF-8": (GOOD.encode() + b"# \xff\n", None),
        "no version": (GOOD.replace("version: 1\n", ""), "version"),
        "another version": (GOOD.replace("version: 1", "version: 2"), "version"),
        "a unit is missing": (GOOD + "shutdown: {drain: 45}\n", "drain"),
        "a unit is wrong": (GOOD + "shutdown: {drain: 45KiB}\n", "drain"),
        "out of range": (GOOD + "shutdown: {drain: 400h}\n", "drain"),
        "negative": (GOOD + "shutdown: {drain: -5s}\n", "drain"),
        "drain shorter than the longest total": (GOOD + "shutdown: {drain: 10s}\n", "drain"),
        "a route that can never match": (GOOD + "  - name: late\n    match: {path: /v1/x}\n    to: acme\n", "late"),
        "two routes of one name": (GOOD + "  - name: all\n    match: {path: /v1/x}\n    to: acme\n", "all"),
        "total shorter than its parts": (GOOD.replace("9001\n", "9001\n    timeouts: {connect: 5s, response: 30s, total: 20s}\n"),
                                         "total"),
        "a url with a path": (GOOD.replace("9001", "9001/v1"), "url"),
        "a url of another scheme": (GOOD.replace("http://127", "ftp://127"), "url"),
        "an endpoint without a port": (GOOD.replace("9001\n", "9001\n    endpoints: [10.0.0.1]\n"), "endpoints"),
        "client_ca is missing": (GOOD.replace('8443"\n', '8443"\n    tls: {certificates: [{cert: /a, key: /b}], '
                                              "client_certs: required}\n"), "client_ca"),
        "a capability of later": (GOOD + "workers: 4\n", "workers"),
        "idempotency of later": (GOOD.replace("    to: acme\n", "    to: acme\n    idempotency: {required: true}\n"),
                                 "idempotency"),
    }
    for name, (text, word) in rows.items():
        with case(name), tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/weir.yaml"
            with open(path, "wb") as file:
                file.write(text if isinstance(text, bytes) else text.encode())
            code, out, error = weir_command("check", "-c", path)
            check_equal(code, 1, out + error)
            check(re.search(r"^[^ ]+(:\d+:\d+)?: error: ", out, re.MULTILINE), out)
            check(word is None or word in out, out)


def test_files_that_cannot_be_read():
    for name, path in (("absent", "/nowhere/weir.yaml"), ("a folder", str(ROOT)), ("endless", "/dev/zero")):
        with case(name):
            code, out, error = weir_command("check", "-c", path)
            check_equal(code, 1, out + error)
            check(path in out + error, out + error)


def test_exit_codes():
    rows = [((), 64), (("nonsense",), 64), (("check",), 64), (("check", "--nonsense"), 64), (("check", "-c"), 64),
            (("check", "-c", "FILE", "more"), 64), (("check", "-c", "FILE", "--format", "xml"), 64), (("explain",), 64),
            (("explain", "no_such_word"), 1), (("route", "-c", "FILE", "GET"), 64), (("secret",), 64), (("secret", "old"), 64),
            (("run", "-c", "/nowhere"), 78), (("version",), 0), (("help",), 0), (("explain", "RT"), 0)]
    for argv, expected in rows:
        with case(" ".join(argv) or "nothing"):
            code, out, error = weir_command(*argv, text=GOOD)
            check_equal(code, expected, out + error)
            check(out + error, "it says something")
    with case("run with a bad file"):
        check_equal(weir_command("run", "-c", "FILE", text=FIVE)[0], 78)


def test_a_verb_that_was_meant_is_named():
    code, _, error = weir_command("chekc")
    check_equal(code, 64)
    check("did you mean 'check'" in error, error)


def test_explain_knows_keys_reasons_and_profiles():
    rows = {"processors.acme.timeouts.connect": "1s", "listeners.limits.body": "256KiB", "RT": "response_timeout",
            "response_timeout": "504", "no_route": "404", "profiles.stripe": "Stripe", "profiles.generic": "errors: problem",
            "shutdown.drain": "45s"}
    for word, part in rows.items():
        with case(word):
            code, out, error = weir_command("explain", word)
            check_equal((code, error), (0, ""))
            check(part in out, out)


def test_every_reason_can_be_explained():
    text = (ROOT / "include/weir/policy/reason.def").read_text()
    reasons = re.findall(r'^REASON\(\w+, "(\w+)", "(\w+)", (\d+)', text, re.MULTILINE)
    check(len(reasons) > 35, f"{reasons}")
    for letters, name, status in reasons:
        with case(name):
            by_name, by_code = weir_command("explain", name), weir_command("explain", letters)
            check_equal(by_name, by_code)
            check_equal(by_name[0], 0)
            for part in ("meaning", "causes", "first"):
                check(part in by_name[1], by_name[1])


def test_route_is_a_dry_run():
    text = GOOD.replace("  - name: all\n    match: {path: /*}", "  - name: pay\n    match: {host: pay.example.com, method: POST, "
                        "path: /v1/payments}")
    rows = [("POST", "https://pay.example.com/v1/payments", 0), ("POST", "https://pay.example.com:8443/v1/payments?a=b", 0),
            ("GET", "https://pay.example.com/v1/payments", 1), ("POST", "https://other.example/v1/payments", 1),
            ("POST", "https://pay.example.com/v1/payments/1", 1)]
    for method, url, expected in rows:
        with case(f"{method} {url}"):
            code, out, error = weir_command("route", "-c", "FILE", method, url, text=text)
            check_equal(code, expected, out + error)
            if expected == 0:
                check("pay" in out and "acme" in out, out)


def test_version_names_what_it_is_built_from():
    code, out, _ = weir_command("version", "--json")
    body = json.loads(out)
    check_equal(code, 0)
    check(body["llhttp"].endswith("(strict)"), out)
    for name in ("version", "openssl_built", "openssl_running", "libuv"):
        check(body[name], name)


def test_secrets_are_new_each_time_and_well_formed():
    first, second = weir_command("secret", "new"), weir_command("secret", "new")
    check_equal((first[0], first[2]), (0, ""))
    check(first[1] != second[1], "two secrets are one")
    rows = dict(line.split() for line in first[1].splitlines() if line and not line.startswith("#"))
    check_equal(sorted(rows), ["fingerprint", "index", "seal.1"])
    for name, value in rows.items():
        check(re.fullmatch(r"[A-Za-z0-9+/]{43}=", value), f"{name} is not 32 bytes in base64")


def test_the_environment_fills_in():
    with Processor() as processor:
        text = GOOD.replace("http://127.0.0.1:9001", '"http://${env:ACME_ADDRESS}"')
        with case("set"):
            code, out, _ = weir_command("check", "-c", "FILE", text=text, env={"ACME_ADDRESS": processor.authority})
            check_equal(code, 0, out)
        with case("not set"):
            code, out, _ = weir_command("check", "-c", "FILE", text=text)
            check_equal(code, 1)
            check("ACME_ADDRESS" in out, out)
        with case("outside double quotes it is text"):
            code, out, _ = weir_command("check", "-c", "FILE", text=text.replace('"http://${env:ACME_ADDRESS}"',
                                                                                 "'http://${env:ACME_ADDRESS}'"),
                                        env={"ACME_ADDRESS": processor.authority})
            check_equal(code, 1, out)


def test_check_looks_at_the_files_that_are_named():
    pair, other = certs.server("pay.example.com"), certs.server("api.example.com")
    def text_with(cert, key):
        return GOOD.replace('8443"\n', f'8443"\n    tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}\n')

    with case("good"):
        check_equal(weir_command("check", "-c", "FILE", text=text_with(pair.cert, pair.key))[0], 0)
    with case("absent is a warning: the file may be written elsewhere"):
        text = text_with("/nowhere.crt", pair.key)
        code, out, _ = weir_command("check", "-c", "FILE", text=text)
        check_equal(code, 0, out)
        check("warning" in out and "/nowhere.crt" in out, out)
        check_equal(weir_command("check", "-c", "FILE", "--strict", text=text)[0], 1)
        check_equal(weir_command("run", "-c", "FILE", text=text)[0], 78)
    for name, cert, key, word in (("another key", pair.cert, other.key, "key"),
                                  ("not a certificate", pair.key, pair.key, str(pair.key)),
                                  ("a folder", ROOT, pair.key, str(ROOT))):
        with case(name):
            code, out, _ = weir_command("check", "-c", "FILE", text=text_with(cert, key))
            check_equal(code, 1, out)
            check(word in out, out)
    with case("a key that everyone can read is a warning"), tempfile.TemporaryDirectory() as folder:
        key = f"{folder}/open.key"
        with open(pair.key, "rb") as source, open(key, "wb") as copy:
            copy.write(source.read())
        os.chmod(key, 0o644)
        code, out, _ = weir_command("check", "-c", "FILE", text=text_with(pair.cert, key))
        check_equal(code, 0, out)
        check("warning" in out and key in out, out)


def test_the_shipped_example_is_a_good_file():
    text = (ROOT / "deploy/weir.yaml").read_text()
    pair = certs.server("pay.example.com")
    text = text.replace("/etc/weir/tls/pay.crt", str(pair.cert)).replace("/etc/weir/tls/pay.key", str(pair.key))
    code, out, error = weir_command("check", "-c", "FILE", text=text)
    check_equal(code, 0, out + error)


def test_generated_pages_have_not_drifted():
    with case("docs/reasons.md"):
        path = ROOT / "docs/reasons.md"
        check(path.exists(), "docs/reasons.md is generated and kept")
        text = path.read_text()
        for name in re.findall(r'^REASON\(\w+, "\w+", "(\w+)"', (ROOT / "include/weir/policy/reason.def").read_text(), re.M):
            check(f"## {name}" in text, name)


def test_an_address_that_is_taken_refuses_the_start():
    with Processor() as processor, Weir(processor) as weir:
        second = Weir(config={**weir.config, "monitor": {"address": "127.0.0.1:1"}, "admin": {"socket": weir.folder + "/unused.sock"}},
                      wait=False)
        code = second.wait(10)
        check(code in (1, 78), f"{code}")
        check("public" in second.error_text() or "monitor" in second.error_text(), second.error_text())
        second.kill()


def test_too_few_descriptors_refuse_the_start():
    import resource

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    with Processor() as processor:
        weir = Weir(processor, wait=False, preexec=few)
        code = weir.wait(10)
        check(code in (1, 78), f"{code}")
        check("descriptors" in weir.error_text(), weir.error_text())
        weir.kill()
        with Weir(processor, acme={"pool": {"connections": 20}, "concurrency": 20}, preexec=few) as enough:
            check_equal(enough.ask("GET", "/x").status, 200)


def test_secret_files_are_private():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/secret"
        subprocess.run(f"umask 077; {binary('weir')} secret new > {path}", shell=True, check=True)
        check_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)


def test_connections_that_do_not_fit_refuse_the_start():
    with Processor() as processor:
        weir = Weir(processor, listener={"limits": {"connections": 1000000}}, wait=False)
        check(weir.wait(10) in (1, 78), "it must not start")
        check("connections" in weir.error_text(), weir.error_text())
        weir.kill()
