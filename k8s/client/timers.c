/* The pairing heap of timers; see timers.h. */
#include "k8s/client/timers.h"

#include <stddef.h>

static struct timer *merge(struct timer *a, struct timer *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (b->due < a->due) {
        struct timer *other = a;

        a = b;
        b = other;
    }
    b->back = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->back = b;
    a->child = b;
    return a;
}

/* One heap of the list of siblings that begins at `first`: in pairs forth, then all back. */
static struct timer *merge_siblings(struct timer *first)
{
    struct timer *pairs = NULL;
    struct timer *root = NULL;

    while (first != NULL) {
        struct timer *a = first;
        struct timer *b = a->next;
        struct timer *pair;

        first = b != NULL ? b->next : NULL;
        a->next = a->back = NULL;
        if (b != NULL)
            b->next = b->back = NULL;
        pair = merge(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct timer *pair = pairs;

        pairs = pair->next;
        pair->next = NULL;
        root = merge(root, pair);
    }
    return root;
}

void timers_stop(struct timers *timers, struct timer *timer)
{
    struct timer *below;

    if (!timer->set)
        return;
    below = merge_siblings(timer->child);
    if (timers->root == timer) {
        timers->root = below;
    } else {
        if (timer->back->child == timer)
            timer->back->child = timer->next;
        else
            timer->back->next = timer->next;
        if (timer->next != NULL)
            timer->next->back = timer->back;
        timers->root = merge(timers->root, below);
    }
    timer->set = false;
    timer->child = timer->next = timer->back = NULL;
}

void timers_set(struct timers *timers, struct timer *timer, uint64_t due)
{
    timers_stop(timers, timer);
    timer->due = due;
    timer->set = true;
    timers->root = merge(timers->root, timer);
}

uint64_t timers_due(const struct timers *timers)
{
    return timers->root != NULL ? timers->root->due : TIMERS_NEVER;
}

bool timers_fire(struct timers *timers, uint64_t now)
{
    struct timer *timer = timers->root;

    if (timer == NULL || timer->due > now)
        return false;
    timers_stop(timers, timer);
    timer->fire(timer->who);
    return true;
}
