/* statements.c: recording statements of many lanes, and what they compute.
 *
 * It refuses sizes that do not fit and operands that are not on the tape. A maker that fails takes no slot.
 */
#include "tape/statements.h"

#include "tape/operations.h"

#include <string.h>

/* ---- where a statement is --------------------------------------------------------------------------------------- */

/* Does slot s + 1 hold more of what slot s holds? Pages whose serials follow each other were opened together. */
static bool goes_on(const mg_tape *tape, mg_slot s) {
    const mg_page *page = &tape->pages[s / MG_PAGE];
    if ((s + 1) % MG_PAGE != 0) {
        return s % MG_PAGE + 1 < page->used;
    }
    return (size_t)s / MG_PAGE + 1 < tape->page_count && page[1].serial == page->serial + 1 && page[1].used > 0;
}

mg_slot mg_head(const mg_tape *tape, mg_slot slot) {
    if (mg_code(tape, slot) == MG_LANE) {
        return tape->operand[slot][0];
    }
    while (tape->operation[slot] & MG_JOINED) {
        slot--;
    }
    return slot;
}

mg_slot mg_end(const mg_tape *tape, mg_slot head) {
    if (mg_code(tape, head) > MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, head);
        return statement->first + statement->lanes;
    }
    while (goes_on(tape, head) && tape->operation[head + 1] & MG_JOINED) {
        head++;
    }
    return head + 1;
}

bool mg_all_leaves(const mg_tape *tape, mg_slot first, size_t n) {
    uint8_t codes = 0;
    for (size_t i = 0; i < n; i++) {
        codes |= tape->operation[first + i];
    }
    return (codes & ~MG_VISITED) == MG_LEAF;
}

typedef struct {
    mg_run_visitor *visitor;
    void *context;
    mg_slot first;
    size_t n; /* 0: no run yet */
} run;

/* Joins a slot to the run, or hands the run over and begins another. */
static bool join(run *r, mg_slot slot) {
    if (r->n > 0 && slot == r->first + r->n) {
        r->n++;
        return true;
    }
    if (r->n > 0 && slot >= r->first && slot < r->first + r->n) {
        return true;
    }
    bool going = r->n == 0 || r->visitor(r->context, r->first, r->n);
    r->first = slot;
    r->n = 1;
    return going;
}

static bool each_run_of(const mg_tape *tape, mg_slot header, const mg_operands *x, run *r) {
    const mg_statement *s = mg_statement_of(tape, header);
    const size_t terms = s->terms, factor = (size_t)(x - s->operand);
    bool going = true;
    if (x->listing == MG_STRIDED && x->term == 1 && (s->width == 1 || x->lane == 0 || x->lane == terms) &&
        (s->groups == 1 || x->group == 0)) { /* one run, as of a linear's weights and inputs */
        const size_t n = x->lane == terms ? terms * s->width : terms;
        return r->visitor(r->context, x->base, n);
    }
    for (size_t g = 0; g < s->groups; g++) {
        for (size_t i = 0; i < s->width; i++) {
            for (size_t c = 0; going && c < terms; c++) {
                going = join(r, mg_operand_at(tape, header, factor, g, i, c));
            }
        }
    }
    return going;
}

bool mg_each_run(const mg_tape *tape, mg_slot head, mg_run_visitor *visitor, void *context) {
    run r = {visitor, context, 0, 0};
    const uint8_t code = mg_code(tape, head);
    bool going = true;
    if (code > MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, head);
        for (size_t f = 0; going && f < statement->factors; f++) {
            going = each_run_of(tape, head, &statement->operand[f], &r);
        }
    } else {
        const mg_slot end = mg_end(tape, head);
        for (size_t k = 0; going && k < mg_scalar_arity[code]; k++) {
            for (mg_slot s = head; going && s < end; s++) {
                going = join(&r, tape->operand[s][k]);
            }
        }
    }
    return going && (r.n == 0 || visitor(context, r.first, r.n));
}

/* ---- makers ----------------------------------------------------------------------------------------------------- */

static bool reserve_or_fail(mg_tape *tape, size_t slots, mg_slot *first) {
    if (!mg_reserve(tape, slots, first)) {
        mg_fail(tape, MG_NO_MEMORY);
        return false;
    }
    return true;
}

mg_id mg_leaves(mg_tape *tape, const double *values, size_t n) {
    MG_INSIDE(tape);
    mg_slot from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (n == 0) {
        return mg_fail(tape, MG_SHAPE);
    }
    if (!reserve_or_fail(tape, n, &from)) {
        return MG_NONE;
    }
    memset(tape->operation + from, MG_LEAF, n);
    memset(tape->adjoint + from, 0, n * sizeof *tape->adjoint);
    memset(tape->partial + from, 0, n * sizeof *tape->partial);
    memcpy(tape->value + from, values, n * sizeof *values);
    mg_take(tape, from, n);
    return mg_id_of(tape, from);
}

/* The sizes of a statement that is being made. */
typedef struct {
    size_t groups, width, terms;
} extent;

static bool too_large(size_t a, size_t b) { return a == 0 || b == 0 || a > MG_MAX_SLOTS / b; }

static bool find_or_fail(mg_tape *tape, mg_id first, size_t n, mg_slot *slot) {
    if (!mg_find_run(tape, first, n, slot)) {
        mg_fail(tape, n == 0 || mg_find(tape, first, slot) ? MG_SHAPE : MG_STALE);
        return false;
    }
    return true;
}

/* The number of entries in a view's list, or 0. */
static size_t entries_of(const mg_view *view) { return view->list == NULL ? 0 : view->entries; }

/* Is everything that the view gives on the tape? Sets the slot of its first lane where it has no list. */
static bool check_view(mg_tape *tape, const mg_view *view, extent size, mg_slot *base) {
    const size_t listed = view->by_term ? size.terms : size.width, block = view->list == NULL ? 1 : view->block;
    if (view->group > MG_MAX_SLOTS || view->lane > MG_MAX_SLOTS || view->term > MG_MAX_SLOTS || block == 0 ||
        (view->list != NULL && (view->entries != (listed - 1) / block + 1 || block > MG_MAX_SLOTS))) {
        mg_fail(tape, MG_SHAPE);
        return false;
    }
    size_t lanes = size.width, terms = size.terms, *inner = view->by_term ? &terms : &lanes;
    *inner = view->list != NULL && block < *inner ? block : *inner;
    size_t span = (size.groups - 1) * view->group + (lanes - 1) * view->lane + (terms - 1) * view->term + 1;
    if (view->list == NULL) {
        return find_or_fail(tape, view->first, span, base);
    }
    for (size_t e = 0; e < view->entries; e++) {
        if (e + 1 == view->entries) { /* the last block may be a part of one */
            *inner = listed - e * block;
            span = (size.groups - 1) * view->group + (lanes - 1) * view->lane + (terms - 1) * view->term + 1;
        }
        if (!find_or_fail(tape, view->list[e], span, base)) {
            return false;
        }
    }
    return true;
}

#define WORDS (sizeof(mg_statement) / sizeof(uint32_t))

/* Slots of header and payload with a list of so many entries; lists begin at a slot of their own. */
static size_t slots_of(size_t entries) { return (WORDS + 1) / 2 + (entries + 1) / 2; }

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

/* A sum or a largest: makes it, computes it, and returns its first lane. */
static mg_id record(mg_tape *tape, uint8_t operation, extent size, const mg_view *const views[2]) {
    mg_slot base[2] = {0, 0}, from;
    const size_t factors = views[1] == NULL ? 1 : 2;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (too_large(size.groups, size.width) || too_large(size.groups * size.width, size.terms)) {
        return mg_fail(tape, MG_SHAPE);
    }
    size_t entries = 0;
    for (size_t f = 0; f < factors; f++) {
        if (!check_view(tape, views[f], size, &base[f])) {
            return MG_NONE;
        }
        entries += entries_of(views[f]);
    }
    const size_t slots = slots_of(entries) + size.groups * size.width;
    if (!reserve_or_fail(tape, slots, &from)) {
        return MG_NONE;
    }
    lay_out(tape, from, operation, size, factors, entries);
    mg_statement *statement = mg_statement_of(tape, from);
    uint32_t words = (uint32_t)((WORDS + 1) / 2 * 2);
    for (size_t f = 0; f < factors; f++) {
        mg_operands *x = &statement->operand[f];
        *x = operands_of(views[f], base[f], &words);
        for (size_t e = 0; e < entries_of(views[f]); e++) {
            mg_find(tape, views[f]->list[e], &mg_list_of(tape, from, x)[e]);
        }
    }
    mg_statement_forward(tape, from);
    mg_take(tape, from, slots);
    tape->clock++; /* after the statement was stamped: a write that follows has a later time */
    return mg_id_of(tape, mg_first_lane(tape, from));
}

mg_id mg_sum(mg_tape *tape, size_t groups, size_t width, size_t terms, const mg_view *a, const mg_view *b) {
    MG_INSIDE(tape);
    return record(tape, MG_SUM, (extent){groups, width, terms}, (const mg_view *[2]){a, b});
}

mg_id mg_largest(mg_tape *tape, size_t groups, size_t terms, const mg_view *x) {
    MG_INSIDE(tape);
    return record(tape, MG_LARGEST, (extent){groups, 1, terms}, (const mg_view *[2]){x, NULL});
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
    mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
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
    mg_slot from, operand;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    for (size_t k = 0; k < count; k++) {
        if (!mg_find(tape, operands[k], &operand)) {
            return mg_fail(tape, MG_STALE);
        }
    }
    if (count == 0) {
        return mg_leaf(tape, value);
    }
    if (count > MG_MAX_SLOTS || !reserve_or_fail(tape, slots_of(count) + 1, &from)) {
        return mg_fail(tape, MG_NO_MEMORY);
    }
    lay_out(tape, from, MG_CUSTOM, (extent){1, 1, count}, 1, count);
    mg_operands *x = &mg_statement_of(tape, from)->operand[0];
    *x = (mg_operands){.listing = MG_BY_TERM, .block = 1, .entries = (uint32_t)count, .list = (WORDS + 1) / 2 * 2};
    for (size_t k = 0; k < count; k++) {
        mg_find(tape, operands[k], &mg_list_of(tape, from, x)[k]);
    }
    write_partials(tape, from, partials);
    tape->value[mg_first_lane(tape, from)] = value;
    mg_take(tape, from, slots_of(count) + 1);
    tape->clock++;
    return mg_id_of(tape, mg_first_lane(tape, from));
}

mg_id mg_map(mg_tape *tape, int32_t operation, size_t groups, size_t width, const mg_view *a, const mg_view *b,
             double k) {
    MG_INSIDE(tape);
    const mg_view *const views[2] = {a, b};
    const extent size = {groups, width, 1};
    mg_slot base[2] = {0, 0}, from;
    if (!mg_ready(tape)) {
        return MG_NONE;
    }
    if (operation < 0 || operation >= MG_SCALAR_COUNT || mg_scalar_arity[operation] < (b == NULL ? 1 : 2)) {
        return mg_fail(tape, MG_OPERATION);
    }
    if (too_large(groups, width)) {
        return mg_fail(tape, MG_SHAPE);
    }
    for (size_t f = 0; f < 2 && views[f] != NULL; f++) {
        if (views[f]->by_term) {
            return mg_fail(tape, MG_SHAPE);
        }
        if (!check_view(tape, views[f], size, &base[f])) {
            return MG_NONE;
        }
    }
    const size_t lanes = groups * width, constant = mg_scalar_arity[operation] == 2 && b == NULL;
    if (!reserve_or_fail(tape, constant + lanes, &from)) {
        return MG_NONE;
    }
    const mg_slot first = from + (mg_slot)constant;
    if (constant) {
        mg_write_slot(tape, from, MG_CONSTANT, k, (mg_slot[2]){0, 0}, (double[2]){0, 0});
    }
    mg_status status = MG_OK;
    for (size_t n = 0; status == MG_OK && n < lanes; n++) {
        mg_slot operand[2] = {from, from};
        for (size_t f = 0; f < 2 && views[f] != NULL; f++) {
            const mg_view *view = views[f];
            const size_t g = n / width, i = n % width;
            if (view->list == NULL) {
                operand[f] = base[f] + (mg_slot)(g * view->group + i * view->lane);
            } else {
                mg_find(tape, view->list[i / view->block], &operand[f]);
                operand[f] += (mg_slot)(g * view->group + i % view->block * view->lane);
            }
        }
        status = mg_compute_slot(tape, first + (mg_slot)n, operation, operand, k);
        tape->operation[first + n] |= n > 0 ? MG_JOINED : 0;
    }
    if (status != MG_OK) {
        mg_give_up(tape, from, constant + lanes);
        return mg_fail(tape, status);
    }
    mg_take(tape, from, constant + lanes);
    return mg_id_of(tape, first);
}

/* ---- looking into one -------------------------------------------------------------------------------------------- */

mg_status mg_lane_statement(mg_tape *tape, mg_id lane, mg_shape *out) {
    MG_INSIDE(tape);
    mg_slot slot;
    const mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
    const mg_slot head = mg_head(tape, slot);
    const uint8_t code = mg_code(tape, head);
    *out = (mg_shape){code, mg_id_of(tape, mg_first_lane(tape, head)), 1, mg_lanes(tape, head), 1, 0};
    if (code > MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, head);
        out->groups = statement->groups;
        out->width = statement->width;
        out->terms = statement->terms;
        out->factors = statement->factors;
    } else {
        out->factors = mg_scalar_arity[code];
    }
    return MG_OK;
}

mg_status mg_lane_view(mg_tape *tape, mg_id lane, size_t factor, mg_view *out, mg_id *list, size_t room) {
    MG_INSIDE(tape);
    mg_slot slot;
    const mg_status status = mg_enter(tape);
    if (status != MG_OK) {
        return status;
    }
    if (!mg_find(tape, lane, &slot)) {
        return MG_STALE;
    }
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

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* Four lanes of products at a time, where lanes share one factor: each sum keeps its order, and they overlap in time. */
static void products(const double *w, size_t lane, const double *x, size_t terms, size_t lanes, double *out) {
    size_t i = 0;
    for (; i + 4 <= lanes; i += 4) {
        const double *w0 = w + i * lane, *w1 = w0 + lane, *w2 = w1 + lane, *w3 = w2 + lane;
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t c = 0; c < terms; c++) {
            s0 += w0[c] * x[c];
            s1 += w1[c] * x[c];
            s2 += w2[c] * x[c];
            s3 += w3[c] * x[c];
        }
        out[i] = s0;
        out[i + 1] = s1;
        out[i + 2] = s2;
        out[i + 3] = s3;
    }
    for (; i < lanes; i++) {
        double s = 0;
        for (size_t c = 0; c < terms; c++) {
            s += w[i * lane + c] * x[c];
        }
        out[i] = s;
    }
}

static bool in_a_row(const mg_operands *x) { return x->listing == MG_STRIDED && x->term == 1; }

static void sum_forward(mg_tape *tape, mg_slot header) {
    const mg_statement *s = mg_statement_of(tape, header);
    const mg_operands *a = &s->operand[0], *b = &s->operand[1];
    double *out = tape->value + s->first;
    if (s->factors == 2 && in_a_row(a) && in_a_row(b) && b->lane == 0) {
        for (size_t g = 0; g < s->groups; g++) {
            products(tape->value + a->base + g * a->group, a->lane, tape->value + b->base + g * b->group, s->terms,
                     s->width, out + g * s->width);
        }
        return;
    }
    for (size_t g = 0; g < s->groups; g++) {
        for (size_t i = 0; i < s->width; i++) {
            double sum = 0;
            for (size_t c = 0; c < s->terms; c++) {
                const double x = tape->value[mg_operand_at(tape, header, 0, g, i, c)];
                sum += s->factors == 2 ? x * tape->value[mg_operand_at(tape, header, 1, g, i, c)] : x;
            }
            *out++ = sum;
        }
    }
}

static void largest_forward(mg_tape *tape, mg_slot header) {
    const mg_statement *s = mg_statement_of(tape, header);
    for (size_t g = 0; g < s->groups; g++) {
        double largest = tape->value[mg_operand_at(tape, header, 0, g, 0, 0)];
        for (size_t c = 1; c < s->terms; c++) {
            const double x = tape->value[mg_operand_at(tape, header, 0, g, 0, c)];
            largest = x > largest ? x : largest;
        }
        tape->value[s->first + g] = largest;
    }
}

mg_status mg_statement_forward(mg_tape *tape, mg_slot head) {
    mg_status status = MG_OK;
    switch (mg_code(tape, head)) {
    case MG_SUM: sum_forward(tape, head); break;
    case MG_LARGEST: largest_forward(tape, head); break;
    default:
        assert(mg_code(tape, head) < MG_SCALAR_COUNT);
        for (mg_slot s = head, end = mg_end(tape, head); status == MG_OK && s < end; s++) {
            status = mg_scalar_forward(tape, s);
        }
    }
    return status;
}

/* ---- reverse ---------------------------------------------------------------------------------------------------- */

/* Two runs of n adjoints, and the primals that go with them, that share no slot. */
static void cross_terms(double *restrict left_adjoint, double *restrict right_adjoint, const double *restrict left,
                        const double *restrict right, size_t n, double g) {
    for (size_t c = 0; c < n; c++) {
        left_adjoint[c] += right[c] * g;
        right_adjoint[c] += left[c] * g;
    }
}

void mg_reverse_terms(mg_tape *tape, mg_slot header, mg_slot lane, double g, size_t begin, size_t end) {
    const mg_statement *s = mg_statement_of(tape, header);
    const mg_operands *a = &s->operand[0], *b = &s->operand[1];
    const size_t group = lane / s->width, i = lane % s->width;
    if (s->factors == 2) {
        if (in_a_row(a) && in_a_row(b)) {
            const mg_slot left = mg_operand_at(tape, header, 0, group, i, begin);
            const mg_slot right = mg_operand_at(tape, header, 1, group, i, begin);
            const size_t n = end - begin;
            if (left + n <= right || right + n <= left) { /* no slot is added to twice: the order does not matter */
                cross_terms(tape->adjoint + left, tape->adjoint + right, tape->value + left, tape->value + right, n, g);
                return;
            }
        }
        for (size_t c = end; c-- > begin;) {
            const mg_slot left = mg_operand_at(tape, header, 0, group, i, c);
            const mg_slot right = mg_operand_at(tape, header, 1, group, i, c);
            tape->adjoint[left] += tape->value[right] * g;
            tape->adjoint[right] += tape->value[left] * g;
        }
    } else if (mg_code(tape, header) == MG_CUSTOM) { /* child.grad += local_grad * grad for each child in order */
        for (size_t c = 0; c < s->terms; c++) {
            tape->adjoint[mg_list_of(tape, header, a)[c]] += mg_partial_visited(tape, header, 0, c) * g;
        }
    } else {
        for (size_t c = end; c-- > begin;) {
            tape->adjoint[mg_operand_at(tape, header, 0, group, i, c)] += g;
        }
    }
}

double mg_partial_visited(const mg_tape *tape, mg_slot header, mg_slot lane, size_t cursor) {
    const mg_statement *s = mg_statement_of(tape, header);
    switch (mg_code(tape, header)) {
    case MG_CUSTOM: return tape->partial[header + s->operand[0].list / 2 + cursor / 2][cursor % 2];
    case MG_LARGEST: return 0;
    default: return s->factors == 2 ? tape->value[mg_operand_visited(tape, header, lane, cursor ^ 1)] : 1;
    }
}

typedef struct {
    const mg_tape *tape;
    uint64_t clock;
} time_of_writing;

static bool unwritten(void *context, mg_slot first, size_t n) {
    const time_of_writing *since = context;
    return !mg_written_since(since->tape, first, n, since->clock);
}

bool mg_overwritten(const mg_tape *tape, mg_slot header) {
    time_of_writing since = {tape, mg_recorded(tape, header)};
    return mg_statement_of(tape, header)->factors == 2 && !mg_each_run(tape, header, unwritten, &since);
}

bool mg_first_visits_all(const mg_tape *tape, mg_slot header) {
    const mg_statement *s = mg_statement_of(tape, header);
    const mg_operands *a = &s->operand[0], *b = &s->operand[1];
    return s->factors == 2 && s->groups == 1 && s->width > 1 && b->listing != MG_BY_LANE && b->lane == 0 &&
           a->listing == MG_STRIDED && a->term == 1 && (a->lane == s->terms || a->lane == 0) &&
           mg_all_leaves(tape, a->base, a->lane == 0 ? s->terms : (size_t)s->terms * s->width);
}
