/* Layouts: offsets, comparison, and refusal of every damaged byte that matters. */
#include "common/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rk_layout *sample(uint64_t seed)
{
    struct rk_layout *layout = rk_layout_new(seed, 32);

    assert_int_equal(
        rk_layout_add(&layout, RK_TENSOR_STATE, "weights", 1, 2, (uint64_t[]){30, 40}, NULL), 0);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "step", 4, 0, NULL, NULL), 0);
    assert_int_equal(
        rk_layout_add(&layout, RK_TENSOR_STATE, "empty", 2, 3, (uint64_t[]){5, 0, 7}, NULL), 0);
    assert_int_equal(
        rk_layout_add(&layout, RK_TENSOR_GRADIENT, "weights", 1, 1, (uint64_t[]){1200}, NULL), 0);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_GRADIENT, "loss", 1, 0, NULL, NULL), 0);
    return layout;
}

static void tensors_lie_one_after_the_other(void **state)
{
    struct rk_layout *layout = sample(1);

    (void)state;
    assert_int_equal(layout->tensor[0].bytes, 4800);
    assert_int_equal(layout->tensor[1].offset, 2 * RK_LAYOUT_ALIGN);
    assert_int_equal(layout->tensor[1].bytes, 8);
    assert_int_equal(layout->tensor[2].bytes, 0);
    assert_int_equal(layout->state_bytes, 3 * RK_LAYOUT_ALIGN);
    assert_int_equal(layout->tensor[4].offset, 4800);
    assert_int_equal(layout->grad_narrow, 4800 + RK_LAYOUT_GRAD_ALIGN);
    assert_int_equal(rk_layout_check(layout, layout->bytes, NULL), 0);
    rk_layout_free(layout);
}

static void bad_tensors_are_refused_and_change_nothing(void **state)
{
    struct rk_layout *layout = sample(1);
    uint64_t bytes = layout->bytes;
    struct rk_why why;
    char name[RK_LAYOUT_NAME_MAX + 2];

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "", 1, 0, NULL, &why), RK_EINVAL);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, name, 1, 0, NULL, &why), RK_EINVAL);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "a b", 1, 0, NULL, &why), RK_EINVAL);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "weights", 1, 0, NULL, &why),
                     RK_EEXIST);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "t", 9, 0, NULL, &why), RK_EINVAL);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "t", 1, 9, (uint64_t[9]){1}, &why),
                     RK_EINVAL);
    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "t", 2, 2,
                                   (uint64_t[]){UINT64_C(1) << 40, UINT64_C(1) << 40}, &why),
                     RK_EINVAL);
    assert_non_null(strstr(why.text, "overflows"));
    assert_int_equal(layout->bytes, bytes);
    rk_layout_free(layout);
}

static void differences_are_named(void **state)
{
    struct rk_layout *mine = sample(1);
    struct rk_layout *theirs = sample(1);
    struct rk_layout *other_seed = sample(2);
    struct rk_why why;

    (void)state;
    assert_int_equal(rk_layout_compare(mine, "rank 1", theirs, "rank 0", &why), 0);
    assert_int_equal(rk_layout_compare(mine, "rank 1", other_seed, "rank 0", &why), RK_ELAYOUT);
    assert_non_null(strstr(why.text, "seed"));
    theirs->tensor[1].dtype = 2;
    assert_int_equal(rk_layout_compare(mine, "rank 1", theirs, "rank 0", &why), RK_ELAYOUT);
    assert_non_null(strstr(why.text, "tensor 1"));
    rk_layout_free(mine);
    rk_layout_free(theirs);
    rk_layout_free(other_seed);
}

/* Every bit of the piece: what still checks out must still be a layout of these very sizes. */
static void damage_never_passes_as_other_sizes(void **state)
{
    struct rk_layout *layout = sample(1);
    size_t size = (size_t)layout->bytes;
    unsigned char *copy = malloc(size);

    (void)state;
    assert_non_null(copy);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        struct rk_layout *damaged = (struct rk_layout *)copy;

        memcpy(copy, layout, size);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (rk_layout_check(copy, size, NULL) != 0)
            continue;
        assert_int_equal(damaged->tensor_count, layout->tensor_count);
        assert_int_equal(damaged->state_bytes, layout->state_bytes);
        assert_int_equal(damaged->grad_narrow, layout->grad_narrow);
        assert_int_equal(damaged->grad_wide, layout->grad_wide);
        for (uint32_t t = 0; t < layout->tensor_count; t++)
            assert_int_equal(damaged->tensor[t].bytes, layout->tensor[t].bytes);
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_true(rk_layout_check(layout, cut, NULL) < 0);
    free(copy);
    rk_layout_free(layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_lie_one_after_the_other),
        cmocka_unit_test(bad_tensors_are_refused_and_change_nothing),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(damage_never_passes_as_other_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
