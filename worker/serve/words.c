/* Words of a command, for images that have no shell; see state.h. */
#include "worker/serve/state.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* One word from *at on, written back to where it began without its quotes. */
static bool take_word(char **at)
{
    char *to = *at;
    char quote = '\0';

    for (; **at != '\0' && (quote != '\0' || !is_blank(**at)); (*at)++) {
        char c = **at;

        if (quote == '\0' && (c == '\'' || c == '"'))
            quote = c;
        else if (quote != '\0' && c == quote)
            quote = '\0';
        else if (c == '\\' && quote != '\'' && (*at)[1] != '\0')
            *to++ = *++*at;
        else
            *to++ = c;
    }
    if (**at != '\0')
        (*at)++;
    *to = '\0';
    return quote == '\0';
}

bool words_split(char *text, char **word, unsigned most)
{
    unsigned count = 0;

    for (;;) {
        while (is_blank(*text))
            text++;
        word[count] = NULL;
        if (*text == '\0')
            return count > 0;
        if (count == most)
            return false;
        word[count++] = text;
        if (!take_word(&text))
            return false;
    }
}
