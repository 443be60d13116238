/* Codes to words; see error.h. */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int rk_fail(struct rk_why *why, int code, const char *format, ...)
{
    va_list args;

    if (why != NULL) {
        va_start(args, format);
        vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    return code;
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return RK_ENOMEM;
    case ENOENT:
    case ESRCH:
    case ENOTDIR:
        return RK_ENOENT;
    case EEXIST:
        return RK_EEXIST;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return RK_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return RK_EACCES;
    case ETIMEDOUT:
        return RK_ETIMEDOUT;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return RK_EFULL;
    default:
        return RK_EIO;
    }
}

int rk_fail_errno(struct rk_why *why, int errnum, const char *format, ...)
{
    va_list args;

    if (why != NULL) {
        va_start(args, format);
        int length = vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
        size_t used = length < 0 ? 0 : (size_t)length;
        if (used < sizeof why->text)
            snprintf(why->text + used, sizeof why->text - used, ": %s", strerror(errnum));
    }
    return code_of_errno(errnum);
}

const char *rk_error_text(int code)
{
    switch (code) {
#define X(name, value, exit_code, text) \
    case value:                         \
        return text;
        RK_ERROR_LIST(X)
#undef X
    default:
        return code == 0 ? "no error" : "unknown error";
    }
}

int rk_error_exit_code(int code)
{
    switch (code) {
#define X(name, value, exit_code, text) \
    case value:                         \
        return exit_code;
        RK_ERROR_LIST(X)
#undef X
    default:
        return code == 0 ? 0 : 70;
    }
}
