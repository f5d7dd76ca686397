/* The hub as a process, spoken to by hand: the order in which an update is judged, what each refusal says and leaves
 * unchanged, what is malformed, and what ends a link. */
#include "tests/e2e/hub_pair.h"

/* ---- the order of judgement ---- */

/* Each update breaks one rule and all the later ones too: the code is the first's. */
static void test_the_first_broken_rule_gives_the_code(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct secret_key stranger = key_of("stranger");
    still_good(world, 10);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 20, &no_condition);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 9};
    struct operation old_lock = payment_of(payer, world->payee, OPERATION_LOCK, 200, &no_condition);
    struct operation wrong[2] = {unlock, old_lock}, other[2] = {old_lock, unlock};
    uint64_t cost = 20 + pay.fee.units, too_much = 2 * DEPOSIT;

    struct forged forged = forge(payer, &unlock, 1, 1, 1);
    forged.channel.bytes[0] ^= 1;
    forged.proof.nonce += 7;
    forged.signer = &stranger;
    refused(payer, forged, CODE_CHANNEL);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.proof.nonce++;
    forged.signer = &stranger;
    forged.body.data[0] = 0xc0;
    refused(payer, forged, CODE_NONCE);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.signer = &stranger;
    forged.body.data[0] = 0xc0;
    refused(payer, forged, CODE_BODY);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.signer = &stranger;
    refused(payer, forged, CODE_SIGNATURE);

    refused(payer, forge(payer, wrong, 2, 1, 1), CODE_NO_LOCK);
    refused(payer, forge(payer, other, 2, 1, 1), CODE_LOCK_ID);

    pay.amount = amount_of(too_much);
    forged = forge(payer, &pay, 1, too_much, 1);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_TRANSFERRED);

    forged = forge(payer, &pay, 1, too_much + pay.fee.units, 1);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_LOCKED);

    forged = forge(payer, &pay, 1, too_much + pay.fee.units, 0);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_ROOT);

    refused(payer, forge(payer, &pay, 1, too_much + pay.fee.units, 0), CODE_AVAILABLE);

    pay.amount = amount_of(20);
    refused(payer, forge(payer, &pay, 1, cost + 1, 0), CODE_TRANSFERRED);
    assert_int_equal(hub_figure(world->stage, "updates_refused_total") >= 10, true);
    still_good(world, 20);
    shown_as_known(payer);
    shown_as_known(world->payee);
}

static void test_the_reserve_stays_and_the_rest_may_go(void **state)
{
    struct world *world = *state;
    uint64_t reserve = DEPOSIT / 100;
    struct operation pay = payment_of(world->payer, world->payee, OPERATION_PAY, 3000, &no_condition);
    pay.fee = amount_of(DEPOSIT - reserve - 3000 + 1);
    refused(world->payer, forge(world->payer, &pay, 1, DEPOSIT - reserve + 1, 0), CODE_AVAILABLE);
    pay.fee.units--;
    wire_do(world->payer, &pay, NULL); /* a fee above the hub's is the payer's own choice */
    wire_settle_down(world->payer);
    struct payment_id id = payment_id_of_payee(&world->payer->channel->id, &pay.id);
    (void)wire_operation(world->payee, OPERATION_PAY, &id);
    shown_as_known(world->payer);
}

static void test_nonces(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    still_good(world, 10);
    still_good(world, 11);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 12, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = 2; /* taken, with another content */
    refused(payer, forged, CODE_NONCE);
    forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = 0;
    refused(payer, forged, CODE_NONCE);
    forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = UINT64_MAX;
    refused(payer, forged, CODE_NONCE);
    still_good(world, 12);
}

/* The very bytes again: acknowledged again, booked once. */
static void test_an_identical_update_is_acknowledged_again(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct pending_lock touched;
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 30, &no_condition);
    const struct kept_update *kept = wire_seal(payer, &pay, 1, &touched);
    struct message again = {.type = MESSAGE_UPDATE};
    struct buffer body = {0};
    buffer_append(&body, kept->body, kept->body_length);
    again.update = (struct update){payer->channel->id, kept->proof, kept->signature, body.data, body.length};
    uint64_t nonce = kept->proof.nonce; /* kept until it is acknowledged */
    uint64_t taken = hub_figure(world->stage, "updates_received_total");
    for (unsigned i = 0; i < 3; i++) {
        link_send(payer->link, &again);
        assert_int_equal(wire_expect(payer, MESSAGE_ACK)->message.ack.nonce, nonce);
    }
    buffer_free(&body);
    assert_int_equal(hub_figure(world->stage, "updates_received_total"), taken + 1);
    still_good(world, 31);
    assert_int_equal(channel_peer(world->payee->channel)->proof.transferred.units, 30 + 31);
}

static void body_is_refused(struct wire_client *payer, const struct operation *operation, size_t at,
                            uint8_t byte)
{
    struct forged forged = forge(payer, operation, 1, 0, 0);
    forged.body.data[at] = byte;
    refused(payer, forged, CODE_BODY);
}

static void test_malformed_bodies(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 9};
    body_is_refused(payer, &unlock, 2, 0);    /* [0, …]: no such operation */
    body_is_refused(payer, &unlock, 2, 7);    /* [7, …] */
    body_is_refused(payer, &unlock, 0, 0x92); /* says two, has one */
    body_is_refused(payer, &unlock, 0, 0x90); /* none, and bytes left over */
    body_is_refused(payer, &unlock, 0, 0xc0); /* nil */
    body_is_refused(payer, &unlock, 3, 0xc0); /* a lock id that is nil */
    body_is_refused(payer, &unlock, 3, 0xff); /* a negative one */
    struct operation kind = payment_of(payer, world->payee, OPERATION_LOCK, 200, &no_condition);
    kind.kind = 2;
    refused(payer, forge(payer, &kind, 1, 0, 0), CODE_BODY);
    struct forged forged = forge(payer, &unlock, 1, 0, 0);
    forged.body.length--;
    refused(payer, forged, CODE_BODY);
    forged = forge(payer, &unlock, 1, 0, 0);
    forged.body.length = 0;
    refused(payer, forged, CODE_BODY);
    struct operation many[OPERATIONS_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
        many[i] = unlock;
    refused(payer, forge(payer, many, OPERATIONS_MAX, 0, 0), CODE_NO_LOCK);
    forged = forge(payer, many, OPERATIONS_MAX, 0, 0);
    struct buffer one = {0};
    body_encode(&one, &unlock, 1);
    buffer_append(&forged.body, one.data + 1, one.length - 1);
    store_be16(forged.body.data + 1, OPERATIONS_MAX + 1); /* array 16: its length follows the head */
    buffer_free(&one);
    refused(payer, forged, CODE_BODY);
    still_good(world, 10);
}

/* ---- the link ---- */

static void send_raw(struct wire_client *client, const void *payload, size_t length)
{
    struct buffer frame = {0};
    buffer_u32(&frame, (uint32_t)length);
    buffer_append(&frame, payload, length);
    link_send_frame(client->link, frame.data, frame.length);
    buffer_free(&frame);
}

/* The frame ends the link, with ERROR MALFORMED; a new link is as good as ever. */
static void is_fatal(struct wire_client *client, const void *payload, size_t length)
{
    send_raw(client, payload, length);
    wire_expect_closed(client, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(client);
}

static void test_malformed_frames_end_the_link(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    const uint8_t not_an_array[] = {0x07}, unknown_type[] = {0x91, 0x63}, nil[] = {0x92, 0x07, 0xc0};
    const uint8_t short_ack[] = {0x92, 0x07, 0xc4},
                  two[] = {0x92, 0x0f, 0xc4, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x90};
    const uint8_t deep[] = {0x93, 0x13, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90};
    is_fatal(payer, not_an_array, sizeof not_an_array);
    is_fatal(payer, unknown_type, sizeof unknown_type);
    is_fatal(payer, nil, sizeof nil);
    is_fatal(payer, short_ack, sizeof short_ack);
    is_fatal(payer, two, sizeof two);
    is_fatal(payer, deep, sizeof deep);
    is_fatal(payer, "", 0);
    const uint8_t too_long[] = {0x00, 0x04, 0x00, 0x01};
    link_send_frame(payer->link, too_long, sizeof too_long);
    wire_expect_closed(payer, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(payer);
    still_good(world, 10);
}

static void is_out_of_place(struct wire_client *client, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    link_send_frame(client->link, frame.data, frame.length);
    buffer_free(&frame);
    wire_expect_closed(client, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(client);
}

static void test_messages_out_of_place_end_the_link(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct message message = {.type = MESSAGE_FUNDED};
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_SETTLE_PROPOSE};
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_FETCH}; /* a tower's */
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_AUTH}; /* the handshake is over */
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_HELLO, .hello.version = 1};
    is_out_of_place(payer, &message);
    still_good(world, 10);
}

static void test_messages_about_strange_channels(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct message message = {.type = MESSAGE_RESUME};
    message.resume.channel = world->payee->channel->id; /* another's */
    link_send(payer->link, &message);
    const struct seen *seen = wire_expect(payer, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_CHANNEL);
    assert_false(seen->message.error.fatal);
    message = (struct message){.type = MESSAGE_ACK, .ack = {payer->channel->id, 99}};
    link_send(payer->link, &message);
    seen = wire_expect(payer, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_NONCE);
    struct signature signature = {{0}};
    message = (struct message){.type = MESSAGE_REVOKE, .revoke = {payer->channel->id, 99, signature}};
    link_send(payer->link, &message);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_NONCE);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 10, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 10 + pay.fee.units, 0);
    forged.channel = world->payee->channel->id;
    refused(payer, forged, CODE_CHANNEL);
    still_good(world, 10);
}

static void test_who_may_connect(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    const struct asset_terms *terms = &payer->terms.assets[0];
    assert_int_equal(payer->terms.asset_count, 1);
    assert_int_equal(payer->terms.confirmations, 1);
    assert_int_equal(terms->base_fee.units, 2);
    assert_int_equal(terms->fee_ppm, 1000);
    assert_int_equal(terms->min_lock.units, 100);
    assert_int_equal(terms->max_lock.units, 20000);
    assert_int_equal(terms->max_locks_per_payer, LOCKS_PER_PAYER);
    struct wire_client *newer = wire_new(world->stage, payer->name), *hub = wire_new(world->stage, "hub");
    wire_connect(newer);
    wire_expect_closed(payer, LINK_CLOSED_ERROR, "REPLACED");
    hub->key = world->stage->hub;
    wire_dial(hub);
    wire_expect_closed(hub, LINK_CLOSED_ERROR, "AUTH");
    wire_free(newer);
    wire_free(hub);
    wire_connect(payer);
    still_good(world, 10);
}

/* A channel whose close was begun takes nothing more. */
static void test_a_closing_channel_takes_nothing(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    still_good(world, 10);
    const struct balance_proof *own = &channel_own(payer->channel)->proof;
    struct contract_call close = {
        .function = CONTRACT_START_CLOSE,
        .key = payer->channel_key,
        .own = {own->nonce, own->transferred, own->locked, own->locks_root},
    };
    ledger_call_as(world->stage, &payer->key, &close, 0);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    mine(world->stage);
    mine(world->stage);
    while (hub_figure(world->stage, "closes_seen_total") == 0 && clock_monotonic_us() < end_us)
        turn(world->stage);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 10, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 10 + pay.fee.units, 0);
    forged.proof.nonce += 3;
    refused(payer, forged, CODE_STATUS);
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = payer->channel->id;
    request.settle_request.amount = amount_of(10);
    link_send(payer->link, &request);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_STATUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_the_first_broken_rule_gives_the_code),
        PAIR_TEST(test_the_reserve_stays_and_the_rest_may_go),
        PAIR_TEST(test_nonces),
        PAIR_TEST(test_an_identical_update_is_acknowledged_again),
        PAIR_TEST(test_malformed_bodies),
        PAIR_TEST(test_malformed_frames_end_the_link),
        PAIR_TEST(test_messages_out_of_place_end_the_link),
        PAIR_TEST(test_messages_about_strange_channels),
        PAIR_TEST(test_who_may_connect),
        PAIR_TEST(test_a_closing_channel_takes_nothing),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
