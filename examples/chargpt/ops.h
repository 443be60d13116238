/* The layers of the model, each as a pair: forward, and backward as the derivative of exactly that.
 *
 * All of it is float32 arithmetic in the order in which it is written: no sum is ever reordered,
 * so the result has the same bits on every processor and with any number of OpenMP threads.  To be
 * fast all the same, the inner loops run over independent elements, which a compiler can put side
 * by side in a vector.  exp and log are our own: those of libm choose their code by processor.
 *
 * Backward functions ADD to the gradients they are given (d_x is the derivative of the loss by x);
 * the one exception says so. */
#ifndef CHARGPT_OPS_H
#define CHARGPT_OPS_H

#include <stddef.h>
#include <stdint.h>

/* A view on floats: element (i, j) lies at at[i * row_step + j * col_step]. */
struct matrix {
    float *at;
    size_t rows, cols;
    size_t row_step, col_step;
};

static inline struct matrix matrix_of(float *at, size_t rows, size_t cols)
{
    return (struct matrix){at, rows, cols, cols, 1};
}

static inline struct matrix matrix_columns(struct matrix m, size_t first, size_t count)
{
    return (struct matrix){m.at + first * m.col_step, m.rows, count, m.row_step, m.col_step};
}

static inline struct matrix matrix_transposed(struct matrix m)
{
    return (struct matrix){m.at, m.cols, m.rows, m.col_step, m.row_step};
}

void matrix_clear(struct matrix m);
/* Copies element by element; the shapes must agree, the steps need not. */
void matrix_copy(struct matrix to, struct matrix from);
/* c += a b.  The columns of b and c must lie side by side (col_step 1); a may be transposed. */
void matrix_multiply_add(struct matrix c, struct matrix a, struct matrix b);

/* out = x w.  In backward, `scratch` holds w.rows * w.cols floats. */
void linear_forward(struct matrix out, struct matrix x, struct matrix w);
void linear_backward(struct matrix d_x, struct matrix d_w, struct matrix d_out, struct matrix x,
                     struct matrix w, float *scratch);

/* Root mean square normalisation of each row (Zhang and Sennrich, 2019): out = x * inverse * gain,
 * inverse[row] = 1 / sqrt(mean(x^2) + a little). */
void rmsnorm_forward(struct matrix out, float *inverse, struct matrix x, const float *gain);
void rmsnorm_backward(struct matrix d_x, float *d_gain, struct matrix d_out, struct matrix x,
                      const float *gain, const float *inverse);

/* GELU in its tanh form (Hendrycks and Gimpel, 2016).  Backward replaces d by its product with the
 * slope at x. */
void gelu_forward(float *out, const float *x, size_t count);
void gelu_backward(float *d, const float *x, size_t count);

/* Causal self-attention of several heads.  qkv has a row for each position: queries, keys and
 * values of all heads, 3 * width floats.  `weights` gets heads * rows * rows floats, zero above the
 * diagonal.  `scratch` holds attention_scratch() floats. */
size_t attention_scratch(size_t rows, size_t width, size_t heads);
void attention_forward(struct matrix out, float *weights, struct matrix qkv, size_t heads,
                       float *scratch);
void attention_backward(struct matrix d_qkv, struct matrix d_out, struct matrix qkv, float *weights,
                        size_t heads, float *scratch);

/* Softmax of the first `count` of each row, in place: row i has i + 1 of them, the rest gets 0. */
void causal_softmax_forward(struct matrix scores, float scale);
/* Replaces d (derivatives by the weights) by the derivatives by the unscaled scores. */
void causal_softmax_backward(struct matrix d, struct matrix weights, float scale);

/* Returns the sum over rows of -log softmax(logits)[target] and replaces the logits by `scale`
 * times its derivative. */
double cross_entropy(struct matrix logits, const uint8_t *targets, float scale);

double op_log(double x); /* natural logarithm of a positive, normal number */
float op_exp(float x);   /* accurate to 2 units in the last place; clamped to what float holds */

#endif
