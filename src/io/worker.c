/*
 * One thread for work that may block, with a bounded queue towards it and a
 * list of done work back, woken by libuv's async handle. The thread touches
 * nothing of the loop but that handle.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "io_internal.h"

#include "weir/io/worker.h"

struct work_list {
    struct work *first;
    struct work **end; /* where the next one is linked in */
};

struct worker {
    uv_async_t done_async;
    struct loop *loop; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows, up to the blank line */
    pthread_cond_t wake;
    struct work_list queue;
    size_t queue_count; /* in queue; the one that runs not included */
    struct work_list done;
    bool ending;

    size_t queue_max;
    size_t batch_max;           /* pieces that the thread takes at once */
    worker_run_batch run_batch; /* NULL: each piece has its own run() */
    void *batch_owner;
    size_t pending_count; /* submitted and not yet done() on the loop; the loop's alone */
    bool closing;         /* the loop's alone */
};

static void list_reset(struct work_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct work_list *list, struct work *work)
{
    work->next = NULL;
    *list->end = work;
    list->end = &work->next;
}

/* The first `most` pieces, or as many as there are; *count says how many. */
static struct work *list_take(struct work_list *list, size_t most, size_t *count)
{
    struct work *first = list->first, **end = &list->first;

    for (*count = 0; *count < most && *end != NULL; ++*count) {
        end = &(*end)->next;
    }
    list->first = *end;
    if (list->first == NULL) {
        list->end = &list->first;
    }
    *end = NULL;
    return *count == 0 ? NULL : first;
}

/* ------------------------------------------------------------------ on the thread */

/* NULL: the worker is ending and nothing is left. */
static struct work *queue_wait(struct worker *worker)
{
    struct work *first = NULL;
    size_t count = 0;

    (void)pthread_mutex_lock(&worker->lock); /* a plain mutex of ours: it cannot fail */
    while (worker->queue.first == NULL && !worker->ending) {
        (void)pthread_cond_wait(&worker->wake, &worker->lock);
    }
    first = list_take(&worker->queue, worker->batch_max, &count);
    worker->queue_count -= count;
    (void)pthread_mutex_unlock(&worker->lock);
    return first;
}

static void *thread_main(void *arg)
{
    struct worker *worker = arg;
    struct work *work;

    while ((work = queue_wait(worker)) != NULL) {
        if (worker->run_batch != NULL) {
            worker->run_batch(worker->batch_owner, work);
        } else {
            work->run(work);
        }
        (void)pthread_mutex_lock(&worker->lock);
        while (work != NULL) {
            struct work *next = work->next; /* list_add ends the list with each */
            list_add(&worker->done, work);
            work = next;
        }
        (void)pthread_mutex_unlock(&worker->lock);
        (void)uv_async_send(&worker->done_async); /* fails on a closing handle only, which waits for us */
    }
    return NULL;
}

/* ------------------------------------------------------------------ on the loop */

static void on_uv_closed(uv_handle_t *handle)
{
    struct worker *worker = container_of((uv_async_t *)handle, struct worker, done_async);

    (void)pthread_cond_destroy(&worker->wake);
    (void)pthread_mutex_destroy(&worker->lock);
    free(worker);
}

static void on_done(uv_async_t *async)
{
    struct worker *worker = container_of(async, struct worker, done_async);
    struct work *work;

    loop_event(async->loop->data);
    (void)pthread_mutex_lock(&worker->lock);
    work = worker->done.first;
    list_reset(&worker->done);
    (void)pthread_mutex_unlock(&worker->lock);
    while (work != NULL) {
        struct work *next = work->next; /* done() may release the work */
        worker->pending_count--;
        work->done(work);
        work = next;
    }
    if (worker->pending_count > 0) {
        return;
    }
    if (!worker->closing) {
        uv_unref((uv_handle_t *)&worker->done_async);
    } else if (!uv_is_closing((uv_handle_t *)&worker->done_async)) {
        uv_close((uv_handle_t *)&worker->done_async, on_uv_closed);
    }
}

/* Signals belong to the loop's thread. */
static int thread_start(struct worker *worker)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&worker->thread, NULL, thread_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static struct worker *open_worker(struct loop *loop, size_t queue_max, size_t batch_max, worker_run_batch run_batch,
                                  void *owner)
{
    struct worker *worker = calloc(1, sizeof(*worker));

    if (worker == NULL) {
        return NULL;
    }
    worker->loop = loop;
    worker->queue_max = queue_max;
    worker->batch_max = batch_max;
    worker->run_batch = run_batch;
    worker->batch_owner = owner;
    list_reset(&worker->queue);
    list_reset(&worker->done);
    if (uv_async_init(&loop->uv, &worker->done_async, on_done) != 0) {
        free(worker);
        return NULL;
    }
    /* An idle worker is no reason for the loop to go on. */
    uv_unref((uv_handle_t *)&worker->done_async);
    (void)pthread_mutex_init(&worker->lock, NULL); /* with default attributes neither fails on Linux */
    (void)pthread_cond_init(&worker->wake, NULL);
    if (thread_start(worker) != 0) {
        uv_close((uv_handle_t *)&worker->done_async, on_uv_closed);
        return NULL;
    }
    return worker;
}

struct worker *worker_open(struct loop *loop, size_t queue_max)
{
    return open_worker(loop, queue_max, 1, NULL, NULL);
}

struct worker *worker_open_batching(struct loop *loop, size_t queue_max, size_t batch_max, worker_run_batch run_batch,
                                    void *owner)
{
    CHECK(batch_max > 0);
    return open_worker(loop, queue_max, batch_max, run_batch, owner);
}

enum err worker_submit(struct worker *worker, struct work *work)
{
    CHECK(!worker->closing);
    (void)pthread_mutex_lock(&worker->lock);
    if (worker->queue_count >= worker->queue_max) {
        (void)pthread_mutex_unlock(&worker->lock);
        return ERR_FULL;
    }
    list_add(&worker->queue, work);
    worker->queue_count++;
    (void)pthread_cond_signal(&worker->wake);
    (void)pthread_mutex_unlock(&worker->lock);
    if (worker->pending_count++ == 0) {
        uv_ref((uv_handle_t *)&worker->done_async);
    }
    return ERR_OK;
}

void worker_close(struct worker *worker)
{
    worker->closing = true;
    (void)pthread_mutex_lock(&worker->lock);
    worker->ending = true;
    (void)pthread_cond_signal(&worker->wake);
    (void)pthread_mutex_unlock(&worker->lock);
    (void)pthread_join(worker->thread, NULL);
    /* The rest of done() comes as an event, even when there is none: it closes the handle. */
    uv_ref((uv_handle_t *)&worker->done_async);
    (void)uv_async_send(&worker->done_async);
}
