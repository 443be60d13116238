/* The list of faults; see faults.h. */
#include "k8s/manifest/faults.h"

#include "k8s/manifest/words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 16u
#define STEPS_MAX 160u /* deeper than any text that the reader takes */

void faults_init(struct faults *faults)
{
    memset(faults, 0, sizeof *faults);
}

static void fault_done(struct fault *fault)
{
    free((char *)(uintptr_t)fault->path);
    free((char *)(uintptr_t)fault->sentence);
    free((char *)(uintptr_t)fault->remedy);
}

void faults_done(struct faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        fault_done(&faults->fault[i]);
    free(faults->fault);
    faults_init(faults);
}

/* Room for one more: capacities are powers of two, so the count alone says when to grow. */
static bool make_room(struct faults *faults)
{
    size_t capacity = faults->count == 0 ? CAPACITY_FIRST : 2 * faults->count;
    struct fault *grown;

    if (faults->count != 0 &&
        (faults->count < CAPACITY_FIRST || (faults->count & (faults->count - 1)) != 0))
        return true;
    grown = realloc(faults->fault, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    faults->fault = grown;
    return true;
}

void faults_add(struct faults *faults, enum fault_severity severity, struct yaml_place at,
                const struct path *path, const char *remedy, const char *format, ...)
{
    char text[FAULT_PATH_SIZE];
    struct fault fault = {.severity = severity, .at = at, .order = faults->count};
    char *sentence = NULL;
    va_list args;

    *(severity == FAULT_ERROR ? &faults->errors : &faults->warnings) += 1;
    if (faults->count == FAULTS_MAX)
        return;
    va_start(args, format);
    if (vasprintf(&sentence, format, args) < 0)
        sentence = NULL;
    va_end(args);
    fault.path = strdup(path_print(path, text));
    fault.sentence = sentence;
    fault.remedy = strdup(remedy != NULL ? remedy : "");
    if (fault.path == NULL || sentence == NULL || fault.remedy == NULL || !make_room(faults)) {
        fault_done(&fault);
        faults->rc = RK_ENOMEM;
        return;
    }
    faults->fault[faults->count++] = fault;
}

static int compare(const void *a, const void *b)
{
    const struct fault *x = a;
    const struct fault *y = b;

    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.column != y->at.column)
        return x->at.column < y->at.column ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

void faults_sort(struct faults *faults)
{
    if (faults->count > 1)
        qsort(faults->fault, faults->count, sizeof faults->fault[0], compare);
}

int faults_rc(const struct faults *faults, struct rk_why *why)
{
    if (faults->rc != 0)
        return rk_fail(why, faults->rc, "no memory for what is wrong with the manifest");
    return 0;
}

static bool is_field_name(const char *key)
{
    return *key != '\0' && key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789_-$")] == '\0';
}

static void append(char *out, size_t *used, const char *text)
{
    size_t length = strlen(text);

    if (length > FAULT_PATH_SIZE - 1 - *used)
        return;
    memcpy(out + *used, text, length);
    *used += length;
    out[*used] = '\0';
}

static void append_key(char *out, size_t *used, const char *key)
{
    struct word_shown shown;

    append(out, used, word_show(key, &shown));
}

static void append_step(char *out, size_t *used, const struct path *step)
{
    char index[32];

    if (step->key == NULL) {
        snprintf(index, sizeof index, "[%zu]", step->index);
        append(out, used, index);
    } else if (is_field_name(step->key)) {
        append(out, used, *used > 0 ? "." : "");
        append_key(out, used, step->key);
    } else {
        append(out, used, "[");
        append_key(out, used, step->key);
        append(out, used, "]");
    }
}

const char *path_print(const struct path *path, char *out)
{
    const struct path *step[STEPS_MAX];
    size_t count = 0;
    size_t used = 0;

    out[0] = '\0';
    for (; path != NULL && count < STEPS_MAX; path = path->up)
        step[count++] = path;
    while (count > 0)
        append_step(out, &used, step[--count]);
    return out;
}

const struct fault_colours faults_plain = {"", "", "", ""};

static void print(const struct fault *fault, const char *file, const struct fault_colours *colours,
                  FILE *out)
{
    bool error = fault->severity == FAULT_ERROR;

    fprintf(out, "%s%s:", colours->bold, file);
    if (fault->at.line > 0)
        fprintf(out, "%u:%u:", (unsigned)fault->at.line, (unsigned)fault->at.column);
    fprintf(out, "%s %s%s:%s ", colours->plain, error ? colours->error : colours->warning,
            error ? "error" : "warning", colours->plain);
    if (fault->path[0] != '\0')
        fprintf(out, "%s: ", fault->path);
    fprintf(out, "%s", fault->sentence);
    if (fault->remedy[0] != '\0')
        fprintf(out, "; %s", fault->remedy);
    fputc('\n', out);
}

void faults_print(const struct faults *faults, const char *file,
                  const struct fault_colours *colours, FILE *out)
{
    for (size_t i = 0; i < faults->count; i++)
        print(&faults->fault[i], file, colours, out);
    if (faults->errors + faults->warnings > faults->count)
        fprintf(out, "%s: %zu more are not shown\n", file,
                faults->errors + faults->warnings - faults->count);
}
