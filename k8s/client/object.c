/* Fields that all objects have; see object.h. */
#include "k8s/client/object.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static const char *metadata_of(const json_t *object, const char *key)
{
    return text_of(json_object_get(object, "metadata"), key);
}

const char *object_kind(const json_t *object)
{
    return text_of(object, "kind");
}

const char *object_name(const json_t *object)
{
    return metadata_of(object, "name");
}

const char *object_namespace(const json_t *object)
{
    return metadata_of(object, "namespace");
}

const char *object_uid(const json_t *object)
{
    return metadata_of(object, "uid");
}

const char *object_version(const json_t *object)
{
    return metadata_of(object, "resourceVersion");
}

bool object_is_owned_by(const json_t *object, const char *uid)
{
    const json_t *owners = json_object_get(json_object_get(object, "metadata"), "ownerReferences");

    for (size_t i = 0; i < json_array_size(owners); i++)
        if (strcmp(text_of(json_array_get(owners, i), "uid"), uid) == 0)
            return true;
    return false;
}
