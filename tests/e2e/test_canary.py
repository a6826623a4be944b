"""Card numbers, credentials and keys that are sent in thousands of ways, and looked for in all that weir writes: logs,
metrics, admin answers, Redis' dump and append only file, the embedded store's files."""

import base64
import json
import os
import random
import re
import signal
import threading

from harness import case, check, check_equal, deadline, wait_until
from harness.http import Closed, request
from harness.payments import on_each_store, paying
from harness.processor import Processor, response

REQUESTS = 2000 if os.environ.get("QUICK") == "1" else 10000
WORKERS = 4
DIGITS = re.compile(rb"\d(?:[ -]?\d){12,18}")


def luhn_digit(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


class Canaries:
    """Everything that may be found nowhere. One mark is in each credential and key; card numbers are kept one by one."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.mark = f"canary{self.random.getrandbits(64):016x}"
        self.cards = set()

    def card(self):
        length = self.random.choice((13, 15, 16, 16, 16, 19))
        digits = self.random.choice(("4", "51", "37", "6011", "35")) + "".join(
            self.random.choice("0123456789") for _ in range(length))
        digits = digits[:length - 1]
        digits += luhn_digit(digits)
        with self.lock:
            self.cards.add(digits.encode())
        return digits

    def word(self, kind):
        return f"{kind}-{self.mark}-{self.random.getrandbits(48):012x}"

    def found_in(self, data):
        """The first canary of these bytes, in any spelling that software writes bytes in; None: there is none."""
        mark = self.mark.encode()
        spellings = [mark, mark.upper(), mark.hex().encode(), mark.hex().upper().encode()]
        spellings += [base64.b64encode(b"x" * lead + mark)[4 * (lead > 0):-4] for lead in range(3)]
        for spelling in spellings:
            at = data.find(spelling)
            if at >= 0:
                return data[max(0, at - 60):at + 80]
        for match in DIGITS.finditer(data):
            digits = re.sub(rb"[ -]", b"", match[0])
            for length in (13, 15, 16, 19):
                for start in range(len(digits) - length + 1):
                    if digits[start:start + length] in self.cards:
                        return data[max(0, match.start() - 60):match.end() + 20]
        return None


def request_with(canaries, number):
    """The bytes of one request, each with a canary wherever a caller can put one."""
    card = canaries.card()
    spelled = number % 3 and card or " ".join(card[at:at + 4] for at in range(0, len(card), 4))
    key = card if number % 10 == 9 else canaries.word("key")
    secret = canaries.word("sk_live")
    path = ("/v1/payments", f"/v1/cards/{card}", f"/v1/payments/{number}")[number % 3]
    target = path + (f"?card={card}&token={secret}" if number % 4 == 1 else "")
    headers = [f"Authorization: {'Basic ' + base64.b64encode(secret.encode()).decode() if number % 5 == 0 else 'Bearer ' + secret}",
               "Content-Type: application/json", f"Cookie: session={secret}", f"X-Card: {card}", f"X-Api-Key: {secret}",
               f"User-Agent: shop/1 {spelled}", f"X-Request-Id: {card}" if number % 7 == 0 else f"X-Request-Id: r{number}"]
    if number % 11 == 0:
        key = f'"{key}"'
    if number % 13 == 0:
        key += " malformed"
    headers.append(f"Idempotency-Key: {key}")
    if number % 17 == 0:
        headers.append(f"Idempotency-Key: {key}2")
    if number % 19 == 0:
        headers.append(f"X Bad: {secret}")
    body = json.dumps({"number": spelled, "cvc": "123", "secret": secret, "key": key}).encode()
    method = ("POST", "POST", "POST", "PATCH", "PUT", "GET")[number % 6]
    return request(method, target, headers, None if method == "GET" else body, host=f"{secret}.example" if number % 23 == 0
                   else "pay.example.com"), key, headers


def echo(link, got):
    """What came comes back: a stored answer is full of canaries, too. Some break off, some are refused."""
    number = int.from_bytes(got.body[-4:], "big") if got.body else 0
    if number % 41 == 0:
        link.reset()
    elif number % 43 == 0:
        link.send(response(503, [], got.body, "X"))
    elif number % 47 == 0:
        link.send(b"HTTP/1.1 200 OK\r\nBroken head " + got.body[:200] + b"\r\n\r\n")
    else:
        link.send(response(402 if number % 3 == 0 else 200, ["Content-Type: application/json", f"Location: {got.target}",
                                                             f"X-Kept-Key: {got.header('Idempotency-Key')}"], got.body, "X"))


def work(weir, canaries, numbers, told):
    client = None
    for number in numbers:
        raw, key, headers = request_with(canaries, number)
        repeats = [raw, raw] if number % 3 == 0 else [raw]
        if number % 29 == 0:
            repeats.append(request("GET", "/.well-known/weir/outcome", [headers[0], f"Idempotency-Key: {key}"]))
        if number % 31 == 0:
            repeats.append(raw.replace(b'"cvc": "123"', b'"cvc": "124"'))
        for one in repeats:
            try:
                client = client or weir.client()
                client.send(one)
                answer = client.read_response()
                told[answer.outcome] = told.get(answer.outcome, 0) + 1
                again = answer.header("Connection") != "close"
            except (Closed, OSError):
                again = False
            if not again:
                client.close()
                client = None


def admin_answers(weir):
    texts = {}
    for words in (("status",), ("processors",), ("idempotency", "list"), ("idempotency", "list", "--unknown")):
        for more in ((), ("--json",)):
            _, out, error = weir.verb(*words, *more, timeout_s=60)
            texts[" ".join(words + more)] = out + error
    records = [line["weir.record"] for line in weir.access_lines() if "weir.record" in line]
    for record in records[:20]:
        _, out, error = weir.verb("idempotency", "show", record, "--json")
        texts[f"show {record}"] = out + error
    return texts


@on_each_store
@deadline(300)  # below, so that it holds for each
def test_what_callers_send_is_written_nowhere(store):
    canaries = Canaries(seed=20260101)
    with Processor() as processor, paying(store, processor, acme={"timeouts": {"response": "9s"}},
                                          sections={"logging": {"events": {"level": "debug"}}}) as weir:
        processor.answer_always(echo)
        told = {}
        threads = [threading.Thread(target=work, args=(weir, canaries, range(worker, REQUESTS, WORKERS), told))
                   for worker in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(280)
            check(not thread.is_alive(), "still at work")
        with case("it was sent in every way"):
            check_equal(set(told), {"answered", "replayed", "unknown", "not_sent"})
            check(sum(told.values()) > REQUESTS, f"{told}")
            check(canaries.found_in(processor.received()[-100000:]) is not None, "the search finds nothing at all")
            check(canaries.found_in(b"x " + canaries.word("key").encode().hex().encode()) is not None, "hex")
            check(canaries.found_in(base64.b64encode(b"ab" + canaries.word("key").encode())) is not None, "base64")
        weir.wait_metric("weir_store_unsettled", 0, timeout_s=30)
        wait_until(lambda: len(weir.access_lines()) >= sum(told.values()), 30, "all access lines")
        texts = {"the access log": "\n".join(weir.stdout.snapshot()), "the events log": "\n".join(weir.stderr.snapshot()),
                 "the metrics": weir.ask_monitor("/metrics").body.decode(), **admin_answers(weir)}
        weir.signal(signal.SIGUSR2)  # its state, to the events log
        for what, text in texts.items():
            with case(what):
                check(text, "empty")
                found = canaries.found_in(text.encode())
                check(found is None, f"{found}")
    texts = {"the events log at its end": "\n".join(weir.stderr.snapshot()).encode()}
    if store.kind == "redis":
        store.redis.command("SAVE")
        store.redis.command("BGREWRITEAOF")
        wait_until(lambda: store.redis.info("aof_rewrite_in_progress") == "0", 30, "the end of the rewrite")
        texts["names in redis"] = "\n".join(store.redis.keys()).encode()
        texts["the slow log"] = json.dumps(store.redis.command("SLOWLOG", "GET", 1000)).encode()
        files = store.redis.files()
        check(any(path.endswith(".rdb") for path in files) and any("aof" in path for path in files), f"{list(files)}")
    else:
        files = store.bytes()
    check(sum(map(len, files.values())) > REQUESTS * 50, f"the store is too small: {[(p, len(b)) for p, b in files.items()]}")
    for what, data in {**texts, **files}.items():
        with case(os.path.basename(what)):
            found = canaries.found_in(data)
            check(found is None, f"{found}")
