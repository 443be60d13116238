/* Ranks that begin to end, seen before they are gone: a thread waits on the words by which the
 * kernel tells so (collectives/life.h), and wakes the loop.
 *
 * A process that is killed, and of which no thread has memory any more, touches nothing in the
 * arena again.  So the job goes on without it.  What is left of a rank, whose memory the kernel
 * still takes back, is waited for and collected aside, and another starts in its place only then,
 * for it may need that memory.  Where GPUs write to the arena this is not so: there the end is
 * waited for.
 *
 * Where the kernel has no futex_waitv (before 5.16), or forbids it, which is said, nothing here
 * happens, and ranks are lost when they are gone. */
#include "worker/agent/state.h"

#include "collectives/life.h"
#include "common/log.h"
#include "common/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORDS (RK_MAX_SLOTS + 1) /* the first one is ours */

/* Shared with the thread, but for `watch`. */
struct lives {
    struct watch watch; /* an eventfd: a rank begins to end */
    pthread_t thread;
    pthread_mutex_t lock;
    _Atomic uint32_t changed; /* the list below, or `closing` */
    bool closing;
    const struct arena_header *header; /* a mapping of its own, of the control area */
    uint32_t seat[RK_MAX_SLOTS];       /* by slot; ARENA_SEATS: none */
    int news;                          /* the watch's descriptor */
};

/* ---- the thread ------------------------------------------------------------------------------ */

/* Puts a word on the list unless it is nobody's; false: its owner begins to end. */
static bool list_word(const _Atomic uint32_t *word, struct futex_waitv *words, uint32_t *count)
{
    uint32_t value = atomic_load(word);

    if (life_is_over(value))
        return false;
    if (value != 0)
        words[(*count)++] =
            (struct futex_waitv){.val = value, .uaddr = (uintptr_t)word, .flags = FUTEX_32};
    return true;
}

/* The words to wait on, as they are now; each end is told once.  Returns how many; 0: stop. */
static uint32_t list_words(struct lives *lives, struct futex_waitv words[WORDS], bool *any_over)
{
    uint32_t count = 1;

    pthread_mutex_lock(&lives->lock);
    words[0] = (struct futex_waitv){.val = atomic_load(&lives->changed),
                                    .uaddr = (uintptr_t)&lives->changed,
                                    .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    for (uint32_t slot = 0; slot < RK_MAX_SLOTS; slot++) {
        if (lives->seat[slot] >= ARENA_SEATS ||
            list_word(&lives->header->seat[lives->seat[slot]].life, words, &count))
            continue;
        lives->seat[slot] = ARENA_SEATS;
        *any_over = true;
    }
    if (lives->closing)
        count = 0;
    pthread_mutex_unlock(&lives->lock);
    return count;
}

static void *wait_for_ends(void *argument)
{
    struct lives *lives = argument;
    struct futex_waitv words[WORDS];
    const uint64_t one = 1;
    uint32_t count;

    for (;;) {
        bool any_over = false;

        count = list_words(lives, words, &any_over);
        if (count == 0)
            return NULL;
        if (any_over && write(lives->news, &one, sizeof one) != (ssize_t)sizeof one)
            return NULL;
        if (!any_over && syscall(SYS_futex_waitv, words, count, 0, NULL, 0) < 0 &&
            errno != EAGAIN && errno != EINTR)
            return NULL;
    }
}

static void change(struct lives *lives)
{
    atomic_fetch_add(&lives->changed, 1);
    syscall(SYS_futex, (uint32_t *)&lives->changed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void set_seat(struct agent *agent, const struct rank *rank, uint32_t seat)
{
    struct lives *lives = agent->lives;

    if (lives == NULL)
        return;
    pthread_mutex_lock(&lives->lock);
    if (lives->seat[rank->slot] != seat) {
        lives->seat[rank->slot] = seat;
        change(lives);
    }
    pthread_mutex_unlock(&lives->lock);
}

/* ---- the loop -------------------------------------------------------------------------------- */

void lives_watch(struct agent *agent, const struct rank *rank)
{
    if (rank->seat >= 0)
        set_seat(agent, rank, (uint32_t)rank->seat);
}

void lives_forget(struct agent *agent, const struct rank *rank)
{
    set_seat(agent, rank, ARENA_SEATS);
}

void lives_look(struct agent *agent)
{
    agent->fading = false;
    for (uint32_t i = 0; i < agent->options->slots; i++) {
        struct rank *rank = &agent->rank[i];
        const struct arena_seat *seat = rank_seat(agent, rank);

        if (rank_alive(rank) && seat != NULL && rank->entered &&
            life_is_over(atomic_load(&seat->life)))
            agent->fading |= !rank_fades(agent, rank);
    }
}

static void on_news(struct agent *agent, struct watch *watch, uint32_t events)
{
    uint64_t count;
    (void)events;

    if (read(watch->fd, &count, sizeof count) == (ssize_t)sizeof count)
        lives_look(agent);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void lives_free(struct lives *lives)
{
    if (lives->header != NULL)
        munmap((void *)(uintptr_t)lives->header, ARENA_CONTROL_BYTES);
    pthread_mutex_destroy(&lives->lock);
    free(lives);
}

static bool open_all(struct agent *agent, struct lives *lives)
{
    void *map = mmap(NULL, ARENA_CONTROL_BYTES, PROT_READ, MAP_SHARED, agent->arena.fd, 0);

    lives->watch.fd = -1;
    lives->header = map == MAP_FAILED ? NULL : map;
    lives->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lives->header == NULL || lives->news < 0 ||
        watch_add(agent, &lives->watch, lives->news, EPOLLIN, on_news) != 0)
        return false;
    return rk_thread_begin(&lives->thread, 0, wait_for_ends, lives) == 0;
}

/* Whether the kernel waits on several words: one that does finds fault with a list of none. */
static bool can_wait(void)
{
    return syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == EINVAL;
}

void lives_open(struct agent *agent)
{
    struct lives *lives;

    if (!can_wait()) {
        rk_info("this kernel has no futex_waitv (Linux 5.16), or forbids it: a rank that has "
                "gigabytes is told lost only when they are taken back");
        return;
    }
    lives = calloc(1, sizeof *lives);
    if (lives == NULL)
        return;
    pthread_mutex_init(&lives->lock, NULL);
    for (uint32_t slot = 0; slot < RK_MAX_SLOTS; slot++)
        lives->seat[slot] = ARENA_SEATS;
    if (open_all(agent, lives)) {
        agent->lives = lives;
        return;
    }
    rk_warn(
        "no thread watches over ranks: one that has gigabytes is told lost late; raise the limits "
        "of processes and open files (ulimit -u, -n)");
    watch_drop(agent, &lives->watch);
    lives_free(lives);
}

void lives_close(struct agent *agent)
{
    struct lives *lives = agent->lives;

    if (lives == NULL)
        return;
    pthread_mutex_lock(&lives->lock);
    lives->closing = true;
    change(lives);
    pthread_mutex_unlock(&lives->lock);
    pthread_join(lives->thread, NULL);
    watch_drop(agent, &lives->watch);
    lives_free(lives);
    agent->lives = NULL;
}
