/* tape.c: the tape as its callers see it. Lifecycle, positions, collection, reading and writing.
 *
 * It refuses ids that are not of the tape, and marks that it did not give.
 */
#include "tape/statements.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- lifecycle -------------------------------------------------------------------------------------------------- */

mg_tape *mg_tape_new(void) {
    mg_tape *tape = calloc(1, sizeof *tape);
    if (tape != NULL) {
        static _Atomic(uint64_t) tapes;
        tape->number = atomic_fetch_add_explicit(&tapes, 1, memory_order_relaxed) + 1;
        tape->ident = (uint64_t)(uintptr_t)pthread_self();
        tape->leaves_only = (mg_this_thread() & MG_NO_GRAD) != 0;
        atomic_init(&tape->user, mg_this_thread());
        atomic_init(&tape->calls, 0);
        atomic_init(&tape->follows, false);
        atomic_init(&tape->holders, 1);
        atomic_init(&tape->bytes, sizeof *tape);
    }
    return tape;
}

static void free_storage(mg_tape *tape) {
    mg_set_slots(tape, 0);
    mg_reallocate(tape, tape->pages, tape->page_capacity * sizeof *tape->pages, 0);
    mg_reallocate(tape, tape->directory, tape->directory_size * sizeof *tape->directory, 0);
    mg_list_free(tape, &tape->order);
    mg_list_free(tape, &tape->stack);
    mg_reallocate(tape, tape->visitors, tape->visitor_capacity * sizeof *tape->visitors, 0);
    tape->visitors = NULL;
    tape->visitor_count = tape->visitor_capacity = 0;
    tape->pages = NULL;
    tape->directory = NULL;
    tape->capacity = tape->page_count = tape->page_capacity = tape->first_free = tape->directory_size = 0;
    tape->open = false;
    tape->closed = true;
}

mg_status mg_tape_close(mg_tape *tape) {
    MG_INSIDE(tape);
    mg_status status = mg_enter(tape);
    if (status == MG_OK) {
        free_storage(tape);
    }
    return status == MG_CLOSED ? MG_OK : status;
}

void mg_hold(mg_tape *tape) { atomic_fetch_add_explicit(&tape->holders, 1, memory_order_relaxed); }

void mg_release(mg_tape *tape) {
    if (atomic_fetch_sub_explicit(&tape->holders, 1, memory_order_acq_rel) == 1) {
        free_storage(tape);
        free(tape);
    }
}

void mg_tape_free(mg_tape *tape) {
    if (tape != NULL) {
        mg_release(tape);
    }
}

mg_id mg_fail(mg_tape *tape, mg_status status) {
    tape->status = status;
    return MG_NONE;
}

const char *mg_status_text(mg_status status) {
    static const char *const texts[MG_STATUS_COUNT] = {
        [MG_OK] = "no error",
        [MG_NO_MEMORY] = "the tape could not get the memory it needs",
        [MG_STALE] = "this value is no longer on the tape: it was recorded after a mark that the tape was rewound to",
        [MG_WRONG_THREAD] = "the tape belongs to another thread; call adopt() in this thread to take it over",
        [MG_CLOSED] = "the tape is closed",
        [MG_BUSY] = "the tape is in the middle of a call in another thread",
        [MG_SHAPE] = "the sizes of the operands do not fit together",
        [MG_OPERATION] = "there is no such operation with that number of operands",
        [MG_OVERWRITTEN] = "an operand of a sum of products was written after the statement was recorded, so its "
                           "partials are gone; record the computation again before backward()",
        [MG_NOT_REPLAYABLE] = "a value made with children and local_grads of one's own cannot be computed again, so a "
                              "program cannot hold it",
        [MG_NOT_FINITE] = "the loss is not a finite number",
        [MG_DOMAIN] = "math domain error",
        [MG_RANGE] = "math range error",
        [MG_POWER_RANGE] = "(34, 'Numerical result out of range')",
        [MG_POWER_ZERO] = "0.0 cannot be raised to a negative power",
        [MG_POWER_COMPLEX] = "a negative number to a fractional power is complex, and a Value is real",
        [MG_DIVISION] = "float division by zero",
        [MG_INTERRUPTED] = "interrupted",
    };
    return (int)status >= 0 && status < MG_STATUS_COUNT ? texts[status] : "unknown status";
}

/* ---- positions -------------------------------------------------------------------------------------------------- */

static mg_mark position(const mg_tape *tape) {
    if (!tape->open) {
        return mg_next_serial() * MG_PAGE;
    }
    const mg_page *page = &tape->pages[tape->current];
    return page->serial * MG_PAGE + page->used;
}

mg_mark mg_tape_mark(mg_tape *tape) {
    MG_INSIDE(tape);
    return mg_enter(tape) == MG_OK ? position(tape) : mg_next_serial() * MG_PAGE;
}

mg_status mg_tape_now(mg_tape *tape, mg_mark *mark, mg_id *last, size_t *sizes, uint64_t *threads, size_t room,
                      size_t *count) {
    MG_INSIDE(tape);
    *count = 0;
    MG_TRY(mg_enter(tape));
    *mark = position(tape);
    for (size_t v = 0; v < tape->visitor_count; v++) {
        mg_run run = tape->visitors[v].last;
        if (!mg_is_there(tape, run.first, run.n)) {
            continue;
        }
        for (; run.n > 1 && !mg_is_lane(mg_code(tape, run.first)); run.n--) {
            run.first++; /* over a statement's header, to its lanes */
        }
        if (*count < room) {
            last[*count] = mg_id_of(tape, run.first);
            sizes[*count] = run.n;
            threads[*count] = tape->visitors[v].ident;
        }
        ++*count;
    }
    return MG_OK;
}

/* Is the slot a lane but the first, or the payload, of a statement of many lanes? */
static bool inside_statement(const mg_tape *tape, mg_slot slot) {
    const uint8_t operation = tape->operation[slot];
    if (mg_code(tape, slot) == MG_LANE || operation & MG_JOINED) {
        return true;
    }
    for (mg_slot s = slot; mg_code(tape, s) == MG_PAYLOAD && s > 0; s--) { /* goes back to what stands before it */
        size_t p = s / MG_PAGE, before = (s - 1) / MG_PAGE;
        if (p != before && tape->pages[before].serial + 1 != tape->pages[p].serial) {
            return false;
        }
        if (mg_code(tape, s - 1) > MG_LANE && mg_code(tape, s - 1) < MG_PAYLOAD) {
            return mg_end(tape, s - 1) > slot;
        }
    }
    return false;
}

mg_status mg_tape_rewind(mg_tape *tape, mg_mark mark) {
    MG_INSIDE(tape);
    uint32_t inside;
    MG_TRY(mg_enter(tape));
    if (mg_look_up(tape, mark / MG_PAGE, &inside) && mark % MG_PAGE < tape->pages[inside].used &&
        inside_statement(tape, (mg_slot)(inside * MG_PAGE + mark % MG_PAGE))) {
        return MG_SHAPE; /* no mark that the tape gave */
    }
    for (size_t p = 0; p < tape->page_count; p++) {
        mg_page *page = &tape->pages[p];
        uint64_t first = page->serial * MG_PAGE;
        if (page->serial != 0 && first + page->used > mark) {
            if (first >= mark) {
                mg_release_page(tape, p);
            } else {
                page->used = (uint32_t)(mark - first);
                if (tape->open && tape->current == p) {
                    tape->open = false; /* ids are not used twice: what comes next goes to a fresh page */
                }
            }
        }
    }
    return MG_OK;
}

/* ---- collection ------------------------------------------------------------------------------------------------- */

/* Gives memory back when the arena is much larger than what is in use. */
static void shrink(mg_tape *tape) {
    while (tape->page_count > 0 && tape->pages[tape->page_count - 1].serial == 0) {
        tape->page_count--;
    }
    if (tape->first_free > tape->page_count) {
        tape->first_free = tape->page_count;
    }
    size_t wanted = (2 * tape->page_count + 64) * MG_PAGE;
    if (tape->capacity > 2 * wanted) {
        tape->capacity = wanted;
        mg_set_slots(tape, wanted);
    }
}

/* What was recorded since the mark. */
static bool mark_since(mg_tape *tape, mg_mark since) {
    for (size_t p = 0; p < tape->page_count; p++) {
        const mg_page *page = &tape->pages[p];
        const uint64_t id = page->serial * MG_PAGE, from = id < since ? since - id : 0;
        if (page->serial != 0 && from < page->used &&
            !mg_mark_needed(tape, (mg_slot)(p * MG_PAGE + from), page->used - from)) {
            return false;
        }
    }
    return true;
}

/* What other threads recorded last. */
static bool mark_visitors(mg_tape *tape) {
    for (size_t v = 0; v < tape->visitor_count; v++) {
        const mg_run run = tape->visitors[v].last;
        if (mg_is_there(tape, run.first, run.n) && !mg_mark_needed(tape, run.first, run.n)) {
            return false;
        }
    }
    return true;
}

static mg_status collect(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count, mg_mark since,
                         bool visitors) {
    mg_slot slot;
    MG_TRY(mg_enter(tape));
    bool marked = !tape->open || mg_mark_needed(tape, (mg_slot)(tape->current * MG_PAGE), tape->pages[tape->current].used);
    marked = marked && mark_since(tape, since) && (!visitors || mark_visitors(tape));
    for (size_t r = 0; marked && r < count; r++) {
        marked = !mg_find_run(tape, roots[r], sizes[r], &slot) || mg_mark_needed(tape, slot, sizes[r]);
    }
    for (size_t p = 0; p < tape->page_count; p++) {
        mg_page *page = &tape->pages[p];
        uint32_t needed = marked ? 0 : page->used; /* slots up to the last one that is needed */
        for (size_t s = p * MG_PAGE; page->serial != 0 && s < p * MG_PAGE + page->used; s++) {
            if (tape->operation[s] & MG_VISITED) {
                needed = marked ? (uint32_t)(s - p * MG_PAGE + 1) : needed;
                tape->operation[s] &= (uint8_t)~MG_VISITED;
            } else if (marked) {
                tape->operation[s] = MG_PAYLOAD; /* nothing: its id is refused, and nothing is reached from it */
            }
        }
        if (page->serial != 0 && needed == 0) {
            mg_release_page(tape, p);
        } else {
            page->used = needed;
        }
    }
    if (marked) {
        tape->open = false; /* what comes next fills the lowest free page, so that the arena can shrink */
        shrink(tape);
    }
    return marked ? MG_OK : MG_NO_MEMORY;
}

mg_status mg_tape_collect(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count) {
    MG_INSIDE(tape);
    return collect(tape, roots, sizes, count, UINT64_MAX, true);
}

mg_status mg_tape_collect_since(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count, mg_mark since) {
    MG_INSIDE(tape);
    return collect(tape, roots, sizes, count, since, false);
}

/* ---- capacity, reading and writing ------------------------------------------------------------------------------ */

mg_memory mg_tape_memory(mg_tape *tape) {
    MG_INSIDE(tape);
    uint64_t slots = 0;
    const mg_status status = mg_enter(tape);
    if (status != MG_CLOSED && !mg_leave(tape, status)) {
        return (mg_memory){0};
    }
    for (size_t p = 0; p < tape->page_count; p++) {
        slots += tape->pages[p].serial != 0 ? tape->pages[p].used : 0;
    }
    return (mg_memory){.slots = slots, .capacity = tape->capacity, .bytes = tape->bytes};
}

mg_status mg_find_now(mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    MG_TRY(mg_enter(tape));
    return mg_find_lanes(tape, first, n, slot);
}

bool mg_find_for_reading(mg_tape *tape, mg_id lane, mg_slot *slot) {
    const mg_status status = mg_enter(tape);
    return mg_leave(tape, status == MG_OK && !mg_find(tape, lane, slot) ? MG_STALE : status);
}

double mg_value(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? tape->value[slot] : NAN;
}

double mg_adjoint(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? tape->adjoint[slot] : NAN;
}

mg_status mg_read_values(mg_tape *tape, mg_id first, size_t n, double *out) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, first, n, &slot));
    memcpy(out, tape->value + slot, n * sizeof *out);
    return MG_OK;
}

mg_status mg_read_adjoints(mg_tape *tape, mg_id first, size_t n, double *out) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, first, n, &slot));
    memcpy(out, tape->adjoint + slot, n * sizeof *out);
    return MG_OK;
}

mg_status mg_write_values(mg_tape *tape, mg_id first, size_t n, const double *in) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, first, n, &slot));
    mg_touch(tape, slot, n);
    memcpy(tape->value + slot, in, n * sizeof *in);
    return MG_OK;
}

mg_status mg_write_adjoints(mg_tape *tape, mg_id first, size_t n, const double *in) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, first, n, &slot));
    memcpy(tape->adjoint + slot, in, n * sizeof *in);
    return MG_OK;
}

mg_status mg_set_value(mg_tape *tape, mg_id lane, double value) {
    MG_INSIDE(tape);
    return mg_write_values(tape, lane, 1, &value);
}

mg_status mg_set_adjoint(mg_tape *tape, mg_id lane, double adjoint) {
    MG_INSIDE(tape);
    return mg_write_adjoints(tape, lane, 1, &adjoint);
}

mg_status mg_clear_adjoints(mg_tape *tape, mg_id first, size_t n) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, first, n, &slot));
    memset(tape->adjoint + slot, 0, n * sizeof *tape->adjoint);
    return MG_OK;
}

mg_status mg_tape_record_quietly(mg_tape *tape, bool quiet) {
    MG_INSIDE(tape);
    MG_TRY(mg_enter(tape));
    mg_turn_page(tape);
    tape->quiet = quiet;
    return MG_OK;
}
