/* optimizer.h: one step of an optimizer on runs of parameters, for the tape's leaves and for a trainer's numbers. */
#ifndef MG_OPTIMIZER_H
#define MG_OPTIMIZER_H

#include "kernels/kernels.h"
#include "programs/pool.h"

#include <string.h>

#define MG_WORTH_A_THREAD 16384 /* parameters: a step of fewer is over before another thread has begun */

/* Is it one that there is, with numbers that it can work with? */
bool mg_optimizer_is_known(const mg_optimizer *optimizer);

/* A run of n parameters and what goes with them, in the numbers of a row of kernels. */
typedef struct {
    size_t n;
    void *data, *grad, *m, *v;
} mg_parameters;

/* Step number `step` from 1 on all runs, whose gradients are then 0. MG_POWER_RANGE, with nothing changed, where the
   square of a gradient overflows as it does in Python. The threads of a pool, which may be NULL, share it. */
mg_status mg_take_step(const mg_kernels *kernels, const mg_optimizer *optimizer, uint64_t step, double learning_rate,
                       const mg_parameters *run, size_t count, mg_pool *pool);

/* grad = sum * share, of n numbers, and sum = 0 */
static inline void mg_take_mean(const mg_kernels *kernels, size_t n, void *grad, void *sum, double share) {
    memcpy(grad, sum, n * kernels->size);
    memset(sum, 0, n * kernels->size);
    kernels->scale(n, grad, share);
}

#endif
