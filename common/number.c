/* Digits to numbers; see number.h. */
#include "common/number.h"

bool rk_number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    uint64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (at == text || *at != '\0' || number < least || number > most)
        return false;
    *value = number;
    return true;
}
