/* The messages that speak of members: who starts, who freezes, who goes on with whom. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool plan_hears(enum core_member_state state)
{
    return state == CORE_WORKER_PRESENT || state == CORE_WORKER_MEMBER ||
           state == CORE_WORKER_LEAVING;
}

static bool next_hearing(const struct coordinator *c, uint32_t *cursor,
                         struct core_worker_view *view)
{
    while (core_worker_next(c->core, cursor, view))
        if (plan_hears(view->state))
            return true;
    return false;
}

/* ---- welcome --------------------------------------------------------------------------------- */

void plan_welcome(struct coordinator *c, uint64_t worker)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Welcome welcome = RK__WELCOME__INIT;
    uint32_t rank[RK_MAX_SLOTS];
    struct core_worker_view view;
    struct core_plan plan;

    if (!core_worker_find(c->core, (struct rk_worker_id){worker}, &view))
        return;
    core_plan_read(c->core, &plan);
    for (uint32_t slot = 0; slot < view.status.slots; slot++)
        rank[slot] = view.status.rank[slot].rank;
    welcome.word = plan.word;
    welcome.shards = c->config.shards;
    welcome.heartbeat_ns = c->options.heartbeat;
    welcome.silence_ns = c->options.silence;
    welcome.orphan_ns = c->options.orphan_timeout;
    welcome.stall_ns = c->options.stall_timeout;
    welcome.narrow_wire = strcmp(c->options.wire, "bf16") == 0;
    welcome.carrier_job = c->carriers.job;
    welcome.standby_job = c->carriers.standby;
    welcome.on_gpus = c->config.on_gpus;
    welcome.fast = strcmp(c->options.reduction, "fast") == 0;
    welcome.rank = rank;
    welcome.n_rank = view.status.slots;
    envelope.body_case = RK__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &welcome;
    server_send(c->server, worker, &envelope);
}

/* ---- starting ranks -------------------------------------------------------------------------- */

/* A port that is free here now, for the program's own use (MASTER_PORT). */
static uint32_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint32_t port = 29500; /* as torchrun's */

    if (fd < 0)
        return port;
    if (bind(fd, (struct sockaddr *)&address, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

/* Every rank that runs, or is to start, now.  Once for all workers that are told to start after one
 * event. */
static void world_read(struct coordinator *c)
{
    struct core_worker_view view;
    uint32_t cursor = 0;
    uint32_t index = 0;

    c->world = (struct world){.known = true};
    while (next_hearing(c, &cursor, &view)) {
        struct worker_info *worker = workers_find(&c->workers, view.worker.value);
        uint32_t named = 0;

        for (uint32_t slot = 0; slot < view.status.slots && !view.spare; slot++)
            named += view.status.rank[slot].rank != CORE_NO_RANK &&
                     view.status.rank[slot].state != CORE_RANK_EMPTY;
        if (named == 0)
            continue;
        if (!c->world.first)
            c->world.first = worker;
        if (worker)
            worker->group_rank = index;
        c->world.size += named;
        index++;
    }
}

void plan_start_ranks(struct coordinator *c, const struct core_action *action)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__StartRanks start = RK__START_RANKS__INIT;
    uint32_t slot[RK_MAX_SLOTS];
    uint32_t rank[RK_MAX_SLOTS];
    uint64_t number[RK_MAX_SLOTS];
    const struct worker_info *worker = workers_find(&c->workers, action->worker.value);
    struct core_worker_view view;
    struct core_plan plan;

    if (!worker || !core_worker_find(c->core, action->worker, &view))
        return;
    if (!c->world.known)
        world_read(c);
    core_plan_read(c->core, &plan);
    if (c->port == 0 || c->port_word != action->word) {
        c->port = free_port();
        c->port_word = action->word;
    }
    for (uint32_t i = 0; i < view.status.slots; i++) {
        if (!(action->slots & (UINT64_C(1) << i)))
            continue;
        slot[start.n_slot++] = i;
        rank[start.n_rank++] = view.status.rank[i].rank;
        number[start.n_start++] = view.status.rank[i].start;
    }
    start.slot = slot;
    start.rank = rank;
    start.start = number;
    start.world_size = c->world.size;
    start.group_rank = worker->group_rank;
    start.local_world_size = view.status.slots;
    start.master_addr = c->world.first ? (char *)c->world.first->address : (char *)"127.0.0.1";
    start.master_port = c->port;
    start.restart_count = plan.restarts;
    start.max_restarts = c->config.max_restarts;
    start.generation = rk_word_generation(action->word) + 1; /* the first it can be a member of */
    start.replace = action->replace;
    envelope.body_case = RK__ENVELOPE__BODY_START_RANKS;
    envelope.start_ranks = &start;
    server_send(c->server, action->worker.value, &envelope);
}

/* ---- freeze ---------------------------------------------------------------------------------- */

#define MAX_FENCED 1024u

static void freeze_one(struct coordinator *c, rk_word word, const struct core_worker_view *view)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Freeze freeze = RK__FREEZE__INIT;
    uint64_t fence[MAX_FENCED];
    struct rk_worker_id out;
    uint32_t cursor = 0;

    while (freeze.n_fence < MAX_FENCED && core_fence_next(c->core, view->host, &cursor, &out))
        fence[freeze.n_fence++] = out.value;
    freeze.word = word;
    freeze.fence = fence;
    envelope.body_case = RK__ENVELOPE__BODY_FREEZE;
    envelope.freeze = &freeze;
    server_send(c->server, view->worker.value, &envelope);
}

void plan_freeze(struct coordinator *c, const struct core_action *action)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    if (action->worker.value) {
        if (core_worker_find(c->core, action->worker, &view))
            freeze_one(c, action->word, &view);
        return;
    }
    while (next_hearing(c, &cursor, &view))
        freeze_one(c, action->word, &view);
}

/* ---- go -------------------------------------------------------------------------------------- */

/* The members by rising index, which is host by host. */
struct members {
    struct core_member *member;
    size_t count;
    struct id_map first; /* of each host: its first member */
    bool lacking;        /* somebody has not the state of the deal's step */
};

static void members_done(struct members *members)
{
    id_map_done(&members->first);
    free(members->member);
}

static int members_read(const struct coordinator *c, uint32_t world, struct members *members)
{
    struct core_member *member;
    uint32_t cursor = 0;

    *members = (struct members){.member = calloc(world + 1u, sizeof(struct core_member))};
    member = members->member;
    if (!member)
        return RK_ENOMEM;
    for (; members->count < world && core_member_next(c->core, &cursor, member); member++) {
        members->lacking = members->lacking || member->stateless;
        if ((members->count == 0 || member[-1].host.value != member->host.value) &&
            id_map_put(&members->first, member->host.value, member) != 0) {
            members_done(members);
            return RK_ENOMEM;
        }
        members->count++;
    }
    return 0;
}

/* The members of `host`, a run of them; NULL: none. */
static const struct core_member *members_of_host(const struct members *members, uint64_t host,
                                                 size_t *count)
{
    const struct core_member *first = id_map_find(&members->first, host);
    const struct core_member *end = members->member + members->count;

    *count = 0;
    while (first && first + *count < end && first[*count].host.value == host)
        ++*count;
    return first;
}

static uint32_t host_index_of(const struct members *members, uint64_t host)
{
    size_t count;
    const struct core_member *member = members_of_host(members, host, &count);

    return count > 0 ? member->host_index : UINT32_MAX;
}

/* Fills the members of a host in, and whether their state comes or goes from here. */
static void go_fill_local(Rk__Go *go, const struct core_plan *plan, const struct members *members,
                          const struct core_member *member, size_t count, Rk__LocalMember *local,
                          Rk__LocalMember **list)
{
    bool have = false;
    bool lack = false;

    for (size_t i = 0; i < count; i++) {
        rk__local_member__init(&local[i]);
        local[i].worker = member[i].worker.value;
        local[i].slot = member[i].slot;
        local[i].rank = member[i].rank;
        local[i].index = member[i].index;
        list[i] = &local[i];
        have = have || member[i].has_state;
        lack = lack || member[i].stateless;
    }
    go->local = list;
    go->n_local = count;
    go->host_index = count > 0 ? member->host_index : UINT32_MAX;
    go->give_state =
        have && (lack || (plan->state_host.value == member->host.value && members->lacking));
    go->take_state = lack && !have && !plan->fresh;
}

static void go_fill_plan(const struct coordinator *c, Rk__Go *go, const struct core_plan *plan,
                         const struct members *members, uint8_t done[RK_MAX_SHARDS / 8])
{
    uint32_t bytes = (c->config.shards + 7) / 8;

    memset(done, 0, RK_MAX_SHARDS / 8);
    for (uint32_t shard = 0; plan->done && shard < c->config.shards; shard++)
        if (plan->done[shard / 64] & (UINT64_C(1) << (shard % 64)))
            done[shard / 8] = (uint8_t)(done[shard / 8] | (1u << (shard % 8)));
    go->word = plan->word;
    go->lineage = plan->lineage;
    go->deal_step = plan->deal_step;
    go->stop_at = plan->stop_at;
    go->world = plan->world;
    go->members = plan->members;
    go->hosts = plan->hosts;
    go->carrier_job = plan->carrier_job;
    go->fresh = plan->fresh;
    go->restart = plan->restart;
    go->state_host =
        plan->state_host.value ? host_index_of(members, plan->state_host.value) : UINT32_MAX;
    go->restart_count = plan->restarts;
    go->done.data = done;
    go->done.len = bytes;
}

/* Where only some of the carriers serve: which. */
static uint32_t *carrier_places(const struct coordinator *c, const struct core_plan *plan,
                                const struct members *members, size_t *count)
{
    uint32_t *place = plan->carrier_part ? calloc(plan->hosts + 1u, sizeof *place) : NULL;

    *count = 0;
    for (size_t m = 0; place && m < members->count && *count < plan->hosts; m++)
        if (members->member[m].host_index == *count)
            place[(*count)++] = core_carrier_place(c->core, members->member[m].host);
    return place;
}

static void go_send(struct coordinator *c, const struct core_plan *plan,
                    const struct members *members, const struct core_worker_view *view)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Go go = RK__GO__INIT;
    uint8_t done[RK_MAX_SHARDS / 8];
    size_t count;
    const struct core_member *member = members_of_host(members, view->host.value, &count);
    Rk__LocalMember *local = calloc(count + 1, sizeof *local);
    Rk__LocalMember **list = calloc(count + 1, sizeof(Rk__LocalMember *));
    uint32_t *place = carrier_places(c, plan, members, &go.n_carrier_place);

    if (local && list && (place || !plan->carrier_part)) {
        go_fill_plan(c, &go, plan, members, done);
        go.carrier_place = place;
        comms_fill(c, &go);
        go_fill_local(&go, plan, members, member, count, local, list);
        envelope.body_case = RK__ENVELOPE__BODY_GO;
        envelope.go = &go;
        server_send(c->server, view->worker.value, &envelope);
    }
    free(local);
    free(list);
    free(place);
}

void plan_go(struct coordinator *c, const struct core_action *action)
{
    struct core_plan plan;
    struct members members;
    struct core_worker_view view;
    uint32_t cursor = 0;

    core_plan_read(c->core, &plan);
    if (members_read(c, plan.world, &members) != 0) {
        rk_warn("gen %llu cannot be told to go, no memory: tried again at the next heartbeat",
                (unsigned long long)rk_word_generation(plan.word));
        return;
    }
    comms_plan(c, plan.word, members.member, members.count);
    if (action->worker.value) {
        if (core_worker_find(c->core, action->worker, &view))
            go_send(c, &plan, &members, &view);
    } else {
        while (next_hearing(c, &cursor, &view))
            go_send(c, &plan, &members, &view);
    }
    members_done(&members);
}
