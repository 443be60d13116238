/* The rank of `reknit bench allreduce` and `overlap`: sums a vector again and again, in one of the
 * ways that a program can.  usage: reknit-bench-sum BOARD MODE, where MODE is
 *
 *   own      the program's own memory: copied in, and the sum copied out
 *   arena    memory of rk_alloc, summed when all of it is written
 *   overlap  the same, said to be ready a bucket at a time while it is written
 *   fused    memory of rk_alloc and weights in the arena, updated by SGD where the sum is made */
#include "common/clock.h"
#include "launch/bench_board.h"
#include "worker/reknit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((uint64_t)262144) /* elements said to be ready at a time */

struct summer {
    struct board *board;
    const char *mode;
    struct rk_session *session;
    uint64_t count;
    float *gradient;
    uint32_t weights;
    struct rk_sgd sgd;
};

static bool is(const struct summer *s, const char *mode)
{
    return strcmp(s->mode, mode) == 0;
}

static double microseconds(uint64_t from)
{
    return (double)(rk_clock_now() - from) / 1e3;
}

/* Small whole numbers, so that their sum is exact in any order. */
static float value_of(uint64_t step, int64_t shard)
{
    return (float)(step % 1000) + (float)shard;
}

static int fill(struct summer *s, uint64_t step, int64_t shard)
{
    float value = value_of(step, shard);

    for (uint64_t end = s->count; end > 0;) {
        uint64_t start = (end - 1) / PIECE * PIECE;

        for (uint64_t i = start; i < end; i++)
            s->gradient[i] = value;
        if (is(s, "overlap") && rk_ready_range(s->session, 0, start, end - start) != 0)
            return -1;
        end = start;
    }
    return 0;
}

static bool is_right(const struct summer *s, uint64_t step, const float *sum)
{
    float want = 0;

    for (uint32_t shard = 0; shard < rk_shards(s->session); shard++)
        want += value_of(step, shard);
    for (uint64_t i = 0; i < s->count; i += s->count / 7 + 1)
        if (sum[i] != want)
            return false;
    return sum[s->count - 1] == want;
}

/* How many shards are this rank's while nobody is lost. */
static uint32_t shards_here(const struct summer *s)
{
    uint32_t shards = rk_shards(s->session);
    uint32_t rank = rk_rank(s->session);

    return (rank + 1) * shards / s->board->ranks - rank * shards / s->board->ranks;
}

/* All shards of a step; the ranks meet before the last is said to be done. */
static int all_shards(struct summer *s, uint64_t step, struct board_times *times)
{
    for (uint32_t left = shards_here(s); left > 0; left--) {
        int64_t shard = rk_shard_next(s->session);
        uint64_t start = rk_clock_now();

        if (shard < 0 || fill(s, step, shard) != 0)
            return -1;
        times->fill += microseconds(start);
        if (left == 1 && !is(s, "overlap") && !board_meet(s->board))
            return -1;
        start = rk_clock_now();
        if (rk_shard_done(s->session) != 0)
            return -1;
        times->sync += microseconds(start);
    }
    return 0;
}

/* One step, timed.  0, or -1 when something went wrong. */
static int sum_once(struct summer *s, uint64_t *step)
{
    struct board_times *times = &s->board->times[rk_rank(s->session) % BOARD_RANKS][*step];
    uint64_t start;
    uint64_t middle;

    if (!board_meet(s->board))
        return -1;
    *times = (struct board_times){0};
    start = rk_clock_now();
    if (all_shards(s, *step, times) != 0)
        return -1;
    middle = rk_clock_now();
    if (rk_gradients_wait(s->session) != 0)
        return -1;
    times->sync += microseconds(middle);
    times->whole = microseconds(start);
    if (!is(s, "fused") && !is_right(s, *step, rk_result(s->session, 0))) {
        fprintf(stderr, "reknit-bench-sum: the sum of step %llu is wrong\n",
                (unsigned long long)*step);
        return -1;
    }
    return rk_step_end(s->session, step);
}

static int register_all(struct summer *s)
{
    int rc;

    if (is(s, "own")) {
        s->gradient = calloc(s->count, sizeof(float));
        return s->gradient == NULL ? RK_ENOMEM
                                   : rk_register_gradient(s->session, "g", s->gradient, s->count);
    }
    rc = rk_alloc(s->session, "g", RK_F32, s->count, (void **)&s->gradient);
    if (rc == 0 && is(s, "fused"))
        rc = rk_alloc_state(s->session, "w", NULL, RK_F32, 1, &s->count, &s->weights);
    return rc;
}

static int run(struct summer *s)
{
    uint64_t step;
    int rc = register_all(s);

    if (rc == 0)
        rc = rk_restore(s->session, &step);
    s->sgd = (struct rk_sgd){.rate = 0.01f, .weights = &s->weights};
    if (rc == 0 && is(s, "fused"))
        rc = rk_fuse(s->session, rk_update_sgd, &s->sgd);
    while (rc == 0 && step < s->board->rounds && (rc = rk_step_begin(s->session, &step)) == 0)
        rc = sum_once(s, &step);
    return rc;
}

int main(int argc, char **argv)
{
    struct rk_options options = {.struct_size = sizeof options, .batch = 1024};
    struct summer s = {.board = argc == 3 ? board_open(argv[1]) : NULL};
    int rc;

    if (s.board == NULL) {
        fprintf(stderr, "usage: reknit-bench-sum BOARD own|arena|overlap|fused\n");
        return 64;
    }
    s.mode = argv[2];
    s.count = s.board->bytes / sizeof(float);
    if (rk_join(&options, &s.session) != 0)
        return 69;
    rc = run(&s);
    if (rc < 0)
        fprintf(stderr, "reknit-bench-sum: %s\n", rk_last_error(s.session));
    rc = rk_leave(s.session) < 0 || rc < 0 ? 70 : 0;
    if (is(&s, "own"))
        free(s.gradient);
    return rc;
}
