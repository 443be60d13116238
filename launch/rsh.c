/* reknit-rsh: what mpirun takes for rsh when it starts its daemons for the carriers.  It asks the
 * agent that runs mpirun; the coordinator finds the agent of that host, which starts the daemon.
 * A program of its own, with libc only: recovery waits for it, and `reknit` takes 12 ms to load. */
#include "collectives/carrier_launch.h"
#include "launch/surroundings.h"
#include "worker/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_TIMEOUT_MS 30000

static int usage(FILE *to, int code)
{
    fputs("usage: reknit-rsh [ignored options] HOST COMMAND...\n"
          "Starts COMMAND on a host of the job, through its agents.  Used by mpirun, which a\n"
          "`reknit worker` has started with the agent's socket in REKNIT_AGENT.\n",
          to);
    return code;
}

/* Options of rsh and ssh that mpirun might give; of these, -l, -p and -o have a value. */
static int skip_options(int argc, char **argv)
{
    int i = 1;

    while (i < argc && argv[i][0] == '-')
        i += strcmp(argv[i], "-l") == 0 || strcmp(argv[i], "-p") == 0 || strcmp(argv[i], "-o") == 0
                 ? 2
                 : 1;
    return i;
}

/* HOST NUL COMMAND, the words of the command with blanks between them: they come quoted for the
 * shell that a real rsh would run. */
static int fill_request(int argc, char **argv, int first, struct local_message *message)
{
    size_t used = strlen(argv[first]) + 1;

    if (used > LOCAL_TEXT_MAX)
        return RK_EFULL;
    memcpy(message->text, argv[first], used);
    for (int i = first + 1; i < argc; i++) {
        size_t size = strlen(argv[i]);

        if (used + size + 1 > LOCAL_TEXT_MAX)
            return RK_EFULL;
        memcpy(message->text + used, argv[i], size);
        used += size;
        message->text[used++] = i + 1 < argc ? ' ' : '\0';
    }
    message->text_size = (uint32_t)used;
    return 0;
}

/* 0 once the daemon was started.  mpirun is content with an rsh that exits before the daemon does:
 * it watches the daemon's own connection. */
static int ask(int socket, struct local_message *message, const char *host)
{
    int fd = -1;
    int rc = local_send(socket, message, -1);

    if (rc == 0)
        rc = local_receive(socket, message, &fd, START_TIMEOUT_MS);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && message->kind == LOCAL_STARTED)
        return 0;
    if (rc == 0 && message->kind == LOCAL_REFUSED)
        fprintf(stderr, "reknit-rsh: %s: %s\n", host, message->text);
    else
        fprintf(stderr, "reknit-rsh: %s: no answer from the agent: %s\n", host,
                rk_error_text(rc == 0 ? RK_EPROTO : rc));
    return 69;
}

int main(int argc, char **argv)
{
    static struct local_message message;
    const char *path = surroundings_get(LOCAL_ENV_AGENT);
    const char *job = surroundings_get(CARRIER_ENV_JOB);
    struct rk_why why = {""};
    int first = skip_options(argc, argv);
    int socket = -1;
    int code;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (first + 1 >= argc)
        return usage(stderr, 64);
    message =
        (struct local_message){.magic = LOCAL_MAGIC, .version = LOCAL_VERSION, .kind = LOCAL_RSH};
    message.a = job == NULL ? 0 : strtoul(job, NULL, 10);
    if (path == NULL) {
        fprintf(stderr, "reknit-rsh: %s is not set; this is for mpirun under `reknit worker`\n",
                LOCAL_ENV_AGENT);
        return 69;
    }
    if (fill_request(argc, argv, first, &message) != 0) {
        fprintf(stderr, "reknit-rsh: the command is longer than %u bytes\n", LOCAL_TEXT_MAX);
        return 64;
    }
    if (local_connect(path, &socket, &why) != 0) {
        fprintf(stderr, "reknit-rsh: %s\n", why.text);
        return 69;
    }
    code = ask(socket, &message, argv[first]);
    close(socket);
    return code;
}
