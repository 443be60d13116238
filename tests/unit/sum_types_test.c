/* Conversions over every half and bfloat, error feedback, and typed sums of random trees against
 * the definition. */
#include "collectives/tree.h"

#include "common/layout.h"
#include "tests/unit/sum_fixture.h"
#include "worker/reknit.h"

#include <stdlib.h>

#define SEED 20261125u
#define VALUES 65536u

/* Between float32 and another type, or the same. */
static void convert(enum sum_dtype from, const void *in, enum sum_dtype to, size_t count, void *out)
{
    if (to == SUM_F32)
        sum_best()->load(from, in, 1.0f, count, out);
    else
        sum_best()->store(in, 1.0f, to, count, out);
}

static size_t size_of(enum sum_dtype dtype)
{
    return rk_dtype_size((uint32_t)dtype);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static bool is_nan16(enum sum_dtype dtype, uint32_t bits)
{
    return (bits & 0x7fff) > (dtype == SUM_F16 ? 0x7c00u : 0x7f80u);
}

/* By the definition of the format, in float64. */
static float value16(enum sum_dtype dtype, uint32_t bits)
{
    int digits = dtype == SUM_F16 ? 10 : 7;
    int bias = dtype == SUM_F16 ? 15 : 127;
    int exponent = (int)((bits & 0x7fff) >> digits);
    int fraction = (int)(bits & ((1u << digits) - 1));
    double value = exponent == 0 ? ldexp(fraction, 1 - bias - digits)
                                 : ldexp(fraction + (1 << digits), exponent - bias - digits);

    if (exponent == (0x7fff >> digits))
        value = (double)INFINITY;
    return (float)(bits & 0x8000 ? -value : value);
}

static void widen_every_value(enum sum_dtype dtype)
{
    static uint16_t in[VALUES];
    static float out[VALUES];

    for (uint32_t i = 0; i < VALUES; i++)
        in[i] = (uint16_t)i;
    convert(dtype, in, SUM_F32, VALUES, out);
    for (uint32_t i = 0; i < VALUES; i++) {
        float should = value16(dtype, i);

        if (is_nan16(dtype, i)) {
            uint32_t payload = dtype == SUM_F16 ? (i & 0x3ff) << 13 | 0x400000 : (i & 0x7f) << 16;

            should = float_of((i & 0x8000) << 16 | 0x7f800000 | payload);
        }
        assert_same(&out[i], &should, 1, sizeof should, i);
    }
}

/* The float between two neighbours of the format; above the largest, where infinity begins. */
static float middle(enum sum_dtype dtype, uint32_t low)
{
    double below = (double)value16(dtype, low);
    uint32_t infinite = dtype == SUM_F16 ? 0x7c00 : 0x7f80;
    double above = (double)value16(dtype, low + 1);

    if (low + 1 == infinite)
        above = 2 * below - (double)value16(dtype, low - 1);
    return (float)((below + above) / 2);
}

/* Each value itself, each middle of neighbours, and the floats beside the middles; both signs. */
static void narrow_every_boundary(enum sum_dtype dtype)
{
    uint32_t infinite = dtype == SUM_F16 ? 0x7c00 : 0x7f80;

    for (uint32_t low = 0; low < infinite; low++) {
        float tie = middle(dtype, low);
        float in[8] = {value16(dtype, low), nextafterf(tie, 0.0f), tie, nextafterf(tie, INFINITY)};
        uint16_t should[8] = {(uint16_t)low, (uint16_t)low, (uint16_t)(low + low % 2),
                              (uint16_t)(low + 1)};
        uint16_t out[8];

        for (int i = 0; i < 4; i++) {
            in[4 + i] = -in[i];
            should[4 + i] = (uint16_t)(should[i] | 0x8000);
        }
        convert(SUM_F32, in, dtype, 8, out);
        assert_same(out, should, 8, sizeof out[0], low);
    }
}

static void narrow_specials(enum sum_dtype dtype)
{
    uint16_t infinite = dtype == SUM_F16 ? 0x7c00 : 0x7f80;
    uint16_t quiet = dtype == SUM_F16 ? 0x7e00 : 0x7fc0;
    int cut = dtype == SUM_F16 ? 13 : 16;
    uint32_t in[] = {0x7f800000, 0xff800000, 0x7f7fffff, 0x7fc00000, 0x7f800001,
                     0xffffffff, 0x7fa34567, 0x00000001, 0x80000001};
    uint16_t should[] = {infinite, (uint16_t)(infinite | 0x8000),         infinite, quiet, quiet,
                         0xffff,   (uint16_t)(quiet | (0x234567 >> cut)), 0,        0x8000};
    uint16_t out[sizeof in / sizeof in[0]];

    convert(SUM_F32, in, dtype, sizeof in / sizeof in[0], out);
    assert_same(out, should, sizeof in / sizeof in[0], sizeof out[0], 0);
}

/* Any length and alignment, and what lies around stays. */
static void convert_any_length(enum sum_dtype from, enum sum_dtype to)
{
    for (size_t c = 0; c < SMALL_COUNTS + EDGES; c++) {
        uint64_t random = SEED + c;
        static float source[MOST + 4];
        static uint16_t in[MOST + 4];
        static char out[(MOST + 8) * 4], should[(MOST + 8) * 4];
        size_t off = c % 4;
        size_t count = count_of(c);
        const char *data = from == SUM_F32 ? (const char *)source : (const char *)in;

        for (size_t i = 0; i < MOST + 4; i++) {
            source[i] = draw_float(&random);
            in[i] = (uint16_t)draw(&random);
        }
        memset(out, 0x5a, sizeof out);
        memset(should, 0x5a, sizeof should);
        data += off * size_of(from);
        /* one by one, which the tests above know to be right */
        for (size_t i = 0; i < count; i++)
            convert(from, data + i * size_of(from), to, 1, should + (off + i) * size_of(to));
        convert(from, data, to, count, out + off * size_of(to));
        assert_same(out, should, sizeof out, 1, SEED + c);
    }
}

static void convert_all(void)
{
    static const enum sum_dtype types[] = {SUM_F32, SUM_F16, SUM_BF16};

    for (int t = 1; t < 3; t++) {
        widen_every_value(types[t]);
        narrow_every_boundary(types[t]);
        narrow_specials(types[t]);
    }
    for (int t = 0; t < 3; t++) {
        convert_any_length(types[t], SUM_F32);
        convert_any_length(SUM_F32, types[t]);
    }
}

static void conversions_round_to_nearest_even(void **state)
{
    (void)state;
    on_each_path(convert_all);
}

static void types_have_the_numbers_of_the_layout(void **state)
{
    (void)state;
    assert_int_equal(SUM_F32, RK_F32);
    assert_int_equal(SUM_F64, RK_F64);
    assert_int_equal(SUM_F16, RK_F16);
    assert_int_equal(SUM_BF16, RK_BF16);
    assert_string_equal(rk_dtype_name(RK_F16), "f16");
    assert_string_equal(rk_dtype_name(RK_BF16), "bf16");
}

/* ---- error feedback -------------------------------------------------------------------------- */

static void pack_once(size_t count, uint64_t seed)
{
    static float in[MOST + 1], residual[MOST + 1], left[MOST + 1];
    static uint16_t out[MOST + 1], should[MOST + 1];
    uint64_t random = seed;

    for (size_t i = 0; i < MOST + 1; i++) {
        float total;
        float sent;

        in[i] = draw_float(&random);
        residual[i] = left[i] = draw_float(&random);
        out[i] = should[i] = (uint16_t)draw(&random);
        if (i >= count)
            continue;
        total = one_nan(in[i] + residual[i]);
        convert(SUM_F32, &total, SUM_BF16, 1, &should[i]);
        sent = isnan(total) ? total : value16(SUM_BF16, should[i]);
        left[i] = isfinite(sent) ? total - sent : 0.0f;
    }
    sum_best()->pack_bf16(in, residual, count, out);
    assert_same(out, should, MOST + 1, sizeof out[0], seed);
    assert_same(residual, left, MOST + 1, sizeof residual[0], seed);
}

static void pack_all(void)
{
    for (size_t c = 0; c < SMALL_COUNTS + EDGES; c++)
        pack_once(count_of(c), SEED + c);
}

static void what_a_bfloat_loses_is_the_residual(void **state)
{
    (void)state;
    on_each_path(pack_all);
}

/* A value that one bfloat cannot hold arrives in the long run. */
static void residuals_arrive_later(void **state)
{
    float in = 1.00237f;
    float residual = 0.0f;
    double arrived = 0.0;

    (void)state;
    for (int step = 0; step < 1000; step++) {
        uint16_t packed;
        float unpacked;

        sum_best()->pack_bf16(&in, &residual, 1, &packed);
        convert(SUM_BF16, &packed, SUM_F32, 1, &unpacked);
        arrived += (double)unpacked;
    }
    assert_true(fabs(arrived - 1000.0 * (double)in) < 0.01);
    /* an overflow does not stay */
    in = INFINITY;
    sum_best()->pack_bf16(&in, &residual, 1, &(uint16_t){0});
    assert_true(residual == 0.0f);
}

/* ---- trees ----------------------------------------------------------------------------------- */

#define SHARDS 64u

/* A random cut of the tree into parts, with random data. */
struct forest {
    struct tree_part part[SHARDS];
    uint32_t parts;
    struct tree_node root;
    bool wide; /* float64 */
    size_t count;
    uint64_t seed;
};

static void grow(struct forest *forest, struct tree_node node)
{
    uint64_t random = draw(&forest->seed);
    enum sum_dtype types[] = {SUM_F32, SUM_F16, SUM_BF16};
    enum sum_dtype dtype = forest->wide ? SUM_F64 : types[random / 16 % 3];
    float weight = random / 64 % 2 ? 1.0f : draw_float(&forest->seed);
    uint16_t *data;

    if (node.level > 0 && random % 4 != 0) {
        struct tree_node left = {(uint16_t)(node.level - 1), (uint16_t)(2 * node.index)};
        struct tree_node right = {left.level, (uint16_t)(left.index + 1)};

        grow(forest, left);
        grow(forest, right);
        return;
    }
    data = malloc(forest->count * size_of(dtype) + 1);
    assert_non_null(data);
    for (size_t i = 0; i < forest->count; i++) {
        if (dtype == SUM_F64)
            ((double *)(void *)data)[i] = draw_double(&forest->seed);
        else if (dtype == SUM_F32)
            ((float *)(void *)data)[i] = draw_float(&forest->seed);
        else
            data[i] = (uint16_t)draw(&forest->seed);
    }
    forest->part[forest->parts++] = tree_part_typed(node, data, (uint32_t)dtype, weight);
}

static void fell(struct forest *forest)
{
    for (uint32_t p = 0; p < forest->parts; p++)
        free((void *)(uintptr_t)forest->part[p].data);
}

/* One element of one part. */
static float part_float(const struct tree_part *part, size_t i)
{
    float value;

    if (part->dtype == SUM_F32)
        memcpy(&value, (const float *)part->data + i, sizeof value);
    else
        convert(part->dtype, (const uint16_t *)part->data + i, SUM_F32, 1, &value);
    return part->weight == 1.0f ? value : one_nan(part->weight * value);
}

static double part_double(const struct tree_part *part, size_t i)
{
    double value = ((const double *)part->data)[i];

    return part->weight == 1.0f ? value : one_nan64((double)part->weight * value);
}

/* The definition, by recursion: the value of `node` from the parts below it. */
static double define(const struct forest *forest, struct tree_node node, size_t i)
{
    struct tree_node left = {(uint16_t)(node.level - 1), (uint16_t)(2 * node.index)};
    struct tree_node right = {left.level, (uint16_t)(left.index + 1)};
    double a;
    double b;

    for (uint32_t p = 0; p < forest->parts; p++)
        if (forest->part[p].node.level == node.level && forest->part[p].node.index == node.index)
            return forest->wide ? part_double(&forest->part[p], i)
                                : (double)part_float(&forest->part[p], i);
    a = define(forest, left, i);
    b = define(forest, right, i);
    return forest->wide ? one_nan64(a + b) : (double)one_nan((float)a + (float)b);
}

/* Sums elements from .. from + count - 1 on the path, in place of part `over` if there is one. */
static void check_sum(const struct forest *forest, size_t from, size_t count, int over, bool stream,
                      const char *should)
{
    size_t size = forest->wide ? sizeof(double) : sizeof(float);
    char *own = malloc(forest->count * size + 1);
    struct forest copy = *forest;

    assert_non_null(own);
    memset(own, 0x5a, forest->count * size);
    if (over >= 0) {
        memcpy(own, copy.part[over].data, forest->count * size);
        copy.part[over].data = own;
    }
    if (forest->wide)
        tree_sum64(copy.part, copy.parts, copy.root, from, count, (double *)(void *)own);
    else
        tree_sum(copy.part, copy.parts, copy.root, from, count, stream, (float *)(void *)own);
    assert_same(own + from * size, should, count, size, forest->seed);
    for (size_t i = 0; over < 0 && i < from * size; i++)
        assert_int_equal(own[i], 0x5a);
    for (size_t i = (from + count) * size; over < 0 && i < forest->count * size; i++)
        assert_int_equal(own[i], 0x5a);
    free(own);
}

static void sum_one_forest(uint64_t seed)
{
    struct forest forest = {.seed = seed};
    uint64_t random = seed;
    enum sum_dtype space;
    size_t from;
    size_t count;
    char *should;

    forest.wide = draw(&random) % 4 == 0;
    space = forest.wide ? SUM_F64 : SUM_F32;
    forest.count = draw(&random) % 3000;
    forest.root.level = (uint16_t)(draw(&random) % 7);
    grow(&forest, forest.root);
    forest.seed = seed; /* to be named */
    from = draw(&random) % (forest.count + 1);
    count = draw(&random) % (forest.count - from + 1);
    should = malloc(count * sizeof(double) + 1);
    assert_non_null(should);
    for (size_t i = 0; i < count; i++) {
        double value = define(&forest, forest.root, from + i);
        float narrow = (float)value;

        /* a copy keeps NaN as they are, but float64 makes them quiet */
        if (forest.parts == 1 && !forest.wide)
            narrow = part_float(&forest.part[0], from + i);
        memcpy(should + i * size_of(space), forest.wide ? (void *)&value : (void *)&narrow,
               size_of(space));
    }
    for (uint32_t set = 0; sum_set(set) != NULL; set++) {
        sum_use(sum_set(set));
        check_sum(&forest, from, count, -1, set % 2 == 0, should);
        for (uint32_t p = 0; p < forest.parts; p++)
            if (forest.part[p].dtype == space)
                check_sum(&forest, from, count, (int)p, false, should);
    }
    free(should);
    fell(&forest);
}

static void sums_of_random_trees_are_those_of_the_definition(void **state)
{
    (void)state;
    for (uint64_t seed = SEED; seed < SEED + 300; seed++)
        sum_one_forest(seed);
    print_message("seeds %u to %u\n", SEED, SEED + 299);
}

/* Past the caches, from an element in the middle of a line. */
static void check_big(uint32_t parts, bool halves)
{
    size_t count = 100003;
    struct forest forest = {.parts = parts, .count = count, .seed = SEED + parts};
    float *should = malloc(count * sizeof *should);
    uint64_t random = SEED;

    assert_non_null(should);
    forest.root.level = (uint16_t)(parts / 2);
    for (uint32_t p = 0; p < parts; p++) {
        float *data = malloc(count * sizeof *data);

        assert_non_null(data);
        for (size_t i = 0; i < count; i++)
            data[i] = draw_float(&random);
        forest.part[p] = tree_part_f32((struct tree_node){.index = (uint16_t)p}, data);
        if (halves && p % 2 == 1)
            forest.part[p].dtype = SUM_BF16;
    }
    for (size_t i = 3; i < count - 5; i++)
        should[i] = (float)define(&forest, forest.root, i);
    for (uint32_t set = 0; sum_set(set) != NULL; set++) {
        sum_use(sum_set(set));
        check_sum(&forest, 3, count - 8, -1, true, (const char *)(should + 3));
    }
    free(should);
    fell(&forest);
}

static void big_sums_are_those_of_the_definition(void **state)
{
    (void)state;
    check_big(2, false);
    check_big(2, true);
    check_big(4, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_the_numbers_of_the_layout),
        cmocka_unit_test(conversions_round_to_nearest_even),
        cmocka_unit_test(what_a_bfloat_loses_is_the_residual),
        cmocka_unit_test(residuals_arrive_later),
        cmocka_unit_test(sums_of_random_trees_are_those_of_the_definition),
        cmocka_unit_test(big_sums_are_those_of_the_definition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
