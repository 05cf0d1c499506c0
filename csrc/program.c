/* program.c: record once, replay as often as you like.
 *
 * A program is what a result was computed from, in order of recording, and the list that the sweep goes down. Both are
 * worked out once; a replay computes the same slots again, in place, and searches nothing. Where the statements repeat
 * from position to position, batches compute them faster, with the same bits (batches.h).
 */
#include "kernels.h"
#include "program.h"

#include <stdlib.h>
#include <string.h>

/* What the sweep's list names, each statement once. Marks are taken away again. */
static bool list_statements(mg_tape *tape, const mg_list *order, mg_list *statements) {
    bool listed = true;
    for (size_t i = order->count; listed && i-- > 0;) {
        mg_slot slot = order->item[i] & ~MG_RUN;
        i -= order->item[i] & MG_RUN ? 2 : 0;
        if (mg_code(tape, slot) == MG_LANE) {
            slot = tape->operand[slot][0];
        }
        if (!(tape->operation[slot] & MG_VISITED)) {
            listed = mg_list_push(tape, statements, slot);
            tape->operation[slot] |= listed ? MG_VISITED : 0;
        }
    }
    for (size_t i = 0; i < statements->count; i++) {
        tape->operation[statements->item[i]] &= (uint8_t)~MG_VISITED;
    }
    return listed;
}

/* In order of recording, from `since` on. qsort has no context: it sorts ids, of which the slots are made again. */
static int by_id(const void *a, const void *b) {
    mg_id left = *(const mg_id *)a, right = *(const mg_id *)b;
    return (left > right) - (left < right);
}

static bool sort_by_recording(mg_tape *tape, mg_list *statements, mg_mark since) {
    size_t bytes = statements->count * sizeof(mg_id);
    if (bytes == 0) {
        return true;
    }
    mg_id *ids = mg_reallocate(tape, NULL, 0, bytes);
    if (ids == NULL) {
        return false;
    }
    for (size_t i = 0; i < statements->count; i++) {
        ids[i] = mg_id_of(tape, statements->item[i]);
    }
    qsort(ids, statements->count, sizeof *ids, by_id);
    size_t kept = 0;
    for (size_t i = 0; i < statements->count; i++) {
        if (ids[i] >= since) {
            statements->item[kept++] = mg_slot_of(tape, ids[i]);
        }
    }
    statements->count = kept;
    mg_reallocate(tape, ids, bytes, 0);
    return true;
}

/* Searches from the result and keeps the list; the tape gets the old one to write the next into. */
static mg_status find_order(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_slot result;
    if (!mg_find(tape, program->result, &result)) {
        return MG_STALE;
    }
    mg_status status = mg_search(tape, result);
    mg_search_end(tape);
    mg_list order = program->order;
    program->order = tape->order;
    tape->order = order;
    program->ordered = status == MG_OK;
    return status;
}

mg_program *mg_program_new(mg_tape *tape, mg_id result, mg_mark since) {
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_program *program = mg_reallocate(tape, NULL, 0, sizeof *program);
    if (program == NULL) {
        mg_fail(tape, MG_NO_MEMORY);
        return NULL;
    }
    *program = (mg_program){.tape = tape, .result = result, .writes = tape->writes};
    mg_status status = find_order(program);
    if (status == MG_OK && !(list_statements(tape, &program->order, &program->statements) &&
                             sort_by_recording(tape, &program->statements, since))) {
        status = MG_NO_MEMORY;
    }
    for (size_t i = 0; status == MG_OK && i < program->statements.count; i++) {
        status = mg_code(tape, program->statements.item[i]) == MG_CUSTOM ? MG_NOT_REPLAYABLE : MG_OK;
    }
    if (status == MG_OK) {
        status = mg_batches_find(program);
    }
    if (status != MG_OK) {
        mg_program_free(program);
        mg_fail(tape, status);
        return NULL;
    }
    return program;
}

void mg_program_free(mg_program *program) {
    if (program != NULL) {
        mg_tape *tape = program->tape;
        if (tape->work_of == program) {
            tape->work_of = NULL;
        }
        mg_batches_free(program);
        mg_reallocate(tape, program->bindings, program->binding_room * sizeof *program->bindings, 0);
        mg_list_free(tape, &program->statements);
        mg_list_free(tape, &program->order);
        mg_reallocate(tape, program, sizeof *program, 0);
    }
}

/* May the program run now? */
static mg_status enter(const mg_program *program) {
    mg_slot result;
    mg_status status = mg_enter(program->tape);
    return status == MG_OK && !mg_find(program->tape, program->result, &result) ? MG_STALE : status;
}

/* May operand `operand` of the statement that `lane` belongs to be another run of lanes, `size` of them from `first`?
   Sets *header, and whether they are leaves. Leaves instead of leaves, or other lanes of one span statement, and older
   than this statement: so they live as long as it does, and do not depend on it. */
static mg_status may_select(const mg_program *program, mg_id lane, size_t operand, mg_id first, size_t count,
                            mg_slot *header, bool *leaves) {
    const mg_tape *tape = program->tape;
    mg_slot slot, selected;
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
    if (tape->operation[slot] != MG_LANE) {
        return MG_OPERATION;
    }
    *header = tape->operand[slot][0];
    uint8_t code = mg_code(tape, *header);
    if ((code != MG_SPAN_ADD || operand > 1) && (code != MG_SPAN_SURPRISAL || operand > 0)) {
        return MG_OPERATION;
    }
    if (!mg_find_run(tape, first, count, &selected)) {
        return mg_find(tape, first, &selected) ? MG_SHAPE : MG_STALE;
    }
    mg_slot before = mg_operand(tape, *header, operand), last = selected + (mg_slot)count - 1;
    *leaves = tape->operation[before] == MG_LEAF && mg_all_leaves(tape, selected, count);
    bool one_statement = tape->operation[before] == MG_LANE && tape->operation[selected] == MG_LANE &&
                         tape->operation[last] == MG_LANE &&
                         tape->operand[selected][0] == tape->operand[before][0] &&
                         tape->operand[last][0] == tape->operand[before][0];
    return (*leaves || one_statement) && first <= mg_id_of(tape, *header) ? MG_OK : MG_SHAPE;
}

static void select_operand(mg_program *program, mg_slot header, size_t operand, mg_slot selected, bool leaves) {
    if (selected != mg_operand(program->tape, header, operand)) {
        if (mg_code(program->tape, header) == MG_SPAN_ADD && !leaves) {
            mg_batches_free(program); /* they read the same lane of each position's statement */
        }
        mg_set_operand(program->tape, header, operand, selected);
        program->ordered = program->ordered && leaves;
        program->writes = UINT64_MAX; /* what was computed is not of this operand */
    }
}

mg_status mg_program_select(mg_program *program, mg_id lane, size_t operand, mg_id first) {
    mg_slot slot, header = 0;
    bool leaves = false;
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    size_t lanes = mg_find(program->tape, lane, &slot) && program->tape->operation[slot] == MG_LANE
                       ? mg_lanes(program->tape, program->tape->operand[slot][0])
                       : 1;
    status = may_select(program, lane, operand, first, lanes, &header, &leaves);
    if (status == MG_OK) {
        select_operand(program, header, operand, mg_slot_of(program->tape, first), leaves);
    }
    return status;
}

mg_status mg_program_bind(mg_program *program, size_t input, mg_id lane, size_t operand, mg_id first, size_t size,
                          size_t count) {
    mg_tape *tape = program->tape;
    mg_binding binding = {.input = input, .operand = operand, .first = first, .size = size, .count = count};
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    if (size == 0 || count == 0 || size > MG_MAX_SLOTS / count || count > INT32_MAX) {
        return MG_SHAPE;
    }
    status = may_select(program, lane, operand, first, size * count, &binding.header, &binding.leaves);
    if (status != MG_OK) {
        return status;
    }
    if (size != mg_lanes(tape, binding.header)) {
        return MG_SHAPE;
    }
    if (program->binding_count == program->binding_room) {
        size_t room = program->binding_room ? 2 * program->binding_room : 16, bytes = sizeof binding;
        mg_binding *grown = mg_reallocate(tape, program->bindings, program->binding_room * bytes, room * bytes);
        if (grown == NULL) {
            return MG_NO_MEMORY;
        }
        program->bindings = grown;
        program->binding_room = room;
    }
    program->bindings[program->binding_count++] = binding;
    program->inputs = input >= program->inputs ? input + 1 : program->inputs;
    return MG_OK;
}

mg_status mg_program_find_inputs(mg_program *program) {
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    for (size_t b = 0; b < program->binding_count; b++) {
        mg_binding *binding = &program->bindings[b];
        if (!mg_find_run(program->tape, binding->first, binding->size * binding->count, &binding->slot)) {
            return MG_STALE;
        }
    }
    return MG_OK;
}

bool mg_program_select_inputs(mg_program *program, const int32_t *values) {
    for (size_t b = 0; b < program->binding_count; b++) {
        int32_t value = values[program->bindings[b].input];
        if (value < 0 || (size_t)value >= program->bindings[b].count) {
            return false;
        }
    }
    for (size_t b = 0; b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        mg_slot selected = binding->slot + (mg_slot)((size_t)values[binding->input] * binding->size);
        select_operand(program, binding->header, binding->operand, selected, binding->leaves);
    }
    return true;
}

mg_status mg_program_set(mg_program *program, const int32_t *values, size_t n) {
    mg_status status = mg_program_find_inputs(program);
    status = status == MG_OK && n != program->inputs ? MG_SHAPE : status;
    return status == MG_OK && !mg_program_select_inputs(program, values) ? MG_SHAPE : status;
}

bool mg_program_has_batches(const mg_program *program) { return program->batches != NULL; }

mg_status mg_compute_plainly(mg_program *program) {
    mg_status status = MG_OK;
    for (size_t i = 0; status == MG_OK && i < program->statements.count; i++) {
        mg_slot slot = program->statements.item[i];
        bool scalar = mg_code(program->tape, slot) < MG_SCALAR_COUNT;
        status = scalar ? mg_scalar_forward(program->tape, slot) : mg_forward(program->tape, slot);
    }
    return status;
}

/* Statements outside the program must know that these lanes were computed anew. */
static void stamp(mg_program *program) {
    mg_tape *tape = program->tape;
    size_t stamped = SIZE_MAX; /* the page of the last scalar operation */
    tape->clock++;
    for (size_t i = 0; i < program->statements.count; i++) {
        mg_slot slot = program->statements.item[i];
        if (mg_code(tape, slot) >= MG_SCALAR_COUNT) {
            tape->adjoint[slot] = (double)tape->clock; /* recorded anew */
            size_t first = mg_first_lane(tape, slot), last = first + mg_lanes(tape, slot) - 1;
            for (size_t p = first / MG_PAGE; p <= last / MG_PAGE; p++) {
                tape->pages[p].written = tape->clock;
            }
        } else if (slot / MG_PAGE != stamped) {
            stamped = slot / MG_PAGE;
            tape->pages[stamped].written = tape->pages[stamped].computed = tape->clock;
        }
    }
}

mg_status mg_sweep_plainly(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_slot result;
    mg_status status = program->ordered ? MG_OK : find_order(program);
    if (status == MG_OK) {
        for (size_t i = 0; i < program->statements.count; i++) {
            mg_slot slot = program->statements.item[i];
            if (mg_code(tape, slot) < MG_SCALAR_COUNT) {
                tape->adjoint[slot] = 0;
            } else {
                memset(tape->adjoint + mg_first_lane(tape, slot), 0, mg_lanes(tape, slot) * sizeof *tape->adjoint);
            }
        }
        mg_find(tape, program->result, &result);
        tape->adjoint[result] = 1;
        mg_go_down(tape, program->order.item, program->order.count);
    }
    return status;
}

mg_status mg_program_compute(mg_program *program, bool store, double *value) {
    mg_tape *tape = program->tape;
    mg_status status = MG_OK;
    mg_replay replay;
    mg_slot result;
    bool batched = program->batches != NULL && mg_batches_select(program) &&
                   mg_batches_enter(program, sizeof(double), &replay) && mg_kernels_chosen()->forward(&replay);
    tape->work_of = batched ? program : NULL;
    if (!batched) {
        status = mg_compute_plainly(program);
    } else if (store) {
        mg_batches_store_values(program, &replay);
    }
    if (store || !batched) {
        stamp(program);
    }
    mg_find(tape, program->result, &result);
    *value = batched ? mg_batches_result(&replay) : tape->value[result];
    program->writes = status == MG_OK ? tape->writes : UINT64_MAX;
    return status;
}

mg_status mg_program_sweep(mg_program *program, bool store) {
    mg_replay replay;
    if (program->tape->work_of != program || program->batches == NULL ||
        !mg_batches_enter(program, sizeof(double), &replay)) {
        return mg_sweep_plainly(program);
    }
    if (!mg_kernels_chosen()->reverse(&replay)) { /* the statements one by one, after computing them so */
        double value;
        mg_batches *batches = program->batches;
        program->batches = NULL;
        mg_status status = mg_program_compute(program, true, &value);
        program->batches = batches;
        return status == MG_OK ? mg_sweep_plainly(program) : status;
    }
    if (store) {
        mg_batches_store_adjoints(program, &replay);
    }
    return MG_OK;
}

mg_status mg_program_forward(mg_program *program) {
    double value;
    mg_status status = enter(program);
    if (status == MG_OK) {
        atomic_store_explicit(&program->tape->busy, 1, memory_order_release);
        status = mg_program_compute(program, true, &value);
        atomic_store_explicit(&program->tape->busy, 0, memory_order_release);
    }
    return status;
}

mg_status mg_program_reverse(mg_program *program) {
    mg_status status = enter(program);
    if (status == MG_OK && program->writes != program->tape->writes) {
        status = MG_OVERWRITTEN;
    }
    if (status == MG_OK) {
        atomic_store_explicit(&program->tape->busy, 1, memory_order_release);
        status = mg_program_sweep(program, true);
        atomic_store_explicit(&program->tape->busy, 0, memory_order_release);
    }
    return status;
}
