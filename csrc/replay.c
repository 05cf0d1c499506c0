/* replay.c: the workspace in which batches compute, and the numbers that go between it and the tape. */
#include "program.h"

static bool apart(const mg_batches *batches, mg_slot first, size_t n) {
    for (size_t k = 0; k < batches->count; k++) {
        const mg_batch *batch = &batches->batch[k];
        if (batch->operation == MG_SPAN_LINEAR && first < batch->weights + batch->lanes * batch->terms &&
            batch->weights < first + n) {
            return false;
        }
    }
    return true;
}

bool mg_batches_select(mg_program *program) {
    const mg_tape *tape = program->tape;
    mg_batches *batches = program->batches;
    const size_t positions = batches->positions, loss = batches->count - 2;
    const mg_batch *quotient = mg_batch_of_row(batches, batches->count, batches->batch[loss].operand[0]);
    for (size_t t = 0; t < positions; t++) {
        for (size_t o = 0; batches->embedding != MG_NO_ROW && o < 2; o++) {
            const mg_batch *batch = &batches->batch[batches->embedding];
            mg_slot first = mg_operand(tape, mg_batch_header(program, batches->embedding, t), o);
            if (batch->operand[o] == MG_NO_ROW) {
                if (batches->gathered[o * positions + t] != first && !apart(batches, first, batch->lanes)) {
                    return false;
                }
                batches->gathered[o * positions + t] = first;
            }
        }
        mg_slot p = mg_operand(tape, mg_batch_header(program, loss, t), 0);
        batches->chosen[t] = p - mg_first_lane(tape, tape->operand[p][0]);
        if (batches->chosen[t] >= quotient->lanes) {
            return false;
        }
    }
    return true;
}

bool mg_batches_enter(const mg_program *program, size_t size, mg_replay *replay) {
    mg_tape *tape = program->tape;
    const mg_batches *batches = program->batches;
    const size_t numbers = batches->rows * batches->padded;
    const size_t bytes = (2 * numbers + batches->scratch) * size + MG_ALIGNMENT;
    if (tape->work_bytes < bytes) {
        void *grown = mg_reallocate(tape, tape->work, tape->work_bytes, bytes);
        if (grown == NULL) {
            return false;
        }
        tape->work = grown;
        tape->work_bytes = bytes;
        tape->work_of = NULL;
    }
    char *value = (char *)(((uintptr_t)tape->work + MG_ALIGNMENT - 1) / MG_ALIGNMENT * MG_ALIGNMENT);
    *replay = (mg_replay){.batches = batches, .value = value, .adjoint = value + numbers * size,
                          .scratch = value + 2 * numbers * size, .leaf_value = tape->value,
                          .leaf_adjoint = tape->adjoint};
    return true;
}

/* Calls for every lane of every statement: its slot, its place in the rows, its batch and its row in it. */
typedef void visit(mg_tape *tape, const mg_batches *batches, const double *numbers, mg_slot slot, size_t at,
                   const mg_batch *batch, size_t row);

static void each_lane(const mg_program *program, const double *numbers, visit *visitor) {
    mg_tape *tape = program->tape;
    const mg_batches *batches = program->batches;
    for (size_t k = 0; k < batches->count; k++) {
        const mg_batch *batch = &batches->batch[k];
        for (size_t t = 0; t < (k == batches->count - 1 ? 1 : batches->positions); t++) {
            mg_slot header = mg_batch_header(program, k, t), first = mg_first_lane(tape, header);
            for (size_t i = 0; i < mg_lanes(tape, header); i++) {
                size_t row = batch->causal ? i / (t + 1) * batches->positions + i % (t + 1) : i;
                size_t at = (batch->first + row) * batches->padded + t;
                visitor(tape, batches, numbers, first + (mg_slot)i, at, batch, row);
            }
        }
    }
}

static void store_value(mg_tape *tape, const mg_batches *batches, const double *value, mg_slot slot, size_t at,
                        const mg_batch *batch, size_t row) {
    const size_t position = at % batches->padded;
    tape->value[slot] = value[at];
    if (batch->operation == MG_SPAN_RMS || batch->operation == MG_SPAN_SURPRISAL) {
        tape->partial[slot][0] = value[batch->kept * batches->padded + position];
    } else if (batch->operation == MG_SPAN_QUOTIENT) {
        const double *kept = value + (batch->kept + row / batch->group * 2) * batches->padded + position;
        tape->partial[slot][0] = kept[0];
        tape->partial[slot][1] = kept[batches->padded];
    } else if (batch->operation == MG_SPAN_RELU || batch->operation == MG_SPAN_RELU_SQUARE) {
        double x = value[(batch->operand[0] + row) * batches->padded + position], r = x > 0 ? x : 0;
        tape->partial[slot][0] = batch->operation == MG_SPAN_RELU ? 1 : 2 * r;
        tape->partial[slot][1] = x > 0;
    }
}

void mg_batches_store_values(const mg_program *program, const mg_replay *replay) {
    each_lane(program, replay->value, store_value);
}

static void store_adjoint(mg_tape *tape, const mg_batches *batches, const double *adjoint, mg_slot slot, size_t at,
                          const mg_batch *batch, size_t row) {
    (void)batches, (void)batch, (void)row;
    tape->adjoint[slot] = adjoint[at];
}

void mg_batches_store_adjoints(const mg_program *program, const mg_replay *replay) {
    each_lane(program, replay->adjoint, store_adjoint);
}
