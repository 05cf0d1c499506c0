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

#if !EXACT
/* 2 ** n * exp(r), |r| <= log(2) / 2, and the first terms of the series of exp(r): within 2e-7 of the true value. */
FOR_ROW static inline __attribute__((always_inline)) VECTOR NAME(exp_of)(VECTOR a) {
    const VECTOR least = EVERYWHERE((REAL)-87), most = EVERYWHERE((REAL)88), one = EVERYWHERE((REAL)1);
    a = CHOOSE(a < least, least, a); /* keeps a NaN */
    a = CHOOSE(a > most, most, a);
    VECTOR n = FUSED(EVERYWHERE(0x1.8p23f), a, EVERYWHERE(0x1.715476p+0f)); /* rounded to an integer, in the last bits */
    const NAME(bits) power = (NAME(bits))n << 23;
    n -= 0x1.8p23f;
    const VECTOR r = FUSED(FUSED(a, n, EVERYWHERE(-0x1.62e4p-1f)), n, EVERYWHERE(-0x1.7f7d1cp-20f));
    VECTOR e = FUSED(EVERYWHERE(1 / 120.0f), r, EVERYWHERE(1 / 720.0f));
    e = FUSED(EVERYWHERE(1 / 24.0f), r, e);
    e = FUSED(EVERYWHERE(1 / 6.0f), r, e);
    e = FUSED(EVERYWHERE(1 / 2.0f), r, e);
    e = FUSED(one, r, e);
    e = FUSED(one, r, e);
    return e * (VECTOR)(power + 0x3f800000);
}
#endif

/* All bits at the places of a vector, which begins at place t, that are among from .. to - 1. */
FOR_ROW static inline __attribute__((always_inline)) NAME(bits) NAME(between)(size_t t, size_t from, size_t to) {
    NAME(bits) place;
    for (size_t j = 0; j < WIDTH; j++) {
        place[j] = (BITS)j;
    }
    const BITS first = from < t ? 0 : from < t + WIDTH ? (BITS)(from - t) : WIDTH;
    const BITS end = to < t ? 0 : to < t + WIDTH ? (BITS)(to - t) : WIDTH;
    return (place >= first) & (place < end);
}

/* Numbers that wait for their exponentials, a chunk after the other, so that short rows fill what is computed at once. */
typedef struct {
    size_t chunks;
    bool fits; /* was no result so far too large for a float? */
    REAL number[EXACT ? BLOCK : MG_CHUNK], *out[EXACT ? BLOCK / MG_CHUNK : 1];
    NAME(bits) there[EXACT ? BLOCK / WIDTH : VECTORS];
} NAME(exponentials);

#if EXACT
/* Of at most BLOCK numbers, now. False when a result is too large for a float. */
FOR_ROW static __attribute__((noinline)) bool NAME(exp_now)(size_t chunks, const REAL *x, REAL *out) {
    bool fits = true;
#if POW_IS_NEAR
    const uint64_t unsure = NAME(exp_block)(chunks, x, out);
    if (unsure != 0) {
        fits = NAME(exp_calls)(x, out, unsure);
    }
#else
    for (size_t i = 0; i < chunks * MG_CHUNK; i++) {
        out[i] = EXP(x[i]);
        fits = fits && !(out[i] > DBL_MAX);
    }
#endif
    return fits;
}
#endif

FOR_ROW static void NAME(exp_waiting)(NAME(exponentials) *all) {
#if EXACT
    REAL result[BLOCK];
    all->fits &= NAME(exp_now)(all->chunks, all->number, result);
    for (size_t i = 0; i < all->chunks * MG_CHUNK; i += WIDTH) {
        STORE(all->out[i / MG_CHUNK] + i % MG_CHUNK, (VECTOR)((NAME(bits))LOAD(result + i) & all->there[i / WIDTH]));
    }
#endif
    all->chunks = 0;
}

/* e ** x at places from .. to - 1, and 0 at the others, where x is not looked at; a whole number of chunks. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(exp_later)(NAME(exponentials) *all, size_t padded, size_t from,
                                                                          size_t to, const REAL *x, REAL *out) {
#if EXACT
    for (size_t t = 0; t < padded; t += MG_CHUNK) {
        if (all->chunks == 0 && t >= from && t + BLOCK <= to) { /* as many need not wait */
            all->fits &= NAME(exp_now)(BLOCK / MG_CHUNK, x + t, out + t);
            t += BLOCK - MG_CHUNK;
            continue;
        }
        const size_t chunk = all->chunks++;
        all->out[chunk] = out + t;
        for (size_t v = 0; v < VECTORS; v++) {
            const NAME(bits) there = NAME(between)(t + v * WIDTH, from, to);
            all->there[chunk * VECTORS + v] = there;
            STORE(all->number + chunk * MG_CHUNK + v * WIDTH, (VECTOR)((NAME(bits))LOAD(x + t + v * WIDTH) & there));
        }
        if (all->chunks == BLOCK / MG_CHUNK) {
            NAME(exp_waiting)(all);
        }
    }
#else
    (void)all;
    for (size_t t = 0; t < padded; t += WIDTH) {
        const NAME(bits) there = NAME(between)(t, from, to);
        STORE(out + t, (VECTOR)((NAME(bits))NAME(exp_of)((VECTOR)((NAME(bits))LOAD(x + t) & there)) & there));
    }
#endif
}

#if EXACT
/* The same, now. False when a result is too large for a float. */
FOR_ROW static bool NAME(exp_row)(size_t padded, size_t from, size_t to, const REAL *x, REAL *out) {
    NAME(exponentials) all = {.fits = true};
    NAME(exp_later)(&all, padded, from, to, x, out);
    NAME(exp_waiting)(&all);
    return all.fits;
}
#endif
