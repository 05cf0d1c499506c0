/* row_plan.h: what a plan computes: the loops over all of its steps, forward and reverse, and the additions to leaves. A part
 * of row.h.
 */

/* ---- leaves ----------------------------------------------------------------------------------------------------- */

/* Leaves that differ from position to position, as rows. */
FOR_ROW static void NAME(gather)(const NAME(work) *w) {
    const mg_gather *gather = &w->plan->gather[w->step->gather];
    memset(w->value, 0, w->width * w->padded * sizeof *w->value);
    for (size_t t = 0; t < w->positions; t++) {
        for (size_t p = 0; p < gather->parts; p++) {
            const mg_slot slot = w->plan->gathered[gather->slots + t * gather->parts + p];
            const REAL *leaves = NAME(leaf)(w->replay, w->replay->leaf_value, slot);
            REAL *out = w->value + p * gather->block * w->padded + t;
            for (size_t c = 0; c < gather->block; c++) {
                out[c * w->padded] = leaves[c];
            }
        }
    }
}

/* The value of operand f, at one position. */
FOR_ROW static REAL NAME(value_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    switch (x->from) {
    case MG_FROM_CONSTANT: return (REAL)x->constant;
    case MG_FROM_LEAVES:
        return *NAME(leaf)(w->replay, w->replay->leaf_value,
                           x->leaves + (mg_slot)(g * x->group + i * x->lane + c * x->term));
    case MG_FROM_SELECTED: return NAME(values_of)(w->replay, x->step)[NAME(selected)(w, x)[t] * w->padded + t];
    case MG_FROM_PAST: {
        const bool by_lane = x->past == MG_BY_LANE;
        const size_t row = x->offset + g * x->group + (by_lane ? c * x->term : i * x->lane);
        return NAME(values_of)(w->replay, x->step)[row * w->padded + (by_lane ? i : c)];
    }
    default: break;
    }
    if (x->parts > 0) {
        const mg_part *part = &w->plan->part[x->part + c / x->block];
        return NAME(values_of)(w->replay, part->step)[(part->offset + c % x->block) * w->padded + t];
    }
    return NAME(value_row)(w, x, g, i, c)[t];
}

/* The partial with respect to operand f, at one position. */
FOR_ROW static REAL NAME(partial_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_step *step = w->step;
    const size_t stored = step->uniform ? g : g * w->width + i;
    switch (step->operation) {
    case MG_ADD: return 1;
    case MG_MUL: return NAME(value_at)(w, 1 - f, t, g, i, c);
    case MG_SUM: return step->factors == 2 ? NAME(value_at)(w, 1 - f, t, g, i, c) : 1;
    case MG_RELU: return NAME(value_at)(w, 0, t, g, i, c) > 0;
    case MG_EXP: return w->value[stored * w->padded + t];
    default:
        return step->partials == 0 ? NAME(value_at)(w, 0, t, g, i, c) * 2
                                   : w->partial[(stored * step->partials + f) * w->padded + t];
    }
}

/* Where operand f is leaves: the one of a lane and term at a position. */
FOR_ROW static REAL *NAME(leaf_adjoint_at)(const NAME(work) *w, size_t f, size_t t, size_t g, size_t i, size_t c) {
    const mg_source *x = &w->step->operand[f];
    const size_t offset = g * x->group + i * x->lane + c * x->term;
    if (x->from == MG_FROM_LEAVES) {
        return NAME(leaf)(w->replay, w->replay->leaf_adjoint, x->leaves + (mg_slot)offset);
    }
    const mg_gather *gather = &w->plan->gather[w->plan->step[x->step].gather];
    const mg_slot slot = w->plan->gathered[gather->slots + t * gather->parts + offset / gather->block];
    return NAME(leaf)(w->replay, w->replay->leaf_adjoint, slot + (mg_slot)(offset % gather->block));
}

/* to[c * term] += x[c] * g, n of them */
FOR_ROW static void NAME(add_scaled)(size_t n, const REAL *restrict x, size_t x_term, REAL g, REAL *restrict to,
                                     size_t term) {
    if (x_term == 1 && term == 1) {
        for (size_t c = 0; c < n; c++) {
            to[c] += x[c] * g;
        }
        return;
    }
    for (size_t c = 0; c < n; c++) {
        to[c * term] += x[c * x_term] * g;
    }
}

/* The additions of an event at one position: lanes down, terms down. */
FOR_ROW static void NAME(add_at)(const NAME(work) *w, size_t f, size_t t) {
    const mg_step *step = w->step;
    const mg_source *x = &step->operand[f];
    const size_t width = step->causal ? t + 1 : step->width, terms = step->causal_terms ? t + 1 : step->terms;
    if (step->weights == f && x->term > 0) { /* all terms of a lane at once: their leaves differ */
        REAL *column = w->replay->scratch;
        for (size_t c = 0; c < terms; c++) {
            column[c] = NAME(value_at)(w, 1 - f, t, 0, 0, c);
        }
        for (size_t i = width; i-- > 0;) {
            NAME(add_scaled)(terms, column, 1, w->adjoint[i * w->padded + t],
                             NAME(leaf_adjoint_at)(w, f, t, 0, i, 0), x->term);
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
                NAME(add_scaled)(end - from, row + from * weights->term, weights->term, w->adjoint[i * w->padded + t],
                                 NAME(leaf_adjoint_at)(w, f, t, 0, i, from), 1);
                end = from;
            }
        }
        return;
    }
    if (step->operation == MG_ADD && step->groups == 1 && x->lane == 1 && x->from == MG_FROM_ROWS) {
        REAL *leaves = NAME(leaf_adjoint_at)(w, f, t, 0, 0, 0); /* one part: a row of an embedding */
        for (size_t i = 0; i < width; i++) {
            leaves[i] += w->adjoint[i * w->padded + t];
        }
        return;
    }
    for (size_t lane = step->groups * width; lane-- > 0;) {
        const size_t g = lane / width, i = lane % width;
        const REAL adjoint = w->adjoint[(g * w->width + i) * w->padded + t];
        for (size_t c = terms; c-- > 0;) {
            *NAME(leaf_adjoint_at)(w, f, t, g, i, c) += NAME(partial_at)(w, f, t, g, i, c) * adjoint;
        }
    }
}

/* Weights get x[c] * g[i], positions down: columns side by side, for which x is turned round, unless it was. */
FOR_ROW static void NAME(weights_reverse)(const NAME(work) *w, bool turn) {
    const mg_source *weights = &w->step->operand[w->step->weights];
    const size_t columns = w->terms, wide = mg_padded(columns), last = w->positions - 1;
    REAL *turned = w->replay->scratch;
    for (size_t p = 0; turn && p < NAME(parts_of)(w); p++) {
        const NAME(part) part = NAME(part_of)(w, p);
        const REAL *rows = NAME(value_row)(w, &part.rows, 0, 0, 0);
        const size_t stride = part.rows.term * w->padded;
        for (size_t t = 0; t < w->positions; t++) {
            for (size_t c = 0; c < part.terms; c++) {
                turned[t * wide + part.first + c] = rows[c * stride + t];
            }
        }
    }
    const NAME(sum) sum = {w->adjoint + last, (ptrdiff_t)w->padded, -1, turned + last * wide, -(ptrdiff_t)wide,
                           w->positions};
    NAME(products)(w->width, columns, &sum, 1, NAME(leaf)(w->replay, w->replay->leaf_adjoint, weights->leaves),
                   weights->lane);
}

/* Does each lane and term have a leaf of its own, terms side by side? */
FOR_ROW static bool NAME(side_by_side)(const NAME(work) *w) {
    const mg_source *weights = &w->step->operand[w->step->weights];
    return weights->term == 1 && (weights->lane >= w->terms || w->width == 1);
}

FOR_ROW static bool NAME(same_columns)(const NAME(work) *w, const NAME(work) *other) {
    const mg_source *x = &w->step->operand[1 - w->step->weights];
    const mg_source *y = &other->step->operand[1 - other->step->weights];
    return x->parts == 0 && y->parts == 0 && x->step == y->step && x->offset == y->offset && x->term == y->term &&
           w->terms == other->terms;
}

FOR_ROW static void NAME(leaves_reverse)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    NAME(work) turned = {0}; /* whose x was turned round last */
    for (size_t r = 0; r < plan->region_count; r++) {
        const mg_region *region = &plan->region[r];
        const mg_event *event = &plan->event[region->from];
        const NAME(work) w = NAME(work_of)(replay, event->step);
        if (region->to == region->from + 1 && w.step->weights == event->factor && NAME(side_by_side)(&w)) {
            NAME(weights_reverse)(&w, turned.step == NULL || !NAME(same_columns)(&w, &turned));
            turned = w;
            continue;
        }
        turned.step = NULL;
        for (size_t t = replay->positions; t-- > 0;) {
            NAME(add_at)(&w, event->factor, t);
            for (size_t e = region->from + 1; e < region->to; e++) {
                const NAME(work) other = NAME(work_of)(replay, plan->event[e].step);
                NAME(add_at)(&other, plan->event[e].factor, t);
            }
        }
    }
}

/* ---- all steps -------------------------------------------------------------------------------------------------- */

/* False when that left ordinary numbers, or Python would raise: then the statements are computed one by one. */
FOR_ROW static bool NAME(forward)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    for (size_t k = plan->each; k < plan->step_count; k++) {
        const NAME(work) w = NAME(work_of)(replay, k);
        NAME(gather)(&w);
    }
    for (size_t k = 0; k < plan->each; k++) {
        const NAME(work) w = NAME(work_of)(replay, k);
        const bool ordinary = w.step->operation == MG_SUM       ? NAME(sum_forward)(&w)
                              : w.step->operation == MG_LARGEST ? NAME(largest_of)(&w)
                                                                : NAME(map)(&w);
        if (!ordinary) {
            return false;
        }
    }
    return !plan->check_values || NAME(all_finite)(plan->value_rows * replay->padded, replay->value);
}

/* Seeds the losses and goes through the actions, then adds to the leaves. False, with no leaf changed, when an adjoint
   is not finite: a 0 that stands for what is not there would then count. */
FOR_ROW static bool NAME(reverse)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    const size_t numbers = plan->adjoint_rows * replay->padded;
    memset(replay->adjoint, 0, numbers * sizeof(REAL));
    for (size_t t = 0; t < replay->positions; t++) {
        NAME(adjoints_of)(replay, plan->loss)[t] = plan->mean ? (REAL)(1 / (double)replay->positions) : 1;
    }
    for (size_t n = 0; n < plan->action_count; n++) {
        const size_t number = plan->action[n].number;
        if (plan->action[n].is_fan) {
            NAME(fan)(replay, &plan->fan[number]);
            continue;
        }
        const NAME(work) w = NAME(work_of)(replay, number);
        if (w.step->operation == MG_SUM) {
            NAME(sum_reverse)(&w);
        } else {
            NAME(map_reverse)(&w);
        }
    }
    if (!NAME(all_finite)(numbers, replay->adjoint)) {
        return false;
    }
    NAME(leaves_reverse)(replay);
    return true;
}
