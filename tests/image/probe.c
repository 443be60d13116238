/* A rank that looks for what is not its own: built with another libc, it must find neither a
 * library of the bundle in its memory nor a word of it in its environment.  Prints what it finds;
 * exit 1. */
#include <stdio.h>
#include <string.h>

extern char **environ;

static int look_at_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int found = maps == NULL;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "/reknit/") != NULL) {
            fputs(line, stdout);
            found = 1;
        }
    if (maps != NULL)
        fclose(maps);
    return found;
}

static int look_at_environment(void)
{
    static const char *const foreign[] = {"LD_",    "PATH=/reknit", "OMPI_", "OPAL_",
                                          "PMIX_",  "HWLOC_",       "GCONV", "LOCPATH",
                                          "SSL_CE", "MALLOC_",      "GLIBC_"};
    int found = 0;

    for (char **entry = environ; *entry != NULL; entry++)
        for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
            if (strncmp(*entry, foreign[i], strlen(foreign[i])) == 0) {
                puts(*entry);
                found = 1;
            }
    return found;
}

int main(void)
{
    int found = look_at_memory() | look_at_environment();

    puts(found ? "found what is not mine" : "only what is mine");
    return found;
}
