/* optimizer.c: the optimizers' steps, as Python writes them, and the mean of several documents' gradients. */
#include "programs/optimizer.h"

#include "tape/operations.h"

#include <math.h>

/* ---- steps on runs of numbers ----------------------------------------------------------------------------------- */

bool mg_optimizer_is_known(const mg_optimizer *optimizer) {
    return optimizer->kind >= 0 && optimizer->kind < MG_OPTIMIZER_COUNT;
}

mg_status mg_take_step(const mg_kernels *kernels, const mg_optimizer *optimizer, uint64_t step, double learning_rate,
                       const mg_parameters *run, size_t count) {
    mg_step_numbers by = {
        .learning_rate = learning_rate,
        .beta1 = optimizer->beta1,
        .beta2 = optimizer->beta2,
        .epsilon = optimizer->epsilon,
        .decay = optimizer->kind == MG_ADAMW ? optimizer->weight_decay : 0,
        .momentum = optimizer->momentum,
    };
    if (optimizer->kind == MG_SGD) {
        for (size_t r = 0; r < count; r++) {
            kernels->momentum(run[r].n, run[r].data, run[r].grad, run[r].m, &by);
        }
        return MG_OK;
    }
    double largest = 0, square, decay1, decay2;
    for (size_t r = 0; kernels->size == sizeof(double) && r < count; r++) { /* float's overflow is no error */
        const double size = kernels->largest(run[r].n, run[r].grad);
        largest = size > largest ? size : largest;
    }
    if (mg_pow(largest, 2, &square) != MG_OK || mg_pow(by.beta1, (double)step, &decay1) != MG_OK ||
        mg_pow(by.beta2, (double)step, &decay2) != MG_OK) {
        return MG_POWER_RANGE;
    }
    by.correction1 = 1 - decay1;
    by.correction2 = 1 - decay2;
    for (size_t r = 0; r < count; r++) {
        if (by.decay != 0) {
            kernels->decay(run[r].n, run[r].data, &by);
        }
        kernels->adam(run[r].n, run[r].data, run[r].grad, run[r].m, run[r].v, &by);
    }
    return MG_OK;
}

/* ---- steps on leaves -------------------------------------------------------------------------------------------- */

/* Can all the runs be used now, and do they fit buffers of so many numbers? Sets `*status` when not. */
static bool runs_are_there(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, size_t parameters,
                           mg_status *status) {
    mg_slot slot;
    size_t rest = parameters;
    *status = mg_enter(tape);
    for (size_t r = 0; *status == MG_OK && r < count; r++) {
        if (!mg_find_run(tape, first[r], sizes[r], &slot)) {
            *status = mg_find(tape, first[r], &slot) ? MG_SHAPE : MG_STALE;
        } else if (sizes[r] > rest) {
            *status = MG_SHAPE;
        } else {
            rest -= sizes[r];
        }
    }
    if (*status == MG_OK && rest > 0) {
        *status = MG_SHAPE;
    }
    return *status == MG_OK;
}

mg_status mg_gradients_add(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                           size_t parameters) {
    MG_INSIDE(tape);
    mg_slot slot;
    mg_status status;
    if (!runs_are_there(tape, first, sizes, count, parameters, &status)) {
        return status;
    }
    for (size_t r = 0; r < count; sum += sizes[r++]) {
        mg_find_run(tape, first[r], sizes[r], &slot);
        mg_kernels_chosen()->add_gradients(sizes[r], tape->adjoint + slot, sum);
    }
    return MG_OK;
}

mg_status mg_gradients_mean(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                            size_t parameters, double share) {
    MG_INSIDE(tape);
    mg_slot slot;
    mg_status status;
    if (!runs_are_there(tape, first, sizes, count, parameters, &status)) {
        return status;
    }
    for (size_t r = 0; r < count; sum += sizes[r++]) {
        mg_find_run(tape, first[r], sizes[r], &slot);
        mg_kernels_chosen()->mean_gradients(sizes[r], tape->adjoint + slot, sum, share);
    }
    return MG_OK;
}

mg_status mg_optimizer_step(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                            size_t parameters, const mg_optimizer *optimizer, uint64_t step, double learning_rate) {
    MG_INSIDE(tape);
    mg_status status;
    if (!runs_are_there(tape, first, sizes, count, parameters, &status)) {
        return status;
    }
    if (!mg_optimizer_is_known(optimizer)) {
        return MG_OPERATION;
    }
    mg_parameters *run = mg_reallocate(tape, NULL, 0, count * sizeof *run + 1);
    if (run == NULL) {
        return MG_NO_MEMORY;
    }
    for (size_t r = 0, done = 0; r < count; done += sizes[r++]) {
        mg_slot slot;
        mg_find_run(tape, first[r], sizes[r], &slot);
        run[r] = (mg_parameters){sizes[r], tape->value + slot, tape->adjoint + slot, m + done, v + done};
    }
    status = mg_take_step(mg_kernels_chosen(), optimizer, step, learning_rate, run, count);
    for (size_t r = 0; status == MG_OK && r < count; r++) {
        mg_touch(tape, (mg_slot)((double *)run[r].data - tape->value), sizes[r]);
    }
    mg_reallocate(tape, run, count * sizeof *run + 1, 0);
    return status;
}
