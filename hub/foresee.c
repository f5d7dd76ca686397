/* Whether the pools will last, from what all shards say of their channels: told to the log when it changes, and to
 * whoever asks over HTTP. On the hub's thread. */
#include <inttypes.h>
#include <stdio.h>

#include "base/ensure.h"
#include "hub/hub_state.h"

#define HOUR_S 3600

size_t foresee(const struct hub *hub, struct pool_foreseen out[ASSETS_MAX])
{
    size_t count = 0;
    wide units[ASSETS_MAX] = {0};
    struct outlook sums[ASSETS_MAX] = {{.idle = 0}};
    for (uint32_t shard = 0; shard < hub->shard_count; shard++) {
        const struct engine_pool *pools = hub->pools + (size_t)shard * ASSETS_MAX;
        for (size_t i = 0; i < hub->pool_counts[shard]; i++) {
            size_t at = 0;
            while (at < count && !address_equal(&out[at].asset, &pools[i].asset))
                at++;
            ensure(at < ASSETS_MAX);
            if (at == count)
                out[count++].asset = pools[i].asset;
            units[at] += pools[i].units;
            outlook_add(&sums[at], &pools[i].outlook);
        }
    }
    for (size_t i = 0; i < count; i++) {
        out[i].units = units[i] < 0                     ? 0
                       : units[i] >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1
                                                        : (uint64_t)units[i];
        out[i].verdict = outlook_judge(&sums[i], out[i].units);
    }
    return count;
}

/* How bad it is: what is said again only when it changes. */
static uint8_t level_of(const struct outlook_verdict *verdict)
{
    return verdict->short_in_s == OUTLOOK_FOREVER ? 0
           : verdict->short_in_s > 6 * HOUR_S     ? 1
           : verdict->short_in_s > HOUR_S         ? 2
           : verdict->short_in_s > 0              ? 3
                                                  : 4;
}

static void say(const struct pool_foreseen *pool)
{
    char asset[ADDRESS_TEXT_SIZE];
    uint64_t minutes = pool->verdict.short_in_s / 60;
    address_text(&pool->asset, asset);
    if (pool->verdict.short_in_s == OUTLOOK_FOREVER)
        log_info("the pool of %s lasts for a day at the present demand", asset);
    else if (pool->verdict.short_in_s == 0)
        log_warn(
            "the pool of %s has %" PRIu64 " units, %" PRIu64
            " too few for a day at the present demand, and not all that channels need now: deposit to it",
            asset, pool->units, pool->verdict.lacking);
    else
        log_warn("the pool of %s has %" PRIu64
                 " units: at the present demand it will be too low in about %" PRIu64 " h %02" PRIu64
                 " min; %" PRIu64 " units more would last for a day: deposit to it",
                 asset, pool->units, minutes / 60, minutes % 60, pool->verdict.lacking);
}

void foresee_say(struct hub *hub)
{
    struct pool_foreseen pools[ASSETS_MAX];
    size_t count = foresee(hub, pools);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < hub->pools_said_count && !address_equal(&hub->pools_said[at].asset, &pools[i].asset))
            at++;
        ensure(at < ASSETS_MAX);
        if (at == hub->pools_said_count)
            hub->pools_said[hub->pools_said_count++].asset = pools[i].asset;
        uint8_t level = level_of(&pools[i].verdict);
        if (level != hub->pools_said[at].level)
            say(&pools[i]);
        hub->pools_said[at].level = level;
    }
}
