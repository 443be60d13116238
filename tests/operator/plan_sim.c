/* One job in a small world: an API server with its watches, the Job controller, the garbage
 * collector, kubelets, a coordinator, a user who changes his mind, and an operator that is killed
 * between any two calls.  All is a function of the seed; each is played twice to the same digest.
 *
 *     plan_sim [--seed N] [--seeds COUNT] [--steps STEPS] [--verbose]
 *
 * What must hold: the coordinator's record outlives every Job as long as the MPIJob is there; no
 * worker is deleted under a coordinator that runs; and when the faults end, the objects are those
 * that a single operator makes in an empty world of the same MPIJob. */
#include "tests/operator/stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAST 12u   /* states of the world that a watch may still show */
#define QUIET 300u /* steps without a change, after which none comes */
#define NAMESPACE "n"

struct world {
    uint64_t random, digest, wall;
    json_t *objects; /* {"plural/name": object}; objects are not changed, but replaced */
    json_t *past[PAST];
    json_t *view;        /* of the operator, kind by kind */
    uint64_t seen_at[6]; /* how old each kind's view is */
    uint64_t serial, lives;
    bool calm, verbose, had_record;
    struct plan_options options;
    const char *failure;
    struct plan plan;
    json_t *planned; /* the MPIJob that the plan was made from */
    size_t next;     /* call of the plan */
};

static const char *const kinds[] = {"mpijobs", "jobs", "pods", "services", "configmaps", "secrets"};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* ---- chance ---------------------------------------------------------------------------------- */

static uint64_t draw(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

static bool chance(struct world *w, unsigned percent)
{
    return draw(w, 100) < percent;
}

static void fail(struct world *w, const char *what)
{
    if (w->failure == NULL)
        w->failure = what;
}

static void note(struct world *w, const char *what, const char *name)
{
    for (const char *c = what; *c != '\0'; c++)
        w->digest = (w->digest ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    for (const char *c = name; *c != '\0'; c++)
        w->digest = (w->digest ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    if (w->verbose)
        printf("%s %s\n", what, name);
}

/* ---- the API server -------------------------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *path)
{
    const char *text = json_string_value(stage_get(object, path));

    return text != NULL ? text : "";
}

static json_t *find(const struct world *w, const char *key)
{
    return json_object_get(w->objects, key);
}

static void put(struct world *w, const char *key, json_t *object)
{
    char version[24];

    snprintf(version, sizeof version, "%" PRIu64, ++w->serial);
    stage_set(object, "metadata.resourceVersion", json_string(version));
    json_object_set_new(w->objects, key, object);
}

static void create(struct world *w, const char *key, json_t *object)
{
    char uid[24];

    if (find(w, key) != NULL) {
        json_decref(object);
        return;
    }
    snprintf(uid, sizeof uid, "uid-%" PRIu64, ++w->serial);
    stage_set(object, "metadata.uid", json_string(uid));
    if (strncmp(key, "pods/", 5) == 0)
        stage_set(object, "status.phase", json_string("Pending"));
    note(w, "create", key);
    put(w, key, object);
}

/* Changes one field. */
static void change(struct world *w, const char *key, const char *path, json_t *value)
{
    json_t *copy = json_deep_copy(find(w, key));

    stage_set(copy, path, value);
    put(w, key, copy);
}

static void take_out(struct world *w, const char *key)
{
    note(w, "remove", key);
    json_object_del(w->objects, key);
}

static void stamp(const struct world *w, char text[32])
{
    snprintf(text, 32, "2027-01-15T%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "Z",
             8 + (w->wall - STAGE_WALL) / RK_S / 3600, (w->wall - STAGE_WALL) / RK_S / 60 % 60,
             (w->wall - STAGE_WALL) / RK_S % 60);
}

static void delete_object(struct world *w, const char *key)
{
    char now[32];

    if (find(w, key) == NULL)
        return;
    if (strncmp(key, "pods/", 5) != 0) {
        take_out(w, key);
        return;
    }
    stamp(w, now);
    if (stage_get(find(w, key), "metadata.deletionTimestamp") == NULL)
        change(w, key, "metadata.deletionTimestamp", json_string(now));
}

static bool has_uid(const struct world *w, const char *uid)
{
    const char *key;
    json_t *object;

    json_object_foreach(w->objects, key, object)
    {
        if (strcmp(text_at(object, "metadata.uid"), uid) == 0)
            return true;
    }
    return false;
}

/* One object whose owners are all gone goes, too. */
static bool collect_one(struct world *w)
{
    const char *key;
    json_t *object;

    json_object_foreach(w->objects, key, object)
    {
        const json_t *owners = stage_get(object, "metadata.ownerReferences");
        bool kept = json_array_size(owners) == 0;

        for (size_t i = 0; i < json_array_size(owners); i++)
            kept = kept || has_uid(w, text_at(json_array_get(owners, i), "uid"));
        if (kept)
            continue;
        take_out(w, key);
        return true;
    }
    return false;
}

/* ---- the rest of the cluster ----------------------------------------------------------------- */

static bool is_launcher(const char *key)
{
    return strncmp(key, "pods/j-launcher-", 16) == 0;
}

static bool is_phase(const json_t *pod, const char *phase)
{
    return strcmp(text_at(pod, "status.phase"), phase) == 0;
}

static bool is_live(const json_t *pod)
{
    return is_phase(pod, "Pending") || is_phase(pod, "Running");
}

/* A coordinator that runs; NULL. */
static const char *leading(const struct world *w)
{
    const char *key;
    json_t *pod;

    json_object_foreach(w->objects, key, pod)
    {
        if (is_launcher(key) && is_phase(pod, "Running"))
            return key;
    }
    return NULL;
}

static json_t *new_pod(struct world *w, const char *name, const char *role, int place)
{
    json_t *pod =
        json_pack("{s:s,s:{s:s,s:s,s:{s:s,s:s},s:[{s:s,s:s,s:s,s:s}]},s:{}}", "kind", "Pod",
                  "metadata", "name", name, "namespace", NAMESPACE, "labels", "reknit.dev/job", "j",
                  "training.kubeflow.org/job-role", role, "ownerReferences", "apiVersion",
                  "batch/v1", "kind", "Job", "name", "j-launcher", "uid",
                  text_at(find(w, "jobs/j-launcher"), "metadata.uid"), "status");
    char text[16];

    snprintf(text, sizeof text, "%d", place);
    if (place >= 0)
        stage_set(pod, "metadata.annotations", json_pack("{s:s}", "reknit.dev/place", text));
    return pod;
}

static void make_pod(struct world *w, const char *role, int place)
{
    char name[48];
    char key[64];

    if (place < 0)
        snprintf(name, sizeof name, "j-launcher-%" PRIu64, ++w->lives);
    else
        snprintf(name, sizeof name, "j-worker-%d-%" PRIu64, place, ++w->lives);
    snprintf(key, sizeof key, "pods/%s", name);
    create(w, key, new_pod(w, name, role, place));
}

static bool job_has_ended(const json_t *job)
{
    return json_array_size(stage_get(job, "status.conditions")) > 0;
}

static void end_job(struct world *w, const char *type)
{
    char now[32];

    stamp(w, now);
    change(w, "jobs/j-launcher", "status",
           json_pack("{s:s,s:[{s:s,s:s,s:s}]}", "completionTime", now, "conditions", "type", type,
                     "status", "True", "reason", "BackoffLimitExceeded"));
}

/* The Job controller: one pod while it is not suspended, the end when that has ended. */
static void run_jobs(struct world *w)
{
    const json_t *job = find(w, "jobs/j-launcher");
    bool suspended = json_is_true(stage_get(job, "spec.suspend"));
    const char *uid = text_at(job, "metadata.uid");
    const char *live = NULL;
    const char *key;
    json_t *pod;

    if (job == NULL || job_has_ended(job))
        return;
    json_object_foreach(w->objects, key, pod)
    {
        const json_t *owner = json_array_get(stage_get(pod, "metadata.ownerReferences"), 0);

        if (!is_launcher(key) || strcmp(text_at(owner, "uid"), uid) != 0)
            continue;
        if (is_phase(pod, "Succeeded") || is_phase(pod, "Failed")) {
            end_job(w, is_phase(pod, "Failed") ? "Failed" : "Complete");
            return;
        }
        live = key;
    }
    if (live == NULL && !suspended)
        make_pod(w, "launcher", -1);
    else if (live != NULL && suspended)
        delete_object(w, live);
}

/* A pod that is chosen by chance moves on. */
static void run_kubelet(struct world *w, const char *key, const json_t *pod)
{
    if (stage_get(pod, "metadata.deletionTimestamp") != NULL)
        take_out(w, key);
    else if (is_phase(pod, "Pending"))
        change(w, key, "status.phase", json_string("Running"));
    else if (!w->calm && !is_launcher(key) && chance(w, 10))
        change(w, key, "status.phase", json_string("Failed"));
}

static const char *some_pod(struct world *w)
{
    size_t count = json_object_size(w->objects);
    size_t at = draw(w, count + 1);
    const char *key;
    json_t *object;

    json_object_foreach(w->objects, key, object)
    {
        if (at-- == 0)
            return strncmp(key, "pods/", 5) == 0 ? key : NULL;
    }
    return NULL;
}

static bool has_worker(const struct world *w, int place)
{
    char prefix[32];
    const char *key;
    json_t *pod;

    snprintf(prefix, sizeof prefix, "pods/j-worker-%d", place);
    json_object_foreach(w->objects, key, pod)
    {
        if (strncmp(key, prefix, strlen(prefix)) == 0 && is_live(pod))
            return true;
    }
    return false;
}

static void make_record(struct world *w)
{
    const char *uid = text_at(find(w, "jobs/j-launcher"), "metadata.uid");

    w->had_record = true;
    if (find(w, "configmaps/j-record") == NULL)
        create(w, "configmaps/j-record",
               json_pack("{s:{s:s,s:s,s:{s:s},s:[{s:s,s:s}]}}", "metadata", "name", "j-record",
                         "namespace", NAMESPACE, "labels", "reknit.dev/job", "j", "ownerReferences",
                         "kind", "Job", "uid", uid));
}

static void delete_workers(struct world *w)
{
    const char *key;
    void *next;
    json_t *pod;

    json_object_foreach_safe(w->objects, next, key, pod)
    {
        if (strncmp(key, "pods/j-worker-", 14) == 0)
            delete_object(w, key);
    }
}

/* The coordinator: its record first, then a pod in each place; suspended, it sees them off. */
static void run_coordinator(struct world *w)
{
    const char *key = leading(w);
    json_int_t workers =
        json_integer_value(stage_get(find(w, "mpijobs/j"), "spec.mpiReplicaSpecs.Worker.replicas"));

    if (key == NULL || find(w, "jobs/j-launcher") == NULL)
        return;
    if (stage_get(find(w, key), "metadata.deletionTimestamp") != NULL) {
        if (chance(w, 50))
            delete_workers(w);
        return;
    }
    make_record(w);
    for (int place = 0; place < (int)workers; place++)
        if (!has_worker(w, place) && chance(w, 70))
            make_pod(w, "worker", place);
}

/* ---- the user -------------------------------------------------------------------------------- */

static void edit_image(struct world *w)
{
    static const char path[] = "spec.mpiReplicaSpecs.Launcher.template.spec.nodeSelector";
    char pool[24];

    snprintf(pool, sizeof pool, "p%" PRIu64, draw(w, 3));
    change(w, "mpijobs/j", path, json_pack("{s:s}", "pool", pool));
}

static void meddle(struct world *w)
{
    const char *key;

    if (find(w, "mpijobs/j") == NULL)
        return;
    switch (draw(w, 12)) {
    case 0:
    case 1:
        change(w, "mpijobs/j", "spec.runPolicy.suspend", json_true());
        break;
    case 2:
    case 3:
    case 4:
        change(w, "mpijobs/j", "spec.runPolicy.suspend", json_false());
        break;
    case 5:
    case 6:
        edit_image(w);
        break;
    case 7:
        change(w, "mpijobs/j", "spec.mpiReplicaSpecs.Worker.replicas",
               json_integer(1 + (json_int_t)draw(w, 3)));
        break;
    case 8:
        delete_object(w, chance(w, 50) ? "services/j" : "configmaps/j-config");
        break;
    default:
        key = some_pod(w);
        if (key != NULL && !is_launcher(key))
            delete_object(w, key);
        break;
    }
}

/* ---- the operator ---------------------------------------------------------------------------- */

/* Takes over what one kind is in a state of the world. */
static void show(struct world *w, size_t kind, const json_t *state)
{
    size_t length = strlen(kinds[kind]);
    void *next;
    const char *key;
    json_t *object;

    json_object_foreach_safe(w->view, next, key, object)
    {
        if (strncmp(key, kinds[kind], length) == 0 && key[length] == '/')
            json_object_del(w->view, key);
    }
    json_object_foreach((json_t *)(uintptr_t)state, key, object)
    {
        if (strncmp(key, kinds[kind], length) == 0 && key[length] == '/')
            json_object_set(w->view, key, object);
    }
}

/* Each kind's watch shows some state of the past, never one that is older than the last. */
static void catch_up(struct world *w)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        uint64_t age = w->calm ? 0 : draw(w, PAST);

        if (age > w->seen_at[kind] || w->past[age] == NULL)
            continue;
        w->seen_at[kind] = age;
        show(w, kind, w->past[age]);
    }
}

static void remember(struct world *w)
{
    json_decref(w->past[PAST - 1]);
    memmove(w->past + 1, w->past, (PAST - 1) * sizeof w->past[0]);
    w->past[0] = json_copy(w->objects);
    for (size_t kind = 0; kind < KINDS; kind++)
        w->seen_at[kind] += w->seen_at[kind] < PAST - 1;
}

static void look(struct world *w)
{
    struct plan_seen seen = {
        .mpijob = json_object_get(w->view, "mpijobs/j"),
        .job = json_object_get(w->view, "jobs/j-launcher"),
        .service = json_object_get(w->view, "services/j"),
        .config = json_object_get(w->view, "configmaps/j-config"),
        .record = json_object_get(w->view, "configmaps/j-record"),
        .wall = w->wall,
    };
    json_t *pods = json_object();
    struct rk_why why = {""};
    const char *key;
    json_t *object;

    json_object_foreach(w->view, key, object)
    {
        if (strncmp(key, "pods/", 5) == 0)
            json_object_set(pods, key + 5, object);
    }
    seen.pods = pods;
    plan_done(&w->plan);
    w->next = 0;
    json_decref(w->planned);
    w->planned = json_incref((json_t *)(uintptr_t)seen.mpijob);
    if (seen.mpijob != NULL && plan_make(&w->options, &seen, &w->plan, &why) != 0)
        fail(w, "a plan could not be made");
    json_decref(pods);
}

static void take_patch(struct world *w, const struct plan_call *call, const char *key)
{
    json_t *copy;

    if (strcmp(text_at(find(w, key), "metadata.resourceVersion"),
               text_at(call->body, "metadata.resourceVersion")) != 0)
        return;
    note(w, "patch", key);
    copy = json_deep_copy(find(w, key));
    stage_merge(copy, call->body);
    put(w, key, copy);
}

static void take_delete(struct world *w, const struct plan_call *call, const char *key)
{
    const json_t *job = find(w, "jobs/j-launcher");

    if (strcmp(text_at(find(w, key), "metadata.uid"), call->uid) != 0)
        return;
    if (strncmp(key, "pods/j-worker-", 14) == 0 && leading(w) != NULL &&
        stage_get(find(w, leading(w)), "metadata.deletionTimestamp") == NULL &&
        !json_is_true(stage_get(job, "spec.suspend")))
        fail(w, "a worker is deleted under a coordinator that runs");
    delete_object(w, key);
}

/* The server does it, or is told too late; whether the operator hears of it is another thing. */
static void take_call(struct world *w, const struct plan_call *call)
{
    char key[400];

    snprintf(key, sizeof key, "%s/%s", call->plural, call->name);
    switch (call->kind) {
    case PLAN_CREATE:
        create(w, key, json_deep_copy(call->body));
        break;
    case PLAN_SECRET:
        create(w, key,
               json_pack("{s:{s:s,s:[{s:s}]}}", "metadata", "name", call->name, "ownerReferences",
                         "uid", call->uid));
        break;
    case PLAN_PATCH:
        take_patch(w, call, key);
        break;
    case PLAN_DELETE:
        take_delete(w, call, key);
        break;
    default:
        if (find(w, key) != NULL && strcmp(text_at(find(w, key), "metadata.resourceVersion"),
                                           text_at(w->planned, "metadata.resourceVersion")) == 0)
            change(w, key, "status", json_deep_copy(call->body));
        break;
    }
}

static void run_operator(struct world *w)
{
    if (w->next < w->plan.count) {
        const struct plan_call *call = &w->plan.call[w->next++];

        if (w->calm || !chance(w, 15))
            take_call(w, call);
        if (!w->calm && chance(w, 10))
            w->next = w->plan.count; /* killed; the next one looks anew */
        return;
    }
    catch_up(w);
    look(w);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void step(struct world *w)
{
    const char *key;

    w->wall += draw(w, RK_S);
    switch (draw(w, 8)) {
    case 0:
        run_jobs(w);
        break;
    case 1:
        run_coordinator(w);
        break;
    case 2:
    case 3:
        key = some_pod(w);
        if (key != NULL)
            run_kubelet(w, key, find(w, key));
        break;
    case 4:
        if (!w->calm && chance(w, 30))
            meddle(w);
        break;
    case 5:
        collect_one(w);
        break;
    default:
        run_operator(w);
        break;
    }
    remember(w);
    if (w->had_record && find(w, "mpijobs/j") != NULL && find(w, "configmaps/j-record") == NULL)
        fail(w, "the coordinator's record is gone");
}

/* What the world has of a kind's one object, without what the server made of it. */
static json_t *bare(const struct world *w, const char *key)
{
    json_t *copy = json_deep_copy(find(w, key));

    json_object_del(json_object_get(copy, "metadata"), "uid");
    json_object_del(json_object_get(copy, "metadata"), "resourceVersion");
    json_object_del(json_object_get(copy, "metadata"), "ownerReferences");
    json_object_del(copy, "status");
    json_object_del(json_object_get(copy, "data"), "hostfile"); /* the coordinator's */
    if (json_is_false(stage_get(copy, "spec.suspend")))
        json_object_del(json_object_get(copy, "spec"), "suspend");
    return copy;
}

static bool is_condition(const struct world *w, const char *type)
{
    const json_t *all = stage_get(find(w, "mpijobs/j"), "status.conditions");

    for (size_t i = 0; i < json_array_size(all); i++)
        if (strcmp(text_at(json_array_get(all, i), "type"), type) == 0)
            return strcmp(text_at(json_array_get(all, i), "status"), "True") == 0;
    return false;
}

static json_int_t active(const struct world *w)
{
    const json_t *status = stage_get(find(w, "mpijobs/j"), "status.replicaStatuses");

    return json_integer_value(stage_get(status, "Launcher.active")) +
           json_integer_value(stage_get(status, "Worker.active"));
}

static size_t live_pods(const struct world *w)
{
    const char *key;
    json_t *object;
    size_t count = 0;

    json_object_foreach(w->objects, key, object) count +=
        strncmp(key, "pods/", 5) == 0 && is_live(object);
    return count;
}

static void open_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1,
                        .digest = UINT64_C(0xcbf29ce484222325),
                        .wall = STAGE_WALL,
                        .options = {.gang = RENDER_GANG_NONE},
                        .objects = json_object(),
                        .view = json_object()};
    create(w, "mpijobs/j", stage_mpijob("j", 2));
}

static void close_world(struct world *w)
{
    plan_done(&w->plan);
    json_decref(w->planned);
    json_decref(w->objects);
    json_decref(w->view);
    for (size_t i = 0; i < PAST; i++)
        json_decref(w->past[i]);
}

static void settle(struct world *w)
{
    w->calm = true;
    w->next = w->plan.count;
    for (unsigned quiet = 0; quiet < QUIET && w->failure == NULL; quiet++) {
        uint64_t serial = w->serial;
        size_t count = json_object_size(w->objects);

        step(w);
        if (serial != w->serial || count != json_object_size(w->objects))
            quiet = 0;
    }
}

static void expect_same(struct world *w, const struct world *other, const char *key)
{
    json_t *one = bare(w, key);
    json_t *two = bare(other, key);

    if (find(w, key) == NULL || find(other, key) == NULL || !json_equal(one, two))
        fail(w, "the objects are not those of an undisturbed operator");
    json_decref(one);
    json_decref(two);
}

/* The same MPIJob, met by an operator that nothing disturbs. */
static void compare(struct world *w)
{
    struct world calm;

    open_world(&calm, 1);
    change(&calm, "mpijobs/j", "spec", json_deep_copy(stage_get(find(w, "mpijobs/j"), "spec")));
    settle(&calm);
    expect_same(w, &calm, "jobs/j-launcher");
    expect_same(w, &calm, "services/j");
    expect_same(w, &calm, "configmaps/j-config");
    expect_same(w, &calm, "secrets/j-reknit");
    close_world(&calm);
}

static void judge_goes_on(struct world *w)
{
    bool suspended = json_is_true(stage_get(find(w, "mpijobs/j"), "spec.runPolicy.suspend"));

    if (suspended && (live_pods(w) > 0 || active(w) > 0 || !is_condition(w, "Suspended")))
        fail(w, "it is suspended and not at rest");
    if (!suspended && (!is_condition(w, "Running") || is_condition(w, "Suspended")))
        fail(w, "it is not suspended and does not run");
}

/* Edits of a job that runs are not followed, so it is suspended and resumed for the comparison. */
static void judge(struct world *w)
{
    settle(w);
    judge_goes_on(w);
    change(w, "mpijobs/j", "spec.runPolicy.suspend", json_true());
    settle(w);
    judge_goes_on(w);
    change(w, "mpijobs/j", "spec.runPolicy.suspend", json_false());
    settle(w);
    judge_goes_on(w);
    compare(w);
}

static void judge_end(struct world *w)
{
    const char *key = leading(w);

    if (key == NULL) {
        fail(w, "no coordinator runs");
        return;
    }
    change(w, key, "status.phase", json_string(chance(w, 50) ? "Succeeded" : "Failed"));
    change(w, "mpijobs/j", "spec.runPolicy.cleanPodPolicy", json_string("Running"));
    settle(w);
    if (!is_condition(w, "Succeeded") && !is_condition(w, "Failed"))
        fail(w, "the end is not told");
    if (live_pods(w) > 0)
        fail(w, "a pod runs after the end");
    change(w, "mpijobs/j", "spec.runPolicy.ttlSecondsAfterFinished", json_integer(1));
    settle(w);
    if (json_object_size(w->objects) != 0)
        fail(w, "something is left");
}

static uint64_t play(uint64_t seed, unsigned steps, bool verbose, const char **failure)
{
    struct world w;
    uint64_t digest;

    open_world(&w, seed);
    w.verbose = verbose;
    for (unsigned i = 0; i < steps && w.failure == NULL; i++)
        step(&w);
    if (w.failure == NULL)
        judge(&w);
    if (w.failure == NULL)
        judge_end(&w);
    digest = w.digest;
    *failure = w.failure;
    close_world(&w);
    return digest;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t seeds = 1;
    unsigned steps = 600;
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0)
            steps = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            return 64;
    }
    for (uint64_t i = seed; i < seed + seeds; i++) {
        const char *failure;
        const char *again;
        uint64_t digest = play(i, steps, verbose, &failure);

        if (failure == NULL && play(i, steps, false, &again) != digest)
            failure = "the same seed played otherwise";
        if (failure != NULL) {
            printf("%s: plan_sim --seed %" PRIu64 " --steps %u --verbose\n", failure, i, steps);
            return 1;
        }
    }
    printf("%" PRIu64 " seeds from %" PRIu64 " on\n", seeds, seed);
    return 0;
}
