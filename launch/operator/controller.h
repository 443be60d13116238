/* The inside of `reknit operator`: one struct, and the functions by which its files call each
 * other.
 *
 *   command.c   options, birth, the loop, the end
 *   stock.c     what the cluster has: watches, and which job each object belongs to
 *   desk.c      one job: when it is looked at, what is asked for, what came of it
 *   lead.c      which of several operators acts
 *   image.c     the image that this operator itself runs from
 *   gauge.c     numbers for Prometheus, and whether we are well
 *
 * One `now` a turn, one thread, no call blocks.  What is decided about a job is decided in
 * k8s/operator, which remembers nothing; here is only what connects it, so that this process may
 * end at any time and another goes on. */
#ifndef RK_LAUNCH_OPERATOR_CONTROLLER_H
#define RK_LAUNCH_OPERATOR_CONTROLLER_H

#include "k8s/client/api.h"
#include "k8s/client/draw.h"
#include "k8s/client/elector.h"
#include "k8s/client/notices.h"
#include "k8s/client/pace.h"
#include "k8s/client/timers.h"
#include "k8s/client/watch.h"
#include "k8s/client/write.h"
#include "k8s/operator/plan.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What is watched, in this order. */
enum stock_kind {
    STOCK_MPIJOBS,
    STOCK_JOBS,
    STOCK_PODS,
    STOCK_SERVICES,
    STOCK_MAPS,
    STOCK_GROUPS, /* of gang schedulers, which a cluster may lack */
    STOCK_KINDS
};

struct operator_options {
    struct plan_options plan;
    const char *namespace; /* NULL: all */
    const char *kubeconfig;
    const char *leader_elect; /* yes or no */
    const char *lock_namespace;
    const char *metrics; /* ADDRESS:PORT; NULL: none */
};

struct controller;

/* A watch, and whose it is. */
struct stock {
    struct controller *controller;
    enum stock_kind kind;
    struct watch *watch;
};

struct gauge;

struct controller {
    struct operator_options given;
    const char *namespace; /* that is watched; NULL: all */
    char identity[160];

    struct api *api;
    struct stock stock[STOCK_KINDS];
    json_t *pods;    /* {"NAMESPACE/JOB": {POD: object}} */
    bool has_groups; /* the cluster has the kind */
    bool synced;     /* all watches know all, and the image for pods is known */

    struct request *asked; /* for our own pod */
    char *own_image;
    bool image_known;

    void *desks; /* tree of struct desk */
    struct timers timers;
    struct draw draw;
    struct notices *notices;

    struct elector *elector;
    bool leads;
    bool stopping, gone; /* a signal came; the lease was given back */
    uint64_t stop_at;    /* at the latest */

    int signals; /* signalfd */
    uint64_t now, wall;
    struct gauge *gauge;
    uint64_t created, succeeded, failed; /* jobs, since this process began */
};

/* ---- stock.c --------------------------------------------------------------------------------- */

int stock_open(struct controller *controller, struct rk_why *why);
void stock_close(struct controller *controller);
/* The cluster may be known now: something that was missing has come. */
void stock_settle(struct controller *controller);
/* What is known of the job of an MPIJob that is there; false: there is no such one. */
bool stock_look(const struct controller *controller, const char *namespace, const char *name,
                struct plan_seen *seen);

/* ---- desk.c ---------------------------------------------------------------------------------- */

/* Something about the job has changed: it is looked at soon, if it is ours. */
void desk_touch(struct controller *controller, const char *namespace, const char *name);
/* The MPIJob is gone: what is under way for it is not waited for. */
void desk_drop(struct controller *controller, const char *namespace, const char *name);
/* All jobs are looked at. */
void desk_touch_all(struct controller *controller);
/* Nothing is asked for any more, and no answer is heard. */
void desk_halt(struct controller *controller);
void desk_close(struct controller *controller);
uint64_t desk_count(const struct controller *controller);

/* ---- lead.c ---------------------------------------------------------------------------------- */

int lead_open(struct controller *controller, struct rk_why *why);
/* Gives the lease back; controller->gone when that is done. */
void lead_leave(struct controller *controller);
void lead_close(struct controller *controller);

/* ---- image.c --------------------------------------------------------------------------------- */

/* Finds out the image of our own pod, for jobs that name none; then stock_settle. */
int image_open(struct controller *controller, struct rk_why *why);
void image_close(struct controller *controller);

/* ---- gauge.c --------------------------------------------------------------------------------- */

/* Nothing where no address is given. */
int gauge_open(struct controller *controller, struct rk_why *why);
/* -1: there is none. */
int gauge_fd(const struct controller *controller);
void gauge_turn(struct controller *controller);
void gauge_close(struct controller *controller);

#endif
