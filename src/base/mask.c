/*
 * Finds card numbers in one pass with fixed memory. Digits that only single
 * blanks or dashes part form a run; where unparted they form a group. A card
 * is a window of 13 to 19 digits of a run that begins where a group begins,
 * ends where a group ends, and passes the Luhn check; in a group of more than
 * 19 digits, every window counts that touches its first or last 19. When
 * windows overlap, a digit stays readable only if it does in all of them, so
 * that a chance match beside a real number never uncovers it.
 */
#include "weir/base/mask.h"

#define CARD_DIGITS_MIN 13
#define CARD_DIGITS_MAX 19
#define SHOWN_FIRST     6
#define SHOWN_LAST      4
#define HISTORY         32 /* a power of two above CARD_DIGITS_MAX */

/* One digit of the run. The sums are of the run before it: digits in odd places doubled, and in even ones. */
struct digit {
    size_t at; /* offset in the text */
    unsigned sum_odd;
    unsigned sum_even;
    bool starts; /* a window may begin here */
    uint8_t width;
};

struct scan {
    char *text;
    size_t len;
    size_t masked_end; /* the first digit index of the run that no window found so far covers */
    size_t masked_count;
    size_t index; /* digits of this run so far */
    unsigned sum_odd;
    unsigned sum_even;
    size_t group_index; /* digits of this group so far */
    size_t group_len;
    struct digit history[HISTORY];
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* The bytes of the digit at `at`, 1 or 3 when it is percent-escaped; 0: there is none. */
static uint8_t digit_width(const struct scan *scan, size_t at)
{
    const char *text = scan->text + at;
    size_t left = scan->len - at;

    if (left >= 1 && text[0] >= '0' && text[0] <= '9') {
        return 1;
    }
    return left >= 3 && text[0] == '%' && text[1] == '3' && text[2] >= '0' && text[2] <= '9' ? 3 : 0;
}

/* The bytes of the separator at `at`: a blank or dash, or either as a URL writes it. */
static size_t separator_width(const struct scan *scan, size_t at)
{
    const char *text = scan->text + at;
    size_t left = scan->len - at;

    if (left >= 1 && (text[0] == ' ' || text[0] == '-' || text[0] == '+')) {
        return 1;
    }
    return left >= 3 && text[0] == '%' && text[1] == '2' && (text[2] == '0' || (text[2] | 0x20) == 'd') ? 3 : 0;
}

static size_t count_group(const struct scan *scan, size_t at)
{
    size_t count = 0;

    for (;;) {
        uint8_t width = digit_width(scan, at);

        if (width == 0) {
            return count;
        }
        at += width;
        count++;
    }
}

static const struct digit *digit_of(const struct scan *scan, size_t index)
{
    return &scan->history[index % HISTORY];
}

/* Luhn over the digits from `first` to the newest: every second one from the right is doubled. */
static bool passes_luhn(const struct scan *scan, size_t first)
{
    const struct digit *start = digit_of(scan, first);
    size_t last = scan->index - 1;
    /* The second from the right stands at last - 1. */
    unsigned sum = last % 2 == 0 ? scan->sum_odd - start->sum_odd : scan->sum_even - start->sum_even;

    return sum % 10 == 0;
}

static void mask_window(struct scan *scan, size_t first)
{
    for (size_t i = first + SHOWN_FIRST; i + SHOWN_LAST < scan->index; i++) {
        const struct digit *digit = digit_of(scan, i);

        memset(scan->text + digit->at, '*', digit->width);
    }
    if (first >= scan->masked_end) {
        scan->masked_count++; /* overlapping windows are one number */
    }
    scan->masked_end = scan->index;
}

/* Looks at every window that ends at the newest digit. */
static void try_windows(struct scan *scan)
{
    for (size_t count = CARD_DIGITS_MIN; count <= CARD_DIGITS_MAX && count <= scan->index; count++) {
        size_t first = scan->index - count;

        if (digit_of(scan, first)->starts && passes_luhn(scan, first)) {
            mask_window(scan, first);
        }
    }
}

static void add_digit(struct scan *scan, size_t at, uint8_t width)
{
    unsigned value = (unsigned)(scan->text[at + width - 1] - '0');
    unsigned doubled = value < 5 ? value * 2 : value * 2 - 9;
    bool is_long = scan->group_len > CARD_DIGITS_MAX;
    bool odd = scan->index % 2 == 1;
    bool starts = scan->group_index == 0 || (is_long && scan->group_len - scan->group_index <= CARD_DIGITS_MAX);
    bool ends = scan->group_index + 1 == scan->group_len || (is_long && scan->group_index < CARD_DIGITS_MAX);

    scan->history[scan->index % HISTORY] = (struct digit){at, scan->sum_odd, scan->sum_even, starts, width};
    scan->sum_odd += odd ? doubled : value;
    scan->sum_even += odd ? value : doubled;
    scan->index++;
    scan->group_index++;
    if (ends) {
        try_windows(scan);
    }
}

/* Follows the run that begins at `at` to its end, which it returns. */
static size_t scan_run(struct scan *scan, size_t at)
{
    scan->index = 0;
    scan->masked_end = 0;
    scan->sum_odd = 0;
    scan->sum_even = 0;
    for (;;) {
        size_t separator;

        scan->group_index = 0;
        scan->group_len = count_group(scan, at);
        while (scan->group_index < scan->group_len) {
            uint8_t width = digit_width(scan, at);

            add_digit(scan, at, width);
            at += width;
        }
        separator = separator_width(scan, at);
        if (separator == 0 || digit_width(scan, at + separator) == 0) {
            return at;
        }
        at += separator;
    }
}

/* The length of the id of ours at `at`: 32 or 64 hex digits or a UUID, with a letter in it. 0: none. */
static size_t id_length(const struct scan *scan, size_t at)
{
    size_t len = 0;
    bool letter = false;
    bool uuid = true;

    while (at + len < scan->len && len <= 64) {
        char c = scan->text[at + len];
        bool dash = len == 8 || len == 13 || len == 18 || len == 23;

        if (!is_hex(c) && !(uuid && dash && c == '-')) {
            break;
        }
        uuid = uuid && dash == (c == '-');
        letter = letter || c >= 'a';
        len++;
    }
    if (!letter) {
        return 0;
    }
    return len == 32 || len == 64 || (uuid && len == 36) ? len : 0;
}

static bool is_word(char c)
{
    char lower = (char)(c | 0x20);

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') || c == '-' || c == '%';
}

/* The whole text, once it is known to have digits enough. */
static size_t scan_text(char *text, size_t len)
{
    struct scan scan = {.text = text, .len = len};
    bool word = false; /* the byte before is part of one */
    size_t at = 0;

    while (at < len) {
        size_t id = !word && is_hex(text[at]) ? id_length(&scan, at) : 0;

        if (id > 0 && (at + id == len || !is_word(text[at + id]))) {
            at += id;
        } else if (digit_width(&scan, at) > 0) {
            at = scan_run(&scan, at);
        } else {
            at++;
        }
        word = at > 0 && is_word(text[at - 1]);
    }
    return scan.masked_count;
}

size_t mask_cards(char *text, size_t len)
{
    size_t digits = 0;

    /* Nearly all texts end here: too few digits for a card. The compiler makes vectors of this. */
    for (size_t i = 0; i < len; i++) {
        digits += (unsigned char)(text[i] - '0') < 10;
    }
    return digits < CARD_DIGITS_MIN ? 0 : scan_text(text, len);
}
