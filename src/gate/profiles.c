/*
 * A profile as the configuration has it, turned into what policy asks: texts
 * borrowed from the conf, lists copied into their bounded arrays. The bounds
 * are the same in both, and the configuration has refused what does not fit.
 */
#include "gate_internal.h"

static void copy_codes(struct profile_codes to[PROFILE_CODES_MAX], const struct conf_codes *from, int count)
{
    CHECK(count <= PROFILE_CODES_MAX);
    for (int i = 0; i < count; i++) {
        to[i] = (struct profile_codes){.low = from[i].low, .high = from[i].high};
    }
}

static void copy_fields(struct bytes to[PROFILE_FIELDS_MAX], const char **from, int count)
{
    CHECK(count <= PROFILE_FIELDS_MAX);
    for (int i = 0; i < count; i++) {
        to[i] = bytes_from_text(from[i]);
    }
}

static void copy_words(struct bytes to[PROFILE_WORDS_MAX], const char **from, int count)
{
    CHECK(count <= PROFILE_WORDS_MAX);
    for (int i = 0; i < count; i++) {
        to[i] = bytes_from_text(from[i]);
    }
}

static void copy_retentions(struct profile *profile, const struct conf_profile *from)
{
    CHECK(from->retention_count <= PROFILE_RETENTIONS_MAX);
    for (int i = 0; i < from->retention_count; i++) {
        profile->retentions[i] = (struct profile_retention){
            .prefix = bytes_from_text(from->retentions[i].path),
            .ms = from->retentions[i].keep_ms,
        };
    }
}

/* "Transient-Error: true" */
static void split_field(const char *text, struct bytes *name, struct bytes *value)
{
    struct bytes line = bytes_from_text(text);
    size_t colon = bytes_find(line, ':');
    *name = bytes_trim(colon == SIZE_MAX ? line : bytes_take(line, colon));
    *value = colon == SIZE_MAX ? BYTES_NONE : bytes_trim(bytes_skip(line, colon + 1));
}

static void add_status(struct profile *profile, enum reason reason, uint16_t status)
{
    int at = 0;
    while (at < PROFILE_CODES_MAX && profile->statuses[at].status != 0) {
        at++;
    }
    CHECK(at < PROFILE_CODES_MAX);
    profile->statuses[at] = (struct profile_status_row){.reason = reason, .status = status};
}

void profile_from_conf(struct profile *profile, const struct conf_profile *from)
{
    *profile = (struct profile){
        .name = from->name,
        .deduplicates = from->deduplicates,
        .key_place = from->key.place == CONF_KEY_JSON ? KEY_IN_JSON : KEY_IN_HEADER,
        .key = bytes_from_text(from->key.at),
        .key_bytes_min = (uint16_t)from->key_bytes_min,
        .key_bytes_max = (uint16_t)from->key_bytes_max,
        .key_chars = from->key_chars,
        .keys_put = from->keys_put,
        .keys_delete = from->keys_delete,
        .replay_marker = bytes_from_text(from->replay_marker),
        .errors = (enum profile_errors)from->errors,
        .should_retry = from->should_retry,
    };
    _Static_assert((int)CONF_ERRORS_SQUARE == (int)PROFILE_ERRORS_SQUARE, "both enums have the same order");
    CHECK(from->key_bytes_max <= PROFILE_KEY_BYTES_MAX && from->key_bytes_min <= from->key_bytes_max);
    copy_retentions(profile, from);
    copy_codes(profile->final, from->final, from->final_count);
    copy_codes(profile->not_executed, from->not_executed, from->not_executed_count);
    copy_codes(profile->busy, from->busy, from->busy_count);
    copy_codes(profile->declined, from->declined, from->declined_count);
    copy_words(profile->unproven_words, from->unproven_words, from->unproven_word_count);
    copy_words(profile->declined_words, from->declined_words, from->declined_word_count);
    copy_words(profile->test_keys, from->test_keys, from->test_key_count);
    copy_fields(profile->print_fields, from->print_fields, from->print_field_count);
    copy_fields(profile->kept_fields, from->kept_fields, from->kept_field_count);
    split_field(from->not_executed_field, &profile->not_executed_field, &profile->not_executed_value);
    if (from->key_reused_status != 0) {
        add_status(profile, REASON_KEY_REUSED, from->key_reused_status);
    }
    if (from->key_in_progress_status != 0) {
        add_status(profile, REASON_KEY_IN_PROGRESS, from->key_in_progress_status);
    }
    if (from->outcome_unknown_status != 0) {
        add_status(profile, REASON_OUTCOME_UNKNOWN, from->outcome_unknown_status);
    }
}
