/* JSON values to YAML; see yaml_print.h. */
#include "k8s/manifest/yaml_print.h"

#include "k8s/manifest/yaml_scalar.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDENT 2u
#define LONGEST_KEY                                                              \
    512u /* in bytes; readers look for the ':' of a longer one behind a '?' only \
          */

static bool is_container(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) > 0) ||
           (json_is_array(value) && json_array_size(value) > 0);
}

/* The code point at *text, which is valid UTF-8; moves behind it. */
static uint32_t next_code(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
    uint32_t code = more == 0 ? *at : *at & (0x3fu >> more);

    for (unsigned i = 1; i <= more && at[i] != '\0'; i++)
        code = code << 6 | (at[i] & 0x3fu);
    *text += more + 1;
    return code;
}

/* Characters that stand for themselves in any style; line breaks are not among them. */
static bool is_printable(uint32_t code)
{
    if (code < 0x80)
        return code == '\t' || (code >= ' ' && code <= '~');
    if (code == 0x2028 || code == 0x2029 || code == 0xfeff)
        return false;
    return code >= 0xa0 && (code & 0xfffe) != 0xfffe && (code < 0xd800 || code >= 0xe000) &&
           (code < 0xfdd0 || code > 0xfdef);
}

static bool all_printable(const char *text, bool lines)
{
    while (*text != '\0') {
        uint32_t code = next_code(&text);

        if (!is_printable(code) && !(lines && code == '\n'))
            return false;
    }
    return true;
}

/* A plain scalar ends at ": " and " #", and begins with nothing that means something. */
static bool can_be_plain(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || strchr("?:,[]{}#&*!|>'\"%@`", text[0]) != NULL || scalar_is_ambiguous(text))
        return false;
    if (text[0] == '-' && (length == 1 || text[1] == ' ' || strncmp(text, "---", 3) == 0))
        return false;
    if (strncmp(text, "...", 3) == 0 || strchr(text, '\t') != NULL)
        return false;
    if (text[0] == ' ' || text[length - 1] == ' ' || text[length - 1] == ':')
        return false;
    return strstr(text, ": ") == NULL && strstr(text, " #") == NULL && all_printable(text, false);
}

/* Lines that a literal block keeps: the first shows the indentation, so that it cannot start with a
 * blank, and blanks at a line's end are what editors take away. */
static bool can_be_block(const char *text)
{
    if (strchr(text, '\n') == NULL || strchr(" \t\n", text[0]) != NULL)
        return false;
    for (const char *c = text; *c != '\0'; c++)
        if ((*c == ' ' || *c == '\t') && (c[1] == '\n' || c[1] == '\0'))
            return false;
    return all_printable(text, true);
}

static void print_escape(FILE *out, uint32_t code)
{
    static const struct {
        uint32_t code;
        char letter;
    } letters[] = {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\t', 't'}, {'\r', 'r'}};

    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (letters[i].code == code) {
            fprintf(out, "\\%c", letters[i].letter);
            return;
        }
    if (code < 0x100)
        fprintf(out, "\\x%02X", (unsigned)code);
    else
        fprintf(out, code < 0x10000 ? "\\u%04X" : "\\U%08X", (unsigned)code);
}

static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    while (*text != '\0') {
        const char *start = text;
        uint32_t code = next_code(&text);

        if (is_printable(code) && code != '"' && code != '\\' && code != '\t')
            fwrite(start, 1, (size_t)(text - start), out);
        else
            print_escape(out, code);
    }
    fputc('"', out);
}

static void print_indent(FILE *out, unsigned indent)
{
    fprintf(out, "%*s", (int)indent, "");
}

/* Ends with a newline of its own. */
static void print_block(FILE *out, const char *text, unsigned indent)
{
    size_t length = strlen(text);
    const char *line = text;

    if (text[length - 1] != '\n')
        fputs("|-\n", out);
    else
        fputs(length > 1 && text[length - 2] == '\n' ? "|+\n" : "|\n", out);
    while (*line != '\0') {
        size_t size = strcspn(line, "\n");

        if (size > 0)
            print_indent(out, indent);
        fwrite(line, 1, size, out);
        fputc('\n', out);
        line += size + (line[size] == '\n' ? 1 : 0);
    }
}

/* The shortest digits that read back as the same number, with a point, without which YAML 1.1 sees
 * a string in 1e20. */
static void print_real(FILE *out, double value)
{
    char text[40];
    const char *exponent;

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    exponent = strchr(text, 'e');
    if (strchr(text, '.') != NULL)
        fputs(text, out);
    else if (exponent != NULL)
        fprintf(out, "%.*s.0%s", (int)(exponent - text), text, exponent);
    else
        fprintf(out, "%s.0", text);
}

static void print_string(FILE *out, const char *text)
{
    if (can_be_plain(text))
        fputs(text, out);
    else
        print_quoted(out, text);
}

/* What has no lines of its own: all but blocks and filled containers. */
static void print_scalar(FILE *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        fputs("{}", out);
        break;
    case JSON_ARRAY:
        fputs("[]", out);
        break;
    case JSON_STRING:
        print_string(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        print_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        fputs("true", out);
        break;
    case JSON_FALSE:
        fputs("false", out);
        break;
    default:
        fputs("null", out);
        break;
    }
}

static bool print_lines(FILE *out, const json_t *value, unsigned indent, bool first,
                        unsigned depth);

/* A value behind "key:" or "-", to the end of its last line.  A filled container in an array starts
 * on the line of its '-'; in an object on the next, an array as far left as its key. */
static bool print_member(FILE *out, const json_t *value, unsigned indent, bool in_array,
                         unsigned depth)
{
    if (is_container(value)) {
        unsigned inner = indent + (in_array || json_is_object(value) ? INDENT : 0);

        fputc(in_array ? ' ' : '\n', out);
        return print_lines(out, value, inner, in_array, depth + 1);
    }
    fputc(' ', out);
    if (json_is_string(value) && can_be_block(json_string_value(value))) {
        print_block(out, json_string_value(value), indent + INDENT);
        return true;
    }
    print_scalar(out, value);
    fputc('\n', out);
    return true;
}

static void print_key(FILE *out, const char *key, unsigned indent)
{
    if (strlen(key) > LONGEST_KEY) {
        fputs("? ", out);
        print_quoted(out, key);
        fputc('\n', out);
        print_indent(out, indent);
    } else {
        print_string(out, key);
    }
    fputc(':', out);
}

/* The members of a filled container, each from a line of its own; `first`: the first goes on where
 * the line is.  Recursion is bounded by YAML_PRINT_MAX_DEPTH; false: the bound was met. */
static bool print_lines(FILE *out, const json_t *value, unsigned indent, bool first, unsigned depth)
{
    const char *key;
    json_t *member;
    size_t index;
    bool good = depth < YAML_PRINT_MAX_DEPTH;

    if (json_is_array(value)) {
        json_array_foreach(value, index, member)
        {
            if (!good)
                return false;
            print_indent(out, first ? 0 : indent);
            fputc('-', out);
            good = print_member(out, member, indent, true, depth);
            first = false;
        }
        return good;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (!good)
            return false;
        print_indent(out, first ? 0 : indent);
        print_key(out, key, indent);
        good = print_member(out, member, indent, false, depth);
        first = false;
    }
    return good;
}

static bool print_document(FILE *out, const json_t *value)
{
    if (is_container(value))
        return print_lines(out, value, 0, true, 0);
    print_scalar(out, value);
    fputc('\n', out);
    return true;
}

/* Ends the text that was written to a stream in memory. */
static int finish(FILE *stream, char **text, bool good, char **out, struct rk_why *why)
{
    bool failed = ferror(stream) != 0;
    int rc = 0;

    if (fclose(stream) != 0 || failed)
        rc = rk_fail(why, RK_ENOMEM, "no memory for a text");
    else if (!good)
        rc = rk_fail(why, RK_EINVAL, "an object has more than %u levels", YAML_PRINT_MAX_DEPTH);
    if (rc != 0)
        free(*text);
    else
        *out = *text;
    return rc;
}

int yaml_print(const json_t *value, char **out, struct rk_why *why)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a text");
    return finish(stream, &text, print_document(stream, value), out, why);
}

int yaml_print_all(const json_t *documents, char **out, struct rk_why *why)
{
    char *text = NULL;
    size_t size;
    size_t index;
    json_t *document;
    bool good = true;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a text");
    json_array_foreach(documents, index, document)
    {
        fputs("---\n", stream);
        good = print_document(stream, document) && good;
    }
    return finish(stream, &text, good, out, why);
}
