/* What a Role gives; see roles.h. */
#include "launch/submit/roles.h"

#include "launch/text.h"

#include <stdio.h>
#include <string.h>

static bool has(const json_t *rule, const char *key, const char *word)
{
    size_t at;
    json_t *item;

    json_array_foreach(json_object_get(rule, key), at, item)
    {
        const char *text = json_string_value(item);

        if (text != NULL && (strcmp(text, word) == 0 || strcmp(text, "*") == 0))
            return true;
    }
    return false;
}

bool roles_allow(const json_t *rules, const char *group, const char *resource, const char *verb)
{
    size_t at;
    json_t *rule;

    json_array_foreach(rules, at, rule)
    {
        if (json_array_size(json_object_get(rule, "resourceNames")) == 0 &&
            has(rule, "apiGroups", group) && has(rule, "resources", resource) &&
            has(rule, "verbs", verb))
            return true;
    }
    return false;
}

const char *roles_name(const char *group, const char *resource, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", resource, group[0] != '\0' ? "." : "", group);
    return out;
}

/* Appends those of one resource of a wanted rule. */
static size_t missing_of(const json_t *rules, const json_t *wanted, const char *group,
                         const char *resource, char *text, size_t size)
{
    size_t count = 0;
    char name[160];
    size_t at;
    json_t *verb;

    json_array_foreach(json_object_get(wanted, "verbs"), at, verb)
    {
        if (roles_allow(rules, group, resource, json_string_value(verb)))
            continue;
        text_append(text, size, "%s%s %s", text[0] != '\0' ? ", " : "", json_string_value(verb),
                    roles_name(group, resource, name, sizeof name));
        count++;
    }
    return count;
}

size_t roles_missing(const json_t *rules, const json_t *wanted, char *text, size_t size)
{
    size_t count = 0;
    size_t i;
    size_t j;
    size_t k;
    json_t *rule;
    json_t *group;
    json_t *resource;

    text[0] = '\0';
    json_array_foreach(wanted, i, rule)
    {
        json_array_foreach(json_object_get(rule, "apiGroups"), j, group)
        {
            json_array_foreach(json_object_get(rule, "resources"), k, resource) count += missing_of(
                rules, rule, json_string_value(group), json_string_value(resource), text, size);
        }
    }
    return count;
}
