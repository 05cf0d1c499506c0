/* test_operations.c: every row of the table of scalar operations: that it is whole, that its partials are derivatives,
 * and that a statement of it is recorded with the numbers of its rule. That the rules are the Python expressions beside
 * them is tested in Python: tests/test_operations.py. */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "tape/rules.h"

#include <float.h>
#include <math.h>

/* ---- powers, written a second time ------------------------------------------------------------------------------- */

static bool odd_integer(double k) { return fmod(fabs(k), 2.0) == 1.0; }

/* float_pow of CPython's Objects/floatobject.c, case by case in its order. */
static mg_status python_pow(double base, double k, double *out) {
    bool negate = false;
    if (k == 0) {
        *out = 1.0;
        return MG_OK;
    }
    if (isnan(base)) {
        *out = base;
        return MG_OK;
    }
    if (isnan(k)) {
        *out = base == 1.0 ? 1.0 : k;
        return MG_OK;
    }
    if (isinf(k)) {
        base = fabs(base);
        if (base == 1.0) {
            *out = 1.0;
        } else if ((k > 0.0) == (base > 1.0)) {
            *out = fabs(k);
        } else {
            *out = 0.0;
        }
        return MG_OK;
    }
    if (isinf(base)) {
        if (k > 0.0) {
            *out = odd_integer(k) ? base : fabs(base);
        } else {
            *out = odd_integer(k) ? copysign(0.0, base) : 0.0;
        }
        return MG_OK;
    }
    if (base == 0.0) {
        if (k < 0.0) {
            return MG_POWER_ZERO;
        }
        *out = odd_integer(k) ? base : 0.0;
        return MG_OK;
    }
    if (base < 0.0) {
        if (k != floor(k)) { /* Python goes on with complex numbers, which overflow as well */
            return isinf(pow(-base, k)) ? MG_POWER_RANGE : MG_POWER_COMPLEX;
        }
        base = -base;
        negate = odd_integer(k);
    }
    if (base == 1.0) {
        *out = negate ? -1.0 : 1.0;
        return MG_OK;
    }
    double result = pow(base, k);
    if (isinf(result)) {
        return MG_POWER_RANGE;
    }
    *out = negate ? -result : result;
    return MG_OK;
}

/* ---- what the table says ----------------------------------------------------------------------------------------- */

typedef struct {
    mg_status status;
    double value, da, db;
} expectation;

/* What the rule makes of operand a and second operand, or constant, b. */
static expectation expect(int32_t operation, double a, double b) {
    mg_outcome out = {NAN, NAN, NAN};
    const mg_status status = mg_table[operation].rule(a, b, &out);
    return (expectation){status, out.value, out.da, out.db};
}

/* ---- recording one operation ------------------------------------------------------------------------------------ */

static mg_id record(mg_tape *tape, int32_t operation, mg_id a, mg_id b, double constant) {
    if (mg_operation_constant(operation)) {
        return mg_unary_with(tape, operation, a, constant);
    }
    return mg_operation_arity(operation) == 2 ? mg_binary(tape, operation, a, b) : mg_unary(tape, operation, a);
}

/* Records operation(a, b) and checks the status, or the value, the partials and the operands, against `expect`. */
static void check_operation(int32_t operation, double a, double b) {
    mg_tape *tape = mg_tape_new();
    mg_id left = mg_leaf(tape, a), right = mg_leaf(tape, b), operands[2] = {0, 0};
    double partials[2] = {0, 0};
    mg_mark before = mg_tape_mark(tape);
    expectation e = expect(operation, a, b);
    mg_id y = record(tape, operation, left, right, b);
    bool good;
    if (e.status != MG_OK) {
        good = CHECK(mg_tape_take_status(tape) == e.status);
        good = CHECK(y == MG_NONE && mg_tape_mark(tape) == before) && good; /* nothing was recorded */
    } else {
        size_t arity = (size_t)mg_operation_arity(operation);
        good = CHECK(y != MG_NONE) && CHECK(same_number(mg_value(tape, y), e.value)) &&
               CHECK(same_bits(mg_adjoint(tape, y), 0)) && CHECK(mg_lane_operation(tape, y) == operation) &&
               CHECK(mg_lane_operand_count(tape, y) == arity) &&
               CHECK(mg_lane_operands(tape, y, operands, partials) == MG_OK) && CHECK(operands[0] == left) &&
               CHECK(same_number(partials[0], e.da));
        if (arity == 2) {
            good = CHECK(operands[1] == right && same_number(partials[1], e.db)) && good;
        }
        good = CHECK(same_number(mg_lane_constant(tape, y), mg_operation_constant(operation) ? b : NAN)) && good;
    }
    if (!good) {
        printf("    in operation %d (%s) of %a and %a\n", operation, mg_operation_name(operation), a, b);
    }
    mg_tape_free(tape);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void the_table_has_every_operation(void) {
    for (int32_t operation = 0; operation < MG_SCALAR_COUNT; operation++) {
        const int32_t arity = mg_operation_arity(operation);
        const bool leaf = operation <= MG_CONSTANT;
        bool good = CHECK(mg_operation_name(operation) != NULL && leaf == (strlen(mg_operation_name(operation)) == 0)) &&
                    CHECK(leaf ? arity == 0 : arity == 1 || arity == 2) && CHECK(mg_scalar_arity[operation] == arity) &&
                    CHECK(!mg_operation_constant(operation) || arity == 1) &&
                    CHECK((mg_table[operation].rule == NULL) == leaf);
        for (int32_t which = 0; which < 3; which++) { /* the value, and as many partials as operands */
            good = CHECK((mg_operation_python(operation, which) != NULL) == (!leaf && which <= arity)) && good;
        }
        if (!good) {
            printf("    in operation %d\n", operation);
        }
    }
    for (int32_t operation = MG_SCALAR_COUNT + 1; operation < MG_OPERATION_COUNT; operation++) {
        CHECK(mg_operation_name(operation) != NULL);
        CHECK(strlen(mg_operation_name(operation)) > 0);
        CHECK(mg_operation_arity(operation) == -1);
        CHECK(!mg_operation_constant(operation) && mg_operation_python(operation, 0) == NULL);
    }
    const int32_t none[] = {-1, -2, INT32_MIN, MG_OPERATION_COUNT, MG_OPERATION_COUNT + 1, 256, 257, INT32_MAX};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        CHECK(mg_operation_name(none[i]) == NULL);
        CHECK(mg_operation_arity(none[i]) == -1);
        CHECK(!mg_operation_constant(none[i]) && mg_operation_python(none[i], 0) == NULL);
    }
    CHECK(mg_operation_name(MG_SCALAR_COUNT) == NULL); /* a count, not an operation */
    CHECK(mg_operation_python(MG_ADD, -1) == NULL && mg_operation_python(MG_ADD, 3) == NULL);
}

static void every_status_has_a_text(void) {
    for (int32_t status = 0; status < MG_STATUS_COUNT; status++) {
        CHECK(mg_status_text((mg_status)status) != NULL && strlen(mg_status_text((mg_status)status)) > 0);
        for (int32_t other = 0; other < status; other++) {
            CHECK(strcmp(mg_status_text((mg_status)status), mg_status_text((mg_status)other)) != 0);
        }
    }
    CHECK(mg_status_text(MG_STATUS_COUNT) != NULL && strcmp(mg_status_text(MG_OK), "no error") == 0);
    CHECK(mg_status_text((mg_status)-1) != NULL);
    CHECK(mg_status_text((mg_status)1000000) != NULL);
}

static void wrong_operations_are_refused(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 2), b = mg_leaf(tape, 3);
    mg_mark before = mg_tape_mark(tape);
    int32_t operations[MG_OPERATION_COUNT + 10], count = 0;
    for (int32_t operation = -2; operation < MG_OPERATION_COUNT + 3; operation++) {
        operations[count++] = operation;
    }
    operations[count++] = INT32_MIN;
    operations[count++] = INT32_MAX;
    operations[count++] = 256 + MG_ADD; /* would fit if it were cut to a byte */
    operations[count++] = 128 + MG_ADD;
    for (int32_t i = 0; i < count; i++) {
        int32_t operation = operations[i];
        bool scalar = operation > MG_LEAF && operation < MG_SCALAR_COUNT;
        int32_t arity = scalar ? mg_operation_arity(operation) : -1;
        if (arity != 1 || mg_operation_constant(operation)) {
            CHECK(mg_unary(tape, operation, a) == MG_NONE);
            CHECK(mg_tape_take_status(tape) == MG_OPERATION);
        }
        if (arity != 1 || !mg_operation_constant(operation)) {
            CHECK(mg_unary_with(tape, operation, a, 2) == MG_NONE);
            CHECK(mg_tape_take_status(tape) == MG_OPERATION);
        }
        if (arity != 2) {
            CHECK(mg_binary(tape, operation, a, b) == MG_NONE);
            CHECK(mg_tape_take_status(tape) == MG_OPERATION);
            CHECK(mg_binary_with(tape, operation, a, 2) == MG_NONE);
            CHECK(mg_tape_take_status(tape) == MG_OPERATION);
        }
    }
    CHECK(mg_tape_mark(tape) == before);
    CHECK(mg_tape_take_status(tape) == MG_OK);
    mg_tape_free(tape);
}

/* ---- values and partials ---------------------------------------------------------------------------------------- */

/* Volatile, so that the compiler cannot work the expectations out with its own mathematics. */
static const volatile double ORDINARY[] = {-2.75, -1.5, -1, -0.3, 0.2, 0.5, 1, 1.25, 2, 3.7};
#define ORDINARY_COUNT (sizeof ORDINARY / sizeof *ORDINARY)

static void ordinary_values_and_partials_are_exact(void) {
    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        for (size_t i = 0; i < ORDINARY_COUNT; i++) {
            for (size_t j = 0; j < ORDINARY_COUNT; j++) {
                check_operation(operation, ORDINARY[i], ORDINARY[j]);
            }
        }
    }
}

static void random_values_and_partials_are_exact(void) {
    uint64_t state = 20240601;
    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        for (int round = 0; round < 500; round++) {
            double size = round % 2 ? 3 : 800;
            double a = random_between(&state, -size, size), b = random_between(&state, -size, size);
            check_operation(operation, round % 3 ? a : floor(a), round % 5 ? b : floor(b));
            check_operation(operation, fabs(a), b);
        }
    }
}

static void extreme_arguments_are_as_in_python(void) {
    static const volatile double extreme[] = {
        0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -8, DBL_MIN, -DBL_MIN, DBL_TRUE_MIN, DBL_MAX, -DBL_MAX,
        DBL_EPSILON, 1e200, -1e200, 1e-200, 9007199254740991.0, 9007199254740992.0, -9007199254740991.0,
        9007199254740993.0 * 2, 709.0, 710.0, -745.0, -746.0, 1e16, INFINITY, -INFINITY, NAN,
    };
    const size_t count = sizeof extreme / sizeof *extreme;
    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < count; j++) {
                check_operation(operation, extreme[i], extreme[j]);
            }
        }
    }
}

/* mg_pow is CPython's, case by case. */
static void powers_are_cpythons(void) {
    static const volatile double numbers[] = {
        0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -8, 1e200, -1e200, 1e-200, 1e300, -1e300, 9007199254740991.0,
        -9007199254740991.0, 1e16, DBL_TRUE_MIN, INFINITY, -INFINITY, NAN,
    };
    const size_t count = sizeof numbers / sizeof *numbers;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            double found = NAN, expected = NAN;
            const mg_status status = mg_pow(numbers[i], numbers[j], &found);
            if (!CHECK(status == python_pow(numbers[i], numbers[j], &expected) && same_number(found, expected))) {
                printf("    in %g ** %g\n", numbers[i], numbers[j]);
            }
        }
    }
}

/* f(a, b) of an operation where it is defined; NaN where it is not. */
static double evaluate(int32_t operation, double a, double b) {
    mg_tape *tape = mg_tape_new();
    mg_id left = mg_leaf(tape, a), right = mg_leaf(tape, b);
    mg_id y = record(tape, operation, left, right, b);
    double value = y == MG_NONE ? NAN : mg_value(tape, y);
    mg_tape_free(tape);
    return value;
}

static bool close_to(double a, double b) { return fabs(a - b) <= 1e-6 * (1 + fabs(a) + fabs(b)); }

static void partials_are_derivatives(void) {
    const double h = 1e-5;
    for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
        size_t compared = 0;
        for (size_t i = 0; i < ORDINARY_COUNT; i++) {
            for (size_t j = 0; j < ORDINARY_COUNT; j++) {
                double a = ORDINARY[i], b = ORDINARY[j];
                expectation e = expect(operation, a, b);
                bool kink = (operation == MG_MAX || operation == MG_MIN) && a == b;
                if (e.status != MG_OK || kink) {
                    continue;
                }
                mg_tape *tape = mg_tape_new();
                mg_id left = mg_leaf(tape, a), right = mg_leaf(tape, b);
                mg_id y = record(tape, operation, left, right, b);
                CHECK(mg_sweep(tape, y) == MG_OK);
                double da = (evaluate(operation, a + h, b) - evaluate(operation, a - h, b)) / (2 * h);
                CHECK(close_to(mg_adjoint(tape, left), da));
                compared++;
                if (mg_operation_arity(operation) == 2) {
                    double db = (evaluate(operation, a, b + h) - evaluate(operation, a, b - h)) / (2 * h);
                    CHECK(close_to(mg_adjoint(tape, right), db));
                }
                mg_tape_free(tape);
            }
        }
        CHECK(compared >= 10);
    }
}

/* ---- what Python raises ----------------------------------------------------------------------------------------- */

static void domain_errors_have_their_status(void) {
    static const struct {
        int32_t operation;
        double a, b;
        mg_status status;
    } cases[] = {
        {MG_LOG, 0, 0, MG_DOMAIN},
        {MG_LOG, -0.0, 0, MG_DOMAIN},
        {MG_LOG, -1, 0, MG_DOMAIN},
        {MG_LOG, -INFINITY, 0, MG_DOMAIN},
        {MG_LOG, INFINITY, 0, MG_OK},
        {MG_LOG, NAN, 0, MG_OK},
        {MG_EXP, 710, 0, MG_RANGE},
        {MG_EXP, 709, 0, MG_OK},
        {MG_EXP, INFINITY, 0, MG_OK},
        {MG_EXP, -INFINITY, 0, MG_OK},
        {MG_EXP, -10000, 0, MG_OK},
        {MG_SQRT, -1, 0, MG_DOMAIN},
        {MG_SQRT, -INFINITY, 0, MG_DOMAIN},
        {MG_SQRT, 0, 0, MG_DIVISION},
        {MG_SQRT, -0.0, 0, MG_DIVISION},
        {MG_SQRT, INFINITY, 0, MG_OK},
        {MG_SIN, INFINITY, 0, MG_DOMAIN},
        {MG_SIN, -INFINITY, 0, MG_DOMAIN},
        {MG_SIN, NAN, 0, MG_OK},
        {MG_COS, INFINITY, 0, MG_DOMAIN},
        {MG_COS, -INFINITY, 0, MG_DOMAIN},
        {MG_COS, 1e22, 0, MG_OK},
        {MG_TANH, INFINITY, 0, MG_OK},
        {MG_SIGMOID, -INFINITY, 0, MG_OK},
        {MG_SIGMOID, 1e6, 0, MG_OK},
        {MG_POW, 0, -1, MG_POWER_ZERO},
        {MG_POW, -0.0, -1, MG_POWER_ZERO},
        {MG_POW, 0, -0.5, MG_POWER_ZERO},
        {MG_POW, 0, 0.5, MG_POWER_ZERO}, /* its derivative, 0.5 * 0 ** -0.5, is what fails */
        {MG_POW, 0, 0, MG_POWER_ZERO},
        {MG_POW, 0, 1, MG_OK},
        {MG_POW, 0, 2, MG_OK},
        {MG_POW, -8, 0.5, MG_POWER_COMPLEX},
        {MG_POW, -8, -0.5, MG_POWER_COMPLEX},
        {MG_POW, -1e200, 1.5, MG_POWER_COMPLEX},
        {MG_POW, -1e300, 1.5, MG_POWER_RANGE}, /* of complex numbers */
        {MG_POW, -8, 3, MG_OK},
        {MG_POW, 1e200, 2, MG_POWER_RANGE},
        {MG_POW, -1e200, 3, MG_POWER_RANGE},
        {MG_POW, 1e-200, -2, MG_POWER_RANGE},
        {MG_POW, 1e-200, -1.5, MG_POWER_RANGE}, /* the value fits, its derivative does not */
        {MG_POW, 1e-200, 2, MG_OK},             /* underflow is no error */
        {MG_POWER, 0, -1, MG_POWER_ZERO},
        {MG_POWER, -8, 0.5, MG_POWER_COMPLEX},
        {MG_POWER, 1e200, 2, MG_POWER_RANGE},
        {MG_POWER, -2, 2, MG_DOMAIN}, /* log(-2) */
        {MG_POWER, 0, 2, MG_OK},
        {MG_EXPONENT, -1, 0, MG_POWER_ZERO}, /* 0 ** -1 */
        {MG_EXPONENT, 0, 0, MG_DOMAIN},      /* 0 ** 0 is 1, log(0) is not */
        {MG_EXPONENT, 2, 0, MG_OK},
        {MG_EXPONENT, 0.5, -8, MG_POWER_COMPLEX},
        {MG_EXPONENT, 2, -8, MG_DOMAIN},
        {MG_EXPONENT, 400, 10, MG_POWER_RANGE},
        {MG_EXPONENT, -400, 10, MG_OK},
        {MG_TAN, INFINITY, 0, MG_DOMAIN},
        {MG_TAN, 1e22, 0, MG_OK},
        {MG_SINH, 711, 0, MG_RANGE},
        {MG_SINH, -INFINITY, 0, MG_OK},
        {MG_COSH, -711, 0, MG_RANGE},
        {MG_ASIN, 1.5, 0, MG_DOMAIN},
        {MG_ASIN, 1, 0, MG_DIVISION},
        {MG_ACOS, -1.5, 0, MG_DOMAIN},
        {MG_ACOS, -1, 0, MG_DIVISION},
        {MG_ACOS, NAN, 0, MG_OK},
        {MG_ATAN, INFINITY, 0, MG_OK},
        {MG_LOG2, 0, 0, MG_DOMAIN},
        {MG_LOG2, INFINITY, 0, MG_OK},
        {MG_LOG10, -INFINITY, 0, MG_DOMAIN},
        {MG_LOG1P, -1, 0, MG_DOMAIN},
        {MG_LOG1P, -2, 0, MG_DOMAIN},
        {MG_LOG1P, -0.5, 0, MG_OK},
        {MG_EXP2, 1024, 0, MG_RANGE},
        {MG_EXP2, 1023, 0, MG_OK},
        {MG_EXPM1, 710, 0, MG_RANGE},
        {MG_EXPM1, INFINITY, 0, MG_OK},
        {MG_ERF, INFINITY, 0, MG_OK},
        {MG_SOFTPLUS, 1e6, 0, MG_OK},
        {MG_SOFTPLUS, -INFINITY, 0, MG_OK},
        {MG_ADD, INFINITY, -INFINITY, MG_OK},
        {MG_MUL, 1e200, 1e200, MG_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!CHECK(expect(cases[i].operation, cases[i].a, cases[i].b).status == cases[i].status)) {
            printf("    in case %zu\n", i);
        }
        check_operation(cases[i].operation, cases[i].a, cases[i].b);
        if (mg_operation_arity(cases[i].operation) == 2) { /* with a number for the second operand, too */
            mg_tape *tape = mg_tape_new();
            mg_id a = mg_leaf(tape, cases[i].a);
            mg_mark before = mg_tape_mark(tape);
            mg_id y = mg_binary_with(tape, cases[i].operation, a, cases[i].b);
            CHECK((y == MG_NONE) == (cases[i].status != MG_OK));
            CHECK(mg_tape_take_status(tape) == cases[i].status);
            CHECK((mg_tape_mark(tape) == before) == (cases[i].status != MG_OK));
            mg_tape_free(tape);
        }
    }
}

static void powers_of_special_numbers(void) {
    static const struct {
        double a, k, value;
    } cases[] = {
        {NAN, 0, 1},           {NAN, -0.0, 1},        {1, NAN, 1},            {1, INFINITY, 1},
        {-1, INFINITY, 1},     {-1, -INFINITY, 1},    {2, INFINITY, INFINITY}, {-2, INFINITY, INFINITY},
        {0.5, INFINITY, 0},    {0.5, -INFINITY, INFINITY}, {2, -INFINITY, 0}, {0, INFINITY, 0},
        {INFINITY, 2, INFINITY}, {-INFINITY, 2, INFINITY}, {-INFINITY, 3, -INFINITY}, {-INFINITY, -3, -0.0},
        {-INFINITY, -2, 0},    {INFINITY, -1, 0},     {-INFINITY, 0.5, INFINITY}, {-0.0, 3, -0.0},
        {-0.0, 2, 0},          {0, 3, 0},             {-2, 3, -8},            {-2, 2, 4},
        {-2, -1, -0.5},        {-1, 3, -1},           {-1, 4, 1},             {-1, 9007199254740991.0, -1},
        {-1, 1e300, 1},        {2, -2000, 0},         {-2, -2001, -0.0},      {NAN, 3, NAN},
        {3, NAN, NAN},         {1, -7.5, 1},          {5, 1, 5},              {7, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mg_tape *tape = mg_tape_new();
        mg_id a = mg_leaf(tape, cases[i].a);
        mg_id y = mg_unary_with(tape, MG_POW, a, cases[i].k);
        if (!CHECK(same_number(mg_value(tape, y), cases[i].value))) {
            printf("    in %g ** %g: %g\n", cases[i].a, cases[i].k, mg_value(tape, y));
        }
        mg_tape_free(tape);
    }
}

/* ---- the other makers of scalars -------------------------------------------------------------------------------- */

static void short_forms_are_the_long_ones(void) {
    mg_tape *tape = mg_tape_new();
    uint64_t state = 99;
    for (int round = 0; round < 200; round++) {
        double p = random_between(&state, -5, 5), q = random_between(&state, -5, 5);
        mg_id a = mg_leaf(tape, p), b = mg_leaf(tape, q), operands[2];
        double partials[2];
        CHECK(same_bits(mg_value(tape, mg_add(tape, a, b)), p + q));
        CHECK(same_bits(mg_value(tape, mg_mul(tape, a, b)), p * q));
        for (int32_t operation = MG_ADD; operation < MG_SCALAR_COUNT; operation++) {
            if (mg_operation_arity(operation) != 2) {
                continue;
            }
            mg_id y = mg_binary(tape, operation, a, b);
            mg_status status = mg_tape_take_status(tape);
            mg_id with = mg_binary_with(tape, operation, a, q);
            CHECK(mg_tape_take_status(tape) == status);
            if (status == MG_OK) {
                CHECK(same_bits(mg_value(tape, with), mg_value(tape, y)));
                CHECK(mg_lane_operation(tape, with) == operation);
                CHECK(mg_lane_operation(tape, with - 1) == MG_CONSTANT);
                CHECK(same_bits(mg_value(tape, with - 1), q));
                CHECK(mg_lane_operands(tape, with, operands, partials) == MG_OK);
                CHECK(operands[0] == a && operands[1] == with - 1);
            }
        }
    }
    mg_tape_free(tape);
}

static void one_lane_may_be_both_operands(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 3), square = mg_mul(tape, a, a);
    CHECK(mg_sweep(tape, square) == MG_OK);
    CHECK(same_bits(mg_value(tape, square), 9));
    CHECK(same_bits(mg_adjoint(tape, a), 6));
    mg_id largest = mg_binary(tape, MG_MAX, square, square);
    CHECK(mg_clear_adjoints(tape, a, 2) == MG_OK);
    CHECK(mg_sweep(tape, largest) == MG_OK);
    CHECK(same_bits(mg_adjoint(tape, square), 1));
    mg_tape_free(tape);
}

int main(void) {
    RUN(the_table_has_every_operation);
    RUN(every_status_has_a_text);
    RUN(wrong_operations_are_refused);
    RUN(ordinary_values_and_partials_are_exact);
    RUN(random_values_and_partials_are_exact);
    RUN(extreme_arguments_are_as_in_python);
    RUN(powers_are_cpythons);
    RUN(partials_are_derivatives);
    RUN(domain_errors_have_their_status);
    RUN(powers_of_special_numbers);
    RUN(short_forms_are_the_long_ones);
    RUN(one_lane_may_be_both_operands);
    return verdict();
}
