/* statements.c: recording span statements. Each maker checks its operands, lays the statement out, and computes it.
 *
 * It refuses sizes that do not fit and operands that are not on the tape. A maker that fails takes no slot. What the
 * statements compute is in spans.c.
 */
#include "tape.h"

#include <string.h>

/* ---- the place of a statement in the arena ---------------------------------------------------------------------- */

static size_t slots_of(size_t operands, size_t lanes) { return 1 + (operands + 1) / 2 + lanes; }

size_t mg_statement_size(const mg_tape *tape, mg_slot header) {
    return mg_first_lane(tape, header) - header + mg_lanes(tape, header);
}

/* Lays a statement out at `*end`, moves `*end` behind it, and returns its header. `operands` are slots, or small
   numbers that the operation keeps among them. */
static mg_slot lay_out(mg_tape *tape, mg_slot *end, uint8_t operation, double constant, size_t lanes, size_t terms,
                       const mg_slot *operands, size_t operand_count) {
    mg_slot header = *end, payload = header + 1, first = payload + (mg_slot)((operand_count + 1) / 2);
    tape->operation[header] = operation;
    tape->value[header] = constant;
    tape->adjoint[header] = (double)tape->clock;
    tape->partial[header][0] = (double)first;
    tape->operand[header][0] = (mg_slot)lanes;
    tape->operand[header][1] = (mg_slot)terms;
    memset(tape->operation + payload, MG_PAYLOAD, first - payload);
    for (size_t k = 0; operands != NULL && k < operand_count; k++) {
        mg_set_operand(tape, header, k, operands[k]);
    }
    memset(tape->operation + first, MG_LANE, lanes);
    memset(tape->adjoint + first, 0, lanes * sizeof *tape->adjoint);
    for (size_t i = 0; i < lanes; i++) {
        tape->operand[first + i][0] = header;
        tape->operand[first + i][1] = (mg_slot)i;
    }
    *end = first + (mg_slot)lanes;
    return header;
}

/* Ends a maker: takes the slots from `from` to `end` and returns the first lane of the last statement, or leaves the
   status of what its computation met. */
static mg_id finish(mg_tape *tape, mg_status status, mg_slot from, mg_slot end, mg_slot header) {
    if (status != MG_OK) {
        mg_give_up(tape, from, end - from);
        return mg_fail(tape, status);
    }
    mg_take(tape, from, end - from);
    tape->clock++; /* after the statement was stamped: a write that follows has a later time */
    return mg_id_of(tape, mg_first_lane(tape, header));
}

static bool find_or_fail(mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (!mg_find_run(tape, first, n, slot)) {
        mg_fail(tape, n == 0 || mg_find(tape, first, slot) ? MG_SHAPE : MG_STALE);
        return false;
    }
    return true;
}

static bool reserve_or_fail(mg_tape *tape, size_t slots, mg_slot *first) {
    if (!mg_reserve(tape, slots, first)) {
        mg_fail(tape, MG_NO_MEMORY);
        return false;
    }
    return true;
}

/* ---- leaves and custom ------------------------------------------------------------------------------------------ */

mg_id mg_span_leaves(mg_tape *tape, const double *values, size_t n) {
    mg_slot from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (n == 0) {
        return mg_fail(tape, MG_SHAPE);
    }
    if (!reserve_or_fail(tape, n, &from)) {
        return MG_NONE;
    }
    memset(tape->operation + from, MG_LEAF, n);
    memset(tape->adjoint + from, 0, n * sizeof *tape->adjoint);
    memset(tape->partial + from, 0, n * sizeof *tape->partial);
    memcpy(tape->value + from, values, n * sizeof *values);
    mg_take(tape, from, n);
    return mg_id_of(tape, from);
}

mg_id mg_custom(mg_tape *tape, double value, const mg_id *operands, const double *partials, size_t count) {
    mg_slot from, operand;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    for (size_t k = 0; k < count; k++) {
        if (!mg_find(tape, operands[k], &operand)) {
            return mg_fail(tape, MG_STALE);
        }
    }
    if (count == 0) {
        return mg_leaf(tape, value);
    }
    if (!reserve_or_fail(tape, slots_of(count, 1), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_CUSTOM, 0, 1, count, NULL, count);
    for (size_t k = 0; k < count; k++) {
        mg_find(tape, operands[k], &operand);
        mg_set_operand(tape, header, k, operand);
        tape->partial[header + 1 + k / 2][k % 2] = partials[k];
    }
    tape->value[mg_first_lane(tape, header)] = value;
    return finish(tape, MG_OK, from, end, header);
}

/* ---- one statement each ----------------------------------------------------------------------------------------- */

mg_id mg_span_add(mg_tape *tape, mg_id a, mg_id b, size_t n) {
    mg_slot operands[2], from;
    if (!mg_ready(tape) || !find_or_fail(tape, a, n, &operands[0]) || !find_or_fail(tape, b, n, &operands[1]) ||
        !reserve_or_fail(tape, slots_of(2, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from, header = lay_out(tape, &end, MG_SPAN_ADD, 0, n, 1, operands, 2);
    return finish(tape, mg_forward(tape, header), from, end, header);
}

/* An elementwise statement of one operand. */
static mg_id elementwise(mg_tape *tape, uint8_t operation, mg_id x, size_t n, double constant) {
    mg_slot operand, from;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) || !reserve_or_fail(tape, slots_of(1, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from, header = lay_out(tape, &end, operation, constant, n, 1, &operand, 1);
    return finish(tape, mg_forward(tape, header), from, end, header);
}

mg_id mg_span_scale_by(mg_tape *tape, mg_id x, size_t n, double k) {
    return elementwise(tape, MG_SPAN_SCALE_BY, x, n, k);
}

mg_id mg_span_relu(mg_tape *tape, mg_id x, size_t n, bool squared) {
    return elementwise(tape, squared ? MG_SPAN_RELU_SQUARE : MG_SPAN_RELU, x, n, 0);
}

mg_id mg_span_surprisal(mg_tape *tape, mg_id p) { return elementwise(tape, MG_SPAN_SURPRISAL, p, 1, 0); }

bool mg_all_leaves(const mg_tape *tape, mg_slot first, size_t n) {
    uint8_t codes = 0;
    for (size_t i = 0; i < n; i++) {
        codes |= tape->operation[first + i];
    }
    return codes == MG_LEAF;
}

mg_id mg_span_linear(mg_tape *tape, mg_id x, mg_id w, size_t rows, size_t columns) {
    mg_slot operands[3], from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (rows == 0 || columns == 0 || rows > MG_MAX_SLOTS / columns) {
        return mg_fail(tape, MG_SHAPE);
    }
    if (!find_or_fail(tape, x, columns, &operands[0]) || !find_or_fail(tape, w, rows * columns, &operands[1]) ||
        !reserve_or_fail(tape, slots_of(3, rows), &from)) {
        return MG_NONE;
    }
    operands[2] = mg_all_leaves(tape, operands[1], rows * columns);
    mg_slot end = from, header = lay_out(tape, &end, MG_SPAN_LINEAR, 0, rows, columns, operands, 3);
    return finish(tape, mg_forward(tape, header), from, end, header);
}

mg_id mg_span_mean(mg_tape *tape, const mg_id *x, size_t n) {
    mg_slot operand, from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (n == 0 || n > MG_MAX_SLOTS) {
        return mg_fail(tape, MG_SHAPE);
    }
    for (size_t k = 0; k < n; k++) {
        if (!find_or_fail(tape, x[k], 1, &operand)) {
            return MG_NONE;
        }
    }
    if (!reserve_or_fail(tape, slots_of(n, 1), &from)) {
        return MG_NONE;
    }
    mg_slot end = from, header = lay_out(tape, &end, MG_SPAN_MEAN, 1 / (double)n, 1, n, NULL, n);
    for (size_t k = 0; k < n; k++) {
        mg_find(tape, x[k], &operand);
        mg_set_operand(tape, header, k, operand);
    }
    return finish(tape, mg_forward(tape, header), from, end, header);
}

/* ---- several statements in one go: all are reserved at once, so that a failure leaves nothing ------------------- */

mg_id mg_span_rmsnorm(mg_tape *tape, mg_id x, size_t n) {
    mg_slot operands[2], from;
    double share;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operands[0]) ||
        !reserve_or_fail(tape, slots_of(1, 1) + slots_of(2, n), &from)) {
        return MG_NONE;
    }
    mg_pow((double)n, -1, &share);
    mg_slot end = from, header = lay_out(tape, &end, MG_SPAN_RMS, share, 1, n, operands, 1);
    mg_status status = mg_forward(tape, header);
    operands[1] = mg_first_lane(tape, header);
    header = lay_out(tape, &end, MG_SPAN_SCALE, 0, n, 1, operands, 2);
    if (status == MG_OK) {
        status = mg_forward(tape, header);
    }
    return finish(tape, status, from, end, header);
}

static size_t softmax_slots(size_t groups, size_t group) {
    return slots_of(2, groups * group) + slots_of(1, groups) + slots_of(3, groups * group);
}

/* Exp, total and quotient of `groups` groups in a row; sets `*header` to the quotient's. */
static mg_status softmax(mg_tape *tape, mg_slot *end, mg_slot x, size_t groups, size_t group, mg_slot *header) {
    size_t n = groups * group;
    *header = lay_out(tape, end, MG_SPAN_EXP, 0, n, 1, (mg_slot[]){x, (mg_slot)group}, 2);
    mg_slot e = mg_first_lane(tape, *header);
    mg_status status = mg_forward(tape, *header);
    *header = lay_out(tape, end, MG_SPAN_TOTAL, 0, groups, group, &e, 1);
    mg_slot total = mg_first_lane(tape, *header);
    if (status == MG_OK) {
        status = mg_forward(tape, *header);
    }
    *header = lay_out(tape, end, MG_SPAN_QUOTIENT, 0, n, 1, (mg_slot[]){e, total, (mg_slot)group}, 3);
    return status == MG_OK ? mg_forward(tape, *header) : status;
}

mg_id mg_span_softmax(mg_tape *tape, mg_id x, size_t n) {
    mg_slot operand, from, header;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) ||
        !reserve_or_fail(tape, softmax_slots(1, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_status status = softmax(tape, &end, operand, 1, n, &header);
    return finish(tape, status, from, end, header);
}

/* Puts the slots of `count` vectors behind the first two operands of a statement. */
static void set_vectors(mg_tape *tape, mg_slot header, const mg_id *vectors, size_t count) {
    mg_slot operand;
    for (size_t u = 0; u < count; u++) {
        mg_find(tape, vectors[u], &operand);
        mg_set_operand(tape, header, u + 2, operand);
    }
}

mg_id mg_span_attention(mg_tape *tape, mg_id q, const mg_id *keys, const mg_id *values, size_t positions, size_t heads,
                        size_t head_size) {
    mg_slot query, operand, from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (positions == 0 || heads == 0 || head_size == 0 || heads > MG_MAX_SLOTS / head_size ||
        positions > MG_MAX_SLOTS / heads) {
        return mg_fail(tape, MG_SHAPE);
    }
    size_t width = heads * head_size, n = heads * positions;
    if (!find_or_fail(tape, q, width, &query)) {
        return MG_NONE;
    }
    for (size_t u = 0; u < positions; u++) {
        if (!find_or_fail(tape, keys[u], width, &operand) || !find_or_fail(tape, values[u], width, &operand)) {
            return MG_NONE;
        }
    }
    const size_t slots = slots_of(positions + 2, n) + softmax_slots(heads, positions) + slots_of(positions + 2, width);
    if (!reserve_or_fail(tape, slots, &from)) {
        return MG_NONE;
    }
    double root, inverse_root;
    mg_pow((double)head_size, 0.5, &root);
    mg_pow(root, -1, &inverse_root);
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_SPAN_LOGIT, inverse_root, n, head_size, NULL, positions + 2);
    mg_set_operand(tape, header, 0, query);
    mg_set_operand(tape, header, 1, (mg_slot)positions);
    set_vectors(tape, header, keys, positions);
    mg_forward(tape, header);
    mg_status status = softmax(tape, &end, mg_first_lane(tape, header), heads, positions, &header);
    mg_slot weights = mg_first_lane(tape, header);
    header = lay_out(tape, &end, MG_SPAN_MIX, 0, width, positions, NULL, positions + 2);
    mg_set_operand(tape, header, 0, weights);
    mg_set_operand(tape, header, 1, (mg_slot)head_size);
    set_vectors(tape, header, values, positions);
    if (status == MG_OK) {
        status = mg_forward(tape, header);
    }
    return finish(tape, status, from, end, header);
}
