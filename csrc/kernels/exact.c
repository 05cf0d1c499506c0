/* exact.c: the rows of exact kernels.
 *
 * Python's `g ** 2` and `v_hat ** 0.5` are calls of the C library's pow. That of glibc 2.28 and newer comes in two
 * variants. Where the result is 2^e, pow errs by at most, in units in the last place,
 *
 *     0.509 + 1.3 * 2^-15 * log(2) * |e| = 0.509 + 0.0000275 * |e|   with fused multiply-add
 *     0.511 + 1.5 * 2^-15 * log(2) * |e| = 0.511 + 0.0000318 * |e|   without
 *
 * (the sums that its source states), so that it can differ from the correctly rounded g * g or sqrt(v_hat) only where
 * the true result lies that close to the middle between two floats. The fused residual tells how close: only the
 * numbers within a margin of a middle need the call, about 2 in 100. The process may run either variant, also where these
 * rows fuse: GLIBC_TUNABLES chooses. With another C library every number gets the call.
 */
#include "kernels/kernels.h"

#include "kernels/exp_table.h"
#include "tape/operations.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* How far from a middle pow may still round the other way, whichever its variant: the larger of the two bounds, less 0.5.
   The largest distance seen, in 300 million arguments, was 0.0109. */
#define MARGIN 0.0145 /* >= 0.01418, for results from SMALLEST to LARGEST: |e| <= 100 */
#define WIDE 0.044    /* >= 0.04274, for results down to 2^-1000 */
#define SMALLEST 0x1p-100
#define LARGEST 0x1p100

/* Its exp errs by at most 0.5 + 1.11 / 128 + 0.25 / 128 + 1.555 * 2^-13 = 0.5108 units in the last place, without fused
   multiply-add, and less with, as its source says; what row_exp.h computes, by 2^-66 of it, or 0.00013 units. */
#define EXP_MARGIN 0.0115

/* Is it the variant with fused multiply-add that this process runs? The root tells: the true one is 0.0091 units from a
   middle, and without it pow gives the farther float. */
static bool pow_is_fused(void) {
    static _Atomic(int) known = -1;
    int fused = atomic_load_explicit(&known, memory_order_relaxed);
    if (fused < 0) {
        const volatile double x = 0x1.f82d78f1c539bp+23;
        fused = pow(x, 0.5) == sqrt(x);
        atomic_store_explicit(&known, fused, memory_order_relaxed);
    }
    return fused != 0;
}

/* The margin of the variant that runs, and a ten-thousandth more: at 1, and more for each binary digit of the exponent. */
typedef struct {
    double base, slope;
} pow_margins;

static inline pow_margins margins_of_pow(void) {
    return pow_is_fused() ? (pow_margins){0.0091, 0.0000276} : (pow_margins){0.0111, 0.0000319};
}

/* For results from 2^-exponent to 2^exponent. */
static inline double margin_to(pow_margins margins, double exponent) { return margins.base + margins.slope * exponent; }

/* Moments that have faded are below 2^-900. The bits of that, and of 2^-400. */
#define FADED 0x07b0000000000000
#define BITS_OF_LEAST 0x26f0000000000000

/* Bit i, for a vector of lanes to choose theirs. */
#define FOUR_BITS(i) (uint64_t)1 << (i), (uint64_t)2 << (i), (uint64_t)4 << (i), (uint64_t)8 << (i)
#define BITS_FROM(i) FOUR_BITS(i), FOUR_BITS(i + 4), FOUR_BITS(i + 8), FOUR_BITS(i + 12)
static const uint64_t lane_bit[64] = {BITS_FROM(0), BITS_FROM(16), BITS_FROM(32), BITS_FROM(48)};

#define REAL double
#define BITS int64_t
#define EXACT 1
#define POW pow
#define LOG log
#define EXP exp
#define SQRT sqrt
#define FUSED(sum, a, b) ((sum) + (a) * (b)) /* two roundings, as in Python */
#define FUSED_ONE(sum, a, b) ((sum) + (a) * (b))

#define ROW plain
#define WIDTH 2
#define TILE_WIDTH 2
#define FOR_ROW
#define POW_IS_NEAR 0
#include "kernels/row.h"

#undef POW_IS_NEAR
#define POW_IS_NEAR 1

#if defined(__x86_64__)
#define ROW avx2
#define WIDTH 4
#define TILE_WIDTH 4
#define FOR_ROW MG_FOR_AVX2
#include "kernels/row.h"

#define ROW avx512
#define WIDTH 8
#define TILE_WIDTH 8
#define FOR_ROW MG_FOR_AVX512
#include "kernels/row.h"
#elif defined(__aarch64__)
#define ROW neon
#define WIDTH 2
#define TILE_WIDTH 2
#define FOR_ROW
#include "kernels/row.h"
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
