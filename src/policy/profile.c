/*
 * The questions that are asked of a profile: does a method carry a key, what
 * does an answer prove, was the payment declined, is this test traffic, how long
 * may a request be sent again, which fields are kept, what status has an error. A
 * profile is data (src/conf/profiles/); nothing here knows a processor by name.
 * Keys are read in profile_key.c, bodies of errors are written in
 * profile_errors.c.
 */
#include "weir/policy/profile.h"

/* ---- which requests carry keys ---- */

bool profile_keys_method(const struct profile *profile, struct bytes method)
{
    if (bytes_equal(method, BYTES("POST")) || bytes_equal(method, BYTES("PATCH"))) {
        return true;
    }
    return (profile->keys_put && bytes_equal(method, BYTES("PUT"))) ||
           (profile->keys_delete && bytes_equal(method, BYTES("DELETE")));
}

/* ---- what an answer proves ---- */

static bool codes_hold(const struct profile_codes codes[PROFILE_CODES_MAX], uint16_t status)
{
    for (int i = 0; i < PROFILE_CODES_MAX && codes[i].low != 0; i++) {
        if (status >= codes[i].low && status <= codes[i].high) {
            return true;
        }
    }
    return false;
}

static bool says_not_executed(const struct profile *profile, profile_field_of field, const void *answer)
{
    if (profile->not_executed_field.len == 0 || field == NULL) {
        return false;
    }
    struct bytes value = bytes_trim(field(answer, profile->not_executed_field));
    return value.len > 0 && bytes_equal_nocase(value, profile->not_executed_value);
}

static bool is_success(uint16_t status)
{
    return status >= 200 && status <= 299;
}

/*
 * The narrow lists go first, so that a row may say 200-499 is final and 429 is
 * not. A success is never taken for "nothing was done", whatever its fields
 * say. What no list names proves nothing.
 */
enum idem_class profile_classify(const struct profile *profile, uint16_t status, profile_field_of field,
                                 const void *answer)
{
    bool busy = codes_hold(profile->busy, status);
    bool final = codes_hold(profile->final, status);
    if (is_success(status)) {
        return busy ? IDEM_CLASS_BUSY : final ? IDEM_CLASS_FINAL : IDEM_CLASS_UNPROVEN;
    }
    /* The field says "not now": of the key, where the status can mean that; else of the request as a whole. */
    bool not_now = says_not_executed(profile, field, answer);
    bool field_decides = final && profile->not_executed_field.len > 0;
    if (busy && (not_now || !field_decides)) {
        return IDEM_CLASS_BUSY;
    }
    if (not_now || codes_hold(profile->not_executed, status)) {
        return IDEM_CLASS_NOT_EXECUTED;
    }
    return final ? IDEM_CLASS_FINAL : IDEM_CLASS_UNPROVEN;
}

enum idem_class profile_classify_body(const struct profile *profile, uint16_t status, enum idem_class class,
                                      struct bytes body, bool encoded)
{
    bool definite = class == IDEM_CLASS_FINAL || class == IDEM_CLASS_NOT_EXECUTED;
    if (is_success(status) || !definite) {
        return class;
    }
    for (int i = 0; i < PROFILE_WORDS_MAX && profile->unproven_words[i].len > 0; i++) {
        if (encoded || bytes_find_text(body, profile->unproven_words[i]) != SIZE_MAX) {
            return IDEM_CLASS_UNPROVEN;
        }
    }
    return class;
}

bool profile_declined(const struct profile *profile, uint16_t status, struct bytes body)
{
    bool declined = codes_hold(profile->declined, status);
    for (int i = 0; !declined && i < PROFILE_WORDS_MAX && profile->declined_words[i].len > 0; i++) {
        declined = bytes_find_text(body, profile->declined_words[i]) != SIZE_MAX;
    }
    return declined;
}

/* ---- whose requests are test traffic ---- */

/* Of a decoded "user:password": as much as any word of test_keys can ask for. */
#define USER_BYTES_MAX 128u

static int base64_value(char byte)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = byte == '\0' ? NULL : strchr(alphabet, byte);
    return found == NULL ? -1 : (int)(found - alphabet);
}

/* The user of Basic credentials, or its first USER_BYTES_MAX bytes; ends where the text is no base64 (RFC 7617). */
static struct bytes basic_user(struct bytes encoded, char user[USER_BYTES_MAX])
{
    uint32_t bits = 0;
    int bit_count = 0;
    size_t len = 0;
    for (size_t i = 0; i < encoded.len && len < USER_BYTES_MAX; i++) {
        int value = base64_value(encoded.at[i]);
        if (value < 0) {
            break;
        }
        bits = (bits << 6 | (uint32_t)value) & 0xfff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            user[len++] = (char)(bits >> bit_count & 0xff);
        }
    }
    return bytes_take(bytes_of(user, len), bytes_find(bytes_of(user, len), ':'));
}

/* What follows the scheme and its blanks; at NULL: it is of another scheme, or of none. */
static struct bytes behind_scheme(struct bytes credential, struct bytes scheme)
{
    bool is_it = credential.len > scheme.len && bytes_equal_nocase(bytes_take(credential, scheme.len), scheme) &&
                 credential.at[scheme.len] == ' ';
    return is_it ? bytes_trim(bytes_skip(credential, scheme.len)) : BYTES_NONE;
}

bool profile_is_test(const struct profile *profile, struct bytes credential)
{
    char user[USER_BYTES_MAX];
    struct bytes trimmed = bytes_trim(credential);
    struct bytes token = behind_scheme(trimmed, BYTES("Bearer"));
    struct bytes basic = behind_scheme(trimmed, BYTES("Basic"));
    struct bytes key = basic.at != NULL ? basic_user(basic, user) : token.at != NULL ? token : trimmed;
    for (int i = 0; i < PROFILE_WORDS_MAX && profile->test_keys[i].len > 0; i++) {
        if (bytes_starts_with(key, profile->test_keys[i])) {
            return true;
        }
    }
    return false;
}

/* ---- for how long a request may be sent again ---- */

#define RESEND_MARGIN_PART 24      /* of the retention: clocks and calendars of the processor's */
#define RESEND_MARGIN_MS UINT64_C(60000) /* besides a whole stay */

/* Whole segments: /v2/orders holds /v2/orders and /v2/orders/7, not /v2/orders-old. */
static bool path_is_under(struct bytes path, struct bytes prefix)
{
    if (!bytes_starts_with(path, prefix)) {
        return false;
    }
    return prefix.len == 0 || prefix.at[prefix.len - 1] == '/' || path.len == prefix.len || path.at[prefix.len] == '/';
}

static uint64_t retention_ms(const struct profile *profile, struct bytes path)
{
    for (int i = 0; i < PROFILE_RETENTIONS_MAX && profile->retentions[i].ms != 0; i++) {
        if (path_is_under(path, profile->retentions[i].prefix)) {
            return profile->retentions[i].ms;
        }
    }
    return 0;
}

uint64_t profile_resend_ms(const struct profile *profile, struct bytes path, uint32_t total_ms)
{
    if (!profile->deduplicates) {
        return 0;
    }
    uint64_t kept_ms = retention_ms(profile, path);
    uint64_t part_ms = kept_ms / RESEND_MARGIN_PART;
    uint64_t stay_ms = total_ms + RESEND_MARGIN_MS;
    uint64_t margin_ms = part_ms > stay_ms ? part_ms : stay_ms;
    return kept_ms > margin_ms ? kept_ms - margin_ms : 0;
}

/* ---- which fields are kept with a stored answer ---- */

/* Fields that say what the body is and which request it answers. Date is made anew, lengths are made of what is sent. */
static const struct bytes common_fields[] = {
    {"Content-Type", 12}, {"Content-Encoding", 16}, {"Content-Language", 16}, {"Content-Disposition", 19},
    {"Location", 8},      {"ETag", 4},              {"Last-Modified", 13},    {"Cache-Control", 13},
    {"Request-Id", 10},   {"X-Request-Id", 12},     {"Idempotency-Key", 15},
};

/* Of one connection, or made by weir for each answer. */
static const struct bytes passing_fields[] = {
    {"Connection", 10},        {"Keep-Alive", 10}, {"Proxy-Connection", 16},    {"TE", 2},
    {"Trailer", 7},            {"Upgrade", 7},     {"Transfer-Encoding", 17},   {"Content-Length", 14},
    {"Date", 4},               {"Via", 3},         {"Idempotent-Replayed", 19}, {"Stripe-Should-Retry", 19},
};

/* Wherever one of these stands in a name, its value may open a door. */
static const struct bytes secret_words[] = {
    {"cookie", 6}, {"authoriz", 8}, {"authentic", 9}, {"token", 5}, {"secret", 6}, {"password", 8}, {"api-key", 7},
};

static bool is_one_of(struct bytes name, const struct bytes *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* The letters with which they begin, one bit each: nearly every place in a name is passed over by this alone. */
#define LETTER(c) (UINT32_C(1) << ((c)&31))
static const uint32_t secret_letters = LETTER('c') | LETTER('a') | LETTER('t') | LETTER('s') | LETTER('p');

static bool secret_word_begins(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_COUNT(secret_words); i++) {
        if (bytes_equal_nocase(bytes_take(name, secret_words[i].len), secret_words[i])) {
            return true;
        }
    }
    return false;
}

static bool holds_secret_word(struct bytes name)
{
    for (size_t at = 0; at < name.len; at++) {
        if ((secret_letters & LETTER(name.at[at])) != 0 && secret_word_begins(bytes_skip(name, at))) {
            return true;
        }
    }
    return false;
}

static bool pattern_fits(struct bytes pattern, struct bytes name)
{
    if (pattern.at[pattern.len - 1] != '*') {
        return bytes_equal_nocase(pattern, name);
    }
    struct bytes start = bytes_take(pattern, pattern.len - 1);
    return start.len > 0 && bytes_equal_nocase(bytes_take(name, start.len), start);
}

bool profile_keeps_field(const struct profile *profile, struct bytes name)
{
    bool never = is_one_of(name, passing_fields, ARRAY_COUNT(passing_fields)) || holds_secret_word(name) ||
                 bytes_equal_nocase(bytes_take(name, 5), BYTES("Weir-"));
    if (never) {
        return false;
    }
    if (is_one_of(name, common_fields, ARRAY_COUNT(common_fields))) {
        return true;
    }
    if (profile->key_place == KEY_IN_HEADER && bytes_equal_nocase(name, profile->key)) {
        return true; /* processors that tell the key back are read by their SDKs */
    }
    for (int i = 0; i < PROFILE_FIELDS_MAX && profile->kept_fields[i].len > 0; i++) {
        if (pattern_fits(profile->kept_fields[i], name)) {
            return true;
        }
    }
    return false;
}

/* ---- errors of weir's own ---- */

uint16_t profile_status(const struct profile *profile, enum reason reason)
{
    for (int i = 0; i < PROFILE_CODES_MAX && profile->statuses[i].status != 0; i++) {
        if (profile->statuses[i].reason == reason) {
            return profile->statuses[i].status;
        }
    }
    return reason_status(reason);
}
