/* adam.c: the optimizer's step, as Python writes it, and the mean of several documents' gradients. */
#include "kernels.h"
#include "tape.h"

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

/* For each parameter, with g its gradient:
 *   m = beta1 * m + (1 - beta1) * g
 *   v = beta2 * v + (1 - beta2) * g ** 2
 *   m_hat = m / (1 - beta1 ** (step + 1)); v_hat = v / (1 - beta2 ** (step + 1))
 *   p.data -= learning_rate * m_hat / (v_hat ** 0.5 + epsilon)
 */
mg_status mg_adam(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                  size_t parameters, double learning_rate, double beta1, double beta2, double correction1, double correction2,
                  double epsilon) {
    mg_slot slot;
    double square, largest = 0;
    const mg_kernels *kernels = mg_kernels_chosen();
    mg_status status;
    if (!runs_are_there(tape, first, sizes, count, parameters, &status)) {
        return status;
    }
    for (size_t r = 0; r < count; r++) {
        mg_find_run(tape, first[r], sizes[r], &slot);
        double size = kernels->largest(sizes[r], tape->adjoint + slot);
        largest = size > largest ? size : largest;
    }
    if (mg_pow(largest, 2, &square) != MG_OK) {
        return MG_POWER_RANGE;
    }
    const mg_adam_step step = {learning_rate, beta1, beta2, correction1, correction2, epsilon};
    for (size_t r = 0; r < count; r++, m += sizes[r - 1], v += sizes[r - 1]) {
        mg_find_run(tape, first[r], sizes[r], &slot);
        mg_touch(tape, slot, sizes[r]);
        kernels->adam(sizes[r], tape->value + slot, tape->adjoint + slot, m, v, &step);
    }
    return MG_OK;
}
