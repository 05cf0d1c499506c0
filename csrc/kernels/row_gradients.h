/* row_gradients.h: sums and means of gradients, and numbers that come as double and go as such. A part of row.h. */

/* sum += x */
FOR_ROW static void NAME(add)(size_t n, const void *x_, void *sum_) {
    const REAL *restrict x = x_;
    REAL *restrict sum = sum_;
    for (size_t i = 0; i < n; i++) {
        sum[i] += x[i];
    }
}

/* sum += grad; grad = 0 */
FOR_ROW static void NAME(add_gradients)(size_t n, void *grad_, void *sum_) {
    REAL *restrict grad = grad_, *restrict sum = sum_;
    for (size_t i = 0; i < n; i++) {
        sum[i] += grad[i];
        grad[i] = 0;
    }
}

/* x *= share */
FOR_ROW static void NAME(scale)(size_t n, void *x_, double share) {
    REAL *x = x_;
    for (size_t i = 0; i < n; i++) {
        x[i] *= (REAL)share;
    }
}

FOR_ROW static void NAME(from_double)(size_t n, const double *in, void *out_) {
    REAL *restrict out = out_;
    for (size_t i = 0; i < n; i++) {
        out[i] = (REAL)in[i];
    }
}

FOR_ROW static void NAME(to_double)(size_t n, const void *in_, double *out) {
    const REAL *restrict in = in_;
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)in[i];
    }
}
