/* program.c: record once, replay as often as you like.
 *
 * A program is what a result was computed from, in order of recording, and the list that the sweep goes down. Both are
 * worked out once; a replay computes the same slots again, in place, and searches nothing.
 */
#include "tape.h"

#include <stdlib.h>
#include <string.h>

struct mg_program {
    mg_tape *tape;
    mg_id result;
    mg_list statements; /* slots of scalar operations and headers of span statements, in order of recording */
    mg_list order;      /* as in sweep.c */
    bool ordered;       /* false when an operand was selected anew, so that the search may go another way */
    uint64_t writes;    /* the tape's count of writes when forward ran; reverse needs the same primals */
};

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

mg_status mg_program_select(mg_program *program, mg_id lane, size_t operand, mg_id first) {
    mg_tape *tape = program->tape;
    mg_slot slot, selected;
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
    if (tape->operation[slot] != MG_LANE) {
        return MG_OPERATION;
    }
    mg_slot header = tape->operand[slot][0];
    uint8_t code = mg_code(tape, header);
    if ((code != MG_SPAN_ADD || operand > 1) && (code != MG_SPAN_SURPRISAL || operand > 0)) {
        return MG_OPERATION;
    }
    size_t lanes = mg_lanes(tape, header);
    if (!mg_find_run(tape, first, lanes, &selected)) {
        return mg_find(tape, first, &selected) ? MG_SHAPE : MG_STALE;
    }
    /* Leaves instead of leaves, or other lanes of one span statement, and older than this statement: so they live as
       long as it does, and do not depend on it. */
    mg_slot before = mg_operand(tape, header, operand);
    bool leaves = tape->operation[before] == MG_LEAF && mg_all_leaves(tape, selected, lanes);
    bool one_statement = tape->operation[before] == MG_LANE && tape->operation[selected] == MG_LANE &&
                         tape->operand[selected][0] == tape->operand[before][0];
    if ((!leaves && !one_statement) || first > mg_id_of(tape, header)) {
        return MG_SHAPE;
    }
    if (selected != before) {
        mg_set_operand(tape, header, operand, selected);
        program->ordered = program->ordered && leaves;
        program->writes = UINT64_MAX; /* what was computed is not of this operand */
    }
    return MG_OK;
}

mg_status mg_program_forward(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    const mg_slot *statement = program->statements.item;
    size_t count = program->statements.count;
    atomic_store_explicit(&tape->busy, 1, memory_order_release);
    tape->clock++;
    size_t stamped = SIZE_MAX; /* the page of the last scalar operation: statements outside the program must know */
    for (size_t i = 0; status == MG_OK && i < count; i++) {
        mg_slot slot = statement[i];
        if (mg_code(tape, slot) < MG_SCALAR_COUNT) {
            status = mg_scalar_forward(tape, slot);
            if (slot / MG_PAGE != stamped) {
                stamped = slot / MG_PAGE;
                tape->pages[stamped].written = tape->pages[stamped].computed = tape->clock;
            }
        } else {
            status = mg_forward(tape, slot);
            tape->adjoint[slot] = (double)tape->clock; /* recorded anew */
            size_t first = mg_first_lane(tape, slot), last = first + mg_lanes(tape, slot) - 1;
            for (size_t p = first / MG_PAGE; p <= last / MG_PAGE; p++) {
                tape->pages[p].written = tape->clock;
            }
        }
    }
    program->writes = status == MG_OK ? tape->writes : UINT64_MAX;
    atomic_store_explicit(&tape->busy, 0, memory_order_release);
    return status;
}

mg_status mg_program_reverse(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_slot result;
    mg_status status = enter(program);
    if (status != MG_OK) {
        return status;
    }
    if (program->writes != tape->writes) {
        return MG_OVERWRITTEN;
    }
    atomic_store_explicit(&tape->busy, 1, memory_order_release);
    if (!program->ordered) {
        status = find_order(program);
    }
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
    atomic_store_explicit(&tape->busy, 0, memory_order_release);
    return status;
}
