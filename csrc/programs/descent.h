/* descent.h: down the sweep's list of a program, with the step and the position that each entry is of. */
#ifndef MG_DESCENT_H
#define MG_DESCENT_H

#include "programs/plan.h"
#include "tape/sweep.h"

typedef struct {
    const mg_plan *plan;
    size_t left; /* words of the list */
    /* the entry: a lane, and some of its terms; lane i of group g where it is of a sum */
    size_t step, position;
    mg_slot head, slot;
    size_t begin, end;
    size_t group, i;
} mg_descent;

static inline mg_descent mg_descent_of(const mg_plan *plan) {
    return (mg_descent){.plan = plan, .left = plan->program->order.count};
}

/* Goes on to the next entry that is of a step; false when there is none. */
static inline bool mg_descend(mg_descent *d) {
    const mg_program *program = d->plan->program;
    const uint32_t *item = program->order.item;
    const size_t all = d->plan->each * d->plan->positions;
    while (d->left > 0) {
        const uint32_t word = item[--d->left];
        d->slot = word & ~MG_RUN;
        d->begin = 0;
        d->end = 1;
        if (word & MG_RUN) {
            d->end = item[--d->left];
            d->begin = item[--d->left];
        }
        const size_t statement = d->plan->reached.statement[mg_reached_at(&d->plan->reached, d->slot)];
        if (statement < all) {
            d->step = statement % d->plan->each;
            d->position = statement / d->plan->each;
            d->head = program->statements.item[statement];
            if (d->plan->step[d->step].operation > MG_LANE) {
                const mg_slot lane = program->tape->operand[d->slot][1];
                const uint32_t width = mg_statement_of(program->tape, d->head)->width;
                d->group = lane / width;
                d->i = lane % width;
            }
            return true;
        }
    }
    return false;
}

/* What its lane reads at term c. */
static inline mg_slot mg_entry_operand(const mg_descent *d, size_t f, size_t c) {
    const mg_tape *tape = d->plan->program->tape;
    return d->plan->step[d->step].operation < MG_LANE ? tape->operand[d->slot][f]
                                                      : mg_operand_at(tape, d->head, f, d->group, d->i, c);
}

#endif
