/* operations.c: the scalar operations, one row of the table each, and the statements that use them.
 *
 * A rule computes the value of an operation and its partials exactly as the Python expression in its comment does, or
 * says why Python would raise. It writes nothing when it fails.
 */
#include "tape/statements.h"

#include "tape/operations.h"

#include <math.h>

/* ---- Python's float arithmetic ---------------------------------------------------------------------------------- */

mg_status mg_exp(double a, double *out) {
    double value = exp(a);
    if (isinf(value) && isfinite(a)) {
        return MG_RANGE;
    }
    *out = value;
    return MG_OK;
}

mg_status mg_log(double a, double *out) {
    if (a <= 0) {
        return MG_DOMAIN;
    }
    *out = log(a);
    return MG_OK;
}

/* CPython handles the special cases itself, before it calls the C library with a finite base other than 0 and 1. */
mg_status mg_pow(double a, double k, double *out) {
    if (k == 0 || a == 1) {
        *out = 1;
    } else if (isnan(a) || isnan(k)) {
        *out = isnan(a) ? a : k;
    } else if (isinf(k)) {
        double size = fabs(a);
        *out = size == 1 ? 1 : ((k > 0) == (size > 1) ? fabs(k) : 0);
    } else {
        bool odd = fmod(fabs(k), 2) == 1;
        if (isinf(a)) {
            *out = k > 0 ? (odd ? a : fabs(a)) : (odd ? copysign(0, a) : 0);
        } else if (a == 0) {
            if (k < 0) {
                return MG_POWER_ZERO;
            }
            *out = odd ? a : 0;
        } else if (a < 0 && k != floor(k)) {
            return isinf(pow(fabs(a), k)) ? MG_POWER_RANGE : MG_POWER_COMPLEX; /* Python's complex ** overflows too */
        } else {
            double value = a == -1 ? 1 : pow(fabs(a), k);
            if (isinf(value)) {
                return MG_POWER_RANGE;
            }
            *out = a < 0 && odd ? -value : value;
        }
    }
    return MG_OK;
}

static mg_status divide(double a, double b, double *out) {
    if (b == 0) {
        return MG_DIVISION;
    }
    *out = a / b;
    return MG_OK;
}

#define TRY(call)                       \
    do {                                \
        mg_status status_ = (call);     \
        if (status_ != MG_OK) {         \
            return status_;             \
        }                               \
    } while (0)

/* ---- the rules -------------------------------------------------------------------------------------------------- */

/* What a rule returns: the value, and the partials with respect to a and b. For one-operand operations with a constant,
   b is the constant; the statement keeps it in place of the second partial. */
typedef struct {
    double value, da, db;
} outcome;

/* a + b */
static mg_status add(double a, double b, outcome *out) {
    *out = (outcome){a + b, 1, 1};
    return MG_OK;
}

/* a * b */
static mg_status multiply(double a, double b, outcome *out) {
    *out = (outcome){a * b, b, a};
    return MG_OK;
}

/* a ** k, k * a ** (k - 1) */
static mg_status power_constant(double a, double k, outcome *out) {
    double value, lower;
    TRY(mg_pow(a, k, &value));
    TRY(mg_pow(a, k - 1, &lower));
    *out = (outcome){value, k * lower, k};
    return MG_OK;
}

/* The derivative of a ** b with respect to b: a ** b * log(a), and its limit 0 at a = 0 < b. */
static mg_status exponent_partial(double a, double b, double value, double *out) {
    if (a == 0 && b > 0) {
        *out = 0;
        return MG_OK;
    }
    double logarithm;
    TRY(mg_log(a, &logarithm));
    *out = value * logarithm;
    return MG_OK;
}

/* a ** b, b * a ** (b - 1), a ** b * log(a) */
static mg_status power(double a, double b, outcome *out) {
    double value, lower, db;
    TRY(mg_pow(a, b, &value));
    TRY(mg_pow(a, b - 1, &lower));
    TRY(exponent_partial(a, b, value, &db));
    *out = (outcome){value, b * lower, db};
    return MG_OK;
}

/* k ** a, k ** a * log(k) */
static mg_status exponential_constant(double a, double k, outcome *out) {
    double value, da;
    TRY(mg_pow(k, a, &value));
    TRY(exponent_partial(k, a, value, &da));
    *out = (outcome){value, da, k};
    return MG_OK;
}

/* math.log(a), 1 / a */
static mg_status logarithm_rule(double a, double b, outcome *out) {
    (void)b;
    double value;
    TRY(mg_log(a, &value));
    *out = (outcome){value, 1 / a, 0};
    return MG_OK;
}

/* math.exp(a), math.exp(a) */
static mg_status exponential(double a, double b, outcome *out) {
    (void)b;
    double value;
    TRY(mg_exp(a, &value));
    *out = (outcome){value, value, 0};
    return MG_OK;
}

/* max(0, a), float(a > 0) */
static mg_status relu(double a, double b, outcome *out) {
    (void)b;
    *out = a > 0 ? (outcome){a, 1, 0} : (outcome){0, 0, 0};
    return MG_OK;
}

/* t = math.tanh(a), 1 - t * t */
static mg_status hyperbolic_tangent(double a, double b, outcome *out) {
    (void)b;
    double t = tanh(a);
    *out = (outcome){t, 1 - t * t, 0};
    return MG_OK;
}

/* s = 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a)), s * (1 - s) */
static mg_status sigmoid(double a, double b, outcome *out) {
    (void)b;
    double e = exp(a >= 0 ? -a : a);
    double s = a >= 0 ? 1 / (1 + e) : e / (1 + e);
    *out = (outcome){s, s * (1 - s), 0};
    return MG_OK;
}

/* s = math.sqrt(a), 0.5 / s */
static mg_status square_root(double a, double b, outcome *out) {
    (void)b;
    if (a < 0) {
        return MG_DOMAIN;
    }
    double s = sqrt(a), da;
    TRY(divide(0.5, s, &da));
    *out = (outcome){s, da, 0};
    return MG_OK;
}

/* math.sin(a), math.cos(a) */
static mg_status sine(double a, double b, outcome *out) {
    (void)b;
    if (isinf(a)) {
        return MG_DOMAIN;
    }
    *out = (outcome){sin(a), cos(a), 0};
    return MG_OK;
}

/* math.cos(a), -math.sin(a) */
static mg_status cosine(double a, double b, outcome *out) {
    (void)b;
    if (isinf(a)) {
        return MG_DOMAIN;
    }
    *out = (outcome){cos(a), -sin(a), 0};
    return MG_OK;
}

/* abs(a), the sign of a: 1.0, -1.0, or 0.0 */
static mg_status absolute(double a, double b, outcome *out) {
    (void)b;
    *out = (outcome){fabs(a), (double)((a > 0) - (a < 0)), 0};
    return MG_OK;
}

/* max(a, b): a unless b > a */
static mg_status maximum(double a, double b, outcome *out) {
    *out = b > a ? (outcome){b, 0, 1} : (outcome){a, 1, 0};
    return MG_OK;
}

/* min(a, b): a unless b < a */
static mg_status minimum(double a, double b, outcome *out) {
    *out = b < a ? (outcome){b, 0, 1} : (outcome){a, 1, 0};
    return MG_OK;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int arity;     /* operands; -1 where they vary */
    bool constant; /* takes a constant besides its operand */
    mg_status (*rule)(double a, double b, outcome *out);
} operation_row;

static const operation_row TABLE[MG_OPERATION_COUNT] = {
    [MG_LEAF] = {"", 0, false, NULL},
    [MG_CONSTANT] = {"", 0, false, NULL},
    [MG_ADD] = {"+", 2, false, add},
    [MG_MUL] = {"*", 2, false, multiply},
    [MG_POW] = {"**", 1, true, power_constant},
    [MG_POWER] = {"**", 2, false, power},
    [MG_EXPONENT] = {"**", 1, true, exponential_constant},
    [MG_LOG] = {"log", 1, false, logarithm_rule},
    [MG_EXP] = {"exp", 1, false, exponential},
    [MG_RELU] = {"ReLU", 1, false, relu},
    [MG_TANH] = {"tanh", 1, false, hyperbolic_tangent},
    [MG_SIGMOID] = {"sigmoid", 1, false, sigmoid},
    [MG_SQRT] = {"sqrt", 1, false, square_root},
    [MG_SIN] = {"sin", 1, false, sine},
    [MG_COS] = {"cos", 1, false, cosine},
    [MG_ABS] = {"abs", 1, false, absolute},
    [MG_MAX] = {"max", 2, false, maximum},
    [MG_MIN] = {"min", 2, false, minimum},
    [MG_CUSTOM] = {"custom", -1, false, NULL},
    [MG_SUM] = {"sum", -1, false, NULL},
    [MG_LARGEST] = {"largest", -1, false, NULL},
};

const char *mg_operation_name(int32_t operation) {
    return operation >= 0 && operation < MG_OPERATION_COUNT ? TABLE[operation].name : NULL;
}

int32_t mg_operation_arity(int32_t operation) {
    return mg_operation_name(operation) != NULL ? TABLE[operation].arity : -1;
}

/* The same arities, dense, for the sweep's inner loop. */
const uint8_t mg_scalar_arity[MG_SCALAR_COUNT] = {
    [MG_ADD] = 2, [MG_MUL] = 2,     [MG_POW] = 1,  [MG_POWER] = 2, [MG_EXPONENT] = 1, [MG_LOG] = 1,
    [MG_EXP] = 1, [MG_RELU] = 1,    [MG_TANH] = 1, [MG_SIGMOID] = 1, [MG_SQRT] = 1,   [MG_SIN] = 1,
    [MG_COS] = 1, [MG_ABS] = 1,     [MG_MAX] = 2,  [MG_MIN] = 2,
};

/* ---- statements of one lane ------------------------------------------------------------------------------------- */

bool mg_takes_constant(int32_t operation) { return TABLE[operation].constant; }

mg_status mg_rule(int32_t operation, double a, double b, double out[3]) {
    outcome result;
    TRY(TABLE[operation].rule(a, b, &result));
    out[0] = result.value;
    out[1] = result.da;
    out[2] = result.db;
    return MG_OK;
}

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
static outcome nothing(int32_t operation, double k) {
    return (outcome){NAN, NAN, TABLE[operation].constant ? k : (double)NAN};
}

static mg_id record_outcome(mg_tape *tape, int32_t operation, mg_slot a, mg_slot b, outcome out) {
    mg_slot slot;
    if (!mg_reserve(tape, 1, &slot)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    mg_write_slot(tape, slot, operation, out.value, (mg_slot[2]){a, b}, (double[2]){out.da, out.db});
    mg_take(tape, slot, 1);
    return mg_id_of(tape, slot);
}

static mg_id record(mg_tape *tape, int32_t operation, mg_slot a, mg_slot b, double first, double second) {
    outcome out;
    mg_status status = TABLE[operation].rule(first, second, &out);
    if (status != MG_OK && tape->quiet) {
        out = nothing(operation, second);
        status = MG_OK;
    }
    return status == MG_OK ? record_outcome(tape, operation, a, b, out) : mg_fail(tape, status);
}

mg_status mg_compute_slot(mg_tape *tape, mg_slot slot, int32_t operation, const mg_slot operand[2], double k) {
    const double second = TABLE[operation].constant ? k : tape->value[operand[1]];
    outcome out;
    mg_status status = TABLE[operation].rule(tape->value[operand[0]], second, &out);
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
    return operation > MG_CONSTANT && operation < MG_SCALAR_COUNT && TABLE[operation].arity == arity &&
           TABLE[operation].constant == constant;
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
    mg_take(tape, slot, 1);
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
#define COMMON(name, operation, rule)                                                \
    mg_id name(mg_tape *tape, mg_id a, mg_id b) {                                    \
        mg_slot left, right;                                                         \
        outcome out;                                                                 \
        if (!mg_ready(tape)) {                                                       \
            return MG_NONE;                                                          \
        }                                                                            \
        if (!mg_find(tape, a, &left) || !mg_find(tape, b, &right)) {                 \
            return mg_fail(tape, MG_STALE);                                          \
        }                                                                            \
        rule(tape->value[left], tape->value[right], &out);                           \
        return record_outcome(tape, operation, left, right, out);                    \
    }
COMMON(mg_add, MG_ADD, add)
COMMON(mg_mul, MG_MUL, multiply)

mg_id mg_binary_with(mg_tape *tape, int32_t operation, mg_id a, double k) {
    MG_INSIDE(tape);
    mg_slot left, leaf;
    outcome out;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (!fits(operation, 2, false)) {
        return mg_fail(tape, MG_OPERATION);
    }
    if (!mg_find(tape, a, &left)) {
        return mg_fail(tape, MG_STALE);
    }
    mg_status status = TABLE[operation].rule(tape->value[left], k, &out);
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
    const operation_row *row = &TABLE[mg_code(tape, slot)];
    if (tape->operation[slot] & MG_JOINED && mg_scalar_arity[mg_code(tape, slot)] == 1 &&
        tape->operand[slot - 1][0] == operand[0]) { /* the same as the lane before, such as a softmax's 1 / total */
        tape->value[slot] = tape->value[slot - 1];
        tape->partial[slot][0] = tape->partial[slot - 1][0];
        return MG_OK;
    }
    double b = row->constant ? tape->partial[slot][1] : tape->value[operand[1]];
    outcome out;
    mg_status status = row->rule(tape->value[operand[0]], b, &out);
    if (status == MG_OK) {
        tape->value[slot] = out.value;
        tape->partial[slot][0] = out.da;
        tape->partial[slot][1] = out.db;
    }
    return status;
}

/* ---- looking into a statement ----------------------------------------------------------------------------------- */

int32_t mg_lane_operation(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    if (!mg_find_for_reading(tape, lane, &slot)) {
        return -1;
    }
    return mg_code(tape, slot) == MG_LANE ? mg_code(tape, tape->operand[slot][0]) : mg_code(tape, slot);
}

double mg_lane_constant(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    if (!mg_find_for_reading(tape, lane, &slot) || mg_code(tape, slot) == MG_LANE) {
        return NAN;
    }
    return TABLE[mg_code(tape, slot)].constant ? tape->partial[slot][1] : NAN;
}

static size_t operand_count(const mg_tape *tape, mg_slot slot) {
    if (mg_code(tape, slot) == MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, tape->operand[slot][0]);
        return (size_t)statement->factors * statement->terms;
    }
    return mg_scalar_arity[mg_code(tape, slot)];
}

size_t mg_lane_operand_count(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? operand_count(tape, slot) : 0;
}

mg_status mg_lane_operands(mg_tape *tape, mg_id lane, mg_id *operands, double *partials) {
    MG_INSIDE(tape);
    mg_slot slot;
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
    size_t count = operand_count(tape, slot);
    for (size_t k = 0; k < count; k++) {
        if (mg_code(tape, slot) == MG_LANE) {
            const mg_slot header = tape->operand[slot][0], number = tape->operand[slot][1];
            operands[k] = mg_id_of(tape, mg_operand_visited(tape, header, number, k));
            partials[k] = mg_partial_visited(tape, header, number, k);
        } else {
            operands[k] = mg_id_of(tape, tape->operand[slot][k]);
            partials[k] = tape->partial[slot][k];
        }
    }
    return MG_OK;
}
