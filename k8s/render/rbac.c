/* The coordinator's rights, which a namespace's admin grants once.  All of them are of one
 * namespace, and each has its reason in the table; nodes, which belong to the whole cluster, are
 * not asked for.  A name cannot limit the right to create something, so names limit none here. */
#include "k8s/render/parts.h"

#include <stdio.h>
#include <string.h>

/* Words with blanks between them; "core" is the group that has no name. */
static const struct rule {
    const char *groups, *resources, *verbs;
} rules[] = {
    /* Make, watch and replace workers; adopt those that were applied by hand. */
    {"core", "pods", "get list watch create delete patch"},
    /* The hostfile, and the coordinator's record. */
    {"core", "configmaps", "get create update patch"},
    /* NAME-reknit, made where it is missing.  Secrets are never listed. */
    {"core", "secrets", "get create"},
    /* The headless Service, made where it is missing and owned afterwards. */
    {"core", "services", "get create patch"},
    /* What happened, for `kubectl describe`. */
    {"core events.k8s.io", "events", "create patch"},
    /* The owner of everything else, and whether it is suspended. */
    {"batch", "jobs", "get list watch patch"},
    /* The MPIJob, where the cluster has one, its conditions and replica statuses. */
    {"kubeflow.org", "mpijobs", "get list watch"},
    {"kubeflow.org", "mpijobs/status", "patch"},
};

/* The PodGroup of a gang scheduler. */
static const char *const gang_verbs = "get create patch delete";

/* An array of the words of `text`. */
static json_t *words(struct build *build, const char *text)
{
    json_t *array = build_made(build, json_array());

    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        bool core = length == 4 && strncmp(text, "core", 4) == 0;

        build_push(build, array, json_stringn(text, core ? 0 : length));
        text += length + strspn(text + length, " ");
    }
    return array;
}

static void add_rule(struct build *build, json_t *list, const char *groups, const char *resources,
                     const char *verbs)
{
    json_t *rule = build_made(build, json_object());

    build_set(build, rule, "apiGroups", words(build, groups));
    build_set(build, rule, "resources", words(build, resources));
    build_set(build, rule, "verbs", words(build, verbs));
    build_push(build, list, rule);
}

static void add_gang(struct build *build, json_t *list, enum render_gang gang)
{
    char group[64];

    if (gang < RENDER_GANG_VOLCANO)
        return;
    snprintf(group, sizeof group, "%s", gang_api_version(gang));
    *strchrnul(group, '/') = '\0';
    add_rule(build, list, group, "podgroups", gang_verbs);
}

static json_t *object(struct build *build, const char *api_version, const char *kind,
                      const char *namespace)
{
    return build_made(build,
                      json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", api_version, "kind", kind,
                                "metadata", "name", SERVICE_ACCOUNT, "namespace", namespace));
}

int render_rbac(const char *namespace, enum render_gang gang, json_t **objects, struct rk_why *why)
{
    static const char api[] = "rbac.authorization.k8s.io";
    static const char api_version[] = "rbac.authorization.k8s.io/v1";
    struct render render = {.build = {.why = why}};
    struct build *build = &render.build;
    const char *where = namespace != NULL ? namespace : "default";
    json_t *all = build_made(build, json_array());
    json_t *role = object(build, api_version, "Role", where);
    json_t *binding = object(build, api_version, "RoleBinding", where);
    json_t *list = build_list(build, role, "rules", "Role");

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        add_rule(build, list, rules[i].groups, rules[i].resources, rules[i].verbs);
    add_gang(build, list, gang);
    build_set(
        build, binding, "roleRef",
        json_pack("{s:s, s:s, s:s}", "apiGroup", api, "kind", "Role", "name", SERVICE_ACCOUNT));
    build_set(build, binding, "subjects",
              json_pack("[{s:s, s:s, s:s}]", "kind", "ServiceAccount", "name", SERVICE_ACCOUNT,
                        "namespace", where));
    build_push(build, all, object(build, "v1", "ServiceAccount", where));
    build_push(build, all, role);
    build_push(build, all, binding);
    return render_end(&render, all, objects);
}
