/* What must be true once the faults have ceased, and once the job is over; see world.h. */
#include "tests/reconcile/world.h"

#include <stddef.h>

#define KEPT 10u

static void judge_place(struct world *w, uint32_t place, const uint32_t *living)
{
    const struct seat *seat = &w->seat[place];
    const struct object *object;

    if (place >= w->target) {
        if (living[place] != 0)
            world_fail(w, "a pod lives at a place that is not wanted");
        return;
    }
    if (living[place] != 1) {
        world_fail(w, living[place] ? "two pods live at one place" : "a place has no pod");
        return;
    }
    if (!seat->linked || seat->dialled == NONE) {
        world_fail(w, "the coordinator does not reach a pod");
        return;
    }
    object = &w->object[seat->dialled];
    if (!pod_lives(w, object->id) || object->ticket != seat->ticket || object->deleting)
        world_fail(w, "the coordinator is linked to another pod than the one it wants");
    if (w->o.restarts && (object->n != 0 || object->ticket != 1 + place))
        world_fail(w, "restarts left other objects than none would have");
}

void judge_settled(struct world *w)
{
    static uint32_t living[65536];
    uint32_t ended = 0;

    for (uint32_t place = 0; place < w->o.pods; place++)
        living[place] = 0;
    for (uint32_t id = 1; id < w->objects; id++) {
        const struct object *object = &w->object[id];

        if (!object->exists || object->foreign)
            continue;
        if (object->stage == STAGE_ENDED)
            ended++;
        else
            living[object->place]++;
    }
    if (ended > KEPT)
        world_fail(w, "more ended pods are left than are kept");
    for (uint32_t place = 0; place < w->o.pods; place++)
        judge_place(w, place, living);
    if (w->o.faults == 0 && w->gone + w->failed > 0)
        world_fail(w, "a launch failed without a fault");
    if (w->pods != NULL && !pods_idle(w->pods))
        world_fail(w, "the reconciler does not come to rest");
}

/* What has ended and was deleted is its kubelet's to put away, and may still be shown. */
void judge_stopped(struct world *w)
{
    for (uint32_t id = 1; id < w->objects; id++) {
        const struct object *object = &w->object[id];

        if (!object->exists || object->foreign ||
            (object->deleting && object->stage == STAGE_ENDED))
            continue;
        if (w->policy == PODS_CLEAN_ALL)
            world_fail(w, "a pod is left after the end of a job that cleans all");
        else if (w->policy == PODS_CLEAN_RUNNING && object->stage != STAGE_ENDED)
            world_fail(w, "a pod lives after the end of a job that cleans what runs");
    }
}
