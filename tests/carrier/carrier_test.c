/* Carriers as processes: started by mpirun and reknit-rsh over the loopback interface, exchanging
 * steps of played ranks between hosts that share no memory, through freezes and kills. */
#include "tests/carrier/agents.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *programs;

static uint64_t complete_of(const struct agents *agents, uint32_t host)
{
    return atomic_load(&agents->host[host].field.arena.header->complete_step);
}

static bool all_complete(const struct agents *agents, uint64_t step)
{
    for (uint32_t h = 0; h < agents->hosts; h++)
        if (complete_of(agents, h) <= step)
            return false;
    return true;
}

static uint32_t world_of(const struct agents *agents)
{
    uint32_t world = 0;

    for (uint32_t h = 0; h < agents->hosts; h++)
        world += agents->host[h].plan.local_count;
    return world;
}

/* The ranks of all hosts compute `step`, with uneven shares that `seed` draws. */
static void compute(struct agents *agents, uint64_t step, uint64_t *seed)
{
    uint32_t shards = agents->host[0].plan.shards;
    uint64_t set[AGENTS_HOSTS * AGENTS_RANKS][RK_MAX_SHARDS / 64];
    uint32_t rank = 0;

    field_deal(shards, world_of(agents), tree_rank_buffers(shards), seed, set);
    for (uint32_t h = 0; h < agents->hosts; h++)
        for (uint32_t r = 0; r < agents->host[h].plan.local_count; r++)
            field_finish(&agents->host[h].field, agents->host[h].plan.local[r].seat,
                         &agents->host[h].plan, step, set[rank++]);
}

static void announce(struct agents *agents, uint64_t step)
{
    for (uint32_t h = 0; h < agents->hosts; h++)
        for (uint32_t r = 0; r < agents->host[h].plan.local_count; r++)
            field_ready(&agents->host[h].field, agents->host[h].plan.local[r].seat,
                        &agents->host[h].plan, step);
}

static void finish(struct agents *agents, uint64_t step)
{
    AGENTS_UNTIL(agents, all_complete(agents, step), "a step is not finished");
    for (uint32_t h = 0; h < agents->hosts; h++)
        assert_true(field_result_is(&agents->host[h].field, step));
}

static void take_step(struct agents *agents, uint64_t step, uint64_t *seed)
{
    compute(agents, step, seed);
    announce(agents, step);
    finish(agents, step);
}

static void launch(struct agents *agents)
{
    agents_launch(agents);
    AGENTS_UNTIL(agents, agents_carriers(agents) == agents->hosts, "carriers do not come up");
    assert_int_equal(agents->daemons, agents->hosts);
}

/* The plan says that one host is left: all go, and mpirun is content. */
static void dismiss(struct agents *agents, rk_word word)
{
    agents_freeze(agents, word, true);
    for (uint32_t h = 0; h < agents->hosts; h++)
        agents->host[h].plan.hosts = 1;
    agents_go(agents, word, word, 0);
    AGENTS_UNTIL(agents, agents->mpirun == 0, "mpirun does not end");
    AGENTS_UNTIL(agents, agents_carriers(agents) == 0, "a carrier does not leave");
    assert_true(WIFEXITED(agents->mpirun_status));
    assert_int_equal(WEXITSTATUS(agents->mpirun_status), 0);
}

static void many_steps(void **state)
{
    (void)state;
    for (uint32_t hosts = 2; hosts <= AGENTS_HOSTS; hosts++) {
        struct agents agents;
        uint64_t seed = hosts;

        agents_init(&agents, programs, hosts, 16, hosts == 3 ? 0 : 60001, 0);
        launch(&agents);
        agents_freeze(&agents, 1, true);
        agents_go(&agents, 1, 1, 0);
        for (uint64_t step = 0; step < 12; step++)
            take_step(&agents, step, &seed);
        dismiss(&agents, 2);
        agents_done(&agents);
    }
}

/* A new word in the middle of an exchange; the step is repeated from the sums that are there, and
 * a host that has it already gives it to the others. */
static void freezes_in_an_exchange(void **state)
{
    struct agents agents;
    uint64_t seed = 5;
    rk_word word = 1;
    uint64_t step = 0;

    (void)state;
    agents_init(&agents, programs, 3, 8, 200000, 0);
    launch(&agents);
    agents_freeze(&agents, word, true);
    agents_go(&agents, word, word, step);
    for (; step < 25; step++) {
        rk_word lineage = arena_plan_lineage(&agents.host[0].plan, step);

        compute(&agents, step, &seed);
        announce(&agents, step);
        for (uint64_t turn = field_next(&seed) % 4; turn > 0; turn--)
            agents_turn(&agents);
        agents_freeze(&agents, ++word, step % 3 != 0);
        if (step % 3 == 0)
            agents_freeze(&agents, ++word, true);
        agents_go(&agents, word, lineage, step);
        announce(&agents, step);
        finish(&agents, step);
    }
    agents_done(&agents);
}

static void a_host_behind_gets_the_result(void **state)
{
    struct agents agents;
    uint64_t seed = 9;
    struct arena_header *behind;

    (void)state;
    agents_init(&agents, programs, 3, 8, 300000, 0);
    launch(&agents);
    agents_freeze(&agents, 1, true);
    agents_go(&agents, 1, 1, 0);
    take_step(&agents, 0, &seed);
    take_step(&agents, 1, &seed);
    agents_freeze(&agents, 2, true);
    behind = agents.host[1].field.arena.header;
    atomic_store(&behind->complete_step, 1);
    memset(arena_result(&agents.host[1].field.arena), 0, 300000 * sizeof(float));
    agents_go(&agents, 2, 1, 1);
    finish(&agents, 1);
    take_step(&agents, 2, &seed);
    agents_done(&agents);
}

static void a_new_host_takes_the_state(void **state)
{
    struct agents agents;
    uint64_t seed = 11;

    (void)state;
    agents_init(&agents, programs, 3, 8, 10000, 3000000);
    for (uint32_t h = 0; h < 3; h++) {
        agents.host[h].plan.state_host = agents.host[2].plan.host_index;
        agents.host[h].plan.give_state = h == 2;
        agents.host[h].plan.take_state = h != 2;
    }
    launch(&agents);
    agents_freeze(&agents, 1, true);
    agents_go(&agents, 1, 1, 40);
    field_snapshot(&agents.host[2].field, 40);
    arena_ring(&agents.host[2].field.arena);
    for (uint32_t h = 0; h < 2; h++)
        AGENTS_UNTIL(&agents, field_snapshot_is(&agents.host[h].field, 40), "no state");
    take_step(&agents, 40, &seed);
    agents_done(&agents);
}

/* 3, 1 and 2 ranks; then the same with bfloat16 on the wire, where all hosts still agree. */
static void uneven_hosts_and_narrow_wires(void **state)
{
    static const uint32_t ranks[] = {3, 1, 2};
    struct agents agents;
    uint64_t seed = 21;

    (void)state;
    agents_init(&agents, programs, 3, 16, 300000, 0);
    for (uint32_t h = 0; h < 3; h++)
        agents.host[h].plan.local_count = ranks[h];
    launch(&agents);
    agents_freeze(&agents, 1, true);
    agents_go(&agents, 1, 1, 0);
    for (uint64_t step = 0; step < 4; step++)
        take_step(&agents, step, &seed);
    agents_freeze(&agents, 2, true);
    for (uint32_t h = 0; h < 3; h++)
        agents.host[h].plan.wire = ARENA_WIRE_BF16;
    agents_go(&agents, 2, 2, 4);
    for (uint64_t step = 4; step < 8; step++) {
        compute(&agents, step, &seed);
        announce(&agents, step);
        AGENTS_UNTIL(&agents, all_complete(&agents, step), "a step is not finished");
        assert_false(field_result_is(&agents.host[0].field, step));
        for (uint32_t h = 1; h < 3; h++)
            assert_memory_equal(arena_result(&agents.host[h].field.arena),
                                arena_result(&agents.host[0].field.arena), 300000 * sizeof(float));
    }
    agents_done(&agents);
}

/* A carrier, then mpirun, is lost in an exchange: the next job repeats the step. */
static void a_lost_carrier_costs_a_launch(void **state)
{
    struct agents agents;
    uint64_t seed = 13;
    rk_word word = 1;

    (void)state;
    agents_init(&agents, programs, 3, 8, 200000, 0);
    for (uint64_t step = 0; step < 4; step++, word++) {
        rk_word lineage = step == 0 ? 1 : arena_plan_lineage(&agents.host[0].plan, step);
        struct arena_carrier *victim = &agents.host[step % 3].field.arena.header->carrier;

        launch(&agents);
        agents_freeze(&agents, word, true);
        agents_go(&agents, word, lineage, step);
        take_step(&agents, step, &seed);
        compute(&agents, step + 1, &seed);
        announce(&agents, step + 1);
        kill(step % 2 == 0 ? atomic_load(&victim->pid) : agents.mpirun, SIGKILL);
        agents_kill(&agents);
    }
    agents_done(&agents);
}

/* One that neither dies nor answers ends the job, though all may wait for their ranks for ever. */
static void a_silent_carrier_is_noticed(void **state)
{
    struct agents agents;
    uint64_t seed = 19;
    pid_t stopped;

    (void)state;
    agents_init(&agents, programs, 2, 8, 1000, 0);
    launch(&agents);
    agents_freeze(&agents, 1, true);
    agents_go(&agents, 1, 1, 0);
    take_step(&agents, 0, &seed);
    stopped = atomic_load(&agents.host[0].field.arena.header->carrier.pid);
    assert_int_equal(kill(stopped, SIGSTOP), 0);
    AGENTS_UNTIL(&agents, agents.host[1].carrier < 0, "a carrier that is not answered stays");
    agents_done(&agents);
}

/* Started before the word that belongs to it: waits through older plans, then serves. */
static void carriers_wait_for_their_plan(void **state)
{
    struct agents agents;
    uint64_t seed = 17;

    (void)state;
    agents_init(&agents, programs, 2, 8, 1000, 0);
    agents.job = 7;
    agents_freeze(&agents, 1, false);
    agents_go(&agents, 1, 1, 0);
    launch(&agents);
    agents.job--;
    agents_freeze(&agents, 2, true);
    agents_go(&agents, 2, 2, 0);
    agents.job++;
    agents_freeze(&agents, 3, true);
    agents_go(&agents, 3, 3, 0);
    take_step(&agents, 0, &seed);
    close(agents.host[0].carrier);
    agents.host[0].carrier = -1;
    agents_freeze(&agents, 4, false);
    agents.job++;
    agents_go(&agents, 4, 4, 1);
    AGENTS_UNTIL(&agents, agents.mpirun == 0, "carriers stay without an agent");
    AGENTS_UNTIL(&agents, agents.host[1].carrier < 0, "a carrier stays for another job's plan");
    agents_done(&agents);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_steps),
        cmocka_unit_test(freezes_in_an_exchange),
        cmocka_unit_test(a_host_behind_gets_the_result),
        cmocka_unit_test(a_new_host_takes_the_state),
        cmocka_unit_test(uneven_hosts_and_narrow_wires),
        cmocka_unit_test(a_lost_carrier_costs_a_launch),
        cmocka_unit_test(a_silent_carrier_is_noticed),
        cmocka_unit_test(carriers_wait_for_their_plan),
    };

    if (argc != 2)
        return 64;
    programs = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
