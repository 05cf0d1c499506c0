/* operands.c: where the operands of a plan's steps come from: rows of other steps, the past, a selection, leaves. */
#include "programs/operands.h"

#include <string.h>

/* ---- reading a statement ---------------------------------------------------------------------------------------- */

/* An operand as it was recorded; of a map, the strides of its first lanes. */
static bool read_operand(const mg_plan *plan, const mg_step *step, mg_slot head, size_t f, mg_operands *out) {
    const mg_tape *tape = plan->program->tape;
    if (mg_code(tape, head) > MG_LANE) {
        *out = mg_statement_of(tape, head)->operand[f];
        return true;
    }
    const mg_slot base = tape->operand[head][f];
    *out = (mg_operands){.base = base,
                         .lane = step->width > 1 ? tape->operand[head + 1][f] - base : 0,
                         .group = step->groups > 1 ? tape->operand[head + step->width][f] - base : 0,
                         .listing = MG_STRIDED};
    return out->lane <= MG_MAX_SLOTS && out->group <= MG_MAX_SLOTS;
}

size_t mg_binding_of(const mg_plan *plan, mg_slot head, size_t f, size_t entry) {
    for (size_t b = 0; b < plan->program->binding_count; b++) {
        const mg_binding *binding = &plan->program->bindings[b];
        if (binding->head == head && binding->factor == f && binding->entry == entry) {
            return b;
        }
    }
    return MG_NOWHERE;
}

/* The step and position whose statement holds a slot that is no leaf; false when none does. */
static bool place_of(const mg_plan *plan, mg_slot slot, size_t *step, size_t *position) {
    const size_t statement = mg_program_statement(plan->program, slot);
    if (statement >= plan->each * plan->positions) {
        return false;
    }
    *step = statement % plan->each;
    *position = statement / plan->each;
    return true;
}

static size_t lane_of(const mg_plan *plan, mg_slot slot, size_t step, size_t position) {
    return slot - mg_first_lane(plan->program->tape, mg_step_head(plan, step, position));
}

/* ---- what inputs select ----------------------------------------------------------------------------------------- */

/* Makes a step of leaves that differ by position: `parts` runs of `block`. */
static bool add_gather(mg_plan *plan, size_t k, size_t f, size_t block, size_t parts, size_t *number) {
    const size_t at = plan->gather_count;
    const mg_step step = {.operation = MG_GATHER, .groups = 1, .width = parts * block, .terms = 1, .derives = true,
                          .weights = MG_NOWHERE, .gather = at, .fan = MG_NOWHERE};
    const mg_gather gather = {.parts = parts, .block = block, .slots = plan->gathered_count,
                              .before = plan->gathered_count / plan->positions};
    if (!MG_PUSH(&plan->blocks, plan->gather, plan->gather_count, gather)) {
        return false;
    }
    for (size_t n = 0; n < plan->positions * parts; n++) {
        const size_t t = n / parts, part = n % parts;
        const mg_slot head = mg_step_head(plan, k, t);
        const mg_slot slot = mg_recorded_operand(plan, head, f, plan->step[k].width, 0, 0, part * block);
        const mg_read read = {slot, mg_binding_of(plan, head, f, part)};
        if (!mg_all_leaves(plan->program->tape, slot, block)) {
            return mg_refuse_plan(plan, "an operand is leaves at one position, and something else at another");
        }
        if (!MG_PUSH(&plan->blocks, plan->gathered, plan->gathered_count, read)) {
            return false;
        }
    }
    *number = plan->step_count;
    return MG_PUSH(&plan->blocks, plan->step, plan->step_count, step);
}

/* The lane that an input selects. */
static bool add_selection(mg_plan *plan, size_t k, size_t f, mg_source *source) {
    for (size_t t = 0; t < plan->positions; t++) {
        const mg_slot head = mg_step_head(plan, k, t);
        const mg_slot slot = mg_recorded_operand(plan, head, f, 1, 0, 0, 0);
        const size_t binding = mg_binding_of(plan, head, f, 0);
        size_t step, position;
        if (binding == MG_NOWHERE || !place_of(plan, slot, &step, &position) || position != t ||
            (t > 0 && step != source->step) || step >= k || plan->step[step].causal ||
            plan->program->bindings[binding].size != 1 ||
            lane_of(plan, plan->program->bindings[binding].table, step, t) != 0) {
            return mg_refuse_plan(plan, "an input selects a lane of one statement at one position, and something else at "
                                     "another");
        }
        const mg_read read = {lane_of(plan, slot, step, t), binding};
        source->step = step;
        if (!MG_PUSH(&plan->blocks, plan->selected, plan->selected_count, read)) {
            return false;
        }
    }
    source->from = MG_FROM_SELECTED;
    source->select = plan->select_count;
    return MG_PUSH(&plan->blocks, plan->selects, plan->select_count, source->step);
}

/* ---- operands --------------------------------------------------------------------------------------------------- */

/* Lanes of a step at all positions so far: one at each. */
static bool is_past(const mg_plan *plan, mg_slot head, const mg_operands *x, mg_source *source) {
    const size_t positions = plan->positions;
    if (x->listing == MG_STRIDED || x->block != 1 || x->entries != positions) {
        return false;
    }
    const mg_tape *tape = plan->program->tape;
    const mg_slot *list = mg_list_of(tape, head, x);
    for (size_t e = 0; e < positions; e++) {
        size_t step, position;
        if (mg_is_leaf(mg_code(tape, list[e])) || !place_of(plan, list[e], &step, &position) || position != e ||
            (e > 0 && (step != source->step || lane_of(plan, list[e], step, e) != source->offset))) {
            return false;
        }
        source->step = step;
        source->offset = lane_of(plan, list[e], step, e);
    }
    source->from = MG_FROM_PAST;
    source->past = (mg_listing)x->listing;
    *(source->past == MG_BY_LANE ? &source->lane : &source->term) = 0; /* the next entry is another position's */
    return true;
}

/* Runs of lanes of several steps, or of leaves, one after the other as terms. */
static bool concatenate(mg_plan *plan, size_t k, size_t f, const mg_operands *x, mg_source *source) {
    const size_t last = plan->positions - 1;
    const mg_slot *list = mg_list_of(plan->program->tape, mg_step_head(plan, k, last), x);
    const mg_step *step = &plan->step[k];
    const size_t block = x->block < step->terms ? x->block : step->terms;
    size_t leaves = 0;
    for (size_t e = 0; e < x->entries; e++) {
        leaves += mg_is_leaf(mg_code(plan->program->tape, list[e]));
    }
    if (leaves > 0 && (step->causal || step->causal_terms)) {
        return mg_refuse_plan(plan, "a statement on the positions so far reads leaves that differ by position");
    }
    if (x->listing != MG_BY_TERM || (x->term != 1 && block > 1) || step->causal_terms || x->lane != 0 ||
        step->groups != 1) {
        return mg_refuse_plan(plan, "an operand is listed in a way that is no concatenation");
    }
    source->from = MG_FROM_ROWS;
    source->term = 1;
    if (leaves == x->entries && step->terms % block == 0) { /* one gather makes them one run */
        return add_gather(plan, k, f, block, x->entries, &source->step);
    }
    if (leaves > 0) {
        return mg_refuse_plan(plan, "a concatenation of leaves and of what is computed");
    }
    source->parts = x->entries;
    source->block = block;
    source->part = plan->part_count;
    for (size_t e = 0; e < x->entries; e++) {
        size_t number, position;
        if (!place_of(plan, list[e], &number, &position) || position != last || plan->step[number].causal) {
            return mg_refuse_plan(plan, "a position reads what another position computed");
        }
        const mg_part part = {.step = number, .offset = lane_of(plan, list[e], number, last)};
        if (!MG_PUSH(&plan->blocks, plan->part, plan->part_count, part)) {
            return false;
        }
    }
    return true;
}

/* Is the operand that begins at `base` the same leaf at all positions, or a constant of one value? */
static bool is_steady(const mg_plan *plan, size_t k, size_t f, mg_slot base) {
    const mg_tape *tape = plan->program->tape;
    const bool constant = mg_code(tape, base) == MG_CONSTANT;
    for (size_t t = 0; t < plan->positions; t++) {
        const mg_slot head = mg_step_head(plan, k, t);
        const mg_slot slot = mg_recorded_operand(plan, head, f, 1, 0, 0, 0);
        if (constant ? mg_code(tape, slot) != MG_CONSTANT ||
                           memcmp(&tape->value[slot], &tape->value[base], sizeof *tape->value) != 0
                     : slot != base || mg_binding_of(plan, head, f, 0) != MG_NOWHERE) {
            return false;
        }
    }
    return true;
}

static bool read_leaves(mg_plan *plan, size_t k, size_t f, const mg_operands *x, mg_source *source) {
    const mg_tape *tape = plan->program->tape;
    const mg_step *step = &plan->step[k];
    const size_t reach = mg_reach(step, source);
    if (!is_steady(plan, k, f, x->base)) {
        if (step->causal || step->causal_terms) {
            return mg_refuse_plan(plan, "a statement on the positions so far reads leaves that differ by position");
        }
        source->from = MG_FROM_ROWS;
        return add_gather(plan, k, f, reach + 1, 1, &source->step);
    }
    source->from = mg_code(tape, x->base) == MG_CONSTANT ? MG_FROM_CONSTANT : MG_FROM_LEAVES;
    source->leaves = x->base;
    source->constant = tape->value[x->base];
    return source->from == MG_FROM_CONSTANT || mg_all_leaves(tape, x->base, reach + 1) ||
           mg_refuse_plan(plan, "the operands of a statement run on from leaves into something else");
}

/* The strides in a causal step are whole groups of it, and its lanes in order. */
static bool read_whole(mg_plan *plan, const mg_step *step, const mg_step *from, mg_source *source) {
    const size_t positions = plan->positions;
    const bool by_lane = step->causal && source->lane == 1 && (source->term == 0 || step->terms == 1);
    const bool by_term = step->causal_terms && source->term == 1 && (source->lane == 0 || step->width == 1);
    if ((!by_lane && !by_term && positions > 1) || source->offset % positions != 0 || source->group % positions != 0 ||
        from->width != positions) {
        return mg_refuse_plan(plan, "a statement reads a part of the lanes that a statement has for the positions so far");
    }
    source->offset /= positions;
    source->group /= positions;
    source->lane = by_lane ? 1 : source->lane;
    source->whole = true;
    return true;
}

static bool read_lanes(mg_plan *plan, size_t k, const mg_operands *x, mg_source *source) {
    const size_t last = plan->positions - 1;
    size_t position;
    source->from = MG_FROM_ROWS;
    if (!place_of(plan, x->base, &source->step, &position) || position != last) {
        return mg_refuse_plan(plan, "a position reads what another position computed");
    }
    source->offset = lane_of(plan, x->base, source->step, last);
    const mg_step *from = &plan->step[source->step];
    return !from->causal || read_whole(plan, &plan->step[k], from, source);
}

/* Are all lanes that the source reads lanes of its step? What comes after them on the tape is something else. */
static bool stays_inside(const mg_plan *plan, const mg_step *step, const mg_source *x) {
    const size_t positions = plan->positions, rest = x->parts > 0 ? step->terms - x->block : 0;
    const size_t reach = mg_reach(step, x) - rest * x->term;
    if (x->from != MG_FROM_ROWS && x->from != MG_FROM_PAST) {
        return true;
    }
    if (x->whole) {
        return x->offset + (step->groups - 1) * x->group < plan->step[x->step].groups;
    }
    bool inside = x->parts > 0 || x->offset + reach < mg_rows_of(&plan->step[x->step], positions);
    for (size_t p = 0; p < x->parts; p++) {
        const mg_part *part = &plan->part[x->part + p];
        inside = inside && part->offset + reach < mg_rows_of(&plan->step[part->step], positions);
    }
    return inside;
}

bool mg_find_operand(mg_plan *plan, size_t k, size_t f) {
    const mg_step *step = &plan->step[k];
    const mg_slot head = mg_step_head(plan, k, plan->positions - 1);
    mg_operands x;
    if (!read_operand(plan, step, head, f, &x)) {
        return mg_refuse_plan(plan, "the lanes of a statement read their operands in no regular order");
    }
    mg_source source = {.group = x.group, .lane = x.lane, .term = x.term};
    bool known;
    if (x.listing != MG_STRIDED) {
        known = is_past(plan, head, &x, &source) || concatenate(plan, k, f, &x, &source);
    } else if (mg_is_leaf(mg_code(plan->program->tape, x.base))) {
        known = read_leaves(plan, k, f, &x, &source);
    } else if (mg_binding_of(plan, head, f, 0) == MG_NOWHERE) {
        known = read_lanes(plan, k, &x, &source);
    } else if (step->operation > MG_LANE || step->groups * step->width != 1) {
        return mg_refuse_plan(plan, "an input selects lanes for a statement of many lanes");
    } else {
        known = add_selection(plan, k, f, &source);
    }
    if (!known) {
        return false;
    }
    plan->step[k].operand[f] = source; /* the steps may have moved */
    return stays_inside(plan, &plan->step[k], &source) ||
           mg_refuse_plan(plan, "the operands of a statement run on from one statement's lanes into another's");
}
