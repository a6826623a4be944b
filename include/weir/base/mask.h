/*
 * Card numbers never reach a log, a metric or a name (docs/decisions/0022;
 * PCI DSS 4.0.1 3.4.1). A run of 13 to 19 digits, single spaces or dashes
 * between them allowed, that passes the Luhn check is printed as its first six,
 * asterisks and its last four.
 */
#ifndef WEIR_BASE_MASK_H
#define WEIR_BASE_MASK_H

#include "weir/base/bytes.h"

/*
 * Masks in place. Returns how many numbers were masked. Digits written as
 * percent-escapes (%34 is '4') count as digits, and %20, %2D and + part them
 * as blanks and dashes do.
 *
 * In doubt it masks: of a longer run, whatever 13 to 19 digits begin and end
 * at its gaps, and of more than 19 digits without a gap, whatever 13 to 19 at
 * their start or end pass. One number in ten passes by chance. Our own ids (32
 * or 64 hex digits, or a UUID, with a letter in them) are never touched.
 */
size_t mask_cards(char *text, size_t len);

#endif
