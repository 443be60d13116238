/* Words and numbers as people type them: times, counts, and the word that was probably meant. */
#ifndef RK_LAUNCH_TEXT_H
#define RK_LAUNCH_TEXT_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/* "100ms", "1.5s", "30s", "10min", "2h": nanoseconds into *ns.  RK_EINVAL: not a time, no unit, or
 * more than a year. */
int text_duration(const char *text, uint64_t *ns, struct rk_why *why);
/* Writes a time for people: "12.3 ms", "4.20 s", "3 min 20 s".  Returns `out`. */
const char *text_duration_print(uint64_t ns, char *out, size_t size);

/* A whole number of `min` to `max`, decimal digits only.  RK_EINVAL. */
int text_count(const char *text, uint64_t min, uint64_t max, uint64_t *count, struct rk_why *why);

/* The one of `words` that `word` was probably meant to be, or NULL. */
const char *text_nearest(const char *word, const char *const *words, size_t count);

/* printf into a buffer behind what is in it already; cut at its end, never past it. */
void text_append(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
