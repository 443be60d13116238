/* The table of annotations; see settings.h. */
#include "k8s/manifest/settings.h"

#include "common/id.h"
#include "common/number.h"
#include "k8s/manifest/syntax.h"
#include "k8s/manifest/words.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define DAY (UINT64_C(24) * 3600 * SECOND)
#define LEAST_INTERVAL (SECOND / 100)

struct setting {
    const char *name; /* without the prefix */
    const char *type; /* in the table */
    const char *fallback;
    const char *help;
    /* Takes the text into the field at `offset`; RK_EINVAL with the sentence, RK_ENOMEM. */
    int (*take)(const struct setting *setting, const char *text, void *field, struct rk_why *why);
    size_t offset;
    uint64_t min, max;
    const char *const *words; /* NULL ended */
};

static int take_count(const struct setting *setting, const char *text, void *field,
                      struct rk_why *why)
{
    struct word_shown shown;
    uint64_t value = 0;

    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return rk_fail(why, RK_EINVAL, "'%s' is not a whole number", word_show(text, &shown));
    if (!rk_number_parse(text, setting->min, setting->max, &value))
        return rk_fail(why, RK_EINVAL, "%s is not possible: it must be %" PRIu64 " to %" PRIu64,
                       word_show(text, &shown), setting->min, setting->max);
    *(uint32_t *)field = (uint32_t)value;
    return 0;
}

static int take_port(const struct setting *setting, const char *text, void *field,
                     struct rk_why *why)
{
    uint32_t value = 0;
    int rc = take_count(setting, text, &value, why);

    if (rc == 0)
        *(uint16_t *)field = (uint16_t)value;
    return rc;
}

static int take_shards(const struct setting *setting, const char *text, void *field,
                       struct rk_why *why)
{
    uint32_t value = 0;
    uint32_t fitting = 1;
    int rc = take_count(setting, text, &value, why);

    if (rc != 0)
        return rc;
    while (fitting < value)
        fitting *= 2;
    if (fitting != value)
        return rk_fail(why, RK_EINVAL, "%" PRIu32 " is not a power of two; %" PRIu32 " is", value,
                       fitting);
    *(uint32_t *)field = value;
    return 0;
}

static int find_word(const struct setting *setting, const char *text, size_t *index,
                     struct rk_why *why)
{
    struct word_shown shown;

    for (*index = 0; setting->words[*index] != NULL; ++*index)
        if (strcmp(setting->words[*index], text) == 0)
            return 0;
    return rk_fail(why, RK_EINVAL, "'%s' is not known; it can be %s", word_show(text, &shown),
                   setting->type);
}

static int take_word(const struct setting *setting, const char *text, void *field,
                     struct rk_why *why)
{
    size_t index;
    int rc = find_word(setting, text, &index, why);

    if (rc == 0)
        *(const char **)field = setting->words[index];
    return rc;
}

/* The words are in the order of the enum. */
static int take_worker_command(const struct setting *setting, const char *text, void *field,
                               struct rk_why *why)
{
    size_t index;
    int rc = find_word(setting, text, &index, why);

    if (rc == 0)
        *(enum mpijob_worker_command *)field = (enum mpijob_worker_command)index;
    return rc;
}

static int take_duration(const struct setting *setting, const char *text, void *field,
                         struct rk_why *why)
{
    struct word_shown shown;
    uint64_t ns;
    int rc = word_duration(text, &ns, why);

    if (rc != 0)
        return rc;
    if (ns < setting->min || ns > setting->max)
        return rk_fail(
            why, RK_EINVAL, "%s is not possible: it must be %" PRIu64 "s to %" PRIu64 "h",
            word_show(text, &shown), setting->min / SECOND, setting->max / (3600 * SECOND));
    *(uint64_t *)field = ns;
    return 0;
}

static bool is_steps(const char *text)
{
    size_t length = strspn(text, "0123456789");
    char digits[24];
    uint64_t steps;

    if (length == 0 || length >= sizeof digits ||
        (strcmp(text + length, "steps") != 0 && strcmp(text + length, "step") != 0))
        return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    return rk_number_parse(digits, 1, UINT32_MAX, &steps);
}

static int take_interval(const struct setting *setting, const char *text, void *field,
                         struct rk_why *why)
{
    struct word_shown shown;
    uint64_t ns;
    bool good = strcmp(text, "auto") == 0 || strcmp(text, "off") == 0 || is_steps(text);

    (void)setting;
    if (!good)
        good = word_duration(text, &ns, NULL) == 0 && ns >= LEAST_INTERVAL;
    if (!good)
        return rk_fail(why, RK_EINVAL,
                       "'%s' is not an interval: auto, off, a time (30s) or steps (100steps)",
                       word_show(text, &shown));
    *(const char **)field = text;
    return 0;
}

static int take_directory(const struct setting *setting, const char *text, void *field,
                          struct rk_why *why)
{
    struct word_shown shown;

    (void)setting;
    if (*text != '/')
        return rk_fail(why, RK_EINVAL, "'%s' is not an absolute path: it must start with '/'",
                       word_show(text, &shown));
    for (const char *part = text; part != NULL; part = strchr(part + 1, '/'))
        if (strncmp(part, "/..", 3) == 0 && (part[3] == '/' || part[3] == '\0'))
            return rk_fail(why, RK_EINVAL, "'%s' has '..' in it, which a mount cannot have",
                           word_show(text, &shown));
    *(const char **)field = text;
    return 0;
}

static int take_dns_name(const struct setting *setting, const char *text, void *field,
                         struct rk_why *why)
{
    struct word_shown shown;

    (void)setting;
    if (!syntax_dns_name(text))
        return rk_fail(why, RK_EINVAL,
                       "'%s' is not a name that Kubernetes takes: small letters, digits, '-' and "
                       "'.' inside",
                       word_show(text, &shown));
    *(const char **)field = text;
    return 0;
}

static int take_image(const struct setting *setting, const char *text, void *field,
                      struct rk_why *why)
{
    struct word_shown shown;

    (void)setting;
    if (*text == '\0' || text[strcspn(text, " \t\r\n")] != '\0')
        return rk_fail(why, RK_EINVAL, "'%s' is not the name of an image", word_show(text, &shown));
    *(const char **)field = text;
    return 0;
}

/* A JSON array of strings, or a line. */
static int take_program(const struct setting *setting, const char *text, void *field,
                        struct rk_why *why)
{
    struct word_shown shown;
    json_error_t error;
    size_t index;
    json_t *word;
    json_t *words = NULL;
    int rc = 0;

    (void)setting;
    if (text[strspn(text, " \t\r\n")] == '[') {
        words = json_loads(text, JSON_REJECT_DUPLICATES, &error);
        if (words == NULL && json_error_code(&error) == json_error_out_of_memory)
            return rk_fail(why, RK_ENOMEM, "no memory for a command line");
        if (words == NULL)
            return rk_fail(why, RK_EINVAL, "not a JSON array: %s, at its character %d",
                           word_show(error.text, &shown), error.position);
    } else {
        rc = word_split(text, &words, why);
    }
    if (rc != 0)
        return rc;
    json_array_foreach(words, index, word)
    {
        if (rc == 0 && !json_is_string(word))
            rc = rk_fail(why, RK_EINVAL, "element %zu of the array is not a string", index);
    }
    if (rc == 0 &&
        (json_array_size(words) == 0 || json_string_length(json_array_get(words, 0)) == 0))
        rc = rk_fail(why, RK_EINVAL, "there is no program in it");
    if (rc == 0)
        *(const json_t **)field = words;
    else
        json_decref(words);
    return rc;
}

#define AT(field) offsetof(struct mpijob_settings, field)

static const char *const backends[] = {"auto", "mpi", "nccl", "none", NULL};
static const char *const reductions[] = {"exact", "fast", NULL};
static const char *const worker_commands[] = {"auto", "agent", "wrap", NULL};

static const struct setting settings_table[] = {
    {"min-workers", "1 to 100000", "`1`",
     "The job starts, and goes on, with so many workers, a launcher that is one among them; below, "
     "it waits with its state kept.",
     take_count, AT(min_workers), 1, SETTINGS_MAX_WORKERS, NULL},
    {"max-workers", "1 to 100000", "`Worker.replicas`",
     "The job never has more worker pods; `Worker.replicas` may change up to it while the job "
     "runs.",
     take_count, AT(max_workers), 1, SETTINGS_MAX_WORKERS, NULL},
    {"program", "command line, or JSON array of strings", "none",
     "What the agents start as ranks. Then survivors of a loss go on without being started again, "
     "and the launcher's own command is not run. A line is cut into words as a shell does, and "
     "nothing in it is expanded.",
     take_program, AT(program), 0, 0, NULL},
    {"checkpoint-dir", "absolute path", "none", "Where checkpoints go and come from, in every pod.",
     take_directory, AT(checkpoint_dir), 0, 0, NULL},
    {"checkpoint-claim", "name", "none",
     "A PersistentVolumeClaim (ReadWriteMany) that is mounted at `checkpoint-dir`, or at "
     "`/reknit-checkpoints` where that is not given.",
     take_dns_name, AT(checkpoint_claim), 0, 0, NULL},
    {"checkpoint-interval", "auto, off, a time (30s) or steps (100steps)", "`auto`",
     "How often; `auto` weighs what a checkpoint costs against what a loss would; `off`: only at "
     "the end.",
     take_interval, AT(checkpoint_interval), 0, 0, NULL},
    {"keep", "1 to 1000", "`3`", "Checkpoints that stay, the newest.", take_count, AT(keep), 1,
     1000, NULL},
    {"backend", "auto, mpi, nccl or none", "`auto`",
     "What moves gradients between workers; `none`: any program, only its environment is given.",
     take_word, AT(backend), 0, 0, backends},
    {"reduction", "exact or fast", "`exact`",
     "`exact`: the same bits whatever is lost; `fast`: less memory and traffic.", take_word,
     AT(reduction), 0, 0, reductions},
    {"shards", "power of two, 1 to 1024", "chosen by the coordinator",
     "Parts of the global batch, at least the largest world; the result depends on it.",
     take_shards, AT(shards), 1, RK_MAX_SHARDS, NULL},
    {"max-restarts", "0 to 1000000", "`100`", "Losses within an hour before the job gives up.",
     take_count, AT(max_restarts), 0, 1000000, NULL},
    {"spares", "0 to 1000", "`0`",
     "Worker pods more than the job uses, ready to take a lost one's place.", take_count,
     AT(spares), 0, 1000, NULL},
    {"gather", "time, at most 24h", "`0s`",
     "How long to wait for all workers before starting with `min-workers`; `0s` stands "
     "for a minute.",
     take_duration, AT(gather_ns), 0, DAY, NULL},
    {"stall-timeout", "time, 1s to 24h", "never",
     "A rank whose program keeps control for so long, without a call of the library that waits for "
     "the others, is killed and replaced; where no sum comes for twice as long, with nobody lost, "
     "carriers or communicators are made anew.",
     take_duration, AT(stall_ns), SECOND, DAY, NULL},
    {"image", "image", "that of this version", "The image that brings the agent into the pods.",
     take_image, AT(image), 0, 0, NULL},
    {"port", "1 to 65535", "`7465`", "Where agents listen in their pods.", take_port, AT(port), 1,
     65535, NULL},
    {"cluster-domain", "DNS name", "`cluster.local`", "What names in the cluster end with.",
     take_dns_name, AT(cluster_domain), 0, 0, NULL},
    {"worker-command", "auto, agent or wrap", "`auto`",
     "What becomes of a worker's own command. `auto`: of none, or of `sshd`, the agent takes the "
     "place; else as `wrap`. `agent`: the agent takes its place, whatever it is. `wrap`: it runs, "
     "and the `sshd` that it finds is the agent.",
     take_worker_command, AT(worker_command), 0, 0, worker_commands},
};
#define SETTINGS (sizeof settings_table / sizeof settings_table[0])

static void set_defaults(struct mpijob_settings *settings)
{
    *settings = (struct mpijob_settings){
        .min_workers = 1,
        .checkpoint_interval = "auto",
        .keep = 3,
        .backend = "auto",
        .reduction = "exact",
        .max_restarts = 100,
        .port = SETTINGS_PORT,
        .cluster_domain = "cluster.local",
        .worker_command = MPIJOB_WORKER_AUTO,
    };
}

static void unknown_setting(const struct checking *checking, const struct yaml_node *node,
                            const char *name, const struct path *path)
{
    char remedy[160] = "the annotations are listed in k8s/README.md";
    const char *nearest =
        schema_nearest(checking, name, &settings_table[0].name, SETTINGS, sizeof settings_table[0]);

    if (nearest != NULL)
        snprintf(remedy, sizeof remedy, "did you mean " SETTINGS_PREFIX "%s?", nearest);
    faults_add(checking->faults, FAULT_ERROR, node->key_at, path, remedy,
               "there is no annotation of this name");
}

static void read_setting(const struct checking *checking, const struct yaml_node *node,
                         const struct path *path, struct mpijob_settings *settings)
{
    const char *name = node->key + strlen(SETTINGS_PREFIX);
    const char *text = json_string_value(node->value);
    struct rk_why why = {""};
    int rc;

    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *setting = &settings_table[i];

        if (strcmp(setting->name, name) != 0)
            continue;
        if (text == NULL)
            return; /* annotations are texts: the table of metadata has said so */
        rc = setting->take(setting, text, (char *)settings + setting->offset, &why);
        if (rc == RK_ENOMEM)
            checking->faults->rc = rc;
        else if (rc != 0)
            schema_error(checking, node, path, NULL, "%s", why.text);
        return;
    }
    unknown_setting(checking, node, name, path);
}

void settings_read(const struct checking *checking, const struct yaml_node *annotations,
                   const struct path *path, struct mpijob_settings *settings)
{
    set_defaults(settings);
    if (annotations == NULL || !json_is_object(annotations->value))
        return;
    for (const struct yaml_node *c = annotations->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};

        if (strncmp(c->key, SETTINGS_PREFIX, strlen(SETTINGS_PREFIX)) == 0)
            read_setting(checking, c, &step, settings);
    }
}

void settings_print(FILE *out)
{
    fprintf(out, "| annotation | value | default | what it does |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < SETTINGS; i++)
        fprintf(out, "| `" SETTINGS_PREFIX "%s` | %s | %s | %s |\n", settings_table[i].name,
                settings_table[i].type, settings_table[i].fallback, settings_table[i].help);
}
