/* memory.c: blocks of memory that belong together, each behind a header that joins it to the one before. */
#include "programs/memory.h"

#include <stdalign.h>
#include <string.h>

struct mg_block {
    alignas(max_align_t) mg_block *before;
    char *allocated; /* with it: what is behind it is aligned */
    size_t bytes;
};

#define MOST (SIZE_MAX - BEFORE) /* bytes of a block */
#define BEFORE (sizeof(mg_block) + MG_ALIGNMENT)

/* Puts a new block, if there is one, behind the others. */
static void *put(mg_blocks *blocks, char *allocated, size_t bytes) {
    if (allocated == NULL) {
        blocks->failed = true;
        return NULL;
    }
    char *start = allocated + BEFORE;
    start -= (uintptr_t)start % MG_ALIGNMENT;
    mg_block *block = (mg_block *)(void *)start - 1;
    *block = (mg_block){blocks->last, allocated, bytes};
    blocks->last = block;
    return start;
}

/* One that holds anything. */
static void *put_any(mg_blocks *blocks, size_t bytes) {
    return put(blocks, bytes <= MOST ? mg_reallocate(blocks->tape, NULL, 0, BEFORE + bytes) : NULL, bytes);
}

/* Frees a block, and lets what refers to it refer to the one before it. */
static void drop(mg_tape *tape, mg_block **block) {
    mg_block *gone = *block;
    *block = gone->before;
    mg_reallocate(tape, gone->allocated, BEFORE + gone->bytes, 0);
}

void *mg_allot(mg_blocks *blocks, size_t n, size_t size) {
    return put(blocks, n <= MOST / size ? mg_allocate_zeros(blocks->tape, BEFORE + n * size) : NULL, n * size);
}

size_t mg_bytes(const void *block) { return block == NULL ? 0 : ((const mg_block *)block - 1)->bytes; }

void *mg_fit(mg_blocks *blocks, void *block, size_t bytes) {
    if (mg_bytes(block) >= bytes) {
        return block;
    }
    for (mg_block **at = &blocks->last; *at != NULL; at = &(*at)->before) {
        if (*at + 1 == block) {
            drop(blocks->tape, at);
            break;
        }
    }
    return put_any(blocks, bytes);
}

bool mg_push(mg_blocks *blocks, void *array, size_t *count, const void *item, size_t size) {
    char *items;
    memcpy(&items, array, sizeof items); /* a pointer to items of whatever type */
    if (*count * size == mg_bytes(items)) {
        char *grown = put_any(blocks, (*count == 0 ? 8 : 2 * *count) * size);
        if (grown == NULL) {
            return false;
        }
        if (items != NULL) {
            memcpy(grown, items, *count * size);
        }
        memcpy(array, &grown, sizeof grown);
        items = grown;
    }
    memcpy(items + (*count)++ * size, item, size);
    return true;
}

void mg_free_blocks(mg_blocks blocks) {
    while (blocks.last != NULL) {
        drop(blocks.tape, &blocks.last);
    }
}

void *mg_new_owner(mg_tape *tape, size_t size) {
    mg_blocks blocks = {.tape = tape};
    void *owner = mg_allot(&blocks, 1, size);
    if (owner != NULL) {
        memcpy(owner, &blocks, sizeof blocks);
    }
    return owner;
}
