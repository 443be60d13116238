/* YAML text to JSON trees with the place of every key and value.
 *
 * Scalars become what `kubectl` makes of them, which is YAML 1.1 as Go reads it: yes, no, on, off,
 * y and n are booleans, 0755 is octal, 1e3 a number, a date a string; what is in quotes is a
 * string. A key that is a number or boolean becomes its text.  JSON is read too, being YAML.
 *
 * Limits: YAML_MAX_BYTES of text, YAML_MAX_DEPTH levels, YAML_MAX_NODES values once aliases are
 * replaced by what they stand for (so that a few lines cannot become gigabytes), YAML_MAX_ANCHORS
 * anchors in a document.
 *
 * Ownership: a tree owns its nodes and their values; a value is taken along with json_incref.
 * Nothing changes a tree once it is read. */
#ifndef RK_K8S_MANIFEST_YAML_H
#define RK_K8S_MANIFEST_YAML_H

#include "k8s/manifest/faults.h"

#include <jansson.h>

#define YAML_MAX_BYTES (UINT32_C(4) << 20)
#define YAML_MAX_DEPTH 128u
#define YAML_MAX_NODES 300000u
#define YAML_MAX_ANCHORS 1000u

struct yaml_node {
    json_t *value;
    const char *key;                /* NULL: an element of an array, or a document */
    struct yaml_place at, key_at;   /* of an alias: where it stands, not what it stands for */
    struct yaml_node *first, *last; /* children, in the order of the text */
    struct yaml_node *next;         /* of the same parent; of documents too */
    bool merged;                    /* came by a merge key */
};

struct yaml_tree;

/* Reads all documents; empty ones are left out.  What is wrong with the text is added to `faults`;
 * after a mistake in the syntax the documents before it are there.  RK_ENOMEM. */
int yaml_tree_read(const char *text, size_t size, struct faults *faults, struct yaml_tree **out,
                   struct rk_why *why);

/* The tree of a value that came from elsewhere, with no places.  RK_ENOMEM, RK_EFULL (a limit). */
int yaml_tree_of(json_t *value, struct yaml_tree **out, struct rk_why *why);
void yaml_tree_free(struct yaml_tree *tree);

/* The first document; NULL: none. */
const struct yaml_node *yaml_tree_first(const struct yaml_tree *tree);

/* The member of an object; NULL: there is none, or the node (which may be NULL) is no object. */
const struct yaml_node *yaml_member(const struct yaml_node *node, const char *key);

#endif
