/* Plain scalars; see yaml_scalar.h.  The rules are those of go-yaml v2, which kubectl has. */
#include "k8s/manifest/yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define TWO_TO_63 9223372036854775808.0

static const struct {
    const char *text;
    enum scalar_kind kind;
    bool value;
} words[] = {
    {"", SCALAR_NULL, false},           {"~", SCALAR_NULL, false},
    {"null", SCALAR_NULL, false},       {"Null", SCALAR_NULL, false},
    {"NULL", SCALAR_NULL, false},       {"y", SCALAR_BOOLEAN, true},
    {"Y", SCALAR_BOOLEAN, true},        {"yes", SCALAR_BOOLEAN, true},
    {"Yes", SCALAR_BOOLEAN, true},      {"YES", SCALAR_BOOLEAN, true},
    {"on", SCALAR_BOOLEAN, true},       {"On", SCALAR_BOOLEAN, true},
    {"ON", SCALAR_BOOLEAN, true},       {"true", SCALAR_BOOLEAN, true},
    {"True", SCALAR_BOOLEAN, true},     {"TRUE", SCALAR_BOOLEAN, true},
    {"n", SCALAR_BOOLEAN, false},       {"N", SCALAR_BOOLEAN, false},
    {"no", SCALAR_BOOLEAN, false},      {"No", SCALAR_BOOLEAN, false},
    {"NO", SCALAR_BOOLEAN, false},      {"off", SCALAR_BOOLEAN, false},
    {"Off", SCALAR_BOOLEAN, false},     {"OFF", SCALAR_BOOLEAN, false},
    {"false", SCALAR_BOOLEAN, false},   {"False", SCALAR_BOOLEAN, false},
    {"FALSE", SCALAR_BOOLEAN, false},   {".nan", SCALAR_NOT_FINITE, false},
    {".NaN", SCALAR_NOT_FINITE, false}, {".NAN", SCALAR_NOT_FINITE, false},
    {".inf", SCALAR_NOT_FINITE, false}, {".Inf", SCALAR_NOT_FINITE, false},
    {".INF", SCALAR_NOT_FINITE, false},
};

static int find_word(const char *text)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i].text) == 0)
            return (int)i;
    return -1;
}

static const char *behind_sign(const char *text)
{
    return text + (*text == '+' || *text == '-');
}

/* -1.5e3, .5, 1.: digits with at most one point, and an exponent. */
static bool looks_like_float(const char *text)
{
    const char *at = behind_sign(text);
    size_t whole = strspn(at, DIGITS);
    size_t fraction = 0;

    at += whole;
    if (*at == '.') {
        fraction = strspn(at + 1, DIGITS);
        at += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*at == 'e' || *at == 'E') {
        at = behind_sign(at + 1);
        fraction = strspn(at, DIGITS);
        at += fraction;
        return fraction > 0 && *at == '\0';
    }
    return *at == '\0';
}

/* The digits behind the prefix that names their base. */
static const char *digits_of(const char *text, unsigned *base)
{
    *base = 10;
    if (text[0] != '0' || text[1] == '\0')
        return text;
    switch (text[1]) {
    case 'x':
    case 'X':
        *base = 16;
        return text + 2;
    case 'b':
    case 'B':
        *base = 2;
        return text + 2;
    case 'o':
    case 'O':
        *base = 8;
        return text + 2;
    default:
        *base = 8;
        return text + 1;
    }
}

static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return 99;
}

/* A whole number of 64 bits in any of the bases, without underscores. */
static bool read_integer(const char *text, uint64_t *magnitude)
{
    unsigned base;
    const char *at = digits_of(behind_sign(text), &base);

    *magnitude = 0;
    if (*at == '\0')
        return false;
    for (; *at != '\0'; at++) {
        unsigned digit = digit_value(*at);

        if (digit >= base || __builtin_mul_overflow(*magnitude, base, magnitude) ||
            __builtin_add_overflow(*magnitude, digit, magnitude))
            return false;
    }
    return true;
}

static json_t *number_of_double(double value)
{
    if (value == floor(value) && value >= -TWO_TO_63 && value < TWO_TO_63)
        return json_integer((json_int_t)value);
    return json_real(value);
}

static json_t *number_of_integer(const char *text, uint64_t magnitude)
{
    if (*text != '-')
        return magnitude <= INT64_MAX ? json_integer((json_int_t)magnitude)
                                      : json_real((double)magnitude);
    return magnitude <= INT64_MAX ? json_integer(-(json_int_t)magnitude) : json_integer(INT64_MIN);
}

static bool read_float(const char *text, double *value)
{
    if (!looks_like_float(text))
        return false;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

/* Numbers that start with a digit or a sign may have underscores anywhere. */
static bool read_number(const char *text, json_t **value)
{
    char plain[512];
    size_t used = 0;
    uint64_t magnitude;
    double real;

    if (*text == '.') {
        if (!read_float(text, &real))
            return false;
        *value = number_of_double(real);
        return true;
    }
    if (strchr("+-" DIGITS, *text) == NULL || strlen(text) >= sizeof plain)
        return false;
    for (const char *c = text; *c != '\0'; c++)
        if (*c != '_')
            plain[used++] = *c;
    plain[used] = '\0';
    if (read_integer(plain, &magnitude) && (*plain != '-' || magnitude <= UINT64_C(1) << 63)) {
        *value = number_of_integer(plain, magnitude);
        return true;
    }
    if (!read_float(plain, &real))
        return false;
    *value = number_of_double(real);
    return true;
}

enum scalar_kind scalar_resolve(const char *text, json_t **value)
{
    int word = find_word(text);

    *value = NULL;
    if (word < 0 && (*text == '+' || *text == '-') && text[1] == '.') {
        word = find_word(text + 1);
        if (word >= 0 && words[word].kind == SCALAR_NOT_FINITE)
            return text[2] == 'n' || text[2] == 'N' ? (*value = json_string(text), SCALAR_TEXT)
                                                    : SCALAR_NOT_FINITE;
        word = -1;
    }
    if (word >= 0) {
        if (words[word].kind == SCALAR_NULL)
            *value = json_null();
        else if (words[word].kind == SCALAR_BOOLEAN)
            *value = json_boolean(words[word].value);
        return words[word].kind;
    }
    if (*text != '\0' && read_number(text, value))
        return SCALAR_NUMBER;
    *value = json_string(text);
    return SCALAR_TEXT;
}

/* 1_000, 0x1F, 190:20:30.5, 685.230_15e+03: what YAML 1.1 and 1.2 call numbers between them. */
static bool is_number_somewhere(const char *text)
{
    const char *at = behind_sign(text);
    size_t digits = strspn(at, DIGITS "_");

    if (at[0] == '0' && strchr("xXoObB", at[1]) != NULL && at[1] != '\0')
        return at[2] != '\0' && at[2 + strspn(at + 2, DIGITS "abcdefABCDEF_")] == '\0';
    if (*at == '.' ? strchr(DIGITS, at[1]) == NULL || at[1] == '\0' : *at < '0' || *at > '9')
        return false;
    at += digits;
    digits = 1;
    while (*at == ':' && at[1] >= '0' && at[1] <= '9')
        at += 1 + strspn(at + 1, DIGITS);
    if (*at == '.')
        at += 1 + strspn(at + 1, DIGITS "_");
    if (*at == 'e' || *at == 'E') {
        at = behind_sign(at + 1);
        digits = strspn(at, DIGITS);
        at += digits;
    }
    return digits > 0 && *at == '\0';
}

/* 2001-12-14, with or without a time behind it. */
static bool is_date(const char *text)
{
    size_t used = strspn(text, DIGITS);

    if (used != 4)
        return false;
    text += used;
    for (int part = 0; part < 2; part++) {
        if (*text != '-')
            return false;
        used = strspn(text + 1, DIGITS);
        if (used < 1 || used > 2)
            return false;
        text += 1 + used;
    }
    return *text == '\0' || strchr("Tt \t", *text) != NULL;
}

bool scalar_is_ambiguous(const char *text)
{
    const char *unsigned_text = behind_sign(text);
    json_t *value;
    enum scalar_kind kind = scalar_resolve(text, &value);

    json_decref(value);
    if (kind != SCALAR_TEXT || strcmp(text, "=") == 0 || strcmp(text, "<<") == 0)
        return true;
    if (*unsigned_text == '.' && find_word(unsigned_text) >= 0)
        return true;
    return is_number_somewhere(text) || is_date(text);
}
