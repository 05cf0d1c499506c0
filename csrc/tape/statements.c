/* statements.c: statements of many lanes: where one is in the arena, what it reads, what it computes and adds. */
#include "tape/statements.h"

#include "tape/operations.h"

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

mg_shape mg_shape_of(const mg_tape *tape, mg_slot head) {
    const uint8_t code = mg_code(tape, head);
    mg_shape shape = {code, mg_id_of(tape, mg_first_lane(tape, head)), 1, mg_lanes(tape, head), 1, 0};
    if (code > MG_LANE) {
        const mg_statement *statement = mg_statement_of(tape, head);
        shape.groups = statement->groups;
        shape.width = statement->width;
        shape.terms = statement->terms;
        shape.factors = statement->factors;
    } else {
        shape.factors = mg_scalar_arity[code];
    }
    return shape;
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

/* ---- what it was computed from ----------------------------------------------------------------------------------- */

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

mg_status mg_statement_forward(mg_tape *tape, mg_slot head, mg_slot end) {
    switch (mg_code(tape, head)) {
    case MG_SUM: sum_forward(tape, head); break;
    case MG_LARGEST: largest_forward(tape, head); break;
    default:
        assert(mg_code(tape, head) < MG_SCALAR_COUNT);
        for (mg_slot s = head; s < end; s++) {
            MG_TRY(mg_scalar_forward(tape, s));
        }
    }
    return MG_OK;
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
