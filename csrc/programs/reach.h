/* reach.h: numbers by slot, for the slots that a program reaches. They take the room of its pages, however long the tape is.
 */
#ifndef MG_REACH_H
#define MG_REACH_H

#include "programs/program.h"

/* An array of `slots` numbers has that of a slot at mg_reached_at. The first MG_PAGE of them are of all slots that the
   program does not reach. */
typedef struct {
    uint32_t *page; /* [page_count of the tape]: which page of the array a page's slots have */
    size_t slots;
    uint32_t *statement; /* [slots]: which statement of the program holds a slot, if one does */
} mg_reached;

/* What the statements of a program are, read, and may be given by inputs. The blocks have failed without memory. */
mg_reached mg_find_reached(const mg_program *program, mg_blocks *blocks);

static inline size_t mg_reached_at(const mg_reached *reached, mg_slot slot) {
    return (size_t)reached->page[slot / MG_PAGE] * MG_PAGE + slot % MG_PAGE;
}

#endif
