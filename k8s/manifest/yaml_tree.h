/* How a tree of nodes is built: memory that goes all at once, members, copies.  For the readers in
 * this folder only; everybody else reads trees by yaml.h.
 *
 * Every node holds a reference to its value, besides that of the value it stands in, so that a tree
 * can be freed at any point of its making.  Codes: RK_ENOMEM, RK_EFULL (YAML_MAX_NODES). */
#ifndef RK_K8S_MANIFEST_YAML_TREE_H
#define RK_K8S_MANIFEST_YAML_TREE_H

#include "k8s/manifest/yaml.h"

struct yaml_tree {
    struct node_chunk *nodes;
    struct text_chunk *texts; /* keys */
    struct yaml_node *first, *last;
    uint32_t count;
};

struct yaml_tree *yaml_tree_new(void);

/* A node that takes over `value`; NULL stands for a value for which there was no memory. */
int yaml_tree_node(struct yaml_tree *tree, json_t *value, struct yaml_node **out);

/* A string that lives as long as the tree; NULL: no memory. */
const char *yaml_tree_text(struct yaml_tree *tree, const char *text);

/* Puts a child at the end of an array, or into an object under its key, which must be new there. */
int yaml_tree_append(struct yaml_node *parent, struct yaml_node *child);

/* Gives the member `old` of `parent` what `child`, of the same key, has: value, places, children.
 */
int yaml_tree_replace(struct yaml_node *parent, struct yaml_node *old,
                      const struct yaml_node *child);

/* A copy with containers of its own; the places are those of the original. */
int yaml_tree_copy(struct yaml_tree *tree, const struct yaml_node *node, struct yaml_node **out);

/* Makes a finished node the tree's last document. */
void yaml_tree_add(struct yaml_tree *tree, struct yaml_node *root);

#endif
