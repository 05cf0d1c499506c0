/* tape.c: the arena. Pages, ids, marks, collection, memory.
 *
 * It refuses ids that are not of this tape, calls from a thread that does not own it, and growth past MG_MAX_SLOTS.
 */
#include "tape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- allocation ------------------------------------------------------------------------------------------------- */

void *mg_reallocate(mg_tape *tape, void *block, size_t old_size, size_t new_size) {
    if (new_size == 0) {
        free(block);
        tape->bytes -= old_size;
        return NULL;
    }
    if (tape->failing && (tape->fail_in == 0 || --tape->fail_in == 0)) {
        return NULL;
    }
    void *moved = realloc(block, new_size);
    if (moved != NULL) {
        tape->bytes = tape->bytes - old_size + new_size;
    }
    return moved;
}

void mg_tape_fail_allocation(mg_tape *tape, uint64_t k) {
    tape->failing = k != 0;
    tape->fail_in = k;
}

bool mg_list_grow(mg_tape *tape, mg_list *list) {
    size_t capacity = list->capacity ? list->capacity * 2 : 1024, size = sizeof *list->item;
    void *grown = mg_reallocate(tape, list->item, list->capacity * size, capacity * size);
    if (grown == NULL) {
        return false;
    }
    list->item = grown;
    list->capacity = capacity;
    return true;
}

void mg_list_free(mg_tape *tape, mg_list *list) {
    mg_reallocate(tape, list->item, list->capacity * sizeof *list->item, 0);
    *list = (mg_list){0};
}

/* Gives each array room for `capacity` slots. A failure half way leaves some arrays larger than needed, which does no
   harm: nobody looks beyond the tape's capacity, which the caller sets. */
static bool set_slots(mg_tape *tape, size_t capacity) {
    void **arrays[5] = {(void **)&tape->value, (void **)&tape->adjoint, (void **)&tape->partial,
                        (void **)&tape->operand, (void **)&tape->operation};
    const size_t sizes[5] = {sizeof *tape->value, sizeof *tape->adjoint, sizeof *tape->partial,
                             sizeof *tape->operand, sizeof *tape->operation};
    for (int a = 0; a < 5; a++) {
        if (tape->held[a] != capacity) {
            void *grown = mg_reallocate(tape, *arrays[a], tape->held[a] * sizes[a], capacity * sizes[a]);
            if (grown == NULL && capacity > 0) {
                return false;
            }
            *arrays[a] = grown;
            tape->held[a] = capacity;
        }
    }
    return true;
}

/* ---- the directory: serial to page ------------------------------------------------------------------------------ */

static bool look_up(const mg_tape *tape, uint64_t serial, uint32_t *page) {
    if (tape->directory_size == 0 || serial == 0) {
        return false;
    }
    size_t mask = tape->directory_size - 1;
    for (size_t i = serial & mask; tape->directory[i].serial != 0; i = (i + 1) & mask) {
        if (tape->directory[i].serial == serial) {
            *page = tape->directory[i].page;
            return true;
        }
    }
    return false;
}

static void enter_page(mg_entry *directory, size_t size, uint64_t serial, uint32_t page) {
    size_t i = serial & (size - 1);
    while (directory[i].serial != 0) {
        i = (i + 1) & (size - 1);
    }
    directory[i] = (mg_entry){serial, page};
}

/* Takes an entry out and closes the gap, so that no probe sequence is cut. */
static void remove_page(mg_tape *tape, uint64_t serial) {
    mg_entry *directory = tape->directory;
    size_t mask = tape->directory_size - 1, gap = serial & mask;
    while (directory[gap].serial != serial) {
        gap = (gap + 1) & mask;
    }
    for (size_t i = (gap + 1) & mask; directory[i].serial != 0; i = (i + 1) & mask) {
        size_t home = directory[i].serial & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            directory[gap] = directory[i];
            gap = i;
        }
    }
    directory[gap].serial = 0;
}

/* Room for `capacity` pages in the page table and a directory at most half full. */
static bool grow_pages(mg_tape *tape, size_t capacity) {
    if (tape->page_capacity < capacity) {
        void *grown = mg_reallocate(tape, tape->pages, tape->page_capacity * sizeof *tape->pages,
                                    capacity * sizeof *tape->pages);
        if (grown == NULL) {
            return false;
        }
        tape->pages = grown;
        tape->page_capacity = capacity;
    }
    size_t size = 64;
    while (size < 2 * capacity) {
        size *= 2;
    }
    if (tape->directory_size < size) {
        mg_entry *directory = mg_reallocate(tape, NULL, 0, size * sizeof *directory);
        if (directory == NULL) {
            return false;
        }
        memset(directory, 0, size * sizeof *directory);
        for (size_t p = 0; p < tape->page_count; p++) {
            if (tape->pages[p].serial != 0) {
                enter_page(directory, size, tape->pages[p].serial, (uint32_t)p);
            }
        }
        mg_reallocate(tape, tape->directory, tape->directory_size * sizeof *directory, 0);
        tape->directory = directory;
        tape->directory_size = size;
    }
    return true;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* The serial of the next page that any tape of the process opens. Serial 0 means "free". */
static _Atomic(uint64_t) next_serial = 1;

static void release_page(mg_tape *tape, size_t p) {
    remove_page(tape, tape->pages[p].serial);
    tape->pages[p].serial = 0;
    if (p < tape->first_free) {
        tape->first_free = p;
    }
    if (tape->open && tape->current == p) {
        tape->open = false;
    }
}

/* Finds `count` free pages in a row, growing the arena when there are none, and opens them with consecutive serials. */
static bool open_pages(mg_tape *tape, size_t count, size_t *first) {
    size_t start = tape->first_free, lowest = SIZE_MAX, run = 0;
    size_t p = start;
    for (; p < tape->page_count && run < count; p++) {
        run = tape->pages[p].serial == 0 ? run + 1 : 0;
        if (run == 1) {
            start = p;
            lowest = lowest < p ? lowest : p;
        }
    }
    if (run == 0) {
        start = p;
    }
    size_t end = start + count;
    if (end * MG_PAGE > MG_MAX_SLOTS) {
        return false;
    }
    if (end * MG_PAGE > tape->capacity) {
        size_t pages = tape->capacity / MG_PAGE;
        pages += pages / 2 + 8;
        if (pages < end) {
            pages = end;
        }
        if (pages * MG_PAGE > MG_MAX_SLOTS) {
            pages = MG_MAX_SLOTS / MG_PAGE;
        }
        if (!grow_pages(tape, pages) || !set_slots(tape, pages * MG_PAGE)) {
            return false;
        }
        tape->capacity = pages * MG_PAGE;
    }
    uint64_t serial = atomic_fetch_add_explicit(&next_serial, count, memory_order_relaxed);
    for (size_t q = start; q < end; q++, serial++) {
        tape->pages[q] = (mg_page){.serial = serial};
        enter_page(tape->directory, tape->directory_size, serial, (uint32_t)q);
    }
    if (end > tape->page_count) {
        tape->page_count = end;
    }
    tape->first_free = lowest < start ? lowest : end;
    *first = start;
    return true;
}

bool mg_reserve(mg_tape *tape, size_t n, mg_slot *first) {
    assert(n >= 1);
    if (n > MG_MAX_SLOTS) {
        return false;
    }
    if (!tape->open || tape->pages[tape->current].used + n > MG_PAGE) {
        size_t page;
        if (!open_pages(tape, (n + MG_PAGE - 1) / MG_PAGE, &page)) {
            return false;
        }
        tape->current = page;
        tape->open = true;
    }
    *first = (mg_slot)(tape->current * MG_PAGE + tape->pages[tape->current].used);
    return true;
}

void mg_take(mg_tape *tape, mg_slot first, size_t n) {
    size_t p = first / MG_PAGE;
    assert(p == tape->current && first % MG_PAGE == tape->pages[p].used);
    while (tape->pages[p].used + n > MG_PAGE) {
        n -= MG_PAGE - tape->pages[p].used;
        tape->pages[p++].used = MG_PAGE;
    }
    tape->pages[p].used += (uint32_t)n;
    tape->current = p;
}

void mg_give_up(mg_tape *tape, mg_slot first, size_t n) {
    for (size_t p = first / MG_PAGE; p * MG_PAGE < first + n; p++) {
        if (tape->pages[p].used == 0) {
            release_page(tape, p);
        }
    }
}

/* The operation byte of a slot that holds a lane, not the header or the payload of a span statement. */
static bool is_lane(uint8_t code) { return code <= MG_LANE; }

bool mg_find(const mg_tape *tape, mg_id id, mg_slot *slot) {
    uint32_t page;
    if (!look_up(tape, id / MG_PAGE, &page) || id % MG_PAGE >= tape->pages[page].used) {
        return false;
    }
    *slot = (mg_slot)(page * MG_PAGE + id % MG_PAGE);
    return is_lane(mg_code(tape, *slot));
}

bool mg_find_run(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (n == 0 || n > MG_MAX_SLOTS || !mg_find(tape, first, slot)) {
        return false;
    }
    size_t page = *slot / MG_PAGE, end = *slot + n;
    for (size_t p = page; p * MG_PAGE < end; p++) {
        size_t wanted = end - p * MG_PAGE < MG_PAGE ? end - p * MG_PAGE : MG_PAGE;
        if (p >= tape->page_count || tape->pages[p].serial != tape->pages[page].serial + (p - page) ||
            tape->pages[p].used < wanted) {
            return false;
        }
    }
    uint8_t largest = 0;
    for (size_t s = *slot; s < end; s++) { /* no early exit: this runs in vectors */
        uint8_t code = (uint8_t)(tape->operation[s] & ~MG_VISITED);
        largest = code > largest ? code : largest;
    }
    return is_lane(largest);
}

mg_id mg_id_of(const mg_tape *tape, mg_slot slot) {
    return tape->pages[slot / MG_PAGE].serial * MG_PAGE + slot % MG_PAGE;
}

mg_slot mg_slot_of(const mg_tape *tape, mg_id id) {
    uint32_t page = 0;
    bool found = look_up(tape, id / MG_PAGE, &page);
    assert(found);
    (void)found;
    return (mg_slot)(page * MG_PAGE + id % MG_PAGE);
}

void mg_touch(mg_tape *tape, mg_slot first, size_t n) {
    size_t end = first + n;
    tape->clock++;
    tape->writes++;
    for (size_t p = first / MG_PAGE; p * MG_PAGE < end; p++) {
        mg_page *page = &tape->pages[p];
        size_t from = p * MG_PAGE < first ? first : p * MG_PAGE;
        size_t to = (p + 1) * MG_PAGE < end ? (p + 1) * MG_PAGE : end;
        page->written = tape->clock;
        if (to - from == page->used) {
            page->whole = tape->clock;
            continue;
        }
        for (size_t s = from; s < to; s++) {
            if (tape->operation[s] == MG_LEAF) {
                tape->partial[s][0] = (double)tape->clock;
            } else {
                page->computed = tape->clock;
            }
        }
    }
}

static bool slot_written_since(const mg_tape *tape, mg_slot slot, uint64_t clock) {
    switch (mg_code(tape, slot)) {
    case MG_LEAF: return tape->partial[slot][0] > (double)clock;
    case MG_LANE:
        if (mg_recorded(tape, tape->operand[slot][0]) > clock) {
            return true;
        }
        break;
    default: break;
    }
    return tape->pages[slot / MG_PAGE].computed > clock;
}

bool mg_written_since(const mg_tape *tape, mg_slot first, size_t n, uint64_t clock) {
    size_t end = first + n;
    for (size_t p = first / MG_PAGE; p * MG_PAGE < end; p++) {
        if (tape->pages[p].written <= clock) {
            continue;
        }
        size_t last = (p + 1) * MG_PAGE < end ? (p + 1) * MG_PAGE : end;
        bool written = tape->pages[p].whole > clock;
        for (size_t s = p * MG_PAGE < first ? first : p * MG_PAGE; s < last && !written; s++) {
            written = slot_written_since(tape, (mg_slot)s, clock);
        }
        if (written) {
            return true;
        }
    }
    return false;
}

/* ---- lifecycle -------------------------------------------------------------------------------------------------- */

mg_tape *mg_tape_new(void) {
    mg_tape *tape = calloc(1, sizeof *tape);
    if (tape != NULL) {
        tape->owner = pthread_self();
        tape->bytes = sizeof *tape;
        atomic_init(&tape->busy, 0);
    }
    return tape;
}

static void free_storage(mg_tape *tape) {
    set_slots(tape, 0);
    mg_reallocate(tape, tape->pages, tape->page_capacity * sizeof *tape->pages, 0);
    mg_reallocate(tape, tape->directory, tape->directory_size * sizeof *tape->directory, 0);
    mg_list_free(tape, &tape->order);
    mg_list_free(tape, &tape->stack);
    tape->pages = NULL;
    tape->directory = NULL;
    tape->capacity = tape->page_count = tape->page_capacity = tape->first_free = tape->directory_size = 0;
    tape->open = false;
    tape->closed = true;
}

mg_status mg_tape_close(mg_tape *tape) {
    mg_status status = mg_enter(tape);
    if (status == MG_OK) {
        free_storage(tape);
    }
    return status == MG_CLOSED ? MG_OK : status;
}

void mg_tape_free(mg_tape *tape) {
    if (tape != NULL) {
        free_storage(tape);
        free(tape);
    }
}

mg_status mg_tape_adopt(mg_tape *tape) {
    if (atomic_load_explicit(&tape->busy, memory_order_acquire)) {
        return MG_BUSY;
    }
    tape->owner = pthread_self();
    return MG_OK;
}

mg_status mg_enter(mg_tape *tape) {
    if (!pthread_equal(tape->owner, pthread_self())) {
        return MG_WRONG_THREAD;
    }
    return tape->closed ? MG_CLOSED : MG_OK;
}

mg_id mg_fail(mg_tape *tape, mg_status status) {
    tape->status = status;
    return MG_NONE;
}

bool mg_ready(mg_tape *tape) {
    mg_status status = mg_enter(tape);
    if (status == MG_WRONG_THREAD) {
        return false; /* and mg_tape_take_status will say so: the tape's own status is its owner's */
    }
    if (status != MG_OK) {
        tape->status = status;
    }
    return tape->status == MG_OK;
}

mg_status mg_tape_take_status(mg_tape *tape) {
    if (mg_enter(tape) == MG_WRONG_THREAD) {
        return MG_WRONG_THREAD;
    }
    mg_status status = tape->status;
    tape->status = MG_OK;
    return status;
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
        [MG_OVERWRITTEN] = "an operand of a span statement was written after the statement was recorded, so its "
                           "partials are gone; record the computation again before backward()",
        [MG_NOT_REPLAYABLE] = "a value made with children and local_grads of one's own cannot be computed again, so a "
                              "program cannot hold it",
        [MG_DOMAIN] = "math domain error",
        [MG_RANGE] = "math range error",
        [MG_POWER_RANGE] = "(34, 'Numerical result out of range')",
        [MG_POWER_ZERO] = "0.0 cannot be raised to a negative power",
        [MG_POWER_COMPLEX] = "a negative number to a fractional power is complex, and a Value is real",
        [MG_DIVISION] = "float division by zero",
    };
    return (int)status >= 0 && status < MG_STATUS_COUNT ? texts[status] : "unknown status";
}

/* ---- positions -------------------------------------------------------------------------------------------------- */

mg_mark mg_tape_mark(mg_tape *tape) {
    if (mg_enter(tape) == MG_OK && tape->open) {
        const mg_page *page = &tape->pages[tape->current];
        return page->serial * MG_PAGE + page->used;
    }
    return atomic_load_explicit(&next_serial, memory_order_relaxed) * MG_PAGE;
}

/* Is the slot a lane but the first, or the payload, of a span statement? Goes back to what stands before it. */
static bool inside_statement(const mg_tape *tape, mg_slot slot) {
    if (tape->operation[slot] == MG_LANE) {
        return true; /* between a header and its lanes, or between two lanes */
    }
    for (mg_slot s = slot; tape->operation[s] == MG_PAYLOAD && s > 0; s--) {
        size_t p = s / MG_PAGE, before = (s - 1) / MG_PAGE;
        if (p != before && tape->pages[before].serial + 1 != tape->pages[p].serial) {
            return false;
        }
        if (tape->operation[s - 1] > MG_LANE && tape->operation[s - 1] < MG_PAYLOAD) {
            return s - 1 + mg_statement_size(tape, s - 1) > slot;
        }
    }
    return false;
}

mg_status mg_tape_rewind(mg_tape *tape, mg_mark mark) {
    uint32_t inside;
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (look_up(tape, mark / MG_PAGE, &inside) && mark % MG_PAGE < tape->pages[inside].used &&
        inside_statement(tape, (mg_slot)(inside * MG_PAGE + mark % MG_PAGE))) {
        return MG_SHAPE; /* no mark that the tape gave */
    }
    for (size_t p = 0; p < tape->page_count; p++) {
        mg_page *page = &tape->pages[p];
        uint64_t first = page->serial * MG_PAGE;
        if (page->serial != 0 && first + page->used > mark) {
            if (first >= mark) {
                release_page(tape, p);
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

/* Marks a slot that a root needs, and puts it on the stack. A span statement is needed as a whole. */
static bool mark_needed(mg_tape *tape, mg_slot slot) {
    if (mg_code(tape, slot) == MG_LANE) {
        slot = tape->operand[slot][0];
    }
    if (tape->operation[slot] & MG_VISITED) {
        return true;
    }
    if (!mg_list_push(tape, &tape->stack, slot)) {
        return false;
    }
    size_t slots = mg_code(tape, slot) < MG_SCALAR_COUNT ? 1 : mg_statement_size(tape, slot);
    for (size_t s = slot; s < slot + slots; s++) {
        tape->operation[s] |= MG_VISITED;
    }
    return true;
}

static bool mark_operands(mg_tape *tape, mg_slot slot) {
    bool done = true;
    if (mg_code(tape, slot) < MG_SCALAR_COUNT) {
        for (uint32_t k = 0; done && k < mg_scalar_arity[mg_code(tape, slot)]; k++) {
            done = mark_needed(tape, tape->operand[slot][k]);
        }
    } else {
        size_t lanes = mg_lanes(tape, slot), operands = mg_term_width(tape, slot) * mg_term_count(tape, slot);
        for (size_t lane = 0; lane < lanes; lane++) {
            for (size_t c = 0; done && c < operands; c++) {
                done = mark_needed(tape, mg_term_operand(tape, slot, (mg_slot)lane, c));
            }
        }
    }
    return done;
}

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
        set_slots(tape, wanted);
    }
}

/* Marks n slots and all that they need. */
static bool mark_run(mg_tape *tape, mg_slot first, size_t n) {
    bool done = true;
    for (size_t s = first; done && s < first + n; s++) {
        done = !is_lane(mg_code(tape, (mg_slot)s)) || mark_needed(tape, (mg_slot)s);
        while (done && tape->stack.count > 0) {
            done = mark_operands(tape, tape->stack.item[--tape->stack.count]);
        }
    }
    return done;
}

mg_status mg_tape_collect(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count) {
    mg_slot slot;
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    tape->stack.count = 0;
    bool marked = !tape->open || mark_run(tape, (mg_slot)(tape->current * MG_PAGE), tape->pages[tape->current].used);
    for (size_t r = 0; marked && r < count; r++) {
        marked = !mg_find_run(tape, roots[r], sizes[r], &slot) || mark_run(tape, slot, sizes[r]);
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
            release_page(tape, p);
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

/* ---- capacity, reading and writing ------------------------------------------------------------------------------ */

mg_memory mg_tape_memory(mg_tape *tape) {
    uint64_t slots = 0;
    for (size_t p = 0; p < tape->page_count; p++) {
        slots += tape->pages[p].serial != 0 ? tape->pages[p].used : 0;
    }
    return (mg_memory){.slots = slots, .capacity = tape->capacity, .bytes = tape->bytes};
}

bool mg_find_for_reading(mg_tape *tape, mg_id lane, mg_slot *slot) {
    mg_status status = mg_enter(tape);
    if (status == MG_OK && !mg_find(tape, lane, slot)) {
        status = MG_STALE;
    }
    if (status != MG_OK && status != MG_WRONG_THREAD && tape->status == MG_OK) {
        tape->status = status;
    }
    return status == MG_OK;
}

double mg_value(mg_tape *tape, mg_id lane) {
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? tape->value[slot] : NAN;
}

double mg_adjoint(mg_tape *tape, mg_id lane) {
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? tape->adjoint[slot] : NAN;
}

/* The slot of a run that may be read or written now. */
static mg_status find_for_access(mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find_run(tape, first, n, slot)) {
        return mg_find(tape, first, slot) ? MG_SHAPE : MG_STALE;
    }
    return MG_OK;
}

mg_status mg_read_values(mg_tape *tape, mg_id first, size_t n, double *out) {
    mg_slot slot;
    mg_status status = find_for_access(tape, first, n, &slot);
    if (status == MG_OK) {
        memcpy(out, tape->value + slot, n * sizeof *out);
    }
    return status;
}

mg_status mg_read_adjoints(mg_tape *tape, mg_id first, size_t n, double *out) {
    mg_slot slot;
    mg_status status = find_for_access(tape, first, n, &slot);
    if (status == MG_OK) {
        memcpy(out, tape->adjoint + slot, n * sizeof *out);
    }
    return status;
}

mg_status mg_write_values(mg_tape *tape, mg_id first, size_t n, const double *in) {
    mg_slot slot;
    mg_status status = find_for_access(tape, first, n, &slot);
    if (status == MG_OK) {
        mg_touch(tape, slot, n);
        memcpy(tape->value + slot, in, n * sizeof *in);
    }
    return status;
}

mg_status mg_write_adjoints(mg_tape *tape, mg_id first, size_t n, const double *in) {
    mg_slot slot;
    mg_status status = find_for_access(tape, first, n, &slot);
    if (status == MG_OK) {
        memcpy(tape->adjoint + slot, in, n * sizeof *in);
    }
    return status;
}

mg_status mg_set_value(mg_tape *tape, mg_id lane, double value) { return mg_write_values(tape, lane, 1, &value); }

mg_status mg_set_adjoint(mg_tape *tape, mg_id lane, double adjoint) {
    return mg_write_adjoints(tape, lane, 1, &adjoint);
}

mg_status mg_clear_adjoints(mg_tape *tape, mg_id first, size_t n) {
    mg_slot slot;
    mg_status status = find_for_access(tape, first, n, &slot);
    if (status == MG_OK) {
        memset(tape->adjoint + slot, 0, n * sizeof *tape->adjoint);
    }
    return status;
}
