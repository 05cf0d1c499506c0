/* rules.c: the scalar operations, one row of the table each.
 *
 * A rule computes the value of an operation and its partials exactly as the Python expressions in its row of the table
 * do, or says why Python would raise. It writes nothing when it fails.
 */
#include "tape/rules.h"

#include "tape/status.h"

#include <math.h>

/* ---- Python's float arithmetic ---------------------------------------------------------------------------------- */

/* As Python computes them. */
static const double LOG_2 = 0.6931471805599453;            /* math.log(2) */
static const double LOG_10 = 2.302585092994046;            /* math.log(10) */
static const double TWO_BY_ROOT_PI = 1.1283791670955126;   /* 2 / math.sqrt(math.pi) */

/* What math's functions make of an infinite result of a finite number. */
static mg_status in_range(double a, double value, double *out) {
    if (isinf(value) && isfinite(a)) {
        return MG_RANGE;
    }
    *out = value;
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

/* ---- the rules -------------------------------------------------------------------------------------------------- */

static mg_status power_constant(double a, double k, mg_outcome *out) {
    double value, lower;
    MG_TRY(mg_pow(a, k, &value));
    MG_TRY(mg_pow(a, k - 1, &lower));
    *out = (mg_outcome){value, k * lower, k};
    return MG_OK;
}

/* The derivative of a ** b with respect to b: a ** b * log(a), and its limit 0 at a = 0 < b. */
static mg_status exponent_partial(double a, double b, double value, double *out) {
    *out = a == 0 && b > 0 ? 0 : value * log(a);
    return a <= 0 && !(a == 0 && b > 0) ? MG_DOMAIN : MG_OK;
}

static mg_status power(double a, double b, mg_outcome *out) {
    double value, lower, db;
    MG_TRY(mg_pow(a, b, &value));
    MG_TRY(mg_pow(a, b - 1, &lower));
    MG_TRY(exponent_partial(a, b, value, &db));
    *out = (mg_outcome){value, b * lower, db};
    return MG_OK;
}

static mg_status exponential_constant(double a, double k, mg_outcome *out) {
    double value, da;
    MG_TRY(mg_pow(k, a, &value));
    MG_TRY(exponent_partial(k, a, value, &da));
    *out = (mg_outcome){value, da, k};
    return MG_OK;
}

/* The rules of one operand take no notice of b. */
#define UNARY(name) static mg_status name(double a, double b __attribute__((unused)), mg_outcome *out)

/* A rule that is two expressions: the value y of an operand that is allowed, and the partial. */
#define RULE(name, allowed, value, partial)     \
    UNARY(name) {                               \
        if (!(allowed)) {                       \
            return MG_DOMAIN;                   \
        }                                       \
        const double y = (value);               \
        *out = (mg_outcome){y, (partial), 0};   \
        return MG_OK;                           \
    }

/* The same where the partial is a quotient. */
#define QUOTIENT_RULE(name, allowed, value, numerator, denominator) \
    UNARY(name) {                                                   \
        if (!(allowed)) {                                           \
            return MG_DOMAIN;                                       \
        }                                                           \
        const double y = (value), divisor = (denominator);          \
        if (divisor == 0) {                                         \
            return MG_DIVISION;                                     \
        }                                                           \
        *out = (mg_outcome){y, (numerator) / divisor, 0};           \
        return MG_OK;                                               \
    }

/* The same where both may overflow. */
#define STEEP_RULE(name, value, partial)        \
    UNARY(name) {                               \
        double y, da;                           \
        MG_TRY(in_range(a, (value), &y));       \
        MG_TRY(in_range(a, (partial), &da));    \
        *out = (mg_outcome){y, da, 0};          \
        return MG_OK;                           \
    }

/* Computed so that it never overflows. */
static double sigmoid_of(double a) {
    double e = exp(a >= 0 ? -a : a);
    return a >= 0 ? 1 / (1 + e) : e / (1 + e);
}

RULE(relu, true, a > 0 ? a : 0, a > 0)
RULE(absolute, true, fabs(a), (double)((a > 0) - (a < 0)))
RULE(sigmoid, true, sigmoid_of(a), y * (1 - y))
RULE(softplus, true, (0 > a ? 0 : a) + log1p(exp(-fabs(a))), sigmoid_of(a))
RULE(hyperbolic_tangent, true, tanh(a), 1 - pow(y, 2))
RULE(error_function, true, erf(a), TWO_BY_ROOT_PI * exp(-a * a))
RULE(arc_tangent, true, atan(a), 1 / (1 + a * a))
RULE(sine, !isinf(a), sin(a), cos(a))
RULE(cosine, !isinf(a), cos(a), -sin(a))
RULE(tangent, !isinf(a), tan(a), 1 + y * y)
RULE(logarithm, !(a <= 0), log(a), 1 / a)
RULE(binary_logarithm, !(a <= 0), log2(a), 1 / (a * LOG_2))
RULE(decimal_logarithm, !(a <= 0), log10(a), 1 / (a * LOG_10))
RULE(logarithm_of_1_plus, !(a <= -1), log1p(a), 1 / (1 + a))
QUOTIENT_RULE(square_root, !(a < 0), sqrt(a), 0.5, y)
QUOTIENT_RULE(arc_sine, !(fabs(a) > 1), asin(a), 1, sqrt(1 - a * a))
QUOTIENT_RULE(arc_cosine, !(fabs(a) > 1), acos(a), -1, sqrt(1 - a * a))
STEEP_RULE(exponential, exp(a), y)
STEEP_RULE(power_of_2, exp2(a), y * LOG_2)
STEEP_RULE(exponential_minus_1, expm1(a), exp(a))
STEEP_RULE(hyperbolic_sine, sinh(a), cosh(a))
STEEP_RULE(hyperbolic_cosine, cosh(a), sinh(a))

static mg_status maximum(double a, double b, mg_outcome *out) {
    *out = b > a ? (mg_outcome){b, 0, 1} : (mg_outcome){a, 1, 0};
    return MG_OK;
}

static mg_status minimum(double a, double b, mg_outcome *out) {
    *out = b < a ? (mg_outcome){b, 0, 1} : (mg_outcome){a, 1, 0};
    return MG_OK;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

#define SIGMOID "1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a))"

/* Every scalar operation: its code, its name, how many operands it has, whether it takes a constant besides its one
   operand, its rule, and the same in Python: the value, and the partials with respect to a and b. In these a and b are
   the operands, k is the constant and y the value; they are evaluated from left to right, and what raises in Python is
   what the rule refuses. (One deviation: a power that is complex in Python is refused.) */
#define SCALAR_OPERATIONS(ROW)                                                                                        \
    ROW(MG_LEAF, "", 0, false, NULL, NULL, NULL, NULL)                                                                \
    ROW(MG_CONSTANT, "", 0, false, NULL, NULL, NULL, NULL)                                                            \
    ROW(MG_ADD, "+", 2, false, mg_add_rule, "a + b", "1.0", "1.0")                                                    \
    ROW(MG_MUL, "*", 2, false, mg_multiply_rule, "a * b", "b", "a")                                                   \
    ROW(MG_POW, "**", 1, true, power_constant, "a ** k", "k * a ** (k - 1)", NULL)                                    \
    ROW(MG_POWER, "**", 2, false, power, "a ** b", "b * a ** (b - 1)",                                                \
        "0.0 if a == 0 and b > 0 else y * math.log(a)")                                                               \
    ROW(MG_EXPONENT, "**", 1, true, exponential_constant, "k ** a", "0.0 if k == 0 and a > 0 else y * math.log(k)",   \
        NULL)                                                                                                         \
    ROW(MG_LOG, "log", 1, false, logarithm, "math.log(a)", "1 / a", NULL)                                             \
    ROW(MG_EXP, "exp", 1, false, exponential, "math.exp(a)", "y", NULL)                                               \
    ROW(MG_RELU, "ReLU", 1, false, relu, "max(0, a)", "float(a > 0)", NULL)                                           \
    ROW(MG_TANH, "tanh", 1, false, hyperbolic_tangent, "math.tanh(a)", "1 - y ** 2", NULL)                            \
    ROW(MG_SIGMOID, "sigmoid", 1, false, sigmoid, SIGMOID, "y * (1 - y)", NULL)                                       \
    ROW(MG_SQRT, "sqrt", 1, false, square_root, "math.sqrt(a)", "0.5 / y", NULL)                                      \
    ROW(MG_SIN, "sin", 1, false, sine, "math.sin(a)", "math.cos(a)", NULL)                                            \
    ROW(MG_COS, "cos", 1, false, cosine, "math.cos(a)", "-math.sin(a)", NULL)                                         \
    ROW(MG_ABS, "abs", 1, false, absolute, "abs(a)", "float((a > 0) - (a < 0))", NULL)                                \
    ROW(MG_MAX, "max", 2, false, maximum, "b if b > a else a", "float(not b > a)", "float(b > a)")                    \
    ROW(MG_MIN, "min", 2, false, minimum, "b if b < a else a", "float(not b < a)", "float(b < a)")                    \
    ROW(MG_TAN, "tan", 1, false, tangent, "math.tan(a)", "1 + y * y", NULL)                                           \
    ROW(MG_SINH, "sinh", 1, false, hyperbolic_sine, "math.sinh(a)", "math.cosh(a)", NULL)                             \
    ROW(MG_COSH, "cosh", 1, false, hyperbolic_cosine, "math.cosh(a)", "math.sinh(a)", NULL)                           \
    ROW(MG_ASIN, "asin", 1, false, arc_sine, "math.asin(a)", "1 / math.sqrt(1 - a * a)", NULL)                        \
    ROW(MG_ACOS, "acos", 1, false, arc_cosine, "math.acos(a)", "-1 / math.sqrt(1 - a * a)", NULL)                     \
    ROW(MG_ATAN, "atan", 1, false, arc_tangent, "math.atan(a)", "1 / (1 + a * a)", NULL)                              \
    ROW(MG_LOG2, "log2", 1, false, binary_logarithm, "math.log2(a)", "1 / (a * math.log(2))", NULL)                   \
    ROW(MG_LOG10, "log10", 1, false, decimal_logarithm, "math.log10(a)", "1 / (a * math.log(10))", NULL)              \
    ROW(MG_LOG1P, "log1p", 1, false, logarithm_of_1_plus, "math.log1p(a)", "1 / (1 + a)", NULL)                       \
    ROW(MG_EXP2, "exp2", 1, false, power_of_2, "math.exp2(a)", "y * math.log(2)", NULL)                               \
    ROW(MG_EXPM1, "expm1", 1, false, exponential_minus_1, "math.expm1(a)", "math.exp(a)", NULL)                       \
    ROW(MG_ERF, "erf", 1, false, error_function, "math.erf(a)", "2 / math.sqrt(math.pi) * math.exp(-a * a)", NULL)    \
    ROW(MG_SOFTPLUS, "softplus", 1, false, softplus, "max(a, 0.0) + math.log1p(math.exp(-abs(a)))", SIGMOID, NULL)

#define TABLE_ROW(code, name, arity, constant, rule, value, da, db)                                                   \
    [code] = {name, arity, constant, rule, {value, da, db}},
const mg_operation_row mg_table[MG_OPERATION_COUNT] = {
    SCALAR_OPERATIONS(TABLE_ROW)
    [MG_CUSTOM] = {.name = "custom", .arity = -1},
    [MG_SUM] = {.name = "sum", .arity = -1},
    [MG_LARGEST] = {.name = "largest", .arity = -1},
};

const char *mg_operation_name(int32_t operation) {
    return operation >= 0 && operation < MG_OPERATION_COUNT ? mg_table[operation].name : NULL;
}

int32_t mg_operation_arity(int32_t operation) {
    return mg_operation_name(operation) != NULL ? mg_table[operation].arity : -1;
}

bool mg_operation_constant(int32_t operation) {
    return mg_operation_name(operation) != NULL && mg_table[operation].constant;
}

const char *mg_operation_python(int32_t operation, int32_t which) {
    return mg_operation_name(operation) != NULL && which >= 0 && which < 3 ? mg_table[operation].python[which] : NULL;
}

/* The arities by themselves, dense, for the sweep's inner loop. */
#define ARITY_ROW(code, name, arity, ...) [code] = arity,
const uint8_t mg_scalar_arity[MG_SCALAR_COUNT] = {SCALAR_OPERATIONS(ARITY_ROW)};
