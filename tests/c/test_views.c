/* test_views.c: plans of statements that read their operands in ways that no model of the other tests does: turned
 * round, in strides, in parts, the same lanes twice. Each has the bits of recording, in its plan, time after time.
 */
#include "models.h"

enum { POSITIONS = 5, VOCAB = 5, E = 4, LEAVES = 2 * VOCAB * E + 64, ROUNDS = 3 };

typedef struct {
    mg_tape *tape;
    mg_id leaves, weights, input[POSITIONS], probabilities[POSITIONS], logarithm[POSITIONS], loss;
    mg_id key[POSITIONS], value[POSITIONS]; /* what later positions read */
    size_t t;
} text;

/* E lanes that become E others. */
typedef mg_id (*layer)(text *r, mg_id x);

static mg_id record_tanh(mg_tape *tape, mg_id x, size_t n) { return record_map(tape, MG_TANH, x, n, 0); }

/* Two by two lanes, times the same the other way round: both factors reach all lanes, in another order. */
static mg_id turned_round(text *r, mg_id x) {
    const mg_view rows = {.first = x, .group = 2, .lane = 1}, columns = {.first = x, .group = 1, .lane = 2};
    return mg_map(r->tape, MG_MUL, 2, 2, &rows, &columns, 0);
}

/* The lanes in the middle, by a sum of products: nothing reaches the others. */
static mg_id the_middle(text *r, mg_id x) { return record_linear(r->tape, x + 1, r->weights, E, 2); }

/* The lanes in the middle, by a map. */
static mg_id the_middle_of_a_map(text *r, mg_id x) {
    return record_linear(r->tape, record_tanh(r->tape, x + 1, 2), r->weights, E, 2);
}

/* The middle first, and all of it then, as the sweep sees it; and the other way round. */
static mg_id the_middle_and_all(text *r, mg_id x) {
    const mg_id middle = record_linear(r->tape, x + 1, r->weights, 1, 2);
    const mg_view all = lanes_from(record_tanh(r->tape, x, E)), by = one_lane(middle);
    return mg_map(r->tape, MG_MUL, 1, E, &all, &by, 0);
}

static mg_id all_and_the_middle(text *r, mg_id x) {
    const mg_view by = one_lane(record_linear(r->tape, x + 1, r->weights, 1, 2));
    const mg_view all = lanes_from(record_tanh(r->tape, x, E));
    return mg_map(r->tape, MG_MUL, 1, E, &by, &all, 0);
}

/* Two sums of products over the same lanes, of which one takes every second. */
static mg_id in_strides(text *r, mg_id x) {
    const mg_view next = {.first = x, .term = 1}, second = {.first = x, .term = 2};
    const mg_view w = {.first = r->weights, .lane = 2, .term = 1}, v = {.first = r->weights + 8, .term = 1};
    const mg_view a = lanes_from(mg_sum(r->tape, 1, E, 2, &next, &w));
    const mg_view b = one_lane(mg_sum(r->tape, 1, 1, 2, &second, &v));
    return mg_map(r->tape, MG_MUL, 1, E, &b, &a, 0);
}

/* The same with what they begin at. */
static mg_id from_two_places(text *r, mg_id x) {
    const mg_id a = record_linear(r->tape, x, r->weights, E, 2), b = record_linear(r->tape, x + 2, r->weights + 8, E, 2);
    return record_add(r->tape, record_tanh(r->tape, a, E), b, E);
}

/* Every lane twice, by two lanes of a map. */
static mg_id each_twice(text *r, mg_id x) {
    const mg_view pairs = {.first = x, .group = 1};
    const mg_id doubled = mg_map(r->tape, MG_TANH, E, 2, &pairs, NULL, 0);
    return record_linear(r->tape, doubled, r->weights, E, 2 * E);
}

/* Lanes that all have one of two numbers, read as if they had nothing in common, and in other groups. */
static mg_id repeated(text *r, mg_id x) {
    const mg_view two = {.first = x, .group = 1}, factors = lanes_from(r->weights);
    const mg_view flat = lanes_from(mg_map(r->tape, MG_TANH, 2, 2, &two, NULL, 0));
    return mg_map(r->tape, MG_MUL, 1, E, &flat, &factors, 0);
}

static mg_id repeated_in_other_groups(text *r, mg_id x) {
    const mg_view two = {.first = x, .group = 1}, rows = {.first = r->weights, .group = 2, .lane = 1};
    const mg_view columns = {.first = mg_map(r->tape, MG_TANH, 2, 2, &two, NULL, 0), .group = 1, .lane = 2};
    return mg_map(r->tape, MG_MUL, 2, 2, &columns, &rows, 0);
}

/* One lane times all. */
static mg_id one_and_all(text *r, mg_id x) {
    const mg_view all = lanes_from(x), one = one_lane(x + 2);
    return mg_map(r->tape, MG_MUL, 1, E, &all, &one, 0);
}

/* Attention to every second lane of what positions had. */
static mg_id mixed_in_strides(text *r, mg_id x) {
    const mg_id q = record_linear(r->tape, x, r->weights, E, E);
    r->key[r->t] = record_linear(r->tape, x, r->weights + 16, E, E);
    r->value[r->t] = record_linear(r->tape, x, r->weights + 32, 2 * E, E);
    const mg_view query = terms_from(q), past = {.term = 1, .list = r->key, .entries = r->t + 1, .block = 1};
    const mg_id weights = record_softmax(r->tape, mg_sum(r->tape, 1, r->t + 1, E, &query, &past), r->t + 1);
    const mg_view shares = terms_from(weights);
    const mg_view mixed = {.lane = 2, .list = r->value, .entries = r->t + 1, .block = 1, .by_term = true};
    return mg_sum(r->tape, 1, E, r->t + 1, &shares, &mixed);
}

/* One position that is not as the others: it reads other leaves, other lanes, in other strides, has another constant. */
static mg_id other_leaves(text *r, mg_id x) {
    return record_linear(r->tape, x, r->weights + (r->t == 2 ? 16 : 0), E, E);
}

static mg_id other_lanes(text *r, mg_id x) {
    return record_linear(r->tape, x + (r->t == 2), r->weights, E, 2);
}

static mg_id other_strides(text *r, mg_id x) {
    const mg_view terms = {.first = x, .term = r->t == 2 ? 2 : 1}, w = {.first = r->weights, .lane = 2, .term = 1};
    return mg_sum(r->tape, 1, E, 2, &terms, &w);
}

static mg_id other_numbers(text *r, mg_id x) { return record_map(r->tape, MG_MUL, x, E, r->t == 2 ? 0.5 : 0.25); }

static mg_id other_terms(text *r, mg_id x) {
    return record_linear(r->tape, x, r->weights, E, r->t == 2 ? 2 : 3);
}

static mg_id another_function(text *r, mg_id x) { return record_map(r->tape, r->t == 2 ? MG_SIN : MG_TANH, x, E, 0); }

/* What has no derivative is in no order of additions, which could tell. */
static mg_id other_largest(text *r, mg_id x) {
    const mg_view terms = {.first = x + (r->t == 2), .term = 1}, all = lanes_from(x);
    const mg_view largest = one_lane(mg_largest(r->tape, 1, 2, &terms));
    return mg_map(r->tape, MG_MUL, 1, E, &all, &largest, 0);
}

static text record_text(layer f, const double *numbers, const int32_t *tokens) {
    text r = {.tape = mg_tape_new()};
    mg_id losses[POSITIONS];
    r.leaves = record_leaves(r.tape, numbers, LEAVES);
    r.weights = r.leaves + 2 * VOCAB * E;
    for (r.t = 0; r.t < POSITIONS; r.t++) {
        r.input[r.t] = record_scale_by(r.tape, r.leaves + (size_t)tokens[r.t] * E, E, 1.5);
        const mg_id y = f(&r, record_tanh(r.tape, r.input[r.t], E));
        r.probabilities[r.t] = record_softmax(r.tape, record_linear(r.tape, y, r.leaves + VOCAB * E, VOCAB, E), VOCAB);
        r.logarithm[r.t] = record_map(r.tape, MG_LOG, r.probabilities[r.t] + (size_t)tokens[r.t + 1], 1, 0);
        losses[r.t] = record_map(r.tape, MG_MUL, r.logarithm[r.t], 1, -1);
    }
    r.loss = record_mean(r.tape, losses, POSITIONS);
    return r;
}

static void bind_text(const text *r, mg_program *program) {
    for (size_t t = 0; t < POSITIONS; t++) {
        CHECK(mg_program_bind(program, t, r->input[t], 0, 0, r->leaves, E, VOCAB) == MG_OK);
        CHECK(mg_program_bind(program, t + 1, r->logarithm[t], 0, 0, r->probabilities[t], 1, VOCAB) == MG_OK);
    }
}

static void check_layer(layer f, const char *name) {
    double numbers[LEAVES], expected[LEAVES], found[LEAVES];
    int32_t tokens[POSITIONS + 1] = {0};
    uint64_t state = 12;
    random_numbers(&state, numbers, LEAVES);
    text r = record_text(f, numbers, tokens);
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    CHECK(program != NULL);
    bind_text(&r, program);
    CHECK(mg_program_plan(program) == MG_OK && broken_program(program) == NULL);
    if (!CHECK(program->plan != NULL)) {
        printf("    %s: %s\n", name, mg_program_why_not_planned(program));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i <= POSITIONS; i++) {
            tokens[i] = (int32_t)random_below(&state, VOCAB);
        }
        text fresh = record_text(f, numbers, tokens);
        CHECK(mg_sweep(fresh.tape, fresh.loss) == MG_OK);
        CHECK(mg_clear_adjoints(r.tape, r.leaves, LEAVES) == MG_OK);
        CHECK(mg_program_set(program, tokens, POSITIONS + 1) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(program->in_plan);
        CHECK(mg_read_adjoints(fresh.tape, fresh.leaves, LEAVES, expected) == MG_OK);
        CHECK(mg_read_adjoints(r.tape, r.leaves, LEAVES, found) == MG_OK);
        if (!CHECK(same_bits(mg_value(r.tape, r.loss), mg_value(fresh.tape, fresh.loss))) ||
            !CHECK(same_numbers(expected, found, LEAVES))) {
            printf("    %s, in round %d\n", name, round);
        }
        mg_tape_free(fresh.tape);
    }
    mg_program_free(program);
    mg_tape_free(r.tape);
}

/* Of such a text there is no plan, and no sampler; but other leaves can be gathered. */
static void a_position_that_differs_is_noticed(void) {
    const layer layers[] = {other_leaves, other_lanes, other_strides, other_numbers,
                            other_terms, another_function, other_largest};
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        double numbers[LEAVES];
        const int32_t tokens[POSITIONS + 1] = {0, 1, 2, 3, 4, 1};
        uint64_t state = 3;
        random_numbers(&state, numbers, LEAVES);
        text r = record_text(layers[n], numbers, tokens);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        bind_text(&r, program);
        mg_sampler *sampler = mg_sampler_new(program);
        CHECK(mg_tape_take_status(r.tape) == (n == 0 ? MG_OK : MG_OPERATION) && (sampler != NULL) == (n == 0));
        CHECK(mg_program_plan(program) == MG_OK);
        if (!CHECK((program->plan != NULL) == (n == 0))) {
            printf("    layer %zu\n", n);
        }
        for (size_t t = 0; sampler != NULL && t < POSITIONS; t++) {
            double expected[VOCAB], found[VOCAB];
            CHECK(mg_sampler_probabilities(sampler, tokens, t + 1, found, VOCAB) == MG_OK);
            CHECK(mg_read_values(r.tape, r.probabilities[t], VOCAB, expected) == MG_OK);
            CHECK(same_numbers(found, expected, VOCAB));
        }
        mg_sampler_free(sampler);
        mg_program_free(program);
        mg_tape_free(r.tape);
    }
}

static void odd_views_are_recordings(void) {
    const struct {
        layer f;
        const char *name;
    } layers[] = {{turned_round, "turned round"},       {the_middle, "the middle"},
                  {the_middle_of_a_map, "of a map"},    {the_middle_and_all, "the middle, and all"},
                  {all_and_the_middle, "all, and the middle"},
                  {in_strides, "in strides"},           {from_two_places, "from two places"},
                  {each_twice, "each twice"},           {one_and_all, "one and all"},
                  {other_leaves, "other leaves"},       {repeated, "repeated"},               {repeated_in_other_groups, "in other groups"},
                  {mixed_in_strides, "mixed in strides"}};
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        check_layer(layers[n].f, layers[n].name);
    }
}

int main(void) {
    RUN(odd_views_are_recordings);
    RUN(a_position_that_differs_is_noticed);
    return verdict();
}
