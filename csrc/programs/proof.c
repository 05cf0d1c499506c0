/* proof.c: that a plan adds to every accumulator what the sweep adds, in the same order.
 *
 * What an accumulator holds at the end is told by the sequence of what is added to it: each addition a partial, which is
 * a statement's operand, times an adjoint, which is what another accumulator holds. The sequence is folded into a hash,
 * down the sweep's own list and once more in the plan's order: the hashes of all accumulators are equal, or the plan is
 * refused. No number of the tape takes part.
 *
 * It holds for other inputs and lengths too. Where an input selects leaves, an addition goes to every row that it may
 * select, in both: whatever rows it does select, the sequence of each is a part of an equal one. A shorter text has
 * those parts that belong to its positions. Where an input selects a lane, the list is another for each, and
 * selections.c proves it for those that stand for all. After the first proof these are of the steps that it concerns:
 * what others hold is taken from that. What would be added if another lane were selected at a position is put in order
 * too, as far as it goes on lane by lane, beside what is added.
 */
#include "programs/descent.h"
#include "programs/schedule.h"

#include <string.h>

typedef struct {
    mg_plan *plan;
    uint64_t *hash;  /* [plan->reached.slots]: what the accumulator holds; 0: nothing was added */
    uint64_t *order; /* the same: in which order lanes of chosen steps are added to, or would be */
    bool lost;       /* what would be added goes on in a way that is not followed */
} proof;

/* What an addition of a partial times an adjoint is. */
static uint64_t product(uint64_t partial, uint64_t adjoint) {
    const uint64_t mixed = (adjoint + partial * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return (mixed ^ mixed >> 32) * 0xff51afd7ed558ccdu;
}

static void fold(const proof *p, uint64_t *hashes, mg_slot slot, uint64_t what) {
    uint64_t *hash = &hashes[mg_reached_at(&p->plan->reached, slot)];
    *hash = (*hash + what) * 0xc4ceb9fe1a85ec53u;
}

/* What a lane passes on. Sets *goes_on: does the sweep come to it, or would it if it were selected? */
static uint64_t adjoint_of(const proof *p, const mg_step *step, mg_slot lane, bool *goes_on) {
    const size_t at = mg_reached_at(&p->plan->reached, lane);
    const uint64_t adjoint = p->plan->held == NULL || step->varies ? p->hash[at] : p->plan->held[at];
    *goes_on = adjoint != 0 || (step->partial && p->order[at] != 0);
    return adjoint;
}

/* Has a step its turn in this proof? */
static bool takes_part(const mg_plan *plan, const mg_step *step) { return plan->held == NULL || step->concerned; }

/* What an input selects for term c of a source at a position; NULL where it is always the same. */
static const mg_read *selected_for(const mg_plan *plan, const mg_source *x, size_t t, size_t c) {
    if (x->from != MG_FROM_ROWS || !mg_is_leaves(plan, x)) {
        return NULL;
    }
    const mg_gather *gather = &plan->gather[plan->step[x->step].gather];
    const size_t part = gather->parts > 1 ? c / gather->block : 0;
    const mg_read *read = &plan->gathered[gather->slots + t * gather->parts + part];
    return read->binding != MG_NOWHERE ? read : NULL;
}

/* What stands for the number in a slot that term c of a source reads: the slot; or the input that selects it, as other rows
   may be read in its place, and where it is in a row. */
static uint64_t number_in(const mg_plan *plan, const mg_source *x, size_t t, size_t c, mg_slot slot) {
    const mg_read *read = selected_for(plan, x, t, c);
    if (read == NULL) {
        return slot;
    }
    const mg_binding *binding = &plan->program->bindings[read->binding];
    return product((uint64_t)1 << 42 | binding->input, binding->table + (slot - read->at));
}

/* The partial of term c of an operand: the number of the other factor, or this statement's own partial. */
static uint64_t partial_of(const mg_plan *plan, const mg_step *step, mg_slot lane, size_t f, size_t t, size_t c,
                           mg_slot other) {
    if (step->operation == MG_SUM) {
        return step->factors == 2 ? number_in(plan, &step->operand[1 - f], t, c, other) : (uint64_t)1 << 40;
    }
    return (uint64_t)1 << 41 | (uint64_t)f << 40 | lane;
}

/* Adds to leaves; to all rows that may be selected in their place. */
static void add_to_leaves(proof *p, const mg_source *x, size_t t, size_t c, mg_slot target, uint64_t what) {
    const mg_read *read = selected_for(p->plan, x, t, c);
    if (read == NULL) {
        fold(p, p->hash, target, what);
        return;
    }
    const mg_binding *binding = &p->plan->program->bindings[read->binding];
    const mg_slot offset = target - (mg_slot)read->at;
    for (size_t v = 0; v < binding->count; v++) {
        fold(p, p->hash, binding->table + (mg_slot)(v * binding->size) + offset, what);
    }
}

/* What lane `lane`, whose adjoint is g, adds to term c of an operand, whose other factor is in slot `other`. */
static void add(proof *p, const mg_step *step, mg_slot lane, uint64_t g, size_t f, size_t t, size_t c, mg_slot target,
                mg_slot other) {
    const mg_plan *plan = p->plan;
    const mg_source *x = &step->operand[f];
    const uint64_t partial = partial_of(plan, step, lane, f, t, c, other), what = product(partial, g);
    if (mg_is_leaves(plan, x)) {
        add_to_leaves(p, x, t, c, target, what);
        return;
    }
    const size_t number = x->parts > 0 ? plan->part[x->part + c / x->block].step : x->step;
    const bool selected = x->from == MG_FROM_SELECTED;
    if (g != 0) {
        fold(p, p->hash, target, what);
    }
    if (plan->step[number].chosen) {
        const mg_slot first = selected ? mg_lane_of_step(plan, number, t, 0) : target;
        for (size_t n = selected ? mg_rows_of(&plan->step[number], plan->positions) : 1; n-- > 0;) {
            fold(p, p->order, first + (mg_slot)n, product(partial, lane));
        }
    }
}

/* ---- down the sweep's list -------------------------------------------------------------------------------------- */

/* Does term c of an operand pass on what is added to it, or keep it? What others get is nobody's. */
static bool is_accumulator(const mg_plan *plan, const mg_source *x, size_t c) {
    const size_t step = x->parts > 0 ? plan->part[x->part + c / x->block].step : x->step;
    return x->from == MG_FROM_LEAVES || (x->from != MG_FROM_CONSTANT && plan->step[step].derives);
}

static void pass_on(proof *p, const mg_descent *d) {
    const mg_step *step = &p->plan->step[d->step];
    bool goes_on;
    const uint64_t g = adjoint_of(p, step, d->slot, &goes_on);
    for (size_t c = d->end; goes_on && c-- > d->begin;) {
        mg_slot operand[2] = {0, 0};
        for (size_t f = 0; f < step->factors; f++) {
            operand[f] = mg_entry_operand(d, f, c);
        }
        for (size_t f = 0; f < step->factors; f++) {
            if (is_accumulator(p->plan, &step->operand[f], c)) {
                add(p, step, d->slot, g, f, d->position, c, operand[f], operand[1 - f]);
            }
        }
    }
}

/* Where an input selects the lane, the others pass on when it does, as they would in its place. */
static void go_down_the_list(proof *p) {
    mg_descent d = mg_descent_of(p->plan);
    while (mg_descend(&d)) {
        if (!takes_part(p->plan, &p->plan->step[d.step])) {
            continue;
        }
        const bool partial = p->plan->step[d.step].partial;
        for (size_t lane = partial ? mg_lanes(p->plan->program->tape, d.head) : 1; lane-- > 0;) {
            d.slot = partial ? d.head + (mg_slot)lane : d.slot;
            pass_on(p, &d);
        }
    }
}

/* ---- in the plan's order ---------------------------------------------------------------------------------------- */

/* Are the slots of an operand's terms as far apart as its stride says? */
static bool is_straight(const mg_plan *plan, const mg_source *x) {
    return x->from == MG_FROM_LEAVES || (x->from == MG_FROM_ROWS && x->parts == 0 && x->step < plan->each);
}

/* Adds what a lane gives to the operands that are rows, or to operand `only` alone. */
#define ROWS MG_NOWHERE
static void plan_terms(proof *p, size_t k, size_t t, size_t g, size_t i, size_t begin, size_t end, size_t only) {
    mg_plan *plan = p->plan;
    const mg_step *step = &plan->step[k];
    if (!takes_part(plan, step)) {
        return;
    }
    const mg_slot slot = mg_lane_of_step(plan, k, t, g * mg_width_at(step, t) + i);
    bool goes_on;
    const uint64_t adjoint = adjoint_of(p, step, slot, &goes_on);
    plan->check_values = plan->check_values || (only != ROWS && mg_is_leaves(plan, &step->operand[only]) && adjoint == 0);
    if (!goes_on) { /* the sweep does not come here */
        p->lost = p->lost || p->order[mg_reached_at(&plan->reached, slot)] != 0;
        return;
    }
    mg_slot operand[2] = {0, 0};
    for (size_t c = end; c-- > begin;) {
        for (size_t f = 0; f < step->factors; f++) {
            const bool next = c + 1 < end && is_straight(plan, &step->operand[f]);
            operand[f] = next ? operand[f] - (mg_slot)step->operand[f].term
                              : mg_source_slot(plan, step, f, t, g, i, c);
        }
        for (size_t f = 0; f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            if (x->derives && (only == f || (only == ROWS && !mg_is_leaves(plan, x)))) {
                add(p, step, slot, adjoint, f, t, c, operand[f], operand[1 - f]);
            }
        }
    }
}

static void plan_group(proof *p, size_t k, size_t g, size_t only) {
    const mg_step *step = &p->plan->step[k];
    for (size_t t = p->plan->positions; t-- > 0;) {
        for (size_t i = mg_width_at(step, t); i-- > 0;) {
            plan_terms(p, k, t, g, i, 0, mg_terms_at(step, t), only);
        }
    }
}

/* Sums over positions add to what is of others first, and then to what is of the position. */
static void plan_step(proof *p, size_t k) {
    const mg_step *step = &p->plan->step[k];
    const size_t past = mg_past_of(step);
    for (size_t g = step->groups; g-- > 0;) {
        plan_group(p, k, g, past == MG_NOWHERE ? ROWS : past);
        if (past != MG_NOWHERE) {
            plan_group(p, k, g, 1 - past);
        }
    }
}

/* One part of the rows that a fan adds to, at one position. */
static void plan_fan_at(proof *p, const mg_fan *fan, size_t t, size_t begin, size_t end) {
    const mg_plan *plan = p->plan;
    const mg_exception order = mg_order_at(plan, fan, t);
    size_t selected = MG_NOWHERE;
    if (fan->select != MG_NOWHERE) {
        selected = plan->selected[fan->select * plan->positions + t].at;
        p->lost = p->lost || selected >= plan->step[fan->first].width; /* the fan has no such lane */
    }
    if (p->lost) {
        return;
    }
    for (size_t r = order.from; r < order.to; r++) {
        for (size_t n = 0; n < plan->run[r].count; n++) {
            if (plan->run[r].start - n != selected) {
                plan_terms(p, plan->run[r].step, t, 0, plan->run[r].start - n, begin, end, ROWS);
            }
        }
    }
    if (selected != MG_NOWHERE) {
        plan_terms(p, fan->first, t, 0, selected, begin, end, ROWS);
    }
}

static void plan_fan(proof *p, const mg_fan *fan) {
    const mg_step *step = &p->plan->step[fan->first];
    const mg_source *x = &step->operand[1 - step->weights];
    const size_t block = x->parts > 0 ? x->block : step->terms;
    for (size_t begin = 0; begin < step->terms; begin += block) {
        const size_t end = begin + block < step->terms ? begin + block : step->terms;
        for (size_t t = 0; t < p->plan->positions; t++) {
            plan_fan_at(p, fan, t, begin, end);
        }
    }
}

static void plan_leaves(proof *p, const mg_region *region) {
    for (size_t t = p->plan->positions; t-- > 0;) {
        for (size_t e = region->from; e < region->to; e++) {
            const mg_event *event = &p->plan->event[e];
            const mg_step *step = &p->plan->step[event->step];
            for (size_t lane = step->groups * mg_width_at(step, t); lane-- > 0;) {
                plan_terms(p, event->step, t, lane / mg_width_at(step, t), lane % mg_width_at(step, t), 0,
                           mg_terms_at(step, t), event->factor);
            }
        }
    }
}

static void go_through_the_plan(proof *p) {
    const mg_plan *plan = p->plan;
    for (size_t n = 0; n < plan->action_count; n++) {
        if (plan->action[n].is_fan) {
            plan_fan(p, &plan->fan[plan->action[n].number]);
        } else {
            plan_step(p, plan->action[n].number);
        }
    }
    for (size_t n = 0; n < plan->region_count; n++) {
        plan_leaves(p, &plan->region[n]);
    }
}

/* ---- the comparison --------------------------------------------------------------------------------------------- */

/* Nothing was added yet but the losses' seeds. */
static proof begin(mg_plan *plan, mg_blocks *scratch, mg_blocks *hashes) {
    const size_t slots = plan->reached.slots;
    const proof p = {plan, mg_allot(hashes, slots, sizeof *p.hash), mg_allot(scratch, slots, sizeof *p.order), false};
    for (size_t t = 0; !hashes->failed && t < plan->positions; t++) {
        p.hash[mg_reached_at(&plan->reached, plan->program->loss.item[t])] = 1 + (uint64_t)t;
    }
    return p;
}

/* Does every event add to leaves of its own region? The kernels count on it. */
static bool stay_in_regions(const proof *p) {
    for (size_t r = 0; r < p->plan->region_count; r++) {
        const mg_region *region = &p->plan->region[r];
        for (size_t e = region->from; e < region->to; e++) {
            const mg_event *event = &p->plan->event[e];
            const mg_region leaves = mg_leaves_of(p->plan, event->step, event->factor);
            if (leaves.first < region->first || leaves.end > region->end) {
                return false;
            }
        }
    }
    return true;
}

bool mg_prove(mg_plan *plan, mg_blocks *held) {
    const size_t bytes = plan->reached.slots * sizeof(uint64_t);
    mg_blocks scratch = {.tape = plan->blocks.tape};
    proof swept = begin(plan, &scratch, plan->held == NULL ? held : &scratch), planned = begin(plan, &scratch, &scratch);
    const bool failed = scratch.failed || held->failed;
    bool proved = !failed;
    if (proved) {
        go_down_the_list(&swept);
        go_through_the_plan(&planned);
        proved = memcmp(planned.hash, swept.hash, bytes) == 0 && memcmp(planned.order, swept.order, bytes) == 0 &&
                 !planned.lost && stay_in_regions(&planned);
    }
    if (proved && plan->held == NULL) {
        plan->held = swept.hash;
        mg_find_first(plan);
    }
    mg_free_blocks(scratch);
    return proved || (!failed && mg_refuse_plan(plan, MG_OTHER_ORDER));
}
