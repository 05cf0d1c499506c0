/* row_sums.h: what the sums of a plan compute, forward beside reverse. A part of row.h. */

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
        part.rows.first = from->first;
        part.first = p * x->block;
        part.terms = part.first + x->block < w->terms ? x->block : w->terms - part.first;
    }
    return part;
}

FOR_ROW static size_t NAME(parts_of)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    return x->parts > 0 ? x->parts : 1;
}

/* Products that threads share, some outputs each. */
typedef struct {
    size_t outputs, width, parts;
    const NAME(sum) *sums;
    size_t count;
    REAL *out;
    size_t out_stride;
    bool first;
} NAME(shared);

FOR_ROW static void NAME(some_products)(void *context, size_t part) {
    const NAME(shared) *all = context;
    const size_t from = all->outputs * part / all->parts / WIDTH * WIDTH;
    const size_t to = part + 1 == all->parts ? all->outputs : all->outputs * (part + 1) / all->parts / WIDTH * WIDTH;
    const mg_float_mode mode = mg_flush_subnormals(!EXACT);
    NAME(sum) sums[AT_ONCE];
    for (size_t s = 0; s < all->count; s++) {
        sums[s] = all->sums[s];
        sums[s].a += (ptrdiff_t)from * sums[s].a_output;
    }
    NAME(products)(to - from, all->width, sums, all->count, all->out + from * all->out_stride, all->out_stride, all->first);
    mg_restore_float_mode(mode);
}

/* As products, of at most AT_ONCE sums; by all threads of the replay where it has some and there is enough to do. */
FOR_ROW static void NAME(share_products)(const mg_replay *replay, size_t outputs, const NAME(sum) *sums, size_t count,
                                         REAL *out, size_t out_stride, bool first) {
    size_t terms = 0;
    for (size_t s = 0; replay->pool != NULL && s < count; s++) {
        terms += sums[s].terms;
    }
    if (outputs * terms * replay->padded < MG_WORTH_SHARING) {
        NAME(products)(outputs, replay->padded, sums, count, out, out_stride, first);
        return;
    }
    NAME(shared) all = {outputs, replay->padded, mg_pool_threads(replay->pool), sums, count, out, out_stride, first};
    mg_pool_run(replay->pool, NAME(some_products), &all, all.parts);
}

FOR_ROW static bool NAME(linear)(const NAME(work) *w) {
    const mg_source *leaves = &w->step->operand[w->step->weights];
    const REAL *weights = NAME(leaf)(w->replay, w->replay->leaf_value, leaves->leaves);
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
        NAME(share_products)(w->replay, w->width, &sum, 1, w->value, w->padded, p == 0);
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
        NAME(share_products)(replay, part->terms, sums, count, to, part->rows.term * padded,
                             part->rows.first && from == fan->from);
    }
}

/* to[c * stride + j] += weight[c * term] * g[j], for `columns` of them side by side. */
FOR_ROW static void NAME(add_lane)(size_t terms, size_t columns, const REAL *weight, size_t term, const REAL *g,
                                   REAL *restrict to, size_t stride) {
    if (columns == 1 && stride == 1) {
        for (size_t c = 0; c < terms; c++) {
            to[c] += weight[c * term] * g[0];
        }
        return;
    }
    for (size_t c = 0; c < terms; c++) {
        for (size_t j = 0; j < columns; j++) {
            to[c * stride + j] += weight[c * term] * g[j];
        }
    }
}

/* A fan's rows at one position, which has an order of its own. */
FOR_ROW static void NAME(exceptional_rows)(const mg_replay *replay, const mg_exception *exception,
                                           const NAME(part) *part, size_t columns, REAL *saved) {
    const mg_plan *plan = replay->plan;
    for (size_t r = exception->from; r < exception->to; r++) {
        const mg_rows *run = &plan->run[r];
        const mg_step *step = &plan->step[run->step];
        const mg_source *leaves = &step->operand[step->weights];
        const REAL *weights = NAME(leaf)(replay, replay->leaf_value, leaves->leaves) + part->first * leaves->term;
        for (size_t n = 0; n < run->count; n++) {
            const size_t lane = run->start - n;
            const REAL *g = NAME(adjoints_of)(replay, run->step) + lane * replay->padded;
            NAME(add_lane)(part->terms, columns, weights + lane * leaves->lane, leaves->term,
                           g + replay->start[exception->position], saved, columns);
        }
    }
}

/* The columns of positions with an order of their own: out of the rows, or back into them. */
FOR_ROW static void NAME(move_columns)(size_t terms, size_t columns, REAL *rows, size_t stride, REAL *saved, bool back) {
    for (size_t c = 0; c < terms; c++) {
        for (size_t j = 0; j < columns; j++) {
            REAL *row = &rows[c * stride + j], *other = &saved[c * columns + j];
            *(back ? row : other) = *(back ? other : row);
        }
    }
}

/* The selected lane comes last: its adjoint is put aside, and it is then added in each column. */
FOR_ROW static void NAME(selected_row)(const mg_replay *replay, const mg_fan *fan, const NAME(part) *part,
                                       const REAL *saved, REAL *to) {
    const mg_step *step = &replay->plan->step[fan->first];
    const mg_source *leaves = &step->operand[step->weights];
    const size_t *selected = mg_selected(replay, fan->select), stride = part->rows.term * replay->padded;
    for (size_t t = 0; t < replay->computed; t++) {
        const size_t slot = selected[t] * leaves->lane + part->first * leaves->term;
        const REAL *row = NAME(leaf)(replay, replay->leaf_value, leaves->leaves + (mg_slot)slot);
        for (size_t c = 0; c < part->terms; c++) {
            to[c * stride + t] += row[c * leaves->term] * saved[t];
        }
    }
}

/* False when a 0 that stands for the selected lane's adjoint met a weight that is not finite. */
FOR_ROW static bool NAME(fan)(const mg_replay *replay, const mg_fan *fan) {
    bool finite = true;
    const NAME(work) w = NAME(work_of)(replay, fan->first);
    const mg_plan *plan = replay->plan;
    const size_t padded = replay->padded;
    if (!NAME(gets)(&w, &w.step->operand[1 - w.step->weights])) {
        return true;
    }
    REAL *saved = replay->scratch;
    const size_t *selected = mg_selected(replay, fan->select == MG_NOWHERE ? 0 : fan->select);
    for (size_t t = 0; fan->select != MG_NOWHERE && t < w.computed; t++) {
        saved[t] = w.adjoint[selected[t] * padded + t];
        w.adjoint[selected[t] * padded + t] = 0;
    }
    for (size_t p = 0; p < NAME(parts_of)(&w); p++) {
        const NAME(part) part = NAME(part_of)(&w, p);
        const size_t stride = part.rows.term * padded;
        REAL *to = NAME(adjoint_row)(&w, &part.rows, 0, 0, 0);
        for (int back = 0; back < 2; back++) {
            REAL *aside = saved + padded;
            for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
                const size_t t = plan->exception[e].position;
                if (t >= w.positions) {
                    continue;
                }
                const size_t columns = w.start[t + 1] - w.start[t];
                if (!back && part.rows.first) {
                    memset(aside, 0, columns * part.terms * sizeof *aside);
                } else {
                    NAME(move_columns)(part.terms, columns, to + w.start[t], stride, aside, back);
                }
                if (!back) {
                    NAME(exceptional_rows)(replay, &plan->exception[e], &part, columns, aside);
                }
                aside += columns * part.terms;
            }
            if (!back) {
                NAME(fan_rows)(replay, fan, &part, to);
            }
        }
        for (size_t c = 0; fan->select != MG_NOWHERE && c < part.terms; c++) {
            finite = finite && NAME(all_finite)(padded, to + c * stride);
        }
        if (fan->select != MG_NOWHERE) {
            NAME(selected_row)(replay, fan, &part, saved, to);
        }
    }
    for (size_t t = 0; fan->select != MG_NOWHERE && t < w.computed; t++) {
        w.adjoint[selected[t] * padded + t] = saved[t];
    }
    return finite;
}

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
            memset(out, 0, w->start[u] * sizeof *out);
            for (size_t t = u; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    const REAL *x = p.here + w->start[t] + j, *past = p.there + w->start[u] + j;
                    VECTOR sum = {0};
                    for (size_t c = 0; c < w->terms; c++) {
                        sum += LOAD(x + c * p.next_here) * LOAD(past + c * p.next_there);
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
                        sum += LOAD(p.there + c * p.next_there + w->start[u] + j) *
                               LOAD(p.g + u * w->padded + w->start[t] + j);
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
                        sum += LOAD(p.here + c * p.next_here + w->start[t] + j) *
                               LOAD(p.g + u * w->padded + w->start[t] + j);
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
                        sum += LOAD(p.here + u * p.next_here + w->start[t] + j) *
                               LOAD(p.there + i * p.next_there + w->start[u] + j);
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
            if (p.first_here) {
                memset(p.to_here + u * p.next_here, 0, w->start[u] * sizeof *p.to_here);
            }
            for (size_t t = u; t < w->positions; t++) {
                for (size_t j = 0; j < w->start[t + 1] - w->start[t]; j += WIDTH) {
                    REAL *to = p.to_here + u * p.next_here + w->start[t] + j;
                    VECTOR sum = NAME(held)(to, p.first_here);
                    for (size_t i = w->width; i-- > 0;) {
                        sum += LOAD(p.there + i * p.next_there + w->start[u] + j) *
                               LOAD(p.g + i * w->padded + w->start[t] + j);
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
                        sum += LOAD(p.here + u * p.next_here + w->start[t] + j) *
                               LOAD(p.g + i * w->padded + w->start[t] + j);
                    }
                    STORE(to, sum);
                }
            }
        }
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
                    STORE(x_adjoint + t, NAME(held)(x_adjoint + t, x->first) + to_first);
                }
                if (to_y) {
                    STORE(y_adjoint + t, NAME(held)(y_adjoint + t, y->first) + LOAD(a + t) * gt);
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
    if (w->replay->texts > 1) {
        return w->step->operand[f].past == MG_BY_LANE ? NAME(dots_of_many)(w, f) : NAME(mix_of_many)(w, f);
    }
    return w->step->operand[f].past == MG_BY_LANE ? NAME(dots_of_one)(w, f) : NAME(mix_of_one)(w, f);
}

FOR_ROW static void NAME(sum_reverse)(const NAME(work) *w) {
    const size_t f = NAME(past_of)(w->step);
    if (f == MG_NOWHERE) {
        NAME(sum_of_rows_reverse)(w);
    } else if (w->step->operand[f].past == MG_BY_LANE) {
        w->replay->texts > 1 ? NAME(dots_of_many_reverse)(w, f) : NAME(dots_of_one_reverse)(w, f);
    } else {
        w->replay->texts > 1 ? NAME(mix_of_many_reverse)(w, f) : NAME(mix_of_one_reverse)(w, f);
    }
}

#undef AT_ONCE
