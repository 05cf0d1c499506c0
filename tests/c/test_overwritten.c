/* test_overwritten.c: what was written after a statement was recorded that needs it. */
#include "check.h"
#include "compositions.h"

/* A span statement that needs its operands' numbers in the sweep notices that one was written. `write` is the lane that
   is written. */
static void check_overwritten(mg_tape *tape, mg_id result, mg_id write, mg_id leaf, bool refused) {
    double before[2], after[2];
    CHECK(mg_set_value(tape, write, 0.75) == MG_OK);
    CHECK(mg_set_adjoint(tape, leaf, 0.5) == MG_OK);
    CHECK(mg_set_adjoint(tape, result, 0.25) == MG_OK);
    CHECK(mg_read_adjoints(tape, leaf, 2, before) == MG_OK);
    mg_status status = mg_sweep(tape, result);
    if (refused) {
        CHECK(status == MG_OVERWRITTEN);
        CHECK(mg_read_adjoints(tape, leaf, 2, after) == MG_OK && same_numbers(before, after, 2));
        CHECK(mg_adjoint(tape, result) == 0.25);
        CHECK(mg_sweep(tape, result) == MG_OVERWRITTEN); /* it does not forget */
    } else {
        CHECK(status == MG_OK);
        CHECK(mg_adjoint(tape, result) == 1);
    }
    CHECK(mg_value(tape, write) == 0.75);
}

typedef enum { LINEAR_X, LINEAR_W, RMSNORM, QUERY, KEY, VALUE, NEEDS_COUNT } needs;

static void span_statements_notice_overwritten_operands(void) {
    for (int written = 0; written <= 1; written++) {
        for (int which = 0; which < NEEDS_COUNT; which++) {
            mg_tape *tape = mg_tape_new();
            double numbers[20] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
            mg_id x = record_leaves(tape, numbers, 20), key = x + 4, value = x + 8, unrelated = x + 12, y, at;
            switch (which) {
            case LINEAR_X:
            case LINEAR_W:
                y = record_linear(tape, x, key, 2, 4);
                at = which == LINEAR_X ? x + 3 : key + 7;
                break;
            case RMSNORM: y = record_rmsnorm(tape, x, 4), at = x + 3; break;
            default:
                y = record_attention(tape, x, &key, &value, 1, 2, 2);
                at = (which == QUERY ? x : which == KEY ? key : value) + 3;
            }
            check_overwritten(tape, mg_add(tape, y, y + 1), written ? at : unrelated, x, written != 0);
            /* what is recorded after the write is right again */
            mg_id again = which == RMSNORM ? record_rmsnorm(tape, x, 4) : record_linear(tape, x, key, 2, 4);
            CHECK(mg_sweep(tape, again) == MG_OK);
            mg_tape_free(tape);
        }
    }
}

static void other_statements_keep_their_partials(void) {
    for (int which = 0; which < 9; which++) {
        mg_tape *tapes[2] = {mg_tape_new(), mg_tape_new()};
        double adjoints[2][4];
        for (int t = 0; t < 2; t++) {
            mg_tape *tape = tapes[t];
            const double numbers[4] = {0.1, 0.2, 0.3, 0.4}, partials[2] = {3, 4};
            mg_id x = record_leaves(tape, numbers, 4), y, two[2] = {x, x + 1};
            switch (which) {
            case 0: y = record_add(tape, x, x, 4); break;
            case 1: y = record_scale_by(tape, x, 4, 3); break;
            case 2: y = record_relu(tape, x, 4, false); break;
            case 3: y = record_relu(tape, x, 4, true); break;
            case 4: y = record_softmax(tape, x, 4); break;
            case 5: y = record_surprisal(tape, x); break;
            case 6: y = record_mean(tape, two, 2); break;
            case 7: y = mg_custom(tape, 2, two, partials, 2); break;
            default: y = mg_mul(tape, x, x + 1); break;
            }
            if (t == 1) {
                CHECK(mg_set_value(tape, x, 0.9) == MG_OK && mg_set_value(tape, x + 1, 0.8) == MG_OK);
            }
            CHECK(mg_sweep(tape, y) == MG_OK);
            CHECK(mg_read_adjoints(tape, x, 4, adjoints[t]) == MG_OK);
            mg_tape_free(tape);
        }
        CHECK(same_numbers(adjoints[0], adjoints[1], 4));
    }
}

static void writes_before_recording_do_no_harm(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[6] = {1, 2, 3, 4, 5, 6};
    mg_id x = record_leaves(tape, numbers, 6);
    for (int round = 0; round < 100; round++) { /* as training does */
        CHECK(mg_write_values(tape, x, 6, numbers) == MG_OK);
        mg_mark mark = mg_tape_mark(tape);
        mg_id y = record_linear(tape, x, x + 2, 2, 2);
        CHECK(mg_sweep(tape, y) == MG_OK);
        CHECK(mg_set_value(tape, x, 1) == MG_OK);
        CHECK(mg_sweep(tape, y) == MG_OVERWRITTEN);
        CHECK(mg_tape_rewind(tape, mark) == MG_OK);
    }
    mg_tape_free(tape);
}

/* Computed lanes are watched by the page: a written operand is always noticed, also one page further. */
static void overwritten_computed_operands_are_noticed(void) {
    mg_tape *tape = mg_tape_new();
    enum { WIDE = MG_PAGE + 100 };
    double *numbers = allocate(WIDE, sizeof *numbers);
    for (size_t i = 0; i < WIDE; i++) {
        numbers[i] = 0.5;
    }
    mg_id x = record_leaves(tape, numbers, WIDE), doubled = record_add(tape, x, x, WIDE);
    mg_id y = record_linear(tape, doubled, x, 1, WIDE), sum = mg_add(tape, y, y);
    CHECK(mg_sweep(tape, sum) == MG_OK);
    check_overwritten(tape, sum, doubled + WIDE - 1, x, true);
    y = record_linear(tape, doubled, x, 1, WIDE);
    CHECK(mg_sweep(tape, y) == MG_OK);
    check_overwritten(tape, y, doubled, x, true);
    free(numbers);
    mg_tape_free(tape);
}

int main(void) {
    RUN(span_statements_notice_overwritten_operands);
    RUN(other_statements_keep_their_partials);
    RUN(writes_before_recording_do_no_harm);
    RUN(overwritten_computed_operands_are_noticed);
    return verdict();
}
