/* tiny: how to bring your own training loop.  Usage: tiny [STEPS [PACE_MS]]
 *
 * Fits y = w . x + b to made-up data by gradient descent.  Run it by hand and it is a job of one;
 * run it under `reknit run --workers 4 -- tiny` and four processes share the work.  Kill any of
 * them: the job goes on and w ends with the same bits.  What your own loop must keep to:
 *
 *   1. All that a step changes is registered as state, and starts out equal in every process.
 *   2. The gradient of a shard depends on the step, the shard and the state, on nothing else.
 *   3. Nothing is updated before rk_gradients_wait returns 0. */
#include "worker/reknit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FEATURES 8
#define SAMPLES 10000 /* in the data set */
#define BATCH 64      /* in one step, however many processes there are */

/* Sample `index` of the data set: features in -1 .. 1, and what w = (1, 2, ..), b = 0.5 gives. */
static float make_sample(const struct rk_session *s, uint64_t index, float x[FEATURES])
{
    float y = 0.5f;
    for (uint64_t i = 0; i < FEATURES; i++) {
        x[i] = (float)(rk_random(s, index, 0, i) >> 40) * 0x1p-23f - 1.0f;
        y += (float)(i + 1) * x[i];
    }
    return y;
}

/* g = the shard's part of the gradient of mean((w . x + b - y)^2); w[FEATURES] is b, and
 * g[FEATURES + 1] is the shard's part of the loss itself, so that it is summed as well. */
static void compute_shard(const struct rk_session *s, uint64_t step, uint64_t shard, const float *w,
                          float *g)
{
    uint64_t first, count;
    rk_shard_samples(s, shard, &first, &count);
    memset(g, 0, (FEATURES + 2) * sizeof(float));
    for (uint64_t p = first; p < first + count; p++) {
        float x[FEATURES];
        float error = w[FEATURES] - make_sample(s, rk_sample(s, step, p, SAMPLES), x);
        for (int i = 0; i < FEATURES; i++)
            error += w[i] * x[i];
        for (int i = 0; i < FEATURES; i++)
            g[i] += 2.0f / BATCH * error * x[i];
        g[FEATURES] += 2.0f / BATCH * error;
        g[FEATURES + 1] += error * error / BATCH;
    }
}

int main(int argc, char **argv)
{
    const uint64_t steps = argc > 1 ? strtoull(argv[1], NULL, 10) : 200;
    const long pace_ms = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    const struct timespec pace = {pace_ms / 1000, pace_ms % 1000 * 1000000};
    const struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = BATCH};
    float w[FEATURES + 1] = {0}, g[FEATURES + 2];
    struct rk_session *s;
    uint64_t step = 0;

    if (rk_join(&options, &s) < 0)
        return 1; /* rk_join has said why */
    int rc = rk_register_state(s, "weights", w, RK_F32, 1, (uint64_t[]){FEATURES + 1});
    if (rc == 0)
        rc = rk_register_gradient(s, "gradient", g, FEATURES + 2);
    if (rc == 0)
        rc = rk_restore(s, &step); /* from a survivor, a checkpoint, or as it is */

    while (rc == 0 && step < steps && (rc = rk_step_begin(s, &step)) == 0) {
        nanosleep(&pace, NULL); /* a rehearsal of work */
        int64_t shard;
        do {
            while ((shard = rk_shard_next(s)) >= 0) {
                compute_shard(s, step, (uint64_t)shard, w, g);
                rk_shard_done(s);
            }
            /* RK_REFORMED from the wait: someone was lost, do some of its shards. */
            rc = shard == -1 ? rk_gradients_wait(s) : (int)shard;
        } while (rc == RK_REFORMED);
        if (rc < 0)
            break;
        for (int i = 0; i <= FEATURES; i++)
            w[i] -= 0.3f * g[i];
        rk_report(s, "loss", (double)g[FEATURES + 1]);
        rc = rk_step_end(s, &step);
        if (rk_is_first(s) && step % 50 == 0)
            printf("step %llu loss %.3g\n", (unsigned long long)step, (double)g[FEATURES + 1]);
    }
    if (rc < 0) /* RK_STOPPED is no error: someone asked the job to stop */
        fprintf(stderr, "tiny: %s\n", rk_last_error(s));
    else if (rk_is_first(s))
        printf("w = %.3f %.3f .. %.3f, b = %.3f after %llu steps\n", (double)w[0], (double)w[1],
               (double)w[FEATURES - 1], (double)w[FEATURES], (unsigned long long)step);
    int left = rk_leave(s); /* says so in good order: a rank that just exits is a lost rank */
    return rc < 0 || left < 0;
}
