/* Rendering a manifest; the format is in manifest.h. */
#include "worker/checkpoint/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void write_run(FILE *out, const struct checkpoint_run *run)
{
    time_t seconds = (time_t)(run->wall / UINT64_C(1000000000));
    char date[32] = "-";
    struct tm parts;

    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
    fprintf(out, "reknit-checkpoint 1\njob %s\nstep %" PRIu64 "\nepoch %" PRIu32 "\n", run->job,
            run->step, run->epoch);
    fprintf(out, "seed %" PRIu64 "\nbatch %" PRIu64 "\nshards %" PRIu32 "\nworld %" PRIu32 "\n",
            run->seed, run->batch, run->shards, run->world);
    fprintf(out, "reduction %s\ncommitted %" PRIu64 " %s\nlibrary reknit\n", run->reduction,
            run->wall, date);
}

static void write_tensors(FILE *out, const struct rk_layout *layout)
{
    fprintf(out, "tensors %" PRIu32 "\n", layout->tensor_count);
    for (uint32_t t = 0; t < layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &layout->tensor[t];

        fprintf(out, "tensor %s %s %" PRIu32,
                tensor->kind == RK_TENSOR_STATE ? "state" : "gradient",
                rk_dtype_name(tensor->dtype), tensor->ndim);
        for (uint32_t d = 0; d < tensor->ndim; d++)
            fprintf(out, " %" PRIu64, tensor->shape[d]);
        fprintf(out, " %" PRIu64 " %" PRIu64 " %s\n", tensor->bytes, tensor->offset, tensor->name);
    }
}

static void write_pieces(FILE *out, const struct manifest *m)
{
    char name[PARTS_SHARD_NAME_SIZE];

    fprintf(out, "files %" PRIu32 "\n", m->shard_count);
    for (uint32_t f = 0; f < m->shard_count; f++) {
        parts_shard_name(name, f, m->shard_count);
        fprintf(out, "file %" PRIu64 " %08" PRIx32 " %s\n", m->shard[f].size, m->shard[f].meta_crc,
                name);
    }
    fprintf(out, "pieces %zu\n", m->piece_count);
    for (size_t p = 0; p < m->piece_count; p++) {
        const struct piece *piece = &m->piece[p];
        uint64_t blocks = parts_block_count(piece->bytes);

        fprintf(
            out, "piece %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            piece->tensor, piece->file, piece->offset, piece->bytes, piece->start, piece->count);
        for (uint64_t b = 0; b < blocks; b++)
            fprintf(out, "%s %08" PRIx32 "%s", b % 8 == 0 ? "crc" : "", m->crc[piece->crc + b],
                    b % 8 == 7 || b == blocks - 1 ? "\n" : "");
    }
}

int manifest_render(const struct manifest *manifest, char **text, size_t *size, struct rk_why *why)
{
    FILE *out = open_memstream(text, size);
    int bad;

    if (out == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a manifest");
    write_run(out, &manifest->run);
    write_tensors(out, manifest->layout);
    write_pieces(out, manifest);
    bad = fflush(out);
    if (bad == 0)
        fprintf(out, "end %08" PRIx32 "\n", parts_crc32c(0, *text, *size));
    bad |= fclose(out);
    if (bad == 0 && *size <= MANIFEST_MAX)
        return 0;
    free(*text);
    *text = NULL;
    return bad == 0 ? rk_fail(why, RK_EFULL, "a manifest of %zu bytes is over the limit of %zu",
                              *size, MANIFEST_MAX)
                    : rk_fail(why, RK_ENOMEM, "no memory for a manifest");
}
