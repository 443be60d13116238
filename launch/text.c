/* Words and numbers as people type them; see text.h. */
#include "launch/text.h"

#include "common/clock.h"
#include "common/number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define YEAR_S (366.0 * 24 * 3600)
#define WORD_MAX 64u

static const struct {
    const char *name;
    double seconds;
} units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"sec", 1}, {"min", 60}, {"m", 60}, {"h", 3600}};

/* Digits with at most one point; returns the text behind them, or NULL when there are none. */
static const char *read_decimal(const char *text, double *value)
{
    double scale = 1;
    bool point = false;
    const char *start = text;

    for (*value = 0; (*text >= '0' && *text <= '9') || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        *value = *value * 10 + (*text - '0');
        if (point)
            scale *= 10;
    }
    *value /= scale;
    return text - start > (point ? 1 : 0) ? text : NULL;
}

int text_duration(const char *text, uint64_t *ns, struct rk_why *why)
{
    double value;
    const char *unit = read_decimal(text, &value);

    if (unit != NULL && *unit == '\0')
        return rk_fail(why, RK_EINVAL, "'%.40s' has no unit: write %.40sms, %.40ss or %.40smin",
                       text, text, text, text);
    for (size_t i = 0; unit != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].name) != 0)
            continue;
        if (value * units[i].seconds > YEAR_S)
            return rk_fail(why, RK_EINVAL, "'%.40s' is longer than a year", text);
        *ns = (uint64_t)(value * units[i].seconds * 1e9 + 0.5);
        return 0;
    }
    return rk_fail(why, RK_EINVAL, "'%.40s' is not a time: write it as 100ms, 30s, 10min or 2h",
                   text);
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

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);

    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = least(change, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[b_length];
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 3 + strlen(word) / 8;

    if (strlen(word) <= 3)
        best_distance = 2;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, words[i]);

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
