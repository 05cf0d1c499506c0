/* sweep.c: the reverse sweep, in the order of a depth-first search from the result.
 *
 * The search lists every node after its operands, each once, operands in order; the sweep goes down that list. Both are
 * loops, so no depth of graph overflows the C stack.
 *
 * The list is a list of words. A scalar statement, or a lane of one term, is one word, its slot. A lane of many terms
 * is listed in runs of terms: its terms are listed one by one as their operands are done, and terms with nothing in
 * between join. A run is three words: begin, end, slot | MG_RUN.
 */
#include "tape/sweep.h"

#include "tape/operations.h"
#include "tape/statements.h"

/* Leaves need no visit, and neither has what is constant: there are no operands to add to. */
static bool unvisited(const mg_tape *tape, mg_slot slot) {
    uint8_t operation = tape->operation[slot];
    return operation > MG_CONSTANT && !(operation & MG_VISITED) &&
           (operation != MG_LANE || mg_code(tape, tape->operand[slot][0]) != MG_LARGEST);
}

/* Lists terms begin .. end - 1 of a lane, joined to the run on top of the list when that ends where this begins. */
static bool list_terms(mg_tape *tape, mg_slot slot, uint32_t begin, uint32_t end) {
    mg_list *order = &tape->order;
    if (order->count >= 3 && order->item[order->count - 1] == (slot | MG_RUN) &&
        order->item[order->count - 2] == begin) {
        order->item[order->count - 2] = end;
        return true;
    }
    size_t count = order->count;
    if (mg_list_push(tape, order, begin) && mg_list_push(tape, order, end) &&
        mg_list_push(tape, order, slot | MG_RUN)) {
        return true;
    }
    order->count = count;
    return false;
}

/* The stack holds two words a node: its slot, and how many of its operands have been visited. */
static bool enter(mg_tape *tape, mg_slot slot) {
    mg_list *stack = &tape->stack;
    if (!mg_list_push(tape, stack, slot)) {
        return false;
    }
    if (!mg_list_push(tape, stack, 0)) {
        stack->count--;
        return false;
    }
    tape->operation[slot] |= MG_VISITED;
    return true;
}

/* Goes on with a lane of a statement from `*cursor`: lists the terms that are done, and finds the next operand to visit.
   Sets `*next` and `*found`; without one the lane is done. */
static mg_status advance_lane(mg_tape *tape, mg_slot slot, mg_mark since, uint32_t *cursor, mg_slot *next,
                              bool *found) {
    const mg_slot header = tape->operand[slot][0], lane = tape->operand[slot][1];
    const mg_statement *statement = mg_statement_of(tape, header);
    const size_t width = statement->factors, terms = statement->terms, end = width * terms;
    const bool whole = terms == 1 || mg_code(tape, header) == MG_CUSTOM;
    *found = false;
    if (*cursor == 0) {
        const bool first = !(tape->operation[header] & MG_VISITED);
        if (first) {
            if (mg_id_of(tape, header) < since && mg_overwritten(tape, header)) {
                return MG_OVERWRITTEN;
            }
            tape->operation[header] |= MG_VISITED;
            if (!whole && mg_first_visits_all(tape, header)) {
                tape->operation[header + 1] |= MG_VISITED; /* a slot of the payload: so much for the other lanes */
            }
        } else if (tape->operation[header + 1] & MG_VISITED) {
            return list_terms(tape, slot, 0, (uint32_t)terms) ? MG_OK : MG_NO_MEMORY;
        }
    }
    for (size_t c = *cursor; c < end; c++) {
        mg_slot operand = mg_operand_visited(tape, header, lane, c);
        if (unvisited(tape, operand)) {
            *cursor = (uint32_t)c;
            *next = operand;
            *found = true;
            return MG_OK;
        }
        if (!whole && (c + 1) % width == 0 &&
            !list_terms(tape, slot, (uint32_t)(c / width), (uint32_t)(c / width + 1))) {
            *cursor = (uint32_t)c;
            return MG_NO_MEMORY;
        }
    }
    if (whole && !mg_list_push(tape, &tape->order, slot)) {
        return MG_NO_MEMORY;
    }
    return MG_OK;
}

void mg_search_begin(mg_tape *tape) { tape->order.count = tape->stack.count = 0; }

mg_status mg_search(mg_tape *tape, mg_slot result, mg_mark since) {
    mg_list *stack = &tape->stack;
    if (unvisited(tape, result) && !enter(tape, result)) {
        return MG_NO_MEMORY;
    }
    while (stack->count > 0) {
        mg_slot slot = stack->item[stack->count - 2], next = 0;
        uint32_t *cursor = &stack->item[stack->count - 1];
        bool found = false;
        if (mg_code(tape, slot) == MG_LANE) {
            mg_status status = advance_lane(tape, slot, since, cursor, &next, &found);
            if (status != MG_OK) {
                return status;
            }
        } else {
            uint32_t arity = mg_scalar_arity[mg_code(tape, slot)];
            while (!found && *cursor < arity) {
                next = tape->operand[slot][(*cursor)++];
                found = unvisited(tape, next);
            }
            if (!found && !mg_list_push(tape, &tape->order, slot)) {
                return MG_NO_MEMORY;
            }
        }
        if (!found) {
            stack->count -= 2;
        } else if (!enter(tape, next)) {
            return MG_NO_MEMORY;
        }
    }
    return MG_OK;
}

static void unmark(mg_tape *tape, mg_slot slot) {
    bool lane = mg_code(tape, slot) == MG_LANE;
    tape->operation[slot] &= (uint8_t)~MG_VISITED;
    if (lane) {
        tape->operation[tape->operand[slot][0]] &= (uint8_t)~MG_VISITED;
        tape->operation[tape->operand[slot][0] + 1] &= (uint8_t)~MG_VISITED;
    }
}

/* A scalar statement in the list has one operand or two: leaves are not listed. */
void mg_go_down(mg_tape *tape, const uint32_t *item, size_t count) {
    for (size_t i = count; i-- > 0;) {
        mg_slot slot = item[i] & ~MG_RUN;
        double g = tape->adjoint[slot];
        if (item[i] & MG_RUN) {
            i -= 2;
            mg_reverse_terms(tape, tape->operand[slot][0], tape->operand[slot][1], g, item[i], item[i + 1]);
        } else if (mg_code(tape, slot) == MG_LANE) {
            mg_reverse_terms(tape, tape->operand[slot][0], tape->operand[slot][1], g, 0, 1);
        } else {
            tape->adjoint[tape->operand[slot][0]] += tape->partial[slot][0] * g;
            if (mg_scalar_arity[mg_code(tape, slot)] == 2) {
                tape->adjoint[tape->operand[slot][1]] += tape->partial[slot][1] * g;
            }
        }
    }
}

void mg_search_end(mg_tape *tape) {
    for (size_t i = tape->order.count; i-- > 0;) {
        mg_slot slot = tape->order.item[i] & ~MG_RUN;
        i -= tape->order.item[i] & MG_RUN ? 2 : 0;
        unmark(tape, slot);
    }
    for (size_t i = 0; i < tape->stack.count; i += 2) {
        unmark(tape, tape->stack.item[i]);
    }
}

mg_status mg_sweep(mg_tape *tape, mg_id result) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, result, 1, &slot));
    mg_search_begin(tape);
    const mg_status status = mg_search(tape, slot, MG_NONE);
    mg_search_end(tape);
    if (status == MG_OK) {
        tape->adjoint[slot] = 1;
        mg_go_down(tape, tape->order.item, tape->order.count);
    }
    return status;
}
