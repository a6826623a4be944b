/* The files of the embedded store: whose they are, what they must be, and what is done about damage. */
#include "embedded_support.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    scene_init(&scene, LMDB_SIZE_MIN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scene_end(&scene);
    return 0;
}

static void refused_with(const char *what)
{
    scene.why[0] = '\0';
    assert_null(store_open(&scene.conf, &scene.options, scene.why, sizeof scene.why));
    if (strstr(scene.why, what) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", scene.why, what);
    }
}

/* The environment of a store that is closed, for what only damage does. */
static void with_files(const char *table, void (*act)(MDB_txn *txn, MDB_dbi dbi))
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, scene.path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, MDB_CREATE, &dbi), 0);
    act(txn, dbi);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* ---- whose files ---- */

static void test_the_folder_is_made_for_its_owner_alone(void **state)
{
    struct stat stat_of;
    char path[160];

    (void)state;
    scene_open(&scene);
    assert_int_equal(stat(scene.path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0700);
    (void)snprintf(path, sizeof path, "%s/data.mdb", scene.path);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
}

static void test_one_process_has_the_files(void **state)
{
    char who[64];

    (void)state;
    scene_open(&scene);
    (void)snprintf(who, sizeof who, "another weir (process %ld) has the store", (long)getpid());
    refused_with(who);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW); /* the first one's goes on */
    scene_close(&scene);
    scene_open(&scene);
}

static void test_what_cannot_be_opened_says_so(void **state)
{
    char path[160], file[160];
    int fd;

    (void)state;
    scene.conf.size_bytes = LMDB_SIZE_MIN - 1;
    refused_with("below 16MiB");
    scene.conf.size_bytes = LMDB_SIZE_MIN;

    (void)snprintf(path, sizeof path, "%s/none/store", scene.folder);
    scene.conf.path = path;
    refused_with("No such file or directory");

    (void)snprintf(file, sizeof file, "%s/store", scene.folder);
    fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    scene.conf.path = file;
    refused_with("Not a directory");
    (void)snprintf(path, sizeof path, "%s/store/below", scene.folder);
    scene.conf.path = path;
    refused_with("Not a directory");
    close(fd);
    assert_int_equal(unlink(file), 0);
    scene.conf.path = scene.path;
}

static void put_anything(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_val key = {3, (void *)(uintptr_t) "abc"}, value = {3, (void *)(uintptr_t) "def"};

    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void test_files_of_somebody_else_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scene.path, 0700), 0);
    with_files("theirs", put_anything);
    refused_with("is not a store of weir");
}

static void test_a_damaged_file_is_refused(void **state)
{
    char path[160];
    static char garbage[8192];

    (void)state;
    scene_open(&scene);
    scene_close(&scene);
    memset(garbage, 'x', sizeof garbage);
    (void)snprintf(path, sizeof path, "%s/data.mdb", scene.path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, 0), sizeof garbage);
    close(fd);
    refused_with("cannot open the store");
}

static void put_later_format(MDB_txn *txn, MDB_dbi dbi)
{
    uint8_t format[8];
    MDB_val key = {6, (void *)(uintptr_t) "format"}, value = {8, format};

    lmdb_u64_write(7, format);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void test_a_format_of_another_weir_is_refused(void **state)
{
    (void)state;
    scene_open(&scene);
    scene_close(&scene);
    with_files("meta", put_later_format);
    refused_with("has format 7, this weir knows format 1");
}

static void test_another_secret_is_not_trusted(void **state)
{
    struct idem_op op = op_of(IDEM_BEGIN, 1, 'a');
    struct asked asked = {0};

    (void)state;
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    scene_close(&scene);
    scene.options.secret_digest[3]++;
    scene_open(&scene);
    for (int kind = IDEM_BEGIN; kind < IDEM_OP_COUNT; kind++) {
        assert_status(ask(&scene, (enum idem_op_kind)kind, 1, 'a'), STORE_UNTRUSTED);
    }
    assert_non_null(store_ask(scene.store, &op, false, ASK_MS, on_asked, &asked)); /* nor for who needs less */
    UNTIL(scene.loop, asked.done);
    assert_status(asked, STORE_UNTRUSTED);
    assert_string_equal(store_trouble(scene.store, false),
                        "the secret file is not the one that this store was made with");
    assert_string_equal(state_of(&scene).trouble, store_trouble(scene.store, false));
    scene_close(&scene);
    scene.options.secret_digest[3]--;
    scene_open(&scene); /* nothing of it was stored */
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_TAKEN_OVER);
    assert_null(store_trouble(scene.store, true));
}

/* ---- damage ---- */

/* One bit of each record that is there. */
static void flip_all(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint8_t copy[LMDB_RECORD_BYTES_MAX];

    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        memcpy(copy, value.mv_data, value.mv_size);
        copy[value.mv_size / 2] ^= 4;
        MDB_val new = {value.mv_size, copy};
        assert_int_equal(mdb_cursor_put(cursor, &key, &new, MDB_CURRENT), 0);
    }
    mdb_cursor_close(cursor);
}

static void test_a_damaged_record_is_an_error_and_never_a_free_key(void **state)
{
    struct idem_op done = op_of(IDEM_COMPLETE, 2, 'a');

    (void)state;
    done.keep_ms = 1;
    done.keep_receipt_ms = 2000;
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_MARK, 1, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 3, 'a'), IDEM_NEW); /* in flight at the close */
    assert_verdict(ask_op(&scene, &done), IDEM_REASSERTED);
    scene_close(&scene);
    with_files("records", flip_all);
    scene_open(&scene);
    for (int kind = IDEM_BEGIN; kind < IDEM_OP_COUNT; kind++) {
        assert_status(ask(&scene, (enum idem_op_kind)kind, 1, 'b'), STORE_UNTRUSTED);
        assert_status(ask(&scene, (enum idem_op_kind)kind, 3, 'b'), STORE_UNTRUSTED);
    }
    assert_true(counter(&scene, "weir_store_damaged_total") >= 2 * IDEM_OP_COUNT);
    assert_verdict(ask(&scene, IDEM_BEGIN, 4, 'a'), IDEM_NEW); /* the others' keys are well */
    assert_true(state_of(&scene).up);
    assert_null(store_trouble(scene.store, true));
    /* What is done ends with its time, read or not. */
    uint64_t until_us = clock_now_us() + PATIENCE_US;
    while (ask(&scene, IDEM_READ, 2, 'a').status == STORE_UNTRUSTED) {
        assert_true(clock_now_us() < until_us);
        turn(scene.loop);
    }
    assert_verdict(ask(&scene, IDEM_READ, 2, 'a'), IDEM_NONE);
}

static bool walk_each(void *owner, const struct store_record *record)
{
    (void)record;
    ++*(int *)owner;
    return true;
}

static int walk_ends[2]; /* not whole, whole */

static void walk_end(void *owner, bool whole)
{
    (void)owner;
    walk_ends[whole]++;
}

static void flip_first(MDB_txn *txn, MDB_dbi dbi)
{
    struct idem_name name = name_of(0);
    uint8_t at[LMDB_NAME_BYTES];
    MDB_val key = {sizeof at, at}, value = {3, (void *)(uintptr_t) "bad"};

    lmdb_name_write(&name, at);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void test_a_walk_tells_the_others_and_is_not_whole(void **state)
{
    struct idem_op like = op_of(IDEM_BEGIN, 0, 'a');
    int count = 0;

    (void)state;
    scene_open(&scene);
    assert_int_equal(ask_each(&scene, &like, 0, 400, 1).verdicts[IDEM_NEW], 400);
    scene_close(&scene);
    with_files("records", flip_first);
    scene_open(&scene);
    memset(walk_ends, 0, sizeof walk_ends);
    assert_non_null(store_walk(scene.store, STORE_WALK_ALL, NULL, 0, walk_each, walk_end, &count));
    UNTIL(scene.loop, walk_ends[0] + walk_ends[1] > 0);
    assert_int_equal(count, 399);
    assert_int_equal(walk_ends[0], 1);
}

static void drop_all(MDB_txn *txn, MDB_dbi dbi)
{
    assert_int_equal(mdb_drop(txn, dbi, 0), 0);
}

/* The outcome is known although its bytes are not. */
static void test_an_answer_that_is_lost_leaves_a_receipt(void **state)
{
    (void)state;
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    scene_close(&scene);
    with_files("answers", drop_all);
    scene_open(&scene);
    struct asked receipt = ask(&scene, IDEM_BEGIN, 1, 'b');
    assert_verdict(receipt, IDEM_RECEIPT);
    assert_int_equal(receipt.result.status, 201);
    assert_int_equal(receipt.answer_len, 0);
    struct asked already = ask(&scene, IDEM_COMPLETE, 1, 'b');
    assert_verdict(already, IDEM_ALREADY);
    assert_int_equal(already.answer_len, 0);
}

/* ---- readers beside us ---- */

/* Whoever looks at the files meanwhile (mdb_copy) and dies leaves nothing that holds pages back for ever. */
static void test_dead_readers_are_cleared(void **state)
{
    struct lmdb *lmdb;
    MDB_env *env;
    MDB_txn *txn;
    int ready[2], status, dead = 0;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (read(ready[0], &byte, 1) != 1 || mdb_env_create(&env) != 0 || mdb_env_open(env, scene.path, MDB_RDONLY, 0) != 0 ||
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0) {
            _exit(1);
        }
        _exit(0); /* without ending its transaction */
    }
    scene_open(&scene);
    scene_ready(&scene);
    assert_int_equal(write(ready[1], "g", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
    lmdb = &scene_embedded(&scene)->lmdb;
    scene_embedded(&scene)->ticks = 59; /* the next tick looks */
    UNTIL(scene.loop, scene_embedded(&scene)->ticks == 60 && !scene_embedded(&scene)->tick.asked);
    assert_int_equal(mdb_reader_check(lmdb->env, &dead), 0);
    assert_int_equal(dead, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_folder_is_made_for_its_owner_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_process_has_the_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_opened_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_of_somebody_else_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_format_of_another_weir_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_secret_is_not_trusted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_record_is_an_error_and_never_a_free_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_tells_the_others_and_is_not_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_that_is_lost_leaves_a_receipt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_readers_are_cleared, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
