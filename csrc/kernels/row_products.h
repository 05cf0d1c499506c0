/* row_products.h: sums of products in a given order, the one function of all matrix work. A part of row.h. */

/* Terms a[k * a_output] * b[t] of output k at place t; a and b move on by a_term and b_term from term to term. */
typedef struct {
    const REAL *a;
    ptrdiff_t a_output, a_term;
    const REAL *b;
    ptrdiff_t b_term;
    size_t terms;
} NAME(sum);

/* `outputs` is a constant wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(block)(const size_t outputs, const NAME(sum) *sums,
                                                                       size_t count, size_t output, size_t place,
                                                                       REAL *out, size_t out_stride, bool first) {
    VECTOR total[WIDTH][VECTORS];
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < VECTORS; v++) {
            if (first) {
                total[k][v] = (VECTOR){0};
            } else {
                total[k][v] = LOAD(out + (output + k) * out_stride + place + v * WIDTH);
            }
        }
    }
    for (size_t s = 0; s < count; s++) {
        const ptrdiff_t a_output = sums[s].a_output, a_term = sums[s].a_term, b_term = sums[s].b_term;
        const REAL *a = sums[s].a + (ptrdiff_t)output * a_output, *b = sums[s].b + place;
        for (size_t n = sums[s].terms; n > 0; n--, a += a_term, b += b_term) {
            VECTOR x[VECTORS];
            for (size_t v = 0; v < VECTORS; v++) {
                x[v] = LOAD(b + v * WIDTH);
            }
            for (size_t k = 0; k < outputs; k++) {
                for (size_t v = 0; v < VECTORS; v++) {
                    total[k][v] += x[v] * a[(ptrdiff_t)k * a_output];
                }
            }
        }
    }
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < VECTORS; v++) {
            STORE(out + (output + k) * out_stride + place + v * WIDTH, total[k][v]);
        }
    }
}

/* out[k][t] += the sums' terms, one after the other, for all k < outputs and t < width; from 0 where `first`. */
FOR_ROW static __attribute__((noinline)) void NAME(products)(size_t outputs, size_t width, const NAME(sum) *sums,
                                                             size_t count, REAL *out, size_t out_stride, bool first) {
    size_t whole = width / MG_CHUNK * MG_CHUNK, k = 0;
    for (; k + WIDTH <= outputs; k += WIDTH) {
        for (size_t place = 0; place < whole; place += MG_CHUNK) {
            NAME(block)(WIDTH, sums, count, k, place, out, out_stride, first);
        }
    }
    for (size_t place = 0; place < whole; place += MG_CHUNK) {
        size_t rest = k;
        if (WIDTH > 4 && rest + 4 <= outputs) {
            NAME(block)(4, sums, count, rest, place, out, out_stride, first);
            rest += 4;
        }
        if (WIDTH > 2 && rest + 2 <= outputs) {
            NAME(block)(2, sums, count, rest, place, out, out_stride, first);
            rest += 2;
        }
        if (rest < outputs) {
            NAME(block)(1, sums, count, rest, place, out, out_stride, first);
        }
    }
    for (size_t t = whole; t < width; t++) {
        for (k = 0; k < outputs; k++) {
            REAL total = first ? 0 : out[k * out_stride + t];
            for (size_t s = 0; s < count; s++) {
                const REAL *a = sums[s].a + (ptrdiff_t)k * sums[s].a_output, *b = sums[s].b + t;
                for (size_t n = sums[s].terms; n > 0; n--, a += sums[s].a_term, b += sums[s].b_term) {
                    total += *b * *a;
                }
            }
            out[k * out_stride + t] = total;
        }
    }
}
