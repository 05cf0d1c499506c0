/* test_interleaving.c: programs that share statements, and select, compute and sweep in turn. Whatever the order, a
 * program's numbers are those of recording its graph anew with what it reads; or it says that they are overwritten, and
 * says so only where they are.
 */
#include "check.h"
#include "compositions.h"
#include "microgpt.h"

enum { ROWS = 3, EMBD = 3, VOCAB = 4, LEAVES = ROWS * EMBD + EMBD + VOCAB * EMBD + 1, PROGRAMS = 5 };

/* Of the leaves: a table, what is added to its row, weights, a factor. */
typedef struct {
    mg_tape *tape;
    mg_id leaves, row, probabilities, logarithm, result[PROGRAMS];
} graph;

static graph record_graph(const double *numbers, size_t row, size_t column) {
    graph g = {.tape = mg_tape_new()};
    mg_tape *tape = g.tape;
    g.leaves = mg_leaves(tape, numbers, LEAVES);
    const mg_id added = g.leaves + ROWS * EMBD, weights = added + EMBD, factor = weights + VOCAB * EMBD;
    g.row = record_add(tape, g.leaves + row * EMBD, added, EMBD);
    g.probabilities = record_softmax(tape, record_linear(tape, g.row, weights, VOCAB, EMBD), VOCAB);
    g.logarithm = record_map(tape, MG_LOG, g.probabilities + column, 1, 0);
    const mg_view p = terms_from(g.probabilities), w = terms_from(weights);
    const mg_id mixed = mg_sum(tape, 1, 1, VOCAB, &p, &w);
    g.result[0] = g.result[1] = mg_mul(tape, mg_binary_with(tape, MG_MUL, g.logarithm, -1), factor);
    g.result[2] = mixed;
    g.result[3] = mg_add(tape, g.result[0], mixed);
    g.result[4] = g.row + 1;
    return g;
}

/* What a program has selected (-1: nothing), and what it read when it was last computed. */
typedef struct {
    mg_program *program;
    bool bound[2], computed;
    size_t inputs;
    int32_t value[2], read[2];
    bool reads[2]; /* does its result depend on the selection? */
} player;

typedef struct {
    graph g;
    double numbers[LEAVES];
    int32_t now[2]; /* the row and the column that the shared statements read */
    player player[PROGRAMS];
    size_t swept, refused;
} game;

/* What a program has selected is read from now on. */
static void put_back(game *m, const player *p) {
    for (int s = 0; s < 2; s++) {
        m->now[s] = p->bound[s] && p->value[s] >= 0 ? p->value[s] : m->now[s];
    }
}

static void check_result(game *m, size_t k, bool gradients) {
    const player *p = &m->player[k];
    const graph fresh = record_graph(m->numbers, (size_t)p->read[0], (size_t)p->read[1]);
    double expected[LEAVES], found[LEAVES];
    CHECK(same_bits(mg_value(m->g.tape, m->g.result[k]), mg_value(fresh.tape, fresh.result[k])));
    if (gradients) {
        CHECK(mg_sweep(fresh.tape, fresh.result[k]) == MG_OK);
        mg_read_adjoints(fresh.tape, fresh.leaves, LEAVES, expected);
        mg_read_adjoints(m->g.tape, m->g.leaves, LEAVES, found);
        CHECK(same_numbers(expected, found, LEAVES));
    }
    mg_tape_free(fresh.tape);
}

static void play_bind(game *m, player *p, uint64_t *state) {
    const int which = (int)random_below(state, 2);
    if (p->bound[which]) {
        return;
    }
    const graph *g = &m->g;
    CHECK((which == 0 ? mg_program_bind(p->program, 0, g->row, 0, 0, g->leaves, EMBD, ROWS)
                      : mg_program_bind(p->program, 1, g->logarithm, 0, 0, g->probabilities, 1, VOCAB)) == MG_OK);
    p->bound[which] = p->reads[which]; /* in what the result does not need, an input selects nothing */
    p->inputs = p->inputs > (size_t)which + 1 ? p->inputs : (size_t)which + 1;
}

static void play_set(game *m, player *p, uint64_t *state) {
    const int32_t values[2] = {(int32_t)random_below(state, ROWS), (int32_t)random_below(state, VOCAB)};
    if (p->inputs == 0) {
        return;
    }
    CHECK(mg_program_set(p->program, values, p->inputs) == MG_OK);
    for (size_t s = 0; s < p->inputs; s++) {
        p->computed = p->computed && p->value[s] == values[s];
        p->value[s] = values[s];
    }
    put_back(m, p);
}

static void play_reverse(game *m, size_t k) {
    player *p = &m->player[k];
    bool expected = p->computed;
    mg_clear_adjoints(m->g.tape, m->g.leaves, LEAVES);
    if (p->computed) {
        put_back(m, p);
        for (int s = 0; s < 2; s++) {
            expected = expected && (!p->reads[s] || m->now[s] == p->read[s]);
        }
    }
    const mg_status status = mg_program_reverse(p->program);
    CHECK(status == (expected ? MG_OK : MG_OVERWRITTEN));
    if (status == MG_OK) {
        check_result(m, k, true);
        m->swept++;
    } else {
        p->computed = false;
        m->refused++;
    }
}

static void play(game *m, uint64_t *state) {
    const size_t k = random_below(state, PROGRAMS), leaf = random_below(state, LEAVES);
    player *p = &m->player[k];
    switch (random_below(state, 12)) {
    case 0: play_bind(m, p, state); break;
    case 1:
    case 2:
    case 3: play_set(m, p, state); break;
    case 4:
        m->numbers[leaf] = random_between(state, -2, 2);
        CHECK(mg_set_value(m->g.tape, m->g.leaves + leaf, m->numbers[leaf]) == MG_OK);
        for (size_t other = 0; other < PROGRAMS; other++) {
            m->player[other].computed = false;
        }
        break;
    case 5:
    case 6:
    case 7:
        CHECK(mg_program_forward(p->program) == MG_OK);
        put_back(m, p);
        p->computed = true;
        memcpy(p->read, m->now, sizeof p->read);
        check_result(m, k, false);
        break;
    default: play_reverse(m, k);
    }
}

static void every_interleaving_is_recording_or_refused(void) {
    size_t swept = 0, refused = 0;
    uint64_t state = 77;
    for (int round = 0; round < (small_run() ? 20 : 150) && failures == 0; round++) {
        game m = {.now = {(int32_t)random_below(&state, ROWS), (int32_t)random_below(&state, VOCAB)}};
        for (size_t i = 0; i < LEAVES; i++) {
            m.numbers[i] = random_between(&state, -2, 2);
        }
        m.g = record_graph(m.numbers, (size_t)m.now[0], (size_t)m.now[1]);
        for (size_t k = 0; k < PROGRAMS; k++) {
            player *p = &m.player[k];
            *p = (player){.program = mg_program_new(m.g.tape, m.g.result[k], 0), .computed = true, .value = {-1, -1},
                          .read = {m.now[0], m.now[1]}, .reads = {true, k != 2 && k != 4}};
            CHECK(p->program != NULL);
        }
        for (int turn = 0; turn < 120 && failures == 0; turn++) {
            play(&m, &state);
            if (failures > 0) {
                printf("    in turn %d of round %d\n", turn, round);
            }
        }
        for (size_t k = 0; k < PROGRAMS; k++) {
            mg_program_free(m.player[k].program);
        }
        mg_tape_free(m.g.tape);
        swept += m.swept;
        refused += m.refused;
    }
    CHECK(swept > 200 && refused > 100);
}

int main(void) {
    RUN(every_interleaving_is_recording_or_refused);
    return verdict();
}
