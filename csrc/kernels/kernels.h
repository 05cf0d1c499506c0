/* kernels.h: the inner loops that are worth compiling for each kind of processor, behind one table.
 *
 * A row holds the same functions for one kind, all made of row.h. Rows of exact kernels (exact.c) work on double and
 * give the same bits; those of the fast mode (fast.c) work on float. The row is chosen once, from what the processor
 * can do (kernels.c); the environment variable MICROGPT_KERNELS names another (plain, avx2, avx512), for tests.
 */
#ifndef MG_KERNELS_H
#define MG_KERNELS_H

#include "kernels/float_mode.h"
#include "programs/plan.h"
#include "programs/position.h"

/* A step's numbers: those of the optimizer, see microgpt.h, and 1 - beta ** t for both betas. */
typedef struct {
    mg_optimizer is;
    double learning_rate, correction1, correction2;
} mg_step_numbers;

typedef struct {
    const char *name;
    size_t size; /* of its numbers: sizeof(double), or sizeof(float) in the fast mode */
    /* The optimizer's step of n parameters: updates data, m and v from grad, and sets grad to 0. No square may overflow. */
    void (*update)(size_t n, void *data, void *grad, void *m, void *v, const mg_step_numbers *step);
    /* The largest absolute value of n numbers that is finite; 2 where all are below 2. */
    double (*largest)(size_t n, const void *x);
    /* x[i] ** 2 in place of x[i]; infinite where Python raises. */
    void (*squares)(size_t n, void *x);
    /* sum += x */
    void (*add)(size_t n, const void *x, void *sum);
    /* sum += grad, and grad = 0 */
    void (*add_gradients)(size_t n, void *grad, void *sum);
    /* x *= share */
    void (*scale)(size_t n, void *x, double share);
    void (*from_double)(size_t n, const double *in, void *out);
    void (*to_double)(size_t n, const void *in, double *out);
    /* A plan, see plan.h: values, and then adjoints, of all rows; false when they leave ordinary numbers. */
    bool (*forward)(const mg_replay *replay);
    bool (*reverse)(const mg_replay *replay);
    /* After reverse: adds the gradients of texts of one plan to the leaves' adjoints, one text after the other, each summed
       from 0. Does part `part` of `parts` that share no leaf. `one` is room for a text's sums, mg_plan_leaves numbers that are
       0, and are again afterwards. NULL: there is one text, whose additions go to the adjoints one by one. */
    void (*add_to_leaves)(const mg_text *texts, size_t count, size_t part, size_t parts, void *one);
    /* All steps of one position, see position.h; false where Python would raise, or might. Of exact rows only. */
    bool (*position)(const mg_sample_plan *plan, size_t position);
} mg_kernels;

/* The float mode in which a row works, of the calling thread; to be put back. */
static inline mg_float_mode mg_enter_mode(const mg_kernels *kernels) {
    return mg_flush_subnormals(kernels->size == sizeof(float));
}

/* What the processor can do, and which row was asked for: exact.c and fast.c have the rows. */
typedef enum { MG_PLAIN, MG_AVX2, MG_AVX512, MG_NEON, MG_ROW_COUNT } mg_row;
mg_row mg_row_chosen(void);

/* What the compiler is told of the processor. GCC has to be asked for the widest vectors; clang takes them anyway, and
   would drop the whole attribute for a part of it that it does not know. */
#define MG_FOR_AVX2 __attribute__((target("avx2,fma")))
#ifdef __clang__
#define MG_FOR_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma")))
#else
#define MG_FOR_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")))
#endif

const mg_kernels *mg_exact_kernels(mg_row row);
const mg_kernels *mg_fast_kernels(mg_row row);
/* The exact ones. */
const mg_kernels *mg_kernels_chosen(void);

#endif
