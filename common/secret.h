/* What only the processes of one job know: where the coordinator listens, its CURVE keys and the
 * job token.  Kept in a file of mode 0600 or handed over by an inherited descriptor, never in
 * arguments or the environment. */
#ifndef RK_COMMON_SECRET_H
#define RK_COMMON_SECRET_H

#include "common/error.h"
#include "common/wire.h"

#include <stdbool.h>

struct secret {
    char endpoint[256];   /* tcp://ADDRESS:PORT as others reach the coordinator */
    char public_key[41];  /* of the coordinator, Z85 */
    char private_key[41]; /* of the coordinator; empty in what workers and clients get */
    uint8_t token[WIRE_TOKEN_BYTES];
};

/* New keys and token from the kernel's random source. */
int secret_make(struct secret *secret, const char *endpoint, struct rk_why *why);

/* Reads `source`: a path (refused unless the file is the caller's and of mode 0600), "fd:N" (read
 * to its end, or to the line "end", and closed unless it is standard input), or "mount:PATH" of a
 * volume that only this pod has (owner and mode are the cluster's).  RK_EDATA names the line. */
int secret_read(struct secret *secret, const char *source, struct rk_why *why);
/* Writes to a new file of mode 0600 (atomically), or to a descriptor; with the private key or not.
 */
int secret_write_file(const struct secret *secret, const char *path, bool with_private,
                      struct rk_why *why);
int secret_write_fd(const struct secret *secret, int fd, bool with_private, struct rk_why *why);
/* A memfd, rewound, that holds it: to be inherited as "fd:N" (not close-on-exec). */
int secret_to_fd(const struct secret *secret, bool with_private, int *fd, struct rk_why *why);

/* As text, and back; `text` is written over, `source` is what the sentence calls it.  RK_EDATA. */
#define SECRET_TEXT_MAX 1024
size_t secret_text(const struct secret *secret, bool with_private, char text[SECRET_TEXT_MAX]);
int secret_parse(struct secret *secret, char *text, const char *source, struct rk_why *why);

/* Takes equally long wherever they differ. */
bool secret_token_matches(const struct secret *secret, const uint8_t *token, size_t size);

/* 64 random bits from the kernel, never 0: an id of a worker, a host, a client. */
int secret_random_id(uint64_t *id, struct rk_why *why);

#endif
