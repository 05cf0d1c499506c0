/* kernels.c: which row of kernels this process uses. */
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

/* Is this a C library whose pow is known to keep the bound that exact.c needs? */
static bool pow_is_known(void) {
#ifdef __GLIBC__
    int major = atoi(gnu_get_libc_version());
    const char *dot = strchr(gnu_get_libc_version(), '.');
    return major > 2 || (major == 2 && dot != NULL && atoi(dot + 1) >= 28);
#else
    return false;
#endif
}

static mg_row choose(void) {
    mg_row rows[MG_ROW_COUNT] = {MG_PLAIN};
    size_t count = 1;
    if (pow_is_known()) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            rows[count++] = MG_AVX2;
        }
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
            rows[count++] = MG_AVX512;
        }
#elif defined(__aarch64__)
        rows[count++] = MG_NEON;
#endif
    }
    const char *wanted = getenv("MICROGPT_KERNELS");
    for (size_t r = 0; wanted != NULL && r < count; r++) {
        if (strcmp(mg_exact_kernels(rows[r])->name, wanted) == 0) {
            return rows[r];
        }
    }
    return rows[count - 1];
}

mg_row mg_row_chosen(void) {
    static _Atomic(int) chosen = -1;
    int row = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (row < 0) {
        row = (int)choose();
        atomic_store_explicit(&chosen, row, memory_order_relaxed);
    }
    return (mg_row)row;
}

const mg_kernels *mg_kernels_chosen(void) { return mg_exact_kernels(mg_row_chosen()); }

const char *mg_kernels_name(void) { return mg_kernels_chosen()->name; }
