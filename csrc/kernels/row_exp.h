/* row_exp.h: e ** x of many numbers, in vectors: the C library's exp is asked only where it might round the other way. A
 * part of row.h; exact.c says how near to a middle that is, and has the table.
 */

#if EXACT && POW_IS_NEAR
#ifdef __clang__ /* which would look up a vector of numbers by one instruction, a slow one */
#define ONE_BY_ONE _Pragma("clang loop vectorize(disable)")
#else
#define ONE_BY_ONE
#endif

/* e ** x is 2 ** (n / 64) * e ** r, where n is an integer and |r| <= log(2) / 128, and 2 ** (n / 64) is a power of 2 and a
   number of the table. What a float holds of the result is `high`, and the rest is known to within 2^-66 of it. Of at most
   BLOCK numbers, a whole number of chunks. Returns which are unsure, a bit for each. */
FOR_ROW static inline __attribute__((always_inline)) uint64_t NAME(exp_block)(size_t chunks, const double *restrict x,
                                                                              double *restrict out) {
    const size_t n = chunks * MG_CHUNK;
    const uint64_t none = 0;
    double rest[BLOCK], low[BLOCK], first[BLOCK], second[BLOCK];
    BITS whole[BLOCK];
    uint64_t unsure = 0;
    for (size_t i = 0; i < n; i++) {
        const double shifted = __builtin_fma(x[i], 0x1.71547652b82fep+6, 0x1.8p52), k = shifted - 0x1.8p52;
        const double near = __builtin_fma(-k, 0x1.62e42fef8p-7, x[i]); /* exactly */
        memcpy(&whole[i], &shifted, sizeof whole[i]);
        rest[i] = __builtin_fma(-k, 0x1.1cf79abc9e3b4p-42, near);
        low[i] = __builtin_fma(-k, 0x1.1cf79abc9e3b4p-42, near - rest[i]);
    }
    ONE_BY_ONE
    for (size_t i = 0; i < n; i++) {
        const double *entry = mg_exp_table[whole[i] & 63];
        first[i] = entry[0];
        second[i] = entry[1];
    }
    for (size_t i = 0; i < n; i++) {
        const double r = rest[i], t = first[i];
        double series = __builtin_fma(r, 1 / 5040.0, 1 / 720.0);
        series = __builtin_fma(r, series, 1 / 120.0);
        series = __builtin_fma(r, series, 1 / 24.0);
        series = __builtin_fma(r, series, 1 / 6.0);
        series = __builtin_fma(r, series, 0.5);
        const double more = __builtin_fma(r * r, series, low[i]); /* e ** (r + low) is 1 + r + more */
        const double product = t * r, sum = t + product;
        double lo = __builtin_fma(t, more, __builtin_fma(second[i], r, second[i]));
        lo = (product - (sum - t)) + (__builtin_fma(t, r, -product) + lo);
        const double high = sum + lo;
        const bool sure = NAME(off_middle)(high, lo - (high - sum), EXP_MARGIN) & (fabs(x[i]) <= 700);
        unsure |= (sure | (x[i] == 0)) ? none : lane_bit[i];
        uint64_t bits;
        memcpy(&bits, &high, sizeof bits);
        bits += ((uint64_t)whole[i] & ~(uint64_t)63) << 46;
        memcpy(&out[i], &bits, sizeof bits);
    }
    return unsure;
}
#undef ONE_BY_ONE

/* The numbers that are unsure, by the C library; false when one is too large for a float. */
static __attribute__((noinline)) bool NAME(exp_calls)(const double *x, double *out, uint64_t unsure) {
    bool fits = true;
    for (; unsure != 0; unsure &= unsure - 1) {
        const int i = __builtin_ctzll(unsure);
        out[i] = exp(x[i]);
        fits = fits && !(out[i] > DBL_MAX);
    }
    return fits;
}
#endif

/* e ** x at places from .. to - 1, and 0 at the others, where x is not looked at; a whole number of chunks. False when one
   is too large for a float. */
FOR_ROW static bool NAME(exp_row)(size_t padded, size_t from, size_t to, const REAL *restrict x, REAL *restrict out) {
    bool fits = true;
#if EXACT && POW_IS_NEAR
    for (size_t t = 0; t < padded; t += BLOCK) {
        const size_t n = padded - t < BLOCK ? padded - t : BLOCK;
        if (t >= from && t + n <= to) {
            const uint64_t unsure = NAME(exp_block)(n / MG_CHUNK, x + t, out + t);
            if (unsure != 0) {
                fits &= NAME(exp_calls)(x + t, out + t, unsure);
            }
            continue;
        }
        double argument[BLOCK];
        for (size_t i = 0; i < n; i++) {
            const double number = x[t + i];
            argument[i] = ((t + i >= from) & (t + i < to)) ? number : 0;
        }
        const uint64_t unsure = NAME(exp_block)(n / MG_CHUNK, argument, out + t);
        if (unsure != 0) {
            fits &= NAME(exp_calls)(argument, out + t, unsure);
        }
        for (size_t i = 0; i < n; i++) {
            const double number = out[t + i];
            out[t + i] = ((t + i >= from) & (t + i < to)) ? number : 0;
        }
    }
#elif EXACT
    memset(out, 0, from * sizeof *out);
    memset(out + to, 0, (padded - to) * sizeof *out);
    for (size_t t = from; t < to; t++) {
        out[t] = EXP(x[t]);
        fits = fits && !(out[t] > DBL_MAX);
    }
#else
    /* 2 ** n * exp(r), |r| <= log(2) / 2, and the first terms of the series of exp(r): within 2e-7 of the true value */
    for (size_t t = 0; t < padded; t++) {
        REAL a = ((t >= from) & (t < to)) ? x[t] : 0;
        a = a < -87 ? -87 : a; /* keeps a NaN */
        a = a > 88 ? 88 : a;
        REAL n = FUSED_ONE(0x1.8p23f, a, 0x1.715476p+0f); /* rounded to an integer, in the last bits */
        BITS power;
        memcpy(&power, &n, sizeof power);
        n -= 0x1.8p23f;
        REAL r = FUSED_ONE(FUSED_ONE(a, n, -0x1.62e4p-1f), n, -0x1.7f7d1cp-20f);
        REAL e = FUSED_ONE(1 / 120.0f, r, 1 / 720.0f);
        e = FUSED_ONE(1 / 24.0f, r, e);
        e = FUSED_ONE(1 / 6.0f, r, e);
        e = FUSED_ONE(1 / 2.0f, r, e);
        e = FUSED_ONE(1.0f, r, e);
        e = FUSED_ONE(1.0f, r, e);
        power = (BITS)(((uint32_t)power << 23) + 0x3f800000u);
        REAL scale;
        memcpy(&scale, &power, sizeof scale);
        out[t] = ((t >= from) & (t < to)) ? e * scale : 0;
    }
#endif
    return fits;
}
