/* A folder with the files of one test. */
#ifndef RK_TESTS_CLIENT_CONFIG_FOLDER_H
#define RK_TESTS_CLIENT_CONFIG_FOLDER_H

#include <stddef.h>

/* Makes an empty folder under TMPDIR; its path is valid until folder_done. */
const char *folder_init(void);
void folder_done(void);

/* The path of a file in it; valid until the eighth call after. */
const char *folder_path(const char *name);

/* Writes a file, in the place of one that was there, by a rename as kubelets do. */
void folder_write(const char *name, const char *text);
void folder_remove(const char *name);

#endif
