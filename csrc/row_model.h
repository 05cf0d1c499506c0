/* row_model.h: what every kind of batch computes, forward beside reverse, and the two loops over all batches. A part of
 * row.h; spans.c has the same statements for one position, and the scalar operations that they stand for.
 *
 * Rows are `padded` numbers long, of which `positions` are there; the others are 0, forward and reverse.
 */

/* A batch at work: the numbers of its rows and of its operands' rows. */
typedef struct {
    const mg_replay *replay;
    const mg_batch *batch;
    size_t padded, positions;
    size_t n;             /* numbers of its lanes: rows * padded */
    const REAL *x, *y;    /* primals of its operands; NULL where they are leaves, or there is none */
    REAL *out, *kept;     /* its primals, and its partials */
    REAL *to_x, *to_y;    /* adjoints of its operands */
    const REAL *g;        /* its adjoints */
    size_t number;        /* which of the batches it is */
} NAME(work);

FOR_ROW static NAME(work) NAME(work_of)(const mg_replay *replay, size_t number) {
    const mg_batch *batch = &replay->batches->batch[number];
    const size_t padded = replay->batches->padded, a = batch->operand[0], b = batch->operand[1];
    REAL *value = replay->value, *adjoint = replay->adjoint;
    return (NAME(work)){
        .replay = replay,
        .batch = batch,
        .padded = padded,
        .positions = replay->batches->positions,
        .n = batch->lanes * padded,
        .x = a == MG_NO_ROW ? NULL : value + a * padded,
        .y = b == MG_NO_ROW ? NULL : value + b * padded,
        .out = value + batch->first * padded,
        .kept = value + batch->kept * padded,
        .to_x = a == MG_NO_ROW ? NULL : adjoint + a * padded,
        .to_y = b == MG_NO_ROW ? NULL : adjoint + b * padded,
        .g = adjoint + batch->first * padded,
        .number = number,
    };
}

FOR_ROW static REAL *NAME(leaf)(const mg_replay *replay, void *numbers, mg_slot slot) {
    return (REAL *)numbers + (slot - replay->lowest);
}

/* to[i] += x[i], n numbers in whole rows */
FOR_ROW static void NAME(accumulate)(size_t n, const REAL *x, REAL *to) {
    for (size_t i = 0; i < n; i += WIDTH) {
        STORE(to + i, LOAD(to + i) + LOAD(x + i));
    }
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
    REAL total = 0;
    for (size_t t = 0; t < 8 * WIDTH; t++) {
        total += sum[t / WIDTH][t % WIDTH];
    }
    return total == 0;
}

/* ---- add: a + b, where either may be leaves that the embedding gathers ------------------------------------------- */

FOR_ROW static bool NAME(add)(const NAME(work) *w) {
    const mg_batches *batches = w->replay->batches;
    const REAL *rows[2] = {w->x, w->y};
    memset(w->out, 0, w->n * sizeof *w->out);
    for (size_t o = 0; o < 2; o++) { /* a is copied, as 0 + a would lose the sign of a zero; b is added */
        if (rows[o] != NULL && o == 0) {
            memcpy(w->out, rows[o], w->n * sizeof *w->out);
        } else if (rows[o] != NULL) {
            NAME(accumulate)(w->n, rows[o], w->out);
        }
        for (size_t t = 0; rows[o] == NULL && t < w->positions; t++) {
            const mg_slot slot = batches->gathered[o * w->positions + t];
            const REAL *gathered = NAME(leaf)(w->replay, w->replay->leaf_value, slot);
            for (size_t c = 0; c < w->batch->lanes; c++) {
                REAL *out = w->out + c * w->padded + t;
                *out = o == 0 ? gathered[c] : *out + gathered[c];
            }
        }
    }
    return true;
}

FOR_ROW static void NAME(add_reverse)(const NAME(work) *w) {
    if (w->to_x != NULL) {
        NAME(accumulate)(w->n, w->g, w->to_x);
    }
    if (w->to_y != NULL) {
        NAME(accumulate)(w->n, w->g, w->to_y);
    }
}

/* Leaves that were gathered get g, positions down, a before b. */
FOR_ROW static void NAME(add_leaves)(const NAME(work) *w) {
    for (size_t t = w->positions; t-- > 0;) {
        for (size_t o = 0; o < 2; o++) {
            const mg_slot slot = w->replay->batches->gathered[o * w->positions + t];
            REAL *row = (o == 0 ? w->x : w->y) == NULL ? NAME(leaf)(w->replay, w->replay->leaf_adjoint, slot) : NULL;
            for (size_t c = 0; row != NULL && c < w->batch->lanes; c++) {
                row[c] += w->g[c * w->padded + t];
            }
        }
    }
}

/* ---- scale: x * s, s one lane; scale by: x * k, k constant ------------------------------------------------------- */

FOR_ROW static bool NAME(scale)(const NAME(work) *w) {
    for (size_t i = 0; i < w->n; i += WIDTH) {
        STORE(w->out + i, LOAD(w->x + i) * LOAD(w->y + i % w->padded));
    }
    return true;
}

/* x[c] gets s * g[c]; s gets x[c] * g[c], c down */
FOR_ROW static void NAME(scale_reverse)(const NAME(work) *w) {
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        VECTOR sum = LOAD(w->to_y + t), s = LOAD(w->y + t);
        for (size_t i = w->n + t; i > t;) {
            i -= w->padded;
            VECTOR g = LOAD(w->g + i);
            STORE(w->to_x + i, LOAD(w->to_x + i) + s * g);
            sum += LOAD(w->x + i) * g;
        }
        STORE(w->to_y + t, sum);
    }
}

FOR_ROW static bool NAME(scale_by)(const NAME(work) *w) {
    for (size_t i = 0; i < w->n; i += WIDTH) {
        STORE(w->out + i, LOAD(w->x + i) * (REAL)w->batch->constant);
    }
    return true;
}

FOR_ROW static void NAME(scale_by_reverse)(const NAME(work) *w) {
    for (size_t i = 0; i < w->n; i += WIDTH) {
        STORE(w->to_x + i, LOAD(w->to_x + i) + LOAD(w->g + i) * (REAL)w->batch->constant);
    }
}

/* ---- rms: (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5, one lane ------------------------------------------- */

/* Keeps the power's derivative. */
FOR_ROW static bool NAME(rms)(const NAME(work) *w) {
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        VECTOR sum = {0};
        for (size_t c = 0; c < w->batch->terms; c++) {
            sum += LOAD(w->x + c * w->padded + t) * LOAD(w->x + c * w->padded + t);
        }
        STORE(w->out + t, sum * (REAL)w->batch->constant + (REAL)1e-5);
    }
    NAME(inverse_roots)(w->padded, w->positions, w->out, w->kept);
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        STORE(w->kept + t, LOAD(w->kept + t) * (REAL)-0.5);
    }
    return true;
}

/* x[c] gets the product twice, as x * x has x twice */
FOR_ROW static void NAME(rms_reverse)(const NAME(work) *w) {
    for (size_t t = 0; t < w->padded; t += WIDTH) {
        VECTOR sum = (LOAD(w->kept + t) * LOAD(w->g + t)) * (REAL)w->batch->constant;
        for (size_t i = t; i < w->batch->terms * w->padded; i += w->padded) {
            VECTOR product = LOAD(w->x + i) * sum;
            STORE(w->to_x + i, LOAD(w->to_x + i) + product + product);
        }
    }
}

/* ---- relu: max(0, x); relu square: max(0, x) ** 2 ---------------------------------------------------------------- */

FOR_ROW static bool NAME(relu)(const NAME(work) *w) {
    for (size_t i = 0; i < w->n; i += WIDTH) {
        VECTOR a = LOAD(w->x + i);
        STORE(w->out + i, (VECTOR)((NAME(bits))a & (a > 0)));
    }
    return true;
}

/* x gets 1.0 * g or 0.0 * g, where g is of relu; which of its square gets (2 * r) * g */
FOR_ROW static inline void NAME(relu_reverse_of)(const NAME(work) *w, bool squared) {
    const VECTOR one = (VECTOR){0} + 1;
    for (size_t i = 0; i < w->n; i += WIDTH) {
        NAME(bits) positive = LOAD(w->x + i) > 0;
        VECTOR r = (VECTOR)((NAME(bits))LOAD(w->x + i) & positive), mask = (VECTOR)((NAME(bits))one & positive);
        VECTOR g = LOAD(w->g + i);
        if (squared) {
            g = (r * 2) * g;
        }
        STORE(w->to_x + i, LOAD(w->to_x + i) + mask * g);
    }
}

FOR_ROW static void NAME(relu_reverse)(const NAME(work) *w) { NAME(relu_reverse_of)(w, false); }

FOR_ROW static bool NAME(relu_square)(const NAME(work) *w) {
    NAME(relu)(w);
    NAME(squares)(w->n, w->out);
    return NAME(all_finite)(w->n, w->out); /* an overflow is an error in Python */
}

FOR_ROW static void NAME(relu_square_reverse)(const NAME(work) *w) { NAME(relu_reverse_of)(w, true); }

/* ---- linear: [sum(wi * xi for wi, xi in zip(row, x)) for row in w] ----------------------------------------------- */

FOR_ROW static bool NAME(linear)(const NAME(work) *w) {
    const size_t columns = w->batch->terms;
    const NAME(sum) sum = {
        .a = NAME(leaf)(w->replay, w->replay->leaf_value, w->batch->weights),
        .a_output = (ptrdiff_t)columns,
        .a_term = 1,
        .b = w->x,
        .b_term = (ptrdiff_t)w->padded,
        .terms = columns,
    };
    memset(w->out, 0, w->n * sizeof *w->out);
    NAME(products)(w->batch->lanes, w->padded, &sum, 1, w->out, w->padded);
    return true;
}

#define AT_ONCE 16 /* runs of rows that are handed to products together */

/* x[c] gets w[i][c] * g[i], for all rows of the linears that read x, in the fan's order. The adjoints of all of them
   are there when the reverse comes to the first. */
FOR_ROW static void NAME(fan_rows)(const mg_replay *replay, const mg_fan *fan, REAL *to_x) {
    const mg_batches *batches = replay->batches;
    for (size_t from = fan->from; from < fan->to; from += AT_ONCE) {
        const size_t count = fan->to - from < AT_ONCE ? fan->to - from : AT_ONCE;
        NAME(sum) sums[AT_ONCE];
        for (size_t r = 0; r < count; r++) {
            const mg_rows *run = &batches->run[from + r];
            const mg_batch *batch = &batches->batch[run->batch];
            sums[r] = (NAME(sum)){
                .a = NAME(leaf)(replay, replay->leaf_value, batch->weights) + run->row * batch->terms,
                .a_output = 1,
                .a_term = -(ptrdiff_t)batch->terms,
                .b = (const REAL *)replay->adjoint + (batch->first + run->row) * batches->padded,
                .b_term = -(ptrdiff_t)batches->padded,
                .terms = run->count,
            };
        }
        NAME(products)(fan->columns, batches->padded, sums, count, to_x, batches->padded);
    }
}

/* The same at one position, which has an order of its own: columns side by side instead of positions. */
FOR_ROW static void NAME(exceptional_rows)(const mg_replay *replay, const mg_exception *exception, REAL *column) {
    const mg_batches *batches = replay->batches;
    const ptrdiff_t padded = (ptrdiff_t)batches->padded;
    for (size_t r = exception->from; r < exception->to; r++) {
        const mg_rows *run = &batches->run[r];
        const mg_batch *batch = &batches->batch[run->batch];
        const NAME(sum) sum = {
            .a = (const REAL *)replay->adjoint + (batch->first + run->row) * batches->padded + exception->position,
            .a_output = 0,
            .a_term = -padded,
            .b = NAME(leaf)(replay, replay->leaf_value, batch->weights) + run->row * batch->terms,
            .b_term = -(ptrdiff_t)batch->terms,
            .terms = run->count,
        };
        NAME(products)(1, batch->terms, &sum, 1, column, 0);
    }
}

/* The target's row comes last: it is left out of the sums, as a row of zeros, and then added at each position. */
FOR_ROW static void NAME(chosen_fan)(const NAME(work) *w, const mg_fan *fan) {
    const size_t *chosen = w->replay->batches->chosen;
    REAL *g = (REAL *)w->replay->adjoint + w->batch->first * w->padded, *saved = w->replay->scratch;
    for (size_t t = 0; t < w->positions; t++) {
        saved[t] = g[chosen[t] * w->padded + t];
        g[chosen[t] * w->padded + t] = 0;
    }
    NAME(fan_rows)(w->replay, fan, w->to_x);
    for (size_t t = 0; t < w->positions; t++) {
        const REAL *row = NAME(leaf)(w->replay, w->replay->leaf_value, w->batch->weights) + chosen[t] * fan->columns;
        g[chosen[t] * w->padded + t] = saved[t];
        for (size_t c = 0; c < fan->columns; c++) {
            w->to_x[c * w->padded + t] += row[c] * saved[t];
        }
    }
}

FOR_ROW static void NAME(linear_reverse)(const NAME(work) *w) {
    const mg_batches *batches = w->replay->batches;
    const mg_fan *fan = &batches->fan[w->batch->fan];
    REAL *column = w->replay->scratch; /* of each exception */
    if (fan->lowest != w->number) {
        return;
    }
    if (fan->chosen) {
        NAME(chosen_fan)(w, fan);
        return;
    }
    for (size_t e = fan->exceptions; e < fan->exceptions_end; e++, column += fan->columns) {
        for (size_t c = 0; c < fan->columns; c++) {
            column[c] = w->to_x[c * w->padded + batches->exception[e].position];
        }
        NAME(exceptional_rows)(w->replay, &batches->exception[e], column);
    }
    NAME(fan_rows)(w->replay, fan, w->to_x);
    column = w->replay->scratch;
    for (size_t e = fan->exceptions; e < fan->exceptions_end; e++, column += fan->columns) {
        for (size_t c = 0; c < fan->columns; c++) {
            w->to_x[c * w->padded + batches->exception[e].position] = column[c];
        }
    }
}

/* The weights get x[c] * g[i], positions down: columns side by side, for which x is turned round, once for a fan. */
FOR_ROW static void NAME(linear_leaves)(const NAME(work) *w, bool turn) {
    const size_t columns = w->batch->terms, wide = (columns + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK;
    REAL *turned = w->replay->scratch;
    for (size_t t = 0; turn && t < w->positions; t++) {
        for (size_t c = 0; c < columns; c++) {
            turned[t * wide + c] = w->x[c * w->padded + t];
        }
    }
    const NAME(sum) sum = {
        .a = w->g + w->positions - 1,
        .a_output = (ptrdiff_t)w->padded,
        .a_term = -1,
        .b = turned + (w->positions - 1) * wide,
        .b_term = -(ptrdiff_t)wide,
        .terms = w->positions,
    };
    REAL *weights = NAME(leaf)(w->replay, w->replay->leaf_adjoint, w->batch->weights);
    NAME(products)(w->batch->lanes, columns, &sum, 1, weights, columns);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* out[t][u] = x[u][t], positions by positions */
FOR_ROW static void NAME(transpose)(const mg_batches *batches, const REAL *x, REAL *out) {
    const size_t padded = batches->padded, positions = batches->positions;
    for (size_t t = 0; t < positions; t++) {
        for (size_t u = 0; u < positions; u++) {
            out[t * padded + u] = x[u * padded + t];
        }
    }
}

/* logit: sum(q[j] * key[u][j] for j in the head) * k; row h * positions + u. Where u lies ahead of a position, the
   number means nothing, and its exponential is 0. */
FOR_ROW static bool NAME(logit)(const NAME(work) *w) {
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    memset(w->out, 0, w->n * sizeof *w->out);
    for (size_t h = 0; h < w->batch->lanes / w->positions; h++) {
        const size_t head = h * w->batch->terms * w->padded;
        const NAME(sum) sum = {w->y + head, 1, row, w->x + head, row, w->batch->terms};
        NAME(products)(w->positions, w->padded, &sum, 1, w->out + h * w->positions * w->padded, w->padded);
    }
    for (size_t i = 0; i < w->n; i += WIDTH) {
        STORE(w->out + i, LOAD(w->out + i) * (REAL)w->batch->constant);
    }
    return true;
}

/* q[j] gets key[u][j] * g[u], u down; key[u][j] gets q[j] * g[u], positions down */
FOR_ROW static void NAME(logit_reverse)(const NAME(work) *w) {
    const size_t size = w->positions * w->padded, last = w->positions - 1;
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    REAL *g = w->replay->scratch, *turned = g + size;
    memset(turned, 0, size * sizeof *turned);
    for (size_t h = 0; h < w->batch->lanes / w->positions; h++) {
        const size_t head = h * w->batch->terms * w->padded;
        for (size_t i = 0; i < size; i += WIDTH) {
            STORE(g + i, LOAD(w->g + h * size + i) * (REAL)w->batch->constant);
        }
        NAME(transpose)(w->replay->batches, g, turned);
        const NAME(sum) to_q = {w->y + head + last, row, -1, g + size - w->padded, -row, w->positions};
        NAME(products)(w->batch->terms, w->padded, &to_q, 1, w->to_x + head, w->padded);
        const NAME(sum) to_key = {w->x + head + last, row, -1, turned + size - w->padded, -row, w->positions};
        NAME(products)(w->batch->terms, w->padded, &to_key, 1, w->to_y + head, w->padded);
    }
}

/* mix: sum(weight[u] * v[u][j] for u); row h * head size + j */
FOR_ROW static bool NAME(mix)(const NAME(work) *w) {
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    memset(w->out, 0, w->n * sizeof *w->out);
    for (size_t h = 0; h < w->batch->lanes / w->batch->group; h++) {
        const size_t head = h * w->batch->group * w->padded;
        const NAME(sum) sum = {w->y + head, row, 1, w->x + h * w->positions * w->padded, row, w->positions};
        NAME(products)(w->batch->group, w->padded, &sum, 1, w->out + head, w->padded);
    }
    return true;
}

/* weight[u] gets v[u][j] * g[j], j down; v[u][j] gets weight[u] * g[j], positions down */
FOR_ROW static void NAME(mix_reverse)(const NAME(work) *w) {
    const size_t size = w->positions * w->padded, last = (w->batch->group - 1) * w->padded;
    const ptrdiff_t row = (ptrdiff_t)w->padded;
    REAL *turned = w->replay->scratch;
    memset(turned, 0, size * sizeof *turned);
    for (size_t h = 0; h < w->batch->lanes / w->batch->group; h++) {
        const size_t head = h * w->batch->group * w->padded;
        const NAME(sum) to_weight = {w->y + head + last, 1, -row, w->g + head + last, -row, w->batch->group};
        NAME(products)(w->positions, w->padded, &to_weight, 1, w->to_x + h * size, w->padded);
        NAME(transpose)(w->replay->batches, w->x + h * size, turned);
        const NAME(sum) to_v = {w->g + head + w->positions - 1, row, -1, turned + size - w->padded, -row, w->positions};
        NAME(products)(w->batch->group, w->padded, &to_v, 1, w->to_y + head, w->padded);
    }
}

/* ---- softmax: exp, total, quotient ------------------------------------------------------------------------------- */

/* exp(x - largest) at positions from .. to - 1; 0 at the others */
FOR_ROW static void NAME(exp_row)(size_t padded, size_t from, size_t to, const REAL *x, const REAL *largest,
                                  REAL *out) {
#if EXACT
    memset(out, 0, padded * sizeof *out);
    for (size_t t = from; t < to; t++) {
        out[t] = EXP(x[t] + -largest[t]);
    }
#else
    /* 2 ** n * exp(r), |r| <= log(2) / 2, and the first terms of the series of exp(r): within 2e-7 of the true value */
    for (size_t t = 0; t < padded; t++) {
        REAL a = x[t] - largest[t];
        a = a < -87 ? -87 : a; /* keeps a NaN */
        REAL n = a * 0x1.715476p+0f + 0x1.8p23f; /* rounded to an integer, in the last bits */
        BITS power;
        memcpy(&power, &n, sizeof power);
        n -= 0x1.8p23f;
        REAL r = (a - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
        REAL e = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f))))));
        power = (BITS)((uint32_t)power << 23) + 0x3f800000;
        REAL scale;
        memcpy(&scale, &power, sizeof scale);
        out[t] = (t >= from) & (t < to) ? e * scale : 0;
    }
#endif
}

/* exp: [(val - max_val).exp() for val in group]; 0 where a position has no such lane */
FOR_ROW static bool NAME(exponentials)(const NAME(work) *w) {
    const mg_batch *batch = w->batch;
    REAL *largest = w->replay->scratch;
    for (size_t first = 0; first < batch->lanes; first += batch->group) {
        const REAL *x = w->x + first * w->padded;
        memcpy(largest, x, w->padded * sizeof *largest);
        for (size_t u = 1; u < batch->group; u++) {
            for (size_t t = batch->causal ? u / MG_CHUNK * MG_CHUNK : 0; t < w->padded; t++) {
                REAL a = x[u * w->padded + t];
                largest[t] = (a > largest[t]) & (!batch->causal | (t >= u)) ? a : largest[t];
            }
        }
        for (size_t u = 0; u < batch->group; u++) {
            NAME(exp_row)(w->padded, batch->causal ? u : 0, w->positions, x + u * w->padded, largest,
                          w->out + (first + u) * w->padded);
        }
    }
    return true;
}

FOR_ROW static void NAME(exponentials_reverse)(const NAME(work) *w) {
    for (size_t i = 0; i < w->n; i += WIDTH) {
        STORE(w->to_x + i, LOAD(w->to_x + i) + LOAD(w->out + i) * LOAD(w->g + i));
    }
}

/* total: sum(exps) */
FOR_ROW static bool NAME(totals)(const NAME(work) *w) {
    const size_t group = w->batch->group * w->padded;
    for (size_t i = 0; i < w->n; i += WIDTH) {
        VECTOR sum = {0};
        const REAL *e = w->x + i / w->padded * group + i % w->padded;
        for (size_t u = 0; u < group; u += w->padded) {
            sum += LOAD(e + u);
        }
        STORE(w->out + i, sum);
    }
    return true;
}

FOR_ROW static void NAME(totals_reverse)(const NAME(work) *w) {
    const size_t group = w->batch->group * w->padded;
    for (size_t i = 0; i < w->n; i += WIDTH) {
        REAL *to_e = w->to_x + i / w->padded * group + i % w->padded;
        for (size_t u = 0; u < group; u += w->padded) {
            STORE(to_e + u, LOAD(to_e + u) + LOAD(w->g + i));
        }
    }
}

/* quotient: [e / total for e in exps], which is e * total ** -1; a group keeps total ** -1 and -1 * total ** -2 */
FOR_ROW static bool NAME(quotients)(const NAME(work) *w) {
    for (size_t u = 0; u < w->batch->lanes; u++) {
        const size_t group = u / w->batch->group * w->padded;
        REAL *inverse = w->kept + 2 * group, *lower = inverse + w->padded;
        if (u % w->batch->group == 0) {
            NAME(inverses)(w->padded, w->positions, w->y + group, inverse, lower);
            for (size_t t = 0; t < w->padded; t += WIDTH) {
                STORE(lower + t, LOAD(lower + t) * -1);
            }
        }
        for (size_t t = 0; t < w->padded; t += WIDTH) {
            STORE(w->out + u * w->padded + t, LOAD(w->x + u * w->padded + t) * LOAD(inverse + t));
        }
    }
    return true;
}

/* e gets total ** -1 * g; total gets (-1 * total ** -2) * (e * g), lanes down */
FOR_ROW static void NAME(quotients_reverse)(const NAME(work) *w) {
    for (size_t u = w->batch->lanes; u-- > 0;) {
        const size_t group = u / w->batch->group * w->padded;
        const REAL *inverse = w->kept + 2 * group, *lower = inverse + w->padded;
        REAL *to_total = w->to_y + group;
        for (size_t t = 0; t < w->padded; t += WIDTH) {
            const size_t i = u * w->padded + t;
            VECTOR g = LOAD(w->g + i);
            STORE(w->to_x + i, LOAD(w->to_x + i) + LOAD(inverse + t) * g);
            STORE(to_total + t, LOAD(to_total + t) + LOAD(lower + t) * (LOAD(w->x + i) * g));
        }
    }
}

/* ---- the loss: surprisal, -p.log(), of the target at each position; mean, (1 / n) * sum(losses) ------------------ */

FOR_ROW static bool NAME(surprisal)(const NAME(work) *w) {
    memset(w->out, 0, w->padded * sizeof *w->out);
    memset(w->kept, 0, w->padded * sizeof *w->kept);
    for (size_t t = 0; t < w->positions; t++) {
        REAL p = w->x[w->replay->batches->chosen[t] * w->padded + t];
        if (!(p > 0)) {
            if (EXACT || !(p == 0)) {
                return false;
            }
            p = (REAL)1e-30; /* float's exp gives 0 where double's does not */
        }
        w->out[t] = LOG(p) * -1;
        w->kept[t] = 1 / p;
    }
    return true;
}

FOR_ROW static void NAME(surprisal_reverse)(const NAME(work) *w) {
    for (size_t t = 0; t < w->positions; t++) {
        w->to_x[w->replay->batches->chosen[t] * w->padded + t] += w->kept[t] * (-1 * w->g[t]);
    }
}

FOR_ROW static bool NAME(mean)(const NAME(work) *w) {
    REAL sum = 0;
    for (size_t t = 0; t < w->positions; t++) {
        sum += w->x[t];
    }
    memset(w->out, 0, w->padded * sizeof *w->out);
    w->out[0] = sum * (REAL)w->batch->constant;
    return isfinite(w->out[0]);
}

FOR_ROW static void NAME(mean_reverse)(const NAME(work) *w) {
    for (size_t t = 0; t < w->positions; t++) {
        w->to_x[t] += (REAL)w->batch->constant * w->g[0];
    }
}

/* ---- all batches ------------------------------------------------------------------------------------------------- */

/* Forward is false when it left ordinary numbers. */
typedef struct {
    bool (*forward)(const NAME(work) *work);
    void (*reverse)(const NAME(work) *work);
} NAME(span);

#define SPAN(operation) [(operation) - MG_SCALAR_COUNT]

static const NAME(span) NAME(spans)[MG_OPERATION_COUNT - MG_SCALAR_COUNT] = {
    SPAN(MG_SPAN_ADD) = {NAME(add), NAME(add_reverse)},
    SPAN(MG_SPAN_SCALE) = {NAME(scale), NAME(scale_reverse)},
    SPAN(MG_SPAN_SCALE_BY) = {NAME(scale_by), NAME(scale_by_reverse)},
    SPAN(MG_SPAN_RMS) = {NAME(rms), NAME(rms_reverse)},
    SPAN(MG_SPAN_RELU) = {NAME(relu), NAME(relu_reverse)},
    SPAN(MG_SPAN_RELU_SQUARE) = {NAME(relu_square), NAME(relu_square_reverse)},
    SPAN(MG_SPAN_LINEAR) = {NAME(linear), NAME(linear_reverse)},
    SPAN(MG_SPAN_LOGIT) = {NAME(logit), NAME(logit_reverse)},
    SPAN(MG_SPAN_EXP) = {NAME(exponentials), NAME(exponentials_reverse)},
    SPAN(MG_SPAN_TOTAL) = {NAME(totals), NAME(totals_reverse)},
    SPAN(MG_SPAN_QUOTIENT) = {NAME(quotients), NAME(quotients_reverse)},
    SPAN(MG_SPAN_MIX) = {NAME(mix), NAME(mix_reverse)},
    SPAN(MG_SPAN_SURPRISAL) = {NAME(surprisal), NAME(surprisal_reverse)},
    SPAN(MG_SPAN_MEAN) = {NAME(mean), NAME(mean_reverse)},
};

/* False when that left ordinary numbers, where the plain replay knows what Python does: an infinity or a NaN comes out
   at the loss, if nowhere else, or in an adjoint. */
FOR_ROW static bool NAME(forward)(const mg_replay *replay) {
    for (size_t k = 0; k < replay->batches->count; k++) {
        const NAME(work) work = NAME(work_of)(replay, k);
        if (!NAME(spans)SPAN(work.batch->operation).forward(&work)) {
            return false;
        }
    }
    return true;
}

/* Seeds the result and goes down all batches, then adds to the leaves. False, with no leaf changed, when an adjoint is
   not finite: a 0 that stands for a lane that is not there would then count. */
FOR_ROW static bool NAME(reverse)(const mg_replay *replay) {
    const mg_batches *batches = replay->batches;
    const size_t numbers = batches->rows * batches->padded;
    REAL *adjoint = replay->adjoint;
    size_t turned = MG_NO_ROW; /* the fan whose x was turned round last */
    memset(adjoint, 0, numbers * sizeof *adjoint);
    adjoint[batches->batch[batches->count - 1].first * batches->padded] = 1;
    for (size_t k = batches->count; k-- > 0;) {
        const NAME(work) work = NAME(work_of)(replay, k);
        NAME(spans)SPAN(work.batch->operation).reverse(&work);
    }
    if (!NAME(all_finite)(numbers, adjoint)) {
        return false;
    }
    for (size_t k = batches->count; k-- > 0;) {
        const NAME(work) work = NAME(work_of)(replay, k);
        if (work.batch->operation == MG_SPAN_LINEAR) {
            NAME(linear_leaves)(&work, work.batch->fan != turned);
            turned = work.batch->fan;
        } else if (k == batches->embedding) {
            NAME(add_leaves)(&work);
        }
    }
    return true;
}

#undef SPAN
#undef AT_ONCE
