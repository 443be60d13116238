/* Lock files: who holds the flock on one owns what it stands for, until its process ends however
 * that comes about.  The file says who it is, for messages. */
#ifndef RK_LAUNCH_LOCK_H
#define RK_LAUNCH_LOCK_H

#include "common/error.h"

#include <stdbool.h>
#include <sys/types.h>

#define LOCK_JANITOR "janitor" /* `who` of a holder that will be done in a moment */

struct lock_holder {
    pid_t pid; /* 0: not known */
    char who[80];
};

/* Takes the lock at `path` (made when missing) without waiting and writes pid and `who` into it;
 * *fd (close-on-exec) holds it.  RK_EEXIST: somebody else does, *holder says who; RK_ENOENT: the
 * folder is gone; RK_EACCES, RK_EIO, ... */
int lock_take(const char *path, const char *who, int *fd, struct lock_holder *holder,
              struct rk_why *why);
/* Whether somebody holds the lock at `path`, and who. */
bool lock_held(const char *path, struct lock_holder *holder);

/* Waits for the lock (exclusive) on an open file for at most `ms`.  RK_ETIMEDOUT. */
int lock_wait(int fd, int ms);

#endif
