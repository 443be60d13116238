/* The names that the rendered objects share with mpi-operator's, with the bundle that the image
 * brings, and with the coordinator and the agents that run in the pods. */
#ifndef RK_K8S_RENDER_NAMES_H
#define RK_K8S_RENDER_NAMES_H

/* mpi-operator's, which users' tools select by. */
#define LABEL_OPERATOR "training.kubeflow.org/operator-name"
#define LABEL_JOB_NAME "training.kubeflow.org/job-name"
#define LABEL_ROLE "training.kubeflow.org/job-role"
#define LABEL_INDEX "training.kubeflow.org/replica-index"
#define OPERATOR_NAME "mpi-operator"

#define LABEL_JOB "reknit.dev/job"
#define ANNOTATION_TICKET "reknit.dev/ticket"
#define ANNOTATION_PLACE "reknit.dev/place"
#define ANNOTATION_IMAGE "reknit.dev/image"

#define SERVICE_ACCOUNT "reknit"
#define CONTAINER_NAME "reknit" /* the init container that brings the bundle */
#define PORT_NAME "reknit"

/* Volumes, and where they are mounted. */
#define VOLUME_BUNDLE "reknit"
#define VOLUME_RUN "reknit-run"
#define VOLUME_SECRET "reknit-secret"
#define VOLUME_CHECKPOINTS "reknit-checkpoints"
#define VOLUME_CONFIG "mpi-job-config"
#define PATH_BUNDLE "/reknit"
#define PATH_RUN "/reknit-run"
#define PATH_SECRET "/reknit-secret"
#define SECRET_KEY "worker" /* what an agent may know; the coordinator's key is another */
#define AGENT_SECRET "mount:" PATH_SECRET "/" SECRET_KEY
#define PATH_CHECKPOINTS "/reknit-checkpoints" /* a claim without a directory */
#define PATH_CONFIG "/etc/mpi"
#define PATH_HOSTFILE PATH_CONFIG "/hostfile"
#define PATH_MPIJOB PATH_CONFIG "/mpijob.json"
#define PATH_SSHD "/usr/sbin/sshd"

/* Of the bundle. */
#define PATH_REKNIT PATH_BUNDLE "/bin/reknit"
#define PATH_RSH PATH_BUNDLE "/bin/reknit-rsh"
#define SUBPATH_SSHD "bin/reknit-sshd"
#define PATH_INSTALL "/reknit/install" /* in the image itself */
#define PATH_TARGET "/mnt/reknit"

#define HOST_NAME_MOST 63 /* letters of a DNS label */
#define GRACE_SECONDS 60

#endif
