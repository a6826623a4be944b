"""A real redis-server of the test's own, on a port of its own, without files that outlive it.

    with Redis() as redis:                          memory only
    Redis("--appendonly", "yes")                    more options
    Redis(tls=certs.server("127.0.0.1"))            TLS; require_client=True asks for client certificates
    redis.crash(); redis.start()                    kill -9, and again with the same port and files
    redis.pause(); redis.go_on()                    SIGSTOP, SIGCONT
    redis.command("CONFIG", "SET", "maxmemory", 1)
    redis.be("weir", "password")                    the user that command() is from now on
"""

import pathlib
import shutil
import signal
import socket
import ssl
import tempfile

from . import Failure, Skip, certs, check, wait_until
from .child import Child
from .ports import free_port


class Redis(Child):
    def __init__(self, *options, tls=None, require_client=False):
        server = shutil.which("redis-server")
        if server is None:
            raise Skip("redis-server is not installed")
        self.folder = tempfile.mkdtemp(prefix="weir-redis-")
        self.address = ("127.0.0.1", free_port())
        self.tls = tls
        self.require_client = require_client
        self.user = None
        port = str(self.address[1])
        self.command_line = [server, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                             "--maxmemory-policy", "noeviction", "--dir", self.folder]
        if tls is None:
            self.command_line += ["--port", port]
        else:
            self.command_line += ["--port", "0", "--tls-port", port, "--tls-cert-file", str(tls.cert), "--tls-key-file",
                                  str(tls.key), "--tls-ca-cert-file", str(certs.ca().cert), "--tls-auth-clients",
                                  "yes" if require_client else "no"]
        self.command_line += options
        self.start()

    def start(self, wait=True):
        """Again, with the same port and files; at first, too."""
        super().__init__(self.command_line)
        if wait:
            wait_until(self._answers, 20, "redis-server")

    def wait_answers(self, timeout_s=20):
        wait_until(self._answers, timeout_s, "redis-server")

    @property
    def url(self):
        return f"{'rediss' if self.tls else 'redis'}://{self.address[0]}:{self.address[1]}"

    def _answers(self):
        self.check_alive()
        try:
            return self.command("PING") == "PONG"
        except (OSError, Failure):
            return False
        except RuntimeError as error:
            if "LOADING" in str(error):
                return False
            raise

    def be(self, user, password):
        """The user that command() is from now on; None: the default one."""
        self.user = (user, password) if user else None

    def command(self, *words, timeout_s=10):
        """One command on a connection of its own; errors are raised."""
        with self._connect(timeout_s) as connection:
            file = connection.makefile("rb")
            if self.user is not None:
                connection.sendall(_words("AUTH", *self.user))
                _read(file)
            connection.sendall(_words(*words))
            return _read(file)

    def _connect(self, timeout_s):
        connection = socket.create_connection(self.address, timeout_s)
        if self.tls is None:
            return connection
        pair = certs.client("redis-test") if self.require_client else None
        return certs.client_context(pair=pair, alpn=()).wrap_socket(connection, server_hostname="127.0.0.1")

    def info(self, name):
        """One line of INFO."""
        for line in self.command("INFO").splitlines():
            if line.startswith(name + ":"):
                return line.partition(":")[2].strip()
        return None

    def keys(self, pattern="*"):
        return self.command("KEYS", pattern)

    def files(self):
        """What it wrote to disk: {path: bytes}."""
        return {str(path): path.read_bytes() for path in pathlib.Path(self.folder).rglob("*")
                if path.is_file() and path.name != "secret"}

    def crash(self):
        """kill -9; its files stay."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
        super().kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.kill()  # how it ends is not what is tested
        else:
            super().__exit__(kind, error, trace)


def _words(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read(file):
    line = file.readline()
    if not line:
        raise Failure("redis-server closed the connection")
    kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
    if kind == b"+":
        return rest
    if kind == b"-":
        raise RuntimeError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if int(rest) < 0:
            return None
        data = file.read(int(rest) + 2)
        return data[:-2].decode("utf-8", "replace")
    check(kind == b"*", f"not RESP: {line!r}")
    return None if int(rest) < 0 else [_read(file) for _ in range(int(rest))]
