/* marking.h: what a run of lanes was computed from. */
#ifndef MG_MARKING_H
#define MG_MARKING_H

#include "tape/tape.h"

/* A visitor of runs, with the tape as its context: marks the statements that a run is of, whole ones, with MG_VISITED, and
   puts those that have operands on tape->stack. */
bool mg_mark_run(void *tape, mg_slot first, size_t n);
/* Marks n slots in a row and all that they need, whole statements, with MG_VISITED; the caller takes the marks away.
   False without memory, with some marks left. */
bool mg_mark_needed(mg_tape *tape, mg_slot first, size_t n);

#endif
