/* The walk over a table and an object; see schema.h. */
#include "k8s/manifest/schema.h"

#include "k8s/manifest/syntax.h"
#include "k8s/manifest/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;  /* in a table */
    const char *wants; /* in a sentence */
    const char *remedy;
} types[] = {
    [FIELD_ANY] = {"any", "anything", ""},
    [FIELD_TEXT] = {"string", "a string", "write it in quotes"},
    [FIELD_BOOLEAN] = {"boolean", "true or false", "write true or false, without quotes"},
    [FIELD_INTEGER] = {"integer", "a whole number", "write a whole number, without quotes"},
    [FIELD_PORT] = {"integer or string", "a whole number or a name",
                    "write a port's number or name"},
    [FIELD_QUANTITY] = {"quantity", "a quantity", "write it as 500m, 2 or 1Gi"},
    [FIELD_TEXTS] = {"array of strings", "a list of strings", "write it as lines of '- text'"},
    [FIELD_TEXT_MAP] = {"map of strings", "an object of strings",
                        "write it as lines of 'name: text'"},
    [FIELD_QUANTITIES] = {"map of quantities", "an object of quantities",
                          "write it as lines of 'name: quantity'"},
    [FIELD_OBJECT] = {"object", "an object", "write it as indented lines of 'name: value'"},
    [FIELD_ARRAY] = {"array", "a list", "write it as lines that start with '- '"},
};

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false (as yes, no, on, off, y and n are)";
    default:
        return "nothing";
    }
}

static void wrong_type(const struct checking *checking, const struct yaml_node *node,
                       const struct path *path, enum field_type wanted)
{
    struct word_shown shown;

    if (wanted == FIELD_QUANTITY && json_is_string(node->value))
        schema_error(checking, node, path, types[wanted].remedy, "'%s' is not a quantity",
                     word_show(json_string_value(node->value), &shown));
    else
        schema_error(checking, node, path, types[wanted].remedy, "this is %s; %s is needed",
                     kind_of(node->value), types[wanted].wants);
}

static bool has_type(const json_t *value, enum field_type type)
{
    switch (type) {
    case FIELD_ANY:
        return true;
    case FIELD_TEXT:
        return json_is_string(value);
    case FIELD_BOOLEAN:
        return json_is_boolean(value);
    case FIELD_INTEGER:
        return json_is_integer(value);
    case FIELD_PORT:
        return json_is_integer(value) || json_is_string(value);
    case FIELD_QUANTITY:
        return syntax_quantity(value);
    case FIELD_TEXTS:
    case FIELD_ARRAY:
        return json_is_array(value);
    default:
        return json_is_object(value);
    }
}

/* The guess is work for each wrong name, of which a hostile text has very many. */
const char *schema_nearest(const struct checking *checking, const char *word,
                           const char *const *words, size_t count, size_t stride)
{
    return checking->faults->count < FAULTS_MAX ? word_nearest(word, words, count, stride) : NULL;
}

/* "Never or OnFailure" */
static void list_words(const char *const *words, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL && used < size; i++) {
        const char *joint = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        int length = snprintf(out + used, size - used, "%s%s", joint, words[i]);

        used += length > 0 ? (size_t)length : 0;
    }
}

static void check_word(const struct checking *checking, const struct field *field,
                       const struct yaml_node *node, const struct path *path)
{
    const char *text = json_string_value(node->value);
    struct word_shown shown;
    char list[256];
    char remedy[384];
    const char *nearest;
    size_t count = 0;

    for (; field->words[count] != NULL; count++)
        if (strcmp(text, field->words[count]) == 0)
            return;
    list_words(field->words, list, sizeof list);
    nearest = schema_nearest(checking, text, field->words, count, sizeof field->words[0]);
    snprintf(remedy, sizeof remedy, "%s%s%sit can be %s", nearest != NULL ? "did you mean " : "",
             nearest != NULL ? nearest : "", nearest != NULL ? "? " : "", list);
    schema_error(checking, node, path, field->remedy != NULL ? field->remedy : remedy,
                 "'%s' is not known", word_show(text, &shown));
}

static void check_range(const struct checking *checking, const struct field *field,
                        const struct yaml_node *node, const struct path *path)
{
    json_int_t value = json_integer_value(node->value);
    bool any = field->min == 0 && field->max == 0;
    int64_t max = any ? INT32_MAX : field->max;
    char remedy[96];

    if (value >= field->min && value <= max)
        return;
    if (field->min == max)
        snprintf(remedy, sizeof remedy, "write %" PRId64, max);
    else if (max >= INT32_MAX && value < field->min)
        snprintf(remedy, sizeof remedy, "write %" PRId64 " or more", field->min);
    else
        snprintf(remedy, sizeof remedy, "write a number of %" PRId64 " to %" PRId64, field->min,
                 max);
    schema_error(checking, node, path, field->remedy != NULL ? field->remedy : remedy,
                 "%" PRId64 " is not possible: %s %" PRId64, (int64_t)value,
                 value < field->min && field->min != max ? "the least is"
                 : field->min == max                     ? "it can only be"
                                                         : "the most is",
                 value < field->min ? field->min : max);
}

static void check_texts(const struct checking *checking, const struct yaml_node *node,
                        const struct path *path)
{
    size_t index = 0;

    for (const struct yaml_node *c = node->first; c != NULL; c = c->next, index++) {
        struct path step = {path, NULL, index};

        if (!json_is_string(c->value))
            wrong_type(checking, c, &step, FIELD_TEXT);
    }
}

/* A null in a map of texts is an empty text to the API server. */
static void check_map(const struct checking *checking, const struct yaml_node *node,
                      const struct path *path, enum field_type of)
{
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};

        if (json_is_null(c->value))
            continue;
        if (!has_type(c->value, of))
            wrong_type(checking, c, &step, of);
        else if (of == FIELD_QUANTITY && syntax_quantity_is_negative(c->value))
            schema_error(checking, c, &step, "write 0 or more", "a quantity cannot be negative");
    }
}

static void check_array(const struct checking *checking, const struct schema *of,
                        const struct yaml_node *node, const struct path *path)
{
    size_t index = 0;

    for (const struct yaml_node *c = node->first; c != NULL; c = c->next, index++) {
        struct path step = {path, NULL, index};

        if (!json_is_object(c->value))
            wrong_type(checking, c, &step, FIELD_OBJECT);
        else if (of != NULL)
            schema_check(checking, of, c, &step);
    }
}

static void check_field(const struct checking *checking, const struct field *field,
                        const struct yaml_node *node, const struct path *path)
{
    if (!has_type(node->value, field->type)) {
        wrong_type(checking, node, path, field->type);
        return;
    }
    if (field->type == FIELD_TEXT && field->words != NULL)
        check_word(checking, field, node, path);
    else if (field->type == FIELD_INTEGER)
        check_range(checking, field, node, path);
    else if (field->type == FIELD_TEXTS)
        check_texts(checking, node, path);
    else if (field->type == FIELD_TEXT_MAP)
        check_map(checking, node, path, FIELD_TEXT);
    else if (field->type == FIELD_QUANTITIES)
        check_map(checking, node, path, FIELD_QUANTITY);
    else if (field->type == FIELD_ARRAY)
        check_array(checking, field->of, node, path);
    else if (field->type == FIELD_OBJECT && field->of != NULL)
        schema_check(checking, field->of, node, path);
    if (field->check != NULL)
        field->check(checking, node, path);
}

static void unknown_field(const struct checking *checking, const struct schema *schema,
                          const struct yaml_node *node, const struct path *path)
{
    char remedy[160];
    const char *nearest = schema_nearest(checking, node->key, &schema->field[0].name, schema->count,
                                         sizeof schema->field[0]);

    if (nearest != NULL)
        snprintf(remedy, sizeof remedy, "did you mean %s?", nearest);
    else
        snprintf(remedy, sizeof remedy, "take it out%s",
                 schema->closed ? "" : ", unless your cluster knows it");
    faults_add(checking->faults, schema->closed ? FAULT_ERROR : FAULT_WARNING, node->key_at, path,
               remedy,
               schema->closed ? "there is no such name here"
                              : "the field is unknown; it is kept as it is");
}

static void missing_field(const struct checking *checking, const struct field *field,
                          const struct yaml_node *node, const struct path *path)
{
    char remedy[160];

    snprintf(remedy, sizeof remedy, "add it: %s", types[field->type].wants);
    schema_error(checking, node, path, field->remedy != NULL ? field->remedy : remedy,
                 "the field is missing");
}

static const struct field *find_field(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++)
        if (strcmp(schema->field[i].name, name) == 0)
            return &schema->field[i];
    return NULL;
}

/* Recursion follows the tables, and those that hold themselves follow the text: YAML_MAX_DEPTH. */
void schema_check(const struct checking *checking, const struct schema *schema,
                  const struct yaml_node *node, const struct path *path)
{
    for (const struct yaml_node *c = node->first; c != NULL; c = c->next) {
        struct path step = {path, c->key, 0};
        const struct field *field = find_field(schema, c->key);

        if (field != NULL && !json_is_null(c->value))
            check_field(checking, field, c, &step);
        else if (field == NULL && (schema->elsewhere == NULL || !schema->elsewhere(c->key)))
            unknown_field(checking, schema, c, &step);
    }
    for (size_t i = 0; i < schema->count; i++) {
        struct path step = {path, schema->field[i].name, 0};
        json_t *value = json_object_get(node->value, schema->field[i].name);

        if (schema->field[i].required && (value == NULL || json_is_null(value)))
            missing_field(checking, &schema->field[i], node, &step);
    }
    if (schema->check != NULL)
        schema->check(checking, node, path);
}

static int fill_field(const struct field *field, json_t *object)
{
    json_t *value = json_object_get(object, field->name);

    if ((value == NULL || json_is_null(value)) && field->fallback != NULL) {
        value = json_loads(field->fallback, JSON_DECODE_ANY, NULL);
        if (value == NULL || json_object_set_new(object, field->name, value) != 0)
            return RK_ENOMEM;
    }
    if (field->type == FIELD_OBJECT && field->of != NULL && json_is_object(value))
        return schema_fill(field->of, value);
    return 0;
}

int schema_fill(const struct schema *schema, json_t *object)
{
    int rc = 0;

    for (size_t i = 0; i < schema->count && rc == 0; i++)
        rc = fill_field(&schema->field[i], object);
    return rc;
}

static void print_row(const struct field *field, const char *prefix, FILE *out)
{
    fprintf(out, "| `%s%s` | ", prefix, field->name);
    for (size_t i = 0; field->words != NULL && field->words[i] != NULL; i++)
        fprintf(out, "%s`%s`", i == 0 ? "" : ", ", field->words[i]);
    if (field->words == NULL)
        fprintf(out, "%s", types[field->type].name);
    if (field->type == FIELD_INTEGER && field->min == field->max && field->max != 0)
        fprintf(out, " %" PRId64, field->min);
    else if (field->type == FIELD_INTEGER)
        fprintf(out, ", %" PRId64 " or more", field->min);
    if (field->fallback != NULL && strcmp(field->fallback, "{}") != 0)
        fprintf(out, " | `%.*s`", (int)strcspn(field->fallback + (field->fallback[0] == '"'), "\""),
                field->fallback + (field->fallback[0] == '"'));
    else
        fprintf(out, " | %s", field->required ? "required" : "");
    fprintf(out, " | %s |\n", field->help);
}

void schema_print(const struct schema *schema, const char *prefix, FILE *out)
{
    char path[256];

    for (size_t i = 0; i < schema->count; i++) {
        const struct field *field = &schema->field[i];

        if (field->help != NULL)
            print_row(field, prefix, out);
        snprintf(path, sizeof path, "%s%s.", prefix, field->name);
        if (field->help != NULL && field->type == FIELD_OBJECT && field->of != NULL)
            schema_print(field->of, path, out);
    }
}

const char *schema_text(const struct yaml_node *object, const char *key)
{
    const struct yaml_node *member = yaml_member(object, key);

    return member != NULL ? json_string_value(member->value) : NULL;
}
