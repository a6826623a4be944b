/*
 * A disk that fails: what LMDB writes and syncs goes through the functions
 * below, which refuse it, or stand still, as a test says. For one file of a
 * program.
 */
#ifndef WEIR_STORE_EMBEDDED_FAULTS_H
#define WEIR_STORE_EMBEDDED_FAULTS_H

#include "embedded_support.h"

#include <dlfcn.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/uio.h>

/* META_DONE: what makes the commit count is written and said not to be; the next, which would undo it, is not. */
enum fault { FAULT_NONE, FAULT_PAGES, FAULT_SYNC, FAULT_META, FAULT_META_DONE, FAULT_STAND };

static _Atomic enum fault fault;
static atomic_int fault_errno, refusals, standing, syncs;
static atomic_int faults_left; /* then the disk is well again; 0: it is not */
static atomic_int meta_writes;
static sem_t stand;
/* LMDB's two meta pages stand first. */
#define META_BYTES (2 * 4096)

static bool fails(enum fault at)
{
    if (atomic_load(&fault) == at) {
        errno = atomic_load(&fault_errno);
        atomic_fetch_add(&refusals, 1);
        if (atomic_load(&faults_left) > 0 && atomic_fetch_sub(&faults_left, 1) == 1) {
            atomic_store(&fault, FAULT_NONE);
        }
        return true;
    }
    return false;
}

/* Under the name that LMDB calls, whatever a header makes of it for files of any size. */
ssize_t pwrite_or_fail(int fd, const void *data, size_t len, off_t offset) __asm__("pwrite");
ssize_t pwrite_or_fail(int fd, const void *data, size_t len, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    }
    if (offset < META_BYTES && fails(FAULT_META_DONE)) {
        if (atomic_fetch_add(&meta_writes, 1) == 0) {
            (void)real(fd, data, len, offset);
        } else {
            atomic_store(&fault, FAULT_NONE);
        }
        return -1;
    }
    return fails(offset < META_BYTES ? FAULT_META : FAULT_PAGES) ? -1 : real(fd, data, len, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "writev");
    }
    return fails(FAULT_PAGES) ? -1 : real(fd, parts, count);
}

int fdatasync(int fd)
{
    static int (*real)(int);

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    }
    atomic_fetch_add(&syncs, 1);
    if (atomic_load(&fault) == FAULT_STAND && gettid() != getpid()) { /* the store's thread: files are opened by the loop's */
        atomic_store(&standing, 1);
        (void)sem_wait(&stand);
    }
    return fails(FAULT_SYNC) ? -1 : real(fd);
}

static void set_fault(enum fault at, int error)
{
    atomic_store(&faults_left, 0);
    atomic_store(&fault_errno, error);
    atomic_store(&fault, at);
}

/* The store's thread will stand in its next sync, until it is let go into the next fault. */
static void stand_next(void)
{
    assert_int_equal(sem_init(&stand, 0, 0), 0);
    atomic_store(&standing, 0);
    set_fault(FAULT_STAND, 0);
}

/* It stands in the sync of this operation. */
static void stand_still_with(struct scene *in, const struct idem_op *op, struct asked *asked)
{
    stand_next();
    (void)ask_start(in, op, asked);
    UNTIL(in->loop, atomic_load(&standing) == 1);
}

static void go_on(enum fault at, int error)
{
    set_fault(at, error);
    sem_post(&stand);
}

#endif
