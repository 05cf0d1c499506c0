/* sample.h: one position of a recorded program at a time, its lanes side by side in memory.
 *
 * A sample's length decides where in the stream of random numbers the next one begins, so samples cannot be computed side
 * by side. What a vector holds are therefore lanes of one statement: weights are turned round, so that the sums of
 * neighbouring output lanes run beside each other, each in its order; and what later positions read of a step, such as
 * keys and values, is kept position by position and, turned round, lane by lane.
 */
#ifndef MG_SAMPLE_H
#define MG_SAMPLE_H

#include "programs/plan.h"

/* Number (g, i, c) of an operand, at position t:
   base[(whole_offset + g * whole_group) * (t + 1) + g * group + i * lane + c * term] */
typedef struct {
    const double *base;
    size_t group, lane, term;
    size_t whole_offset, whole_group;
} mg_sample_operand;

/* A step of a position. Lane i of group g is out[g * width + i]; arrays have room for a vector more. */
typedef struct {
    uint8_t operation;
    bool products; /* a sum of operand[0], the same for all lanes of a group, times operand[1], whose lanes adjoin */
    bool causal, causal_terms;
    size_t groups, width, terms, factors;
    double constant;
    mg_sample_operand operand[2];
    double *out;
    double *history, *turned; /* lane r of position t is history[t * stride + r] and turned[r * room + t]; or NULL */
    size_t stride, room;
} mg_sample_step;

typedef struct {
    mg_sample_step *step;
    size_t count;
    double *scratch[2]; /* each as long as the longest step */
} mg_sample_plan;

static inline const double *mg_sample_at(const mg_sample_operand *x, size_t g, size_t position) {
    return x->base + (x->whole_offset + g * x->whole_group) * (position + 1) + g * x->group;
}

/* Keeps what later positions read of a step. */
static inline void mg_sample_keep(const mg_sample_step *step, size_t position, const double *numbers) {
    const size_t lanes = step->groups * step->width;
    if (step->history != NULL) {
        for (size_t r = 0; r < lanes; r++) {
            step->history[position * step->stride + r] = numbers[r];
            step->turned[r * step->room + position] = numbers[r];
        }
    }
}

#endif
