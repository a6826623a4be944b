"""A processor that ends idle connections just when the next payments come.

Who sends on a connection that is being ended at the other side loses the
request, and nobody knows whether it was executed. So weir learns for how long a
link may be idle, and takes none that is older: of a hundred thousand payments
without a key at most one may be lost, and none may be sent twice.
"""

from harness import check, check_equal, deadline
from harness.peers import QUICK, QUIET, WIDE, WIDE_LISTENER, Crowd, check_books
from harness.weir import Weir, merged


# A crowd that comes at once takes a sanitized weir a while, and what it has not come to yet it cannot know: so there are
# several processors, each with a crowd and a beat of its own.
PROCESSORS = 8
ACME = merged(WIDE, {"breaker": {"min_requests": 20}})  # as it is by default


def check_race(books, what, lost_max):
    books.print(what)
    check_books(books)
    for row in books.rows:
        check(row.begun <= 1, f"sent twice: {row}")
    lost = books.total() - books.count(status=200, outcome="answered", body="own")
    print(f"  {lost} of {books.total()} were lost")
    check(lost <= lost_max, f"{lost} of {books.total()} payments were lost, at most {lost_max} may be:\n"
                            + "\n".join(map(str, books.rows)))


def race(requests, callers, keep_alive_ms, hint_s=None):
    crowd = Crowd(PROCESSORS)
    sections = crowd.sections(**ACME)
    for route in sections["routes"]:
        route["class"] = "payment"  # never shed: a crowd that comes at once is standing delay
    with Weir(listener=WIDE_LISTENER, logging=QUIET, **sections) as weir:
        return crowd.pay(weir, requests, callers, keep_alive_ms=keep_alive_ms, every_ms=keep_alive_ms, hint_s=hint_s)


@deadline(150)
def test_a_keep_alive_as_long_as_the_time_between_payments():
    # A quarter of the time is weir's margin: on a slow machine it has to be longer than the machine stands still.
    requests, callers, every_ms = (4_000, 320, 400) if QUICK else (80_000, 1280, 800)
    books = race(requests, callers, every_ms)
    check(books.ended_idle > 0, "the processors ended no idle link: there was no race")
    check_race(books, f"keep-alive {every_ms} ms, a payment of each of {callers} callers as often", 1)


@deadline(150)
def test_a_keep_alive_that_the_processor_tells():
    """Keep-Alive: timeout=1, and it means it."""
    books = race(2_000 if QUICK else 20_000, 640, 1000, hint_s=1)
    check_race(books, "keep-alive 1 s, told; a payment of each of 640 callers every second", 0)
