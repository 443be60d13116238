/* Played ranks and their serial sums; see field.h. */
#include "tests/carrier/field.h"

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

void field_init(struct field *field, uint32_t host, uint32_t shards, uint64_t elements,
                uint64_t state_bytes)
{
    struct rk_why why = {""};
    struct rk_layout *layout = rk_layout_new(1, shards);
    int block;

    *field = (struct field){
        .shards = shards, .elements = elements, .state_bytes = state_bytes, .arena = {.fd = -1}};
    must(arena_create(&field->arena, (struct rk_host_id){host + 1}, shards, &why), &why);
    if (elements != 0)
        must(rk_layout_add(&layout, RK_TENSOR_GRADIENT, "g", 1, 1, &elements, &why), &why);
    if (state_bytes != 0)
        must(rk_layout_add(&layout, RK_TENSOR_STATE, "s", 5, 1, &state_bytes, &why), &why);
    must(arena_declare(&field->arena, layout, &why), &why);
    rk_layout_free(layout);
    block = arena_agent_claim(&field->arena, (struct rk_worker_id){host + 1});
    must(block, &why);
    field->block = (uint32_t)block;
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

void field_sum(uint64_t step, struct tree_node node, uint64_t elements, float *out)
{
    struct tree_node left = {.level = (uint16_t)(node.level - 1),
                             .index = (uint16_t)(node.index * 2)};
    struct tree_node right = {.level = left.level, .index = (uint16_t)(left.index + 1)};
    float *other;

    if (node.level == 0) {
        for (uint64_t e = 0; e < elements; e++)
            out[e] = value_of(step, node.index, e);
        return;
    }
    other = malloc(elements * sizeof *other + 1);
    if (other == NULL)
        abort();
    field_sum(step, left, elements, out);
    field_sum(step, right, elements, other);
    for (uint64_t e = 0; e < elements; e++)
        out[e] += other[e];
    free(other);
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

void field_finish(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step,
                  const uint64_t *set)
{
    struct arena_seat *at = &field->arena.header->seat[seat];
    struct tree_node node[RK_MAX_SHARDS];
    uint32_t count = nodes_of(set, field->shards, node);
    uint32_t active = (atomic_load(&at->active) + 1) & 1;
    struct arena_table *table = &at->table[active];

    if (count > tree_rank_buffers(field->shards) || count > TREE_MAX_NODES)
        abort();
    table->step = step;
    table->lineage = arena_plan_lineage(plan, step);
    table->count = count;
    for (uint32_t n = 0; n < count; n++) {
        table->node[n] = (struct arena_node){.node = node[n], .buffer = n};
        field_sum(step, node[n], field->elements, arena_buffer(&field->arena, seat, n));
    }
    atomic_store(&at->active, active);
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

bool field_result_is(const struct field *field, uint64_t step)
{
    struct tree_node root = {.level = (uint16_t)tree_log2(field->shards)};
    float *sum = malloc(field->elements * sizeof *sum + 1);
    bool same;

    if (sum == NULL)
        abort();
    field_sum(step, root, field->elements, sum);
    same = memcmp(sum, arena_result(&field->arena), field->elements * sizeof *sum) == 0;
    free(sum);
    return same;
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
