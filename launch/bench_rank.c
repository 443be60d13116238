/* The rank of `reknit bench recovery`: steps with gradients of a given size and no arithmetic to
 * speak of, until it is stopped.  FILE, of one struct bench_sums, learns when each generation had
 * its first sum, and when this process had its own.  HOLD megabytes of memory it has besides, in
 * pages of 4 KiB, as what a program gathers in small pieces.  usage: reknit-bench-rank MEGABYTES
 * [FILE [HOLD]] */
#include "common/clock.h"
#include "launch/bench.h"
#include "worker/reknit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BATCH 1024

struct model {
    float *weights;
    float *gradient;
    uint64_t count;
    struct bench_sums *sums;       /* NULL: nobody wants to know */
    struct bench_process *process; /* NULL: nor that */
};

static void set_once(_Atomic uint64_t *time)
{
    uint64_t none = 0;

    if (atomic_load(time) == 0)
        atomic_compare_exchange_strong(time, &none, rk_clock_now());
}

static void note_sum(const struct model *model, uint64_t generation, bool contributed)
{
    if (model->sums != NULL)
        set_once(&model->sums->first[generation % BENCH_SUMS]);
    if (model->process != NULL && contributed)
        set_once(&model->process->summed);
}

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
    bool contributed = false;
    int rc;

    do {
        while ((shard = rk_shard_next(session)) >= 0) {
            compute(model, *step, shard);
            rc = rk_shard_done(session);
            if (rc != 0)
                return rc;
            contributed = true;
        }
        if (shard < -1)
            return (int)shard;
        rc = rk_gradients_wait(session);
    } while (rc == RK_REFORMED);
    if (rc != 0)
        return rc;
    note_sum(model, rk_generation(session), contributed);
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

static struct bench_sums *sums_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *map =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, sizeof(struct bench_sums), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    return map == MAP_FAILED ? NULL : map;
}

/* This process's place among all. */
static struct bench_process *process_note(struct bench_sums *sums, uint64_t began)
{
    uint32_t number = atomic_fetch_add(&sums->processes, 1);

    if (number >= BENCH_SUMS)
        return NULL;
    atomic_store(&sums->process[number].began, began);
    return &sums->process[number];
}

/* For as long as this process lives. */
static bool hold(size_t bytes)
{
    void *memory =
        mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED && madvise(memory, bytes + 1, MADV_NOHUGEPAGE) == 0 &&
           memset(memory, 1, bytes) == memory;
}

int main(int argc, char **argv)
{
    uint64_t began = rk_clock_now();
    struct model model = {.count = 0};
    unsigned long megabytes = argc >= 2 && argc <= 4 ? strtoul(argv[1], NULL, 10) : 0;
    size_t held = argc == 4 ? strtoul(argv[3], NULL, 10) * 1000000 : 0;
    int code = 69;

    if (megabytes == 0 || megabytes > 4096) {
        fprintf(stderr, "usage: reknit-bench-rank MEGABYTES [FILE [HOLD]]\n");
        return 64;
    }
    if (!hold(held)) {
        fprintf(stderr, "reknit-bench-rank: %s megabytes are not to be had\n", argv[3]);
        return 69;
    }
    if (argc >= 3 && (model.sums = sums_map(argv[2])) == NULL) {
        fprintf(stderr, "reknit-bench-rank: %s cannot be mapped\n", argv[2]);
        return 69;
    }
    if (model.sums != NULL)
        model.process = process_note(model.sums, began);
    model.count = (uint64_t)megabytes * 1000000 / sizeof(float);
    model.weights = calloc(model.count, sizeof(float));
    model.gradient = calloc(model.count, sizeof(float));
    if (model.weights != NULL && model.gradient != NULL)
        code = join_and_train(&model);
    free(model.weights);
    free(model.gradient);
    return code;
}
