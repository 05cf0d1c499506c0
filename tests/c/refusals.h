/* refusals.h: calls of every public function that takes an id, which must all refuse one, for tests. */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "check.h"
#include "compositions.h"

/* Runs that the calls below take: `good` must be the first of this many lanes in a row. */
#define RUN_LENGTH 4

#define MAKER_REFUSES(call)                               \
    do {                                                  \
        CHECK((call) == MG_NONE);                         \
        CHECK(mg_tape_take_status(tape) == expected);     \
    } while (0)
#define READER_REFUSES(call, nothing)                     \
    do {                                                  \
        CHECK(same_number((double)(call), nothing));      \
        CHECK(mg_tape_take_status(tape) == expected);     \
    } while (0)
/* Workers leave no status; but a thread that does not own the tape is told so whatever it asks. */
#define WORKER_REFUSES(call)                              \
    do {                                                  \
        CHECK((call) == expected);                        \
        CHECK(mg_tape_take_status(tape) == (expected == MG_WRONG_THREAD ? expected : MG_OK)); \
    } while (0)

/* Every public function that takes an id, called with `bad` in each of the places where one goes. */
static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8};

static inline void check_refused(mg_tape *tape, mg_id bad, mg_id good, mg_status expected) {
    mg_id ids[2] = {good, bad}, both[2], operands[8];
    double numbers[RUN_LENGTH] = {1, 2, 3, 4}, m[2 * RUN_LENGTH] = {0}, v[2 * RUN_LENGTH] = {0}, partials[8];
    size_t sizes[2] = {RUN_LENGTH, RUN_LENGTH};
    mg_mark before = mg_tape_mark(tape);
    unsigned long long failures_before = failures;

    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        if (operation == MG_POW || operation == MG_EXPONENT) {
            MAKER_REFUSES(mg_unary_with(tape, operation, bad, 2));
        } else if (mg_operation_arity(operation) == 1) {
            MAKER_REFUSES(mg_unary(tape, operation, bad));
        } else {
            MAKER_REFUSES(mg_binary(tape, operation, bad, good));
            MAKER_REFUSES(mg_binary(tape, operation, good, bad));
            MAKER_REFUSES(mg_binary_with(tape, operation, bad, 2));
        }
    }
    MAKER_REFUSES(mg_add(tape, bad, good));
    MAKER_REFUSES(mg_add(tape, good, bad));
    MAKER_REFUSES(mg_mul(tape, bad, good));
    MAKER_REFUSES(mg_mul(tape, good, bad));
    MAKER_REFUSES(mg_custom(tape, 1, ids, numbers, 2));
    MAKER_REFUSES(mg_custom(tape, 1, &bad, numbers, 1));
    MAKER_REFUSES(record_add(tape, bad, good, RUN_LENGTH));
    MAKER_REFUSES(record_add(tape, good, bad, RUN_LENGTH));
    MAKER_REFUSES(record_scale_by(tape, bad, RUN_LENGTH, 2));
    MAKER_REFUSES(record_relu(tape, bad, RUN_LENGTH, false));
    MAKER_REFUSES(record_relu(tape, bad, 1, true));
    MAKER_REFUSES(record_rmsnorm(tape, bad, RUN_LENGTH));
    MAKER_REFUSES(record_linear(tape, bad, good, 2, 2));
    MAKER_REFUSES(record_linear(tape, good, bad, 2, 2));
    MAKER_REFUSES(record_softmax(tape, bad, RUN_LENGTH));
    both[0] = both[1] = good;
    MAKER_REFUSES(record_attention(tape, bad, both, both, 2, 2, 2));
    MAKER_REFUSES(record_attention(tape, good, ids, both, 2, 2, 2));
    const mg_view row = {.first = good, .term = 1}, lanes = {.first = good, .lane = 1};
    const mg_view listed = {.list = ids, .entries = 2, .block = 1, .by_term = true};
    MAKER_REFUSES(mg_sum(tape, 1, 1, 2, &row, &listed));
    MAKER_REFUSES(mg_sum(tape, 1, 1, 2, &listed, NULL));
    MAKER_REFUSES(mg_largest(tape, 1, 2, &listed));
    const mg_view by_lane = {.list = ids, .entries = 2, .block = 1};
    MAKER_REFUSES(mg_map(tape, MG_ADD, 1, 2, &lanes, &by_lane, 0));
    MAKER_REFUSES(record_surprisal(tape, bad));
    MAKER_REFUSES(record_mean(tape, ids, 2));
    MAKER_REFUSES(record_mean(tape, &bad, 1));

    READER_REFUSES(mg_value(tape, bad), NAN);
    READER_REFUSES(mg_adjoint(tape, bad), NAN);
    READER_REFUSES(mg_lane_operation(tape, bad), -1);
    READER_REFUSES(mg_lane_constant(tape, bad), NAN);
    READER_REFUSES(mg_lane_operand_count(tape, bad), 0);

    WORKER_REFUSES(mg_sweep(tape, bad));
    WORKER_REFUSES(mg_optimizer_step(tape, &bad, sizes, 1, m, v, sizes[0], &ADAM, 1, 0.1));
    WORKER_REFUSES(mg_optimizer_step(tape, ids, sizes, 2, m, v, sizes[0] + sizes[1], &ADAM, 1, 0.1));
    WORKER_REFUSES(mg_set_value(tape, bad, 5));
    WORKER_REFUSES(mg_set_adjoint(tape, bad, 5));
    WORKER_REFUSES(mg_read_values(tape, bad, RUN_LENGTH, numbers));
    WORKER_REFUSES(mg_read_adjoints(tape, bad, 1, numbers));
    WORKER_REFUSES(mg_write_values(tape, bad, RUN_LENGTH, numbers));
    WORKER_REFUSES(mg_write_adjoints(tape, bad, 1, numbers));
    WORKER_REFUSES(mg_clear_adjoints(tape, bad, RUN_LENGTH));
    WORKER_REFUSES(mg_lane_operands(tape, bad, operands, partials));
    WORKER_REFUSES(mg_set_partials(tape, bad, numbers, 2));
    mg_shape shape;
    mg_view view;
    WORKER_REFUSES(mg_lane_statement(tape, bad, &shape));
    WORKER_REFUSES(mg_lane_view(tape, bad, 0, &view, NULL, 0));

    CHECK(numbers[0] == 1 && numbers[3] == 4); /* nothing was copied */
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) {
        CHECK(m[i] == 0 && v[i] == 0);
    }
    if (expected == MG_STALE) { /* nothing was recorded, and the good lanes are as they were */
        CHECK(mg_tape_mark(tape) == before);
        CHECK(mg_value(tape, good) == 1.5);
        CHECK(mg_adjoint(tape, good) == 0);
    }
    if (failures != failures_before) {
        printf("    with id %llu, status %d expected\n", (unsigned long long)bad, (int)expected);
    }
}

/* What takes no id, or ignores ids that it does not know. */
static inline void check_all_refused(mg_tape *tape, mg_id good, mg_status expected) {
    double number = 1;
    size_t size = 1;
    check_refused(tape, good, good, expected);
    MAKER_REFUSES(mg_leaf(tape, 1));
    MAKER_REFUSES(record_leaves(tape, &number, 1));
    MAKER_REFUSES(mg_custom(tape, 1, NULL, NULL, 0));
    WORKER_REFUSES(mg_optimizer_step(tape, NULL, NULL, 0, NULL, NULL, 0, &ADAM, 1, 0.1));
    WORKER_REFUSES(mg_tape_rewind(tape, 0));
    WORKER_REFUSES(mg_tape_collect(tape, &good, &size, 1));
    WORKER_REFUSES(mg_tape_collect(tape, NULL, NULL, 0));
}

/* RUN_LENGTH leaves that check_refused may use: positive, the first of them 1.5. */
static inline mg_id good_run(mg_tape *tape) {
    const double numbers[RUN_LENGTH] = {1.5, 0.5, 2, 3};
    return record_leaves(tape, numbers, RUN_LENGTH);
}

static inline void record_many_leaves(mg_tape *tape, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mg_leaf(tape, (double)i);
    }
}

#endif
