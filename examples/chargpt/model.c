/* The transformer: see model.h.  One block is
 *
 *     middle = in     + attention(norm1(in) qkv) project
 *     out    = middle + gelu(norm2(middle) expand) contract
 *
 * and the backward pass walks the same lines upwards; what it needs of the forward pass is kept in
 * struct block_pass.  `stream` is the running sum (in, middle, out) that the blocks add to. */
#include "examples/chargpt/model.h"

#include "examples/chargpt/ops.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS (FIRST_BLOCK + MODEL_MAX_BLOCKS * BLOCK_TENSORS + END_TENSORS)

/* What a block keeps of the forward pass, a row for each character. */
struct block_pass {
    float *normed1, *inverse1, *qkv, *attention, *mixed, *middle;
    float *normed2, *inverse2, *expanded, *activated, *out;
};

struct model {
    struct model_size size;
    size_t vocabulary;
    struct parameter parameter[MAX_TENSORS];
    size_t parameter_count, weight_count;
    float *weights, *gradient;

    float *memory; /* all that follows */
    float *embedded;
    struct block_pass block[MODEL_MAX_BLOCKS];
    float *normed, *inverse, *logits;
    float *d_stream, *d_normed, *d_mixed, *d_qkv, *d_expanded; /* of the backward pass */
    float *scratch;
};

static const struct model_size sizes[] = {
    {"tiny", 64, 32, 2, 2, 6e-3f},
    {"small", 64, 128, 4, 5, 3e-3f},
    {"medium", 128, 320, 8, 8, 1e-3f},
};

const struct model_size *model_size_find(const char *name)
{
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (strcmp(sizes[i].name, name) == 0)
            return &sizes[i];
    return NULL;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void add_parameter(struct model *model, const char *name, uint32_t ndim, size_t rows,
                          size_t cols, float spread)
{
    assert(model->parameter_count < MAX_TENSORS);
    struct parameter *p = &model->parameter[model->parameter_count++];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->ndim = ndim;
    p->shape[0] = rows;
    p->shape[1] = ndim == 2 ? cols : 0;
    p->offset = model->weight_count;
    p->count = ndim == 2 ? rows * cols : rows;
    p->spread = spread;
    model->weight_count += p->count;
}

static void add_block(struct model *model, size_t index)
{
    static const struct {
        const char *name;
        size_t rows, cols; /* in widths; cols 0: a gain */
        int to_stream;     /* adds to the stream, as two layers in each block do */
    } tensors[BLOCK_TENSORS] = {
        [NORM1] = {"attention.norm.gain", 1, 0, 0},
        [QKV] = {"attention.qkv.weight", 1, 3, 0},
        [PROJECT] = {"attention.project.weight", 1, 1, 1},
        [NORM2] = {"mlp.norm.gain", 1, 0, 0},
        [EXPAND] = {"mlp.expand.weight", 1, 4, 0},
        [CONTRACT] = {"mlp.contract.weight", 4, 1, 1},
    };
    const size_t width = model->size.width;
    const float depth = sqrtf(2.0f * (float)model->size.blocks);

    for (size_t i = 0; i < BLOCK_TENSORS; i++) {
        char name[sizeof model->parameter[0].name];
        snprintf(name, sizeof name, "block%zu.%s", index, tensors[i].name);
        const size_t rows = tensors[i].rows * width, cols = tensors[i].cols * width;
        float spread = cols ? 1.0f / sqrtf((float)rows) : 0.0f;
        if (tensors[i].to_stream)
            spread /= depth; /* so that the stream does not grow with the number of blocks */
        add_parameter(model, name, cols ? 2 : 1, rows, cols, spread);
    }
}

static void add_parameters(struct model *model)
{
    const size_t width = model->size.width;
    add_parameter(model, "embedding.token.weight", 2, model->vocabulary, width, 0.1f);
    add_parameter(model, "embedding.position.weight", 2, model->size.context, width, 0.1f);
    for (size_t b = 0; b < model->size.blocks; b++)
        add_block(model, b);
    add_parameter(model, "end.norm.gain", 1, width, 0, 0.0f);
    add_parameter(model, "end.head.weight", 2, width, model->vocabulary,
                  1.0f / sqrtf((float)width));
}

void model_initialise(struct model *model,
                      uint64_t (*draw)(void *with, uint64_t tensor, uint64_t element), void *with)
{
    for (size_t t = 0; t < model->parameter_count; t++) {
        const struct parameter *p = &model->parameter[t];
        for (size_t i = 0; i < p->count; i++) {
            /* 24 random bits, exact in a float, as a number in -1 .. 1 */
            float unit = 1.0f;
            if (p->spread > 0.0f)
                unit = ((float)(draw(with, t, i) >> 40) * 0x1p-23f - 1.0f) * p->spread;
            model->weights[p->offset + i] = unit;
        }
    }
}

/* The matrix (or, as one row, the gain) of tensor `index` in `base`: weights or gradient. */
static struct matrix tensor_in(const struct model *model, float *base, size_t index)
{
    const struct parameter *p = &model->parameter[index];
    if (p->ndim == 1)
        return matrix_of(base + p->offset, 1, p->shape[0]);
    return matrix_of(base + p->offset, p->shape[0], p->shape[1]);
}

static size_t block_tensor(size_t block, size_t which)
{
    return FIRST_BLOCK + block * BLOCK_TENSORS + which;
}

static size_t end_tensor(const struct model *model, size_t which)
{
    return FIRST_BLOCK + model->size.blocks * BLOCK_TENSORS + which;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Hands out pieces of one block of memory; with no block yet, only counts. */
struct carver {
    float *base;
    size_t used;
};

static float *carve(struct carver *carver, size_t count)
{
    float *piece = carver->base ? carver->base + carver->used : NULL;
    carver->used += count;
    return piece;
}

static void carve_passes(struct model *model, struct carver *carver)
{
    const size_t rows = model->size.context, width = model->size.width;
    const size_t stream = rows * width;

    model->embedded = carve(carver, stream);
    for (size_t b = 0; b < model->size.blocks; b++) {
        struct block_pass *pass = &model->block[b];
        pass->normed1 = carve(carver, stream);
        pass->inverse1 = carve(carver, rows);
        pass->qkv = carve(carver, 3 * stream);
        pass->attention = carve(carver, model->size.heads * rows * rows);
        pass->mixed = carve(carver, stream);
        pass->middle = carve(carver, stream);
        pass->normed2 = carve(carver, stream);
        pass->inverse2 = carve(carver, rows);
        pass->expanded = carve(carver, 4 * stream);
        pass->activated = carve(carver, 4 * stream);
        pass->out = carve(carver, stream);
    }
    model->normed = carve(carver, stream);
    model->inverse = carve(carver, rows);
    model->logits = carve(carver, rows * model->vocabulary);
    model->d_stream = carve(carver, stream);
    model->d_normed = carve(carver, stream);
    model->d_mixed = carve(carver, stream);
    model->d_qkv = carve(carver, 3 * stream);
    model->d_expanded = carve(carver, 4 * stream);

    size_t scratch = 4 * width * width; /* the largest matrix of a block, turned */
    if (scratch < width * model->vocabulary)
        scratch = width * model->vocabulary;
    if (scratch < attention_scratch(rows, width, model->size.heads))
        scratch = attention_scratch(rows, width, model->size.heads);
    model->scratch = carve(carver, scratch);
}

struct model *model_new(const struct model_size *size, size_t vocabulary)
{
    assert(size->blocks <= MODEL_MAX_BLOCKS && size->context <= MODEL_MAX_CONTEXT);
    assert(size->heads >= 1 && size->width % size->heads == 0);
    assert(vocabulary >= 1 && vocabulary <= 256);
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    model->size = *size;
    model->vocabulary = vocabulary;
    add_parameters(model);

    struct carver carver = {NULL, 0};
    carve_passes(model, &carver);
    model->memory = calloc(carver.used, sizeof(float));
    model->weights = calloc(model->weight_count, sizeof(float));
    model->gradient = calloc(model->weight_count, sizeof(float));
    if (!model->memory || !model->weights || !model->gradient) {
        model_free(model);
        return NULL;
    }
    carver = (struct carver){model->memory, 0};
    carve_passes(model, &carver);
    return model;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    free(model->memory);
    free(model->weights);
    free(model->gradient);
    free(model);
}

size_t model_parameter_count(const struct model *model)
{
    return model->parameter_count;
}

const struct parameter *model_parameters(const struct model *model)
{
    return model->parameter;
}

size_t model_weight_count(const struct model *model)
{
    return model->weight_count;
}

float *model_weights(struct model *model)
{
    return model->weights;
}

float *model_gradient(struct model *model)
{
    return model->gradient;
}

/* to += from */
static void add_to(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* ---- forward --------------------------------------------------------------------------------- */

static void embed_forward(struct model *model, const uint8_t *characters, size_t length)
{
    struct matrix token = tensor_in(model, model->weights, TOKEN);
    struct matrix position = tensor_in(model, model->weights, POSITION);
    const size_t width = model->size.width;
    for (size_t i = 0; i < length; i++) {
        assert(characters[i] < model->vocabulary);
        const float *what = token.at + characters[i] * width, *where = position.at + i * width;
        for (size_t j = 0; j < width; j++)
            model->embedded[i * width + j] = what[j] + where[j];
    }
}

static void block_forward(struct model *model, size_t b, float *in, size_t length)
{
    const struct block_pass *pass = &model->block[b];
    const size_t width = model->size.width;
    struct matrix normed1 = matrix_of(pass->normed1, length, width);
    struct matrix qkv = matrix_of(pass->qkv, length, 3 * width);
    struct matrix mixed = matrix_of(pass->mixed, length, width);
    struct matrix middle = matrix_of(pass->middle, length, width);
    struct matrix normed2 = matrix_of(pass->normed2, length, width);
    struct matrix expanded = matrix_of(pass->expanded, length, 4 * width);
    struct matrix activated = matrix_of(pass->activated, length, 4 * width);
    struct matrix out = matrix_of(pass->out, length, width);
    struct matrix w[BLOCK_TENSORS];
    for (size_t i = 0; i < BLOCK_TENSORS; i++)
        w[i] = tensor_in(model, model->weights, block_tensor(b, i));

    rmsnorm_forward(normed1, pass->inverse1, matrix_of(in, length, width), w[NORM1].at);
    linear_forward(qkv, normed1, w[QKV]);
    attention_forward(mixed, pass->attention, qkv, model->size.heads, model->scratch);
    linear_forward(middle, mixed, w[PROJECT]);
    add_to(middle.at, in, length * width);

    rmsnorm_forward(normed2, pass->inverse2, middle, w[NORM2].at);
    linear_forward(expanded, normed2, w[EXPAND]);
    gelu_forward(activated.at, expanded.at, length * 4 * width);
    linear_forward(out, activated, w[CONTRACT]);
    add_to(out.at, middle.at, length * width);
}

float *model_forward(struct model *model, const uint8_t *characters, size_t length)
{
    assert(length >= 1 && length <= model->size.context);
    const size_t width = model->size.width;
    float *stream = model->embedded;

    embed_forward(model, characters, length);
    for (size_t b = 0; b < model->size.blocks; b++) {
        block_forward(model, b, stream, length);
        stream = model->block[b].out;
    }
    struct matrix normed = matrix_of(model->normed, length, width);
    rmsnorm_forward(normed, model->inverse, matrix_of(stream, length, width),
                    tensor_in(model, model->weights, end_tensor(model, END_NORM)).at);
    linear_forward(matrix_of(model->logits, length, model->vocabulary), normed,
                   tensor_in(model, model->weights, end_tensor(model, END_HEAD)));
    return model->logits;
}

/* ---- backward -------------------------------------------------------------------------------- */

/* Takes d_stream from after the block to before it. */
static void block_backward(struct model *model, size_t b, float *in, size_t length)
{
    const struct block_pass *pass = &model->block[b];
    const size_t width = model->size.width;
    struct matrix d_stream = matrix_of(model->d_stream, length, width);
    struct matrix d_normed = matrix_of(model->d_normed, length, width);
    struct matrix d_mixed = matrix_of(model->d_mixed, length, width);
    struct matrix d_qkv = matrix_of(model->d_qkv, length, 3 * width);
    struct matrix d_expanded = matrix_of(model->d_expanded, length, 4 * width);
    struct matrix qkv = matrix_of(pass->qkv, length, 3 * width);
    struct matrix w[BLOCK_TENSORS], g[BLOCK_TENSORS];
    for (size_t i = 0; i < BLOCK_TENSORS; i++) {
        w[i] = tensor_in(model, model->weights, block_tensor(b, i));
        g[i] = tensor_in(model, model->gradient, block_tensor(b, i));
    }

    matrix_clear(d_expanded);
    linear_backward(d_expanded, g[CONTRACT], d_stream,
                    matrix_of(pass->activated, length, 4 * width), w[CONTRACT], model->scratch);
    gelu_backward(d_expanded.at, pass->expanded, length * 4 * width);
    matrix_clear(d_normed);
    linear_backward(d_normed, g[EXPAND], d_expanded, matrix_of(pass->normed2, length, width),
                    w[EXPAND], model->scratch);
    rmsnorm_backward(d_stream, g[NORM2].at, d_normed, matrix_of(pass->middle, length, width),
                     w[NORM2].at, pass->inverse2);

    matrix_clear(d_mixed);
    linear_backward(d_mixed, g[PROJECT], d_stream, matrix_of(pass->mixed, length, width),
                    w[PROJECT], model->scratch);
    matrix_clear(d_qkv);
    attention_backward(d_qkv, d_mixed, qkv, pass->attention, model->size.heads, model->scratch);
    matrix_clear(d_normed);
    linear_backward(d_normed, g[QKV], d_qkv, matrix_of(pass->normed1, length, width), w[QKV],
                    model->scratch);
    rmsnorm_backward(d_stream, g[NORM1].at, d_normed, matrix_of(in, length, width), w[NORM1].at,
                     pass->inverse1);
}

static void embed_backward(struct model *model, const uint8_t *characters, size_t length)
{
    struct matrix token = tensor_in(model, model->gradient, TOKEN);
    struct matrix position = tensor_in(model, model->gradient, POSITION);
    const size_t width = model->size.width;
    for (size_t i = 0; i < length; i++) {
        add_to(token.at + characters[i] * width, model->d_stream + i * width, width);
        add_to(position.at + i * width, model->d_stream + i * width, width);
    }
}

double model_backward(struct model *model, const uint8_t *characters, const uint8_t *targets,
                      size_t length, float scale)
{
    const size_t width = model->size.width, blocks = model->size.blocks;
    const size_t norm = end_tensor(model, END_NORM), head = end_tensor(model, END_HEAD);
    struct matrix d_logits = matrix_of(model->logits, length, model->vocabulary);
    struct matrix d_normed = matrix_of(model->d_normed, length, width);
    struct matrix d_stream = matrix_of(model->d_stream, length, width);
    float *stream = blocks ? model->block[blocks - 1].out : model->embedded;

    double loss = cross_entropy(d_logits, targets, scale / (float)length);
    matrix_clear(d_normed);
    linear_backward(d_normed, tensor_in(model, model->gradient, head), d_logits,
                    matrix_of(model->normed, length, width), tensor_in(model, model->weights, head),
                    model->scratch);
    matrix_clear(d_stream);
    rmsnorm_backward(d_stream, tensor_in(model, model->gradient, norm).at, d_normed,
                     matrix_of(stream, length, width), tensor_in(model, model->weights, norm).at,
                     model->inverse);
    for (size_t b = blocks; b-- > 0;)
        block_backward(model, b, b ? model->block[b - 1].out : model->embedded, length);
    embed_backward(model, characters, length);
    return loss / (double)length;
}
