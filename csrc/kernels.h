/* kernels.h: the inner loops that are worth compiling for each kind of processor, behind one table.
 *
 * A row holds the same functions for one kind, all made of row.h. Rows of exact kernels work on double and give the
 * same bits. The row is chosen once, from what the processor can do; the environment variable MICROGPT_KERNELS names
 * another (plain, avx2, avx512), for tests.
 */
#ifndef MG_KERNELS_H
#define MG_KERNELS_H

#include "batches.h"

/* The step's numbers for adam: the moments decay by beta1 and beta2, and are divided by the corrections. */
typedef struct {
    double learning_rate, beta1, beta2, correction1, correction2, epsilon;
} mg_adam_step;

typedef struct {
    const char *name;
    /* n parameters: updates data, m and v from grad, and sets grad to 0. No square may overflow. */
    void (*adam)(size_t n, void *data, void *grad, void *m, void *v, const mg_adam_step *step);
    /* The largest absolute value of n numbers that is finite. */
    double (*largest)(size_t n, const void *x);
    /* The batches of a program, see batches.h: false when they leave ordinary numbers. Reverse then changed no leaf. */
    bool (*forward)(const mg_replay *replay);
    bool (*reverse)(const mg_replay *replay);
} mg_kernels;

const mg_kernels *mg_kernels_chosen(void);

#endif
