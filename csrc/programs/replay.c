/* replay.c: the workspace in which a plan computes, and the numbers that go between it and the tape. */
#include "kernels/kernels.h"
#include "programs/plan.h"

#include <math.h>
#include <string.h>

/* ---- the workspace ---------------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* How many texts have position t. */
static size_t texts_at(const size_t *length, size_t texts, size_t t) {
    size_t longer = 0;
    while (longer < texts && length[longer] > t) {
        longer++;
    }
    return longer;
}

/* Numbers of scratch: operands of a map that are no rows, and of one text a square of positions, or the columns of a fan at
   positions that have an order of their own. */
static size_t scratch_for(const mg_plan *plan, size_t texts, size_t positions, size_t padded) {
    const size_t map = 3 * padded + 2 * mg_count_at(plan->most_lanes, positions) * MG_CHUNK;
    return texts > 1 ? map : larger(map, larger(positions * padded, padded + plan->most_aside));
}

/* Where the texts are, and what they read: all arrays in one block. */
static bool index_texts(const mg_plan *plan, mg_workspace *workspace, const size_t *length, size_t texts,
                        mg_replay *replay) {
    const size_t positions = length[0], slots = plan->gathered_count / plan->positions;
    size_t columns = 0;
    for (size_t t = 0; t < positions; t++) {
        columns += texts_at(length, texts, t);
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
        start[t + 1] = start[t] + texts_at(length, texts, t);
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
                          .padded = padded, .computed = columns, .start = start,
                          .length = lengths, .line = line, .line_of = line_of, .gathered = gathered, .selected = selected};
    for (size_t g = 0; g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        mg_slot *to = mg_gathered(replay, gather, 0);
        for (size_t t = 0; t < positions; t++) {
            const mg_read *from = plan->gathered + gather->slots + t * gather->parts;
            for (size_t n = (start[t + 1] - start[t]) * gather->parts, p = 0; n > 0; n--, to++) {
                *to = (mg_slot)from[p].at;
                p = p + 1 == gather->parts ? 0 : p + 1;
            }
        }
    }
    return true;
}

bool mg_workspace_enter(mg_tape *tape, const mg_plan *plan, mg_workspace *workspace, const size_t *length, size_t texts,
                        size_t size, mg_replay *replay) {
    workspace->blocks.tape = tape;
    if (!index_texts(plan, workspace, length, texts, replay)) {
        return false;
    }
    const size_t scratch = scratch_for(plan, texts, replay->positions, replay->padded);
    replay->value_rows = mg_count_at(plan->value_rows, replay->positions);
    const size_t values = replay->value_rows * replay->padded;
    const size_t adjoints = mg_count_at(plan->adjoint_rows, replay->positions) * replay->padded;
    const size_t turned = plan->turned_columns * replay->lines;
    workspace->numbers = mg_fit(&workspace->blocks, workspace->numbers,
                                (values + adjoints + turned + scratch) * size);
    if (workspace->numbers == NULL) {
        return false;
    }
    char *value = workspace->numbers;
    replay->value = value;
    replay->adjoint = value + values * size;
    replay->turned = value + (values + adjoints) * size;
    replay->scratch = value + (values + adjoints + turned) * size;
    replay->scratch_numbers = scratch;
    replay->leaf_value = tape->value;
    replay->leaf_adjoint = tape->adjoint;
    return true;
}

size_t mg_workspace_bytes(const mg_plan *plan, size_t positions, size_t size) {
    return (mg_count_at(plan->value_rows, positions) + mg_count_at(plan->adjoint_rows, positions)) * positions * size;
}

size_t mg_plan_leaves(const mg_plan *plan) {
    size_t leaves = 0;
    for (size_t r = 0; r < plan->region_count; r++) {
        leaves += plan->region[r].is_matrix ? 0 : plan->region[r].end - plan->region[r].first;
    }
    return leaves;
}

/* ---- what the texts read ---------------------------------------------------------------------------------------- */

static mg_slot selected_by(const mg_program *program, const mg_binding *binding, int32_t value) {
    return value < 0 ? mg_selected_now(program->tape, binding)
                     : binding->table + (mg_slot)((size_t)value * binding->size);
}

/* The columns of a position that read what a text does: its own, and of the first text also those that have no text. */
static void columns_of(const mg_replay *replay, size_t text, size_t position, size_t *from, size_t *to) {
    *from = replay->start[position] + text;
    *to = text == 0 ? replay->start[position + 1] : *from + 1;
}

void mg_replay_select(const mg_replay *replay, size_t text, const int32_t *values) {
    const mg_plan *plan = replay->plan;
    const mg_program *program = plan->program;
    size_t column, to;
    for (size_t g = 0; g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        for (size_t n = 0; n < replay->length[text] * gather->parts; n++) {
            const size_t number = plan->gathered[gather->slots + n].binding;
            if (number != MG_NOWHERE) {
                const mg_binding *binding = &program->bindings[number];
                const mg_slot slot = selected_by(program, binding, values[binding->input]);
                for (columns_of(replay, text, n / gather->parts, &column, &to); column < to; column++) {
                    mg_gathered(replay, gather, column)[n % gather->parts] = slot;
                }
            }
        }
    }
    for (size_t s = 0; s < plan->select_count; s++) {
        for (size_t t = 0; t < replay->length[text]; t++) {
            const mg_binding *binding = &program->bindings[plan->selected[s * plan->positions + t].binding];
            const mg_slot lane = selected_by(program, binding, values[binding->input]) - binding->table;
            for (columns_of(replay, text, t, &column, &to); column < to; column++) {
                mg_selected(replay, s)[column] = lane;
            }
        }
    }
}

double mg_replay_loss(const mg_replay *replay, size_t text, size_t size) {
    const mg_plan *plan = replay->plan;
    const size_t first = mg_value_row(replay, plan->loss) * replay->padded + text;
    double sum = 0;
    for (size_t t = 0; t < replay->length[text]; t++) {
        const size_t at = first + replay->start[t];
        sum += size == sizeof(float) ? (double)((const float *)replay->value)[at] : ((const double *)replay->value)[at];
    }
    return sum * mg_share_of(plan->program, replay->length[text]);
}

/* ---- to the tape ------------------------------------------------------------------------------------------------ */

/* The partials of a lane, which later sweeps over it use. */
static void store_partials(mg_tape *tape, const mg_step *step, const double *partial, size_t padded, mg_slot slot) {
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

/* The values of all lanes with their partials, or their adjoints. */
static void store(const mg_replay *replay, bool adjoints) {
    const mg_plan *plan = replay->plan;
    mg_tape *tape = plan->program->tape;
    const size_t padded = replay->padded;
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        const size_t rows = step->causal ? replay->positions : step->width;
        const double *value = (const double *)replay->value + mg_value_row(replay, k) * padded;
        const double *partial = value + step->groups * (step->uniform ? 1 : rows) * padded;
        const double *adjoint = (const double *)replay->adjoint + mg_adjoint_row(replay, k) * padded;
        for (size_t t = 0; t < replay->positions; t++) {
            const mg_slot first = mg_first_lane(tape, mg_step_head(plan, k, t));
            const size_t width = mg_width_at(step, t);
            for (size_t lane = 0; lane < step->groups * width; lane++) {
                const size_t own = lane / width * rows + lane % width, row = step->uniform ? lane / width : own;
                const mg_slot slot = first + (mg_slot)lane;
                if (adjoints) {
                    tape->adjoint[slot] = step->derives ? adjoint[own * padded + t] : 0;
                    continue;
                }
                tape->value[slot] = value[row * padded + t];
                if (step->operation < MG_LANE) {
                    store_partials(tape, step, partial + row * step->partials * padded + t, padded, slot);
                }
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
    mg_replay_select(replay, 0, program->values);
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
    store(&replay, false);
    bool computed = true;
    for (size_t k = plan->each * plan->positions; computed && k < program->statements.count; k++) {
        computed = mg_statement_forward(tape, program->statements.item[k], program->ends.item[k]) == MG_OK;
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
    store(&replay, true);
    tape->adjoint[result] = 1;
    if (program->mean) {
        tape->adjoint[tape->operand[result][0]] = 0 + tape->partial[result][0];
    }
    return true;
}
