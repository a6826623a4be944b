"""A real redis-server of the test's own, on a port of its own, without files that outlive it."""

import shutil
import socket
import tempfile

from . import Skip, check, wait_until
from .child import Child
from .ports import free_port


class Redis(Child):
    def __init__(self, *options):
        server = shutil.which("redis-server")
        if server is None:
            raise Skip("redis-server is not installed")
        self.folder = tempfile.mkdtemp(prefix="weir-redis-")
        self.address = ("127.0.0.1", free_port())
        super().__init__([server, "--bind", "127.0.0.1", "--port", str(self.address[1]), "--save", "",
                          "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", self.folder, *options])
        wait_until(self._answers, 10, "redis-server")

    @property
    def url(self):
        return f"redis://{self.address[0]}:{self.address[1]}"

    def _answers(self):
        self.check_alive()
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def command(self, *words):
        """One command on a connection of its own; errors are raised."""
        with socket.create_connection(self.address, 10) as connection:
            parts = [str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part)
                                                                   for part in parts))
            return _read(connection.makefile("rb"))

    def kill(self):
        super().kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(file):
    line = file.readline()
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
