/*
 * The end of the process when an invariant is broken. It runs in signal
 * handlers and with a broken heap, so it only knows write(2) and abort(3).
 */
#include "weir/base/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t written = write(STDERR_FILENO, text, len);

        if (written <= 0) {
            return; /* nobody to tell; the abort still speaks */
        }
        text += written;
        len -= (size_t)written;
    }
}

static void say_number(int number)
{
    char digits[12];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    say(&digits[at]);
}

void check_failed(const char *file, int line, const char *expression)
{
    say("weir: check failed: ");
    say(expression);
    say(" (");
    say(file);
    say(":");
    say_number(line);
    say(")\n");
    abort();
}
