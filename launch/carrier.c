/* `reknit carrier`: becomes the program reknit-carrier beside this one, the only one that is linked
 * with MPI, under the same name for people who look at processes. */
#include "launch/commands.h"

#include "launch/surroundings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int command_carrier(int argc, char **argv)
{
    char path[PATH_MAX + sizeof "reknit-carrier"];
    char *arguments[] = {(char[]){"reknit"}, (char[]){"carrier"}, NULL};
    struct rk_why why = {""};
    int rc;

    if (argc > 1) {
        fputs("usage: reknit carrier\nExchanges gradients between hosts; started by agents through "
              "mpirun.\n",
              stderr);
        return strcmp(argv[1], "--help") == 0 ? 0 : 64;
    }
    rc = surroundings_self(path, PATH_MAX, &why);
    if (rc != 0 || strrchr(path, '/') == NULL) {
        fprintf(stderr, "reknit carrier: %s\n", why.text);
        return 69;
    }
    strcpy(strrchr(path, '/') + 1, "reknit-carrier");
    execv(path, arguments);
    fprintf(stderr, "reknit carrier: cannot run %s: %s; install it beside reknit\n", path,
            strerror(errno));
    return 69;
}
