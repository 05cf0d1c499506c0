/* test_spans.c: statements of many lanes against the scalar operations that they stand for. */
#include "course_programs.h"

#include <math.h>

static void spans_are_their_scalar_operations(void) {
    static const struct {
        program *record;
        const char *name;
        size_t rounds;
    } programs[] = {
        {program_add, "add", 300},
        {program_scale_by, "scale_by", 300},
        {program_relu, "relu", 300},
        {program_relu_squared, "relu squared", 300},
        {program_rmsnorm, "rmsnorm", 300},
        {program_linear, "linear", 600},
        {program_softmax, "softmax", 300},
        {program_partial_softmax, "softmax, some lanes", 300},
        {program_attention, "attention", 600},
        {program_wide_attention, "wide attention", 3},
        {program_surprisal, "surprisal", 300},
        {program_mean, "mean", 300},
        {program_composition, "composition", 2000},
    };
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        unsigned long long before = failures;
        compare(programs[p].record, 1000 * (p + 1), small_run() ? 1 + programs[p].rounds / 30 : programs[p].rounds);
        if (failures != before) {
            printf("    in %s\n", programs[p].name);
        }
    }
}

/* Two programs on the same leaves, each with its own sweep: the leaves' adjoints accumulate alike. */
static void adjoints_of_leaves_accumulate_alike(void) {
    course both[2] = {new_course(false), new_course(true)};
    size_t rounds = small_run() ? 5 : 200;
    for (size_t round = 0; round < rounds; round++) {
        for (int b = 0; b < 2; b++) {
            course *c = &both[b];
            uint64_t state = 77 + round;
            c->count = 0;
            CHECK(mg_tape_rewind(c->tape, 0) == MG_OK);
            vector x = random_leaves(c, &state, 6), w = random_leaves(c, &state, 24);
            for (int pass = 0; pass < 3; pass++) {
                vector h = rmsnorm(c, linear(c, x, w, 4)), y = softmax(c, linear(c, h, slice(w, 2, 20), 5));
                CHECK(mg_sweep(c->tape, lane(c, surprisal(c, slice(y, random_below(&state, 5), 1)), 0)) == MG_OK);
            }
        }
        same_course(&both[0], &both[1]);
    }
    end_course(&both[0]);
    end_course(&both[1]);
}

/* A sweep again from the same result: lanes accumulate, and the scalar operations inside a span statement, which keep
   no adjoint, begin each sweep at 0. */
static void a_second_sweep_of_a_span_starts_its_inside_at_zero(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {3, 5, 7, 11};
    mg_id x = record_leaves(tape, numbers, 2), w = record_leaves(tape, numbers + 2, 2);
    mg_id y = record_linear(tape, x, w, 1, 2), z = record_scale_by(tape, y, 1, 2);
    CHECK(mg_sweep(tape, z) == MG_OK);
    CHECK(mg_adjoint(tape, y) == 2 && mg_adjoint(tape, w) == 6 && mg_adjoint(tape, x + 1) == 22);
    CHECK(mg_sweep(tape, z) == MG_OK);
    CHECK(mg_adjoint(tape, y) == 4 && mg_adjoint(tape, w) == 6 + 12 && mg_adjoint(tape, x + 1) == 22 + 44);
    mg_tape_free(tape);
}

/* ---- a model ---------------------------------------------------------------------------------------------------- */

enum { EMBED = 8, HEADS = 2, LAYERS = 2, TOKENS = 7, BLOCK = 6, PER_LAYER = 12 * EMBED * EMBED };

/* The course's gpt and loss, on spans or scalars. */
static vector model_loss(course *c, vector w, const size_t *tokens, size_t n) {
    vector keys[LAYERS][BLOCK], values[LAYERS][BLOCK], losses[BLOCK];
    size_t head = (TOKENS + BLOCK) * EMBED, square = EMBED * EMBED;
    for (size_t t = 0; t < n; t++) {
        vector x = rmsnorm(c, add(c, slice(w, tokens[t] * EMBED, EMBED), slice(w, (TOKENS + t) * EMBED, EMBED)));
        for (size_t l = 0; l < LAYERS; l++) {
            size_t at = head + l * PER_LAYER;
            vector residual = x;
            x = rmsnorm(c, x);
            vector q = linear(c, x, slice(w, at, square), EMBED);
            keys[l][t] = linear(c, x, slice(w, at + square, square), EMBED);
            values[l][t] = linear(c, x, slice(w, at + 2 * square, square), EMBED);
            x = attention(c, q, keys[l], values[l], t + 1, HEADS);
            x = add(c, linear(c, x, slice(w, at + 3 * square, square), EMBED), residual);
            residual = x;
            x = linear(c, rmsnorm(c, x), slice(w, at + 4 * square, 4 * square), 4 * EMBED);
            x = linear(c, relu(c, x, l == 1), slice(w, at + 8 * square, 4 * square), EMBED);
            x = add(c, x, residual);
        }
        vector p = softmax(c, linear(c, x, slice(w, head + LAYERS * PER_LAYER, TOKENS * EMBED), TOKENS));
        losses[t] = surprisal(c, slice(p, tokens[t + 1], 1));
    }
    return mean(c, losses, n);
}

static void a_model_trains_alike(void) {
    enum { WEIGHTS = (2 * TOKENS + BLOCK) * EMBED + LAYERS * PER_LAYER };
    course both[2] = {new_course(false), new_course(true)};
    vector w[2];
    mg_mark marks[2];
    double *numbers = allocate(WEIGHTS, sizeof *numbers), *m[2], *v[2];
    size_t *ones = allocate(WEIGHTS, sizeof *ones), steps = small_run() ? 1 : 5;
    uint64_t state = 8;
    for (size_t i = 0; i < WEIGHTS; i++) {
        numbers[i] = random_between(&state, -0.3, 0.3);
        ones[i] = 1;
    }
    for (int b = 0; b < 2; b++) {
        w[b] = leaves(&both[b], numbers, WEIGHTS);
        m[b] = allocate(WEIGHTS, sizeof *m[b]);
        v[b] = allocate(WEIGHTS, sizeof *v[b]);
        marks[b] = mg_tape_mark(both[b].tape);
    }
    double losses[2] = {0, 0}, first = 0;
    for (size_t step = 0; step < steps; step++) {
        size_t tokens[BLOCK + 1];
        for (size_t t = 0; t <= BLOCK; t++) {
            tokens[t] = (t * t + step) % TOKENS;
        }
        for (int b = 0; b < 2; b++) {
            course *c = &both[b];
            vector loss = model_loss(c, w[b], tokens, BLOCK);
            losses[b] = mg_value(c->tape, lane(c, loss, 0));
            CHECK(no_status(c) && mg_sweep(c->tape, lane(c, loss, 0)) == MG_OK);
        }
        first = step == 0 ? losses[0] : first;
        CHECK(same_bits(losses[0], losses[1]));
        same_course(&both[0], &both[1]);
        static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.85, .beta2 = 0.99, .epsilon = 1e-8};
        const size_t all = WEIGHTS;
        CHECK(mg_optimizer_step(both[0].tape, both[0].lanes + w[0].first, ones, WEIGHTS, m[0], v[0], WEIGHTS, &ADAM,
                                (uint64_t)step + 1, 0.01) == MG_OK);
        CHECK(mg_optimizer_step(both[1].tape, both[1].lanes + w[1].first, &all, 1, m[1], v[1], WEIGHTS, &ADAM,
                                (uint64_t)step + 1, 0.01) == MG_OK);
        CHECK(memcmp(m[0], m[1], WEIGHTS * sizeof *m[0]) == 0 && memcmp(v[0], v[1], WEIGHTS * sizeof *v[0]) == 0);
        same_course(&both[0], &both[1]);
        for (int b = 0; b < 2; b++) {
            both[b].count = WEIGHTS;
            CHECK(mg_tape_rewind(both[b].tape, marks[b]) == MG_OK);
        }
        same_course(&both[0], &both[1]);
    }
    CHECK(small_run() || losses[0] < first);
    for (int b = 0; b < 2; b++) {
        free(m[b]);
        free(v[b]);
        end_course(&both[b]);
    }
    free(numbers);
    free(ones);
}

/* Infinities and NaN go where the scalar operations send them. */
static vector program_not_finite(course *c, uint64_t *state) {
    static const double odd[] = {INFINITY, -INFINITY, NAN, 1e308, -1e308, 1e-320, 0, -0.0, 1, 700, -700};
    double values[6];
    for (size_t i = 0; i < 6; i++) {
        values[i] = odd[random_below(state, sizeof odd / sizeof *odd)];
    }
    vector x = leaves(c, values, 6), one = slice(x, 1, 4);
    vector y = scale_by(c, x, odd[random_below(state, sizeof odd / sizeof *odd)]);
    switch (random_below(state, 7)) {
    case 0: y = softmax(c, x); break;
    case 1: y = rmsnorm(c, x); break;
    case 2: y = linear(c, slice(x, 0, 3), x, 2); break;
    case 3: y = attention(c, one, &one, &one, 1, 2); break;
    case 4: y = relu(c, x, false); break;
    case 5: y = add(c, x, y); break;
    default: break;
    }
    return linear(c, y, random_leaves(c, state, y.n), 1);
}

static void infinities_and_nan_go_the_same_way(void) { compare(program_not_finite, 5, small_run() ? 50 : 2000); }

int main(void) {
    RUN(spans_are_their_scalar_operations);
    RUN(adjoints_of_leaves_accumulate_alike);
    RUN(a_second_sweep_of_a_span_starts_its_inside_at_zero);
    RUN(a_model_trains_alike);
    RUN(infinities_and_nan_go_the_same_way);
    return verdict();
}
