/* row_linears.h: sums of products with leaves, which linears are, forward beside reverse. A part of row.h. */

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

#undef AT_ONCE
