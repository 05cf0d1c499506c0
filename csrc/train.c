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
    mg_id *first;
    size_t *sizes;
    part *parts; /* [count]: where the runs are during a call, adjoining runs as one */
    size_t count, part_count, parameters;
    double *m, *v, *sum; /* [parameters] */
    double beta1, beta2, epsilon;
    mg_program **programs; /* [most + 1], by tokens of a document; NULL where there is none */
    size_t most;
    uint64_t steps; /* taken */
    uint64_t calls; /* the number of the present call of mg_trainer_run among all in the process */
};

void mg_trainer_free(mg_trainer *trainer) {
    if (trainer != NULL) {
        mg_tape *tape = trainer->tape;
        const size_t numbers = trainer->parameters * sizeof(double);
        mg_reallocate(tape, trainer->first, trainer->first ? trainer->count * sizeof *trainer->first : 0, 0);
        mg_reallocate(tape, trainer->sizes, trainer->sizes ? trainer->count * sizeof *trainer->sizes : 0, 0);
        mg_reallocate(tape, trainer->parts, trainer->parts ? trainer->count * sizeof *trainer->parts : 0, 0);
        mg_reallocate(tape, trainer->m, trainer->m ? numbers : 0, 0);
        mg_reallocate(tape, trainer->v, trainer->v ? numbers : 0, 0);
        mg_reallocate(tape, trainer->sum, trainer->sum ? numbers : 0, 0);
        mg_reallocate(tape, trainer->programs,
                      trainer->programs ? (trainer->most + 1) * sizeof *trainer->programs : 0, 0);
        mg_reallocate(tape, trainer, sizeof *trainer, 0);
    }
}

mg_trainer *mg_trainer_new(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double beta1,
                           double beta2, double epsilon) {
    mg_slot slot;
    size_t parameters = 0;
    if (!mg_ready(tape)) {
        return NULL;
    }
    for (size_t r = 0; r < count; r++) {
        if (!mg_find_run(tape, first[r], sizes[r], &slot)) {
            mg_fail(tape, mg_find(tape, first[r], &slot) ? MG_SHAPE : MG_STALE);
            return NULL;
        }
        if (!mg_all_leaves(tape, slot, sizes[r])) {
            mg_fail(tape, MG_SHAPE);
            return NULL;
        }
        parameters += sizes[r];
    }
    if (count == 0) {
        mg_fail(tape, MG_SHAPE);
        return NULL;
    }
    mg_trainer *trainer = mg_reallocate(tape, NULL, 0, sizeof *trainer);
    if (trainer != NULL) {
        *trainer = (mg_trainer){.tape = tape, .count = count, .parameters = parameters, .beta1 = beta1,
                                .beta2 = beta2, .epsilon = epsilon};
        trainer->first = mg_reallocate(tape, NULL, 0, count * sizeof *first);
        trainer->sizes = mg_reallocate(tape, NULL, 0, count * sizeof *sizes);
        trainer->parts = mg_reallocate(tape, NULL, 0, count * sizeof *trainer->parts);
        trainer->m = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
        trainer->v = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
        trainer->sum = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
    }
    if (trainer == NULL || !trainer->first || !trainer->sizes || !trainer->parts || !trainer->m || !trainer->v || !trainer->sum) {
        mg_trainer_free(trainer);
        mg_fail(tape, MG_NO_MEMORY);
        return NULL;
    }
    memcpy(trainer->first, first, count * sizeof *first);
    memcpy(trainer->sizes, sizes, count * sizeof *sizes);
    memset(trainer->m, 0, parameters * sizeof(double));
    memset(trainer->v, 0, parameters * sizeof(double));
    memset(trainer->sum, 0, parameters * sizeof(double));
    return trainer;
}

mg_status mg_trainer_add(mg_trainer *trainer, size_t tokens, mg_program *program) {
    mg_tape *tape = trainer->tape;
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (program->tape != tape || program->inputs != tokens || tokens == 0) {
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

/* Finds where the parameters are, and takes note that they are being written. */
static mg_status find_parts(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    trainer->part_count = 0;
    for (size_t r = 0; r < trainer->count; r++) {
        mg_slot slot;
        if (!mg_find_run(tape, trainer->first[r], trainer->sizes[r], &slot)) {
            return MG_STALE;
        }
        part *last = trainer->part_count > 0 ? &trainer->parts[trainer->part_count - 1] : NULL;
        if (last != NULL && last->first + last->n == slot) {
            last->n += trainer->sizes[r];
        } else {
            trainer->parts[trainer->part_count++] = (part){slot, trainer->sizes[r]};
        }
        mg_touch(tape, slot, trainer->sizes[r]);
    }
    return MG_OK;
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
    mg_status status = mg_program_compute(program, false, loss);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK ? mg_program_sweep(program, false) : status;
}

/* The sum of the gradients of a batch, and then their mean. */
static void add_gradients(mg_trainer *trainer) {
    double *sum = trainer->sum;
    for (size_t p = 0; p < trainer->part_count; sum += trainer->parts[p++].n) {
        double *adjoint = trainer->tape->adjoint + trainer->parts[p].first;
        for (size_t i = 0; i < trainer->parts[p].n; i++) {
            sum[i] += adjoint[i];
            adjoint[i] = 0;
        }
    }
}

static void take_mean(mg_trainer *trainer, double share) {
    double *sum = trainer->sum;
    for (size_t p = 0; p < trainer->part_count; sum += trainer->parts[p++].n) {
        double *adjoint = trainer->tape->adjoint + trainer->parts[p].first;
        for (size_t i = 0; i < trainer->parts[p].n; i++) {
            adjoint[i] = sum[i] * share;
            sum[i] = 0;
        }
    }
}

/* Adam on all parameters, as in mg_adam. */
static mg_status update(mg_trainer *trainer, double learning_rate) {
    const mg_kernels *kernels = mg_kernels_chosen();
    mg_tape *tape = trainer->tape;
    double largest = 0, square, decay1, decay2, *m = trainer->m, *v = trainer->v;
    for (size_t p = 0; p < trainer->part_count; p++) {
        double size = kernels->largest(trainer->parts[p].n, tape->adjoint + trainer->parts[p].first);
        largest = size > largest ? size : largest;
    }
    if (mg_pow(largest, 2, &square) != MG_OK) {
        return MG_POWER_RANGE;
    }
    mg_pow(trainer->beta1, (double)(trainer->steps + 1), &decay1);
    mg_pow(trainer->beta2, (double)(trainer->steps + 1), &decay2);
    const mg_adam_step step = {learning_rate, trainer->beta1, trainer->beta2, 1 - decay1, 1 - decay2, trainer->epsilon};
    for (size_t p = 0; p < trainer->part_count; m += trainer->parts[p].n, v += trainer->parts[p].n, p++) {
        const part *part = &trainer->parts[p];
        kernels->adam(part->n, tape->value + part->first, tape->adjoint + part->first, m, v, &step);
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
        status = documents == 0 || batch_size == 0 ? MG_SHAPE : find_parts(trainer);
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
    for (size_t p = 0; p < trainer->part_count; p++) { /* the statements that were computed on the way are outdated */
        mg_touch(tape, trainer->parts[p].first, trainer->parts[p].n);
    }
    atomic_store_explicit(&tape->busy, 0, memory_order_release);
    return status;
}
