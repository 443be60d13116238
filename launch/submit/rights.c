/* May we do it, and may the coordinator; see submit.h.
 *
 * Asked before anything is made, so that a job is not half there when a right is missing. */
#include "launch/submit/submit.h"

#include "k8s/client/address.h"
#include "launch/submit/roles.h"

#include <stdio.h>
#include <string.h>

#define ACCOUNT "reknit" /* as render_rbac names all three */

enum when { ALWAYS, WITH_GANG, WHEN_FOLLOWED, WISHED };

/* A wish that is refused is told about and done without. */
static const struct right {
    const char *group, *resource, *verb;
    enum when when;
} rights[] = {
    {"batch", "jobs", "get", ALWAYS},
    {"batch", "jobs", "create", ALWAYS},
    {"", "secrets", "create", ALWAYS},
    {"", "services", "get", ALWAYS},
    {"", "services", "create", ALWAYS},
    {"", "configmaps", "get", ALWAYS},
    {"", "configmaps", "create", ALWAYS},
    {"", "pods", "create", WITH_GANG},
    {"", "pods", "get", WITH_GANG},
    {"batch", "jobs", "list", WHEN_FOLLOWED},
    {"batch", "jobs", "watch", WHEN_FOLLOWED},
    {"", "pods", "list", WHEN_FOLLOWED},
    {"", "pods", "watch", WHEN_FOLLOWED},
    {"", "pods/log", "get", WISHED},
    {"", "events", "list", WISHED},
    {"", "events", "watch", WISHED},
};

/* What a namespace's admin installs, without its ServiceAccount and binding: the Role's rules. */
static json_t *wanted_rules(const char *namespace, bool gang)
{
    json_t *objects = NULL;
    json_t *rules = NULL;
    size_t at;
    json_t *object;

    if (render_rbac(namespace, gang ? RENDER_GANG_VOLCANO : RENDER_GANG_NONE, &objects, NULL) != 0)
        return NULL;
    json_array_foreach(objects, at, object)
    {
        if (json_object_get(object, "rules") != NULL)
            rules = json_incref(json_object_get(object, "rules"));
    }
    json_decref(objects);
    return rules;
}

/* ---- our own -------------------------------------------------------------------------------- */

static json_t *review_of(const char *namespace, const char *group, const char *resource,
                         const char *verb)
{
    const char *slash = strchr(resource, '/');
    char plural[64];

    snprintf(plural, sizeof plural, "%.*s",
             (int)(slash != NULL ? slash - resource : (ptrdiff_t)strlen(resource)), resource);
    return json_pack("{s:s,s:s,s:{s:{s:s*,s:s,s:s,s:s,s:s*}}}", "apiVersion",
                     "authorization.k8s.io/v1", "kind", "SelfSubjectAccessReview", "spec",
                     "resourceAttributes", "namespace", namespace, "group", group, "resource",
                     plural, "verb", verb, "subresource", slash != NULL ? slash + 1 : NULL);
}

/* A server that does not answer the question will answer the request itself. */
static int may(struct submit *submit, const char *namespace, const char *group,
               const char *resource, const char *verb, bool *allowed, struct rk_why *why)
{
    json_t *review = review_of(namespace, group, resource, verb);
    struct answer answer;
    int rc = submit_call(
        submit, VERB_POST,
        api_path("authorization.k8s.io/v1", NULL, "selfsubjectaccessreviews", NULL, NULL), NULL,
        review, &answer);

    json_decref(review);
    *allowed = rc == RK_EACCES || rc == RK_ENOENT ||
               json_is_true(json_object_get(json_object_get(answer.body, "status"), "allowed"));
    if (rc == RK_EACCES || rc == RK_ENOENT)
        rc = 0;
    if (rc != 0)
        rk_fail(why, rc, "the cluster (%s): %.300s", api_origin(submit->api), answer.why.text);
    answer_done(&answer);
    return rc;
}

static void tell_missing(struct submit *submit, const char *namespace, const struct right *right)
{
    json_t *rules = wanted_rules(namespace, true);
    bool ours = roles_allow(rules, right->group, right->resource, right->verb);
    char name[160];

    json_decref(rules);
    roles_name(right->group, right->resource, name, sizeof name);
    submit_say(
        submit, right->when == WISHED ? SCREEN_QUIET : SCREEN_BAD, "right_missing",
        json_pack("{s:s,s:s,s:s,s:s}", "verb", right->verb, "resource", right->resource, "group",
                  right->group, "namespace", namespace),
        "you may not %s %s in namespace %s%s; %s", right->verb, name, namespace,
        right->when == WISHED ? ", so it is not shown" : "",
        ours ? "the Role reknit (`reknit render --rbac`) gives it, and so does the ClusterRole edit"
             : "the ClusterRole edit gives it");
}

static bool is_wanted(const struct submit *submit, enum when when, bool gang)
{
    if (when == WHEN_FOLLOWED || when == WISHED)
        return !submit->given.detach && !submit->given.dry_run;
    return submit->given.follow == NULL && (when == ALWAYS || gang);
}

static int refuse(const char *namespace, size_t missing, struct rk_why *why)
{
    return rk_fail(why, RK_EACCES,
                   "%zu right%s missing; an admin of namespace %s gives all by: kubectl create "
                   "rolebinding reknit-users -n %s --clusterrole=edit --user=NAME",
                   missing, missing == 1 ? " is" : "s are", namespace, namespace);
}

int rights_check(struct submit *submit, const char *namespace, bool gang, struct rk_why *why)
{
    size_t missing = 0;
    int rc = 0;

    for (size_t i = 0; i < sizeof rights / sizeof rights[0] && rc == 0; i++) {
        const struct right *right = &rights[i];
        bool allowed = true;

        if (!is_wanted(submit, right->when, gang))
            continue;
        rc = may(submit, namespace, right->group, right->resource, right->verb, &allowed, why);
        if (rc != 0 || allowed)
            continue;
        tell_missing(submit, namespace, right);
        missing += right->when != WISHED;
    }
    return rc == 0 && missing > 0 ? refuse(namespace, missing, why) : rc;
}

int rights_check_apply(struct submit *submit, const char *version, const char *plural,
                       const char *namespace, struct rk_why *why)
{
    static const char *const verbs[] = {"create", "patch"};
    const char *slash = strchr(version, '/');
    char group[128];
    bool allowed = true;
    int rc = 0;

    snprintf(group, sizeof group, "%.*s", slash != NULL ? (int)(slash - version) : 0, version);
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        rc = may(submit, namespace, group, plural, verbs[i], &allowed, why);
        if (rc == 0 && !allowed)
            return rk_fail(why, RK_EACCES, "you may not %s %s%s%s%s%s, which the file has",
                           verbs[i], plural, group[0] != '\0' ? "." : "", group,
                           namespace != NULL ? " in namespace " : "",
                           namespace != NULL ? namespace : "");
    }
    return rc;
}

/* ---- the coordinator's ---------------------------------------------------------------------- */

static const char *account_of(const struct mpijob *job)
{
    const json_t *spec = json_object_get(job->launcher.template, "spec");
    const char *name = json_string_value(json_object_get(spec, "serviceAccountName"));

    if (name == NULL)
        name = json_string_value(json_object_get(spec, "serviceAccount"));
    return name != NULL ? name : ACCOUNT;
}

/* Another Role may give what this one lacks, so that is no reason to stop. */
static int check_role(struct submit *submit, const char *namespace, bool gang, struct rk_why *why)
{
    json_t *wanted = wanted_rules(namespace, gang);
    struct answer answer;
    char missing[400];
    int rc =
        submit_call(submit, VERB_GET,
                    api_path("rbac.authorization.k8s.io/v1", namespace, "roles", ACCOUNT, NULL),
                    NULL, NULL, &answer);

    if ((rc == 0 || rc == RK_ENOENT) &&
        roles_missing(json_object_get(answer.body, "rules"), wanted, missing, sizeof missing) > 0)
        submit_say(
            submit, SCREEN_BAD, "role_lacks", json_pack("{s:s}", "missing", missing),
            "warning: the coordinator may lack rights: the Role %s in namespace %s %s (%s); its "
            "admin installs it by: reknit render --rbac --namespace %s%s | kubectl apply -f -",
            ACCOUNT, namespace, rc == 0 ? "has not all of them" : "is not there", missing,
            namespace, gang ? " --gang NAME" : "");
    if (rc == RK_EACCES || rc == RK_ENOENT)
        rc = 0;
    if (rc != 0)
        rk_fail(why, rc, "the Role %s: %.300s", ACCOUNT, answer.why.text);
    answer_done(&answer);
    json_decref(wanted);
    return rc;
}

int rights_check_account(struct submit *submit, const struct mpijob *job, const char *namespace,
                         bool gang, struct rk_why *why)
{
    const char *name = account_of(job);
    struct answer answer;
    int rc = submit_call(submit, VERB_GET, api_path("v1", namespace, "serviceaccounts", name, NULL),
                         NULL, NULL, &answer);

    if (rc == RK_ENOENT)
        rk_fail(why, rc,
                strcmp(name, ACCOUNT) == 0
                    ? "namespace %s has no ServiceAccount %s, by which the coordinator makes its "
                      "pods; the namespace's admin installs it once: reknit render --rbac "
                      "--namespace %s | kubectl apply -f -"
                    : "namespace %s has no ServiceAccount %s, which the manifest's launcher names; "
                      "make it in namespace %s, or leave serviceAccountName out",
                namespace, name, namespace);
    else if (rc == RK_EACCES)
        rc = 0; /* we may not look */
    else if (rc != 0)
        rk_fail(why, rc, "the ServiceAccount %s: %.300s", name, answer.why.text);
    answer_done(&answer);
    return rc == 0 && strcmp(name, ACCOUNT) == 0 ? check_role(submit, namespace, gang, why) : rc;
}
