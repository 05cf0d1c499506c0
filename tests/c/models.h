/* models.h: transformers recorded with the C interface, and their programs, for the tests of plans. */
#ifndef MODELS_H
#define MODELS_H

#include "check.h"
#include "compositions.h"
#include "invariants.h"
#include "microgpt.h"

enum { MOST_LANES = 60000, MOST_TOKENS = 40, MOST_RUNS = 64 };

typedef struct {
    size_t embd, heads, layers, positions, vocab;
    bool squared, swapped; /* swapped: the residual is the first operand of its sum */
    bool tied, scaled;     /* lm_head is wte; something between the logits and the softmax */
} model_shape;

/* A recorded model: its parameters, all lanes in order of recording, and the statements with selectable operands. */
typedef struct {
    mg_tape *tape;
    model_shape shape;
    mg_id parameters[MOST_RUNS];
    size_t sizes[MOST_RUNS], runs, rows[MOST_RUNS];
    mg_id *lanes;
    size_t count;
    mg_id embeddings[MOST_TOKENS], surprisals[MOST_TOKENS], probabilities[MOST_TOKENS], loss;
} recording;

static inline mg_id keep(recording *r, mg_id first, size_t n) {
    CHECK(first != MG_NONE);
    for (size_t i = 0; i < n && r->count < MOST_LANES; i++) {
        r->lanes[r->count++] = first + i;
    }
    return first;
}

static inline size_t parameters_of(const recording *r) {
    size_t n = 0;
    for (size_t p = 0; p < r->runs; p++) {
        n += r->sizes[p];
    }
    return n;
}

static inline void add_parameter(recording *r, size_t rows, size_t columns, const double **numbers) {
    r->parameters[r->runs] = record_leaves(r->tape, *numbers, rows * columns);
    r->rows[r->runs] = rows;
    r->sizes[r->runs++] = rows * columns;
    *numbers += rows * columns;
}

/* wte, wpe, lm_head, and wq, wk, wv, wo, fc1, fc2 of every layer. */
static inline recording begin(model_shape shape, const double *numbers) {
    recording r = {.tape = mg_tape_new(), .shape = shape, .lanes = allocate(MOST_LANES, sizeof(mg_id))};
    const size_t e = shape.embd;
    mg_leaf(r.tape, 0); /* no parameter is the tape's first slot */
    add_parameter(&r, shape.vocab, e, &numbers);
    add_parameter(&r, MOST_TOKENS, e, &numbers);
    add_parameter(&r, shape.vocab, e, &numbers);
    for (size_t layer = 0; layer < shape.layers; layer++) {
        for (int w = 0; w < 4; w++) {
            add_parameter(&r, e, e, &numbers);
        }
        add_parameter(&r, 4 * e, e, &numbers);
        add_parameter(&r, e, 4 * e, &numbers);
    }
    return r;
}

static inline void end(recording *r) {
    mg_tape_free(r->tape);
    free(r->lanes);
}

static inline mg_id linear(recording *r, mg_id x, size_t parameter) {
    size_t rows = r->rows[parameter];
    return keep(r, record_linear(r->tape, x, r->parameters[parameter], rows, r->sizes[parameter] / rows), rows);
}

static inline mg_id residual(recording *r, mg_id x, mg_id before) {
    size_t e = r->shape.embd;
    return keep(r, r->shape.swapped ? record_add(r->tape, before, x, e) : record_add(r->tape, x, before, e), e);
}

static inline void record_model(recording *r, const int32_t *tokens) {
    const model_shape shape = r->shape;
    const size_t e = shape.embd;
    mg_tape *tape = r->tape;
    mg_id keys[4][MOST_TOKENS], values[4][MOST_TOKENS];
    r->count = 0;
    for (size_t t = 0; t < shape.positions; t++) {
        r->embeddings[t] = record_add(tape, r->parameters[0] + (size_t)tokens[t] * e, r->parameters[1] + t * e, e);
        mg_id x = keep(r, record_rmsnorm(tape, keep(r, r->embeddings[t], e), e), e);
        for (size_t layer = 0; layer < shape.layers; layer++) {
            const size_t w = 3 + 6 * layer;
            mg_id before = x;
            x = keep(r, record_rmsnorm(tape, x, e), e);
            mg_id q = linear(r, x, w);
            keys[layer][t] = linear(r, x, w + 1);
            values[layer][t] = linear(r, x, w + 2);
            x = keep(r, record_attention(tape, q, keys[layer], values[layer], t + 1, shape.heads, e / shape.heads), e);
            x = residual(r, linear(r, x, w + 3), before);
            before = x;
            x = keep(r, record_rmsnorm(tape, x, e), e);
            x = keep(r, record_relu(tape, linear(r, x, w + 4), 4 * e, shape.squared), 4 * e);
            x = residual(r, linear(r, x, w + 5), before);
        }
        x = linear(r, x, shape.tied ? 0 : 2);
        if (shape.scaled) {
            x = keep(r, record_scale_by(tape, x, shape.vocab, 0.75), shape.vocab);
        }
        r->probabilities[t] = keep(r, record_softmax(tape, x, shape.vocab), shape.vocab);
        r->surprisals[t] = keep(r, record_surprisal(tape, r->probabilities[t] + (size_t)tokens[t + 1]), 1);
    }
    r->loss = keep(r, record_mean(tape, r->surprisals, shape.positions), 1);
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static inline void random_numbers(uint64_t *state, double *numbers, size_t n) {
    for (size_t i = 0; i < n; i++) {
        numbers[i] = random_between(state, -0.3, 0.3);
    }
}

static inline void random_tokens(uint64_t *state, int32_t *tokens, const model_shape *shape) {
    for (size_t t = 0; t <= shape->positions; t++) {
        tokens[t] = (int32_t)random_below(state, shape->vocab);
    }
}

static inline mg_id logarithm_of(const recording *r, mg_id surprisal) {
    mg_id operands[2] = {MG_NONE, MG_NONE};
    double partials[2];
    CHECK(mg_lane_operand_count(r->tape, surprisal) == 2);
    CHECK(mg_lane_operands(r->tape, surprisal, operands, partials) == MG_OK);
    return operands[0];
}

static inline bool is_planned(const mg_program *program) { return mg_program_why_not_planned(program) == NULL; }

static inline mg_status bind_tokens(const recording *r, mg_program *program) {
    const size_t e = r->shape.embd, vocab = r->shape.vocab;
    mg_status status = MG_OK;
    for (size_t t = 0; status == MG_OK && t < r->shape.positions; t++) {
        status = mg_program_bind(program, t, r->embeddings[t], 0, 0, r->parameters[0], e, vocab);
        if (status == MG_OK) {
            const mg_id logarithm = logarithm_of(r, r->surprisals[t]);
            status = mg_program_bind(program, t + 1, logarithm, 0, 0, r->probabilities[t], 1, vocab);
        }
    }
    return status;
}

static inline mg_status bind_and_plan(const recording *r, mg_program *program) {
    const mg_status status = bind_tokens(r, program);
    return status == MG_OK ? mg_program_plan(program) : status;
}

static inline mg_program *bound_program(const recording *r) {
    mg_program *program = mg_program_new(r->tape, r->loss, 0);
    CHECK(program != NULL && bind_and_plan(r, program) == MG_OK && broken_program(program) == NULL);
    return program;
}

static inline bool same_recordings(const recording *a, const recording *b) {
    bool same = CHECK(a->count == b->count);
    for (size_t i = 0; same && i < a->count; i++) {
        mg_id left = a->lanes[i], right = b->lanes[i], operands[2];
        double of_a[2] = {0, 0}, of_b[2] = {0, 0};
        same = CHECK(same_number(mg_value(a->tape, left), mg_value(b->tape, right))) &&
               CHECK(same_number(mg_adjoint(a->tape, left), mg_adjoint(b->tape, right)));
        if (mg_lane_operand_count(a->tape, left) <= 2) {
            CHECK(mg_lane_operands(a->tape, left, operands, of_a) == MG_OK);
            CHECK(mg_lane_operands(b->tape, right, operands, of_b) == MG_OK);
            same = same && CHECK(same_numbers(of_a, of_b, 2));
        }
        if (!same) {
            printf("    in lane %zu, which is %s\n", i, mg_operation_name(mg_lane_operation(a->tape, left)));
        }
    }
    double *left = allocate(parameters_of(a), sizeof *left), *right = allocate(parameters_of(a), sizeof *right);
    for (size_t p = 0; same && p < a->runs; p++) {
        mg_read_adjoints(a->tape, a->parameters[p], a->sizes[p], left);
        mg_read_adjoints(b->tape, b->parameters[p], b->sizes[p], right);
        if (!CHECK(same_numbers(left, right, a->sizes[p]))) {
            printf("    in the gradient of parameter %zu\n", p);
        }
    }
    free(left);
    free(right);
    return same;
}

#endif
