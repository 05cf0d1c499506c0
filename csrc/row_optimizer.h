/* row_optimizer.h: the optimizers' steps on parameters in a row, and the sums of several documents' gradients. A part of
 * row.h.
 */

/* The step's numbers as REAL. */
typedef struct {
    REAL learning_rate, beta1, rest1, beta2, rest2, correction1, correction2, epsilon;
} NAME(adam_numbers);

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
    for (size_t i = 0; i < BLOCK; i++) {
        grad[i] = 0;
    }
#else
    const REAL inverse1 = 1 / by.correction1, inverse2 = 1 / by.correction2;
    for (size_t i = 0; i < BLOCK; i++) {
        REAL first = by.beta1 * m[i] + by.rest1 * grad[i], second = by.beta2 * v[i] + by.rest2 * grad[i] * grad[i];
        m[i] = fabsf(first) < FADED ? 0 : first; /* numbers below the normal ones are slow; a NaN stays */
        v[i] = second < FADED ? 0 : second;
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
