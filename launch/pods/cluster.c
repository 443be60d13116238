/* The pods of a job: what the watch shows goes to the reconciler, what that decides to the API and
 * to the coordinator.  See shell.h and k8s/reconcile/pods.h. */
#include "launch/pods/line.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/reconcile/pod_json.h"
#include "k8s/render/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE (30 * RK_S) /* of a create or delete, with its repetitions */
#define TRIES 3u /* but for creates: those wait in the reconciler, and not each by itself */
#define SELECTOR_MAX 256
#define PAGE 100u /* pods of a list at one time: whole ones take 30 KiB each in memory */

/* A create or delete on its way. */
struct call {
    struct shell *shell;
    struct pods_action action;
};

/* ---- creating -------------------------------------------------------------------------------- */

static enum pods_outcome outcome_of(const struct response *response)
{
    switch (response->rc) {
    case 0:
        return PODS_OK;
    case RK_EEXIST:
        return PODS_EXISTS;
    case RK_EINVAL:
        return PODS_INVALID;
    case RK_EACCES:
        if (response->code != 403)
            return PODS_UNSURE;
        return strstr(response->message, "exceeded quota") ? PODS_QUOTA : PODS_FORBIDDEN;
    default:
        return response->code == 429 ? PODS_QUOTA : PODS_UNSURE;
    }
}

static void answer(struct call *call, enum pods_event_kind kind, struct pods_result *result)
{
    struct pods_event event = {.kind = kind, .result = *result};
    struct shell *shell = call->shell;

    event.result.request = call->action.request;
    event.result.ticket = call->action.ticket;
    event.result.place = call->action.place;
    event.result.n = call->action.n;
    cluster_step(shell, &event);
    free(call);
}

static void fill_result(struct pods_result *result, const struct response *response)
{
    *result = (struct pods_result){.retry_after = response->retry_after,
                                   .uid = "",
                                   .owner = "",
                                   .message = response->rc != 0 ? response->why : ""};
}

static void tell_existing(struct call *call, const json_t *pod)
{
    struct pods_result result = {.outcome = PODS_EXISTS, .uid = "", .owner = "", .message = ""};
    struct pod_seen seen;

    if (pod_json_read(pod, &seen)) {
        result.uid = seen.uid;
        result.owner = seen.owner;
        result.holder = seen.ticket;
    } else {
        result.outcome = PODS_UNSURE;
    }
    answer(call, PODS_EV_CREATED, &result);
}

static void on_looked(void *who, const struct response *response)
{
    struct pods_result result;

    if (response->rc == 0) {
        tell_existing(who, response->body);
        return;
    }
    fill_result(&result, response);
    result.outcome = PODS_UNSURE;
    answer(who, PODS_EV_CREATED, &result);
}

static int send_call(struct call *call, enum verb verb, const char *name, const json_t *body,
                     request_done *done, struct rk_why *why)
{
    struct shell *shell = call->shell;
    struct request_spec spec = {.verb = verb,
                                .body = body,
                                .deadline = DEADLINE,
                                .tries = verb == VERB_POST ? 1 : TRIES,
                                .done = done,
                                .who = call};

    spec.path = api_path("v1", shell->namespace, "pods", name, NULL);
    return api_send(shell->api, &spec, NULL, why);
}

static void on_created(void *who, const struct response *response)
{
    struct call *call = who;
    struct pods_result result;
    struct rk_why why = {""};

    fill_result(&result, response);
    result.outcome = outcome_of(response);
    if (result.outcome == PODS_OK)
        result.uid = object_uid(response->body);
    if (result.outcome == PODS_EXISTS &&
        send_call(call, VERB_GET, call->action.name, NULL, on_looked, &why) == 0)
        return;
    if (result.outcome == PODS_EXISTS)
        result.outcome = PODS_UNSURE;
    answer(call, PODS_EV_CREATED, &result);
}

static struct call *new_call(struct shell *shell, const struct pods_action *action)
{
    struct call *call = malloc(sizeof *call);

    if (call != NULL)
        *call = (struct call){shell, *action};
    else
        shell_leave(shell, "no memory");
    return call;
}

static int render_pod(struct shell *shell, const struct pods_action *action, json_t **pod,
                      struct rk_why *why)
{
    const struct render_options options = {
        .namespace = shell->namespace, .gang = shell->given.gang, .job_uid = shell->owner};
    const struct render_worker worker = {action->place, action->ticket, action->n, action->text};

    return render_worker(shell->job, &options, &worker, pod, why);
}

static void create(struct shell *shell, const struct pods_action *action)
{
    struct pods_result result = {.outcome = PODS_INVALID, .uid = "", .owner = ""};
    struct call *call = new_call(shell, action);
    struct rk_why why = {""};
    json_t *pod = NULL;
    int rc;

    if (call == NULL)
        return;
    rc = render_pod(shell, action, &pod, &why);
    if (rc == 0)
        rc = send_call(call, VERB_POST, NULL, pod, on_created, &why);
    json_decref(pod);
    if (rc == 0)
        return;
    result.outcome = rc == RK_ENOMEM ? PODS_UNSURE : PODS_INVALID;
    result.message = why.text;
    answer(call, PODS_EV_CREATED, &result);
}

/* ---- deleting -------------------------------------------------------------------------------- */

static void on_deleted(void *who, const struct response *response)
{
    struct call *call = who;
    struct pods_result result;

    fill_result(&result, response);
    result.uid = call->action.uid;
    result.outcome =
        response->rc == RK_ENOENT || response->rc == RK_ESTATE ? PODS_ABSENT : outcome_of(response);
    answer(call, PODS_EV_DELETED, &result);
}

static void delete (struct shell *shell, const struct pods_action *action)
{
    struct pods_result result = {.outcome = PODS_UNSURE, .uid = action->uid, .owner = ""};
    struct call *call = new_call(shell, action);
    json_t *options = json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                                "preconditions", "uid", action->uid);
    struct rk_why why = {""};

    if (action->grace_s >= 0)
        json_object_set_new(options, "gracePeriodSeconds", json_integer(action->grace_s));
    if (call != NULL &&
        send_call(call, VERB_DELETE, action->name, options, on_deleted, &why) != 0) {
        result.message = why.text;
        answer(call, PODS_EV_DELETED, &result);
    }
    json_decref(options);
}

/* ---- what the reconciler decides ------------------------------------------------------------- */

static json_t *reference(const struct shell *shell, const char *version, const char *kind,
                         const char *name, const char *suffix, const char *uid)
{
    return json_pack("{s:s,s:s,s:{s:s+,s:s,s:s}}", "apiVersion", version, "kind", kind, "metadata",
                     "name", name, suffix, "namespace", shell->namespace, "uid", uid);
}

void cluster_tell(struct shell *shell, const struct pods_action *action)
{
    json_t *job = reference(shell, "batch/v1", "Job", shell->job->name, "-launcher", shell->owner);
    json_t *pod = action->name[0] != '\0'
                      ? reference(shell, "v1", "Pod", action->name, "", action->uid)
                      : NULL;
    struct notice notice = {.regarding = job,
                            .related = pod,
                            .warning = action->warning,
                            .reason = action->reason,
                            .action = "ManagePods",
                            .note = action->text};
    struct rk_why why = {""};

    rk_log(action->warning ? RK_LOG_WARN : RK_LOG_INFO, "%s", action->text);
    if (shell->notices == NULL)
        snprintf(why.text, sizeof why.text, "the cluster is not known yet");
    if (shell->notices == NULL || job == NULL || notices_say(shell->notices, &notice, &why) != 0)
        rk_warn("an Event is not told to the cluster: %s", why.text);
    json_decref(job);
    json_decref(pod);
}

/* As waitpid would put it: the coordinator's words about a worker are made from it. */
static int status_of(const struct pods_action *action)
{
    if (action->signal > 0)
        return action->signal;
    return action->exit_code > 0 ? action->exit_code << 8 : 0;
}

static void act(struct shell *shell, const struct pods_action *action)
{
    rk_debug("%s ticket %u pod %s %s %s", pods_action_name(action->kind), action->ticket,
             action->name, action->address, action->text);
    if (line_act(shell, action))
        return;
    switch (action->kind) {
    case PODS_DO_CREATE:
        create(shell, action);
        break;
    case PODS_DO_DELETE:
        delete (shell, action);
        break;
    case PODS_DO_DIAL:
        talk_dial(shell, action->ticket, action->address);
        break;
    case PODS_DO_HANG_UP:
        talk_hang_up(shell, action->ticket);
        break;
    case PODS_DO_GONE:
        talk_gone(shell, action->ticket, status_of(action), action->text);
        break;
    case PODS_DO_FAILED:
        talk_failed(shell, action->ticket, action->final, action->text);
        break;
    case PODS_DO_RELIST:
        shell->relist = true; /* not from inside of a callback of the watch */
        break;
    case PODS_DO_EVENT:
        causes_told(shell, action);
        break;
    case PODS_DO_NOTICE:
        talk_notice(shell, action);
        break;
    case PODS_DO_COUNT_:
        break;
    }
}

void cluster_step(struct shell *shell, struct pods_event *event)
{
    struct pods_actions actions;

    if (shell->pods == NULL)
        return;
    event->now = shell->now;
    rk_debug("%s ticket %u pod %s", pods_event_name(event->kind), event->ticket,
             event->seen != NULL ? event->seen->name : "");
    pods_step(shell->pods, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++)
        act(shell, &actions.action[i]);
}

/* ---- what the watch shows -------------------------------------------------------------------- */

static void feed_pod(struct shell *shell, const json_t *object)
{
    struct pod_seen seen;
    struct pods_event event = {.kind = PODS_EV_POD, .seen = &seen};

    if (pod_json_read(object, &seen))
        cluster_step(shell, &event);
}

static void on_list(void *who)
{
    struct pods_event event = {.kind = PODS_EV_LIST_BEGIN};

    cluster_step(who, &event);
}

static void on_pod(void *who, const json_t *object, const json_t *old)
{
    (void)old;
    adopt_pod(who, object);
    feed_pod(who, object);
}

static void on_pod_gone(void *who, const json_t *old)
{
    struct pods_event event = {
        .kind = PODS_EV_POD_GONE, .name = object_name(old), .uid = object_uid(old)};

    cluster_step(who, &event);
}

/* The watch tells what has changed; a list tells the reconciler all.  The first one is what the
 * coordinator waits for: its launcher must know what runs. */
static void on_listed(void *who)
{
    struct shell *shell = who;
    struct pods_event event = {.kind = PODS_EV_LIST_END};
    struct store_walk walk = {0};
    struct rk_why why = {""};
    const json_t *object;

    while ((object = store_next(watch_store(shell->watch), &walk)) != NULL)
        feed_pod(shell, object);
    cluster_step(shell, &event);
    if (shell->link != NULL || shell->ended)
        return;
    if (shell->nodes == NULL)
        nodes_open(shell);
    if (shell->line != NULL) {
        line_listed(shell);
        return;
    }
    if (shell_open_control(shell, &why) != 0)
        shell_end(shell, 69, why.text);
    else
        shell->start_at = shell->now;
}

static void on_trouble(void *who, int code, const char *why)
{
    (void)who;
    rk_warn("the watch of the job's pods: %s%s", why, code == 403 ? "; the Role lacks it" : "");
}

static int open_watch(struct shell *shell, struct rk_why *why)
{
    char labels[SELECTOR_MAX];
    struct watch_spec spec = {
        .labels = labels,
        .page = PAGE,
        .trim = pod_json_trim,
        .events = {on_list, on_pod, on_pod_gone, on_listed, on_trouble},
        .who = shell,
    };

    snprintf(labels, sizeof labels, LABEL_JOB "=%s," LABEL_ROLE "=worker", shell->job->name);
    spec.path = api_path("v1", shell->namespace, "pods", NULL, NULL);
    return watch_open(shell->api, &spec, &shell->watch, why);
}

static void on_notice_trouble(void *who, const char *why)
{
    (void)who;
    rk_warn("an Event is not told to the cluster: %s", why);
}

int cluster_open(struct shell *shell, struct rk_why *why)
{
    const struct notices_spec notices = {.controller = "reknit.dev/coordinator",
                                         .instance = shell->given.pod_name,
                                         .trouble = on_notice_trouble};
    struct pods_config config = pods_config_default();
    int rc;

    config.job = shell->job->name;
    config.namespace = shell->namespace;
    config.owner = shell->owner;
    config.places = shell->resize.most + shell->job->settings.spares;
    if (config.places == 0) /* the launcher is all there is */
        config.places = 1;
    rc = secret_random_id(&config.seed, why);
    if (rc == 0)
        rc = pods_new(&config, &shell->pods, why);
    if (rc == 0)
        rc = notices_open(shell->api, &notices, &shell->notices, why);
    return rc == 0 ? open_watch(shell, why) : rc;
}

void cluster_tick(struct shell *shell)
{
    struct pods_event event = {.kind = PODS_EV_TICK};
    struct rk_why why = {""};

    if (shell->pods == NULL)
        return;
    if (shell->relist) {
        watch_close(shell->watch);
        shell->watch = NULL;
        shell->relist = open_watch(shell, &why) != 0;
    }
    nodes_turn(shell);
    if (pods_deadline(shell->pods) <= shell->now)
        cluster_step(shell, &event);
}

void cluster_stop(struct shell *shell, bool all)
{
    struct pods_event event = {.kind = PODS_EV_STOP};

    event.policy = all                                         ? PODS_CLEAN_ALL
                   : shell->job->clean == MPIJOB_CLEAN_ALL     ? PODS_CLEAN_ALL
                   : shell->job->clean == MPIJOB_CLEAN_RUNNING ? PODS_CLEAN_RUNNING
                                                               : PODS_CLEAN_NONE;
    cluster_step(shell, &event);
}

void cluster_close(struct shell *shell)
{
    nodes_close(shell);
    watch_close(shell->watch);
    notices_close(shell->notices);
    pods_free(shell->pods);
}
