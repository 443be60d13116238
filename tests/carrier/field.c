/* Played ranks and their serial sums; see field.h. */
#include "tests/carrier/field.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int rc, const struct rk_why *why)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "field: %d: %s\n", rc, why->text);
    abort();
}

uint64_t field_next(uint64_t *seed)
{
    uint64_t x = (*seed += UINT64_C(0x9e3779b97f4a7c15));

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void field_init_as(struct field *field, uint32_t host, uint32_t shards, uint64_t elements,
                   uint64_t wide, uint64_t state_bytes, uint64_t bucket)
{
    struct rk_why why = {""};
    struct rk_layout *layout = rk_layout_new(1, shards);
    int block;

    *field = (struct field){.shards = shards,
                            .state_bytes = state_bytes,
                            .reduction = field->reduction,
                            .arena = {.fd = -1}};
    must(arena_create(&field->arena, (struct rk_host_id){host + 1}, shards, &why), &why);
    arena_set_job(&field->arena, shards, field->reduction, false);
    layout->bucket = bucket;
    if (elements != 0)
        must(rk_layout_add(&layout, RK_TENSOR_GRADIENT, "g", 1, 1, &elements, &why), &why);
    if (wide != 0)
        must(rk_layout_add(&layout, RK_TENSOR_GRADIENT, "w", 2, 1, &wide, &why), &why);
    if (state_bytes != 0)
        must(rk_layout_add(&layout, RK_TENSOR_STATE, "s", 5, 1, &state_bytes, &why), &why);
    must(arena_declare(&field->arena, layout, &why), &why);
    field->elements = rk_layout_grad_bytes(layout) / sizeof(float);
    field->wide = rk_layout_grad_wide_from(layout) / sizeof(float);
    rk_layout_free(layout);
    block = arena_agent_claim(&field->arena, (struct rk_worker_id){host + 1});
    must(block, &why);
    field->block = (uint32_t)block;
}

void field_init(struct field *field, uint32_t host, uint32_t shards, uint64_t elements,
                uint64_t state_bytes)
{
    field->reduction = ARENA_EXACT;
    field_init_as(field, host, shards, elements, 0, state_bytes, 0);
}

void field_done(struct field *field)
{
    arena_close(&field->arena);
}

uint32_t field_seat(struct field *field, uint32_t slot)
{
    struct rk_why why = {""};
    int seat = arena_seat_claim(&field->arena, (struct rk_worker_id){1}, slot, slot, false);

    must(seat, &why);
    must(arena_seat_allocate(&field->arena, (uint32_t)seat, &why), &why);
    return (uint32_t)seat;
}

/* Numbers of very different size, so that another order of adding shows in the bits. */
static float value_of(uint64_t step, uint32_t shard, uint64_t element)
{
    uint64_t seed = step * 1000003 + shard * 7919 + element;
    uint64_t bits = field_next(&seed);
    float value = (float)(int64_t)(bits & 0xffffff) - 8388607.5f;

    return value * (float)(1u << (bits >> 40 & 15));
}

static struct tree_node child_of(struct tree_node node, uint32_t right)
{
    return (struct tree_node){.level = (uint16_t)(node.level - 1),
                              .index = (uint16_t)(node.index * 2u + right)};
}

static float value32(uint64_t step, struct tree_node node, uint64_t element)
{
    if (node.level == 0)
        return value_of(step, node.index, element);
    return value32(step, child_of(node, 0), element) + value32(step, child_of(node, 1), element);
}

static double value64(uint64_t step, struct tree_node node, uint64_t element)
{
    if (node.level == 0)
        return (double)value_of(step, node.index, element) * 1.000000007;
    return value64(step, child_of(node, 0), element) + value64(step, child_of(node, 1), element);
}

void field_sum(const struct field *field, uint64_t step, struct tree_node node, uint64_t from,
               uint64_t count, float *out)
{
    step = field->still ? 0 : step;
    for (uint64_t e = from; e < from + count;) {
        double wide;

        if (e < field->wide) {
            *out++ = value32(step, node, e++);
            continue;
        }
        wide = value64(step, node, e);
        memcpy(out, &wide, sizeof wide);
        out += 2;
        e += 2;
    }
}

static uint32_t nodes_of(const uint64_t *set, uint32_t shards, struct tree_node *node)
{
    struct tree_node single[RK_MAX_SHARDS];
    uint32_t count = 0;

    for (uint32_t s = 0; s < shards; s++)
        if (tree_set_has(set, s))
            single[count++] = (struct tree_node){.level = 0, .index = (uint16_t)s};
    return tree_join(single, count, node);
}

static void table_of(const struct field *field, const struct arena_plan *plan, uint64_t step,
                     const uint64_t *set, struct arena_table *table)
{
    struct tree_node node[RK_MAX_SHARDS];
    uint32_t count = nodes_of(set, field->shards, node);

    bool fast = field->reduction == ARENA_FAST;

    if (count > tree_rank_buffers(field->shards) || count > TREE_MAX_NODES)
        abort();
    *table = (struct arena_table){
        .step = step, .lineage = arena_plan_lineage(plan, step), .count = count};
    for (uint32_t n = 0; n < count; n++)
        table->node[n] = (struct arena_node){.node = node[n], .buffer = fast ? 1 : n};
}

/* Elements from .. from + count - 1 of the partial sums of a table, where they belong: several
 * nodes of one buffer are added up. */
static void make_sums(struct field *field, uint32_t seat, const struct arena_table *table,
                      uint64_t step, uint64_t from, uint64_t count)
{
    float *one = malloc(count * sizeof *one + 1);

    if (one == NULL)
        abort();
    for (uint32_t n = 0; n < table->count; n++) {
        float *sum = arena_buffer(&field->arena, seat, table->node[n].buffer);
        bool first = n == 0 || table->node[n].buffer != table->node[n - 1].buffer;
        struct tree_part parts[] = {tree_part_f32((struct tree_node){0}, sum),
                                    tree_part_f32((struct tree_node){0}, one - from)};

        field_sum(field, step, table->node[n].node, from, count, first ? sum + from : one);
        if (!first && count != 0)
            arena_sum(&field->arena, parts, 2, TREE_SERIAL, from, count, false, sum);
    }
    free(one);
}

static void publish(struct arena_seat *at, const struct arena_table *table)
{
    uint32_t active = (atomic_load(&at->active) + 1) & 1;

    at->table[active] = *table;
    atomic_store(&at->active, active);
}

void field_finish(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step,
                  const uint64_t *set)
{
    struct arena_table table;

    table_of(field, plan, step, set, &table);
    make_sums(field, seat, &table, step, 0, field->elements);
    publish(&field->arena.header->seat[seat], &table);
}

void field_trash(struct field *field, uint32_t seat)
{
    for (uint32_t b = 0; b < arena_partial_buffers(field->arena.header); b++)
        memset(arena_buffer(&field->arena, seat, b), 0xa5, field->elements * sizeof(float));
}

void field_announce(struct field *field, uint32_t seat, const struct arena_plan *plan,
                    uint64_t step, const uint64_t *set)
{
    struct arena_table table;

    table_of(field, plan, step, set, &table);
    field_trash(field, seat);
    arena_announce(&field->arena.header->seat[seat], arena_tick(plan->word, step), &table);
    arena_ring(&field->arena);
}

void field_release(struct field *field, uint32_t seat, uint64_t step, uint32_t b)
{
    struct arena_seat *at = &field->arena.header->seat[seat];
    uint64_t from;
    uint64_t count;

    arena_bucket_range(&field->arena, b, &from, &count);
    make_sums(field, seat, &at->final, step, from, count);
    arena_bucket_done(at, b);
    arena_ring(&field->arena);
}

void field_publish(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step)
{
    struct arena_seat *at = &field->arena.header->seat[seat];

    publish(at, &at->final);
    arena_ready(&field->arena, at, arena_tick(plan->word, step));
}

void field_ready(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step)
{
    struct arena_seat *at = &field->arena.header->seat[seat];
    const struct arena_table *table = arena_table_of(at, step, arena_plan_lineage(plan, step));
    struct arena_table none = {.step = step};

    arena_announce(at, arena_tick(plan->word, step), table == NULL ? &none : table);
    arena_ready(&field->arena, at, arena_tick(plan->word, step));
}

void field_deal(uint32_t shards, uint32_t ranks, uint32_t most, uint64_t *seed,
                uint64_t set[][RK_MAX_SHARDS / 64])
{
    if (ranks == 0)
        abort();
    for (uint32_t r = 0; r < ranks; r++)
        memset(set[r], 0, sizeof set[r]);
    for (uint32_t s = 0; s < shards; s++) {
        uint32_t rank = (uint32_t)(field_next(seed) % ranks);
        struct tree_node node[RK_MAX_SHARDS];

        tree_set_add(set[rank], s);
        for (uint32_t r = 0; nodes_of(set[rank], shards, node) > most; r++) {
            set[rank][s / 64] &= ~(UINT64_C(1) << (s % 64));
            rank = r;
            if (rank == ranks)
                abort();
            tree_set_add(set[rank], s);
        }
    }
}

/* How far two orders of adding what `element` is made of may be apart. */
static double apart(const struct field *field, uint64_t step, uint64_t element, double digits)
{
    double size = 0;

    for (uint32_t s = 0; s < field->shards; s++)
        size += fabs((double)value_of(field->still ? 0 : step, s, element));
    return size * field->shards * digits;
}

static bool is_near(const struct field *field, uint64_t step, uint64_t from, const float *sum)
{
    const float *result = arena_result(&field->arena);

    for (uint64_t e = from; e < field->elements; e++) {
        double off = (double)result[e] - (double)sum[e - from];
        bool wide = e >= field->wide;

        if (wide) {
            double pair[2];

            memcpy(&pair[0], &result[e], sizeof pair[0]);
            memcpy(&pair[1], &sum[e - from], sizeof pair[1]);
            off = pair[0] - pair[1];
        }
        if (!(fabs(off) <= apart(field, step, e, wide ? 0x1p-51 : 0x1p-23)))
            return false;
        e += wide;
    }
    return true;
}

static bool result_is_from(const struct field *field, uint64_t step, uint64_t from)
{
    struct tree_node root = {.level = (uint16_t)tree_log2(field->shards)};
    uint64_t count = field->elements - from;
    float *sum = calloc(count + 1, sizeof *sum);
    bool same;

    if (sum == NULL)
        abort();
    field_sum(field, step, root, from, count, sum);
    same = field->reduction == ARENA_FAST
               ? is_near(field, step, from, sum)
               : memcmp(sum, arena_result(&field->arena) + from, count * sizeof *sum) == 0;
    free(sum);
    return same;
}

bool field_result_is(const struct field *field, uint64_t step)
{
    return result_is_from(field, step, 0);
}

bool field_wide_result_is(const struct field *field, uint64_t step)
{
    return field->wide >= field->elements || result_is_from(field, step, field->wide);
}

static unsigned char state_byte(uint64_t step, uint64_t at)
{
    return (unsigned char)(step * 31 + at * 7 + (at >> 8));
}

void field_snapshot(struct field *field, uint64_t step)
{
    int snapshot = arena_snapshot_pick(&field->arena);
    unsigned char *data;

    if (snapshot < 0)
        abort();
    data = arena_snapshot_data(&field->arena, (uint32_t)snapshot);
    arena_snapshot_begin(&field->arena, (uint32_t)snapshot);
    for (uint64_t b = 0; b < field->state_bytes; b++)
        data[b] = state_byte(step, b);
    arena_snapshot_commit(&field->arena, (uint32_t)snapshot, step);
}

bool field_snapshot_is(const struct field *field, uint64_t step)
{
    int snapshot = arena_snapshot_find(&field->arena, step);
    const unsigned char *data;

    if (snapshot < 0)
        return false;
    data = arena_snapshot_data(&field->arena, (uint32_t)snapshot);
    for (uint64_t b = 0; b < field->state_bytes; b++)
        if (data[b] != state_byte(step, b))
            return false;
    return true;
}
