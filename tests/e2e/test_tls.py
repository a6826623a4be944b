"""TLS towards clients and towards processors."""

import pathlib
import socket
import ssl
import tempfile
import threading

from harness import Failure, Skip, case, certs, check, check_equal, wait_until
from harness.http import Client, request
from harness.processor import Processor, Sandbox, response
from harness.weir import Weir, weir_command

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def listener(*pairs, **tls):
    return {"tls": {"certificates": [pair.section() for pair in pairs], **tls}}


def handshake(weir, name="pay.example.com", context=None):
    return Client(weir.address, tls=context or certs.client_context(), server_name=name)


def names_of(client):
    return {value for kind, value in client.socket.getpeercert()["subjectAltName"] if kind == "DNS"}


def refused(weir, name="pay.example.com", context=None):
    """The handshake fails, or with TLS 1.3 the first read behind it. Returns the error's text."""
    try:
        with handshake(weir, name, context) as client:
            client.ask("GET", "/x", host=name)
    except (ssl.SSLError, OSError, Failure) as error:
        return str(error)
    raise Failure("the connection was accepted")


def test_both_versions_serve_and_are_logged():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        for number, (version, name) in enumerate(((V12, "TLSv1.2"), (V13, "TLSv1.3"))):
            with case(name), handshake(weir, context=certs.client_context(minimum=version, maximum=version)) as client:
                check_equal(client.socket.version(), name)
                check_equal(client.socket.selected_alpn_protocol(), "http/1.1")
                check_equal(client.ask("POST", "/x", [], b"hello").status, 200)
                got = processor.requests()[-1]
                check_equal(got.header("X-Forwarded-Proto"), "https")
                check("proto=https" in got.header("Forwarded"), got.header("Forwarded"))
                check_equal(weir.next_access(number)["tls.protocol.version"], name)
        check_equal(weir.metric("weir_tls_handshakes_total", result="ok"), 2)


def test_old_versions_and_weak_ciphers_are_refused():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com", kind="rsa"))) as weir:
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with case(version.name):
                context = certs.client_context(ciphers="ALL:@SECLEVEL=0")
                context.minimum_version = context.maximum_version = version
                refused(weir, context=context)
        for cipher in ("AES128-GCM-SHA256", "AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384",
                       "DHE-RSA-AES128-GCM-SHA256"):
            with case(cipher):
                refused(weir, context=certs.client_context(maximum=V12, ciphers=cipher + ":@SECLEVEL=0"))
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
            with case(f"{cipher} serves"):
                with handshake(weir, context=certs.client_context(maximum=V12, ciphers=cipher)) as client:
                    check_equal(client.ask("GET", "/x").status, 200)
        processor.check_only(3)


def test_minimum_tls_1_3_refuses_1_2():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"), minimum="TLS1.3")) as weir:
        refused(weir, context=certs.client_context(maximum=V12))
        with handshake(weir) as client:
            check_equal(client.ask("GET", "/x").status, 200)


def test_the_name_that_is_asked_for_picks_the_certificate():
    first, second = certs.server("pay.example.com"), certs.server("api.example.com", "api2.example.com")
    wild = certs.server("*.shop.example")
    with Processor() as processor, Weir(processor, listener=listener(first, second, wild)) as weir:
        for name, expected in (("pay.example.com", "pay.example.com"), ("api.example.com", "api.example.com"),
                               ("api2.example.com", "api.example.com"), ("PAY.example.com", "pay.example.com"),
                               ("one.shop.example", "*.shop.example")):
            with case(name), handshake(weir, name) as client:
                check(expected in names_of(client), f"{names_of(client)}")
                check_equal(client.ask("GET", "/x", host=name).status, 200)
        lax = certs.client_context()
        lax.check_hostname = False
        for name in (None, "127.0.0.1", "unknown.example", "a.b.shop.example", "shop.example"):
            with case(f"the default for {name}"), handshake(weir, name, lax) as client:
                check("pay.example.com" in names_of(client), f"{names_of(client)}")
                check_equal(client.ask("GET", "/x", host="anything.example").status, 200)


def test_one_name_may_have_an_ecdsa_and_an_rsa_certificate():
    pairs = certs.server("pay.example.com"), certs.server("pay.example.com", kind="rsa")
    with Processor() as processor, Weir(processor, listener=listener(*pairs)) as weir:
        for kind, cipher in (("ECDSA", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("RSA", "ECDHE-RSA-AES128-GCM-SHA256")):
            with case(kind), handshake(weir, context=certs.client_context(maximum=V12, ciphers=cipher)) as client:
                check_equal(client.ask("GET", "/x").status, 200)
                check_equal(client.socket.cipher()[0], cipher)


def test_a_host_that_is_not_the_asked_name_is_misdirected():
    pairs = certs.server("pay.example.com"), certs.server("api.example.com")
    with Processor() as processor, Weir(processor, listener=listener(*pairs)) as weir:
        with case("another of ours"), handshake(weir) as client:
            answer = client.ask("POST", "/x", [], b"x=1", host="api.example.com")
            check_equal((answer.status, answer.weir_reason, answer.outcome), (421, "misdirected", "not_sent"))
        with case("its own, with port and case"), handshake(weir) as client:
            check_equal(client.ask("GET", "/x", host="Pay.Example.com:8443").status, 200)
        lax = certs.client_context()
        lax.check_hostname = False
        with case("no name, any host"), handshake(weir, None, lax) as client:
            check_equal(client.ask("GET", "/x", host="api.example.com").status, 200)
        check_equal([got.method for got in processor.requests()], ["GET", "GET"])


def test_alpn_is_http_1_1_or_nothing():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        for offer, expected in ((("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1"), ((), None)):
            with case(f"{offer}"), handshake(weir, context=certs.client_context(alpn=offer)) as client:
                check_equal(client.socket.selected_alpn_protocol(), expected)
                check_equal(client.ask("GET", "/x").status, 200)
        with case("h2 alone is refused or not spoken"):
            try:
                with handshake(weir, context=certs.client_context(alpn=("h2",))) as client:
                    check(client.socket.selected_alpn_protocol() is None, "h2 was selected")
            except ssl.SSLError:
                pass


def test_sessions_are_resumed_and_tickets_are_stateless():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        for version in (V12, V13):
            with case(version.name):
                context = certs.client_context(minimum=version, maximum=version)
                with handshake(weir, context=context) as client:
                    check_equal(client.ask("GET", "/x").status, 200)
                    session = client.socket.session
                    check(not client.socket.session_reused, "the first is new")
                raw = socket.create_connection(weir.address, 10)
                again = Client.__new__(Client)
                again.socket = context.wrap_socket(raw, server_hostname="pay.example.com", session=session)
                again.buffer, again.ended = bytearray(), False
                check(again.socket.session_reused, "the second is resumed")
                check_equal(again.ask("GET", "/x").status, 200)
                again.close()
        check_equal(weir.metric("weir_tls_handshakes_total", result="ok", resumed="true"), 2)


def test_sessions_survive_a_reload():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        context = certs.client_context(minimum=V12, maximum=V12)
        with handshake(weir, context=context) as client:
            client.ask("GET", "/x")
            session = client.socket.session
        weir.reload()
        with socket.create_connection(weir.address, 10) as raw, context.wrap_socket(
                raw, server_hostname="pay.example.com", session=session) as again:
            check(again.session_reused, "ticket keys belong to the process")


def test_client_certificates():
    ca, good, stranger = certs.ca(), certs.client("merchant-1"), certs.client("mallory", ca=certs.other_ca())
    gone, crl = certs.revoked("merchant-2"), certs.crl()
    pair = certs.server("pay.example.com")
    for mode in ("optional", "required"):
        with Processor() as processor, Weir(processor, listener=listener(pair, client_certs=mode, client_ca=str(ca.cert),
                                                                         client_crl=str(crl))) as weir:
            for version in (V12, V13):
                def context(client_pair=None):
                    return certs.client_context(pair=client_pair, minimum=version, maximum=version)

                with case(f"{mode}, {version.name}: a good one"), handshake(weir, context=context(good)) as client:
                    check_equal(client.ask("GET", "/x").status, 200)
                with case(f"{mode}, {version.name}: none"):
                    if mode == "required":
                        refused(weir, context=context())
                    else:
                        with handshake(weir, context=context()) as client:
                            check_equal(client.ask("GET", "/x").status, 200)
                with case(f"{mode}, {version.name}: of another CA"):
                    refused(weir, context=context(stranger))
                with case(f"{mode}, {version.name}: revoked"):
                    refused(weir, context=context(gone))
            check_equal(len(processor.requests()), 2 if mode == "required" else 4)


def test_what_is_not_tls_on_a_tls_port_is_closed():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        rows = {"plain HTTP": request("GET", "/x"), "garbage": b"\xff" * 100, "SSLv2": b"\x80\x2e\x01\x00\x02" + b"\x00" * 44,
                "an empty record": b"\x16\x03\x01\x00\x00", "a huge record": b"\x16\x03\x01\xff\xff" + b"a" * 5000}
        for name, raw in rows.items():
            with case(name), Client(weir.address) as client:
                client.send(raw)
                try:
                    rest = client.read_all()
                except Failure:
                    rest = b""
                check(not rest or rest[0] == 0x15 or rest.startswith(b"HTTP/1.1 400 "), f"{rest[:100]!r}")
        processor.check_only(0)
        with handshake(weir) as client:
            check_equal(client.ask("GET", "/x").status, 200)


def test_a_handshake_that_stalls_is_closed_in_time():
    with Processor() as processor, Weir(processor, listener={**listener(certs.server("pay.example.com")),
                                                             "timeouts": {"handshake": "200ms"}}) as weir:
        for name, part in (("nothing", b""), ("half a hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")):
            with case(name), Client(weir.address) as client:
                client.send(part)
                try:
                    client.read_all()
                except Failure as error:
                    check("reset" in str(error), str(error))
        wait_until(lambda: weir.metric("weir_clients", listener="public") == 0, what="no clients")


def test_renegotiation_is_refused():
    """s_client asks for it by 'R'; the connection must not survive with a second handshake."""
    import subprocess
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{weir.address[1]}", "-tls1_2", "-servername",
                                 "pay.example.com"], input="R\n", capture_output=True, text=True, timeout=20)
        text = result.stdout + result.stderr
        check("RENEGOTIATING" in text, text[-1000:])
        check("no renegotiation" in text or "handshake failure" in text or "write:errno" in text or ":error:" in text,
              text[-1000:])
        with handshake(weir) as client:
            check_equal(client.ask("GET", "/x").status, 200)


def test_early_data_is_not_offered():
    import subprocess
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{weir.address[1]}", "-tls1_3", "-servername",
                                 "pay.example.com", "-ign_eof"], input="GET / HTTP/1.1\r\nHost: pay.example.com\r\nConnection: close\r\n\r\n",
                                capture_output=True, text=True, timeout=20)
        check("Max Early Data: 0" in result.stdout, result.stdout[-1500:])


def test_large_bodies_and_pipelines_over_tls():
    with Processor() as processor, Weir(processor, listener={**listener(certs.server("pay.example.com")),
                                                             "limits": {"body": "16MiB"}}) as weir:
        with handshake(weir) as client:
            body = bytes(range(256)) * 20000
            processor.answer(response(200, [], body))
            check(client.ask("POST", "/x", [], body).body == body, "5 MB there and back")
            client.send(request("GET", "/x") * 50)
            for _ in range(50):
                check_equal(client.read_response().status, 200)
            client.send_slowly(request("POST", "/x", [], b"hello"))
            check_equal(client.read_response().status, 200)


def test_a_client_that_ends_without_close_notify():
    with Processor() as processor, Weir(processor, listener=listener(certs.server("pay.example.com"))) as weir:
        client = handshake(weir)
        check_equal(client.ask("GET", "/x").status, 200)
        client.socket.detach_close = True
        socket.socket(fileno=socket.dup(client.socket.fileno())).shutdown(socket.SHUT_RDWR)
        client.close()
        with handshake(weir) as other:
            check_equal(other.ask("GET", "/x").status, 200)


def test_certificates_change_with_a_reload():
    old, new = certs.server("pay.example.com"), certs.server("pay.example.com", kind="rsa")
    with Processor() as processor, Weir(processor, listener=listener(old)) as weir:
        with handshake(weir) as before:
            first = before.socket.getpeercert(True)
            listeners = [dict(weir.config["listeners"][0], tls={"certificates": [new.section()]})]
            weir.change(listeners=listeners)
            weir.reload()
            with handshake(weir) as after:
                check(after.socket.getpeercert(True) != first, "the new certificate serves")
                check_equal(after.ask("GET", "/x").status, 200)
            check_equal(before.ask("GET", "/x").status, 200, "the old connection goes on")
        with case("a key that does not fit changes nothing"):
            listeners[0]["tls"] = {"certificates": [{"cert": str(new.cert), "key": str(old.key)}]}
            weir.change(listeners=listeners)
            out = weir.reload(expected=1)
            check("key" in out, out)
            with handshake(weir) as client:
                check_equal(client.ask("GET", "/x").status, 200)


def test_certificates_are_checked_and_their_end_is_a_metric():
    pair, old = certs.server("pay.example.com"), certs.server("old.example.com", expired=True)
    with Processor() as processor, Weir(processor, listener=listener(pair)) as weir:
        value = weir.metric("weir_tls_certificate_expiry_timestamp_seconds", listener="public")
        end = ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(str(pair.cert))["notAfter"])
        check_equal(value, end)
        weir.change(listeners=[dict(weir.config["listeners"][0], tls={"certificates": [old.section()]})])
        code, out, error = weir_command("check", "-c", weir.path)
        check("expired" in out + error, out + error)


# Towards processors.

def to_processor(processor, name="processor.test", **tls):
    return {"url": f"https://{name}", "endpoints": [processor.authority], "tls": {"ca": str(certs.ca().cert), **tls},
            "timeouts": {"connect": "2s"}}


def test_a_processor_is_verified_by_chain_and_name():
    good = certs.server("processor.test")
    rows = {
        "good": (good, {}, 200),
        "another name": (certs.server("other.test"), {}, 502),
        "another CA": (certs.server("processor.test", ca=certs.other_ca()), {}, 502),
        "expired": (certs.server("processor.test", "x.test", expired=True), {}, 502),
        "not of the system's": (good, {"ca": "system"}, 502),
        "server_name instead of the url's host": (certs.server("other.test"), {"server_name": "other.test"}, 200),
        "not verified": (certs.server("processor.test", ca=certs.other_ca()), {"verify": "off"}, 200),
    }
    for name, (pair, tls, status) in rows.items():
        with case(name), Processor(tls=certs.server_context(pair)) as processor:
            with Weir(to_processor(processor, **tls)) as weir:
                answer = weir.ask("POST", "/x", [], b"x=1")
                check_equal(answer.status, status)
                if status == 502:
                    check_equal((answer.weir_reason, answer.outcome), ("processor_tls_failed", "not_sent"))
                    check_equal(processor.requests(), [])
                    check(weir.metric("weir_processor_tls_handshakes_total", processor="acme", result="failed") >= 1, "counted")


def test_a_processor_that_does_not_speak_tls():
    def plain_answer(link):
        link.read_more()
        link.send(response(400, [], b"no TLS here"))

    with Processor(on_link=plain_answer) as plain, Weir(to_processor(plain)) as weir:
        answer = weir.ask("POST", "/x", [], b"x=1")
        check_equal((answer.weir_reason, answer.outcome), ("processor_tls_failed", "not_sent"))

    def mute(link):
        threading.Event().wait(10)

    with Processor(on_link=mute) as silent, Weir({**to_processor(silent), "timeouts": {"connect": "300ms"}}) as weir:
        answer = weir.ask("POST", "/x", [], b"x=1")
        check_equal((answer.status, answer.weir_reason, answer.outcome), (504, "connect_timeout", "not_sent"))


def test_sni_and_host_towards_the_processor():
    names = []
    context = certs.server_context(certs.server("processor.test"))
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    with Processor(tls=context) as processor, Weir(to_processor(processor)) as weir:
        check_equal(weir.ask("GET", "/x").status, 200)
        check_equal((names, processor.requests()[0].header("Host")), (["processor.test"], "processor.test"))


def test_weir_shows_its_certificate():
    mine = certs.client("weir")
    context = certs.server_context(certs.server("processor.test"), client_ca=certs.ca().cert)
    with Processor(tls=context) as processor:
        with case("with"), Weir(to_processor(processor, cert=str(mine.cert), key=str(mine.key))) as weir:
            check_equal(weir.ask("GET", "/x").status, 200)
            subject = dict(part[0] for part in processor.links[0].socket.getpeercert()["subject"])
            check_equal(subject["commonName"], "weir")
        with case("without"), Weir(to_processor(processor)) as weir:
            answer = weir.ask("POST", "/x", [], b"x=1")
            check_equal(answer.status, 502)
            # With TLS 1.3 the alert comes behind our own end of the handshake: before the request, or after it.
            check(answer.weir_reason in ("processor_tls_failed", "connect_failed", "closed_before_response"),
                  answer.weir_reason)


def test_sessions_towards_a_processor_are_resumed():
    context = certs.server_context(certs.server("processor.test"), maximum=V12)
    with Processor(tls=context) as processor, Weir(to_processor(processor)) as weir:
        for _ in range(3):
            processor.answer(response(200, ["Connection: close"], b"hello"))
            check_equal(weir.ask("GET", "/x").status, 200)
        links = processor.wait_links(3)
        check_equal([link.socket.session_reused for link in links], [False, True, True])

        def handshakes(**labels):
            return weir.metric("weir_processor_tls_handshakes_total", processor="acme", **labels)

        check_equal((handshakes(result="ok", resumed="false"), handshakes(result="ok", resumed="true"),
                     handshakes(result="failed")), (1, 2, 0))


def test_files_renewed_at_their_paths_end_the_idle_links():
    """A CA that is no longer trusted must not live on in a pooled link; the same file again keeps the links."""
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        path = pathlib.Path(folder) / "ca.pem"
        path.write_text(certs.ca().cert.read_text())
        context = certs.server_context(certs.server("processor.test"))
        with Processor(tls=context) as processor, Weir(to_processor(processor, ca=str(path))) as weir:
            check_equal(weir.ask("GET", "/x").status, 200)  # a POST takes no link that was idle for a second
            weir.reload()
            check_equal(weir.ask("GET", "/x").status, 200)
            check_equal(len(processor.links), 1, "links after the same file")
            path.write_text(certs.other_ca().cert.read_text())
            weir.reload()
            check_equal(weir.ask("POST", "/x", [], b"x=1").weir_reason, "processor_tls_failed")
            check_equal(len(processor.requests()), 2)


def test_a_payment_through_tls_on_both_sides():
    pair = certs.server("processor.test")
    with Sandbox(name="acme", cert=pair.cert, key=pair.key) as sandbox, Weir(
            to_processor(sandbox), listener=listener(certs.server("pay.example.com"))) as weir, handshake(weir) as client:
        for number in range(5):
            answer = client.ask("POST", "/v1/payments", [f"Idempotency-Key: {number}"], b'{"amount": 4200}')
            check_equal((answer.status, answer.outcome), (200, "answered"))
        check_equal([made["key"] for made in sandbox.ledger()], ["0", "1", "2", "3", "4"])
        check_equal([seen["reused"] for seen in sandbox.requests()], [False, True, True, True, True])
