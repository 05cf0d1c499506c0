/* trainer.h: a program with its parameters, and the numbers in which they are trained. */
#ifndef MG_TRAINER_H
#define MG_TRAINER_H

#include "programs/batch.h"
#include "programs/optimizer.h"

#include <stdatomic.h>

/* Invariants
 *   the runs hold all parameters, unless some are gone from the tape: their n add up to `parameters`
 *   losses[n] <= losses[n + 1] <= losses of the program
 *   batch != NULL exactly where the program has a plan, and is of that program
 *   sum is 0 between two calls
 *   in the fast mode the numbers of all runs are in `leaves`: leaves.lowest <= slots[r] */
struct mg_trainer {
    mg_blocks blocks;
    mg_tape *tape;
    mg_program *program;
    const mg_kernels *kernels;
    mg_optimizer optimizer;
    mg_id *first;
    size_t *sizes;
    mg_slot *slots;     /* [run_count]: where the parameters are during a call, adjoining runs as one */
    mg_parameters *run; /* [run_count] */
    size_t count, run_count, parameters;
    void *m, *v, *sum; /* [parameters], run after run */
    int32_t *values;   /* [inputs]: tokens of the last document that was learnt plainly, and of those before it */
    mg_batch *batch;   /* NULL where the program has no plan */
    mg_pool *pool;     /* NULL: the caller's thread alone */
    size_t *losses;    /* [inputs + 1]: of a document of so many tokens */
    size_t inputs;
    uint64_t steps;          /* taken */
    atomic_bool interrupted; /* by whatever thread; taken back by the call that ends for it */
    mg_leaf_numbers leaves;  /* the tape's; in the fast mode the trainer's own */
    uint64_t stored;         /* fast: the tape's count of writes when it last had the same numbers */
};

/* Does it train in float, with numbers of its own? */
static inline bool mg_trains_fast(const mg_trainer *trainer) { return trainer->kernels->size == sizeof(float); }

/* Ready for steps: in the fast mode the parameters as float, if they were written since the last call. */
mg_status mg_trainer_load(mg_trainer *trainer);
/* The tape gets the parameters, and takes note that they were written. */
void mg_trainer_store(mg_trainer *trainer);

#endif
