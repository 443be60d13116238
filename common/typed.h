/* What people type: how far a word is from another one, and times.  The sentences about what is
 * wrong are the caller's. */
#ifndef RK_COMMON_TYPED_H
#define RK_COMMON_TYPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levenshtein's distance; `fold`: letters that differ in case only count as the same.  SIZE_MAX
 * when one is longer than 64 bytes. */
size_t typed_distance(const char *a, const char *b, bool fold);

enum typed_time { TYPED_TIME, TYPED_NO_UNIT, TYPED_TOO_LONG, TYPED_NO_TIME };

/* "100ms", "1.5s", "30s", "10min", "2h", at most a year, as nanoseconds; *ns only for TYPED_TIME.
 */
enum typed_time typed_duration(const char *text, uint64_t *ns);

#endif
