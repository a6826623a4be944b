"""Certificates for the tests, made once per run with the openssl command and kept in its cache.

    certs.server("pay.example.com")             ECDSA, signed by the CA
    certs.server("pay.example.com", kind="rsa")
    certs.server("old.example.com", expired=True)
    certs.server("x.example.com", ca=certs.other_ca())
    certs.client("merchant-1"); certs.revoked("merchant-2"); certs.crl()
"""

import fcntl
import pathlib
import ssl
import subprocess

from . import cache_dir

CONFIG = """
[ca]
default_ca = this
[this]
dir = {folder}
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {folder}/ca.crt
private_key = {folder}/ca.key
default_md = sha256
default_crl_days = 30
policy = anything
unique_subject = no
copy_extensions = copy
[anything]
commonName = supplied
organizationName = optional
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[leaf]
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
keyUsage = critical, digitalSignature
"""


def _openssl(*argv):
    result = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(map(str, argv))}:\n{result.stderr}")


def _key(path, kind):
    if kind == "rsa":
        _openssl("genrsa", "-out", path, "2048")
    else:
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


class Pair:
    """A certificate with its key: paths, as a configuration wants them."""

    def __init__(self, folder, name):
        self.cert = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"

    def section(self):
        return {"cert": str(self.cert), "key": str(self.key)}


class Ca:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.cert = folder / "ca.crt"
        with self._locked():
            if not self.cert.exists():
                self._make()

    def _locked(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        return _Lock(self.folder / "lock")

    def _make(self):
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "crlnumber").write_text("1000\n")
        (self.folder / "openssl.cnf").write_text(CONFIG.format(folder=self.folder))
        _key(self.folder / "ca.key", "ec")
        partial = self.folder / "ca.partial"
        _openssl("req", "-x509", "-new", "-key", self.folder / "ca.key", "-subj", f"/CN={self.name}", "-days", "30",
                 "-out", partial, "-addext", "basicConstraints=critical,CA:true",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        partial.rename(self.cert)

    def issue(self, file_name, subject, names, usage, kind="ec", expired=False):
        pair = Pair(self.folder, file_name)
        with self._locked():
            if pair.cert.exists():
                return pair
            _key(pair.key, kind)
            request = self.folder / f"{file_name}.csr"
            extensions = ["-addext", f"extendedKeyUsage={usage}"]
            if names:
                extensions += ["-addext", "subjectAltName=" + ",".join(names)]
            _openssl("req", "-new", "-key", pair.key, "-subj", subject, "-out", request,
                     "-config", self.folder / "openssl.cnf", *extensions)
            dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"] if expired else ["-days", "20"]
            partial = self.folder / f"{file_name}.partial"
            _openssl("ca", "-batch", "-notext", "-config", self.folder / "openssl.cnf", "-extensions", "leaf",
                     "-in", request, "-out", partial, *dates)
            partial.rename(pair.cert)
        return pair

    def revoke(self, pair):
        with self._locked():
            marker = pair.cert.with_suffix(".revoked")
            if not marker.exists():
                _openssl("ca", "-config", self.folder / "openssl.cnf", "-revoke", pair.cert)
                marker.write_text("")

    def crl(self):
        """A list of what was revoked so far, in a new file."""
        with self._locked():
            path = self.folder / f"crl-{len(list(self.folder.glob('crl-*')))}.pem"
            _openssl("ca", "-config", self.folder / "openssl.cnf", "-gencrl", "-out", path)
            return path


class _Lock:
    def __init__(self, path):
        self.file = open(path, "w")

    def __enter__(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error):
        self.file.close()


def ca():
    return Ca(cache_dir() / "ca", "weir test CA")


def other_ca():
    """Nobody is told to trust it."""
    return Ca(cache_dir() / "other-ca", "another CA")


def server(*names, kind="ec", expired=False, ca=None):
    """For these names; an IP address is one too."""
    authority = ca or globals()["ca"]()
    alternatives = [f"IP:{name}" if name.replace(".", "").isdigit() or ":" in name else f"DNS:{name}" for name in names]
    file_name = f"{names[0].replace('*', '_')}-{len(names)}-{kind}{'-expired' if expired else ''}"
    return authority.issue(file_name, f"/CN={names[0]}", alternatives, "serverAuth", kind, expired)


def client(name, kind="ec", ca=None):
    return (ca or globals()["ca"]()).issue(f"client-{name}-{kind}", f"/O=Merchants/CN={name}", [], "clientAuth", kind)


def revoked(name):
    pair = client(name)
    ca().revoke(pair)
    return pair


def crl():
    return ca().crl()


def client_context(ca_path=None, pair=None, minimum=None, maximum=None, alpn=("http/1.1",), ciphers=None):
    """A client's side that trusts the test CA and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(ca_path or ca().cert))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if pair is not None:
        context.load_cert_chain(str(pair.cert), str(pair.key))
    if minimum is not None:
        context.minimum_version = minimum
    if maximum is not None:
        context.maximum_version = maximum
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


def server_context(pair, client_ca=None, maximum=None):
    """A processor's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pair.cert), str(pair.key))
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(client_ca))
    if maximum is not None:
        context.maximum_version = maximum
    return context
