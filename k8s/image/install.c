/* `/reknit/install TARGET`: what the init container of a pod runs.  It copies the tree that it
 * stands in to TARGET, an emptyDir, which the pod's other containers mount at /reknit.
 *
 * Linked statically, since it runs before anything of ours is where it belongs.  Writes to TARGET
 * only; needs no right but to make files there, no other program and no user entry. */
#include "k8s/image/copy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int usage(FILE *where, int code)
{
    fputs("usage: install TARGET\n"
          "Copies reknit, the folder of this program, into TARGET, a folder that is there.\n"
          "May be run again over an older copy, or one that was cut short.\n"
          "Exit: 0 all is there, 64 usage, 69 it could not be copied.\n",
          where);
    return code;
}

/* The folder of this program. */
static int find_source(char path[PATH_MAX], struct rk_why *why)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (length < 0)
        return rk_fail_errno(why, errno, "cannot read /proc/self/exe; is /proc mounted?");
    path[length] = '\0';
    *strrchr(path, '/') = '\0';
    if (path[0] == '\0')
        return rk_fail(why, RK_EINVAL, "this program stands in /, and not in a bundle of reknit");
    return 0;
}

int main(int argc, char **argv)
{
    char source[PATH_MAX];
    struct rk_why why = {.text = ""};
    int rc;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return usage(stdout, 0);
    if (argc != 2 || argv[1][0] == '-' || argv[1][0] == '\0')
        return usage(stderr, 64);
    rc = find_source(source, &why);
    if (rc == 0)
        rc = copy_tree(source, argv[1], &why);
    if (rc != 0)
        fprintf(stderr, "install: %s\n", why.text);
    return rk_error_exit_code(rc);
}
