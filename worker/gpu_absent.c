/* Built where there is no CUDA or no NCCL: no session has a GPU. */
#include "worker/gpu.h"

int gpu_open(struct rk_session *session, int device, void *stream)
{
    (void)stream;
    return session_fail(session, RK_EUNAVAILABLE,
                        "rk_use_gpu: GPU %d: this reknit was built without CUDA and NCCL; build it "
                        "where both are (`reknit doctor`), or keep gradients in the host's memory",
                        device);
}

void gpu_close(struct rk_session *session)
{
    (void)session;
}

/* The rest is never called: session->gpu is NULL. */

int gpu_place(struct rk_session *session)
{
    (void)session;
    return RK_ESTATE;
}

uint32_t gpu_buckets(const struct rk_session *session)
{
    (void)session;
    return 0;
}

uint64_t gpu_bucket_lanes(const struct rk_session *session)
{
    (void)session;
    return 1;
}

void gpu_begin_last(struct rk_session *session)
{
    (void)session;
}

void gpu_sum_bucket(struct rk_session *session, uint32_t b)
{
    (void)session, (void)b;
}

const char *gpu_why(const struct rk_session *session)
{
    (void)session;
    return "";
}

void gpu_add_weight(struct rk_session *session)
{
    (void)session;
}

int gpu_clear(struct rk_session *session, uint32_t gradient)
{
    (void)session, (void)gradient;
    return RK_ESTATE;
}

int gpu_wait_for_sum(struct rk_session *session)
{
    (void)session;
    return RK_ESTATE;
}

double gpu_weight(const struct rk_session *session)
{
    (void)session;
    return 1.0;
}

void gpu_pause(struct rk_session *session)
{
    (void)session;
}

int gpu_follow(struct rk_session *session)
{
    (void)session;
    return RK_ESTATE;
}

rk_word gpu_comm_word(const struct rk_session *session)
{
    (void)session;
    return 0;
}

int gpu_read(struct rk_session *session, uint32_t tensor, void *host)
{
    (void)session, (void)tensor, (void)host;
    return RK_ESTATE;
}

int gpu_write(struct rk_session *session, uint32_t tensor, const void *host)
{
    (void)session, (void)tensor, (void)host;
    return RK_ESTATE;
}

int gpu_settle(struct rk_session *session)
{
    (void)session;
    return RK_ESTATE;
}

int gpu_snapshot_begin(struct rk_session *session)
{
    (void)session;
    return RK_ESTATE;
}

int gpu_snapshot_finish(struct rk_session *session, struct rk_why *why)
{
    (void)session, (void)why;
    return RK_ESTATE;
}

int gpu_adamw(struct rk_session *session, const struct sum_adamw *rule, uint64_t count,
              const float *gradient, float *weights, float *first, float *second)
{
    (void)session, (void)rule, (void)count, (void)gradient, (void)weights, (void)first;
    (void)second;
    return RK_ESTATE;
}
