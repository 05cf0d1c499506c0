/* train.c: many steps of training in one call. */
#include "kernels/float_mode.h"
#include "kernels/kernels.h"
#include "programs/batch.h"
#include "programs/optimizer.h"
#include "programs/plan.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

struct mg_trainer {
    mg_blocks blocks;
    mg_tape *tape;
    mg_program *program;
    const mg_kernels *kernels;
    mg_optimizer optimizer;
    mg_id *first;
    size_t *sizes;
    mg_slot *slots;     /* [run_count]: where the parameters are during a call, adjoining runs as one */
    mg_parameters *run; /* [run_count] */
    size_t count, run_count, parameters;
    void *m, *v, *sum; /* [parameters], run after run */
    int32_t *values;   /* [inputs] */
    mg_batch *batch;   /* NULL where the program has no plan */
    mg_pool *pool;     /* NULL: the caller's thread alone */
    size_t *losses;    /* [inputs + 1]: of a document of so many tokens */
    size_t inputs;
    uint64_t steps;          /* taken */
    atomic_bool interrupted; /* by whatever thread; taken back by the call that ends for it */
    /* Fast: the numbers of `span` slots from `lowest` on, in float. */
    void *value, *adjoint;
    mg_slot lowest;
    size_t span;     /* 0 unless in the fast mode */
    uint64_t stored; /* the tape's count of writes when it last had the same numbers */
};

void mg_trainer_free(mg_trainer *trainer) {
    if (trainer != NULL) {
        mg_tape *tape = trainer->tape;
        mg_pool_free(trainer->pool);
        mg_batch_free(trainer->batch);
        mg_program_free(trainer->program);
        mg_free_blocks(trainer->blocks);
        mg_release(tape);
    }
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

/* Finds where the parameters are. */
static mg_status find_parameters(mg_trainer *trainer) {
    trainer->run_count = 0;
    for (size_t r = 0; r < trainer->count; r++) {
        mg_slot slot;
        if (!mg_find_run(trainer->tape, trainer->first[r], trainer->sizes[r], &slot)) {
            return mg_find(trainer->tape, trainer->first[r], &slot) ? MG_SHAPE : MG_STALE;
        }
        if (!mg_all_leaves(trainer->tape, slot, trainer->sizes[r])) {
            return MG_SHAPE;
        }
        mg_parameters *last = trainer->run_count > 0 ? &trainer->run[trainer->run_count - 1] : NULL;
        if (last != NULL && trainer->slots[trainer->run_count - 1] + last->n == slot) {
            last->n += trainer->sizes[r];
        } else {
            trainer->slots[trainer->run_count] = slot;
            trainer->run[trainer->run_count++] = (mg_parameters){.n = trainer->sizes[r]};
        }
    }
    return MG_OK;
}

/* Numbers of the trainer's own, of all slots from the first parameter's to the last's. */
static mg_status make_room(mg_trainer *trainer) {
    mg_slot lowest = trainer->slots[0], end = 0;
    for (size_t r = 0; r < trainer->run_count; r++) {
        const mg_slot after = trainer->slots[r] + (mg_slot)trainer->run[r].n;
        lowest = trainer->slots[r] < lowest ? trainer->slots[r] : lowest;
        end = after > end ? after : end;
    }
    trainer->lowest = lowest;
    trainer->stored = UINT64_MAX;
    trainer->span = end - lowest;
    trainer->value = mg_allot(&trainer->blocks, trainer->span, trainer->kernels->size);
    trainer->adjoint = mg_allot(&trainer->blocks, trainer->span, trainer->kernels->size);
    return trainer->blocks.failed ? MG_NO_MEMORY : MG_OK;
}

static bool is_parameters(const mg_trainer *trainer, mg_slot first, size_t n) {
    for (size_t r = 0; r < trainer->run_count; r++) {
        if (first >= trainer->slots[r] && first + n <= trainer->slots[r] + trainer->run[r].n) {
            return true;
        }
    }
    return false;
}

/* Does the fast mode have all leaves that the plan reads? */
static bool suits(const mg_trainer *trainer) {
    const mg_program *program = trainer->program;
    const mg_plan *plan = program->plan;
    if (plan == NULL) {
        return false;
    }
    bool fits = true;
    for (size_t k = 0; fits && k < plan->each; k++) {
        const mg_step *step = &plan->step[k];
        for (size_t f = 0; fits && f < step->factors; f++) {
            const mg_source *x = &step->operand[f];
            const size_t reach = (step->groups - 1) * x->group + (step->width - 1) * x->lane + (step->terms - 1) * x->term;
            fits = x->from != MG_FROM_LEAVES || is_parameters(trainer, x->leaves, reach + 1);
        }
    }
    for (size_t g = 0; fits && g < plan->gather_count; g++) {
        const mg_gather *gather = &plan->gather[g];
        for (size_t n = 0; fits && n < plan->positions * gather->parts; n++) {
            fits = is_parameters(trainer, plan->gathered[gather->slots + n], gather->block);
        }
    }
    for (size_t b = 0; fits && b < program->binding_count; b++) {
        const mg_binding *binding = &program->bindings[b];
        fits = !binding->leaves || is_parameters(trainer, binding->table, binding->lanes);
    }
    return fits;
}

static mg_status set_up(mg_trainer *trainer, const mg_id *first, const size_t *sizes) {
    mg_blocks *blocks = &trainer->blocks;
    const size_t size = trainer->kernels->size, count = trainer->count;
    trainer->first = mg_allot(blocks, count, sizeof *first);
    trainer->sizes = mg_allot(blocks, count, sizeof *sizes);
    trainer->slots = mg_allot(blocks, count, sizeof *trainer->slots);
    trainer->run = mg_allot(blocks, count, sizeof *trainer->run);
    trainer->m = mg_allot(blocks, trainer->parameters, size);
    trainer->v = mg_allot(blocks, trainer->parameters, size);
    trainer->sum = mg_allot(blocks, trainer->parameters, size);
    trainer->values = mg_allot(blocks, trainer->inputs, sizeof *trainer->values);
    trainer->losses = mg_allot(blocks, trainer->inputs + 1, sizeof *trainer->losses);
    if (trainer->program->plan != NULL) {
        trainer->batch = mg_batch_new(trainer->program, trainer->kernels);
    }
    if (blocks->failed || (trainer->program->plan != NULL && trainer->batch == NULL)) {
        return MG_NO_MEMORY;
    }
    memcpy(trainer->first, first, count * sizeof *first);
    memcpy(trainer->sizes, sizes, count * sizeof *sizes);
    for (size_t n = 0; n <= trainer->inputs; n++) {
        trainer->losses[n] = mg_program_losses_of(trainer->program, n);
    }
    return find_parameters(trainer);
}

mg_trainer *mg_trainer_new(mg_program *program, const mg_id *first, const size_t *sizes, size_t count,
                           const mg_optimizer *optimizer, bool fast) {
    MG_INSIDE(program->tape);
    mg_tape *tape = program->tape;
    size_t parameters = 0;
    if (!mg_ready(tape)) {
        return NULL;
    }
    mg_status status = mg_program_find_inputs(program);
    for (size_t r = 0; status == MG_OK && r < count; r++) { /* before anything of that size is allocated */
        mg_slot slot;
        if (!mg_find_run(tape, first[r], sizes[r], &slot)) {
            status = mg_find(tape, first[r], &slot) ? MG_SHAPE : MG_STALE;
        }
        parameters += sizes[r];
    }
    if (status == MG_OK && (parameters == 0 || program->inputs == 0)) {
        status = MG_SHAPE;
    }
    if (status == MG_OK && !mg_optimizer_is_known(optimizer)) {
        status = MG_OPERATION;
    }
    if (status != MG_OK) {
        mg_fail(tape, status);
        return NULL;
    }
    mg_trainer *trainer = mg_new_owner(tape, sizeof *trainer);
    if (trainer == NULL) {
        mg_fail(tape, MG_NO_MEMORY);
        return NULL;
    }
    *trainer = (mg_trainer){.blocks = trainer->blocks, .tape = tape, .program = program, .optimizer = *optimizer,
                            .count = count, .parameters = parameters, .inputs = program->inputs,
                            .kernels = fast ? mg_fast_kernels(mg_row_chosen()) : mg_kernels_chosen()};
    mg_hold(tape);
    mg_program_hold(program);
    status = set_up(trainer, first, sizes);
    if (status == MG_OK && fast) {
        status = suits(trainer) ? make_room(trainer) : MG_SHAPE;
    }
    if (status != MG_OK) {
        mg_trainer_free(trainer);
        mg_fail(tape, status);
        return NULL;
    }
    return trainer;
}

mg_status mg_trainer_use_threads(mg_trainer *trainer, size_t threads) {
    MG_INSIDE(trainer->tape);
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK && (threads == 0 || threads > MG_MOST_THREADS)) {
        status = MG_SHAPE;
    }
    if (status == MG_OK && threads != mg_pool_threads(trainer->pool)) {
        mg_pool *pool = threads > 1 ? mg_pool_new(threads) : NULL;
        if (threads > 1 && pool == NULL) {
            return MG_NO_MEMORY;
        }
        mg_pool_free(trainer->pool);
        trainer->pool = pool;
    }
    return status;
}

/* ---- the numbers ------------------------------------------------------------------------------------------------ */

/* Ready for steps: in the fast mode the parameters as float, if they were written since the last call. */
static mg_status load(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    const size_t size = trainer->kernels->size;
    mg_status status = mg_program_find_inputs(trainer->program);
    if (status == MG_OK) {
        status = find_parameters(trainer);
    }
    for (size_t r = 0, done = 0; status == MG_OK && r < trainer->run_count; done += trainer->run[r++].n) {
        const mg_slot slot = trainer->slots[r];
        void *value = tape->value + slot, *adjoint = tape->adjoint + slot;
        if (trainer->span > 0) {
            float *number = (float *)trainer->value + (slot - trainer->lowest);
            for (size_t i = 0; trainer->stored != tape->writes && i < trainer->run[r].n; i++) {
                number[i] = (float)tape->value[slot + i];
            }
            value = number;
            adjoint = (float *)trainer->adjoint + (slot - trainer->lowest);
        }
        trainer->run[r] = (mg_parameters){trainer->run[r].n, value, adjoint, (char *)trainer->m + done * size,
                                          (char *)trainer->v + done * size};
    }
    trainer->program->computed = SIZE_MAX; /* its workspace is about to be used */
    return status;
}

/* The tape gets the parameters, and takes note that they were written. */
static void store(mg_trainer *trainer) {
    mg_tape *tape = trainer->tape;
    for (size_t r = 0; r < trainer->run_count; r++) {
        const float *number = trainer->run[r].data;
        mg_touch(tape, trainer->slots[r], trainer->run[r].n);
        for (size_t i = 0; trainer->span > 0 && i < trainer->run[r].n; i++) {
            tape->value[trainer->slots[r] + i] = (double)number[i];
        }
    }
    trainer->stored = tape->writes;
}

/* ---- documents -------------------------------------------------------------------------------------------------- */

/* Document d is tokens[starts[d]] to tokens[starts[d + 1] - 1]. */
typedef struct {
    const int32_t *tokens;
    const size_t *starts;
    size_t documents;
} mg_tokens;

static size_t inputs_of(const mg_trainer *trainer, const mg_tokens *all, size_t document) {
    const size_t count = all->starts[document + 1] - all->starts[document];
    return count < trainer->inputs ? count : trainer->inputs; /* the program reads no more */
}

/* Have all documents from number `first` on a loss, and tokens that the program can read? */
static bool in_range(const mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count) {
    for (size_t d = 0; d < count; d++) {
        const size_t document = (first + d) % all->documents, inputs = inputs_of(trainer, all, document);
        if (trainer->losses[inputs] == 0 ||
            !mg_program_in_range(trainer->program, all->tokens + all->starts[document], inputs)) {
            return false;
        }
    }
    return true;
}

/* The loss of one document, statement by statement, and its gradients in the parameters. */
static mg_status learn_plainly(mg_trainer *trainer, const mg_tokens *all, size_t document, bool reverse, double *loss) {
    mg_program *program = trainer->program;
    const size_t count = inputs_of(trainer, all, document), positions = trainer->losses[count];
    if (trainer->span > 0) {
        *loss = (double)NAN;
        return MG_NOT_FINITE;
    }
    memcpy(trainer->values, all->tokens + all->starts[document], count * sizeof *trainer->values);
    memset(trainer->values + count, 0, (trainer->inputs - count) * sizeof *trainer->values);
    mg_program_select(program, trainer->values);
    mg_status status = mg_compute_plainly(program, positions, loss);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK && reverse ? mg_sweep_plainly(program, positions) : status;
}

/* Documents number first .. first + count - 1, at most MG_WAVE, by the plan: see mg_batch_reach. */
static bool reach_wave(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, bool reverse,
                       double *losses) {
    mg_document documents[MG_WAVE];
    const mg_tape *tape = trainer->tape;
    const mg_leaf_numbers leaves = trainer->span > 0
                                       ? (mg_leaf_numbers){trainer->value, trainer->adjoint, trainer->lowest}
                                       : (mg_leaf_numbers){tape->value, tape->adjoint, 0};
    for (size_t d = 0; d < count; d++) {
        const size_t document = (first + d) % all->documents;
        documents[d] = (mg_document){all->tokens + all->starts[document],
                                     trainer->losses[inputs_of(trainer, all, document)]};
    }
    return mg_batch_reach(trainer->batch, trainer->pool, documents, count, reverse, &leaves, losses);
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

/* The sum of the gradients of a batch's documents, and then their mean. */
static void add_gradients(mg_trainer *trainer) {
    char *sum = trainer->sum;
    for (size_t r = 0; r < trainer->run_count; sum += trainer->run[r++].n * trainer->kernels->size) {
        trainer->kernels->add_gradients(trainer->run[r].n, trainer->run[r].grad, sum);
    }
}

static void take_mean(mg_trainer *trainer, double share) {
    char *sum = trainer->sum;
    for (size_t r = 0; r < trainer->run_count; sum += trainer->run[r++].n * trainer->kernels->size) {
        trainer->kernels->mean_gradients(trainer->run[r].n, trainer->run[r].grad, sum, share);
    }
}

/* What a step that failed has left. */
static void clear_gradients(mg_trainer *trainer) {
    for (size_t r = 0; r < trainer->run_count; r++) {
        memset(trainer->run[r].grad, 0, trainer->run[r].n * trainer->kernels->size);
    }
    memset(trainer->sum, 0, trainer->parameters * trainer->kernels->size);
}

void mg_trainer_interrupt(mg_trainer *trainer) { atomic_store(&trainer->interrupted, true); }

static bool is_interrupted(mg_trainer *trainer) {
    return atomic_load_explicit(&trainer->interrupted, memory_order_relaxed) &&
           atomic_exchange(&trainer->interrupted, false);
}

/* The sum of the losses of `count` documents from number `first` on, and the mean of their gradients, each from 0 and
   added in order; by the plan, and where that leaves ordinary numbers, statement by statement. */
static mg_status learn(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, double *total) {
    const double share = 1 / (double)count;
    double losses[MG_WAVE];
    bool planned = trainer->batch != NULL;
    *total = 0;
    if (!in_range(trainer, all, first, count)) {
        return MG_SHAPE;
    }
    for (size_t d = 0, wave; planned && d < count; d += wave) {
        if (is_interrupted(trainer)) {
            return MG_INTERRUPTED;
        }
        wave = count - d < MG_WAVE ? count - d : MG_WAVE;
        planned = reach_wave(trainer, all, first + d, wave, true, losses);
        if (planned) {
            mg_batch_add(trainer->batch, trainer->pool, 0, wave, count == 1);
        }
        for (size_t n = 0; planned && n < wave; n++) {
            *total += losses[n];
        }
    }
    if (planned) {
        for (size_t r = 0; count > 1 && r < trainer->run_count; r++) {
            trainer->kernels->scale(trainer->run[r].n, trainer->run[r].grad, share);
        }
        return MG_OK;
    }
    clear_gradients(trainer);
    *total = 0;
    mg_status status = MG_OK;
    for (size_t d = 0; status == MG_OK && d < count; d++) {
        double loss = 0;
        status = is_interrupted(trainer) ? MG_INTERRUPTED
                                         : learn_plainly(trainer, all, (first + d) % all->documents, true, &loss);
        *total += loss;
        if (status == MG_OK && count > 1) {
            add_gradients(trainer);
        }
    }
    if (status == MG_OK && count > 1) {
        take_mean(trainer, share);
    }
    return status;
}

/* One step, number trainer->steps from 0. */
static mg_status take_step(mg_trainer *trainer, const mg_tokens *all, size_t batch_size, double learning_rate,
                           double *loss) {
    double total = 0;
    mg_status status = learn(trainer, all, (size_t)(trainer->steps * batch_size % all->documents), batch_size, &total);
    *loss = total * (1 / (double)batch_size);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    if (status != MG_OK) {
        return status;
    }
    return mg_take_step(trainer->kernels, &trainer->optimizer, trainer->steps + 1, learning_rate, trainer->run,
                        trainer->run_count, trainer->pool);
}

mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done) {
    MG_INSIDE(trainer->tape);
    mg_tape *tape = trainer->tape;
    mg_status status = mg_enter(tape);
    *done = 0;
    if (status == MG_OK) {
        status = documents == 0 || batch_size == 0 ? MG_SHAPE : load(trainer);
    }
    if (status != MG_OK) {
        return status;
    }
    const mg_tokens all = {tokens, starts, documents};
    const mg_float_mode mode = mg_flush_subnormals(trainer->span > 0);
    for (; status == MG_OK && *done < steps; *done += status == MG_OK) {
        status = take_step(trainer, &all, batch_size, learning_rates[*done], &losses[*done]);
        trainer->steps += status == MG_OK;
    }
    mg_restore_float_mode(mode);
    store(trainer);
    if (status != MG_OK) {
        clear_gradients(trainer);
    }
    return status;
}

static mg_status losses_of(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, double *losses) {
    mg_status status = in_range(trainer, all, first, count) ? MG_OK : MG_SHAPE;
    if (status == MG_OK && trainer->batch != NULL && reach_wave(trainer, all, first, count, false, losses)) {
        return MG_OK;
    }
    for (size_t d = 0; status == MG_OK && d < count; d++) {
        status = learn_plainly(trainer, all, first + d, false, &losses[d]);
    }
    return status;
}

mg_status mg_trainer_losses(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t from, size_t to,
                            double *losses) {
    MG_INSIDE(trainer->tape);
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK) {
        status = load(trainer);
    }
    const mg_float_mode mode = mg_flush_subnormals(trainer->span > 0);
    const mg_tokens all = {tokens, starts, to};
    for (size_t d = from, wave; status == MG_OK && d < to; d += wave) {
        wave = to - d < MG_WAVE ? to - d : MG_WAVE;
        status = losses_of(trainer, &all, d, wave, &losses[d - from]);
    }
    mg_restore_float_mode(mode);
    return status;
}

/* ---- state ------------------------------------------------------------------------------------------------------ */

static double read_number(const mg_trainer *trainer, const void *numbers, size_t i) {
    return trainer->span > 0 ? (double)((const float *)numbers)[i] : ((const double *)numbers)[i];
}

static void write_number(const mg_trainer *trainer, void *numbers, size_t i, double number) {
    if (trainer->span > 0) {
        ((float *)numbers)[i] = (float)number;
    } else {
        ((double *)numbers)[i] = number;
    }
}

mg_status mg_trainer_read_state(mg_trainer *trainer, double *m, double *v, size_t parameters, uint64_t *steps) {
    MG_INSIDE(trainer->tape);
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK && parameters != trainer->parameters) {
        status = MG_SHAPE;
    }
    for (size_t i = 0; status == MG_OK && i < parameters; i++) {
        m[i] = read_number(trainer, trainer->m, i);
        v[i] = read_number(trainer, trainer->v, i);
    }
    *steps = status == MG_OK ? trainer->steps : 0;
    return status;
}

mg_status mg_trainer_write_state(mg_trainer *trainer, const double *m, const double *v, size_t parameters,
                                 uint64_t steps) {
    MG_INSIDE(trainer->tape);
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK && parameters != trainer->parameters) {
        status = MG_SHAPE;
    }
    for (size_t i = 0; status == MG_OK && i < parameters; i++) {
        write_number(trainer, trainer->m, i, m[i]);
        write_number(trainer, trainer->v, i, v[i]);
    }
    trainer->steps = status == MG_OK ? steps : trainer->steps;
    return status;
}

/* ---- a step in parts, for several processes ---------------------------------------------------------------------- */

/* Moves the gradients of one document, which are then 0, to row `row` of `count`, slice by slice. */
static void hand_out(const mg_trainer *trainer, size_t row, size_t count, size_t width, char *gradients) {
    const size_t size = trainer->kernels->size;
    size_t parameter = 0;
    for (size_t r = 0; r < trainer->run_count; r++) {
        const mg_parameters *run = &trainer->run[r];
        for (size_t i = 0, part; i < run->n; i += part, parameter += part) {
            const size_t slice = parameter / width * width, rest = trainer->parameters - slice;
            const size_t whole = rest < width ? rest : width, left = slice + whole - parameter;
            part = left < run->n - i ? left : run->n - i;
            memcpy(gradients + (slice * count + row * whole + (parameter - slice)) * size,
                   (const char *)run->grad + i * size, part * size);
        }
        memset(run->grad, 0, run->n * size);
    }
}

/* The gradients of documents first .. first + wave - 1, which become rows from *done on. */
static mg_status learn_rows(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t wave, size_t count,
                            size_t width, char *gradients, double *losses, size_t *done) {
    if (trainer->batch != NULL && reach_wave(trainer, all, first, wave, true, losses + *done)) {
        for (size_t d = 0; d < wave; d++) {
            mg_batch_add(trainer->batch, trainer->pool, d, 1, true);
            hand_out(trainer, (*done)++, count, width, gradients);
        }
        return MG_OK;
    }
    mg_status status = MG_OK;
    for (size_t d = 0; status == MG_OK && d < wave; d++) {
        status = learn_plainly(trainer, all, (first + d) % all->documents, true, &losses[*done]);
        if (status == MG_OK) {
            hand_out(trainer, (*done)++, count, width, gradients);
        }
    }
    return status;
}

mg_status mg_trainer_gradients(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                               size_t first, size_t count, size_t width, void *gradients, size_t bytes, double *losses,
                               size_t *done) {
    MG_INSIDE(trainer->tape);
    const size_t row = trainer->parameters * trainer->kernels->size; /* there are buffers of that size */
    mg_status status = mg_enter(trainer->tape);
    *done = 0;
    if (status == MG_OK && (first >= documents || width == 0 || bytes / row != count || bytes % row != 0)) {
        status = MG_SHAPE;
    }
    if (status == MG_OK) {
        status = load(trainer);
    }
    if (status != MG_OK) {
        return status;
    }
    const mg_tokens all = {tokens, starts, documents};
    const mg_float_mode mode = mg_flush_subnormals(trainer->span > 0);
    status = in_range(trainer, &all, first, count) ? MG_OK : MG_SHAPE;
    for (size_t d = 0, wave; status == MG_OK && d < count; d += wave) {
        wave = count - d < MG_WAVE ? count - d : MG_WAVE;
        status = MG_INTERRUPTED;
        if (!is_interrupted(trainer)) {
            status = learn_rows(trainer, &all, first + d, wave, count, width, gradients, losses, done);
        }
    }
    mg_restore_float_mode(mode);
    if (status != MG_OK) {
        clear_gradients(trainer);
    }
    return status;
}

mg_status mg_trainer_add_rows(mg_trainer *trainer, const void *rows, size_t rows_bytes, void *sum, size_t sum_bytes) {
    MG_INSIDE(trainer->tape);
    const size_t width = sum_bytes / trainer->kernels->size, count = width == 0 ? 0 : rows_bytes / sum_bytes;
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK && (width * trainer->kernels->size != sum_bytes || count * sum_bytes != rows_bytes)) {
        status = MG_SHAPE;
    }
    const mg_float_mode mode = mg_flush_subnormals(trainer->span > 0);
    for (size_t row = 0; status == MG_OK && row < count; row++) {
        if (trainer->span > 0) {
            const float *restrict x = (const float *)rows + row * width;
            float *restrict y = sum;
            for (size_t i = 0; i < width; i++) {
                y[i] += x[i];
            }
        } else {
            const double *restrict x = (const double *)rows + row * width;
            double *restrict y = sum;
            for (size_t i = 0; i < width; i++) {
                y[i] += x[i];
            }
        }
    }
    mg_restore_float_mode(mode);
    return status;
}

mg_status mg_trainer_apply(mg_trainer *trainer, const void *sum, size_t bytes, size_t batch_size,
                           double learning_rate) {
    MG_INSIDE(trainer->tape);
    const size_t size = trainer->kernels->size;
    mg_status status = mg_enter(trainer->tape);
    if (status == MG_OK) {
        status = bytes != trainer->parameters * size || batch_size == 0 ? MG_SHAPE : load(trainer);
    }
    if (status != MG_OK) {
        return status;
    }
    const mg_float_mode mode = mg_flush_subnormals(trainer->span > 0);
    if (batch_size > 1) {
        memcpy(trainer->sum, sum, bytes);
        take_mean(trainer, 1 / (double)batch_size);
    } else {
        const char *next = sum;
        for (size_t r = 0; r < trainer->run_count; next += trainer->run[r++].n * size) {
            memcpy(trainer->run[r].grad, next, trainer->run[r].n * size);
        }
    }
    status = mg_take_step(trainer->kernels, &trainer->optimizer, trainer->steps + 1, learning_rate, trainer->run,
                          trainer->run_count, trainer->pool);
    trainer->steps += status == MG_OK;
    mg_restore_float_mode(mode);
    store(trainer);
    if (status != MG_OK) {
        clear_gradients(trainer);
    }
    return status;
}
