#include "io_support.h"

#include <pthread.h>
#include <semaphore.h>

#include "weir/io/worker.h"

struct piece {
    struct work work;
    sem_t *gate; /* run() waits here; NULL: it does not */
    pthread_t ran_on;
    bool ran, done;
    int order;
    int *done_count;
    struct worker *again; /* done() submits itself once more */
};

static void on_run(struct work *work)
{
    struct piece *piece = container_of(work, struct piece, work);

    if (piece->gate != NULL) {
        (void)sem_wait(piece->gate);
    }
    piece->ran_on = pthread_self();
    piece->ran = true;
}

static void on_piece_done(struct work *work)
{
    struct piece *piece = container_of(work, struct piece, work);

    assert_true(piece->ran);
    piece->done = true;
    piece->order = ++*piece->done_count;
    if (piece->again != NULL) {
        struct worker *worker = piece->again;
        piece->again = NULL;
        assert_int_equal(worker_submit(worker, work), ERR_OK);
    }
}

static void pieces_init(struct piece *pieces, int count, sem_t *gate, int *done_count)
{
    memset(pieces, 0, (size_t)count * sizeof(pieces[0]));
    for (int i = 0; i < count; i++) {
        pieces[i].work.run = on_run;
        pieces[i].work.done = on_piece_done;
        pieces[i].gate = gate;
        pieces[i].done_count = done_count;
    }
}

static void test_work_runs_beside_the_loop_and_comes_back_in_order(void **state)
{
    struct loop *loop = loop_open(0);
    struct worker *worker = worker_open(loop, 16);
    struct piece pieces[8];
    int done_count = 0;

    (void)state;
    pieces_init(pieces, 8, NULL, &done_count);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(worker_submit(worker, &pieces[i].work), ERR_OK);
    }
    assert_int_equal(done_count, 0); /* done() never runs inside submit */
    loop_run(loop);                  /* until all is back: an idle worker keeps no loop */
    assert_int_equal(done_count, 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pieces[i].order, i + 1);
        assert_false(pthread_equal(pieces[i].ran_on, pthread_self()));
    }
    worker_close(worker);
    assert_true(loop_close(loop));
}

static void test_a_full_queue_refuses_and_takes_work_again_later(void **state)
{
    struct loop *loop = loop_open(0);
    struct worker *worker = worker_open(loop, 2);
    struct piece pieces[5];
    int done_count = 0, taken = 0;
    sem_t gate;

    (void)state;
    sem_init(&gate, 0, 0);
    pieces_init(pieces, 5, &gate, &done_count);
    /* One may run while two wait. */
    while (taken < 5 && worker_submit(worker, &pieces[taken].work) == ERR_OK) {
        taken++;
    }
    assert_in_range(taken, 2, 3);
    for (int i = 0; i < 5; i++) {
        sem_post(&gate);
    }
    UNTIL(loop, done_count == taken);
    assert_int_equal(worker_submit(worker, &pieces[4].work), ERR_OK);
    UNTIL(loop, done_count == taken + 1);
    worker_close(worker);
    assert_true(loop_close(loop));
    sem_destroy(&gate);
}

static void test_close_waits_for_queued_work_and_done_still_comes(void **state)
{
    struct loop *loop = loop_open(0);
    struct worker *worker = worker_open(loop, 16);
    struct piece pieces[8];
    int done_count = 0;

    (void)state;
    pieces_init(pieces, 8, NULL, &done_count);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(worker_submit(worker, &pieces[i].work), ERR_OK);
    }
    worker_close(worker);
    for (int i = 0; i < 8; i++) {
        assert_true(pieces[i].ran);
    }
    assert_int_equal(done_count, 0); /* that is the loop's to call */
    assert_true(loop_close(loop));
    assert_int_equal(done_count, 8);
}

static void test_done_may_submit_again(void **state)
{
    struct loop *loop = loop_open(0);
    struct worker *worker = worker_open(loop, 1);
    struct piece piece;
    int done_count = 0;

    (void)state;
    pieces_init(&piece, 1, NULL, &done_count);
    piece.again = worker;
    assert_int_equal(worker_submit(worker, &piece.work), ERR_OK);
    loop_run(loop);
    assert_int_equal(done_count, 2);
    worker_close(worker);
    assert_true(loop_close(loop));
}

/* ---- batches ---- */

struct batches {
    int sizes[16];
    int count;
    sem_t gate;     /* the first batch waits here */
    sem_t standing; /* and says so here */
};

static void on_batch(void *owner, struct work *first)
{
    struct batches *batches = owner;

    if (batches->count == 0) {
        sem_post(&batches->standing);
        (void)sem_wait(&batches->gate);
    }
    batches->sizes[batches->count] = 0;
    for (struct work *work = first; work != NULL; work = work->next) {
        on_run(work);
        batches->sizes[batches->count]++;
    }
    batches->count++;
}

static void test_what_waits_is_one_batch_up_to_its_bound(void **state)
{
    struct loop *loop = loop_open(0);
    struct batches batches = {.count = 0};
    struct worker *worker = worker_open_batching(loop, 100, 8, on_batch, &batches);
    struct piece pieces[21];
    int done_count = 0;

    (void)state;
    sem_init(&batches.gate, 0, 0);
    sem_init(&batches.standing, 0, 0);
    pieces_init(pieces, 21, NULL, &done_count);
    assert_int_equal(worker_submit(worker, &pieces[0].work), ERR_OK);
    (void)sem_wait(&batches.standing);
    for (int i = 1; i < 21; i++) {
        assert_int_equal(worker_submit(worker, &pieces[i].work), ERR_OK);
    }
    assert_int_equal(done_count, 0);
    sem_post(&batches.gate);
    loop_run(loop);
    assert_int_equal(done_count, 21);
    assert_int_equal(batches.count, 4);
    assert_int_equal(batches.sizes[0], 1);
    assert_int_equal(batches.sizes[1], 8);
    assert_int_equal(batches.sizes[2], 8);
    assert_int_equal(batches.sizes[3], 4);
    for (int i = 0; i < 21; i++) {
        assert_int_equal(pieces[i].order, i + 1);
        assert_true(pieces[i].done);
    }
    worker_close(worker);
    assert_true(loop_close(loop));
    sem_destroy(&batches.gate);
    sem_destroy(&batches.standing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_runs_beside_the_loop_and_comes_back_in_order),
        cmocka_unit_test(test_a_full_queue_refuses_and_takes_work_again_later),
        cmocka_unit_test(test_close_waits_for_queued_work_and_done_still_comes),
        cmocka_unit_test(test_done_may_submit_again),
        cmocka_unit_test(test_what_waits_is_one_batch_up_to_its_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
