/* `reknit doctor`: what works on this machine, and why something does not. */
#include "launch/commands.h"
#include "launch/doctor_probe.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct probe {
    const char *name;
    bool needed; /* without it no job can run: the command then exits with 69 */
    void (*look)(struct finding *finding);
};

static const struct probe probes[] = {
    {"sealed memory", true, probe_memfd},
    {"process descriptors", true, probe_pidfd},
    {"subreaper", true, probe_subreaper},
    {"futex", true, probe_futex},
    {"processors", true, probe_processors},
    {"memory", true, probe_memory},
    {"open files", false, probe_open_files},
    {"processes", false, probe_processes},
    {"locked memory", false, probe_locked_memory},
    {"/tmp", true, probe_tmp},
    {"runtime folder", false, probe_runtime_folder},
    {"network", false, probe_network},
    {"host names", false, probe_names},
    {"Open MPI", false, probe_mpi},
    {"ssh", false, probe_ssh},
    {"ZeroMQ", true, probe_zmq},
    {"HDF5", true, probe_hdf5},
    {"CUDA", false, probe_cuda},
    {"NCCL", false, probe_nccl},
};

static const char *const state_names[] = {
    [FINDING_OK] = "ok", [FINDING_WARN] = "warn", [FINDING_MISSING] = "missing"};

static void print_text(const struct probe *probe, const struct finding *finding)
{
    printf("%-8s %-20s %s\n", state_names[finding->state], probe->name, finding->text);
    if (finding->advice[0])
        printf("%-8s %-20s -> %s\n", "", "", finding->advice);
}

static json_t *as_json(const struct probe *probe, const struct finding *finding)
{
    return json_pack("{s:s, s:s, s:b, s:s, s:s}", "name", probe->name, "state",
                     state_names[finding->state], "needed", probe->needed ? 1 : 0, "text",
                     finding->text, "advice", finding->advice);
}

static int say_last(int missing)
{
    if (missing > 0)
        printf("\n%d needed thing%s missing: jobs cannot run here\n", missing,
               missing == 1 ? " is" : "s are");
    else
        printf("\njobs can run here\n");
    return missing > 0 ? 69 : 0;
}

static int usage(FILE *out, int code)
{
    fputs("usage: reknit doctor [--json]\n"
          "\n"
          "Says what works on this machine, and why something does not.\n"
          "  --json   one object: {\"ok\": bool, \"findings\": [{name, state, needed, text, "
          "advice}]}\n"
          "\n"
          "Exit: 0, or 69 when something is missing without which no job can run.\n",
          out);
    return code;
}

int command_doctor(int argc, char **argv)
{
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    json_t *findings = json_array();
    int missing = 0;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        json_decref(findings);
        return usage(stdout, 0);
    }
    if (argc > 1 && !json) {
        fprintf(stderr, "doctor: unknown option '%s'; there is only --json\n", argv[1]);
        json_decref(findings);
        return usage(stderr, 64);
    }
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        struct finding finding = {.state = FINDING_OK};

        probes[i].look(&finding);
        if (finding.state == FINDING_MISSING && probes[i].needed)
            missing++;
        if (json)
            json_array_append_new(findings, as_json(&probes[i], &finding));
        else
            print_text(&probes[i], &finding);
    }
    if (json) {
        json_t *all = json_pack("{s:b, s:o}", "ok", missing == 0 ? 1 : 0, "findings", findings);

        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(all);
        return missing > 0 ? 69 : 0;
    }
    json_decref(findings);
    return say_last(missing);
}
