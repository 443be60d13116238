/* How fast the API server is asked: so many at one time, so many a second with a burst, and after a
 * refusal nothing for a while, then one, then twice as many with each that is done.  A thousand
 * pods that are refused so cost one request for each wait, not a thousand. */
#include "k8s/reconcile/state.h"

void flow_init(struct flow *flow, const struct pods_config *config)
{
    *flow = (struct flow){.window = config->in_flight, .most = config->in_flight};
    chain_init(&flow->queue, CHAIN_QUEUE);
    flow->interval = UINT64_C(1000000000) / config->per_second;
    flow->credit = flow->interval * (config->burst - 1);
}

uint64_t flow_next(const struct flow *flow)
{
    uint64_t rate = flow->paid > flow->credit ? flow->paid - flow->credit : 0;

    if (flow->queue.count == 0 || flow->in_flight >= flow->window)
        return PODS_NONE;
    return rate > flow->hold ? rate : flow->hold;
}

void flow_began(struct flow *flow, uint64_t now)
{
    flow->in_flight++;
    flow->paid = (flow->paid > now ? flow->paid : now) + flow->interval;
}

uint64_t flow_back_off(struct pods *pods, uint32_t tries)
{
    uint64_t wait = pods->config.back_off;
    uint64_t jitter = pods_draw(pods) >> 32;

    for (uint32_t i = 1; i < tries && wait < pods->config.back_off_most; i++)
        wait *= 2;
    if (wait > pods->config.back_off_most)
        wait = pods->config.back_off_most;
    return wait / 2 + ((wait / 2) >> 16) * (jitter >> 16);
}

void flow_ended(struct pods *pods, struct flow *flow, bool good, uint64_t retry_after)
{
    uint64_t wait;

    if (flow->in_flight > 0)
        flow->in_flight--;
    if (good) {
        flow->failures = 0;
        flow->window = 2 * flow->window < flow->most ? 2 * flow->window : flow->most;
        return;
    }
    flow->window = 1;
    if (pods->now < flow->hold) /* of the same hold: those that were in flight with the first */
        return;
    wait = flow_back_off(pods, ++flow->failures);
    if (retry_after > pods->config.back_off_most)
        retry_after = pods->config.back_off_most;
    flow->hold = pods->now + (wait > retry_after ? wait : retry_after);
}
