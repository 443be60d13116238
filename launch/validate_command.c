/* `reknit validate`: every fault of manifests, with its place, the field and the remedy. */
#include "k8s/manifest/faults.h"
#include "k8s/manifest/mpijob_file.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/surroundings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_FAULTS 65

struct validate_options {
    bool json;
};

static const struct argument arguments[] = {
    {"--json", NULL, "one JSON document instead of lines", argument_flag,
     offsetof(struct validate_options, json), 0, 0},
};

static const struct command validate_command = {
    .name = "reknit validate",
    .usage = "FILE... [--json]",
    .about = "Reads manifests and lists every fault of their MPIJobs.  Objects of other kinds are\n"
             "passed through.  FILE may be -, standard input.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after = "A line is FILE:LINE:COLUMN: error|warning: FIELD: what is wrong; what to do\n"
             "exit codes: 0 no errors, though there may be warnings; 64 usage; 65 errors; 69 a\n"
             "file cannot be read.",
};

/* What all files together came to. */
struct tally {
    size_t files, jobs, others, errors, warnings;
};

static void print_others(const char *name, const struct mpijob_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct mpijob_document *document = &file->document[i];

        if (document->kind[0] != '\0' && strcmp(document->kind, MPIJOB_KIND) != 0)
            printf("%s:%u:%u: note: %s%s%s is passed through as it is\n", name,
                   (unsigned)document->at.line, (unsigned)document->at.column, document->kind,
                   document->name[0] != '\0' ? " " : "", document->name);
    }
}

static json_t *faults_json(const struct faults *faults)
{
    json_t *list = json_array();

    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->fault[i];

        json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "severity",
                            fault->severity == FAULT_ERROR ? "error" : "warning", "line",
                            (int)fault->at.line, "column", (int)fault->at.column, "path",
                            fault->path, "sentence", fault->sentence, "remedy", fault->remedy));
    }
    return list;
}

static json_t *file_json(const char *name, const struct mpijob_file *file,
                         const struct faults *faults)
{
    json_t *documents = json_array();

    for (size_t i = 0; i < file->count; i++)
        json_array_append_new(
            documents, json_pack("{s:s, s:s, s:i, s:b}", "kind", file->document[i].kind, "name",
                                 file->document[i].name, "line", (int)file->document[i].at.line,
                                 "valid", file->document[i].job != NULL));
    return json_pack("{s:s, s:o, s:o, s:I, s:I}", "file", name, "documents", documents, "faults",
                     faults_json(faults), "errors", (json_int_t)faults->errors, "warnings",
                     (json_int_t)faults->warnings);
}

static void count(const struct mpijob_file *file, const struct faults *faults, struct tally *tally)
{
    tally->files++;
    tally->jobs += file->jobs;
    tally->others += file->count - file->jobs;
    tally->errors += faults->errors;
    tally->warnings += faults->warnings;
}

/* One file; `list` takes what JSON says of it, NULL: lines are printed. */
static int validate_file(const char *path, json_t *list, const struct fault_colours *colours,
                         struct tally *tally)
{
    const char *name = strcmp(path, "-") == 0 ? "stdin" : path;
    struct mpijob_file *file;
    struct faults faults;
    struct rk_why why = {""};
    int rc;

    faults_init(&faults);
    rc = mpijob_file_open(path, &faults, &file, &why);
    if (rc == 0) {
        count(file, &faults, tally);
        if (list != NULL) {
            json_array_append_new(list, file_json(name, file, &faults));
        } else {
            faults_print(&faults, name, colours, stdout);
            print_others(name, file);
        }
        mpijob_file_free(file);
    } else {
        rc = command_fail(&validate_command, rc, &why);
    }
    faults_done(&faults);
    return rc;
}

static const char *plural(size_t number)
{
    return number == 1 ? "" : "s";
}

static void print_summary(const struct tally *tally, json_t *list)
{
    json_t *whole;

    if (list == NULL) {
        printf("%zu MPIJob%s", tally->jobs, plural(tally->jobs));
        if (tally->others > 0)
            printf(" and %zu other object%s", tally->others, plural(tally->others));
        printf(" in %zu file%s: %zu error%s, %zu warning%s\n", tally->files, plural(tally->files),
               tally->errors, plural(tally->errors), tally->warnings, plural(tally->warnings));
        return;
    }
    whole = json_pack("{s:O, s:I, s:I}", "files", list, "errors", (json_int_t)tally->errors,
                      "warnings", (json_int_t)tally->warnings);
    json_dumpf(whole, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(whole);
}

static struct fault_colours choose_colours(void)
{
    static const struct fault_colours none = {"", "", "", ""};
    static const struct fault_colours some = {"\033[1m", "\033[1;31m", "\033[1;33m", "\033[0m"};
    const char *term = surroundings_get("TERM");
    bool terminal = isatty(STDOUT_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);

    return terminal && surroundings_get("NO_COLOR") == NULL ? some : none;
}

int command_validate(int argc, char **argv)
{
    struct validate_options options = {false};
    struct fault_colours colours = choose_colours();
    struct tally tally = {0};
    struct rk_why why = {"name a file with a manifest, or - for standard input"};
    json_t *list = NULL;
    int words;
    int exit_code = 0;

    if (arguments_take(&validate_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    if (words == 0)
        return command_fail(&validate_command, RK_EINVAL, &why);
    if (options.json)
        list = json_array();
    for (int i = 1; i <= words; i++) {
        int rc = validate_file(argv[i], list, &colours, &tally);

        exit_code = rc != 0 ? rc : exit_code;
    }
    print_summary(&tally, list);
    json_decref(list);
    return exit_code != 0 ? exit_code : tally.errors > 0 ? EXIT_FAULTS : 0;
}
