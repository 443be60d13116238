/* The screen of `reknit run`; see screen.h. */
#include "launch/screen.h"

#include "common/clock.h"
#include "launch/text.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (1u << 20)
#define LINE_BYTES (32u << 10)
#define WRITE_BYTES 4096u /* PIPE_BUF: a pipe that poll calls writable takes so much at once */
#define LAST_WAIT_MS 5000
#define LAST_STEP_MS 50
#define DRAW_EVERY (100 * RK_MS)
#define SAY_EVERY (5 * RK_S)
#define ERASE_LINE "\r\033[K"

struct screen {
    int fd;
    struct screen_style style;
    char *buffer;
    size_t used;
    bool dead; /* nobody reads any more */
    bool drawn;
    uint64_t dropped;
    uint64_t last_progress;
    char live[512];
};

struct screen *screen_new(int fd, const struct screen_style *style)
{
    struct screen *screen = calloc(1, sizeof *screen);

    if (screen == NULL)
        return NULL;
    screen->fd = fd;
    screen->style = *style;
    screen->buffer = malloc(BUFFER_BYTES);
    if (screen->buffer == NULL) {
        free(screen);
        return NULL;
    }
    return screen;
}

void screen_free(struct screen *screen)
{
    if (screen == NULL)
        return;
    screen_clear(screen);
    for (int waited = 0; screen_flush(screen) && waited < LAST_WAIT_MS; waited += LAST_STEP_MS) {
        struct pollfd ready = {.fd = screen->fd, .events = POLLOUT};

        poll(&ready, 1, LAST_STEP_MS);
    }
    free(screen->buffer);
    free(screen);
}

void screen_resize(struct screen *screen, unsigned width)
{
    screen->style.width = width;
}

bool screen_flush(struct screen *screen)
{
    size_t done = 0;

    while (!screen->dead && done < screen->used) {
        struct pollfd ready = {.fd = screen->fd, .events = POLLOUT};
        size_t left = screen->used - done;
        ssize_t written;

        if (poll(&ready, 1, 0) != 1)
            break;
        written = write(screen->fd, screen->buffer + done, left < WRITE_BYTES ? left : WRITE_BYTES);
        if (written < 0)
            screen->dead = true;
        else
            done += (size_t)written;
    }
    if (screen->dead)
        done = screen->used;
    screen->used -= done;
    memmove(screen->buffer, screen->buffer + done, screen->used);
    return screen->used > 0;
}

/* All of it or, when there is no room, nothing. */
static bool put(struct screen *screen, const char *text, size_t length)
{
    if (screen->used + length > BUFFER_BYTES)
        screen_flush(screen);
    if (screen->used + length > BUFFER_BYTES)
        return false;
    memcpy(screen->buffer + screen->used, text, length);
    screen->used += length;
    return true;
}

static void erase_live(struct screen *screen)
{
    if (screen->drawn && put(screen, ERASE_LINE, strlen(ERASE_LINE)))
        screen->drawn = false;
}

static void draw_live(struct screen *screen)
{
    if (screen->live[0] == '\0' || screen->used > BUFFER_BYTES / 2)
        return;
    erase_live(screen);
    if (put(screen, screen->live, strlen(screen->live)))
        screen->drawn = true;
}

/* A whole line above the live one. */
static void put_line(struct screen *screen, const char *text, size_t length)
{
    char line[LINE_BYTES];
    int size;

    erase_live(screen);
    size = snprintf(line, sizeof line, "%.*s\n", (int)length, text);
    if (size >= (int)sizeof line)
        size = (int)sizeof line - 1;
    if (!put(screen, line, (size_t)size))
        screen->dropped++;
    draw_live(screen);
    screen_flush(screen);
}

/* Length of an SGR sequence (ESC [ digits ; ... m) at `at`, 0 when there is none. */
static size_t colour_length(const char *at, size_t left)
{
    size_t i = 2;

    if (left < 3 || at[0] != '\033' || at[1] != '[')
        return 0;
    while (i < left && ((at[i] >= '0' && at[i] <= '9') || at[i] == ';'))
        i++;
    return i < left && at[i] == 'm' ? i + 1 : 0;
}

size_t screen_clean(const char *line, size_t length, char *out, size_t size)
{
    static const char reset[] = "\033[0m";
    bool coloured = false;
    size_t used = 0;
    size_t start = 0;

    while (length > 0 && line[length - 1] == '\r')
        length--;
    for (size_t i = 0; i < length; i++)
        if (line[i] == '\r')
            start = i + 1;
    for (size_t i = start; i < length && used + sizeof reset + 32 < size; i++) {
        unsigned char c = (unsigned char)line[i];
        size_t colour = colour_length(line + i, length - i);

        if (colour > 0 && colour < 24) {
            memcpy(out + used, line + i, colour);
            used += colour;
            i += colour - 1;
            coloured = true;
        } else {
            out[used++] = (c < 0x20 && c != '\t') || c == 0x7f ? '?' : (char)c;
        }
    }
    if (coloured) {
        memcpy(out + used, reset, sizeof reset - 1);
        used += sizeof reset - 1;
    }
    return used;
}

void screen_rank(struct screen *screen, const char *line, size_t length)
{
    char clean[LINE_BYTES];
    size_t prefix = 0;

    if (!screen->style.terminal) {
        if (!put(screen, line, length) || !put(screen, "\n", 1))
            screen->dropped++;
        screen_flush(screen);
        return;
    }
    /* The agent's "[rank 2] " stays in front of what a progress bar has drawn over itself. */
    if (length > 6 && strncmp(line, "[rank ", 6) == 0) {
        const char *bracket = memchr(line, ']', length < 20 ? length : 20);

        prefix = bracket != NULL ? (size_t)(bracket - line) + 1 : 0;
    }
    memcpy(clean, line, prefix);
    if (prefix > 0 && length > prefix && line[prefix] == ' ')
        clean[prefix] = line[prefix], prefix++;
    put_line(screen, clean,
             prefix + screen_clean(line + prefix, length - prefix, clean + prefix,
                                   sizeof clean - prefix));
}

void screen_note(struct screen *screen, enum screen_tone tone, const char *text)
{
    static const char *const colours[] = {"", "\033[32m", "\033[31m", "\033[2m"};
    char line[1024];
    bool colour = screen->style.colour && tone != SCREEN_PLAIN;

    if (screen->style.quiet)
        return;
    snprintf(line, sizeof line, "%sreknit: %s%s", colour ? colours[tone] : "", text,
             colour ? "\033[0m" : "");
    put_line(screen, line, strlen(line));
}

void screen_print(struct screen *screen, const char *text)
{
    screen_clear(screen);
    if (!put(screen, text, strlen(text)))
        screen->dropped++;
    screen_flush(screen);
}

const char *screen_status_text(const struct screen_status *status, unsigned width, char *out,
                               size_t size)
{
    out[0] = '\0';
    text_append(out, size, "step %" PRIu64, status->step);
    if (status->has_loss)
        text_append(out, size, "  loss %.4f", status->loss);
    if (status->samples_per_s > 0)
        text_append(out, size, "  %.*f samples/s", status->samples_per_s < 100 ? 1 : 0,
                    status->samples_per_s);
    text_append(out, size, "  %u/%u workers", status->workers, status->target);
    if (status->state[0] != '\0' && strcmp(status->state, "running") != 0)
        text_append(out, size, "  %s", status->state);
    if (status->last_event[0] != '\0')
        text_append(out, size, "  | %s", status->last_event);
    if (width > 1 && strlen(out) >= width && width < size) {
        out[width - 1] = '\0';
        /* Not within a character of several bytes. */
        for (size_t at = width - 1; at > 0 && ((unsigned char)out[at - 1] & 0xc0) == 0x80; at--)
            out[at - 1] = '\0';
    }
    return out;
}

void screen_progress(struct screen *screen, const struct screen_status *status, uint64_t now)
{
    uint64_t every = screen->style.terminal ? DRAW_EVERY : SAY_EVERY;
    char line[512];

    if (screen->style.quiet)
        return;
    if (screen->last_progress != 0 && now < screen->last_progress + every)
        return;
    screen->last_progress = now;
    if (screen->style.terminal) {
        screen_status_text(status, screen->style.width, screen->live, sizeof screen->live);
        draw_live(screen);
        screen_flush(screen);
        return;
    }
    /* Events have their own lines here. */
    struct screen_status plain = *status;
    plain.last_event[0] = '\0';
    screen_note(screen, SCREEN_PLAIN, screen_status_text(&plain, 0, line, sizeof line));
}

void screen_live(struct screen *screen, const char *text, uint64_t now)
{
    if (screen->style.quiet || !screen->style.terminal ||
        (screen->last_progress != 0 && now < screen->last_progress + DRAW_EVERY))
        return;
    screen->last_progress = now;
    snprintf(screen->live, sizeof screen->live, "%.*s",
             screen->style.width > 1 ? (int)screen->style.width - 1 : 0, text);
    draw_live(screen);
    screen_flush(screen);
}

void screen_clear(struct screen *screen)
{
    erase_live(screen);
    screen->live[0] = '\0';
}

uint64_t screen_dropped(const struct screen *screen)
{
    return screen->dropped;
}
