/* adam.c: the optimizer's step, as Python writes it. */
#include "tape.h"

#include <math.h>


/* For each parameter, with g its gradient:
 *   m = beta1 * m + (1 - beta1) * g
 *   v = beta2 * v + (1 - beta2) * g ** 2
 *   m_hat = m / (1 - beta1 ** (step + 1)); v_hat = v / (1 - beta2 ** (step + 1))
 *   p.data -= learning_rate * m_hat / (v_hat ** 0.5 + epsilon)
 */
mg_status mg_adam(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                  double learning_rate, double beta1, double beta2, double correction1, double correction2,
                  double epsilon) {
    mg_slot slot;
    double square, root, largest = 0;
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    for (size_t r = 0; r < count; r++) { /* everything that can go wrong, before anything changes */
        if (!mg_find_run(tape, first[r], sizes[r], &slot)) {
            return mg_find(tape, first[r], &slot) ? MG_SHAPE : MG_STALE;
        }
        for (size_t i = 0; i < sizes[r]; i++) {
            double size = fabs(tape->adjoint[slot + i]);
            largest = size > largest && isfinite(size) ? size : largest;
        }
    }
    if (mg_pow(largest, 2, &square) != MG_OK) {
        return MG_POWER_RANGE;
    }
    for (size_t r = 0; r < count; r++, m += sizes[r - 1], v += sizes[r - 1]) {
        mg_find_run(tape, first[r], sizes[r], &slot);
        mg_touch(tape, slot, sizes[r]);
        double *data = tape->value + slot, *grad = tape->adjoint + slot;
        for (size_t i = 0; i < sizes[r]; i++) {
            mg_pow(grad[i], 2, &square);
            m[i] = beta1 * m[i] + (1 - beta1) * grad[i];
            v[i] = beta2 * v[i] + (1 - beta2) * square;
            mg_pow(v[i] / correction2, 0.5, &root);
            data[i] -= learning_rate * (m[i] / correction1) / (root + epsilon);
            grad[i] = 0;
        }
    }
    return MG_OK;
}
