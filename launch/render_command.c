/* `reknit render`: the objects that run the MPIJobs of a manifest, for `kubectl apply` or to read.
 */
#include "k8s/manifest/faults.h"
#include "k8s/manifest/mpijob_file.h"
#include "k8s/manifest/yaml_print.h"
#include "k8s/render/render.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/gang.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_FAULTS 65

struct render_request {
    struct render_options options;
    bool rbac, json;
};

static int take_format(const struct argument *argument, const char *value, void *target,
                       struct rk_why *why)
{
    bool *json = (bool *)((char *)target + argument->offset);

    if (strcmp(value, "json") != 0 && strcmp(value, "yaml") != 0)
        return rk_fail(why, RK_EINVAL, "'%.40s' is no format; give yaml or json", value);
    *json = strcmp(value, "json") == 0;
    return 0;
}

#define AT(field) offsetof(struct render_request, field)

static const struct argument arguments[] = {
    {"--namespace", "N", "of the objects, where the manifest names none (default)", argument_text,
     AT(options.namespace), 0, 0},
    {"--image", "IMAGE", "that brings the agent (the manifest's, or that of this version)",
     argument_text, AT(options.image), 0, 0},
    {"--gang", "NAME",
     "volcano, scheduler-plugins or none: who keeps a job from\n"
     "starting with half of its pods (volcano, where a\n"
     "template's schedulerName is that; else none)",
     argument_gang, AT(options.gang), 0, 0},
    {"--rbac", NULL,
     "first the ServiceAccount and Role that the coordinator\n"
     "needs, which a namespace's admin installs once; also\n"
     "without a FILE",
     argument_flag, AT(rbac), 0, 0},
    {"-o", "yaml|json", "json: one List (yaml: documents)", take_format, AT(json), 0, 0},
};

static const struct command render_command = {
    .name = "reknit render",
    .usage = "FILE... [options]",
    .about =
        "Prints every object that runs the MPIJobs of manifests, as YAML for `kubectl apply`.\n"
        "Objects of other kinds are passed through, in their places.  FILE may be -, standard\n"
        "input.  The same manifest gives the same bytes; the job's secret, which is random, is\n"
        "made by `reknit submit` or by the coordinator.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after = "exit codes: 0 rendered; 64 usage; 65 errors in a manifest, listed as by\n"
             "`reknit validate`; 69 a file cannot be read.",
};

/* Behind those that are there; `more` is taken. */
static int append(json_t *objects, json_t *more, struct rk_why *why)
{
    int rc = json_array_extend(objects, more);

    json_decref(more);
    return rc == 0 ? 0 : rk_fail(why, RK_ENOMEM, "no memory is left for the objects");
}

static int render_document(const struct render_request *request,
                           const struct mpijob_document *document, json_t *objects,
                           struct rk_why *why)
{
    json_t *more = NULL;
    int rc;

    if (document->job == NULL)
        return json_array_append(objects, document->object) == 0
                   ? 0
                   : rk_fail(why, RK_ENOMEM, "no memory is left for the objects");
    rc = render_job(document->job, &request->options, &more, why);
    return rc == 0 ? append(objects, more, why) : rc;
}

/* Appends what a file comes to; the exit code of what is wrong with it has been told about. */
static int render_file(const struct render_request *request, const char *path, json_t *objects)
{
    const char *name = strcmp(path, "-") == 0 ? "stdin" : path;
    struct mpijob_file *file;
    struct faults faults;
    struct rk_why why = {""};
    int exit_code = 0;
    int rc;

    faults_init(&faults);
    rc = mpijob_file_open(path, &faults, &file, &why);
    if (rc == 0) {
        faults_print(&faults, name, &faults_plain, stderr);
        exit_code = faults.errors > 0 ? EXIT_FAULTS : 0;
        for (size_t i = 0; i < file->count && exit_code == 0; i++) {
            rc = render_document(request, &file->document[i], objects, &why);
            exit_code = rc != 0 ? rk_error_exit_code(rc) : 0;
            if (rc != 0)
                fprintf(stderr, "%s:%u:%u: error: %s\n", name, (unsigned)file->document[i].at.line,
                        (unsigned)file->document[i].at.column, why.text);
        }
        mpijob_file_free(file);
    } else {
        exit_code = command_fail(&render_command, rc, &why);
    }
    faults_done(&faults);
    return exit_code;
}

static int print_yaml(const json_t *objects, struct rk_why *why)
{
    char *text = NULL;
    int rc = yaml_print_all(objects, &text, why);

    if (rc == 0)
        fputs(text, stdout);
    free(text);
    return rc;
}

static int print_json(json_t *objects, struct rk_why *why)
{
    json_t *list =
        json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", objects);
    int rc = json_dumpf(list, stdout, JSON_INDENT(2));

    json_decref(list);
    printf("\n");
    return rc == 0 ? 0 : rk_fail(why, RK_EIO, "the objects could not be printed");
}

/* All at the end: where something is wrong, nothing is printed that could be applied. */
static int print_objects(const struct render_request *request, json_t *objects)
{
    struct rk_why why = {""};
    int rc = request->json ? print_json(objects, &why) : print_yaml(objects, &why);

    if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        rc = rk_fail(&why, RK_EIO, "standard output cannot be written");
    return rc == 0 ? 0 : command_fail(&render_command, rc, &why);
}

int command_render(int argc, char **argv)
{
    struct render_request request = {.json = false};
    struct rk_why why = {"name a file with a manifest, or - for standard input"};
    json_t *objects;
    json_t *rights = NULL;
    int words;
    int exit_code = 0;
    int rc = 0;

    if (arguments_take(&render_command, argc, argv, &request, &words, &exit_code) != 0)
        return exit_code;
    if (words == 0 && !request.rbac)
        return command_fail(&render_command, RK_EINVAL, &why);
    objects = json_array();
    if (request.rbac)
        rc = render_rbac(request.options.namespace, request.options.gang, &rights, &why);
    if (rc == 0 && rights != NULL)
        rc = append(objects, rights, &why);
    if (rc != 0)
        exit_code = command_fail(&render_command, rc, &why);
    for (int i = 1; i <= words && rc == 0; i++) {
        int code = render_file(&request, argv[i], objects);

        exit_code = code != 0 ? code : exit_code;
    }
    if (exit_code == 0)
        exit_code = print_objects(&request, objects);
    json_decref(objects);
    return exit_code;
}
