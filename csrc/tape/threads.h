/* threads.h: which thread a tape belongs to, and what it keeps for the others that use it. */
#ifndef MG_THREADS_H
#define MG_THREADS_H

#include "microgpt.h"

#include <stdatomic.h>

/* A thread's key: four times a number that no other thread has or had, and MG_NO_GRAD while it computes without
   gradients. 0 until it is first asked for. */
extern _Thread_local uint64_t mg_thread_key __attribute__((visibility("hidden")));
uint64_t mg_new_thread(void);
static inline uint64_t mg_this_thread(void) { return mg_thread_key != 0 ? mg_thread_key : mg_new_thread(); }

#define MG_IN_CALL ((uint64_t)1) /* in a tape's `user`: its thread is inside a call */
#define MG_NO_GRAD ((uint64_t)2)

/* Slots in a row. */
typedef struct {
    uint32_t first;
    uint32_t n;
} mg_run;

/* What a tape keeps for a thread that had it before. */
typedef struct {
    uint64_t thread;  /* its key, without MG_NO_GRAD */
    uint64_t ident;   /* what pthread_self says there; another thread may have it when this one has ended */
    mg_run last;      /* what it recorded last, and may not have put anywhere yet */
    mg_status status; /* what a maker left for it */
    bool quiet;
} mg_visitor;

/* How long a call waits for another thread's on a tape that follows, in nanoseconds; a hundred times that in all
   where it finds one after the other. */
#define MG_PATIENCE ((uint64_t)100000000)
/* Makes a tape the calling thread's, inside a call, where it can be had; for mg_begin_call. */
bool mg_take_over(mg_tape *tape, uint64_t patience);

/* May this thread use the tape now? */
mg_status mg_enter(mg_tape *tape);
/* Keeps what a maker or a reader failed with, if it did, for mg_tape_take_status: in the tape, or for this thread alone where
   the tape is another's. Is it MG_OK? */
bool mg_leave(mg_tape *tape, mg_status status);

#endif
