/* plain.c: the statements of a program one by one: computed, and gone down in the order of the sweep. */
#include "programs/program.h"

#include "tape/statements.h"
#include "tape/sweep.h"

#include <string.h>

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

/* Does the statement belong to the program of the first n losses? */
static bool belongs(const mg_program *program, size_t k, size_t n) {
    return n == program->losses || program->needed.item[k] < n;
}

static mg_status forward_all(mg_program *program, size_t n) {
    mg_tape *tape = program->tape;
    for (size_t k = 0; k < program->statements.count; k++) {
        if (belongs(program, k, n)) {
            MG_TRY(mg_statement_forward(tape, program->statements.item[k], program->ends.item[k]));
        }
    }
    return MG_OK;
}

void mg_program_stamp(const mg_program *program) {
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

mg_status mg_compute_plainly(mg_program *program, size_t n) {
    const mg_status status = forward_all(program, n);
    mg_program_stamp(program);
    program->in_plan = false;
    return status;
}

double mg_result_of(const mg_program *program, size_t n) {
    const mg_tape *tape = program->tape;
    double sum = 0;
    for (size_t t = 0; t < n; t++) {
        sum += tape->value[program->loss.item[t]];
    }
    return sum * mg_share_of(program, n);
}

/* Searches from what the first n losses are added up to. */
static mg_status search(mg_program *program, size_t n) {
    mg_slot result;
    MG_TRY(mg_find_lanes(program->tape, program->result, 1, &result));
    if (n == program->losses) {
        return mg_search(program->tape, result, program->since);
    }
    for (size_t t = 0; t < n; t++) {
        MG_TRY(mg_search(program->tape, program->loss.item[t], program->since));
    }
    return MG_OK;
}

mg_status mg_program_order(mg_program *program, size_t n) {
    mg_tape *tape = program->tape;
    if (program->ordered == n && program->ordered_at == tape->selections && program->since == 0) {
        return MG_OK;
    }
    mg_search_begin(tape);
    const mg_status status = search(program, n);
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
    MG_TRY(mg_program_order(program, n));
    for (size_t k = 0; k < program->statements.count; k++) {
        if (belongs(program, k, n)) {
            const mg_slot first = mg_first_lane(tape, program->statements.item[k]);
            memset(tape->adjoint + first, 0, (program->ends.item[k] - first) * sizeof *tape->adjoint);
        }
    }
    if (n == program->losses) {
        mg_slot result;
        mg_find(tape, program->result, &result);
        tape->adjoint[result] = 1;
    }
    for (size_t t = 0; n < program->losses && t < n; t++) {
        tape->adjoint[program->loss.item[t]] = mg_share_of(program, n);
    }
    mg_go_down(tape, program->order.item, program->order.count);
    return MG_OK;
}
