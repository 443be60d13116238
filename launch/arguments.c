/* Command lines from tables; see arguments.h. */
#include "launch/arguments.h"

#include "launch/text.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 30
#define MOST_OPTIONS 64u

static void *field_of(const struct argument *argument, void *target)
{
    return (char *)target + argument->offset;
}

int argument_flag(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why)
{
    (void)value;
    (void)why;
    *(bool *)field_of(argument, target) = true;
    return 0;
}

int argument_text(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why)
{
    if (*value == '\0')
        return rk_fail(why, RK_EINVAL, "it is empty");
    *(const char **)field_of(argument, target) = value;
    return 0;
}

int argument_count(const struct argument *argument, const char *value, void *target,
                   struct rk_why *why)
{
    uint64_t count;
    int rc = text_count(value, argument->min, argument->max, &count, why);

    if (rc == 0)
        *(uint32_t *)field_of(argument, target) = (uint32_t)count;
    return rc;
}

int argument_duration(const struct argument *argument, const char *value, void *target,
                      struct rk_why *why)
{
    char least[32];
    char most[32];
    uint64_t ns;
    int rc = text_duration(value, &ns, why);

    if (rc != 0)
        return rc;
    if (ns < argument->min || ns > argument->max)
        return rk_fail(why, RK_EINVAL, "%.40s is not possible: it must be %s to %s", value,
                       text_duration_print(argument->min, least, sizeof least),
                       text_duration_print(argument->max, most, sizeof most));
    *(uint64_t *)field_of(argument, target) = ns;
    return 0;
}

static void print_argument(const struct argument *argument)
{
    char left[64];
    const char *text = argument->help;

    snprintf(left, sizeof left, "  %s%s%s", argument->name, argument->value != NULL ? " " : "",
             argument->value != NULL ? argument->value : "");
    printf("%-*s", HELP_COLUMN, left);
    if (strlen(left) >= HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        printf("%.*s\n%*s", (int)(end - text), text, HELP_COLUMN, "");
    printf("%s\n", text);
}

static void print_help(const struct command *command)
{
    printf("usage: %s %s\n\n%s\n", command->name, command->usage, command->about);
    if (command->count > 0)
        printf("\noptions:\n");
    for (size_t i = 0; i < command->count; i++)
        print_argument(&command->arguments[i]);
    if (command->after != NULL)
        printf("\n%s\n", command->after);
}

static int unknown_option(const struct command *command, const char *option, struct rk_why *why)
{
    const char *names[MOST_OPTIONS];
    const char *nearest;
    size_t count = command->count < MOST_OPTIONS ? command->count : MOST_OPTIONS;

    for (size_t i = 0; i < count; i++)
        names[i] = command->arguments[i].name;
    nearest = text_nearest(option, names, count);
    if (nearest != NULL)
        return rk_fail(why, RK_EINVAL, "unknown option '%.60s'; did you mean %s?", option, nearest);
    return rk_fail(why, RK_EINVAL, "unknown option '%.60s'", option);
}

/* Takes the option at argv[*at] and its value; *at stands on the last of them afterwards. */
static int take_option(const struct command *command, int argc, char **argv, int *at, void *target,
                       struct rk_why *why)
{
    char name[64];
    struct rk_why detail;
    const char *word = argv[*at];
    const char *value = strchr(word, '=');
    const struct argument *argument = NULL;

    snprintf(name, sizeof name, "%.*s", value != NULL ? (int)(value - word) : 63, word);
    for (size_t i = 0; i < command->count && argument == NULL; i++)
        if (strcmp(command->arguments[i].name, name) == 0)
            argument = &command->arguments[i];
    if (argument == NULL)
        return unknown_option(command, name, why);
    if (argument->value == NULL && value != NULL)
        return rk_fail(why, RK_EINVAL, "%s takes no value", name);
    if (value != NULL)
        value++;
    else if (argument->value != NULL && (value = argv[++*at < argc ? *at : argc]) == NULL)
        return rk_fail(why, RK_EINVAL, "%s needs a value: %s %s", name, name, argument->value);
    if (argument->take(argument, value, target, &detail) != 0)
        return rk_fail(why, RK_EINVAL, "%s: %s", name, detail.text);
    return 0;
}

int arguments_parse(const struct command *command, int argc, char **argv, void *target, int *words,
                    struct rk_why *why)
{
    int at = 1;
    int rc;

    *words = 0;
    for (; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            print_help(command);
            return ARGUMENTS_HELP;
        }
        if (argv[at][0] == '-' && argv[at][1] != '\0') {
            rc = take_option(command, argc, argv, &at, target, why);
            if (rc != 0)
                return rc;
        } else if (command->stops_at_word) {
            break;
        } else {
            argv[++*words] = argv[at];
        }
    }
    for (; at < argc; at++)
        argv[++*words] = argv[at];
    return 0;
}

int command_fail(const struct command *command, int code, const struct rk_why *why)
{
    fprintf(stderr, "%s: %s\n", command->name, why->text);
    if (code == RK_EINVAL)
        fprintf(stderr, "See '%s --help'.\n", command->name);
    return rk_error_exit_code(code);
}

int arguments_take(const struct command *command, int argc, char **argv, void *target, int *words,
                   int *exit_code)
{
    struct rk_why why = {""};
    int rc = arguments_parse(command, argc, argv, target, words, &why);

    if (rc == 0)
        return 0;
    *exit_code = rc == ARGUMENTS_HELP ? 0 : command_fail(command, rc, &why);
    return -1;
}
