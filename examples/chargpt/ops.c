/* The layers of the model: see ops.h.  Loops are written so that the innermost one goes over
 * independent elements; gcc -O3 turns those into vector instructions without changing a bit. */
#include "examples/chargpt/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define RMSNORM_FLOOR 1e-5f
#define GELU_ROOT 0.7978845608f /* sqrt(2 / pi) */
#define GELU_CUBE 0.044715f

/* Below this many multiplications starting threads costs more than they give. */
#define PARALLEL_FROM (1u << 20)

/* ---- exp and log ----------------------------------------------------------------------------- */

/* exp(x) = 2^n exp(r) with n the nearest integer to x / ln 2: ln 2 is split in two so that r is
 * exact, exp(r) is a polynomial, and 2^n is written into the exponent bits. */
static inline float exp_of(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    union {
        float number;
        uint32_t bits;
    } n, power;

    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    n.number = x * 1.44269504f + round;
    float whole = n.number - round;
    float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float poly = 1.9875691500e-4f;
    poly = poly * r + 1.3981999507e-3f;
    poly = poly * r + 8.3334519073e-3f;
    poly = poly * r + 4.1665795894e-2f;
    poly = poly * r + 1.6666665459e-1f;
    poly = poly * r + 5.0000001201e-1f;
    /* The low bits of n hold the integer; 0x4b400000 are the bits of `round`. */
    power.bits = (n.bits - 0x4b400000u + 127u) << 23;
    return ((poly * r) * r + r + 1.0f) * power.number;
}

float op_exp(float x)
{
    return exp_of(x);
}

/* x = 2^e m with m near 1, log m = 2 artanh((m - 1) / (m + 1)) as a series. */
double op_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent++;
    }
    double s = (m - 1.0) / (m + 1.0);
    double square = s * s, sum = 0.0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2.0 * s * sum + exponent * 0.69314718055994531;
}

/* ---- matrices -------------------------------------------------------------------------------- */

void matrix_clear(struct matrix m)
{
    assert(m.col_step == 1);
    for (size_t i = 0; i < m.rows; i++)
        memset(m.at + i * m.row_step, 0, m.cols * sizeof(float));
}

void matrix_copy(struct matrix to, struct matrix from)
{
    assert(to.rows == from.rows && to.cols == from.cols);
    for (size_t i = 0; i < to.rows; i++)
        for (size_t j = 0; j < to.cols; j++)
            to.at[i * to.row_step + j * to.col_step] =
                from.at[i * from.row_step + j * from.col_step];
}

/* c[0..n) += a[0] b[0][0..n) + a[1] b[1][0..n) + ..., in this order for each element.  Four rows
 * of b at a time, so that c is loaded and stored a quarter as often. */
static void row_multiply_add(float *restrict c, const float *a, size_t a_step,
                             const float *restrict b, size_t b_step, size_t k, size_t n)
{
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
        const float a0 = a[p * a_step], a1 = a[(p + 1) * a_step];
        const float a2 = a[(p + 2) * a_step], a3 = a[(p + 3) * a_step];
        const float *b0 = b + p * b_step, *b1 = b0 + b_step, *b2 = b1 + b_step, *b3 = b2 + b_step;
        for (size_t j = 0; j < n; j++)
            c[j] = (((c[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j];
    }
    for (; p < k; p++) {
        const float a0 = a[p * a_step];
        const float *b0 = b + p * b_step;
        for (size_t j = 0; j < n; j++)
            c[j] += a0 * b0[j];
    }
}

void matrix_multiply_add(struct matrix c, struct matrix a, struct matrix b)
{
    assert(c.rows == a.rows && a.cols == b.rows && c.cols == b.cols);
    assert(b.col_step == 1 && c.col_step == 1);
#ifdef _OPENMP
#pragma omp parallel for if (c.rows * c.cols * a.cols >= PARALLEL_FROM)
#endif
    for (size_t i = 0; i < c.rows; i++)
        row_multiply_add(c.at + i * c.row_step, a.at + i * a.row_step, a.col_step, b.at, b.row_step,
                         a.cols, c.cols);
}

void linear_forward(struct matrix out, struct matrix x, struct matrix w)
{
    matrix_clear(out);
    matrix_multiply_add(out, x, w);
}

void linear_backward(struct matrix d_x, struct matrix d_w, struct matrix d_out, struct matrix x,
                     struct matrix w, float *scratch)
{
    struct matrix w_turned = matrix_of(scratch, w.cols, w.rows);
    matrix_copy(w_turned, matrix_transposed(w));
    matrix_multiply_add(d_x, d_out, w_turned);
    matrix_multiply_add(d_w, matrix_transposed(x), d_out);
}

/* ---- normalisation --------------------------------------------------------------------------- */

void rmsnorm_forward(struct matrix out, float *inverse, struct matrix x, const float *gain)
{
    for (size_t i = 0; i < x.rows; i++) {
        const float *row = x.at + i * x.row_step;
        float *to = out.at + i * out.row_step;
        float squares = 0.0f;
        for (size_t j = 0; j < x.cols; j++)
            squares += row[j] * row[j];
        inverse[i] = 1.0f / sqrtf(squares / (float)x.cols + RMSNORM_FLOOR);
        for (size_t j = 0; j < x.cols; j++)
            to[j] = row[j] * inverse[i] * gain[j];
    }
}

void rmsnorm_backward(struct matrix d_x, float *d_gain, struct matrix d_out, struct matrix x,
                      const float *gain, const float *inverse)
{
    for (size_t i = 0; i < x.rows; i++) {
        const float *row = x.at + i * x.row_step, *d = d_out.at + i * d_out.row_step;
        float *to = d_x.at + i * d_x.row_step;
        const float scale = inverse[i];
        float along = 0.0f; /* what the row's common scale contributes */
        for (size_t j = 0; j < x.cols; j++)
            along += d[j] * gain[j] * row[j];
        const float common = along * scale * scale * scale / (float)x.cols;
        for (size_t j = 0; j < x.cols; j++) {
            d_gain[j] += d[j] * row[j] * scale;
            to[j] += d[j] * gain[j] * scale - row[j] * common;
        }
    }
}

/* ---- activation ------------------------------------------------------------------------------ */

/* (1 + tanh(u)) / 2 is the logistic function of 2u. */
static inline float gelu_gate(float x)
{
    const float u = GELU_ROOT * (x + GELU_CUBE * x * x * x);
    return 1.0f / (1.0f + exp_of(-2.0f * u));
}

void gelu_forward(float *restrict out, const float *restrict x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] * gelu_gate(x[i]);
}

void gelu_backward(float *restrict d, const float *restrict x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float gate = gelu_gate(x[i]);
        const float slope = 2.0f * GELU_ROOT * (1.0f + 3.0f * GELU_CUBE * x[i] * x[i]);
        d[i] *= gate + x[i] * gate * (1.0f - gate) * slope;
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Replaces row[0..count) by its softmax after scaling; the largest is taken off first, so that
 * nothing overflows.  Returns the logarithm's argument, and the largest in *top, for the loss. */
static float softmax(float *row, size_t count, float scale, float *top)
{
    float largest = row[0];
    for (size_t j = 1; j < count; j++)
        largest = row[j] > largest ? row[j] : largest;
    for (size_t j = 0; j < count; j++)
        row[j] = exp_of((row[j] - largest) * scale);
    float sum = 0.0f;
    for (size_t j = 0; j < count; j++)
        sum += row[j];
    for (size_t j = 0; j < count; j++)
        row[j] /= sum;
    *top = largest;
    return sum;
}

void causal_softmax_forward(struct matrix scores, float scale)
{
    float top;
    for (size_t i = 0; i < scores.rows; i++) {
        float *row = scores.at + i * scores.row_step;
        softmax(row, i + 1, scale, &top);
        memset(row + i + 1, 0, (scores.cols - i - 1) * sizeof(float));
    }
}

void causal_softmax_backward(struct matrix d, struct matrix weights, float scale)
{
    for (size_t i = 0; i < d.rows; i++) {
        float *to = d.at + i * d.row_step;
        const float *p = weights.at + i * weights.row_step;
        float mean = 0.0f;
        for (size_t j = 0; j <= i; j++)
            mean += p[j] * to[j];
        for (size_t j = 0; j < d.cols; j++)
            to[j] = p[j] * (to[j] - mean) * scale; /* 0 above the diagonal, where p is */
    }
}

size_t attention_scratch(size_t rows, size_t width, size_t heads)
{
    return rows * rows + rows * (width / heads);
}

void attention_forward(struct matrix out, float *weights, struct matrix qkv, size_t heads,
                       float *scratch)
{
    const size_t rows = qkv.rows, width = out.cols, depth = width / heads;
    const float scale = 1.0f / sqrtf((float)depth);

    matrix_clear(out);
    for (size_t h = 0; h < heads; h++) {
        struct matrix q = matrix_columns(qkv, h * depth, depth);
        struct matrix k = matrix_columns(qkv, width + h * depth, depth);
        struct matrix v = matrix_columns(qkv, 2 * width + h * depth, depth);
        struct matrix k_turned = matrix_of(scratch, depth, rows);
        struct matrix p = matrix_of(weights + h * rows * rows, rows, rows);

        matrix_copy(k_turned, matrix_transposed(k));
        linear_forward(p, q, k_turned);
        causal_softmax_forward(p, scale);
        matrix_multiply_add(matrix_columns(out, h * depth, depth), p, v);
    }
}

void attention_backward(struct matrix d_qkv, struct matrix d_out, struct matrix qkv, float *weights,
                        size_t heads, float *scratch)
{
    const size_t rows = qkv.rows, width = d_out.cols, depth = width / heads;
    const float scale = 1.0f / sqrtf((float)depth);
    struct matrix d_p = matrix_of(scratch, rows, rows);
    struct matrix v_turned = matrix_of(scratch + rows * rows, depth, rows);

    for (size_t h = 0; h < heads; h++) {
        const size_t q_at = h * depth, k_at = width + q_at, v_at = 2 * width + q_at;
        struct matrix d_mixed = matrix_columns(d_out, q_at, depth);
        struct matrix p = matrix_of(weights + h * rows * rows, rows, rows);

        matrix_multiply_add(matrix_columns(d_qkv, v_at, depth), matrix_transposed(p), d_mixed);
        matrix_copy(v_turned, matrix_transposed(matrix_columns(qkv, v_at, depth)));
        linear_forward(d_p, d_mixed, v_turned);
        causal_softmax_backward(d_p, p, scale);
        matrix_multiply_add(matrix_columns(d_qkv, q_at, depth), d_p,
                            matrix_columns(qkv, k_at, depth));
        matrix_multiply_add(matrix_columns(d_qkv, k_at, depth), matrix_transposed(d_p),
                            matrix_columns(qkv, q_at, depth));
    }
}

/* ---- loss ------------------------------------------------------------------------------------ */

double cross_entropy(struct matrix logits, const uint8_t *targets, float scale)
{
    double loss = 0.0;
    for (size_t i = 0; i < logits.rows; i++) {
        float *row = logits.at + i * logits.row_step;
        assert(targets[i] < logits.cols);
        const float wanted = row[targets[i]];
        float top;
        const float sum = softmax(row, logits.cols, 1.0f, &top);
        loss += op_log((double)sum) + (double)top - (double)wanted;
        row[targets[i]] -= 1.0f;
        for (size_t j = 0; j < logits.cols; j++)
            row[j] *= scale;
    }
    return loss;
}
