/* program.h: a recorded program, for the library's own files; see microgpt.h for what it does. What is not said to be of
 * another file is of program.c. */
#ifndef MG_PROGRAM_H
#define MG_PROGRAM_H

#include "programs/memory.h"

typedef struct mg_plan mg_plan;

/* An integer input's operand of a statement: the run of `size` lanes from slot `table` + value * size. */
typedef struct {
    size_t input;
    mg_slot head;
    size_t factor, entry; /* which operand; which entry of its list, or 0 */
    mg_id first;
    size_t size, count;
    size_t lanes; /* from the first to the last that is read: of the last run as many as the operand reads */
    mg_slot table; /* the slot of `first` */
    bool leaves;
} mg_binding;

/* Where the result is a sum of losses, recorded one position after the other, or their mean: what losses 0 .. n - 1 need
 * is the program of a shorter text, and the order of its sweep is the beginning of the order of all.
 *
 * Invariants
 *   statements, ends and needed have one item a statement, in order of recording
 *   needed[k] < losses: the first loss that needs statement k; == losses: only the result needs it
 *   losses == 0: the result is no sum of losses, and needed[k] is 0 */
struct mg_program {
    mg_blocks blocks;
    _Atomic(uint64_t) holders; /* its handle, and trainers */
    mg_tape *tape;
    mg_id result;
    mg_mark since; /* what was recorded before is read as it is, and may be overwritten: that is looked for in every sweep */
    mg_list statements, ends; /* heads, and the slots after the last */
    mg_list needed;
    mg_list loss;  /* slots */
    size_t losses; /* loss.count, or 0 */
    bool mean;

    mg_list order;      /* as in sweep.c */
    size_t ordered;     /* the order is of so many losses (of all: losses); SIZE_MAX: of none */
    uint64_t ordered_at; /* the tape's count of selections when the order was found */

    size_t computed;     /* losses that forward computed last; SIZE_MAX: nothing */
    uint64_t writes, selections; /* the tape's counts at that time */
    uint64_t operands;   /* a hash of all operands at that time; 0: not yet */

    mg_binding *bindings;
    size_t binding_count;
    size_t inputs;  /* one more than the highest number of an input */
    int32_t *values; /* [inputs]: what was selected last; -1: what was recorded */

    mg_plan *plan;       /* NULL: the statements are computed one by one, as nobody has asked for a plan, or: */
    const char *why_not;
    bool in_plan;   /* the numbers of the last forward are the plan's */
};

/* It lives until as many have freed it. From any thread. */
void mg_program_hold(mg_program *program);
/* May it run now? */
mg_status mg_program_enter(const mg_program *program);
/* Has somebody asked for a plan? */
static inline bool mg_program_planned(const mg_program *program) { return program->plan != NULL || program->why_not != NULL; }

/* What a loss counts for in the result of n of them. */
static inline double mg_share_of(const mg_program *program, size_t n) { return program->mean ? 1 / (double)n : 1; }

/* inputs.c. May it run now? Looks where the tables of the inputs are. */
mg_status mg_program_find_inputs(mg_program *program);
bool mg_program_in_range(const mg_program *program, const int32_t *values, size_t n);
/* Exchanges operands; the values have been checked. */
void mg_program_select(mg_program *program, const int32_t *values);
/* The first slot that an operand with a binding reads, and another in its place. */
mg_slot mg_selected_now(const mg_tape *tape, const mg_binding *binding);
void mg_exchange(mg_program *program, const mg_binding *binding, mg_slot selected);
/* How many losses a text of so many tokens has: those that read no other inputs. 0: none. */
size_t mg_program_losses_of(const mg_program *program, size_t tokens);

/* plain.c. Which statement of the program holds a slot; statements.count when none does. */
size_t mg_program_statement(const mg_program *program, mg_slot slot);
/* The order of the sweep for n losses, in program->order. */
mg_status mg_program_order(mg_program *program, size_t n);
/* All statements that the first n losses need, one by one, and down their lanes. */
mg_status mg_compute_plainly(mg_program *program, size_t n);
mg_status mg_sweep_plainly(mg_program *program, size_t n);
/* The result of the first n losses. */
double mg_result_of(const mg_program *program, size_t n);
/* Lets statements outside the program know that its lanes were computed anew. */
void mg_program_stamp(const mg_program *program);

#endif
