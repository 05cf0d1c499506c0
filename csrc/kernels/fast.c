/* fast.c: the rows of kernels of the fast mode: the same functions on float, with multiply and add fused where the
 * processor can, no call of pow, and an exponential that runs in vectors. Its sums run in the order of the exact ones.
 *
 * What is fused is spelled out, and the compiler fuses nothing itself: it would not do the same in every loop that computes
 * the same sum, and a document's numbers must not depend on which one took it.
 */
#include "kernels/kernels.h"

#include "tape/operations.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define REAL float
#define BITS int32_t
#define EXACT 0
#define POW_IS_NEAR 0
#define POW powf
#define LOG logf
#define SQRT sqrtf

/* sum + a * b, of vectors and of numbers */
#if defined(__aarch64__)
#define FUSED(sum, a, b) ((VECTOR)vfmaq_f32((float32x4_t)(sum), (float32x4_t)(a), (float32x4_t)(b)))
#define FUSED_ONE(sum, a, b) __builtin_fmaf(a, b, sum)
#else
#define FUSED(sum, a, b) ((sum) + (a) * (b))
#define FUSED_ONE(sum, a, b) ((sum) + (a) * (b))
#endif
#define ROW fast_plain
#define WIDTH 4
#define TILE_WIDTH 4
#define FOR_ROW
#include "kernels/row.h"
#undef FUSED
#undef FUSED_ONE

#if defined(__x86_64__)
#define FUSED(sum, a, b) ((VECTOR)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(sum)))
#define FUSED_ONE(sum, a, b) __builtin_fmaf(a, b, sum)
#define ROW fast_avx2
#define WIDTH 8
#define TILE_WIDTH 8
#define FOR_ROW MG_FOR_AVX2
#include "kernels/row.h"

#define ROW fast_avx512
#define WIDTH 8 /* a chunk of positions; what has no positions, such as adam, runs in wider vectors */
#define TILE_WIDTH 16
#define FUSED_WIDE(sum, a, b) ((NAME(wide_tile))_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(sum)))
#define FOR_ROW MG_FOR_AVX512
#include "kernels/row.h"
#endif

const mg_kernels *mg_fast_kernels(mg_row row) {
    switch (row) {
#if defined(__x86_64__)
    case MG_AVX2: return &row_fast_avx2;
    case MG_AVX512: return &row_fast_avx512;
#endif
    default: return &row_fast_plain; /* on AArch64 NEON, which it always has */
    }
}
