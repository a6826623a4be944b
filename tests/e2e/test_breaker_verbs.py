"""What operators see of sick processors, and what they may say of breakers: weir processors, weir breaker, the calls behind
them, the lines that are written of it, and how an operator's word ends."""

import datetime
import getpass
import json
import os
import signal

from harness import case, check, check_equal, deadline, http, wait_until
from harness.processor import Processor, response
from harness.weir import Weir, merged
from test_sick import BROKEN, TWO_ROUTES, Callers, by_path, state, until_refused

AWAY = response(503, [], b"away")
BREAKER = {"min_requests": 20, "open_for": "60s"}
HALF_AN_HOUR = datetime.timedelta(minutes=30)


def shown(weir, name="acme"):
    """All that is told of one processor."""
    told = json.loads(weir.verb("breaker", name, "--json", expected=0)[1])
    check_equal((told["ok"], told["processor"]["name"]), (True, name))
    return told["processor"]


def say(weir, *words, name="acme"):
    return weir.verb("breaker", name, *words, expected=0)[1]


def api(weir, method, target):
    answer = http.ask(weir.admin_path, method, target, body=b"" if method != "GET" else None, host="localhost")
    return answer.status, json.loads(answer.body) if answer.body else None


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def states(processor):
    return [part["breaker"]["state"] for part in processor["endpoints"] + processor["circuits"]]


def check_refused(answer):
    check_equal((answer.status, answer.weir_reason, answer.outcome), (503, "breaker_open", "not_sent"))
    return answer


def check_about(text, since, after, what):
    """A time that was said: `after` what began at `since`, give or take what a busy machine needs."""
    late = (time_of(text) - since - after).total_seconds()
    check(-1 <= late <= 60, f"{what}: {text}")


@deadline(60)
def test_a_word_holds_every_breaker_open_until_auto():
    with Processor() as one, Processor() as two, Weir([one, two]) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        asked = len(one.requests()) + len(two.requests())
        since = datetime.datetime.now(datetime.timezone.utc)
        out = say(weir, "open", "--for", "30m", "--why", "they said so: 100%, at 'once'")
        with case("what it prints"):
            check("until then no call goes there" in out and "held open for " in out, out)
            check(one.authority in out and two.authority in out and "route all" in out, out)
        with case("nothing goes there"):
            for method in ("GET", "POST"):
                answer = check_refused(weir.ask(method, "/x", body=b"x=1" if method == "POST" else None))
                check(int(answer.header("Retry-After")) >= 1, f"{answer}")
            check_equal(len(one.requests()) + len(two.requests()), asked)
        with case("the audit line"):
            event = weir.wait_event("breaker_forced_by_operator")
            check_equal((event["audit"], event["processor"], event["breakers"], event["why"]),
                        (True, "acme", "open", "they said so: 100%, at 'once'"))
            check(event["actor"].startswith(f"uid {os.getuid()} ({getpass.getuser()}), pid "), event["actor"])
            check_about(event["until"], since, HALF_AN_HOUR, "until")
        with case("what is shown"):
            told = shown(weir)
            check_equal((told["forced"], told["forced_why"], told["endpoints_taking"]), ("open", event["why"], 0))
            check_equal(told["forced_by"], event["actor"])
            check_about(told["forced_until"], since, HALF_AN_HOUR, "forced_until")
            check_equal(states(told), ["open"] * 3)
            for part in told["endpoints"] + told["circuits"]:
                check_equal((part["breaker"]["forced"], part["breaker"]["cause"]), ("open", "operator"))
            for verb in ("processors", "status"):
                out = weir.verb(verb, expected=0)[1]
                check("acme: held open for " in out and "NONE of 2 endpoints" in out and "they said so" in out, out)
            check_equal(weir.metric("weir_breaker_forced", processor="acme", said="open"), 1)
            check_equal(weir.metric("weir_breaker_forced", processor="acme", said="closed"), 0)
            check_equal(weir.metric("weir_processor_up", processor="acme"), 0)
        with case("said again, it holds from then on"):
            say(weir, "open", "--for", "2h", "--why", "they need longer")
            check_about(shown(weir)["forced_until"], since, 4 * HALF_AN_HOUR, "forced_until")
            check_equal(weir.metric("weir_breaker_transitions_total", to="open", cause="operator"), 3)
        with case("auto ends it: it is probed like any that was open"):
            out = say(weir, "auto", "--why", "over")
            check("its breakers decide by themselves" in out and "auto: nobody holds" in out, out)
            event = weir.wait_event("breaker_forced_by_operator", breakers="auto")
            check_equal((event["why"], event["until"]), ("over", None))
            told = shown(weir)
            check_equal((told["forced"], told["forced_until"], told["forced_by"], told["forced_why"]), ("auto", None, None, None))
            wait_until(lambda: weir.ask("GET", "/x").status == 200, what="a read to be let through")
            check_equal(weir.metric("weir_breaker_forced"), 0)


@deadline(60)
def test_a_word_holds_every_breaker_closed():
    with Processor() as processor, Weir(processor, acme={"breaker": BREAKER}) as weir, Callers(weir) as callers:
        out = say(weir, "closed", "--for", "30m", "--why", "we know better")
        check("let everything through" in out and "held closed for " in out, out)
        processor.answer_always(AWAY)
        for _ in range(50):
            answer = callers.ask("/x")
            check_equal((answer.status, answer.weir_reason), (503, None))
        with case("it is shown how its calls go"):
            told = shown(weir)
            check_equal(states(told), ["closed", "closed"])
            check(told["endpoints"][0]["breaker"]["failed"] >= 20, told)
            out = weir.verb("processors", expected=0)[1]
            check("acme: held closed for " in out and "lets through, though of " in out, out)
        with case("auto ends it: it counts anew, and opens"):
            say(weir, "auto", "--why", "we did not")
            until_refused(callers, "/x", 503)
            check_equal(state(weir, endpoint=processor.authority), "open")


@deadline(60)
def test_a_word_ends_by_itself():
    with Processor() as processor, Weir(processor) as weir:
        say(weir, "open", "--for", "1s", "--why", "for a second")
        event = weir.wait_event("breaker_word_expired")
        check_equal((event["processor"], event["said"], event["why"]), ("acme", "open", "for a second"))
        check(event["actor"].startswith(f"uid {os.getuid()} "), event["actor"])
        told = shown(weir)
        check_equal((told["forced"], told["forced_by"]), ("auto", None))
        check_equal(weir.metric("weir_breaker_forced"), 0)
        wait_until(lambda: weir.ask("GET", "/x").status == 200, what="a read to be let through")
        wait_until(lambda: weir.wait_event("breaker_half_open", cause="expired"), what="the change of the breaker")
        check_equal(len(processor.requests()) > 0, True)


@deadline(60)
def test_a_reload_keeps_the_word():
    with Processor() as one, Processor() as two, Processor() as bank, Weir(one) as weir:
        say(weir, "open", "--for", "30m", "--why", "they said so")
        until = shown(weir)["forced_until"]
        routes = [{"name": "banking", "match": {"path": "/bank/*"}, "to": "bank"},
                  {"name": "new", "match": {"path": "/new/*"}, "to": "acme"}, *weir.config["routes"]]
        weir.change(processors={"acme": {"endpoints": [one.authority, two.authority], "concurrency": 7}, "bank": {"url": bank.url}},
                    routes=routes)
        weir.reload()
        with case("what was there"):
            told = shown(weir)
            check_equal((told["forced"], told["forced_why"]), ("open", "they said so"))
            check(abs((time_of(told["forced_until"]) - time_of(until)).total_seconds()) < 1, f"{told['forced_until']} and {until}")
            check_refused(weir.ask("GET", "/x"))
        with case("what is new there"):
            check_equal([part["address"] for part in told["endpoints"]], [one.authority, two.authority])
            check_equal(set(states(told)), {"open"})
            check_refused(weir.ask("GET", "/new/x"))
        with case("another processor goes on"):
            check_equal(weir.ask("GET", "/bank/x").status, 200)
            check_equal(shown(weir, "bank")["forced"], "auto")
        check_equal((len(one.requests()), len(two.requests())), (0, 0))


BAD = (
    (("breaker",), 64, "a word is missing"),
    (("breaker", "acme", "open", "--why", "x"), 64, "--for is missing: say for how long, 1s to 24h"),
    (("breaker", "acme", "closed", "--why", "x"), 64, "--for is missing"),
    (("breaker", "acme", "open", "--for", "30m"), 64, "--why TEXT is missing: this is written down with its reason"),
    (("breaker", "acme", "auto"), 64, "--why TEXT is missing"),
    (("breaker", "acme", "auto", "--for", "30m", "--why", "x"), 64, "auto ends an operator's word, and needs no --for"),
    (("breaker", "acme", "open", "--for", "25h", "--why", "x"), 64, "'25h' is more than 24h"),
    (("breaker", "acme", "open", "--for", "500ms", "--why", "x"), 64, "'500ms' is less than 1s"),
    (("breaker", "acme", "open", "--for", "ever", "--why", "x"), 64, "'ever' is not a duration: 90s, 30m or 2h"),
    (("breaker", "acme", "opne", "--for", "30m", "--why", "x"), 64, "did you mean 'open'?"),
    (("breaker", "acme", "open", "--for", "30m", "--why", "x" * 201), 64, "--why is longer than 200 bytes"),
    (("breaker", "../../status"), 64, "that is no processor's name"),
    (("breaker", "acem", "open", "--for", "30m", "--why", "x"), 1, "there is no processor 'acem': did you mean 'acme'?; there are: acme"),
    (("breaker", "bank"), 1, "there is no processor 'bank'; there are: acme"),
)


def test_what_is_wrong_is_said_and_nothing_is_done():
    with Processor() as processor, Weir(processor) as weir:
        for words, expected, complaint in BAD:
            with case(" ".join(words)[:60]):
                code, out, error = weir.verb(*words)
                check_equal((code, out), (expected, ""))
                check(complaint in error, error)
        with case("as JSON, to those who read JSON"):
            code, out, error = weir.verb("breaker", "bank", "auto", "--why", "x", "--json")
            check_equal((code, error), (1, ""))
            check_equal(json.loads(out), {"ok": False, "text": "there is no processor 'bank'; there are: acme"})
        with case("nothing was done, and nothing was written down"):
            check_equal(weir.ask("GET", "/x").status, 200)
            check_equal(shown(weir)["forced"], "auto")
            check("breaker_forced_by_operator" not in weir.error_text(), "an audit line")


def test_the_calls_of_the_api():
    path = "/api/v1/processors/acme/breaker"
    with Processor() as processor, Weir(processor) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        with case("told"):
            status, told = api(weir, "GET", path)
            check_equal((status, told["ok"]), (200, True))
            (row,) = api(weir, "GET", "/api/v1/processors")[1]["processors"]
            check_equal(sorted(row), sorted(told["processor"]), "members")
            (row,) = json.loads(weir.verb("status", "--json", expected=0)[1])["processors"]
            check_equal(sorted(row), sorted(told["processor"]), "members of the status")
        with case("said"):
            status, told = api(weir, "POST", path + "?state=open&for=90s&why=by%20hand")
            check_equal((status, told["ok"], told["processor"]["forced"], told["processor"]["forced_why"]),
                        (200, True, "open", "by hand"))
            check_refused(weir.ask("GET", "/x"))
        with case("a question changes nothing"):
            check_equal(api(weir, "GET", path + "?state=auto&why=x")[1]["processor"]["forced"], "open")
        for target, status, words in (
                (path + "?state=open&why=x", 400, "--for is missing"), (path + "?state=open&for=30m", 400, "why is missing"),
                (path + "?state=open&for=30h&why=x", 400, "more than 24h"), (path, 400, "open, closed or auto is missing"),
                ("/api/v1/processors/nobody/breaker?state=auto&why=x", 404, "there are: acme")):
            with case(f"POST {target}"):
                got, told = api(weir, "POST", target)
                check_equal((got, told["ok"]), (status, False))
                check(words in told["text"], told["text"])
        with case("other methods"):
            for method in ("DELETE", "PUT", "PATCH"):
                check_equal(http.ask(weir.admin_path, method, path, body=b"", host="localhost").status, 405)
            check_equal(http.ask(weir.admin_path, "POST", "/api/v1/processors", body=b"", host="localhost").status, 405)


@deadline(60)
def test_a_sick_endpoint_is_told_in_words_and_numbers():
    with Processor() as good, Processor() as bad, Weir(
            [good, bad], acme={"breaker": BREAKER, "balance": "round_robin", "weights": [3, 3]}) as weir, \
            Callers(weir) as callers:
        with case("all is well"):
            check("acme: fine; 2 of 2 endpoints take its calls" in weir.verb("processors", expected=0)[1], "the sentence")
        bad.answer_always(AWAY)

        def is_open():
            callers.ask("/x")
            return state(weir, endpoint=bad.authority) == "open"
        wait_until(is_open, 20, "its breaker to open")
        event = weir.wait_event("breaker_open")
        sentence = f"acme: breaker of {bad.authority} open for "
        with case("the sentence, the table and the row of the status"):
            for verb in ("processors", "status"):
                out = weir.verb(verb, expected=0)[1]
                check(sentence in out and "% of " in out and "calls failed; 1 of 2 endpoints take its calls" in out, out)
            out = weir.verb("processors", expected=0)[1]
            (line,) = [line for line in out.splitlines() if line.startswith("acme ") and bad.authority in line]
            check(" open " in line, line)
        with case("weir breaker"):
            out = say(weir)
            check("auto: nobody holds its breakers" in out and "% of " in out and "route all" in out, out)
        with case("JSON has the numbers of the event"):
            told = shown(weir)
            check_equal((told["endpoints_taking"], told["endpoints_open"], told["endpoint_count"]), (1, 1, 2))
            check(told["verdict"].startswith(sentence.removeprefix("acme: ")), told["verdict"])
            well, sick = told["endpoints"]
            check_equal((well["breaker"]["state"], well["breaker"]["cause"], well["breaker"]["change"]), ("closed", "none", None))
            breaker = sick["breaker"]
            check_equal((breaker["state"], breaker["forced"], breaker["cause"], breaker["change"]["failed"],
                         breaker["change"]["calls"]), ("open", "auto", event["cause"], event["failed"], event["calls"]))
            check(time_of(breaker["since"]) < time_of(breaker["until"]), breaker)
            check_equal((sick["checked"], sick["health"]), (False, None))
            check(well["latency_us"] > 0 and well["idle_limit_us"] > 0, well)
        with case("the state for USR2"):
            weir.signal(signal.SIGUSR2)
            check_equal(weir.wait_event("state_processor")["open"], 1)
            line = weir.wait_event("state_endpoint", message=bad.authority)
            check_equal((line["processor"], line["breaker"], line["forced"]), ("acme", "open", "auto"))
            check_equal(weir.wait_event("state_circuit", message="all")["breaker"], "closed")


@deadline(60)
def test_a_route_that_fails_is_told():
    with Processor() as processor, Weir(processor, acme={"breaker": BREAKER}, routes=TWO_ROUTES) as weir, \
            Callers(weir) as callers:
        processor.answer_always(by_path({"/payouts/": BROKEN}))
        until_refused(callers, "/payouts/new", 500)
        out = weir.verb("processors", expected=0)[1]
        check("acme: circuit of route payouts open for " in out and "100 % of 20 calls failed" in out and
              "its endpoint takes its calls" in out, out)
        check("CIRCUIT" in out and "charges" not in out, out)
        told = shown(weir)
        check_equal({row["route"]: row["breaker"]["state"] for row in told["circuits"]}, {"payouts": "open", "charges": "closed"})
        check_equal(told["circuits_open"], 1)


@deadline(60)
def test_checks_that_fail_are_told_with_their_words():
    health = {"type": "http", "path": "/healthz", "every": "200ms", "timeout": "150ms", "down_after": 2, "up_after": 1}
    with Processor() as processor, Weir(processor, acme={"health": health}) as weir:
        wait_until(lambda: shown(weir)["endpoints"][0]["health"] == "up", what="a check that passes")
        processor.answer_always(by_path({"/healthz": AWAY}))
        wait_until(lambda: shown(weir)["endpoints_down"] == 1, what="the endpoint to be down")
        out = weir.verb("processors", expected=0)[1]
        check(f"acme: {processor.authority} fails its checks: " in out and "503" in out and
              "its ONLY endpoint takes no calls" in out and "down: " in out, out)
        (endpoint,) = shown(weir)["endpoints"]
        check_equal((endpoint["checked"], endpoint["health"]), (True, "down"))
        check("503" in endpoint["health_words"], endpoint)
        with case("closed by hand does not make it well"):
            say(weir, "closed", "--for", "30m", "--why", "x")
            answer = weir.ask("GET", "/x")
            check_equal((answer.status, answer.weir_reason), (503, "processor_down"))


@deadline(60)
def test_the_many_are_told_too():
    """Sixty endpoints: the answer has room for them."""
    with Processor() as processor, Weir(
            processor, acme={"endpoints": [processor.authority] + [f"127.0.0.2:{port}" for port in range(2, 61)]}) as weir:
        told = shown(weir)
        check_equal((told["endpoint_count"], len(told["endpoints"])), (60, 60))
        check_equal(len([line for line in weir.verb("processors", expected=0)[1].splitlines() if line.startswith("acme ")]), 60)
        weir.change(processors=merged(weir.config["processors"], {"acme": {"endpoints": [processor.authority]}}))
        weir.reload()
        check_equal(shown(weir)["endpoint_count"], 1)
