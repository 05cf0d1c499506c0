/* test_calls.c: random calls with wild arguments, after each of which all invariants hold; and faults that are planted
 * in tapes, programs and trainers, each of which is found. fuzz_calls.c makes the same calls of bytes that a fuzzer
 * chooses.
 */
#include "calls.h"
#include "check.h"
#include "models.h"

static void invariants_hold_after_every_call(void) {
    static uint8_t bytes[4096];
    uint64_t state = 20;
    const int rounds = small_run() ? 40 : 600;
    const char *broken = NULL;
    for (int round = 0; round < rounds && broken == NULL; round++) {
        const size_t n = 64 + random_below(&state, sizeof bytes - 64);
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)(random_bits(&state) >> 40);
        }
        broken = perform_calls(bytes, n);
        if (!CHECK(broken == NULL)) {
            printf("    in round %d does not hold: %s\n", round, broken);
        }
    }
}

/* ---- planted faults ---------------------------------------------------------------------------------------------- */

/* Writes a wrong number to a place, looks, and puts the old one back. */
#define PLANT(place, wrong, broken)                            \
    do {                                                       \
        const __typeof__(place) kept_ = place;                 \
        CHECK((broken) == NULL);                               \
        place = (__typeof__(place))(wrong);                    \
        if (!CHECK((broken) != NULL)) {                        \
            printf("    with %s = %s\n", #place, #wrong); \
        }                                                      \
        place = kept_;                                         \
    } while (0)

typedef struct {
    mg_tape *tape;
    mg_id leaves, scalar, map, sum, custom, loss;
    mg_slot leaf_slot, scalar_slot, map_slot, header, custom_header;
} planted_tape;

/* A tape with all kinds of statements, a free page, and a gap. */
static planted_tape make_planted_tape(void) {
    planted_tape p = {.tape = mg_tape_new()};
    mg_tape *tape = p.tape;
    double numbers[700] = {0.5, 0.25, 2, 3};
    const mg_id gone = mg_leaves(tape, numbers, 700); /* two pages, of which nothing is needed */
    mg_tape_record_quietly(tape, false);
    p.leaves = mg_leaves(tape, numbers, 8);
    p.scalar = mg_mul(tape, p.leaves, p.leaves + 1);
    p.map = record_add(tape, p.leaves, p.leaves + 1, 3);
    p.sum = record_linear(tape, p.map, p.leaves, 2, 3);
    const mg_id losses[] = {mg_add(tape, p.sum, p.scalar), mg_add(tape, p.sum + 1, p.scalar)};
    p.loss = record_mean(tape, losses, 2);
    const double partials[] = {1, 2, 3};
    const mg_id operands[] = {p.leaves, p.scalar, p.leaves + 2};
    p.custom = mg_custom(tape, 1, operands, partials, 3);
    const mg_id roots[] = {p.custom, p.loss};
    const size_t sizes[] = {1, 1};
    CHECK(gone != MG_NONE && p.custom != MG_NONE && p.loss != MG_NONE);
    CHECK(mg_tape_collect(tape, roots, sizes, 2) == MG_OK && tape->first_free == 0 && tape->pages[0].serial == 0);
    CHECK(mg_find(tape, p.leaves, &p.leaf_slot) && mg_find(tape, p.scalar, &p.scalar_slot));
    CHECK(mg_find(tape, p.map, &p.map_slot) && mg_find(tape, p.sum, &p.header));
    CHECK(mg_find(tape, p.custom, &p.custom_header));
    p.header = tape->operand[p.header][0];
    p.custom_header = tape->operand[p.custom_header][0];
    return p;
}

static void faults_in_a_tape_are_found(void) {
    planted_tape p = make_planted_tape();
    mg_tape *tape = p.tape;
    mg_page *page = &tape->pages[2];
    mg_statement *sum = mg_statement_of(tape, p.header), *custom = mg_statement_of(tape, p.custom_header);
    size_t empty = 0, own = 0;
    while (tape->directory[empty].serial != 0) {
        empty++;
    }
    while (tape->directory[own].serial != page->serial) {
        own++;
    }
    CHECK(broken_tape(tape) == NULL && tape->page_count == 3);
    PLANT(tape->held[0], 0, broken_tape(tape));
    PLANT(tape->held[4], tape->capacity - 1, broken_tape(tape));
    PLANT(tape->capacity, tape->capacity - 1, broken_tape(tape));
    PLANT(tape->capacity, 2 * MG_PAGE, broken_tape(tape));
    PLANT(tape->page_count, tape->page_capacity + 1, broken_tape(tape));
    PLANT(tape->closed, true, broken_tape(tape));
    PLANT(tape->order.count, tape->order.capacity + 1, broken_tape(tape));
    PLANT(tape->stack.count, tape->stack.capacity + 1, broken_tape(tape));
    PLANT(tape->first_free, 1, broken_tape(tape));
    PLANT(tape->first_free, 4, broken_tape(tape));
    PLANT(tape->open, true, (tape->current = 0, broken_tape(tape)));
    PLANT(tape->directory[own].page, 1, broken_tape(tape));
    PLANT(tape->directory[own].serial, 0, broken_tape(tape));
    PLANT(tape->directory[empty].serial, 1, broken_tape(tape));
    PLANT(tape->directory_size, tape->directory_size - 1, broken_tape(tape));
    PLANT(page->serial, page->serial + 1, broken_tape(tape));
    PLANT(page->used, 0, broken_tape(tape));
    PLANT(page->used, MG_PAGE + 1, broken_tape(tape));
    PLANT(page->used, p.custom_header % MG_PAGE + 1, broken_tape(tape));
    PLANT(page->whole, page->written + 1, broken_tape(tape));
    PLANT(page->computed, page->written + 1, broken_tape(tape));
    PLANT(page->written, tape->clock + 1, broken_tape(tape));
    PLANT(tape->operation[p.leaf_slot], MG_LEAF | MG_VISITED, broken_tape(tape));
    PLANT(tape->operation[p.leaf_slot], MG_LEAF | MG_JOINED, broken_tape(tape));
    PLANT(tape->operation[p.leaf_slot], MG_PAYLOAD, broken_tape(tape));
    PLANT(tape->operation[p.leaf_slot], MG_PAYLOAD + 1, broken_tape(tape));
    PLANT(tape->operation[p.map_slot], MG_ADD | MG_JOINED, broken_tape(tape));
    PLANT(tape->operation[p.map_slot], MG_MUL, broken_tape(tape));
    PLANT(tape->partial[p.leaf_slot][0], (double)tape->clock + 1, broken_tape(tape));
    PLANT(tape->operand[p.scalar_slot][1], p.scalar_slot, broken_tape(tape));
    PLANT(tape->operand[p.scalar_slot][0], p.header, broken_tape(tape));
    PLANT(tape->operand[p.scalar_slot][0], 1, broken_tape(tape));
    PLANT(tape->operand[p.map_slot + 1][0], p.map_slot + 2, broken_tape(tape));
    PLANT(tape->operand[sum->first][0], p.custom_header, broken_tape(tape));
    PLANT(tape->operand[sum->first][0], p.leaf_slot, broken_tape(tape));
    PLANT(tape->operand[sum->first + 1][1], 0, broken_tape(tape));
    PLANT(tape->operation[p.header + 1], MG_LEAF, broken_tape(tape));
    PLANT(sum->first, sum->first + 1, broken_tape(tape));
    PLANT(sum->lanes, 1, broken_tape(tape));
    PLANT(sum->lanes, 100000, broken_tape(tape));
    PLANT(sum->width, 1, broken_tape(tape));
    PLANT(sum->terms, 0, broken_tape(tape));
    PLANT(sum->factors, 0, broken_tape(tape));
    PLANT(sum->factors, 3, broken_tape(tape));
    PLANT(sum->recorded[1], 1, broken_tape(tape));
    PLANT(sum->operand[0].base, p.header, broken_tape(tape));
    PLANT(sum->operand[1].lane, 10, broken_tape(tape));
    PLANT(sum->operand[1].term, 10, broken_tape(tape));
    PLANT(custom->factors, 2, broken_tape(tape));
    PLANT(custom->operand[0].listing, 7, broken_tape(tape));
    PLANT(custom->operand[0].block, 0, broken_tape(tape));
    PLANT(custom->operand[0].entries, 2, broken_tape(tape));
    PLANT(custom->operand[0].list, 2, broken_tape(tape));
    PLANT(custom->operand[0].list, custom->operand[0].list + 2, broken_tape(tape));
    PLANT(mg_list_of(tape, p.custom_header, &custom->operand[0])[2], p.custom_header, broken_tape(tape));
    const uint64_t bytes = tape->bytes, user = tape->user;
    tape->bytes = bytes + 1;
    CHECK(broken_tape(tape) != NULL);
    tape->bytes = bytes;
    tape->user = user | 1;
    CHECK(broken_tape(tape) != NULL);
    tape->user = user;
    CHECK(broken_tape(tape) == NULL);
    mg_tape_free(tape);
}

static void faults_in_a_program_are_found(void) {
    planted_tape p = make_planted_tape();
    mg_tape *tape = p.tape;
    mg_program *program = mg_program_new(tape, p.loss, 0);
    CHECK(program != NULL && program->losses == 2 && broken_program(program) == NULL);
    const size_t count = program->statements.count, orders = program->order.count;
    uint32_t *statement = program->statements.item, *order = program->order.item;
    CHECK(mg_program_bind(program, 1, p.scalar, 0, 0, p.leaves, 1, 3) == MG_OK);
    PLANT(program->statements.count, count - 1, broken_program(program));
    PLANT(program->needed.count, count - 1, broken_program(program));
    PLANT(program->losses, 1, broken_program(program));
    PLANT(statement[0], statement[1], broken_program(program));
    PLANT(statement[1], statement[1] + 1, broken_program(program));
    PLANT(statement[count - 1], p.leaf_slot, broken_program(program));
    PLANT(program->ends.item[1], program->ends.item[1] - 1, broken_program(program));
    PLANT(program->needed.item[0], 1, broken_program(program));
    PLANT(program->needed.item[count - 1], 3, broken_program(program));
    PLANT(program->loss.item[1], p.leaf_slot, broken_program(program));
    PLANT(program->loss.item[0], program->loss.item[1], broken_program(program));
    PLANT(program->values[1], 3, broken_program(program));
    PLANT(program->bindings[0].input, 2, broken_program(program));
    PLANT(program->bindings[0].head, p.custom_header, broken_program(program));
    PLANT(order[0], order[orders - 1], broken_program(program));
    PLANT(order[0], p.leaf_slot, broken_program(program));
    PLANT(order[0], tape->page_count * MG_PAGE, broken_program(program));
    PLANT(order[orders - 1], order[0], broken_program(program));
    size_t runs = 0;
    for (size_t i = 0; i < orders; i++) {
        if (order[i] & MG_RUN) {
            PLANT(order[i - 1], order[i - 1] + 1, broken_program(program));
            PLANT(order[i - 2], order[i - 2] + 1, broken_program(program));
            runs++;
        }
    }
    CHECK(runs > 0);
    mg_program_free(program);
    mg_tape_free(tape);
}

enum { SIDE_BY_SIDE = 21, TEXT_POSITIONS = 6 };

/* A trainer after a step of documents side by side, of one to all positions. */
static mg_trainer *make_planted_trainer(recording *r, bool fast) {
    const model_shape shape = {.embd = 4, .heads = 2, .layers = 1, .positions = TEXT_POSITIONS, .vocab = 5};
    static double numbers[2000];
    static int32_t tokens[SIDE_BY_SIDE * (TEXT_POSITIONS + 1)];
    size_t starts[SIDE_BY_SIDE + 1] = {0}, done;
    uint64_t state = 8;
    double rate = 0.01, loss;
    random_numbers(&state, numbers, 2000);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        tokens[i] = (int32_t)random_below(&state, shape.vocab);
    }
    for (size_t d = 0; d < SIDE_BY_SIDE; d++) {
        starts[d + 1] = starts[d] + 2 + d % TEXT_POSITIONS;
    }
    *r = begin(shape, numbers);
    record_model(r, tokens);
    mg_program *program = bound_program(r);
    const mg_optimizer adam = {.kind = MG_ADAM, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    mg_trainer *trainer = mg_trainer_new(program, r->parameters, r->sizes, r->runs, &adam, fast);
    CHECK(is_planned(program) && trainer != NULL && broken_trainer(trainer) == NULL);
    mg_program_free(program);
    CHECK(mg_trainer_use_threads(trainer, 2) == MG_OK);
    CHECK(mg_trainer_run(trainer, tokens, starts, SIDE_BY_SIDE, SIDE_BY_SIDE, &rate, 1, &loss, &done) == MG_OK);
    return trainer;
}

static void faults_in_a_trainer_are_found(void) {
    for (int fast = 0; fast < 2; fast++) {
        recording r;
        mg_trainer *trainer = make_planted_trainer(&r, fast);
        mg_batch *batch = trainer->batch;
        CHECK(batch->groups == 2 && batch->replay[1].texts > 1); /* one for each thread */
        mg_replay *replay = &batch->replay[0];
        mg_workspace *at = &batch->workspace[0];
        mg_plan *plan = trainer->program->plan;
        size_t *start = at->index, *length = start + replay->positions + 1, *line = length + replay->texts;
        const size_t texts = replay->texts;
        PLANT(trainer->losses[2], 9, broken_trainer(trainer));
        PLANT(trainer->losses[trainer->inputs], TEXT_POSITIONS + 1, broken_trainer(trainer));
        PLANT(trainer->run[0].n, 3, broken_trainer(trainer));
        PLANT(trainer->run_count, 0, broken_trainer(trainer));
        PLANT(trainer->run_count, trainer->count + 1, broken_trainer(trainer));
        PLANT(trainer->inputs, 1, broken_trainer(trainer));
        PLANT(((char *)trainer->sum)[9], 1, broken_trainer(trainer));
        if (fast) {
            PLANT(trainer->leaves.lowest, trainer->leaves.lowest + 1, broken_trainer(trainer));
            PLANT(trainer->leaves.value, trainer->first, broken_trainer(trainer));
            PLANT(trainer->leaves.adjoint, trainer->first, broken_trainer(trainer));
        }
        PLANT(trainer->batch, NULL, broken_trainer(trainer));
        PLANT(((char *)batch->one)[0], 1, broken_trainer(trainer));
        PLANT(batch->groups, MG_WAVE + 1, broken_trainer(trainer));
        PLANT(batch->groups, 1, broken_trainer(trainer)); /* the texts of the other are of none */
        PLANT(batch->text[0].text, texts, broken_trainer(trainer));
        PLANT(batch->text[3], batch->text[4], broken_trainer(trainer));
        PLANT(replay->positions, replay->positions - 1, broken_trainer(trainer));
        PLANT(replay->texts, 0, broken_trainer(trainer));
        PLANT(replay->padded, replay->padded - MG_CHUNK, broken_trainer(trainer));
        PLANT(replay->computed, replay->computed - MG_CHUNK, broken_trainer(trainer));
        PLANT(replay->lines, replay->lines - 1, broken_trainer(trainer));
        PLANT(start[0], 1, broken_trainer(trainer));
        PLANT(start[2], start[1], broken_trainer(trainer));
        PLANT(start[2], start[2] - 1, broken_trainer(trainer)); /* no whole chunk */
        PLANT(length[texts - 1], 0, broken_trainer(trainer));
        PLANT(length[texts - 1], length[0] + 1, broken_trainer(trainer));
        PLANT(line[1], 0, broken_trainer(trainer));
        PLANT(line[texts + 1], 1, broken_trainer(trainer)); /* the line of the first place */
        PLANT(line[texts + replay->padded], replay->lines, broken_trainer(trainer));
        PLANT(plan->value_rows.each, plan->value_rows.each - 1, broken_trainer(trainer));
        PLANT(plan->adjoint_rows.fixed, plan->adjoint_rows.fixed - 1, broken_trainer(trainer));
        PLANT(plan->turned_columns, plan->turned_columns - 1, broken_trainer(trainer));
        PLANT(plan->step[1].value, plan->step[0].value, broken_trainer(trainer));
        PLANT(plan->step[0].partials, plan->step[0].partials + 1, broken_trainer(trainer));
        PLANT(plan->step[plan->each - 1].adjoint, plan->step[0].adjoint, broken_trainer(trainer));
        PLANT(replay->value, (char *)replay->value + 8, broken_trainer(trainer));
        PLANT(replay->adjoint, replay->value, broken_trainer(trainer));
        PLANT(replay->turned, replay->adjoint, broken_trainer(trainer));
        PLANT(replay->scratch, replay->turned, broken_trainer(trainer));
        PLANT(replay->scratch_numbers, replay->scratch_numbers + MG_ALIGNMENT, broken_trainer(trainer));
        PLANT(replay->selected[0], r.shape.vocab, broken_trainer(trainer));
        PLANT(replay->selected, line, broken_trainer(trainer));
        PLANT(replay->gathered[0], trainer->tape->page_count * MG_PAGE, broken_trainer(trainer));
        PLANT(replay->gathered, (mg_slot *)(void *)replay->selected, broken_trainer(trainer));
        mg_trainer_free(trainer);
        end(&r);
    }
}

/* Terms that have nothing between them are listed as one run: three words for a lane, however many terms it has. */
static void terms_of_leaves_are_one_run(void) {
    const double numbers[40] = {1, 2, 3};
    mg_tape *tape = mg_tape_new();
    const mg_id leaves = mg_leaves(tape, numbers, 40), linear = record_linear(tape, leaves, leaves + 8, 4, 8);
    mg_program *program = mg_program_new(tape, linear + 3, 0);
    CHECK(program != NULL && program->order.count == 3);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* No number inside a statement is a mark, also where its payload, or its lanes, go on in another page. */
static void no_mark_is_inside_a_statement(void) {
    enum { OPERANDS = 3 * MG_PAGE };
    static mg_id operands[OPERANDS];
    static double partials[OPERANDS];
    mg_tape *tape = mg_tape_new();
    const mg_id leaf = mg_leaf(tape, 2);
    for (size_t k = 0; k < OPERANDS; k++) {
        operands[k] = leaf;
    }
    mg_tape_record_quietly(tape, false);
    const mg_mark before = mg_tape_mark(tape);
    const mg_id custom = mg_custom(tape, 1, operands, partials, OPERANDS);
    mg_slot slot = 0;
    CHECK(custom != MG_NONE && mg_find(tape, custom, &slot) && custom > before + MG_PAGE);
    for (mg_mark mark = mg_id_of(tape, tape->operand[slot][0]) + 1; mark <= custom; mark++) {
        CHECK(mg_tape_rewind(tape, mark) == MG_SHAPE);
    }
    CHECK(mg_value(tape, custom) == 1 && mg_tape_rewind(tape, before) == MG_OK && mg_value(tape, leaf) == 2);
    CHECK(isnan(mg_value(tape, custom)) && broken_tape(tape) == NULL);
    mg_tape_free(tape);
}

int main(void) {
    RUN(terms_of_leaves_are_one_run);
    RUN(no_mark_is_inside_a_statement);
    RUN(faults_in_a_tape_are_found);
    RUN(faults_in_a_program_are_found);
    RUN(faults_in_a_trainer_are_found);
    RUN(invariants_hold_after_every_call);
    return verdict();
}
