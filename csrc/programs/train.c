/* train.c: many steps of training in one call, and a step in parts. */
#include "programs/trainer.h"

#include <math.h>
#include <string.h>

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
    for (size_t d = 0; d < count && d < all->documents; d++) { /* then they come again */
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
    if (mg_trains_fast(trainer)) { /* it has no other way than its plan */
        *loss = (double)NAN;
        return trainer->batch->groups == 0 ? MG_NO_MEMORY : MG_NOT_FINITE;
    }
    memcpy(trainer->values, all->tokens + all->starts[document], count * sizeof *trainer->values);
    mg_program_select(program, trainer->values);
    mg_status status = mg_compute_plainly(program, positions);
    *loss = mg_result_of(program, positions);
    if (status == MG_OK && !isfinite(*loss)) {
        status = MG_NOT_FINITE;
    }
    return status == MG_OK && reverse ? mg_sweep_plainly(program, positions) : status;
}

/* Documents number first .. first + count - 1, at most MG_WAVE, by the plan: see mg_batch_reach. */
static bool reach_wave(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, bool reverse,
                       double *losses) {
    mg_document documents[MG_WAVE];
    for (size_t d = 0; d < count; d++) {
        const size_t document = (first + d) % all->documents;
        documents[d] = (mg_document){all->tokens + all->starts[document],
                                     trainer->losses[inputs_of(trainer, all, document)]};
    }
    return trainer->batch != NULL &&
           mg_batch_reach(trainer->batch, trainer->pool, documents, count, reverse, &trainer->leaves, losses);
}

static size_t wave_of(size_t documents) { return documents < MG_WAVE ? documents : MG_WAVE; }

/* ---- a call ----------------------------------------------------------------------------------------------------- */

/* A call that computes begins, if what it was given fits; what is returned other than MG_OK ends it. */
static mg_status begin(mg_trainer *trainer, bool fits, mg_float_mode *mode) {
    MG_TRY(fits ? mg_trainer_load(trainer) : MG_SHAPE);
    *mode = mg_enter_mode(trainer->kernels);
    return MG_OK;
}

/* What others have left, before a call that takes gradients; those of a fast trainer are its own. */
static void forget_gradients(mg_trainer *trainer) {
    for (size_t r = 0; r < trainer->run_count; r++) {
        memset(trainer->run[r].grad, 0, trainer->run[r].n * trainer->kernels->size);
    }
}

/* What a step that failed has left. */
static void clear_gradients(mg_trainer *trainer) {
    forget_gradients(trainer);
    memset(trainer->sum, 0, trainer->parameters * trainer->kernels->size);
}

/* The end of a call that takes gradients. */
static mg_status end(mg_trainer *trainer, mg_float_mode mode, mg_status status) {
    mg_restore_float_mode(mode);
    if (status != MG_OK) {
        clear_gradients(trainer);
    }
    return status;
}

static bool is_interrupted(mg_trainer *trainer) {
    return atomic_load_explicit(&trainer->interrupted, memory_order_relaxed) &&
           atomic_exchange(&trainer->interrupted, false);
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
        mg_take_mean(trainer->kernels, trainer->run[r].n, trainer->run[r].grad, sum, share);
    }
}

/* The sum of the losses of `count` documents from number `first` on, and the mean of their gradients, each from 0 and
   added in order, by the plan. MG_NOT_FINITE where there is none, and where it leaves ordinary numbers. */
static mg_status learn_in_waves(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, double *total) {
    double losses[MG_WAVE];
    for (size_t d = 0, wave; d < count; d += wave) {
        wave = wave_of(count - d);
        if (is_interrupted(trainer)) {
            return MG_INTERRUPTED;
        }
        if (!reach_wave(trainer, all, first + d, wave, true, losses)) {
            return MG_NOT_FINITE;
        }
        mg_batch_add(trainer->batch, trainer->pool, 0, wave, count == 1);
        for (size_t n = 0; n < wave; n++) {
            *total += losses[n];
        }
    }
    for (size_t r = 0; count > 1 && r < trainer->run_count; r++) {
        trainer->kernels->scale(trainer->run[r].n, trainer->run[r].grad, 1 / (double)count);
    }
    return MG_OK;
}

/* The same, statement by statement. */
static mg_status learn_one_by_one(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count,
                                  double *total) {
    for (size_t d = 0; d < count; d++) {
        double loss = 0;
        if (is_interrupted(trainer)) {
            return MG_INTERRUPTED;
        }
        const mg_status status = learn_plainly(trainer, all, (first + d) % all->documents, true, &loss);
        *total += loss;
        MG_TRY(status);
        if (count > 1) {
            add_gradients(trainer);
        }
    }
    if (count > 1) {
        take_mean(trainer, 1 / (double)count);
    }
    return MG_OK;
}

static mg_status learn(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, double *total) {
    if (!in_range(trainer, all, first, count)) {
        return MG_SHAPE;
    }
    const mg_status status = learn_in_waves(trainer, all, first, count, total);
    if (status != MG_NOT_FINITE) {
        return status;
    }
    clear_gradients(trainer);
    *total = 0;
    return learn_one_by_one(trainer, all, first, count, total);
}

/* A step of the optimizer, with the gradients as they are. */
static mg_status apply(mg_trainer *trainer, double learning_rate) {
    MG_TRY(mg_take_step(trainer->kernels, &trainer->optimizer, trainer->steps + 1, learning_rate, trainer->run,
                        trainer->run_count, trainer->pool));
    trainer->steps++;
    return MG_OK;
}

static mg_status take_step(mg_trainer *trainer, const mg_tokens *all, size_t batch_size, double learning_rate,
                           double *loss) {
    double total = 0;
    const size_t first = (size_t)(trainer->steps * batch_size % all->documents);
    const mg_status status = learn(trainer, all, first, batch_size, &total);
    *loss = total * (1 / (double)batch_size);
    MG_TRY(status);
    return isfinite(*loss) ? apply(trainer, learning_rate) : MG_NOT_FINITE;
}

mg_status mg_trainer_run(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                         size_t batch_size, const double *learning_rates, size_t steps, double *losses, size_t *done) {
    MG_INSIDE(trainer->tape);
    mg_float_mode mode;
    mg_status status = MG_OK;
    *done = 0;
    MG_TRY(begin(trainer, documents > 0 && batch_size > 0, &mode));
    const mg_tokens all = {tokens, starts, documents};
    forget_gradients(trainer);
    for (; status == MG_OK && *done < steps; *done += status == MG_OK) {
        status = take_step(trainer, &all, batch_size, learning_rates[*done], &losses[*done]);
    }
    status = end(trainer, mode, status);
    mg_trainer_store(trainer);
    return status;
}

static mg_status losses_of(mg_trainer *trainer, const mg_tokens *all, size_t first, size_t count, double *losses) {
    if (!in_range(trainer, all, first, count)) {
        return MG_SHAPE;
    }
    if (reach_wave(trainer, all, first, count, false, losses)) {
        return MG_OK;
    }
    for (size_t d = 0; d < count; d++) {
        MG_TRY(learn_plainly(trainer, all, first + d, false, &losses[d]));
    }
    return MG_OK;
}

mg_status mg_trainer_losses(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t from, size_t to,
                            double *losses) {
    MG_INSIDE(trainer->tape);
    mg_float_mode mode;
    mg_status status = MG_OK;
    MG_TRY(begin(trainer, true, &mode));
    const mg_tokens all = {tokens, starts, to};
    for (size_t d = from, wave; status == MG_OK && d < to; d += wave) {
        wave = wave_of(to - d);
        status = losses_of(trainer, &all, d, wave, &losses[d - from]);
    }
    mg_restore_float_mode(mode);
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
    const bool planned = reach_wave(trainer, all, first, wave, true, losses + *done);
    for (size_t d = 0; d < wave; d++) {
        if (planned) {
            mg_batch_add(trainer->batch, trainer->pool, d, 1, true);
        } else {
            MG_TRY(learn_plainly(trainer, all, (first + d) % all->documents, true, &losses[*done]));
        }
        hand_out(trainer, (*done)++, count, width, gradients);
    }
    return MG_OK;
}

mg_status mg_trainer_gradients(mg_trainer *trainer, const int32_t *tokens, const size_t *starts, size_t documents,
                               size_t first, size_t count, size_t width, void *gradients, size_t bytes, double *losses,
                               size_t *done) {
    MG_INSIDE(trainer->tape);
    const size_t row = trainer->parameters * trainer->kernels->size; /* there are buffers of that size */
    mg_float_mode mode;
    *done = 0;
    MG_TRY(begin(trainer, first < documents && width > 0 && bytes / row == count && bytes % row == 0, &mode));
    const mg_tokens all = {tokens, starts, documents};
    mg_status status = in_range(trainer, &all, first, count) ? MG_OK : MG_SHAPE;
    forget_gradients(trainer);
    for (size_t d = 0, wave; status == MG_OK && d < count; d += wave) {
        wave = wave_of(count - d);
        status = is_interrupted(trainer)
                     ? MG_INTERRUPTED
                     : learn_rows(trainer, &all, first + d, wave, count, width, gradients, losses, done);
    }
    return end(trainer, mode, status);
}

mg_status mg_trainer_add_rows(mg_trainer *trainer, const void *rows, size_t rows_bytes, void *sum, size_t sum_bytes) {
    MG_INSIDE(trainer->tape);
    const size_t size = trainer->kernels->size, width = sum_bytes / size;
    const size_t count = width == 0 ? 0 : rows_bytes / sum_bytes;
    MG_TRY(mg_enter(trainer->tape));
    if (width * size != sum_bytes || count * sum_bytes != rows_bytes) {
        return MG_SHAPE;
    }
    const mg_float_mode mode = mg_enter_mode(trainer->kernels);
    for (size_t row = 0; row < count; row++) {
        trainer->kernels->add(width, (const char *)rows + row * sum_bytes, sum);
    }
    mg_restore_float_mode(mode);
    return MG_OK;
}

mg_status mg_trainer_apply(mg_trainer *trainer, const void *sum, size_t bytes, size_t batch_size,
                           double learning_rate) {
    MG_INSIDE(trainer->tape);
    mg_float_mode mode;
    MG_TRY(begin(trainer, bytes == trainer->parameters * trainer->kernels->size && batch_size > 0, &mode));
    memcpy(trainer->sum, sum, bytes);
    take_mean(trainer, 1 / (double)batch_size); /* of one: itself */
    const mg_status status = end(trainer, mode, apply(trainer, learning_rate));
    mg_trainer_store(trainer);
    return status;
}
