/* Words that people typed; see words.h. */
#include "k8s/manifest/words.h"

#include "common/typed.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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

const char *word_nearest(const char *word, const char *const *words, size_t count, size_t stride)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) <= 3 ? 2 : 3 + strlen(word) / 8;

    for (size_t i = 0; i < count; i++) {
        const char *candidate = *(const char *const *)((const char *)words + i * stride);
        size_t d = typed_distance(word, candidate, true);

        if (d < best_distance) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

int word_duration(const char *text, uint64_t *ns, struct rk_why *why)
{
    struct word_shown shown;
    enum typed_time outcome = typed_duration(text, ns);

    word_show(text, &shown);
    switch (outcome) {
    case TYPED_TIME:
        return 0;
    case TYPED_NO_UNIT:
        return rk_fail(why, RK_EINVAL, "'%s' has no unit: write it as 100ms, 30s, 10min or 2h",
                       shown.text);
    case TYPED_TOO_LONG:
        return rk_fail(why, RK_EINVAL, "'%s' is longer than a year", shown.text);
    default:
        return rk_fail(why, RK_EINVAL, "'%s' is not a time: write it as 100ms, 30s, 10min or 2h",
                       shown.text);
    }
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
