/* Dealing a state to writers, the check of what they report, and the names of directories. */
#include "tests/unit/checkpoint_fixture.h"
#include "worker/checkpoint/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ODD 4u    /* tensor "odd" of the fixture, 18555 bytes */
#define WEIGHT 2u /* 37 x 113 floats */
#define GRADIENT 9u

static void pieces_of_all_writers_cover_everything_once(void **state)
{
    struct rk_layout *layout = fixture_layout(1, true);

    (void)state;
    for (uint32_t writers = 1; writers <= 64; writers++)
        for (uint32_t t = 0; t < layout->tensor_count; t++) {
            uint64_t covered = 0;
            uint32_t owners = 0;

            for (uint32_t w = 0; w < writers; w++) {
                struct piece piece;

                if (!parts_deal(layout, t, w, writers, &piece))
                    continue;
                assert_int_equal(piece.start * rk_dtype_size(layout->tensor[t].dtype), covered);
                covered += piece.bytes;
                owners++;
            }
            if (layout->tensor[t].kind != RK_TENSOR_STATE)
                assert_int_equal(owners, 0);
            else
                assert_int_equal(covered, layout->tensor[t].bytes);
            if (layout->tensor[t].kind == RK_TENSOR_STATE && layout->tensor[t].bytes == 0)
                assert_int_equal(owners, 1);
        }
    rk_layout_free(layout);
}

/* What a writer might report: one file, every tensor whole, "odd" in two pieces. */
static void make_manifest(struct manifest *m, struct rk_layout *layout)
{
    uint64_t offset = 4096;

    *m = (struct manifest){.layout = layout, .shard_count = 1};
    m->shard = calloc(1, sizeof *m->shard);
    m->piece = calloc(layout->tensor_count + 1, sizeof *m->piece);
    m->crc = calloc(64, sizeof *m->crc);
    assert_true(m->shard != NULL && m->piece != NULL && m->crc != NULL);
    for (uint32_t t = 0; t < layout->tensor_count; t++) {
        uint64_t left = layout->tensor[t].kind == RK_TENSOR_STATE ? layout->tensor[t].bytes : 0;
        uint64_t start = 0;

        while (left > 0) {
            uint64_t bytes = t == ODD && start == 0 ? 4096 : left;

            m->piece[m->piece_count++] =
                (struct piece){.tensor = t,
                               .start = start,
                               .count = bytes / rk_dtype_size(layout->tensor[t].dtype),
                               .bytes = bytes,
                               .offset = offset,
                               .crc = m->crc_count++};
            offset += (bytes + 4095) / 4096 * 4096;
            start += bytes;
            left -= bytes;
        }
    }
    m->shard[0].size = offset;
}

static struct piece *piece_of(struct manifest *m, uint32_t tensor, uint64_t start)
{
    for (size_t i = 0; i < m->piece_count; i++)
        if (m->piece[i].tensor == tensor && m->piece[i].start == start)
            return &m->piece[i];
    fail_msg("no such piece");
    return NULL;
}

static void move_back(struct manifest *m)
{
    piece_of(m, ODD, 4096)->start = 4095;
}
static void move_on(struct manifest *m)
{
    piece_of(m, ODD, 0)->start = 1;
}
static void past_the_end(struct manifest *m)
{
    piece_of(m, ODD, 4096)->start = 4097;
}
static void huge_start(struct manifest *m)
{
    piece_of(m, ODD, 4096)->start = UINT64_MAX;
}
static void twice(struct manifest *m)
{
    *piece_of(m, ODD, 4096) = *piece_of(m, ODD, 0);
}
static void missing(struct manifest *m)
{
    *piece_of(m, ODD, 0) = m->piece[--m->piece_count];
}
static void shared_bytes(struct manifest *m)
{
    piece_of(m, ODD, 4096)->offset = piece_of(m, ODD, 0)->offset;
}
static void unaligned(struct manifest *m)
{
    piece_of(m, WEIGHT, 0)->offset += 8;
}
static void outside_the_file(struct manifest *m)
{
    m->shard[0].size -= 4096;
}
static void huge_offset(struct manifest *m)
{
    piece_of(m, ODD, 0)->offset = UINT64_MAX - 4095;
}
static void no_such_tensor(struct manifest *m)
{
    piece_of(m, ODD, 0)->tensor = 100;
}
static void a_gradient(struct manifest *m)
{
    piece_of(m, ODD, 0)->tensor = GRADIENT;
}
static void no_such_file(struct manifest *m)
{
    piece_of(m, ODD, 0)->file = 1;
}
static void no_checksum(struct manifest *m)
{
    m->crc_count--;
}
static void bytes_do_not_fit_count(struct manifest *m)
{
    piece_of(m, WEIGHT, 0)->bytes--;
}

static void reports_that_are_wrong_are_refused(void **state)
{
    static void (*const wrong[])(struct manifest *) = {
        move_back,      move_on,      past_the_end, huge_start,       twice,
        missing,        shared_bytes, unaligned,    outside_the_file, huge_offset,
        no_such_tensor, a_gradient,   no_such_file, no_checksum,      bytes_do_not_fit_count};
    struct manifest m;

    (void)state;
    make_manifest(&m, fixture_layout(1, false));
    assert_int_equal(parts_check(&m, "the test", NULL), 0);
    parts_done(&m);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rk_why why = {.text = ""};

        make_manifest(&m, fixture_layout(1, false));
        wrong[i](&m);
        if (parts_check(&m, "the test", &why) != RK_EDATA)
            fail_msg("mistake %zu is not seen", i);
        assert_non_null(strstr(why.text, "the test: "));
        parts_done(&m);
    }
}

static void names_of_directories(void **state)
{
    static const char *const good[] = {"step-00000000.e0000",         "step-00000200.e0007",
                                       "step-123456789012.e12345",    "step-00000200.e0007.a2",
                                       "bad-step-00000200.e0007.a12", "bad-step-00000200.e0007.2"};
    static const char *const bad[] = {"",
                                      "step-",
                                      "step-1.e1",
                                      "step-00000200",
                                      "step-00000200.e7",
                                      "step-000000200.e0007",
                                      "step-00000200.e0007.a1",
                                      "step-00000200.e0007.a",
                                      "step-00000200.e0007/",
                                      "step-00000200.e0007.2",
                                      "../step-00000200.e0007",
                                      "step-99999999999999999999999.e0001",
                                      "step-00000001.e4294967296",
                                      "LATEST",
                                      ".reknit",
                                      "bad-"};
    struct dirname parsed;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!parts_dirname(good[i], &parsed))
            fail_msg("%s is not known", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parts_dirname(bad[i], &parsed))
            fail_msg("%s should not be", bad[i]);
    assert_true(parts_dirname("step-00000200.e0007.a12", &parsed));
    assert_int_equal(parsed.step, 200);
    assert_int_equal(parsed.epoch, 7);
    assert_int_equal(parsed.attempt, 12);
}

static void crc32c_is_castagnoli(void **state)
{
    (void)state;
    assert_int_equal(parts_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(parts_crc32c(parts_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_all_writers_cover_everything_once),
        cmocka_unit_test(reports_that_are_wrong_are_refused),
        cmocka_unit_test(names_of_directories),
        cmocka_unit_test(crc32c_is_castagnoli),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
