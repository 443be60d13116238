/* Any bytes as a writer's report, as the coordinator's shell takes it from the network: refused, or
 * a manifest whose every number was checked. */
#include "worker/checkpoint/manifest.h"
#include "worker/checkpoint/report.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest manifest = {.shard_count = report_writers(data, size)};
    bool *seen;
    char *text = NULL;
    size_t length = 0;

    if (manifest.shard_count == 0)
        return 0;
    seen = calloc(manifest.shard_count, sizeof *seen);
    manifest.shard = calloc(manifest.shard_count, sizeof *manifest.shard);
    if (seen != NULL && manifest.shard != NULL &&
        report_decode(data, size, &manifest, seen, NULL) == 0 &&
        parts_check(&manifest, "input", NULL) == 0 && manifest.shard_count < 16) {
        memcpy(manifest.run.job, "j", 2);
        memcpy(manifest.run.reduction, "r", 2);
        if (manifest_render(&manifest, &text, &length, NULL) != 0)
            abort();
    }
    free(text);
    free(seen);
    parts_done(&manifest);
    return 0;
}
