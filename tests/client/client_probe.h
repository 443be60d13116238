/* What the files of client_probe share. */
#ifndef RK_TESTS_CLIENT_PROBE_H
#define RK_TESTS_CLIENT_PROBE_H

#include "k8s/client/api.h"

#include <jansson.h>
#include <stdbool.h>

struct response;

struct probe {
    struct api *api;
    struct probe_task *tasks;
    struct notices *notices; /* NULL: none was said */
    bool quit;
};

/* A command that is under way. */
struct probe_task {
    struct probe_task *next;
    struct probe *probe;
    uint64_t id;
    struct request *request;
    struct watch *watch;
    struct write *write;
    struct elector *elector;
    char *close_on;
    json_t *wanted; /* of an edit: what is to be merged in */
    bool over;      /* freed after this turn */
};

/* Members of a command; NULL and 0 when they are not there. */
const char *probe_text(const json_t *command, const char *key);
uint64_t probe_number(const json_t *command, const char *key);

/* Prints {"id":..., "event": event} and `more` (dropped; NULL allowed). */
void probe_say(const struct probe_task *task, const char *event, json_t *more);

/* A request_done that prints the answer and ends the task. */
void probe_say_response(void *who, const struct response *response);

void probe_task_stop(struct probe_task *task);

struct probe_task *probe_find(struct probe *probe, uint64_t id);

/* Prints what is wrong, if rc is not 0. */
struct rk_why;
void probe_check(const struct probe_task *task, int rc, const struct rk_why *why);

void probe_do_create(struct probe_task *task, const json_t *command);
void probe_do_replace(struct probe_task *task, const json_t *command);
void probe_do_patch(struct probe_task *task, const json_t *command);
void probe_do_apply(struct probe_task *task, const json_t *command);
void probe_do_edit(struct probe_task *task, const json_t *command);
void probe_do_delete(struct probe_task *task, const json_t *command);
void probe_do_notice(struct probe_task *task, const json_t *command);
void probe_do_lease(struct probe_task *task, const json_t *command);
void probe_do_step_down(struct probe_task *task, const json_t *command);

#endif
