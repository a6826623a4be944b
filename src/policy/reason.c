/*
 * The table of reasons and what is read off it: names, statuses, the settled
 * retry hint and the generated page. The rows are in reason.def; nothing here
 * knows a single one of them.
 */
#include "weir/policy/reason.h"

#include <stdio.h>
#include <stdlib.h>

struct reason_row {
    const char *letters;
    const char *name;
    uint16_t status;
    enum outcome outcome;
    enum reason_hint hint;
    const char *sentence;
    const char *meaning;
    const char *causes;
    const char *first;
};

static const struct reason_row rows[] = {
#define REASON(NAME, letters, name, status, outcome, hint, sentence, meaning, causes, first)                           \
    {letters, name, status, outcome, hint, sentence, meaning, causes, first},
#include "weir/policy/reason.def"
#undef REASON
};

static const struct reason_row *row_of(enum reason reason)
{
    CHECK(reason < REASON_COUNT);
    return &rows[reason];
}

const char *reason_code(enum reason reason)
{
    return row_of(reason)->letters;
}

const char *reason_name(enum reason reason)
{
    return row_of(reason)->name;
}

uint16_t reason_status(enum reason reason)
{
    return row_of(reason)->status;
}

enum outcome reason_outcome(enum reason reason)
{
    return row_of(reason)->outcome;
}

const char *reason_sentence(enum reason reason)
{
    return row_of(reason)->sentence;
}

const char *reason_sentence_for(enum reason reason, enum outcome outcome)
{
    if (outcome == OUTCOME_UNKNOWN && row_of(reason)->outcome == OUTCOME_NOT_SENT) {
        return "This request came to no answer, and it, or an earlier one with its key, had been sent; whether it was executed is not known.";
    }
    return row_of(reason)->sentence;
}

const char *reason_meaning(enum reason reason)
{
    return row_of(reason)->meaning;
}

const char *reason_causes(enum reason reason)
{
    return row_of(reason)->causes;
}

const char *reason_first(enum reason reason)
{
    return row_of(reason)->first;
}

enum reason reason_find(struct bytes text)
{
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        if (bytes_equal_nocase(text, bytes_from_text(rows[i].name)) ||
            bytes_equal_nocase(text, bytes_from_text(rows[i].letters))) {
            return (enum reason)i;
        }
    }
    return REASON_COUNT;
}

enum retry reason_retry(enum reason reason, const struct reason_asker *asker)
{
    enum retry again = asker->keyed ? RETRY_SAME_KEY : RETRY_SAFE;
    bool harmless = asker->safe_method || (asker->keyed && asker->finds_truth);
    switch (row_of(reason)->hint) {
    case HINT_NO:
        return RETRY_NO;
    case HINT_AGAIN:
        return !asker->sent || harmless ? again : RETRY_NO;
    case HINT_TRUTH:
        return harmless ? again : RETRY_NO;
    }
    return RETRY_NO;
}

const char *outcome_name(enum outcome outcome)
{
    static const char *const names[OUTCOME_COUNT] = {
        [OUTCOME_NOT_SENT] = "not_sent",
        [OUTCOME_ANSWERED] = "answered",
        [OUTCOME_UNKNOWN] = "unknown",
        [OUTCOME_REPLAYED] = "replayed",
    };
    CHECK(outcome < OUTCOME_COUNT);
    return names[outcome];
}

const char *retry_name(enum retry retry)
{
    static const char *const names[RETRY_COUNT] = {
        [RETRY_NO] = "no",
        [RETRY_SAFE] = "safe",
        [RETRY_SAME_KEY] = "same_key",
    };
    CHECK(retry < RETRY_COUNT);
    return names[retry];
}

static const char *hint_words(enum reason_hint hint)
{
    switch (hint) {
    case HINT_NO:
        return "`no`";
    case HINT_AGAIN:
        return "`same_key` with an idempotency key, else `safe`";
    case HINT_TRUTH:
        return "`same_key` where the processor de-duplicates the key, else `no`";
    }
    return "";
}

static void print_reason(FILE *out, const struct reason_row *row)
{
    fprintf(out, "%s\n\n", row->sentence);
    fprintf(out, "- **Meaning:** %s\n- **Likely causes:** %s\n- **First:** %s\n", row->meaning, row->causes, row->first);
}

char *reason_reference_markdown(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    fputs("# Reasons\n\n"
          "Generated from include/weir/policy/reason.def; `weir explain NAME` prints one. An answer made by weir\n"
          "carries its name in `Weir-Reason`, what is known of the money in `Weir-Outcome`, and what the caller may do\n"
          "in `Weir-Retry`.\n\n"
          "| code | name | status | outcome | retry |\n|---|---|---|---|---|\n",
          out);
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        fprintf(out, "| %s | [%s](#%s) | %u | `%s` | %s |\n", rows[i].letters, rows[i].name, rows[i].name,
                (unsigned)rows[i].status, outcome_name(rows[i].outcome), hint_words(rows[i].hint));
    }
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        fprintf(out, "\n## %s\n\n", rows[i].name);
        print_reason(out, &rows[i]);
    }
    return fclose(out) == 0 ? text : NULL;
}

char *reason_explain(enum reason reason)
{
    const struct reason_row *row = row_of(reason);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    fprintf(out, "%s (%s), status %u, outcome %s\n\n%s\n\n  meaning  %s\n  causes   %s\n  first    %s\n", row->name,
            row->letters, (unsigned)row->status, outcome_name(row->outcome), row->sentence, row->meaning, row->causes,
            row->first);
    return fclose(out) == 0 ? text : NULL;
}
