/* choice.c: which token comes next. */
#include "programs/choice.h"

#include <float.h>
#include <math.h>

void mg_choice_set_up(mg_choice *choice, mg_blocks *blocks, size_t count) {
    choice->count = count;
    choice->candidate = mg_allot(blocks, count, sizeof *choice->candidate);
}

/* The likelier first, and of equal ones the one that comes first. */
static bool comes_first(mg_candidate a, mg_candidate b) {
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
}

/* Shell's sort: of so few, half the instructions of qsort, which calls for each comparison. */
static void sort(mg_candidate *all, size_t n) {
    for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (size_t i = gap; i < n; i++) {
            const mg_candidate one = all[i];
            size_t at = i;
            for (; at >= gap && comes_first(one, all[at - gap]); at -= gap) {
                all[at] = all[at - gap];
            }
            all[at] = one;
        }
    }
}

/* Leaves only the likeliest, as sampling.py says. */
static void keep_likeliest(mg_choice *choice, double *weights) {
    const mg_sampling *rule = &choice->rule;
    mg_candidate *all = choice->candidate;
    const size_t n = choice->count;
    size_t count = rule->top_k > 0 && rule->top_k < n ? rule->top_k : n;
    for (size_t i = 0; i < n; i++) {
        all[i] = (mg_candidate){weights[i], i};
    }
    sort(all, n);
    if (rule->top_p > 0) {
        double whole = 0, share = 0;
        for (size_t i = 0; i < count; i++) {
            whole += all[i].weight;
        }
        size_t enough = 0;
        while (enough < count && (enough == 0 || share < rule->top_p * whole)) {
            share += all[enough++].weight;
        }
        count = enough;
    }
    for (size_t i = count; i < n; i++) {
        weights[all[i].token] = 0;
    }
}

bool mg_choice_prepare(mg_choice *choice, double *weights) {
    const mg_sampling *rule = &choice->rule;
    const size_t n = choice->count;
    bool ordinary = true;
    for (size_t i = 0; i < n; i++) {
        ordinary &= (weights[i] >= 0) & (weights[i] <= DBL_MAX);
    }
    if (!ordinary) {
        return false;
    }
    if (rule->top_k > 0 || rule->top_p > 0) {
        keep_likeliest(choice, weights);
    }
    if (rule->greedy) {
        return true;
    }
    for (size_t i = 1; i < n; i++) {
        weights[i] = weights[i - 1] + weights[i];
    }
    return weights[n - 1] > 0 && isfinite(weights[n - 1]);
}

/* ---- random numbers --------------------------------------------------------------------------------------------- */

#define AHEAD 397

static void renew(uint32_t *state) {
    for (size_t k = 0; k < MG_RANDOM_STATE; k++) {
        const uint32_t y = (state[k] & 0x80000000u) | (state[(k + 1) % MG_RANDOM_STATE] & 0x7fffffffu);
        state[k] = state[(k + AHEAD) % MG_RANDOM_STATE] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
    state[MG_RANDOM_STATE] = 0;
}

static uint32_t next_word(uint32_t *state) {
    if (state[MG_RANDOM_STATE] >= MG_RANDOM_STATE) {
        renew(state);
    }
    uint32_t y = state[state[MG_RANDOM_STATE]++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* random.random() */
static double next_random(uint32_t *state) {
    const uint32_t high = next_word(state) >> 5, low = next_word(state) >> 6;
    return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

int32_t mg_choose(const mg_choice *choice, const double *prepared, uint32_t *state) {
    const size_t n = choice->count;
    if (choice->rule.greedy) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++) {
            best = prepared[i] > prepared[best] ? i : best;
        }
        return (int32_t)best;
    }
    const double x = next_random(state) * prepared[n - 1];
    size_t below = 0; /* the same as by halves, as sums do not fall, and without a guess at each */
    for (size_t i = 0; i + 1 < n; i++) {
        below += prepared[i] <= x;
    }
    return (int32_t)below;
}
