/* The kernels' powers and exponentials are those of this process's own pow and exp, whichever of their variants the C
 * library chose.
 *
 * With MICROGPT_TEST_POW=unfused in the environment, GLIBC_TUNABLES must have chosen glibc's variant without fused
 * multiply-add, and these tests fail where it did not.
 */
#include "check.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* The file itself, for what its rows keep to themselves. */
#define mg_exact_kernels the_rows
#include "kernels/exact.c"

/* Arguments found by search, for which pow gives the farther of the two floats (in one variant or the other) although
   the true result lies as far from their middle as was ever seen, 0.006 to 0.011 units in the last place. Volatile, so
   that the compiler cannot work out their powers. */
static const volatile double SQUARE[] = {
    0x1.ff2cc24e9d783p-18, 0x1.e1be4a7d1f943p+46, 0x1.fe135c2f3509ap-33, 0x1.f9ce46bf53a99p-2,
    0x1.53cbd82555474p+28, 0x1.cfc60f8f49172p+17, 0x1.60cd2a64119bap-44, 0x1.f89121fcc1534p-485,
};
static const volatile double ROOT[] = {
    0x1.8d77e9bfac1f6p-9,  0x1.d82fff7cede74p+1,  0x1.cd623a49538fep-15, 0x1.f82d78f1c539bp+23,
    0x1.b9e672924558dp+31, 0x1.e83813c8915f6p+25, 0x1.800f94371aaa1p+19, 0x1.c393126f92d5cp-831,
};
static const volatile double INVERSE[] = {
    0x1.279e6192d3bbep-18, 0x1.1510f9cc5a1bcp+7,  0x1.278e7cd66768p+20,  0x1.10690e172b1dcp+25,
    0x1.106c7c8c0fe9cp+29, 0x1.1c8635a88ea12p-4,  0x1.09944777430a1p+46, 0x1.13155d83a1f2dp-44,
    0x1.6b6636695db52p+25, 0x1.6e716a3156cf6p-7,  0x1.6f5822f9b9e8dp+1,  0x1.1792f7f80f0fbp-16,
};
static const volatile double INVERSE_ROOT[] = {
    0x1.0c897c3d99935p+14, 0x1.04024f9be9f0fp+14, 0x1.6c1db8ebeb2cfp+34, 0x1.1862541448375p-42,
    0x1.6c0f690baa15p+16,  0x1.0c97b068c078bp+22, 0x1.19d07b6973777p-46, 0x1.af877b48da809p+14,
    0x1.9d013cbbfabdep-22, 0x1.47b4641d3f43fp+15, 0x1.9880f1adffcbep+14, 0x1.cc72d74bbd6e4p+6,
};
static const volatile double EXPONENTIAL[] = { /* likewise for exp: 0.007 to 0.009 units */
    -0x1.b1f48222c6cc2p+4, -0x1.65f469673d78p+1,  -0x1.6907c1f01e36p+0,  -0x1.e8ec005cadad8p+3, -0x1.ead7fe04c3e58p+3,
    -0x1.bc0024288a8eap+4, -0x1.902f2e1c01774p+3, -0x1.71d69ec97bfp-1,   -0x1.122d2750aa89ep+9, -0x1.4fe4ab9a93587p+9,
    0x1.98e23c3461e98p+8,  0x1.3048b8f5100dep+8,  -0x1.f31717dfe7a8p+8,  -0x1.bfcc128a8398cp+8, -0x1.117a5e9b3d09fp+9,
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What is the matter here: numbers with all digits, of all sizes from 2^low to 2^high. */
static double random_number(uint64_t *state, int low, int high) {
    return ldexp(random_between(state, 1, 2), low + (int)random_below(state, (size_t)(high - low)));
}

enum { MANY = 4096 };

static void fill(double *x, size_t n, const volatile double *found, size_t count, int low, int high, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        x[i] = i < count ? found[i] : random_number(state, low, high);
    }
}

static int rounds(void) { return small_run() ? 2 : 100; }

/* A row of kernels, with the functions that only its batches use. */
typedef struct {
    const mg_kernels *kernels;
    void (*inverses)(size_t padded, size_t positions, const double *x, double *once, double *twice);
    void (*inverse_roots)(size_t padded, size_t positions, double *x, double *cubed);
    bool (*exponentials)(size_t padded, size_t from, size_t to, const double *x, double *out);
} powers_row;

static powers_row row; /* that is being tested */

static bool same_powers(const double *x, const double *found, double k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        volatile double argument = x[i];
        if (!same_bits(found[i], pow(argument, k))) {
            if (failures < MOST_REPORTS) {
                printf("row %s: %a ** %g is %a, not %a\n", row.kernels->name, x[i], k, pow(argument, k), found[i]);
            }
            return false;
        }
    }
    return true;
}

static void squares(void) {
    static double x[MANY], y[MANY];
    uint64_t state = 1;
    for (int round = 0; round < rounds(); round++) {
        fill(x, MANY, SQUARE, COUNT(SQUARE), round % 2 ? -540 : -60, 60, &state);
        memcpy(y, x, sizeof y);
        row.kernels->squares(MANY, y);
        CHECK(same_powers(x, y, 2, MANY));
    }
}

/* The found ones among numbers that are all ordinary: from 2^-50 to 2. What matters of them is how near their powers are to
   a middle, which does not change with a factor that is a power of two, for roots of four. */
static void fill_ordinary(double *x, size_t n, const volatile double *found, size_t count, int factor, uint64_t *state) {
    fill(x, n, found, count, -45, 0, state);
    for (size_t i = 0; i < count; i++) {
        while (x[i] >= 2 || x[i] < 0x1p-45) {
            x[i] = ldexp(x[i], x[i] >= 2 ? -factor : factor);
        }
    }
}

/* With beta2 0 the second moment is the square. */
static void squares_in_adam(void) {
    static double x[MANY], grad[MANY], data[MANY], m[MANY], v[MANY];
    const mg_step_numbers step = {{MG_ADAM, 0, 0, 1, 0, 0}, 1, 1, 1};
    uint64_t state = 2;
    for (int round = 0; round < rounds(); round++) {
        fill(x, MANY, SQUARE, COUNT(SQUARE), round % 2 ? -540 : -60, 60, &state);
        if (round % 3 == 0) {
            fill_ordinary(x, MANY, SQUARE, COUNT(SQUARE), 1, &state);
            memset(v, 0, sizeof v);
            memset(m, 0, sizeof m);
        }
        memcpy(grad, x, sizeof grad);
        row.kernels->update(MANY, data, grad, m, v, &step);
        CHECK(same_powers(x, v, 2, MANY));
    }
}

/* Adam's lines, as Python computes them for one parameter. */
static void step_of_python(const mg_step_numbers *step, double data, volatile double grad, double m, double v,
                           double *next_data, double *next_m, double *next_v) {
    *next_m = step->is.beta1 * m + (1 - step->is.beta1) * grad;
    *next_v = step->is.beta2 * v + (1 - step->is.beta2) * pow(grad, 2);
    const volatile double v_hat = *next_v / step->correction2;
    *next_data = data - step->learning_rate * (*next_m / step->correction1) / (pow(v_hat, 0.5) + step->is.epsilon);
}

/* Moments below the normal numbers, among others, of parameters with and without a gradient: after each of some steps the
   bits of Python's lines. */
static void moments_that_fade(void) {
    enum { N = 1000, STEPS = 40 }; /* with an incomplete block */
    static double data[N], grad[N], m[N], v[N], expected[3][N];
    uint64_t state = 5;
    for (int round = 0; round < rounds(); round++) {
        for (size_t i = 0; i < N; i++) {
            const size_t kind = random_below(&state, 8);
            const double units = (double)random_below(&state, kind & 1 ? 40 : (size_t)1 << 52);
            data[i] = random_below(&state, 20) == 0 ? 0 : random_number(&state, round % 2 ? -1000 : -9, 3);
            m[i] = ldexp(kind & 2 ? units : -units, kind < 6 ? -1074 : -1060);
            v[i] = kind == 7 ? random_number(&state, -60, 0) : ldexp((double)random_below(&state, 3000), -1074);
        }
        for (int s = 0; s < STEPS; s++) {
            const mg_step_numbers step = {.learning_rate = 0.01, .is.beta1 = round % 3 ? 0.9 : 0.85,
                                          .is.beta2 = round % 3 ? 0.95 : 0.99, .is.epsilon = 1e-8,
                                          .correction1 = 1 - pow(0.9, s + 1), .correction2 = 1 - pow(0.95, s + 1)};
            for (size_t i = 0; i < N; i++) {
                grad[i] = random_below(&state, 8) == 0 ? random_number(&state, -9, 3) : random_below(&state, 9) ? 0.0 : -0.0;
                step_of_python(&step, data[i], grad[i], m[i], v[i], &expected[0][i], &expected[1][i], &expected[2][i]);
            }
            row.kernels->update(N, data, grad, m, v, &step);
            bool same = true;
            for (size_t i = 0; i < N; i++) {
                same &= same_bits(data[i], expected[0][i]) && same_bits(m[i], expected[1][i]) &&
                        same_bits(v[i], expected[2][i]);
            }
            CHECK(same);
        }
    }
}

/* Faded moments cost nothing, nor do those on their way: no operation of the step has an operand or a result below the normal
   numbers, by the processor's own flags. */
static void moments_that_have_faded(void) {
#if defined(__x86_64__)
    enum { N = 256 };
    static double data[N], grad[N], m[N], v[N], next_m[N], next_v[N];
    uint64_t state = 9;
    for (int round = 0; round < 200; round++) {
        const mg_step_numbers step = {.learning_rate = 1e-4, .is.beta1 = 0.9, .is.beta2 = round % 2 ? 0.95 : 0x1.8p-90,
                                      .is.epsilon = 1e-8, .correction1 = round % 3 ? 1 : 0.5, .correction2 = 1};
        for (size_t i = 0; i < N; i++) {
            data[i] = 0.25 + (double)i;
            m[i] = round < 10 ? ldexp(i % 2 ? 5 : -5000, -1074) : random_number(&state, -1074, -901);
            v[i] = round < 10 ? ldexp(i % 3 ? 10 : 7e9, -1074) : random_number(&state, -1074, -901);
            grad[i] = i % 5 ? 0.0 : -0.0;
            next_m[i] = step.is.beta1 * m[i];
            next_v[i] = step.is.beta2 * v[i];
        }
        _mm_setcsr(_mm_getcsr() & ~0x3fu);
        row.kernels->update(N, data, grad, m, v, &step);
        CHECK((_mm_getcsr() & 0x12u) == 0); /* a denormal operand, an underflow */
        bool same = true;
        for (size_t i = 0; i < N; i++) {
            same &= same_bits(data[i], 0.25 + (double)i) && same_bits(m[i], next_m[i]) && same_bits(v[i], next_v[i]);
        }
        CHECK(same);
    }
#endif
}

/* SGD's moments, of all sizes: the bits of Python's lines, and where they have faded, no number below the normal ones. */
static void momentum_that_fades(void) {
    enum { N = 200 }; /* with an incomplete block */
    static double data[N], grad[N], m[N], unused[N], expected[2][N];
    uint64_t state = 10;
    for (int round = 0; round < 400; round++) {
        const mg_step_numbers step = {{.kind = MG_SGD, .momentum = round % 3 ? 0.9 : 0.3}, .learning_rate = 0.01};
        const bool still = round % 2;
        for (size_t i = 0; i < N; i++) {
            m[i] = random_number(&state, -1074, still || random_below(&state, 2) ? -901 : 10);
            m[i] = random_below(&state, 2) ? m[i] : -m[i];
            data[i] = still || random_below(&state, 9) ? random_number(&state, -9, 3) : 0;
            grad[i] = still || random_below(&state, 3) ? 0 : random_number(&state, -9, 3);
            const volatile double product = step.is.momentum * m[i], next = product + grad[i];
            expected[1][i] = next;
            expected[0][i] = data[i] - step.learning_rate * next;
        }
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() & ~0x3fu);
        row.kernels->update(N, data, grad, m, unused, &step);
        CHECK(!still || (_mm_getcsr() & 0x12u) == 0);
#else
        row.kernels->update(N, data, grad, m, unused, &step);
#endif
        bool same = true;
        for (size_t i = 0; i < N; i++) {
            same &= same_bits(data[i], expected[0][i]) && same_bits(m[i], expected[1][i]) && same_bits(grad[i], 0);
        }
        CHECK(same);
    }
}

/* With beta2 1 the second moment stays; with a first moment, a rate and an epsilon of 1, 1 and 0 the parameter becomes
   -1 / root. */
static void roots_in_adam(void) {
    static double x[MANY], grad[MANY], data[MANY], m[MANY], v[MANY];
    const mg_step_numbers step = {{MG_ADAM, 0, 1, 0, 0, 0}, 1, 1, 1};
    uint64_t state = 3;
    for (int round = 0; round < rounds(); round++) {
        fill(x, MANY, ROOT, COUNT(ROOT), round % 2 ? -1070 : -60, 60, &state);
        if (round % 3 == 0) {
            fill_ordinary(x, MANY, ROOT, COUNT(ROOT), 2, &state);
        }
        memcpy(v, x, sizeof v);
        for (size_t i = 0; i < MANY; i++) {
            data[i] = 0;
            grad[i] = 1;
        }
        row.kernels->update(MANY, data, grad, m, v, &step);
        for (size_t i = 0; i < MANY; i++) {
            volatile double argument = x[i];
            CHECK(same_bits(v[i], x[i]) && same_bits(data[i], -(1 / pow(argument, 0.5))));
        }
    }
}

/* Corrections of the first steps, for which moments are divided: of every beta in use, and others. */
static double correction_of(size_t k) {
    static const double beta[] = {0.9, 0.85, 0.95, 0.99, 0.999, 0.5};
    return 1 - pow(beta[k % COUNT(beta)], 1 + (double)(k / COUNT(beta)));
}

/* With a beta1 of 0 and roots of 1 the parameter becomes minus the gradient, divided; with a beta2 of 0 and a first moment
   of 1 that is divided by 1, minus the inverse of the root of the second moment, divided. */
static void quotients_in_adam(void) {
    enum { N = 1024 };
    static double x[N], grad[N], data[N], m[N], v[N];
    uint64_t state = 7;
    for (size_t k = 0; k < (small_run() ? 24 : 3000); k++) {
        const volatile double correction = correction_of(k);
        const mg_step_numbers first = {{MG_ADAM, 0, 1, 0, 0, 0}, 1, correction, 1};
        const mg_step_numbers second = {{MG_ADAM, 1, 0, 0, 0, 0}, 1, 1, correction};
        for (size_t i = 0; i < N; i++) {
            x[i] = random_number(&state, k % 3 ? -30 : -540, k % 3 ? 10 : 500);
            grad[i] = k % 2 ? x[i] : -x[i];
            data[i] = m[i] = 0;
            v[i] = 1;
        }
        row.kernels->update(N, data, grad, m, v, &first);
        bool same = true;
        for (size_t i = 0; i < N; i++) {
            same &= same_bits(data[i], 0 - (k % 2 ? x[i] : -x[i]) / correction);
            grad[i] = x[i];
            data[i] = 0;
            m[i] = 1;
        }
        row.kernels->update(N, data, grad, m, v, &second);
        for (size_t i = 0; i < N; i++) {
            const volatile double square = pow(x[i], 2), v_hat = square / correction;
            same &= same_bits(v[i], square) && same_bits(data[i], -(1 / pow(v_hat, 0.5)));
        }
        CHECK(same);
    }
}

/* Moments that no training has, but a caller may: of all sizes, of either sign, 0 and -0. */
static void moments_of_all_sizes(void) {
    enum { N = 200 };
    static double data[N], grad[N], m[N], v[N], expected[N];
    uint64_t state = 8;
    for (int round = 0; round < 20 * rounds(); round++) {
        const volatile double correction1 = correction_of(random_below(&state, 600)), correction2 = correction_of((size_t)round);
        const mg_step_numbers step = {.learning_rate = 0.01, .is.beta1 = 1, .is.beta2 = 1, .is.epsilon = round % 2 ? 1e-8 : 0,
                                      .correction1 = round % 5 ? correction1 : 0x1p-70, .correction2 = correction2};
        for (size_t i = 0; i < N; i++) {
            const size_t kind = random_below(&state, 8);
            m[i] = kind < 2 ? 0.0 : random_number(&state, kind < 4 ? -1073 : -20, kind < 4 ? 1023 : 3);
            m[i] = kind % 2 ? -m[i] : m[i];
            v[i] = random_number(&state, kind < 3 ? -1073 : -60, kind < 3 ? 1023 : 60);
            data[i] = random_below(&state, 3) == 0 ? -0.0 : random_number(&state, -9, 3);
            grad[i] = -0.0;
            const volatile double m_next = m[i] + 0 * grad[i], m_hat = m_next / correction1, v_hat = v[i] / correction2;
            const volatile double unusual = m_next / 0x1p-70;
            expected[i] = data[i] - step.learning_rate * (round % 5 ? m_hat : unusual) / (pow(v_hat, 0.5) + step.is.epsilon);
        }
        row.kernels->update(N, data, grad, m, v, &step);
        bool same = true;
        for (size_t i = 0; i < N; i++) {
            same &= same_bits(data[i], expected[i]) || (isnan(data[i]) && isnan(expected[i]));
        }
        CHECK(same);
    }
}

/* Blocks whose numbers are of a size each: Adam judges a block by its largest and its smallest. With what a caller may set,
   however odd. */
static void blocks_of_all_sizes(void) {
    enum { BLOCKS = 4, N = 64 * BLOCKS };
    static const int range[][2] = {{-99, 0}, {-60, 20}, {-130, -90}, {-399, -300}, {-420, -380}, {-890, -500},
                                   {-1000, -880}, {1, 30}, {90, 110}, {380, 420}, {420, 510}, {510, 1023}};
    static const double decay[] = {0.9, 0.95, 0.999, 0.5, 0, 1, 0x1.8p-59, 0x1p-100, 0x1p-1000};
    static double data[N], grad[N], m[N], v[N], expected[3][N];
    uint64_t state = 13;
    for (int round = 0; round < 60 * rounds(); round++) {
        const bool odd = round % 4 == 3;
        const mg_step_numbers step = {
            .learning_rate = round % 7 ? 0.01 : 1e-200, .is.epsilon = round % 9 ? 1e-8 : 0,
            .is.beta1 = decay[odd ? random_below(&state, COUNT(decay)) : 0], .is.beta2 = decay[odd ? random_below(&state, COUNT(decay)) : 1],
            .correction1 = odd ? random_number(&state, -70, 0) : correction_of(random_below(&state, 600)),
            .correction2 = odd ? random_number(&state, -70, 0) : round % 3 ? correction_of((size_t)round) : 1};
        for (size_t from = 0; from < N; from += 64) {
            const bool same_size = random_below(&state, 2);
            const int *of_g = range[random_below(&state, COUNT(range) - 1)], *of_m = range[random_below(&state, COUNT(range))];
            const int *of_v = same_size ? of_g : range[random_below(&state, COUNT(range))];
            const size_t zeros = random_below(&state, 3) * 8; /* of 64 numbers of each */
            for (size_t i = from; i < from + 64; i++) {
                grad[i] = random_number(&state, of_g[0], of_g[1]);
                m[i] = random_number(&state, (same_size ? of_g : of_m)[0], (same_size ? of_g : of_m)[1]);
                v[i] = random_below(&state, 64) < zeros ? 0 : random_number(&state, of_v[0], of_v[1]);
                data[i] = random_below(&state, 64) < zeros ? 0 : random_number(&state, -9, 3);
                grad[i] = random_below(&state, 64) < zeros ? 0 : grad[i];
                m[i] = random_below(&state, 64) < zeros ? 0 : m[i];
                grad[i] = random_below(&state, 2) ? -grad[i] : grad[i];
                m[i] = random_below(&state, 2) ? -m[i] : m[i];
                data[i] = random_below(&state, 2) ? -data[i] : data[i];
                step_of_python(&step, data[i], grad[i], m[i], v[i], &expected[0][i], &expected[1][i], &expected[2][i]);
            }
        }
        row.kernels->update(N, data, grad, m, v, &step);
        bool same = true;
        for (size_t i = 0; i < N; i++) {
            same &= (same_bits(data[i], expected[0][i]) || (isnan(data[i]) && isnan(expected[0][i]))) &&
                    same_bits(m[i], expected[1][i]) && same_bits(v[i], expected[2][i]) && same_bits(grad[i], 0);
        }
        CHECK(same);
    }
}

static void inverses(void) {
    static double x[MANY], once[MANY], twice[MANY];
    uint64_t state = 4;
    for (int round = 0; round < rounds(); round++) {
        fill(x, MANY, INVERSE, COUNT(INVERSE), round % 2 ? -300 : -52, 52, &state);
        row.inverses(MANY, MANY, x, once, twice);
        CHECK(same_powers(x, once, -1, MANY) && same_powers(x, twice, -2, MANY));
    }
}

static void inverse_roots(void) {
    static double x[MANY], y[MANY], cubed[MANY];
    uint64_t state = 5;
    for (int round = 0; round < rounds(); round++) {
        fill(x, MANY, INVERSE_ROOT, COUNT(INVERSE_ROOT), round % 2 ? -300 : -52, 52, &state);
        memcpy(y, x, sizeof y);
        row.inverse_roots(MANY, MANY, y, cubed);
        CHECK(same_powers(x, y, -0.5, MANY) && same_powers(x, cubed, -1.5, MANY));
    }
}

/* Positions that are not there have no power, and those of the last chunk are as exact as the others. */
static void positions_that_are_not_there(void) {
    double x[2 * MG_CHUNK], y[2 * MG_CHUNK], once[2 * MG_CHUNK], twice[2 * MG_CHUNK];
    uint64_t state = 6;
    for (size_t n = 1; n <= 2 * MG_CHUNK; n++) {
        const size_t padded = (n + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK;
        fill(x, padded, NULL, 0, -20, 20, &state);
        memcpy(y, x, sizeof y);
        row.inverses(padded, n, x, once, twice);
        CHECK(same_powers(x, once, -1, n) && same_powers(x, twice, -2, n));
        for (size_t i = n; i < padded; i++) {
            CHECK(same_bits(once[i], 0) && same_bits(twice[i], 0));
        }
        row.inverse_roots(padded, n, y, twice);
        CHECK(same_powers(x, y, -0.5, n) && same_powers(x, twice, -1.5, n));
        for (size_t i = n; i < padded; i++) {
            CHECK(same_bits(y[i], 0) && same_bits(twice[i], 0));
        }
    }
}

static bool same_exponentials(const double *x, const double *found, size_t n) {
    for (size_t i = 0; i < n; i++) {
        volatile double argument = x[i];
        if (!same_number(found[i], exp(argument))) {
            if (failures < MOST_REPORTS) {
                printf("row %s: exp(%a) is %a, not %a\n", row.kernels->name, x[i], exp(argument), found[i]);
            }
            return false;
        }
    }
    return true;
}

/* As attention and the last softmax have them; all whose result is a normal number, and some more; of all sizes. */
static void exponentials(void) {
    static double x[MANY], y[MANY];
    uint64_t state = 7;
    for (int round = 0; round < 12 * rounds(); round++) {
        for (size_t i = 0; i < MANY; i++) {
            const double wide = random_between(&state, -745, 709);
            const double any = random_number(&state, -60, 9) * (random_below(&state, 2) ? 1 : -1);
            x[i] = round % 3 == 0 ? random_between(&state, -30, 0) : round % 3 == 1 ? wide : any;
        }
        for (size_t i = 0; i < COUNT(EXPONENTIAL); i++) {
            x[i] = EXPONENTIAL[i];
        }
        CHECK(row.exponentials(MANY, 0, MANY, x, y));
        CHECK(same_exponentials(x, y, MANY));
    }
}

static void ends_of_exponentials(void) {
    static const double END[] = {
        0.0, -0.0, 5e-324, -5e-324, 0x1p-54, -0x1p-54, 0x1p-53, 0x1.8p-53, -0x1p-53, 700, -700, 0x1.5e00000000001p+9,
        0x1.62e42fefa39efp+9, -0x1.6232bdd7abcd2p+9, -0x1.6232bdd7abcd3p+9, -744.44, -0x1.74910d52d3051p+9,
        -0x1.74910d52d3052p+9, -746, -1e5, -1e300, -INFINITY, NAN, -0x1.62e42fefa39efp-1, 0x1.62e42fefa39efp-1, 1, -1,
    };
    static const double LARGE[] = {0x1.62e42fefa39fp+9, 710, 1e5, 1e300, INFINITY};
    enum { ROOM = 32 };
    double x[ROOM] = {0}, y[ROOM];
    memcpy(x, END, sizeof END);
    CHECK(row.exponentials(ROOM, 0, ROOM, x, y) && same_exponentials(x, y, ROOM));
    for (size_t i = 0; i < COUNT(LARGE); i++) {
        const size_t at = 7 * i % ROOM;
        x[at] = LARGE[i];
        CHECK(!row.exponentials(ROOM, 0, ROOM, x, y));
        CHECK(row.exponentials(ROOM, at + 1, ROOM, x, y)); /* what is not there is not looked at */
        x[at] = 0;
    }
}

static void exponentials_that_are_not_there(void) {
    enum { ROOM = 18 * MG_CHUNK };
    static double x[ROOM], y[ROOM];
    uint64_t state = 8;
    for (size_t padded = MG_CHUNK; padded <= ROOM; padded += padded < 2 * MG_CHUNK ? MG_CHUNK : 7 * MG_CHUNK) {
        for (size_t from = 0; from <= padded; from++) {
            for (size_t to = from; to <= padded; to++) {
                for (size_t i = 0; i < padded; i++) {
                    x[i] = i >= from && i < to ? random_between(&state, -9, 9) : i % 2 ? 1e9 : (double)NAN;
                    y[i] = 3;
                }
                CHECK(row.exponentials(padded, from, to, x, y) && same_exponentials(x + from, y + from, to - from));
                for (size_t i = 0; i < padded; i++) {
                    CHECK((i >= from && i < to) || same_bits(y[i], 0));
                }
            }
        }
    }
}

#if defined(__x86_64__) && defined(__GLIBC__)
/* For the root, glibc's variants differ here: with fused multiply-add it is the correctly rounded one. */
static void the_variant_is_the_one_asked_for(void) {
    const char *asked = getenv("MICROGPT_TEST_POW");
    const bool unfused = asked != NULL && strcmp(asked, "unfused") == 0;
    const bool can_fuse = __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
    volatile double x = 0x1.f82d78f1c539bp+23;
    CHECK((pow(x, 0.5) == sqrt(x)) == (can_fuse && !unfused));
}
#endif

static void run_row(powers_row tested) {
    row = tested;
    RUN(squares);
    RUN(squares_in_adam);
    RUN(roots_in_adam);
    RUN(moments_that_fade);
    RUN(quotients_in_adam);
    RUN(moments_of_all_sizes);
    RUN(blocks_of_all_sizes);
    RUN(moments_that_have_faded);
    RUN(momentum_that_fades);
    RUN(inverses);
    RUN(inverse_roots);
    RUN(positions_that_are_not_there);
    RUN(exponentials);
    RUN(ends_of_exponentials);
    RUN(exponentials_that_are_not_there);
}
#define RUN_ROW(name) run_row((powers_row){&row_##name, inverses_##name, inverse_roots_##name, exp_row_##name})

int main(void) {
#if defined(__x86_64__) && defined(__GLIBC__)
    RUN(the_variant_is_the_one_asked_for);
#endif
    RUN_ROW(plain);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        RUN_ROW(avx2);
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
        RUN_ROW(avx512);
    }
#elif defined(__aarch64__)
    RUN_ROW(neon);
#endif
    return verdict();
}
