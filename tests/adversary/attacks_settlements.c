/* Settlements: signed wrongly, twice, too late, over the balance; and what a batch on the ledger may not do. */
#include "tests/adversary/arena.h"

static void settle_request(struct wire_client *client, const struct hash *channel, uint64_t units, bool close)
{
    struct message message = {.type = MESSAGE_SETTLE_REQUEST};
    message.settle_request.channel = *channel;
    message.settle_request.amount = amount_of(units);
    message.settle_request.close = close;
    link_send(client->link, &message);
}

static struct seen *next_proposal(struct wire_client *client)
{
    for (size_t i = 0; i < client->seen_count; i++) {
        struct seen *seen = &client->seen[i];
        if (!seen->is_operation && !seen->taken && seen->message.type == MESSAGE_SETTLE_PROPOSE)
            return seen;
    }
    return NULL;
}

/* Asks for a payout, or a close, and gets it proposed. */
static struct settlement proposed(struct arena *arena, uint64_t units, bool close)
{
    struct wire_client *payer = arena->world.payer;
    settle_request(payer, &payer->channel->id, units, close);
    expect_silence(payer);
    uint64_t next_us = 0;
    struct seen *seen;
    while ((seen = next_proposal(payer)) == NULL) {
        if (clock_monotonic_us() > next_us) { /* again: a batch before may have been under way */
            char *answer = http_ask(arena->stage->http_port, "POST", "/settle");
            assert_non_null(strstr(answer, "{\"planned\":true}"));
            free(answer);
            next_us = clock_monotonic_us() + 500000;
            mine(arena->stage);
            assert_false(payer->closed || payer->seen_count > SEEN_MAX / 2);
        }
        turn(arena->stage);
    }
    seen->taken = true;
    return (struct settlement){.close = seen->message.settle_propose.close,
                               .seq = seen->message.settle_propose.seq,
                               .client_out = seen->message.settle_propose.client_out,
                               .hub_out = seen->message.settle_propose.hub_out,
                               .deadline = seen->message.settle_propose.deadline};
}

static void send_sign(struct arena *arena, uint32_t seq, const struct signature *signature)
{
    struct message message = {.type = MESSAGE_SETTLE_SIGN};
    message.settle_sign.channel = arena->world.payer->channel->id;
    message.settle_sign.seq = seq;
    message.settle_sign.signature = *signature;
    link_send(arena->world.payer->link, &message);
}

static struct signature sign_item(struct arena *arena, const struct secret_key *key,
                                  const struct settlement *item)
{
    struct hash digest = digest_settlement(&arena->stage->domain, &arena->world.payer->channel->id, item->seq,
                                           item->client_out, item->hub_out, item->deadline, item->close);
    return key_sign(key, &digest);
}

/* Signs as a client should, which its channel machine then counts with. */
static struct signature sign_well(struct arena *arena, const struct settlement *proposal, uint64_t wanted)
{
    struct wire_client *payer = arena->world.payer;
    struct signature signature;
    (void)block_time(arena->stage);
    struct channel_view view = view_of(payer);
    assert_int_equal(channel_settle_sign(payer->channel, &view, proposal, amount_of(wanted), proposal->close,
                                         payer->terms.settle_window_s, &payer->key, &signature),
                     CODE_OK);
    send_sign(arena, proposal->seq, &signature);
    return signature;
}

static bool settled_came(void *context)
{
    const struct wire_client *client = context;
    for (size_t i = 0; i < client->seen_count; i++)
        if (!client->seen[i].is_operation && !client->seen[i].taken &&
            client->seen[i].message.type == MESSAGE_SETTLED)
            return true;
    return client->closed;
}

static void expect_settled(struct arena *arena)
{
    mine_until(arena, settled_came, arena->world.payer, "SETTLED");
    assert_int_equal(wire_expect(arena->world.payer, MESSAGE_SETTLED)->message.settled.outcome, 0);
}

/* ---- over the wire ---- */

static void sign_of_nothing(struct arena *arena)
{
    struct settlement item = {.seq = 1, .client_out = amount_of(100), .deadline = arena->stage->now + 600};
    struct signature signature = sign_item(arena, &arena->world.payer->key, &item);
    send_sign(arena, 1, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
}

static void sign_wrongly(struct arena *arena)
{
    struct settlement proposal = proposed(arena, 1000, false), greedy = proposal;
    struct secret_key stranger = key_of("stranger");
    struct signature signature = sign_item(arena, &stranger, &proposal);
    send_sign(arena, proposal.seq, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
    greedy.client_out.units += 1000;
    signature = sign_item(arena, &arena->world.payer->key, &greedy);
    send_sign(arena, proposal.seq, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
    greedy = proposal;
    greedy.seq++;
    signature = sign_item(arena, &arena->world.payer->key, &greedy);
    send_sign(arena, greedy.seq, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
    (void)sign_well(arena, &proposal, 1000);
    expect_settled(arena);
}

static void sign_again(struct arena *arena)
{
    struct settlement proposal = proposed(arena, 1000, false);
    struct signature signature = sign_well(arena, &proposal, 1000);
    expect_settled(arena);
    unsigned_wide coins = coins_of(arena->stage, &arena->world.payer->address);
    send_sign(arena, proposal.seq, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
    mine(arena->stage);
    assert_true(coins_of(arena->stage, &arena->world.payer->address) == coins);
}

static void sign_past_the_deadline(struct arena *arena)
{
    struct settlement proposal = proposed(arena, 1000, false);
    struct signature signature = sign_item(arena, &arena->world.payer->key, &proposal);
    arena_time_passes(arena, 4000);
    send_sign(arena, proposal.seq, &signature);
    expect_code(arena->world.payer, CODE_SETTLE);
    assert_int_equal(ledger_channel(arena, &arena->world.payer->channel_key).seq, 0);
}

static void payout_over_the_balance(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    static const uint64_t units[] = {DEPOSIT, DEPOSIT + 1, AMOUNT_LIMIT - 1, 0};
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        settle_request(payer, &payer->channel->id, units[i], false);
        expect_code(payer, CODE_AVAILABLE);
    }
}

static void payout_of_another(struct arena *arena)
{
    settle_request(arena->world.payer, &arena->honest.payer->channel->id, 1000, false);
    expect_code(arena->world.payer, CODE_CHANNEL);
    settle_request(arena->world.payer, &arena->honest.payer->channel->id, 0, true);
    expect_code(arena->world.payer, CODE_CHANNEL);
}

/* What was signed away is spent as well. */
static void payout_is_spent(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved, most = DEPOSIT - DEPOSIT / 100;
    struct settlement proposal = proposed(arena, 50000, false);
    struct signature signature = sign_item(arena, &payer->key, &proposal);
    struct operation pay = small_pay(arena, &moved);
    pay.fee.units = most - 20;
    send_sign(arena, proposal.seq, &signature);
    refused(payer, forge(payer, &pay, 1, most, 0), CODE_AVAILABLE);
    expect_settled(arena);
}

static void update_after_a_close(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    still_good(&arena->world, 30);
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct settlement proposal = proposed(arena, 0, true);
    (void)sign_well(arena, &proposal, 0);
    refused(payer, forge(payer, &pay, 1, moved, 0), CODE_AVAILABLE);
    expect_settled(arena);
    assert_int_equal(ledger_channel(arena, &payer->channel_key).status, CHANNEL_CLOSED);
    refused(payer, forge(payer, &pay, 1, moved, 0), CODE_STATUS);
    settle_request(payer, &payer->channel->id, 1000, false);
    expect_code(payer, CODE_STATUS);
}

/* A payout asked for a hundred times is one payout. */
static void asked_for_often(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    for (int i = 0; i < 100; i++)
        settle_request(payer, &payer->channel->id, 1000, false);
    struct settlement proposal = proposed(arena, 1000, false);
    assert_int_equal(proposal.client_out.units, 1000);
    (void)sign_well(arena, &proposal, 1000);
    expect_settled(arena);
    assert_int_equal(ledger_channel(arena, &payer->channel_key).seq, 1);
}

static void room_without_end(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct message open = {.type = MESSAGE_OPEN_REQUEST};
    open.open_request.asset = (struct address){{0xee}};
    open.open_request.inbound = amount_of(100);
    link_send(payer->link, &open);
    expect_code(payer, CODE_CHANNEL);
    open.open_request.asset = ADDRESS_ZERO;
    open.open_request.inbound = amount_of(AMOUNT_LIMIT - 1);
    for (int i = 0; i < 50; i++)
        link_send(payer->link, &open);
    expect_silence(payer);
    uint64_t had = payer->channel->funds.total.units;
    for (int i = 0; i < 200 && payer->channel->funds.total.units == had; i++) {
        mine(arena->stage);
        turn(arena->stage);
    }
    assert_in_range(payer->channel->funds.total.units, had + 1, had + 50000); /* --inbound-max */
}

/* ---- in a batch of the hub's own making ---- */

/* The hub puts the item into a batch; it is skipped and moves nothing, whatever else the batch has. */
static void item_is_skipped(struct arena *arena, const struct settlement *item,
                            const struct signature *signature)
{
    struct channel_key key = arena->world.payer->channel_key;
    struct channel_state before = ledger_channel(arena, &key);
    unsigned_wide coins = coins_of(arena->stage, &key.client);
    struct settle_item items[1] = {
        {key, item->client_out, item->hub_out, item->deadline, item->close, *signature}};
    ledger_call_as(
        arena->stage, &arena->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .items = items, .item_count = 1}, 0);
    struct channel_state after = ledger_channel(arena, &key);
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.status, before.status);
    assert_int_equal(after.total.units, before.total.units);
    assert_int_equal(after.base, before.base);
    assert_true(coins_of(arena->stage, &key.client) == coins);
}

static struct settlement item_of(struct arena *arena, uint64_t client_out, uint64_t hub_out)
{
    return (struct settlement){.seq = 1,
                               .client_out = amount_of(client_out),
                               .hub_out = amount_of(hub_out),
                               .deadline = block_time(arena->stage) + 600};
}

static void batch_unsigned(struct arena *arena)
{
    struct settlement item = item_of(arena, 0, 1000);
    struct signature signature = sign_item(arena, &arena->stage->hub, &item);
    item_is_skipped(arena, &item, &signature);
}

static void batch_replayed(struct arena *arena)
{
    struct settlement proposal = proposed(arena, 1000, false);
    struct signature signature = sign_well(arena, &proposal, 1000);
    expect_settled(arena);
    item_is_skipped(arena, &proposal, &signature);
}

static void batch_too_late(struct arena *arena)
{
    struct settlement item = item_of(arena, 0, 1000);
    struct signature signature = sign_item(arena, &arena->world.payer->key, &item);
    arena_time_passes(arena, 1000);
    item_is_skipped(arena, &item, &signature);
}

static void batch_over_the_total(struct arena *arena)
{
    struct settlement item = item_of(arena, DEPOSIT, 1);
    struct signature signature = sign_item(arena, &arena->world.payer->key, &item);
    item_is_skipped(arena, &item, &signature);
    item = item_of(arena, AMOUNT_LIMIT - 1, AMOUNT_LIMIT - 1);
    signature = sign_item(arena, &arena->world.payer->key, &item);
    item_is_skipped(arena, &item, &signature);
}

static void batch_after_a_close(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct settlement proposal = proposed(arena, 0, true);
    (void)sign_well(arena, &proposal, 0);
    expect_settled(arena);
    struct settlement item = item_of(arena, 0, 1);
    item.seq = ledger_channel(arena, &payer->channel_key).seq + 1;
    struct signature signature = sign_item(arena, &payer->key, &item);
    item_is_skipped(arena, &item, &signature);
}

static void batch_by_a_client(struct arena *arena)
{
    struct settlement item = item_of(arena, 50000, 0);
    struct settle_item items[1] = {{arena->world.payer->channel_key, item.client_out, item.hub_out,
                                    item.deadline, false, sign_item(arena, &arena->world.payer->key, &item)}};
    call_reverts(arena, &arena->world.payer->key,
                 &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .items = items, .item_count = 1},
                 CONTRACT_NOT_HUB);
}

const struct attack attacks_settlements[] = {
    {"settlement", "SETTLE_SIGN of what nobody proposed", "ERROR SETTLE", sign_of_nothing, false},
    {"settlement", "signed by another, over more, with another seq", "ERROR SETTLE; the right one counts",
     sign_wrongly, false},
    {"settlement", "SETTLE_SIGN again once it is settled", "ERROR SETTLE; paid once", sign_again, false},
    {"settlement", "SETTLE_SIGN past the deadline", "ERROR SETTLE", sign_past_the_deadline, false},
    {"settlement", "payouts of the reserve, more, 2^63 - 1, 0", "ERROR AVAILABLE", payout_over_the_balance,
     false},
    {"settlement", "a payout and a close of another's channel", "ERROR CHANNEL", payout_of_another, false},
    {"settlement", "what was signed away, spent too", "ERROR AVAILABLE", payout_is_spent, false},
    {"settlement", "updates and payouts in and after a close", "ERROR AVAILABLE, ERROR STATUS",
     update_after_a_close, false},
    {"settlement", "a payout asked for 100 times", "one payout", asked_for_often, false},
    {"settlement", "room of 2^63 - 1, 50 times; an unknown asset", "--inbound-max once; ERROR CHANNEL",
     room_without_end, false},
    {"batch", "an item that the hub signed for its client", "skipped", batch_unsigned, false},
    {"batch", "an item that is settled already", "skipped", batch_replayed, false},
    {"batch", "an item past its deadline", "skipped", batch_too_late, false},
    {"batch", "items over the channel's total", "skipped", batch_over_the_total, false},
    {"batch", "an item after the close", "skipped", batch_after_a_close, false},
    {"batch", "a batch sent by a client", "revert NotHub", batch_by_a_client, false},
    {0},
};
