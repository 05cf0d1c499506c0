/* microgpt.h: a tape for scalar reverse-mode differentiation, exact to the last bit.
 *
 * The tape does what a pure-Python `Value` class does, number for number: every operation rounds as Python's float
 * does, and the reverse sweep adds to each gradient in the order of a depth-first search from the result.
 *
 * Glossary
 *   slot       one place in the arena: a primal, an adjoint, two operands with their partials, an operation code
 *   statement  one recorded operation: one lane (a scalar operation) or many (a span statement)
 *   lane       one result of a statement; what Python calls a Value
 *   term       a lane of a span statement is a sum of terms; one term's operands get their contributions together
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
 *                                        span statement
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
 * MG_WRONG_THREAD, also mg_tape_take_status, and change nothing. Different tapes may be used at the same time.
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
typedef uint64_t mg_id;   /* a lane; lanes of one statement have consecutive ids */
typedef uint64_t mg_mark; /* a moment: greater than every id recorded before it */

#define MG_NONE 18446744073709551615U /* no lane: a maker failed */
#define MG_PAGE 512                   /* slots in a page */

typedef enum {
    MG_OK,
    MG_NO_MEMORY,     /* an allocation failed */
    MG_STALE,         /* an id that is not of this tape, or no longer */
    MG_WRONG_THREAD,  /* the tape belongs to another thread */
    MG_CLOSED,        /* the tape was closed */
    MG_BUSY,          /* adopt: the tape is in the middle of a call */
    MG_SHAPE,         /* sizes that do not fit together, or a range that is not one run of lanes */
    MG_OPERATION,     /* no such operation, or one of another arity */
    MG_OVERWRITTEN,   /* sweep: an operand of a span statement was written after the statement was recorded */
    MG_NOT_REPLAYABLE, /* program: a custom statement, whose value only the caller can compute */
    MG_NOT_FINITE,    /* training: the loss is an infinity or not a number */
    MG_DOMAIN,        /* as Python: ValueError, math domain error */
    MG_RANGE,         /* as Python: OverflowError, math range error */
    MG_POWER_RANGE,   /* as Python: OverflowError of ** */
    MG_POWER_ZERO,    /* as Python: ZeroDivisionError of ** */
    MG_POWER_COMPLEX, /* a negative number to a fractional power, which Python makes complex */
    MG_DIVISION,      /* as Python: ZeroDivisionError of / */
    MG_STATUS_COUNT
} mg_status;

typedef enum {
    MG_LEAF,     /* a number that depends on nothing */
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
    MG_MAX,              /* the first of two equals */
    MG_MIN,
    MG_SCALAR_COUNT,     /* from here on: span statements */
    MG_CUSTOM,           /* one lane: any value, operands and partials, from the caller */
    MG_SPAN_ADD,         /* a[i] + b[i] */
    MG_SPAN_SCALE,       /* x[i] * s */
    MG_SPAN_SCALE_BY,    /* x[i] * k, k constant */
    MG_SPAN_RMS,         /* one lane: (sum(x*x) / n + 1e-5) ** -0.5 */
    MG_SPAN_RELU,        /* relu(x[i]) */
    MG_SPAN_RELU_SQUARE, /* relu(x[i]) ** 2 */
    MG_SPAN_LINEAR,      /* sum(w[i][c] * x[c] for c) */
    MG_SPAN_LOGIT,       /* attention logits: sum(q[j] * k[u][j] for j) / sqrt(head size) */
    MG_SPAN_EXP,         /* exp(x[i] - largest of its group) */
    MG_SPAN_TOTAL,       /* sum of a group */
    MG_SPAN_QUOTIENT,    /* e[i] / total of its group */
    MG_SPAN_MIX,         /* attention output: sum(weight[u] * v[u][j] for u) */
    MG_SPAN_SURPRISAL,   /* one lane: -log(p) */
    MG_SPAN_MEAN,        /* one lane: (1 / n) * sum of n lanes */
    MG_OPERATION_COUNT
} mg_operation;

/* Lifecycle. A new tape belongs to the calling thread; NULL when there is no memory. Close frees the storage and keeps
   the tape, so that calls on it fail with MG_CLOSED; free may be called from any thread. */
mg_tape *mg_tape_new(void);
mg_status mg_tape_close(mg_tape *tape);
void mg_tape_free(mg_tape *tape);
mg_status mg_tape_adopt(mg_tape *tape);           /* from now on the tape belongs to the calling thread */
mg_status mg_tape_take_status(mg_tape *tape);     /* the status that a maker left, which is thereby cleared */
const char *mg_status_text(mg_status status);     /* one clear phrase, for messages */

/* Record: scalar statements of one lane. */
mg_id mg_leaf(mg_tape *tape, double value);
mg_id mg_unary(mg_tape *tape, int32_t operation, mg_id a);
mg_id mg_unary_with(mg_tape *tape, int32_t operation, mg_id a, double k); /* MG_POW, MG_EXPONENT */
mg_id mg_binary(mg_tape *tape, int32_t operation, mg_id a, mg_id b);
mg_id mg_add(mg_tape *tape, mg_id a, mg_id b);                            /* mg_binary with MG_ADD */
mg_id mg_mul(mg_tape *tape, mg_id a, mg_id b);                            /* mg_binary with MG_MUL */
mg_id mg_binary_with(mg_tape *tape, int32_t operation, mg_id a, double k); /* records the leaf k (id - 1) first */
mg_id mg_custom(mg_tape *tape, double value, const mg_id *operands, const double *partials, size_t count);

/* Record: span statements. Each is defined as if its scalar operations had been recorded one by one, as the course
   writes them. Operands are runs of lanes, named by the id of the first. Return the id of the first lane. */
mg_id mg_span_leaves(mg_tape *tape, const double *values, size_t n);     /* n leaves in a row */
mg_id mg_span_add(mg_tape *tape, mg_id a, mg_id b, size_t n);
mg_id mg_span_scale_by(mg_tape *tape, mg_id x, size_t n, double k);
mg_id mg_span_relu(mg_tape *tape, mg_id x, size_t n, bool squared);
mg_id mg_span_rmsnorm(mg_tape *tape, mg_id x, size_t n);                /* n lanes */
mg_id mg_span_linear(mg_tape *tape, mg_id x, mg_id w, size_t rows, size_t columns); /* w[rows][columns] -> rows lanes */
mg_id mg_span_softmax(mg_tape *tape, mg_id x, size_t n);                /* n lanes */
mg_id mg_span_attention(mg_tape *tape, mg_id q, const mg_id *keys, const mg_id *values, size_t positions, size_t heads,
                        size_t head_size);                               /* heads * head_size lanes */
mg_id mg_span_surprisal(mg_tape *tape, mg_id p);                        /* -log(p), one lane */
mg_id mg_span_mean(mg_tape *tape, const mg_id *x, size_t n);            /* (1 / n) * sum(x), one lane */

/* Compute. The sweep sets the adjoint of its result to 1 and adds to the adjoints of all that it depends on. Sweeping
   twice adds twice, to every lane; the scalar operations inside a span statement have no adjoints of their own, and
   start each sweep at 0. */
mg_status mg_sweep(mg_tape *tape, mg_id result);
/* One step of Adam over `count` runs of leaves, sizes[r] of them from first[r]; their gradients are then 0. m and v are
   the caller's moments, `parameters` of each: one a leaf, run after run (else MG_SHAPE, and nothing is written). correction1 is 1 - beta1 ** step, likewise correction2.
   Changes nothing when the square of a gradient overflows (MG_POWER_RANGE). */
mg_status mg_adam(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *m, double *v,
                  size_t parameters, double learning_rate, double beta1, double beta2, double correction1, double correction2,
                  double epsilon);

/* Sums of gradients over documents, `parameters` of them as for mg_adam. Add: sum[i] += adjoint of leaf i, for the leaves of mg_adam, whose adjoints are
   then 0. Mean: the adjoint of leaf i is sum[i] * share, and sum[i] is then 0. */
mg_status mg_gradients_add(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                           size_t parameters);
mg_status mg_gradients_mean(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double *sum,
                            size_t parameters, double share);

/* Replay. A program is what a result was computed from, with the orders of recording and of the sweep worked out once.
   Forward computes all of it that was recorded since the mark (0: all) again, in place, from what it depends on as that
   is now, and fails as the operations would; reverse clears the adjoints of all that was computed, sets that of the
   result to 1 and sweeps. Between the two nothing may be written (MG_OVERWRITTEN). Lanes keep their ids: read and write
   them as ever. A program refers to its tape's lanes, which must stay (the result as a root of collections): free it
   before the tape. NULL, and a status in the tape, on failure. */
mg_program *mg_program_new(mg_tape *tape, mg_id result, mg_mark since);
void mg_program_free(mg_program *program);
mg_status mg_program_forward(mg_program *program);
mg_status mg_program_reverse(mg_program *program);
/* An integer input: operand 0 or 1 of the MG_SPAN_ADD statement that `lane` belongs to, or operand 0 of an
   MG_SPAN_SURPRISAL, is from now on the run of lanes from `first`: other leaves instead of leaves, or other lanes of
   the same span statement, recorded before `lane` was (else MG_SHAPE). */
mg_status mg_program_select(mg_program *program, mg_id lane, size_t operand, mg_id first);
/* Does the program compute the statements of all positions together? It does when its result is the mean of losses that
   the same statements were recorded for, position by position; the numbers are the same. */
bool mg_program_has_batches(const mg_program *program);

/* Integer inputs by number. Bind: input `input` selects, for the operand that mg_program_select would take, the run of
   `size` lanes from `first` + value * `size`, for values below `count`; an input may be bound to several operands. Set:
   the values of all inputs, in order (MG_SHAPE, and nothing changed, when there are more or fewer than were bound, or
   one is out of range). */
mg_status mg_program_bind(mg_program *program, size_t input, mg_id lane, size_t operand, mg_id first, size_t size,
                          size_t count);
mg_status mg_program_set(mg_program *program, const int32_t *values, size_t n);

/* Train: steps of Adam on programs whose result is the loss of a document and whose inputs are its tokens. A trainer
   holds `count` runs of parameters, their moments and the number of steps taken; it refers to the tape and to the
   programs, which must outlive it, and frees neither. Add names the program of documents of `tokens` tokens. A fast
   trainer computes in float, with multiplications and additions fused: its programs must have batches, and no other
   leaves than parameters (MG_SHAPE). NULL, and a status in the tape, on failure. */
mg_trainer *mg_trainer_new(mg_tape *tape, const mg_id *first, const size_t *sizes, size_t count, double beta1,
                           double beta2, double epsilon, bool fast);
void mg_trainer_free(mg_trainer *trainer);
mg_status mg_trainer_add(mg_trainer *trainer, size_t tokens, mg_program *program);
/* Takes `steps` more steps, of `batch_size` documents each: document d is tokens[starts[d]] to tokens[starts[d + 1] -
   1], and the first of a step is number step * batch_size, modulo `documents`. Step i has learning_rates[i] and leaves
   its loss in losses[i], the mean of its documents'. Sets *done to the steps that were taken. A status other than MG_OK
   is that of step *done, which changed no parameter and left their gradients 0: MG_NOT_FINITE, with its loss in
   losses[*done]; MG_SHAPE where a document has no program or a token is out of range; or as the operations and mg_adam
   fail. The lanes of the programs hold no particular numbers afterwards. */
mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done);

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
double mg_lane_constant(mg_tape *tape, mg_id lane);   /* k of MG_POW, MG_EXPONENT, MG_SPAN_SCALE_BY; else NaN */
size_t mg_lane_operand_count(mg_tape *tape, mg_id lane); /* 0 and a status when the id is refused */
/* The operands of a lane and the partials with respect to them, as many as mg_lane_operand_count says. */
mg_status mg_lane_operands(mg_tape *tape, mg_id lane, mg_id *operands, double *partials);
const char *mg_operation_name(int32_t operation);     /* NULL when there is none */
int32_t mg_operation_arity(int32_t operation);        /* operands of a scalar operation; -1 for the others */

/* Positions. Rewind forgets all lanes recorded since the mark; their ids are refused from then on. Collect forgets all
   lanes that are not needed by the roots, which are `count` runs of lanes: sizes[r] lanes from roots[r]. The page that
   is being filled is a root too; ids that are not of this tape are ignored. Rewinding to a number that no mark gave,
   inside a statement, is refused (MG_SHAPE). */
mg_mark mg_tape_mark(mg_tape *tape);
mg_status mg_tape_rewind(mg_tape *tape, mg_mark mark);
mg_status mg_tape_collect(mg_tape *tape, const mg_id *roots, const size_t *sizes, size_t count);

/* Capacity. */
typedef struct {
    uint64_t slots;    /* slots recorded, in pages that are in use */
    uint64_t capacity; /* slots allocated */
    uint64_t bytes;    /* everything that the tape has allocated */
} mg_memory;
mg_memory mg_tape_memory(mg_tape *tape);

/* The row of kernels that was chosen for this processor: "plain", "avx2", "avx512" or "neon". All give the same bits;
   the environment variable MICROGPT_KERNELS, read when the first kernel is used, asks for another that it can run. */
const char *mg_kernels_name(void);

/* Testing: the k-th allocation from now fails, and with it all later ones; 0 lets all succeed again. */
void mg_tape_fail_allocation(mg_tape *tape, uint64_t k);
/* [cffi end] */

#ifdef __cplusplus
}
#endif
#endif
