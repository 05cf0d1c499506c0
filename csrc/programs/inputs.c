/* inputs.c: integer inputs of a program. A value selects which run of lanes some operands read. */
#include "programs/program.h"

#include "tape/operations.h"
#include "tape/statements.h"

#include <string.h>

/* Where a statement says what its operand with a binding reads first. */
static mg_slot *first_read(const mg_tape *tape, const mg_binding *binding) {
    if (mg_code(tape, binding->head) < MG_LANE) {
        return &tape->operand[binding->head][binding->factor];
    }
    mg_operands *x = &mg_statement_of(tape, binding->head)->operand[binding->factor];
    return x->listing == MG_STRIDED ? &x->base : &mg_list_of(tape, binding->head, x)[binding->entry];
}

mg_slot mg_selected_now(const mg_tape *tape, const mg_binding *binding) { return *first_read(tape, binding); }

void mg_exchange(mg_program *program, const mg_binding *binding, mg_slot selected) {
    mg_tape *tape = program->tape;
    mg_slot *read = first_read(tape, binding);
    const mg_slot more = selected - *read;
    if (more == 0) {
        return;
    }
    tape->selections++;
    if (mg_code(tape, binding->head) > MG_LANE) {
        *read = selected;
        return;
    }
    for (mg_slot s = binding->head, end = mg_end(tape, s); s < end; s++) {
        tape->operand[s][binding->factor] += more;
    }
}

/* ---- binding ---------------------------------------------------------------------------------------------------- */

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
    return mg_reach_of(s, &s->operand[binding->factor]);
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
    MG_TRY(mg_find_lanes(tape, binding->first, n, &binding->table));
    const mg_slot before = mg_selected_now(tape, binding), last = binding->table + (mg_slot)n - 1;
    binding->leaves = mg_code(tape, before) == MG_LEAF && mg_all_leaves(tape, binding->table, n);
    const bool one_statement = !mg_is_leaf(mg_code(tape, before)) && !mg_is_leaf(mg_code(tape, binding->table)) &&
                               mg_head(tape, binding->table) == mg_head(tape, before) &&
                               mg_head(tape, last) == mg_head(tape, before);
    const bool older = binding->first + n <= mg_id_of(tape, binding->head);
    return (binding->leaves || one_statement) && older ? MG_OK : MG_SHAPE;
}

/* Has the statement such an operand, and its list such an entry? */
static bool has_operand(const mg_tape *tape, const mg_binding *binding) {
    const uint8_t code = mg_code(tape, binding->head);
    if (code < MG_LANE) {
        return binding->factor < mg_scalar_arity[code] && binding->entry == 0;
    }
    if (binding->factor >= mg_statement_of(tape, binding->head)->factors) {
        return false;
    }
    const mg_operands *x = &mg_statement_of(tape, binding->head)->operand[binding->factor];
    return binding->entry < (x->listing == MG_STRIDED ? 1 : x->entries);
}

/* Room for the value of an input. */
static mg_status know_input(mg_program *program, size_t input) {
    const size_t before = program->inputs;
    while (program->inputs <= input) {
        if (!MG_PUSH(&program->blocks, program->values, program->inputs, (int32_t){-1})) {
            program->inputs = before;
            return MG_NO_MEMORY;
        }
    }
    return MG_OK;
}

mg_status mg_program_bind(mg_program *program, size_t input, mg_id lane, size_t operand, size_t entry, mg_id first,
                          size_t size, size_t count) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    mg_slot slot;
    MG_TRY(mg_program_enter(program));
    MG_TRY(mg_find_lanes(tape, lane, 1, &slot));
    if (size == 0 || count == 0 || size > MG_MAX_SLOTS / count || input >= MG_MOST_INPUTS || mg_program_planned(program)) {
        return MG_SHAPE;
    }
    if (mg_is_leaf(mg_code(tape, slot))) {
        return MG_OPERATION;
    }
    const size_t number = mg_program_statement(program, slot);
    if (number == program->statements.count) {
        return know_input(program, input); /* the result does not need it */
    }
    mg_binding binding = {.input = input, .head = program->statements.item[number], .factor = operand, .entry = entry,
                          .first = first, .size = size, .count = count};
    if (!has_operand(tape, &binding)) {
        return MG_OPERATION;
    }
    MG_TRY(may_select(program, &binding));
    MG_TRY(know_input(program, input));
    if (!MG_PUSH(&program->blocks, program->bindings, program->binding_count, binding)) {
        return MG_NO_MEMORY;
    }
    tape->bound++;
    return MG_OK;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

mg_status mg_program_find_inputs(mg_program *program) {
    MG_TRY(mg_program_enter(program));
    for (size_t b = 0; b < program->binding_count; b++) {
        mg_binding *binding = &program->bindings[b];
        if (!mg_find_run(program->tape, binding->first, binding->lanes, &binding->table)) {
            return MG_STALE;
        }
    }
    return MG_OK;
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
    MG_TRY(mg_program_find_inputs(program));
    if (n != program->inputs || !mg_program_in_range(program, values, n)) {
        return MG_SHAPE;
    }
    if (n > 0) {
        if (memcmp(program->values, values, n * sizeof *values) != 0) {
            program->computed = SIZE_MAX; /* what was computed is not of these inputs */
        }
        memcpy(program->values, values, n * sizeof *values);
        mg_program_select(program, values);
    }
    return MG_OK;
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
