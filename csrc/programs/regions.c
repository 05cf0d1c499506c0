/* regions.c: in which order leaves are added to. Leaves that the same operands add to are one region. */
#include "programs/schedule.h"

#include <stdlib.h>

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
    const mg_read *read = plan->gathered + gather->slots;
    mg_region region = {.first = (mg_slot)read->at};
    for (size_t n = 0; n < plan->positions * gather->parts; n++) {
        if (read[n].binding == MG_NOWHERE) {
            widen(&region, (mg_slot)read[n].at, (mg_slot)(read[n].at + gather->block));
        } else { /* all that may be selected */
            const mg_binding *binding = &plan->program->bindings[read[n].binding];
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
    mg_region leaves;
    uint32_t turn; /* when the sweep comes to the step */
} addition;

static int by_place(const void *a, const void *b) {
    const addition *left = a, *right = b;
    return (left->leaves.first > right->leaves.first) - (left->leaves.first < right->leaves.first);
}

/* Of one step, operands in order. */
static int by_turn(const void *a, const void *b) {
    const addition *left = a, *right = b;
    const int turn = (left->turn > right->turn) - (left->turn < right->turn);
    return turn != 0 ? turn : (int)left->event.factor - (int)right->event.factor;
}

static bool add_region(mg_plan *plan, addition *all, size_t count, mg_region region) {
    qsort(all, count, sizeof *all, by_turn);
    region.from = plan->event_count;
    for (size_t n = 0; n < count; n++) {
        if (!MG_PUSH(&plan->blocks, plan->event, plan->event_count, all[n].event)) {
            return false;
        }
    }
    region.to = plan->event_count;
    return MG_PUSH(&plan->blocks, plan->region, plan->region_count, region);
}

bool mg_order_leaves(mg_scheduling *s) {
    mg_plan *plan = s->plan;
    addition *all = mg_allot(&s->scratch, 2 * plan->each, sizeof *all);
    size_t n = 0;
    if (all == NULL) {
        return false;
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            if (adds_to_leaves(s, k, f)) {
                all[n++] = (addition){{k, f}, mg_leaves_of(plan, k, f), s->first[k]};
            }
        }
    }
    qsort(all, n, sizeof *all, by_place);
    for (size_t from = 0, to; from < n; from = to) { /* those that overlap */
        mg_region region = all[from].leaves;
        for (to = from; to < n && all[to].leaves.first < region.end; to++) {
            widen(&region, all[to].leaves.first, all[to].leaves.end);
        }
        if (!add_region(plan, all + from, to - from, region)) {
            return false;
        }
    }
    return true;
}
