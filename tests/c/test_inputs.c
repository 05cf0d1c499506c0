/* test_inputs.c: what the inputs of a program may select, what that changes, and which losses a text of so many tokens
 * has. */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"
#include "tape/tape.h"

enum { TABLE = 60, OTHER = 30, MOST = 64 };

/* ---- one operand ------------------------------------------------------------------------------------------------- */

/* A statement with an operand that an input selects, of all forms that a view can have. */
typedef struct {
    size_t groups, width, terms; /* terms: 0 of a map */
    size_t group, lane, term;
    size_t entries, block; /* of a list; entries: 0 where there is none */
    bool by_term;
    size_t factor;
    size_t entry, reads; /* the entry that is bound; what is read from there, to the last lane */
} selected_operand;

static const selected_operand OPERANDS[] = {
    {.groups = 1, .width = 1, .reads = 1},
    {.groups = 1, .width = 4, .lane = 1, .reads = 4},
    {.groups = 1, .width = 3, .lane = 2, .reads = 5, .factor = 1},
    {.groups = 2, .width = 3, .lane = 1, .group = 4, .reads = 7},
    {.groups = 2, .width = 3, .group = 4, .reads = 5},
    {.groups = 1, .width = 1, .terms = 5, .term = 1, .reads = 5},
    {.groups = 1, .width = 4, .terms = 3, .lane = 3, .term = 1, .reads = 12},
    {.groups = 2, .width = 2, .terms = 3, .group = 6, .lane = 1, .term = 2, .reads = 12, .factor = 1},
    {.groups = 1, .width = 4, .terms = 3, .lane = 3, .term = 1, .entries = 2, .block = 2, .entry = 1, .reads = 6},
    {.groups = 2, .width = 3, .terms = 2, .group = 2, .term = 1, .entries = 3, .block = 1, .entry = 2, .reads = 4},
    {.groups = 1, .width = 3, .terms = 2, .lane = 1, .term = 4, .entries = 1, .block = 7, .reads = 7},
    {.groups = 1, .width = 2, .terms = 4, .lane = 1, .term = 2, .entries = 2, .block = 2, .by_term = true, .entry = 1,
     .reads = 4},
    {.groups = 2, .width = 1, .terms = 3, .group = 3, .term = 1, .entries = 3, .block = 1, .by_term = true, .entry = 1,
     .reads = 4, .factor = 1},
    {.groups = 1, .width = 2, .terms = 3, .lane = 5, .term = 1, .entries = 1, .block = 9, .by_term = true, .reads = 8},
};

typedef struct {
    mg_tape *tape;
    mg_id table, other, first, loss;
    size_t lanes;
} recording;

/* The statement with its operand from lane `from` of the table on, and a sum of all its lanes. */
static recording record(const selected_operand *s, const double *numbers, size_t from) {
    recording r = {.tape = mg_tape_new(), .lanes = s->groups * s->width};
    r.table = mg_leaves(r.tape, numbers, TABLE);
    r.other = mg_leaves(r.tape, numbers + TABLE, OTHER);
    mg_id list[3] = {r.other, r.other + 1, r.other + 2};
    list[s->entry] = r.table + from;
    mg_view x = {.first = r.table + from, .group = s->group, .lane = s->lane, .term = s->term}, y = {.first = r.other};
    if (s->entries > 0) {
        x.list = list;
        x.entries = s->entries;
        x.block = s->block;
        x.by_term = s->by_term;
    }
    const mg_view *a = s->factor == 0 ? &x : &y, *b = s->factor == 0 ? &y : &x;
    r.first = s->terms == 0 ? mg_map(r.tape, MG_MUL, s->groups, s->width, a, b, 0)
                            : mg_sum(r.tape, s->groups, s->width, s->terms, a, b);
    const mg_view all = terms_from(r.first);
    r.loss = mg_sum(r.tape, 1, 1, r.lanes, &all, &all);
    CHECK(r.first != MG_NONE && r.loss != MG_NONE);
    return r;
}

static bool same_gradients(const recording *a, const recording *b) {
    double of_a[TABLE + OTHER], of_b[TABLE + OTHER];
    CHECK(mg_read_adjoints(a->tape, a->table, TABLE, of_a) == MG_OK);
    CHECK(mg_read_adjoints(b->tape, b->table, TABLE, of_b) == MG_OK);
    CHECK(mg_read_adjoints(a->tape, a->other, OTHER, of_a + TABLE) == MG_OK);
    CHECK(mg_read_adjoints(b->tape, b->other, OTHER, of_b + TABLE) == MG_OK);
    return same_numbers(of_a, of_b, TABLE + OTHER) && same_number(mg_value(a->tape, a->loss), mg_value(b->tape, b->loss));
}

/* What is selected is as if it had been recorded, and a run that is too short for what is read is refused. */
static void any_operand_may_be_selected(void) {
    double numbers[TABLE + OTHER];
    uint64_t state = 3;
    for (size_t n = 0; n < TABLE + OTHER; n++) {
        numbers[n] = random_between(&state, -2, 2);
    }
    for (size_t i = 0; i < sizeof OPERANDS / sizeof *OPERANDS; i++) {
        const selected_operand *s = &OPERANDS[i];
        for (size_t size = s->reads; size < s->reads + 2; size++) {
            const size_t count = (TABLE - s->reads) / size + 1;
            recording r = record(s, numbers, 0);
            mg_program *program = mg_program_new(r.tape, r.loss, 0);
            const mg_id lane = r.first + r.lanes - 1;
            CHECK(mg_program_bind(program, 0, lane, s->factor, s->entry, r.table, s->reads - 1, 2) == MG_SHAPE);
            CHECK(mg_program_bind(program, 0, lane, 2, s->entry, r.table, size, count) == MG_OPERATION);
            CHECK(mg_program_bind(program, 0, lane, s->factor, s->entries == 0 ? 1 : s->entries, r.table, size, count) ==
                  MG_OPERATION);
            CHECK(mg_program_bind(program, 0, lane, s->factor, s->entry, r.table, size, count) == MG_OK);
            for (size_t value = count; value-- > 0;) {
                recording fresh = record(s, numbers, value * size);
                CHECK(mg_program_set(program, (int32_t[1]){(int32_t)value}, 1) == MG_OK);
                CHECK(mg_program_forward(program) == MG_OK);
                CHECK(mg_clear_adjoints(r.tape, r.table, TABLE) == MG_OK);
                CHECK(mg_clear_adjoints(r.tape, r.other, OTHER) == MG_OK);
                CHECK(mg_program_reverse(program) == MG_OK && mg_sweep(fresh.tape, fresh.loss) == MG_OK);
                if (!CHECK(same_gradients(&r, &fresh))) {
                    printf("    of operand %zu, with value %zu of size %zu\n", i, value, size);
                }
                mg_tape_free(fresh.tape);
            }
            CHECK(mg_program_set(program, (int32_t[1]){(int32_t)count}, 1) == MG_SHAPE);
            mg_program_free(program);
            mg_tape_free(r.tape);
        }
    }
}

/* A sum of one factor has no second operand. */
static void a_factor_that_there_is_not_is_refused(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[4]){1, 2, 3, 4}, 4);
    const mg_view terms = terms_from(x);
    const mg_id sum = mg_sum(tape, 1, 1, 2, &terms, NULL);
    mg_program *program = mg_program_new(tape, sum, 0);
    const mg_id later = mg_leaves(tape, (double[40]){1, 2, 3, 4}, 40); /* than what would read it */
    CHECK(mg_program_bind(program, 0, sum, 1, 0, x, 2, 2) == MG_OPERATION);
    CHECK(mg_program_bind(program, 0, sum, 0, 0, later, 2, 20) == MG_SHAPE);
    CHECK(mg_program_bind(program, 0, sum, 0, 0, x, 2, 0) == MG_SHAPE);
    CHECK(mg_program_bind(program, 0, sum, 0, 0, x, 0, 2) == MG_SHAPE);
    CHECK(mg_program_bind(program, 0, sum, 0, 0, x, 2, 2) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* In the place of a lane may be others of its statement, and none of the statements beside it. */
static void lanes_are_selected_within_one_statement(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[3]){1, 2, 3}, 3), a = record_map(tape, MG_EXP, x, 3, 0);
    const mg_id b = record_map(tape, MG_TANH, a, 3, 0), c = record_map(tape, MG_EXP, b, 3, 0);
    CHECK(b == a + 3 && c == b + 3);
    const mg_id lane = mg_unary(tape, MG_EXP, b + 1), sum = mg_add(tape, lane, mg_add(tape, c, a));
    mg_program *program = mg_program_new(tape, sum, 0);
    for (mg_id first = x; first <= c + 2; first++) {
        for (size_t count = 1; first + count <= c + 3; count++) {
            const bool within = first >= b && first + count <= b + 3;
            CHECK(mg_program_bind(program, 0, lane, 0, 0, first, 1, count) == (within ? MG_OK : MG_SHAPE));
        }
    }
    mg_program_free(program);
    mg_tape_free(tape);
}

/* The program does not hold what it may select: whoever has it does. */
static void a_table_that_is_gone_is_refused(void) {
    for (size_t gone = 0; gone < 3; gone++) {
        mg_tape *tape = mg_tape_new();
        mg_id table[3], sum = mg_leaf(tape, 0);
        double numbers[MG_PAGE];
        for (size_t n = 0; n < MG_PAGE; n++) {
            numbers[n] = (double)n;
        }
        for (size_t n = 0; n < 3; n++) { /* of a page each */
            table[n] = mg_leaves(tape, numbers, MG_PAGE);
        }
        mg_id lanes[3];
        for (size_t n = 0; n < 3; n++) {
            lanes[n] = sum = mg_add(tape, mg_unary(tape, MG_EXP, table[n]), sum);
        }
        mg_program *program = mg_program_new(tape, sum, 0);
        for (size_t n = 0; n < 3; n++) {
            CHECK(mg_program_bind(program, n, lanes[n] - 1, 0, 0, table[n], 1, MG_PAGE) == MG_OK);
        }
        const int32_t values[3] = {1, 2, 3};
        CHECK(mg_program_set(program, values, 3) == MG_OK && mg_program_forward(program) == MG_OK);
        CHECK(mg_program_set(program, (int32_t[3]){0, 0, 0}, 3) == MG_OK);
        mg_id roots[4] = {sum};
        size_t sizes[4] = {1}, count = 1;
        for (size_t n = 0; n < 3; n++) {
            if (n != gone) {
                roots[count] = table[n];
                sizes[count++] = MG_PAGE;
            }
        }
        CHECK(mg_tape_collect(tape, roots, sizes, count) == MG_OK);
        CHECK(mg_program_set(program, values, 3) == MG_STALE);
        CHECK(mg_program_forward(program) == MG_STALE && mg_program_plan(program) == MG_STALE);
        const mg_optimizer sgd = {.kind = MG_SGD};
        CHECK(mg_trainer_new(program, &table[(gone + 1) % 3], (size_t[1]){MG_PAGE}, 1, &sgd, false) == NULL);
        CHECK(mg_tape_take_status(tape) == MG_STALE);
        mg_program_free(program);
        mg_tape_free(tape);
    }
}

/* Of two programs on one tape, one goes on with its numbers when the other selects: its operands are the same. */
static void a_selection_elsewhere_changes_nothing(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[4]){1, 2, 3, 4}, 4), a = mg_mul(tape, x, x), b = mg_mul(tape, x + 1, x + 1);
    mg_program *one = mg_program_new(tape, a, 0), *two = mg_program_new(tape, b, 0);
    CHECK(mg_program_forward(one) == MG_OK);
    CHECK(mg_program_bind(two, 0, b, 0, 0, x + 1, 1, 3) == MG_OK);
    CHECK(mg_program_set(two, (int32_t[1]){2}, 1) == MG_OK);
    CHECK(mg_program_reverse(one) == MG_OK && mg_adjoint(tape, x) == 2);
    CHECK(mg_program_forward(two) == MG_OK && mg_value(tape, b) == 8);
    mg_program_free(one);
    mg_program_free(two);
    mg_tape_free(tape);
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static size_t losses_of(mg_tape *tape, mg_id result, mg_mark since) {
    mg_program *program = mg_program_new(tape, result, since);
    CHECK(program != NULL);
    const size_t losses = program == NULL ? 0 : mg_program_losses(program, 0);
    mg_program_free(program);
    return losses;
}

static mg_id sum_of(mg_tape *tape, const mg_id *lanes, size_t n, const mg_view *by) {
    const mg_view terms = {.list = lanes, .entries = n, .block = 1, .by_term = true};
    return mg_sum(tape, 1, 1, n, &terms, by);
}

/* Of no inputs, all losses that are there: the results that are sums of losses, or their mean, and no others. */
static void sums_of_losses_are_known(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[4]){1, 2, 3, 4}, 4);
    const mg_id a = mg_unary(tape, MG_EXP, x), b = mg_unary(tape, MG_EXP, x + 1), c = mg_unary(tape, MG_EXP, x + 2);
    const mg_id two = record_map(tape, MG_EXP, x, 2, 0);
    const mg_view one = one_lane(x);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[3]){a, b, c}, 3), 0) == 3);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[1]){b}, 1), 0) == 1);
    CHECK(losses_of(tape, sum_of(tape, (mg_id[3]){a, b, c}, 3, NULL), 0) == 3);
    CHECK(losses_of(tape, sum_of(tape, (mg_id[2]){a, c}, 2, NULL), 0) == 2);
    /* in another order, one of them twice, not all computed, of several lanes, with weights */
    CHECK(losses_of(tape, record_mean(tape, (mg_id[3]){a, c, b}, 3), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[3]){a, b, b}, 3), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[2]){b, a}, 2), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[2]){a, a}, 2), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[3]){x, a, b}, 3), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[2]){a, two}, 2), 0) == 0);
    CHECK(losses_of(tape, record_mean(tape, (mg_id[2]){a, two + 1}, 2), 0) == 0);
    CHECK(losses_of(tape, sum_of(tape, (mg_id[3]){a, b, c}, 3, &one), 0) == 0);
    /* a sum of lanes side by side, of two lists, or to two lanes; a sum times something else, or something else */
    const mg_view side = terms_from(a), pairs = {.list = (mg_id[2]){a, b}, .entries = 2, .block = 2, .term = 1,
                                                 .by_term = true};
    CHECK(b == a + 1 && c == b + 1);
    CHECK(losses_of(tape, mg_sum(tape, 1, 1, 3, &side, NULL), 0) == 0);
    CHECK(losses_of(tape, mg_sum(tape, 1, 1, 4, &pairs, NULL), 0) == 0);
    const mg_view list = {.list = (mg_id[2]){a, b}, .entries = 2, .block = 1, .by_term = true};
    const mg_id both = mg_sum(tape, 1, 2, 2, &list, NULL), sum = mg_sum(tape, 1, 1, 2, &list, NULL);
    CHECK(losses_of(tape, both, 0) == 0 && losses_of(tape, both + 1, 0) == 0);
    CHECK(losses_of(tape, record_map(tape, MG_MUL, sum, 1, 0.25), 0) == 0);
    CHECK(losses_of(tape, record_map(tape, MG_MUL, sum, 1, 1), 0) == 0);
    CHECK(losses_of(tape, record_map(tape, MG_ADD, sum, 1, 0.5), 0) == 0);
    CHECK(losses_of(tape, mg_mul(tape, sum, x), 0) == 0);
    CHECK(losses_of(tape, record_map(tape, MG_MUL, both, 2, 0.5), 0) == 0);
    CHECK(losses_of(tape, record_map(tape, MG_MUL, a, 1, 1), 0) == 0);
    CHECK(losses_of(tape, mg_largest(tape, 1, 2, &list), 0) == 0);
    CHECK(losses_of(tape, x, 0) == 0);
    /* a sum that is no part of the program */
    const mg_mark mark = mg_tape_mark(tape);
    CHECK(losses_of(tape, record_map(tape, MG_MUL, sum, 1, 0.5), mark) == 0);
    mg_tape_free(tape);
}

/* All losses are known, or there is no program. */
static void losses_are_known_without_memory(void) {
    enum { LOSSES = 40 };
    bool complete = false;
    uint64_t k = 1;
    for (; !complete && k < 60; k++) {
        mg_tape *tape = mg_tape_new();
        const mg_id x = mg_leaf(tape, 1);
        mg_id losses[LOSSES];
        for (size_t t = 0; t < LOSSES; t++) {
            losses[t] = mg_unary(tape, MG_EXP, x);
        }
        const mg_id loss = record_mean(tape, losses, LOSSES);
        mg_tape_fail_allocation(tape, k);
        mg_program *program = mg_program_new(tape, loss, 0);
        complete = tape->fail_in > 0;
        mg_tape_fail_allocation(tape, 0);
        CHECK(mg_tape_take_status(tape) == (program == NULL ? MG_NO_MEMORY : MG_OK));
        CHECK(program == NULL || mg_program_losses(program, 0) == LOSSES);
        mg_program_free(program);
        mg_tape_free(tape);
    }
    CHECK(complete && k > 8);
}

/* Loss t reads what input t and input t + 1 select, and with the second it reads what comes right after the first. */
static void a_text_has_the_losses_that_need_no_more_tokens(void) {
    enum { LOSSES = 4, WORDS = 3 };
    mg_tape *tape = mg_tape_new();
    const mg_id table = mg_leaves(tape, (double[WORDS]){0.5, 1, 2}, WORDS);
    mg_id read[LOSSES + 1], losses[LOSSES];
    for (size_t t = 0; t <= LOSSES; t++) {
        read[t] = mg_unary(tape, MG_TANH, table);
    }
    for (size_t t = 0; t < LOSSES; t++) {
        losses[t] = mg_add(tape, read[t], read[t + 1]);
    }
    mg_program *program = mg_program_new(tape, record_mean(tape, losses, LOSSES), 0);
    for (size_t t = LOSSES + 1; t-- > 0;) {
        CHECK(mg_program_bind(program, t, read[t], 0, 0, table, 1, WORDS) == MG_OK);
    }
    for (size_t tokens = 0; tokens <= LOSSES + 2; tokens++) {
        const size_t all = tokens > LOSSES ? LOSSES : tokens == 0 ? 0 : tokens - 1;
        CHECK(mg_program_losses(program, tokens) == all);
    }
    CHECK(mg_tape_close(tape) == MG_OK && mg_program_losses(program, LOSSES + 1) == 0);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* ---- programs of shorter texts ------------------------------------------------------------------------------------ */

typedef enum {
    NOTHING,
    A_CONSTANT,
    AN_EXPONENT,
    A_LEAF,
    A_MASK, /* the values of leaves that the function makes, for a map and for a sum */
    A_SUMMED_MASK,
    AN_OPERATION,
    A_FIRST_LANE,
    A_SECOND_LANE,
    AN_ENTRY, /* of a list: the first, and the last */
    A_LAST_ENTRY,
    A_GROUP, /* of a view: its strides, and sizes */
    A_LANE,
    A_TERM,
    GROUPS,
    TERMS,
    FACTORS,
    AN_INPUT,
    A_TABLE,
    A_SIZE,
    A_COUNT,
    A_HEAD, /* the statement that an input is bound to, and which of its operands */
    A_FACTOR,
    NO_INPUT,    /* at the last position */
    A_STATEMENT, /* one more, in the first position */
    AN_ORDER,    /* of the losses */
    THE_RESULT,  /* the sum in the place of the mean */
    CHANGES
} change;

typedef struct {
    mg_tape *tape;
    mg_id table, other, weights; /* 4 rows of 2; 4 rows of 2; 8 */
    mg_mark since;
    bool by_layers; /* all positions of a layer are recorded before the next layer */
} text;

/* What a position reads: what its input selects, twice. */
static mg_id record_reading(const text *x, change differs) {
    const mg_id table = differs == A_TABLE ? x->other : x->table;
    const mg_id twice = record_add(x->tape, table, table, 2), tanh = record_map(x->tape, MG_TANH, table, 2, 0);
    return record_add(x->tape, twice, tanh, 2);
}

/* The loss of position t, from what it and the one before have read. */
static mg_id record_loss(const text *x, size_t t, const mg_id *read, change differs) {
    mg_tape *tape = x->tape;
    mg_id y = record_scale_by(tape, read[t], 2, differs == A_CONSTANT ? 3 : 2);
    y = record_map(tape, MG_POW, y, 2, differs == AN_EXPONENT ? 4 : 2);
    y = record_map(tape, differs == AN_OPERATION ? MG_EXP : MG_SIGMOID, y, 2, 0);
    y = record_add(tape, y, mg_leaves(tape, (double[2]){1, differs == A_MASK ? 9 : (double)t}, 2), 2);
    const mg_id before = read[t > 0 ? t - 1 : 0];
    const mg_id joined[2] = {differs == AN_ENTRY ? before : y, differs == A_LAST_ENTRY ? y : before};
    const mg_view terms = {.term = 1, .list = joined, .entries = 2, .block = 2, .by_term = true};
    const mg_view weights = {.first = x->weights + (differs == A_LEAF), .term = 1};
    const mg_id sum = mg_sum(tape, 1, 1, 4, &terms, &weights);
    const mg_view square = {.first = x->weights, .group = differs == A_GROUP ? 1 : 2, .lane = differs == A_LANE ? 2 : 1,
                            .term = differs == A_TERM ? 2 : 1};
    const size_t groups = differs == GROUPS ? 1 : 2;
    const mg_id more = mg_sum(tape, groups, 4 / groups, differs == TERMS ? 1 : 2, &square,
                              differs == FACTORS ? &square : NULL);
    const mg_view mask = terms_from(mg_leaves(tape, (double[2]){(double)t, differs == A_SUMMED_MASK ? 9 : 1}, 2));
    const mg_id product = mg_mul(tape, more + (differs == A_FIRST_LANE), y + (differs == A_SECOND_LANE));
    const mg_id other = mg_mul(tape, mg_sum(tape, 1, 1, 2, &mask, NULL), sum);
    return mg_add(tape, differs == A_STATEMENT && t == 0 ? mg_unary(tape, MG_TANH, product) : product, other);
}

/* Losses of so many positions, each of a row that its input selects, and of that of the position before. */
static mg_program *record_text(const text *x, size_t positions, change differs) {
    mg_tape *tape = x->tape;
    mg_id read[MOST], losses[MOST];
    for (size_t t = 0; t < positions; t++) {
        read[t] = x->by_layers || t == 0 ? record_reading(x, differs) : MG_NONE;
    }
    for (size_t t = 0; t < positions; t++) {
        read[t] = read[t] == MG_NONE ? record_reading(x, differs) : read[t];
        losses[differs == AN_ORDER ? positions - 1 - t : t] = record_loss(x, t, read, differs);
    }
    const mg_id mean = record_mean(tape, losses, positions);
    mg_program *program = mg_program_new(tape, differs == THE_RESULT ? mean - 2 : mean, 0); /* before 1 / n, and by it */
    for (size_t t = 0; t < positions && CHECK(program != NULL); t++) {
        const mg_id twice = read[t] - 4, tanh = read[t] - 2, table = differs == A_TABLE ? x->other : x->table;
        const size_t size = differs == A_SIZE ? 3 : 2, count = differs == A_SIZE ? 2 : differs == A_COUNT ? 3 : 4;
        if (differs != NO_INPUT || t + 1 < positions) {
            CHECK(mg_program_bind(program, differs == AN_INPUT ? t + 1 : t, differs == A_HEAD ? tanh : twice,
                                  differs == A_FACTOR, 0, table, size, count) == MG_OK);
        }
    }
    return program;
}

static text new_text(bool by_layers) {
    text x = {.tape = mg_tape_new(), .by_layers = by_layers};
    x.table = mg_leaves(x.tape, (double[8]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
    x.other = mg_leaves(x.tape, (double[8]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
    x.weights = mg_leaves(x.tape, (double[8]){1, 1, 1, 1, 1, 1, 1, 1}, 8);
    x.since = mg_tape_mark(x.tape);
    return x;
}

static void what_begins_a_program_is_the_same_in_all(void) {
    for (size_t positions = 1; positions <= 5; positions++) {
        for (int by_layers = 0; by_layers < 2; by_layers++) {
            const text x = new_text(by_layers);
            mg_program *whole = record_text(&x, 4, NOTHING);
            for (change differs = NOTHING; differs < CHANGES; differs++) {
                bool begins;
                mg_program *shorter = record_text(&x, positions, differs);
                CHECK(mg_program_begins(whole, shorter, x.since, &begins) == MG_OK);
                const bool same = differs == NOTHING || (differs == AN_ORDER && positions == 1);
                if (!CHECK(begins == (positions <= 4 && same))) {
                    printf("    change %d at %zu positions\n", (int)differs, positions);
                }
                CHECK(mg_program_begins(whole, shorter, UINT64_MAX, &begins) == MG_OK && !begins); /* other leaves */
                mg_tape_fail_allocation(x.tape, 1);
                CHECK(mg_program_begins(whole, shorter, x.since, &begins) == MG_NO_MEMORY && !begins);
                mg_tape_fail_allocation(x.tape, 0);
                mg_program_free(shorter);
            }
            mg_program_free(whole);
            mg_tape_free(x.tape);
        }
    }
}

/* Programs of other tapes, and those whose table is gone, are refused. */
static void what_cannot_begin_a_program_is_refused(void) {
    bool begins = true;
    const text x = new_text(false), elsewhere = new_text(false);
    mg_program *whole = record_text(&x, 3, NOTHING), *stranger = record_text(&elsewhere, 2, NOTHING);
    CHECK(mg_program_begins(whole, stranger, 0, &begins) == MG_SHAPE && !begins);
    text gone = x;
    gone.table = mg_leaves(x.tape, (double[8]){0}, 8);
    mg_program *shorter = record_text(&gone, 2, NOTHING);
    CHECK(mg_tape_rewind(x.tape, gone.table) == MG_OK);
    CHECK(mg_program_begins(whole, shorter, 0, &begins) == MG_STALE && !begins);
    CHECK(mg_program_begins(shorter, whole, 0, &begins) == MG_STALE && !begins);
    mg_program_free(shorter);
    mg_program_free(stranger);
    mg_program_free(whole);
    mg_tape_free(elsewhere.tape);
    mg_tape_free(x.tape);
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

/* Their first lanes, in order of recording, from any number on, and what the result does not need left out. */
static void statements_are_listed(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[2]){1, 2}, 2), a = record_map(tape, MG_EXP, x, 2, 0);
    CHECK(mg_unary(tape, MG_EXP, a) != MG_NONE);
    const mg_view terms = terms_from(a);
    const mg_id b = mg_sum(tape, 1, 1, 2, &terms, NULL), c = mg_unary(tape, MG_EXP, b);
    const mg_id wanted[3] = {a, b, c};
    mg_program *program = mg_program_new(tape, c, 0);
    for (size_t from = 0; from <= 4; from++) {
        for (size_t room = 0; room <= 4; room++) {
            mg_id lanes[5] = {1, 1, 1, 1, 1};
            CHECK(mg_program_lanes(program, from, lanes, room) == 3);
            for (size_t k = 0; k < 5; k++) {
                CHECK(lanes[k] == (k < room && from + k < 3 ? wanted[from + k] : 1));
            }
        }
    }
    CHECK(mg_tape_close(tape) == MG_OK && mg_program_lanes(program, 0, NULL, 0) == 0);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* Pages are used again: what is recorded later may stand before what it reads. */
static void statements_are_computed_in_order_of_recording(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[3 * MG_PAGE] = {0};
    CHECK(mg_leaves(tape, numbers, 3 * MG_PAGE) != MG_NONE);
    const mg_id x = mg_leaf(tape, 3), a = mg_mul(tape, x, x);
    CHECK(mg_tape_collect(tape, &a, (size_t[1]){1}, 1) == MG_OK);
    mg_id b = mg_add(tape, a, x);
    for (size_t n = 0; n < 2 * MG_PAGE; n++) {
        b = mg_binary_with(tape, MG_ADD, b, 1);
    }
    mg_program *program = mg_program_new(tape, b, 0);
    CHECK(mg_set_value(tape, x, 5) == MG_OK);
    CHECK(mg_program_forward(program) == MG_OK && mg_value(tape, b) == 30 + 2 * MG_PAGE);
    CHECK(mg_program_reverse(program) == MG_OK && mg_adjoint(tape, x) == 11);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* A replay writes its own lanes: what was recorded after the program is not overwritten by that. */
static void what_comes_after_a_program_is_not_overwritten(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[2]){1, 2}, 2), a = mg_unary(tape, MG_EXP, x);
    mg_program *program = mg_program_new(tape, a, 0);
    const mg_id b = mg_unary(tape, MG_TANH, x + 1);
    const mg_view terms = terms_from(b);
    const mg_id sum = mg_sum(tape, 1, 1, 1, &terms, &terms);
    CHECK(mg_program_forward(program) == MG_OK);
    CHECK(mg_sweep(tape, sum) == MG_OK);
    mg_program_free(program);
    mg_tape_free(tape);
}

/* Whoever holds a program gives it back: trainers and samplers with it. */
static void what_holds_a_program_gives_it_back(void) {
    const mg_optimizer sgd = {.kind = MG_SGD};
    mg_tape *tape = mg_tape_new();
    const mg_id x = mg_leaves(tape, (double[4]){1, 2, 3, 4}, 4), a = mg_mul(tape, x, x);
    const mg_id loss = record_mean(tape, &a, 1);
    CHECK(mg_sweep(tape, loss) == MG_OK);
    const uint64_t bytes = mg_tape_memory(tape).bytes;
    mg_program *program = mg_program_new(tape, loss, 0);
    CHECK(mg_program_bind(program, 0, a, 0, 0, x, 1, 4) == MG_OK);
    mg_trainer *trainer = mg_trainer_new(program, &x, (size_t[1]){4}, 1, &sgd, false);
    CHECK(trainer != NULL && mg_tape_memory(tape).bytes > bytes);
    mg_program_free(program);
    mg_trainer_free(trainer);
    CHECK(mg_tape_memory(tape).bytes <= bytes);
    mg_tape_free(tape);
}

int main(void) {
    RUN(any_operand_may_be_selected);
    RUN(a_factor_that_there_is_not_is_refused);
    RUN(lanes_are_selected_within_one_statement);
    RUN(a_table_that_is_gone_is_refused);
    RUN(a_selection_elsewhere_changes_nothing);
    RUN(sums_of_losses_are_known);
    RUN(losses_are_known_without_memory);
    RUN(a_text_has_the_losses_that_need_no_more_tokens);
    RUN(what_begins_a_program_is_the_same_in_all);
    RUN(what_cannot_begin_a_program_is_refused);
    RUN(statements_are_listed);
    RUN(statements_are_computed_in_order_of_recording);
    RUN(what_comes_after_a_program_is_not_overwritten);
    RUN(what_holds_a_program_gives_it_back);
    return verdict();
}
