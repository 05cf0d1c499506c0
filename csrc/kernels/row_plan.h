/* row_plan.h: what a plan computes: the loops over all of its steps, forward and reverse. A part of row.h. */

/* ---- from leaves ------------------------------------------------------------------------------------------------ */

/* Leaves that differ from position to position, as rows: WIDTH columns at once, in squares. */
FOR_ROW static void NAME(gather)(const NAME(work) *w) {
    const mg_gather *gather = &w->plan->gather[w->step->gather];
    if (w->computed < w->padded) {
        memset(w->value, 0, w->width * w->padded * sizeof *w->value);
    }
    for (size_t t = 0; t < w->computed; t += WIDTH) {
        const size_t columns = w->computed - t < WIDTH ? w->computed - t : WIDTH;
        for (size_t p = 0; p < gather->parts; p++) {
            REAL *out = w->value + p * gather->block * w->padded + t;
            const REAL *leaves[WIDTH];
            for (size_t j = 0; j < columns; j++) {
                leaves[j] = NAME(leaf)(w->replay, w->replay->leaf_value, mg_gathered(w->replay, gather, t + j)[p]);
            }
            size_t c = 0;
            for (; columns == WIDTH && c + WIDTH <= gather->block; c += WIDTH) {
                VECTOR x[WIDTH];
                for (size_t j = 0; j < WIDTH; j++) {
                    x[j] = LOAD(leaves[j] + c);
                }
                NAME(transpose_square)(x);
                for (size_t k = 0; k < WIDTH; k++) {
                    STORE(out + (c + k) * w->padded, x[k]);
                }
            }
            for (; c < gather->block; c++) {
                for (size_t j = 0; j < columns; j++) {
                    out[c * w->padded + j] = leaves[j][c];
                }
            }
        }
    }
}

/* ---- all steps -------------------------------------------------------------------------------------------------- */

/* False when that left ordinary numbers, or Python would raise: then the statements are computed one by one. */
FOR_ROW static bool NAME(forward)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    NAME(work) w = NAME(work_on)(replay);
    for (size_t k = plan->each; k < plan->step_count; k++) {
        NAME(take)(&w, k);
        NAME(gather)(&w);
    }
    for (size_t k = 0; k < plan->each; k++) {
        NAME(take)(&w, k);
        const bool ordinary = w.step->operation == MG_SUM       ? NAME(sum_forward)(&w)
                              : w.step->operation == MG_LARGEST ? NAME(largest_of)(&w)
                                                                : NAME(map)(&w);
        if (!ordinary) {
            return false;
        }
    }
    return !plan->check_values || NAME(all_finite)(replay->value_rows * replay->padded, replay->value);
}

/* Seeds the losses and goes through the actions. False where a 0 that stands for what is not there may have counted: beside
   a number that is not finite. */
FOR_ROW static bool NAME(reverse)(const mg_replay *replay) {
    const mg_plan *plan = replay->plan;
    REAL *losses = NAME(adjoints_of)(replay, plan->loss);
    NAME(work) w = NAME(work_on)(replay);
    for (size_t k = 0; k < plan->each; k++) {
        if (plan->step[k].derives && plan->step[k].clear) {
            NAME(take)(&w, k);
            memset(w.adjoint, 0, w.step->groups * w.width * w.padded * sizeof *w.adjoint);
        }
    }
    for (size_t d = 0; d < replay->texts; d++) {
        for (size_t t = 0; t < replay->length[d]; t++) {
            losses[replay->start[t] + d] = (REAL)mg_share_of(plan->program, replay->length[d]);
        }
    }
    for (size_t n = 0; n < plan->action_count; n++) {
        const size_t number = plan->action[n].number;
        if (plan->action[n].is_fan) {
            if (!NAME(fan)(replay, &plan->fan[number])) {
                return false;
            }
            continue;
        }
        NAME(take)(&w, number);
        if (w.step->operation == MG_SUM) {
            NAME(sum_reverse)(&w);
        } else {
            NAME(map_reverse)(&w);
        }
    }
    for (size_t k = 0; k < plan->each; k++) { /* an adjoint that is not finite makes all below it so */
        if (plan->step[k].ends) {
            NAME(take)(&w, k);
            if (!NAME(all_finite)(w.step->groups * w.width * w.padded, w.adjoint)) {
                return false;
            }
        }
    }
    NAME(turn_all)(replay);
    return true;
}
