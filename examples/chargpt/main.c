/* chargpt: trains a character-level transformer data-parallel through worker/reknit.h.
 *
 * What is particular to reknit is in this file: the state is registered (weights and the two
 * moments of the optimiser), and so are the gradients and, as one more gradient element, the loss,
 * so that it is summed over the shards with them and every rank knows it.  A shard's gradient is
 * the sum over its samples, divided by the global batch; the sum over shards is then the gradient
 * of the batch. */
#include "examples/chargpt/adamw.h"
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
#define EXIT_MEMORY 69

#define TEMPERATURE 0.7f /* of the sample: below 1, the likelier characters gain */

struct run {
    struct options options;
    struct text text;
    struct model *model;
    float *mean, *square; /* moments of the optimiser, one for each weight */
    float loss;           /* the extra gradient element */
    struct adamw adamw;
    struct rk_session *session;
};

/* Says which call failed and why; returns its code. */
static int failed(const struct run *run, const char *call, int64_t code)
{
    fprintf(stderr, "chargpt: %s: %s\n", call, rk_last_error(run->session));
    return (int)code;
}

/* ---- preparation ----------------------------------------------------------------------------- */

/* -1: go on; otherwise the exit code. */
static int prepare(struct run *run)
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
    run->model = model_new(run->options.size, run->text.vocabulary);
    if (run->model) {
        run->mean = calloc(model_weight_count(run->model), sizeof(float));
        run->square = calloc(model_weight_count(run->model), sizeof(float));
    }
    if (!run->mean || !run->square) {
        fprintf(stderr, "chargpt: no memory for a model of size %s; try a smaller one\n",
                run->options.size->name);
        return EXIT_MEMORY;
    }
    run->adamw = (struct adamw){.rate = run->options.size->rate,
                                .beta1 = 0.9f,
                                .beta2 = 0.99f,
                                .floor = 1e-8f,
                                .warm_up = 20};
    return -1;
}

static int register_tensor(struct run *run, const struct parameter *p)
{
    const struct {
        const char *suffix;
        float *base;
    } states[] = {
        {"", model_weights(run->model)}, {".adam.mean", run->mean}, {".adam.square", run->square}};
    int rc = 0;

    for (size_t i = 0; i < sizeof states / sizeof states[0] && rc == 0; i++) {
        char name[RK_MAX_NAME + 1];
        snprintf(name, sizeof name, "%s%s", p->name, states[i].suffix);
        rc = rk_register_state(run->session, name, states[i].base + p->offset, RK_F32, p->ndim,
                               p->shape);
    }
    if (rc == 0)
        rc = rk_register_gradient(run->session, p->name, model_gradient(run->model) + p->offset,
                                  p->count);
    return rc;
}

static int register_all(struct run *run)
{
    const struct parameter *parameters = model_parameters(run->model);
    int rc = 0;
    for (size_t i = 0; i < model_parameter_count(run->model) && rc == 0; i++)
        rc = register_tensor(run, &parameters[i]);
    if (rc == 0)
        rc = rk_register_gradient(run->session, "loss", &run->loss, 1);
    return rc < 0 ? failed(run, "registering the model", rc) : 0;
}

/* Initial weights are drawn as if before the first step, one "shard" for each tensor. */
static uint64_t draw(void *with, uint64_t tensor, uint64_t element)
{
    const struct run *run = with;
    return rk_random(run->session, 0, tensor, element);
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
        compute_shard(run, step, (uint64_t)shard);
        int rc = rk_shard_done(run->session);
        if (rc < 0)
            return failed(run, "rk_shard_done", rc);
    }
    return shard == -1 ? 0 : failed(run, "rk_shard_next", shard);
}

static void update(struct run *run, uint64_t step)
{
    const struct parameter *p = model_parameters(run->model);
    float *weights = model_weights(run->model), *gradient = model_gradient(run->model);

    for (size_t i = 0; i < model_parameter_count(run->model); i++, p++)
        adamw_update(&run->adamw, step, p->count, weights + p->offset, run->mean + p->offset,
                     run->square + p->offset, gradient + p->offset, p->ndim == 2 ? 0.01f : 0.0f);
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

    update(run, *step);
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

static void finish(struct run *run, uint64_t from, uint64_t step)
{
    const unsigned long long steps = step;
    if (!rk_is_first(run->session))
        return;
    if (step > from)
        printf("finished: step %llu loss %.4f\n", steps, (double)run->loss);
    else
        printf("finished: step %llu was reached before\n", steps);
    if (run->options.sample)
        print_sample(run, step);
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
    int rc = register_all(run);
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
        finish(run, from, step);
    int left = rk_leave(run->session);
    if (rc >= 0 && left < 0)
        fprintf(stderr, "chargpt: rk_leave: %s\n", rk_error_text(left));
    return rc < 0 || left < 0 ? EXIT_FAILED : EXIT_SUCCESS;
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
    free(run.mean);
    free(run.square);
    text_free(&run.text);
    return code;
}
