/* plan.h: a recorded program whose statements repeat from position to position, as loops over positions and lanes.
 *
 * When the result is the mean of losses, one a position, and every position was recorded by the same statements, then
 * the k-th statements of all positions are one step. A step keeps its lanes as rows, one lane at all positions, so that
 * a vector holds one lane at eight positions, and every sum stays in its order:
 *
 *               position 0   1   2   3   4   5   6   7
 *     lane 0        |  x0  | x0 | x0 | x0 | x0 |    |    |    |    one row; beyond the text's end nothing counts
 *     lane 1        |  x1  | x1 | x1 | x1 | x1 |    |    |    |
 *
 * roll.c finds the steps, or says why there are none, and traits.c what follows from their operands; schedule.c finds
 * the order in which the reverse takes them, from the sweep's own list; proof.c proves that every accumulator then gets
 * what the sweep gives it, in the same order, and selections.c whatever the inputs select; replay.c has the workspace,
 * and the kernels (row_plan.h) compute.
 *
 * One plan serves texts of every length: the order for fewer positions is the beginning of the order for all.
 *
 * Invariants
 *   step[0 .. each) are the statements of a position, in order; the gathers follow
 *   a source of a step of statements is an earlier step, a gather, or leaves
 *   what a plan refers to lives as long as its program: heads, leaves and tables are found again at each call
 */
#ifndef MG_PLAN_H
#define MG_PLAN_H

#include "programs/memory.h"
#include "programs/pool.h"
#include "programs/reach.h"
#include "tape/statements.h"

#define MG_CHUNK 8      /* positions in a vector */
#define MG_WORTH_SHARING 131072 /* products in a sum of products: fewer are done before another thread has begun */
#define MG_GATHER MG_OPERATION_COUNT /* a step that has no statement: leaves, others at every position, as rows */

typedef enum {
    MG_FROM_ROWS,     /* lanes of another step, at the same position */
    MG_FROM_PAST,     /* lanes of another step, at this position and all before it: one for each lane or term */
    MG_FROM_SELECTED, /* the lane of another step that an input selects */
    MG_FROM_LEAVES,   /* the same leaves at every position */
    MG_FROM_CONSTANT, /* the same number */
} mg_from;

/* What operand lane i of group g reads at term c:
     rows      lane offset + g * group + i * lane + c * term of the step; of a concatenation (parts > 0), lane
               part.offset + c % block of the step of part c / block
     whole     lane i, or c where the terms are the positions so far, of group offset + g * group of a causal step
     past      lane offset + g * group + i * lane + c * term, of which the one that is the position has the stride 0
     selected  the selected lane of the step
     leaves    slot leaves + g * group + i * lane + c * term */
typedef struct {
    mg_from from;
    size_t step, offset;
    size_t group, lane, term;
    bool whole;
    bool spread;               /* the step is uniform: all lanes of group g have the value of row g */
    mg_listing past;           /* whether the position is the lane or the term */
    mg_slot leaves;
    double constant;
    size_t select;             /* number of the selection */
    size_t parts, part, block; /* parts > 0: a concatenation by terms, of plan->part[part ..] */
    bool derives;              /* does a derivative go to it? */
    bool gets;                 /* and is that one of rows, which the reverse adds to? */
    bool first;                /* is its addition the first to all rows that it reads, each of which it adds to once? */
} mg_source;

/* Where a part of a concatenation begins; `first` as of a source. */
typedef struct {
    size_t step, offset;
    bool first;
} mg_part;

/* So many, and `each` more for each position of the text at hand. */
typedef struct {
    size_t fixed, each;
} mg_count;

typedef struct {
    uint8_t operation; /* a scalar operation, MG_SUM, MG_LARGEST or MG_GATHER */
    size_t groups, width, terms, factors;
    bool causal;       /* width is the positions so far; `width` is then of all positions */
    bool causal_terms; /* terms likewise */
    bool uniform;      /* all lanes of a group have one value, which one row holds; each has an adjoint of its own */
    bool cut;          /* values of lanes that lie ahead are to be 0 */
    bool cut_adjoint;  /* and so are adjoints, before they are used */
    bool derives;      /* has a gradient that somebody needs, or reads: of leaves, of detached numbers */
    bool chosen;       /* an input selects a lane of it, or of what is computed from it lane by lane; and */
    bool partial;      /* that is the only lane that the sweep comes to */
    bool varies;       /* an input selects to which of its lanes the sweep comes first; and */
    bool concerned;    /* it adds to such lanes, or where they do */
    bool clear;        /* its adjoints must be 0 before the reverse, as what is added first does not reach all of them */
    double constant;   /* k of an operation with a constant */
    size_t partials;   /* rows of partials a row of values: 0, 1, 2 */
    size_t weights;    /* of a sum of products with leaves: which factor those are; otherwise MG_NOWHERE */
    size_t gather;     /* number of the gather */
    size_t fan;        /* number of the fan, or MG_NOWHERE */
    bool adds_rows;    /* does it add what was gathered, a leaf a lane? Then the leaves get its adjoints as they are */
    bool ends;         /* has adjoints, none of which goes on to rows */
    mg_count value;    /* its first row; rows of partials follow those of values */
    mg_count adjoint;  /* and that of its adjoints */
    size_t turned;     /* its first column of `turned`: see mg_replay */
    mg_source operand[2];
} mg_step;

/* What is read at one position, and the binding of the input that selects it, or MG_NOWHERE. */
typedef struct {
    size_t at; /* of a gather the first slot of a part, of a selection the lane of its step */
    size_t binding;
} mg_read;

/* Leaves that differ from position to position: `parts` runs of `block` at each. */
typedef struct {
    size_t parts, block;
    size_t slots;  /* plan->gathered[slots + position * parts + part] */
    size_t before; /* parts of the gathers before it: slots / plan->positions */
} mg_gather;

/* Lanes start, start - 1, ... of a sum, `count` of them. */
typedef struct {
    size_t step, start, count;
} mg_rows;

/* Sums of products with leaves that read the same rows, whose lanes the sweep takes in turn. */
typedef struct {
    size_t from, to;                   /* of plan->run[]: the order of lanes at all positions but the exceptions */
    size_t exceptions, exceptions_end; /* of plan->exception[] */
    size_t select; /* the selection whose lane comes last at each position, or MG_NOWHERE */
    size_t first;  /* one of its steps: they share its rows */
} mg_fan;

typedef struct {
    size_t position, from, to; /* of plan->run[]: the order of lanes at one position */
} mg_exception;

/* One thing that the reverse does: a step, or a fan. */
typedef struct {
    bool is_fan;
    size_t number;
} mg_action;

/* A kind of addition to leaves: operand `factor` of a step, at each position from the last to the first. */
typedef struct {
    size_t step, factor;
} mg_event;

/* Leaves that the same events add to, in their order at a position. */
typedef struct {
    mg_slot first, end;
    size_t from, to;  /* of plan->event[] */
    bool is_matrix;   /* do they get the weights' additions of one sum, leaves side by side? Those run in vectors */
    bool is_gathered; /* are they rows that one step gathers, each of one part, and adds? */
} mg_region;

/* Where a plan computes: room for the numbers of rows, and where the texts are in them. Texts side by side share rows, the
 * longest text first, position after position, at each of which every text keeps its lane:
 *
 *               position 0          1        2
 *     text         a b c d    a b c d    a b            lengths 3, 3, 2, 2
 *     column       0 1 2 3    4 5 6 7    8 9
 *
 * The last columns of a row, up to a whole number of chunks, may have no text.
 *
 * Invariants, of what mg_replay points to
 *   start[t + 1] - start[t] is the number of texts longer than t
 *   length[0] == positions; line[d + 1] == line[d] + length[d] */
typedef struct {
    void *numbers, *index; /* what mg_replay points to */
    mg_blocks blocks;
} mg_workspace;

struct mg_plan {
    mg_blocks blocks;
    const mg_program *program;
    mg_reached reached;     /* while it is made and to be proved; and then */
    uint64_t *held;         /* [reached.slots]: what the first proof says that accumulators hold; before it NULL */
    const char *why_not;    /* that is no plan; NULL where there was no memory to find out */
    size_t positions, each; /* losses, and statements of one position */
    bool check_values;      /* some lane has no derivative at some position: its values must be finite */
    size_t loss;            /* the step whose lane 0 is the loss */
    size_t step_count, gather_count, select_count, part_count, run_count, exception_count, fan_count, action_count,
        event_count, region_count, gathered_count, selected_count;
    mg_step *step;
    mg_gather *gather;
    mg_read *gathered;
    size_t *selects;   /* [select_count]: of which step */
    mg_read *selected; /* [select_count * positions] */
    mg_part *part;
    mg_rows *run;
    mg_exception *exception;
    mg_fan *fan;
    mg_action *action;
    mg_event *event;
    mg_region *region;
    /* layout.c: multiplications of sums, at a position and for each two positions; rows, columns of `turned`, and what
       scratch must hold */
    double column_work, pair_work;
    mg_count value_rows, adjoint_rows;
    size_t turned_columns;
    mg_count most_lanes; /* of a map, and */
    size_t most_aside;   /* numbers that a fan of one text puts aside */
    mg_workspace workspace; /* of the program's own text */
};

/* plan.c. Makes a plan, or says why not. One that is not proved has the steps alone, which is all that forward needs. */
mg_status mg_plan_make(mg_program *program, bool proved, mg_plan **plan, const char **why_not);
void mg_plan_free(mg_plan *plan);
/* selections.c. Makes the steps of a plan, and if it is to be proved the order of the reverse, whatever the inputs select.
   Where there is none, plan->why_not says why. The operands are afterwards others. */
mg_status mg_fill_plan(mg_program *program, mg_plan *plan, bool proved, mg_blocks *scratch);
/* The plan reads what the program's inputs select now. */
void mg_plan_select(mg_plan *plan);

/* roll.c, schedule.c, proof.c: false, and plan->why_not. The first proof puts plan->held into `held`. */
bool mg_roll(mg_plan *plan);
bool mg_schedule(mg_plan *plan);
bool mg_prove(mg_plan *plan, mg_blocks *held);
#define MG_OTHER_ORDER "the gradients would be added in another order than the sweep's"
static inline bool mg_refuse_plan(mg_plan *plan, const char *why_not) {
    plan->why_not = why_not;
    return false;
}
/* regions.c: all leaves that operand f of step k adds to, also where an input selects them. */
mg_region mg_leaves_of(const mg_plan *plan, size_t k, size_t f);
/* traits.c: what follows from the operands of all steps. */
void mg_find_traits(mg_plan *plan);
/* first.c: which additions are the first, in the order of the plan as it is: of sources, parts and steps. */
void mg_find_first(mg_plan *plan);
/* layout.c: which rows every step has, and what else is the same for all texts. */
void mg_lay_out(mg_plan *plan);

/* replay.c. Where a row of kernels works: texts side by side, in rows of `padded` numbers, double, or float where the
 * kernels are the fast ones. Text d has position t in column start[t] + d.
 *
 * `turned` has what sums of products with leaves read, columns as lines: line line[d] + t of the matrix that begins at
 * number step.turned * lines is what the step reads at position t of text d, mg_padded(terms) numbers. Of a step that
 * adds_rows it has the adjoints, mg_padded(width) numbers. The last of its lines takes the places that have no text. */
typedef struct {
    const mg_plan *plan;
    size_t texts, positions, lines;
    size_t padded, computed;     /* numbers in a row; the first so many of them mean something: columns */
    const size_t *start;         /* the first column of a position */
    const size_t *length, *line, *line_of; /* line_of: by place */
    mg_slot *gathered;           /* by column: mg_gathered */
    size_t *selected;            /* by column: mg_selected */
    void *value, *adjoint, *turned, *scratch;
    size_t value_rows, scratch_numbers;
    void *leaf_value;            /* of slot `lowest` and those that follow; not written */
    void *leaf_adjoint;
    mg_slot lowest;
    mg_pool *pool;               /* whose threads may share a step; NULL where they have other work */
} mg_replay;

/* A text that was computed, and whose gradients go to the leaves. */
typedef struct {
    const mg_replay *replay;
    size_t text;
} mg_text;

/* The workspace for texts of these lengths, the longest first, of numbers of `size` bytes; on the tape's leaves. False
   without memory. What `replay` refers to stays until the workspace is entered again. */
bool mg_workspace_enter(mg_tape *tape, const mg_plan *plan, mg_workspace *workspace, const size_t *length, size_t texts,
                        size_t size, mg_replay *replay);
/* The inputs of a text, in order; the first text's first. The values are in range, and the inputs were found. */
void mg_replay_select(const mg_replay *replay, size_t text, const int32_t *values);
/* About how many bytes a text of so many positions needs, of numbers of `size` bytes. */
size_t mg_workspace_bytes(const mg_plan *plan, size_t positions, size_t size);
/* Numbers that additions of one text to leaves need, where there are several texts. */
size_t mg_plan_leaves(const mg_plan *plan);

/* The loss of a text that forward left, of numbers of `size` bytes. */
double mg_replay_loss(const mg_replay *replay, size_t text, size_t size);
/* Forward and reverse with the program's selections, all lanes' numbers to the tape; false where the statements must be
   computed one by one. */
bool mg_plan_compute(mg_program *program);
bool mg_plan_sweep(mg_program *program);

static inline size_t mg_padded(size_t positions) { return (positions + MG_CHUNK - 1) / MG_CHUNK * MG_CHUNK; }
static inline mg_slot mg_step_head(const mg_plan *plan, size_t step, size_t position) {
    return plan->program->statements.item[position * plan->each + step];
}
static inline size_t mg_count_at(mg_count count, size_t positions) { return count.fixed + count.each * positions; }
/* A step's first row of values, and of adjoints. */
static inline size_t mg_value_row(const mg_replay *replay, size_t step) {
    return mg_count_at(replay->plan->step[step].value, replay->positions);
}
static inline size_t mg_adjoint_row(const mg_replay *replay, size_t step) {
    return mg_count_at(replay->plan->step[step].adjoint, replay->positions);
}
/* What a gather reads in a column, part by part; what a selection reads, column by column. */
static inline mg_slot *mg_gathered(const mg_replay *replay, const mg_gather *gather, size_t column) {
    return replay->gathered + gather->before * replay->computed + column * gather->parts;
}
static inline size_t *mg_selected(const mg_replay *replay, size_t select) {
    return replay->selected + select * replay->computed;
}
/* Rows of a step in texts of so many positions, where it is not uniform. */
static inline size_t mg_rows_of(const mg_step *step, size_t positions) {
    return step->groups * (step->causal ? positions : step->width);
}
/* How many steps a source reads, and their numbers. */
static inline size_t mg_steps_read(const mg_source *x) {
    return x->from > MG_FROM_SELECTED ? 0 : x->parts > 0 ? x->parts : 1;
}
static inline size_t mg_step_read(const mg_plan *plan, const mg_source *x, size_t n) {
    return x->parts > 0 ? plan->part[x->part + n].step : x->step;
}
/* Does an operand read leaves, the same at all positions or others at each? */
static inline bool mg_is_leaves(const mg_plan *plan, const mg_source *x) {
    return x->from == MG_FROM_LEAVES || (x->from == MG_FROM_ROWS && x->parts == 0 && x->step >= plan->each);
}
/* Does the reverse add to rows through it? */
static inline bool mg_adds_to_rows(const mg_plan *plan, const mg_source *x) {
    return x->derives && x->from != MG_FROM_CONSTANT && !mg_is_leaves(plan, x);
}
/* How far from its first the last lane is that an operand reads. */
static inline size_t mg_reach(const mg_step *step, const mg_source *x) {
    return (step->groups - 1) * x->group + (step->width - 1) * x->lane + (step->terms - 1) * x->term;
}
/* Which factor of a sum is of all positions so far, or MG_NOWHERE. */
static inline size_t mg_past_of(const mg_step *step) {
    for (size_t f = 0; f < step->factors; f++) {
        if (step->operand[f].from == MG_FROM_PAST) {
            return f;
        }
    }
    return MG_NOWHERE;
}
/* Lanes in a group, and terms, at a position. */
static inline size_t mg_width_at(const mg_step *step, size_t position) {
    return step->causal ? position + 1 : step->width;
}
static inline size_t mg_terms_at(const mg_step *step, size_t position) {
    return step->causal_terms ? position + 1 : step->terms;
}
/* Do two sums of products with leaves read the same rows in the same way? */
bool mg_read_alike(const mg_plan *plan, const mg_step *a, const mg_step *b);
/* The slot of a lane of a step at a position. */
mg_slot mg_lane_of_step(const mg_plan *plan, size_t step, size_t position, size_t lane);
/* The slot that a source gives. */
mg_slot mg_source_slot(const mg_plan *plan, const mg_step *step, size_t f, size_t position, size_t g, size_t i,
                       size_t c);

#endif
