/* A session whose gradients lie on a GPU: what differs from one whose gradients lie in the memory
 * of the host.  gpu.c where CUDA and NCCL were there when this was built, else gpu_absent.c. */
#ifndef RK_WORKER_GPU_H
#define RK_WORKER_GPU_H

#include "worker/session.h"

/* Takes the GPU: session->gpu is set.  RK_EUNAVAILABLE. */
int gpu_open(struct rk_session *session, int device, void *stream);
void gpu_close(struct rk_session *session);
/* Once the layout is whole. */
int gpu_place(struct rk_session *session);

/* Gradient space is cut into buckets: how many, of so many elements but the last. */
uint32_t gpu_buckets(const struct rk_session *session);
uint64_t gpu_bucket_lanes(const struct rk_session *session);

/* The shard in hand is this rank's last of the step: its buckets are summed with those of other
 * ranks as they are filled. */
void gpu_begin_last(struct rk_session *session);
/* All of bucket b of the shard in hand is there: adds it to this rank's partial sums.  An error is
 * session->work.error and gpu_why().  Any thread. */
void gpu_sum_bucket(struct rk_session *session, uint32_t b);
const char *gpu_why(const struct rk_session *session);
/* All of its buckets are. */
void gpu_add_weight(struct rk_session *session);
/* The gradient's memory becomes zero, in the order of the program's stream. */
int gpu_clear(struct rk_session *session, uint32_t gradient);
/* As session_wait_for_sum. */
int gpu_wait_for_sum(struct rk_session *session);
/* The sum of the weights of all shards, after gpu_wait_for_sum. */
double gpu_weight(const struct rk_session *session);

/* Before this rank acknowledges a membership word: waits until nothing is under way. */
void gpu_pause(struct rk_session *session);
/* The word of the communicator that is whole, 0: none is. */
rk_word gpu_comm_word(const struct rk_session *session);
/* A plan came into force: begins to form its communicator, and forgets partial sums that it does
 * not count on. */
int gpu_follow(struct rk_session *session);

/* Copies a tensor of the state from or to the GPU; all are there after gpu_settle. */
int gpu_read(struct rk_session *session, uint32_t tensor, void *host);
int gpu_write(struct rk_session *session, uint32_t tensor, const void *host);
int gpu_settle(struct rk_session *session);

/* Begins to leave a snapshot of the state in the arena, beside what the program does next; tells
 * the agent when it is there.  RK_EFULL: both places are being read.  gpu_snapshot_finish waits for
 * it: before this rank adds anything to the sum of the step, so before anybody is past it. */
int gpu_snapshot_begin(struct rk_session *session);
int gpu_snapshot_finish(struct rk_session *session, struct rk_why *why);

int gpu_adamw(struct rk_session *session, const struct sum_adamw *rule, uint64_t count,
              const float *gradient, float *weights, float *first, float *second);

#endif
