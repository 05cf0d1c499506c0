/* row_sums.h: the other sums of a plan, and which sum is which, forward beside reverse. A part of row.h. */

/* ---- other sums, of rows or of products of rows ----------------------------------------------------------------- */

FOR_ROW static bool NAME(sum_of_rows)(const NAME(work) *w) {
    const mg_source *x = &w->step->operand[0], *y = &w->step->operand[1];
    for (size_t r = 0; r < w->step->groups * w->width; r++) {
        const size_t g = r / w->width, i = r % w->width;
        const REAL *a = NAME(value_row)(w, x, g, i, 0), *b = w->step->factors == 2 ? NAME(value_row)(w, y, g, i, 0) : a;
        const size_t to_a = x->term * w->padded, to_b = y->term * w->padded;
        const size_t *begin = NAME(begin)(w, w->step->causal_terms);
        size_t terms = begin == NULL ? w->terms : 0;
        for (size_t t = 0; t < w->padded; t += WIDTH) {
            VECTOR sum = {0};
            while (terms < w->terms && begin[terms] <= t) {
                terms++;
            }
            for (size_t c = 0; c < terms; c++) {
                if (w->step->factors == 2) {
                    sum = FUSED(sum, LOAD(a + c * to_a + t), LOAD(b + c * to_b + t));
                } else {
                    sum += LOAD(a + c * to_a + t);
                }
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
            const size_t lane = NAME(first_of)(NAME(begin)(w, w->step->causal), i);
            const size_t term = NAME(first_of)(NAME(begin)(w, w->step->causal_terms), c);
            for (size_t t = lane > term ? lane : term; t < w->padded; t += WIDTH) {
                const VECTOR gt = LOAD(adjoint + t);
                if (to_x) {
                    VECTOR sum = NAME(held)(x_adjoint + t, x->first);
                    if (two) {
                        sum = FUSED(sum, LOAD(b + t), gt);
                    } else {
                        sum += gt;
                    }
                    STORE(x_adjoint + t, sum);
                }
                if (to_y) {
                    STORE(y_adjoint + t, FUSED(NAME(held)(y_adjoint + t, y->first), LOAD(a + t), gt));
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
