/* roll.c: finds the steps of a plan: the statements of the last position, and what each of their operands is, such that
 * the same description gives every operand of every statement at all positions. Each is compared, so that a program
 * that does something else at some position has no plan.
 */
#include "programs/operands.h"
#include "tape/operations.h"

#include <string.h>

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

/* After how many lanes the operands of a map leave their stride; `lanes` if never. */
static size_t width_of_map(const mg_tape *tape, mg_slot head, size_t lanes, size_t f) {
    mg_slot(*at)[2] = tape->operand + head;
    for (size_t i = 2; i < lanes; i++) {
        if (at[i][f] - at[i - 1][f] != at[1][f] - at[0][f]) {
            return i;
        }
    }
    return lanes;
}

/* Groups, lanes and terms of a step. A map may have lanes for the positions so far, and then for each of its groups; or groups
   that its operands tell. */
static void size_step(mg_plan *plan, size_t k) {
    const mg_tape *tape = plan->program->tape;
    const size_t last = plan->positions - 1;
    const mg_slot head = mg_step_head(plan, k, last);
    const mg_shape shape = mg_shape_of(tape, head), first = mg_shape_of(tape, mg_step_head(plan, k, 0));
    mg_step *step = &plan->step[k];
    *step = (mg_step){.operation = (uint8_t)shape.operation, .groups = shape.groups, .width = shape.width,
                      .terms = shape.terms, .factors = shape.factors, .causal = shape.width != first.width,
                      .causal_terms = shape.terms != first.terms, .weights = MG_NOWHERE, .gather = MG_NOWHERE,
                      .fan = MG_NOWHERE};
    if (step->operation > MG_LANE) {
        return;
    }
    step->constant = tape->partial[head][1]; /* of an operation that has one */
    if (step->causal) {
        step->groups = first.width;
        step->width = last + 1;
    }
    for (size_t f = 0; !step->causal && f < step->factors; f++) {
        const size_t width = width_of_map(tape, head, shape.width, f);
        if (width < shape.width && shape.width % width == 0) {
            step->width = width;
            step->groups = shape.width / width;
        }
    }
}

/* Is the statement at a position of the step's kind and size? */
static bool same_size(const mg_plan *plan, size_t k, size_t t) {
    const mg_tape *tape = plan->program->tape;
    const mg_step *step = &plan->step[k];
    const mg_slot head = mg_step_head(plan, k, t);
    const mg_shape shape = mg_shape_of(tape, head);
    const bool map = step->operation < MG_LANE;
    return shape.operation == step->operation && shape.groups * shape.width == step->groups * mg_width_at(step, t) &&
           (map || shape.groups == step->groups) && shape.terms == mg_terms_at(step, t) &&
           shape.factors == step->factors &&
           (!mg_operation_constant(step->operation) ||
            memcmp(&tape->partial[head][1], &step->constant, sizeof step->constant) == 0);
}

/* Does the description give the operands of the statement at position t? Both are linear in group, lane and term but
   where they are listed, so that their origins, one step in each direction and all that is listed tell. */
static bool operand_agrees(const mg_plan *plan, size_t k, size_t f, size_t t) {
    const mg_tape *tape = plan->program->tape;
    const mg_step *step = &plan->step[k];
    const mg_source *x = &step->operand[f];
    const mg_slot head = mg_step_head(plan, k, t);
    const size_t width = mg_width_at(step, t), terms = mg_terms_at(step, t);
    if (x->from == MG_FROM_CONSTANT) { /* all lanes of a map, or of a sum, have the same one */
        const mg_slot first = mg_recorded_operand(plan, head, f, width, 0, 0, 0);
        bool same = step->operation < MG_LANE;
        for (size_t n = 0; same && n < step->groups * width; n++) {
            same = mg_recorded_operand(plan, head, f, width, n / width, n % width, 0) == first;
        }
        return same;
    }
    if (x->from == MG_FROM_SELECTED) {
        return true;
    }
    const bool map = step->operation < MG_LANE, by_term = x->parts > 0 || x->from == MG_FROM_PAST;
    for (size_t g = 0; g < step->groups && (map || g < 2); g++) {
        for (size_t i = 0; i < width && (map || by_term || i < 2); i++) {
            for (size_t c = 0; c < terms && (by_term || c < 2); c++) {
                const mg_slot slot = mg_source_slot(plan, step, f, t, g, i, c);
                if (mg_recorded_operand(plan, head, f, width, g, i, c) != slot) {
                    return false;
                }
            }
        }
    }
    if (map) {
        return true;
    }
    const mg_operands *recorded = &mg_statement_of(tape, head)->operand[f];
    return by_term || x->step >= plan->each || recorded->listing == MG_STRIDED;
}

/* Do the sums over positions that a kernel has side by side, of terms or of lanes, add to rows that differ? */
static bool adds_apart(const mg_step *step, const mg_source *past, const mg_source *x) {
    return past->past == MG_BY_LANE ? step->terms == 1 || (past->term > 0 && x->term > 0)
                                    : step->width == 1 || past->lane > 0;
}

/* A sum of products with leaves is done with the leaves' numbers side by side; what else may a sum be of? */
static bool may_sum(mg_plan *plan, mg_step *step) {
    const mg_source *a = &step->operand[0], *b = &step->operand[1];
    for (size_t f = 0; step->causal_terms && f < step->factors; f++) {
        const mg_source *x = &step->operand[f];
        if (!x->whole && !(x->from == MG_FROM_PAST && x->past == MG_BY_TERM)) {
            return mg_refuse_plan(plan, "a sum over the positions so far of something that does not grow with them");
        }
    }
    if (step->factors == 1) {
        if (a->from != MG_FROM_ROWS || a->parts > 0) {
            return mg_refuse_plan(plan, "a sum or a maximum of leaves, or over positions");
        }
        return true;
    }
    for (size_t f = 0; f < 2; f++) {
        const mg_source *w = &step->operand[f], *x = &step->operand[1 - f];
        if (w->from == MG_FROM_LEAVES && x->from == MG_FROM_ROWS && !x->whole && !step->causal_terms && !step->causal &&
            step->groups == 1 && (x->lane == 0 || step->width == 1) && (x->term > 0 || step->terms == 1)) {
            step->weights = f;
            return true;
        }
        if (w->from == MG_FROM_PAST && x->from == MG_FROM_ROWS && x->parts == 0 && x->lane == 0 &&
            (w->past == MG_BY_LANE || !step->causal) && adds_apart(step, w, x)) {
            return true; /* logits, or a mix of values: what is listed by position grows with it */
        }
    }
    if (a->from == MG_FROM_ROWS && b->from == MG_FROM_ROWS && a->parts == 0 && b->parts == 0) {
        return true;
    }
    return mg_refuse_plan(plan, "a sum of products of a kind that no plan has");
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

static bool find_positions(mg_plan *plan) {
    const mg_program *program = plan->program;
    const size_t positions = program->losses, count = program->statements.count, tail = program->mean ? 2 : 1;
    if (positions == 0) {
        return mg_refuse_plan(plan, "the result is not the sum or the mean of losses that were recorded one after the "
                                    "other, in one statement, as mean() makes it");
    }
    const size_t each = (count - tail) / positions;
    if (each * positions != count - tail) {
        return mg_refuse_plan(plan, "the losses were not recorded by the same statements, one loss after the other");
    }
    for (size_t t = 0; t < positions; t++) {
        if (mg_program_statement(program, program->loss.item[t]) != (t + 1) * each - 1) {
            return mg_refuse_plan(plan, "the losses were not recorded by the same statements, one loss after the other");
        }
    }
    for (size_t k = 0; k < each * positions; k++) {
        if (program->needed.item[k] != k / each) {
            return mg_refuse_plan(plan, "a statement is not needed by the loss of its own position");
        }
    }
    plan->positions = positions;
    plan->each = each;
    plan->loss = each - 1;
    return true;
}

/* Makes the steps, of the sizes that statements have at all positions. */
static bool make_steps(mg_plan *plan) {
    for (size_t k = 0; k < plan->each; k++) {
        if (!MG_PUSH(&plan->blocks, plan->step, plan->step_count, (mg_step){0})) {
            return false;
        }
        size_step(plan, k);
        for (size_t t = 0; t < plan->positions; t++) {
            if (!same_size(plan, k, t)) {
                return mg_refuse_plan(plan, "the statements of two positions differ");
            }
        }
    }
    return true;
}

bool mg_roll(mg_plan *plan) {
    if (!find_positions(plan) || !make_steps(plan)) {
        return false;
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            if (!mg_find_operand(plan, k, f)) {
                return false;
            }
            for (size_t t = 0; t < plan->positions; t++) {
                if (!operand_agrees(plan, k, f, t)) {
                    return mg_refuse_plan(plan, "an operand of a statement is another at some positions");
                }
            }
        }
        if (plan->step[k].operation > MG_LANE && !may_sum(plan, &plan->step[k])) {
            return false;
        }
    }
    mg_find_traits(plan);
    return true;
}
