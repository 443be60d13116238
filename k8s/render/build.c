/* Putting JSON together; see build.h. */
#include "k8s/render/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void build_fail(struct build *build, int rc, const char *format, ...)
{
    va_list arguments;

    if (build->rc != 0)
        return;
    build->rc = rc;
    if (build->why == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(build->why->text, sizeof build->why->text, format, arguments);
    va_end(arguments);
}

json_t *build_made(struct build *build, json_t *value)
{
    if (value == NULL)
        build_fail(build, RK_ENOMEM, "no memory is left for the objects of the job");
    return value;
}

void build_set(struct build *build, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, build_made(build, value)) != 0)
        build_made(build, NULL);
}

void build_text(struct build *build, json_t *object, const char *key, const char *text)
{
    build_set(build, object, key, json_string(text));
}

void build_push(struct build *build, json_t *array, json_t *value)
{
    if (json_array_append_new(array, build_made(build, value)) != 0)
        build_made(build, NULL);
}

void build_word(struct build *build, json_t *array, const char *word)
{
    build_push(build, array, json_string(word));
}

/* What stands under `key`; NULL: nothing, or a fault was noted. */
static json_t *existing(struct build *build, json_t *object, const char *key, json_type type,
                        const char *where)
{
    json_t *value = json_object_get(object, key);

    if (value == NULL || json_is_null(value))
        return NULL;
    if (json_typeof(value) == type)
        return value;
    build_fail(build, RK_EDATA, "%s.%s must be %s", where, key,
               type == JSON_ARRAY ? "a list" : "a map");
    return NULL;
}

static json_t *existing_or_new(struct build *build, json_t *object, const char *key, json_type type,
                               const char *where)
{
    json_t *value = existing(build, object, key, type, where);

    if (value != NULL || build->rc != 0)
        return value;
    build_set(build, object, key, type == JSON_ARRAY ? json_array() : json_object());
    return json_object_get(object, key);
}

json_t *build_child(struct build *build, json_t *object, const char *key, const char *where)
{
    return existing_or_new(build, object, key, JSON_OBJECT, where);
}

json_t *build_list(struct build *build, json_t *object, const char *key, const char *where)
{
    return existing_or_new(build, object, key, JSON_ARRAY, where);
}

void build_drop_empty(json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_object_size(value) == 0 && json_array_size(value) == 0)
        json_object_del(object, key);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *sorted_object(struct build *build, const json_t *object)
{
    size_t count = json_object_size(object);
    const char **keys = malloc((count + 1) * sizeof *keys);
    json_t *copy = build_made(build, json_object());
    const char *key;
    json_t *value;
    size_t at = 0;

    if (keys == NULL || copy == NULL) {
        free(keys);
        json_decref(copy);
        return build_made(build, NULL);
    }
    json_object_foreach((json_t *)object, key, value) keys[at++] = key;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (at = 0; at < count; at++) {
        value = json_object_get(object, keys[at]);
        if (!json_is_null(value))
            build_set(build, copy, keys[at], build_sorted(build, value));
    }
    free(keys);
    return copy;
}

json_t *build_sorted(struct build *build, const json_t *value)
{
    json_t *copy;
    size_t index;
    json_t *item;

    if (json_is_object(value))
        return sorted_object(build, value);
    if (!json_is_array(value))
        return build_made(build, json_deep_copy(value));
    copy = build_made(build, json_array());
    json_array_foreach(value, index, item) build_push(build, copy, build_sorted(build, item));
    return copy;
}
