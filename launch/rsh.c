/* reknit-rsh: what mpirun takes for rsh.  For the carriers it asks the agent that runs their
 * mpirun; the coordinator finds the agent of that host, which starts the daemon.  For a user's own
 * mpirun it asks the first process of the coordinator's pod (rsh_line.c). A program of its own,
 * with libc only: recovery waits for it, and `reknit` takes 12 ms to load. */
#include "collectives/carrier_launch.h"
#include "launch/rsh_frames.h"
#include "launch/rsh_line.h"
#include "launch/rsh_words.h"
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
          "Starts COMMAND on a host of the job, through its agents.  Used by mpirun: under a\n"
          "`reknit worker`, with the agent's socket in REKNIT_AGENT; in a coordinator's pod, with\n"
          "that of `reknit pods` in REKNIT_RSH, where it behaves like ssh.\n",
          to);
    return code;
}

/* HOST NUL COMMAND. */
static int fill_request(const struct rsh_words *words, struct local_message *message)
{
    size_t size = rsh_words_size(words);

    if (size > LOCAL_TEXT_MAX)
        return RK_EFULL;
    rsh_words_join(words, message->text);
    message->text_size = (uint32_t)size;
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

/* Under the agent that runs the carriers' mpirun. */
static int ask_agent(const char *path, const struct rsh_words *words)
{
    static struct local_message message;
    const char *job = surroundings_get(CARRIER_ENV_JOB);
    struct rk_why why = {""};
    int socket = -1;
    int code;

    message =
        (struct local_message){.magic = LOCAL_MAGIC, .version = LOCAL_VERSION, .kind = LOCAL_RSH};
    message.a = job == NULL ? 0 : strtoul(job, NULL, 10);
    if (fill_request(words, &message) != 0) {
        fprintf(stderr, "reknit-rsh: the command is longer than %u bytes\n", LOCAL_TEXT_MAX);
        return 64;
    }
    if (local_connect(path, &socket, &why) != 0) {
        fprintf(stderr, "reknit-rsh: %s\n", why.text);
        return 69;
    }
    code = ask(socket, &message, words->host);
    close(socket);
    return code;
}

int main(int argc, char **argv)
{
    const char *agent = surroundings_get(LOCAL_ENV_AGENT);
    const char *line = surroundings_get(RSH_ENV);
    struct rsh_words words;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    rsh_words_read(argc, argv, &words);
    if (words.host == NULL || words.count == 0)
        return usage(stderr, 64);
    if (agent != NULL)
        return ask_agent(agent, &words);
    if (line != NULL)
        return rsh_line(line, &words);
    fprintf(stderr,
            "reknit-rsh: neither %s nor %s is set; this is for mpirun under `reknit worker`\n"
            "or in a coordinator's pod\n",
            LOCAL_ENV_AGENT, RSH_ENV);
    return 69;
}
