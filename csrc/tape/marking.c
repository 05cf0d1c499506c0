/* marking.c: marks what a run of lanes was computed from, for collection and for programs. A statement is needed as a
 * whole, or not at all.
 */
#include "tape/marking.h"

#include "tape/statements.h"

bool mg_mark_run(void *context, mg_slot first, size_t n) {
    mg_tape *tape = context;
    for (mg_slot s = first; s < first + n;) {
        const uint8_t code = mg_code(tape, s);
        if (tape->operation[s] & MG_VISITED || code == MG_PAYLOAD) {
            s++;
            continue;
        }
        if (mg_is_leaf(code)) {
            tape->operation[s++] |= MG_VISITED;
            continue;
        }
        const mg_slot head = mg_head(tape, s), end = mg_end(tape, head);
        if (!mg_list_push(tape, &tape->stack, head)) {
            return false;
        }
        for (mg_slot k = head; k < end; k++) {
            tape->operation[k] |= MG_VISITED;
        }
        s = end;
    }
    return true;
}

bool mg_mark_needed(mg_tape *tape, mg_slot first, size_t n) {
    tape->stack.count = 0;
    bool marked = mg_mark_run(tape, first, n);
    while (marked && tape->stack.count > 0) {
        marked = mg_each_run(tape, tape->stack.item[--tape->stack.count], mg_mark_run, tape);
    }
    return marked;
}
