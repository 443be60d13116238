/* Words and numbers as people type them; see text.h. */
#include "launch/text.h"

#include "common/clock.h"
#include "common/number.h"
#include "common/typed.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int text_duration(const char *text, uint64_t *ns, struct rk_why *why)
{
    switch (typed_duration(text, ns)) {
    case TYPED_TIME:
        return 0;
    case TYPED_NO_UNIT:
        return rk_fail(why, RK_EINVAL, "'%.40s' has no unit: write %.40sms, %.40ss or %.40smin",
                       text, text, text, text);
    case TYPED_TOO_LONG:
        return rk_fail(why, RK_EINVAL, "'%.40s' is longer than a year", text);
    default:
        return rk_fail(why, RK_EINVAL, "'%.40s' is not a time: write it as 100ms, 30s, 10min or 2h",
                       text);
    }
}

const char *text_duration_print(uint64_t ns, char *out, size_t size)
{
    uint64_t seconds = ns / RK_S;

    if (ns < RK_S)
        snprintf(out, size, "%.1f ms", (double)ns / 1e6);
    else if (seconds < 60)
        snprintf(out, size, "%.2f s", (double)ns / 1e9);
    else if (seconds < 3600)
        snprintf(out, size, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    else
        snprintf(out, size, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    return out;
}

int text_count(const char *text, uint64_t min, uint64_t max, uint64_t *count, struct rk_why *why)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || text[digits] != '\0')
        return rk_fail(why, RK_EINVAL, "'%.40s' is not a whole number", text);
    if (!rk_number_parse(text, min, max, count))
        return rk_fail(why, RK_EINVAL, "%.40s is not possible: it must be %" PRIu64 " to %" PRIu64,
                       text, min, max);
    return 0;
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 3 + strlen(word) / 8;

    if (strlen(word) <= 3)
        best_distance = 2;
    for (size_t i = 0; i < count; i++) {
        size_t d = typed_distance(word, words[i], false);

        /* An option cut short, as `--check` for `--checkpoint-dir`. */
        if (strlen(word) >= 4 && strncmp(words[i], word, strlen(word)) == 0 && d > 2)
            d = 2;
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}

void text_append(char *out, size_t size, const char *format, ...)
{
    size_t used = strnlen(out, size);
    va_list args;

    if (used + 1 >= size)
        return;
    va_start(args, format);
    vsnprintf(out + used, size - used, format, args);
    va_end(args);
}
