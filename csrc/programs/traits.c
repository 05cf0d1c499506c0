/* traits.c: what follows from the operands of a plan's steps: where one row holds the value of many lanes, what has a
 * derivative, what must be 0 beyond a text's end, which partials are kept.
 */
#include "programs/plan.h"

/* What a source's row is spread over: only lanes that stand for the same lanes. */
static bool spreads(const mg_step *step, const mg_step *from, const mg_source *x) {
    return step->operation < MG_LANE && x->from == MG_FROM_ROWS && x->parts == 0 && x->lane == 1 && x->offset == 0 &&
           step->groups == from->groups && step->width == from->width && step->causal == from->causal &&
           (from->groups == 1 || x->group == (x->whole ? 1 : from->width));
}

static void find_uniform(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        mg_step *step = &plan->step[k];
        step->uniform = step->operation < MG_LANE && step->width > 1;
        for (size_t f = 0; f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            step->uniform = step->uniform && (x->lane == 0 || x->from == MG_FROM_CONSTANT) &&
                            (x->from == MG_FROM_ROWS || x->from == MG_FROM_CONSTANT);
        }
    }
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            for (size_t p = 0; p < x->parts; p++) {
                plan->step[plan->part[x->part + p].step].uniform = false;
            }
            if (x->from <= MG_FROM_SELECTED && x->parts == 0 && !spreads(step, &plan->step[x->step], x)) {
                plan->step[x->step].uniform = false;
            }
        }
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            mg_source *x = &plan->step[k].operand[f];
            x->spread = x->from == MG_FROM_ROWS && x->parts == 0 && plan->step[x->step].uniform;
        }
    }
}

static void find_derivatives(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        mg_step *step = &plan->step[k];
        step->derives = step->operation == MG_LARGEST && step->terms == 1; /* detach() is as a leaf, and ends there */
        for (size_t f = 0; f < step->factors; f++) {
            mg_source *x = &step->operand[f];
            x->derives = x->from == MG_FROM_LEAVES;
            for (size_t n = 0; n < mg_steps_read(x); n++) {
                x->derives = x->derives || plan->step[mg_step_read(plan, x, n)].derives;
            }
            step->derives = step->derives || (x->derives && step->operation != MG_LARGEST);
        }
    }
}

/* Steps of which inputs select lanes; and maps that are read so alone, and by maps of that kind lane by lane. */
static void find_chosen(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        plan->step[k].partial = plan->step[k].operation < MG_LANE && k != plan->loss;
    }
    for (size_t k = plan->each; k-- > 0;) { /* after all that read it */
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; f < step->factors && step->operation != MG_LARGEST; f++) {
            const mg_source *x = &step->operand[f];
            if (x->from <= MG_FROM_SELECTED && x->parts == 0) {
                mg_step *from = &plan->step[x->step];
                from->chosen = from->chosen || step->partial || x->from == MG_FROM_SELECTED;
                from->partial = from->partial && (x->from == MG_FROM_SELECTED || (step->partial && x->lane > 0));
            }
            for (size_t p = 0; p < x->parts; p++) {
                plan->step[plan->part[x->part + p].step].partial = false;
            }
        }
    }
}

/* Are the values of lanes ahead 0 by themselves, as long as all others are finite? */
static bool is_zero_ahead(const mg_plan *plan, size_t k) {
    const mg_step *step = &plan->step[k];
    for (size_t f = 0; step->operation == MG_MUL && f < 2; f++) {
        if (step->operand[f].from == MG_FROM_ROWS && step->operand[f].whole && is_zero_ahead(plan, step->operand[f].step)) {
            return true;
        }
    }
    return step->cut;
}

/* Does an adjoint of a lane ahead, whatever it is, add 0 to everything that is not itself a lane ahead? */
static bool drops_what_lies_ahead(const mg_plan *plan, size_t k) {
    const mg_step *step = &plan->step[k];
    if (step->operation == MG_EXP) { /* its partial is its value, which is 0 */
        return true;
    }
    if (step->operation != MG_MUL && step->operation != MG_ADD) {
        return false;
    }
    for (size_t f = 0; f < 2; f++) {
        const mg_source *x = &step->operand[f], *other = &step->operand[1 - f];
        const bool by_zero = step->operation == MG_MUL && other->from == MG_FROM_ROWS && other->whole &&
                             is_zero_ahead(plan, other->step);
        const bool on = x->from == MG_FROM_ROWS && x->whole && drops_what_lies_ahead(plan, x->step);
        if (x->derives && !by_zero && !on) {
            return false;
        }
    }
    return true;
}

/* Sums over the positions so far run over all of the text: the lanes that lie ahead must be 0, and get nothing. */
static void find_cuts(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        mg_step *step = &plan->step[k];
        step->cut = step->causal && step->operation == MG_EXP;
    }
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; step->operation == MG_SUM && step->causal_terms && f < step->factors; f++) {
            const size_t read = step->operand[f].step;
            if (step->operand[f].whole) {
                plan->step[read].cut = plan->step[read].cut || !is_zero_ahead(plan, read);
                plan->step[read].cut_adjoint = !drops_what_lies_ahead(plan, read);
            }
        }
    }
}

static void count_partials(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        mg_step *step = &plan->step[k];
        switch (step->operation) {
        case MG_ADD:
        case MG_MUL:
        case MG_RELU:
        case MG_EXP:
        case MG_SUM:
        case MG_LARGEST: break;
        case MG_POW: step->partials = step->constant == 2 ? 0 : 1; break;
        default: step->partials = step->factors;
        }
    }
}

void mg_find_traits(mg_plan *plan) {
    find_uniform(plan);
    find_derivatives(plan);
    find_chosen(plan);
    find_cuts(plan);
    count_partials(plan);
}
