/* summaries.h: what a plan knows of its steps, as a line of text. Most of it only makes a plan quick: where it gets lost, all
 * numbers stay as they are, and no other test would notice.
 */
#ifndef SUMMARIES_H
#define SUMMARIES_H

#include "check.h"
#include "programs/plan.h"

#include <stdarg.h>

typedef struct {
    char text[2000];
    size_t length;
    const char *list; /* what was listed last */
} summary;

static inline void write_words(summary *s, const char *format, ...) {
    const size_t room = sizeof s->text - s->length;
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(s->text + s->length, room, format, arguments);
    va_end(arguments);
    s->length += CHECK(n >= 0 && (size_t)n < room) ? (size_t)n : 0;
}

/* Begins a list, if it is not the one that is being written. */
static inline void begin_list(summary *s, const char *name) {
    if (s->list != name) {
        write_words(s, "; %s", name);
        s->list = name;
    }
}

/* Lists the steps, or the operands as STEP.FACTOR, or the regions, for which a condition holds. */
#define LIST_STEPS(s, name, condition)                          \
    for (size_t k = 0; k < plan->step_count; k++) {             \
        const mg_step *step = &plan->step[k];                   \
        if (condition) {                                        \
            begin_list(s, name);                                \
            write_words(s, " %zu", k);                          \
        }                                                       \
    }
#define LIST_OPERANDS(s, name, condition)                       \
    for (size_t k = 0; k < 2 * plan->step_count; k++) {         \
        const mg_source *x = &plan->step[k / 2].operand[k % 2]; \
        if (k % 2 < plan->step[k / 2].factors && (condition)) { \
            begin_list(s, name);                                \
            write_words(s, " %zu.%zu", k / 2, k % 2);           \
        }                                                       \
    }
#define LIST_REGIONS(s, name, condition)                        \
    for (size_t k = 0; k < plan->region_count; k++) {           \
        const mg_region *region = &plan->region[k];             \
        if (condition) {                                        \
            begin_list(s, name);                                \
            write_words(s, " %zu", k);                          \
        }                                                       \
    }

/* Are all additions of an operand, or to all parts of it, the first? */
static inline bool comes_first(const mg_plan *plan, const mg_source *x) {
    bool first = x->parts > 0 || x->first;
    for (size_t p = 0; p < x->parts; p++) {
        first = first && plan->part[x->part + p].first;
    }
    return first;
}

static inline const char *summary_of(const mg_plan *plan, summary *s) {
    *s = (summary){.length = 0};
    write_words(s, "%zu steps, %zu gathers, %zu fans, %zu exceptions, %zu actions", plan->each, plan->gather_count,
                plan->fan_count, plan->exception_count, plan->action_count);
    LIST_STEPS(s, "uniform", step->uniform)
    LIST_OPERANDS(s, "spread", x->spread)
    LIST_STEPS(s, "cut", step->cut)
    LIST_STEPS(s, "cut adjoints", step->cut_adjoint)
    LIST_STEPS(s, "without derivative", !step->derives)
    LIST_STEPS(s, "chosen", step->chosen)
    LIST_STEPS(s, "partial", step->partial)
    LIST_STEPS(s, "partials", step->partials > 0)
    LIST_STEPS(s, "cleared", step->clear && step->derives && step->operation != MG_GATHER)
    LIST_OPERANDS(s, "added later", x->gets && !comes_first(plan, x))
    LIST_STEPS(s, "adds rows", step->adds_rows)
    LIST_STEPS(s, "ends", step->ends)
    LIST_REGIONS(s, "matrices", region->is_matrix)
    LIST_REGIONS(s, "gathered", region->is_gathered)
    write_words(s, "; rows %zu + %zu, adjoints %zu + %zu, turned %zu, lanes %zu + %zu, aside %zu, work %g + %g%s",
                plan->value_rows.fixed, plan->value_rows.each, plan->adjoint_rows.fixed, plan->adjoint_rows.each,
                plan->turned_columns, plan->most_lanes.fixed, plan->most_lanes.each, plan->most_aside,
                plan->column_work, plan->pair_work, plan->check_values ? ", checks values" : "");
    return s->text;
}

static inline void check_summary(const mg_plan *plan, const char *expected) {
    summary s;
    if (!CHECK(strcmp(summary_of(plan, &s), expected) == 0)) {
        printf("    it is:     %s\n    should be: %s\n", s.text, expected);
    }
}

#endif
