/* choice.h: which token comes next: the likeliest, or what Python's random.choices draws. */
#ifndef MG_CHOICE_H
#define MG_CHOICE_H

#include "programs/memory.h"

#define MG_RANDOM_STATE 624 /* words of the Mersenne Twister; then the number of those that were used */

typedef struct {
    double weight;
    size_t token;
} mg_candidate;

typedef struct {
    mg_sampling rule;
    size_t count;            /* of tokens */
    mg_candidate *candidate; /* [count]: for the likeliest */
} mg_choice;

/* For so many tokens; the blocks have failed without memory. */
void mg_choice_set_up(mg_choice *choice, mg_blocks *blocks, size_t count);
/* Makes of probabilities what is chosen from: their sums so far, as `choices` has them, of those that the rule leaves;
   where it is the likeliest, they stay. False where Python would raise. */
bool mg_choice_prepare(mg_choice *choice, double *weights);
int32_t mg_choose(const mg_choice *choice, const double *prepared, uint32_t *state);

#endif
