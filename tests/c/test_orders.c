/* test_orders.c: wrong orders that are planted in plans of many models, one after the other. Each is refused by the
 * proof, or changes nothing: then the gradients of several sets of numbers, of many magnitudes, are those of the sweep.
 */
#include "models.h"
#include "programs/plan.h"

enum { SETS = 3, SAMPLED = 60 };

typedef struct {
    recording r;
    mg_program *program;
    mg_plan *plan;
    double *numbers[SETS], *expected[SETS], *found;
    size_t n, refused, harmless;
    uint64_t state;
} planting;

/* Has every lane of a program, what it reads, and what inputs may select for it, a number of its own? */
static bool all_is_reached(const mg_program *program, const mg_reached *reached) {
    const mg_plan *plan = program->plan;
    bool all = true;
    for (size_t n = 0; n < plan->each * plan->positions; n++) {
        const mg_step *step = &plan->step[n % plan->each];
        const size_t t = n / plan->each, width = mg_width_at(step, t);
        for (mg_slot s = program->statements.item[n]; s < program->ends.item[n]; s++) {
            all = all && reached->page[s / MG_PAGE] > 0 && reached->statement[mg_reached_at(reached, s)] == n;
        }
        for (size_t lane = 0; lane < step->groups * width; lane++) {
            for (size_t c = 0; c < step->factors * mg_terms_at(step, t); c++) {
                const mg_slot slot = mg_source_slot(plan, step, c % step->factors, t, lane / width, lane % width,
                                                    c / step->factors);
                all = all && reached->page[slot / MG_PAGE] > 0;
            }
        }
    }
    for (size_t b = 0; b < program->binding_count; b++) {
        for (mg_slot i = 0; i < program->bindings[b].lanes; i++) {
            all = all && reached->page[(program->bindings[b].table + i) / MG_PAGE] > 0;
        }
    }
    return all;
}

/* Is the plan, as it is now, proved in the order of the program as it is now? */
static bool is_proved(mg_program *program) {
    CHECK(mg_program_order(program, program->losses) == MG_OK);
    mg_blocks scratch = {.tape = program->tape};
    program->plan->reached = mg_find_reached(program, &scratch);
    CHECK(!scratch.failed && all_is_reached(program, &program->plan->reached));
    mg_plan_select(program->plan);
    const bool proved = mg_prove(program->plan, &scratch);
    program->plan->held = NULL;
    program->plan->reached = (mg_reached){0};
    mg_free_blocks(scratch);
    return proved;
}

static void write_numbers(planting *p, size_t set) {
    const double *from = p->numbers[set];
    for (size_t k = 0; k < p->r.runs; from += p->r.sizes[k++]) {
        mg_write_values(p->r.tape, p->r.parameters[k], p->r.sizes[k], from);
        mg_clear_adjoints(p->r.tape, p->r.parameters[k], p->r.sizes[k]);
    }
}

static void read_gradients(const planting *p, double *out) {
    for (size_t k = 0; k < p->r.runs; out += p->r.sizes[k++]) {
        mg_read_adjoints(p->r.tape, p->r.parameters[k], p->r.sizes[k], out);
    }
}

/* A model, and its gradients statement by statement. */
static void set_up(planting *p, model_shape shape, uint64_t seed) {
    const size_t n = (2 * shape.vocab + MOST_TOKENS) * shape.embd + shape.layers * 12 * shape.embd * shape.embd;
    int32_t tokens[MOST_TOKENS + 1];
    *p = (planting){.n = n, .found = allocate(n, sizeof(double)), .state = seed};
    random_tokens(&p->state, tokens, &shape);
    for (size_t set = 0; set < SETS; set++) { /* of many magnitudes, so that every order has its own roundings */
        p->numbers[set] = allocate(n, sizeof(double));
        p->expected[set] = allocate(n, sizeof(double));
        for (size_t i = 0; i < n; i++) {
            p->numbers[set][i] = ldexp(random_between(&p->state, -0.5, 0.5), (int)random_below(&p->state, 4) - 2);
        }
    }
    p->r = begin(shape, p->numbers[0]);
    record_model(&p->r, tokens);
    p->program = bound_program(&p->r);
    p->plan = p->program->plan;
    CHECK(p->plan != NULL);
    for (size_t set = 0; set < SETS; set++) {
        write_numbers(p, set);
        CHECK(mg_compute_plainly(p->program, p->program->losses) == MG_OK);
        CHECK(mg_sweep_plainly(p->program, p->program->losses) == MG_OK);
        read_gradients(p, p->expected[set]);
    }
}

static void put_away(planting *p) {
    mg_program_free(p->program);
    end(&p->r);
    for (size_t set = 0; set < SETS; set++) {
        free(p->numbers[set]);
        free(p->expected[set]);
    }
    free(p->found);
}

static void check_gradients(planting *p) {
    for (size_t set = 0; set < SETS; set++) {
        write_numbers(p, set);
        CHECK(mg_program_forward(p->program) == MG_OK && mg_program_reverse(p->program) == MG_OK);
        CHECK(p->program->in_plan);
        read_gradients(p, p->found);
        CHECK(same_numbers(p->found, p->expected[set], p->n));
    }
}

/* Notes whether a planted change is refused, or makes a plan that cannot be: whose events, say, add to what lies beside
   their region. One that is not must be harmless: the same gradients. */
static void plant(planting *p) {
    if (!is_proved(p->program) || broken_plan(p->program, p->plan) != NULL) {
        p->refused++;
        return;
    }
    check_gradients(p);
    p->harmless++;
}

/* One that leaves out what the sweep adds, or adds it twice, is never harmless. */
static void plant_loss(planting *p, const char *place) {
    p->refused++;
    if (!CHECK(!is_proved(p->program))) {
        printf("    with another %s\n", place);
    }
}

#define SWAP(type, a, b)      \
    do {                      \
        const type kept_ = a; \
        a = b;                \
        b = kept_;            \
    } while (0)

/* Exchanges neighbours, all of them, and others that are drawn, in one array of a plan. */
#define PLANT_SWAPS(p, type, item, count)                                                      \
    do {                                                                                       \
        for (size_t i_ = 0; i_ + 1 < (count); i_++) {                                          \
            SWAP(type, (item)[i_], (item)[i_ + 1]);                                            \
            plant(p);                                                                          \
            SWAP(type, (item)[i_], (item)[i_ + 1]);                                            \
        }                                                                                      \
        for (size_t n_ = 0; n_ < SAMPLED && (count) > 2; n_++) {                               \
            const size_t a_ = random_below(&(p)->state, count), b_ = random_below(&(p)->state, count); \
            SWAP(type, (item)[a_], (item)[b_]);                                                \
            plant(p);                                                                          \
            SWAP(type, (item)[a_], (item)[b_]);                                                \
        }                                                                                      \
    } while (0)

#define PLANT_LOSS(p, place, wrong)             \
    do {                                        \
        const __typeof__(place) before_ = place; \
        place = wrong;                          \
        plant_loss(p, #place);                  \
        place = before_;                        \
    } while (0)

#define PLANT(p, place, wrong)                  \
    do {                                        \
        const __typeof__(place) before_ = place; \
        place = wrong;                          \
        plant(p);                               \
        place = before_;                        \
    } while (0)

/* Actions that move further than to their neighbour's place. */
static void plant_moves(planting *p) {
    mg_action *action = p->plan->action;
    for (size_t n = 0; n < SAMPLED; n++) {
        const size_t from = random_below(&p->state, p->plan->action_count);
        const size_t to = random_below(&p->state, p->plan->action_count);
        for (size_t a = from; a != to; a = from < to ? a + 1 : a - 1) {
            SWAP(mg_action, action[a], action[from < to ? a + 1 : a - 1]);
        }
        plant(p);
        for (size_t a = to; a != from; a = from < to ? a - 1 : a + 1) {
            SWAP(mg_action, action[a], action[from < to ? a - 1 : a + 1]);
        }
    }
}

/* Lanes of sums with leaves: their runs are shorter, longer, moved, or those of another position; the last lane is no
   longer the target's. */
static void plant_in_fans(planting *p) {
    mg_plan *plan = p->plan;
    for (size_t r = 0; r < plan->run_count; r++) {
        PLANT_LOSS(p, plan->run[r].count, plan->run[r].count - 1);
        if (plan->run[r].start >= plan->run[r].count) {
            PLANT_LOSS(p, plan->run[r].start, plan->run[r].start - 1);
        }
    }
    for (size_t f = 0; f < plan->fan_count; f++) {
        mg_fan *fan = &plan->fan[f];
        if (fan->select != MG_NOWHERE) {
            PLANT(p, fan->select, MG_NOWHERE);
        }
        PLANT_LOSS(p, fan->to, fan->to - 1);
        PLANT_LOSS(p, fan->from, fan->from + 1);
        if (fan->exceptions < fan->exceptions_end) {
            PLANT(p, fan->exceptions_end, fan->exceptions);
        }
        for (size_t e = fan->exceptions; e < fan->exceptions_end; e++) {
            mg_exception *exception = &plan->exception[e];
            if (exception->position + 1 < plan->positions) {
                PLANT(p, exception->position, exception->position + 1);
            }
            PLANT_LOSS(p, exception->to, exception->to - 1);
            PLANT(p, *exception, ((mg_exception){exception->position, fan->from, fan->to}));
        }
    }
}

/* Additions to leaves, of which one is left out. */
static void plant_in_regions(planting *p) {
    for (size_t r = 0; r < p->plan->region_count; r++) {
        mg_region *region = &p->plan->region[r];
        PLANT_LOSS(p, region->to, region->to - 1);
        PLANT_LOSS(p, region->from, region->from + 1);
    }
}

/* An operand that is another, or gets nothing: never harmless. */
static void plant_operands(planting *p) {
    mg_plan *plan = p->plan;
    for (size_t k = 0; k < plan->each; k++) {
        for (size_t f = 0; plan->step[k].derives && f < plan->step[k].factors; f++) {
            mg_source *x = &plan->step[k].operand[f];
            if (x->from == MG_FROM_ROWS && x->derives && x->parts == 0 && !x->whole && x->step < plan->each &&
                x->offset + 1 < plan->step[x->step].width) {
                PLANT_LOSS(p, x->offset, x->offset + 1);
            }
            if (x->derives) {
                PLANT_LOSS(p, x->derives, false);
            }
        }
    }
}

static void plant_all(model_shape shape, uint64_t seed) {
    planting p;
    set_up(&p, shape, seed);
    CHECK(is_proved(p.program));
    check_gradients(&p);
    PLANT_SWAPS(&p, mg_action, p.plan->action, p.plan->action_count);
    plant_moves(&p);
    PLANT_SWAPS(&p, mg_rows, p.plan->run, p.plan->run_count);
    PLANT_SWAPS(&p, mg_event, p.plan->event, p.plan->event_count);
    CHECK(p.refused > p.plan->action_count / 2);
    plant_in_fans(&p);
    plant_in_regions(&p);
    plant_operands(&p);
    CHECK(is_proved(p.program)); /* all is as it was */
    check_gradients(&p);
    if (failures > 0) {
        printf("    with n_embd %zu, %zu heads, %zu layers, %zu positions, vocabulary %zu, seed %llu\n", shape.embd,
               shape.heads, shape.layers, shape.positions, shape.vocab, (unsigned long long)seed);
    }
    put_away(&p);
}

/* Programs whose parameters, and what is computed of them, take several pages. */
static void all_that_is_read_has_its_place(void) {
    const model_shape shapes[] = {{16, 2, 1, 5, 40, true, false, false, false},
                                  {16, 2, 1, 1, 40, true, true, false, false}};
    for (size_t n = 0; n < 2; n++) {
        planting p;
        set_up(&p, shapes[n], 61);
        CHECK(is_proved(p.program));
        put_away(&p);
    }
}

static void wrong_orders_are_refused(void) {
    plant_all((model_shape){4, 2, 1, 5, 6, true, false, false, false}, 31);
    if (!small_run()) {
        plant_all((model_shape){6, 3, 2, 9, 5, false, true, true, true}, 32);
    }
}

static void wrong_orders_of_random_models_are_refused(void) {
    uint64_t state = 41;
    for (int i = 0; i < (small_run() ? 3 : 12) && failures == 0; i++) {
        const size_t heads = 1 + random_below(&state, 3);
        plant_all((model_shape){.embd = heads * (1 + random_below(&state, 2)), .heads = heads,
                                .layers = 1 + (size_t)i % 3, .positions = 2 + random_below(&state, 8),
                                .vocab = 2 + random_below(&state, 5), .squared = random_below(&state, 2),
                                .swapped = random_below(&state, 2), .tied = random_below(&state, 2),
                                .scaled = random_below(&state, 2)},
                  100 + (uint64_t)i);
    }
}

/* ---- what invariants.h says of plans ----------------------------------------------------------------------------- */

#define PLANT_FAULT(place, wrong)                                    \
    do {                                                             \
        const __typeof__(place) before_ = place;                     \
        CHECK(broken_program(program) == NULL);                      \
        place = (__typeof__(place))(wrong);                          \
        if (!CHECK(broken_program(program) != NULL)) {               \
            printf("    with %s = %s\n", #place, #wrong);            \
        }                                                            \
        place = before_;                                             \
    } while (0)

static void faults_in_a_plan_are_found(void) {
    planting p;
    set_up(&p, (model_shape){6, 3, 2, 5, 5, false, true, true, true}, 51);
    mg_program *program = p.program;
    mg_plan *plan = p.plan;
    mg_fan *fan = &plan->fan[0];
    size_t k = 0; /* a step that reads rows of another */
    while (plan->step[k].operand[0].from != MG_FROM_ROWS || plan->step[k].operand[0].step >= plan->each) {
        k++;
    }
    CHECK(fan->exceptions < fan->exceptions_end && plan->gather_count > 0 && plan->select_count > 0);
    mg_exception *exception = &plan->exception[fan->exceptions];
    PLANT_FAULT(plan->positions, plan->positions - 1);
    PLANT_FAULT(program->mean, false);
    PLANT_FAULT(plan->loss, plan->each);
    PLANT_FAULT(plan->gather_count, plan->gather_count + 1);
    PLANT_FAULT(plan->selects[0], plan->each);
    PLANT_FAULT(plan->selected[1].at, p.r.shape.vocab);
    PLANT_FAULT(plan->selected[0].binding, program->binding_count);
    PLANT_FAULT(plan->gathered[0].at, p.r.tape->page_count * MG_PAGE);
    PLANT_FAULT(plan->gathered[0].binding, program->binding_count);
    PLANT_FAULT(plan->step[k].operation, MG_SIN);
    PLANT_FAULT(plan->step[k].groups, plan->step[k].groups + 1);
    PLANT_FAULT(plan->step[k].operand[0].offset, plan->step[k].operand[0].offset + 1);
    PLANT_FAULT(plan->step[k].operand[0].step, k);
    PLANT_FAULT(plan->step[k].operand[0].step, plan->step_count);
    PLANT_FAULT(plan->action[0].number, plan->step_count);
    PLANT_FAULT(plan->action[1], plan->action[0]);
    PLANT_FAULT(fan->to, fan->from);
    PLANT_FAULT(fan->to, plan->run_count + 1);
    PLANT_FAULT(fan->first, plan->each);
    PLANT_FAULT(fan->select, plan->select_count);
    PLANT_FAULT(fan->exceptions_end, plan->exception_count + 1);
    PLANT_FAULT(exception->position, plan->positions);
    PLANT_FAULT(exception->to, exception->to - 1);
    PLANT_FAULT(plan->run[1], plan->run[0]);
    PLANT_FAULT(plan->run[0].count, 0);
    PLANT_FAULT(plan->run[0].start, plan->step[plan->run[0].step].width);
    PLANT_FAULT(plan->run[0].step, plan->each);
    PLANT_FAULT(plan->event[0].step, plan->each);
    PLANT_FAULT(plan->event[0].factor, 2);
    for (size_t r = 0; r < plan->region_count; r++) {
        PLANT_FAULT(plan->region[r].first, plan->region[r].end);
        PLANT_FAULT(plan->region[r].to, plan->region[r].from);
        PLANT_FAULT(plan->region[r].to, plan->event_count + 1);
    }
    PLANT_FAULT(plan->region[1].from, plan->region[0].from);
    PLANT_FAULT(plan->region[1].first, plan->region[0].first);
    put_away(&p);
}

int main(void) {
    RUN(faults_in_a_plan_are_found);
    RUN(all_that_is_read_has_its_place);
    RUN(wrong_orders_are_refused);
    RUN(wrong_orders_of_random_models_are_refused);
    return verdict();
}
