/* Names in a pod that are ours, so that a template may not use them for something else.  What fills
 * them in is the renderer. */
#ifndef RK_K8S_MANIFEST_RESERVED_H
#define RK_K8S_MANIFEST_RESERVED_H

#define RESERVED_CONTAINER "reknit" /* also the name of its port */
#define RESERVED_CONFIG "mpi-job-config"

/* Volumes. */
#define RESERVED_VOLUMES                                                                           \
    {                                                                                              \
        "reknit", "reknit-run", "reknit-secret", "reknit-checkpoints", RESERVED_CONFIG, "ssh-auth" \
    }
/* Where they are mounted. */
#define RESERVED_PATHS                                         \
    {                                                          \
        "/reknit", "/reknit-run", "/reknit-secret", "/etc/mpi" \
    }
/* Labels that every pod gets. */
#define RESERVED_LABELS "training.kubeflow.org/"
#define RESERVED_PREFIX "reknit.dev/"

#endif
