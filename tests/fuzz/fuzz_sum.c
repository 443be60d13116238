/* Typed sums on any bits: each path makes what the portable one makes, apart and in place, and an
 * element does not depend on where a slice begins; so does what goes over a wire. */
#include "collectives/tree.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS 8u
#define COUNT 256u /* elements of a part at most */

struct input {
    uint16_t level; /* of the root: 2^level parts */
    uint8_t dtype[PARTS];
    float weight[PARTS];
    uint32_t from; /* where the slice begins */
    uint32_t count;
    bool wide;
};

/* Bytes of the values follow the head; parts read them from different places. */
static struct input head_of(const uint8_t *data, size_t size, double *values)
{
    static const uint8_t types[] = {SUM_F32, SUM_F16, SUM_BF16};
    struct input input = {.level = data[0] % 4, .wide = data[1] % 4 == 0};

    for (uint32_t p = 0; p < PARTS; p++) {
        input.dtype[p] = input.wide ? SUM_F64 : types[data[2 + p] % 3];
        memcpy(&input.weight[p], data + 16 + 4 * p, sizeof input.weight[p]);
        if (data[2 + p] & 0x10)
            input.weight[p] = 1.0f;
    }
    input.from = data[10] % 64u;
    input.count = (data[11] + 256u * (data[12] % 2u)) % (COUNT - input.from);
    for (size_t at = 0; at < (COUNT + PARTS) * sizeof *values; at++)
        ((uint8_t *)values)[at] = data[16 + at % (size - 16)];
    return input;
}

static void sum(const struct input *input, const double *values, uint32_t from, uint32_t count,
                double *out)
{
    struct tree_part parts[PARTS];
    struct tree_node root = {.level = input->level};

    for (uint16_t p = 0; p < 1u << input->level; p++)
        parts[p] = tree_part_typed((struct tree_node){.index = p}, values + p, input->dtype[p],
                                   input->weight[p]);
    /* in place of the first part, if the types allow it */
    if (input->dtype[0] == (input->wide ? SUM_F64 : SUM_F32) && input->count % 2 == 0) {
        memcpy(out, values, COUNT * sizeof *out);
        parts[0].data = out;
    }
    if (input->wide)
        tree_sum64(parts, 1u << input->level, root, from, count, out);
    else
        tree_sum(parts, 1u << input->level, root, from, count, from % 2 != 0, (float *)(void *)out);
}

/* What goes over a wire: bfloats with their residual, and halves. */
struct wire {
    float residual[COUNT];
    uint16_t bfloat[COUNT];
    uint16_t half[COUNT];
};

static void pack(const double *values, uint32_t count, struct wire *wire)
{
    const float *in = (const float *)(const void *)values + 3;

    memset(wire, 0, sizeof *wire);
    memcpy(wire->residual, values, sizeof wire->residual);
    sum_best()->pack_bf16(in, wire->residual, count, wire->bfloat);
    sum_best()->store(in, 1.0f, SUM_F16, count, wire->half);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static double values[COUNT + PARTS];
    double first[COUNT] = {0};
    struct wire first_wire;
    struct input input;

    if (size < 64)
        return 0;
    input = head_of(data, size, values);
    sum_use(sum_set(0));
    sum(&input, values, input.from, input.count, first);
    pack(values, input.count, &first_wire);
    for (uint32_t set = 0; sum_set(set) != NULL; set++) {
        double out[COUNT] = {0};
        struct wire wire;
        uint32_t half = input.count / 2;

        sum_use(sum_set(set));
        sum(&input, values, input.from, input.count, out);
        pack(values, input.count, &wire);
        if (memcmp(out, first, sizeof out) != 0 || memcmp(&wire, &first_wire, sizeof wire) != 0)
            abort();
        /* in two slices; in place the first slice would be lost to the second's copy */
        memset(out, 0, sizeof out);
        if (input.count % 2 == 0)
            continue;
        sum(&input, values, input.from, half, out);
        sum(&input, values, input.from + half, input.count - half, out);
        if (memcmp(out, first, sizeof out) != 0)
            abort();
    }
    return 0;
}
