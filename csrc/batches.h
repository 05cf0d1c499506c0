/* batches.h: a recorded model, position beside position.
 *
 * When a program's result is the mean of n losses which were recorded by the same statements, one position after the
 * other, then the k-th statements of all positions are one batch: one operation over n positions, which may read the
 * same weights. A batch keeps its lanes as rows, one lane at all positions, so that one vector holds one lane at eight
 * positions, and every sum stays in its order:
 *
 *               position 0   1   2   3   4   5   6   7
 *     lane 0        |  x0  | x0 | x0 | x0 | x0 |    |    |    |    one row; positions that are not there hold 0
 *     lane 1        |  x1  | x1 | x1 | x1 | x1 |    |    |    |
 *
 * Forward goes up the batches, reverse goes down. What the depth-first search orders otherwise is kept as runs of rows:
 * the rows of several linears that read one x make a fan, in the order in which the sweep goes down them.
 *
 * A program has batches only if one trial with random numbers gave the bits of the plain replay, in every lane.
 */
#ifndef MG_BATCHES_H
#define MG_BATCHES_H

#include "tape.h"

#define MG_CHUNK 8            /* positions in a vector */
#define MG_ALIGNMENT 64      /* bytes in a line of the cache, and in the widest vector */
#define MG_NO_ROW ((size_t)-1) /* no row of storage: the operand is leaves, or there is none */

typedef struct {
    uint8_t operation;
    bool causal;       /* attention: position t has lanes for positions 0 .. t; row h * positions + u */
    size_t lanes;      /* rows; of attention, heads * positions */
    size_t terms;      /* columns of a linear, lanes of x of an rms, lanes of a total's group, head size of a logit */
    size_t group;      /* exp, total, quotient: rows of a group; mix: head size */
    size_t first;      /* the row of lane 0 */
    size_t kept;       /* rows of partials: of an rms 1, of a surprisal 1, of a quotient 2 a group */
    size_t operand[2]; /* rows of its operands */
    mg_slot weights;   /* of a linear */
    size_t fan;        /* of a linear */
    double constant;
} mg_batch;

/* Rows row, row - 1, ... of the linear `batch`, `count` of them. */
typedef struct {
    size_t batch, row, count;
} mg_rows;

/* The linears that read the columns from row x. */
typedef struct {
    size_t x, columns;
    size_t lowest; /* the first of its batches: when the reverse comes there, it has the adjoints of all */
    size_t from, to; /* of runs[]: the order of rows at all positions but the exceptions */
    size_t exceptions, exceptions_end; /* of exception[] */
    bool chosen;     /* one linear; at each position the row of the target, which the search visits first, comes last */
} mg_fan;

typedef struct {
    size_t position, from, to; /* of runs[]: the order of rows at one position */
} mg_exception;

typedef struct {
    size_t positions, padded; /* padded: up to a whole number of chunks */
    size_t count;             /* of batches; the last is the mean */
    size_t fan_count, run_count, run_room, exception_count;
    size_t rows;              /* of storage */
    size_t scratch;           /* numbers of scratch that a row of kernels needs */
    mg_batch *batch;
    mg_fan *fan;
    mg_rows *run;
    mg_exception *exception;
    mg_slot *gathered; /* [2][positions]: the leaves that the embedding adds, for each operand that is leaves */
    size_t *chosen;    /* [positions]: the target's row */
    size_t embedding;  /* the batch with leaves as operands, or MG_NO_ROW */
} mg_batches;

/* What a row of kernels works on. The numbers are double, or float where the kernels are the fast ones. */
typedef struct {
    const mg_batches *batches;
    void *value, *adjoint;     /* [rows][padded] */
    void *scratch;
    void *leaf_value;          /* of slot `lowest` and those that follow; not written */
    void *leaf_adjoint;
    mg_slot lowest;
} mg_replay;

#endif
