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
            while (terms < w->terms && NAME(first_of)(begin, terms) <= t) {
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
    const bool to_x = x->gets, two = w->step->factors == 2, to_y = two && y->gets;
    const size_t to_a = x->term * w->padded, to_b = y->term * w->padded, *lane = NAME(begin)(w, w->step->causal);
    const size_t *begin = NAME(begin)(w, w->step->causal_terms);
    for (size_t r = w->step->groups * w->width; r-- > 0;) {
        const size_t g = r / w->width, i = r % w->width;
        const REAL *a = NAME(value_row)(w, x, g, i, 0), *b = two ? NAME(value_row)(w, y, g, i, 0) : a;
        REAL *a_adjoint = to_x ? NAME(adjoint_row)(w, x, g, i, 0) : NULL;
        REAL *b_adjoint = to_y ? NAME(adjoint_row)(w, y, g, i, 0) : NULL;
        size_t terms = begin == NULL ? w->terms : 0;
        for (size_t t = NAME(first_of)(lane, i); t < w->padded; t += WIDTH) {
            const VECTOR adjoint = LOAD(w->adjoint + r * w->padded + t);
            while (terms < w->terms && NAME(first_of)(begin, terms) <= t) {
                terms++;
            }
            for (size_t c = terms, at_a = terms * to_a + t, at_b = terms * to_b + t; c > 0; c--) {
                at_a -= to_a;
                at_b -= to_b;
                if (to_x && two) {
                    STORE(a_adjoint + at_a, FUSED(NAME(held)(a_adjoint + at_a, x->first), LOAD(b + at_b), adjoint));
                } else if (to_x) {
                    STORE(a_adjoint + at_a, NAME(held)(a_adjoint + at_a, x->first) + adjoint);
                }
                if (to_y) {
                    STORE(b_adjoint + at_b, FUSED(NAME(held)(b_adjoint + at_b, y->first), LOAD(a + at_a), adjoint));
                }
            }
        }
    }
    for (size_t f = 0; f < w->step->factors && w->step->causal_terms; f++) {
        if (w->step->operand[f].gets) {
            NAME(cut_adjoints_of)(w, &w->step->operand[f]);
        }
    }
}

FOR_ROW static bool NAME(sum_of)(const NAME(work) *w) {
    const size_t f = mg_past_of(w->step);
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

FOR_ROW static bool NAME(sum_forward)(const NAME(work) *w) {
    const bool ordinary = NAME(sum_of)(w);
    if (w->step->cut) {
        NAME(cut)(w, w->step->groups, w->value);
    }
    return ordinary;
}

FOR_ROW static void NAME(sum_reverse)(const NAME(work) *w) {
    const size_t f = mg_past_of(w->step);
    if (f == MG_NOWHERE) {
        NAME(sum_of_rows_reverse)(w);
    } else if (w->step->operand[f].past == MG_BY_LANE) {
        w->replay->texts > 1 ? NAME(dots_of_many_reverse)(w, f) : NAME(dots_of_one_reverse)(w, f);
    } else {
        w->replay->texts > 1 ? NAME(mix_of_many_reverse)(w, f) : NAME(mix_of_one_reverse)(w, f);
    }
}
