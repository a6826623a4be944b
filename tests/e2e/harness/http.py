"""An HTTP/1.1 client that says exactly the bytes it is told and reads exactly one answer at a time.

It parses answers strictly on its own account: what it cannot read is a failure
of the test, not something to be lenient about.
"""

import re
import socket
import struct

from . import Failure, check

TIMEOUT_S = 15.0


class Closed(Failure):
    """The peer closed where an answer, or more of it, was expected."""


class Response:
    def __init__(self):
        self.status = 0
        self.reason = ""
        self.version = ""
        self.headers = []   # pairs as received
        self.body = b""
        self.raw_head = b""
        self.interim = []   # 1xx answers that came first
        self.chunks = None  # sizes, when it was chunked
        self.until_close = False

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        """The value of a field that occurs at most once; None: absent."""
        found = self.all(name)
        check(len(found) <= 1, f"{name} occurs {len(found)} times: {found}")
        return found[0] if found else None

    @property
    def weir_reason(self):
        return self.header("Weir-Reason")

    @property
    def outcome(self):
        return self.header("Weir-Outcome")

    @property
    def retry(self):
        return self.header("Weir-Retry")

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


def request(method="GET", target="/", headers=(), body=None, host="pay.example.com", version="1.1"):
    """The bytes of a request. `headers` are pairs, or whole lines as text."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    for header in headers:
        lines.append(header if isinstance(header, str) else f"{header[0]}: {header[1]}")
    if isinstance(body, str):
        body = body.encode()
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(*parts):
    """The parts as a chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Client:
    """One connection. `address` is (host, port) or the path of a unix socket."""

    def __init__(self, address, tls=None, server_name=None, timeout_s=TIMEOUT_S, source=None, rcvbuf=None):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout_s)
            self.socket.connect(address)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
            self.socket.settimeout(timeout_s)
            if rcvbuf is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect(address)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname=server_name)
            except Exception:
                self.socket.close()
                raise
        self.buffer = bytearray()
        self.ended = False

    @property
    def local_port(self):
        return self.socket.getsockname()[1]

    def send(self, data):
        self.socket.sendall(data)

    def send_slowly(self, data):
        """A byte at a time: each in a packet of its own."""
        for at in range(len(data)):
            self.socket.sendall(data[at:at + 1])

    def _more(self):
        """False at the end of the stream."""
        if self.ended:
            return False
        try:
            part = self.socket.recv(262144)
        except ConnectionResetError:
            self.ended = True
            raise Closed("the connection was reset")
        except (TimeoutError, socket.timeout):
            raise Failure(f"nothing came for {self.socket.gettimeout():g} s (so far: {self.buffer[:300]!r})")
        if not part:
            self.ended = True
            return False
        self.buffer += part
        return True

    def _take(self, count):
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise Closed(f"the connection ended before {mark!r} (so far: {self.buffer[:300]!r})")
        return self._take(self.buffer.index(mark) + len(mark))

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise Closed(f"the connection ended {count - len(self.buffer)} bytes early")
        return self._take(count)

    def read_all(self):
        """Everything until the peer's end."""
        while self._more():
            pass
        return self._take(len(self.buffer))

    def read_head(self):
        response = Response()
        response.raw_head = self.read_until(b"\r\n\r\n")
        lines = response.raw_head[:-4].split(b"\r\n")
        match = re.fullmatch(rb"HTTP/(\d\.\d) (\d{3}) ([\t -~]*)", lines[0])
        check(match is not None, f"not a status line: {lines[0]!r}")
        response.version, response.status, response.reason = match[1].decode(), int(match[2]), match[3].decode()
        for line in lines[1:]:
            match = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line, re.DOTALL)
            check(match is not None and not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", match[2]), f"not a field: {line!r}")
            response.headers.append((match[1].decode(), match[2].decode("latin-1")))
        return response

    def read_response(self, head=False):
        """One whole answer, with the interim ones before it. `head`: the request's method was HEAD."""
        interim = []
        while True:
            response = self.read_head()
            if response.status >= 200:
                break
            interim.append(response)
        response.interim = interim
        lengths = response.all("Content-Length")
        codings = response.all("Transfer-Encoding")
        check(not (lengths and codings), f"both framings: {response.headers}")
        check(len(lengths) <= 1 and len(codings) <= 1, f"a framing twice: {response.headers}")
        if head or response.status in (204, 304):
            return response
        if codings:
            check(codings[0] == "chunked", f"Transfer-Encoding: {codings[0]}")
            self._read_chunks(response)
        elif lengths:
            check(lengths[0].isdigit(), f"Content-Length: {lengths[0]}")
            response.body = self.read_exactly(int(lengths[0]))
        else:
            response.until_close = True
            response.body = self.read_all()
        return response

    def _read_chunks(self, response):
        response.chunks = []
        while True:
            line = self.read_until(b"\r\n")[:-2]
            check(re.fullmatch(rb"[0-9a-fA-F]+", line) is not None, f"not a chunk size: {line!r}")
            size = int(line, 16)
            if size == 0:
                end = self.read_exactly(2)
                check(end == b"\r\n", f"trailers: {end!r}")
                return
            response.chunks.append(size)
            response.body += self.read_exactly(size)
            end = self.read_exactly(2)
            check(end == b"\r\n", f"no CRLF behind a chunk: {end!r}")

    def ask(self, method="GET", target="/", headers=(), body=None, **more):
        """Sends a request and reads its answer."""
        self.send(request(method, target, headers, body, **more))
        return self.read_response(head=method == "HEAD")

    def check_closed(self):
        """The peer ends the connection, in order or by reset, without another byte."""
        try:
            rest = self.read_all()
        except Closed:
            return
        check(rest == b"", f"bytes behind the answer: {rest[:200]!r}")

    def check_open(self):
        """Nothing came, and nothing ended: the connection lives."""
        check(not self.ended and not self.buffer, f"ended, or bytes were left: {self.buffer[:200]!r}")
        self.socket.setblocking(False)
        try:
            part = self.socket.recv(1)
            raise Failure("the connection ended" if not part else f"an unasked byte: {part!r}")
        except (BlockingIOError, OSError) as error:
            check("ssl" in type(error).__module__ or isinstance(error, BlockingIOError), f"the connection broke: {error}")
        finally:
            self.socket.settimeout(TIMEOUT_S)

    def half_close(self):
        """FIN: we say no more, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def ask(address, method="GET", target="/", headers=(), body=None, tls=None, server_name=None, **more):
    """One request on a connection of its own."""
    with Client(address, tls=tls, server_name=server_name) as client:
        return client.ask(method, target, headers, body, **more)
