/* tape.h: the arena behind microgpt.h, for the library's own files only.
 *
 * Invariants
 *   page_count * MG_PAGE == slots in the arrays that are in pages   <= capacity
 *   pages[p].serial == 0  <=>  page p is free
 *   directory maps the serial of every page in use to its number, and nothing else
 *   slots pages[p].used .. MG_PAGE - 1 of a page hold nothing
 *   an operand of a slot in use is a slot in use
 *   between calls no operation byte has MG_VISITED
 */
#ifndef MG_TAPE_H
#define MG_TAPE_H

#include "tape/status.h"
#include "tape/threads.h"

#include <assert.h>

typedef uint32_t mg_slot;
#define MG_MAX_SLOTS ((uint64_t)1 << 31) /* the top bit of a slot number is the sweep's */
#define MG_ALIGNMENT 64 /* bytes in a line of the cache, and in the widest vector, which is slow to read from two of them */
#define MG_VISITED 0x80u                 /* in an operation byte: the search has been here */
#define MG_JOINED 0x40u                  /* in an operation byte: the next lane of the map that the slot before is of */
#define MG_LANE MG_SCALAR_COUNT          /* operation byte of a lane of a statement with a header: operand[0] is that */
#define MG_PAYLOAD MG_OPERATION_COUNT    /* operation byte of a slot of a statement's operands, or unused */

typedef struct {
    uint64_t serial; /* 0: free */
    /* The tape's clock when a primal was last written, for mg_written_since: */
    uint64_t written;  /* any of this page */
    uint64_t whole;    /* all of them at once; otherwise a leaf keeps its own time in partial[0] */
    uint64_t computed; /* one that is not a leaf */
    uint32_t used;     /* slots recorded in this page */
} mg_page;

typedef struct {
    uint64_t serial;
    uint32_t page;
} mg_entry;

/* A growing array of the sweep. */
typedef struct {
    uint32_t *item;
    size_t count, capacity;
} mg_list;

struct mg_tape {
    /* the slots: structure of arrays */
    double *value;
    double *adjoint;
    double (*partial)[2];
    mg_slot (*operand)[2];
    uint8_t *operation;
    size_t held[5];  /* slots that each of the five arrays has room for */
    size_t start[5]; /* bytes of its block before it */
    size_t capacity;

    mg_page *pages;
    size_t page_count, page_capacity;
    size_t first_free; /* no page below is free */
    mg_entry *directory; /* open addressing, linear probing */
    size_t directory_size;

    size_t current;   /* the page being filled, if `open` */
    bool open;
    mg_status status; /* what a maker left */
    bool closed;
    uint64_t clock;      /* counts statements with a header, writes and replays */
    uint64_t writes;     /* counts writes of leaves and lanes */
    uint64_t selections; /* counts operands that programs exchanged */
    uint64_t bound;      /* counts inputs of programs */
    bool quiet;          /* makers leave NaN where Python raises */
    bool leaves_only;    /* makers keep their results, and not what they are computed from */
    mg_run last;         /* what was recorded last by the thread that has the tape */

    mg_list order, stack; /* the sweep's */

    uint64_t number;        /* no other tape has or had it */
    _Atomic(uint64_t) user; /* the key of the thread that it belongs to, and MG_IN_CALL */
    _Atomic(uint64_t) calls; /* that have ended, so that who waits knows one from the next */
    _Atomic(bool) follows;  /* the calling thread, once no other is inside a call */
    uint64_t ident;         /* what pthread_self says in that thread */
    mg_visitor *visitors;
    size_t visitor_count, visitor_capacity;
    _Atomic(uint64_t) holders; /* who needs its storage: its handle, programs */
    _Atomic(uint64_t) bytes;   /* what is freed by another thread counts too */
    uint64_t fail_in; /* testing */
    bool failing, fails_once; /* once: all that come after it succeed again */
};

/* Memory: the only ways to allocate. NULL on failure, with the old block intact; size 0 frees. Zeros that nobody has written
   over take no memory yet, where there are many. */
void *mg_reallocate(mg_tape *tape, void *block, size_t old_size, size_t new_size);
void *mg_allocate_zeros(mg_tape *tape, size_t size);

/* arena.c. Gives each array room for `capacity` slots. A failure half way leaves some arrays larger than needed, which
   does no harm: nobody looks beyond the tape's capacity, which the caller sets. */
bool mg_set_slots(mg_tape *tape, size_t capacity);
bool mg_look_up(const mg_tape *tape, uint64_t serial, uint32_t *page); /* false when no page in use has the serial */
void mg_release_page(mg_tape *tape, size_t p);
uint64_t mg_next_serial(void); /* of the next page that any tape opens */

/* A public function is inside a call from here to its end, whichever way it leaves: no other thread can have the tape.
   Calls inside calls, and those of threads that may not use the tape, change nothing. */
static inline bool mg_begin_call(mg_tape *tape, uint64_t patience) {
    const uint64_t self = mg_this_thread();
    uint64_t user = self;
    return atomic_compare_exchange_strong_explicit(&tape->user, &user, self | MG_IN_CALL, memory_order_acquire,
                                                   memory_order_relaxed) ||
           mg_take_over(tape, patience);
}
static inline void mg_end_call(mg_tape *const *tape) {
    if (*tape != NULL) {
        const uint64_t user = atomic_load_explicit(&(*tape)->user, memory_order_relaxed);
        const uint64_t calls = atomic_load_explicit(&(*tape)->calls, memory_order_relaxed);
        atomic_store_explicit(&(*tape)->calls, calls + 1, memory_order_relaxed); /* nobody else writes it now */
        atomic_store_explicit(&(*tape)->user, user & ~MG_IN_CALL, memory_order_release);
    }
}
#define MG_INSIDE(tape)                                                                                               \
    __attribute__((cleanup(mg_end_call), unused)) mg_tape *const inside_ =                                            \
        mg_begin_call(tape, MG_PATIENCE) ? (tape) : NULL
/* The same for a maker, which may go on if this is true; the status is left if not. */
#define MG_READY(tape) \
    (inside_ != NULL && !(tape)->closed ? (tape)->status == MG_OK : mg_ready(tape))

/* The storage lives until the last release. From any thread. */
void mg_hold(mg_tape *tape);
void mg_release(mg_tape *tape);

/* May a maker of this thread go on? Not while an earlier failure has not been taken. Leaves the status. */
bool mg_ready(mg_tape *tape);
mg_id mg_fail(mg_tape *tape, mg_status status); /* leaves the status, returns MG_NONE */

/* The slot of an id; false when the id is not a lane of this tape. */
bool mg_find(const mg_tape *tape, mg_id id, mg_slot *slot);
/* The same for n lanes in a row, n >= 1. */
bool mg_find_run(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot);
/* The same, or why not: MG_SHAPE where the first is there, but not all in a row. */
mg_status mg_find_lanes(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot);
/* The same for a caller who may not use the tape just now. */
mg_status mg_find_now(mg_tape *tape, mg_id first, size_t n, mg_slot *slot);
/* For readers: true also while an earlier failure has not been taken; leaves a status when the id is refused. */
bool mg_find_for_reading(mg_tape *tape, mg_id lane, mg_slot *slot);
mg_id mg_id_of(const mg_tape *tape, mg_slot slot);
/* Are n slots in a row, n >= 1, in use, and were their pages opened together? */
bool mg_is_there(const mg_tape *tape, mg_slot first, size_t n);

/* n fresh slots in a row, n >= 1; they are then taken, or given up. False when there is no memory. */
bool mg_reserve(mg_tape *tape, size_t n, mg_slot *first);
void mg_take(mg_tape *tape, mg_slot first, size_t n);
void mg_keep_results_only(mg_tape *tape, mg_slot first, size_t n); /* turns what was just recorded into leaves */
static inline void mg_take_one(mg_tape *tape, mg_slot slot) {
    tape->pages[tape->current].used++;
    tape->last = (mg_run){slot, 1};
    if (tape->leaves_only) {
        mg_keep_results_only(tape, slot, 1);
    }
}
void mg_give_up(mg_tape *tape, mg_slot first, size_t n);

/* What is recorded next goes to a fresh page, so that times of writes tell what was recorded before from it. */
void mg_turn_page(mg_tape *tape);
/* Primals are about to be written; were any written since the clock showed `clock`? */
void mg_touch(mg_tape *tape, mg_slot first, size_t n);
bool mg_written_since(const mg_tape *tape, mg_slot first, size_t n, uint64_t clock);

/* More room for an array, whose pointer's address is given: `wanted` items of `size` bytes. */
bool mg_grow(mg_tape *tape, void *array, size_t *capacity, size_t wanted, size_t size);
bool mg_list_grow(mg_tape *tape, mg_list *list); /* room for one more item, at least */
static inline bool mg_list_push(mg_tape *tape, mg_list *list, uint32_t item) {
    if (list->count == list->capacity && !mg_list_grow(tape, list)) {
        return false;
    }
    list->item[list->count++] = item;
    return true;
}
void mg_list_free(mg_tape *tape, mg_list *list);

/* The operation byte of a slot that holds a lane, not the header or the payload of a statement. */
static inline bool mg_is_lane(uint8_t code) { return code <= MG_LANE; }
static inline uint8_t mg_code(const mg_tape *tape, mg_slot slot) {
    return (uint8_t)(tape->operation[slot] & ~(MG_VISITED | MG_JOINED));
}
static inline bool mg_is_leaf(uint8_t code) { return code <= MG_CONSTANT; }

#endif
