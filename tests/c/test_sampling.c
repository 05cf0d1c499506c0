/* test_sampling.c: samplers, against recording every text anew, bit for bit. */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "models.h"

enum { STATE = 625 };

static void seed_generator(uint32_t *words, uint64_t *state) {
    for (size_t i = 0; i < STATE - 1; i++) {
        words[i] = (uint32_t)random_bits(state);
    }
    words[STATE - 1] = STATE - 1;
}

/* The probabilities of a sampler, after every beginning of some texts, are those of recording them. */
static void samplers_are_recordings(void) {
    uint64_t state = 21;
    for (int i = 0; i < (small_run() ? 5 : 60); i++) {
        const size_t heads = 1 + random_below(&state, 4);
        const model_shape shape = {.embd = heads * (1 + random_below(&state, 5)), .heads = heads,
                                   .layers = 1 + random_below(&state, 2), .positions = 1 + random_below(&state, 18),
                                   .vocab = 1 + random_below(&state, 70), .squared = random_below(&state, 2),
                                   .swapped = random_below(&state, 2), .tied = random_below(&state, 3) == 0,
                                   .scaled = random_below(&state, 2)};
        const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + shape.layers * 12 * shape.embd * shape.embd;
        double *numbers = allocate(n, sizeof *numbers), *found = allocate(shape.vocab, sizeof *found);
        double *wanted = allocate(shape.vocab, sizeof *wanted);
        int32_t tokens[MOST_TOKENS + 1];
        random_numbers(&state, numbers, n);
        random_tokens(&state, tokens, &shape);
        recording r = begin(shape, numbers);
        record_model(&r, tokens);
        mg_program *program = bound_program(&r);
        mg_sampler *sampler = mg_sampler_new(program);
        for (int round = 0; CHECK(sampler != NULL) && round < 2; round++) {
            random_numbers(&state, numbers, n);
            random_tokens(&state, tokens, &shape);
            const double *from = numbers;
            for (size_t p = 0; p < r.runs; from += r.sizes[p++]) {
                CHECK(mg_write_values(r.tape, r.parameters[p], r.sizes[p], from) == MG_OK);
            }
            recording fresh = begin(shape, numbers);
            record_model(&fresh, tokens);
            for (size_t t = 0; t < shape.positions; t++) {
                CHECK(mg_sampler_probabilities(sampler, tokens, t + 1, found, shape.vocab) == MG_OK);
                CHECK(mg_read_values(fresh.tape, fresh.probabilities[t], shape.vocab, wanted) == MG_OK);
                CHECK(same_numbers(found, wanted, shape.vocab));
            }
            end(&fresh);
        }
        mg_sampler_free(sampler);
        mg_program_free(program);
        end(&r);
        free(numbers);
        free(found);
        free(wanted);
    }
}

static size_t tokens_of(const int32_t *lengths, size_t texts) {
    size_t sum = 0;
    for (size_t i = 0; i < texts; i++) {
        sum += (size_t)lengths[i];
    }
    return sum;
}

/* The memory of a tape, but for the sweep's lists, which grow with what programs it has had. */
static uint64_t bytes_of(mg_tape *tape) {
    return mg_tape_memory(tape).bytes - (tape->order.capacity + tape->stack.capacity) * sizeof *tape->order.item;
}

/* Texts in one call are those in several, and of a sampler that was used for other things between them; and all that
   without memory for the tree, or with none at all. */
static void samplers_do_not_mix(void) {
    enum { TEXTS = 60, PART = 20, MOST = TEXTS * 7 };
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + 12 * shape.embd * shape.embd;
    double *numbers = allocate(n, sizeof *numbers);
    int32_t tokens[MOST_TOKENS + 1], wanted[MOST], found[MOST], wanted_lengths[TEXTS], lengths[TEXTS];
    uint32_t before[STATE], after[STATE], words[STATE];
    uint64_t state = 31;
    random_numbers(&state, numbers, n);
    random_tokens(&state, tokens, &shape);
    seed_generator(before, &state);
    for (int kind = 0; kind < 5; kind++) {
        const mg_sampling settings = {kind == 4, kind == 2 ? 3 : 0, kind == 3 ? 0.7 : 0, 5}, other = {false, 2, 0, 5};
        const size_t given = 1 + (size_t)kind % 3;
        size_t done = 0;
        memcpy(after, before, sizeof after);
        recording r = begin(shape, numbers);
        record_model(&r, tokens);
        const uint64_t bytes = bytes_of(r.tape);
        mg_program *program = bound_program(&r);
        mg_sampler *sampler = mg_sampler_new(program);
        CHECK(mg_sampler_run(sampler, &settings, tokens, given, TEXTS, after, STATE, wanted, MOST, wanted_lengths,
                             &done) == MG_OK && done == TEXTS);
        mg_sampler_free(sampler);
        const size_t count = tokens_of(wanted_lengths, TEXTS);
        for (uint64_t k = 0; k < (kind == 0 ? 60 : 3); k++) { /* the k-th allocation fails */
            mg_tape_fail_allocation(r.tape, k);
            const uint64_t before_it = mg_tape_memory(r.tape).bytes;
            sampler = mg_sampler_new(program);
            if (sampler == NULL) {
                CHECK(mg_tape_take_status(r.tape) == MG_NO_MEMORY && mg_tape_memory(r.tape).bytes == before_it);
                mg_tape_fail_allocation(r.tape, 0);
                sampler = mg_sampler_new(program);
                mg_tape_fail_allocation(r.tape, 1 + k % 2); /* it does without the tree */
            }
            memcpy(words, before, sizeof words);
            for (size_t from = 0, at = 0; CHECK(sampler != NULL) && from < TEXTS; from += PART) {
                CHECK(mg_sampler_run(sampler, &settings, tokens, given, PART, words, STATE, found + at, MOST - at,
                                     lengths + from, &done) == MG_OK && done == PART);
                at += tokens_of(lengths + from, PART);
                uint32_t elsewhere[STATE];
                int32_t text[7], length;
                memcpy(elsewhere, before, sizeof elsewhere);
                CHECK(mg_sampler_run(sampler, &other, tokens + 1, 1, 1, elsewhere, STATE, text, 7, &length, &done) ==
                      MG_OK);
            }
            mg_tape_fail_allocation(r.tape, 0);
            CHECK(memcmp(lengths, wanted_lengths, sizeof lengths) == 0 && memcmp(words, after, sizeof words) == 0);
            CHECK(memcmp(found, wanted, count * sizeof *found) == 0);
            for (size_t i = 0; i < count; i++) {
                CHECK(found[i] >= 0 && found[i] < 5);
            }
            mg_program *kept = program;
            if (k % 2) { /* a sampler holds its program */
                program = bound_program(&r);
                mg_program_free(kept);
            }
            mg_sampler_free(sampler);
        }
        mg_program_free(program);
        CHECK(bytes_of(r.tape) == bytes); /* all is given back */
        end(&r);
    }
    free(numbers);
}

/* A program with no selection, and a sum of losses that were recorded otherwise. */
static void what_is_no_sampler_is_refused(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[6] = {1, 2, 3, 4, 5, 6};
    const mg_id x = mg_leaves(tape, numbers, 6), losses[2] = {mg_unary(tape, MG_LOG, x), mg_unary(tape, MG_LOG, x + 1)};
    mg_program *program = mg_program_new(tape, record_mean(tape, losses, 2), 0);
    CHECK(mg_sampler_new(program) == NULL && mg_tape_take_status(tape) == MG_OPERATION);
    mg_program_free(program);
    program = mg_program_new(tape, mg_unary(tape, MG_EXP, x), 0);
    CHECK(mg_sampler_new(program) == NULL && mg_tape_take_status(tape) == MG_OPERATION);
    CHECK(mg_tape_close(tape) == MG_OK);
    CHECK(mg_sampler_new(program) == NULL && mg_tape_take_status(tape) == MG_CLOSED);
    mg_program_free(program);
    mg_tape_free(tape);
    mg_sampler_free(NULL);
}

/* ---- other models ------------------------------------------------------------------------------------------------ */

/* What a small model has besides an attention whose queries, keys and values are lanes of one statement. */
enum { GAINS = 1, STRIDES = 2, CONCATENATION = 4, SCALED_PAST = 8, UNIFORM_PAST = 16, CAUSAL_PAST = 32, UNIFORM = 64,
       UNIGRAM = 128, ONE_PART = 256, SECOND_HEAD = 512, FIRST_PAST = 1024, RULES = 2048,
       CONTEXT = 4096, WINDOWS = 8192, PAIRS = 16384 };
enum { SMALL_EMBD = 6, SMALL_HEADS = 2, SMALL_VOCAB = 5, SMALL_POSITIONS = 7, SMALL_NUMBERS = 400 };

typedef struct {
    mg_tape *tape;
    mg_id wte, wpe, gain, fused, output, head, scale;
    mg_id embeddings[SMALL_POSITIONS], logarithms[SMALL_POSITIONS], probabilities[SMALL_POSITIONS], loss;
} small_model;

static small_model begin_small(const double *numbers) {
    enum { E = SMALL_EMBD };
    small_model m = {.tape = mg_tape_new()};
    mg_id *parameters[] = {&m.wte, &m.wpe, &m.gain, &m.fused, &m.output, &m.head, &m.scale};
    const size_t sizes[] = {SMALL_VOCAB * E, SMALL_POSITIONS * E, E, 3 * E * E, E * E, SMALL_VOCAB * 2 * E, 1};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; numbers += sizes[n++]) {
        *parameters[n] = record_leaves(m.tape, numbers, sizes[n]);
    }
    return m;
}

/* Attention, with one of its statements otherwise. */
static mg_id attend(small_model *m, unsigned with, mg_id q, const mg_id *keys, const mg_id *values, size_t positions) {
    enum { E = SMALL_EMBD, H = SMALL_HEADS };
    const mg_view query = {.first = q, .group = E / H, .term = 1};
    const mg_view past = {.group = E / H, .term = 1, .list = keys, .entries = positions, .block = 1};
    mg_id logits = mg_sum(m->tape, H, positions, E / H, &query, &past);
    if (with & SCALED_PAST) {
        const mg_view lanes = lanes_from(logits), scale = one_lane(m->scale);
        logits = mg_map(m->tape, MG_MUL, 1, H * positions, &lanes, &scale, 0);
    }
    const mg_id weights = record_softmax_of_groups(m->tape, logits, H, positions);
    mg_view by = {.first = weights, .group = positions, .term = 1};
    if (with & SECOND_HEAD) { /* whose weights are for all */
        by = (mg_view){.first = weights + positions, .term = 1};
    }
    const mg_view mixed = {.group = E / H, .lane = 1, .list = values, .entries = positions, .block = 1, .by_term = true};
    return mg_sum(m->tape, H, E / H, positions, &by, &mixed);
}

static void record_small(small_model *m, unsigned with, const int32_t *tokens) {
    enum { E = SMALL_EMBD, H = SMALL_HEADS };
    mg_tape *tape = m->tape;
    mg_id keys[SMALL_POSITIONS], values[SMALL_POSITIONS], causal[SMALL_POSITIONS], losses[SMALL_POSITIONS];
    for (size_t t = 0; t < SMALL_POSITIONS; t++) {
        mg_id x = m->embeddings[t] = record_add(tape, m->wte + (size_t)tokens[t] * E, m->wpe + t * E, E);
        if (with & CONTEXT) { /* two tokens side by side */
            const mg_id before = m->wte + (size_t)tokens[t == 0 ? 0 : t - 1] * E, now = m->wte + (size_t)tokens[t] * E;
            const mg_view both = {.list = (mg_id[2]){before, now}, .entries = 2, .block = E, .term = 1, .by_term = true};
            const mg_view weights = {.first = m->fused, .lane = 2 * E, .term = 1};
            x = m->embeddings[t] = mg_sum(tape, 1, E, 2 * E, &weights, &both);
        }
        if (with & RULES) { /* of two operands, with a constant, and such as need more than a few instructions */
            const mg_view lanes = lanes_from(record_map(tape, MG_EXP, x, E, 0)), others = lanes_from(x);
            x = mg_map(tape, MG_POWER, 1, E, &lanes, &others, 0);
            const mg_view powers = lanes_from(record_map(tape, MG_POW, x, E, 0.3));
            x = mg_map(tape, MG_MAX, 1, E, &powers, &others, 0);
            x = record_map(tape, MG_EXPONENT, record_map(tape, MG_SIN, x, E, 0), E, 1.5);
            x = record_map(tape, MG_POW, record_map(tape, MG_POW, x, E, -1), E, 3);
        }
        if (with & GAINS) { /* one number a lane, one a group, one a lane of all groups, and one for all */
            const mg_view lanes = lanes_from(x), gain = lanes_from(m->gain);
            x = mg_map(tape, MG_MUL, 1, E, &lanes, &gain, 0);
            const mg_view groups = {.first = x, .group = E / H, .lane = 1}, a_group = {.first = m->gain, .group = 2};
            x = mg_map(tape, MG_ADD, H, E / H, &a_group, &groups, 0);
            const mg_view again = {.first = x, .group = E / H, .lane = 1}, same = {.first = m->gain + 1, .lane = 2};
            x = mg_map(tape, MG_ADD, H, E / H, &again, &same, 0);
            const mg_view all = lanes_from(x), one = one_lane(m->scale);
            x = mg_map(tape, MG_MUL, 1, E, &all, &one, 0);
        }
        if (with & STRIDES) {
            const mg_view even = {.first = x, .lane = 2}, odd = {.first = x + 1, .lane = 2};
            const mg_id half = mg_map(tape, MG_ADD, 1, E / 2, &even, &odd, 0);
            const mg_view halves = {.first = half, .lane = 1}, lanes = {.first = x, .group = E / 2, .lane = 1};
            x = mg_map(tape, MG_MUL, 2, E / 2, &halves, &lanes, 0);
            const mg_view backwards = {.first = x, .group = 1, .lane = E / 2};
            x = record_map(tape, MG_TANH, mg_map(tape, MG_RELU, E / 2, 2, &backwards, NULL, 0), E, 0);
        }
        if (with & WINDOWS) { /* no attention: as many lanes as there are, some read twice and some not at all */
            mg_view windows = {.first = x, .group = 1, .lane = 1}, gains = {.first = m->gain, .group = 2, .lane = 1};
            if (with & PAIRS) { /* each lane twice, in two orders */
                windows.group = 2;
                gains = (mg_view){.first = x, .group = 1, .lane = 3};
            }
            x = record_map(tape, MG_TANH, mg_map(tape, MG_MUL, 3, 2, &windows, &gains, 0), E, 0);
            mg_id p = m->probabilities[t] = record_softmax(tape, record_linear(tape, x, m->head, SMALL_VOCAB, E),
                                                           SMALL_VOCAB);
            m->logarithms[t] = mg_unary(tape, MG_LOG, p + (size_t)tokens[t + 1]);
            losses[t] = mg_binary_with(tape, MG_MUL, m->logarithms[t], -1);
            continue;
        }
        const mg_id fused = record_linear(tape, x, m->fused, 3 * E, E);
        keys[t] = fused + E;
        values[t] = fused + 2 * E;
        if (with & UNIFORM_PAST) { /* all lanes of a group have one number */
            const mg_view lane = {.first = fused, .group = E / H};
            values[t] = mg_map(tape, MG_TANH, H, E / H, &lane, NULL, 0);
        }
        if (with & FIRST_PAST) { /* what the first statement of a position has computed */
            values[t] = m->embeddings[t];
        }
        mg_id mixed = attend(m, with, fused, keys, values, t + 1);
        if (with & CAUSAL_PAST) { /* logits, whose first lanes are then values */
            const mg_view query = terms_from(mixed), past = {.term = 1, .list = keys, .entries = t + 1, .block = 1};
            causal[t] = mg_sum(tape, 1, t + 1, E, &query, &past);
            const mg_view first = {.list = causal, .entries = t + 1, .block = 1, .by_term = true};
            const mg_view by = terms_from(causal[t]), lanes = lanes_from(mixed);
            const mg_view all = one_lane(mg_sum(tape, 1, 1, t + 1, &by, &first));
            mixed = mg_map(tape, MG_MUL, 1, E, &lanes, &all, 0);
        }
        const mg_view lanes = lanes_from(mixed), gate = lanes_from(fused + E);
        mixed = mg_map(tape, MG_MUL, 1, E, &lanes, &gate, 0);
        mixed = record_add(tape, record_linear(tape, mixed, m->output, E, E), x, E);
        mg_id logits = record_linear(tape, mixed, m->head, SMALL_VOCAB, E);
        if (with & CONCATENATION) {
            const mg_view weights = {.first = m->head, .lane = 2 * E, .term = 1};
            const mg_view both = {.list = (mg_id[2]){mixed, x}, .entries = 2, .block = E, .term = 1, .by_term = true};
            logits = mg_sum(tape, 1, SMALL_VOCAB, 2 * E, &weights, &both);
        }
        if (with & ONE_PART) {
            const mg_view weights = {.first = m->head, .lane = E, .term = 1};
            const mg_view part = {.list = (mg_id[1]){mixed}, .entries = 1, .block = E, .term = 1, .by_term = true};
            logits = mg_sum(tape, 1, SMALL_VOCAB, E, &weights, &part);
        }
        if (with & UNIGRAM) {
            logits = record_map(tape, MG_TANH, m->head, SMALL_VOCAB, 0);
        }
        mg_id p = record_softmax(tape, logits, SMALL_VOCAB);
        if (with & UNIFORM) {
            const mg_view first = one_lane(p);
            p = mg_map(tape, MG_TANH, 1, SMALL_VOCAB, &first, NULL, 0);
        }
        m->probabilities[t] = p;
        m->logarithms[t] = mg_unary(tape, MG_LOG, p + (size_t)tokens[t + 1]);
        losses[t] = mg_binary_with(tape, MG_MUL, m->logarithms[t], -1);
    }
    m->loss = record_mean(tape, losses, SMALL_POSITIONS);
}

/* Input t + shift is the token at position t, and input t + 1 what is drawn there. */
static mg_program *small_program(const small_model *m, unsigned with, size_t shift, size_t drawn, size_t words) {
    mg_program *program = mg_program_new(m->tape, m->loss, 0);
    for (size_t t = 0; t < SMALL_POSITIONS; t++) {
        if (with & CONTEXT) {
            const mg_id lane = m->embeddings[t];
            CHECK(mg_program_bind(program, t == 0 ? 0 : t - 1, lane, 1, 0, m->wte, SMALL_EMBD, words) == MG_OK);
            CHECK(mg_program_bind(program, t, lane, 1, 1, m->wte, SMALL_EMBD, words) == MG_OK);
        } else if (!(with & UNIGRAM)) {
            CHECK(mg_program_bind(program, t + shift, m->embeddings[t], 0, 0, m->wte, SMALL_EMBD, words) == MG_OK);
        }
        CHECK(mg_program_bind(program, t + drawn, m->logarithms[t], 0, 0, m->probabilities[t], 1, SMALL_VOCAB) == MG_OK);
    }
    return program;
}

/* Are the gradients of a replay, planned or not, those of recording? */
static bool same_replay(mg_program *program, const small_model *m, const small_model *fresh, const int32_t *tokens) {
    const size_t n = (size_t)(m->scale - m->wte) + 1; /* the parameters stand one after the other */
    double found[SMALL_NUMBERS], wanted[SMALL_NUMBERS];
    CHECK(n <= SMALL_NUMBERS && mg_clear_adjoints(m->tape, m->wte, n) == MG_OK);
    CHECK(mg_program_set(program, tokens, SMALL_POSITIONS + 1) == MG_OK && mg_program_forward(program) == MG_OK);
    CHECK(mg_program_reverse(program) == MG_OK && mg_sweep(fresh->tape, fresh->loss) == MG_OK);
    CHECK(mg_read_adjoints(m->tape, m->wte, n, found) == MG_OK);
    CHECK(mg_read_adjoints(fresh->tape, fresh->wte, n, wanted) == MG_OK);
    return same_numbers(found, wanted, n) && same_bits(mg_value(m->tape, m->loss), mg_value(fresh->tape, fresh->loss));
}

/* Are texts the same without memory for what they begin with? */
static bool same_without_a_tree(const small_model *m, mg_sampler *sampler) {
    mg_tape *tape = m->tape;
    enum { TEXTS = 30, MOST = TEXTS * SMALL_POSITIONS };
    const mg_sampling settings[2] = {{false, 0, 0, 0}, {false, 0, 0, SMALL_VOCAB - 1}};
    int32_t given = 2, tokens[2][MOST] = {{0}}, lengths[2][TEXTS] = {{0}};
    uint64_t state = 77;
    uint32_t words[2][STATE];
    bool same = true;
    for (size_t rule = 0; rule < 2; rule++) {
        seed_generator(words[0], &state);
        memcpy(words[1], words[0], sizeof words[0]);
        for (size_t with = 0; with < 2; with++) {
            size_t done = 0;
            CHECK(mg_set_value(tape, m->scale, mg_value(tape, m->scale)) == MG_OK); /* forget */
            mg_tape_fail_allocation(tape, with == 0); /* the first time without */
            CHECK(mg_sampler_run(sampler, &settings[rule], &given, 1, TEXTS, words[with], STATE, tokens[with], MOST,
                                 lengths[with], &done) == MG_OK && done == TEXTS);
            mg_tape_fail_allocation(tape, 0);
        }
        same = same && memcmp(tokens[0], tokens[1], sizeof tokens[0]) == 0 &&
               memcmp(lengths[0], lengths[1], sizeof lengths[0]) == 0 && memcmp(words[0], words[1], sizeof words[0]) == 0;
    }
    return same;
}

/* A model of another form is sampled as it was recorded, or refused. */
static void other_models_are_recordings(void) {
    static const struct {
        unsigned with;
        bool known;
    } cases[] = {{0, true},
                 {GAINS, true},
                 {STRIDES, true},
                 {GAINS | STRIDES, true},
                 {UNIGRAM, true},
                 {UNIFORM, true},
                 {SECOND_HEAD, true},
                 {FIRST_PAST, true},
                 {RULES, true},
                 {CONTEXT, true},
                 {WINDOWS, true},
                 {WINDOWS | PAIRS, true},
                 {UNIFORM_PAST, true},
                 {CONCATENATION, false},
                 {ONE_PART, false},
                 {SCALED_PAST, false},
                 {CAUSAL_PAST, false}};
    uint64_t state = 5;
    double numbers[SMALL_NUMBERS], found[SMALL_VOCAB], wanted[SMALL_VOCAB];
    int32_t tokens[SMALL_POSITIONS + 1] = {0};
    for (size_t n = 0; n < SMALL_NUMBERS; n++) {
        numbers[n] = random_between(&state, -1, 1);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned with = cases[i].with;
        small_model m = begin_small(numbers);
        record_small(&m, with, tokens);
        mg_program *program = small_program(&m, with, 0, 1, SMALL_VOCAB);
        mg_sampler *sampler = mg_sampler_new(program);
        const mg_status status = mg_tape_take_status(m.tape);
        if (!CHECK((sampler != NULL) == cases[i].known && status == (cases[i].known ? MG_OK : MG_OPERATION))) {
            printf("    with %x\n", with);
        }
        for (int text = 0; sampler != NULL && text < 4; text++) {
            for (size_t t = 0; t <= SMALL_POSITIONS; t++) {
                tokens[t] = (int32_t)random_below(&state, SMALL_VOCAB);
            }
            small_model fresh = begin_small(numbers);
            record_small(&fresh, with, tokens);
            for (size_t t = 0; t < SMALL_POSITIONS; t++) {
                CHECK(mg_sampler_probabilities(sampler, tokens, t + 1, found, SMALL_VOCAB) == MG_OK);
                CHECK(mg_read_values(fresh.tape, fresh.probabilities[t], SMALL_VOCAB, wanted) == MG_OK);
                if (!CHECK(same_numbers(found, wanted, SMALL_VOCAB))) {
                    printf("    with %x, at position %zu\n", with, t);
                }
            }
            CHECK(mg_program_plan(program) == MG_OK && (!(with & WINDOWS) || is_planned(program)));
            CHECK(with & UNIGRAM || same_replay(program, &m, &fresh, tokens));
            mg_tape_free(fresh.tape);
        }
        CHECK(sampler == NULL || same_without_a_tree(&m, sampler));
        mg_sampler_free(sampler);
        mg_program_free(program);
        mg_tape_free(m.tape);
    }
}

/* What is remembered of a call is of its rule and of what it was given: another call with one thing otherwise is as the
   first of a sampler. */
static void a_call_is_as_the_first(void) {
    enum { TEXTS = 20, MOST = TEXTS * (SMALL_POSITIONS + 1) };
    static const mg_sampling rules[] = {{false, 0, 0, 4}, {false, 0, 0.6, 4}, {false, 0, 0.3, 4}, {false, 3, 0.3, 4},
                                        {false, 2, 0.3, 4}, {true, 2, 0.3, 4}, {true, 2, 0.3, 1}, {false, 2, 0.3, 1},
                                        {false, 0, 0, 1},   {false, 0, 0, 4}};
    static const int32_t given[][3] = {{2, 1, 3}, {2, 1, 3}, {2, 1, 0}, {0, 1, 3}};
    static const size_t counts[] = {1, 2, 3, 3, 1, 2};
    uint64_t state = 6;
    double numbers[SMALL_NUMBERS];
    for (size_t n = 0; n < SMALL_NUMBERS; n++) {
        numbers[n] = random_between(&state, -1, 1);
    }
    small_model m = begin_small(numbers);
    record_small(&m, 0, (int32_t[SMALL_POSITIONS + 1]){0});
    mg_program *program = small_program(&m, 0, 0, 1, SMALL_VOCAB);
    mg_sampler *kept = mg_sampler_new(program);
    for (size_t call = 0; call < 120; call++) {
        const mg_sampling *rule = &rules[call / 4 % 10];
        const int32_t *tokens = given[call / 40 + call / 20 % 2];
        const size_t count = counts[(call / 40 + call / 20 % 2) % 6];
        int32_t texts[2][MOST] = {{0}}, lengths[2][TEXTS] = {{0}};
        uint32_t words[2][STATE];
        seed_generator(words[0], &state);
        memcpy(words[1], words[0], sizeof words[0]);
        if (call % 8 == 7) { /* a number of the model */
            CHECK(mg_set_value(m.tape, m.head + call % 30, random_between(&state, -1, 1)) == MG_OK);
        }
        double found[SMALL_VOCAB];
        if (call % 5 == 4) { /* something else between two calls */
            CHECK(mg_sampler_probabilities(kept, given[call % 4], 1 + call % 3, found, SMALL_VOCAB) == MG_OK);
        }
        int32_t other[3];
        memcpy(other, tokens, sizeof other);
        if (call % 7 == 3 && count > 1) { /* which leaves the beginning of one text before that of another */
            other[0] = tokens[0] == 0 ? 1 : 0;
            CHECK(mg_sampler_probabilities(kept, tokens, count, found, SMALL_VOCAB) == MG_OK);
            CHECK(mg_sampler_probabilities(kept, other, 1, found, SMALL_VOCAB) == MG_OK);
            tokens = other;
        }
        mg_sampler *fresh = mg_sampler_new(program);
        for (size_t n = 0; n < 2; n++) {
            size_t done = 0;
            CHECK(mg_sampler_run(n == 0 ? kept : fresh, rule, tokens, count, TEXTS, words[n], STATE, texts[n], MOST,
                                 lengths[n], &done) == MG_OK && done == TEXTS);
        }
        CHECK(memcmp(texts[0], texts[1], sizeof texts[0]) == 0 && memcmp(lengths[0], lengths[1], sizeof lengths[0]) == 0);
        CHECK(memcmp(words[0], words[1], sizeof words[0]) == 0);
        mg_sampler_free(fresh);
    }
    mg_sampler_free(kept);
    mg_program_free(program);
    mg_tape_free(m.tape);
}

/* The likeliest tokens, one after the other, up to the end or as many as there is room for. */
static void greedy_texts_are_the_likeliest(void) {
    enum { MOST = SMALL_POSITIONS + 1 };
    uint64_t state = 12;
    size_t full = 0, ended = 0;
    for (size_t round = 0; round < 30; round++) {
        double numbers[SMALL_NUMBERS], p[SMALL_VOCAB];
        for (size_t n = 0; n < SMALL_NUMBERS; n++) {
            numbers[n] = random_between(&state, -1, 1);
        }
        small_model m = begin_small(numbers);
        record_small(&m, 0, (int32_t[MOST]){0});
        mg_program *program = small_program(&m, 0, 0, 1, SMALL_VOCAB);
        mg_sampler *sampler = mg_sampler_new(program);
        int32_t path[MOST] = {0}, found[2 * MOST], lengths[2], end = (int32_t)random_below(&state, SMALL_VOCAB);
        const size_t given = 1 + random_below(&state, SMALL_POSITIONS);
        for (size_t t = 0; t < given; t++) {
            path[t] = (int32_t)random_below(&state, SMALL_VOCAB);
        }
        size_t length = 0, done = 0;
        for (bool ends = false; !ends && given + length <= SMALL_POSITIONS;) {
            CHECK(mg_sampler_probabilities(sampler, path, given + length, p, SMALL_VOCAB) == MG_OK);
            int32_t likeliest = 0;
            for (int32_t token = 1; token < SMALL_VOCAB; token++) {
                likeliest = p[token] > p[likeliest] ? token : likeliest;
            }
            ends = likeliest == end;
            path[given + length] = likeliest;
            length += !ends;
            ended += ends;
            full += !ends && given + length > SMALL_POSITIONS;
        }
        uint32_t words[STATE];
        seed_generator(words, &state);
        const mg_sampling rule = {true, 0, 0, end};
        CHECK(mg_sampler_run(sampler, &rule, path, given, 2, words, STATE, found, 2 * MOST, lengths, &done) == MG_OK);
        CHECK(done == 2 && (size_t)lengths[0] == length && lengths[1] == lengths[0]);
        CHECK(memcmp(found, path + given, length * sizeof *found) == 0);
        CHECK(memcmp(found + length, path + given, length * sizeof *found) == 0);
        mg_sampler_free(sampler);
        mg_program_free(program);
        mg_tape_free(m.tape);
    }
    CHECK(full > 3 && ended > 3);
}

/* Sizes that do not fit, tokens that there are not, numbers that are none: nothing is drawn beyond the last whole text. */
static void what_a_sampler_cannot_do_is_refused(void) {
    enum { TEXTS = 50, MOST = TEXTS * (SMALL_POSITIONS + 1) };
    double numbers[SMALL_NUMBERS], p[SMALL_VOCAB];
    uint64_t state = 13;
    for (size_t n = 0; n < SMALL_NUMBERS; n++) {
        numbers[n] = random_between(&state, -1, 1);
    }
    small_model m = begin_small(numbers);
    record_small(&m, 0, (int32_t[SMALL_POSITIONS + 1]){0});
    mg_program *program = small_program(&m, 0, 0, 1, SMALL_VOCAB);
    mg_sampler *sampler = mg_sampler_new(program);
    uint32_t before[STATE], words[STATE], again[STATE];
    int32_t found[MOST], whole[MOST], lengths[TEXTS], given[SMALL_POSITIONS + 1] = {0};
    size_t done = 9, part = 9;
    const mg_sampling rule = {false, 0, 0, -1};
    seed_generator(before, &state);
    memcpy(words, before, sizeof words);
    const struct {
        int32_t token;
        size_t count, texts, words, room;
        double top_p;
        uint32_t index;
        mg_status status;
    } cases[] = {
        {0, 1, 2, STATE, 2 * SMALL_POSITIONS, 0, STATE - 1, MG_OK},
        {0, SMALL_POSITIONS, 2, STATE, 2, 1, 0, MG_OK},
        {0, 1, 2, STATE, 2 * SMALL_POSITIONS - 1, 0, STATE - 1, MG_SHAPE},
        {0, SMALL_POSITIONS, 2, STATE, 1, 0, STATE - 1, MG_SHAPE},
        {0, 0, 2, STATE, MOST, 0, STATE - 1, MG_SHAPE},
        {0, SMALL_POSITIONS + 1, 2, STATE, MOST, 0, STATE - 1, MG_SHAPE},
        {-1, 1, 2, STATE, MOST, 0, STATE - 1, MG_SHAPE},
        {SMALL_VOCAB, 1, 2, STATE, MOST, 0, STATE - 1, MG_SHAPE},
        {0, 1, 2, STATE - 1, MOST, 0, STATE - 1, MG_SHAPE},
        {0, 1, 2, STATE + 1, MOST, 0, STATE - 1, MG_SHAPE},
        {0, 1, 2, STATE, MOST, 0, STATE, MG_SHAPE},
        {0, 1, 2, STATE, MOST, -0.1, STATE - 1, MG_SHAPE},
        {0, 1, 2, STATE, MOST, 1.1, STATE - 1, MG_SHAPE},
        {0, 1, 2, STATE, MOST, NAN, STATE - 1, MG_SHAPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mg_sampling other = rule;
        other.top_p = cases[i].top_p;
        given[0] = cases[i].token;
        words[STATE - 1] = cases[i].index;
        const mg_status status = mg_sampler_run(sampler, &other, given, cases[i].count, cases[i].texts, words,
                                                cases[i].words, found, cases[i].room, lengths, &done);
        if (!CHECK(status == cases[i].status && done == (status == MG_OK ? 2 : 0))) {
            printf("    in case %zu\n", i);
        }
        CHECK(status == MG_OK || memcmp(words, before, (STATE - 1) * sizeof *words) == 0);
        memcpy(words, before, sizeof words);
    }
    const int32_t bad[] = {-1, SMALL_VOCAB};
    for (size_t i = 0; i < 2; i++) { /* also where it is not the first */
        given[0] = 0;
        given[1] = bad[i];
        CHECK(mg_sampler_probabilities(sampler, given, 2, p, SMALL_VOCAB) == MG_SHAPE);
        CHECK(mg_sampler_probabilities(sampler, given, 1, p, SMALL_VOCAB) == MG_OK);
    }
    CHECK(mg_sampler_probabilities(sampler, given, 1, p, SMALL_VOCAB - 1) == MG_SHAPE);
    CHECK(mg_sampler_probabilities(sampler, given, 0, p, SMALL_VOCAB) == MG_SHAPE);
    /* one token has no numbers: whole texts are drawn until it comes */
    CHECK(mg_set_value(m.tape, m.wte + 3 * SMALL_EMBD, INFINITY) == MG_OK);
    CHECK(mg_sampler_run(sampler, &rule, given, 1, TEXTS, words, STATE, found, MOST, lengths, &done) == MG_NOT_FINITE);
    CHECK(done < TEXTS);
    memcpy(again, before, sizeof again);
    int32_t part_lengths[TEXTS];
    CHECK(mg_sampler_run(sampler, &rule, given, 1, done, again, STATE, whole, MOST, part_lengths, &part) == MG_OK);
    CHECK(part == done && memcmp(words, again, sizeof words) == 0);
    CHECK(memcmp(lengths, part_lengths, done * sizeof *lengths) == 0);
    given[0] = 3;
    CHECK(mg_sampler_run(sampler, &rule, given, 1, 1, words, STATE, found, MOST, lengths, &done) == MG_NOT_FINITE);
    CHECK(mg_sampler_probabilities(sampler, given, 1, p, SMALL_VOCAB) == MG_NOT_FINITE);
    given[0] = 0;
    CHECK(mg_tape_close(m.tape) == MG_OK);
    CHECK(mg_sampler_run(sampler, &rule, given, 1, 1, words, STATE, found, MOST, lengths, &done) == MG_CLOSED);
    CHECK(mg_sampler_probabilities(sampler, given, 1, p, SMALL_VOCAB) == MG_CLOSED);
    mg_sampler_free(sampler);
    mg_program_free(program);
    mg_tape_free(m.tape);
}

/* What is drawn at a position must be the next one's token, of as many as there are, and nothing may read it before. */
static void other_inputs_are_refused(void) {
    static const struct {
        size_t shift, drawn, words;
        bool known;
    } cases[] = {{0, 1, SMALL_VOCAB, true},      {0, 0, SMALL_VOCAB, false},     {1, 1, SMALL_VOCAB, false},
                 {0, 2, SMALL_VOCAB, false},     {2, 1, SMALL_VOCAB, false},     {1, 2, SMALL_VOCAB, false},
                 {0, 1, SMALL_VOCAB - 1, false}};
    double numbers[SMALL_NUMBERS] = {0.5, 0.25, -1};
    const int32_t tokens[SMALL_POSITIONS + 1] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        small_model m = begin_small(numbers);
        record_small(&m, 0, tokens);
        mg_program *program = small_program(&m, 0, cases[i].shift, cases[i].drawn, cases[i].words);
        mg_sampler *sampler = mg_sampler_new(program);
        CHECK((sampler != NULL) == cases[i].known);
        CHECK(mg_tape_take_status(m.tape) == (cases[i].known ? MG_OK : MG_OPERATION));
        mg_sampler_free(sampler);
        mg_program_free(program);
        mg_tape_free(m.tape);
    }
}

int main(void) {
    RUN(samplers_are_recordings);
    RUN(samplers_do_not_mix);
    RUN(other_models_are_recordings);
    RUN(a_call_is_as_the_first);
    RUN(greedy_texts_are_the_likeliest);
    RUN(what_a_sampler_cannot_do_is_refused);
    RUN(other_inputs_are_refused);
    RUN(what_is_no_sampler_is_refused);
    return verdict();
}
