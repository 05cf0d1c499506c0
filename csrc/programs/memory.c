/* memory.c: blocks of memory that belong together, each behind a header that joins it to the one before. */
#include "programs/memory.h"

#include <stdalign.h>
#include <string.h>

struct mg_block {
    alignas(max_align_t) mg_block *before;
    size_t bytes;
};

/* Puts a new block, if there is one, behind the others. */
static void *put(mg_blocks *blocks, mg_block *block, size_t bytes) {
    if (block == NULL) {
        blocks->failed = true;
        return NULL;
    }
    *block = (mg_block){blocks->last, bytes};
    blocks->last = block;
    return block + 1;
}

/* One that holds anything. */
static void *put_any(mg_blocks *blocks, size_t bytes) {
    const bool fits = bytes <= SIZE_MAX - sizeof(mg_block);
    return put(blocks, fits ? mg_reallocate(blocks->tape, NULL, 0, sizeof(mg_block) + bytes) : NULL, bytes);
}

/* Frees a block, and lets what refers to it refer to the one before it. */
static void drop(mg_tape *tape, mg_block **block) {
    mg_block *gone = *block;
    *block = gone->before;
    mg_reallocate(tape, gone, sizeof *gone + gone->bytes, 0);
}

void *mg_allot(mg_blocks *blocks, size_t n, size_t size) {
    const bool fits = n <= (SIZE_MAX - sizeof(mg_block)) / size;
    return put(blocks, fits ? mg_allocate_zeros(blocks->tape, sizeof(mg_block) + n * size) : NULL, n * size);
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
