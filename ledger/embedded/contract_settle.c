/* Netted settlement (protocol.md, section 8): one call settles many channels; an item that cannot be is
 * skipped with an event and never sinks the batch. */
#include "ledger/embedded/contract_functions.h"
#include "ledger/embedded/contract_money.h"

#include "base/ensure.h"
#include "crypto/key.h"

static void emit_skipped(struct execution *execution, const struct hash *id, bool is_fund,
                         enum skip_reason reason)
{
    struct contract_event event = {
        .type = EVENT_SETTLE_SKIPPED, .channel = *id, .is_fund = is_fund, .reason = (uint8_t)reason};
    contract_emit(execution, &event);
}

static bool item_is_signed(const struct execution *execution, const struct hash *id, uint32_t seq,
                           const struct settle_item *item)
{
    /* After 2^32 - 1 settlements there is no next sequence number that anybody could have signed. */
    if (seq == UINT32_MAX)
        return false;
    struct hash digest = digest_settlement(&execution->config->domain, id, seq + 1, item->client_out,
                                           item->hub_out, item->deadline, item->close);
    return signature_is_by(&item->signature, &digest, &item->key.client);
}

/* Why the item is skipped; 0: it is not. */
static enum skip_reason item_check(const struct execution *execution, const struct hash *id,
                                   const struct channel_state *channel, const struct settle_item *item)
{
    if (channel->status != CHANNEL_OPEN)
        return SKIP_STATUS;
    if (!item_is_signed(execution, id, channel->seq, item))
        return SKIP_SIGNATURE;
    if (execution->time > item->deadline)
        return SKIP_DEADLINE;
    if ((wide)item->client_out.units + item->hub_out.units > (wide)channel->total.units ||
        (wide)channel->base - item->client_out.units < INT64_MIN)
        return SKIP_AMOUNTS;
    return 0;
}

static void settle_item(struct execution *execution, const struct settle_item *item)
{
    struct hash id = channel_id(&item->key);
    struct channel_state channel = channel_load(execution->state, &id);
    enum skip_reason reason = item_check(execution, &id, &channel, item);
    if (reason != 0) {
        emit_skipped(execution, &id, false, reason);
        return;
    }
    struct vault vault = vault_open(execution, &item->key.asset);
    struct amount client_out = item->client_out;
    if (item->close) {
        ensure(amount_subtract(channel.total, item->hub_out, &client_out));
        channel.status = CHANNEL_CLOSED;
        channel.base = 0;
    } else {
        channel.base -= (int64_t)client_out.units;
    }
    uint64_t out = client_out.units + item->hub_out.units;
    ensure(out <= channel.total.units);
    channel.total.units -= out;
    channel.seq += 1;
    channel_save(execution->state, &id, &item->key.asset, &channel);
    vault.record.in_channels -= out;
    struct contract_event event = {.type = EVENT_SETTLED,
                                   .channel = id,
                                   .seq = channel.seq,
                                   .client_out = client_out,
                                   .hub_out = item->hub_out,
                                   .close = item->close};
    contract_emit(execution, &event);
    vault_pay(&vault, &item->key.client, client_out);
    vault_pay_hub(&vault, item->hub_out);
    vault_save(&vault);
}

static enum skip_reason fund_check(const struct execution *execution, const struct channel_state *channel,
                                   const struct vault *vault, const struct fund *fund)
{
    struct amount total;
    if (channel->status == CHANNEL_CLOSING || channel->status == CHANNEL_CLOSED ||
        contract_key_is_bad(execution, &fund->key))
        return SKIP_STATUS;
    if (amount_is_zero(fund->amount) || !amount_add(channel->total, fund->amount, &total))
        return SKIP_AMOUNTS;
    if (!vault_is_listed(vault) || fund->amount.units > vault->record.pool.units)
        return SKIP_POOL;
    return 0;
}

static void settle_fund(struct execution *execution, const struct fund *fund)
{
    struct hash id = channel_id(&fund->key);
    struct channel_state channel = channel_load(execution->state, &id);
    struct vault vault = vault_open(execution, &fund->key.asset);
    enum skip_reason reason = fund_check(execution, &channel, &vault, fund);
    if (reason != 0) {
        emit_skipped(execution, &id, true, reason);
        return;
    }
    contract_open_channel(execution, &id, &fund->key, &channel);
    channel.total.units += fund->amount.units;
    channel_save(execution->state, &id, &fund->key.asset, &channel);
    vault.record.pool.units -= fund->amount.units;
    vault.record.in_channels += fund->amount.units;
    vault_save(&vault);
    struct contract_event event = {.type = EVENT_FUNDED, .channel = id, .hub_amount = fund->amount};
    contract_emit(execution, &event);
}

enum contract_error contract_settle_batch(struct execution *execution, const struct contract_call *call)
{
    if (!contract_caller_is_hub(execution))
        return CONTRACT_NOT_HUB;
    for (size_t i = 0; i < call->item_count; i++)
        settle_item(execution, &call->items[i]);
    for (size_t i = 0; i < call->fund_count; i++)
        settle_fund(execution, &call->funds[i]);
    uint64_t batch = counter_load(execution->state, COUNTER_BATCHES) + 1;
    counter_save(execution->state, COUNTER_BATCHES, batch);
    struct contract_event event = {.type = EVENT_BATCH_SETTLED, .batch = batch, .root = call->hash};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}
