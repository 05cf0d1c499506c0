/* sample.c: many samples of a recorded model in one call.
 *
 * A sampler makes a plan of a program's forward half, and from that the steps of one position up to the probabilities.
 * What the random numbers choose are texts, and texts begin alike: a tree of prefixes keeps, as far as its memory
 * reaches, what was computed for each.
 */
#include "kernels/kernels.h"
#include "programs/sample.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* What the tree may take; a prefix more or less. */
#ifndef TREE_BYTES
#define TREE_BYTES ((size_t)32 << 20)
#endif

/* A run of leaves that the steps read, and where their copy is: as it is, or turned round, rows * columns numbers from
   slot + row * row_stride + column * column_stride. */
typedef struct {
    mg_slot slot;
    double *to;
    size_t rows, columns, row_stride, column_stride, padded;
} copied;

/* Runs of leaves that differ by position. */
typedef struct {
    mg_sample_step kept; /* its lanes; nothing is computed */
    const mg_gather *gather;
} gathered;

struct mg_sampler {
    mg_tape *tape;
    mg_program *program;
    mg_plan *plan;
    mg_sample_plan position;
    size_t target, vocabulary; /* the step of the probabilities, and their number */
    gathered *gathers;
    size_t gather_count;
    copied *copies;
    size_t copy_count;
    const mg_plan_input **inputs; /* [positions * parts of all gathers]: of a part of a gather at a position, or NULL */
    size_t *input_start;          /* [gather_count]: the gather's first */
    size_t input_room;
    double *numbers; /* of all steps */
    size_t number_count;
    size_t *order, *merged; /* [vocabulary]: for the likeliest */
    double *weights;        /* [vocabulary] */
    int32_t *path;          /* [positions]: tokens */
    size_t *nodes;          /* [positions]: of the tree, or MG_NOWHERE */
    /* what the tree and the numbers were computed for */
    uint64_t stored;
    bool fresh;     /* false: for nothing yet */
    mg_sampling rule;
    size_t given;   /* the first tokens of all texts, in path */
    size_t loaded;  /* the numbers kept by the steps are those of so many positions of the path */
    /* the tree: each node has its weights, or their sums, then the `kept` numbers of its position, then its children */
    size_t node_count, node_room, most_nodes, kept, node_size;
    double *tree;
};

static void release(mg_tape *tape, void *block, size_t n, size_t size) {
    mg_reallocate(tape, block, block == NULL ? 0 : n * size, 0);
}

static void free_tree(mg_sampler *sampler) {
    release(sampler->tape, sampler->tree, sampler->node_room * sampler->node_size, sizeof(double));
    sampler->tree = NULL;
    sampler->node_room = sampler->node_count = 0;
}

void mg_sampler_free(mg_sampler *sampler) {
    if (sampler == NULL) {
        return;
    }
    mg_tape *tape = sampler->tape;
    const size_t positions = sampler->plan == NULL ? 0 : sampler->plan->positions;
    free_tree(sampler);
    release(tape, sampler->position.step, sampler->position.count, sizeof *sampler->position.step);
    release(tape, sampler->gathers, sampler->gather_count, sizeof *sampler->gathers);
    release(tape, sampler->copies, 2 * sampler->position.count, sizeof *sampler->copies);
    release(tape, sampler->inputs, sampler->input_room, sizeof *sampler->inputs);
    release(tape, sampler->input_start, sampler->gather_count, sizeof *sampler->input_start);
    release(tape, sampler->numbers, sampler->number_count, sizeof *sampler->numbers);
    release(tape, sampler->order, sampler->vocabulary, sizeof *sampler->order);
    release(tape, sampler->merged, sampler->vocabulary, sizeof *sampler->merged);
    release(tape, sampler->weights, sampler->vocabulary, sizeof *sampler->weights);
    release(tape, sampler->path, positions, sizeof *sampler->path);
    release(tape, sampler->nodes, positions, sizeof *sampler->nodes);
    mg_plan_free(tape, sampler->plan);
    mg_program_free(sampler->program);
    mg_reallocate(tape, sampler, sizeof *sampler, 0);
    mg_release(tape);
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

/* Room that is handed out twice: first only counted, then given. */
typedef struct {
    double *numbers;
    size_t used;
} pile;

static double *take(pile *from, size_t n) {
    double *at = from->numbers == NULL ? NULL : from->numbers + from->used;
    from->used += mg_padded(n) + MG_CHUNK;
    return at;
}

static size_t rows_of(const mg_step *step, size_t positions) {
    const size_t width = step->uniform ? 1 : step->causal ? positions : step->width;
    return step->groups * width;
}

/* The numbers of step k, a gather among them. */
static mg_sample_step *numbers_of(const mg_sampler *sampler, size_t k) {
    const mg_plan *plan = sampler->plan;
    return k < plan->each ? &sampler->position.step[k] : &sampler->gathers[k - plan->each].kept;
}

/* Is a step's kind one that is read at earlier positions? Marks it. */
static bool mark_past(const mg_plan *plan, size_t target, bool *past) {
    for (size_t k = 0; k <= target; k++) {
        for (size_t f = 0; f < plan->step[k].factors; f++) {
            const mg_source *x = &plan->step[k].operand[f];
            if (x->from == MG_FROM_PAST) {
                const mg_step *from = &plan->step[x->step];
                if (from->causal || from->uniform || x->parts > 0) {
                    return false;
                }
                past[x->step] = true;
            }
        }
    }
    return true;
}

/* Gives every step its numbers. */
static void lay_out(mg_sampler *sampler, const bool *past, pile *numbers) {
    const mg_plan *plan = sampler->plan;
    size_t longest = 0;
    for (size_t k = 0; k < plan->step_count; k++) {
        if (k > sampler->target && k < plan->each) {
            continue;
        }
        mg_sample_step *step = numbers_of(sampler, k);
        const mg_step *from = &plan->step[k];
        const size_t rows = rows_of(from, plan->positions);
        *step = (mg_sample_step){.operation = from->operation, .causal = from->causal && !from->uniform,
                                 .causal_terms = from->causal_terms, .groups = from->groups,
                                 .width = from->uniform ? 1 : from->width, .terms = from->terms, .factors = from->factors,
                                 .constant = from->constant, .stride = mg_padded(rows),
                                 .room = mg_padded(plan->positions)};
        step->out = take(numbers, rows);
        if (past[k]) {
            step->history = take(numbers, plan->positions * step->stride);
            step->turned = take(numbers, rows * step->room);
        }
        longest = rows > longest ? rows : longest;
    }
    for (size_t n = 0; n < 2; n++) {
        sampler->position.scratch[n] = take(numbers, longest);
    }
}

/* Leaves that are copied: rows of columns, and room for them. */
static double *copy_of(mg_sampler *sampler, pile *numbers, copied copy) {
    copy.padded = copy.rows > 1 ? mg_padded(copy.columns) : copy.columns;
    copy.to = take(numbers, copy.rows * copy.padded);
    if (sampler->copies != NULL) {
        sampler->copies[sampler->copy_count] = copy;
    }
    sampler->copy_count++;
    return copy.to;
}

/* Operand f of a step; false when it is of no form that is known here. */
static bool read_operand(mg_sampler *sampler, size_t k, size_t f, pile *numbers, mg_sample_operand *operand) {
    const mg_step *step = &sampler->plan->step[k];
    const mg_source *x = &step->operand[f];
    *operand = (mg_sample_operand){.group = x->group, .lane = x->lane, .term = x->term};
    if (x->parts > 0) {
        return false;
    }
    if (x->from == MG_FROM_ROWS) {
        const mg_sample_step *from = numbers_of(sampler, x->step);
        if (x->spread) {
            *operand = (mg_sample_operand){.base = from->out, .group = 1};
        } else if (x->whole) {
            operand->base = from->out;
            operand->whole_offset = x->offset;
            operand->whole_group = x->group;
            operand->group = 0;
        } else {
            operand->base = from->out == NULL ? NULL : from->out + x->offset;
        }
        return true;
    }
    if (x->from == MG_FROM_PAST) {
        const mg_sample_step *from = numbers_of(sampler, x->step);
        if (x->past == MG_BY_LANE) {
            operand->base = from->turned == NULL ? NULL : from->turned + x->offset * from->room;
            operand->group = x->group * from->room;
            operand->lane = 1;
            operand->term = x->term * from->room;
        } else {
            operand->base = from->history == NULL ? NULL : from->history + x->offset;
            operand->term = from->stride;
        }
        return true;
    }
    if (x->from == MG_FROM_LEAVES) {
        const bool causal = step->causal || step->causal_terms;
        const size_t width = step->uniform ? 1 : step->width;
        const size_t reach = (step->groups - 1) * x->group + (width - 1) * x->lane + (step->terms - 1) * x->term;
        if (causal) {
            return false;
        }
        if (step->weights == f) { /* turned round */
            operand->base = copy_of(sampler, numbers, (copied){.slot = x->leaves, .rows = step->terms, .columns = width,
                                                            .row_stride = x->term, .column_stride = x->lane});
            operand->group = 0;
            operand->lane = 1;
            operand->term = step->terms > 1 ? mg_padded(width) : 0;
        } else {
            operand->base = copy_of(sampler, numbers, (copied){.slot = x->leaves, .rows = 1, .columns = reach + 1,
                                                            .column_stride = 1});
        }
        return true;
    }
    if (x->from == MG_FROM_CONSTANT) {
        double *number = take(numbers, 1);
        if (number != NULL) {
            *number = x->constant;
        }
        *operand = (mg_sample_operand){.base = number};
        return true;
    }
    return false; /* what an input selects */
}

static bool read_operands(mg_sampler *sampler, pile *numbers) {
    for (size_t k = 0; k <= sampler->target; k++) {
        mg_sample_step *step = &sampler->position.step[k];
        for (size_t f = 0; f < step->factors; f++) {
            if (!read_operand(sampler, k, f, numbers, &step->operand[f])) {
                return false;
            }
        }
        mg_sample_operand *x = &step->operand[0], *y = &step->operand[1];
        if (step->operation == MG_SUM && step->factors == 2 && (step->width > 1 || step->causal)) {
            const mg_sample_operand first = *x;
            if (first.lane == 1 && y->lane == 0) { /* which comes first in a product makes no difference */
                *x = *y;
                *y = first;
            }
            step->products = x->lane == 0 && y->lane == 1;
        }
    }
    return true;
}

/* Which input chooses what a gather reads; false where that is not a token before the one that is being drawn. */
static bool find_inputs(mg_sampler *sampler) {
    const mg_plan *plan = sampler->plan;
    size_t selections = 0;
    for (size_t n = 0; n < plan->input_count; n++) {
        const mg_plan_input *input = &plan->input[n];
        const mg_binding *binding = &sampler->program->bindings[input->binding];
        if (binding->count != sampler->vocabulary) {
            return false;
        }
        if (input->gather == MG_NOWHERE) {
            if (binding->input != input->position + 1) {
                return false;
            }
            selections++;
        } else {
            if (binding->input > input->position) {
                return false;
            }
            const mg_gather *gather = &plan->gather[input->gather];
            sampler->inputs[sampler->input_start[input->gather] + input->position * gather->parts + input->part] = input;
        }
    }
    return selections == plan->positions;
}

/* MG_OPERATION where the program is of no form that is known here. */
static mg_status set_up(mg_sampler *sampler) {
    mg_tape *tape = sampler->tape;
    const char *why_not;
    mg_status status = mg_plan_roll(sampler->program, &sampler->plan, &why_not);
    const mg_plan *plan = sampler->plan;
    if (status != MG_OK || plan == NULL || plan->select_count != 1) {
        return status != MG_OK ? status : MG_OPERATION;
    }
    sampler->target = plan->selects[0];
    const mg_step *target = &plan->step[sampler->target];
    if (target->causal || target->uniform || sampler->target >= plan->each) {
        return MG_OPERATION;
    }
    sampler->vocabulary = target->groups * target->width;
    sampler->gather_count = plan->step_count - plan->each;
    sampler->position.count = sampler->target + 1;
    for (size_t g = 0; g < sampler->gather_count; g++) {
        sampler->input_room += plan->positions * plan->gather[g].parts;
    }
    if (sampler->input_room == 0) {
        return MG_OPERATION;
    }
    sampler->position.step = mg_allot(tape, sampler->position.count, sizeof *sampler->position.step);
    sampler->gathers = mg_allot(tape, sampler->gather_count, sizeof *sampler->gathers);
    sampler->inputs = mg_allot(tape, sampler->input_room, sizeof *sampler->inputs);
    sampler->input_start = mg_allot(tape, sampler->gather_count, sizeof *sampler->input_start);
    sampler->order = mg_allot(tape, sampler->vocabulary, sizeof *sampler->order);
    sampler->merged = mg_allot(tape, sampler->vocabulary, sizeof *sampler->merged);
    sampler->weights = mg_allot(tape, sampler->vocabulary, sizeof *sampler->weights);
    sampler->path = mg_allot(tape, plan->positions, sizeof *sampler->path);
    sampler->nodes = mg_allot(tape, plan->positions, sizeof *sampler->nodes);
    bool *past = mg_allot(tape, plan->step_count, sizeof *past);
    if (!sampler->position.step || !sampler->gathers || !sampler->inputs || !sampler->input_start || !sampler->order ||
        !sampler->merged || !sampler->weights || !sampler->path || !sampler->nodes || !past) {
        release(tape, past, plan->step_count, sizeof *past);
        return MG_NO_MEMORY;
    }
    for (size_t g = 0, start = 0; g < sampler->gather_count; g++) {
        const mg_gather *gather = &plan->gather[plan->step[plan->each + g].gather];
        sampler->gathers[g].gather = gather;
        sampler->input_start[gather - plan->gather] = start;
        start += plan->positions * gather->parts;
    }
    bool known = mark_past(plan, sampler->target, past) && find_inputs(sampler);
    for (size_t round = 0; known && status == MG_OK && round < 2; round++) {
        pile numbers = {sampler->numbers, 0};
        sampler->copy_count = 0;
        lay_out(sampler, past, &numbers);
        known = read_operands(sampler, &numbers);
        if (round == 0 && known) {
            sampler->numbers = mg_allot(tape, numbers.used, sizeof *sampler->numbers);
            sampler->number_count = numbers.used;
            sampler->copies = mg_allot(tape, 2 * sampler->position.count, sizeof *sampler->copies);
            status = sampler->numbers && sampler->copies ? MG_OK : MG_NO_MEMORY;
        }
    }
    for (size_t k = 0; k < plan->step_count; k++) {
        sampler->kept += past[k] ? rows_of(&plan->step[k], plan->positions) : 0;
    }
    sampler->node_size = sampler->vocabulary + sampler->kept + (sampler->vocabulary + 1) / 2;
    sampler->most_nodes = TREE_BYTES / (sampler->node_size * sizeof(double));
    release(tape, past, plan->step_count, sizeof *past);
    return known ? status : MG_OPERATION;
}

mg_sampler *mg_sampler_new(mg_program *program) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_status status = mg_program_find_inputs(program);
    mg_sampler *sampler = status == MG_OK ? mg_allot(tape, 1, sizeof *sampler) : NULL;
    if (sampler == NULL) {
        mg_fail(tape, status == MG_OK ? MG_NO_MEMORY : status);
        return NULL;
    }
    sampler->tape = tape;
    sampler->program = program;
    mg_hold(tape);
    mg_program_hold(program);
    status = set_up(sampler);
    if (status != MG_OK) {
        mg_sampler_free(sampler);
        mg_fail(tape, status);
        return NULL;
    }
    return sampler;
}

/* ---- positions -------------------------------------------------------------------------------------------------- */

/* The leaves as they are now. */
static void copy_leaves(mg_sampler *sampler) {
    const double *value = sampler->tape->value;
    for (size_t n = 0; n < sampler->copy_count; n++) {
        const copied *copy = &sampler->copies[n];
        for (size_t r = 0; r < copy->rows; r++) {
            for (size_t c = 0; c < copy->columns; c++) {
                copy->to[r * copy->padded + c] =
                    value[copy->slot + (mg_slot)(r * copy->row_stride + c * copy->column_stride)];
            }
        }
    }
}

/* Computes the position of the last token of a path; the weights are in sampler->weights. */
static bool compute(mg_sampler *sampler, size_t position) {
    const mg_plan *plan = sampler->plan;
    const double *value = sampler->tape->value;
    for (size_t g = 0; g < sampler->gather_count; g++) {
        const gathered *x = &sampler->gathers[g];
        const mg_gather *gather = x->gather;
        for (size_t p = 0; p < gather->parts; p++) {
            const size_t at = position * gather->parts + p;
            const mg_plan_input *input = sampler->inputs[sampler->input_start[gather - plan->gather] + at];
            mg_slot slot = plan->gathered[gather->slots + at];
            if (input != NULL) {
                const mg_binding *binding = &sampler->program->bindings[input->binding];
                slot = binding->table + (mg_slot)((size_t)sampler->path[binding->input] * binding->size);
            }
            memcpy(x->kept.out + p * gather->block, value + slot, gather->block * sizeof *value);
        }
        mg_sample_keep(&x->kept, position, x->kept.out);
    }
    if (!mg_kernels_chosen()->position(&sampler->position, position)) {
        return false;
    }
    memcpy(sampler->weights, sampler->position.step[sampler->target].out, sampler->vocabulary * sizeof(double));
    return true;
}

/* ---- choosing --------------------------------------------------------------------------------------------------- */

/* The tokens from the likeliest down, of equal ones the first first, in sampler->order. */
static void sort(mg_sampler *sampler) {
    const size_t n = sampler->vocabulary;
    const double *weights = sampler->weights;
    for (size_t i = 0; i < n; i++) {
        sampler->order[i] = i;
    }
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t from = 0; from < n; from += 2 * run) {
            const size_t middle = from + run < n ? from + run : n, end = middle + run < n ? middle + run : n;
            for (size_t out = from, a = from, b = middle; out < end; out++) {
                const bool second = a == middle || (b < end && weights[sampler->order[b]] > weights[sampler->order[a]]);
                sampler->merged[out] = sampler->order[second ? b++ : a++];
            }
        }
        size_t *sorted = sampler->merged;
        sampler->merged = sampler->order;
        sampler->order = sorted;
    }
}

/* Leaves only the likeliest, as sampling.py says. */
static void keep_likeliest(mg_sampler *sampler) {
    const mg_sampling *rule = &sampler->rule;
    const size_t n = sampler->vocabulary;
    size_t count = rule->top_k > 0 && rule->top_k < n ? rule->top_k : n;
    double *weights = sampler->weights;
    sort(sampler);
    if (rule->top_p > 0) {
        double whole = 0, share = 0;
        for (size_t i = 0; i < count; i++) {
            whole += weights[sampler->order[i]];
        }
        size_t enough = 0;
        while (enough < count && (enough == 0 || share < rule->top_p * whole)) {
            share += weights[sampler->order[enough++]];
        }
        count = enough;
    }
    for (size_t i = count; i < n; i++) {
        weights[sampler->order[i]] = 0;
    }
}

/* The weights as they are chosen from: their sums so far, as `choices` has them. False where it would raise. */
static bool prepare(mg_sampler *sampler) {
    const mg_sampling *rule = &sampler->rule;
    double *weights = sampler->weights;
    bool ordinary = true;
    for (size_t i = 0; i < sampler->vocabulary; i++) {
        ordinary &= (weights[i] >= 0) & (weights[i] <= DBL_MAX);
    }
    if (!ordinary) {
        return false;
    }
    if (rule->top_k > 0 || rule->top_p > 0) {
        keep_likeliest(sampler);
    }
    if (rule->greedy) {
        return true;
    }
    for (size_t i = 1; i < sampler->vocabulary; i++) {
        weights[i] = weights[i - 1] + weights[i];
    }
    const double total = weights[sampler->vocabulary - 1];
    return total > 0 && isfinite(total);
}

#define STATE 624 /* words of the Mersenne Twister; then the number of those that were used */
#define AHEAD 397

static void renew(uint32_t *state) {
    for (size_t k = 0; k < STATE; k++) {
        const uint32_t y = (state[k] & 0x80000000u) | (state[(k + 1) % STATE] & 0x7fffffffu);
        state[k] = state[(k + AHEAD) % STATE] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
    state[STATE] = 0;
}

static uint32_t next_word(uint32_t *state) {
    if (state[STATE] >= STATE) {
        renew(state);
    }
    uint32_t y = state[state[STATE]++];
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

/* What `choices` draws, or the likeliest. */
static int32_t choose(const mg_sampler *sampler, const double *weights, uint32_t *state) {
    const size_t n = sampler->vocabulary;
    if (sampler->rule.greedy) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++) {
            best = weights[i] > weights[best] ? i : best;
        }
        return (int32_t)best;
    }
    const double x = next_random(state) * weights[n - 1];
    if (n <= 64) { /* the same as by halves, as sums do not fall, and without a guess at each */
        size_t below = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            below += weights[i] <= x;
        }
        return (int32_t)below;
    }
    size_t low = 0, high = n - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (x < weights[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (int32_t)low;
}

/* ---- the tree --------------------------------------------------------------------------------------------------- */

static double *weights_of(const mg_sampler *sampler, size_t node) {
    return sampler->tree + node * sampler->node_size;
}

static double *kept_of(const mg_sampler *sampler, size_t node) {
    return weights_of(sampler, node) + sampler->vocabulary;
}

/* By token; 0 is none, as the root is nobody's child. */
static uint32_t *children_of(const mg_sampler *sampler, size_t node) {
    return (uint32_t *)(void *)(kept_of(sampler, node) + sampler->kept);
}

/* A node with the weights; MG_NOWHERE where there is no more room. */
static size_t grow(mg_sampler *sampler, size_t parent, int32_t token, size_t position) {
    const size_t old = sampler->node_room, bytes = sampler->node_size * sizeof(double);
    if (sampler->node_count == old) {
        const size_t more = old == 0 ? 64 : 8 * old, size = more < sampler->most_nodes ? more : sampler->most_nodes;
        double *tree = size > old ? mg_reallocate(sampler->tape, sampler->tree, old * bytes, size * bytes) : NULL;
        if (tree == NULL) { /* it does without */
            sampler->most_nodes = old;
            return MG_NOWHERE;
        }
        sampler->tree = tree;
        sampler->node_room = size;
    }
    const size_t node = sampler->node_count++;
    memcpy(weights_of(sampler, node), sampler->weights, sampler->vocabulary * sizeof(double));
    memset(children_of(sampler, node), 0, sampler->vocabulary * sizeof(uint32_t));
    if (node > 0) {
        children_of(sampler, parent)[token] = (uint32_t)node;
    }
    double *kept = kept_of(sampler, node);
    for (size_t k = 0; k < sampler->plan->step_count; k++) {
        if (k <= sampler->target || k >= sampler->plan->each) {
            const mg_sample_step *step = numbers_of(sampler, k);
            if (step->history != NULL) {
                memcpy(kept, step->history + position * step->stride, step->groups * step->width * sizeof *kept);
                kept += step->groups * step->width;
            }
        }
    }
    return node;
}

/* The numbers that the steps keep of a position, from its node. */
static void load(mg_sampler *sampler, size_t node, size_t position) {
    const double *kept = kept_of(sampler, node);
    for (size_t k = 0; k < sampler->plan->step_count; k++) {
        if (k <= sampler->target || k >= sampler->plan->each) {
            const mg_sample_step *step = numbers_of(sampler, k);
            if (step->history != NULL) {
                mg_sample_keep(step, position, kept);
                kept += step->groups * step->width;
            }
        }
    }
}

/* The weights after the path's first position + 1 tokens, the last of which is no part of the tree yet. */
static const double *weights_at(mg_sampler *sampler, size_t position) {
    const size_t first = sampler->given - 1;
    for (; sampler->loaded < position; sampler->loaded++) {
        load(sampler, sampler->nodes[sampler->loaded], sampler->loaded);
    }
    if (!compute(sampler, position) || !prepare(sampler)) {
        return NULL;
    }
    sampler->loaded = position + 1;
    const size_t parent = position == first ? 0 : sampler->nodes[position - 1];
    sampler->nodes[position] =
        parent == MG_NOWHERE ? MG_NOWHERE : grow(sampler, parent, sampler->path[position], position);
    return sampler->weights;
}

/* ---- samples ---------------------------------------------------------------------------------------------------- */

/* One sample, at most `room` tokens, its length in *length; false, with nothing drawn, where Python would raise. */
static bool draw(mg_sampler *sampler, uint32_t *state, int32_t *tokens, int32_t *length) {
    const size_t positions = sampler->plan->positions, first = sampler->given - 1;
    uint32_t before[STATE + 1];
    memcpy(before, state, sizeof before);
    sampler->loaded = first;
    *length = 0;
    for (size_t position = first; position < positions; position++) {
        const double *weights = NULL;
        size_t node = position == first && sampler->node_count > 0 ? 0 : MG_NOWHERE;
        if (position > first && sampler->nodes[position - 1] != MG_NOWHERE) {
            const uint32_t child = children_of(sampler, sampler->nodes[position - 1])[sampler->path[position]];
            node = child == 0 ? MG_NOWHERE : child;
        }
        if (node != MG_NOWHERE) {
            sampler->nodes[position] = node;
            weights = weights_of(sampler, node);
        } else {
            weights = weights_at(sampler, position);
        }
        if (weights == NULL) {
            memcpy(state, before, sizeof before);
            return false;
        }
        const int32_t token = choose(sampler, weights, state);
        if (token == sampler->rule.end) {
            break;
        }
        tokens[(*length)++] = token;
        if (position + 1 < positions) {
            sampler->path[position + 1] = token;
        }
    }
    return true;
}

/* Makes ready for texts that begin so: forgets the tree where it was of others. False where Python would raise. */
static bool begin(mg_sampler *sampler, const mg_sampling *rule, const int32_t *given, size_t count) {
    const bool same = sampler->fresh && sampler->stored == sampler->tape->writes && sampler->given == count &&
                      memcmp(sampler->path, given, count * sizeof *given) == 0 && sampler->rule.end == rule->end &&
                      sampler->rule.greedy == rule->greedy && sampler->rule.top_k == rule->top_k &&
                      memcmp(&sampler->rule.top_p, &rule->top_p, sizeof rule->top_p) == 0;
    if (same) {
        return true;
    }
    sampler->fresh = false;
    free_tree(sampler);
    copy_leaves(sampler);
    memcpy(sampler->path, given, count * sizeof *given);
    sampler->rule = *rule;
    sampler->given = count;
    for (size_t position = 0; position + 1 < count; position++) {
        if (!compute(sampler, position)) {
            return false;
        }
    }
    sampler->stored = sampler->tape->writes;
    sampler->fresh = true;
    return true;
}

/* May a call begin, with these tokens? */
static mg_status enter(mg_sampler *sampler, const int32_t *given, size_t count) {
    mg_status status = mg_enter(sampler->tape);
    if (status == MG_OK) {
        status = mg_program_find_inputs(sampler->program);
    }
    if (status == MG_OK && (count == 0 || count > sampler->plan->positions)) {
        status = MG_SHAPE;
    }
    for (size_t i = 0; status == MG_OK && i < count; i++) {
        status = given[i] >= 0 && (size_t)given[i] < sampler->vocabulary ? MG_OK : MG_SHAPE;
    }
    return status;
}

mg_status mg_sampler_run(mg_sampler *sampler, const mg_sampling *settings, const int32_t *given, size_t given_count,
                         size_t count, uint32_t *state, size_t state_words, int32_t *tokens, size_t room,
                         int32_t *lengths, size_t *done) {
    MG_INSIDE(sampler->tape);
    *done = 0;
    const mg_status status = enter(sampler, given, given_count);
    if (status != MG_OK) {
        return status;
    }
    if (state_words != STATE + 1 || state[STATE] > STATE || !(settings->top_p >= 0 && settings->top_p <= 1) ||
        count > room / (sampler->plan->positions - given_count + 1)) {
        return MG_SHAPE;
    }
    if (!begin(sampler, settings, given, given_count)) {
        return MG_NOT_FINITE;
    }
    for (size_t at = 0; *done < count; at += (size_t)lengths[*done], (*done)++) {
        if (!draw(sampler, state, tokens + at, &lengths[*done])) {
            return MG_NOT_FINITE;
        }
    }
    return MG_OK;
}

mg_status mg_sampler_probabilities(mg_sampler *sampler, const int32_t *given, size_t given_count, double *out,
                                   size_t n) {
    MG_INSIDE(sampler->tape);
    mg_status status = enter(sampler, given, given_count);
    if (status == MG_OK && n != sampler->vocabulary) {
        status = MG_SHAPE;
    }
    if (status != MG_OK) {
        return status;
    }
    sampler->fresh = false; /* the path is another */
    copy_leaves(sampler);
    memcpy(sampler->path, given, given_count * sizeof *given);
    for (size_t position = 0; position < given_count; position++) {
        if (!compute(sampler, position)) {
            return MG_NOT_FINITE;
        }
    }
    memcpy(out, sampler->weights, n * sizeof *out);
    return MG_OK;
}
