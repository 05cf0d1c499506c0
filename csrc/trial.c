/* trial.c: the proof that batches compute what the plain replay does, tried with random numbers, bit for bit. */
#include "kernels.h"
#include "program.h"

#include <math.h>
#include <string.h>

/* A run of slots whose numbers the trial changes. */
typedef struct {
    mg_slot first;
    size_t n;
    bool leaves;
} stretch;

/* Copies the numbers of all stretches to a buffer, or back. Returns how many there are. */
static size_t copy_numbers(mg_tape *tape, const stretch *part, size_t count, double *out, const double *in) {
    size_t done = 0;
    for (size_t p = 0; p < count; p++) {
        double *arrays[3] = {tape->value + part[p].first, tape->adjoint + part[p].first, tape->partial[part[p].first]};
        for (size_t a = 0; a < (part[p].leaves ? 2 : 3); a++) {
            size_t n = a == 2 ? 2 * part[p].n : part[p].n;
            if (out != NULL) {
                memcpy(out + done, arrays[a], n * sizeof *out);
            } else if (in != NULL) {
                memcpy(arrays[a], in + done, n * sizeof *in);
            }
            done += n;
        }
    }
    return done;
}

static void randomize(mg_tape *tape, stretch part, double scale, uint64_t *state) {
    for (size_t i = 0; i < part.n; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        tape->value[part.first + i] = ((double)(*state >> 11) * 0x1p-52 - 1) * scale;
    }
}

static void clear_leaves(mg_tape *tape, const stretch *part, size_t count) {
    for (size_t p = 0; p < count; p++) {
        if (part[p].leaves) {
            memset(tape->adjoint + part[p].first, 0, part[p].n * sizeof *tape->adjoint);
        }
    }
}

/* Runs the program plainly and by batches, from the same random leaves: is every number the same? */
static bool agree(mg_program *program, const stretch *part, size_t count, double *plain, double *batched,
                  const mg_replay *replay) {
    mg_tape *tape = program->tape;
    const mg_kernels *kernels = mg_kernels_chosen();
    clear_leaves(tape, part, count);
    if (mg_compute_plainly(program) != MG_OK || mg_sweep_plainly(program) != MG_OK) {
        return false;
    }
    size_t numbers = copy_numbers(tape, part, count, plain, NULL);
    clear_leaves(tape, part, count);
    if (!kernels->forward(replay) || !kernels->reverse(replay)) {
        return false;
    }
    mg_batches_store_values(program, replay);
    mg_batches_store_adjoints(program, replay);
    copy_numbers(tape, part, count, batched, NULL);
    return memcmp(plain, batched, numbers * sizeof *plain) == 0;
}

mg_status mg_hold_trial(mg_program *program, bool *agreed) {
    mg_tape *tape = program->tape;
    const mg_batches *batches = program->batches;
    const size_t most = program->statements.count + batches->count + 2 * batches->positions;
    size_t count = 0;
    uint64_t state = 1;
    mg_replay replay;
    stretch *part = mg_allot(tape, most, sizeof *part);
    if (part == NULL || !mg_batches_enter(program, sizeof(double), &replay)) {
        mg_reallocate(tape, part, part == NULL ? 0 : most * sizeof *part, 0);
        return MG_NO_MEMORY;
    }
    tape->work_of = NULL;
    for (size_t i = 0; i < program->statements.count; i++) {
        mg_slot header = program->statements.item[i];
        part[count++] = (stretch){mg_first_lane(tape, header), mg_lanes(tape, header), false};
    }
    for (size_t k = 0; k < batches->count; k++) {
        const mg_batch *batch = &batches->batch[k];
        if (batch->operation == MG_SPAN_LINEAR) {
            part[count++] = (stretch){batch->weights, batch->lanes * batch->terms, true};
        }
        for (size_t o = 0; k == batches->embedding && o < 2; o++) {
            for (size_t t = 0; batch->operand[o] == MG_NO_ROW && t < batches->positions; t++) {
                part[count++] = (stretch){batches->gathered[o * batches->positions + t], batch->lanes, true};
            }
        }
    }
    const size_t numbers = copy_numbers(tape, part, count, NULL, NULL), bytes = 3 * numbers * sizeof(double);
    double *kept = mg_reallocate(tape, NULL, 0, bytes);
    if (kept != NULL) {
        copy_numbers(tape, part, count, kept, NULL);
        for (size_t p = 0; p < program->statements.count; p++) { /* not all operations use their partials */
            memset(tape->partial[part[p].first], 0, part[p].n * sizeof *tape->partial);
        }
        for (size_t p = program->statements.count; p < count; p++) {
            randomize(tape, part[p], 1, &state);
        }
        for (size_t k = 0; k < batches->count; k++) { /* sums of ordinary size, so that no softmax is 0 or 1 */
            const mg_batch *batch = &batches->batch[k];
            if (batch->operation == MG_SPAN_LINEAR) {
                randomize(tape, (stretch){batch->weights, batch->lanes * batch->terms, true},
                          1.5 / sqrt((double)batch->terms), &state);
            }
        }
        *agreed = agree(program, part, count, kept + numbers, kept + 2 * numbers, &replay);
        copy_numbers(tape, part, count, NULL, kept);
        mg_reallocate(tape, kept, bytes, 0);
    }
    mg_reallocate(tape, part, most * sizeof *part, 0);
    return kept == NULL ? MG_NO_MEMORY : MG_OK;
}
