/* In which order elements travel, who sums them, and how they are rounded: pure functions. */
#include "collectives/carrier/narrow.h"
#include "collectives/carrier/order.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 5000u

/* Walks of all owners pass each element once, and each bucket before those below it. */
static void walks_pass_all(void **state)
{
    static const uint64_t elements[] = {0, 1, 15, 16, 63, 64, 65, 1000, 4999};

    (void)state;
    for (uint32_t kind = 0; kind < 2 * 6 * 9; kind++) {
        struct order order = {.elements = elements[kind % 9],
                              .wide = kind % 4 * 320,
                              .bucket = 64,
                              .hosts = 1 + kind / 9 % 6,
                              .gather = kind >= 54};
        uint32_t owners = order.gather ? 1 : order.hosts;
        unsigned char seen[MOST] = {0};

        for (uint32_t owner = 0; owner < owners; owner++) {
            struct walk walk;
            uint32_t bucket = order_buckets(&order);

            walk_start(&order, owner, &walk);
            while (!walk_is_over(&walk)) {
                uint64_t run = walk_run(&order, &walk, 7);

                assert_true(run > 0 && run <= 7);
                assert_true(walk.bucket <= bucket);
                assert_int_equal(walk.at / order.bucket, walk.bucket);
                assert_int_equal((walk.at + run - 1) / order.bucket, walk.bucket);
                assert_true(walk.at >= order.wide || walk.at + run <= order.wide);
                bucket = walk.bucket;
                for (uint64_t e = walk.at; e < walk.at + run; e++)
                    assert_int_equal(seen[e]++, 0);
                walk_pass(&order, owner, &walk, run);
            }
            assert_int_equal(walk_run(&order, &walk, 7), 0);
        }
        for (uint64_t e = 0; e < order.elements; e++)
            assert_int_equal(seen[e], 1);
    }
}

static void short_vectors_and_two_hosts_gather(void **state)
{
    static const uint32_t ones[64] = {[0 ... 63] = 1};
    static const uint32_t uneven[] = {2, 1};

    (void)state;
    assert_true(order_gathers(0, ones, 64));
    assert_true(order_gathers(UINT64_C(1) << 32, ones, 2));
    assert_true(order_gathers(100000, uneven, 2));
    assert_false(order_gathers(1 << 20, uneven, 2));
    assert_true(order_gathers(90 << 10, ones, 3));
    assert_false(order_gathers(110 << 10, ones, 3));
    assert_true(order_gathers(1 << 10, ones, 64));
    assert_false(order_gathers(16 << 10, ones, 64));
}

/* ---- rounding -------------------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static void rounding_goes_to_the_nearest_even(void **state)
{
    static const struct {
        uint32_t bits;
        uint16_t packed;
    } row[] = {
        {0x3f800000, 0x3f80},                       /* 1 */
        {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, /* a tie, even below */
        {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, /* a tie, even above */
        {0xbf818000, 0xbf82}, {0x80000000, 0x0000}, {0x00000001, 0x0000},
        {0x00018000, 0x0002}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80},
        {0xff800000, 0xff80}, {0x7fc00000, 0x7fc0}, {0x7f800001, 0x7fc0},
    };

    (void)state;
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) {
        float value = float_of(row[r].bits);
        float residual = 0;
        float back;
        uint16_t packed;

        narrow_pack(&value, 1, &residual, &packed);
        assert_int_equal(packed, row[r].packed);
        narrow_unpack(&packed, 1, &back);
        if (isfinite(back))
            assert_true(back + residual == value);
        else
            assert_true(residual == 0);
    }
}

/* A value that is not there in bfloat16 is on average what it was. */
static void what_is_held_back_comes_later(void **state)
{
    struct narrow narrow = {.elements = 0};
    float value = 1.001f;
    double sum = 0;

    (void)state;
    assert_int_equal(narrow_take(&narrow, 1, NULL), 0);
    for (int step = 0; step < 1000; step++) {
        float sent;

        narrow_pack(&value, 1, narrow.residual, narrow.packed);
        narrow_unpack(narrow.packed, 1, &sent);
        sum += (double)sent;
        assert_true(fabs(sum - (step + 1) * (double)value) < 0.004);
    }
    assert_int_equal(narrow_take(&narrow, 1, NULL), 0);
    assert_true(narrow.residual[0] != 0);
    narrow_forget(&narrow);
    assert_true(narrow.residual[0] == 0);
    narrow.residual[0] = 1;
    assert_int_equal(narrow_take(&narrow, 2, NULL), 0);
    assert_true(narrow.residual[0] == 0);
    narrow_done(&narrow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_pass_all),
        cmocka_unit_test(short_vectors_and_two_hosts_gather),
        cmocka_unit_test(rounding_goes_to_the_nearest_even),
        cmocka_unit_test(what_is_held_back_comes_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
