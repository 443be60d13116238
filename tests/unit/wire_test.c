/* The codec of the control plane: what passes, what is refused, and with which code. */
#include "common/id.h"
#include "common/wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t token[WIRE_TOKEN_BYTES] = {1, 2, 3};

static Rk__Envelope envelope_make(Rk__Envelope__BodyCase kind)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    envelope.wire_version = WIRE_VERSION;
    envelope.token.data = token;
    envelope.token.len = sizeof token;
    envelope.epoch = 7;
    envelope.sender = 42;
    envelope.body_case = kind;
    return envelope;
}

static int through(const Rk__Envelope *envelope, size_t limit, Rk__Envelope **decoded)
{
    struct rk_why why = {""};
    uint8_t *data;
    size_t size;
    int rc;

    *decoded = NULL;
    assert_int_equal(wire_encode(envelope, &data, &size), 0);
    rc = wire_decode(data, size, limit, decoded, &why);
    free(data);
    if (rc)
        assert_true(why.text[0] != '\0');
    return rc;
}

static int refusal(const Rk__Envelope *envelope)
{
    Rk__Envelope *decoded;
    int rc = through(envelope, WIRE_MAX_FRAME, &decoded);

    wire_free(decoded);
    return rc;
}

static void test_round_trip(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_HELLO);
    Rk__Hello hello = RK__HELLO__INIT;
    Rk__RankStatus rank = RK__RANK_STATUS__INIT;
    Rk__RankStatus *ranks[] = {&rank};
    Rk__Number number = RK__NUMBER__INIT;
    Rk__Number *numbers[] = {&number};
    Rk__Envelope *decoded;

    (void)state;
    envelope.hello = &hello;
    hello.host = UINT64_MAX;
    hello.host_name = "node-a";
    hello.slots = 2;
    hello.rank = ranks;
    hello.n_rank = 1;
    rank.slot = 1;
    rank.rank = 5;
    rank.state = RK__RANK_STATE__RANK_MEMBER;
    rank.position = 12345;
    rank.numbers = numbers;
    rank.n_numbers = 1;
    number.name = "loss";
    number.value = 2.5;
    assert_int_equal(through(&envelope, WIRE_MAX_STRANGER, &decoded), 0);
    assert_int_equal(decoded->epoch, 7);
    assert_int_equal(decoded->sender, 42);
    assert_string_equal(wire_kind(decoded), "hello");
    assert_true(decoded->hello->host == UINT64_MAX);
    assert_string_equal(decoded->hello->host_name, "node-a");
    assert_int_equal(decoded->hello->rank[0]->position, 12345);
    assert_string_equal(decoded->hello->rank[0]->numbers[0]->name, "loss");
    assert_true(decoded->hello->rank[0]->numbers[0]->value == 2.5);
    wire_free(decoded);
}

static void test_head_is_checked(void **state)
{
    Rk__Goodbye goodbye = RK__GOODBYE__INIT;
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_GOODBYE);
    Rk__Envelope *decoded;

    (void)state;
    envelope.goodbye = &goodbye;
    assert_int_equal(refusal(&envelope), 0);
    envelope.token.len = 31;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    envelope.token.len = 32;
    envelope.sender = 0;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    envelope.sender = 42;
    envelope.epoch = 1u << 24;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    envelope = envelope_make(RK__ENVELOPE__BODY__NOT_SET);
    assert_int_equal(refusal(&envelope), RK_EDATA);

    envelope.wire_version = 99;
    assert_int_equal(through(&envelope, WIRE_MAX_FRAME, &decoded), RK_EVERSION);
    assert_non_null(decoded);
    assert_memory_equal(decoded->token.data, token, sizeof token);
    wire_free(decoded);
}

static void test_garbage(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    Rk__Envelope *decoded = NULL;

    (void)state;
    assert_int_equal(wire_decode(garbage, sizeof garbage, WIRE_MAX_FRAME, &decoded, NULL),
                     RK_EDATA);
    assert_int_equal(wire_decode(garbage, 0, WIRE_MAX_FRAME, &decoded, NULL), RK_EDATA);
    assert_null(decoded);
}

static void test_frame_limit(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_SHARD_WRITTEN);
    Rk__ShardWritten written = RK__SHARD_WRITTEN__INIT;
    Rk__Envelope *decoded;
    size_t size = 4u << 20;
    uint8_t *data;

    (void)state;
    written.report.data = calloc(1, size + 1);
    written.report.len = size;
    envelope.shard_written = &written;
    assert_int_equal(through(&envelope, WIRE_MAX_FRAME, &decoded), 0);
    assert_int_equal(decoded->shard_written->report.len, size);
    wire_free(decoded);
    assert_int_equal(through(&envelope, WIRE_MAX_STRANGER, &decoded), RK_EFULL);
    written.report.len = size + 1;
    assert_int_equal(refusal(&envelope), RK_EFULL);
    free(written.report.data);

    written.report.data = calloc(1, WIRE_MAX_FRAME);
    written.report.len = WIRE_MAX_FRAME;
    assert_int_equal(wire_encode(&envelope, &data, &size), RK_EFULL);
    free(written.report.data);
}

static void test_lists_are_bounded(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_HEARTBEAT);
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;
    Rk__RankStatus rank[RK_MAX_SLOTS + 1];
    Rk__RankStatus *ranks[RK_MAX_SLOTS + 1];

    (void)state;
    for (uint32_t i = 0; i <= RK_MAX_SLOTS; i++) {
        rk__rank_status__init(&rank[i]);
        rank[i].slot = i;
        ranks[i] = &rank[i];
    }
    envelope.heartbeat = &heartbeat;
    heartbeat.rank = ranks;
    heartbeat.n_rank = RK_MAX_SLOTS;
    assert_int_equal(refusal(&envelope), 0);
    heartbeat.n_rank = RK_MAX_SLOTS + 1;
    assert_int_equal(refusal(&envelope), RK_EFULL);
    heartbeat.n_rank = 2;
    rank[1].slot = 0;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    rank[1].slot = RK_MAX_SLOTS;
    assert_int_equal(refusal(&envelope), RK_EDATA);
}

/* Two bytes on the wire make a struct of a hundred: the claim must be refused, not paid. */
static void test_memory_is_bounded(void **state)
{
    size_t count = 1u << 20;
    uint8_t *frame = malloc(2 * count + 8);
    Rk__Envelope *decoded = NULL;
    size_t at = 0;

    (void)state;
    assert_non_null(frame);
    frame[at++] = 0x5a; /* field 11, heartbeat, of 2 * count bytes */
    for (size_t left = 2 * count; left > 0; left >>= 7)
        frame[at++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    for (size_t i = 0; i < count; i++) {
        frame[at++] = 0x12; /* field 2, rank, empty */
        frame[at++] = 0x00;
    }
    assert_int_equal(wire_decode(frame, at, WIRE_MAX_FRAME, &decoded, NULL), RK_EFULL);
    free(frame);
}

static void test_values_are_checked(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_HEARTBEAT);
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;
    Rk__RankStatus rank = RK__RANK_STATUS__INIT;
    Rk__RankStatus *ranks[] = {&rank};
    Rk__Number number = RK__NUMBER__INIT;
    Rk__Number *numbers[] = {&number};

    (void)state;
    envelope.heartbeat = &heartbeat;
    heartbeat.rank = ranks;
    heartbeat.n_rank = 1;
    rank.state = (Rk__RankState)17;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    rank.state = RK__RANK_STATE__RANK_READY;
    rank.numbers = numbers;
    rank.n_numbers = 1;
    number.name = "loss";
    assert_int_equal(refusal(&envelope), 0);
    number.value = NAN;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    number.value = (double)INFINITY;
    assert_int_equal(refusal(&envelope), RK_EDATA);
}

static void test_strings_are_bounded(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_GOODBYE);
    Rk__Goodbye goodbye = RK__GOODBYE__INIT;
    char text[4098];

    (void)state;
    memset(text, 'x', sizeof text);
    text[4096] = '\0';
    goodbye.why = text;
    envelope.goodbye = &goodbye;
    assert_int_equal(refusal(&envelope), 0);
    text[4096] = 'x';
    text[4097] = '\0';
    assert_int_equal(refusal(&envelope), RK_EFULL);
}

static void test_pairs_and_ranges(void **state)
{
    Rk__Envelope envelope = envelope_make(RK__ENVELOPE__BODY_LAUNCH);
    Rk__Launch launch = RK__LAUNCH__INIT;
    Rk__Welcome welcome = RK__WELCOME__INIT;
    Rk__Hello hello = RK__HELLO__INIT;
    uint32_t numbers[] = {1, 2};

    (void)state;
    envelope.launch = &launch;
    launch.ticket = launch.place = numbers;
    launch.n_ticket = 2;
    launch.n_place = 1;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    launch.n_place = 2;
    assert_int_equal(refusal(&envelope), 0);

    envelope = envelope_make(RK__ENVELOPE__BODY_WELCOME);
    envelope.welcome = &welcome;
    welcome.shards = 48;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    welcome.shards = 2048;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    welcome.shards = 64;
    assert_int_equal(refusal(&envelope), 0);

    envelope = envelope_make(RK__ENVELOPE__BODY_HELLO);
    envelope.hello = &hello;
    hello.host = 1;
    hello.slots = RK_MAX_SLOTS + 1;
    assert_int_equal(refusal(&envelope), RK_EDATA);
    hello.slots = 1;
    hello.host = 0;
    assert_int_equal(refusal(&envelope), RK_EDATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_head_is_checked),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_frame_limit),
        cmocka_unit_test(test_lists_are_bounded),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_values_are_checked),
        cmocka_unit_test(test_strings_are_bounded),
        cmocka_unit_test(test_pairs_and_ranges),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
