/* batches.c: finds the batches of a program, proves them by a trial, and moves numbers between them and the tape.
 *
 * The pattern is read off the recorded statements: n positions of the same statements, then the mean of their losses.
 * Anything else is no batch, and the program is replayed statement by statement. What batches compute is in row.h.
 */
#include "kernels.h"
#include "program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* Where a lane is: which statement of its position, which position, and which of the statement's lanes. */
typedef struct {
    size_t batch, position, lane;
} place;

static mg_slot header_of(const mg_program *program, size_t batch, size_t position) {
    const mg_batches *batches = program->batches;
    bool mean = batch == batches->count - 1;
    return program->statements.item[mean ? program->statements.count - 1 : position * (batches->count - 1) + batch];
}

/* False when the slot is no lane of the program's span statements. */
static bool find_place(const mg_program *program, mg_slot slot, place *found) {
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
    *found = (place){low < in_positions ? low % each : each, low < in_positions ? low / each : 0,
                     tape->operand[slot][1]};
    return true;
}

/* The row of the operand k of a batch's statements: `needed` lanes in a row of an earlier statement, the same at each
   position. For the keys and values of attention, operand 2 + u of every later statement is that lane at position u.
   `needed` is 0 where the source may be attention's, whose lanes differ from position to position; the caller then
   checks their number. */
static bool find_operand(const mg_program *program, size_t batch, size_t k, size_t needed, size_t *row) {
    const mg_batches *batches = program->batches;
    place first = {0, 0, 0}, found;
    *row = MG_NO_ROW;
    for (size_t t = 0; t < batches->positions; t++) {
        mg_slot header = header_of(program, batch, t);
        size_t from = k == 2 ? 0 : t; /* k == 2: the vectors of attention */
        for (size_t u = from; u <= t; u++) {
            mg_slot slot = mg_operand(program->tape, header, k == 2 ? 2 + u : k);
            if (!find_place(program, slot, &found) || found.position != u || found.batch >= batch) {
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
        mg_slot header = header_of(program, batch, t);
        if (!mg_all_leaves(tape, mg_operand(tape, header, k), mg_lanes(tape, header))) {
            return false;
        }
    }
    return true;
}

static const mg_batch *batch_of_row(const mg_batches *batches, size_t count, size_t row) {
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
    size_t first = of(tape, header_of(program, batch, 0));
    for (size_t t = 0; t < program->batches->positions; t++) {
        if (of(tape, header_of(program, batch, t)) != (causal ? first * (t + 1) : first)) {
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
    mg_slot first = header_of(program, k, 0);
    for (size_t t = 0; t < program->batches->positions; t++) {
        mg_slot header = header_of(program, k, t);
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
    const mg_slot header = header_of(program, k, 0);
    if (!same_operation(program, k)) {
        return false;
    }
    *batch = (mg_batch){.operation = mg_code(tape, header), .lanes = mg_lanes(tape, header), .fan = MG_NO_ROW,
                        .terms = mg_terms(tape, header), .first = batches->rows, .constant = tape->value[header],
                        .operand = {MG_NO_ROW, MG_NO_ROW}, .kept = batches->rows};
    size_t kept = 0, *x = &batch->operand[0], *y = &batch->operand[1];
    const mg_batch *source;
    place first, found;
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
        source = find_operand(program, k, 0, 0, x) ? batch_of_row(batches, k, *x) : NULL;
        batch->causal = source != NULL && source->causal;
        batch->group = batch->causal ? batches->positions : second_of(tape, header);
        fits = source != NULL && steady(program, k, lanes_of, batch->causal) &&
               steady(program, k, second_of, batch->causal) &&
               (batch->causal ? second_of(tape, header) == 1 && source->lanes == batch->lanes * batches->positions
                              : source->lanes == batch->lanes);
        break;
    case MG_SPAN_TOTAL:
        source = find_operand(program, k, 0, 0, x) ? batch_of_row(batches, k, *x) : NULL;
        fits = source != NULL && source->operation == MG_SPAN_EXP && steady(program, k, lanes_of, false) &&
               steady(program, k, terms_of, source->causal) && batch->lanes * source->group == source->lanes;
        batch->group = fits ? source->group : 1;
        break;
    case MG_SPAN_QUOTIENT:
        source = find_operand(program, k, 0, 0, x) ? batch_of_row(batches, k, *x) : NULL;
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
        source = find_operand(program, k, 0, 0, x) ? batch_of_row(batches, k, *x) : NULL;
        batch->group = second_of(tape, header);
        fits = source != NULL && source->causal && mg_terms(tape, header) == 1 && steady(program, k, terms_of, true) &&
               steady(program, k, lanes_of, false) && steady(program, k, second_of, false) &&
               source->lanes == batch->lanes / batch->group * batches->positions &&
               find_operand(program, k, 2, batch->lanes, y);
        break;
    case MG_SPAN_SURPRISAL: /* the operand is another lane at each position: see mg_batches_select */
        fits = k == batches->count - 2 && find_place(program, mg_operand(tape, header, 0), &first);
        for (size_t t = 1; fits && t < batches->positions; t++) {
            fits = find_place(program, mg_operand(tape, header_of(program, k, t), 0), &found) && found.position == t &&
                   found.batch == first.batch;
        }
        source = fits && first.batch < k ? &batches->batch[first.batch] : NULL;
        fits = source != NULL && source->operation == MG_SPAN_QUOTIENT && !source->causal;
        *x = fits ? source->first : MG_NO_ROW;
        kept = 1;
        break;
    case MG_SPAN_MEAN:
        fits = k == batches->count - 1 && batch->terms == batches->positions;
        for (size_t t = 0; fits && t < batches->positions; t++) {
            fits = find_place(program, mg_operand(tape, header, t), &found) && found.position == t &&
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

/* ---- fans -------------------------------------------------------------------------------------------------------- */

static bool add_rows(const mg_program *program, mg_rows rows) {
    mg_batches *batches = program->batches;
    if (batches->run_count == batches->run_room) {
        size_t room = batches->run_room ? 2 * batches->run_room : 64, size = sizeof *batches->run;
        mg_rows *grown = mg_reallocate(program->tape, batches->run, batches->run_room * size, room * size);
        if (grown == NULL) {
            return false;
        }
        batches->run = grown;
        batches->run_room = room;
    }
    batches->run[batches->run_count++] = rows;
    return true;
}

/* Linears that read the same rows share a fan. */
static bool assign_fans(mg_batches *batches) {
    for (size_t k = 0; k < batches->count; k++) {
        mg_batch *batch = &batches->batch[k];
        if (batch->operation != MG_SPAN_LINEAR) {
            continue;
        }
        for (size_t f = 0; f < batches->fan_count; f++) {
            if (batches->fan[f].x == batch->operand[0] && batches->fan[f].columns == batch->terms) {
                batch->fan = f;
            }
        }
        if (batch->fan == MG_NO_ROW) {
            batch->fan = batches->fan_count++;
            batches->fan[batch->fan] = (mg_fan){.x = batch->operand[0], .columns = batch->terms, .lowest = k};
        }
        for (size_t j = 0; j < k; j++) { /* no weight may be shared: its gradient would be added to out of order */
            const mg_batch *other = &batches->batch[j];
            if (other->operation == MG_SPAN_LINEAR && batch->weights < other->weights + other->lanes * other->terms &&
                other->weights < batch->weights + batch->lanes * batch->terms) {
                return false;
            }
        }
    }
    return true;
}

/* Rows of linears in the order in which the sweep goes down them, each at its first place, sorted by fan and position:
   those of fan f at position t are row[start[f * positions + t]] up to the next start. */
typedef struct {
    mg_rows *row;
    size_t *start;  /* one more than there are fans times positions */
    uint8_t *seen;  /* [rows of storage][positions] */
    size_t most, starts;
} sightings;

/* Calls for each row at its first place; `seen` is all 0 before. */
static void see_rows(const mg_program *program, sightings *all, bool sort) {
    const mg_tape *tape = program->tape;
    const mg_list *order = &program->order;
    const mg_batches *batches = program->batches;
    memset(all->seen, 0, all->most);
    for (size_t i = order->count; i-- > 0;) {
        mg_slot slot = order->item[i] & ~MG_RUN;
        place found;
        i -= order->item[i] & MG_RUN ? 2 : 0;
        if (mg_code(tape, slot) != MG_LANE || mg_code(tape, tape->operand[slot][0]) != MG_SPAN_LINEAR ||
            !find_place(program, slot, &found)) {
            continue;
        }
        const mg_batch *batch = &batches->batch[found.batch];
        uint8_t *seen = &all->seen[(batch->first + found.lane) * batches->positions + found.position];
        if (*seen) {
            continue;
        }
        *seen = 1;
        size_t *next = &all->start[batch->fan * batches->positions + found.position];
        if (sort) {
            all->row[(*next)++] = (mg_rows){found.batch, found.lane, 1};
        } else {
            next[1]++; /* counts, which become starts */
        }
    }
}

/* Lists rows as runs. */
static bool list_rows(const mg_program *program, const mg_rows *row, size_t count) {
    mg_batches *batches = program->batches;
    const size_t start = batches->run_count;
    for (size_t i = 0; i < count; i++) {
        mg_rows *last = batches->run_count > start ? &batches->run[batches->run_count - 1] : NULL;
        if (last != NULL && last->batch == row[i].batch && last->row == row[i].row + last->count) {
            last->count++;
        } else if (!add_rows(program, row[i])) {
            return false;
        }
    }
    return true;
}

static bool same_rows(const mg_batches *batches, size_t from, size_t to, size_t other_from, size_t other_to) {
    return to - from == other_to - other_from &&
           memcmp(batches->run + from, batches->run + other_from, (to - from) * sizeof *batches->run) == 0;
}

/* Marks the fan of the logits, in which the target's row comes last. False when the loss is no softmax of one linear's
   lanes, read by it alone: other orders might then depend on the target. */
static bool find_chosen(mg_batches *batches) {
    const mg_batch *last = batches->batch + batches->count;
    const mg_batch *quotient = batch_of_row(batches, batches->count, batches->batch[batches->count - 2].operand[0]);
    const mg_batch *exponential = batch_of_row(batches, batches->count, quotient->operand[0]);
    const mg_batch *linear = batch_of_row(batches, batches->count, exponential->operand[0]);
    if (linear->operation != MG_SPAN_LINEAR || linear->lanes != exponential->group ||
        linear->lanes != exponential->lanes || linear->first != exponential->operand[0]) {
        return false;
    }
    for (const mg_batch *other = batches->batch; other < last; other++) {
        bool reads = false;
        for (size_t o = 0; o < 2; o++) {
            reads = reads || (other->operand[o] != MG_NO_ROW &&
                              batch_of_row(batches, batches->count, other->operand[o]) == linear);
        }
        if ((reads && other != exponential) || (other != linear && other->fan == linear->fan)) {
            return false;
        }
    }
    batches->fan[linear->fan].chosen = true;
    return true;
}

static mg_status order_fan(const mg_program *program, const sightings *all, size_t f) {
    mg_batches *batches = program->batches;
    mg_fan *fan = &batches->fan[f];
    const size_t lanes = batches->batch[fan->lowest].lanes;
    fan->from = batches->run_count;
    if (fan->chosen) {
        mg_status status = add_rows(program, (mg_rows){fan->lowest, lanes - 1, lanes}) ? MG_OK : MG_NO_MEMORY;
        fan->to = batches->run_count;
        return status;
    }
    fan->exceptions = batches->exception_count;
    for (size_t t = batches->positions; t-- > 0;) {
        size_t from = batches->run_count, at = f * batches->positions + t;
        size_t begin = at == 0 ? 0 : all->start[at - 1]; /* the sort has moved every start to its end */
        if (!list_rows(program, all->row + begin, all->start[at] - begin)) {
            return MG_NO_MEMORY;
        }
        if (t == batches->positions - 1) {
            fan->to = batches->run_count;
        } else if (same_rows(batches, fan->from, fan->to, from, batches->run_count)) {
            batches->run_count = from;
        } else {
            batches->exception[batches->exception_count++] = (mg_exception){t, from, batches->run_count};
        }
    }
    fan->exceptions_end = batches->exception_count;
    return MG_OK;
}

/* The rows in every fan's order. Positions that have an order of their own are exceptions. */
static mg_status order_fans(const mg_program *program) {
    mg_batches *batches = program->batches;
    mg_tape *tape = program->tape;
    sightings all = {.most = batches->rows * batches->positions,
                     .starts = batches->fan_count * batches->positions + 1};
    all.row = mg_reallocate(tape, NULL, 0, all.most * sizeof *all.row);
    all.start = mg_reallocate(tape, NULL, 0, all.starts * sizeof *all.start);
    all.seen = mg_reallocate(tape, NULL, 0, all.most);
    mg_status status = all.row && all.start && all.seen ? MG_OK : MG_NO_MEMORY;
    if (status == MG_OK) {
        memset(all.start, 0, all.starts * sizeof *all.start);
        see_rows(program, &all, false);
        for (size_t i = 1; i < all.starts; i++) {
            all.start[i] += all.start[i - 1];
        }
        see_rows(program, &all, true);
    }
    for (size_t f = 0; status == MG_OK && f < batches->fan_count; f++) {
        status = order_fan(program, &all, f);
    }
    mg_reallocate(tape, all.row, all.row ? all.most * sizeof *all.row : 0, 0);
    mg_reallocate(tape, all.start, all.start ? all.starts * sizeof *all.start : 0, 0);
    mg_reallocate(tape, all.seen, all.seen ? all.most : 0, 0);
    return status;
}

/* ---- the life of batches ----------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* An array of n items, all bytes 0. */
static void *allot(mg_tape *tape, size_t n, size_t size) {
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
    mg_batches *batches = program->batches = allot(tape, 1, sizeof *batches);
    if (batches == NULL) {
        return MG_NO_MEMORY;
    }
    batches->positions = positions;
    batches->padded = (positions + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK;
    batches->count = count;
    batches->embedding = MG_NO_ROW;
    batches->batch = allot(tape, count, sizeof *batches->batch);
    batches->fan = allot(tape, count, sizeof *batches->fan);
    batches->exception = allot(tape, count * positions, sizeof *batches->exception);
    batches->gathered = allot(tape, 2 * positions, sizeof *batches->gathered);
    batches->chosen = allot(tape, positions, sizeof *batches->chosen);
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
    const mg_batch *quotient = batch_of_row(batches, batches->count, batches->batch[loss].operand[0]);
    for (size_t t = 0; t < positions; t++) {
        for (size_t o = 0; batches->embedding != MG_NO_ROW && o < 2; o++) {
            const mg_batch *batch = &batches->batch[batches->embedding];
            mg_slot first = mg_operand(tape, header_of(program, batches->embedding, t), o);
            if (batch->operand[o] == MG_NO_ROW) {
                if (batches->gathered[o * positions + t] != first && !apart(batches, first, batch->lanes)) {
                    return false;
                }
                batches->gathered[o * positions + t] = first;
            }
        }
        mg_slot p = mg_operand(tape, header_of(program, loss, t), 0);
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
            mg_slot header = header_of(program, k, t), first = mg_first_lane(tape, header);
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

/* ---- the trial --------------------------------------------------------------------------------------------------- */

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

static void clear_lanes(const mg_program *program) {
    mg_tape *tape = program->tape;
    for (size_t i = 0; i < program->statements.count; i++) {
        mg_slot header = program->statements.item[i];
        memset(tape->adjoint + mg_first_lane(tape, header), 0, mg_lanes(tape, header) * sizeof *tape->adjoint);
    }
}

/* Runs the program plainly and by batches, from the same random leaves: is every number the same? */
static bool agree(mg_program *program, const stretch *part, size_t count, double *plain, double *batched,
                  const mg_replay *replay) {
    mg_tape *tape = program->tape;
    const mg_kernels *kernels = mg_kernels_chosen();
    mg_slot result;
    clear_leaves(tape, part, count);
    for (size_t i = 0; i < program->statements.count; i++) {
        if (mg_forward(tape, program->statements.item[i]) != MG_OK) {
            return false;
        }
    }
    clear_lanes(program);
    mg_find(tape, program->result, &result);
    tape->adjoint[result] = 1;
    mg_go_down(tape, program->order.item, program->order.count);
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

/* Leaves and lanes have their own numbers again after it. */
static mg_status hold_trial(mg_program *program, bool *agreed) {
    mg_tape *tape = program->tape;
    const mg_batches *batches = program->batches;
    const size_t most = program->statements.count + batches->count + 2 * batches->positions;
    size_t count = 0;
    uint64_t state = 1;
    mg_replay replay;
    stretch *part = allot(tape, most, sizeof *part);
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
    fits = fits && assign_fans(program->batches) && find_chosen(program->batches);
    if (fits) {
        status = order_fans(program);
        program->batches->scratch = scratch_of(program->batches);
        fits = status == MG_OK && mg_batches_select(program);
    }
    if (fits) {
        fits = false;
        status = hold_trial(program, &fits);
    }
    if (!fits) {
        mg_batches_free(program);
    }
    return status;
}
