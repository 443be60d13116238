/* What `reknit submit` says; see submit.h. */
#include "launch/submit/submit.h"

#include "launch/event_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINE 1024

static void say_json(const struct submit *submit, const char *event, json_t *fields,
                     const char *text)
{
    time_t seconds = (time_t)(submit->wall / RK_S);
    json_t *line = json_object();
    char stamp[40] = "";
    struct tm utc;
    char *printed;

    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_object_set_new(line, "time", json_string(stamp));
    json_object_set_new(line, "event", json_string(event));
    json_object_update(line, fields);
    json_object_set_new(line, "text", event_string(text));
    printed = json_dumps(line, JSON_COMPACT);
    printf("%s\n", printed != NULL ? printed : "{}");
    fflush(stdout);
    free(printed);
    json_decref(line);
}

void submit_say(struct submit *submit, enum screen_tone tone, const char *event, json_t *fields,
                const char *format, ...)
{
    char text[LINE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (submit->screen != NULL)
        screen_note(submit->screen, tone, text);
    else
        say_json(submit, event, fields, text);
    json_decref(fields);
}
