/* test_plans.c: models whose positions are computed together, against recording everything anew on a tape of its own, bit
 * for bit.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "models.h"
#include "summaries.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Replays with other parameters and tokens, and compares with recording anew. */
static void replay(model_shape shape, uint64_t seed, int rounds) {
    uint64_t state = seed;
    const size_t e = shape.embd, n = (2 * shape.vocab + MOST_TOKENS) * e + shape.layers * 12 * e * e;
    double *numbers = allocate(n, sizeof *numbers);
    int32_t tokens[MOST_TOKENS + 1];
    random_numbers(&state, numbers, n);
    random_tokens(&state, tokens, &shape);
    recording r = begin(shape, numbers);
    CHECK(parameters_of(&r) == n);
    record_model(&r, tokens);
    mg_program *program = bound_program(&r);
    bool same = CHECK(program != NULL) && CHECK(is_planned(program));
    for (int round = 0; same && round < rounds; round++) {
        random_numbers(&state, numbers, n);
        random_tokens(&state, tokens, &shape);
        const double *from = numbers;
        for (size_t p = 0; p < r.runs; from += r.sizes[p++]) {
            CHECK(mg_write_values(r.tape, r.parameters[p], r.sizes[p], from) == MG_OK);
            CHECK(mg_clear_adjoints(r.tape, r.parameters[p], r.sizes[p]) == MG_OK);
        }
        recording fresh = begin(shape, numbers);
        record_model(&fresh, tokens);
        CHECK(mg_sweep(fresh.tape, fresh.loss) == MG_OK);
        CHECK(mg_program_set(program, tokens, shape.positions + 1) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(program->in_plan); /* and not statement by statement, which has the same numbers */
        same = same_recordings(&r, &fresh);
        end(&fresh);
    }
    if (!same) {
        printf("    with n_embd %zu, %zu heads, %zu layers, %zu positions, vocabulary %zu\n", e, shape.heads,
               shape.layers, shape.positions, shape.vocab);
    }
    mg_program_free(program);
    end(&r);
    free(numbers);
}

static void plans_are_recordings(void) {
    static const model_shape shapes[] = {
        {1, 1, 1, 1, 1, false, false, false, false},  {2, 2, 1, 2, 3, true, false, false, false},
        {8, 2, 1, 2, 6, true, false, false, false},
        {6, 3, 2, 7, 5, false, true, false, false},   {8, 2, 1, 8, 27, true, false, false, false},
        {12, 3, 1, 9, 11, true, true, false, false},  {16, 4, 1, 8, 27, true, false, false, false},
        {16, 4, 1, 16, 27, false, false, false, false}, {15, 5, 3, 17, 4, false, false, false, false},
        {7, 1, 2, 25, 9, true, false, false, false},  {24, 2, 1, 3, 40, true, true, false, false},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        replay(shapes[s], 100 + s, small_run() ? 1 : 5);
    }
}

static void random_shapes_are_recordings(void) {
    uint64_t state = 9;
    for (int i = 0; i < (small_run() ? 5 : 60); i++) {
        const size_t heads = 1 + random_below(&state, 4);
        model_shape shape = {.embd = heads * (1 + random_below(&state, 5)), .heads = heads,
                       .layers = 1 + random_below(&state, 2), .positions = 1 + random_below(&state, 18),
                       .vocab = 1 + random_below(&state, 30), .squared = random_below(&state, 2),
                       .swapped = random_below(&state, 2)};
        replay(shape, 1000 + (uint64_t)i, 2);
    }
}

/* What a plan knows of its steps; of one head, queries, keys and values have no groups. */
static void plans_keep_their_quick_ways(void) {
    const struct {
        model_shape shape;
        const char *summary;
    } models[] = {
        {{8, 2, 1, 5, 6, true, false, false, true},
         "47 steps, 2 gathers, 5 fans, 1 exceptions, 41 actions; uniform 21 43; spread 22.1 44.1; cut 19; without "
         "derivative 16 17 38 39; chosen 41 42 43 44; partial 43 44; partials 4 9 21 29 43 45; cleared 44 46; added "
         "later 1.0 1.1 6.0 6.1 10.0 12.1 13.1 16.0 20.0 26.0 26.1 30.0 38.0 42.0 45.0; adds rows 0; ends 0; "
         "matrices 2 3 4 5 6 7 8; gathered 0 1; rows 271 + 10, adjoints 245 + 12, turned 72, lanes 32 + 2, aside 8, "
         "work 846 + 18"},
        {{7, 1, 2, 25, 9, true, false, false, false},
         "76 steps, 2 gathers, 11 fans, 2 exceptions, 68 actions; uniform 21 51 72; spread 22.1 52.1 73.1; cut 19 "
         "49; without derivative 16 17 46 47 67 68; chosen 70 71 72 73; partial 72 73; partials 4 9 21 29 39 51 59 "
         "72 74; cleared 73 75; added later 1.0 1.1 6.0 6.1 10.0 11.1 12.1 16.0 20.0 26.0 26.1 30.0 36.0 36.1 40.0 "
         "41.1 42.1 46.0 50.0 56.0 56.1 60.0 67.0 71.0 74.0; adds rows 0; ends 0; matrices 2 3 4 5 6 7 8 9 10 11 12 "
         "13 14; gathered 0 1; rows 415 + 10, adjoints 392 + 12, turned 128, lanes 28 + 1, aside 7, work 1283 + 30"},
    };
    for (size_t m = 0; m < 2; m++) {
        const model_shape shape = models[m].shape;
        const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + shape.layers * 12 * shape.embd * shape.embd;
        double *numbers = allocate(n, sizeof *numbers);
        const int32_t tokens[MOST_TOKENS + 1] = {0};
        recording r = begin(shape, numbers);
        record_model(&r, tokens);
        mg_program *program = bound_program(&r);
        check_summary(program->plan, models[m].summary);
        mg_program_free(program);
        end(&r);
        free(numbers);
    }
}

/* What was recorded after a program, and reads lanes of it, is overwritten by a replay in vectors as by any other. */
static void what_reads_a_replay_is_overwritten(void) {
    const model_shape shape = {8, 2, 1, 5, 6, true, false, false, false};
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + 12 * shape.embd * shape.embd;
    double *numbers = allocate(n, sizeof *numbers);
    int32_t tokens[MOST_TOKENS + 1] = {0};
    uint64_t state = 8;
    random_numbers(&state, numbers, n);
    recording r = begin(shape, numbers);
    record_model(&r, tokens);
    mg_program *program = bound_program(&r);
    const mg_view p = terms_from(r.probabilities[2]);
    const mg_id sum = mg_sum(r.tape, 1, 1, shape.vocab, &p, &p);
    CHECK(mg_sweep(r.tape, sum) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && program->in_plan);
    CHECK(mg_sweep(r.tape, sum) == MG_OVERWRITTEN);
    mg_program_free(program);
    end(&r);
    free(numbers);
}

/* A table that is used twice, and other steps before the softmax, have other orders. */
static void other_orders_are_recordings(void) {
    replay((model_shape){8, 2, 1, 5, 6, true, false, true, false}, 5, 3);
    replay((model_shape){8, 2, 1, 5, 6, true, false, false, true}, 6, 6);
    replay((model_shape){8, 2, 1, 1, 6, true, false, true, true}, 7, 3);
    replay((model_shape){6, 3, 2, 19, 23, false, true, true, true}, 8, 3);
}

/* Operands that run on from a statement's lanes into what was recorded after it, here leaves, are no step's rows. */
static void operands_may_cross_statements(void) {
    enum { N = 3 };
    mg_tape *tape = mg_tape_new();
    double numbers[64];
    uint64_t state = 8;
    for (size_t i = 0; i < 64; i++) {
        numbers[i] = random_between(&state, -1, 1);
    }
    mg_id table = record_leaves(tape, numbers, 24), w = record_leaves(tape, numbers + 24, 20);
    mg_id losses[N], crossing = 0;
    for (size_t t = 0; t < N; t++) {
        mg_id x = record_add(tape, table + 4 * t, table + 12, 4);
        mg_id leaves = record_leaves(tape, numbers + 50, 2);
        CHECK(leaves == x + 4);
        crossing = record_relu(tape, x + 2, 4, false);
        losses[t] = record_surprisal(tape, record_softmax(tape, record_linear(tape, crossing, w, 5, 4), 5) + t);
    }
    mg_id loss = record_mean(tape, losses, N);
    if (CHECK(crossing != MG_NONE)) {
        double before[20], after[20], value = mg_value(tape, loss);
        CHECK(mg_sweep(tape, loss) == MG_OK && mg_read_adjoints(tape, w, 20, before) == MG_OK);
        mg_program *program = mg_program_new(tape, loss, 0);
        CHECK(program != NULL && mg_program_plan(program) == MG_OK && !is_planned(program));
        CHECK(mg_clear_adjoints(tape, w, 20) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(mg_read_adjoints(tape, w, 20, after) == MG_OK);
        CHECK(same_bits(mg_value(tape, loss), value) && same_numbers(before, after, 20));
        mg_program_free(program);
    }
    mg_tape_free(tape);
}

/* Selected lanes of a vector, of which others read lanes too. Of what is multiplied for attention the key may come first: then
   the sweep comes to it before the query at position 0, and after it at the others, which can be told where both are of one
   lane. */
enum { CHOSEN_POSITIONS = 4, CHOSEN_LANES = 12 };
typedef struct {
    bool key_first, both, mapped; /* mapped: the key is a lane of what is computed lane by lane */
} chosen_kind;

static mg_program *program_of_chosen(mg_tape *tape, mg_id table, chosen_kind kind) {
    enum { N = CHOSEN_POSITIONS, V = CHOSEN_LANES };
    mg_id rows[N], x[N], of[N], keys[N], queries[N], totals[N], losses[N];
    for (size_t t = 0; t < N; t++) {
        rows[t] = record_map(tape, MG_EXP, table + t * V, V, 0);
        x[t] = record_map(tape, MG_TANH, rows[t], V, 0);
        of[t] = kind.mapped ? record_map(tape, MG_SIN, x[t], V, 0) : x[t];
        const mg_view terms = terms_from(x[t]);
        totals[t] = mg_sum(tape, 1, 1, V, &terms, NULL);
        keys[t] = record_scale_by(tape, of[t] + t, 1, 0.7);
        queries[t] = record_scale_by(tape, x[t] + 3, 1, 0.9);
        const mg_view past = {.list = keys, .entries = t + 1, .block = 1}, now = one_lane(queries[t]);
        const mg_id logits = mg_sum(tape, 1, t + 1, 1, kind.key_first ? &past : &now, kind.key_first ? &now : &past);
        const mg_view weights = terms_from(record_map(tape, MG_EXP, logits, t + 1, 0));
        const mg_view values = {.list = totals, .entries = t + 1, .block = 1, .by_term = true};
        const mg_id mixed = mg_sum(tape, 1, 1, t + 1, &weights, &values);
        losses[t] = record_map(tape, MG_EXP, record_scale_by(tape, mixed, 1, -0.1), 1, 0);
    }
    mg_program *program = mg_program_new(tape, record_mean(tape, losses, N), 0);
    for (size_t t = 0; t < N; t++) {
        CHECK(mg_program_bind(program, t, rows[t], 0, 0, table, V, V) == MG_OK);
        CHECK(mg_program_bind(program, N + t, keys[t], 0, 0, of[t], 1, V) == MG_OK);
        CHECK(!kind.both || mg_program_bind(program, 2 * N + t, queries[t], 0, 0, x[t], 1, V) == MG_OK);
    }
    return program;
}

static void play_chosen(chosen_kind kind) {
    enum { N = CHOSEN_POSITIONS, V = CHOSEN_LANES };
    double numbers[V * V], planned[V * V], swept[V * V];
    uint64_t state = 3;
    mg_tape *tape = mg_tape_new();
    memset(numbers, 0, sizeof numbers);
    const mg_id table = mg_leaves(tape, numbers, V * V);
    mg_program *program = program_of_chosen(tape, table, kind);
    CHECK(mg_program_plan(program) == MG_OK && is_planned(program) != kind.key_first);
    for (size_t n = 0; n < V * V; n++) {
        int32_t inputs[3 * N];
        for (size_t i = 0; i < V * V; i++) {
            numbers[i] = random_between(&state, -1, 1);
        }
        for (size_t t = 0; t < N; t++) {
            inputs[t] = (int32_t)((5 * t + n) % V);
            inputs[N + t] = (int32_t)((n / V + t) % V);
            inputs[2 * N + t] = (int32_t)((n + t) % V);
        }
        CHECK(mg_write_values(tape, table, V * V, numbers) == MG_OK);
        CHECK(mg_program_set(program, inputs, kind.both ? 3 * N : 2 * N) == MG_OK);
        CHECK(mg_clear_adjoints(tape, table, V * V) == MG_OK && mg_program_forward(program) == MG_OK &&
              mg_program_reverse(program) == MG_OK && mg_read_adjoints(tape, table, V * V, planned) == MG_OK);
        CHECK(mg_clear_adjoints(tape, table, V * V) == MG_OK && mg_compute_plainly(program, N) == MG_OK &&
              mg_sweep_plainly(program, N) == MG_OK && mg_read_adjoints(tape, table, V * V, swept) == MG_OK);
        CHECK(same_numbers(planned, swept, V * V));
    }
    mg_program_free(program);
    mg_tape_free(tape);
}

static void selected_lanes_may_be_read_by_others(void) {
    for (int n = 0; n < 8; n++) {
        play_chosen((chosen_kind){n & 1, n & 2, n & 4});
    }
}

/* Numbers that are not ordinary: the replay fails as the operations do, or has their infinities. */
static void extremes_are_recordings(void) {
    const model_shape shape = {8, 2, 1, 4, 6, true, false, false, false};
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + 12 * shape.embd * shape.embd;
    const double scales[] = {1e5, 1e60, 1e100, 1e155, 1e200, 1e300};
    double *numbers = allocate(n, sizeof *numbers), *zeros = allocate(n, sizeof *zeros), *from;
    uint64_t state = 77;
    int failed = 0, agreed = 0;
    const int rounds = small_run() ? 50 : 600;
    for (int round = 0; round < rounds; round++) {
        int32_t tokens[MOST_TOKENS + 1];
        random_numbers(&state, numbers, n);
        random_tokens(&state, tokens, &shape);
        recording r = begin(shape, numbers);
        record_model(&r, tokens);
        mg_program *program = bound_program(&r);
        CHECK(is_planned(program));
        for (int runs = round % 3; runs >= 0; runs--) { /* of one run of parameters, or of several */
            size_t run = random_below(&state, r.runs), at = 0;
            const double scale = scales[random_below(&state, sizeof scales / sizeof *scales)];
            const bool small = runs > 0 && random_below(&state, 2) == 0;
            for (size_t p = 0; p < run; p++) {
                at += r.sizes[p];
            }
            from = numbers + at;
            for (size_t i = 0; i < r.sizes[run]; i++) {
                from[i] = round % 10 == 0 && i == 3 ? (round % 20 == 0 ? (double)INFINITY : (double)NAN)
                                                    : (small ? from[i] / scale : from[i] * scale);
            }
            CHECK(mg_write_values(r.tape, r.parameters[run], r.sizes[run], from) == MG_OK);
        }
        /* the same on a tape without a plan: a program of the same statements, and one scalar on top */
        recording plain = begin(shape, numbers);
        for (size_t p = 0; p < plain.runs; p++) {
            mg_write_values(plain.tape, plain.parameters[p], plain.sizes[p], zeros);
        }
        record_model(&plain, tokens);
        mg_id top = mg_binary_with(plain.tape, MG_MUL, plain.loss, 1);
        mg_program *one_by_one = mg_program_new(plain.tape, top, 0);
        CHECK(one_by_one != NULL && mg_program_plan(one_by_one) == MG_OK && !is_planned(one_by_one));
        for (size_t p = 0, offset = 0; p < plain.runs; offset += plain.sizes[p++]) {
            mg_write_values(plain.tape, plain.parameters[p], plain.sizes[p], numbers + offset);
        }
        mg_status status = mg_program_forward(program);
        CHECK(status == mg_program_forward(one_by_one));
        failed += status != MG_OK;
        if (status == MG_OK) {
            CHECK(mg_program_reverse(program) == MG_OK && mg_program_reverse(one_by_one) == MG_OK);
            agreed += same_recordings(&r, &plain);
        }
        mg_program_free(program);
        mg_program_free(one_by_one);
        end(&r);
        end(&plain);
    }
    CHECK(failed > 10 && agreed > 10 && failed + agreed == rounds);
    free(numbers);
    free(zeros);
}

/* What an allocation that fails, alone or with all later ones, may not do: lose memory, leave the tape other than it
   was, or be taken for success. */
static void survive_no_memory(bool once) {
    const model_shape shape = {8, 2, 1, 5, 6, true, false, false, false};
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + 12 * shape.embd * shape.embd;
    double *numbers = allocate(n, sizeof *numbers);
    int32_t tokens[MOST_TOKENS + 1];
    uint64_t state = 3, k = 1, step = small_run() && !once ? 3 : 1;
    random_numbers(&state, numbers, n);
    random_tokens(&state, tokens, &shape);
    recording expected = begin(shape, numbers);
    record_model(&expected, tokens);
    CHECK(mg_sweep(expected.tape, expected.loss) == MG_OK);
    for (bool complete = false; !complete && k < 2000; k += step) {
        recording r = begin(shape, numbers);
        record_model(&r, tokens);
        r.tape->fails_once = once;
        mg_tape_fail_allocation(r.tape, k);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        const mg_status status = program != NULL ? bind_and_plan(&r, program) : mg_tape_take_status(r.tape);
        complete = status == MG_OK;
        CHECK((complete || status == MG_NO_MEMORY) && mg_tape_take_status(r.tape) == MG_OK);
        mg_tape_fail_allocation(r.tape, 0);
        if (!complete) {
            CHECK(mg_sweep(r.tape, r.loss) == MG_OK);
            CHECK(same_recordings(&r, &expected)); /* what failed left every number and operand as it was */
            for (size_t p = 0; p < r.runs; p++) {
                CHECK(mg_clear_adjoints(r.tape, r.parameters[p], r.sizes[p]) == MG_OK);
            }
            mg_program_free(program);
            program = bound_program(&r);
        }
        CHECK(is_planned(program));
        mg_tape_fail_allocation(r.tape, 1); /* without a workspace the statements are computed one by one */
        CHECK(mg_program_forward(program) == MG_OK);
        mg_tape_fail_allocation(r.tape, 0);
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(same_recordings(&r, &expected));
        mg_program_free(program);
        end(&r);
    }
    CHECK(k > 10);
    end(&expected);
    free(numbers);
}

static void no_memory_is_survived(void) {
    survive_no_memory(false);
    survive_no_memory(true);
}

/* Lets nobody look at, or write to, what an array has for some slots, or all do so again; but for the ends, which may share
   a page of memory with others. */
static void protect(const void *array, size_t size, mg_slot from, mg_slot to, int allowed) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)array + from * size + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)array + to * size) / page * page;
    CHECK(begin < end && mprotect((void *)begin, end - begin, allowed) == 0);
}

static void protect_slots(const mg_tape *tape, mg_slot from, mg_slot to, int allowed) {
    protect(tape->value, sizeof *tape->value, from, to, allowed);
    protect(tape->adjoint, sizeof *tape->adjoint, from, to, allowed);
    protect(tape->partial, sizeof *tape->partial, from, to, allowed);
    protect(tape->operand, sizeof *tape->operand, from, to, allowed);
    protect(tape->operation, sizeof *tape->operation, from, to, allowed);
}

static size_t most_bytes_so_far(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

/* A program, its plan, its trainers and its sampler, where between the parameters and the statements of the program the tape
   has many others. */
static void nobody_looks_at_what_a_program_does_not_reach(void) {
    const model_shape shape = {8, 2, 1, 4, 5, true, false, false, false};
    const size_t n = 2 * shape.vocab * 8 + MOST_TOKENS * 8 + 12 * 64, others = small_run() ? 1 << 17 : 1 << 21;
    double *numbers = allocate(n, sizeof *numbers), rate = 0.01, loss;
    int32_t tokens[MOST_TOKENS + 1];
    uint64_t state = 77;
    size_t done;
    random_numbers(&state, numbers, n);
    random_tokens(&state, tokens, &shape);
    recording r = begin(shape, numbers);
    const mg_id first = mg_leaf(r.tape, 1);
    for (size_t k = 1; k < others; k++) {
        mg_add(r.tape, first, first);
    }
    add_parameter(&r, 1, 1, &(const double *){&rate}); /* of the trainers alone; where it is, their numbers end */
    record_model(&r, tokens);
    mg_slot from = 0, to = 0;
    CHECK(mg_find(r.tape, first, &from) && mg_find(r.tape, r.parameters[r.runs - 1], &to) && to - from >= others - 1);
    to = to / MG_PAGE * MG_PAGE;
    protect_slots(r.tape, from + MG_PAGE, to, PROT_NONE);
    const size_t before = most_bytes_so_far();
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    CHECK(program != NULL && bind_and_plan(&r, program) == MG_OK && is_planned(program));
    CHECK(mg_program_set(program, tokens, shape.positions + 1) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
    mg_sampler *sampler = mg_sampler_new(program);
    CHECK(sampler != NULL);
    for (int fast = 0; fast <= 1; fast++) {
        mg_trainer *trainer = mg_trainer_new(program, r.parameters, r.sizes, r.runs, &(mg_optimizer){.kind = MG_SGD}, fast);
        CHECK(trainer != NULL && mg_trainer_run(trainer, tokens, (size_t[2]){0, shape.positions + 1}, 1, 1, &rate, 1,
                                                &loss, &done) == MG_OK);
        mg_trainer_free(trainer);
    }
    CHECK(small_run() || most_bytes_so_far() - before < 4 * others); /* no array is as long as the tape */
    protect_slots(r.tape, from + MG_PAGE, to, PROT_READ | PROT_WRITE);
    mg_sampler_free(sampler);
    mg_program_free(program);
    end(&r);
    free(numbers);
}

int main(void) {
    RUN(plans_are_recordings);
    RUN(random_shapes_are_recordings);
    RUN(what_reads_a_replay_is_overwritten);
    RUN(other_orders_are_recordings);
    RUN(plans_keep_their_quick_ways);
    RUN(operands_may_cross_statements);
    RUN(selected_lanes_may_be_read_by_others);
    RUN(extremes_are_recordings);
    RUN(no_memory_is_survived);
    RUN(nobody_looks_at_what_a_program_does_not_reach);
    return verdict();
}
