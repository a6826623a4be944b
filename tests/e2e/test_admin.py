"""The admin socket: who may ask, what it tells, what it changes."""

import json
import os
import signal
import stat

from harness import case, check, check_equal, http, wait_until
from harness.http import Closed, request
from harness.payments import Shared
from harness.processor import Hold, Processor
from harness.weir import Weir


def ask(weir, method, target, body=None):
    return http.ask(weir.admin_path, method, target, body=body, host="localhost")


def test_the_socket_is_for_its_group():
    with Processor() as processor, Weir(processor) as weir:
        mode = os.stat(weir.admin_path)
        check(stat.S_ISSOCK(mode.st_mode), "a socket")
        check_equal(mode.st_mode & 0o777, 0o660)


def test_status_tells_the_state():
    with Processor() as processor, Weir(processor) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            hold.wait()
            status = json.loads(weir.verb("status", "--json", expected=0)[1])
            expected = {"generation": 1, "state": "serving", "ready": True, "pid": weir.pid, "config": weir.path, "clients": 1,
                        "exchanges": 1, "exchanges_sent": 1}
            for name, value in expected.items():
                with case(name):
                    check_equal(status[name], value)
            with case("listeners"):
                check_equal([(row["name"], row["port"], row["tls"]) for row in status["listeners"]],
                            [("public", weir.address[1], False)])
            with case("processors"):
                (row,) = status["processors"]
                check_equal((row["name"], row["in_flight"], row["links_leased"]), ("acme", 1, 1))
            with case("the table for people"):
                code, out, _ = weir.verb("status", expected=0)
                check("public" in out and "acme" in out and "{" not in out, out)
            with case("processors alone"):
                code, out, _ = weir.verb("processors", expected=0)
                check("acme" in out, out)
                check_equal(json.loads(weir.verb("processors", "--json", expected=0)[1])["processors"][0]["name"], "acme")
            hold.release()
            client.read_response()


LIMITED = [{"name": "all", "match": {"path": "/*"}, "to": "acme", "limits": ["reads", "trial"]}]


def test_limits_are_told_with_those_they_hold():
    limits = {"reads": {"by": "tenant", "rate": "1/day", "burst": 2}, "trial": {"by": "client_ip", "rate": "1/day", "burst": 1, "mode": "shadow"}}
    with Processor() as processor, Weir(processor, limits=limits, routes=LIMITED) as weir:
        with case("before anybody asked"):
            _, out, _ = weir.verb("limits", expected=0)
            check("nobody in the last minute" in out, out)
            check("limits " not in weir.verb("status", expected=0)[1], "a line that says nothing")
        credential = "Bearer very-secret-one"
        statuses = [weir.ask("GET", "/x", [f"Authorization: {credential}"]).status for _ in range(5)]
        check_equal(statuses, [200, 200, 429, 429, 429])
        told = json.loads(weir.verb("limits", "--json", expected=0)[1])
        with case("what they let through"):
            check_equal([(row["name"], row["mode"], row["callers"], row["admitted"], row["refused"]) for row in told["limits"]],
                        [("reads", "enforce", 1, 2, 3), ("trial", "shadow", 1, 1, 0)])
            check(told["limits"][1]["would_refuse"] >= 1, told)
        with case("whom they hold"):
            check_equal({row["limit"]: row["shadow"] for row in told["held"]}, {"reads": False, "trial": True})
            check_equal([row["refused"] for row in told["held"] if row["limit"] == "reads"], [3])
            check_equal([row["who"] for row in told["held"] if row["limit"] == "trial"], ["127.0.0.1"])
        with case("the tables for people"):
            _, out, _ = weir.verb("limits", expected=0)
            check("1/day burst 2" in out and "HOLDS" in out and "{" not in out, out)
        with case("one of them"):
            _, out, _ = weir.verb("limits", "trial", expected=0)
            check("trial" in out and "reads" not in out, out)
        with case("one that is none"):
            code, out, error = weir.verb("limits", "raeds")
            check_equal((code, out), (1, ""))
            check("there is no limit 'raeds': did you mean 'reads'?" in error, error)
        with case("no credential anywhere"):
            everything = "".join("".join(weir.verb(*words)[1:]) for words in (("limits",), ("limits", "--json"), ("status", "--json")))
            check("very-secret" not in everything, everything)
        with case("a reload that changes one: its counts go on"):
            weir.change(limits={"reads": {"burst": 3}})
            check("1 limit changed" in weir.reload(), "the reload's words")
            check_equal(json.loads(weir.verb("limits", "reads", "--json", expected=0)[1])["limits"][0]["refused"], 3)
        with case("the state for USR2"):
            weir.signal(signal.SIGUSR2)
            check_equal(weir.wait_event("state_limits")["fleet"], 1)


def test_a_weir_without_limits_says_so():
    with Processor() as processor, Weir(processor) as weir:
        _, out, _ = weir.verb("limits", expected=0)
        check("none are configured" in out, out)
        check_equal(weir.verb("limits", "reads")[0], 1)


def test_the_fleet_and_a_store_that_hangs_are_told():
    limits = {"reads": {"by": "tenant", "rate": "1000/s", "burst": 100}}
    with Shared() as store, Processor() as processor:
        sections = {"limits": limits, "routes": [{**LIMITED[0], "limits": ["reads"]}], "store": store.section()}
        with Weir(processor, **sections) as weir, Weir(processor, **sections):
            wait_until(lambda: json.loads(weir.verb("limits", "--json", expected=0)[1])["fleet"] == 2, what="the other weir to be heard")
            check("fleet of 2" in weir.verb("status", expected=0)[1], "the line of the fleet")
            check("the store is asked" in weir.verb("limits", expected=0)[1], "a store that answers")
            store.redis.pause()
            try:
                number = iter(range(1000))

                def away():
                    for _ in range(4):  # a verb may take a second, and it is failures in one stretch that count
                        check_equal(weir.ask("GET", "/x", [f"Authorization: Bearer {next(number)}"]).status, 200)
                    return json.loads(weir.verb("status", "--json", expected=0)[1])["limits"]["store_away"]
                wait_until(away, 60, "the store to be left alone")
                check("LEFT ALONE" in weir.verb("limits", expected=0)[1], "the head of the limits")
                check("LEFT ALONE" in weir.verb("status", expected=0)[1], "the line of the limits")
            finally:
                store.redis.go_on()


def test_reload_is_synchronous_and_names_its_actor():
    with Processor() as processor, Weir(processor) as weir:
        out = weir.reload()
        check("generation 2" in out, out)
        actor = weir.wait_event("admin_reload")["actor"]
        check(actor.startswith(f"uid {os.getuid()}, pid "), actor)
        with case("as JSON"):
            code, text, _ = weir.verb("reload", "--json", expected=0)
            answer = json.loads(text)
            check_equal((answer["ok"], answer["generation"]), (True, 3))
        with case("a bad file, as JSON"):
            weir.write("version: 1\nx: 1\ny: 2\n")
            answer = ask(weir, "POST", "/api/v1/reload", b"")
            body = json.loads(answer.body)
            check_equal((answer.status, body["ok"], body["generation"]), (422, False, 3))
            check_equal([(row["severity"], row["line"], row["column"]) for row in body["findings"]
                         if row["severity"] == "error"],
                        [("error", 2, 1), ("error", 3, 1)])


def test_what_changes_something_is_a_post_and_nothing_else():
    with Processor() as processor, Weir(processor) as weir:
        for method, target, status in (("GET", "/api/v1/reload", 405), ("DELETE", "/api/v1/reload", 405),
                                       ("POST", "/api/v1/status", 405), ("POST", "/api/v1/limits", 405), ("GET", "/api/v1/nothing", 404), ("GET", "/", 404),
                                       ("GET", "/metrics", 404)):
            with case(f"{method} {target}"):
                check_equal(ask(weir, method, target, b"" if method == "POST" else None).status, status)
        check_equal(json.loads(weir.verb("status", "--json", expected=0)[1])["generation"], 1)


def test_malformed_requests_do_not_harm():
    with Processor() as processor, Weir(processor) as weir:
        for address in (weir.admin_path, weir.monitor_address):
            for raw in (b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
                        b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"\x16\x03\x01" + b"\x00" * 50,
                        b""):
                with case(f"{raw[:30]!r}"), http.Client(address) as client:
                    client.send(raw)
                    client.half_close()
                    rest = client.read_all()
                    check(not rest or rest.startswith(b"HTTP/1.1 4") or rest.startswith(b"HTTP/1.1 5"), f"{rest[:100]!r}")
        check_equal(weir.ask_monitor("/livez").status, 200)
        check_equal(weir.ask("GET", "/x").status, 200)


def test_many_idle_askers_do_not_lock_the_door():
    """The monitor serves a handful of connections; those that say nothing do not keep it shut for ever."""
    with Processor() as processor, Weir(processor) as weir:
        askers = [http.Client(weir.monitor_address) for _ in range(40)]
        check_equal(weir.ask("GET", "/x").status, 200)
        for asker in askers:
            asker.close()
        wait_until(lambda: alive(weir), what="an answer of the monitor")


def alive(weir):
    try:
        return weir.ask_monitor("/livez").status == 200
    except (OSError, Closed):
        return False  # those before it are still being closed


def test_verbs_say_what_is_wrong():
    with Processor() as processor, Weir(processor) as weir:
        with case("no weir there"):
            code, out, error = weir.verb("status", "--socket", "/nowhere/admin.sock")
            check_equal(code, 1)
            check("/nowhere/admin.sock" in out + error, out + error)
        with case("no admin in the file"):
            other = Weir(processor, admin=None)
            code, out, error = other.verb("status")
            check_equal(code, 1)
            check("admin.socket" in out + error, out + error)
            other.stop()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not_stolen():
    with Processor() as processor, Weir(processor) as weir:
        status = json.loads(weir.verb("status", "--json", expected=0)[1])
        config = {**weir.config, "listeners": [], "monitor": None}
        config.pop("monitor")
        with case("live"):
            second = Weir(config=config, wait=False)
            code = second.wait(10)
            check(code != 0, "a second weir took the socket of a running one")
            second.kill()
            again = json.loads(weir.verb("status", "--json", expected=0)[1])
            check_equal(again["pid"], status["pid"])
        with case("stale"):
            weir.process.kill()
            weir.process.wait()
            third = Weir(config={**config, "monitor": {"address": f"127.0.0.1:{weir.monitor_address[1]}"}}, wait=False)
            third.monitor_address = weir.monitor_address
            third.wait_ready()
            check_equal(json.loads(third.verb("status", "--json", expected=0)[1])["pid"], third.pid)
            third.stop()
        weir.stopped = True
