/* Enough of a POSIX shell's grammar to find the last command of a script, and to quote a word. */
#ifndef RK_K8S_RENDER_SHELL_H
#define RK_K8S_RENDER_SHELL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `word` names a program called `name`, with or without a path. */
bool shell_is_program(const char *word, const char *name);
/* Whether `word` names a shell that takes a script behind -c. */
bool shell_is_shell(const char *word);
/* Whether `word` is an option word of a shell that has c in it: "-c", "-lc", "-xec". */
bool shell_is_script_option(const char *word);

/* Where the last command of `script` begins, when that command is `name` with any arguments, alone
 * or behind exec, and stands by itself: in no pipe, block, quotes or background.  -1: it is not. */
long shell_last_command(const char *script, const char *name);

/* Appends `word`, quoted where it must be, to the string at *text (grown with realloc; NULL:
 * empty), behind a blank when something is there.  False: no memory, and *text is freed and NULL.
 */
bool shell_append(char **text, const char *word);

#endif
