/* test_program.c: replaying what was recorded, against recording it again on a new tape, bit for bit. */
#include "check.h"
#include "compositions.h"
#include "invariants.h"
#include "microgpt.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { WIDTH = 6, ROWS = 5, MOST = 256 };

/* What a recording made, in order. */
typedef struct {
    mg_tape *tape;
    mg_id lanes[MOST];
    size_t count;
    mg_id leaves, rows, target, loss; /* WIDTH leaves; ROWS * WIDTH leaves; the statements with selectable operands */
    mg_id softmax, logarithm;
    size_t row, column;               /* what is selected */
} recording;

static mg_id log_run(recording *r, mg_id first, size_t n) {
    CHECK(first != MG_NONE);
    for (size_t i = 0; i < n && r->count < MOST; i++) {
        r->lanes[r->count++] = first + i;
    }
    return first;
}

/* A loss from every kind of statement, and scalar operations of all arities. */
static void record(recording *r, const double *numbers) {
    mg_tape *tape = r->tape;
    r->count = 0;
    r->leaves = log_run(r, record_leaves(tape, numbers, WIDTH), WIDTH);
    r->rows = log_run(r, record_leaves(tape, numbers + WIDTH, ROWS * WIDTH), ROWS * WIDTH);
    r->target = log_run(r, record_add(tape, r->leaves, r->rows + r->row * WIDTH, WIDTH), WIDTH);
    mg_id x = log_run(r, record_rmsnorm(tape, r->target, WIDTH), WIDTH);
    mg_id y = log_run(r, record_linear(tape, x, r->rows, ROWS, WIDTH), ROWS);
    mg_id h = log_run(r, record_relu(tape, y, ROWS, true), ROWS);
    h = log_run(r, record_add(tape, h, y, ROWS), ROWS);
    h = log_run(r, record_scale_by(tape, h, ROWS, 0.75), ROWS);
    mg_id keys[2] = {x, r->target}, values[2] = {r->leaves, x};
    mg_id a = log_run(r, record_attention(tape, x, keys, values, 2, 2, WIDTH / 2), WIDTH);
    a = log_run(r, record_relu(tape, a, WIDTH, false), WIDTH);
    mg_id p = log_run(r, record_softmax(tape, h, ROWS), ROWS);
    r->softmax = p;
    r->logarithm = log_run(r, mg_unary(tape, MG_LOG, p + r->column), 1);
    r->loss = log_run(r, mg_binary_with(tape, MG_MUL, r->logarithm, -1), 1);
    mg_id s = log_run(r, mg_mul(tape, a, a + 1), 1);
    s = log_run(r, mg_binary(tape, MG_MAX, s, y), 1);
    s = log_run(r, mg_unary(tape, MG_TANH, s), 1);
    s = log_run(r, mg_unary_with(tape, MG_POW, s, 2), 1);
    s = log_run(r, mg_unary_with(tape, MG_EXPONENT, s, 1.5), 1);
    s = log_run(r, mg_binary_with(tape, MG_ADD, s, 0.5), 1);
    s = log_run(r, mg_unary(tape, MG_LOG, s), 1);
    mg_id all[4] = {r->loss, s, a + 2, r->loss};
    r->loss = log_run(r, record_mean(tape, all, 4), 1);
}

/* Input 0 selects a row of the leaves, input 1 a lane of the softmax. */
static void bind_inputs(mg_program *program, const recording *r) {
    CHECK(mg_program_bind(program, 0, r->target + 2, 1, 0, r->rows, WIDTH, ROWS) == MG_OK);
    CHECK(mg_program_bind(program, 1, r->logarithm, 0, 0, r->softmax, 1, ROWS) == MG_OK);
}

static mg_status select_inputs(mg_program *program, size_t row, size_t column) {
    const int32_t values[2] = {(int32_t)row, (int32_t)column};
    return mg_program_set(program, values, 2);
}

static bool same_lanes(const recording *a, const recording *b) {
    bool same = CHECK(a->count == b->count);
    for (size_t i = 0; same && i < a->count; i++) {
        same = CHECK(same_number(mg_value(a->tape, a->lanes[i]), mg_value(b->tape, b->lanes[i]))) &&
               CHECK(same_number(mg_adjoint(a->tape, a->lanes[i]), mg_adjoint(b->tape, b->lanes[i])));
        if (!same) {
            printf("    in lane %zu\n", i);
        }
    }
    return same;
}

static void random_numbers(uint64_t *state, double *numbers) {
    for (size_t i = 0; i < WIDTH + ROWS * WIDTH; i++) {
        numbers[i] = random_between(state, -1.5, 1.5);
    }
}

static void replays_are_recordings(void) {
    uint64_t state = 21;
    double numbers[WIDTH + ROWS * WIDTH];
    recording r = {.tape = mg_tape_new()};
    random_numbers(&state, numbers);
    record(&r, numbers);
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    if (!CHECK(program != NULL)) {
        return;
    }
    bind_inputs(program, &r);
    mg_mark before = mg_tape_mark(r.tape);
    for (int round = 0; round < 300; round++) {
        recording fresh = {.tape = mg_tape_new(), .row = r.row, .column = r.column};
        random_numbers(&state, numbers);
        if (round % 3 == 0) { /* another row of leaves, another lane of the softmax */
            fresh.row = r.row = random_below(&state, ROWS);
            fresh.column = r.column = random_below(&state, ROWS);
            CHECK(select_inputs(program, r.row, r.column) == MG_OK);
        }
        record(&fresh, numbers);
        CHECK(mg_write_values(r.tape, r.leaves, WIDTH, numbers) == MG_OK);
        CHECK(mg_write_values(r.tape, r.rows, ROWS * WIDTH, numbers + WIDTH) == MG_OK);
        CHECK(mg_clear_adjoints(r.tape, r.leaves, WIDTH) == MG_OK);
        CHECK(mg_clear_adjoints(r.tape, r.rows, ROWS * WIDTH) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK);
        if (round % 4 == 3) { /* twice is as once */
            CHECK(mg_program_forward(program) == MG_OK);
        }
        CHECK(mg_program_reverse(program) == MG_OK);
        CHECK(mg_sweep(fresh.tape, fresh.loss) == MG_OK);
        if (!same_lanes(&r, &fresh)) {
            printf("    in round %d\n", round);
        }
        mg_tape_free(fresh.tape);
        if (round % 50 == 49) { /* a program lives through collections that keep its result */
            const size_t sizes[3] = {1, WIDTH, ROWS * WIDTH};
            CHECK(mg_tape_collect(r.tape, (mg_id[3]){r.loss, r.leaves, r.rows}, sizes, 3) == MG_OK);
        }
    }
    CHECK(mg_tape_rewind(r.tape, before) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    mg_program_free(program);
    mg_tape_free(r.tape);
}

/* Leaves keep their adjoints from replay to replay, as from sweep to sweep; what is computed begins at 0. */
static void adjoints_of_leaves_accumulate(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3), b = mg_mul(tape, a, a), c = mg_mul(tape, b, a);
    mg_program *program = mg_program_new(tape, c, 0);
    for (int round = 1; round <= 3; round++) {
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(mg_adjoint(tape, a) == 27 * round && mg_adjoint(tape, b) == 3 && mg_adjoint(tape, c) == 1);
    }
    CHECK(mg_program_reverse(program) == MG_OK); /* reverse alone, as nothing was written */
    CHECK(mg_adjoint(tape, a) == 27 * 4);
    mg_program_free(program);
    mg_tape_free(tape);
}

static void only_what_came_after_the_mark_is_computed(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3), b = mg_mul(tape, a, a);
    mg_mark mark = mg_tape_mark(tape);
    mg_id c = mg_mul(tape, b, a);
    mg_program *program = mg_program_new(tape, c, mark);
    CHECK(mg_set_value(tape, a, 5) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK);
    CHECK(mg_value(tape, b) == 9 && mg_value(tape, c) == 45);
    mg_program_free(program);
    mg_tape_free(tape);
}

static void a_program_of_a_leaf_computes_nothing(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3);
    mg_program *program = mg_program_new(tape, a, 0);
    CHECK(program != NULL && mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_value(tape, a) == 3 && mg_adjoint(tape, a) == 1);
    mg_program_free(program);
    mg_program_free(NULL);
    mg_tape_free(tape);
}

static void reverse_needs_what_forward_computed(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3), b = mg_unary(tape, MG_LOG, a), unrelated = mg_leaf(tape, 1);
    mg_program *program = mg_program_new(tape, b, 0);
    CHECK(mg_program_forward(program) == MG_OK);
    CHECK(mg_set_value(tape, unrelated, 2) == MG_OK);
    CHECK(mg_program_reverse(program) == MG_OVERWRITTEN);
    CHECK(mg_adjoint(tape, a) == 0);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_set_value(tape, a, -1) == MG_OK);
    CHECK(mg_program_forward(program) == MG_DOMAIN); /* fails as the operation would */
    CHECK(mg_program_reverse(program) == MG_OVERWRITTEN);
    CHECK(mg_set_value(tape, a, 2) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_adjoint(tape, a) == 1.0 / 3 + 1.0 / 2 && mg_value(tape, b) == log(2));
    CHECK(mg_tape_take_status(tape) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

static void what_cannot_be_replayed_is_refused(void) {
    mg_tape *tape = mg_tape_new(), *other = mg_tape_new();
    const double one = 1;
    mg_id a = mg_leaf(tape, 3), custom = mg_custom(tape, 1, &a, &one, 1), foreign = mg_leaf(other, 1);
    mg_mark mark = mg_tape_mark(tape);
    mg_id b = mg_add(tape, custom, a);
    CHECK(mg_program_new(tape, b, 0) == NULL && mg_tape_take_status(tape) == MG_NOT_REPLAYABLE);
    CHECK(mg_program_new(tape, custom, 0) == NULL && mg_tape_take_status(tape) == MG_NOT_REPLAYABLE);
    const mg_id bad[] = {0, MG_NONE, foreign, b + 1, custom - 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(mg_program_new(tape, bad[i], 0) == NULL && mg_tape_take_status(tape) == MG_STALE);
    }
    mg_program *program = mg_program_new(tape, b, mark); /* custom, but from before */
    CHECK(program != NULL && mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_tape_rewind(tape, mark) == MG_OK);
    CHECK(mg_program_forward(program) == MG_STALE && mg_program_reverse(program) == MG_STALE);
    CHECK(mg_program_bind(program, 0, a, 0, 0, a, 1, 1) == MG_STALE && mg_program_plan(program) == MG_STALE);
    CHECK(mg_tape_close(tape) == MG_OK);
    CHECK(mg_program_forward(program) == MG_CLOSED && mg_program_reverse(program) == MG_CLOSED);
    CHECK(mg_program_bind(program, 0, a, 0, 0, a, 1, 1) == MG_CLOSED && mg_program_plan(program) == MG_CLOSED);
    CHECK(mg_program_new(tape, a, 0) == NULL && mg_tape_take_status(tape) == MG_CLOSED);
    mg_program_free(program);
    mg_tape_free(tape);
    mg_tape_free(other);
}

static void what_cannot_be_selected_is_refused(void) {
    uint64_t state = 4;
    double numbers[WIDTH + ROWS * WIDTH];
    recording r = {.tape = mg_tape_new()}, same = {.tape = mg_tape_new()};
    random_numbers(&state, numbers);
    record(&r, numbers);
    record(&same, numbers);
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    const mg_id logarithm = r.logarithm, p = r.softmax;
    const struct {
        mg_id lane;
        size_t operand;
        mg_id first;
        mg_status status;
        size_t entry, size, count, input;
    } cases[] = {
        {.lane = 0, .operand = 0, .first = r.leaves, .status = MG_STALE},
        {.lane = MG_NONE, .operand = 0, .first = r.leaves, .status = MG_STALE},
        {.lane = r.target, .operand = 0, .first = 0, .status = MG_STALE},
        {.lane = r.target, .operand = 0, .first = MG_NONE, .status = MG_STALE},
        {.lane = r.target, .operand = 0, .first = same.leaves, .status = MG_STALE},
        {.lane = r.target, .operand = 2, .first = r.leaves, .status = MG_OPERATION},
        {.lane = r.target, .operand = SIZE_MAX, .first = r.leaves, .status = MG_OPERATION},
        {.lane = r.leaves, .operand = 0, .first = r.leaves, .status = MG_OPERATION},       /* a leaf has no operand */
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_OPERATION, .entry = 1}, /* a map has no lists */
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .count = 100},
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .count = SIZE_MAX},
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .size = SIZE_MAX},
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .size = WIDTH - 1}, /* it reads more */
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .input = SIZE_MAX},
        {.lane = r.target, .operand = 0, .first = r.leaves, .status = MG_SHAPE, .input = MG_MOST_INPUTS},
        {.lane = logarithm, .operand = 1, .first = p, .status = MG_OPERATION},
        {.lane = r.target, .operand = 0, .first = r.target, .status = MG_SHAPE},           /* not leaves */
        {.lane = r.target, .operand = 1, .first = r.rows + ROWS * WIDTH - WIDTH + 1, .status = MG_SHAPE}, /* runs past the leaves */
        {.lane = logarithm, .operand = 0, .first = r.leaves, .status = MG_SHAPE},          /* was a lane of the softmax */
        {.lane = logarithm, .operand = 0, .first = r.target, .status = MG_SHAPE},
        {.lane = logarithm, .operand = 0, .first = logarithm, .status = MG_SHAPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t size = cases[i].size == 0 ? WIDTH : cases[i].size, count = cases[i].count == 0 ? 1 : cases[i].count;
        const mg_status status = mg_program_bind(program, cases[i].input, cases[i].lane, cases[i].operand, cases[i].entry,
                                                 cases[i].first, size, count);
        if (!CHECK(status == cases[i].status)) {
            printf("    in case %zu\n", i);
        }
    }
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    CHECK(mg_sweep(same.tape, same.loss) == MG_OK);
    same_lanes(&r, &same); /* nothing was changed */
    CHECK(mg_program_bind(program, MG_MOST_INPUTS - 1, r.target, 0, 0, r.leaves, WIDTH, 1) == MG_OK);
    mg_program_free(program);
    mg_tape_free(r.tape);
    mg_tape_free(same.tape);
}

static void survive_no_memory(bool once) {
    uint64_t state = 5;
    double numbers[WIDTH + ROWS * WIDTH];
    random_numbers(&state, numbers);
    recording expected = {.tape = mg_tape_new(), .column = 3};
    record(&expected, numbers);
    CHECK(mg_sweep(expected.tape, expected.loss) == MG_OK);
    bool complete = false;
    uint64_t k = 1;
    for (; !complete && k < 50; k++) {
        recording r = {.tape = mg_tape_new()};
        record(&r, numbers);
        uint64_t bytes = mg_tape_memory(r.tape).bytes;
        r.tape->fails_once = once;
        mg_tape_fail_allocation(r.tape, k);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        complete = program != NULL;
        CHECK(mg_tape_take_status(r.tape) == (complete ? MG_OK : MG_NO_MEMORY));
        mg_tape_fail_allocation(r.tape, 0);
        if (!complete) {
            program = mg_program_new(r.tape, r.loss, 0);
        }
        bind_inputs(program, &r);
        CHECK(select_inputs(program, 0, 3) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK);
        mg_tape_fail_allocation(r.tape, 1); /* the new order needs no more room than the old */
        mg_status status = mg_program_reverse(program);
        CHECK(status == MG_OK || status == MG_NO_MEMORY);
        mg_tape_fail_allocation(r.tape, 0);
        CHECK(status == MG_OK || mg_program_reverse(program) == MG_OK);
        same_lanes(&r, &expected);
        mg_program_free(program);
        CHECK(mg_tape_memory(r.tape).bytes >= bytes);
        mg_tape_free(r.tape);
    }
    CHECK(complete && k > 4);
    mg_tape_free(expected.tape);
}

/* An allocation fails alone, or with all later ones. */
static void no_memory_is_survived(void) {
    survive_no_memory(false);
    survive_no_memory(true);
}

/* Some have been marked, and not been looked at, when the list of those that have grows in vain. */
static void no_memory_leaves_no_marks(void) {
    enum { MAPS = 1100, LANES = MG_PAGE + 8 };
    static mg_id maps[MAPS];
    mg_tape *tape = mg_tape_new();
    const mg_view x = {.first = mg_leaf(tape, 0.5)};
    for (size_t k = 0; k < MAPS; k++) {
        maps[k] = mg_map(tape, MG_EXP, 1, LANES, &x, NULL, 0);
    }
    const mg_view all = {.list = maps, .entries = MAPS, .block = 1, .by_term = true};
    const mg_id sum = mg_sum(tape, 1, 1, MAPS, &all, NULL);
    mg_program *program = NULL;
    for (uint64_t k = 1; program == NULL && k < 50; k++) {
        mg_tape_fail_allocation(tape, k);
        program = mg_program_new(tape, sum, 0);
        mg_tape_fail_allocation(tape, 0);
        mg_tape_take_status(tape);
        CHECK(broken_tape(tape) == NULL);
    }
    CHECK(program != NULL && mg_program_forward(program) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* A program counts in the memory of its tape while it is there, and no longer. */
static void a_program_gives_its_memory_back(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 1), sum = a;
    for (int i = 0; i < 5000; i++) {
        sum = mg_add(tape, sum, a);
    }
    CHECK(mg_sweep(tape, sum) == MG_OK); /* its lists stay */
    uint64_t bytes = mg_tape_memory(tape).bytes;
    mg_program *program = mg_program_new(tape, sum, 0);
    CHECK(mg_tape_memory(tape).bytes > bytes);
    CHECK(mg_set_value(tape, a, 2) == MG_OK && mg_program_forward(program) == MG_OK && mg_value(tape, sum) == 2 * 5001);
    mg_program_free(program);
    CHECK(mg_tape_memory(tape).bytes <= bytes);
    mg_tape_free(tape);
}

typedef struct {
    mg_program *program;
    mg_status forward, reverse, select;
    mg_id lane, first;
} elsewhere;

static void *replay_elsewhere(void *argument) {
    elsewhere *e = argument;
    e->forward = mg_program_forward(e->program);
    e->reverse = mg_program_reverse(e->program);
    e->select = mg_program_bind(e->program, 0, e->lane, 0, 0, e->first, WIDTH, 1);
    return NULL;
}

static void a_program_belongs_to_the_thread_of_its_tape(void) {
    uint64_t state = 6;
    double numbers[WIDTH + ROWS * WIDTH];
    random_numbers(&state, numbers);
    recording r = {.tape = mg_tape_new()};
    record(&r, numbers);
    elsewhere e = {.program = mg_program_new(r.tape, r.loss, 0), .lane = r.target, .first = r.rows};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, replay_elsewhere, &e) == 0);
    pthread_join(thread, NULL);
    CHECK(e.forward == MG_WRONG_THREAD && e.reverse == MG_WRONG_THREAD && e.select == MG_WRONG_THREAD);
    CHECK(mg_program_forward(e.program) == MG_OK && mg_program_reverse(e.program) == MG_OK);
    mg_program_free(e.program);
    mg_tape_free(r.tape);
}

typedef struct {
    mg_program *program;
    mg_tape *tape;
} held;

static void *free_elsewhere(void *argument) {
    held *h = argument;
    mg_program_free(h->program);
    mg_tape_free(h->tape);
    return NULL;
}

/* Python's collector frees what is in a cycle in any order, and in any thread: the storage goes with the last holder. */
static void what_is_freed_in_any_order_is_freed_once(void) {
    uint64_t state = 8;
    double numbers[WIDTH + ROWS * WIDTH];
    random_numbers(&state, numbers);
    const mg_optimizer adam = {.kind = MG_ADAM, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    const size_t sizes[2] = {WIDTH, ROWS * WIDTH};
    for (int order = 0; order < 6; order++) {
        recording r = {.tape = mg_tape_new()};
        record(&r, numbers);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        bind_inputs(program, &r);
        mg_trainer *trainer = mg_trainer_new(program, (mg_id[2]){r.leaves, r.rows}, sizes, 2, &adam, false);
        CHECK(trainer != NULL);
        for (int turn = 0; turn < 3; turn++) {
            switch ((order % 2 ? 3 - turn + order : turn + order) % 3) {
            case 0: mg_tape_free(r.tape); break;
            case 1: mg_program_free(program); break;
            default: mg_trainer_free(trainer);
            }
        }
    }
}

/* While the owner goes on with the tape: nothing of it is touched but its counts. */
static void a_program_may_be_freed_by_another_thread(void) {
    uint64_t state = 9;
    double numbers[WIDTH + ROWS * WIDTH];
    random_numbers(&state, numbers);
    recording r = {.tape = mg_tape_new()};
    record(&r, numbers);
    for (int round = 0; round < 20; round++) {
        held h = {.program = mg_program_new(r.tape, r.loss, 0)};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, free_elsewhere, &h) == 0);
        for (int i = 0; i < 200; i++) {
            CHECK(mg_add(r.tape, r.leaves, r.rows) != MG_NONE);
        }
        pthread_join(thread, NULL);
    }
    held last = {.program = mg_program_new(r.tape, r.loss, 0), .tape = r.tape};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_elsewhere, &last) == 0);
    pthread_join(thread, NULL);
}

typedef struct {
    mg_tape *tape;
    _Atomic(int) stop;
    int busy, adopted;
} adopting;

static void *adopt_all_the_time(void *argument) {
    adopting *a = argument;
    while (!a->stop) {
        const mg_status status = mg_tape_adopt(a->tape);
        a->busy += status == MG_BUSY;
        a->adopted += status == MG_OK;
        if (status == MG_OK) {
            mg_leaf(a->tape, 1);
            mg_tape_take_status(a->tape);
        }
    }
    return NULL;
}

/* Two threads that take the tape from each other between calls: each call is whole, or refused. */
static void a_tape_is_adopted_between_calls_only(void) {
    adopting a = {.tape = mg_tape_new()};
    const double numbers[100] = {1, 2, 3};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, adopt_all_the_time, &a) == 0);
    for (int i = 0; i < 3000; i++) {
        while (mg_tape_adopt(a.tape) != MG_OK) {
        }
        mg_leaves(a.tape, numbers, 100);
        mg_tape_memory(a.tape);
        mg_tape_take_status(a.tape);
    }
    a.stop = 1;
    pthread_join(thread, NULL);
    CHECK(mg_tape_adopt(a.tape) == MG_OK && mg_leaf(a.tape, 2) != MG_NONE);
    mg_tape_free(a.tape);
}

int main(void) {
    RUN(replays_are_recordings);
    RUN(adjoints_of_leaves_accumulate);
    RUN(only_what_came_after_the_mark_is_computed);
    RUN(a_program_of_a_leaf_computes_nothing);
    RUN(reverse_needs_what_forward_computed);
    RUN(what_cannot_be_replayed_is_refused);
    RUN(what_cannot_be_selected_is_refused);
    RUN(no_memory_is_survived);
    RUN(no_memory_leaves_no_marks);
    RUN(a_program_gives_its_memory_back);
    RUN(a_program_belongs_to_the_thread_of_its_tape);
    RUN(what_is_freed_in_any_order_is_freed_once);
    RUN(a_program_may_be_freed_by_another_thread);
    RUN(a_tape_is_adopted_between_calls_only);
    return verdict();
}
