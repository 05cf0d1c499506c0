/* first.c: which additions of the reverse are the first to the rows that they reach. Those begin with 0 in place of what the
 * rows hold, which then need not be cleared.
 */
#include "programs/plan.h"

#include <string.h>

typedef struct {
    mg_plan *plan;
    bool *reached; /* [step_count]: something was added to its rows */
    bool *row;     /* [most rows]: of the step at hand */
} firsts;

static size_t rows_of(const mg_step *step) { return step->groups * step->width; }

/* Does a source reach every row of the step that it reads exactly once, from so many lanes and terms? */
static bool reaches_all(const firsts *f, const mg_step *step, const mg_source *x, size_t lanes, size_t terms) {
    const mg_step *to = &f->plan->step[x->step];
    if (x->whole) { /* the rows of a group belong to one lane or term each */
        return x->offset == 0 && step->groups == to->groups && (to->groups == 1 || x->group == 1) &&
               (x->lane == 1 ? terms == 1 : lanes == 1);
    }
    const size_t rows = rows_of(to);
    if (to->causal || step->groups * lanes * terms != rows) {
        return false;
    }
    memset(f->row, 0, rows * sizeof *f->row);
    for (size_t n = 0; n < rows; n++) {
        const size_t g = n / (lanes * terms), i = n / terms % lanes, c = n % terms;
        const size_t row = x->offset + g * x->group + i * x->lane + c * x->term;
        if (row >= rows || f->row[row]) {
            return false;
        }
        f->row[row] = true;
    }
    return true;
}

/* An addition comes to the rows of step `number`, all of them if `all`. Is it the first, so that it may begin with 0? */
static bool reach(const firsts *f, size_t number, bool all) {
    const bool first = !f->reached[number] && all;
    if (!f->reached[number] && !all) {
        f->plan->step[number].clear = true;
    }
    f->reached[number] = true;
    return first;
}

/* Do two operands read the rows of one step alike, if the first reads all of them? */
static bool same_rows(const mg_source *x, const mg_source *y) {
    return x->from == y->from && x->group == y->group && x->lane == y->lane && x->term == y->term;
}

/* The lanes and terms of a step for which an operand's rows are added to one after the other: over the others there is one
   sum. A map adds up the lanes that read one row; sums over positions add up what is not of the operand. */
static void spread(const mg_step *step, const mg_source *x, size_t *lanes, size_t *terms) {
    const bool over_positions = step->factors == 2 && (step->operand[0].from == MG_FROM_PAST ||
                                                       step->operand[1].from == MG_FROM_PAST);
    *lanes = step->width;
    *terms = step->terms;
    if (step->operation != MG_SUM || over_positions) {
        *lanes = x->lane == 0 ? 1 : *lanes;
        *terms = x->term == 0 ? 1 : *terms;
    }
}

static void reach_operands(const firsts *f, mg_step *step) {
    mg_source *x = step->operand;
    const bool both = step->factors == 2 && mg_adds_to_rows(f->plan, &x[0]) && mg_adds_to_rows(f->plan, &x[1]) &&
                      x[0].step == x[1].step;
    const bool apart = both && !same_rows(&x[0], &x[1]);
    for (size_t n = 0; n < step->factors; n++) {
        size_t lanes, terms;
        if (mg_adds_to_rows(f->plan, &x[n])) {
            spread(step, &x[n], &lanes, &terms);
            const bool all = !apart && x[n].from != MG_FROM_SELECTED && reaches_all(f, step, &x[n], lanes, terms);
            x[n].first = reach(f, x[n].step, all);
        }
    }
}

/* A fan reads no lane twice, and no causal step. */
static void reach_fan(const firsts *f, const mg_fan *fan) {
    mg_step *step = &f->plan->step[fan->first];
    mg_source *x = &step->operand[1 - step->weights];
    if (!mg_adds_to_rows(f->plan, x)) {
        return;
    }
    for (size_t p = 0; p < x->parts; p++) {
        mg_part *part = &f->plan->part[x->part + p];
        const size_t rest = step->terms - p * x->block, terms = rest < x->block ? rest : x->block;
        part->first = reach(f, part->step, part->offset == 0 && rows_of(&f->plan->step[part->step]) == terms);
    }
    if (x->parts == 0) {
        x->first = reach(f, x->step, x->offset == 0 && rows_of(&f->plan->step[x->step]) == step->terms);
    }
}

void mg_find_first(mg_plan *plan) {
    size_t most = 1;
    for (size_t k = 0; k < plan->step_count; k++) {
        const size_t rows = rows_of(&plan->step[k]);
        most = rows > most ? rows : most;
    }
    mg_blocks scratch = {.tape = plan->blocks.tape};
    firsts f = {plan, mg_allot(&scratch, plan->step_count, sizeof *f.reached), mg_allot(&scratch, most, sizeof *f.row)};
    if (!scratch.failed) {
        for (size_t n = 0; n < plan->action_count; n++) {
            if (plan->action[n].is_fan) {
                reach_fan(&f, &plan->fan[plan->action[n].number]);
            } else {
                reach_operands(&f, &plan->step[plan->action[n].number]);
            }
        }
    }
    for (size_t k = 0; k < plan->step_count; k++) { /* also the losses, and where there was no memory to find out */
        plan->step[k].clear = plan->step[k].clear || scratch.failed || !f.reached[k];
    }
    mg_free_blocks(scratch);
}
