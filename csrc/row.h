/* row.h: one row of the table of kernels. Included once for each kind of processor and of number, with
 *
 *     ROW         the row's name
 *     REAL, BITS  double and int64_t, or float and int32_t
 *     WIDTH       numbers in a vector register
 *     FOR_ROW     the attributes that tell the compiler of the processor
 *     EXACT       1: the bits of Python's arithmetic. 0: the fast mode, whose file lets the compiler fuse
 *     POW_IS_NEAR 1: pow is called only where its result may differ from the correctly rounded one
 *     POW, LOG, EXP, SQRT  of the C library, for REAL
 *
 * All matrix work is one function, `products`: sums of products in a given order, eight sums side by side.
 */
#define JOIN_(name, row) name##_##row
#define JOIN(name, row) JOIN_(name, row)
#define TEXT_(row) #row
#define TEXT(row) TEXT_(row)
#define NAME(name) JOIN(name, ROW)

#define VECTORS (MG_CHUNK / WIDTH)
#define BLOCK 64 /* parameters that adam takes at a time */

typedef REAL NAME(vector) __attribute__((vector_size(WIDTH * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef BITS NAME(bits) __attribute__((vector_size(WIDTH * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define VECTOR NAME(vector)
#define LOAD(p) (*(const VECTOR *)(p))
#define STORE(p, x) (*(VECTOR *)(p) = (x))

/* ---- sums of products ------------------------------------------------------------------------------------------- */

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
                                                                       REAL *out, size_t out_stride) {
    VECTOR total[WIDTH][VECTORS];
    for (size_t k = 0; k < outputs; k++) {
        for (size_t v = 0; v < VECTORS; v++) {
            total[k][v] = LOAD(out + (output + k) * out_stride + place + v * WIDTH);
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

/* out[k][t] += the sums' terms, one after the other, for all k < outputs and t < width. */
FOR_ROW static __attribute__((noinline)) void NAME(products)(size_t outputs, size_t width, const NAME(sum) *sums,
                                                             size_t count, REAL *out, size_t out_stride) {
    size_t whole = width / MG_CHUNK * MG_CHUNK, k = 0;
    for (; k + WIDTH <= outputs; k += WIDTH) {
        for (size_t place = 0; place < whole; place += MG_CHUNK) {
            NAME(block)(WIDTH, sums, count, k, place, out, out_stride);
        }
    }
    for (size_t place = 0; place < whole; place += MG_CHUNK) {
        size_t rest = k;
        if (WIDTH > 4 && rest + 4 <= outputs) {
            NAME(block)(4, sums, count, rest, place, out, out_stride);
            rest += 4;
        }
        if (WIDTH > 2 && rest + 2 <= outputs) {
            NAME(block)(2, sums, count, rest, place, out, out_stride);
            rest += 2;
        }
        if (rest < outputs) {
            NAME(block)(1, sums, count, rest, place, out, out_stride);
        }
    }
    for (size_t t = whole; t < width; t++) {
        for (k = 0; k < outputs; k++) {
            REAL total = out[k * out_stride + t];
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

/* ---- powers ----------------------------------------------------------------------------------------------------- */

#if EXACT && POW_IS_NEAR
/* The unit in the last place of x. */
FOR_ROW static inline __attribute__((always_inline)) double NAME(last_place)(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000u;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p-52;
}

/* Is hi surely what pow(x, -2) or a power near it gives when the true result is hi + lo, and hi the nearest float? */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(sure)(double x, double hi, double lo) {
    double unit = NAME(last_place)(hi), middle = fabs(fabs(lo) - 0.5 * unit);
    return (x >= 0x1p-50) & (x <= 0x1p50) & (middle > MARGIN * unit) & (hi != unit * 0x1p52);
}

/* Is y = x * x surely what pow(x, 2) is? Small gradients are usual: they are scaled, and have the wider margin of their
   exponent. */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(sure_square)(double x, double y) {
    const double scale = y < SMALLEST ? 0x1p450 : 1, a = x * scale, square = y * (scale * scale);
    const double margin = y < SMALLEST ? WIDE : MARGIN, unit = NAME(last_place)(square);
    const double middle = fabs(fabs(__builtin_fma(a, a, -square)) - 0.5 * unit);
    return ((y >= 0x1p-1000) & (y <= LARGEST) & (middle > margin * unit) & (square != unit * 0x1p52)) | (x == 0);
}

/* Is s = sqrt(x) surely what pow(x, 0.5) is? The true root is s + residual / (2 * s). Small x are usual too, as the
   second moment of a parameter without gradients fades away. */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(sure_root)(double x, double s) {
    const double scale = x < SMALLEST ? 0x1p450 : 1, a = x * (scale * scale), root = s * scale;
    const double margin = x < SMALLEST ? 2 * WIDE : 2 * MARGIN, unit = NAME(last_place)(root);
    const double middle = fabs(fabs(__builtin_fma(-root, root, a)) - root * unit);
    return ((x <= LARGEST) & (middle > margin * (root * unit)) & (root != unit * 0x1p52)) | (x == 0);
}
#define SURE_SQUARE(x, y) NAME(sure_square)(x, y)
#define SURE_ROOT(x, s) NAME(sure_root)(x, s)
#else /* pow decides always, or never */
#define SURE_SQUARE(x, y) (!EXACT)
#define SURE_ROOT(x, s) (!EXACT)
#endif

/* x ** -1 and x ** -2 at all positions; 0 where there is none */
FOR_ROW static void NAME(inverses)(size_t padded, size_t positions, const REAL *restrict x, REAL *restrict once,
                                   REAL *restrict twice) {
    for (size_t from = 0; from < padded; from += MG_CHUNK) {
        size_t count = positions - from < MG_CHUNK ? positions - from : MG_CHUNK;
#if EXACT && POW_IS_NEAR
        const BITS none = 0, first = 1, second = 2;
        BITS unsure[MG_CHUNK];
        for (size_t i = 0; i < MG_CHUNK; i++) {
            double a = x[from + i], y = 1 / a;
            double product = a * a, more = __builtin_fma(a, a, -product), z = 1 / product;
            double correction = (__builtin_fma(-product, z, 1) - more * z) * z, hi = z + correction;
            once[from + i] = y;
            twice[from + i] = hi;
            unsure[i] = NAME(sure)(a, y, __builtin_fma(-a, y, 1) * y) ? none : first;
            unsure[i] |= NAME(sure)(a, hi, correction - (hi - z)) ? none : second;
        }
        for (size_t i = 0; i < count; i++) {
            once[from + i] = unsure[i] & first ? pow(x[from + i], -1) : once[from + i];
            twice[from + i] = unsure[i] & second ? pow(x[from + i], -2) : twice[from + i];
        }
#else
        for (size_t i = 0; i < count; i++) {
            once[from + i] = EXACT ? POW(x[from + i], -1) : 1 / x[from + i];
            twice[from + i] = EXACT ? POW(x[from + i], -2) : once[from + i] * once[from + i];
        }
#endif
        for (size_t i = count; i < MG_CHUNK; i++) {
            once[from + i] = twice[from + i] = 0;
        }
    }
}

/* x ** -0.5, in place of x, and x ** -1.5 at all positions; 0 where there is none */
FOR_ROW static void NAME(inverse_roots)(size_t padded, size_t positions, REAL *restrict x, REAL *restrict cubed) {
    for (size_t from = 0; from < padded; from += MG_CHUNK) {
        size_t count = positions - from < MG_CHUNK ? positions - from : MG_CHUNK;
#if EXACT && POW_IS_NEAR
        const BITS none = 0, first = 1, second = 2;
        BITS unsure[MG_CHUNK];
        double old[MG_CHUNK];
        for (size_t i = 0; i < MG_CHUNK; i++) {
            double a = x[from + i], y = 1 / sqrt(a); /* a * y * y is 1 - d: the root is y + y * d / 2 */
            double product = y * y, more = __builtin_fma(y, y, -product);
            double correction = (__builtin_fma(-a, product, 1) - a * more) * (0.5 * y);
            double hi = y + correction, lo = correction - (hi - y);
            double square = hi * hi, cube = square * hi;
            double rest = __builtin_fma(square, hi, -cube) + __builtin_fma(hi, hi, -square) * hi + 3 * square * lo;
            double top = cube + rest;
            old[i] = a;
            x[from + i] = hi;
            cubed[from + i] = top;
            unsure[i] = NAME(sure)(a, hi, lo) ? none : first;
            unsure[i] |= NAME(sure)(a, top, rest - (top - cube)) ? none : second;
        }
        for (size_t i = 0; i < count; i++) {
            x[from + i] = unsure[i] & first ? pow(old[i], -0.5) : x[from + i];
            cubed[from + i] = unsure[i] & second ? pow(old[i], -1.5) : cubed[from + i];
        }
#else
        for (size_t i = 0; i < count; i++) {
            REAL root = EXACT ? POW(x[from + i], (REAL)-0.5) : 1 / SQRT(x[from + i]);
            cubed[from + i] = EXACT ? POW(x[from + i], (REAL)-1.5) : root * root * root;
            x[from + i] = root;
        }
#endif
        for (size_t i = count; i < MG_CHUNK; i++) {
            x[from + i] = cubed[from + i] = 0;
        }
    }
}

/* x[i] ** 2 in place of x[i], BLOCK of them */
FOR_ROW static void NAME(square_block)(REAL *restrict x) {
    const BITS none = 0, one = 1;
    REAL old[BLOCK];
    BITS unsure[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) {
        REAL a = x[i], square = a * a;
        old[i] = a;
        x[i] = square;
        unsure[i] = SURE_SQUARE(a, square) ? none : one;
    }
    for (size_t from = 0; from < BLOCK; from += MG_CHUNK) {
        BITS any = 0;
        for (size_t i = from; i < from + MG_CHUNK; i++) {
            any |= unsure[i];
        }
        for (size_t i = from; any && i < from + MG_CHUNK; i++) {
            if (unsure[i]) {
                x[i] = POW(old[i], 2);
            }
        }
    }
}

FOR_ROW static void NAME(squares)(size_t n, void *x_) {
    REAL *x = x_, rest[BLOCK] = {0};
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        NAME(square_block)(x + i);
    }
    if (i < n) {
        memcpy(rest, x + i, (n - i) * sizeof *x);
        NAME(square_block)(rest);
        memcpy(x + i, rest, (n - i) * sizeof *x);
    }
}

/* ---- adam ------------------------------------------------------------------------------------------------------- */

/* The step's numbers as REAL. */
typedef struct {
    REAL learning_rate, beta1, rest1, beta2, rest2, correction1, correction2, epsilon;
} NAME(adam_numbers);

/* BLOCK parameters, see adam.c for what is computed. First as if no square and no root needed pow; then again where one
   does, which is rare. In two loops, so that the divisions and roots of several vectors overlap. */
FOR_ROW static void NAME(adam_block)(REAL *restrict data, REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                                     const NAME(adam_numbers) *numbers) {
    const NAME(adam_numbers) by = *numbers;
#if EXACT
    const BITS none = 0, square_bit = 1, root_bit = 2;
    REAL old_data[BLOCK], old_v[BLOCK], m_hat[BLOCK], v_hat[BLOCK];
    BITS unsure[BLOCK];
    uint8_t byte[BLOCK]; /* the same, in less room */
    for (size_t i = 0; i < BLOCK; i++) {
        REAL g = grad[i], square = g * g;
        m[i] = by.beta1 * m[i] + by.rest1 * g;
        old_v[i] = v[i];
        v[i] = by.beta2 * v[i] + by.rest2 * square;
        unsure[i] = SURE_SQUARE(g, square) ? none : square_bit;
        m_hat[i] = m[i] / by.correction1;
        v_hat[i] = v[i] / by.correction2;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        REAL root = SQRT(v_hat[i]);
        old_data[i] = data[i];
        data[i] -= by.learning_rate * m_hat[i] / (root + by.epsilon);
        unsure[i] |= SURE_ROOT(v_hat[i], root) ? none : root_bit;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        byte[i] = (uint8_t)unsure[i];
    }
    for (size_t from = 0; from < BLOCK; from += 8) {
        uint64_t bytes;
        memcpy(&bytes, byte + from, sizeof bytes);
        while (bytes != 0) {
            const size_t at = (size_t)__builtin_ctzll(bytes) / 8, i = from + at;
            bool sure = false;
            REAL root = 0;
            bytes &= ~((uint64_t)0xff << 8 * at);
            if (byte[i] & square_bit) {
                v[i] = by.beta2 * old_v[i] + by.rest2 * POW(grad[i], 2);
                v_hat[i] = v[i] / by.correction2;
                root = SQRT(v_hat[i]);
                sure = SURE_ROOT(v_hat[i], root);
            }
            root = sure ? root : POW(v_hat[i], (REAL)0.5);
            data[i] = old_data[i] - by.learning_rate * m_hat[i] / (root + by.epsilon);
        }
    }
    for (size_t i = 0; i < BLOCK; i++) {
        grad[i] = 0;
    }
#else
    const REAL inverse1 = 1 / by.correction1, inverse2 = 1 / by.correction2;
    for (size_t i = 0; i < BLOCK; i++) {
        REAL first = by.beta1 * m[i] + by.rest1 * grad[i], second = by.beta2 * v[i] + by.rest2 * grad[i] * grad[i];
        m[i] = fabsf(first) > FADED ? first : 0; /* numbers below the normal ones are slow */
        v[i] = second > FADED ? second : 0;
        data[i] -= by.learning_rate * (m[i] * inverse1) / (SQRT(v[i] * inverse2) + by.epsilon);
        grad[i] = 0;
    }
#endif
}

FOR_ROW static void NAME(adam)(size_t n, void *data_, void *grad_, void *m_, void *v_, const mg_adam_step *step) {
    REAL *data = data_, *grad = grad_, *m = m_, *v = v_, rest[4][BLOCK] = {{0}};
    const NAME(adam_numbers) numbers = {
        (REAL)step->learning_rate, (REAL)step->beta1,       (REAL)(1 - step->beta1),  (REAL)step->beta2,
        (REAL)(1 - step->beta2),   (REAL)step->correction1, (REAL)step->correction2, (REAL)step->epsilon,
    };
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        NAME(adam_block)(data + i, grad + i, m + i, v + i, &numbers);
    }
    if (i < n) {
        REAL *arrays[4] = {data + i, grad + i, m + i, v + i};
        for (int a = 0; a < 4; a++) {
            memcpy(rest[a], arrays[a], (n - i) * sizeof(REAL));
        }
        NAME(adam_block)(rest[0], rest[1], rest[2], rest[3], &numbers);
        for (int a = 0; a < 4; a++) {
            memcpy(arrays[a], rest[a], (n - i) * sizeof(REAL));
        }
    }
}

/* Compared as integers: the order of positive floats is that of their bits, and an integer maximum runs in vectors. */
FOR_ROW static double NAME(largest)(size_t n, const void *x_) {
    const REAL *x = x_;
    const BITS infinity = EXACT ? (BITS)0x7ff0000000000000 : (BITS)0x7f800000;
    BITS largest = 0;
    for (size_t i = 0; i < n; i++) {
        BITS bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= EXACT ? (BITS)0x7fffffffffffffff : (BITS)0x7fffffff;
        bits = bits < infinity ? bits : 0;
        largest = bits > largest ? bits : largest;
    }
    REAL size;
    memcpy(&size, &largest, sizeof size);
    return (double)size;
}

/* ---- gradients of several documents ----------------------------------------------------------------------------- */

/* sum += grad; grad = 0 */
FOR_ROW static void NAME(add_gradients)(size_t n, void *grad_, void *sum_) {
    REAL *restrict grad = grad_, *restrict sum = sum_;
    for (size_t i = 0; i < n; i++) {
        sum[i] += grad[i];
        grad[i] = 0;
    }
}

/* grad = sum * share; sum = 0 */
FOR_ROW static void NAME(mean_gradients)(size_t n, void *grad_, void *sum_, double share) {
    REAL *restrict grad = grad_, *restrict sum = sum_;
    for (size_t i = 0; i < n; i++) {
        grad[i] = sum[i] * (REAL)share;
        sum[i] = 0;
    }
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* Are n numbers, a whole number of chunks, all finite? */
FOR_ROW static bool NAME(all_finite)(size_t n, const REAL *x) {
    VECTOR sum[8] = {{0}};
    size_t i = 0;
    for (; i + 8 * WIDTH <= n; i += 8 * WIDTH) {
        for (size_t v = 0; v < 8; v++) {
            sum[v] += LOAD(x + i + v * WIDTH) * 0; /* NaN for an infinity or a NaN */
        }
    }
    for (; i < n; i += WIDTH) {
        sum[0] += LOAD(x + i) * 0;
    }
    REAL total = 0;
    for (size_t t = 0; t < 8 * WIDTH; t++) {
        total += sum[t / WIDTH][t % WIDTH];
    }
    return total == 0;
}

/* Where a row of storage is; NULL where there is none. */
FOR_ROW static inline const REAL *NAME(rows_at)(const void *numbers, size_t row, size_t padded) {
    return row == MG_NO_ROW ? NULL : (const REAL *)numbers + row * padded;
}

/* a + b, where either may be gathered leaves */
FOR_ROW static void NAME(add)(const mg_replay *replay, const mg_batch *batch, REAL *out) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, n = batch->lanes * padded;
    const REAL *leaf = replay->leaf_value;
    memset(out, 0, n * sizeof *out);
    for (size_t o = 0; o < 2; o++) { /* a is copied, as 0 + a would lose the sign of a zero; b is added */
        const REAL *x = NAME(rows_at)(replay->value, batch->operand[o], padded);
        if (x != NULL && o == 0) {
            memcpy(out, x, n * sizeof *out);
        }
        for (size_t i = 0; x != NULL && o == 1 && i < n; i += WIDTH) {
            STORE(out + i, LOAD(out + i) + LOAD(x + i));
        }
        for (size_t t = 0; x == NULL && t < batches->positions; t++) {
            const REAL *gathered = leaf + (batches->gathered[o * batches->positions + t] - replay->lowest);
            for (size_t c = 0; c < batch->lanes; c++) {
                out[c * padded + t] = o == 0 ? gathered[c] : out[c * padded + t] + gathered[c];
            }
        }
    }
}

/* (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5, and its derivative in `kept` */
FOR_ROW static void NAME(rms)(const mg_batches *batches, const mg_batch *batch, const REAL *x, REAL *out, REAL *kept) {
    const size_t padded = batches->padded;
    for (size_t t = 0; t < padded; t += WIDTH) {
        VECTOR sum = {0};
        for (size_t c = 0; c < batch->terms; c++) {
            sum += LOAD(x + c * padded + t) * LOAD(x + c * padded + t);
        }
        STORE(out + t, sum * (REAL)batch->constant + (REAL)1e-5);
    }
    NAME(inverse_roots)(padded, batches->positions, out, kept);
    for (size_t t = 0; t < padded; t += WIDTH) {
        STORE(kept + t, LOAD(kept + t) * (REAL)-0.5);
    }
}

/* max(0, x), and its square where the statement has one; false where that overflows, which is an error in Python */
FOR_ROW static bool NAME(relu)(size_t n, bool squared, const REAL *x, REAL *out) {
    for (size_t i = 0; i < n; i += WIDTH) {
        VECTOR a = LOAD(x + i);
        STORE(out + i, (VECTOR)((NAME(bits))a & (a > 0)));
    }
    if (squared) {
        NAME(squares)(n, out);
    }
    return !squared || NAME(all_finite)(n, out);
}

/* exp(x - largest) at positions from .. to - 1; 0 at the others */
FOR_ROW static void NAME(exp_row)(size_t padded, size_t from, size_t to, const REAL *x, const REAL *largest,
                                  REAL *out) {
#if EXACT
    memset(out, 0, padded * sizeof *out);
    for (size_t t = from; t < to; t++) {
        out[t] = EXP(x[t] + -largest[t]);
    }
#else
    /* 2 ** n * exp(r), |r| <= log(2) / 2, and the first terms of the series of exp(r): within 2e-7 of the true value */
    for (size_t t = 0; t < padded; t++) {
        REAL a = x[t] - largest[t];
        a = a < -87 ? -87 : a; /* keeps a NaN */
        REAL n = a * 0x1.715476p+0f + 0x1.8p23f; /* rounded to an integer, in the last bits */
        BITS power;
        memcpy(&power, &n, sizeof power);
        n -= 0x1.8p23f;
        REAL r = (a - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
        REAL e = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f))))));
        power = (BITS)((uint32_t)power << 23) + 0x3f800000;
        REAL scale;
        memcpy(&scale, &power, sizeof scale);
        out[t] = (t >= from) & (t < to) ? e * scale : 0;
    }
#endif
}

/* exp(x - largest), where largest is of the group; 0 where a position has no such lane */
FOR_ROW static void NAME(exponentials)(const mg_batches *batches, const mg_batch *batch, const REAL *x, REAL *out,
                                       REAL *largest) {
    const size_t padded = batches->padded, positions = batches->positions;
    for (size_t g = 0; g < batch->lanes; g += batch->group, x += batch->group * padded, out += batch->group * padded) {
        memcpy(largest, x, padded * sizeof *largest);
        for (size_t u = 1; u < batch->group; u++) {
            for (size_t t = batch->causal ? u / MG_CHUNK * MG_CHUNK : 0; t < padded; t++) {
                REAL a = x[u * padded + t];
                largest[t] = (a > largest[t]) & (!batch->causal | (t >= u)) ? a : largest[t];
            }
        }
        for (size_t u = 0; u < batch->group; u++) {
            NAME(exp_row)(padded, batch->causal ? u : 0, positions, x + u * padded, largest, out + u * padded);
        }
    }
}

/* sum of each group */
FOR_ROW static void NAME(totals)(size_t padded, const mg_batch *batch, const REAL *e, REAL *out) {
    for (size_t g = 0; g < batch->lanes; g++) {
        for (size_t t = 0; t < padded; t += WIDTH) {
            VECTOR sum = {0};
            for (size_t u = 0; u < batch->group; u++) {
                sum += LOAD(e + (g * batch->group + u) * padded + t);
            }
            STORE(out + g * padded + t, sum);
        }
    }
}

/* e / total, which is e * total ** -1; a group keeps total ** -1 and -1 * total ** -2 */
FOR_ROW static void NAME(quotients)(const mg_batches *batches, const mg_batch *batch, const REAL *e, const REAL *total,
                                    REAL *out, REAL *kept) {
    const size_t padded = batches->padded;
    for (size_t u = 0; u < batch->lanes; u++) {
        if (u % batch->group == 0) {
            kept += u == 0 ? 0 : 2 * padded;
            NAME(inverses)(padded, batches->positions, total, kept, kept + padded);
            for (size_t t = padded; t < 2 * padded; t += WIDTH) {
                STORE(kept + t, LOAD(kept + t) * -1);
            }
            total += padded;
        }
        for (size_t t = 0; t < padded; t += WIDTH) {
            STORE(out + u * padded + t, LOAD(e + u * padded + t) * LOAD(kept + t));
        }
    }
}

/* Computes all batches. False when that left ordinary numbers, where the plain replay knows what Python does. */
FOR_ROW static bool NAME(forward)(const mg_replay *replay) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, positions = batches->positions;
    REAL *value = replay->value;
    for (size_t k = 0; k < batches->count; k++) {
        const mg_batch *batch = &batches->batch[k];
        const size_t n = batch->lanes * padded;
        REAL *out = value + batch->first * padded, *kept = value + batch->kept * padded;
        const REAL *x = NAME(rows_at)(value, batch->operand[0], padded);
        const REAL *y = NAME(rows_at)(value, batch->operand[1], padded);
        switch (batch->operation) {
        case MG_SPAN_ADD: NAME(add)(replay, batch, out); break;
        case MG_SPAN_SCALE:
            for (size_t i = 0; i < n; i += WIDTH) {
                STORE(out + i, LOAD(x + i) * LOAD(y + i % padded));
            }
            break;
        case MG_SPAN_SCALE_BY:
            for (size_t i = 0; i < n; i += WIDTH) {
                STORE(out + i, LOAD(x + i) * (REAL)batch->constant);
            }
            break;
        case MG_SPAN_RMS: NAME(rms)(batches, batch, x, out, kept); break;
        case MG_SPAN_RELU:
        case MG_SPAN_RELU_SQUARE:
            if (!NAME(relu)(n, batch->operation == MG_SPAN_RELU_SQUARE, x, out)) {
                return false;
            }
            break;
        case MG_SPAN_LINEAR: {
            const REAL *w = (const REAL *)replay->leaf_value + (batch->weights - replay->lowest);
            const NAME(sum) sum = {w, (ptrdiff_t)batch->terms, 1, x, (ptrdiff_t)padded, batch->terms};
            memset(out, 0, n * sizeof *out);
            NAME(products)(batch->lanes, padded, &sum, 1, out, padded);
            break;
        }
        case MG_SPAN_LOGIT: /* q[j] * k[u][j] */
            memset(out, 0, n * sizeof *out);
            for (size_t h = 0; h < batch->lanes / positions; h++) {
                const size_t head = h * batch->terms * padded;
                const NAME(sum) sum = {y + head, 1, (ptrdiff_t)padded, x + head, (ptrdiff_t)padded, batch->terms};
                NAME(products)(positions, padded, &sum, 1, out + h * positions * padded, padded);
            }
            for (size_t i = 0; i < n; i += WIDTH) {
                STORE(out + i, LOAD(out + i) * (REAL)batch->constant);
            }
            break;
        case MG_SPAN_EXP: NAME(exponentials)(batches, batch, x, out, replay->scratch); break;
        case MG_SPAN_TOTAL: NAME(totals)(padded, batch, x, out); break;
        case MG_SPAN_QUOTIENT: NAME(quotients)(batches, batch, x, y, out, kept); break;
        case MG_SPAN_MIX: /* weight[u] * v[u][j] */
            memset(out, 0, n * sizeof *out);
            for (size_t h = 0; h < batch->lanes / batch->group; h++) {
                const size_t head = h * batch->group * padded;
                const NAME(sum) sum = {y + head, (ptrdiff_t)padded, 1, x + h * positions * padded, (ptrdiff_t)padded,
                                       positions};
                NAME(products)(batch->group, padded, &sum, 1, out + head, padded);
            }
            break;
        case MG_SPAN_SURPRISAL:
            memset(out, 0, padded * sizeof *out);
            memset(kept, 0, padded * sizeof *kept);
            for (size_t t = 0; t < positions; t++) {
                REAL p = x[batches->chosen[t] * padded + t];
                if (!(p > 0)) {
                    if (EXACT || !(p == 0)) {
                        return false;
                    }
                    p = (REAL)1e-30; /* float's exp gives 0 where double's does not */
                }
                out[t] = LOG(p) * -1;
                kept[t] = 1 / p;
            }
            break;
        default: { /* MG_SPAN_MEAN */
            REAL sum = 0;
            for (size_t t = 0; t < positions; t++) {
                sum += x[t];
            }
            memset(out, 0, padded * sizeof *out);
            out[0] = sum * (REAL)batch->constant;
        }
        }
    }
    /* An infinity or a NaN comes out at the loss, or in an adjoint. */
    return isfinite(value[batches->batch[batches->count - 1].first * padded]);
}

/* ---- reverse ---------------------------------------------------------------------------------------------------- */

#define AT_ONCE 16

/* The rows of one position, in its own order: lanes side by side instead of positions. */
FOR_ROW static void NAME(exceptional_rows)(const mg_replay *replay, const mg_exception *exception, REAL *x_adjoint) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded;
    for (size_t r = exception->from; r < exception->to; r++) {
        const mg_rows *run = &batches->run[r];
        const mg_batch *batch = &batches->batch[run->batch];
        const REAL *w = (const REAL *)replay->leaf_value + (batch->weights - replay->lowest);
        const REAL *g = (const REAL *)replay->adjoint + (batch->first + run->row) * padded + exception->position;
        const ptrdiff_t columns = (ptrdiff_t)batch->terms;
        const NAME(sum) sum = {g, 0, -(ptrdiff_t)padded, w + (ptrdiff_t)run->row * columns, -columns, run->count};
        NAME(products)(1, batch->terms, &sum, 1, x_adjoint, 0);
    }
}

/* x[c] += w[i][c] * g[i], row after row in the fan's order */
FOR_ROW static void NAME(fan)(const mg_replay *replay, size_t f) {
    const mg_batches *batches = replay->batches;
    const mg_fan *fan = &batches->fan[f];
    const size_t padded = batches->padded;
    REAL *adjoint = replay->adjoint, *x = adjoint + fan->x * padded, *saved = replay->scratch;
    const REAL *leaf = replay->leaf_value;
    const mg_batch *last = &batches->batch[fan->lowest];
    REAL *g_last = adjoint + last->first * padded;
    const REAL *w_last = leaf + (last->weights - replay->lowest);
    size_t exceptions = 0;
    for (size_t e = 0; e < batches->exception_count; e++) {
        if (batches->exception[e].fan == f) {
            for (size_t c = 0; c < fan->columns; c++) {
                saved[exceptions * fan->columns + c] = x[c * padded + batches->exception[e].position];
            }
            exceptions++;
        }
    }
    for (size_t t = 0; fan->chosen && t < batches->positions; t++) { /* a row of zeros adds nothing */
        saved[t] = g_last[batches->chosen[t] * padded + t];
        g_last[batches->chosen[t] * padded + t] = 0;
    }
    for (size_t from = fan->from; from < fan->to; from += AT_ONCE) {
        NAME(sum) sums[AT_ONCE];
        size_t count = fan->to - from < AT_ONCE ? fan->to - from : AT_ONCE;
        for (size_t r = 0; r < count; r++) {
            const mg_rows *run = &batches->run[from + r];
            const mg_batch *batch = &batches->batch[run->batch];
            const REAL *w = leaf + (batch->weights - replay->lowest) + run->row * batch->terms;
            sums[r] = (NAME(sum)){w, 1, -(ptrdiff_t)batch->terms, adjoint + (batch->first + run->row) * padded,
                                  -(ptrdiff_t)padded, run->count};
        }
        NAME(products)(fan->columns, padded, sums, count, x, padded);
    }
    for (size_t t = 0; fan->chosen && t < batches->positions; t++) {
        g_last[batches->chosen[t] * padded + t] = saved[t];
        const REAL *w = w_last + batches->chosen[t] * fan->columns;
        for (size_t c = 0; c < fan->columns; c++) {
            x[c * padded + t] += w[c] * saved[t];
        }
    }
    exceptions = 0;
    for (size_t e = 0; e < batches->exception_count; e++) {
        if (batches->exception[e].fan == f) {
            REAL *column = saved + exceptions++ * fan->columns;
            NAME(exceptional_rows)(replay, &batches->exception[e], column);
            for (size_t c = 0; c < fan->columns; c++) {
                x[c * padded + batches->exception[e].position] = column[c];
            }
        }
    }
}

/* out[t][u] = x[u][t], positions by positions */
FOR_ROW static void NAME(transpose)(const mg_batches *batches, const REAL *x, REAL *out) {
    const size_t padded = batches->padded, positions = batches->positions;
    for (size_t t = 0; t < positions; t++) {
        for (size_t u = 0; u < positions; u++) {
            out[t * padded + u] = x[u * padded + t];
        }
    }
}

/* logit: q[j] gets k[u][j] * g[u], u down; k[u][j] gets q[j] * g[u], positions down */
FOR_ROW static void NAME(logit_reverse)(const mg_replay *replay, const mg_batch *batch) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, positions = batches->positions, size = positions * padded;
    const ptrdiff_t row = (ptrdiff_t)padded;
    const REAL *value = replay->value;
    REAL *adjoint = replay->adjoint, *g = replay->scratch, *turned = g + batches->padded * padded;
    memset(turned, 0, size * sizeof *turned);
    for (size_t h = 0; h < batch->lanes / positions; h++) {
        const size_t q = (batch->operand[0] + h * batch->terms) * padded;
        const size_t key = (batch->operand[1] + h * batch->terms) * padded;
        const REAL *out = adjoint + (batch->first + h * positions) * padded;
        for (size_t i = 0; i < size; i += WIDTH) {
            STORE(g + i, LOAD(out + i) * (REAL)batch->constant);
        }
        NAME(transpose)(batches, g, turned);
        const NAME(sum) to_q = {value + key + positions - 1, row, -1, g + size - padded, -row, positions};
        NAME(products)(batch->terms, padded, &to_q, 1, adjoint + q, padded);
        const NAME(sum) to_key = {value + q + positions - 1, row, -1, turned + size - padded, -row, positions};
        NAME(products)(batch->terms, padded, &to_key, 1, adjoint + key, padded);
    }
}

/* mix: weight[u] gets v[u][j] * g[j], j down; v[u][j] gets weight[u] * g[j], positions down */
FOR_ROW static void NAME(mix_reverse)(const mg_replay *replay, const mg_batch *batch) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, positions = batches->positions, size = positions * padded;
    const ptrdiff_t row = (ptrdiff_t)padded;
    const REAL *value = replay->value;
    REAL *adjoint = replay->adjoint, *turned = replay->scratch;
    memset(turned, 0, size * sizeof *turned);
    for (size_t h = 0; h < batch->lanes / batch->group; h++) {
        const size_t weight = (batch->operand[0] + h * positions) * padded;
        const size_t v = (batch->operand[1] + h * batch->group) * padded, last = (batch->group - 1) * padded;
        const REAL *g = adjoint + (batch->first + h * batch->group) * padded;
        const NAME(sum) to_weight = {value + v + last, 1, -row, g + last, -row, batch->group};
        NAME(products)(positions, padded, &to_weight, 1, adjoint + weight, padded);
        NAME(transpose)(batches, value + weight, turned);
        const NAME(sum) to_v = {g + positions - 1, row, -1, turned + size - padded, -row, positions};
        NAME(products)(batch->group, padded, &to_v, 1, adjoint + v, padded);
    }
}

/* x gets e * (the quotient's partials * g): the three statements of a softmax, one after the other */
FOR_ROW static void NAME(quotient_reverse)(size_t padded, const mg_batch *batch, const REAL *e, const REAL *g,
                                           const REAL *kept, REAL *e_adjoint, REAL *total_adjoint) {
    for (size_t u = batch->lanes; u-- > 0;) {
        const REAL *inverse = kept + u / batch->group * 2 * padded, *lower = inverse + padded;
        REAL *total = total_adjoint + u / batch->group * padded;
        for (size_t t = 0; t < padded; t += WIDTH) {
            VECTOR above = LOAD(g + u * padded + t);
            STORE(e_adjoint + u * padded + t, LOAD(e_adjoint + u * padded + t) + LOAD(inverse + t) * above);
            STORE(total + t, LOAD(total + t) + LOAD(lower + t) * (LOAD(e + u * padded + t) * above));
        }
    }
}

/* rms: x[c] gets the product twice, as x * x has x twice */
FOR_ROW static void NAME(rms_reverse)(size_t padded, const mg_batch *batch, const REAL *x, const REAL *g,
                                      const REAL *kept, REAL *x_adjoint) {
    for (size_t t = 0; t < padded; t += WIDTH) {
        VECTOR sum = (LOAD(kept + t) * LOAD(g + t)) * (REAL)batch->constant;
        for (size_t c = 0; c < batch->terms; c++) {
            VECTOR product = LOAD(x + c * padded + t) * sum;
            STORE(x_adjoint + c * padded + t, LOAD(x_adjoint + c * padded + t) + product + product);
        }
    }
}

/* scale: x[c] gets s * g[c], s gets x[c] * g[c], c down */
FOR_ROW static void NAME(scale_reverse)(size_t padded, size_t lanes, const REAL *x, const REAL *s, const REAL *g,
                                        REAL *x_adjoint, REAL *s_adjoint) {
    for (size_t t = 0; t < padded; t += WIDTH) {
        VECTOR sum = LOAD(s_adjoint + t), by = LOAD(s + t);
        for (size_t c = lanes; c-- > 0;) {
            VECTOR above = LOAD(g + c * padded + t);
            STORE(x_adjoint + c * padded + t, LOAD(x_adjoint + c * padded + t) + by * above);
            sum += LOAD(x + c * padded + t) * above;
        }
        STORE(s_adjoint + t, sum);
    }
}

/* relu: x gets 1.0 * g or 0.0 * g; its square before that (2 * r) * g */
FOR_ROW static void NAME(relu_reverse)(size_t n, bool squared, const REAL *x, const REAL *g, REAL *x_adjoint) {
    const VECTOR one = (VECTOR){0} + 1;
    for (size_t i = 0; i < n; i += WIDTH) {
        NAME(bits) positive = LOAD(x + i) > 0;
        VECTOR r = (VECTOR)((NAME(bits))LOAD(x + i) & positive), mask = (VECTOR)((NAME(bits))one & positive);
        VECTOR above = LOAD(g + i);
        if (squared) {
            above = (r * 2) * above;
        }
        STORE(x_adjoint + i, LOAD(x_adjoint + i) + mask * above);
    }
}

/* The weights of a linear get x[c] * g[i], and leaves of the embedding g, positions down. */
FOR_ROW static void NAME(leaves)(const mg_replay *replay) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, positions = batches->positions;
    const REAL *value = replay->value, *adjoint = replay->adjoint;
    REAL *leaf = replay->leaf_adjoint, *turned = replay->scratch;
    size_t of_fan = MG_NO_ROW;
    for (size_t k = batches->count; k-- > 0;) {
        const mg_batch *batch = &batches->batch[k];
        if (batch->operation == MG_SPAN_LINEAR) {
            const size_t columns = batch->terms, wide = (columns + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK;
            const REAL *x = value + batch->operand[0] * padded;
            for (size_t t = 0; batch->fan != of_fan && t < positions; t++) {
                for (size_t c = 0; c < columns; c++) {
                    turned[t * wide + c] = x[c * padded + t];
                }
            }
            of_fan = batch->fan;
            const NAME(sum) sum = {adjoint + batch->first * padded + positions - 1, (ptrdiff_t)padded, -1,
                                   turned + (positions - 1) * wide, -(ptrdiff_t)wide, positions};
            NAME(products)(batch->lanes, columns, &sum, 1, leaf + (batch->weights - replay->lowest), columns);
        }
    }
    if (batches->embedding != MG_NO_ROW) {
        const mg_batch *batch = &batches->batch[batches->embedding];
        const REAL *g = adjoint + batch->first * padded;
        for (size_t t = positions; t-- > 0;) {
            for (size_t o = 0; o < 2; o++) {
                REAL *row = leaf + (batches->gathered[o * positions + t] - replay->lowest);
                for (size_t c = 0; batch->operand[o] == MG_NO_ROW && c < batch->lanes; c++) {
                    row[c] += g[c * padded + t];
                }
            }
        }
    }
}

/* Seeds the result and goes down all batches, then adds to the leaves. False, with no leaf changed, when an adjoint is
   not finite: a 0 that stands for a lane that is not there would then count. */
FOR_ROW static bool NAME(reverse)(const mg_replay *replay) {
    const mg_batches *batches = replay->batches;
    const size_t padded = batches->padded, positions = batches->positions;
    const REAL *value = replay->value;
    REAL *adjoint = replay->adjoint;
    memset(adjoint, 0, batches->rows * padded * sizeof *adjoint);
    adjoint[batches->batch[batches->count - 1].first * padded] = 1;
    for (size_t k = batches->count; k-- > 0;) {
        const mg_batch *batch = &batches->batch[k];
        const size_t n = batch->lanes * padded;
        const REAL *g = adjoint + batch->first * padded, *kept = value + batch->kept * padded;
        const REAL *x = NAME(rows_at)(value, batch->operand[0], padded);
        const REAL *y = NAME(rows_at)(value, batch->operand[1], padded);
        REAL *to_x = (REAL *)NAME(rows_at)(adjoint, batch->operand[0], padded);
        REAL *to_y = (REAL *)NAME(rows_at)(adjoint, batch->operand[1], padded);
        switch (batch->operation) {
        case MG_SPAN_ADD:
            for (size_t i = 0; to_x != NULL && i < n; i += WIDTH) {
                STORE(to_x + i, LOAD(to_x + i) + LOAD(g + i));
            }
            for (size_t i = 0; to_y != NULL && i < n; i += WIDTH) {
                STORE(to_y + i, LOAD(to_y + i) + LOAD(g + i));
            }
            break;
        case MG_SPAN_SCALE: NAME(scale_reverse)(padded, batch->lanes, x, y, g, to_x, to_y); break;
        case MG_SPAN_SCALE_BY:
            for (size_t i = 0; i < n; i += WIDTH) {
                STORE(to_x + i, LOAD(to_x + i) + LOAD(g + i) * (REAL)batch->constant);
            }
            break;
        case MG_SPAN_RMS: NAME(rms_reverse)(padded, batch, x, g, kept, to_x); break;
        case MG_SPAN_RELU:
        case MG_SPAN_RELU_SQUARE:
            NAME(relu_reverse)(n, batch->operation == MG_SPAN_RELU_SQUARE, x, g, to_x);
            break;
        case MG_SPAN_LINEAR:
            if (batches->fan[batch->fan].lowest == k) {
                NAME(fan)(replay, batch->fan);
            }
            break;
        case MG_SPAN_LOGIT: NAME(logit_reverse)(replay, batch); break;
        case MG_SPAN_EXP:
            for (size_t i = 0; i < n; i += WIDTH) {
                STORE(to_x + i, LOAD(to_x + i) + LOAD(value + batch->first * padded + i) * LOAD(g + i));
            }
            break;
        case MG_SPAN_TOTAL:
            for (size_t u = 0; u < batch->lanes * batch->group; u++) {
                for (size_t t = 0; t < padded; t += WIDTH) {
                    STORE(to_x + u * padded + t,
                          LOAD(to_x + u * padded + t) + LOAD(g + u / batch->group * padded + t));
                }
            }
            break;
        case MG_SPAN_QUOTIENT: NAME(quotient_reverse)(padded, batch, x, g, kept, to_x, to_y); break;
        case MG_SPAN_MIX: NAME(mix_reverse)(replay, batch); break;
        case MG_SPAN_SURPRISAL:
            for (size_t t = 0; t < positions; t++) {
                to_x[batches->chosen[t] * padded + t] += kept[t] * (-1 * g[t]);
            }
            break;
        default: /* MG_SPAN_MEAN */
            for (size_t t = 0; t < positions; t++) {
                to_x[t] += (REAL)batch->constant * g[0];
            }
        }
    }
    if (!NAME(all_finite)(batches->rows * padded, adjoint)) {
        return false;
    }
    NAME(leaves)(replay);
    return true;
}

static const mg_kernels NAME(row) = {
    .name = TEXT(ROW),
    .size = sizeof(REAL),
    .adam = NAME(adam),
    .largest = NAME(largest),
    .squares = NAME(squares),
    .add_gradients = NAME(add_gradients),
    .mean_gradients = NAME(mean_gradients),
    .forward = NAME(forward),
    .reverse = NAME(reverse),
};

#undef VECTORS
#undef BLOCK
#undef SURE_SQUARE
#undef SURE_ROOT
#undef VECTOR
#undef LOAD
#undef STORE
#undef AT_ONCE
#undef JOIN_
#undef JOIN
#undef TEXT_
#undef TEXT
#undef NAME
#undef ROW
#undef WIDTH
#undef FOR_ROW
