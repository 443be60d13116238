/* YAML to JSON and back: what scalars mean, where values stand, what is refused, and that what is
 * printed is read as it was. */
#include "k8s/manifest/yaml.h"
#include "k8s/manifest/yaml_print.h"
#include "k8s/manifest/yaml_scalar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text that was read, and what was wrong with it. */
struct reading {
    struct yaml_tree *tree;
    struct faults faults;
};

static void begin(struct reading *reading, const char *text, size_t size)
{
    struct rk_why why;

    faults_init(&reading->faults);
    assert_int_equal(yaml_tree_read(text, size, &reading->faults, &reading->tree, &why), 0);
}

static void end(struct reading *reading)
{
    yaml_tree_free(reading->tree);
    faults_done(&reading->faults);
}

static char *as_json(const struct reading *reading)
{
    json_t *all = json_array();
    char *text;

    for (const struct yaml_node *n = yaml_tree_first(reading->tree); n != NULL; n = n->next)
        json_array_append(all, n->value);
    text = json_dumps(all, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(all);
    return text;
}

/* All documents of `text` are `json`, in brackets. */
static void means(const char *text, const char *json)
{
    struct reading reading;
    char *got;

    begin(&reading, text, strlen(text));
    got = as_json(&reading);
    if (reading.faults.errors > 0)
        fail_msg("'%s': %s", text, reading.faults.fault[0].sentence);
    if (strcmp(got, json) != 0)
        fail_msg("'%s' is %s, not %s", text, got, json);
    free(got);
    end(&reading);
}

static void refuses_bytes(const char *text, size_t size, unsigned line, unsigned column,
                          const char *part)
{
    struct reading reading;
    const struct fault *fault;

    begin(&reading, text, size);
    if (reading.faults.errors == 0)
        fail_msg("'%s' is read, it should say '%s'", text, part);
    fault = &reading.faults.fault[0];
    if (strstr(fault->sentence, part) == NULL || fault->at.line != line ||
        fault->at.column != column)
        fail_msg("'%s': %u:%u: %s, not %u:%u: %s", text, (unsigned)fault->at.line,
                 (unsigned)fault->at.column, fault->sentence, line, column, part);
    end(&reading);
}

static void refuses(const char *text, unsigned line, unsigned column, const char *part)
{
    refuses_bytes(text, strlen(text), line, column, part);
}

/* What kubectl 1.32 made of each, by `kubectl annotate --local -o json`. */
static void test_scalars(void **state)
{
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"yes", "true"},
        {"y", "true"},
        {"On", "true"},
        {"TRUE", "true"},
        {"no", "false"},
        {"N", "false"},
        {"off", "false"},
        {"yEs", "\"yEs\""},
        {"~", "null"},
        {"Null", "null"},
        {"nULL", "\"nULL\""},
        {"0755", "493"},
        {"08", "8"},
        {"0o17", "15"},
        {"0b11", "3"},
        {"-0b11", "-3"},
        {"0x1F", "31"},
        {"-0x1F", "-31"},
        {"0x", "\"0x\""},
        {"1_000", "1000"},
        {"+5", "5"},
        {"-0", "0"},
        {"1e3", "1000"},
        {"1E-1", "0.10000000000000001"},
        {".5", "0.5"},
        {"-.5", "-0.5"},
        {"1.", "1"},
        {".", "\".\""},
        {"+", "\"+\""},
        {"1e", "\"1e\""},
        {"1e400", "\"1e400\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"18446744073709551616", "1.8446744073709552e19"},
        {"1:30", "\"1:30\""},
        {"2001-01-01", "\"2001-01-01\""},
        {"1.2.3", "\"1.2.3\""},
        {"1Gi", "\"1Gi\""},
        {"'yes'", "\"yes\""},
        {"\"1\"", "\"1\""},
        {"!!str 5", "\"5\""},
        {"!!int \"5\"", "5"},
        {"!!float 5", "5"},
        {"!!bool \"yes\"", "true"},
        {"!!null \"\"", "null"},
        {"!foo bar", "\"bar\""},
        {"\"\\ud7ff \\u00e9\"", "\"\xed\x9f\xbf \xc3\xa9\""},
    };
    char text[128];
    char json[128];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "a: %s\n", rows[i].text);
        snprintf(json, sizeof json, "[{\"a\":%s}]", rows[i].json);
        means(text, json);
    }
    means("a:\n", "[{\"a\":null}]");
}

static void test_structure(void **state)
{
    (void)state;
    means("", "[]");
    means("# only a comment\n---\n---\n...\n", "[]");
    means("a: 1\n---\nb: 2\n---\n- c\n", "[{\"a\":1},{\"b\":2},[\"c\"]]");
    means("{\"a\": [1, 2.5, null, true, \"x\\/y\"]}", "[{\"a\":[1,2.5,null,true,\"x/y\"]}]");
    means("{\n\t\"a\":\t1\n}\n", "[{\"a\":1}]");
    means("\xef\xbb\xbf"
          "a: 1\n",
          "[{\"a\":1}]");
    means("a: 1\r\nb: 2\r\n", "[{\"a\":1,\"b\":2}]");
    means("%YAML 1.2\n---\na: 1\n", "[{\"a\":1}]");
    means("a: |\n  x\n   y\n\n  z\nb: >-\n  x\n  y\n",
          "[{\"a\":\"x\\n y\\n\\nz\\n\",\"b\":\"x y\"}]");
    means("on: 1\n1.5: 2\n7: 3\n? a\n: 4\n", "[{\"true\":1,\"1.5\":2,\"7\":3,\"a\":4}]");
}

/* json.dumps of Python escapes all that is not ASCII, and so makes pairs of surrogates. */
static void test_surrogates(void **state)
{
    const char *text = "{\"a\\ud83d\\ude00\": \"\\uD83D\\uDE00 \\\\ud83d\\\\ude00\", \"b\": 5}";
    struct reading reading;

    (void)state;
    means(text, "[{\"a\xf0\x9f\x98\x80\":\"\xf0\x9f\x98\x80 \\\\ud83d\\\\ude00\",\"b\":5}]");
    begin(&reading, text, strlen(text));
    assert_int_equal(yaml_tree_first(reading.tree)->last->at.column, strlen(text) - 1);
    end(&reading);
    refuses("{\"a\": \"\\ud83d\"}", 1, 10, "invalid Unicode character escape code");
    refuses("a: \"\\ud83d\\ude00\"", 1, 7, "invalid Unicode character escape code");
}

static void test_aliases(void **state)
{
    (void)state;
    means("a: &x {p: 1}\nb: *x\nc: [*x, *x]\n",
          "[{\"a\":{\"p\":1},\"b\":{\"p\":1},\"c\":[{\"p\":1},{\"p\":1}]}]");
    means("a: &x 1\nb: &x 2\nc: *x\n", "[{\"a\":1,\"b\":2,\"c\":2}]");
    means("a: &k name\nb: {*k : 1}\n", "[{\"a\":\"name\",\"b\":{\"name\":1}}]");
    means("a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\n",
          "[{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":3}}]");
    means("a: &a {p: 1, q: 2}\nb: {<<: [{p: 8}, *a]}\n",
          "[{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":8,\"q\":2}}]");
    /* As kubectl has it, with a warning. */
    means("a: &a {p: 1}\nb: {p: 5, <<: *a}\n", "[{\"a\":{\"p\":1},\"b\":{\"p\":1}}]");
    means("'<<': 1\n", "[{\"<<\":1}]");
    refuses("a: *x\n", 1, 4, "the alias *x names no value before it");
    refuses("a: &x {b: *x}\n", 1, 11, "the alias *x names no value");
    refuses("a: &x 1\n---\nb: *x\n", 3, 4, "the alias *x names no value");
    refuses("a: {<<: 1}\n", 1, 9, "a merge key takes an object");
}

static void test_repeated_keys(void **state)
{
    struct reading reading;
    const char *text = "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n";
    char *json;

    (void)state;
    begin(&reading, text, strlen(text));
    json = as_json(&reading);
    assert_string_equal(json, "[{\"a\":1,\"b\":{\"c\":1}}]");
    assert_int_equal(reading.faults.errors, 2);
    assert_int_equal(reading.faults.fault[0].at.line, 4);
    assert_string_equal(reading.faults.fault[1].path, "a");
    assert_non_null(strstr(reading.faults.fault[1].sentence, "the first is on line 1"));
    free(json);
    end(&reading);
}

static void test_refused_texts(void **state)
{
    (void)state;
    refuses("a:\n\t- b\n", 2, 1, "cannot start any token");
    refuses("a: 1\n b: 2\n", 2, 3, "mapping values are not allowed");
    refuses("a: b: c\n", 1, 5, "mapping values are not allowed");
    refuses("a:\n  - b\n c: d\n", 3, 2, "did not find expected key");
    refuses("a: \"b\n", 2, 1, "found unexpected end of stream");
    refuses("a: {b\n", 2, 1, "did not find expected ',' or '}'");
    refuses("a: 1\nb: \xff\n", 2, 4, "not valid UTF-8");
    refuses("\xc3\xa9: \x01\n", 1, 4, "a control character");
    refuses("a: \"\\0\"\n", 1, 4, "NUL");
    refuses("a: .inf\n", 1, 4, "infinite");
    refuses("a: -.INF\n", 1, 4, "infinite");
    refuses("a: .nan\n", 1, 4, "infinite");
    refuses("? [a]\n: 1\n", 1, 3, "a key must be a text");
    refuses("~: 1\n", 1, 1, "a key must be a text");
    refuses("a: !!binary aGk=\n", 1, 4, "!!binary");
    refuses("a: !!int x\n", 1, 4, "not what its tag says");
    refuses_bytes("a: \0\n", 5, 1, 4, "a control character");
}

static void test_documents_before_a_mistake(void **state)
{
    struct reading reading;
    const char *text = "a: 1\n---\nb: [\n";
    char *json;

    (void)state;
    begin(&reading, text, strlen(text));
    json = as_json(&reading);
    assert_string_equal(json, "[{\"a\":1}]");
    assert_int_equal(reading.faults.errors, 1);
    free(json);
    end(&reading);
}

static void test_places(void **state)
{
    const char *text = "# x\na:\n  - b: &v v\n    \xc3\xa9\xc3\xa9: w\n  - *v\n";
    struct reading reading;
    const struct yaml_node *a;
    const struct yaml_node *object;

    (void)state;
    begin(&reading, text, strlen(text));
    a = yaml_member(yaml_tree_first(reading.tree), "a");
    object = a->first;
    assert_int_equal(a->key_at.line, 2);
    assert_int_equal(a->key_at.column, 1);
    assert_int_equal(a->at.line, 3);
    assert_int_equal(a->at.column, 3);
    assert_int_equal(object->first->next->at.line, 4);
    assert_int_equal(object->first->next->at.column, 9);
    assert_int_equal(object->next->at.line, 5);
    assert_int_equal(object->next->at.column, 5);
    assert_null(yaml_member(a, "b"));
    assert_null(yaml_member(NULL, "b"));
    end(&reading);
}

static char *repeated(const char *part, size_t count, const char *tail)
{
    size_t length = strlen(part);
    char *text = malloc(length * count + strlen(tail) + 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * length, part, length);
    memcpy(text + length * count, tail, strlen(tail) + 1);
    return text;
}

static void test_limits(void **state)
{
    const char *bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
                       "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                       "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
                       "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                       "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n"
                       "f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
    char *text = repeated("[", YAML_MAX_DEPTH, "");

    (void)state;
    free(text);
    text = repeated("[", YAML_MAX_DEPTH + 1, "]");
    refuses(text, 1, YAML_MAX_DEPTH + 1, "levels of nesting");
    free(text);
    text = repeated("- &a x\n", YAML_MAX_ANCHORS + 1, "");
    refuses(text, YAML_MAX_ANCHORS + 1, 3, "1000 anchors");
    free(text);
    text = repeated("# 4567890123456\n", YAML_MAX_BYTES / 16, "\n");
    refuses(text, 0, 0, "larger than 4 MiB");
    free(text);
    text = repeated("%TAG !a! b\n", 1010, "--- a\n");
    refuses(text, 0, 0, "lines begin with '%'");
    free(text);
    refuses(bomb, 6, 12, "values once aliases are replaced");
}

/* ---- printing ----------------------------------------------------------------------------------
 */

static void prints(const char *json, const char *yaml)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    char *text = NULL;
    struct rk_why why;

    assert_non_null(value);
    assert_int_equal(yaml_print(value, &text, &why), 0);
    if (strcmp(text, yaml) != 0)
        fail_msg("%s is printed as '%s', not '%s'", json, text, yaml);
    free(text);
    json_decref(value);
}

static void test_print(void **state)
{
    (void)state;
    prints("{\"b\":1,\"a\":{\"x\":[1,\"y\",{\"k\":true,\"l\":null}],\"e\":{},\"f\":[]}}",
           "b: 1\na:\n  x:\n  - 1\n  - \"y\"\n  - k: true\n    l: null\n  e: {}\n  f: []\n");
    prints("[[1,[2]],{\"a\":[3]}]", "- - 1\n  - - 2\n- a:\n  - 3\n");
    prints("{\"s\":\"#!/bin/sh\\necho x\\n\"}", "s: |\n  #!/bin/sh\n  echo x\n");
    prints("{\"s\":\"a\\nb\"}", "s: |-\n  a\n  b\n");
    prints("{\"s\":\"a\\n\\nb\\n\\n\"}", "s: |+\n  a\n\n  b\n\n");
    prints("{\"s\":\"a \\nb\"}", "s: \"a \\nb\"\n");
    prints("{\"s\":\"\\na\"}", "s: \"\\na\"\n");
    prints("{\"s\":\"a\\r\\u0001\\u2028\\u00e9\\\\\\\"\\u007f\"}",
           "s: \"a\\r\\x01\\u2028\xc3\xa9\\\\\\\"\\x7F\"\n");
    prints("{\"s\":1e20,\"t\":0.5,\"u\":1e-7,\"v\":1.5e300}",
           "s: 1.0e+20\nt: 0.5\nu: 1.0e-07\nv: 1.5e+300\n");
    prints("\"x\"", "x\n");
}

static void test_quotes(void **state)
{
    static const char *const quoted[] = {
        "",           "y",
        "no",         "On",
        "null",       "~",
        "true",       "1",
        "1e3",        "0x1",
        "0o7",        "0b1",
        "1_0",        "-5",
        "+.5",        ".5",
        ".inf",       "-.Inf",
        ".nan",       "1:30",
        "2001-01-01", "2001-1-1 1",
        "<<",         "=",
        " a",         "a ",
        "a: b",       "a:",
        "a #b",       "-",
        "- a",        "---",
        "...",        "?",
        ":a",         "*a",
        "&a",         "!a",
        "|",          ">",
        "%a",         "@a",
        "`a",         "[a",
        "]a",         "{a",
        "}a",         ",a",
        "#a",         "'a",
        "\"a",        "a\tb",
        "1.5e3",      "190:20:30.15",
        "0",          "00",
        "1.",         "6.8523015e+5",
    };
    static const char *const plain[] = {
        "a",    "-De",   "--np", "-x",     "a:b",  "a#b",   "http://x/y", "1Gi",
        "500m", "1.2.3", "v1",   "yEs",    "ye",   "nulls", "2001-01",    "1e",
        "0x",   "a, b",  "-f=1", "a'b",    ".",    "..",    "\xc3\xa9",   "^openib",
        "$(X)", "1 2",   "=x",   "/bin/x", "1.0a", "-.x",   "0xg",        "12:ab",
    };
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof quoted / sizeof quoted[0]; i++) {
        json_t *value = json_string(quoted[i]);

        assert_int_equal(yaml_print(value, &text, NULL), 0);
        if (text[0] != '"')
            fail_msg("'%s' is printed without quotes", quoted[i]);
        free(text);
        json_decref(value);
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        json_t *value = json_string(plain[i]);

        assert_int_equal(yaml_print(value, &text, NULL), 0);
        if (text[0] == '"')
            fail_msg("'%s' is printed as %s", plain[i], text);
        free(text);
        json_decref(value);
    }
}

static void test_print_is_bounded(void **state)
{
    json_t *value = json_array();
    char *text = NULL;

    (void)state;
    for (unsigned i = 0; i <= YAML_PRINT_MAX_DEPTH; i++) {
        json_t *outer = json_array();

        json_array_append_new(outer, value);
        value = outer;
    }
    assert_int_equal(yaml_print(value, &text, NULL), RK_EINVAL);
    json_decref(value);
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(uint64_t *seed, unsigned bound)
{
    return (unsigned)(next_random(seed) % bound);
}

/* Pieces that are hard to print, more often than letters would give them. */
static void random_text(uint64_t *seed, char *text, size_t size)
{
    static const char *const pieces[] = {
        " ",
        "\n",
        "\n\n",
        ": ",
        " #",
        "-",
        "- ",
        "'",
        "\"",
        "\\",
        "y",
        "no",
        "1",
        "0x",
        ".",
        ":",
        "e",
        "_",
        "~",
        "null",
        "<<",
        "\t",
        "\r",
        "\x01",
        "a",
        "B",
        "%",
        "@",
        "\xc3\xa9",
        "\xe2\x80\xa8",
        "{",
        "]",
        "&",
        "*",
        "!",
        "|",
        "\xef\xbb\xbf",
        "\xc2\x85",
        "#",
        "2001-01-01",
        "true",
        ".inf",
        "---",
        "...",
        "\xf0\x9f\x98\x80",
        "\xef\xbf\xbf",
        "\x7f",
        "?",
    };
    unsigned count = below(seed, 6);

    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        const char *piece = pieces[below(seed, sizeof pieces / sizeof pieces[0])];

        if (strlen(text) + strlen(piece) + 1 < size)
            strcat(text, piece);
    }
}

static json_t *random_number(uint64_t *seed)
{
    union {
        uint64_t bits;
        double real;
    } any = {next_random(seed)};

    if (below(seed, 2) == 0)
        return json_integer((json_int_t)(any.bits >> below(seed, 64)));
    /* Whole reals are read as integers, as Go prints them. */
    if (any.real != any.real || any.real - any.real != 0 || (any.real > -1e300 && any.real < 1e300))
        any.real = 0.1 + (double)(any.bits >> 40) / 7;
    return any.real == (double)(json_int_t)any.real ? json_real(0.25) : json_real(any.real);
}

static json_t *random_value(uint64_t *seed, unsigned depth)
{
    char text[64];
    unsigned kind = below(seed, depth > 4 ? 4 : 7);
    unsigned count = below(seed, 5);
    json_t *value;

    switch (kind) {
    case 0:
        return random_number(seed);
    case 1:
        return below(seed, 3) == 0 ? json_null() : json_boolean(below(seed, 2));
    case 2:
    case 3:
        random_text(seed, text, sizeof text);
        return json_string(text);
    case 4:
        value = json_array();
        while (count-- > 0)
            json_array_append_new(value, random_value(seed, depth + 1));
        return value;
    default:
        value = json_object();
        while (count-- > 0) {
            random_text(seed, text, sizeof text);
            json_object_set_new(value, text, random_value(seed, depth + 1));
        }
        return value;
    }
}

static void test_round_trip(void **state)
{
    struct reading reading;
    char *text;

    (void)state;
    for (uint64_t round = 0; round < 20000; round++) {
        uint64_t seed = round;
        json_t *value = random_value(&seed, 0);
        char *json = json_dumps(value, JSON_ENCODE_ANY);
        const struct yaml_node *root;

        assert_int_equal(yaml_print(value, &text, NULL), 0);
        begin(&reading, text, strlen(text));
        root = yaml_tree_first(reading.tree);
        if (json_is_null(value)
                ? root != NULL
                : root == NULL || !json_equal(root->value, value) || reading.faults.count > 0)
            fail_msg("seed %" PRIu64 ": %s is printed as\n%s%s", round, json, text,
                     reading.faults.count > 0 ? reading.faults.fault[0].sentence : "");
        end(&reading);
        free(json);
        free(text);
        json_decref(value);
    }
}

static void test_long_keys(void **state)
{
    char *key = repeated("key ", 500, "end");
    json_t *value = json_object();
    struct reading reading;
    char *text;

    (void)state;
    json_object_set_new(value, key, json_pack("[i]", 1));
    assert_int_equal(yaml_print(value, &text, NULL), 0);
    begin(&reading, text, strlen(text));
    assert_int_equal(reading.faults.count, 0);
    assert_true(json_equal(yaml_tree_first(reading.tree)->value, value));
    end(&reading);
    free(text);
    free(key);
    json_decref(value);
}

static void test_tree_of_a_value(void **state)
{
    json_t *value = json_pack("{s:[i,{s:s}],s:n}", "a", 1, "b", "c", "d");
    struct yaml_tree *tree;
    const struct yaml_node *root;

    (void)state;
    assert_int_equal(yaml_tree_of(value, &tree, NULL), 0);
    root = yaml_tree_first(tree);
    assert_true(json_equal(root->value, value));
    assert_string_equal(yaml_member(root, "a")->last->first->key, "b");
    assert_int_equal(root->at.line, 0);
    json_object_set_new(root->value, "new", json_true());
    assert_null(json_object_get(value, "new"));
    yaml_tree_free(tree);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_surrogates),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_repeated_keys),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_documents_before_a_mistake),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_print_is_bounded),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_tree_of_a_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
