/* Rounding to bfloat16 and back; see narrow.h. */
#include "collectives/carrier/narrow.h"

#include <stdlib.h>
#include <string.h>

#define EXPONENT UINT32_C(0x7f800000)
#define QUIET UINT32_C(0x00400000)

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

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float value_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

void narrow_pack(const float *values, size_t count, float *residual, uint16_t *packed)
{
    for (size_t i = 0; i < count; i++) {
        float value = values[i] + residual[i];
        uint32_t bits = bits_of(value);
        uint32_t even = bits + 0x7fff + (bits >> 16 & 1);
        uint32_t kept =
            ((bits & ~(UINT32_C(1) << 31)) > EXPONENT ? bits | QUIET : even) >> 16 << 16;
        float rest = value - value_of(kept);

        packed[i] = (uint16_t)(kept >> 16);
        residual[i] = (kept & EXPONENT) == EXPONENT ? 0 : rest;
    }
}

void narrow_unpack(const uint16_t *packed, size_t count, float *values)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value_of((uint32_t)packed[i] << 16);
}
