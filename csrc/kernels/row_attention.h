/* row_attention.h: sums over positions, which attention is, forward beside reverse: of one text, whose positions stand side by
 * side, and of several, which do so themselves. A part of row.h.
 */

/* ---- sums over positions, of one text --------------------------------------------------------------------------- */

/* turned[t][u] = x[u][t], positions by positions, in scratch; the rest of each row is 0. */
FOR_ROW static const REAL *NAME(turned)(const NAME(work) *w, const REAL *x) {
    REAL *turned = w->replay->scratch;
    for (size_t u = 0; u < w->padded; u += WIDTH) {
        for (size_t t = 0; t < w->positions; t += WIDTH) {
            VECTOR square[WIDTH];
            for (size_t j = 0; j < WIDTH; j++) {
                square[j] = (VECTOR){0};
                if (u + j < w->positions) {
                    square[j] = LOAD(x + (u + j) * w->padded + t);
                }
            }
            NAME(transpose_square)(square);
            for (size_t k = 0; k < WIDTH && t + k < w->positions; k++) {
                STORE(turned + (t + k) * w->padded + u, square[k]);
            }
        }
    }
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

/* past[u][c] gets x[c] * g[u], positions down; x[c] gets past[u][c] * g[u], u down. Where they are the same rows, what
   comes from later positions comes first, as in the sweep, and what a position gives itself is the same twice. */
FOR_ROW static void NAME(dots_of_one_reverse)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    const size_t last = w->positions - 1;
    for (size_t g = w->step->groups; g-- > 0;) {
        const REAL *adjoint = w->adjoint + g * w->width * w->padded;
        const size_t rows = (past->offset + g * past->group) * w->padded;
        if (past->gets) {
            const REAL *turned = NAME(turned)(w, adjoint);
            const NAME(sum) sum = {NAME(value_row)(w, x, g, 0, 0) + last, NAME(stride)(w, x->term), -1,
                                   turned + last * w->padded, -row, w->positions};
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->term * w->padded, past->first);
        }
        if (x->gets) {
            const REAL *keys = NAME(values_of)(w->replay, past->step) + rows;
            const NAME(sum) sum = {keys + last, NAME(stride)(w, past->term), -1, adjoint + last * w->padded, -row,
                                   w->positions};
            NAME(products)(w->terms, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), x->term * w->padded,
                           x->first);
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

/* past[u][i] gets x[u] * g[i], positions down; then x[u] gets past[u][i] * g[i], i down. */
FOR_ROW static void NAME(mix_of_one_reverse)(const NAME(work) *w, size_t f) {
    const mg_source *past = &w->step->operand[f], *x = &w->step->operand[1 - f];
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    for (size_t g = w->step->groups; g-- > 0;) {
        const REAL *adjoint = w->adjoint + g * w->width * w->padded;
        const size_t rows = (past->offset + g * past->group) * w->padded, last = w->width - 1;
        if (past->gets) {
            const REAL *turned = NAME(turned)(w, NAME(value_row)(w, x, g, 0, 0));
            const NAME(sum) sum = {adjoint + w->positions - 1, row, -1, turned + (w->positions - 1) * w->padded, -row,
                                   w->positions};
            NAME(products)(w->width, w->padded, &sum, 1, NAME(adjoints_of)(w->replay, past->step) + rows,
                           past->lane * w->padded, past->first);
        }
        if (x->gets) {
            const REAL *values = NAME(values_of)(w->replay, past->step) + rows;
            const NAME(sum) sum = {values + last * past->lane * w->padded, 1, -NAME(stride)(w, past->lane),
                                   adjoint + last * w->padded, -row, w->width};
            NAME(products)(w->positions, w->padded, &sum, 1, NAME(adjoint_row)(w, x, g, 0, 0), w->padded, x->first);
        }
    }
    if (x->gets) {
        NAME(cut_adjoints_of)(w, x);
    }
}

/* ---- sums over positions, of texts side by side ----------------------------------------------------------------- */

/* Those texts that have position t also have all before it, in the same lanes: so a vector holds one number of several
   texts, and what it is multiplied by is a vector too. Its last lanes may belong to the next positions, or to the next
   row: what they give is not stored, and where they would be taken for texts that have ended, they count as 0. */

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
        .to_here = x->gets ? NAME(adjoint_row)(w, x, g, 0, 0) : NULL,
        .to_there = past->gets ? NAME(adjoints_of)(w->replay, past->step) + rows : NULL,
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

/* The first `lanes` lanes; what stands at the others stays. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(store_lanes)(REAL *to, size_t lanes, VECTOR x) {
    if (lanes < WIDTH) {
        x = CHOOSE(NAME(between)(0, 0, lanes), x, LOAD(to));
    }
    STORE(to, x);
}

#define TILE 4 /* sums that run side by side: as many need not wait for each other */

/* Vectors of a sum over positions: of position p, a number of each of several rows, and one that all are multiplied by. */
typedef struct {
    const REAL *rows, *other; /* at column 0, and at the first number of position 0 */
    size_t row, position;     /* between rows, and between positions of `other` */
    bool moves;               /* is `other` in the position's columns? */
    size_t lane, full;        /* the lane that both begin with; positions up to where all texts of the vector are there */
} NAME(over);

/* out[k] = out[k] + the sum of rows[k] * other, positions from .. to - 1 up, or down, in the first `lanes` lanes; from 0
   where `first`. `n` is a constant wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(over_positions)(const size_t n, const bool down,
                                                                                const NAME(over) *x, const size_t *start,
                                                                                size_t from, size_t to, size_t lanes,
                                                                                REAL *out, size_t next, bool first) {
    const VECTOR zero = {0};
    VECTOR sum[TILE];
    for (size_t k = 0; k < n; k++) {
        sum[k] = NAME(held)(out + k * next, first);
    }
    for (size_t count = to - from, p = down ? to - 1 : from; count > 0; count--, p += down ? (size_t)-1 : 1) {
        const VECTOR other = LOAD(x->other + p * x->position + (x->moves ? start[p] : 0));
        if (!x->moves || p < x->full) {
            for (size_t k = 0; k < n; k++) {
                sum[k] = FUSED(sum[k], LOAD(x->rows + k * x->row + start[p]), other);
            }
        } else {
            const NAME(bits) mask = NAME(between)(0, 0, start[p + 1] - start[p] - x->lane);
            for (size_t k = 0; k < n; k++) {
                sum[k] = FUSED(sum[k], CHOOSE(mask, LOAD(x->rows + k * x->row + start[p]), zero), CHOOSE(mask, other, zero));
            }
        }
    }
    for (size_t k = 0; k < n; k++) {
        NAME(store_lanes)(out + k * next, lanes, sum[k]);
    }
}

/* The same of `rows` rows, TILE at a time. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(rows_over)(size_t rows, const bool down, NAME(over) x,
                                                                           const size_t *start, size_t from, size_t to,
                                                                           size_t lanes, REAL *out, size_t next, bool first) {
    for (; rows >= TILE; rows -= TILE, x.rows += TILE * x.row, out += TILE * next) {
        NAME(over_positions)(TILE, down, &x, start, from, to, lanes, out, next, first);
    }
    for (; rows > 0; rows--, x.rows += x.row, out += next) {
        NAME(over_positions)(1, down, &x, start, from, to, lanes, out, next, first);
    }
}

/* out[k] = out[k] + the sum of here[c] * there[c] at position k, c up, or down, of n positions from `from` on, in the first
   `lanes` lanes; from 0 where `first`. `n` is a constant wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(over_lanes)(const size_t n, const size_t *start, size_t from,
                                                                           const REAL *here, ptrdiff_t next_here,
                                                                           const REAL *there, ptrdiff_t next_there,
                                                                           size_t terms, size_t lanes, REAL *out,
                                                                           size_t next, bool first) {
    VECTOR sum[TILE];
    for (size_t k = 0; k < n; k++) {
        sum[k] = NAME(held)(out + k * next, first);
    }
    for (; terms > 0; terms--, here += next_here, there += next_there) {
        const VECTOR other = LOAD(here);
        for (size_t k = 0; k < n; k++) {
            sum[k] = FUSED(sum[k], other, LOAD(there + start[from + k]));
        }
    }
    for (size_t k = 0; k < n; k++) {
        NAME(store_lanes)(out + k * next, lanes, sum[k]);
    }
}

/* The same of positions 0 .. `count` - 1, TILE at a time. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(positions_over)(size_t count, const size_t *start,
                                                                               const REAL *here, ptrdiff_t next_here,
                                                                               const REAL *there, ptrdiff_t next_there,
                                                                               size_t terms, size_t lanes, REAL *out,
                                                                               size_t next, bool first) {
    size_t u = 0;
    for (; u + TILE <= count; u += TILE) {
        NAME(over_lanes)(TILE, start, u, here, next_here, there, next_there, terms, lanes, out + u * next, next, first);
    }
    for (; u < count; u++) {
        NAME(over_lanes)(1, start, u, here, next_here, there, next_there, terms, lanes, out + u * next, next, first);
    }
}

/* The vectors of position t: `j` is the first lane, and `lanes` are of texts that have the position. */
#define EACH_VECTOR(t, j, lanes)                                                          \
    for (size_t j = 0, lanes = w->start[(t) + 1] - w->start[t]; lanes > 0;                \
         j += WIDTH, lanes = lanes > WIDTH ? lanes - WIDTH : 0)

/* How many positions all texts of the vector from lane j on have. */
FOR_ROW static inline size_t NAME(full)(const NAME(work) *w, size_t j) {
    return j + WIDTH <= w->replay->texts ? w->replay->length[j + WIDTH - 1] : 0;
}

/* Places of rows, `next` numbers apart, that no text has. */
FOR_ROW static void NAME(clear_rest)(const NAME(work) *w, size_t rows, REAL *row, size_t next) {
    for (; rows > 0; rows--, row += next) {
        NAME(clear)(row, w->computed, w->padded);
    }
}

/* Lane u of a group is sum(x[c] * past[u][c] for c); 0 where u lies ahead. */
FOR_ROW static bool NAME(dots_of_many)(const NAME(work) *w, size_t f) {
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, w->step->operand[1 - f].term, w->step->operand[f].term);
        REAL *out = w->value + g * w->width * w->padded;
        NAME(clear_ahead)(w, out, w->padded);
        NAME(clear_rest)(w, w->width, out, w->padded);
        for (size_t t = 0; t < w->positions; t++) {
            EACH_VECTOR(t, j, lanes) {
                NAME(positions_over)(t + 1, w->start, p.here + w->start[t] + j, (ptrdiff_t)p.next_here, p.there + j,
                                     (ptrdiff_t)p.next_there, w->terms, lanes, out + w->start[t] + j, w->padded, true);
            }
        }
    }
    return true;
}

/* past[u][c] gets x[c] * g[u], positions down; then x[c] gets past[u][c] * g[u], u down. */
FOR_ROW static void NAME(dots_of_many_reverse)(const NAME(work) *w, size_t f) {
    for (size_t g = w->step->groups; g-- > 0;) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, w->step->operand[1 - f].term, w->step->operand[f].term);
        if (p.to_here != NULL && p.first_here) {
            NAME(clear_rest)(w, w->terms, p.to_here, p.next_here);
        }
        if (p.to_there != NULL && p.first_there) {
            NAME(clear_rest)(w, w->terms, p.to_there, p.next_there);
        }
        for (size_t u = 0; p.to_there != NULL && u < w->positions; u++) {
            EACH_VECTOR(u, j, lanes) {
                const NAME(over) x = {p.here + j, p.g + u * w->padded + j, p.next_here, 0, true, j, NAME(full)(w, j)};
                NAME(rows_over)(w->terms, true, x, w->start, u, w->replay->length[j], lanes,
                                p.to_there + w->start[u] + j, p.next_there, p.first_there);
            }
        }
        for (size_t t = 0; p.to_here != NULL && t < w->positions; t++) {
            EACH_VECTOR(t, j, lanes) {
                const NAME(over) x = {p.there + j, p.g + w->start[t] + j, p.next_there, w->padded, false, 0, 0};
                NAME(rows_over)(w->terms, true, x, w->start, 0, t + 1, lanes, p.to_here + w->start[t] + j, p.next_here,
                                p.first_here);
            }
        }
    }
}

/* Lane i of a group is sum(x[u] * past[u][i] for u), over the positions u so far. */
FOR_ROW static bool NAME(mix_of_many)(const NAME(work) *w, size_t f) {
    for (size_t g = 0; g < w->step->groups; g++) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, 1, w->step->operand[f].lane);
        REAL *out = w->value + g * w->width * w->padded;
        NAME(clear_rest)(w, w->width, out, w->padded);
        for (size_t t = 0; t < w->positions; t++) {
            EACH_VECTOR(t, j, lanes) {
                const NAME(over) x = {p.there + j, p.here + w->start[t] + j, p.next_there, p.next_here, false, 0, 0};
                NAME(rows_over)(w->width, false, x, w->start, 0, t + 1, lanes, out + w->start[t] + j, w->padded, true);
            }
        }
    }
    return true;
}

/* past[u][i] gets x[u] * g[i], positions down; then x[u] gets past[u][i] * g[i], i down. */
FOR_ROW static void NAME(mix_of_many_reverse)(const NAME(work) *w, size_t f) {
    for (size_t g = w->step->groups; g-- > 0;) {
        const NAME(pair) p = NAME(pair_of)(w, f, g, 1, w->step->operand[f].lane);
        const size_t last = w->width - 1;
        if (p.to_here != NULL && p.first_here) {
            NAME(clear_ahead)(w, p.to_here, p.next_here);
            NAME(clear_rest)(w, w->positions, p.to_here, p.next_here);
        }
        if (p.to_there != NULL && p.first_there) {
            NAME(clear_rest)(w, w->width, p.to_there, p.next_there);
        }
        for (size_t u = 0; p.to_there != NULL && u < w->positions; u++) {
            EACH_VECTOR(u, j, lanes) {
                const NAME(over) x = {p.g + j, p.here + u * p.next_here + j, w->padded, 0, true, j, NAME(full)(w, j)};
                NAME(rows_over)(w->width, true, x, w->start, u, w->replay->length[j], lanes,
                                p.to_there + w->start[u] + j, p.next_there, p.first_there);
            }
        }
        for (size_t t = 0; p.to_here != NULL && t < w->positions; t++) {
            EACH_VECTOR(t, j, lanes) {
                NAME(positions_over)(t + 1, w->start, p.g + last * w->padded + w->start[t] + j, -(ptrdiff_t)w->padded,
                                     p.there + last * p.next_there + j, -(ptrdiff_t)p.next_there, w->width, lanes,
                                     p.to_here + w->start[t] + j, p.next_here, p.first_here);
            }
        }
    }
}

#undef EACH_VECTOR
#undef TILE
