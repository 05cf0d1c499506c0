/* joined_layers.h: layers that read several statements, one after the other, as the terms of a sum. */
#ifndef JOINED_LAYERS_H
#define JOINED_LAYERS_H

#include "layers.h"

/* Terms that are joined from lanes of several statements: all of each, or some; the last part may be shorter. */
static mg_id record_joined(text *r, const mg_id *parts, size_t block, size_t terms) {
    const mg_view x = {.term = 1, .list = parts, .entries = (terms - 1) / block + 1, .block = block, .by_term = true};
    const mg_view w = {.first = r->weights, .lane = terms, .term = 1};
    return mg_sum(r->tape, 1, E, terms, &w, &x);
}

static mg_id joined(text *r, mg_id x) {
    return record_joined(r, (mg_id[2]){record_tanh(r->tape, x, E), record_map(r->tape, MG_SIN, x, E, 0)}, E, 2 * E);
}

static mg_id joined_in_part(text *r, mg_id x) {
    const mg_id cubes = record_map(r->tape, MG_POW, x, E, 3), sines = record_map(r->tape, MG_SIN, x + 1, 3, 0);
    return record_joined(r, (mg_id[3]){cubes + 1, sines, record_tanh(r->tape, x, 3)}, 3, 8);
}

/* The sweep adds to the same lanes twice in a term's turn; or in turn with another statement. */
static mg_id joined_with_itself(text *r, mg_id x) { return record_joined(r, (mg_id[2]){x, x}, E, 2 * E); }

static mg_id joined_in_turn(text *r, mg_id x) {
    return record_add(r->tape, record_joined(r, (mg_id[2]){record_tanh(r->tape, x, E), x}, E, 2 * E), x, E);
}

static mg_id joined_lanes(text *r, mg_id x) {
    const mg_id lanes[3] = {record_tanh(r->tape, x, E) + 1, x + 3, record_map(r->tape, MG_SIN, x, E, 0)};
    const mg_view terms = {.term = 9, .list = lanes, .entries = 3, .block = 1, .by_term = true};
    const mg_view w = {.first = r->weights, .lane = 3, .term = 1};
    return record_joined(r, (mg_id[2]){mg_sum(r->tape, 1, E, 3, &w, &terms), r->input[r->t]}, E, 2 * E);
}

static mg_id joined_twice(text *r, mg_id x) {
    const mg_id sines = record_map(r->tape, MG_SIN, x, E, 0), tanhs = record_tanh(r->tape, x + 1, 3);
    const mg_view terms = {.term = 1, .list = (mg_id[]){tanhs, sines}, .entries = 2, .block = 3, .by_term = true};
    const mg_view w = {.first = r->weights, .lane = 6, .term = 1}, v = {.first = r->weights + 24, .lane = 6, .term = 1};
    return record_add(r->tape, mg_sum(r->tape, 1, E, 6, &w, &terms), mg_sum(r->tape, 1, E, 6, &v, &terms), E);
}

/* Parts of which one has no derivative, or none has. */
static mg_id largest_of_pairs(text *r, mg_id x) {
    const mg_view pairs = {.first = x, .group = 1, .term = 1};
    return mg_largest(r->tape, 3, 2, &pairs);
}

static mg_id joined_with_largest(text *r, mg_id x) {
    return record_joined(r, (mg_id[2]){largest_of_pairs(r, x), record_map(r->tape, MG_SIN, x, 3, 0)}, 3, 6);
}

static mg_id joined_largest(text *r, mg_id x) {
    const mg_id parts[2] = {largest_of_pairs(r, x), record_map(r->tape, MG_SIN, largest_of_pairs(r, x), 3, 0)};
    return record_add(r->tape, record_joined(r, parts, 3, 6), x, E);
}

/* Leaves that are joined, others at every position. */
static mg_id joined_leaves(text *r, mg_id x) {
    const mg_id leaves[2] = {r->weights + 32 + r->t, r->weights + 40 + 2 * r->t};
    return record_add(r->tape, record_joined(r, leaves, 3, 6), x, E);
}

#endif
