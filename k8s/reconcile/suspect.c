/* Nodes that may be lost, though nobody has said so.
 *
 * A scheduler learns of a lost node after some 40 s, and until then may bind a new pod to it, which
 * then waits there for minutes.  That a kubelet does not confirm an end in its time is known
 * sooner: for a while new pods keep off its node, and pods that wait there are asked for again.  A
 * sign of life of that kubelet ends it, and then pods that still look for another node need not.
 *
 * Pods say in an annotation what they avoid, so that a new process knows. */
#include "k8s/reconcile/state.h"

#include <stdio.h>
#include <string.h>

static struct suspect *find(struct pods *pods, const char *name)
{
    for (uint32_t i = 0; i < pods->suspects; i++)
        if (strcmp(pods->suspect[i].name, name) == 0)
            return &pods->suspect[i];
    return NULL;
}

/* Pods that were asked for meanwhile avoid it for nothing. */
static void drop(struct pods *pods, uint32_t s)
{
    uint64_t since = pods->suspect[s].since;

    for (uint32_t i = pods->pending.head; i != NONE; i = pods->life[i].ring[CHAIN_PENDING].next) {
        struct life *life = &pods->life[i];

        if (life->avoids && (life->asked_at >= since || life->asked_at == 0))
            pods->relax = life->stale = true;
    }
    memmove(&pods->suspect[s], &pods->suspect[s + 1],
            (--pods->suspects - s) * sizeof *pods->suspect);
}

/* In the order of their times, the newest last. */
void suspect_node(struct pods *pods, const char *name, uint64_t until)
{
    struct suspect *suspect = find(pods, name);

    if (name[0] == '\0' || strlen(name) >= NODE_NAME)
        return;
    if (suspect != NULL) {
        suspect->until = until > suspect->until ? until : suspect->until;
        return;
    }
    if (pods->suspects == SUSPECTS)
        drop(pods, 0);
    suspect = &pods->suspect[pods->suspects++];
    *suspect = (struct suspect){.since = pods->now, .until = until, .fresh = true};
    snprintf(suspect->name, sizeof suspect->name, "%s", name);
}

/* A kubelet that has told of another pod meanwhile is only slow. */
void suspect_silence(struct pods *pods, const struct life *life)
{
    if (life->node != NONE && pods->site[life->node].spoke_at <= life->condemned_at)
        suspect_node(pods, site_name(pods, life), pods->now + pods->config.suspicion);
}

void suspect_clear(struct pods *pods, const char *name)
{
    const struct suspect *suspect = find(pods, name);

    if (suspect != NULL)
        drop(pods, (uint32_t)(suspect - pods->suspect));
}

void suspect_names(const struct pods *pods, char *out, size_t size)
{
    uint32_t left = PODS_AVOIDED;
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t i = pods->suspects; i-- > 0 && left > 0; left--) {
        const char *name = pods->suspect[i].name;

        if (used + strlen(name) + 2 > size)
            return;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " " : "", name);
    }
}

/* ---- what is shown ----------------------------------------------------------------------------
 */

/* The next name of a list of them; false: there is none. */
static bool next_name(const char **names, char name[NODE_NAME])
{
    size_t length = strcspn(*names, " ");

    snprintf(name, NODE_NAME, "%.*s", (int)(length < NODE_NAME ? length : 0), *names);
    *names += length + strspn(*names + length, " ");
    return length > 0;
}

/* Of an earlier process: what it suspected, we do, too, for as long. */
static void take_names(struct pods *pods, const char *names)
{
    char name[NODE_NAME];

    while (next_name(&names, name))
        suspect_node(pods, name, pods->now + pods->config.suspicion);
}

static bool are_suspects(struct pods *pods, const char *names)
{
    char name[NODE_NAME];
    bool all = true;

    while (all && next_name(&names, name))
        all = find(pods, name) != NULL;
    return all;
}

static bool waits(const struct life *life)
{
    return life->state == PODS_PENDING && !life->surplus;
}

/* One that was asked for after the suspicion, and was bound there all the same, may have no other
 * node: it stays. */
static bool is_stuck(const struct life *life, const struct suspect *suspect)
{
    return waits(life) && life->asked_at < suspect->since;
}

void suspect_shown(struct pods *pods, struct life *life, const struct pod_seen *seen, bool spoke)
{
    struct suspect *suspect;

    if (!life->avoids && life->asked_at == 0 && waits(life))
        take_names(pods, seen->avoids);
    life->avoids = seen->avoids[0] != '\0';
    if (!are_suspects(pods, seen->avoids))
        pods->relax = life->stale = true;
    if (life->node == NONE)
        return;
    if (spoke) {
        pods->site[life->node].spoke_at = pods->now;
        suspect_clear(pods, site_name(pods, life));
        return;
    }
    suspect = find(pods, site_name(pods, life));
    if (suspect != NULL && is_stuck(life, suspect))
        suspect->fresh = true;
}

/* ---- asking again -----------------------------------------------------------------------------
 */

static void move(struct pods *pods, struct life *life, bool forced)
{
    if (pods->suspended || pods->stopped)
        return;
    life->forced = forced;
    pods->moves_untold += life_replace(pods, life);
}

static void move_from(struct pods *pods, struct suspect *suspect)
{
    uint32_t s = site_find(pods, suspect->name);
    uint32_t next;

    suspect->fresh = false;
    for (uint32_t i = s != NONE ? pods->site[s].lives.head : NONE; i != NONE; i = next) {
        struct life *life = &pods->life[i];

        next = life->ring[CHAIN_NODE].next;
        if (is_stuck(life, suspect))
            move(pods, life, true);
    }
}

static void relax(struct pods *pods)
{
    uint32_t next;

    pods->relax = false;
    for (uint32_t i = pods->pending.head; i != NONE; i = next) {
        struct life *life = &pods->life[i];

        next = life->ring[CHAIN_PENDING].next;
        if (waits(life) && life->stale && life->node == NONE)
            move(pods, life, false);
    }
}

void suspect_turn(struct pods *pods)
{
    for (uint32_t i = pods->suspects; i-- > 0;)
        if (pods->suspect[i].until <= pods->now)
            drop(pods, i);
    for (uint32_t i = 0; i < pods->suspects; i++)
        if (pods->suspect[i].fresh)
            move_from(pods, &pods->suspect[i]);
    if (pods->relax)
        relax(pods);
}

uint64_t suspect_deadline(const struct pods *pods)
{
    uint64_t due = PODS_NONE;

    for (uint32_t i = 0; i < pods->suspects; i++)
        if (pods->suspect[i].until < due)
            due = pods->suspect[i].until;
    return due;
}
