"""Requests at a pace, over several weirs at once: when each was sent, and what became of it.

    stream = Stream(lambda number: request("GET", "/x"), per_s=600, shares=[9, 1])
    with Load(weirs, [stream]):
        wait_until(lambda: stream.count(429) > 100)
    stream.shots                                    once it is left

One thread for all of it. Times are those of the system's clock, which a Redis
on this machine goes by, too. A stream that fell behind does not make it up: a
slow machine makes its pace slower, and no flood of it.
"""

import collections
import selectors
import socket
import threading
import time

from . import check

BEHIND_MAX_S = 0.02   # later than this is not made up
BACKLOG_MAX = 4096    # requests of one stream that wait for a connection to one weir
ANSWER_S = 20.0       # for the last answers, at the end


class Shot:
    """One request: sent no earlier than `sent`, answered by `answered`; None: its connection ended first."""

    __slots__ = ("sent", "answered", "status", "weir", "head", "number")

    def __init__(self, number, weir):
        self.number = number
        self.weir = weir
        self.sent = self.answered = self.status = self.head = None

    def __repr__(self):
        return f"<{self.number} to weir {self.weir}: {self.sent:.6f} to {self.answered or 0:.6f}, {self.status}>"


class Stream:
    """
    `make(number)` are the bytes of a request. `per_s` None: each connection sends the next once it has its answer.
    `shares` says how many of sum(shares) go to each weir, in turn. Both may be changed while it runs.
    """

    def __init__(self, make, per_s, shares, connections=4, name=""):
        self.name = name
        self.make = make
        self.per_s = per_s
        self.connections = connections
        self.shots = []
        self.made = 0
        self.due = None
        self.share(shares)

    def share(self, shares):
        """One after another as evenly as the shares allow, so that the rare ones come at a steady pace, too."""
        total, owed, turns = sum(shares), [0] * len(shares), []
        for _ in range(total):
            owed = [have + share for have, share in zip(owed, shares)]
            turns.append(owed.index(max(owed)))
            owed[turns[-1]] -= total
        self.turns = turns

    def count(self, status):
        return sum(shot.status == status for shot in self.shots)

    def statuses(self):
        return collections.Counter(shot.status for shot in self.shots)


class Connection:
    def __init__(self, load, stream, weir):
        self.load, self.stream, self.weir = load, stream, weir
        self.socket = socket.create_connection(load.weirs[weir].address, 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = bytearray()
        self.need = None
        self.shot = None

    def send(self, shot):
        data = self.stream.make(shot.number)
        self.shot = shot
        shot.sent = time.time()
        check(self.socket.send(data) == len(data), "a request did not fit the socket")

    def read(self):
        """True: the answer is whole. ConnectionError: it ended."""
        part = self.socket.recv(65536)
        now = time.time()
        if not part:
            raise ConnectionResetError
        self.buffer += part
        if self.need is None:
            at = self.buffer.find(b"\r\n\r\n")
            if at < 0:
                return False
            self._read_head(bytes(self.buffer[:at + 2]), at + 4)
        if len(self.buffer) < self.need:
            return False
        check(len(self.buffer) == self.need, f"bytes behind an answer: {bytes(self.buffer[self.need:])!r}")
        self.shot.answered = now
        self.buffer.clear()
        self.need = self.shot = None
        return True

    def _read_head(self, head, head_len):
        check(head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit(), f"not an answer: {head!r}")
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length: ")
        check(at >= 0, f"no length: {head!r}")
        self.shot.status, self.shot.head = int(head[9:12]), head.decode("latin-1")
        self.need = head_len + int(lower[at + 18:lower.index(b"\r\n", at + 2)])


class Load:
    def __init__(self, weirs, streams):
        self.weirs = list(weirs)
        self.streams = streams
        self.selector = selectors.DefaultSelector()
        self.free = collections.defaultdict(list)            # (stream, weir) -> connections
        self.open = collections.Counter()
        self.backlog = collections.defaultdict(collections.deque)
        self.in_flight = 0
        self.gone = set()                                    # weirs that are not there any more
        self.ending = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def join(self, weir):
        """One more; its number."""
        self.weirs.append(weir)
        return len(self.weirs) - 1

    # Sending.

    def _emit(self, stream, weir):
        """One more request, when there is a connection for it."""
        key = (stream, weir)
        shot = Shot(stream.made, weir)
        stream.made += 1
        if weir in self.gone:
            return
        if not self.free[key] and self.open[key] < stream.connections:
            self._connect(stream, weir)
        if self.free[key]:
            self._send(self.free[key].pop(), shot)
        elif len(self.backlog[key]) < BACKLOG_MAX:
            self.backlog[key].append(shot)

    def _connect(self, stream, weir):
        try:
            connection = Connection(self, stream, weir)
        except OSError:
            self.gone.add(weir)
            return
        self.open[(stream, weir)] += 1
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.free[(stream, weir)].append(connection)

    def _send(self, connection, shot):
        connection.stream.shots.append(shot)
        self.in_flight += 1
        try:
            connection.send(shot)
        except ConnectionError:
            self._drop(connection)

    def _drop(self, connection):
        """Its weir died, or closed it: what was on it has no answer."""
        key = (connection.stream, connection.weir)
        self.selector.unregister(connection.socket)
        connection.socket.close()
        self.open[key] -= 1
        if connection.shot is not None:
            self.in_flight -= 1
        elif connection in self.free[key]:
            self.free[key].remove(connection)

    def _next(self, connection):
        """Its answer came."""
        key = (connection.stream, connection.weir)
        self.in_flight -= 1
        if self.backlog[key] and not self.ending.is_set():
            self._send(connection, self.backlog[key].popleft())
        else:
            self.free[key].append(connection)

    def _due(self, stream, now):
        """Sends what is due; returns when the next is."""
        if stream.per_s is None:
            for weir in set(stream.turns):
                key = (stream, weir)
                while (self.free[key] or self.open[key] < stream.connections) and weir not in self.gone:
                    self._emit(stream, weir)
            return now + 0.05
        if stream.due is None or now - stream.due > BEHIND_MAX_S:
            stream.due = now
        while stream.due <= now:
            self._emit(stream, stream.turns[stream.made % len(stream.turns)])
            stream.due += 1 / stream.per_s
        return stream.due

    # The thread.

    def _run(self):
        try:
            while not self.ending.is_set():
                self._turn(min(self._due(stream, time.monotonic()) for stream in self.streams))
            end = time.monotonic() + ANSWER_S
            while self.in_flight:
                check(time.monotonic() < end, f"{self.in_flight} requests have no answer after {ANSWER_S:g} s")
                self._turn(end)
        except Exception as error:  # told by stop()
            self.error = error

    def _turn(self, until):
        for key, _ in self.selector.select(max(0.0, min(until - time.monotonic(), 0.05))):
            connection = key.data
            try:
                if connection.read():
                    self._next(connection)
            except ConnectionError:
                self._drop(connection)

    def stop(self):
        self.ending.set()
        self.thread.join(ANSWER_S + 10)
        for key in list(self.selector.get_map().values()):
            key.data.socket.close()
        self.selector.close()
        if self.error is not None:
            raise self.error

    def check(self):
        """While it runs: it does."""
        if self.error is not None:
            raise self.error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop()
