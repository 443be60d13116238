/* The command line of reknit-rsh, which is that of ssh as far as an MPI's launcher uses it. */
#ifndef RK_LAUNCH_RSH_WORDS_H
#define RK_LAUNCH_RSH_WORDS_H

#include <stdbool.h>

struct rsh_words {
    const char *host; /* without a user in front; NULL: none was given */
    char **command; /* NULL ended; its words come quoted for the shell that a real rsh would run */
    int count;
    bool no_input; /* -n */
};

/* Options before the host and behind it are known by their letters, of which some have a value. */
void rsh_words_read(int argc, char **argv, struct rsh_words *words);

/* How many bytes rsh_words_join writes. */
unsigned long rsh_words_size(const struct rsh_words *words);
/* HOST NUL COMMAND NUL, with blanks between the words of the command. */
void rsh_words_join(const struct rsh_words *words, char *text);

#endif
