/* row_tiles.h: the inner loops of matrix work, over tiles of outputs that stay in registers: of sums of products, and of
 * matrices' gradients. A part of row.h, included for each width of vectors that the row uses, with
 *
 *     LANES                    numbers in a vector
 *     TILED(name)              what names are made of
 *     TILE_FUSED(sum, a, b)    FUSED, of such vectors
 */

typedef REAL TILED(tile) __attribute__((vector_size(LANES * sizeof(REAL))));
typedef REAL TILED(tile_stored) __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define TILE_LOAD(p) ((TILED(tile))*(const TILED(tile_stored) *)(p))
#define TILE_STORE(p, x) (*(TILED(tile_stored) *)(p) = (TILED(tile_stored))(x))
#define TILE_EVERYWHERE(number) ((number) - (TILED(tile)){0})

/* `outputs` outputs from `output` on, at `vectors` vectors of places from `place` on. Both are constants wherever this is
   inlined. */
FOR_ROW static inline __attribute__((always_inline)) void TILED(product_tile)(const size_t outputs, const size_t vectors,
                                                                              const NAME(sum) *sums, size_t count,
                                                                              size_t output, size_t place, REAL *out,
                                                                              size_t out_stride, bool first) {
    TILED(tile) total[WIDTH][MOST_VECTORS];
    out += output * out_stride + place;
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < vectors; v++) {
            if (first) {
                total[k][v] = (TILED(tile)){0};
            } else {
                total[k][v] = TILE_LOAD(out + k * out_stride + v * LANES);
            }
        }
    }
    for (size_t s = 0; s < count; s++) {
        const ptrdiff_t a_output = sums[s].a_output, a_term = sums[s].a_term, b_term = sums[s].b_term;
        const REAL *a = sums[s].a + (ptrdiff_t)output * a_output, *b = sums[s].b + place;
        for (size_t n = sums[s].terms; n > 0; n--, a += a_term, b += b_term) {
            TILED(tile) x[MOST_VECTORS];
            for (size_t v = 0; v < vectors; v++) {
                x[v] = TILE_LOAD(b + v * LANES);
            }
            for (size_t k = 0; k < outputs; k++) {
                const TILED(tile) y = TILE_EVERYWHERE(a[(ptrdiff_t)k * a_output]);
                for (size_t v = 0; v < vectors; v++) {
                    total[k][v] = TILE_FUSED(total[k][v], x[v], y);
                }
            }
        }
    }
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < vectors; v++) {
            TILE_STORE(out + k * out_stride + v * LANES, total[k][v]);
        }
    }
}

/* out[k][c] gets for each text the sum of g[k] * x[c], positions down, of `outputs` lanes and `vectors` vectors of columns,
   the first n of which are there; of a text alone, each g[k] * x[c]. `outputs` and `vectors` are constants wherever this is
   inlined. */
FOR_ROW static inline __attribute__((always_inline)) void TILED(gradient_tile)(const size_t outputs, const size_t vectors,
                                                                               const NAME(factors) *texts, size_t count,
                                                                               size_t output, size_t place, size_t wide,
                                                                               REAL *out, size_t out_stride, size_t n,
                                                                               bool alone) {
    const bool whole = n == vectors * LANES;
    REAL edge[WIDTH * MOST_VECTORS * LANES], *total = whole ? out + output * out_stride + place : edge;
    const size_t next = whole ? out_stride : MOST_VECTORS * LANES;
    for (size_t k = 0; !whole && k < outputs; k++) {
        memset(edge + k * next, 0, next * sizeof *edge);
        memcpy(edge + k * next, out + (output + k) * out_stride + place, n * sizeof *edge);
    }
    for (size_t d = 0; d < count; d++) {
        const size_t padded = texts[d].padded, *start = texts[d].start;
        const REAL *line = texts[d].line + texts[d].length * wide + place, *g = texts[d].adjoint + output * padded;
        TILED(tile) sum[WIDTH][MOST_VECTORS];
        for (size_t k = 0; k < outputs; k++) {
            for (size_t v = 0; v < vectors; v++) {
                sum[k][v] = (TILED(tile)){0};
                if (alone) {
                    sum[k][v] = TILE_LOAD(total + k * next + v * LANES);
                }
            }
        }
        for (size_t t = texts[d].length; t-- > 0;) {
            const REAL *column = g + start[t];
            TILED(tile) x[MOST_VECTORS];
            line -= wide;
            for (size_t v = 0; v < vectors; v++) {
                x[v] = TILE_LOAD(line + v * LANES);
            }
            for (size_t k = 0; k < outputs; k++) {
                for (size_t v = 0; v < vectors; v++) {
                    sum[k][v] = TILE_FUSED(sum[k][v], x[v], TILE_EVERYWHERE(column[k * padded]));
                }
            }
        }
        for (size_t k = 0; k < outputs; k++) {
            for (size_t v = 0; v < vectors; v++) {
                if (!alone) {
                    sum[k][v] += TILE_LOAD(total + k * next + v * LANES);
                }
                TILE_STORE(total + k * next + v * LANES, sum[k][v]);
            }
        }
    }
    for (size_t k = 0; !whole && k < outputs; k++) {
        memcpy(out + (output + k) * out_stride + place, edge + k * next, n * sizeof *edge);
    }
}

#undef TILE_LOAD
#undef TILE_STORE
#undef TILE_EVERYWHERE
#undef LANES
#undef TILED
#undef TILE_FUSED
