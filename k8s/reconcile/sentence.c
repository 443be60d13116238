/* Sentences about pods: who, where, what, and what to do where there is something; sentence.h. */
#include "k8s/reconcile/sentence.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts a text that was too long: back to the start of a character, then three dots. */
static size_t cut(char *out, size_t size)
{
    size_t end = size > 4 ? size - 4 : 0;

    while (end > 0 && ((unsigned char)out[end] & 0xc0) == 0x80)
        end--;
    for (size_t i = 0; i < 3 && end + 1 < size; i++)
        out[end++] = '.';
    out[end] = '\0';
    return end;
}

size_t sentence_clean(char *out, size_t size, const char *from)
{
    size_t length = strlen(from);
    size_t taken = length < size ? length : size - 1;

    memcpy(out, from, taken);
    out[taken] = '\0';
    for (size_t i = 0; i < taken; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            out[i] = ' ';
    return length < size ? taken : cut(out, size);
}

/* ---- last lines --------------------------------------------------------------------------------
 */

#define MOST_LINES 8u
#define BETWEEN 3u /* " | " */

/* Where the last lines that fit begin; one line is taken whatever its length. */
static size_t tail_begin(const char *from, size_t end, size_t size)
{
    size_t begin = end;
    size_t used = 0;

    for (uint32_t lines = 0; lines < MOST_LINES; lines++) {
        size_t last = lines == 0 ? end : begin - 1;
        size_t start = last;

        while (start > 0 && from[start - 1] != '\n')
            start--;
        used += last > start ? last - start + BETWEEN : 0;
        if (lines > 0 && used > size)
            break;
        begin = start;
        if (start == 0)
            break;
    }
    return begin;
}

size_t sentence_tail(char *out, size_t size, const char *from)
{
    size_t end = strlen(from);
    size_t used = 0;
    size_t i;

    while (end > 0 && (unsigned char)from[end - 1] <= ' ')
        end--;
    for (i = tail_begin(from, end, size); i < end && used + BETWEEN < size; i++) {
        unsigned char c = (unsigned char)from[i];

        if (c == '\n' && used > 0) {
            memcpy(out + used, " | ", BETWEEN);
            used += BETWEEN;
            while (i + 1 < end && from[i + 1] == '\n')
                i++;
        } else if (c != '\n') {
            out[used++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
        }
    }
    out[used] = '\0';
    return i < end ? cut(out, used + 1) : used;
}

/* What the kubelet itself has to say comes with other reasons: ContainerCannotRun, StartError. */
static bool is_of_program(const char *reason)
{
    return strcmp(reason, "Error") == 0 || strcmp(reason, "OOMKilled") == 0 ||
           strcmp(reason, "Completed") == 0;
}

void sentence_exit(struct end *end, const struct pod_seen *seen)
{
    bool of_program = is_of_program(seen->end_reason);

    end->exit_code = seen->exit_code;
    end->signal = seen->signal > 0 ? seen->signal : -1;
    if (end->signal < 0 && seen->exit_code > 128 && seen->exit_code <= 192)
        end->signal = seen->exit_code - 128;
    end->oom = strcmp(seen->end_reason, "OOMKilled") == 0;
    if (end->oom)
        end->signal = 9;
    sentence_clean(end->reason, sizeof end->reason, seen->end_reason);
    sentence_clean(end->message, sizeof end->message, of_program ? "" : seen->end_message);
    sentence_tail(end->log, sizeof end->log, of_program ? seen->end_message : "");
}

/* ---- sentences ---------------------------------------------------------------------------------
 */

/* A text that grows; cut once it is full. */
struct text {
    char *out;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    size_t room = text->size - text->used;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text->out + text->used, room, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    text->used += (size_t)length < room ? (size_t)length : room - 1;
    if ((size_t)length >= room)
        text->used = cut(text->out, text->size);
}

static struct text begin(char *out, size_t size)
{
    out[0] = '\0';
    return (struct text){out, size, 0};
}

void sentence_worker(char *out, size_t size, uint32_t place, uint32_t slots)
{
    struct text text = begin(out, size);

    if (slots <= 1)
        add(&text, "worker %" PRIu32 " (rank %" PRIu32 "): ", place, place);
    else
        add(&text, "worker %" PRIu32 " (ranks %" PRIu32 " to %" PRIu32 "): ", place, place * slots,
            place * slots + slots - 1);
}

static void add_pod(struct text *text, const char *name, const char *node)
{
    add(text, "pod %s", name);
    if (node[0] != '\0')
        add(text, " on node %s", node);
}

/* "(reason): message", of what there is. */
static void add_reason(struct text *text, const struct end *end)
{
    if (end->reason[0] != '\0')
        add(text, " (%s)", end->reason);
    if (end->message[0] != '\0')
        add(text, ": %s", end->message);
}

static void add_exit(struct text *text, const struct end *end)
{
    if (end->oom)
        add(text, " was killed by signal 9, out of memory: raise its memory limit, or use less");
    else if (end->signal > 0)
        add(text, " was killed by signal %" PRId32, end->signal);
    else if (end->exit_code >= 0)
        add(text, " ended with exit code %" PRId32, end->exit_code);
    else
        add(text, " failed");
    if (end->cause == END_RESTARTED)
        add(text, " and was started again, which is another worker");
    if (end->oom)
        add(text, " (%s)", end->reason[0] != '\0' ? end->reason : "OOMKilled");
    else if (end->exit_code != 0 || strcmp(end->reason, "Completed") != 0)
        add_reason(text, end);
}

static void add_log(struct text *text, const struct end *end)
{
    if (end->log[0] != '\0' && (end->cause != END_EXIT || end->exit_code != 0))
        add(text, "; its last lines: %s", end->log);
}

static void add_failure(struct text *text, const struct end *end, const char *namespace)
{
    switch (end->cause) {
    case END_HOPELESS:
        add(text, " can never run as it is");
        add_reason(text, end);
        break;
    case END_INVALID:
        add(text, " cannot be created: the API server does not take it: %s", end->message);
        break;
    case END_FORBIDDEN:
        add(text,
            " may not be created: the service account lacks the verb create on pods in namespace "
            "%s: apply the Role that `reknit render --rbac` prints: %s",
            namespace, end->message);
        break;
    default:
        add(text, " was not created: too many pods of the job are still ending");
        break;
    }
}

static const char *const ends[END_COUNT_] = {
    [END_NONE] = " ended",
    [END_ASKED] = " was killed, as the coordinator asked",
    [END_UNWANTED] = " was killed: the coordinator does not want it",
    [END_SUSPENDED] = " was deleted: the job is suspended",
    [END_STOPPED] = " was deleted: the job is over",
};

void sentence_end(char *out, size_t size, const char *name, const char *node, const char *namespace,
                  const struct end *end)
{
    struct text text = begin(out, size);

    add_pod(&text, name, node);
    switch (end->cause) {
    case END_EXIT:
    case END_RESTARTED:
        add_exit(&text, end);
        add_log(&text, end);
        break;
    case END_EVICTED:
        add(&text, strcmp(end->reason, "Evicted") == 0 ? " was evicted" : " failed");
        add_reason(&text, end);
        add_log(&text, end);
        break;
    case END_DELETED:
        add(&text, " was deleted");
        add_reason(&text, end);
        break;
    case END_LOST:
        add(&text, " is lost: its node does not answer");
        break;
    case END_SILENT:
        add(&text, " did not end in its time: its node did not confirm it");
        add_reason(&text, end);
        break;
    case END_HOPELESS:
    case END_INVALID:
    case END_FORBIDDEN:
    case END_NO_ROOM:
        add_failure(&text, end, namespace);
        break;
    default:
        add(&text, "%s", ends[end->cause]);
        break;
    }
}

void sentence_notice(char *out, size_t size, const char *name, const char *node,
                     const struct end *end)
{
    struct text text = begin(out, size);

    add_pod(&text, name, node);
    add(&text, " will end soon");
    add_reason(&text, end);
}

void sentence_pending(char *out, size_t size, const char *name, const struct end *end,
                      uint32_t count, uint64_t seconds)
{
    struct text text = begin(out, size);

    add(&text, "pod %s has been pending for %" PRIu64 " s", name, seconds);
    add_reason(&text, end);
    if (count > 1)
        add(&text, "; %" PRIu32 " pods are pending in all", count);
    add(&text, "; the job goes on without");
}

void sentence_refusal(char *out, size_t size, uint32_t count, const char *message)
{
    struct text text = begin(out, size);

    add(&text, "%" PRIu32 " worker pods wait, and the job goes on without: ", count);
    add(&text, "the API server does not create them now: %s", message);
}

void sentence_undeletable(char *out, size_t size, const char *namespace, const char *message)
{
    struct text text = begin(out, size);

    add(&text,
        "worker pods may not be deleted: the service account lacks the verb delete on pods in "
        "namespace "
        "%s: apply the Role that `reknit render --rbac` prints: %s",
        namespace, message);
}

void sentence_losses(char *out, size_t size, uint32_t count)
{
    struct text text = begin(out, size);

    add(&text, "%" PRIu32 " more worker pods were lost", count);
}

void sentence_moves(char *out, size_t size, uint32_t count)
{
    struct text text = begin(out, size);

    if (count == 1)
        add(&text, "a worker pod that waited is");
    else
        add(&text, "%" PRIu32 " worker pods that waited are", count);
    add(&text, " asked for anew: which nodes answer has changed");
}
