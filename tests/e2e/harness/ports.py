"""Ports that no other test of this machine gets meanwhile.

The kernel's own choice (port 0) may be given to an outgoing connection between
our look and the server's bind, so ports come from below the ephemeral range,
and a lock on a file per port, held until this process ends, keeps others away.
"""

import fcntl
import os
import random
import socket
import tempfile

FIRST, LAST = 12000, 31999

_held = []


def free_port():
    folder = os.path.join(tempfile.gettempdir(), "weir-e2e-ports")
    os.makedirs(folder, mode=0o777, exist_ok=True)
    for _ in range(1000):
        port = random.SystemRandom().randint(FIRST, LAST)
        file = open(os.path.join(folder, str(port)), "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            file.close()
            continue
        _held.append(file)
        return port
    raise RuntimeError("no free port")
