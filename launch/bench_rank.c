/* The rank of `reknit bench recovery`: steps with gradients of a given size and no arithmetic to
 * speak of, until it is stopped.  usage: reknit-bench-rank MEGABYTES */
#include "common/clock.h"
#include "worker/reknit.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH 1024

struct model {
    float *weights;
    float *gradient;
    uint64_t count;
};

static void compute(const struct model *model, uint64_t step, int64_t shard)
{
    float value = (float)((step + (uint64_t)shard) % 7) - 3.0f;

    for (uint64_t i = 0; i < model->count; i++)
        model->gradient[i] = value;
}

static void update(const struct model *model)
{
    for (uint64_t i = 0; i < model->count; i++)
        model->weights[i] -= 1e-4f * model->gradient[i];
}

static int one_step(struct rk_session *session, const struct model *model, uint64_t *step)
{
    int64_t shard = -1;
    int rc;

    do {
        while ((shard = rk_shard_next(session)) >= 0) {
            compute(model, *step, shard);
            rc = rk_shard_done(session);
            if (rc != 0)
                return rc;
        }
        if (shard < -1)
            return (int)shard;
        rc = rk_gradients_wait(session);
    } while (rc == RK_REFORMED);
    if (rc != 0)
        return rc;
    update(model);
    return rk_step_end(session, step);
}

static int train(struct rk_session *session, const struct model *model)
{
    uint64_t step = 0;
    uint64_t last;
    int rc = rk_restore(session, &step);

    last = rk_clock_now();
    while (rc == 0 && (rc = rk_step_begin(session, &step)) == 0) {
        rc = one_step(session, model, &step);
        rk_report(session, "step_ms", (double)(rk_clock_now() - last) / 1e6);
        last = rk_clock_now();
    }
    return rc;
}

static int join_and_train(const struct model *model)
{
    struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = BATCH};
    struct rk_session *session = NULL;
    int rc = rk_join(&options, &session);

    if (rc != 0)
        return 69;
    rc = rk_register_state(session, "weights", model->weights, RK_F32, 1, &model->count);
    if (rc == 0)
        rc = rk_register_gradient(session, "weights", model->gradient, model->count);
    if (rc == 0)
        rc = train(session, model);
    if (rc < 0)
        fprintf(stderr, "reknit-bench-rank: %s\n", rk_last_error(session));
    return rk_leave(session) < 0 || rc < 0 ? 70 : 0;
}

int main(int argc, char **argv)
{
    struct model model = {.count = 0};
    unsigned long megabytes = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    int code = 69;

    if (megabytes == 0 || megabytes > 4096) {
        fprintf(stderr, "usage: reknit-bench-rank MEGABYTES\n");
        return 64;
    }
    model.count = (uint64_t)megabytes * 1000000 / sizeof(float);
    model.weights = calloc(model.count, sizeof(float));
    model.gradient = calloc(model.count, sizeof(float));
    if (model.weights != NULL && model.gradient != NULL)
        code = join_and_train(&model);
    free(model.weights);
    free(model.gradient);
    return code;
}
