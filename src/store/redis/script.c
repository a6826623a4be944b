/*
 * The scripts as the server gets them, and a call as the command that runs one.
 * A script is its first line (the flags), what it shares with the others, and
 * its own lines; the order of keys and arguments stands in the .lua files. A
 * begin that no limit holds back does not carry what limits need.
 */
#include "redis_internal.h"

#include <stdlib.h>
#include <string.h>

#include "redis_scripts.h"

#include "weir/base/digest.h"

static const struct {
    const char *own;
    bool of_record, of_limits; /* it begins with record.lua, with limit.lua */
} sources[SCRIPT_COUNT] = {
    [IDEM_BEGIN] = {embedded_begin, true, false},       [IDEM_RENEW] = {embedded_renew, true, false},
    [IDEM_COMPLETE] = {embedded_complete, true, false}, [IDEM_MARK] = {embedded_mark, true, false},
    [IDEM_ABANDON] = {embedded_abandon, true, false},   [IDEM_RESOLVE] = {embedded_resolve, true, false},
    [IDEM_LAPSE] = {embedded_lapse, true, false},       [IDEM_READ] = {embedded_read, true, false},
    [SCRIPT_SWEEP] = {embedded_sweep, false, false},    [SCRIPT_LOOK] = {embedded_look, true, false},
    [SCRIPT_ADMIT] = {embedded_begin, true, true},      [SCRIPT_LEASE] = {embedded_lease, false, true},
    [SCRIPT_FLEET] = {embedded_fleet, false, false},
};

char *script_text(int script, const char *now)
{
    const char *own = sources[script].own;
    const char *rest = strchr(own, '\n') + 1;
    const struct bytes parts[] = {
        bytes_of(own, (size_t)(rest - own)),
        bytes_from_text(now == NULL ? embedded_now : now),
        bytes_from_text(sources[script].of_record ? embedded_record : ""),
        bytes_from_text(sources[script].of_limits ? embedded_limit : ""),
        bytes_from_text(rest),
    };
    size_t len = 0;
    char *text, *at;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        len += parts[i].len;
    }
    text = malloc(len + 1);
    if (text != NULL) {
        at = text;
        for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
            at = bytes_put(at, parts[i]);
        }
        *at = '\0';
    }
    return text;
}

bool scripts_open(struct script scripts[SCRIPT_COUNT])
{
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        scripts[i].text = script_text(i, NULL);
        if (scripts[i].text == NULL) {
            scripts_close(scripts);
            return false;
        }
    }
    return true;
}

void scripts_close(struct script scripts[SCRIPT_COUNT])
{
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        free(scripts[i].text);
        scripts[i].text = NULL;
    }
}

/* ---- keys ---- */

/* "w:{5"; the digits go where they stand: REDIS_KEY_BYTES has room for any number. */
static char *put_bucket(char *text, uint16_t bucket)
{
    char *at = bytes_put(text, BYTES("w:{"));
    return at + bytes_from_u64(bucket, at);
}

static struct bytes key_of_hash(const struct idem_name *name, struct bytes kind, char text[REDIS_KEY_BYTES])
{
    char *at = put_bucket(text, name->bucket);
    at = bytes_put(at, kind);
    digest_hex(name->hash, IDEM_HASH_BYTES, at);
    return bytes_of(text, (size_t)(at - text) + 2 * IDEM_HASH_BYTES);
}

struct bytes key_record(const struct idem_name *name, char text[REDIS_KEY_BYTES])
{
    return key_of_hash(name, BYTES("}:i:"), text);
}

struct bytes key_answer(const struct idem_name *name, char text[REDIS_KEY_BYTES])
{
    return key_of_hash(name, BYTES("}:a:"), text);
}

static struct bytes key_note(const struct idem_name *name, char text[REDIS_KEY_BYTES])
{
    return key_of_hash(name, BYTES("}:n:"), text);
}

struct bytes key_limit(const struct limit_ref *ref, char text[REDIS_LIMIT_KEY_BYTES])
{
    char *at = put_bucket(text, ref->bucket);
    at = bytes_put(at, BYTES("}:l:"));
    at = bytes_put(at, ref->limit);
    *at++ = ':';
    digest_hex(ref->hash, LIMIT_HASH_BYTES, at);
    return bytes_of(text, (size_t)(at - text) + 2 * LIMIT_HASH_BYTES);
}

struct bytes key_open(uint16_t bucket, char text[REDIS_KEY_BYTES])
{
    char *at = put_bucket(text, bucket);
    at = bytes_put(at, BYTES("}:open"));
    return bytes_of(text, (size_t)(at - text));
}

bool hash_parse(struct bytes text, uint8_t hash[IDEM_HASH_BYTES])
{
    if (text.len != 2 * IDEM_HASH_BYTES) {
        return false;
    }
    for (int i = 0; i < IDEM_HASH_BYTES; i++) {
        uint64_t byte;
        if (!bytes_hex_to_u64(bytes_of(text.at + 2 * i, 2), &byte)) {
            return false;
        }
        hash[i] = (uint8_t)byte;
    }
    return true;
}

/* ---- commands ---- */

void script_command(struct out *out, const struct script *script, bool whole, int key_count, int argument_count)
{
    whole = whole || script->sha[0] == '\0';
    out_command(out, 3 + key_count + argument_count);
    out_text(out, whole ? "EVAL" : "EVALSHA");
    out_text(out, whole ? script->text : script->sha);
    out_u64(out, (uint64_t)key_count);
}

/* How many arguments stand behind the keys. */
static int argument_count(const struct idem_op *op)
{
    static const int counts[IDEM_REBIND] = {
        [IDEM_BEGIN] = 10,  [IDEM_RENEW] = 3,   [IDEM_COMPLETE] = 14, [IDEM_MARK] = 10,
        [IDEM_ABANDON] = 2, [IDEM_RESOLVE] = 4, [IDEM_LAPSE] = 3,     [IDEM_READ] = 0,
    };
    return counts[op->kind];
}

/* Arguments 3 to 9 of what may make a record. */
static void put_identity(struct out *out, const struct idem_op *op)
{
    out_bytes(out, bytes_of(op->print, IDEM_PRINT_BYTES));
    out_bytes(out, bytes_of(op->bind, IDEM_BIND_BYTES));
    out_bytes(out, op->processor);
    out_text(out, op->request_id);
    out_bytes(out, op->upstream_key);
    out_u64(out, op->resend_ms);
    out_u64(out, op->keep_unknown_ms);
}

static void put_answer(struct out *out, const struct idem_op *op)
{
    out_u64(out, op->status);
    out_bytes(out, op->answer);
    out_u64(out, op->keep_ms);
    out_u64(out, op->keep_receipt_ms);
}

static void put_own(struct out *out, const struct idem_op *op, uint64_t waited_ms)
{
    switch (op->kind) {
    case IDEM_BEGIN:
        put_identity(out, op);
        out_u64(out, op->lease_ms);
        break;
    case IDEM_RENEW:
        out_u64(out, op->lease_ms);
        break;
    case IDEM_COMPLETE:
        put_identity(out, op);
        out_u64(out, op->age_ms + waited_ms);
        put_answer(out, op);
        break;
    case IDEM_MARK:
        put_identity(out, op);
        out_u64(out, op->age_ms + waited_ms);
        break;
    case IDEM_RESOLVE:
        out_u64(out, op->executed ? 1 : 0);
        out_u64(out, op->keep_receipt_ms);
        break;
    case IDEM_LAPSE:
        out_u64(out, op->margin_ms);
        break;
    case IDEM_ABANDON:
    case IDEM_READ:
    case IDEM_REBIND:
    case IDEM_OP_COUNT:
        break;
    }
}

/* The arguments of one limit, as limit.lua reads them. */
#define LIMIT_ARGUMENTS 5

static void put_limit(struct out *out, const struct limit_ask *ask)
{
    out_u64(out, ask->rate.units);
    out_u64(out, ask->rate.drain);
    out_u64(out, ask->rate.burst);
    out_u64(out, ask->cost);
    out_u64(out, ask->flags);
}

static void put_limit_key(struct out *out, const struct limit_ref *ref)
{
    char key[REDIS_LIMIT_KEY_BYTES];
    out_bytes(out, key_limit(ref, key));
}

void limit_command(struct out *out, const struct script scripts[SCRIPT_COUNT], const struct limit_ref *ref, bool whole,
                   uint64_t want)
{
    script_command(out, &scripts[SCRIPT_LEASE], whole, 1, LIMIT_ARGUMENTS + 1);
    put_limit_key(out, ref);
    put_limit(out, &ref->ask);
    out_u64(out, want);
}

/* A begin that is subject to limits. */
static void admit_command(struct out *out, const struct script scripts[SCRIPT_COUNT], const struct idem_op *op,
                          bool whole, const uint8_t asked[ASKED_BYTES])
{
    char key[REDIS_KEY_BYTES];
    script_command(out, &scripts[SCRIPT_ADMIT], whole, 3 + op->limit_count,
                   argument_count(op) + LIMIT_ARGUMENTS * op->limit_count);
    out_bytes(out, key_record(&op->name, key));
    out_bytes(out, key_answer(&op->name, key));
    out_bytes(out, key_open(op->name.bucket, key));
    for (int i = 0; i < op->limit_count; i++) {
        put_limit_key(out, &op->limits[i]);
    }
    out_bytes(out, bytes_of(op->owner, IDEM_OWNER_BYTES));
    out_bytes(out, bytes_of(asked, ASKED_BYTES));
    put_own(out, op, 0);
    for (int i = 0; i < op->limit_count; i++) {
        put_limit(out, &op->limits[i].ask);
    }
}

void call_command(struct out *out, const struct script scripts[SCRIPT_COUNT], const struct idem_op *op, bool whole,
                  const uint8_t asked[ASKED_BYTES], uint64_t waited_ms)
{
    char key[REDIS_KEY_BYTES];
    bool noted = op->kind == IDEM_LAPSE || op->kind == IDEM_RESOLVE;
    CHECK(op->kind < IDEM_REBIND);
    if (op->kind == IDEM_BEGIN && op->limit_count > 0) {
        admit_command(out, scripts, op, whole, asked);
        return;
    }
    script_command(out, &scripts[op->kind], whole, noted ? 4 : 3, argument_count(op));
    out_bytes(out, key_record(&op->name, key));
    out_bytes(out, key_answer(&op->name, key));
    out_bytes(out, key_open(op->name.bucket, key));
    if (noted) {
        out_bytes(out, key_note(&op->name, key));
    }
    if (op->kind != IDEM_READ) {
        out_bytes(out, bytes_of(op->owner, IDEM_OWNER_BYTES));
        out_bytes(out, bytes_of(asked, ASKED_BYTES));
        put_own(out, op, waited_ms);
    }
}
