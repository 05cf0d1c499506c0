/* row_fading.h: moments that fade: parameters that get no gradient any more, and numbers below the normal ones, of which no
 * processor is asked. A part of row.h.
 */

/* The step's numbers as REAL. `zero` is 0, and not a constant: of stores of a constant the compiler makes a memset. */
typedef struct {
    REAL learning_rate, beta1, rest1, beta2, rest2, correction1, correction2, epsilon, zero;
} NAME(adam_numbers);

#if EXACT
/* The bits of beta * x, of a number 0 <= x < 2^-900 by its bits, and 2^-100 <= beta < 1. No operand and no result is below
   the normal numbers, which some processors take a hundred times as long for: y is x * 2^600. Where the product will be below
   them, it is a whole number of units of 2^-1074, to which the second line of products rounds it, once. */
FOR_ROW static inline __attribute__((always_inline)) BITS NAME(decayed)(REAL beta, BITS x) {
    const BITS first_normal = 0x0010000000000000, unit = 0x4330000000000000; /* 2^52 */
    const BITS below = (x - first_normal) >> 63;                            /* all bits, or none: no choice is put off */
    const BITS in_units = unit | (x & below), normal = x & ~below;
    REAL units, y;
    memcpy(&units, &in_units, sizeof units);
    memcpy(&y, &normal, sizeof y);
    y = y * 0x1p600 + (units - 0x1p52) * 0x1p-474; /* one of the two is 0 */
    const REAL product = beta * y, whole = __builtin_fma(beta, y * 0x1p474, 0x1p52);
    BITS bits, whole_bits;
    memcpy(&bits, &product, sizeof bits);
    memcpy(&whole_bits, &whole, sizeof whole_bits);
    return product >= 0x1p-422 ? bits - 600 * first_normal : whole_bits - unit;
}

/* The order of sizes as integers: a number's bits without its sign, less 1, so that 0 is the largest. */
#define SIZE_OF_BITS(bits) (BITS)((((uint64_t)(bits)) << 1) + INT64_MAX)

static inline uint64_t NAME(bits_of_size)(BITS size) { return ((uint64_t)size - INT64_MAX) >> 1; }

/* Of gradients and moments: the least sizes, in the order of SIZE_OF_BITS, and all their bits together. */
typedef struct {
    BITS least_gradient, least_moment;
    uint64_t any;
} NAME(range);

/* What BLOCK numbers are looked at from. */
static const NAME(range) NAME(no_numbers) = {INT64_MAX, INT64_MAX, 0};

FOR_ROW static inline __attribute__((always_inline)) void NAME(look)(NAME(range) *range, uint64_t g, uint64_t m, uint64_t v) {
    const BITS gradient = SIZE_OF_BITS(g), first = SIZE_OF_BITS(m), second = SIZE_OF_BITS(v);
    const BITS moment = first < second ? first : second;
    range->least_gradient = gradient < range->least_gradient ? gradient : range->least_gradient;
    range->least_moment = moment < range->least_moment ? moment : range->least_moment;
    range->any |= g | m | v;
}

/* Bits of numbers, where they lie. */
typedef uint64_t __attribute__((may_alias)) NAME(bits_in_place);

FOR_ROW static inline __attribute__((always_inline)) NAME(range)
    NAME(range_of)(const REAL *restrict grad, const REAL *restrict m, const REAL *restrict v) {
    const NAME(bits_in_place) *a = (const NAME(bits_in_place) *)grad, *b = (const NAME(bits_in_place) *)m;
    const NAME(bits_in_place) *c = (const NAME(bits_in_place) *)v;
    NAME(range) range = NAME(no_numbers);
    for (size_t i = 0; i < BLOCK; i++) {
        NAME(look)(&range, a[i], b[i], c[i]);
    }
    return range;
}

/* Is one of them 2 or more? That is the highest bit of an exponent. */
static inline bool NAME(has_large)(NAME(range) range) { return (range.any & 0x4000000000000000) != 0; }

/* Are they numbers with which faded moments can be told to move nothing? */
static inline bool NAME(may_fade)(const NAME(adam_numbers) *by) {
    return by->beta1 >= 0x1p-100 && by->beta1 < 1 && by->beta2 >= 0x1p-100 && by->beta2 < 1 && by->learning_rate >= 0 &&
           by->learning_rate <= 0x1p60 && by->correction1 >= 0x1p-60 && by->correction2 >= 0x1p-60 && by->epsilon >= 0x1p-300;
}

/* A parameter that gets no gradient any more has moments that fade, and then stay below the normal numbers for ever. Where
   BLOCK parameters have moments below 2^-900 and a gradient of 0, replaces them by 0 and sets `m_later` and `v_later` to the
   bits that they will have after the step, and to 0 elsewhere; false where there are none. The parameters themselves get the
   same bits: with numbers as checked here, what such an m takes from a parameter is below 2^-480 and moves none of 2^-400
   or more, and the root of such a v is below 2^-419 and moves no epsilon. (So far below, what is judged of a root, and what
   a parameter changes by, would be below the normal numbers long before the moments are.) */
FOR_ROW static __attribute__((noinline)) bool NAME(set_faded_aside)(const REAL *restrict data, const REAL *restrict grad,
                                                                    REAL *restrict m, REAL *restrict v,
                                                                    const NAME(adam_numbers) *by,
                                                                    BITS *restrict m_later, BITS *restrict v_later) {
    const BITS sign = INT64_MIN, none = 0;
    BITS g[BLOCK], first[BLOCK], second[BLOCK], parameter[BLOCK];
    if (!NAME(may_fade)(by)) {
        return false;
    }
    memcpy(g, grad, sizeof g);
    memcpy(first, m, sizeof first);
    memcpy(second, v, sizeof second);
    memcpy(parameter, data, sizeof parameter);
    for (size_t i = 0; i < BLOCK; i++) {
        const BITS size = first[i] & ~sign, least = 0x26f0000000000000; /* 2^-400 */
        const bool still = (g[i] & ~sign) == 0;
        const bool m_fades = still & (size != 0) & (size < FADED) & ((parameter[i] & ~sign) >= least);
        const bool v_fades = still & (second[i] > 0) & (second[i] < FADED);
        const BITS m_next = NAME(decayed)(by->beta1, m_fades ? size : none);
        const bool signs = m_fades & ((m_next != 0) | (g[i] < 0)); /* a -0 becomes +0, where +0 is added to it */
        m_later[i] = m_next | (signs ? first[i] & sign : none);
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
