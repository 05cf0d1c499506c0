/* operations.c: statements of one lane, each a scalar operation: what records one, computes it anew, looks into it. */
#include "tape/operations.h"

#include "tape/statements.h"

#include <math.h>

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

/* What an operation gives; on a quiet tape also where Python refuses it: nothing. */
static mg_status evaluate(const mg_tape *tape, int32_t operation, double a, double b, mg_outcome *out) {
    const mg_status status = mg_table[operation].rule(a, b, out);
    if (status == MG_OK || !tape->quiet) {
        return status;
    }
    *out = (mg_outcome){NAN, NAN, mg_table[operation].constant ? b : (double)NAN};
    return MG_OK;
}

mg_status mg_compute_slot(mg_tape *tape, mg_slot slot, int32_t operation, const mg_slot operand[2], double k) {
    const double second = mg_table[operation].constant ? k : tape->value[operand[1]];
    mg_outcome out;
    MG_TRY(evaluate(tape, operation, tape->value[operand[0]], second, &out));
    mg_write_slot(tape, slot, operation, out.value, operand, (double[2]){out.da, out.db});
    return MG_OK;
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

static mg_id record(mg_tape *tape, int32_t operation, mg_slot a, mg_slot b, double second) {
    mg_outcome out;
    const mg_status status = evaluate(tape, operation, tape->value[a], second, &out);
    return status == MG_OK ? record_outcome(tape, operation, a, b, out) : mg_fail(tape, status);
}

/* May an operation of so many operands be recorded, and where is the first of them? Leaves a status if not. */
static bool begin(mg_tape *tape, int32_t operation, int arity, bool constant, mg_id a, mg_slot *slot) {
    if (!mg_ready(tape)) {
        return false;
    }
    const bool fits = operation > MG_CONSTANT && operation < MG_SCALAR_COUNT && mg_table[operation].arity == arity &&
                      mg_table[operation].constant == constant;
    if (fits && mg_find(tape, a, slot)) {
        return true;
    }
    tape->status = fits ? MG_STALE : MG_OPERATION;
    return false;
}

mg_id mg_leaf(mg_tape *tape, double value) {
    MG_INSIDE(tape);
    return mg_ready(tape) ? record_outcome(tape, MG_LEAF, 0, 0, (mg_outcome){value, 0, 0}) : MG_NONE;
}

mg_id mg_unary(mg_tape *tape, int32_t operation, mg_id a) {
    MG_INSIDE(tape);
    mg_slot operand;
    return begin(tape, operation, 1, false, a, &operand) ? record(tape, operation, operand, 0, 0) : MG_NONE;
}

mg_id mg_unary_with(mg_tape *tape, int32_t operation, mg_id a, double k) {
    MG_INSIDE(tape);
    mg_slot operand;
    return begin(tape, operation, 1, true, a, &operand) ? record(tape, operation, operand, 0, k) : MG_NONE;
}

mg_id mg_binary(mg_tape *tape, int32_t operation, mg_id a, mg_id b) {
    MG_INSIDE(tape);
    mg_slot left, right;
    if (!begin(tape, operation, 2, false, a, &left)) {
        return MG_NONE;
    }
    return mg_find(tape, b, &right) ? record(tape, operation, left, right, tape->value[right]) : mg_fail(tape, MG_STALE);
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
    if (!begin(tape, operation, 2, false, a, &left)) {
        return MG_NONE;
    }
    const mg_status status = evaluate(tape, operation, tape->value[left], k, &out);
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
