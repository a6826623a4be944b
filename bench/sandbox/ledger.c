/*
 * The two rings and the table of keys. An entry is one allocation, freed when
 * it is forgotten; nothing here knows HTTP beyond splitting an accepted head
 * into lines for display.
 */
#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"
#include "weir/base/json.h"
#include "weir/base/log.h"
#include "weir/base/table.h"

/* Entry n lies in slot n % max; first..next-1 are kept. Numbers count from 1. */
struct ring {
    void **slots;
    uint64_t max;
    uint64_t first;
    uint64_t next;
};

struct request_entry {
    struct bytes head; /* own, behind this struct */
    char *body;        /* own; NULL: nothing kept */
    size_t body_kept_bytes;
    uint64_t body_bytes;
    uint64_t connection;
    bool reused;
    bool complete;
    const char *malformed;
};

struct ledger {
    struct ring executions;
    struct ring requests;
    struct table *keys; /* tenant NUL key to its execution; NULL: no dedup */
    char run[9];        /* tells the ids of two sandboxes apart */
};

static bool ring_init(struct ring *ring, uint64_t max)
{
    *ring = (struct ring){.max = max, .first = 1, .next = 1};
    ring->slots = calloc(max, sizeof(*ring->slots));
    return ring->slots != NULL;
}

static void *ring_at(const struct ring *ring, uint64_t number)
{
    bool kept = number >= ring->first && number < ring->next;

    return kept ? ring->slots[number % ring->max] : NULL;
}

static bool ring_full(const struct ring *ring)
{
    return ring->next - ring->first == ring->max;
}

static uint64_t ring_push(struct ring *ring, void *entry)
{
    CHECK(!ring_full(ring));
    ring->slots[ring->next % ring->max] = entry;
    return ring->next++;
}

/* NULL when it is empty. */
static void *ring_pop(struct ring *ring)
{
    return ring->first == ring->next ? NULL : ring->slots[ring->first++ % ring->max];
}

struct ledger *ledger_open(bool dedup)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    uint32_t run;

    if (ledger == NULL) {
        return NULL;
    }
    digest_random(&run, sizeof(run));
    digest_hex(&run, sizeof(run), ledger->run);
    if (!ring_init(&ledger->executions, LEDGER_EXECUTIONS_MAX) || !ring_init(&ledger->requests, LEDGER_REQUESTS_MAX)) {
        ledger_close(ledger);
        return NULL;
    }
    if (dedup) {
        ledger->keys = table_open(LEDGER_EXECUTIONS_MAX);
        if (ledger->keys == NULL) {
            ledger_close(ledger);
            return NULL;
        }
    }
    return ledger;
}

#define SCOPED_KEY_BYTES (LEDGER_TENANT_BYTES + 1 + LEDGER_KEY_BYTES_MAX)

/* Two merchants may choose the same key: the tenant scopes it. */
static struct bytes scoped_key(const char *tenant, struct bytes key, char text[SCOPED_KEY_BYTES])
{
    size_t tenant_len = strlen(tenant) + 1;

    memcpy(text, tenant, tenant_len);
    memcpy(text + tenant_len, key.at, key.len);
    return bytes_of(text, tenant_len + key.len);
}

static void execution_forget(struct ledger *ledger, struct execution *execution)
{
    char text[SCOPED_KEY_BYTES];

    if (ledger->keys != NULL && execution->key_len > 0) {
        table_remove(ledger->keys, scoped_key(execution->tenant, bytes_of(execution->key, execution->key_len), text));
    }
    free(execution);
}

static void request_forget(struct request_entry *entry)
{
    free(entry->body);
    free(entry);
}

void ledger_reset(struct ledger *ledger)
{
    struct execution *execution;
    struct request_entry *entry;

    while ((execution = ring_pop(&ledger->executions)) != NULL) {
        execution_forget(ledger, execution);
    }
    while ((entry = ring_pop(&ledger->requests)) != NULL) {
        request_forget(entry);
    }
}

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    ledger_reset(ledger);
    if (ledger->keys != NULL) {
        table_close(ledger->keys);
    }
    free(ledger->executions.slots);
    free(ledger->requests.slots);
    free(ledger);
}

static void tenant_hash(struct bytes authorization, char tenant[LEDGER_TENANT_BYTES + 1])
{
    uint8_t digest[DIGEST_BYTES];

    tenant[0] = '\0';
    if (authorization.len > 0) {
        digest_sha256(authorization, digest);
        digest_hex(digest, LEDGER_TENANT_BYTES / 2, tenant);
    }
}

static struct execution *execution_new(struct ledger *ledger, const struct execution_order *order, const char *tenant,
                                       struct bytes key)
{
    struct execution *execution = calloc(1, sizeof(*execution) + key.len);

    if (execution == NULL) {
        return NULL;
    }
    execution->number = ledger->executions.next;
    snprintf(execution->id, sizeof(execution->id), "%s%012llx", ledger->run, (unsigned long long)execution->number);
    memcpy(execution->tenant, tenant, LEDGER_TENANT_BYTES + 1);
    bytes_to_text(order->currency, execution->currency, sizeof(execution->currency));
    execution->amount = order->amount;
    execution->at_wall_us = clock_wall_us();
    execution->intent = order->intent;
    execution->print = order->print;
    execution->busy_until_us = order->busy_ms == 0 ? 0 : clock_now_us() + order->busy_ms * CLOCK_US_PER_MS;
    execution->key_len = key.len;
    if (key.len > 0) {
        memcpy(execution->key, key.at, key.len);
    }
    return execution;
}

const struct execution *ledger_execute(struct ledger *ledger, const struct execution_order *order, bool *replayed)
{
    struct bytes key = bytes_take(order->key, LEDGER_KEY_BYTES_MAX);
    char tenant[LEDGER_TENANT_BYTES + 1] = "";
    char text[SCOPED_KEY_BYTES];
    struct execution *execution;

    *replayed = false;
    tenant_hash(order->authorization, tenant);
    if (ledger->keys != NULL && key.len > 0) {
        execution = table_find(ledger->keys, scoped_key(tenant, key, text));
        if (execution != NULL) {
            *replayed = true;
            return execution;
        }
    }
    if (ring_full(&ledger->executions)) {
        execution_forget(ledger, ring_pop(&ledger->executions));
    }
    execution = execution_new(ledger, order, tenant, key);
    if (execution == NULL) {
        return NULL;
    }
    if (ledger->keys != NULL && key.len > 0 && !table_put(ledger->keys, scoped_key(tenant, key, text), execution)) {
        free(execution);
        return NULL;
    }
    (void)ring_push(&ledger->executions, execution);
    return execution;
}

const struct execution *ledger_find(const struct ledger *ledger, struct bytes id)
{
    uint64_t number;
    const struct execution *execution;

    if (id.len != LEDGER_NUMBER_BYTES || !bytes_hex_to_u64(bytes_skip(id, strlen(ledger->run)), &number)) {
        return NULL;
    }
    execution = ring_at(&ledger->executions, number);
    return execution != NULL && bytes_equal(id, bytes_from_text(execution->id)) ? execution : NULL;
}

uint64_t ledger_note_request(struct ledger *ledger, const struct request_seen *seen)
{
    struct request_entry *entry = malloc(sizeof(*entry) + seen->head.len);

    if (entry == NULL) {
        return 0;
    }
    *entry = (struct request_entry){
        .head = bytes_of(entry + 1, seen->head.len),
        .connection = seen->connection,
        .reused = seen->reused,
        .malformed = seen->malformed,
    };
    if (seen->head.len > 0) {
        memcpy(entry + 1, seen->head.at, seen->head.len);
    }
    if (ring_full(&ledger->requests)) {
        request_forget(ring_pop(&ledger->requests));
    }
    return ring_push(&ledger->requests, entry);
}

void ledger_note_body(struct ledger *ledger, uint64_t number, struct bytes kept, uint64_t body_bytes)
{
    struct request_entry *entry = ring_at(&ledger->requests, number);

    if (entry == NULL) {
        return;
    }
    entry->complete = true;
    entry->body_bytes = body_bytes;
    kept = bytes_take(kept, LEDGER_BODY_BYTES_MAX);
    if (kept.len == 0) {
        return;
    }
    entry->body = malloc(kept.len);
    if (entry->body != NULL) {
        memcpy(entry->body, kept.at, kept.len);
        entry->body_kept_bytes = kept.len;
    }
}

void ledger_note_fault(struct ledger *ledger, uint64_t number, const char *malformed)
{
    struct request_entry *entry = ring_at(&ledger->requests, number);

    if (entry != NULL) {
        entry->malformed = malformed;
    }
}

/* A text that grows by entries: each says what it needs at most, writes, and tells what it wrote. */
struct page {
    char *at;
    size_t size;
    size_t len;
};

static bool page_reserve(struct page *page, size_t more)
{
    size_t size = page->size;
    char *at;

    if (page->size - page->len >= more) {
        return true;
    }
    while (size - page->len < more) {
        size = size == 0 ? 65536 : size * 2;
    }
    at = realloc(page->at, size);
    if (at == NULL) {
        return false;
    }
    page->at = at;
    page->size = size;
    return true;
}

/* Room for the brackets and for one entry's keys and numbers. */
#define ENTRY_TEXT_BYTES 1024
/* A byte is written as \u00XX at worst. */
#define JSON_ESCAPE_BYTES 6

static struct bytes page_fail(struct page *page)
{
    free(page->at);
    return BYTES_NONE;
}

static void print_execution(struct json *json, const struct execution *execution, const char *processor)
{
    char at[LOG_TIME_BYTES];
    char id[LEDGER_NUMBER_BYTES + 8];

    log_time_format(execution->at_wall_us, at);
    snprintf(id, sizeof(id), "%s%s", execution->intent ? "pi_" : "pay_", execution->id);
    json_object_open(json);
    json_put_text(json, "id", id);
    json_key(json, "key");
    if (execution->key_len > 0) {
        json_add_string(json, bytes_of(execution->key, execution->key_len));
    } else {
        json_add_null(json);
    }
    json_put_u64(json, "amount", execution->amount);
    json_put_text(json, "currency", execution->currency);
    json_put_text(json, "tenant", execution->tenant);
    json_put_text(json, "at", at);
    json_put_text(json, "processor", processor);
    json_object_close(json);
}

struct bytes ledger_print_executions(const struct ledger *ledger, const char *processor)
{
    const struct ring *ring = &ledger->executions;
    size_t entry_bytes = ENTRY_TEXT_BYTES + JSON_ESCAPE_BYTES * (LEDGER_KEY_BYTES_MAX + strlen(processor));
    struct page page = {0};
    struct json json;

    for (uint64_t number = ring->first; number < ring->next; number++) {
        if (!page_reserve(&page, entry_bytes)) {
            return page_fail(&page);
        }
        page.at[page.len] = number == ring->first ? '[' : ',';
        json_init(&json, page.at + page.len + 1, page.size - page.len - 1);
        print_execution(&json, ring_at(ring, number), processor);
        page.len += 1 + json.len;
    }
    if (!page_reserve(&page, 2)) {
        return page_fail(&page);
    }
    if (page.len == 0) {
        page.at[page.len++] = '[';
    }
    page.at[page.len++] = ']';
    return bytes_of(page.at, page.len);
}

/* The next line of an accepted head, without its CRLF; false at the empty line. */
static bool head_next_line(struct bytes *head, struct bytes *line)
{
    size_t end = bytes_find_text(*head, BYTES("\r\n"));

    if (end == 0 || end == SIZE_MAX) {
        return false;
    }
    *line = bytes_take(*head, end);
    *head = bytes_skip(*head, end + 2);
    return true;
}

static void print_fields(struct json *json, struct bytes head)
{
    struct bytes line;

    json_key(json, "headers");
    json_array_open(json);
    while (head_next_line(&head, &line)) {
        size_t colon = bytes_find(line, ':');
        json_array_open(json);
        json_add_string(json, bytes_take(line, colon));
        json_add_string(json, colon == SIZE_MAX ? BYTES_NONE : bytes_trim(bytes_skip(line, colon + 1)));
        json_array_close(json);
    }
    json_array_close(json);
}

static void print_request(struct json *json, const struct request_entry *entry)
{
    struct bytes head = entry->head;
    struct bytes line = BYTES_NONE;
    size_t space;

    while (bytes_starts_with(head, BYTES("\r\n"))) {
        head = bytes_skip(head, 2);
    }
    (void)head_next_line(&head, &line); /* a malformed head may have none: then all below is empty */
    space = bytes_find(line, ' ');
    json_object_open(json);
    json_put_string(json, "method", bytes_take(line, space));
    line = space == SIZE_MAX ? BYTES_NONE : bytes_skip(line, space + 1);
    json_put_string(json, "target", bytes_take(line, bytes_find(line, ' ')));
    print_fields(json, head);
    json_put_u64(json, "body_bytes", entry->body_bytes);
    json_put_string(json, "body", bytes_of(entry->body, entry->body_kept_bytes));
    json_put_bool(json, "complete", entry->complete);
    json_put_bool(json, "reused", entry->reused);
    json_put_u64(json, "connection", entry->connection);
    json_key(json, "malformed");
    if (entry->malformed != NULL) {
        json_add_string(json, bytes_from_text(entry->malformed));
    } else {
        json_add_null(json);
    }
    json_put_string(json, "raw", entry->head);
    json_object_close(json);
}

struct bytes ledger_print_requests(const struct ledger *ledger)
{
    const struct ring *ring = &ledger->requests;
    struct page page = {0};
    struct json json;

    for (uint64_t number = ring->first; number < ring->next; number++) {
        const struct request_entry *entry = ring_at(ring, number);
        /* The head is printed twice, and a field of two bytes costs six more of quotes, comma and brackets. */
        size_t need = ENTRY_TEXT_BYTES + JSON_ESCAPE_BYTES * (3 * entry->head.len + entry->body_kept_bytes);
        if (!page_reserve(&page, need)) {
            return page_fail(&page);
        }
        page.at[page.len] = number == ring->first ? '[' : ',';
        json_init(&json, page.at + page.len + 1, page.size - page.len - 1);
        print_request(&json, entry);
        page.len += 1 + json.len;
    }
    if (!page_reserve(&page, 2)) {
        return page_fail(&page);
    }
    if (page.len == 0) {
        page.at[page.len++] = '[';
    }
    page.at[page.len++] = ']';
    return bytes_of(page.at, page.len);
}
