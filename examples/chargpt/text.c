/* Reading the text: see text.h. */
#include "examples/chargpt/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A reading in progress. */
struct reader {
    uint8_t *bytes;
    size_t length, capacity;
    size_t files;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct reader *reader, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->why, reader->why_size, format, arguments);
    va_end(arguments);
    return -1;
}

/* Makes room for at least one more byte. */
static int grow(struct reader *reader, const char *path)
{
    if (reader->length < reader->capacity)
        return 0;
    if (reader->capacity >= TEXT_MAX_BYTES)
        return fail(reader, "%s: the text reaches %zu MiB, more than fits; give a part of it", path,
                    TEXT_MAX_BYTES >> 20);
    size_t capacity = reader->capacity ? reader->capacity * 2 : 65536;
    uint8_t *bytes = realloc(reader->bytes, capacity);
    if (!bytes)
        return fail(reader, "%s: no memory for %zu bytes of text", path, capacity);
    reader->bytes = bytes;
    reader->capacity = capacity;
    return 0;
}

static int read_open_file(struct reader *reader, int fd, const char *path)
{
    for (;;) {
        if (grow(reader, path))
            return -1;
        ssize_t got = read(fd, reader->bytes + reader->length, reader->capacity - reader->length);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(reader, "%s: cannot be read: %s", path, strerror(errno));
        reader->length += (size_t)got;
    }
}

static int read_file(struct reader *reader, const char *path)
{
    if (++reader->files > TEXT_MAX_FILES)
        return fail(reader, "%s: more than %u files; give a smaller folder", path, TEXT_MAX_FILES);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(reader, "%s: cannot be opened: %s", path, strerror(errno));
    int rc = read_open_file(reader, fd, path);
    close(fd);
    return rc;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int read_folder(struct reader *reader, const char *path, unsigned depth);

static int read_entry(struct reader *reader, const char *folder, const char *name, unsigned depth)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fail(reader, "%s: no memory for the names in it", folder);
    struct stat about;
    int rc = 0;
    if (lstat(path, &about))
        rc = fail(reader, "%s: cannot be looked at: %s", path, strerror(errno));
    else if (S_ISREG(about.st_mode))
        rc = read_file(reader, path);
    else if (S_ISDIR(about.st_mode))
        rc = read_folder(reader, path, depth + 1);
    free(path);
    return rc;
}

static int read_folder(struct reader *reader, const char *path, unsigned depth)
{
    if (depth >= TEXT_MAX_DEPTH)
        return fail(reader, "%s: folders lie more than %u deep", path, TEXT_MAX_DEPTH);
    struct dirent **entries;
    int count = scandir(path, &entries, not_dots, by_name);
    if (count < 0)
        return fail(reader, "%s: the folder cannot be read: %s", path, strerror(errno));
    int rc = 0;
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = read_entry(reader, path, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/* Replaces the bytes by their numbers in the vocabulary. */
static void number_bytes(struct text *text)
{
    uint8_t number[256] = {0};
    int seen[256] = {0};
    for (size_t i = 0; i < text->length; i++)
        seen[text->characters[i]] = 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!seen[byte])
            continue;
        number[byte] = (uint8_t)text->vocabulary;
        text->byte_of[text->vocabulary++] = (uint8_t)byte;
    }
    for (size_t i = 0; i < text->length; i++)
        text->characters[i] = number[text->characters[i]];
}

int text_read(struct text *text, const char *path, char *why, size_t why_size)
{
    struct reader reader = {.why = why, .why_size = why_size};
    struct stat about;
    int rc;

    *text = (struct text){0};
    if (stat(path, &about))
        rc = fail(&reader, "%s: cannot be read: %s", path, strerror(errno));
    else if (S_ISREG(about.st_mode))
        rc = read_file(&reader, path);
    else if (S_ISDIR(about.st_mode))
        rc = read_folder(&reader, path, 0);
    else
        rc = fail(&reader, "%s: is neither a file nor a folder", path);
    if (rc == 0 && reader.length == 0)
        rc = fail(&reader, "%s: holds no text", path);
    if (rc) {
        free(reader.bytes);
        return rc;
    }
    text->characters = reader.bytes;
    text->length = reader.length;
    number_bytes(text);
    return 0;
}

void text_free(struct text *text)
{
    free(text->characters);
    *text = (struct text){0};
}

uint8_t text_number_of(const struct text *text, uint8_t byte)
{
    for (size_t i = 0; i < text->vocabulary; i++)
        if (text->byte_of[i] == byte)
            return (uint8_t)i;
    return 0;
}
