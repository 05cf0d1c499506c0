/* beginning.c: whether the program of a short text is the beginning of that of a long one, so that one recording serves
 * both: the same statements, of the same operands, for as many losses as the short one has.
 */
#include "programs/program.h"
#include "tape/operations.h"
#include "tape/statements.h"

#include <string.h>

typedef struct {
    const mg_tape *tape;
    const mg_program *whole, *shorter;
    mg_mark since;   /* leaves recorded later may be others, of the same values: the function made them */
    size_t *twin;    /* [shorter->statements.count]: the statement of the whole that is the same */
} beginning;

static bool made_by_function(const beginning *b, mg_slot slot) {
    return mg_is_leaf(mg_code(b->tape, slot)) && mg_id_of(b->tape, slot) >= b->since;
}

/* Do n slots from `s` on, which the shorter program reads, stand for those from `w` on? */
static bool same_slots(const beginning *b, mg_slot s, mg_slot w, size_t n) {
    const mg_tape *tape = b->tape;
    if (mg_is_leaf(mg_code(tape, s))) {
        bool same = true;
        for (size_t i = 0; s != w && same && i < n; i++) {
            const mg_slot left = s + (mg_slot)i, right = w + (mg_slot)i;
            same = made_by_function(b, left) && made_by_function(b, right) &&
                   memcmp(&tape->value[left], &tape->value[right], sizeof *tape->value) == 0;
        }
        return same;
    }
    const size_t k = mg_program_statement(b->shorter, s);
    return k < b->shorter->statements.count && b->twin[k] != MG_NOWHERE &&
           w - b->whole->statements.item[b->twin[k]] == s - b->shorter->statements.item[k];
}

static bool same_operands(const beginning *b, mg_slot s, mg_slot w, size_t f) {
    const mg_statement *statement = mg_statement_of(b->tape, s);
    const mg_operands *x = &statement->operand[f], *y = &mg_statement_of(b->tape, w)->operand[f];
    const size_t reach = mg_reach_of(statement, x);
    if (x->group != y->group || x->lane != y->lane || x->term != y->term || x->listing != y->listing) {
        return false;
    }
    if (x->listing == MG_STRIDED) {
        return same_slots(b, x->base, y->base, reach);
    }
    bool same = x->block == y->block && x->entries == y->entries;
    for (size_t e = 0; same && e < x->entries; e++) {
        same = same_slots(b, mg_list_of(b->tape, s, x)[e], mg_list_of(b->tape, w, y)[e], reach);
    }
    return same;
}

/* Is the statement at `s` the same as the one at `w`? */
static bool same_statement(const beginning *b, mg_slot s, mg_slot w) {
    const mg_tape *tape = b->tape;
    const mg_shape x = mg_shape_of(tape, s), y = mg_shape_of(tape, w);
    const uint8_t code = (uint8_t)x.operation;
    bool same = x.operation == y.operation && x.groups == y.groups && x.width == y.width && x.terms == y.terms &&
                x.factors == y.factors;
    for (size_t f = 0; code > MG_LANE && same && f < x.factors; f++) {
        same = same_operands(b, s, w, f);
    }
    for (size_t i = 0; code < MG_LANE && same && i < x.width; i++) {
        const mg_slot left = s + (mg_slot)i, right = w + (mg_slot)i;
        same = !mg_operation_constant(code) ||
               memcmp(&tape->partial[left][1], &tape->partial[right][1], sizeof **tape->partial) == 0;
        for (size_t f = 0; same && f < x.factors; f++) {
            same = same_slots(b, tape->operand[left][f], tape->operand[right][f], 1);
        }
    }
    return same;
}

/* The next statement from `w` on that the losses of the shorter program need. */
static size_t needed_from(const beginning *b, size_t w) {
    while (w < b->whole->statements.count && b->whole->needed.item[w] >= b->shorter->losses) {
        w++;
    }
    return w;
}

static bool same_statements(const beginning *b) {
    const mg_program *shorter = b->shorter, *whole = b->whole;
    size_t w = 0;
    for (size_t s = 0; s < shorter->statements.count; s++) {
        b->twin[s] = MG_NOWHERE;
        if (shorter->needed.item[s] >= shorter->losses) { /* what adds up the losses */
            continue;
        }
        w = needed_from(b, w);
        if (w == whole->statements.count || shorter->needed.item[s] != whole->needed.item[w] ||
            !same_statement(b, shorter->statements.item[s], whole->statements.item[w])) {
            return false;
        }
        b->twin[s] = w++;
    }
    return needed_from(b, w) == whole->statements.count;
}

static bool same_bindings(const beginning *b) {
    const mg_program *shorter = b->shorter, *whole = b->whole;
    size_t w = 0;
    for (size_t s = 0; s < shorter->binding_count || w < whole->binding_count; w++) {
        const mg_binding *y = w < whole->binding_count ? &whole->bindings[w] : NULL;
        if (y != NULL && whole->needed.item[mg_program_statement(whole, y->head)] >= shorter->losses) {
            continue;
        }
        const mg_binding *x = s < shorter->binding_count ? &shorter->bindings[s++] : NULL;
        if (x == NULL || y == NULL || x->input != y->input || x->factor != y->factor || x->entry != y->entry ||
            x->size != y->size || x->count != y->count || !same_slots(b, x->head, y->head, 1) ||
            !same_slots(b, x->table, y->table, 1)) {
            return false;
        }
    }
    return true;
}

mg_status mg_program_begins(mg_program *program, mg_program *shorter, mg_mark since, bool *begins) {
    mg_tape *tape = program->tape;
    MG_INSIDE(tape);
    *begins = false;
    if (shorter->tape != tape) {
        return MG_SHAPE;
    }
    MG_TRY(mg_program_find_inputs(program));
    MG_TRY(mg_program_find_inputs(shorter));
    mg_blocks scratch = {.tape = tape};
    const beginning b = {tape, program, shorter, since,
                         mg_allot(&scratch, shorter->statements.count, sizeof *b.twin)};
    if (!scratch.failed) {
        *begins = shorter->losses > 0 && shorter->losses <= program->losses && shorter->mean == program->mean &&
                  same_statements(&b) && same_bindings(&b); /* and so are the losses, statements that no other needs */
    }
    mg_free_blocks(scratch);
    return scratch.failed ? MG_NO_MEMORY : MG_OK;
}
