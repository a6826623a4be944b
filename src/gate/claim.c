/*
 * Who a keyed request is: its key is found and read, named in the scope of its
 * caller, its fingerprint taken, its upstream key chosen and sealed. Everything
 * here is a function of the request, the secret and the configuration: two
 * weirs that share those two say the same, or a payment would have two records.
 */
#include "claim.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/keyring.h"
#include "weir/http/json_key.h"

/* ---- the key ---- */

static struct bytes key_name(const struct conf_idempotency *conf)
{
    return bytes_from_text(conf->key.at);
}

bool claim_concerns(const struct exchange *x)
{
    const struct conf_idempotency *conf = &x->route->conf->idempotency;
    if (!conf->on || !profile_keys_method(x->route->profile, x->head->method)) {
        return false;
    }
    return conf->required || conf->key.place == CONF_KEY_JSON || http_head_find_name(x->head, key_name(conf)) != NULL;
}

static enum found_key unfit(struct exchange *x, const char *why)
{
    (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    return KEY_UNFIT;
}

static enum found_key read_value(struct exchange *x, struct bytes value, bool from_json,
                                 char key[PROFILE_KEY_BYTES_MAX + 1], size_t *len)
{
    enum key_fault fault = profile_read_key(x->route->profile, value, from_json, key, len);
    return fault == KEY_OK ? KEY_THERE : unfit(x, key_fault_text(fault));
}

/* Two fields of one name have two readings: we would take one, the processor perhaps the other. */
static enum found_key header_key(struct exchange *x, struct bytes name, char key[PROFILE_KEY_BYTES_MAX + 1], size_t *len)
{
    const struct http_field *found = NULL;
    for (int i = 0; i < x->head->field_count; i++) {
        const struct http_field *field = &x->head->fields[i];
        if (!bytes_equal_nocase(field->name, name)) {
            continue;
        }
        if (found != NULL) {
            return unfit(x, "the key's header stands there twice");
        }
        found = field;
    }
    return found == NULL ? KEY_NOT_THERE : read_value(x, found->value, false, key, len);
}

static enum found_key body_key(struct exchange *x, struct bytes pointer, char key[PROFILE_KEY_BYTES_MAX + 1], size_t *len)
{
    char text[PROFILE_KEY_BYTES_MAX + 1];
    switch (json_key_find(&x->body, pointer, text, sizeof text, len)) {
    case JSON_KEY_FOUND:
        return read_value(x, bytes_of(text, *len), true, key, len);
    case JSON_KEY_ABSENT:
        return KEY_NOT_THERE;
    case JSON_KEY_NOT_TEXT:
        return unfit(x, "the key in the body is no string");
    case JSON_KEY_TOO_LONG:
        return unfit(x, key_fault_text(KEY_LONG));
    case JSON_KEY_BAD:
        return unfit(x, "the body is no JSON with one reading, so no key can be found in it");
    case JSON_KEY_NO_MEMORY:
        return unfit(x, "no memory to look into the body");
    }
    return KEY_UNFIT;
}

/* A key in the body counts; one in the header beside it must say the same. */
enum found_key claim_find_key(struct exchange *x, char key[PROFILE_KEY_BYTES_MAX + 1], size_t *len)
{
    const struct conf_idempotency *conf = &x->route->conf->idempotency;
    if (conf->key.place == CONF_KEY_HEADER) {
        return header_key(x, key_name(conf), key, len);
    }
    char other[PROFILE_KEY_BYTES_MAX + 1];
    size_t other_len = 0;
    enum found_key in_body = body_key(x, key_name(conf), key, len);
    enum found_key in_header = header_key(x, BYTES("Idempotency-Key"), other, &other_len);
    if (in_body != KEY_THERE || in_header == KEY_NOT_THERE) {
        return in_body;
    }
    bool same = in_header == KEY_THERE && bytes_equal(bytes_of(key, *len), bytes_of(other, other_len));
    return same ? KEY_THERE : unfit(x, "the key in the body and the one in the header differ");
}

/* ---- names and fingerprints ---- */

#define PRINT_VERSION 1
#define PRINT_PARTS_MAX (8 + PROFILE_FIELDS_MAX)

/* The first label of every hash: no two uses of one key are alike. Never change one: records are found by them. */
void claim_name_record(struct claim *claim, const struct scope *scope, struct bytes key)
{
    const struct keyring *ring = claim->exchange->generation->parts.keyring;
    uint8_t hash[32];
    char kind = (char)scope->kind;
    const struct bytes parts[] = {BYTES("record"), bytes_of(&kind, 1), scope->text, key};
    keyring_hash(ring, KEYRING_INDEX, parts, 4, hash);
    memcpy(claim->name.hash, hash, sizeof claim->name.hash);
    const struct bytes bucket[] = {BYTES("bucket"), bytes_of(&kind, 1), scope->text};
    keyring_hash(ring, KEYRING_INDEX, bucket, 3, hash);
    claim->name.bucket = (uint16_t)(((unsigned)hash[0] << 8 | hash[1]) % IDEM_BUCKETS);
}

static struct bytes header_value(const struct http_head *head, struct bytes name)
{
    const struct http_field *field = http_head_find_name(head, name);
    return field != NULL ? field->value : BYTES_NONE;
}

struct bytes claim_flat(const struct buf *buf, char **copy)
{
    *copy = NULL;
    struct bytes front = buf_front(buf);
    if (front.len == buf->len) {
        return front;
    }
    *copy = malloc(buf->len);
    return *copy != NULL ? bytes_of(*copy, buf_copy(buf, *copy)) : BYTES_NONE;
}

/* What the request asks for. False: no memory. */
static bool print_request(struct claim *claim, const struct keyring *ring)
{
    struct exchange *x = claim->exchange;
    const struct profile *profile = x->route->profile;
    char *copy = NULL;
    uint8_t hash[32];
    struct bytes parts[PRINT_PARTS_MAX];
    int count = 0;
    struct bytes body = claim_flat(&x->body, &copy); /* how it arrived must not show in its hash */
    if (body.len != x->body.len) {
        free(copy);
        return false;
    }
    parts[count++] = BYTES("request");
    parts[count++] = x->head->method;
    parts[count++] = x->head->path;
    parts[count++] = x->head->query;
    parts[count++] = header_value(x->head, BYTES("content-type"));
    for (int i = 0; i < PROFILE_FIELDS_MAX && profile->print_fields[i].len > 0; i++) {
        parts[count++] = header_value(x->head, profile->print_fields[i]);
    }
    parts[count++] = body;
    keyring_hash(ring, KEYRING_FINGERPRINT, parts, count, hash);
    free(copy);
    claim->print[0] = PRINT_VERSION;
    memcpy(claim->print + 1, hash, IDEM_PRINT_BYTES - 1);
    return true;
}

/* What the record is bound to: one processor, one key there. */
void claim_bind(struct claim *claim, const struct keyring *ring, const char *processor)
{
    uint8_t hash[32];
    const struct bytes parts[] = {BYTES("bind"), bytes_from_text(processor), claim->upstream_key};
    keyring_hash(ring, KEYRING_FINGERPRINT, parts, 3, hash);
    memcpy(claim->bind, hash, sizeof claim->bind);
}

/* 36 characters in the form of a UUID (RFC 9562 version 8): fits every processor that takes keys. */
static struct bytes derive_key(const struct claim *claim, const struct keyring *ring, const char *processor, char text[37])
{
    const struct scope scope = scope_of(claim->exchange);
    uint8_t hash[32];
    char kind = (char)scope.kind;
    const struct bytes parts[] = {BYTES("upstream"), bytes_of(&kind, 1), scope.text, claim->key, bytes_from_text(processor)};
    keyring_hash(ring, KEYRING_INDEX, parts, 5, hash);
    hash[6] = (uint8_t)(0x80 | (hash[6] & 0x0f));
    hash[8] = (uint8_t)(0x80 | (hash[8] & 0x3f));
    char hex[33];
    digest_hex(hash, 16, hex);
    (void)snprintf(text, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return bytes_of(text, 36);
}

/* For whom an upstream key is sealed: this record alone. */
struct bytes claim_about_key(const struct claim *claim)
{
    return bytes_of(claim->name.hash, sizeof claim->name.hash);
}

static bool seal_key(struct claim *claim, const struct keyring *ring)
{
    uint8_t *sealed = arena_take(&claim->exchange->arena, keyring_sealed_bytes(claim->upstream_key.len));
    if (sealed == NULL) {
        return false;
    }
    size_t len = keyring_seal(ring, claim_about_key(claim), &claim->upstream_key, 1, sealed);
    claim->sealed_key = bytes_of(sealed, len);
    return true;
}

bool claim_move(struct claim *claim, const struct route_ready *route)
{
    struct exchange *x = claim->exchange;
    const struct keyring *ring = x->generation->parts.keyring;
    const char *processor = route->processor_conf->name;
    char derived[37];
    bool passes = claim->conf->upstream_key == CONF_UPSTREAM_KEY_PASSTHROUGH;
    claim->upstream_key = passes ? claim->key : arena_copy(&x->arena, derive_key(claim, ring, processor, derived));
    if (claim->upstream_key.at == NULL || !seal_key(claim, ring)) {
        return false;
    }
    claim_bind(claim, ring, processor);
    claim->resend_ms = claim->driver.single_shot ? 0 : profile_resend_ms(route->profile, x->head->path, route->total_ms);
    return true;
}

static bool name_claim(struct claim *claim, struct bytes key)
{
    struct exchange *x = claim->exchange;
    const struct keyring *ring = x->generation->parts.keyring;
    const struct scope scope = scope_of(x);
    claim_name_record(claim, &scope, key);
    claim->key = arena_copy(&x->arena, key);
    if (claim->key.at == NULL || !claim_move(claim, x->route) || !print_request(claim, ring)) {
        return false;
    }
    digest_random(claim->owner, sizeof claim->owner);
    return true;
}

/* ---- the claim ---- */

struct claim *claim_new(struct exchange *x)
{
    struct claim *claim = arena_take_zeroed(&x->arena, sizeof *claim);
    if (claim == NULL) {
        return NULL;
    }
    claim->exchange = x;
    list_init(&claim->waiters);
    list_init(&claim->in_waiters);
    timer_init(&claim->renewal, x->gate->options.loop, admit_on_renewal);
    buf_init(&claim->answer, loop_blocks(x->gate->options.loop), SIZE_MAX); /* bounded by commit_hold */
    return claim;
}

struct claim *claim_make(struct exchange *x, struct bytes key)
{
    struct claim *claim = claim_new(x);
    if (claim == NULL) {
        return NULL;
    }
    claim->conf = &x->route->conf->idempotency;
    claim->needs_trust = claim->conf->mode != CONF_MODE_STICKY;
    claim->driver.may_move = claim->conf->mode == CONF_MODE_FAILOVER;
    claim->driver.single_shot = claim->needs_trust && !(claim->driver.may_move && x->route->profile->deduplicates);
    claim->driver.pass_when_down = claim->conf->pass_when_down;
    return name_claim(claim, key) ? claim : NULL;
}

void claim_op(const struct claim *claim, enum idem_op_kind kind, struct idem_op *op)
{
    const struct exchange *x = claim->exchange;
    *op = (struct idem_op){
        .kind = kind,
        .name = claim->name,
        .processor = bytes_from_text(x->processor_conf->name),
        .upstream_key = claim->sealed_key,
        .resend_ms = claim->resend_ms,
        .keep_unknown_ms = claim->conf->keep_unknown_ms,
        .lease_ms = CLAIM_LEASE_MS,
        .age_ms = claim->bound_us != 0 ? (loop_now_us(x->gate->options.loop) - claim->bound_us) / CLOCK_US_PER_MS : 0,
    };
    memcpy(op->owner, claim->owner, sizeof op->owner);
    memcpy(op->print, claim->print, sizeof op->print);
    memcpy(op->bind, claim->bind, sizeof op->bind);
    memcpy(op->request_id, x->request_id, sizeof op->request_id);
}
