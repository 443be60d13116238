/* Files into JSON values; see document.h. */
#include "k8s/client/document.h"

#include "k8s/client/file.h"
#include "k8s/manifest/yaml.h"

#include <stdlib.h>

/* The first mistake, with its place. */
static int say_fault(const char *path, const struct faults *faults, struct rk_why *why)
{
    for (size_t i = 0; i < faults->count; i++)
        if (faults->fault[i].severity == FAULT_ERROR)
            return rk_fail(why, RK_EDATA, "%s:%u:%u: %s", path, faults->fault[i].at.line,
                           faults->fault[i].at.column, faults->fault[i].sentence);
    return faults_rc(faults, why);
}

static int take_root(const char *path, const struct yaml_tree *tree, json_t **root,
                     struct rk_why *why)
{
    const struct yaml_node *first = yaml_tree_first(tree);

    if (first == NULL || !json_is_object(first->value))
        return rk_fail(why, RK_EDATA, "%s: there should be an object of keys and values", path);
    *root = json_incref(first->value);
    return 0;
}

int document_read(const char *path, json_t **root, struct rk_why *why)
{
    struct yaml_tree *tree = NULL;
    struct faults faults;
    size_t size;
    char *text;
    int rc = file_read(path, &text, &size, why);

    if (rc != 0)
        return rc;
    faults_init(&faults);
    rc = yaml_tree_read(text, size, &faults, &tree, why);
    if (rc == 0)
        rc = say_fault(path, &faults, why);
    if (rc == 0)
        rc = take_root(path, tree, root, why);
    yaml_tree_free(tree);
    faults_done(&faults);
    free(text);
    return rc;
}
