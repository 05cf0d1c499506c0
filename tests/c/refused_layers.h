/* refused_layers.h: layers of which there is no plan, or that differ at one position. */
#ifndef REFUSED_LAYERS_H
#define REFUSED_LAYERS_H

#include "joined_layers.h"

/* Lanes that are listed backwards, one by one or in pairs. */
static mg_id backwards(text *r, mg_id x) {
    const mg_view lanes = {.list = (mg_id[]){x + 3, x + 2, x + 1, x}, .entries = E, .block = 1};
    return mg_map(r->tape, MG_SIN, 1, E, &lanes, NULL, 0);
}

static mg_id pairs_backwards(text *r, mg_id x) {
    const mg_view lanes = {.lane = 1, .list = (mg_id[]){x + 2, x}, .entries = 2, .block = 2};
    return mg_map(r->tape, MG_SIN, 1, E, &lanes, NULL, 0);
}

static mg_id without_order(text *r, mg_id x) {
    const mg_view lanes = {.list = (mg_id[]){x, x + 1, x + 2, x}, .entries = E, .block = 1};
    return mg_map(r->tape, MG_SIN, 1, E, &lanes, NULL, 0);
}

/* A constant, and what stands beside it. */
static mg_id beside_a_constant(text *r, mg_id x) {
    mg_id read[2] = {MG_NONE, MG_NONE};
    double partials[2];
    const mg_id scaled = record_scale_by(r->tape, x, E, 0.5);
    CHECK(mg_lane_operands(r->tape, scaled, read, partials) == MG_OK);
    const mg_view lanes = lanes_from(x), beside = lanes_from(read[1]);
    return record_add(r->tape, mg_map(r->tape, MG_MUL, 1, E, &lanes, &beside, 0), scaled, E);
}

/* Sums of leaves alone, of parts without weights, of leaves that move along lanes or do not, and over positions. */
static mg_id sum_of_leaves(text *r, mg_id x) {
    const mg_view leaves = terms_from(r->weights), all = lanes_from(x);
    const mg_view by = one_lane(mg_sum(r->tape, 1, 1, E, &leaves, NULL));
    return mg_map(r->tape, MG_MUL, 1, E, &all, &by, 0);
}

static mg_id sum_of_parts(text *r, mg_id x) {
    const mg_id parts[2] = {x, record_tanh(r->tape, x, E)};
    const mg_view joined = {.term = 1, .list = parts, .entries = 2, .block = E, .by_term = true}, all = lanes_from(x);
    const mg_view by = one_lane(mg_sum(r->tape, 1, 1, 2 * E, &joined, NULL));
    return mg_map(r->tape, MG_MUL, 1, E, &all, &by, 0);
}

static mg_id convolution(text *r, mg_id x) {
    const mg_view w = terms_from(r->weights), moving = {.first = x, .lane = 1, .term = 1};
    return record_linear(r->tape, mg_sum(r->tape, 1, 2, 3, &w, &moving), r->weights + 8, E, 2);
}

static mg_id one_by_leaves(text *r, mg_id x) {
    const mg_view w = {.first = r->weights, .lane = 2, .term = 1}, one = {.first = x};
    return mg_sum(r->tape, 1, E, 2, &w, &one);
}

static mg_id by_place(text *r, mg_id x) {
    r->value[r->t] = record_tanh(r->tape, r->input[r->t], E);
    const mg_view places = terms_from(r->weights);
    const mg_view past = {.lane = 1, .list = r->value, .entries = r->t + 1, .block = 1, .by_term = true};
    return record_add(r->tape, mg_sum(r->tape, 1, E, r->t + 1, &places, &past), x, E);
}

/* Lists that are no concatenations. */
static mg_id record_listed(text *r, const mg_view *listed, size_t groups) {
    const mg_view w = {.first = r->weights, .lane = 4, .term = 1};
    const mg_id sum = mg_sum(r->tape, groups, 2, 4, listed, &w);
    return record_linear(r->tape, sum, r->weights + 16, E, 2 * groups);
}

static mg_id listed_by_lane(text *r, mg_id x) {
    const mg_id parts[2] = {x, record_tanh(r->tape, x, E)};
    return record_listed(r, &(mg_view){.term = 1, .list = parts, .entries = 2, .block = 1}, 1);
}

static mg_id joined_in_strides(text *r, mg_id x) {
    const mg_id parts[2] = {x, record_tanh(r->tape, x, E)};
    return record_listed(r, &(mg_view){.term = 2, .list = parts, .entries = 2, .block = 2, .by_term = true}, 1);
}

static mg_id joined_and_moving(text *r, mg_id x) {
    const mg_id parts[2] = {x, record_tanh(r->tape, x, E)};
    const mg_view moving = {.lane = 1, .term = 1, .list = parts, .entries = 2, .block = 2, .by_term = true};
    return record_listed(r, &moving, 1);
}

static mg_id joined_in_groups(text *r, mg_id x) {
    const mg_id parts[2] = {x, record_tanh(r->tape, x, E)};
    const mg_view groups = {.group = 1, .term = 1, .list = parts, .entries = 2, .block = 2, .by_term = true};
    return record_listed(r, &groups, 2);
}

static mg_id joined_with_leaves(text *r, mg_id x) {
    return record_joined(r, (mg_id[2]){x, r->weights + 40}, E, 2 * E);
}

/* What was computed before: by lanes, as a part, and position by position. */
static mg_id read_from_before(text *r, mg_id x) { return record_add(r->tape, x, r->before, E); }

static mg_id joined_with_before(text *r, mg_id x) {
    return record_joined(r, (mg_id[2]){x, r->before}, E, 2 * E);
}

static mg_id attends_to_before(text *r, mg_id x) {
    return attended(r, r->before + r->t * E, x - (r->before + r->t * E), 2, false);
}

/* Some of the lanes that a step has for the positions so far. */
static mg_id by_the_first_weight(text *r, mg_id x) {
    const mg_view lanes = lanes_from(x), first = one_lane(record_heads(r, x));
    return mg_map(r->tape, MG_MUL, 1, E, &lanes, &first, 0);
}

static mg_id from_the_second_weight(text *r, mg_id x) {
    return record_mixed(r, record_tanh(r->tape, record_heads(r, x) + 1, r->t + 1));
}

static mg_id windows_of_weights(text *r, mg_id x) {
    const size_t n = r->t + 1;
    const mg_view windows = {.first = record_heads(r, x), .group = 1, .lane = 1};
    return record_mixed(r, mg_map(r->tape, MG_TANH, 2, n, &windows, NULL, 0));
}

static mg_id by_leaves_of_the_place(text *r, mg_id x) {
    const mg_view weights = lanes_from(record_heads(r, x)), leaves = lanes_from(r->weights + 16 + r->t);
    return record_mixed(r, mg_map(r->tape, MG_ADD, 1, r->t + 1, &weights, &leaves, 0));
}

/* A lane that is selected from two groups, whose sums are over other lanes. */
static mg_id selected_from_halves(text *r, mg_id x) {
    r->halves = true;
    return record_linear(r->tape, x, r->weights, E, E);
}

/* One position that is not as the others: it reads other leaves, other lanes, in other strides, has another constant. */
static mg_id other_leaves(text *r, mg_id x) {
    return record_linear(r->tape, x, r->weights + (r->t == r->odd ? 16 : 0), E, E);
}

static mg_id other_lanes(text *r, mg_id x) {
    return record_linear(r->tape, x + (r->t == r->odd), r->weights, E, 2);
}

static mg_id other_strides(text *r, mg_id x) {
    const mg_view terms = {.first = x, .term = r->t == r->odd ? 2 : 1}, w = {.first = r->weights, .lane = 2, .term = 1};
    return mg_sum(r->tape, 1, E, 2, &terms, &w);
}

static mg_id other_numbers(text *r, mg_id x) { return record_map(r->tape, MG_MUL, x, E, r->t == r->odd ? 0.5 : 0.25); }

static mg_id other_terms(text *r, mg_id x) {
    return record_linear(r->tape, x, r->weights, E, r->t == r->odd ? 2 : 3);
}

static mg_id another_function(text *r, mg_id x) {
    return record_map(r->tape, r->t == r->odd ? MG_SIN : MG_TANH, x, E, 0);
}

static mg_id other_lanes_of_a_map(text *r, mg_id x) {
    return record_linear(r->tape, record_tanh(r->tape, x + (r->t == r->odd), 2), r->weights, E, 2);
}

static mg_id other_keys(text *r, mg_id x) {
    const mg_id one = record_linear(r->tape, x, r->weights, E, E);
    const mg_id other = record_linear(r->tape, x, r->weights + 16, E, E), key = r->t == r->odd ? other : one;
    const mg_id query = record_linear(r->tape, x, r->weights + 32, E, E);
    return record_add(r->tape, attended(r, key, query - key, 2, false), record_add(r->tape, one, other, E), E);
}

static mg_id other_groups_of_a_map(text *r, mg_id x) {
    const mg_view pairs = {.first = x, .group = r->t == r->odd ? 1 : 2, .lane = 1};
    return mg_map(r->tape, MG_SIN, 2, 2, &pairs, NULL, 0);
}

/* What has no derivative is in no order of additions, which could tell. */
static mg_id other_largest(text *r, mg_id x) {
    const mg_view terms = {.first = x + (r->t == r->odd), .term = 1}, all = lanes_from(x);
    const mg_view largest = one_lane(mg_largest(r->tape, 1, 2, &terms));
    return mg_map(r->tape, MG_MUL, 1, E, &all, &largest, 0);
}

#endif
