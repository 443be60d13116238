/* plain: a program that knows nothing of reknit.  Prints the environment that torchrun's contract
 * and ours promise to every rank, as one line of JSON, then waits and exits as told:
 * plain [--exit N] [--seconds S] [--rank R]   (with --rank only that rank exits with N, others 0)
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 64

static const char *const promised[] = {
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
    "REKNIT_JOB",
    "REKNIT_GENERATION",
    "REKNIT_CHECKPOINT_DIR",
};

/* The value of `name`, or NULL when it is not set. */
static const char *value_of(char **environment, const char *name)
{
    const size_t length = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_environment(char **environment)
{
    printf("{\"pid\": %ld", (long)getpid());
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++) {
        const char *value = value_of(environment, promised[i]);
        printf(", \"%s\": ", promised[i]);
        if (value)
            print_string(value);
        else
            fputs("null", stdout);
    }
    puts("}");
    fflush(stdout);
}

static void wait_for(double seconds)
{
    const double whole = floor(seconds);
    struct timespec left = {(time_t)whole, (long)((seconds - whole) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

int main(int argc, char **argv, char **environment)
{
    static const struct option names[] = {{"exit", required_argument, NULL, 'e'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"rank", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    double seconds = 0.0;
    const char *rank = NULL;
    int code = 0, which;

    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (which == '?')
            return EXIT_USAGE;
        if (which == 'e')
            code = (int)strtol(optarg, NULL, 10);
        else if (which == 's')
            seconds = strtod(optarg, NULL);
        else
            rank = optarg;
    }
    if (optind < argc || !(seconds >= 0.0 && seconds <= 86400.0) || code < 0 || code > 255)
        return EXIT_USAGE;
    print_environment(environment);
    wait_for(seconds);
    const char *mine = value_of(environment, "RANK");
    if (rank && (!mine || strcmp(rank, mine) != 0))
        code = 0;
    return code;
}
