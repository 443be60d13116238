/* The pods of a job counted, and what ended the one that was lost last; see inside.h.
 *
 * A pod whose deletion nobody confirms, since its node is gone, is there for good.  When its grace
 * is over, and half a minute more, it counts as ended here: whatever waits for it goes on. */
#include "k8s/operator/inside.h"

#include "common/clock.h"
#include "k8s/client/object.h"
#include "k8s/client/when.h"
#include "k8s/reconcile/pod_json.h"
#include "k8s/reconcile/sentence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNCONFIRMED (30 * RK_S)
#define MOST_PLACES 100000u

static const char *label_of(const json_t *pod, const char *label)
{
    const json_t *labels = json_object_get(json_object_get(pod, "metadata"), "labels");
    const char *text = json_string_value(json_object_get(labels, label));

    return text != NULL ? text : "";
}

bool tally_is_worker(const json_t *pod)
{
    return strcmp(label_of(pod, "training.kubeflow.org/job-role"), "worker") == 0;
}

bool tally_is_live(const json_t *pod, uint64_t wall, uint64_t *again)
{
    const json_t *metadata = json_object_get(pod, "metadata");
    const char *phase = json_string_value(json_object_get(json_object_get(pod, "status"), "phase"));
    const char *deleted = json_string_value(json_object_get(metadata, "deletionTimestamp"));
    uint64_t end;

    if (phase != NULL && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0))
        return false;
    if (deleted == NULL || !when_parse(deleted, &end))
        return true;
    end += UNCONFIRMED; /* deletionTimestamp is when the grace is over */
    if (wall >= end)
        return false;
    if (end < *again)
        *again = end;
    return true;
}

/* ---- counting -------------------------------------------------------------------------------- */

static void count(struct tally *tally, const struct pod_seen *seen, bool live)
{
    tally->active += seen->phase == SEEN_RUNNING && live;
    tally->succeeded += seen->phase == SEEN_SUCCEEDED;
    tally->failed += seen->phase == SEEN_FAILED;
    tally->live += live;
}

/* Two pods in one place are one worker, of which the coordinator keeps one. */
static bool is_first(bool *taken, const struct pod_seen *seen)
{
    if (taken == NULL || seen->place >= MOST_PLACES)
        return true;
    if (taken[seen->place])
        return false;
    taken[seen->place] = true;
    return true;
}

static bool is_steady(const struct pod_seen *seen)
{
    return seen->phase == SEEN_RUNNING && !seen->deleting;
}

/* ---- what was lost --------------------------------------------------------------------------- */

static void describe(struct making *making, const struct pod_seen *seen, char *out, size_t size)
{
    struct end end = {.cause = END_EXIT, .exit_code = -1, .signal = -1};

    if (seen->ended)
        sentence_exit(&end, seen);
    if (!seen->ended || strcmp(seen->reason, "Evicted") == 0) {
        end.cause = END_EVICTED;
        sentence_clean(end.reason, sizeof end.reason, seen->reason);
        sentence_clean(end.message, sizeof end.message, seen->message);
    }
    sentence_end(out, size, seen->name, seen->node, object_namespace(making->seen->mpijob), &end);
}

static void tell_loss(struct making *making, const struct pod_seen *seen, bool worker)
{
    char who[80] = "";
    char sentence[PLAN_NOTE - sizeof who];

    describe(making, seen, sentence, sizeof sentence);
    if (worker && seen->place != SEEN_NO_PLACE)
        sentence_worker(who, sizeof who, seen->place, making->job != NULL ? making->job->slots : 1);
    snprintf(making->loss, sizeof making->loss, "%s%s", who, sentence);
}

/* Of workers before the coordinator's: its own end is what follows from theirs. */
static bool is_later(const struct pod_seen *seen, bool worker, const struct pod_seen *than,
                     bool than_worker)
{
    if (than->name == NULL || worker != than_worker)
        return than->name == NULL || worker;
    if (seen->ended_s != than->ended_s)
        return seen->ended_s > than->ended_s;
    return strcmp(seen->name, than->name) > 0;
}

/* The pod that was lost last. */
struct last {
    struct pod_seen seen; /* without a name: none */
    bool worker;
};

static void take_pod(struct making *making, const json_t *pod, bool *taken, struct last *last)
{
    bool worker = tally_is_worker(pod);
    struct tally *tally = worker ? &making->worker : &making->launcher;
    uint64_t again = PLAN_NEVER;
    struct pod_seen seen;

    if (!pod_json_read(pod, &seen))
        return;
    count(tally, &seen, tally_is_live(pod, making->seen->wall, &again));
    making_again(making, again);
    tally->steady += is_steady(&seen) && (!worker || is_first(taken, &seen));
    if (seen.phase == SEEN_FAILED && !worker)
        sentence_clean(making->reason, sizeof making->reason, seen.reason);
    if (seen.phase == SEEN_FAILED && is_later(&seen, worker, &last->seen, last->worker)) {
        last->seen = seen;
        last->worker = worker;
    }
}

void tally_pods(struct making *making)
{
    struct last last = {.worker = false};
    bool *taken = calloc(MOST_PLACES, sizeof *taken);
    const char *name;
    json_t *pod;

    if (taken == NULL)
        making_fail(making, RK_ENOMEM);
    json_object_foreach((json_t *)(uintptr_t)making->seen->pods, name, pod)
        take_pod(making, pod, taken, &last);
    if (last.seen.name != NULL)
        tell_loss(making, &last.seen, last.worker);
    free(taken);
}
