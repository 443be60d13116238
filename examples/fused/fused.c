/* fused: gradients and state in the arena.  Usage: fused [STEPS [KILOBYTES]]
 *
 * Fits y = w . x to made-up data, with as many weights as KILOBYTES of float32 hold, most of which
 * each sample leaves alone.  What differs from examples/tiny, and why it is faster:
 *
 *   1. rk_alloc: the gradient is written where it will be summed.  No copy in, no copy out.
 *   2. rk_ready_range: what is written is summed while the rest is still being written, in pieces
 *      that are still in the cache.
 *   3. rk_alloc_state and rk_fuse: weights and moments lie in the arena once for all processes of
 * the host.  Each makes a slice of them from the sum, while that is in the cache, and sees the
 *      slices of the others.  The state of the step before stands beside it until all are done, so
 * a process may be killed at any instruction. */
#include "worker/reknit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 1000000 /* in the data set */
#define BATCH 256       /* in one step */
#define NONZERO 32      /* features of a sample that are not 0 */
#define PIECE 262144    /* elements that are said to be ready at a time: 1 MiB */

struct model {
    uint64_t count;
    float *gradient;                           /* in the arena: gradient 0 */
    float *loss;                               /* gradient 1, of one element */
    uint32_t weights, mean, square, last_loss; /* numbers of state in the arena */
    struct rk_adamw adamw;
};

static float weight_of(uint64_t i)
{
    return (float)(i % 17) * 0.25f - 2.0f;
}

/* Adds a sample's part to gradient and loss. */
static void add_sample(const struct rk_session *s, struct model *m, uint64_t index)
{
    const float *w = rk_state(s, m->weights);
    uint64_t at[NONZERO];
    float error = 0;

    for (uint64_t k = 0; k < NONZERO; k++) {
        at[k] = rk_random(s, index, 0, k) % m->count;
        error += w[at[k]] - weight_of(at[k]);
    }
    for (uint64_t k = 0; k < NONZERO; k++)
        m->gradient[at[k]] += error / BATCH;
    *m->loss += error * error / BATCH;
}

static int compute_shard(struct rk_session *s, struct model *m, uint64_t step, uint64_t shard)
{
    uint64_t first, count;
    int rc = 0;

    rk_shard_samples(s, shard, &first, &count);
    memset(m->gradient, 0, m->count * sizeof(float));
    *m->loss = 0;
    for (uint64_t p = first; p < first + count; p++)
        add_sample(s, m, rk_sample(s, step, p, SAMPLES));
    /* Real models have their last layer first; each says so when it is done. */
    for (uint64_t end = m->count; end > 0 && rc == 0;) {
        uint64_t start = (end - 1) / PIECE * PIECE;
        rc = rk_ready_range(s, 0, start, end - start);
        end = start;
    }
    return rc == 0 ? rk_shard_done(s) : rc;
}

/* A slice of the sum becomes state: of gradient 0 by AdamW, of gradient 1 as it is. */
static int update(void *context, struct rk_session *s, const struct rk_slice *slice)
{
    struct model *m = context;

    if (slice->gradient == 0)
        return rk_update_adamw(&m->adamw, s, slice);
    memcpy(rk_next_state(s, m->last_loss), slice->sum, sizeof(float));
    return 0;
}

static int take_step(struct rk_session *s, struct model *m, uint64_t *step)
{
    int64_t shard;
    int rc;

    do {
        while ((shard = rk_shard_next(s)) >= 0)
            if ((rc = compute_shard(s, m, *step, (uint64_t)shard)) < 0)
                return rc;
    } while (shard == -1 && (rc = rk_gradients_wait(s)) == RK_REFORMED);
    if (shard < -1 || rc < 0)
        return shard < -1 ? (int)shard : rc;
    return rk_step_end(s, step);
}

static int register_all(struct rk_session *s, struct model *m)
{
    const uint64_t one = 1;
    int rc = rk_alloc(s, "weights", RK_F32, m->count, (void **)&m->gradient);

    if (rc == 0)
        rc = rk_alloc(s, "loss", RK_F32, 1, (void **)&m->loss);
    if (rc == 0)
        rc = rk_alloc_state(s, "weights", NULL, RK_F32, 1, &m->count, &m->weights);
    if (rc == 0)
        rc = rk_alloc_state(s, "mean", NULL, RK_F32, 1, &m->count, &m->mean);
    if (rc == 0)
        rc = rk_alloc_state(s, "square", NULL, RK_F32, 1, &m->count, &m->square);
    if (rc == 0)
        rc = rk_alloc_state(s, "loss", NULL, RK_F32, 1, &one, &m->last_loss);
    m->adamw = (struct rk_adamw){.rate = 0.05f,
                                 .beta1 = 0.9f,
                                 .beta2 = 0.99f,
                                 .epsilon = 1e-8f,
                                 .weights = &m->weights,
                                 .first = &m->mean,
                                 .second = &m->square};
    return rc;
}

static int train(struct rk_session *s, struct model *m, uint64_t steps)
{
    uint64_t step = 0;
    int rc = rk_restore(s, &step);

    if (rc == 0)
        rc = rk_fuse(s, update, m);
    while (rc == 0 && step < steps && (rc = rk_step_begin(s, &step)) == 0) {
        rc = take_step(s, m, &step);
        if (rc == 0)
            rk_report(s, "loss", (double)*(const float *)rk_state(s, m->last_loss));
        if (rc == 0 && step % 50 == 0 && rk_is_first(s))
            printf("step %llu loss %.4f\n", (unsigned long long)step,
                   (double)*(const float *)rk_state(s, m->last_loss));
    }
    return rc;
}

int main(int argc, char **argv)
{
    const uint64_t steps = argc > 1 ? strtoull(argv[1], NULL, 10) : 200;
    const uint64_t kilobytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 64;
    struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = BATCH};
    struct model model = {.count = kilobytes * 256};
    struct rk_session *s;
    int rc;

    if (kilobytes == 0 || rk_join(&options, &s) < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    rc = register_all(s, &model);
    if (rc == 0)
        rc = train(s, &model, steps);
    if (rc < 0)
        fprintf(stderr, "fused: %s\n", rk_last_error(s));
    return rk_leave(s) < 0 || rc < 0;
}
