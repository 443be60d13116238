/* The ready-made updates of reknit.h. */
#include "worker/gpu.h"
#include "worker/session.h"

#include "collectives/sum.h"

static const float *now(const struct rk_session *session, const uint32_t *number,
                        const struct rk_slice *slice)
{
    return (const float *)rk_state(session, number[slice->gradient]) + slice->first;
}

static float *next(const struct rk_session *session, const uint32_t *number,
                   const struct rk_slice *slice)
{
    return (float *)rk_next_state(session, number[slice->gradient]) + slice->first;
}

/* That the state of a slice's gradient is float32 and as long as it. */
static int check(struct rk_session *session, const uint32_t *number, const struct rk_slice *slice)
{
    const struct session_gradient *gradient = &session->gradient[slice->gradient];
    const struct rk_tensor *state;
    const struct rk_tensor *from = &session->layout->tensor[gradient->tensor];

    if (number == NULL || number[slice->gradient] >= session->shared_count)
        return session_fail(session, RK_EINVAL, "update of gradient %s: it has no state",
                            from->name);
    state = &session->layout->tensor[session->shared[number[slice->gradient]]];
    if (gradient->wide != 1 || state->dtype != RK_F32 ||
        state->bytes != gradient->count * sizeof(float))
        return session_fail(session, RK_EINVAL,
                            "update of gradient %s: its state %s is not float32 of as many "
                            "elements",
                            from->name, state->name);
    return 0;
}

int rk_update_sgd(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    const struct rk_sgd *sgd = context;
    struct sum_sgd with = {.scale = (float)slice->scale,
                           .rate = sgd->rate,
                           .momentum = sgd->momentum,
                           .decay = sgd->decay};
    int rc = check(session, sgd->weights, slice);

    if (rc == 0 && sgd->first != NULL)
        rc = check(session, sgd->first, slice);
    if (rc != 0)
        return rc;
    sum_best()->sgd(&with, slice->sum, now(session, sgd->weights, slice),
                    sgd->first == NULL ? NULL : now(session, sgd->first, slice), slice->count,
                    session_streams_state(session), next(session, sgd->weights, slice),
                    sgd->first == NULL ? NULL : next(session, sgd->first, slice));
    return 0;
}

/* base^exponent by squaring: pow of libm may differ between processors. */
static double power(double base, uint64_t exponent)
{
    double result = 1.0;

    for (; exponent != 0; exponent >>= 1) {
        if (exponent & 1)
            result *= base;
        base *= base;
    }
    return result;
}

/* As it is after `steps` steps. */
static struct sum_adamw adamw_after(const struct rk_adamw *adamw, uint64_t steps)
{
    return (struct sum_adamw){
        .scale = 1.0f,
        .rate = adamw->rate,
        .beta1 = adamw->beta1,
        .beta2 = adamw->beta2,
        .epsilon = adamw->epsilon,
        .decay = adamw->decay,
        .mean_scale = (float)(1.0 / (1.0 - power((double)adamw->beta1, steps))),
        .square_scale = (float)(1.0 / (1.0 - power((double)adamw->beta2, steps))),
    };
}

int rk_gpu_adamw(struct rk_session *session, const struct rk_adamw *adamw, uint64_t step,
                 uint64_t count, const float *gradient, float *weights, float *first, float *second)
{
    struct sum_adamw with = adamw_after(adamw, step + 1);

    if (session->gpu == NULL)
        return session_fail(session, RK_ESTATE, "rk_gpu_adamw: call rk_use_gpu first");
    return gpu_adamw(session, &with, count, gradient, weights, first, second);
}

int rk_update_adamw(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    const struct rk_adamw *adamw = context;
    struct sum_adamw with = adamw_after(adamw, session->position + 1);
    int rc = check(session, adamw->weights, slice);

    with.scale = (float)slice->scale;
    if (adamw->decays != NULL)
        with.decay = adamw->decays[slice->gradient];
    if (rc == 0)
        rc = check(session, adamw->first, slice);
    if (rc == 0)
        rc = check(session, adamw->second, slice);
    if (rc != 0)
        return rc;
    sum_best()->adamw(&with, slice->sum, now(session, adamw->weights, slice),
                      now(session, adamw->first, slice), now(session, adamw->second, slice),
                      slice->count, session_streams_state(session),
                      next(session, adamw->weights, slice), next(session, adamw->first, slice),
                      next(session, adamw->second, slice));
    return 0;
}
