/* row_attention.h: sums over positions, which attention is, forward beside reverse: of one text, whose positions stand side by
 * side, and of several, which do so themselves. A part of row.h.
 */

/* ---- sums over positions, of one text --------------------------------------------------------------------------- */

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
FOR_ROW static bool NAME(dots_of_one)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(sum) sum = {
            .a = NAME(values_of)(w->replay, past->step) + (past->offset + g * past->group) * w->padded,
            .a_output = 1,
            .a_term = NAME(stride)(w, past->term),
            .b = NAME(value_row)(w, x, g, 0, 0),
            .b_term = NAME(stride)(w, x->term),
            .terms = w->terms,
        };
        NAME(products)(w->width, w->padded, &sum, 1, w->value + g * w->width * w->padded, w->padded, true);
    }
    return true;
}

/* x[c] gets past[u][c] * g[u], u down; past[u][c] gets x[c] * g[u], positions down. */
FOR_ROW static void NAME(dots_of_one_reverse)(const NAME(work) *w, size_t f) {
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
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), x->term * w->padded, x->first);
        }
        if (NAME(gets)(w, past)) {
            REAL *turned = NAME(turned)(w);
            NAME(transpose)(w, adjoint, turned);
            const NAME(sum) sum = {NAME(value_row)(w, x, g, 0, 0) + last, NAME(stride)(w, x->term), -1,
                                   turned + last * w->padded, -row, w->positions};
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->term * w->padded, past->first);
        }
    }
}

/* Lane i of a group is sum(x[u] * past[u][i] for u), over the positions u so far. A value that is not finite would count
   where it lies ahead. */
FOR_ROW static bool NAME(mix_of_one)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    bool finite = true;
    for (size_t g = 0; g < w->step->groups; g++) {
        const REAL *rows = NAME(values_of)(w->replay, past->step) + (past->offset + g * past->group) * w->padded;
        const NAME(sum) sum = {rows, NAME(stride)(w, past->lane), 1, NAME(value_row)(w, x, g, 0, 0), (ptrdiff_t)w->padded,
                               w->positions};
        NAME(products)(w->width, w->padded, &sum, 1, w->value + g * w->width * w->padded, w->padded, true);
        for (size_t i = 0; past->lane != 1 && i < w->width; i++) {
            finite = finite && NAME(all_finite)(w->padded, rows + i * past->lane * w->padded);
        }
        finite = finite && (past->lane != 1 || NAME(all_finite)(w->width * w->padded, rows));
    }
    return finite;
}

/* x[u] gets past[u][i] * g[i], i down; past[u][i] gets x[u] * g[i], positions down. */
FOR_ROW static void NAME(mix_of_one_reverse)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    for (size_t g = w->step->groups; g-- > 0;) {
        const REAL *adjoint = w->adjoint + g * w->width * w->padded;
        const size_t rows = (past->offset + g * past->group) * w->padded, last = w->width - 1;
        if (NAME(gets)(w, x)) {
            const REAL *values = NAME(values_of)(w->replay, past->step) + rows;
            const NAME(sum) sum = {values + last * past->lane * w->padded, 1, -NAME(stride)(w, past->lane),
                                   adjoint + last * w->padded, -row, w->width};
            NAME(products)(w->positions, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), w->padded, x->first);
        }
        if (NAME(gets)(w, past)) {
            REAL *turned = NAME(turned)(w);
            NAME(transpose)(w, NAME(value_row)(w, x, g, 0, 0), turned);
            const NAME(sum) sum = {adjoint + w->positions - 1, row, -1, turned + (w->positions - 1) * w->padded, -row,
                                   w->positions};
            NAME(products)(w->width, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->lane * w->padded, past->first);
        }
    }
    if (NAME(gets)(w, x)) {
        NAME(cut_adjoints_of)(w, x);
    }
}

/* ---- sums over positions, of texts side by side ----------------------------------------------------------------- */

/* Those texts that have position t also have all before it, in the same lanes: so a vector holds one number of several
   texts, and what it is multiplied by is a vector too. */

/* Positions of the longest of the texts that share a chunk with lane j. */
FOR_ROW static inline size_t NAME(longest)(const NAME(work) *w, size_t j) {
    return w->replay->length[j / MG_CHUNK * MG_CHUNK];
}

/* Rows of what is of this position, and of what is of another one, of a group. */
typedef struct {
    const REAL *here, *there, *g;
    REAL *to_here, *to_there;
    bool first_here, first_there; /* may what they hold be anything? */
    size_t next_here, next_there; /* between terms, or lanes */
} NAME(pair);

FOR_ROW static inline NAME(pair) NAME(pair_of)(const NAME(work) *w, size_t f, size_t g, size_t here, size_t there) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const size_t rows = (past->offset + g * past->group) * w->padded;
    return (NAME(pair)){
        .here = NAME(value_row)(w, x, g, 0, 0),
        .there = NAME(values_of)(w->replay, past->step) + rows,
        .g = w->adjoint + g * w->width * w->padded,
        .to_here = NAME(gets)(w, x) ? NAME(adjoint_row)(w, x, g, 0, 0) : NULL,
        .to_there = NAME(gets)(w, past) ? NAME(adjoints_of)(w->replay, past->step) + rows : NULL,
        .first_here = x->first,
        .first_there = past->first,
        .next_here = here * w->padded,
        .next_there = there * w->padded,
    };
}

FOR_ROW static inline __attribute__((always_inline)) VECTOR NAME(held)(const REAL *to, bool first) {
    VECTOR number = {0};
    if (!first) {
        number = LOAD(to);
    }
    return number;
}

/* Lane u of a group is sum(x[c] * past[u][c] for c); 0 where u lies ahead. */
FOR_ROW static bool NAME(dots_of_many)(const NAME(work) *w, size_t f) {
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, w->step->operand[1 - f].term, w->step->operand[f].term);
        for (size_t u = 0; u < w->positions; u++) {
            REAL *out = w->value + (g * w->width + u) * w->padded;
            if (!w->skips) {
                memset(out, 0, w->start[u] * sizeof *out);
            }
            for (size_t t = u; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    const REAL *x = p.here + w->start[t] + j, *past = p.there + w->start[u] + j;
                    VECTOR sum = {0};
                    for (size_t c = 0; c < w->terms; c++) {
                        sum = FUSED(sum, LOAD(x + c * p.next_here), LOAD(past + c * p.next_there));
                    }
                    STORE(out + w->start[t] + j, sum);
                }
            }
        }
    }
    return true;
}

/* x[c] gets past[u][c] * g[u], u down; past[u][c] gets x[c] * g[u], positions down. */
FOR_ROW static void NAME(dots_of_many_reverse)(const NAME(work) *w, size_t f) {
    for (size_t g = w->step->groups; g-- > 0;) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, w->step->operand[1 - f].term, w->step->operand[f].term);
        for (size_t c = 0; p.to_here != NULL && c < w->terms; c++) {
            for (size_t t = 0; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    REAL *to = p.to_here + c * p.next_here + w->start[t] + j;
                    VECTOR sum = NAME(held)(to, p.first_here);
                    for (size_t u = t + 1; u-- > 0;) {
                        sum = FUSED(sum, LOAD(p.there + c * p.next_there + w->start[u] + j),
                                    LOAD(p.g + u * w->padded + w->start[t] + j));
                    }
                    STORE(to, sum);
                }
            }
        }
        for (size_t c = 0; p.to_there != NULL && c < w->terms; c++) {
            for (size_t u = 0; u < w->positions; u++) {
                for (size_t j = 0; j < w->start[u + 1] - w->start[u]; j += WIDTH) {
                    REAL *to = p.to_there + c * p.next_there + w->start[u] + j;
                    VECTOR sum = NAME(held)(to, p.first_there);
                    for (size_t t = NAME(longest)(w, j); t-- > u;) {
                        sum = FUSED(sum, LOAD(p.here + c * p.next_here + w->start[t] + j),
                                    LOAD(p.g + u * w->padded + w->start[t] + j));
                    }
                    STORE(to, sum);
                }
            }
        }
    }
}

/* Lane i of a group is sum(x[u] * past[u][i] for u), over the positions u so far. */
FOR_ROW static bool NAME(mix_of_many)(const NAME(work) *w, size_t f) {
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, 1, w->step->operand[f].lane);
        for (size_t i = 0; i < w->width; i++) {
            REAL *out = w->value + (g * w->width + i) * w->padded;
            for (size_t t = 0; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    VECTOR sum = {0};
                    for (size_t u = 0; u <= t; u++) {
                        sum = FUSED(sum, LOAD(p.here + u * p.next_here + w->start[t] + j),
                                    LOAD(p.there + i * p.next_there + w->start[u] + j));
                    }
                    STORE(out + w->start[t] + j, sum);
                }
            }
        }
    }
    return true;
}

/* x[u] gets past[u][i] * g[i], i down; past[u][i] gets x[u] * g[i], positions down. */
FOR_ROW static void NAME(mix_of_many_reverse)(const NAME(work) *w, size_t f) {
    for (size_t g = w->step->groups; g-- > 0;) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, 1, w->step->operand[f].lane);
        for (size_t u = 0; p.to_here != NULL && u < w->positions; u++) {
            if (p.first_here && !w->skips) {
                memset(p.to_here + u * p.next_here, 0, w->start[u] * sizeof *p.to_here);
            }
            for (size_t t = u; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    REAL *to = p.to_here + u * p.next_here + w->start[t] + j;
                    VECTOR sum = NAME(held)(to, p.first_here);
                    for (size_t i = w->width; i-- > 0;) {
                        sum = FUSED(sum, LOAD(p.there + i * p.next_there + w->start[u] + j),
                                    LOAD(p.g + i * w->padded + w->start[t] + j));
                    }
                    STORE(to, sum);
                }
            }
        }
        for (size_t i = 0; p.to_there != NULL && i < w->width; i++) {
            for (size_t u = 0; u < w->positions; u++) {
                for (size_t j = 0; j < w->start[u + 1] - w->start[u]; j += WIDTH) {
                    REAL *to = p.to_there + i * p.next_there + w->start[u] + j;
                    VECTOR sum = NAME(held)(to, p.first_there);
                    for (size_t t = NAME(longest)(w, j); t-- > u;) {
                        sum = FUSED(sum, LOAD(p.here + u * p.next_here + w->start[t] + j),
                                    LOAD(p.g + i * w->padded + w->start[t] + j));
                    }
                    STORE(to, sum);
                }
            }
        }
    }
}
