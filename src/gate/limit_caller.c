/*
 * Who a request's caller is to a limit: the parts that `by` names, as one keyed
 * hash, so that neither the store nor a dump of this process holds a credential.
 * Two weirs with one secret say the same; without a secret the name counts in
 * this process alone. Decides nothing about limits.
 */
#include "limits.h"

#include <stdio.h>

#include "weir/base/digest.h"
#include "weir/base/keyring.h"
#include "weir/base/mask.h"

/* The last hop that is not trusted, as the log has it. */
static bool client_address(const struct exchange *x, struct addr *address)
{
    char text[ADDR_TEXT_BYTES];
    if (!x->peer_trusted) {
        *address = x->peer;
        return true;
    }
    return addr_parse_host(forward_client_address(x, text), 0, address);
}

static const struct scope *scope_in(const struct exchange *x, struct caller_facts *facts)
{
    if (!facts->has_scope) {
        facts->scope = scope_of(x);
        facts->has_scope = true;
    }
    return &facts->scope;
}

static bool by_address(const struct exchange *x, const struct conf_limit_part *part)
{
    const struct conf_tenants *tenants = &generation_conf(x->generation)->tenants;
    return part->kind == CONF_PART_CLIENT_IP ||
           (part->kind == CONF_PART_TENANT && tenants->by == CONF_TENANTS_BY_CLIENT_IP);
}

/* ---- hashes ---- */

static void hash(const struct exchange *x, const struct bytes *parts, int count, uint8_t out[32])
{
    const struct keyring *ring = x->generation->parts.keyring;
    if (ring != NULL) {
        keyring_hash(ring, KEYRING_INDEX, parts, count, out);
        return;
    }
    uint8_t each[1 + 2 * CONF_LIMIT_PARTS_MAX][DIGEST_BYTES]; /* no secret, no store: the hash never leaves this process */
    CHECK(count <= (int)ARRAY_COUNT(each));
    for (int i = 0; i < count; i++) {
        digest_sha256(parts[i], each[i]);
    }
    digest_sha256(bytes_of(each, (size_t)count * DIGEST_BYTES), out);
}

/* Of the scope, by the very hash that says in which bucket its records are (claim.c): one hash serves both. */
static const uint8_t *scope_digest(const struct exchange *x, struct caller_facts *facts)
{
    if (!facts->has_digest) {
        const struct scope *scope = scope_in(x, facts);
        char kind = (char)scope->kind;
        const struct bytes parts[] = {BYTES("bucket"), bytes_of(&kind, 1), scope->text};
        hash(x, parts, 3, facts->digest);
        facts->has_digest = true;
    }
    return facts->digest;
}

static uint16_t bucket_of(const uint8_t digest[32])
{
    return (uint16_t)(((unsigned)digest[0] << 8 | digest[1]) % IDEM_BUCKETS);
}

/* ---- the parts ---- */

/* One part as two runs of a hash, its kind and its text. `room` holds what is not in the request. False: it is not there. */
static bool part_of(const struct exchange *x, const struct conf_limit_part *part, struct caller_facts *facts,
                    struct caller_name *name, char room[ADDR_CUSTOMER_BYTES], struct bytes out[2])
{
    static const char kinds[] = "tirhc";
    struct addr address;
    struct stream_tls tls;
    const struct http_field *field;
    if (by_address(x, part)) {
        out[0] = bytes_of(&kinds[1], 1);
        out[1] = client_address(x, &address) ? addr_customer(&address, room) : BYTES_NONE;
        return out[1].len > 0;
    }
    switch (part->kind) {
    case CONF_PART_TENANT:
        if (scope_in(x, facts)->kind == SCOPE_NOBODY) {
            return false;
        }
        name->stranger = name->stranger || (facts->scope.tenant == NULL && facts->scope.kind != SCOPE_SUBJECT);
        out[0] = bytes_of(&kinds[0], 1);
        out[1] = bytes_of(scope_digest(x, facts), sizeof facts->digest);
        return true;
    case CONF_PART_ROUTE:
        out[0] = bytes_of(&kinds[2], 1);
        out[1] = bytes_from_text(x->route->conf->name);
        return true;
    case CONF_PART_HEADER:
        field = http_head_find_name(x->head, bytes_from_text(part->header));
        name->stranger = true;
        out[0] = bytes_of(&kinds[3], 1);
        out[1] = field != NULL ? field->value : BYTES_NONE;
        return out[1].len > 0;
    case CONF_PART_MTLS_SUBJECT:
        if (x->client == NULL || !stream_tls_info(x->client->stream, &tls) || tls.peer_subject == NULL) {
            return false;
        }
        out[0] = bytes_of(&kinds[4], 1);
        out[1] = bytes_from_text(tls.peer_subject);
        return true;
    case CONF_PART_CLIENT_IP:
        break;
    }
    return false;
}

/* ---- for operators ---- */

void caller_who(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts,
                const struct caller_name *name, char who[LIMITER_WHO_BYTES])
{
    struct addr address;
    char text[ADDR_TEXT_BYTES];
    char hex[13];
    const struct conf_limit_part *first = &limit->conf->parts[0];
    if (by_address(x, first) && client_address(x, &address)) {
        (void)snprintf(who, LIMITER_WHO_BYTES, "%s", addr_format_host(&address, text));
    } else if (first->kind == CONF_PART_TENANT && scope_in(x, facts)->tenant != NULL) {
        (void)snprintf(who, LIMITER_WHO_BYTES, "%s", facts->scope.tenant->name);
    } else if (first->kind == CONF_PART_ROUTE && limit->conf->part_count == 1) {
        (void)snprintf(who, LIMITER_WHO_BYTES, "route %.57s", x->route->conf->name);
    } else {
        digest_hex(name->hash, 6, hex);
        (void)snprintf(who, LIMITER_WHO_BYTES, "x%s", hex); /* an x: a run of digits would be masked as a card's */
    }
    (void)mask_cards(who, strlen(who));
}

/* ---- all ---- */

bool caller_name(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts,
                 struct caller_name *name)
{
    const struct conf_limit *conf = limit->conf;
    struct bytes runs[1 + 2 * CONF_LIMIT_PARTS_MAX] = {BYTES("limit")};
    char rooms[CONF_LIMIT_PARTS_MAX][ADDR_CUSTOMER_BYTES];
    uint8_t digest[32] = {0};
    bool of_tenant = false;
    *name = (struct caller_name){0};
    for (int i = 0; i < conf->part_count; i++) {
        if (!part_of(x, &conf->parts[i], facts, name, rooms[i], &runs[1 + 2 * i])) {
            return false;
        }
        of_tenant = of_tenant || (conf->parts[i].kind == CONF_PART_TENANT && !by_address(x, &conf->parts[i]));
    }
    if (conf->part_count == 1 && by_address(x, &conf->parts[0])) {
        memcpy(name->hash, runs[2].at, runs[2].len); /* counted here alone, and no secret */
    } else if (conf->part_count == 1 && conf->parts[0].kind == CONF_PART_TENANT) {
        memcpy(name->hash, facts->digest + 2, sizeof name->hash);
    } else {
        hash(x, runs, 1 + 2 * conf->part_count, digest);
        memcpy(name->hash, digest + 2, sizeof name->hash);
    }
    name->bucket = bucket_of(of_tenant ? facts->digest : digest); /* where the caller's records are, if it has such */
    return true;
}

int caller_grade(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts)
{
    const struct tenant *tenant = limit->conf->tier_count > 0 ? scope_in(x, facts)->tenant : NULL;
    for (int i = 0; tenant != NULL && i < limit->conf->tier_count; i++) {
        if (strcmp(limit->conf->tiers[i].name, tenant->tier) == 0) {
            return i + 1;
        }
    }
    return 0;
}
