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

#include "microgpt.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

typedef uint32_t mg_slot;
#define MG_MAX_SLOTS ((uint64_t)1 << 31) /* the top bit of a slot number is the sweep's */
#define MG_VISITED 0x80u                 /* in an operation byte: the search has been here */
#define MG_LANE MG_SCALAR_COUNT          /* operation byte of a span statement's lane: operand[0] is its header */
#define MG_PAYLOAD MG_OPERATION_COUNT    /* operation byte of a slot of a span statement's operands, or unused */

typedef struct {
    uint64_t serial; /* 0: free */
    /* The tape's clock when a primal was last written, for mg_written_since: */
    uint64_t written;  /* any of this page */
    uint64_t whole;    /* all of them at once; otherwise a leaf keeps its own time in partial[0] */
    uint64_t computed; /* one that is not a leaf; a replayed span statement keeps its own time in its header */
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
    size_t held[5]; /* slots that each of the five arrays has room for */
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
    uint64_t clock;   /* counts span statements, writes and replays */
    uint64_t writes;  /* counts writes */

    mg_list order, stack; /* the sweep's */
    void *work;           /* where programs keep their batches, see batches.h */
    size_t work_bytes;
    const mg_program *work_of; /* whose numbers of the last forward are there; NULL: nobody's */

    pthread_t owner;
    _Atomic(int) busy; /* inside a call that a second thread must not join */
    uint64_t bytes;
    uint64_t fail_in; /* testing */
    bool failing;
};

/* Memory: the only way to allocate. Returns NULL on failure with the old block intact; size 0 frees. */
void *mg_reallocate(mg_tape *tape, void *block, size_t old_size, size_t new_size);

/* arena.c. Gives each array room for `capacity` slots. A failure half way leaves some arrays larger than needed, which
   does no harm: nobody looks beyond the tape's capacity, which the caller sets. */
bool mg_set_slots(mg_tape *tape, size_t capacity);
bool mg_look_up(const mg_tape *tape, uint64_t serial, uint32_t *page); /* false when no page in use has the serial */
void mg_release_page(mg_tape *tape, size_t p);
uint64_t mg_next_serial(void); /* of the next page that any tape opens */

/* May this thread use the tape now? */
mg_status mg_enter(mg_tape *tape);
/* The same for a maker: also false while an earlier failure has not been taken. Leaves the status. */
bool mg_ready(mg_tape *tape);
mg_id mg_fail(mg_tape *tape, mg_status status); /* leaves the status, returns MG_NONE */

/* The slot of an id; false when the id is not a lane of this tape. */
bool mg_find(const mg_tape *tape, mg_id id, mg_slot *slot);
/* The same for n lanes in a row, n >= 1. */
bool mg_find_run(const mg_tape *tape, mg_id first, size_t n, mg_slot *slot);
/* For readers: true also while an earlier failure has not been taken; leaves a status when the id is refused. */
bool mg_find_for_reading(mg_tape *tape, mg_id lane, mg_slot *slot);
mg_id mg_id_of(const mg_tape *tape, mg_slot slot);
mg_slot mg_slot_of(const mg_tape *tape, mg_id id); /* of any slot in use, not only a lane's */

/* n fresh slots in a row, n >= 1; they are then taken, or given up. False when there is no memory. */
bool mg_reserve(mg_tape *tape, size_t n, mg_slot *first);
void mg_take(mg_tape *tape, mg_slot first, size_t n);
void mg_give_up(mg_tape *tape, mg_slot first, size_t n);

/* Primals are about to be written; were any written since the clock showed `clock`? */
void mg_touch(mg_tape *tape, mg_slot first, size_t n);
bool mg_written_since(const mg_tape *tape, mg_slot first, size_t n, uint64_t clock);

bool mg_list_grow(mg_tape *tape, mg_list *list); /* room for one more item, at least */
static inline bool mg_list_push(mg_tape *tape, mg_list *list, uint32_t item) {
    if (list->count == list->capacity && !mg_list_grow(tape, list)) {
        return false;
    }
    list->item[list->count++] = item;
    return true;
}
void mg_list_free(mg_tape *tape, mg_list *list);

/* A span statement in the arena: `header` is followed by the payload slots, then by the lanes.
 *
 *   header    operation, constant (in its primal), when it was recorded (in its adjoint), its first lane (in its first
 *             partial), operand = {lanes, terms}
 *   payload   its operands: slot numbers, and small numbers that the operation keeps among them, two in a slot
 *   lanes     operation MG_LANE, operand = {header, lane number}, primal, adjoint, partials of its own
 *
 * Invariants: lane i is slot mg_first_lane(header) + i; header, payload and lanes are one run of slots.
 */
static inline mg_slot mg_lanes(const mg_tape *tape, mg_slot header) { return tape->operand[header][0]; }
static inline mg_slot mg_terms(const mg_tape *tape, mg_slot header) { return tape->operand[header][1]; }
static inline mg_slot mg_first_lane(const mg_tape *tape, mg_slot header) { return (mg_slot)tape->partial[header][0]; }
static inline uint64_t mg_recorded(const mg_tape *tape, mg_slot header) { return (uint64_t)tape->adjoint[header]; }
static inline mg_slot mg_operand(const mg_tape *tape, mg_slot header, size_t k) {
    return tape->operand[header + 1 + k / 2][k % 2];
}
static inline void mg_set_operand(mg_tape *tape, mg_slot header, size_t k, mg_slot operand) {
    tape->operand[header + 1 + k / 2][k % 2] = operand;
}
/* The operation byte of a slot that holds a lane, not the header or the payload of a span statement. */
static inline bool mg_is_lane(uint8_t code) { return code <= MG_LANE; }
static inline uint8_t mg_code(const mg_tape *tape, mg_slot slot) {
    return (uint8_t)(tape->operation[slot] & ~MG_VISITED);
}

/* statements.c: slots of a span statement, its header, payload and lanes */
size_t mg_statement_size(const mg_tape *tape, mg_slot header);
bool mg_all_leaves(const mg_tape *tape, mg_slot first, size_t n);

/* spans.c. A cursor counts the operands that a lane visits, in depth-first order: term by term, mg_term_width operands
   in each of mg_term_count terms. */
extern const uint8_t mg_span_width[MG_OPERATION_COUNT]; /* 0: all operands of a custom statement are one term */
static inline size_t mg_term_width(const mg_tape *tape, mg_slot header) {
    size_t width = mg_span_width[mg_code(tape, header)];
    return width ? width : mg_terms(tape, header);
}
static inline size_t mg_term_count(const mg_tape *tape, mg_slot header) {
    return mg_span_width[mg_code(tape, header)] ? mg_terms(tape, header) : 1;
}
mg_slot mg_term_operand(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor);
double mg_term_partial(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor);
/* Computes all lanes from the primals of the operands; not for MG_CUSTOM. */
mg_status mg_forward(mg_tape *tape, mg_slot header);
/* Adds what terms end - 1 down to begin of a lane with adjoint g contribute to its operands' adjoints. */
void mg_reverse_terms(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end);
/* Was a primal that the statement's partials need written after it was recorded? */
bool mg_overwritten(const mg_tape *tape, mg_slot header);
/* The weights of a linear statement are leaves: a search need not visit them. */
static inline bool mg_leaf_weights(const mg_tape *tape, mg_slot header) {
    return mg_code(tape, header) == MG_SPAN_LINEAR && mg_operand(tape, header, 2) != 0;
}

/* sweep.c. The search fills tape->order with the words that its head describes, and leaves marks that mg_search_end
   takes away, after a failure too. Going down a list adds to adjoints. */
#define MG_RUN 0x80000000u
mg_status mg_search(mg_tape *tape, mg_slot result);
void mg_search_end(mg_tape *tape);
void mg_go_down(mg_tape *tape, const uint32_t *item, size_t count);

/* operations.c */
/* Compute a scalar statement anew from its operands' primals: by its rule, or at once where that is an addition or a
   multiplication, as nearly always. */
mg_status mg_rule_forward(mg_tape *tape, mg_slot slot);
static inline mg_status mg_scalar_forward(mg_tape *tape, mg_slot slot) {
    const mg_slot *operand = tape->operand[slot];
    double a = tape->value[operand[0]], b = tape->value[operand[1]];
    switch (mg_code(tape, slot)) {
    case MG_ADD: tape->value[slot] = a + b; return MG_OK;
    case MG_MUL:
        tape->value[slot] = a * b;
        tape->partial[slot][0] = b;
        tape->partial[slot][1] = a;
        return MG_OK;
    default: return mg_rule_forward(tape, slot);
    }
}
extern const uint8_t mg_scalar_arity[MG_SCALAR_COUNT];
mg_status mg_pow(double a, double k, double *out); /* as Python's float ** float */
mg_status mg_exp(double a, double *out);           /* as math.exp */
mg_status mg_log(double a, double *out);           /* as math.log */

#endif
