/* libyaml's events to a tree; see yaml.h. */
#include "k8s/manifest/words.h"
#include "k8s/manifest/yaml_json.h"
#include "k8s/manifest/yaml_scalar.h"
#include "k8s/manifest/yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define STEPS_MAX 20000000u
#define DIRECTIVES_MAX 1000u

struct anchor {
    char *name;
    struct yaml_node *node;
};

struct reader {
    yaml_parser_t parser;
    const char *text;
    size_t size;
    struct yaml_tree *tree;
    struct faults *faults;
    struct anchor anchor[YAML_MAX_ANCHORS]; /* of this document */
    size_t anchors;
    const struct path *path; /* of what is being read */
    unsigned depth;
    size_t steps; /* that searches for repeated keys took */
};

static struct yaml_place place_of(yaml_mark_t mark)
{
    return (struct yaml_place){.line = (uint32_t)mark.line + 1,
                               .column = (uint32_t)mark.column + 1};
}

/* Line and column of a byte: what libyaml's reader complains of has an offset only. */
static struct yaml_place place_of_offset(const struct reader *r, size_t offset)
{
    struct yaml_place place = {1, 1};

    for (size_t i = 0; i < offset && i < r->size; i++) {
        if (r->text[i] == '\n')
            place = (struct yaml_place){place.line + 1, 1};
        else if (((unsigned char)r->text[i] & 0xc0) != 0x80)
            place.column++;
    }
    return place;
}

static int refuse(struct reader *r, struct yaml_place at, const char *remedy, const char *sentence)
{
    faults_add(r->faults, FAULT_ERROR, at, r->path, remedy, "%s", sentence);
    return RK_EDATA;
}

/* What libyaml says, and what to do in the cases that people meet. */
static int refuse_syntax(struct reader *r)
{
    static const struct {
        const char *part, *remedy;
    } remedies[] = {
        {"found character that cannot start any token",
         "indent with spaces, not tabs, and quote a text that starts with @, ` or %"},
        {"found a tab character", "indent with spaces, not tabs"},
        {"mapping values are not allowed", "quote a text that has ': ' in it, and look at the "
                                           "indentation of this line"},
        {"did not find expected key", "look at the indentation of this line and those before it"},
        {"could not find expected ':'", "every line of an object is 'name: value'; look at the "
                                        "indentation of this line and the one before it"},
        {"did not find expected '-' indicator", "the elements of a list start in one column"},
        {"invalid Unicode character escape code",
         "write the character itself instead of its escape"},
        {"found unexpected document indicator", "a quote is not closed before this line"},
        {"found unexpected end of stream", "a quote or bracket is not closed"},
    };
    yaml_parser_t *p = &r->parser;
    const char *problem = p->problem != NULL ? p->problem : "the text is not YAML";
    const char *remedy = "";

    if (p->error == YAML_MEMORY_ERROR)
        return RK_ENOMEM;
    if (p->error == YAML_READER_ERROR) {
        bool control = strstr(problem, "control") != NULL;

        return refuse(r, place_of_offset(r, p->problem_offset),
                      control ? "take the character out, or write it as an escape in double quotes"
                              : "save the file as UTF-8",
                      control ? "a control character stands here" : "the text is not valid UTF-8");
    }
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0] && *remedy == '\0'; i++)
        if (strstr(problem, remedies[i].part) != NULL)
            remedy = remedies[i].remedy;
    faults_add(r->faults, FAULT_ERROR, place_of(p->problem_mark), NULL, remedy, "not YAML: %s%s%s",
               problem, p->context != NULL ? ", " : "", p->context != NULL ? p->context : "");
    return RK_EDATA;
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->parser, event) ? 0 : refuse_syntax(r);
}

static int refuse_limit(struct reader *r, struct yaml_place at)
{
    char sentence[128];

    snprintf(sentence, sizeof sentence, "there are more than %u values once aliases are replaced",
             YAML_MAX_NODES);
    return refuse(r, at, "split the file, and name large parts by alias less often", sentence);
}

/* Turns the codes of the tree into a fault. */
static int judge(struct reader *r, int rc, struct yaml_place at)
{
    return rc == RK_EFULL ? refuse_limit(r, at) : rc;
}

/* The tags that mean something here. */
static bool tag_is(const char *tag, const char *name)
{
    return tag != NULL && strncmp(tag, YAML_STR_TAG, strlen(YAML_STR_TAG) - 3) == 0 &&
           strcmp(tag + strlen(YAML_STR_TAG) - 3, name) == 0;
}

static json_t *value_of_plain(struct reader *r, const char *text, struct yaml_place at, int *rc)
{
    json_t *value;

    if (scalar_resolve(text, &value) == SCALAR_NOT_FINITE)
        *rc = refuse(r, at, "quote it if it is a text",
                     "JSON has no number that is infinite or "
                     "not a number");
    return value;
}

/* A scalar whose kind its tag says, as in `!!int "5"`. */
static json_t *value_of_tagged(struct reader *r, const char *text, const char *tag,
                               struct yaml_place at, int *rc)
{
    json_t *value;
    bool fits;

    if (tag_is(tag, "binary")) {
        *rc =
            refuse(r, at, "a ConfigMap has binaryData for base64", "the tag !!binary is not read");
        return NULL;
    }
    if (!tag_is(tag, "int") && !tag_is(tag, "float") && !tag_is(tag, "bool") &&
        !tag_is(tag, "null"))
        return json_string(text);
    value = value_of_plain(r, text, at, rc);
    if (value == NULL)
        return NULL;
    fits = (tag_is(tag, "int") && json_is_integer(value)) ||
           (tag_is(tag, "float") && json_is_number(value)) ||
           (tag_is(tag, "bool") && json_is_boolean(value)) ||
           (tag_is(tag, "null") && json_is_null(value));
    if (fits)
        return value;
    json_decref(value);
    *rc =
        refuse(r, at, "take the tag away, or mend the value", "the value is not what its tag says");
    return NULL;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct yaml_node **out)
{
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    struct yaml_place at = place_of(event->start_mark);
    json_t *value;
    int rc = 0;

    if (strlen(text) != event->data.scalar.length)
        return refuse(r, at, "take it out", "a text with a NUL character cannot be used here");
    if (tag != NULL && strcmp(tag, "!") != 0)
        value = value_of_tagged(r, text, tag, at, &rc);
    else if (event->data.scalar.plain_implicit)
        value = value_of_plain(r, text, at, &rc);
    else
        value = json_string(text);
    if (rc != 0)
        return rc;
    rc = yaml_tree_node(r->tree, value, out);
    if (rc == 0)
        (*out)->at = at;
    return judge(r, rc, at);
}

static int add_anchor(struct reader *r, const yaml_char_t *name, struct yaml_node *node)
{
    char *copy;

    if (name == NULL)
        return 0;
    if (r->anchors == YAML_MAX_ANCHORS)
        return refuse(r, node->at, "use fewer", "the document has more than 1000 anchors");
    copy = strdup((const char *)name);
    if (copy == NULL)
        return RK_ENOMEM;
    r->anchor[r->anchors++] = (struct anchor){copy, node};
    return 0;
}

static void forget_anchors(struct reader *r)
{
    while (r->anchors > 0)
        free(r->anchor[--r->anchors].name);
}

/* The newest anchor of a name counts. */
static int read_alias(struct reader *r, const yaml_event_t *event, struct yaml_node **out)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct yaml_place at = place_of(event->start_mark);
    struct word_shown shown;
    int rc;

    for (size_t i = r->anchors; i > 0; i--) {
        if (strcmp(r->anchor[i - 1].name, name) != 0)
            continue;
        rc = yaml_tree_copy(r->tree, r->anchor[i - 1].node, out);
        if (rc == 0)
            (*out)->at = at;
        return judge(r, rc, at);
    }
    faults_add(r->faults, FAULT_ERROR, at, r->path, "put '&' and the name before the value meant",
               "the alias *%s names no value before it", word_show(name, &shown));
    return RK_EDATA;
}

static int read_node(struct reader *r, yaml_event_t *event, struct yaml_node **out);

static int read_next_node(struct reader *r, struct yaml_node **out)
{
    yaml_event_t event;
    int rc = next_event(r, &event);

    if (rc != 0)
        return rc;
    rc = read_node(r, &event, out);
    yaml_event_delete(&event);
    return rc;
}

static int read_array(struct reader *r, struct yaml_node *array)
{
    struct path step = {r->path, NULL, 0};
    yaml_event_t event;
    int rc;

    r->path = &step;
    for (; (rc = next_event(r, &event)) == 0; step.index++) {
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        struct yaml_node *child = NULL;

        if (!end)
            rc = read_node(r, &event, &child);
        yaml_event_delete(&event);
        if (rc == 0 && !end)
            rc = yaml_tree_append(array, child);
        if (end || rc != 0)
            break;
    }
    r->path = step.up;
    return rc;
}

/* A key's text as JSON has it: numbers and booleans become what they would print as. */
static const char *key_text(const json_t *value, char *room, size_t size)
{
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (json_is_integer(value))
        snprintf(room, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(room, size, "%.17g", json_real_value(value));
    else
        return NULL;
    return room;
}

/* What kubectl makes of a merge key that stands behind a key of its own object. */
static int merge_over(struct reader *r, struct yaml_node *object, struct yaml_node *old,
                      struct yaml_node *child)
{
    struct path path = {r->path, child->key, 0};
    int rc;

    faults_add(r->faults, FAULT_WARNING, old->key_at, &path, "write << before the other keys",
               "the value is replaced by that of the << behind it");
    child->key_at = old->key_at;
    rc = yaml_tree_replace(object, old, child);
    old->merged = false;
    return rc;
}

/* Adds a member, unless its key is there already: one that came by a merge gives way to one that is
 * written behind it; of two written down the first stays, and the second is a fault. */
static int add_member(struct reader *r, struct yaml_node *object, struct yaml_node *child)
{
    struct path path = {r->path, child->key, 0};
    struct yaml_node *old = NULL;

    if (json_object_get(object->value, child->key) == NULL)
        return yaml_tree_append(object, child);
    for (old = object->first; strcmp(old->key, child->key) != 0; r->steps++)
        old = old->next;
    if (r->steps > STEPS_MAX)
        return refuse(r, child->key_at, "keep each key once", "too many keys are repeated");
    if (old->merged)
        return child->merged ? 0 : yaml_tree_replace(object, old, child);
    if (child->merged)
        return merge_over(r, object, old, child);
    faults_add(r->faults, FAULT_ERROR, child->key_at, &path, "keep one of the two",
               "the key stands here for the second time; the first is on line %u",
               (unsigned)old->key_at.line);
    return 0;
}

static int merge_object(struct reader *r, struct yaml_node *object, const struct yaml_node *source,
                        struct yaml_place at)
{
    int rc = 0;

    if (!json_is_object(source->value))
        return refuse(r, at, "write <<: *name, or <<: [*one, *two]",
                      "a merge key takes an object, or a list of objects");
    for (const struct yaml_node *c = source->first; c != NULL && rc == 0; c = c->next) {
        struct yaml_node *child;

        rc = yaml_tree_copy(r->tree, c, &child);
        if (rc != 0)
            return judge(r, rc, at);
        child->merged = true;
        rc = add_member(r, object, child);
    }
    return rc;
}

/* `<<: *name`.  Where several objects are named the first counts. */
static int merge(struct reader *r, struct yaml_node *object, const struct yaml_node *source)
{
    int rc = 0;

    if (!json_is_array(source->value))
        return merge_object(r, object, source, source->at);
    for (const struct yaml_node *c = source->first; c != NULL && rc == 0; c = c->next)
        rc = merge_object(r, object, c, c->at);
    return rc;
}

static bool is_merge_key(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.plain_implicit &&
           event->data.scalar.tag == NULL && event->data.scalar.length == 2 &&
           memcmp(event->data.scalar.value, "<<", 2) == 0;
}

/* The value behind a key, its path a step longer. */
static int read_value(struct reader *r, const char *key, struct yaml_node **out)
{
    struct path step = {r->path, key, 0};
    int rc;

    r->path = &step;
    rc = read_next_node(r, out);
    r->path = step.up;
    return rc;
}

static int read_member(struct reader *r, struct yaml_node *object, yaml_event_t *event)
{
    char room[64];
    bool is_merge = is_merge_key(event);
    struct yaml_node *key;
    struct yaml_node *child;
    const char *text;
    int rc = read_node(r, event, &key);

    if (rc != 0)
        return rc;
    text = key_text(key->value, room, sizeof room);
    if (text == NULL)
        return refuse(r, key->at, "write a name, or quote it", "a key must be a text");
    rc = read_value(r, text, &child);
    if (rc != 0)
        return rc;
    if (is_merge)
        return merge(r, object, child);
    child->key = yaml_tree_text(r->tree, text);
    child->key_at = key->at;
    return child->key != NULL ? add_member(r, object, child) : RK_ENOMEM;
}

static int read_object(struct reader *r, struct yaml_node *object)
{
    yaml_event_t event;
    int rc;

    while ((rc = next_event(r, &event)) == 0) {
        bool end = event.type == YAML_MAPPING_END_EVENT;

        if (!end)
            rc = read_member(r, object, &event);
        yaml_event_delete(&event);
        if (end || rc != 0)
            break;
    }
    return rc;
}

/* An array or object.  Recursion is bounded by YAML_MAX_DEPTH. */
static int read_container(struct reader *r, const yaml_event_t *event, struct yaml_node **out)
{
    bool is_array = event->type == YAML_SEQUENCE_START_EVENT;
    struct yaml_place at = place_of(event->start_mark);
    char sentence[64];
    int rc;

    if (r->depth == YAML_MAX_DEPTH) {
        snprintf(sentence, sizeof sentence, "more than %u levels of nesting", YAML_MAX_DEPTH);
        return refuse(r, at, "no Kubernetes object is so deep", sentence);
    }
    rc = yaml_tree_node(r->tree, is_array ? json_array() : json_object(), out);
    if (rc != 0)
        return judge(r, rc, at);
    (*out)->at = at;
    r->depth++;
    rc = is_array ? read_array(r, *out) : read_object(r, *out);
    r->depth--;
    return rc;
}

static int read_node(struct reader *r, yaml_event_t *event, struct yaml_node **out)
{
    const yaml_char_t *anchor = NULL;
    int rc;

    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(r, event, out);
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        rc = read_scalar(r, event, out);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        rc = read_container(r, event, out);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        rc = read_container(r, event, out);
        break;
    default:
        return refuse(r, place_of(event->start_mark), "", "a value is missing here");
    }
    return rc == 0 ? add_anchor(r, anchor, *out) : rc;
}

/* Between `---` and the next.  An empty document is one null. */
static int read_document(struct reader *r)
{
    yaml_event_t event;
    struct yaml_node *root = NULL;
    int rc = read_next_node(r, &root);

    forget_anchors(r);
    if (rc == 0)
        rc = next_event(r, &event);
    if (rc != 0)
        return rc;
    yaml_event_delete(&event);
    if (!json_is_null(root->value))
        yaml_tree_add(r->tree, root);
    return 0;
}

static int read_stream(struct reader *r)
{
    yaml_event_t event;
    int rc;

    while ((rc = next_event(r, &event)) == 0) {
        yaml_event_type_t type = event.type;

        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            break;
        if (type == YAML_DOCUMENT_START_EVENT && (rc = read_document(r)) != 0)
            break;
    }
    return rc;
}

static int parse_text(struct reader *r, const char *text)
{
    int rc;

    if (!yaml_parser_initialize(&r->parser))
        return RK_ENOMEM;
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, r->size);
    rc = read_stream(r);
    yaml_parser_delete(&r->parser);
    return rc;
}

/* Lines that may be directives, each of which libyaml compares with all others. */
static bool has_many_directives(const struct reader *r)
{
    unsigned count = 0;

    for (size_t i = 1; i < r->size && count <= DIRECTIVES_MAX; i++)
        count += r->text[i] == '%' && r->text[i - 1] == '\n' ? 1 : 0;
    return count > DIRECTIVES_MAX;
}

static int read_text(struct reader *r)
{
    char *copy;
    int rc;

    if (r->size > YAML_MAX_BYTES)
        return refuse(r, (struct yaml_place){0, 0}, "split the file",
                      "the text is larger than 4 MiB");
    if (has_many_directives(r))
        return refuse(r, (struct yaml_place){0, 0}, "take the directives out",
                      "more than 1000 lines begin with '%'");
    if (!yaml_json_needs(r->text, r->size))
        return parse_text(r, r->text);
    copy = malloc(r->size);
    if (copy == NULL)
        return RK_ENOMEM;
    memcpy(copy, r->text, r->size);
    yaml_json_rewrite(copy, r->size);
    rc = parse_text(r, copy);
    free(copy);
    return rc;
}

int yaml_tree_read(const char *text, size_t size, struct faults *faults, struct yaml_tree **out,
                   struct rk_why *why)
{
    struct reader *r = calloc(1, sizeof *r);
    struct yaml_tree *tree = yaml_tree_new();
    int rc = RK_ENOMEM;

    if (r != NULL && tree != NULL) {
        r->text = text;
        r->size = size;
        r->tree = tree;
        r->faults = faults;
        rc = read_text(r);
        forget_anchors(r);
    }
    free(r);
    if (rc != 0 && rc != RK_EDATA) {
        yaml_tree_free(tree);
        return rk_fail(why, rc, "no memory for a manifest of %zu bytes", size);
    }
    *out = tree;
    return 0;
}
