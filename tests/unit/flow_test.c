/* A stream over a connection that loses messages: nothing is lost, nothing comes twice, and no end
 * ever holds more than the window. */
#include "common/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOTAL 1000000u

/* The byte at an offset of the stream. */
static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / 251);
}

struct world {
    struct flow_out out;
    struct flow_in in;
    uint64_t put, got;
    uint32_t random;
};

static uint32_t draw(struct world *world, uint32_t below)
{
    world->random = world->random * 1664525u + 1013904223u;
    return (world->random >> 8) % below;
}

static void put_some(struct world *world)
{
    uint8_t data[5000];
    size_t size = flow_out_room(&world->out);

    if (size > sizeof data)
        size = draw(world, sizeof data) + 1;
    if (world->put + size > TOTAL)
        size = (size_t)(TOTAL - world->put);
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(world->put + i);
    assert_true(flow_out_put(&world->out, data, size));
    world->put += size;
    if (world->put == TOTAL)
        flow_out_end(&world->out);
}

/* `lossy`: one message in four does not arrive. */
static void carry(struct world *world, bool lossy)
{
    struct flow_piece piece;
    uint64_t offset;

    while (flow_out_next(&world->out, &piece)) {
        assert_true(piece.size <= FLOW_PIECE);
        flow_out_sent(&world->out, &piece);
        if (!lossy || draw(world, 4) != 0)
            assert_true(flow_in_put(&world->in, &piece));
    }
    if (!flow_in_due(&world->in, &offset))
        return;
    flow_in_told(&world->in, offset);
    if (!lossy || draw(world, 4) != 0)
        flow_out_taken(&world->out, offset);
}

static void take_some(struct world *world)
{
    size_t size = world->in.used;

    if (size > 1)
        size = draw(world, (uint32_t)size) + 1;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(world->in.data[i], byte_at(world->got + i));
    flow_in_take(&world->in, size);
    world->got += size;
}

static void run(struct world *world, bool lossy)
{
    for (unsigned turn = 0; !world->out.over; turn++) {
        assert_true(turn < 100000);
        put_some(world);
        carry(world, lossy);
        assert_true(world->in.used <= FLOW_WINDOW && world->out.used <= FLOW_WINDOW);
        take_some(world);
        flow_in_over(&world->in);
        if (lossy && draw(world, 8) == 0) { /* another connection */
            flow_out_again(&world->out);
            flow_in_again(&world->in);
        }
    }
    assert_int_equal(world->got, TOTAL);
    assert_true(flow_in_over(&world->in));
    assert_null(world->in.data); /* nothing is kept */
    assert_null(world->out.data);
    flow_out_done(&world->out);
    flow_in_done(&world->in);
}

static void test_all_arrives(void **state)
{
    struct world world = {.random = 1};

    (void)state;
    run(&world, false);
}

static void test_losses(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct world world = {.random = seed};

        run(&world, true);
    }
}

static void test_a_reader_that_does_not_read(void **state)
{
    struct world world = {.random = 7};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        put_some(&world);
        carry(&world, false);
    }
    assert_int_equal(flow_out_room(&world.out), 0);
    assert_int_equal(world.put, FLOW_WINDOW); /* what is not taken is kept at both ends */
    flow_out_done(&world.out);
    flow_in_done(&world.in);
}

static void test_an_empty_stream(void **state)
{
    struct flow_out out = {0};
    struct flow_in in = {0};
    struct flow_piece piece;
    uint64_t offset;

    (void)state;
    assert_false(flow_out_next(&out, &piece));
    flow_out_end(&out);
    assert_true(flow_out_next(&out, &piece));
    assert_true(piece.end && piece.size == 0);
    flow_out_sent(&out, &piece);
    assert_false(flow_out_next(&out, &piece));
    assert_true(flow_in_put(&in, &piece));
    assert_false(flow_in_due(&in, &offset)); /* its end was not seen yet */
    assert_true(flow_in_over(&in));
    assert_true(flow_in_due(&in, &offset));
    flow_out_taken(&out, offset);
    assert_true(out.over);
    flow_out_taken(&out, offset + 5); /* a lie changes nothing */
    assert_false(flow_out_next(&out, &piece));
}

static void test_pieces_that_do_not_fit(void **state)
{
    const uint8_t data[] = "abcdef";
    struct flow_in in = {0};

    (void)state;
    assert_true(flow_in_put(&in, &(struct flow_piece){2, data + 2, 2, false})); /* a gap */
    assert_int_equal(in.used, 0);
    assert_true(flow_in_put(&in, &(struct flow_piece){0, data, 3, false}));
    assert_true(flow_in_put(&in, &(struct flow_piece){1, data + 1, 4, false}));
    assert_int_equal(in.used, 5);
    assert_memory_equal(in.data, "abcde", 5);
    assert_true(flow_in_put(&in, &(struct flow_piece){5, data + 5, 1, true}));
    assert_true(flow_in_put(&in, &(struct flow_piece){6, data, 6, false})); /* behind the end */
    assert_int_equal(in.used, 6);
    assert_false(flow_in_over(&in));
    flow_in_drop(&in);
    assert_true(flow_in_over(&in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_arrives),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_a_reader_that_does_not_read),
        cmocka_unit_test(test_an_empty_stream),
        cmocka_unit_test(test_pieces_that_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
