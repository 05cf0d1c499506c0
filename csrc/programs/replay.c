/* replay.c: the workspace in which a plan computes, and the numbers that go between it and the tape. */
#include "kernels/kernels.h"
#include "programs/plan.h"

#include <math.h>
#include <string.h>

/* ---- the workspace ---------------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Numbers of scratch: operands of a map that are no rows, a square of positions, or the columns of a sum at all positions. */
static size_t scratch_for(const mg_plan *plan, size_t positions, size_t padded) {
    size_t most = positions * padded;
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = step->groups * (step->causal ? positions : step->width);
        most = step->operation < MG_LANE ? larger(most, 3 * padded + 2 * lanes * MG_CHUNK) : most;
        if (plan->step[k].weights != MG_NOWHERE) {
            most = larger(most, positions * mg_padded(plan->step[k].terms));
        }
    }
    for (size_t f = 0; f < plan->fan_count; f++) {
        const mg_fan *fan = &plan->fan[f];
        most = larger(most, padded + (fan->exceptions_end - fan->exceptions) * plan->step[fan->first].terms);
    }
    return most;
}

/* Which rows every step has for a text of so many positions. */
static bool lay_out(mg_tape *tape, mg_plan *plan, size_t positions) {
    if (plan->value_row == NULL) {
        plan->value_row = mg_allot(tape, 3 * plan->step_count, sizeof *plan->value_row);
        if (plan->value_row == NULL) {
            return false;
        }
        plan->partial_row = plan->value_row + plan->step_count;
        plan->adjoint_row = plan->partial_row + plan->step_count;
    }
    size_t values = 0, adjoints = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = step->groups * (step->causal ? positions : step->width);
        const size_t rows = step->uniform ? step->groups : lanes;
        plan->value_row[k] = values;
        plan->partial_row[k] = values + rows;
        plan->adjoint_row[k] = adjoints;
        values += rows * (1 + step->partials);
        adjoints += step->derives && step->operation != MG_GATHER ? lanes : 0;
    }
    plan->value_rows = values;
    plan->adjoint_rows = adjoints;
    plan->scratch = scratch_for(plan, positions, mg_padded(positions));
    plan->laid_out = positions;
    return true;
}

bool mg_plan_enter(mg_tape *tape, mg_plan *plan, size_t positions, size_t size, mg_replay *replay) {
    if (plan->laid_out != positions && !lay_out(tape, plan, positions)) {
        return false;
    }
    const size_t padded = mg_padded(positions), values = plan->value_rows * padded, adjoints = plan->adjoint_rows * padded;
    const size_t bytes = (values + adjoints + plan->scratch) * size + MG_ALIGNMENT;
    if (plan->work_bytes < bytes) {
        mg_reallocate(tape, plan->work, plan->work_bytes, 0);
        plan->work_bytes = 0;
        plan->work = mg_reallocate(tape, NULL, 0, bytes);
        if (plan->work == NULL) {
            return false;
        }
        plan->work_bytes = bytes;
    }
    char *value = (char *)(((uintptr_t)plan->work + MG_ALIGNMENT - 1) / MG_ALIGNMENT * MG_ALIGNMENT);
    *replay = (mg_replay){.plan = plan, .positions = positions, .padded = padded, .value = value,
                          .adjoint = value + values * size, .scratch = value + (values + adjoints) * size,
                          .leaf_value = tape->value, .leaf_adjoint = tape->adjoint};
    return true;
}

void mg_plan_select(const mg_program *program, mg_plan *plan, const int32_t *values, size_t positions) {
    for (size_t n = 0; n < plan->input_count; n++) {
        const mg_plan_input *input = &plan->input[n];
        const mg_binding *binding = &program->bindings[input->binding];
        const int32_t value = values[binding->input];
        if (input->position >= positions) {
            continue;
        }
        const mg_slot slot = value < 0 ? mg_selected_now(program->tape, binding)
                                       : binding->table + (mg_slot)((size_t)value * binding->size);
        if (input->gather == MG_NOWHERE) {
            plan->selected[input->select * plan->positions + input->position] = slot - binding->table;
        } else {
            const mg_gather *gather = &plan->gather[input->gather];
            plan->gathered[gather->slots + input->position * gather->parts + input->part] = slot;
        }
    }
}

double mg_plan_loss(const mg_replay *replay, size_t size) {
    const mg_plan *plan = replay->plan;
    const size_t first = plan->value_row[plan->loss] * replay->padded;
    double sum = 0;
    for (size_t t = 0; t < replay->positions; t++) {
        sum += size == sizeof(float) ? (double)((const float *)replay->value)[first + t]
                                     : ((const double *)replay->value)[first + t];
    }
    return plan->mean ? sum * (1 / (double)replay->positions) : sum;
}

/* ---- to the tape ------------------------------------------------------------------------------------------------ */

/* The partials of a lane, which later sweeps over it use. */
static void store_partials(const mg_program *program, const mg_step *step, const double *partial, size_t padded,
                           mg_slot slot) {
    mg_tape *tape = program->tape;
    const mg_slot *operand = tape->operand[slot];
    double *out = tape->partial[slot];
    switch (step->operation) {
    case MG_ADD: break;
    case MG_MUL:
        out[0] = tape->value[operand[1]];
        out[1] = tape->value[operand[0]];
        break;
    case MG_RELU: out[0] = tape->value[operand[0]] > 0; break;
    case MG_EXP: out[0] = tape->value[slot]; break;
    default:
        if (step->partials == 0) {
            out[0] = 2 * tape->value[operand[0]];
        }
        for (size_t p = 0; p < step->partials; p++) {
            out[p] = partial[p * padded];
        }
    }
}

static void store_values(const mg_program *program, const mg_replay *replay) {
    mg_tape *tape = program->tape;
    const mg_plan *plan = replay->plan;
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        const size_t rows = step->causal ? replay->positions : step->width;
        const double *value = (const double *)replay->value + plan->value_row[k] * replay->padded;
        const double *partial = (const double *)replay->value + plan->partial_row[k] * replay->padded;
        for (size_t t = 0; t < replay->positions; t++) {
            const mg_slot first = mg_first_lane(tape, mg_step_head(program, plan, k, t));
            const size_t width = mg_width_at(step, t);
            for (size_t lane = 0; lane < step->groups * width; lane++) {
                const size_t row = step->uniform ? lane / width : lane / width * rows + lane % width;
                const mg_slot slot = first + (mg_slot)lane;
                tape->value[slot] = value[row * replay->padded + t];
                if (step->operation < MG_LANE) {
                    store_partials(program, step, partial + row * step->partials * replay->padded + t, replay->padded, slot);
                }
            }
        }
    }
}

static void store_adjoints(const mg_program *program, const mg_replay *replay) {
    mg_tape *tape = program->tape;
    const mg_plan *plan = replay->plan;
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        const size_t rows = step->causal ? replay->positions : step->width;
        const double *adjoint = (const double *)replay->adjoint + plan->adjoint_row[k] * replay->padded;
        for (size_t t = 0; t < replay->positions; t++) {
            const mg_slot first = mg_first_lane(tape, mg_step_head(program, plan, k, t));
            const size_t width = mg_width_at(step, t);
            for (size_t lane = 0; lane < step->groups * width; lane++) {
                const size_t row = lane / width * rows + lane % width;
                tape->adjoint[first + lane] = step->derives ? adjoint[row * replay->padded + t] : 0;
            }
        }
    }
}

bool mg_plan_compute(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_plan *plan = program->plan;
    mg_replay replay;
    mg_plan_select(program, plan, program->values, program->losses);
    if (!mg_plan_enter(tape, plan, program->losses, sizeof(double), &replay) || !mg_kernels_chosen()->forward(&replay) ||
        !isfinite(mg_plan_loss(&replay, sizeof(double)))) {
        return false;
    }
    store_values(program, &replay);
    bool computed = true;
    for (size_t k = plan->each * plan->positions; computed && k < program->statements.count; k++) {
        computed = mg_statement_forward(tape, program->statements.item[k]) == MG_OK;
    }
    return computed;
}

bool mg_plan_sweep(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_plan *plan = program->plan;
    mg_replay replay;
    mg_slot result;
    if (!mg_find(tape, program->result, &result) ||
        !mg_plan_enter(tape, plan, program->losses, sizeof(double), &replay) || !mg_kernels_chosen()->reverse(&replay)) {
        return false;
    }
    store_adjoints(program, &replay);
    tape->adjoint[result] = 1;
    if (program->mean) {
        tape->adjoint[tape->operand[result][0]] = 0 + tape->partial[result][0];
    }
    return true;
}
