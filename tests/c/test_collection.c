/* test_collection.c: collection keeps what roots need, and gives back the rest. */
#include "refusals.h"

/* Fills pages, so that the page being filled, which is a root, holds nothing of the test's. */
static void move_on(mg_tape *tape) {
    static const double numbers[MG_PAGE + 1];
    record_leaves(tape, numbers, MG_PAGE + 1);
}

static bool alive(mg_tape *tape, mg_id lane) {
    double number;
    return mg_read_values(tape, lane, 1, &number) == MG_OK;
}

/* Statements of random kinds on random earlier ones; then, for random roots, exactly what can be reached stays. */
static void collect_keeps_exactly_what_is_needed(void) {
    enum { STATEMENTS = 400, LANES = 6, OPERANDS = 5 };
    typedef struct {
        mg_id first;
        size_t lanes, operand_count, operand[OPERANDS];
        double value[LANES];
        bool needed;
    } statement;
    statement *list = allocate(STATEMENTS, sizeof *list);
    uint64_t state = 1234567;
    for (int round = 0; round < 40; round++) {
        mg_tape *tape = mg_tape_new();
        for (size_t s = 0; s < STATEMENTS; s++) {
            statement *here = &list[s];
            *here = (statement){.lanes = LANES};
            size_t a = s == 0 ? 0 : random_below(&state, s), b = s == 0 ? 0 : random_below(&state, s);
            size_t choice = s < 5 ? 0 : random_below(&state, 9);
            bool wide = list[a].lanes == LANES && list[b].lanes == LANES;
            here->operand[0] = a;
            here->operand[1] = b;
            here->operand_count = 2;
            if (choice == 0) {
                double numbers[LANES];
                for (size_t i = 0; i < LANES; i++) {
                    numbers[i] = random_between(&state, -1, 1);
                }
                here->first = record_leaves(tape, numbers, LANES);
                here->operand_count = 0; /* leaves are statements of their own, one each; see below */
            } else if (choice == 1 && wide) {
                here->first = record_add(tape, list[a].first, list[b].first, LANES);
            } else if (choice == 2 && wide) {
                here->first = record_linear(tape, list[a].first, list[b].first, 2, 3);
                here->lanes = 2;
            } else if (choice == 3 && list[a].lanes == LANES) {
                here->first = record_rmsnorm(tape, list[a].first, LANES);
                here->operand_count = 1;
            } else if (choice == 4 && list[a].lanes == LANES) {
                here->first = record_softmax(tape, list[a].first, LANES);
                here->operand_count = 1;
            } else if (choice == 5 && wide) {
                mg_id keys[2] = {list[a].first, list[b].first}, values[2] = {list[b].first, list[a].first};
                here->first = record_attention(tape, list[a].first, keys, values, 2, 3, 2);
            } else if (choice == 6) {
                mg_id operands[OPERANDS];
                double partials[OPERANDS] = {1, 2, 3, 4, 5};
                here->operand_count = 1 + random_below(&state, OPERANDS);
                for (size_t k = 0; k < here->operand_count; k++) {
                    here->operand[k] = random_below(&state, s);
                    operands[k] = list[here->operand[k]].first;
                }
                here->first = random_below(&state, 2) ? mg_custom(tape, 0.5, operands, partials, here->operand_count)
                                                      : record_mean(tape, operands, here->operand_count);
                here->lanes = 1;
            } else {
                here->first = mg_binary(tape, MG_MAX, list[a].first, list[b].first);
                here->lanes = 1;
            }
            CHECK(here->first != MG_NONE);
            CHECK(mg_read_values(tape, here->first, here->lanes, here->value) == MG_OK);
        }
        move_on(tape);
        mg_id roots[5];
        size_t sizes[5] = {1, 1, 1, 1, 1}, root_count = random_below(&state, 5);
        for (size_t r = 0; r < root_count; r++) {
            size_t s = random_below(&state, STATEMENTS);
            /* one lane of a span statement keeps it whole; of leaves, all are asked for */
            bool leaves = list[s].operand_count == 0;
            list[s].needed = true;
            roots[r] = leaves ? list[s].first : list[s].first + random_below(&state, list[s].lanes);
            sizes[r] = leaves ? LANES : 1;
        }
        roots[root_count] = (mg_id)round; /* an id that is not of the tape is ignored */
        CHECK(mg_tape_collect(tape, roots, sizes, root_count + 1) == MG_OK);
        bool *lower = allocate(STATEMENTS, sizeof *lower); /* leaves that only their first lane may be needed of */
        for (size_t s = STATEMENTS; s-- > 0;) {
            for (size_t k = 0; (list[s].needed || lower[s]) && k < list[s].operand_count; k++) {
                statement *operand = &list[list[s].operand[k]];
                if (operand->operand_count == 0) {
                    lower[list[s].operand[k]] = true;
                } else {
                    operand->needed = true;
                }
            }
        }
        for (size_t s = 0; s < STATEMENTS; s++) {
            double numbers[LANES];
            if (list[s].needed) {
                CHECK(mg_read_values(tape, list[s].first, list[s].lanes, numbers) == MG_OK);
                CHECK(same_numbers(numbers, list[s].value, list[s].lanes));
            } else if (lower[s]) {
                CHECK(alive(tape, list[s].first));
            } else {
                for (size_t i = 0; i < list[s].lanes; i++) {
                    CHECK(!alive(tape, list[s].first + i));
                }
            }
        }
        /* What stays can be used, and what is forgotten once more is forgotten for good. */
        for (size_t s = 0; s < STATEMENTS; s++) {
            if (list[s].needed) {
                CHECK(mg_sweep(tape, list[s].first) == MG_OK);
            }
        }
        move_on(tape);
        CHECK(mg_tape_collect(tape, NULL, NULL, 0) == MG_OK);
        CHECK(mg_tape_memory(tape).slots <= MG_PAGE); /* the page being filled */
        for (size_t s = 0; s < STATEMENTS; s++) {
            CHECK(!alive(tape, list[s].first));
        }
        free(lower);
        mg_tape_free(tape);
    }
    free(list);
}

static void collect_keeps_span_statements_whole(void) {
    mg_tape *tape = mg_tape_new();
    enum { WIDE = 3 * MG_PAGE + 5 };
    double *numbers = allocate(WIDE, sizeof *numbers);
    for (size_t i = 0; i < WIDE; i++) {
        numbers[i] = (double)i / 7;
    }
    mg_id x = record_leaves(tape, numbers, WIDE), y = record_scale_by(tape, x, WIDE, 3);
    mg_id unused = record_scale_by(tape, x, WIDE, 5);
    move_on(tape);
    mg_id root = y + WIDE - 1;
    size_t size = 1;
    CHECK(mg_tape_collect(tape, &root, &size, 1) == MG_OK);
    for (size_t i = 0; i < WIDE; i++) {
        CHECK(mg_value(tape, y + i) == numbers[i] * 3);
        CHECK(mg_value(tape, x + i) == numbers[i]);
        CHECK(!alive(tape, unused + i));
    }
    CHECK(mg_sweep(tape, y) == MG_OK && mg_adjoint(tape, x) == 3);
    free(numbers);
    mg_tape_free(tape);
}

static void collect_takes_runs_of_leaves_as_roots(void) {
    mg_tape *tape = mg_tape_new();
    enum { WIDE = 2 * MG_PAGE };
    double *numbers = allocate(WIDE, sizeof *numbers);
    mg_id x = record_leaves(tape, numbers, WIDE), lost = record_leaves(tape, numbers, WIDE);
    move_on(tape);
    mg_id roots[3] = {x + 100, lost, lost + WIDE - 1};
    size_t sizes[3] = {MG_PAGE, 0, 1};
    CHECK(mg_tape_collect(tape, roots, sizes, 3) == MG_OK);
    for (size_t i = 0; i < WIDE; i++) {
        CHECK(alive(tape, x + i) == (i >= 100 && i < 100 + MG_PAGE));
        CHECK(alive(tape, lost + i) == (i == WIDE - 1));
    }
    free(numbers);
    mg_tape_free(tape);
}

static void collect_keeps_the_page_being_filled(void) {
    mg_tape *tape = mg_tape_new();
    record_many_leaves(tape, 2 * MG_PAGE + 1);
    mg_id a = mg_leaf(tape, 1), old = a - MG_PAGE, b = mg_add(tape, a, old);
    CHECK(mg_tape_collect(tape, NULL, NULL, 0) == MG_OK);
    CHECK(alive(tape, a) && alive(tape, b) && alive(tape, old) && !alive(tape, old - 1) && !alive(tape, old + 1));
    CHECK(mg_add(tape, b, a) > b);
    mg_tape_free(tape);
}

/* A loop that keeps one result and gives back the rest does not grow. */
static void collected_storage_is_used_again(void) {
    mg_tape *tape = mg_tape_new();
    double numbers[64];
    uint64_t state = 3, bound = 0;
    for (size_t i = 0; i < 64; i++) {
        numbers[i] = random_between(&state, -1, 1);
    }
    mg_id roots[2] = {record_leaves(tape, numbers, 64), 0}, keep[4] = {0};
    size_t sizes[2] = {64, 8};
    for (int round = 0; round < (small_run() ? 200 : 1000); round++) {
        mg_id x = record_linear(tape, roots[0], roots[0], 8, 8);
        for (int step = 0; step < 60; step++) {
            x = record_rmsnorm(tape, record_add(tape, x, record_softmax(tape, x, 8), 8), 8);
            keep[step % 4] = mg_mul(tape, x, keep[0] != 0 && step >= 4 ? keep[step % 4] : x);
        }
        CHECK(x != MG_NONE);
        if (round % 10 == 0) { /* every tenth result stays for ten rounds: holes of all sizes */
            roots[1] = x;
        }
        CHECK(mg_tape_collect(tape, roots, sizes, 2) == MG_OK);
        if (round == 20) {
            bound = mg_tape_memory(tape).capacity;
        }
        CHECK(round <= 20 || mg_tape_memory(tape).capacity <= bound);
        CHECK(alive(tape, roots[0]) && alive(tape, roots[1] + 7));
    }
    mg_tape_free(tape);
}

static void a_large_tape_shrinks_when_collected(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 1.25), sum = a;
    size_t size = 1;
    for (int i = 0; i < 600000; i++) {
        sum = mg_add(tape, sum, a);
    }
    uint64_t before = mg_tape_memory(tape).capacity;
    CHECK(before >= 600000);
    CHECK(mg_tape_collect(tape, &sum, &size, 1) == MG_OK); /* a chain this deep does not overflow the C stack */
    CHECK(mg_tape_memory(tape).capacity == before && mg_value(tape, sum) == 1.25 * 600001);
    for (int round = 0; round < 2; round++) { /* the first leaves the page that was being filled, high up */
        move_on(tape);
        CHECK(mg_tape_collect(tape, &a, &size, 1) == MG_OK);
    }
    CHECK(mg_tape_memory(tape).capacity < before / 2 && mg_tape_memory(tape).bytes < 48 * before / 2);
    CHECK(mg_value(tape, a) == 1.25);
    CHECK(mg_tape_rewind(tape, 0) == MG_OK);
    CHECK(mg_tape_collect(tape, NULL, NULL, 0) == MG_OK);
    CHECK(mg_tape_memory(tape).slots == 0 && mg_tape_memory(tape).capacity < before / 2);
    for (int i = 0; i < 300000; i++) { /* and grows again */
        sum = mg_leaf(tape, i);
    }
    CHECK(mg_value(tape, sum) == 299999);
    mg_tape_free(tape);
}

/* What no other call has: a mark that keeps what came after it, and only the roots that are given. */
static void collections_since_a_mark(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id before = mg_leaf(tape, 1), kept = mg_leaf(tape, 2);
    record_many_leaves(tape, 2 * MG_PAGE);
    const mg_mark since = mg_tape_mark(tape);
    const mg_id after = mg_add(tape, kept, kept);
    record_many_leaves(tape, 2 * MG_PAGE);
    CHECK(mg_tape_collect_since(tape, NULL, NULL, 0, since) == MG_OK);
    CHECK(mg_value(tape, after) == 4 && mg_value(tape, kept) == 2);
    CHECK(isnan(mg_value(tape, before)) && mg_tape_take_status(tape) == MG_STALE);
    mg_tape_free(tape);
}

int main(void) {
    RUN(collect_keeps_exactly_what_is_needed);
    RUN(collect_keeps_span_statements_whole);
    RUN(collect_takes_runs_of_leaves_as_roots);
    RUN(collect_keeps_the_page_being_filled);
    RUN(collected_storage_is_used_again);
    RUN(a_large_tape_shrinks_when_collected);
    RUN(collections_since_a_mark);
    return verdict();
}
