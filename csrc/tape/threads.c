/* threads.c: which thread a tape belongs to.
 *
 * A tape is one thread's at a time. One that follows becomes the calling thread's with every call, once no other thread
 * is inside a call; and keeps for the thread that had it what that has not looked at yet: a status, and the statement
 * that it recorded last, which its host may not hold yet.
 */
#define _POSIX_C_SOURCE 200809L

#include "tape/threads.h"

#include "tape/tape.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

_Thread_local uint64_t mg_thread_key;

uint64_t mg_new_thread(void) {
    static _Atomic(uint64_t) threads;
    mg_thread_key = 4 * (atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1);
    return mg_thread_key;
}

bool mg_no_grad(bool on) {
    const uint64_t before = mg_this_thread();
    mg_thread_key = on ? before | MG_NO_GRAD : before & ~MG_NO_GRAD;
    return (before & MG_NO_GRAD) != 0;
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

/* They are kept by the thread, since the tape's own status is another's. */
static _Thread_local struct {
    uint64_t tape;
    mg_status status;
} refused;

static bool is_anothers(mg_status status) { return status == MG_WRONG_THREAD || status == MG_BUSY; }

bool mg_leave(mg_tape *tape, mg_status status) {
    if (is_anothers(status)) {
        refused.tape = tape->number;
        refused.status = status;
    } else if (status != MG_OK && tape->status == MG_OK) {
        tape->status = status;
    }
    return status == MG_OK;
}

static bool same_thread(uint64_t user, uint64_t key) { return ((user ^ key) & ~(MG_IN_CALL | MG_NO_GRAD)) == 0; }

mg_status mg_enter(mg_tape *tape) {
    if (!same_thread(atomic_load_explicit(&tape->user, memory_order_relaxed), mg_this_thread())) {
        return atomic_load_explicit(&tape->follows, memory_order_relaxed) ? MG_BUSY : MG_WRONG_THREAD;
    }
    return tape->closed ? MG_CLOSED : MG_OK;
}

bool mg_ready(mg_tape *tape) { return mg_leave(tape, mg_enter(tape)) && tape->status == MG_OK; }

/* ---- changing hands --------------------------------------------------------------------------------------------- */

/* Room for one more visitor. */
static bool reserve_visitor(mg_tape *tape) {
    const size_t more = tape->visitor_capacity ? 2 * tape->visitor_capacity : 8;
    return tape->visitor_count < tape->visitor_capacity ||
           mg_grow(tape, &tape->visitors, &tape->visitor_capacity, more, sizeof *tape->visitors);
}

/* Keeps what belongs to the thread that had the tape, and takes up what was kept for the one that has it now. */
static bool change_hands(mg_tape *tape, uint64_t before, uint64_t now) {
    const uint64_t ident = (uint64_t)(uintptr_t)pthread_self();
    if (!reserve_visitor(tape)) {
        return false;
    }
    const mg_visitor left = {before & ~(MG_IN_CALL | MG_NO_GRAD), tape->ident, tape->last, tape->status, tape->quiet};
    mg_visitor found = {0};
    for (size_t v = 0; v < tape->visitor_count;) {
        const mg_visitor *visitor = &tape->visitors[v];
        if (same_thread(visitor->thread, now)) {
            found = *visitor;
        }
        if (same_thread(visitor->thread, now) || visitor->ident == left.ident || visitor->ident == ident) {
            tape->visitors[v] = tape->visitors[--tape->visitor_count]; /* it is back, or has ended */
        } else {
            v++;
        }
    }
    tape->visitors[tape->visitor_count++] = left;
    tape->ident = ident;
    tape->last = found.last;
    tape->status = found.status;
    tape->quiet = found.quiet;
    return true;
}

/* The calling thread has just got hold of the tape, whose user was `before`. */
static bool hold(mg_tape *tape, uint64_t before, uint64_t self) {
    if (!same_thread(before, self) && !change_hands(tape, before, self)) {
        atomic_store_explicit(&tape->user, before, memory_order_release);
        return false;
    }
    tape->leaves_only = (self & MG_NO_GRAD) != 0;
    return true;
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

bool mg_take_over(mg_tape *tape, uint64_t patience) {
    const uint64_t self = mg_this_thread();
    const uint64_t begun = nanoseconds(), most = patience < UINT64_MAX / 100 ? 100 * patience : UINT64_MAX;
    uint64_t seen = 0, calls = 0, since = begun;
    for (unsigned round = 0;; round++) {
        uint64_t user = atomic_load_explicit(&tape->user, memory_order_relaxed);
        const bool mine = same_thread(user, self);
        if (mine ? (user & MG_IN_CALL) != 0 : !atomic_load_explicit(&tape->follows, memory_order_relaxed)) {
            return false; /* a call inside a call, or another thread's tape */
        }
        if (!(user & MG_IN_CALL)) {
            if (atomic_compare_exchange_strong_explicit(&tape->user, &user, self | MG_IN_CALL, memory_order_acquire,
                                                        memory_order_relaxed)) {
                return hold(tape, user, self);
            }
            continue;
        }
        const uint64_t now = nanoseconds(), ended = atomic_load_explicit(&tape->calls, memory_order_relaxed);
        if (user != seen || ended != calls) { /* another call: patience begins anew */
            seen = user;
            calls = ended;
            since = now;
        }
        if (now - since > patience || now - begun > most) {
            return false;
        }
        if (round < 64) {
            sched_yield();
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        }
    }
}

bool mg_tape_would_wait(mg_tape *tape) {
    const uint64_t user = atomic_load_explicit(&tape->user, memory_order_relaxed);
    return (user & MG_IN_CALL) != 0 && !same_thread(user, mg_this_thread());
}

mg_status mg_tape_adopt(mg_tape *tape) {
    const uint64_t self = mg_this_thread();
    uint64_t user = atomic_load_explicit(&tape->user, memory_order_relaxed);
    while (!(user & MG_IN_CALL)) {
        if (atomic_compare_exchange_weak_explicit(&tape->user, &user, self | MG_IN_CALL, memory_order_acquire,
                                                  memory_order_relaxed)) {
            const bool held = hold(tape, user, self);
            if (held) {
                atomic_store_explicit(&tape->user, self, memory_order_release);
            }
            return held ? MG_OK : MG_NO_MEMORY;
        }
    }
    return same_thread(user, self) ? MG_OK : MG_BUSY;
}

mg_status mg_tape_follow(mg_tape *tape, bool follows) {
    MG_INSIDE(tape);
    const mg_status status = mg_enter(tape);
    if (status == MG_OK) {
        atomic_store_explicit(&tape->follows, follows, memory_order_relaxed);
    }
    return status;
}

mg_status mg_tape_take_status(mg_tape *tape) {
    if (refused.tape == tape->number) {
        refused.tape = 0;
        return refused.status;
    }
    const bool begun = mg_begin_call(tape, UINT64_MAX); /* an error is worth waiting for */
    mg_status status = mg_enter(tape);
    if (!is_anothers(status)) {
        status = tape->status;
        tape->status = MG_OK;
    }
    mg_tape *inside = begun ? tape : NULL;
    mg_end_call(&inside);
    return status;
}
