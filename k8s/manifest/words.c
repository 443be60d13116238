/* Words that people typed; see words.h. */
#include "k8s/manifest/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64u
#define YEAR_S (366.0 * 24 * 3600)

const char *word_show(const char *text, struct word_shown *shown)
{
    size_t length = strnlen(text, WORD_SHOWN + 1);
    bool cut = length > WORD_SHOWN;

    if (cut)
        for (length = WORD_SHOWN - 3; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80;)
            length--;
    memcpy(shown->text, text, length);
    memcpy(shown->text + length, cut ? "..." : "", cut ? 4 : 1);
    for (char *c = shown->text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return shown->text;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance; letters that differ in case only are close, not the same. */
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
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t change = diagonal + (same ? 0 : 1);

            diagonal = row[j];
            row[j] = least(change, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[b_length];
}

const char *word_nearest(const char *word, const char *const *words, size_t count, size_t stride)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) <= 3 ? 2 : 3 + strlen(word) / 8;

    for (size_t i = 0; i < count; i++) {
        const char *candidate = *(const char *const *)((const char *)words + i * stride);
        size_t d = distance(word, candidate);

        if (d < best_distance) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
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

int word_duration(const char *text, uint64_t *ns, struct rk_why *why)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1},   {"sec", 1},
                 {"min", 60},  {"m", 60},    {"h", 3600}};
    struct word_shown shown;
    double value;
    const char *unit = read_decimal(text, &value);

    word_show(text, &shown);
    if (unit != NULL && *unit == '\0')
        return rk_fail(why, RK_EINVAL, "'%s' has no unit: write it as 100ms, 30s, 10min or 2h",
                       shown.text);
    for (size_t i = 0; unit != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].name) != 0)
            continue;
        if (value * units[i].seconds > YEAR_S)
            return rk_fail(why, RK_EINVAL, "'%s' is longer than a year", shown.text);
        *ns = (uint64_t)(value * units[i].seconds * 1e9 + 0.5);
        return 0;
    }
    return rk_fail(why, RK_EINVAL, "'%s' is not a time: write it as 100ms, 30s, 10min or 2h",
                   shown.text);
}

/* A line being cut. */
struct cutter {
    const char *at;
    char *word; /* as long as the line */
    size_t used;
    bool open; /* a word has begun, be it '' */
};

static int take_quoted(struct cutter *cutter, struct rk_why *why)
{
    char quote = *cutter->at++;

    cutter->open = true;
    for (; *cutter->at != quote; cutter->at++) {
        if (*cutter->at == '\0')
            return rk_fail(why, RK_EINVAL, "a %c is not closed", quote);
        if (quote == '"' && (*cutter->at == '$' || *cutter->at == '`'))
            return rk_fail(why, RK_EINVAL, "'%c' is not expanded; write it as \\%c", *cutter->at,
                           *cutter->at);
        if (quote == '"' && *cutter->at == '\\' && strchr("\"\\$`", cutter->at[1]) != NULL &&
            cutter->at[1] != '\0')
            cutter->at++;
        cutter->word[cutter->used++] = *cutter->at;
    }
    cutter->at++;
    return 0;
}

static int take_plain(struct cutter *cutter, struct rk_why *why)
{
    bool quoted = *cutter->at == '\\';

    if (quoted && *++cutter->at == '\0')
        return rk_fail(why, RK_EINVAL, "nothing follows the last '\\'");
    if (!quoted && strchr("$`;&|<>()*?[#~", *cutter->at) != NULL)
        return rk_fail(why, RK_EINVAL,
                       "no shell reads it, so '%c' must be quoted; for a shell write: sh -c '...'",
                       *cutter->at);
    cutter->open = true;
    cutter->word[cutter->used++] = *cutter->at++;
    return 0;
}

static int end_word(struct cutter *cutter, json_t *words, struct rk_why *why)
{
    if (cutter->open && json_array_append_new(words, json_stringn(cutter->word, cutter->used)) != 0)
        return rk_fail(why, RK_ENOMEM, "no memory for a command line");
    cutter->open = false;
    cutter->used = 0;
    return 0;
}

static int cut(struct cutter *cutter, json_t *words, struct rk_why *why)
{
    int rc = 0;

    while (rc == 0 && *cutter->at != '\0') {
        if (strchr(" \t\r\n", *cutter->at) != NULL) {
            rc = end_word(cutter, words, why);
            cutter->at++;
        } else if (*cutter->at == '\'' || *cutter->at == '"') {
            rc = take_quoted(cutter, why);
        } else {
            rc = take_plain(cutter, why);
        }
    }
    return rc == 0 ? end_word(cutter, words, why) : rc;
}

int word_split(const char *line, json_t **out, struct rk_why *why)
{
    struct cutter cutter = {.at = line, .word = malloc(strlen(line) + 1)};
    json_t *words = json_array();
    int rc;

    if (cutter.word == NULL || words == NULL)
        rc = rk_fail(why, RK_ENOMEM, "no memory for a command line");
    else
        rc = cut(&cutter, words, why);
    free(cutter.word);
    if (rc != 0)
        json_decref(words);
    else
        *out = words;
    return rc;
}
