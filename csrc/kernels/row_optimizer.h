/* row_optimizer.h: the optimizers' steps on parameters in a row. A part of row.h. */

/* Parameters, and what goes with them. */
typedef struct {
    REAL *data, *grad, *m, *v;
} NAME(parameters);

/* Those from number i on. */
FOR_ROW static inline NAME(parameters) NAME(from)(const NAME(parameters) all, size_t i) {
    return (NAME(parameters)){all.data + i, all.grad + i, all.m + i, all.v + i};
}

#if EXACT && POW_IS_NEAR
/* x / c, where `near` is the float nearest to 1 / c and `far` the rest of it, of an x that is 0 or has a size from 2^-900 to
   2^900: q is one of the two floats around the quotient, so that its remainder is a float, and the last line rounds
   correctly, by Markstein's theorem. (0 of either sign gives 0.) */
FOR_ROW static inline __attribute__((always_inline)) REAL NAME(quotient)(REAL x, REAL c, REAL near, REAL far) {
    const REAL q = __builtin_fma(x, near, x * far), remainder = __builtin_fma(-c, q, x);
    return __builtin_fma(remainder, near, q);
}

/* The next float after a normal x > 0 in the direction of `rest`; x itself where that is 0. */
FOR_ROW static inline __attribute__((always_inline)) REAL NAME(beside)(REAL x, REAL rest) {
    BITS bits;
    memcpy(&bits, &x, sizeof bits);
    bits += (rest > 0 ? (BITS)1 : (BITS)0) - (rest < 0 ? (BITS)1 : (BITS)0);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Negative where pow(x, 2) may be another float than `square`, the nearest to x * x, given what half a unit in the last place
   at 1 is, less the margin. 0 is sure. Below a power of two units are smaller; but x * x is nearest to one only where it is
   one, as sqrt(2) lies far enough from any float. */
FOR_ROW static inline __attribute__((always_inline)) BITS NAME(square_doubt)(REAL x, REAL square, REAL limit) {
    const REAL spare = limit * NAME(power_of_two)(square) - fabs(__builtin_fma(x, x, -square));
    BITS bits;
    memcpy(&bits, &spare, sizeof bits);
    return bits;
}

/* The same of pow(x, 0.5) and `root`; the true root is root + rest / (2 * root). It is nearest to a power of two only from
   above, or where it is one. */
FOR_ROW static inline __attribute__((always_inline)) BITS NAME(root_doubt)(REAL x, REAL root, REAL limit) {
    const REAL spare = limit * NAME(power_of_two)(root) * root - fabs(__builtin_fma(-root, root, x));
    BITS bits;
    memcpy(&bits, &spare, sizeof bits);
    return bits;
}

/* Parameters whose square or root pow might not give as it was computed: it gives that, or the next float on the other side of
   the true result. Mostly v, and then the parameter, are the same number with the one as with the other. For those that are
   not, pow is called, one after the other, so that the processor overlaps the calls. `all_again`: is what was computed perhaps
   not even the nearest float? */
FOR_ROW static inline __attribute__((always_inline)) void
    NAME(settle)(size_t count, uint16_t *list, const REAL *restrict old_data, const REAL *restrict old_v,
                 const NAME(parameters) all, const NAME(adam_numbers) *numbers, const int corrected, bool all_again) {
    REAL *restrict data = all.data, *restrict v = all.v;
    const REAL *restrict grad = all.grad, *restrict m = all.m;
    const NAME(adam_numbers) by = *numbers;
    REAL g[PART], moment[PART], second[PART], parameter[PART];
    BITS differs[PART];
    for (size_t k = 0; k < count; k++) {
        g[k] = grad[list[k]];
        moment[k] = m[list[k]];
        second[k] = old_v[list[k]];
        parameter[k] = old_data[list[k]];
    }
    for (size_t k = 0; k < count; k++) {
        const REAL square = g[k] * g[k], other_square = NAME(beside)(square, __builtin_fma(g[k], g[k], -square));
        const REAL now = by.beta2 * second[k] + by.rest2 * square, other = by.beta2 * second[k] + by.rest2 * other_square;
        const REAL v_hat = corrected > 0 ? now / by.correction2 : now, root = SQRT(v_hat);
        const REAL other_root = NAME(beside)(root, __builtin_fma(-root, root, v_hat));
        const REAL share = by.learning_rate * (corrected > 1 ? moment[k] / by.correction1 : moment[k]);
        const REAL one = parameter[k] - share / (root + by.epsilon);
        const bool same = (now == other) & (one == parameter[k] - share / (other_root + by.epsilon));
        const bool exact = ((square >= (REAL)0x1p-900) | (g[k] == 0)) & ((v_hat >= (REAL)0x1p-900) | (v_hat == 0));
        differs[k] = (same & exact) ? (BITS)0 : (BITS)1; /* the rest is exact only far above the smallest numbers */
        second[k] = now;
        parameter[k] = one;
    }
    for (size_t k = 0; all_again && k < count; k++) {
        v[list[k]] = second[k];
        data[list[k]] = parameter[k];
    }
    size_t left = 0;
    for (size_t k = 0; k < count; k++) {
        list[left] = list[k];
        left += differs[k] != 0;
    }
    for (size_t k = 0; k < left; k++) {
        v[list[k]] = by.beta2 * old_v[list[k]] + by.rest2 * POW(grad[list[k]], 2);
    }
    for (size_t k = 0; k < left; k++) {
        const size_t i = list[k];
        data[i] = old_data[i] - by.learning_rate * (m[i] / by.correction1) / (POW(v[i] / by.correction2, (REAL)0.5) + by.epsilon);
    }
}

/* Is it a number that takes no others out of the range in which all is judged? */
static inline bool NAME(share)(REAL x) { return x >= (REAL)0x1p-60 && x <= 1; }

/* Are BLOCK numbers of each array below 2^400? */
FOR_ROW static __attribute__((noinline)) bool NAME(none_vast)(const REAL *x, const REAL *y, const REAL *z) {
    bool below = true;
    for (size_t i = 0; i < BLOCK; i++) {
        below &= (fabs(x[i]) < 0x1p400) & (fabs(y[i]) < 0x1p400) & (fabs(z[i]) < 0x1p400);
    }
    return below;
}

/* What a step of BLOCK parameters goes by: the inverses of the corrections, see quotient; where a square and a root are in
   doubt; `unsure`, all bits or none: is nothing known of the BLOCK? */
typedef struct {
    REAL near1, far1, near2, far2, square_limit, root_limit;
    BITS unsure;
} NAME(block_limits);

/* A step of BLOCK parameters as if it needed no pow; returns which lanes may need it. Looks at a BLOCK of later parameters as
   well, while the processor computes the roots. */
FOR_ROW static inline __attribute__((always_inline)) uint64_t
    NAME(adam_block)(REAL *restrict data, const REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                     REAL *restrict old_data, REAL *restrict old_v, const NAME(parameters) later, NAME(range) *ahead,
                     const NAME(adam_numbers) by, const NAME(block_limits) limits, const int corrected) {
    const NAME(bits_in_place) *a = (const NAME(bits_in_place) *)later.grad, *b = (const NAME(bits_in_place) *)later.m;
    const NAME(bits_in_place) *c = (const NAME(bits_in_place) *)later.v;
    NAME(range) range = NAME(no_numbers);
    BITS unsure = limits.unsure;
    for (size_t i = 0; i < BLOCK; i++) {
        const REAL g = grad[i], old = data[i], second = v[i], square = g * g;
        const REAL m_next = by.beta1 * m[i] + by.rest1 * g, v_next = by.beta2 * second + by.rest2 * square;
        const REAL v_hat = corrected > 0 ? NAME(quotient)(v_next, by.correction2, limits.near2, limits.far2) : v_next;
        const REAL m_hat =
            corrected > 1 ? copysign(NAME(quotient)(m_next, by.correction1, limits.near1, limits.far1), m_next) : m_next;
        const REAL root = SQRT(v_hat);
        NAME(look)(&range, a[i], b[i], c[i]);
        unsure |= (NAME(square_doubt)(g, square, limits.square_limit) | NAME(root_doubt)(v_hat, root, limits.root_limit)) >>
                      63 & (BITS)lane_bit[i];
        old_data[i] = old;
        old_v[i] = second;
        data[i] = old - by.learning_rate * m_hat / (root + by.epsilon);
        v[i] = v_next; /* last, so that the next block's numbers, in the same lines of the cache, are not waited for */
        m[i] = m_next;
    }
    *ahead = range;
    return (uint64_t)unsure;
}

/* e >= 1 with 2^-e at most the normal number whose bits, without the sign, these are; 1 of 0. */
static inline int64_t NAME(depth)(uint64_t bits) {
    const int64_t exponent = (int64_t)(bits >> 52);
    return bits == 0 || exponent > 1022 ? 1 : 1023 - exponent;
}

/* The same of a number that a step multiplies with, or divides by. */
static inline int64_t NAME(depth_of_share)(REAL x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return NAME(depth)(bits);
}

static inline int64_t NAME(larger)(int64_t a, int64_t b) { return a > b ? a : b; }
#endif

#if EXACT
/* n parameters, at most PART and a multiple of BLOCK, see microgpt.h for what is computed. `corrected`, a constant: are
   moments divided? After some hundred steps of the first, and some thousand of the second, their corrections are 1: then
   1, and later 0, of the two are. `ahead` holds the ranges of the first two BLOCKs, and then of the two after these n; `following`
   parameters come after them. */
FOR_ROW static inline __attribute__((always_inline)) void
    NAME(adam_part)(size_t n, size_t following, const NAME(parameters) all, const NAME(adam_numbers) *numbers,
                    NAME(range) ahead[2], const int corrected) {
    const NAME(adam_numbers) by = *numbers;
    BITS m_later[PART], v_later[PART];
    bool fades[PART / BLOCK];
#if POW_IS_NEAR
    static REAL zeros[BLOCK]; /* nobody writes to */
    const NAME(parameters) none = {zeros, zeros, zeros, zeros};
    const REAL near1 = 1 / by.correction1, near2 = 1 / by.correction2;
    NAME(block_limits) limits = {.near1 = near1, .far1 = __builtin_fma(-by.correction1, near1, 1) * near1,
                                 .near2 = near2, .far2 = __builtin_fma(-by.correction2, near2, 1) * near2};
    const bool usual = NAME(share)(by.correction1) && NAME(share)(by.correction2) &&
                       (by.beta1 == 0 || NAME(share)(by.beta1)) && (by.beta2 == 0 || NAME(share)(by.beta2));
    const int64_t spread = 2 + NAME(larger)(NAME(larger)(NAME(depth_of_share)(by.beta2), NAME(depth_of_share)(by.rest2)),
                                            NAME(depth_of_share)(by.correction2));
    const pow_margins margins = margins_of_pow();
    REAL old_data[PART], old_v[PART];
    uint64_t doubtful[PART / BLOCK];
    uint16_t list[PART + 4];
    size_t count = 0;
    bool all_again = false;
#endif
    for (size_t from = 0; from < n; from += BLOCK) {
        NAME(range) range = ahead[from / BLOCK % 2];
        const NAME(parameters) here = NAME(from)(all, from), later = NAME(from)(all, from + 2 * BLOCK);
        const bool last = from + 2 * BLOCK >= n + following;
        fades[from / BLOCK] = range.least_moment < SIZE_OF_BITS(FADED) &&
                              NAME(set_faded_aside)(here.data, here.grad, here.m, here.v, numbers, m_later + from,
                                                    v_later + from);
#if POW_IS_NEAR
        if (fades[from / BLOCK]) {
            range = NAME(range_of)(here.grad, here.m, here.v);
        }
        const bool large = NAME(has_large)(range);
        const bool known = usual && range.least_gradient >= SIZE_OF_BITS(BITS_OF_LEAST) &&
                           range.least_moment >= SIZE_OF_BITS(FADED) &&
                           (!large || NAME(none_vast)(here.grad, here.m, here.v));
        /* Exponents of squares, without the sign, and of v_hat: that of a square or of v, and more by what both are
           multiplied with, their sum, and what that is divided by. */
        const int64_t square = large ? 800 : 2 * NAME(depth)(NAME(bits_of_size)(range.least_gradient));
        const int64_t second = NAME(larger)(square, NAME(depth)(NAME(bits_of_size)(range.least_moment))) + spread;
        limits.square_limit = (0.5 - margin_to(margins, (double)square)) * 0x1p-52;
        limits.root_limit = (1 - 2 * margin_to(margins, 0.5 * (double)second)) * 0x1p-52;
        limits.unsure = known ? (BITS)0 : (BITS)-1;
        all_again |= !known;
        doubtful[from / BLOCK] = NAME(adam_block)(here.data, here.grad, here.m, here.v, old_data + from, old_v + from,
                                                  last ? none : later, &ahead[from / BLOCK % 2], by, limits, corrected);
#else
        if (!last) {
            ahead[from / BLOCK % 2] = NAME(range_of)(later.grad, later.m, later.v);
        }
        for (size_t i = 0; i < BLOCK; i++) {
            const REAL g = here.grad[i], m = by.beta1 * here.m[i] + by.rest1 * g;
            const REAL v = by.beta2 * here.v[i] + by.rest2 * POW(g, 2);
            const REAL m_hat = corrected > 1 ? m / by.correction1 : m, v_hat = corrected > 0 ? v / by.correction2 : v;
            here.data[i] -= by.learning_rate * m_hat / (POW(v_hat, (REAL)0.5) + by.epsilon);
            here.m[i] = m;
            here.v[i] = v;
        }
#endif
    }
#if POW_IS_NEAR
    for (size_t from = 0; from < n; from += BLOCK) {
        count = NAME(listed)(doubtful[from / BLOCK], from, list, count);
    }
    NAME(settle)(count, list, old_data, old_v, all, numbers, corrected, all_again);
#endif
    for (size_t from = 0; from < n; from += BLOCK) {
        if (fades[from / BLOCK]) {
            NAME(put_back)(all.m + from, m_later + from);
            NAME(put_back)(all.v + from, v_later + from);
        }
    }
    for (size_t i = 0; i < n; i++) {
        all.grad[i] = by.zero;
    }
}

FOR_ROW static __attribute__((noinline)) void NAME(adam_some)(size_t n, size_t following, const NAME(parameters) all,
                                                              const NAME(adam_numbers) *numbers, NAME(range) ahead[2]) {
    if (numbers->correction1 != 1) {
        NAME(adam_part)(n, following, all, numbers, ahead, 2);
    } else if (numbers->correction2 != 1) {
        NAME(adam_part)(n, following, all, numbers, ahead, 1);
    } else {
        NAME(adam_part)(n, following, all, numbers, ahead, 0);
    }
}

FOR_ROW static inline void NAME(look_ahead)(size_t n, const NAME(parameters) all, NAME(range) ahead[2]) {
    for (size_t i = 0; i < n && i < 2 * BLOCK; i += BLOCK) {
        ahead[i / BLOCK] = NAME(range_of)(all.grad + i, all.m + i, all.v + i);
    }
}

/* The most units that beta, from 2^-100 and below 1, leaves as many: its product with them rounds up again. */
FOR_ROW static BITS NAME(most_that_stay)(REAL beta) {
    BITS units = (BITS)(0.5 / (1 - beta));
    while (NAME(decayed)(beta, units) != units) {
        units--;
    }
    return units;
}

/* Which of BLOCK second moments stay as they are without a gradient? */
FOR_ROW static inline __attribute__((always_inline)) uint64_t NAME(second_left)(const REAL *v, BITS second_stays) {
    const BITS none = 0;
    BITS left = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        BITS second;
        memcpy(&second, v + i, sizeof second);
        left |= (uint64_t)second <= (uint64_t)second_stays ? (BITS)lane_bit[i] : none;
    }
    return (uint64_t)left;
}

/* Which of BLOCK parameters have no gradient, and first moments that are 0, or have faded until they stay? */
FOR_ROW static inline __attribute__((always_inline)) uint64_t NAME(first_left)(const REAL *data, const REAL *grad,
                                                                               const REAL *m, BITS first_stays) {
    const BITS sign = INT64_MIN, none = 0;
    BITS left = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        BITS parameter, g, first;
        memcpy(&parameter, data + i, sizeof parameter);
        memcpy(&g, grad + i, sizeof g);
        memcpy(&first, m + i, sizeof first);
        const BITS size = first & ~sign;
        const bool stays = (size > 0) & (size <= first_stays) & ((parameter & ~sign) >= BITS_OF_LEAST);
        left |= ((g & ~sign) == 0) & (stays | (first == 0)) ? (BITS)lane_bit[i] : none;
    }
    return (uint64_t)left;
}

/* What is alive in BLOCKs of which most is dead, next to each other: the step is of these alone. */
typedef struct {
    BITS first_stays, second_stays; /* see most_that_stay; -1 before somebody asks */
    size_t count;
    uint32_t index[PART];
    REAL array[4][PART];
    NAME(parameters) gathered; /* in the arrays */
} NAME(living);

/* Gathers what is alive of BLOCK parameters from `first` on; false if that is more than half. */
FOR_ROW static __attribute__((noinline)) bool NAME(gather_living)(NAME(living) *living, size_t first,
                                                                  const NAME(parameters) all,
                                                                  const NAME(adam_numbers) *by) {
    const NAME(parameters) here = NAME(from)(all, first), to = living->gathered;
    if (living->first_stays < 0) {
        living->first_stays = NAME(most_that_stay)(by->beta1);
        living->second_stays = NAME(most_that_stay)(by->beta2);
    }
    uint64_t dead = NAME(second_left)(here.v, living->second_stays);
    dead &= __builtin_popcountll(dead) < BLOCK / 2 ? 0 : NAME(first_left)(here.data, here.grad, here.m, living->first_stays);
    if (__builtin_popcountll(dead) < BLOCK / 2) {
        return false;
    }
    size_t count = living->count;
    for (uint64_t alive = ~dead; alive != 0; alive &= alive - 1, count++) {
        const size_t lane = (size_t)__builtin_ctzll(alive);
        living->index[count] = (uint32_t)(first + lane);
        to.data[count] = here.data[lane];
        to.grad[count] = here.grad[lane];
        to.m[count] = here.m[lane];
        to.v[count] = here.v[lane];
    }
    living->count = count;
    return true;
}

/* The step of what was gathered; then it is where it was. */
FOR_ROW static __attribute__((noinline)) void NAME(adam_of_living)(NAME(living) *living, const NAME(parameters) all,
                                                                   const NAME(adam_numbers) *numbers) {
    NAME(range) ahead[2] = {{0}};
    const NAME(parameters) from = living->gathered;
    const size_t count = living->count, whole = (count + BLOCK - 1) / BLOCK * BLOCK;
    for (int a = 0; a < 4; a++) {
        memset(living->array[a] + count, 0, (whole - count) * sizeof(REAL));
    }
    NAME(look_ahead)(whole, from, ahead);
    NAME(adam_some)(whole, 0, from, numbers, ahead);
    for (size_t k = 0; k < count; k++) {
        const size_t i = living->index[k];
        all.data[i] = from.data[k];
        all.grad[i] = from.grad[k];
        all.m[i] = from.m[k];
        all.v[i] = from.v[k];
    }
    living->count = 0;
}

/* A step of the parameters from `first` to `end`, at most PART and of whole BLOCKs, of which some moments have faded: some of
   them may be gathered for later. */
FOR_ROW static __attribute__((noinline)) void NAME(adam_of_few)(size_t first, size_t end, const NAME(parameters) all,
                                                                const NAME(adam_numbers) *numbers, NAME(living) *living) {
    for (size_t from = first, to = first; from < end; from = to + BLOCK, to = from) {
        while (to < end && !NAME(gather_living)(living, to, all, numbers)) {
            to += BLOCK;
        }
        NAME(range) ahead[2] = {{0}};
        if (to > from) {
            NAME(look_ahead)(to - from, NAME(from)(all, from), ahead);
            NAME(adam_some)(to - from, 0, NAME(from)(all, from), numbers, ahead);
        }
        for (size_t i = to; i < to + BLOCK && i < end; i++) {
            all.grad[i] = numbers->zero;
        }
    }
}

/* n parameters, a multiple of BLOCK. */
FOR_ROW static void NAME(adam_whole)(size_t n, const NAME(parameters) all, const NAME(adam_numbers) *numbers) {
    NAME(range) ahead[2] = {{0}};
    const bool may_fade = NAME(may_fade)(numbers);
    NAME(living) living;
    living.first_stays = -1;
    living.count = 0;
    living.gathered = (NAME(parameters)){living.array[0], living.array[1], living.array[2], living.array[3]};
    NAME(look_ahead)(n, all, ahead);
    for (size_t i = 0; i < n; i += PART) {
        const size_t count = n - i < PART ? n - i : PART, end = i + count;
        if (!may_fade || ahead[0].least_moment >= SIZE_OF_BITS(FADED)) {
            NAME(adam_some)(count, n - end, NAME(from)(all, i), numbers, ahead);
            continue;
        }
        NAME(adam_of_few)(i, end, all, numbers, &living);
        NAME(look_ahead)(n - end, NAME(from)(all, end), ahead);
        if (living.count > PART / 2) { /* no more than that is gathered from a part */
            NAME(adam_of_living)(&living, all, numbers);
        }
    }
    if (living.count > 0) {
        NAME(adam_of_living)(&living, all, numbers);
    }
}
#else
/* n parameters; `corrected`, a constant: are the moments divided? */
FOR_ROW static inline __attribute__((always_inline)) void NAME(adam_part)(size_t n, REAL *restrict data,
                                                                          REAL *restrict grad, REAL *restrict m,
                                                                          REAL *restrict v,
                                                                          const NAME(adam_numbers) *numbers,
                                                                          const bool corrected) {
    const NAME(adam_numbers) by = *numbers;
    const REAL inverse1 = 1 / by.correction1, inverse2 = 1 / by.correction2;
    for (size_t i = 0; i < n; i++) {
        m[i] = FUSED_ONE(by.beta1 * m[i], by.rest1, grad[i]);
        v[i] = FUSED_ONE(by.beta2 * v[i], by.rest2 * grad[i], grad[i]);
        data[i] -= by.learning_rate * (corrected ? m[i] * inverse1 : m[i]) /
                   (SQRT(corrected ? v[i] * inverse2 : v[i]) + by.epsilon);
        grad[i] = by.zero;
    }
}

FOR_ROW static __attribute__((noinline)) void NAME(adam_whole)(size_t n, const NAME(parameters) all,
                                                               const NAME(adam_numbers) *numbers) {
    if (numbers->correction1 == 1 && numbers->correction2 == 1) {
        NAME(adam_part)(n, all.data, all.grad, all.m, all.v, numbers, false);
    } else {
        NAME(adam_part)(n, all.data, all.grad, all.m, all.v, numbers, true);
    }
}
#endif

FOR_ROW static void NAME(adam)(size_t n, const NAME(parameters) all, const mg_step_numbers *step) {
    const NAME(adam_numbers) numbers = {
        (REAL)step->learning_rate,  (REAL)step->is.beta1,    (REAL)(1 - step->is.beta1), (REAL)step->is.beta2,
        (REAL)(1 - step->is.beta2), (REAL)step->correction1, (REAL)step->correction2,    (REAL)step->is.epsilon, 0,
    };
    NAME(adam_whole)(n, all, &numbers);
}

FOR_ROW static void NAME(adamw)(size_t n, const NAME(parameters) all, const mg_step_numbers *step) {
    const REAL share = (REAL)step->learning_rate * (REAL)step->is.weight_decay;
    for (size_t i = 0; i < n; i++) {
        all.data[i] -= share * all.data[i];
    }
    NAME(adam)(n, all, step);
}

/* A step of BLOCK parameters. */
typedef void NAME(block_step)(REAL *restrict data, REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                              const mg_step_numbers *step);

/* One BLOCK after the other. Where the optimizer has no m, or no v, it is NULL, and the step's is 0. Moments that have faded
   are set aside, as Adam's are, which is for optimizers that a moment below 2^-900 moves no further than it moves Adam with
   the numbers `by`. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(each_block)(size_t n, const NAME(parameters) all,
                                                                           const NAME(adam_numbers) by,
                                                                           const mg_step_numbers *step,
                                                                           NAME(block_step) *take) {
    REAL none[BLOCK] = {0};
    for (size_t i = 0; i < n; i += BLOCK) {
        const NAME(parameters) here = {all.data + i, all.grad + i, all.m == NULL ? none : all.m + i,
                                       all.v == NULL ? none : all.v + i};
#if EXACT
        BITS m_later[BLOCK], v_later[BLOCK];
        const bool fades = NAME(range_of)(none, here.m, here.v).least_moment < SIZE_OF_BITS(FADED) &&
                           NAME(set_faded_aside)(here.data, here.grad, here.m, here.v, &by, m_later, v_later);
        take(here.data, here.grad, here.m, here.v, step);
        if (fades) {
            NAME(put_back)(here.m, m_later);
            NAME(put_back)(here.v, v_later);
        }
#else
        (void)by;
        take(here.data, here.grad, here.m, here.v, step);
#endif
    }
}

FOR_ROW static void NAME(sgd_block)(REAL *restrict data, REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                                    const mg_step_numbers *step) {
    const REAL momentum = (REAL)step->is.momentum, learning_rate = (REAL)step->learning_rate;
    (void)v;
    for (size_t i = 0; i < BLOCK; i++) {
        m[i] = momentum * m[i] + grad[i];
        data[i] -= learning_rate * m[i];
        grad[i] = 0;
    }
}

FOR_ROW static void NAME(sgd)(size_t n, const NAME(parameters) all, const mg_step_numbers *step) {
    const NAME(adam_numbers) by = {(REAL)step->learning_rate, (REAL)step->is.momentum, 0, (REAL)0.5, 0, 1, 1, 1, 0};
    NAME(each_block)(n, (NAME(parameters)){all.data, all.grad, all.m, NULL}, by, step, NAME(sgd_block));
}

/* Optimizers take whole BLOCKs: what is left of the parameters goes with zeros into one. */
FOR_ROW static void NAME(update)(size_t n, void *data, void *grad, void *m, void *v, const mg_step_numbers *step) {
    void (*take)(size_t n, const NAME(parameters) all, const mg_step_numbers *step) = NAME(adam);
    switch (step->is.kind) {
    case MG_ADAMW: take = NAME(adamw); break;
    case MG_SGD: take = NAME(sgd); break;
    default: break;
    }
    const size_t whole = n / BLOCK * BLOCK;
    REAL *arrays[4] = {data, grad, m, v}, rest[4][BLOCK] = {{0}};
    take(whole, (NAME(parameters)){data, grad, m, v}, step);
    if (whole < n) {
        for (int a = 0; a < 4; a++) {
            memcpy(rest[a], arrays[a] + whole, (n - whole) * sizeof(REAL));
        }
        take(BLOCK, (NAME(parameters)){rest[0], rest[1], rest[2], rest[3]}, step);
        for (int a = 0; a < 4; a++) {
            memcpy(arrays[a] + whole, rest[a], (n - whole) * sizeof(REAL));
        }
    }
}

/* Compared as integers: the order of positive floats is that of their bits, and an integer maximum runs in vectors. Numbers
   below 2 have exponents without the highest bit. */
FOR_ROW static double NAME(largest)(size_t n, const void *x_) {
    const REAL *x = x_;
    const BITS infinity = EXACT ? (BITS)0x7ff0000000000000 : (BITS)0x7f800000;
    const BITS two = EXACT ? (BITS)0x4000000000000000 : (BITS)0x40000000;
    BITS any = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        BITS bits;
        memcpy(&bits, x + i, sizeof bits);
        any |= bits;
    }
    if ((any & two) == 0) {
        return 2;
    }
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
