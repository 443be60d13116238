/* Names and quantities; see syntax.h. */
#include "k8s/manifest/syntax.h"

#include <stdint.h>
#include <string.h>

#define SMALL "abcdefghijklmnopqrstuvwxyz"
#define LARGE "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* `length` bytes of `inside`, the first and the last of `ends`. */
static bool is_name(const char *text, size_t length, size_t most, const char *ends,
                    const char *inside)
{
    return length > 0 && length <= most && strspn(text, inside) >= length &&
           is_one_of(text[0], ends) && is_one_of(text[length - 1], ends);
}

bool syntax_dns_label(const char *text)
{
    return is_name(text, strlen(text), DNS_LABEL_MAX, SMALL DIGITS, SMALL DIGITS "-");
}

bool syntax_service_start(const char *text)
{
    return is_name(text, strlen(text), SIZE_MAX, SMALL DIGITS, SMALL DIGITS "-") &&
           is_one_of(text[0], SMALL);
}

static bool is_dns_name(const char *text, size_t length)
{
    const char *end = text + length;

    if (length > DNS_NAME_MAX)
        return false;
    for (;;) {
        const char *dot = memchr(text, '.', (size_t)(end - text));
        size_t part = (size_t)((dot != NULL ? dot : end) - text);

        if (!is_name(text, part, DNS_NAME_MAX, SMALL DIGITS, SMALL DIGITS "-"))
            return false;
        if (dot == NULL)
            return true;
        text = dot + 1;
    }
}

bool syntax_dns_name(const char *text)
{
    return is_dns_name(text, strlen(text));
}

bool syntax_label_key(const char *text)
{
    const char *slash = strchr(text, '/');

    if (slash != NULL && !is_dns_name(text, (size_t)(slash - text)))
        return false;
    text = slash != NULL ? slash + 1 : text;
    return is_name(text, strlen(text), DNS_LABEL_MAX, SMALL LARGE DIGITS, SMALL LARGE DIGITS "-_.");
}

bool syntax_label_value(const char *text)
{
    return *text == '\0' ||
           is_name(text, strlen(text), DNS_LABEL_MAX, SMALL LARGE DIGITS, SMALL LARGE DIGITS "-_.");
}

bool syntax_env_name(const char *text)
{
    return *text != '\0' && !is_one_of(*text, DIGITS) &&
           text[strspn(text, SMALL LARGE DIGITS "-_.")] == '\0';
}

bool syntax_env_name_new(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~' || *text == '=')
            return false;
    return true;
}

bool syntax_port_name(const char *text)
{
    return is_name(text, strlen(text), 15, SMALL DIGITS, SMALL DIGITS "-") &&
           strstr(text, "--") == NULL && text[strcspn(text, SMALL)] != '\0';
}

/* Behind the digits: a unit, or an exponent. */
static bool is_unit(const char *text)
{
    static const char *const units[] = {"",  "n", "u",  "m",  "k",  "M",  "G",  "T",
                                        "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text, units[i]) == 0)
            return true;
    if (*text != 'e' && *text != 'E')
        return false;
    text++;
    text += *text == '+' || *text == '-';
    return *text != '\0' && text[strspn(text, DIGITS)] == '\0';
}

static bool is_quantity(const char *text)
{
    size_t whole;
    size_t fraction = 0;

    text += *text == '+' || *text == '-';
    whole = strspn(text, DIGITS);
    text += whole;
    if (*text == '.') {
        fraction = strspn(text + 1, DIGITS);
        text += 1 + fraction;
    }
    return whole + fraction > 0 && is_unit(text);
}

bool syntax_quantity(const json_t *value)
{
    return json_is_number(value) ||
           (json_is_string(value) && is_quantity(json_string_value(value)));
}

bool syntax_quantity_is_negative(const json_t *value)
{
    const char *text = json_string_value(value);

    if (text == NULL)
        return json_number_value(value) < 0;
    return *text == '-' && strcspn(text, "123456789") < strcspn(text, "eE");
}
