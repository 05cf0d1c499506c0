/* fast.c: the rows of kernels of the fast mode: the same functions on float, with multiply and add fused where the
 * processor can, no call of pow, and an exponential that runs in vectors. Its sums run in the order of the exact ones.
 */
#include "kernels/kernels.h"

#include "kernels/float_mode.h"
#include "tape/operations.h"

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

#define REAL float
#define BITS int32_t
#define EXACT 0
#define POW_IS_NEAR 0
#define POW powf
#define LOG logf
#define SQRT sqrtf

#define ROW fast_plain
#define WIDTH 4
#define FOR_ROW
#include "kernels/row.h"

#if defined(__x86_64__)
#define ROW fast_avx2
#define WIDTH 8
#define FOR_ROW MG_FOR_AVX2
#include "kernels/row.h"

#define ROW fast_avx512
#define WIDTH 8 /* a chunk of positions; what has no positions, such as adam, runs in wider vectors */
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
