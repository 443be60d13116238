/* Objects as tables: one row a field, from which come the checks of types, ranges and words, the
 * warning about an unknown name with a guess at the known one, the defaults and the documents. */
#ifndef RK_K8S_MANIFEST_SCHEMA_H
#define RK_K8S_MANIFEST_SCHEMA_H

#include "k8s/manifest/yaml.h"

#include <stdbool.h>

enum field_type {
    FIELD_ANY,
    FIELD_TEXT,
    FIELD_BOOLEAN,
    FIELD_INTEGER,
    FIELD_PORT,       /* an integer, or the name of a port */
    FIELD_QUANTITY,   /* "1Gi", 2 */
    FIELD_TEXTS,      /* an array of texts */
    FIELD_TEXT_MAP,   /* an object of texts */
    FIELD_QUANTITIES, /* an object of quantities that are not negative */
    FIELD_OBJECT,
    FIELD_ARRAY, /* of objects */
};

struct checking {
    struct faults *faults;
    const void *context; /* of the checks of the tables that are walked */
};

/* A check beyond the row's own; called only for values of the right type. */
typedef void field_check(const struct checking *checking, const struct yaml_node *node,
                         const struct path *path);

struct schema;

struct field {
    const char *name;
    enum field_type type;
    const struct schema *of; /* of the object, or of each in the array; NULL: not looked into */
    bool required;
    int64_t min, max;         /* of an integer; both 0: any of 32 bits from 0 on */
    const char *const *words; /* the only texts allowed, NULL ended */
    const char *fallback;     /* the default, as JSON; NULL: none is filled in */
    field_check *check;
    const char *remedy; /* what to do about a wrong or missing value, where the row knows better */
    const char *help;   /* what happens */
};

struct schema {
    const struct field *field;
    size_t count;
    bool closed;                         /* an unknown name is an error */
    bool (*elsewhere)(const char *name); /* unknown names that another check speaks of; or NULL */
    field_check *check;
};

/* ROW("replicas", INTEGER, .min = 1, .max = 9) */
#define ROW(field_name, field_type, ...)                              \
    {                                                                 \
        .name = (field_name), .type = FIELD_##field_type, __VA_ARGS__ \
    }
#define SCHEMA_ROWS(rows) .field = (rows), .count = sizeof(rows) / sizeof((rows)[0])

/* Checks an object against a table, and what is in it against theirs.  A null counts as absent, as
 * the API server has it. */
void schema_check(const struct checking *checking, const struct schema *schema,
                  const struct yaml_node *node, const struct path *path);

/* Puts the defaults into an object that passed, and into what is in it.  RK_ENOMEM. */
int schema_fill(const struct schema *schema, json_t *object);

/* The rows that have a help, as lines of a Markdown table; `prefix` is the path of the object. */
void schema_print(const struct schema *schema, const char *prefix, FILE *out);

/* Adds a fault about a node, at its value. */
#define schema_error(checking, node, path, remedy, ...) \
    faults_add((checking)->faults, FAULT_ERROR, (node)->at, path, remedy, __VA_ARGS__)
#define schema_warn(checking, node, path, remedy, ...) \
    faults_add((checking)->faults, FAULT_WARNING, (node)->at, path, remedy, __VA_ARGS__)

/* word_nearest, as long as there is room for a fault to say it in. */
const char *schema_nearest(const struct checking *checking, const char *word,
                           const char *const *words, size_t count, size_t stride);

/* The text of a member; NULL: there is none, or it is no text. */
const char *schema_text(const struct yaml_node *object, const char *key);

#endif
