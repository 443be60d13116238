/* The memory of trees and how they grow; see yaml_tree.h. */
#include "k8s/manifest/yaml_tree.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_NODES 128u
#define CHUNK_BYTES 8192u

struct node_chunk {
    struct node_chunk *next;
    size_t used;
    struct yaml_node node[CHUNK_NODES];
};

struct text_chunk {
    struct text_chunk *next;
    size_t used, size;
    char bytes[];
};

struct yaml_tree *yaml_tree_new(void)
{
    return calloc(1, sizeof(struct yaml_tree));
}

static void free_nodes(struct node_chunk *chunk)
{
    while (chunk != NULL) {
        struct node_chunk *next = chunk->next;

        for (size_t i = 0; i < chunk->used; i++)
            json_decref(chunk->node[i].value);
        free(chunk);
        chunk = next;
    }
}

void yaml_tree_free(struct yaml_tree *tree)
{
    if (tree == NULL)
        return;
    free_nodes(tree->nodes);
    while (tree->texts != NULL) {
        struct text_chunk *next = tree->texts->next;

        free(tree->texts);
        tree->texts = next;
    }
    free(tree);
}

int yaml_tree_node(struct yaml_tree *tree, json_t *value, struct yaml_node **out)
{
    struct node_chunk *chunk = tree->nodes;
    struct yaml_node *node;

    if (value == NULL)
        return RK_ENOMEM;
    if (tree->count == YAML_MAX_NODES) {
        json_decref(value);
        return RK_EFULL;
    }
    if (chunk == NULL || chunk->used == CHUNK_NODES) {
        chunk = calloc(1, sizeof *chunk);
        if (chunk == NULL) {
            json_decref(value);
            return RK_ENOMEM;
        }
        chunk->next = tree->nodes;
        tree->nodes = chunk;
    }
    node = &chunk->node[chunk->used++];
    node->value = value;
    tree->count++;
    *out = node;
    return 0;
}

const char *yaml_tree_text(struct yaml_tree *tree, const char *text)
{
    size_t size = strlen(text) + 1;
    struct text_chunk *chunk = tree->texts;
    char *copy;

    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;

        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct text_chunk){.next = tree->texts, .size = room};
        tree->texts = chunk;
    }
    copy = memcpy(chunk->bytes + chunk->used, text, size);
    chunk->used += size;
    return copy;
}

int yaml_tree_append(struct yaml_node *parent, struct yaml_node *child)
{
    int rc = json_is_array(parent->value)
                 ? json_array_append(parent->value, child->value)
                 : json_object_set(parent->value, child->key, child->value);

    if (rc != 0)
        return RK_ENOMEM;
    *(parent->first == NULL ? &parent->first : &parent->last->next) = child;
    parent->last = child;
    return 0;
}

int yaml_tree_replace(struct yaml_node *parent, struct yaml_node *old,
                      const struct yaml_node *child)
{
    struct yaml_node *next = old->next;
    const char *key = old->key;

    if (json_object_set(parent->value, key, child->value) != 0)
        return RK_ENOMEM;
    json_decref(old->value);
    *old = *child;
    json_incref(old->value);
    old->next = next;
    old->key = key;
    return 0;
}

static json_t *copy_value(json_t *value)
{
    if (json_is_object(value))
        return json_object();
    if (json_is_array(value))
        return json_array();
    return json_incref(value);
}

/* Recursion is as deep as the text is nested: YAML_MAX_DEPTH. */
int yaml_tree_copy(struct yaml_tree *tree, const struct yaml_node *node, struct yaml_node **out)
{
    struct yaml_node *copy;
    int rc = yaml_tree_node(tree, copy_value(node->value), &copy);

    if (rc != 0)
        return rc;
    copy->key = node->key;
    copy->at = node->at;
    copy->key_at = node->key_at;
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct yaml_node *child;

        rc = yaml_tree_copy(tree, c, &child);
        if (rc == 0)
            rc = yaml_tree_append(copy, child);
        if (rc != 0)
            return rc;
    }
    *out = copy;
    return 0;
}

void yaml_tree_add(struct yaml_tree *tree, struct yaml_node *root)
{
    *(tree->first == NULL ? &tree->first : &tree->last->next) = root;
    tree->last = root;
}

const struct yaml_node *yaml_tree_first(const struct yaml_tree *tree)
{
    return tree->first;
}

const struct yaml_node *yaml_member(const struct yaml_node *node, const char *key)
{
    if (node == NULL || !json_is_object(node->value))
        return NULL;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

static int node_of(struct yaml_tree *tree, json_t *value, unsigned depth, struct yaml_node **out);

static int add_value(struct yaml_tree *tree, struct yaml_node *parent, const char *key,
                     json_t *value, unsigned depth)
{
    struct yaml_node *child;
    int rc = node_of(tree, value, depth, &child);

    if (rc == 0 && key != NULL && (child->key = yaml_tree_text(tree, key)) == NULL)
        rc = RK_ENOMEM;
    return rc == 0 ? yaml_tree_append(parent, child) : rc;
}

static int node_of(struct yaml_tree *tree, json_t *value, unsigned depth, struct yaml_node **out)
{
    size_t index;
    const char *key;
    json_t *member;
    int rc = depth < YAML_MAX_DEPTH ? yaml_tree_node(tree, copy_value(value), out) : RK_EFULL;

    if (rc == 0 && json_is_object(value)) {
        json_object_foreach(value, key, member)
        {
            if (rc == 0)
                rc = add_value(tree, *out, key, member, depth + 1);
        }
    } else if (rc == 0) {
        json_array_foreach(value, index, member)
        {
            if (rc == 0)
                rc = add_value(tree, *out, NULL, member, depth + 1);
        }
    }
    return rc;
}

int yaml_tree_of(json_t *value, struct yaml_tree **out, struct rk_why *why)
{
    struct yaml_tree *tree = yaml_tree_new();
    struct yaml_node *root;
    int rc = tree != NULL ? node_of(tree, value, 0, &root) : RK_ENOMEM;

    if (rc != 0) {
        yaml_tree_free(tree);
        return rk_fail(why, rc,
                       rc == RK_EFULL ? "the object has more than %u values or %u levels"
                                      : "no memory for an object",
                       YAML_MAX_NODES, YAML_MAX_DEPTH);
    }
    yaml_tree_add(tree, root);
    *out = tree;
    return 0;
}
