/* What an error is in reknit: a negative code that a program can act on, and, apart from it, a
 * sentence that a person can act on.
 *
 * A function returns 0, or a code from RK_ERROR_LIST, or (where its header says so) a positive
 * outcome.  errno stops at the system call that set it.  The sentence travels in a struct rk_why
 * that the caller owns; every function takes NULL for it. */
#ifndef RK_COMMON_ERROR_H
#define RK_COMMON_ERROR_H

#include <stddef.h>

/* Grouped by how much is broken: this call, this worker, this generation, the job.
 * X(name, value, exit code of a command that ends with it, what it means) */
#define RK_ERROR_LIST(X)                                                         \
    /* this call */                                                              \
    X(RK_EINVAL, -1, 64, "an argument is not valid")                             \
    X(RK_ESTATE, -2, 70, "the call came out of order")                           \
    X(RK_ENOMEM, -3, 69, "memory could not be had")                              \
    X(RK_EFULL, -4, 69, "a fixed capacity is used up")                           \
    X(RK_ENOENT, -5, 69, "a thing that was named does not exist")                \
    X(RK_EEXIST, -6, 69, "a thing that must be new exists already")              \
    X(RK_EIO, -7, 69, "reading or writing failed")                               \
    X(RK_ENOSPC, -8, 69, "no space is left")                                     \
    X(RK_EACCES, -9, 69, "permission was refused")                               \
    X(RK_ETIMEDOUT, -10, 69, "a deadline passed")                                \
    X(RK_EDATA, -11, 65, "data that was read is damaged or not what it must be") \
    X(RK_EPROTO, -12, 69, "a peer does not keep to the protocol")                \
    X(RK_EVERSION, -13, 69, "a peer speaks another version")                     \
    X(RK_EUNAVAILABLE, -14, 69, "something needed is not there")                 \
    X(RK_ENOTFINITE, -15, 70, "a gradient is infinite or not a number")          \
    /* this worker */                                                            \
    X(RK_EFENCED, -20, 75, "this process is no longer a member of the job")      \
    X(RK_EAGENT, -21, 75, "the agent of this host is gone")                      \
    X(RK_ELAYOUT, -22, 65, "ranks do not agree on what they registered")         \
    /* this generation */                                                        \
    X(RK_ESTALE, -30, 75, "a message carries an older membership word")          \
    X(RK_ETRANSPORT, -31, 75, "the collective engine failed")                    \
    /* the job */                                                                \
    X(RK_EJOB, -40, 70, "the job has failed for good")                           \
    X(RK_EBUDGET, -41, 75, "the restart budget is spent")

enum rk_error {
#define X(name, value, exit_code, text) name = (value),
    RK_ERROR_LIST(X)
#undef X
};

/* The human's sentence: what was wrong, where, what to do. */
struct rk_why {
    char text[512];
};

/* Writes the sentence (printf form) into `why`, which may be NULL, and returns `code` unchanged,
 * so that a function can end with `return rk_fail(why, RK_EINVAL, "...")`. */
int rk_fail(struct rk_why *why, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As rk_fail, with ": " and the text of `errnum` appended; maps errnum to a code. */
int rk_fail_errno(struct rk_why *why, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The meaning of a code, in a few words; never NULL. */
const char *rk_error_text(int code);

/* The exit code of a command that ends with `code` (sysexits numbers, see DESIGN). */
int rk_error_exit_code(int code);

#endif
