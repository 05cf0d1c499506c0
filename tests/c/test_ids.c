/* test_ids.c: which ids there are, and that all others are refused. */
#include "refusals.h"

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
    return verdict();
}
