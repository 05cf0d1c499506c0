/* trainer.c: makes trainers, finds the parameters again at each call, and brings their numbers to and fro. */
#include "programs/trainer.h"

#include "programs/plan.h"

#include <string.h>

void mg_trainer_free(mg_trainer *trainer) {
    if (trainer != NULL) {
        mg_program *program = trainer->program;
        mg_pool_free(trainer->pool);
        mg_batch_free(trainer->batch);
        mg_free_blocks(trainer->blocks);
        mg_program_free(program); /* which holds the tape */
    }
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

/* Finds where the parameters are, and how many. */
static mg_status find_parameters(mg_trainer *trainer) {
    mg_parameters *last = NULL;
    mg_slot end = 0; /* of the last */
    size_t parameters = 0;
    trainer->run_count = 0;
    for (size_t r = 0; r < trainer->count; r++) {
        const size_t n = trainer->sizes[r];
        mg_slot slot;
        MG_TRY(mg_find_lanes(trainer->tape, trainer->first[r], n, &slot));
        if (!mg_all_leaves(trainer->tape, slot, n)) {
            return MG_SHAPE;
        }
        if (last != NULL && slot == end) {
            last->n += n;
        } else {
            last = &trainer->run[trainer->run_count];
            *last = (mg_parameters){.n = n};
            trainer->slots[trainer->run_count++] = slot;
        }
        end = slot + (mg_slot)n;
        parameters += n;
    }
    trainer->parameters = parameters;
    return MG_OK;
}

/* Numbers of the trainer's own, of all slots from the first parameter's to the last's. */
static mg_status make_room(mg_trainer *trainer) {
    const size_t size = trainer->kernels->size;
    mg_slot lowest = trainer->slots[0], end = 0;
    for (size_t r = 0; r < trainer->run_count; r++) {
        const mg_slot after = trainer->slots[r] + (mg_slot)trainer->run[r].n;
        lowest = trainer->slots[r] < lowest ? trainer->slots[r] : lowest;
        end = after > end ? after : end;
    }
    trainer->leaves = (mg_leaf_numbers){mg_allot(&trainer->blocks, end - lowest, size),
                                        mg_allot(&trainer->blocks, end - lowest, size), lowest};
    trainer->stored = UINT64_MAX;
    return trainer->blocks.failed ? MG_NO_MEMORY : MG_OK;
}

static bool is_parameters(const mg_trainer *trainer, mg_slot first, size_t n) {
    for (size_t r = 0; r < trainer->run_count; r++) {
        if (first >= trainer->slots[r] && first + n <= trainer->slots[r] + trainer->run[r].n) {
            return true;
        }
    }
    return false;
}

/* Are all leaves that the plan reads, or may read, parameters? Of others the fast mode has no numbers. */
static bool has_all_leaves(const mg_trainer *trainer) {
    const mg_program *program = trainer->program;
    const mg_plan *plan = program->plan;
    bool all = true;
    for (size_t k = 0; all && k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; all && f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            all = x->from != MG_FROM_LEAVES || is_parameters(trainer, x->leaves, mg_reach(step, x) + 1);
        }
    }
    for (size_t g = 0; all && g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        for (size_t n = 0; all && n < plan->positions * gather->parts; n++) {
            const mg_read *read = &plan->gathered[gather->slots + n];
            const mg_binding *binding = read->binding == MG_NOWHERE ? NULL : &program->bindings[read->binding];
            all = binding == NULL ? is_parameters(trainer, (mg_slot)read->at, gather->block)
                                  : is_parameters(trainer, binding->table, binding->lanes);
        }
    }
    return all;
}

static mg_status set_up(mg_trainer *trainer, const mg_id *first, const size_t *sizes, bool fast) {
    mg_blocks *blocks = &trainer->blocks;
    const mg_program *program = trainer->program;
    const size_t size = trainer->kernels->size, count = trainer->count;
    trainer->first = mg_allot(blocks, count, sizeof *first);
    trainer->sizes = mg_allot(blocks, count, sizeof *sizes);
    trainer->slots = mg_allot(blocks, count, sizeof *trainer->slots);
    trainer->run = mg_allot(blocks, count, sizeof *trainer->run);
    if (blocks->failed) {
        return MG_NO_MEMORY;
    }
    memcpy(trainer->first, first, count * sizeof *first);
    memcpy(trainer->sizes, sizes, count * sizeof *sizes);
    MG_TRY(find_parameters(trainer)); /* before anything of that size is allocated */
    if (trainer->parameters == 0 || trainer->inputs == 0) {
        return MG_SHAPE;
    }
    trainer->m = mg_allot(blocks, trainer->parameters, size);
    trainer->v = mg_allot(blocks, trainer->parameters, size);
    trainer->sum = mg_allot(blocks, trainer->parameters, size);
    trainer->values = mg_allot(blocks, trainer->inputs, sizeof *trainer->values);
    trainer->losses = mg_allot(blocks, trainer->inputs + 1, sizeof *trainer->losses);
    if (program->plan != NULL) {
        trainer->batch = mg_batch_new(trainer->program, trainer->kernels);
    }
    if (blocks->failed || (program->plan != NULL && trainer->batch == NULL)) {
        return MG_NO_MEMORY;
    }
    for (size_t n = 0; n <= trainer->inputs; n++) {
        trainer->losses[n] = mg_program_losses_of(program, n);
    }
    if (!fast) {
        return MG_OK;
    }
    return program->plan != NULL && has_all_leaves(trainer) ? make_room(trainer) : MG_SHAPE;
}

mg_trainer *mg_trainer_new(mg_program *program, const mg_id *first, const size_t *sizes, size_t count,
                           const mg_optimizer *optimizer, bool fast) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_status status = mg_program_find_inputs(program);
    if (status == MG_OK && !mg_optimizer_is_known(optimizer)) {
        status = MG_OPERATION;
    }
    mg_trainer *trainer = status == MG_OK ? mg_new_owner(tape, sizeof *trainer) : NULL;
    if (trainer == NULL) {
        mg_fail(tape, status == MG_OK ? MG_NO_MEMORY : status);
        return NULL;
    }
    *trainer = (mg_trainer){.blocks = trainer->blocks, .tape = tape, .program = program, .optimizer = *optimizer,
                            .count = count, .inputs = program->inputs,
                            .kernels = fast ? mg_fast_kernels(mg_row_chosen()) : mg_kernels_chosen()};
    mg_program_hold(program);
    status = set_up(trainer, first, sizes, fast);
    if (status != MG_OK) {
        mg_trainer_free(trainer);
        mg_fail(tape, status);
        return NULL;
    }
    return trainer;
}

mg_status mg_trainer_use_threads(mg_trainer *trainer, size_t threads) {
    MG_INSIDE(trainer->tape);
    MG_TRY(mg_enter(trainer->tape));
    if (threads == 0 || threads > MG_MOST_THREADS) {
        return MG_SHAPE;
    }
    if (threads != mg_pool_threads(trainer->pool)) {
        mg_pool *pool = threads > 1 ? mg_pool_new(threads) : NULL;
        if (threads > 1 && pool == NULL) {
            return MG_NO_MEMORY;
        }
        mg_pool_free(trainer->pool);
        trainer->pool = pool;
    }
    return MG_OK;
}

void mg_trainer_interrupt(mg_trainer *trainer) { atomic_store(&trainer->interrupted, true); }

/* ---- the numbers ------------------------------------------------------------------------------------------------ */

mg_status mg_trainer_load(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    const size_t size = trainer->kernels->size;
    MG_TRY(mg_program_find_inputs(trainer->program));
    MG_TRY(find_parameters(trainer));
    if (!mg_trains_fast(trainer)) {
        trainer->leaves = (mg_leaf_numbers){tape->value, tape->adjoint, 0};
    }
    for (size_t r = 0, done = 0; r < trainer->run_count; done += trainer->run[r++].n) {
        const size_t n = trainer->run[r].n, at = (trainer->slots[r] - trainer->leaves.lowest) * size;
        char *data = (char *)trainer->leaves.value + at, *grad = (char *)trainer->leaves.adjoint + at;
        if (mg_trains_fast(trainer) && trainer->stored != tape->writes) {
            trainer->kernels->from_double(n, tape->value + trainer->slots[r], data);
        }
        trainer->run[r] = (mg_parameters){n, data, grad, (char *)trainer->m + done * size,
                                          (char *)trainer->v + done * size};
    }
    trainer->program->computed = SIZE_MAX; /* its workspace is about to be used */
    return MG_OK;
}

void mg_trainer_store(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    for (size_t r = 0; r < trainer->run_count; r++) {
        mg_touch(tape, trainer->slots[r], trainer->run[r].n);
        if (mg_trains_fast(trainer)) {
            trainer->kernels->to_double(trainer->run[r].n, trainer->run[r].data, tape->value + trainer->slots[r]);
        }
    }
    trainer->stored = tape->writes;
}

mg_status mg_trainer_read_state(mg_trainer *trainer, double *m, double *v, size_t parameters, uint64_t *steps) {
    MG_INSIDE(trainer->tape);
    *steps = 0;
    MG_TRY(mg_enter(trainer->tape));
    if (parameters != trainer->parameters) {
        return MG_SHAPE;
    }
    trainer->kernels->to_double(parameters, trainer->m, m);
    trainer->kernels->to_double(parameters, trainer->v, v);
    *steps = trainer->steps;
    return MG_OK;
}

mg_status mg_trainer_write_state(mg_trainer *trainer, const double *m, const double *v, size_t parameters,
                                 uint64_t steps) {
    MG_INSIDE(trainer->tape);
    MG_TRY(mg_enter(trainer->tape));
    if (parameters != trainer->parameters) {
        return MG_SHAPE;
    }
    trainer->kernels->from_double(parameters, m, trainer->m);
    trainer->kernels->from_double(parameters, v, trainer->v);
    trainer->steps = steps;
    return MG_OK;
}
