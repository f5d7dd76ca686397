/* What shards ask of the hub: transactions, the tower, whose turn it is to settle, and what the pool has. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/hub_state.h"
#include "hub/publish.h"

/* ---- transactions ---- */

/* One that waits for its outcome. */
struct errand {
    struct hub *hub;
    uint32_t shard;
    enum engine_call call;
    uint64_t reference;
};

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct errand *errand = context;
    struct hub *hub = errand->hub;
    if (error != LEDGER_STOPPED) {
        if (error != LEDGER_OK)
            log_info("a transaction ended with: %s %s", ledger_error_text(error),
                     receipt != NULL ? contract_error_name(receipt->reverted) : "");
        struct mail *mail = mail_new(MAIL_CALL_DONE, 0, NULL, 0);
        mail->call.call = errand->call;
        mail->call.reference = errand->reference;
        mail->call.error = error;
        mail->call.has_receipt = receipt != NULL;
        if (receipt != NULL)
            mail->call.receipt = *receipt;
        mailbox_post(hub->shards[errand->shard].mailbox, mail);
    }
    free(errand);
}

static void send_transaction(struct hub *hub, const struct mail *mail)
{
    struct errand *errand = xmalloc(sizeof(*errand));
    *errand = (struct errand){hub, mail->shard, mail->call.call, mail->call.reference};
    ledger_send(hub->ledger, &hub->engine_settings.key, NULL, 0, mail->bytes, mail->length, on_sent, errand);
}

/* ---- turns to settle ---- */

static void give_turn(struct hub *hub)
{
    if (hub->turn_count > 0)
        mailbox_post(hub->shards[hub->turns[0]].mailbox, mail_new(MAIL_SETTLE_TURN, 0, NULL, 0));
}

static void take_turn(struct hub *hub, const struct mail *mail)
{
    if (mail->flag) {
        ensure(hub->turn_count < hub->shard_count);
        hub->turns[hub->turn_count++] = mail->shard;
        if (hub->turn_count == 1)
            give_turn(hub);
        return;
    }
    ensure(hub->turn_count > 0 && hub->turns[0] == mail->shard);
    memmove(hub->turns, hub->turns + 1, --hub->turn_count * sizeof(hub->turns[0]));
    give_turn(hub);
}

/* ---- the pool ---- */

static struct engine_pool *pools_of(struct hub *hub, uint32_t shard)
{
    return hub->pools + (size_t)shard * ASSETS_MAX;
}

static void add_pools(struct engine_pool sums[ASSETS_MAX], size_t *count, const struct engine_pool *pools,
                      size_t pool_count)
{
    for (size_t i = 0; i < pool_count; i++) {
        size_t at = 0;
        while (at < *count && !address_equal(&sums[at].asset, &pools[i].asset))
            at++;
        ensure(at < ASSETS_MAX);
        if (at == *count)
            sums[(*count)++] = (struct engine_pool){.asset = pools[i].asset};
        sums[at].units += pools[i].units;
    }
}

static void tell_pools(struct hub *hub, uint32_t shard)
{
    struct engine_pool sums[ASSETS_MAX];
    size_t count = 0;
    for (uint32_t other = 0; other < hub->shard_count; other++)
        if (other != shard)
            add_pools(sums, &count, pools_of(hub, other), hub->pool_counts[other]);
    mailbox_post(hub->shards[shard].mailbox, mail_new(MAIL_POOLS, 0, sums, count * sizeof(sums[0])));
}

static void take_pools(struct hub *hub, const struct mail *mail)
{
    struct engine_pool *pools = pools_of(hub, mail->shard);
    size_t count = mail->length / sizeof(*pools);
    bool is_same = count == hub->pool_counts[mail->shard];
    struct engine_pool pool;
    for (size_t i = 0; i < count; i++) {
        memcpy(&pool, mail->bytes + i * sizeof(pool), sizeof(pool));
        is_same = is_same && pools[i].units == pool.units;
        pools[i] = pool;
    }
    hub->pool_counts[mail->shard] = count;
    for (uint32_t other = 0; other < hub->shard_count && !is_same; other++)
        if (other != mail->shard)
            tell_pools(hub, other);
    foresee_say(hub);
}

/* ---- all of it ---- */

void conduct_mail(void *context, struct mail *mail)
{
    struct hub *hub = context;
    switch (mail->type) {
    case MAIL_OPENED:
        hub_opened(hub);
        break;
    case MAIL_FAILED:
        hub_fail(hub, "%s", (const char *)mail->bytes);
        break;
    case MAIL_RECOVERED:
        hub_recovered(hub, mail->number, (const struct hash *)mail->bytes);
        break;
    case MAIL_SERVING:
        hub_serving(hub);
        break;
    case MAIL_STOPPED:
        hub_stopped(hub);
        break;
    case MAIL_CALL:
        send_transaction(hub, mail);
        break;
    case MAIL_TOWER_FRAME:
        tower_send(hub, mail->number, mail->bytes, mail->length);
        break;
    case MAIL_TURN_WANTED:
        take_turn(hub, mail);
        break;
    case MAIL_OWN_POOLS:
        take_pools(hub, mail);
        break;
    case MAIL_COUNTED:
        publisher_counted(hub->publisher);
        break;
    case MAIL_EVENTS_READ:
        hub_events_read(hub);
        break;
    case MAIL_KEPT:
        publisher_kept(hub->publisher);
        break;
    default:
        ensure(false);
    }
    free(mail);
}
