/* operations.h: the slots that hold scalar operations. */
#ifndef MG_OPERATIONS_H
#define MG_OPERATIONS_H

#include "tape/rules.h"
#include "tape/tape.h"

void mg_write_slot(mg_tape *tape, mg_slot slot, int32_t operation, double value, const mg_slot operand[2],
                   const double partial[2]);
/* Writes a statement of one lane into a reserved slot: an operation on the primals of its operands, or of one and k. */
mg_status mg_compute_slot(mg_tape *tape, mg_slot slot, int32_t operation, const mg_slot operand[2], double k);

/* Compute a scalar statement anew from its operands' primals: by its rule, or at once where that is an addition or a
   multiplication, as nearly always. */
mg_status mg_rule_forward(mg_tape *tape, mg_slot slot);
static inline mg_status mg_scalar_forward(mg_tape *tape, mg_slot slot) {
    const mg_slot *operand = tape->operand[slot];
    double a = tape->value[operand[0]], b = tape->value[operand[1]];
    switch (mg_code(tape, slot)) {
    case MG_ADD: tape->value[slot] = a + b; return MG_OK;
    case MG_MUL:
        tape->value[slot] = a * b;
        tape->partial[slot][0] = b;
        tape->partial[slot][1] = a;
        return MG_OK;
    default: return mg_rule_forward(tape, slot);
    }
}

#endif
