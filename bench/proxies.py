"""The programs under test and how they are started: each with a configuration of
its own from bench/peers, on ports of its own, in a folder of this run, on one core.
Every process started here dies with this one, and is stopped by its pid."""

import ctypes
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
READY_S = 10
STOP_S = 3
PR_SET_PDEATHSIG = 1
DESCRIPTORS = 65536
CLIENTS_MAX = 16384


class StartError(Exception):
    """A program that should have answered did not; the text says what it printed."""


def port_free():
    """A port that nothing listens on, below the kernel's range for outgoing connections."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartError("no free port between 20000 and 32000")


def descriptors_raise():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = DESCRIPTORS if os.geteuid() == 0 else min(DESCRIPTORS, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def clients_max():
    """How many clients every proxy is told to expect: two descriptors each, and a reserve."""
    return min(CLIENTS_MAX, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 2)


def process_start(argv, core, **kwargs):
    """Starts a program on `core` (None: anywhere); it gets SIGTERM when this process ends."""
    libc = ctypes.CDLL(None)

    def before_exec():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if core is not None:
            os.sched_setaffinity(0, {core})

    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(argv, preexec_fn=before_exec, **kwargs)


def process_stop(process):
    """TERM, then TERM again for those that drain, then KILL."""
    for sig, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGTERM, STOP_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        process.send_signal(sig)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    return process.wait()


def http_get(port, tls):
    """Status line of one GET, and the TLS cipher. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
        cipher = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname="localhost")
            cipher = "%s %s" % (sock.version(), sock.cipher()[0])
        sock.sendall(b"GET /v1/payments HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while b"\r\n" not in answer:
            got = sock.recv(4096)
            if not got:
                break
            answer += got
        if tls:
            sock.close()
        return answer.split(b"\r\n")[0].decode("latin-1"), cipher


def template_fill(name, words, target):
    with open(os.path.join(PEERS, name), encoding="utf-8") as file:
        text = file.read()
    for word, value in words.items():
        text = text.replace("@%s@" % word, str(value))
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


class Setup:
    """What all proxies of a run share: folder, certificate, backend port, core, switches."""

    def __init__(self, folder, tools, build, backend_port, cores, log):
        core, self.client_core = cores
        self.folder, self.tools, self.build = folder, tools, build
        self.backend_port, self.core, self.log = backend_port, core, log
        self.cert, self.key, self.pem = (os.path.join(folder, name) for name in ("tls.crt", "tls.key", "tls.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", self.key, "-out", self.cert, "-days", "30", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, stderr=subprocess.DEVNULL)
        with open(self.pem, "wb") as pem:
            for part in (self.cert, self.key):
                with open(part, "rb") as file:
                    pem.write(file.read())
            os.fchmod(pem.fileno(), 0o600)


class Proxy:
    """One program under test. A subclass says how it is called and what it logs to."""

    name = "?"
    tls = True
    logs_to_file = True
    kinds = ("plain", "tls")  # the loads that it takes part in

    def __init__(self, setup):
        self.setup = setup
        self.folder = os.path.join(setup.folder, self.name)
        self.access_log = os.path.join(self.folder, "access.log")
        self.output = os.path.join(self.folder, "output.log")
        self.events_log = os.path.join(self.folder, "events.log")
        self.process = None
        self.port = self.tls_port = None
        self.cipher = None

    def missing(self):
        """Why this program cannot be measured here; None when it can."""
        return None

    def argv(self, words):
        raise NotImplementedError

    def version(self):
        return ""

    def start(self):
        self.launch()
        try:
            self.ready_wait()
        except StartError:
            self.stop()
            raise

    def launch(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.port, self.tls_port = port_free(), port_free() if self.tls else None
        words = {"DIR": self.folder, "PORT": self.port, "TLS_PORT": self.tls_port, "MONITOR_PORT": port_free(),
                 "BACKEND_PORT": self.setup.backend_port, "CERT": self.setup.cert, "KEY": self.setup.key,
                 "PEM": self.setup.pem, "CLIENTS": clients_max()}
        argv = self.argv(words)
        with open(self.output, "ab") as output:
            self.process = process_start(argv, self.setup.core, stdout=output, stderr=output)

    def ready_wait(self):
        deadline = time.monotonic() + READY_S
        ports = [(self.port, False)] + ([(self.tls_port, True)] if self.tls else [])
        said = "nothing"
        while ports:
            port, tls = ports[0]
            try:
                said, cipher = http_get(port, tls)
                if " 200" in said:
                    self.cipher = cipher or self.cipher
                    ports.pop(0)
                    continue
            except OSError as error:
                said = str(error)
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StartError("%s does not answer on port %d (%s; exit status %s)\n%s" %
                                 (self.name, port, said, self.process.poll(), self.words_last()))
            time.sleep(0.05)

    def words_last(self):
        """The end of what it printed or wrote into its own log of events."""
        printed = ""
        for path in (self.output, self.events_log):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    printed += file.read()[-2000:]
        return printed.strip()

    def stop(self):
        if self.process:
            process_stop(self.process)
            self.process = None

    def log_lines_drop(self):
        """Empties the access log between two measurements, and says how many bytes it held."""
        try:
            held = os.path.getsize(self.access_log)
            os.truncate(self.access_log, 0)
            return held
        except FileNotFoundError:
            return 0


class Pump(Proxy):
    name = "pump"
    tls = False
    logs_to_file = False

    def argv(self, words):
        return [os.path.join(self.setup.tools, "bench_pump"), str(self.port), str(self.setup.backend_port)]


def redis_missing():
    return None if shutil.which("redis-server") else "no redis-server in PATH"


class Redis:
    """Runs on the client's core, with an append-only file that is synced every second."""

    def __init__(self, setup):
        folder = os.path.join(setup.folder, "redis")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.port = port_free()
        self.process = process_start(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction",
             "--logfile", os.path.join(folder, "redis.log")], setup.client_core)
        deadline = time.monotonic() + READY_S
        while not self.ask("PING").startswith("+PONG"):
            if time.monotonic() > deadline:
                self.stop()
                raise StartError("redis-server does not answer")
            time.sleep(0.05)

    def ask(self, command):
        """What it says to a command; empty: nothing."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
                sock.sendall(command.encode() + b"\r\nQUIT\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b"")).decode("utf-8", "replace")
        except OSError:
            return ""

    def info(self, section, name):
        for line in self.ask("INFO " + section).splitlines():
            if line.startswith(name + ":"):
                return int(line.split(":")[1])
        return 0

    def store(self, secret):
        """The section of a configuration."""
        return '{type: redis, servers: ["redis://127.0.0.1:%d"], secret_file: %s}' % (self.port, secret)

    def stop(self):
        process_stop(self.process)


def secret_write(setup, folder):
    """A secret for a store; its path."""
    path = os.path.join(folder, "secret")
    made = subprocess.run([os.path.join(setup.build, "weir"), "secret", "new"], stdout=subprocess.PIPE, check=True).stdout
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(made)
    return path


class Weir(Proxy):
    name = "weir"
    kinds = ("plain", "tls", "payment")  # the last as plain proxying of the same requests
    template = "weir.yaml"

    def binary(self):
        return os.path.join(self.setup.build, "weir")

    def missing(self):
        return None if os.access(self.binary(), os.X_OK) else "no %s: it is not built" % self.binary()

    def version(self):
        return command_line([self.binary(), "version"])

    def argv(self, words):
        self.monitor_port = words["MONITOR_PORT"]
        words["WEIR_LOG"] = self.access_log
        target = os.path.join(self.folder, "weir.yaml")
        template_fill(self.template, words, target)
        return [self.binary(), "run", "-c", target]

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels, from /metrics."""
        with socket.create_connection(("127.0.0.1", self.monitor_port), timeout=5) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        wanted = ['%s="%s"' % label for label in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith((name + " ", name + "{")) and all(label in line for label in wanted))


class WeirRecords(Weir):
    """weir with a record for each payment, in some store."""

    kinds = ("payment",)
    template = "weir_payment.yaml"

    def argv(self, words):
        words["STORE"] = self.store(secret_write(self.setup, self.folder))
        return super().argv(words)

    def store(self, secret):
        raise NotImplementedError

    def record_bytes(self):
        """What one record with its answer takes in the store; None: it cannot be told."""
        return None

    def records(self):
        return self.metric("weir_idempotency_begins_total", route="all", verdict="new")


class WeirEmbedded(WeirRecords):
    name = "weir-embedded"

    def store(self, secret):
        return "{type: embedded, path: %s, secret_file: %s, size: 8GiB}" % (os.path.join(self.folder, "store"), secret)

    def record_bytes(self):
        return self.metric("weir_store_bytes_used") / self.records() if self.records() else None


class WeirRedis(WeirRecords):
    name = "weir-redis"
    redis = None

    def missing(self):
        return super().missing() or redis_missing()

    def start(self):
        self.redis = Redis(self.setup)
        self.memory_before = self.redis.info("memory", "used_memory_dataset")
        super().start()

    def store(self, secret):
        return self.redis.store(secret)

    def record_bytes(self):
        grown = self.redis.info("memory", "used_memory_dataset") - self.memory_before
        return grown / self.records() if self.records() else None

    def stop(self):
        super().stop()
        if self.redis:
            self.redis.stop()
            self.redis = None


class Nginx(Proxy):
    name = "nginx"

    def missing(self):
        return None if shutil.which("nginx") else "no nginx in PATH"

    def version(self):
        return command_line(["nginx", "-v"]).replace("nginx version: ", "")

    def argv(self, words):
        on = "%s bench buffer=64k flush=1s" % self.access_log
        words["NGINX_LOG"] = on if self.setup.log else "off"
        words["USER"] = "user root;" if os.geteuid() == 0 else ""
        target = os.path.join(self.folder, "nginx.conf")
        template_fill("nginx.conf", words, target)
        return ["nginx", "-e", self.events_log, "-p", self.folder, "-c", target]


class Haproxy(Proxy):
    name = "haproxy"
    logs_to_file = False

    def missing(self):
        return None if shutil.which("haproxy") else "no haproxy in PATH"

    def version(self):
        return command_line(["haproxy", "-v"]).split(" - ")[0]

    def argv(self, words):
        words["HAPROXY_LOG"] = "log ring@access local0 info" if self.setup.log else ""
        words["HAPROXY_LOG_FRONTEND"] = "log global\n    option httplog" if self.setup.log else ""
        target = os.path.join(self.folder, "haproxy.cfg")
        template_fill("haproxy.cfg", words, target)
        return ["haproxy", "-db", "-f", target]


def command_line(argv):
    """First line that a program prints about itself."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout.decode("utf-8", "replace").strip().splitlines() or [""])[0]


class Backend:
    """The stand-in processor, with the counter of what it answered."""

    BODY_BYTES = 512

    def __init__(self, folder, tools, core):
        self.port = port_free()
        self.counter_path = os.path.join(folder, "answered")
        self.process = process_start([os.path.join(tools, "bench_backend"), str(self.port), str(self.BODY_BYTES),
                                      self.counter_path], core)
        deadline = time.monotonic() + READY_S
        while True:
            try:
                http_get(self.port, False)
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise StartError("the backend does not answer: %s" % error) from error
                time.sleep(0.02)
        self.counter = open(self.counter_path, "rb", buffering=0)

    def answered(self):
        self.counter.seek(0)
        return int.from_bytes(self.counter.read(8), "little")

    def stop(self):
        self.counter.close()
        process_stop(self.process)


ALL = (Pump, Weir, WeirEmbedded, WeirRedis, Nginx, Haproxy)
