/* proof.c: that a plan adds to every accumulator what the sweep adds, in the same order.
 *
 * What an accumulator holds at the end is told by the sequence of what is added to it: each addition a partial, which is
 * a statement's operand, times an adjoint, which is what another accumulator holds. The sequence is folded into a hash,
 * down the sweep's own list and once more in the plan's order: the hashes of all accumulators are equal, or the plan is
 * refused. No number of the tape takes part.
 *
 * It holds for other inputs and lengths too. Where an input selects leaves, an addition goes to every row that it may
 * select, in both: whatever rows it does select, the sequence of each is a part of an equal one. A shorter text has
 * those parts that belong to its positions. Where an input selects a lane, the caller proves one lane after the other.
 */
#include "programs/descent.h"
#include "programs/schedule.h"

#include <string.h>

typedef struct {
    mg_plan *plan;
    uint64_t *hash;  /* [plan->reached.slots]: what the accumulator holds; 0: nothing was added */
} proof;

/* What an addition of a partial times an adjoint is. */
static uint64_t product(uint64_t partial, uint64_t adjoint) {
    const uint64_t mixed = (adjoint + partial * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return (mixed ^ mixed >> 32) * 0xff51afd7ed558ccdu;
}

static uint64_t *hash_of(const proof *p, mg_slot slot) { return &p->hash[mg_reached_at(&p->plan->reached, slot)]; }

static void add(proof *p, mg_slot target, uint64_t what) {
    uint64_t *hash = hash_of(p, target);
    *hash = (*hash + what) * 0xc4ceb9fe1a85ec53u;
}

/* The partial of term c of an operand: the number of the other factor's slot, or of this statement's own partial. */
static uint64_t partial_of(const mg_step *step, mg_slot lane, size_t f, mg_slot other) {
    if (step->operation == MG_SUM) {
        return step->factors == 2 ? (uint64_t)other : (uint64_t)1 << 40;
    }
    return (uint64_t)1 << 41 | (uint64_t)f << 40 | lane;
}

/* Adds to an operand; to all rows that may be selected in its place. */
static void add_to(proof *p, const mg_step *step, size_t f, size_t t, size_t c, mg_slot target, uint64_t what) {
    const mg_source *x = &step->operand[f];
    if (x->from == MG_FROM_ROWS && x->parts == 0 && x->step >= p->plan->each) {
        const mg_gather *gather = &p->plan->gather[p->plan->step[x->step].gather];
        const size_t at = gather->slots + t * gather->parts + (gather->parts > 1 ? c / gather->block : 0);
        const mg_read *read = &p->plan->gathered[at];
        if (read->binding != MG_NOWHERE) {
            const mg_binding *binding = &p->plan->program->bindings[read->binding];
            const mg_slot offset = target - (mg_slot)read->at;
            for (size_t v = 0; v < binding->count; v++) {
                add(p, binding->table + (mg_slot)(v * binding->size) + offset, what);
            }
            return;
        }
    }
    add(p, target, what);
}

/* ---- down the sweep's list -------------------------------------------------------------------------------------- */

/* Does term c of an operand pass on what is added to it, or keep it? What others get is nobody's. */
static bool is_accumulator(const mg_plan *plan, const mg_source *x, size_t c) {
    const size_t step = x->parts > 0 ? plan->part[x->part + c / x->block].step : x->step;
    return x->from == MG_FROM_LEAVES || (x->from != MG_FROM_CONSTANT && plan->step[step].derives);
}

static void go_down_the_list(proof *p) {
    mg_descent d = mg_descent_of(p->plan);
    while (mg_descend(&d)) {
        const mg_step *step = &p->plan->step[d.step];
        const uint64_t g = *hash_of(p, d.slot);
        for (size_t c = d.end; c-- > d.begin;) {
            mg_slot operand[2] = {0, 0};
            for (size_t f = 0; f < step->factors; f++) {
                operand[f] = mg_entry_operand(&d, f, c);
            }
            for (size_t f = 0; f < step->factors; f++) {
                if (is_accumulator(p->plan, &step->operand[f], c)) {
                    const uint64_t what = product(partial_of(step, d.slot, f, operand[1 - f]), g);
                    add_to(p, step, f, d.position, c, operand[f], what);
                }
            }
        }
    }
}

/* ---- in the plan's order ---------------------------------------------------------------------------------------- */

/* Are the slots of an operand's terms as far apart as its stride says? */
static bool is_straight(const mg_plan *plan, const mg_source *x) {
    return x->from == MG_FROM_LEAVES || (x->from == MG_FROM_ROWS && x->parts == 0 && x->step < plan->each);
}

/* Adds what a lane gives to the operands that are rows, or to operand `only` where that is leaves. */
#define ROWS MG_NOWHERE
static void plan_terms(proof *p, size_t k, size_t t, size_t g, size_t i, size_t begin, size_t end, size_t only) {
    mg_plan *plan = p->plan;
    const mg_step *step = &plan->step[k];
    const mg_slot slot = mg_lane_of_step(plan, k, t, g * mg_width_at(step, t) + i);
    const uint64_t adjoint = *hash_of(p, slot);
    if (adjoint == 0) { /* the sweep does not come here */
        plan->check_values = plan->check_values || only != ROWS;
        return;
    }
    mg_slot operand[2] = {0, 0};
    for (size_t c = end; c-- > begin;) {
        for (size_t f = 0; f < step->factors; f++) {
            const bool goes_on = c + 1 < end && is_straight(plan, &step->operand[f]);
            operand[f] = goes_on ? operand[f] - (mg_slot)step->operand[f].term
                                 : mg_source_slot(plan, step, f, t, g, i, c);
        }
        for (size_t f = 0; f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            if (x->derives && (mg_is_leaves(plan, x) ? only == f : only == ROWS)) {
                add_to(p, step, f, t, c, operand[f], product(partial_of(step, slot, f, operand[1 - f]), adjoint));
            }
        }
    }
}

static void plan_step(proof *p, size_t k) {
    const mg_step *step = &p->plan->step[k];
    for (size_t g = step->groups; g-- > 0;) {
        for (size_t t = p->plan->positions; t-- > 0;) {
            for (size_t i = mg_width_at(step, t); i-- > 0;) {
                plan_terms(p, k, t, g, i, 0, mg_terms_at(step, t), ROWS);
            }
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

static void begin(proof *p) {
    memset(p->hash, 0, p->plan->reached.slots * sizeof *p->hash);
    for (size_t t = 0; t < p->plan->positions; t++) {
        *hash_of(p, p->plan->program->loss.item[t]) = 1 + (uint64_t)t;
    }
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

bool mg_prove(mg_plan *plan) {
    mg_blocks scratch = {.tape = plan->blocks.tape};
    proof p = {.plan = plan};
    const size_t slots = plan->reached.slots;
    uint64_t *swept = mg_allot(&scratch, slots, sizeof *swept);
    p.hash = mg_allot(&scratch, slots, sizeof *p.hash);
    bool proved = !scratch.failed;
    if (proved) {
        begin(&p);
        go_down_the_list(&p);
        memcpy(swept, p.hash, slots * sizeof *swept);
        begin(&p);
        go_through_the_plan(&p);
        proved = memcmp(p.hash, swept, slots * sizeof *swept) == 0 && stay_in_regions(&p);
        mg_find_first(plan);
    }
    mg_free_blocks(scratch);
    return proved || (!scratch.failed && mg_refuse_plan(plan, MG_OTHER_ORDER));
}
