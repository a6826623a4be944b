"""Processors: a scriptable one on raw sockets, and the real weir-sandbox.

Processor records every byte it got, connection by connection, before it reads
any meaning into them, and answers what a test scripts: bytes, pauses, ends. It
never helps weir out: a request that it cannot read is kept as `broken`.
"""

import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time

from . import Failure, binary, check, wait_until
from . import http
from .child import Child, wait_line

TIMEOUT_S = 30.0


class Request:
    """A whole request as the processor read it."""

    def __init__(self, link, raw_head):
        self.link = link
        self.raw_head = raw_head
        self.raw = raw_head
        lines = raw_head[:-4].split(b"\r\n")
        match = re.fullmatch(rb"([A-Z]+) (\S+) HTTP/(1\.\d)", lines[0])
        if match is None:
            raise Failure(f"not a request line: {lines[0]!r}")
        self.method, self.target, self.version = (part.decode("latin-1") for part in match.groups())
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise Failure(f"not a field: {line!r}")
            self.headers.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        self.body = b""

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        found = self.all(name)
        check(len(found) <= 1, f"{name} occurs {len(found)} times: {found}")
        return found[0] if found else None

    def __repr__(self):
        return f"<{self.method} {self.target} {self.headers} {self.body[:100]!r}>"


class Link:
    """A connection that weir made to the processor."""

    def __init__(self, number, connection):
        self.number = number
        self.socket = connection
        self.received = bytearray()  # every byte
        self.unread = bytearray()
        self.requests = []
        self.broken = None   # what could not be read as HTTP
        self.ended = None    # "eof", "reset": how weir's side ended; None: it has not
        self.closed = False  # by us
        self.changed = threading.Condition()

    # What a script may do.

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        """FIN both ways; a TLS link says close_notify first."""
        if not self.closed:
            self.closed = True
            try:
                if isinstance(self.socket, ssl.SSLSocket):
                    self.socket.unwrap()
            except (OSError, ValueError):
                pass
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.socket.close()

    def reset(self):
        if not self.closed:
            self.closed = True
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                self.socket.shutdown(socket.SHUT_RD)  # wakes a thread that reads: until it lets go nothing is closed
            except OSError:
                pass
            self.socket.close()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def read_more(self):
        """False at the end; the bytes are in `received` and `unread`."""
        try:
            part = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            self._end("reset")
            return False
        except OSError:
            self._end("closed" if self.closed else "error")
            return False
        with self.changed:
            self.received += part
            self.unread += part
            self.changed.notify_all()
        if not part:
            self._end("eof")
        return bool(part)

    def _end(self, how):
        with self.changed:
            if self.ended is None:
                self.ended = how
            self.changed.notify_all()

    def wait_end(self, timeout_s=10.0):
        """How weir ended the connection: "eof" or "reset"."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.ended is not None, timeout_s):
                raise Failure(f"link {self.number} is still open after {timeout_s:g} s")
            return self.ended

    # Reading requests.

    def _take(self, count):
        while len(self.unread) < count:
            if not self.read_more():
                return None
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken

    def _take_until(self, mark):
        while mark not in self.unread:
            if not self.read_more():
                return None
        at = self.unread.index(mark) + len(mark)
        return self._take(at)

    def read_head(self):
        """None at the end of the connection."""
        raw = self._take_until(b"\r\n\r\n")
        return None if raw is None else Request(self, raw)

    def read_body(self, request):
        """False: cut short."""
        lengths, codings = request.all("Content-Length"), request.all("Transfer-Encoding")
        if codings:
            return self._read_chunks(request)
        if lengths:
            check(len(lengths) == 1 and lengths[0].isdigit(), f"Content-Length: {lengths}")
            body = self._take(int(lengths[0]))
            if body is None:
                return False
            request.body = body
            request.raw += body
        return True

    def _read_chunks(self, request):
        while True:
            line = self._take_until(b"\r\n")
            if line is None:
                return False
            size = int(line[:-2], 16)
            data = self._take(size + 2)
            if data is None:
                return False
            request.raw += line + data
            if size == 0:
                return True
            request.body += data[:-2]


def response(status=200, headers=(), body=b"", reason="OK", length=True):
    """The bytes of an answer."""
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [header if isinstance(header, str) else f"{header[0]}: {header[1]}" for header in headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def default_answer(link, request):
    """Echoes what was asked, so that a test can see whose answer it got."""
    body = json.dumps({"method": request.method, "target": request.target, "link": link.number,
                       "nonce": request.header("X-Nonce"), "body_bytes": len(request.body),
                       "body_sha256": hashlib.sha256(request.body).hexdigest()})
    answer = response(200, ["Content-Type: application/json"], body)
    link.send(answer[:len(answer) - len(body)] if request.method == "HEAD" else answer)


class Processor:
    """
    Listens at `address`. Each whole request is answered by the next scripted
    answer, or by default_answer. An answer is bytes, or a function (link,
    request) that sends what it likes and may close; or a list of such and of
    the words "close", "reset", "half-close".
    """

    def __init__(self, tls=None, host="127.0.0.1", on_link=None, backlog=128, port=0):
        self.tls = tls
        self.on_link = on_link  # (link): takes the whole connection over
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(backlog)
        self.address = self.listener.getsockname()
        self.links = []
        self.answers = []
        self.always = default_answer
        self.seen = []
        self.handshake_failures = []
        self.changed = threading.Condition()
        self.stopping = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def authority(self):
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def answer(self, *answers):
        """The answers to the next requests, in the order in which those come."""
        with self.changed:
            self.answers += answers
        return self

    def answer_always(self, answer):
        self.always = answer
        return self

    def requests(self):
        with self.changed:
            return list(self.seen)

    def wait_requests(self, count, timeout_s=10.0):
        """All requests so far, once there are `count`."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.seen) >= count, timeout_s):
                raise Failure(f"{len(self.seen)} requests came to the processor, {count} were expected")
            return list(self.seen)

    def wait_links(self, count, timeout_s=10.0):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.links) >= count, timeout_s):
                raise Failure(f"{len(self.links)} connections came to the processor, {count} were expected")
            return list(self.links)

    def received(self):
        """Every byte of every connection."""
        with self.changed:
            return b"".join(bytes(link.received) for link in self.links)

    def forget(self):
        """Starts the records anew; connections stay."""
        with self.changed:
            self.seen.clear()
            self.answers.clear()
            for link in self.links:
                link.received.clear()
                link.requests.clear()

    def check_only(self, requests):
        """These requests came, and not one byte else."""
        got = self.requests()
        check(len(got) == requests, f"{requests} requests were expected, these came: {got}")
        total = sum(len(request.raw) for request in got)
        received = self.received()
        check(len(received) == total, f"more bytes came than those of the {requests} requests: {received!r}")
        for link in self.links:
            check(link.broken is None, f"not HTTP: {link.broken}")

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(TIMEOUT_S * 4)
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except (OSError, ssl.SSLError) as error:
                with self.changed:
                    self.handshake_failures.append(str(error))
                    self.changed.notify_all()
                connection.close()
                return
        with self.changed:
            link = Link(len(self.links) + 1, connection)
            self.links.append(link)
            self.changed.notify_all()
        try:
            if self.on_link is not None:
                self.on_link(link)
                while not link.closed and link.read_more():
                    pass
            else:
                self._serve_requests(link)
        except Failure as error:
            link.broken = str(error)
        except OSError:
            link._end("error")

    def _serve_requests(self, link):
        while not link.closed:
            request = link.read_head()
            if request is None or not link.read_body(request):
                return
            with self.changed:
                self.seen.append(request)
                link.requests.append(request)
                answer = self.answers.pop(0) if self.answers else self.always
                self.changed.notify_all()
            self._play(link, request, answer)
        link._end("closed")

    def _play(self, link, request, answer):
        if isinstance(answer, (bytes, bytearray)):
            link.send(answer)
        elif answer == "close":
            link.close()
        elif answer == "reset":
            link.reset()
        elif answer == "half-close":
            link.half_close()
        elif isinstance(answer, (list, tuple)):
            for part in answer:
                self._play(link, request, part)
        else:
            answer(link, request)

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for link in list(self.links):
            link.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


class Hold:
    """A scripted answer that waits until the test lets it go: `hold.reached` tells that the request has come."""

    def __init__(self, then=default_answer):
        self.reached = threading.Event()
        self.released = threading.Event()
        self.then = then

    def __call__(self, link, request):
        self.reached.set()
        if not self.released.wait(TIMEOUT_S):
            return
        if isinstance(self.then, bytes):
            link.send(self.then)
        else:
            self.then(link, request)

    def wait(self, timeout_s=10.0):
        check(self.reached.wait(timeout_s), "the request did not reach the processor")

    def release(self):
        self.released.set()


class Blackhole:
    """An address where connections are neither accepted nor refused: its queue is full and stays so."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.address = self.listener.getsockname()
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self.fillers.append(filler)
        time.sleep(0.05)  # for the kernel to settle who is in the queue; what comes later waits in any case

    @property
    def authority(self):
        return f"{self.address[0]}:{self.address[1]}"

    def stop(self):
        for filler in self.fillers:
            filler.close()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


class Sandbox(Child):
    """The real weir-sandbox."""

    def __init__(self, name="sandbox", dedup=None, cert=None, key=None, listen="127.0.0.1:0", dialect=None):
        argv = [binary("weir-sandbox"), "--listen", listen, "--name", name]
        if dedup:
            argv += ["--dedup", dedup]
        if dialect:
            argv += ["--dialect", dialect]
        if cert:
            argv += ["--cert", str(cert), "--key", str(key)]
        super().__init__(argv)
        self.tls = cert is not None
        ready = wait_line(self, "listening on ")
        host, _, port = ready.rpartition("listening on ")[2].rpartition(":")
        self.address = (host.strip("[]"), int(port)) if port.isdigit() else listen.removeprefix("unix:")

    @property
    def authority(self):
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def _ask(self, method, target, body=None):
        context = None
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        answer = http.ask(self.address, method, target, body=body, tls=context)
        check(answer.status == 200, f"the sandbox says {answer}")
        return json.loads(answer.body)

    def ledger(self):
        return self._ask("GET", "/_ledger")

    def requests(self):
        return self._ask("GET", "/_requests")

    def fault(self, fault=None, count=1, on="payments"):
        """For the next payments, or with on="health" for the next GET /healthz; without a fault it disarms those."""
        return self._ask("POST", "/_fault", json.dumps({"fault": fault or "", "count": count, "on": on}))

    def reset(self):
        return self._ask("POST", "/_reset", "")

    def wait_ledger(self, count, timeout_s=10.0):
        return wait_until(lambda: len(self.ledger()) >= count and self.ledger(), timeout_s, f"{count} executions")
