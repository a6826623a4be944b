"""Inherited listening sockets, readiness told to a service manager, limits of the process."""

import os
import socket
import subprocess
import tempfile
import threading

from harness import Skip, binary, case, check, check_equal, http, wait_until
from harness.ports import free_port
from harness.processor import Processor
from harness.weir import Weir


def listening():
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    one.listen(128)
    return one


def test_fd_n_takes_a_descriptor():
    with Processor() as processor, listening() as one:
        address = one.getsockname()
        with Weir(processor, listener={"address": f"fd:{one.fileno()}"}, pass_fds=(one.fileno(),)):
            check_equal(http.ask(address, "GET", "/x").status, 200)


def test_a_descriptor_that_is_no_socket_refuses_the_start():
    with Processor() as processor:
        for name, number in (("not open", 77), ("a file", 3)):
            with case(name), open("/dev/null") as file:
                weir = Weir(processor, listener={"address": f"fd:{file.fileno() if name == 'a file' else number}"},
                            pass_fds=(file.fileno(),), wait=False)
                check(weir.wait(10) in (1, 78), "it must not start")
                check("public" in weir.error_text(), weir.error_text())
                weir.kill()


def activate(weir_argv, sockets, names):
    """As systemd does: descriptors from 3 on, LISTEN_PID of the process itself."""
    script = f'export LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names}; exec "$@"'
    argv = ["sh", "-c", script, "sh", *weir_argv]

    def place():
        copies = [os.dup(one.fileno()) for one in sockets]
        high = [os.dup2(copy, 100 + number) for number, copy in enumerate(copies)]
        for number, copy in enumerate(high):
            os.dup2(copy, 3 + number)
            os.set_inheritable(3 + number, True)

    return argv, place


def test_sockets_of_systemd_are_matched_by_name():
    with Processor() as processor, listening() as one, listening() as other:
        weir = Weir(processor, wait=False)
        weir.kill()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "weir.yaml")
            from harness.weir import yaml_text
            config = {**weir.base, "admin": {"socket": f"{folder}/admin.sock"}}
            with open(path, "w") as file:
                file.write(yaml_text(config))
            argv, place = activate([binary("weir"), "run", "-c", path], [other, one], "unrelated:public")
            process = subprocess.Popen(argv, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            try:
                wait_until(lambda: answers(one.getsockname()) or process.poll() is not None, 20, "an answer")
                check(process.poll() is None, "weir ended")
                check_equal(http.ask(one.getsockname(), "GET", "/x").status, 200)
            finally:
                process.terminate()
                error = process.communicate(timeout=20)[1]
            check_equal(process.returncode, 0, error)


def answers(address):
    try:
        return http.ask(address, "GET", "/x").status == 200
    except (OSError, AssertionError):
        return False


def test_readiness_reload_and_stop_are_told():
    with tempfile.TemporaryDirectory() as folder, Processor() as processor:
        path = f"{folder}/notify"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(path)
        manager.settimeout(10)
        told = []
        changed = threading.Condition()

        def listen():
            while True:
                try:
                    text = manager.recv(4096).decode()
                except OSError:
                    return
                with changed:
                    told.append(text)
                    changed.notify_all()

        threading.Thread(target=listen, daemon=True).start()

        def wait_told(word):
            with changed:
                check(changed.wait_for(lambda: any(word in text for text in told), 10), f"{word} was not told: {told}")

        with Weir(processor, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}) as weir:
            wait_told("READY=1")
            wait_told("WATCHDOG=1")
            weir.hup()
            wait_told("RELOADING=1")
            reloading = next(text for text in told if "RELOADING=1" in text)
            check("MONOTONIC_USEC=" in reloading, reloading)
            with changed:
                check(changed.wait_for(lambda: sum("READY=1" in text for text in told) >= 2, 10), f"{told}")
            weir.term()
            wait_told("STOPPING=1")
            weir.check_clean(weir.wait(10))
            weir.stopped = True
        manager.close()


def test_cores_are_off_and_memory_is_not_for_others():
    with Processor() as processor, Weir(processor) as weir:
        limits = open(f"/proc/{weir.pid}/limits").read()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        check_equal(line.split()[4], "0")


def test_running_out_of_descriptors_is_survived():
    """More clients than descriptors: those that are in are served, the others wait, nothing spins."""
    import resource

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))

    with Processor() as processor, Weir(processor, acme={"pool": {"connections": 10}, "concurrency": 10},
                                        preexec=few) as weir:
        clients = [http.Client(weir.address) for _ in range(200)]
        served = clients[0]
        check_equal(served.ask("GET", "/x").status, 200)
        before = cpu_seconds(weir.pid)
        for _ in range(20):
            check_equal(served.ask("GET", "/x").status, 200)
        check_equal(weir.ask_monitor("/livez").status, 200)
        for client in clients[1:150]:
            client.close()
        check_equal(clients[-1].ask("GET", "/x").status, 200, "who waited is served at last")
        check(cpu_seconds(weir.pid) - before < 5, "no spinning")
        for client in clients:
            client.close()


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        raise Skip("this machine has no IPv6")
    with Processor() as processor:
        port = free_port()
        with Weir(processor, listener={"address": f"[::1]:{port}"}) as weir, http.Client(("::1", port)) as client:
            check_equal(client.ask("GET", "/x").status, 200)
            check_equal(processor.requests()[0].header("X-Forwarded-For"), "::1")
            check('for="[::1]"' in processor.requests()[0].header("Forwarded"), processor.requests()[0].header("Forwarded"))
            check_equal(weir.next_access(0)["client.address"], "::1")


def test_a_processor_by_name():
    with Processor() as processor, Weir({"url": f"http://localhost:{processor.address[1]}"}) as weir:
        for _ in range(5):
            check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
        check_equal(processor.requests()[0].header("Host"), f"localhost:{processor.address[1]}")


def test_a_weir_without_listeners_starts_and_says_so():
    with Weir(listeners=[], routes=[], processors={}) as weir:
        check("no listeners" in weir.error_text(), weir.error_text())
