/* Enough of a shell's grammar; see shell.h.  What is not understood is never taken for what was
 * looked for: the caller then leaves the script alone. */
#include "k8s/render/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r"
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"

bool shell_is_program(const char *word, const char *name)
{
    const char *slash = strrchr(word, '/');

    return strcmp(slash != NULL ? slash + 1 : word, name) == 0;
}

bool shell_is_shell(const char *word)
{
    static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "zsh"};

    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++)
        if (shell_is_program(word, shells[i]))
            return true;
    return false;
}

bool shell_is_script_option(const char *word)
{
    return word[0] == '-' && word[1] != '-' && strchr(word, 'c') != NULL;
}

/* The end of what is quoted at `at`, which stands on the quote; NULL: it never ends. */
static const char *skip_quoted(const char *at)
{
    char quote = *at++;

    for (; *at != '\0' && *at != quote; at++)
        if (quote == '"' && *at == '\\' && at[1] != '\0')
            at++;
    return *at == quote ? at : NULL;
}

/* The end of the command at `at`, which is no separator: a separator or the end; NULL: it holds
 * what we do not follow. */
static const char *command_end(const char *at)
{
    for (; *at != '\0'; at++) {
        bool redirects = *at == '&' && (at[-1] == '>' || at[1] == '>');

        if (strchr(";&|\n", *at) != NULL && !redirects)
            return at;
        if (strchr("(){}`<", *at) != NULL)
            return NULL;
        if (*at == '#' && strchr(BLANKS, at[-1]) != NULL)
            return NULL;
        if (*at == '\\' && *++at == '\0')
            return NULL;
        if ((*at == '"' || *at == '\'') && (at = skip_quoted(at)) == NULL)
            return NULL;
    }
    return at;
}

/* Whether the command at `at` begins with the word `name`; `exec` may stand before it. */
static bool begins_with(const char *at, const char *name)
{
    char word[256];
    size_t length = strcspn(at, BLANKS ";&|\n");

    if (length == 4 && strncmp(at, "exec", 4) == 0) {
        at += length + strspn(at + length, BLANKS);
        length = strcspn(at, BLANKS ";&|\n");
    }
    if (length >= sizeof word)
        return false;
    memcpy(word, at, length);
    word[length] = '\0';
    return shell_is_program(word, name);
}

/* Words that open or close a block: a command behind or before them may not be reached. */
static bool is_block_word(const char *at)
{
    static const char *const words[] = {"if",    "then", "else", "elif", "fi",   "for",     "while",
                                        "until", "do",   "done", "case", "esac", "function"};
    size_t length = strcspn(at, BLANKS ";&|\n");

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == length && strncmp(at, words[i], length) == 0)
            return true;
    return false;
}

long shell_last_command(const char *script, const char *name)
{
    const char *last = NULL; /* the newest command */
    const char *before = ""; /* what separates it from the one in front */
    const char *behind = ""; /* and from what follows */
    bool block = false;

    for (const char *at = script; *at != '\0';) {
        const char *end;

        at += strspn(at, BLANKS "\n");
        if (*at == '\0' || *at == '#') {
            at += strcspn(at, "\n");
            continue;
        }
        end = command_end(at);
        if (end == NULL)
            return -1;
        if (end > at) {
            last = at;
            before = behind;
            block = block || is_block_word(at);
        }
        behind = end;
        at = end + strspn(end, ";&|");
    }
    if (last == NULL || block || !begins_with(last, name))
        return -1;
    /* a pipe in front, a pipe or the background behind */
    if ((before[0] == '|' && before[1] != '|') || *behind == '|' || *behind == '&')
        return -1;
    return last - script;
}

static bool append(char **text, const char *piece, size_t length)
{
    size_t have = *text != NULL ? strlen(*text) : 0;
    char *grown = realloc(*text, have + length + 1);

    if (grown == NULL) {
        free(*text);
        *text = NULL;
        return false;
    }
    memcpy(grown + have, piece, length);
    grown[have + length] = '\0';
    *text = grown;
    return true;
}

bool shell_append(char **text, const char *word)
{
    if (*text != NULL && !append(text, " ", 1))
        return false;
    if (*word != '\0' && word[strspn(word, PLAIN)] == '\0')
        return append(text, word, strlen(word));
    if (!append(text, "'", 1))
        return false;
    for (; *word != '\0'; word++)
        if (*word == '\'' ? !append(text, "'\\''", 4) : !append(text, word, 1))
            return false;
    return append(text, "'", 1);
}
