/*
 * Who calls: the known tenants of a file, and the scope in which a request's
 * idempotency key counts. A replay is served without the processor looking at
 * the credential, so the scope is the authorisation: a verified tenant, else
 * the whole credential. Nothing that a caller may choose freely can be one.
 */
#include "tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exchange.h"

#include "weir/base/digest.h"
#include "weir/base/table.h"

struct tenants {
    struct table *by_digest; /* SHA-256 of a credential to struct tenant */
    struct tenant *first;    /* owned, chained */
};

/* ---- the file ---- */

static struct bytes next_word(struct bytes *line)
{
    size_t at = 0;
    *line = bytes_trim(*line);
    while (at < line->len && line->at[at] != ' ' && line->at[at] != '\t') {
        at++;
    }
    struct bytes word = bytes_take(*line, at);
    *line = bytes_trim(bytes_skip(*line, at));
    return word;
}

static bool is_name(struct bytes word)
{
    for (size_t i = 0; i < word.len; i++) {
        char byte = word.at[i];
        bool fits = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                    byte == '-' || byte == '_' || byte == '.';
        if (!fits) {
            return false;
        }
    }
    return word.len > 0 && word.len < TENANT_NAME_BYTES;
}

static bool read_digest(struct bytes word, uint8_t digest[DIGEST_BYTES])
{
    if (!bytes_starts_with(word, BYTES("sha256:")) || word.len != 7 + 2 * DIGEST_BYTES) {
        return false;
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        uint64_t byte = 0;
        if (!bytes_hex_to_u64(bytes_of(word.at + 7 + 2 * i, 2), &byte)) {
            return false;
        }
        digest[i] = (uint8_t)byte;
    }
    return true;
}

/* NULL: fine. Else what is wrong with the line. */
static const char *add_line(struct tenants *tenants, struct bytes line)
{
    uint8_t digest[DIGEST_BYTES];
    struct bytes credential = next_word(&line);
    struct bytes name = next_word(&line);
    struct bytes tier = next_word(&line);
    if (!read_digest(credential, digest)) {
        return "the first word is not 'sha256:' and 64 hex digits";
    }
    if (!is_name(name) || !is_name(tier) || line.len > 0) {
        return "a line is 'sha256:HEX NAME TIER', names of letters, digits, '-', '_' and '.'";
    }
    struct bytes key = bytes_of(digest, sizeof digest);
    if (table_find(tenants->by_digest, key) != NULL) {
        return "this credential stands in an earlier line already";
    }
    struct tenant *tenant = calloc(1, sizeof *tenant);
    if (tenant == NULL || !table_put(tenants->by_digest, key, tenant)) {
        free(tenant);
        return "out of memory";
    }
    (void)bytes_to_text(name, tenant->name, sizeof tenant->name);
    (void)bytes_to_text(tier, tenant->tier, sizeof tenant->tier);
    tenant->next = tenants->first;
    tenants->first = tenant;
    return NULL;
}

static bool read_lines(struct tenants *tenants, struct bytes text, const char *path, char *why, size_t size)
{
    for (unsigned number = 1; text.len > 0; number++) {
        size_t end = bytes_find(text, '\n');
        struct bytes line = bytes_take(text, end);
        line = bytes_trim(bytes_ends_with(line, BYTES("\r")) ? bytes_take(line, line.len - 1) : line);
        text = bytes_skip(text, end == SIZE_MAX ? text.len : end + 1);
        const char *wrong = line.len > 0 && line.at[0] != '#' ? add_line(tenants, line) : NULL;
        if (wrong != NULL) {
            (void)snprintf(why, size, "%s:%u: %s", path, number, wrong);
            return false;
        }
    }
    return true;
}

struct tenants *tenants_read(struct bytes text, const char *path, char *why, size_t size)
{
    struct tenants *tenants = calloc(1, sizeof *tenants);
    if (tenants != NULL) {
        tenants->by_digest = table_open(TENANTS_MAX);
    }
    if (tenants == NULL || tenants->by_digest == NULL) {
        (void)snprintf(why, size, "%s: out of memory", path);
        free(tenants);
        return NULL;
    }
    if (!read_lines(tenants, text, path, why, size)) {
        tenants_close(tenants);
        return NULL;
    }
    return tenants;
}

/* The whole file, malloc'ed; at NULL: `why`. */
static struct bytes read_file(const char *path, char *why, size_t size)
{
    struct stat facts;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &facts) != 0) {
        (void)snprintf(why, size, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return BYTES_NONE;
    }
    size_t len = 0;
    char *text = facts.st_size <= TENANTS_FILE_BYTES_MAX ? malloc((size_t)facts.st_size + 1) : NULL;
    ssize_t got = 0;
    while (text != NULL && (got = read(fd, text + len, (size_t)facts.st_size - len)) > 0) {
        len += (size_t)got;
    }
    (void)close(fd);
    if (text == NULL || got < 0) {
        (void)snprintf(why, size, "%s: it cannot be read, or has more than %u MiB", path, TENANTS_FILE_BYTES_MAX >> 20);
        free(text);
        return BYTES_NONE;
    }
    return bytes_of(text, len);
}

struct tenants *tenants_open(const char *path, char *why, size_t size)
{
    struct bytes text = read_file(path, why, size);
    struct tenants *tenants = text.at != NULL ? tenants_read(text, path, why, size) : NULL;
    free((char *)(uintptr_t)text.at);
    return tenants;
}

void tenants_close(struct tenants *tenants)
{
    if (tenants == NULL) {
        return;
    }
    while (tenants->first != NULL) {
        struct tenant *next = tenants->first->next;
        free(tenants->first);
        tenants->first = next;
    }
    table_close(tenants->by_digest);
    free(tenants);
}

const struct tenant *tenants_find(const struct tenants *tenants, struct bytes credential)
{
    uint8_t digest[DIGEST_BYTES];
    if (tenants == NULL || credential.len == 0) {
        return NULL;
    }
    digest_sha256(credential, digest);
    return table_find(tenants->by_digest, bytes_of(digest, sizeof digest));
}

/* ---- the scope of a request ---- */

static struct bytes field_value(const struct http_head *head, struct bytes name)
{
    const struct http_field *field = http_head_find_name(head, name);
    return field != NULL ? field->value : BYTES_NONE;
}

/* A credential as it was sent or, of a Bearer, its token alone: files are made from either. */
static const struct tenant *find_credential(const struct tenants *tenants, struct bytes value)
{
    const struct tenant *found = tenants_find(tenants, value);
    if (found == NULL && value.len > 7 && bytes_equal_nocase(bytes_take(value, 7), BYTES("bearer "))) {
        found = tenants_find(tenants, bytes_trim(bytes_skip(value, 7)));
    }
    return found;
}

/* What the processor will look at, whole: whoever does not have it cannot be served from its records. */
static struct scope scope_of_credential(const struct http_head *head)
{
    struct bytes value = field_value(head, BYTES("authorization"));
    if (value.len > 0) {
        return (struct scope){.kind = SCOPE_AUTHORIZATION, .text = value};
    }
    value = field_value(head, BYTES("x-api-key"));
    return value.len > 0 ? (struct scope){.kind = SCOPE_API_KEY, .text = value}
                         : (struct scope){.kind = SCOPE_NOBODY, .text = BYTES_NONE};
}

static struct scope scope_of_subject(const struct exchange *x, const struct tenants *known)
{
    struct stream_tls tls;
    if (x->client == NULL || !stream_tls_info(x->client->stream, &tls) || tls.peer_subject == NULL) {
        return scope_of_credential(x->head);
    }
    struct bytes subject = bytes_from_text(tls.peer_subject);
    const struct tenant *tenant = tenants_find(known, subject);
    if (tenant != NULL) {
        return (struct scope){.kind = SCOPE_TENANT, .text = bytes_from_text(tenant->name), .tenant = tenant, .known = true};
    }
    return (struct scope){.kind = SCOPE_SUBJECT, .text = subject, .known = known == NULL};
}

struct scope scope_of(const struct exchange *x)
{
    const struct conf_tenants *conf = &generation_conf(x->generation)->tenants;
    const struct tenants *known = x->generation->parts.tenants;
    const struct tenant *tenant = NULL;
    switch (conf->by) {
    case CONF_TENANTS_BY_MTLS_SUBJECT:
        return scope_of_subject(x, known);
    case CONF_TENANTS_BY_HEADER:
        tenant = find_credential(known, field_value(x->head, bytes_from_text(conf->header)));
        break;
    case CONF_TENANTS_BY_CLIENT_IP:
        break; /* an address proves nothing: it is for limits */
    }
    if (tenant != NULL) {
        return (struct scope){.kind = SCOPE_TENANT, .text = bytes_from_text(tenant->name), .tenant = tenant, .known = true};
    }
    return scope_of_credential(x->head);
}
