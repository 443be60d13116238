/* A job's objects; see submit.h.
 *
 * The Job comes first, since it owns all else; what a submit that broke off has left out is made by
 * the next one.  Its pod waits for what it mounts, so nothing starts from half of a job.  Nothing
 * that is there is changed, but for objects that were applied by hand and have no owner yet, and
 * the number of workers. */
#include "launch/submit/submit.h"

#include "common/secret.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/render/names.h"
#include "launch/pods/objects.h"
#include "launch/submit/owned.h"
#include "launch/submit/same.h"

#include <stdio.h>
#include <string.h>

#define SERVED_WITHIN (15 * RK_S)
#define LOOK_AGAIN (500 * RK_MS)
#define ANY_ENDPOINT "tcp://0.0.0.0:1" /* the coordinator puts in where it is */

/* ---- objects of other kinds ----------------------------------------------------------------- */

/* A kind that the file itself has just defined is not served at once. */
static int find_kind(struct submit *submit, const char *version, const char *kind,
                     struct kind *found, struct rk_why *why)
{
    uint64_t end = submit->now + SERVED_WITHIN;
    int rc = kind_find(submit, version, kind, found, why);

    while (rc == RK_ENOENT && submit->defines && !submit->given.dry_run && submit->now < end) {
        rc = submit_pause(submit, LOOK_AGAIN, why);
        if (rc == 0)
            rc = kind_find(submit, version, kind, found, why);
    }
    return rc;
}

int apply_other(struct submit *submit, const json_t *object, const char *namespace,
                struct rk_why *why)
{
    const char *version = json_string_value(json_object_get(object, "apiVersion"));
    char done[32];
    struct kind kind;
    int rc;

    if (version == NULL || *object_kind(object) == '\0' || *object_name(object) == '\0')
        return rk_fail(why, RK_EDATA,
                       "an object of kind '%.60s' needs apiVersion, kind and metadata.name",
                       object_kind(object));
    rc = find_kind(submit, version, object_kind(object), &kind, why);
    if (rc == 0)
        rc = owned_apply(submit, object, kind.plural, kind.namespaced ? namespace : NULL, why);
    snprintf(done, sizeof done, "%sapplied", owned_would(submit));
    if (rc == 0)
        owned_say(submit, SCREEN_PLAIN, "applied", object, done);
    return rc;
}

/* ---- the rest of the job -------------------------------------------------------------------- */

/* Random, so never read back: one that is there stays. */
static int make_secret(struct applying *applying, struct rk_why *why)
{
    struct secret secret;
    json_t *object;
    int rc = secret_make(&secret, ANY_ENDPOINT, why);

    if (rc != 0)
        return rc;
    object = objects_secret(applying->job, applying->namespace, applying->owner, &secret);
    explicit_bzero(&secret, sizeof secret);
    rc = object != NULL ? owned_make(applying, object, "secrets", why)
                        : rk_fail(why, RK_ENOMEM, "no memory for the job's Secret");
    json_decref(object);
    return rc;
}

static const char *plural_of(const json_t *object)
{
    static const char *const plurals[][2] = {{"Service", "services"},
                                             {"ConfigMap", "configmaps"},
                                             {"PodGroup", "podgroups"},
                                             {"Pod", "pods"}};

    for (size_t i = 0; i < sizeof plurals / sizeof plurals[0]; i++)
        if (strcmp(plurals[i][0], object_kind(object)) == 0)
            return plurals[i][1];
    return "";
}

static bool has_group(const json_t *objects)
{
    size_t at;
    json_t *object;

    json_array_foreach(objects, at, object)
    {
        if (strcmp(object_kind(object), "PodGroup") == 0)
            return true;
    }
    return false;
}

/* Whether a coordinator has begun: then worker pods are its own to make, and one that is missing
 * was lost. */
static int has_begun(struct applying *applying, bool *begun, struct rk_why *why)
{
    char name[SUBMIT_NAME];
    struct answer answer;
    int rc;

    snprintf(name, sizeof name, "%s-record", applying->job->name);
    rc = submit_call(applying->submit, VERB_GET,
                     api_path("v1", applying->namespace, "configmaps", name, NULL), NULL, NULL,
                     &answer);
    *begun = rc == 0 && object_is_owned_by(answer.body, applying->owner);
    if (rc == RK_ENOENT)
        rc = 0;
    if (rc != 0)
        rk_fail(why, rc, "ConfigMap %.200s: %.250s", name, answer.why.text);
    answer_done(&answer);
    return rc;
}

/* A gang scheduler starts the coordinator only together with its workers; without one they are the
 * coordinator's to make. */
static int make_rest(struct applying *applying, struct rk_why *why)
{
    bool pods = has_group(applying->objects);
    int rc = make_secret(applying, why);
    size_t at;
    json_t *object;

    if (rc == 0 && pods && !applying->submit->given.dry_run) {
        bool begun = false;

        rc = has_begun(applying, &begun, why);
        pods = !begun;
    }
    json_array_foreach(applying->objects, at, object)
    {
        const char *kind = object_kind(object);

        if (rc != 0 || strcmp(kind, "Job") == 0 || (strcmp(kind, "Pod") == 0 && !pods))
            continue;
        rc = owned_make(applying, object, plural_of(object), why);
    }
    return rc;
}

/* ---- the Job -------------------------------------------------------------------------------- */

static int render(struct applying *applying, struct rk_why *why)
{
    const struct render_options options = {
        .namespace = applying->namespace,
        .image = applying->submit->given.image,
        .gang = applying->submit->given.gang,
        .job_uid = applying->owner[0] != '\0' ? applying->owner : NULL,
    };
    json_t *objects = NULL;
    int rc = render_job(applying->job, &options, &objects, why);

    if (rc != 0)
        return rc;
    json_decref(applying->objects);
    applying->objects = objects;
    return 0;
}

static const json_t *rendered(const struct applying *applying, const char *kind)
{
    size_t at;
    json_t *object;

    json_array_foreach(applying->objects, at, object)
    {
        if (strcmp(object_kind(object), kind) == 0)
            return object;
    }
    return NULL;
}

static json_t *worker_of(const json_t *manifest)
{
    const json_t *spec = json_object_get(manifest, "spec");

    return json_object_get(json_object_get(spec, "mpiReplicaSpecs"), "Worker");
}

/* The manifest that a ConfigMap brings to its coordinator; the caller drops it. */
static json_t *manifest_in(const json_t *map)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(map, "data"), "mpijob.json"));

    return text != NULL ? json_loads(text, 0, NULL) : NULL;
}

/* The same manifest but for its number of workers. */
static bool is_resized(const json_t *there, const json_t *here)
{
    json_t *copy = json_deep_copy(here);
    char text[16];
    const json_t *then = worker_of(there);
    json_t *now = worker_of(copy);
    bool same = json_object_get(then, "replicas") != NULL &&
                json_object_get(now, "replicas") != NULL &&
                json_object_set(now, "replicas", json_object_get(then, "replicas")) == 0 &&
                same_differences(there, copy, text, sizeof text) == 0;

    json_decref(copy);
    return same;
}

/* The whole manifest is in the ConfigMap.  As long as there is none, no coordinator has started,
 * and the Job itself is what can differ. */
static int compare(struct applying *applying, const json_t *job, char *text, size_t size,
                   size_t *differences, struct rk_why *why)
{
    const json_t *map = rendered(applying, "ConfigMap");
    struct answer answer;
    int rc = owned_get(applying->submit, map, "configmaps", applying->namespace, &answer);
    json_t *there = rc == 0 && object_is_owned_by(answer.body, object_uid(job))
                        ? manifest_in(answer.body)
                        : NULL;
    json_t *here = manifest_in(map);

    if (there != NULL)
        *differences = same_differences(there, here, text, size);
    else
        *differences =
            same_filled_in(json_object_get(job, "spec"),
                           json_object_get(rendered(applying, "Job"), "spec"), text, size);
    if (rc != 0 && rc != RK_ENOENT)
        rk_fail(why, rc, "ConfigMap %.200s: %.250s", object_name(map), answer.why.text);
    applying->resized = there != NULL && *differences > 0 && is_resized(there, here);
    json_decref(here);
    json_decref(there);
    answer_done(&answer);
    return rc == RK_ENOENT ? 0 : rc;
}

static bool is_over(const json_t *job)
{
    const json_t *status = json_object_get(job, "status");
    size_t at;
    json_t *condition;

    json_array_foreach(json_object_get(status, "conditions"), at, condition)
    {
        const char *type = json_string_value(json_object_get(condition, "type"));
        const char *value = json_string_value(json_object_get(condition, "status"));

        if (type != NULL && value != NULL && strcmp(value, "True") == 0 &&
            (strcmp(type, "Complete") == 0 || strcmp(type, "Failed") == 0))
            return true;
    }
    return false;
}

/* The coordinator of a job that runs follows the annotation of its Job; one that starts later reads
 * the manifest, which so is first. */
static int resize(struct applying *applying, struct rk_why *why)
{
    const json_t *map = rendered(applying, "ConfigMap");
    const json_t *job = rendered(applying, "Job");
    const json_t *metadata = json_object_get(job, "metadata");
    json_t *text = json_pack("{s:{s:O}}", "data", "mpijob.json",
                             json_object_get(json_object_get(map, "data"), "mpijob.json"));
    json_t *size =
        json_pack("{s:{s:{s:O}}}", "metadata", "annotations", ANNOTATION_WORKERS,
                  json_object_get(json_object_get(metadata, "annotations"), ANNOTATION_WORKERS));
    int rc = owned_patch(applying, map, "configmaps", text, why);

    if (rc == 0)
        rc = owned_patch(applying, job, "jobs", size, why);
    json_decref(text);
    json_decref(size);
    return rc;
}

static int check_same(struct applying *applying, const json_t *job, struct rk_why *why)
{
    const char *name = applying->job->name;
    size_t differences = 0;
    char text[300];
    int rc;

    if (*owned_by_kind(job, MPIJOB_KIND) != '\0')
        return rk_fail(why, RK_EEXIST,
                       "the Job %s-launcher is the MPIJob %s's, which an operator runs: change or "
                       "delete that one, or give this job another name",
                       name, owned_by_kind(job, MPIJOB_KIND));
    if (!owned_is_of_job(job, applying->job))
        return rk_fail(why, RK_EEXIST,
                       "a Job %s-launcher is there that reknit has not made: delete it, or give "
                       "this job another name",
                       name);
    rc = compare(applying, job, text, sizeof text, &differences, why);
    if (rc != 0 || differences == 0)
        return rc;
    if (applying->resized && !is_over(job))
        return resize(applying, why);
    return rk_fail(why, RK_EEXIST,
                   "another job %.60s is there: %s.  Delete it (kubectl delete job %.60s-launcher "
                   "-n %.63s), or give this one another name",
                   name, text, name, applying->namespace);
}

static int take_job(struct applying *applying, const json_t *job, struct rk_why *why)
{
    int rc;

    if (owned_is_leaving(job)) {
        rc = owned_wait(applying, job, why);
        return rc == 0 ? OWNED_AGAIN : rc;
    }
    rc = check_same(applying, job, why);
    if (rc != 0)
        return rc;
    snprintf(applying->owner, sizeof applying->owner, "%s", object_uid(job));
    applying->kept++;
    return 0;
}

static int make_job(struct applying *applying, const json_t *object, struct rk_why *why)
{
    struct submit *submit = applying->submit;
    struct answer answer;
    char done[32];
    bool gang = has_group(applying->objects);
    int rc = applying->account
                 ? rights_check_account(submit, applying->job, applying->namespace, gang, why)
                 : 0;

    applying->account = false;
    if (rc != 0)
        return rc;
    rc = submit_call(submit, VERB_POST,
                     owned_path(submit, object, "jobs", applying->namespace, NULL), NULL, object,
                     &answer);
    snprintf(done, sizeof done, "%screated", owned_would(submit));
    if (rc == 0) {
        applying->made++;
        snprintf(applying->owner, sizeof applying->owner, "%s", object_uid(answer.body));
        owned_say(submit, SCREEN_PLAIN, "created", object, done);
    } else if (rc == RK_EEXIST) {
        rc = OWNED_AGAIN; /* made since we looked, or by a request whose answer was lost */
    } else {
        rk_fail(why, rc, "Job %.200s: %.250s", object_name(object), answer.why.text);
    }
    answer_done(&answer);
    return rc;
}

/* Looks, and makes it where it is missing; OWNED_AGAIN: look again. */
static int look_and_make(struct applying *applying, bool *over, struct rk_why *why)
{
    const json_t *object = rendered(applying, "Job");
    struct answer answer;
    int rc = owned_get(applying->submit, object, "jobs", applying->namespace, &answer);

    if (rc == 0) {
        *over = is_over(answer.body);
        rc = take_job(applying, answer.body, why);
    } else if (rc == RK_ENOENT) {
        rc = make_job(applying, object, why);
    } else {
        rk_fail(why, rc, "Job %.200s: %.250s", object_name(object), answer.why.text);
    }
    answer_done(&answer);
    return rc;
}

static void say_result(struct applying *applying, bool over)
{
    const char *name = applying->job->name;
    struct submit *submit = applying->submit;

    if (over)
        submit_say(submit, SCREEN_PLAIN, "submitted_before", json_pack("{s:s}", "job", name),
                   "job %s was submitted before, and is over; to run it again: kubectl delete job "
                   "%s-launcher -n %s",
                   name, name, applying->namespace);
    else if (applying->made == 0 && !applying->resized)
        submit_say(submit, SCREEN_PLAIN, "submitted_before", json_pack("{s:s}", "job", name),
                   "job %s was submitted before, and is as this file has it", name);
    else if (applying->resized)
        submit_say(
            submit, SCREEN_GOOD, "resized",
            json_pack("{s:s,s:i}", "job", name, "workers", (int)applying->job->worker.replicas),
            "job %s %sasked to go on with %u workers", name,
            owned_would(submit)[0] != '\0' ? "would be " : "is ", applying->job->worker.replicas);
    else if (!submit->given.dry_run)
        submit_say(
            submit, SCREEN_GOOD, "submitted",
            json_pack("{s:s,s:s}", "job", name, "namespace", applying->namespace),
            "job %s is %s in namespace %s; its output: kubectl logs -f -n %s job/%s-launcher", name,
            applying->kept > 0 ? "complete now" : "submitted", applying->namespace,
            applying->namespace, name);
}

int apply_job(struct submit *submit, const struct mpijob *job, const char *namespace, bool account,
              struct rk_why *why)
{
    struct applying applying = {
        .submit = submit, .job = job, .namespace = namespace, .account = account};
    bool over = false;
    int rc = render(&applying, why);

    if (rc == 0)
        rc = look_and_make(&applying, &over, why);
    while (rc == OWNED_AGAIN)
        rc = look_and_make(&applying, &over, why);
    if (rc == 0)
        rc = render(&applying, why); /* owned by the Job now */
    if (rc == 0 && !over)
        rc = make_rest(&applying, why);
    if (rc == 0)
        say_result(&applying, over);
    json_decref(applying.objects);
    return rc == 0 && over ? APPLY_OVER : rc;
}

int apply_is_gang(struct submit *submit, const struct mpijob *job, const char *namespace,
                  bool *gang, struct rk_why *why)
{
    struct applying applying = {.submit = submit, .job = job, .namespace = namespace};
    int rc = render(&applying, why);

    if (rc == 0)
        *gang = has_group(applying.objects);
    json_decref(applying.objects);
    return rc;
}
