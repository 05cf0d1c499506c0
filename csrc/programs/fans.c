/* fans.c: in which order the lanes of linears that read one x are taken: the sweep's, at each position. */
#include "programs/descent.h"
#include "programs/schedule.h"

#include <string.h>

/* Lists a lane of a fan after those listed since `from`, joined to the last where it is the next one down. */
static bool list_lane(mg_plan *plan, size_t from, size_t step, size_t lane) {
    mg_rows *last = plan->run_count > from ? &plan->run[plan->run_count - 1] : NULL;
    if (last != NULL && last->step == step && last->start == lane + last->count) {
        last->count++;
        return true;
    }
    return MG_PUSH(&plan->blocks, plan->run, plan->run_count, (mg_rows){step, lane, 1});
}

typedef struct {
    uint32_t step, lane;
} sighting;

/* The lanes of a fan at a position, in the order in which the sweep adds term 0 of each. */
typedef struct {
    sighting *item;
    size_t count;
} sighted;

/* Those of fan f at position t are number f * positions + t. NULL without memory. */
static sighted *see_all(const mg_plan *plan, mg_blocks *scratch) {
    sighted *all = mg_allot(scratch, plan->fan_count * plan->positions, sizeof *all);
    mg_descent d = mg_descent_of(plan);
    while (!scratch->failed && mg_descend(&d)) {
        const size_t fan = plan->step[d.step].fan;
        if (fan != MG_NOWHERE && d.begin == 0) {
            sighted *here = &all[fan * plan->positions + d.position];
            const sighting lane = {(uint32_t)d.step, plan->program->tape->operand[d.slot][1]};
            MG_PUSH(scratch, here->item, here->count, lane);
        }
    }
    return scratch->failed ? NULL : all;
}

static bool make_fans(mg_scheduling *s) {
    mg_plan *plan = s->plan;
    for (size_t k = 0; k < s->steps; k++) {
        mg_step *step = &plan->step[k];
        if (step->weights == MG_NOWHERE || s->first[k] == MG_NO_STEP) {
            continue;
        }
        step->fan = s->component[k] != k ? plan->step[s->component[k]].fan : plan->fan_count;
        if (step->fan == plan->fan_count &&
            !MG_PUSH(&plan->blocks, plan->fan, plan->fan_count, (mg_fan){.select = MG_NOWHERE, .first = k})) {
            return false;
        }
    }
    return true;
}

static bool list_lanes(mg_plan *plan, sighted lanes, size_t *from, size_t *to) {
    *from = plan->run_count;
    for (size_t n = 0; n < lanes.count; n++) {
        if (!list_lane(plan, *from, lanes.item[n].step, lanes.item[n].lane)) {
            return false;
        }
    }
    *to = plan->run_count;
    return true;
}

/* Does the selection's lane come last, and the others down? */
static bool selected_last(const mg_plan *plan, const mg_fan *fan, sighted lanes, size_t selected) {
    size_t lane = plan->step[fan->first].groups * plan->step[fan->first].width;
    if (lanes.count != lane || lanes.item[lane - 1].lane != selected) {
        return false;
    }
    for (size_t n = 0; n + 1 < lanes.count; n++) {
        lane -= lane - 1 == selected ? 2 : 1;
        if (lanes.item[n].step != fan->first || lanes.item[n].lane != lane) {
            return false;
        }
    }
    return true;
}

/* A selection of as many lanes, after which the sweep comes to that lane of the fan last, at all positions, if there is one. */
static size_t find_selection(const mg_plan *plan, const mg_fan *fan, const sighted *at) {
    const mg_step *step = &plan->step[fan->first];
    for (size_t n = 0; step->varies && n < plan->select_count; n++) {
        bool fits = mg_rows_of(&plan->step[plan->selects[n]], 0) == step->groups * step->width;
        for (size_t t = 0; fits && t < plan->positions; t++) {
            fits = selected_last(plan, fan, at[t], plan->selected[n * plan->positions + t].at);
        }
        if (fits) {
            return n;
        }
    }
    return MG_NOWHERE;
}

/* The selected lane's adjoint is 0 while the others are added. */
static bool order_selected_last(mg_plan *plan, mg_fan *fan) {
    fan->from = plan->run_count;
    for (size_t lane = plan->step[fan->first].width; lane-- > 0;) {
        if (!list_lane(plan, fan->from, fan->first, lane)) {
            return false;
        }
    }
    fan->to = plan->run_count;
    return true;
}

/* `at` is by position. */
static bool order_fan(mg_plan *plan, mg_fan *fan, const sighted *at) {
    const sighted usual = at[plan->positions - 1];
    fan->exceptions = fan->exceptions_end = plan->exception_count;
    fan->select = find_selection(plan, fan, at);
    if (fan->select != MG_NOWHERE) {
        return order_selected_last(plan, fan);
    }
    if (!list_lanes(plan, usual, &fan->from, &fan->to)) {
        return false;
    }
    for (size_t t = 0; t + 1 < plan->positions; t++) {
        const sighted here = at[t];
        mg_exception exception = {.position = t};
        if (here.count == usual.count && memcmp(usual.item, here.item, here.count * sizeof *here.item) == 0) {
            continue;
        }
        if (!list_lanes(plan, here, &exception.from, &exception.to) ||
            !MG_PUSH(&plan->blocks, plan->exception, plan->exception_count, exception)) {
            return false;
        }
    }
    fan->exceptions_end = plan->exception_count;
    return true;
}

bool mg_order_fans(mg_scheduling *s) {
    mg_plan *plan = s->plan;
    const sighted *all = make_fans(s) ? see_all(plan, &s->scratch) : NULL;
    bool ordered = all != NULL;
    for (size_t f = 0; ordered && f < plan->fan_count; f++) {
        ordered = order_fan(plan, &plan->fan[f], all + f * plan->positions);
    }
    return ordered;
}

mg_exception mg_order_at(const mg_plan *plan, const mg_fan *fan, size_t position) {
    for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
        if (plan->exception[e].position == position) {
            return plan->exception[e];
        }
    }
    return (mg_exception){position, fan->from, fan->to};
}
