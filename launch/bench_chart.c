/* Drawing; see bench_chart.h. */
#include "launch/bench_chart.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#define WIDTH 720.0
#define HEIGHT 440.0
#define LEFT 70.0
#define RIGHT 150.0 /* room for the names of the lines */
#define TOP 36.0
#define BOTTOM 50.0
#define LABEL_STEP 15.0

struct chart {
    FILE *out;
    const json_t *sizes;
    double from_x, to_x, from_y, to_y; /* log10 of bytes and microseconds */
};

static double bytes_of(const json_t *size)
{
    return (double)json_integer_value(json_object_get(size, "bytes"));
}

/* Microseconds, or 0 when the engine is not there. */
static double time_of(const json_t *size, enum engine engine)
{
    char name[64];

    snprintf(name, sizeof name, "%s_us", engine_name(engine));
    return json_number_value(json_object_get(size, name));
}

static double x_of(const struct chart *chart, double bytes)
{
    double share = (log10(bytes) - chart->from_x) / fmax(chart->to_x - chart->from_x, 1e-9);

    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct chart *chart, double us)
{
    double share = (log10(us) - chart->from_y) / fmax(chart->to_y - chart->from_y, 1e-9);

    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void find_range(struct chart *chart, const enum engine *engines, size_t count)
{
    double least = INFINITY;
    double most = 1;
    size_t last = json_array_size(chart->sizes) - 1;

    for (size_t s = 0; s <= last; s++)
        for (size_t e = 0; e < count; e++) {
            double us = time_of(json_array_get(chart->sizes, s), engines[e]);

            least = us > 0 ? fmin(least, us) : least;
            most = fmax(most, us);
        }
    chart->from_x = log10(bytes_of(json_array_get(chart->sizes, 0)));
    chart->to_x = log10(bytes_of(json_array_get(chart->sizes, last)));
    chart->from_y = floor(log10(fmin(least, most)));
    chart->to_y = ceil(log10(most));
}

static void size_text(double bytes, char *text, size_t room)
{
    if (bytes < 1 << 20)
        snprintf(text, room, "%g KiB", bytes / 1024);
    else
        snprintf(text, room, "%g MiB", bytes / 1048576);
}

static void time_text(double us, char *text, size_t room)
{
    if (us < 1e3)
        snprintf(text, room, "%g us", us);
    else if (us < 1e6)
        snprintf(text, room, "%g ms", us / 1e3);
    else
        snprintf(text, room, "%g s", us / 1e6);
}

static void draw_axes(const struct chart *chart)
{
    char text[32];

    for (int power = (int)chart->from_y; power <= (int)chart->to_y; power++) {
        double y = y_of(chart, pow(10, power));

        time_text(pow(10, power), text, sizeof text);
        fprintf(chart->out,
                "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#ddd'/>\n"
                "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>\n",
                LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, text);
    }
    for (size_t s = 0; s < json_array_size(chart->sizes); s++) {
        double bytes = bytes_of(json_array_get(chart->sizes, s));
        double x = x_of(chart, bytes);

        size_text(bytes, text, sizeof text);
        fprintf(chart->out,
                "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#999'/>\n"
                "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, x, HEIGHT - BOTTOM + 20, text);
    }
}

static void draw_line(const struct chart *chart, enum engine engine, const char *colour)
{
    bool first = true;

    fprintf(chart->out, "<path fill='none' stroke='%s' stroke-width='%s'%s d='", colour,
            engine == ENGINE_ARENA ? "3" : "1.6",
            engine == ENGINE_LIMIT ? " stroke-dasharray='5 4'" : "");
    for (size_t s = 0; s < json_array_size(chart->sizes); s++) {
        const json_t *size = json_array_get(chart->sizes, s);
        double us = time_of(size, engine);

        if (us <= 0)
            continue;
        fprintf(chart->out, "%s%.1f %.1f ", first ? "M" : "L", x_of(chart, bytes_of(size)),
                y_of(chart, us));
        first = false;
    }
    fprintf(chart->out, "'/>\n");
}

/* Names beside the lines' ends, the highest first, each a step below the one before at least. */
static void draw_names(const struct chart *chart, const enum engine *engines, size_t count,
                       const char *const *colours)
{
    const json_t *last = json_array_get(chart->sizes, json_array_size(chart->sizes) - 1);
    double floor_y = TOP;
    bool drawn[ENGINES] = {false};

    for (size_t turn = 0; turn < count; turn++) {
        size_t highest = count;

        for (size_t e = 0; e < count; e++)
            if (!drawn[e] && time_of(last, engines[e]) > 0 &&
                (highest == count || time_of(last, engines[e]) > time_of(last, engines[highest])))
                highest = e;
        if (highest == count)
            return;
        drawn[highest] = true;
        floor_y = fmax(floor_y, y_of(chart, time_of(last, engines[highest])) + 4);
        fprintf(chart->out, "<text x='%.1f' y='%.1f' fill='%s'%s>%s</text>\n", WIDTH - RIGHT + 8,
                floor_y, colours[highest],
                engines[highest] == ENGINE_ARENA ? " font-weight='bold'" : "",
                engine_name(engines[highest]));
        floor_y += LABEL_STEP;
    }
}

int chart_write(const char *path, const json_t *result, const enum engine *engines, size_t count,
                struct rk_why *why)
{
    static const char *const colours[] = {"#777",    "#c0392b", "#d9839b", "#e67e22",
                                          "#2c7fb8", "#253494", "#7b3294", "#1b7837"};
    struct chart chart = {.sizes = json_object_get(result, "sizes")};
    int bad;

    if (json_array_size(chart.sizes) == 0 || count > sizeof colours / sizeof colours[0])
        return rk_fail(why, RK_EINVAL, "there is nothing to draw");
    chart.out = fopen(path, "we");
    if (chart.out == NULL)
        return rk_fail_errno(why, errno, "cannot write %s", path);
    find_range(&chart, engines, count);
    fprintf(chart.out,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %g %g' font-family='sans-serif' "
            "font-size='12' fill='#333'>\n<rect width='%g' height='%g' fill='white'/>\n"
            "<text x='%g' y='20' font-size='14'>Time to sum float32 over all ranks</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    draw_axes(&chart);
    for (size_t e = 0; e < count; e++)
        draw_line(&chart, engines[e], colours[e]);
    draw_names(&chart, engines, count, colours);
    fprintf(chart.out, "</svg>\n");
    bad = ferror(chart.out);
    bad |= fclose(chart.out);
    return bad == 0 ? 0 : rk_fail(why, RK_EIO, "cannot write all of %s", path);
}
