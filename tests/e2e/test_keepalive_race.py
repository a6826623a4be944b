"""A processor that ends idle connections just when the next payments come.

Who sends on a connection that is being ended at the other side loses the
request, and nobody knows whether it was executed. So weir learns for how long a
link may be idle, and takes none that is older: of a hundred thousand payments
without a key at most one may be lost, and none may be sent twice.
"""

from harness import check, check_equal, deadline
from harness.peers import QUICK, QUIET, WIDE, WIDE_LISTENER, Crowd, check_books
from harness.weir import Weir, merged


# Of the class that is never shed: a crowd that comes at once is standing delay.
ROUTES = [{"name": "pay", "match": {"path": "/*"}, "to": "acme", "class": "payment"}]

ACME = merged(WIDE, {"breaker": {"min_requests": 20}})  # as it is by default


def check_race(books, what, lost_max):
    books.print(what)
    check_books(books)
    check(books.ended_idle > 0, "the processor ended no idle link: there was no race")
    for row in books.rows:
        check(row.begun <= 1, f"sent twice: {row}")
    lost = books.total() - books.count(status=200, outcome="answered", body="own")
    print(f"  {lost} of {books.total()} were lost")
    check(lost <= lost_max, f"{lost} of {books.total()} payments were lost, at most {lost_max} may be:\n"
                            + "\n".join(map(str, books.rows)))


@deadline(150)
def test_a_keep_alive_as_long_as_the_time_between_payments():
    requests = 8_000 if QUICK else 80_000
    crowd = Crowd()
    with Weir(crowd, acme=ACME, listener=WIDE_LISTENER, logging=QUIET, routes=ROUTES) as weir:
        books = crowd.pay(weir, requests, callers=400, keep_alive_ms=200, every_ms=200)
        check_race(books, "keep-alive 200 ms, a payment of each of 400 callers every 200 ms", 1)


@deadline(150)
def test_a_keep_alive_that_the_processor_tells():
    """Keep-Alive: timeout=1, and it means it."""
    requests = 2_000 if QUICK else 20_000
    crowd = Crowd()
    with Weir(crowd, acme=ACME, listener=WIDE_LISTENER, logging=QUIET, routes=ROUTES) as weir:
        books = crowd.pay(weir, requests, callers=1000, keep_alive_ms=1000, every_ms=1000, hint_s=1)
        check_race(books, "keep-alive 1 s, told; a payment of each of 1000 callers every second", 0)
        check_equal(books.count(outcome="not_sent"), 0)
