/* row_maps.h: what the maps of a plan compute, and `largest`, forward beside reverse. A part of row.h; operations.c says
 * what a scalar operation is.
 */

/* Of a power with the constant k, -1 or -0.5: the value, and k * x ** (k - 1). */
FOR_ROW static void NAME(inverse_row)(const NAME(work) *w, const REAL *x, REAL *out, REAL *partial) {
    const REAL k = (REAL)w->step->constant;
    if (k == -1) {
        NAME(inverses)(w->padded, w->computed, x, out, partial);
    } else {
        memcpy(out, x, w->padded * sizeof *out);
        NAME(inverse_roots)(w->padded, w->computed, out, partial);
    }
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        STORE(partial + t, LOAD(partial + t) * k);
    }
}

FOR_ROW static bool NAME(log_row)(const NAME(work) *w, size_t from, const REAL *x, REAL *out, REAL *partial) {
    memset(out, 0, w->padded * sizeof *out);
    memset(partial, 0, w->padded * sizeof *partial);
    for (size_t t = from; t < w->computed; t++) {
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
    for (size_t t = from; t < w->computed; t++) {
        const double b = step->factors == 2 ? (double)x[1][move[1] ? t : 0] : step->constant;
        mg_outcome result;
        if (mg_table[step->operation].rule((double)x[0][move[0] ? t : 0], b, &result) != MG_OK) {
            return false;
        }
        out[t] = (REAL)result.value;
        for (size_t p = 0; p < step->partials; p++) {
            partial[p * w->padded + t] = (REAL)(p == 0 ? result.da : result.db);
        }
    }
    return true;
}

/* Row r of both operands, and where it begins to mean something. */
typedef struct {
    const REAL *x[2];
    size_t from;
} NAME(map_row);

FOR_ROW static inline NAME(map_row) NAME(map_row_of)(const NAME(work) *w, const NAME(extent) *size, const NAME(rows) *x,
                                                     size_t r) {
    const size_t g = r / size->width, i = r % size->width;
    return (NAME(map_row)){
        {x[0].row + g * x[0].group + i * x[0].lane, x[1].row + g * x[1].group + i * x[1].lane},
        w->step->causal && !w->step->uniform ? w->start[i] : 0,
    };
}

FOR_ROW static bool NAME(exp_rows)(const NAME(work) *w, const NAME(extent) *size, const NAME(rows) *x) {
    const size_t to = size->length > w->padded ? size->length : w->computed; /* rows joined, or one */
    NAME(exponentials) all = {.fits = true};
    for (size_t r = 0; r < size->groups * size->width; r++) {
        const NAME(map_row) row = NAME(map_row_of)(w, size, x, r);
        const size_t begin = NAME(first_of)(size->begin, r % size->width);
        NAME(exp_later)(&all, size->length - begin, row.from - begin, to - begin, row.x[0] + begin,
                        w->value + r * w->padded + begin);
    }
    NAME(exp_waiting)(&all);
    return all.fits;
}

/* An operation that is not a few instructions a number, row by row. */
FOR_ROW static bool NAME(map_rows)(const NAME(work) *w, const NAME(extent) *size, const NAME(rows) *x) {
    const mg_step *step = w->step;
    const size_t move[2] = {x[0].move, x[1].move};
    const bool inverse = step->operation == MG_POW && (step->constant == -1 || step->constant == -0.5);
    for (size_t r = 0; r < size->groups * size->width; r++) {
        const NAME(map_row) row = NAME(map_row_of)(w, size, x, r);
        REAL *out = w->value + r * w->padded, *partial = NAME(partials_of)(w) + r * step->partials * w->padded;
        bool ordinary = true;
        if (move[0] != 0 && step->operation == MG_LOG) {
            ordinary = NAME(log_row)(w, row.from, row.x[0], out, partial);
        } else if (move[0] != 0 && row.from == 0 && inverse) {
            NAME(inverse_row)(w, row.x[0], out, partial);
        } else {
            ordinary = NAME(rule_row)(w, row.from, row.x, move, out, partial);
        }
        if (ordinary && step->operation == MG_POW) { /* Python raises, or goes on with what is not finite */
            ordinary = NAME(all_finite)(w->padded, out) && NAME(all_finite)(w->padded, partial);
        }
        if (!ordinary) {
            return false;
        }
    }
    return true;
}

/* out = an expression of a and b, which are vectors. Short rows are taken a vector of columns at a time. */
#define EACH_LANE(expression)                                                                       \
    for (size_t g = 0; g < size.groups; g++) {                                                      \
        const REAL *left = x[0].row + g * x[0].group, *right = x[1].row + g * x[1].group;           \
        REAL *row = out + g * size.width * size.length;                                             \
        for (size_t t = 0; NAME(is_short)(&size) && t < size.length; t += WIDTH) {                  \
            const REAL *from = left + t * x[0].move, *other = right + t * x[1].move;                \
            REAL *to = row + t;                                                                     \
            for (size_t n = size.width; n > 0; n--, from += x[0].lane, other += x[1].lane) {        \
                const VECTOR a = LOAD(from), b = LOAD(other);                                       \
                (void)b;                                                                            \
                STORE(to, expression);                                                              \
                to += size.length;                                                                  \
            }                                                                                       \
        }                                                                                           \
        for (size_t i = 0; !NAME(is_short)(&size) && i < size.width; i++, row += size.length) {     \
            for (size_t t = NAME(first_of)(size.begin, i); t < size.length; t += WIDTH) {           \
                const VECTOR a = LOAD(left + i * x[0].lane + t * x[0].move);                        \
                const VECTOR b = LOAD(right + i * x[1].lane + t * x[1].move);                       \
                (void)b;                                                                            \
                STORE(row + t, expression);                                                         \
            }                                                                                       \
        }                                                                                           \
    }

/* Squares, in place where the operand is no rows. An overflow is an error in Python. */
FOR_ROW static bool NAME(square_rows)(const NAME(work) *w, const NAME(extent) *size, const NAME(rows) *x) {
    bool finite = true;
    for (size_t r = 0; r < size->groups * size->width; r++) {
        const size_t g = r / size->width, i = r % size->width, begin = NAME(first_of)(size->begin, i);
        REAL *out = w->value + r * size->length;
        const REAL *row = x->row + g * x->group + i * x->lane;
        for (size_t t = begin; x->move == 0 && t < size->length; t++) {
            out[t] = *row;
        }
        NAME(squares)(size->length - begin, x->move == 0 ? out + begin : row + begin, out + begin);
        finite = finite && NAME(all_finite)(size->length - begin, out + begin);
    }
    return finite;
}

FOR_ROW static bool NAME(map)(const NAME(work) *w) {
    const mg_step *step = w->step;
    NAME(extent) size = {step->groups, step->uniform ? 1 : w->width, w->padded, NAME(begin)(w, step->causal && !step->uniform)};
    NAME(rows) x[2];
    NAME(find_operand)(w, 0, &x[0]);
    if (step->factors == 2) {
        NAME(find_operand)(w, 1, &x[1]);
    } else {
        NAME(set_rows)(&x[1], x[0].row, x[0].group, x[0].lane, x[0].move);
    }
    const bool square = step->operation == MG_POW && step->constant == 2;
    const bool exponential = step->operation == MG_EXP && x[0].move != 0;
    bool ordinary = true;
    REAL *out = w->value;
    if (step->operation == MG_ADD || step->operation == MG_MUL || step->operation == MG_RELU || square ||
        (exponential && !step->causal && w->computed == w->padded)) {
        NAME(join_rows)(&size, &x[0], &x[1], &x[1]);
    }
    if (step->operation == MG_ADD) {
        EACH_LANE(a + b)
    } else if (step->operation == MG_MUL) {
        EACH_LANE(a * b)
    } else if (step->operation == MG_RELU) {
        EACH_LANE((VECTOR)((NAME(bits))a & (a > 0)))
    } else if (square) {
        ordinary = NAME(square_rows)(w, &size, &x[0]);
    } else if (exponential) {
        ordinary = NAME(exp_rows)(w, &size, x);
    } else {
        ordinary = NAME(map_rows)(w, &size, x);
    }
    if (step->cut && step->operation != MG_EXP) {
        NAME(cut)(w, step->groups, w->value);
    }
    return ordinary;
}

#undef EACH_LANE

/* What a partial is, in terms of a factor. */
typedef enum { NAME(one), NAME(factor), NAME(positive), NAME(twice) } NAME(kind);

/* total + partial * g */
FOR_ROW static inline __attribute__((always_inline)) VECTOR NAME(plus)(NAME(kind) kind, VECTOR total, VECTOR factor,
                                                                       VECTOR g) {
    const VECTOR ones = (VECTOR){0} + 1;
    switch (kind) {
    case NAME(one): return total + g;
    case NAME(positive): return FUSED(total, (VECTOR)((NAME(bits))ones & (factor > 0)), g); /* 1.0 * g or 0.0 * g */
    case NAME(twice): return FUSED(total, factor * 2, g);
    default: return FUSED(total, factor, g);
    }
}

/* to += partial * g, lanes down; from 0 where `first`. It and `kind` are constants wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(add_partials)(NAME(kind) kind, bool first,
                                                                             const NAME(extent) *of, const NAME(rows) *g,
                                                                             const NAME(rows) *x, const NAME(rows) *to) {
    const VECTOR zero = {0};
    NAME(extent) size = {of->groups, of->width, of->length, of->begin};
    if (to->lane == 0 && size.width > 1) { /* all lanes of a group add to one row */
        for (size_t n = size.groups; n-- > 0;) {
            REAL *sum = to->row + n * to->group;
            const REAL *adjoint = g->row + n * g->group, *factor = x->row + n * x->group;
            size_t lanes = size.begin == NULL ? size.width : 0;
            for (size_t t = 0; t < size.length; t += WIDTH) {
                VECTOR total = zero;
                if (!first) {
                    total = LOAD(sum + t);
                }
                while (lanes < size.width && NAME(first_of)(size.begin, lanes) <= t) {
                    lanes++;
                }
                for (size_t i = lanes; i-- > 0;) {
                    total = NAME(plus)(kind, total, LOAD(factor + i * x->lane + t * x->move),
                                       LOAD(adjoint + i * g->lane + t));
                }
                STORE(sum + t, total);
            }
        }
        return;
    }
    NAME(join_rows)(&size, g, x, to);
    for (size_t n = size.groups; NAME(is_short)(&size) && n-- > 0;) { /* the rows differ: their order does not matter */
        for (size_t t = 0; t < size.length; t += WIDTH) {
            REAL *sum = to->row + n * to->group + t;
            const REAL *adjoint = g->row + n * g->group + t, *factor = x->row + n * x->group + t * x->move;
            for (size_t lanes = size.width; lanes > 0; lanes--, sum += to->lane, adjoint += g->lane, factor += x->lane) {
                VECTOR total = zero;
                if (!first) {
                    total = LOAD(sum);
                }
                STORE(sum, NAME(plus)(kind, total, LOAD(factor), LOAD(adjoint)));
            }
        }
    }
    for (size_t n = size.groups; !NAME(is_short)(&size) && n-- > 0;) {
        for (size_t i = size.width; i-- > 0;) {
            REAL *sum = to->row + n * to->group + i * to->lane;
            const REAL *adjoint = g->row + n * g->group + i * g->lane, *factor = x->row + n * x->group + i * x->lane;
            for (size_t t = NAME(first_of)(size.begin, i); t < size.length; t += WIDTH) {
                VECTOR total = zero;
                if (!first) {
                    total = LOAD(sum + t);
                }
                STORE(sum + t, NAME(plus)(kind, total, LOAD(factor + t * x->move), LOAD(adjoint + t)));
            }
        }
    }
}

/* The partial with respect to operand f: its kind, and the factor's rows. */
FOR_ROW static NAME(kind) NAME(partial_of)(const NAME(work) *w, size_t f, NAME(rows) *factor) {
    const mg_step *step = w->step;
    const size_t lane = step->uniform ? 0 : w->padded, group = step->uniform ? w->padded : w->width * w->padded;
    switch (step->operation) {
    case MG_ADD: NAME(set_rows)(factor, w->value, group, lane, 1); return NAME(one);
    case MG_MUL: NAME(find_operand)(w, 1 - f, factor); return NAME(factor);
    case MG_RELU: NAME(find_operand)(w, 0, factor); return NAME(positive);
    case MG_EXP: NAME(set_rows)(factor, w->value, group, lane, 1); return NAME(factor);
    default: break;
    }
    if (step->partials == 0) {
        NAME(find_operand)(w, 0, factor);
        return NAME(twice);
    }
    NAME(set_rows)(factor, NAME(partials_of)(w) + f * w->padded, step->partials * group, step->partials * lane, 1);
    return NAME(factor);
}

FOR_ROW static void NAME(add_of_kind)(NAME(kind) kind, bool first, const NAME(extent) *size, const NAME(rows) *g,
                                      const NAME(rows) *x, const NAME(rows) *to) {
#define OF_KIND(name)                                       \
    case NAME(name):                                        \
        if (first) {                                        \
            NAME(add_partials)(NAME(name), true, size, g, x, to);  \
        } else {                                            \
            NAME(add_partials)(NAME(name), false, size, g, x, to); \
        }                                                   \
        break;
    switch (kind) {
        OF_KIND(one)
        OF_KIND(factor)
        OF_KIND(positive)
        OF_KIND(twice)
    }
#undef OF_KIND
}

FOR_ROW static inline NAME(rows) NAME(lane_of)(const NAME(rows) *x, size_t g, size_t i) {
    return (NAME(rows)){x->row + g * x->group + i * x->lane, 0, 0, x->move};
}

/* The rows that get what is added to an operand; for a lane that an input selects, one row, which is then added to it. */
FOR_ROW static void NAME(find_target)(const NAME(work) *w, const mg_source *x, NAME(rows) *rows) {
    if (x->from == MG_FROM_ROWS) {
        NAME(find_rows)(w, x, NAME(adjoints_of)(w->replay, x->step), rows);
        return;
    }
    NAME(set_rows)(rows, (REAL *)w->replay->scratch + w->replay->scratch_numbers - w->padded, 0, 0, 1);
}

/* Lanes down, the operands of each in order; one operand after the other where they are of different steps, or the map has
   one lane, as it has where an input selects one. */
FOR_ROW static void NAME(map_reverse)(const NAME(work) *w) {
    const mg_step *step = w->step;
    const NAME(extent) size = {step->groups, w->width, w->padded, NAME(begin)(w, step->causal)};
    const NAME(rows) g = {w->adjoint, w->width * w->padded, w->padded, 1};
    NAME(rows) x[2], to[2];
    NAME(kind) kind[2];
    bool gets[2] = {false, false};
    if (step->cut_adjoint) {
        NAME(cut)(w, step->groups, w->adjoint);
    }
    for (size_t f = 0; f < step->factors; f++) {
        gets[f] = step->operand[f].gets;
        if (gets[f]) {
            kind[f] = NAME(partial_of)(w, f, &x[f]);
            NAME(find_target)(w, &step->operand[f], &to[f]);
        }
    }
    const bool in_turn = gets[0] && gets[1] && step->operand[0].step == step->operand[1].step &&
                         step->groups * w->width > 1;
    if (in_turn) {
        for (size_t r = step->groups * w->width; r-- > 0;) {
            for (size_t f = 0; f < 2; f++) {
                const size_t n = r / w->width, i = r % w->width;
                const NAME(rows) g1 = NAME(lane_of)(&g, n, i), x1 = NAME(lane_of)(&x[f], n, i);
                const NAME(rows) to1 = NAME(lane_of)(&to[f], n, i);
                const NAME(extent) one = {1, 1, w->padded, size.begin == NULL ? NULL : size.begin + i};
                NAME(add_of_kind)(kind[f], step->operand[f].first, &one, &g1, &x1, &to1);
            }
        }
    }
    for (size_t f = 0; f < step->factors; f++) {
        const mg_source *source = &step->operand[f];
        REAL *rows = gets[f] && source->from == MG_FROM_SELECTED ? NAME(adjoints_of)(w->replay, source->step) : NULL;
        if (rows != NULL) { /* both operands may be selected: they have one row in turn */
            memset(to[f].row, 0, w->padded * sizeof *rows);
        }
        if (gets[f] && !in_turn) {
            NAME(add_of_kind)(kind[f], source->first, &size, &g, &x[f], &to[f]);
        }
        for (size_t t = 0; rows != NULL && t < w->computed; t++) {
            rows[NAME(selected)(w, source)[t] * w->padded + t] += to[f].row[t];
        }
    }
}

/* ---- largest ---------------------------------------------------------------------------------------------------- */

FOR_ROW static bool NAME(largest_of)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[0];
    const size_t next = x->term * w->padded;
    const bool causal = w->step->causal_terms;
    for (size_t g = 0; g < w->step->groups; g++) {
        const REAL *row = NAME(value_row)(w, x, g, 0, 0);
        for (size_t t = 0; t < w->padded; t += WIDTH) {
            VECTOR most = LOAD(row + t);
            for (size_t c = 1; c < w->terms && (!causal || w->start[c] < t + WIDTH); c++) {
                const VECTOR number = LOAD(row + c * next + t);
                NAME(bits) more = number > most;
                if (causal && w->start[c] > t) {
                    more &= NAME(between)(t, w->start[c], w->padded);
                }
                most = CHOOSE(more, number, most);
            }
            STORE(w->value + g * w->padded + t, most);
        }
    }
    return true;
}
