/* The model of model.h on a GPU: the same mathematics for many windows of the text at once.
 *
 * It lies in a plug-in, libchargpt-cuda.so, which gpu_plugin.h loads, so that chargpt itself needs
 * no CUDA.  Everything is queued on one stream of the GPU that is current when the model is made;
 * what must be on the host is waited for.  Functions that can fail return 0, or -1 with a sentence
 * in *why.  A model is used by one thread. */
#ifndef CHARGPT_GPU_MODEL_H
#define CHARGPT_GPU_MODEL_H

#include "examples/chargpt/model.h"

#define GPU_MODEL_ABI 1u

struct gpu_why {
    char text[256];
};

struct gpu_options {
    const struct model_size *size;
    size_t vocabulary;
    const struct parameter *parameters; /* model_parameters; must live as long as the model */
    size_t weight_count;
    const uint8_t *text; /* numbers of characters, below `vocabulary` */
    size_t text_length;
    size_t windows;   /* the most that are given to `compute` in one call */
    size_t at_a_time; /* of them; 0: as many as the memory for what lies between layers allows */
    void *stream;     /* a cudaStream_t; NULL: the default stream */
};

struct gpu_model;

struct gpu_functions {
    uint32_t abi; /* GPU_MODEL_ABI */
    /* A model with zeros for weights and moments; NULL: *why says why not. */
    struct gpu_model *(*make)(const struct gpu_options *options, struct gpu_why *why);
    void (*free)(struct gpu_model *model); /* takes NULL */
    /* In the GPU's memory. */
    struct training_state (*state)(const struct gpu_model *model);
    /* Copies `count` floats to or from the GPU, after what was queued, and waits. */
    int (*write)(struct gpu_model *model, const float *from, size_t count, float *to,
                 struct gpu_why *why);
    int (*read)(struct gpu_model *model, const float *from, size_t count, float *to,
                struct gpu_why *why);
    /* Queues forward and backward of `count` windows, which begin at starts[0..count) of the text:
     * sets the gradient to their sum divided by `batch`, and the loss likewise. */
    int (*compute)(struct gpu_model *model, const uint64_t *starts, size_t count, uint64_t batch,
                   struct gpu_why *why);
};

/* What the plug-in exports. */
extern const struct gpu_functions chargpt_gpu;

#endif
