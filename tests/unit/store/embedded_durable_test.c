/*
 * The embedded store and kill -9: another process begins, completes and marks as
 * fast as it can and says of each what was acknowledged; it is killed in the
 * middle, over and over on the same files, and all that it had said must stand.
 */
#include "embedded_support.h"

#define ROUNDS 25
#define KEYS_PER_ROUND 400
#define KEYS (ROUNDS * KEYS_PER_ROUND)
#define WINDOW 48
#define ANSWER_BYTES 1500

/* What was acknowledged of a key. */
enum said { SAID_NOTHING, SAID_BEGUN, SAID_MARKED, SAID_COMPLETED };

struct word {
    uint32_t n;
    uint32_t said;
};

static struct scene scene;
static uint8_t said[KEYS];
static uint64_t seed = 2685821657736338717u;

static struct idem_op op_for(enum idem_op_kind kind, uint32_t n)
{
    static char answer[ANSWER_BYTES];
    struct idem_op op = op_of(kind, n, 'a');

    memset(answer, (int)('a' + n % 26), sizeof answer);
    op.answer = bytes_of(answer, sizeof answer);
    return op;
}

/* ---- the process that is killed ---- */

struct stream {
    int words;
    uint32_t next, end;
};

struct stroke {
    struct stream *stream;
    uint32_t n;
    bool settling;
};

static void stroke_begin(struct stroke *stroke);

static void on_stroke(void *owner, enum store_status status, const struct idem_result *result)
{
    struct stroke *stroke = owner;
    bool marks = stroke->n % 5 == 0;
    struct word word = {stroke->n, !stroke->settling ? SAID_BEGUN : marks ? SAID_MARKED : SAID_COMPLETED};

    if (status != STORE_OK || (!stroke->settling && result->verdict != IDEM_NEW)) {
        _exit(2);
    }
    if (write(stroke->stream->words, &word, sizeof word) != sizeof word) {
        _exit(3);
    }
    if (stroke->settling) {
        stroke_begin(stroke);
        return;
    }
    struct idem_op op = op_for(marks ? IDEM_MARK : IDEM_COMPLETE, stroke->n);
    stroke->settling = true;
    if (store_ask(scene.store, &op, true, ASK_MS, on_stroke, stroke) == NULL) {
        _exit(4);
    }
}

static void stroke_begin(struct stroke *stroke)
{
    if (stroke->stream->next == stroke->stream->end) {
        return;
    }
    stroke->n = stroke->stream->next++;
    stroke->settling = false;
    struct idem_op op = op_for(IDEM_BEGIN, stroke->n);
    if (store_ask(scene.store, &op, true, ASK_MS, on_stroke, stroke) == NULL) {
        _exit(5);
    }
}

/* Never returns: it is killed, at the latest when it has nothing to do any more. */
static void be_killed(uint32_t first, int words)
{
    static struct stroke strokes[WINDOW];
    struct stream stream = {words, first, first + KEYS_PER_ROUND};

    scene.options.heard = NULL;
    scene.store = store_open(&scene.conf, &scene.options, scene.why, sizeof scene.why);
    if (scene.store == NULL) {
        _exit(1);
    }
    for (int i = 0; i < WINDOW; i++) {
        strokes[i].stream = &stream;
        stroke_begin(&strokes[i]);
    }
    for (;;) {
        turn(scene.loop);
    }
}

/* ---- the one that kills it ---- */

static void hear(const struct word *word)
{
    assert_in_range(word->n, 0, KEYS - 1);
    said[word->n] = (uint8_t)word->said;
}

static uint32_t round_of(uint32_t first)
{
    /* Some are killed while they open the files. */
    uint32_t words_max = (uint32_t)(random_next(&seed) % 4 == 0 ? random_next(&seed) % 3 : random_next(&seed) % 700);
    uint32_t count = 0;
    struct word word;
    int words[2], status;

    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(words[0]);
        be_killed(first, words[1]);
    }
    close(words[1]);
    while (count < words_max && read(words[0], &word, sizeof word) == sizeof word) {
        hear(&word);
        count++;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(words[0], &word, sizeof word) == sizeof word) {
        hear(&word);
        count++;
    }
    close(words[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) {
        fail_msg("it ended by itself, with %d", WEXITSTATUS(status));
    }
    return count;
}

static void check_key(uint32_t n, const struct asked *asked)
{
    char expected[ANSWER_BYTES];

    if (said[n] == SAID_NOTHING) {
        assert_status(*asked, STORE_OK);
        return;
    }
    memset(expected, (int)('a' + n % 26), sizeof expected);
    /* Another owner asks: what was begun, or marked, is nobody's now; a completion may be there that was not told. */
    if (said[n] == SAID_COMPLETED || asked->result.verdict == IDEM_REPLAY) {
        assert_verdict(*asked, IDEM_REPLAY);
        assert_int_not_equal(n % 5, 0);
        assert_int_equal(asked->answer_len, ANSWER_BYTES);
        assert_memory_equal(asked->answer, expected, ANSWER_BYTES);
    } else {
        assert_verdict(*asked, IDEM_TAKEN_OVER);
    }
}

static void check_all(uint32_t first, uint32_t end)
{
    static struct asked asked[KEYS_PER_ROUND];
    static int count;

    for (; first < end; first += KEYS_PER_ROUND) {
        count = 0;
        for (uint32_t i = 0; i < KEYS_PER_ROUND; i++) {
            struct idem_op op = op_of(said[first + i] == SAID_NOTHING ? IDEM_READ : IDEM_BEGIN, first + i, 'z');
            (void)ask_start(&scene, &op, &asked[i]);
            asked[i].count = &count;
        }
        UNTIL(scene.loop, count == KEYS_PER_ROUND);
        for (uint32_t i = 0; i < KEYS_PER_ROUND; i++) {
            check_key(first + i, &asked[i]);
        }
    }
}

/* What lmdb_record_bytes takes the record for: its serial is not known before. */
static size_t longest_of(const struct lmdb_entry *entry)
{
    uint8_t bytes[LMDB_RECORD_BYTES_MAX];
    return lmdb_record_write(&entry->name, &entry->record, entry->record.answer.len == 0 ? 0 : UINT64_MAX >> 12, bytes);
}

/* What the tables that sort by time say is what the records say. */
static void check_tables(void)
{
    struct lmdb *lmdb = &scene_embedded(&scene)->lmdb;
    struct lmdb_place place = {0, {0}};
    struct lmdb_entry entry;
    uint64_t open = 0, told = 0, expiring = 0, bytes = 0;
    bool over = false;
    int error = 0;

    UNTIL(scene.loop, !scene_embedded(&scene)->tick.asked);
    assert_int_equal(lmdb_begin(lmdb, false), 0);
    while (!over) {
        struct idem_name names[64];
        int count = lmdb_list_from(lmdb, LMDB_RECORDS, &place, NULL, 0, names, 64, 64, &over, &error);
        assert_int_equal(error, 0);
        for (int i = 0; i < count; i++) {
            assert_int_equal(lmdb_load(lmdb, &names[i], &entry), 0);
            open += entry.record.state != IDEM_DONE;
            told += entry.record.told;
            expiring += entry.record.state != IDEM_IN_FLIGHT;
            bytes += lmdb_record_bytes(&entry.record) - longest_of(&entry) + entry.len;
        }
    }
    assert_int_equal(lmdb_count(lmdb, LMDB_OPEN), open);
    assert_int_equal(lmdb_count(lmdb, LMDB_TOLD), told);
    assert_int_equal(lmdb_count(lmdb, LMDB_EXPIRY), expiring);
    lmdb_abort(lmdb);
    for (uint16_t bucket = 0; bucket < IDEM_BUCKETS; bucket++) {
        bytes -= lmdb_bucket_bytes(lmdb, bucket);
    }
    assert_int_equal(bytes, 0);
}

static void test_what_was_acknowledged_outlives_kill(void **state)
{
    uint32_t words = 0;

    (void)state;
    scene_init(&scene, 64u << 20);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        words += round_of(round * KEYS_PER_ROUND);
        if (round % 5 == 4) { /* the next opens what this one left, or what we did */
            scene_open(&scene);
            check_all(round / 5 * 5 * KEYS_PER_ROUND, (round + 1) * KEYS_PER_ROUND);
            check_tables();
            scene_close(&scene);
        }
    }
    assert_in_range(words, 1000, ROUNDS * KEYS_PER_ROUND * 2);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_acknowledged_outlives_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
