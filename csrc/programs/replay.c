/* replay.c: the workspace in which a plan computes, and the numbers that go between it and the tape. */
#include "kernels/kernels.h"
#include "programs/inputs.h"
#include "programs/plan.h"

#include <math.h>
#include <string.h>

/* ---- the workspace ---------------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Columns of the texts that have position t. */
static size_t room_at(const size_t *length, size_t texts, size_t t) {
    size_t longer = 0;
    while (longer < texts && length[longer] > t) {
        longer++;
    }
    return texts == 1 ? 1 : mg_padded(longer);
}

/* Numbers of scratch: operands of a map that are no rows, and of one text a square of positions, or the columns of a fan at
   positions that have an order of their own. */
static size_t scratch_for(const mg_plan *plan, const size_t *length, size_t texts, size_t padded) {
    const size_t positions = length[0];
    size_t most = texts == 1 ? positions * padded : 0;
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = mg_rows_of(step, positions);
        most = step->operation < MG_LANE ? larger(most, 3 * padded + 2 * lanes * MG_CHUNK) : most;
    }
    for (size_t f = 0; f < plan->fan_count; f++) {
        const mg_fan *fan = &plan->fan[f];
        const size_t aside = texts == 1 ? fan->exceptions_end - fan->exceptions : 0;
        most = larger(most, padded + aside * plan->step[fan->first].terms);
    }
    return most;
}

/* Do the weights of two sums get products with the same columns? */
static bool same_columns(const mg_step *a, const mg_step *b) {
    const mg_source *x = &a->operand[1 - a->weights], *y = &b->operand[1 - b->weights];
    return x->parts == 0 && y->parts == 0 && x->step == y->step && x->offset == y->offset && x->term == y->term &&
           a->terms == b->terms;
}

bool mg_adds_rows(const mg_plan *plan, const mg_step *step) {
    bool gathered = false;
    for (size_t f = 0; f < step->factors && f < 2; f++) {
        const mg_source *x = &step->operand[f];
        gathered = gathered || (x->from == MG_FROM_ROWS && x->lane == 1 && x->step >= plan->each);
    }
    return gathered && step->operation == MG_ADD && step->groups == 1 && !step->causal && step->derives;
}

/* Which rows every step has for texts of so many positions. */
static bool lay_out(const mg_plan *plan, mg_workspace *at, size_t positions) {
    if (at->value_row == NULL) {
        at->value_row = mg_allot(&at->blocks, 4 * plan->step_count, sizeof *at->value_row);
        if (at->value_row == NULL) {
            return false;
        }
        at->partial_row = at->value_row + plan->step_count;
        at->adjoint_row = at->partial_row + plan->step_count;
        at->turned_column = at->adjoint_row + plan->step_count;
    }
    size_t values = 0, adjoints = 0, turned = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = mg_rows_of(step, positions);
        const size_t rows = step->uniform ? step->groups : lanes;
        at->value_row[k] = values;
        at->partial_row[k] = values + rows;
        at->adjoint_row[k] = adjoints;
        values += rows * (1 + step->partials);
        adjoints += step->derives && step->operation != MG_GATHER ? lanes : 0;
        if (step->weights != MG_NOWHERE) {
            size_t same = 0;
            while (same < k && (plan->step[same].weights == MG_NOWHERE || !same_columns(&plan->step[same], step))) {
                same++;
            }
            at->turned_column[k] = same < k ? at->turned_column[same] : turned;
            turned += same < k ? 0 : mg_padded(step->terms);
        } else if (mg_adds_rows(plan, step)) {
            at->turned_column[k] = turned;
            turned += mg_padded(step->width);
        }
    }
    at->value_rows = values;
    at->adjoint_rows = adjoints;
    at->turned_columns = turned;
    at->laid_out = positions;
    return true;
}

/* Where the texts are, and what they read: all arrays in one block. */
static bool index_texts(const mg_plan *plan, mg_workspace *workspace, const size_t *length, size_t texts,
                        mg_replay *replay) {
    const size_t positions = length[0], slots = plan->gathered_count / plan->positions;
    size_t columns = 0;
    for (size_t t = 0; t < positions; t++) {
        columns += room_at(length, texts, t);
    }
    const size_t padded = mg_padded(columns);
    const size_t sizes = positions + 1 + texts + texts + 1 + padded + plan->select_count * columns;
    workspace->index = mg_fit(&workspace->blocks, workspace->index,
                              sizes * sizeof(size_t) + slots * columns * sizeof(mg_slot));
    if (workspace->index == NULL) {
        return false;
    }
    size_t *start = workspace->index, *lengths = start + positions + 1, *line = lengths + texts;
    size_t *line_of = line + texts + 1, *selected = line_of + padded;
    mg_slot *gathered = (mg_slot *)(void *)(selected + plan->select_count * columns);
    start[0] = line[0] = 0;
    for (size_t t = 0; t < positions; t++) {
        start[t + 1] = start[t] + room_at(length, texts, t);
    }
    for (size_t d = 0; d < texts; d++) {
        lengths[d] = length[d];
        line[d + 1] = line[d] + length[d];
    }
    for (size_t place = 0, t = 0; place < padded; place++) {
        t += t + 1 < positions && place == start[t + 1];
        const size_t d = place - start[t];
        line_of[place] = d < texts && t < length[d] ? line[d] + t : line[texts];
    }
    *replay = (mg_replay){.plan = plan, .texts = texts, .positions = positions, .lines = line[texts] + 1,
                          .padded = padded, .computed = columns, .start = start, .length = lengths,
                          .line = line, .line_of = line_of, .gathered = gathered, .selected = selected, .columns = columns};
    for (size_t g = 0; g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        mg_slot *to = mg_gathered(replay, gather, 0);
        for (size_t t = 0; t < positions; t++) {
            const mg_slot *from = plan->gathered + gather->slots + t * gather->parts;
            for (size_t n = (start[t + 1] - start[t]) * gather->parts, p = 0; n > 0; n--, to++) {
                *to = from[p];
                p = p + 1 == gather->parts ? 0 : p + 1;
            }
        }
    }
    return true;
}

bool mg_workspace_enter(mg_tape *tape, const mg_plan *plan, mg_workspace *workspace, const size_t *length, size_t texts,
                        size_t size, mg_replay *replay) {
    workspace->blocks.tape = tape;
    if (workspace->laid_out != length[0] && !lay_out(plan, workspace, length[0])) {
        return false;
    }
    if (!index_texts(plan, workspace, length, texts, replay)) {
        return false;
    }
    const size_t scratch = scratch_for(plan, length, texts, replay->padded);
    const size_t values = workspace->value_rows * replay->padded, adjoints = workspace->adjoint_rows * replay->padded;
    const size_t turned = workspace->turned_columns * replay->lines;
    workspace->numbers = mg_fit(&workspace->blocks, workspace->numbers,
                                (values + adjoints + turned + scratch) * size + MG_ALIGNMENT);
    if (workspace->numbers == NULL) {
        return false;
    }
    char *value = workspace->numbers;
    value += MG_ALIGNMENT - (uintptr_t)value % MG_ALIGNMENT;
    replay->value_row = workspace->value_row;
    replay->partial_row = workspace->partial_row;
    replay->adjoint_row = workspace->adjoint_row;
    replay->turned_column = workspace->turned_column;
    replay->value = value;
    replay->adjoint = value + values * size;
    replay->turned = value + (values + adjoints) * size;
    replay->scratch = value + (values + adjoints + turned) * size;
    replay->value_rows = workspace->value_rows;
    replay->adjoint_rows = workspace->adjoint_rows;
    replay->scratch_numbers = scratch;
    replay->leaf_value = tape->value;
    replay->leaf_adjoint = tape->adjoint;
    return true;
}

size_t mg_workspace_bytes(const mg_plan *plan, size_t positions, size_t size) {
    size_t rows = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = mg_rows_of(step, positions);
        rows += (step->uniform ? step->groups : lanes) * (1 + step->partials) + (step->derives ? lanes : 0);
    }
    return rows * positions * size;
}

size_t mg_plan_leaves(const mg_plan *plan) {
    size_t leaves = 0;
    for (size_t r = 0; r < plan->region_count; r++) {
        leaves += mg_region_is_matrix(plan, &plan->region[r]) ? 0 : plan->region[r].end - plan->region[r].first;
    }
    return leaves;
}

bool mg_region_is_matrix(const mg_plan *plan, const mg_region *region) {
    const mg_event *event = &plan->event[region->from];
    const mg_step *step = &plan->step[event->step];
    if (region->to != region->from + 1 || step->weights != event->factor) {
        return false;
    }
    const mg_source *weights = &step->operand[step->weights];
    return weights->term == 1 && (weights->lane >= step->terms || step->width == 1);
}

/* ---- what the texts read ---------------------------------------------------------------------------------------- */

static mg_slot selected_by(const mg_program *program, const mg_binding *binding, int32_t value) {
    return value < 0 ? mg_selected_now(program->tape, binding)
                     : binding->table + (mg_slot)((size_t)value * binding->size);
}

void mg_plan_select(const mg_program *program, mg_plan *plan, const int32_t *values, size_t positions) {
    for (size_t n = 0; n < plan->input_count; n++) {
        const mg_plan_input *input = &plan->input[n];
        const mg_binding *binding = &program->bindings[input->binding];
        if (input->position >= positions) {
            continue;
        }
        const mg_slot slot = selected_by(program, binding, values[binding->input]);
        if (input->gather == MG_NOWHERE) {
            plan->selected[input->select * plan->positions + input->position] = slot - binding->table;
        } else {
            const mg_gather *gather = &plan->gather[input->gather];
            plan->gathered[gather->slots + input->position * gather->parts + input->part] = slot;
        }
    }
}

void mg_replay_select(const mg_program *program, const mg_replay *replay, size_t text, const int32_t *values) {
    const mg_plan *plan = replay->plan;
    for (size_t n = 0; n < plan->input_count; n++) {
        const mg_plan_input *input = &plan->input[n];
        const mg_binding *binding = &program->bindings[input->binding];
        if (input->position >= replay->length[text]) {
            continue;
        }
        const mg_slot slot = selected_by(program, binding, values[binding->input]);
        /* places without a text read what the first text does */
        const size_t from = replay->start[input->position] + text;
        const size_t to = text == 0 ? replay->start[input->position + 1] : from + 1;
        for (size_t column = from; column < to; column++) {
            if (input->gather == MG_NOWHERE) {
                mg_selected(replay, input->select)[column] = slot - binding->table;
            } else {
                mg_gathered(replay, &plan->gather[input->gather], column)[input->part] = slot;
            }
        }
    }
}

double mg_replay_loss(const mg_replay *replay, size_t text, size_t size) {
    const mg_plan *plan = replay->plan;
    const size_t first = replay->value_row[plan->loss] * replay->padded + text;
    double sum = 0;
    for (size_t t = 0; t < replay->length[text]; t++) {
        const size_t at = first + replay->start[t];
        sum += size == sizeof(float) ? (double)((const float *)replay->value)[at] : ((const double *)replay->value)[at];
    }
    return plan->mean ? sum * (1 / (double)replay->length[text]) : sum;
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
        const double *value = (const double *)replay->value + replay->value_row[k] * replay->padded;
        const double *partial = (const double *)replay->value + replay->partial_row[k] * replay->padded;
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
        const double *adjoint = (const double *)replay->adjoint + replay->adjoint_row[k] * replay->padded;
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

/* The plan at the program's own text. */
static bool enter(mg_program *program, mg_replay *replay) {
    mg_plan *plan = program->plan;
    const size_t length = program->losses;
    if (!mg_workspace_enter(program->tape, plan, &plan->workspace, &length, 1, sizeof(double), replay)) {
        return false;
    }
    mg_replay_select(program, replay, 0, program->values);
    return true;
}

bool mg_plan_compute(mg_program *program) {
    mg_tape *tape = program->tape;
    const mg_plan *plan = program->plan;
    mg_replay replay;
    if (!enter(program, &replay) || !mg_kernels_chosen()->forward(&replay) ||
        !isfinite(mg_replay_loss(&replay, 0, sizeof(double)))) {
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
    mg_replay replay;
    mg_slot result;
    if (!mg_find(tape, program->result, &result) || !enter(program, &replay) || !mg_kernels_chosen()->reverse(&replay)) {
        return false;
    }
    mg_kernels_chosen()->add_to_leaves(&(mg_text){&replay, 0}, 1, 0, 1, NULL);
    store_adjoints(program, &replay);
    tape->adjoint[result] = 1;
    if (program->mean) {
        tape->adjoint[tape->operand[result][0]] = 0 + tape->partial[result][0];
    }
    return true;
}
