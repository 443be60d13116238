/* Events and elections of client_probe. */
#include "k8s/client/elector.h"
#include "k8s/client/notices.h"
#include "tests/client/client_probe.h"

static void on_notice_trouble(void *who, const char *why)
{
    const struct probe_task nobody = {.probe = who};

    probe_say(&nobody, "trouble", json_pack("{s:s}", "why", why));
}

/* Says a notice "times" times. */
void probe_do_notice(struct probe_task *task, const json_t *command)
{
    struct probe *probe = task->probe;
    struct notices_spec spec = {.controller = "reknit.dev/probe",
                                .instance = "probe-0",
                                .trouble = on_notice_trouble,
                                .who = probe};
    struct notice notice = {.regarding = json_object_get(command, "object"),
                            .warning = json_is_true(json_object_get(command, "warning")),
                            .reason = probe_text(command, "reason"),
                            .action = probe_text(command, "action"),
                            .note = probe_text(command, "note")};
    struct rk_why why = {""};
    uint64_t times = probe_number(command, "times");
    int rc = 0;

    if (probe->notices == NULL)
        rc = notices_open(probe->api, &spec, &probe->notices, &why);
    do {
        if (rc == 0)
            rc = notices_say(probe->notices, &notice, &why);
    } while (times-- > 1);
    probe_check(task, rc, &why);
    task->over = true;
}

static void on_changed(void *who, bool leading)
{
    probe_say(who, leading ? "leading" : "following", NULL);
}

static void on_trouble(void *who, const char *why)
{
    probe_say(who, "trouble", json_pack("{s:s}", "why", why));
}

void probe_do_lease(struct probe_task *task, const json_t *command)
{
    struct elector_spec spec = {.namespace = probe_text(command, "namespace"),
                                .name = probe_text(command, "name"),
                                .identity = probe_text(command, "identity"),
                                .rules = {.duration = probe_number(command, "duration_ms") * RK_MS,
                                          .renew = probe_number(command, "renew_ms") * RK_MS,
                                          .retry = probe_number(command, "retry_ms") * RK_MS},
                                .changed = on_changed,
                                .trouble = on_trouble,
                                .who = task};
    struct rk_why why = {""};

    probe_check(task, elector_open(task->probe->api, &spec, &task->elector, &why), &why);
}

static void on_gone(void *who)
{
    struct probe_task *task = who;

    probe_say(task, "gone", NULL);
    probe_task_stop(task);
}

void probe_do_step_down(struct probe_task *task, const json_t *command)
{
    struct probe_task *other = probe_find(task->probe, probe_number(command, "of"));

    if (other != NULL && other->elector != NULL)
        elector_step_down(other->elector, on_gone);
    task->over = true;
}
