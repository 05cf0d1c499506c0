/* schedule.c: in which order the reverse takes the steps, read off the sweep's own list.
 *
 * A step must come after all that read it. Of two steps that add to the same lanes, the one goes first that does so in
 * the sweep; where the sweep takes the lanes of two in turn, as of linears that read one x, they make a fan, which has
 * the order of the sweep's at each position. Leaves are added to afterwards, position by position, in order of events.
 *
 * This only proposes an order: proof.c proves it.
 */
#include "programs/plain.h"
#include "programs/plan.h"
#include "tape/sweep.h"

#include <string.h>

#define NO_STEP UINT32_MAX

typedef struct {
    const mg_program *program;
    mg_plan *plan;
    const char **why_not;
    mg_blocks scratch;
    size_t steps, events;
    uint32_t *last;       /* [slots]: which step added to it last, going down the sweep */
    uint8_t *before;      /* [steps][steps]: does the row's step come before the column's? */
    uint32_t *first;      /* [steps]: when the sweep came to it first, at the last position */
    uint32_t *component;  /* [steps]: steps that must be taken in turn have one number */
    uint32_t *fan;        /* [steps]: the fan that it is of, or NO_STEP */
} scheduling;

static bool refuse(const scheduling *s, const char *why_not) {
    *s->why_not = why_not;
    return false;
}

/* ---- a walk down the sweep's list ------------------------------------------------------------------------------- */

/* Calls for every lane, and run of terms, of the statements at positions, in the sweep's order, until it is false. */
typedef bool visit(scheduling *s, size_t step, size_t position, mg_slot head, mg_slot slot, size_t begin, size_t end);

static bool go_down(scheduling *s, visit *visitor) {
    const mg_program *program = s->program;
    const mg_list *order = &program->order;
    const size_t each = s->plan->each, all = each * s->plan->positions;
    size_t statement = all;
    for (size_t i = order->count; i-- > 0;) {
        const mg_slot slot = order->item[i] & ~MG_RUN;
        const bool run = order->item[i] & MG_RUN;
        i -= run ? 2 : 0;
        if (statement >= all || slot < program->statements.item[statement] || slot >= program->ends.item[statement]) {
            statement = mg_program_statement(program, slot);
        }
        if (statement < all && !visitor(s, statement % each, statement / each, program->statements.item[statement], slot,
                                        run ? order->item[i] : 0, run ? order->item[i + 1] : 1)) {
            return false;
        }
    }
    return true;
}

static void follow(scheduling *s, uint32_t step, mg_slot target) {
    const uint32_t last = s->last[target];
    if (last != step) {
        if (last != NO_STEP) {
            s->before[last * s->steps + step] = 1;
        }
        s->last[target] = step;
    }
}

static bool note_order(scheduling *s, size_t step, size_t position, mg_slot head, mg_slot slot, size_t begin,
                       size_t end) {
    const mg_tape *tape = s->program->tape;
    const mg_step *of = &s->plan->step[step];
    if (position + 1 == s->plan->positions && s->first[step] == NO_STEP) {
        s->first[step] = (uint32_t)s->events;
    }
    s->events++;
    for (size_t f = 0; f < of->factors; f++) {
        const mg_source *x = &of->operand[f];
        if (x->from == MG_FROM_LEAVES || x->from == MG_FROM_CONSTANT || !x->derives ||
            (x->from == MG_FROM_ROWS && x->parts == 0 && x->step >= s->plan->each)) {
            continue; /* leaves */
        }
        if (of->operation < MG_LANE) {
            follow(s, (uint32_t)step, tape->operand[slot][f]);
            continue;
        }
        const mg_slot lane = slot - mg_first_lane(tape, head);
        const mg_statement *statement = mg_statement_of(tape, head);
        for (size_t c = begin; c < end; c++) {
            follow(s, (uint32_t)step, mg_operand_at(tape, head, f, lane / statement->width, lane % statement->width, c));
        }
    }
    return true;
}

/* ---- the order of steps ----------------------------------------------------------------------------------------- */

static void add_data_edges(scheduling *s) {
    const mg_plan *plan = s->plan;
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            const mg_source *x = &plan->step[k].operand[f];
            if (!x->derives || x->from == MG_FROM_LEAVES || x->from == MG_FROM_CONSTANT) {
                continue;
            }
            for (size_t p = 0; p < x->parts; p++) {
                s->before[k * s->steps + plan->part[x->part + p].step] = 1;
            }
            if (x->parts == 0 && x->step < plan->each) {
                s->before[k * s->steps + x->step] = 1;
            }
        }
    }
}

/* Sums of products with leaves that read the same rows in the same way. */
static bool same_rows(const mg_plan *plan, const mg_step *a, const mg_step *b) {
    if (a->weights == MG_NOWHERE || b->weights == MG_NOWHERE) {
        return false;
    }
    const mg_source *x = &a->operand[1 - a->weights], *y = &b->operand[1 - b->weights];
    bool same = a->terms == b->terms && x->parts == y->parts && x->term == y->term;
    if (x->parts == 0) {
        return same && x->step == y->step && x->offset == y->offset;
    }
    for (size_t p = 0; same && p < x->parts; p++) {
        same = x->block == y->block && memcmp(&plan->part[x->part + p], &plan->part[y->part + p], sizeof(mg_part)) == 0;
    }
    return same;
}

/* Steps that each must come before the other, along whatever way, are one component; only fans may be. */
static bool find_components(scheduling *s) {
    const size_t n = s->steps;
    uint8_t *reaches = mg_allot(&s->scratch, n * n, 1);
    if (reaches == NULL) {
        return refuse(s, NULL);
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
                fit = fit && same_rows(s->plan, &s->plan->step[a], &s->plan->step[b]);
                break;
            }
        }
    }
    return fit || refuse(s, "the sweep takes the lanes of two statements in turn, and they are not sums over the same");
}

/* ---- fans ------------------------------------------------------------------------------------------------------- */

/* Lists a lane of a fan after those listed since `from`, joined to the last where it is the next one down. */
static bool list_lane(scheduling *s, size_t from, size_t step, size_t lane) {
    mg_plan *plan = s->plan;
    if (plan->run_count > from) {
        mg_rows *last = &plan->run[plan->run_count - 1];
        if (last->step == step && last->start == lane + last->count) {
            last->count++;
            return true;
        }
    }
    mg_rows *rows = mg_append(&plan->blocks, &plan->run, &plan->run_count, sizeof *rows);
    if (rows != NULL) {
        *rows = (mg_rows){step, lane, 1};
    }
    return rows != NULL;
}

/* Lanes of all fans, in the order in which the sweep adds term 0 of each: one array, sorted by fan and position. */
typedef struct {
    uint32_t step, lane;
} sighting;

typedef struct {
    sighting *item;
    size_t *start; /* [fans * positions + 1] */
    bool sort;
} sightings;

/* Makes the fans of all steps that are sums of products with leaves. */
static bool make_fans(scheduling *s) {
    mg_plan *plan = s->plan;
    for (size_t k = 0; k < s->steps; k++) {
        s->fan[k] = NO_STEP;
        if (plan->step[k].weights == MG_NOWHERE || s->first[k] == NO_STEP) {
            continue;
        }
        if (s->component[k] != k) {
            s->fan[k] = s->fan[s->component[k]];
            continue;
        }
        mg_fan *added = mg_append(&plan->blocks, &plan->fan, &plan->fan_count, sizeof *added);
        if (added == NULL) {
            return refuse(s, NULL);
        }
        *added = (mg_fan){.select = MG_NOWHERE, .first = k};
        s->fan[k] = (uint32_t)(plan->fan_count - 1);
    }
    return true;
}

static void see(const scheduling *s, sightings *all) {
    const mg_program *program = s->program;
    const mg_tape *tape = program->tape;
    const mg_list *order = &program->order;
    const size_t each = s->plan->each, positions = s->plan->positions, count = each * positions;
    size_t statement = count;
    for (size_t i = order->count; i-- > 0;) {
        const mg_slot slot = order->item[i] & ~MG_RUN;
        const bool run = order->item[i] & MG_RUN;
        i -= run ? 2 : 0;
        if (mg_code(tape, slot) != MG_LANE || (run && order->item[i] != 0)) {
            continue; /* not of a sum, or not its term 0 */
        }
        if (statement >= count || slot < program->statements.item[statement] || slot >= program->ends.item[statement]) {
            statement = mg_program_statement(program, slot);
        }
        if (statement >= count || s->fan[statement % each] == NO_STEP) {
            continue;
        }
        size_t *next = &all->start[s->fan[statement % each] * positions + statement / each];
        if (all->sort) {
            all->item[(*next)++] = (sighting){(uint32_t)(statement % each), tape->operand[slot][1]};
        } else {
            next[1]++;
        }
    }
}

static bool list_lanes(scheduling *s, const sighting *item, size_t count, size_t *from, size_t *to) {
    *from = s->plan->run_count;
    for (size_t n = 0; n < count; n++) {
        if (!list_lane(s, *from, item[n].step, item[n].lane)) {
            return refuse(s, NULL);
        }
    }
    *to = s->plan->run_count;
    return true;
}

/* Does the selection's lane come last, and the others down? */
static bool selected_last(const scheduling *s, const mg_fan *fan, const sighting *item, size_t count, size_t selected) {
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
static size_t find_selection(const scheduling *s, size_t f, const sightings *all) {
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

static bool order_fan(scheduling *s, size_t f, const sightings *all) {
    mg_plan *plan = s->plan;
    mg_fan *fan = &plan->fan[f];
    const size_t positions = plan->positions, *start = all->start + f * positions;
    fan->exceptions = fan->exceptions_end = plan->exception_count;
    fan->select = find_selection(s, f, all);
    if (fan->select != MG_NOWHERE) { /* the selected lane's adjoint is 0 while the others are added */
        fan->from = plan->run_count;
        for (size_t lane = plan->step[fan->first].width; lane-- > 0;) {
            if (!list_lane(s, fan->from, fan->first, lane)) {
                return refuse(s, NULL);
            }
        }
        fan->to = plan->run_count;
        return true;
    }
    const size_t last = positions - 1, count = start[last + 1] - start[last];
    const sighting *usual = all->item + start[last];
    if (!list_lanes(s, usual, count, &fan->from, &fan->to)) {
        return false;
    }
    for (size_t t = 0; t < last; t++) {
        const size_t here = start[t + 1] - start[t];
        if (here == count && memcmp(usual, all->item + start[t], count * sizeof *usual) == 0) {
            continue;
        }
        mg_exception *exception = mg_append(&plan->blocks, &plan->exception, &plan->exception_count, sizeof *exception);
        if (exception == NULL) {
            return refuse(s, NULL);
        }
        exception->position = t;
        if (!list_lanes(s, all->item + start[t], here, &exception->from, &exception->to)) {
            return false;
        }
    }
    fan->exceptions_end = plan->exception_count;
    return true;
}

static bool order_fans(scheduling *s) {
    const size_t starts = s->plan->fan_count * s->plan->positions + 1;
    sightings all = {NULL, mg_allot(&s->scratch, starts + 1, sizeof *all.start), false};
    if (all.start == NULL) {
        return refuse(s, NULL);
    }
    see(s, &all);
    for (size_t n = 1; n < starts; n++) {
        all.start[n] += all.start[n - 1];
    }
    all.item = mg_allot(&s->scratch, all.start[starts - 1], sizeof *all.item);
    if (all.item == NULL) {
        return refuse(s, NULL);
    }
    all.sort = true;
    see(s, &all); /* moves each start to its end */
    memmove(all.start + 1, all.start, (starts - 1) * sizeof *all.start);
    all.start[0] = 0;
    for (size_t f = 0; f < s->plan->fan_count; f++) {
        if (!order_fan(s, f, &all)) {
            return false;
        }
    }
    return true;
}

/* ---- actions ---------------------------------------------------------------------------------------------------- */

/* Takes the components in an order that keeps `before`, and among those that are free the one that the sweep came to
   first. Steps that the sweep never comes to, or that pass nothing on, have no action. */
static bool order_actions(scheduling *s) {
    mg_plan *plan = s->plan;
    const size_t n = s->steps;
    size_t left = 0;
    uint32_t *waits = mg_allot(&s->scratch, n, sizeof *waits); /* for so many; NO_STEP: for its turn no more */
    bool fits = waits != NULL;
    for (size_t b = 0; fits && b < n; b++) {
        if (s->first[b] == NO_STEP || !plan->step[b].derives) {
            waits[b] = NO_STEP;
        }
        left += waits[b] != NO_STEP && s->component[b] == b;
    }
    for (size_t n2 = 0; fits && n2 < n * n; n2++) {
        const size_t a = n2 / n, b = n2 % n;
        if (s->before[n2] && waits[a] != NO_STEP && waits[b] != NO_STEP && s->component[a] != s->component[b]) {
            waits[s->component[b]]++;
        }
    }
    for (; fits && left > 0; left--) {
        size_t next = n;
        for (size_t k = 0; k < n; k++) {
            if (s->component[k] == k && waits[k] == 0 && (next == n || s->first[k] < s->first[next])) {
                next = k;
            }
        }
        if (next == n) {
            break;
        }
        for (size_t n2 = 0; n2 < n * n; n2++) {
            const size_t a = n2 / n, b = n2 % n;
            if (s->before[n2] && s->component[a] == next && waits[a] != NO_STEP && s->component[b] != next &&
                waits[b] != NO_STEP) {
                waits[s->component[b]]--;
            }
        }
        waits[next] = NO_STEP;
        mg_action *action = mg_append(&plan->blocks, &plan->action, &plan->action_count, sizeof *action);
        fits = action != NULL;
        if (fits) {
            *action = s->fan[next] != NO_STEP ? (mg_action){true, s->fan[next]} : (mg_action){false, next};
        }
    }
    return fits ? left == 0 || refuse(s, "no order of the statements is the sweep's at all positions") : refuse(s, NULL);
}

/* ---- leaves ----------------------------------------------------------------------------------------------------- */

static void widen(mg_region *region, mg_slot first, mg_slot end) {
    region->first = first < region->first ? first : region->first;
    region->end = end > region->end ? end : region->end;
}

/* All leaves that operand `f` of a step adds to. */
static mg_region leaves_of(const scheduling *s, size_t k, size_t f) {
    const mg_plan *plan = s->plan;
    const mg_step *step = &plan->step[k];
    const mg_source *x = &step->operand[f];
    if (x->from == MG_FROM_LEAVES) {
        const size_t reach = (step->groups - 1) * x->group + (step->width - 1) * x->lane + (step->terms - 1) * x->term;
        return (mg_region){.first = x->leaves, .end = x->leaves + (mg_slot)reach + 1};
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
            const mg_binding *binding = &s->program->bindings[plan->input[n].binding];
            widen(&region, binding->table, binding->table + (mg_slot)binding->lanes);
        }
    }
    return region;
}

/* Does operand `f` of a step add to leaves? */
static bool adds_to_leaves(const scheduling *s, size_t k, size_t f) {
    const mg_plan *plan = s->plan;
    const mg_source *x = &plan->step[k].operand[f];
    return s->first[k] != NO_STEP && plan->step[k].operation != MG_LARGEST &&
           (x->from == MG_FROM_LEAVES || (x->from == MG_FROM_ROWS && x->parts == 0 && x->step >= plan->each));
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
static bool add_region(scheduling *s, const addition *all, size_t n, size_t owner) {
    mg_plan *plan = s->plan;
    mg_region *region = mg_append(&plan->blocks, &plan->region, &plan->region_count, sizeof *region);
    if (region == NULL) {
        return refuse(s, NULL);
    }
    *region = all[owner].region;
    region->from = plan->event_count;
    for (size_t e = owner; e < n; e++) {
        if (all[e].owner != owner) {
            continue;
        }
        if (mg_append(&plan->blocks, &plan->event, &plan->event_count, sizeof(mg_event)) == NULL) {
            return refuse(s, NULL);
        }
        size_t at = plan->event_count - 1;
        for (; at > region->from && s->first[plan->event[at - 1].step] > s->first[all[e].event.step]; at--) {
            plan->event[at] = plan->event[at - 1];
        }
        plan->event[at] = all[e].event;
    }
    region->to = plan->event_count;
    return true;
}

static bool order_leaves(scheduling *s) {
    const mg_plan *plan = s->plan;
    addition *all = mg_allot(&s->scratch, 2 * plan->each, sizeof *all);
    size_t n = 0;
    if (all == NULL) {
        return refuse(s, NULL);
    }
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            if (adds_to_leaves(s, k, f)) {
                all[n] = (addition){{k, f}, leaves_of(s, k, f), n};
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

/* ---- all -------------------------------------------------------------------------------------------------------- */

bool mg_schedule(const mg_program *program, mg_plan *plan, const char **why_not) {
    const size_t slots = program->tape->page_count * MG_PAGE, steps = plan->each;
    scheduling s = {.program = program, .plan = plan, .why_not = why_not, .scratch = {.tape = program->tape},
                    .steps = steps};
    s.last = mg_allot(&s.scratch, slots, sizeof *s.last);
    s.before = mg_allot(&s.scratch, steps * steps, 1);
    s.first = mg_allot(&s.scratch, steps, sizeof *s.first);
    s.component = mg_allot(&s.scratch, steps, sizeof *s.component);
    s.fan = mg_allot(&s.scratch, steps, sizeof *s.fan);
    bool done = !s.scratch.failed || refuse(&s, NULL);
    if (done) {
        memset(s.last, 0xff, slots * sizeof *s.last);
        memset(s.first, 0xff, steps * sizeof *s.first);
        go_down(&s, note_order);
        add_data_edges(&s);
        done = find_components(&s) && make_fans(&s) && order_fans(&s) && order_actions(&s) && order_leaves(&s);
    }
    mg_free_blocks(s.scratch);
    return done;
}
