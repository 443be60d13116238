/* Times as the API writes them (RFC 3339, UTC). */
#ifndef RK_K8S_CLIENT_WHEN_H
#define RK_K8S_CLIENT_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#define WHEN_SIZE 32u

/* MicroTime: always six digits behind the point, or the server refuses it.  `wall`: ns since 1970.
 */
const char *when_micro(uint64_t wall, char text[WHEN_SIZE]);
/* Time: whole seconds. */
const char *when_seconds(uint64_t wall, char text[WHEN_SIZE]);

/* ns since 1970 of a time with or without a fraction, in Z or with an offset; false: it is none. */
bool when_parse(const char *text, uint64_t *wall);

#endif
