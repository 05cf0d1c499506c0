/* course_programs.h: programs of the course's functions with random numbers, which can be recorded both ways, for tests. */
#ifndef COURSE_PROGRAMS_H
#define COURSE_PROGRAMS_H

#include "course.h"

#define LOG_SIZE 400000

static inline course new_course(bool spans) {
    return (course){.tape = mg_tape_new(), .spans = spans, .lanes = allocate(LOG_SIZE, sizeof(mg_id)),
                    .capacity = LOG_SIZE};
}

static inline void end_course(course *c) {
    mg_tape_free(c->tape);
    free(c->lanes);
}

/* All lanes of the log: the same numbers, and the same adjoints. */
static inline bool same_course(const course *a, const course *b) {
    bool same = CHECK(a->count == b->count);
    for (size_t i = 0; same && i < a->count; i++) {
        same = CHECK(same_number(mg_value(a->tape, a->lanes[i]), mg_value(b->tape, b->lanes[i]))) &&
               CHECK(same_number(mg_adjoint(a->tape, a->lanes[i]), mg_adjoint(b->tape, b->lanes[i])));
        if (!same) {
            printf("    in lane %zu of %zu: values %a, %a, adjoints %a, %a\n", i, a->count,
                   mg_value(a->tape, a->lanes[i]), mg_value(b->tape, b->lanes[i]), mg_adjoint(a->tape, a->lanes[i]),
                   mg_adjoint(b->tape, b->lanes[i]));
        }
    }
    return same;
}

static inline bool no_status(const course *c) { return mg_tape_take_status(c->tape) == MG_OK; }

/* A program records and returns the lane to sweep from; its random numbers come from `state` alone. */
typedef vector program(course *c, uint64_t *state);

/* Collects with the lanes of the log for roots: their statements keep all that a sweep needs. */
static inline void forget_the_rest(const course *c) {
    size_t *ones = allocate(c->count, sizeof *ones);
    for (size_t i = 0; i < c->count; i++) {
        ones[i] = 1;
    }
    CHECK(mg_tape_collect(c->tape, c->lanes, ones, c->count) == MG_OK);
    free(ones);
}

static inline void compare(program *record, uint64_t seed, size_t rounds) {
    course both[2] = {new_course(false), new_course(true)};
    for (size_t round = 0; round < rounds; round++) {
        for (int b = 0; b < 2; b++) {
            uint64_t state = seed + round;
            for (int warm = 0; warm < 5; warm++) {
                random_bits(&state);
            }
            both[b].count = 0;
            if (round % 4 == 0) { /* other rounds leave what is there, so that statements begin anywhere in a page */
                CHECK(mg_tape_rewind(both[b].tape, 0) == MG_OK);
            }
            vector result = record(&both[b], &state);
            CHECK(no_status(&both[b]));
            if (round % 5 == 2) {
                forget_the_rest(&both[b]);
            }
            CHECK(mg_sweep(both[b].tape, lane(&both[b], result, 0)) == MG_OK);
        }
        if (!same_course(&both[0], &both[1])) {
            printf("    in round %zu\n", round);
            break;
        }
    }
    end_course(&both[0]);
    end_course(&both[1]);
}

static inline vector random_leaves(course *c, uint64_t *state, size_t n) {
    double *values = allocate(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = random_between(state, -2, 2);
        values[i] = random_below(state, 20) == 0 ? 0 : values[i];
    }
    vector x = leaves(c, values, n);
    free(values);
    return x;
}

/* Sizes that are often small, and now and then longer than a page. */
static inline size_t random_size(uint64_t *state) {
    return random_below(state, 12) == 0 ? 500 + random_below(state, 60) : 1 + random_below(state, 12);
}

/* Lanes to work on: leaves, or something computed from leaves, so that adjoints flow on. */
static inline vector random_operand(course *c, uint64_t *state, size_t n) {
    vector x = random_leaves(c, state, n);
    switch (random_below(state, 4)) {
    case 0: return scale_by(c, x, random_between(state, -2, 2));
    case 1: return add(c, x, random_leaves(c, state, n));
    case 2: return add(c, x, scale_by(c, x, 0.25));
    default: return x;
    }
}

/* One lane that depends on all of x, each with another weight. */
static inline vector weigh(course *c, uint64_t *state, vector x) {
    return linear(c, x, random_leaves(c, state, x.n), 1);
}

static inline vector program_add(course *c, uint64_t *state) {
    size_t n = random_size(state);
    vector a = random_operand(c, state, n), b = random_below(state, 3) ? random_operand(c, state, n) : a;
    return weigh(c, state, add(c, a, b));
}

static inline vector program_scale_by(course *c, uint64_t *state) {
    vector x = random_operand(c, state, random_size(state));
    return weigh(c, state, scale_by(c, x, random_between(state, -3, 3)));
}

static inline vector program_relu(course *c, uint64_t *state) {
    return weigh(c, state, relu(c, random_operand(c, state, random_size(state)), false));
}

static inline vector program_relu_squared(course *c, uint64_t *state) {
    return weigh(c, state, relu(c, random_operand(c, state, random_size(state)), true));
}

static inline vector program_rmsnorm(course *c, uint64_t *state) {
    return weigh(c, state, rmsnorm(c, random_operand(c, state, random_size(state))));
}

static inline vector program_linear(course *c, uint64_t *state) {
    size_t columns = random_size(state), rows = 1 + random_below(state, columns < 100 ? 13 : 6);
    vector x = random_operand(c, state, columns), w = random_operand(c, state, rows * columns);
    switch (random_below(state, 4)) {
    case 0: x = slice(w, random_below(state, rows) * columns, columns); break;        /* a row of the matrix */
    case 1: x = slice(w, random_below(state, (rows - 1) * columns + 1), columns); break; /* across its rows */
    default: break;
    }
    return weigh(c, state, linear(c, x, w, rows));
}

static inline vector program_softmax(course *c, uint64_t *state) {
    return weigh(c, state, softmax(c, random_operand(c, state, random_size(state))));
}

/* Of a softmax, only some lanes are used, in another order. */
static inline vector program_partial_softmax(course *c, uint64_t *state) {
    size_t n = 2 + random_below(state, 8);
    vector p = softmax(c, random_operand(c, state, n)), some[6];
    for (size_t k = 0; k < 6; k++) {
        some[k] = slice(p, random_below(state, n), 1);
    }
    return mean(c, some, 6);
}

static inline vector program_attention(course *c, uint64_t *state) {
    size_t heads = 1 + random_below(state, 4), head_size = 1 + random_below(state, 5), n = heads * head_size;
    size_t positions = 1 + random_below(state, 9);
    vector q = random_operand(c, state, n), keys[9], values[9];
    vector shared = random_operand(c, state, 2 * n);
    for (size_t u = 0; u < positions; u++) {
        switch (random_below(state, 5)) { /* keys and values may be one another, the query, or overlap */
        case 0: keys[u] = q; break;
        case 1: keys[u] = slice(shared, random_below(state, n + 1), n); break;
        default: keys[u] = random_operand(c, state, n);
        }
        switch (random_below(state, 5)) {
        case 0: values[u] = keys[u]; break;
        case 1: values[u] = u > 0 ? values[u - 1] : q; break;
        default: values[u] = random_operand(c, state, n);
        }
    }
    return weigh(c, state, attention(c, q, keys, values, positions, heads));
}

static inline vector program_wide_attention(course *c, uint64_t *state) {
    size_t heads = 8, n = 8 * 24, positions = 40;
    vector q = random_operand(c, state, n), keys[40], values[40];
    for (size_t u = 0; u < positions; u++) {
        keys[u] = random_operand(c, state, n);
        values[u] = random_operand(c, state, n);
    }
    return weigh(c, state, attention(c, q, keys, values, positions, heads));
}

static inline vector program_surprisal(course *c, uint64_t *state) {
    vector p = softmax(c, random_operand(c, state, 1 + random_below(state, 9))), two[2];
    for (int k = 0; k < 2; k++) {
        two[k] = surprisal(c, slice(p, random_below(state, p.n), 1));
    }
    return mean(c, two, 2);
}

static inline vector program_mean(course *c, uint64_t *state) {
    size_t n = random_size(state), m = 1 + random_below(state, 2 * n);
    vector x = random_operand(c, state, n), *some = allocate(m, sizeof *some);
    for (size_t k = 0; k < m; k++) {
        some[k] = slice(x, random_below(state, n), 1);
    }
    vector y = mean(c, some, m);
    free(some);
    return log_one(c, mg_mul(c->tape, lane(c, y, 0), lane(c, x, 0)));
}

/* Any statements on any earlier ones, with scalar operations and custom statements in between. */
static inline vector program_composition(course *c, uint64_t *state) {
    enum { MOST = 20 };
    static const size_t head_counts[] = {1, 2, 4};
    vector pool[MOST], loose[MOST]; /* vectors of n lanes, and single lanes */
    size_t n = 4 * (1 + random_below(state, 2)), count = 0, loose_count = 0, steps = 3 + random_below(state, 12);
    pool[count++] = random_leaves(c, state, n);
    pool[count++] = random_leaves(c, state, n);
    vector matrix = random_leaves(c, state, n * n);
    if (random_below(state, 3) == 0) { /* weights that are computed are visited, unlike leaves */
        matrix = scale_by(c, matrix, 0.5);
    }
    for (size_t s = 0; s < steps; s++) {
        vector x = pool[random_below(state, count)], y = pool[random_below(state, count)], keys[4], values[4];
        switch (random_below(state, 12)) {
        case 0: pool[count++] = add(c, x, y); break;
        case 1: pool[count++] = scale_by(c, x, random_between(state, -1, 1)); break;
        case 2: pool[count++] = relu(c, x, false); break;
        case 3: pool[count++] = rmsnorm(c, relu(c, x, true)); break;
        case 4: pool[count++] = rmsnorm(c, x); break;
        case 5:
        case 6: pool[count++] = rmsnorm(c, linear(c, x, matrix, n)); break;
        case 7: pool[count++] = softmax(c, x); break;
        case 8: {
            size_t positions = 1 + random_below(state, 4), heads = head_counts[random_below(state, 3)];
            for (size_t u = 0; u < positions; u++) {
                keys[u] = pool[random_below(state, count)];
                values[u] = pool[random_below(state, count)];
            }
            pool[count++] = attention(c, x, keys, values, positions, heads);
            break;
        }
        case 9: pool[count++] = rmsnorm(c, linear(c, slice(x, 0, n / 2), slice(matrix, 3, n * n / 2), n)); break;
        case 10: { /* a scalar operation on a sum with one row, which is another vector */
            vector one = linear(c, x, y, 1);
            loose[loose_count++] = log_one(c, mg_mul(c->tape, lane(c, one, 0), lane(c, x, n - 1)));
            break;
        }
        default: { /* through lanes of any kind, and back into a vector by way of a matrix of one column */
            mg_id ids[3] = {lane(c, x, 0), lane(c, y, n - 1), lane(c, x, n / 2)};
            const double partials[3] = {0.5, -1.25, 2};
            vector three[3] = {log_one(c, mg_custom(c->tape, 0.75, ids, partials, 3)), slice(x, 1, 1), slice(y, 2, 1)};
            vector mixed = mean(c, three, 3);
            mixed = log_one(c, mg_unary(c->tape, MG_TANH, mg_mul(c->tape, lane(c, mixed, 0), lane(c, y, 0))));
            pool[count++] = linear(c, mixed, slice(matrix, 0, n), n);
            loose[loose_count++] = mixed;
        }
        }
    }
    vector p = softmax(c, rmsnorm(c, pool[count - 1]));
    loose[loose_count++] = surprisal(c, slice(p, random_below(state, n), 1));
    loose[loose_count++] = slice(pool[random_below(state, count)], random_below(state, n), 1);
    return mean(c, loose, loose_count);
}

#endif
