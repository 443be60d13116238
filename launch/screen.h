/* What `reknit run` shows: the ranks' lines, what happens, and how far the job is.
 *
 * On a terminal one live line stands at the bottom and everything else scrolls above it.  Elsewhere
 * there are plain lines only, and what the ranks print passes unchanged.  The screen never makes
 * the job wait: when its reader is slow, lines are dropped and counted. */
#ifndef RK_LAUNCH_SCREEN_H
#define RK_LAUNCH_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct screen;

struct screen_style {
    bool terminal;
    bool colour;
    bool quiet; /* only the ranks' lines and screen_print */
    unsigned width;
};

/* What the live line is made of. */
struct screen_status {
    char state[24]; /* of the job; empty: not known yet */
    uint64_t step;
    bool has_loss;
    double loss;
    double samples_per_s; /* 0: not known */
    uint32_t workers, target;
    char last_event[160];
};

enum screen_tone { SCREEN_PLAIN, SCREEN_GOOD, SCREEN_BAD, SCREEN_QUIET };

/* NULL without memory.  Freed by screen_free, which writes out what is left within five
 * seconds. */
struct screen *screen_new(int fd, const struct screen_style *style);
void screen_free(struct screen *screen);

void screen_resize(struct screen *screen, unsigned width);

/* A line that a rank printed. */
void screen_rank(struct screen *screen, const char *line, size_t length);
/* A line of ours about what happened. */
void screen_note(struct screen *screen, enum screen_tone tone, const char *text);
/* Text with newlines, whatever the style: the report at the end. */
void screen_print(struct screen *screen, const char *text);
/* How far the job is; drawn at most ten times a second on a terminal, else as a line every five
 * seconds. */
void screen_progress(struct screen *screen, const struct screen_status *status, uint64_t now);
/* The same for what has no steps to tell of: a live line of its own, and nothing elsewhere. */
void screen_live(struct screen *screen, const char *text, uint64_t now);
/* Takes the live line away. */
void screen_clear(struct screen *screen);
/* Writes what can be written without waiting; true while something is left. */
bool screen_flush(struct screen *screen);
uint64_t screen_dropped(const struct screen *screen);

/* ---- parts that tests look at -----------------------------------------------------------------
 */

/* The live line for `width` columns, without control characters.  Returns `out`. */
const char *screen_status_text(const struct screen_status *status, unsigned width, char *out,
                               size_t size);
/* A rank's line made harmless for a terminal: what stands behind its last carriage return, other
 * control characters as '?', colours kept.  Returns the number of bytes in `out`. */
size_t screen_clean(const char *line, size_t length, char *out, size_t size);

#endif
