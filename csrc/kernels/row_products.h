/* row_products.h: sums of products in a given order, the one function of all matrix work. A part of row.h. */

/* Terms a[k * a_output] * b[t] of output k at place t; a and b move on by a_term and b_term from term to term. */
typedef struct {
    const REAL *a;
    ptrdiff_t a_output, a_term;
    const REAL *b;
    ptrdiff_t b_term;
    size_t terms;
} NAME(sum);

/* A text, as the sums of a matrix's gradients read it. */
typedef struct {
    const REAL *adjoint; /* number `position` of lane i is at i * padded + start[position] */
    const REAL *line;
    const size_t *start;
    size_t length, padded;
} NAME(factors);

#define MOST_VECTORS (TILE_WIDTH > WIDTH ? 2 : 2 * VECTORS) /* of a tile: there are registers for so many */
#define LANES WIDTH
#define TILED(name) NAME(name)
#define TILE_FUSED FUSED
#include "kernels/row_tiles.h"
#if TILE_WIDTH > WIDTH
#define LANES TILE_WIDTH
#define TILED(name) NAME(wide_##name)
#define TILE_FUSED FUSED_WIDE
#include "kernels/row_tiles.h"
#endif

/* All whole chunks of places of `outputs` outputs. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(outputs)(const size_t outputs, size_t whole,
                                                                         const NAME(sum) *sums, size_t count,
                                                                         size_t output, REAL *out, size_t out_stride,
                                                                         bool first) {
    size_t place = 0;
#if TILE_WIDTH > WIDTH
    for (; place + 2 * TILE_WIDTH <= whole; place += 2 * TILE_WIDTH) {
        NAME(wide_product_tile)(outputs, 2, sums, count, output, place, out, out_stride, first);
    }
    for (; place + TILE_WIDTH <= whole; place += TILE_WIDTH) {
        NAME(wide_product_tile)(outputs, 1, sums, count, output, place, out, out_stride, first);
    }
#elif !EXACT && WIDTH == 8
    for (; place + 2 * MG_CHUNK <= whole; place += 2 * MG_CHUNK) {
        NAME(product_tile)(outputs, 2 * VECTORS, sums, count, output, place, out, out_stride, first);
    }
#endif
    for (; place < whole; place += MG_CHUNK) {
        NAME(product_tile)(outputs, VECTORS, sums, count, output, place, out, out_stride, first);
    }
}

/* out[k][t] += the sums' terms, one after the other, for all k < outputs and t < width; from 0 where `first`. */
FOR_ROW static __attribute__((noinline)) void NAME(products)(size_t outputs, size_t width, const NAME(sum) *sums,
                                                             size_t count, REAL *out, size_t out_stride, bool first) {
    size_t whole = width / MG_CHUNK * MG_CHUNK, k = 0;
    for (; k + WIDTH <= outputs; k += WIDTH) {
        NAME(outputs)(WIDTH, whole, sums, count, k, out, out_stride, first);
    }
    if (WIDTH > 4 && k + 4 <= outputs) {
        NAME(outputs)(4, whole, sums, count, k, out, out_stride, first);
        k += 4;
    }
    if (WIDTH > 2 && k + 2 <= outputs) {
        NAME(outputs)(2, whole, sums, count, k, out, out_stride, first);
        k += 2;
    }
    if (k < outputs) {
        NAME(outputs)(1, whole, sums, count, k, out, out_stride, first);
    }
    for (size_t t = whole; t < width; t++) {
        for (k = 0; k < outputs; k++) {
            REAL total = first ? 0 : out[k * out_stride + t];
            for (size_t s = 0; s < count; s++) {
                const REAL *a = sums[s].a + (ptrdiff_t)k * sums[s].a_output, *b = sums[s].b + t;
                for (size_t n = sums[s].terms; n > 0; n--, a += sums[s].a_term, b += sums[s].b_term) {
                    total = FUSED_ONE(total, *b, *a);
                }
            }
            out[k * out_stride + t] = total;
        }
    }
}
