/* row_optimizer.h: the optimizers' steps on parameters in a row, and the sums of several documents' gradients. A part of
 * row.h.
 */

/* The step's numbers as REAL. */
typedef struct {
    REAL learning_rate, beta1, rest1, beta2, rest2, correction1, correction2, epsilon;
} NAME(adam_numbers);

#if EXACT
/* beta * x, of a number x below the normal ones, in the same units of 2^-1074, in which it is a whole number: rounded
   once, to a whole number, as the product is. No operand and no result is below the normal ones, which some processors
   take a hundred times as long for. */
FOR_ROW static inline __attribute__((always_inline)) BITS NAME(decayed)(REAL beta, BITS units) {
    const BITS bits = 0x4330000000000000 | units; /* 2^52 + units */
    REAL x;
    memcpy(&x, &bits, sizeof x);
    x = __builtin_fma(beta, x - 0x1p52, 0x1p52);
    BITS product;
    memcpy(&product, &x, sizeof product);
    return product - 0x4330000000000000;
}

/* Whether any of BLOCK numbers of `x` or of `y` is below the normal ones, and not 0. */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(any_faded)(const REAL *restrict x, const REAL *restrict y) {
    typedef uint64_t __attribute__((may_alias)) bits_in_place;
    const bits_in_place *a = (const bits_in_place *)x, *b = (const bits_in_place *)y;
    BITS least = INT64_MAX;
    for (size_t i = 0; i < BLOCK; i++) { /* without its sign, less 1, in the order of unsigned numbers: 0 is the largest */
        const BITS first = (BITS)((a[i] << 1) + INT64_MAX), second = (BITS)((b[i] << 1) + INT64_MAX);
        const BITS less = first < second ? first : second;
        least = less < least ? less : least;
    }
    return least < INT64_MIN + 0x001fffffffffffff;
}

/* A parameter that gets no gradient any more has moments that fade, and then stay below the normal numbers for ever. Where
   BLOCK parameters have such moments and a gradient of 0, replaces them by 0 and sets `m_later` and `v_later` to the bits
   that they will have after the step, and to 0 elsewhere; false where there are none. The parameters themselves get the
   same bits: with numbers as checked here, what such an m takes from a parameter is below 2^-500 and moves none of 2^-400
   or more, and the root of such a v is below 2^-480 and moves no epsilon. */
FOR_ROW static __attribute__((noinline)) bool NAME(set_faded_aside)(const REAL *restrict data, const REAL *restrict grad,
                                                                    REAL *restrict m, REAL *restrict v,
                                                                    const NAME(adam_numbers) *by,
                                                                    BITS *restrict m_later, BITS *restrict v_later) {
    const BITS sign = INT64_MIN, first_normal = 0x0010000000000000, none = 0;
    BITS g[BLOCK], first[BLOCK], second[BLOCK], parameter[BLOCK];
    if (!(by->beta1 >= 0 && by->beta1 < 1 && by->beta2 >= 0 && by->beta2 < 1 && by->learning_rate >= 0 &&
          by->learning_rate <= 0x1p60 && by->correction1 >= 0x1p-60 && by->correction2 >= 0x1p-60 &&
          by->epsilon >= 0x1p-400)) {
        return false;
    }
    memcpy(g, grad, sizeof g);
    memcpy(first, m, sizeof first);
    memcpy(second, v, sizeof second);
    memcpy(parameter, data, sizeof parameter);
    for (size_t i = 0; i < BLOCK; i++) {
        const BITS size = first[i] & ~sign, least = 0x26f0000000000000; /* 2^-400 */
        const bool m_fades = (g[i] == 0) & (size != 0) & (size < first_normal) & ((parameter[i] & ~sign) >= least);
        const bool v_fades = (g[i] == 0) & (second[i] > 0) & (second[i] < first_normal);
        const BITS m_next = NAME(decayed)(by->beta1, m_fades ? size : none);
        m_later[i] = m_next == 0 ? none : m_next | (first[i] & sign); /* a -0 becomes +0, as +0 is added to it */
        v_later[i] = NAME(decayed)(by->beta2, v_fades ? second[i] : none);
        first[i] = m_fades ? none : first[i];
        second[i] = v_fades ? none : second[i];
    }
    memcpy(m, first, sizeof first);
    memcpy(v, second, sizeof second);
    return true;
}

/* What was set aside, in the place of the 0 that the step made of 0. */
FOR_ROW static void NAME(put_back)(REAL *numbers, const BITS *later) {
    BITS bits[BLOCK];
    memcpy(bits, numbers, sizeof bits);
    for (size_t i = 0; i < BLOCK; i++) {
        bits[i] |= later[i];
    }
    memcpy(numbers, bits, sizeof bits);
}
#endif

/* BLOCK parameters, see microgpt.h for what is computed. First as if no square and no root needed pow; then again where one
   does, which is rare. In two loops, so that the divisions and roots of several vectors overlap. */
FOR_ROW static void NAME(adam_block)(REAL *restrict data, REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                                     const NAME(adam_numbers) *numbers) {
    const NAME(adam_numbers) by = *numbers;
#if EXACT
    const BITS none = 0, square_bit = 1, root_bit = 2;
    REAL old_data[BLOCK], old_v[BLOCK], m_hat[BLOCK], v_hat[BLOCK];
    BITS unsure[BLOCK], many = 0;
    uint8_t byte[BLOCK]; /* the same, in less room */
    BITS m_later[BLOCK], v_later[BLOCK];
    const bool fades =
        NAME(any_faded)(m, v) && NAME(set_faded_aside)(data, grad, m, v, numbers, m_later, v_later);
    for (size_t i = 0; i < BLOCK; i++) {
        REAL g = grad[i], square = g * g;
        m[i] = by.beta1 * m[i] + by.rest1 * g;
        old_v[i] = v[i];
        v[i] = by.beta2 * v[i] + by.rest2 * square;
        unsure[i] = SURE_SQUARE(g, square, false) ? none : square_bit;
        m_hat[i] = m[i] / by.correction1;
        v_hat[i] = v[i] / by.correction2;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        REAL root = SQRT(v_hat[i]);
        old_data[i] = data[i];
        data[i] -= by.learning_rate * m_hat[i] / (root + by.epsilon);
        unsure[i] |= SURE_ROOT(v_hat[i], root, false) ? none : root_bit;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        byte[i] = (uint8_t)unsure[i];
        many += unsure[i] != 0;
    }
    for (size_t i = 0; many > BLOCK / 8 && i < BLOCK; i++) { /* small numbers: gradients or moments that fade away */
        unsure[i] = SURE_SQUARE(grad[i], grad[i] * grad[i], true) ? none : square_bit;
        unsure[i] |= SURE_ROOT(v_hat[i], SQRT(v_hat[i]), true) ? none : root_bit;
    }
    for (size_t i = 0; many > BLOCK / 8 && i < BLOCK; i++) {
        byte[i] = (uint8_t)unsure[i];
    }
    for (size_t from = 0; from < BLOCK; from += 8) {
        uint64_t bytes;
        memcpy(&bytes, byte + from, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        bytes = __builtin_bswap64(bytes);
#endif
        while (bytes != 0) {
            const size_t at = (size_t)__builtin_ctzll(bytes) / 8, i = from + at;
            bool sure = false;
            REAL root = 0;
            bytes &= ~((uint64_t)0xff << 8 * at);
            if (byte[i] & square_bit) {
                v[i] = by.beta2 * old_v[i] + by.rest2 * POW(grad[i], 2);
                v_hat[i] = v[i] / by.correction2;
                root = SQRT(v_hat[i]);
                sure = SURE_ROOT(v_hat[i], root, true);
            }
            root = sure ? root : POW(v_hat[i], (REAL)0.5);
            data[i] = old_data[i] - by.learning_rate * m_hat[i] / (root + by.epsilon);
        }
    }
    if (fades) {
        NAME(put_back)(m, m_later);
        NAME(put_back)(v, v_later);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        grad[i] = 0;
    }
#else
    const REAL inverse1 = 1 / by.correction1, inverse2 = 1 / by.correction2;
    for (size_t i = 0; i < BLOCK; i++) {
        m[i] = by.beta1 * m[i] + by.rest1 * grad[i];
        v[i] = by.beta2 * v[i] + by.rest2 * grad[i] * grad[i];
        data[i] -= by.learning_rate * (m[i] * inverse1) / (SQRT(v[i] * inverse2) + by.epsilon);
        grad[i] = 0;
    }
#endif
}

FOR_ROW static void NAME(adam)(size_t n, void *data_, void *grad_, void *m_, void *v_, const mg_step_numbers *step) {
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

/* data -= learning_rate * decay * data */
FOR_ROW static void NAME(decay)(size_t n, void *data_, const mg_step_numbers *step) {
    REAL *data = data_;
    const REAL share = (REAL)step->learning_rate * (REAL)step->decay;
    for (size_t i = 0; i < n; i++) {
        data[i] -= share * data[i];
    }
}

/* m = momentum * m + grad; data -= learning_rate * m; grad = 0 */
FOR_ROW static void NAME(momentum)(size_t n, void *data_, void *grad_, void *m_, const mg_step_numbers *step) {
    REAL *restrict data = data_, *restrict grad = grad_, *restrict m = m_;
    const REAL momentum = (REAL)step->momentum, learning_rate = (REAL)step->learning_rate;
    for (size_t i = 0; i < n; i++) {
        m[i] = momentum * m[i] + grad[i];
        data[i] -= learning_rate * m[i];
        grad[i] = 0;
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

/* x *= share */
FOR_ROW static void NAME(scale)(size_t n, void *x_, double share) {
    REAL *x = x_;
    for (size_t i = 0; i < n; i++) {
        x[i] *= (REAL)share;
    }
}
