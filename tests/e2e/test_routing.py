"""Which request goes to which processor, on the bytes as sent; the dry run says the same."""

from harness import case, check, check_equal
from harness.processor import Processor
from harness.weir import Weir, weir_command

ROUTES = [
    {"name": "exact", "match": {"path": "/v1/payments"}, "to": "a"},
    {"name": "post-exact", "match": {"method": "POST", "path": "/v2/payments"}, "to": "a"},
    {"name": "prefix", "match": {"path": "/v1/*"}, "to": "b"},
    {"name": "host", "match": {"host": "pay.example.com", "path": "/only"}, "to": "a"},
    {"name": "host-and-method", "match": {"host": "api.example.com", "method": "PUT"}, "to": "a"},
    {"name": "other-method", "match": {"method": "DELETE", "path": "/v2/*"}, "to": "b"},
]

# method, host, target, route (None: 404)
ROWS = [
    ("GET", "x.example", "/v1/payments", "exact"),
    ("GET", "x.example", "/v1/payments?a=b", "exact"),
    ("GET", "x.example", "/v1/payments/", "prefix"),
    ("GET", "x.example", "/v1/payments/1", "prefix"),
    ("GET", "x.example", "/v1/", "prefix"),
    ("GET", "x.example", "/v1", None),
    ("GET", "x.example", "/v1x", None),
    ("GET", "x.example", "/V1/payments", None),
    ("GET", "x.example", "/v%31/payments", None),
    ("GET", "x.example", "/v1/paymentS", "prefix"),
    ("POST", "x.example", "/v2/payments", "post-exact"),
    ("GET", "x.example", "/v2/payments", None),
    ("DELETE", "x.example", "/v2/payments", "other-method"),
    ("GET", "pay.example.com", "/only", "host"),
    ("GET", "PAY.example.COM", "/only", "host"),
    ("GET", "pay.example.com:8443", "/only", "host"),
    ("GET", "pay.example.org", "/only", None),
    ("GET", "xpay.example.com", "/only", None),
    ("PUT", "api.example.com", "/anything", "host-and-method"),
    ("PUT", "pay.example.com", "/anything", None),
    ("GET", "x.example", "/", None),
    ("GET", "x.example", "/?/v1/payments", None),
]


def test_the_first_route_that_matches_takes_the_request():
    with Processor() as a, Processor() as b:
        with Weir(routes=ROUTES, processors={"a": {"url": a.url}, "b": {"url": b.url}}) as weir:
            for number, (method, host, target, route) in enumerate(ROWS):
                with case(f"{method} {host}{target}"):
                    answer = weir.ask(method, target, [], b"" if method in ("POST", "PUT") else None, host=host)
                    line = weir.next_access(number)
                    if route is None:
                        check_equal((answer.status, answer.weir_reason, answer.outcome), (404, "no_route", "not_sent"))
                        check_equal(line.get("weir.route"), None)
                        continue
                    check_equal(answer.status, 200)
                    to = next(row["to"] for row in ROUTES if row["name"] == route)
                    check_equal((line["weir.route"], line["weir.processor"]), (route, to))
                    got = (a if to == "a" else b).requests()[-1]
                    check_equal((got.method, got.target), (method, target))
            with case("the dry run agrees"):
                for method, host, target, route in ROWS:
                    code, out, error = weir_command("route", "-c", weir.path, method, f"http://{host}{target}")
                    check_equal(code, 0 if route else 1, f"{method} {host}{target}: {out}{error}")
                    if route:
                        check(route in out, f"{method} {host}{target}: {out}")


def test_a_route_without_a_match_takes_everything():
    with Processor() as processor, Weir(processor, routes=[{"name": "all", "to": "acme"}]) as weir:
        for method, target in (("GET", "/"), ("POST", "/v1/x"), ("OPTIONS", "*"), ("DELETE", "/a/b/c")):
            with case(f"{method} {target}"):
                check_equal(weir.ask(method, target, [], b"x" if method == "POST" else None).status, 200)


def test_no_route_keeps_the_connection_or_says_that_it_does_not():
    """A wrong path is not a framing fault: the next request may be right."""
    with Processor() as processor, Weir(processor, routes=[{"name": "pay", "match": {"path": "/pay"}, "to": "acme"}]) as weir:
        with case("without a body it stays"), weir.client() as client:
            for _ in range(3):
                check_equal(client.ask("GET", "/wrong").status, 404)
                check_equal(client.ask("GET", "/pay").status, 200)
        with case("with a body that is not read it says close"), weir.client() as client:
            answer = client.ask("POST", "/wrong", [], b"hello")
            check_equal(answer.status, 404)
            if answer.header("Connection") == "close":
                client.check_closed()
            else:
                check_equal(client.ask("POST", "/pay", [], b"hello").status, 200)
