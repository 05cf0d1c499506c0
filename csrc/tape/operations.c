/* operations.c: statements of one lane, each a scalar operation: what records one, computes it anew, looks into it. */
#include "tape/operations.h"

#include "tape/statements.h"

#include <math.h>

/* ---- statements of one lane ------------------------------------------------------------------------------------- */

void mg_write_slot(mg_tape *tape, mg_slot slot, int32_t operation, double value, const mg_slot operand[2],
                   const double partial[2]) {
    tape->value[slot] = value;
    tape->adjoint[slot] = 0;
    tape->partial[slot][0] = partial[0];
    tape->partial[slot][1] = partial[1];
    tape->operand[slot][0] = operand[0];
    tape->operand[slot][1] = operand[1];
    tape->operation[slot] = (uint8_t)operation;
}

/* What an operation that Python refuses leaves on a quiet tape. */
static mg_outcome nothing(int32_t operation, double k) {
    return (mg_outcome){NAN, NAN, mg_table[operation].constant ? k : (double)NAN};
}

static mg_id record_outcome(mg_tape *tape, int32_t operation, mg_slot a, mg_slot b, mg_outcome out) {
    mg_slot slot;
    if (!mg_reserve(tape, 1, &slot)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    mg_write_slot(tape, slot, operation, out.value, (mg_slot[2]){a, b}, (double[2]){out.da, out.db});
    mg_take_one(tape, slot);
    return mg_id_of(tape, slot);
}

static mg_id record(mg_tape *tape, int32_t operation, mg_slot a, mg_slot b, double first, double second) {
    mg_outcome out;
    mg_status status = mg_table[operation].rule(first, second, &out);
    if (status != MG_OK && tape->quiet) {
        out = nothing(operation, second);
        status = MG_OK;
    }
    return status == MG_OK ? record_outcome(tape, operation, a, b, out) : mg_fail(tape, status);
}

mg_status mg_compute_slot(mg_tape *tape, mg_slot slot, int32_t operation, const mg_slot operand[2], double k) {
    const double second = mg_table[operation].constant ? k : tape->value[operand[1]];
    mg_outcome out;
    mg_status status = mg_table[operation].rule(tape->value[operand[0]], second, &out);
    if (status != MG_OK && tape->quiet) {
        out = nothing(operation, second);
        status = MG_OK;
    }
    if (status == MG_OK) {
        mg_write_slot(tape, slot, operation, out.value, operand, (double[2]){out.da, out.db});
    }
    return status;
}

static bool fits(int32_t operation, int arity, bool constant) {
    return operation > MG_CONSTANT && operation < MG_SCALAR_COUNT && mg_table[operation].arity == arity &&
           mg_table[operation].constant == constant;
}

mg_id mg_leaf(mg_tape *tape, double value) {
    MG_INSIDE(tape);
    mg_slot slot;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (!mg_reserve(tape, 1, &slot)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    mg_write_slot(tape, slot, MG_LEAF, value, (mg_slot[2]){0, 0}, (double[2]){0, 0});
    mg_take_one(tape, slot);
    return mg_id_of(tape, slot);
}

static mg_id one_operand(mg_tape *tape, int32_t operation, mg_id a, bool constant, double k) {
    mg_slot operand;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (!fits(operation, 1, constant)) {
        return mg_fail(tape, MG_OPERATION);
    }
    if (!mg_find(tape, a, &operand)) {
        return mg_fail(tape, MG_STALE);
    }
    return record(tape, operation, operand, 0, tape->value[operand], k);
}

mg_id mg_unary(mg_tape *tape, int32_t operation, mg_id a) {
    MG_INSIDE(tape);
    return one_operand(tape, operation, a, false, 0);
}

mg_id mg_unary_with(mg_tape *tape, int32_t operation, mg_id a, double k) {
    MG_INSIDE(tape);
    return one_operand(tape, operation, a, true, k);
}

mg_id mg_binary(mg_tape *tape, int32_t operation, mg_id a, mg_id b) {
    MG_INSIDE(tape);
    mg_slot left, right;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (!fits(operation, 2, false)) {
        return mg_fail(tape, MG_OPERATION);
    }
    if (!mg_find(tape, a, &left) || !mg_find(tape, b, &right)) {
        return mg_fail(tape, MG_STALE);
    }
    return record(tape, operation, left, right, tape->value[left], tape->value[right]);
}

/* Nearly all operations are additions and multiplications, whose rules cannot fail: they go straight in. */
#define COMMON(name, operation, rule)                                  \
    mg_id name(mg_tape *tape, mg_id a, mg_id b) {                      \
        MG_INSIDE(tape);                                               \
        mg_slot left, right;                                           \
        mg_outcome out;                                                \
        if (!MG_READY(tape)) {                                         \
            return MG_NONE;                                            \
        }                                                              \
        if (!mg_find(tape, a, &left) || !mg_find(tape, b, &right)) {   \
            return mg_fail(tape, MG_STALE);                            \
        }                                                              \
        rule(tape->value[left], tape->value[right], &out);             \
        return record_outcome(tape, operation, left, right, out);      \
    }
COMMON(mg_add, MG_ADD, mg_add_rule)
COMMON(mg_mul, MG_MUL, mg_multiply_rule)

mg_id mg_binary_with(mg_tape *tape, int32_t operation, mg_id a, double k) {
    MG_INSIDE(tape);
    mg_slot left, leaf;
    mg_outcome out;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (!fits(operation, 2, false)) {
        return mg_fail(tape, MG_OPERATION);
    }
    if (!mg_find(tape, a, &left)) {
        return mg_fail(tape, MG_STALE);
    }
    mg_status status = mg_table[operation].rule(tape->value[left], k, &out);
    if (status != MG_OK && tape->quiet) {
        out = nothing(operation, k);
        status = MG_OK;
    }
    if (status != MG_OK) {
        return mg_fail(tape, status);
    }
    if (!mg_reserve(tape, 2, &leaf)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    mg_write_slot(tape, leaf, MG_CONSTANT, k, (mg_slot[2]){0, 0}, (double[2]){0, 0});
    mg_write_slot(tape, leaf + 1, operation, out.value, (mg_slot[2]){left, leaf}, (double[2]){out.da, out.db});
    mg_take(tape, leaf, 2);
    return mg_id_of(tape, leaf + 1);
}

mg_status mg_rule_forward(mg_tape *tape, mg_slot slot) {
    const mg_slot *operand = tape->operand[slot];
    const mg_operation_row *row = &mg_table[mg_code(tape, slot)];
    if (tape->operation[slot] & MG_JOINED && mg_scalar_arity[mg_code(tape, slot)] == 1 &&
        tape->operand[slot - 1][0] == operand[0]) { /* the same as the lane before, such as a softmax's 1 / total */
        tape->value[slot] = tape->value[slot - 1];
        tape->partial[slot][0] = tape->partial[slot - 1][0];
        return MG_OK;
    }
    double b = row->constant ? tape->partial[slot][1] : tape->value[operand[1]];
    mg_outcome out;
    mg_status status = row->rule(tape->value[operand[0]], b, &out);
    if (status == MG_OK) {
        tape->value[slot] = out.value;
        tape->partial[slot][0] = out.da;
        tape->partial[slot][1] = out.db;
    }
    return status;
}
