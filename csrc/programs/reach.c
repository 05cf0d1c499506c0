/* reach.c: which pages of the tape a program reaches. */
#include "programs/reach.h"

#include "tape/statements.h"

static bool reach(void *context, mg_slot first, size_t n) {
    mg_reached *reached = context;
    for (size_t p = first / MG_PAGE; p * MG_PAGE < first + n; p++) {
        if (reached->page[p] == 0) {
            reached->page[p] = (uint32_t)(reached->slots / MG_PAGE);
            reached->slots += MG_PAGE;
        }
    }
    return true;
}

mg_reached mg_find_reached(const mg_program *program, mg_blocks *blocks) {
    const mg_tape *tape = program->tape;
    const size_t count = program->statements.count;
    const mg_slot *head = program->statements.item, *end = program->ends.item;
    mg_reached reached = {.slots = MG_PAGE};
    reached.page = mg_allot(blocks, tape->page_count, sizeof *reached.page);
    for (size_t k = 0; reached.page != NULL && k < count; k++) {
        reach(&reached, head[k], end[k] - head[k]);
        mg_each_run(tape, head[k], reach, &reached);
    }
    for (size_t b = 0; reached.page != NULL && b < program->binding_count; b++) {
        reach(&reached, program->bindings[b].table, program->bindings[b].lanes);
    }
    reached.statement = mg_allot(blocks, reached.slots, sizeof *reached.statement);
    for (size_t k = 0; !blocks->failed && k < count; k++) {
        for (mg_slot s = head[k]; s < end[k]; s++) {
            reached.statement[mg_reached_at(&reached, s)] = (uint32_t)k;
        }
    }
    return reached;
}
