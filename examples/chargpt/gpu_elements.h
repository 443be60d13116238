/* What each kernel of gpu_ops.cu computes for one element: for GPUs, and for processors in tests.
 *
 * Kernel NAME of GPU_KERNELS takes a struct gpu_NAME and a number of elements; gpu_NAME_element
 * makes element i and reads nothing that another element of the same launch writes.  So the result
 * has the same bits in each run, whatever the order.  The mathematics is that of ops.c; here the
 * rows of many windows of the text lie one below the other: row r is place r % context of window
 * r / context.  Sums go over rows in order, and gradients are added to, so that windows give the
 * same bits all at once and a few at a time.  C and CUDA. */
#ifndef CHARGPT_GPU_ELEMENTS_H
#define CHARGPT_GPU_ELEMENTS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define GPU_KERNELS(X)  \
    X(windows)          \
    X(embed)            \
    X(norm_inverse)     \
    X(norm)             \
    X(multiply)         \
    X(dots)             \
    X(softmax_sums)     \
    X(softmax)          \
    X(mix)              \
    X(gelu)             \
    X(row_loss)         \
    X(loss)             \
    X(logits_backward)  \
    X(turn)             \
    X(norm_along)       \
    X(norm_backward)    \
    X(gain_parts)       \
    X(gain)             \
    X(gelu_backward)    \
    X(softmax_mean)     \
    X(softmax_backward) \
    X(mix_turned)       \
    X(token)            \
    X(position)

#ifdef __CUDACC__
#define GPU_ELEMENT static inline __host__ __device__ void
#define GPU_INLINE static inline __host__ __device__
#else
#define GPU_ELEMENT static inline void
#define GPU_INLINE static inline
#endif

/* ---- text and embeddings --------------------------------------------------------------------- */

#define GPU_WINDOWS 32 /* in one launch */

/* Takes windows from the text, and the characters that follow each; an element is a row. */
struct gpu_windows {
    uint64_t start[GPU_WINDOWS];
    const uint8_t *text;
    uint8_t *characters, *targets;
    uint32_t context;
};

GPU_ELEMENT gpu_windows_element(const struct gpu_windows *at, uint32_t i)
{
    const uint8_t *from = at->text + at->start[i / at->context] + i % at->context;

    at->characters[i] = from[0];
    at->targets[i] = from[1];
}

struct gpu_embed {
    const uint8_t *characters;
    const float *token, *position;
    float *out;
    uint32_t context, width;
};

GPU_ELEMENT gpu_embed_element(const struct gpu_embed *at, uint32_t i)
{
    const uint32_t row = i / at->width, col = i % at->width;

    at->out[i] = at->token[at->characters[row] * at->width + col] +
                 at->position[row % at->context * at->width + col];
}

/* The gradient of one weight of a character: of all rows that hold it. */
struct gpu_token {
    const uint8_t *characters;
    const float *d;
    float *gradient;
    uint32_t rows, width;
};

GPU_ELEMENT gpu_token_element(const struct gpu_token *at, uint32_t i)
{
    const uint32_t character = i / at->width, col = i % at->width;
    float sum = at->gradient[i];

    for (uint32_t row = 0; row < at->rows; row++)
        if (at->characters[row] == character)
            sum += at->d[row * at->width + col];
    at->gradient[i] = sum;
}

/* The gradient of one weight of a place: of that place in all windows. */
struct gpu_position {
    const float *d;
    float *gradient;
    uint32_t windows, stride; /* floats of one window */
};

GPU_ELEMENT gpu_position_element(const struct gpu_position *at, uint32_t i)
{
    float sum = at->gradient[i];

    for (uint32_t window = 0; window < at->windows; window++)
        sum += at->d[window * at->stride + i];
    at->gradient[i] = sum;
}

/* ---- matrices -------------------------------------------------------------------------------- */

#define GPU_TILE \
    4 /* rows that an element of gpu_multiply makes: each b is read a quarter as often */

/* out = plus + a b, where plus may be out, or NULL for zeros.  a(row, k) lies at
 * a[row * a_row + k * a_step].  An element is a column of a tile: gpu_tiles(rows) * cols. */
struct gpu_multiply {
    const float *a, *b, *plus;
    float *out;
    uint32_t rows, depth, cols;
    uint32_t a_row, a_step;
};

GPU_INLINE uint32_t gpu_tiles(uint32_t rows)
{
    return (rows + GPU_TILE - 1) / GPU_TILE;
}

/* sum[t] += a[t] . b; inlined with a known a_step, so that addresses cost little. */
GPU_INLINE void gpu_add_products(const struct gpu_multiply *at, const float *const *a,
                                 size_t a_step, const float *b, float *sum)
{
    const size_t depth = at->depth, b_step = at->cols;

    for (size_t k = 0; k < depth; k++) {
        const float with = b[k * b_step];
        for (uint32_t t = 0; t < GPU_TILE; t++)
            sum[t] += a[t][k * a_step] * with;
    }
}

GPU_ELEMENT gpu_multiply_element(const struct gpu_multiply *at, uint32_t i)
{
    const uint32_t first = i / at->cols * GPU_TILE, col = i % at->cols;
    const float *a[GPU_TILE];
    float sum[GPU_TILE];

    for (uint32_t t = 0; t < GPU_TILE; t++) {
        const uint32_t row = first + t < at->rows ? first + t : at->rows - 1;
        a[t] = at->a + (size_t)row * at->a_row;
        sum[t] = at->plus ? at->plus[row * at->cols + col] : 0.0f;
    }
    if (at->a_step == 1)
        gpu_add_products(at, a, 1, at->b + col, sum);
    else
        gpu_add_products(at, a, at->a_step, at->b + col, sum);
    for (uint32_t t = 0; t < GPU_TILE && first + t < at->rows; t++)
        at->out[(first + t) * at->cols + col] = sum[t];
}

/* out, of cols * rows, is `in` transposed. */
struct gpu_turn {
    const float *in;
    float *out;
    uint32_t rows, cols;
};

GPU_ELEMENT gpu_turn_element(const struct gpu_turn *at, uint32_t i)
{
    at->out[i] = at->in[i % at->rows * at->cols + i / at->rows];
}

/* ---- normalisation --------------------------------------------------------------------------- */

struct gpu_norm_inverse {
    const float *x;
    float *inverse;
    uint32_t width;
};

GPU_ELEMENT gpu_norm_inverse_element(const struct gpu_norm_inverse *at, uint32_t row)
{
    const float *x = at->x + (size_t)row * at->width;
    float squares = 0.0f;

    for (uint32_t j = 0; j < at->width; j++)
        squares += x[j] * x[j];
    at->inverse[row] = 1.0f / sqrtf(squares / (float)at->width + 1e-5f);
}

struct gpu_norm {
    const float *x, *inverse, *gain;
    float *out;
    uint32_t width;
};

GPU_ELEMENT gpu_norm_element(const struct gpu_norm *at, uint32_t i)
{
    at->out[i] = at->x[i] * at->inverse[i / at->width] * at->gain[i % at->width];
}

/* What the common scale of a row contributes to the derivative by the row. */
struct gpu_norm_along {
    const float *d, *x, *inverse, *gain;
    float *along;
    uint32_t width;
};

GPU_ELEMENT gpu_norm_along_element(const struct gpu_norm_along *at, uint32_t row)
{
    const float *d = at->d + (size_t)row * at->width, *x = at->x + (size_t)row * at->width;
    const float scale = at->inverse[row];
    float along = 0.0f;

    for (uint32_t j = 0; j < at->width; j++)
        along += d[j] * at->gain[j] * x[j];
    at->along[row] = along * scale * scale * scale / (float)at->width;
}

struct gpu_norm_backward {
    const float *d, *x, *inverse, *gain, *along;
    float *d_x; /* is added to */
    uint32_t width;
};

GPU_ELEMENT gpu_norm_backward_element(const struct gpu_norm_backward *at, uint32_t i)
{
    const uint32_t row = i / at->width;

    at->d_x[i] += at->d[i] * at->gain[i % at->width] * at->inverse[row] - at->x[i] * at->along[row];
}

/* The gradient of a gain in two steps, so that there is work for many threads: a sum for each
 * window, then over windows. */
struct gpu_gain_parts {
    const float *d, *x, *inverse;
    float *parts;
    uint32_t context, width;
};

GPU_ELEMENT gpu_gain_parts_element(const struct gpu_gain_parts *at, uint32_t i)
{
    const uint32_t first = i / at->width * at->context, col = i % at->width;
    float sum = 0.0f;

    for (uint32_t row = first; row < first + at->context; row++)
        sum += at->d[row * at->width + col] * at->x[row * at->width + col] * at->inverse[row];
    at->parts[i] = sum;
}

struct gpu_gain {
    const float *parts;
    float *gradient;
    uint32_t windows, width;
};

GPU_ELEMENT gpu_gain_element(const struct gpu_gain *at, uint32_t col)
{
    float sum = at->gradient[col];

    for (uint32_t window = 0; window < at->windows; window++)
        sum += at->parts[window * at->width + col];
    at->gradient[col] = sum;
}

/* ---- activation ------------------------------------------------------------------------------ */

#define GPU_GELU_ROOT 0.7978845608f /* sqrt(2 / pi) */
#define GPU_GELU_CUBE 0.044715f

/* (1 + tanh(u)) / 2 is the logistic function of 2u. */
GPU_INLINE float gpu_gelu_gate(float x)
{
    const float u = GPU_GELU_ROOT * (x + GPU_GELU_CUBE * x * x * x);

    return 1.0f / (1.0f + expf(-2.0f * u));
}

struct gpu_gelu {
    const float *x;
    float *out;
};

GPU_ELEMENT gpu_gelu_element(const struct gpu_gelu *at, uint32_t i)
{
    at->out[i] = at->x[i] * gpu_gelu_gate(at->x[i]);
}

struct gpu_gelu_backward {
    const float *x;
    float *d; /* is replaced by its product with the slope at x */
};

GPU_ELEMENT gpu_gelu_backward_element(const struct gpu_gelu_backward *at, uint32_t i)
{
    const float x = at->x[i], gate = gpu_gelu_gate(x);
    const float slope = 2.0f * GPU_GELU_ROOT * (1.0f + 3.0f * GPU_GELU_CUBE * x * x);

    at->d[i] *= gate + x * gate * (1.0f - gate) * slope;
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* The largest of a row, and the sum of exp((x - largest) * scale).  Rows of attention end at the
 * diagonal: cols is the context then. */
struct gpu_softmax_sums {
    const float *x;
    float *largest, *sum;
    float scale;
    uint32_t cols, causal;
};

GPU_ELEMENT gpu_softmax_sums_element(const struct gpu_softmax_sums *at, uint32_t row)
{
    const float *x = at->x + (size_t)row * at->cols;
    const uint32_t count = at->causal ? row % at->cols + 1 : at->cols;
    float largest = x[0], sum = 0.0f;

    for (uint32_t j = 1; j < count; j++)
        largest = x[j] > largest ? x[j] : largest;
    for (uint32_t j = 0; j < count; j++)
        sum += expf((x[j] - largest) * at->scale);
    at->largest[row] = largest;
    at->sum[row] = sum;
}

/* Causal softmax in place: 0 beyond the diagonal. */
struct gpu_softmax {
    const float *largest, *sum;
    float *x;
    float scale;
    uint32_t cols;
};

GPU_ELEMENT gpu_softmax_element(const struct gpu_softmax *at, uint32_t i)
{
    const uint32_t row = i / at->cols;
    const int seen = i % at->cols <= row % at->cols;

    at->x[i] = seen ? expf((at->x[i] - at->largest[row]) * at->scale) / at->sum[row] : 0.0f;
}

/* The mean over a row of the derivatives by the weights p, weighted with p. */
struct gpu_softmax_mean {
    const float *p, *d;
    float *mean;
    uint32_t cols;
};

GPU_ELEMENT gpu_softmax_mean_element(const struct gpu_softmax_mean *at, uint32_t row)
{
    const float *p = at->p + (size_t)row * at->cols, *d = at->d + (size_t)row * at->cols;
    float mean = 0.0f;

    for (uint32_t j = 0; j <= row % at->cols; j++)
        mean += p[j] * d[j];
    at->mean[row] = mean;
}

/* Replaces derivatives by the weights by those by the unscaled scores. */
struct gpu_softmax_backward {
    const float *p, *mean;
    float *d;
    float scale;
    uint32_t cols;
};

GPU_ELEMENT gpu_softmax_backward_element(const struct gpu_softmax_backward *at, uint32_t i)
{
    at->d[i] = at->p[i] * (at->d[i] - at->mean[i / at->cols]) * at->scale;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Matrices of attention have a row for each (window, head, place), of context columns; a and b have
 * the usual rows, of which a head takes `depth` columns. */
struct gpu_heads {
    uint32_t context, heads, depth;
};

/* out(i, j) = a(i) . b(j) within window and head, 0 where j > i. */
struct gpu_dots {
    const float *a, *b;
    float *out;
    uint32_t a_row, b_row;
    struct gpu_heads of;
};

GPU_ELEMENT gpu_dots_element(const struct gpu_dots *at, uint32_t e)
{
    const uint32_t context = at->of.context, row = e / context, j = e % context;
    const uint32_t i = row % context, head = row / context % at->of.heads;
    const uint32_t first = row / context / at->of.heads * context;
    const float *a = at->a + (size_t)(first + i) * at->a_row + (size_t)head * at->of.depth;
    const float *b = at->b + (size_t)(first + j) * at->b_row + (size_t)head * at->of.depth;
    float sum = 0.0f;

    for (uint32_t k = 0; k < at->of.depth && j <= i; k++)
        sum += a[k] * b[k];
    at->out[e] = sum;
}

/* out(i) = sum over j <= i of p(i, j) x(j), by window and head; an element is one float of out. */
struct gpu_mix {
    const float *p, *x;
    float *out;
    uint32_t x_row, out_row;
    struct gpu_heads of;
};

GPU_ELEMENT gpu_mix_element(const struct gpu_mix *at, uint32_t e)
{
    const uint32_t context = at->of.context, width = at->of.heads * at->of.depth;
    const uint32_t row = e / width, col = e % width, i = row % context, window = row / context;
    const uint32_t head = window * at->of.heads + col / at->of.depth;
    const float *p = at->p + ((size_t)head * context + i) * context;
    const float *x = at->x + (size_t)window * context * at->x_row + col;
    float sum = 0.0f;

    for (uint32_t j = 0; j <= i; j++)
        sum += p[j] * x[(size_t)j * at->x_row];
    at->out[(size_t)row * at->out_row + col] = sum;
}

/* out(j) = sum over i >= j of p(i, j) x(i), likewise. */
struct gpu_mix_turned {
    const float *p, *x;
    float *out;
    uint32_t x_row, out_row;
    struct gpu_heads of;
};

GPU_ELEMENT gpu_mix_turned_element(const struct gpu_mix_turned *at, uint32_t e)
{
    const uint32_t context = at->of.context, width = at->of.heads * at->of.depth;
    const uint32_t row = e / width, col = e % width, j = row % context, window = row / context;
    const uint32_t head = window * at->of.heads + col / at->of.depth;
    const float *p = at->p + (size_t)head * context * context + j;
    const float *x = at->x + (size_t)window * context * at->x_row + col;
    float sum = 0.0f;

    for (uint32_t i = j; i < context; i++)
        sum += p[(size_t)i * context] * x[(size_t)i * at->x_row];
    at->out[(size_t)row * at->out_row + col] = sum;
}

/* ---- loss ------------------------------------------------------------------------------------ */

/* -log softmax(logits)[target] of a row. */
struct gpu_row_loss {
    const uint8_t *targets;
    const float *logits, *largest, *sum;
    double *loss;
    uint32_t cols;
};

GPU_ELEMENT gpu_row_loss_element(const struct gpu_row_loss *at, uint32_t row)
{
    const float wanted = at->logits[row * at->cols + at->targets[row]];

    at->loss[row] = log((double)at->sum[row]) + (double)at->largest[row] - (double)wanted;
}

/* Adds the rows' losses to *total, and leaves `scale` times that in *loss; one element. */
struct gpu_loss {
    const double *rows;
    double *total;
    float *loss;
    double scale;
    uint32_t count;
};

GPU_ELEMENT gpu_loss_element(const struct gpu_loss *at, uint32_t i)
{
    double total = *at->total;

    for (uint32_t row = 0; row < at->count; row++)
        total += at->rows[row];
    *at->total = total;
    at->loss[i] = (float)(total * at->scale);
}

/* Replaces logits by `scale` times the derivative of the loss by them. */
struct gpu_logits_backward {
    const uint8_t *targets;
    const float *largest, *sum;
    float *logits;
    float scale;
    uint32_t cols;
};

GPU_ELEMENT gpu_logits_backward_element(const struct gpu_logits_backward *at, uint32_t i)
{
    const uint32_t row = i / at->cols;
    const float p = expf(at->logits[i] - at->largest[row]) / at->sum[row];

    at->logits[i] = (i % at->cols == at->targets[row] ? p - 1.0f : p) * at->scale;
}

#endif
