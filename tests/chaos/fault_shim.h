/* Stands between a program and the file system: counts every call that changes something below one
 * folder, makes one of them fail or kills the process before it, and keeps a log of them.
 *
 * Linked into a test it is steered by fault_plan; preloaded (librk_fault_shim.so) by the
 * environment: REKNIT_FAULT_ROOT=FOLDER REKNIT_FAULT_AT=N REKNIT_FAULT_KIND=kill|enospc|full|eio|
 * edquot|eintr|short.  Calls are counted from 1. */
#ifndef RK_TESTS_CHAOS_FAULT_SHIM_H
#define RK_TESTS_CHAOS_FAULT_SHIM_H

#include <stddef.h>
#include <stdint.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_KILL,   /* SIGKILL before the call */
    FAULT_ENOSPC, /* this call fails */
    FAULT_FULL,   /* this call and all later ones that need space fail with ENOSPC */
    FAULT_EIO,
    FAULT_EDQUOT,
    FAULT_EINTR, /* writes only: interrupted, nothing written */
    FAULT_SHORT, /* writes only: half of it is written */
    FAULT_KINDS,
};

enum fault_op {
    FAULT_MKDIR,
    FAULT_CREATE,
    FAULT_WRITE,    /* offset, data */
    FAULT_TRUNCATE, /* offset is the new size */
    FAULT_ALLOCATE, /* offset is the size it has at least */
    FAULT_SYNC,     /* file or directory */
    FAULT_RENAME,   /* data is the new path, NUL ended */
    FAULT_UNLINK,
    FAULT_RMDIR,
    FAULT_MARK, /* the program's own word: what came before was announced */
};

/* In the log each is followed by its path (NUL ended), then by `size` bytes of data. */
struct fault_record {
    uint32_t op;
    uint32_t path_size;
    uint64_t offset;
    uint64_t size;
};

/* Shared with the parent process. */
struct fault_log {
    uint64_t used;
    uint64_t capacity;
    uint64_t calls; /* changing calls seen, also without room for a log */
    unsigned char bytes[];
};

struct fault_plan {
    const char *root; /* NULL: nothing is watched */
    enum fault_kind kind;
    uint64_t at;      /* number of the changing call, from 1 */
    uint64_t read_at; /* number of the read, from 1: EIO, EINTR and SHORT apply to it */
    struct fault_log *log;
};

extern struct fault_plan fault_plan;

/* A log that children share; freed with fault_log_free. */
struct fault_log *fault_log_new(size_t capacity);
void fault_log_free(struct fault_log *log);
void fault_mark(void);

#endif
