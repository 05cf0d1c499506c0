/* exact.c: the rows of exact kernels.
 *
 * Python's `g ** 2` and `v_hat ** 0.5` are calls of the C library's pow. That of glibc 2.28 and newer, with fused
 * multiply-add, errs by at most 0.509 + 0.0000275 * e units in the last place, where 2^e is the result, so that it can
 * differ from the correctly rounded g * g or sqrt(v_hat) only where the true result lies that close to the middle
 * between two floats. The fused residual tells how close: only the numbers within MARGIN of a middle need the call,
 * about 2.5 in 100. With another C library every number gets the call.
 */
#include "kernels.h"

#include "operations.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MARGIN 0.0125 /* units in the last place; 0.008 was the largest distance seen in 30 million arguments */

#define WIDE 0.04     /* for results down to 2^-1000 */

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

const mg_kernels *mg_exact_kernels(mg_row row) {
    switch (row) {
#if defined(__x86_64__)
    case MG_AVX2: return &row_avx2;
    case MG_AVX512: return &row_avx512;
#elif defined(__aarch64__)
    case MG_NEON: return &row_neon;
#endif
    default: return &row_plain;
    }
}
