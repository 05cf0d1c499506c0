/* corpora.h: documents of a model, trainers of it, and their steps by hand. */
#ifndef CORPORA_H
#define CORPORA_H

#include "check.h"
#include "compositions.h"
#include "models.h"

enum { DOCUMENTS = 7, STEPS = 12 };

typedef struct {
    recording model, by_length[MOST_TOKENS + 1];
    mg_program *program; /* of the longest document */
    int32_t tokens[DOCUMENTS * MOST_TOKENS];
    size_t starts[DOCUMENTS + 1];
    double rates[STEPS];
    bool plain; /* without a plan */
} corpus;

static inline corpus *make_corpus(model_shape shape, uint64_t seed) {
    corpus *c = allocate(1, sizeof *c);
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + shape.layers * 12 * shape.embd * shape.embd;
    double *numbers = allocate(n, sizeof *numbers);
    uint64_t state = seed;
    random_numbers(&state, numbers, n);
    c->model = begin(shape, numbers);
    free(numbers);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        size_t length = 2 + random_below(&state, shape.positions);
        for (size_t t = 0; t < length; t++) {
            c->tokens[c->starts[d] + t] = (int32_t)random_below(&state, shape.vocab);
        }
        c->starts[d + 1] = c->starts[d] + length;
    }
    for (size_t s = 0; s < STEPS; s++) {
        c->rates[s] = 0.01 / (double)(s + 1);
    }
    return c;
}

static inline recording *of_length(corpus *c, size_t length, const int32_t *tokens) {
    recording *r = &c->by_length[length];
    if (r->lanes == NULL) {
        mg_id *lanes = allocate(MOST_LANES, sizeof *lanes);
        *r = c->model;
        r->lanes = lanes;
        r->shape.positions = length - 1;
    }
    record_model(r, tokens);
    return r;
}

static inline void free_corpus(corpus *c) {
    mg_program_free(c->program);
    for (size_t length = 0; length <= MOST_TOKENS; length++) {
        free(c->by_length[length].lanes);
    }
    end(&c->model);
    free(c);
}

static inline bool same_parameters(const recording *a, const recording *b) {
    bool same = true;
    double *left = allocate(parameters_of(a), sizeof *left), *right = allocate(parameters_of(a), sizeof *right);
    for (size_t p = 0; p < a->runs; p++) {
        mg_read_values(a->tape, a->parameters[p], a->sizes[p], left);
        mg_read_values(b->tape, b->parameters[p], b->sizes[p], right);
        same = same && same_numbers(left, right, a->sizes[p]);
    }
    free(left);
    free(right);
    return same;
}

static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};

/* The steps by hand: each document recorded anew, swept, its gradients added up, and Adam. */
static inline void train_by_hand(corpus *c, size_t batch_size, size_t steps, double *losses) {
    recording *r = &c->model;
    const size_t n = parameters_of(r);
    double *m = allocate(n, sizeof *m), *v = allocate(n, sizeof *v), *sum = allocate(n, sizeof *sum);
    for (size_t s = 0; s < steps; s++) {
        double total = 0;
        for (size_t b = 0; b < batch_size; b++) {
            size_t d = (s * batch_size + b) % DOCUMENTS;
            mg_mark mark = mg_tape_mark(r->tape);
            const recording *now = of_length(c, c->starts[d + 1] - c->starts[d], c->tokens + c->starts[d]);
            total += mg_value(r->tape, now->loss);
            CHECK(mg_sweep(r->tape, now->loss) == MG_OK);
            CHECK(mg_tape_rewind(r->tape, mark) == MG_OK);
            if (batch_size > 1) {
                CHECK(mg_gradients_add(r->tape, r->parameters, r->sizes, r->runs, sum, n) == MG_OK);
            }
        }
        if (batch_size > 1) {
            CHECK(mg_gradients_mean(r->tape, r->parameters, r->sizes, r->runs, sum, n,
                                    1 / (double)batch_size) == MG_OK);
        }
        losses[s] = total * (1 / (double)batch_size);
        CHECK(mg_optimizer_step(r->tape, r->parameters, r->sizes, r->runs, m, v, n, &ADAM, s + 1, c->rates[s]) == MG_OK);
    }
    free(m);
    free(v);
    free(sum);
}

static inline mg_trainer *trainer_of(corpus *c, bool fast) {
    if (c->program == NULL) {
        static const int32_t tokens[MOST_TOKENS + 1];
        size_t longest = 0;
        for (size_t d = 0; d < DOCUMENTS; d++) {
            const size_t length = c->starts[d + 1] - c->starts[d];
            longest = length > longest ? length : longest;
        }
        of_length(c, longest, tokens);
        c->program = mg_program_new(c->model.tape, c->by_length[longest].loss, 0);
        CHECK(c->program != NULL && bind_tokens(&c->by_length[longest], c->program) == MG_OK);
        CHECK(c->plain || (mg_program_plan(c->program) == MG_OK && broken_program(c->program) == NULL));
    }
    return mg_trainer_new(c->program, c->model.parameters, c->model.sizes, c->model.runs, &ADAM, fast);
}

static inline mg_status run(corpus *c, mg_trainer *trainer, size_t batch_size, size_t from, size_t steps, double *losses) {
    size_t done = 99;
    mg_status status = mg_trainer_run(trainer, c->tokens, c->starts, DOCUMENTS, batch_size, c->rates + from, steps,
                                      losses + from, &done);
    CHECK(done <= steps && (done == steps) == (status == MG_OK));
    CHECK(broken_trainer(trainer) == NULL);
    for (size_t g = 0; status == MG_OK && trainer->batch != NULL && g < trainer->batch->groups; g++) {
        CHECK(trainer->batch->ordinary[g]); /* all of it by the plan */
    }
    return status;
}

/* Do two trainers remember the same? */
static inline bool same_state(mg_trainer *a, mg_trainer *b, size_t n) {
    double *numbers = malloc(4 * n * sizeof *numbers);
    uint64_t steps[2] = {0, 1};
    CHECK(mg_trainer_read_state(a, numbers, numbers + n, n, &steps[0]) == MG_OK);
    CHECK(mg_trainer_read_state(b, numbers + 2 * n, numbers + 3 * n, n, &steps[1]) == MG_OK);
    const bool same = steps[0] == steps[1] && same_numbers(numbers, numbers + 2 * n, 2 * n);
    free(numbers);
    return same;
}

/* One step as several processes take it, all of which are this one: `ranks` runs of documents, slices of `width`. */
static inline mg_status step_in_parts(corpus *c, mg_trainer *trainer, bool fast, size_t batch_size, size_t ranks,
                               size_t width, size_t step, double *losses) {
    const size_t size = fast ? sizeof(float) : sizeof(double), n = parameters_of(&c->model);
    char *sum = calloc(n, size), *all[8];
    size_t first[9], done;
    mg_status status = MG_OK;
    for (size_t r = 0; r <= ranks; r++) {
        first[r] = batch_size * r / ranks;
    }
    for (size_t r = 0; r < ranks; r++) {
        const size_t count = first[r + 1] - first[r];
        all[r] = malloc(count * n * size + 1); /* not a number more: the sanitizer looks */
        if (status == MG_OK) {
            status = mg_trainer_gradients(trainer, c->tokens, c->starts, DOCUMENTS,
                                          (step * batch_size + first[r]) % DOCUMENTS, count, width, all[r],
                                          count * n * size, losses + first[r], &done);
            CHECK(status != MG_OK || done == count);
        }
    }
    for (size_t slice = 0; status == MG_OK && slice < n; slice += width) {
        const size_t whole = n - slice < width ? n - slice : width;
        for (size_t r = 0; r < ranks; r++) {
            const size_t count = first[r + 1] - first[r];
            const char *rows = all[r] + slice * count * size;
            if (batch_size == 1 && count == 1) {
                memcpy(sum + slice * size, rows, whole * size);
            } else {
                CHECK(mg_trainer_add_rows(trainer, rows, count * whole * size, sum + slice * size, whole * size) ==
                      MG_OK);
            }
        }
    }
    if (status == MG_OK) {
        CHECK(mg_trainer_apply(trainer, sum, n * size + 1, batch_size, c->rates[step]) == MG_SHAPE);
        CHECK(mg_trainer_apply(trainer, sum, n * size, 0, c->rates[step]) == MG_SHAPE);
        status = mg_trainer_apply(trainer, sum, n * size, batch_size, c->rates[step]);
    }
    for (size_t r = 0; r < ranks; r++) {
        free(all[r]);
    }
    free(sum);
    return status;
}

#endif
