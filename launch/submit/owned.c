/* One object of a job, made or found; see owned.h. */
#include "launch/submit/owned.h"

#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/render/names.h"

#include <stdio.h>
#include <string.h>

#define GONE_WITHIN (120 * RK_S) /* what a deleted job has left, in the hands of the collector */
#define LOOK_AGAIN (500 * RK_MS)

/* ---- writing -------------------------------------------------------------------------------- */

/* The collection, or one object, with what a write's query needs. */
char *owned_path(const struct submit *submit, const json_t *object, const char *plural,
                 const char *namespace, const char *name)
{
    char *path = api_path(json_string_value(json_object_get(object, "apiVersion")), namespace,
                          plural, name, NULL);

    api_query(&path, "fieldManager", SUBMIT_MANAGER);
    if (submit->given.dry_run)
        api_query(&path, "dryRun", "All");
    return path;
}

const char *owned_would(const struct submit *submit)
{
    return submit->given.dry_run ? "would be " : "";
}

void owned_say(struct submit *submit, enum screen_tone tone, const char *event,
               const json_t *object, const char *what)
{
    submit_say(submit, tone, event,
               json_pack("{s:s,s:s,s:b}", "kind", object_kind(object), "name", object_name(object),
                         "dry_run", submit->given.dry_run),
               "%s %s %s", object_kind(object), object_name(object), what);
}

int owned_apply(struct submit *submit, const json_t *object, const char *plural,
                const char *namespace, struct rk_why *why)
{
    char *path = owned_path(submit, object, plural, namespace, object_name(object));
    struct answer answer;
    int rc;

    api_query(&path, "force", "true");
    rc = submit_call(submit, VERB_PATCH, path, TYPE_APPLY, object, &answer);
    if (rc != 0)
        rk_fail(why, rc, "%.40s %.200s: %.250s", object_kind(object), object_name(object),
                answer.why.text);
    answer_done(&answer);
    return rc;
}

int owned_patch(struct applying *applying, const json_t *object, const char *plural,
                const json_t *patch, struct rk_why *why)
{
    struct submit *submit = applying->submit;
    struct answer answer;
    int rc =
        submit_call(submit, VERB_PATCH,
                    owned_path(submit, object, plural, applying->namespace, object_name(object)),
                    TYPE_MERGE_PATCH, patch, &answer);

    if (rc != 0)
        rk_fail(why, rc, "%.40s %.200s: %.250s", object_kind(object), object_name(object),
                answer.why.text);
    answer_done(&answer);
    return rc;
}

/* ---- what is there already ------------------------------------------------------------------ */

int owned_get(struct submit *submit, const json_t *object, const char *plural,
              const char *namespace, struct answer *answer)
{
    return submit_call(submit, VERB_GET,
                       api_path(json_string_value(json_object_get(object, "apiVersion")), namespace,
                                plural, object_name(object), NULL),
                       NULL, NULL, answer);
}

bool owned_is_leaving(const json_t *object)
{
    return json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL;
}

/* The name of the owner of a kind, "" when none is one. */
const char *owned_by_kind(const json_t *object, const char *kind)
{
    const json_t *metadata = json_object_get(object, "metadata");
    size_t at;
    json_t *owner;

    json_array_foreach(json_object_get(metadata, "ownerReferences"), at, owner)
    {
        const char *name = json_string_value(json_object_get(owner, "name"));

        if (strcmp(object_kind(owner), kind) == 0 && name != NULL)
            return name;
    }
    return "";
}

static bool has_owner(const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");

    return json_array_size(json_object_get(metadata, "ownerReferences")) > 0;
}

bool owned_is_of_job(const json_t *object, const struct mpijob *job)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    const char *name = json_string_value(json_object_get(labels, LABEL_JOB));

    return name != NULL && strcmp(name, job->name) == 0;
}

/* Something of an earlier job of this name is going; RK_EEXIST when that takes too long. */
int owned_wait(struct applying *applying, const json_t *object, struct rk_why *why)
{
    struct submit *submit = applying->submit;

    if (submit->given.dry_run)
        return rk_fail(why, RK_EEXIST, "%s %s of an earlier job is still there, and is going",
                       object_kind(object), object_name(object));
    if (applying->patience == 0) {
        owned_say(submit, SCREEN_QUIET, "waiting", object,
                  "is of an earlier job and going: waiting until it is gone");
        applying->patience = submit->now + GONE_WITHIN;
    }
    if (submit->now >= applying->patience)
        return rk_fail(why, RK_EEXIST,
                       "%s %s of an earlier job does not go: `kubectl describe` it, finalizers may "
                       "hold it; then submit again",
                       object_kind(object), object_name(object));
    return submit_pause(submit, LOOK_AGAIN, why);
}

/* ---- one object that the Job owns ----------------------------------------------------------- */

/* What has the name: ours from an earlier submit, on its way out, applied by hand, or another's. */
static int take_existing(struct applying *applying, const json_t *object, const char *plural,
                         const json_t *there, struct rk_why *why)
{
    struct submit *submit = applying->submit;
    char launcher[SUBMIT_NAME];
    int rc;

    snprintf(launcher, sizeof launcher, "%s-launcher", applying->job->name);
    if (object_is_owned_by(there, applying->owner) && !owned_is_leaving(there)) {
        applying->kept++;
        return 0;
    }
    if (owned_is_leaving(there) || strcmp(owned_by_kind(there, "Job"), launcher) == 0) {
        rc = owned_wait(applying, there, why);
        return rc == 0 ? OWNED_AGAIN : rc;
    }
    if (has_owner(there) || !owned_is_of_job(there, applying->job))
        return rk_fail(why, RK_EEXIST,
                       "%s %s is there already and is not of this job: delete it, or give the job "
                       "another name",
                       object_kind(object), object_name(object));
    rc = owned_apply(submit, object, plural, applying->namespace, why);
    if (rc == 0)
        owned_say(submit, SCREEN_PLAIN, "adopted", object, "was there, and is the job's now");
    return rc;
}

static int make_once(struct applying *applying, const json_t *object, const char *plural,
                     struct rk_why *why)
{
    struct submit *submit = applying->submit;
    struct answer answer;
    char done[32];
    int rc = submit_call(submit, VERB_POST,
                         owned_path(submit, object, plural, applying->namespace, NULL), NULL,
                         object, &answer);

    snprintf(done, sizeof done, "%screated", owned_would(submit));
    if (rc == 0) {
        applying->made++;
        owned_say(submit, SCREEN_PLAIN, "created", object, done);
    } else if (rc != RK_EEXIST) {
        rk_fail(why, rc, "%s %.200s: %.250s", object_kind(object), object_name(object),
                answer.why.text);
    }
    answer_done(&answer);
    if (rc != RK_EEXIST)
        return rc;
    rc = owned_get(submit, object, plural, applying->namespace, &answer);
    if (rc == 0)
        rc = take_existing(applying, object, plural, answer.body, why);
    else if (rc == RK_ENOENT)
        rc = submit->given.dry_run ? 0 : OWNED_AGAIN;
    else
        rk_fail(why, rc, "%s %.200s: %.250s", object_kind(object), object_name(object),
                answer.why.text);
    answer_done(&answer);
    return rc;
}

int owned_make(struct applying *applying, const json_t *object, const char *plural,
               struct rk_why *why)
{
    int rc = make_once(applying, object, plural, why);

    while (rc == OWNED_AGAIN)
        rc = make_once(applying, object, plural, why);
    return rc;
}
