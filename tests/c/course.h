/* course.h: the course's functions, as statements of many lanes or as scalar operations, for tests. */
#ifndef COURSE_H
#define COURSE_H

#include "check.h"
#include "compositions.h"

/* A program that records on a tape. Both kinds log the lanes of their results in the same order. */
typedef struct {
    mg_tape *tape;
    bool spans;
    mg_id *lanes;
    size_t count, capacity;
} course;

/* Lanes first .. first + n - 1 of the log. */
typedef struct {
    size_t first, n;
} vector;

static inline vector slice(vector x, size_t from, size_t n) { return (vector){x.first + from, n}; }

static inline mg_id lane(const course *c, vector x, size_t i) { return c->lanes[x.first + i]; }

static inline vector log_lanes(course *c, const mg_id *lanes, size_t n) {
    if (c->count + n > c->capacity) {
        puts("the test's log is too small");
        exit(2);
    }
    memcpy(c->lanes + c->count, lanes, n * sizeof *lanes);
    c->count += n;
    return (vector){c->count - n, n};
}

static inline vector log_run(course *c, mg_id first, size_t n) {
    CHECK(first != MG_NONE);
    for (size_t i = 0; i < n; i++) {
        mg_id id = first + i;
        log_lanes(c, &id, 1);
    }
    return (vector){c->count - n, n};
}

static inline vector log_one(course *c, mg_id id) { return log_run(c, id, 1); }

static inline mg_id times(const course *c, mg_id a, double k) { return mg_binary_with(c->tape, MG_MUL, a, k); }
static inline mg_id plus(const course *c, mg_id a, double k) { return mg_binary_with(c->tape, MG_ADD, a, k); }
static inline mg_id power(const course *c, mg_id a, double k) { return mg_unary_with(c->tape, MG_POW, a, k); }
static inline mg_id quotient(const course *c, mg_id a, mg_id b) { return mg_mul(c->tape, a, power(c, b, -1)); }

/* Python's sum: 0 + first is first + 0. */
static inline mg_id sum_up(const course *c, const mg_id *x, size_t n) {
    mg_id total = plus(c, x[0], 0);
    for (size_t i = 1; i < n; i++) {
        total = mg_add(c->tape, total, x[i]);
    }
    return total;
}

static inline vector leaves(course *c, const double *values, size_t n) {
    if (c->spans) {
        return log_run(c, record_leaves(c->tape, values, n), n);
    }
    for (size_t i = 0; i < n; i++) {
        log_one(c, mg_leaf(c->tape, values[i]));
    }
    return (vector){c->count - n, n};
}

static inline vector add(course *c, vector a, vector b) {
    if (c->spans) {
        return log_run(c, record_add(c->tape, lane(c, a, 0), lane(c, b, 0), a.n), a.n);
    }
    for (size_t i = 0; i < a.n; i++) {
        log_one(c, mg_add(c->tape, lane(c, a, i), lane(c, b, i)));
    }
    return (vector){c->count - a.n, a.n};
}

static inline vector scale_by(course *c, vector x, double k) {
    if (c->spans) {
        return log_run(c, record_scale_by(c->tape, lane(c, x, 0), x.n, k), x.n);
    }
    for (size_t i = 0; i < x.n; i++) {
        log_one(c, times(c, lane(c, x, i), k));
    }
    return (vector){c->count - x.n, x.n};
}

static inline vector relu(course *c, vector x, bool squared) {
    if (c->spans) {
        return log_run(c, record_relu(c->tape, lane(c, x, 0), x.n, squared), x.n);
    }
    for (size_t i = 0; i < x.n; i++) {
        mg_id y = mg_unary(c->tape, MG_RELU, lane(c, x, i));
        log_one(c, squared ? power(c, y, 2) : y);
    }
    return (vector){c->count - x.n, x.n};
}

static inline vector rmsnorm(course *c, vector x) {
    if (c->spans) {
        return log_run(c, record_rmsnorm(c->tape, lane(c, x, 0), x.n), x.n);
    }
    mg_id *squares = allocate(x.n, sizeof *squares);
    for (size_t i = 0; i < x.n; i++) {
        squares[i] = mg_mul(c->tape, lane(c, x, i), lane(c, x, i));
    }
    mg_id mean_square = times(c, sum_up(c, squares, x.n), pow((double)x.n, -1));
    mg_id scale = power(c, plus(c, mean_square, 1e-5), -0.5);
    for (size_t i = 0; i < x.n; i++) {
        log_one(c, mg_mul(c->tape, lane(c, x, i), scale));
    }
    free(squares);
    return (vector){c->count - x.n, x.n};
}

static inline mg_id dot(const course *c, const mg_id *a, const mg_id *b, size_t n) {
    mg_id *products = allocate(n, sizeof *products);
    for (size_t i = 0; i < n; i++) {
        products[i] = mg_mul(c->tape, a[i], b[i]);
    }
    mg_id total = sum_up(c, products, n);
    free(products);
    return total;
}

static inline vector linear(course *c, vector x, vector w, size_t rows) {
    if (c->spans) {
        return log_run(c, record_linear(c->tape, lane(c, x, 0), lane(c, w, 0), rows, x.n), rows);
    }
    for (size_t r = 0; r < rows; r++) {
        log_one(c, dot(c, c->lanes + w.first + r * x.n, c->lanes + x.first, x.n));
    }
    return (vector){c->count - rows, rows};
}

static inline void softmax_lanes(const course *c, const mg_id *x, size_t n, mg_id *out) {
    double largest = mg_value(c->tape, x[0]);
    for (size_t i = 1; i < n; i++) {
        double value = mg_value(c->tape, x[i]);
        largest = value > largest ? value : largest;
    }
    mg_id *exps = allocate(n, sizeof *exps);
    for (size_t i = 0; i < n; i++) {
        exps[i] = mg_unary(c->tape, MG_EXP, plus(c, x[i], -largest));
    }
    mg_id total = sum_up(c, exps, n);
    for (size_t i = 0; i < n; i++) {
        out[i] = quotient(c, exps[i], total);
    }
    free(exps);
}

static inline vector softmax(course *c, vector x) {
    if (c->spans) {
        return log_run(c, record_softmax(c->tape, lane(c, x, 0), x.n), x.n);
    }
    mg_id *out = allocate(x.n, sizeof *out);
    softmax_lanes(c, c->lanes + x.first, x.n, out);
    vector y = log_lanes(c, out, x.n);
    free(out);
    return y;
}

static inline vector attention(course *c, vector q, const vector *keys, const vector *values, size_t positions,
                        size_t heads) {
    size_t head_size = q.n / heads;
    mg_id *key_ids = allocate(positions, sizeof *key_ids), *value_ids = allocate(positions, sizeof *value_ids);
    if (c->spans) {
        for (size_t u = 0; u < positions; u++) {
            key_ids[u] = lane(c, keys[u], 0);
            value_ids[u] = lane(c, values[u], 0);
        }
        log_run(c, record_attention(c->tape, lane(c, q, 0), key_ids, value_ids, positions, heads, head_size), q.n);
    } else {
        for (size_t h = 0; h < heads; h++) {
            for (size_t u = 0; u < positions; u++) { /* the logits, then the weights, in key_ids */
                mg_id product = dot(c, c->lanes + q.first + h * head_size, c->lanes + keys[u].first + h * head_size,
                                    head_size);
                key_ids[u] = times(c, product, pow(pow((double)head_size, 0.5), -1));
            }
            softmax_lanes(c, key_ids, positions, key_ids);
            for (size_t j = 0; j < head_size; j++) {
                for (size_t u = 0; u < positions; u++) {
                    value_ids[u] = lane(c, values[u], h * head_size + j);
                }
                log_one(c, dot(c, key_ids, value_ids, positions));
            }
        }
    }
    free(key_ids);
    free(value_ids);
    return (vector){c->count - q.n, q.n};
}

static inline vector surprisal(course *c, vector p) {
    if (c->spans) {
        return log_one(c, record_surprisal(c->tape, lane(c, p, 0)));
    }
    return log_one(c, times(c, mg_unary(c->tape, MG_LOG, lane(c, p, 0)), -1));
}

/* Of lanes anywhere: x[k] has one. */
static inline vector mean(course *c, const vector *x, size_t n) {
    mg_id *ids = allocate(n, sizeof *ids), result;
    for (size_t k = 0; k < n; k++) {
        ids[k] = lane(c, x[k], 0);
    }
    result = c->spans ? record_mean(c->tape, ids, n) : times(c, sum_up(c, ids, n), 1 / (double)n);
    free(ids);
    return log_one(c, result);
}

#endif
