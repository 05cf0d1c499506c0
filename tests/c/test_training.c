/* test_training.c: trainers, against recording every document anew and stepping by hand, bit for bit. */
#define _POSIX_C_SOURCE 200809L
#include "corpora.h"
#include "microgpt.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

/* Many steps a call, or one, or some; documents apart or side by side; one thread or several: the same losses and
   parameters as by hand. */
static void training_is_recording(void) {
    static const model_shape shapes[] = {
        {8, 2, 1, 12, 6, true, false, false, false},
        {5, 1, 2, 9, 11, false, true, false, false},
        {6, 2, 1, 6, 7, true, false, true, false},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t batch_size = 1; batch_size <= 19; batch_size += small_run() ? 10 : batch_size < 3 ? 2 : 8) {
            double expected[STEPS], losses[STEPS];
            corpus *by_hand = make_corpus(shapes[s], 40 + s);
            train_by_hand(by_hand, batch_size, STEPS, expected);
            const size_t blocks[] = {STEPS, 1, 5}, threads[] = {1, 3, 2};
            for (size_t b = 0; b < 3; b++) {
                corpus *c = make_corpus(shapes[s], 40 + s);
                mg_trainer *trainer = trainer_of(c, false);
                CHECK(mg_trainer_use_threads(trainer, 0) == MG_SHAPE);
                CHECK(mg_trainer_use_threads(trainer, MG_MOST_THREADS + 1) == MG_SHAPE);
                CHECK(mg_trainer_use_threads(trainer, threads[b]) == MG_OK);
                for (size_t from = 0; from < STEPS; from += blocks[b]) {
                    size_t steps = STEPS - from < blocks[b] ? STEPS - from : blocks[b];
                    CHECK(run(c, trainer, batch_size, from, steps, losses) == MG_OK);
                }
                CHECK(same_numbers(losses, expected, STEPS));
                CHECK(same_parameters(&c->model, &by_hand->model));
                mg_trainer_free(trainer);
                free_corpus(c);
            }
            free_corpus(by_hand);
        }
    }
}

/* A step that cannot be taken changes no parameter, and the trainer goes on from it when it can. */
static void a_failing_step_changes_nothing(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    double losses[STEPS], expected[STEPS], infinite = INFINITY;
    size_t done;
    corpus *c = make_corpus(shape, 50), *same = make_corpus(shape, 50);
    mg_trainer *trainer = trainer_of(c, false), *other = trainer_of(same, false);
    CHECK(run(c, trainer, 1, 0, 3, losses) == MG_OK && run(same, other, 1, 0, STEPS, expected) == MG_OK);
    const int32_t token = c->tokens[c->starts[3]];
    const int32_t wrong[] = {-1, (int32_t)shape.vocab, INT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        c->tokens[c->starts[3]] = wrong[i];
        CHECK(run(c, trainer, 1, 3, 2, losses) == MG_SHAPE);
    }
    c->tokens[c->starts[3]] = token;
    mg_id weight = c->model.parameters[2];
    double before = mg_value(c->model.tape, weight);
    CHECK(mg_set_value(c->model.tape, weight, infinite) == MG_OK);
    CHECK(run(c, trainer, 1, 3, 2, losses) == MG_NOT_FINITE && !isfinite(losses[3]));
    CHECK(mg_set_value(c->model.tape, weight, before) == MG_OK);
    CHECK(run(c, trainer, 1, 3, STEPS - 3, losses) == MG_OK);
    CHECK(same_numbers(losses, expected, STEPS) && same_parameters(&c->model, &same->model));
    CHECK(mg_trainer_run(trainer, c->tokens, c->starts, 0, 1, c->rates, 1, losses, &done) == MG_SHAPE);
    CHECK(mg_trainer_run(trainer, c->tokens, c->starts, DOCUMENTS, 0, c->rates, 1, losses, &done) == MG_SHAPE);
    mg_trainer_free(trainer);
    mg_trainer_free(other);
    free_corpus(c);
    free_corpus(same);
}

/* Nor when some documents of a batch have been learnt already. */
static void a_failing_document_is_forgotten(void) {
    for (int fast = 0; fast < 2; fast++) {
        double losses[STEPS], expected[STEPS];
        corpus *c = make_corpus((model_shape){8, 2, 1, 6, 6, true, false, false, false}, 55);
        corpus *same = make_corpus((model_shape){8, 2, 1, 6, 6, true, false, false, false}, 55);
        mg_trainer *trainer = trainer_of(c, fast), *other = trainer_of(same, fast);
        CHECK(run(same, other, 3, 0, 4, expected) == MG_OK);
        int32_t *token = &c->tokens[c->starts[5]], before = *token; /* the last of the second step */
        *token = -1;
        CHECK(run(c, trainer, 3, 0, 4, losses) == MG_SHAPE);
        CHECK(mg_adjoint(c->model.tape, c->model.parameters[2]) == 0);
        *token = before;
        CHECK(run(c, trainer, 3, 1, 3, losses) == MG_OK);
        CHECK(same_numbers(losses, expected, 4) && same_parameters(&c->model, &same->model));
        mg_trainer_free(trainer);
        mg_trainer_free(other);
        free_corpus(c);
        free_corpus(same);
    }
}

/* A gradient that float cannot hold, of a loss that it can, stops the fast mode too. */
static void an_infinite_gradient_stops_the_fast_mode(void) {
    double losses[STEPS] = {0}, *numbers;
    corpus *c = make_corpus((model_shape){8, 2, 1, 6, 6, true, false, false, false}, 57);
    recording *r = &c->model;
    mg_trainer *trainer = trainer_of(c, true);
    const double scales[] = {0, 0, 1e25, 1, 1, 1, 1, 1, 1e25};
    for (size_t p = 0; p < r->runs; p++) {
        numbers = allocate(r->sizes[p], sizeof *numbers);
        CHECK(mg_read_values(r->tape, r->parameters[p], r->sizes[p], numbers) == MG_OK);
        for (size_t i = 0; i < r->sizes[p]; i++) {
            numbers[i] *= scales[p];
        }
        CHECK(mg_write_values(r->tape, r->parameters[p], r->sizes[p], numbers) == MG_OK);
        free(numbers);
    }
    CHECK(run(c, trainer, 1, 0, 1, losses) == MG_NOT_FINITE && isnan(losses[0]));
    mg_trainer_free(trainer);
    free_corpus(c);
}

static void *interrupt_soon(void *trainer) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    mg_trainer_interrupt(trainer);
    return NULL;
}

/* Before a call or in the middle of a batch that would take minutes; whoever goes on does not notice. */
static void an_interrupted_step_changes_nothing(void) {
    for (int fast = 0; fast < 2; fast++) {
        double losses[STEPS], expected[STEPS];
        const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
        corpus *c = make_corpus(shape, 50), *same = make_corpus(shape, 50);
        mg_trainer *trainer = trainer_of(c, fast), *other = trainer_of(same, fast);
        CHECK(run(c, trainer, 3, 0, 2, losses) == MG_OK && run(same, other, 3, 0, STEPS, expected) == MG_OK);
        mg_trainer_interrupt(trainer);
        CHECK(run(c, trainer, 3, 2, 1, losses) == MG_INTERRUPTED);
        CHECK(run(c, trainer, 3, 2, 1, losses) == MG_OK);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, interrupt_soon, trainer) == 0);
        double lost[STEPS];
        CHECK(run(c, trainer, 100000000, 3, 1, lost) == MG_INTERRUPTED);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(mg_adjoint(c->model.tape, c->model.parameters[2]) == 0);
        CHECK(run(c, trainer, 3, 3, STEPS - 3, losses) == MG_OK);
        CHECK(same_numbers(losses, expected, STEPS) && same_parameters(&c->model, &same->model));
        mg_trainer_free(trainer);
        mg_trainer_free(other);
        free_corpus(c);
        free_corpus(same);
    }
}

static void what_is_no_trainer_is_refused(void) {
    corpus *c = make_corpus((model_shape){8, 2, 1, 4, 6, true, false, false, false}, 60);
    recording *r = &c->model;
    mg_tape *tape = r->tape, *elsewhere = mg_tape_new();
    mg_trainer *trainer = trainer_of(c, false);
    mg_id sum = mg_add(tape, r->parameters[0], r->parameters[1]), foreign = mg_leaf(elsewhere, 1);
    const struct {
        mg_id first;
        size_t size, count;
        mg_status status;
    } cases[] = {
        {r->parameters[0], 0, 1, MG_SHAPE}, {r->parameters[0], SIZE_MAX, 1, MG_SHAPE}, {sum, 1, 1, MG_SHAPE},
        {r->parameters[0], 1, 0, MG_SHAPE}, {foreign, 1, 1, MG_STALE},                {MG_NONE, 1, 1, MG_STALE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int fast = 0; fast < 2; fast++) {
            CHECK(mg_trainer_new(c->program, &cases[i].first, &cases[i].size, cases[i].count, &ADAM, fast) == NULL);
            mg_status status = mg_tape_take_status(tape);
            CHECK(status == cases[i].status);
        }
    }
    const mg_optimizer unknown[] = {{.kind = -1}, {.kind = MG_OPTIMIZER_COUNT}};
    for (size_t i = 0; i < 2; i++) {
        CHECK(mg_trainer_new(c->program, r->parameters, r->sizes, r->runs, &unknown[i], false) == NULL);
        CHECK(mg_tape_take_status(tape) == MG_OPERATION);
    }
    mg_program *program = bound_program(of_length(c, 5, c->tokens));
    int32_t tokens[5] = {0, 1, 2, 3, 4};
    CHECK(mg_program_set(program, tokens, 4) == MG_SHAPE && mg_program_set(program, tokens, 5) == MG_OK);
    const recording *p = &c->by_length[5]; /* nothing is bound after the plan was made */
    CHECK(mg_program_bind(program, 2, p->embeddings[0], 0, 0, r->parameters[0], 8, 6) == MG_SHAPE);
    CHECK(mg_program_bind(program, SIZE_MAX, p->embeddings[0], 0, 0, r->parameters[0], 8, 6) == MG_SHAPE);
    mg_trainer_free(trainer);
    mg_trainer_free(NULL);
    mg_program_free(program);
    free_corpus(c);
    mg_tape_free(elsewhere);
}

/* float32: near the exact losses, the same however many steps a call takes, and other programs are refused. */
static void the_fast_mode_is_near(void) {
    const model_shape shape = {16, 4, 1, 12, 20, true, false, false, false};
    double exact[STEPS], fast[STEPS], again[STEPS];
    corpus *a = make_corpus(shape, 70), *b = make_corpus(shape, 70), *c = make_corpus(shape, 70);
    mg_trainer *of_a = trainer_of(a, false), *of_b = trainer_of(b, true),
               *of_c = trainer_of(c, true);
    CHECK(run(a, of_a, 2, 0, STEPS, exact) == MG_OK && run(b, of_b, 2, 0, STEPS, fast) == MG_OK);
    for (size_t s = 0; s < STEPS; s++) {
        CHECK(run(c, of_c, 2, s, 1, again) == MG_OK);
        CHECK(fabs(fast[s] - exact[s]) < 1e-3 * exact[s]);
    }
    CHECK(fabs(fast[0] - exact[0]) < 1e-5 * exact[0]);
    CHECK(same_numbers(fast, again, STEPS) && same_parameters(&b->model, &c->model));
    CHECK(!same_parameters(&a->model, &b->model));
    CHECK(mg_set_value(b->model.tape, b->model.parameters[2], NAN) == MG_OK); /* seen, and float's NaN stops the step */
    CHECK(run(b, of_b, 2, 0, 1, fast) == MG_NOT_FINITE && isnan(fast[0]));
    CHECK(mg_trainer_new(c->program, c->model.parameters, c->model.sizes, 4, &ADAM, true) == NULL);
    CHECK(mg_tape_take_status(c->model.tape) == MG_SHAPE); /* some leaves are no parameters */
    mg_trainer_free(of_a);
    mg_trainer_free(of_b);
    mg_trainer_free(of_c);
    free_corpus(a);
    free_corpus(b);
    free_corpus(c);
}

static void a_trainer_survives_no_memory(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    double expected[STEPS], losses[STEPS];
    for (int kind = 0; kind < 4; kind++) { /* an allocation fails alone, or with all later ones */
        const bool fast = kind % 2, once = kind / 2;
        corpus *c = make_corpus(shape, 80);
        mg_trainer *trainer = trainer_of(c, fast);
        CHECK(run(c, trainer, 2, 0, 3, expected) == MG_OK);
        mg_trainer_free(trainer);
        free_corpus(c);
        uint64_t k = 1;
        for (bool complete = false; !complete && k < 40; k++) {
            c = make_corpus(shape, 80);
            mg_trainer_free(trainer_of(c, fast)); /* makes the program */
            uint64_t bytes = mg_tape_memory(c->model.tape).bytes;
            c->model.tape->fails_once = once;
            mg_tape_fail_allocation(c->model.tape, k);
            trainer = trainer_of(c, fast);
            complete = trainer != NULL;
            CHECK(mg_tape_take_status(c->model.tape) == (complete ? MG_OK : MG_NO_MEMORY));
            mg_tape_fail_allocation(c->model.tape, 0);
            CHECK(complete || mg_tape_memory(c->model.tape).bytes == bytes);
            trainer = complete ? trainer : trainer_of(c, fast);
            CHECK(run(c, trainer, 2, 0, 3, losses) == MG_OK && same_numbers(losses, expected, 3));
            mg_trainer_free(trainer);
            free_corpus(c);
        }
        CHECK(k > 7);
    }
}

/* Statement by statement: many steps a call, steps in parts, and the losses alone are as by hand. */
static void training_without_a_plan_is_recording(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    for (size_t batch_size = 1; batch_size <= 3; batch_size++) {
        double expected[STEPS], losses[STEPS], parts[STEPS];
        corpus *by_hand = make_corpus(shape, 45), *c = make_corpus(shape, 45), *other = make_corpus(shape, 45);
        c->plain = other->plain = true;
        train_by_hand(by_hand, batch_size, STEPS, expected);
        mg_trainer *trainer = trainer_of(c, false), *in_parts = trainer_of(other, false);
        CHECK(trainer->batch == NULL && trainer_of(c, true) == NULL);
        CHECK(mg_tape_take_status(c->model.tape) == MG_SHAPE);
        CHECK(run(c, trainer, batch_size, 0, 5, losses) == MG_OK);
        CHECK(run(c, trainer, batch_size, 5, STEPS - 5, losses) == MG_OK);
        for (size_t step = 0; step < STEPS; step++) {
            CHECK(step_in_parts(other, in_parts, false, batch_size, 1 + step % 2, 50, step, parts) == MG_OK);
        }
        CHECK(same_numbers(losses, expected, STEPS));
        CHECK(same_parameters(&c->model, &by_hand->model) && same_parameters(&other->model, &by_hand->model));
        CHECK(same_state(trainer, in_parts, parameters_of(&c->model)));
        mg_trainer_free(trainer);
        mg_trainer_free(in_parts);
        free_corpus(by_hand);
        free_corpus(c);
        free_corpus(other);
    }
}

/* A step that fails half way, statement by statement, leaves nothing behind. */
static void a_plain_step_that_fails_changes_nothing(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    double losses[STEPS], expected[STEPS];
    corpus *c = make_corpus(shape, 46), *same = make_corpus(shape, 46);
    c->plain = same->plain = true;
    mg_trainer *trainer = trainer_of(c, false), *other = trainer_of(same, false);
    const int32_t token = c->tokens[c->starts[3]];
    c->tokens[c->starts[3]] = -1; /* of the next step */
    CHECK(run(same, other, 3, 0, 3, expected) == MG_OK && run(c, trainer, 3, 0, 1, losses) == MG_OK);
    CHECK(run(c, trainer, 3, 1, 1, losses) == MG_SHAPE);
    c->tokens[c->starts[3]] = token;
    /* the row of one token, which the second document of the step reads and the first does not */
    const mg_id row = c->model.parameters[0] + (mg_id)c->tokens[c->starts[4]] * 8;
    const double before = mg_value(c->model.tape, row), spoiled[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2; i++) {
        CHECK(mg_set_value(c->model.tape, row, spoiled[i]) == MG_OK);
        CHECK(run(c, trainer, 3, 1, 1, losses) != MG_OK);
        CHECK(mg_set_value(c->model.tape, row, before) == MG_OK);
        for (size_t p = 0; p < c->model.runs; p++) {
            CHECK(mg_adjoint(c->model.tape, c->model.parameters[p]) == 0);
        }
    }
    mg_trainer_interrupt(trainer);
    CHECK(run(c, trainer, 3, 1, 2, losses) == MG_INTERRUPTED);
    double alone;
    size_t done;
    mg_trainer *third = trainer_of(c, false); /* of one document, without a rate: nothing moves */
    CHECK(mg_trainer_run(third, c->tokens, c->starts, 1, 1, &(double){0}, 1, &alone, &done) == MG_OK && done == 1);
    mg_trainer_free(third);
    CHECK(run(c, trainer, 3, 1, 2, losses) == MG_OK);
    CHECK(same_numbers(losses, expected, 3) && same_parameters(&c->model, &same->model));
    mg_trainer_free(trainer);
    mg_trainer_free(other);
    free_corpus(c);
    free_corpus(same);
}

/* Losses that are no numbers, statement by statement or by a plan, end the call. */
static void losses_that_are_no_numbers_are_refused(void) {
    for (int kind = 0; kind < 3; kind++) {
        double losses[DOCUMENTS];
        corpus *c = make_corpus((model_shape){8, 2, 1, 6, 6, true, false, false, false}, 48);
        c->plain = kind == 1;
        mg_trainer *trainer = trainer_of(c, kind == 2);
        const mg_id weight = c->model.parameters[2];
        const double before = mg_value(c->model.tape, weight);
        CHECK(mg_set_value(c->model.tape, weight, NAN) == MG_OK);
        CHECK(mg_trainer_losses(trainer, c->tokens, c->starts, 0, DOCUMENTS, losses) == MG_NOT_FINITE);
        CHECK(mg_set_value(c->model.tape, weight, before) == MG_OK);
        CHECK(mg_trainer_losses(trainer, c->tokens, c->starts, 0, DOCUMENTS, losses) == MG_OK);
        mg_trainer_free(trainer);
        free_corpus(c);
    }
}

/* In the fast mode every leaf that the plan reads or may read is a parameter; otherwise any leaves may be. */
static void the_fast_mode_needs_all_leaves(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    corpus *c = make_corpus(shape, 49);
    mg_trainer_free(trainer_of(c, true));
    const recording *r = &c->model;
    for (size_t p = 0; p < r->runs; p++) {
        for (int cut = 0; cut < 4; cut++) { /* without it, its first lane, its last; and in two runs */
            mg_id first[MOST_RUNS + 1];
            size_t sizes[MOST_RUNS + 1], runs = 0;
            for (size_t q = 0; q < r->runs; q++) {
                first[runs] = r->parameters[q];
                sizes[runs] = r->sizes[q];
                if (p == q && cut < 3) {
                    first[runs] += cut == 1;
                    sizes[runs] -= cut > 0;
                } else if (p == q) {
                    sizes[runs++] = 3;
                    first[runs] = r->parameters[q] + 3;
                    sizes[runs] = r->sizes[q] - 3;
                }
                runs += p != q || cut > 0;
            }
            const bool unread = p == 1 && cut == 2; /* there are more positions than the model has */
            mg_trainer *fast = mg_trainer_new(c->program, first, sizes, runs, &ADAM, true);
            CHECK((fast != NULL) == (cut == 3 || unread));
            CHECK(mg_tape_take_status(r->tape) == (fast != NULL ? MG_OK : MG_SHAPE));
            mg_trainer *exact = mg_trainer_new(c->program, first, sizes, runs, &ADAM, false);
            CHECK(exact != NULL && broken_trainer(exact) == NULL);
            mg_trainer_free(fast);
            mg_trainer_free(exact);
        }
    }
    free_corpus(c);
}

/* Parameters that the program does not need may go from the tape: then there is no step. */
static void parameters_that_are_gone_are_refused(void) {
    corpus *c = make_corpus((model_shape){8, 2, 1, 6, 6, true, false, false, false}, 54);
    mg_tape *tape = c->model.tape;
    mg_trainer_free(trainer_of(c, false));
    mg_id first[MOST_RUNS + 1] = {mg_leaves(tape, (double[MG_PAGE]){0}, MG_PAGE)};
    size_t sizes[MOST_RUNS + 1] = {MG_PAGE}, kept = c->model.runs;
    memcpy(first + 1, c->model.parameters, kept * sizeof *first);
    memcpy(sizes + 1, c->model.sizes, kept * sizeof *sizes);
    mg_trainer *trainer = mg_trainer_new(c->program, first, sizes, kept + 1, &ADAM, false);
    double losses[STEPS];
    CHECK(run(c, trainer, 1, 0, 1, losses) == MG_OK);
    CHECK(mg_leaves(tape, (double[MG_PAGE]){0}, MG_PAGE) != MG_NONE); /* the page that is being filled stays */
    first[0] = c->program->result;
    sizes[0] = 1;
    CHECK(mg_tape_collect(tape, first, sizes, kept + 1) == MG_OK);
    CHECK(run(c, trainer, 1, 1, 1, losses) == MG_STALE);
    mg_trainer_free(trainer);
    free_corpus(c);
}

/* Parameters in any order, each as it would be alone. */
static void the_order_of_parameters_is_free(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    for (int fast = 0; fast < 2; fast++) {
        double losses[STEPS], expected[STEPS];
        corpus *c = make_corpus(shape, 51), *same = make_corpus(shape, 51);
        mg_trainer *other = trainer_of(same, fast);
        mg_trainer_free(trainer_of(c, fast));
        mg_id first[MOST_RUNS];
        size_t sizes[MOST_RUNS];
        const recording *r = &c->model;
        for (size_t p = 0; p < r->runs; p++) {
            first[p] = r->parameters[(p * 5 + 3) % r->runs];
            sizes[p] = r->sizes[(p * 5 + 3) % r->runs];
        }
        CHECK(r->runs == 9); /* which has no factor with 5 */
        mg_trainer *trainer = mg_trainer_new(c->program, first, sizes, r->runs, &ADAM, fast);
        CHECK(run(c, trainer, 2, 0, STEPS, losses) == MG_OK && run(same, other, 2, 0, STEPS, expected) == MG_OK);
        CHECK(same_numbers(losses, expected, STEPS) && same_parameters(&c->model, &same->model));
        mg_trainer_free(trainer);
        mg_trainer_free(other);
        free_corpus(c);
        free_corpus(same);
    }
}

static bool subnormals_count(void) {
    volatile double small = 0x1p-1000, smaller = small * 0x1p-60;
    volatile float single = 0x1p-120f, tiny = single * 0x1p-20f;
    return smaller > 0 && tiny > 0;
}

/* The fast mode's way with numbers is that of its calls alone, whatever becomes of them; and a closed tape has none. */
static void calls_leave_no_mode_behind(void) {
    const model_shape shape = {8, 2, 1, 6, 6, true, false, false, false};
    corpus *c = make_corpus(shape, 52);
    mg_trainer *trainer = trainer_of(c, true);
    const size_t n = parameters_of(&c->model);
    double losses[STEPS];
    float *numbers = allocate(n, sizeof *numbers);
    double *m = allocate(2 * n, sizeof *m);
    uint64_t steps = 9;
    size_t done = 9;
    CHECK(run(c, trainer, 2, 0, 2, losses) == MG_OK && subnormals_count());
    CHECK(mg_trainer_losses(trainer, c->tokens, c->starts, 0, 2, losses) == MG_OK && subnormals_count());
    CHECK(mg_trainer_gradients(trainer, c->tokens, c->starts, DOCUMENTS, 0, 1, n, numbers, n * sizeof *numbers, losses,
                               &done) == MG_OK && subnormals_count());
    CHECK(mg_trainer_add_rows(trainer, numbers, sizeof *numbers, numbers, sizeof *numbers) == MG_OK);
    CHECK(subnormals_count());
    CHECK(mg_trainer_apply(trainer, numbers, n * sizeof *numbers, 1, 0.1) == MG_OK && subnormals_count());
    CHECK(mg_trainer_use_threads(trainer, MG_MOST_THREADS) == MG_OK && mg_trainer_use_threads(trainer, 1) == MG_OK);
    CHECK(mg_trainer_read_state(trainer, m, m + n, n - 1, &steps) == MG_SHAPE && steps == 0);
    CHECK(mg_trainer_write_state(trainer, m, m + n, n + 1, 3) == MG_SHAPE);
    CHECK(mg_trainer_read_state(trainer, m, m + n, n, &steps) == MG_OK && steps == 3);
    CHECK(mg_tape_close(c->model.tape) == MG_OK);
    CHECK(run(c, trainer, 2, 0, 2, losses) == MG_CLOSED);
    CHECK(mg_trainer_losses(trainer, c->tokens, c->starts, 0, 2, losses) == MG_CLOSED);
    CHECK(mg_trainer_gradients(trainer, c->tokens, c->starts, DOCUMENTS, 0, 1, n, numbers, n * sizeof *numbers, losses,
                               &done) == MG_CLOSED && done == 0);
    CHECK(mg_trainer_add_rows(trainer, numbers, sizeof *numbers, numbers, sizeof *numbers) == MG_CLOSED);
    CHECK(mg_trainer_apply(trainer, numbers, n * sizeof *numbers, 1, 0.1) == MG_CLOSED);
    CHECK(mg_trainer_use_threads(trainer, 2) == MG_CLOSED);
    CHECK(mg_trainer_read_state(trainer, m, m + n, n, &steps) == MG_CLOSED && steps == 0);
    CHECK(mg_trainer_write_state(trainer, m, m + n, n, 3) == MG_CLOSED);
    free(numbers);
    free(m);
    mg_trainer_free(trainer);
    free_corpus(c);
}

int main(void) {
    RUN(training_is_recording);
    RUN(a_failing_step_changes_nothing);
    RUN(a_failing_document_is_forgotten);
    RUN(an_infinite_gradient_stops_the_fast_mode);
    RUN(an_interrupted_step_changes_nothing);
    RUN(what_is_no_trainer_is_refused);
    RUN(the_fast_mode_is_near);
    RUN(a_trainer_survives_no_memory);
    RUN(training_without_a_plan_is_recording);
    RUN(a_plain_step_that_fails_changes_nothing);
    RUN(losses_that_are_no_numbers_are_refused);
    RUN(the_fast_mode_needs_all_leaves);
    RUN(parameters_that_are_gone_are_refused);
    RUN(the_order_of_parameters_is_free);
    RUN(calls_leave_no_mode_behind);
    return verdict();
}
