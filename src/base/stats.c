/*
 * The book of metrics: families in the order of their first use, each with its
 * series, and the flat array of slots that everything counts into. A counter
 * or gauge owns one slot; a histogram owns its count, its sum and one slot for
 * each bucket, the last of them without bound. Labels are rendered once, when a
 * series is made. Printing is stats_print.c's.
 */
#include "stats_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "utf8_internal.h"

static const struct stats_family refused_family = {
    .name = "weir_stats_series_refused_total",
    .help = "Series that were not made because the limit of series or slots was reached.",
    .kind = STATS_COUNTER,
};

/* Zeroed memory that costs nothing until it is touched. */
static void *map_zeroed(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

struct stats *stats_open(void)
{
    struct stats_book *book = calloc(1, sizeof(*book));

    if (book == NULL) {
        return NULL;
    }
    book->stats.slots = map_zeroed(STATS_SLOTS_MAX * sizeof(*book->stats.slots));
    book->bounds = map_zeroed(STATS_SLOTS_MAX * sizeof(const uint64_t *));
    book->families = table_open(0);
    book->series = table_open(STATS_SERIES_MAX);
    book->slots_used = 1; /* the first is STATS_NONE's */
    if (book->stats.slots == NULL || book->bounds == NULL || book->families == NULL || book->series == NULL) {
        stats_close(&book->stats);
        return NULL;
    }
    book->refused = stats_series(&book->stats, &refused_family);
    if (book->refused == STATS_NONE) {
        stats_close(&book->stats);
        return NULL;
    }
    return &book->stats;
}

static void free_family(struct stats__family *family)
{
    for (size_t i = 0; i < family->count; i++) {
        free(family->series[i].labels);
    }
    free(family->series);
    free(family);
}

void stats_close(struct stats *stats)
{
    struct stats_book *book;

    if (stats == NULL) {
        return;
    }
    book = stats__book(stats);
    while (book->first != NULL) {
        struct stats__family *family = book->first;

        book->first = family->next;
        free_family(family);
    }
    table_close(book->families);
    table_close(book->series);
    if (book->stats.slots != NULL) {
        munmap(book->stats.slots, STATS_SLOTS_MAX * sizeof(*book->stats.slots));
    }
    if (book->bounds != NULL) {
        munmap(book->bounds, STATS_SLOTS_MAX * sizeof(const uint64_t *));
    }
    free(book);
}

static size_t count_bounds(const struct stats_family *family)
{
    size_t count = 0;

    if (family->kind != STATS_HISTOGRAM) {
        return 0;
    }
    CHECK(family->bounds != NULL);
    while (family->bounds[count] != 0) {
        CHECK(count == 0 || family->bounds[count] > family->bounds[count - 1]);
        count++;
        CHECK(count <= STATS_BOUNDS_MAX);
    }
    return count;
}

static size_t count_labels(const struct stats_family *family)
{
    size_t count = 0;

    while (count < STATS_LABELS_MAX && family->labels[count] != NULL) {
        count++;
    }
    return count;
}

/* The family of that name, made on its first use. NULL: no memory. */
static struct stats__family *find_family(struct stats_book *book, const struct stats_family *asked)
{
    struct bytes name = bytes_from_text(asked->name);
    struct stats__family *family = table_find(book->families, name);

    if (family != NULL) {
        CHECK(family->meta.kind == asked->kind && family->label_count == count_labels(asked));
        return family;
    }
    family = calloc(1, sizeof(*family));
    if (family == NULL) {
        return NULL;
    }
    if (!table_put(book->families, name, family)) {
        free(family);
        return NULL;
    }
    family->meta = *asked;
    family->label_count = count_labels(asked);
    family->bound_count = count_bounds(asked);
    if (book->last == NULL) {
        book->first = family;
    } else {
        book->last->next = family;
    }
    book->last = family;
    return family;
}

/* Appends a label value as the text format wants it: escaped, and UTF-8 whatever it was. */
static void put_value(FILE *out, const char *value)
{
    struct bytes rest = bytes_from_text(value);

    while (rest.len > 0) {
        size_t len = utf8_char_bytes(rest.at, rest.len);
        char byte = rest.at[0];

        if (len == 0) {
            fputc('?', out);
        } else if (byte == '\n') {
            fputs("\\n", out);
        } else {
            if (byte == '"' || byte == '\\') {
                fputc('\\', out);
            }
            fwrite(rest.at, 1, len, out);
        }
        rest = bytes_skip(rest, len == 0 ? 1 : len);
    }
}

/*
 * NAME{label="value",...} on the heap: what a series is found by and what it is
 * printed with. NULL: no memory. A stream does the growing; this is for loads
 * of a configuration, not for requests.
 */
static char *render(const struct stats__family *family, va_list values)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    bool failed;

    if (out == NULL) {
        return NULL;
    }
    fputs(family->meta.name, out);
    fputc('{', out);
    for (size_t i = 0; i < family->label_count; i++) {
        fprintf(out, "%s%s=\"", i > 0 ? "," : "", family->meta.labels[i]);
        put_value(out, va_arg(values, const char *));
        fputc('"', out);
    }
    fputc('}', out);
    failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (failed) {
        free(text);
        return NULL;
    }
    return text;
}

static bool reserve_series(struct stats__family *family)
{
    size_t size = family->size == 0 ? 4 : family->size * 2;
    struct stats__series *series;

    if (family->count < family->size) {
        return true;
    }
    series = realloc(family->series, size * sizeof(*series));
    if (series == NULL) {
        return false;
    }
    family->series = series;
    family->size = size;
    return true;
}

/* Takes over `text`. STATS_NONE: no room, no memory. */
static stats_id add_series(struct stats_book *book, struct stats__family *family, char *text)
{
    size_t slots = family->meta.kind == STATS_HISTOGRAM ? STATS__BUCKETS + family->bound_count + 1 : 1;
    stats_id id = book->slots_used;

    if (slots > STATS_SLOTS_MAX - book->slots_used || !reserve_series(family) ||
        !table_put(book->series, bytes_from_text(text), (void *)(uintptr_t)id)) {
        free(text);
        return STATS_NONE;
    }
    book->slots_used += (stats_id)slots;
    book->bounds[id] = family->meta.kind == STATS_HISTOGRAM ? family->meta.bounds : NULL;
    family->series[family->count++] = (struct stats__series){.id = id, .labels = text};
    return id;
}

stats_id stats_series(struct stats *stats, const struct stats_family *asked, ...)
{
    struct stats_book *book = stats__book(stats);
    struct stats__family *family = find_family(book, asked);
    stats_id id = STATS_NONE;
    char *text = NULL;
    va_list values;

    if (family != NULL) {
        va_start(values, asked);
        text = render(family, values);
        va_end(values);
    }
    if (text != NULL) {
        id = (stats_id)(uintptr_t)table_find(book->series, bytes_from_text(text));
        if (id != STATS_NONE) {
            free(text);
            return id;
        }
        id = add_series(book, family, text);
    }
    if (id == STATS_NONE) {
        stats_add(stats, book->refused, 1);
    }
    return id;
}

void stats_observe(struct stats *stats, stats_id id, uint64_t value)
{
    const uint64_t *bounds;
    uint64_t *slots;
    size_t bucket = 0;

    DCHECK(id < STATS_SLOTS_MAX);
    bounds = stats__book(stats)->bounds[id];
    if (bounds == NULL) {
        return; /* STATS_NONE */
    }
    while (bounds[bucket] != 0 && value > bounds[bucket]) {
        bucket++;
    }
    slots = &stats->slots[id];
    slots[STATS__COUNT]++;
    slots[STATS__SUM] += value;
    slots[STATS__BUCKETS + bucket]++;
}

void stats_on_collect(struct stats *stats, stats_collect_cb collect, void *owner)
{
    struct stats_book *book = stats__book(stats);

    CHECK(book->collector_count < STATS__COLLECTORS_MAX);
    book->collectors[book->collector_count++] = (struct stats__collector){.collect = collect, .owner = owner};
}
