/* What the coordinator says, taken apart and handed to whom it concerns.  The codec has checked
 * sizes and ranges; whether a message still fits is judged by those who act on it. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MESSAGES_A_TURN 256

static void on_welcome(struct agent *agent, const Rk__Welcome *welcome)
{
    struct rk_why why = {""};

    if (host_set_job(agent, welcome->shards, welcome->fast, welcome->on_gpus, &why) != 0) {
        rk_error_log("worker cannot take part: %s", why.text);
        agent_end(agent, 69, 0, why.text);
        return;
    }
    agent->welcomed = true;
    if (welcome->heartbeat_ns >= RK_MS)
        agent->heartbeat_ns = welcome->heartbeat_ns;
    if (welcome->silence_ns >= RK_MS)
        agent->silence_ns = welcome->silence_ns;
    if (welcome->orphan_ns > 0)
        agent->orphan_ns = welcome->orphan_ns;
    agent->stall_ns = welcome->stall_ns;
    agent->wire = welcome->narrow_wire ? ARENA_WIRE_BF16 : ARENA_WIRE_F32;
    if (welcome->carrier_job != 0 || welcome->standby_job != 0)
        carriers_keep(agent, welcome->carrier_job, welcome->standby_job);
    say_heartbeat_soon(agent);
}

static void on_refused(struct agent *agent, const Rk__Refused *refused)
{
    if (refused->code == RK_ESTATE && !refused->final) {
        agent->welcomed = false;
        agent->hello_due = true;
        return;
    }
    if (!refused->final) {
        rk_warn("coordinator refuses a message: %s", refused->why);
        return;
    }
    bool fenced = refused->code == RK_EFENCED;
    char why[sizeof agent->end_why];
    snprintf(why, sizeof why, "%s: %s",
             fenced ? "it is no longer a member" : "the coordinator refuses it", refused->why);
    agent_end(agent, fenced ? 0 : rk_error_exit_code(refused->code), 0, why);
}

static void on_start_ranks(struct agent *agent, const Rk__StartRanks *start)
{
    struct rank_order order = {
        .replace = start->replace,
        .world_size = start->world_size,
        .group_rank = start->group_rank,
        .local_world_size = start->local_world_size,
        .master_port = start->master_port,
        .restart_count = start->restart_count,
        .max_restarts = start->max_restarts,
        .generation = start->generation,
    };

    if (agent->shards == 0)
        return; /* not welcomed yet: the coordinator says it again */
    snprintf(order.master_addr, sizeof order.master_addr, "%s", start->master_addr);
    for (size_t i = 0; i < start->n_slot && i < start->n_rank; i++) {
        if (start->slot[i] >= agent->options->slots) {
            agent->refused++;
            continue;
        }
        order.rank = start->rank[i];
        order.start = i < start->n_start ? start->start[i] : 0;
        rank_order_start(agent, &agent->rank[start->slot[i]], &order);
    }
}

static void take_bits(const ProtobufCBinaryData *bytes, uint64_t *bits)
{
    for (size_t i = 0; i < bytes->len && i < RK_MAX_SHARDS / 8; i++)
        bits[i / 8] |= (uint64_t)bytes->data[i] << (i % 8 * 8);
}

static void on_go(struct agent *agent, const Rk__Go *go)
{
    uint64_t workers[ARENA_SEATS];
    uint32_t slots[ARENA_SEATS];
    struct rk_why why = {""};
    struct arena_plan plan = {
        .word = go->word,
        .lineage = go->lineage,
        .deal_step = go->deal_step,
        .stop_at = go->stop_at,
        .restart_count = go->restart_count,
        .world = go->world,
        .hosts = go->hosts,
        .host_index = go->host_index,
        .carrier_job = go->carrier_job,
        .wire = agent->wire,
        .shards = agent->shards,
        .fresh = go->fresh != 0,
        .restart = go->restart != 0,
        .give_state = go->give_state != 0,
        .take_state = go->take_state != 0,
        .state_host = go->state_host,
    };

    if (go->n_local > ARENA_SEATS) {
        agent->refused++;
        return;
    }
    plan.local_count = (uint32_t)go->n_local;
    for (uint32_t i = 0; i < plan.local_count; i++) {
        plan.local[i].rank = go->local[i]->rank;
        plan.local[i].index = go->local[i]->index;
        workers[i] = go->local[i]->worker;
        slots[i] = go->local[i]->slot;
    }
    for (size_t i = 0; i < go->n_carrier_place; i++)
        if (go->carrier_place[i] < ARENA_CARRIERS)
            plan.carriers[go->carrier_place[i] / 64] |= UINT64_C(1) << (go->carrier_place[i] % 64);
    take_bits(&go->done, plan.done);
    plan.comm_from = go->n_comm_lost <= ARENA_COMM_LOST ? go->comm_from : 0;
    for (size_t i = 0; plan.comm_from != 0 && i < go->n_comm_lost; i++)
        plan.comm_lost[plan.comm_lost_count++] = go->comm_lost[i];
    int rc = freeze_go(agent, &plan, workers, slots, go->members, &why);
    if (rc != 0) {
        agent->refused++;
        rk_info("gen %" PRIu64 " does not start here: %s", rk_word_generation(go->word), why.text);
    } else if (go->load_dirname[0] != '\0') {
        storage_load(agent, go->word, go->deal_step, go->load_dirname);
    }
    say_heartbeat_soon(agent);
}

static void on_shutdown(struct agent *agent, const Rk__Shutdown *shutdown)
{
    char why[sizeof agent->end_why];
    uint64_t grace = shutdown->grace_ns < 600 * RK_S ? shutdown->grace_ns : 600 * RK_S;

    snprintf(why, sizeof why, "the coordinator says so: %s", shutdown->why);
    agent_end(agent, 0, grace, why);
}

static void dispatch(struct agent *agent, const Rk__Envelope *e)
{
    switch (e->body_case) {
    case RK__ENVELOPE__BODY_WELCOME:
        on_welcome(agent, e->welcome);
        break;
    case RK__ENVELOPE__BODY_REFUSED:
        on_refused(agent, e->refused);
        break;
    case RK__ENVELOPE__BODY_START_RANKS:
        on_start_ranks(agent, e->start_ranks);
        break;
    case RK__ENVELOPE__BODY_FREEZE:
        freeze_begin(agent, e->freeze->word, e->freeze->fence, e->freeze->n_fence);
        break;
    case RK__ENVELOPE__BODY_GO:
        on_go(agent, e->go);
        break;
    case RK__ENVELOPE__BODY_SNAPSHOT_AT:
        freeze_snapshot_at(agent, e->snapshot_at->step);
        break;
    case RK__ENVELOPE__BODY_WRITE_SHARD:
        storage_write(agent, e->write_shard->attempt, e->write_shard->step, e->write_shard->dirname,
                      e->write_shard->writer, e->write_shard->writers);
        break;
    case RK__ENVELOPE__BODY_LOAD_STATE:
        storage_load(agent, e->load_state->word, e->load_state->step, e->load_state->dirname);
        break;
    case RK__ENVELOPE__BODY_START_CARRIERS:
        agent_carriers_start(agent, e->start_carriers->job, e->start_carriers->host,
                             e->start_carriers->n_host);
        break;
    case RK__ENVELOPE__BODY_KEEP_CARRIERS:
        carriers_keep(agent, e->keep_carriers->job, e->keep_carriers->standby);
        break;
    case RK__ENVELOPE__BODY_RSH_START:
        agent_carriers_rsh(agent, e->rsh_start->request, e->rsh_start->from, e->rsh_start->command,
                           e->rsh_start->job);
        break;
    case RK__ENVELOPE__BODY_RSH_STARTED:
        carriers_rsh_done(agent, e->rsh_started->request, e->rsh_started->code,
                          e->rsh_started->why);
        break;
    case RK__ENVELOPE__BODY_COMM_ID:
        freeze_comm_id(agent, e->comm_id);
        break;
    case RK__ENVELOPE__BODY_SHUTDOWN:
        on_shutdown(agent, e->shutdown);
        break;
    case RK__ENVELOPE__BODY_KILL_WORKER:
        if (e->kill_worker->worker == agent->worker.value)
            agent_end(agent, 0, 0, "the coordinator ended this worker");
        break;
    default:
        agent->refused++;
        rk_debug("worker does not take %s", wire_kind(e));
    }
}

void control_receive(struct agent *agent)
{
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        Rk__Envelope *envelope;
        int rc = link_receive(agent->link, &envelope);

        if (rc == RK_EVERSION)
            agent_end(agent, rk_error_exit_code(rc), 0,
                      "the coordinator is another version of reknit; install one on all hosts");
        if (rc != 0)
            return;
        dispatch(agent, envelope);
        wire_free(envelope);
    }
}
