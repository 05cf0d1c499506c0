/* memory.c: blocks of memory that belong together, each behind a header that joins it to the others. */
#include "programs/memory.h"

#include <stdalign.h>
#include <string.h>

struct mg_block {
    alignas(max_align_t) mg_block *before;
    mg_block *after;
    size_t bytes;
};

/* The header of what a caller has. */
static mg_block *header_of(void *block) { return block == NULL ? NULL : (mg_block *)block - 1; }

/* Lets the neighbours of a header know where it is, or what stands there now. */
static void join(mg_blocks *blocks, mg_block *before, mg_block *after, mg_block *left, mg_block *right) {
    if (before != NULL) {
        before->after = right;
    }
    if (after != NULL) {
        after->before = left;
    } else {
        blocks->last = left;
    }
}

/* Puts a new block, if there is one, behind the others. */
static void *put(mg_blocks *blocks, mg_block *block, size_t bytes) {
    if (block == NULL) {
        blocks->failed = true;
        return NULL;
    }
    *block = (mg_block){.before = blocks->last, .bytes = bytes};
    join(blocks, block->before, NULL, block, block);
    return block + 1;
}

static bool too_many(size_t bytes) { return bytes > SIZE_MAX - sizeof(mg_block); }

void *mg_resize(mg_blocks *blocks, void *block, size_t bytes) {
    mg_block *old = header_of(block);
    const size_t room = old == NULL ? 0 : sizeof *old + old->bytes;
    mg_block *moved = too_many(bytes) ? NULL : mg_reallocate(blocks->tape, old, room, sizeof *old + bytes);
    if (moved == NULL || old == NULL) {
        return put(blocks, moved, bytes);
    }
    moved->bytes = bytes;
    join(blocks, moved->before, moved->after, moved, moved);
    return moved + 1;
}

void mg_drop(mg_blocks *blocks, void *block) {
    if (block != NULL) {
        mg_block *header = header_of(block);
        join(blocks, header->before, header->after, header->before, header->after);
        mg_reallocate(blocks->tape, header, sizeof *header + header->bytes, 0);
    }
}

size_t mg_bytes(void *block) { return block == NULL ? 0 : header_of(block)->bytes; }

void *mg_fit(mg_blocks *blocks, void *block, size_t bytes) {
    if (block != NULL && mg_bytes(block) >= bytes) {
        return block;
    }
    mg_drop(blocks, block);
    return mg_resize(blocks, NULL, bytes);
}

void *mg_allot(mg_blocks *blocks, size_t n, size_t size) {
    const size_t bytes = n > SIZE_MAX / size ? SIZE_MAX : n * size;
    return put(blocks, too_many(bytes) ? NULL : mg_allocate_zeros(blocks->tape, sizeof(mg_block) + bytes), bytes);
}

bool mg_push(mg_blocks *blocks, void *array, size_t *count, const void *item, size_t size) {
    void *block;
    memcpy(&block, array, sizeof block); /* a pointer to items of whatever type */
    if (block == NULL || *count * size == header_of(block)->bytes) {
        block = mg_resize(blocks, block, (*count == 0 ? 8 : 2 * *count) * size);
        if (block == NULL) {
            return false;
        }
        memcpy(array, &block, sizeof block);
    }
    memcpy((char *)block + (*count)++ * size, item, size);
    return true;
}

void mg_free_blocks(mg_blocks blocks) {
    while (blocks.last != NULL) {
        mg_drop(&blocks, blocks.last + 1);
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
