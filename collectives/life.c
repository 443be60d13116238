/* The thread that holds the word; see life.h. */
#include "collectives/life.h"

#include "common/thread.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK ((size_t)256 << 10) /* bytes; it calls nothing that needs more */

struct life {
    struct robust_list_head head;
    struct robust_list entry; /* the word lies head.futex_offset bytes behind it */
    _Atomic uint32_t *word;
    _Atomic uint32_t ending;
    pthread_t thread;
    pid_t owner; /* a child that was forked has no such thread */
};

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, (uint32_t *)word, operation, value, NULL, NULL, 0);
}

static void set_list(struct life *life, struct robust_list *first)
{
    life->entry.next = &life->head.list;
    life->head.list.next = first;
    syscall(SYS_set_robust_list, &life->head, sizeof life->head);
}

static void *hold(void *argument)
{
    struct life *life = argument;

    prctl(PR_SET_NAME, "reknit-life");
    life->head.futex_offset = (long)((intptr_t)life->word - (intptr_t)&life->entry);
    set_list(life, &life->entry);
    /* FUTEX_WAITERS: the kernel is to wake, whoever may wait */
    atomic_store(life->word, (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS);
    futex(life->word, FUTEX_WAKE, INT_MAX);
    while (atomic_load(&life->ending) == 0)
        futex(&life->ending, FUTEX_WAIT_PRIVATE, 0);
    set_list(life, &life->head.list);
    atomic_store(life->word, 0);
    futex(life->word, FUTEX_WAKE, INT_MAX);
    return NULL;
}

int life_begin(_Atomic uint32_t *word, struct life **life)
{
    struct life *begun = calloc(1, sizeof *begun);

    if (begun == NULL)
        return RK_ENOMEM;
    begun->word = word;
    atomic_store(word, 0);
    begun->owner = getpid();
    if (rk_thread_begin(&begun->thread, STACK, hold, begun) != 0) {
        free(begun);
        return RK_ENOMEM;
    }
    /* whoever is told of us from here on finds the word set */
    while (atomic_load(word) == 0)
        futex(word, FUTEX_WAIT, 0);
    *life = begun;
    return 0;
}

void life_end(struct life *life)
{
    if (life == NULL)
        return;
    if (life->owner == getpid()) {
        atomic_store(&life->ending, 1);
        futex(&life->ending, FUTEX_WAKE_PRIVATE, 1);
        pthread_join(life->thread, NULL);
    }
    free(life);
}
