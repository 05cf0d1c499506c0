/* rules.h: the scalar operations: what each computes. */
#ifndef MG_RULES_H
#define MG_RULES_H

#include "microgpt.h"

/* What a rule returns: the value, and the partials with respect to a and b. For one-operand operations with a constant,
   b is the constant; the statement keeps it in place of the second partial. */
typedef struct {
    double value, da, db;
} mg_outcome;

typedef struct {
    const char *name;
    int arity;     /* operands; -1 where they vary */
    bool constant; /* takes a constant besides its operand */
    mg_status (*rule)(double a, double b, mg_outcome *out);
    const char *python[3]; /* the value and the partials, see mg_operation_python */
} mg_operation_row;
extern const mg_operation_row mg_table[MG_OPERATION_COUNT];

/* The arities by themselves, dense, for the sweep's inner loop. */
extern const uint8_t mg_scalar_arity[MG_SCALAR_COUNT];

/* The two that cannot fail, to be used where one of them is known to be meant. */
static inline mg_status mg_add_rule(double a, double b, mg_outcome *out) {
    *out = (mg_outcome){a + b, 1, 1};
    return MG_OK;
}
static inline mg_status mg_multiply_rule(double a, double b, mg_outcome *out) {
    *out = (mg_outcome){a * b, b, a};
    return MG_OK;
}

mg_status mg_pow(double a, double k, double *out); /* as Python's float ** float */

#endif
