/* row_linears.h: sums of products with leaves, which linears are, forward beside reverse. A part of row.h. */

/* ---- sums of products with leaves ------------------------------------------------------------------------------- */

#define AT_ONCE 16 /* runs of rows that are handed to products together */

/* Part p of the rows that a sum of products with leaves reads: its terms, and the leaves' first. */
typedef struct {
    const REAL *value;
    REAL *adjoint;
    size_t stride; /* numbers between terms */
    bool fresh;    /* may its adjoints be anything before they are added to? */
    size_t first, terms;
} NAME(part);

FOR_ROW static inline void NAME(find_part)(const NAME(work) *w, size_t p, NAME(part) *part) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    const mg_part *from = x->parts > 0 ? &w->plan->part[x->part + p] : NULL;
    const size_t step = from == NULL ? x->step : from->step, offset = from == NULL ? x->offset : from->offset;
    const size_t row = (x->whole ? offset * w->positions : offset) * w->padded;
    part->value = NAME(values_of)(w->replay, step) + row;
    part->adjoint = NAME(adjoints_of)(w->replay, step) + row;
    part->stride = x->term * w->padded;
    part->fresh = from == NULL ? x->first : from->first;
    part->first = from == NULL ? 0 : p * x->block;
    part->terms = from != NULL && part->first + x->block < w->terms ? x->block : w->terms - part->first;
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
    const size_t from = mg_first_of_part(all->outputs, part, all->parts, WIDTH);
    const size_t to = mg_first_of_part(all->outputs, part + 1, all->parts, WIDTH);
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
FOR_ROW static void NAME(share_products)(const mg_replay *replay, size_t outputs, size_t width, const NAME(sum) *sums,
                                         size_t count, REAL *out, size_t out_stride, bool first) {
    size_t terms = 0;
    for (size_t s = 0; replay->pool != NULL && s < count; s++) {
        terms += sums[s].terms;
    }
    if (outputs * terms * width < MG_WORTH_SHARING) {
        NAME(products)(outputs, width, sums, count, out, out_stride, first);
        return;
    }
    NAME(shared) all = {outputs, width, mg_pool_threads(replay->pool), sums, count, out, out_stride, first};
    mg_pool_run(replay->pool, NAME(some_products), &all, all.parts);
}

FOR_ROW static bool NAME(linear)(const NAME(work) *w) {
    const mg_source *leaves = &w->step->operand[w->step->weights];
    const REAL *weights = NAME(leaf)(w->replay, w->replay->leaf_value, leaves->leaves);
    for (size_t p = 0; p < NAME(parts_of)(w); p++) {
        NAME(part) part;
        NAME(find_part)(w, p, &part);
        const NAME(sum) sum = {
            .a = weights + part.first * leaves->term,
            .a_output = (ptrdiff_t)leaves->lane,
            .a_term = (ptrdiff_t)leaves->term,
            .b = part.value,
            .b_term = (ptrdiff_t)part.stride,
            .terms = part.terms,
        };
        NAME(share_products)(w->replay, w->width, w->padded, &sum, 1, w->value, w->padded, p == 0);
    }
    return true;
}

/* Columns of rows: `count` from `first` on. */
typedef struct {
    size_t first, count;
} NAME(columns);

/* What the rows of a part get from a run of lanes, in columns from `column` on. */
FOR_ROW static inline NAME(sum) NAME(sum_of_run)(const NAME(work) *w, const mg_rows *run, const NAME(part) *part,
                                                 size_t column) {
    const mg_step *step = &w->plan->step[run->step];
    const mg_source *leaves = &step->operand[step->weights];
    const size_t slot = run->start * leaves->lane + part->first * leaves->term;
    return (NAME(sum)){
        .a = NAME(leaf)(w->replay, w->replay->leaf_value, leaves->leaves + (mg_slot)slot),
        .a_output = (ptrdiff_t)leaves->term,
        .a_term = -(ptrdiff_t)leaves->lane,
        .b = NAME(adjoints_of)(w->replay, run->step) + run->start * w->padded + column,
        .b_term = -(ptrdiff_t)w->padded,
        .terms = run->count,
    };
}

/* As products, of n places, less than a chunk, of rows of which more may be read. */
FOR_ROW static void NAME(products_at_edge)(size_t outputs, size_t n, const NAME(sum) *sums, size_t count, REAL *out,
                                           size_t out_stride, bool first) {
    REAL edge[WIDTH * MG_CHUNK] = {0};
    NAME(sum) some[AT_ONCE];
    for (size_t k = 0, here; k < outputs; k += here, out += here * out_stride) {
        here = outputs - k < WIDTH ? 1 : WIDTH;
        for (size_t s = 0; s < count; s++) {
            some[s] = sums[s];
            some[s].a += (ptrdiff_t)k * sums[s].a_output;
        }
        for (size_t i = 0; !first && i < here; i++) {
            memcpy(edge + i * MG_CHUNK, out + i * out_stride, n * sizeof *out);
        }
        if (here == WIDTH) {
            NAME(product_tile)(WIDTH, VECTORS, some, count, 0, 0, edge, MG_CHUNK, first);
        } else {
            NAME(product_tile)(1, VECTORS, some, count, 0, 0, edge, MG_CHUNK, first);
        }
        for (size_t i = 0; i < here; i++) {
            memcpy(out + i * out_stride, edge + i * MG_CHUNK, n * sizeof *out);
        }
    }
}

/* Row c of a part gets weight[i][c] * g[i], for all lanes of the runs from .. to - 1, in their order. */
FOR_ROW static void NAME(fan_rows)(const NAME(work) *w, size_t from, size_t to, const NAME(part) *part,
                                   NAME(columns) columns) {
    REAL *out = part->adjoint + columns.first;
    bool first = part->fresh;
    for (; from < to; from += AT_ONCE, first = false) {
        const size_t count = to - from < AT_ONCE ? to - from : AT_ONCE;
        NAME(sum) sums[AT_ONCE];
        for (size_t r = 0; r < count; r++) {
            sums[r] = NAME(sum_of_run)(w, &w->plan->run[from + r], part, columns.first);
        }
        const size_t whole = columns.count / MG_CHUNK * MG_CHUNK;
        if (whole > 0) {
            NAME(share_products)(w->replay, part->terms, whole, sums, count, out, part->stride, first);
        }
        for (size_t s = 0; s < count; s++) {
            sums[s].b += whole;
        }
        if (whole < columns.count) {
            NAME(products_at_edge)(part->terms, columns.count - whole, sums, count, out + whole, part->stride, first);
        }
    }
}

/* Positions that have an order of their own, of texts side by side. */
FOR_ROW static void NAME(fan_of_many)(const NAME(work) *w, const mg_fan *fan, const NAME(part) *part) {
    size_t column = 0;
    for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
        const mg_exception *own = &w->plan->exception[e];
        if (own->position < w->positions) {
            const size_t from = w->start[own->position], to = w->start[own->position + 1];
            if (column < from) {
                NAME(fan_rows)(w, fan->from, fan->to, part, (NAME(columns)){column, from - column});
            }
            NAME(fan_rows)(w, own->from, own->to, part, (NAME(columns)){from, to - from});
            column = to;
        }
    }
    if (column < w->padded) {
        NAME(fan_rows)(w, fan->from, fan->to, part, (NAME(columns)){column, w->padded - column});
    }
}

/* Number c of a column gets weight[i][c] * g[i] at one position, for all lanes of its runs, in their order. Weights that stand
   side by side are the vectors. */
FOR_ROW static void NAME(fan_column)(const NAME(work) *w, const mg_exception *own, const NAME(part) *part, REAL *column) {
    for (size_t from = own->from; from < own->to; from += AT_ONCE) {
        const size_t count = own->to - from < AT_ONCE ? own->to - from : AT_ONCE;
        const bool turned = w->step->operand[w->step->weights].term == 1;
        NAME(sum) sums[AT_ONCE];
        for (size_t r = 0; r < count; r++) {
            const NAME(sum) sum = NAME(sum_of_run)(w, &w->plan->run[from + r], part, own->position);
            sums[r] = turned ? (NAME(sum)){sum.b, 0, sum.b_term, sum.a, sum.a_term, sum.terms} : sum;
        }
        NAME(products)(turned ? 1 : part->terms, turned ? part->terms : 1, sums, count, column, 1, false);
    }
}

/* Of one text a position is a column: those with an order of their own are put aside and computed there. */
FOR_ROW static void NAME(fan_of_one)(const NAME(work) *w, const mg_fan *fan, const NAME(part) *part, REAL *aside) {
    REAL *rows = part->adjoint;
    const size_t stride = part->stride;
    size_t own = fan->exceptions;
    for (; own < fan->exceptions_end && w->plan->exception[own].position < w->positions; own++) {
        const mg_exception *exception = &w->plan->exception[own];
        REAL *column = aside + (own - fan->exceptions) * part->terms;
        for (size_t c = 0; c < part->terms; c++) {
            column[c] = part->fresh ? 0 : rows[c * stride + exception->position];
        }
        NAME(fan_column)(w, exception, part, column);
    }
    NAME(fan_rows)(w, fan->from, fan->to, part, (NAME(columns)){0, w->padded});
    while (own-- > fan->exceptions) {
        const REAL *column = aside + (own - fan->exceptions) * part->terms;
        for (size_t c = 0; c < part->terms; c++) {
            rows[c * stride + w->plan->exception[own].position] = column[c];
        }
    }
}

/* The selected lane comes last: its adjoint is put aside, and it is then added in each column. */
FOR_ROW static void NAME(selected_row)(const NAME(work) *w, const mg_fan *fan, const NAME(part) *part, const REAL *saved) {
    const mg_source *leaves = &w->step->operand[w->step->weights];
    const size_t *selected = mg_selected(w->replay, fan->select), stride = part->stride;
    const REAL *weights = NAME(leaf)(w->replay, w->replay->leaf_value, leaves->leaves) + part->first * leaves->term;
    REAL *to = part->adjoint;
    size_t done = 0;
    for (; leaves->term == 1 && done + WIDTH <= w->computed; done += WIDTH) { /* as many columns at once, in squares */
        const VECTOR g = LOAD(saved + done);
        size_t c = 0;
        for (; c + WIDTH <= part->terms; c += WIDTH) {
            VECTOR x[WIDTH];
            for (size_t j = 0; j < WIDTH; j++) {
                x[j] = LOAD(weights + selected[done + j] * leaves->lane + c);
            }
            NAME(transpose_square)(x);
            for (size_t k = 0; k < WIDTH; k++) {
                REAL *row = to + (c + k) * stride + done;
                STORE(row, FUSED(LOAD(row), x[k], g));
            }
        }
        for (; c < part->terms; c++) {
            for (size_t j = done; j < done + WIDTH; j++) {
                to[c * stride + j] = FUSED_ONE(to[c * stride + j], weights[selected[j] * leaves->lane + c], saved[j]);
            }
        }
    }
    for (; done < w->computed; done++) {
        const REAL *row = weights + selected[done] * leaves->lane;
        for (size_t c = 0; c < part->terms; c++) {
            to[c * stride + done] = FUSED_ONE(to[c * stride + done], row[c * leaves->term], saved[done]);
        }
    }
}

/* False when a 0 that stands for the selected lane's adjoint met a weight that is not finite. */
FOR_ROW static bool NAME(fan)(const mg_replay *replay, const mg_fan *fan) {
    bool finite = true;
    const NAME(work) w = NAME(work_of)(replay, fan->first);
    const size_t padded = replay->padded;
    if (!w.step->operand[1 - w.step->weights].gets) {
        return true;
    }
    REAL *saved = replay->scratch;
    const size_t *selected = mg_selected(replay, fan->select == MG_NOWHERE ? 0 : fan->select);
    for (size_t t = 0; fan->select != MG_NOWHERE && t < w.computed; t++) {
        saved[t] = w.adjoint[selected[t] * padded + t];
        w.adjoint[selected[t] * padded + t] = 0;
    }
    for (size_t p = 0; p < NAME(parts_of)(&w); p++) {
        NAME(part) part;
        NAME(find_part)(&w, p, &part);
        if (replay->texts > 1) {
            NAME(fan_of_many)(&w, fan, &part);
        } else {
            NAME(fan_of_one)(&w, fan, &part, saved + padded);
        }
        for (size_t c = 0; fan->select != MG_NOWHERE && c < part.terms; c++) {
            finite = finite && NAME(all_finite)(padded, part.adjoint + c * part.stride);
        }
        if (fan->select != MG_NOWHERE) {
            NAME(selected_row)(&w, fan, &part, saved);
        }
    }
    for (size_t t = 0; fan->select != MG_NOWHERE && t < w.computed; t++) {
        w.adjoint[selected[t] * padded + t] = saved[t];
    }
    return finite;
}

#undef AT_ONCE
