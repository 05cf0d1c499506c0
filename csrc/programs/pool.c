/* pool.c: the threads of a trainer.
 *
 * A run gives a number to its work (`turn`) and counts down the parts that are left; threads take parts until none is
 * left. They look for the next run for a little while before they sleep: a step of training may be shorter than it takes to
 * wake a thread. Signals stay with the threads of the host.
 */
#define _POSIX_C_SOURCE 200809L

#include "programs/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOKS 4000 /* at what another thread does, before sleeping: some tens of microseconds */

struct mg_pool {
    size_t threads, started; /* the caller's among them; without it */
    pid_t process; /* whose threads they are; 0 before the first run */
    pthread_mutex_t lock;
    pthread_cond_t work_came, work_done;
    void (*work)(void *context, size_t part);
    void *context;
    _Atomic(uint64_t) turn;      /* the number of the run at hand */
    _Atomic(uint64_t) ticket;    /* turn << 32 | the next part to be taken */
    _Atomic(size_t) parts, left; /* of the run; not yet finished */
    _Atomic(bool) ends;
    pthread_t thread[]; /* [threads - 1] */
};

static void look(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes parts of run `turn` while there are some. */
static void take_parts(mg_pool *pool, uint64_t turn) {
    for (;;) {
        uint64_t ticket = atomic_load(&pool->ticket);
        const size_t part = (size_t)(ticket & 0xffffffff);
        if (ticket >> 32 != (turn & 0xffffffff) || part >= atomic_load(&pool->parts)) {
            return;
        }
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) {
            continue;
        }
        pool->work(pool->context, part);
        if (atomic_fetch_sub(&pool->left, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->work_done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void *serve(void *argument) {
    mg_pool *pool = argument;
    uint64_t done = 0;
    for (;;) {
        uint64_t turn = atomic_load(&pool->turn);
        for (size_t n = 0; n < LOOKS && turn == done && !atomic_load(&pool->ends); n++) {
            look();
            turn = atomic_load(&pool->turn);
        }
        if (turn == done) {
            pthread_mutex_lock(&pool->lock);
            while ((turn = atomic_load(&pool->turn)) == done && !atomic_load(&pool->ends)) {
                pthread_cond_wait(&pool->work_came, &pool->lock);
            }
            pthread_mutex_unlock(&pool->lock);
        }
        if (atomic_load(&pool->ends)) {
            return NULL;
        }
        take_parts(pool, turn);
        done = turn;
    }
}

static void reset(mg_pool *pool) {
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_came, NULL);
    pthread_cond_init(&pool->work_done, NULL);
    pool->started = 0;
    pool->process = getpid();
}

mg_pool *mg_pool_new(size_t threads) {
    mg_pool *pool = calloc(1, sizeof *pool + (threads - 1) * sizeof *pool->thread);
    if (pool != NULL) {
        pool->threads = threads;
    }
    return pool;
}

void mg_pool_free(mg_pool *pool) {
    if (pool == NULL) {
        return;
    }
    if (pool->process == getpid()) { /* else the threads are another process's */
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->ends, true);
        pthread_cond_broadcast(&pool->work_came);
        pthread_mutex_unlock(&pool->lock);
        for (size_t n = 0; n < pool->started; n++) {
            pthread_join(pool->thread[n], NULL);
        }
        pthread_cond_destroy(&pool->work_came);
        pthread_cond_destroy(&pool->work_done);
        pthread_mutex_destroy(&pool->lock);
    }
    free(pool);
}

size_t mg_pool_threads(const mg_pool *pool) { return pool == NULL ? 1 : pool->threads; }

/* All threads that can be had. */
static void start(mg_pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->threads &&
           pthread_create(&pool->thread[pool->started], NULL, serve, pool) == 0) {
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mg_pool_run(mg_pool *pool, void (*work)(void *context, size_t part), void *context, size_t parts) {
    const bool shared = pool != NULL && parts > 1;
    if (shared && pool->process != getpid()) {
        reset(pool);
    }
    if (shared && pool->started + 1 < pool->threads) {
        start(pool);
    }
    if (!shared || pool->started == 0) {
        for (size_t part = 0; part < parts; part++) {
            work(context, part);
        }
        return;
    }
    const uint64_t turn = atomic_load(&pool->turn) + 1, first = (turn & 0xffffffff) << 32;
    atomic_store(&pool->ticket, first | UINT32_MAX); /* no thread takes a part, of this run or of the last, from here .. */
    pool->work = work;
    pool->context = context;
    atomic_store(&pool->parts, parts);
    atomic_store(&pool->left, parts);
    atomic_store(&pool->ticket, first); /* .. to here */
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->turn, turn);
    pthread_cond_broadcast(&pool->work_came);
    pthread_mutex_unlock(&pool->lock);
    take_parts(pool, turn);
    for (size_t n = 0; n < LOOKS && atomic_load(&pool->left) > 0; n++) {
        look();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->left) > 0) {
        pthread_cond_wait(&pool->work_done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}
