/* spans.c: what span statements compute, forward beside reverse, and a table with one row for each.
 *
 * Every statement is defined by the scalar operations that the course writes for it, which the comment above it gives.
 * A lane is a sum of terms (one term where the comment shows no sum); the scalar operations inside a lane are its own,
 * so the depth-first search sees a lane as "visit the operands of term 0, term 0, visit the operands of term 1, ...".
 * A reverse function handles any range of terms, downwards, so that the sweep can do other lanes' work in between.
 *
 * For each kind there are: operand, the slot that a lane visits at a cursor (term by term, `width` operands in each);
 * forward, all lanes from the primals of the operands; reverse; partial, of one lane with respect to the operand at a
 * cursor; overwritten, whether a primal that the reverse reads was written since the statement was recorded.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

static mg_slot lanes_from(const mg_tape *tape, mg_slot header) { return mg_first_lane(tape, header); }

static bool never(const mg_tape *tape, mg_slot header) {
    (void)tape, (void)header;
    return false; /* the partials do not depend on primals, or the lanes keep them */
}

static double one(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)tape, (void)header, (void)lane, (void)cursor;
    return 1;
}

static mg_slot listed(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)lane;
    return mg_operand(tape, header, cursor);
}

static mg_slot elementwise(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return mg_operand(tape, header, cursor) + lane;
}

static double constant_of(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)lane, (void)cursor;
    return tape->value[header];
}

/* ---- custom ----------------------------------------------------------------------------------------------------- */

/* The course's Value(data, children, local_grads): child.grad += local_grad * grad for each child in order. */

static void custom_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)lane, (void)begin, (void)end;
    size_t count = mg_terms(tape, header);
    for (size_t k = 0; k < count; k++) {
        tape->adjoint[mg_operand(tape, header, k)] += tape->partial[header + 1 + k / 2][k % 2] * g;
    }
}

static double custom_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)lane;
    return tape->partial[header + 1 + cursor / 2][cursor % 2];
}

/* ---- add: a + b ------------------------------------------------------------------------------------------------- */

static mg_status add_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header), a = mg_operand(tape, header, 0), b = mg_operand(tape, header, 1);
    size_t n = mg_lanes(tape, header);
    for (size_t i = 0; i < n; i++) {
        tape->value[out + i] = tape->value[a + i] + tape->value[b + i];
    }
    return MG_OK;
}

static void add_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    tape->adjoint[mg_operand(tape, header, 0) + lane] += g;
    tape->adjoint[mg_operand(tape, header, 1) + lane] += g;
}

/* ---- scale: x * s, s one lane ----------------------------------------------------------------------------------- */

static mg_slot scale_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return cursor == 0 ? mg_operand(tape, header, 0) + lane : mg_operand(tape, header, 1);
}

static mg_status scale_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header), x = mg_operand(tape, header, 0);
    size_t n = mg_lanes(tape, header);
    double s = tape->value[mg_operand(tape, header, 1)];
    for (size_t i = 0; i < n; i++) {
        tape->value[out + i] = tape->value[x + i] * s;
    }
    return MG_OK;
}

static void scale_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    mg_slot x = mg_operand(tape, header, 0) + lane, s = mg_operand(tape, header, 1);
    tape->adjoint[x] += tape->value[s] * g;
    tape->adjoint[s] += tape->value[x] * g;
}

static double scale_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return tape->value[scale_operand(tape, header, lane, cursor ^ 1)];
}

static bool scale_overwritten(const mg_tape *tape, mg_slot header) {
    uint64_t recorded = mg_recorded(tape, header);
    return mg_written_since(tape, mg_operand(tape, header, 0), mg_lanes(tape, header), recorded) ||
           mg_written_since(tape, mg_operand(tape, header, 1), 1, recorded);
}

/* ---- scale by: x * k, k constant -------------------------------------------------------------------------------- */

static mg_status scale_by_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header), x = mg_operand(tape, header, 0);
    size_t n = mg_lanes(tape, header);
    for (size_t i = 0; i < n; i++) {
        tape->value[out + i] = tape->value[x + i] * tape->value[header];
    }
    return MG_OK;
}

static void scale_by_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    tape->adjoint[mg_operand(tape, header, 0) + lane] += tape->value[header] * g;
}

/* ---- relu: x.relu(); relu square: x.relu() ** 2 ----------------------------------------------------------------- */

/* A lane keeps the partial of the square, 2 * r ** 1, and the partial of relu. */
static mg_status relu_forward(mg_tape *tape, mg_slot header) {
    mg_slot first = lanes_from(tape, header), x = mg_operand(tape, header, 0);
    size_t n = mg_lanes(tape, header);
    double *out = tape->value + first;
    bool squared = mg_code(tape, header) == MG_SPAN_RELU_SQUARE;
    for (size_t i = 0; i < n; i++) {
        double a = tape->value[x + i];
        out[i] = a > 0 ? a : 0;
        tape->partial[first + i][0] = squared ? 2 * out[i] : 1;
        tape->partial[first + i][1] = a > 0;
    }
    if (squared) {
        mg_kernels_chosen()->squares(n, out);
    }
    for (size_t i = 0; i < n; i++) {
        if (isinf(out[i]) && isfinite(tape->value[x + i])) {
            return MG_POWER_RANGE;
        }
    }
    return MG_OK;
}

static void relu_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    const double *partial = tape->partial[lanes_from(tape, header) + lane];
    tape->adjoint[mg_operand(tape, header, 0) + lane] += partial[1] * (partial[0] * g);
}

static double relu_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)cursor;
    const double *partial = tape->partial[lanes_from(tape, header) + lane];
    return partial[0] * partial[1];
}

/* ---- rms: (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5, one lane ------------------------------------------ */

static mg_slot rms_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)lane;
    return mg_operand(tape, header, 0) + (mg_slot)cursor;
}

static mg_status rms_forward(mg_tape *tape, mg_slot header) {
    const double *x = tape->value + mg_operand(tape, header, 0);
    mg_slot out = lanes_from(tape, header);
    size_t n = mg_terms(tape, header);
    double sum = 0, value, lower;
    for (size_t c = 0; c < n; c++) {
        sum += x[c] * x[c];
    }
    double shifted = sum * tape->value[header] + 1e-5;
    mg_status status = mg_pow(shifted, -0.5, &value);
    if (status == MG_OK) {
        status = mg_pow(shifted, -1.5, &lower);
    }
    if (status == MG_OK) {
        tape->value[out] = value;
        tape->partial[out][0] = -0.5 * lower;
    }
    return status;
}

static void rms_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    mg_slot x = mg_operand(tape, header, 0);
    double g_sum = tape->value[header] * (tape->partial[lanes_from(tape, header) + lane][0] * g);
    for (size_t c = end; c-- > begin;) {
        double product = tape->value[x + c] * g_sum;
        tape->adjoint[x + c] += product; /* x * x has x twice */
        tape->adjoint[x + c] += product;
    }
}

static double rms_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return 2 * tape->value[rms_operand(tape, header, lane, cursor)] * tape->value[header] *
           tape->partial[lanes_from(tape, header)][0];
}

static bool rms_overwritten(const mg_tape *tape, mg_slot header) {
    return mg_written_since(tape, mg_operand(tape, header, 0), mg_terms(tape, header), mg_recorded(tape, header));
}

/* ---- linear: [sum(wi * xi for wi, xi in zip(row, x)) for row in w] ---------------------------------------------- */

static mg_slot linear_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    mg_slot c = (mg_slot)(cursor / 2);
    return cursor % 2 == 0 ? mg_operand(tape, header, 1) + lane * mg_terms(tape, header) + c
                           : mg_operand(tape, header, 0) + c;
}

static mg_status linear_forward(mg_tape *tape, mg_slot header) {
    const double *x = tape->value + mg_operand(tape, header, 0), *w = tape->value + mg_operand(tape, header, 1);
    double *out = tape->value + lanes_from(tape, header);
    size_t rows = mg_lanes(tape, header), columns = mg_terms(tape, header), i = 0;
    for (; i + 4 <= rows; i += 4) { /* four rows at a time: each sum keeps its order, and they overlap in time */
        const double *w0 = w + i * columns, *w1 = w0 + columns, *w2 = w1 + columns, *w3 = w2 + columns;
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t c = 0; c < columns; c++) {
            s0 += w0[c] * x[c];
            s1 += w1[c] * x[c];
            s2 += w2[c] * x[c];
            s3 += w3[c] * x[c];
        }
        out[i] = s0;
        out[i + 1] = s1;
        out[i + 2] = s2;
        out[i + 3] = s3;
    }
    for (; i < rows; i++) {
        double s = 0;
        for (size_t c = 0; c < columns; c++) {
            s += w[i * columns + c] * x[c];
        }
        out[i] = s;
    }
    return MG_OK;
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

static void linear_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    mg_slot row = linear_operand(tape, header, lane, 0);
    product_terms(tape, row, mg_operand(tape, header, 0), begin, end, g);
}

static double linear_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return tape->value[linear_operand(tape, header, lane, cursor ^ 1)];
}

static bool linear_overwritten(const mg_tape *tape, mg_slot header) {
    uint64_t recorded = mg_recorded(tape, header);
    size_t columns = mg_terms(tape, header);
    return mg_written_since(tape, mg_operand(tape, header, 0), columns, recorded) ||
           mg_written_since(tape, mg_operand(tape, header, 1), mg_lanes(tape, header) * columns, recorded);
}

/* ---- exp: [(val - max_val).exp() for val in x], in groups with a max_val each ----------------------------------- */

static mg_status exp_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header);
    const double *x = tape->value + mg_operand(tape, header, 0);
    size_t n = mg_lanes(tape, header), group = mg_operand(tape, header, 1);
    for (size_t from = 0; from < n; from += group) {
        double largest = x[from];
        for (size_t i = from + 1; i < from + group; i++) {
            largest = x[i] > largest ? x[i] : largest;
        }
        for (size_t i = from; i < from + group; i++) {
            mg_status status = mg_exp(x[i] + -largest, tape->value + out + i);
            if (status != MG_OK) {
                return status;
            }
        }
    }
    return MG_OK;
}

static double exp_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)cursor;
    return tape->value[lanes_from(tape, header) + lane];
}

static void exp_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    tape->adjoint[mg_operand(tape, header, 0) + lane] += exp_partial(tape, header, lane, 0) * g;
}

static bool exp_overwritten(const mg_tape *tape, mg_slot header) {
    return mg_written_since(tape, lanes_from(tape, header), mg_lanes(tape, header), mg_recorded(tape, header));
}

/* ---- total: sum(exps), a lane a group --------------------------------------------------------------------------- */

static mg_slot total_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return mg_operand(tape, header, 0) + lane * mg_terms(tape, header) + (mg_slot)cursor;
}

static mg_status total_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header);
    size_t groups = mg_lanes(tape, header), group = mg_terms(tape, header);
    const double *e = tape->value + mg_operand(tape, header, 0);
    for (size_t h = 0; h < groups; h++, e += group) {
        double sum = 0;
        for (size_t i = 0; i < group; i++) {
            sum += e[i];
        }
        tape->value[out + h] = sum;
    }
    return MG_OK;
}

static void total_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    mg_slot e = total_operand(tape, header, lane, 0);
    for (size_t c = end; c-- > begin;) {
        tape->adjoint[e + c] += g;
    }
}

/* ---- quotient: [e / total for e in exps], which is e * total ** -1 ---------------------------------------------- */

static mg_slot quotient_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return cursor == 0 ? mg_operand(tape, header, 0) + lane
                       : mg_operand(tape, header, 1) + lane / mg_operand(tape, header, 2);
}

/* A lane keeps total ** -1, and its derivative -1 * total ** -2. */
static mg_status quotient_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header), e = mg_operand(tape, header, 0), total = mg_operand(tape, header, 1);
    size_t n = mg_lanes(tape, header), group = mg_operand(tape, header, 2);
    for (size_t from = 0; from < n; from += group, total++) {
        double inverse, lower;
        mg_status status = mg_pow(tape->value[total], -1, &inverse);
        if (status == MG_OK) {
            status = mg_pow(tape->value[total], -2, &lower);
        }
        if (status != MG_OK) {
            return status;
        }
        for (size_t i = from; i < from + group; i++) {
            tape->value[out + i] = tape->value[e + i] * inverse;
            tape->partial[out + i][0] = inverse;
            tape->partial[out + i][1] = -1 * lower;
        }
    }
    return MG_OK;
}

static void quotient_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    mg_slot e = mg_operand(tape, header, 0) + lane;
    const double *partial = tape->partial[lanes_from(tape, header) + lane];
    tape->adjoint[e] += partial[0] * g;
    tape->adjoint[quotient_operand(tape, header, lane, 1)] += partial[1] * (tape->value[e] * g);
}

static double quotient_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    const double *partial = tape->partial[lanes_from(tape, header) + lane];
    return cursor == 0 ? partial[0] : partial[1] * tape->value[mg_operand(tape, header, 0) + lane];
}

static bool quotient_overwritten(const mg_tape *tape, mg_slot header) {
    return mg_written_since(tape, mg_operand(tape, header, 0), mg_lanes(tape, header), mg_recorded(tape, header));
}

/* ---- logit: sum(q[j] * key[j] for j in the head) / head_size ** 0.5; lane h * positions + u --------------------- */

/* Payload: q, positions, the keys. The constant is (head_size ** 0.5) ** -1. */
static mg_slot logit_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    mg_slot positions = mg_operand(tape, header, 1);
    mg_slot vector = cursor % 2 == 0 ? mg_operand(tape, header, 0) : mg_operand(tape, header, lane % positions + 2);
    return vector + lane / positions * mg_terms(tape, header) + (mg_slot)(cursor / 2);
}

static mg_status logit_forward(mg_tape *tape, mg_slot header) {
    mg_slot out = lanes_from(tape, header);
    size_t n = mg_lanes(tape, header), head_size = mg_terms(tape, header);
    for (size_t lane = 0; lane < n; lane++) {
        const double *q = tape->value + logit_operand(tape, header, (mg_slot)lane, 0);
        const double *k = tape->value + logit_operand(tape, header, (mg_slot)lane, 1);
        double sum = 0;
        for (size_t j = 0; j < head_size; j++) {
            sum += q[j] * k[j];
        }
        tape->value[out + lane] = sum * tape->value[header];
    }
    return MG_OK;
}

static void logit_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    product_terms(tape, logit_operand(tape, header, lane, 0), logit_operand(tape, header, lane, 1), begin, end,
                  tape->value[header] * g);
}

static double logit_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return tape->value[header] * tape->value[logit_operand(tape, header, lane, cursor ^ 1)];
}

static bool any_written(const mg_tape *tape, mg_slot header, size_t vectors, size_t width) {
    bool written = false;
    for (size_t u = 0; u < vectors && !written; u++) {
        written = mg_written_since(tape, mg_operand(tape, header, u + 2), width, mg_recorded(tape, header));
    }
    return written;
}

static bool logit_overwritten(const mg_tape *tape, mg_slot header) {
    size_t positions = mg_operand(tape, header, 1), width = mg_lanes(tape, header) / positions * mg_terms(tape, header);
    return mg_written_since(tape, mg_operand(tape, header, 0), width, mg_recorded(tape, header)) ||
           any_written(tape, header, positions, width);
}

/* ---- mix: sum(weights[u] * values[u][j] for u in range(positions)); lane h * head_size + j ---------------------- */

/* Payload: the weights, head_size, the values. */
static mg_slot mix_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    mg_slot u = (mg_slot)(cursor / 2);
    mg_slot head = lane / mg_operand(tape, header, 1);
    return cursor % 2 == 0 ? mg_operand(tape, header, 0) + head * mg_terms(tape, header) + u
                           : mg_operand(tape, header, u + 2) + lane;
}

static mg_status mix_forward(mg_tape *tape, mg_slot header) {
    double *out = tape->value + lanes_from(tape, header);
    size_t width = mg_lanes(tape, header), positions = mg_terms(tape, header), head_size = mg_operand(tape, header, 1);
    const double *weights = tape->value + mg_operand(tape, header, 0);
    memset(out, 0, width * sizeof *out);
    for (size_t u = 0; u < positions; u++) {
        const double *v = tape->value + mg_operand(tape, header, u + 2);
        for (size_t i = 0; i < width; i++) {
            out[i] += weights[i / head_size * positions + u] * v[i];
        }
    }
    return MG_OK;
}

static void mix_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    mg_slot weights = mix_operand(tape, header, lane, 0);
    for (size_t u = end; u-- > begin;) {
        mg_slot value = mg_operand(tape, header, u + 2) + lane;
        tape->adjoint[weights + u] += tape->value[value] * g;
        tape->adjoint[value] += tape->value[weights + u] * g;
    }
}

static double mix_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return tape->value[mix_operand(tape, header, lane, cursor ^ 1)];
}

static bool mix_overwritten(const mg_tape *tape, mg_slot header) {
    size_t width = mg_lanes(tape, header), positions = mg_terms(tape, header);
    size_t weights = width / mg_operand(tape, header, 1) * positions;
    return mg_written_since(tape, mg_operand(tape, header, 0), weights, mg_recorded(tape, header)) ||
           any_written(tape, header, positions, width);
}

/* ---- surprisal: -p.log(), one lane ------------------------------------------------------------------------------ */

static mg_status surprisal_forward(mg_tape *tape, mg_slot header) {
    double p = tape->value[mg_operand(tape, header, 0)], logarithm;
    mg_slot out = lanes_from(tape, header);
    mg_status status = mg_log(p, &logarithm);
    if (status == MG_OK) {
        tape->value[out] = logarithm * -1;
        tape->partial[out][0] = 1 / p;
    }
    return status;
}

static void surprisal_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)begin, (void)end;
    tape->adjoint[mg_operand(tape, header, 0)] += tape->partial[lanes_from(tape, header) + lane][0] * (-1 * g);
}

static double surprisal_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    (void)cursor;
    return -tape->partial[lanes_from(tape, header) + lane][0];
}

/* ---- mean: (1 / n) * sum(x), one lane --------------------------------------------------------------------------- */

static mg_status mean_forward(mg_tape *tape, mg_slot header) {
    size_t n = mg_terms(tape, header);
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        sum += tape->value[mg_operand(tape, header, k)];
    }
    tape->value[lanes_from(tape, header)] = sum * tape->value[header];
    return MG_OK;
}

static void mean_reverse(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    (void)lane;
    double g_sum = tape->value[header] * g;
    for (size_t k = end; k-- > begin;) {
        tape->adjoint[mg_operand(tape, header, k)] += g_sum;
    }
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

typedef struct {
    mg_slot (*operand)(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor);
    mg_status (*forward)(mg_tape *tape, mg_slot header); /* NULL: only the caller knows */
    void (*reverse)(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end);
    double (*partial)(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor);
    bool (*overwritten)(const mg_tape *tape, mg_slot header);
} span_row;

const uint8_t mg_span_width[MG_OPERATION_COUNT] = {
    [MG_SPAN_ADD] = 2,    [MG_SPAN_SCALE] = 2, [MG_SPAN_SCALE_BY] = 1, [MG_SPAN_RMS] = 1,      [MG_SPAN_RELU] = 1,
    [MG_SPAN_RELU_SQUARE] = 1, [MG_SPAN_LINEAR] = 2, [MG_SPAN_LOGIT] = 2, [MG_SPAN_EXP] = 1,   [MG_SPAN_TOTAL] = 1,
    [MG_SPAN_QUOTIENT] = 2, [MG_SPAN_MIX] = 2, [MG_SPAN_SURPRISAL] = 1, [MG_SPAN_MEAN] = 1,
};

#define ROW(operation) [operation - MG_SCALAR_COUNT]

static const span_row SPANS[MG_OPERATION_COUNT - MG_SCALAR_COUNT] = {
    ROW(MG_CUSTOM) = {listed, NULL, custom_reverse, custom_partial, never},
    ROW(MG_SPAN_ADD) = {elementwise, add_forward, add_reverse, one, never},
    ROW(MG_SPAN_SCALE) = {scale_operand, scale_forward, scale_reverse, scale_partial, scale_overwritten},
    ROW(MG_SPAN_SCALE_BY) = {elementwise, scale_by_forward, scale_by_reverse, constant_of, never},
    ROW(MG_SPAN_RMS) = {rms_operand, rms_forward, rms_reverse, rms_partial, rms_overwritten},
    ROW(MG_SPAN_RELU) = {elementwise, relu_forward, relu_reverse, relu_partial, never},
    ROW(MG_SPAN_RELU_SQUARE) = {elementwise, relu_forward, relu_reverse, relu_partial, never},
    ROW(MG_SPAN_LINEAR) = {linear_operand, linear_forward, linear_reverse, linear_partial, linear_overwritten},
    ROW(MG_SPAN_LOGIT) = {logit_operand, logit_forward, logit_reverse, logit_partial, logit_overwritten},
    ROW(MG_SPAN_EXP) = {elementwise, exp_forward, exp_reverse, exp_partial, exp_overwritten},
    ROW(MG_SPAN_TOTAL) = {total_operand, total_forward, total_reverse, one, never},
    ROW(MG_SPAN_QUOTIENT) = {quotient_operand, quotient_forward, quotient_reverse, quotient_partial,
                             quotient_overwritten},
    ROW(MG_SPAN_MIX) = {mix_operand, mix_forward, mix_reverse, mix_partial, mix_overwritten},
    ROW(MG_SPAN_SURPRISAL) = {listed, surprisal_forward, surprisal_reverse, surprisal_partial, never},
    ROW(MG_SPAN_MEAN) = {listed, mean_forward, mean_reverse, constant_of, never},
};

static const span_row *row_of(const mg_tape *tape, mg_slot header) {
    assert(mg_code(tape, header) > MG_SCALAR_COUNT && mg_code(tape, header) < MG_OPERATION_COUNT);
    return &SPANS[mg_code(tape, header) - MG_SCALAR_COUNT];
}

mg_slot mg_term_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return row_of(tape, header)->operand(tape, header, lane, cursor);
}

double mg_term_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    return row_of(tape, header)->partial(tape, header, lane, cursor);
}

mg_status mg_forward(mg_tape *tape, mg_slot header) { return row_of(tape, header)->forward(tape, header); }

void mg_reverse_terms(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    row_of(tape, header)->reverse(tape, header, lane, g, begin, end);
}

bool mg_overwritten(const mg_tape *tape, mg_slot header) { return row_of(tape, header)->overwritten(tape, header); }
