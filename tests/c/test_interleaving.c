/* test_interleaving.c: programs that share statements, and select, compute and sweep in turn, beside trainers and
 * samplers. Whatever the order, a program's numbers are those of recording its graph anew with what it reads; or it says
 * that they are overwritten, and says so only where they are.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "models.h"

enum { ROWS = 3, EMBD = 3, VOCAB = 4, LEAVES = ROWS * EMBD + EMBD + VOCAB * EMBD + 1, PROGRAMS = 5 };

/* Of the leaves: a table, what is added to its row, weights, a factor. */
typedef struct {
    mg_tape *tape;
    mg_id leaves, row, probabilities, logarithm, result[PROGRAMS];
} graph;

static graph record_graph(const double *numbers, size_t row, size_t column) {
    graph g = {.tape = mg_tape_new()};
    mg_tape *tape = g.tape;
    g.leaves = mg_leaves(tape, numbers, LEAVES);
    const mg_id added = g.leaves + ROWS * EMBD, weights = added + EMBD, factor = weights + VOCAB * EMBD;
    g.row = record_add(tape, g.leaves + row * EMBD, added, EMBD);
    g.probabilities = record_softmax(tape, record_linear(tape, g.row, weights, VOCAB, EMBD), VOCAB);
    g.logarithm = record_map(tape, MG_LOG, g.probabilities + column, 1, 0);
    const mg_view p = terms_from(g.probabilities), w = terms_from(weights);
    const mg_id mixed = mg_sum(tape, 1, 1, VOCAB, &p, &w);
    g.result[0] = g.result[1] = mg_mul(tape, mg_binary_with(tape, MG_MUL, g.logarithm, -1), factor);
    g.result[2] = mixed;
    g.result[3] = mg_add(tape, g.result[0], mixed);
    g.result[4] = g.row + 1;
    return g;
}

/* What a program has selected (-1: nothing), and what it read when it was last computed. */
typedef struct {
    mg_program *program;
    bool bound[2], computed;
    size_t inputs;
    int32_t value[2], read[2];
    bool reads[2]; /* does its result depend on the selection? */
} player;

typedef struct {
    graph g;
    double numbers[LEAVES];
    int32_t now[2]; /* the row and the column that the shared statements read */
    player player[PROGRAMS];
    size_t swept, refused;
} game;

/* What a program has selected is read from now on. */
static void put_back(game *m, const player *p) {
    for (int s = 0; s < 2; s++) {
        m->now[s] = p->bound[s] && p->value[s] >= 0 ? p->value[s] : m->now[s];
    }
}

static void check_result(game *m, size_t k, bool gradients) {
    const player *p = &m->player[k];
    const graph fresh = record_graph(m->numbers, (size_t)p->read[0], (size_t)p->read[1]);
    double expected[LEAVES], found[LEAVES];
    CHECK(same_bits(mg_value(m->g.tape, m->g.result[k]), mg_value(fresh.tape, fresh.result[k])));
    if (gradients) {
        CHECK(mg_sweep(fresh.tape, fresh.result[k]) == MG_OK);
        mg_read_adjoints(fresh.tape, fresh.leaves, LEAVES, expected);
        mg_read_adjoints(m->g.tape, m->g.leaves, LEAVES, found);
        CHECK(same_numbers(expected, found, LEAVES));
    }
    mg_tape_free(fresh.tape);
}

static void play_bind(game *m, player *p, uint64_t *state) {
    const int which = (int)random_below(state, 2);
    if (p->bound[which]) {
        return;
    }
    const graph *g = &m->g;
    CHECK((which == 0 ? mg_program_bind(p->program, 0, g->row, 0, 0, g->leaves, EMBD, ROWS)
                      : mg_program_bind(p->program, 1, g->logarithm, 0, 0, g->probabilities, 1, VOCAB)) == MG_OK);
    p->bound[which] = p->reads[which]; /* in what the result does not need, an input selects nothing */
    p->inputs = p->inputs > (size_t)which + 1 ? p->inputs : (size_t)which + 1;
}

static void play_set(game *m, player *p, uint64_t *state) {
    const int32_t values[2] = {(int32_t)random_below(state, ROWS), (int32_t)random_below(state, VOCAB)};
    if (p->inputs == 0) {
        return;
    }
    CHECK(mg_program_set(p->program, values, p->inputs) == MG_OK);
    for (size_t s = 0; s < p->inputs; s++) {
        p->computed = p->computed && p->value[s] == values[s];
        p->value[s] = values[s];
    }
    put_back(m, p);
}

static void play_reverse(game *m, size_t k) {
    player *p = &m->player[k];
    bool expected = p->computed;
    mg_clear_adjoints(m->g.tape, m->g.leaves, LEAVES);
    if (p->computed) {
        put_back(m, p);
        for (int s = 0; s < 2; s++) {
            expected = expected && (!p->reads[s] || m->now[s] == p->read[s]);
        }
    }
    const mg_status status = mg_program_reverse(p->program);
    CHECK(status == (expected ? MG_OK : MG_OVERWRITTEN));
    if (status == MG_OK) {
        check_result(m, k, true);
        m->swept++;
    } else {
        p->computed = false;
        m->refused++;
    }
}

static void play(game *m, uint64_t *state) {
    const size_t k = random_below(state, PROGRAMS), leaf = random_below(state, LEAVES);
    player *p = &m->player[k];
    switch (random_below(state, 12)) {
    case 0: play_bind(m, p, state); break;
    case 1:
    case 2:
    case 3: play_set(m, p, state); break;
    case 4:
        m->numbers[leaf] = random_between(state, -2, 2);
        CHECK(mg_set_value(m->g.tape, m->g.leaves + leaf, m->numbers[leaf]) == MG_OK);
        for (size_t other = 0; other < PROGRAMS; other++) {
            m->player[other].computed = false;
        }
        break;
    case 5:
    case 6:
    case 7:
        CHECK(mg_program_forward(p->program) == MG_OK);
        put_back(m, p);
        p->computed = true;
        memcpy(p->read, m->now, sizeof p->read);
        check_result(m, k, false);
        break;
    default: play_reverse(m, k);
    }
}

static void every_interleaving_is_recording_or_refused(void) {
    size_t swept = 0, refused = 0;
    uint64_t state = 77;
    for (int round = 0; round < (small_run() ? 20 : 150) && failures == 0; round++) {
        game m = {.now = {(int32_t)random_below(&state, ROWS), (int32_t)random_below(&state, VOCAB)}};
        for (size_t i = 0; i < LEAVES; i++) {
            m.numbers[i] = random_between(&state, -2, 2);
        }
        m.g = record_graph(m.numbers, (size_t)m.now[0], (size_t)m.now[1]);
        for (size_t k = 0; k < PROGRAMS; k++) {
            player *p = &m.player[k];
            *p = (player){.program = mg_program_new(m.g.tape, m.g.result[k], 0), .computed = true, .value = {-1, -1},
                          .read = {m.now[0], m.now[1]}, .reads = {true, k != 2 && k != 4}};
            CHECK(p->program != NULL);
        }
        for (int turn = 0; turn < 120 && failures == 0; turn++) {
            play(&m, &state);
            if (failures > 0) {
                printf("    in turn %d of round %d\n", turn, round);
            }
        }
        for (size_t k = 0; k < PROGRAMS; k++) {
            mg_program_free(m.player[k].program);
        }
        mg_tape_free(m.g.tape);
        swept += m.swept;
        refused += m.refused;
    }
    CHECK(swept > 200 && refused > 100);
}

/* ---- plans, batches, trainers and samplers over one tape -------------------------------------------------------- */

enum { POSITIONS = 5, FEWER = 3, TOKENS = 5, TEXTS = 9, WORDS = 625, NUMBERS = 1000 };
enum { WHOLE, PART, PLAIN, EARLY, PLAYERS }; /* with plans, of all positions and of fewer; without, of all and of two */

static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};

/* A program over the tape, its text, and what has happened since it was computed. */
typedef struct {
    mg_program *program;
    const recording *of;
    mg_id result;
    size_t inputs;
    int32_t tokens[POSITIONS + 1];
    bool stale;   /* its numbers are no longer those of its text and the parameters */
    bool touched; /* a trainer was at work, after which a program may be refused */
} text_player;

typedef struct {
    recording whole, part; /* of all positions, and of fewer, on the same parameters */
    size_t parameters;
    text_player player[PLAYERS];
    mg_trainer *exact, *fast;
    mg_sampler *sampler;
    double *m, *v; /* the exact trainer's moments, as they should be */
    uint64_t steps;
    size_t swept, refused, trained, sampled;
} stage;

static void read_numbers(const recording *r, double *numbers) {
    for (size_t p = 0; p < r->runs; numbers += r->sizes[p++]) {
        CHECK(mg_read_values(r->tape, r->parameters[p], r->sizes[p], numbers) == MG_OK);
    }
}

static void read_gradients(const recording *r, double *numbers) {
    for (size_t p = 0; p < r->runs; numbers += r->sizes[p++]) {
        CHECK(mg_read_adjoints(r->tape, r->parameters[p], r->sizes[p], numbers) == MG_OK);
    }
}

/* The model recorded anew on a tape of its own, with the parameters as they are now. */
static recording record_anew(const stage *s, size_t positions, const int32_t *tokens) {
    double numbers[NUMBERS];
    read_numbers(&s->whole, numbers);
    model_shape shape = s->whole.shape;
    shape.positions = positions;
    recording r = begin(shape, numbers);
    record_model(&r, tokens);
    return r;
}

static mg_id result_of(const recording *r, size_t k) { return k == EARLY ? r->surprisals[1] : r->loss; }

static void check_player(const stage *s, size_t k, bool gradients) {
    const text_player *p = &s->player[k];
    recording fresh = record_anew(s, p->of->shape.positions, p->tokens);
    CHECK(same_bits(mg_value(p->of->tape, p->result), mg_value(fresh.tape, result_of(&fresh, k))));
    if (gradients) {
        double expected[NUMBERS], found[NUMBERS];
        CHECK(mg_sweep(fresh.tape, result_of(&fresh, k)) == MG_OK);
        read_gradients(&fresh, expected);
        read_gradients(p->of, found);
        CHECK(same_numbers(expected, found, s->parameters));
    }
    end(&fresh);
}

static void clear_parameters(const recording *r) {
    for (size_t p = 0; p < r->runs; p++) {
        CHECK(mg_clear_adjoints(r->tape, r->parameters[p], r->sizes[p]) == MG_OK);
    }
}

static void play_sweep(stage *s, size_t k) {
    text_player *p = &s->player[k];
    clear_parameters(p->of);
    const mg_status status = mg_program_reverse(p->program);
    CHECK(status == MG_OK || status == MG_OVERWRITTEN);
    CHECK(p->stale ? status != MG_OK : status == MG_OK || p->touched);
    if (status == MG_OK) {
        check_player(s, k, true);
        s->swept++;
    } else {
        p->stale = true;
        s->refused++;
    }
    clear_parameters(p->of);
}

static void all_are(stage *s, bool stale) {
    for (size_t k = 0; k < PLAYERS; k++) {
        s->player[k].stale = s->player[k].stale || stale;
        s->player[k].touched = true;
    }
}

typedef struct {
    int32_t tokens[TEXTS * (POSITIONS + 1)];
    size_t starts[TEXTS + 1];
} texts_of;

static texts_of random_texts(uint64_t *state) {
    texts_of t = {.starts = {0}};
    for (size_t d = 0; d < TEXTS; d++) {
        t.starts[d + 1] = t.starts[d] + 2 + random_below(state, POSITIONS);
    }
    for (size_t i = 0; i < t.starts[TEXTS]; i++) {
        t.tokens[i] = (int32_t)random_below(state, TOKENS);
    }
    return t;
}

/* A step by hand: every document recorded anew, and swept; gradients added up, and Adam. Returns the loss. */
static double step_by_hand(stage *s, const texts_of *texts, size_t batch_size, double rate, double *numbers) {
    double sum[NUMBERS] = {0}, total = 0;
    recording last = {.tape = NULL};
    for (size_t b = 0; b < batch_size; b++) {
        const size_t d = (s->steps * batch_size + b) % TEXTS;
        model_shape shape = s->whole.shape;
        shape.positions = texts->starts[d + 1] - texts->starts[d] - 1;
        recording r = begin(shape, numbers);
        record_model(&r, texts->tokens + texts->starts[d]);
        total += mg_value(r.tape, r.loss);
        CHECK(mg_sweep(r.tape, r.loss) == MG_OK);
        if (batch_size > 1) {
            CHECK(mg_gradients_add(r.tape, r.parameters, r.sizes, r.runs, sum, s->parameters) == MG_OK);
        }
        if (last.tape != NULL) {
            end(&last);
        }
        last = r;
    }
    if (batch_size > 1) {
        CHECK(mg_gradients_mean(last.tape, last.parameters, last.sizes, last.runs, sum, s->parameters,
                                1 / (double)batch_size) == MG_OK);
    }
    s->steps++;
    CHECK(mg_optimizer_step(last.tape, last.parameters, last.sizes, last.runs, s->m, s->v, s->parameters, &ADAM,
                            s->steps, rate) == MG_OK);
    read_numbers(&last, numbers);
    end(&last);
    return total * (1 / (double)batch_size);
}

static void check_trained(const stage *s, const double *numbers) {
    double now[NUMBERS], m[NUMBERS], v[NUMBERS];
    uint64_t steps;
    read_numbers(&s->whole, now);
    CHECK(mg_trainer_read_state(s->exact, m, v, s->parameters, &steps) == MG_OK && steps == s->steps);
    CHECK(same_numbers(now, numbers, s->parameters) && same_numbers(m, s->m, s->parameters) &&
          same_numbers(v, s->v, s->parameters));
}

static void play_training(stage *s, uint64_t *state) {
    double numbers[NUMBERS], rates[2] = {0.01, 0.003}, losses[2];
    texts_of texts = random_texts(state);
    const size_t batch_size = random_below(state, 3) == 0 ? 1 : 1 + random_below(state, TEXTS + 4);
    const size_t kind = random_below(state, 8);
    size_t done;
    read_numbers(&s->whole, numbers);
    CHECK(mg_trainer_use_threads(s->exact, 1 + random_below(state, 3)) == MG_OK);
    if (kind == 0) {
        mg_trainer_interrupt(s->exact);
    } else if (kind == 1) {
        texts.tokens[texts.starts[(s->steps * batch_size) % TEXTS]] = TOKENS; /* of the first document of the step */
    }
    const mg_status status =
        mg_trainer_run(s->exact, texts.tokens, texts.starts, TEXTS, batch_size, rates, 2, losses, &done);
    if (kind < 2) {
        CHECK(status == (kind == 0 ? MG_INTERRUPTED : MG_SHAPE) && done == 0);
    } else {
        CHECK(status == MG_OK && done == 2);
        for (size_t n = 0; n < 2; n++) {
            CHECK(same_bits(losses[n], step_by_hand(s, &texts, batch_size, rates[n], numbers)));
        }
        s->trained++;
    }
    check_trained(s, numbers);
    all_are(s, kind >= 2);
}

/* Mean losses of documents, without a step. */
static void play_judging(stage *s, uint64_t *state) {
    const texts_of texts = random_texts(state);
    double losses[TEXTS];
    CHECK(mg_trainer_losses(s->exact, texts.tokens, texts.starts, 2, TEXTS, losses) == MG_OK);
    for (size_t d = 2; d < TEXTS; d++) {
        recording r = record_anew(s, texts.starts[d + 1] - texts.starts[d] - 1, texts.tokens + texts.starts[d]);
        CHECK(same_bits(losses[d - 2], mg_value(r.tape, r.loss)));
        end(&r);
    }
    all_are(s, false);
}

/* A fast trainer's numbers are its own: those of a new one that begins with the same parameters and the same state. */
static void play_fast_training(stage *s, uint64_t *state) {
    const texts_of texts = random_texts(state);
    const size_t batch_size = 1 + random_below(state, TEXTS), n = s->parameters;
    double rate = 0.01, loss[2], m[2][NUMBERS], v[2][NUMBERS], numbers[2][NUMBERS];
    uint64_t steps[2];
    size_t done;
    recording fresh = record_anew(s, POSITIONS, s->player[0].tokens);
    mg_program *program = bound_program(&fresh);
    mg_trainer *trainer = mg_trainer_new(program, fresh.parameters, fresh.sizes, fresh.runs, &ADAM, true);
    mg_trainer *both[] = {trainer, s->fast};
    CHECK(mg_trainer_read_state(s->fast, m[0], v[0], n, &steps[0]) == MG_OK);
    CHECK(mg_trainer_write_state(trainer, m[0], v[0], n, steps[0]) == MG_OK);
    for (size_t t = 0; t < 2; t++) {
        CHECK(mg_trainer_use_threads(both[t], t + 1) == MG_OK);
        CHECK(mg_trainer_run(both[t], texts.tokens, texts.starts, TEXTS, batch_size, &rate, 1, &loss[t], &done) ==
              MG_OK);
        CHECK(mg_trainer_read_state(both[t], m[t], v[t], n, &steps[t]) == MG_OK);
        read_numbers(t == 0 ? &fresh : &s->whole, numbers[t]);
    }
    CHECK(same_bits(loss[0], loss[1]) && steps[0] == steps[1] && same_numbers(numbers[0], numbers[1], n) &&
          same_numbers(m[0], m[1], n) && same_numbers(v[0], v[1], n));
    mg_trainer_free(trainer);
    mg_program_free(program);
    end(&fresh);
    all_are(s, true);
}

static void play_sampling(stage *s, uint64_t *state) {
    int32_t given[2] = {(int32_t)random_below(state, TOKENS), (int32_t)random_below(state, TOKENS)};
    const size_t count = 1 + random_below(state, 2);
    const mg_sampling settings = {.greedy = random_below(state, 4) == 0, .top_k = random_below(state, 4),
                                  .top_p = random_below(state, 2) == 0 ? 0 : 0.75, .end = 0};
    double found[2][TOKENS];
    int32_t tokens[2][4 * POSITIONS] = {{0}}, lengths[2][4];
    uint32_t words[2][WORDS];
    size_t done[2];
    for (size_t i = 0; i < WORDS; i++) {
        words[0][i] = words[1][i] = i + 1 < WORDS ? (uint32_t)random_bits(state) : WORDS - 1;
    }
    recording fresh = record_anew(s, POSITIONS, s->player[0].tokens);
    mg_program *program = bound_program(&fresh);
    mg_sampler *sampler = mg_sampler_new(program), *both[] = {sampler, s->sampler};
    for (size_t t = 0; t < 2; t++) {
        if (t == 0 || random_below(state, 2) == 0) { /* other probabilities in between change nothing */
            CHECK(mg_sampler_probabilities(both[t], given, count, found[t], TOKENS) == MG_OK);
        }
        CHECK(mg_sampler_run(both[t], &settings, given, count, 4, words[t], WORDS, tokens[t], 4 * POSITIONS, lengths[t],
                             &done[t]) == MG_OK && done[t] == 4);
        CHECK(mg_sampler_probabilities(both[t], given, count, found[t], TOKENS) == MG_OK);
    }
    CHECK(same_numbers(found[0], found[1], TOKENS) && memcmp(words[0], words[1], sizeof words[0]) == 0);
    CHECK(memcmp(tokens[0], tokens[1], sizeof tokens[0]) == 0);
    CHECK(memcmp(lengths[0], lengths[1], sizeof lengths[0]) == 0);
    mg_sampler_free(sampler);
    mg_program_free(program);
    end(&fresh);
    s->sampled++;
}

/* Forgets all that is not needed, and records something that is not. */
static void play_collecting(stage *s) {
    mg_id roots[MOST_RUNS + 3];
    size_t sizes[MOST_RUNS + 3], n = s->whole.runs;
    memcpy(roots, s->whole.parameters, n * sizeof *roots);
    memcpy(sizes, s->whole.sizes, n * sizeof *sizes);
    roots[n] = s->whole.loss;
    roots[n + 1] = s->part.loss;
    sizes[n] = sizes[n + 1] = 1;
    CHECK(mg_tape_collect(s->whole.tape, roots, sizes, n + 2) == MG_OK);
    CHECK(record_add(s->whole.tape, s->whole.parameters[0], s->whole.parameters[1], 7) != MG_NONE);
}

static void play_writing(stage *s, uint64_t *state) {
    const size_t run = random_below(state, s->whole.runs);
    CHECK(mg_set_value(s->whole.tape, s->whole.parameters[run] + random_below(state, s->whole.sizes[run]),
                       random_between(state, -0.5, 0.5)) == MG_OK);
    all_are(s, true);
}

static void take_turn(stage *s, uint64_t *state) {
    const size_t k = random_below(state, PLAYERS);
    text_player *p = &s->player[k];
    int32_t tokens[POSITIONS + 1];
    switch (random_below(state, 24)) {
    case 0:
    case 1:
        for (size_t i = 0; i < p->inputs; i++) {
            tokens[i] = (int32_t)random_below(state, TOKENS);
        }
        CHECK(mg_program_set(p->program, tokens, p->inputs) == MG_OK);
        p->stale = p->stale || memcmp(tokens, p->tokens, p->inputs * sizeof *tokens) != 0;
        memcpy(p->tokens, tokens, p->inputs * sizeof *tokens);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 13:
    case 14:
        CHECK(mg_program_forward(p->program) == MG_OK);
        p->stale = p->touched = false;
        check_player(s, k, false);
        break;
    case 7: play_training(s, state); break;
    case 8: play_judging(s, state); break;
    case 9: play_fast_training(s, state); break;
    case 10: play_sampling(s, state); break;
    case 11: play_collecting(s); break;
    case 12: play_writing(s, state); break;
    default: play_sweep(s, k);
    }
}

static void set_the_stage(stage *s, uint64_t *state) {
    const model_shape shape = {.embd = 4, .heads = 2, .layers = 1, .positions = POSITIONS, .vocab = TOKENS};
    double numbers[NUMBERS];
    int32_t tokens[POSITIONS + 1] = {0};
    random_numbers(state, numbers, NUMBERS);
    s->whole = begin(shape, numbers);
    record_model(&s->whole, tokens);
    s->parameters = parameters_of(&s->whole);
    CHECK(s->parameters <= NUMBERS);
    s->part = s->whole; /* the same tape and parameters */
    s->part.shape.positions = FEWER;
    s->part.lanes = allocate(MOST_LANES, sizeof(mg_id));
    record_model(&s->part, tokens);
    for (size_t k = 0; k < PLAYERS; k++) {
        text_player *p = &s->player[k];
        *p = (text_player){.of = k == PART ? &s->part : &s->whole, .stale = true};
        p->result = result_of(p->of, k);
        p->program = mg_program_new(p->of->tape, p->result, 0);
        CHECK(p->program != NULL);
        const bool plain = k == PLAIN || k == EARLY;
        CHECK((plain ? bind_tokens(p->of, p->program) : bind_and_plan(p->of, p->program)) == MG_OK);
        CHECK(plain || is_planned(p->program));
        p->inputs = p->of->shape.positions + 1;
        CHECK(mg_program_set(p->program, p->tokens, p->inputs) == MG_OK);
    }
    mg_program *program = s->player[0].program;
    s->exact = mg_trainer_new(program, s->whole.parameters, s->whole.sizes, s->whole.runs, &ADAM, false);
    s->fast = mg_trainer_new(program, s->whole.parameters, s->whole.sizes, s->whole.runs, &ADAM, true);
    s->sampler = mg_sampler_new(program);
    CHECK(s->exact != NULL && s->fast != NULL && s->sampler != NULL);
    s->m = allocate(s->parameters, sizeof *s->m);
    s->v = allocate(s->parameters, sizeof *s->v);
}

static void clear_the_stage(stage *s) {
    free(s->m);
    free(s->v);
    free(s->part.lanes);
    for (size_t k = 0; k < PLAYERS; k++) {
        mg_program_free(s->player[k].program);
    }
    mg_trainer_free(s->exact);
    mg_trainer_free(s->fast);
    mg_sampler_free(s->sampler);
    end(&s->whole);
}

static const char *broken_stage(const stage *s) {
    const char *broken = broken_tape(s->whole.tape);
    for (size_t k = 0; broken == NULL && k < PLAYERS; k++) {
        broken = broken_program(s->player[k].program);
    }
    broken = broken == NULL ? broken_trainer(s->exact) : broken;
    return broken == NULL ? broken_trainer(s->fast) : broken;
}

static void all_that_computes_shares_a_tape(void) {
    size_t swept = 0, refused = 0, trained = 0, sampled = 0;
    uint64_t state = 33;
    for (int round = 0; round < (small_run() ? 5 : 24) && failures == 0; round++) {
        stage *s = allocate(1, sizeof *s);
        set_the_stage(s, &state);
        for (int turn = 0; turn < 100 && failures == 0; turn++) {
            take_turn(s, &state);
            const char *broken = turn % 8 == 0 ? broken_stage(s) : NULL;
            if (!CHECK(broken == NULL) || failures > 0) {
                printf("    in turn %d of round %d %s\n", turn, round, broken == NULL ? "" : broken);
            }
        }
        swept += s->swept;
        refused += s->refused;
        trained += s->trained;
        sampled += s->sampled;
        clear_the_stage(s);
        free(s);
    }
    CHECK(swept > 20 && refused > 20 && trained > 5 && sampled > 5);
}

int main(void) {
    RUN(all_that_computes_shares_a_tape);
    RUN(every_interleaving_is_recording_or_refused);
    return verdict();
}
