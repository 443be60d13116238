/* `reknit checkpoint`: offline tools on a checkpoint directory.  They need no running job, and do
 * no harm to one: only prune changes anything. */
#include "common/number.h"
#include "launch/commands.h"
#include "worker/checkpoint/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_USAGE 64

struct request {
    const char *root;
    bool json;
    bool has_step;
    uint64_t step;
    uint32_t keep;
    struct checkpoint_list list;
};

struct verb {
    const char *name;
    int (*run)(struct request *request);
    bool takes_step;
    bool takes_keep;
    const char *help;
};

static int run_list(struct request *request);
static int run_show(struct request *request);
static int run_digest(struct request *request);
static int run_verify(struct request *request);
static int run_prune(struct request *request);

static const struct verb verbs[] = {
    {"list", run_list, false, false,
     "usage: reknit checkpoint list DIR [--json]\n\n"
     "Lists what is in DIR, the one that a job would go on from first.\n"},
    {"show", run_show, true, false,
     "usage: reknit checkpoint show DIR [--step N] [--json]\n\n"
     "Shows the newest committed checkpoint, or that of step N: the job, its state, its "
     "tensors.\n"},
    {"digest", run_digest, true, false,
     "usage: reknit checkpoint digest DIR [--step N] [--json]\n\n"
     "Prints the SHA-256 of the state, 64 hex digits, of the newest committed step or of step N.\n"
     "It does not depend on how many workers wrote it.\n"},
    {"verify", run_verify, true, false,
     "usage: reknit checkpoint verify DIR [--step N] [--json]\n\n"
     "Reads every checkpoint (or that of step N) in full and compares all checksums.\n"
     "Exit code 65 when one is damaged.\n"},
    {"prune", run_prune, false, true,
     "usage: reknit checkpoint prune DIR --keep N [--json]\n\n"
     "Verifies, keeps the N newest sound checkpoints, removes older ones and attempts that an\n"
     "earlier life of the job abandoned.  Damaged ones stay, for you to look at.\n"},
};

static int general_help(FILE *out, int exit_code)
{
    fprintf(out, "usage: reknit checkpoint list|show|digest|verify|prune DIR [options]\n\n"
                 "  list    what is there, newest first\n"
                 "  show    one checkpoint: job, step, tensors\n"
                 "  digest  SHA-256 of the state, the same for every number of workers\n"
                 "  verify  read everything, compare all checksums\n"
                 "  prune   keep the newest ones only (--keep N)\n\n"
                 "Each has --help and --json.  Exit codes: 64 usage, 65 damaged data, 69 not "
                 "available.\n");
    return exit_code;
}

static int complain(int code, const struct rk_why *why)
{
    fprintf(stderr, "checkpoint: %s\n", why->text);
    return rk_error_exit_code(code);
}

static void print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(value);
}

static void format_date(char date[32], uint64_t wall)
{
    time_t seconds = (time_t)(wall / UINT64_C(1000000000));
    struct tm parts;

    if (gmtime_r(&seconds, &parts) == NULL || strftime(date, 32, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        snprintf(date, 32, "?");
}

static json_t *info_json(const struct checkpoint_info *info)
{
    json_t *value =
        json_pack("{s:s, s:I, s:I, s:I, s:s}", "name", info->dirname, "step",
                  (json_int_t)info->step, "epoch", (json_int_t)info->epoch, "attempt",
                  (json_int_t)info->attempt, "status", checkpoint_status_text(info->status));

    if (info->status != CHECKPOINT_COMMITTED) {
        json_object_set_new(value, "reason", json_string(info->reason));
        return value;
    }
    json_object_set_new(value, "job", json_string(info->run.job));
    json_object_set_new(value, "bytes", json_integer((json_int_t)info->bytes));
    json_object_set_new(value, "writers", json_integer((json_int_t)info->writers));
    json_object_set_new(value, "world_size", json_integer((json_int_t)info->run.world));
    json_object_set_new(value, "committed", json_real((double)info->run.wall / 1e9));
    return value;
}

static int run_list(struct request *request)
{
    json_t *all = json_array();

    if (!request->json && request->list.count > 0)
        printf("%10s %6s  %-11s %12s %7s  %-19s  %s\n", "step", "epoch", "status", "bytes",
               "writers", "committed (UTC)", "name");
    for (size_t i = 0; i < request->list.count; i++) {
        const struct checkpoint_info *info = &request->list.info[i];
        char date[32];

        json_array_append_new(all, info_json(info));
        format_date(date, info->run.wall);
        if (request->json)
            continue;
        printf("%10" PRIu64 " %6" PRIu32 "  %-11s ", info->step, info->epoch,
               checkpoint_status_text(info->status));
        if (info->status == CHECKPOINT_COMMITTED)
            printf("%12" PRIu64 " %7" PRIu32 "  %-19s  %s\n", info->bytes, info->writers, date,
                   info->dirname);
        else
            printf("%12s %7s  %-19s  %s (%s)\n", "-", "-", "-", info->dirname, info->reason);
    }
    if (request->json)
        print_json(json_pack("{s:O}", "checkpoints", all));
    else if (request->list.count == 0)
        printf("no checkpoints in %s\n", request->root);
    json_decref(all);
    return 0;
}

/* The one that --step names, or the newest; only committed ones count. */
static const struct checkpoint_info *choose(const struct request *request, int *exit_code)
{
    const struct checkpoint_info *damaged = NULL;

    for (size_t i = 0; i < request->list.count; i++) {
        const struct checkpoint_info *info = &request->list.info[i];

        if (request->has_step && info->step != request->step)
            continue;
        if (info->status == CHECKPOINT_COMMITTED)
            return info;
        if (damaged == NULL && info->status == CHECKPOINT_REJECTED)
            damaged = info;
    }
    *exit_code = damaged == NULL ? 69 : 65;
    if (damaged != NULL)
        fprintf(stderr, "checkpoint: no sound checkpoint: %s\n", damaged->reason);
    else if (request->has_step)
        fprintf(stderr,
                "checkpoint: no committed checkpoint of step %" PRIu64
                " in %s; see reknit checkpoint list\n",
                request->step, request->root);
    else
        fprintf(stderr, "checkpoint: no committed checkpoint in %s\n", request->root);
    return NULL;
}

static json_t *tensor_json(const struct rk_tensor *tensor)
{
    json_t *shape = json_array();

    for (uint32_t d = 0; d < tensor->ndim; d++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
    return json_pack("{s:s, s:s, s:o, s:I}", "name", tensor->name, "dtype",
                     rk_dtype_name(tensor->dtype), "shape", shape, "bytes",
                     (json_int_t)tensor->bytes);
}

static void show_json(const struct checkpoint_info *info, const struct rk_layout *layout)
{
    json_t *value = info_json(info);
    json_t *tensors = json_array();

    for (uint32_t t = 0; t < layout->tensor_count; t++)
        if (layout->tensor[t].kind == RK_TENSOR_STATE)
            json_array_append_new(tensors, tensor_json(&layout->tensor[t]));
    json_object_set_new(value, "seed", json_integer((json_int_t)info->run.seed));
    json_object_set_new(value, "batch", json_integer((json_int_t)info->run.batch));
    json_object_set_new(value, "shards", json_integer((json_int_t)info->run.shards));
    json_object_set_new(value, "reduction", json_string(info->run.reduction));
    json_object_set_new(value, "tensors", tensors);
    print_json(value);
}

static void show_text(const struct checkpoint_info *info, const struct rk_layout *layout)
{
    const struct checkpoint_run *run = &info->run;
    char date[32];

    format_date(date, run->wall);
    printf("checkpoint  %s, %" PRIu64 " bytes in %" PRIu32 " files\n", info->dirname, info->bytes,
           info->writers);
    printf("job         %s, step %" PRIu64 ", epoch %" PRIu32 ", committed %s UTC\n", run->job,
           run->step, run->epoch, date);
    printf("training    seed %" PRIu64 ", batch %" PRIu64 " in %" PRIu32
           " shards, world size %" PRIu32 ", reduction %s\n\n",
           run->seed, run->batch, run->shards, run->world, run->reduction);
    for (uint32_t t = 0; t < layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE)
            continue;
        printf("%12" PRIu64 "  %-4s %s [", tensor->bytes, rk_dtype_name(tensor->dtype),
               tensor->name);
        for (uint32_t d = 0; d < tensor->ndim; d++)
            printf("%s%" PRIu64, d == 0 ? "" : ", ", tensor->shape[d]);
        printf("]\n");
    }
}

static int run_show(struct request *request)
{
    int exit_code = 0;
    const struct checkpoint_info *info = choose(request, &exit_code);
    struct checkpoint_run run;
    struct rk_layout *layout = NULL;
    struct rk_why why = {.text = ""};
    int rc;

    if (info == NULL)
        return exit_code;
    rc = checkpoint_manifest_read(request->root, info->dirname, &run, &layout, &why);
    if (rc != 0)
        return complain(rc, &why);
    if (request->json)
        show_json(info, layout);
    else
        show_text(info, layout);
    rk_layout_free(layout);
    return 0;
}

static int run_digest(struct request *request)
{
    int exit_code = 0;
    const struct checkpoint_info *info = choose(request, &exit_code);
    char hex[CHECKPOINT_DIGEST_SIZE];
    struct rk_why why = {.text = ""};
    int rc;

    if (info == NULL)
        return exit_code;
    rc = checkpoint_digest(request->root, info->dirname, hex, &why);
    if (rc != 0)
        return complain(rc, &why);
    if (request->json)
        print_json(json_pack("{s:s, s:I, s:s}", "name", info->dirname, "step",
                             (json_int_t)info->step, "digest", hex));
    else
        printf("%s\n", hex);
    return 0;
}

/* Verifies one; what was set aside or never committed is only mentioned. */
static int verify_one(const struct request *request, const struct checkpoint_info *info,
                      json_t *all)
{
    struct rk_why why = {.text = ""};
    const char *verdict = "ok";
    int rc = 0;

    if (info->status == CHECKPOINT_COMMITTED)
        rc = checkpoint_verify(request->root, info->dirname, &why);
    else
        snprintf(why.text, sizeof why.text, "%s", info->reason);
    if (info->status == CHECKPOINT_REJECTED)
        rc = RK_EDATA;
    if (info->status == CHECKPOINT_INCOMPLETE || info->status == CHECKPOINT_QUARANTINED)
        verdict = checkpoint_status_text(info->status);
    else if (rc != 0)
        verdict = rk_error_exit_code(rc) == 65 ? "damaged" : "unreadable";
    json_array_append_new(all, json_pack("{s:s, s:I, s:s, s:s}", "name", info->dirname, "step",
                                         (json_int_t)info->step, "verdict", verdict, "reason",
                                         why.text));
    if (!request->json)
        printf("%-28s %s%s%s\n", info->dirname, verdict, why.text[0] == '\0' ? "" : ": ", why.text);
    return rc == 0 ? 0 : rk_error_exit_code(rc);
}

static int run_verify(struct request *request)
{
    json_t *all = json_array();
    int exit_code = 0;
    bool any = false;

    for (size_t i = 0; i < request->list.count; i++) {
        const struct checkpoint_info *info = &request->list.info[i];
        int code;

        if (request->has_step && info->step != request->step)
            continue;
        any = any || info->status == CHECKPOINT_COMMITTED || info->status == CHECKPOINT_REJECTED;
        code = verify_one(request, info, all);
        exit_code = exit_code == 65 || code == 0 ? exit_code : code;
    }
    if (request->json)
        print_json(json_pack("{s:O}", "checkpoints", all));
    json_decref(all);
    if (!any)
        choose(request, &exit_code);
    return exit_code;
}

static int run_prune(struct request *request)
{
    struct checkpoint_retention retention = {.keep = request->keep, .verify = true};
    struct rk_why why = {.text = ""};
    uint32_t removed = 0;
    int rc;

    for (size_t i = 0; i < request->list.count; i++)
        if (request->list.info[i].epoch > retention.epoch)
            retention.epoch = request->list.info[i].epoch;
    rc = checkpoint_retain(request->root, &retention, &removed, &why);
    if (rc != 0)
        return complain(rc, &why);
    if (request->json)
        print_json(json_pack("{s:I}", "removed", (json_int_t)removed));
    else
        printf("removed %" PRIu32 "\n", removed);
    return 0;
}

static int refuse(const struct verb *verb, const char *what, const char *word)
{
    fprintf(stderr, "checkpoint %s: %s%s%s\n%s", verb->name, what, word == NULL ? "" : " ",
            word == NULL ? "" : word, verb->help);
    return EXIT_USAGE;
}

/* argv[0] is the verb. */
static int parse(const struct verb *verb, int argc, char **argv, struct request *request)
{
    uint64_t keep = 0;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--json") == 0) {
            request->json = true;
        } else if (verb->takes_step && strcmp(argv[i], "--step") == 0) {
            if (value == NULL || !rk_number_parse(value, 0, INT64_MAX, &request->step))
                return refuse(verb, "--step needs the number of a step", NULL);
            request->has_step = true;
            i++;
        } else if (verb->takes_keep && strcmp(argv[i], "--keep") == 0) {
            if (value == NULL || !rk_number_parse(value, 1, UINT32_MAX, &keep))
                return refuse(verb, "--keep needs a number of at least 1", NULL);
            i++;
        } else if (argv[i][0] == '-') {
            return refuse(verb, "there is no option", argv[i]);
        } else if (request->root != NULL) {
            return refuse(verb, "one directory at a time, not also", argv[i]);
        } else {
            request->root = argv[i];
        }
    }
    request->keep = (uint32_t)keep;
    if (request->root == NULL || request->root[0] == '\0')
        return refuse(verb, "which directory?", NULL);
    return verb->takes_keep && keep == 0 ? refuse(verb, "how many to --keep?", NULL) : 0;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    struct request request = {0};
    struct rk_why why = {.text = ""};
    int rc;

    if (wants_help(argc, argv)) {
        fputs(verb->help, stdout);
        return 0;
    }
    rc = parse(verb, argc, argv, &request);
    if (rc != 0)
        return rc;
    rc = checkpoint_list(request.root, &request.list, &why);
    if (rc != 0)
        return complain(rc, &why);
    rc = verb->run(&request);
    checkpoint_list_done(&request.list);
    return rc;
}

int command_checkpoint(int argc, char **argv)
{
    if (argc > 1)
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
            if (strcmp(argv[1], verbs[i].name) == 0)
                return run_verb(&verbs[i], argc - 1, argv + 1);
    if (wants_help(argc, argv))
        return general_help(stdout, 0);
    if (argc > 1)
        fprintf(stderr, "checkpoint: there is no '%s'\n", argv[1]);
    return general_help(stderr, EXIT_USAGE);
}
