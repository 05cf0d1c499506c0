/* test_tape.c: ids, marks, collection, threads, and what a tape refuses. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "compositions.h"
#include "microgpt.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* ---- refusing ids, everywhere ----------------------------------------------------------------------------------- */

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

static void check_refused(mg_tape *tape, mg_id bad, mg_id good, mg_status expected) {
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
static void check_all_refused(mg_tape *tape, mg_id good, mg_status expected) {
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
static mg_id good_run(mg_tape *tape) {
    const double numbers[RUN_LENGTH] = {1.5, 0.5, 2, 3};
    return record_leaves(tape, numbers, RUN_LENGTH);
}

static void record_many_leaves(mg_tape *tape, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mg_leaf(tape, (double)i);
    }
}

static void garbage_ids_are_refused(void) {
    mg_tape *tape = mg_tape_new();
    mg_id good = good_run(tape);
    uint64_t state = 7;
    mg_id garbage[] = {0, 1, MG_PAGE - 1, MG_NONE, MG_NONE - 1, MG_NONE - MG_PAGE, good - 1, good + RUN_LENGTH,
                       good + MG_PAGE, (mg_id)1 << 63, good | (mg_id)1 << 63, good | (mg_id)1 << 40};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        if (garbage[i] != good) {
            check_refused(tape, garbage[i], good, MG_STALE);
        }
    }
    for (int round = 0; round < 1000; round++) {
        check_refused(tape, random_bits(&state) >> (round % 2 ? 0 : 40), good, MG_STALE);
    }
    mg_tape_free(tape);
}

static void ids_on_an_empty_tape_are_refused(void) {
    mg_tape *tape = mg_tape_new();
    double number;
    const mg_id ids[] = {0, 1, 512, 12345, MG_NONE};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        CHECK(mg_add(tape, ids[i], ids[i]) == MG_NONE);
        CHECK(mg_tape_take_status(tape) == MG_STALE);
        CHECK(mg_sweep(tape, ids[i]) == MG_STALE);
        CHECK(mg_read_values(tape, ids[i], 1, &number) == MG_STALE);
    }
    CHECK(mg_tape_rewind(tape, 0) == MG_OK);
    CHECK(mg_tape_rewind(tape, MG_NONE) == MG_OK);
    CHECK(mg_tape_collect(tape, NULL, NULL, 0) == MG_OK);
    CHECK(mg_tape_memory(tape).slots == 0 && mg_tape_memory(tape).capacity == 0);
    mg_tape_free(tape);
    mg_tape_free(NULL);
}

/* The slots between the statements' lanes: headers and operands. Their ids look like ids of lanes. */
static void ids_between_the_lanes_are_refused(void) {
    mg_tape *tape = mg_tape_new();
    mg_id good = good_run(tape), keys[3] = {good, good, good}, lanes[32];
    size_t count = 0;
    const double partials[3] = {1, 2, 3};
    const mg_view listed = {.list = keys, .entries = 3, .block = 1, .by_term = true};
    const struct {
        mg_id first;
        size_t n;
    } recorded[] = {
        {record_add(tape, good, good, 4), 4},
        {record_linear(tape, good, good, 2, 2), 2},
        {mg_custom(tape, 1, keys, partials, 3), 1},
        {mg_sum(tape, 1, 1, 3, &listed, NULL), 1},
        {mg_largest(tape, 1, 3, &listed), 1},
        {record_relu(tape, good, 4, false), 4},
    };
    for (size_t s = 0; s < sizeof recorded / sizeof *recorded; s++) {
        CHECK(recorded[s].first != MG_NONE);
        for (size_t i = 0; i < recorded[s].n; i++) {
            lanes[count++] = recorded[s].first + i;
        }
    }
    mg_id end = mg_tape_mark(tape);
    size_t refused = 0, l = 0;
    for (mg_id id = good + RUN_LENGTH; id < end + 3; id++) {
        if (l < count && id == lanes[l]) {
            CHECK(!isnan(mg_value(tape, id)));
            l++;
        } else {
            check_refused(tape, id, good, MG_STALE);
            refused++;
        }
    }
    CHECK(l == count);
    CHECK(refused >= 2 * 7);
    mg_tape_free(tape);
}

static void runs_that_are_not_one_are_refused(void) {
    mg_tape *tape = mg_tape_new();
    mg_id good = good_run(tape);
    const mg_view alone = {.first = good, .lane = 1};
    mg_id sum = mg_sum(tape, 1, 4, 1, &alone, NULL);
    double numbers[RUN_LENGTH + 8];
    size_t sizes[1] = {RUN_LENGTH + 1};
    double m[8] = {0}, v[8] = {0};
    mg_status expected = MG_SHAPE;
    mg_id two[2] = {good, good + 1};
    MAKER_REFUSES(record_add(tape, good, sum, 5));
    MAKER_REFUSES(record_add(tape, good + 1, sum, 4)); /* runs into the header of the sum */
    MAKER_REFUSES(record_scale_by(tape, sum, 5, 1));   /* runs past the end of the tape */
    MAKER_REFUSES(record_relu(tape, sum + 3, 2, true));
    MAKER_REFUSES(record_rmsnorm(tape, good, 5));
    MAKER_REFUSES(record_add(tape, good, good, 0));
    MAKER_REFUSES(record_scale_by(tape, good, 0, 2));
    MAKER_REFUSES(record_relu(tape, good, 0, false));
    MAKER_REFUSES(record_rmsnorm(tape, good, 0));
    MAKER_REFUSES(record_softmax(tape, good, 0));
    MAKER_REFUSES(record_softmax(tape, good, (size_t)1 << 40));
    MAKER_REFUSES(record_softmax(tape, good, SIZE_MAX));
    MAKER_REFUSES(record_linear(tape, good, sum, 3, 2));
    MAKER_REFUSES(record_linear(tape, good, sum, 0, 2));
    MAKER_REFUSES(record_linear(tape, good, sum, 2, 0));
    MAKER_REFUSES(record_linear(tape, good, sum, SIZE_MAX, 2));
    MAKER_REFUSES(record_linear(tape, good, sum, 2, SIZE_MAX));
    MAKER_REFUSES(record_linear(tape, good, sum, (size_t)1 << 32, (size_t)1 << 32)); /* the product wraps to 0 */
    MAKER_REFUSES(record_attention(tape, good, two, two, 2, 2, 2));                  /* two[1] has no 4 lanes */
    MAKER_REFUSES(record_attention(tape, good, two, two, 0, 2, 2));
    MAKER_REFUSES(record_attention(tape, good, two, two, 2, 0, 2));
    MAKER_REFUSES(record_attention(tape, good, two, two, 2, 2, 0));
    MAKER_REFUSES(record_attention(tape, good, two, two, 2, SIZE_MAX, 2));
    MAKER_REFUSES(record_attention(tape, good, two, two, 2, 2, SIZE_MAX));
    MAKER_REFUSES(record_attention(tape, good, two, two, SIZE_MAX, 2, 2));
    MAKER_REFUSES(record_attention(tape, good, two, two, 1, (size_t)1 << 32, (size_t)1 << 32));
    MAKER_REFUSES(record_mean(tape, two, 0));
    MAKER_REFUSES(record_mean(tape, two, SIZE_MAX));
    MAKER_REFUSES(record_leaves(tape, numbers, 0));
    const size_t large = (size_t)1 << 32, lengths[] = {0, RUN_LENGTH + 1, 1000, large / 2, large, large + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        WORKER_REFUSES(mg_read_values(tape, good, lengths[i], numbers));
        WORKER_REFUSES(mg_read_adjoints(tape, good, lengths[i], numbers));
        WORKER_REFUSES(mg_write_values(tape, good, lengths[i], numbers));
        WORKER_REFUSES(mg_write_adjoints(tape, good, lengths[i], numbers));
        WORKER_REFUSES(mg_clear_adjoints(tape, good, lengths[i]));
        sizes[0] = lengths[i];
        WORKER_REFUSES(mg_optimizer_step(tape, &good, sizes, 1, m, v, lengths[i], &ADAM, 1, 0.1));
    }
    CHECK(mg_read_values(tape, good, 4, numbers) == MG_OK);
    mg_tape_free(tape);
}

/* ---- ids -------------------------------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b) {
    mg_id left = *(const mg_id *)a, right = *(const mg_id *)b;
    return (left > right) - (left < right);
}

static void ids_are_never_used_twice(void) {
    enum { ROUNDS = 60, EACH = 700 };
    mg_tape *tapes[2] = {mg_tape_new(), mg_tape_new()};
    mg_id *ids = allocate(2 * (size_t)ROUNDS * EACH, sizeof *ids);
    size_t count = 0, size = 1;
    uint64_t state = 5;
    for (int round = 0; round < ROUNDS; round++) {
        mg_mark marks[2] = {mg_tape_mark(tapes[0]), mg_tape_mark(tapes[1])};
        for (int i = 0; i < EACH; i++) { /* two tapes take pages in turns */
            for (int t = 0; t < 2; t++) {
                ids[count++] = mg_leaf(tapes[t], i);
            }
        }
        for (int t = 0; t < 2; t++) {
            switch (random_below(&state, 4)) {
            case 0: CHECK(mg_tape_rewind(tapes[t], marks[t]) == MG_OK); break;
            case 1: CHECK(mg_tape_collect(tapes[t], &ids[random_below(&state, count)], &size, 1) == MG_OK); break;
            case 2: CHECK(mg_tape_rewind(tapes[t], 0) == MG_OK); break;
            default: break;
            }
        }
        if (round % 20 == 19) { /* a new tape does not begin anew either */
            mg_tape_free(tapes[0]);
            tapes[0] = mg_tape_new();
        }
    }
    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 1; i < count; i++) {
        CHECK(ids[i - 1] < ids[i]);
    }
    CHECK(ids[count - 1] != MG_NONE);
    free(ids);
    mg_tape_free(tapes[0]);
    mg_tape_free(tapes[1]);
}

static void lanes_are_found_across_pages(void) {
    enum { COUNT = 5 * MG_PAGE + 17 };
    mg_tape *tape = mg_tape_new();
    mg_id *ids = allocate(COUNT, sizeof *ids);
    for (int i = 0; i < COUNT; i++) {
        ids[i] = mg_leaf(tape, i * 0.5);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        CHECK(mg_value(tape, ids[i]) == i * 0.5);
    }
    mg_id last = mg_add(tape, ids[0], ids[COUNT - 1]);
    CHECK(mg_sweep(tape, last) == MG_OK);
    CHECK(mg_adjoint(tape, ids[0]) == 1 && mg_adjoint(tape, ids[COUNT - 1]) == 1 && mg_adjoint(tape, ids[1]) == 0);
    free(ids);
    mg_tape_free(tape);
}

static void runs_may_be_longer_than_a_page(void) {
    mg_tape *tape = mg_tape_new();
    const size_t lengths[] = {1,           2,           MG_PAGE - 3,     MG_PAGE - 1,     MG_PAGE,  MG_PAGE + 1,
                              2 * MG_PAGE, 3 * MG_PAGE - 1, 5 * MG_PAGE + 7, 1, MG_PAGE};
    double *in = allocate(6 * MG_PAGE, sizeof *in), *out = allocate(6 * MG_PAGE, sizeof *out);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        size_t n = lengths[l];
        for (size_t i = 0; i < n; i++) {
            in[i] = (double)(i + 1) * 0.25;
        }
        mg_id x = record_leaves(tape, in, n);
        CHECK(x != MG_NONE);
        CHECK(mg_read_values(tape, x, n, out) == MG_OK && same_numbers(in, out, n));
        CHECK(mg_read_values(tape, x, n + 1, out) == MG_SHAPE);
        for (size_t from = 0; from < n; from += 1 + n / 7) { /* runs inside the run, from any lane to the end */
            CHECK(mg_read_values(tape, x + from, n - from, out) == MG_OK);
            CHECK(same_numbers(in + from, out, n - from));
            CHECK(mg_read_values(tape, x + from, n - from + 1, out) == MG_SHAPE);
        }
        mg_id doubled = record_add(tape, x, x, n);
        CHECK(doubled != MG_NONE);
        CHECK(mg_write_adjoints(tape, doubled, n, in) == MG_OK);
        CHECK(mg_read_adjoints(tape, doubled, n, out) == MG_OK && same_numbers(in, out, n));
        CHECK(mg_clear_adjoints(tape, doubled, n) == MG_OK);
        for (size_t i = 0; i < n; i += 1 + n / 5) {
            CHECK(mg_value(tape, doubled + i) == 2 * in[i]);
            CHECK(mg_adjoint(tape, doubled + i) == 0);
        }
        mg_id last = mg_mul(tape, doubled, doubled + (n - 1));
        CHECK(mg_sweep(tape, last) == MG_OK);
        CHECK(mg_adjoint(tape, x + (n - 1)) == (n == 1 ? 8 * in[0] : 4 * in[0]));
    }
    free(in);
    free(out);
    mg_tape_free(tape);
}

/* Neighbours in storage need not be neighbours in ids: another tape may have opened a page in between. */
static void runs_do_not_leave_their_ids(void) {
    mg_tape *tape = mg_tape_new(), *other = mg_tape_new();
    mg_id lanes[MG_PAGE + 1];
    double numbers[4];
    for (size_t i = 0; i <= MG_PAGE; i++) {
        lanes[i] = mg_leaf(tape, (double)i);
        mg_leaf(other, 0);
    }
    size_t last = 0; /* of its page */
    while (last < MG_PAGE && lanes[last + 1] == lanes[last] + 1) {
        last++;
    }
    CHECK(last == MG_PAGE - 1 && lanes[MG_PAGE] > lanes[last] + 1);
    CHECK(mg_read_values(tape, lanes[last - 1], 2, numbers) == MG_OK);
    CHECK(mg_read_values(tape, lanes[last], 2, numbers) == MG_SHAPE);
    CHECK(record_add(tape, lanes[last - 2], lanes[last - 2], 4) == MG_NONE);
    CHECK(mg_tape_take_status(tape) == MG_SHAPE);
    mg_tape_free(other);
    mg_tape_free(tape);
}

static void ids_of_another_tape_are_refused(void) {
    mg_tape *tape = mg_tape_new(), *other = mg_tape_new();
    mg_id good = good_run(tape), foreign = good_run(other);
    check_refused(tape, foreign, good, MG_STALE);
    check_refused(other, good, foreign, MG_STALE);
    mg_tape_free(other);
    check_refused(tape, foreign, good, MG_STALE);
    other = mg_tape_new(); /* perhaps in the same memory */
    mg_id again = good_run(other);
    CHECK(again != foreign);
    check_refused(other, foreign, again, MG_STALE);
    mg_tape_free(other);
    mg_tape_free(tape);
}

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

/* ---- collection ------------------------------------------------------------------------------------------------- */

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

/* ---- threads ---------------------------------------------------------------------------------------------------- */

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

/* ---- writing what a span statement needs ------------------------------------------------------------------------ */

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
    RUN(garbage_ids_are_refused);
    RUN(ids_on_an_empty_tape_are_refused);
    RUN(ids_between_the_lanes_are_refused);
    RUN(runs_that_are_not_one_are_refused);
    RUN(ids_are_never_used_twice);
    RUN(lanes_are_found_across_pages);
    RUN(runs_may_be_longer_than_a_page);
    RUN(runs_do_not_leave_their_ids);
    RUN(ids_of_another_tape_are_refused);
    RUN(marks_nest);
    RUN(a_mark_on_an_empty_tape_is_its_beginning);
    RUN(an_old_mark_forgets_many_pages);
    RUN(random_marks_are_obeyed);
    RUN(collect_keeps_exactly_what_is_needed);
    RUN(collect_keeps_span_statements_whole);
    RUN(collect_takes_runs_of_leaves_as_roots);
    RUN(collect_keeps_the_page_being_filled);
    RUN(collected_storage_is_used_again);
    RUN(a_large_tape_shrinks_when_collected);
    RUN(a_failure_stays_until_it_is_taken);
    RUN(memory_tells_the_truth);
    RUN(a_closed_tape_refuses_everything);
    RUN(a_tape_belongs_to_one_thread);
    RUN(tapes_of_two_threads_do_not_meet);
    RUN(a_tape_that_follows_is_every_threads);
    RUN(collections_since_a_mark);
    RUN(without_gradients_results_are_leaves);
    RUN(a_tape_is_not_adopted_during_a_sweep);
    RUN(who_waits_for_many_calls_is_not_refused);
    RUN(no_thread_comes_into_the_middle_of_a_call);
    RUN(span_statements_notice_overwritten_operands);
    RUN(other_statements_keep_their_partials);
    RUN(writes_before_recording_do_no_harm);
    RUN(overwritten_computed_operands_are_noticed);
    return verdict();
}
