/* row_sample.h: the steps of one position, lanes in vectors. A part of row.h; position.h says where the numbers are. */

#define AT_A_TIME 4 /* terms of a sum between two looks at their number */

/* out[i] = the sum of x[c] * matrix[c][i], c up, for the lanes of `vectors`, a constant wherever this is inlined. */
FOR_ROW static inline __attribute__((always_inline)) void NAME(lanes_of_sum)(const size_t vectors, size_t terms,
                                                                             const double *x, size_t x_term,
                                                                             const double *matrix, size_t matrix_term,
                                                                             double *out) {
    VECTOR total[8] = {{0}};
    size_t c = 0;
    for (; c + AT_A_TIME <= terms; c += AT_A_TIME, x += AT_A_TIME * x_term, matrix += AT_A_TIME * matrix_term) {
        for (size_t n = 0; n < AT_A_TIME; n++) {
            for (size_t v = 0; v < vectors; v++) {
                total[v] += LOAD(matrix + n * matrix_term + v * WIDTH) * x[n * x_term];
            }
        }
    }
    for (; c < terms; c++, x += x_term, matrix += matrix_term) {
        for (size_t v = 0; v < vectors; v++) {
            total[v] += LOAD(matrix + v * WIDTH) * *x;
        }
    }
    for (size_t v = 0; v < vectors; v++) {
        STORE(out + v * WIDTH, total[v]);
    }
}

/* What a vector writes beyond a group's lanes is the next group's, which comes later. */
FOR_ROW static void NAME(sample_products)(const mg_sample_step *step, size_t position, size_t width, size_t terms) {
    const mg_sample_operand *x = &step->operand[0], *matrix = &step->operand[1];
    for (size_t g = 0; g < step->groups; g++) {
        const double *a = mg_sample_at(x, g, position), *b = mg_sample_at(matrix, g, position);
        double *out = step->out + g * width;
        size_t i = 0;
        for (; i + 7 * WIDTH < width; i += 8 * WIDTH) {
            NAME(lanes_of_sum)(8, terms, a, x->term, b + i, matrix->term, out + i);
        }
        for (; i + 3 * WIDTH < width; i += 4 * WIDTH) {
            NAME(lanes_of_sum)(4, terms, a, x->term, b + i, matrix->term, out + i);
        }
        for (; i + WIDTH < width; i += 2 * WIDTH) {
            NAME(lanes_of_sum)(2, terms, a, x->term, b + i, matrix->term, out + i);
        }
        if (i < width) {
            NAME(lanes_of_sum)(1, terms, a, x->term, b + i, matrix->term, out + i);
        }
    }
}

FOR_ROW static void NAME(sample_sum)(const mg_sample_step *step, size_t position, size_t width, size_t terms) {
    const mg_sample_operand *x = &step->operand[0], *y = &step->operand[1];
    for (size_t g = 0; g < step->groups; g++) {
        const double *a = mg_sample_at(x, g, position), *b = step->factors == 2 ? mg_sample_at(y, g, position) : NULL;
        for (size_t i = 0; i < width; i++) {
            double total = 0;
            for (size_t c = 0; c < terms; c++) {
                const double term = a[i * x->lane + c * x->term];
                total += b == NULL ? term : term * b[i * y->lane + c * y->term];
            }
            step->out[g * width + i] = total;
        }
    }
}

FOR_ROW static void NAME(sample_largest)(const mg_sample_step *step, size_t position, size_t terms) {
    const mg_sample_operand *x = &step->operand[0];
    for (size_t g = 0; g < step->groups; g++) {
        const double *a = mg_sample_at(x, g, position);
        double largest = a[0];
        for (size_t c = 1; c < terms; c++) {
            largest = a[c * x->term] > largest ? a[c * x->term] : largest;
        }
        step->out[g] = largest;
    }
}

/* An operand of a map: the numbers of group g begin at first + g * group, and are one number where `same`. */
typedef struct {
    const double *first;
    size_t group;
    bool same;
} NAME(lanes);

FOR_ROW static NAME(lanes) NAME(lanes_of)(const mg_sample_step *step, size_t f, size_t position, size_t width,
                                          double *room) {
    const mg_sample_operand *x = &step->operand[f];
    const double *first = mg_sample_at(x, 0, position);
    const size_t group = x->whole_group * (position + 1) + x->group;
    if (x->lane <= 1 || width == 1) {
        return (NAME(lanes)){first, group, x->lane == 0 && width > 1};
    }
    for (size_t g = 0; g < step->groups; g++) {
        for (size_t i = 0; i < width; i++) {
            room[g * width + i] = first[g * group + i * x->lane];
        }
    }
    return (NAME(lanes)){room, width, false};
}

/* The operand's numbers in the order of the lanes, in room if need be. */
FOR_ROW static const double *NAME(in_lanes)(const mg_sample_step *step, const NAME(lanes) *x, size_t width, double *room) {
    if (!x->same && (step->groups == 1 || x->group == width)) {
        return x->first;
    }
    for (size_t g = 0; g < step->groups; g++) {
        for (size_t i = 0; i < width; i++) {
            room[g * width + i] = x->first[g * x->group + (x->same ? 0 : i)];
        }
    }
    return room;
}

/* a ** k, of few lanes: pow, where it might not be the nearest float. */
FOR_ROW static inline double NAME(sample_power)(double a, double k) {
#if POW_IS_NEAR
    if (k == -1) {
        const double y = 1 / a;
        return NAME(sure)(a, y, __builtin_fma(-a, y, 1) * y) ? y : pow(a, k);
    }
    double rest;
    const double root = NAME(inverse_root)(a, &rest);
    return NAME(sure)(a, root, rest) ? root : pow(a, k);
#else
    return pow(a, k);
#endif
}

/* An operation that is not a few instructions a lane. */
FOR_ROW static bool NAME(sample_rule)(const mg_sample_step *step, size_t n, const double *a, const double *b) {
    const size_t padded = mg_padded(n);
    double *out = step->out;
    if (step->operation == MG_EXP) {
        return NAME(exp_row)(padded, 0, n, a, out);
    }
    if (step->operation == MG_POW && (step->constant == -1 || step->constant == -0.5)) {
        for (size_t i = 0; i < n; i++) {
            out[i] = NAME(sample_power)(a[i], step->constant);
        }
    } else if (step->operation == MG_POW && step->constant == 2) {
        NAME(squares)(n, a, out);
    } else {
        for (size_t i = 0; i < n; i++) {
            mg_outcome result;
            if (mg_table[step->operation].rule(a[i], step->factors == 2 ? b[i] : step->constant, &result) != MG_OK) {
                return false;
            }
            out[i] = result.value;
        }
    }
    double sum = 0; /* NaN where one is an infinity or a NaN: Python may raise */
    for (size_t i = 0; i < n; i++) {
        sum += out[i] * 0;
    }
    return sum == 0;
}

FOR_ROW static inline __attribute__((always_inline)) VECTOR NAME(everywhere)(double number) {
    VECTOR all = {0}; /* which costs nothing, and says that no lane is left out */
    for (size_t t = 0; t < WIDTH; t++) {
        all[t] = number;
    }
    return all;
}

#define EACH_LANE(expression)                                                                       \
    for (size_t g = 0; g < groups; g++) {                                                           \
        const double *left = x.first + g * x.group, *right = y.first + g * y.group;                 \
        for (size_t i = 0; i < width; i += WIDTH) {                                                 \
            const VECTOR a = x.same ? NAME(everywhere)(*left) : LOAD(left + i);                           \
            const VECTOR b = y.same ? NAME(everywhere)(*right) : LOAD(right + i);                        \
            (void)b;                                                                                \
            STORE(step->out + g * width + i, expression);                                           \
        }                                                                                           \
    }

FOR_ROW static bool NAME(sample_map)(const mg_sample_plan *plan, const mg_sample_step *step, size_t position,
                                     size_t width) {
    size_t groups = step->groups;
    NAME(lanes) x = NAME(lanes_of)(step, 0, position, width, plan->scratch[0]), y = x;
    if (step->factors == 2) {
        y = NAME(lanes_of)(step, 1, position, width, plan->scratch[1]);
    }
    if (step->operation != MG_ADD && step->operation != MG_MUL && step->operation != MG_RELU) {
        const double *a = NAME(in_lanes)(step, &x, width, plan->scratch[0]);
        const double *b = step->factors == 2 ? NAME(in_lanes)(step, &y, width, plan->scratch[1]) : a;
        return NAME(sample_rule)(step, groups * width, a, b);
    }
    if ((x.same ? x.group == 0 : x.group == width) && (y.same ? y.group == 0 : y.group == width)) {
        width *= groups;
        groups = 1;
    }
    if (step->operation == MG_ADD) {
        EACH_LANE(a + b)
    } else if (step->operation == MG_MUL) {
        EACH_LANE(a * b)
    } else {
        EACH_LANE((VECTOR)((NAME(bits))a & (a > 0)))
    }
    return true;
}

#undef EACH_LANE

/* All steps of a position; false where Python would raise, or might. */
FOR_ROW static bool NAME(position)(const mg_sample_plan *plan, size_t position) {
    for (size_t k = 0; k < plan->count; k++) {
        const mg_sample_step *step = &plan->step[k];
        const size_t width = step->causal ? position + 1 : step->width;
        const size_t terms = step->causal_terms ? position + 1 : step->terms;
        if (step->products) {
            NAME(sample_products)(step, position, width, terms);
        } else if (step->operation == MG_SUM) {
            NAME(sample_sum)(step, position, width, terms);
        } else if (step->operation == MG_LARGEST) {
            NAME(sample_largest)(step, position, terms);
        } else if (!NAME(sample_map)(plan, step, position, width)) {
            return false;
        }
        mg_sample_keep(step, position, step->out);
    }
    return true;
}

#undef AT_A_TIME
