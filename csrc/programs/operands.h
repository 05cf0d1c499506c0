/* operands.h: what an operand of a plan's step is, read off the statement of the last position. */
#ifndef MG_OPERANDS_H
#define MG_OPERANDS_H

#include "programs/plan.h"

/* What a statement reads at term c of lane i of group g, where groups have so many lanes. */
static inline mg_slot mg_recorded_operand(const mg_plan *plan, mg_slot head, size_t f, size_t width, size_t g, size_t i,
                                          size_t c) {
    const mg_tape *tape = plan->program->tape;
    return mg_code(tape, head) > MG_LANE ? mg_operand_at(tape, head, f, g, i, c)
                                         : tape->operand[head + g * width + i][f];
}

/* The binding of an operand, or MG_NOWHERE. */
size_t mg_binding_of(const mg_plan *plan, mg_slot head, size_t f, size_t entry);
/* Finds out what operand f of step k is; false, and why not. What it gives elsewhere is still to be compared. */
bool mg_find_operand(mg_plan *plan, size_t k, size_t f);

#endif
