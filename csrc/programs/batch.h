/* batch.h: documents side by side: dealt to groups, computed by one thread or several, and their gradients added in the
 * order of the documents, so that the result is that of one document after the other, however many threads there are.
 */
#ifndef MG_BATCH_H
#define MG_BATCH_H

#include "kernels/kernels.h"
#include "programs/pool.h"

#define MG_WAVE 128 /* documents that are computed together at the most */

/* A document: the inputs of the program, those that its positions read, and how many positions it has. */
typedef struct {
    const int32_t *tokens;
    size_t positions;
} mg_document;

/* Leaves' values and adjoints from slot `lowest` on, in the numbers of the kernels. */
typedef struct {
    void *value, *adjoint;
    mg_slot lowest;
} mg_leaf_numbers;

/* Invariants, after a call
 *   workspace[g] and replay[g], for g < groups, are of the last call; text d is one of them, and no other text is the same
 *   `one` is 0 */
typedef struct {
    mg_blocks blocks;
    mg_program *program;
    const mg_kernels *kernels;
    size_t threads; /* of the call at hand */
    /* groups */
    mg_workspace *workspace; /* [MG_WAVE] */
    mg_replay *replay;       /* [MG_WAVE] */
    size_t groups;           /* 0 where the last call left memory */
    bool ordinary[MG_WAVE];
    bool reverse;
    /* documents */
    size_t order[MG_WAVE]; /* of the documents, the longest first */
    mg_text text[MG_WAVE]; /* in the order of the documents */
    /* leaves */
    size_t first, count; /* which documents add to them */
    void *one;           /* see mg_kernels */
    bool alone;
} mg_batch;

/* For a program with a plan. NULL without memory. */
mg_batch *mg_batch_new(mg_program *program, const mg_kernels *kernels);
void mg_batch_free(mg_batch *batch);

/* With the threads of a pool, which may be NULL: the losses of `count` documents, at most MG_WAVE, and with `reverse` all
   that their gradients are made of. False where that left ordinary numbers, or memory. */
bool mg_batch_reach(mg_batch *batch, mg_pool *pool, const mg_document *documents, size_t count, bool reverse,
                    const mg_leaf_numbers *leaves, double *losses);
/* With the same threads: the gradients of `count` of these documents, from number `first` on, each summed from 0, are
   added to the leaves' adjoints in order; where `alone`, the only document's additions go there one by one. */
void mg_batch_add(mg_batch *batch, mg_pool *pool, size_t first, size_t count, bool alone);

#endif
