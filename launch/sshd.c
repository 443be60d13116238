/* reknit-sshd: lies over /usr/sbin/sshd in a worker's pod whose own command is kept, and becomes
 * the agent when that command starts what it takes for sshd.  The agent's arguments are in the
 * variable REKNIT_WORKER, a JSON array of texts. */
#include "k8s/render/names.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WITH_VALUE "bCcEfghkopu"
#define TURN_NS 1000000

struct wish {
    bool foreground; /* -D, -d */
    bool check;      /* -t, -T: only look at the configuration */
};

static void read_options(int argc, char **argv, struct wish *wish)
{
    for (int i = 1; i < argc && argv[i][0] == '-'; i++)
        for (const char *letter = argv[i] + 1; *letter != '\0'; letter++) {
            wish->foreground = wish->foreground || *letter == 'D' || *letter == 'd';
            wish->check = wish->check || *letter == 't' || *letter == 'T';
            if (strchr(WITH_VALUE, *letter) == NULL)
                continue;
            if (letter[1] == '\0')
                i++;
            break;
        }
}

/* "reknit" and the array's words; NULL: it is none. */
static char **read_words(const json_t *array)
{
    char **word = calloc(json_array_size(array) + 2, sizeof *word);
    size_t index;
    json_t *value;

    if (word == NULL || json_array_size(array) == 0) {
        free(word);
        return NULL;
    }
    word[0] = (char *)(uintptr_t) "reknit";
    json_array_foreach(array, index, value)
    {
        word[index + 1] = (char *)(uintptr_t)json_string_value(value);
        if (word[index + 1] == NULL) {
            free(word);
            return NULL;
        }
    }
    return word;
}

/* As sshd does without -D.  The agent dies with its parent, which must be the lasting one. */
static bool leave_parent(void)
{
    const struct timespec turn = {.tv_nsec = TURN_NS};
    pid_t parent = getpid();
    pid_t child = fork();

    if (child > 0)
        _exit(0);
    while (child == 0 && getppid() == parent)
        nanosleep(&turn, NULL);
    return child == 0 && setsid() >= 0;
}

int main(int argc, char **argv)
{
    const char *text = surroundings_get("REKNIT_WORKER");
    struct wish wish = {false, false};
    json_t *array = text != NULL ? json_loads(text, 0, NULL) : NULL;
    char **word = read_words(array);

    read_options(argc, argv, &wish);
    if (word == NULL)
        fprintf(stderr, "sshd: REKNIT_WORKER is not set as it should be; this program stands in\n"
                        "sshd's place in the pods of reknit\n");
    else if (wish.check || (!wish.foreground && !leave_parent()))
        ;
    else if (execv(PATH_REKNIT, word) != 0)
        fprintf(stderr, "sshd: %s: %s\n", PATH_REKNIT, strerror(errno));
    bool failed = word == NULL || !wish.check;
    free(word);
    json_decref(array);
    return failed ? 255 : 0;
}
