/* The text to learn from: a file, or all files of a folder, as small numbers.
 *
 * Every process of a job reads the same text, so what is read depends on nothing but the files:
 * those of a folder are taken in the order of their names (bytes compared), folders within it where
 * their name falls.  Symbolic links inside a folder are passed over, so that no text counts twice.
 * The different bytes found, in their own order, are the vocabulary. */
#ifndef CHARGPT_TEXT_H
#define CHARGPT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX_BYTES ((size_t)256 << 20)
#define TEXT_MAX_FILES 65536u
#define TEXT_MAX_DEPTH 16u

struct text {
    uint8_t *characters; /* numbers below `vocabulary` */
    size_t length;
    size_t vocabulary;
    uint8_t byte_of[256]; /* what a number stands for */
};

/* Reads `path` into *text (freed with text_free).  0, or -1 with a sentence in `why`, and then
 * *text is empty: nothing there, no permission, not a file or folder, no text, beyond the limits
 * above, memory short. */
int text_read(struct text *text, const char *path, char *why, size_t why_size);
void text_free(struct text *text);

/* The number of `byte`, or 0 when the text has no such byte. */
uint8_t text_number_of(const struct text *text, uint8_t byte);

#endif
