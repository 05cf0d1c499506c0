/* test_memory.c: no memory, at every moment when the library asks for some.
 *
 * One scenario uses everything. It runs with the first allocation failing, then with the second, and so on until none
 * is left to fail: with all later ones, and alone. Each time the failure must be reported, what was there must be as it
 * was, and with memory back the same tape must run the scenario to the same bits.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "tape/tape.h"

#include <math.h>

#define MOST_LANES 20000
#define MOST_PRINTS 64

typedef struct {
    mg_tape *tape;
    /* what the scenario has recorded and not forgotten since */
    mg_id lanes[MOST_LANES];
    double values[MOST_LANES], adjoints[MOST_LANES];
    size_t count;
    /* the numbers it has come to */
    uint64_t prints[MOST_PRINTS];
    size_t print_count;
} scenario;

/* ---- what must hold --------------------------------------------------------------------------------------------- */

/* Every lane holds what it held. Reads with workers, which do not mind a status that was not taken. */
static void check_unchanged(scenario *s) {
    for (size_t i = 0; i < s->count; i++) {
        double value, adjoint;
        CHECK(mg_read_values(s->tape, s->lanes[i], 1, &value) == MG_OK && same_bits(value, s->values[i]));
        CHECK(mg_read_adjoints(s->tape, s->lanes[i], 1, &adjoint) == MG_OK && same_bits(adjoint, s->adjoints[i]));
    }
}

static void look_again(scenario *s) {
    for (size_t i = 0; i < s->count; i++) {
        CHECK(mg_read_values(s->tape, s->lanes[i], 1, &s->values[i]) == MG_OK);
        CHECK(mg_read_adjoints(s->tape, s->lanes[i], 1, &s->adjoints[i]) == MG_OK);
    }
}

/* After a maker: n lanes from `first`, of which the first few are watched. */
static bool made(scenario *s, mg_id first, size_t n) {
    if (first == MG_NONE) {
        CHECK(mg_leaf(s->tape, 1) == MG_NONE); /* sticky */
        check_unchanged(s);
        CHECK(mg_tape_take_status(s->tape) == MG_NO_MEMORY);
        return false;
    }
    for (size_t i = 0; i < n && i < 64 && CHECK(s->count < MOST_LANES); i++, s->count++) {
        s->lanes[s->count] = first + i;
        CHECK(mg_read_values(s->tape, first + i, 1, &s->values[s->count]) == MG_OK);
        CHECK(mg_read_adjoints(s->tape, first + i, 1, &s->adjoints[s->count]) == MG_OK);
        CHECK(s->adjoints[s->count] == 0);
    }
    return true;
}

static bool succeeded(scenario *s, mg_status status) {
    if (status != MG_OK) {
        CHECK(status == MG_NO_MEMORY);
        check_unchanged(s);
    }
    CHECK(mg_tape_take_status(s->tape) == MG_OK);
    return status == MG_OK;
}

/* After a worker. */
static bool done(scenario *s, mg_status status) {
    if (!succeeded(s, status)) {
        return false;
    }
    look_again(s);
    return true;
}

/* Takes down all values and adjoints that are there. */
static void print(scenario *s) {
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (size_t i = 0; i < s->count; i++) {
        uint64_t bits[2];
        memcpy(&bits[0], &s->values[i], sizeof bits[0]);
        memcpy(&bits[1], &s->adjoints[i], sizeof bits[1]);
        for (int b = 0; b < 16; b++) {
            hash = (hash ^ (bits[b / 8] >> (b % 8 * 8) & 0xff)) * 1099511628211U;
        }
    }
    if (CHECK(s->print_count < MOST_PRINTS)) {
        s->prints[s->print_count++] = hash;
    }
}

static void forget_after(scenario *s, mg_mark mark) {
    while (s->count > 0 && s->lanes[s->count - 1] >= mark) {
        s->count--;
    }
}

static void forget_lost(scenario *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        double value;
        if (mg_read_values(s->tape, s->lanes[i], 1, &value) == MG_OK) {
            s->lanes[kept++] = s->lanes[i];
        }
    }
    s->count = kept;
    look_again(s);
}

/* ---- the scenario ----------------------------------------------------------------------------------------------- */

#define MAKE(name, n, call)       \
    const mg_id name = (call);    \
    if (!made(s, name, n)) {      \
        return false;             \
    }
#define DO(call)                  \
    if (!done(s, call)) {         \
        return false;             \
    }

static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.85, .beta2 = 0.99, .epsilon = 1e-8};

enum { WIDTH = 8, WEIGHTS = WIDTH * WIDTH, WIDE = 1500 };

static bool record_scalars(scenario *s, mg_id x) {
    mg_tape *tape = s->tape;
    mg_mark mark = mg_tape_mark(tape);
    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        if (operation == MG_POW || operation == MG_EXPONENT) {
            MAKE(y, 1, mg_unary_with(tape, operation, x, 1.5));
        } else if (mg_operation_arity(operation) == 1) {
            MAKE(y, 1, mg_unary(tape, operation, x + 1));
        } else {
            MAKE(y, 1, mg_binary(tape, operation, x, x + 2));
            MAKE(z, 1, mg_binary_with(tape, operation, y, 2.5));
            DO(mg_sweep(tape, z));
        }
    }
    print(s);
    forget_after(s, mark);
    return done(s, mg_tape_rewind(tape, mark));
}

/* Every span statement, and a loss over them. */
static bool record_spans(scenario *s, mg_id x, mg_id w, mg_id *loss) {
    mg_tape *tape = s->tape;
    const double partials[3] = {0.5, -0.25, 2};
    MAKE(h, WIDTH, record_linear(tape, x, w, WIDTH, WIDTH));
    MAKE(n, WIDTH, record_rmsnorm(tape, h, WIDTH));
    MAKE(k, WIDTH, record_scale_by(tape, n, WIDTH, 0.5));
    const mg_id keys[3] = {h, n, k}, values[3] = {k, x, n};
    MAKE(a, WIDTH, record_attention(tape, n, keys, values, 3, 2, WIDTH / 2));
    MAKE(r, WIDTH, record_relu(tape, a, WIDTH, false));
    MAKE(q, WIDTH, record_relu(tape, h, WIDTH, true));
    MAKE(u, WIDTH, record_add(tape, r, q, WIDTH));
    MAKE(p, WIDTH, record_softmax(tape, u, WIDTH));
    MAKE(l, 1, record_surprisal(tape, p + 3));
    const mg_id three[3] = {l, u + 1, h};
    MAKE(c, 1, mg_custom(tape, 0.25, three, partials, 3));
    const mg_id two[2] = {c, l};
    MAKE(mean, 1, record_mean(tape, two, 2));
    *loss = mean;
    return true;
}

/* Statements longer than a page, and a graph deep enough to make the sweep's lists grow. */
static bool record_large(scenario *s, mg_id x) {
    mg_tape *tape = s->tape;
    double numbers[WIDE];
    for (size_t i = 0; i < WIDE; i++) {
        numbers[i] = (double)(i % 17) / 16 - 0.4;
    }
    mg_mark mark = mg_tape_mark(tape);
    MAKE(wide, WIDE, record_leaves(tape, numbers, WIDE));
    MAKE(squares, WIDE, record_relu(tape, wide, WIDE, true));
    MAKE(p, WIDE, record_softmax(tape, squares, WIDE));
    MAKE(y, 1, record_linear(tape, p, wide, 1, WIDE));
    mg_id sum = y;
    for (int i = 0; i < 3000; i++) {
        sum = mg_add(tape, sum, x);
    }
    MAKE(chain, 1, sum);
    DO(mg_sweep(tape, chain));
    print(s);
    forget_after(s, mark);
    return done(s, mg_tape_rewind(tape, mark));
}

/* Grows, forgets all but one result, and shrinks. */
static bool collect_much(scenario *s, mg_id x) {
    mg_tape *tape = s->tape;
    size_t pages = small_run() ? 40 : 180;
    const size_t sizes[2] = {WIDTH + WEIGHTS, 1};
    mg_id last = x;
    for (size_t i = 0; i < pages * MG_PAGE; i++) {
        last = mg_add(tape, x, x + 1);
    }
    MAKE(result, 1, last == MG_NONE ? MG_NONE : mg_mul(tape, last, x + 2));
    const mg_id roots[2] = {x, result};
    for (int round = 0; round < 3; round++) {
        if (!succeeded(s, mg_tape_collect(tape, roots, sizes, 2))) {
            return false;
        }
        forget_lost(s);
        CHECK(s->count > 0 && !isnan(mg_value(tape, result)));
        for (size_t i = 0; i < sizes[0]; i++) {
            CHECK(!isnan(mg_value(tape, x + i)));
        }
        MAKE(next, 1, mg_add(tape, result, x));
        DO(mg_sweep(tape, next));
        print(s);
    }
    return true;
}

/* True when nothing failed. */
static bool run(scenario *s) {
    mg_tape *tape = s->tape;
    double numbers[WIDTH + WEIGHTS], m[WIDTH + WEIGHTS] = {0}, v[WIDTH + WEIGHTS] = {0};
    const size_t size = WIDTH + WEIGHTS;
    mg_id loss;
    s->count = s->print_count = 0;
    for (size_t i = 0; i < size; i++) {
        numbers[i] = 0.1 + (double)(i * 7 % 23) / 20;
    }
    MAKE(alone, 1, mg_leaf(tape, 0.5));
    MAKE(empty, 1, mg_custom(tape, 0.25, NULL, NULL, 0));
    MAKE(x, WIDTH + WEIGHTS, record_leaves(tape, numbers, size));
    MAKE(both, 1, mg_add(tape, alone, empty));
    if (!record_scalars(s, x)) {
        return false;
    }
    for (size_t step = 0; step < 3; step++) { /* training */
        mg_mark mark = mg_tape_mark(tape);
        if (!record_spans(s, x, x + WIDTH, &loss)) {
            return false;
        }
        DO(mg_sweep(tape, loss));
        print(s);
        DO(mg_optimizer_step(tape, &x, &size, 1, m, v, size, &ADAM, step + 1, 0.01));
        print(s);
        forget_after(s, mark);
        DO(mg_tape_rewind(tape, mark));
    }
    if (!record_large(s, x) || !record_spans(s, x, x + WIDTH, &loss) || !collect_much(s, x)) {
        return false;
    }
    if (!record_spans(s, x, x + WIDTH, &loss)) {
        return false;
    }
    DO(mg_sweep(tape, loss));
    print(s);
    return true;
}

static void survive(bool once) {
    scenario *s = allocate(1, sizeof *s), *expected = allocate(1, sizeof *expected);
    expected->tape = mg_tape_new();
    CHECK(run(expected));
    CHECK(expected->print_count > 10);
    bool complete = false;
    uint64_t k = 1, step = small_run() ? 3 : 1;
    for (; !complete && k < 1000; k += step) {
        unsigned long long failures_before = failures;
        s->tape = mg_tape_new();
        s->tape->fails_once = once;
        mg_tape_fail_allocation(s->tape, k);
        complete = run(s) && s->tape->fail_in > 0; /* what need not be had need not fail */
        mg_tape_fail_allocation(s->tape, 0);
        check_unchanged(s);
        CHECK(mg_tape_take_status(s->tape) == MG_OK);
        if (!complete) { /* with memory again, what was recorded can be used, and the scenario runs through */
            CHECK(s->count == 0 || mg_sweep(s->tape, s->lanes[s->count - 1]) == MG_OK);
            CHECK(run(s));
        }
        CHECK(s->print_count == expected->print_count);
        CHECK(memcmp(s->prints, expected->prints, sizeof *s->prints * expected->print_count) == 0);
        mg_tape_free(s->tape);
        if (failures != failures_before) {
            printf("    with allocation %llu failing\n", (unsigned long long)k);
        }
    }
    CHECK(complete && k > 30); /* there were allocations to fail */
    mg_tape_free(expected->tape);
    free(expected);
    free(s);
}

static void every_failed_allocation_is_survived(void) {
    survive(false);
    survive(true);
}

/* Memory comes and goes: each time the scenario stops, it is begun again on the same tape with the next k. */
static void a_tape_survives_failure_after_failure(void) {
    scenario *s = allocate(1, sizeof *s), *expected = allocate(1, sizeof *expected);
    expected->tape = mg_tape_new();
    CHECK(run(expected));
    s->tape = mg_tape_new();
    bool complete = false;
    for (uint64_t k = 1; !complete && k < 60; k++) {
        mg_tape_fail_allocation(s->tape, k % 5 + 1);
        complete = run(s);
        CHECK(mg_tape_take_status(s->tape) == MG_OK);
        if (k % 7 == 0) {
            mg_tape_fail_allocation(s->tape, 0);
            CHECK(mg_tape_collect(s->tape, NULL, NULL, 0) == MG_OK);
        }
    }
    mg_tape_fail_allocation(s->tape, 0);
    CHECK(run(s));
    CHECK(s->print_count == expected->print_count);
    CHECK(memcmp(s->prints, expected->prints, sizeof *s->prints * expected->print_count) == 0);
    mg_tape_free(s->tape);
    mg_tape_free(expected->tape);
    free(s);
    free(expected);
}

/* A sweep, or a collection, that stops for lack of memory leaves no trace: the next one does all of its work. */
static void what_failed_can_be_repeated(void) {
    scenario *expected = allocate(1, sizeof *expected);
    for (int collecting = 0; collecting <= 1; collecting++) {
        bool complete = false;
        for (uint64_t k = 0; !complete; k++) { /* 0: none fails, for comparison */
            scenario *s = k == 0 ? expected : allocate(1, sizeof *s);
            mg_tape *tape = s->tape = mg_tape_new();
            double numbers[WIDTH + WEIGHTS];
            mg_id loss = MG_NONE, ids[3000];
            const size_t one = 1, size = WIDTH + WEIGHTS;
            for (size_t i = 0; i < size; i++) {
                numbers[i] = 0.1 + (double)(i * 5 % 19) / 20;
            }
            s->count = s->print_count = 0;
            mg_id x = record_leaves(tape, numbers, size);
            CHECK(made(s, x, size) && record_spans(s, x, x + WIDTH, &loss));
            mg_id sum = loss; /* deep on one side, broad on the other: both of the lists grow */
            for (size_t i = 0; i < 3000; i++) {
                ids[i] = mg_mul(tape, x + i % size, x + i % 7);
                sum = mg_add(tape, sum, ids[i]);
            }
            mg_id result = record_mean(tape, (mg_id[3]){sum, record_mean(tape, ids, 3000), loss}, 3);
            mg_id lost = record_add(tape, x, x, 8);
            CHECK(made(s, result, 1));
            for (int i = 0; i < 2 * MG_PAGE; i++) { /* `lost` is not on the page being filled */
                CHECK(mg_leaf(tape, 1) != MG_NONE);
            }
            mg_tape_fail_allocation(tape, k);
            if (collecting) {
                complete = succeeded(s, mg_tape_collect(tape, &result, &one, 1)) && k > 0;
                if (!complete) {
                    mg_tape_fail_allocation(tape, 0);
                    CHECK(k == 0 || mg_value(tape, lost) == 2 * s->values[0]);
                    CHECK(mg_tape_collect(tape, &result, &one, 1) == MG_OK);
                }
                CHECK(isnan(mg_value(tape, lost)) && mg_tape_take_status(tape) == MG_STALE);
                mg_tape_fail_allocation(tape, 0);
                CHECK(mg_sweep(tape, result) == MG_OK);
            } else {
                complete = succeeded(s, mg_sweep(tape, result)) && k > 0;
                mg_tape_fail_allocation(tape, 0);
                if (!complete) {
                    CHECK(mg_set_adjoint(tape, result, 0.125) == MG_OK);
                    CHECK(k == 0 || mg_sweep(tape, result) == MG_OK);
                }
            }
            forget_lost(s);
            s->count = s->count < size ? s->count : size; /* of the rest, some may be lost when collecting */
            CHECK(s->count == size);
            if (k > 0) {
                CHECK(same_numbers(s->values, expected->values, size));
                CHECK(same_numbers(s->adjoints, expected->adjoints, size));
                free(s);
            }
            CHECK(k < 100);
            complete = complete || k >= 100;
            mg_tape_free(tape);
        }
        CHECK(complete);
    }
    free(expected);
}

/* The search that stopped half way has lanes on its stack; they are no roots. */
static void a_failed_sweep_keeps_nothing_alive(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 1), lanes[5000];
    for (size_t i = 0; i < 5000; i++) {
        lanes[i] = mg_add(tape, i == 0 ? a : lanes[i - 1], a);
    }
    mg_tape_fail_allocation(tape, 3);
    CHECK(mg_sweep(tape, lanes[4999]) == MG_NO_MEMORY);
    mg_tape_fail_allocation(tape, 0);
    for (int i = 0; i < 2 * MG_PAGE; i++) {
        CHECK(mg_leaf(tape, 1) != MG_NONE);
    }
    CHECK(mg_tape_collect(tape, NULL, NULL, 0) == MG_OK);
    for (size_t i = 0; i < 5000; i++) {
        CHECK(isnan(mg_value(tape, lanes[i])) && mg_tape_take_status(tape) == MG_STALE);
    }
    mg_tape_free(tape);
}

static void the_kth_allocation_and_all_later_ones_fail(void) {
    mg_tape *tape = mg_tape_new();
    mg_tape_fail_allocation(tape, 1);
    for (int attempt = 0; attempt < 3; attempt++) {
        CHECK(mg_leaf(tape, 1) == MG_NONE);
        CHECK(mg_tape_take_status(tape) == MG_NO_MEMORY);
    }
    CHECK(mg_tape_memory(tape).slots == 0);
    mg_tape_fail_allocation(tape, 0);
    mg_id a = mg_leaf(tape, 1);
    CHECK(a != MG_NONE);
    mg_tape_fail_allocation(tape, 1);
    mg_id b = mg_leaf(tape, 2); /* there is room left: nothing is allocated */
    CHECK(b != MG_NONE && mg_value(tape, a) == 1 && mg_value(tape, b) == 2);
    const double numbers[1] = {0};
    CHECK(record_leaves(tape, numbers, (size_t)1 << 40) == MG_NONE); /* too many for any memory; reads nothing */
    CHECK(mg_tape_take_status(tape) == MG_NO_MEMORY);
    mg_tape_free(tape);
}

int main(void) {
    RUN(the_kth_allocation_and_all_later_ones_fail);
    RUN(what_failed_can_be_repeated);
    RUN(a_failed_sweep_keeps_nothing_alive);
    RUN(every_failed_allocation_is_survived);
    RUN(a_tape_survives_failure_after_failure);
    return verdict();
}
