"""A processor's name that comes to mean other addresses, and name servers that fail: weir asks every ten seconds or so."""

import threading
import time

from harness import case, check, check_equal, deadline, wait_until
from harness.http import request
from harness.names import Names
from harness.ports import free_port
from harness.processor import Hold, Processor, default_answer, response
from harness.weir import Weir

NAME = "acme.test"
ONE, TWO, THREE = "127.0.1.2", "127.0.1.3", "127.0.1.4"
SLOW_DNS_S = 60.0  # for one change to be seen, on a slow machine


class Paying:
    """A few callers, one request after another each, until it is left. What they were told is in `told`."""

    def __init__(self, weir, callers=4, method="POST"):
        self.weir, self.method = weir, method
        self.told = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(callers)]

    def _run(self):
        with self.weir.client(timeout_s=30) as client:
            while not self.ending.wait(0.01):
                answer = client.ask(self.method, "/x", [], b"x=1")
                self.told.append((answer.status, answer.weir_reason))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def weir_of(names, port, **acme):
    return Weir({"url": f"http://{NAME}:{port}", **acme}, wrap=names.wrap)


def slowly(link, got):
    time.sleep(0.02)
    default_answer(link, got)


def share_of(part, before, *all_of):
    """Of the requests that came since `before`, in percent."""
    came = [len(processor.requests()) - have for processor, have in zip(all_of, before)]
    return 100 * came[all_of.index(part)] / max(1, sum(came))


@deadline(150)
def test_an_address_is_added_slowly_and_one_that_goes_drains():
    port = free_port()
    with Names({NAME: [ONE]}) as names, Processor(host=ONE, port=port) as one, Processor(host=TWO, port=port) as two, \
            weir_of(names, port) as weir, Paying(weir) as paying:
        one.answer_always(slowly)  # what is new answers sooner, and is still not to be flooded
        one.wait_requests(10)
        names.set(NAME, [ONE, TWO])
        with case("what is added starts slowly"):
            two.wait_requests(1, SLOW_DNS_S)
            before = [len(one.requests()), len(two.requests())]
            wait_until(lambda: len(one.requests()) + len(two.requests()) - sum(before) >= 60, 30, "sixty more")
            share = share_of(two, before, one, two)
            print(f"the share of what was added, of its first sixty requests: {share:.0f} %")
            check(share < 30, f"{share:.0f} % of the first requests went to an address that is new")

            def has_its_share():
                before = [len(one.requests()), len(two.requests())]
                wait_until(lambda: len(one.requests()) + len(two.requests()) - sum(before) >= 60, 30, "sixty more")
                return share_of(two, before, one, two) > 35
            wait_until(has_its_share, 60, "its full share")
        with case("what is removed drains"):
            hold = Hold()
            one.answer(hold)
            with weir.client(timeout_s=60) as client:
                # Until the one that is held is at `one`: the other callers may take the answer, too.
                client.send(request("POST", "/held", [], b"x=1"))
                hold.wait(30)
                names.set(NAME, [TWO])

                def idle_links_are_gone():
                    return sum(link.ended is None and not link.closed for link in one.links) <= 1
                wait_until(idle_links_are_gone, SLOW_DNS_S, "the end of the idle links to what was removed")
                gone = len(one.requests())
                before = len(two.requests())
                wait_until(lambda: len(two.requests()) >= before + 50, 30, "requests elsewhere")
                check_equal(len(one.requests()), gone, "requests at an address that is not the name's any more")
                hold.release()
                check_equal(client.read_response().status, 200, "what was under way when it was removed")
            wait_until(lambda: all(link.ended or link.closed for link in one.links), 20, "the end of the last link there")
        with case("nobody noticed"):
            check_equal(set(paying.told), {(200, None)})


@deadline(100)
def test_idle_links_end_with_their_address():
    """They might stay for a minute: the processor said so."""
    port = free_port()
    kept = response(200, ["Keep-Alive: timeout=60"], b"ok")
    with Names({NAME: [ONE]}) as names, Processor(host=ONE, port=port) as one, Processor(host=TWO, port=port) as two, \
            weir_of(names, port) as weir:
        holds = [Hold(kept) for _ in range(3)]
        one.answer(*holds)
        clients = [weir.client() for _ in holds]
        for client, hold in zip(clients, holds):
            client.send(request("GET", "/x"))
            hold.wait()
        for client, hold in zip(clients, holds):
            hold.release()
            check_equal(client.read_response().status, 200)
            client.close()
        names.set(NAME, [TWO])
        weir.wait_event("endpoint_removed", endpoint=one.authority, timeout_s=SLOW_DNS_S)
        for link in one.links:
            check_equal(link.wait_end(20), "eof")
        check_equal(weir.ask("GET", "/x").status, 200)
        check_equal((len(one.requests()), len(two.requests())), (3, 1))


@deadline(150)
def test_all_addresses_change_at_once():
    port = free_port()
    with Names({NAME: [ONE, TWO]}) as names, Processor(host=ONE, port=port) as one, Processor(host=TWO, port=port) as two, \
            Processor(host=THREE, port=port) as three, weir_of(names, port) as weir, Paying(weir) as paying:
        wait_until(lambda: one.requests() and two.requests(), 20, "both at work")
        names.set(NAME, [THREE])
        three.wait_requests(100, SLOW_DNS_S)
        before = len(one.requests()) + len(two.requests())
        three.wait_requests(len(three.requests()) + 100, 30)
        check_equal(len(one.requests()) + len(two.requests()), before)
        check_equal(set(paying.told), {(200, None)})


@deadline(150)
def test_a_name_that_fails_keeps_its_addresses():
    """Whatever the name server says or does not say: what was good stays good."""
    port = free_port()
    ways = ("nxdomain", "servfail", "empty", "silent")

    def name_of(how):
        return f"{how}.test"

    def asked(names, how, count):
        return sum(name == name_of(how) for name, _ in names.asked) >= count

    with Names({name_of(how): [ONE] for how in ways}) as names, Processor(host=ONE, port=port) as one, \
            Processor(host=TWO, port=port) as two, Weir(
                processors={how: {"url": f"http://{name_of(how)}:{port}"} for how in ways},
                routes=[{"name": how, "match": {"path": f"/{how}"}, "to": how} for how in ways], wrap=names.wrap) as weir:
        for how in ways:
            wait_until(lambda: weir.ask("POST", f"/{how}", [], b"x=1").status == 200, 20, how)
        for how in ways:
            names.set(name_of(how), how)
        for how in ways:
            with case(how):
                wait_until(lambda: asked(names, how, 2), SLOW_DNS_S, f"a question for {name_of(how)}")
                for _ in range(20):
                    check_equal(weir.ask("POST", f"/{how}", [], b"x=1").status, 200)
        check_equal(two.requests(), [])
        for how in ways:
            names.set(name_of(how), [TWO])
        for how in ways:
            with case(f"{how}, and a good answer counts again"):
                def moved():
                    check_equal(weir.ask("POST", f"/{how}", [], b"x=1").status, 200)
                    return [seen for seen in two.requests() if seen.target == f"/{how}"]
                wait_until(moved, SLOW_DNS_S, "its new address")


@deadline(100)
def test_a_name_that_is_not_known_yet():
    port = free_port()
    for how in ("nxdomain", "servfail", "silent"):
        with case(how), Names({NAME: how}) as names, Processor(host=ONE, port=port) as one, \
                weir_of(names, port) as weir:
            names.wait_asked(1)
            answer = wait_until(lambda: (lambda answer: answer.weir_reason == "dns_failed" and answer)(
                weir.ask("POST", "/x", [], b"x=1")), 20, "dns_failed")
            check_equal((answer.status, answer.outcome, answer.retry), (502, "not_sent", "safe"))
            names.set(NAME, [ONE])
            wait_until(lambda: weir.ask("POST", "/x", [], b"x=1").status == 200, 20, "the name")
            check_equal(len(one.requests()), 1)
