/* Names in a pod that are ours, so that a template may not use them for something else.  What fills
 * them in is the renderer, which takes them from here. */
#ifndef RK_K8S_MANIFEST_RESERVED_H
#define RK_K8S_MANIFEST_RESERVED_H

#define CONTAINER_NAME "reknit" /* the init container that brings the bundle */
#define PORT_NAME "reknit"

/* Volumes, and where they are mounted. */
#define VOLUME_BUNDLE "reknit"
#define VOLUME_RUN "reknit-run"
#define VOLUME_SECRET "reknit-secret"
#define VOLUME_CHECKPOINTS "reknit-checkpoints"
#define VOLUME_CONFIG "mpi-job-config"
#define VOLUME_SSH "ssh-auth" /* mpi-operator's */
#define PATH_BUNDLE "/reknit"
#define PATH_RUN "/reknit-run"
#define PATH_SECRET "/reknit-secret"
#define PATH_CONFIG "/etc/mpi"

#define RESERVED_VOLUMES                                                                        \
    {                                                                                           \
        VOLUME_BUNDLE, VOLUME_RUN, VOLUME_SECRET, VOLUME_CHECKPOINTS, VOLUME_CONFIG, VOLUME_SSH \
    }
#define RESERVED_PATHS                                  \
    {                                                   \
        PATH_BUNDLE, PATH_RUN, PATH_SECRET, PATH_CONFIG \
    }

/* Labels that every pod gets, and what our own labels and annotations begin with. */
#define RESERVED_LABELS "training.kubeflow.org/"
#define RESERVED_PREFIX "reknit.dev/"

#endif
