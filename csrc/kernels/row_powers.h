/* row_powers.h: powers as Python has them, in vectors: pow is asked only where it might round the other way. A part of
 * row.h; exact.c says how near to a middle that is.
 */

#if EXACT && POW_IS_NEAR
/* The power of two in a positive number; 0 of 0. */
FOR_ROW static inline __attribute__((always_inline)) double NAME(power_of_two)(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Is hi + lo, with hi the nearest float, farther than `margin` units in the last place from the next middle? */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(off_middle)(double hi, double lo, double margin) {
    const double power = NAME(power_of_two)(hi), unit = power * 0x1p-52, middle = fabs(fabs(lo) - 0.5 * unit);
    return (middle > margin * unit) & (hi != power);
}

/* Is hi surely what pow(x, -2) or a power near it gives when the true result is hi + lo, and hi the nearest float? */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(sure)(double x, double hi, double lo) {
    return (x >= 0x1p-50) & (x <= 0x1p50) & NAME(off_middle)(hi, lo, MARGIN);
}

/* x ** -0.5 is the float that this returns, or beside it, and what is left of it: x * y * y is 1 - d, the root y + y * d / 2. */
FOR_ROW static inline __attribute__((always_inline)) double NAME(inverse_root)(double x, double *rest) {
    const double y = 1 / sqrt(x), product = y * y, more = __builtin_fma(y, y, -product);
    const double correction = (__builtin_fma(-x, product, 1) - x * more) * (0.5 * y), root = y + correction;
    *rest = correction - (root - y);
    return root;
}

/* Is y = x * x surely what pow(x, 2) is, which may err within `near` units of a middle? Small results are sure only where
   `wide`, a constant, asks for it: they are scaled, and have the wider margin of their exponent. */
FOR_ROW static inline __attribute__((always_inline)) bool NAME(sure_square)(double x, double y, double near,
                                                                            bool wide) {
    const double scale = wide && y < SMALLEST ? 0x1p450 : 1, a = x * scale, square = y * (scale * scale);
    const double margin = wide && y < SMALLEST ? WIDE : near, least = wide ? 0x1p-1000 : SMALLEST;
    const double power = NAME(power_of_two)(square), limit = (0.5 - margin) * 0x1p-52;
    return ((y >= least) & (y <= LARGEST) & (fabs(__builtin_fma(a, a, -square)) < limit * power) & (square != power)) |
           (x == 0);
}

#define SURE_SQUARE(x, y, near, wide) NAME(sure_square)(x, y, near, wide)
#else /* pow decides always, or never */
#define SURE_SQUARE(x, y, near, wide) ((void)(near), false)
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
            double a = x[from + i], lo, hi = NAME(inverse_root)(a, &lo);
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

#if EXACT
/* Adds the numbers of the lanes whose bits are set, from `first` on, to a list of `count`, and returns how many it then has.
   Most blocks have a few, which nobody can foretell: the first four need no branch. The list has room for four more. */
FOR_ROW static inline __attribute__((always_inline)) size_t NAME(listed)(uint64_t lanes, size_t first, uint16_t *list,
                                                                         size_t count) {
    for (int k = 0; k < 4; k++) {
        list[count] = (uint16_t)(first + (size_t)__builtin_ctzll(lanes | (uint64_t)1 << 63));
        count += lanes != 0;
        lanes &= lanes - 1;
    }
    for (; lanes != 0; lanes &= lanes - 1) {
        list[count++] = (uint16_t)(first + (size_t)__builtin_ctzll(lanes));
    }
    return count;
}

/* square[i] = x[i] ** 2, n of them, at most PART and a multiple of BLOCK. First as if none needed pow; then those that do,
   one after the other, so that the processor overlaps the calls. */
FOR_ROW static void NAME(squares_of)(size_t n, const REAL *restrict x, REAL *restrict square) {
    const double near = margin_to(margins_of_pow(), 100);
    const uint64_t none = 0;
    uint16_t list[PART + 4];
    size_t count = 0;
    for (size_t from = 0; from < n; from += BLOCK) {
        uint64_t unsure = 0;
        for (size_t i = 0; i < BLOCK; i++) {
            const REAL a = x[from + i], y = a * a;
            square[from + i] = y;
            unsure |= SURE_SQUARE(a, y, near, false) ? none : lane_bit[i];
        }
        if (__builtin_popcountll(unsure) > FEW) { /* small numbers: gradients that fade away */
            unsure = 0;
            for (size_t i = 0; i < BLOCK; i++) {
                unsure |= SURE_SQUARE(x[from + i], square[from + i], near, true) ? none : lane_bit[i];
            }
        }
        count = NAME(listed)(unsure, from, list, count);
    }
    for (size_t k = 0; k < count; k++) {
        square[list[k]] = POW(x[list[k]], 2);
    }
}
#endif

/* out[i] = x[i] ** 2, n of them; out may be x. */
FOR_ROW static void NAME(squares)(size_t n, const REAL *x, REAL *out) {
#if EXACT
    REAL old[PART], square[PART];
    for (size_t i = 0; i < n; i += PART) {
        const size_t count = n - i < PART ? n - i : PART, padded = (count + BLOCK - 1) / BLOCK * BLOCK;
        if (out != x && count == padded) {
            NAME(squares_of)(count, x + i, out + i);
            continue;
        }
        memcpy(old, x + i, count * sizeof *x);
        memset(old + count, 0, (padded - count) * sizeof *x);
        NAME(squares_of)(padded, old, square);
        memcpy(out + i, square, count * sizeof *x);
    }
#else
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] * x[i];
    }
#endif
}

/* In place, for tests. */
FOR_ROW static void NAME(squares_in_place)(size_t n, void *x) { NAME(squares)(n, x, x); }
