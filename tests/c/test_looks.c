/* test_looks.c: what can be seen of a statement. */
#include "course_programs.h"

#include <math.h>

typedef struct {
    mg_tape *tape;
    mg_id base;      /* id of the first lane; all lanes lie on fewer than `size` ids from it */
    double *adjoint; /* by id - base */
    bool *visited;
    mg_id *order;
    size_t size, listed;
} looked;

static void look_down(looked *l, mg_id id) {
    if (l->visited[id - l->base]) {
        return;
    }
    l->visited[id - l->base] = true;
    size_t count = mg_lane_operand_count(l->tape, id);
    mg_id *operands = allocate(count, sizeof *operands);
    double *partials = allocate(count, sizeof *partials);
    CHECK(mg_lane_operands(l->tape, id, operands, partials) == MG_OK);
    for (size_t k = 0; k < count; k++) {
        CHECK(operands[k] < id);
        look_down(l, operands[k]);
    }
    l->order[l->listed++] = id;
    free(operands);
    free(partials);
}

/* The chain rule over what mg_lane_operands says gives the adjoints that the sweep gives, up to rounding. */
static void operands_and_partials_describe_the_sweep(void) {
    static program *const programs[] = {program_add, program_scale_by, program_relu, program_relu_squared,
                                        program_rmsnorm, program_linear, program_softmax, program_attention,
                                        program_surprisal, program_mean, program_composition};
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        for (uint64_t round = 0; round < (small_run() ? 2 : 20); round++) {
            course c = new_course(true);
            uint64_t state = 31 * (round + 1) + p;
            vector result = programs[p](&c, &state);
            mg_id last = lane(&c, result, 0);
            looked l = {.tape = c.tape, .base = c.lanes[0], .size = (size_t)(mg_tape_mark(c.tape) - c.lanes[0])};
            l.adjoint = allocate(l.size, sizeof *l.adjoint);
            l.visited = allocate(l.size, sizeof *l.visited);
            l.order = allocate(l.size, sizeof *l.order);
            look_down(&l, last);
            l.adjoint[last - l.base] = 1;
            for (size_t i = l.listed; i-- > 0;) {
                size_t count = mg_lane_operand_count(c.tape, l.order[i]);
                mg_id *operands = allocate(count, sizeof *operands);
                double *partials = allocate(count, sizeof *partials);
                CHECK(mg_lane_operands(c.tape, l.order[i], operands, partials) == MG_OK);
                for (size_t k = 0; k < count; k++) {
                    l.adjoint[operands[k] - l.base] += partials[k] * l.adjoint[l.order[i] - l.base];
                }
                free(operands);
                free(partials);
            }
            CHECK(mg_sweep(c.tape, last) == MG_OK);
            for (size_t i = 0; i < l.listed; i++) {
                double swept = mg_adjoint(c.tape, l.order[i]), chained = l.adjoint[l.order[i] - l.base];
                CHECK(fabs(swept - chained) <= 1e-9 * (1 + fabs(swept)));
            }
            free(l.adjoint);
            free(l.visited);
            free(l.order);
            end_course(&c);
        }
    }
}

static void lanes_know_their_operation(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {0.1, 0.2, 0.3, 0.4};
    mg_id x = record_leaves(tape, numbers, 4), keys[2] = {x, x};
    const mg_view pairs = {.first = x, .group = 2, .term = 1};
    const struct {
        mg_id first;
        size_t n;
        int32_t operation;
        double constant;
        size_t operands;
    } cases[] = {
        {x, 4, MG_LEAF, NAN, 0},
        {record_add(tape, x, x, 4), 4, MG_ADD, NAN, 2},
        {record_scale_by(tape, x, 4, 2.5), 4, MG_MUL, NAN, 2},
        {record_relu(tape, x, 4, false), 4, MG_RELU, NAN, 1},
        {record_relu(tape, x, 4, true), 4, MG_POW, 2, 1},
        {record_rmsnorm(tape, x, 4), 4, MG_MUL, NAN, 2},
        {record_linear(tape, x, x, 2, 2), 2, MG_SUM, NAN, 4},
        {record_softmax(tape, x, 4), 4, MG_MUL, NAN, 2},
        {record_attention(tape, x, keys, keys, 2, 2, 2), 4, MG_SUM, NAN, 4},
        {mg_sum(tape, 2, 1, 2, &pairs, NULL), 2, MG_SUM, NAN, 2},
        {mg_largest(tape, 2, 2, &pairs), 2, MG_LARGEST, NAN, 2},
        {mg_custom(tape, 1, keys, numbers, 2), 1, MG_CUSTOM, NAN, 2},
        {mg_custom(tape, 1, NULL, NULL, 0), 1, MG_LEAF, NAN, 0},
        {mg_mul(tape, x, x), 1, MG_MUL, NAN, 2},
        {mg_unary_with(tape, MG_POW, x, 3), 1, MG_POW, 3, 1},
        {mg_unary_with(tape, MG_EXPONENT, x, 4), 1, MG_EXPONENT, 4, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t l = 0; l < cases[i].n; l++) {
            CHECK(mg_lane_operation(tape, cases[i].first + l) == cases[i].operation);
            CHECK(same_number(mg_lane_constant(tape, cases[i].first + l), cases[i].constant));
            CHECK(mg_lane_operand_count(tape, cases[i].first + l) == cases[i].operands);
        }
    }
    CHECK(mg_tape_take_status(tape) == MG_OK);
    mg_tape_free(tape);
}

/* What a program's statements are, and what they read, as they were recorded. */
static void statements_can_be_looked_into(void) {
    mg_tape *tape = mg_tape_new();
    const mg_id run = mg_leaves(tape, (double[6]){1, 2, 3, 4, 5, 6}, 6), list[2] = {run + 4, run};
    const mg_view w = {.first = run, .lane = 2, .term = 1}, x = {.list = list, .entries = 2, .block = 1, .by_term = true};
    const mg_id sum = mg_sum(tape, 1, 2, 2, &w, &x), twice = mg_binary_with(tape, MG_MUL, sum + 1, 2);
    mg_shape shape;
    mg_view view;
    mg_id found[2] = {0, 0}, lanes[3] = {0, 0, 0};
    CHECK(mg_lane_statement(tape, sum + 1, &shape) == MG_OK && shape.operation == MG_SUM && shape.first == sum);
    CHECK(shape.groups == 1 && shape.width == 2 && shape.terms == 2 && shape.factors == 2);
    CHECK(mg_lane_view(tape, sum, 0, &view, NULL, 0) == MG_OK && view.first == run && view.lane == 2 && view.term == 1);
    CHECK(view.entries == 0 && mg_lane_view(tape, sum, 1, &view, found, 1) == MG_OK && view.entries == 2);
    CHECK(view.by_term && view.block == 1 && found[0] == run + 4 && found[1] == 0); /* no more than there is room for */
    CHECK(mg_lane_view(tape, sum, 2, &view, found, 2) == MG_SHAPE && mg_lane_view(tape, run, 0, &view, found, 2) == MG_SHAPE);
    CHECK(mg_lane_statement(tape, twice, &shape) == MG_OK && shape.operation == MG_MUL && shape.width == 1);
    CHECK(shape.factors == 2 && shape.first == twice);
    mg_program *recorded = mg_program_new(tape, twice, 0);
    CHECK(mg_program_lanes(recorded, 0, lanes, 3) == 2 && lanes[0] == sum && lanes[1] == twice && lanes[2] == 0);
    CHECK(mg_program_lanes(recorded, 1, lanes, 1) == 2 && lanes[0] == twice);
    mg_program_free(recorded);
    mg_tape_free(tape);
}

int main(void) {
    RUN(operands_and_partials_describe_the_sweep);
    RUN(lanes_know_their_operation);
    RUN(statements_can_be_looked_into);
    return verdict();
}
