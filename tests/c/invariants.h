/* invariants.h: walks a whole tape, program, plan or trainer, and asserts what the core's headers state as invariants.
 *
 * Each function returns NULL, or the first statement that does not hold. They read the core's own structures, and
 * change nothing; call them between calls of the core, from any thread while no other uses the tape. They cost as much
 * as the tape is long, so they are for tests.
 */
#ifndef INVARIANTS_H
#define INVARIANTS_H

#include "programs/plan.h"
#include "programs/trainer.h"
#include "tape/operations.h"
#include "tape/statements.h"
#include "tape/sweep.h"
#include "tape/tape.h"

#include <stdlib.h>

#define MUST(condition, words) \
    do {                       \
        if (!(condition)) {    \
            return words;      \
        }                      \
    } while (0)

static inline bool is_used(const mg_tape *tape, size_t slot) {
    const size_t p = slot / MG_PAGE;
    return p < tape->page_count && tape->pages[p].serial != 0 && slot % MG_PAGE < tape->pages[p].used;
}

/* Are n slots from `first` in use, in pages that were opened together? */
static inline bool is_run(const mg_tape *tape, size_t first, size_t n) {
    for (size_t s = first; s < first + n; s++) {
        if (!is_used(tape, s) || tape->pages[s / MG_PAGE].serial !=
                                     tape->pages[first / MG_PAGE].serial + (s / MG_PAGE - first / MG_PAGE)) {
            return false;
        }
    }
    return n > 0;
}

/* An operand is a lane, recorded before what reads it. */
static inline bool is_operand(const mg_tape *tape, mg_slot operand, mg_slot reader) {
    return is_used(tape, operand) && mg_is_lane(mg_code(tape, operand)) &&
           mg_id_of(tape, operand) < mg_id_of(tape, reader);
}

static inline const char *broken_pages(const mg_tape *tape) {
    size_t in_use = 0, entries = 0;
    for (size_t p = 0; p < tape->page_count; p++) {
        const mg_page *page = &tape->pages[p];
        uint32_t found;
        if (page->serial == 0) {
            MUST(p >= tape->first_free, "no page below first_free is free");
            continue;
        }
        in_use++;
        MUST(page->serial < mg_next_serial(), "a serial was given out before");
        MUST(mg_look_up(tape, page->serial, &found) && found == p, "the directory has every page in use");
        MUST(page->used > 0 && page->used <= MG_PAGE, "a page in use has 1 to MG_PAGE slots");
        MUST(page->whole <= page->written && page->computed <= page->written && page->written <= tape->clock,
             "a time of writing is one that was");
    }
    for (size_t e = 0; e < tape->directory_size; e++) {
        entries += tape->directory[e].serial != 0;
    }
    MUST(entries == in_use, "the directory has nothing but pages in use");
    MUST((tape->directory_size & (tape->directory_size - 1)) == 0, "the directory's size is a power of two");
    MUST(2 * tape->page_count <= tape->directory_size, "the directory is at most half full");
    MUST(tape->first_free <= tape->page_count, "first_free is a page, or the next");
    MUST(!tape->open || (tape->current < tape->page_count && tape->pages[tape->current].serial != 0),
         "the open page is in use");
    return NULL;
}

static inline const char *broken_statement(const mg_tape *tape, mg_slot header) {
    const mg_statement *s = mg_statement_of(tape, header);
    const bool custom = mg_code(tape, header) == MG_CUSTOM;
    MUST(s->first > header && s->lanes > 0, "a statement has lanes after its header");
    MUST(is_run(tape, header, (size_t)s->first + s->lanes - header), "header, payload and lanes are one run of slots");
    MUST(s->lanes == (uint64_t)s->groups * s->width && s->terms > 0, "lanes == groups * width");
    MUST(s->factors == 1 || (s->factors == 2 && mg_code(tape, header) == MG_SUM), "a term has one factor or two");
    MUST(mg_recorded(tape, header) <= tape->clock, "a statement was recorded before now");
    for (mg_slot p = header + 1; p < s->first; p++) {
        MUST(tape->operation[p] == MG_PAYLOAD, "payload lies between header and lanes");
    }
    for (uint32_t i = 0; i < s->lanes; i++) {
        MUST(tape->operation[s->first + i] == MG_LANE && tape->operand[s->first + i][0] == header &&
                 tape->operand[s->first + i][1] == i, "lane i is slot first + i");
    }
    for (uint32_t f = 0; f < s->factors; f++) {
        const mg_operands *x = &s->operand[f];
        if (x->listing != MG_STRIDED) {
            const uint32_t listed = x->listing == MG_BY_TERM ? s->terms : s->width;
            MUST(x->listing == MG_BY_TERM || x->listing == MG_BY_LANE, "a list is by lane or by term");
            MUST(x->block > 0 && x->entries == (listed - 1) / x->block + 1, "a list has an entry a block");
            MUST(2 * (s->first - header) >= x->list + x->entries &&
                     x->list >= sizeof(mg_statement) / sizeof(uint32_t), "a list lies in the payload");
            MUST(!custom || x->list % 2 == 0, "partials of a custom statement stand beside its list");
        }
        for (size_t g = 0; g < s->groups; g++) {
            for (size_t i = 0; i < s->width; i++) {
                for (size_t c = 0; c < s->terms; c++) {
                    MUST(is_operand(tape, mg_operand_at(tape, header, f, g, i, c), header),
                         "every slot that a view gives is a lane recorded before");
                }
            }
        }
    }
    return NULL;
}

static inline const char *broken_slot(const mg_tape *tape, mg_slot s) {
    const uint8_t operation = tape->operation[s], code = mg_code(tape, s);
    const char *broken = NULL;
    MUST(!(operation & MG_VISITED), "between calls no operation byte has MG_VISITED");
    MUST(code <= MG_PAYLOAD, "an operation byte is an operation");
    if (operation & MG_JOINED) {
        MUST(code > MG_CONSTANT && code < MG_LANE, "lanes that are joined are of a map");
        MUST(s > 0 && is_run(tape, s - 1, 2) && mg_code(tape, s - 1) == code, "a joined lane follows one of its map");
    }
    if (mg_is_leaf(code)) {
        MUST(tape->partial[s][0] <= (double)tape->clock, "a leaf was written before now");
    } else if (code < MG_LANE) {
        for (uint32_t k = 0; k < mg_scalar_arity[code]; k++) {
            MUST(is_operand(tape, tape->operand[s][k], s), "an operand is a lane recorded before");
        }
    } else if (code == MG_LANE) {
        const mg_slot header = tape->operand[s][0];
        MUST(is_used(tape, header) && mg_code(tape, header) > MG_LANE && mg_code(tape, header) < MG_PAYLOAD &&
                 mg_statement_of(tape, header)->first + tape->operand[s][1] == s, "a lane knows its statement");
    } else if (code < MG_PAYLOAD) {
        broken = broken_statement(tape, s);
    }
    return broken;
}

static inline const char *broken_tape(const mg_tape *tape) {
    const uint64_t slot_size = sizeof *tape->value + sizeof *tape->adjoint + sizeof *tape->partial +
                               sizeof *tape->operand + sizeof *tape->operation;
    uint64_t bytes = sizeof *tape + tape->page_capacity * sizeof *tape->pages +
                     tape->directory_size * sizeof *tape->directory +
                     tape->visitor_capacity * sizeof *tape->visitors +
                     (tape->order.capacity + tape->stack.capacity) * sizeof *tape->order.item;
    const size_t sizes[5] = {sizeof *tape->value, sizeof *tape->adjoint, sizeof *tape->partial, sizeof *tape->operand,
                             sizeof *tape->operation};
    const char *broken;
    MUST(slot_size == 41, "a slot has 41 bytes");
    for (int a = 0; a < 5; a++) {
        MUST(tape->held[a] >= tape->capacity, "every array has room for capacity slots");
        bytes += tape->held[a] == 0 ? 0 : tape->held[a] * sizes[a] + MG_ALIGNMENT;
    }
    MUST((tape->user & 1) == 0, "between calls nobody is inside one");
    MUST(tape->holders > 0, "somebody holds the tape");
    MUST(tape->holders > 1 ? tape->bytes >= bytes : tape->bytes == bytes, "bytes counts all that is allocated");
    MUST(!tape->closed || (tape->capacity == 0 && tape->page_count == 0 && tape->pages == NULL && !tape->open),
         "a closed tape has no storage");
    MUST(tape->page_count <= tape->page_capacity && tape->page_count * MG_PAGE <= tape->capacity &&
             tape->capacity % MG_PAGE == 0 && tape->capacity <= MG_MAX_SLOTS, "page_count * MG_PAGE <= capacity");
    MUST(tape->order.count <= tape->order.capacity && tape->stack.count <= tape->stack.capacity, "a list has its room");
    broken = broken_pages(tape);
    for (size_t p = 0; broken == NULL && p < tape->page_count; p++) {
        for (size_t s = p * MG_PAGE; broken == NULL && is_used(tape, s); s++) {
            broken = broken_slot(tape, (mg_slot)s);
            if ((s + 1) % MG_PAGE == 0) {
                break;
            }
        }
    }
    return broken;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* Are the operands of a step, at all positions, what the statements read? Where an input selects, it is enough that
   they are lanes. */
static inline const char *broken_step(const mg_program *program, const mg_plan *plan, size_t k) {
    const mg_tape *tape = program->tape;
    const mg_step *step = &plan->step[k];
    for (size_t t = 0; t < plan->positions; t++) {
        const mg_slot head = mg_step_head(plan, k, t), first = mg_first_lane(tape, head);
        const size_t width = mg_width_at(step, t), terms = mg_terms_at(step, t);
        MUST(mg_code(tape, head) == step->operation, "a step has the same statement at every position");
        MUST(mg_lanes(tape, head) == step->groups * width, "a step has the lanes of its statements");
        for (size_t f = 0; f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            const bool rows = x->from == MG_FROM_ROWS && x->parts == 0;
            const bool gathered = x->step >= plan->each && x->step < plan->step_count;
            MUST((!rows && x->from != MG_FROM_PAST) || x->step < k || gathered,
                 "a source of a step is an earlier step, a gather, or leaves");
            const bool selected = x->from == MG_FROM_SELECTED || (rows && x->step >= plan->each);
            for (size_t g = 0; x->from != MG_FROM_CONSTANT && g < step->groups; g++) {
                for (size_t i = 0; i < width; i++) {
                    for (size_t c = 0; c < terms; c++) {
                        const mg_slot read = mg_source_slot(plan, step, f, t, g, i, c);
                        const mg_slot recorded = mg_code(tape, head) > MG_LANE
                                                     ? mg_operand_at(tape, head, f, g, i, c)
                                                     : tape->operand[first + g * width + i][f];
                        MUST(selected ? is_operand(tape, read, head) : read == recorded,
                             "a source gives what the statement reads");
                    }
                }
            }
        }
    }
    return NULL;
}

/* Runs of lanes that a fan takes at a position: each lane once. */
static inline const char *broken_runs(const mg_plan *plan, size_t from, size_t to, size_t *lanes) {
    MUST(from < to && to <= plan->run_count, "a fan has runs of the plan");
    *lanes = 0;
    for (size_t r = from; r < to; r++) {
        const mg_rows *run = &plan->run[r];
        MUST(run->step < plan->each && run->count > 0 && run->count <= run->start + 1 &&
                 run->start < plan->step[run->step].groups * plan->step[run->step].width,
             "a run is of lanes of a step");
        *lanes += run->count;
        for (size_t q = from; q < r; q++) {
            const mg_rows *other = &plan->run[q];
            MUST(other->step != run->step || other->start + 1 - other->count > run->start ||
                     run->start + 1 - run->count > other->start, "a fan takes a lane once");
        }
    }
    return NULL;
}

static inline const char *broken_fan(const mg_plan *plan, const mg_fan *fan) {
    size_t lanes = 0, others = 0;
    const char *broken = broken_runs(plan, fan->from, fan->to, &lanes);
    MUST(fan->first < plan->each && (fan->select == MG_NOWHERE || fan->select < plan->select_count),
         "a fan is of steps and selections of the plan");
    MUST(fan->exceptions <= fan->exceptions_end && fan->exceptions_end <= plan->exception_count,
         "a fan has exceptions of the plan");
    for (size_t e = fan->exceptions; broken == NULL && e < fan->exceptions_end; e++) {
        MUST(plan->exception[e].position < plan->positions, "an exception is at a position");
        broken = broken_runs(plan, plan->exception[e].from, plan->exception[e].to, &others);
        MUST(broken != NULL || lanes == others, "an exception takes the lanes of its fan");
    }
    return broken;
}

/* What events add to is inside their region, also where an input selects from a table. */
static inline const char *broken_region(const mg_plan *plan, const mg_region *region) {
    MUST(region->from < region->to && region->to <= plan->event_count && region->first < region->end,
         "a region has events, and leaves");
    for (size_t e = region->from; e < region->to; e++) {
        const mg_event *event = &plan->event[e];
        MUST(event->step < plan->each && event->factor < plan->step[event->step].factors,
             "an event is of an operand of a step");
        const mg_step *step = &plan->step[event->step];
        for (size_t t = 0; t < plan->positions; t++) {
            const size_t width = mg_width_at(step, t);
            for (size_t lane = 0; lane < step->groups * width; lane++) {
                for (size_t c = 0; c < mg_terms_at(step, t); c++) {
                    const mg_slot slot = mg_source_slot(plan, step, event->factor, t, lane / width,
                                                        lane % width, c);
                    MUST(slot >= region->first && slot < region->end, "an event adds to leaves of its region");
                }
            }
        }
    }
    for (const mg_region *other = plan->region; other < region; other++) {
        MUST(other->end <= region->first || other->first >= region->end, "regions share no leaf");
        MUST(other->to <= region->from || other->from >= region->to, "regions share no event");
    }
    return NULL;
}

static inline const char *broken_plan(const mg_program *program, const mg_plan *plan) {
    const char *broken = NULL;
    MUST(plan->positions == program->losses && plan->loss < plan->each, "a position has a loss");
    MUST(plan->each * plan->positions + (program->mean ? 2 : 1) == program->statements.count,
         "all statements but the last are of a position");
    MUST(plan->step_count == plan->each + plan->gather_count, "the gathers follow the statements");
    MUST(plan->reached.page == NULL && plan->held == NULL, "nothing is left of the proof");
    for (size_t n = 0; n < plan->select_count; n++) {
        MUST(plan->selects[n] < plan->each, "a selection is of a step");
        for (size_t t = 0; t < plan->positions; t++) {
            const mg_read *read = &plan->selected[n * plan->positions + t];
            MUST(read->at < plan->step[plan->selects[n]].width, "a lane is selected");
            MUST(read->binding < program->binding_count, "an input selects it");
        }
    }
    for (size_t n = 0; n < plan->gather_count; n++) {
        const mg_gather *gather = &plan->gather[n];
        MUST(gather->before * plan->positions == gather->slots, "a gather has its parts at every position");
        for (size_t i = 0; i < plan->positions * gather->parts; i++) {
            const mg_read *read = &plan->gathered[gather->slots + i];
            MUST(is_run(program->tape, (mg_slot)read->at, gather->block), "what is gathered are slots in use");
            MUST(read->binding == MG_NOWHERE || read->binding < program->binding_count, "an input selects it, or none");
        }
    }
    for (size_t k = 0; broken == NULL && k < plan->each; k++) {
        broken = broken_step(program, plan, k);
    }
    for (size_t a = 0; broken == NULL && a < plan->action_count; a++) {
        const mg_action *action = &plan->action[a];
        MUST(action->number < (action->is_fan ? plan->fan_count : plan->each), "an action is a step or a fan");
        for (size_t b = 0; b < a; b++) {
            MUST(plan->action[b].is_fan != action->is_fan || plan->action[b].number != action->number,
                 "an action comes once");
        }
    }
    for (size_t f = 0; broken == NULL && f < plan->fan_count; f++) {
        broken = broken_fan(plan, &plan->fan[f]);
    }
    for (size_t r = 0; broken == NULL && r < plan->region_count; r++) {
        broken = broken_region(plan, &plan->region[r]);
    }
    return broken;
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

/* How many terms of a lane the order of a sweep lists: none where there is nothing to add to. */
static inline uint32_t terms_listed(const mg_tape *tape, mg_slot slot) {
    const uint8_t code = mg_code(tape, slot), of = code == MG_LANE ? mg_code(tape, tape->operand[slot][0]) : code;
    return mg_is_leaf(of) || of == MG_LARGEST ? 0
           : of == MG_SUM                     ? mg_statement_of(tape, tape->operand[slot][0])->terms
                                              : 1;
}

/* Is every lane listed once, all of its terms, after its operands? */
static inline const char *broken_order(const mg_tape *tape, const uint32_t *item, size_t count, uint32_t *done) {
    size_t at = 0;
    while (at < count) {
        const bool run = at + 2 < count && item[at + 2] & MG_RUN;
        const mg_slot slot = run ? item[at + 2] & ~MG_RUN : item[at];
        MUST(!(slot & MG_RUN) && is_used(tape, slot), "the order lists slots in use");
        const uint8_t code = mg_code(tape, slot);
        MUST(code > MG_CONSTANT && code <= MG_LANE, "the order lists lanes that have operands");
        const mg_slot header = tape->operand[slot][0];
        const bool whole = code < MG_LANE || mg_code(tape, header) == MG_CUSTOM;
        const uint32_t terms = terms_listed(tape, slot);
        const uint32_t from = run ? item[at] : 0, to = run ? item[at + 1] : 1;
        MUST(from == done[slot] && from < to && to <= terms, "the order lists every term of a lane once, in turn");
        const mg_statement *s = code < MG_LANE ? NULL : mg_statement_of(tape, header);
        const size_t operands = s == NULL ? mg_scalar_arity[code] : (size_t)(whole ? s->terms : to - from) * s->factors;
        for (size_t k = 0; k < operands; k++) {
            const size_t cursor = whole ? k : k + (size_t)from * s->factors;
            const mg_slot x = code < MG_LANE ? tape->operand[slot][k]
                                             : mg_operand_visited(tape, header, tape->operand[slot][1], cursor);
            MUST(done[x] == terms_listed(tape, x), "the order lists a lane after its operands");
        }
        done[slot] = to;
        at += run ? 3 : 1;
    }
    return NULL;
}

typedef struct {
    const mg_program *program;
    uint32_t needed;
} needing;

static inline bool is_needed_as_early(void *context, mg_slot first, size_t n) {
    const needing *by = context;
    for (mg_slot s = first; s < first + n; s++) {
        const size_t k = mg_is_leaf(mg_code(by->program->tape, s)) ? by->program->statements.count
                                                                   : mg_program_statement(by->program, s);
        if (k < by->program->statements.count && by->program->needed.item[k] > by->needed) {
            return false;
        }
    }
    return true;
}

/* Has a table that an input selects from been collected? The program then refuses to be computed. */
static inline bool uses_lost_leaves(const mg_program *program) {
    bool lost = false;
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        mg_slot slot;
        lost = lost || !mg_find_run(program->tape, binding->first, binding->lanes, &slot);
    }
    return lost;
}

static inline const char *broken_program(const mg_program *program) {
    const mg_tape *tape = program->tape;
    const size_t count = program->statements.count;
    mg_slot result;
    MUST(program->holders > 0 && tape->holders > 0, "a program holds its tape");
    MUST(program->ends.count == count && program->needed.count == count, "three lists have one item a statement");
    MUST(program->losses == 0 || program->losses == program->loss.count, "losses is loss.count, or 0");
    MUST(program->plan == NULL || program->why_not == NULL, "there is a plan, or a reason");
    if (tape->closed || !mg_find(tape, program->result, &result)) {
        return NULL; /* what it refers to is gone, and it knows */
    }
    for (size_t k = 0; k < count; k++) {
        const mg_slot head = program->statements.item[k];
        MUST(is_used(tape, head), "a statement is in use");
        const uint8_t code = mg_code(tape, head);
        MUST(!(tape->operation[head] & MG_JOINED) && code > MG_CONSTANT && code != MG_LANE && code < MG_PAYLOAD,
             "a statement begins at its head");
        MUST(program->ends.item[k] == mg_end(tape, head), "an end is the slot after the last");
        MUST(k == 0 || mg_id_of(tape, program->statements.item[k - 1]) < mg_id_of(tape, head),
             "statements are in order of recording");
        needing by = {program, program->needed.item[k]};
        MUST(by.needed <= program->losses, "needed is a loss, or the result");
        MUST(program->losses == 0 || mg_each_run(tape, head, is_needed_as_early, &by),
             "what a statement reads is needed as early as it is");
    }
    for (size_t t = 0; t < program->losses; t++) {
        const size_t k = mg_program_statement(program, program->loss.item[t]);
        MUST(k < count && program->needed.item[k] <= t, "a loss is needed by itself");
    }
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        MUST(mg_program_statement(program, binding->head) < count, "a binding is of a statement of the program");
        MUST(binding->input < program->inputs && program->values[binding->input] < (int64_t)binding->count,
             "an input's value is below its binding's count");
    }
    if (program->ordered == program->losses && program->ordered_at == tape->selections) {
        uint32_t *done = calloc(tape->page_count * MG_PAGE, sizeof *done);
        const char *broken = done == NULL ? NULL : broken_order(tape, program->order.item, program->order.count, done);
        free(done);
        if (broken != NULL) {
            return broken;
        }
    }
    return program->plan != NULL && !uses_lost_leaves(program) ? broken_plan(program, program->plan) : NULL;
}

/* ---- trainers ---------------------------------------------------------------------------------------------------- */

/* Has every step rows of its own, in texts of so many positions? */
static inline const char *broken_rows(const mg_plan *plan, size_t positions) {
    size_t values = 0, adjoints = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        const mg_step *step = &plan->step[k];
        const size_t lanes = step->groups * (step->causal ? positions : step->width);
        const size_t rows = step->uniform ? step->groups : lanes;
        MUST(mg_count_at(step->value, positions) >= values, "steps share no row");
        values = mg_count_at(step->value, positions) + rows * (1 + step->partials);
        MUST(mg_count_at(step->adjoint, positions) >= adjoints, "steps share no row of adjoints");
        adjoints = mg_count_at(step->adjoint, positions) + (step->derives && step->operation != MG_GATHER ? lanes : 0);
        MUST(values <= mg_count_at(plan->value_rows, positions) && adjoints <= mg_count_at(plan->adjoint_rows, positions),
             "all rows are rows of the workspace");
        MUST(step->weights == MG_NOWHERE || step->turned + mg_padded(step->terms) <= plan->turned_columns,
             "what is turned round has its columns");
        MUST(!step->adds_rows || step->turned + mg_padded(step->width) <= plan->turned_columns,
             "and so have adjoints that are");
    }
    return NULL;
}

/* Are all arrays inside their blocks, one after the other? */
static inline const char *broken_blocks(const mg_workspace *at, const mg_replay *replay, size_t size) {
    const char *numbers = at->numbers, *value = replay->value, *adjoint = replay->adjoint, *turned = replay->turned;
    const char *scratch = replay->scratch;
    const char *index = at->index, *gathered = (const char *)replay->gathered;
    const mg_plan *plan = replay->plan;
    const size_t slots = plan->gathered_count / plan->positions * replay->computed;
    MUST(value >= numbers && (uintptr_t)value % MG_ALIGNMENT == 0, "rows begin in the workspace, at a whole vector");
    MUST(adjoint >= value + replay->value_rows * replay->padded * size, "adjoints come after values");
    MUST(turned >= adjoint + mg_count_at(plan->adjoint_rows, replay->positions) * replay->padded * size,
         "what is turned round comes after adjoints");
    MUST(scratch >= turned + plan->turned_columns * replay->lines * size, "scratch comes after what is turned round");
    MUST(scratch + replay->scratch_numbers * size <= numbers + mg_bytes(at->numbers), "rows end in the workspace");
    MUST((const char *)replay->start == index && replay->length >= replay->start + replay->positions + 1 &&
             replay->line >= replay->length + replay->texts && replay->line_of >= replay->line + replay->texts + 1 &&
             replay->selected >= replay->line_of + replay->padded &&
             gathered >= (const char *)(replay->selected + plan->select_count * replay->computed) &&
             gathered + slots * sizeof(mg_slot) <= index + mg_bytes(at->index),
         "what texts read is listed in the workspace");
    return NULL;
}

/* Do texts, the longest first, have their columns and lines? */
static inline const char *broken_texts(const mg_replay *replay) {
    MUST(replay->texts > 0 && replay->texts <= MG_WAVE, "a replay has texts");
    MUST(replay->positions == replay->length[0] && replay->positions <= replay->plan->positions,
         "the first text is the longest");
    MUST(replay->start[0] == 0 && replay->line[0] == 0, "columns and lines begin at 0");
    for (size_t d = 0; d < replay->texts; d++) {
        MUST(replay->length[d] > 0 && (d == 0 || replay->length[d] <= replay->length[d - 1]),
             "texts come longest first");
        MUST(replay->line[d + 1] == replay->line[d] + replay->length[d], "a text has a line a position");
    }
    for (size_t t = 0; t < replay->positions; t++) {
        size_t longer = 0;
        while (longer < replay->texts && replay->length[longer] > t) {
            longer++;
        }
        MUST(replay->start[t + 1] == replay->start[t] + longer, "a position has a column for each text that has it");
    }
    MUST(replay->lines == replay->line[replay->texts] + 1 && replay->computed == replay->start[replay->positions] &&
             replay->padded == mg_padded(replay->computed),
         "a row has all columns, up to a whole chunk");
    for (size_t place = 0, t = 0; place < replay->padded; place++) {
        t += t + 1 < replay->positions && place == replay->start[t + 1];
        const size_t d = place - replay->start[t];
        const bool there = d < replay->texts && t < replay->length[d];
        MUST(replay->line_of[place] == (there ? replay->line[d] + t : replay->lines - 1),
             "a place has the line of its text and position, or the last");
    }
    return NULL;
}

/* Are the lanes and leaves that inputs select there, in every column? */
static inline const char *broken_selections(const mg_program *program, const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    for (size_t column = 0; column < replay->computed; column++) {
        for (size_t n = 0; n < plan->select_count; n++) {
            MUST(mg_selected(replay, n)[column] < plan->step[plan->selects[n]].width, "a lane of a text is selected");
        }
        for (size_t n = 0; n < plan->gather_count; n++) {
            for (size_t part = 0; part < plan->gather[n].parts; part++) {
                MUST(is_run(program->tape, mg_gathered(replay, &plan->gather[n], column)[part], plan->gather[n].block),
                     "what a text gathers are slots in use");
            }
        }
    }
    return NULL;
}

static inline bool is_zero(const void *numbers, size_t bytes) {
    const char *byte = numbers;
    for (size_t i = 0; i < bytes; i++) {
        if (byte[i] != 0) {
            return false;
        }
    }
    return true;
}

static inline const char *broken_batch(const mg_batch *batch) {
    const mg_program *program = batch->program;
    const size_t size = batch->kernels->size;
    size_t texts = 0;
    mg_slot result;
    MUST(batch->groups <= MG_WAVE, "there are no more groups than documents");
    MUST(is_zero(batch->one, mg_bytes(batch->one)), "the room for one document's sums is 0 again");
    const bool there = mg_find(program->tape, program->result, &result) && !uses_lost_leaves(program);
    for (size_t g = 0; g < batch->groups; g++) {
        const mg_replay *replay = &batch->replay[g];
        MUST(replay->plan == program->plan, "a batch computes its program's plan");
        const char *broken = broken_texts(replay);
        broken = broken == NULL ? broken_rows(program->plan, replay->positions) : broken;
        broken = broken == NULL ? broken_blocks(&batch->workspace[g], replay, size) : broken;
        broken = broken == NULL && there ? broken_selections(program, replay) : broken;
        if (broken != NULL) {
            return broken;
        }
        texts += replay->texts;
    }
    MUST(texts <= MG_WAVE, "a call has no more documents than a wave");
    for (size_t d = 0; d < texts; d++) {
        const mg_text *text = &batch->text[d];
        MUST(text->replay >= batch->replay && text->replay < batch->replay + batch->groups &&
                 text->text < text->replay->texts, "a document is a text of a group");
        for (size_t e = 0; e < d; e++) {
            MUST(batch->text[e].replay != text->replay || batch->text[e].text != text->text,
                 "a document is a text of its own");
        }
    }
    return NULL;
}

/* Between two calls. */
static inline const char *broken_trainer(const mg_trainer *trainer) {
    const mg_program *program = trainer->program;
    const size_t size = trainer->kernels->size;
    const size_t room = mg_trains_fast(trainer) ? mg_bytes(trainer->leaves.value) / size : 0;
    size_t parameters = 0;
    MUST(program->holders > 0 && trainer->tape->holders > 0 && program->tape == trainer->tape,
         "a trainer holds its program and its tape");
    MUST((trainer->batch != NULL) == (program->plan != NULL) &&
             (trainer->batch == NULL || trainer->batch->program == program), "a plan has a batch");
    MUST(trainer->run_count <= trainer->count, "there are no more runs than were given");
    bool there = true; /* the parameters, which a call looks for; where they are gone it has refused to begin */
    for (size_t r = 0; r < trainer->count; r++) {
        mg_slot slot;
        there = there && mg_find_run(trainer->tape, trainer->first[r], trainer->sizes[r], &slot);
    }
    for (size_t r = 0; r < trainer->run_count; r++) {
        parameters += trainer->run[r].n;
        MUST(!mg_trains_fast(trainer) || (trainer->slots[r] >= trainer->leaves.lowest && trainer->slots[r] -
                                          trainer->leaves.lowest + trainer->run[r].n <= room),
             "the fast mode has numbers of all parameters");
    }
    MUST(!there || parameters == trainer->parameters, "the runs are all parameters");
    MUST(trainer->inputs == program->inputs, "a program gets no input once a trainer holds it");
    for (size_t n = 0; n < trainer->inputs; n++) {
        MUST(trainer->losses[n] <= trainer->losses[n + 1], "more tokens have no fewer losses");
    }
    MUST(trainer->losses[trainer->inputs] <= program->losses, "the program has the losses of all tokens");
    MUST(is_zero(trainer->sum, trainer->parameters * size), "nothing is left of a step's sums");
    MUST(!mg_trains_fast(trainer) || mg_bytes(trainer->leaves.adjoint) == room * size, "a number has its gradient");
    return trainer->batch == NULL || trainer->tape->closed ? NULL : broken_batch(trainer->batch);
}

#endif
