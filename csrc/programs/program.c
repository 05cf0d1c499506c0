/* program.c: record once, replay as often as you like.
 *
 * A program is what a result was computed from, in order of recording, and the list that the sweep goes down. Both are
 * worked out once; a replay computes the same slots again, in place, and searches nothing. Where the statements repeat
 * from position to position, a plan computes them faster, with the same bits (plan.h).
 */
#include "programs/program.h"

#include "tape/operations.h"
#include "tape/marking.h"
#include "programs/plan.h"
#include "tape/statements.h"
#include "tape/sweep.h"

#include <stdlib.h>
#include <string.h>

/* ---- what a program is made of ---------------------------------------------------------------------------------- */

static int by_serial(const void *a, const void *b) {
    const mg_entry *left = a, *right = b;
    return (left->serial > right->serial) - (left->serial < right->serial);
}

/* Lists the marked statements recorded since `since`, page by page, and takes all marks away. */
static bool list_statements(mg_program *program, mg_mark since) {
    mg_tape *tape = program->tape;
    const size_t bytes = tape->page_count * sizeof(mg_entry);
    mg_entry *pages = mg_reallocate(tape, NULL, 0, bytes);
    size_t count = 0;
    bool listed = pages != NULL;
    for (size_t p = 0; listed && p < tape->page_count; p++) {
        if (tape->pages[p].serial != 0) {
            pages[count++] = (mg_entry){tape->pages[p].serial, (uint32_t)p};
        }
    }
    if (listed) {
        qsort(pages, count, sizeof *pages, by_serial);
    }
    mg_slot end = 0;
    for (size_t p = 0; listed && p < count; p++) {
        const mg_slot from = pages[p].page * MG_PAGE, to = from + tape->pages[pages[p].page].used;
        for (mg_slot s = from; listed && s < to; s++) {
            const uint8_t operation = tape->operation[s], code = mg_code(tape, s);
            if (!(operation & MG_VISITED) || mg_is_leaf(code) || code == MG_LANE || code == MG_PAYLOAD ||
                operation & MG_JOINED || mg_id_of(tape, s) < since) {
                continue;
            }
            end = mg_end(tape, s);
            listed = mg_list_push(tape, &program->statements, s) && mg_list_push(tape, &program->ends, end);
        }
    }
    mg_reallocate(tape, pages, pages == NULL ? 0 : bytes, 0);
    return listed;
}

static void take_marks_away(mg_tape *tape) {
    for (size_t s = 0; s < tape->page_count * MG_PAGE; s++) {
        tape->operation[s] &= (uint8_t)~MG_VISITED;
    }
}

/* Which statement of the program holds a slot; its count when none does. */
size_t mg_program_statement(const mg_program *program, mg_slot slot) {
    const mg_tape *tape = program->tape;
    const mg_id id = mg_id_of(tape, slot);
    size_t low = 0, high = program->statements.count;
    while (low < high) { /* the last whose head is not after the slot */
        const size_t middle = low + (high - low) / 2;
        if (mg_id_of(tape, program->statements.item[middle]) <= id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low > 0 && slot >= program->statements.item[low - 1] && slot < program->ends.item[low - 1]) {
        return low - 1;
    }
    return program->statements.count;
}

/* Is the result a sum of lanes, or their mean? Lists them. */
static bool find_losses(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_slot result, sum;
    if (!mg_find(tape, program->result, &result)) {
        return true;
    }
    sum = result;
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
        share != (program->mean ? 1 / (double)statement->terms : 1) ||
        mg_program_statement(program, sum) != program->statements.count - (program->mean ? 2 : 1)) {
        return true;
    }
    size_t before = 0;
    for (size_t t = 0; t < statement->terms; t++) { /* lanes of the program's statements, each after the one before */
        const mg_slot loss = mg_list_of(tape, header, x)[t];
        const size_t at = mg_program_statement(program, loss);
        if (at == program->statements.count || (t > 0 && at <= before) || mg_lanes(tape, mg_head(tape, loss)) != 1) {
            program->loss.count = 0;
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

static mg_status build(mg_program *program, mg_mark since) {
    mg_tape *tape = program->tape;
    mg_slot result;
    if (!mg_find(tape, program->result, &result)) {
        return MG_STALE;
    }
    const bool listed = mg_mark_needed(tape, result, 1) && list_statements(program, since);
    take_marks_away(tape);
    if (!listed || !find_losses(program) || !find_needed(program)) {
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
    *program = (mg_program){.blocks = program->blocks, .holders = 1, .tape = tape, .result = result,
                            .ordered = SIZE_MAX, .computed = SIZE_MAX};
    mg_turn_page(tape); /* the times at which a page was computed anew are then the program's alone */
    mg_status status = build(program, since);
    if (status == MG_OK) { /* recording was a forward */
        program->computed = program->losses;
        program->writes = tape->writes;
        program->selections = tape->selections;
        program->operands = hash_operands(program);
    } else {
        mg_program_free(program);
        mg_fail(tape, status);
        return NULL;
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

/* May the program run now? */
static mg_status enter(const mg_program *program) {
    mg_slot result;
    mg_status status = mg_enter(program->tape);
    return status == MG_OK && !mg_find(program->tape, program->result, &result) ? MG_STALE : status;
}

/* ---- integer inputs --------------------------------------------------------------------------------------------- */

/* The first slot that an operand reads. */
mg_slot mg_selected_now(const mg_tape *tape, const mg_binding *binding) {
    if (mg_code(tape, binding->head) < MG_LANE) {
        return tape->operand[binding->head][binding->factor];
    }
    const mg_operands *x = &mg_statement_of(tape, binding->head)->operand[binding->factor];
    return x->listing == MG_STRIDED ? x->base : mg_list_of(tape, binding->head, x)[binding->entry];
}

void mg_exchange(mg_program *program, const mg_binding *binding, mg_slot selected) {
    mg_tape *tape = program->tape;
    const mg_slot before = mg_selected_now(tape, binding);
    if (selected == before) {
        return;
    }
    tape->selections++;
    if (mg_code(tape, binding->head) < MG_LANE) {
        for (mg_slot s = binding->head, end = mg_end(tape, s); s < end; s++) {
            tape->operand[s][binding->factor] += selected - before;
        }
        return;
    }
    mg_operands *x = &mg_statement_of(tape, binding->head)->operand[binding->factor];
    if (x->listing == MG_STRIDED) {
        x->base = selected;
    } else {
        mg_list_of(tape, binding->head, x)[binding->entry] = selected;
    }
}

/* How many slots an operand reads from the first on. */
static size_t reach(const mg_tape *tape, const mg_binding *binding) {
    size_t most = 0;
    if (mg_code(tape, binding->head) < MG_LANE) {
        for (mg_slot s = binding->head, end = mg_end(tape, s); s < end; s++) {
            const size_t offset = tape->operand[s][binding->factor] - tape->operand[binding->head][binding->factor];
            most = offset > most ? offset : most;
        }
        return most + 1;
    }
    const mg_statement *s = mg_statement_of(tape, binding->head);
    const mg_operands *x = &s->operand[binding->factor];
    const size_t terms = x->listing == MG_BY_TERM && x->block < s->terms ? x->block : s->terms;
    const size_t width = x->listing == MG_BY_LANE && x->block < s->width ? x->block : s->width;
    return (size_t)(s->groups - 1) * x->group + (width - 1) * (size_t)x->lane + (terms - 1) * (size_t)x->term + 1;
}

/* May another run of lanes be in the place of the operand? Leaves instead of leaves, or other lanes of one statement,
   and older than this statement: so they live as long as it does, and do not depend on it. */
static mg_status may_select(const mg_program *program, mg_binding *binding) {
    const mg_tape *tape = program->tape;
    const size_t read = reach(tape, binding), n = binding->size * (binding->count - 1) + read;
    if (read > binding->size) {
        return MG_SHAPE;
    }
    binding->lanes = n;
    if (!mg_find_run(tape, binding->first, n, &binding->table)) {
        return mg_find(tape, binding->first, &binding->table) ? MG_SHAPE : MG_STALE;
    }
    const mg_slot before = mg_selected_now(tape, binding);
    binding->leaves = mg_code(tape, before) == MG_LEAF && mg_all_leaves(tape, binding->table, n);
    const bool one_statement = !mg_is_leaf(mg_code(tape, before)) && !mg_is_leaf(mg_code(tape, binding->table)) &&
                               mg_head(tape, binding->table) == mg_head(tape, before) &&
                               mg_head(tape, binding->table + (mg_slot)n - 1) == mg_head(tape, before);
    if ((!binding->leaves && !one_statement) || binding->first + n > mg_id_of(tape, binding->head)) {
        return MG_SHAPE;
    }
    return MG_OK;
}

/* Room for the value of an input. */
static mg_status know_input(mg_program *program, size_t input) {
    if (input < program->inputs) {
        return MG_OK;
    }
    int32_t *grown = mg_resize(&program->blocks, program->values, (input + 1) * sizeof *grown);
    if (grown == NULL) {
        return MG_NO_MEMORY;
    }
    program->values = grown;
    for (; program->inputs <= input; program->inputs++) {
        grown[program->inputs] = -1;
    }
    return MG_OK;
}

mg_status mg_program_bind(mg_program *program, size_t input, mg_id lane, size_t operand, size_t entry, mg_id first,
                          size_t size, size_t count) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    mg_binding binding = {.input = input, .factor = operand, .entry = entry, .first = first, .size = size,
                          .count = count};
    mg_slot slot;
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
    if (size == 0 || count == 0 || size > MG_MAX_SLOTS / count || input >= MG_MOST_INPUTS || program->planned) {
        return MG_SHAPE;
    }
    if (mg_is_leaf(mg_code(tape, slot))) {
        return MG_OPERATION;
    }
    const size_t number = mg_program_statement(program, slot);
    if (number == program->statements.count) {
        return know_input(program, input); /* the result does not need it */
    }
    binding.head = program->statements.item[number];
    const uint8_t code = mg_code(tape, binding.head);
    const size_t factors = code < MG_LANE ? mg_scalar_arity[code] : mg_statement_of(tape, binding.head)->factors;
    if (operand >= factors) {
        return MG_OPERATION;
    }
    if (code > MG_LANE) {
        const mg_operands *x = &mg_statement_of(tape, binding.head)->operand[operand];
        if (entry >= (x->listing == MG_STRIDED ? 1 : x->entries)) {
            return MG_OPERATION;
        }
    } else if (entry > 0) {
        return MG_OPERATION;
    }
    status = may_select(program, &binding);
    if (status == MG_OK) {
        status = know_input(program, input);
    }
    if (status != MG_OK) {
        return status;
    }
    mg_binding *added = mg_append(&program->blocks, &program->bindings, &program->binding_count, sizeof *added);
    if (added == NULL) {
        return MG_NO_MEMORY;
    }
    *added = binding;
    tape->bound++;
    return MG_OK;
}

mg_status mg_program_find_inputs(mg_program *program) {
    mg_status status = enter(program);
    for (size_t b = 0; status == MG_OK && b < program->binding_count; b++) {
        mg_binding *binding = &program->bindings[b];
        if (!mg_find_run(program->tape, binding->first, binding->lanes, &binding->table)) {
            status = MG_STALE;
        }
    }
    return status;
}

bool mg_program_in_range(const mg_program *program, const int32_t *values, size_t n) {
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        if (binding->input < n && (values[binding->input] < 0 || (size_t)values[binding->input] >= binding->count)) {
            return false;
        }
    }
    return true;
}

void mg_program_select(mg_program *program, const int32_t *values) {
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        if (values[binding->input] >= 0) {
            mg_exchange(program, binding, binding->table + (mg_slot)((size_t)values[binding->input] * binding->size));
        }
    }
}

mg_status mg_program_set(mg_program *program, const int32_t *values, size_t n) {
    MG_INSIDE(program->tape);
    mg_status status = mg_program_find_inputs(program);
    if (status == MG_OK && (n != program->inputs || !mg_program_in_range(program, values, n))) {
        status = MG_SHAPE;
    }
    if (status == MG_OK && n > 0) {
        if (memcmp(program->values, values, n * sizeof *values) != 0) {
            program->computed = SIZE_MAX; /* what was computed is not of these inputs */
        }
        memcpy(program->values, values, n * sizeof *values);
        mg_program_select(program, values);
    }
    return status;
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

size_t mg_program_losses(mg_program *program, size_t tokens) {
    MG_INSIDE(program->tape);
    return mg_enter(program->tape) == MG_OK ? mg_program_losses_of(program, tokens) : 0;
}

size_t mg_program_losses_of(const mg_program *program, size_t tokens) {
    size_t first_too_far = program->losses;
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        const size_t needed = program->needed.item[mg_program_statement(program, binding->head)];
        if (binding->input >= tokens && needed < first_too_far) {
            first_too_far = needed;
        }
    }
    return first_too_far;
}

/* ---- the plain replay ------------------------------------------------------------------------------------------- */

/* Does the statement belong to the program of the first n losses? */
static bool belongs(const mg_program *program, size_t k, size_t n) {
    return n == program->losses || program->needed.item[k] < n;
}

static mg_status forward_all(mg_program *program, size_t n) {
    mg_tape *tape = program->tape;
    mg_status status = MG_OK;
    for (size_t k = 0; status == MG_OK && k < program->statements.count; k++) {
        if (!belongs(program, k, n)) {
            continue;
        }
        const mg_slot head = program->statements.item[k], end = program->ends.item[k];
        if (mg_code(tape, head) > MG_LANE) {
            status = mg_statement_forward(tape, head);
        } else {
            for (mg_slot s = head; status == MG_OK && s < end; s++) {
                status = mg_scalar_forward(tape, s);
            }
        }
    }
    return status;
}

/* Statements outside the program must know that these lanes were computed anew. */
static void stamp(const mg_program *program) {
    mg_tape *tape = program->tape;
    size_t stamped = SIZE_MAX;
    tape->clock++;
    for (size_t k = 0; k < program->statements.count; k++) {
        const mg_slot head = program->statements.item[k];
        if (mg_code(tape, head) > MG_LANE) {
            mg_stamp_statement(tape, head, tape->clock);
        }
        for (size_t p = head / MG_PAGE; p <= (program->ends.item[k] - 1) / MG_PAGE; p++) {
            if (p != stamped) {
                tape->pages[p].written = tape->pages[p].computed = tape->clock;
                stamped = p;
            }
        }
    }
}

mg_status mg_compute_plainly(mg_program *program, size_t n, double *value) {
    mg_tape *tape = program->tape;
    mg_slot result;
    mg_status status = forward_all(program, n);
    stamp(program);
    program->in_plan = false;
    if (n == program->losses) {
        mg_find(tape, program->result, &result);
        *value = tape->value[result];
    } else {
        double sum = 0;
        for (size_t t = 0; t < n; t++) {
            sum += tape->value[program->loss.item[t]];
        }
        *value = program->mean ? sum * (1 / (double)n) : sum;
    }
    return status;
}

mg_status mg_program_order(mg_program *program, size_t n) {
    mg_tape *tape = program->tape;
    mg_slot result;
    mg_status status = MG_OK;
    if (program->ordered == n && program->ordered_at == tape->selections) {
        return MG_OK;
    }
    if (!mg_find(tape, program->result, &result)) {
        return MG_STALE;
    }
    mg_search_begin(tape);
    if (n == program->losses) {
        status = mg_search(tape, result);
    }
    for (size_t t = 0; status == MG_OK && n < program->losses && t < n; t++) {
        status = mg_search(tape, program->loss.item[t]);
    }
    mg_search_end(tape);
    const mg_list order = program->order; /* the tape gets the old list to write the next into */
    program->order = tape->order;
    tape->order = order;
    program->ordered = status == MG_OK ? n : SIZE_MAX;
    program->ordered_at = tape->selections;
    return status;
}

mg_status mg_sweep_plainly(mg_program *program, size_t n) {
    mg_tape *tape = program->tape;
    mg_slot result;
    mg_status status = mg_program_order(program, n);
    if (status != MG_OK) {
        return status;
    }
    for (size_t k = 0; k < program->statements.count; k++) {
        if (belongs(program, k, n)) {
            const mg_slot first = mg_first_lane(tape, program->statements.item[k]);
            memset(tape->adjoint + first, 0, (program->ends.item[k] - first) * sizeof *tape->adjoint);
        }
    }
    if (n == program->losses) {
        mg_find(tape, program->result, &result);
        tape->adjoint[result] = 1;
    }
    for (size_t t = 0; n < program->losses && t < n; t++) {
        tape->adjoint[program->loss.item[t]] = program->mean ? 1 / (double)n : 1;
    }
    mg_go_down(tape, program->order.item, program->order.count);
    return MG_OK;
}

/* ---- forward and reverse ---------------------------------------------------------------------------------------- */

static mg_status compute(mg_program *program) {
    mg_tape *tape = program->tape;
    double value;
    program->computed = SIZE_MAX;
    mg_status status = mg_program_find_inputs(program);
    if (status != MG_OK) {
        return status;
    }
    if (program->inputs > 0) {
        mg_program_select(program, program->values);
    }
    if (program->plan == NULL || !mg_plan_compute(program)) {
        status = mg_compute_plainly(program, program->losses, &value);
    } else {
        stamp(program);
        program->in_plan = true;
    }
    if (status == MG_OK) {
        program->computed = program->losses;
        program->writes = tape->writes;
        program->selections = tape->selections;
        program->operands = tape->bound > 0 ? hash_operands(program) : program->operands; /* nobody has exchanged any */
    }
    return status;
}

mg_status mg_program_forward(mg_program *program) {
    MG_INSIDE(program->tape);
    mg_status status = enter(program);
    return status == MG_OK ? compute(program) : status;
}

mg_status mg_program_reverse(mg_program *program) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    mg_status status = enter(program);
    if (status == MG_OK && (program->computed == SIZE_MAX || program->writes != tape->writes)) {
        status = MG_OVERWRITTEN;
    }
    if (status == MG_OK && program->selections != tape->selections) {
        /* Another program has exchanged operands since. Where those were this program's, its own are put back, and its
           numbers computed again: they are those of its forward, as nothing was written. */
        const uint64_t operands = program->operands;
        status = compute(program);
        if (status == MG_OK && program->operands != operands) {
            program->computed = SIZE_MAX;
            status = MG_OVERWRITTEN;
        }
    }
    if (status != MG_OK) {
        return status;
    }
    if (program->in_plan && mg_plan_sweep(program)) {
        return MG_OK;
    }
    if (program->in_plan) { /* the statements one by one, after computing them so */
        double value;
        status = mg_compute_plainly(program, program->losses, &value);
    }
    status = status == MG_OK ? mg_sweep_plainly(program, program->losses) : status;
    if (status == MG_OVERWRITTEN) { /* by another program, with the same numbers, newer than sums of them */
        double value;
        status = mg_compute_plainly(program, program->losses, &value);
        status = status == MG_OK ? mg_sweep_plainly(program, program->losses) : status;
    }
    return status;
}

/* ---- plans ------------------------------------------------------------------------------------------------------ */

mg_status mg_program_plan(mg_program *program) {
    MG_INSIDE(program->tape);
    mg_status status = enter(program);
    if (status == MG_OK) {
        status = mg_program_find_inputs(program);
    }
    if (status == MG_OK && !program->planned) {
        status = mg_plan_make(program, &program->plan, &program->why_not);
        program->planned = status == MG_OK;
    }
    return status;
}

const char *mg_program_why_not_planned(const mg_program *program) {
    return program->plan != NULL ? NULL : program->planned ? program->why_not : "no plan was asked for";
}
