/* Parsing a manifest, of which nothing is believed; the format is in manifest.h.
 *
 * The scanner remembers the first mistake and answers all further questions with zeroes, so that
 * the grammar can be written down without an `if` at each word.  Memory grows with what was read,
 * never with what a count promises. */
#include "worker/checkpoint/manifest.h"

#include "worker/checkpoint/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WORD_MAX 160

struct scan {
    const char *at;
    const char *end;
    const char *name; /* of the text, for the sentence */
    uint64_t line;
    int rc; /* of the first mistake, else 0 */
    struct rk_why *why;
    char word[WORD_MAX];
};

static void mistake(struct scan *scan, const char *wanted)
{
    if (scan->rc == 0)
        scan->rc = rk_fail(scan->why, RK_EDATA,
                           "%s, line %" PRIu64 ": there should be %s; it is damaged, use another "
                           "checkpoint",
                           scan->name, scan->line, wanted);
}

/* The next word of the line, up to one space or the end of the line; "" when there is none. */
static const char *take_word(struct scan *scan)
{
    size_t length = 0;

    if (scan->rc == 0 && scan->at < scan->end && *scan->at == ' ')
        scan->at++;
    while (scan->rc == 0 && scan->at<scan->end && * scan->at> ' ' && *scan->at < 0x7f &&
           length < WORD_MAX - 1)
        scan->word[length++] = *scan->at++;
    scan->word[length] = '\0';
    return scan->word;
}

static void expect(struct scan *scan, const char *word)
{
    if (strcmp(take_word(scan), word) != 0)
        mistake(scan, word);
}

static void end_line(struct scan *scan)
{
    if (scan->rc != 0 || scan->at >= scan->end || *scan->at != '\n') {
        mistake(scan, "the end of the line");
        return;
    }
    scan->at++;
    scan->line++;
}

static uint64_t take_number(struct scan *scan, uint64_t limit)
{
    const char *word = take_word(scan);
    uint64_t value = 0;

    if (*word == '\0')
        mistake(scan, "a number");
    for (; *word != '\0'; word++) {
        uint64_t digit = (uint64_t)(*word - '0');

        if (*word < '0' || *word > '9' || digit > limit || value > (limit - digit) / 10) {
            mistake(scan, "a smaller number");
            return 0;
        }
        value = value * 10 + digit;
    }
    return value;
}

static uint32_t take_crc(struct scan *scan)
{
    const char *word = take_word(scan);
    uint32_t value = 0;

    if (strlen(word) != 8 || strspn(word, "0123456789abcdef") != 8)
        mistake(scan, "a checksum of 8 digits");
    else
        value = (uint32_t)strtoul(word, NULL, 16);
    return value;
}

static void take_name(struct scan *scan, char *to, size_t size)
{
    const char *word = take_word(scan);

    if (*word == '\0' || strlen(word) >= size)
        mistake(scan, "a name of fitting length");
    else
        memcpy(to, word, strlen(word) + 1);
}

static uint64_t line_number(struct scan *scan, const char *key, uint64_t limit)
{
    uint64_t value;

    expect(scan, key);
    value = take_number(scan, limit);
    end_line(scan);
    return value;
}

static void line_name(struct scan *scan, const char *key, char *to, size_t size)
{
    expect(scan, key);
    take_name(scan, to, size);
    end_line(scan);
}

/* Room for one more element in an array whose capacity is the next power of two. */
static void *room(struct scan *scan, void **array, size_t count, size_t element)
{
    void *grown = *array;

    if (scan->rc != 0)
        return NULL;
    if ((count & (count + 1)) == 0 || *array == NULL)
        grown = realloc(*array, 2 * (count + 1) * element);
    if (grown == NULL) {
        scan->rc = rk_fail(scan->why, RK_ENOMEM, "no memory to read %s", scan->name);
        return NULL;
    }
    *array = grown;
    return (char *)grown + count * element;
}

static void parse_run(struct scan *scan, struct checkpoint_run *run)
{
    char scratch[WORD_MAX];

    expect(scan, "reknit-checkpoint");
    if (take_number(scan, UINT32_MAX) != 1 && scan->rc == 0)
        scan->rc = rk_fail(scan->why, RK_EVERSION,
                           "%s is of format %s, this program knows 1; use the reknit that wrote it",
                           scan->name, scan->word);
    end_line(scan);
    line_name(scan, "job", run->job, sizeof run->job);
    run->step = line_number(scan, "step", UINT64_MAX);
    run->epoch = (uint32_t)line_number(scan, "epoch", UINT32_MAX);
    run->seed = line_number(scan, "seed", UINT64_MAX);
    run->batch = line_number(scan, "batch", UINT64_MAX);
    run->shards = (uint32_t)line_number(scan, "shards", RK_MAX_SHARDS);
    run->world = (uint32_t)line_number(scan, "world", UINT32_MAX);
    line_name(scan, "reduction", run->reduction, sizeof run->reduction);
    expect(scan, "committed");
    run->wall = take_number(scan, UINT64_MAX);
    take_name(scan, scratch, sizeof scratch);
    end_line(scan);
    line_name(scan, "library", scratch, sizeof scratch);
}

static uint32_t take_dtype(struct scan *scan)
{
    const char *word = take_word(scan);

    for (uint32_t dtype = 1; rk_dtype_name(dtype) != NULL; dtype++)
        if (strcmp(word, rk_dtype_name(dtype)) == 0)
            return dtype;
    mistake(scan, "an element type");
    return 0;
}

static void parse_tensor(struct scan *scan, struct rk_tensor *tensor)
{
    const char *kind;

    memset(tensor, 0, sizeof *tensor);
    expect(scan, "tensor");
    kind = take_word(scan);
    if (strcmp(kind, "state") == 0)
        tensor->kind = RK_TENSOR_STATE;
    else if (strcmp(kind, "gradient") == 0)
        tensor->kind = RK_TENSOR_GRADIENT;
    else
        mistake(scan, "state or gradient");
    tensor->dtype = take_dtype(scan);
    tensor->ndim = (uint32_t)take_number(scan, RK_LAYOUT_MAX_DIMS);
    for (uint32_t d = 0; d < tensor->ndim; d++)
        tensor->shape[d] = take_number(scan, UINT64_MAX);
    tensor->bytes = take_number(scan, UINT64_MAX);
    tensor->offset = take_number(scan, UINT64_MAX);
    take_name(scan, tensor->name, sizeof tensor->name);
    end_line(scan);
}

/* Makes the layout's header for the tensors; its sums are then checked against them.  A checkpoint
 * holds no gradients: where they lay is the affair of the program that wrote it. */
static void make_layout(struct scan *scan, struct manifest *m, const struct rk_tensor *tensor,
                        uint32_t count)
{
    size_t size = sizeof(struct rk_layout) + count * sizeof *tensor;
    struct rk_layout *layout = calloc(1, size);

    if (layout == NULL) {
        scan->rc = rk_fail(scan->why, RK_ENOMEM, "no memory to read %s", scan->name);
        return;
    }
    layout->magic = RK_LAYOUT_MAGIC;
    layout->version = RK_LAYOUT_VERSION;
    layout->tensor_count = count;
    layout->bytes = size;
    layout->seed = m->run.seed;
    layout->batch = m->run.batch;
    for (uint32_t t = 0; t < count; t++) {
        struct rk_tensor placed = tensor[t];

        if (rk_dtype_size(placed.dtype) != 0 &&
            (placed.kind == RK_TENSOR_STATE || rk_layout_grad_size(placed.dtype) != 0))
            rk_layout_place(layout, &placed);
        layout->tensor[t] = placed.kind == RK_TENSOR_STATE ? tensor[t] : placed;
    }
    m->layout = layout;
    if (rk_layout_check(layout, size, NULL) != 0)
        mistake(scan, "a list of tensors that agrees with itself before it");
}

static void parse_tensors(struct scan *scan, struct manifest *m)
{
    uint32_t count = (uint32_t)line_number(scan, "tensors", RK_LAYOUT_MAX_TENSORS);
    void *array = NULL;

    for (uint32_t t = 0; t < count && scan->rc == 0; t++) {
        struct rk_tensor *tensor = room(scan, &array, t, sizeof *tensor);

        if (tensor != NULL)
            parse_tensor(scan, tensor);
    }
    if (scan->rc == 0 && (array != NULL || count == 0))
        make_layout(scan, m, array, count);
    free(array);
}

static void parse_files(struct scan *scan, struct manifest *m)
{
    uint32_t count = (uint32_t)line_number(scan, "files", CHECKPOINT_MAX_WRITERS);
    char name[PARTS_SHARD_NAME_SIZE];

    for (uint32_t f = 0; f < count && scan->rc == 0; f++) {
        struct shard *shard = room(scan, (void **)&m->shard, f, sizeof *shard);

        if (shard == NULL)
            return;
        parts_shard_name(name, f, count);
        expect(scan, "file");
        shard->size = take_number(scan, INT64_MAX);
        shard->meta_crc = take_crc(scan);
        expect(scan, name);
        end_line(scan);
    }
    m->shard_count = count;
}

static void parse_checksums(struct scan *scan, struct manifest *m, uint64_t blocks)
{
    for (uint64_t b = 0; b < blocks && scan->rc == 0; b++) {
        uint32_t *crc = room(scan, (void **)&m->crc, m->crc_count, sizeof *crc);

        if (b % 8 == 0)
            expect(scan, "crc");
        if (crc != NULL)
            *crc = take_crc(scan);
        m->crc_count++;
        if (b % 8 == 7 || b == blocks - 1)
            end_line(scan);
    }
}

static void parse_pieces(struct scan *scan, struct manifest *m)
{
    uint64_t count = line_number(scan, "pieces", MANIFEST_MAX);

    for (uint64_t p = 0; p < count && scan->rc == 0; p++) {
        struct piece *piece = room(scan, (void **)&m->piece, m->piece_count, sizeof *piece);

        if (piece == NULL)
            return;
        expect(scan, "piece");
        piece->tensor = (uint32_t)take_number(scan, UINT32_MAX);
        piece->file = (uint32_t)take_number(scan, UINT32_MAX);
        piece->offset = take_number(scan, INT64_MAX);
        piece->bytes = take_number(scan, INT64_MAX);
        piece->start = take_number(scan, INT64_MAX);
        piece->count = take_number(scan, INT64_MAX);
        piece->crc = m->crc_count;
        end_line(scan);
        m->piece_count++;
        parse_checksums(scan, m, parts_block_count(piece->bytes));
    }
}

static void parse_end(struct scan *scan, const char *text, bool check_crc)
{
    uint32_t crc = parts_crc32c(0, text, (size_t)(scan->at - text));

    expect(scan, "end");
    if (take_crc(scan) != crc && check_crc)
        mistake(scan, "the checksum of the lines before");
    end_line(scan);
    if (scan->at != scan->end)
        mistake(scan, "the end of the file");
}

int manifest_parse(const char *text, size_t size, const char *name, bool check_crc,
                   struct manifest *manifest, struct rk_why *why)
{
    struct scan scan = {.at = text, .end = text + size, .name = name, .line = 1, .why = why};

    memset(manifest, 0, sizeof *manifest);
    parse_run(&scan, &manifest->run);
    parse_tensors(&scan, manifest);
    parse_files(&scan, manifest);
    parse_pieces(&scan, manifest);
    parse_end(&scan, text, check_crc);
    if (scan.rc == 0)
        scan.rc = parts_check(manifest, name, why);
    if (scan.rc != 0)
        parts_done(manifest);
    return scan.rc;
}

int manifest_open(const char *root, const char *dirname, struct manifest *manifest,
                  struct rk_why *why)
{
    char path[DISK_PATH_SIZE];
    struct dirname named;
    size_t size;
    char *text;
    int rc;

    memset(manifest, 0, sizeof *manifest);
    rc = parts_dirname_check(dirname, why);
    if (rc == 0)
        rc = disk_path(path, root, dirname, PARTS_MANIFEST, why);
    if (rc == 0)
        rc = disk_read_file(path, MANIFEST_MAX, &text, &size, why);
    if (rc != 0)
        return rc;
    rc = manifest_parse(text, size, path, true, manifest, why);
    free(text);
    if (rc != 0 || !parts_dirname(dirname, &named))
        return rc;
    if (manifest->run.step == named.step && manifest->run.epoch == named.epoch)
        return 0;
    rc = rk_fail(why, RK_EDATA,
                 "%s is of step %" PRIu64 " and epoch %" PRIu32 ", not what its directory says; "
                 "files were moved here from elsewhere",
                 path, manifest->run.step, manifest->run.epoch);
    parts_done(manifest);
    return rc;
}

int manifest_check_files(const char *root, const char *dirname, const struct manifest *manifest,
                         struct rk_why *why)
{
    char path[DISK_PATH_SIZE];
    char name[PARTS_SHARD_NAME_SIZE];
    struct stat status;

    for (uint32_t f = 0; f < manifest->shard_count; f++) {
        int rc;

        parts_shard_name(name, f, manifest->shard_count);
        rc = disk_path(path, root, dirname, name, why);
        if (rc != 0)
            return rc;
        rc = lstat(path, &status);
        if (rc != 0 && errno != ENOENT)
            return rk_fail_errno(why, errno, "%s cannot be looked at", path);
        if (rc != 0 || !S_ISREG(status.st_mode))
            return rk_fail(why, RK_EDATA, "%s is missing", path);
        if ((uint64_t)status.st_size != manifest->shard[f].size)
            return rk_fail(why, RK_EDATA, "%s has %lld bytes, it was written with %" PRIu64, path,
                           (long long)status.st_size, manifest->shard[f].size);
    }
    return 0;
}
