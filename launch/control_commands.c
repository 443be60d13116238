/* Live control of a job: status, events, scale, drain, stop, kill. */
#include "common/clock.h"
#include "launch/arguments.h"
#include "launch/client.h"
#include "launch/commands.h"
#include "launch/event_text.h"
#include "launch/options.h"
#include "launch/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct control_options {
    bool json;
    bool follow;
    const char *host;
    uint64_t within;
};

#define LONGEST_WITHIN (UINT64_C(24) * 3600 * RK_S)
#define ID_DIGITS 16

#define JOB_ABOUT "JOB may be left out when exactly one job is running."

static const struct argument json_argument = {
    "--json", NULL, "as JSON", argument_flag, offsetof(struct control_options, json), 0, 0};
static const struct argument events_arguments[] = {
    {"--json", NULL, "as JSON, one object a line", argument_flag,
     offsetof(struct control_options, json), 0, 0},
    {"--follow", NULL, "go on until the job ends", argument_flag,
     offsetof(struct control_options, follow), 0, 0},
};

static const struct command status_command = {
    .name = "reknit status",
    .usage = "[JOB] [--json]",
    .about = "Shows where a running job is: its workers and ranks.\n" JOB_ABOUT,
    .arguments = &json_argument,
    .count = 1,
};
static const struct command events_command = {
    .name = "reknit events",
    .usage = "[JOB] [--json] [--follow]",
    .about = "Shows what has happened in a running job.\n" JOB_ABOUT,
    .arguments = events_arguments,
    .count = 2,
};
static const struct command scale_command = {
    .name = "reknit scale",
    .usage = "[JOB] N",
    .about = "Sets the number of workers of a running job.\n" JOB_ABOUT,
};
static const struct argument drain_arguments[] = {
    {"--host", "NAME", "all workers of that host", argument_text,
     offsetof(struct control_options, host), 0, 0},
    {"--within", "TIME", "when they will end (30s)", argument_duration,
     offsetof(struct control_options, within), RK_MS, LONGEST_WITHIN},
};
static const struct command drain_command = {
    .name = "reknit drain",
    .usage = "[JOB] WORKER | [JOB] --host NAME",
    .about =
        "Lets a worker, or those of a host, hand over to others and leave: each works on until\n"
        "the one launched in its place is ready, or until its time is nearly over.  No step is\n"
        "lost, no restart spent.  WORKER: its id, as `reknit status` shows it.\n" JOB_ABOUT,
    .arguments = drain_arguments,
    .count = 2,
};
static const struct command stop_command = {
    .name = "reknit stop",
    .usage = "[JOB]",
    .about = "Lets a job finish its step and write a checkpoint, then ends it.\n" JOB_ABOUT,
};
static const struct command kill_command = {
    .name = "reknit kill",
    .usage = "[JOB]",
    .about = "Ends a job at once.\n" JOB_ABOUT,
};

/* Opens the job, asks, closes; *text as of client_ask.  Returns the exit code. */
static int ask(const struct command *command, const char *job, const struct client_request *request,
               char **text)
{
    struct client client;
    struct rk_why why = {""};
    int rc = client_open(job, &client, &why);

    if (rc == 0)
        rc = client_ask(&client, request, text, &why);
    client_close(&client);
    return rc == 0 ? 0 : command_fail(command, rc, &why);
}

static int too_many(const struct command *command, const char *word)
{
    struct rk_why why;

    rk_fail(&why, RK_EINVAL, "'%.60s' was not expected: the usage is %s %s", word, command->name,
            command->usage);
    return command_fail(command, RK_EINVAL, &why);
}

/* ---- status -----------------------------------------------------------------------------------
 */

/* Seconds without a wait from which on people are told: this rank may be what others wait for. */
#define BUSY_TOLD 10

static const char *string_of(const json_t *object, const char *field)
{
    const char *value = json_string_value(json_object_get(object, field));

    return value != NULL ? value : "-";
}

static void print_ranks(const json_t *worker)
{
    const json_t *ranks = json_object_get(worker, "ranks");
    const json_t *rank;
    char time[32];
    size_t i;

    json_array_foreach(ranks, i, rank)
    {
        double busy = event_number(rank, "busy_s", 0);

        printf("    rank %-5" PRId64 " pid %-8" PRId64 " %-9s step %" PRId64,
               event_integer(rank, "rank", -1), event_integer(rank, "pid", 0),
               string_of(rank, "state"), event_integer(rank, "step", 0));
        if (busy >= BUSY_TOLD)
            printf(", its program busy for %s",
                   text_duration_print((uint64_t)(busy * 1e9), time, sizeof time));
        putchar('\n');
    }
}

static void print_status(const json_t *status)
{
    const json_t *workers = json_object_get(status, "workers");
    const json_t *worker;
    char time[32];
    double up = event_number(status, "uptime_s", 0);
    int64_t committed = event_integer(json_object_get(status, "checkpoint"), "committed_step", -1);
    size_t i;

    printf("job %s: %s at step %" PRId64 ", generation %" PRId64 ", world of %" PRId64
           " ranks, up %s\n",
           string_of(status, "job"), string_of(status, "state"), event_integer(status, "step", 0),
           event_integer(status, "generation", 0), event_integer(status, "world_size", 0),
           text_duration_print((uint64_t)(up > 0 ? up * 1e9 : 0), time, sizeof time));
    if (json_is_number(json_object_get(status, "loss")))
        printf("  loss %g\n", event_number(status, "loss", 0));
    if (event_number(status, "samples_per_s", 0) > 0)
        printf("  %.1f samples/s\n", event_number(status, "samples_per_s", 0));
    if (committed >= 0)
        printf("  newest checkpoint: step %" PRId64 "\n", committed);
    printf("  coordinator: pid %" PRId64 "; workers: %zu of %" PRId64 "\n",
           event_integer(status, "coordinator_pid", 0), json_array_size(workers),
           event_integer(status, "target_workers", 0));
    json_array_foreach(workers, i, worker)
    {
        printf("  worker %-17s %-10s on %s, pid %" PRId64 "\n", string_of(worker, "id"),
               string_of(worker, "state"), string_of(worker, "host"),
               event_integer(worker, "pid", 0));
        print_ranks(worker);
    }
}

int command_status(int argc, char **argv)
{
    struct control_options options = {.json = false};
    struct client_request request = {.verb = RK__VERB__VERB_STATUS, .wait_ms = CLIENT_WAIT_MS};
    char *text = NULL;
    json_t *status;
    int words;
    int exit_code;

    if (arguments_take(&status_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    if (words > 1)
        return too_many(&status_command, argv[2]);
    exit_code = ask(&status_command, words > 0 ? argv[1] : NULL, &request, &text);
    status = exit_code == 0 && text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (exit_code == 0 && (options.json || status == NULL))
        printf("%s\n", text != NULL ? text : "{}");
    else if (exit_code == 0)
        print_status(status);
    json_decref(status);
    free(text);
    return exit_code;
}

/* ---- events -----------------------------------------------------------------------------------
 */

static bool print_event(void *who, const char *text)
{
    const struct control_options *options = who;
    json_t *event = options->json ? NULL : json_loads(text, 0, NULL);
    enum screen_tone tone;
    char sentence[400];
    char stamp[32];
    struct tm tm;

    if (json_is_object(event)) {
        double t = event_number(event, "t", 0);
        time_t seconds = (time_t)t;

        localtime_r(&seconds, &tm);
        strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
        printf("%s.%03d %s\n", stamp, (int)((t - (double)seconds) * 1000),
               event_text(event, &tone, sentence, sizeof sentence));
    } else {
        printf("%s\n", text);
    }
    json_decref(event);
    /* Whoever reads a pipe waits for each line; when nobody reads any more, that is the end. */
    return fflush(stdout) == 0;
}

int command_events(int argc, char **argv)
{
    struct control_options options = {.json = false};
    struct client_request request = {
        .verb = RK__VERB__VERB_EVENTS, .take = print_event, .who = &options};
    int words;
    int exit_code;

    if (arguments_take(&events_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    if (words > 1)
        return too_many(&events_command, argv[2]);
    request.follow = options.follow;
    request.wait_ms = options.follow ? CLIENT_FOR_EVER : CLIENT_WAIT_MS;
    return ask(&events_command, words > 0 ? argv[1] : NULL, &request, NULL);
}

/* ---- scale, stop, kill ------------------------------------------------------------------------
 */

int command_scale(int argc, char **argv)
{
    struct client_request request = {.verb = RK__VERB__VERB_SCALE, .wait_ms = CLIENT_WAIT_MS};
    struct rk_why why;
    struct rk_why detail;
    int words;
    int exit_code;

    if (arguments_take(&scale_command, argc, argv, NULL, &words, &exit_code) != 0)
        return exit_code;
    if (words > 2)
        return too_many(&scale_command, argv[3]);
    if (words == 0 ||
        text_count(argv[words], 1, OPTIONS_MAX_WORKERS, &request.number, &detail) != 0) {
        rk_fail(&why, RK_EINVAL, "the number of workers is missing or impossible%s%s",
                words > 0 ? ": " : "", words > 0 ? detail.text : "");
        return command_fail(&scale_command, RK_EINVAL, &why);
    }
    exit_code = ask(&scale_command, words > 1 ? argv[1] : NULL, &request, NULL);
    if (exit_code == 0)
        printf("the job goes to %" PRIu64 " workers\n", request.number);
    return exit_code;
}

/* As status shows it: up to 16 hexadecimal digits. */
static bool worker_id(const char *text, uint64_t *id)
{
    size_t length = strspn(text, "0123456789abcdef");

    if (length == 0 || length > ID_DIGITS || text[length] != '\0')
        return false;
    *id = strtoull(text, NULL, 16);
    return *id != 0;
}

int command_drain(int argc, char **argv)
{
    struct control_options options = {.json = false};
    struct client_request request = {.verb = RK__VERB__VERB_DRAIN, .wait_ms = CLIENT_WAIT_MS};
    struct rk_why why;
    int words;
    int exit_code;
    bool job;

    if (arguments_take(&drain_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    job = words > (options.host == NULL);
    if (words > 2 || (options.host != NULL && words > 1))
        return too_many(&drain_command, argv[options.host != NULL ? 2 : 3]);
    if (options.host == NULL && (words == 0 || !worker_id(argv[words], &request.number))) {
        rk_fail(&why, RK_EINVAL,
                "which worker?  Give its id, as `reknit status` shows it, or --host NAME");
        return command_fail(&drain_command, RK_EINVAL, &why);
    }
    request.host = options.host;
    request.within_ns = options.within;
    exit_code = ask(&drain_command, job ? argv[1] : NULL, &request, NULL);
    if (exit_code == 0)
        printf("told: each leaves when another can go on in its place, or its time is over\n");
    return exit_code;
}

static int say(const struct command *command, Rk__Verb verb, int argc, char **argv,
               const char *done)
{
    struct client_request request = {.verb = verb, .wait_ms = CLIENT_WAIT_MS};
    int words;
    int exit_code;

    if (arguments_take(command, argc, argv, NULL, &words, &exit_code) != 0)
        return exit_code;
    if (words > 1)
        return too_many(command, argv[2]);
    exit_code = ask(command, words > 0 ? argv[1] : NULL, &request, NULL);
    if (exit_code == 0)
        printf("%s\n", done);
    return exit_code;
}

int command_stop(int argc, char **argv)
{
    return say(&stop_command, RK__VERB__VERB_STOP, argc, argv,
               "the job finishes its step, writes a checkpoint and ends");
}

int command_kill(int argc, char **argv)
{
    return say(&kill_command, RK__VERB__VERB_KILL, argc, argv, "the job is being ended");
}
