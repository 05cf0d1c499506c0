/* check.h: the smallest harness that will do. A program's exit code is its verdict.
 *
 *     static void addition_works(void) { CHECK(1 + 1 == 2); }
 *     int main(void) {
 *         RUN(addition_works);
 *         return verdict();
 *     }
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_REPORTS 10 /* a loop that fails a million times should not print a million lines */

static int tests_passed, tests_failed;
static unsigned long long failures; /* of the test that is running */

static inline bool check_condition(bool condition, const char *expression, const char *file, int line) {
    if (!condition && ++failures <= MOST_REPORTS) {
        printf("%s:%d: CHECK(%s) failed\n", file, line, expression);
    }
    return condition;
}

static inline void run_test(void (*test)(void), const char *name) {
    failures = 0;
    test();
    if (failures == 0) {
        tests_passed++;
    } else {
        tests_failed++;
        printf("FAILED %s (%llu failed checks)\n", name, failures);
        if (getenv("MICROGPT_TEST_FIRST") != NULL) { /* who asks wants no more than the verdict */
            exit(1);
        }
    }
    fflush(stdout);
}

static inline int verdict(void) {
    printf("%d passed, %d failed\n", tests_passed, tests_failed);
    return tests_failed == 0 ? 0 : 1;
}

/* True when the condition holds, so that a test can stop where going on makes no sense. */
#define CHECK(condition) check_condition(condition, #condition, __FILE__, __LINE__)
#define RUN(test) run_test(test, #test)

/* ---- what several tests need ------------------------------------------------------------------------------------- */

/* Deterministic random numbers (xorshift64*): a failure can always be had again. The state must not be 0. */
static inline uint64_t random_bits(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717U;
}

static inline size_t random_below(uint64_t *state, size_t n) { return (size_t)(random_bits(state) % n); }

static inline double random_between(uint64_t *state, double low, double high) {
    return low + (high - low) * ((double)(random_bits(state) >> 11) * 0x1p-53);
}

static inline bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

/* The same bits, or NaN both: which NaN an operation gives is the processor's business. */
static inline bool same_number(double a, double b) { return same_bits(a, b) || (a != a && b != b); }

static inline bool same_numbers(const double *a, const double *b, size_t n) {
    bool same = true;
    for (size_t i = 0; i < n; i++) {
        same = same && same_number(a[i], b[i]);
    }
    return same;
}

/* Under valgrind: sizes that are there to be large may be smaller. */
static inline bool small_run(void) {
    const char *small = getenv("MICROGPT_TEST_SMALL");
    return small != NULL && strcmp(small, "1") == 0;
}

/* For tests' own buffers: running out of memory ends the test program, which is then no verdict on the library. */
static inline void *allocate(size_t count, size_t size) {
    void *block = calloc(count > 0 ? count : 1, size);
    if (block == NULL) {
        puts("the test itself ran out of memory");
        exit(2);
    }
    return block;
}

#endif
