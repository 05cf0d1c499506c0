/* test_views.c: plans of statements that read their operands in ways that no model of the other tests does: turned
 * round, in strides, in parts, the same lanes twice. Each has the bits of recording, in its plan, time after time.
 */
#include "refused_layers.h"
#include "summaries.h"

enum { STEPS = 3 };

static void bind_text(const text *r, mg_program *program) {
    for (size_t t = 0; t < POSITIONS; t++) {
        CHECK(mg_program_bind(program, t, r->input[t], 0, 0, r->leaves, E, VOCAB) == MG_OK);
        CHECK(mg_program_bind(program, t + 1, r->logarithm[t], 0, 0, r->probabilities[t], 1, VOCAB) == MG_OK);
    }
}

/* `why_not` begins what is said where there is no plan. */
static void check_layer(layer f, const char *name, const char *why_not) {
    double numbers[LEAVES], expected[LEAVES], found[LEAVES];
    int32_t tokens[POSITIONS + 1] = {0};
    uint64_t state = 12;
    random_numbers(&state, numbers, LEAVES);
    text r = record_text(f, numbers, tokens, POSITIONS);
    mg_program *program = mg_program_new(r.tape, r.loss, r.since);
    CHECK(program != NULL);
    bind_text(&r, program);
    CHECK(mg_program_plan(program) == MG_OK && broken_program(program) == NULL);
    const char *reason = mg_program_why_not_planned(program);
    if (!CHECK(why_not == NULL ? reason == NULL : reason != NULL && strncmp(reason, why_not, strlen(why_not)) == 0)) {
        printf("    %s: %s\n", name, reason);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i <= POSITIONS; i++) {
            tokens[i] = (int32_t)random_below(&state, VOCAB);
        }
        text fresh = record_text(f, numbers, tokens, POSITIONS);
        CHECK(mg_sweep(fresh.tape, fresh.loss) == MG_OK);
        CHECK(mg_clear_adjoints(r.tape, r.leaves, LEAVES) == MG_OK);
        CHECK(mg_clear_adjoints(r.tape, r.before, POSITIONS * E) == MG_OK);
        CHECK(mg_program_set(program, tokens, POSITIONS + 1) == MG_OK);
        CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK);
        CHECK(program->in_plan == (why_not == NULL));
        CHECK(mg_read_adjoints(fresh.tape, fresh.leaves, LEAVES, expected) == MG_OK);
        CHECK(mg_read_adjoints(r.tape, r.leaves, LEAVES, found) == MG_OK);
        if (!CHECK(same_bits(mg_value(r.tape, r.loss), mg_value(fresh.tape, fresh.loss))) ||
            !CHECK(same_numbers(expected, found, LEAVES))) {
            printf("    %s, in round %d\n", name, round);
        }
        mg_tape_free(fresh.tape);
    }
    mg_program_free(program);
    mg_tape_free(r.tape);
}

/* Learns documents of all lengths, side by side where there is a plan. Gives the leaves and the losses then. */
static void learn(layer f, bool planned, double *leaves, double *losses) {
    enum { DOCUMENTS = 23, BATCH = 11 };
    const double rates[STEPS] = {0.05, 0.05, 0.05};
    const size_t size = LEAVES;
    int32_t tokens[DOCUMENTS * (POSITIONS + 1)];
    size_t starts[DOCUMENTS + 1] = {0}, done = 0;
    uint64_t state = 21;
    random_numbers(&state, leaves, LEAVES);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        starts[d + 1] = starts[d] + 2 + random_below(&state, POSITIONS);
    }
    for (size_t i = 0; i < starts[DOCUMENTS]; i++) {
        tokens[i] = (int32_t)random_below(&state, VOCAB);
    }
    text r = record_text(f, leaves, tokens, POSITIONS);
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    bind_text(&r, program);
    CHECK(!planned || (mg_program_plan(program) == MG_OK && program->plan != NULL));
    mg_trainer *trainer = mg_trainer_new(program, &r.leaves, &size, 1, &(mg_optimizer){.kind = MG_SGD}, false);
    CHECK(trainer != NULL && mg_trainer_run(trainer, tokens, starts, DOCUMENTS, BATCH, rates, STEPS, losses, &done) ==
                                 MG_OK && done == STEPS);
    CHECK(mg_read_values(r.tape, r.leaves, LEAVES, leaves) == MG_OK);
    mg_trainer_free(trainer);
    mg_program_free(program);
    mg_tape_free(r.tape);
}

static void check_training(layer f, const char *name) {
    double leaves[2][LEAVES], losses[2][STEPS];
    learn(f, false, leaves[0], losses[0]);
    learn(f, true, leaves[1], losses[1]);
    if (!CHECK(same_numbers(losses[0], losses[1], STEPS)) || !CHECK(same_numbers(leaves[0], leaves[1], LEAVES))) {
        printf("    %s, as it learns\n", name);
    }
}

/* The result may be the sum of the losses. */
static void a_sum_of_losses_has_a_plan(void) {
    double numbers[LEAVES], expected[LEAVES], found[LEAVES];
    const int32_t tokens[POSITIONS + 1] = {0, 1, 2, 3, 4, 1};
    uint64_t state = 5;
    random_numbers(&state, numbers, LEAVES);
    text r = record_text(asks_itself, numbers, tokens, POSITIONS);
    const mg_view all = {.list = r.losses, .entries = POSITIONS, .block = 1, .by_term = true};
    const mg_id total = mg_sum(r.tape, 1, 1, POSITIONS, &all, NULL);
    CHECK(mg_sweep(r.tape, total) == MG_OK && mg_read_adjoints(r.tape, r.leaves, LEAVES, expected) == MG_OK);
    mg_program *program = mg_program_new(r.tape, total, 0);
    bind_text(&r, program);
    CHECK(mg_program_plan(program) == MG_OK && program->plan != NULL && !program->mean);
    CHECK(mg_clear_adjoints(r.tape, r.leaves, LEAVES) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_program_reverse(program) == MG_OK && program->in_plan);
    CHECK(mg_read_adjoints(r.tape, r.leaves, LEAVES, found) == MG_OK && same_numbers(expected, found, LEAVES));
    mg_program_free(program);
    mg_tape_free(r.tape);
}

/* An input selects the lane of the loss at all positions but one, or one lane fewer there. */
static void what_is_selected_otherwise_is_noticed(void) {
    double numbers[LEAVES];
    const int32_t tokens[POSITIONS + 1] = {0, 1, 2, 3, 4, 1};
    uint64_t state = 6;
    random_numbers(&state, numbers, LEAVES);
    for (size_t n = 0; n < 2 * POSITIONS; n++) {
        text r = record_text(joined, numbers, tokens, POSITIONS);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        for (size_t t = 0; t < POSITIONS; t++) {
            const mg_id first = r.probabilities[t] + (t == n - POSITIONS);
            CHECK(t == n || mg_program_bind(program, t, r.logarithm[t], 0, 0, first, 1, VOCAB - 1) == MG_OK);
        }
        CHECK(mg_program_plan(program) == MG_OK && program->plan == NULL);
        /* The last position is what the others are compared with. */
        const char *reason = mg_program_why_not_planned(program);
        const char *expected = n + 1 == POSITIONS ? "an operand of a statement is another at some positions"
                                                  : "an input selects a lane of one statement";
        if (!CHECK(reason != NULL && strncmp(reason, expected, strlen(expected)) == 0)) {
            printf("    %zu: %s\n", n, reason);
        }
        mg_program_free(program);
        mg_tape_free(r.tape);
    }
}

/* Of such a text there is no plan, and no sampler; but other leaves can be gathered. */
static void check_odd_position(layer f, size_t odd, bool planned) {
    double numbers[LEAVES];
    const int32_t tokens[POSITIONS + 1] = {0, 1, 2, 3, 4, 1};
    uint64_t state = 3;
    random_numbers(&state, numbers, LEAVES);
    text r = record_text(f, numbers, tokens, odd);
    mg_program *program = mg_program_new(r.tape, r.loss, 0);
    bind_text(&r, program);
    mg_sampler *sampler = mg_sampler_new(program);
    CHECK(mg_tape_take_status(r.tape) == (planned ? MG_OK : MG_OPERATION) && (sampler != NULL) == planned);
    CHECK(mg_program_plan(program) == MG_OK);
    CHECK((program->plan != NULL) == planned);
    for (size_t t = 0; sampler != NULL && t < POSITIONS; t++) {
        double expected[VOCAB], found[VOCAB];
        CHECK(mg_sampler_probabilities(sampler, tokens, t + 1, found, VOCAB) == MG_OK);
        CHECK(mg_read_values(r.tape, r.probabilities[t], VOCAB, expected) == MG_OK);
        CHECK(same_numbers(found, expected, VOCAB));
    }
    mg_sampler_free(sampler);
    mg_program_free(program);
    mg_tape_free(r.tape);
}

static void a_position_that_differs_is_noticed(void) {
    const layer layers[] = {other_leaves,     other_lanes,          other_strides,         other_numbers, other_terms,
                            another_function, other_lanes_of_a_map, other_groups_of_a_map, other_largest, other_keys};
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        for (size_t odd = 0; odd < POSITIONS; odd++) {
            const unsigned long long before = failures;
            check_odd_position(layers[n], odd, n == 0);
            if (failures != before) {
                printf("    layer %zu, position %zu\n", n, odd);
            }
        }
    }
}

/* What is known of the steps of some. */
static void odd_views_keep_their_quick_ways(void) {
    const struct {
        layer f;
        const char *summary;
    } layers[] = {
        {leaves_and_all,
         "13 steps, 2 gathers, 1 fans, 0 exceptions, 11 actions; uniform 9; spread 10.1; without derivative 4 5; "
         "chosen 7 8 9 10; partial 9 10; partials 1 9 11; cleared 10 12; added later 4.0 8.0 11.0; adds rows 2; ends "
         "0; matrices 1; gathered 2; rows 52 + 0, adjoints 40 + 0, turned 16, lanes 5 + 0, aside 0, work 25 + 0"},
        {joined_twice,
         "17 steps, 1 gathers, 2 fans, 0 exceptions, 14 actions; uniform 13; spread 14.1; without derivative 8 9; "
         "chosen 11 12 13 14; partial 13 14; partials 1 2 3 13 15; cleared 2 14 16; added later 3.0 4.1 5.1 8.0 12.0 "
         "15.0; ends 0; matrices 1 2 3; rows 70 + 0, adjoints 55 + 0, turned 16, lanes 5 + 0, aside 0, work 73 + 0"},
        {weights_as_they_are,
         "17 steps, 1 gathers, 2 fans, 1 exceptions, 14 actions; uniform 13; spread 14.1; cut 4; cut adjoints 4; "
         "without derivative 8 9; chosen 11 12 13 14; partial 13 14; partials 1 5 13 15; cleared 4 14 16; added "
         "later 1.0 3.1 6.0 8.0 12.0 15.0; ends 0; matrices 1 2 3; rows 64 + 2, adjoints 52 + 2, turned 16, lanes 5 "
         "+ 0, aside 4, work 57 + 8, checks values"},
        {weights_that_turn,
         "18 steps, 1 gathers, 2 fans, 1 exceptions, 15 actions; uniform 14; spread 15.1; cut 5; cut adjoints 5; "
         "without derivative 9 10; chosen 12 13 14 15; partial 14 15; partials 1 5 6 14 16; cleared 5 15 17; added "
         "later 1.0 3.1 7.0 9.0 13.0 16.0; ends 0; matrices 1 2 3; rows 64 + 6, adjoints 52 + 4, turned 16, lanes 5 "
         "+ 2, aside 4, work 57 + 8, checks values"},
        {exps_by_sines,
         "20 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 16; spread 17.1; cut 5; without derivative "
         "11 12; chosen 14 15 16 17; partial 16 17; partials 1 6 8 16 18; cleared 7 17 19; added later 1.0 3.1 5.0 "
         "9.0 11.0 15.0 18.0; ends 0; matrices 1 2 3; rows 64 + 10, adjoints 52 + 8, turned 16, lanes 5 + 2, aside "
         "4, work 57 + 8, checks values"},
        {sines_by_exps,
         "20 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 16; spread 17.1; cut 6; without derivative "
         "11 12; chosen 14 15 16 17; partial 16 17; partials 1 5 8 16 18; cleared 7 17 19; added later 1.0 3.1 5.0 "
         "9.0 11.0 15.0 18.0; ends 0; matrices 1 2 3; rows 64 + 10, adjoints 52 + 8, turned 16, lanes 5 + 2, aside "
         "4, work 57 + 8, checks values"},
        {exps_by_exps,
         "20 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 16; spread 17.1; cut 5 6; without "
         "derivative 11 12; chosen 14 15 16 17; partial 16 17; partials 1 8 16 18; cleared 7 17 19; added later 1.0 "
         "3.1 5.0 9.0 11.0 15.0 18.0; ends 0; matrices 1 2 3; rows 64 + 8, adjoints 52 + 8, turned 16, lanes 5 + 2, "
         "aside 4, work 57 + 8, checks values"},
        {sines_by_tanhs,
         "20 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 16; spread 17.1; cut 7; cut adjoints 7; "
         "without derivative 11 12; chosen 14 15 16 17; partial 16 17; partials 1 5 6 8 16 18; cleared 7 17 19; "
         "added later 1.0 3.1 5.0 9.0 11.0 15.0 18.0; ends 0; matrices 1 2 3; rows 64 + 12, adjoints 52 + 8, turned "
         "16, lanes 5 + 2, aside 4, work 57 + 8, checks values"},
        {exps_and_sines,
         "20 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 16; spread 17.1; cut 5 7; cut adjoints 7; "
         "without derivative 11 12; chosen 14 15 16 17; partial 16 17; partials 1 6 8 16 18; cleared 7 17 19; added "
         "later 1.0 3.1 5.0 9.0 11.0 15.0 18.0; ends 0; matrices 1 2 3; rows 64 + 10, adjoints 52 + 8, turned 16, "
         "lanes 5 + 2, aside 4, work 57 + 8, checks values"},
        {turned_round,
         "13 steps, 1 gathers, 1 fans, 0 exceptions, 11 actions; uniform 9; spread 10.1; without derivative 4 5; "
         "chosen 7 8 9 10; partial 9 10; partials 1 9 11; cleared 1 10 12; added later 2.0 2.1 4.0 8.0 11.0; ends 0; "
         "matrices 1; rows 48 + 0, adjoints 40 + 0, turned 8, lanes 5 + 0, aside 0, work 25 + 0"},
        {in_strides,
         "15 steps, 1 gathers, 3 fans, 0 exceptions, 13 actions; uniform 11; spread 12.1; without derivative 6 7; "
         "chosen 9 10 11 12; partial 11 12; partials 1 11 13; cleared 1 12 14; added later 2.0 3.0 6.0 10.0 13.0; "
         "ends 0; matrices 1 2 3; rows 53 + 0, adjoints 45 + 0, turned 24, lanes 5 + 0, aside 0, work 35 + 0, checks "
         "values"},
        {asks_by_turns,
         "23 steps, 1 gathers, 2 fans, 1 exceptions, 19 actions; uniform 10 19; spread 11.1 20.1; cut 8; without "
         "derivative 5 6 14 15; chosen 17 18 19 20; partial 19 20; partials 1 3 10 19 21; cleared 2 20 22; added "
         "later 1.0 4.0 4.1 5.0 9.0 14.0 18.0 21.0; ends 0; matrices 1 2; rows 74 + 8, adjoints 54 + 10, turned 16, "
         "lanes 5 + 2, aside 4, work 57 + 10"},
        {by_weights,
         "13 steps, 1 gathers, 2 fans, 0 exceptions, 11 actions; uniform 9; spread 10.1; without derivative 4 5; "
         "chosen 7 8 9 10; partial 9 10; partials 1 9 11; cleared 10 12; added later 4.0 8.0 11.0; ends 0; matrices "
         "1 2; rows 48 + 0, adjoints 40 + 0, turned 16, lanes 5 + 0, aside 0, work 41 + 0"},
        {heads_apart,
         "21 steps, 1 gathers, 2 fans, 1 exceptions, 17 actions; uniform 17; spread 18.1; cut 6 7; without "
         "derivative 12 13; chosen 15 16 17 18; partial 17 18; partials 1 17 19; cleared 3 5 18 20; added later 3.1 "
         "4.1 6.0 7.0 8.1 9.1 12.0 16.0 19.0; ends 0; matrices 1 2; rows 76 + 6, adjoints 68 + 6, turned 16, lanes 5 "
         "+ 2, aside 4, work 105 + 14"},
        {one_head_of_two,
         "24 steps, 1 gathers, 3 fans, 1 exceptions, 19 actions; uniform 11 20; spread 12.1 21.1; cut 9; without "
         "derivative 6 7 15 16; chosen 18 19 20 21; partial 20 21; partials 1 11 20 22; cleared 5 21 23; added later "
         "2.1 4.1 6.0 8.0 10.0 15.0 19.0 22.0; ends 0; matrices 1 2 3 4; rows 65 + 5, adjoints 53 + 6, turned 16, "
         "lanes 5 + 1, aside 4, work 73 + 9, checks values"},
        {one_of_two,
         "16 steps, 1 gathers, 3 fans, 0 exceptions, 14 actions; uniform 12; spread 13.1; without derivative 7 8; "
         "chosen 10 11 12 13; partial 12 13; partials 1 3 12 14; cleared 1 2 13 15; added later 2.1 3.0 4.0 7.0 11.0 "
         "14.0; ends 0; matrices 1 2 3; rows 56 + 0, adjoints 46 + 0, turned 24, lanes 5 + 0, aside 0, work 43 + 0, "
         "checks values"},
        {squares,
         "14 steps, 1 gathers, 1 fans, 0 exceptions, 12 actions; uniform 10; spread 11.1; without derivative 5 6; "
         "chosen 8 9 10 11; partial 10 11; partials 1 2 10 12; cleared 11 13; added later 3.1 5.0 9.0 12.0; ends 0; "
         "matrices 1; rows 56 + 0, adjoints 44 + 0, turned 8, lanes 5 + 0, aside 0, work 25 + 0"},
        {joined,
         "15 steps, 1 gathers, 2 fans, 0 exceptions, 13 actions; uniform 11; spread 12.1; without derivative 6 7; "
         "chosen 9 10 11 12; partial 11 12; partials 1 2 3 11 13; cleared 12 14; added later 2.0 6.0 10.0 13.0; ends "
         "0; matrices 1 2; rows 64 + 0, adjoints 48 + 0, turned 16, lanes 5 + 0, aside 0, work 57 + 0"},
        {joined_in_part,
         "16 steps, 1 gathers, 2 fans, 0 exceptions, 14 actions; uniform 12; spread 13.1; without derivative 7 8; "
         "chosen 10 11 12 13; partial 12 13; partials 1 2 3 4 12 14; cleared 1 2 4 13 15; added later 2.0 3.0 4.0 "
         "5.1 7.0 11.0 14.0; ends 0; matrices 1 2; rows 68 + 0, adjoints 50 + 0, turned 16, lanes 5 + 0, aside 0, "
         "work 57 + 0"},
    };
    double numbers[LEAVES];
    const int32_t tokens[POSITIONS + 1] = {0, 1, 2, 3, 4, 1};
    uint64_t state = 4;
    random_numbers(&state, numbers, LEAVES);
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        text r = record_text(layers[n].f, numbers, tokens, POSITIONS);
        mg_program *program = mg_program_new(r.tape, r.loss, 0);
        bind_text(&r, program);
        CHECK(mg_program_plan(program) == MG_OK && program->plan != NULL);
        check_summary(program->plan, layers[n].summary);
        mg_program_free(program);
        mg_tape_free(r.tape);
    }
}

static void odd_views_are_recordings(void) {
    const struct {
        layer f;
        const char *name, *why_not;
    } layers[] = {{turned_round, "turned round", NULL},
                  {the_middle, "the middle", NULL},
                  {the_middle_of_a_map, "of a map", NULL},
                  {the_middle_and_all, "the middle, and all", NULL},
                  {all_and_the_middle, "all, and the middle", NULL},
                  {in_strides, "in strides", NULL},
                  {from_two_places, "from two places", NULL},
                  {each_twice, "each twice", NULL},
                  {one_and_all, "one and all", NULL},
                  {other_leaves, "other leaves", NULL},
                  {repeated, "repeated", NULL},
                  {repeated_in_other_groups, "in other groups", NULL},
                  {mixed_in_strides, "mixed in strides", NULL},
                  {asks_itself, "asks itself", NULL},
                  {asked_by_itself, "asked by itself", NULL},
                  {asks_its_neighbour, "asks its neighbour", NULL},
                  {asked_by_its_neighbour, "asked by its neighbour", "the gradients would be added in another order"},
                  {asks_other_lanes, "asks other lanes", NULL},
                  {asks_by_turns, "asks by turns", NULL},
                  {heads_apart, "heads apart", NULL},
                  {one_head_of_two, "one head of two", NULL},
                  {one_of_two, "one of two", NULL},
                  {all_by_the_first, "all by the first", NULL},
                  {squares, "squares", NULL},
                  {one_by_all, "one by all", NULL},
                  {all_by_the_next, "all by the next", NULL},
                  {the_next_by_all, "the next by all", NULL},
                  {in_groups_by_one, "in groups, by one", NULL},
                  {products_of_rows, "products of rows", NULL},
                  {products_of_columns, "products of columns", NULL},
                  {products_that_overlap, "products that overlap", NULL},
                  {weights_as_they_are, "weights as they are", NULL},
                  {weights_that_turn, "weights that turn", NULL},
                  {exps_by_exps, "exps by exps", NULL},
                  {exps_by_sines, "exps by sines", NULL},
                  {sines_by_exps, "sines by exps", NULL},
                  {sines_by_tanhs, "sines by tanhs", NULL},
                  {exps_and_sines, "exps and sines", NULL},
                  {weights_of_length_one, "weights of length one", NULL},
                  {one_lane_that_would_move, "one lane that would move", NULL},
                  {one_term, "one term", NULL},
                  {by_weights, "by weights", NULL},
                  {neighbours, "neighbours", NULL},
                  {overlapping, "overlapping", NULL},
                  {joined, "joined", NULL},
                  {joined_in_part, "joined in part", NULL},
                  {joined_twice, "joined twice", NULL},
                  {one_by_a_leaf, "one by a leaf", NULL},
                  {leaves_and_all, "leaves, and all", NULL},
                  {joined_with_largest, "joined with largest", "the gradients would be added in another order"},
                  {joined_largest, "joined largest", NULL},
                  {joined_lanes, "joined lanes", NULL},
                  {joined_leaves, "joined leaves", NULL},
                  {listed_by_lane, "listed by lane", "an operand is listed in a way that is no concatenation"},
                  {joined_in_strides, "joined in strides", "an operand is listed in a way that is no concatenation"},
                  {joined_and_moving, "joined and moving", "an operand is listed in a way that is no concatenation"},
                  {joined_in_groups, "joined in groups", "an operand is listed in a way that is no concatenation"},
                  {joined_with_leaves, "joined with leaves", "a concatenation of leaves and of what is computed"},
                  {read_from_before, "read from before", "a position reads what another position computed"},
                  {joined_with_before, "joined with before", "a position reads what another position computed"},
                  {attends_to_before, "attends to before", "an operand is listed in a way that is no concatenation"},
                  {by_the_first_weight, "by the first weight", "a statement reads a part of the lanes"},
                  {from_the_second_weight, "from the second weight", "a statement reads a part of the lanes"},
                  {windows_of_weights, "windows of weights", "a statement reads a part of the lanes"},
                  {by_leaves_of_the_place, "by leaves of the place", "a statement on the positions so far reads"},
                  {backwards, "backwards", "the lanes of a statement read their operands in no regular order"},
                  {pairs_backwards, "pairs backwards", "the lanes of a statement read their operands in no regular"},
                  {without_order, "without order", "an operand of a statement is another at some positions"},
                  {beside_a_constant, "beside a constant", "an operand of a statement is another at some positions"},
                  {sum_of_leaves, "sum of leaves", "a sum or a maximum of leaves, or over positions"},
                  {sum_of_parts, "sum of parts", "a sum or a maximum of leaves, or over positions"},
                  {convolution, "convolution", "a sum of products of a kind that no plan has"},
                  {one_by_leaves, "one by leaves", "a sum of products of a kind that no plan has"},
                  {by_place, "by place", "a sum over the positions so far of something that does not grow with them"},
                  {selected_from_halves, "selected from halves", "an input selects a lane of a sum, whose lanes are not"},
                  {joined_with_itself, "joined with itself", "the gradients would be added in another order"},
                  {joined_in_turn, "joined in turn", "the sweep takes the lanes of two statements in turn"}};
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        check_layer(layers[n].f, layers[n].name, layers[n].why_not);
        if (layers[n].why_not == NULL) {
            check_training(layers[n].f, layers[n].name);
        }
    }
}

int main(void) {
    RUN(odd_views_are_recordings);
    RUN(odd_views_keep_their_quick_ways);
    RUN(a_sum_of_losses_has_a_plan);
    RUN(what_is_selected_otherwise_is_noticed);
    RUN(a_position_that_differs_is_noticed);
    return verdict();
}
