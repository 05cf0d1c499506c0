/* arena.c: where statements are stored. Allocation, pages, ids, and the times of writes.
 *
 * It refuses ids that are not of this tape, and growth past MG_MAX_SLOTS.
 */
#include "tape/tape.h"

#include <stdlib.h>
#include <string.h>

/* ---- allocation ------------------------------------------------------------------------------------------------- */

/* Is it an allocation that is to fail? */
static bool fails(mg_tape *tape) {
    const bool now = tape->failing && (tape->fail_in == 0 || --tape->fail_in == 0);
    tape->failing = tape->failing && !(now && tape->fails_once);
    return now;
}

void *mg_reallocate(mg_tape *tape, void *block, size_t old_size, size_t new_size) {
    void *moved = NULL;
    if (new_size == 0) {
        free(block);
    } else {
        moved = fails(tape) ? NULL : realloc(block, new_size);
        if (moved == NULL) {
            return NULL;
        }
    }
    atomic_fetch_add_explicit(&tape->bytes, new_size - old_size, memory_order_relaxed);
    return moved;
}

void *mg_allocate_zeros(mg_tape *tape, size_t size) {
    void *block = fails(tape) ? NULL : calloc(1, size);
    if (block != NULL) {
        atomic_fetch_add_explicit(&tape->bytes, size, memory_order_relaxed);
    }
    return block;
}

void mg_tape_fail_allocation(mg_tape *tape, uint64_t k) {
    tape->failing = k != 0;
    tape->fail_in = k;
}

bool mg_grow(mg_tape *tape, void *array, size_t *capacity, size_t wanted, size_t size) {
    void *block;
    memcpy(&block, array, sizeof block); /* a pointer to items of whatever type */
    block = mg_reallocate(tape, block, *capacity * size, wanted * size);
    if (block == NULL) {
        return false;
    }
    memcpy(array, &block, sizeof block);
    *capacity = wanted;
    return true;
}

bool mg_list_grow(mg_tape *tape, mg_list *list) {
    return mg_grow(tape, &list->item, &list->capacity, list->capacity ? 2 * list->capacity : 1024, sizeof *list->item);
}

void mg_list_free(mg_tape *tape, mg_list *list) {
    mg_reallocate(tape, list->item, list->capacity * sizeof *list->item, 0);
    *list = (mg_list){0};
}

/* Bytes of a block before the array in it. */
static size_t start_in(const char *block) { return (MG_ALIGNMENT - (uintptr_t)block % MG_ALIGNMENT) % MG_ALIGNMENT; }

static size_t block_size(size_t bytes) { return bytes == 0 ? 0 : bytes + MG_ALIGNMENT; }

/* An array of numbers, which stay, with another size; NULL, and as it was, without memory. */
static void *resized(mg_tape *tape, char *array, size_t *start, size_t old, size_t bytes) {
    char *block = mg_reallocate(tape, old == 0 ? NULL : array - *start, block_size(old), block_size(bytes));
    if (block == NULL) {
        return NULL;
    }
    const size_t now = start_in(block);
    if (now != *start) {
        memmove(block + now, block + *start, old < bytes ? old : bytes);
        *start = now;
    }
    return block + now;
}

bool mg_set_slots(mg_tape *tape, size_t capacity) {
    void **arrays[5] = {(void **)&tape->value, (void **)&tape->adjoint, (void **)&tape->partial,
                        (void **)&tape->operand, (void **)&tape->operation};
    const size_t sizes[5] = {sizeof *tape->value, sizeof *tape->adjoint, sizeof *tape->partial,
                             sizeof *tape->operand, sizeof *tape->operation};
    for (int a = 0; a < 5; a++) {
        if (tape->held[a] != capacity) {
            void *grown = resized(tape, *arrays[a], &tape->start[a], tape->held[a] * sizes[a], capacity * sizes[a]);
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

bool mg_look_up(const mg_tape *tape, uint64_t serial, uint32_t *page) {
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
    if (tape->page_capacity < capacity &&
        !mg_grow(tape, &tape->pages, &tape->page_capacity, capacity, sizeof *tape->pages)) {
        return false;
    }
    size_t size = 64;
    while (size < 2 * capacity) {
        size *= 2;
    }
    if (tape->directory_size < size) {
        mg_entry *directory = mg_allocate_zeros(tape, size * sizeof *directory);
        if (directory == NULL) {
            return false;
        }
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

uint64_t mg_next_serial(void) { return atomic_load_explicit(&next_serial, memory_order_relaxed); }

void mg_release_page(mg_tape *tape, size_t p) {
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
        if (!grow_pages(tape, pages) || !mg_set_slots(tape, pages * MG_PAGE)) {
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

void mg_keep_results_only(mg_tape *tape, mg_slot first, size_t n) {
    for (mg_slot s = first; s < first + n; s++) {
        if (!mg_is_lane(mg_code(tape, s))) {
            tape->operation[s] = MG_PAYLOAD;
        } else if (mg_code(tape, s) != MG_CONSTANT) {
            tape->operation[s] = MG_LEAF;
            tape->partial[s][0] = tape->partial[s][1] = 0;
            tape->operand[s][0] = tape->operand[s][1] = 0;
        }
    }
}

void mg_take(mg_tape *tape, mg_slot first, size_t n) {
    size_t p = first / MG_PAGE;
    tape->last = (mg_run){first, (uint32_t)n};
    if (tape->leaves_only) {
        mg_keep_results_only(tape, first, n);
    }
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
            mg_release_page(tape, p);
        }
    }
}

bool mg_find(const mg_tape *tape, mg_id id, mg_slot *slot) {
    uint32_t page;
    if (!mg_look_up(tape, id / MG_PAGE, &page) || id % MG_PAGE >= tape->pages[page].used) {
        return false;
    }
    *slot = (mg_slot)(page * MG_PAGE + id % MG_PAGE);
    return mg_is_lane(mg_code(tape, *slot));
}

bool mg_is_there(const mg_tape *tape, mg_slot first, size_t n) {
    const size_t page = first / MG_PAGE, end = first + n;
    for (size_t p = page; p * MG_PAGE < end; p++) {
        const size_t wanted = end - p * MG_PAGE < MG_PAGE ? end - p * MG_PAGE : MG_PAGE;
        if (p >= tape->page_count || tape->pages[page].serial == 0 ||
            tape->pages[p].serial != tape->pages[page].serial + (p - page) || tape->pages[p].used < wanted) {
            return false;
        }
    }
    return n > 0;
}

bool mg_find_run(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (n > MG_MAX_SLOTS || !mg_find(tape, first, slot) || !mg_is_there(tape, *slot, n)) {
        return false;
    }
    uint8_t largest = 0;
    for (size_t s = *slot; s < *slot + n; s++) { /* no early exit: this runs in vectors */
        uint8_t code = (uint8_t)(tape->operation[s] & ~(MG_VISITED | MG_JOINED));
        largest = code > largest ? code : largest;
    }
    return mg_is_lane(largest);
}

mg_status mg_find_lanes(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (mg_find_run(tape, first, n, slot)) {
        return MG_OK;
    }
    return mg_find(tape, first, slot) ? MG_SHAPE : MG_STALE;
}

mg_id mg_id_of(const mg_tape *tape, mg_slot slot) {
    return tape->pages[slot / MG_PAGE].serial * MG_PAGE + slot % MG_PAGE;
}

void mg_turn_page(mg_tape *tape) { tape->open = false; }

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
            if (mg_is_leaf(mg_code(tape, (mg_slot)s))) {
                tape->partial[s][0] = (double)tape->clock;
            } else {
                page->computed = tape->clock;
            }
        }
    }
}

static bool slot_written_since(const mg_tape *tape, mg_slot slot, uint64_t clock) {
    return mg_is_leaf(mg_code(tape, slot)) ? tape->partial[slot][0] > (double)clock
                                           : tape->pages[slot / MG_PAGE].computed > clock;
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
