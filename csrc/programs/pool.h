/* pool.h: threads that share the parts of a piece of work. They are started once and sleep when there is none. */
#ifndef MG_POOL_H
#define MG_POOL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mg_pool mg_pool;

/* For `threads` >= 1 threads, the caller's among them; NULL where there is no memory. The others are started by the first run
   that has work for them; where that fails, the caller does all of it. */
mg_pool *mg_pool_new(size_t threads);
void mg_pool_free(mg_pool *pool); /* NULL is fine */
/* Calls work(context, part) once for each part below `parts` < UINT32_MAX, and returns when all have returned. One call at a time. In a
   process that was forked, threads are started anew. Without a pool the caller does it all. */
void mg_pool_run(mg_pool *pool, void (*work)(void *context, size_t part), void *context, size_t parts);

/* The caller's among them: 1 without a pool. */
size_t mg_pool_threads(const mg_pool *pool);

/* Of n things, the first of part `part` of `parts`, which are whole units but for the last; n for part number `parts`. */
static inline size_t mg_first_of_part(size_t n, size_t part, size_t parts, size_t unit) {
    return part == parts ? n : n * part / parts / unit * unit;
}

#endif
