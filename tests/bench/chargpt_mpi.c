/* chargpt as a plain MPI program: each rank computes its part of the global batch, one
 * MPI_Allreduce over all gradients at the end of a step, then the update.  Survives nothing.
 * usage: mpirun -n RANKS chargpt-mpi SIZE BATCH STEPS */
#include "examples/chargpt/adamw.h"
#include "examples/chargpt/model.h"
#include "examples/chargpt/text.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "/usr/share/common-licenses"

struct run {
    struct text text;
    struct model *model;
    const struct model_size *size;
    float *mean, *square;
    uint64_t batch, random;
    int rank, ranks;
};

static uint64_t next_random(void *with, uint64_t tensor, uint64_t element)
{
    struct run *run = with;

    (void)tensor, (void)element;
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static int prepare(struct run *run, const char *size, const char *batch)
{
    char why[512];

    run->size = model_size_find(size);
    run->batch = strtoull(batch, NULL, 10);
    run->random = UINT64_C(88172645463325252);
    if (run->size == NULL || run->batch == 0 || text_read(&run->text, TEXT, why, sizeof why) != 0)
        return -1;
    run->model = model_new(run->size, run->text.vocabulary);
    if (run->model == NULL)
        return -1;
    run->mean = calloc(model_weight_count(run->model), sizeof(float));
    run->square = calloc(model_weight_count(run->model), sizeof(float));
    model_initialise(run->model, next_random, run);
    return run->mean != NULL && run->square != NULL ? 0 : -1;
}

static void take_step(struct run *run, uint64_t step)
{
    const struct adamw adamw = {run->size->rate, 0.9f, 0.99f, 1e-8f, 20};
    const struct parameter *p = model_parameters(run->model);
    const size_t context = run->size->context;
    const float scale = 1.0f / (float)run->batch;
    uint64_t first = run->batch * (uint64_t)run->rank / (uint64_t)run->ranks;
    uint64_t end = run->batch * (uint64_t)(run->rank + 1) / (uint64_t)run->ranks;

    memset(model_gradient(run->model), 0, model_weight_count(run->model) * sizeof(float));
    for (uint64_t i = first; i < end; i++) {
        uint64_t start = next_random(run, 0, 0) % (run->text.length - context);

        model_forward(run->model, run->text.characters + start, context);
        model_backward(run->model, run->text.characters + start, run->text.characters + start + 1,
                       context, scale);
    }
    MPI_Allreduce(MPI_IN_PLACE, model_gradient(run->model), (int)model_weight_count(run->model),
                  MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    for (size_t i = 0; i < model_parameter_count(run->model); i++, p++)
        adamw_update(&adamw, step, p->count, model_weights(run->model) + p->offset,
                     run->mean + p->offset, run->square + p->offset,
                     model_gradient(run->model) + p->offset, p->ndim == 2 ? 0.01f : 0.0f);
}

int main(int argc, char **argv)
{
    struct run run = {.batch = 0};
    uint64_t steps = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &run.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run.ranks);
    if (steps == 0 || prepare(&run, argv[1], argv[2]) != 0) {
        fprintf(stderr, "usage: mpirun -n RANKS chargpt-mpi SIZE BATCH STEPS\n");
        MPI_Abort(MPI_COMM_WORLD, 64);
    }
    for (uint64_t step = 0; step < steps; step++)
        take_step(&run, step);
    MPI_Finalize();
    model_free(run.model);
    free(run.mean);
    free(run.square);
    text_free(&run.text);
    return 0;
}
