/* row_leaves.h: what the reverse of a plan adds to leaves: matrices in blocks, all else place by place. A part of row.h. */

/* ---- to leaves -------------------------------------------------------------------------------------------------- */

/* A text's position: its number, and its column. */
typedef struct {
    size_t position, text, column;
} NAME(place);

/* The value of operand f, at one place; no past, which no sum multiplies with leaves. */
FOR_ROW static REAL NAME(value_at)(const NAME(work) *w, size_t f, NAME(place) at, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    switch (x->from) {
    case MG_FROM_CONSTANT: return (REAL)x->constant;
    case MG_FROM_LEAVES:
        return *NAME(leaf)(w->replay, w->replay->leaf_value,
                           x->leaves + (mg_slot)(g * x->group + i * x->lane + c * x->term));
    case MG_FROM_SELECTED:
        return NAME(values_of)(w->replay, x->step)[NAME(selected)(w, x)[at.column] * w->padded + at.column];
    default: break;
    }
    if (x->parts > 0) {
        const mg_part *part = &w->plan->part[x->part + c / x->block];
        return NAME(values_of)(w->replay, part->step)[(part->offset + c % x->block) * w->padded + at.column];
    }
    return NAME(value_row)(w, x, g, i, c)[at.column];
}

/* The partial with respect to operand f, at one place. */
FOR_ROW static REAL NAME(partial_at)(const NAME(work) *w, size_t f, NAME(place) at, size_t g, size_t i, size_t c) {
    const mg_step *step = w->step;
    const size_t stored = step->uniform ? g : g * w->width + i;
    switch (step->operation) {
    case MG_ADD: return 1;
    case MG_MUL: return NAME(value_at)(w, 1 - f, at, g, i, c);
    case MG_SUM: return step->factors == 2 ? NAME(value_at)(w, 1 - f, at, g, i, c) : 1;
    case MG_RELU: return NAME(value_at)(w, 0, at, g, i, c) > 0;
    case MG_EXP: return w->value[stored * w->padded + at.column];
    default:
        return step->partials == 0 ? NAME(value_at)(w, 0, at, g, i, c) * 2
                                   : NAME(partials_of)(w)[(stored * step->partials + f) * w->padded + at.column];
    }
}

/* Where operand f is leaves: the one of a lane and term at a place. */
FOR_ROW static mg_slot NAME(leaf_at)(const NAME(work) *w, size_t f, NAME(place) at, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    const size_t offset = g * x->group + i * x->lane + c * x->term;
    if (x->from == MG_FROM_LEAVES) {
        return x->leaves + (mg_slot)offset;
    }
    const mg_gather *gather = &w->plan->gather[w->plan->step[x->step].gather];
    return mg_gathered(w->replay, gather, at.column)[offset / gather->block] + (mg_slot)(offset % gather->block);
}

/* to[c * term] += x[c] * g, n of them */
FOR_ROW static void NAME(add_scaled)(size_t n, const REAL *restrict x, size_t x_term, REAL g, REAL *restrict to,
                                     size_t term) {
    if (x_term == 1 && term == 1) {
        for (size_t c = 0; c < n; c++) {
            to[c] = FUSED_ONE(to[c], x[c], g);
        }
        return;
    }
    for (size_t c = 0; c < n; c++) {
        to[c * term] = FUSED_ONE(to[c * term], x[c * x_term], g);
    }
}

/* The columns of what a sum of products with leaves reads, as lines: see mg_replay. */
FOR_ROW static REAL *NAME(turned_lines)(const mg_replay *replay, size_t step) {
    return (REAL *)replay->turned + replay->plan->step[step].turned * replay->lines;
}

/* Rows, `stride` numbers apart, as lines. */
FOR_ROW static void NAME(turn_rows)(const NAME(work) *w, const REAL *rows, size_t stride, size_t terms, REAL *lines,
                                    size_t wide) {
    for (size_t column = 0; column < w->padded; column += WIDTH) {
        const size_t *line = w->replay->line_of + column;
        size_t c = 0;
        for (; c + WIDTH <= terms; c += WIDTH) {
            VECTOR x[WIDTH];
            for (size_t k = 0; k < WIDTH; k++) {
                x[k] = LOAD(rows + (c + k) * stride + column);
            }
            NAME(transpose_square)(x);
            for (size_t j = 0; j < WIDTH; j++) {
                STORE(lines + line[j] * wide + c, x[j]);
            }
        }
        for (; c < terms; c++) {
            for (size_t j = 0; j < WIDTH; j++) {
                lines[line[j] * wide + c] = rows[c * stride + column + j];
            }
        }
    }
}

FOR_ROW static void NAME(turn)(const NAME(work) *w) {
    const size_t wide = mg_padded(w->terms);
    REAL *lines = NAME(turned_lines)(w->replay, w->number);
    for (size_t p = 0; p < NAME(parts_of)(w); p++) {
        NAME(part) part;
        NAME(find_part)(w, p, &part);
        NAME(turn_rows)(w, part.value, part.stride, part.terms, lines + part.first, wide);
    }
    for (size_t n = 0; n < w->replay->lines && w->terms < wide; n++) {
        memset(lines + n * wide + w->terms, 0, (wide - w->terms) * sizeof *lines);
    }
}

/* All that is read by products whose weights get a gradient, and adjoints that gathered leaves get. */
FOR_ROW static void NAME(turn_all)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    NAME(work) w = NAME(work_on)(replay);
    for (size_t k = 0, next = 0; k < plan->each; k++) {
        if (plan->step[k].weights != MG_NOWHERE && plan->step[k].turned == next) {
            NAME(take)(&w, k);
            NAME(turn)(&w);
            next += mg_padded(w.terms);
        } else if (plan->step[k].adds_rows) {
            NAME(take)(&w, k);
            NAME(turn_rows)(&w, w.adjoint, w.padded, w.width, NAME(turned_lines)(replay, k), mg_padded(w.width));
            next += mg_padded(w.width);
        }
    }
}

/* The additions of an event at one place, lanes down, terms down, to leaves that begin at `to` with slot `lowest`. */
FOR_ROW static void NAME(add_at)(const NAME(work) *w, size_t f, NAME(place) at, REAL *to, mg_slot lowest) {
    const mg_step *step = w->step;
    const mg_source *x = &step->operand[f];
    const size_t width = step->causal ? at.position + 1 : step->width;
    const size_t terms = step->causal_terms ? at.position + 1 : step->terms;
    if (step->weights == f && x->term > 0) { /* all terms of a lane at once: their leaves differ */
        const REAL *line = NAME(turned_lines)(w->replay, w->number) +
                           (w->replay->line[at.text] + at.position) * mg_padded(terms);
        for (size_t i = width; i-- > 0;) {
            NAME(add_scaled)(terms, line, 1, w->adjoint[i * w->padded + at.column],
                             to + (NAME(leaf_at)(w, f, at, 0, i, 0) - lowest), x->term);
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
                NAME(add_scaled)(end - from, row + from * weights->term, weights->term,
                                 w->adjoint[i * w->padded + at.column],
                                 to + (NAME(leaf_at)(w, f, at, 0, i, from) - lowest), 1);
                end = from;
            }
        }
        return;
    }
    if (x->from == MG_FROM_ROWS && x->lane == 1 && step->adds_rows) { /* one part: a row of an embedding */
        const REAL *line = NAME(turned_lines)(w->replay, w->number) +
                           (w->replay->line[at.text] + at.position) * mg_padded(width);
        REAL *restrict leaves = to + (NAME(leaf_at)(w, f, at, 0, 0, 0) - lowest);
        for (size_t i = 0; i < width; i++) {
            leaves[i] += line[i];
        }
        return;
    }
    for (size_t lane = step->groups * width; lane-- > 0;) {
        const size_t g = lane / width, i = lane % width;
        const REAL adjoint = w->adjoint[(g * w->width + i) * w->padded + at.column];
        for (size_t c = terms; c-- > 0;) {
            REAL *leaf = to + (NAME(leaf_at)(w, f, at, g, i, c) - lowest);
            *leaf = FUSED_ONE(*leaf, NAME(partial_at)(w, f, at, g, i, c), adjoint);
        }
    }
}

/* All events of a region in one text: positions down, the events of each in order. */
FOR_ROW static void NAME(add_text)(const mg_text *text, const mg_region *region, REAL *to, mg_slot lowest) {
    const mg_replay *replay = text->replay;
    const mg_event *event = replay->plan->event;
    NAME(work) w = NAME(work_of)(replay, event[region->from].step);
    for (size_t t = replay->length[text->text]; t-- > 0;) {
        const NAME(place) at = {t, text->text, replay->start[t] + text->text};
        for (size_t e = region->from; e < region->to; e++) {
            if (event[e].step != w.number) {
                NAME(take)(&w, event[e].step);
            }
            NAME(add_at)(&w, event[e].factor, at, to, lowest);
        }
    }
}

/* What a text's events added to leaves from `one` on goes to those that begin at `sum`, and is 0 again: once for each
   leaf, whose sum a second 0 does not change. */
FOR_ROW static void NAME(move_text)(const mg_text *text, const mg_region *region, REAL *one, REAL *sum) {
    const mg_replay *replay = text->replay;
    const mg_plan *plan = replay->plan;
    for (size_t e = region->from; e < region->to; e++) {
        const mg_source *x = &plan->step[plan->event[e].step].operand[plan->event[e].factor];
        if (x->from == MG_FROM_LEAVES) {
            NAME(add_gradients)(region->end - region->first, one, sum);
            return;
        }
        const mg_gather *gather = &plan->gather[plan->step[x->step].gather];
        for (size_t t = 0; t < replay->length[text->text]; t++) {
            const mg_slot *slot = mg_gathered(replay, gather, replay->start[t] + text->text);
            for (size_t p = 0; p < gather->parts; p++) {
                NAME(add_gradients)(gather->block, one + (slot[p] - region->first), sum + (slot[p] - region->first));
            }
        }
    }
}

/* sum[i] += x[i] */
FOR_ROW static inline void NAME(add_line)(size_t n, const REAL *x, REAL *sum) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        STORE(sum + i, LOAD(sum + i) + LOAD(x + i));
    }
    for (; i < n; i++) {
        sum[i] += x[i];
    }
}

/* The same as add_text and, unless `sum` is NULL, move_text, of a region whose one event adds gathered rows, each a part. */
FOR_ROW static void NAME(add_gathered)(const mg_text *text, const mg_region *region, REAL *one, REAL *sum) {
    const mg_replay *replay = text->replay;
    const mg_event *event = &replay->plan->event[region->from];
    const mg_step *step = &replay->plan->step[event->step];
    const mg_gather *gather = &replay->plan->gather[replay->plan->step[step->operand[event->factor].step].gather];
    const size_t n = step->width, wide = mg_padded(n), text_number = text->text;
    const REAL *lines = NAME(turned_lines)(replay, event->step) + replay->line[text_number] * wide;
    const mg_slot *slots = mg_gathered(replay, gather, text_number); /* of its place at position 0, and on */
    for (size_t t = replay->length[text_number]; t-- > 0;) {
        NAME(add_line)(n, lines + t * wide, one + (slots[replay->start[t]] - region->first));
    }
    for (size_t t = 0; sum != NULL && t < replay->length[text_number]; t++) {
        const size_t at = slots[replay->start[t]] - region->first;
        NAME(add_line)(n, one + at, sum + at);
        for (size_t i = 0; i < n; i++) {
            one[at + i] = 0;
        }
    }
}

#define TEXTS_AT_ONCE 32

/* `outputs` rows from `output` on, all columns. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(matrix_rows)(const size_t outputs, const NAME(factors) *texts,
                                                                            size_t count, size_t output, size_t columns,
                                                                            REAL *out, size_t stride, bool alone) {
    const size_t wide = mg_padded(columns);
    size_t place = 0;
#if TILE_WIDTH > WIDTH
    for (; place + 2 * TILE_WIDTH <= columns; place += 2 * TILE_WIDTH) {
        NAME(wide_gradient_tile)(outputs, 2, texts, count, output, place, wide, out, stride, 2 * TILE_WIDTH, alone);
    }
    for (; place + TILE_WIDTH <= columns; place += TILE_WIDTH) {
        NAME(wide_gradient_tile)(outputs, 1, texts, count, output, place, wide, out, stride, TILE_WIDTH, alone);
    }
#elif WIDTH == 8
    for (; place + 2 * MG_CHUNK <= columns; place += 2 * MG_CHUNK) {
        NAME(gradient_tile)(outputs, 2 * VECTORS, texts, count, output, place, wide, out, stride, 2 * MG_CHUNK, alone);
    }
#endif
    for (; place < columns; place += MG_CHUNK) {
        const size_t n = columns - place < MG_CHUNK ? columns - place : MG_CHUNK;
        NAME(gradient_tile)(outputs, VECTORS, texts, count, output, place, wide, out, stride, n, alone);
    }
}

/* Rows from .. to - 1 of a matrix get x[c] * g[i], positions down, of one text after the other. */
FOR_ROW static void NAME(matrix_reverse)(const mg_text *texts, size_t count, size_t number, size_t from, size_t to,
                                         bool alone) {
    for (size_t first = 0; first < count; first += TEXTS_AT_ONCE) {
        const size_t here = count - first < TEXTS_AT_ONCE ? count - first : TEXTS_AT_ONCE;
        NAME(factors) factors[TEXTS_AT_ONCE];
        const NAME(work) w = NAME(work_of)(texts[first].replay, number);
        const mg_source *weights = &w.step->operand[w.step->weights];
        const size_t wide = mg_padded(w.terms), stride = weights->lane;
        REAL *out = NAME(leaf)(w.replay, w.replay->leaf_adjoint, weights->leaves);
        for (size_t d = 0; d < here; d++) {
            const mg_replay *replay = texts[first + d].replay;
            const size_t text = texts[first + d].text;
            factors[d] = (NAME(factors)){
                .adjoint = NAME(adjoints_of)(replay, number) + text,
                .line = NAME(turned_lines)(replay, number) + replay->line[text] * wide,
                .start = replay->start,
                .length = replay->length[text],
                .padded = replay->padded,
            };
        }
        size_t i = from;
        for (; i + WIDTH <= to; i += WIDTH) {
            NAME(matrix_rows)(WIDTH, factors, here, i, w.terms, out, stride, alone);
        }
        if (WIDTH > 4 && i + 4 <= to) {
            NAME(matrix_rows)(4, factors, here, i, w.terms, out, stride, alone);
            i += 4;
        }
        if (WIDTH > 2 && i + 2 <= to) {
            NAME(matrix_rows)(2, factors, here, i, w.terms, out, stride, alone);
            i += 2;
        }
        for (; i < to; i++) {
            NAME(matrix_rows)(1, factors, here, i, w.terms, out, stride, alone);
        }
    }
}

/* See kernels.h. */
FOR_ROW static void NAME(add_to_leaves)(const mg_text *texts, size_t count, size_t part, size_t parts, void *one) {
    const mg_replay *replay = texts[0].replay;
    const mg_plan *plan = replay->plan;
    REAL *room = one;
    const bool alone = one == NULL;
    size_t turn = 0;
    for (size_t r = 0; r < plan->region_count; r++) {
        const mg_region *region = &plan->region[r];
        if (region->is_matrix) {
            const size_t number = plan->event[region->from].step, width = plan->step[number].width;
            NAME(matrix_reverse)(texts, count, number, mg_first_of_part(width, part, parts, WIDTH),
                                 mg_first_of_part(width, part + 1, parts, WIDTH), alone);
            continue;
        }
        const bool mine = turn++ % parts == part, rows = region->is_gathered;
        REAL *sum = NAME(leaf)(replay, replay->leaf_adjoint, region->first);
        for (size_t d = 0; mine && d < count; d++) {
            if (rows) {
                NAME(add_gathered)(&texts[d], region, alone ? sum : room, alone ? NULL : sum);
            } else {
                NAME(add_text)(&texts[d], region, alone ? sum : room, region->first);
            }
            if (!rows && !alone) {
                NAME(move_text)(&texts[d], region, room, sum);
            }
        }
        if (!alone) {
            room += region->end - region->first;
        }
    }
}

#undef TEXTS_AT_ONCE
