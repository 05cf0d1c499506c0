/* roll.c: finds the steps of a plan: the statements of the last position, and what each of their operands is, such that
 * the same description gives every operand of every statement at all positions. Each is compared, so that a program
 * that does something else at some position has no plan.
 */
#include "tape/operations.h"
#include "programs/plain.h"
#include "programs/plan.h"

#include <string.h>

typedef struct {
    const mg_program *program;
    mg_plan *plan;
    const char **why_not;
} rolling;

static bool refuse(const rolling *r, const char *why_not) {
    *r->why_not = why_not;
    return false;
}

static bool no_memory(const rolling *r) { return refuse(r, NULL); }

static mg_slot head_at(const rolling *r, size_t k, size_t t) { return mg_step_head(r->program, r->plan, k, t); }

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

/* ---- reading a statement ---------------------------------------------------------------------------------------- */

/* An operand of a statement, as it was recorded: see mg_operands. */
typedef struct {
    mg_slot base;
    size_t group, lane, term;
    mg_listing listing;
    size_t entries, block;
} reading;

static mg_slot operand_at(const rolling *r, mg_slot head, size_t f, size_t width, size_t g, size_t i, size_t c) {
    const mg_tape *tape = r->program->tape;
    return mg_code(tape, head) > MG_LANE ? mg_operand_at(tape, head, f, g, i, c)
                                         : tape->operand[head + g * width + i][f];
}

/* After how many lanes the operands of a map leave their stride; `lanes` if never. */
static size_t width_of_map(const mg_tape *tape, mg_slot head, size_t lanes, size_t f) {
    const mg_slot base = tape->operand[head][f];
    const mg_slot stride = lanes > 1 ? tape->operand[head + 1][f] - base : 0;
    for (size_t i = 2; i < lanes; i++) {
        if (tape->operand[head + i][f] != base + (mg_slot)(i * stride)) {
            return i;
        }
    }
    return lanes;
}

static bool read_operand(const rolling *r, const mg_step *step, mg_slot head, size_t f, reading *out) {
    const mg_tape *tape = r->program->tape;
    *out = (reading){.base = operand_at(r, head, f, step->width, 0, 0, 0), .listing = MG_STRIDED, .block = 1};
    if (mg_code(tape, head) > MG_LANE) {
        const mg_operands *x = &mg_statement_of(tape, head)->operand[f];
        out->group = x->group;
        out->lane = x->lane;
        out->term = x->term;
        out->listing = (mg_listing)x->listing;
        if (x->listing != MG_STRIDED) {
            out->entries = x->entries;
            out->block = x->block;
        }
        return true;
    }
    const mg_slot lane = step->width > 1 ? tape->operand[head + 1][f] - out->base : 0;
    const mg_slot group = step->groups > 1 ? tape->operand[head + step->width][f] - out->base : 0;
    out->lane = lane;
    out->group = group;
    return lane <= MG_MAX_SLOTS && group <= MG_MAX_SLOTS;
}

/* The binding of an operand, or MG_NOWHERE. */
static size_t binding_of(const rolling *r, mg_slot head, size_t f, size_t entry) {
    for (size_t b = 0; b < r->program->binding_count; b++) {
        const mg_binding *binding = &r->program->bindings[b];
        if (binding->head == head && binding->factor == f && binding->entry == entry) {
            return b;
        }
    }
    return MG_NOWHERE;
}

/* The step and position whose statement holds a slot that is no leaf; false when none does. */
static bool place_of(const rolling *r, mg_slot slot, size_t *step, size_t *position) {
    const size_t statement = mg_program_statement(r->program, slot);
    if (statement >= r->plan->each * r->plan->positions) {
        return false;
    }
    *step = statement % r->plan->each;
    *position = statement / r->plan->each;
    return true;
}

static size_t lane_of(const rolling *r, mg_slot slot, size_t step, size_t position) {
    return slot - mg_first_lane(r->program->tape, head_at(r, step, position));
}

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

/* Groups, lanes and terms of a step. */
static bool size_step(const rolling *r, size_t k) {
    const mg_tape *tape = r->program->tape;
    mg_step *step = &r->plan->step[k];
    const size_t last = r->plan->positions - 1;
    const mg_slot head = head_at(r, k, last), first = head_at(r, k, 0);
    step->operation = mg_code(tape, head);
    step->terms = 1;
    step->weights = step->gather = MG_NOWHERE;
    const size_t lanes = mg_lanes(tape, head), at_first = mg_lanes(tape, first);
    if (step->operation < MG_LANE) {
        step->factors = mg_scalar_arity[step->operation];
        step->constant = mg_operation_constant(step->operation) ? tape->partial[head][1] : 0;
        step->causal = last > 0 && lanes != at_first;
        step->groups = 1;
        step->width = lanes;
        if (step->causal) {
            step->groups = at_first;
            step->width = last + 1;
        }
        for (size_t f = 0; !step->causal && f < step->factors; f++) {
            const size_t width = width_of_map(tape, head, lanes, f);
            if (width < lanes && lanes % width == 0 && step->groups == 1) {
                step->width = width;
                step->groups = lanes / width;
            }
        }
        return true;
    }
    const mg_statement *s = mg_statement_of(tape, head), *s0 = mg_statement_of(tape, first);
    step->factors = s->factors;
    step->groups = s->groups;
    step->width = s->width;
    step->terms = s->terms;
    step->causal = s->width != s0->width;
    step->causal_terms = s->terms != s0->terms;
    return true;
}

/* Is the statement at a position of the step's kind and size? */
static bool same_size(const rolling *r, size_t k, size_t t) {
    const mg_tape *tape = r->program->tape;
    const mg_step *step = &r->plan->step[k];
    const mg_slot head = head_at(r, k, t);
    const size_t lanes = step->groups * mg_width_at(step, t);
    if (mg_code(tape, head) != step->operation || mg_lanes(tape, head) != lanes) {
        return false;
    }
    if (step->operation < MG_LANE) {
        return !mg_operation_constant(step->operation) ||
               memcmp(&tape->partial[head][1], &step->constant, sizeof step->constant) == 0;
    }
    const mg_statement *s = mg_statement_of(tape, head);
    return s->groups == step->groups && s->width == mg_width_at(step, t) && s->terms == mg_terms_at(step, t) &&
           s->factors == step->factors;
}

/* ---- operands --------------------------------------------------------------------------------------------------- */

/* Makes a step of leaves that differ by position. `entries` runs of `block`. */
static bool add_gather(const rolling *r, size_t k, size_t f, const reading *x, size_t block, size_t parts,
                       size_t *number) {
    mg_plan *plan = r->plan;
    const mg_tape *tape = r->program->tape;
    mg_gather *gather = mg_append(&plan->blocks, &plan->gather, &plan->gather_count, sizeof *gather);
    if (gather == NULL) {
        return no_memory(r);
    }
    const size_t at = plan->gather_count - 1;
    *gather = (mg_gather){.parts = parts, .block = block, .slots = plan->gathered_count};
    for (size_t n = 0; n < plan->positions * parts; n++) {
        mg_slot *slot = mg_append(&plan->blocks, &plan->gathered, &plan->gathered_count, sizeof *slot);
        const size_t t = n / parts, part = n % parts;
        const mg_slot head = head_at(r, k, t);
        if (slot == NULL) {
            return no_memory(r);
        }
        *slot = operand_at(r, head, f, plan->step[k].width, 0, x->listing == MG_BY_LANE ? part * x->block : 0,
                           x->listing == MG_BY_TERM ? part * x->block : 0);
        if (!mg_all_leaves(tape, *slot, block)) {
            return refuse(r, "an operand is leaves at one position, and something else at another");
        }
        const size_t binding = binding_of(r, head, f, part);
        if (binding != MG_NOWHERE) {
            mg_plan_input *input = mg_append(&plan->blocks, &plan->input, &plan->input_count, sizeof *input);
            if (input == NULL) {
                return no_memory(r);
            }
            *input = (mg_plan_input){binding, t, at, part, MG_NOWHERE};
        }
    }
    mg_step *step = mg_append(&plan->blocks, &plan->step, &plan->step_count, sizeof *step);
    if (step == NULL) {
        return no_memory(r);
    }
    *step = (mg_step){.operation = MG_GATHER, .groups = 1, .width = parts * block, .terms = 1,
                      .derives = true, .weights = MG_NOWHERE, .gather = at};
    *number = plan->step_count - 1;
    return true;
}

/* The lane that an input selects. */
static bool add_selection(const rolling *r, size_t k, size_t f, mg_source *source) {
    mg_plan *plan = r->plan;
    const size_t number = plan->select_count;
    size_t *selects = mg_append(&plan->blocks, &plan->selects, &plan->select_count, sizeof *selects);
    if (selects == NULL) {
        return no_memory(r);
    }
    for (size_t t = 0; t < plan->positions; t++) {
        const mg_slot head = head_at(r, k, t), slot = operand_at(r, head, f, 1, 0, 0, 0);
        const size_t binding = binding_of(r, head, f, 0);
        size_t step, position;
        if (binding == MG_NOWHERE || !place_of(r, slot, &step, &position) || position != t ||
            (t > 0 && step != source->step) || step >= k || plan->step[step].causal ||
            r->program->bindings[binding].size != 1 ||
            lane_of(r, r->program->bindings[binding].table, step, t) != 0) {
            return refuse(r, "an input selects a lane of one statement at one position, and something else at another");
        }
        source->step = step;
        size_t *selected = mg_append(&plan->blocks, &plan->selected, &plan->selected_count, sizeof *selected);
        mg_plan_input *input = mg_append(&plan->blocks, &plan->input, &plan->input_count, sizeof *input);
        if (selected == NULL || input == NULL) {
            return no_memory(r);
        }
        *selected = lane_of(r, slot, step, t);
        *input = (mg_plan_input){binding, t, MG_NOWHERE, 0, number};
    }
    plan->selects[number] = source->step;
    source->from = MG_FROM_SELECTED;
    source->select = number;
    return true;
}

/* Lanes of a step at all positions so far: one at each. */
static bool is_past(const rolling *r, mg_slot head, size_t f, const reading *x, mg_source *source) {
    const size_t positions = r->plan->positions;
    if (x->listing == MG_STRIDED || x->block != 1 || x->entries != positions) {
        return false;
    }
    const mg_tape *tape = r->program->tape;
    const mg_slot *list = mg_list_of(tape, head, &mg_statement_of(tape, head)->operand[f]);
    for (size_t e = 0; e < positions; e++) {
        size_t step, position;
        if (mg_is_leaf(mg_code(tape, list[e])) || !place_of(r, list[e], &step, &position) || position != e ||
            (e > 0 && (step != source->step || lane_of(r, list[e], step, e) != source->offset))) {
            return false;
        }
        source->step = step;
        source->offset = lane_of(r, list[e], step, e);
    }
    source->from = MG_FROM_PAST;
    source->past = x->listing;
    return true;
}

/* Runs of lanes of several steps, or of leaves, one after the other as terms. */
static bool concatenate(const rolling *r, size_t k, size_t f, const reading *x, mg_source *source) {
    mg_plan *plan = r->plan;
    const mg_tape *tape = r->program->tape;
    const size_t last = plan->positions - 1;
    const mg_slot head = head_at(r, k, last);
    const mg_slot *list = mg_list_of(tape, head, &mg_statement_of(tape, head)->operand[f]);
    const mg_step *step = &plan->step[k];
    const size_t block = x->block < step->terms ? x->block : step->terms;
    size_t leaves = 0, gather = MG_NOWHERE;
    if (x->listing != MG_BY_TERM || (x->term != 1 && block > 1) || step->causal_terms || x->lane != 0 ||
        step->groups != 1) {
        return refuse(r, "an operand is listed in a way that is no concatenation");
    }
    for (size_t e = 0; e < x->entries; e++) {
        leaves += mg_is_leaf(mg_code(tape, list[e]));
    }
    if (leaves == x->entries && step->terms % block == 0) { /* one gather makes them one run */
        if (!add_gather(r, k, f, x, block, x->entries, &gather)) {
            return false;
        }
        source->from = MG_FROM_ROWS;
        source->step = gather;
        source->term = 1;
        return true;
    }
    source->from = MG_FROM_ROWS;
    source->parts = x->entries;
    source->block = block;
    source->part = plan->part_count;
    source->term = 1;
    for (size_t e = 0; e < x->entries; e++) {
        size_t number, position;
        if (leaves > 0) {
            return refuse(r, "a concatenation of leaves and of what is computed");
        }
        if (!place_of(r, list[e], &number, &position) || position != last || plan->step[number].causal) {
            return refuse(r, "a position reads what another position computed");
        }
        mg_part *part = mg_append(&plan->blocks, &plan->part, &plan->part_count, sizeof *part);
        if (part == NULL) {
            return no_memory(r);
        }
        *part = (mg_part){.step = number, .offset = lane_of(r, list[e], number, last)};
    }
    return true;
}

/* Is the operand that begins at `base` the same leaf at all positions, or a constant of one value? */
static bool is_steady(const rolling *r, size_t k, size_t f, mg_slot base) {
    const mg_tape *tape = r->program->tape;
    const bool constant = mg_code(tape, base) == MG_CONSTANT;
    for (size_t t = 0; t < r->plan->positions; t++) {
        const mg_slot head = head_at(r, k, t), slot = operand_at(r, head, f, 1, 0, 0, 0);
        if (constant ? mg_code(tape, slot) != MG_CONSTANT ||
                           memcmp(&tape->value[slot], &tape->value[base], sizeof *tape->value) != 0
                     : slot != base || binding_of(r, head, f, 0) != MG_NOWHERE) {
            return false;
        }
    }
    return true;
}

/* The strides in a causal step are whole groups of it, and its lanes in order. */
static bool read_whole(const rolling *r, const mg_step *step, const mg_step *from, mg_source *source) {
    const size_t positions = r->plan->positions;
    const bool by_lane = step->causal && source->lane == 1 && (source->term == 0 || step->terms == 1);
    const bool by_term = step->causal_terms && source->term == 1 && (source->lane == 0 || step->width == 1);
    if (!by_lane && !by_term && positions > 1) {
        return refuse(r, "a statement reads a part of the lanes that a statement has for the positions so far");
    }
    if (source->offset % positions != 0 || source->group % positions != 0 || from->width != positions) {
        return refuse(r, "a statement reads a part of the lanes that a statement has for the positions so far");
    }
    source->offset /= positions;
    source->group /= positions;
    source->lane = by_lane ? 1 : source->lane;
    source->whole = true;
    return true;
}

/* Are all lanes that the source reads lanes of its step? What comes after them on the tape is something else. */
static bool stays_inside(const rolling *r, const mg_step *step, const mg_source *x) {
    const mg_plan *plan = r->plan;
    const bool by_lane = x->from == MG_FROM_PAST && x->past == MG_BY_LANE;
    const bool by_term = x->from == MG_FROM_PAST && x->past == MG_BY_TERM;
    const size_t block = x->parts > 0 && x->block < step->terms ? x->block : step->terms;
    const size_t reach = (step->groups - 1) * x->group + (by_lane ? 0 : (step->width - 1) * x->lane) +
                         (by_term ? 0 : (block - 1) * x->term);
    for (size_t p = 0; p < x->parts; p++) {
        const mg_part *part = &plan->part[x->part + p];
        if (part->offset + reach >= plan->step[part->step].groups * plan->step[part->step].width) {
            return false;
        }
    }
    const mg_step *from = &plan->step[x->step];
    if (x->from == MG_FROM_LEAVES || x->from == MG_FROM_CONSTANT || x->from == MG_FROM_SELECTED || x->parts > 0) {
        return true;
    }
    if (x->whole) {
        return x->offset + (step->groups - 1) * x->group < from->groups;
    }
    return x->offset + reach < from->groups * from->width;
}

static bool derive_operand(const rolling *r, size_t k, size_t f) {
    mg_plan *plan = r->plan;
    const mg_tape *tape = r->program->tape;
    const size_t last = plan->positions - 1;
    const mg_slot head = head_at(r, k, last);
    mg_source source = {0};
    reading x;
    size_t position;
    if (!read_operand(r, &plan->step[k], head, f, &x)) {
        return refuse(r, "the lanes of a statement read their operands in no regular order");
    }
    source.group = x.group;
    source.lane = x.lane;
    source.term = x.term;
    if (x.listing != MG_STRIDED) {
        if (!is_past(r, head, f, &x, &source) && !concatenate(r, k, f, &x, &source)) {
            return false;
        }
    } else if (mg_is_leaf(mg_code(tape, x.base))) {
        if (is_steady(r, k, f, x.base)) {
            const mg_step *step = &plan->step[k];
            const size_t reach = (step->groups - 1) * x.group + (step->width - 1) * x.lane + (step->terms - 1) * x.term;
            source.from = mg_code(tape, x.base) == MG_CONSTANT ? MG_FROM_CONSTANT : MG_FROM_LEAVES;
            if (source.from == MG_FROM_LEAVES && !mg_all_leaves(tape, x.base, reach + 1)) {
                return refuse(r, "the operands of a statement run on from leaves into something else");
            }
            source.leaves = x.base;
            source.constant = tape->value[x.base];
        } else {
            const mg_step *step = &plan->step[k];
            if (step->causal || step->causal_terms) {
                return refuse(r, "a statement on the positions so far reads leaves that differ by position");
            }
            const size_t block = (step->groups - 1) * x.group + (step->width - 1) * x.lane + (step->terms - 1) * x.term;
            source.from = MG_FROM_ROWS;
            if (!add_gather(r, k, f, &x, block + 1, 1, &source.step)) {
                return false;
            }
        }
    } else if (binding_of(r, head, f, 0) != MG_NOWHERE) {
        if (plan->step[k].operation > MG_LANE || plan->step[k].groups * plan->step[k].width != 1) {
            return refuse(r, "an input selects lanes for a statement of many lanes");
        }
        if (!add_selection(r, k, f, &source)) {
            return false;
        }
    } else {
        source.from = MG_FROM_ROWS;
        if (!place_of(r, x.base, &source.step, &position) || position != last) {
            return refuse(r, "a position reads what another position computed");
        }
        source.offset = lane_of(r, x.base, source.step, last);
        const mg_step *from = &plan->step[source.step];
        if (from->causal && !read_whole(r, &plan->step[k], from, &source)) {
            return false;
        }
    }
    plan->step[k].operand[f] = source;
    return stays_inside(r, &plan->step[k], &source) ||
           refuse(r, "the operands of a statement run on from one statement's lanes into another's");
}

/* Does the description give the operands of the statement at position t? Both are linear in group, lane and term but
   where they are listed, so that their origins, one step in each direction and all that is listed tell. */
static bool operand_agrees(const rolling *r, size_t k, size_t f, size_t t) {
    const mg_tape *tape = r->program->tape;
    const mg_step *step = &r->plan->step[k];
    const mg_source *x = &step->operand[f];
    const mg_slot head = head_at(r, k, t);
    const size_t width = mg_width_at(step, t), terms = mg_terms_at(step, t);
    if (x->from == MG_FROM_CONSTANT) { /* all lanes of a map, or of a sum, have the same one */
        bool same = true;
        for (size_t g = 0; g < step->groups && step->operation < MG_LANE; g++) {
            for (size_t i = 0; i < width; i++) {
                same = same && operand_at(r, head, f, width, g, i, 0) == operand_at(r, head, f, width, 0, 0, 0);
            }
        }
        return same && step->operation < MG_LANE;
    }
    if (x->from == MG_FROM_SELECTED) {
        return true;
    }
    const bool map = step->operation < MG_LANE, by_term = x->parts > 0 || x->from == MG_FROM_PAST;
    for (size_t g = 0; g < step->groups && (map || g < 2); g++) {
        for (size_t i = 0; i < width && (map || by_term || i < 2); i++) {
            for (size_t c = 0; c < terms && (by_term || c < 2); c++) {
                if (operand_at(r, head, f, width, g, i, c) != mg_source_slot(r->program, r->plan, step, f, t, g, i, c)) {
                    return false;
                }
            }
        }
    }
    if (map) {
        return true;
    }
    const mg_operands *recorded = &mg_statement_of(tape, head)->operand[f];
    return by_term || x->step >= r->plan->each || recorded->listing == MG_STRIDED;
}

/* ---- what follows from the operands ----------------------------------------------------------------------------- */

/* A sum of products with leaves is done with the leaves' numbers side by side; what else may a sum be of? */
static bool may_sum(const rolling *r, mg_step *step) {
    const mg_source *a = &step->operand[0], *b = &step->operand[1];
    for (size_t f = 0; step->causal_terms && f < step->factors; f++) {
        const mg_source *x = &step->operand[f];
        if (!x->whole && !(x->from == MG_FROM_PAST && x->past == MG_BY_TERM)) {
            return refuse(r, "a sum over the positions so far of something that does not grow with them");
        }
    }
    if (step->factors == 1) {
        if (a->from != MG_FROM_ROWS || a->parts > 0) {
            return refuse(r, "a sum or a maximum of leaves, or over positions");
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
        if (w->from == MG_FROM_PAST && x->from == MG_FROM_ROWS && x->parts == 0) {
            const bool one = r->plan->positions == 1; /* which does not tell what would grow */
            const bool logits = w->past == MG_BY_LANE && (step->causal || one) && !step->causal_terms && !x->whole;
            const bool mix = w->past == MG_BY_TERM && (step->causal_terms || one) && !step->causal && (x->whole || one);
            if ((logits || mix) && x->lane == 0) {
                return true;
            }
        }
    }
    if (a->from == MG_FROM_ROWS && b->from == MG_FROM_ROWS && a->parts == 0 && b->parts == 0) {
        return true;
    }
    return refuse(r, "a sum of products of a kind that no plan has");
}

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
        for (size_t f = 0; f < step->factors; f++) {
            mg_source *x = &step->operand[f];
            x->derives = x->from == MG_FROM_LEAVES || (x->from != MG_FROM_CONSTANT && plan->step[x->step].derives);
            for (size_t p = 0; p < x->parts; p++) {
                x->derives = x->derives || plan->step[plan->part[x->part + p].step].derives;
            }
            step->derives = step->derives || (x->derives && step->operation != MG_LARGEST);
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
    return step->causal && (step->cut || step->operation == MG_EXP);
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

/* ---- all -------------------------------------------------------------------------------------------------------- */

static bool find_positions(const rolling *r) {
    const mg_program *program = r->program;
    mg_plan *plan = r->plan;
    const size_t positions = program->losses, count = program->statements.count, tail = program->mean ? 2 : 1;
    if (positions == 0) {
        return refuse(r, "the result is not the sum or the mean of losses, recorded one after the other");
    }
    const size_t each = (count - tail) / positions;
    if (each * positions != count - tail) {
        return refuse(r, "the losses were not recorded by the same statements, one loss after the other");
    }
    for (size_t t = 0; t < positions; t++) {
        if (mg_program_statement(program, program->loss.item[t]) != (t + 1) * each - 1) {
            return refuse(r, "the losses were not recorded by the same statements, one loss after the other");
        }
    }
    for (size_t k = 0; k < each * positions; k++) {
        if (program->needed.item[k] != k / each) {
            return refuse(r, "a statement is not needed by the loss of its own position");
        }
    }
    plan->positions = positions;
    plan->each = each;
    plan->mean = program->mean;
    plan->loss = each - 1;
    return true;
}

bool mg_roll(const mg_program *program, mg_plan *plan, const char **why_not) {
    const rolling r = {program, plan, why_not};
    if (!find_positions(&r)) {
        return false;
    }
    for (size_t k = 0; k < plan->each; k++) {
        if (mg_append(&plan->blocks, &plan->step, &plan->step_count, sizeof(mg_step)) == NULL) {
            return no_memory(&r);
        }
        size_step(&r, k);
        for (size_t t = 0; t < plan->positions; t++) {
            if (!same_size(&r, k, t)) {
                return refuse(&r, "the statements of two positions differ");
            }
        }
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            if (!derive_operand(&r, k, f)) {
                return false;
            }
            for (size_t t = 0; t < plan->positions; t++) {
                if (!operand_agrees(&r, k, f, t)) {
                    return refuse(&r, "an operand of a statement is another at some positions");
                }
            }
        }
        if (plan->step[k].operation > MG_LANE && !may_sum(&r, &plan->step[k])) {
            return false;
        }
    }
    find_uniform(plan);
    find_derivatives(plan);
    find_cuts(plan);
    count_partials(plan);
    return true;
}
