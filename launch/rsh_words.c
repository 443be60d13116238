/* The command line of reknit-rsh; see rsh_words.h. */
#include "launch/rsh_words.h"

#include <string.h>

#define WITH_VALUE "BbcDEeFIiJLlmOopQRSWw"

/* Takes the options from argv[i] on; the index of what follows them. */
static int skip_options(int argc, char **argv, int i, struct rsh_words *words)
{
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0)
            return i + 1;
        for (const char *letter = argv[i] + 1; *letter != '\0'; letter++) {
            words->no_input = words->no_input || *letter == 'n';
            if (strchr(WITH_VALUE, *letter) == NULL)
                continue;
            if (letter[1] == '\0')
                i++;
            break; /* the rest of the word, or the next one, is its value */
        }
    }
    return i;
}

void rsh_words_read(int argc, char **argv, struct rsh_words *words)
{
    int i;

    *words = (struct rsh_words){0};
    i = skip_options(argc, argv, 1, words);
    if (i >= argc)
        return;
    const char *user_end = strrchr(argv[i], '@');
    words->host = user_end != NULL ? user_end + 1 : argv[i];
    i = skip_options(argc, argv, i + 1, words);
    if (i > argc)
        i = argc;
    words->command = argv + i;
    words->count = argc - i;
}

unsigned long rsh_words_size(const struct rsh_words *words)
{
    unsigned long size = strlen(words->host) + 2;

    for (int i = 0; i < words->count; i++)
        size += strlen(words->command[i]) + (i > 0 ? 1 : 0); /* with a blank in front */
    return size;
}

void rsh_words_join(const struct rsh_words *words, char *text)
{
    size_t size = strlen(words->host) + 1;

    memcpy(text, words->host, size);
    text += size;
    for (int i = 0; i < words->count; i++) {
        if (i > 0)
            *text++ = ' ';
        size = strlen(words->command[i]);
        memcpy(text, words->command[i], size);
        text += size;
    }
    *text = '\0';
}
