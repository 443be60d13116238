/* What `reknit doctor` looks at: each probe writes one finding and changes nothing. */
#ifndef RK_LAUNCH_DOCTOR_PROBE_H
#define RK_LAUNCH_DOCTOR_PROBE_H

enum finding_state { FINDING_OK, FINDING_WARN, FINDING_MISSING };

struct finding {
    enum finding_state state;
    char text[256];   /* what was found */
    char advice[256]; /* what to do about it; empty when there is nothing to do */
};

/* The kernel features that the arena, the agent and the warden stand on. */
void probe_memfd(struct finding *finding);
void probe_pidfd(struct finding *finding);
void probe_subreaper(struct finding *finding);
void probe_futex(struct finding *finding);

void probe_processors(struct finding *finding);
void probe_memory(struct finding *finding);
void probe_open_files(struct finding *finding);
void probe_processes(struct finding *finding);
void probe_locked_memory(struct finding *finding);
void probe_tmp(struct finding *finding);
void probe_runtime_folder(struct finding *finding);
void probe_network(struct finding *finding);
void probe_names(struct finding *finding); /* mpirun needs this host's own */

void probe_mpi(struct finding *finding);
void probe_ssh(struct finding *finding);
void probe_zmq(struct finding *finding);
void probe_hdf5(struct finding *finding);
void probe_cuda(struct finding *finding);
void probe_nccl(struct finding *finding);

#endif
