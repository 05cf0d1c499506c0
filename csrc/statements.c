/* statements.c: span statements, many lanes each, forward beside reverse.
 *
 * Every statement is defined by the scalar operations that the course writes for it, which the comment above it gives.
 * A lane is a sum of terms (one term where the comment shows no sum); the scalar operations inside a lane are its own,
 * so the depth-first search sees a lane as "visit the operands of term 0, term 0, visit the operands of term 1, ...".
 * A reverse function handles any range of terms, downwards, so that the sweep can do other lanes' work in between.
 */
#include "tape.h"

#include <math.h>
#include <string.h>

/* ---- the place of a statement in the arena ------------------------------------------------------------------------ */

static size_t statement_slots(size_t operands, size_t lanes) { return 1 + (operands + 1) / 2 + lanes; }

/* Writes header, payload codes and empty lanes at `*slot`, moves `*slot` behind them, and returns the header. */
static mg_slot lay_out(mg_tape *tape, mg_slot *slot, uint8_t operation, double constant, size_t operands, size_t lanes,
                       size_t terms) {
    mg_slot header = *slot, payload = header + 1, first = payload + (mg_slot)((operands + 1) / 2);
    tape->operation[header] = operation;
    tape->value[header] = constant;
    tape->adjoint[header] = (double)tape->clock;
    tape->operand[header][0] = (mg_slot)lanes;
    tape->operand[header][1] = (mg_slot)terms;
    memset(tape->operation + payload, MG_PAYLOAD, first - payload);
    memset(tape->operation + first, MG_LANE, lanes);
    memset(tape->adjoint + first, 0, lanes * sizeof *tape->adjoint);
    for (size_t i = 0; i < lanes; i++) {
        tape->operand[first + i][0] = header;
        tape->operand[first + i][1] = (mg_slot)i;
    }
    *slot = first + (mg_slot)lanes;
    return header;
}

static void set_operand(mg_tape *tape, mg_slot header, size_t k, mg_slot operand) {
    tape->operand[header + 1 + k / 2][k % 2] = operand;
}

static mg_slot first_lane(mg_slot header, size_t operands) { return header + 1 + (mg_slot)((operands + 1) / 2); }

/* Ends a maker: the slots from `from` to `end` are taken, and `first` is its first lane. */
static mg_id finish(mg_tape *tape, mg_slot from, mg_slot end, mg_slot first) {
    tape->clock++; /* after the statement was stamped: a write that follows has a later time */
    mg_take(tape, from, end - from);
    return mg_id_of(tape, first);
}

static bool find_or_fail(mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (!mg_find_run(tape, first, n, slot)) {
        mg_fail(tape, n >= 1 && mg_find(tape, first, slot) ? MG_SHAPE : MG_STALE);
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

/* ---- leaves and custom -------------------------------------------------------------------------------------------- */

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
    return finish(tape, from, from + (mg_slot)n, from);
}

/* The course's Value(data, children, local_grads): child.grad += local_grad * grad for each child in order. */
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
    if (!reserve_or_fail(tape, statement_slots(count, 1), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_CUSTOM, 0, count, 1, count);
    for (size_t k = 0; k < count; k++) {
        mg_find(tape, operands[k], &operand);
        set_operand(tape, header, k, operand);
        tape->partial[header + 1 + k / 2][k % 2] = partials[k];
    }
    mg_slot first = first_lane(header, count);
    tape->value[first] = value;
    return finish(tape, from, end, first);
}

static void custom_reverse(mg_tape *tape, mg_slot header, double g) {
    size_t count = mg_terms(tape, header);
    for (size_t k = 0; k < count; k++) {
        tape->adjoint[mg_operand(tape, header, k)] += tape->partial[header + 1 + k / 2][k % 2] * g;
    }
}

/* ---- elementwise -------------------------------------------------------------------------------------------------- */

/* a + b */
mg_id mg_span_add(mg_tape *tape, mg_id a, mg_id b, size_t n) {
    mg_slot left, right, from;
    if (!mg_ready(tape) || !find_or_fail(tape, a, n, &left) || !find_or_fail(tape, b, n, &right) ||
        !reserve_or_fail(tape, statement_slots(2, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_SPAN_ADD, 0, 2, n, 1);
    set_operand(tape, header, 0, left);
    set_operand(tape, header, 1, right);
    mg_slot first = first_lane(header, 2);
    for (size_t i = 0; i < n; i++) {
        tape->value[first + i] = tape->value[left + i] + tape->value[right + i];
    }
    return finish(tape, from, end, first);
}

static void add_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    tape->adjoint[mg_operand(tape, header, 0) + lane] += g;
    tape->adjoint[mg_operand(tape, header, 1) + lane] += g;
}

/* x * s, s one lane; recorded by rmsnorm */
static mg_slot scale(mg_tape *tape, mg_slot *end, mg_slot x, size_t n, mg_slot s) {
    mg_slot header = lay_out(tape, end, MG_SPAN_SCALE, 0, 2, n, 1);
    set_operand(tape, header, 0, x);
    set_operand(tape, header, 1, s);
    mg_slot first = first_lane(header, 2);
    for (size_t i = 0; i < n; i++) {
        tape->value[first + i] = tape->value[x + i] * tape->value[s];
    }
    return first;
}

static void scale_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    mg_slot x = mg_operand(tape, header, 0) + lane, s = mg_operand(tape, header, 1);
    tape->adjoint[x] += tape->value[s] * g;
    tape->adjoint[s] += tape->value[x] * g;
}

/* x * k */
mg_id mg_span_scale_by(mg_tape *tape, mg_id x, size_t n, double k) {
    mg_slot operand, from;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) ||
        !reserve_or_fail(tape, statement_slots(1, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_SPAN_SCALE_BY, k, 1, n, 1);
    set_operand(tape, header, 0, operand);
    mg_slot first = first_lane(header, 1);
    for (size_t i = 0; i < n; i++) {
        tape->value[first + i] = tape->value[operand + i] * k;
    }
    return finish(tape, from, end, first);
}

static void scale_by_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    tape->adjoint[mg_operand(tape, header, 0) + lane] += tape->value[header] * g;
}

/* x.relu(), or x.relu() ** 2. A lane keeps the partial of the square and the partial of relu. */
mg_id mg_span_relu(mg_tape *tape, mg_id x, size_t n, bool squared) {
    mg_slot operand, from;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) ||
        !reserve_or_fail(tape, statement_slots(1, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, squared ? MG_SPAN_RELU_SQUARE : MG_SPAN_RELU, 0, 1, n, 1);
    set_operand(tape, header, 0, operand);
    mg_slot first = first_lane(header, 1);
    for (size_t i = 0; i < n; i++) {
        double a = tape->value[operand + i];
        double r = a > 0 ? a : 0, square = r, lower = r;
        if (squared) {
            mg_status status = mg_pow(r, 2, &square);
            if (status == MG_OK) {
                status = mg_pow(r, 1, &lower);
            }
            if (status != MG_OK) {
                return mg_fail(tape, status);
            }
        }
        tape->value[first + i] = square;
        tape->partial[first + i][0] = 2 * lower;
        tape->partial[first + i][1] = a > 0;
    }
    return finish(tape, from, end, first);
}

static void relu_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    mg_slot slot = first_lane(header, 1) + lane;
    if (mg_code(tape, header) == MG_SPAN_RELU_SQUARE) {
        g = tape->partial[slot][0] * g;
    }
    tape->adjoint[mg_operand(tape, header, 0) + lane] += tape->partial[slot][1] * g;
}

/* ---- rmsnorm ------------------------------------------------------------------------------------------------------ */

/* scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5; then x * scale */
mg_id mg_span_rmsnorm(mg_tape *tape, mg_id x, size_t n) {
    mg_slot operand, from;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) ||
        !reserve_or_fail(tape, statement_slots(1, 1) + statement_slots(2, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    double share, value, lower, sum = 0;
    mg_pow((double)n, -1, &share);
    mg_slot header = lay_out(tape, &end, MG_SPAN_RMS, share, 1, 1, n);
    set_operand(tape, header, 0, operand);
    mg_slot s = first_lane(header, 1);
    for (size_t i = 0; i < n; i++) {
        sum += tape->value[operand + i] * tape->value[operand + i];
    }
    double shifted = sum * share + 1e-5;
    mg_status status = mg_pow(shifted, -0.5, &value);
    if (status == MG_OK) {
        status = mg_pow(shifted, -1.5, &lower);
    }
    if (status != MG_OK) {
        return mg_fail(tape, status);
    }
    tape->value[s] = value;
    tape->partial[s][0] = -0.5 * lower;
    mg_slot first = scale(tape, &end, operand, n, s);
    return finish(tape, from, end, first);
}

static void rms_reverse(mg_tape *tape, mg_slot header, size_t begin, size_t end, double g) {
    mg_slot x = mg_operand(tape, header, 0), s = first_lane(header, 1);
    double g_sum = tape->value[header] * (tape->partial[s][0] * g);
    for (size_t c = end; c-- > begin;) {
        double product = tape->value[x + c] * g_sum;
        tape->adjoint[x + c] += product;
        tape->adjoint[x + c] += product;
    }
}

/* ---- linear ------------------------------------------------------------------------------------------------------- */

static bool all_leaves(const mg_tape *tape, mg_slot first, size_t n) {
    uint8_t codes = 0;
    for (size_t i = 0; i < n; i++) {
        codes |= tape->operation[first + i];
    }
    return codes == MG_LEAF;
}

/* [sum(wi * xi for wi, xi in zip(row, x)) for row in w] */
mg_id mg_span_linear(mg_tape *tape, mg_id x, mg_id w, size_t rows, size_t columns) {
    mg_slot vector, matrix, from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (rows == 0 || columns == 0 || rows > MG_MAX_SLOTS / columns) {
        return mg_fail(tape, MG_SHAPE);
    }
    if (!find_or_fail(tape, x, columns, &vector) || !find_or_fail(tape, w, rows * columns, &matrix) ||
        !reserve_or_fail(tape, statement_slots(3, rows), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_SPAN_LINEAR, 0, 3, rows, columns);
    set_operand(tape, header, 0, vector);
    set_operand(tape, header, 1, matrix);
    set_operand(tape, header, 2, all_leaves(tape, matrix, rows * columns));
    mg_slot first = first_lane(header, 3);
    const double *xs = tape->value + vector;
    size_t i = 0;
    for (; i + 4 <= rows; i += 4) { /* four rows at a time: each sum keeps its order, and they overlap in time */
        const double *w0 = tape->value + matrix + i * columns, *w1 = w0 + columns, *w2 = w1 + columns,
                     *w3 = w2 + columns;
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t c = 0; c < columns; c++) {
            s0 += w0[c] * xs[c];
            s1 += w1[c] * xs[c];
            s2 += w2[c] * xs[c];
            s3 += w3[c] * xs[c];
        }
        tape->value[first + i] = s0;
        tape->value[first + i + 1] = s1;
        tape->value[first + i + 2] = s2;
        tape->value[first + i + 3] = s3;
    }
    for (; i < rows; i++) {
        const double *row = tape->value + matrix + i * columns;
        double s = 0;
        for (size_t c = 0; c < columns; c++) {
            s += row[c] * xs[c];
        }
        tape->value[first + i] = s;
    }
    return finish(tape, from, end, first);
}

/* Two runs of n adjoints, and the primals that go with them, that share no slot. */
static void cross_terms(double *restrict left_adjoint, double *restrict right_adjoint, const double *restrict left,
                        const double *restrict right, size_t n, double g) {
    for (size_t c = 0; c < n; c++) {
        left_adjoint[c] += right[c] * g;
        right_adjoint[c] += left[c] * g;
    }
}

/* Terms left[c] * right[c] of a sum with adjoint g, from end - 1 down to begin, left operand first. */
static void product_terms(mg_tape *tape, mg_slot left, mg_slot right, size_t begin, size_t end, double g) {
    size_t n = end - begin;
    left += (mg_slot)begin;
    right += (mg_slot)begin;
    if (left + n <= right || right + n <= left) { /* no slot is added to twice: the order does not matter */
        cross_terms(tape->adjoint + left, tape->adjoint + right, tape->value + left, tape->value + right, n, g);
        return;
    }
    for (size_t c = n; c-- > 0;) {
        tape->adjoint[left + c] += tape->value[right + c] * g;
        tape->adjoint[right + c] += tape->value[left + c] * g;
    }
}

static void linear_reverse(mg_tape *tape, mg_slot header, mg_slot lane, size_t begin, size_t end, double g) {
    size_t columns = mg_terms(tape, header);
    mg_slot row = mg_operand(tape, header, 1) + (mg_slot)(lane * columns);
    product_terms(tape, row, mg_operand(tape, header, 0), begin, end, g);
}

/* ---- softmax ------------------------------------------------------------------------------------------------------ */

/* For each group: exps = [(val - max_val).exp() for val in x]; total = sum(exps); [e / total for e in exps] */
static mg_status softmax(mg_tape *tape, mg_slot *end, mg_slot x, size_t groups, size_t group, mg_slot *out) {
    size_t n = groups * group;
    mg_slot exp_header = lay_out(tape, end, MG_SPAN_EXP, 0, 1, n, 1);
    set_operand(tape, exp_header, 0, x);
    mg_slot e = first_lane(exp_header, 1);
    mg_slot total_header = lay_out(tape, end, MG_SPAN_TOTAL, 0, 1, groups, group);
    set_operand(tape, total_header, 0, e);
    mg_slot total = first_lane(total_header, 1);
    mg_slot quotient_header = lay_out(tape, end, MG_SPAN_QUOTIENT, 0, 3, n, 1);
    set_operand(tape, quotient_header, 0, e);
    set_operand(tape, quotient_header, 1, total);
    set_operand(tape, quotient_header, 2, (mg_slot)group);
    mg_slot quotient = first_lane(quotient_header, 3);
    for (size_t h = 0; h < groups; h++, x += (mg_slot)group, e += (mg_slot)group, total++) {
        double largest = tape->value[x], sum = 0, inverse, lower;
        for (size_t i = 1; i < group; i++) {
            if (tape->value[x + i] > largest) {
                largest = tape->value[x + i];
            }
        }
        for (size_t i = 0; i < group; i++) {
            double value;
            mg_status status = mg_exp(tape->value[x + i] + -largest, &value);
            if (status != MG_OK) {
                return status;
            }
            tape->value[e + i] = value;
            sum += value;
        }
        mg_status status = mg_pow(sum, -1, &inverse);
        if (status == MG_OK) {
            status = mg_pow(sum, -2, &lower);
        }
        if (status != MG_OK) {
            return status;
        }
        tape->value[total] = sum;
        for (size_t i = 0; i < group; i++, quotient++) {
            tape->value[quotient] = tape->value[e + i] * inverse;
            tape->partial[quotient][0] = inverse;
            tape->partial[quotient][1] = -1 * lower;
        }
    }
    *out = first_lane(quotient_header, 3);
    return MG_OK;
}

static size_t softmax_slots(size_t groups, size_t group) {
    return statement_slots(1, groups * group) + statement_slots(1, groups) + statement_slots(3, groups * group);
}

mg_id mg_span_softmax(mg_tape *tape, mg_id x, size_t n) {
    mg_slot operand, from, out;
    if (!mg_ready(tape) || !find_or_fail(tape, x, n, &operand) ||
        !reserve_or_fail(tape, softmax_slots(1, n), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    mg_status status = softmax(tape, &end, operand, 1, n, &out);
    return status == MG_OK ? finish(tape, from, end, out) : mg_fail(tape, status);
}

static void exp_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    tape->adjoint[mg_operand(tape, header, 0) + lane] += tape->value[first_lane(header, 1) + lane] * g;
}

static void total_reverse(mg_tape *tape, mg_slot header, mg_slot lane, size_t begin, size_t end, double g) {
    size_t group = mg_terms(tape, header);
    mg_slot e = mg_operand(tape, header, 0) + (mg_slot)(lane * group);
    for (size_t c = end; c-- > begin;) {
        tape->adjoint[e + c] += g;
    }
}

static void quotient_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g) {
    mg_slot e = mg_operand(tape, header, 0) + lane;
    mg_slot total = mg_operand(tape, header, 1) + lane / mg_operand(tape, header, 2);
    mg_slot slot = first_lane(header, 3) + lane;
    tape->adjoint[e] += tape->partial[slot][0] * g;
    tape->adjoint[total] += tape->partial[slot][1] * (tape->value[e] * g);
}

/* ---- attention ---------------------------------------------------------------------------------------------------- */

/* For each head, with its slices of q, of the keys and of the values:
 *   logits  = [sum(q[j] * key[j] for j in range(head_size)) / head_size ** 0.5 for key in keys]
 *   weights = softmax(logits)
 *   output  = [sum(weights[u] * values[u][j] for u in range(positions)) for j in range(head_size)]
 * Lane h * positions + u of the logits, lane h * head_size + j of the output. */
mg_id mg_span_attention(mg_tape *tape, mg_id q, const mg_id *keys, const mg_id *values, size_t positions, size_t heads,
                        size_t head_size) {
    mg_slot query, operand, from, weights;
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
    if (!reserve_or_fail(tape,
                         statement_slots(positions + 2, n) + softmax_slots(heads, positions) +
                             statement_slots(positions + 2, width),
                         &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    double root, inverse_root;
    mg_pow((double)head_size, 0.5, &root);
    mg_pow(root, -1, &inverse_root);
    mg_slot header = lay_out(tape, &end, MG_SPAN_LOGIT, inverse_root, positions + 2, n, head_size);
    mg_slot logits = first_lane(header, positions + 2);
    set_operand(tape, header, 0, query);
    set_operand(tape, header, 1, (mg_slot)positions);
    for (size_t u = 0; u < positions; u++) {
        mg_find(tape, keys[u], &operand);
        set_operand(tape, header, u + 2, operand);
        for (size_t h = 0; h < heads; h++) {
            const double *qs = tape->value + query + h * head_size, *ks = tape->value + operand + h * head_size;
            double s = 0;
            for (size_t j = 0; j < head_size; j++) {
                s += qs[j] * ks[j];
            }
            tape->value[logits + h * positions + u] = s * inverse_root;
        }
    }
    mg_status status = softmax(tape, &end, logits, heads, positions, &weights);
    if (status != MG_OK) {
        return mg_fail(tape, status);
    }
    header = lay_out(tape, &end, MG_SPAN_MIX, 0, positions + 2, width, positions);
    mg_slot out = first_lane(header, positions + 2);
    set_operand(tape, header, 0, weights);
    set_operand(tape, header, 1, (mg_slot)head_size);
    memset(tape->value + out, 0, width * sizeof *tape->value);
    for (size_t u = 0; u < positions; u++) {
        mg_find(tape, values[u], &operand);
        set_operand(tape, header, u + 2, operand);
        for (size_t i = 0; i < width; i++) {
            tape->value[out + i] += tape->value[weights + i / head_size * positions + u] * tape->value[operand + i];
        }
    }
    return finish(tape, from, end, out);
}

static void logit_reverse(mg_tape *tape, mg_slot header, mg_slot lane, size_t begin, size_t end, double g) {
    size_t head_size = mg_terms(tape, header);
    mg_slot positions = mg_operand(tape, header, 1);
    mg_slot h = lane / positions, u = lane % positions, head = (mg_slot)(h * head_size);
    double g_sum = tape->value[header] * g;
    product_terms(tape, mg_operand(tape, header, 0) + head, mg_operand(tape, header, u + 2) + head, begin, end, g_sum);
}

static void mix_reverse(mg_tape *tape, mg_slot header, mg_slot lane, size_t begin, size_t end, double g) {
    size_t positions = mg_terms(tape, header);
    mg_slot weights = mg_operand(tape, header, 0) + (mg_slot)(lane / mg_operand(tape, header, 1) * positions);
    for (size_t u = end; u-- > begin;) {
        mg_slot value = mg_operand(tape, header, u + 2) + lane;
        tape->adjoint[weights + u] += tape->value[value] * g;
        tape->adjoint[value] += tape->value[weights + u] * g;
    }
}

/* ---- the loss ----------------------------------------------------------------------------------------------------- */

/* -p.log() */
mg_id mg_span_surprisal(mg_tape *tape, mg_id p) {
    mg_slot operand, from;
    double value;
    if (!mg_ready(tape) || !find_or_fail(tape, p, 1, &operand) ||
        !reserve_or_fail(tape, statement_slots(1, 1), &from)) {
        return MG_NONE;
    }
    mg_status status = mg_log(tape->value[operand], &value);
    if (status != MG_OK) {
        return mg_fail(tape, status);
    }
    mg_slot end = from;
    mg_slot header = lay_out(tape, &end, MG_SPAN_SURPRISAL, 0, 1, 1, 1);
    set_operand(tape, header, 0, operand);
    mg_slot first = first_lane(header, 1);
    tape->value[first] = value * -1;
    tape->partial[first][0] = 1 / tape->value[operand];
    return finish(tape, from, end, first);
}

static void surprisal_reverse(mg_tape *tape, mg_slot header, double g) {
    tape->adjoint[mg_operand(tape, header, 0)] += tape->partial[first_lane(header, 1)][0] * (-1 * g);
}

/* (1 / n) * sum(x) */
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
    if (!reserve_or_fail(tape, statement_slots(n, 1), &from)) {
        return MG_NONE;
    }
    mg_slot end = from;
    double share = 1 / (double)n, sum = 0;
    mg_slot header = lay_out(tape, &end, MG_SPAN_MEAN, share, n, 1, n);
    for (size_t k = 0; k < n; k++) {
        mg_find(tape, x[k], &operand);
        set_operand(tape, header, k, operand);
        sum += tape->value[operand];
    }
    mg_slot first = first_lane(header, n);
    tape->value[first] = sum * share;
    return finish(tape, from, end, first);
}

static void mean_reverse(mg_tape *tape, mg_slot header, size_t begin, size_t end, double g) {
    double g_sum = tape->value[header] * g;
    for (size_t k = end; k-- > begin;) {
        tape->adjoint[mg_operand(tape, header, k)] += g_sum;
    }
}

/* ---- for the sweep ------------------------------------------------------------------------------------------------ */

/* Entries of the payload. */
static size_t operand_count(const mg_tape *tape, mg_slot header) {
    switch (mg_code(tape, header)) {
    case MG_CUSTOM:
    case MG_SPAN_MEAN: return mg_terms(tape, header);
    case MG_SPAN_ADD:
    case MG_SPAN_SCALE: return 2;
    case MG_SPAN_LINEAR:
    case MG_SPAN_QUOTIENT: return 3;
    case MG_SPAN_LOGIT: return mg_operand(tape, header, 1) + 2;
    case MG_SPAN_MIX: return mg_terms(tape, header) + 2;
    default: return 1;
    }
}

size_t mg_statement_size(const mg_tape *tape, mg_slot header) {
    return statement_slots(operand_count(tape, header), mg_lanes(tape, header));
}

size_t mg_term_width(const mg_tape *tape, mg_slot header) {
    switch (mg_code(tape, header)) {
    case MG_CUSTOM: return mg_terms(tape, header);
    case MG_SPAN_ADD:
    case MG_SPAN_SCALE:
    case MG_SPAN_LINEAR:
    case MG_SPAN_LOGIT:
    case MG_SPAN_QUOTIENT:
    case MG_SPAN_MIX: return 2;
    default: return 1;
    }
}

size_t mg_term_count(const mg_tape *tape, mg_slot header) {
    return mg_code(tape, header) == MG_CUSTOM ? 1 : mg_terms(tape, header);
}

mg_slot mg_term_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    mg_slot first = mg_operand(tape, header, 0), size = mg_terms(tape, header), c = (mg_slot)(cursor / 2);
    bool left = cursor % 2 == 0;
    switch (mg_code(tape, header)) {
    case MG_SPAN_ADD: return mg_operand(tape, header, cursor) + lane;
    case MG_SPAN_SCALE: return left ? first + lane : mg_operand(tape, header, 1);
    case MG_SPAN_SCALE_BY:
    case MG_SPAN_RELU:
    case MG_SPAN_RELU_SQUARE:
    case MG_SPAN_EXP: return first + lane;
    case MG_SPAN_RMS: return first + (mg_slot)cursor;
    case MG_SPAN_LINEAR: return left ? mg_operand(tape, header, 1) + lane * size + c : first + c;
    case MG_SPAN_LOGIT: {
        mg_slot positions = mg_operand(tape, header, 1);
        return (left ? first : mg_operand(tape, header, lane % positions + 2)) + lane / positions * size + c;
    }
    case MG_SPAN_TOTAL: return first + lane * size + (mg_slot)cursor;
    case MG_SPAN_QUOTIENT: return left ? first + lane : mg_operand(tape, header, 1) + lane / mg_operand(tape, header, 2);
    case MG_SPAN_MIX:
        return left ? first + lane / mg_operand(tape, header, 1) * size + c : mg_operand(tape, header, c + 2) + lane;
    default: return mg_operand(tape, header, cursor); /* custom, surprisal, mean */
    }
}

void mg_reverse_terms(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    switch (mg_code(tape, header)) {
    case MG_CUSTOM: custom_reverse(tape, header, g); break;
    case MG_SPAN_ADD: add_reverse(tape, header, lane, g); break;
    case MG_SPAN_SCALE: scale_reverse(tape, header, lane, g); break;
    case MG_SPAN_SCALE_BY: scale_by_reverse(tape, header, lane, g); break;
    case MG_SPAN_RMS: rms_reverse(tape, header, begin, end, g); break;
    case MG_SPAN_RELU:
    case MG_SPAN_RELU_SQUARE: relu_reverse(tape, header, lane, g); break;
    case MG_SPAN_LINEAR: linear_reverse(tape, header, lane, begin, end, g); break;
    case MG_SPAN_LOGIT: logit_reverse(tape, header, lane, begin, end, g); break;
    case MG_SPAN_EXP: exp_reverse(tape, header, lane, g); break;
    case MG_SPAN_TOTAL: total_reverse(tape, header, lane, begin, end, g); break;
    case MG_SPAN_QUOTIENT: quotient_reverse(tape, header, lane, g); break;
    case MG_SPAN_MIX: mix_reverse(tape, header, lane, begin, end, g); break;
    case MG_SPAN_SURPRISAL: surprisal_reverse(tape, header, g); break;
    case MG_SPAN_MEAN: mean_reverse(tape, header, begin, end, g); break;
    default: assert(false);
    }
}

bool mg_overwritten(const mg_tape *tape, mg_slot header) {
    uint64_t recorded = (uint64_t)tape->adjoint[header];
    size_t lanes = mg_lanes(tape, header), terms = mg_terms(tape, header);
    mg_slot first = mg_operand(tape, header, 0), second = mg_operand(tape, header, 1);
    switch (mg_code(tape, header)) {
    case MG_SPAN_SCALE:
        return mg_written_since(tape, first, lanes, recorded) || mg_written_since(tape, second, 1, recorded);
    case MG_SPAN_RMS: return mg_written_since(tape, first, terms, recorded);
    case MG_SPAN_LINEAR:
        return mg_written_since(tape, first, terms, recorded) ||
               mg_written_since(tape, second, lanes * terms, recorded);
    case MG_SPAN_EXP: return mg_written_since(tape, first_lane(header, 1), lanes, recorded);
    case MG_SPAN_QUOTIENT: return mg_written_since(tape, first, lanes, recorded);
    case MG_SPAN_LOGIT:
    case MG_SPAN_MIX: {
        bool logit = mg_code(tape, header) == MG_SPAN_LOGIT;
        size_t positions = logit ? second : terms, heads_size = logit ? lanes / positions * terms : lanes;
        bool written = mg_written_since(tape, first, logit ? heads_size : lanes / second * terms, recorded);
        for (size_t u = 0; u < positions && !written; u++) {
            written = mg_written_since(tape, mg_operand(tape, header, u + 2), heads_size, recorded);
        }
        return written;
    }
    default: return false; /* the partials do not depend on primals, or the lanes keep them */
    }
}

double mg_term_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    size_t width = mg_term_width(tape, header);
    const double *value = tape->value;
    switch (mg_code(tape, header)) {
    case MG_CUSTOM: return tape->partial[header + 1 + cursor / 2][cursor % 2];
    case MG_SPAN_SCALE:
    case MG_SPAN_LINEAR:
    case MG_SPAN_MIX: return value[mg_term_operand(tape, header, lane, cursor ^ 1)];
    case MG_SPAN_LOGIT: return value[header] * value[mg_term_operand(tape, header, lane, cursor ^ 1)];
    case MG_SPAN_SCALE_BY:
    case MG_SPAN_MEAN: return value[header];
    case MG_SPAN_RMS:
        return 2 * value[mg_term_operand(tape, header, lane, cursor)] * value[header] *
               tape->partial[first_lane(header, 1)][0];
    case MG_SPAN_RELU: return tape->partial[first_lane(header, 1) + lane][1];
    case MG_SPAN_RELU_SQUARE:
        return tape->partial[first_lane(header, 1) + lane][0] * tape->partial[first_lane(header, 1) + lane][1];
    case MG_SPAN_EXP: return value[first_lane(header, 1) + lane];
    case MG_SPAN_QUOTIENT:
        return cursor % width == 0
                   ? tape->partial[first_lane(header, 3) + lane][0]
                   : tape->partial[first_lane(header, 3) + lane][1] * value[mg_operand(tape, header, 0) + lane];
    case MG_SPAN_SURPRISAL: return -tape->partial[first_lane(header, 1)][0];
    default: return 1; /* add, total */
    }
}
