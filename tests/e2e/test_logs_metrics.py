"""What an operator sees: the access line, the events, the metrics; and what they must never see."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from harness import Skip, case, certs, check, check_equal, wait_until
from harness.http import request
from harness.processor import Hold, Processor, response
from harness.weir import Weir

PAN = "4242424242424242"
MASKED = "424242******4242"


def test_every_exchange_has_one_access_line_with_its_fields():
    with Processor() as processor, Weir(processor) as weir:
        processor.answer(response(201, [], b"hello"))
        answer = weir.ask("POST", "/v1/payments?card=1", ["User-Agent: test/1", "X-Request-Id: mine"], b"x=1")
        line = weir.next_access(0)
        expected = {
            "request_id": answer.header("Weir-Request-Id"), "x_request_id": "mine", "http.request.method": "POST",
            "url.path": "/v1/payments", "http.route": "all", "http.response.status_code": 201,
            "network.protocol.version": "1.1", "client.address": "127.0.0.1", "server.address": processor.authority,
            "user_agent.original": "test/1", "weir.listener": "public", "weir.route": "all", "weir.processor": "acme",
            "weir.reason": "ok", "weir.outcome": "answered", "bytes_in": 3, "bytes_out": 5,
        }
        for name, value in expected.items():
            with case(name):
                check_equal(line.get(name), value)
        with case("timestamp"):
            check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"]), line["timestamp"])
        with case("times"):
            check(0 <= line["t_overhead_us"] <= line["t_total_us"], f"{line}")
            check(line["t_connect_us"] <= line["t_total_us"] and line["t_ttfb_us"] <= line["t_total_us"], f"{line}")
        with case("one line"):
            check_equal(len(weir.access_lines()), 1)


def test_refusals_are_logged_too():
    with Processor() as processor, Weir(processor, routes=[{"name": "pay", "match": {"path": "/pay"}, "to": "acme"}]) as weir:
        rows = [(b"GET /x HTTP/1.1\r\n\r\n", 400, "bad_request"), (request("GET", "/nowhere"), 404, "no_route"),
                (b"\x16\x03\x01\r\n\r\n", 400, "bad_request")]
        for number, (raw, status, reason) in enumerate(rows):
            with case(f"{raw[:30]!r}"), weir.client() as client:
                client.send(raw)
                answer = client.read_response()
                line = weir.next_access(number)
                check_equal((line["http.response.status_code"], line["weir.reason"], line["weir.outcome"]),
                            (status, reason, "not_sent"))
                check_equal(line["request_id"], answer.header("Weir-Request-Id"))


def test_card_numbers_keys_credentials_and_bodies_are_nowhere():
    """Canaries in every place that a careless client may put them."""
    dashed = "4242-4242-4242-4242"
    canaries = [PAN, dashed, "4242%2042424242%204242", "sk_live_canary", "key-canary-1", "cvc-canary", "query-canary"]
    with Processor() as processor, Weir(processor, logging={"events": {"level": "debug"}}) as weir:
        weir.ask("POST", f"/v1/cards/{PAN}/charge?number={PAN}&c=query-canary",
                 ["Authorization: Bearer sk_live_canary", "Idempotency-Key: key-canary-1", f"User-Agent: shop {PAN}",
                  f"X-Request-Id: {PAN}", f"Cookie: a={PAN}"], f"number={PAN}&cvc=cvc-canary")
        weir.ask("GET", f"/v1/cards/{dashed}")
        weir.ask("GET", f"/v1/{PAN}x%34242424242424242")
        processor.answer("close")
        weir.ask("POST", f"/v1/cards/{PAN}", ["Idempotency-Key: key-canary-1"], f"number={PAN}&cvc=cvc-canary")
        with weir.client() as client:
            client.send(f"GET /{PAN} HTTP/1.1\r\nHost: {PAN} x\r\n\r\n".encode())
            client.read_response()
        weir.signal(signal.SIGUSR2)
        weir.wait_event("state")
        weir.wait_for_access(count=5)
        metrics = weir.ask_monitor("/metrics").body.decode()
        lines = "\n".join(weir.stdout.snapshot() + weir.stderr.snapshot())
        for canary in canaries:
            with case(canary):
                check(canary not in lines, f"in the logs: {[line for line in lines.splitlines() if canary in line]}")
                check(canary not in metrics, "in the metrics")
        with case("the mask keeps what may be kept"):
            check(f"/v1/cards/{MASKED}/charge" in lines, lines[-3000:])
        with case("other digits stay"):
            weir.ask("GET", "/v1/orders/4242424242424243")
            check_equal(weir.next_access(5)["url.path"], "/v1/orders/4242424242424243")


def test_hostile_text_in_a_log_line_stays_one_line_of_json():
    with Processor() as processor, Weir(processor) as weir:
        for agent in ('a"b\\c', "tab\there", "</script>", "'; drop table", "%0a%0d"):
            with case(agent):
                weir.ask("GET", "/x?a=b", [f"User-Agent: {agent}"])
        lines = weir.wait_for_access(count=5)
        check_equal([line["user_agent.original"] for line in lines],
                    ['a"b\\c', "tab\there", "</script>", "'; drop table", "%0a%0d"])


def test_a_very_long_path_is_logged_in_a_bounded_line():
    with Processor() as processor, Weir(processor) as weir:
        check_equal(weir.ask("GET", "/" + "a" * 8000).status, 200)
        weir.next_access(0)
        check(max(len(line) for line in weir.stdout.snapshot()) <= 8192, "at most LOG_LINE_BYTES")


def test_metrics_pass_promtool():
    promtool = shutil.which("promtool")
    if promtool is None:
        raise Skip("promtool is not installed")
    pair = certs.server("pay.example.com")
    with Processor() as processor, Weir(processor, listener={"tls": {"certificates": [pair.section()]}}) as weir:
        weir.ask("GET", "/x", tls=certs.client_context(), server_name="pay.example.com")
        answer = weir.ask_monitor("/metrics")
        check(answer.header("Content-Type").startswith("text/plain"), answer.header("Content-Type"))
        result = subprocess.run([promtool, "check", "metrics"], input=answer.body, capture_output=True, timeout=20)
        check_equal((result.returncode, result.stdout + result.stderr), (0, b""))


def test_metrics_count_what_happened():
    with Processor() as processor, Weir(processor, acme={"timeouts": {"connect": "500ms", "response": "300ms"}}) as weir:
        for _ in range(3):
            weir.ask("POST", "/x", [], b"x=1")
        processor.answer(response(500, [], b"x"), "close", Hold())
        for _ in range(3):
            weir.ask("POST", "/x", [], b"x=1")
        with weir.client() as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            client.read_response()
        rows = [
            ("weir_requests_total", dict(route="all", processor="acme", code="200", reason="ok"), 3),
            ("weir_requests_total", dict(route="all", processor="acme", code="500", reason="ok"), 1),
            ("weir_requests_total", dict(route="all", code="502", reason="closed_before_response"), 1),
            ("weir_requests_total", dict(route="all", code="504", reason="response_timeout"), 1),
            ("weir_requests_total", dict(code="400", reason="bad_request"), 1),
            ("weir_outcomes_total", dict(processor="acme", outcome="answered"), 3),
            ("weir_outcomes_total", dict(processor="acme", outcome="unknown"), 3),
            ("weir_request_duration_seconds_count", dict(route="all"), 6),
            ("weir_processor_duration_seconds_count", dict(processor="acme"), 6),
            ("weir_requests_in_flight", dict(route="all"), 0),
            ("weir_connections_accepted_total", dict(listener="public"), 7),
            ("weir_log_lines_dropped_total", {}, 0),
        ]
        for name, labels, value in rows:
            with case(f"{name} {labels}"):
                weir.wait_metric(name, value, timeout_s=3, **labels)
        metrics = weir.metrics()
        for name in ("weir_build_info", "weir_config_info", "weir_config_last_reload_successful", "weir_loop_busy_seconds_total",
                     "weir_loop_idle_seconds_total", "weir_overhead_seconds_bucket", "weir_processor_up",
                     "weir_processor_connections", "process_open_fds", "process_resident_memory_bytes",
                     "process_cpu_seconds_total", "process_start_time_seconds"):
            with case(name):
                check(name in metrics, "is there")


def test_histograms_are_cumulative_and_end_with_inf():
    with Processor() as processor, Weir(processor) as weir:
        for _ in range(5):
            weir.ask("GET", "/x")
        weir.wait_metric("weir_request_duration_seconds_count", 5, route="all")
        metrics = weir.metrics()
        for name, series in metrics.items():
            if not name.endswith("_bucket"):
                continue
            groups = {}
            for labels, value in series.items():
                rest = frozenset(pair for pair in labels if pair[0] != "le")
                groups.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
            for rest, rows in groups.items():
                with case(f"{name} {dict(rest)}"):
                    rows.sort()
                    values = [value for _, value in rows]
                    check_equal(values, sorted(values))
                    check_equal(rows[-1][0], float("inf"))
                    count = metrics[name[:-len("_bucket")] + "_count"][rest]
                    check_equal(rows[-1][1], count)


def test_labels_do_not_grow_with_what_clients_send():
    with Processor() as processor, Weir(processor) as weir:
        weir.ask("GET", "/x")
        before = sum(len(series) for series in weir.metrics().values())
        for number in range(50):
            weir.ask("GET", f"/path-{number}", [f"User-Agent: {number}", f"Idempotency-Key: {number}"], host=f"host-{number}")
        check_equal(sum(len(series) for series in weir.metrics().values()), before)


def test_logs_go_to_files_and_are_opened_again():
    with tempfile.TemporaryDirectory() as folder, Processor() as processor:
        access, events = f"{folder}/access.log", f"{folder}/events.log"
        with Weir(processor, logging={"access": {"to": access}, "events": {"to": events}}) as weir:
            weir.ask("GET", "/one")
            wait_until(lambda: '"/one"' in open(access).read(), what="the line")
            check_equal(os.stat(access).st_mode & 0o777, 0o640)
            os.rename(access, access + ".1")
            weir.ask("GET", "/two")
            wait_until(lambda: '"/two"' in open(access + ".1").read(), what="the line in the moved file")
            weir.signal(signal.SIGUSR1)
            wait_until(lambda: os.path.exists(access), what="the new file")
            weir.ask("GET", "/three")
            wait_until(lambda: '"/three"' in open(access).read(), what="the line in the new file")
            check("/three" not in open(access + ".1").read(), "the old file is let go")
            check("started" in open(events).read(), open(events).read())
            check_equal(weir.stdout.snapshot(), [])


def test_a_sink_that_takes_nothing_stops_no_request():
    """stdout is a pipe that nobody reads: lines are dropped and counted, requests go on."""
    with Processor() as processor, Weir(processor) as weir:
        with weir.stdout.changed:  # the reader of the pipe waits for this lock: the pipe fills
            for number in range(40):
                with weir.client() as client:
                    for _ in range(50):
                        check_equal(client.ask("GET", "/" + "a" * 900).status, 200)
            check_equal(weir.ask_monitor("/livez").status, 200)


def test_usr2_writes_the_state():
    with Processor() as processor, Weir(processor) as weir:
        hold = Hold()
        processor.answer(hold)
        with weir.client() as client:
            client.send(request("POST", "/x", [], b"x=1"))
            hold.wait()
            weir.signal(signal.SIGUSR2)
            state = weir.wait_event("state")
            check_equal((state["exchanges"], state["exchanges_sent"], state["clients"]), (1, 1, 1))
            hold.release()
            client.read_response()


def test_events_have_one_voice():
    unkeyed = [{"name": "all", "match": {"path": "/*"}, "to": "acme", "idempotency": "off"}] # nothing to warn of
    with Processor() as processor, Weir(processor, routes=unkeyed) as weir:
        weir.ask("GET", "/x")
        weir.reload()
        weir.stop()
        events = weir.events()
        check(len(events) >= 4, f"{events}")
        for event in events:
            check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["ts"]), f"{event}")
            check(event["level"] in ("debug", "info", "warn", "error"), f"{event}")
            check(re.fullmatch(r"[a-z0-9_]+", event["event"]), f"{event}")
            check(event["message"] and not event["message"].endswith("."), f"{event}")
        check_equal(len(weir.stderr.snapshot()), len(events), "every line of stderr is an event")


def test_text_events_are_for_people():
    with Processor() as processor, Weir(processor, logging={"events": {"format": "text"}}) as weir:
        weir.ask("GET", "/x")
        line = weir.stderr.wait_for(lambda text: text if " started " in text else None)[0]
        check(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info started ", line), line)


def test_livez_and_readyz_and_nothing_else():
    with Processor() as processor, Weir(processor) as weir:
        for target, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404), ("/api/v1/status", 404),
                               ("/livez/", 404), ("/x", 404)):
            with case(target):
                check_equal(weir.ask_monitor(target).status, status)
        for method in ("POST", "PUT", "DELETE"):
            with case(method):
                check_equal(weir.ask_monitor("/livez", method).status, 405)


def test_a_loop_that_does_not_run_is_seen_as_lag():
    """Stopped for a second: its timer fires that much late, and says so."""
    with Processor() as processor, Weir(processor) as weir:
        wait_until(lambda: weir.metric("weir_loop_lag_seconds_count") >= 2, what="two observations")
        before = weir.metric("weir_loop_lag_seconds_sum")
        check(before < 60, f"a process that has just begun was not late for {before} s")
        weir.signal(signal.SIGSTOP)
        time.sleep(1.2)
        weir.signal(signal.SIGCONT)
        wait_until(lambda: weir.metric("weir_loop_lag_seconds_sum") >= before + 1, what="a second of lag")


def test_what_is_running_is_told():
    with Processor() as processor, Weir(processor) as weir:
        labels = dict(next(iter(weir.metrics()["weir_build_info"])))
        check_equal(sorted(labels), ["commit", "libuv", "openssl", "version"])
        check(all(labels.values()), f"{labels}")


def test_readyz_does_not_follow_the_processors():
    from test_outcomes import closed_port
    nobody, address = closed_port()
    with nobody, Weir({"url": f"http://{address}"}) as weir:
        check_equal(weir.ask("POST", "/x", [], b"x=1").status, 502)
        check_equal(weir.ask_monitor("/readyz").status, 200)


def test_each_unknown_outcome_is_one_event_with_the_id_that_the_merchant_has():
    with Processor() as processor, Weir(processor) as weir:
        ids = []
        for _ in range(3):
            processor.answer(["reset"])
            answer = weir.ask("POST", "/v1/payments", ["Idempotency-Key: secret-key-1"], b"x=1")
            check_equal(answer.outcome, "unknown")
            ids.append(answer.header("Weir-Request-Id"))
        check_equal(weir.ask("POST", "/v1/payments", [], b"x=1").outcome, "answered")
        events = weir.wait_event("unknown", count=3)
        events = [line for line in weir.events() if line.get("event") == "unknown"]
        check_equal([line["request_id"] for line in events], ids)
        check_equal({line["processor"] for line in events}, {"acme"})
        check("secret-key-1" not in str(events), "the key is in the log")
