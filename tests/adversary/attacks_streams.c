/* Nonces and sums: updates skipped, repeated, reordered, and totals that do not follow or overflow. */
#include "tests/adversary/arena.h"

/* ---- nonces ---- */

static void with_nonce(struct arena *arena, uint64_t nonce)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(arena->world.payer, &pay, 1, moved, 0);
    forged.proof.nonce = nonce;
    refused(arena->world.payer, forged, CODE_NONCE);
}

static void nonce_skipped(struct arena *arena)
{
    still_good(&arena->world, 5);
    with_nonce(arena, 3);
}

static void nonce_repeated(struct arena *arena)
{
    still_good(&arena->world, 5);
    still_good(&arena->world, 6);
    with_nonce(arena, 2);
    with_nonce(arena, 1);
}

static void nonce_zero(struct arena *arena)
{
    with_nonce(arena, 0);
}

static void nonce_huge(struct arena *arena)
{
    with_nonce(arena, UINT64_MAX);
    with_nonce(arena, (uint64_t)1 << 63);
    with_nonce(arena, (uint64_t)1 << 32 | 1);
}

static struct buffer frame_with(const struct wire_client *client, const struct kept_update *kept,
                                struct signature signature)
{
    struct message message = {.type = MESSAGE_UPDATE};
    struct buffer frame = {0};
    message.update =
        (struct update){client->channel->id, kept->proof, signature, kept->body, kept->body_length};
    message_encode(&frame, &message);
    return frame;
}

static struct buffer frame_of(const struct wire_client *client, const struct kept_update *kept)
{
    return frame_with(client, kept, kept->signature);
}

static void newest_again(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved, taken = hub_figure(arena->stage, "updates_received_total");
    struct operation pay = small_pay(arena, &moved);
    struct buffer frame = frame_of(payer, wire_seal(payer, &pay, 1, NULL));
    for (int i = 0; i < 200; i++)
        link_send_frame(payer->link, frame.data, frame.length);
    buffer_free(&frame);
    wire_settle_down(payer);
    expect_silence(payer);
    assert_int_equal(hub_figure(arena->stage, "updates_received_total"), taken + 1);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    assert_int_equal(channel_peer(arena->world.payee->channel)->proof.transferred.units, 20);
}

/* An update that others have followed since. */
static void older_again(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct buffer frame = frame_of(payer, wire_seal(payer, &pay, 1, NULL));
    link_send_frame(payer->link, frame.data, frame.length);
    still_good(&arena->world, 5);
    link_send_frame(payer->link, frame.data, frame.length);
    buffer_free(&frame);
    expect_code(payer, CODE_NONCE);
}

static void reordered(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved;
    struct operation one = small_pay(arena, &moved), two = small_pay(arena, &moved);
    struct buffer first = frame_of(payer, wire_seal(payer, &one, 1, NULL));
    struct buffer second = frame_of(payer, wire_seal(payer, &two, 1, NULL));
    link_send_frame(payer->link, second.data, second.length);
    expect_code(payer, CODE_NONCE);
    link_send_frame(payer->link, first.data, first.length);
    link_send_frame(payer->link, second.data, second.length);
    wire_settle_down(payer);
    (void)payee_has(arena, OPERATION_PAY, &one);
    (void)payee_has(arena, OPERATION_PAY, &two);
    buffer_free(&first);
    buffer_free(&second);
}

/* The same nonce with the same content, but signed with the other parity bit: a signature that is good too. It may
 * be acknowledged again or refused; it must not be booked twice. */
static void parity_flipped(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved, taken = hub_figure(arena->stage, "updates_received_total");
    struct operation pay = small_pay(arena, &moved);
    const struct kept_update *kept = wire_seal(payer, &pay, 1, NULL);
    struct signature flipped = kept->signature;
    struct buffer first = frame_of(payer, kept);
    flipped.bytes[32] ^= 0x80;
    struct buffer second = frame_with(payer, kept, flipped);
    link_send_frame(payer->link, first.data, first.length);
    link_send_frame(payer->link, second.data, second.length);
    buffer_free(&first);
    buffer_free(&second);
    expect_code(payer, CODE_NONCE);
    assert_int_equal(hub_figure(arena->stage, "updates_received_total"), taken + 1);
    (void)payee_has(arena, OPERATION_PAY, &pay);
}

/* ---- sums ---- */

static void with_sums(struct arena *arena, int64_t moved_change, int64_t locked_change, enum code code)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged =
        forge(arena->world.payer, &pay, 1, moved + (uint64_t)moved_change, (uint64_t)locked_change);
    refused(arena->world.payer, forged, code);
}

static void transferred_less(struct arena *arena)
{
    with_sums(arena, -1, 0, CODE_TRANSFERRED);
}

static void transferred_more(struct arena *arena)
{
    with_sums(arena, 1, 0, CODE_TRANSFERRED);
}

static void transferred_falls(struct arena *arena)
{
    still_good(&arena->world, 50);
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(arena->world.payer, &pay, 1, 0, 0);
    forged.proof.transferred.units = 1;
    refused(arena->world.payer, forged, CODE_TRANSFERRED);
}

static void locked_wrong(struct arena *arena)
{
    with_sums(arena, 0, 1, CODE_LOCKED);
}

static void root_wrong(struct arena *arena)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(arena->world.payer, &pay, 1, moved, 0);
    forged.proof.locks_root.bytes[31] = 1;
    refused(arena->world.payer, forged, CODE_ROOT);
}

static void pay_of(struct arena *arena, uint64_t units, uint64_t fee, uint64_t says, enum code code)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    pay.amount.units = units;
    pay.fee.units = fee;
    refused(arena->world.payer, forge(arena->world.payer, &pay, 1, says, 0), code);
}

static void more_than_it_has(struct arena *arena)
{
    pay_of(arena, 2 * DEPOSIT, 300, 2 * DEPOSIT + 300, CODE_AVAILABLE);
    pay_of(arena, DEPOSIT, 300, DEPOSIT + 300, CODE_AVAILABLE);
}

static void into_the_reserve(struct arena *arena)
{
    uint64_t reserve = DEPOSIT / 100;
    pay_of(arena, 1000, DEPOSIT - reserve - 999, DEPOSIT - reserve + 1, CODE_AVAILABLE);
}

static void just_below_the_limit(struct arena *arena)
{
    pay_of(arena, AMOUNT_LIMIT - 1, 0, AMOUNT_LIMIT - 1, CODE_AVAILABLE);
}

static void sum_overflows(struct arena *arena)
{
    pay_of(arena, AMOUNT_LIMIT - 1, AMOUNT_LIMIT - 1, UINT64_MAX - 1, CODE_TRANSFERRED);
    pay_of(arena, AMOUNT_LIMIT - 1, 1, AMOUNT_LIMIT - 1, CODE_TRANSFERRED);
}

/* Amounts that wrap a 64-bit sum to something small. */
static void sum_wraps(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    static struct operation many[OPERATIONS_MAX];
    uint64_t moved;
    for (size_t i = 0; i < 4; i++) {
        many[i] = small_pay(arena, &moved);
        many[i].amount.units = (uint64_t)1 << 62;
        many[i].fee.units = 5;
    }
    refused(payer, forge(payer, many, 4, 20, 0), CODE_TRANSFERRED);
    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        many[i] = many[0];
        many[i].id = wire_id(payer);
        many[i].amount.units = (uint64_t)1 << 54;
        many[i].fee.units = 0;
    }
    struct forged forged = forge(payer, many, 600, 0, 0);
    refused(payer, forged, CODE_TRANSFERRED);
}

static void amount_over_the_limit(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    pay.amount.units = AMOUNT_LIMIT;
    refused(payer, forge(payer, &pay, 1, 20, 0), CODE_TRANSFERRED);
    pay.amount.units = UINT64_MAX;
    refused(payer, forge(payer, &pay, 1, 20, 0), CODE_TRANSFERRED);
}

/* Two updates at once, each of which could be paid for alone. */
static void spent_twice(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t most = DEPOSIT - DEPOSIT / 100;
    struct operation pay = payment_of(payer, arena->world.payee, OPERATION_PAY, 3000, &no_condition);
    pay.fee = amount_of(most - 3000);
    wire_do(payer, &pay, NULL);
    refused(payer, forge(payer, &pay, 1, most, 0), CODE_AVAILABLE);
    (void)payee_has(arena, OPERATION_PAY, &pay);
}

/* A payee "refunds" what it never had. */
static void refund_of_nothing(struct arena *arena)
{
    struct wire_client *payee = arena->world.payee;
    struct operation back = {
        .type = OPERATION_REFUND, .id = {{9}}, .amount = amount_of(PAYEE_OWN + 1), .code = CODE_PAID};
    refused(payee, forge(payee, &back, 1, PAYEE_OWN + 1, 0), CODE_AVAILABLE);
}

static void malformed_bodies(struct arena *arena)
{
    static const struct {
        size_t at;
        uint8_t byte;
    } changes[] = {{0, 0x90}, {0, 0x92}, {0, 0xc0}, {2, 0}, {2, 7}, {3, 0xc0}, {3, 0xff}, {3, 0xcb}};
    struct wire_client *payer = arena->world.payer;
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 9};
    for (size_t i = 0; i < ARRAY_LENGTH(changes); i++) {
        struct forged forged = forge(payer, &unlock, 1, 0, 0);
        forged.body.data[changes[i].at] = changes[i].byte;
        refused(payer, forged, CODE_BODY);
    }
}

static void too_many_operations(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    static struct operation many[OPERATIONS_MAX];
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        many[i] = (struct operation){.type = OPERATION_UNLOCK, .lock_id = 9};
    struct forged forged = forge(payer, many, OPERATIONS_MAX, 0, 0);
    struct buffer one = {0};
    body_encode(&one, many, 1);
    buffer_append(&forged.body, one.data + 1, one.length - 1);
    store_be16(forged.body.data + 1, OPERATIONS_MAX + 1);
    buffer_free(&one);
    refused(payer, forged, CODE_BODY);
}

const struct attack attacks_streams[] = {
    {"nonce", "a nonce left out", "ERROR NONCE", nonce_skipped, false},
    {"nonce", "used nonces with other contents", "ERROR NONCE", nonce_repeated, false},
    {"nonce", "nonce 0", "ERROR NONCE", nonce_zero, false},
    {"nonce", "nonces 2^64 - 1, 2^63 and 2^32 + 1", "ERROR NONCE", nonce_huge, false},
    {"nonce", "the newest update 200 times", "ACK, booked once", newest_again, false},
    {"nonce", "an older update again, byte for byte", "ERROR NONCE", older_again, false},
    {"nonce", "two updates in the wrong order", "ERROR NONCE, then each counts once", reordered, false},
    {"nonce", "an update again, its signature's parity flipped", "ERROR NONCE", parity_flipped, false},
    {"sum", "transferred one less than the body says", "ERROR TRANSFERRED", transferred_less, false},
    {"sum", "transferred one more than the body says", "ERROR TRANSFERRED", transferred_more, false},
    {"sum", "a transferred that falls", "ERROR TRANSFERRED", transferred_falls, false},
    {"sum", "a locked that no operation explains", "ERROR LOCKED", locked_wrong, false},
    {"sum", "a locks root that is not the set's", "ERROR ROOT", root_wrong, false},
    {"sum", "a payment of more than the payer has", "ERROR AVAILABLE", more_than_it_has, false},
    {"sum", "a payment that takes one unit of the reserve", "ERROR AVAILABLE", into_the_reserve, false},
    {"sum", "a payment of 2^63 - 1", "ERROR AVAILABLE", just_below_the_limit, false},
    {"sum", "amount and fee that reach 2^63 together", "ERROR TRANSFERRED", sum_overflows, false},
    {"sum", "operations whose sum wraps 64 bits to a small one", "ERROR TRANSFERRED", sum_wraps, false},
    {"sum", "an amount of 2^63, and of 2^64 - 1", "ERROR TRANSFERRED", amount_over_the_limit, false},
    {"sum", "the same money in two updates at once", "ERROR AVAILABLE", spent_twice, false},
    {"sum", "a payee's refund of what it never had", "ERROR AVAILABLE", refund_of_nothing, false},
    {"body", "bodies with wrong heads, types, nil, negatives, floats", "ERROR BODY", malformed_bodies, false},
    {"body", "1,025 operations", "ERROR BODY", too_many_operations, false},
    {0},
};
