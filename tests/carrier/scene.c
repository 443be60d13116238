/* Hosts, talks and played ranks in one process; see scene.h. */
#include "tests/carrier/scene.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

void scene_init_as(struct scene *scene, const struct scene_kind *kind)
{
    uint32_t index = 0;

    *scene = (struct scene){.hosts = kind->hosts, .seed = kind->seed};
    memory_wires_init(kind->hosts, kind->seed, scene->wires);
    for (uint32_t h = 0; h < kind->hosts; h++)
        scene->world += kind->ranks[h];
    for (uint32_t h = 0; h < kind->hosts; h++) {
        struct arena_plan *plan = &scene->plan[h];

        scene->field[h].reduction = kind->reduction;
        field_init_as(&scene->field[h], h, kind->shards, kind->elements, kind->wide,
                      kind->state_bytes, kind->bucket);
        *plan = (struct arena_plan){.hosts = kind->hosts,
                                    /* not the place in the job */
                                    .host_index = kind->hosts - 1 - h,
                                    .world = scene->world,
                                    .carrier_job = 1,
                                    .shards = kind->shards,
                                    .wire = kind->wire,
                                    .local_count = kind->ranks[h]};
        for (uint32_t r = 0; r < kind->ranks[h]; r++) {
            plan->local[r].seat = field_seat(&scene->field[h], r);
            plan->local[r].index = index++;
        }
    }
}

void scene_init(struct scene *scene, uint32_t hosts, uint32_t shards, uint64_t elements,
                uint64_t state_bytes)
{
    struct scene_kind kind = {.hosts = hosts,
                              .shards = shards,
                              .elements = elements,
                              .state_bytes = state_bytes,
                              .ranks = {2, 2, 2, 2},
                              .seed = hosts * 1000 + elements};

    scene_init_as(scene, &kind);
}

void scene_done(struct scene *scene)
{
    for (uint32_t h = 0; h < scene->hosts; h++) {
        talk_free(scene->talk[h]);
        narrow_done(&scene->narrow[h]);
        field_done(&scene->field[h]);
    }
    memory_wires_done(scene->wires);
}

void scene_go_host(struct scene *scene, uint32_t h, rk_word word, rk_word lineage,
                   uint64_t deal_step)
{
    struct field *field = &scene->field[h];
    struct arena_plan *plan = &scene->plan[h];

    plan->word = word;
    plan->lineage = lineage;
    plan->deal_step = deal_step;
    atomic_store(&field->arena.header->agent[field->block].freeze_word, word);
    arena_go(&field->arena, field->block, plan);
    talk_free(scene->talk[h]);
    assert_int_equal(talk_new(&field->arena, scene->wires[h], &scene->narrow[h], field->block, plan,
                              &scene->talk[h], NULL),
                     0);
}

void scene_go(struct scene *scene, rk_word word, rk_word lineage, uint64_t deal_step)
{
    for (uint32_t h = 0; h < scene->hosts; h++)
        scene_go_host(scene, h, word, lineage, deal_step);
}

void scene_deal(struct scene *scene)
{
    uint32_t shards = scene->plan[0].shards;

    field_deal(shards, scene->world, tree_rank_buffers(shards), &scene->seed, scene->set);
}

void scene_compute(struct scene *scene, uint32_t host, uint64_t step)
{
    for (uint32_t r = 0; r < scene->plan[host].local_count; r++) {
        const struct arena_member *rank = &scene->plan[host].local[r];

        field_finish(&scene->field[host], rank->seat, &scene->plan[host], step,
                     scene->set[rank->index]);
        field_ready(&scene->field[host], rank->seat, &scene->plan[host], step);
    }
}

void scene_compute_all(struct scene *scene, uint64_t step)
{
    for (uint32_t h = 0; h < scene->hosts; h++)
        scene_compute(scene, h, step);
}

uint64_t scene_complete(const struct scene *scene, uint32_t host)
{
    return atomic_load(&scene->field[host].arena.header->complete_step);
}

int scene_turn(struct scene *scene)
{
    uint32_t h = (uint32_t)(field_next(&scene->seed) % scene->hosts);
    bool moved = false;

    return talk_turn(scene->talk[h], &moved, NULL);
}

void scene_run(struct scene *scene, uint64_t step, bool all)
{
    for (uint32_t turn = 0; turn < SCENE_TURNS; turn++) {
        uint32_t there = 0;

        for (uint32_t h = 0; h < scene->hosts; h++)
            there += scene_complete(scene, h) > step;
        if (there == scene->hosts || (there != 0 && !all))
            return;
        assert_int_equal(scene_turn(scene), 0);
    }
    fail_msg("step %llu is not complete after %u turns", (unsigned long long)step, SCENE_TURNS);
}

void scene_check(const struct scene *scene, uint64_t step)
{
    for (uint32_t h = 0; h < scene->hosts; h++)
        assert_true(field_result_is(&scene->field[h], step));
}
