/* Whether an object is what we would have made; see same.h. */
#include "launch/submit/same.h"

#include "k8s/manifest/faults.h"
#include "k8s/reconcile/sentence.h"
#include "k8s/render/quantity.h"
#include "launch/text.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_SHOWN 64

struct comparison {
    char *text;
    size_t size, count;
    bool filled_in; /* see same_filled_in */
};

/* A value for people; cut. */
static void show(const json_t *value, char out[VALUE_SHOWN])
{
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    sentence_clean(out, VALUE_SHOWN, text != NULL ? text : "absent");
    free(text);
}

static void differ(struct comparison *comparison, const struct path *path, const json_t *there,
                   const json_t *here)
{
    char name[FAULT_PATH_SIZE];
    char a[VALUE_SHOWN];
    char b[VALUE_SHOWN];

    comparison->count++;
    if (comparison->count > SAME_SHOWN)
        return;
    show(there, a);
    show(here, b);
    text_append(comparison->text, comparison->size, "%s%s is %s there and %s here",
                comparison->text[0] != '\0' ? "; " : "", path_print(path, name), a, b);
}

static bool is_same_leaf(const struct comparison *comparison, const json_t *there,
                         const json_t *here)
{
    struct quantity a;
    struct quantity b;

    if (json_equal(there, here))
        return true;
    return comparison->filled_in && quantity_parse(there, &a, NULL) == 0 &&
           quantity_parse(here, &b, NULL) == 0 && a.nano == b.nano;
}

/* What a server leaves out when it has it, as Go's `omitempty`. */
static bool is_nothing(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static void compare(struct comparison *comparison, const struct path *path, const json_t *there,
                    const json_t *here);

static void compare_objects(struct comparison *comparison, const struct path *path,
                            const json_t *there, const json_t *here)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)here, key, value)
    {
        struct path step = {path, key, 0};

        compare(comparison, &step, json_object_get(there, key), value);
    }
    if (comparison->filled_in)
        return;
    json_object_foreach((json_t *)(uintptr_t)there, key, value)
    {
        struct path step = {path, key, 0};

        if (json_object_get(here, key) == NULL)
            differ(comparison, &step, value, NULL);
    }
}

/* Where a server may put something into a list, it does so behind what was there. */
static void compare_arrays(struct comparison *comparison, const struct path *path,
                           const json_t *there, const json_t *here)
{
    size_t count = json_array_size(here);

    if (!comparison->filled_in && json_array_size(there) > count)
        count = json_array_size(there);
    for (size_t i = 0; i < count; i++) {
        struct path step = {path, NULL, i};

        compare(comparison, &step, json_array_get(there, i), json_array_get(here, i));
    }
}

static void compare(struct comparison *comparison, const struct path *path, const json_t *there,
                    const json_t *here)
{
    if (json_is_object(there) && json_is_object(here))
        compare_objects(comparison, path, there, here);
    else if (json_is_array(there) && json_is_array(here))
        compare_arrays(comparison, path, there, here);
    else if (there == NULL && comparison->filled_in && is_nothing(here))
        return;
    else if (there == NULL || here == NULL || !is_same_leaf(comparison, there, here))
        differ(comparison, path, there, here);
}

static size_t finish(struct comparison *comparison)
{
    if (comparison->count > SAME_SHOWN)
        text_append(comparison->text, comparison->size, "; and %zu more",
                    comparison->count - SAME_SHOWN);
    return comparison->count;
}

size_t same_differences(const json_t *there, const json_t *here, char *text, size_t size)
{
    struct comparison comparison = {.text = text, .size = size};

    text[0] = '\0';
    compare(&comparison, NULL, there, here);
    return finish(&comparison);
}

size_t same_filled_in(const json_t *there, const json_t *here, char *text, size_t size)
{
    struct comparison comparison = {.text = text, .size = size, .filled_in = true};

    text[0] = '\0';
    compare(&comparison, NULL, there, here);
    return finish(&comparison);
}
