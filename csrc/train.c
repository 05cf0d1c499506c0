/* train.c: many steps of training in one call. */
#include "kernels.h"
#include "program.h"

#include <math.h>
#include <string.h>

struct mg_trainer {
    mg_tape *tape;
    mg_id *first;
    size_t *sizes;
    size_t count, parameters;
    double *m, *v, *sum; /* [parameters] */
    double beta1, beta2, epsilon;
    mg_program **programs; /* [most + 1], by tokens of a document; NULL where there is none */
    size_t most;
    uint64_t steps; /* taken */
};

void mg_trainer_free(mg_trainer *trainer) {
    if (trainer != NULL) {
        mg_tape *tape = trainer->tape;
        const size_t numbers = trainer->parameters * sizeof(double);
        mg_reallocate(tape, trainer->first, trainer->first ? trainer->count * sizeof *trainer->first : 0, 0);
        mg_reallocate(tape, trainer->sizes, trainer->sizes ? trainer->count * sizeof *trainer->sizes : 0, 0);
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
        trainer->m = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
        trainer->v = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
        trainer->sum = mg_reallocate(tape, NULL, 0, parameters * sizeof(double));
    }
    if (trainer == NULL || !trainer->first || !trainer->sizes || !trainer->m || !trainer->v || !trainer->sum) {
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

/* The loss of one document, and its gradients in the parameters. */
static mg_status learn(mg_trainer *trainer, const int32_t *tokens, size_t count, double *loss) {
    mg_program *program = trainer->programs == NULL || count > trainer->most ? NULL : trainer->programs[count];
    mg_status status = program == NULL ? MG_SHAPE : mg_program_set(program, tokens, count);
    if (status == MG_OK) {
        status = mg_program_compute(program, false, loss);
    }
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK ? mg_program_sweep(program, false) : status;
}

/* One step, number trainer->steps from 0. */
static mg_status step(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                      size_t batch_size, double learning_rate, double *loss) {
    mg_tape *tape = trainer->tape;
    const size_t first = (size_t)(trainer->steps * batch_size % documents);
    double total = 0, one = 0, decay1, decay2;
    mg_status status = MG_OK;
    for (size_t b = 0; status == MG_OK && b < batch_size; b++) {
        const size_t document = (first + b) % documents;
        status = learn(trainer, tokens + starts[document], starts[document + 1] - starts[document], &one);
        total += one;
        if (status == MG_OK && batch_size > 1) {
            status = mg_gradients_add(tape, trainer->first, trainer->sizes, trainer->count, trainer->sum);
        }
    }
    if (status == MG_OK && batch_size > 1) {
        status = mg_gradients_mean(tape, trainer->first, trainer->sizes, trainer->count, trainer->sum,
                                   1 / (double)batch_size);
    }
    *loss = total * (1 / (double)batch_size);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    if (status == MG_OK) {
        mg_pow(trainer->beta1, (double)(trainer->steps + 1), &decay1);
        mg_pow(trainer->beta2, (double)(trainer->steps + 1), &decay2);
        status = mg_adam(tape, trainer->first, trainer->sizes, trainer->count, trainer->m, trainer->v, learning_rate,
                         trainer->beta1, trainer->beta2, 1 - decay1, 1 - decay2, trainer->epsilon);
    }
    return status;
}

mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done) {
    mg_status status = mg_enter(trainer->tape);
    *done = 0;
    if (status == MG_OK && (documents == 0 || batch_size == 0)) {
        status = MG_SHAPE;
    }
    if (status != MG_OK) {
        return status;
    }
    atomic_store_explicit(&trainer->tape->busy, 1, memory_order_release);
    for (; status == MG_OK && *done < steps; *done += status == MG_OK) {
        status = step(trainer, tokens, starts, documents, batch_size, learning_rates[*done], &losses[*done]);
        trainer->steps += status == MG_OK;
    }
    atomic_store_explicit(&trainer->tape->busy, 0, memory_order_release);
    return status;
}
