/*
 * Names and sentences of enum err, generated from its table so that they
 * cannot drift.
 */
#include "weir/base/err.h"

#include "weir/base/check.h"

#define ROW_NAME(name, sentence)     #name,
#define ROW_SENTENCE(name, sentence) sentence,

static const char *const names[] = {ERR_TABLE(ROW_NAME)};
static const char *const sentences[] = {ERR_TABLE(ROW_SENTENCE)};

const char *err_name(enum err err)
{
    return (size_t)err < ARRAY_COUNT(names) ? names[err] : "UNKNOWN";
}

const char *err_sentence(enum err err)
{
    return (size_t)err < ARRAY_COUNT(sentences) ? sentences[err] : "an error without a name";
}
