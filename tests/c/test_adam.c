/* test_adam.c: the optimizer's step, against the course's lines with CPython's `**`, bit for bit.
 *
 * The step has several implementations, one for each kind of processor: run this with MICROGPT_KERNELS set to each.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct {
    double learning_rate, beta1, beta2, correction1, correction2, epsilon;
    uint64_t step; /* from 1 */
    int exponent;  /* that parameters start with */
} settings;

static settings at_step(double learning_rate, double beta1, double beta2, int step) {
    return (settings){learning_rate, beta1, beta2, 1 - pow(beta1, step + 1), 1 - pow(beta2, step + 1), 1e-8,
                      (uint64_t)step + 1, 0};
}

static mg_status adam(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                      settings s) {
    size_t parameters = 0;
    for (size_t r = 0; r < count; r++) {
        parameters += sizes[r];
    }
    const mg_optimizer optimizer = {.kind = MG_ADAM, .beta1 = s.beta1, .beta2 = s.beta2, .epsilon = s.epsilon};
    return mg_optimizer_step(tape, first, sizes, count, m, v, parameters, &optimizer, s.step, s.learning_rate);
}

/* The course, for one parameter. `**` of numbers that are not special is the C library's pow; of the special ones there
   are here only 0 and 1 (C's pow gives the same), infinities and NaN (likewise). */
static void reference(double *data, double *grad, double *m, double *v, settings s) {
    *m = s.beta1 * *m + (1 - s.beta1) * *grad;
    *v = s.beta2 * *v + (1 - s.beta2) * pow(*grad, 2);
    double m_hat = *m / s.correction1, v_hat = *v / s.correction2;
    *data -= s.learning_rate * m_hat / (pow(v_hat, 0.5) + s.epsilon);
    *grad = 0;
}

/* Parameters with their moments, and what the reference makes of them. */
typedef struct {
    mg_tape *tape;
    mg_id x;
    size_t n;
    double *data, *grad, *m, *v, *my_data, *my_m, *my_v;
} pair;

static pair new_pair(size_t n) {
    return (pair){.tape = mg_tape_new(),
                  .n = n,
                  .data = allocate(n, sizeof(double)),
                  .grad = allocate(n, sizeof(double)),
                  .m = allocate(n, sizeof(double)),
                  .v = allocate(n, sizeof(double)),
                  .my_data = allocate(n, sizeof(double)),
                  .my_m = allocate(n, sizeof(double)),
                  .my_v = allocate(n, sizeof(double))};
}

/* The reference begins with the same numbers. */
static void begin(pair *of) {
    memcpy(of->my_data, of->data, of->n * sizeof(double));
    memcpy(of->my_m, of->m, of->n * sizeof(double));
    memcpy(of->my_v, of->v, of->n * sizeof(double));
    of->x = record_leaves(of->tape, of->data, of->n);
}

static void free_pair(pair *of) {
    double *const blocks[] = {of->data, of->grad, of->m, of->v, of->my_m, of->my_v, of->my_data};
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
        free(blocks[b]);
    }
    mg_tape_free(of->tape);
}

/* A step with these gradients; everything must be the reference's. */
static void check_step(pair *of, const double *gradients, settings s) {
    const size_t n = of->n;
    memcpy(of->grad, gradients, n * sizeof(double));
    CHECK(mg_write_adjoints(of->tape, of->x, n, of->grad) == MG_OK);
    for (size_t i = 0; i < n; i++) {
        reference(&of->my_data[i], &of->grad[i], &of->my_m[i], &of->my_v[i], s);
    }
    CHECK(adam(of->tape, &of->x, &n, 1, of->m, of->v, s) == MG_OK);
    CHECK(mg_read_values(of->tape, of->x, n, of->data) == MG_OK && mg_read_adjoints(of->tape, of->x, n, of->grad) == MG_OK);
    for (size_t i = 0; i < n; i++) {
        bool same = CHECK(same_number(of->data[i], of->my_data[i]));
        same = CHECK(same_number(of->m[i], of->my_m[i])) && same;
        same = CHECK(same_number(of->v[i], of->my_v[i])) && same;
        same = CHECK(same_bits(of->grad[i], 0)) && same;
        if (!same) {
            printf("    in parameter %zu of %zu, step %zu, gradient %a\n", i, n, (size_t)s.step, gradients[i]);
        }
    }
}

/* Steps with the given gradients, one a parameter, then that of another block, from first.step on. */
static void check_steps(const double *gradients, size_t n, size_t steps, settings first) {
    pair of = new_pair(n);
    double *now = allocate(n, sizeof *now);
    uint64_t state = 12;
    for (size_t i = 0; i < n; i++) {
        of.data[i] = ldexp(random_between(&state, -1, 1), first.exponent);
    }
    begin(&of);
    for (size_t step = 0; step < steps; step++) {
        settings s = at_step(first.learning_rate, first.beta1, first.beta2, (int)(first.step + step));
        s.epsilon = first.epsilon > 0 ? first.epsilon : s.epsilon;
        for (size_t i = 0; i < n; i++) {
            now[i] = gradients[(i + 65 * step) % n];
        }
        check_step(&of, now, s);
    }
    free(now);
    free_pair(&of);
}

static const settings COURSE = {.learning_rate = 0.01, .beta1 = 0.85, .beta2 = 0.99};

static void ordinary_gradients(void) {
    enum { MOST = 20000 };
    size_t n = small_run() ? 300 : MOST;
    double *gradients = allocate(MOST, sizeof *gradients);
    uint64_t state = 6;
    for (size_t i = 0; i < n; i++) {
        gradients[i] = random_between(&state, -1, 1) * pow(10, random_between(&state, -8, 3));
    }
    check_steps(gradients, n, 20, COURSE);
    check_steps(gradients, n, 3, (settings){.learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999});
    free(gradients);
}

static void every_count(void) {
    double gradients[150];
    uint64_t state = 9;
    for (size_t i = 0; i < 150; i++) {
        gradients[i] = random_between(&state, -3, 3);
    }
    for (size_t n = 1; n <= 150; n++) {
        check_steps(gradients, n, 2, COURSE);
    }
}

/* Of every size that a float can have, and where squares and roots are exact or just are not. */
static void gradients_of_all_sizes(void) {
    enum { MOST = 12000 };
    double *gradients = allocate(MOST, sizeof *gradients);
    uint64_t state = 10;
    size_t n = 0;
    for (int exponent = -1074; exponent <= 511; exponent++) {
        gradients[n++] = ldexp(1, exponent);
        gradients[n++] = -ldexp(random_between(&state, 1, 2), exponent);
        gradients[n++] = ldexp(random_between(&state, 1, 2), exponent);
        gradients[n++] = nextafter(ldexp(1, exponent), 0);
    }
    for (int i = 0; i < 2000; i++) {
        gradients[n++] = (double)i / 8;
    }
    const double odd[] = {0.0, -0.0, DBL_MIN, DBL_TRUE_MIN, -DBL_TRUE_MIN, INFINITY, -INFINITY, NAN, 1, -1,
                          1.3407807929942596e154, -1.3407807929942596e154};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        gradients[n++] = odd[i];
    }
    CHECK(n <= MOST);
    check_steps(gradients, n, small_run() ? 1 : 4, COURSE);
    check_steps(gradients, n, 1, (settings){.learning_rate = 0.01, .beta1 = 0, .beta2 = 0});
    free(gradients);
}

/* The kernels judge parameters by blocks, each by what it holds: next to one another stand blocks of every kind, and of ordinary
   gradients with one of another kind. At the later steps one correction is 1, and then both are. */
static void blocks_of_all_kinds(void) {
    enum { BLOCK = 64, MOST = 400 * BLOCK + 5 };
    static const int exponents[] = {-10, -10, -10, -40, -99, -300, -420, -500, -520, -600, -930, -980, -1050, 3, 300, 450};
    enum { KINDS = sizeof exponents / sizeof *exponents };
    size_t n = small_run() ? 20 * BLOCK + 5 : MOST;
    double *gradients = allocate(MOST, sizeof *gradients);
    uint64_t state = 15;
    for (size_t from = 0; from < n; from += BLOCK) {
        const int kind = exponents[random_below(&state, KINDS)], odd = exponents[random_below(&state, KINDS)];
        const size_t odd_one = random_below(&state, 2 * BLOCK); /* in every other block */
        for (size_t i = 0; i < BLOCK && from + i < n; i++) {
            const double size = random_between(&state, -1, 1);
            gradients[from + i] = random_below(&state, 9) == 0 ? 0 : ldexp(size, i == odd_one ? odd : kind);
        }
    }
    settings late[] = {COURSE, COURSE, COURSE, {.learning_rate = 0.01, .beta1 = 0.99, .beta2 = 0.85, .step = 300}};
    late[1].step = 300;
    late[2].step = 5000;
    for (size_t k = 0; k < sizeof late / sizeof *late; k++) {
        check_steps(gradients, n, small_run() ? 1 : 4, late[k]);
        late[k].epsilon = 1e-300; /* every bit of the smallest moments and roots shows in the smallest parameters */
        late[k].exponent = -900;
        check_steps(gradients, n, small_run() ? 1 : 4, late[k]);
    }
    check_steps(gradients, n, 1, (settings){.learning_rate = 1, .beta1 = 0.5, .beta2 = 0});
    free(gradients);
}

/* The most units of 2^-1074 that beta leaves as many. */
static double most_that_stay(double beta) {
    double units = 0;
    while ((units + 1) * DBL_TRUE_MIN * beta == (units + 1) * DBL_TRUE_MIN) {
        units++;
    }
    return units * DBL_TRUE_MIN;
}

/* Parameters without a gradient, more and less of a block, with moments around what the step leaves as it is; some that lie
   where faded moments still move them, and some that get a gradient again. The others of a block have gradients of any size;
   in the end only one is left. */
static void dead_parameters(void) {
    enum { BLOCK = 64, MOST = 120 * BLOCK + 7 };
    static const double betas[][2] = {{0.85, 0.99}, {0.9, 0.95}, {0.99, 0.5}, {0.5, 0.999}, {0.25, 0.9}, {0.97, 0.9}};
    static const double shares[] = {0, 0.1, 0.45, 0.5, 0.55, 0.9, 1, 1};
    static const int sizes[] = {0, 0, 0, -300, -520, -600, 300, 450};
    const size_t n = small_run() ? 20 * BLOCK + 7 : MOST;
    double *gradients = allocate(n, sizeof *gradients);
    bool *dead = allocate(n, sizeof *dead);
    uint64_t state = 16;
    for (size_t b = 0; b < sizeof betas / sizeof *betas; b++) {
        pair of = new_pair(n);
        const double first = most_that_stay(betas[b][0]), second = most_that_stay(betas[b][1]);
        const double firsts[] = {0,      -0.0, first, first, -first, first + DBL_TRUE_MIN, DBL_TRUE_MIN, 0x1p-1030, -0x1p-1000,
                                 0x1p-905};
        const double seconds[] = {0,         second,   second,  second, second + DBL_TRUE_MIN, DBL_TRUE_MIN,
                                  0x1p-1040, 0x1p-901, 0x1p-800, -0.0};
        const double places[] = {0.5, -0.7, 0.2, -0.1, 0.3, 0x1p-399, 0x1p-401, 0, -0.0, 0x1p-1060};
        for (size_t from = 0; from < n; from += BLOCK) {
            const double share = shares[random_below(&state, sizeof shares / sizeof *shares)];
            const bool odd = random_below(&state, 2) == 0; /* or with moments that stay alone */
            for (size_t i = from; i < from + BLOCK && i < n; i++) {
                dead[i] = random_between(&state, 0, 1) < share;
                const bool odd_place = dead[i] && random_below(&state, 9) == 0;
                of.data[i] = odd_place ? places[random_below(&state, 10)] : random_between(&state, -1, 1);
                of.m[i] = !dead[i] ? random_between(&state, -1, 1) : odd ? firsts[random_below(&state, 10)] : first;
                of.v[i] = !dead[i] ? random_between(&state, 0, 1) : odd ? seconds[random_below(&state, 10)] : second;
            }
        }
        begin(&of);
        for (int step = 0; step < (small_run() ? 2 : 12); step++) {
            for (size_t i = 0; i < n; i++) {
                dead[i] = dead[i] && random_below(&state, 2000) != 0;
                const int size = sizes[i / BLOCK * 7 % (sizeof sizes / sizeof *sizes)];
                gradients[i] = dead[i] ? (random_below(&state, 5) == 0 ? -0.0 : 0) : ldexp(random_between(&state, -1, 1), size);
            }
            check_step(&of, gradients, at_step(0.01, betas[b][0], betas[b][1], step % 3 == 2 ? 9000 + step : 20 * step));
        }
        free_pair(&of);
        pair last = new_pair(BLOCK);
        for (size_t i = 0; i < BLOCK; i++) {
            gradients[i] = i == b;
            last.data[i] = 1;
            last.m[i] = first;
            last.v[i] = second;
        }
        begin(&last);
        check_step(&last, gradients, at_step(0.01, betas[b][0], betas[b][1], 9));
        free_pair(&last);
    }
    free(dead);
    free(gradients);
}

/* beta2 = 0 makes v_hat the square itself, so a gradient g asks for (g ** 2) ** 0.5; random mantissas near the middle
   between two floats are what an implementation without pow would get wrong. */
static void squares_and_roots(void) {
    enum { MOST = 100000 };
    size_t n = small_run() ? 500 : MOST;
    double *gradients = allocate(MOST, sizeof *gradients);
    uint64_t state = 11;
    for (size_t i = 0; i < n; i++) {
        gradients[i] = random_between(&state, 1, 4);
    }
    check_steps(gradients, n, 1, (settings){.learning_rate = 1, .beta1 = 0, .beta2 = 0});
    check_steps(gradients, n, 1, (settings){.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.3});
    free(gradients);
}

static void runs_follow_one_another(void) {
    mg_tape *tape = mg_tape_new();
    enum { ALL = 1000 };
    size_t sizes[4] = {1, 700, 3, 296};
    double numbers[ALL], out[ALL], m[2][ALL] = {{0}}, v[2][ALL] = {{0}};
    uint64_t state = 13;
    mg_id first[4], whole;
    size_t at = 0, all = ALL;
    for (size_t i = 0; i < ALL; i++) {
        numbers[i] = random_between(&state, -1, 1);
    }
    whole = record_leaves(tape, numbers, ALL);
    CHECK(mg_write_adjoints(tape, whole, ALL, numbers) == MG_OK);
    for (size_t r = 0; r < 4; at += sizes[r++]) {
        mg_leaf(tape, 0); /* the runs do not touch */
        first[r] = record_leaves(tape, numbers + at, sizes[r]);
        CHECK(mg_write_adjoints(tape, first[r], sizes[r], numbers + at) == MG_OK);
    }
    CHECK(adam(tape, &whole, &all, 1, m[0], v[0], at_step(0.01, 0.85, 0.99, 0)) == MG_OK);
    CHECK(adam(tape, first, sizes, 4, m[1], v[1], at_step(0.01, 0.85, 0.99, 0)) == MG_OK);
    CHECK(memcmp(m[0], m[1], sizeof m[0]) == 0 && memcmp(v[0], v[1], sizeof v[0]) == 0);
    at = 0;
    for (size_t r = 0; r < 4; at += sizes[r++]) {
        CHECK(mg_read_values(tape, first[r], sizes[r], out + at) == MG_OK);
    }
    CHECK(mg_read_values(tape, whole, ALL, numbers) == MG_OK && memcmp(out, numbers, sizeof out) == 0);
    CHECK(adam(tape, NULL, NULL, 0, NULL, NULL, at_step(0.01, 0.85, 0.99, 0)) == MG_OK);
    mg_tape_free(tape);
}

static void an_overflowing_square_changes_nothing(void) {
    mg_tape *tape = mg_tape_new();
    double numbers[70], adjoints[70], m[140] = {1, 2, 3}, v[140] = {4, 5, 6}, out[70];
    const double too_large[] = {1e200, -1e200, 1.35e154, DBL_MAX};
    for (int i = 0; i < 70; i++) {
        numbers[i] = i;
        adjoints[i] = 0.5;
    }
    mg_id first[2] = {record_leaves(tape, numbers, 70), record_leaves(tape, numbers, 70)};
    const size_t sizes[2] = {70, 70};
    for (size_t t = 0; t < sizeof too_large / sizeof *too_large; t++) {
        adjoints[67] = too_large[t];
        CHECK(mg_write_adjoints(tape, first[1], 70, adjoints) == MG_OK);
        CHECK(adam(tape, first, sizes, 2, m, v, at_step(0.01, 0.85, 0.99, 0)) == MG_POWER_RANGE);
        for (int r = 0; r < 2; r++) {
            CHECK(mg_read_values(tape, first[r], 70, out) == MG_OK && memcmp(out, numbers, sizeof out) == 0);
        }
        CHECK(mg_read_adjoints(tape, first[1], 70, out) == MG_OK && memcmp(out, adjoints, sizeof out) == 0);
        CHECK(m[0] == 1 && m[1] == 2 && m[2] == 3 && m[3] == 0 && v[0] == 4 && v[1] == 5 && v[2] == 6 && v[139] == 0);
    }
    CHECK(mg_tape_take_status(tape) == MG_OK);
    adjoints[67] = INFINITY; /* inf ** 2 is inf, in Python too */
    CHECK(mg_write_adjoints(tape, first[1], 70, adjoints) == MG_OK);
    CHECK(adam(tape, first, sizes, 2, m, v, at_step(0.01, 0.85, 0.99, 0)) == MG_OK);
    CHECK(v[137] == INFINITY);
    mg_tape_free(tape);
}

/* The step writes numbers, so a span statement that needs them is refused a sweep. */
static void a_step_counts_as_a_write(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[6] = {1, 2, 3, 4, 5, 6};
    double m[6] = {0}, v[6] = {0};
    const size_t four = 4;
    mg_id x = record_leaves(tape, numbers, 2), w = record_leaves(tape, numbers, 4);
    mg_id y = record_linear(tape, x, w, 2, 2);
    CHECK(mg_sweep(tape, y) == MG_OK);
    CHECK(adam(tape, &w, &four, 1, m, v, at_step(0.01, 0.85, 0.99, 0)) == MG_OK);
    CHECK(mg_sweep(tape, y) == MG_OVERWRITTEN);
    mg_tape_free(tape);
}

int main(void) {
    RUN(ordinary_gradients);
    RUN(every_count);
    RUN(gradients_of_all_sizes);
    RUN(blocks_of_all_kinds);
    RUN(dead_parameters);
    RUN(squares_and_roots);
    RUN(runs_follow_one_another);
    RUN(an_overflowing_square_changes_nothing);
    RUN(a_step_counts_as_a_write);
    return verdict();
}
