/* row_rows.h: a step of a plan at work, and what its operands are as rows of numbers. A part of row.h; plan.h says what
 * steps and sources are.
 *
 * Rows are `padded` numbers long. At the places beyond `computed` every adjoint is 0 and every value finite, and where a
 * text has no position every adjoint is 0. Lanes of a causal step that lie ahead of a position: of one text, where a sum runs
 * over the positions so far, they are 0 there, and get 0; of texts side by side nobody looks at them, if the plan says so.
 */

/* A step at work. */
typedef struct {
    const mg_replay *replay;
    const mg_plan *plan;
    const mg_step *step;
    size_t number, positions, padded, computed;
    const size_t *start;
    size_t width, terms; /* the numbers of rows, of this text */
    bool skips;          /* lane u of a causal step begins in the chunk of column start[u] */
    REAL *value, *adjoint; /* its rows */
} NAME(work);

FOR_ROW static REAL *NAME(values_of)(const mg_replay *replay, size_t step) {
    return (REAL *)replay->value + mg_value_row(replay, step) * replay->padded;
}

FOR_ROW static REAL *NAME(adjoints_of)(const mg_replay *replay, size_t step) {
    return (REAL *)replay->adjoint + mg_adjoint_row(replay, step) * replay->padded;
}

/* Rows of partials follow those of values. */
FOR_ROW static inline REAL *NAME(partials_of)(const NAME(work) *w) {
    return w->value + w->step->groups * (w->step->uniform ? 1 : w->width) * w->padded;
}

/* Goes to another step of the same replay. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(take)(NAME(work) *w, size_t number) {
    const mg_step *step = &w->plan->step[number];
    w->step = step;
    w->number = number;
    w->width = step->causal ? w->positions : step->width;
    w->terms = step->causal_terms ? w->positions : step->terms;
    w->value = NAME(values_of)(w->replay, number);
    w->adjoint = NAME(adjoints_of)(w->replay, number);
}

FOR_ROW static inline __attribute__((always_inline)) NAME(work) NAME(work_on)(const mg_replay *replay) {
    NAME(work) w;
    w.replay = replay;
    w.plan = replay->plan;
    w.positions = replay->positions;
    w.padded = replay->padded;
    w.computed = replay->computed;
    w.start = replay->start;
    w.skips = replay->texts > 1 && !replay->plan->check_values;
    return w;
}

FOR_ROW static NAME(work) NAME(work_of)(const mg_replay *replay, size_t number) {
    NAME(work) w = NAME(work_on)(replay);
    NAME(take)(&w, number);
    return w;
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
    return mg_selected(w->replay, x->select);
}

/* What a map reads or adds to: the row of lane i of group g begins at row + g * group + i * lane. Its numbers move on
   with the position, or are one number, MG_CHUNK times. */
typedef struct {
    REAL *row;
    size_t group, lane, move;
} NAME(rows);

FOR_ROW static inline void NAME(set_rows)(NAME(rows) *rows, REAL *row, size_t group, size_t lane, size_t move) {
    rows->row = row; /* one by one: a structure that is copied as a vector waits for the numbers that were just written */
    rows->group = group;
    rows->lane = lane;
    rows->move = move;
}

FOR_ROW static inline void NAME(find_rows)(const NAME(work) *w, const mg_source *x, REAL *numbers, NAME(rows) *rows) {
    const size_t times = x->whole ? w->positions * w->padded : w->padded;
    NAME(set_rows)(rows, numbers + x->offset * times, x->group * times, x->lane * w->padded, 1);
}

/* The values of operand f of a map; what are no rows is made so in scratch. */
FOR_ROW static void NAME(find_operand)(const NAME(work) *w, size_t f, NAME(rows) *rows) {
    const mg_source *x = &w->step->operand[f];
    const size_t lanes = w->step->groups * w->width;
    REAL *room = (REAL *)w->replay->scratch + f * (w->padded + lanes * MG_CHUNK);
    if (x->from == MG_FROM_ROWS) {
        REAL *numbers = NAME(values_of)(w->replay, x->step);
        if (x->spread) {
            NAME(set_rows)(rows, numbers, w->padded, 0, 1);
        } else {
            NAME(find_rows)(w, x, numbers, rows);
        }
        return;
    }
    if (x->from == MG_FROM_SELECTED) {
        const REAL *numbers = NAME(values_of)(w->replay, x->step);
        memset(room, 0, w->padded * sizeof *room);
        for (size_t t = 0; t < w->computed; t++) {
            room[t] = numbers[NAME(selected)(w, x)[t] * w->padded + t];
        }
        NAME(set_rows)(rows, room, 0, 0, 1);
        return;
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
    NAME(set_rows)(rows, room, same ? 0 : w->width * MG_CHUNK, same ? 0 : MG_CHUNK, 0);
}

/* Groups, rows in a group and numbers in a row of a loop over a map, and in whose chunks the rows begin; NULL: at 0. */
typedef struct {
    size_t groups, width, length;
    const size_t *begin;
} NAME(extent);

/* Columns in whose chunks the rows of a causal step begin, or of a sum's terms; NULL: at 0. */
FOR_ROW static inline const size_t *NAME(begin)(const NAME(work) *w, bool causal) {
    return causal && w->skips ? w->start : NULL;
}

FOR_ROW static inline size_t NAME(first_of)(const size_t *begin, size_t i) {
    return begin == NULL ? 0 : begin[i] / MG_CHUNK * MG_CHUNK;
}

/* Are the rows so short that a loop over them beats one along them? */
FOR_ROW static inline bool NAME(is_short)(const NAME(extent) *size) {
    return size->begin == NULL && size->length <= 2 * MG_CHUNK;
}

FOR_ROW static inline bool NAME(in_order)(const NAME(extent) *size, const NAME(rows) *x) {
    const bool lanes = size->width == 1 || x->lane == size->length;
    return (x->move == 1 && lanes && (size->groups == 1 || x->group == size->width * size->length)) ||
           (x->move == 0 && (x->lane == 0 || size->width == 1) && (x->group == 0 || size->groups == 1));
}

/* One long row, where all operands stand in the order of the lanes. */
FOR_ROW static inline void NAME(join_rows)(NAME(extent) *size, const NAME(rows) *x, const NAME(rows) *y, const NAME(rows) *z) {
    if (size->begin == NULL && NAME(in_order)(size, x) && NAME(in_order)(size, y) && NAME(in_order)(size, z)) {
        size->length *= size->groups * size->width;
        size->groups = size->width = 1;
    }
}

/* Are n numbers, a whole number of chunks, all finite? */
FOR_ROW static bool NAME(all_finite)(size_t n, const REAL *x) {
    const VECTOR zero = {0};
    VECTOR sum[8] = {{0}};
    size_t i = 0;
    for (; i + 8 * WIDTH <= n; i += 8 * WIDTH) {
        for (size_t v = 0; v < 8; v++) {
            sum[v] = FUSED(sum[v], LOAD(x + i + v * WIDTH), zero); /* NaN for an infinity or a NaN */
        }
    }
    for (; i < n; i += WIDTH) {
        sum[0] = FUSED(sum[0], LOAD(x + i), zero);
    }
    const VECTOR all = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    REAL total = 0;
    for (size_t t = 0; t < WIDTH; t++) {
        total += all[t];
    }
    return total == 0;
}

/* WIDTH rows of WIDTH numbers, as columns. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(transpose_square)(VECTOR *x) {
    VECTOR y[WIDTH];
    for (size_t half = 1; half < WIDTH; half *= 2) {
        for (size_t k = 0; k < WIDTH / 2; k++) {
            y[2 * k] = ZIP_LOW(x[k], x[k + WIDTH / 2]);
            y[2 * k + 1] = ZIP_HIGH(x[k], x[k + WIDTH / 2]);
        }
        memcpy(x, y, sizeof y);
    }
}

/* Places from .. to - 1 of a row become 0. They are few, mostly: no call of memset. */
FOR_ROW static inline void NAME(clear)(REAL *row, size_t from, size_t to) {
    for (size_t t = from / WIDTH * WIDTH; t < to; t += WIDTH) {
        STORE(row + t, (VECTOR)((NAME(bits))LOAD(row + t) & ~NAME(between)(t, from, to)));
    }
}

/* The lanes that lie ahead, of the rows of a group of a causal step, `next` numbers apart, where somebody looks at them. */
FOR_ROW static void NAME(clear_ahead)(const NAME(work) *w, REAL *rows, size_t next) {
    for (size_t u = 1; u < w->positions; u++) {
        NAME(clear)(rows + u * next, NAME(first_of)(w->skips ? w->start : NULL, u), w->start[u]);
    }
}

FOR_ROW static void NAME(cut)(const NAME(work) *w, size_t groups, REAL *rows) {
    for (size_t g = 0; g < groups; g++) {
        NAME(clear_ahead)(w, rows + g * w->positions * w->padded, w->padded);
    }
}

FOR_ROW static void NAME(cut_adjoints_of)(const NAME(work) *w, const mg_source *x) {
    const mg_step *from = &w->plan->step[x->step];
    if (from->cut_adjoint) {
        NAME(cut)(w, from->groups, NAME(adjoints_of)(w->replay, x->step));
    }
}
