/* Forward and backward on a GPU: see gpu_model.h, and model.c, whose lines these follow.  Errors of
 * launches are kept until somebody can be told: after the first nothing more is queued. */
#include "examples/chargpt/gpu_model.h"

#include "examples/chargpt/gpu_ops.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What lies between layers may take so many bytes; more windows are computed in turns. */
#define PASS_BYTES ((size_t)1 << 30)

/* What a block keeps of the forward pass, a row for each character of each window. */
struct block_pass {
    float *normed1, *inverse1, *qkv, *attention, *mixed, *middle;
    float *normed2, *inverse2, *expanded, *activated, *out;
};

struct gpu_model {
    const struct parameter *parameters;
    cudaStream_t stream;
    cudaError_t error; /* the first */
    const char *call;  /* that returned it */
    struct gpu_heads of;
    uint32_t context, width, blocks, vocabulary;
    uint32_t at_a_time;     /* windows */
    uint32_t windows, rows; /* in hand */
    size_t weight_count, text_length;

    void *block; /* of the GPU's memory: all that follows */
    struct training_state state;
    uint8_t *text;
    double *total; /* loss of the windows so far */

    uint8_t *characters, *targets;
    float *embedded;
    struct block_pass pass[MODEL_MAX_BLOCKS];
    float *normed, *inverse, *logits;
    float *d_stream, *d_normed, *d_mixed, *d_qkv, *d_expanded, *d_attention;
    float *largest, *sum, *mean, *along, *parts, *turned;
    double *row_loss;
};

/* ---- errors ---------------------------------------------------------------------------------- */

static void done(struct gpu_model *model, cudaError_t error, const char *call)
{
    if (model->error || !error)
        return;
    model->error = error;
    model->call = call;
}

static int told(const struct gpu_model *model, struct gpu_why *why)
{
    if (!model->error)
        return 0;
    snprintf(why->text, sizeof why->text, "GPU: %s: %s (%s)", model->call,
             cudaGetErrorString(model->error), cudaGetErrorName(model->error));
    return -1;
}

#define CALL(model, function, ...) \
    ((model)->error ? (void)0 : done((model), function(__VA_ARGS__), #function))

/* Queues a kernel: START(model, NAME, elements, .field = value, ...). */
#define START(model, name, count, ...)                                                \
    CALL(model, gpu_##name##_start, &(const struct gpu_##name){__VA_ARGS__}, (count), \
         (model)->stream)

/* ---- memory ---------------------------------------------------------------------------------- */

/* Hands out pieces of one block of memory; with no block yet, only counts. */
struct carver {
    char *base;
    size_t used;
};

static void *carve(struct carver *carver, size_t bytes)
{
    void *piece = carver->base ? carver->base + carver->used : NULL;
    carver->used += (bytes + 255) / 256 * 256;
    return piece;
}

static float *carve_floats(struct carver *carver, size_t count)
{
    return carve(carver, count * sizeof(float));
}

static void carve_state(struct gpu_model *model, struct carver *carver)
{
    struct training_state *state = &model->state;

    state->weights = carve_floats(carver, model->weight_count);
    state->mean = carve_floats(carver, model->weight_count);
    state->square = carve_floats(carver, model->weight_count);
    state->gradient = carve_floats(carver, model->weight_count);
    state->loss = carve_floats(carver, 1);
    model->total = carve(carver, sizeof(double));
    model->text = carve(carver, model->text_length);
}

static void carve_block(struct gpu_model *model, struct block_pass *pass, size_t windows,
                        struct carver *carver)
{
    const size_t rows = windows * model->context, stream = rows * model->width;

    pass->normed1 = carve_floats(carver, stream);
    pass->inverse1 = carve_floats(carver, rows);
    pass->qkv = carve_floats(carver, 3 * stream);
    pass->attention = carve_floats(carver, rows * model->of.heads * model->context);
    pass->mixed = carve_floats(carver, stream);
    pass->middle = carve_floats(carver, stream);
    pass->normed2 = carve_floats(carver, stream);
    pass->inverse2 = carve_floats(carver, rows);
    pass->expanded = carve_floats(carver, 4 * stream);
    pass->activated = carve_floats(carver, 4 * stream);
    pass->out = carve_floats(carver, stream);
}

static void carve_backward(struct gpu_model *model, size_t windows, struct carver *carver)
{
    const size_t rows = windows * model->context, stream = rows * model->width;
    const size_t heads = rows * model->of.heads;
    const size_t wider =
        model->vocabulary > 4 * model->width ? model->vocabulary : 4 * model->width;

    model->d_stream = carve_floats(carver, stream);
    model->d_normed = carve_floats(carver, stream);
    model->d_mixed = carve_floats(carver, stream);
    model->d_qkv = carve_floats(carver, 3 * stream);
    model->d_expanded = carve_floats(carver, 4 * stream);
    model->d_attention = carve_floats(carver, heads * model->context);
    model->largest = carve_floats(carver, heads);
    model->sum = carve_floats(carver, heads);
    model->mean = carve_floats(carver, heads);
    model->along = carve_floats(carver, rows);
    model->parts = carve_floats(carver, windows * model->width);
    model->turned = carve_floats(carver, model->width * wider); /* the largest matrix */
    model->row_loss = carve(carver, rows * sizeof(double));
}

/* For `windows` at a time. */
static void carve_passes(struct gpu_model *model, size_t windows, struct carver *carver)
{
    const size_t rows = windows * model->context, stream = rows * model->width;

    model->characters = carve(carver, rows);
    model->targets = carve(carver, rows);
    model->embedded = carve_floats(carver, stream);
    for (size_t b = 0; b < model->blocks; b++)
        carve_block(model, &model->pass[b], windows, carver);
    model->normed = carve_floats(carver, stream);
    model->inverse = carve_floats(carver, rows);
    model->logits = carve_floats(carver, rows * model->vocabulary);
    carve_backward(model, windows, carver);
}

static uint32_t choose_at_a_time(struct gpu_model *model, const struct gpu_options *options)
{
    struct carver one = {NULL, 0};
    size_t most = options->at_a_time;

    carve_passes(model, 1, &one);
    if (most == 0)
        most = PASS_BYTES / one.used;
    if (most > options->windows)
        most = options->windows;
    return most > 0 ? (uint32_t)most : 1;
}

static void take_memory(struct gpu_model *model, const struct gpu_options *options)
{
    struct carver carver = {NULL, 0};

    carve_state(model, &carver);
    carve_passes(model, model->at_a_time, &carver);
    CALL(model, cudaMalloc, &model->block, carver.used);
    if (model->error)
        return;
    CALL(model, cudaMemsetAsync, model->block, 0, carver.used, model->stream);
    carver = (struct carver){model->block, 0};
    carve_state(model, &carver);
    carve_passes(model, model->at_a_time, &carver);
    CALL(model, cudaMemcpyAsync, model->text, options->text, options->text_length,
         cudaMemcpyHostToDevice, model->stream);
    CALL(model, cudaStreamSynchronize, model->stream);
}

static void gpu_model_free(struct gpu_model *model)
{
    if (!model)
        return;
    if (model->block)
        (void)cudaFree(model->block);
    free(model);
}

static struct gpu_model *gpu_model_make(const struct gpu_options *options, struct gpu_why *why)
{
    const struct model_size *size = options->size;
    struct gpu_model *model = calloc(1, sizeof *model);

    if (!model) {
        snprintf(why->text, sizeof why->text, "no memory");
        return NULL;
    }
    assert(size->blocks >= 1 && size->blocks <= MODEL_MAX_BLOCKS);
    model->parameters = options->parameters;
    model->stream = options->stream;
    model->context = (uint32_t)size->context;
    model->width = (uint32_t)size->width;
    model->blocks = (uint32_t)size->blocks;
    model->vocabulary = (uint32_t)options->vocabulary;
    model->of = (struct gpu_heads){model->context, (uint32_t)size->heads,
                                   (uint32_t)(size->width / size->heads)};
    model->weight_count = options->weight_count;
    model->text_length = options->text_length;
    model->at_a_time = choose_at_a_time(model, options);
    take_memory(model, options);
    if (told(model, why) == 0)
        return model;
    gpu_model_free(model);
    return NULL;
}

static struct training_state gpu_model_state(const struct gpu_model *model)
{
    return model->state;
}

static int copy(struct gpu_model *model, const float *from, size_t count, float *to,
                enum cudaMemcpyKind kind, struct gpu_why *why)
{
    CALL(model, cudaMemcpyAsync, to, from, count * sizeof *to, kind, model->stream);
    CALL(model, cudaStreamSynchronize, model->stream);
    return told(model, why);
}

static int gpu_model_write(struct gpu_model *model, const float *from, size_t count, float *to,
                           struct gpu_why *why)
{
    return copy(model, from, count, to, cudaMemcpyHostToDevice, why);
}

static int gpu_model_read(struct gpu_model *model, const float *from, size_t count, float *to,
                          struct gpu_why *why)
{
    return copy(model, from, count, to, cudaMemcpyDeviceToHost, why);
}

/* ---- layers ---------------------------------------------------------------------------------- */

static size_t block_tensor(size_t block, size_t which)
{
    return FIRST_BLOCK + block * BLOCK_TENSORS + which;
}

static size_t end_tensor(const struct gpu_model *model, size_t which)
{
    return block_tensor(model->blocks, which);
}

static float *weights_of(const struct gpu_model *model, size_t tensor)
{
    return model->state.weights + model->parameters[tensor].offset;
}

static float *gradient_of(const struct gpu_model *model, size_t tensor)
{
    return model->state.gradient + model->parameters[tensor].offset;
}

/* out = plus + x w */
static void linear(struct gpu_model *model, size_t tensor, const float *x, const float *plus,
                   float *out)
{
    const uint32_t in = (uint32_t)model->parameters[tensor].shape[0];
    const uint32_t outs = (uint32_t)model->parameters[tensor].shape[1];

    START(model, multiply, gpu_tiles(model->rows) * outs, .a = x, .b = weights_of(model, tensor),
          .plus = plus, .out = out, .rows = model->rows, .depth = in, .cols = outs, .a_row = in,
          .a_step = 1);
}

/* Sets d_x; the gradient of the weights is added to, as in all layers. */
static void linear_backward(struct gpu_model *model, size_t tensor, const float *d, const float *x,
                            float *d_x)
{
    const uint32_t in = (uint32_t)model->parameters[tensor].shape[0];
    const uint32_t outs = (uint32_t)model->parameters[tensor].shape[1];
    float *gradient = gradient_of(model, tensor);

    START(model, turn, in * outs, .in = weights_of(model, tensor), .out = model->turned, .rows = in,
          .cols = outs);
    START(model, multiply, gpu_tiles(model->rows) * in, .a = d, .b = model->turned, .out = d_x,
          .rows = model->rows, .depth = outs, .cols = in, .a_row = outs, .a_step = 1);
    START(model, multiply, gpu_tiles(in) * outs, .a = x, .b = d, .plus = gradient, .out = gradient,
          .rows = in, .depth = model->rows, .cols = outs, .a_row = 1, .a_step = in);
}

static void norm(struct gpu_model *model, size_t tensor, const float *x, float *inverse, float *out)
{
    START(model, norm_inverse, model->rows, .x = x, .inverse = inverse, .width = model->width);
    START(model, norm, model->rows * model->width, .x = x, .inverse = inverse,
          .gain = weights_of(model, tensor), .out = out, .width = model->width);
}

/* Adds to d_stream. */
static void norm_backward(struct gpu_model *model, size_t tensor, const float *d, const float *x,
                          const float *inverse)
{
    const float *gain = weights_of(model, tensor);
    const uint32_t width = model->width;

    START(model, norm_along, model->rows, .d = d, .x = x, .inverse = inverse, .gain = gain,
          .along = model->along, .width = width);
    START(model, norm_backward, model->rows * width, .d = d, .x = x, .inverse = inverse,
          .gain = gain, .along = model->along, .d_x = model->d_stream, .width = width);
    START(model, gain_parts, model->windows * width, .d = d, .x = x, .inverse = inverse,
          .parts = model->parts, .context = model->context, .width = width);
    START(model, gain, width, .parts = model->parts, .gradient = gradient_of(model, tensor),
          .windows = model->windows, .width = width);
}

static float attention_scale(const struct gpu_model *model)
{
    return 1.0f / sqrtf((float)model->of.depth);
}

static void attention(struct gpu_model *model, const struct block_pass *pass)
{
    const uint32_t width = model->width, wide = 3 * width, rows = model->rows * model->of.heads;
    const float *q = pass->qkv, *k = q + width, *v = k + width;
    const float scale = attention_scale(model);

    START(model, dots, rows * model->context, .a = q, .b = k, .out = pass->attention, .a_row = wide,
          .b_row = wide, .of = model->of);
    START(model, softmax_sums, rows, .x = pass->attention, .largest = model->largest,
          .sum = model->sum, .scale = scale, .cols = model->context, .causal = 1);
    START(model, softmax, rows * model->context, .largest = model->largest, .sum = model->sum,
          .x = pass->attention, .scale = scale, .cols = model->context);
    START(model, mix, model->rows * width, .p = pass->attention, .x = v, .out = pass->mixed,
          .x_row = wide, .out_row = width, .of = model->of);
}

/* From d_mixed to d_qkv. */
static void attention_backward(struct gpu_model *model, const struct block_pass *pass)
{
    const uint32_t width = model->width, wide = 3 * width, rows = model->rows * model->of.heads;
    const float *q = pass->qkv, *k = q + width, *v = k + width;
    float *d_q = model->d_qkv, *d_k = d_q + width, *d_v = d_k + width, *d = model->d_attention;

    START(model, mix_turned, model->rows * width, .p = pass->attention, .x = model->d_mixed,
          .out = d_v, .x_row = width, .out_row = wide, .of = model->of);
    START(model, dots, rows * model->context, .a = model->d_mixed, .b = v, .out = d, .a_row = width,
          .b_row = wide, .of = model->of);
    START(model, softmax_mean, rows, .p = pass->attention, .d = d, .mean = model->mean,
          .cols = model->context);
    START(model, softmax_backward, rows * model->context, .p = pass->attention, .mean = model->mean,
          .d = d, .scale = attention_scale(model), .cols = model->context);
    START(model, mix, model->rows * width, .p = d, .x = k, .out = d_q, .x_row = wide,
          .out_row = wide, .of = model->of);
    START(model, mix_turned, model->rows * width, .p = d, .x = q, .out = d_k, .x_row = wide,
          .out_row = wide, .of = model->of);
}

/* ---- the pass -------------------------------------------------------------------------------- */

static void take_windows(struct gpu_model *model, const uint64_t *starts)
{
    struct gpu_windows windows = {.text = model->text, .context = model->context};

    for (uint32_t first = 0; first < model->windows; first += GPU_WINDOWS) {
        const uint32_t left = model->windows - first;
        const uint32_t count = left < GPU_WINDOWS ? left : GPU_WINDOWS;

        for (uint32_t i = 0; i < count; i++) {
            assert(starts[first + i] + model->context < model->text_length);
            windows.start[i] = starts[first + i];
        }
        windows.characters = model->characters + (size_t)first * model->context;
        windows.targets = model->targets + (size_t)first * model->context;
        CALL(model, gpu_windows_start, &windows, count * model->context, model->stream);
    }
}

static void block_forward(struct gpu_model *model, size_t b, const float *in)
{
    const struct block_pass *pass = &model->pass[b];

    norm(model, block_tensor(b, NORM1), in, pass->inverse1, pass->normed1);
    linear(model, block_tensor(b, QKV), pass->normed1, NULL, pass->qkv);
    attention(model, pass);
    linear(model, block_tensor(b, PROJECT), pass->mixed, in, pass->middle);

    norm(model, block_tensor(b, NORM2), pass->middle, pass->inverse2, pass->normed2);
    linear(model, block_tensor(b, EXPAND), pass->normed2, NULL, pass->expanded);
    START(model, gelu, model->rows * 4 * model->width, .x = pass->expanded, .out = pass->activated);
    linear(model, block_tensor(b, CONTRACT), pass->activated, pass->middle, pass->out);
}

static void forward(struct gpu_model *model)
{
    const float *stream = model->embedded;

    START(model, embed, model->rows * model->width, .characters = model->characters,
          .token = weights_of(model, TOKEN), .position = weights_of(model, POSITION),
          .out = model->embedded, .context = model->context, .width = model->width);
    for (size_t b = 0; b < model->blocks; b++) {
        block_forward(model, b, stream);
        stream = model->pass[b].out;
    }
    norm(model, end_tensor(model, END_NORM), stream, model->inverse, model->normed);
    linear(model, end_tensor(model, END_HEAD), model->normed, NULL, model->logits);
}

/* Makes of the logits the loss, and their derivatives. */
static void loss(struct gpu_model *model, uint64_t batch)
{
    const double scale = 1.0 / ((double)batch * model->context);
    const uint32_t rows = model->rows, cols = model->vocabulary;

    START(model, softmax_sums, rows, .x = model->logits, .largest = model->largest,
          .sum = model->sum, .scale = 1.0f, .cols = cols);
    START(model, row_loss, rows, .targets = model->targets, .logits = model->logits,
          .largest = model->largest, .sum = model->sum, .loss = model->row_loss, .cols = cols);
    START(model, loss, 1, .rows = model->row_loss, .total = model->total, .loss = model->state.loss,
          .scale = scale, .count = rows);
    START(model, logits_backward, rows * cols, .targets = model->targets, .largest = model->largest,
          .sum = model->sum, .logits = model->logits, .scale = (float)scale, .cols = cols);
}

/* Takes d_stream from after the block to before it. */
static void block_backward(struct gpu_model *model, size_t b, const float *in)
{
    const struct block_pass *pass = &model->pass[b];
    float *d_stream = model->d_stream, *d_normed = model->d_normed;

    linear_backward(model, block_tensor(b, CONTRACT), d_stream, pass->activated, model->d_expanded);
    START(model, gelu_backward, model->rows * 4 * model->width, .x = pass->expanded,
          .d = model->d_expanded);
    linear_backward(model, block_tensor(b, EXPAND), model->d_expanded, pass->normed2, d_normed);
    norm_backward(model, block_tensor(b, NORM2), d_normed, pass->middle, pass->inverse2);

    linear_backward(model, block_tensor(b, PROJECT), d_stream, pass->mixed, model->d_mixed);
    attention_backward(model, pass);
    linear_backward(model, block_tensor(b, QKV), model->d_qkv, pass->normed1, d_normed);
    norm_backward(model, block_tensor(b, NORM1), d_normed, in, pass->inverse1);
}

static void backward(struct gpu_model *model)
{
    const size_t blocks = model->blocks;

    linear_backward(model, end_tensor(model, END_HEAD), model->logits, model->normed,
                    model->d_normed);
    CALL(model, cudaMemsetAsync, model->d_stream, 0,
         (size_t)model->rows * model->width * sizeof(float), model->stream);
    norm_backward(model, end_tensor(model, END_NORM), model->d_normed, model->pass[blocks - 1].out,
                  model->inverse);
    for (size_t b = blocks; b-- > 0;)
        block_backward(model, b, b ? model->pass[b - 1].out : model->embedded);
    START(model, token, model->vocabulary * model->width, .characters = model->characters,
          .d = model->d_stream, .gradient = gradient_of(model, TOKEN), .rows = model->rows,
          .width = model->width);
    START(model, position, model->context * model->width, .d = model->d_stream,
          .gradient = gradient_of(model, POSITION), .windows = model->windows,
          .stride = model->context * model->width);
}

static int gpu_model_compute(struct gpu_model *model, const uint64_t *starts, size_t count,
                             uint64_t batch, struct gpu_why *why)
{
    CALL(model, cudaMemsetAsync, model->state.gradient, 0, model->weight_count * sizeof(float),
         model->stream);
    CALL(model, cudaMemsetAsync, model->state.loss, 0, sizeof(float), model->stream);
    CALL(model, cudaMemsetAsync, model->total, 0, sizeof(double), model->stream);
    while (count > 0) {
        model->windows = count < model->at_a_time ? (uint32_t)count : model->at_a_time;
        model->rows = model->windows * model->context;
        take_windows(model, starts);
        forward(model);
        loss(model, batch);
        backward(model);
        starts += model->windows;
        count -= model->windows;
    }
    return told(model, why);
}

__attribute__((visibility("default"))) const struct gpu_functions chargpt_gpu = {
    .abi = GPU_MODEL_ABI,
    .make = gpu_model_make,
    .free = gpu_model_free,
    .state = gpu_model_state,
    .write = gpu_model_write,
    .read = gpu_model_read,
    .compute = gpu_model_compute,
};
