"""A name server of the test's own, and a weir that asks it and nobody else.

    with Names({"acme.test": ["127.0.1.2"]}) as names:
        with Weir({"url": "http://acme.test:8080"}, wrap=names.wrap) as weir: ...
        names.set("acme.test", ["127.0.1.2", "127.0.1.3"])
        names.set("acme.test", "servfail")     # or "nxdomain", "empty", "silent"

weir runs in a mount namespace with its own /etc/resolv.conf, which only root
can make. The server listens at port 53 of a loopback address of its own.
"""

import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

from . import Failure, Skip, wait_until

TYPE_A = 1
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3

# `exec` all along: the process that the test knows is weir.
WRAP = 'mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"'


class Names:
    def __init__(self, answers):
        if os.getuid() != 0:
            raise Skip("only root gives weir a resolv.conf of its own")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
            raise Skip("no mount namespaces here")
        self.answers = {name.encode(): answer for name, answer in answers.items()}
        self.asked = []  # (name, what it was answered) of each question for addresses
        self.changed = threading.Condition()
        self.socket = self._bind()
        self.folder = tempfile.mkdtemp(prefix="weir-names-")
        folder = pathlib.Path(self.folder)
        (folder / "resolv.conf").write_text(f"nameserver {self.socket.getsockname()[0]}\noptions timeout:1 attempts:1\n")
        (folder / "nsswitch.conf").write_text("hosts: dns\npasswd: files\ngroup: files\n")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _bind(self):
        for _ in range(100):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                one.bind((f"127.53.{random.SystemRandom().randint(1, 254)}.{random.SystemRandom().randint(1, 254)}", 53))
                return one
            except OSError:
                one.close()
        raise Failure("no free address for a name server")

    @property
    def wrap(self):
        """What weir runs in, so that it asks this server."""
        return ["unshare", "-m", "sh", "-c", WRAP, self.folder]

    def set(self, name, answer):
        """Returns how many questions came before: what comes later is answered so."""
        with self.changed:
            self.answers[name.encode()] = answer
            return len(self.asked)

    def wait_asked(self, count, timeout_s=30.0):
        """Until so many questions for addresses have been answered; weir asks every ten seconds or so."""
        wait_until(lambda: len(self.asked) >= count, timeout_s, f"question {count}")

    def _serve(self):
        while True:
            try:
                question, asker = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self._answer(question)
            if answer is not None:
                self.socket.sendto(answer, asker)

    def _answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]])
            at += 1 + question[at]
        end = at + 5
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        name = b".".join(labels).lower()
        with self.changed:
            answer = self.answers.get(name, "nxdomain")
            if kind == TYPE_A:
                self.asked.append((name.decode(), answer))
        if answer == "silent":
            return None
        code = {"servfail": SERVFAIL, "nxdomain": NXDOMAIN}.get(answer, NOERROR) if isinstance(answer, str) else NOERROR
        addresses = answer if isinstance(answer, list) and kind == TYPE_A else []
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        records = b"".join(struct.pack(">HHHIH", 0xC00C, TYPE_A, 1, 0, 4) + socket.inet_aton(one) for one in addresses)
        return head + question[12:end] + records

    def stop(self):
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
