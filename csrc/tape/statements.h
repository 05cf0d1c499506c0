/* statements.h: statements of many lanes, in the arena.
 *
 * A map is scalar statements in a row that were recorded together: each lane a slot like any other, and all but the
 * first with MG_JOINED in their operation byte. A sum, a largest and a custom statement have a header:
 *
 *   header    operation, and an mg_statement in its operand words, which run on into the payload
 *   payload   the rest of the mg_statement and the lists of its views; the partials of a custom statement
 *   lanes     operation MG_LANE, operand = {header, lane number}, primal, adjoint
 *
 * Invariants
 *   lane i is slot mg_statement_of(header)->first + i; header, payload and lanes are one run of slots
 *   lanes == groups * width; lane g * width + i is lane i of group g
 *   every slot that a view gives for g < groups, i < width, c < terms is a slot in use
 */
#ifndef MG_STATEMENTS_H
#define MG_STATEMENTS_H

#include "tape/tape.h"

typedef enum { MG_STRIDED, MG_BY_LANE, MG_BY_TERM } mg_listing;

/* What lane i of group g reads at term c: the slot
 *     base + g * group + i * lane + c * term             strided
 *     list[i / block] + g * group + i % block * lane + c * term     by lane
 *     list[c / block] + g * group + i * lane + c % block * term     by term */
typedef struct {
    mg_slot base;
    uint32_t group, lane, term;
    uint32_t listing; /* an mg_listing */
    uint32_t block;
    uint32_t entries;
    uint32_t list; /* where the list is, in operand words from the header's */
} mg_operands;

typedef struct {
    mg_slot first; /* lane 0 */
    uint32_t lanes, groups, width, terms;
    uint32_t factors; /* operands of a term: 1 or 2 */
    uint32_t recorded[2]; /* the tape's clock, low half first */
    mg_operands operand[2];
} mg_statement;

static inline mg_statement *mg_statement_of(const mg_tape *tape, mg_slot header) {
    return (mg_statement *)(void *)tape->operand[header];
}
static inline mg_slot *mg_list_of(const mg_tape *tape, mg_slot header, const mg_operands *operands) {
    return (mg_slot *)(void *)&tape->operand[header] + operands->list; /* the words run on from slot to slot */
}
static inline uint64_t mg_recorded(const mg_tape *tape, mg_slot header) {
    const mg_statement *statement = mg_statement_of(tape, header);
    return statement->recorded[0] | (uint64_t)statement->recorded[1] << 32;
}
static inline void mg_stamp_statement(mg_tape *tape, mg_slot header, uint64_t clock) {
    mg_statement *statement = mg_statement_of(tape, header);
    statement->recorded[0] = (uint32_t)clock;
    statement->recorded[1] = (uint32_t)(clock >> 32);
}

/* Factor `f` of term `c` of lane i of group g. */
static inline mg_slot mg_operand_at(const mg_tape *tape, mg_slot header, size_t f, size_t g, size_t i, size_t c) {
    const mg_operands *x = &mg_statement_of(tape, header)->operand[f];
    switch (x->listing) {
    case MG_BY_LANE:
        return mg_list_of(tape, header, x)[i / x->block] +
               (mg_slot)(g * x->group + i % x->block * x->lane + c * x->term);
    case MG_BY_TERM:
        return mg_list_of(tape, header, x)[c / x->block] +
               (mg_slot)(g * x->group + i * x->lane + c % x->block * x->term);
    default: return x->base + (mg_slot)(g * x->group + i * x->lane + c * x->term);
    }
}
/* From the first slot that an operand reads to the last, of a list from one entry on. */
static inline size_t mg_reach_of(const mg_statement *s, const mg_operands *x) {
    const size_t terms = x->listing == MG_BY_TERM && x->block < s->terms ? x->block : s->terms;
    const size_t width = x->listing == MG_BY_LANE && x->block < s->width ? x->block : s->width;
    return (size_t)(s->groups - 1) * x->group + (width - 1) * (size_t)x->lane + (terms - 1) * (size_t)x->term + 1;
}
/* The operand that a lane visits at a cursor, in depth-first order: term by term, the factors of each in order. */
static inline mg_slot mg_operand_visited(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    const mg_statement *statement = mg_statement_of(tape, header);
    const size_t c = statement->factors == 2 ? cursor / 2 : cursor, f = statement->factors == 2 ? cursor % 2 : 0;
    return mg_operand_at(tape, header, f, lane / statement->width, lane % statement->width, c);
}
double mg_partial_visited(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor);

/* The slot at which the statement of a lane, or of a header, begins, and the slot after its last. */
mg_slot mg_head(const mg_tape *tape, mg_slot slot);
mg_slot mg_end(const mg_tape *tape, mg_slot head);
/* Its first lane, and how many there are. */
static inline mg_slot mg_first_lane(const mg_tape *tape, mg_slot head) {
    return mg_code(tape, head) > MG_LANE ? mg_statement_of(tape, head)->first : head;
}
static inline size_t mg_lanes(const mg_tape *tape, mg_slot head) {
    return mg_end(tape, head) - mg_first_lane(tape, head);
}

/* Its sizes; a map is one group of lanes of one term. */
mg_shape mg_shape_of(const mg_tape *tape, mg_slot head);

/* Calls for runs of slots that the statement reads, until the visitor returns false, which is then returned. A slot may
   come more than once. */
typedef bool mg_run_visitor(void *context, mg_slot first, size_t n);
bool mg_each_run(const mg_tape *tape, mg_slot head, mg_run_visitor *visitor, void *context);
/* What lanes were computed from, for collection and for programs. A statement is needed as a whole, or not at all. */
/* A visitor of runs, with the tape as its context: marks the statements that a run is of, whole ones, with MG_VISITED, and
   puts those that have operands on tape->stack. */
bool mg_mark_run(void *tape, mg_slot first, size_t n);
/* Marks n slots in a row and all that they need, whole statements, with MG_VISITED; the caller takes the marks away.
   False without memory, with some marks left. */
bool mg_mark_needed(mg_tape *tape, mg_slot first, size_t n);

/* Computes all lanes, up to slot `end`, from the primals of their operands; not for a custom statement. */
mg_status mg_statement_forward(mg_tape *tape, mg_slot head, mg_slot end);
/* Adds what terms end - 1 down to begin of a sum's or custom statement's lane with adjoint g contribute. */
void mg_reverse_terms(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end);
/* Was a primal that the statement's partials are read from written after it was recorded? */
bool mg_overwritten(const mg_tape *tape, mg_slot header);
/* Do the operands that only later lanes of the statement read need no visit, once its first lane has been visited? */
bool mg_first_visits_all(const mg_tape *tape, mg_slot header);
bool mg_all_leaves(const mg_tape *tape, mg_slot first, size_t n);

#endif
