/* selections.c: makes the steps of a plan, and proves its order whatever the inputs select.
 *
 * Where an input selects a lane, the sweep comes to that lane first, so its list is another for each. The order is proved for
 * some selections, which stand for all, as lists differ in one way only: of a step whose lanes an input selects, directly
 * or through maps, one lane comes at the turn of the selection, and the others at their own. That is so where all lanes of
 * such a step read the same, or one lane each of a step of which that is true: whichever comes first, what lies beneath
 * is visited at that moment, in one order. Which turns there are can then be read off a few lists:
 *
 *     with the first lane selected, the second, the last    the turns of lanes, and whether that of a selection matters
 *     with the first and the last, by two inputs            the turns of two selections at one position
 *     until every selection has selected each of its lanes  where something else adds to what is of one lane alone: at some
 *                                                           position of those that have the same turns, and at every other
 */
#include "programs/descent.h"

#include <string.h>

typedef struct {
    mg_program *program;
    mg_plan *plan;
    int32_t *values; /* [program->inputs]: what is selected in this round */
    size_t *most;    /* [program->inputs]: how many values an input may have, so that all its bindings take them */
    bool *given;     /* [program->inputs]: has it got a value in this round? */
    uint64_t *turns; /* [plan->positions]: tells positions of other turns apart */
    size_t *like;    /* [plan->positions]: one that has the same turns, and stands for it */
    size_t *next;    /* [plan->positions]: the next lane that is to be seen there */
    bool *seen;      /* [plan->select_count][plan->positions][lanes]: did the selection select the lane at a position like it? */
    bool *paired;    /* [plan->select_count][plan->select_count][plan->positions]: and one its first lane, the other its last? */
    size_t lanes;    /* the most that an input may select */
    size_t rounds;
    bool each_lane;  /* does something else add to what one lane alone adds to, as its weights are? */
    bool apart;      /* may every position have turns, or leaves that what varies adds to, of its own? */
} selecting;

#define MOST_WORK 1e9 /* words of the sweep's list that all rounds may take together */

/* ---- what lies beneath a lane that is selected ------------------------------------------------------------------ */

/* Do all lanes of a step read the same through a source? */
static bool is_shared(const mg_plan *plan, const mg_step *step, const mg_source *x) {
    return mg_is_leaves(plan, x) || x->from == MG_FROM_CONSTANT ||
           ((step->width == 1 || (x->lane == 0 && !(x->from == MG_FROM_PAST && x->past == MG_BY_LANE))) &&
            (step->groups == 1 || x->group == 0));
}

/* Is a whole run of n, so far apart, before the next, where that is another? */
static bool runs_on(size_t n, size_t stride, size_t next) { return next == 0 || (n - 1) * stride < next; }

/* Do two lanes of a step read the same through a source, or have nothing in common? */
static bool is_disjoint(const mg_step *step, const mg_source *x) {
    return step->operation > MG_LANE
               ? runs_on(step->terms, x->term, x->lane) || runs_on(step->width, x->lane, x->term)
               : runs_on(step->width, x->lane, x->group) || runs_on(step->groups, x->group, x->lane);
}

/* Finds the steps that vary. Of these all lanes must read the same, or one lane of another step each, which then varies. */
static bool find_varying(mg_plan *plan) {
    for (size_t n = 0; n < plan->select_count; n++) {
        plan->step[plan->selects[n]].varies = true;
    }
    for (size_t k = plan->each; k-- > 0;) { /* after all that read it */
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; step->varies && step->operation != MG_LARGEST && f < step->factors; f++) {
            if (!is_disjoint(step, &step->operand[f])) {
                return mg_refuse_plan(plan, "an input selects one of some lanes that have a part of what they read in common");
            }
            if (is_shared(plan, step, &step->operand[f])) {
                continue;
            }
            if (step->operation > MG_LANE) {
                return mg_refuse_plan(plan, "an input selects a lane of a sum, whose lanes are not sums over the same");
            }
            plan->step[step->operand[f].step].varies = true;
        }
    }
    return true;
}

/* Does a step read every lane of another one once, or the one that an input selects? */
static bool reads_all(const mg_plan *plan, const mg_step *step, const mg_source *x) {
    const size_t lanes = mg_rows_of(&plan->step[x->step], plan->positions);
    return x->from == MG_FROM_SELECTED || (x->parts == 0 && x->offset == 0 && mg_reach(step, x) + 1 == lanes &&
                                           step->groups * step->width * step->terms == lanes);
}

/* Does an event add to leaves that are others at every position, whatever the inputs select? */
static bool is_by_position(const mg_plan *plan, const mg_event *event) {
    const mg_source *x = &plan->step[event->step].operand[event->factor];
    bool by_position = false;
    if (x->from == MG_FROM_ROWS) {
        const mg_gather *gather = &plan->gather[plan->step[x->step].gather];
        for (size_t n = 0; n < plan->positions * gather->parts; n++) {
            by_position = by_position || plan->gathered[gather->slots + n].binding == MG_NOWHERE;
        }
    }
    return by_position;
}

/* Finds the steps that add to lanes of steps that vary, or to something else that those add to. */
static bool find_concerned(selecting *s, mg_blocks *scratch) {
    mg_plan *plan = s->plan;
    bool *added = mg_allot(scratch, plan->step_count, sizeof *added);
    if (added == NULL) {
        return false;
    }
    for (size_t k = 0; k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        added[k] = added[k] || step->varies;
        for (size_t f = 0; step->varies && f < step->factors; f++) {
            for (size_t n = 0; n < mg_steps_read(&step->operand[f]); n++) {
                added[mg_step_read(plan, &step->operand[f], n)] = true;
            }
        }
    }
    for (size_t k = 0; k < plan->each; k++) {
        mg_step *step = &plan->step[k];
        for (size_t f = 0; f < step->factors; f++) {
            for (size_t n = 0; n < mg_steps_read(&step->operand[f]); n++) {
                const size_t read = mg_step_read(plan, &step->operand[f], n);
                step->concerned = step->concerned || added[read];
                s->each_lane = s->each_lane || (plan->step[read].varies && !reads_all(plan, step, &step->operand[f]));
            }
        }
    }
    for (size_t r = 0; r < plan->region_count; r++) {
        const mg_region *region = &plan->region[r];
        bool varies = false;
        for (size_t e = region->from; e < region->to; e++) {
            varies = varies || plan->step[plan->event[e].step].varies;
        }
        for (size_t e = region->from; varies && e < region->to; e++) {
            plan->step[plan->event[e].step].concerned = true;
            s->each_lane = s->each_lane || region->to - region->from > 1;
            s->apart = s->apart || (region->to - region->from > 1 && is_by_position(plan, &plan->event[e]));
        }
    }
    return true;
}

/* ---- what is selected ------------------------------------------------------------------------------------------- */

static bool know_values(selecting *s, mg_blocks *scratch) {
    const mg_program *program = s->program;
    s->values = mg_allot(scratch, program->inputs, sizeof *s->values);
    s->most = mg_allot(scratch, program->inputs, sizeof *s->most);
    s->given = mg_allot(scratch, program->inputs, sizeof *s->given);
    for (size_t b = 0; !scratch->failed && b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        size_t *most = &s->most[binding->input];
        *most = *most == 0 || binding->count < *most ? binding->count : *most;
        s->lanes = !binding->leaves && binding->count > s->lanes ? binding->count : s->lanes;
    }
    return !scratch->failed;
}

/* Every input selects another lane, or row, than the one before it. */
static void select_in_turn(const selecting *s) {
    for (size_t n = 0; n < s->program->inputs; n++) {
        s->values[n] = s->most[n] == 0 ? 0 : (int32_t)((n + 1) % s->most[n]);
    }
}

/* Every input selects this lane, or its last, where it has no such. */
static void select_everywhere(const selecting *s, size_t lane) {
    for (size_t n = 0; n < s->program->inputs; n++) {
        s->values[n] = (int32_t)(lane < s->most[n] ? lane : s->most[n] - (s->most[n] > 0));
    }
}

/* The input that says what selection n is at a position. */
static size_t input_of(const selecting *s, size_t n, size_t position) {
    return s->program->bindings[s->plan->selected[n * s->plan->positions + position].binding].input;
}

/* Notes in which turn the sweep comes to lanes of steps that are concerned. */
static void note_turns(const selecting *s) {
    mg_descent d = mg_descent_of(s->plan);
    while (mg_descend(&d)) {
        if (s->plan->step[d.step].concerned) {
            const uint64_t entry[] = {d.step, d.slot - d.head, d.begin, d.end};
            for (size_t n = 0; n < 4; n++) {
                s->turns[d.position] = (s->turns[d.position] + entry[n] + 1) * 0xc4ceb9fe1a85ec53u;
            }
        }
    }
}

/* Do two selections read different inputs at some position? The turns of both do not show where all select one lane. */
static bool has_pairs(const selecting *s) {
    bool any = false;
    for (size_t n = 1; n < s->plan->select_count; n++) {
        for (size_t t = 0; t < s->plan->positions; t++) {
            any = any || input_of(s, n, t) != input_of(s, 0, t);
        }
    }
    return any;
}

/* The last position stands for all that have its turns. */
static void find_likes(const selecting *s) {
    const size_t last = s->plan->positions - 1;
    for (size_t t = 0; t <= last; t++) {
        s->like[t] = !s->apart && s->turns[t] == s->turns[last] ? last : t;
    }
}

static bool *seen_at(const selecting *s, size_t n, size_t position) {
    return s->seen + (n * s->plan->positions + s->like[position]) * s->lanes;
}

static bool *paired_at(const selecting *s, size_t n, size_t m, size_t position) {
    return s->paired + (n * s->plan->select_count + m) * s->plan->positions + position;
}

static void note_seen(const selecting *s) {
    for (size_t n = 0; n < s->plan->select_count; n++) {
        for (size_t t = 0; t < s->plan->positions; t++) {
            const int32_t value = s->values[input_of(s, n, t)];
            seen_at(s, n, t)[value] = true;
            for (size_t m = 0; value == 0 && m < s->plan->select_count; m++) {
                const size_t other = input_of(s, m, t);
                *paired_at(s, n, m, t) = *paired_at(s, n, m, t) || (size_t)s->values[other] + 1 == s->most[other];
            }
        }
    }
}

/* Unless it has got another value in this round, an input selects a lane. */
static bool select_lane(const selecting *s, size_t input, size_t lane) {
    if (s->given[input]) {
        return false;
    }
    s->values[input] = (int32_t)lane;
    return s->given[input] = true;
}

/* Pairs of inputs select the first lane and the last, where that was not seen yet. */
static bool select_pairs(const selecting *s) {
    bool any = false;
    for (size_t n = 0; n < s->plan->select_count; n++) {
        for (size_t m = 0; m < s->plan->select_count; m++) {
            for (size_t t = 0; t < s->plan->positions; t++) {
                const size_t a = input_of(s, n, t), b = input_of(s, m, t);
                if (a != b && !*paired_at(s, n, m, t) && !s->given[a] && !s->given[b]) {
                    any = select_lane(s, a, 0) && select_lane(s, b, s->most[b] - 1);
                }
            }
        }
    }
    return any;
}

/* Inputs select what was not seen yet. Is there any? */
static bool select_unseen(const selecting *s) {
    memset(s->given, 0, s->program->inputs * sizeof *s->given);
    bool any = select_pairs(s);
    for (size_t n = 0; s->each_lane && n < s->plan->select_count; n++) {
        memset(s->next, 0, s->plan->positions * sizeof *s->next);
        for (size_t t = 0; t < s->plan->positions; t++) {
            const size_t input = input_of(s, n, t), most = s->most[input];
            size_t *lane = &s->next[s->like[t]];
            while (*lane < most && seen_at(s, n, t)[*lane]) {
                ++*lane;
            }
            if (*lane < most && select_lane(s, input, *lane)) {
                ++*lane;
                any = true;
            }
        }
    }
    return any;
}

/* ---- the proofs ------------------------------------------------------------------------------------------------- */

/* Proves the order that is the sweep's now; in the first round it is also found. False without one, or without memory. */
static bool prove_now(selecting *s, mg_blocks *scratch, mg_status *status) {
    mg_program_select(s->program, s->values);
    *status = mg_program_order(s->program, s->program->losses);
    if (*status != MG_OK) {
        return false;
    }
    mg_plan_select(s->plan);
    return (s->rounds++ > 0 || mg_schedule(s->plan)) && mg_prove(s->plan, scratch);
}

/* Are there so few rounds to come that they can be proved? */
static bool is_enough(const selecting *s) {
    size_t unlike = 0;
    for (size_t t = 0; t < s->plan->positions; t++) {
        unlike += s->like[t] == t && t + 1 < s->plan->positions;
    }
    const size_t rounds = unlike > 0 ? s->lanes : s->lanes / s->plan->positions;
    return !s->each_lane || (double)rounds * (double)s->program->order.count < MOST_WORK;
}

static bool prove_all(selecting *s, mg_blocks *scratch, mg_status *status) {
    mg_plan *plan = s->plan;
    if (!prove_now(s, scratch, status)) {
        return false;
    }
    if (plan->select_count == 0) {
        return true;
    }
    s->turns = mg_allot(scratch, plan->positions, sizeof *s->turns);
    s->like = mg_allot(scratch, plan->positions, sizeof *s->like);
    s->next = mg_allot(scratch, plan->positions, sizeof *s->next);
    if (scratch->failed || !find_concerned(s, scratch)) {
        return false;
    }
    static const size_t everywhere[] = {0, 1, SIZE_MAX};
    for (size_t n = 0; n < sizeof everywhere / sizeof *everywhere; n++) {
        select_everywhere(s, everywhere[n]);
        if (!prove_now(s, scratch, status)) {
            return false;
        }
        note_turns(s);
    }
    s->apart = s->apart || has_pairs(s);
    find_likes(s);
    if (!is_enough(s)) {
        return mg_refuse_plan(plan, "there are too many lanes that an input may select");
    }
    s->seen = mg_allot(scratch, plan->select_count * plan->positions * s->lanes, sizeof *s->seen);
    s->paired = mg_allot(scratch, plan->select_count * plan->select_count * plan->positions, sizeof *s->paired);
    while (!scratch->failed && select_unseen(s)) {
        if (!prove_now(s, scratch, status)) {
            return false;
        }
        note_seen(s);
    }
    return !scratch->failed;
}

mg_status mg_fill_plan(mg_program *program, mg_plan *plan, bool proved, mg_blocks *scratch) {
    selecting s = {.program = program, .plan = plan};
    mg_status status = MG_OK;
    bool made = know_values(&s, scratch);
    if (made) {
        select_in_turn(&s); /* so that what depends on it differs by position */
        mg_program_select(program, s.values);
        made = mg_roll(plan) && (!proved || (find_varying(plan) && prove_all(&s, scratch, &status)));
    }
    return status != MG_OK || made || plan->why_not != NULL ? status : MG_NO_MEMORY;
}
