/* program.h: a recorded program, for the library's own files. See microgpt.h for what it does. */
#ifndef MG_PROGRAM_H
#define MG_PROGRAM_H

#include "batches.h"

/* An integer input's operand of a statement: slot `first` + value * size. */
typedef struct {
    size_t input;
    mg_slot header;
    size_t operand;
    mg_id first;
    mg_slot slot; /* of `first`, once mg_program_find_inputs has looked */
    size_t size, count;
    bool leaves;
} mg_binding;

struct mg_program {
    mg_tape *tape;
    mg_id result;
    mg_list statements; /* slots of scalar operations and headers of span statements, in order of recording */
    mg_list order;      /* as in sweep.c */
    bool ordered;       /* false when an operand was selected anew, so that the search may go another way */
    uint64_t writes;    /* the tape's count of writes when forward ran; reverse needs the same primals */
    mg_binding *bindings;
    size_t binding_count, binding_room;
    size_t inputs;      /* one more than the highest number of an input */
    uint64_t set_in;    /* the call of mg_trainer_run that found its inputs last */
    mg_batches *batches; /* NULL: the statements are replayed one by one */
};

/* program.c. Looks where the bound lanes are; then selects, and returns false, with nothing changed, when a value is
   out of range. */
mg_status mg_program_find_inputs(mg_program *program);
bool mg_program_select_inputs(mg_program *program, const int32_t *values);
/* All statements, one by one, and down all lanes, one after the other: the plain replay. */
mg_status mg_compute_plainly(mg_program *program);
mg_status mg_sweep_plainly(mg_program *program);
/* What mg_program_forward and mg_program_reverse do once they have entered; `store` says whether the tape's
   lanes get the numbers too. Forward sets *value to the result. */
mg_status mg_program_compute(mg_program *program, bool store, double *value);
mg_status mg_program_sweep(mg_program *program, bool store);

/* batches.c. Sets program->batches when the program has the shape for it. NULL is fine; fails only without memory. */
mg_status mg_batches_find(mg_program *program);
void mg_batches_free(mg_program *program);
/* Where a lane is: which statement of its position, which position, and which of the statement's lanes. False when the
   slot is no lane of the program's span statements. */
typedef struct {
    size_t batch, position, lane;
} mg_place;
bool mg_find_place(const mg_program *program, mg_slot slot, mg_place *found);
mg_slot mg_batch_header(const mg_program *program, size_t batch, size_t position);
/* Which of the first `count` batches has the row; NULL when none has. */
const mg_batch *mg_batch_of_row(const mg_batches *batches, size_t count, size_t row);
/* An array of n items, all bytes 0. */
void *mg_allot(mg_tape *tape, size_t n, size_t size);

/* fans.c. Which linears make a fan; false when they do not suit. Then the rows in every fan's order. */
bool mg_assign_fans(mg_batches *batches);
mg_status mg_order_fans(const mg_program *program);

/* trial.c. Leaves and lanes have their own numbers again after it. */
mg_status mg_hold_trial(mg_program *program, bool *agreed);

/* replay.c. Reads which leaves and targets are selected now; false when they do not suit the batches. */
bool mg_batches_select(mg_program *program);
/* Makes the tape's workspace ready for the program's batches, with numbers of `size` bytes, and the tape's leaves their
   leaves; false without memory. */
bool mg_batches_enter(const mg_program *program, size_t size, mg_replay *replay);
/* The result after forward. */
static inline double mg_batches_result(const mg_replay *replay) {
    const mg_batches *batches = replay->batches;
    return ((const double *)replay->value)[batches->batch[batches->count - 1].first * batches->padded];
}
/* Copies primals and partials, or adjoints, from the workspace to the tape. */
void mg_batches_store_values(const mg_program *program, const mg_replay *replay);
void mg_batches_store_adjoints(const mg_program *program, const mg_replay *replay);

#endif
