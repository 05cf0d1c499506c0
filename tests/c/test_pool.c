/* test_pool.c: the threads of a trainer. Each part of a run is done once, by as many threads as there may be, also after
 * they have slept, and in a process that was forked.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "programs/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PARTS = 300, MOST_THREADS = 8 };

static void pause_for(long microseconds) {
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

typedef struct {
    size_t times[MOST_PARTS]; /* that each part was done */
    size_t sum;               /* under no lock: what the parts wrote is there when the run is over */
} parts_done;

/* A part of a microsecond, so that threads that have come go for the same part now and then. */
static void count_part(void *context, size_t part) {
    parts_done *done = context;
    for (volatile int n = 0; n < 200; n++) {
    }
    done->times[part]++;
}

static bool each_once(mg_pool *pool, size_t parts) {
    static parts_done done;
    memset(&done, 0, sizeof done);
    mg_pool_run(pool, count_part, &done, parts);
    for (size_t part = 0; part < MOST_PARTS; part++) {
        done.sum += done.times[part] == (part < parts);
    }
    return done.sum == MOST_PARTS;
}

/* Runs follow each other at once, or when the threads have gone to sleep. */
static void every_part_is_done_once(void) {
    uint64_t state = 3;
    for (size_t threads = 1; threads <= MOST_THREADS; threads += threads < 3 ? 1 : 5) {
        mg_pool *pool = mg_pool_new(threads);
        CHECK(pool != NULL && mg_pool_threads(pool) == threads);
        for (size_t parts = 0; parts < 20; parts++) {
            CHECK(each_once(pool, parts));
        }
        for (size_t run = 0; run < (small_run() ? 400 : 1000); run++) {
            CHECK(each_once(pool, random_below(&state, MOST_PARTS + 1)));
            if (run % 50 == 0) {
                pause_for(1500);
            }
        }
        mg_pool_free(pool);
    }
}

static void without_a_pool_the_caller_does_it_all(void) {
    CHECK(mg_pool_threads(NULL) == 1);
    CHECK(each_once(NULL, 0) && each_once(NULL, 7));
    mg_pool_free(NULL);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Parts that wait for each other: each until `wanted` are being done at a time, or for so long. */
typedef struct {
    size_t wanted;
    long patience; /* microseconds */
    _Atomic(size_t) inside, most;
    pthread_t caller;
    _Atomic(size_t) by_caller, with_signals; /* parts that the caller did, or a thread that would take a signal */
} meeting;

static pthread_key_t ends;
static _Atomic(size_t) ended; /* threads that did a part */

static void count_end(void *value) {
    (void)value;
    pause_for(1000); /* who does not wait for it does not see it */
    ended++;
}

static void meet(void *context, size_t part) {
    meeting *m = context;
    const size_t inside = ++m->inside;
    size_t most = m->most;
    while (most < inside && !atomic_compare_exchange_weak(&m->most, &most, inside)) {
    }
    if (pthread_equal(pthread_self(), m->caller)) {
        m->by_caller++;
    } else {
        sigset_t now;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        m->with_signals += !sigismember(&now, SIGINT) || !sigismember(&now, SIGTERM) || !sigismember(&now, SIGALRM);
        pthread_setspecific(ends, &ended);
    }
    for (long waited = 0; m->most < m->wanted && waited < m->patience; waited += 100) {
        pause_for(100);
    }
    m->inside -= part < SIZE_MAX;
}

/* How many threads do parts at a time, if each waits for `wanted`? */
static size_t threads_at_work(mg_pool *pool, size_t wanted, long patience) {
    sigset_t before, after;
    meeting m = {.wanted = wanted, .patience = patience, .caller = pthread_self()};
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    mg_pool_run(pool, meet, &m, wanted);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    CHECK(m.inside == 0 && m.with_signals == 0 && m.by_caller > 0);
    CHECK(!sigismember(&before, SIGINT) && !sigismember(&after, SIGINT) && !sigismember(&after, SIGTERM));
    return m.most;
}

enum { LONG = 3000000, SHORT = 5000 };

/* As many as were asked for, from the first run on and after a sleep, and no more; and none is left behind. */
static void all_threads_take_part(void) {
    for (size_t threads = 1; threads <= MOST_THREADS; threads += threads < 3 ? 1 : 5) {
        mg_pool *pool = mg_pool_new(threads);
        ended = 0;
        for (size_t run = 0; run < 3; run++) {
            CHECK(threads_at_work(pool, threads, LONG) == threads);
            CHECK(threads_at_work(pool, threads + 1, SHORT) <= threads);
            pause_for(SHORT); /* the threads go to sleep */
        }
        mg_pool_free(pool);
        CHECK(ended == threads - 1);
    }
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

#ifndef __SANITIZE_THREAD__ /* which takes no part in a fork of a process with threads */

static bool child_is_fine(pid_t child) {
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A child has none of the parent's threads: it starts its own, or frees the pool without them. */
static void a_process_that_was_forked_has_its_own_threads(void) {
    mg_pool *pool = mg_pool_new(3);
    CHECK(threads_at_work(pool, 3, LONG) == 3);
    for (size_t uses = 0; uses < 2; uses++) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);
            bool fine = uses == 0 || threads_at_work(pool, 3, LONG) == 3;
            fine = fine && (uses == 0 || each_once(pool, MOST_PARTS));
            mg_pool_free(pool);
            _exit(fine && failures == 0 ? 0 : 1);
        }
        CHECK(child_is_fine(child));
        CHECK(threads_at_work(pool, 3, LONG) == 3 && each_once(pool, MOST_PARTS));
    }
    mg_pool_free(pool);
}

#endif

int main(void) {
    pthread_key_create(&ends, count_end);
    RUN(every_part_is_done_once);
    RUN(without_a_pool_the_caller_does_it_all);
    RUN(all_threads_take_part);
#ifndef __SANITIZE_THREAD__
    RUN(a_process_that_was_forked_has_its_own_threads);
#endif
    return verdict();
}
