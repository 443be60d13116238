/* The names that the rendered objects share with mpi-operator's, with the bundle that the image
 * brings, and with the coordinator and the agents that run in the pods. */
#ifndef RK_K8S_RENDER_NAMES_H
#define RK_K8S_RENDER_NAMES_H

#include "k8s/manifest/reserved.h"

/* mpi-operator's, which users' tools select by. */
#define LABEL_OPERATOR RESERVED_LABELS "operator-name"
#define LABEL_JOB_NAME RESERVED_LABELS "job-name"
#define LABEL_ROLE RESERVED_LABELS "job-role"
#define LABEL_INDEX RESERVED_LABELS "replica-index"
#define OPERATOR_NAME "mpi-operator"

#define LABEL_JOB RESERVED_PREFIX "job"
#define ANNOTATION_TICKET RESERVED_PREFIX "ticket"
#define ANNOTATION_PLACE RESERVED_PREFIX "place"
#define ANNOTATION_AVOIDS RESERVED_PREFIX "avoids"
#define ANNOTATION_IMAGE RESERVED_PREFIX "image"
/* Of a coordinator's pod: changes with its hosts.  Of the Job: Worker.replicas as of now. */
#define ANNOTATION_HOSTS RESERVED_PREFIX "hosts"
#define ANNOTATION_WORKERS RESERVED_PREFIX "workers"

#define SERVICE_ACCOUNT "reknit"

/* In pods. */
#define SECRET_KEY "worker" /* what an agent may know; the coordinator's key is another */
#define AGENT_SECRET "mount:" PATH_SECRET "/" SECRET_KEY
#define PATH_CHECKPOINTS "/reknit-checkpoints" /* a claim without a directory */
#define PATH_HOSTFILE PATH_CONFIG "/hostfile"
#define PATH_MPIJOB PATH_CONFIG "/mpijob.json"
#define PATH_SSHD "/usr/sbin/sshd"

/* Of the bundle. */
#define PATH_REKNIT PATH_BUNDLE "/bin/reknit"
#define PATH_RSH PATH_BUNDLE "/bin/reknit-rsh"
#define SUBPATH_SSHD "bin/reknit-sshd"
#define PATH_INSTALL "/reknit/install" /* in the image itself */
#define PATH_TARGET "/mnt/reknit"

/* Of a container: where its termination message comes from when it has written none. */
#define LAST_WORDS "terminationMessagePolicy"
#define LAST_WORDS_LOG "FallbackToLogsOnError"

#define HOST_NAME_MOST 63 /* letters of a DNS label */
#define GRACE_SECONDS 60

#endif
