/* memory.h: blocks of memory that belong together, and go at once. */
#ifndef MG_MEMORY_H
#define MG_MEMORY_H

#include "tape/tape.h"

#define MG_NOWHERE ((size_t)-1) /* of things that are told by their numbers: none */

typedef struct mg_block mg_block;
typedef struct {
    mg_tape *tape;
    mg_block *last;
    bool failed; /* some allocation did, and gave NULL: asked once, after many */
} mg_blocks;

/* n items of `size` bytes, all 0. All blocks begin at a multiple of MG_ALIGNMENT. */
void *mg_allot(mg_blocks *blocks, size_t n, size_t size);
/* Puts an item at the end of a growing array of `count`; false without memory. What it had outgrown goes with the others. */
#define MG_PUSH(blocks, array, count, ...) \
    mg_push(blocks, &(array), &(count), 1 ? &(__VA_ARGS__) : (array), sizeof *(array))
bool mg_push(mg_blocks *blocks, void *array, size_t *count, const void *item, size_t size);
/* The block, or none, if it has so many bytes; otherwise another in its place, and what it held is lost. */
void *mg_fit(mg_blocks *blocks, void *block, size_t bytes);
size_t mg_bytes(const void *block); /* 0 of NULL */
void mg_free_blocks(mg_blocks blocks); /* all of them */
/* An object of `size` bytes, all 0, that begins with its blocks, and is the first of them. NULL without memory. */
void *mg_new_owner(mg_tape *tape, size_t size);

#endif
