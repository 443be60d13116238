/* The one thing in JSON that YAML cannot read: a character that is escaped as a pair of surrogates,
 * as "\ud83d\ude00". */
#ifndef RK_K8S_MANIFEST_YAML_JSON_H
#define RK_K8S_MANIFEST_YAML_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* True when the text is JSON to look at, and has such an escape. */
bool yaml_json_needs(const char *text, size_t size);

/* Rewrites the pairs in place as YAML's own escapes, which are shorter, and makes up for it by
 * blanks behind the string: nothing else changes its place. */
void yaml_json_rewrite(char *text, size_t size);

#endif
