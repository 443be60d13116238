/* What people type; see typed.h. */
#include "common/typed.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 64u
#define YEAR_S (366.0 * 24 * 3600)

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

static bool same(char a, char b, bool fold)
{
    return a == b || (fold && tolower((unsigned char)a) == tolower((unsigned char)b));
}

size_t typed_distance(const char *a, const char *b, bool fold)
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
            size_t change = diagonal + (same(a[i - 1], b[j - 1], fold) ? 0 : 1);

            diagonal = row[j];
            row[j] = least(change, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[b_length];
}

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

enum typed_time typed_duration(const char *text, uint64_t *ns)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1},   {"sec", 1},
                 {"min", 60},  {"m", 60},    {"h", 3600}};
    double value;
    const char *unit = read_decimal(text, &value);

    if (unit != NULL && *unit == '\0')
        return TYPED_NO_UNIT;
    for (size_t i = 0; unit != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].name) != 0)
            continue;
        if (value * units[i].seconds > YEAR_S)
            return TYPED_TOO_LONG;
        *ns = (uint64_t)(value * units[i].seconds * 1e9 + 0.5);
        return TYPED_TIME;
    }
    return TYPED_NO_TIME;
}
