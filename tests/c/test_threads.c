/* test_threads.c: which thread a tape belongs to. */
#define _POSIX_C_SOURCE 200809L

#include "refusals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

typedef struct {
    mg_tape *tape;
    mg_id good;
    atomic_int sweeping;
    bool waits;
    mg_status adopted;
} shared;

static void *use_from_elsewhere(void *argument) {
    const shared *s = argument;
    check_all_refused(s->tape, s->good, MG_WRONG_THREAD);
    CHECK(mg_tape_close(s->tape) == MG_WRONG_THREAD);
    return NULL;
}

static void *adopt_and_use(void *argument) {
    const shared *s = argument;
    CHECK(mg_tape_adopt(s->tape) == MG_OK);
    CHECK(mg_value(s->tape, s->good) == 1.5);
    CHECK(mg_sweep(s->tape, mg_add(s->tape, s->good, s->good)) == MG_OK);
    CHECK(mg_set_adjoint(s->tape, s->good, 0) == MG_OK);
    return NULL;
}

static void *free_it(void *argument) {
    mg_tape_free(argument);
    return NULL;
}

static void in_another_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    if (CHECK(pthread_create(&thread, NULL, function, argument) == 0)) {
        pthread_join(thread, NULL);
    }
}

static void a_tape_belongs_to_one_thread(void) {
    shared s = {.tape = mg_tape_new()};
    s.good = good_run(s.tape);
    in_another_thread(use_from_elsewhere, &s);
    CHECK(mg_value(s.tape, s.good) == 1.5); /* and the owner is not disturbed */
    CHECK(mg_add(s.tape, s.good, s.good) != MG_NONE);
    in_another_thread(adopt_and_use, &s);
    check_all_refused(s.tape, s.good, MG_WRONG_THREAD);
    CHECK(mg_tape_close(s.tape) == MG_WRONG_THREAD);
    CHECK(mg_tape_adopt(s.tape) == MG_OK);
    CHECK(mg_tape_adopt(s.tape) == MG_OK); /* its own */
    check_refused(s.tape, 0, s.good, MG_STALE);
    in_another_thread(free_it, s.tape);
}

static void *record_alone(void *argument) {
    uint64_t seed = 17;
    mg_tape *tape = mg_tape_new();
    double *last = argument;
    for (int round = 0; round < 20; round++) {
        mg_mark mark = mg_tape_mark(tape);
        mg_id sum = mg_leaf(tape, 0);
        for (int i = 0; i < 3000; i++) {
            sum = mg_add(tape, sum, mg_leaf(tape, random_between(&seed, -1, 1)));
        }
        *last = mg_value(tape, sum);
        if (mg_sweep(tape, sum) != MG_OK || mg_tape_rewind(tape, mark) != MG_OK) {
            *last = NAN;
        }
    }
    mg_tape_free(tape);
    return NULL;
}

static void tapes_of_two_threads_do_not_meet(void) {
    pthread_t threads[4];
    double last[4];
    for (int t = 0; t < 4; t++) {
        CHECK(pthread_create(&threads[t], NULL, record_alone, &last[t]) == 0);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
    }
    for (int t = 1; t < 4; t++) {
        CHECK(same_bits(last[t], last[0]) && !isnan(last[t]));
    }
}

/* Adds and multiplies on a tape that others use too, and is refused what cannot be computed; counts what is wrong. */
static void *use_what_follows(void *argument) {
    shared *s = argument;
    uint64_t seed = 1 + (uint64_t)(uintptr_t)&seed;
    for (int round = 0; round < (small_run() ? 200 : 3000); round++) {
        const double number = random_between(&seed, -1, 1);
        const mg_id x = mg_leaf(s->tape, number), y = mg_mul(s->tape, mg_add(s->tape, x, s->good), x);
        const double expected = (number + 1.5) * number;
        bool right = same_bits(mg_value(s->tape, y), expected) && mg_tape_take_status(s->tape) == MG_OK;
        if (round % 3 == 0) {
            const mg_id none = mg_unary(s->tape, MG_LOG, mg_leaf(s->tape, -1));
            right = right && none == MG_NONE && mg_leaf(s->tape, 1) == MG_NONE;
            right = right && mg_tape_take_status(s->tape) == MG_DOMAIN;
        }
        if (round % 50 == 0) { /* the others' last statements are kept, and its own are in the page being filled */
            right = right && mg_tape_collect(s->tape, &s->good, &(size_t){1}, 1) == MG_OK;
        }
        if (!right) {
            atomic_fetch_add(&s->sweeping, 1);
        }
    }
    return NULL;
}

static void *is_refused(void *argument) {
    const shared *s = argument;
    CHECK(mg_leaf(s->tape, 1) == MG_NONE && mg_tape_take_status(s->tape) == MG_WRONG_THREAD);
    return NULL;
}

static void a_tape_that_follows_is_every_threads(void) {
    shared s = {.tape = mg_tape_new()};
    s.good = mg_leaf(s.tape, 1.5);
    CHECK(mg_tape_follow(s.tape, true) == MG_OK);
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) {
        CHECK(pthread_create(&threads[t], NULL, use_what_follows, &s) == 0);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
    }
    mg_mark mark;
    mg_id last[4];
    uint64_t idents[4];
    size_t sizes[4], count;
    CHECK(mg_tape_now(s.tape, &mark, last, sizes, idents, 1, &count) == MG_OK && count >= 1 && count <= 4);
    CHECK(mark == mg_tape_mark(s.tape) && last[0] < mark && sizes[0] == 1);
    CHECK(idents[0] != (uint64_t)(uintptr_t)pthread_self());
    CHECK(atomic_load(&s.sweeping) == 0); /* nothing was wrong */
    CHECK(mg_tape_follow(s.tape, false) == MG_OK);
    in_another_thread(is_refused, &s);
    CHECK(same_bits(mg_value(s.tape, s.good), 1.5));
    mg_tape_free(s.tape);
}

static void *adopt_during_sweep(void *argument) {
    shared *s = argument;
    while (!atomic_load(&s->sweeping)) {
    }
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    const bool waits = mg_tape_would_wait(s->tape);
    s->adopted = mg_tape_adopt(s->tape);
    s->waits = waits && s->adopted == MG_BUSY;
    return NULL;
}

/* When the other thread is too late or too early, it is let try again. */
static void a_tape_is_not_adopted_during_a_sweep(void) {
    shared s = {.tape = mg_tape_new()};
    mg_id a = mg_leaf(s.tape, 1), sum = a;
    for (int i = 0; i < 1000000; i++) {
        sum = mg_add(s.tape, sum, a);
    }
    bool waited = false;
    for (int attempt = 0; attempt < 10000 && !waited; attempt++) {
        pthread_t thread;
        atomic_store(&s.sweeping, 0);
        CHECK(pthread_create(&thread, NULL, adopt_during_sweep, &s) == 0);
        atomic_store(&s.sweeping, 1);
        mg_status status = mg_sweep(s.tape, sum);
        pthread_join(thread, NULL);
        waited = s.waits;
        CHECK(s.adopted == MG_BUSY ? status == MG_OK : s.adopted == MG_OK);
        CHECK(!mg_tape_would_wait(s.tape));
        CHECK(mg_tape_adopt(s.tape) == MG_OK);
    }
    CHECK(waited);
    mg_tape_free(s.tape);
}

static void *sweep_again_and_again(void *argument) {
    shared *s = argument;
    struct timespec now, begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do { /* three times as long as patience is for one call; a number of sweeps would take any time beside others */
        atomic_store(&s->sweeping, 1);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (mg_sweep(s->tape, s->good) == MG_OK &&
             1e3 * (double)(now.tv_sec - begun.tv_sec) + 1e-6 * (double)(now.tv_nsec - begun.tv_nsec) < 300);
    return NULL;
}

/* Patience is for one call: many short ones, one after the other, are no reason to give up. */
static void who_waits_for_many_calls_is_not_refused(void) {
    shared s = {.tape = mg_tape_new()};
    CHECK(mg_tape_follow(s.tape, true) == MG_OK);
    const mg_id a = mg_leaf(s.tape, 1);
    s.good = a;
    for (int i = 0; i < 20000; i++) {
        s.good = mg_add(s.tape, s.good, a);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sweep_again_and_again, &s) == 0);
    while (!atomic_load(&s.sweeping)) {
    }
    CHECK(mg_leaf(s.tape, 2) != MG_NONE);
    pthread_join(thread, NULL);
    mg_tape_free(s.tape);
}

/* Two threads take a tape from each other, and each writes all lanes, or reads them. */
typedef struct {
    mg_tape *tape;
    mg_id first;
    size_t n;
    bool adjoints;
    atomic_bool over, torn;
} contested;

static void *read_what_another_writes(void *argument) {
    contested *c = argument;
    double *found = allocate(c->n, sizeof *found);
    while (!atomic_load(&c->over)) {
        if (mg_tape_adopt(c->tape) == MG_OK &&
            (c->adjoints ? mg_read_adjoints : mg_read_values)(c->tape, c->first, c->n, found) == MG_OK) {
            for (size_t i = 1; i < c->n; i++) {
                if (found[i] != found[0]) {
                    atomic_store(&c->torn, true);
                }
            }
        }
    }
    free(found);
    return NULL;
}

static void no_thread_comes_into_the_middle_of_a_call(void) {
    const size_t n = small_run() ? 500000 : 1000000;
    double *numbers = allocate(n, sizeof *numbers);
    for (int adjoints = 0; adjoints < 2; adjoints++) {
        contested c = {.tape = mg_tape_new(), .n = n, .adjoints = adjoints};
        for (size_t i = 0; i < n; i++) {
            numbers[i] = 0;
        }
        c.first = mg_leaves(c.tape, numbers, n);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, read_what_another_writes, &c) == 0);
        for (int round = 1; round <= 40; round++) {
            for (size_t i = 0; i < n; i++) {
                numbers[i] = round;
            }
            if (mg_tape_adopt(c.tape) == MG_OK) {
                (adjoints ? mg_write_adjoints : mg_write_values)(c.tape, c.first, n, numbers);
            }
        }
        atomic_store(&c.over, true);
        pthread_join(thread, NULL);
        CHECK(!atomic_load(&c.torn));
        mg_tape_free(c.tape);
    }
    free(numbers);
}

int main(void) {
    RUN(a_tape_belongs_to_one_thread);
    RUN(tapes_of_two_threads_do_not_meet);
    RUN(a_tape_that_follows_is_every_threads);
    RUN(a_tape_is_not_adopted_during_a_sweep);
    RUN(who_waits_for_many_calls_is_not_refused);
    RUN(no_thread_comes_into_the_middle_of_a_call);
    return verdict();
}
