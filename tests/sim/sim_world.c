/*
 * The world itself: random numbers from one seed, the clock that only events
 * move, the queue of events, and how a failure is told. The functions of
 * base/clock.h and base/digest.h are here, since both would let the real world
 * in.
 */
#include "sim.h"

#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

struct sim sim;

/* ---- random numbers ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t sim_random(void)
{
    uint64_t z = sim.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_below(uint64_t n)
{
    return n == 0 ? 0 : sim_random() % n;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    return low + sim_below(high - low + 1);
}

bool sim_chance(unsigned pct)
{
    return sim_below(100) < pct;
}

bool sim_one_in(unsigned n)
{
    return n > 0 && sim_below(n) == 0;
}

uint64_t sim_skewed(uint64_t high)
{
    uint64_t bound = sim_chance(70) ? high / 64 : sim_chance(60) ? high / 8 : high;
    return sim_below(bound + 1);
}

/* ---- events: a binary heap ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->order < b->order);
}

static void put(size_t place, struct sim_event *event)
{
    sim.heap[place - 1] = event;
    event->place = place;
}

static void sift_up(struct sim_event *event)
{
    while (event->place > 1 && is_before(event, sim.heap[event->place / 2 - 1])) {
        size_t place = event->place;
        put(place, sim.heap[place / 2 - 1]);
        put(place / 2, event);
    }
}

static void sift_down(struct sim_event *event)
{
    for (;;) {
        size_t place = event->place;
        size_t child = place * 2;
        if (child > sim.heap_len) {
            return;
        }
        if (child < sim.heap_len && is_before(sim.heap[child], sim.heap[child - 1])) {
            child++;
        }
        if (!is_before(sim.heap[child - 1], event)) {
            return;
        }
        put(place, sim.heap[child - 1]);
        put(child, event);
    }
}

void sim_cancel(struct sim_event *event)
{
    size_t place = event->place;
    if (place == 0) {
        return;
    }
    struct sim_event *last = sim.heap[--sim.heap_len];
    event->place = 0;
    if (last != event) {
        put(place, last);
        sift_up(last);
        sift_down(last);
    }
}

void sim_at(struct sim_event *event, uint64_t due_us)
{
    sim_cancel(event);
    if (sim.heap_len == sim.heap_size) {
        sim.heap_size = sim.heap_size == 0 ? 256 : sim.heap_size * 2;
        sim.heap = realloc(sim.heap, sim.heap_size * sizeof(struct sim_event *));
        CHECK(sim.heap != NULL);
    }
    event->due_us = due_us;
    event->order = sim_random() >> 8;
    sim.heap_len++;
    put(sim.heap_len, event);
    sift_up(event);
}

void sim_after(struct sim_event *event, uint64_t delay_us)
{
    sim_at(event, sim.now_us + delay_us);
}

void sim_cancel_all(void)
{
    for (size_t i = 0; i < sim.heap_len; i++) {
        sim.heap[i]->place = 0;
    }
    sim.heap_len = 0;
}

struct sim_event *sim_next(void)
{
    return sim.heap_len == 0 ? NULL : sim.heap[0];
}

/* ---- begin and end ---- */

void sim_world_begin(uint64_t seed)
{
    struct sim next = {
        .seed = seed,
        .random = seed,
        .now_us = 1000 * SIM_S,
        .hash = UINT64_C(0xcbf29ce484222325),
        .trace = sim.trace,
        .busy = true,
        .program = sim.program,
        .money = sim.money,
        .sick = sim.sick,
        .pair = sim.pair,
        .shadow = sim.shadow,
        .exchanges_per_run = sim.exchanges_per_run,
        .heap = sim.heap,
        .heap_size = sim.heap_size,
        .counts = sim.counts,
    };
    memcpy(next.secret_path, sim.secret_path, sizeof next.secret_path);
    memcpy(next.tenants_path, sim.tenants_path, sizeof next.tenants_path);
    sim = next;
    list_init(&sim.streams);
    list_init(&sim.streams_past);
    list_init(&sim.acceptors);
    blocks_init(&sim.blocks, 0, 64);
}

void sim_world_end(void)
{
    for (size_t i = 0; i < sim.case_count; i++) {
        free(sim.cases[i]);
    }
    free(sim.cases);
    blocks_close(&sim.blocks);
    sim.busy = false;
}

/* ---- bytes ---- */

static void make_room(struct sim_bytes *bytes, size_t len)
{
    if (bytes->from > 0 && bytes->to + len > bytes->size) {
        memmove(bytes->at, bytes->at + bytes->from, bytes->to - bytes->from);
        bytes->to -= bytes->from;
        bytes->from = 0;
    }
    if (bytes->to + len > bytes->size) {
        bytes->size = (bytes->to + len) * 2;
        bytes->at = realloc(bytes->at, bytes->size);
        CHECK(bytes->at != NULL);
    }
}

void sim_bytes_add(struct sim_bytes *bytes, struct bytes more)
{
    if (more.len > 0) {
        make_room(bytes, more.len);
        memcpy(bytes->at + bytes->to, more.at, more.len);
        bytes->to += more.len;
    }
}

void sim_bytes_text(struct sim_bytes *bytes, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    CHECK(len >= 0 && (size_t)len < sizeof text);
    sim_bytes_add(bytes, bytes_of(text, (size_t)len));
}

void sim_bytes_drop(struct sim_bytes *bytes, size_t len)
{
    CHECK(len <= bytes->to - bytes->from);
    bytes->from += len;
    if (bytes->from == bytes->to) {
        bytes->from = bytes->to = 0;
    }
}

void sim_bytes_cut(struct sim_bytes *bytes, size_t len)
{
    if (len < sim_bytes_len(bytes)) {
        bytes->to = bytes->from + len;
    }
}

void sim_bytes_free(struct sim_bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct sim_bytes){0};
}

static size_t pattern_word(char word[32], char kind, uint64_t nonce)
{
    return (size_t)snprintf(word, 32, "%c%" PRIu64 ".", kind, nonce);
}

void sim_pattern(struct sim_bytes *bytes, char kind, uint64_t nonce, uint64_t offset, uint64_t count)
{
    char word[32];
    size_t len = pattern_word(word, kind, nonce);
    make_room(bytes, count);
    for (uint64_t i = 0; i < count; i++) {
        bytes->at[bytes->to++] = word[(offset + i) % len];
    }
}

bool sim_pattern_is(struct bytes bytes, char kind, uint64_t nonce, uint64_t offset)
{
    char word[32];
    size_t len = pattern_word(word, kind, nonce);
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.at[i] != word[(offset + i) % len]) {
            return false;
        }
    }
    return true;
}

/* ---- what is told ---- */

static void hash_in(const void *at, size_t len)
{
    const unsigned char *byte = at;
    for (size_t i = 0; i < len; i++) {
        sim.hash = (sim.hash ^ byte[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    }
}

void sim_note(const char *what, uint64_t id, uint64_t a, uint64_t b)
{
    uint64_t numbers[4] = {sim.now_us, id, a, b};
    hash_in(what, strlen(what));
    hash_in(numbers, sizeof numbers);
    if (sim.trace) {
        fprintf(stderr, "%10" PRIu64 ".%03" PRIu64 " %-18s %4" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                (sim.now_us - 1000 * SIM_S) / 1000, sim.now_us % 1000, what, id, a, b);
    }
}

void sim_note_text(const char *what, struct bytes text)
{
    hash_in(text.at, text.len);
    if (sim.trace) {
        fprintf(stderr, "%10" PRIu64 ".%03" PRIu64 " %-18s %.*s\n", (sim.now_us - 1000 * SIM_S) / 1000,
                sim.now_us % 1000, what, BYTES_ARG(text));
    }
}

void sim_violated(const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "violated: %s\n  seed %" PRIu64 ", step %" PRIu64 ", at %" PRIu64 " us\n", text, sim.seed, sim.step,
            sim.now_us - 1000 * SIM_S);
    sim.busy = false;
    exit(1); /* sim_main's atexit says how to replay it, and the counts */
}

/* ---- base/clock.h ---- */

uint64_t clock_now_us(void)
{
    return sim.now_us;
}

uint64_t clock_wall_us(void)
{
    return sim.now_us + UINT64_C(1700000000) * SIM_S;
}

/* ---- base/digest.h ---- */

void digest_random(void *at, size_t len)
{
    char *byte = at;
    for (size_t i = 0; i < len; i++) {
        byte[i] = (char)sim_random();
    }
}

void digest_sha256(struct bytes data, uint8_t out[DIGEST_BYTES])
{
    (void)SHA256((const unsigned char *)data.at, data.len, out);
}

void digest_hmac_sha256(struct bytes key, struct bytes data, uint8_t out[DIGEST_BYTES])
{
    CHECK(HMAC(EVP_sha256(), key.at, (int)key.len, (const unsigned char *)data.at, data.len, out, NULL) != NULL);
}

void digest_hex(const void *data, size_t len, char *text)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", byte[i]);
    }
}

void digest_request_id(char text[REQUEST_ID_BYTES + 1])
{
    (void)snprintf(text, REQUEST_ID_BYTES + 1, "%016" PRIx64 "%016" PRIx64, sim.seed, ++sim.event_count);
}
