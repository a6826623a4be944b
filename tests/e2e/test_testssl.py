"""testssl.sh, as Debian packages it, looks at a TLS listener as an auditor would: nothing worse than informational."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import Failure, Skip, certs, check, check_equal, deadline
from harness.processor import Sandbox
from harness.weir import Weir

SCAN_S = 1200

# Findings that are not about weir. All else must be OK or INFO; WARN means that a test could not be made.
EXCUSED = {
    "engine_problem": "of the openssl command that testssl.sh runs: it has no GOST engine",
    "cert_serialNumberLen": "the test CA counts its serial numbers from 1000",
    "cert_expirationStatus": "the test CA signs for 20 days",
    "cert_notAfter": "the test CA signs for 20 days",
    "cert_revocation": "the test CA publishes neither a CRL nor OCSP",
    "sessionresumption_ticket": "openssl s_client may leave before its ticket comes; test_tls.py resumes",
    "sessionresumption_ID": "the same",
}


def scan(*sections):
    """{id: finding} of these sections; those of a certificate are 'id <cert#1>'."""
    if os.environ.get("QUICK"):
        raise Skip("testssl.sh takes minutes")
    command = shutil.which("testssl") or shutil.which("testssl.sh")
    check(command, "testssl.sh is not installed")
    pairs = certs.server("localhost"), certs.server("localhost", kind="rsa")
    tls = {"certificates": [pair.section() for pair in pairs]}
    with tempfile.TemporaryDirectory(prefix="weir-testssl-") as folder, Sandbox() as sandbox, \
            Weir(sandbox, acme={"profile": "stripe"}, listener={"tls": tls}) as weir:
        path = pathlib.Path(folder) / "findings.json"
        argv = [command, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1",
                "--connect-timeout", "20", "--openssl-timeout", "30", "--add-ca", str(certs.ca().cert),
                "--jsonfile", str(path), *sections, f"localhost:{weir.address[1]}"]
        result = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SCAN_S)
        print(result.stdout)
        check(path.exists(), f"testssl.sh ended with {result.returncode} and wrote no findings")
        findings = json.loads(path.read_text())
        answer = weir.ask_monitor("/readyz")
        check_equal(answer.status, 200, "readiness after the scan")
    found = {finding["id"]: finding for finding in findings}
    check("scanTime" in found, f"the scan did not come to its end: {list(found)[-5:]}")
    return found


def check_harmless(found):
    worse = [f"{finding['severity']} {name}: {finding['finding']}" for name, finding in found.items()
             if finding["severity"] not in ("OK", "INFO") and name.split(" ")[0] not in EXCUSED]
    if worse:
        raise Failure("worse than informational:\n" + "\n".join(worse))


def check_says(found, expected):
    """The scan saw what it should see: a listener that it cannot read would be harmless too."""
    for name, words in expected.items():
        check(name in found, f"{name} was not looked at: {list(found)}")
        check(found[name]["finding"].startswith(words), f"{name}: {found[name]['finding']!r}, not {words!r}")


@deadline(SCAN_S + 120)
def test_protocols_ciphers_forward_secrecy_and_defaults():
    found = scan("--protocols", "--std", "--pfs", "--server-defaults")
    check_harmless(found)
    check_says(found, {
        "SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered",
        "TLS1_2": "offered", "TLS1_3": "offered",
        "cipherlist_NULL": "not offered", "cipherlist_aNULL": "not offered", "cipherlist_EXPORT": "not offered",
        "cipherlist_LOW": "not offered", "cipherlist_3DES_IDEA": "not offered", "cipherlist_AVERAGE": "not offered",
        "cipherlist_STRONG": "offered", "PFS": "offered",
        "cert_numbers": "2", "cert_chain_of_trust <cert#1>": "passed", "cert_chain_of_trust <cert#2>": "passed",
    })
    ciphers = found["PFS_ciphers"]["finding"].split()
    check("ECDHE-ECDSA-AES128-GCM-SHA256" in ciphers and "ECDHE-RSA-AES128-GCM-SHA256" in ciphers, f"{ciphers}")
    check("x25519" in found["PFS_ECDHE_curves"]["finding"].lower(), found["PFS_ECDHE_curves"]["finding"])


@deadline(SCAN_S + 120)
def test_vulnerabilities():
    found = scan("--vulnerable")
    check_harmless(found)
    vulnerabilities = ("heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_client_renego", "CRIME_TLS", "BREACH",
                       "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4")
    check_says(found, dict.fromkeys(vulnerabilities, "not vulnerable"))
    check_says(found, {"secure_renego": "supported", "fallback_SCSV": "no protocol below TLS 1.2 offered"})
