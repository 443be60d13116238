/* Back-off and token bucket; see pace.h. */
#include "k8s/client/pace.h"

#include "common/clock.h"

uint64_t backoff_fail(struct backoff *backoff, uint64_t now, struct draw *draw)
{
    uint64_t wait = backoff->wait;

    if (wait == 0 || now - backoff->failed_at > backoff->healthy + backoff->most)
        wait = backoff->first;
    else
        wait = wait < backoff->most / 2 ? wait * 2 : backoff->most;
    backoff->wait = wait;
    backoff->failed_at = now;
    wait = draw_between(draw, wait, 2 * wait);
    return wait < backoff->most ? wait : backoff->most;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->wait = 0;
}

void throttle_init(struct throttle *throttle, double rate, double burst, uint64_t now)
{
    *throttle = (struct throttle){
        .full_rate = rate, .burst = burst, .rate = rate, .tokens = burst, .filled_at = now};
}

static void fill(struct throttle *throttle, uint64_t now)
{
    if (now <= throttle->filled_at)
        return;
    throttle->tokens += (double)(now - throttle->filled_at) * 1e-9 * throttle->rate;
    if (throttle->tokens > throttle->burst)
        throttle->tokens = throttle->burst;
    throttle->filled_at = now;
}

uint64_t throttle_take(struct throttle *throttle, uint64_t now)
{
    fill(throttle, now);
    if (now < throttle->paused_until)
        return throttle->paused_until;
    if (throttle->tokens >= 1) {
        throttle->tokens -= 1;
        return 0;
    }
    return now + 1 + (uint64_t)((1 - throttle->tokens) / throttle->rate * 1e9);
}

void throttle_refused(struct throttle *throttle, uint64_t now, uint64_t wait)
{
    fill(throttle, now);
    if (now + wait > throttle->paused_until)
        throttle->paused_until = now + wait;
    if (throttle->slowed_at != 0 && now - throttle->slowed_at < RK_S)
        return;
    throttle->slowed_at = now;
    throttle->rate = throttle->rate / 2 > 1 ? throttle->rate / 2 : 1;
    if (throttle->rate > throttle->full_rate)
        throttle->rate = throttle->full_rate;
    /* What was saved up would come at once after the pause, at a server that is short of breath. */
    if (throttle->tokens > throttle->rate)
        throttle->tokens = throttle->rate;
}

void throttle_accepted(struct throttle *throttle)
{
    throttle->rate += throttle->full_rate / 100;
    if (throttle->rate > throttle->full_rate)
        throttle->rate = throttle->full_rate;
}
