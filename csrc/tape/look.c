/* look.c: looks into statements, for drawing and tests. */
#include "tape/rules.h"
#include "tape/statements.h"

#include <math.h>

int32_t mg_lane_operation(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    if (!mg_find_for_reading(tape, lane, &slot)) {
        return -1;
    }
    return mg_code(tape, slot) == MG_LANE ? mg_code(tape, tape->operand[slot][0]) : mg_code(tape, slot);
}

double mg_lane_constant(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    if (!mg_find_for_reading(tape, lane, &slot) || mg_code(tape, slot) == MG_LANE) {
        return NAN;
    }
    return mg_table[mg_code(tape, slot)].constant ? tape->partial[slot][1] : NAN;
}

static size_t operand_count(const mg_tape *tape, mg_slot slot) {
    if (mg_code(tape, slot) == MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, tape->operand[slot][0]);
        return (size_t)statement->factors * statement->terms;
    }
    return mg_scalar_arity[mg_code(tape, slot)];
}

size_t mg_lane_operand_count(mg_tape *tape, mg_id lane) {
    MG_INSIDE(tape);
    mg_slot slot;
    return mg_find_for_reading(tape, lane, &slot) ? operand_count(tape, slot) : 0;
}

mg_status mg_lane_operands(mg_tape *tape, mg_id lane, mg_id *operands, double *partials) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, lane, 1, &slot));
    size_t count = operand_count(tape, slot);
    for (size_t k = 0; k < count; k++) {
        if (mg_code(tape, slot) == MG_LANE) {
            const mg_slot header = tape->operand[slot][0], number = tape->operand[slot][1];
            operands[k] = mg_id_of(tape, mg_operand_visited(tape, header, number, k));
            partials[k] = mg_partial_visited(tape, header, number, k);
        } else {
            operands[k] = mg_id_of(tape, tape->operand[slot][k]);
            partials[k] = tape->partial[slot][k];
        }
    }
    return MG_OK;
}

mg_status mg_lane_statement(mg_tape *tape, mg_id lane, mg_shape *out) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, lane, 1, &slot));
    *out = mg_shape_of(tape, mg_head(tape, slot));
    return MG_OK;
}

mg_status mg_lane_view(mg_tape *tape, mg_id lane, size_t factor, mg_view *out, mg_id *list, size_t room) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, lane, 1, &slot));
    const mg_slot head = mg_head(tape, slot);
    if (mg_code(tape, head) <= MG_LANE || factor >= mg_statement_of(tape, head)->factors) {
        return MG_SHAPE;
    }
    const mg_operands *x = &mg_statement_of(tape, head)->operand[factor];
    const bool listed = x->listing != MG_STRIDED;
    *out = (mg_view){.first = listed ? MG_NONE : mg_id_of(tape, x->base),
                     .group = x->group,
                     .lane = x->lane,
                     .term = x->term,
                     .entries = listed ? x->entries : 0,
                     .block = x->block,
                     .by_term = x->listing == MG_BY_TERM};
    for (size_t e = 0; e < out->entries && e < room; e++) {
        list[e] = mg_id_of(tape, mg_list_of(tape, head, x)[e]);
    }
    return MG_OK;
}
