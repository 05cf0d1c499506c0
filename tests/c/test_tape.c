/* test_tape.c: marks, status, memory, and what closing does. */
#include "refusals.h"

/* ---- marks ------------------------------------------------------------------------------------------------------ */

static void marks_nest(void) {
    mg_tape *tape = mg_tape_new();
    mg_id good = good_run(tape);
    mg_mark outer = mg_tape_mark(tape);
    mg_id a = mg_leaf(tape, 1);
    mg_mark middle = mg_tape_mark(tape);
    mg_id b = record_add(tape, good, good, RUN_LENGTH);
    mg_mark inner = mg_tape_mark(tape);
    mg_id c = mg_mul(tape, a, b);
    CHECK(outer > good + RUN_LENGTH - 1 && middle > a && inner > b + RUN_LENGTH - 1);
    CHECK(outer <= middle && middle <= inner);
    CHECK(mg_tape_rewind(tape, inner) == MG_OK);
    check_refused(tape, c, good, MG_STALE);
    CHECK(mg_value(tape, b + 1) == 1);
    CHECK(mg_tape_rewind(tape, inner) == MG_OK); /* twice does no harm */
    CHECK(mg_value(tape, b + 1) == 1);
    CHECK(mg_tape_rewind(tape, middle) == MG_OK);
    for (mg_id lane = b; lane < b + RUN_LENGTH; lane++) {
        check_refused(tape, lane, good, MG_STALE);
    }
    CHECK(mg_value(tape, a) == 1);
    mg_id d = mg_add(tape, a, a);
    CHECK(d > c);
    CHECK(mg_tape_rewind(tape, inner) == MG_OK); /* d came after the moment `inner` */
    check_refused(tape, d, good, MG_STALE);
    CHECK(mg_tape_rewind(tape, outer) == MG_OK);
    check_refused(tape, a, good, MG_STALE);
    CHECK(mg_tape_rewind(tape, 0) == MG_OK);
    good = good_run(tape);
    check_refused(tape, good - RUN_LENGTH, good, MG_STALE);
    mg_tape_free(tape);
}

static void a_mark_on_an_empty_tape_is_its_beginning(void) {
    mg_tape *tape = mg_tape_new(), *other = mg_tape_new();
    mg_mark empty = mg_tape_mark(tape);
    record_many_leaves(other, 3 * MG_PAGE);
    mg_id a = mg_leaf(tape, 1);
    CHECK(a >= empty);
    CHECK(mg_tape_rewind(tape, empty) == MG_OK);
    CHECK(isnan(mg_value(tape, a)) && mg_tape_take_status(tape) == MG_STALE);
    CHECK(mg_tape_memory(tape).slots == 0);
    mg_tape_free(other);
    mg_tape_free(tape);
}

static void an_old_mark_forgets_many_pages(void) {
    mg_tape *tape = mg_tape_new();
    mg_id good = good_run(tape);
    record_many_leaves(tape, 100);
    mg_mark old = mg_tape_mark(tape);
    mg_id first = mg_leaf(tape, 1);
    record_many_leaves(tape, 40 * MG_PAGE);
    double *numbers = allocate(3 * MG_PAGE, sizeof *numbers);
    mg_id wide = record_leaves(tape, numbers, 3 * MG_PAGE);
    mg_id last = mg_leaf(tape, 2);
    uint64_t before = mg_tape_memory(tape).slots;
    CHECK(mg_tape_rewind(tape, old) == MG_OK);
    CHECK(mg_tape_memory(tape).slots <= 2 * MG_PAGE && before >= 43 * MG_PAGE);
    check_refused(tape, first, good, MG_STALE);
    check_refused(tape, first + 20 * MG_PAGE, good, MG_STALE);
    check_refused(tape, wide, good, MG_STALE);
    check_refused(tape, wide + 2 * MG_PAGE, good, MG_STALE);
    check_refused(tape, last, good, MG_STALE);
    uint64_t capacity = mg_tape_memory(tape).capacity;
    for (int round = 0; round < 200; round++) { /* the same storage serves every round */
        mg_mark mark = mg_tape_mark(tape);
        record_many_leaves(tape, 30 * MG_PAGE);
        CHECK(mg_tape_rewind(tape, mark) == MG_OK);
    }
    CHECK(mg_tape_memory(tape).capacity == capacity);
    free(numbers);
    mg_tape_free(tape);
}

/* Recording, marking and rewinding at random, with a list of what must be there beside it. */
static void random_marks_are_obeyed(void) {
    enum { MOST = 20000, MARKS = 64 };
    mg_tape *tape = mg_tape_new();
    mg_id *lane = allocate(MOST, sizeof *lane), *stale = allocate(MOST, sizeof *stale);
    double *value = allocate(MOST, sizeof *value);
    size_t count = 0, stale_count = 0, marks = 0, counts[MARKS];
    mg_mark mark[MARKS];
    uint64_t state = 42;
    for (int step = 0; step < 3000; step++) {
        size_t choice = random_below(&state, 20);
        if (choice < 12 && count + 800 < MOST) {
            size_t n = random_below(&state, 10) == 0 ? 1 + random_below(&state, 700) : 1 + random_below(&state, 9);
            double numbers[700];
            for (size_t i = 0; i < n; i++) {
                numbers[i] = random_between(&state, -1, 1);
            }
            mg_id first = record_leaves(tape, numbers, n);
            if (choice < 4) { /* with a header in between */
                first = record_scale_by(tape, first, n, 2);
                for (size_t i = 0; i < n; i++) {
                    numbers[i] *= 2;
                }
            }
            for (size_t i = 0; i < n; i++, count++) {
                lane[count] = first + i;
                value[count] = numbers[i];
            }
        } else if (choice < 16 && marks < MARKS) {
            counts[marks] = count;
            mark[marks++] = mg_tape_mark(tape);
        } else if (choice >= 18 && marks > 0) {
            marks = random_below(&state, marks);
            CHECK(mg_tape_rewind(tape, mark[marks]) == MG_OK);
            for (; count > counts[marks]; count--) {
                if (stale_count < MOST) {
                    stale[stale_count++] = lane[count - 1];
                }
            }
        }
        for (int look = 0; look < 5; look++) {
            if (count > 0) {
                size_t i = random_below(&state, count);
                CHECK(same_bits(mg_value(tape, lane[i]), value[i]));
            }
            if (stale_count > 0) {
                CHECK(isnan(mg_value(tape, stale[random_below(&state, stale_count)])));
                CHECK(mg_tape_take_status(tape) == MG_STALE);
            }
        }
    }
    CHECK(count > 0 && stale_count > 0);
    free(lane);
    free(stale);
    free(value);
    mg_tape_free(tape);
}

/* ---- status, memory, close -------------------------------------------------------------------------------------- */

static void a_failure_stays_until_it_is_taken(void) {
    mg_tape *tape = mg_tape_new();
    mg_id zero = mg_leaf(tape, 0), good = good_run(tape);
    double number = 0;
    mg_mark before = mg_tape_mark(tape);
    CHECK(mg_unary(tape, MG_LOG, zero) == MG_NONE);
    CHECK(mg_leaf(tape, 1) == MG_NONE && mg_add(tape, good, good) == MG_NONE);
    CHECK(record_add(tape, good, good, 4) == MG_NONE && record_leaves(tape, &number, 1) == MG_NONE);
    CHECK(mg_custom(tape, 1, &good, &number, 1) == MG_NONE && mg_custom(tape, 1, NULL, NULL, 0) == MG_NONE);
    CHECK(mg_unary_with(tape, MG_POW, good, 2) == MG_NONE && mg_binary_with(tape, MG_ADD, good, 2) == MG_NONE);
    CHECK(record_scale_by(tape, good, 4, 2) == MG_NONE && record_relu(tape, good, 4, true) == MG_NONE);
    CHECK(record_rmsnorm(tape, good, 4) == MG_NONE && record_linear(tape, good, good, 2, 2) == MG_NONE);
    CHECK(record_softmax(tape, good, 4) == MG_NONE && record_surprisal(tape, good) == MG_NONE);
    CHECK(record_attention(tape, good, &good, &good, 1, 2, 2) == MG_NONE && record_mean(tape, &good, 1) == MG_NONE);
    CHECK(mg_add(tape, 0, 0) == MG_NONE); /* a later failure does not hide the first */
    CHECK(mg_read_values(tape, good, 1, &number) == MG_OK && number == 1.5); /* workers go on */
    CHECK(mg_set_adjoint(tape, good, 0) == MG_OK);
    CHECK(mg_sweep(tape, zero) == MG_OK);
    CHECK(mg_tape_mark(tape) == before);
    CHECK(mg_tape_take_status(tape) == MG_DOMAIN);
    CHECK(mg_tape_take_status(tape) == MG_OK);
    CHECK(mg_add(tape, good, good) == before);
    mg_tape_free(tape);
}

static void memory_tells_the_truth(void) {
    mg_tape *tape = mg_tape_new();
    CHECK(mg_tape_memory(tape).bytes > 0);
    uint64_t last = 0;
    for (int i = 0; i < 400000; i++) {
        mg_leaf(tape, i);
        if (i % 50000 == 0) {
            mg_memory memory = mg_tape_memory(tape);
            CHECK(memory.slots == (uint64_t)i + 1 && memory.slots <= memory.capacity);
            CHECK(memory.capacity % MG_PAGE == 0);
            CHECK(memory.bytes >= last);
            last = memory.bytes;
        }
    }
    mg_memory memory = mg_tape_memory(tape);
    CHECK(memory.bytes <= 48 * memory.capacity); /* before any sweep, whose lists count too */
    mg_tape_free(tape);
}

static void a_closed_tape_refuses_everything(void) {
    mg_tape *tape = mg_tape_new(), *other = mg_tape_new();
    mg_id good = good_run(tape);
    record_many_leaves(tape, 3 * MG_PAGE);
    CHECK(mg_tape_close(tape) == MG_OK);
    check_all_refused(tape, good, MG_CLOSED);
    CHECK(mg_tape_memory(tape).slots == 0 && mg_tape_memory(tape).capacity == 0 && mg_tape_memory(tape).bytes > 0);
    (void)mg_tape_mark(tape);
    CHECK(mg_tape_close(tape) == MG_OK); /* again */
    mg_tape_fail_allocation(tape, 1);
    check_all_refused(tape, good, MG_CLOSED);
    CHECK(mg_tape_adopt(tape) == MG_OK);
    check_all_refused(tape, good, MG_CLOSED);
    mg_tape_free(tape);
    CHECK(mg_tape_close(other) == MG_OK); /* one that was never used */
    check_all_refused(other, 1, MG_CLOSED);
    mg_tape_free(other);
}


static void without_gradients_results_are_leaves(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id run = mg_leaves(tape, (double[4]){1, 2, 3, 4}, 4);
    const mg_view lanes = {.first = run, .lane = 1}, terms = {.first = run, .term = 1};
    const double partial = 2;
    CHECK(!mg_no_grad(true));
    const mg_id results[] = {mg_add(tape, run, run + 1), mg_binary_with(tape, MG_MUL, run, 3), mg_unary(tape, MG_EXP, run),
                             mg_map(tape, MG_MUL, 1, 4, &lanes, NULL, 2) + 3, mg_sum(tape, 1, 1, 4, &terms, &terms),
                             mg_largest(tape, 1, 4, &terms), mg_custom(tape, 7, &run, &partial, 1)};
    CHECK(mg_no_grad(false));
    const double values[] = {3, 3, exp(1), 8, 30, 4, 7};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        CHECK(same_bits(mg_value(tape, results[i]), values[i]) && mg_lane_operation(tape, results[i]) == MG_LEAF);
        CHECK(mg_lane_operand_count(tape, results[i]) == 0 && mg_sweep(tape, results[i]) == MG_OK);
    }
    CHECK(mg_adjoint(tape, run) == 0);
    CHECK(mg_lane_operation(tape, mg_add(tape, run, run)) == MG_ADD);
    mg_tape_free(tape);
}

int main(void) {
    RUN(marks_nest);
    RUN(a_mark_on_an_empty_tape_is_its_beginning);
    RUN(an_old_mark_forgets_many_pages);
    RUN(random_marks_are_obeyed);
    RUN(a_failure_stays_until_it_is_taken);
    RUN(memory_tells_the_truth);
    RUN(a_closed_tape_refuses_everything);
    RUN(without_gradients_results_are_leaves);
    return verdict();
}
