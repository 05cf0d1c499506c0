/* train.c: many steps of training in one call. */
#include "kernels.h"
#include "program.h"

#include <math.h>
#include <string.h>

/* Parameters in a row on the tape; their moments are in a row too. */
typedef struct {
    mg_slot first;
    size_t n;
} part;

struct mg_trainer {
    mg_tape *tape;
    const mg_kernels *kernels;
    mg_id *first;
    size_t *sizes;
    part *parts; /* [count]: where the runs are during a call, adjoining runs as one */
    size_t count, part_count, parameters;
    void *m, *v, *sum; /* [parameters] */
    double beta1, beta2, epsilon;
    mg_program **programs; /* [most + 1], by tokens of a document; NULL where there is none */
    size_t most;
    uint64_t steps; /* taken */
    uint64_t calls; /* the number of the present call of mg_trainer_run among all in the process */
    /* The numbers of slot `lowest` and those after it: the tape's, or in the fast mode `span` of the trainer's own. */
    void *value, *adjoint;
    mg_slot lowest;
    size_t span;     /* 0 unless in the fast mode */
    uint64_t stored; /* fast: the tape's count of writes when it last had the same numbers */
};

static void *number(const mg_trainer *trainer, void *base, mg_slot slot) {
    return (char *)base + (slot - trainer->lowest) * trainer->kernels->size;
}

static void release(mg_tape *tape, void *block, size_t n, size_t size) {
    mg_reallocate(tape, block, block == NULL ? 0 : n * size, 0);
}

void mg_trainer_free(mg_trainer *trainer) {
    if (trainer != NULL) {
        mg_tape *tape = trainer->tape;
        const size_t size = trainer->kernels->size;
        release(tape, trainer->first, trainer->count, sizeof *trainer->first);
        release(tape, trainer->sizes, trainer->count, sizeof *trainer->sizes);
        release(tape, trainer->parts, trainer->count, sizeof *trainer->parts);
        release(tape, trainer->m, trainer->parameters, size);
        release(tape, trainer->v, trainer->parameters, size);
        release(tape, trainer->sum, trainer->parameters, size);
        release(tape, trainer->programs, trainer->most + 1, sizeof *trainer->programs);
        if (trainer->span > 0) {
            release(tape, trainer->value, trainer->span, size);
            release(tape, trainer->adjoint, trainer->span, size);
        }
        mg_reallocate(tape, trainer, sizeof *trainer, 0);
    }
}

/* Finds where the parameters are. */
static mg_status find_parts(mg_trainer *trainer) {
    trainer->part_count = 0;
    for (size_t r = 0; r < trainer->count; r++) {
        mg_slot slot;
        if (!mg_find_run(trainer->tape, trainer->first[r], trainer->sizes[r], &slot)) {
            return mg_find(trainer->tape, trainer->first[r], &slot) ? MG_SHAPE : MG_STALE;
        }
        if (!mg_all_leaves(trainer->tape, slot, trainer->sizes[r])) {
            return MG_SHAPE;
        }
        part *last = trainer->part_count > 0 ? &trainer->parts[trainer->part_count - 1] : NULL;
        if (last != NULL && last->first + last->n == slot) {
            last->n += trainer->sizes[r];
        } else {
            trainer->parts[trainer->part_count++] = (part){slot, trainer->sizes[r]};
        }
    }
    return MG_OK;
}

/* Numbers of the trainer's own, of all slots from the first parameter's to the last's. */
static mg_status make_room(mg_trainer *trainer) {
    mg_slot lowest = trainer->parts[0].first, end = 0;
    for (size_t p = 0; p < trainer->part_count; p++) {
        const part *run = &trainer->parts[p];
        lowest = run->first < lowest ? run->first : lowest;
        end = run->first + run->n > end ? (mg_slot)(run->first + run->n) : end;
    }
    trainer->lowest = lowest;
    trainer->span = end - lowest;
    trainer->stored = UINT64_MAX;
    trainer->value = mg_allot(trainer->tape, trainer->span, trainer->kernels->size);
    trainer->adjoint = mg_allot(trainer->tape, trainer->span, trainer->kernels->size);
    return trainer->value && trainer->adjoint ? MG_OK : MG_NO_MEMORY;
}

mg_trainer *mg_trainer_new(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double beta1,
                           double beta2, double epsilon, bool fast) {
    const mg_kernels *kernels = fast ? mg_fast_kernels(mg_row_chosen()) : mg_kernels_chosen();
    size_t parameters = 0;
    if (!mg_ready(tape)) {
        return NULL;
    }
    for (size_t r = 0; r < count; r++) { /* before anything of that size is allocated */
        mg_slot slot;
        if (!mg_find_run(tape, first[r], sizes[r], &slot)) {
            mg_fail(tape, mg_find(tape, first[r], &slot) ? MG_SHAPE : MG_STALE);
            return NULL;
        }
        parameters += sizes[r];
    }
    mg_trainer *trainer = mg_reallocate(tape, NULL, 0, sizeof *trainer);
    mg_status status = trainer == NULL ? MG_NO_MEMORY : MG_OK;
    if (trainer != NULL) {
        *trainer = (mg_trainer){.tape = tape, .kernels = kernels, .count = count, .parameters = parameters,
                                .beta1 = beta1, .beta2 = beta2, .epsilon = epsilon};
        status = parameters == 0 ? MG_SHAPE : MG_OK;
    }
    if (status == MG_OK) {
        trainer->first = mg_allot(tape, count, sizeof *first);
        trainer->sizes = mg_allot(tape, count, sizeof *sizes);
        trainer->parts = mg_allot(tape, count, sizeof *trainer->parts);
        trainer->m = mg_allot(tape, parameters, kernels->size);
        trainer->v = mg_allot(tape, parameters, kernels->size);
        trainer->sum = mg_allot(tape, parameters, kernels->size);
        bool whole = trainer->first && trainer->sizes && trainer->parts && trainer->m && trainer->v && trainer->sum;
        status = whole ? MG_OK : MG_NO_MEMORY;
    }
    if (status == MG_OK) {
        memcpy(trainer->first, first, count * sizeof *first);
        memcpy(trainer->sizes, sizes, count * sizeof *sizes);
        status = find_parts(trainer);
    }
    if (status == MG_OK && fast) {
        status = make_room(trainer);
    }
    if (status != MG_OK) {
        mg_trainer_free(trainer);
        mg_fail(tape, status);
        return NULL;
    }
    return trainer;
}

static bool is_parameters(const mg_trainer *trainer, mg_slot first, size_t n) {
    for (size_t p = 0; p < trainer->part_count; p++) {
        if (first >= trainer->parts[p].first && first + n <= trainer->parts[p].first + trainer->parts[p].n) {
            return true;
        }
    }
    return false;
}

/* May the fast mode run the program? It needs its batches, and no other leaves than parameters. */
static bool suits(const mg_trainer *trainer, mg_program *program) {
    const mg_batches *batches = program->batches;
    if (batches == NULL || mg_program_find_inputs(program) != MG_OK) {
        return false;
    }
    bool fits = mg_batches_select(program);
    for (size_t k = 0; fits && k < batches->count; k++) {
        const mg_batch *batch = &batches->batch[k];
        if (batch->operation == MG_SPAN_LINEAR) {
            fits = is_parameters(trainer, batch->weights, batch->lanes * batch->terms);
        }
        for (size_t i = 0; fits && k == batches->embedding && i < 2 * batches->positions; i++) {
            fits = batch->operand[i / batches->positions] != MG_NO_ROW ||
                   is_parameters(trainer, batches->gathered[i], batch->lanes);
        }
    }
    for (size_t b = 0; fits && b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        fits = !binding->leaves || is_parameters(trainer, binding->slot, binding->size * binding->count);
    }
    return fits;
}

mg_status mg_trainer_add(mg_trainer *trainer, size_t tokens, mg_program *program) {
    mg_tape *tape = trainer->tape;
    mg_status status = mg_enter(tape);
    if (status == MG_OK) {
        status = find_parts(trainer);
    }
    if (status != MG_OK) {
        return status;
    }
    if (program->tape != tape || program->inputs != tokens || tokens == 0 ||
        (trainer->span > 0 && !suits(trainer, program))) {
        return MG_SHAPE;
    }
    if (trainer->programs == NULL || tokens > trainer->most) {
        size_t held = trainer->programs ? trainer->most + 1 : 0, size = sizeof *trainer->programs;
        mg_program **grown = mg_reallocate(tape, trainer->programs, held * size, (tokens + 1) * size);
        if (grown == NULL) {
            return MG_NO_MEMORY;
        }
        memset(grown + held, 0, (tokens + 1 - held) * size);
        trainer->programs = grown;
        trainer->most = tokens;
    }
    trainer->programs[tokens] = program;
    return MG_OK;
}

/* Ready for steps: in the fast mode the parameters as float, if they were written since the last call. */
static mg_status load(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    mg_status status = find_parts(trainer);
    for (size_t p = 0; status == MG_OK && p < trainer->part_count; p++) {
        const part *run = &trainer->parts[p];
        float *value = trainer->span > 0 ? number(trainer, trainer->value, run->first) : NULL;
        for (size_t i = 0; value != NULL && trainer->stored != tape->writes && i < run->n; i++) {
            value[i] = (float)tape->value[run->first + i];
        }
    }
    if (trainer->span == 0) {
        trainer->value = tape->value;
        trainer->adjoint = tape->adjoint;
    }
    return status;
}

/* The tape gets the parameters, and takes note that they were written. */
static void store(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    for (size_t p = 0; p < trainer->part_count; p++) {
        const part *run = &trainer->parts[p];
        const float *value = trainer->span > 0 ? number(trainer, trainer->value, run->first) : NULL;
        mg_touch(tape, run->first, run->n);
        for (size_t i = 0; value != NULL && i < run->n; i++) {
            tape->value[run->first + i] = (double)value[i];
        }
    }
    trainer->stored = tape->writes;
}

/* Forward and reverse in the fast mode. */
static mg_status learn_fast(mg_trainer *trainer, mg_program *program, double *loss) {
    mg_replay replay;
    trainer->tape->work_of = NULL;
    if (program->batches == NULL || !mg_batches_select(program)) {
        return MG_SHAPE;
    }
    if (!mg_batches_enter(program, trainer->kernels->size, &replay)) {
        return MG_NO_MEMORY;
    }
    replay.leaf_value = trainer->value;
    replay.leaf_adjoint = trainer->adjoint;
    replay.lowest = trainer->lowest;
    bool finite = trainer->kernels->forward(&replay);
    const float *value = replay.value;
    const mg_batches *batches = program->batches;
    finite = finite && trainer->kernels->reverse(&replay);
    *loss = finite ? (double)value[batches->batch[batches->count - 1].first * batches->padded] : (double)NAN;
    return finite ? MG_OK : MG_NOT_FINITE;
}

/* The loss of one document, and its gradients in the parameters. */
static mg_status learn(mg_trainer *trainer, const int32_t *tokens, size_t count, double *loss) {
    mg_program *program = trainer->programs == NULL || count > trainer->most ? NULL : trainer->programs[count];
    if (program == NULL) {
        return MG_SHAPE;
    }
    if (program->set_in != trainer->calls) {
        mg_status status = mg_program_find_inputs(program);
        if (status != MG_OK) {
            return status;
        }
        program->set_in = trainer->calls;
    }
    if (!mg_program_select_inputs(program, tokens)) {
        return MG_SHAPE;
    }
    if (trainer->span > 0) {
        return learn_fast(trainer, program, loss);
    }
    mg_status status = mg_program_compute(program, false, loss);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK ? mg_program_sweep(program, false) : status;
}

/* The sum of the gradients of a batch's documents, and then their mean. */
static void add_gradients(mg_trainer *trainer) {
    char *sum = trainer->sum;
    for (size_t p = 0; p < trainer->part_count; sum += trainer->parts[p++].n * trainer->kernels->size) {
        void *adjoint = number(trainer, trainer->adjoint, trainer->parts[p].first);
        trainer->kernels->add_gradients(trainer->parts[p].n, adjoint, sum);
    }
}

static void take_mean(mg_trainer *trainer, double share) {
    char *sum = trainer->sum;
    for (size_t p = 0; p < trainer->part_count; sum += trainer->parts[p++].n * trainer->kernels->size) {
        void *adjoint = number(trainer, trainer->adjoint, trainer->parts[p].first);
        trainer->kernels->mean_gradients(trainer->parts[p].n, adjoint, sum, share);
    }
}

/* What a step that failed has left. */
static void clear_gradients(mg_trainer *trainer) {
    for (size_t p = 0; p < trainer->part_count; p++) {
        const part *run = &trainer->parts[p];
        memset(number(trainer, trainer->adjoint, run->first), 0, run->n * trainer->kernels->size);
    }
    memset(trainer->sum, 0, trainer->parameters * trainer->kernels->size);
}

/* Adam on all parameters, as in mg_adam. */
static mg_status update(mg_trainer *trainer, double learning_rate) {
    const mg_kernels *kernels = trainer->kernels;
    double largest = 0, square, decay1, decay2;
    for (size_t p = 0; trainer->span == 0 && p < trainer->part_count; p++) {
        double size = kernels->largest(trainer->parts[p].n, number(trainer, trainer->adjoint, trainer->parts[p].first));
        largest = size > largest ? size : largest;
    }
    if (mg_pow(largest, 2, &square) != MG_OK) {
        return MG_POWER_RANGE;
    }
    mg_pow(trainer->beta1, (double)(trainer->steps + 1), &decay1);
    mg_pow(trainer->beta2, (double)(trainer->steps + 1), &decay2);
    const mg_adam_step step = {learning_rate, trainer->beta1, trainer->beta2, 1 - decay1, 1 - decay2, trainer->epsilon};
    size_t done = 0;
    for (size_t p = 0; p < trainer->part_count; done += trainer->parts[p++].n) {
        const part *run = &trainer->parts[p];
        kernels->adam(run->n, number(trainer, trainer->value, run->first),
                      number(trainer, trainer->adjoint, run->first), (char *)trainer->m + done * kernels->size,
                      (char *)trainer->v + done * kernels->size, &step);
    }
    return MG_OK;
}

/* One step, number trainer->steps from 0. */
static mg_status step(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                      size_t batch_size, double learning_rate, double *loss) {
    const size_t first = (size_t)(trainer->steps * batch_size % documents);
    double total = 0, one = 0;
    mg_status status = MG_OK;
    for (size_t b = 0; status == MG_OK && b < batch_size; b++) {
        const size_t document = (first + b) % documents;
        status = learn(trainer, tokens + starts[document], starts[document + 1] - starts[document], &one);
        total += one;
        if (status == MG_OK && batch_size > 1) {
            add_gradients(trainer);
        }
    }
    if (status == MG_OK && batch_size > 1) {
        take_mean(trainer, 1 / (double)batch_size);
    }
    *loss = total * (1 / (double)batch_size);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK ? update(trainer, learning_rate) : status;
}

mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done) {
    static _Atomic(uint64_t) calls;
    mg_tape *tape = trainer->tape;
    mg_status status = mg_enter(tape);
    *done = 0;
    if (status == MG_OK) {
        status = documents == 0 || batch_size == 0 ? MG_SHAPE : load(trainer);
    }
    if (status != MG_OK) {
        return status;
    }
    trainer->calls = atomic_fetch_add(&calls, 1) + 1;
    atomic_store_explicit(&tape->busy, 1, memory_order_release);
    for (; status == MG_OK && *done < steps; *done += status == MG_OK) {
        status = step(trainer, tokens, starts, documents, batch_size, learning_rates[*done], &losses[*done]);
        trainer->steps += status == MG_OK;
    }
    store(trainer);
    if (status != MG_OK) {
        clear_gradients(trainer);
    }
    atomic_store_explicit(&tape->busy, 0, memory_order_release);
    return status;
}
