/* Starting them; see thread.h. */
#include "common/thread.h"

#include <errno.h>
#include <signal.h>

/* What a thread brings on itself, which whoever handles crashes wants to see. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static int create(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    int errnum = stack == 0 ? EINVAL : pthread_attr_init(&attributes);

    if (errnum == 0) {
        errnum = pthread_attr_setstacksize(&attributes, stack);
        if (errnum == 0)
            errnum = pthread_create(thread, &attributes, run, argument);
        pthread_attr_destroy(&attributes);
    }
    return errnum == EINVAL ? pthread_create(thread, NULL, run, argument) : errnum;
}

int rk_thread_begin(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument)
{
    sigset_t blocked, before;
    int errnum;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    errnum = create(thread, stack, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum;
}
