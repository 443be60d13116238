/* Pairs of surrogates; see yaml_json.h. */
#include "k8s/manifest/yaml_json.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PAIR 12u /* bytes of "\ud83d\ude00" */
#define LONG 10u /* bytes of "\U0001f600" */
#define BOM "\xef\xbb\xbf"

bool yaml_json_needs(const char *text, size_t size)
{
    size_t at = size >= 3 && memcmp(text, BOM, 3) == 0 ? 3 : 0;

    while (at < size && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0')
        at++;
    return at < size && (text[at] == '{' || text[at] == '[') &&
           (memmem(text, size, "\\ud", 3) != NULL || memmem(text, size, "\\uD", 3) != NULL);
}

/* The value of "\uXXXX" at `text`; 0: there is none. */
static uint32_t unit_at(const char *text)
{
    uint32_t value = 0;

    if (text[0] != '\\' || text[1] != 'u')
        return 0;
    for (int i = 2; i < 6; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;

        if (digit == NULL)
            return 0;
        value = value << 4 | (uint32_t)((digit - digits) % 16);
    }
    return value;
}

/* The code point of the pair at `text`, of at least PAIR bytes; 0: there is none. */
static uint32_t pair_at(const char *text)
{
    uint32_t high = unit_at(text);
    uint32_t low = high >= 0xd800 && high < 0xdc00 ? unit_at(text + PAIR / 2) : 0;

    return low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) : 0;
}

void yaml_json_rewrite(char *text, size_t size)
{
    char escape[LONG + 1];
    bool quoted = false;
    size_t saved = 0; /* bytes, since the string began */
    size_t to = 0;

    for (size_t from = 0; from < size;) {
        uint32_t code = quoted && size - from >= PAIR ? pair_at(text + from) : 0;

        if (code != 0) {
            snprintf(escape, sizeof escape, "\\U%08x", (unsigned)code);
            memcpy(text + to, escape, LONG);
            from += PAIR;
            to += LONG;
            saved += PAIR - LONG;
            continue;
        }
        if (quoted && text[from] == '\\' && from + 1 < size)
            text[to++] = text[from++];
        else if (text[from] == '"')
            quoted = !quoted;
        text[to++] = text[from++];
        while (!quoted && saved > 0) {
            text[to++] = ' ';
            saved--;
        }
    }
    while (to < size)
        text[to++] = ' ';
}
