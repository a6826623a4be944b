"""Another configuration while requests run: nothing fails, a bad file changes nothing."""

import os
import subprocess
import threading
import time

from harness import binary, case, check, check_equal, wait_until
from harness.http import request
from harness.ports import free_port
from harness.processor import Hold, Processor
from harness.weir import Weir
from harness import http


class Load:
    """Clients that ask without a pause; what went wrong is kept. A connection that said close is made anew."""

    def __init__(self, weir, clients=6, method="POST"):
        self.weir = weir
        self.method = method
        self.failures = []
        self.answers = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        client, count = None, 0
        while not self.stopping.is_set():
            try:
                client = client or self.weir.client(timeout_s=20)
                count += 1
                nonce = f"{number}-{count}"
                answer = client.ask(self.method, "/x", [f"X-Nonce: {nonce}"], b"x=1" if self.method == "POST" else None)
                if answer.status != 200 or f'"nonce": "{nonce}"'.encode() not in answer.body:
                    self.failures.append(f"{nonce}: {answer}")
                self.answers += 1
                if answer.header("Connection") == "close":
                    client.close()
                    client = None
            except (OSError, AssertionError) as error:
                self.failures.append(f"{number}-{count}: {type(error).__name__} {error}")
                client = None
                if len(self.failures) > 20:
                    return
        if client:
            client.close()

    def wait(self, answers):
        goal = self.answers + answers
        wait_until(lambda: self.answers >= goal or self.failures, 30, f"{answers} more answers")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        check_equal(self.failures[:5], [], f"failures among {self.answers} answers")
        return self.answers


def test_reload_under_load_fails_no_request():
    with Processor() as processor, Weir(processor) as weir:
        load = Load(weir)
        try:
            load.wait(50)
            for number in range(15):
                weir.change(processors={"acme": {"pool": {"connections": 10 + number}}},
                            routes=[{"name": f"all-{number}", "match": {"path": "/*"}, "to": "acme"}])
                out = weir.reload()
                check(f"generation {number + 2}" in out, out)
                load.wait(30)
        finally:
            load.stop()
        processor.check_only(load.answers)
        check_equal(weir.metric("weir_config_last_reload_successful"), 1)


def test_hup_a_thousand_times_under_load():
    with Processor() as processor, Weir(processor) as weir:
        load = Load(weir, clients=3)
        try:
            for _ in range(1000):
                weir.hup()
            load.wait(50)
        finally:
            load.stop()
        status = weir.verb("status", "--json", expected=0)[1]
        check('"ready":true' in status.replace(" ", ""), status)


def test_a_request_ends_on_the_generation_it_began_with():
    with Processor() as old, Processor() as new, Weir(old, processors={"acme": {"timeouts": {"response": "20s"}}}) as weir:
        hold = Hold()
        old.answer(hold)
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            hold.wait()
            weir.change(processors={"acme": {"url": new.url, "timeouts": {"connect": "100ms", "response": "100ms",
                                                                          "total": "1s"}}})
            weir.reload()
            check_equal(weir.ask("POST", "/new", [], b"x=1").status, 200)
            check_equal(len(new.requests()), 1)
            time.sleep(0.3)  # longer than the new response timeout: it must not count for the old request
            hold.release()
            check_equal(client.read_response().status, 200)
            check_equal(client.ask("POST", "/next", [], b"x=1").status, 200, "on the same connection")
            check_equal(len(new.requests()), 2)


def test_links_and_counters_survive_by_name():
    with Processor() as processor, Weir(processor) as weir:
        for _ in range(3):
            check_equal(weir.ask("GET", "/x").status, 200)
        weir.change(shutdown={"announce": "1s"})
        weir.reload()
        check_equal(weir.ask("GET", "/x").status, 200)
        check_equal(len(processor.links), 1, "links")
        check_equal(weir.metric("weir_requests_total", processor="acme", code="200"), 4)


def test_a_bad_file_changes_nothing_and_says_why():
    with Processor() as processor, Weir(processor) as weir:
        good = open(weir.path).read()
        rows = {
            "not YAML": "version: 1\nlisteners: [\n",
            "an unknown key": good + "lisners: []\n",
            "a dangling name": good.replace("to: acme", "to: acmee"),
            "empty": "",
            "an address that is taken": good.replace(f":{weir.address[1]}", f":{processor.address[1]}"),
            "a certificate that is not there": good.replace("\nprocessors:", "\n    tls:\n      certificates:\n        - cert: "
                                                            "/nowhere.crt\n          key: /nowhere.key\nprocessors:", 1),
        }
        for name, text in rows.items():
            with case(name):
                check(text != good, "the row must differ")
                weir.write(text)
                code, out, error = reload_by_socket(weir)
                check_equal(code, 1, out + error)
                check(out + error, "it says why")
                check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
                check_equal(weir.metric("weir_config_last_reload_successful"), 0)
        with case("by HUP"):
            weir.hup()
            weir.wait_event("config_refused", count=len(rows) + 1)
            check_equal(weir.ask_monitor("/readyz").status, 200)
        with case("the good file again"):
            weir.write(good)
            check_equal(reload_by_socket(weir)[0], 0)
            check_equal(weir.metric("weir_config_last_reload_successful"), 1)


def test_a_refused_reload_redirects_no_payment():
    """The new url must not be in force before the whole file is: here the second listener's port is taken."""
    with Processor() as old, Processor() as new, Weir(old) as weir:
        check_equal(weir.ask("GET", "/before").status, 200)  # a POST takes no link that was idle for a second
        first = weir.config["listeners"][0]
        weir.change(processors={"acme": {"url": new.url}},
                    listeners=[first, {"name": "second", "address": f"127.0.0.1:{new.address[1]}"}])
        weir.reload(expected=1)
        for _ in range(3):
            check_equal(weir.ask("GET", "/after").status, 200)
        check_equal((len(old.requests()), len(new.requests())), (4, 0))
        check_equal(len(old.links), 1, "links survive")
        with case("and a good one does"):
            weir.change(listeners=[first])
            weir.reload()
            check_equal(weir.ask("POST", "/x", [], b"x=1").status, 200)
            check_equal(len(new.requests()), 1)


def reload_by_socket(weir):
    """By the socket: a bad file names none that could be trusted."""
    result = subprocess.run([binary("weir"), "reload", "--socket", weir.admin_path], capture_output=True, text=True, timeout=20)
    return result.returncode, result.stdout, result.stderr


def test_listeners_come_and_go():
    with Processor() as processor, Weir(processor) as weir:
        second = ("127.0.0.1", free_port())
        first = weir.config["listeners"][0]
        with case("a new one"):
            weir.change(listeners=[first, {"name": "second", "address": f"127.0.0.1:{second[1]}"}])
            weir.reload()
            check_equal(http.ask(second, "GET", "/x").status, 200)
        with case("a removed one stops accepting, and finishes"):
            hold = Hold()
            processor.answer(hold)
            client = http.Client(second)
            client.send(request("POST", "/slow", [], b"x=1"))
            hold.wait()
            weir.change(listeners=[first])
            weir.reload()
            wait_until(lambda: refuses(second), what="the closed listener")
            hold.release()
            answer = client.read_response()
            check_equal(answer.status, 200)
            client.check_closed()
            check_equal(weir.ask("GET", "/x").status, 200, "the other")
        with case("limits change under the same name"):
            weir.change(listeners=[{**first, "limits": {"body": "10B"}}])
            weir.reload()
            check_equal(weir.ask("POST", "/x", [], b"a" * 11).status, 413)
        with case("an address changes under the same name"):
            weir.change(listeners=[{**first, "address": f"127.0.0.1:{second[1]}"}])
            weir.reload()
            check_equal(http.ask(second, "GET", "/x").status, 200)
            wait_until(lambda: refuses(weir.address), what="the old address")


def refuses(address):
    """Nobody listens there. A socket that is closed while a connection waits in its queue resets that one."""
    try:
        http.Client(address).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def test_processors_come_and_go():
    with Processor() as one, Processor() as two, Weir(one) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        weir.change(processors={"acme": None, "other": {"url": two.url}},
                    routes=[{"name": "all", "match": {"path": "/*"}, "to": "other"}])
        weir.reload()
        check_equal(weir.ask("GET", "/x").status, 200)
        check_equal((len(one.requests()), len(two.requests())), (1, 1))
        one.links[0].wait_end()


def test_endpoints_change():
    with Processor() as one, Processor() as two, Weir([one]) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        weir.change(processors={"acme": {"endpoints": [two.authority]}})
        weir.reload()
        for _ in range(5):
            check_equal(weir.ask("GET", "/x").status, 200)
        check_equal((len(one.requests()), len(two.requests())), (1, 5))
        one.links[0].wait_end()


def test_the_same_file_is_a_new_generation_and_nothing_else():
    with Processor() as processor, Weir(processor) as weir, weir.client() as client:
        check_equal(client.ask("GET", "/x").status, 200)
        out = weir.reload()
        check("generation 2" in out, out)
        check_equal(client.ask("GET", "/x").status, 200)
        check_equal(len(processor.links), 1)


def test_descriptors_do_not_leak_over_reloads():
    with Processor() as processor, Weir(processor) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        weir.reload()
        before = len(os.listdir(f"/proc/{weir.pid}/fd"))
        for number in range(10):
            weir.change(routes=[{"name": f"r{number}", "match": {"path": "/*"}, "to": "acme"}])
            weir.reload()
            check_equal(weir.ask("GET", "/x").status, 200)
        after = len(os.listdir(f"/proc/{weir.pid}/fd"))
        check(after <= before + 1, f"{before} descriptors before, {after} after")


def test_a_payment_of_a_removed_listener_is_finished_and_logged():
    other = free_port()
    with Processor() as processor, Weir(processor) as weir:
        listeners = weir.config["listeners"]
        weir.change(listeners=listeners + [dict(listeners[0], name="other", address=f"127.0.0.1:{other}")])
        weir.reload()
        hold = Hold()
        processor.answer(hold)
        client = http.Client(("127.0.0.1", other))
        client.send(request("POST", "/paid", [], b"x=1"))
        hold.wait()
        weir.change(listeners=listeners)
        weir.reload()
        client.reset()
        hold.release()
        lines = weir.wait_for_access({"url.path": "/paid"})
        line = lines[0] if isinstance(lines, list) else lines
        check_equal((line["weir.listener"], line["weir.outcome"], line["weir.reason"]), ("other", "answered", "client_gone"))
