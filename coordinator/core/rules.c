/* Names for people, and the tables as text: the page that cannot drift from the code. */
#include "coordinator/core/state.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const job_names[CORE_JOB_COUNT_] = {"gathering", "recovering", "starting",
                                                       "forming",   "loading",    "running",
                                                       "held",      "finishing",  "ended"};
static const char *const worker_names[CORE_WORKER_COUNT_] = {"absent", "present", "member",
                                                             "leaving", "lost"};
static const char *const rank_names[RANK_STATES] = {"empty",  "starting", "ready",
                                                    "member", "left",     "done"};
static const char *const rank_events[RANK_EV_COUNT_] = {"start", "up",   "enter", "go",
                                                        "leave", "gone", "done",  "drop"};
static const char *const launch_names[LAUNCH_COUNT_] = {"none", "starting", "up", "holed",
                                                        "broken"};
static const char *const launch_events[LAUNCH_EV_COUNT_] = {"given", "all up", "lost",   "late",
                                                            "hole",  "called", "dropped"};
static const char *const event_names[CORE_EV_COUNT_] = {
    "tick",       "hello",        "heartbeat",   "closed",        "rank exited", "freeze ack",
    "progress",   "snapshot",     "written",     "committed",     "loaded",      "checkpoints",
    "carrier up", "carrier lost", "comm failed", "launch failed", "launched",    "drain",
    "scale",      "stop",         "kill"};

static const char *const action_names[CORE_DO_COUNT_] = {
    "record", "welcome",  "refuse",   "launch", "kill worker", "start ranks", "freeze",
    "go",     "snapshot", "find",     "load",   "reject",      "begin",       "write",
    "commit", "abandon",  "carriers", "event",  "shutdown",    "finish"};

const char *core_state_name(enum core_job_state state)
{
    return state < CORE_JOB_COUNT_ ? job_names[state] : "unknown";
}

const char *core_rank_state_name(enum core_rank_state state)
{
    return state < RANK_STATES ? rank_names[state] : "unknown";
}

const char *core_event_name(enum core_event_kind kind)
{
    return kind < CORE_EV_COUNT_ ? event_names[kind] : "unknown";
}

const char *core_action_name(enum core_action_kind kind)
{
    return kind < CORE_DO_COUNT_ ? action_names[kind] : "unknown";
}

enum core_job_state core_state(const struct core *core)
{
    return core->state;
}

const char *core_note_name(enum core_note note)
{
    static const char *const names[] = {"job_started",
                                        "worker_joined",
                                        "worker_lost",
                                        "rank_exited",
                                        "generation_started",
                                        "checkpoint_committed",
                                        "checkpoint_rejected",
                                        "recovered",
                                        "scaled",
                                        "drained",
                                        "job_finished",
                                        "carriers_delayed"};

    return note < sizeof names / sizeof names[0] ? names[note] : "unknown";
}

const char *core_reason_name(enum core_reason reason)
{
    static const char *const names[] = {
        "none",       "closed", "silent", "exit",          "signal", "stopped", "scaled",
        "drained",    "launch", "layout", "program",       "budget", "stop",    "kill",
        "checkpoint", "save",   "comm",   "out_of_memory", "stalled"};

    return reason < sizeof names / sizeof names[0] ? names[reason] : "unknown";
}

/* ---- the page -------------------------------------------------------------------------------- */

struct page {
    char *text;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct page *page, const char *format, ...)
{
    size_t room = page->used < page->size ? page->size - page->used : 0;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(room ? page->text + page->used : NULL, room, format, arguments);
    va_end(arguments);
    page->used += length > 0 ? (size_t)length : 0;
}

static void put_row(struct page *page, const char *state, const char *event, const char *rule)
{
    if (rule)
        put(page, "  %-11s %-14s %s\n", state, event, rule);
}

size_t core_rules_print(char *text, size_t size)
{
    struct page page = {text, size, 0};

    put(&page, "What is not in a table is refused and counted.\n\njob\n");
    for (uint32_t s = 0; s < CORE_JOB_COUNT_; s++)
        for (uint32_t e = 0; e < JOB_EV_COUNT_; e++)
            put_row(&page, job_names[s], job_event_name((enum job_event)e),
                    job_rule_name((enum core_job_state)s, (enum job_event)e));
    put(&page, "\nworker\n");
    for (uint32_t s = 0; s < CORE_WORKER_COUNT_; s++)
        for (uint32_t e = 0; e < CORE_EV_COUNT_; e++)
            put_row(&page, worker_names[s], event_names[e],
                    worker_rule_name((enum core_member_state)s, (enum core_event_kind)e));
    put(&page, "\nrank\n");
    for (uint32_t s = 0; s < RANK_STATES; s++)
        for (uint32_t e = 0; e < RANK_EV_COUNT_; e++) {
            uint32_t next = rank_rule((enum core_rank_state)s, (enum rank_event)e);

            if (next != RANK_STATES)
                put(&page, "  %-11s %-14s -> %s\n", rank_names[s], rank_events[e],
                    rank_names[next]);
        }
    put(&page, "\ncheckpoint\n");
    for (uint32_t s = 0; s < CHECKPOINT_COUNT_; s++)
        for (uint32_t e = 0; e < CHECKPOINT_EV_COUNT_; e++)
            put_row(&page, checkpoint_state_name((enum checkpoint_state)s),
                    checkpoint_event_name((enum checkpoint_event)e),
                    checkpoint_rule_name((enum checkpoint_state)s, (enum checkpoint_event)e));
    put(&page, "\ncarriers\n");
    for (uint32_t s = 0; s < LAUNCH_COUNT_; s++)
        for (uint32_t e = 0; e < LAUNCH_EV_COUNT_; e++)
            put_row(&page, launch_names[s], launch_events[e],
                    launch_rule_name((enum launch_state)s, (enum launch_event)e));
    return page.used;
}
