/* layout.c: which rows every step of a plan has, in texts of any length, and what else is the same for all texts.
 *
 * Lanes of a causal step are the positions so far: so a count of rows is some, and some more for each position.
 */
#include "programs/plan.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Rows of a step's lanes. */
static mg_count lanes_of(const mg_step *step) {
    return step->causal ? (mg_count){0, step->groups} : (mg_count){step->groups * step->width, 0};
}

static void add(mg_count *sum, mg_count rows, size_t times) {
    sum->fixed += rows.fixed * times;
    sum->each += rows.each * times;
}

static bool adds_rows(const mg_plan *plan, const mg_step *step) {
    bool gathered = false;
    for (size_t f = 0; f < step->factors; f++) {
        const mg_source *x = &step->operand[f];
        gathered = gathered || (x->from == MG_FROM_ROWS && x->lane == 1 && x->step >= plan->each);
    }
    return gathered && step->operation == MG_ADD && step->groups == 1 && !step->causal && step->derives;
}

static void place_columns(mg_plan *plan, size_t k) {
    mg_step *step = &plan->step[k];
    size_t same = 0;
    step->turned = plan->turned_columns;
    if (step->adds_rows) {
        plan->turned_columns += mg_padded(step->width);
    } else if (step->weights != MG_NOWHERE) {
        while (same < k && !mg_read_alike(plan, &plan->step[same], step)) {
            same++;
        }
        step->turned = plan->step[same].turned;
        plan->turned_columns += same < k ? 0 : mg_padded(step->terms);
    }
}

static bool is_matrix(const mg_plan *plan, const mg_region *region) {
    const mg_event *event = &plan->event[region->from];
    const mg_step *step = &plan->step[event->step];
    if (region->to != region->from + 1 || step->weights != event->factor) {
        return false;
    }
    const mg_source *weights = &step->operand[step->weights];
    return weights->term == 1 && (weights->lane >= step->terms || step->width == 1);
}

static bool is_gathered(const mg_plan *plan, const mg_region *region) {
    const mg_event *event = &plan->event[region->from];
    const mg_source *x = &plan->step[event->step].operand[event->factor];
    return region->to == region->from + 1 && plan->step[event->step].adds_rows && x->from == MG_FROM_ROWS &&
           x->lane == 1 && x->offset == 0;
}

static void count_work(mg_plan *plan, const mg_step *step) {
    const double each = (double)step->groups * (double)(step->causal ? 1 : step->width);
    const double work = each * (double)(step->causal_terms ? 1 : step->terms);
    if (step->operation == MG_SUM) {
        *(step->causal || step->causal_terms ? &plan->pair_work : &plan->column_work) += work;
    }
}

void mg_lay_out(mg_plan *plan) {
    for (size_t k = 0; k < plan->step_count; k++) {
        mg_step *step = &plan->step[k];
        count_work(plan, step);
        const mg_count lanes = lanes_of(step), rows = step->uniform ? (mg_count){step->groups, 0} : lanes;
        step->value = plan->value_rows;
        step->adjoint = plan->adjoint_rows;
        add(&plan->value_rows, rows, 1 + step->partials);
        add(&plan->adjoint_rows, lanes, step->derives && step->operation != MG_GATHER);
        step->adds_rows = adds_rows(plan, step);
        step->ends = step->derives && step->operation != MG_GATHER;
        for (size_t f = 0; f < step->factors; f++) {
            step->operand[f].gets = mg_adds_to_rows(plan, &step->operand[f]);
            step->ends = step->ends && !step->operand[f].gets;
        }
        place_columns(plan, k);
        if (step->operation < MG_LANE) {
            plan->most_lanes.fixed = larger(plan->most_lanes.fixed, lanes.fixed);
            plan->most_lanes.each = larger(plan->most_lanes.each, lanes.each);
        }
    }
    for (size_t f = 0; f < plan->fan_count; f++) {
        const mg_fan *fan = &plan->fan[f];
        plan->most_aside = larger(plan->most_aside, (fan->exceptions_end - fan->exceptions) * plan->step[fan->first].terms);
    }
    for (size_t r = 0; r < plan->region_count; r++) {
        plan->region[r].is_matrix = is_matrix(plan, &plan->region[r]);
        plan->region[r].is_gathered = is_gathered(plan, &plan->region[r]);
    }
}
