/* Words that people typed: the one that was meant, times, command lines, and how to show them in a
 * message. */
#ifndef RK_K8S_MANIFEST_WORDS_H
#define RK_K8S_MANIFEST_WORDS_H

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A text as a message can bear it: whole characters, at most WORD_SHOWN bytes, `...` where it was
 * cut, '?' for control characters. */
#define WORD_SHOWN 72u
struct word_shown {
    char text[WORD_SHOWN + 1];
};
const char *word_show(const char *text, struct word_shown *shown);

/* The one of `count` words that `word` was probably meant to be, or NULL.  The first word is at
 * `words`, the next `stride` bytes behind it, so that the names in a table need no list. */
const char *word_nearest(const char *word, const char *const *words, size_t count, size_t stride);

/* "100ms", "1.5s", "30s", "10min", "2h" as nanoseconds, the same as on reknit's command line.
 * RK_EINVAL with the sentence. */
int word_duration(const char *text, uint64_t *ns, struct rk_why *why);

/* Cuts a line into words as a POSIX shell does: blanks and line breaks between them, '...', "...",
 * backslash.  Nothing is expanded: a character that a shell would act on ($ ` ; & | < > ( ) * ? [ #
 * ~) is refused unless it is quoted.  *out is a new array of strings.  RK_EINVAL, RK_ENOMEM. */
int word_split(const char *line, json_t **out, struct rk_why *why);

#endif
