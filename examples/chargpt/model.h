/* A character-level transformer (decoder only, as GPT-2, with RMS normalisation and no biases): its
 * sizes, its parameters, and the forward and backward pass over one sequence.
 *
 * The weights of all layers lie in one array and so do their gradients; `parameters` says where
 * each tensor begins and what it is called.  A model is used by one thread. */
#ifndef CHARGPT_MODEL_H
#define CHARGPT_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_BLOCKS 16
#define MODEL_MAX_CONTEXT 256

struct model_size {
    const char *name;
    size_t context; /* characters the model sees at once */
    size_t width;   /* floats for each character; a multiple of heads */
    size_t heads;
    size_t blocks;
    float rate; /* a learning rate that suits this size */
};

/* One tensor of the model, at weights + offset and gradient + offset. */
struct parameter {
    char name[48]; /* "block0.attention.qkv.weight" */
    uint32_t ndim; /* 1 for the gain of a normalisation, 2 for a matrix */
    uint64_t shape[2];
    size_t offset, count;
    float spread; /* initial values lie in -spread .. spread; 0: all are 1 */
};

/* The order of the tensors: two embeddings, the blocks, the end. */
enum { TOKEN, POSITION, FIRST_BLOCK };
enum { NORM1, QKV, PROJECT, NORM2, EXPAND, CONTRACT, BLOCK_TENSORS };
enum { END_NORM, END_HEAD, END_TENSORS };

/* What training changes: as many floats as weights in each, and one of loss. */
struct training_state {
    float *weights;
    float *mean, *square; /* moments of the optimiser */
    float *gradient;
    float *loss;
};

struct model;

/* "tiny", "small" or "medium"; NULL for any other name. */
const struct model_size *model_size_find(const char *name);

/* A model with zero weights for `vocabulary` different characters (1 to 256); NULL when memory is
 * short.  Freed with model_free, which takes NULL. */
struct model *model_new(const struct model_size *size, size_t vocabulary);
void model_free(struct model *model);

size_t model_parameter_count(const struct model *model);
const struct parameter *model_parameters(const struct model *model);
size_t model_weight_count(const struct model *model);
float *model_weights(struct model *model);
float *model_gradient(struct model *model);

/* Sets the initial weights from 64 random bits for each (tensor, element). */
void model_initialise(struct model *model,
                      uint64_t (*draw)(void *with, uint64_t tensor, uint64_t element), void *with);

/* Reads `length` characters (1 to context) and returns their logits, length rows of `vocabulary`
 * floats: what each position expects as the next character.  They stand until the next call. */
float *model_forward(struct model *model, const uint8_t *characters, size_t length);

/* After model_forward of the same characters: returns the mean loss over the sequence against
 * `targets` (the characters shifted by one) and ADDS `scale` times its gradient to
 * model_gradient. */
double model_backward(struct model *model, const uint8_t *characters, const uint8_t *targets,
                      size_t length, float scale);

#endif
