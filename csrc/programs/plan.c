/* plan.c: makes the plan of a program. */
#include "programs/plan.h"

#include "programs/schedule.h"
#include "tape/statements.h"

void mg_plan_free(mg_plan *plan) {
    if (plan != NULL) {
        mg_free_blocks(plan->workspace.blocks);
        mg_free_blocks(plan->blocks);
    }
}

void mg_plan_select(mg_plan *plan) {
    const mg_binding *bindings = plan->program->bindings;
    const mg_tape *tape = plan->program->tape;
    for (size_t n = 0; n < plan->gathered_count; n++) {
        mg_read *read = &plan->gathered[n];
        read->at = read->binding == MG_NOWHERE ? read->at : mg_selected_now(tape, &bindings[read->binding]);
    }
    for (size_t n = 0; n < plan->selected_count; n++) {
        const mg_binding *binding = &bindings[plan->selected[n].binding];
        plan->selected[n].at = mg_selected_now(tape, binding) - binding->table;
    }
}

mg_slot mg_lane_of_step(const mg_plan *plan, size_t step, size_t position, size_t lane) {
    if (step >= plan->each) {
        const mg_gather *gather = &plan->gather[plan->step[step].gather];
        const mg_read *read = plan->gathered + gather->slots + position * gather->parts;
        return (mg_slot)(read[lane / gather->block].at + lane % gather->block);
    }
    return mg_first_lane(plan->program->tape, mg_step_head(plan, step, position)) + (mg_slot)lane;
}

mg_slot mg_source_slot(const mg_plan *plan, const mg_step *step, size_t f, size_t position, size_t g, size_t i,
                       size_t c) {
    const mg_source *x = &step->operand[f];
    switch (x->from) {
    case MG_FROM_LEAVES:
    case MG_FROM_CONSTANT: return x->leaves + (mg_slot)(g * x->group + i * x->lane + c * x->term);
    case MG_FROM_SELECTED:
        return mg_lane_of_step(plan, x->step, position, plan->selected[x->select * plan->positions + position].at);
    case MG_FROM_PAST: { /* its strides are 0 along the positions */
        const size_t at = x->past == MG_BY_LANE ? i : c;
        return mg_lane_of_step(plan, x->step, at, x->offset + g * x->group + i * x->lane + c * x->term);
    }
    default: break;
    }
    if (x->parts > 0) {
        const mg_part *part = &plan->part[x->part + c / x->block];
        return mg_lane_of_step(plan, part->step, position, part->offset + c % x->block);
    }
    const size_t inner = i * x->lane + c * x->term, outer = x->offset + g * x->group;
    return mg_lane_of_step(plan, x->step, position, x->whole ? outer * (position + 1) + inner : outer + inner);
}

bool mg_read_alike(const mg_plan *plan, const mg_step *a, const mg_step *b) {
    if (a->weights == MG_NOWHERE || b->weights == MG_NOWHERE) {
        return false;
    }
    const mg_source *x = &a->operand[1 - a->weights], *y = &b->operand[1 - b->weights];
    bool same = a->terms == b->terms && x->parts == y->parts && x->term == y->term;
    if (x->parts == 0) {
        return same && x->step == y->step && x->offset == y->offset;
    }
    for (size_t p = 0; same && p < x->parts; p++) {
        const mg_part *left = &plan->part[x->part + p], *right = &plan->part[y->part + p];
        same = x->block == y->block && left->step == right->step && left->offset == right->offset;
    }
    return same;
}

/* The operands are afterwards as before. */
mg_status mg_plan_make(mg_program *program, bool proved, mg_plan **out, const char **why_not) {
    mg_tape *tape = program->tape;
    const bool current = program->selections == tape->selections;
    mg_blocks scratch = {.tape = tape};
    mg_plan *plan = mg_new_owner(tape, sizeof *plan);
    const mg_reached reached = proved ? mg_find_reached(program, &scratch) : (mg_reached){0};
    mg_slot *before = mg_allot(&scratch, program->binding_count, sizeof *before);
    mg_status status = plan == NULL || scratch.failed ? MG_NO_MEMORY : MG_OK;
    if (status == MG_OK) {
        for (size_t b = 0; b < program->binding_count; b++) {
            before[b] = mg_selected_now(tape, &program->bindings[b]);
        }
        plan->program = program;
        plan->reached = reached;
        status = mg_fill_plan(program, plan, proved, &scratch);
        for (size_t b = 0; b < program->binding_count; b++) {
            mg_exchange(program, &program->bindings[b], before[b]);
        }
        program->selections = current ? tape->selections : program->selections;
        *why_not = plan->why_not;
    }
    mg_free_blocks(scratch);
    if (status == MG_OK && *why_not == NULL) {
        plan->reached = (mg_reached){0};
        plan->held = NULL;
        mg_lay_out(plan);
        *out = plan;
    } else {
        mg_plan_free(plan);
        *out = NULL;
    }
    return status;
}
