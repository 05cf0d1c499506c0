/* test_sweep.c: the reverse sweep, against a plain recursive search, and span statements, against the scalar operations
 * that they stand for. All comparisons are of bits.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"

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

/* ---- the course's functions, as span statements or as scalar operations ----------------------------------------- */

/* A program that records on a tape. Both kinds log the lanes of their results in the same order. */
typedef struct {
    mg_tape *tape;
    bool spans;
    mg_id *lanes;
    size_t count, capacity;
} course;

/* Lanes first .. first + n - 1 of the log. */
typedef struct {
    size_t first, n;
} vector;

static vector slice(vector x, size_t from, size_t n) { return (vector){x.first + from, n}; }

static mg_id lane(const course *c, vector x, size_t i) { return c->lanes[x.first + i]; }

static vector log_lanes(course *c, const mg_id *lanes, size_t n) {
    if (c->count + n > c->capacity) {
        puts("the test's log is too small");
        exit(2);
    }
    memcpy(c->lanes + c->count, lanes, n * sizeof *lanes);
    c->count += n;
    return (vector){c->count - n, n};
}

static vector log_run(course *c, mg_id first, size_t n) {
    CHECK(first != MG_NONE);
    for (size_t i = 0; i < n; i++) {
        mg_id id = first + i;
        log_lanes(c, &id, 1);
    }
    return (vector){c->count - n, n};
}

static vector log_one(course *c, mg_id id) { return log_run(c, id, 1); }

static mg_id times(const course *c, mg_id a, double k) { return mg_binary_with(c->tape, MG_MUL, a, k); }
static mg_id plus(const course *c, mg_id a, double k) { return mg_binary_with(c->tape, MG_ADD, a, k); }
static mg_id power(const course *c, mg_id a, double k) { return mg_unary_with(c->tape, MG_POW, a, k); }
static mg_id quotient(const course *c, mg_id a, mg_id b) { return mg_mul(c->tape, a, power(c, b, -1)); }

/* Python's sum: 0 + first is first + 0. */
static mg_id sum_up(const course *c, const mg_id *x, size_t n) {
    mg_id total = plus(c, x[0], 0);
    for (size_t i = 1; i < n; i++) {
        total = mg_add(c->tape, total, x[i]);
    }
    return total;
}

static vector leaves(course *c, const double *values, size_t n) {
    if (c->spans) {
        return log_run(c, record_leaves(c->tape, values, n), n);
    }
    for (size_t i = 0; i < n; i++) {
        log_one(c, mg_leaf(c->tape, values[i]));
    }
    return (vector){c->count - n, n};
}

static vector add(course *c, vector a, vector b) {
    if (c->spans) {
        return log_run(c, record_add(c->tape, lane(c, a, 0), lane(c, b, 0), a.n), a.n);
    }
    for (size_t i = 0; i < a.n; i++) {
        log_one(c, mg_add(c->tape, lane(c, a, i), lane(c, b, i)));
    }
    return (vector){c->count - a.n, a.n};
}

static vector scale_by(course *c, vector x, double k) {
    if (c->spans) {
        return log_run(c, record_scale_by(c->tape, lane(c, x, 0), x.n, k), x.n);
    }
    for (size_t i = 0; i < x.n; i++) {
        log_one(c, times(c, lane(c, x, i), k));
    }
    return (vector){c->count - x.n, x.n};
}

static vector relu(course *c, vector x, bool squared) {
    if (c->spans) {
        return log_run(c, record_relu(c->tape, lane(c, x, 0), x.n, squared), x.n);
    }
    for (size_t i = 0; i < x.n; i++) {
        mg_id y = mg_unary(c->tape, MG_RELU, lane(c, x, i));
        log_one(c, squared ? power(c, y, 2) : y);
    }
    return (vector){c->count - x.n, x.n};
}

static vector rmsnorm(course *c, vector x) {
    if (c->spans) {
        return log_run(c, record_rmsnorm(c->tape, lane(c, x, 0), x.n), x.n);
    }
    mg_id *squares = allocate(x.n, sizeof *squares);
    for (size_t i = 0; i < x.n; i++) {
        squares[i] = mg_mul(c->tape, lane(c, x, i), lane(c, x, i));
    }
    mg_id mean_square = times(c, sum_up(c, squares, x.n), pow((double)x.n, -1));
    mg_id scale = power(c, plus(c, mean_square, 1e-5), -0.5);
    for (size_t i = 0; i < x.n; i++) {
        log_one(c, mg_mul(c->tape, lane(c, x, i), scale));
    }
    free(squares);
    return (vector){c->count - x.n, x.n};
}

static mg_id dot(const course *c, const mg_id *a, const mg_id *b, size_t n) {
    mg_id *products = allocate(n, sizeof *products);
    for (size_t i = 0; i < n; i++) {
        products[i] = mg_mul(c->tape, a[i], b[i]);
    }
    mg_id total = sum_up(c, products, n);
    free(products);
    return total;
}

static vector linear(course *c, vector x, vector w, size_t rows) {
    if (c->spans) {
        return log_run(c, record_linear(c->tape, lane(c, x, 0), lane(c, w, 0), rows, x.n), rows);
    }
    for (size_t r = 0; r < rows; r++) {
        log_one(c, dot(c, c->lanes + w.first + r * x.n, c->lanes + x.first, x.n));
    }
    return (vector){c->count - rows, rows};
}

static void softmax_lanes(const course *c, const mg_id *x, size_t n, mg_id *out) {
    double largest = mg_value(c->tape, x[0]);
    for (size_t i = 1; i < n; i++) {
        double value = mg_value(c->tape, x[i]);
        largest = value > largest ? value : largest;
    }
    mg_id *exps = allocate(n, sizeof *exps);
    for (size_t i = 0; i < n; i++) {
        exps[i] = mg_unary(c->tape, MG_EXP, plus(c, x[i], -largest));
    }
    mg_id total = sum_up(c, exps, n);
    for (size_t i = 0; i < n; i++) {
        out[i] = quotient(c, exps[i], total);
    }
    free(exps);
}

static vector softmax(course *c, vector x) {
    if (c->spans) {
        return log_run(c, record_softmax(c->tape, lane(c, x, 0), x.n), x.n);
    }
    mg_id *out = allocate(x.n, sizeof *out);
    softmax_lanes(c, c->lanes + x.first, x.n, out);
    vector y = log_lanes(c, out, x.n);
    free(out);
    return y;
}

static vector attention(course *c, vector q, const vector *keys, const vector *values, size_t positions,
                        size_t heads) {
    size_t head_size = q.n / heads;
    mg_id *key_ids = allocate(positions, sizeof *key_ids), *value_ids = allocate(positions, sizeof *value_ids);
    if (c->spans) {
        for (size_t u = 0; u < positions; u++) {
            key_ids[u] = lane(c, keys[u], 0);
            value_ids[u] = lane(c, values[u], 0);
        }
        log_run(c, record_attention(c->tape, lane(c, q, 0), key_ids, value_ids, positions, heads, head_size), q.n);
    } else {
        for (size_t h = 0; h < heads; h++) {
            for (size_t u = 0; u < positions; u++) { /* the logits, then the weights, in key_ids */
                mg_id product = dot(c, c->lanes + q.first + h * head_size, c->lanes + keys[u].first + h * head_size,
                                    head_size);
                key_ids[u] = times(c, product, pow(pow((double)head_size, 0.5), -1));
            }
            softmax_lanes(c, key_ids, positions, key_ids);
            for (size_t j = 0; j < head_size; j++) {
                for (size_t u = 0; u < positions; u++) {
                    value_ids[u] = lane(c, values[u], h * head_size + j);
                }
                log_one(c, dot(c, key_ids, value_ids, positions));
            }
        }
    }
    free(key_ids);
    free(value_ids);
    return (vector){c->count - q.n, q.n};
}

static vector surprisal(course *c, vector p) {
    if (c->spans) {
        return log_one(c, record_surprisal(c->tape, lane(c, p, 0)));
    }
    return log_one(c, times(c, mg_unary(c->tape, MG_LOG, lane(c, p, 0)), -1));
}

/* Of lanes anywhere: x[k] has one. */
static vector mean(course *c, const vector *x, size_t n) {
    mg_id *ids = allocate(n, sizeof *ids), result;
    for (size_t k = 0; k < n; k++) {
        ids[k] = lane(c, x[k], 0);
    }
    result = c->spans ? record_mean(c->tape, ids, n) : times(c, sum_up(c, ids, n), 1 / (double)n);
    free(ids);
    return log_one(c, result);
}

/* ---- the same program, recorded both ways ----------------------------------------------------------------------- */

#define LOG_SIZE 400000

static course new_course(bool spans) {
    return (course){.tape = mg_tape_new(), .spans = spans, .lanes = allocate(LOG_SIZE, sizeof(mg_id)),
                    .capacity = LOG_SIZE};
}

static void end_course(course *c) {
    mg_tape_free(c->tape);
    free(c->lanes);
}

/* All lanes of the log: the same numbers, and the same adjoints. */
static bool same_course(const course *a, const course *b) {
    bool same = CHECK(a->count == b->count);
    for (size_t i = 0; same && i < a->count; i++) {
        same = CHECK(same_number(mg_value(a->tape, a->lanes[i]), mg_value(b->tape, b->lanes[i]))) &&
               CHECK(same_number(mg_adjoint(a->tape, a->lanes[i]), mg_adjoint(b->tape, b->lanes[i])));
        if (!same) {
            printf("    in lane %zu of %zu: values %a, %a, adjoints %a, %a\n", i, a->count,
                   mg_value(a->tape, a->lanes[i]), mg_value(b->tape, b->lanes[i]), mg_adjoint(a->tape, a->lanes[i]),
                   mg_adjoint(b->tape, b->lanes[i]));
        }
    }
    return same;
}

static bool no_status(const course *c) { return mg_tape_take_status(c->tape) == MG_OK; }

/* A program records and returns the lane to sweep from; its random numbers come from `state` alone. */
typedef vector program(course *c, uint64_t *state);

/* Collects with the lanes of the log for roots: their statements keep all that a sweep needs. */
static void forget_the_rest(const course *c) {
    size_t *ones = allocate(c->count, sizeof *ones);
    for (size_t i = 0; i < c->count; i++) {
        ones[i] = 1;
    }
    CHECK(mg_tape_collect(c->tape, c->lanes, ones, c->count) == MG_OK);
    free(ones);
}

static void compare(program *record, uint64_t seed, size_t rounds) {
    course both[2] = {new_course(false), new_course(true)};
    for (size_t round = 0; round < rounds; round++) {
        for (int b = 0; b < 2; b++) {
            uint64_t state = seed + round;
            for (int warm = 0; warm < 5; warm++) {
                random_bits(&state);
            }
            both[b].count = 0;
            if (round % 4 == 0) { /* other rounds leave what is there, so that statements begin anywhere in a page */
                CHECK(mg_tape_rewind(both[b].tape, 0) == MG_OK);
            }
            vector result = record(&both[b], &state);
            CHECK(no_status(&both[b]));
            if (round % 5 == 2) {
                forget_the_rest(&both[b]);
            }
            CHECK(mg_sweep(both[b].tape, lane(&both[b], result, 0)) == MG_OK);
        }
        if (!same_course(&both[0], &both[1])) {
            printf("    in round %zu\n", round);
            break;
        }
    }
    end_course(&both[0]);
    end_course(&both[1]);
}

static vector random_leaves(course *c, uint64_t *state, size_t n) {
    double *values = allocate(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = random_between(state, -2, 2);
        values[i] = random_below(state, 20) == 0 ? 0 : values[i];
    }
    vector x = leaves(c, values, n);
    free(values);
    return x;
}

/* Sizes that are often small, and now and then longer than a page. */
static size_t random_size(uint64_t *state) {
    return random_below(state, 12) == 0 ? 500 + random_below(state, 60) : 1 + random_below(state, 12);
}

/* Lanes to work on: leaves, or something computed from leaves, so that adjoints flow on. */
static vector random_operand(course *c, uint64_t *state, size_t n) {
    vector x = random_leaves(c, state, n);
    switch (random_below(state, 4)) {
    case 0: return scale_by(c, x, random_between(state, -2, 2));
    case 1: return add(c, x, random_leaves(c, state, n));
    case 2: return add(c, x, scale_by(c, x, 0.25));
    default: return x;
    }
}

/* One lane that depends on all of x, each with another weight. */
static vector weigh(course *c, uint64_t *state, vector x) {
    return linear(c, x, random_leaves(c, state, x.n), 1);
}

static vector program_add(course *c, uint64_t *state) {
    size_t n = random_size(state);
    vector a = random_operand(c, state, n), b = random_below(state, 3) ? random_operand(c, state, n) : a;
    return weigh(c, state, add(c, a, b));
}

static vector program_scale_by(course *c, uint64_t *state) {
    vector x = random_operand(c, state, random_size(state));
    return weigh(c, state, scale_by(c, x, random_between(state, -3, 3)));
}

static vector program_relu(course *c, uint64_t *state) {
    return weigh(c, state, relu(c, random_operand(c, state, random_size(state)), false));
}

static vector program_relu_squared(course *c, uint64_t *state) {
    return weigh(c, state, relu(c, random_operand(c, state, random_size(state)), true));
}

static vector program_rmsnorm(course *c, uint64_t *state) {
    return weigh(c, state, rmsnorm(c, random_operand(c, state, random_size(state))));
}

static vector program_linear(course *c, uint64_t *state) {
    size_t columns = random_size(state), rows = 1 + random_below(state, columns < 100 ? 13 : 6);
    vector x = random_operand(c, state, columns), w = random_operand(c, state, rows * columns);
    switch (random_below(state, 4)) {
    case 0: x = slice(w, random_below(state, rows) * columns, columns); break;        /* a row of the matrix */
    case 1: x = slice(w, random_below(state, (rows - 1) * columns + 1), columns); break; /* across its rows */
    default: break;
    }
    return weigh(c, state, linear(c, x, w, rows));
}

static vector program_softmax(course *c, uint64_t *state) {
    return weigh(c, state, softmax(c, random_operand(c, state, random_size(state))));
}

/* Of a softmax, only some lanes are used, in another order. */
static vector program_partial_softmax(course *c, uint64_t *state) {
    size_t n = 2 + random_below(state, 8);
    vector p = softmax(c, random_operand(c, state, n)), some[6];
    for (size_t k = 0; k < 6; k++) {
        some[k] = slice(p, random_below(state, n), 1);
    }
    return mean(c, some, 6);
}

static vector program_attention(course *c, uint64_t *state) {
    size_t heads = 1 + random_below(state, 4), head_size = 1 + random_below(state, 5), n = heads * head_size;
    size_t positions = 1 + random_below(state, 9);
    vector q = random_operand(c, state, n), keys[9], values[9];
    vector shared = random_operand(c, state, 2 * n);
    for (size_t u = 0; u < positions; u++) {
        switch (random_below(state, 5)) { /* keys and values may be one another, the query, or overlap */
        case 0: keys[u] = q; break;
        case 1: keys[u] = slice(shared, random_below(state, n + 1), n); break;
        default: keys[u] = random_operand(c, state, n);
        }
        switch (random_below(state, 5)) {
        case 0: values[u] = keys[u]; break;
        case 1: values[u] = u > 0 ? values[u - 1] : q; break;
        default: values[u] = random_operand(c, state, n);
        }
    }
    return weigh(c, state, attention(c, q, keys, values, positions, heads));
}

static vector program_wide_attention(course *c, uint64_t *state) {
    size_t heads = 8, n = 8 * 24, positions = 40;
    vector q = random_operand(c, state, n), keys[40], values[40];
    for (size_t u = 0; u < positions; u++) {
        keys[u] = random_operand(c, state, n);
        values[u] = random_operand(c, state, n);
    }
    return weigh(c, state, attention(c, q, keys, values, positions, heads));
}

static vector program_surprisal(course *c, uint64_t *state) {
    vector p = softmax(c, random_operand(c, state, 1 + random_below(state, 9))), two[2];
    for (int k = 0; k < 2; k++) {
        two[k] = surprisal(c, slice(p, random_below(state, p.n), 1));
    }
    return mean(c, two, 2);
}

static vector program_mean(course *c, uint64_t *state) {
    size_t n = random_size(state), m = 1 + random_below(state, 2 * n);
    vector x = random_operand(c, state, n), *some = allocate(m, sizeof *some);
    for (size_t k = 0; k < m; k++) {
        some[k] = slice(x, random_below(state, n), 1);
    }
    vector y = mean(c, some, m);
    free(some);
    return log_one(c, mg_mul(c->tape, lane(c, y, 0), lane(c, x, 0)));
}

/* Any statements on any earlier ones, with scalar operations and custom statements in between. */
static vector program_composition(course *c, uint64_t *state) {
    enum { MOST = 20 };
    static const size_t head_counts[] = {1, 2, 4};
    vector pool[MOST], loose[MOST]; /* vectors of n lanes, and single lanes */
    size_t n = 4 * (1 + random_below(state, 2)), count = 0, loose_count = 0, steps = 3 + random_below(state, 12);
    pool[count++] = random_leaves(c, state, n);
    pool[count++] = random_leaves(c, state, n);
    vector matrix = random_leaves(c, state, n * n);
    if (random_below(state, 3) == 0) { /* weights that are computed are visited, unlike leaves */
        matrix = scale_by(c, matrix, 0.5);
    }
    for (size_t s = 0; s < steps; s++) {
        vector x = pool[random_below(state, count)], y = pool[random_below(state, count)], keys[4], values[4];
        switch (random_below(state, 12)) {
        case 0: pool[count++] = add(c, x, y); break;
        case 1: pool[count++] = scale_by(c, x, random_between(state, -1, 1)); break;
        case 2: pool[count++] = relu(c, x, false); break;
        case 3: pool[count++] = rmsnorm(c, relu(c, x, true)); break;
        case 4: pool[count++] = rmsnorm(c, x); break;
        case 5:
        case 6: pool[count++] = rmsnorm(c, linear(c, x, matrix, n)); break;
        case 7: pool[count++] = softmax(c, x); break;
        case 8: {
            size_t positions = 1 + random_below(state, 4), heads = head_counts[random_below(state, 3)];
            for (size_t u = 0; u < positions; u++) {
                keys[u] = pool[random_below(state, count)];
                values[u] = pool[random_below(state, count)];
            }
            pool[count++] = attention(c, x, keys, values, positions, heads);
            break;
        }
        case 9: pool[count++] = rmsnorm(c, linear(c, slice(x, 0, n / 2), slice(matrix, 3, n * n / 2), n)); break;
        case 10: { /* a scalar operation on a sum with one row, which is another vector */
            vector one = linear(c, x, y, 1);
            loose[loose_count++] = log_one(c, mg_mul(c->tape, lane(c, one, 0), lane(c, x, n - 1)));
            break;
        }
        default: { /* through lanes of any kind, and back into a vector by way of a matrix of one column */
            mg_id ids[3] = {lane(c, x, 0), lane(c, y, n - 1), lane(c, x, n / 2)};
            const double partials[3] = {0.5, -1.25, 2};
            vector three[3] = {log_one(c, mg_custom(c->tape, 0.75, ids, partials, 3)), slice(x, 1, 1), slice(y, 2, 1)};
            vector mixed = mean(c, three, 3);
            mixed = log_one(c, mg_unary(c->tape, MG_TANH, mg_mul(c->tape, lane(c, mixed, 0), lane(c, y, 0))));
            pool[count++] = linear(c, mixed, slice(matrix, 0, n), n);
            loose[loose_count++] = mixed;
        }
        }
    }
    vector p = softmax(c, rmsnorm(c, pool[count - 1]));
    loose[loose_count++] = surprisal(c, slice(p, random_below(state, n), 1));
    loose[loose_count++] = slice(pool[random_below(state, count)], random_below(state, n), 1);
    return mean(c, loose, loose_count);
}

static void spans_are_their_scalar_operations(void) {
    static const struct {
        program *record;
        const char *name;
        size_t rounds;
    } programs[] = {
        {program_add, "add", 300},
        {program_scale_by, "scale_by", 300},
        {program_relu, "relu", 300},
        {program_relu_squared, "relu squared", 300},
        {program_rmsnorm, "rmsnorm", 300},
        {program_linear, "linear", 600},
        {program_softmax, "softmax", 300},
        {program_partial_softmax, "softmax, some lanes", 300},
        {program_attention, "attention", 600},
        {program_wide_attention, "wide attention", 3},
        {program_surprisal, "surprisal", 300},
        {program_mean, "mean", 300},
        {program_composition, "composition", 2000},
    };
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        unsigned long long before = failures;
        compare(programs[p].record, 1000 * (p + 1), small_run() ? 1 + programs[p].rounds / 30 : programs[p].rounds);
        if (failures != before) {
            printf("    in %s\n", programs[p].name);
        }
    }
}

/* Two programs on the same leaves, each with its own sweep: the leaves' adjoints accumulate alike. */
static void adjoints_of_leaves_accumulate_alike(void) {
    course both[2] = {new_course(false), new_course(true)};
    size_t rounds = small_run() ? 5 : 200;
    for (size_t round = 0; round < rounds; round++) {
        for (int b = 0; b < 2; b++) {
            course *c = &both[b];
            uint64_t state = 77 + round;
            c->count = 0;
            CHECK(mg_tape_rewind(c->tape, 0) == MG_OK);
            vector x = random_leaves(c, &state, 6), w = random_leaves(c, &state, 24);
            for (int pass = 0; pass < 3; pass++) {
                vector h = rmsnorm(c, linear(c, x, w, 4)), y = softmax(c, linear(c, h, slice(w, 2, 20), 5));
                CHECK(mg_sweep(c->tape, lane(c, surprisal(c, slice(y, random_below(&state, 5), 1)), 0)) == MG_OK);
            }
        }
        same_course(&both[0], &both[1]);
    }
    end_course(&both[0]);
    end_course(&both[1]);
}

/* A sweep again from the same result: lanes accumulate, and the scalar operations inside a span statement, which keep
   no adjoint, begin each sweep at 0. */
static void a_second_sweep_of_a_span_starts_its_inside_at_zero(void) {
    mg_tape *tape = mg_tape_new();
    const double numbers[4] = {3, 5, 7, 11};
    mg_id x = record_leaves(tape, numbers, 2), w = record_leaves(tape, numbers + 2, 2);
    mg_id y = record_linear(tape, x, w, 1, 2), z = record_scale_by(tape, y, 1, 2);
    CHECK(mg_sweep(tape, z) == MG_OK);
    CHECK(mg_adjoint(tape, y) == 2 && mg_adjoint(tape, w) == 6 && mg_adjoint(tape, x + 1) == 22);
    CHECK(mg_sweep(tape, z) == MG_OK);
    CHECK(mg_adjoint(tape, y) == 4 && mg_adjoint(tape, w) == 6 + 12 && mg_adjoint(tape, x + 1) == 22 + 44);
    mg_tape_free(tape);
}

/* ---- a model ---------------------------------------------------------------------------------------------------- */

enum { EMBED = 8, HEADS = 2, LAYERS = 2, TOKENS = 7, BLOCK = 6, PER_LAYER = 12 * EMBED * EMBED };

/* The course's gpt and loss, on spans or scalars. */
static vector model_loss(course *c, vector w, const size_t *tokens, size_t n) {
    vector keys[LAYERS][BLOCK], values[LAYERS][BLOCK], losses[BLOCK];
    size_t head = (TOKENS + BLOCK) * EMBED, square = EMBED * EMBED;
    for (size_t t = 0; t < n; t++) {
        vector x = rmsnorm(c, add(c, slice(w, tokens[t] * EMBED, EMBED), slice(w, (TOKENS + t) * EMBED, EMBED)));
        for (size_t l = 0; l < LAYERS; l++) {
            size_t at = head + l * PER_LAYER;
            vector residual = x;
            x = rmsnorm(c, x);
            vector q = linear(c, x, slice(w, at, square), EMBED);
            keys[l][t] = linear(c, x, slice(w, at + square, square), EMBED);
            values[l][t] = linear(c, x, slice(w, at + 2 * square, square), EMBED);
            x = attention(c, q, keys[l], values[l], t + 1, HEADS);
            x = add(c, linear(c, x, slice(w, at + 3 * square, square), EMBED), residual);
            residual = x;
            x = linear(c, rmsnorm(c, x), slice(w, at + 4 * square, 4 * square), 4 * EMBED);
            x = linear(c, relu(c, x, l == 1), slice(w, at + 8 * square, 4 * square), EMBED);
            x = add(c, x, residual);
        }
        vector p = softmax(c, linear(c, x, slice(w, head + LAYERS * PER_LAYER, TOKENS * EMBED), TOKENS));
        losses[t] = surprisal(c, slice(p, tokens[t + 1], 1));
    }
    return mean(c, losses, n);
}

static void a_model_trains_alike(void) {
    enum { WEIGHTS = (2 * TOKENS + BLOCK) * EMBED + LAYERS * PER_LAYER };
    course both[2] = {new_course(false), new_course(true)};
    vector w[2];
    mg_mark marks[2];
    double *numbers = allocate(WEIGHTS, sizeof *numbers), *m[2], *v[2];
    size_t *ones = allocate(WEIGHTS, sizeof *ones), steps = small_run() ? 1 : 5;
    uint64_t state = 8;
    for (size_t i = 0; i < WEIGHTS; i++) {
        numbers[i] = random_between(&state, -0.3, 0.3);
        ones[i] = 1;
    }
    for (int b = 0; b < 2; b++) {
        w[b] = leaves(&both[b], numbers, WEIGHTS);
        m[b] = allocate(WEIGHTS, sizeof *m[b]);
        v[b] = allocate(WEIGHTS, sizeof *v[b]);
        marks[b] = mg_tape_mark(both[b].tape);
    }
    double losses[2] = {0, 0}, first = 0;
    for (size_t step = 0; step < steps; step++) {
        size_t tokens[BLOCK + 1];
        for (size_t t = 0; t <= BLOCK; t++) {
            tokens[t] = (t * t + step) % TOKENS;
        }
        for (int b = 0; b < 2; b++) {
            course *c = &both[b];
            vector loss = model_loss(c, w[b], tokens, BLOCK);
            losses[b] = mg_value(c->tape, lane(c, loss, 0));
            CHECK(no_status(c) && mg_sweep(c->tape, lane(c, loss, 0)) == MG_OK);
        }
        first = step == 0 ? losses[0] : first;
        CHECK(same_bits(losses[0], losses[1]));
        same_course(&both[0], &both[1]);
        static const mg_optimizer ADAM = {.kind = MG_ADAM, .beta1 = 0.85, .beta2 = 0.99, .epsilon = 1e-8};
        const size_t all = WEIGHTS;
        CHECK(mg_optimizer_step(both[0].tape, both[0].lanes + w[0].first, ones, WEIGHTS, m[0], v[0], WEIGHTS, &ADAM,
                                (uint64_t)step + 1, 0.01) == MG_OK);
        CHECK(mg_optimizer_step(both[1].tape, both[1].lanes + w[1].first, &all, 1, m[1], v[1], WEIGHTS, &ADAM,
                                (uint64_t)step + 1, 0.01) == MG_OK);
        CHECK(memcmp(m[0], m[1], WEIGHTS * sizeof *m[0]) == 0 && memcmp(v[0], v[1], WEIGHTS * sizeof *v[0]) == 0);
        same_course(&both[0], &both[1]);
        for (int b = 0; b < 2; b++) {
            both[b].count = WEIGHTS;
            CHECK(mg_tape_rewind(both[b].tape, marks[b]) == MG_OK);
        }
        same_course(&both[0], &both[1]);
    }
    CHECK(small_run() || losses[0] < first);
    for (int b = 0; b < 2; b++) {
        free(m[b]);
        free(v[b]);
        end_course(&both[b]);
    }
    free(numbers);
    free(ones);
}

/* ---- looking in ------------------------------------------------------------------------------------------------- */

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

/* Infinities and NaN go where the scalar operations send them. */
static vector program_not_finite(course *c, uint64_t *state) {
    static const double odd[] = {INFINITY, -INFINITY, NAN, 1e308, -1e308, 1e-320, 0, -0.0, 1, 700, -700};
    double values[6];
    for (size_t i = 0; i < 6; i++) {
        values[i] = odd[random_below(state, sizeof odd / sizeof *odd)];
    }
    vector x = leaves(c, values, 6), one = slice(x, 1, 4);
    vector y = scale_by(c, x, odd[random_below(state, sizeof odd / sizeof *odd)]);
    switch (random_below(state, 7)) {
    case 0: y = softmax(c, x); break;
    case 1: y = rmsnorm(c, x); break;
    case 2: y = linear(c, slice(x, 0, 3), x, 2); break;
    case 3: y = attention(c, one, &one, &one, 1, 2); break;
    case 4: y = relu(c, x, false); break;
    case 5: y = add(c, x, y); break;
    default: break;
    }
    return linear(c, y, random_leaves(c, state, y.n), 1);
}

static void infinities_and_nan_go_the_same_way(void) { compare(program_not_finite, 5, small_run() ? 50 : 2000); }

int main(void) {
    RUN(small_random_graphs_sweep_as_the_reference);
    RUN(large_random_graphs_sweep_as_the_reference);
    RUN(a_square_adds_twice);
    RUN(spans_are_their_scalar_operations);
    RUN(adjoints_of_leaves_accumulate_alike);
    RUN(a_second_sweep_of_a_span_starts_its_inside_at_zero);
    RUN(a_model_trains_alike);
    RUN(operands_and_partials_describe_the_sweep);
    RUN(lanes_know_their_operation);
    RUN(a_long_chain_does_not_overflow_the_stack);
    RUN(a_long_chain_of_spans_does_not_overflow_the_stack);
    RUN(a_custom_statement_may_have_many_operands);
    RUN(statements_can_be_looked_into);
    RUN(partials_of_a_custom_statement_can_be_set);
    RUN(custom_statements_are_visited_in_order);
    RUN(infinities_and_nan_go_the_same_way);
    return verdict();
}
