/* calls.h: bytes as a sequence of public calls with wild arguments, over several tapes, programs, trainers and samplers. Used by
 * the fuzzer (fuzz_calls.c), and with random bytes by test_calls.c.
 *
 * After every call the invariants of all tapes and programs are checked. Arguments are wild in all that a caller may
 * get wrong, but not in what C leaves to him: buffers are as long as he says, and pointers are of things not yet freed.
 */
#ifndef CALLS_H
#define CALLS_H

#include "compositions.h"
#include "invariants.h"

#include <pthread.h>
#include <string.h>

enum { TAPES = 3, RUNS = 32, PROGRAMS = 6, TRAINERS = 3, SAMPLERS = 2, MARKS = 8, NUMBERS = 2048, LIST = 24, TOKENS = 24 };

typedef struct {
    mg_id first;
    size_t n;
} lane_run;

typedef struct {
    mg_tape *tape;
    lane_run run[RUNS];
    mg_mark mark[MARKS];
} used_tape;

typedef struct {
    mg_program *program;
    mg_id first[2]; /* parameters, if it is of a model */
    size_t sizes[2];
} used_program;

typedef struct {
    const uint8_t *byte;
    size_t left;
    used_tape tape[TAPES];
    used_program program[PROGRAMS];
    mg_trainer *trainer[TRAINERS];
    size_t parameters[TRAINERS];
    mg_sampler *sampler[SAMPLERS];
    double numbers[NUMBERS], more[NUMBERS];
    const char *broken; /* an invariant that does not hold */
    bool deep;          /* inside a call that another call is made of */
} world;

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static inline uint8_t take_byte(world *w) {
    if (w->left == 0) {
        return 0;
    }
    w->left--;
    return *w->byte++;
}

static inline size_t take_below(world *w, size_t n) { return take_byte(w) % n; }

static inline bool take_rarely(world *w) { return take_byte(w) >= 240; }

static inline double take_number(world *w) {
    static const double numbers[] = {0,   -0.0, 1,     -1,   0.5,     2,    -3,  1e-3,     1e300,
                                     700, 800,  -1e-8, 1e-5, 5e-324, -745, NAN, INFINITY, -INFINITY};
    return numbers[take_below(w, sizeof numbers / sizeof *numbers)];
}

static inline size_t take_size(world *w) {
    static const uint64_t wild[] = {0,         MG_MAX_SLOTS - 1, MG_MAX_SLOTS, MG_MAX_SLOTS + 1, (uint64_t)1 << 32,
                                    UINT64_MAX, UINT64_MAX / 2,  ((uint64_t)1 << 63) + 1};
    const uint8_t kind = take_byte(w);
    const size_t more = kind < 190 ? kind % 9 : take_byte(w);
    return kind < 220   ? 1 + more
           : kind < 244 ? MG_PAGE - 2 + more % 5
                        : (size_t)wild[more % (sizeof wild / sizeof *wild)];
}

/* A size of something that holds no more than `most`, or one that no tape can have. */
static inline size_t take_size_within(world *w, size_t most) {
    const size_t n = take_size(w);
    return n <= most || n > MG_MAX_SLOTS ? n : n % (most + 1);
}

static inline used_tape *take_tape(world *w) { return &w->tape[take_below(w, TAPES)]; }

static inline lane_run take_run(world *w, const used_tape *t) {
    lane_run run = t->run[take_below(w, RUNS)];
    const uint8_t kind = take_byte(w);
    if (kind >= 250) {
        run.first = kind & 1 ? MG_NONE : run.first - 1;
    } else if (kind >= 246) {
        run.first += run.n;
    } else if (kind >= 242) {
        run = w->tape[kind % TAPES].run[take_below(w, RUNS)];
    }
    return run;
}

static inline mg_id take_id(world *w, const used_tape *t) {
    const lane_run run = take_run(w, t);
    return run.first + (run.n > 1 ? take_byte(w) % run.n : 0);
}

static inline void note(world *w, used_tape *t, mg_id first, size_t n) {
    if (first != MG_NONE) {
        t->run[take_below(w, RUNS)] = (lane_run){first, n};
    }
}

/* A view for n lanes a group; its list is in `list`. */
static inline mg_view take_view(world *w, const used_tape *t, size_t groups, size_t width, size_t terms, mg_id *list) {
    const lane_run run = take_run(w, t);
    const uint8_t kind = take_byte(w);
    mg_view view = {.first = run.first, .lane = 1};
    (void)groups;
    if (kind & 1) {
        view.lane = kind & 2 ? 0 : terms;
        view.term = 1;
    }
    if (kind & 4) {
        view.group = kind & 8 ? width : terms;
    }
    if ((kind & 0x30) == 0x30) {
        view.by_term = kind & 0x40;
        view.block = kind & 0x80 ? 1 : take_size(w);
        const size_t listed = view.by_term ? terms : width;
        view.entries = view.block > 0 && listed > 0 ? (listed - 1) / view.block + 1 : take_below(w, LIST);
        view.entries = view.entries > LIST ? LIST : view.entries;
        view.list = list;
        for (size_t e = 0; e < LIST; e++) {
            list[e] = e < view.entries ? take_id(w, t) : MG_NONE;
        }
    }
    if (take_rarely(w)) {
        view.group = take_size(w);
        view.lane = take_size(w);
        view.term = take_size(w);
    }
    return view;
}

/* What is not refused must not take long. */
static inline bool is_affordable(size_t groups, size_t width, size_t terms) {
    const double work = (double)groups * (double)width * (double)terms;
    return work < 5000 || work > (double)MG_MAX_SLOTS * 1.01;
}

static inline mg_optimizer take_optimizer(world *w) {
    const uint8_t kind = take_byte(w);
    return (mg_optimizer){.kind = kind < 240 ? kind % MG_OPTIMIZER_COUNT : (int32_t)kind - 250,
                          .beta1 = kind & 16 ? 0.9 : take_number(w),
                          .beta2 = kind & 32 ? 0.95 : take_number(w),
                          .epsilon = kind & 64 ? 1e-8 : take_number(w),
                          .weight_decay = 0.1,
                          .momentum = kind & 128 ? 0.9 : take_number(w)};
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static inline void call_makers(world *w) {
    used_tape *t = take_tape(w);
    mg_tape *tape = t->tape;
    mg_id list[2][LIST];
    const int32_t operation = (int32_t)take_below(w, MG_OPERATION_COUNT + 3) - 1;
    size_t n, groups, width, terms;
    switch (take_below(w, 12)) {
    case 0: note(w, t, mg_leaf(tape, take_number(w)), 1); break;
    case 1:
        n = take_size_within(w, NUMBERS);
        w->numbers[0] = take_number(w);
        if (n <= NUMBERS) {
            note(w, t, mg_leaves(tape, w->numbers, n), n);
        }
        break;
    case 2: note(w, t, mg_unary(tape, operation, take_id(w, t)), 1); break;
    case 3: note(w, t, mg_unary_with(tape, operation, take_id(w, t), take_number(w)), 1); break;
    case 4: note(w, t, mg_binary(tape, operation, take_id(w, t), take_id(w, t)), 1); break;
    case 5: note(w, t, mg_binary_with(tape, operation, take_id(w, t), take_number(w)), 1); break;
    case 6:
        n = take_below(w, LIST);
        for (size_t k = 0; k < n; k++) {
            list[0][k] = take_id(w, t);
            w->more[k] = take_number(w);
        }
        note(w, t, mg_custom(tape, take_number(w), list[0], w->more, n), 1);
        mg_set_partials(tape, take_id(w, t), w->more, take_rarely(w) ? take_below(w, LIST) : n);
        break;
    case 7:
    case 8: {
        groups = take_byte(w) < 200 ? 1 : take_size(w);
        width = take_size(w);
        const mg_view a = take_view(w, t, groups, width, 1, list[0]), b = take_view(w, t, groups, width, 1, list[1]);
        if (is_affordable(groups, width, 1)) {
            const bool two = take_byte(w) & 1;
            note(w, t, mg_map(tape, operation, groups, width, &a, two ? &b : NULL, take_number(w)), groups * width);
        }
        break;
    }
    case 9:
    case 10: {
        groups = take_byte(w) < 200 ? 1 : take_size(w);
        width = take_size(w);
        terms = take_size(w);
        const mg_view a = take_view(w, t, groups, width, terms, list[0]);
        const mg_view b = take_view(w, t, groups, width, terms, list[1]);
        if (is_affordable(groups, width, terms)) {
            const bool two = take_byte(w) & 1;
            note(w, t, mg_sum(tape, groups, width, terms, &a, two ? &b : NULL), groups * width);
        }
        break;
    }
    default: {
        groups = take_size(w);
        terms = take_size(w);
        const mg_view x = take_view(w, t, groups, 1, terms, list[0]);
        if (is_affordable(groups, 1, terms)) {
            note(w, t, mg_largest(tape, groups, terms, &x), groups);
        }
    }
    }
}

static inline void call_readers(world *w) {
    used_tape *t = take_tape(w);
    mg_tape *tape = t->tape;
    const lane_run run = take_run(w, t);
    const size_t n = take_byte(w) < 128 ? run.n : take_size(w);
    const bool fits = n <= NUMBERS || n > MG_MAX_SLOTS;
    mg_id operands[NUMBERS];
    switch (take_below(w, 13)) {
    case 0: mg_value(tape, run.first); break;
    case 1: mg_adjoint(tape, run.first); break;
    case 2: mg_set_value(tape, run.first, take_number(w)); break;
    case 3: mg_set_adjoint(tape, run.first, take_number(w)); break;
    case 4: fits ? mg_read_values(tape, run.first, n, w->numbers) : MG_OK; break;
    case 5: fits ? mg_read_adjoints(tape, run.first, n, w->numbers) : MG_OK; break;
    case 6: fits ? mg_write_values(tape, run.first, n, w->numbers) : MG_OK; break;
    case 7: fits ? mg_write_adjoints(tape, run.first, n, w->numbers) : MG_OK; break;
    case 8: mg_clear_adjoints(tape, run.first, n); break;
    case 9: mg_lane_operation(tape, run.first), mg_lane_constant(tape, run.first); break;
    case 10:
        if (mg_lane_operand_count(tape, run.first) <= NUMBERS) {
            mg_lane_operands(tape, run.first, operands, w->more);
        }
        break;
    case 11: n <= NUMBERS ? mg_set_partials(tape, run.first, w->numbers, n) : MG_OK; break;
    default: mg_tape_memory(tape), mg_operation_name((int32_t)n), mg_operation_arity((int32_t)n),
             mg_operation_constant((int32_t)n), mg_operation_python((int32_t)n, (int32_t)take_below(w, 5)),
             mg_status_text((mg_status)(n % 64));
    }
}

static inline void call_positions(world *w) {
    used_tape *t = take_tape(w);
    mg_tape *tape = t->tape;
    mg_id roots[LIST];
    size_t sizes[LIST], n;
    switch (take_below(w, 8)) {
    case 0:
    case 1: t->mark[take_below(w, MARKS)] = mg_tape_mark(tape); break;
    case 2: mg_tape_rewind(tape, t->mark[take_below(w, MARKS)]); break;
    case 3: mg_tape_rewind(tape, take_byte(w) < 250 ? take_id(w, t) : take_size(w)); break;
    case 4:
    case 5:
        n = take_below(w, LIST);
        for (size_t r = 0; r < n; r++) {
            const lane_run run = take_run(w, t);
            roots[r] = run.first;
            sizes[r] = take_rarely(w) ? take_size(w) : run.n;
        }
        if (take_byte(w) & 1) {
            mg_tape_collect(tape, roots, sizes, n);
        } else {
            uint64_t threads[LIST];
            size_t count;
            mg_tape_now(tape, &t->mark[take_below(w, MARKS)], roots, sizes, threads, take_below(w, n + 1), &count);
            mg_tape_collect_since(tape, roots, sizes, n, t->mark[take_below(w, MARKS)]);
        }
        break;
    case 6: {
        const uint8_t kind = take_byte(w);
        if (kind < 128) {
            mg_tape_record_quietly(tape, kind & 1);
        } else if (kind < 192) {
            mg_tape_follow(tape, kind & 1);
        } else {
            mg_no_grad(kind & 1);
        }
        break;
    }
    default: mg_tape_adopt(tape);
    }
}

static inline void call_lifecycle(world *w) {
    used_tape *t = take_tape(w);
    const uint8_t kind = take_byte(w);
    if (kind < 24) {
        mg_tape_close(t->tape);
    } else if (kind < 128) {
        mg_tape_free(t->tape);
        t->tape = mg_tape_new();
    } else {
        mg_tape_fail_allocation(t->tape, take_byte(w) % 24);
    }
}

static inline void call_sweeps(world *w) {
    used_tape *t = take_tape(w);
    mg_id first[2];
    size_t sizes[2], parameters = 0;
    const size_t count = take_below(w, 3);
    for (size_t r = 0; r < count; r++) {
        const lane_run run = take_run(w, t);
        first[r] = run.first;
        sizes[r] = run.n;
        parameters += run.n;
    }
    parameters = take_rarely(w) ? take_size_within(w, NUMBERS) : parameters;
    parameters = parameters > NUMBERS ? NUMBERS : parameters;
    const mg_optimizer optimizer = take_optimizer(w);
    switch (take_below(w, 6)) {
    case 0:
        memset(w->numbers, 0, sizeof w->numbers);
        memset(w->more, 0, sizeof w->more);
        mg_optimizer_step(t->tape, first, sizes, count, w->numbers, w->more, parameters, &optimizer, take_byte(w), 0.1);
        break;
    case 1: mg_gradients_add(t->tape, first, sizes, count, w->numbers, parameters); break;
    case 2: mg_gradients_mean(t->tape, first, sizes, count, w->numbers, parameters, take_number(w)); break;
    default: mg_sweep(t->tape, take_id(w, t));
    }
}

/* Where a new program goes; what was there is freed. */
static inline used_program *new_program(world *w, mg_program *program) {
    used_program *p = &w->program[take_below(w, PROGRAMS)];
    mg_program_free(p->program);
    *p = (used_program){.program = program};
    return p;
}

/* A model of a text: so many positions that the same statements are recorded for, with its inputs bound. */
static inline void call_model(world *w) {
    used_tape *t = take_tape(w);
    mg_tape *tape = t->tape;
    const size_t positions = 1 + take_below(w, 10), e = 1 + take_below(w, 4), vocab = 1 + take_below(w, 4);
    const uint8_t form = take_byte(w), odd = take_byte(w);
    mg_id losses[10], keys[10], probabilities[10], inputs[10], logarithms[10];
    for (size_t i = 0; i < NUMBERS; i++) {
        w->numbers[i] = 0.3 - 0.01 * (double)(i * 37 % 61);
    }
    const mg_id table = mg_leaves(tape, w->numbers, vocab * e);
    const mg_id head = mg_leaves(tape, w->numbers + 50, vocab * e + e * e);
    for (size_t at = 0; at < positions; at++) {
        mg_id x = record_scale_by(tape, table + (mg_id)(at % vocab * e), e, form & 1 ? 1.5 : 1);
        inputs[at] = x;
        x = form & 2 ? record_rmsnorm(tape, x, e) : x;
        if (form & 4) {
            keys[at] = record_linear(tape, x, head + vocab * e, e, e);
            x = record_attention(tape, form & 8 ? x : keys[at], keys, keys, at + 1, 1, e);
        }
        x = form & 16 && at > 0 ? record_add(tape, x, inputs[at - 1], e) : x;
        probabilities[at] = record_softmax(tape, record_linear(tape, x, form & 32 ? table : head, vocab, e), vocab);
        logarithms[at] = record_map(tape, MG_LOG, probabilities[at] + at % vocab, 1, 0);
        losses[at] = record_map(tape, MG_MUL, logarithms[at], 1, -1);
        note(w, t, probabilities[at], vocab);
    }
    const mg_id mean = record_mean(tape, losses, positions);
    note(w, t, table, vocab * e);
    note(w, t, mean, 1);
    used_program *p = new_program(w, mg_program_new(tape, mean, 0));
    p->first[0] = table;
    p->first[1] = head;
    p->sizes[0] = vocab * e;
    p->sizes[1] = vocab * e + e * e;
    for (size_t at = 0; p->program != NULL && at < positions && odd < 250; at++) {
        mg_program_bind(p->program, at, inputs[at], 0, 0, table, e, vocab);
        mg_program_bind(p->program, odd & 64 ? at : at + 1, logarithms[at], 0, 0, probabilities[at], 1, vocab);
    }
    if (p->program != NULL && odd < 240) {
        mg_program_plan(p->program);
    }
}

static inline void call_programs(world *w) {
    const size_t which = take_below(w, PROGRAMS);
    mg_program *program = w->program[which].program;
    used_tape *t = take_tape(w);
    int32_t values[TOKENS];
    const uint8_t kind = take_byte(w);
    if (program == NULL || kind < 16) {
        const mg_mark since = kind & 1 ? 0 : t->mark[take_below(w, MARKS)];
        new_program(w, mg_program_new(t->tape, take_id(w, t), since));
        return;
    }
    switch (kind % 12) {
    case 0:
        mg_program_free(program);
        w->program[which].program = NULL;
        break;
    case 1:
    case 2: {
        const lane_run table = take_run(w, t);
        const size_t input = take_rarely(w) ? SIZE_MAX - take_below(w, 3) : take_below(w, TOKENS);
        const size_t size = take_byte(w) & 1 ? 1 : take_size(w);
        mg_program_bind(program, input, take_id(w, t), take_below(w, 3), take_below(w, 3), table.first, size,
                        take_byte(w) & 1 ? table.n / (size > 0 ? size : 1) : take_size(w));
        break;
    }
    case 3:
    case 4:
        for (size_t i = 0; i < TOKENS; i++) {
            const uint8_t value = take_byte(w);
            values[i] = value < 250 ? value % 4 : value == 255 ? INT32_MIN : value - 251;
        }
        if (program->inputs <= TOKENS) {
            mg_program_set(program, values, take_rarely(w) ? take_below(w, TOKENS) : program->inputs);
        }
        break;
    case 5: {
        mg_program *other = w->program[take_below(w, PROGRAMS)].program;
        bool begins;
        mg_program_losses(program, take_size(w));
        if (other != NULL) {
            mg_program_begins(program, other, take_rarely(w) ? UINT64_MAX : t->mark[take_below(w, MARKS)], &begins);
        }
        break;
    }
    case 6: mg_program_plan(program), mg_program_why_not_planned(program); break;
    case 7:
    case 8: mg_program_reverse(program); break;
    default: mg_program_forward(program);
    }
}

static inline void call_trainers(world *w) {
    const size_t which = take_below(w, TRAINERS);
    mg_trainer *trainer = w->trainer[which];
    int32_t tokens[TOKENS];
    size_t starts[5] = {0}, done, parameters;
    double rates[4], losses[8];
    uint64_t steps;
    const uint8_t kind = take_byte(w);
    if (trainer == NULL) {
        const used_program *p = &w->program[take_below(w, PROGRAMS)];
        const mg_optimizer optimizer = take_optimizer(w);
        mg_id first[2] = {p->first[0], p->first[1]};
        size_t sizes[2] = {p->sizes[0], p->sizes[1]};
        if (kind >= 240) {
            const lane_run run = take_run(w, take_tape(w));
            first[kind & 1] = run.first;
            sizes[kind & 1] = take_byte(w) & 1 ? run.n : take_size(w);
        }
        if (p->program != NULL) {
            const size_t count = kind & 32 ? 2 : kind % 3;
            w->trainer[which] = mg_trainer_new(p->program, first, sizes, count, &optimizer, kind & 64);
            w->parameters[which] = (count > 0 ? sizes[0] : 0) + (count > 1 ? sizes[1] : 0);
        }
        return;
    }
    for (size_t i = 0; i < TOKENS; i++) {
        const uint8_t token = take_byte(w);
        tokens[i] = token < 250 ? token % 4 : token == 255 ? INT32_MIN : token - 251;
    }
    for (size_t d = 1; d < 5; d++) {
        starts[d] = starts[d - 1] + take_below(w, 7);
        starts[d] = starts[d] > TOKENS ? TOKENS : starts[d];
        rates[d - 1] = take_number(w);
    }
    switch (kind % 11) {
    case 10:
        mg_trainer_use_threads(trainer, take_byte(w) < 250 ? 1 + take_below(w, 3) : take_size(w));
        if (take_rarely(w)) {
            mg_trainer_interrupt(trainer);
        }
        break;
    case 8: { /* a step in parts, with documents of their own and buffers of other sizes */
        const size_t count = 1 + take_below(w, 4), width = take_size(w), row = w->parameters[which] * sizeof(double);
        const size_t bytes = take_rarely(w) ? take_size(w) % sizeof w->numbers : count * row;
        if (bytes <= sizeof w->numbers) {
            mg_trainer_gradients(trainer, tokens, starts, take_below(w, 5), take_below(w, 5), count, width, w->numbers,
                                 bytes, losses, &done);
        }
        break;
    }
    case 9:
        parameters = take_rarely(w) ? take_size(w) % NUMBERS : w->parameters[which] % NUMBERS;
        mg_trainer_add_rows(trainer, w->numbers, take_below(w, 3) * parameters * sizeof(double), w->more,
                            parameters * sizeof(double));
        mg_trainer_apply(trainer, w->more, parameters * sizeof(double), take_below(w, 4), take_number(w));
        break;
    case 0:
        mg_trainer_free(trainer);
        w->trainer[which] = NULL;
        break;
    case 1: mg_trainer_losses(trainer, tokens, starts, take_below(w, 6), take_below(w, 5), losses); break;
    case 2:
        parameters = take_rarely(w) ? take_size(w) : w->parameters[which];
        parameters = parameters > NUMBERS ? 0 : parameters;
        if (mg_trainer_read_state(trainer, w->numbers, w->more, parameters, &steps) == MG_OK) {
            mg_trainer_write_state(trainer, w->numbers, w->more, parameters, steps + take_below(w, 3));
        }
        break;
    default:
        parameters = take_rarely(w) ? take_size(w) % 300 : take_below(w, kind & 16 ? 4 : 24); /* a batch's documents */
        mg_trainer_run(trainer, tokens, starts, take_below(w, 5), parameters, rates, take_below(w, 5), losses, &done);
    }
}

static inline void call_samplers(world *w) {
    enum { TEXTS = 4, ROOM = TEXTS * 12, WORDS = 625 };
    const size_t which = take_below(w, SAMPLERS);
    mg_sampler *sampler = w->sampler[which];
    int32_t given[4], tokens[ROOM], lengths[TEXTS];
    const uint8_t kind = take_byte(w);
    if (sampler == NULL) {
        const used_program *p = &w->program[take_below(w, PROGRAMS)];
        w->sampler[which] = p->program != NULL ? mg_sampler_new(p->program) : NULL;
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        given[i] = take_rarely(w) ? (int32_t)take_size(w) : (int32_t)take_below(w, 2);
    }
    const size_t count = take_rarely(w) ? take_below(w, 5) : 1 + take_below(w, 3);
    if (kind < 20) {
        mg_sampler_free(sampler);
        w->sampler[which] = NULL;
    } else if (kind < 90) {
        const size_t n = take_rarely(w) ? take_size_within(w, NUMBERS) : 1 + take_below(w, 4);
        mg_sampler_probabilities(sampler, given, count, w->numbers, n);
    } else {
        uint32_t state[WORDS];
        size_t done;
        const mg_sampling settings = {.greedy = kind & 1,
                                      .top_k = take_rarely(w) ? take_size(w) : take_below(w, 4),
                                      .top_p = kind & 2 ? 0.0 : kind & 4 ? 0.75 : take_number(w),
                                      .end = (int32_t)take_below(w, 3) - 1};
        for (size_t i = 0; i < WORDS; i++) {
            state[i] = (uint32_t)i * 2654435761U + kind;
        }
        state[WORDS - 1] = take_rarely(w) ? (uint32_t)take_size(w) : (uint32_t)(WORDS - 1 - take_below(w, 9));
        const size_t room = take_rarely(w) ? take_size_within(w, ROOM) : ROOM;
        if (room <= ROOM) {
            mg_sampler_run(sampler, &settings, given, count, take_rarely(w) ? take_size_within(w, TEXTS) % (TEXTS + 1) : 3,
                           state, take_rarely(w) ? take_below(w, WORDS) : WORDS, tokens, room, lengths, &done);
        }
    }
}

/* ---- the sequence ------------------------------------------------------------------------------------------------ */

static inline void check_tape(world *w, const mg_tape *tape) {
    w->broken = w->broken == NULL && tape != NULL ? broken_tape(tape) : w->broken;
}

/* Trainers and samplers keep programs that their owner has freed, and these keep tapes. */
static inline void check_all(world *w) {
    for (size_t t = 0; t < TAPES; t++) {
        check_tape(w, w->tape[t].tape);
    }
    for (size_t p = 0; p < PROGRAMS && w->broken == NULL; p++) {
        if (w->program[p].program != NULL) {
            w->broken = broken_program(w->program[p].program);
        }
    }
    for (size_t r = 0; r < TRAINERS && w->broken == NULL; r++) {
        if (w->trainer[r] != NULL) {
            w->broken = broken_trainer(w->trainer[r]);
        }
    }
}

static inline void call_one(world *w);

static void *call_elsewhere(void *context) {
    world *w = context;
    if (take_byte(w) & 1) {
        mg_tape_adopt(w->tape[take_below(w, TAPES)].tape);
    }
    call_one(w);
    return NULL;
}

/* Another thread tries to take a tape over, and to use it, while this one does. */
static void *call_meanwhile(void *context) {
    mg_tape *tape = context;
    for (int i = 0; i < 20; i++) {
        mg_tape_adopt(tape);
        mg_leaf(tape, 1);
        mg_tape_memory(tape);
        mg_tape_take_status(tape);
    }
    return NULL;
}

static inline void call_one(world *w) {
    const uint8_t kind = take_byte(w);
    pthread_t thread;
    if (kind < 90) {
        call_makers(w);
    } else if (kind < 120) {
        call_readers(w);
    } else if (kind < 150) {
        call_positions(w);
    } else if (kind < 158) {
        call_lifecycle(w);
    } else if (kind < 180) {
        call_sweeps(w);
    } else if (kind < 186) {
        call_model(w);
    } else if (kind < 216) {
        call_programs(w);
    } else if (kind < 238) {
        call_trainers(w);
    } else if (kind < 247) {
        call_samplers(w);
    } else if (!w->deep) {
        w->deep = true;
        used_tape *t = take_tape(w);
        if (kind < 252 && pthread_create(&thread, NULL, call_elsewhere, w) == 0) {
            pthread_join(thread, NULL);
        } else if (pthread_create(&thread, NULL, call_meanwhile, t->tape) == 0) {
            for (int i = 0; i < 8; i++) {
                mg_sweep(t->tape, take_id(w, t));
            }
            pthread_join(thread, NULL);
        }
        for (size_t a = 0; a < TAPES && take_byte(w) & 3; a++) {
            mg_tape_adopt(w->tape[a].tape);
        }
        w->deep = false;
    }
}

/* Performs the calls that the bytes say. Returns NULL, or the invariant that a call broke. */
static inline const char *perform_calls(const uint8_t *bytes, size_t n) {
    world *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->byte = bytes;
    w->left = n;
    for (size_t t = 0; t < TAPES; t++) {
        w->tape[t].tape = mg_tape_new();
    }
    for (size_t calls = 0; w->left > 0 && w->broken == NULL && calls < 200; calls++) {
        call_one(w);
        if (!take_rarely(w)) {
            for (size_t t = 0; t < TAPES; t++) {
                mg_tape_take_status(w->tape[t].tape);
                mg_tape_fail_allocation(w->tape[t].tape, 0);
            }
        }
        check_all(w);
    }
    const bool tapes_first = take_byte(w) & 1;
    for (size_t t = 0; tapes_first && t < TAPES; t++) {
        mg_tape_free(w->tape[t].tape);
    }
    for (size_t p = 0; p < PROGRAMS; p++) {
        mg_program_free(w->program[p].program);
    }
    for (size_t r = 0; r < TRAINERS; r++) {
        mg_trainer_free(w->trainer[r]);
    }
    for (size_t s = 0; s < SAMPLERS; s++) {
        mg_sampler_free(w->sampler[s]);
    }
    for (size_t t = 0; !tapes_first && t < TAPES; t++) {
        mg_tape_free(w->tape[t].tape);
    }
    mg_no_grad(false);
    const char *broken = w->broken;
    free(w);
    return broken;
}

#endif
