/*
 * Prometheus text exposition 0.0.4: each family once with its HELP and TYPE,
 * then all its series. Microseconds become seconds by placing the point, never
 * by dividing, so that 2500 us is 0.0025 and nothing else.
 */
#include "stats_internal.h"

#include "weir/base/clock.h"

struct printer {
    struct buf *out;
    enum err err; /* the first failure; everything after it is dropped */
    size_t len;
    char line[4096]; /* gathered before it goes to `out` */
};

static void flush(struct printer *to)
{
    if (to->err == ERR_OK) {
        to->err = buf_append(to->out, bytes_of(to->line, to->len), BLOCKS_MAY);
    }
    to->len = 0;
}

static void put(struct printer *to, struct bytes text)
{
    while (text.len > 0) {
        struct bytes part = bytes_take(text, sizeof(to->line) - to->len);

        memcpy(to->line + to->len, part.at, part.len);
        to->len += part.len;
        text = bytes_skip(text, part.len);
        if (to->len == sizeof(to->line)) {
            flush(to);
        }
    }
}

static void put_text(struct printer *to, const char *text)
{
    put(to, bytes_from_text(text));
}

static void put_u64(struct printer *to, uint64_t value)
{
    char text[BYTES_U64_DIGITS];

    put(to, bytes_of(text, bytes_from_u64(value, text)));
}

/* Exactly value / 1 000 000, without needless zeros. */
static void put_seconds(struct printer *to, uint64_t us)
{
    uint64_t part = us % CLOCK_US_PER_S;
    char digits[7] = {'.'};
    size_t len = sizeof(digits);

    put_u64(to, us / CLOCK_US_PER_S);
    if (part == 0) {
        return;
    }
    for (size_t i = sizeof(digits) - 1; i > 0; i--) {
        digits[i] = (char)('0' + part % 10);
        part /= 10;
    }
    while (digits[len - 1] == '0') {
        len--;
    }
    put(to, bytes_of(digits, len));
}

static void put_value(struct printer *to, const struct stats_family *family, uint64_t value)
{
    if (family->kind == STATS_GAUGE && value > INT64_MAX) {
        put_text(to, "-");
        value = -value;
    }
    if (family->seconds) {
        put_seconds(to, value);
    } else {
        put_u64(to, value);
    }
}

static void put_help(struct printer *to, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\') {
            put_text(to, "\\\\");
        } else if (*help == '\n') {
            put_text(to, "\\n");
        } else {
            put(to, bytes_of(help, 1));
        }
    }
}

static void print_head(struct printer *to, const struct stats_family *family)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    put_text(to, "# HELP ");
    put_text(to, family->name);
    put_text(to, " ");
    put_help(to, family->help);
    put_text(to, "\n# TYPE ");
    put_text(to, family->name);
    put_text(to, " ");
    put_text(to, kinds[family->kind]);
    put_text(to, "\n");
}

/* name + suffix + {labels, le="bound"}; without braces when there is nothing to put into them. */
static void put_name(struct printer *to, const struct stats__family *family, const struct stats__series *series,
                     const char *suffix, const uint64_t *bound, bool with_bound)
{
    size_t name_len = strlen(family->meta.name);
    struct bytes labels = bytes_skip(bytes_from_text(series->labels), name_len + 1);

    labels.len--; /* the closing brace */
    put(to, bytes_of(family->meta.name, name_len));
    put_text(to, suffix);
    if (labels.len > 0 || with_bound) {
        put_text(to, "{");
        put(to, labels);
        if (with_bound) {
            put_text(to, labels.len > 0 ? ",le=\"" : "le=\"");
            if (bound == NULL) {
                put_text(to, "+Inf");
            } else {
                put_value(to, &family->meta, *bound);
            }
            put_text(to, "\"");
        }
        put_text(to, "}");
    }
    put_text(to, " ");
}

static void print_histogram(struct printer *to, const struct stats__family *family, const struct stats__series *series,
                            const uint64_t *slots)
{
    uint64_t total = 0;

    for (size_t i = 0; i <= family->bound_count; i++) {
        const uint64_t *bound = i < family->bound_count ? &family->meta.bounds[i] : NULL;

        total += slots[STATS__BUCKETS + i];
        put_name(to, family, series, "_bucket", bound, true);
        put_u64(to, total);
        put_text(to, "\n");
    }
    put_name(to, family, series, "_sum", NULL, false);
    put_value(to, &family->meta, slots[STATS__SUM]);
    put_text(to, "\n");
    put_name(to, family, series, "_count", NULL, false);
    put_u64(to, total);
    put_text(to, "\n");
}

static void print_family(struct printer *to, const struct stats__family *family, const uint64_t *slots)
{
    if (family->count == 0) {
        return;
    }
    print_head(to, &family->meta);
    for (size_t i = 0; i < family->count; i++) {
        const struct stats__series *series = &family->series[i];

        if (family->meta.kind == STATS_HISTOGRAM) {
            print_histogram(to, family, series, &slots[series->id]);
            continue;
        }
        put_name(to, family, series, "", NULL, false);
        put_value(to, &family->meta, slots[series->id]);
        put_text(to, "\n");
    }
}

enum err stats_print(struct stats *stats, struct buf *out)
{
    struct stats_book *book = stats__book(stats);
    struct printer to = {.out = out, .err = ERR_OK};

    for (size_t i = 0; i < book->collector_count; i++) {
        book->collectors[i].collect(book->collectors[i].owner, stats);
    }
    for (struct stats__family *family = book->first; family != NULL && to.err == ERR_OK; family = family->next) {
        print_family(&to, family, stats->slots);
    }
    flush(&to);
    return to.err;
}
