/* prefixes.h: texts begin alike: a tree of their beginnings, with what was computed for each, as far as its memory
 * reaches. Where there is no more room it does without.
 */
#ifndef MG_PREFIXES_H
#define MG_PREFIXES_H

#include "programs/memory.h"

/* Node 0 is the beginning that all texts share. A node has its weights, then numbers that are kept, then its children. */
typedef struct {
    mg_blocks *blocks;
    size_t weights, kept, size; /* numbers of a node, and of all of it */
    size_t count, room, most;   /* nodes */
    double *numbers;
} mg_prefixes;

void mg_prefixes_set_up(mg_prefixes *tree, mg_blocks *blocks, size_t weights, size_t kept);
/* Forgets all of them. */
void mg_prefixes_forget(mg_prefixes *tree);
/* The node of a prefix and one more token, or MG_NOWHERE. */
size_t mg_prefixes_find(const mg_prefixes *tree, size_t parent, int32_t token);
/* Makes it, or the first node; MG_NOWHERE where there is no room. */
size_t mg_prefixes_add(mg_prefixes *tree, size_t parent, int32_t token, const double *weights);

static inline double *mg_prefix_weights(const mg_prefixes *tree, size_t node) {
    return tree->numbers + node * tree->size;
}
static inline double *mg_prefix_kept(const mg_prefixes *tree, size_t node) {
    return mg_prefix_weights(tree, node) + tree->weights;
}

#endif
