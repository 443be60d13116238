/* What must be known of the cluster before the coordinator starts; see shell.h. */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/base64.h"
#include "launch/pods/objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE (300 * RK_S) /* an API server may be long in coming up again */
#define PATIENCE_TRIES 1000u
#define SAY_AFTER (3 * RK_S)           /* and when that is over again, and again */
#define ANY_ENDPOINT "tcp://0.0.0.0:1" /* agents listen, and the coordinator knows where it is */

void setup_fail(struct shell *shell, int code, const char *what, const struct response *response)
{
    char why[512];

    snprintf(why, sizeof why, "%s: %s", what, response->why);
    shell_end(shell, rk_error_exit_code(code), why);
}

static void ask(struct shell *shell, enum verb verb, char *path, const json_t *body,
                request_done *done)
{
    struct request_spec spec = {.verb = verb,
                                .path = path,
                                .body = body,
                                .deadline = DEADLINE,
                                .tries = PATIENCE_TRIES,
                                .done = done,
                                .who = shell};
    struct rk_why why = {""};

    if (api_send(shell->api, &spec, &shell->request, &why) != 0)
        shell_end(shell, 69, why.text);
}

/* ---- the Job that owns all ------------------------------------------------------------------- */

static void on_job(void *who, const struct response *response)
{
    struct shell *shell = who;
    const char *uid =
        json_string_value(json_object_get(json_object_get(response->body, "metadata"), "uid"));

    shell->request = NULL;
    if (response->rc != 0 || uid == NULL) {
        setup_fail(shell, response->rc, "the Job that owns this pod", response);
        return;
    }
    snprintf(shell->owner, sizeof shell->owner, "%s", uid);
    resize_said(shell, response->body);
    setup_next(shell);
}

static void ask_job(struct shell *shell)
{
    char name[256];

    snprintf(name, sizeof name, "%s-launcher", shell->job->name);
    ask(shell, VERB_GET, api_path("batch/v1", shell->namespace, "jobs", name, NULL), NULL, on_job);
}

/* ---- the secret ------------------------------------------------------------------------------ */

static void ask_secret(struct shell *shell);

static int take_secret(struct shell *shell, const json_t *object, struct rk_why *why)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(object, "data"), OBJECTS_COORDINATOR_KEY));
    size_t size = 0;
    char *plain = text != NULL ? base64_decode(text, &size) : NULL;
    int rc;

    if (plain == NULL)
        return rk_fail(why, RK_EDATA,
                       "the Secret %s-reknit has no %s: delete it, a new one is made",
                       shell->job->name, OBJECTS_COORDINATOR_KEY);
    rc = secret_parse(&shell->secret, plain, "the Secret of the job", why);
    explicit_bzero(plain, size);
    free(plain);
    return rc;
}

static void on_secret_made(void *who, const struct response *response)
{
    struct shell *shell = who;

    shell->request = NULL;
    if (response->rc == 0 || response->rc == RK_EEXIST)
        ask_secret(shell); /* as the cluster has it */
    else
        setup_fail(shell, response->rc, "the job's Secret", response);
}

static void make_secret(struct shell *shell)
{
    struct rk_why why = {""};
    struct secret fresh;
    json_t *object;

    if (secret_make(&fresh, ANY_ENDPOINT, &why) != 0) {
        shell_end(shell, 69, why.text);
        return;
    }
    rk_info("the job has no Secret yet: it is made");
    object = objects_secret(shell->job, shell->namespace, shell->owner, &fresh);
    ask(shell, VERB_POST, api_path("v1", shell->namespace, "secrets", NULL, NULL), object,
        on_secret_made);
    json_decref(object);
    explicit_bzero(&fresh, sizeof fresh);
}

static void on_secret(void *who, const struct response *response)
{
    struct shell *shell = who;
    struct rk_why why = {""};

    shell->request = NULL;
    if (response->rc == RK_ENOENT)
        make_secret(shell);
    else if (response->rc != 0)
        setup_fail(shell, response->rc, "the job's Secret", response);
    else if (take_secret(shell, response->body, &why) != 0)
        shell_end(shell, 65, why.text);
    else
        setup_next(shell);
}

static void ask_secret(struct shell *shell)
{
    char name[256];

    snprintf(name, sizeof name, "%s-reknit", shell->job->name);
    ask(shell, VERB_GET, api_path("v1", shell->namespace, "secrets", name, NULL), NULL, on_secret);
}

/* ---- one after the other --------------------------------------------------------------------- */

/* What each asks for. */
static const char *const step_names[SETUP_DONE] = {
    [SETUP_JOB] = "the Job that owns this pod",
    [SETUP_SECRET] = "the job's Secret",
    [SETUP_ADOPT] = "the objects that nobody owns yet",
    [SETUP_RECORD] = "the job's record",
};

static void begin_step(struct shell *shell, enum setup_step step)
{
    if (shell->say_at > shell->step_since + SAY_AFTER)
        rk_info("%s answers again", api_server(shell->api));
    shell->step = step;
    shell->step_since = shell->now;
    shell->say_at = shell->now + SAY_AFTER;
}

void setup_turn(struct shell *shell)
{
    const struct request *request =
        shell->step == SETUP_RECORD ? shell->keeper.request : shell->request;
    const char *why = request_trouble(request);
    uint64_t waited = shell->now - shell->step_since;

    if (shell->step == SETUP_DONE || shell->ended || shell->leave || shell->now < shell->say_at)
        return;
    shell->say_at = shell->now + waited;
    rk_warn("%s is asked for %s, without success for %" PRIu64 " s; it is asked again (%s)",
            api_server(shell->api), step_names[shell->step], waited / RK_S,
            why[0] != '\0' ? why : "no answer came yet");
}

void setup_start(struct shell *shell)
{
    begin_step(shell, SETUP_JOB);
    ask_job(shell);
}

void setup_next(struct shell *shell)
{
    struct rk_why why = {""};

    begin_step(shell, shell->step + 1);
    switch (shell->step) {
    case SETUP_SECRET:
        ask_secret(shell);
        break;
    case SETUP_ADOPT:
        adopt_start(shell);
        break;
    case SETUP_RECORD:
        keeper_start(shell);
        break;
    default:
        if (cluster_open(shell, &why) != 0 || resize_open(shell, &why) != 0)
            shell_end(shell, 69, why.text);
        break;
    }
}
