"""A faulty network: a TCP relay that a test puts between two parties and then spoils.

    relay = Relay(processor.address)
    relay.up.delay_s = 0.2            # `up`: from who connects; `down`: back to them
    relay.down.trickle_s = 0.01       # a byte at a time
    relay.down.cut(at=100, how="rst") # after 100 bytes of each connection ("fin", "rst", "stall")
    relay.blackhole()                 # from now on nothing passes, nothing ends

Changes apply to what passes from then on.
"""

import socket
import struct
import threading
import time


class Way:
    """One direction of every connection."""

    def __init__(self):
        self.delay_s = 0.0
        self.trickle_s = 0.0
        self.cut_at = None
        self.cut_how = "fin"
        self.stalled = False
        self.bytes = 0

    def cut(self, at, how="fin"):
        self.cut_at, self.cut_how = at, how


class Relay:
    def __init__(self, target):
        self.target = target
        self.up = Way()
        self.down = Way()
        self.connections = 0
        self.refusing = False
        self._sockets = []
        self._lock = threading.Lock()
        self._listen(0)

    def _listen(self, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(128)
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @property
    def authority(self):
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def url(self):
        return f"http://{self.authority}"

    def blackhole(self):
        self.up.stalled = self.down.stalled = True

    def heal(self):
        self.up.__init__()
        self.down.__init__()

    def refuse(self):
        """Nobody listens any more; connections that stand stay."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def listen_again(self):
        self._listen(self.address[1])

    def reset_all(self):
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            _reset(one)

    def _accept(self, listener):
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._connect, args=(inner,), daemon=True).start()

    def _connect(self, inner):
        try:
            outer = socket.create_connection(self.target, 10)
        except OSError:
            _reset(inner)
            return
        for one in (inner, outer):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets += [inner, outer]
        threading.Thread(target=self._pump, args=(inner, outer, self.up), daemon=True).start()
        self._pump(outer, inner, self.down)

    def _pump(self, source, sink, way):
        passed = 0
        try:
            while True:
                data = source.recv(1 if way.trickle_s else 65536)
                if way.delay_s:
                    time.sleep(way.delay_s)
                while way.stalled:
                    time.sleep(0.01)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if way.cut_at is not None and passed + len(data) >= way.cut_at:
                    data = data[:max(0, way.cut_at - passed)]
                    sink.sendall(data)
                    self._cut(source, sink, way.cut_how)
                    return
                sink.sendall(data)
                passed += len(data)
                way.bytes += len(data)
                if way.trickle_s:
                    time.sleep(way.trickle_s)
        except OSError:
            for one in (source, sink):
                _reset(one)

    def _cut(self, source, sink, how):
        if how == "rst":
            _reset(sink)
            _reset(source)
        elif how == "fin":
            sink.shutdown(socket.SHUT_RDWR)
            source.shutdown(socket.SHUT_RDWR)
        # "stall": the rest is never passed on, and nothing ends

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.reset_all()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


def _reset(one):
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    one.close()
