/* test_regressions.c: one test for each fault that was found in the core, named bug_ and what went wrong. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "compositions.h"
#include "microgpt.h"

#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* A test that may crash runs in a process of its own: true when it came through. */
static bool survives(bool (*test)(void)) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        _exit(test() ? 0 : 1);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* microgpt.h: "operands of a scalar operation; -1 for the others". The table has an empty row at MG_SCALAR_COUNT. */
static void bug_the_count_of_scalar_operations_has_an_arity(void) {
    CHECK(mg_operation_name(MG_SCALAR_COUNT) == NULL);
    CHECK(mg_operation_arity(MG_SCALAR_COUNT) == -1);
}

/* mg_lane_operands asks mg_lane_operand_count, which says 0 while a status has not been taken: MG_OK, and nothing is
   written to the caller's buffers. */
static void bug_operands_are_not_written_after_an_earlier_failure(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 2), b = mg_leaf(tape, -3), product = mg_mul(tape, a, b), operands[2] = {77, 77};
    double partials[2] = {77, 77};
    CHECK(mg_unary(tape, MG_LOG, b) == MG_NONE); /* leaves MG_DOMAIN */
    if (mg_lane_operands(tape, product, operands, partials) == MG_OK) {
        CHECK(operands[0] == a && operands[1] == b);
        CHECK(partials[0] == -3 && partials[1] == 2);
    }
    CHECK(mg_tape_take_status(tape) == MG_DOMAIN);
    mg_tape_free(tape);
}

/* A span maker that fails after it reserved several pages leaves them open and empty; each call opens new ones. */
static void bug_failed_makers_keep_their_pages(void) {
    mg_tape *tape = mg_tape_new();
    enum { WIDE = 4 * MG_PAGE };
    double *numbers = allocate(WIDE, sizeof *numbers);
    numbers[WIDE - 1] = 1e200; /* its square overflows */
    mg_id x = record_leaves(tape, numbers, WIDE);
    uint64_t capacity = 0;
    for (int attempt = 0; attempt < 300; attempt++) {
        CHECK(record_map(tape, MG_POW, x, WIDE, 2) == MG_NONE);
        CHECK(mg_tape_take_status(tape) == MG_POWER_RANGE);
        capacity = attempt == 1 ? mg_tape_memory(tape).capacity : capacity;
    }
    CHECK(mg_tape_memory(tape).capacity == capacity);
    free(numbers);
    mg_tape_free(tape);
}

/* mg_reserve adds n to the slots that are used before it looks whether n is too large: the sum wraps around. */
static bool refuses_too_many_leaves(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[1] = {0};
    bool refused = mg_leaf(tape, 1) != MG_NONE && record_leaves(tape, numbers, SIZE_MAX) == MG_NONE &&
                   mg_tape_take_status(tape) != MG_OK;
    mg_tape_free(tape);
    return refused;
}

static void bug_a_size_that_wraps_around_is_taken(void) { CHECK(survives(refuses_too_many_leaves)); }

/* Rewinding to a number that lies inside a span statement leaves its first lanes behind, whose header tells of lanes
   that are gone. A collection then marks slots past the end of the arena. */
static bool a_cut_statement_does_no_harm(void) {
    enum { POSITIONS = 200000 };
    mg_tape *tape = mg_tape_new();
    const double one = 0.5;
    const size_t size = 1;
    static const double fill[MG_PAGE + 1];
    mg_id x = record_leaves(tape, &one, 1), *keys = allocate(POSITIONS, sizeof *keys), first = 0;
    for (size_t u = 0; u < POSITIONS; u++) {
        keys[u] = x;
    }
    mg_id out = record_attention(tape, x, keys, keys, POSITIONS, 1, 1);
    for (mg_id id = x + 1; first == 0 && id < out; id++) { /* the first of the logits */
        first = mg_lane_operation(tape, id) == MG_SUM ? id : 0;
        mg_tape_take_status(tape);
    }
    if (first == 0) {
        return false;
    }
    (void)mg_tape_rewind(tape, first + 1);
    for (int round = 0; round < 3; round++) {
        record_leaves(tape, fill, MG_PAGE + 1);
        mg_tape_take_status(tape);
        (void)mg_tape_collect(tape, &first, &size, 1);
    }
    (void)mg_sweep(tape, first);
    free(keys);
    mg_tape_free(tape);
    return true;
}

static void bug_a_mark_inside_a_statement_cuts_it(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {1, 2, 3, 4};
    mg_id x = record_leaves(tape, numbers, 4), y = record_add(tape, x, x, 4);
    (void)mg_tape_rewind(tape, y + 2);
    bool first = !isnan(mg_value(tape, y));
    mg_tape_take_status(tape);
    bool last = !isnan(mg_value(tape, y + 3));
    CHECK(first == last); /* a statement is there, or it is not */
    mg_tape_free(tape);
    CHECK(survives(a_cut_statement_does_no_harm));
}

/* ---- programs --------------------------------------------------------------------------------------------------- */

/* Another lane of the same statement is asked for. Of scalar lanes, the operation and the first operand were
   compared, which another statement may share, also one that depends on the statement that selects: a circle. */
static void bug_select_takes_a_lane_of_another_scalar_statement(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 0.5), p = mg_mul(tape, a, a), surprisal = record_surprisal(tape, p);
    mg_id later = mg_mul(tape, a, surprisal), sum = mg_add(tape, later, surprisal);
    mg_program *program = mg_program_new(tape, sum, 0);
    CHECK(program != NULL && mg_program_bind(program, 0, surprisal, 0, 0, later, 1, 1) == MG_SHAPE);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* Leaves that were recorded after the statement do not live as long as it: rewound, their slots hold other lanes. */
static void bug_select_takes_leaves_that_a_rewind_forgets(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[2] = {1, 2}, later[2] = {10, 20}, foreign[2] = {100, 200};
    mg_id x = record_leaves(tape, numbers, 2), y = record_add(tape, x, x, 2);
    mg_program *program = mg_program_new(tape, y, 0);
    mg_mark mark = mg_tape_mark(tape);
    static const double fill[MG_PAGE];
    record_leaves(tape, fill, MG_PAGE); /* the leaves are on a page of their own */
    mg_id z = record_leaves(tape, later, 2);
    mg_status selected = mg_program_bind(program, 0, y, 0, 0, z, 2, 1);
    CHECK(mg_tape_rewind(tape, mark) == MG_OK);
    record_leaves(tape, fill, MG_PAGE);
    record_leaves(tape, foreign, 2);
    mg_status status = mg_program_forward(program);
    CHECK(selected != MG_OK || status != MG_OK); /* refused then, or refused now */
    CHECK(mg_value(tape, y) != foreign[0] + numbers[0]);
    mg_program_free(program);
    mg_tape_free(tape);
}

static void *forward_elsewhere(void *argument) {
    CHECK(mg_program_forward(argument) == MG_WRONG_THREAD);
    return NULL;
}

/* mg_program_forward works on the tape, and on the program, although it was refused. */
static void bug_a_refused_forward_changes_the_program(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3), b = mg_mul(tape, a, a);
    mg_program *program = mg_program_new(tape, b, 0);
    CHECK(mg_program_forward(program) == MG_OK);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, forward_elsewhere, program) == 0);
    pthread_join(thread, NULL);
    CHECK(mg_program_reverse(program) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* A replay writes the primals of what it computes; a span statement outside the program that needs them for its
   partials was swept as if they were those that it was recorded with. */
static void bug_a_replay_is_no_write_to_statements_outside(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {1, 2, 3, 4};
    mg_id x = record_leaves(tape, numbers, 2), w = record_leaves(tape, numbers, 2);
    mg_id y = record_scale_by(tape, x, 2, 3), z = record_linear(tape, y, w, 1, 2);
    mg_program *program = mg_program_new(tape, y, 0);
    CHECK(mg_set_value(tape, x, 100) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_value(tape, y) == 300);
    CHECK(mg_sweep(tape, z) == MG_OVERWRITTEN); /* as it is after mg_set_value(tape, y, 300) */
    mg_program_free(program);
    mg_tape_free(tape);
}

/* A replay stamps the pages of what it computes as written, with all that lies on them. A statement from before the
   program's mark, which it does not compute again, is then refused by the search that follows a selection, although
   nothing that it needs was written. */
static void check_replay_after_mark(bool computed) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {0.25, 0.5, 0.75, 1};
    mg_id x = record_leaves(tape, numbers, 2), w = record_leaves(tape, numbers, 4);
    mg_id operand = computed ? record_scale_by(tape, x, 2, 3) : x;
    mg_id h = record_linear(tape, operand, w, 2, 2);
    CHECK(mg_tape_record_quietly(tape, false) == MG_OK); /* a recording begins */
    mg_mark mark = mg_tape_mark(tape);
    mg_id p = record_softmax(tape, h, 2), loss = mg_unary(tape, MG_LOG, p);
    const int32_t one = 1;
    mg_program *program = mg_program_new(tape, loss, mark);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_program_bind(program, 0, loss, 0, 0, p, 1, 2) == MG_OK && mg_program_set(program, &one, 1) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK);
    CHECK(mg_program_reverse(program) == MG_OK);
    CHECK(mg_sweep(tape, h) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

static void bug_a_replay_stamps_the_leaves_of_its_pages(void) { check_replay_after_mark(false); }
static void bug_a_replay_stamps_the_computed_lanes_of_its_pages(void) { check_replay_after_mark(true); }

int main(void) {
    RUN(bug_the_count_of_scalar_operations_has_an_arity);
    RUN(bug_operands_are_not_written_after_an_earlier_failure);
    RUN(bug_failed_makers_keep_their_pages);
    RUN(bug_a_size_that_wraps_around_is_taken);
    RUN(bug_a_mark_inside_a_statement_cuts_it);
    RUN(bug_select_takes_a_lane_of_another_scalar_statement);
    RUN(bug_select_takes_leaves_that_a_rewind_forgets);
    RUN(bug_a_refused_forward_changes_the_program);
    RUN(bug_a_replay_is_no_write_to_statements_outside);
    RUN(bug_a_replay_stamps_the_leaves_of_its_pages);
    RUN(bug_a_replay_stamps_the_computed_lanes_of_its_pages);
    return verdict();
}
