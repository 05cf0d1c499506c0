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

#undef AT_ONCE
