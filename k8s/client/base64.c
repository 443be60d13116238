/* Base64; see base64.h. */
#include "k8s/client/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int value_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* Writes the bytes to `to` and returns their number, -1 when `text` is not base64. */
static long decode(const char *text, char *to)
{
    long count = 0;
    uint32_t bits = 0;
    unsigned digits = 0;
    unsigned pads = 0;

    for (; *text != '\0'; text++) {
        int value = value_of(*text);

        if (strchr(" \r\n\t", *text) != NULL)
            continue;
        if (*text == '=') {
            pads++;
            continue;
        }
        if (value < 0 || pads > 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        if (++digits % 4 != 1)
            to[count++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    if ((digits + pads) % 4 != 0 || pads > 2 || digits % 4 == 1)
        return -1;
    return count;
}

char *base64_decode(const char *text, size_t *size)
{
    char *bytes = malloc(strlen(text) / 4 * 3 + 4);
    long count;

    if (bytes == NULL)
        return NULL;
    count = decode(text, bytes);
    if (count < 0) {
        free(bytes);
        return NULL;
    }
    bytes[count] = '\0';
    *size = (size_t)count;
    return bytes;
}
