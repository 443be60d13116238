/* Kubeconfig files into an api_config; see config.h.
 *
 * Only the chosen context and what it names is looked into: other entries may be of kinds that this
 * client does not know. */
#include "k8s/client/base64.h"
#include "k8s/client/config.h"
#include "k8s/client/document.h"
#include "k8s/client/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FILES 64u

struct file {
    struct file *next;
    char *path;
    char *folder;
    json_t *root;
};

/* An entry of one of the lists, and where it was found. */
struct entry {
    const struct file *file;
    json_t *object;
    char where[160]; /* "users[dev].user"; "" for the file itself */
};

struct load {
    struct file *files; /* in their order */
    size_t count;
    const char *first; /* path of the first that is there */
    struct api_config *config;
    struct rk_why *why;
};

static int no_memory(const struct load *load)
{
    return rk_fail(load->why, RK_ENOMEM, "no memory to read a kubeconfig");
}

static struct file *add_file(struct load *load)
{
    struct file **end = &load->files;

    while (*end != NULL)
        end = &(*end)->next;
    *end = calloc(1, sizeof **end);
    load->count++;
    return *end;
}

static void free_files(struct file *file)
{
    while (file != NULL) {
        struct file *next = file->next;

        free(file->path);
        free(file->folder);
        json_decref(file->root);
        free(file);
        file = next;
    }
}

/* Opens one file.  One that is not there is no error, and has no root. */
static int open_file(struct load *load, const char *path, size_t length)
{
    struct file *file = add_file(load);
    struct rk_why detail = {""};
    const char *slash;
    int rc;

    if (file == NULL)
        return no_memory(load);
    file->path = strndup(path, length);
    if (file->path == NULL)
        return no_memory(load);
    slash = strrchr(file->path, '/');
    file->folder =
        slash != NULL ? strndup(file->path, (size_t)(slash - file->path) + 1) : strdup(".");
    if (file->folder == NULL)
        return no_memory(load);
    rc = document_read(file->path, &file->root, &detail);
    if (rc == 0 && load->first == NULL)
        load->first = file->path;
    return rc == 0 || rc == RK_ENOENT ? 0 : rk_fail(load->why, rc, "%s", detail.text);
}

static int open_files(struct load *load, const char *list)
{
    for (const char *at = list; *at != '\0';) {
        size_t length = strcspn(at, ":");
        int rc = length > 0 ? open_file(load, at, length) : 0;

        if (load->count > MOST_FILES)
            return rk_fail(load->why, RK_EINVAL, "more than %u kubeconfig files were named",
                           MOST_FILES);
        if (rc != 0)
            return rc;
        at += length + (at[length] == ':');
    }
    if (load->first == NULL)
        return rk_fail(load->why, RK_ENOENT,
                       "there is no kubeconfig file: none of '%.300s' is there", list);
    return 0;
}

static int fault(const struct load *load, const struct entry *entry, const char *key, int code,
                 const char *what)
{
    return rk_fail(load->why, code, "%s: %s%s%s %s", entry->file->path, entry->where,
                   entry->where[0] != '\0' ? "." : "", key, what);
}

/* *text is the value of `key`, NULL when it is absent, null or empty. */
static int look_text(const struct load *load, const struct entry *entry, const char *key,
                     const char **text)
{
    const json_t *value = json_object_get(entry->object, key);

    *text = NULL;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return fault(load, entry, key, RK_EDATA, "must be text; put it in quotes");
    if (strlen(json_string_value(value)) != json_string_length(value))
        return fault(load, entry, key, RK_EDATA, "has a zero byte in it");
    if (json_string_length(value) > 0)
        *text = json_string_value(value);
    return 0;
}

static int take_text(const struct load *load, const struct entry *entry, const char *key, char **to)
{
    const char *text;
    int rc = look_text(load, entry, key, &text);

    if (rc != 0 || text == NULL)
        return rc;
    *to = strdup(text);
    return *to != NULL ? 0 : no_memory(load);
}

static int take_path(const struct load *load, const struct entry *entry, const char *key, char **to)
{
    const char *text;
    int rc = look_text(load, entry, key, &text);

    if (rc != 0 || text == NULL)
        return rc;
    *to = file_path(entry->file->folder, text);
    return *to != NULL ? 0 : no_memory(load);
}

static int take_flag(const struct load *load, const struct entry *entry, const char *key, bool *to)
{
    const json_t *value = json_object_get(entry->object, key);

    if (value != NULL && !json_is_null(value) && !json_is_boolean(value))
        return fault(load, entry, key, RK_EDATA, "must be true or false");
    *to = json_is_true(value);
    return 0;
}

/* KEY-data goes before KEY, as in kubectl. */
static int take_material(const struct load *load, const struct entry *entry, const char *key,
                         struct api_material *to)
{
    const char *text;
    char data_key[64];
    int rc;

    snprintf(data_key, sizeof data_key, "%s-data", key);
    rc = look_text(load, entry, data_key, &text);
    if (rc != 0)
        return rc;
    if (text == NULL)
        return take_path(load, entry, key, &to->path);
    to->data = base64_decode(text, &to->size);
    if (to->data == NULL)
        return fault(load, entry, data_key, RK_EDATA, "is not base64");
    return 0;
}

/* The names of a list, for a sentence. */
static void list_names(const struct load *load, const char *list, char *names, size_t size)
{
    size_t used = 0;

    names[0] = '\0';
    for (const struct file *file = load->files; file != NULL; file = file->next) {
        const json_t *all = json_object_get(file->root, list);

        for (size_t i = 0; i < json_array_size(all) && used + 1 < size; i++) {
            const char *name = json_string_value(json_object_get(json_array_get(all, i), "name"));

            if (name != NULL)
                used +=
                    (size_t)snprintf(names + used, size - used, "%s%s", used > 0 ? ", " : "", name);
        }
    }
    if (used == 0)
        snprintf(names, size, "none");
}

/* The entry of `list` (contexts) with this name and its `part` (context), of the first file that
 * has it. */
static int find_entry(const struct load *load, const char *list, const char *part, const char *name,
                      struct entry *entry)
{
    char names[160];

    for (const struct file *file = load->files; file != NULL; file = file->next) {
        const json_t *all = json_object_get(file->root, list);

        for (size_t i = 0; i < json_array_size(all); i++) {
            json_t *one = json_array_get(all, i);
            const char *its_name = json_string_value(json_object_get(one, "name"));

            if (its_name == NULL || strcmp(its_name, name) != 0)
                continue;
            entry->file = file;
            entry->object = json_object_get(one, part);
            snprintf(entry->where, sizeof entry->where, "%s[%.100s].%s", list, name, part);
            if (!json_is_object(entry->object))
                return rk_fail(load->why, RK_EDATA, "%s: %s is missing", entry->file->path,
                               entry->where);
            return 0;
        }
    }
    list_names(load, list, names, sizeof names);
    return rk_fail(load->why, RK_ENOENT, "%s: %s has no entry named '%.100s'; there are: %s",
                   load->first, list, name, names);
}

static int check_server(const struct load *load, const struct entry *entry)
{
    char *server = load->config->server;
    size_t length;

    if (server == NULL)
        return fault(load, entry, "server", RK_EDATA, "is missing");
    if (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)
        return fault(load, entry, "server", RK_EDATA, "must begin with https:// or http://");
    if (strpbrk(server, "?# \t\r\n") != NULL)
        return fault(load, entry, "server", RK_EDATA, "must be an address and a path, no more");
    length = strlen(server);
    while (length > 0 && server[length - 1] == '/')
        server[--length] = '\0';
    return 0;
}

/* What an exec plugin may be told of the cluster (provideClusterInfo). */
static int take_exec_cluster(const struct load *load, const struct entry *entry)
{
    static const char *const keys[] = {"server", "tls-server-name", "proxy-url",
                                       "insecure-skip-tls-verify", "certificate-authority-data"};
    json_t *to = json_object();
    const json_t *extensions = json_object_get(entry->object, "extensions");

    load->config->exec_cluster = to;
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        if (json_object_get(entry->object, keys[k]) != NULL)
            json_object_set(to, keys[k], json_object_get(entry->object, keys[k]));
    for (size_t i = 0; i < json_array_size(extensions); i++) {
        const json_t *one = json_array_get(extensions, i);
        const char *name = json_string_value(json_object_get(one, "name"));

        if (name != NULL && strcmp(name, "client.authentication.k8s.io/exec") == 0)
            json_object_set(to, "config", json_object_get(one, "extension"));
    }
    return to != NULL ? 0 : no_memory(load);
}

static int take_cluster(const struct load *load, const struct entry *entry)
{
    struct api_config *config = load->config;
    int rc = take_text(load, entry, "server", &config->server);

    if (rc == 0)
        rc = check_server(load, entry);
    if (rc == 0)
        rc = take_material(load, entry, "certificate-authority", &config->ca);
    if (rc == 0)
        rc = take_flag(load, entry, "insecure-skip-tls-verify", &config->insecure);
    if (rc == 0)
        rc = take_text(load, entry, "tls-server-name", &config->tls_name);
    if (rc == 0)
        rc = take_text(load, entry, "proxy-url", &config->proxy);
    return rc == 0 ? take_exec_cluster(load, entry) : rc;
}

/* The exec plugin is checked here, where file and key can be named, and run by plugin.c. */
static int take_exec(const struct load *load, const struct entry *user)
{
    struct entry exec = *user;
    const char *version;
    const char *command;
    int rc;

    exec.object = json_object_get(user->object, "exec");
    if (exec.object == NULL || json_is_null(exec.object))
        return 0;
    snprintf(exec.where, sizeof exec.where, "%.140s.exec", user->where);
    if (!json_is_object(exec.object))
        return fault(load, user, "exec", RK_EDATA, "must be an object");
    rc = look_text(load, &exec, "apiVersion", &version);
    if (rc == 0)
        rc = look_text(load, &exec, "command", &command);
    if (rc != 0)
        return rc;
    if (version == NULL || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
                            strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
        return fault(load, &exec, "apiVersion", RK_EDATA,
                     "must be client.authentication.k8s.io/v1 or /v1beta1");
    if (command == NULL)
        return fault(load, &exec, "command", RK_EDATA, "is missing");
    load->config->exec = json_incref(exec.object);
    load->config->exec_folder = strdup(user->file->folder);
    return load->config->exec_folder != NULL ? 0 : no_memory(load);
}

/* What this client cannot do must not be left out silently: requests would go as someone else. */
static int refuse_unknown_identity(const struct load *load, const struct entry *entry)
{
    static const char *const keys[] = {"auth-provider", "as", "as-uid", "as-groups",
                                       "as-user-extra"};

    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        if (json_object_get(entry->object, keys[k]) != NULL)
            return fault(load, entry, keys[k], RK_EUNAVAILABLE,
                         "is not supported; use a token, a client certificate or an exec plugin");
    return 0;
}

static int take_user(const struct load *load, const struct entry *entry)
{
    struct api_config *config = load->config;
    int rc = refuse_unknown_identity(load, entry);

    if (rc == 0)
        rc = take_material(load, entry, "client-certificate", &config->cert);
    if (rc == 0)
        rc = take_material(load, entry, "client-key", &config->key);
    if (rc == 0)
        rc = take_text(load, entry, "token", &config->token);
    if (rc == 0)
        rc = take_path(load, entry, "tokenFile", &config->token_file);
    if (rc == 0)
        rc = take_text(load, entry, "username", &config->user);
    if (rc == 0)
        rc = take_text(load, entry, "password", &config->password);
    if (rc != 0)
        return rc;
    if ((config->cert.path == NULL && config->cert.data == NULL) !=
        (config->key.path == NULL && config->key.data == NULL))
        return fault(load, entry, "client-certificate", RK_EDATA,
                     "and client-key must be given both, or neither");
    return take_exec(load, entry);
}

static int choose_context(const struct load *load, const char *wanted, const char **name)
{
    struct entry top = {.where = ""};

    *name = wanted;
    for (const struct file *file = load->files; file != NULL && *name == NULL; file = file->next) {
        int rc;

        top.file = file;
        top.object = file->root;
        rc = look_text(load, &top, "current-context", name);
        if (rc != 0)
            return rc;
    }
    if (*name != NULL)
        return 0;
    return rk_fail(load->why, RK_ENOENT, "%s: current-context is not set; name a context",
                   load->first);
}

static int take_context(const struct load *load, const char *name)
{
    struct api_config *config = load->config;
    struct entry context;
    struct entry cluster;
    struct entry user;
    const char *cluster_name;
    const char *user_name = NULL;
    int rc = find_entry(load, "contexts", "context", name, &context);

    if (rc == 0)
        rc = look_text(load, &context, "cluster", &cluster_name);
    if (rc == 0 && cluster_name == NULL)
        rc = fault(load, &context, "cluster", RK_EDATA, "is missing");
    if (rc == 0)
        rc = look_text(load, &context, "user", &user_name);
    if (rc == 0)
        rc = take_text(load, &context, "namespace", &config->namespace);
    if (rc == 0)
        rc = find_entry(load, "clusters", "cluster", cluster_name, &cluster);
    if (rc == 0)
        rc = take_cluster(load, &cluster);
    if (rc == 0 && user_name != NULL)
        rc = find_entry(load, "users", "user", user_name, &user);
    if (rc == 0 && user_name != NULL)
        rc = take_user(load, &user);
    if (rc != 0)
        return rc;
    if (config->namespace == NULL)
        config->namespace = strdup("default");
    if (asprintf(&config->origin, "%s, context %s", context.file->path, name) < 0)
        config->origin = NULL;
    return config->namespace != NULL && config->origin != NULL ? 0 : no_memory(load);
}

int api_config_load(const char *list, const char *context, struct api_config *config,
                    struct rk_why *why)
{
    struct load load = {.config = config, .why = why};
    const char *name;
    int rc;

    memset(config, 0, sizeof *config);
    rc = open_files(&load, list);
    if (rc == 0)
        rc = choose_context(&load, context, &name);
    if (rc == 0)
        rc = take_context(&load, name);
    free_files(load.files);
    if (rc != 0)
        api_config_done(config);
    return rc;
}
