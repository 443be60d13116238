/* A file of manifests; see mpijob_file.h. */
#include "k8s/manifest/mpijob_file.h"

#include "k8s/manifest/job_schema.h"
#include "k8s/manifest/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 8u

struct reading {
    struct mpijob_file *file;
    struct checking checking;
    json_t *names; /* "NAMESPACE/NAME" of the jobs so far */
    struct rk_why *why;
};

void mpijob_file_free(struct mpijob_file *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->count; i++)
        mpijob_free(file->document[i].job);
    free(file->document);
    yaml_tree_free(file->tree);
    free(file);
}

static struct mpijob_document *add_document(struct mpijob_file *file, const struct yaml_node *node)
{
    size_t capacity = file->capacity == 0 ? CAPACITY_FIRST : 2 * file->capacity;
    const char *kind = schema_text(node, "kind");
    const char *name = schema_text(yaml_member(node, "metadata"), "name");
    struct mpijob_document *grown;

    if (file->count == file->capacity) {
        grown = realloc(file->document, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        file->document = grown;
        file->capacity = capacity;
    }
    file->document[file->count] = (struct mpijob_document){
        .object = node->value,
        .at = node->at,
        .kind = kind != NULL ? kind : "",
        .name = name != NULL ? name : "",
    };
    return &file->document[file->count++];
}

/* Two objects of one name are one object to the server, and the second would undo the first. */
static int check_name_once(struct reading *reading, const struct yaml_node *node,
                           const struct path *path)
{
    const struct yaml_node *metadata = yaml_member(node, "metadata");
    const char *namespace = schema_text(metadata, "namespace");
    const char *name = schema_text(metadata, "name");
    struct path metadata_path = {path, "metadata", 0};
    struct path step = {&metadata_path, "name", 0};
    struct word_shown shown;
    char *whole = NULL;
    int rc = 0;

    if (name == NULL)
        return 0;
    if (asprintf(&whole, "%s/%s", namespace != NULL ? namespace : "", name) < 0)
        return RK_ENOMEM;
    if (json_object_get(reading->names, whole) != NULL)
        schema_error(&reading->checking, yaml_member(metadata, "name"), &step,
                     "give each job its own name", "there is a second MPIJob '%s' in the file",
                     word_show(name, &shown));
    else if (json_object_set_new(reading->names, whole, json_true()) != 0)
        rc = RK_ENOMEM;
    free(whole);
    return rc;
}

static int read_job(struct reading *reading, const struct yaml_node *node, const struct path *path,
                    struct mpijob_document *document)
{
    int rc = check_name_once(reading, node, path);

    reading->file->jobs++;
    if (rc != 0)
        return rk_fail(reading->why, rc, "no memory for the names of jobs");
    return mpijob_read(node, path, reading->checking.faults, &document->job, reading->why);
}

/* What every object must say; and a kind that was probably meant to be ours. */
static void check_other(struct reading *reading, const struct yaml_node *node,
                        const struct path *path)
{
    static const char *const ours[] = {MPIJOB_KIND};
    const char *version = schema_text(node, "apiVersion");
    const char *kind = schema_text(node, "kind");
    struct path version_path = {path, "apiVersion", 0};
    struct path kind_path = {path, "kind", 0};
    struct word_shown shown;

    if (kind == NULL)
        schema_error(&reading->checking, node, &kind_path,
                     "add kind: " MPIJOB_KIND " and apiVersion: " JOB_VERSION,
                     "the object does not say what it is");
    else if (version == NULL)
        schema_error(&reading->checking, node, &version_path, "add apiVersion:",
                     "the object does not say of which version of the API it is");
    if (kind != NULL && schema_nearest(&reading->checking, kind, ours, 1, sizeof ours[0]) != NULL)
        schema_warn(&reading->checking, yaml_member(node, "kind"), &kind_path,
                    "did you mean " MPIJOB_KIND "?", "'%s' is passed through as it is",
                    word_show(kind, &shown));
}

static bool is_list(const struct yaml_node *node)
{
    const struct yaml_node *items = yaml_member(node, "items");
    const char *kind = schema_text(node, "kind");

    return items != NULL && json_is_array(items->value) && kind != NULL &&
           (strcmp(kind, "List") == 0 || strcmp(kind, MPIJOB_KIND "List") == 0);
}

static int read_object(struct reading *reading, const struct yaml_node *node,
                       const struct path *path);

static int read_list(struct reading *reading, const struct yaml_node *node, const struct path *path)
{
    struct path items = {path, "items", 0};
    size_t index = 0;
    int rc = 0;

    for (const struct yaml_node *c = yaml_member(node, "items")->first; c != NULL && rc == 0;
         c = c->next, index++) {
        struct path step = {&items, NULL, index};

        rc = read_object(reading, c, &step);
    }
    return rc;
}

static int read_object(struct reading *reading, const struct yaml_node *node,
                       const struct path *path)
{
    struct mpijob_document *document;

    if (!json_is_object(node->value)) {
        schema_error(&reading->checking, node, path, "write it as lines of 'name: value'",
                     "an object is needed here");
        return 0;
    }
    if (is_list(node))
        return read_list(reading, node, path);
    document = add_document(reading->file, node);
    if (document == NULL)
        return rk_fail(reading->why, RK_ENOMEM, "no memory for the documents of a file");
    if (strcmp(document->kind, MPIJOB_KIND) == 0)
        return read_job(reading, node, path, document);
    check_other(reading, node, path);
    return 0;
}

static int read_documents(struct reading *reading)
{
    const struct yaml_place nowhere = {0, 0};
    struct faults *faults = reading->checking.faults;
    int rc = 0;

    for (const struct yaml_node *c = yaml_tree_first(reading->file->tree); c != NULL && rc == 0;
         c = c->next)
        rc = read_object(reading, c, NULL);
    if (rc == 0 && reading->file->jobs == 0 && faults->errors == 0)
        faults_add(faults, FAULT_WARNING, nowhere, NULL,
                   "an MPIJob starts with apiVersion: " JOB_VERSION " and kind: " MPIJOB_KIND,
                   reading->file->count == 0 ? "there is nothing in the file"
                                             : "there is no MPIJob in the file");
    return rc == 0 ? faults_rc(faults, reading->why) : rc;
}

int mpijob_file_read(const char *text, size_t size, struct faults *faults, struct mpijob_file **out,
                     struct rk_why *why)
{
    struct mpijob_file *file = calloc(1, sizeof *file);
    struct reading reading = {
        .file = file, .checking = {.faults = faults}, .names = json_object(), .why = why};
    int rc = RK_ENOMEM;

    if (file != NULL && reading.names != NULL)
        rc = yaml_tree_read(text, size, faults, &file->tree, why);
    else
        rk_fail(why, rc, "no memory for a manifest");
    if (rc == 0)
        rc = read_documents(&reading);
    json_decref(reading.names);
    if (rc != 0) {
        mpijob_file_free(file);
        return rc;
    }
    faults_sort(faults);
    *out = file;
    return 0;
}

/* Reads and checks what a stream holds: at most one byte more than the reader takes, which then
 * says that it is too much. */
static int read_stream(FILE *stream, const char *name, char *room, struct faults *faults,
                       struct mpijob_file **out, struct rk_why *why)
{
    size_t size = fread(room, 1, YAML_MAX_BYTES + 1, stream);

    if (ferror(stream))
        return rk_fail_errno(why, errno, "%.200s cannot be read", name);
    return mpijob_file_read(room, size, faults, out, why);
}

int mpijob_file_open(const char *path, struct faults *faults, struct mpijob_file **out,
                     struct rk_why *why)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "re");
    const char *name = standard ? "standard input" : path;
    char *room;
    int rc;

    if (stream == NULL)
        return rk_fail_errno(why, errno, "%.200s cannot be opened", path);
    room = malloc(YAML_MAX_BYTES + 1);
    rc = room != NULL ? read_stream(stream, name, room, faults, out, why)
                      : rk_fail(why, RK_ENOMEM, "no memory to read %.200s", name);
    free(room);
    if (!standard)
        fclose(stream);
    return rc;
}
