/* sweep.h: the search for the order of a reverse sweep, and the sweep down it. */
#ifndef MG_SWEEP_H
#define MG_SWEEP_H

#include "tape/tape.h"

#define MG_RUN 0x80000000u /* in a word of the list: the lane's terms are the two words before */

/* Begin empties tape->order; each search appends what is found from one result, in the words that sweep.c describes, and
   passes over what an earlier search of the same list has found: MG_OVERWRITTEN where it comes to a sum of products, recorded
   before `since`, whose operands were written since it was computed. End takes away the marks, after a failure too. */
void mg_search_begin(mg_tape *tape);
mg_status mg_search(mg_tape *tape, mg_slot result, mg_mark since);
void mg_search_end(mg_tape *tape);
/* Adds to adjoints, from the end of a list to its beginning. */
void mg_go_down(mg_tape *tape, const uint32_t *item, size_t count);

#endif
