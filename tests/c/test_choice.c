/* test_choice.c: the likeliest tokens, among many that are equally likely, and of all sizes of alphabets. */
#include "programs/choice.h"

#include "check.h"

#include <math.h>

enum { MOST = 400 };

/* As sampling.py says it: the likeliest of those that are left, and of equal ones the first, until there are enough. */
static bool prepared(const mg_sampling *rule, size_t n, double *weights) {
    size_t order[MOST], count = rule->top_k > 0 && rule->top_k < n ? rule->top_k : n, enough = 0;
    bool taken[MOST] = {false}, kept[MOST] = {false};
    double whole = 0, share = 0;
    for (size_t k = 0; k < count; k++) {
        order[k] = n;
        for (size_t i = 0; i < n; i++) {
            if (!taken[i] && (order[k] == n || weights[i] > weights[order[k]])) {
                order[k] = i;
            }
        }
        taken[order[k]] = true;
        whole += weights[order[k]];
    }
    while (enough < count && (rule->top_p == 0 || enough == 0 || share < rule->top_p * whole)) {
        share += weights[order[enough]];
        kept[order[enough++]] = true;
    }
    for (size_t i = 0; i < n; i++) {
        weights[i] = (i > 0 && !rule->greedy ? weights[i - 1] : 0) + (kept[i] ? weights[i] : 0);
    }
    return rule->greedy || weights[n - 1] > 0;
}

static void the_likeliest_are_kept(void) {
    static const double shares[] = {0, 1e-9, 0.3, 0.7, 0.95, 1};
    uint64_t state = 5;
    size_t refused = 0;
    for (size_t round = 0; round < 4000; round++) {
        const size_t n = round % 40 == 0 ? MOST : 1 + random_below(&state, 70), values = 1 + random_below(&state, 12);
        const mg_sampling rule = {random_below(&state, 4) == 0, random_below(&state, 3) ? random_below(&state, n + 2) : 0,
                                  shares[random_below(&state, 6)], -1};
        mg_candidate candidates[MOST];
        mg_choice choice = {rule, n, candidates};
        double weights[MOST], expected[MOST];
        for (size_t i = 0; i < n; i++) { /* few values, in no order, rising, or falling */
            const size_t value = random_below(&state, values);
            weights[i] = expected[i] = round % 5 == 0 ? (double)i / 7 : round % 5 == 1 ? (double)(n - i) / 3
                                                          : (round % 5 == 2 ? 5e-324 : 0.1) * (double)value;
        }
        const bool fine = prepared(&rule, n, expected);
        CHECK(mg_choice_prepare(&choice, weights) == fine);
        CHECK(same_numbers(weights, expected, n));
        refused += !fine;
    }
    CHECK(refused > 20);
}

/* Python raises. */
static void weights_that_are_none(void) {
    const double none[] = {-1, -5e-324, INFINITY, NAN};
    for (size_t k = 0; k < sizeof none / sizeof *none; k++) {
        mg_candidate candidates[3];
        mg_choice choice = {{.greedy = true}, 3, candidates};
        double weights[3] = {0.5, none[k], 0.25};
        CHECK(!mg_choice_prepare(&choice, weights));
    }
    mg_choice choice = {{.end = -1}, 2, NULL};
    double vast[2] = {1e308, 1e308};
    CHECK(!mg_choice_prepare(&choice, vast));
}

int main(void) {
    RUN(the_likeliest_are_kept);
    RUN(weights_that_are_none);
    return verdict();
}
