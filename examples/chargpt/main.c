/* chargpt: trains a character-level transformer data-parallel through worker/reknit.h.
 *
 * What is particular to reknit is in this file: the state is registered (weights and the two
 * moments of the optimiser), and so are the gradients and, as one more gradient element, the loss,
 * so that it is summed over the shards with them and every rank knows it.  A shard's gradient is
 * the sum over its samples, divided by the global batch; the sum over shards is then the gradient
 * of the batch.
 *
 * With --device cuda all of that lies on a GPU, and the text too: what is registered is the GPU's
 * memory, work is queued there, and only the loss is waited for in each step. */
#include "examples/chargpt/adamw.h"
#include "examples/chargpt/gpu_plugin.h"
#include "examples/chargpt/model.h"
#include "examples/chargpt/ops.h"
#include "examples/chargpt/options.h"
#include "examples/chargpt/text.h"
#include "worker/reknit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_FAILED 1
#define EXIT_DATA 65
#define EXIT_UNAVAILABLE 69

#define TEMPERATURE 0.7f /* of the sample: below 1, the likelier characters gain */

struct run {
    struct options options;
    struct text text;
    struct model *model;         /* with --device cuda for its shapes, initial weights and sample */
    struct training_state state; /* what is registered, where it is trained */
    float loss;                  /* of the last step, the extra gradient element */
    struct adamw adamw;
    struct rk_session *session;

    const struct gpu_functions *gpu; /* NULL: on the processor */
    struct gpu_model *gpu_model;
    uint64_t *starts; /* of a shard's windows in the text */
};

/* Says which call failed and why; returns its code. */
static int failed(const struct run *run, const char *call, int64_t code)
{
    fprintf(stderr, "chargpt: %s: %s\n", call, rk_last_error(run->session));
    return (int)code;
}

/* ---- preparation ----------------------------------------------------------------------------- */

/* -1: go on; otherwise the exit code, as in all of this section. */
static int prepare_text(struct run *run)
{
    char why[512];
    const size_t context = run->options.size->context;

    if (text_read(&run->text, run->options.text, why, sizeof why)) {
        fprintf(stderr, "chargpt: --text %s\n", why);
        return EXIT_DATA;
    }
    if (run->text.length <= context) {
        fprintf(stderr, "chargpt: --text %s: %zu characters are too few, at least %zu are needed\n",
                run->options.text, run->text.length, context + 1);
        return EXIT_DATA;
    }
    return -1;
}

/* On the processor: on a GPU the state is made when it is known which. */
static int prepare_state(struct run *run)
{
    struct training_state *state = &run->state;

    state->weights = model_weights(run->model);
    state->gradient = model_gradient(run->model);
    state->mean = calloc(model_weight_count(run->model), sizeof(float));
    state->square = calloc(model_weight_count(run->model), sizeof(float));
    state->loss = &run->loss;
    return state->mean && state->square ? 0 : -1;
}

static int prepare_model(struct run *run)
{
    run->model = model_new(run->options.size, run->text.vocabulary);
    if (run->model && (run->gpu || prepare_state(run) == 0))
        return -1;
    fprintf(stderr, "chargpt: no memory for a model of size %s; try a smaller one\n",
            run->options.size->name);
    return EXIT_UNAVAILABLE;
}

static int prepare(struct run *run)
{
    struct gpu_why why;
    int code = prepare_text(run);

    if (code < 0 && run->options.device == DEVICE_CUDA &&
        gpu_plugin_open(NULL, NULL, &run->gpu, &why)) {
        fprintf(stderr, "chargpt: --device cuda: %s\n", why.text);
        code = EXIT_UNAVAILABLE;
    }
    if (code < 0)
        code = prepare_model(run);
    run->adamw = (struct adamw){.rate = run->options.size->rate,
                                .beta1 = 0.9f,
                                .beta2 = 0.99f,
                                .floor = 1e-8f,
                                .warm_up = 20};
    return code;
}

static int register_state(struct run *run, const char *name, float *data, const struct parameter *p)
{
    return run->gpu ? rk_register_gpu_state(run->session, name, data, RK_F32, p->ndim, p->shape)
                    : rk_register_state(run->session, name, data, RK_F32, p->ndim, p->shape);
}

static int register_gradient(struct run *run, const char *name, float *data, uint64_t count)
{
    return run->gpu ? rk_register_gpu_gradient(run->session, name, data, RK_F32, count)
                    : rk_register_gradient(run->session, name, data, count);
}

static int register_tensor(struct run *run, const struct parameter *p)
{
    const struct {
        const char *suffix;
        float *base;
    } states[] = {{"", run->state.weights},
                  {".adam.mean", run->state.mean},
                  {".adam.square", run->state.square}};
    int rc = 0;

    for (size_t i = 0; i < sizeof states / sizeof states[0] && rc == 0; i++) {
        char name[RK_MAX_NAME + 1];
        snprintf(name, sizeof name, "%s%s", p->name, states[i].suffix);
        rc = register_state(run, name, states[i].base + p->offset, p);
    }
    return rc ? rc : register_gradient(run, p->name, run->state.gradient + p->offset, p->count);
}

static int register_all(struct run *run)
{
    const struct parameter *parameters = model_parameters(run->model);
    int rc = 0;
    for (size_t i = 0; i < model_parameter_count(run->model) && rc == 0; i++)
        rc = register_tensor(run, &parameters[i]);
    if (rc == 0)
        rc = register_gradient(run, "loss", run->state.loss, 1);
    return rc < 0 ? failed(run, "registering the model", rc) : 0;
}

/* Initial weights are drawn as if before the first step, one "shard" for each tensor. */
static uint64_t draw(void *with, uint64_t tensor, uint64_t element)
{
    const struct run *run = with;
    return rk_random(run->session, 0, tensor, element);
}

/* Gains are not drawn to zero. */
static float decay_of(const struct parameter *p)
{
    return p->ndim == 2 ? 0.01f : 0.0f;
}

/* ---- on a GPU -------------------------------------------------------------------------------- */

static int gpu_failed(const struct gpu_why *why)
{
    fprintf(stderr, "chargpt: %s\n", why->text);
    return -1;
}

/* Puts text, initial weights and all that is trained on this rank's GPU. */
static int start_gpu(struct run *run)
{
    struct gpu_why why;
    int rc = rk_use_gpu(run->session, RK_GPU_BY_PLACE, NULL);
    if (rc < 0)
        return failed(run, "rk_use_gpu", rc);

    const uint64_t shards = rk_shards(run->session);
    const struct gpu_options options = {.size = run->options.size,
                                        .vocabulary = run->text.vocabulary,
                                        .parameters = model_parameters(run->model),
                                        .weight_count = model_weight_count(run->model),
                                        .text = run->text.characters,
                                        .text_length = run->text.length,
                                        .windows = (run->options.batch + shards - 1) / shards};
    run->starts = calloc(options.windows, sizeof *run->starts);
    if (!run->starts) {
        fputs("chargpt: no memory for a batch so large\n", stderr);
        return -1;
    }
    run->gpu_model = run->gpu->make(&options, &why);
    if (!run->gpu_model)
        return gpu_failed(&why);
    run->state = run->gpu->state(run->gpu_model);
    return run->gpu->write(run->gpu_model, model_weights(run->model), options.weight_count,
                           run->state.weights, &why)
               ? gpu_failed(&why)
               : 0;
}

/* As compute_shard; the library waits for what is queued here. */
static int compute_shard_on_gpu(struct run *run, uint64_t step, uint64_t shard)
{
    const size_t places = run->text.length - run->options.size->context;
    struct gpu_why why;
    uint64_t first, count;

    rk_shard_samples(run->session, shard, &first, &count);
    for (uint64_t i = 0; i < count; i++)
        run->starts[i] = rk_sample(run->session, step, first + i, places);
    return run->gpu->compute(run->gpu_model, run->starts, count, run->options.batch, &why)
               ? gpu_failed(&why)
               : 0;
}

static int update_on_gpu(struct run *run, uint64_t step)
{
    const struct parameter *p = model_parameters(run->model);
    const struct training_state *at = &run->state;
    int rc = 0;

    for (size_t i = 0; i < model_parameter_count(run->model) && rc == 0; i++, p++) {
        const struct rk_adamw rule = {.rate = adamw_rate(&run->adamw, step),
                                      .beta1 = run->adamw.beta1,
                                      .beta2 = run->adamw.beta2,
                                      .epsilon = run->adamw.floor,
                                      .decay = decay_of(p)};
        rc = rk_gpu_adamw(run->session, &rule, step, p->count, at->gradient + p->offset,
                          at->weights + p->offset, at->mean + p->offset, at->square + p->offset);
    }
    return rc < 0 ? failed(run, "rk_gpu_adamw", rc) : 0;
}

/* `count` floats of the state to the host; nothing to do where they are there. */
static int read_state(struct run *run, const float *from, size_t count, float *to)
{
    struct gpu_why why;
    if (!run->gpu)
        return 0;
    return run->gpu->read(run->gpu_model, from, count, to, &why) ? gpu_failed(&why) : 0;
}

/* ---- training -------------------------------------------------------------------------------- */

static void pace(uint64_t milliseconds)
{
    struct timespec left = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* Leaves this shard's share of gradient and loss in the registered memory, and nothing else. */
static void compute_shard(struct run *run, uint64_t step, uint64_t shard)
{
    const size_t context = run->options.size->context;
    const float scale = 1.0f / (float)run->options.batch;
    double loss = 0.0;
    uint64_t first, count;

    memset(model_gradient(run->model), 0, model_weight_count(run->model) * sizeof(float));
    rk_shard_samples(run->session, shard, &first, &count);
    for (uint64_t i = first; i < first + count; i++) {
        /* Each place in the text where a window fits is a sample. */
        uint64_t start = rk_sample(run->session, step, i, run->text.length - context);
        const uint8_t *window = run->text.characters + start;
        model_forward(run->model, window, context);
        loss += model_backward(run->model, window, window + 1, context, scale);
    }
    run->loss = (float)(loss / (double)run->options.batch);
}

static int compute_shards(struct run *run, uint64_t step)
{
    int64_t shard;
    while ((shard = rk_shard_next(run->session)) >= 0) {
        int rc = 0;
        if (run->gpu)
            rc = compute_shard_on_gpu(run, step, (uint64_t)shard);
        else
            compute_shard(run, step, (uint64_t)shard);
        if (rc)
            return rc;
        rc = rk_shard_done(run->session);
        if (rc < 0)
            return failed(run, "rk_shard_done", rc);
    }
    return shard == -1 ? 0 : failed(run, "rk_shard_next", shard);
}

static void update(struct run *run, uint64_t step)
{
    const struct parameter *p = model_parameters(run->model);
    const struct training_state *at = &run->state;

    for (size_t i = 0; i < model_parameter_count(run->model); i++, p++)
        adamw_update(&run->adamw, step, p->count, at->weights + p->offset, at->mean + p->offset,
                     at->square + p->offset, at->gradient + p->offset, decay_of(p));
}

/* Takes step *step: 0, RK_STOPPED, or a negative code (said already). */
static int take_step(struct run *run, uint64_t *step)
{
    int rc = rk_step_begin(run->session, step);
    if (rc)
        return rc < 0 ? failed(run, "rk_step_begin", rc) : rc;
    pace(run->options.pace_ms);
    do {
        rc = compute_shards(run, *step);
        if (rc)
            return rc;
        rc = rk_gradients_wait(run->session);
        if (rc < 0)
            return failed(run, "rk_gradients_wait", rc);
    } while (rc == RK_REFORMED);

    if (run->gpu)
        rc = update_on_gpu(run, *step);
    else
        update(run, *step);
    if (rc == 0)
        rc = read_state(run, run->state.loss, 1, &run->loss);
    if (rc)
        return rc;
    rk_report(run->session, "loss", (double)run->loss);
    rc = rk_step_end(run->session, step);
    return rc < 0 ? failed(run, "rk_step_end", rc) : 0;
}

static int train(struct run *run, uint64_t *step)
{
    const uint64_t steps = run->options.steps, interval = (steps + 19) / 20;
    while (*step < steps) {
        int rc = take_step(run, step);
        if (rc)
            return rc;
        if ((*step == 1 || *step % interval == 0) && rk_is_first(run->session))
            printf("step %llu loss %.4f\n", (unsigned long long)*step, (double)run->loss);
    }
    return 0;
}

/* ---- the sample ------------------------------------------------------------------------------ */

/* The next character, drawn from the last row of logits; from 64 random `bits`. */
static uint8_t choose(const float *logits, size_t vocabulary, uint64_t bits)
{
    float top = logits[0], sum = 0.0f, chance[256];
    for (size_t i = 1; i < vocabulary; i++)
        top = logits[i] > top ? logits[i] : top;
    for (size_t i = 0; i < vocabulary; i++) {
        chance[i] = op_exp((logits[i] - top) / TEMPERATURE);
        sum += chance[i];
    }
    float left = (float)(bits >> 40) * 0x1p-24f * sum;
    for (size_t i = 0; i < vocabulary; i++) {
        left -= chance[i];
        if (left < 0.0f)
            return (uint8_t)i;
    }
    return (uint8_t)(vocabulary - 1);
}

static void print_sample(struct run *run, uint64_t step)
{
    const size_t context = run->options.size->context;
    uint8_t window[MODEL_MAX_CONTEXT]; /* the last characters that the model can see */
    size_t length = 1;

    window[0] = text_number_of(&run->text, '\n');
    puts("---");
    for (uint64_t i = 0; i < run->options.sample; i++) {
        const float *logits = model_forward(run->model, window, length);
        logits += (length - 1) * run->text.vocabulary;
        uint8_t next = choose(logits, run->text.vocabulary, rk_random(run->session, step, 0, i));
        putchar(run->text.byte_of[next]);
        if (length == context)
            memmove(window, window + 1, --length);
        window[length++] = next;
    }
    puts("\n---");
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* 0, or a negative code. */
static int finish(struct run *run, uint64_t from, uint64_t step)
{
    const unsigned long long steps = step;
    if (!rk_is_first(run->session))
        return 0;
    if (step > from)
        printf("finished: step %llu loss %.4f\n", steps, (double)run->loss);
    else
        printf("finished: step %llu was reached before\n", steps);
    if (!run->options.sample)
        return 0;
    if (read_state(run, run->state.weights, model_weight_count(run->model),
                   model_weights(run->model)))
        return -1;
    print_sample(run, step);
    return 0;
}

/* From joining to leaving; returns the exit code. */
static int take_part(struct run *run)
{
    const struct rk_options options = {
        .struct_size = sizeof options, .seed = run->options.seed, .batch = run->options.batch};
    uint64_t step = 0;

    if (rk_join(&options, &run->session) < 0)
        return EXIT_FAILED; /* rk_join has said why */
    model_initialise(run->model, draw, run);
    int rc = run->gpu ? start_gpu(run) : 0;
    if (rc == 0)
        rc = register_all(run);
    if (rc == 0) {
        rc = rk_restore(run->session, &step);
        if (rc < 0)
            failed(run, "rk_restore", rc);
    }
    const uint64_t from = step;
    if (rc == 0)
        rc = train(run, &step);
    if (rc == RK_STOPPED && rk_is_first(run->session))
        printf("stopped: %llu of %llu steps are done\n", (unsigned long long)step,
               (unsigned long long)run->options.steps);
    if (rc == 0)
        rc = finish(run, from, step);
    int left = rk_leave(run->session);
    if (rc >= 0 && left < 0)
        fprintf(stderr, "chargpt: rk_leave: %s\n", rk_error_text(left));
    return rc < 0 || left < 0 ? EXIT_FAILED : EXIT_SUCCESS;
}

static void release_state(struct run *run)
{
    free(run->starts);
    if (run->gpu) {
        run->gpu->free(run->gpu_model);
        return;
    }
    free(run->state.mean);
    free(run->state.square);
}

int main(int argc, char **argv)
{
    struct run run = {0};
    int code = options_read(&run.options, argc, argv);
    if (code >= 0)
        return code;

    setvbuf(stdout, NULL, _IOLBF, 0); /* each line is seen when it is printed */
    code = prepare(&run);
    if (code < 0)
        code = take_part(&run);
    model_free(run.model);
    release_state(&run);
    text_free(&run.text);
    return code;
}
