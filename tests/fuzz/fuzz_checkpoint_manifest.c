/* Any bytes as a manifest: refused with a sentence, or understood; and what is understood, written
 * again, is understood as the same. */
#include "worker/checkpoint/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void round_trip(const struct manifest *first)
{
    struct manifest second;
    char *text = NULL;
    size_t size = 0;

    must(manifest_render(first, &text, &size, NULL) == 0);
    must(manifest_parse(text, size, "again", true, &second, NULL) == 0);
    must(first->layout->bytes == second.layout->bytes);
    must(memcmp(first->layout, second.layout, (size_t)first->layout->bytes) == 0);
    must(first->run.step == second.run.step && first->run.wall == second.run.wall);
    must(first->shard_count == second.shard_count && first->piece_count == second.piece_count);
    must(first->crc_count == second.crc_count);
    free(text);
    parts_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest manifest;
    struct rk_why why = {.text = ""};
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    if (manifest_parse(text, size, "input", false, &manifest, &why) == 0) {
        round_trip(&manifest);
        parts_done(&manifest);
    } else {
        must(why.text[0] != '\0' && manifest.layout == NULL);
    }
    if (manifest_parse(text, size, "input", true, &manifest, NULL) == 0)
        parts_done(&manifest);
    free(text);
    return 0;
}
