/* position.h: one position of a recorded program at a time, its lanes side by side in memory.
 *
 * A sample's length decides where in the stream of random numbers the next one begins, so samples cannot be computed side
 * by side. What a vector holds are therefore lanes of one statement: weights are turned round, so that the sums of
 * neighbouring output lanes run beside each other, each in its order; and what later positions read of a step, such as
 * keys and values, is kept position by position and, turned round, lane by lane.
 */
#ifndef MG_POSITION_H
#define MG_POSITION_H

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
    size_t count;       /* that are computed; the others hold what the program reads */
    double *scratch[2]; /* each as long as the longest step */
} mg_sample_plan;

/* A run of leaves that the steps read, and where their copy is: as it is, or turned round, rows * columns numbers from
   slot + row * row_stride + column * column_stride. */
typedef struct {
    mg_slot slot;
    double *to;
    size_t rows, columns, row_stride, column_stride, padded;
} mg_copied;

/* The steps of one position of a program, up to the probabilities of the next token. */
typedef struct {
    mg_blocks *blocks;
    mg_program *program;
    mg_plan *plan;
    mg_sample_plan steps;      /* as the plan's: those of a position up to `target`, and the gathers */
    size_t target, vocabulary; /* the step of the probabilities, and their number */
    mg_copied *copy;
    size_t copy_count;
    size_t kept;               /* numbers of a position that later ones read */
} mg_position;

/* MG_OPERATION where the program is of no form that is known here. `plan` is to be freed, whatever comes of it. */
mg_status mg_position_set_up(mg_position *position, mg_blocks *blocks, mg_program *program);
/* Copies the leaves as they are now. */
void mg_position_copy_leaves(const mg_position *position);
/* Computes position t of a text, the last of tokens path[0 .. t]; what earlier positions computed has been kept. False
   where Python would raise, or might. */
bool mg_position_compute(const mg_position *position, const int32_t *path, size_t t);
static inline const double *mg_position_probabilities(const mg_position *position) {
    return position->steps.step[position->target].out;
}
/* The numbers that are kept of position t: to `out`, and back. */
void mg_position_save(const mg_position *position, size_t t, double *out);
void mg_position_load(const mg_position *position, size_t t, const double *in);

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
