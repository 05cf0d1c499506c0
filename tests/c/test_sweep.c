/* test_sweep.c: the reverse sweep, against a plain recursive search. */
#include "check.h"
#include "compositions.h"

#include <math.h>

/* ---- the reference: nodes, and a recursive depth-first search --------------------------------------------------- */

typedef struct {
    double value, adjoint, partial[2];
    size_t operand[2];
    int arity;
    bool visited;
} node;

typedef struct {
    node *nodes;
    size_t count;
    size_t *order; /* every node after its operands */
    size_t listed;
} graph;

static void visit(graph *g, size_t n) {
    if (g->nodes[n].visited) {
        return;
    }
    g->nodes[n].visited = true;
    for (int k = 0; k < g->nodes[n].arity; k++) {
        visit(g, g->nodes[n].operand[k]);
    }
    g->order[g->listed++] = n;
}

static void reference_sweep(graph *g, size_t result) {
    g->listed = 0;
    for (size_t n = 0; n < g->count; n++) {
        g->nodes[n].visited = false;
    }
    visit(g, result);
    g->nodes[result].adjoint = 1;
    for (size_t i = g->listed; i-- > 0;) {
        const node *here = &g->nodes[g->order[i]];
        for (int k = 0; k < here->arity; k++) {
            g->nodes[here->operand[k]].adjoint += here->partial[k] * here->adjoint;
        }
    }
}

/* Operations whose rules are simple enough to be written again in a line; the others are in test_operations.c. */
enum { PLAIN_OPERATIONS = 10 };

static node plain_node(const graph *g, size_t choice, size_t a, size_t b, int32_t *operation) {
    double p = g->nodes[a].value, q = g->nodes[b].value, value;
    switch (choice) {
    case 0: *operation = MG_ADD; return (node){.value = p + q, .partial = {1, 1}, .operand = {a, b}, .arity = 2};
    case 1: *operation = MG_MUL; return (node){.value = p * q, .partial = {q, p}, .operand = {a, b}, .arity = 2};
    case 2: *operation = MG_RELU; return (node){.value = p > 0 ? p : 0, .partial = {p > 0}, .operand = {a}, .arity = 1};
    case 3:
        *operation = MG_TANH;
        value = tanh(p);
        return (node){.value = value, .partial = {1 - pow(value, 2)}, .operand = {a}, .arity = 1};
    case 4: *operation = MG_SIN; return (node){.value = sin(p), .partial = {cos(p)}, .operand = {a}, .arity = 1};
    case 5: *operation = MG_COS; return (node){.value = cos(p), .partial = {-sin(p)}, .operand = {a}, .arity = 1};
    case 6:
        *operation = MG_MAX;
        return (node){.value = q > p ? q : p, .partial = {!(q > p), q > p}, .operand = {a, b}, .arity = 2};
    case 7:
        *operation = MG_MIN;
        return (node){.value = q < p ? q : p, .partial = {!(q < p), q < p}, .operand = {a, b}, .arity = 2};
    case 8: /* a ** a shows in which order two different partials of one operand are added */
        if (p > 0.1) {
            *operation = MG_POWER;
            value = pow(p, q);
            double da = q * pow(p, q - 1), db = value * log(p);
            return (node){.value = value, .partial = {da, db}, .operand = {a, b}, .arity = 2};
        }
        /* fallthrough */
    default:
        *operation = MG_ABS;
        return (node){.value = fabs(p), .partial = {(double)((p > 0) - (p < 0))}, .operand = {a}, .arity = 1};
    }
}

/* A random graph of `count` nodes, recorded on the tape and built in the reference. Operands are often recent, so that
   graphs are deep, and often the same, so that nodes are shared. */
static void random_graph(mg_tape *tape, graph *g, mg_id *ids, size_t count, uint64_t *state) {
    g->count = 0;
    while (g->count < count) {
        size_t n = g->count;
        if (n < 3 || random_below(state, 8) == 0) {
            g->nodes[n] = (node){.value = random_between(state, -2, 2)};
            ids[n] = mg_leaf(tape, g->nodes[n].value);
        } else {
            size_t reach = random_below(state, 3) ? (n < 6 ? n : 6) : n;
            size_t a = n - 1 - random_below(state, reach);
            size_t b = random_below(state, 5) == 0 ? a : n - 1 - random_below(state, reach);
            int32_t operation;
            node made = plain_node(g, random_below(state, PLAIN_OPERATIONS), a, b, &operation);
            if (!(fabs(made.value) < 1e6)) {
                made = plain_node(g, 3, a, b, &operation);
            }
            g->nodes[n] = made;
            switch (operation) {
            case MG_ADD: ids[n] = mg_add(tape, ids[a], ids[b]); break;
            case MG_MUL: ids[n] = mg_mul(tape, ids[a], ids[b]); break;
            case MG_MAX:
            case MG_MIN:
            case MG_POWER: ids[n] = mg_binary(tape, operation, ids[a], ids[b]); break;
            default: ids[n] = mg_unary(tape, operation, ids[a]); break;
            }
        }
        g->count++;
    }
}

static bool same_graph(mg_tape *tape, const graph *g, const mg_id *ids) {
    bool same = true;
    for (size_t n = 0; n < g->count; n++) {
        same = same && CHECK(same_bits(mg_value(tape, ids[n]), g->nodes[n].value));
        same = same && CHECK(same_bits(mg_adjoint(tape, ids[n]), g->nodes[n].adjoint));
    }
    return same;
}

static void sweep_random_graphs(size_t rounds, size_t smallest, size_t largest, uint64_t seed) {
    graph g = {.nodes = allocate(largest, sizeof *g.nodes), .order = allocate(largest, sizeof *g.order)};
    mg_id *ids = allocate(largest, sizeof *ids);
    mg_tape *tape = mg_tape_new();
    uint64_t state = seed;
    for (size_t round = 0; round < rounds; round++) {
        mg_mark mark = mg_tape_mark(tape);
        random_graph(tape, &g, ids, smallest + random_below(&state, largest - smallest + 1), &state);
        size_t sweeps = 1 + random_below(&state, 3);
        for (size_t s = 0; s < sweeps; s++) { /* adjoints accumulate from sweep to sweep */
            size_t result = s == 0 ? g.count - 1 : random_below(&state, g.count);
            reference_sweep(&g, result);
            CHECK(mg_sweep(tape, ids[result]) == MG_OK);
            if (!same_graph(tape, &g, ids)) {
                printf("    in round %zu, sweep %zu\n", round, s);
            }
        }
        if (round % 3 != 0) { /* other rounds stay, so that graphs begin and end anywhere in a page */
            CHECK(mg_tape_rewind(tape, mark) == MG_OK);
        }
    }
    mg_tape_free(tape);
    free(g.nodes);
    free(g.order);
    free(ids);
}

static void small_random_graphs_sweep_as_the_reference(void) {
    sweep_random_graphs(small_run() ? 200 : 4000, 1, 40, 1);
}

static void large_random_graphs_sweep_as_the_reference(void) {
    sweep_random_graphs(small_run() ? 3 : 60, 500, 3000, 2);
}

static void a_square_adds_twice(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 0.1), square = mg_mul(tape, a, a), fourth = mg_mul(tape, square, square);
    CHECK(mg_sweep(tape, fourth) == MG_OK);
    double s = 0.1 * 0.1, ds = 0;
    ds += s * 1;
    ds += s * 1;
    double da = 0;
    da += 0.1 * ds;
    da += 0.1 * ds;
    CHECK(same_bits(mg_adjoint(tape, square), ds) && same_bits(mg_adjoint(tape, a), da));
    CHECK(mg_sweep(tape, a) == MG_OK); /* a leaf: only its own adjoint */
    CHECK(same_bits(mg_adjoint(tape, a), 1) && same_bits(mg_adjoint(tape, square), ds));
    mg_tape_free(tape);
}

/* ---- size ------------------------------------------------------------------------------------------------------- */

static void a_long_chain_does_not_overflow_the_stack(void) {
    size_t n = small_run() ? 100000 : 5000000;
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 1), sum = mg_leaf(tape, 0), first = 0;
    for (size_t i = 0; i < n; i++) {
        sum = mg_add(tape, sum, a);
        first = i == 0 ? sum : first;
    }
    CHECK(mg_value(tape, sum) == (double)n);
    CHECK(mg_sweep(tape, sum) == MG_OK);
    CHECK(mg_adjoint(tape, a) == (double)n && mg_adjoint(tape, first) == 1);
    CHECK(mg_sweep(tape, first) == MG_OK && mg_adjoint(tape, a) == (double)n + 1);
    mg_tape_free(tape);
}

static void a_long_chain_of_spans_does_not_overflow_the_stack(void) {
    size_t n = small_run() ? 10000 : 200000;
    mg_tape *tape = mg_tape_new();
    const double numbers[2] = {1, 2};
    mg_id a = record_leaves(tape, numbers, 2), sum = a;
    for (size_t i = 0; i < n; i++) {
        sum = i % 2 ? record_add(tape, sum, a, 2) : record_scale_by(tape, sum, 2, 1);
    }
    CHECK(mg_value(tape, sum + 1) == (double)(n + 2));
    CHECK(mg_sweep(tape, sum + 1) == MG_OK);
    CHECK(mg_adjoint(tape, a + 1) == (double)(n / 2 + 1) && mg_adjoint(tape, a) == 0);
    mg_tape_free(tape);
}

static void a_custom_statement_may_have_many_operands(void) {
    size_t n = 100000;
    mg_tape *tape = mg_tape_new();
    double *partials = allocate(n, sizeof *partials), *adjoints = allocate(n, sizeof *adjoints);
    double *expected = allocate(n, sizeof *expected);
    mg_id *operands = allocate(n, sizeof *operands);
    uint64_t state = 4;
    for (size_t k = 0; k < n; k++) {
        partials[k] = random_between(&state, -1, 1);
    }
    mg_id x = record_leaves(tape, partials, n);
    double g = 0.3;
    for (size_t k = 0; k < n; k++) { /* some operands several times: their additions come in order */
        size_t which = random_below(&state, 10) == 0 ? k / 1000 : k;
        operands[k] = x + which;
        expected[which] += partials[k] * g;
    }
    mg_id y = mg_custom(tape, 1.5, operands, partials, n), z = mg_binary_with(tape, MG_MUL, y, g);
    CHECK(mg_value(tape, y) == 1.5 && mg_lane_operand_count(tape, y) == n);
    CHECK(mg_sweep(tape, z) == MG_OK);
    CHECK(mg_read_adjoints(tape, x, n, adjoints) == MG_OK);
    CHECK(memcmp(adjoints, expected, n * sizeof *expected) == 0);
    CHECK(mg_lane_operands(tape, y, operands, adjoints) == MG_OK);
    CHECK(memcmp(adjoints, partials, n * sizeof *partials) == 0);
    free(partials);
    free(adjoints);
    free(expected);
    free(operands);
    mg_tape_free(tape);
}

/* Other partials, before a sweep; only a custom statement has such, and as many as operands. */
static void partials_of_a_custom_statement_can_be_set(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 2), b = mg_leaf(tape, 3), operands[3] = {a, b, a}, product = mg_mul(tape, a, b);
    const double none[3] = {0, 0, 0}, some[3] = {0.5, -2, 0.25};
    mg_id y = mg_custom(tape, 42, operands, none, 3);
    CHECK(mg_set_partials(tape, y, some, 2) == MG_SHAPE && mg_set_partials(tape, y, some, 4) == MG_SHAPE);
    CHECK(mg_set_partials(tape, product, some, 2) == MG_OPERATION && mg_set_partials(tape, a, some, 0) == MG_OPERATION);
    const mg_view both = {.first = a, .term = 1};
    CHECK(mg_set_partials(tape, mg_sum(tape, 1, 1, 2, &both, NULL), some, 2) == MG_OPERATION);
    CHECK(mg_set_partials(tape, y, some, 3) == MG_OK && mg_sweep(tape, y) == MG_OK);
    CHECK(same_bits(mg_adjoint(tape, a), 0.75) && same_bits(mg_adjoint(tape, b), -2));
    mg_tape_free(tape);
}

/* The course's Value(data, children, local_grads), which plain_node cannot be: more than two operands. */
static void custom_statements_are_visited_in_order(void) {
    mg_tape *tape = mg_tape_new();
    mg_id a = mg_leaf(tape, 0.1), b = mg_unary(tape, MG_EXP, a), c = mg_mul(tape, b, a), d = mg_unary(tape, MG_SIN, b);
    mg_id operands[4] = {d, c, b, d};
    const double partials[4] = {0.7, -1.3, 2.1, 0.01};
    mg_id y = mg_custom(tape, 42, operands, partials, 4);
    CHECK(mg_sweep(tape, y) == MG_OK);
    double db = 0, dc = 0, dd = 0, da = 0, e = mg_value(tape, b);
    dd += 0.7;
    dc += -1.3;
    db += 2.1;
    dd += 0.01;
    /* listed: a, b, d, c, y; so c comes first on the way back, then d, then b */
    double at_a = mg_value(tape, a);
    db += at_a * dc;
    da += e * dc;
    db += cos(e) * dd;
    da += e * db;
    CHECK(same_bits(mg_adjoint(tape, d), dd) && same_bits(mg_adjoint(tape, c), dc));
    CHECK(same_bits(mg_adjoint(tape, b), db) && same_bits(mg_adjoint(tape, a), da));
    mg_tape_free(tape);
}

int main(void) {
    RUN(small_random_graphs_sweep_as_the_reference);
    RUN(large_random_graphs_sweep_as_the_reference);
    RUN(a_square_adds_twice);
    RUN(a_long_chain_does_not_overflow_the_stack);
    RUN(a_long_chain_of_spans_does_not_overflow_the_stack);
    RUN(a_custom_statement_may_have_many_operands);
    RUN(partials_of_a_custom_statement_can_be_set);
    RUN(custom_statements_are_visited_in_order);
    return verdict();
}
