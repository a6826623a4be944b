/*
 * What is asked: requests of every kind, right ones and those that must be
 * refused, each with a nonce of its own in its path and body. Writes bytes and
 * decides nothing about when they are sent.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- cases ---- */

struct sim_case *sim_case_new(void)
{
    struct sim_case *about = calloc(1, sizeof *about);
    if (sim.case_count == sim.case_size) {
        sim.case_size = sim.case_size * 2 + 64;
        sim.cases = realloc(sim.cases, sim.case_size * sizeof(struct sim_case *));
    }
    CHECK(about != NULL && sim.cases != NULL);
    sim.cases[sim.case_count++] = about;
    about->nonce = sim.case_count;
    about->body = about->nonce;
    return about;
}

struct sim_case *sim_case_of(uint64_t nonce)
{
    return nonce >= 1 && nonce <= sim.case_count ? sim.cases[nonce - 1] : NULL;
}

uint64_t sim_nonce_in(struct bytes text)
{
    size_t at = bytes_find_text(text, BYTES("/n"));
    uint64_t nonce = 0;
    size_t len = 0;
    struct bytes digits = at == SIZE_MAX ? BYTES_NONE : bytes_skip(text, at + 2);
    while (len < digits.len && digits.at[len] >= '0' && digits.at[len] <= '9') {
        len++;
    }
    return bytes_to_u64(bytes_take(digits, len), &nonce) ? nonce : 0;
}

uint64_t sim_nonce_of(const struct http_head *head)
{
    const struct http_field *given = http_head_find_name(head, BYTES("x-request-id"));
    uint64_t nonce = sim_nonce_in(head->target);
    return nonce == 0 && given != NULL ? sim_nonce_in(given->value) : nonce;
}

enum reason sim_kind_reason(enum sim_kind kind)
{
    static const enum reason reasons[KIND_COUNT] = {
        [KIND_VALID] = REASON_OK,
        [KIND_NO_ROUTE] = REASON_NO_ROUTE,
        [KIND_BAD_FIELD] = REASON_BAD_REQUEST,
        [KIND_TRACE] = REASON_METHOD_NOT_ALLOWED,
        [KIND_CODING] = REASON_NOT_IMPLEMENTED,
        [KIND_VERSION] = REASON_VERSION_UNSUPPORTED,
        [KIND_LONG_TARGET] = REASON_URI_TOO_LONG,
        [KIND_LARGE_HEAD] = REASON_HEADER_TOO_LARGE,
        [KIND_EXPECTATION] = REASON_EXPECTATION_FAILED,
        [KIND_LARGE_LENGTH] = REASON_BODY_TOO_LARGE,
        [KIND_LARGE_CHUNKS] = REASON_BODY_TOO_LARGE,
        [KIND_BAD_CHUNK] = REASON_BAD_REQUEST,
        [KIND_CUT] = REASON_REQUEST_TIMEOUT,
    };
    return reasons[kind];
}

/* ---- what it is ---- */

static void choose_kind(struct sim_case *about, bool last)
{
    /* What breaks a connection can only be the last on it. */
    about->kind = last && sim_chance(sim.weather.odd_request) ? (enum sim_kind)sim_below(KIND_COUNT) : KIND_VALID;
}

static void choose_method(struct sim_case *about)
{
    static const char *const methods[] = {"POST", "POST", "POST", "PUT", "PATCH", "GET", "GET", "HEAD", "DELETE", "OPTIONS"};
    bool wants_body = about->kind == KIND_LARGE_LENGTH || about->kind == KIND_LARGE_CHUNKS || about->kind == KIND_BAD_CHUNK;
    about->method = methods[sim_below(wants_body ? 5 : ARRAY_COUNT(methods))];
    if (about->kind == KIND_TRACE) {
        about->method = sim_chance(50) ? "TRACE" : "CONNECT";
    }
    about->safe = about->method[0] == 'G' || about->method[0] == 'H' || about->method[0] == 'O' || about->method[0] == 'T';
    about->keyed = sim_chance(50);
}

static void choose_body(struct sim_case *about)
{
    bool may = about->method[0] == 'P' && (about->kind == KIND_VALID || about->kind == KIND_CUT || about->kind == KIND_NO_ROUTE);
    if (may && !sim_chance(15)) {
        about->body_len = sim_chance(85) ? sim_below(800) : sim_below((uint64_t)sim.body_max + 1);
        about->body_len = about->body_len > sim.body_max ? sim.body_max : about->body_len;
        about->chunked = sim_chance(30);
    }
    about->expects = about->body_len > 0 && sim_chance(10);
}

/* ---- what it looks like ---- */

static void write_target(const struct sim_case *about, struct sim_bytes *out)
{
    if (about->kind == KIND_NO_ROUTE) {
        sim_bytes_text(out, "/none/n%" PRIu64, about->nonce);
    } else {
        sim_bytes_text(out, "/r%d/n%" PRIu64 "%s", about->route, about->nonce, sim_chance(30) ? "?page[]=1" : "");
    }
    if (about->kind == KIND_LONG_TARGET) {
        sim_pattern(out, 'q', about->nonce, 0, sim.header_max + 10);
    }
}

static void write_odd_fields(const struct sim_case *about, struct sim_bytes *out)
{
    static const char *const bad[] = {"Bad : 1\r\n",         " folded: 1\r\n",           "A: 1\nB: 2\r\n", "Host: other\r\n",
                                      "Content-Length: 1a\r\n", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                                      "A: \x01\r\n"};
    switch (about->kind) {
    case KIND_BAD_FIELD:
        sim_bytes_text(out, "%s", bad[sim_below(ARRAY_COUNT(bad))]);
        break;
    case KIND_CODING:
        sim_bytes_text(out, "Transfer-Encoding: gzip\r\n");
        break;
    case KIND_EXPECTATION:
        sim_bytes_text(out, "Expect: 200-ok\r\n");
        break;
    case KIND_LARGE_HEAD:
        for (unsigned done = 0; done < sim.header_max + 40; done += 40) {
            sim_bytes_text(out, "X-Filler: %028u\r\n", done);
        }
        break;
    case KIND_LARGE_LENGTH:
        sim_bytes_text(out, "Content-Length: %u\r\n", sim.body_max + 1 + (unsigned)sim_below(100));
        break;
    case KIND_LARGE_CHUNKS:
    case KIND_BAD_CHUNK:
        sim_bytes_text(out, "Transfer-Encoding: chunked\r\n");
        break;
    default:
        break;
    }
}

static void write_head(struct sim_case *about, struct sim_bytes *out)
{
    sim_bytes_text(out, "%s ", about->method);
    write_target(about, out);
    sim_bytes_text(out, " HTTP/%s\r\nHost: pay.example.com\r\n", about->kind == KIND_VERSION ? "2.0" : "1.1");
    if (about->keyed) {
        sim_bytes_text(out, "Idempotency-Key: key%s%" PRIu64 "\r\n", sim_chance(2) ? " " : "-", about->nonce);
    }
    if (about->tenant != 0) {
        sim_write_credential(about->tenant - 1, out);
    }
    if (about->merchant != 0) {
        sim_bytes_text(out, "X-Merchant: m%d\r\n", about->merchant);
    }
    if (about->close) {
        sim_bytes_text(out, "Connection: close\r\n");
    }
    if (about->expects) {
        sim_bytes_text(out, "Expect: 100-continue\r\n");
    }
    if (sim_chance(10)) {
        sim_bytes_text(out, "Weir-Outcome: answered\r\nX-Forwarded-For: 9.9.9.9\r\n");
    }
    write_odd_fields(about, out);
    if (about->chunked) {
        sim_bytes_text(out, "Transfer-Encoding: chunked\r\n");
    } else if (about->body_len > 0 || (about->kind == KIND_VALID && sim_chance(30))) {
        sim_bytes_text(out, "Content-Length: %" PRIu64 "\r\n", about->body_len);
    }
    sim_bytes_text(out, "\r\n");
}

static void write_chunks(const struct sim_case *about, struct sim_bytes *out, uint64_t len)
{
    for (uint64_t done = 0; done < len;) {
        uint64_t some = sim_between(1, len - done);
        sim_bytes_text(out, "%" PRIx64 "%s\r\n", some, sim_chance(5) ? ";ext=1" : "");
        sim_pattern(out, 'b', about->nonce, done, some);
        sim_bytes_text(out, "\r\n");
        done += some;
    }
}

static void write_body(const struct sim_case *about, struct sim_bytes *out)
{
    switch (about->kind) {
    case KIND_LARGE_LENGTH:
        sim_pattern(out, 'b', about->nonce, 0, sim_below(2000));
        break;
    case KIND_LARGE_CHUNKS:
        write_chunks(about, out, sim.body_max + 10);
        sim_bytes_text(out, "0\r\n\r\n");
        break;
    case KIND_BAD_CHUNK:
        write_chunks(about, out, sim_below(sim.body_max < 2000 ? sim.body_max : 2000));
        sim_bytes_text(out, "zz\r\n");
        break;
    default:
        if (about->chunked) {
            write_chunks(about, out, about->body_len);
            sim_bytes_text(out, "0\r\n\r\n");
        } else {
            sim_pattern(out, 'b', about->nonce, 0, about->body_len);
        }
        break;
    }
}

void sim_request_make(struct sim_case *about, struct sim_bytes *out, bool last)
{
    size_t before = sim_bytes_len(out);
    choose_kind(about, last);
    choose_method(about);
    choose_body(about);
    about->route = (int)sim_below(SIM_ROUTES_MAX);
    about->close = last && sim_chance(15);
    if (sim.weather.limits) { /* nobody is known in a wire run */
        about->tenant = sim_chance(50) ? (int)sim_between(SIM_KNOWN_TENANTS + 1, SIM_TENANTS_MAX) : 0;
        about->merchant = (int)sim_below(SIM_MERCHANTS_MAX + 1);
    }
    write_head(about, out);
    about->head_len = sim_bytes_len(out) - before;
    write_body(about, out);
    if (about->kind == KIND_CUT) {
        sim_bytes_cut(out, before + (size_t)sim_between(1, sim_bytes_len(out) - before - 1));
    }
    sim_note("ask", about->nonce, about->kind, about->body_len);
}
