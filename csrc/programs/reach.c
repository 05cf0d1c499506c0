/* reach.c: which pages of the tape a program reaches. */
#include "programs/reach.h"

#include "tape/statements.h"

mg_reached mg_reached_nothing(mg_blocks *blocks) {
    mg_reached reached = {.slots = MG_PAGE};
    reached.page = mg_allot(blocks, blocks->tape->page_count, sizeof *reached.page);
    return reached;
}

void mg_reach_slots(mg_reached *reached, mg_slot first, size_t n) {
    for (size_t p = first / MG_PAGE; p * MG_PAGE < first + n; p++) {
        if (reached->page[p] == 0) {
            reached->page[p] = (uint32_t)(reached->slots / MG_PAGE);
            reached->slots += MG_PAGE;
        }
    }
}

static bool reach_run(void *context, mg_slot first, size_t n) {
    mg_reach_slots(context, first, n);
    return true;
}

mg_reached mg_find_reached(const mg_program *program, mg_blocks *blocks) {
    const mg_tape *tape = program->tape;
    mg_reached reached = mg_reached_nothing(blocks);
    for (size_t k = 0; reached.page != NULL && k < program->statements.count; k++) {
        const mg_slot head = program->statements.item[k];
        mg_reach_slots(&reached, head, program->ends.item[k] - head);
        mg_each_run(tape, head, reach_run, &reached);
    }
    for (size_t b = 0; reached.page != NULL && b < program->binding_count; b++) {
        mg_reach_slots(&reached, program->bindings[b].table, program->bindings[b].lanes);
    }
    return reached;
}
