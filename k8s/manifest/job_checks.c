/* What concerns more than one field of an MPIJob; see job_schema.h. */
#include "k8s/manifest/job_schema.h"
#include "k8s/manifest/reserved.h"
#include "k8s/manifest/settings.h"
#include "k8s/manifest/syntax.h"
#include "k8s/manifest/words.h"

#include "common/id.h"

#include <inttypes.h>
#include <string.h>

#define LIFE_DIGITS 5u /* of the number that tells a replacement from those before it */

/* The fields that are looked at together; a node is NULL where it is not there or not right. */
struct parts {
    const struct yaml_node *metadata, *spec, *launcher, *worker;
    struct path metadata_path, spec_path, types_path, launcher_path, worker_path;
    uint32_t workers; /* 0: none, or not right */
    uint32_t own;     /* workers that are no pods of Worker, as mpijob_own */
    uint32_t slots;
    const struct mpijob_settings *settings;
};

static const struct yaml_node *object_member(const struct yaml_node *node, const char *key)
{
    const struct yaml_node *member = yaml_member(node, key);

    return member != NULL && json_is_object(member->value) ? member : NULL;
}

/* A whole number from 1 on; 0 where there is none. */
static uint32_t count_of(const struct yaml_node *object, const char *key)
{
    const struct yaml_node *member = yaml_member(object, key);
    json_int_t value = member != NULL ? json_integer_value(member->value) : 0;

    return value > 0 && value <= INT32_MAX ? (uint32_t)value : 0;
}

static void find_parts(struct parts *parts, const struct yaml_node *job, const struct path *path,
                       const struct mpijob_settings *settings)
{
    const struct yaml_node *types;
    const struct yaml_node *also;

    *parts = (struct parts){
        .metadata = object_member(job, "metadata"),
        .spec = object_member(job, "spec"),
        .metadata_path = {path, "metadata", 0},
        .spec_path = {path, "spec", 0},
        .settings = settings,
    };
    types = object_member(parts->spec, "mpiReplicaSpecs");
    parts->types_path = (struct path){&parts->spec_path, "mpiReplicaSpecs", 0};
    parts->launcher_path = (struct path){&parts->types_path, "Launcher", 0};
    parts->worker_path = (struct path){&parts->types_path, "Worker", 0};
    parts->launcher = object_member(types, "Launcher");
    parts->worker = object_member(types, "Worker");
    parts->workers = count_of(parts->worker, "replicas");
    also = yaml_member(parts->spec, "runLauncherAsWorker");
    parts->own = also != NULL && json_is_true(also->value) ? 1 : 0;
    parts->slots = count_of(parts->spec, "slotsPerWorker");
    if (parts->slots == 0)
        parts->slots = 1;
}

/* The place of an annotation, or of metadata where there is none of that name. */
static const struct yaml_node *setting_node(const struct parts *parts, const char *name)
{
    const struct yaml_node *node = yaml_member(yaml_member(parts->metadata, "annotations"), name);

    return node != NULL ? node : parts->metadata;
}

static unsigned digits_of(uint64_t number)
{
    unsigned digits = 1;

    for (; number >= 10; number /= 10)
        digits++;
    return digits;
}

/* The pod with the longest name is a replacement of the last worker: NAME-worker-<i>-<n>. */
static void check_name_length(const struct checking *checking, const struct parts *parts,
                              const struct yaml_node *node, const char *text,
                              const struct path *path)
{
    const struct mpijob_settings *settings = parts->settings;
    uint64_t pods = (uint64_t)(parts->workers > settings->max_workers ? parts->workers
                                                                      : settings->max_workers) +
                    settings->spares;
    size_t length = strlen(text);
    uint64_t last = pods > 0 ? pods - 1 : 0;
    size_t suffix = strlen("-worker--") + digits_of(last) + LIFE_DIGITS;

    if (length + suffix > DNS_LABEL_MAX)
        schema_error(checking, node, path, "shorten it",
                     "the name is %zu characters too long: the pod that replaces worker %" PRIu64
                     " is named NAME-worker-%" PRIu64 "-12345 at the longest, and a name in DNS "
                     "has at most %u characters",
                     length + suffix - DNS_LABEL_MAX, last, last, DNS_LABEL_MAX);
}

/* Where there is no name: metadata itself is not there, or is told of by its table. */
static void check_missing_name(const struct checking *checking, const struct parts *parts,
                               const struct path *path)
{
    if (schema_text(parts->metadata, "generateName") != NULL)
        schema_error(checking, parts->metadata, path, "write name: in the place of generateName:",
                     "a job is found by its name, so it must be in the manifest");
    else
        schema_error(checking, parts->metadata, path, "add name: and a name", "it is missing");
}

static void check_name(const struct checking *checking, const struct parts *parts)
{
    const struct yaml_node *node = yaml_member(parts->metadata, "name");
    struct path path = {&parts->metadata_path, "name", 0};
    struct word_shown shown;
    const char *text;

    if (parts->metadata == NULL)
        return;
    if (node == NULL || json_is_null(node->value)) {
        check_missing_name(checking, parts, &path);
        return;
    }
    text = json_string_value(node->value);
    if (text == NULL)
        return;
    if (syntax_service_start(text))
        check_name_length(checking, parts, node, text, &path);
    else
        schema_error(checking, node, &path,
                     "use small letters, digits and '-' inside, the first a letter, as train-7",
                     "'%s' cannot be the name of a job: pods and their Service are named after it",
                     word_show(text, &shown));
}

static void check_limits(const struct checking *checking, const struct parts *parts,
                         struct mpijob_settings *settings)
{
    static const char *const min_name = RESERVED_PREFIX "min-workers";
    static const char *const max_name = RESERVED_PREFIX "max-workers";
    struct path annotations = {&parts->metadata_path, "annotations", 0};
    struct path min_path = {&annotations, min_name, 0};
    struct path max_path = {&annotations, max_name, 0};
    uint32_t given = settings->max_workers;

    if (settings->max_workers == 0)
        settings->max_workers = parts->workers;
    if (parts->workers + parts->own == 0)
        return;
    if (settings->min_workers > parts->workers + parts->own)
        schema_error(checking, setting_node(parts, min_name), &min_path,
                     "lower it, or raise Worker.replicas",
                     "%" PRIu32 " is more than the %" PRIu32 " workers of the job",
                     settings->min_workers, parts->workers + parts->own);
    if (given != 0 && given < parts->workers)
        schema_error(checking, setting_node(parts, max_name), &max_path,
                     "raise it, or lower Worker.replicas",
                     "%" PRIu32 " is less than the %" PRIu32 " workers of the job", given,
                     parts->workers);
}

/* A program of ours: a rank has at least one shard, and a worker so many ranks at most. */
static void check_world(const struct checking *checking, const struct parts *parts)
{
    static const char *const name = RESERVED_PREFIX "shards";
    const struct mpijob_settings *settings = parts->settings;
    struct path slots_path = {&parts->spec_path, "slotsPerWorker", 0};
    struct path annotations = {&parts->metadata_path, "annotations", 0};
    struct path shards_path = {&annotations, name, 0};
    uint64_t world = ((uint64_t)settings->max_workers + parts->own) * parts->slots;
    bool shares = settings->program != NULL && strcmp(settings->backend, "none") != 0;

    if (parts->spec == NULL)
        return;
    if (settings->program != NULL && parts->slots > RK_MAX_SLOTS)
        schema_error(checking, yaml_member(parts->spec, "slotsPerWorker"), &slots_path,
                     "use more workers with fewer ranks each", "an agent starts at most %d ranks",
                     RK_MAX_SLOTS);
    else if (shares && world > RK_MAX_SHARDS)
        schema_error(checking, parts->worker != NULL ? parts->worker : parts->spec,
                     &parts->worker_path, "use fewer workers or slots",
                     "%" PRIu64 " ranks are more than %d, the most that share gradients", world,
                     RK_MAX_SHARDS);
    else if (shares && settings->shards != 0 && settings->shards < world)
        schema_error(checking, setting_node(parts, name), &shards_path, "raise it",
                     "%" PRIu32 " shards are too few for %" PRIu64
                     " ranks: each needs at least one",
                     settings->shards, world);
}

static void check_workers(const struct checking *checking, const struct parts *parts)
{
    if (parts->spec == NULL || parts->worker != NULL || parts->launcher == NULL || parts->own > 0)
        return;
    if (parts->settings->program != NULL)
        schema_error(checking, parts->launcher, &parts->worker_path,
                     "add Worker: with replicas, or set runLauncherAsWorker: true",
                     "reknit.dev/program runs in workers, and there are none");
    else
        schema_warn(checking, parts->launcher, &parts->worker_path,
                    "add Worker: with replicas, or set runLauncherAsWorker: true",
                    "the job has no workers: its launcher runs alone");
}

static void check_gang(const struct checking *checking, const struct parts *parts)
{
    const struct yaml_node *policy =
        object_member(object_member(parts->spec, "runPolicy"), "schedulingPolicy");
    struct path run_path = {&parts->spec_path, "runPolicy", 0};
    struct path policy_path = {&run_path, "schedulingPolicy", 0};
    struct path path = {&policy_path, "minAvailable", 0};
    uint64_t pods = (uint64_t)parts->settings->max_workers + parts->settings->spares + 1;
    uint32_t wanted = count_of(policy, "minAvailable");

    if (wanted > pods && parts->workers > 0)
        schema_error(checking, yaml_member(policy, "minAvailable"), &path, "lower it",
                     "%" PRIu32 " pods must be placed at once, and the job never has more than "
                     "%" PRIu64 ": it would never start",
                     wanted, pods);
}

/* The replica's policy stands above the template's. */
static void check_restart(const struct checking *checking, const struct yaml_node *replica,
                          const char *fallback, const struct path *path)
{
    const struct yaml_node *pod = yaml_member(yaml_member(replica, "template"), "spec");
    const char *wanted = schema_text(replica, "restartPolicy");
    const char *given = schema_text(pod, "restartPolicy");
    struct path template_path = {path, "template", 0};
    struct path pod_path = {&template_path, "spec", 0};
    struct path step = {&pod_path, "restartPolicy", 0};

    wanted = wanted != NULL ? wanted : fallback;
    if (given != NULL && strcmp(given, wanted) != 0)
        schema_warn(checking, yaml_member(pod, "restartPolicy"), &step,
                    "take it out, and write restartPolicy: beside template:",
                    "it has no effect: that of the replica type, %s, counts", wanted);
}

/* Agents listen in the workers' main containers. */
static void check_agent_port(const struct checking *checking, const struct parts *parts)
{
    const struct yaml_node *pod = yaml_member(yaml_member(parts->worker, "template"), "spec");
    const struct yaml_node *containers = yaml_member(pod, "containers");
    const struct yaml_node *ports =
        containers != NULL ? yaml_member(containers->first, "ports") : NULL;
    struct path step[6] = {{&parts->worker_path, "template", 0},
                           {&step[0], "spec", 0},
                           {&step[1], "containers", 0},
                           {&step[2], NULL, 0},
                           {&step[3], "ports", 0}};
    size_t index = 0;

    for (const struct yaml_node *c = ports != NULL ? ports->first : NULL; c != NULL;
         c = c->next, index++) {
        step[5] = (struct path){&step[4], NULL, index};
        if (count_of(c, "containerPort") == parts->settings->port)
            schema_error(checking, c, &step[5],
                         "choose another, or say another in annotation reknit.dev/port",
                         "the agent listens on port %u", (unsigned)parts->settings->port);
    }
}

/* True when `path` lies in the directory `above`. */
static bool lies_in(const char *path, const char *above)
{
    size_t length = strlen(above);

    while (length > 0 && above[length - 1] == '/')
        length--;
    return strncmp(path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* True where the main container of a replica type has a volume under the checkpoints. */
static bool keeps_checkpoints(const struct parts *parts, const struct yaml_node *replica)
{
    const struct yaml_node *pod = yaml_member(yaml_member(replica, "template"), "spec");
    const struct yaml_node *containers = yaml_member(pod, "containers");
    const struct yaml_node *mounts =
        containers != NULL ? yaml_member(containers->first, "volumeMounts") : NULL;

    for (const struct yaml_node *c = mounts != NULL ? mounts->first : NULL; c != NULL;
         c = c->next) {
        const char *mounted = schema_text(c, "mountPath");

        if (mounted != NULL && lies_in(parts->settings->checkpoint_dir, mounted))
            return true;
    }
    return false;
}

static void check_storage(const struct checking *checking, const struct parts *parts)
{
    static const char *const name = RESERVED_PREFIX "checkpoint-dir";
    const struct mpijob_settings *settings = parts->settings;
    bool works = parts->own > 0 && settings->program != NULL;
    struct path annotations = {&parts->metadata_path, "annotations", 0};
    struct path path = {&annotations, name, 0};

    if (settings->checkpoint_dir == NULL || settings->checkpoint_claim != NULL)
        return;
    if (parts->worker != NULL && !keeps_checkpoints(parts, parts->worker))
        schema_warn(checking, setting_node(parts, name), &path,
                    "name a claim in reknit.dev/checkpoint-claim, or mount a volume there",
                    "no volume of the workers is mounted there, so checkpoints go when their pod "
                    "does");
    else if (works && !keeps_checkpoints(parts, parts->launcher))
        schema_warn(checking, setting_node(parts, name), &path,
                    "name a claim in reknit.dev/checkpoint-claim, or mount a volume there",
                    "the launcher is a worker, and no volume of its is mounted there, so its part "
                    "of a checkpoint goes when its pod does");
}

void job_check(const struct checking *checking, const struct yaml_node *job,
               const struct path *path, struct mpijob_settings *settings)
{
    struct parts parts;

    find_parts(&parts, job, path, settings);
    check_limits(checking, &parts, settings);
    check_name(checking, &parts);
    check_workers(checking, &parts);
    check_world(checking, &parts);
    check_gang(checking, &parts);
    check_restart(checking, parts.launcher, "OnFailure", &parts.launcher_path);
    check_restart(checking, parts.worker, "Never", &parts.worker_path);
    check_agent_port(checking, &parts);
    check_storage(checking, &parts);
}
