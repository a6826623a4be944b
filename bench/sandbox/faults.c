/*
 * Reading of fault lists and the count of armed ones. See faults.h for what
 * each fault does.
 */
#include "faults.h"

struct fault_word {
    const char *text;
    bool valued;
};

static const struct fault_word words[FAULT_COUNT] = {
#define FAULT_WORD(name, text, valued) [FAULT_##name] = {text, valued},
    FAULT_TABLE(FAULT_WORD)
#undef FAULT_WORD
};

/* Longer delays and bigger answers are a slip of the pen. */
#define FAULT_VALUE_MAX (UINT64_C(1) << 30)

static bool parse_one(struct bytes element, struct faults *faults)
{
    size_t equals = bytes_find(element, '=');
    struct bytes name = bytes_trim(bytes_take(element, equals));
    uint64_t value = 0;

    for (int id = 0; id < FAULT_COUNT; id++) {
        if (!bytes_equal_nocase(name, bytes_from_text(words[id].text))) {
            continue;
        }
        if (words[id].valued != (equals != SIZE_MAX)) {
            return false;
        }
        if (words[id].valued &&
            (!bytes_to_u64(bytes_trim(bytes_skip(element, equals + 1)), &value) || value > FAULT_VALUE_MAX)) {
            return false;
        }
        faults->set |= 1u << id;
        faults->value[id] = value;
        return true;
    }
    return false;
}

static bool status_is_final(const struct faults *faults, enum fault_id id)
{
    return !faults_has(faults, id) || (faults->value[id] >= 200 && faults->value[id] <= 599);
}

bool faults_parse(struct bytes text, struct faults *faults, struct bytes *bad)
{
    struct bytes list = bytes_trim(text);
    struct bytes element;

    *faults = (struct faults){0};
    *bad = list;
    if (list.len == 0) {
        return true;
    }
    while (bytes_next_element(&list, &element)) {
        if (!parse_one(element, faults)) {
            *bad = element;
            return false;
        }
    }
    return status_is_final(faults, FAULT_STATUS_BEFORE) && status_is_final(faults, FAULT_STATUS_AFTER);
}

void faults_arm(struct faults_armed *armed, const struct faults *faults, uint64_t count)
{
    armed->faults = *faults;
    armed->count = faults->set == 0 ? 0 : count;
}

struct faults faults_take(struct faults_armed *armed)
{
    if (armed->count == 0) {
        return (struct faults){0};
    }
    armed->count--;
    return armed->faults;
}
