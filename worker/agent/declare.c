/* Taking over a layout, in a thread of its own: that waits for the host's file lock and for the
 * kernel to hand out all of the arena's memory, while the agent's loop has to go on.
 *
 * The thread has a mapping of its own and shares nothing with the loop but its job, which belongs
 * to the thread until its address comes out of the pipe. */
#include "worker/agent/state.h"

#include "common/layout.h"
#include "common/log.h"
#include "common/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <unistd.h>

struct declare_job {
    pthread_t thread;
    int arena;  /* a descriptor of its own */
    int layout; /* the memfd that the rank sent */
    int answer; /* write end of the agent's pipe */
    char lock[AGENT_PATH + 8];
    int rc;
    struct rk_why why;
    struct peer *peer; /* the loop's; NULL: nobody waits for the answer */
    struct declare_job *next;
};

static struct declare_job *jobs; /* of the loop; those under way */
static int answer_end = -1;

/* The layout in memory of our own, checked: its sender can change what it sent at any time. */
static struct rk_layout *read_layout(int fd, struct rk_why *why, int *rc)
{
    off_t size = lseek(fd, 0, SEEK_END);

    *rc = RK_EPROTO;
    if (size < (off_t)sizeof(struct rk_layout) || size > (off_t)RK_LAYOUT_MAX_BYTES) {
        rk_fail(why, RK_EPROTO, "a layout of %lld bytes cannot be", (long long)size);
        return NULL;
    }
    struct rk_layout *layout = malloc((size_t)size);
    if (layout == NULL) {
        *rc = rk_fail(why, RK_ENOMEM, "no memory for a layout of %lld bytes", (long long)size);
        return NULL;
    }
    ssize_t got = pread(fd, layout, (size_t)size, 0);
    *rc = got == size ? rk_layout_check(layout, (size_t)size, why)
                      : rk_fail(why, RK_EPROTO, "the layout could not be read");
    if (*rc == 0)
        return layout;
    free(layout);
    return NULL;
}

static int declare_locked(struct declare_job *job, const struct rk_layout *layout)
{
    struct arena arena;
    int rc = arena_open(&arena, job->arena, &job->why);

    if (rc != 0)
        return rc;
    job->arena = -1;
    rc = arena_declare(&arena, layout, &job->why);
    arena_close(&arena);
    return rc;
}

static int declare(struct declare_job *job)
{
    int rc;
    struct rk_layout *layout = read_layout(job->layout, &job->why, &rc);

    if (layout == NULL)
        return rc;
    int lock = open(job->lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        rc = rk_fail_errno(&job->why, errno, "cannot lock %s", job->lock);
    else
        rc = declare_locked(job, layout);
    if (lock >= 0)
        close(lock);
    free(layout);
    return rc;
}

static void *declare_thread(void *context)
{
    struct declare_job *job = context;

    job->rc = declare(job);
    while (write(job->answer, &job, sizeof job) < 0 && errno == EINTR)
        continue;
    return NULL;
}

static void job_free(struct declare_job *job)
{
    if (job->arena >= 0)
        close(job->arena);
    if (job->layout >= 0)
        close(job->layout);
    free(job);
}

static void answer(struct agent *agent, struct declare_job *job)
{
    struct rk_why why;

    if (job->rc == 0)
        job->rc = arena_refresh(&agent->arena, &why);
    if (job->peer == NULL)
        return;
    job->peer->declaring = false;
    if (job->rc == 0)
        peer_say(agent, job->peer, LOCAL_DECLARED);
    else
        peer_refuse(agent, job->peer, job->rc, job->why.text);
}

static void on_declared(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct declare_job *job;
    (void)events;

    if (read(watch->fd, &job, sizeof job) != (ssize_t)sizeof job)
        return;
    for (struct declare_job **at = &jobs; *at != NULL; at = &(*at)->next) {
        if (*at != job)
            continue;
        *at = job->next;
        break;
    }
    pthread_join(job->thread, NULL);
    answer(agent, job);
    job_free(job);
}

int declare_open(struct agent *agent, struct rk_why *why)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "cannot make a pipe");
    answer_end = ends[1];
    if (watch_add(agent, &agent->declared, ends[0], EPOLLIN, on_declared) != 0)
        return rk_fail(why, RK_EIO, "cannot watch a pipe");
    return 0;
}

/* A thread that still waits for the lock goes with the process. */
void declare_close(struct agent *agent)
{
    for (struct declare_job *job = jobs; job != NULL; job = job->next)
        pthread_detach(job->thread);
    watch_drop(agent, &agent->declared);
    if (jobs == NULL && answer_end >= 0)
        close(answer_end);
    answer_end = -1;
}

void declare_begin(struct agent *agent, struct peer *peer, int fd)
{
    struct declare_job *job = calloc(1, sizeof *job);

    if (job == NULL) {
        close(fd);
        peer_refuse(agent, peer, RK_ENOMEM, "the agent has no memory left");
        return;
    }
    job->layout = fd;
    job->arena = fcntl(agent->arena.fd, F_DUPFD_CLOEXEC, 3);
    job->answer = answer_end;
    job->peer = peer;
    snprintf(job->lock, sizeof job->lock, "%s/lock", agent->host_dir);
    int errnum = job->arena < 0 ? errno : rk_thread_begin(&job->thread, 0, declare_thread, job);
    if (errnum != 0) {
        job_free(job);
        peer_refuse(agent, peer, RK_EFULL, "the agent cannot start another thread");
        return;
    }
    peer->declaring = true;
    job->next = jobs;
    jobs = job;
}

void declare_forget(struct peer *peer)
{
    for (struct declare_job *job = jobs; job != NULL; job = job->next)
        if (job->peer == peer)
            job->peer = NULL;
}
