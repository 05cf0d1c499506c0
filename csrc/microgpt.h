/* microgpt.h: a tape for scalar reverse-mode differentiation, exact to the last bit.
 *
 * The tape does what a pure-Python `Value` class does, number for number: every operation rounds as Python's float
 * does, and the reverse sweep adds to each gradient in the order of a depth-first search from the result.
 *
 * Glossary
 *   slot       one place in the arena: a primal, an adjoint, two operands with their partials, an operation code
 *   statement  one recorded operation: one lane (a scalar operation) or many (a map, a sum)
 *   lane       one result of a statement; what Python calls a Value
 *   term       a lane of a sum is a sum of terms; one term's operands get their contributions together
 *   primal     the number a lane holds (`data`)
 *   adjoint    the derivative of a sweep's result with respect to a lane (`grad`)
 *   partial    the derivative of a statement with respect to one operand
 *   seed       the adjoint a sweep starts with: 1 at its result
 *   sweep      the reverse pass: operand adjoint += partial * adjoint, in depth-first order reversed
 *   mark       a moment in a tape's life; rewind forgets every statement recorded since
 *   page       512 slots; the unit in which storage is given back
 *   root       a lane that somebody still holds; collect gives back the pages that no root needs
 *
 * The tape (slots of page a, page b, ...; one column is one slot, every row is one array)
 *
 *     primal    | 2.0 | 3.0 | 6.0 | 0.0 | hdr | pay | y0  | y1  | y2  |  free ...
 *     adjoint   | 3.0 | 2.0 | 1.0 |     | hdr |     |     |     |     |
 *     operand   |     |     | 0 1 |     | n m | x w | h 0 | h 1 | h 2 |
 *     partial   |     |     | 3 2 |     |     |     |     |     |     |
 *     operation | leaf| leaf| mul |leaf | lin | ... |lane |lane |lane |
 *                 a     b    a*b   k    '---------'  '---------------'
 *                                        header of a       its lanes
 *                                        sum
 *
 * Ids are never used twice: a page gets a serial number, unique in the process, each time it is opened, and
 * id = serial * MG_PAGE + offset. An id that was rewound or collected, or which belongs to another tape, is
 * therefore recognised and refused (MG_STALE), never read as another lane. Inside the arena operands are slot numbers,
 * which are safe there: an operand lives at least as long as the statement that uses it.
 *
 * Errors: workers return an mg_status. Makers of lanes return an id, or MG_NONE and leave the status in the tape, where
 * it stays (and makes every later maker fail) until mg_tape_take_status. A failed call changes nothing else. The
 * library never prints, exits or aborts.
 *
 * Threads: a tape belongs to the thread that made it or that called mg_tape_adopt last; calls from others fail with
 * MG_WRONG_THREAD, also mg_tape_take_status, and change nothing. A tape that follows (mg_tape_follow) becomes the
 * calling thread's with each call: one that finds another thread's call in progress waits for it, a tenth of a second,
 * and then fails with MG_BUSY and changes nothing. Each thread has a status, and may be quiet, by itself. Tapes, programs and trainers may be freed by any thread
 * and in any order: a tape's storage lives as long as one of its programs and trainers. Different tapes may be used at the same time.
 */
#ifndef MICROGPT_H
#define MICROGPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The part between the two marker lines is also what the Python binding declares. */
/* [cffi begin] */
typedef struct mg_tape mg_tape;
typedef struct mg_program mg_program;
typedef struct mg_trainer mg_trainer;
typedef struct mg_sampler mg_sampler;
typedef uint64_t mg_id;   /* a lane; lanes of one statement have consecutive ids */
typedef uint64_t mg_mark; /* a moment: greater than every id recorded before it */

#define MG_NONE 18446744073709551615U /* no lane: a maker failed */
#define MG_PAGE 512                   /* slots in a page */
#define MG_MOST_THREADS 256           /* that share a trainer's work */
#define MG_MOST_INPUTS 1048576        /* integer inputs of a program */

typedef enum {
    MG_OK,
    MG_NO_MEMORY,     /* an allocation failed */
    MG_STALE,         /* an id that is not of this tape, or no longer */
    MG_WRONG_THREAD,  /* the tape belongs to another thread */
    MG_CLOSED,        /* the tape was closed */
    MG_BUSY,          /* the tape is in the middle of another thread's call */
    MG_SHAPE,         /* sizes that do not fit together, or a range that is not one run of lanes */
    MG_OPERATION,     /* no such operation, or one of another arity */
    MG_OVERWRITTEN,   /* sweep: an operand of a sum of products was written after the statement was recorded */
    MG_NOT_REPLAYABLE, /* program: a custom statement, whose value only the caller can compute */
    MG_NOT_FINITE,    /* training: the loss is an infinity or not a number */
    MG_DOMAIN,        /* as Python: ValueError, math domain error */
    MG_RANGE,         /* as Python: OverflowError, math range error */
    MG_POWER_RANGE,   /* as Python: OverflowError of ** */
    MG_POWER_ZERO,    /* as Python: ZeroDivisionError of ** */
    MG_POWER_COMPLEX, /* a negative number to a fractional power, which Python makes complex */
    MG_DIVISION,      /* as Python: ZeroDivisionError of / */
    MG_INTERRUPTED,   /* training: somebody called mg_trainer_interrupt */
    MG_STATUS_COUNT
} mg_status;

typedef enum {
    MG_LEAF,     /* a number that depends on nothing */
    MG_CONSTANT, /* a leaf that an operation with a number in it made: 2 in a * 2 */
    MG_ADD,      /* a + b */
    MG_MUL,      /* a * b */
    MG_POW,      /* a ** k, k constant */
    MG_POWER,    /* a ** b */
    MG_EXPONENT, /* k ** a, k constant */
    MG_LOG,
    MG_EXP,
    MG_RELU,    /* max(0, a) */
    MG_TANH,
    MG_SIGMOID, /* 1 / (1 + exp(-a)) */
    MG_SQRT,
    MG_SIN,
    MG_COS,
    MG_ABS,
    MG_MAX, /* the first of two equals */
    MG_MIN,
    MG_TAN,
    MG_SINH,
    MG_COSH,
    MG_ASIN,
    MG_ACOS,
    MG_ATAN,
    MG_LOG2,
    MG_LOG10,
    MG_LOG1P, /* log(1 + a) */
    MG_EXP2,  /* 2 ** a */
    MG_EXPM1, /* exp(a) - 1 */
    MG_ERF,
    MG_SOFTPLUS,     /* log(1 + exp(a)) */
    MG_SCALAR_COUNT, /* from here on: statements with a header */
    MG_CUSTOM,       /* one lane: any value, operands and partials, from the caller */
    MG_SUM,          /* sum(a[c] for c), or sum(a[c] * b[c] for c) */
    MG_LARGEST,      /* max(a[c] for c), which has no derivative: a constant that is computed */
    MG_OPERATION_COUNT
} mg_operation;

/* Lifecycle. A new tape belongs to the calling thread; NULL when there is no memory. Close frees the storage and keeps
   the tape, so that calls on it fail with MG_CLOSED; free may be called from any thread. */
mg_tape *mg_tape_new(void);
mg_status mg_tape_close(mg_tape *tape);
void mg_tape_free(mg_tape *tape);
mg_status mg_tape_adopt(mg_tape *tape);           /* from now on the tape belongs to the calling thread */
/* Does the tape follow the calling thread from now on? Not unless told so. */
mg_status mg_tape_follow(mg_tape *tape, bool follows);
mg_status mg_tape_take_status(mg_tape *tape);     /* the status that a maker left, which is thereby cleared */
const char *mg_status_text(mg_status status);     /* one clear phrase, for messages */

/* Without gradients: while this is on, what the calling thread records on any tape is a leaf, which has its primal but
   no operands. Returns what was before. */
bool mg_no_grad(bool on);

/* Record: scalar statements of one lane. */
mg_id mg_leaf(mg_tape *tape, double value);
mg_id mg_unary(mg_tape *tape, int32_t operation, mg_id a);
mg_id mg_unary_with(mg_tape *tape, int32_t operation, mg_id a, double k); /* MG_POW, MG_EXPONENT */
mg_id mg_binary(mg_tape *tape, int32_t operation, mg_id a, mg_id b);
mg_id mg_add(mg_tape *tape, mg_id a, mg_id b);                            /* mg_binary with MG_ADD */
mg_id mg_mul(mg_tape *tape, mg_id a, mg_id b);                            /* mg_binary with MG_MUL */
mg_id mg_binary_with(mg_tape *tape, int32_t operation, mg_id a, double k); /* records the leaf k (id - 1) first */
mg_id mg_custom(mg_tape *tape, double value, const mg_id *operands, const double *partials, size_t count);
/* Other partials for a custom statement, as many as it has operands (MG_SHAPE); MG_OPERATION for any other. */
mg_status mg_set_partials(mg_tape *tape, mg_id lane, const double *partials, size_t count);

/* Record: many lanes at once, as if their scalar operations had been recorded one by one, sums from 0 and left to
   right. Lanes come in `groups` of `width`. A view says which lane is the operand of lane i of group g, at term c:
       first + g * group + i * lane + c * term
       list[i / block] + g * group + i % block * lane + c * term    with a list, by lane
       list[c / block] + g * group + i * lane + c % block * term    with a list, by term
   Makers return the id of the first of groups * width lanes, which have consecutive ids. */
typedef struct {
    mg_id first;
    size_t group, lane, term;
    const mg_id *list; /* NULL: none */
    size_t entries, block;
    bool by_term;
} mg_view;
mg_id mg_leaves(mg_tape *tape, const double *values, size_t n);
/* A map: a scalar operation for each lane, on a and b, or on a and the constant k where b is NULL. */
mg_id mg_map(mg_tape *tape, int32_t operation, size_t groups, size_t width, const mg_view *a, const mg_view *b,
             double k);
/* For each lane the sum over c < terms of a, or of the products a * b where b is not NULL. */
mg_id mg_sum(mg_tape *tape, size_t groups, size_t width, size_t terms, const mg_view *a, const mg_view *b);
/* One lane a group: the largest of its terms, without a derivative. */
mg_id mg_largest(mg_tape *tape, size_t groups, size_t terms, const mg_view *x);
/* A recording begins, or ends: what comes next goes to a page of its own, so that its times of writing are. While it is
   quiet, makers leave a NaN where Python would raise: for graphs that are recorded on numbers that mean nothing, to be
   replayed on others. */
mg_status mg_tape_record_quietly(mg_tape *tape, bool quiet);

/* Compute. The sweep sets the adjoint of its result to 1 and adds to the adjoints of all that it depends on. Sweeping
   twice adds twice, to every lane; the products inside a sum have no adjoints of their own, and start
   each sweep at 0. */
mg_status mg_sweep(mg_tape *tape, mg_id result);
/* Optimizers: what a step makes of each parameter p, with g its gradient, m and v its moments, and the step's number t
   from 1. (The moments that an optimizer does not use stay 0.)
     MG_SGD    m = momentum * m + g; p -= learning_rate * m
     MG_ADAM   m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g ** 2
               m_hat = m / (1 - beta1 ** t); v_hat = v / (1 - beta2 ** t)
               p -= learning_rate * m_hat / (v_hat ** 0.5 + epsilon)
     MG_ADAMW  p -= learning_rate * weight_decay * p first, and then as MG_ADAM */
typedef enum { MG_ADAM, MG_ADAMW, MG_SGD, MG_OPTIMIZER_COUNT } mg_optimizer_kind;
typedef struct {
    int32_t kind; /* an mg_optimizer_kind */
    double beta1, beta2, epsilon, weight_decay, momentum;
} mg_optimizer;

/* Step number `step` from 1 of an optimizer over `count` runs of leaves, sizes[r] of them from first[r];
   their gradients are then 0. m and v are the caller's moments, `parameters` of each: one a leaf, run after run (else
   MG_SHAPE). Changes nothing when the square of a gradient overflows (MG_POWER_RANGE). */
mg_status mg_optimizer_step(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                            size_t parameters, const mg_optimizer *optimizer, uint64_t step, double learning_rate);

/* Sums of gradients over documents, `parameters` of them. Add: sum[i] += adjoint of leaf i of the runs, whose adjoints are
   then 0. Mean: the adjoint of leaf i is sum[i] * share, and sum[i] is then 0. */
mg_status mg_gradients_add(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                           size_t parameters);
mg_status mg_gradients_mean(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                            size_t parameters, double share);

/* Replay. A program is what a result was computed from, with the orders of recording and of the sweep worked out once.
   Forward computes all of it that was recorded since the mark (0: all) again, in place, from what it depends on as that
   is now, and fails as the operations would; reverse clears the adjoints of all that was computed, sets that of the
   result to 1 and sweeps. Between the two nothing may be written (MG_OVERWRITTEN). Lanes keep their ids: read and write
   them as ever. A program refers to its tape's lanes, which must stay (the result as a root of collections). NULL, and a status in the tape, on failure. */
mg_program *mg_program_new(mg_tape *tape, mg_id result, mg_mark since);
void mg_program_free(mg_program *program);
mg_status mg_program_forward(mg_program *program);
mg_status mg_program_reverse(mg_program *program);
/* Integer inputs by number, from 0 to MG_MOST_INPUTS - 1 (else MG_SHAPE). Bind: what operand `operand` of the statement that `lane` belongs to reads (of the view's
   list, what entry `entry` of it names) is from now on the run of `size` lanes from `first` + value * `size`, of which it
   may read fewer, for values of input `input` below `count`: other leaves instead of leaves, or other lanes of the same statement, recorded before
   `lane` was (else MG_SHAPE; MG_OPERATION where the statement has no such operand). An input may be bound to several
   operands; a statement that the result does not need is not computed, and nothing of it is bound. Not after
   mg_program_plan. Set: the values of all inputs, in order (MG_SHAPE, and nothing changed, when there are more or fewer
   than were bound, or one is out of range). */
mg_status mg_program_bind(mg_program *program, size_t input, mg_id lane, size_t operand, size_t entry, mg_id first,
                          size_t size, size_t count);
mg_status mg_program_set(mg_program *program, const int32_t *values, size_t n);
/* How many losses a text of so many tokens has: those that need no other inputs; 0 where the result is not the sum or the
   mean of losses that were recorded one after the other. */
size_t mg_program_losses(mg_program *program, size_t tokens);
/* Is a shorter program of the same tape (else MG_SHAPE), with losses t < n, what this one computes for its first n: the same
   statements of the same operands, inputs and constants? Leaves that were recorded since the mark, by the recorded
   functions, are the same where their values are; others where they are one. */
mg_status mg_program_begins(mg_program *program, mg_program *shorter, mg_mark since, bool *begins);
/* Computes the statements of all positions together from now on, where that is proved to give the same numbers: the
   result is the sum or the mean of losses that the same statements were recorded for, one position after the other. If
   it is not, why_not_planned says why, in words; otherwise it is NULL. */
mg_status mg_program_plan(mg_program *program);
const char *mg_program_why_not_planned(const mg_program *program);

/* Train: steps of an optimizer on a program whose result is the loss of a document and whose inputs are its tokens. A
   trainer holds `count` runs of parameters, their moments and the number of steps taken; it holds the
   program. A document of fewer tokens than the program has inputs has the losses that need no others, and their
   mean or sum. A fast trainer computes in float, with multiplications and additions fused: its program must have a plan,
   and depend on no other leaves than parameters (MG_SHAPE). NULL, and a status in the tape, on failure. */
mg_trainer *mg_trainer_new(mg_program *program, const mg_id *first, const size_t *sizes, size_t count,
                           const mg_optimizer *optimizer, bool fast);
void mg_trainer_free(mg_trainer *trainer);
/* From now on so many threads, the caller's among them, share the trainer's work (1, as a new trainer has, up to
   MG_MOST_THREADS, else MG_SHAPE): documents of a batch, and parameters. The numbers are the same for any number. The
   others are started when there is work for them, sleep when there is none, take no signals, and end with the trainer;
   where none can be started, the caller does all. */
mg_status mg_trainer_use_threads(mg_trainer *trainer, size_t threads);
/* Takes `steps` more steps, of `batch_size` documents each: document d is tokens[starts[d]] to tokens[starts[d + 1] -
   1], and the first of a step is number step * batch_size, modulo `documents`. Step i has learning_rates[i] and leaves
   its loss in losses[i], the mean of its documents'. Gradients that the parameters have before are forgotten. Sets
   *done to the steps that were taken. A status other than MG_OK is that of step *done, which changed no parameter and
   left their gradients 0: MG_NOT_FINITE, with its loss in losses[*done]; MG_SHAPE where a document has no loss, or a
   token that is out of range (the program reads no more of them than it has inputs); or as the operations and the
   optimizer fail. The lanes of the program hold no particular numbers afterwards. */
mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done);
/* End the steps that this trainer takes, or the next ones, before their next documents, with MG_INTERRUPTED: the status
   of a step that was not taken. The only function that any thread may call at any time, while there is the trainer. */
void mg_trainer_interrupt(mg_trainer *trainer);
/* A step in parts, for several processes that share its documents: each takes the gradients of some, whoever has a part
   of the parameters adds that part up, and all apply the sum. Done so, in the order of the documents, a step has the bits
   of mg_trainer_run. Gradients are numbers of the trainer's own: double, or float of a fast one; buffers of another size
   than is said are refused (MG_SHAPE).
   Gradients: those of documents first, first + 1, ... (modulo `documents`), `count` of them, each from 0, in slices of
   `width` parameters, the last of which may be narrower: slice s has `count` rows, a document each, and begins at number
   s * width * count. *done and the losses of so many documents are set, statuses are those of mg_trainer_run, and
   MG_NOT_FINITE leaves its loss in losses[*done]. No parameter changes.
   Add: rows as wide as the sum, one after the other, to what the sum holds.
   Apply: one step of the optimizer with the sum over batch_size documents, whose mean it takes. A failed one changes
   nothing. */
mg_status mg_trainer_gradients(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                               size_t first, size_t count, size_t width, void *gradients, size_t bytes, double *losses,
                               size_t *done);
mg_status mg_trainer_add_rows(mg_trainer *trainer, const void *rows, size_t rows_bytes, void *sum, size_t sum_bytes);
mg_status mg_trainer_apply(mg_trainer *trainer, const void *sum, size_t bytes, size_t batch_size,
                           double learning_rate);
/* The mean loss of documents from .. to - 1, each by itself, without a step; in losses[to - from]. */
mg_status mg_trainer_losses(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t from, size_t to,
                            double *losses);
/* The optimizer's state: the number of steps taken, and the moments of all parameters, `parameters` of each, run after
   run. (A fast trainer's are float, and come and go as such.) */
mg_status mg_trainer_read_state(mg_trainer *trainer, double *m, double *v, size_t parameters, uint64_t *steps);
mg_status mg_trainer_write_state(mg_trainer *trainer, const double *m, const double *v, size_t parameters,
                                 uint64_t steps);

/* Sample: texts of a model whose program is the mean, or the sum, of surprisals: at each position the same statements lead
   from the tokens so far to a vector, of which the next token's input selects a lane. Those vectors are the
   probabilities. A sampler holds the program, which needs no plan. NULL, and a status in the tape, on failure: MG_OPERATION
   where the program is of another form.
   Run draws `count` texts, one after the other, each from the same `given` first tokens, at least one and no more than
   there are positions; a text ends before the token `end`, or when there are no positions left. A token is drawn as
   Python's random.choices(range(n), weights) does, from weights that are the probabilities: those of the top_k likeliest
   tokens (0: all), and of these the fewest likeliest that have the part top_p of their sum (0: all), and 0 for the others;
   of equal ones the first is the likelier. Where greedy, it is the likeliest, and none is drawn. `state` is that of the
   Mersenne Twister, 624 words and the index, as random.getstate() has them. The tokens of all texts, without the given
   ones, come one after the other, text i having lengths[i] of them; `room` is at least count * (positions - given + 1).
   *done is set to the number of texts. MG_NOT_FINITE says that text *done needs a number that is no ordinary one: the state
   is then that before this text. */
typedef struct {
    bool greedy;
    size_t top_k;
    double top_p;
    int32_t end;
} mg_sampling;
mg_sampler *mg_sampler_new(mg_program *program);
void mg_sampler_free(mg_sampler *sampler);
mg_status mg_sampler_run(mg_sampler *sampler, const mg_sampling *settings, const int32_t *given, size_t given_count,
                         size_t count, uint32_t *state, size_t state_words, int32_t *tokens, size_t room,
                         int32_t *lengths, size_t *done);
/* The n probabilities after `given`. */
mg_status mg_sampler_probabilities(mg_sampler *sampler, const int32_t *given, size_t given_count, double *out, size_t n);

/* Read and write lanes; n lanes are copied from or to the caller's buffer. */
double mg_value(mg_tape *tape, mg_id lane);   /* NaN and a status when the id is refused */
double mg_adjoint(mg_tape *tape, mg_id lane);
mg_status mg_set_value(mg_tape *tape, mg_id lane, double value);
mg_status mg_set_adjoint(mg_tape *tape, mg_id lane, double adjoint);
mg_status mg_read_values(mg_tape *tape, mg_id first, size_t n, double *out);
mg_status mg_read_adjoints(mg_tape *tape, mg_id first, size_t n, double *out);
mg_status mg_write_values(mg_tape *tape, mg_id first, size_t n, const double *in);
mg_status mg_write_adjoints(mg_tape *tape, mg_id first, size_t n, const double *in);
mg_status mg_clear_adjoints(mg_tape *tape, mg_id first, size_t n);

/* Look into a statement, for drawing and tests. */
int32_t mg_lane_operation(mg_tape *tape, mg_id lane); /* -1 and a status when the id is refused */
double mg_lane_constant(mg_tape *tape, mg_id lane);   /* k of MG_POW, MG_EXPONENT; else NaN */
size_t mg_lane_operand_count(mg_tape *tape, mg_id lane); /* 0 and a status when the id is refused */
/* The operands of a lane and the partials with respect to them, as many as mg_lane_operand_count says. */
mg_status mg_lane_operands(mg_tape *tape, mg_id lane, mg_id *operands, double *partials);
/* The statement that a lane is of. A map has one group, and operands of their own for each lane (mg_lane_operands); of
   a sum and a largest, mg_lane_view gives the views: entries of a list as many as there is room for, and list itself
   not. Of a scalar operation, a statement of one lane. MG_SHAPE where there is no view. */
typedef struct {
    int32_t operation;
    mg_id first; /* its first lane */
    size_t groups, width, terms;
    size_t factors; /* operands of a term */
} mg_shape;
mg_status mg_lane_statement(mg_tape *tape, mg_id lane, mg_shape *out);
mg_status mg_lane_view(mg_tape *tape, mg_id lane, size_t factor, mg_view *out, mg_id *list, size_t room);
/* The first lanes of a program's statements, in order of recording, from number `from` on, as many as there is room for;
   returns how many statements there are. 0 where the tape cannot be had. */
size_t mg_program_lanes(mg_program *program, size_t from, mg_id *lanes, size_t room);
const char *mg_operation_name(int32_t operation);     /* NULL when there is none */
int32_t mg_operation_arity(int32_t operation);        /* operands of a scalar operation; -1 for the others */
bool mg_operation_constant(int32_t operation);        /* does it take a constant besides its operand? */
/* What a scalar operation computes, as a Python expression of its operands a and b, its constant k and its value y: the
   value (which = 0), and the partials with respect to a (1) and b (2). NULL where there is none. */
const char *mg_operation_python(int32_t operation, int32_t which);

/* Positions. Rewind forgets all lanes recorded since the mark; their ids are refused from then on. Collect forgets all
   lanes that are not needed by the roots, which are `count` runs of lanes: sizes[r] lanes from roots[r]. The page that
   is being filled is a root too; ids that are not of this tape are ignored. Rewinding to a number that no mark gave,
   inside a statement, is refused (MG_SHAPE). */
mg_mark mg_tape_mark(mg_tape *tape);
mg_status mg_tape_rewind(mg_tape *tape, mg_mark mark);
mg_status mg_tape_collect(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count);
/* What other threads recorded last on a tape that follows is kept too: they may not have noted it down yet. A host that
   gathers its roots while other threads record asks for this moment first: the mark, and what those threads recorded
   last (a run of lanes each, with the thread as pthread_self names it), as many of the `*count` as there is room for.
   Collect since the mark then takes as roots what has been recorded since, and otherwise only those that it is given. */
mg_status mg_tape_now(mg_tape *tape, mg_mark *mark, mg_id *last, size_t *sizes, uint64_t *threads, size_t room,
                      size_t *count);
mg_status mg_tape_collect_since(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count, mg_mark since);

/* Capacity. */
typedef struct {
    uint64_t slots;    /* slots recorded, in pages that are in use */
    uint64_t capacity; /* slots allocated */
    uint64_t bytes;    /* everything that the tape has allocated */
} mg_memory;
mg_memory mg_tape_memory(mg_tape *tape); /* all 0 where the tape belongs to another thread */

/* The row of kernels that was chosen for this processor: "plain", "avx2", "avx512" or "neon". All give the same bits;
   the environment variable MICROGPT_KERNELS, read when the first kernel is used, asks for another that it can run. */
const char *mg_kernels_name(void);

/* Testing: the k-th allocation from now fails, and with it all later ones; 0 lets all succeed again. */
void mg_tape_fail_allocation(mg_tape *tape, uint64_t k);
/* [cffi end] */

/* For a host with a lock of its own, which it need not give up around calls that take nanoseconds: would a call on the
   tape have to wait for another thread's now? Any thread may ask. */
bool mg_tape_would_wait(mg_tape *tape);

#ifdef __cplusplus
}
#endif
#endif
