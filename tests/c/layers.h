/* layers.h: layers of statements that read their operands in ways that no model does, and a text that goes through one. */
#ifndef LAYERS_H
#define LAYERS_H

#include "models.h"

enum { POSITIONS = 5, VOCAB = 5, E = 4, LEAVES = 2 * VOCAB * E + 64, ROUNDS = 3 };

typedef struct {
    mg_tape *tape;
    mg_id leaves, weights, input[POSITIONS], probabilities[POSITIONS], logarithm[POSITIONS], losses[POSITIONS], loss;
    mg_id key[POSITIONS], value[POSITIONS]; /* what later positions read */
    size_t t, odd; /* the position at hand, and one that is not as the others */
    bool halves;   /* are the probabilities those of two halves? */
    mg_id before;  /* what was computed before, and */
    mg_mark since; /* from when on a program computes anew */
} text;

/* E lanes that become E others. */
typedef mg_id (*layer)(text *r, mg_id x);

static mg_id record_tanh(mg_tape *tape, mg_id x, size_t n) { return record_map(tape, MG_TANH, x, n, 0); }

/* Two by two lanes, times the same the other way round: both factors reach all lanes, in another order. */
static mg_id turned_round(text *r, mg_id x) {
    const mg_view rows = {.first = x, .group = 2, .lane = 1}, columns = {.first = x, .group = 1, .lane = 2};
    return mg_map(r->tape, MG_MUL, 2, 2, &rows, &columns, 0);
}

/* The lanes in the middle, by a sum of products: nothing reaches the others. */
static mg_id the_middle(text *r, mg_id x) { return record_linear(r->tape, x + 1, r->weights, E, 2); }

/* The lanes in the middle, by a map. */
static mg_id the_middle_of_a_map(text *r, mg_id x) {
    return record_linear(r->tape, record_tanh(r->tape, x + 1, 2), r->weights, E, 2);
}

/* The middle first, and all of it then, as the sweep sees it; and the other way round. */
static mg_id the_middle_and_all(text *r, mg_id x) {
    const mg_id middle = record_linear(r->tape, x + 1, r->weights, 1, 2);
    const mg_view all = lanes_from(record_tanh(r->tape, x, E)), by = one_lane(middle);
    return mg_map(r->tape, MG_MUL, 1, E, &all, &by, 0);
}

static mg_id all_and_the_middle(text *r, mg_id x) {
    const mg_view by = one_lane(record_linear(r->tape, x + 1, r->weights, 1, 2));
    const mg_view all = lanes_from(record_tanh(r->tape, x, E));
    return mg_map(r->tape, MG_MUL, 1, E, &by, &all, 0);
}

/* Two sums of products over the same lanes, of which one takes every second. */
static mg_id in_strides(text *r, mg_id x) {
    const mg_view next = {.first = x, .term = 1}, second = {.first = x, .term = 2};
    const mg_view w = {.first = r->weights, .lane = 2, .term = 1}, v = {.first = r->weights + 8, .term = 1};
    const mg_view a = lanes_from(mg_sum(r->tape, 1, E, 2, &next, &w));
    const mg_view b = one_lane(mg_sum(r->tape, 1, 1, 2, &second, &v));
    return mg_map(r->tape, MG_MUL, 1, E, &b, &a, 0);
}

/* The same with what they begin at. */
static mg_id from_two_places(text *r, mg_id x) {
    const mg_id a = record_linear(r->tape, x, r->weights, E, 2), b = record_linear(r->tape, x + 2, r->weights + 8, E, 2);
    return record_add(r->tape, record_tanh(r->tape, a, E), b, E);
}

/* Every lane twice, by two lanes of a map. */
static mg_id each_twice(text *r, mg_id x) {
    const mg_view pairs = {.first = x, .group = 1};
    const mg_id doubled = mg_map(r->tape, MG_TANH, E, 2, &pairs, NULL, 0);
    return record_linear(r->tape, doubled, r->weights, E, 2 * E);
}

/* Lanes that all have one of two numbers, read as if they had nothing in common, and in other groups. */
static mg_id repeated(text *r, mg_id x) {
    const mg_view two = {.first = x, .group = 1}, factors = lanes_from(r->weights);
    const mg_view flat = lanes_from(mg_map(r->tape, MG_TANH, 2, 2, &two, NULL, 0));
    return mg_map(r->tape, MG_MUL, 1, E, &flat, &factors, 0);
}

static mg_id repeated_in_other_groups(text *r, mg_id x) {
    const mg_view two = {.first = x, .group = 1}, rows = {.first = r->weights, .group = 2, .lane = 1};
    const mg_view columns = {.first = mg_map(r->tape, MG_TANH, 2, 2, &two, NULL, 0), .group = 1, .lane = 2};
    return mg_map(r->tape, MG_MUL, 2, 2, &columns, &rows, 0);
}

/* One lane times all. */
static mg_id one_and_all(text *r, mg_id x) {
    const mg_view all = lanes_from(x), one = one_lane(x + 2);
    return mg_map(r->tape, MG_MUL, 1, E, &all, &one, 0);
}

/* Attention to every second lane of what positions had. */
static mg_id mixed_in_strides(text *r, mg_id x) {
    const mg_id q = record_linear(r->tape, x, r->weights, E, E);
    r->key[r->t] = record_linear(r->tape, x, r->weights + 16, E, E);
    r->value[r->t] = record_linear(r->tape, x, r->weights + 32, 2 * E, E);
    const mg_view query = terms_from(q), past = {.term = 1, .list = r->key, .entries = r->t + 1, .block = 1};
    const mg_id weights = record_softmax(r->tape, mg_sum(r->tape, 1, r->t + 1, E, &query, &past), r->t + 1);
    const mg_view shares = terms_from(weights);
    const mg_view mixed = {.lane = 2, .list = r->value, .entries = r->t + 1, .block = 1, .by_term = true};
    return mg_sum(r->tape, 1, E, r->t + 1, &shares, &mixed);
}

/* Attention in two groups of two lanes. What asks stands `offset` lanes beyond what is asked, and `group` lanes beyond
   what asks in the group before it. */
static mg_id attended(text *r, mg_id asked, size_t offset, size_t group, bool past_first) {
    const size_t n = r->t + 1;
    r->key[r->t] = asked;
    r->value[r->t] = record_tanh(r->tape, r->input[r->t], E);
    const mg_view past = {.group = group, .lane = 9, .term = 1, .list = r->key, .entries = n, .block = 1};
    const mg_view now = {.first = asked + offset, .group = group, .term = 1};
    const mg_id logits = mg_sum(r->tape, 2, n, 2, past_first ? &past : &now, past_first ? &now : &past);
    const mg_view shares = {.first = record_softmax_of_groups(r->tape, logits, 2, n), .group = n, .term = 1};
    const mg_view mixed = {.group = 2, .lane = 1, .list = r->value, .entries = n, .block = 1, .by_term = true};
    return mg_sum(r->tape, 2, 2, n, &shares, &mixed);
}

/* Each lane asks, and is asked: what the sweep adds to it for the one and the other must not change places. */
static mg_id asks_itself(text *r, mg_id x) {
    return attended(r, record_linear(r->tape, x, r->weights, E, E), 0, 2, false);
}

static mg_id asked_by_itself(text *r, mg_id x) {
    return attended(r, record_linear(r->tape, x, r->weights, E, E), 0, 2, true);
}

/* Some do; each as the term before that as which it is asked, or as the one after it, which has another order. */
static mg_id asks_its_neighbour(text *r, mg_id x) {
    return attended(r, record_linear(r->tape, x, r->weights, E + 1, E), 1, 2, false);
}

static mg_id asked_by_its_neighbour(text *r, mg_id x) {
    const mg_id y = record_linear(r->tape, x, r->weights, E + 1, E);
    return attended(r, y + 1, (size_t)-1, 2, false);
}

/* One statement has other lanes for the one and the other, by turns or not. */
static mg_id asks_other_lanes(text *r, mg_id x) {
    return attended(r, record_linear(r->tape, x, r->weights, 2 * E, E), E, 2, false);
}

static mg_id asks_by_turns(text *r, mg_id x) {
    return attended(r, record_linear(r->tape, x, r->weights, 2 * E, E), 2, 4, true);
}

/* Three heads, of which two go on together and one alone. */
static mg_id heads_apart(text *r, mg_id x) {
    const size_t n = r->t + 1;
    r->key[r->t] = record_linear(r->tape, x, r->weights, 6, E);
    r->value[r->t] = record_linear(r->tape, x, r->weights + 24, 2 * E, E);
    const mg_view query = {.first = record_linear(r->tape, x, r->weights + 40, 6, E), .group = 2, .term = 1};
    const mg_view past = {.group = 2, .term = 1, .list = r->key, .entries = n, .block = 1};
    const mg_id logits = mg_sum(r->tape, 3, n, 2, &query, &past);
    const mg_view two = {.first = logits, .group = n, .lane = 1}, third = lanes_from(logits + 2 * n);
    const mg_view both = {.first = mg_map(r->tape, MG_EXP, 2, n, &two, NULL, 0), .group = n, .term = 1};
    const mg_view alone = terms_from(mg_map(r->tape, MG_EXP, 1, n, &third, NULL, 0));
    const mg_view pairs = {.group = 2, .lane = 1, .list = r->value, .entries = n, .block = 1, .by_term = true};
    mg_id others[POSITIONS];
    for (size_t t = 0; t < n; t++) {
        others[t] = r->value[t] + E;
    }
    const mg_view all = {.lane = 1, .list = others, .entries = n, .block = 1, .by_term = true};
    const mg_id a = mg_sum(r->tape, 2, 2, n, &both, &pairs), b = mg_sum(r->tape, 1, E, n, &alone, &all);
    return record_add(r->tape, a, b, E);
}

/* One head of two, and the other one not at all. */
static mg_id one_head_of_two(text *r, mg_id x) {
    const size_t n = r->t + 1;
    r->key[r->t] = record_linear(r->tape, x, r->weights, E, E);
    r->value[r->t] = record_linear(r->tape, x, r->weights + 16, E, E);
    const mg_view query = {.first = record_linear(r->tape, x, r->weights + 32, E, E), .group = 2, .term = 1};
    const mg_view past = {.group = 2, .term = 1, .list = r->key, .entries = n, .block = 1};
    const mg_id logits = mg_sum(r->tape, 2, n, 2, &query, &past);
    const mg_view shares = terms_from(record_softmax(r->tape, logits, n));
    const mg_view mixed = {.lane = 1, .list = r->value, .entries = n, .block = 1, .by_term = true};
    return mg_sum(r->tape, 1, E, n, &shares, &mixed);
}

/* One of two lanes, times each of two others; the second of the two goes nowhere. */
static mg_id one_of_two(text *r, mg_id x) {
    const mg_view one = one_lane(record_linear(r->tape, x, r->weights, 2, E));
    const mg_view two = lanes_from(record_tanh(r->tape, x, 2));
    return record_linear(r->tape, mg_sum(r->tape, 1, 2, 1, &one, &two), r->weights + 8, E, 2);
}

/* All lanes times the first, in one sum; and squares of all, by a map. */
static mg_id all_by_the_first(text *r, mg_id x) {
    const mg_id y = record_map(r->tape, MG_SIN, x, E, 0);
    const mg_view all = terms_from(y), first = {.first = y};
    return record_linear(r->tape, mg_sum(r->tape, 1, 1, E, &all, &first), r->weights, E, 1);
}

static mg_id squares(text *r, mg_id x) {
    const mg_view all = lanes_from(record_map(r->tape, MG_SIN, x, E, 0));
    return mg_map(r->tape, MG_MUL, 1, E, &all, &all, 0);
}

/* Lanes times others of the same statement: what either factor adds to a lane comes in turn. */
static mg_id multiplied(text *r, const mg_view *a, const mg_view *b, size_t lanes) {
    return record_linear(r->tape, mg_map(r->tape, MG_MUL, 1, lanes, a, b, 0), r->weights, E, lanes);
}

static mg_id one_by_all(text *r, mg_id x) {
    const mg_view all = lanes_from(x), one = one_lane(x + 1);
    return multiplied(r, &one, &all, E);
}

static mg_id all_by_the_next(text *r, mg_id x) {
    const mg_view all = lanes_from(x), next = lanes_from(x + 1);
    return multiplied(r, &all, &next, E - 1);
}

static mg_id the_next_by_all(text *r, mg_id x) {
    const mg_view all = lanes_from(x), next = lanes_from(x + 1);
    return multiplied(r, &next, &all, E - 1);
}

static mg_id in_groups_by_one(text *r, mg_id x) {
    const mg_view rows = {.first = x, .group = 2, .lane = 1}, one = {.first = x, .group = 2};
    return mg_map(r->tape, MG_MUL, 2, 2, &rows, &one, 0);
}

static mg_id products_of_rows(text *r, mg_id x) {
    const mg_view rows = {.first = x, .group = 2, .term = 1}, columns = {.first = x, .lane = 2, .term = 1};
    return mg_sum(r->tape, 2, 2, 2, &rows, &columns);
}

static mg_id products_of_columns(text *r, mg_id x) {
    const mg_view rows = {.first = x, .group = 1, .term = 2}, columns = {.first = x, .lane = 1, .term = 2};
    return mg_sum(r->tape, 2, 2, 2, &columns, &rows);
}

static mg_id products_that_overlap(text *r, mg_id x) {
    const mg_view moving = {.first = x, .lane = 1, .term = 1}, same = {.first = x + 1, .term = 1};
    return record_linear(r->tape, mg_sum(r->tape, 1, 2, 3, &moving, &same), r->weights, E, 2);
}

/* Attention with weights that are no softmax: what lies ahead of a position must count for nothing. */
static mg_id record_heads(text *r, mg_id x) {
    const size_t n = r->t + 1;
    r->key[r->t] = record_linear(r->tape, x, r->weights, E, E);
    const mg_view query = {.first = record_linear(r->tape, x, r->weights + 32, E, E), .group = 2, .term = 1};
    const mg_view past = {.group = 2, .term = 1, .list = r->key, .entries = n, .block = 1};
    return mg_sum(r->tape, 2, n, 2, &query, &past);
}

static mg_id record_mixed(text *r, mg_id weights) {
    const size_t n = r->t + 1;
    r->value[r->t] = record_tanh(r->tape, r->input[r->t], E);
    const mg_view shares = terms_from(weights);
    const mg_view past = {.lane = 1, .list = r->value, .entries = n, .block = 1, .by_term = true};
    return mg_sum(r->tape, 1, E, n, &shares, &past);
}

static mg_id weights_as_they_are(text *r, mg_id x) { return record_mixed(r, record_heads(r, x)); }

static mg_id weights_that_turn(text *r, mg_id x) {
    const mg_id logits = record_heads(r, x);
    return record_mixed(r, record_tanh(r->tape, logits, 2 * (r->t + 1)));
}

/* Of two factors, both or one of which are 0 ahead, or none. */
static mg_id products_of_weights(text *r, mg_id x, int32_t first, int32_t second, int32_t operation) {
    const size_t n = 2 * (r->t + 1);
    const mg_id logits = record_heads(r, x);
    const mg_view a = lanes_from(record_map(r->tape, first, logits, n, 0));
    const mg_view b = lanes_from(record_map(r->tape, second, logits, n, 0));
    return record_mixed(r, mg_map(r->tape, operation, 1, n, &a, &b, 0));
}

static mg_id exps_by_exps(text *r, mg_id x) { return products_of_weights(r, x, MG_EXP, MG_EXP, MG_MUL); }
static mg_id exps_by_sines(text *r, mg_id x) { return products_of_weights(r, x, MG_EXP, MG_SIN, MG_MUL); }
static mg_id sines_by_exps(text *r, mg_id x) { return products_of_weights(r, x, MG_SIN, MG_EXP, MG_MUL); }
static mg_id sines_by_tanhs(text *r, mg_id x) { return products_of_weights(r, x, MG_SIN, MG_TANH, MG_MUL); }
static mg_id exps_and_sines(text *r, mg_id x) { return products_of_weights(r, x, MG_EXP, MG_SIN, MG_ADD); }

/* Weights of attention, divided by their length. */
static mg_id weights_of_length_one(text *r, mg_id x) {
    const size_t n = r->t + 1;
    r->key[r->t] = record_linear(r->tape, x, r->weights, E, E);
    r->value[r->t] = record_tanh(r->tape, r->input[r->t], E);
    const mg_view past = {.term = 1, .list = r->key, .entries = n, .block = 1};
    const mg_view query = terms_from(record_linear(r->tape, x, r->weights + 16, E, E));
    const mg_id weights = record_map(r->tape, MG_EXP, mg_sum(r->tape, 1, n, E, &query, &past), n, 0);
    const mg_view terms = terms_from(weights), lanes = lanes_from(weights);
    const mg_view length = one_lane(record_map(r->tape, MG_POW, mg_sum(r->tape, 1, 1, n, &terms, &terms), 1, -0.5));
    const mg_view shares = terms_from(mg_map(r->tape, MG_MUL, 1, n, &lanes, &length, 0));
    const mg_view mixed = {.lane = 1, .list = r->value, .entries = n, .block = 1, .by_term = true};
    return mg_sum(r->tape, 1, E, n, &shares, &mixed);
}

/* Sums of one lane, or of one term, with strides that are never taken or are none. */
static mg_id one_lane_that_would_move(text *r, mg_id x) {
    const mg_view w = {.first = r->weights, .lane = 7, .term = 1}, terms = {.first = x, .lane = 5, .term = 1};
    return record_linear(r->tape, mg_sum(r->tape, 1, 1, E, &w, &terms), r->weights + 16, E, 1);
}

static mg_id one_term(text *r, mg_id x) {
    const mg_view w = lanes_from(r->weights), one = one_lane(x + 1);
    return record_add(r->tape, mg_sum(r->tape, 1, E, 1, &w, &one), record_tanh(r->tape, r->input[r->t], E), E);
}

/* A leaf for all lanes, times a lane for all; and leaves of the position, to which lanes are added. */
static mg_id one_by_a_leaf(text *r, mg_id x) {
    const mg_view one = one_lane(x + 1), leaf = one_lane(r->weights + 3), all = lanes_from(r->weights + 8);
    const mg_view same = lanes_from(mg_map(r->tape, MG_MUL, 1, E, &one, &leaf, 0));
    return mg_map(r->tape, MG_MUL, 1, E, &same, &all, 0);
}

static mg_id leaves_and_all(text *r, mg_id x) { return record_add(r->tape, r->weights + E * r->t, x, E); }

/* Weights as the second factor. */
static mg_id by_weights(text *r, mg_id x) {
    const mg_view terms = terms_from(x), w = {.first = r->weights, .lane = E, .term = 1};
    return mg_sum(r->tape, 1, E, E, &terms, &w);
}

/* Leaves and those next to them, in one statement; and some of them in several. */
static mg_id neighbours(text *r, mg_id x) {
    const mg_view w = lanes_from(r->weights), next = lanes_from(r->weights + 1);
    return record_add(r->tape, mg_map(r->tape, MG_MUL, 1, E, &w, &next, 0), x, E);
}

static mg_id overlapping(text *r, mg_id x) {
    const mg_id y = record_linear(r->tape, x, r->weights + 8, E, E);
    return record_linear(r->tape, record_linear(r->tape, y, r->weights, E, E), r->weights + 16, E, E);
}

static text record_text(layer f, const double *numbers, const int32_t *tokens, size_t odd) {
    text r = {.tape = mg_tape_new(), .odd = odd};
    r.leaves = record_leaves(r.tape, numbers, LEAVES);
    r.weights = r.leaves + 2 * VOCAB * E;
    r.before = record_tanh(r.tape, r.weights, POSITIONS * E);
    r.since = mg_tape_mark(r.tape);
    for (r.t = 0; r.t < POSITIONS; r.t++) {
        r.input[r.t] = record_scale_by(r.tape, r.leaves + (size_t)tokens[r.t] * E, E, 1.5);
        const mg_id y = f(&r, record_tanh(r.tape, r.input[r.t], E));
        const mg_id logits = record_linear(r.tape, y, r.leaves + VOCAB * E, r.halves ? VOCAB + 1 : VOCAB, E);
        r.probabilities[r.t] = r.halves ? record_softmax_of_groups(r.tape, logits, 2, (VOCAB + 1) / 2)
                                        : record_softmax(r.tape, logits, VOCAB);
        r.logarithm[r.t] = record_map(r.tape, MG_LOG, r.probabilities[r.t] + (size_t)tokens[r.t + 1], 1, 0);
        r.losses[r.t] = record_map(r.tape, MG_MUL, r.logarithm[r.t], 1, -1);
    }
    r.loss = record_mean(r.tape, r.losses, POSITIONS);
    return r;
}

#endif
