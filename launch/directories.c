/* Folders and locks of a job; see directories.h. */
#include "launch/directories.h"

#include "launch/lock.h"
#include "launch/surroundings.h"
#include "launch/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_TRIES 20
#define JANITOR_WAIT_MS 20000
#define JANITOR_STEP_MS 10
#define OLD_PROCESSES_WAIT_MS 15000
#define SOCKET_NAME_ROOM 60 /* "/host-vh00/agent-4294967295-4194304.sock" and room */
#define SOCKET_PATH_MAX 107
#define POINTER "elsewhere" /* in STATE of a name: the state folder in a checkpoint directory */
#define POINTER_TEMPORARY "elsewhere.new"

static int join(char *out, size_t size, struct rk_why *why, const char *a, const char *b)
{
    if ((size_t)snprintf(out, size, "%s/%s", a, b) >= size)
        return rk_fail(why, RK_EFULL, "the path %.100s.../%.100s is too long", a, b);
    return 0;
}

int directories_base(char *base, size_t size, bool *ours, struct rk_why *why)
{
    const char *given = surroundings_get("REKNIT_RUNTIME_DIR");
    const char *xdg = surroundings_get("XDG_RUNTIME_DIR");
    const char *tmp = surroundings_get("TMPDIR");
    char name[32];

    *ours = given == NULL;
    if (given != NULL && given[0] != '/')
        return rk_fail(why, RK_EINVAL, "REKNIT_RUNTIME_DIR is '%.200s': it must begin with '/'",
                       given);
    if (given != NULL)
        return (size_t)snprintf(base, size, "%s", given) < size
                   ? 0
                   : rk_fail(why, RK_EFULL, "REKNIT_RUNTIME_DIR is too long");
    if (xdg != NULL && access(xdg, W_OK | X_OK) == 0)
        return join(base, size, why, xdg, "reknit");
    snprintf(name, sizeof name, "reknit-%u", (unsigned)geteuid());
    return join(base, size, why, tmp != NULL ? tmp : "/tmp", name);
}

int directories_state(const char *job, char *path, size_t size, struct rk_why *why)
{
    const char *xdg = surroundings_get("XDG_STATE_HOME");
    const char *home = surroundings_home();
    int length;

    if (xdg != NULL)
        length = snprintf(path, size, "%s/reknit/%s", xdg, job);
    else if (home != NULL)
        length = snprintf(path, size, "%s/.local/state/reknit/%s", home, job);
    else
        return rk_fail(why, RK_EUNAVAILABLE,
                       "there is no place for logs: set HOME or XDG_STATE_HOME, or give "
                       "--checkpoint-dir");
    return (size_t)length < size ? 0
                                 : rk_fail(why, RK_EFULL, "the path %.100s... is too long", path);
}

int directories_make(const char *path, unsigned mode, struct rk_why *why)
{
    char part[PATH_MAX];
    struct stat status;

    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return rk_fail(why, RK_EFULL, "the path %.100s... is too long", path);
    for (char *at = part + 1;; at++) {
        char ended = *at;

        if (ended != '/' && ended != '\0')
            continue;
        *at = '\0';
        if (mkdir(part, ended == '\0' ? mode : 0777) != 0 && errno != EEXIST && errno != EISDIR)
            return rk_fail_errno(why, errno, "the folder %s cannot be made", part);
        *at = ended;
        if (ended == '\0')
            break;
    }
    if (stat(path, &status) != 0)
        return rk_fail_errno(why, errno, "the folder %s cannot be used", path);
    if (!S_ISDIR(status.st_mode))
        return rk_fail(why, RK_EACCES, "%s is there and is not a folder; move it away", path);
    return 0;
}

/* A folder of mode 0700 that is ours and no link: others must not put anything there. */
static int make_private(const char *path, struct rk_why *why)
{
    struct stat status;
    int rc = directories_make(path, 0700, why);

    if (rc != 0)
        return rc;
    if (lstat(path, &status) != 0)
        return rk_fail_errno(why, errno, "%s cannot be looked at", path);
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return rk_fail(why, RK_EACCES,
                       "the folder %s must be yours and of mode 0700; repair it, or set "
                       "REKNIT_RUNTIME_DIR to one that is",
                       path);
    return 0;
}

/* One try at the runtime folder and its lock. */
static int take_name(struct directories *d, struct lock_holder *holder, struct rk_why *why)
{
    char path[PATH_MAX];
    int rc = make_private(d->base, why);

    *holder = (struct lock_holder){.pid = 0};
    if (rc == 0)
        rc = make_private(d->run, why);
    if (rc == 0)
        rc = join(path, sizeof path, why, d->run, "lock");
    return rc != 0 ? rc : lock_take(path, d->name, &d->run_lock, holder, why);
}

/* True when the holder is about to let go, or has not written its name yet. */
static bool is_passing(const struct lock_holder *holder)
{
    return strcmp(holder->who, LOCK_JANITOR) == 0 || holder->pid <= 0 ||
           (kill(holder->pid, 0) != 0 && errno == ESRCH);
}

static int open_run(struct directories *d, bool *name_taken, struct rk_why *why)
{
    struct lock_holder holder;
    int tries = OPEN_TRIES;
    int waited = 0;
    int rc;

    for (;;) {
        rc = take_name(d, &holder, why);
        if (rc == RK_EEXIST && is_passing(&holder) && waited < JANITOR_WAIT_MS) {
            poll(NULL, 0, JANITOR_STEP_MS);
            waited += JANITOR_STEP_MS;
        } else if (rc != RK_ENOENT || --tries == 0) {
            break; /* another job's end may remove a folder under our feet: then once more */
        }
    }
    if (rc != RK_EEXIST)
        return rc;
    *name_taken = true;
    return rk_fail(why, RK_EEXIST,
                   "a job named '%s' is running (pid %d): stop it with 'reknit stop %s', or give "
                   "this one another --name",
                   d->name, (int)holder.pid, d->name);
}

/* Sweeps what an earlier run left, once none of its processes is left, and holds `alive`. */
static int open_alive(struct directories *d, struct rk_why *why)
{
    char path[PATH_MAX];
    int rc = join(path, sizeof path, why, d->run, "alive");

    if (rc != 0)
        return rc;
    d->alive = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->alive < 0)
        return rk_fail_errno(why, errno, "%s cannot be made", path);
    if (lock_wait(d->alive, OLD_PROCESSES_WAIT_MS) != 0)
        return rk_fail(why, RK_EEXIST,
                       "processes of an earlier job named '%s' are still running; look for them "
                       "with 'ps' and end them, or give another --name",
                       d->name);
    close(d->alive);
    d->alive = -1;
    if (sweep_contents(d->run, "lock") != 0)
        return rk_fail(why, RK_EACCES, "what an earlier job left in %s cannot be removed", d->run);
    d->alive = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->alive < 0 || flock(d->alive, LOCK_SH | LOCK_NB) != 0)
        return rk_fail_errno(why, errno, "%s cannot be locked", path);
    return 0;
}

/* Notes under the job's name that its state is elsewhere.  Only `logs` of an ended job needs it. */
static void write_pointer(const char *name, const char *state)
{
    char folder[PATH_MAX];
    int fd;
    int file;

    if (directories_state(name, folder, sizeof folder, NULL) != 0 ||
        directories_make(folder, 0700, NULL) != 0)
        return;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    file = openat(fd, POINTER_TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file >= 0) {
        bool good = write(file, state, strlen(state)) == (ssize_t)strlen(state);

        close(file);
        if (!good || renameat(fd, POINTER_TEMPORARY, fd, POINTER) != 0)
            unlinkat(fd, POINTER_TEMPORARY, 0);
    }
    close(fd);
}

static int open_state(struct directories *d, const char *checkpoint_dir, struct rk_why *why)
{
    struct lock_holder holder;
    char path[PATH_MAX];
    int rc;

    if (checkpoint_dir == NULL) {
        rc = directories_state(d->name, d->state, sizeof d->state, why);
    } else {
        rc = directories_make(checkpoint_dir, 0777, why);
        if (rc == 0 && access(checkpoint_dir, W_OK | X_OK) != 0)
            rc = rk_fail_errno(why, errno, "--checkpoint-dir %s cannot be written", checkpoint_dir);
        if (rc == 0)
            rc = join(d->state, sizeof d->state, why, checkpoint_dir, ".reknit");
    }
    if (rc == 0)
        rc = join(d->logs, sizeof d->logs, why, d->state, "logs");
    if (rc == 0)
        rc = directories_make(d->state, 0700, why);
    if (rc == 0)
        rc = directories_make(d->logs, 0700, why);
    if (rc == 0)
        rc = join(path, sizeof path, why, d->state, "lock");
    if (rc != 0)
        return rc;
    rc = lock_take(path, d->name, &d->state_lock, &holder, why);
    if (rc == RK_EEXIST)
        return rk_fail(why, RK_EEXIST,
                       "%s is in use by the job '%s' (pid %d): stop that first, or give another %s",
                       checkpoint_dir != NULL ? checkpoint_dir : d->state, holder.who,
                       (int)holder.pid, checkpoint_dir != NULL ? "--checkpoint-dir" : "--name");
    if (rc == 0 && checkpoint_dir != NULL)
        write_pointer(d->name, d->state);
    return rc;
}

/* A job without checkpoints begins anew: what the last one of its name left would mislead. */
static int clear_state(const struct directories *d, struct rk_why *why)
{
    if (sweep_contents(d->state, "lock") != 0)
        return rk_fail(why, RK_EACCES, "the state of an earlier job in %s cannot be removed",
                       d->state);
    return directories_make(d->logs, 0700, why);
}

int directories_open(const char *name, const char *checkpoint_dir, struct directories *d,
                     bool *name_taken, struct rk_why *why)
{
    bool taken = false;
    int rc;

    memset(d, 0, sizeof *d);
    d->run_lock = d->state_lock = d->alive = -1;
    snprintf(d->name, sizeof d->name, "%s", name);
    rc = directories_base(d->base, sizeof d->base, &d->base_ours, why);
    if (rc == 0)
        rc = join(d->run, sizeof d->run, why, d->base, name);
    if (rc == 0 && strlen(d->run) + SOCKET_NAME_ROOM > SOCKET_PATH_MAX)
        rc = rk_fail(why, RK_EFULL,
                     "%s is too long for the sockets in it: give a shorter --name, or set "
                     "REKNIT_RUNTIME_DIR to a shorter path",
                     d->run);
    if (rc == 0)
        rc = open_run(d, &taken, why);
    if (name_taken != NULL)
        *name_taken = taken;
    if (rc == 0)
        rc = open_alive(d, why);
    if (rc == 0)
        rc = open_state(d, checkpoint_dir, why);
    if (rc == 0 && checkpoint_dir == NULL)
        rc = clear_state(d, why);
    if (rc != 0)
        directories_close(d, d->run_lock >= 0);
    return rc;
}

static void drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void directories_close(struct directories *d, bool remove)
{
    drop(&d->alive);
    if (remove && d->run_lock >= 0)
        sweep_job(d->run, d->base_ours ? d->base : NULL);
    drop(&d->state_lock);
    drop(&d->run_lock);
}

int directories_find_state(const char *job, char *path, size_t size, struct rk_why *why)
{
    char folder[PATH_MAX];
    char pointer[PATH_MAX];
    char where[PATH_MAX] = "";
    FILE *file;
    int rc = directories_state(job, folder, sizeof folder, why);

    if (rc == 0)
        rc = join(pointer, sizeof pointer, why, folder, POINTER);
    if (rc != 0)
        return rc;
    if (access(folder, F_OK) != 0)
        return rk_fail(why, RK_ENOENT, "no job named '%s' has left a record (%s)", job, folder);
    file = fopen(pointer, "re");
    if (file != NULL && fgets(where, sizeof where, file) == NULL)
        where[0] = '\0';
    if (file != NULL)
        fclose(file);
    if ((size_t)snprintf(path, size, "%s", where[0] == '/' ? where : folder) >= size)
        return rk_fail(why, RK_EFULL, "the path %.100s... is too long", where);
    return 0;
}
