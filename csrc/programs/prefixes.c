/* prefixes.c: a tree of the beginnings of texts. */
#include "programs/prefixes.h"

#include <string.h>

#define TREE_BYTES ((size_t)32 << 20) /* that the tree may take; a prefix more or less */

void mg_prefixes_set_up(mg_prefixes *tree, mg_blocks *blocks, size_t weights, size_t kept) {
    const size_t size = weights + kept + (weights + 1) / 2;
    *tree = (mg_prefixes){.blocks = blocks, .weights = weights, .kept = kept, .size = size,
                          .most = TREE_BYTES / (size * sizeof(double))};
}

void mg_prefixes_forget(mg_prefixes *tree) {
    mg_drop(tree->blocks, tree->numbers);
    tree->numbers = NULL;
    tree->count = tree->room = 0;
}

/* By token; 0 is none, as the first node is nobody's child. */
static uint32_t *children_of(const mg_prefixes *tree, size_t node) {
    return (uint32_t *)(void *)(mg_prefix_kept(tree, node) + tree->kept);
}

size_t mg_prefixes_find(const mg_prefixes *tree, size_t parent, int32_t token) {
    const uint32_t child = parent == MG_NOWHERE ? 0 : children_of(tree, parent)[token];
    return child == 0 ? MG_NOWHERE : child;
}

static bool make_room(mg_prefixes *tree) {
    const size_t wanted = tree->room == 0 ? 64 : 8 * tree->room, room = wanted < tree->most ? wanted : tree->most;
    double *numbers = NULL;
    if (room > tree->room) {
        numbers = mg_resize(tree->blocks, tree->numbers, room * tree->size * sizeof *numbers);
    }
    if (numbers == NULL) {
        tree->most = tree->room;
        return false;
    }
    tree->numbers = numbers;
    tree->room = room;
    return true;
}

size_t mg_prefixes_add(mg_prefixes *tree, size_t parent, int32_t token, const double *weights) {
    if (tree->count == tree->room && !make_room(tree)) {
        return MG_NOWHERE;
    }
    const size_t node = tree->count++;
    memcpy(mg_prefix_weights(tree, node), weights, tree->weights * sizeof *weights);
    memset(children_of(tree, node), 0, tree->weights * sizeof(uint32_t));
    if (node > 0) {
        children_of(tree, parent)[token] = (uint32_t)node;
    }
    return node;
}
