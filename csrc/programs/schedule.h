/* schedule.h: the order of the reverse while it is being found. */
#ifndef MG_SCHEDULE_H
#define MG_SCHEDULE_H

#include "programs/plan.h"

#define MG_NO_STEP UINT32_MAX

typedef struct {
    mg_plan *plan;
    mg_blocks scratch;
    size_t steps;
    uint32_t *last;      /* [plan->reached.slots]: which step was at a slot last, going down the sweep */
    uint8_t *before;     /* [steps][steps]: does the row's step come before the column's? */
    uint32_t *first;     /* [steps]: when the sweep came to it first */
    uint32_t *component; /* [steps]: steps that must be taken in turn have one number */
} mg_scheduling;

/* fans.c: makes fans of all steps that are sums of products with leaves, and finds the order of their lanes. */
bool mg_order_fans(mg_scheduling *s);
/* The order of a fan at a position: an exception, or the usual one. */
mg_exception mg_order_at(const mg_plan *plan, const mg_fan *fan, size_t position);
/* regions.c: the order of additions to leaves. */
bool mg_order_leaves(mg_scheduling *s);

#endif
