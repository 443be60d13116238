/* Checkpoints: directories, manifests, retention, on a thread of their own, since shared storage
 * may take its time while heartbeats want to be heard.
 *
 * One queue of tasks, done in order; answers come back by a second queue and an eventfd.  The
 * thread sees nothing but its task.  What an attempt has gathered so far (who writes which part,
 * their reports) lies on the loop's side. */
#include "coordinator/shell.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/report.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define CLOSE_WAIT (2 * RK_S)
#define KNOWN_MAX 16u

enum task_kind { TASK_FIND, TASK_BEGIN, TASK_COMMIT, TASK_REJECT, TASK_DISCARD, TASK_RETAIN };

struct task {
    enum task_kind kind;
    struct task *next;
    uint32_t attempt;
    uint64_t step;
    uint64_t need; /* bytes */
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct checkpoint_run run;
    struct checkpoint_report *reports;
    size_t report_count;
    /* the answer */
    int code;
    uint32_t shards; /* of what was found */
    char reduction[sizeof(((struct checkpoint_run *)0)->reduction)];
    bool damaged; /* some were found that cannot be used */
    struct rk_why why;
};

struct queue {
    struct task *head, **tail;
};

enum part_state { PART_WAITS, PART_SENT, PART_WRITTEN };

struct part {
    uint64_t worker;
    uint32_t writer, writers;
    enum part_state state;
    struct checkpoint_report report;
};

struct attempt {
    uint32_t number; /* 0: none */
    uint64_t step;
    uint64_t began;
    bool ready; /* the directory is there, or code says why not */
    int code;
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct part *part;
    size_t count, capacity;
};

struct saves {
    const char *root;
    uint32_t epoch, keep;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct queue todo, done;
    bool closing;
    int event_fd;
    /* the loop's side */
    uint32_t under_way;
    struct attempt attempt;
    struct { /* newest last, overwritten in turn */
        uint64_t step;
        char dirname[CHECKPOINT_DIRNAME_SIZE];
    } known[KNOWN_MAX];
    uint32_t known_count;
    struct rk_why trouble; /* with the newest that could not be written */
};

/* ---- queues ---------------------------------------------------------------------------------- */

static void queue_init(struct queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static void queue_put(struct queue *queue, struct task *task)
{
    task->next = NULL;
    *queue->tail = task;
    queue->tail = &task->next;
}

static struct task *queue_take(struct queue *queue)
{
    struct task *task = queue->head;

    if (!task)
        return NULL;
    queue->head = task->next;
    if (!queue->head)
        queue->tail = &queue->head;
    return task;
}

static void task_free(struct task *task)
{
    for (size_t i = 0; i < task->report_count; i++)
        checkpoint_report_done(&task->reports[i]);
    free(task->reports);
    free(task);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* What could only not be read (RK_EIO, RK_EACCES) stays: it may be sound. */
static int set_aside(const char *root, const struct checkpoint_info *info, struct rk_why *why)
{
    if (info->code != RK_EDATA && info->code != RK_EVERSION)
        return rk_fail(why, info->code, "%s", info->reason);
    if (checkpoint_quarantine(root, info->dirname, NULL) != 0)
        return RK_ENOENT; /* go on to the one before */
    return rk_fail(why, RK_EDATA, "%s", info->reason);
}

/* The newest committed one.  RK_ENOENT: there is none.  RK_EDATA: a newer one was damaged in a way
 * that shows without reading its data; it is set aside now: find again. */
static int find(const char *root, struct task *task)
{
    struct checkpoint_list list = {0};
    int rc = checkpoint_list(root, &list, &task->why);

    if (rc)
        return rc;
    rc = RK_ENOENT;
    for (size_t i = 0; rc == RK_ENOENT && i < list.count; i++) {
        const struct checkpoint_info *info = &list.info[i];

        if (info->status == CHECKPOINT_INCOMPLETE)
            continue;
        task->damaged |= info->status != CHECKPOINT_COMMITTED;
        task->step = info->step;
        snprintf(task->dirname, sizeof task->dirname, "%s", info->dirname);
        if (info->status == CHECKPOINT_COMMITTED) {
            task->shards = info->run.shards;
            memcpy(task->reduction, info->run.reduction, sizeof task->reduction);
            rc = 0;
        } else if (info->status == CHECKPOINT_REJECTED) {
            rc = set_aside(root, info, &task->why);
        }
    }
    checkpoint_list_done(&list);
    return rc;
}

/* Seed and batch are in the layout that each report repeats. */
static int read_layout(const struct checkpoint_report *report, struct checkpoint_run *run,
                       struct rk_why *why)
{
    struct manifest manifest = {0};
    uint32_t writers = report_writers(report->data, report->size);
    bool *seen =
        writers > 0 && writers <= CHECKPOINT_MAX_WRITERS ? calloc(writers, sizeof *seen) : NULL;
    int rc;

    manifest.shard_count = writers;
    manifest.shard = seen ? calloc(writers, sizeof *manifest.shard) : NULL;
    rc = manifest.shard ? report_decode(report->data, report->size, &manifest, seen, why)
                        : rk_fail(why, RK_EPROTO, "the report of a writer is malformed");

    if (rc == 0) {
        run->seed = manifest.layout->seed;
        run->batch = manifest.layout->batch;
    }
    parts_done(&manifest);
    free(seen);
    return rc;
}

static int commit(const char *root, struct task *task)
{
    int rc = task->report_count > 0
                 ? read_layout(&task->reports[0], &task->run, &task->why)
                 : rk_fail(&task->why, RK_EPROTO, "there is no report of any writer");

    if (rc)
        return rc;
    return checkpoint_commit(root, task->dirname, &task->run, task->reports, task->report_count,
                             &task->why);
}

static int retain(const struct saves *saves, struct task *task)
{
    const char *protect[] = {task->dirname};
    struct checkpoint_retention retention = {
        .keep = saves->keep,
        .epoch = saves->epoch,
        .protect = protect,
        .protect_count = task->dirname[0] ? 1 : 0,
    };

    return checkpoint_retain(saves->root, &retention, NULL, &task->why);
}

static int run_task(const struct saves *saves, struct task *task)
{
    switch (task->kind) {
    case TASK_FIND:
        return find(saves->root, task);
    case TASK_BEGIN:
        return checkpoint_begin(saves->root, task->step, saves->epoch, 1, task->need, task->dirname,
                                &task->why);
    case TASK_COMMIT:
        return commit(saves->root, task);
    case TASK_REJECT:
        return checkpoint_quarantine(saves->root, task->dirname, &task->why);
    case TASK_DISCARD:
        return checkpoint_discard(saves->root, task->dirname, &task->why);
    default:
        return retain(saves, task);
    }
}

static void *work(void *argument)
{
    struct saves *saves = argument;
    const uint64_t one = 1;

    pthread_mutex_lock(&saves->mutex);
    while (!saves->closing) {
        struct task *task = queue_take(&saves->todo);

        if (!task) {
            pthread_cond_wait(&saves->wake, &saves->mutex);
            continue;
        }
        pthread_mutex_unlock(&saves->mutex);
        task->code = run_task(saves, task);
        pthread_mutex_lock(&saves->mutex);
        queue_put(&saves->done, task);
        if (write(saves->event_fd, &one, sizeof one) < 0)
            continue; /* the counter is full: it is readable all the more */
    }
    pthread_mutex_unlock(&saves->mutex);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

int saves_open(const struct options *options, uint32_t epoch, struct saves **saves,
               struct rk_why *why)
{
    struct saves *fresh = calloc(1, sizeof *fresh);
    int rc;

    if (!fresh)
        return rk_fail(why, RK_ENOMEM, "no memory for checkpoints");
    fresh->root = options->checkpoint_dir;
    fresh->keep = options->keep;
    fresh->epoch = epoch;
    queue_init(&fresh->todo);
    queue_init(&fresh->done);
    pthread_mutex_init(&fresh->mutex, NULL);
    pthread_cond_init(&fresh->wake, NULL);
    fresh->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = fresh->event_fd < 0 ? errno : rk_thread_begin(&fresh->thread, 0, work, fresh);
    if (rc) {
        if (fresh->event_fd >= 0)
            close(fresh->event_fd);
        free(fresh);
        return rk_fail_errno(why, rc, "cannot start the thread for checkpoints");
    }
    *saves = fresh;
    return 0;
}

static void forget_attempt(struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->count; i++)
        checkpoint_report_done(&attempt->part[i].report);
    free(attempt->part);
    *attempt = (struct attempt){0};
}

/* A thread that hangs in the storage is left behind, with what it uses: the process ends. */
void saves_close(struct saves *saves)
{
    uint64_t until = rk_clock_wall() + CLOSE_WAIT;
    struct timespec deadline = {(time_t)(until / RK_S), (long)(until % RK_S)};
    struct task *task;

    if (!saves)
        return;
    pthread_mutex_lock(&saves->mutex);
    saves->closing = true;
    pthread_cond_signal(&saves->wake);
    pthread_mutex_unlock(&saves->mutex);
    if (pthread_timedjoin_np(saves->thread, NULL, &deadline) != 0) {
        rk_warn("the storage of %s does not answer: left as it is", saves->root);
        return;
    }
    while ((task = queue_take(&saves->todo)) || (task = queue_take(&saves->done)))
        task_free(task);
    forget_attempt(&saves->attempt);
    close(saves->event_fd);
    pthread_cond_destroy(&saves->wake);
    pthread_mutex_destroy(&saves->mutex);
    free(saves);
}

int saves_fd(const struct saves *saves)
{
    return saves ? saves->event_fd : -1;
}

bool saves_idle(const struct saves *saves)
{
    return !saves || saves->under_way == 0;
}

static struct task *task_new(enum task_kind kind, uint64_t step, const char *dirname)
{
    struct task *task = calloc(1, sizeof *task);

    if (!task)
        return NULL;
    task->kind = kind;
    task->step = step;
    snprintf(task->dirname, sizeof task->dirname, "%s", dirname ? dirname : "");
    return task;
}

static bool submit(struct saves *saves, struct task *task)
{
    if (!task)
        return false;
    saves->under_way++;
    pthread_mutex_lock(&saves->mutex);
    queue_put(&saves->todo, task);
    pthread_cond_signal(&saves->wake);
    pthread_mutex_unlock(&saves->mutex);
    return true;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void know(struct saves *saves, uint64_t step, const char *dirname)
{
    uint32_t at = saves->known_count++ % KNOWN_MAX;

    saves->known[at].step = step;
    snprintf(saves->known[at].dirname, sizeof saves->known[at].dirname, "%s", dirname);
}

const char *saves_dirname(const struct saves *saves, uint64_t step)
{
    uint32_t count = saves ? saves->known_count : 0;

    for (uint32_t i = 0; i < count && i < KNOWN_MAX; i++) {
        uint32_t at = (count - 1 - i) % KNOWN_MAX;

        if (saves->known[at].step == step)
            return saves->known[at].dirname;
    }
    return "";
}

const char *saves_trouble(const struct saves *saves)
{
    return saves ? saves->trouble.text : "";
}

/* ---- what the core hears --------------------------------------------------------------------- */

static void tell_found(struct coordinator *c, uint64_t step, bool damaged)
{
    struct core_event event = {.kind = CORE_EV_CHECKPOINTS, .now = c->now};

    event.checkpoints.step = step;
    event.checkpoints.damaged = damaged;
    coordinator_feed(c, &event);
}

static void tell_written(struct coordinator *c, const struct part *part, uint32_t attempt, int code,
                         uint64_t took)
{
    struct core_event event = {.kind = CORE_EV_SHARD_WRITTEN, .now = c->now};

    event.worker.value = part->worker;
    event.shard_written.attempt = attempt;
    event.shard_written.code = code;
    event.shard_written.took = took;
    coordinator_feed(c, &event);
}

static void tell_committed(struct coordinator *c, uint32_t attempt, int code, uint64_t took)
{
    struct core_event event = {.kind = CORE_EV_COMMITTED, .now = c->now};

    event.committed.attempt = attempt;
    event.committed.code = code;
    event.committed.took = took;
    coordinator_feed(c, &event);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void send_write(struct coordinator *c, struct part *part)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__WriteShard write = RK__WRITE_SHARD__INIT;
    const struct attempt *attempt = &c->saves->attempt;

    write.attempt = attempt->number;
    write.step = attempt->step;
    write.dirname = (char *)attempt->dirname;
    write.writer = part->writer;
    write.writers = part->writers;
    envelope.body_case = RK__ENVELOPE__BODY_WRITE_SHARD;
    envelope.write_shard = &write;
    part->state = PART_SENT;
    server_send(c->server, part->worker, &envelope);
}

static void begin(struct coordinator *c, const struct core_action *action)
{
    struct saves *saves = c->saves;
    struct task *task = task_new(TASK_BEGIN, action->step, NULL);
    struct worker_info *worker;
    uint32_t cursor = 0;

    forget_attempt(&saves->attempt);
    saves->attempt.number = action->attempt;
    saves->attempt.step = action->step;
    saves->attempt.began = c->now;
    if (task) {
        task->attempt = action->attempt;
        while ((worker = id_map_next(&c->workers.by_id, &cursor)) != NULL)
            if (worker->state_bytes > task->need)
                task->need = worker->state_bytes;
    }
    if (!submit(saves, task)) {
        saves->attempt.ready = true;
        saves->attempt.code = RK_ENOMEM;
    }
}

static struct part *part_new(struct attempt *attempt)
{
    if (attempt->count == attempt->capacity) {
        size_t capacity = attempt->capacity ? 2 * attempt->capacity : 16;
        struct part *part = realloc(attempt->part, capacity * sizeof *part);

        if (!part)
            return NULL;
        attempt->part = part;
        attempt->capacity = capacity;
    }
    attempt->part[attempt->count] = (struct part){0};
    return &attempt->part[attempt->count++];
}

static struct part *part_of(struct attempt *attempt, uint64_t worker)
{
    for (size_t i = 0; i < attempt->count; i++)
        if (attempt->part[i].worker == worker)
            return &attempt->part[i];
    return NULL;
}

static void write_part(struct coordinator *c, const struct core_action *action)
{
    struct attempt *attempt = &c->saves->attempt;
    struct part *part;

    if (action->attempt != attempt->number)
        return;
    part = part_of(attempt, action->worker.value);
    if (!part)
        part = part_new(attempt);
    if (!part) {
        struct part lost = {.worker = action->worker.value};

        tell_written(c, &lost, attempt->number, RK_ENOMEM, 0);
        return;
    }
    part->worker = action->worker.value;
    part->writer = action->writer;
    part->writers = action->writers;
    if (attempt->ready && attempt->code)
        tell_written(c, part, attempt->number, attempt->code, 0);
    else if (attempt->ready)
        send_write(c, part);
}

static void commit_attempt(struct coordinator *c, const struct core_action *action)
{
    struct attempt *attempt = &c->saves->attempt;
    struct task *task = task_new(TASK_COMMIT, attempt->step, attempt->dirname);
    struct core_plan plan;

    if (action->attempt != attempt->number || !task)
        goto failed;
    task->reports = calloc(attempt->count + 1, sizeof *task->reports);
    if (!task->reports)
        goto failed;
    core_plan_read(c->core, &plan);
    task->attempt = attempt->number;
    snprintf(task->run.job, sizeof task->run.job, "%s", c->options.job);
    snprintf(task->run.reduction, sizeof task->run.reduction, "%s", c->options.reduction);
    task->run.step = attempt->step;
    task->run.epoch = c->record.core.epoch;
    task->run.shards = c->config.shards;
    task->run.world = plan.world;
    task->run.wall = c->wall;
    for (size_t i = 0; i < attempt->count; i++) {
        task->reports[task->report_count++] = attempt->part[i].report;
        attempt->part[i].report = (struct checkpoint_report){0};
    }
    submit(c->saves, task);
    return;
failed:
    free(task);
    tell_committed(c, action->attempt, RK_ENOMEM, 0);
}

static void abandon(struct coordinator *c, const struct core_action *action)
{
    struct attempt *attempt = &c->saves->attempt;

    if (action->attempt != attempt->number)
        return;
    rk_info("checkpoint of step %llu, attempt %u, is abandoned", (unsigned long long)attempt->step,
            attempt->number);
    if (attempt->ready && attempt->code == 0)
        submit(c->saves, task_new(TASK_DISCARD, attempt->step, attempt->dirname));
    forget_attempt(attempt);
}

static void look_again(struct coordinator *c)
{
    if (!submit(c->saves, task_new(TASK_FIND, 0, NULL)))
        coordinator_fail(c, 69, "no memory to look for checkpoints");
}

void saves_do(struct coordinator *c, const struct core_action *action)
{
    if (!c->saves) {
        if (action->kind == CORE_DO_FIND)
            tell_found(c, CORE_NONE, false);
        return;
    }
    switch (action->kind) {
    case CORE_DO_FIND:
        look_again(c);
        break;
    case CORE_DO_REJECT:
        submit(c->saves,
               task_new(TASK_REJECT, action->step, saves_dirname(c->saves, action->step)));
        break;
    case CORE_DO_BEGIN:
        begin(c, action);
        break;
    case CORE_DO_WRITE:
        write_part(c, action);
        break;
    case CORE_DO_COMMIT:
        commit_attempt(c, action);
        break;
    default:
        abandon(c, action);
        break;
    }
}

/* A worker's part is there, or is not. */
void saves_written(struct coordinator *c, uint64_t worker, const Rk__ShardWritten *written)
{
    struct attempt *attempt = c->saves ? &c->saves->attempt : NULL;
    struct part *part =
        attempt && attempt->number == written->attempt ? part_of(attempt, worker) : NULL;
    int code = written->code;

    if (!part || part->state != PART_SENT)
        return;
    if (code) {
        rk_warn("part %u of the checkpoint of step %llu failed: %s", part->writer,
                (unsigned long long)attempt->step, written->why);
        snprintf(c->saves->trouble.text, sizeof c->saves->trouble.text, "%s", written->why);
    }
    if (code == 0) {
        part->report.data = malloc(written->report.len + 1);
        code = part->report.data ? 0 : RK_ENOMEM;
    }
    if (code == 0) {
        memcpy(part->report.data, written->report.data, written->report.len);
        part->report.size = written->report.len;
    }
    part->state = PART_WRITTEN;
    tell_written(c, part, attempt->number, code, written->took_ns);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The core asked for one that can be used; what is set aside on the way is told to people. */
static void note_set_aside(struct coordinator *c, const struct task *task)
{
    struct core_action note = {.kind = CORE_DO_EVENT,
                               .note = CORE_NOTE_CHECKPOINT_REJECTED,
                               .step = task->step,
                               .rank = CORE_NO_RANK};

    rk_warn("checkpoint %s is damaged and set aside: %s", task->dirname, task->why.text);
    know(c->saves, task->step, task->dirname);
    notes_add(c, &note);
}

static void answer_find(struct coordinator *c, const struct task *task)
{
    if (task->code == RK_ENOENT) {
        tell_found(c, CORE_NONE, task->damaged);
        return;
    }
    if (task->code == RK_EDATA) {
        note_set_aside(c, task);
        look_again(c);
        return;
    }
    if (task->code) {
        coordinator_fail(c, rk_error_exit_code(task->code), "checkpoints cannot be listed: %s",
                         task->why.text);
        return;
    }
    if (task->shards != c->config.shards) {
        coordinator_fail(c, 64,
                         "the checkpoint %s/%s was made with --shards %u, this run has --shards %u:"
                         " the batch would be cut another way.  Use the same number",
                         c->saves->root, task->dirname, task->shards, c->config.shards);
        return;
    }
    if (strcmp(task->reduction, c->options.reduction) != 0)
        rk_warn(
            "checkpoint %s/%s was made with --reduction %s, this run goes on with %s: the state "
            "after it will not be that of one run, to the bit",
            c->saves->root, task->dirname, task->reduction, c->options.reduction);
    know(c->saves, task->step, task->dirname);
    tell_found(c, task->step, task->damaged);
}

static void answer_begin(struct coordinator *c, const struct task *task)
{
    struct attempt *attempt = &c->saves->attempt;

    if (task->attempt != attempt->number || attempt->ready) {
        if (task->code == 0)
            submit(c->saves, task_new(TASK_DISCARD, task->step, task->dirname));
        return;
    }
    attempt->ready = true;
    attempt->code = task->code;
    snprintf(attempt->dirname, sizeof attempt->dirname, "%s", task->dirname);
    if (task->code) {
        rk_warn("checkpoint of step %llu cannot be begun: %s", (unsigned long long)task->step,
                task->why.text);
        c->saves->trouble = task->why;
    }
    for (size_t i = 0; i < attempt->count; i++) {
        if (task->code == 0) {
            send_write(c, &attempt->part[i]);
            continue;
        }
        tell_written(c, &attempt->part[i], task->attempt, task->code, 0);
        break;
    }
}

static void answer_commit(struct coordinator *c, const struct task *task)
{
    uint64_t took = c->now - c->saves->attempt.began;

    if (task->code) {
        rk_warn("checkpoint of step %llu is not committed: %s", (unsigned long long)task->step,
                task->why.text);
        c->saves->trouble = task->why;
        tell_committed(c, task->attempt, task->code, took);
        return;
    }
    know(c->saves, task->step, task->dirname);
    c->committed_step = task->step;
    snprintf(c->committed_dirname, sizeof c->committed_dirname, "%s", task->dirname);
    tell_committed(c, task->attempt, 0, took);
    submit(c->saves, task_new(TASK_RETAIN, task->step, task->dirname));
}

static void answer(struct coordinator *c, const struct task *task)
{
    switch (task->kind) {
    case TASK_FIND:
        answer_find(c, task);
        break;
    case TASK_BEGIN:
        answer_begin(c, task);
        break;
    case TASK_COMMIT:
        answer_commit(c, task);
        break;
    case TASK_REJECT: /* as long as it is there, it would be found again */
        if (task->code)
            coordinator_fail(c, 69, "the damaged checkpoint %s cannot be set aside: %s",
                             task->dirname, task->why.text);
        break;
    default:
        if (task->code)
            rk_warn("checkpoint %s: %s", task->dirname, task->why.text);
        break;
    }
}

void saves_answers(struct coordinator *c)
{
    uint64_t count;
    struct task *task;

    if (!c->saves || read(c->saves->event_fd, &count, sizeof count) < 0)
        return;
    for (;;) {
        pthread_mutex_lock(&c->saves->mutex);
        task = queue_take(&c->saves->done);
        pthread_mutex_unlock(&c->saves->mutex);
        if (!task)
            return;
        c->saves->under_way--;
        answer(c, task);
        task_free(task);
    }
}
