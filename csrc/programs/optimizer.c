/* optimizer.c: the optimizers' steps, as Python writes them, and the mean of several documents' gradients. */
#include "programs/optimizer.h"

#include "programs/memory.h"
#include "tape/operations.h"

#include <math.h>

/* ---- steps on runs of numbers ----------------------------------------------------------------------------------- */

bool mg_optimizer_is_known(const mg_optimizer *optimizer) {
    return optimizer->kind >= 0 && optimizer->kind < MG_OPTIMIZER_COUNT;
}

/* A step that threads share: each updates a part of the parameters, of whole blocks but for the last. */
typedef struct {
    const mg_kernels *kernels;
    const mg_parameters *run;
    size_t count, parameters, parts;
    mg_step_numbers by;
    double largest[MG_MOST_THREADS];
} shared_step;

#define WHOLE 512 /* parameters: a multiple of what a row of kernels takes at a time */

typedef void on_part(shared_step *step, const mg_parameters *some, size_t part);

/* Calls on_part for the pieces of runs that are of a part. */
static void go_through(shared_step *step, size_t part, on_part *work) {
    const size_t size = step->kernels->size;
    const size_t from = mg_first_of_part(step->parameters, part, step->parts, WHOLE);
    const size_t to = mg_first_of_part(step->parameters, part + 1, step->parts, WHOLE);
    for (size_t r = 0, at = 0; r < step->count; at += step->run[r++].n) {
        const mg_parameters *run = &step->run[r];
        const size_t first = from > at ? from - at : 0, end = to > at ? to - at : 0;
        if (first < run->n && first < end) {
            const mg_parameters some = {(end < run->n ? end : run->n) - first, (char *)run->data + first * size,
                                        (char *)run->grad + first * size, (char *)run->m + first * size,
                                        (char *)run->v + first * size};
            work(step, &some, part);
        }
    }
}

static void look_for_largest(shared_step *step, const mg_parameters *some, size_t part) {
    const double size = step->kernels->largest(some->n, some->grad);
    step->largest[part] = size > step->largest[part] ? size : step->largest[part];
}

static void update(shared_step *step, const mg_parameters *some, size_t part) {
    (void)part;
    const mg_float_mode mode = mg_enter_mode(step->kernels);
    step->kernels->update(some->n, some->data, some->grad, some->m, some->v, &step->by);
    mg_restore_float_mode(mode);
}

static void look_in_part(void *step, size_t part) { go_through(step, part, look_for_largest); }
static void update_part(void *step, size_t part) { go_through(step, part, update); }

/* 1 - beta ** step, what moments of so many steps are divided by. beta ** step <= e ** (-step * (1 - beta)); below 2^-54 it
   takes nothing from 1, and is not asked for: far below, it would be no normal number. */
static mg_status correction(double beta, uint64_t step, double *out) {
    double decay = 0;
    const bool matters = !(beta >= 0 && beta < 1 && (double)step * (1 - beta) > 40);
    const mg_status status = matters ? mg_pow(beta, (double)step, &decay) : MG_OK;
    *out = 1 - decay;
    return status;
}

mg_status mg_take_step(const mg_kernels *kernels, const mg_optimizer *optimizer, uint64_t step, double learning_rate,
                       const mg_parameters *run, size_t count, mg_pool *pool) {
    shared_step all = {
        .kernels = kernels,
        .run = run,
        .count = count,
        .by = {.is = *optimizer, .learning_rate = learning_rate},
    };
    for (size_t r = 0; r < count; r++) {
        all.parameters += run[r].n;
    }
    all.parts = all.parameters < MG_WORTH_A_THREAD ? 1 : mg_pool_threads(pool);
    if (optimizer->kind == MG_ADAM || optimizer->kind == MG_ADAMW) {
        double largest = 0, square;
        if (kernels->size == sizeof(double)) { /* float's overflow is no error */
            mg_pool_run(pool, look_in_part, &all, all.parts);
        }
        for (size_t part = 0; part < all.parts; part++) {
            largest = all.largest[part] > largest ? all.largest[part] : largest;
        }
        if (mg_pow(largest, 2, &square) != MG_OK || correction(optimizer->beta1, step, &all.by.correction1) != MG_OK ||
            correction(optimizer->beta2, step, &all.by.correction2) != MG_OK) {
            return MG_POWER_RANGE;
        }
    }
    mg_pool_run(pool, update_part, &all, all.parts);
    return MG_OK;
}

/* ---- steps on leaves -------------------------------------------------------------------------------------------- */

/* Can all the runs be used now, and do they fit buffers of so many numbers? */
static mg_status check_runs(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, size_t parameters) {
    size_t rest = parameters;
    MG_TRY(mg_enter(tape));
    for (size_t r = 0; r < count; rest -= sizes[r++]) {
        mg_slot slot;
        MG_TRY(mg_find_lanes(tape, first[r], sizes[r], &slot));
        if (sizes[r] > rest) {
            return MG_SHAPE;
        }
    }
    return rest == 0 ? MG_OK : MG_SHAPE;
}

mg_status mg_gradients_add(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                           size_t parameters) {
    MG_INSIDE(tape);
    MG_TRY(check_runs(tape, first, sizes, count, parameters));
    for (size_t r = 0; r < count; sum += sizes[r++]) {
        mg_slot slot;
        mg_find(tape, first[r], &slot);
        mg_kernels_chosen()->add_gradients(sizes[r], tape->adjoint + slot, sum);
    }
    return MG_OK;
}

mg_status mg_gradients_mean(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                            size_t parameters, double share) {
    MG_INSIDE(tape);
    MG_TRY(check_runs(tape, first, sizes, count, parameters));
    for (size_t r = 0; r < count; sum += sizes[r++]) {
        mg_slot slot;
        mg_find(tape, first[r], &slot);
        mg_take_mean(mg_kernels_chosen(), sizes[r], tape->adjoint + slot, sum, share);
    }
    return MG_OK;
}

mg_status mg_optimizer_step(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                            size_t parameters, const mg_optimizer *optimizer, uint64_t step, double learning_rate) {
    MG_INSIDE(tape);
    MG_TRY(check_runs(tape, first, sizes, count, parameters));
    if (!mg_optimizer_is_known(optimizer)) {
        return MG_OPERATION;
    }
    mg_blocks scratch = {.tape = tape};
    mg_parameters *run = mg_allot(&scratch, count, sizeof *run);
    if (run == NULL) {
        return MG_NO_MEMORY;
    }
    for (size_t r = 0, done = 0; r < count; done += sizes[r++]) {
        mg_slot slot;
        mg_find(tape, first[r], &slot);
        run[r] = (mg_parameters){sizes[r], tape->value + slot, tape->adjoint + slot, m + done, v + done};
    }
    const mg_status status = mg_take_step(mg_kernels_chosen(), optimizer, step, learning_rate, run, count, NULL);
    for (size_t r = 0; status == MG_OK && r < count; r++) {
        mg_touch(tape, (mg_slot)((double *)run[r].data - tape->value), sizes[r]);
    }
    mg_free_blocks(scratch);
    return status;
}
