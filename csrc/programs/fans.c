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

/* Lanes of all fans, in the order in which the sweep adds term 0 of each: one array, sorted by fan and position. */
typedef struct {
    uint32_t step, lane;
} sighting;

typedef struct {
    sighting *item;
    size_t *start; /* [fans * positions + 1] */
} sightings;

static bool make_fans(mg_scheduling *s) {
    mg_plan *plan = s->plan;
    for (size_t k = 0; k < s->steps; k++) {
        s->fan[k] = MG_NO_STEP;
        if (plan->step[k].weights == MG_NOWHERE || s->first[k] == MG_NO_STEP) {
            continue;
        }
        if (s->component[k] != k) {
            s->fan[k] = s->fan[s->component[k]];
            continue;
        }
        s->fan[k] = (uint32_t)plan->fan_count;
        if (!MG_PUSH(&plan->blocks, plan->fan, plan->fan_count, (mg_fan){.select = MG_NOWHERE, .first = k})) {
            return false;
        }
    }
    return true;
}

/* Counts the lanes of each fan at each position, behind its start; or puts them in their places, and moves each start to
   its end. */
static void see(const mg_scheduling *s, const sightings *all, bool put) {
    mg_descent d = mg_descent_of(s->plan);
    while (mg_descend(&d)) {
        if (s->fan[d.step] == MG_NO_STEP || d.begin != 0) {
            continue;
        }
        size_t *next = &all->start[s->fan[d.step] * s->plan->positions + d.position];
        if (put) {
            all->item[(*next)++] = (sighting){(uint32_t)d.step, s->plan->program->tape->operand[d.slot][1]};
        } else {
            next[1]++;
        }
    }
}

static bool list_lanes(mg_plan *plan, const sighting *item, size_t count, size_t *from, size_t *to) {
    *from = plan->run_count;
    for (size_t n = 0; n < count; n++) {
        if (!list_lane(plan, *from, item[n].step, item[n].lane)) {
            return false;
        }
    }
    *to = plan->run_count;
    return true;
}

/* Does the selection's lane come last, and the others down? */
static bool selected_last(const mg_scheduling *s, const mg_fan *fan, const sighting *item, size_t count, size_t selected) {
    const size_t lanes = s->plan->step[fan->first].groups * s->plan->step[fan->first].width;
    if (count != lanes || item[count - 1].lane != selected) {
        return false;
    }
    for (size_t n = 0, lane = lanes; n + 1 < count; n++) {
        lane -= lane - 1 == selected ? 2 : 1;
        if (item[n].step != fan->first || item[n].lane != lane) {
            return false;
        }
    }
    return true;
}

/* A selection after which the sweep comes to this lane of the fan last, at all positions, if there is one. */
static size_t find_selection(const mg_scheduling *s, size_t f, const sightings *all) {
    const mg_plan *plan = s->plan;
    for (size_t n = 0; n < plan->select_count; n++) {
        bool fits = true;
        for (size_t t = 0; fits && t < plan->positions; t++) {
            const size_t at = f * plan->positions + t, from = all->start[at], to = all->start[at + 1];
            fits = to > from && selected_last(s, &plan->fan[f], all->item + from, to - from,
                                              plan->selected[n * plan->positions + t]);
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

static bool order_fan(const mg_scheduling *s, size_t f, const sightings *all) {
    mg_plan *plan = s->plan;
    mg_fan *fan = &plan->fan[f];
    const size_t last = plan->positions - 1, *start = all->start + f * plan->positions;
    const size_t count = start[last + 1] - start[last];
    const sighting *usual = all->item + start[last];
    fan->exceptions = fan->exceptions_end = plan->exception_count;
    fan->select = find_selection(s, f, all);
    if (fan->select != MG_NOWHERE) {
        return order_selected_last(plan, fan);
    }
    if (!list_lanes(plan, usual, count, &fan->from, &fan->to)) {
        return false;
    }
    for (size_t t = 0; t < last; t++) {
        const size_t here = start[t + 1] - start[t];
        const sighting *item = all->item + start[t];
        mg_exception exception = {.position = t};
        if (here == count && memcmp(usual, item, count * sizeof *usual) == 0) {
            continue;
        }
        if (!list_lanes(plan, item, here, &exception.from, &exception.to) ||
            !MG_PUSH(&plan->blocks, plan->exception, plan->exception_count, exception)) {
            return false;
        }
    }
    fan->exceptions_end = plan->exception_count;
    return true;
}

bool mg_order_fans(mg_scheduling *s) {
    if (!make_fans(s)) {
        return false;
    }
    const size_t starts = s->plan->fan_count * s->plan->positions + 1;
    sightings all = {.start = mg_allot(&s->scratch, starts + 1, sizeof *all.start)};
    if (all.start == NULL) {
        return false;
    }
    see(s, &all, false);
    for (size_t n = 1; n < starts; n++) {
        all.start[n] += all.start[n - 1];
    }
    all.item = mg_allot(&s->scratch, all.start[starts - 1], sizeof *all.item);
    if (all.item == NULL) {
        return false;
    }
    see(s, &all, true);
    memmove(all.start + 1, all.start, (starts - 1) * sizeof *all.start);
    all.start[0] = 0;
    for (size_t f = 0; f < s->plan->fan_count; f++) {
        if (!order_fan(s, f, &all)) {
            return false;
        }
    }
    return true;
}

/* ---- orders at one position ------------------------------------------------------------------------------------- */

size_t mg_exceptional_positions(const mg_plan *plan) {
    size_t positions = 0;
    for (size_t e = 0; e < plan->exception_count; e++) {
        const size_t position = plan->exception[e].position;
        positions = position >= positions ? position + 1 : positions;
    }
    return positions;
}

/* Where the order of a fan is at a position: the next lane is plan->run[run].start - done; all are taken at run == end. */
typedef struct {
    size_t run, end, done;
} progress;

/* The progress of all fans that have exceptions, at all positions, and which fan a step is of: in fan_of[each]. */
static void begin_orders(const mg_plan *plan, size_t positions, progress *next, uint32_t *fan_of) {
    memset(fan_of, 0xff, plan->each * sizeof *fan_of);
    for (size_t f = 0; f < plan->fan_count; f++) {
        const mg_fan *fan = &plan->fan[f];
        if (fan->exceptions == fan->exceptions_end) {
            continue;
        }
        for (size_t r = fan->from; r < fan->to; r++) {
            fan_of[plan->run[r].step] = (uint32_t)f;
        }
        for (size_t t = 0; t < positions; t++) {
            next[f * positions + t] = (progress){fan->from, fan->to, 0};
        }
        for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
            const mg_exception *exception = &plan->exception[e];
            if (exception->position < positions) {
                next[f * positions + exception->position] = (progress){exception->from, exception->to, 0};
            }
        }
    }
}

bool mg_exceptions_hold(mg_plan *plan, size_t positions) {
    const size_t count = plan->fan_count * positions;
    mg_blocks scratch = {.tape = plan->blocks.tape};
    progress *next = mg_allot(&scratch, count, sizeof *next);
    uint32_t *fan_of = mg_allot(&scratch, plan->each, sizeof *fan_of);
    bool hold = !scratch.failed;
    if (hold) {
        begin_orders(plan, positions, next, fan_of);
    }
    mg_descent d = mg_descent_of(plan);
    while (hold && mg_descend(&d)) {
        if (fan_of[d.step] == MG_NO_STEP || d.begin != 0) {
            continue;
        }
        progress *at = &next[fan_of[d.step] * positions + d.position];
        const mg_rows *run = &plan->run[at->run];
        hold = at->run < at->end && run->step == d.step &&
               run->start - at->done == d.slot - mg_first_lane(scratch.tape, d.head);
        at->done++;
        if (hold && at->done == run->count) {
            *at = (progress){at->run + 1, at->end, 0};
        }
    }
    for (size_t n = 0; hold && n < count; n++) {
        hold = next[n].run == next[n].end;
    }
    mg_free_blocks(scratch);
    return hold || (!scratch.failed && mg_refuse_plan(plan, MG_OTHER_ORDER));
}
