/* Rounding to bfloat16 and back; see narrow.h. */
#include "collectives/carrier/narrow.h"

#include "collectives/sum.h"

#include <stdlib.h>
#include <string.h>

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

void narrow_pack(const float *values, size_t count, float *residual, uint16_t *packed)
{
    sum_best()->pack_bf16(values, residual, count, packed);
}

void narrow_unpack(const uint16_t *packed, size_t count, float *values)
{
    sum_best()->load(SUM_BF16, packed, 1, count, values);
}
