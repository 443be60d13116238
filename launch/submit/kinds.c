/* How kinds are addressed: the server's own lists; see submit.h. */
#include "launch/submit/submit.h"

#include "k8s/client/address.h"

#include <string.h>

/* /api/v1, or /apis/GROUP/VERSION. */
static char *list_path(const char *version)
{
    char *path = api_path(version, NULL, "", NULL, NULL);

    if (path != NULL)
        path[strlen(path) - 1] = '\0';
    return path;
}

/* {KIND: {"name": PLURAL, "namespaced": B}}, without subresources. */
static json_t *index_of(const json_t *list)
{
    json_t *index = json_object();
    size_t at;
    json_t *item;

    json_array_foreach(json_object_get(list, "resources"), at, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *kind = json_string_value(json_object_get(item, "kind"));

        if (name != NULL && kind != NULL && strchr(name, '/') == NULL)
            json_object_set(index, kind, item);
    }
    return index;
}

static int ask_list(struct submit *submit, const char *version, struct rk_why *why)
{
    struct answer answer;
    int rc = submit_call(submit, VERB_GET, list_path(version), NULL, NULL, &answer);

    if (rc == 0 || rc == RK_ENOENT)
        rc = json_object_set_new(submit->kinds, version, index_of(answer.body)) == 0
                 ? 0
                 : rk_fail(why, RK_ENOMEM, "no memory for the server's kinds");
    else
        rk_fail(why, rc, "the cluster (%s): %.300s", api_origin(submit->api), answer.why.text);
    answer_done(&answer);
    return rc;
}

int kind_find(struct submit *submit, const char *version, const char *kind, struct kind *found,
              struct rk_why *why)
{
    const json_t *item;
    int rc = 0;

    if (json_object_get(submit->kinds, version) == NULL)
        rc = ask_list(submit, version, why);
    if (rc != 0)
        return rc;
    item = json_object_get(json_object_get(submit->kinds, version), kind);
    if (item == NULL) {
        json_object_del(submit->kinds, version); /* it may be served when it is asked for again */
        return rk_fail(why, RK_ENOENT,
                       "the cluster has no kind %.80s of %.80s; install what brings it, and submit "
                       "again",
                       kind, version);
    }
    found->plural = json_string_value(json_object_get(item, "name"));
    found->namespaced = json_is_true(json_object_get(item, "namespaced"));
    return 0;
}
