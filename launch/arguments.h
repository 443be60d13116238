/* Command lines from tables: one row an option, from which come parsing, --help and the guess at
 * what a wrong option was meant to be. */
#ifndef RK_LAUNCH_ARGUMENTS_H
#define RK_LAUNCH_ARGUMENTS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGUMENTS_HELP 1 /* --help was asked for and printed */

struct argument {
    const char *name;  /* with its dashes */
    const char *value; /* what the help calls the value; NULL: the option takes none */
    const char *help;  /* may have several lines */
    /* Takes the value (NULL when there is none) into the object at target + offset. */
    int (*take)(const struct argument *argument, const char *value, void *target,
                struct rk_why *why);
    size_t offset;
    uint64_t min, max; /* of argument_count and argument_duration */
};

struct command {
    const char *name;  /* "reknit run" */
    const char *usage; /* what follows the name on the first line of the help */
    const char *about; /* what it does; paragraphs */
    const struct argument *arguments;
    size_t count;
    bool stops_at_word; /* the first word that is no option, or `--`, ends the options */
    const char *after;  /* text behind the options in the help, or NULL */
};

/* take functions; the object at the offset is in brackets. */
int argument_flag(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why); /* bool */
int argument_text(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why); /* const char * */
int argument_count(const struct argument *argument, const char *value, void *target,
                   struct rk_why *why); /* uint32_t */
int argument_duration(const struct argument *argument, const char *value, void *target,
                      struct rk_why *why); /* uint64_t ns */

/* Parses argv[1..].  Words that are no options are moved to the front of argv, behind argv[0]:
 * *words says how many.  With stops_at_word they are all that follows the options.  RK_EINVAL with
 * the sentence, or ARGUMENTS_HELP. */
int arguments_parse(const struct command *command, int argc, char **argv, void *target, int *words,
                    struct rk_why *why);

/* arguments_parse for the start of a command: 0, or prints what is to be said and returns -1 with
 * *exit_code set (0 after help, 64 after an error). */
int arguments_take(const struct command *command, int argc, char **argv, void *target, int *words,
                   int *exit_code);

/* "reknit run: sentence" and where help is, on standard error; returns the code's exit code. */
int command_fail(const struct command *command, int code, const struct rk_why *why);

#endif
