/* sample.c: many samples of a recorded model in one call.
 *
 * What the random numbers choose are texts, and texts begin alike: a position of a text is computed once, as far as the
 * tree of prefixes remembers it.
 */
#include "programs/choice.h"
#include "programs/position.h"

#include <string.h>

#define TREE_BYTES ((size_t)32 << 20) /* that the tree may take; a prefix more or less */

/* A beginning of texts. */
typedef struct prefix prefix;
struct prefix {
    double *weights, *kept; /* of the tokens that may come next; numbers that later positions read */
    prefix *child[];        /* one token more; NULL: not computed yet, or where there is no room */
};

struct mg_sampler {
    mg_blocks blocks;
    mg_program *program;
    mg_position position;
    mg_choice choice;
    double *weights; /* [vocabulary] */
    int32_t *path;   /* [positions]: tokens */
    /* the tree */
    mg_blocks tree;
    size_t room;   /* for so many prefixes more */
    prefix *root;  /* what all texts share */
    prefix **node; /* [positions]: of the path; NULL where the tree does without */
    /* what the tree and the numbers were computed for */
    uint64_t stored;
    bool fresh;    /* false: for nothing yet */
    size_t given;  /* the first tokens of all texts, in path */
    size_t loaded; /* the numbers kept by the steps are those of so many positions of the path */
};

void mg_sampler_free(mg_sampler *sampler) {
    if (sampler != NULL) {
        mg_program *program = sampler->program;
        mg_plan_free(sampler->position.plan);
        mg_free_blocks(sampler->tree);
        mg_free_blocks(sampler->blocks);
        mg_program_free(program); /* which holds the tape */
    }
}

static mg_status set_up(mg_sampler *sampler) {
    mg_blocks *blocks = &sampler->blocks;
    MG_TRY(mg_position_set_up(&sampler->position, blocks, sampler->program));
    const size_t vocabulary = sampler->position.vocabulary, positions = sampler->position.plan->positions;
    mg_choice_set_up(&sampler->choice, blocks, vocabulary);
    sampler->weights = mg_allot(blocks, vocabulary, sizeof *sampler->weights);
    sampler->path = mg_allot(blocks, positions, sizeof *sampler->path);
    sampler->node = mg_allot(blocks, positions, sizeof *sampler->node);
    return blocks->failed ? MG_NO_MEMORY : MG_OK;
}

mg_sampler *mg_sampler_new(mg_program *program) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_status status = mg_program_find_inputs(program);
    mg_sampler *sampler = status == MG_OK ? mg_new_owner(tape, sizeof *sampler) : NULL;
    if (sampler == NULL) {
        mg_fail(tape, status == MG_OK ? MG_NO_MEMORY : status);
        return NULL;
    }
    sampler->program = program;
    mg_program_hold(program);
    status = set_up(sampler);
    if (status != MG_OK) {
        mg_sampler_free(sampler);
        mg_fail(tape, status);
        return NULL;
    }
    return sampler;
}

/* ---- the tree --------------------------------------------------------------------------------------------------- */

static size_t prefix_bytes(const mg_sampler *sampler) {
    const size_t tokens = sampler->position.vocabulary;
    return sizeof(prefix) + tokens * sizeof(prefix *) + (tokens + sampler->position.kept) * sizeof(double);
}

static void forget_all(mg_sampler *sampler) {
    mg_free_blocks(sampler->tree);
    sampler->tree = (mg_blocks){.tape = sampler->program->tape};
    sampler->room = TREE_BYTES / prefix_bytes(sampler);
    sampler->root = NULL;
}

/* Where path[0 .. position] is in the tree, or would be; NULL where what comes before is not. */
static prefix **place_of(mg_sampler *sampler, size_t position) {
    if (position + 1 == sampler->given) {
        return &sampler->root;
    }
    prefix *before = sampler->node[position - 1];
    return before == NULL ? NULL : &before->child[sampler->path[position]];
}

/* Makes what was computed for position `position` a part of the tree. NULL where there is no room. */
static prefix *remember(mg_sampler *sampler, size_t position) {
    const size_t tokens = sampler->position.vocabulary;
    prefix *made = sampler->room == 0 ? NULL : mg_allot(&sampler->tree, 1, prefix_bytes(sampler));
    if (made == NULL) {
        sampler->room = 0;
        return NULL;
    }
    sampler->room--;
    made->weights = (double *)(void *)&made->child[tokens];
    made->kept = made->weights + tokens;
    memcpy(made->weights, sampler->weights, tokens * sizeof *made->weights);
    mg_position_save(&sampler->position, position, made->kept);
    return made;
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

/* Computes what comes after path[0 .. position]. False where Python would raise. */
static bool compute(mg_sampler *sampler, size_t position) {
    const mg_position *steps = &sampler->position;
    for (; sampler->loaded < position; sampler->loaded++) {
        mg_position_load(steps, sampler->loaded, sampler->node[sampler->loaded]->kept);
    }
    if (!mg_position_compute(steps, sampler->path, position)) {
        return false;
    }
    memcpy(sampler->weights, mg_position_probabilities(steps), steps->vocabulary * sizeof *sampler->weights);
    sampler->loaded = position + 1;
    return mg_choice_prepare(&sampler->choice, sampler->weights);
}

/* The weights of what comes after path[0 .. position], from the tree where that remembers it; NULL where Python would
   raise. */
static const double *weights_at(mg_sampler *sampler, size_t position) {
    prefix **place = place_of(sampler, position);
    if (place == NULL || *place == NULL) {
        if (!compute(sampler, position)) {
            return NULL;
        }
        sampler->node[position] = place == NULL ? NULL : remember(sampler, position);
        if (place != NULL) {
            *place = sampler->node[position];
        }
        return sampler->weights;
    }
    sampler->node[position] = *place;
    return (*place)->weights;
}

/* One sample, at most `room` tokens, its length in *length; false, with nothing drawn, where Python would raise. */
static bool draw(mg_sampler *sampler, uint32_t *state, int32_t *tokens, int32_t *length) {
    const size_t positions = sampler->position.plan->positions;
    uint32_t before[MG_RANDOM_STATE + 1];
    memcpy(before, state, sizeof before);
    sampler->loaded = sampler->given - 1;
    *length = 0;
    for (size_t position = sampler->given - 1; position < positions; position++) {
        const double *weights = weights_at(sampler, position);
        if (weights == NULL) {
            memcpy(state, before, sizeof before);
            return false;
        }
        const int32_t token = mg_choose(&sampler->choice, weights, state);
        if (token == sampler->choice.rule.end) {
            break;
        }
        tokens[(*length)++] = token;
        if (position + 1 < positions) {
            sampler->path[position + 1] = token;
        }
    }
    return true;
}

/* Takes the leaves as they are now, and computes `count` positions of a text that begins so. False where Python would
   raise. */
static bool read_on(mg_sampler *sampler, const int32_t *given, size_t tokens, size_t count) {
    sampler->fresh = false; /* the path is another */
    mg_position_copy_leaves(&sampler->position);
    memcpy(sampler->path, given, tokens * sizeof *given);
    bool fine = true;
    for (size_t position = 0; fine && position < count; position++) {
        fine = mg_position_compute(&sampler->position, sampler->path, position);
    }
    return fine;
}

/* Makes ready for texts that begin so: forgets the tree where it was of others. False where Python would raise. */
static bool begin(mg_sampler *sampler, const mg_sampling *rule, const int32_t *given, size_t count) {
    const mg_sampling *before = &sampler->choice.rule;
    if (sampler->fresh && sampler->stored == sampler->program->tape->writes && sampler->given == count &&
        memcmp(sampler->path, given, count * sizeof *given) == 0 && before->end == rule->end &&
        before->greedy == rule->greedy && before->top_k == rule->top_k &&
        memcmp(&before->top_p, &rule->top_p, sizeof rule->top_p) == 0) {
        return true;
    }
    forget_all(sampler);
    sampler->choice.rule = *rule;
    sampler->given = count;
    sampler->fresh = read_on(sampler, given, count, count - 1);
    sampler->stored = sampler->program->tape->writes;
    return sampler->fresh;
}

/* May a call begin, with these tokens? */
static mg_status enter(mg_sampler *sampler, const int32_t *given, size_t count) {
    MG_TRY(mg_enter(sampler->program->tape));
    MG_TRY(mg_program_find_inputs(sampler->program));
    bool fits = count > 0 && count <= sampler->position.plan->positions;
    for (size_t i = 0; fits && i < count; i++) {
        fits = given[i] >= 0 && (size_t)given[i] < sampler->position.vocabulary;
    }
    return fits ? MG_OK : MG_SHAPE;
}

mg_status mg_sampler_run(mg_sampler *sampler, const mg_sampling *settings, const int32_t *given, size_t given_count,
                         size_t count, uint32_t *state, size_t state_words, int32_t *tokens, size_t room,
                         int32_t *lengths, size_t *done) {
    MG_INSIDE(sampler->program->tape);
    *done = 0;
    MG_TRY(enter(sampler, given, given_count));
    if (state_words != MG_RANDOM_STATE + 1 || state[MG_RANDOM_STATE] > MG_RANDOM_STATE ||
        !(settings->top_p >= 0 && settings->top_p <= 1) ||
        count > room / (sampler->position.plan->positions - given_count + 1)) {
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
    MG_INSIDE(sampler->program->tape);
    MG_TRY(enter(sampler, given, given_count));
    if (n != sampler->position.vocabulary) {
        return MG_SHAPE;
    }
    if (!read_on(sampler, given, given_count, given_count)) {
        return MG_NOT_FINITE;
    }
    memcpy(out, mg_position_probabilities(&sampler->position), n * sizeof *out);
    return MG_OK;
}
