/* row_products.h: sums of products in a given order, the one function of all matrix work. A part of row.h. */

/* Terms a[k * a_output] * b[t] of output k at place t; a and b move on by a_term and b_term from term to term. */
typedef struct {
    const REAL *a;
    ptrdiff_t a_output, a_term;
    const REAL *b;
    ptrdiff_t b_term;
    size_t terms;
} NAME(sum);

/* `outputs` outputs from `output` on, at `vectors` vectors of places from `place` on. Both are constants wherever this is
   inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(block)(const size_t outputs, const size_t vectors,
                                                                       const NAME(sum) *sums, size_t count, size_t output,
                                                                       size_t place, REAL *out, size_t out_stride,
                                                                       bool first) {
    VECTOR total[WIDTH][2 * VECTORS];
    out += output * out_stride + place;
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < vectors; v++) {
            if (first) {
                total[k][v] = (VECTOR){0};
            } else {
                total[k][v] = LOAD(out + k * out_stride + v * WIDTH);
            }
        }
    }
    for (size_t s = 0; s < count; s++) {
        const ptrdiff_t a_output = sums[s].a_output, a_term = sums[s].a_term, b_term = sums[s].b_term;
        const REAL *a = sums[s].a + (ptrdiff_t)output * a_output, *b = sums[s].b + place;
        for (size_t n = sums[s].terms; n > 0; n--, a += a_term, b += b_term) {
            VECTOR x[2 * VECTORS];
            for (size_t v = 0; v < vectors; v++) {
                x[v] = LOAD(b + v * WIDTH);
            }
            for (size_t k = 0; k < outputs; k++) {
                const VECTOR y = EVERYWHERE(a[(ptrdiff_t)k * a_output]);
                for (size_t v = 0; v < vectors; v++) {
                    total[k][v] = FUSED(total[k][v], x[v], y);
                }
            }
        }
    }
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < vectors; v++) {
            STORE(out + k * out_stride + v * WIDTH, total[k][v]);
        }
    }
}

/* All whole chunks of places of `outputs` outputs. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(outputs)(const size_t outputs, size_t whole,
                                                                         const NAME(sum) *sums, size_t count,
                                                                         size_t output, REAL *out, size_t out_stride,
                                                                         bool first) {
    size_t place = 0;
    for (; !EXACT && WIDTH == 8 && place + 2 * MG_CHUNK <= whole; place += 2 * MG_CHUNK) { /* there are registers for it */
        NAME(block)(outputs, 2 * VECTORS, sums, count, output, place, out, out_stride, first);
    }
    for (; place < whole; place += MG_CHUNK) {
        NAME(block)(outputs, VECTORS, sums, count, output, place, out, out_stride, first);
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
