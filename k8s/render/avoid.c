/* Keeps one pod off nodes that may be lost, within what the template asks of nodes.
 *
 * A required node affinity is a list of terms of which one must hold, so each of the user's gets
 * the condition; where there is none, a term of ours is all.  A node is named by its own name and
 * not by its label kubernetes.io/hostname, which may be another; the API takes one name in each
 * condition. */
#include "k8s/render/parts.h"

#include <stdio.h>
#include <string.h>

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"

static void add_nodes(struct build *build, json_t *term, const char *nodes)
{
    json_t *fields = build_list(build, term, "matchFields", "nodeSelectorTerms");

    while (*nodes != '\0') {
        size_t length = strcspn(nodes, " ");

        if (length > 0)
            build_push(build, fields,
                       json_pack("{s:s, s:s, s:[s%]}", "key", "metadata.name", "operator", "NotIn",
                                 "values", nodes, length));
        nodes += length + strspn(nodes + length, " ");
    }
}

/* An empty term holds for no node, and with a condition of ours would hold for nearly all. */
static bool is_empty(const json_t *term)
{
    return json_array_size(json_object_get(term, "matchExpressions")) == 0 &&
           json_array_size(json_object_get(term, "matchFields")) == 0;
}

void pod_avoid(struct pod *pod, const char *nodes)
{
    struct build *build = &pod->render->build;
    json_t *affinity;
    json_t *terms;
    size_t index;
    json_t *term;

    if (json_object_get(pod->spec, "nodeName") != NULL)
        return;
    build_text(build, pod->annotations, ANNOTATION_AVOIDS, nodes);
    affinity = build_child(build, pod->spec, "affinity", pod->path);
    affinity = build_child(build, affinity, "nodeAffinity", "affinity");
    affinity = build_child(build, affinity, REQUIRED, "nodeAffinity");
    terms = build_list(build, affinity, "nodeSelectorTerms", REQUIRED);
    if (json_array_size(terms) == 0) {
        term = build_made(build, json_object());
        add_nodes(build, term, nodes);
        build_push(build, terms, term);
        return;
    }
    json_array_foreach(terms, index, term)
    {
        if (!is_empty(term))
            add_nodes(build, term, nodes);
    }
}
