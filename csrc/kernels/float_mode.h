/* float_mode.h: what the processor does with numbers below the normal ones.
 *
 * Some processors take a hundred times as long for an operation on such a number as for any other. The fast mode counts
 * them as 0, in operands and results, but only inside its own calls: the mode belongs to the thread, which is the host's.
 * Every call that changes it puts it back, its flags included. On processors that are not named here nothing changes.
 */
#ifndef MG_FLOAT_MODE_H
#define MG_FLOAT_MODE_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

typedef uint64_t mg_float_mode;

/* The mode as it is, for mg_restore_float_mode; from here on numbers below the normal ones are 0, where `flush`. */
static inline mg_float_mode mg_flush_subnormals(bool flush) {
#if defined(__x86_64__)
    const unsigned now = _mm_getcsr();
    if (flush) {
        _mm_setcsr(now | 0x8040u); /* flush to zero, denormals are zero */
    }
    return now;
#elif defined(__aarch64__)
    mg_float_mode now;
    __asm__ volatile("mrs %0, fpcr" : "=r"(now)::"memory");
    if (flush) {
        __asm__ volatile("msr fpcr, %0" ::"r"(now | (mg_float_mode)1 << 24) : "memory");
    }
    return now;
#else
    return flush;
#endif
}

static inline void mg_restore_float_mode(mg_float_mode mode) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"(mode) : "memory");
#else
    (void)mode;
#endif
}

#endif
