/* compositions.h: the model's functions as maps and sums, for tests: microgpt/functions.py in C. */
#ifndef COMPOSITIONS_H
#define COMPOSITIONS_H

#include "microgpt.h"

#include <math.h>

/* n lanes in a row, or one lane for all. */
static inline mg_view lanes_from(mg_id first) { return (mg_view){.first = first, .lane = 1}; }
static inline mg_view one_lane(mg_id lane) { return (mg_view){.first = lane}; }
static inline mg_view terms_from(mg_id first) { return (mg_view){.first = first, .term = 1}; }

static inline mg_id record_leaves(mg_tape *tape, const double *values, size_t n) { return mg_leaves(tape, values, n); }

static inline mg_id record_add(mg_tape *tape, mg_id a, mg_id b, size_t n) {
    const mg_view x = lanes_from(a), y = lanes_from(b);
    return mg_map(tape, MG_ADD, 1, n, &x, &y, 0);
}

static inline mg_id record_map(mg_tape *tape, int32_t operation, mg_id a, size_t n, double k) {
    const mg_view x = lanes_from(a);
    return mg_map(tape, operation, 1, n, &x, NULL, k);
}

static inline mg_id record_scale_by(mg_tape *tape, mg_id x, size_t n, double k) {
    return record_map(tape, MG_MUL, x, n, k);
}

static inline mg_id record_relu(mg_tape *tape, mg_id x, size_t n, bool squared) {
    const mg_id relu = record_map(tape, MG_RELU, x, n, 0);
    return squared ? record_map(tape, MG_POW, relu, n, 2) : relu;
}

static inline mg_id record_linear(mg_tape *tape, mg_id x, mg_id w, size_t rows, size_t columns) {
    const mg_view weights = {.first = w, .lane = columns, .term = 1}, inputs = terms_from(x);
    return mg_sum(tape, 1, rows, columns, &weights, &inputs);
}

static inline mg_id record_rmsnorm(mg_tape *tape, mg_id x, size_t n) {
    const mg_view terms = terms_from(x), lanes = lanes_from(x);
    mg_id scale = mg_sum(tape, 1, 1, n, &terms, &terms);
    scale = record_map(tape, MG_MUL, scale, 1, 1 / (double)n);
    scale = record_map(tape, MG_ADD, scale, 1, 1e-5);
    scale = record_map(tape, MG_POW, scale, 1, -0.5);
    const mg_view by = one_lane(scale);
    return mg_map(tape, MG_MUL, 1, n, &lanes, &by, 0);
}

static inline mg_id record_softmax_of_groups(mg_tape *tape, mg_id logits, size_t groups, size_t n) {
    const mg_view terms = {.first = logits, .group = n, .term = 1}, lanes = {.first = logits, .group = n, .lane = 1};
    const mg_id largest = record_map(tape, MG_MUL, mg_largest(tape, groups, n, &terms), groups, -1);
    const mg_view negative = {.first = largest, .group = 1};
    const mg_id less = mg_map(tape, MG_ADD, groups, n, &lanes, &negative, 0);
    const mg_id exps = record_map(tape, MG_EXP, less, groups * n, 0);
    const mg_view of_exps = {.first = exps, .group = n, .term = 1};
    const mg_view total = {.first = mg_sum(tape, groups, 1, n, &of_exps, NULL), .group = 1};
    const mg_id inverse = mg_map(tape, MG_POW, groups, n, &total, NULL, -1);
    const mg_view a = lanes_from(exps), b = lanes_from(inverse);
    return mg_map(tape, MG_MUL, 1, groups * n, &a, &b, 0);
}

static inline mg_id record_softmax(mg_tape *tape, mg_id logits, size_t n) {
    return record_softmax_of_groups(tape, logits, 1, n);
}

static inline mg_id record_attention(mg_tape *tape, mg_id q, const mg_id *keys, const mg_id *values, size_t positions,
                                     size_t heads, size_t head_size) {
    const mg_view query = {.first = q, .group = head_size, .term = 1};
    const mg_view past = {.group = head_size, .term = 1, .list = keys, .entries = positions, .block = 1};
    mg_id logits = mg_sum(tape, heads, positions, head_size, &query, &past);
    logits = record_map(tape, MG_MUL, logits, heads * positions, 1 / sqrt((double)head_size));
    const mg_view weights = {.first = record_softmax_of_groups(tape, logits, heads, positions), .group = positions,
                             .term = 1};
    const mg_view mixed = {.group = head_size, .lane = 1, .list = values, .entries = positions, .block = 1,
                           .by_term = true};
    return mg_sum(tape, heads, head_size, positions, &weights, &mixed);
}

static inline mg_id record_surprisal(mg_tape *tape, mg_id p) {
    return record_map(tape, MG_MUL, record_map(tape, MG_LOG, p, 1, 0), 1, -1);
}

static inline mg_id record_mean(mg_tape *tape, const mg_id *losses, size_t n) {
    const mg_view terms = {.list = losses, .entries = n, .block = 1, .by_term = true};
    return record_map(tape, MG_MUL, mg_sum(tape, 1, 1, n, &terms, NULL), 1, 1 / (double)n);
}

#endif
