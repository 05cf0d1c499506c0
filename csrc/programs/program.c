/* program.c: record once, replay as often as you like.
 *
 * A program is what a result was computed from, in order of recording, and the list that the sweep goes down. Both are
 * worked out once; a replay computes the same slots again, in place, and searches nothing. Where the statements repeat
 * from position to position, a plan computes them faster, with the same bits (plan.h).
 */
#include "programs/program.h"

#include "programs/plan.h"
#include "tape/statements.h"

/* ---- what a program is made of ---------------------------------------------------------------------------------- */

static bool unmark_run(void *context, mg_slot first, size_t n) {
    const mg_tape *tape = context;
    for (mg_slot s = first; s < first + n; s++) {
        tape->operation[s] &= (uint8_t)~MG_VISITED;
    }
    return true;
}

/* Marks the statements that the result was computed from since `since`, and what they read; tape->stack lists those that are
   marked. */
static bool mark_statements(mg_tape *tape, mg_slot result, mg_mark since) {
    tape->stack.count = 0;
    bool marked = mg_mark_run(tape, result, 1);
    for (size_t k = 0; marked && k < tape->stack.count; k++) {
        const mg_slot head = tape->stack.item[k];
        marked = mg_id_of(tape, head) < since || mg_each_run(tape, head, mg_mark_run, tape);
    }
    return marked;
}

/* Also where there was no memory for all marks. */
static void unmark_statements(mg_tape *tape, mg_slot result) {
    unmark_run(tape, result, 1);
    for (size_t k = 0; k < tape->stack.count; k++) {
        const mg_slot head = tape->stack.item[k];
        unmark_run(tape, head, mg_end(tape, head) - head);
        mg_each_run(tape, head, unmark_run, tape);
    }
}

/* Lists the statements that are marked and were recorded since `since`, in order of recording: page by page, as these were
   opened. */
static bool list_marked(mg_program *program, mg_mark since) {
    mg_tape *tape = program->tape;
    mg_id first = program->result;
    for (size_t k = 0; k < tape->stack.count; k++) {
        const mg_id id = mg_id_of(tape, tape->stack.item[k]);
        first = id >= since && id < first ? id : first;
    }
    bool listed = true;
    for (uint64_t serial = first / MG_PAGE; serial <= program->result / MG_PAGE; serial++) {
        uint32_t page;
        const size_t used = mg_look_up(tape, serial, &page) ? tape->pages[page].used : 0;
        for (size_t n = 0; listed && n < used; n++) {
            const mg_slot s = (mg_slot)(page * MG_PAGE + n);
            const uint8_t operation = tape->operation[s], code = mg_code(tape, s);
            if (operation & MG_VISITED && !(operation & MG_JOINED) && !mg_is_leaf(code) && code != MG_LANE &&
                code != MG_PAYLOAD && mg_id_of(tape, s) >= since) {
                listed = mg_list_push(tape, &program->statements, s) &&
                         mg_list_push(tape, &program->ends, mg_end(tape, s));
            }
        }
    }
    return listed;
}

/* Lists the statements that the result was computed from since `since`. */
static bool list_statements(mg_program *program, mg_slot result, mg_mark since) {
    mg_tape *tape = program->tape;
    const bool listed = mark_statements(tape, result, since) && list_marked(program, since);
    unmark_statements(tape, result);
    return listed;
}

/* Is the result a sum of lanes, or their mean? Lists them. */
static bool find_losses(mg_program *program, mg_slot result) {
    mg_tape *tape = program->tape;
    mg_slot sum = result;
    if (mg_code(tape, result) == MG_MUL && mg_end(tape, mg_head(tape, result)) == mg_head(tape, result) + 1 &&
        mg_code(tape, tape->operand[result][1]) == MG_CONSTANT) {
        sum = tape->operand[result][0];
        program->mean = true;
    }
    if (mg_code(tape, sum) != MG_LANE || mg_code(tape, tape->operand[sum][0]) != MG_SUM) {
        return true;
    }
    const mg_slot header = tape->operand[sum][0];
    const mg_statement *statement = mg_statement_of(tape, header);
    const mg_operands *x = &statement->operand[0];
    const double share = program->mean ? tape->value[tape->operand[result][1]] : 1;
    if (statement->lanes != 1 || statement->factors != 1 || x->listing != MG_BY_TERM || x->block != 1 ||
        share != mg_share_of(program, statement->terms) ||
        mg_program_statement(program, sum) != program->statements.count - (program->mean ? 2 : 1)) {
        return true;
    }
    size_t before = 0;
    for (size_t t = 0; t < statement->terms; t++) { /* lanes of the program's statements, each after the one before */
        const mg_slot loss = mg_list_of(tape, header, x)[t];
        const size_t at = mg_program_statement(program, loss);
        if (at == program->statements.count || (t > 0 && at <= before) || mg_lanes(tape, mg_head(tape, loss)) != 1) {
            return true;
        }
        before = at;
        if (!mg_list_push(tape, &program->loss, loss)) {
            return false;
        }
    }
    program->losses = program->loss.count;
    return true;
}

typedef struct {
    mg_program *program;
    uint32_t needed;
} reader;

/* The statements of a run of slots are needed by what reads them. */
static bool need(void *context, mg_slot first, size_t n) {
    const reader *by = context;
    const mg_tape *tape = by->program->tape;
    if (mg_is_leaf(mg_code(tape, first))) {
        return true; /* no run has both */
    }
    for (mg_slot s = first; s < first + n;) {
        const size_t k = mg_program_statement(by->program, s);
        if (k == by->program->statements.count) {
            s++;
            continue;
        }
        uint32_t *needed = &by->program->needed.item[k];
        *needed = *needed < by->needed ? *needed : by->needed;
        s = by->program->ends.item[k];
    }
    return true;
}

static bool find_needed(mg_program *program) {
    mg_tape *tape = program->tape;
    const size_t count = program->statements.count;
    for (size_t k = 0; k < count; k++) {
        if (!mg_list_push(tape, &program->needed, (uint32_t)program->losses)) {
            return false;
        }
    }
    for (size_t t = 0; t < program->losses; t++) {
        program->needed.item[mg_program_statement(program, program->loss.item[t])] = (uint32_t)t;
    }
    for (size_t k = program->losses > 0 ? count : 0; k-- > 0;) {
        reader by = {program, program->needed.item[k]};
        mg_each_run(tape, program->statements.item[k], need, &by);
    }
    return true;
}

static mg_status build(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_slot result;
    if (!mg_find(tape, program->result, &result)) {
        return MG_STALE;
    }
    if (!list_statements(program, result, program->since) || !find_losses(program, result) || !find_needed(program)) {
        return MG_NO_MEMORY;
    }
    for (size_t i = 0; i < program->statements.count; i++) {
        if (mg_code(tape, program->statements.item[i]) == MG_CUSTOM) {
            return MG_NOT_REPLAYABLE;
        }
    }
    return mg_program_order(program, program->losses);
}

/* A hash of all operands that inputs may exchange, of this program or of another. */
static uint64_t hash_operands(const mg_program *program) {
    const mg_tape *tape = program->tape;
    uint64_t hash = 1469598103934665603u;
    for (size_t k = 0; k < program->statements.count; k++) {
        const mg_slot head = program->statements.item[k], end = mg_first_lane(tape, head);
        const size_t slots = end == head ? 1 : end - head;
        const uint32_t *words = tape->operand[head];
        const size_t from = end == head ? 0 : offsetof(mg_statement, operand) / sizeof *words;
        for (size_t w = from; w < 2 * slots; w++) {
            hash = (hash ^ words[w]) * 1099511628211u;
        }
    }
    return hash;
}

/* Forward is done, with the operands as they are: while no program has inputs, they stay what they were. */
static void note_computed(mg_program *program) {
    program->computed = program->losses;
    program->writes = program->tape->writes;
    program->selections = program->tape->selections;
    if (program->operands == 0 || program->tape->bound > 0) {
        program->operands = hash_operands(program);
    }
}

/* Has it sums of products whose operands were written since? */
static bool is_overwritten(const mg_program *program) {
    for (size_t k = 0; k < program->statements.count; k++) {
        const mg_slot head = program->statements.item[k];
        if (mg_code(program->tape, head) > MG_LANE && mg_overwritten(program->tape, head)) {
            return true;
        }
    }
    return false;
}

mg_program *mg_program_new(mg_tape *tape, mg_id result, mg_mark since) {
    MG_INSIDE(tape);
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_program *program = mg_new_owner(tape, sizeof *program);
    if (program == NULL) {
        mg_fail(tape, MG_NO_MEMORY);
        return NULL;
    }
    mg_hold(tape);
    *program = (mg_program){.blocks = program->blocks, .holders = 1, .tape = tape, .result = result, .since = since,
                            .ordered = SIZE_MAX, .computed = SIZE_MAX};
    mg_turn_page(tape); /* the times at which a page was computed anew are then the program's alone */
    const mg_status status = build(program);
    if (status != MG_OK) {
        mg_program_free(program);
        mg_fail(tape, status);
        return NULL;
    }
    if (!is_overwritten(program)) {
        note_computed(program); /* recording was a forward */
    }
    return program;
}

void mg_program_hold(mg_program *program) { atomic_fetch_add_explicit(&program->holders, 1, memory_order_relaxed); }

void mg_program_free(mg_program *program) {
    if (program != NULL && atomic_fetch_sub_explicit(&program->holders, 1, memory_order_acq_rel) == 1) {
        mg_tape *tape = program->tape;
        mg_plan_free(program->plan);
        mg_list_free(tape, &program->statements);
        mg_list_free(tape, &program->ends);
        mg_list_free(tape, &program->needed);
        mg_list_free(tape, &program->loss);
        mg_list_free(tape, &program->order);
        mg_free_blocks(program->blocks);
        mg_release(tape);
    }
}

mg_status mg_program_enter(const mg_program *program) {
    mg_slot result;
    MG_TRY(mg_enter(program->tape));
    return mg_find_lanes(program->tape, program->result, 1, &result);
}

size_t mg_program_lanes(mg_program *program, size_t from, mg_id *lanes, size_t room) {
    mg_tape *tape = program->tape;
    MG_INSIDE(tape);
    if (mg_enter(tape) != MG_OK) {
        return 0;
    }
    for (size_t k = 0; k < room && from + k < program->statements.count; k++) {
        lanes[k] = mg_id_of(tape, mg_first_lane(tape, program->statements.item[from + k]));
    }
    return program->statements.count;
}

/* ---- forward and reverse ---------------------------------------------------------------------------------------- */

static mg_status compute(mg_program *program) {
    program->computed = SIZE_MAX;
    MG_TRY(mg_program_find_inputs(program));
    mg_program_select(program, program->values);
    if (program->plan != NULL && mg_plan_compute(program)) {
        mg_program_stamp(program);
        program->in_plan = true;
    } else {
        MG_TRY(mg_compute_plainly(program, program->losses));
    }
    note_computed(program);
    return MG_OK;
}

mg_status mg_program_forward(mg_program *program) {
    MG_INSIDE(program->tape);
    MG_TRY(mg_program_enter(program));
    return compute(program);
}

/* The statements one by one, after computing them so. */
static mg_status compute_and_sweep(mg_program *program) {
    MG_TRY(mg_compute_plainly(program, program->losses));
    return mg_sweep_plainly(program, program->losses);
}

mg_status mg_program_reverse(mg_program *program) {
    MG_INSIDE(program->tape);
    const mg_tape *tape = program->tape;
    MG_TRY(mg_program_enter(program));
    if (program->computed == SIZE_MAX || program->writes != tape->writes) {
        return MG_OVERWRITTEN;
    }
    if (program->selections != tape->selections && program->since > 0) {
        return MG_OVERWRITTEN; /* what it reads as it is may have been computed anew */
    }
    if (program->selections != tape->selections) {
        /* Another program has exchanged operands since. Where those were this program's, its own are put back, and its
           numbers computed again: they are those of its forward, as nothing was written. */
        const uint64_t operands = program->operands;
        MG_TRY(compute(program));
        if (program->operands != operands) {
            program->computed = SIZE_MAX;
            return MG_OVERWRITTEN;
        }
    }
    if (program->in_plan) {
        return mg_plan_sweep(program) ? MG_OK : compute_and_sweep(program);
    }
    return mg_sweep_plainly(program, program->losses);
}

/* ---- plans ------------------------------------------------------------------------------------------------------ */

mg_status mg_program_plan(mg_program *program) {
    MG_INSIDE(program->tape);
    MG_TRY(mg_program_find_inputs(program));
    return mg_program_planned(program) ? MG_OK : mg_plan_make(program, true, &program->plan, &program->why_not);
}

const char *mg_program_why_not_planned(const mg_program *program) {
    return mg_program_planned(program) ? program->why_not : "no plan was asked for";
}
