/* Payments that the hub takes and gives back, repeated ids, and refunds of what is not one's own. */
#include "tests/adversary/arena.h"

static struct operation pay_of(struct arena *arena, uint64_t units)
{
    return payment_of(arena->world.payer, arena->world.payee, OPERATION_PAY, units, &no_condition);
}

static void id_with_other_contents(struct arena *arena)
{
    struct operation pay = pay_of(arena, 50);
    wire_do(arena->world.payer, &pay, NULL);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    struct operation other = pay_of(arena, 70);
    other.id = pay.id;
    pay_comes_back(arena, &other, CODE_DUPLICATE);
    other.peer = arena->honest.payee->address;
    pay_comes_back(arena, &other, CODE_DUPLICATE);
    assert_int_equal(channel_peer(arena->world.payee->channel)->proof.transferred.units, 50);
}

static void id_twice_in_one_update(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct operation both[2] = {pay_of(arena, 50), pay_of(arena, 50)};
    both[1].id = both[0].id;
    wire_send_kept(payer, wire_seal(payer, both, 2, NULL));
    const struct seen *seen = wire_operation(payer, OPERATION_REFUND, &both[0].id);
    assert_int_equal(seen->operation.code, CODE_DUPLICATE);
    (void)payee_has(arena, OPERATION_PAY, &both[0]);
    wire_settle_down(payer);
    assert_int_equal(channel_peer(arena->world.payee->channel)->proof.transferred.units, 50);
}

static void id_of_a_lock(struct arena *arena)
{
    static const uint8_t secret[32] = {8};
    struct wire_client *payer = arena->world.payer;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, arena->world.payee, OPERATION_LOCK, 500, &condition);
    wire_do(payer, &lock, NULL);
    (void)payee_has(arena, OPERATION_LOCK, &lock);
    struct operation again = lock;
    again.amount.units = 900;
    again.fee = fee_of(payer, 900);
    wire_do(payer, &again, NULL);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_DUPLICATE);
    struct operation pay = pay_of(arena, 60);
    pay.id = lock.id;
    pay_comes_back(arena, &pay, CODE_DUPLICATE);
}

static void fee_too_low(struct arena *arena)
{
    struct operation pay = pay_of(arena, 1000);
    pay.fee.units--;
    pay_comes_back(arena, &pay, CODE_FEE);
    pay = pay_of(arena, 1000);
    pay.fee.units = 0;
    pay_comes_back(arena, &pay, CODE_FEE);
}

static void to_oneself(struct arena *arena)
{
    struct operation pay = pay_of(arena, 10);
    pay.peer = arena->world.payer->address;
    pay_comes_back(arena, &pay, CODE_PAYEE);
}

static void to_nobody(struct arena *arena)
{
    struct operation pay = pay_of(arena, 10);
    pay.peer = (struct address){{1}};
    pay_comes_back(arena, &pay, CODE_PAYEE);
    pay = pay_of(arena, 10);
    pay.peer = ADDRESS_ZERO;
    pay_comes_back(arena, &pay, CODE_PAYEE);
}

static void to_the_hub(struct arena *arena)
{
    struct operation pay = pay_of(arena, 10);
    pay.peer = secret_key_address(&arena->stage->hub);
    pay_comes_back(arena, &pay, CODE_PAYEE);
}

static void of_nothing(struct arena *arena)
{
    struct operation pay = pay_of(arena, 0);
    pay_comes_back(arena, &pay, CODE_AMOUNT);
}

static void over_the_room(struct arena *arena)
{
    struct operation pay = pay_of(arena, ROOM + 1);
    pay_comes_back(arena, &pay, CODE_ROOM);
}

static void expiry_out_of_bounds(struct arena *arena)
{
    static const uint64_t after[] = {0, 500, 90000};
    for (size_t i = 0; i < ARRAY_LENGTH(after); i++) {
        struct operation pay = pay_of(arena, 10);
        pay.expiry = arena->stage->now + after[i];
        pay_comes_back(arena, &pay, CODE_EXPIRED);
    }
    struct operation pay = pay_of(arena, 10);
    pay.expiry = UINT64_MAX;
    pay_comes_back(arena, &pay, CODE_EXPIRED);
}

static void memo_too_long(struct arena *arena)
{
    char memo[MEMO_BYTES_MAX];
    memset(memo, 'm', sizeof memo);
    struct operation pay = pay_of(arena, 10);
    pay.memo = (struct text){memo, sizeof memo};
    struct forged forged = forge(arena->world.payer, &pay, 1, 10 + pay.fee.units, 0);
    uint8_t *head =
        forged.body.data + forged.body.length - sizeof memo - 3; /* the body's last: 0xda, length */
    assert_int_equal(head[0], 0xda);
    store_be16(head + 1, MEMO_BYTES_MAX + 1);
    buffer_append(&forged.body, "m", 1);
    refused(arena->world.payer, forged, CODE_BODY);
}

static void memo_not_utf8(struct arena *arena)
{
    struct operation pay = pay_of(arena, 10);
    pay.memo = (struct text){"\xc0\x80\xff", 3};
    refused(arena->world.payer, forge(arena->world.payer, &pay, 1, 10 + pay.fee.units, 0), CODE_BODY);
}

struct online_wait {
    struct arena *arena;
    uint64_t count;
};

static bool so_many_online(void *context)
{
    struct online_wait *wait = context;
    return hub_figure(wait->arena->stage, "clients_online") == wait->count;
}

/* Payments for one who is away pile up only so far. */
static void pile_for_an_absent_payee(struct arena *arena)
{
    struct online_wait wait = {arena, hub_figure(arena->stage, "clients_online") - 1};
    struct operation pays[WAITING_MAX + 3];
    wire_leave(arena->world.payee);
    assert_true(holds_in_time(arena->stage, so_many_online, &wait));
    for (size_t i = 0; i < ARRAY_LENGTH(pays); i++) {
        pays[i] = pay_of(arena, 20 + i);
        if (i < WAITING_MAX)
            wire_do(arena->world.payer, &pays[i], NULL);
        else
            pay_comes_back(arena, &pays[i], CODE_LIMIT);
    }
    struct operation lock =
        payment_of(arena->world.payer, arena->world.payee, OPERATION_LOCK, 500, &no_condition);
    lock_fails(arena, &lock, CODE_OFFLINE);
    wire_connect(arena->world.payee);
    for (size_t i = 0; i < WAITING_MAX; i++)
        (void)payee_has(arena, OPERATION_PAY, &pays[i]);
}

/* ---- refunds ---- */

static struct operation refund_of(struct arena *arena, const struct operation *pay, uint64_t amount)
{
    return (struct operation){.type = OPERATION_REFUND,
                              .id = payment_id_of_payee(&arena->world.payer->channel->id, &pay->id),
                              .amount = amount_of(amount),
                              .code = CODE_PAID};
}

static void refund_twice(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer, *payee = arena->world.payee;
    struct operation pay = pay_of(arena, 50);
    wire_do(payer, &pay, NULL);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    struct operation back = refund_of(arena, &pay, 50);
    wire_do(payee, &back, NULL);
    (void)wire_operation(payer, OPERATION_REFUND, &pay.id);
    wire_do(payee, &back, NULL); /* a present to the hub, out of the payee's own money */
    wire_settle_down(payee);
    expect_silence(payer);
    assert_int_equal(channel_balance(payer->channel, SIDE_CLIENT), DEPOSIT);
    assert_int_equal(channel_balance(payee->channel, SIDE_CLIENT), PAYEE_OWN - 50);
}

static void refund_of_another_amount(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer, *payee = arena->world.payee;
    struct operation pay = pay_of(arena, 50);
    wire_do(payer, &pay, NULL);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    struct operation back = refund_of(arena, &pay, 49);
    wire_do(payee, &back, NULL);
    wire_settle_down(payee);
    expect_silence(payer);
    assert_int_equal(channel_balance(payer->channel, SIDE_CLIENT), DEPOSIT - 50 - pay.fee.units);
}

/* The attacker gives back a payment that the honest payee has: nothing becomes of the honest payment. */
static void refund_of_anothers(struct arena *arena)
{
    struct operation pay =
        payment_of(arena->honest.payer, arena->honest.payee, OPERATION_PAY, 30, &no_condition);
    wire_do(arena->honest.payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&arena->honest.payer->channel->id, &pay.id);
    (void)wire_operation(arena->honest.payee, OPERATION_PAY, &id);
    struct operation back = {.type = OPERATION_REFUND, .id = id, .amount = amount_of(30), .code = CODE_PAID};
    wire_do(arena->world.payee, &back, NULL);
    wire_settle_down(arena->world.payee);
    expect_silence(arena->honest.payer);
    for (size_t i = 0; i < arena->honest.payer->seen_count; i++)
        assert_false(arena->honest.payer->seen[i].is_operation &&
                     arena->honest.payer->seen[i].operation.type == OPERATION_REFUND);
}

static void fail_of_a_direct_payment(struct arena *arena)
{
    struct operation pay = pay_of(arena, 50);
    wire_do(arena->world.payer, &pay, NULL);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    struct payment_id id = payment_id_of_payee(&arena->world.payer->channel->id, &pay.id);
    wire_fail(arena->world.payee, &id, CODE_INVOICE);
    struct payment_id unknown = {{7}};
    wire_fail(arena->world.payee, &unknown, CODE_INVOICE);
    expect_silence(arena->world.payee);
    expect_silence(arena->world.payer);
}

static void secret_of_anothers_payment(struct arena *arena)
{
    struct operation pay =
        payment_of(arena->honest.payer, arena->honest.payee, OPERATION_PAY, 30, &no_condition);
    wire_do(arena->honest.payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&arena->honest.payer->channel->id, &pay.id);
    (void)wire_operation(arena->honest.payee, OPERATION_PAY, &id);
    static const uint8_t any[32] = {1};
    wire_reveal(arena->world.payee, &id, any);
    expect_silence(arena->world.payee);
    expect_silence(arena->honest.payer);
}

static void outcomes_of_anothers(struct arena *arena)
{
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = arena->honest.payer->channel->id;
    link_send(arena->world.payer->link, &resume);
    expect_code(arena->world.payer, CODE_CHANNEL);
}

static void ack_of_the_future(struct arena *arena)
{
    struct message ack = {.type = MESSAGE_ACK, .ack = {arena->world.payer->channel->id, 99}};
    link_send(arena->world.payer->link, &ack);
    expect_code(arena->world.payer, CODE_NONCE);
}

static void resume_of_the_future(struct arena *arena)
{
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = arena->world.payer->channel->id;
    resume.resume.received = 77;
    link_send(arena->world.payer->link, &resume);
    expect_code(arena->world.payer, CODE_NONCE);
}

static void ack_for_another(struct arena *arena)
{
    struct message ack = {.type = MESSAGE_ACK, .ack = {arena->honest.payee->channel->id, 1}};
    link_send(arena->world.payer->link, &ack);
    expect_code(arena->world.payer, CODE_CHANNEL);
}

/* ---- much for little ---- */

static void resume_again_and_again(struct arena *arena)
{
    static struct payment_id ids[OUTCOMES_PER_MESSAGE_MAX];
    struct message resume = {.type = MESSAGE_RESUME};
    for (size_t i = 0; i < OUTCOMES_PER_MESSAGE_MAX; i++)
        store_be64(ids[i].bytes, i + 1000000);
    resume.resume.channel = arena->world.payer->channel->id;
    resume.resume.ids = ids;
    resume.resume.count = OUTCOMES_PER_MESSAGE_MAX;
    for (int i = 0; i < 40; i++)
        link_send(arena->world.payer->link, &resume);
    expect_silence(arena->world.payer);
}

static void refunds_of_nothing(struct arena *arena)
{
    static struct operation back[OPERATIONS_MAX];
    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        back[i] = (struct operation){.type = OPERATION_REFUND, .code = CODE_PAID};
        store_be64(back[i].id.bytes, i + 1000000);
    }
    wire_send_kept(arena->world.payee, wire_seal(arena->world.payee, back, OPERATIONS_MAX, NULL));
    wire_settle_down(arena->world.payee);
    expect_silence(arena->world.payee);
    expect_silence(arena->world.payer);
    assert_int_equal(channel_peer(arena->world.payer->channel)->proof.nonce, 0);
}

/* ---- a payee that lets updates pile up ---- */

#define PILE_UPDATES  45
#define PILE_PAYMENTS 150 /* of one update, with the longest memo: 55 KB */

static bool room_has_come(void *context)
{
    const struct wire_client *payee = context;
    return payee->closed ||
           payee->channel->funds.total.units == PAYEE_OWN + ROOM + PILE_UPDATES * PILE_PAYMENTS;
}

static void send_pile(struct arena *arena)
{
    static struct operation pays[PILE_PAYMENTS];
    char memo[MEMO_BYTES_MAX];
    memset(memo, 'm', sizeof memo);
    for (int update = 0; update < PILE_UPDATES; update++) {
        for (size_t i = 0; i < PILE_PAYMENTS; i++) {
            pays[i] = i > 0 ? pays[0] : pay_of(arena, 1);
            pays[i].id = wire_id(arena->world.payer);
            pays[i].memo = (struct text){memo, sizeof memo};
        }
        wire_send_kept(arena->world.payer, wire_seal(arena->world.payer, pays, PILE_PAYMENTS, NULL));
        wire_settle_down(arena->world.payer);
    }
}

static bool newest_has_come(void *context)
{
    struct wire_client *payee = context;
    const struct shown_proof *newest = &payee->shown.message.channel.streams[SIDE_HUB].newest;
    for (size_t i = 0; i < payee->seen_count; i++) {
        const struct seen *seen = &payee->seen[i];
        if (!seen->is_operation && seen->message.type == MESSAGE_UPDATE &&
            seen->message.update.proof.nonce >= newest->proof.nonce)
            return true;
    }
    return payee->closed;
}

/* It takes all updates and acknowledges none; a hub that sent all of them again at once would drop the link at 2 MiB,
 * whenever it came back. */
static void updates_pile_up(struct arena *arena)
{
    struct wire_client *payee = arena->world.payee;
    struct fund fund = {payee->channel_key, amount_of(PILE_UPDATES * PILE_PAYMENTS)};
    ledger_call_as(
        arena->stage, &arena->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
    mine(arena->stage);
    assert_true(holds_in_time(arena->stage, room_has_come, payee));
    payee->silent = arena->world.payer->silent = true;
    send_pile(arena);
    for (int i = 0; i < 2; i++) {
        wire_leave(payee);
        wire_connect(payee);
        assert_true(holds_in_time(arena->stage, newest_has_come, payee));
        if (payee->closed)
            fail_msg("its link is gone: %s", payee->reason);
    }
    /* What still waited is signed then: nothing is left that would go back to its payer later. */
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.channel = payee->channel->id;
    ack.ack.nonce = payee->shown.message.channel.streams[SIDE_HUB].newest.proof.nonce;
    link_send(payee->link, &ack);
    expect_silence(payee);
    assert_in_range(payee->kept_updates.length, CHANNEL_UNDER_WAY_BYTES_MAX, 4 * CHANNEL_UNDER_WAY_BYTES_MAX);
}

const struct attack attacks_payments[] = {
    {"payment id", "a used id, another amount, another payee", "refund DUPLICATE", id_with_other_contents,
     false},
    {"payment id", "one id twice in one update", "refund DUPLICATE", id_twice_in_one_update, false},
    {"payment id", "the id of a lock that stands", "FAIL, refund DUPLICATE", id_of_a_lock, false},
    {"payment", "a fee one short, and none", "refund FEE", fee_too_low, false},
    {"payment", "to oneself", "refund PAYEE", to_oneself, false},
    {"payment", "to nobody, and to address zero", "refund PAYEE", to_nobody, false},
    {"payment", "to the hub", "refund PAYEE", to_the_hub, false},
    {"payment", "of 0", "refund AMOUNT", of_nothing, false},
    {"payment", "of more than the payee has room for", "refund ROOM", over_the_room, false},
    {"payment", "expired, too short, too long, for ever", "refund EXPIRED", expiry_out_of_bounds, false},
    {"payment", "a memo of 257 bytes", "ERROR BODY", memo_too_long, false},
    {"payment", "a memo that is not UTF-8", "ERROR BODY", memo_not_utf8, false},
    {"payment", "many to one who is away", "refund LIMIT, FAIL OFFLINE", pile_for_an_absent_payee, false},
    {"payee", "sends a payment back twice", "one refund; the rest is its own loss", refund_twice, false},
    {"payee", "sends back another amount", "no refund; its own loss", refund_of_another_amount, false},
    {"payee", "sends back another payee's payment", "no refund; its own loss", refund_of_anothers, false},
    {"payee", "fails a direct payment, and an unknown one", "nothing happens", fail_of_a_direct_payment,
     false},
    {"payee", "a secret for another payee's payment", "nothing happens", secret_of_anothers_payment, false},
    {"payee", "1,024 refunds of payments that never were", "nothing happens", refunds_of_nothing, false},
    {"payee", "45 updates of 55 KB, none acknowledged", "512 KiB, also when it comes back; refund LIMIT",
     updates_pile_up, false},
    {"resync", "RESUME again and again for 1,024 unknown ids", "nothing happens; it is read from less",
     resume_again_and_again, false},
    {"other's channel", "RESUME of another's channel", "ERROR CHANNEL", outcomes_of_anothers, false},
    {"other's channel", "ACK for another's channel", "ERROR CHANNEL", ack_for_another, false},
    {"resync", "ACK of an update that was never signed", "ERROR NONCE", ack_of_the_future, false},
    {"resync", "RESUME after an update that was never signed", "ERROR NONCE", resume_of_the_future, false},
    {0},
};
