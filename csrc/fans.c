/* fans.c: the order in which the rows of linears are added to what they read.
 *
 * The sweep's list of a program says in which order it comes to every row. Rows of linears that read one x are kept in
 * that order, as runs; a position whose order is another than the last position's is an exception.
 */
#include "program.h"

#include <string.h>

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

/* Linears that read the same rows share a fan. False when two linears share a weight: its gradient would be added to
   out of order. */
static bool gather_fans(mg_batches *batches) {
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
        for (size_t j = 0; j < k; j++) {
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
        mg_place found;
        i -= order->item[i] & MG_RUN ? 2 : 0;
        if (mg_code(tape, slot) != MG_LANE || mg_code(tape, tape->operand[slot][0]) != MG_SPAN_LINEAR ||
            !mg_find_place(program, slot, &found)) {
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
    const mg_batch *quotient = mg_batch_of_row(batches, batches->count, batches->batch[batches->count - 2].operand[0]);
    const mg_batch *exponential = mg_batch_of_row(batches, batches->count, quotient->operand[0]);
    const mg_batch *linear = mg_batch_of_row(batches, batches->count, exponential->operand[0]);
    if (linear->operation != MG_SPAN_LINEAR || linear->lanes != exponential->group ||
        linear->lanes != exponential->lanes || linear->first != exponential->operand[0]) {
        return false;
    }
    for (const mg_batch *other = batches->batch; other < last; other++) {
        bool reads = false;
        for (size_t o = 0; o < 2; o++) {
            reads = reads || (other->operand[o] != MG_NO_ROW &&
                              mg_batch_of_row(batches, batches->count, other->operand[o]) == linear);
        }
        if ((reads && other != exponential) || (other != linear && other->fan == linear->fan)) {
            return false;
        }
    }
    batches->fan[linear->fan].chosen = true;
    return true;
}

bool mg_assign_fans(mg_batches *batches) { return gather_fans(batches) && find_chosen(batches); }

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

mg_status mg_order_fans(const mg_program *program) {
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
