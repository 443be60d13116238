/* Files of a test; see config_folder.h. */
#include "tests/client/config_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[512];

const char *folder_init(void)
{
    const char *under = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/reknit-client-XXXXXX", under != NULL ? under : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

const char *folder_path(const char *name)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void folder_write(const char *name, const char *text)
{
    FILE *file = fopen(folder_path("new"), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(folder_path("new"), folder_path(name)), 0);
}

void folder_remove(const char *name)
{
    assert_int_equal(unlink(folder_path(name)), 0);
}

void folder_done(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        unlink(folder_path(entry->d_name));
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}
