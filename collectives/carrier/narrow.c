/* Rounding to bfloat16 and back; see narrow.h. */
#include "collectives/carrier/narrow.h"

#include "collectives/sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 1024u /* elements: all of it stays in the first-level cache */

int narrow_take(struct narrow *narrow, uint64_t elements, struct rk_why *why)
{
    if (narrow->residual != NULL && narrow->elements == elements)
        return 0;
    narrow_done(narrow);
    narrow->residual = calloc(elements + 1, sizeof *narrow->residual);
    narrow->packed = calloc(elements + 1, sizeof *narrow->packed);
    narrow->elements = elements;
    if (narrow->residual != NULL && narrow->packed != NULL)
        return 0;
    narrow_done(narrow);
    return rk_fail(
        why, RK_ENOMEM,
        "no memory for what bf16 on the wire holds back of %llu elements (6 bytes each); "
        "use --wire f32",
        (unsigned long long)elements);
}

void narrow_forget(struct narrow *narrow)
{
    if (narrow->residual != NULL)
        memset(narrow->residual, 0, narrow->elements * sizeof *narrow->residual);
}

void narrow_done(struct narrow *narrow)
{
    free(narrow->residual);
    free(narrow->packed);
    *narrow = (struct narrow){.elements = 0};
}

/* What is left of `value` when `sent` was sent for it. */
static float rest_of(float value, float sent)
{
    return isfinite(sent) ? value - sent : 0;
}

void narrow_pack(const float *values, size_t count, float *residual, uint16_t *packed)
{
    const struct sum_kernels *sum = sum_best();
    float value[BLOCK];
    float sent[BLOCK];

    for (size_t at = 0; at < count; at += BLOCK) {
        size_t block = count - at < BLOCK ? count - at : BLOCK;

        sum->add(values + at, residual + at, block, false, value);
        sum->store(value, 1, SUM_BF16, block, packed + at);
        sum->load(SUM_BF16, packed + at, 1, block, sent);
        for (size_t i = 0; i < block; i++)
            residual[at + i] = rest_of(value[i], sent[i]);
    }
}

void narrow_unpack(const uint16_t *packed, size_t count, float *values)
{
    sum_best()->load(SUM_BF16, packed, 1, count, values);
}
