/* row_plan.h: what a plan computes: every kind of step, forward beside reverse, and the two loops over all of them. A part
 * of row.h; plan.h says what steps and sources are, operations.c what a scalar operation is.
 *
 * Rows are `padded` numbers long. At the places beyond `positions` every adjoint is 0 and every value finite; where a
 * sum runs over the positions so far, lanes that lie ahead of a position are 0 there, and get 0.
 */

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* A step at work. */
typedef struct {
    const mg_replay *replay;
    const mg_plan *plan;
    const mg_step *step;
    size_t number, positions, padded;
    size_t width, terms; /* the numbers of rows, of this text */
    REAL *value, *partial; /* its rows */
    REAL *adjoint;
} NAME(work);

FOR_ROW static REAL *NAME(values_of)(const mg_replay *replay, size_t step) {
    return (REAL *)replay->value + replay->plan->value_row[step] * replay->padded;
}

FOR_ROW static REAL *NAME(adjoints_of)(const mg_replay *replay, size_t step) {
    return (REAL *)replay->adjoint + replay->plan->adjoint_row[step] * replay->padded;
}

FOR_ROW static NAME(work) NAME(work_of)(const mg_replay *replay, size_t number) {
    const mg_plan *plan = replay->plan;
    const mg_step *step = &plan->step[number];
    return (NAME(work)){
        .replay = replay,
        .plan = plan,
        .step = step,
        .number = number,
        .positions = replay->positions,
        .padded = replay->padded,
        .width = step->causal ? replay->positions : step->width,
        .terms = step->causal_terms ? replay->positions : step->terms,
        .value = NAME(values_of)(replay, number),
        .partial = (REAL *)replay->value + plan->partial_row[number] * replay->padded,
        .adjoint = NAME(adjoints_of)(replay, number),
    };
}

FOR_ROW static REAL *NAME(leaf)(const mg_replay *replay, void *numbers, mg_slot slot) {
    return (REAL *)numbers + (slot - replay->lowest);
}

/* Which row of a step's lanes a source reads. */
FOR_ROW static inline size_t NAME(row_of)(const NAME(work) *w, const mg_source *x, size_t g, size_t i, size_t c) {
    const size_t outer = x->offset + g * x->group;
    return (x->whole ? outer * w->positions : outer) + i * x->lane + c * x->term;
}

FOR_ROW static inline const REAL *NAME(value_row)(const NAME(work) *w, const mg_source *x, size_t g, size_t i, size_t c) {
    return NAME(values_of)(w->replay, x->step) + (x->spread ? g : NAME(row_of)(w, x, g, i, c)) * w->padded;
}

FOR_ROW static inline REAL *NAME(adjoint_row)(const NAME(work) *w, const mg_source *x, size_t g, size_t i, size_t c) {
    return NAME(adjoints_of)(w->replay, x->step) + NAME(row_of)(w, x, g, i, c) * w->padded;
}

/* Rows between a term, or a lane, of a source and the next. */
FOR_ROW static inline ptrdiff_t NAME(stride)(const NAME(work) *w, size_t rows) { return (ptrdiff_t)(rows * w->padded); }

FOR_ROW static const size_t *NAME(selected)(const NAME(work) *w, const mg_source *x) {
    return w->plan->selected + x->select * w->plan->positions;
}

/* What a map reads or adds to: the row of lane i of group g begins at row + g * group + i * lane. Its numbers move on
   with the position, or are one number, MG_CHUNK times. */
typedef struct {
    REAL *row;
    size_t group, lane, move;
} NAME(rows);

FOR_ROW static NAME(rows) NAME(rows_of)(const NAME(work) *w, const mg_source *x, REAL *numbers) {
    REAL *first = numbers + (x->whole ? x->offset * w->positions : x->offset) * w->padded;
    return (NAME(rows)){first, (x->whole ? x->group * w->positions : x->group) * w->padded, x->lane * w->padded, 1};
}

/* The values of operand f of a map; what are no rows is made so in scratch. */
FOR_ROW static NAME(rows) NAME(operand_of)(const NAME(work) *w, size_t f) {
    const mg_source *x = &w->step->operand[f];
    const size_t lanes = w->step->groups * w->width;
    REAL *room = (REAL *)w->replay->scratch + f * (w->padded + lanes * MG_CHUNK);
    if (x->from == MG_FROM_ROWS) {
        REAL *numbers = NAME(values_of)(w->replay, x->step);
        return x->spread ? (NAME(rows)){numbers, w->padded, 0, 1} : NAME(rows_of)(w, x, numbers);
    }
    if (x->from == MG_FROM_SELECTED) {
        const REAL *numbers = NAME(values_of)(w->replay, x->step);
        memset(room, 0, w->padded * sizeof *room);
        for (size_t t = 0; t < w->positions; t++) {
            room[t] = numbers[NAME(selected)(w, x)[t] * w->padded + t];
        }
        return (NAME(rows)){room, 0, 0, 1};
    }
    const bool same = x->from == MG_FROM_CONSTANT;
    for (size_t r = 0; r < (same ? 1 : lanes); r++) {
        const size_t offset = r / w->width * x->group + r % w->width * x->lane;
        const REAL number = same ? (REAL)x->constant
                                 : *NAME(leaf)(w->replay, w->replay->leaf_value, x->leaves + (mg_slot)offset);
        for (size_t t = 0; t < MG_CHUNK; t++) {
            room[r * MG_CHUNK + t] = number;
        }
    }
    return same ? (NAME(rows)){room, 0, 0, 0} : (NAME(rows)){room, w->width * MG_CHUNK, MG_CHUNK, 0};
}

/* Groups, rows in a group and numbers in a row of a loop over a map. */
typedef struct {
    size_t groups, width, length;
} NAME(extent);

FOR_ROW static bool NAME(in_order)(const NAME(extent) *size, const NAME(rows) *x) {
    const bool lanes = size->width == 1 || x->lane == size->length;
    return (x->move == 1 && lanes && (size->groups == 1 || x->group == size->width * size->length)) ||
           (x->move == 0 && (x->lane == 0 || size->width == 1) && (x->group == 0 || size->groups == 1));
}

/* One long row, where all of `count` operands stand in the order of the lanes. */
FOR_ROW static void NAME(join_rows)(NAME(extent) *size, const NAME(rows) *const *x, size_t count) {
    for (size_t k = 0; k < count; k++) {
        if (!NAME(in_order)(size, x[k])) {
            return;
        }
    }
    *size = (NAME(extent)){1, 1, size->groups * size->width * size->length};
}

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
    const VECTOR all = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    REAL total = 0;
    for (size_t t = 0; t < WIDTH; t++) {
        total += all[t];
    }
    return total == 0;
}

/* The lanes that lie ahead, of a causal step's rows. */
FOR_ROW static void NAME(cut)(const NAME(work) *w, size_t groups, REAL *rows) {
    for (size_t g = 0; g < groups; g++) {
        for (size_t u = 1; u < w->positions; u++) {
            memset(rows + (g * w->positions + u) * w->padded, 0, u * sizeof *rows);
        }
    }
}

FOR_ROW static void NAME(cut_adjoints_of)(const NAME(work) *w, const mg_source *x) {
    const mg_step *from = &w->plan->step[x->step];
    if (from->cut_adjoint) {
        NAME(cut)(w, from->groups, NAME(adjoints_of)(w->replay, x->step));
    }
}

/* ---- maps ------------------------------------------------------------------------------------------------------- */

/* e ** x at places from .. to - 1, and 0 at the others; false when one is too large for a float. */
FOR_ROW static bool NAME(exp_row)(size_t padded, size_t from, size_t to, const REAL *x, REAL *out) {
    bool fits = true;
#if EXACT
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
        REAL n = a * 0x1.715476p+0f + 0x1.8p23f; /* rounded to an integer, in the last bits */
        BITS power;
        memcpy(&power, &n, sizeof power);
        n -= 0x1.8p23f;
        REAL r = (a - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
        REAL e = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f))))));
        power = (BITS)(((uint32_t)power << 23) + 0x3f800000u);
        REAL scale;
        memcpy(&scale, &power, sizeof scale);
        out[t] = ((t >= from) & (t < to)) ? e * scale : 0;
    }
#endif
    return fits;
}

/* Of a power with the constant k: the value, and k * x ** (k - 1). */
FOR_ROW static bool NAME(power_row)(const NAME(work) *w, size_t from, const REAL *x, REAL *out, REAL *partial) {
    const double k = w->step->constant;
    if (from == 0 && k == -1) {
        NAME(inverses)(w->padded, w->positions, x, out, partial);
    } else if (from == 0 && k == -0.5) {
        memcpy(out, x, w->padded * sizeof *out);
        NAME(inverse_roots)(w->padded, w->positions, out, partial);
    } else {
        memset(out, 0, w->padded * sizeof *out);
        memset(partial, 0, w->padded * sizeof *partial);
        for (size_t t = from; t < w->positions; t++) {
            double value, lower;
            if (mg_pow((double)x[t], k, &value) != MG_OK || mg_pow((double)x[t], k - 1, &lower) != MG_OK) {
                return false;
            }
            out[t] = (REAL)value;
            partial[t] = (REAL)lower;
        }
    }
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        STORE(partial + t, LOAD(partial + t) * (REAL)k);
    }
    VECTOR sum = {0}; /* NaN where one of the numbers is an infinity or a NaN: Python raises, or goes on with a NaN */
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        sum += (LOAD(out + t) + LOAD(partial + t)) * 0;
    }
    REAL total = 0;
    for (size_t t = 0; t < WIDTH; t++) {
        total += sum[t];
    }
    return total == 0;
}

FOR_ROW static bool NAME(log_row)(const NAME(work) *w, size_t from, const REAL *x, REAL *out, REAL *partial) {
    memset(out, 0, w->padded * sizeof *out);
    memset(partial, 0, w->padded * sizeof *partial);
    for (size_t t = from; t < w->positions; t++) {
        REAL p = x[t];
        if (!(p > 0)) {
            if (EXACT || !(p == 0)) {
                return false;
            }
            p = (REAL)1e-30; /* float's exp gives 0 where double's does not */
        }
        out[t] = LOG(p);
        partial[t] = 1 / p;
    }
    return true;
}

/* Any operation, by its rule. */
FOR_ROW static bool NAME(rule_row)(const NAME(work) *w, size_t from, const REAL *const *x, const size_t *move, REAL *out,
                                   REAL *partial) {
    const mg_step *step = w->step;
    memset(out, 0, w->padded * sizeof *out);
    memset(partial, 0, step->partials * w->padded * sizeof *partial);
    for (size_t t = from; t < w->positions; t++) {
        const double b = step->factors == 2 ? (double)x[1][move[1] ? t : 0] : step->constant;
        double result[3];
        if (mg_rule(step->operation, (double)x[0][move[0] ? t : 0], b, result) != MG_OK) {
            return false;
        }
        out[t] = (REAL)result[0];
        for (size_t p = 0; p < step->partials; p++) {
            partial[p * w->padded + t] = (REAL)result[1 + p];
        }
    }
    return true;
}

/* An operation that is not a few instructions a number, row by row. */
FOR_ROW static bool NAME(map_rows)(const NAME(work) *w, const NAME(extent) *size, const NAME(rows) *x) {
    const mg_step *step = w->step;
    for (size_t r = 0; r < size->groups * size->width; r++) {
        const size_t g = r / size->width, i = r % size->width, from = step->causal && !step->uniform ? i : 0;
        REAL *out = w->value + r * w->padded, *partial = w->partial + r * step->partials * w->padded;
        const REAL *row[2] = {x[0].row + g * x[0].group + i * x[0].lane, NULL};
        const size_t move[2] = {x[0].move, x[1].move};
        if (step->factors == 2) {
            row[1] = x[1].row + g * x[1].group + i * x[1].lane;
        }
        bool ordinary = false;
        if (move[0] == 0 || (step->operation != MG_EXP && step->operation != MG_LOG && step->operation != MG_POW)) {
            memset(partial, 0, step->partials * w->padded * sizeof *partial);
            ordinary = NAME(rule_row)(w, from, row, move, out, partial);
        } else if (step->operation == MG_EXP) {
            ordinary = NAME(exp_row)(w->padded, from, w->positions, row[0], out);
        } else if (step->operation == MG_LOG) {
            ordinary = NAME(log_row)(w, from, row[0], out, partial);
        } else {
            ordinary = NAME(power_row)(w, from, row[0], out, partial);
        }
        if (!ordinary) {
            return false;
        }
    }
    return true;
}

/* out = an expression of a and b, which are vectors */
#define EACH_LANE(expression)                                                                       \
    for (size_t g = 0; g < size.groups; g++) {                                                      \
        for (size_t i = 0; i < size.width; i++) {                                                   \
            const REAL *left = x[0].row + g * x[0].group + i * x[0].lane;                           \
            const REAL *right = x[1].row + g * x[1].group + i * x[1].lane;                          \
            for (size_t t = 0; t < size.length; t += WIDTH, out += WIDTH) {                         \
                const VECTOR a = LOAD(left + t * x[0].move), b = LOAD(right + t * x[1].move);       \
                (void)b;                                                                            \
                STORE(out, expression);                                                             \
            }                                                                                       \
        }                                                                                           \
    }

FOR_ROW static bool NAME(map)(const NAME(work) *w) {
    const mg_step *step = w->step;
    NAME(extent) size = {step->groups, step->uniform ? 1 : w->width, w->padded};
    const size_t numbers = size.groups * size.width * size.length;
    NAME(rows) x[2] = {NAME(operand_of)(w, 0), {NULL, 0, 0, 0}};
    x[1] = step->factors == 2 ? NAME(operand_of)(w, 1) : x[0];
    const bool square = step->operation == MG_POW && step->constant == 2;
    bool ordinary = true;
    REAL *out = w->value;
    if (step->operation == MG_ADD || step->operation == MG_MUL || step->operation == MG_RELU || square) {
        NAME(join_rows)(&size, (const NAME(rows) *const[]){&x[0], &x[1]}, 2);
    }
    if (step->operation == MG_ADD) {
        EACH_LANE(a + b)
    } else if (step->operation == MG_MUL) {
        EACH_LANE(a * b)
    } else if (step->operation == MG_RELU) {
        EACH_LANE((VECTOR)((NAME(bits))a & (a > 0)))
    } else if (square) {
        EACH_LANE(a)
        NAME(squares)(numbers, w->value);
        ordinary = NAME(all_finite)(numbers, w->value); /* an overflow is an error in Python */
    } else {
        ordinary = NAME(map_rows)(w, &size, x);
    }
    if (step->cut && step->operation != MG_EXP) {
        NAME(cut)(w, step->groups, w->value);
    }
    return ordinary;
}

#undef EACH_LANE

/* Is a source rows that have adjoints? */
FOR_ROW static inline bool NAME(gets)(const NAME(work) *w, const mg_source *x) {
    return x->derives && x->from != MG_FROM_LEAVES && x->from != MG_FROM_CONSTANT &&
           (x->parts > 0 || x->step < w->plan->each);
}

/* What a partial is, in terms of a factor. */
typedef enum { NAME(one), NAME(factor), NAME(positive), NAME(twice) } NAME(kind);

FOR_ROW static inline __attribute__((always_inline)) VECTOR NAME(times)(NAME(kind) kind, VECTOR factor, VECTOR g) {
    const VECTOR ones = (VECTOR){0} + 1;
    switch (kind) {
    case NAME(one): return g;
    case NAME(positive): return (VECTOR)((NAME(bits))ones & (factor > 0)) * g; /* 1.0 * g or 0.0 * g */
    case NAME(twice): return (factor * 2) * g;
    default: return factor * g;
    }
}

/* to += partial * g, lanes down. `kind` is a constant wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(add_partials)(NAME(kind) kind, NAME(extent) size,
                                                                             const NAME(rows) *g, const NAME(rows) *x,
                                                                             const NAME(rows) *to) {
    if (to->lane == 0 && size.width > 1) { /* all lanes of a group add to one row */
        for (size_t n = size.groups; n-- > 0;) {
            REAL *sum = to->row + n * to->group;
            const REAL *adjoint = g->row + n * g->group, *factor = x->row + n * x->group;
            for (size_t t = 0; t < size.length; t += WIDTH) {
                VECTOR total = LOAD(sum + t);
                for (size_t i = size.width; i-- > 0;) {
                    total += NAME(times)(kind, LOAD(factor + i * x->lane + t * x->move), LOAD(adjoint + i * g->lane + t));
                }
                STORE(sum + t, total);
            }
        }
        return;
    }
    NAME(join_rows)(&size, (const NAME(rows) *const[]){g, x, to}, 3);
    for (size_t n = size.groups; n-- > 0;) {
        for (size_t i = size.width; i-- > 0;) {
            REAL *sum = to->row + n * to->group + i * to->lane;
            const REAL *adjoint = g->row + n * g->group + i * g->lane, *factor = x->row + n * x->group + i * x->lane;
            for (size_t t = 0; t < size.length; t += WIDTH) {
                STORE(sum + t, LOAD(sum + t) + NAME(times)(kind, LOAD(factor + t * x->move), LOAD(adjoint + t)));
            }
        }
    }
}

/* The partial with respect to operand f: its kind, and the factor's rows. */
FOR_ROW static NAME(kind) NAME(partial_of)(const NAME(work) *w, size_t f, NAME(rows) *factor) {
    const mg_step *step = w->step;
    const size_t lane = step->uniform ? 0 : w->padded, group = step->uniform ? w->padded : w->width * w->padded;
    switch (step->operation) {
    case MG_ADD: *factor = (NAME(rows)){w->value, group, lane, 1}; return NAME(one);
    case MG_MUL: *factor = NAME(operand_of)(w, 1 - f); return NAME(factor);
    case MG_RELU: *factor = NAME(operand_of)(w, 0); return NAME(positive);
    case MG_EXP: *factor = (NAME(rows)){w->value, group, lane, 1}; return NAME(factor);
    default: break;
    }
    if (step->partials == 0) {
        *factor = NAME(operand_of)(w, 0);
        return NAME(twice);
    }
    *factor = (NAME(rows)){w->partial + f * w->padded, step->partials * group, step->partials * lane, 1};
    return NAME(factor);
}

FOR_ROW static void NAME(add_of_kind)(NAME(kind) kind, NAME(extent) size, const NAME(rows) *g, const NAME(rows) *x,
                                      const NAME(rows) *to) {
    switch (kind) {
    case NAME(one): NAME(add_partials)(NAME(one), size, g, x, to); break;
    case NAME(factor): NAME(add_partials)(NAME(factor), size, g, x, to); break;
    case NAME(positive): NAME(add_partials)(NAME(positive), size, g, x, to); break;
    case NAME(twice): NAME(add_partials)(NAME(twice), size, g, x, to); break;
    }
}

FOR_ROW static inline NAME(rows) NAME(lane_of)(const NAME(rows) *x, size_t g, size_t i) {
    return (NAME(rows)){x->row + g * x->group + i * x->lane, 0, 0, x->move};
}

/* The rows that get what is added to an operand; for a lane that an input selects, one row, which is added later. */
FOR_ROW static NAME(rows) NAME(target_of)(const NAME(work) *w, const mg_source *x) {
    if (x->from == MG_FROM_ROWS) {
        return NAME(rows_of)(w, x, NAME(adjoints_of)(w->replay, x->step));
    }
    NAME(rows) to = {(REAL *)w->replay->scratch + w->plan->scratch - w->padded, 0, 0, 1};
    memset(to.row, 0, w->padded * sizeof *to.row);
    return to;
}

/* Lanes down, the operands of each in order; one operand after the other where they are of different steps. */
FOR_ROW static void NAME(map_reverse)(const NAME(work) *w) {
    const mg_step *step = w->step;
    const NAME(extent) size = {step->groups, w->width, w->padded}, one = {1, 1, w->padded};
    const NAME(rows) g = {w->adjoint, w->width * w->padded, w->padded, 1};
    NAME(rows) x[2], to[2];
    NAME(kind) kind[2];
    bool gets[2] = {false, false};
    if (step->cut_adjoint) {
        NAME(cut)(w, step->groups, w->adjoint);
    }
    for (size_t f = 0; f < step->factors; f++) {
        gets[f] = NAME(gets)(w, &step->operand[f]);
        if (gets[f]) {
            kind[f] = NAME(partial_of)(w, f, &x[f]);
            to[f] = NAME(target_of)(w, &step->operand[f]);
        }
    }
    if (gets[0] && gets[1] && step->operand[0].step == step->operand[1].step) {
        for (size_t r = step->groups * w->width; r-- > 0;) {
            for (size_t f = 0; f < 2; f++) {
                const size_t n = r / w->width, i = r % w->width;
                const NAME(rows) g1 = NAME(lane_of)(&g, n, i), x1 = NAME(lane_of)(&x[f], n, i);
                const NAME(rows) to1 = NAME(lane_of)(&to[f], n, i);
                NAME(add_of_kind)(kind[f], one, &g1, &x1, &to1);
            }
        }
    }
    for (size_t f = 0; f < step->factors; f++) {
        const mg_source *source = &step->operand[f];
        if (gets[f] && !(gets[0] && gets[1] && step->operand[0].step == step->operand[1].step)) {
            NAME(add_of_kind)(kind[f], size, &g, &x[f], &to[f]);
        }
        REAL *rows = gets[f] && source->from == MG_FROM_SELECTED ? NAME(adjoints_of)(w->replay, source->step) : NULL;
        for (size_t t = 0; rows != NULL && t < w->positions; t++) {
            rows[NAME(selected)(w, source)[t] * w->padded + t] += to[f].row[t];
        }
    }
}

/* ---- largest ---------------------------------------------------------------------------------------------------- */

FOR_ROW static bool NAME(largest_of)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[0];
    const bool causal = w->step->causal_terms;
    for (size_t g = 0; g < w->step->groups; g++) {
        REAL *out = w->value + g * w->padded;
        memcpy(out, NAME(value_row)(w, x, g, 0, 0), w->padded * sizeof *out);
        for (size_t c = 1; c < w->terms; c++) {
            const REAL *row = NAME(value_row)(w, x, g, 0, c);
            for (size_t t = causal ? c / MG_CHUNK * MG_CHUNK : 0; t < w->padded; t++) {
                out[t] = ((row[t] > out[t]) & (!causal | (t >= c))) ? row[t] : out[t];
            }
        }
    }
    return true;
}

/* ---- sums of products with leaves ------------------------------------------------------------------------------- */

#define AT_ONCE 16 /* runs of rows that are handed to products together */

/* Part p of the rows that a sum of products with leaves reads: its terms, and the leaves' first. */
typedef struct {
    mg_source rows; /* without parts */
    size_t first, terms;
} NAME(part);

FOR_ROW static NAME(part) NAME(part_of)(const NAME(work) *w, size_t p) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    NAME(part) part = {*x, 0, w->terms};
    if (x->parts > 0) {
        const mg_part *from = &w->plan->part[x->part + p];
        part.rows.step = from->step;
        part.rows.offset = from->offset;
        part.rows.parts = 0;
        part.first = p * x->block;
        part.terms = part.first + x->block < w->terms ? x->block : w->terms - part.first;
    }
    return part;
}

FOR_ROW static size_t NAME(parts_of)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    return x->parts > 0 ? x->parts : 1;
}

FOR_ROW static bool NAME(linear)(const NAME(work) *w) {
    const mg_source *leaves = &w->step->operand[w->step->weights];
    const REAL *weights = NAME(leaf)(w->replay, w->replay->leaf_value, leaves->leaves);
    memset(w->value, 0, w->width * w->padded * sizeof *w->value);
    for (size_t p = 0; p < NAME(parts_of)(w); p++) {
        const NAME(part) part = NAME(part_of)(w, p);
        const NAME(sum) sum = {
            .a = weights + part.first * leaves->term,
            .a_output = (ptrdiff_t)leaves->lane,
            .a_term = (ptrdiff_t)leaves->term,
            .b = NAME(value_row)(w, &part.rows, 0, 0, 0),
            .b_term = NAME(stride)(w, part.rows.term),
            .terms = part.terms,
        };
        NAME(products)(w->width, w->padded, &sum, 1, w->value, w->padded);
    }
    return true;
}

/* Row c of a part gets weight[i][c] * g[i], for all lanes of the fan, in its order. */
FOR_ROW static void NAME(fan_rows)(const mg_replay *replay, const mg_fan *fan, const NAME(part) *part, REAL *to) {
    const mg_plan *plan = replay->plan;
    const size_t padded = replay->padded;
    const mg_step *first = &plan->step[fan->first];
    for (size_t from = fan->from; from < fan->to; from += AT_ONCE) {
        const size_t count = fan->to - from < AT_ONCE ? fan->to - from : AT_ONCE;
        const size_t column = first->operand[first->weights].term;
        NAME(sum) sums[AT_ONCE];
        for (size_t r = 0; r < count; r++) {
            const mg_rows *run = &plan->run[from + r];
            const mg_step *step = &plan->step[run->step];
            const mg_source *leaves = &step->operand[step->weights];
            const size_t slot = run->start * leaves->lane + part->first * leaves->term;
            sums[r] = (NAME(sum)){
                .a = NAME(leaf)(replay, replay->leaf_value, leaves->leaves + (mg_slot)slot),
                .a_output = (ptrdiff_t)column,
                .a_term = -(ptrdiff_t)leaves->lane,
                .b = NAME(adjoints_of)(replay, run->step) + run->start * padded,
                .b_term = -(ptrdiff_t)padded,
                .terms = run->count,
            };
        }
        NAME(products)(part->terms, padded, sums, count, to, part->rows.term * padded);
    }
}

/* The same at one position, which has an order of its own. */
FOR_ROW static void NAME(exceptional_rows)(const mg_replay *replay, const mg_exception *exception,
                                           const NAME(part) *part, REAL *column) {
    const mg_plan *plan = replay->plan;
    for (size_t r = exception->from; r < exception->to; r++) {
        const mg_rows *run = &plan->run[r];
        const mg_step *step = &plan->step[run->step];
        const mg_source *leaves = &step->operand[step->weights];
        const REAL *weights = NAME(leaf)(replay, replay->leaf_value, leaves->leaves);
        for (size_t n = 0; n < run->count; n++) {
            const size_t lane = run->start - n;
            const REAL g = NAME(adjoints_of)(replay, run->step)[lane * replay->padded + exception->position];
            const REAL *row = weights + lane * leaves->lane + part->first * leaves->term;
            for (size_t c = 0; c < part->terms; c++) {
                column[c] += row[c * leaves->term] * g;
            }
        }
    }
}

/* The selected lane comes last: its adjoint is put aside, and it is then added at each position. */
FOR_ROW static void NAME(selected_row)(const mg_replay *replay, const mg_fan *fan, const NAME(part) *part,
                                       const REAL *saved, REAL *to) {
    const mg_step *step = &replay->plan->step[fan->first];
    const mg_source *leaves = &step->operand[step->weights];
    const size_t *selected = replay->plan->selected + fan->select * replay->plan->positions;
    for (size_t t = 0; t < replay->positions; t++) {
        const size_t slot = selected[t] * leaves->lane + part->first * leaves->term;
        const REAL *row = NAME(leaf)(replay, replay->leaf_value, leaves->leaves + (mg_slot)slot);
        for (size_t c = 0; c < part->terms; c++) {
            to[c * part->rows.term * replay->padded + t] += row[c * leaves->term] * saved[t];
        }
    }
}

FOR_ROW static void NAME(fan)(const mg_replay *replay, const mg_fan *fan) {
    const NAME(work) w = NAME(work_of)(replay, fan->first);
    const mg_plan *plan = replay->plan;
    const size_t padded = replay->padded;
    if (!NAME(gets)(&w, &w.step->operand[1 - w.step->weights])) {
        return;
    }
    REAL *saved = replay->scratch;
    const size_t *selected = plan->selected + (fan->select == MG_NOWHERE ? 0 : fan->select * plan->positions);
    for (size_t t = 0; fan->select != MG_NOWHERE && t < replay->positions; t++) {
        saved[t] = w.adjoint[selected[t] * padded + t];
        w.adjoint[selected[t] * padded + t] = 0;
    }
    for (size_t p = 0; p < NAME(parts_of)(&w); p++) {
        const NAME(part) part = NAME(part_of)(&w, p);
        const size_t stride = part.rows.term * padded;
        REAL *to = NAME(adjoint_row)(&w, &part.rows, 0, 0, 0), *column = saved + padded;
        for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
            const size_t t = plan->exception[e].position;
            for (size_t c = 0; t < replay->positions && c < part.terms; c++) {
                column[c] = to[c * stride + t];
            }
            if (t < replay->positions) {
                NAME(exceptional_rows)(replay, &plan->exception[e], &part, column);
                column += part.terms;
            }
        }
        NAME(fan_rows)(replay, fan, &part, to);
        column = saved + padded;
        for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
            const size_t t = plan->exception[e].position;
            for (size_t c = 0; t < replay->positions && c < part.terms; c++) {
                to[c * stride + t] = *column++;
            }
        }
        if (fan->select != MG_NOWHERE) {
            NAME(selected_row)(replay, fan, &part, saved, to);
        }
    }
    for (size_t t = 0; fan->select != MG_NOWHERE && t < replay->positions; t++) {
        w.adjoint[selected[t] * padded + t] = saved[t];
    }
}

/* ---- sums over positions ---------------------------------------------------------------------------------------- */

/* out[t][u] = x[u][t], positions by positions; the rest of each row stays 0 */
FOR_ROW static void NAME(transpose)(const NAME(work) *w, const REAL *x, REAL *out) {
    for (size_t t = 0; t < w->positions; t++) {
        for (size_t u = 0; u < w->positions; u++) {
            out[t * w->padded + u] = x[u * w->padded + t];
        }
    }
}

FOR_ROW static REAL *NAME(turned)(const NAME(work) *w) {
    REAL *turned = w->replay->scratch;
    memset(turned, 0, w->positions * w->padded * sizeof *turned);
    return turned;
}

/* Lane u of a group is sum(x[c] * past[u][c] for c), where past[u] are lanes of position u. Where u lies ahead of a
   position, the number means nothing. */
FOR_ROW static bool NAME(dots)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    memset(w->value, 0, w->step->groups * w->width * w->padded * sizeof *w->value);
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(sum) sum = {
            .a = NAME(values_of)(w->replay, past->step) + (past->offset + g * past->group) * w->padded,
            .a_output = 1,
            .a_term = NAME(stride)(w, past->term),
            .b = NAME(value_row)(w, x, g, 0, 0),
            .b_term = NAME(stride)(w, x->term),
            .terms = w->terms,
        };
        NAME(products)(w->width, w->padded, &sum, 1, w->value + g * w->width * w->padded, w->padded);
    }
    return true;
}

/* x[c] gets past[u][c] * g[u], u down; past[u][c] gets x[c] * g[u], positions down. */
FOR_ROW static void NAME(dots_reverse)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    const size_t last = w->positions - 1;
    for (size_t g = w->step->groups; g-- > 0;) {
        const REAL *adjoint = w->adjoint + g * w->width * w->padded;
        const size_t rows = (past->offset + g * past->group) * w->padded;
        if (NAME(gets)(w, x)) {
            const REAL *keys = NAME(values_of)(w->replay, past->step) + rows;
            const NAME(sum) sum = {keys + last, NAME(stride)(w, past->term), -1, adjoint + last * w->padded, -row,
                                   w->positions};
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), x->term * w->padded);
        }
        if (NAME(gets)(w, past)) {
            REAL *turned = NAME(turned)(w);
            NAME(transpose)(w, adjoint, turned);
            const NAME(sum) sum = {NAME(value_row)(w, x, g, 0, 0) + last, NAME(stride)(w, x->term), -1,
                                   turned + last * w->padded, -row, w->positions};
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->term * w->padded);
        }
    }
}

/* Lane i of a group is sum(x[u] * past[u][i] for u), over the positions u so far. A value that is not finite would count
   where it lies ahead. */
FOR_ROW static bool NAME(mix)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    bool finite = true;
    memset(w->value, 0, w->step->groups * w->width * w->padded * sizeof *w->value);
    for (size_t g = 0; g < w->step->groups; g++) {
        const REAL *rows = NAME(values_of)(w->replay, past->step) + (past->offset + g * past->group) * w->padded;
        const NAME(sum) sum = {rows, NAME(stride)(w, past->lane), 1, NAME(value_row)(w, x, g, 0, 0), (ptrdiff_t)w->padded,
                               w->positions};
        NAME(products)(w->width, w->padded, &sum, 1, w->value + g * w->width * w->padded, w->padded);
        for (size_t i = 0; past->lane != 1 && i < w->width; i++) {
            finite = finite && NAME(all_finite)(w->padded, rows + i * past->lane * w->padded);
        }
        finite = finite && (past->lane != 1 || NAME(all_finite)(w->width * w->padded, rows));
    }
    return finite;
}

/* x[u] gets past[u][i] * g[i], i down; past[u][i] gets x[u] * g[i], positions down. */
FOR_ROW static void NAME(mix_reverse)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    for (size_t g = w->step->groups; g-- > 0;) {
        const REAL *adjoint = w->adjoint + g * w->width * w->padded;
        const size_t rows = (past->offset + g * past->group) * w->padded, last = w->width - 1;
        if (NAME(gets)(w, x)) {
            const REAL *values = NAME(values_of)(w->replay, past->step) + rows;
            const NAME(sum) sum = {values + last * past->lane * w->padded, 1, -NAME(stride)(w, past->lane),
                                   adjoint + last * w->padded, -row, w->width};
            NAME(products)(w->positions, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), w->padded);
        }
        if (NAME(gets)(w, past)) {
            REAL *turned = NAME(turned)(w);
            NAME(transpose)(w, NAME(value_row)(w, x, g, 0, 0), turned);
            const NAME(sum) sum = {adjoint + w->positions - 1, row, -1, turned + (w->positions - 1) * w->padded, -row,
                                   w->positions};
            NAME(products)(w->width, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->lane * w->padded);
        }
    }
    if (NAME(gets)(w, x)) {
        NAME(cut_adjoints_of)(w, x);
    }
}

/* ---- other sums, of rows or of products of rows ----------------------------------------------------------------- */

FOR_ROW static bool NAME(sum_of_rows)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[0], *y = &w->step->operand[1];
    for (size_t r = 0; r < w->step->groups * w->width; r++) {
        const size_t g = r / w->width, i = r % w->width;
        const REAL *a = NAME(value_row)(w, x, g, i, 0), *b = w->step->factors == 2 ? NAME(value_row)(w, y, g, i, 0) : a;
        const size_t to_a = x->term * w->padded, to_b = y->term * w->padded;
        for (size_t t = 0; t < w->padded; t += WIDTH) {
            VECTOR sum = {0};
            for (size_t c = 0; c < w->terms; c++) {
                VECTOR term = LOAD(a + c * to_a + t);
                if (w->step->factors == 2) {
                    term *= LOAD(b + c * to_b + t);
                }
                sum += term;
            }
            STORE(w->value + r * w->padded + t, sum);
        }
    }
    return true;
}

/* Lanes down, terms down, the factors of each in order. */
FOR_ROW static void NAME(sum_of_rows_reverse)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[0], *y = &w->step->operand[1];
    if (w->step->cut_adjoint) {
        NAME(cut)(w, w->step->groups, w->adjoint);
    }
    const bool to_x = NAME(gets)(w, x), two = w->step->factors == 2, to_y = two && NAME(gets)(w, y);
    for (size_t r = w->step->groups * w->width; r-- > 0;) {
        const size_t g = r / w->width, i = r % w->width;
        const REAL *adjoint = w->adjoint + r * w->padded;
        const REAL *values[2] = {NAME(value_row)(w, x, g, i, 0), two ? NAME(value_row)(w, y, g, i, 0) : NULL};
        REAL *adjoints[2] = {to_x ? NAME(adjoint_row)(w, x, g, i, 0) : NULL, to_y ? NAME(adjoint_row)(w, y, g, i, 0) : NULL};
        for (size_t c = w->terms; c-- > 0;) {
            const size_t at_x = c * x->term * w->padded, at_y = c * y->term * w->padded;
            REAL *x_adjoint = to_x ? adjoints[0] + at_x : NULL, *y_adjoint = to_y ? adjoints[1] + at_y : NULL;
            const REAL *a = values[0] + at_x, *b = two ? values[1] + at_y : a;
            for (size_t t = 0; t < w->padded; t += WIDTH) {
                const VECTOR gt = LOAD(adjoint + t);
                VECTOR to_first = gt;
                if (two) {
                    to_first *= LOAD(b + t);
                }
                if (to_x) {
                    STORE(x_adjoint + t, LOAD(x_adjoint + t) + to_first);
                }
                if (to_y) {
                    STORE(y_adjoint + t, LOAD(y_adjoint + t) + LOAD(a + t) * gt);
                }
            }
        }
    }
    for (size_t f = 0; f < w->step->factors && w->step->causal_terms; f++) {
        if (NAME(gets)(w, &w->step->operand[f])) {
            NAME(cut_adjoints_of)(w, &w->step->operand[f]);
        }
    }
}

/* Which factor of a sum is of all positions so far, or MG_NOWHERE. */
FOR_ROW static size_t NAME(past_of)(const mg_step *step) {
    for (size_t f = 0; f < step->factors; f++) {
        if (step->operand[f].from == MG_FROM_PAST) {
            return f;
        }
    }
    return MG_NOWHERE;
}

FOR_ROW static bool NAME(sum_forward)(const NAME(work) *w) {
    const size_t f = NAME(past_of)(w->step);
    if (w->step->weights != MG_NOWHERE) {
        return NAME(linear)(w);
    }
    if (f == MG_NOWHERE) {
        return NAME(sum_of_rows)(w);
    }
    return w->step->operand[f].past == MG_BY_LANE ? NAME(dots)(w, f) : NAME(mix)(w, f);
}

FOR_ROW static void NAME(sum_reverse)(const NAME(work) *w) {
    const size_t f = NAME(past_of)(w->step);
    if (f == MG_NOWHERE) {
        NAME(sum_of_rows_reverse)(w);
    } else if (w->step->operand[f].past == MG_BY_LANE) {
        NAME(dots_reverse)(w, f);
    } else {
        NAME(mix_reverse)(w, f);
    }
}

/* ---- leaves ----------------------------------------------------------------------------------------------------- */

/* Leaves that differ from position to position, as rows. */
FOR_ROW static void NAME(gather)(const NAME(work) *w) {
    const mg_gather *gather = &w->plan->gather[w->step->gather];
    memset(w->value, 0, w->width * w->padded * sizeof *w->value);
    for (size_t t = 0; t < w->positions; t++) {
        for (size_t p = 0; p < gather->parts; p++) {
            const mg_slot slot = w->plan->gathered[gather->slots + t * gather->parts + p];
            const REAL *leaves = NAME(leaf)(w->replay, w->replay->leaf_value, slot);
            REAL *out = w->value + p * gather->block * w->padded + t;
            for (size_t c = 0; c < gather->block; c++) {
                out[c * w->padded] = leaves[c];
            }
        }
    }
}

/* The value of operand f, at one position. */
FOR_ROW static REAL NAME(value_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    switch (x->from) {
    case MG_FROM_CONSTANT: return (REAL)x->constant;
    case MG_FROM_LEAVES:
        return *NAME(leaf)(w->replay, w->replay->leaf_value,
                           x->leaves + (mg_slot)(g * x->group + i * x->lane + c * x->term));
    case MG_FROM_SELECTED: return NAME(values_of)(w->replay, x->step)[NAME(selected)(w, x)[t] * w->padded + t];
    case MG_FROM_PAST: {
        const bool by_lane = x->past == MG_BY_LANE;
        const size_t row = x->offset + g * x->group + (by_lane ? c * x->term : i * x->lane);
        return NAME(values_of)(w->replay, x->step)[row * w->padded + (by_lane ? i : c)];
    }
    default: break;
    }
    if (x->parts > 0) {
        const mg_part *part = &w->plan->part[x->part + c / x->block];
        return NAME(values_of)(w->replay, part->step)[(part->offset + c % x->block) * w->padded + t];
    }
    return NAME(value_row)(w, x, g, i, c)[t];
}

/* The partial with respect to operand f, at one position. */
FOR_ROW static REAL NAME(partial_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_step *step = w->step;
    const size_t stored = step->uniform ? g : g * w->width + i;
    switch (step->operation) {
    case MG_ADD: return 1;
    case MG_MUL: return NAME(value_at)(w, 1 - f, t, g, i, c);
    case MG_SUM: return step->factors == 2 ? NAME(value_at)(w, 1 - f, t, g, i, c) : 1;
    case MG_RELU: return NAME(value_at)(w, 0, t, g, i, c) > 0;
    case MG_EXP: return w->value[stored * w->padded + t];
    default:
        return step->partials == 0 ? NAME(value_at)(w, 0, t, g, i, c) * 2
                                   : w->partial[(stored * step->partials + f) * w->padded + t];
    }
}

/* Where operand f is leaves: the one of a lane and term at a position. */
FOR_ROW static REAL *NAME(leaf_adjoint_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    const size_t offset = g * x->group + i * x->lane + c * x->term;
    if (x->from == MG_FROM_LEAVES) {
        return NAME(leaf)(w->replay, w->replay->leaf_adjoint, x->leaves + (mg_slot)offset);
    }
    const mg_gather *gather = &w->plan->gather[w->plan->step[x->step].gather];
    const mg_slot slot = w->plan->gathered[gather->slots + t * gather->parts + offset / gather->block];
    return NAME(leaf)(w->replay, w->replay->leaf_adjoint, slot + (mg_slot)(offset % gather->block));
}

/* to[c * term] += x[c] * g, n of them */
FOR_ROW static void NAME(add_scaled)(size_t n, const REAL *restrict x, size_t x_term, REAL g, REAL *restrict to,
                                     size_t term) {
    if (x_term == 1 && term == 1) {
        for (size_t c = 0; c < n; c++) {
            to[c] += x[c] * g;
        }
        return;
    }
    for (size_t c = 0; c < n; c++) {
        to[c * term] += x[c * x_term] * g;
    }
}

/* The additions of an event at one position: lanes down, terms down. */
FOR_ROW static void NAME(add_at)(const NAME(work) *w, size_t f, size_t t) {
    const mg_step *step = w->step;
    const mg_source *x = &step->operand[f];
    const size_t width = step->causal ? t + 1 : step->width, terms = step->causal_terms ? t + 1 : step->terms;
    if (step->weights == f && x->term > 0) { /* all terms of a lane at once: their leaves differ */
        REAL *column = w->replay->scratch;
        for (size_t c = 0; c < terms; c++) {
            column[c] = NAME(value_at)(w, 1 - f, t, 0, 0, c);
        }
        for (size_t i = width; i-- > 0;) {
            NAME(add_scaled)(terms, column, 1, w->adjoint[i * w->padded + t],
                             NAME(leaf_adjoint_at)(w, f, t, 0, i, 0), x->term);
        }
        return;
    }
    if (step->weights == 1 - f) { /* leaves that were gathered for a sum: likewise, part after part */
        const mg_source *weights = &step->operand[1 - f];
        const size_t block = w->plan->gather[w->plan->step[x->step].gather].block;
        for (size_t i = width; i-- > 0;) {
            const REAL *row = NAME(leaf)(w->replay, w->replay->leaf_value, weights->leaves) + i * weights->lane;
            for (size_t end = terms; end > 0;) {
                const size_t from = x->term == 1 ? (end - 1) / block * block : end - 1;
                NAME(add_scaled)(end - from, row + from * weights->term, weights->term, w->adjoint[i * w->padded + t],
                                 NAME(leaf_adjoint_at)(w, f, t, 0, i, from), 1);
                end = from;
            }
        }
        return;
    }
    if (step->operation == MG_ADD && step->groups == 1 && x->lane == 1 && x->from == MG_FROM_ROWS) {
        REAL *leaves = NAME(leaf_adjoint_at)(w, f, t, 0, 0, 0); /* one part: a row of an embedding */
        for (size_t i = 0; i < width; i++) {
            leaves[i] += w->adjoint[i * w->padded + t];
        }
        return;
    }
    for (size_t lane = step->groups * width; lane-- > 0;) {
        const size_t g = lane / width, i = lane % width;
        const REAL adjoint = w->adjoint[(g * w->width + i) * w->padded + t];
        for (size_t c = terms; c-- > 0;) {
            *NAME(leaf_adjoint_at)(w, f, t, g, i, c) += NAME(partial_at)(w, f, t, g, i, c) * adjoint;
        }
    }
}

/* Weights get x[c] * g[i], positions down: columns side by side, for which x is turned round, unless it was. */
FOR_ROW static void NAME(weights_reverse)(const NAME(work) *w, bool turn) {
    const mg_source *weights = &w->step->operand[w->step->weights];
    const size_t columns = w->terms, wide = mg_padded(columns), last = w->positions - 1;
    REAL *turned = w->replay->scratch;
    for (size_t p = 0; turn && p < NAME(parts_of)(w); p++) {
        const NAME(part) part = NAME(part_of)(w, p);
        const REAL *rows = NAME(value_row)(w, &part.rows, 0, 0, 0);
        const size_t stride = part.rows.term * w->padded;
        for (size_t t = 0; t < w->positions; t++) {
            for (size_t c = 0; c < part.terms; c++) {
                turned[t * wide + part.first + c] = rows[c * stride + t];
            }
        }
    }
    const NAME(sum) sum = {w->adjoint + last, (ptrdiff_t)w->padded, -1, turned + last * wide, -(ptrdiff_t)wide,
                           w->positions};
    NAME(products)(w->width, columns, &sum, 1, NAME(leaf)(w->replay, w->replay->leaf_adjoint, weights->leaves),
                   weights->lane);
}

/* Does each lane and term have a leaf of its own, terms side by side? */
FOR_ROW static bool NAME(side_by_side)(const NAME(work) *w) {
    const mg_source *weights = &w->step->operand[w->step->weights];
    return weights->term == 1 && (weights->lane >= w->terms || w->width == 1);
}

FOR_ROW static bool NAME(same_columns)(const NAME(work) *w, const NAME(work) *other) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    const mg_source *y = &other->step->operand[1 - other->step->weights];
    return x->parts == 0 && y->parts == 0 && x->step == y->step && x->offset == y->offset && x->term == y->term &&
           w->terms == other->terms;
}

FOR_ROW static void NAME(leaves_reverse)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    NAME(work) turned = {0}; /* whose x was turned round last */
    for (size_t r = 0; r < plan->region_count; r++) {
        const mg_region *region = &plan->region[r];
        const mg_event *event = &plan->event[region->from];
        const NAME(work) w = NAME(work_of)(replay, event->step);
        if (region->to == region->from + 1 && w.step->weights == event->factor && NAME(side_by_side)(&w)) {
            NAME(weights_reverse)(&w, turned.step == NULL || !NAME(same_columns)(&w, &turned));
            turned = w;
            continue;
        }
        turned.step = NULL;
        for (size_t t = replay->positions; t-- > 0;) {
            NAME(add_at)(&w, event->factor, t);
            for (size_t e = region->from + 1; e < region->to; e++) {
                const NAME(work) other = NAME(work_of)(replay, plan->event[e].step);
                NAME(add_at)(&other, plan->event[e].factor, t);
            }
        }
    }
}

/* ---- all steps -------------------------------------------------------------------------------------------------- */

/* False when that left ordinary numbers, or Python would raise: then the statements are computed one by one. */
FOR_ROW static bool NAME(forward)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    for (size_t k = plan->each; k < plan->step_count; k++) {
        const NAME(work) w = NAME(work_of)(replay, k);
        NAME(gather)(&w);
    }
    for (size_t k = 0; k < plan->each; k++) {
        const NAME(work) w = NAME(work_of)(replay, k);
        const bool ordinary = w.step->operation == MG_SUM       ? NAME(sum_forward)(&w)
                              : w.step->operation == MG_LARGEST ? NAME(largest_of)(&w)
                                                                : NAME(map)(&w);
        if (!ordinary) {
            return false;
        }
    }
    return !plan->check_values || NAME(all_finite)(plan->value_rows * replay->padded, replay->value);
}

/* Seeds the losses and goes through the actions, then adds to the leaves. False, with no leaf changed, when an adjoint
   is not finite: a 0 that stands for what is not there would then count. */
FOR_ROW static bool NAME(reverse)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    const size_t numbers = plan->adjoint_rows * replay->padded;
    memset(replay->adjoint, 0, numbers * sizeof(REAL));
    for (size_t t = 0; t < replay->positions; t++) {
        NAME(adjoints_of)(replay, plan->loss)[t] = plan->mean ? (REAL)(1 / (double)replay->positions) : 1;
    }
    for (size_t n = 0; n < plan->action_count; n++) {
        const size_t number = plan->action[n].number;
        if (plan->action[n].is_fan) {
            NAME(fan)(replay, &plan->fan[number]);
            continue;
        }
        const NAME(work) w = NAME(work_of)(replay, number);
        if (w.step->operation == MG_SUM) {
            NAME(sum_reverse)(&w);
        } else {
            NAME(map_reverse)(&w);
        }
    }
    if (!NAME(all_finite)(numbers, replay->adjoint)) {
        return false;
    }
    NAME(leaves_reverse)(replay);
    return true;
}

#undef AT_ONCE
