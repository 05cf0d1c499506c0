/* makers.c: recording statements of many lanes.
 *
 * It refuses sizes that do not fit and operands that are not on the tape. A maker that fails takes no slot.
 */
#include "tape/operations.h"
#include "tape/statements.h"

#include <string.h>

mg_id mg_leaves(mg_tape *tape, const double *values, size_t n) {
    MG_INSIDE(tape);
    mg_slot from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (n == 0) {
        return mg_fail(tape, MG_SHAPE);
    }
    if (!mg_reserve(tape, n, &from)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    memset(tape->operation + from, MG_LEAF, n);
    memset(tape->adjoint + from, 0, n * sizeof *tape->adjoint);
    memset(tape->partial + from, 0, n * sizeof *tape->partial);
    memcpy(tape->value + from, values, n * sizeof *values);
    mg_take(tape, from, n);
    return mg_id_of(tape, from);
}

/* ---- views ------------------------------------------------------------------------------------------------------ */

/* The sizes of a statement that is being made. */
typedef struct {
    size_t groups, width, terms;
} extent;

static bool too_large(size_t a, size_t b) { return a == 0 || b == 0 || a > MG_MAX_SLOTS / b; }

/* The number of entries in a view's list, or 0. */
static size_t entries_of(const mg_view *view) { return view->list == NULL ? 0 : view->entries; }

/* Lanes from the first that strides give to the last. */
static size_t span_of(const mg_view *view, extent size) {
    return (size.groups - 1) * view->group + (size.width - 1) * view->lane + (size.terms - 1) * view->term + 1;
}

/* Is everything that the view gives on the tape? Sets the slot of its first lane where it has no list. */
static mg_status check_view(const mg_tape *tape, const mg_view *view, extent size, mg_slot *base) {
    size_t *inner = view->by_term ? &size.terms : &size.width; /* what a list goes on by */
    const size_t listed = *inner, block = view->list == NULL ? 1 : view->block;
    if (view->group > MG_MAX_SLOTS || view->lane > MG_MAX_SLOTS || view->term > MG_MAX_SLOTS || block == 0 ||
        (view->list != NULL && (view->entries != (listed - 1) / block + 1 || block > MG_MAX_SLOTS))) {
        return MG_SHAPE;
    }
    if (view->list == NULL) {
        return mg_find_lanes(tape, view->first, span_of(view, size), base);
    }
    for (size_t e = 0; e < view->entries; e++) {
        *inner = listed - e * block < block ? listed - e * block : block; /* the last block may be a part of one */
        MG_TRY(mg_find_lanes(tape, view->list[e], span_of(view, size), base));
    }
    return MG_OK;
}

/* The slot of lane i of group g of a view that was checked, of which the first lane is `base` where it has no list. */
static mg_slot slot_of(const mg_tape *tape, const mg_view *view, mg_slot base, size_t g, size_t i) {
    if (view->list == NULL) {
        return base + (mg_slot)(g * view->group + i * view->lane);
    }
    mg_find(tape, view->list[i / view->block], &base);
    return base + (mg_slot)(g * view->group + i % view->block * view->lane);
}

/* ---- sums and others with a header ------------------------------------------------------------------------------ */

/* Where the first list of a statement is, in operand words from the header's: lists begin at a slot of their own. */
#define FIRST_LIST ((uint32_t)(sizeof(mg_statement) / sizeof(uint32_t) + 1) / 2 * 2)

/* Slots of header and payload with a list of so many entries. */
static size_t slots_of(size_t entries) { return FIRST_LIST / 2 + (entries + 1) / 2; }

/* Lays out a statement at `header`, which is reserved, and gives it its first operands. */
static void lay_out(mg_tape *tape, mg_slot header, uint8_t operation, extent size, size_t factors, size_t entries) {
    const mg_slot first = header + (mg_slot)slots_of(entries);
    const size_t lanes = size.groups * size.width;
    tape->operation[header] = operation;
    memset(tape->operation + header + 1, MG_PAYLOAD, first - header - 1);
    *mg_statement_of(tape, header) = (mg_statement){
        .first = first,
        .lanes = (uint32_t)lanes,
        .groups = (uint32_t)size.groups,
        .width = (uint32_t)size.width,
        .terms = (uint32_t)size.terms,
        .factors = (uint32_t)factors,
    };
    tape->operand[first - 1][1] = 0; /* lists may leave the last word, and all words are compared */
    mg_stamp_statement(tape, header, tape->clock);
    memset(tape->operation + first, MG_LANE, lanes);
    memset(tape->adjoint + first, 0, lanes * sizeof *tape->adjoint);
    memset(tape->partial + first, 0, lanes * sizeof *tape->partial);
    for (size_t i = 0; i < lanes; i++) {
        tape->operand[first + i][0] = header;
        tape->operand[first + i][1] = (mg_slot)i;
    }
}

static mg_operands operands_of(const mg_view *view, mg_slot base, uint32_t *words) {
    mg_operands x = {.base = base,
                     .group = (uint32_t)view->group,
                     .lane = (uint32_t)view->lane,
                     .term = (uint32_t)view->term,
                     .listing = MG_STRIDED};
    if (view->list != NULL) {
        x.listing = view->by_term ? MG_BY_TERM : MG_BY_LANE;
        x.block = (uint32_t)view->block;
        x.entries = (uint32_t)view->entries;
        x.list = *words;
        *words += x.entries;
    }
    return x;
}

/* Makes a statement, which is still to be computed. Leaves a status if not. */
static bool begin(mg_tape *tape, uint8_t operation, extent size, const mg_view *const views[2], mg_slot *header) {
    mg_slot base[2] = {0, 0};
    const size_t factors = views[1] == NULL ? 1 : 2;
    size_t entries = 0;
    if (!mg_ready(tape)) {
        return false;
    }
    const bool huge = too_large(size.groups, size.width) || too_large(size.groups * size.width, size.terms);
    mg_status status = huge ? MG_SHAPE : MG_OK;
    for (size_t f = 0; status == MG_OK && f < factors; f++) {
        status = check_view(tape, views[f], size, &base[f]);
        entries += entries_of(views[f]);
    }
    if (status == MG_OK && !mg_reserve(tape, slots_of(entries) + size.groups * size.width, header)) {
        status = MG_NO_MEMORY;
    }
    if (status != MG_OK) {
        tape->status = status;
        return false;
    }
    lay_out(tape, *header, operation, size, factors, entries);
    uint32_t words = FIRST_LIST;
    for (size_t f = 0; f < factors; f++) {
        mg_operands *x = &mg_statement_of(tape, *header)->operand[f];
        *x = operands_of(views[f], base[f], &words);
        for (size_t e = 0; e < entries_of(views[f]); e++) {
            mg_find(tape, views[f]->list[e], &mg_list_of(tape, *header, x)[e]);
        }
    }
    return true;
}

/* Takes its slots. */
static mg_id end(mg_tape *tape, mg_slot header) {
    const mg_slot first = mg_first_lane(tape, header);
    mg_take(tape, header, mg_end(tape, header) - header);
    tape->clock++; /* after the statement was stamped: a write that follows has a later time */
    return mg_id_of(tape, first);
}

static mg_id compute(mg_tape *tape, mg_slot header) {
    mg_statement_forward(tape, header, mg_end(tape, header));
    return end(tape, header);
}

mg_id mg_sum(mg_tape *tape, size_t groups, size_t width, size_t terms, const mg_view *a, const mg_view *b) {
    MG_INSIDE(tape);
    mg_slot header;
    const bool begun = begin(tape, MG_SUM, (extent){groups, width, terms}, (const mg_view *[2]){a, b}, &header);
    return begun ? compute(tape, header) : MG_NONE;
}

mg_id mg_largest(mg_tape *tape, size_t groups, size_t terms, const mg_view *x) {
    MG_INSIDE(tape);
    mg_slot header;
    const bool begun = begin(tape, MG_LARGEST, (extent){groups, 1, terms}, (const mg_view *[2]){x, NULL}, &header);
    return begun ? compute(tape, header) : MG_NONE;
}

/* Of a custom statement: they stand beside the operands. */
static void write_partials(mg_tape *tape, mg_slot header, const double *partials) {
    const mg_operands *x = &mg_statement_of(tape, header)->operand[0];
    for (size_t k = 0; k < x->entries; k++) {
        tape->partial[header + x->list / 2 + k / 2][k % 2] = partials[k];
    }
}

mg_status mg_set_partials(mg_tape *tape, mg_id lane, const double *partials, size_t count) {
    MG_INSIDE(tape);
    mg_slot slot;
    MG_TRY(mg_find_now(tape, lane, 1, &slot));
    const mg_slot header = mg_head(tape, slot);
    if (mg_code(tape, header) != MG_CUSTOM) {
        return MG_OPERATION;
    }
    if (count != mg_statement_of(tape, header)->operand[0].entries) {
        return MG_SHAPE;
    }
    write_partials(tape, header, partials);
    return MG_OK;
}

mg_id mg_custom(mg_tape *tape, double value, const mg_id *operands, const double *partials, size_t count) {
    MG_INSIDE(tape);
    const mg_view x = {.list = operands, .entries = count, .block = 1, .by_term = true};
    mg_slot header;
    if (count == 0) {
        return mg_leaf(tape, value);
    }
    if (!begin(tape, MG_CUSTOM, (extent){1, 1, count}, (const mg_view *[2]){&x, NULL}, &header)) {
        return MG_NONE;
    }
    write_partials(tape, header, partials);
    tape->value[mg_first_lane(tape, header)] = value;
    return end(tape, header);
}

/* ---- maps ------------------------------------------------------------------------------------------------------- */

static mg_status map(mg_tape *tape, int32_t operation, extent size, const mg_view *const views[2], double k,
                     mg_slot *first) {
    mg_slot base[2] = {0, 0}, from;
    const size_t given = views[1] == NULL ? 1 : 2;
    if (operation < 0 || operation >= MG_SCALAR_COUNT || mg_scalar_arity[operation] < given) {
        return MG_OPERATION;
    }
    if (too_large(size.groups, size.width)) {
        return MG_SHAPE;
    }
    for (size_t f = 0; f < given; f++) {
        MG_TRY(views[f]->by_term ? MG_SHAPE : check_view(tape, views[f], size, &base[f]));
    }
    const size_t lanes = size.groups * size.width, constant = mg_scalar_arity[operation] - given;
    if (!mg_reserve(tape, constant + lanes, &from)) {
        return MG_NO_MEMORY;
    }
    *first = from + (mg_slot)constant;
    if (constant > 0) {
        mg_write_slot(tape, from, MG_CONSTANT, k, (mg_slot[2]){0, 0}, (double[2]){0, 0});
    }
    mg_status status = MG_OK;
    for (size_t n = 0; status == MG_OK && n < lanes; n++) {
        mg_slot operand[2] = {from, from};
        for (size_t f = 0; f < given; f++) {
            operand[f] = slot_of(tape, views[f], base[f], n / size.width, n % size.width);
        }
        status = mg_compute_slot(tape, *first + (mg_slot)n, operation, operand, k);
        tape->operation[*first + n] |= n > 0 ? MG_JOINED : 0;
    }
    if (status == MG_OK) {
        mg_take(tape, from, constant + lanes);
    } else {
        mg_give_up(tape, from, constant + lanes);
    }
    return status;
}

mg_id mg_map(mg_tape *tape, int32_t operation, size_t groups, size_t width, const mg_view *a, const mg_view *b,
             double k) {
    MG_INSIDE(tape);
    mg_slot first = 0;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    const mg_status status = map(tape, operation, (extent){groups, width, 1}, (const mg_view *[2]){a, b}, k, &first);
    return status == MG_OK ? mg_id_of(tape, first) : mg_fail(tape, status);
}
