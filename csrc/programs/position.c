/* position.c: the steps of one position, made of a plan's, and their numbers. */
#include "programs/position.h"

#include "kernels/kernels.h"

#include <string.h>

/* Room for n numbers, and a vector more. */
static double *take(const mg_position *position, size_t n) {
    return mg_allot(position->blocks, mg_padded(n) + MG_CHUNK, sizeof(double));
}

/* Gives every step its numbers; those that are read at earlier positions keep them. */
static bool lay_out(mg_position *position) {
    const mg_plan *plan = position->plan;
    mg_sample_step *steps = position->steps.step;
    size_t longest = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        if (k > position->target && k < plan->each) {
            continue;
        }
        const mg_step *from = &plan->step[k];
        const size_t rows = from->uniform ? from->groups : mg_rows_of(from, plan->positions);
        steps[k] = (mg_sample_step){.operation = from->operation, .causal = from->causal && !from->uniform,
                                    .causal_terms = from->causal_terms, .groups = from->groups,
                                    .width = from->uniform ? 1 : from->width, .terms = from->terms,
                                    .factors = from->factors, .constant = from->constant, .out = take(position, rows),
                                    .stride = mg_padded(rows), .room = mg_padded(plan->positions)};
        longest = rows > longest ? rows : longest;
    }
    position->steps.scratch[0] = take(position, longest);
    position->steps.scratch[1] = take(position, longest);
    for (size_t k = 0; k <= position->target; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            const mg_source *x = &plan->step[k].operand[f];
            mg_sample_step *past = &steps[x->step];
            if (x->from != MG_FROM_PAST || past->history != NULL) {
                continue;
            }
            if (plan->step[x->step].causal) {
                return false; /* the lanes of a position are not in its rows */
            }
            past->history = take(position, plan->positions * past->stride);
            past->turned = take(position, past->groups * past->width * past->room);
            position->kept += past->groups * past->width;
        }
    }
    return true;
}

/* Leaves that are copied, rows of columns: where to. */
static double *copy_of(mg_position *position, mg_copied copy) {
    copy.padded = mg_padded(copy.columns);
    copy.to = take(position, copy.rows * copy.padded);
    MG_PUSH(position->blocks, position->copy, position->copy_count, copy);
    return copy.to;
}

static void read_rows(const mg_sample_step *from, const mg_source *x, mg_sample_operand *operand) {
    if (x->spread) {
        *operand = (mg_sample_operand){.base = from->out, .group = 1};
    } else if (x->whole) {
        operand->base = from->out;
        operand->whole_offset = x->offset;
        operand->whole_group = x->group;
        operand->group = 0;
    } else {
        operand->base = from->out + x->offset;
    }
}

static void read_past(const mg_sample_step *from, const mg_source *x, mg_sample_operand *operand) {
    if (x->past == MG_BY_LANE) {
        operand->base = from->turned + x->offset * from->room;
        operand->group = x->group * from->room;
        operand->lane = 1;
        operand->term = x->term * from->room;
    } else {
        operand->base = from->history + x->offset;
        operand->term = from->stride;
    }
}

/* Weights are turned round; other leaves are read by maps alone. */
static void read_leaves(mg_position *position, const mg_step *step, const mg_source *x, mg_sample_operand *operand) {
    if (step->weights != MG_NOWHERE && x == &step->operand[step->weights]) {
        operand->base = copy_of(position, (mg_copied){.slot = x->leaves, .rows = step->terms, .columns = step->width,
                                                      .row_stride = x->term, .column_stride = x->lane});
        operand->lane = 1;
        operand->term = mg_padded(step->width);
    } else {
        const size_t reach = (step->groups - 1) * x->group + (step->width - 1) * x->lane;
        operand->base = copy_of(position, (mg_copied){.slot = x->leaves, .rows = 1, .columns = reach + 1,
                                                      .column_stride = 1});
    }
}

/* Operand f of a step; false when it is of no form that is known here. */
static bool read_operand(mg_position *position, size_t k, size_t f) {
    const mg_step *step = &position->plan->step[k];
    const mg_source *x = &step->operand[f];
    mg_sample_operand *operand = &position->steps.step[k].operand[f];
    *operand = (mg_sample_operand){.group = x->group, .lane = x->lane, .term = x->term};
    if (x->parts > 0 || (x->from == MG_FROM_LEAVES && step->causal)) {
        return false;
    }
    switch (x->from) {
    case MG_FROM_ROWS: read_rows(&position->steps.step[x->step], x, operand); return true;
    case MG_FROM_PAST: read_past(&position->steps.step[x->step], x, operand); return true;
    case MG_FROM_LEAVES: read_leaves(position, step, x, operand); return true;
    default: break; /* a constant, as only the loss is of what an input selects */
    }
    double *number = take(position, 1);
    if (number != NULL) {
        *number = x->constant;
    }
    *operand = (mg_sample_operand){.base = number};
    return true;
}

static bool read_operands(mg_position *position) {
    for (size_t k = 0; k <= position->target; k++) {
        mg_sample_step *step = &position->steps.step[k];
        for (size_t f = 0; f < step->factors; f++) {
            if (!read_operand(position, k, f)) {
                return false;
            }
        }
        mg_sample_operand *x = &step->operand[0], *y = &step->operand[1];
        if (step->operation == MG_SUM && step->factors == 2 && (step->width > 1 || step->causal)) {
            const mg_sample_operand first = *x;
            if (first.lane == 1 && y->lane == 0) { /* which comes first in a product makes no difference */
                *x = *y;
                *y = first;
            }
            step->products = x->lane == 0 && y->lane == 1;
        }
    }
    return true;
}

/* Do inputs choose among tokens: gathers by one before the one that is being drawn, which is what is selected? */
static bool fits_inputs(const mg_position *position) {
    const mg_plan *plan = position->plan;
    const mg_binding *bindings = position->program->bindings;
    bool fits = true;
    for (size_t g = 0; g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        for (size_t n = 0; n < plan->positions * gather->parts; n++) {
            const size_t number = plan->gathered[gather->slots + n].binding;
            fits = fits && (number == MG_NOWHERE || (bindings[number].count == position->vocabulary &&
                                                     bindings[number].input <= n / gather->parts));
        }
    }
    for (size_t t = 0; t < plan->positions; t++) {
        const mg_binding *drawn = &bindings[plan->selected[t].binding];
        fits = fits && drawn->count == position->vocabulary && drawn->input == t + 1;
    }
    return fits;
}

mg_status mg_position_set_up(mg_position *position, mg_blocks *blocks, mg_program *program) {
    const char *why_not;
    *position = (mg_position){.blocks = blocks, .program = program};
    MG_TRY(mg_plan_make(program, false, &position->plan, &why_not));
    const mg_plan *plan = position->plan;
    if (plan == NULL || plan->select_count != 1) {
        return MG_OPERATION;
    }
    const mg_step *target = &plan->step[plan->selects[0]];
    position->target = plan->selects[0];
    position->vocabulary = target->groups * target->width;
    position->steps.count = position->target + 1;
    position->steps.step = mg_allot(blocks, plan->step_count, sizeof *position->steps.step);
    if (blocks->failed) {
        return MG_NO_MEMORY;
    }
    if (!fits_inputs(position) || !lay_out(position)) {
        return MG_OPERATION;
    }
    if (blocks->failed) {
        return MG_NO_MEMORY;
    }
    const bool known = read_operands(position);
    return blocks->failed ? MG_NO_MEMORY : known ? MG_OK : MG_OPERATION;
}

/* ---- computing -------------------------------------------------------------------------------------------------- */

void mg_position_copy_leaves(const mg_position *position) {
    const double *value = position->program->tape->value;
    for (size_t n = 0; n < position->copy_count; n++) {
        const mg_copied *copy = &position->copy[n];
        for (size_t r = 0; r < copy->rows; r++) {
            for (size_t c = 0; c < copy->columns; c++) {
                copy->to[r * copy->padded + c] =
                    value[copy->slot + (mg_slot)(r * copy->row_stride + c * copy->column_stride)];
            }
        }
    }
}

bool mg_position_compute(const mg_position *position, const int32_t *path, size_t t) {
    const mg_plan *plan = position->plan;
    const double *value = position->program->tape->value;
    for (size_t k = plan->each; k < plan->step_count; k++) {
        const mg_gather *gather = &plan->gather[plan->step[k].gather];
        const mg_sample_step *step = &position->steps.step[k];
        for (size_t p = 0; p < gather->parts; p++) {
            const mg_read *read = &plan->gathered[gather->slots + t * gather->parts + p];
            size_t slot = read->at;
            if (read->binding != MG_NOWHERE) {
                const mg_binding *binding = &position->program->bindings[read->binding];
                slot = binding->table + (size_t)path[binding->input] * binding->size;
            }
            memcpy(step->out + p * gather->block, value + slot, gather->block * sizeof *value);
        }
    }
    return mg_kernels_chosen()->position(&position->steps, t);
}

void mg_position_save(const mg_position *position, size_t t, double *out) {
    for (size_t k = 0; k < position->plan->step_count; k++) {
        const mg_sample_step *step = &position->steps.step[k];
        if (step->history != NULL) {
            memcpy(out, step->history + t * step->stride, step->groups * step->width * sizeof *out);
            out += step->groups * step->width;
        }
    }
}

void mg_position_load(const mg_position *position, size_t t, const double *in) {
    for (size_t k = 0; k < position->plan->step_count; k++) {
        const mg_sample_step *step = &position->steps.step[k];
        mg_sample_keep(step, t, in);
        in += step->history == NULL ? 0 : step->groups * step->width;
    }
}
