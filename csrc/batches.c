/* batches.c: finds the batches of a program.
 *
 * The pattern is read off the recorded statements: n positions of the same statements, then the mean of their losses.
 * Anything else is no batch, and the program is replayed statement by statement. The order of additions is worked out
 * in fans.c, and the whole is proved in trial.c; what batches compute is in row_model.h.
 */
#include "program.h"

#include <string.h>

/* ---- the pattern ------------------------------------------------------------------------------------------------ */

mg_slot mg_batch_header(const mg_program *program, size_t batch, size_t position) {
    const mg_batches *batches = program->batches;
    bool mean = batch == batches->count - 1;
    return program->statements.item[mean ? program->statements.count - 1 : position * (batches->count - 1) + batch];
}

bool mg_find_place(const mg_program *program, mg_slot slot, mg_place *found) {
    const mg_tape *tape = program->tape;
    if (mg_code(tape, slot) != MG_LANE) {
        return false;
    }
    mg_slot header = tape->operand[slot][0];
    mg_id id = mg_id_of(tape, header);
    size_t low = 0, high = program->statements.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mg_id_of(tape, program->statements.item[middle]) < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == program->statements.count || program->statements.item[low] != header) {
        return false;
    }
    size_t each = program->batches->count - 1, in_positions = each * program->batches->positions;
    *found = (mg_place){low < in_positions ? low % each : each, low < in_positions ? low / each : 0,
                     tape->operand[slot][1]};
    return true;
}

/* The row of the operand k of a batch's statements: `needed` lanes in a row of an earlier statement, the same at each
   position. For the keys and values of attention, operand 2 + u of every later statement is that lane at position u.
   `needed` is 0 where the source may be attention's, whose lanes differ from position to position; the caller then
   checks their number. */
static bool find_operand(const mg_program *program, size_t batch, size_t k, size_t needed, size_t *row) {
    const mg_batches *batches = program->batches;
    mg_place first = {0, 0, 0}, found;
    *row = MG_NO_ROW;
    for (size_t t = 0; t < batches->positions; t++) {
        mg_slot header = mg_batch_header(program, batch, t);
        size_t from = k == 2 ? 0 : t; /* k == 2: the vectors of attention */
        for (size_t u = from; u <= t; u++) {
            mg_slot slot = mg_operand(program->tape, header, k == 2 ? 2 + u : k);
            if (!mg_find_place(program, slot, &found) || found.position != u || found.batch >= batch) {
                return false;
            }
            if (t == 0) {
                first = found;
            }
            if (found.batch != first.batch || found.lane != first.lane) {
                return false;
            }
        }
    }
    const mg_batch *source = &batches->batch[first.batch];
    *row = source->first + first.lane;
    return needed == 0 ? first.lane == 0 : !source->causal && first.lane + needed <= source->lanes;
}

/* Is operand k of the statement leaves, at every position? */
static bool gathers(const mg_program *program, size_t batch, size_t k) {
    const mg_tape *tape = program->tape;
    for (size_t t = 0; t < program->batches->positions; t++) {
        mg_slot header = mg_batch_header(program, batch, t);
        if (!mg_all_leaves(tape, mg_operand(tape, header, k), mg_lanes(tape, header))) {
            return false;
        }
    }
    return true;
}

const mg_batch *mg_batch_of_row(const mg_batches *batches, size_t count, size_t row) {
    for (size_t k = 0; k < count; k++) {
        const mg_batch *batch = &batches->batch[k];
        if (row >= batch->first && row < batch->first + batch->lanes) {
            return batch;
        }
    }
    return NULL;
}

/* Is a number of the statements the same at every position, or in attention t + 1 times what it is at position 0? */
static bool steady(const mg_program *program, size_t batch, size_t (*of)(const mg_tape *, mg_slot), bool causal) {
    const mg_tape *tape = program->tape;
    size_t first = of(tape, mg_batch_header(program, batch, 0));
    for (size_t t = 0; t < program->batches->positions; t++) {
        if (of(tape, mg_batch_header(program, batch, t)) != (causal ? first * (t + 1) : first)) {
            return false;
        }
    }
    return true;
}

static size_t lanes_of(const mg_tape *tape, mg_slot header) { return mg_lanes(tape, header); }
static size_t terms_of(const mg_tape *tape, mg_slot header) { return mg_terms(tape, header); }
static size_t second_of(const mg_tape *tape, mg_slot header) { return mg_operand(tape, header, 1); }
static size_t third_of(const mg_tape *tape, mg_slot header) { return mg_operand(tape, header, 2); }

static bool same_operation(const mg_program *program, size_t k) {
    const mg_tape *tape = program->tape;
    mg_slot first = mg_batch_header(program, k, 0);
    for (size_t t = 0; t < program->batches->positions; t++) {
        mg_slot header = mg_batch_header(program, k, t);
        if (mg_code(tape, header) != mg_code(tape, first) || mg_code(tape, header) < MG_SCALAR_COUNT) {
            return false;
        }
        if (mg_code(tape, header) == MG_SPAN_SCALE_BY && tape->value[header] != tape->value[first]) {
            return false;
        }
    }
    return true;
}

/* Fills in batch k, whose operands are in batches before it. */
static bool describe(mg_program *program, size_t k) {
    const mg_tape *tape = program->tape;
    mg_batches *batches = program->batches;
    mg_batch *batch = &batches->batch[k];
    const mg_slot header = mg_batch_header(program, k, 0);
    if (!same_operation(program, k)) {
        return false;
    }
    *batch = (mg_batch){.operation = mg_code(tape, header), .lanes = mg_lanes(tape, header), .fan = MG_NO_ROW,
                        .terms = mg_terms(tape, header), .first = batches->rows, .constant = tape->value[header],
                        .operand = {MG_NO_ROW, MG_NO_ROW}, .kept = batches->rows};
    size_t kept = 0, *x = &batch->operand[0], *y = &batch->operand[1];
    const mg_batch *source;
    mg_place first, found;
    bool fits = true;
    switch (batch->operation) {
    case MG_SPAN_ADD:
        fits = steady(program, k, lanes_of, false);
        for (size_t o = 0; fits && o < 2; o++) {
            if (gathers(program, k, o)) {
                fits = batches->embedding == MG_NO_ROW || batches->embedding == k;
                batches->embedding = k;
            } else {
                fits = find_operand(program, k, o, batch->lanes, &batch->operand[o]);
            }
        }
        break;
    case MG_SPAN_SCALE:
        fits = steady(program, k, lanes_of, false) && find_operand(program, k, 0, batch->lanes, x) &&
               find_operand(program, k, 1, 1, y);
        break;
    case MG_SPAN_RMS:
        fits = steady(program, k, terms_of, false) && find_operand(program, k, 0, batch->terms, x);
        kept = 1;
        break;
    case MG_SPAN_SCALE_BY:
    case MG_SPAN_RELU:
    case MG_SPAN_RELU_SQUARE:
        fits = steady(program, k, lanes_of, false) && find_operand(program, k, 0, batch->lanes, x);
        break;
    case MG_SPAN_LINEAR:
        fits = steady(program, k, lanes_of, false) && steady(program, k, terms_of, false) &&
               steady(program, k, second_of, false) && mg_leaf_weights(tape, header) &&
               find_operand(program, k, 0, batch->terms, x);
        batch->weights = mg_operand(tape, header, 1);
        break;
    case MG_SPAN_LOGIT:
        batch->causal = true;
        fits = second_of(tape, header) == 1 && steady(program, k, second_of, true) &&
               steady(program, k, lanes_of, true) && steady(program, k, terms_of, false) &&
               find_operand(program, k, 0, batch->lanes * batch->terms, x) &&
               find_operand(program, k, 2, batch->lanes * batch->terms, y);
        break;
    case MG_SPAN_EXP:
        source = find_operand(program, k, 0, 0, x) ? mg_batch_of_row(batches, k, *x) : NULL;
        batch->causal = source != NULL && source->causal;
        batch->group = batch->causal ? batches->positions : second_of(tape, header);
        fits = source != NULL && steady(program, k, lanes_of, batch->causal) &&
               steady(program, k, second_of, batch->causal) &&
               (batch->causal ? second_of(tape, header) == 1 && source->lanes == batch->lanes * batches->positions
                              : source->lanes == batch->lanes);
        break;
    case MG_SPAN_TOTAL:
        source = find_operand(program, k, 0, 0, x) ? mg_batch_of_row(batches, k, *x) : NULL;
        fits = source != NULL && source->operation == MG_SPAN_EXP && steady(program, k, lanes_of, false) &&
               steady(program, k, terms_of, source->causal) && batch->lanes * source->group == source->lanes;
        batch->group = fits ? source->group : 1;
        break;
    case MG_SPAN_QUOTIENT:
        source = find_operand(program, k, 0, 0, x) ? mg_batch_of_row(batches, k, *x) : NULL;
        batch->causal = source != NULL && source->causal;
        batch->group = source != NULL ? source->group : 1;
        kept = source != NULL ? 2 * (source->lanes / batch->group) : 0;
        fits = source != NULL && source->operation == MG_SPAN_EXP && steady(program, k, lanes_of, batch->causal) &&
               steady(program, k, third_of, batch->causal) &&
               third_of(tape, header) == (batch->causal ? 1 : batch->group) &&
               batch->lanes * (batch->causal ? batches->positions : 1) == source->lanes &&
               find_operand(program, k, 1, source->lanes / batch->group, y);
        break;
    case MG_SPAN_MIX:
        source = find_operand(program, k, 0, 0, x) ? mg_batch_of_row(batches, k, *x) : NULL;
        batch->group = second_of(tape, header);
        fits = source != NULL && source->causal && mg_terms(tape, header) == 1 && steady(program, k, terms_of, true) &&
               steady(program, k, lanes_of, false) && steady(program, k, second_of, false) &&
               source->lanes == batch->lanes / batch->group * batches->positions &&
               find_operand(program, k, 2, batch->lanes, y);
        break;
    case MG_SPAN_SURPRISAL: /* the operand is another lane at each position: see mg_batches_select */
        fits = k == batches->count - 2 && mg_find_place(program, mg_operand(tape, header, 0), &first);
        for (size_t t = 1; fits && t < batches->positions; t++) {
            fits = mg_find_place(program, mg_operand(tape, mg_batch_header(program, k, t), 0), &found) &&
                   found.position == t && found.batch == first.batch;
        }
        source = fits && first.batch < k ? &batches->batch[first.batch] : NULL;
        fits = source != NULL && source->operation == MG_SPAN_QUOTIENT && !source->causal;
        *x = fits ? source->first : MG_NO_ROW;
        kept = 1;
        break;
    case MG_SPAN_MEAN:
        fits = k == batches->count - 1 && batch->terms == batches->positions;
        for (size_t t = 0; fits && t < batches->positions; t++) {
            fits = mg_find_place(program, mg_operand(tape, header, t), &found) && found.position == t &&
                   found.batch == k - 1;
        }
        *x = batches->batch[k - 1].first;
        break;
    default: fits = false;
    }
    batch->lanes *= batch->causal ? batches->positions : 1;
    batch->kept += batch->lanes;
    batches->rows += batch->lanes + kept;
    return fits;
}

/* ---- the life of batches ----------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

void *mg_allot(mg_tape *tape, size_t n, size_t size) {
    void *block = mg_reallocate(tape, NULL, 0, n * size);
    return block == NULL ? NULL : memset(block, 0, n * size);
}

void mg_batches_free(mg_program *program) {
    mg_tape *tape = program->tape;
    mg_batches *batches = program->batches;
    program->batches = NULL;
    if (batches != NULL) {
        size_t count = batches->count, positions = batches->positions;
        mg_reallocate(tape, batches->batch, batches->batch ? count * sizeof *batches->batch : 0, 0);
        mg_reallocate(tape, batches->fan, batches->fan ? count * sizeof *batches->fan : 0, 0);
        mg_reallocate(tape, batches->run, batches->run_room * sizeof *batches->run, 0);
        mg_reallocate(tape, batches->exception,
                      batches->exception ? count * positions * sizeof *batches->exception : 0, 0);
        mg_reallocate(tape, batches->gathered, batches->gathered ? 2 * positions * sizeof *batches->gathered : 0, 0);
        mg_reallocate(tape, batches->chosen, batches->chosen ? positions * sizeof *batches->chosen : 0, 0);
        mg_reallocate(tape, batches, sizeof *batches, 0);
    }
}

static mg_status allot_batches(mg_program *program, size_t positions, size_t count) {
    mg_tape *tape = program->tape;
    mg_batches *batches = program->batches = mg_allot(tape, 1, sizeof *batches);
    if (batches == NULL) {
        return MG_NO_MEMORY;
    }
    batches->positions = positions;
    batches->padded = (positions + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK;
    batches->count = count;
    batches->embedding = MG_NO_ROW;
    batches->batch = mg_allot(tape, count, sizeof *batches->batch);
    batches->fan = mg_allot(tape, count, sizeof *batches->fan);
    batches->exception = mg_allot(tape, count * positions, sizeof *batches->exception);
    batches->gathered = mg_allot(tape, 2 * positions, sizeof *batches->gathered);
    batches->chosen = mg_allot(tape, positions, sizeof *batches->chosen);
    return batches->batch && batches->fan && batches->exception && batches->gathered && batches->chosen ? MG_OK
                                                                                                        : MG_NO_MEMORY;
}

/* Numbers of scratch that the kernels need. */
static size_t scratch_of(const mg_batches *batches) {
    size_t most = 2 * batches->padded * batches->padded;
    for (size_t f = 0; f < batches->fan_count; f++) {
        most = larger(most, (batches->fan[f].columns + MG_CHUNK) * batches->padded);
    }
    return most;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

mg_status mg_batches_find(mg_program *program) {
    const mg_tape *tape = program->tape;
    const size_t statements = program->statements.count;
    const mg_slot last = statements == 0 ? 0 : program->statements.item[statements - 1];
    if (statements == 0 || mg_code(tape, last) != MG_SPAN_MEAN) {
        return MG_OK;
    }
    const size_t positions = mg_terms(tape, last);
    if ((statements - 1) % positions != 0 || statements - 1 < 2 * positions) {
        return MG_OK;
    }
    mg_status status = allot_batches(program, positions, (statements - 1) / positions + 1);
    bool fits = status == MG_OK;
    for (size_t k = 0; fits && k < program->batches->count; k++) {
        fits = describe(program, k);
    }
    fits = fits && mg_assign_fans(program->batches);
    if (fits) {
        status = mg_order_fans(program);
        program->batches->scratch = scratch_of(program->batches);
        fits = status == MG_OK && mg_batches_select(program);
    }
    if (fits) {
        fits = false;
        status = mg_hold_trial(program, &fits);
    }
    if (!fits) {
        mg_batches_free(program);
    }
    return status;
}
