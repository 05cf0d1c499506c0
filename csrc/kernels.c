/* kernels.c: the table of kernels, and Adam.
 *
 * Python's `g ** 2` and `v_hat ** 0.5` are calls of the C library's pow. glibc's pow (2.28 and newer) errs by less than
 * 0.52 units in the last place, so that it can differ from the correctly rounded g * g or sqrt(v_hat) only where the
 * true result lies close to the middle between two floats. The fused residual tells how close: only the numbers within
 * MARGIN of a middle need the call, about 4 in 100. With another C library every number gets the call.
 */
#include "kernels.h"

#include "tape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#define BLOCK 64
#define MARGIN 0.02 /* units in the last place; 0.008 was the largest distance seen in 30 million arguments */

/* Where the fast way and its residual are exact enough: far from overflow and underflow. */
#define SMALLEST 0x1p-400
#define LARGEST 0x1p400

static inline __attribute__((always_inline)) double last_place(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000u;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p-52;
}

/* x ** 2, or NaN where pow has to decide. */
static inline __attribute__((always_inline)) void square_block(const double *x, double *out) {
    for (size_t i = 0; i < BLOCK; i++) {
        double y = x[i] * x[i], unit = last_place(y);
        double middle = fabs(fabs(__builtin_fma(x[i], x[i], -y)) - 0.5 * unit);
        bool decided = (y >= SMALLEST) & (y <= LARGEST) & (middle > MARGIN * unit) & (y != unit * 0x1p52);
        out[i] = decided | (x[i] == 0) ? y : NAN;
    }
}

/* x ** 0.5, likewise: the true root is s + residual / (2 * s). */
static inline __attribute__((always_inline)) void root_block(const double *x, double *out) {
    for (size_t i = 0; i < BLOCK; i++) {
        double s = sqrt(x[i]), unit = last_place(s);
        double middle = fabs(fabs(__builtin_fma(-s, s, x[i])) - s * unit);
        bool ordinary = (x[i] >= SMALLEST) & (x[i] <= LARGEST) & (s != unit * 0x1p52);
        bool decided = ordinary & (middle > 2 * MARGIN * (s * unit));
        out[i] = decided | (x[i] == 0) ? s : NAN;
    }
}

/* Asks pow where out[] is NaN; most groups of 8 have none. */
static inline __attribute__((always_inline)) void call_pow(const double *x, double k, double *out) {
    for (size_t from = 0; from < BLOCK; from += 8) {
        double sum = 0;
        for (size_t i = from; i < from + 8; i++) {
            sum += out[i];
        }
        for (size_t i = from; isnan(sum) && i < from + 8; i++) {
            if (isnan(out[i])) {
                out[i] = pow(x[i], k);
            }
        }
    }
}

static void pow_block(const double *x, double k, double *out) {
    for (size_t i = 0; i < BLOCK; i++) {
        out[i] = pow(x[i], k);
    }
}

/* m = beta1 * m + (1 - beta1) * g, and so on: see adam.c. `fast` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void adam_blocks(size_t n, double *data, double *grad, double *m,
                                                              double *v, const mg_adam_step *step, bool fast) {
    double g[BLOCK] = {0}, square[BLOCK], m_hat[BLOCK], v_hat[BLOCK] = {0}, root[BLOCK];
    const double beta1 = step->beta1, beta2 = step->beta2, rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t count = n - from < BLOCK ? n - from : BLOCK;
        memcpy(g, grad + from, count * sizeof *g);
        if (fast) {
            square_block(g, square);
            call_pow(g, 2, square);
        } else {
            pow_block(g, 2, square);
        }
        for (size_t i = 0; i < count; i++) {
            m[from + i] = beta1 * m[from + i] + rest1 * g[i];
            v[from + i] = beta2 * v[from + i] + rest2 * square[i];
        }
        for (size_t i = 0; i < count; i++) {
            m_hat[i] = m[from + i] / step->correction1;
            v_hat[i] = v[from + i] / step->correction2;
        }
        if (fast) {
            root_block(v_hat, root);
            call_pow(v_hat, 0.5, root);
        } else {
            pow_block(v_hat, 0.5, root);
        }
        for (size_t i = 0; i < count; i++) {
            data[from + i] -= step->learning_rate * m_hat[i] / (root[i] + step->epsilon);
            grad[from + i] = 0;
        }
    }
}

/* Compared as integers: the order of positive floats is that of their bits, and an integer maximum runs in vectors. */
static inline __attribute__((always_inline)) double largest_inline(size_t n, const double *x) {
    int64_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffffffffffff;
        bits = bits < 0x7ff0000000000000 ? bits : 0;
        largest = bits > largest ? bits : largest;
    }
    double size;
    memcpy(&size, &largest, sizeof size);
    return size;
}

static double largest_plain(size_t n, const double *x) { return largest_inline(n, x); }

static void adam_plain(size_t n, double *data, double *grad, double *m, double *v, const mg_adam_step *step) {
    adam_blocks(n, data, grad, m, v, step, false);
}

static const mg_kernels PLAIN = {"plain", adam_plain, largest_plain};

#if defined(__x86_64__)
#define FOR_AVX2 __attribute__((target("avx2,fma")))
#define FOR_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")))

FOR_AVX2 static void adam_avx2(size_t n, double *data, double *grad, double *m, double *v, const mg_adam_step *step) {
    adam_blocks(n, data, grad, m, v, step, true);
}

FOR_AVX2 static double largest_avx2(size_t n, const double *x) { return largest_inline(n, x); }

FOR_AVX512 static void adam_avx512(size_t n, double *data, double *grad, double *m, double *v,
                                   const mg_adam_step *step) {
    adam_blocks(n, data, grad, m, v, step, true);
}

FOR_AVX512 static double largest_avx512(size_t n, const double *x) { return largest_inline(n, x); }

static const mg_kernels AVX2 = {"avx2", adam_avx2, largest_avx2};
static const mg_kernels AVX512 = {"avx512", adam_avx512, largest_avx512};
#elif defined(__aarch64__)
static void adam_neon(size_t n, double *data, double *grad, double *m, double *v, const mg_adam_step *step) {
    adam_blocks(n, data, grad, m, v, step, true);
}

static const mg_kernels NEON = {"neon", adam_neon, largest_plain};
#endif

/* Is this a C library whose pow is known to keep the bound? */
static bool pow_is_known(void) {
#ifdef __GLIBC__
    int major = atoi(gnu_get_libc_version());
    const char *dot = strchr(gnu_get_libc_version(), '.');
    return major > 2 || (major == 2 && dot != NULL && atoi(dot + 1) >= 28);
#else
    return false;
#endif
}

static const mg_kernels *choose(void) {
    const mg_kernels *rows[3] = {&PLAIN};
    size_t count = 1;
    if (pow_is_known()) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            rows[count++] = &AVX2;
        }
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
            rows[count++] = &AVX512;
        }
#elif defined(__aarch64__)
        rows[count++] = &NEON;
#endif
    }
    const char *wanted = getenv("MICROGPT_KERNELS");
    for (size_t r = 0; wanted != NULL && r < count; r++) {
        if (strcmp(rows[r]->name, wanted) == 0) {
            return rows[r];
        }
    }
    return rows[count - 1];
}

const mg_kernels *mg_kernels_chosen(void) {
    static _Atomic(const mg_kernels *) chosen;
    const mg_kernels *row = atomic_load_explicit(&chosen, memory_order_acquire);
    if (row == NULL) {
        row = choose();
        atomic_store_explicit(&chosen, row, memory_order_release);
    }
    return row;
}

const char *mg_kernels_name(void) { return mg_kernels_chosen()->name; }
