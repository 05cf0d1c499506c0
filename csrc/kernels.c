/* kernels.c: the table of exact kernels.
 *
 * Python's `g ** 2` and `v_hat ** 0.5` are calls of the C library's pow. That of glibc 2.28 and newer, with fused
 * multiply-add, errs by at most 0.509 + 0.0000275 * e units in the last place, where 2^e is the result, so that it can
 * differ from the correctly rounded g * g or sqrt(v_hat) only where the true result lies that close to the middle
 * between two floats. The fused residual tells how close: only the numbers within MARGIN of a middle need the call,
 * about 2.5 in 100. With another C library every number gets the call.
 */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#define MARGIN 0.0125 /* units in the last place; 0.008 was the largest distance seen in 30 million arguments */

/* Where that bound is below MARGIN, far from overflow and underflow: e <= 100. */
#define SMALLEST 0x1p-100
#define LARGEST 0x1p100

#define REAL double
#define BITS int64_t
#define EXACT 1
#define POW pow
#define LOG log
#define EXP exp
#define SQRT sqrt

#define ROW plain
#define WIDTH 2
#define FOR_ROW
#define POW_IS_NEAR 0
#include "row.h"

#undef POW_IS_NEAR
#define POW_IS_NEAR 1

#if defined(__x86_64__)
#define ROW avx2
#define WIDTH 4
#define FOR_ROW __attribute__((target("avx2,fma")))
#include "row.h"

#define ROW avx512
#define WIDTH 8
#define FOR_ROW __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")))
#include "row.h"
#elif defined(__aarch64__)
#define ROW neon
#define WIDTH 2
#define FOR_ROW
#include "row.h"
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
    const mg_kernels *rows[3] = {&row_plain};
    size_t count = 1;
    if (pow_is_known()) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            rows[count++] = &row_avx2;
        }
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
            rows[count++] = &row_avx512;
        }
#elif defined(__aarch64__)
        rows[count++] = &row_neon;
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
