/* batch.c: documents side by side.
 *
 * A call computes a wave of documents in two turns. First each group of documents, in a workspace of its own: forward and
 * reverse, up to the adjoints of all rows. Then the leaves: a thread takes some of them, and adds to those what document
 * after document gives, in order. So no document's gradients are ever stored, and no addition depends on who does it.
 *
 * Documents are sorted by length and dealt in chunks, so that lanes of a chunk end at about the same position.
 */
#include "programs/batch.h"

#include <math.h>
#include <string.h>

#define GROUP_BYTES ((size_t)1 << 21) /* about as much as a group of several chunks may need: a cache */
#define CHUNK_BYTES ((size_t)8 << 20) /* as a chunk may need; more, and documents are computed one by one */

mg_batch *mg_batch_new(mg_program *program, const mg_kernels *kernels) {
    mg_batch *batch = mg_new_owner(program->tape, sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->program = program;
    batch->kernels = kernels;
    batch->workspace = mg_allot(&batch->blocks, MG_WAVE, sizeof *batch->workspace);
    batch->replay = mg_allot(&batch->blocks, MG_WAVE, sizeof *batch->replay);
    batch->one = mg_allot(&batch->blocks, mg_plan_leaves(program->plan), kernels->size);
    if (batch->blocks.failed) {
        mg_batch_free(batch);
        return NULL;
    }
    return batch;
}

void mg_batch_free(mg_batch *batch) {
    if (batch == NULL) {
        return;
    }
    for (size_t g = 0; batch->workspace != NULL && g < MG_WAVE; g++) {
        mg_free_blocks(batch->workspace[g].blocks);
    }
    mg_free_blocks(batch->blocks);
}

/* ---- groups ----------------------------------------------------------------------------------------------------- */

/* Longest first; of two of a length the earlier. */
static void sort_documents(mg_batch *batch, const mg_document *documents, size_t count) {
    for (size_t n = 0; n < count; n++) {
        size_t at = n;
        for (; at > 0 && documents[batch->order[at - 1]].positions < documents[n].positions; at--) {
            batch->order[at] = batch->order[at - 1];
        }
        batch->order[at] = n;
    }
}

/* How many groups the sorted documents go to; 0 where each is to be computed by itself. */
static size_t groups_for(const mg_batch *batch, const mg_document *documents, size_t count) {
    if (count == 1) {
        return 0;
    }
    const mg_plan *plan = batch->program->plan;
    const size_t chunks = mg_padded(count) / MG_CHUNK, longest = documents[batch->order[0]].positions;
    const size_t bytes = mg_workspace_bytes(plan, longest, batch->kernels->size) * MG_CHUNK;
    /* Multiplications. A step costs a document by itself as much as some columns do; of documents side by side, sums over
       positions take the longest of each chunk for all. */
    double together = 0, apart = 0;
    for (size_t n = 0; n < count; n++) {
        const size_t positions = documents[batch->order[n]].positions;
        const double pairs = (double)positions * (double)positions / 2 * plan->pair_work;
        together += (double)positions * plan->column_work + (n % MG_CHUNK == 0 ? pairs * MG_CHUNK : 0);
        apart += (double)(mg_padded(positions) + MG_CHUNK / 2) * plan->column_work + pairs;
    }
    if (together > apart || bytes > CHUNK_BYTES) {
        return 0;
    }
    const size_t each = bytes > GROUP_BYTES ? 1 : GROUP_BYTES / bytes; /* chunks in a group */
    const size_t groups = (chunks + each - 1) / each, least = batch->threads < chunks ? batch->threads : chunks;
    return groups > least ? groups : least;
}

/* Group `number` of `groups` gets chunk number, number + groups, ... of the sorted documents. False without memory. */
static bool enter_group(mg_batch *batch, const mg_document *documents, size_t count, size_t number, size_t groups,
                        size_t chunk) {
    const mg_plan *plan = batch->program->plan;
    mg_replay *replay = &batch->replay[number];
    size_t length[MG_WAVE] = {0}, document[MG_WAVE] = {0}, texts = 0;
    for (size_t from = number * chunk; from < count; from += groups * chunk) {
        for (size_t n = from; n < from + chunk && n < count; n++) {
            document[texts] = batch->order[n];
            length[texts] = documents[batch->order[n]].positions;
            batch->text[batch->order[n]] = (mg_text){replay, texts};
            texts++;
        }
    }
    if (!mg_workspace_enter(batch->blocks.tape, plan, &batch->workspace[number], length, texts, batch->kernels->size, replay)) {
        return false;
    }
    for (size_t d = 0; d < texts; d++) {
        mg_replay_select(replay, d, documents[document[d]].tokens);
    }
    return true;
}

static void compute_group(void *context, size_t number) {
    mg_batch *batch = context;
    const mg_replay *replay = &batch->replay[number];
    const mg_float_mode mode = mg_enter_mode(batch->kernels);
    batch->ordinary[number] =
        batch->kernels->forward(replay) && (!batch->reverse || batch->kernels->reverse(replay));
    mg_restore_float_mode(mode);
}

static void add_part(void *context, size_t part) {
    mg_batch *batch = context;
    const mg_float_mode mode = mg_enter_mode(batch->kernels);
    batch->kernels->add_to_leaves(batch->text + batch->first, batch->count, part, batch->threads,
                                  batch->alone ? NULL : batch->one);
    mg_restore_float_mode(mode);
}

bool mg_batch_reach(mg_batch *batch, mg_pool *pool, const mg_document *documents, size_t count, bool reverse,
                    const mg_leaf_numbers *leaves, double *losses) {
    batch->threads = mg_pool_threads(pool);
    batch->groups = 0;
    sort_documents(batch, documents, count);
    const size_t together = groups_for(batch, documents, count);
    const size_t groups = together == 0 ? count : together;
    bool ordinary = true;
    for (size_t g = 0; ordinary && g < groups; g++) {
        ordinary = enter_group(batch, documents, count, g, groups, together == 0 ? 1 : MG_CHUNK);
        batch->replay[g].leaf_value = leaves->value;
        batch->replay[g].leaf_adjoint = leaves->adjoint;
        batch->replay[g].lowest = leaves->lowest;
        batch->replay[g].pool = groups == 1 ? pool : NULL; /* who else computes a group shares no other */
    }
    if (!ordinary) {
        return false;
    }
    batch->groups = groups;
    batch->reverse = reverse;
    mg_pool_run(pool, compute_group, batch, groups);
    for (size_t g = 0; g < groups; g++) {
        ordinary = ordinary && batch->ordinary[g];
    }
    for (size_t d = 0; ordinary && d < count; d++) {
        losses[d] = mg_replay_loss(batch->text[d].replay, batch->text[d].text, batch->kernels->size);
        ordinary = isfinite(losses[d]);
    }
    return ordinary;
}

void mg_batch_add(mg_batch *batch, mg_pool *pool, size_t first, size_t count, bool alone) {
    batch->first = first;
    batch->count = count;
    batch->alone = alone;
    mg_pool_run(pool, add_part, batch, batch->threads);
}
