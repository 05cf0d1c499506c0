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
        const size_t rest = g * x->group + i * x->lane + c % x->block;
        return mg_lane_of_step(plan, part->step, position, part->offset + rest);
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

/* ---- one selection after the other ------------------------------------------------------------------------------ */

/* How many values every input may have, so that all its bindings take them. */
static size_t values_of(const mg_program *program, size_t input) {
    size_t least = SIZE_MAX;
    for (size_t b = 0; b < program->binding_count; b++) {
        if (program->bindings[b].input == input && program->bindings[b].count < least) {
            least = program->bindings[b].count;
        }
    }
    return least == SIZE_MAX ? 1 : least;
}

/* How many lanes an input may select; 1 where none selects any. */
static size_t selectable(const mg_program *program) {
    size_t most = 1;
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        most = !binding->leaves && binding->count > most ? binding->count : most;
    }
    return most;
}

#define MOST_WORK ((size_t)4 << 30) /* words of the sweep's list, and lanes, that all rounds may take together */

/* Every input selects what number `first` is, and `each` more for each input before it. */
static void select_all(mg_program *program, int32_t *values, size_t first, size_t each) {
    for (size_t n = 0; n < program->inputs; n++) {
        values[n] = (int32_t)((first + n * each) % values_of(program, n));
    }
    mg_program_select(program, values);
}

/* A position that has an order of its own may have that of the lane that was selected there: it must be the order whatever
   lane is. */
static mg_status prove_exceptions(mg_program *program, mg_plan *plan, int32_t *values) {
    const size_t lanes = selectable(program);
    bool hold = true;
    for (size_t lane = 0; hold && plan->exceptional > 0 && lanes > 1 && lane < lanes; lane++) {
        select_all(program, values, lane, 0);
        MG_TRY(mg_program_order(program, plan->exceptional));
        hold = mg_exceptions_hold(plan);
    }
    return hold || plan->why_not != NULL ? MG_OK : MG_NO_MEMORY;
}

/* The steps, and if it is to be proved the order of the reverse, each lane that an input may select being selected at some
   position. Where there is none, plan->why_not says why. */
static mg_status fill(mg_program *program, mg_plan *plan, bool proved, int32_t *values) {
    const size_t rounds = proved && program->losses > 0 ? (selectable(program) - 1) / program->losses + 1 : 1;
    bool made = true;
    for (size_t r = 0; made && r < rounds; r++) {
        select_all(program, values, r * program->losses + 1, 1);
        made = r > 0 || mg_roll(plan);
        if (made && proved) {
            MG_TRY(mg_program_order(program, program->losses));
            mg_plan_select(plan);
            made = (r > 0 || mg_schedule(plan)) && mg_prove(plan);
        }
        if (made && rounds > 1 && program->order.count > MOST_WORK / rounds) {
            made = mg_refuse_plan(plan, "there are too many lanes that an input may select");
        }
    }
    if (made && proved) {
        return prove_exceptions(program, plan, values);
    }
    return made || plan->why_not != NULL ? MG_OK : MG_NO_MEMORY;
}

/* The operands are afterwards as before. */
mg_status mg_plan_make(mg_program *program, bool proved, mg_plan **out, const char **why_not) {
    mg_tape *tape = program->tape;
    const bool current = program->selections == tape->selections;
    mg_blocks scratch = {.tape = tape};
    mg_plan *plan = mg_new_owner(tape, sizeof *plan);
    int32_t *values = mg_allot(&scratch, program->inputs, sizeof *values);
    const mg_reached reached = proved ? mg_find_reached(program, &scratch) : (mg_reached){0};
    mg_slot *before = mg_allot(&scratch, program->binding_count, sizeof *before);
    mg_status status = plan == NULL || scratch.failed ? MG_NO_MEMORY : MG_OK;
    if (status == MG_OK) {
        for (size_t b = 0; b < program->binding_count; b++) {
            before[b] = mg_selected_now(tape, &program->bindings[b]);
        }
        plan->program = program;
        plan->reached = reached;
        status = fill(program, plan, proved, values);
        for (size_t b = 0; b < program->binding_count; b++) {
            mg_exchange(program, &program->bindings[b], before[b]);
        }
        program->selections = current ? tape->selections : program->selections;
        *why_not = plan->why_not;
    }
    mg_free_blocks(scratch);
    if (status == MG_OK && *why_not == NULL) {
        plan->reached = (mg_reached){0};
        mg_lay_out(plan);
        *out = plan;
    } else {
        mg_plan_free(plan);
        *out = NULL;
    }
    return status;
}
