/* The thread of recorder.h. */
#include "coordinator/recorder.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* A loss and what follows it are one record, written after it. */
#define PUT_WAITS_NS (20 * RK_MS)

struct recorder {
    const char *state_dir;
    bool durable;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct record record; /* while `waits` */
    uint64_t due;         /* by rk_clock_now, likewise */
    bool waits, writes, closing;
    bool superseded;
};

static int write_now(const struct recorder *recorder, const struct record *record)
{
    struct rk_why why;
    int rc = record_write(recorder->state_dir, record, recorder->durable, &why);

    if (rc != 0 && rc != RK_ESTALE)
        rk_error_log("the record is not written, a coordinator started again would know less: %s",
                     why.text);
    return rc;
}

/* With the lock, which it gives up meanwhile. */
static void write_one(struct recorder *recorder)
{
    struct record record = recorder->record;
    int rc;

    recorder->waits = false;
    recorder->writes = true;
    pthread_mutex_unlock(&recorder->lock);
    rc = write_now(recorder, &record);
    pthread_mutex_lock(&recorder->lock);
    recorder->superseded = recorder->superseded || rc == RK_ESTALE;
    recorder->writes = false;
    pthread_cond_broadcast(&recorder->changed);
}

/* With the lock; returns when something may have changed. */
static void wait_for_change(struct recorder *recorder)
{
    struct timespec due = {(time_t)(recorder->due / RK_S), (long)(recorder->due % RK_S)};

    if (recorder->waits)
        pthread_cond_clockwait(&recorder->changed, &recorder->lock, CLOCK_MONOTONIC, &due);
    else
        pthread_cond_wait(&recorder->changed, &recorder->lock);
}

static void *work(void *argument)
{
    struct recorder *recorder = argument;

    pthread_mutex_lock(&recorder->lock);
    while (recorder->waits || !recorder->closing) {
        if (recorder->waits && (recorder->closing || rk_clock_now() >= recorder->due))
            write_one(recorder);
        else
            wait_for_change(recorder);
    }
    pthread_mutex_unlock(&recorder->lock);
    return NULL;
}

int recorder_open(const char *state_dir, bool durable, struct recorder **out, struct rk_why *why)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    int errnum;

    if (!recorder)
        return rk_fail(why, RK_ENOMEM, "no memory for the record's thread");
    recorder->state_dir = state_dir;
    recorder->durable = durable;
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_cond_init(&recorder->changed, NULL);
    errnum = rk_thread_begin(&recorder->thread, 0, work, recorder);
    if (errnum == 0) {
        *out = recorder;
        return 0;
    }
    pthread_cond_destroy(&recorder->changed);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
    return rk_fail_errno(why, errnum, "cannot start the record's thread");
}

void recorder_close(struct recorder *recorder)
{
    if (!recorder)
        return;
    pthread_mutex_lock(&recorder->lock);
    recorder->closing = true;
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
    pthread_join(recorder->thread, NULL);
    pthread_cond_destroy(&recorder->changed);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
}

void recorder_put(struct recorder *recorder, const struct record *record)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->record = *record;
    if (!recorder->waits) {
        recorder->waits = true;
        recorder->due = rk_clock_now() + PUT_WAITS_NS;
        pthread_cond_broadcast(&recorder->changed);
    }
    pthread_mutex_unlock(&recorder->lock);
}

int recorder_write(struct recorder *recorder, const struct record *record)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->waits = false;
    while (recorder->writes)
        pthread_cond_wait(&recorder->changed, &recorder->lock);
    pthread_mutex_unlock(&recorder->lock);
    return write_now(recorder, record);
}

bool recorder_superseded(struct recorder *recorder)
{
    bool superseded;

    pthread_mutex_lock(&recorder->lock);
    superseded = recorder->superseded;
    pthread_mutex_unlock(&recorder->lock);
    return superseded;
}
