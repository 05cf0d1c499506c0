/* regions.c: in which order leaves are added to. Leaves that the same operands add to are one region. */
#include "programs/schedule.h"

static void widen(mg_region *region, mg_slot first, mg_slot end) {
    region->first = first < region->first ? first : region->first;
    region->end = end > region->end ? end : region->end;
}

mg_region mg_leaves_of(const mg_plan *plan, size_t k, size_t f) {
    const mg_step *step = &plan->step[k];
    const mg_source *x = &step->operand[f];
    if (x->from == MG_FROM_LEAVES) {
        return (mg_region){.first = x->leaves, .end = x->leaves + (mg_slot)mg_reach(step, x) + 1};
    }
    const mg_gather *gather = &plan->gather[plan->step[x->step].gather];
    mg_region region = {.first = plan->gathered[gather->slots]};
    region.end = region.first + (mg_slot)gather->block;
    for (size_t n = 0; n < plan->positions * gather->parts; n++) {
        const mg_slot first = plan->gathered[gather->slots + n];
        widen(&region, first, first + (mg_slot)gather->block);
    }
    for (size_t n = 0; n < plan->input_count; n++) {
        if (plan->input[n].gather == plan->step[x->step].gather) {
            const mg_binding *binding = &plan->program->bindings[plan->input[n].binding];
            widen(&region, binding->table, binding->table + (mg_slot)binding->lanes);
        }
    }
    return region;
}

/* Does operand `f` of a step add to leaves? */
static bool adds_to_leaves(const mg_scheduling *s, size_t k, size_t f) {
    const mg_plan *plan = s->plan;
    const mg_source *x = &plan->step[k].operand[f];
    return s->first[k] != MG_NO_STEP && plan->step[k].operation != MG_LARGEST && mg_is_leaves(plan, x);
}

typedef struct {
    mg_event event;
    mg_region region;
    size_t owner; /* the first event of those whose leaves overlap */
} addition;

static void join_overlapping(addition *all, size_t n) {
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t a = 1; a < n; a++) {
            for (size_t b = 0; b < a; b++) {
                mg_region *left = &all[all[b].owner].region, *right = &all[all[a].owner].region;
                if (left == right || left->first >= right->end || right->first >= left->end) {
                    continue;
                }
                const size_t low = all[a].owner < all[b].owner ? all[a].owner : all[b].owner;
                const size_t high = all[a].owner < all[b].owner ? all[b].owner : all[a].owner;
                widen(&all[low].region, all[high].region.first, all[high].region.end);
                for (size_t e = 0; e < n; e++) {
                    all[e].owner = all[e].owner == high ? low : all[e].owner;
                }
                changed = true;
            }
        }
    }
}

/* One region of the events that an addition owns, in the order in which the sweep comes to their steps; of one step, its
   operands in order. */
static bool add_region(mg_scheduling *s, const addition *all, size_t n, size_t owner) {
    mg_plan *plan = s->plan;
    mg_region region = all[owner].region;
    region.from = plan->event_count;
    for (size_t e = owner; e < n; e++) {
        if (all[e].owner != owner) {
            continue;
        }
        if (!MG_PUSH(&plan->blocks, plan->event, plan->event_count, all[e].event)) {
            return false;
        }
        size_t at = plan->event_count - 1;
        for (; at > region.from && s->first[plan->event[at - 1].step] > s->first[all[e].event.step]; at--) {
            plan->event[at] = plan->event[at - 1];
        }
        plan->event[at] = all[e].event;
    }
    region.to = plan->event_count;
    return MG_PUSH(&plan->blocks, plan->region, plan->region_count, region);
}

bool mg_order_leaves(mg_scheduling *s) {
    const mg_plan *plan = s->plan;
    addition *all = mg_allot(&s->scratch, 2 * plan->each, sizeof *all);
    size_t n = 0;
    if (all == NULL) {
        return false;
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            if (adds_to_leaves(s, k, f)) {
                all[n] = (addition){{k, f}, mg_leaves_of(plan, k, f), n};
                n++;
            }
        }
    }
    join_overlapping(all, n);
    for (size_t e = 0; e < n; e++) {
        if (all[e].owner == e && !add_region(s, all, n, e)) {
            return false;
        }
    }
    return true;
}
