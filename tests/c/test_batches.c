/* test_batches.c: many documents: side by side, in more waves than one, in parts for several processes; whatever memory there
 * is for them, and whatever it holds.
 */
#include "corpora.h"
#include "microgpt.h"

#include <math.h>

/* A step of documents side by side for which there is no room is taken otherwise, with the same bits, or not at all. */
static void a_batch_survives_no_memory(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    for (int i = 0; i < 8; i++) { /* an allocation fails alone, or with all later ones */
        const bool fast = i % 2, once = i / 4;
        const size_t threads = 1 + (size_t)i / 2 % 2;
        double expected[STEPS], losses[STEPS];
        corpus *same = make_corpus(shape, 80);
        mg_trainer *other = trainer_of(same, fast);
        CHECK(run(same, other, 19, 0, 2, expected) == MG_OK);
        uint64_t k = 1;
        for (bool complete = false; !complete && k < 40; k++) {
            corpus *c = make_corpus(shape, 80);
            mg_trainer *trainer = trainer_of(c, fast);
            CHECK(mg_trainer_use_threads(trainer, threads) == MG_OK);
            c->model.tape->fails_once = once;
            mg_tape_fail_allocation(c->model.tape, k);
            const mg_status status = run(c, trainer, 19, 0, 1, losses);
            complete = c->model.tape->fail_in > 0;
            mg_tape_fail_allocation(c->model.tape, 0);
            CHECK(status == MG_OK || (status == MG_NO_MEMORY && !complete));
            CHECK(run(c, trainer, 19, status == MG_OK, 1 + (status != MG_OK), losses) == MG_OK);
            CHECK(same_numbers(losses, expected, 2) && same_parameters(&c->model, &same->model));
            mg_trainer_free(trainer);
            free_corpus(c);
        }
        CHECK(k > 3);
        mg_trainer_free(other);
        free_corpus(same);
    }
}

static void a_step_in_parts_is_a_step(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    const size_t batch_sizes[] = {1, 2, 3, 7, 16, MG_WAVE + 2}, widths[] = {1, 7, 100, 100000};
    for (size_t i = 0; i < 6 * 4 * 2; i += small_run() ? 5 : 1) { /* all of each kind, either way */
        const bool fast = i % 2;
        const size_t batch_size = batch_sizes[i / 2 % 6], width = widths[i / 12];
        double expected[STEPS], losses[MG_WAVE + 2];
        corpus *c = make_corpus(shape, 60), *same = make_corpus(shape, 60);
        mg_trainer *trainer = trainer_of(c, fast), *other = trainer_of(same, fast);
        CHECK(run(same, other, batch_size, 0, 4, expected) == MG_OK);
        for (size_t step = 0; step < 4; step++) {
            double total = 0;
            CHECK(step_in_parts(c, trainer, fast, batch_size, 1 + (i + step) % 4, width, step, losses) == MG_OK);
            for (size_t b = 0; b < batch_size; b++) {
                total += losses[b];
            }
            CHECK(total * (1 / (double)batch_size) == expected[step]);
        }
        CHECK(same_parameters(&c->model, &same->model) && same_state(trainer, other, parameters_of(&c->model)));
        mg_trainer_free(trainer);
        mg_trainer_free(other);
        free_corpus(c);
        free_corpus(same);
    }
}

/* A part that cannot be done leaves all as it was, and buffers of another size are refused. */
static void a_failing_part_changes_nothing(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    for (int fast = 0; fast < 2; fast++) {
        double expected[STEPS], losses[16] = {0};
        corpus *c = make_corpus(shape, 65), *same = make_corpus(shape, 65);
        mg_trainer *trainer = trainer_of(c, fast), *other = trainer_of(same, fast);
        const size_t size = fast ? sizeof(float) : sizeof(double), n = parameters_of(&c->model), bytes = 3 * n * size;
        char *gradients = malloc(bytes);
        size_t done;
        CHECK(run(same, other, 3, 0, 1, expected) == MG_OK);
        int32_t *token = &c->tokens[c->starts[2]], before = *token;
        *token = -1;
        CHECK(mg_trainer_gradients(trainer, c->tokens, c->starts, DOCUMENTS, 0, 3, n, gradients, bytes, losses,
                                   &done) == MG_SHAPE);
        CHECK(done == 0 && mg_adjoint(c->model.tape, c->model.parameters[2]) == 0);
        *token = before;
        struct {
            size_t documents, first, count, width, bytes;
        } wrong[] = {{0, 0, 3, n, bytes},     {DOCUMENTS, DOCUMENTS, 3, n, bytes}, {DOCUMENTS, 0, 2, n, bytes},
                     {DOCUMENTS, 0, 3, 0, bytes}, {DOCUMENTS, 0, 3, n, bytes - 1}, {DOCUMENTS, 0, SIZE_MAX, n, bytes}};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            CHECK(mg_trainer_gradients(trainer, c->tokens, c->starts, wrong[i].documents, wrong[i].first,
                                       wrong[i].count, wrong[i].width, gradients, wrong[i].bytes, losses,
                                       &done) == MG_SHAPE);
        }
        CHECK(mg_trainer_add_rows(trainer, gradients, 3 * size, gradients, 2 * size) == MG_SHAPE);
        CHECK(mg_trainer_add_rows(trainer, gradients, 2 * size, gradients, size - 1) == MG_SHAPE);
        CHECK(mg_trainer_add_rows(trainer, gradients, size, gradients, 0) == MG_SHAPE);
        CHECK(mg_trainer_add_rows(trainer, gradients, 0, gradients, 0) == MG_OK);
        if (!fast) { /* its square is too large */
            memset(gradients, 0, n * size);
            ((double *)gradients)[n - 1] = 1e300;
            CHECK(mg_trainer_apply(trainer, gradients, n * size, 1, 0.1) == MG_POWER_RANGE);
        }
        CHECK(step_in_parts(c, trainer, fast, 3, 2, 50, 0, losses) == MG_OK);
        CHECK(same_parameters(&c->model, &same->model) && same_state(trainer, other, n));
        free(gradients);
        mg_trainer_free(trainer);
        mg_trainer_free(other);
        free_corpus(c);
        free_corpus(same);
    }
}

/* More documents than are computed at a time, in a step and for their losses alone. */
static void many_documents_are_as_many_recordings(void) {
    enum { MANY = 2 * MG_WAVE + 9, LONGEST = 6 };
    const model_shape shape = {8, 2, 1, LONGEST, 6, true, false, false, false};
    for (int kind = 0; kind < 3; kind++) { /* planned, plain, fast */
        double losses[MANY + 1], again[MANY + 1], expected[STEPS], step[STEPS];
        corpus *c = make_corpus(shape, 47), *by_hand = make_corpus(shape, 47);
        c->plain = kind == 1;
        mg_trainer *trainer = trainer_of(c, kind == 2);
        int32_t *tokens = allocate(MANY * (LONGEST + 1), sizeof *tokens);
        size_t starts[MANY + 1] = {0};
        for (size_t d = 0; d < MANY; d++) {
            const size_t from = c->starts[d % DOCUMENTS], length = c->starts[d % DOCUMENTS + 1] - from;
            memcpy(tokens + starts[d], c->tokens + from, length * sizeof *tokens);
            starts[d + 1] = starts[d] + length;
        }
        losses[MANY] = again[MANY] = 99;
        CHECK(mg_program_forward(c->program) == MG_OK);
        CHECK(mg_trainer_losses(trainer, tokens, starts, 0, MANY, losses) == MG_OK && losses[MANY] == 99);
        CHECK(mg_program_reverse(c->program) == MG_OVERWRITTEN); /* there may be the last document's numbers */
        for (size_t d = 0; kind < 2 && d < DOCUMENTS; d++) {
            const mg_mark mark = mg_tape_mark(by_hand->model.tape);
            const recording *r = of_length(by_hand, starts[d + 1] - starts[d], tokens + starts[d]);
            CHECK(same_number(losses[d], mg_value(r->tape, r->loss)));
            CHECK(mg_tape_rewind(by_hand->model.tape, mark) == MG_OK);
        }
        for (size_t d = DOCUMENTS; d < MANY; d++) {
            CHECK(kind == 2 || same_number(losses[d], losses[d % DOCUMENTS]));
        }
        const size_t runs[][2] = {{3, 3}, {MANY - 1, MANY}, {5, MG_WAVE + 6}};
        for (size_t i = 0; i < 3; i++) {
            memset(again, 0, MANY * sizeof *again);
            tokens[starts[2]] = -1; /* which is none of them */
            CHECK(mg_trainer_losses(trainer, tokens, starts, runs[i][0], runs[i][1], again + runs[i][0]) == MG_OK);
            tokens[starts[2]] = c->tokens[c->starts[2]];
            for (size_t d = 0; d < MANY; d++) {
                const bool inside = d >= runs[i][0] && d < runs[i][1];
                CHECK(inside ? same_number(again[d], losses[d]) : again[d] == 0);
            }
        }
        tokens[starts[MG_WAVE + 3]] = -1;
        CHECK(mg_trainer_losses(trainer, tokens, starts, 5, MG_WAVE + 6, again) == MG_SHAPE);
        for (size_t p = 0; p < c->model.runs; p++) {
            CHECK(mg_adjoint(c->model.tape, c->model.parameters[p]) == 0);
        }
        if (kind < 2) {
            const size_t steps = small_run() ? 3 : STEPS;
            train_by_hand(by_hand, MANY, steps, expected);
            CHECK(run(c, trainer, MANY, 0, steps, step) == MG_OK);
            CHECK(same_numbers(step, expected, steps) && same_parameters(&c->model, &by_hand->model));
        }
        mg_trainer_free(trainer);
        free(tokens);
        free_corpus(c);
        free_corpus(by_hand);
    }
}

/* Where there is no room for documents after others that were learnt by the plan, all of the step is learnt statement by
   statement, from nothing. */
static void a_step_that_leaves_its_plan_begins_anew(void) {
    enum { MANY = 2 * MG_WAVE, SHORT = 3, LONG = 7 };
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    int32_t tokens[MANY * LONG];
    size_t starts[MANY + 1] = {0}, done;
    for (size_t d = 0; d < MANY; d++) {
        starts[d + 1] = starts[d] + (d < MG_WAVE ? SHORT : LONG);
    }
    for (size_t n = 0; n < MANY * LONG; n++) {
        tokens[n] = (int32_t)(n * n % 5);
    }
    double expected, loss;
    corpus *same = make_corpus(shape, 53);
    mg_trainer *other = trainer_of(same, false);
    CHECK(mg_trainer_run(other, tokens, starts, MANY, MANY, same->rates, 1, &expected, &done) == MG_OK);
    uint64_t k = 1;
    for (bool complete = false; !complete && k < 400; k++) {
        corpus *c = make_corpus(shape, 53);
        mg_trainer *trainer = trainer_of(c, false);
        mg_tape_fail_allocation(c->model.tape, k);
        CHECK(mg_trainer_run(trainer, tokens, starts, MANY, MANY, c->rates, 1, &loss, &done) == MG_OK);
        complete = c->model.tape->fail_in > 0;
        mg_tape_fail_allocation(c->model.tape, 0);
        CHECK(same_number(loss, expected) && same_parameters(&c->model, &same->model));
        CHECK(same_state(trainer, other, parameters_of(&c->model)));
        mg_trainer_free(trainer);
        free_corpus(c);
    }
    CHECK(k > 3 && k < 400);
    mg_trainer_free(other);
    free_corpus(same);
}

/* Whatever a workspace held, texts that are entered are computed as in a new one, and by the plan: every step's first finds
   NaN in all of it. */
static void a_workspace_may_hold_anything(void) {
    for (size_t batch_size = 1; batch_size <= 20; batch_size += batch_size < DOCUMENTS ? 1 : 4) {
        for (int fast = 0; fast < 2; fast++) {
            double losses[STEPS], expected[STEPS];
            const model_shape shape = {8, 2, 1 + batch_size % 2, 6, 6, true, false, false, false};
            corpus *c = make_corpus(shape, 59), *same = make_corpus(shape, 59);
            mg_trainer *trainer = trainer_of(c, fast), *other = trainer_of(same, fast);
            CHECK(run(same, other, batch_size, 0, STEPS, expected) == MG_OK);
            for (size_t step = 0; step < STEPS; step++) {
                for (size_t g = 0; g < MG_WAVE; g++) {
                    void *numbers = trainer->batch->workspace[g].numbers;
                    if (numbers != NULL) {
                        memset(numbers, 0xff, mg_bytes(numbers));
                    }
                }
                CHECK(run(c, trainer, batch_size, step, 1, losses) == MG_OK);
            }
            CHECK(same_numbers(losses, expected, STEPS) && same_parameters(&c->model, &same->model));
            CHECK(same_state(trainer, other, parameters_of(&c->model)));
            mg_trainer_free(trainer);
            mg_trainer_free(other);
            free_corpus(c);
            free_corpus(same);
        }
    }
}

static double number_at(const void *numbers, size_t at, size_t size) {
    return size == sizeof(float) ? (double)((const float *)numbers)[at] : ((const double *)numbers)[at];
}

/* Beyond the columns of all texts every value is finite and every adjoint 0: what is computed of whole vectors there counts
   nowhere, and cannot be taken for a number that is no ordinary one. */
static bool rest_is_clear(const mg_replay *replay, size_t size) {
    bool clear = true;
    for (size_t row = 0; row < replay->value_rows; row++) {
        for (size_t t = replay->computed; t < replay->padded; t++) {
            clear = clear && isfinite(number_at(replay->value, row * replay->padded + t, size));
        }
    }
    for (size_t k = 0; k < replay->plan->each; k++) {
        const mg_step *step = &replay->plan->step[k];
        const size_t first = mg_adjoint_row(replay, k), rows = step->derives ? mg_rows_of(step, replay->positions) : 0;
        for (size_t row = first; row < first + rows; row++) {
            for (size_t t = replay->computed; t < replay->padded; t++) {
                clear = clear && number_at(replay->adjoint, row * replay->padded + t, size) == 0;
            }
        }
    }
    return clear;
}

/* So it is whatever the workspace held. */
static void what_lies_beyond_a_batch_is_clear(void) {
    for (size_t batch_size = 1; batch_size <= 20; batch_size++) {
        for (int fast = 0; fast < 2; fast++) {
            double losses[STEPS];
            const model_shape shape = {8, 2, 1 + batch_size % 2, 6, 6, true, batch_size % 3 == 0, false, false};
            corpus *c = make_corpus(shape, 60 + batch_size);
            mg_trainer *trainer = trainer_of(c, fast);
            for (size_t step = 0; step < 3; step++) {
                CHECK(run(c, trainer, batch_size, step, 1, losses) == MG_OK);
                for (size_t g = 0; g < trainer->batch->groups; g++) {
                    CHECK(trainer->batch->ordinary[g]);
                    if (step > 0) {
                        CHECK(rest_is_clear(&trainer->batch->replay[g], trainer->kernels->size));
                    }
                }
                for (size_t g = 0; g < MG_WAVE; g++) {
                    void *numbers = trainer->batch->workspace[g].numbers;
                    if (numbers != NULL) {
                        memset(numbers, 0xff, mg_bytes(numbers));
                    }
                }
            }
            mg_trainer_free(trainer);
            free_corpus(c);
        }
    }
}

int main(void) {
    RUN(a_batch_survives_no_memory);
    RUN(a_step_in_parts_is_a_step);
    RUN(a_failing_part_changes_nothing);
    RUN(many_documents_are_as_many_recordings);
    RUN(a_step_that_leaves_its_plan_begins_anew);
    RUN(a_workspace_may_hold_anything);
    RUN(what_lies_beyond_a_batch_is_clear);
    return verdict();
}
