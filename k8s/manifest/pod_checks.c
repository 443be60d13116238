/* What tables cannot say about pod templates; see pod_schema.h. */
#include "k8s/manifest/pod_schema.h"
#include "k8s/manifest/reserved.h"
#include "k8s/manifest/syntax.h"
#include "k8s/manifest/words.h"

#include <string.h>

static const char *const our_volumes[] = RESERVED_VOLUMES;
static const char *const our_paths[] = RESERVED_PATHS;
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void check_not_empty(const struct checking *checking, const struct yaml_node *node,
                     const struct path *path)
{
    if (json_string_value(node->value)[0] == '\0')
        schema_error(checking, node, path, "write a value, or take the field out", "it is empty");
}

void check_label_name(const struct checking *checking, const struct yaml_node *node,
                      const struct path *path)
{
    struct word_shown shown;
    const char *text = json_string_value(node->value);

    if (!syntax_dns_label(text))
        schema_error(checking, node, path,
                     "use small letters, digits and '-' inside, at most 63 characters",
                     "'%s' is not a name that Kubernetes takes here", word_show(text, &shown));
}

void check_dns_name(const struct checking *checking, const struct yaml_node *node,
                    const struct path *path)
{
    struct word_shown shown;
    const char *text = json_string_value(node->value);

    if (!syntax_dns_name(text))
        schema_error(checking, node, path,
                     "use small letters, digits, '-' and '.' inside, at most 253 characters",
                     "'%s' is not a name that Kubernetes takes here", word_show(text, &shown));
}

static void check_key(const struct checking *checking, const struct yaml_node *node,
                      const struct path *path)
{
    if (!syntax_label_key(node->key))
        faults_add(checking->faults, FAULT_ERROR, node->key_at, path,
                   "write it as name or example.com/name, of letters, digits, '-', '_' and '.'",
                   "this is not a name that a label or annotation can have");
}

void check_labels(const struct checking *checking, const struct yaml_node *node,
                  const struct path *path)
{
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};
        const char *value = json_string_value(c->value);
        struct word_shown shown;

        check_key(checking, c, &step);
        if (value != NULL && !syntax_label_value(value))
            schema_error(checking, c, &step,
                         "use at most 63 letters, digits, '-', '_' and '.', the first and last a "
                         "letter or digit",
                         "'%s' is not a value that a label can have", word_show(value, &shown));
        if (strncmp(c->key, RESERVED_LABELS, strlen(RESERVED_LABELS)) == 0)
            faults_add(checking->faults, FAULT_WARNING, c->key_at, &step, "take it out",
                       "pods get this label from the job; what stands here is replaced");
    }
}

void check_annotation_names(const struct checking *checking, const struct yaml_node *node,
                            const struct path *path)
{
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};

        check_key(checking, c, &step);
    }
}

void check_annotations(const struct checking *checking, const struct yaml_node *node,
                       const struct path *path)
{
    check_annotation_names(checking, node, path);
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};

        if (strncmp(c->key, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) == 0)
            faults_add(checking->faults, FAULT_WARNING, c->key_at, &step,
                       "move it to the annotations of the MPIJob itself",
                       "reknit's settings have no effect in a pod template");
    }
}

void check_container_name(const struct checking *checking, const struct yaml_node *node,
                          const struct path *path)
{
    check_label_name(checking, node, path);
    if (strcmp(json_string_value(node->value), CONTAINER_NAME) == 0)
        schema_error(checking, node, path, "choose another name",
                     "'" CONTAINER_NAME "' is the name of the container that brings the agent");
}

void check_env_name(const struct checking *checking, const struct yaml_node *node,
                    const struct path *path)
{
    const char *name = json_string_value(node->value);
    struct word_shown shown;

    word_show(name, &shown);
    if (!syntax_env_name_new(name))
        schema_error(checking, node, path, "use letters, digits, '_', '-' and '.'",
                     "'%s' cannot be the name of an environment variable", shown.text);
    else if (!syntax_env_name(name))
        schema_warn(checking, node, path,
                    "use letters, digits, '_', '-' and '.', the first no digit",
                    "servers before 1.32 refuse '%s' as the name of a variable", shown.text);
}

static bool is_given(const struct yaml_node *node, const char *key)
{
    const struct yaml_node *member = yaml_member(node, key);

    return member != NULL && !json_is_null(member->value);
}

void check_env(const struct checking *checking, const struct yaml_node *node,
               const struct path *path)
{
    const struct yaml_node *from = yaml_member(node, "valueFrom");
    const char *value = schema_text(node, "value");
    size_t sources = 0;

    if (from == NULL || !json_is_object(from->value))
        return;
    if (value != NULL && *value != '\0')
        schema_error(checking, node, path, "keep one of the two",
                     "a variable has either value or valueFrom");
    for (const struct yaml_node *c = from->first; c != NULL; c = c->next)
        sources += json_is_null(c->value) ? 0 : 1;
    if (sources != 1)
        schema_error(checking, from, path, "name one, as fieldRef or secretKeyRef",
                     "valueFrom has %zu sources; it takes one", sources);
}

void check_port_name(const struct checking *checking, const struct yaml_node *node,
                     const struct path *path)
{
    const char *name = json_string_value(node->value);
    struct word_shown shown;

    if (*name != '\0' && !syntax_port_name(name))
        schema_error(checking, node, path,
                     "use at most 15 small letters, digits and single '-' inside, a letter among "
                     "them",
                     "'%s' cannot be the name of a port", word_show(name, &shown));
}

void check_port(const struct checking *checking, const struct yaml_node *node,
                const struct path *path)
{
    const char *name = schema_text(node, "name");

    if (name != NULL && strcmp(name, PORT_NAME) == 0)
        schema_error(checking, node, path, "choose another name",
                     "'" PORT_NAME "' is the name of the port where agents listen");
}

void check_mount_path(const struct checking *checking, const struct yaml_node *node,
                      const struct path *path)
{
    const char *text = json_string_value(node->value);
    size_t length = strlen(text);

    check_not_empty(checking, node, path);
    while (length > 1 && text[length - 1] == '/')
        length--;
    for (size_t i = 0; i < COUNT(our_paths); i++)
        if (strlen(our_paths[i]) == length && strncmp(our_paths[i], text, length) == 0)
            schema_error(checking, node, path, "choose another place",
                         "reknit itself mounts something at %s", our_paths[i]);
}

void check_volume_name(const struct checking *checking, const struct yaml_node *node,
                       const struct path *path)
{
    const char *name = json_string_value(node->value);

    check_label_name(checking, node, path);
    for (size_t i = 0; i < COUNT(our_volumes); i++)
        if (strcmp(name, our_volumes[i]) == 0)
            schema_error(checking, node, path, "choose another name",
                         "'%s' is the name of a volume that every pod of a job gets", name);
}

void check_volume(const struct checking *checking, const struct yaml_node *node,
                  const struct path *path)
{
    size_t sources = 0;

    for (const struct yaml_node *c = node->first; c != NULL; c = c->next)
        sources += strcmp(c->key, "name") != 0 && !json_is_null(c->value) ? 1 : 0;
    if (sources > 1)
        schema_error(checking, node, path, "make a volume of each",
                     "the volume has %zu sources; it takes one", sources);
}

/* The first of a list; NULL where there is no list. */
static const struct yaml_node *first_of(const struct yaml_node *list)
{
    return list != NULL && json_is_array(list->value) ? list->first : NULL;
}

/* The names in a list of objects as the keys of an object; NULL, with the list of faults told, when
 * there is no memory. */
static json_t *names_of(const struct checking *checking, const struct yaml_node *list)
{
    json_t *names = json_object();
    const struct yaml_node *c = first_of(list);

    for (; c != NULL && names != NULL; c = c->next) {
        const char *name = schema_text(c, "name");

        if (name != NULL && json_object_set_new(names, name, json_true()) != 0) {
            json_decref(names);
            names = NULL;
        }
    }
    if (names == NULL)
        checking->faults->rc = RK_ENOMEM;
    return names;
}

/* Each name in a list once, and none of those in `others`, which gets them. */
static void check_unique(const struct checking *checking, const struct yaml_node *list,
                         json_t *others, const char *what, const struct path *path)
{
    const struct yaml_node *c = first_of(list);

    for (size_t index = 0; c != NULL; c = c->next, index++) {
        struct path element = {path, NULL, index};
        struct path step = {&element, "name", 0};
        const char *name = schema_text(c, "name");
        struct word_shown shown;

        if (name == NULL)
            continue;
        if (json_object_get(others, name) != NULL)
            schema_error(checking, yaml_member(c, "name"), &step, "give each its own name",
                         "there is a second %s '%s'", what, word_show(name, &shown));
        else if (json_object_set_new(others, name, json_true()) != 0)
            checking->faults->rc = RK_ENOMEM;
    }
}

static void check_unique_list(const struct checking *checking, const struct yaml_node *list,
                              const char *what, const struct path *path)
{
    json_t *names = json_object();

    check_unique(checking, list, names, what, path);
    json_decref(names);
}

void check_container(const struct checking *checking, const struct yaml_node *node,
                     const struct path *path)
{
    const struct yaml_node *ports = yaml_member(node, "ports");
    struct path step = {path, "ports", 0};

    if (is_given(node, "ports") && json_is_array(ports->value))
        check_unique_list(checking, ports, "port", &step);
}

/* Mounts name volumes of the pod; mpi-job-config is there without being declared. */
static void check_mounts(const struct checking *checking, const struct yaml_node *container,
                         const json_t *volumes, const struct path *path)
{
    const struct yaml_node *mounts = yaml_member(container, "volumeMounts");
    struct path list = {path, "volumeMounts", 0};
    const struct yaml_node *c = first_of(mounts);

    for (size_t index = 0; c != NULL; c = c->next, index++) {
        struct path element = {&list, NULL, index};
        struct path step = {&element, "name", 0};
        const char *name = schema_text(c, "name");
        struct word_shown shown;

        if (name != NULL && strcmp(name, VOLUME_CONFIG) != 0 &&
            json_object_get(volumes, name) == NULL)
            schema_error(checking, yaml_member(c, "name"), &step,
                         "add it to the volumes of this pod template", "there is no volume '%s'",
                         word_show(name, &shown));
    }
}

static void check_containers(const struct checking *checking, const struct yaml_node *containers,
                             const json_t *volumes, const struct path *path)
{
    const struct yaml_node *c = first_of(containers);

    for (size_t index = 0; c != NULL && volumes != NULL; c = c->next, index++) {
        struct path step = {path, NULL, index};

        check_mounts(checking, c, volumes, &step);
    }
}

void check_pod_spec(const struct checking *checking, const struct yaml_node *node,
                    const struct path *path)
{
    const struct yaml_node *containers = yaml_member(node, "containers");
    const struct yaml_node *first = yaml_member(node, "initContainers");
    struct path step = {path, "containers", 0};
    struct path first_step = {path, "initContainers", 0};
    struct path volumes_step = {path, "volumes", 0};
    json_t *names = json_object();
    json_t *volumes = names_of(checking, yaml_member(node, "volumes"));

    if (containers != NULL && json_is_array(containers->value) && containers->first == NULL)
        schema_error(checking, containers, &step, "add a container with a name and an image",
                     "the list is empty");
    check_unique(checking, containers, names, "container", &step);
    check_unique(checking, first, names, "container", &first_step);
    check_unique_list(checking, yaml_member(node, "volumes"), "volume", &volumes_step);
    check_containers(checking, containers, volumes, &step);
    check_containers(checking, first, volumes, &first_step);
    json_decref(names);
    json_decref(volumes);
}
