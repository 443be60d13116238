/* How a job ended; see submit.h.
 *
 * The Job says whether it did well; the exit code is that of its last coordinator, whose container
 * ends as the program has, or what it has written down.  Where there is none (a deadline, a pod
 * that never ran), it is the cluster's failure. */
#include "launch/submit/submit.h"

#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/reconcile/pod_json.h"
#include "k8s/render/names.h"

#include <stdio.h>
#include <string.h>

#define LAST_LINES "20"

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static const json_t *condition_of(const json_t *job, const char *type)
{
    const json_t *conditions = json_object_get(json_object_get(job, "status"), "conditions");
    size_t at;
    json_t *condition;

    json_array_foreach(conditions, at, condition)
    {
        if (strcmp(text_at(condition, "type"), type) == 0 &&
            strcmp(text_at(condition, "status"), "True") == 0)
            return condition;
    }
    return NULL;
}

static bool is_coordinator(const json_t *pod)
{
    const json_t *labels = json_object_get(json_object_get(pod, "metadata"), "labels");

    return strcmp(text_at(labels, LABEL_ROLE), "launcher") == 0;
}

/* One that has run says more than one that has not, and a later one more than an earlier one. */
static bool is_newer(const struct outcome *outcome, const struct pod_seen *seen)
{
    if (outcome->pod[0] == '\0' || seen->ended != outcome->ended)
        return outcome->pod[0] == '\0' || seen->ended;
    return seen->ended_s > outcome->ended_s ||
           (seen->ended_s == outcome->ended_s && strcmp(seen->name, outcome->pod) != 0);
}

void outcome_see(struct outcome *outcome, const json_t *pod)
{
    const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");
    struct pod_seen seen;

    if (!is_coordinator(pod) || !pod_json_read(pod, &seen) || !is_newer(outcome, &seen))
        return;
    if (outcome->ended && seen.deleting)
        return; /* how it was killed says nothing of the program */
    snprintf(outcome->pod, sizeof outcome->pod, "%s", seen.name);
    snprintf(outcome->container, sizeof outcome->container, "%s",
             text_at(json_array_get(containers, 0), "name"));
    outcome->ended = seen.ended;
    outcome->restarted = seen.running;
    outcome->ended_s = seen.ended_s;
    outcome->exit_code = seen.exit_code;
    outcome->kept = false;
    outcome->log[0] = '\0';
}

static void fetch_log(struct submit *submit, const char *namespace, struct outcome *outcome)
{
    char *path = api_path("v1", namespace, "pods", outcome->pod, "log");

    api_query(&path, "container", outcome->container);
    api_query(&path, "tailLines", LAST_LINES);
    if (outcome->ended && outcome->restarted)
        api_query(&path, "previous", "true");
    submit_call_text(submit, path, outcome->log, sizeof outcome->log);
    outcome->kept = true;
}

void outcome_keep(struct submit *submit, const char *namespace, struct outcome *outcome)
{
    if (outcome->ended && outcome->exit_code != 0 && !outcome->kept)
        fetch_log(submit, namespace, outcome);
}

/* Those that are still there: a coordinator's end may be told later than its Job's. */
static void see_all(struct submit *submit, const char *namespace, const char *name, const char *uid,
                    struct outcome *outcome)
{
    char *path = api_path("v1", namespace, "pods", NULL, NULL);
    char labels[SUBMIT_NAME + 80];
    struct answer answer;
    size_t at;
    json_t *pod;

    snprintf(labels, sizeof labels, LABEL_JOB "=%s," LABEL_ROLE "=launcher", name);
    api_query(&path, "labelSelector", labels);
    submit_call(submit, VERB_GET, path, NULL, NULL, &answer);
    json_array_foreach(json_object_get(answer.body, "items"), at, pod)
    {
        if (object_is_owned_by(pod, uid))
            outcome_see(outcome, pod);
    }
    answer_done(&answer);
}

/* The data of what the coordinator has written down about this Job; NULL: nothing is there, or it
 * may not be seen.  The caller drops it. */
static json_t *noted(struct submit *submit, const char *namespace, const char *name,
                     const char *uid)
{
    char record[SUBMIT_NAME];
    struct answer answer;
    json_t *data = NULL;

    snprintf(record, sizeof record, "%s-record", name);
    if (submit_call(submit, VERB_GET, api_path("v1", namespace, "configmaps", record, NULL), NULL,
                    NULL, &answer) == 0 &&
        object_is_owned_by(answer.body, uid))
        data = json_incref(json_object_get(answer.body, "data"));
    answer_done(&answer);
    return data;
}

/* What was lost, the newest, and how the job ended where its pod cannot say so any more. */
static void tell_causes(struct submit *submit, const json_t *data, const struct outcome *outcome)
{
    const char *line = text_at(data, "losses");

    while (*line != '\0') {
        int length = (int)strcspn(line, "\n");

        submit_say(submit, SCREEN_PLAIN, "loss", NULL, "lost: %.*s", length, line);
        line += length + (line[length] == '\n');
    }
    if (outcome->log[0] == '\0' && *text_at(data, "end") != '\0')
        submit_say(submit, SCREEN_PLAIN, "end", NULL, "the coordinator ended with %s",
                   text_at(data, "end"));
}

/* Of the last coordinator; as it has noted it where its pod is gone. */
static int exit_code_of(const struct outcome *outcome, const json_t *data)
{
    int code;

    if (outcome->ended)
        return outcome->exit_code;
    return sscanf(text_at(data, "end"), "exit code %d:", &code) == 1 ? code : 0;
}

/* The last lines of the coordinator's pod, each one as it is. */
static void tell_log(struct submit *submit, const char *namespace, struct outcome *outcome)
{
    char *line = outcome->log;

    if (!outcome->kept)
        fetch_log(submit, namespace, outcome);
    if (*line == '\0')
        return;
    submit_say(submit, SCREEN_PLAIN, "log_begins", json_pack("{s:s}", "pod", outcome->pod),
               "the last lines of %s:", outcome->pod);
    while (*line != '\0') {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] == '\n');

        line[length] = '\0';
        if (submit->screen != NULL)
            screen_rank(submit->screen, line, length);
        else
            submit_say(submit, SCREEN_PLAIN, "log", json_pack("{s:s}", "pod", outcome->pod), "%s",
                       line);
        line = next;
    }
}

static int tell_failure(struct submit *submit, const char *namespace, const char *name,
                        const json_t *job, struct outcome *outcome)
{
    const json_t *failed = condition_of(job, "Failed");
    bool deadline = strcmp(text_at(failed, "reason"), "DeadlineExceeded") == 0;
    int exit_code = SUBMIT_FAILED;
    json_t *data;

    see_all(submit, namespace, name, object_uid(job), outcome);
    data = noted(submit, namespace, name, object_uid(job));
    if (exit_code_of(outcome, data) > 0 && !deadline)
        exit_code = exit_code_of(outcome, data);
    if (outcome->pod[0] != '\0')
        tell_log(submit, namespace, outcome);
    tell_causes(submit, data, outcome);
    json_decref(data);
    submit_say(submit, SCREEN_BAD, "job_failed",
               json_pack("{s:s,s:s,s:i}", "job", name, "reason", text_at(failed, "reason"),
                         "exit_code", exit_code),
               "job %s failed%s%s%s%s; exit code %d", name, failed != NULL ? ": " : "",
               text_at(failed, "reason"), *text_at(failed, "message") != '\0' ? ": " : "",
               text_at(failed, "message"), exit_code);
    return exit_code;
}

int outcome_tell(struct submit *submit, const char *namespace, const char *name, const json_t *job,
                 struct outcome *outcome)
{
    if (condition_of(job, "Complete") == NULL)
        return tell_failure(submit, namespace, name, job, outcome);
    submit_say(submit, SCREEN_GOOD, "job_succeeded",
               json_pack("{s:s,s:i}", "job", name, "exit_code", 0), "job %s succeeded", name);
    return 0;
}
