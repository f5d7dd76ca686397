/* The demo's own view of the ledger: it hands out money before the day, follows the contract, and reads at the end. */
#include <string.h>

#include "base/ensure.h"
#include "bench/demo.h"
#include "crypto/typed.h"
#include "ledger/embedded/accounts.h"
#include "ledger/erc20.h"

#define GAS_COINS_WEI                                                                                        \
    ((unsigned_wide)1000000000000000000u) /* one coin for gas, to those who deposit themselves */
#define HUB_COINS   1000
#define TOWER_COINS 100

/* ---- following ---- */

static void on_watched(struct demo_events *events, const struct contract_event *event)
{
    if (event->type == EVENT_CLOSE_STARTED) {
        events->close_started = true;
        events->close_deadline = event->deadline;
    } else if (event->type == EVENT_CHALLENGED) {
        events->cheat_challenged = true;
        events->challenger = event->address;
        events->fraud = event->is_fraud;
    } else if (event->type == EVENT_FINISHED) {
        events->finished = true;
        events->penalty = event->penalty.units;
        events->bounty = event->bounty.units;
        events->to_client = event->to_client.units;
        events->to_hub = event->to_hub.units;
        events->held = event->held_client.units + event->held_hub.units;
    }
}

static void on_event(void *context, const struct contract_event *event)
{
    struct demo_events *events = &((struct demo *)context)->events;
    if (!event->confirmed)
        return;
    switch (event->type) {
    case EVENT_OPENED:
        events->opened++;
        break;
    case EVENT_FUNDED:
        events->funds += !amount_is_zero(event->hub_amount);
        events->hub_funded += event->hub_amount.units;
        break;
    case EVENT_SETTLED:
        events->returns += !amount_is_zero(event->hub_out);
        events->paid_out += event->client_out.units;
        events->hub_returned += event->hub_out.units;
        break;
    case EVENT_SETTLE_SKIPPED:
        events->skipped++;
        break;
    case EVENT_BATCH_SETTLED:
        events->batches++;
        break;
    case EVENT_CHALLENGED:
        events->challenged++;
        break;
    default:
        break;
    }
    if (hash_equal(&event->channel, &events->watched))
        on_watched(events, event);
}

static void on_head(void *context, const struct ledger_head *head)
{
    (void)context;
    (void)head;
}

static void on_too_deep(void *context, uint64_t block)
{
    demo_fail(context, "the ledger was reorganised below block %llu", (unsigned long long)block);
}

bool demo_follow_ledger(struct demo *demo)
{
    static const struct ledger_follow follow = {.event = on_event, .head = on_head, .too_deep = on_too_deep};
    const struct ledger_options options = {
        .url = demo->ledger_url, .contract = demo->contract, .confirmations = 1, .poll_ms = 100};
    demo->ledger = ledger_new(demo->base, &options);
    ledger_follow(demo->ledger, 0, &follow, demo);
    struct rill_ledger_options wallets = {.url = demo->ledger_url, .confirmations = 1, .poll_ms = 100};
    memcpy(wallets.contract, demo->contract.bytes, sizeof(wallets.contract));
    demo->followed = rill_ledger_new(demo->base, &wallets);
    return rill_ledger_wait(demo->followed, 20000) ||
           demo_fail(demo, "the ledger: %s", rill_ledger_trouble(demo->followed));
}

/* ---- money to begin with ---- */

bool demo_issue_asset(struct demo *demo)
{
    char supply[24], pool[AMOUNT_TEXT_SIZE], factory[ADDRESS_TEXT_SIZE];
    snprintf(supply, sizeof(supply), "%u", DEMO_SUPPLY);
    amount_text(amount_of(demo->pool_units), DEMO_DECIMALS, pool);
    const char *const words[] = {"ledger",
                                 "issue",
                                 DEMO_SYMBOL,
                                 "--name",
                                 "Market shilling",
                                 "--decimals",
                                 "6",
                                 "--supply",
                                 supply,
                                 "--list",
                                 "--pool",
                                 pool,
                                 "--factory",
                                 address_text(&demo->factory, factory),
                                 NULL};
    json_t *answer = demo_command(demo, words);
    if (answer == NULL)
        return false;
    const char *asset = json_string_value(json_object_get(answer, "asset"));
    bool good = asset != NULL && hex_decode(asset, demo->asset.bytes, sizeof(demo->asset.bytes));
    json_decref(answer);
    return good || demo_fail(demo, "`rill ledger issue` did not say which asset it made");
}

struct sending {
    struct demo *demo;
    size_t open, all;
};
static struct sending sending;

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct demo *demo = context;
    if (error == LEDGER_STOPPED)
        return;
    sending.open--;
    if (error != LEDGER_OK || !receipt->success)
        demo_fail(demo, "handing out money: %s %s", ledger_error_text(error),
                  ledger_last_error(demo->ledger));
}

static bool all_sent(struct demo *demo, char *progress, size_t size)
{
    (void)demo;
    snprintf(progress, size, "%zu of %zu transfers are in a block", sending.all - sending.open, sending.all);
    return sending.open == 0;
}

bool demo_fund_operator(struct demo *demo)
{
    if (!demo_is_evm(demo))
        return true;
    struct secret_key developer = development_key(0);
    sending = (struct sending){.demo = demo, .open = 2, .all = 2};
    ledger_send(demo->ledger, &developer, &demo->hub, HUB_COINS * GAS_COINS_WEI, NULL, 0, on_sent, demo);
    ledger_send(demo->ledger, &developer, &demo->tower, TOWER_COINS * GAS_COINS_WEI, NULL, 0, on_sent, demo);
    bytes_wipe(&developer, sizeof(developer));
    return demo_wait(demo, all_sent, 30000, "coins for hub and tower");
}

static void send_coin_and_tokens(struct demo *demo, const struct secret_key *developer,
                                 const struct address *to, uint64_t units)
{
    struct buffer data = {0};
    erc20_encode_transfer(&data, to, units);
    sending.open += 2;
    ledger_send(demo->ledger, developer, to, GAS_COINS_WEI, NULL, 0, on_sent, demo);
    ledger_send(demo->ledger, &demo->hub_key, &demo->asset, 0, data.data, data.length, on_sent, demo);
    buffer_free(&data);
}

static bool wait_sent(struct demo *demo)
{
    sending.all = sending.open;
    return demo_wait(demo, all_sent, 30000, "handing out coins and " DEMO_SYMBOL);
}

bool demo_hand_out(struct demo *demo)
{
    struct secret_key developer = development_key(1);
    sending = (struct sending){.demo = demo};
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        if (demo->clients[i].deposits)
            send_coin_and_tokens(demo, &developer, &demo->clients[i].address, demo->clients[i].deposit_units);
    bytes_wipe(&developer, sizeof(developer));
    return wait_sent(demo);
}

bool demo_give(struct demo *demo, const struct address *to, uint64_t units)
{
    struct secret_key developer = development_key(1);
    sending = (struct sending){.demo = demo};
    send_coin_and_tokens(demo, &developer, to, units);
    bytes_wipe(&developer, sizeof(developer));
    return wait_sent(demo);
}

/* ---- reading ---- */

static bool call_view(struct demo *demo, const struct address *to, struct buffer *data, struct buffer *result)
{
    enum contract_error reverted;
    enum ledger_error error = ledger_call_wait(demo->ledger, to, data->data, data->length, result, &reverted);
    buffer_free(data);
    return error == LEDGER_OK || demo_fail(demo, "reading the ledger: %s", ledger_error_text(error));
}

bool demo_token_balance(struct demo *demo, const struct address *of, uint64_t *units)
{
    struct buffer data = {0}, result = {0};
    struct uint256 value;
    unsigned_wide narrow = 0;
    erc20_encode_balance_of(&data, of);
    bool good = call_view(demo, &demo->asset, &data, &result) &&
                erc20_decode_number(result.data, result.length, &value) && uint256_narrow(value, &narrow) &&
                narrow < AMOUNT_LIMIT;
    buffer_free(&result);
    *units = (uint64_t)narrow;
    return good || demo_fail(demo, "the token's balanceOf gives no good answer");
}

bool demo_read_word(struct demo *demo, const struct contract_call *call, size_t index, uint64_t *out)
{
    struct buffer data = {0}, result = {0};
    unsigned_wide value = 0;
    contract_encode_call(&data, call);
    bool good = call_view(demo, NULL, &data, &result) &&
                contract_decode_word(result.data, result.length, index, &value) && value < AMOUNT_LIMIT;
    buffer_free(&result);
    *out = (uint64_t)value;
    return good || demo_fail(demo, "the contract's %s gives no good answer",
                             contract_function_signature(call->function));
}

bool demo_read_channel(struct demo *demo, const struct channel_key *key, struct channel_state *out)
{
    const struct contract_call call = {.function = CONTRACT_CHANNEL, .key = *key};
    struct buffer data = {0}, result = {0};
    contract_encode_call(&data, &call);
    bool good =
        call_view(demo, NULL, &data, &result) && contract_decode_channel(result.data, result.length, out);
    buffer_free(&result);
    return good || demo_fail(demo, "the contract's channel() gives no good answer");
}

struct hash demo_channel_id(const struct demo *demo, const struct demo_client *client)
{
    const struct channel_key key = {client->address, demo->asset, 0};
    return channel_id(&key);
}
