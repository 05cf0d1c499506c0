/* schedule.c: in which order the reverse takes the steps, read off the sweep's own list.
 *
 * A step must come after all that read it. Of two steps that add to the same lanes, the one goes first that does so in
 * the sweep; where the sweep takes the lanes of two in turn, as of linears that read one x, they make a fan, which has
 * the order of the sweep's at each position. Leaves are added to afterwards, position by position, in order of events.
 *
 * This only proposes an order: proof.c proves it.
 */
#include "programs/schedule.h"

#include "programs/descent.h"

#include <string.h>

/* ---- down the sweep's list -------------------------------------------------------------------------------------- */

/* A step adds to a lane, or passes on what was added to its own, after what the step before it did there. */
static void follow(mg_scheduling *s, uint32_t step, mg_slot lane) {
    uint32_t *last = &s->last[mg_reached_at(&s->plan->reached, lane)];
    if (*last != step && *last != MG_NO_STEP) {
        s->before[*last * s->steps + step] = 1;
    }
    *last = step;
}

static void note_order(mg_scheduling *s) {
    mg_descent d = mg_descent_of(s->plan);
    for (uint32_t entry = 0; mg_descend(&d); entry++) {
        const mg_step *step = &s->plan->step[d.step];
        if (s->first[d.step] == MG_NO_STEP) {
            s->first[d.step] = entry;
        }
        follow(s, (uint32_t)d.step, d.slot);
        for (size_t f = 0; f < step->factors; f++) {
            for (size_t c = d.begin; c < d.end && mg_adds_to_rows(s->plan, &step->operand[f]); c++) {
                follow(s, (uint32_t)d.step, mg_entry_operand(&d, f, c));
            }
        }
    }
}

/* ---- the order of steps ----------------------------------------------------------------------------------------- */

/* Steps that each must come before the other, along whatever way, are one component; only fans may be. */
static bool find_components(mg_scheduling *s) {
    const size_t n = s->steps;
    uint8_t *reaches = mg_allot(&s->scratch, n * n, 1);
    if (reaches == NULL) {
        return false;
    }
    memcpy(reaches, s->before, n * n);
    for (size_t m = 0; m < n; m++) {
        for (size_t a = 0; a < n; a++) {
            for (size_t b = 0; reaches[a * n + m] && b < n; b++) {
                reaches[a * n + b] |= reaches[m * n + b];
            }
        }
    }
    bool fit = true;
    for (size_t a = 0; a < n; a++) {
        s->component[a] = (uint32_t)a;
        for (size_t b = 0; b < a; b++) {
            if (reaches[a * n + b] && reaches[b * n + a]) {
                s->component[a] = s->component[b];
                fit = fit && mg_read_alike(s->plan, &s->plan->step[a], &s->plan->step[b]);
                break;
            }
        }
    }
    return fit || mg_refuse_plan(s->plan, "the sweep takes the lanes of two statements in turn, and they are not sums "
                                          "over the same");
}

/* ---- actions ---------------------------------------------------------------------------------------------------- */

/* Does the sweep come to a step, to pass something on? */
static bool acts(const mg_scheduling *s, size_t k) { return s->first[k] != MG_NO_STEP && s->plan->step[k].derives; }

/* Is a component's turn, when those that are done have had theirs? */
static bool is_free(const mg_scheduling *s, const uint8_t *done, size_t component) {
    for (size_t b = 0; b < s->steps; b++) {
        for (size_t a = 0; s->component[b] == component && acts(s, b) && a < s->steps; a++) {
            if (s->before[a * s->steps + b] && !done[s->component[a]] && s->component[a] != component && acts(s, a)) {
                return false;
            }
        }
    }
    return true;
}

/* Takes the components in an order that keeps `before`, and among those that are free the one that the sweep came to
   first. Steps that do not act have no action. */
static bool order_actions(mg_scheduling *s) {
    mg_plan *plan = s->plan;
    const size_t n = s->steps;
    size_t left = 0;
    uint8_t *done = mg_allot(&s->scratch, n, 1); /* by component */
    for (size_t k = 0; done != NULL && k < n; k++) {
        done[k] = s->component[k] != k || !acts(s, k);
        left += !done[k];
    }
    for (; done != NULL && left > 0; left--) {
        size_t next = n;
        for (size_t k = 0; k < n; k++) {
            if (!done[k] && (next == n || s->first[k] < s->first[next]) && is_free(s, done, k)) {
                next = k;
            }
        }
        if (next == n) {
            return mg_refuse_plan(plan, "no order of the statements is the sweep's at all positions");
        }
        done[next] = true;
        const size_t fan = plan->step[next].fan;
        const mg_action action = {fan != MG_NOWHERE, fan != MG_NOWHERE ? fan : next};
        if (!MG_PUSH(&plan->blocks, plan->action, plan->action_count, action)) {
            return false;
        }
    }
    return done != NULL;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

bool mg_schedule(mg_plan *plan) {
    const size_t steps = plan->each;
    mg_scheduling s = {.plan = plan, .scratch = {.tape = plan->blocks.tape}, .steps = steps};
    s.last = mg_allot(&s.scratch, plan->reached.slots, sizeof *s.last);
    s.before = mg_allot(&s.scratch, steps * steps, 1);
    s.first = mg_allot(&s.scratch, steps, sizeof *s.first);
    s.component = mg_allot(&s.scratch, steps, sizeof *s.component);
    bool done = !s.scratch.failed;
    if (done) {
        memset(s.last, 0xff, plan->reached.slots * sizeof *s.last);
        memset(s.first, 0xff, steps * sizeof *s.first);
        note_order(&s);
        done = find_components(&s) && mg_order_fans(&s) && order_actions(&s) && mg_order_leaves(&s);
    }
    mg_free_blocks(s.scratch);
    return done;
}
