/* Base64 as kubeconfigs and Secrets carry it (RFC 4648, with padding). */
#ifndef RK_K8S_CLIENT_BASE64_H
#define RK_K8S_CLIENT_BASE64_H

#include <stddef.h>

/* The bytes of `text`, a zero after them that does not count; blanks and newlines are passed over.
 * NULL: no memory, or no base64.  The caller frees. */
char *base64_decode(const char *text, size_t *size);

#endif
