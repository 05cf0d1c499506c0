/* plan.c: makes the plan of a program. */
#include "programs/plan.h"

#include "programs/inputs.h"
#include "programs/plain.h"
#include "programs/schedule.h"
#include "tape/statements.h"

void mg_plan_free(mg_plan *plan) {
    if (plan != NULL) {
        mg_free_blocks(plan->workspace.blocks);
        mg_free_blocks(plan->blocks);
    }
}

void mg_plan_bindings(const mg_plan *plan, size_t *binding) {
    for (size_t n = 0; n < plan->gathered_count; n++) {
        binding[n] = MG_NOWHERE;
    }
    for (size_t n = 0; n < plan->input_count; n++) {
        const mg_plan_input *input = &plan->input[n];
        if (input->gather != MG_NOWHERE) {
            const mg_gather *gather = &plan->gather[input->gather];
            binding[gather->slots + input->position * gather->parts + input->part] = input->binding;
        }
    }
}

mg_slot mg_lane_of_step(const mg_program *program, const mg_plan *plan, size_t step, size_t position, size_t lane) {
    if (step >= plan->each) {
        const mg_gather *gather = &plan->gather[plan->step[step].gather];
        const mg_slot *slots = plan->gathered + gather->slots + position * gather->parts;
        return slots[lane / gather->block] + (mg_slot)(lane % gather->block);
    }
    return mg_first_lane(program->tape, mg_step_head(program, plan, step, position)) + (mg_slot)lane;
}

mg_slot mg_source_slot(const mg_program *program, const mg_plan *plan, const mg_step *step, size_t f, size_t position,
                       size_t g, size_t i, size_t c) {
    const mg_source *x = &step->operand[f];
    switch (x->from) {
    case MG_FROM_LEAVES:
    case MG_FROM_CONSTANT: return x->leaves + (mg_slot)(g * x->group + i * x->lane + c * x->term);
    case MG_FROM_SELECTED:
        return mg_lane_of_step(program, plan, x->step, position,
                               plan->selected[x->select * plan->positions + position]);
    case MG_FROM_PAST: {
        const size_t at = x->past == MG_BY_LANE ? i : c, rest = x->past == MG_BY_LANE ? c * x->term : i * x->lane;
        return mg_lane_of_step(program, plan, x->step, at, x->offset + g * x->group + rest);
    }
    default: break;
    }
    if (x->parts > 0) {
        const mg_part *part = &plan->part[x->part + c / x->block];
        return mg_lane_of_step(program, plan, part->step, position,
                               part->offset + g * x->group + i * x->lane + c % x->block);
    }
    const size_t inner = i * x->lane + c * x->term, outer = x->offset + g * x->group;
    return mg_lane_of_step(program, plan, x->step, position, x->whole ? outer * (position + 1) + inner : outer + inner);
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

/* A position that has an order of its own may have that of the lane that was selected there: it must be the order whatever
   lane is. */
static mg_status prove_exceptions(mg_program *program, mg_plan *plan, int32_t *values, const char **why_not) {
    const size_t positions = mg_exceptional_positions(plan), lanes = selectable(program);
    for (size_t lane = 0; positions > 0 && lanes > 1 && lane < lanes; lane++) {
        bool hold;
        for (size_t n = 0; n < program->inputs; n++) {
            values[n] = (int32_t)(lane % values_of(program, n));
        }
        mg_program_select(program, values);
        MG_TRY(mg_program_order(program, positions));
        MG_TRY(mg_exceptions_hold(program, plan, positions, &hold));
        if (!hold) {
            *why_not = "the gradients would be added in another order than the sweep's";
            return MG_OK;
        }
    }
    return MG_OK;
}

/* Each lane that an input may select is selected at some position. */
static mg_status prove_all(mg_program *program, mg_plan *plan, int32_t *values, const char **why_not) {
    const size_t rounds = (selectable(program) - 1) / program->losses + 1;
    mg_status status = MG_OK;
    for (size_t r = 0; r < rounds; r++) {
        for (size_t n = 0; n < program->inputs; n++) {
            values[n] = (int32_t)((r * program->losses + n + 1) % values_of(program, n));
        }
        mg_program_select(program, values);
        status = mg_program_order(program, program->losses);
        if (status != MG_OK) {
            return status;
        }
        bool made = r > 0 || mg_roll(program, plan, why_not);
        mg_plan_select(program, plan, values, program->losses);
        made = made && (r > 0 || mg_schedule(program, plan, why_not)) && mg_prove(program, plan, why_not);
        if (!made) {
            return *why_not == NULL ? MG_NO_MEMORY : MG_OK;
        }
        if (rounds > 1 && program->order.count > MOST_WORK / rounds) {
            *why_not = "there are too many lanes that an input may select";
            return MG_OK;
        }
    }
    return prove_exceptions(program, plan, values, why_not);
}

/* The statements as steps, with no order of the reverse. */
static mg_status roll_all(mg_program *program, mg_plan *plan, int32_t *values, const char **why_not) {
    for (size_t n = 0; n < program->inputs; n++) {
        values[n] = (int32_t)((n + 1) % values_of(program, n));
    }
    mg_program_select(program, values);
    return mg_roll(program, plan, why_not) || *why_not != NULL ? MG_OK : MG_NO_MEMORY;
}

typedef mg_status roller(mg_program *program, mg_plan *plan, int32_t *values, const char **why_not);

/* NULL, with a status, or a reason. The operands are afterwards as before. */
static mg_status make(mg_program *program, roller *steps_of, mg_plan **out, const char **why_not) {
    mg_tape *tape = program->tape;
    *out = NULL;
    *why_not = NULL;
    if (program->losses == 0) {
        *why_not = "the result is not the sum or the mean of losses, recorded one after the other";
        return MG_OK;
    }
    const bool current = program->selections == tape->selections;
    mg_blocks scratch = {.tape = tape};
    mg_plan *plan = mg_new_owner(tape, sizeof *plan);
    int32_t *values = mg_allot(&scratch, program->inputs, sizeof *values);
    mg_slot *before = mg_allot(&scratch, program->binding_count, sizeof *before);
    mg_status status = plan == NULL || scratch.failed ? MG_NO_MEMORY : MG_OK;
    if (status == MG_OK) {
        for (size_t b = 0; b < program->binding_count; b++) {
            before[b] = mg_selected_now(tape, &program->bindings[b]);
        }
        status = steps_of(program, plan, values, why_not);
        for (size_t b = 0; b < program->binding_count; b++) {
            mg_exchange(program, &program->bindings[b], before[b]);
        }
        program->selections = current ? tape->selections : program->selections;
    }
    mg_free_blocks(scratch);
    if (status != MG_OK || *why_not != NULL) {
        mg_plan_free(plan);
    } else {
        mg_lay_out(plan);
        *out = plan;
    }
    return status;
}

mg_status mg_plan_make(mg_program *program, mg_plan **out, const char **why_not) {
    return make(program, prove_all, out, why_not);
}

mg_status mg_plan_roll(mg_program *program, mg_plan **out, const char **why_not) {
    return make(program, roll_all, out, why_not);
}
