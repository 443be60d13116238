/* Victims of a benchmark, from the status of its job and from /proc; see bench_victims.h. */
#include "launch/bench_victims.h"

#include "launch/event_text.h"
#include "launch/surroundings.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT_MOST (256u << 10)

const char *const victim_names[VICTIM_COUNT_] = {"rank", "carrier", "mpirun", "host"};

bool victim_parse(const char *word, enum victim *kind)
{
    for (int k = 0; k < VICTIM_COUNT_; k++) {
        if (strcmp(word, victim_names[k]) != 0)
            continue;
        *kind = (enum victim)k;
        return true;
    }
    return false;
}

bool victims_whole(const json_t *status, size_t hosts, bool standby)
{
    size_t carriers = json_array_size(json_object_get(status, "carriers"));
    size_t others = json_array_size(json_object_get(status, "standby_carriers"));

    if (hosts < 2)
        return true;
    return carriers == hosts && (!standby || others == hosts);
}

/* ---- one of many ----------------------------------------------------------------------------- */

static void add(pid_t pids[VICTIMS_MOST], size_t *count, int64_t pid)
{
    if (pid > 1 && *count < VICTIMS_MOST)
        pids[(*count)++] = (pid_t)pid;
}

static void keep_one(pid_t *pids, size_t *count)
{
    if (*count == 0)
        return;
    pids[0] = pids[surroundings_random() % *count];
    *count = 1;
}

static void add_ranks(const json_t *worker, pid_t pids[VICTIMS_MOST], size_t *count)
{
    const json_t *rank;
    size_t i;

    json_array_foreach(json_object_get(worker, "ranks"), i, rank)
        add(pids, count, event_integer(rank, "pid", 0));
}

/* Those of `host`, NULL: of all hosts. */
static void add_carriers(const json_t *status, const char *list, const char *host,
                         pid_t pids[VICTIMS_MOST], size_t *count)
{
    const json_t *carrier;
    size_t i;

    json_array_foreach(json_object_get(status, list), i, carrier)
    {
        const char *name = json_string_value(json_object_get(carrier, "host"));

        if (host == NULL || (name != NULL && strcmp(name, host) == 0))
            add(pids, count, event_integer(carrier, "pid", 0));
    }
}

/* ---- mpirun ---------------------------------------------------------------------------------- */

static size_t read_proc(const char *pid, const char *file, char *text, size_t size)
{
    char path[64];
    FILE *in;
    size_t got;

    snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
    in = fopen(path, "re");
    if (in == NULL)
        return 0;
    got = fread(text, 1, size - 1, in);
    text[got] = '\0';
    fclose(in);
    return got;
}

static bool has_variable(const char *text, size_t size, const char *variable)
{
    for (const char *at = text; at < text + size; at += strlen(at) + 1)
        if (strcmp(at, variable) == 0)
            return true;
    return false;
}

/* mpirun of the carriers `launch` of `job`. */
static void add_mpirun(const char *job, int64_t launch, pid_t pids[VICTIMS_MOST], size_t *count)
{
    char *text = malloc(ENVIRONMENT_MOST);
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    char name[128];
    char number[64];

    snprintf(name, sizeof name, "REKNIT_JOB=%.100s", job);
    snprintf(number, sizeof number, "REKNIT_CARRIER_JOB=%lld", (long long)launch);
    while (text != NULL && folder != NULL && (entry = readdir(folder)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        size_t size;

        if (pid <= 1 || read_proc(entry->d_name, "comm", text, ENVIRONMENT_MOST) == 0 ||
            (strcmp(text, "mpirun\n") != 0 && strcmp(text, "orterun\n") != 0))
            continue;
        size = read_proc(entry->d_name, "environ", text, ENVIRONMENT_MOST);
        if (has_variable(text, size, name) && has_variable(text, size, number))
            add(pids, count, pid);
    }
    if (folder != NULL)
        closedir(folder);
    free(text);
}

/* ---- a host ---------------------------------------------------------------------------------- */

/* Of a random worker's host: what kills the rest with it, the wardens, comes first. */
static void add_host(const json_t *status, pid_t pids[VICTIMS_MOST], size_t *count)
{
    const json_t *workers = json_object_get(status, "workers");
    size_t size = json_array_size(workers);
    const json_t *worker;
    const char *host;
    size_t i;

    if (size == 0)
        return;
    worker = json_array_get(workers, surroundings_random() % size);
    host = json_string_value(json_object_get(worker, "host"));
    for (int part = 0; part < 3 && host != NULL; part++) {
        json_array_foreach(workers, i, worker)
        {
            const char *name = json_string_value(json_object_get(worker, "host"));

            if (name == NULL || strcmp(name, host) != 0)
                continue;
            if (part == 2)
                add_ranks(worker, pids, count);
            else
                add(pids, count, event_integer(worker, part == 0 ? "warden_pid" : "pid", 0));
        }
    }
    if (host == NULL)
        return;
    add_carriers(status, "carriers", host, pids, count);
    add_carriers(status, "standby_carriers", host, pids, count);
}

size_t victims_pick(const json_t *status, enum victim kind, const char *job,
                    pid_t pids[VICTIMS_MOST])
{
    const json_t *carriers = json_object_get(status, "carriers");
    const json_t *worker;
    size_t count = 0;
    size_t i;

    switch (kind) {
    case VICTIM_CARRIER:
        add_carriers(status, "carriers", NULL, pids, &count);
        keep_one(pids, &count);
        break;
    case VICTIM_MPIRUN:
        add_mpirun(job, event_integer(json_array_get(carriers, 0), "job", 0), pids, &count);
        break;
    case VICTIM_HOST:
        add_host(status, pids, &count);
        break;
    default:
        json_array_foreach(json_object_get(status, "workers"), i, worker)
            add_ranks(worker, pids, &count);
        keep_one(pids, &count);
        break;
    }
    return count;
}
