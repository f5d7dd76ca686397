/* Locks that may not be, witnesses that do not fit, and payees and payers that do not play along. */
#include "tests/adversary/arena.h"

static const uint8_t secret[32] = {1, 2, 3, 4}, wrong_secret[32] = {5};

static struct operation lock_of(struct arena *arena, uint64_t units)
{
    struct hash condition = condition_of_secret(secret);
    return payment_of(arena->world.payer, arena->world.payee, OPERATION_LOCK, units, &condition);
}

/* A lock of 500 that has come to the payee. */
struct standing {
    struct operation operation;
    struct pending_lock lock;
    struct payment_id id; /* on the payee's leg */
    uint64_t held;
};

static struct standing standing_lock(struct arena *arena)
{
    struct standing standing = {.operation = lock_of(arena, 500)};
    wire_do(arena->world.payer, &standing.operation, &standing.lock);
    wire_settle_down(arena->world.payer);
    (void)payee_has(arena, OPERATION_LOCK, &standing.operation);
    standing.id = payment_id_of_payee(&arena->world.payer->channel->id, &standing.operation.id);
    standing.held = 500 + standing.operation.fee.units;
    return standing;
}

/* The payer has the secret, and unlocks. */
static void unlocks(struct arena *arena, const struct standing *standing)
{
    struct wire_client *payer = arena->world.payer;
    const struct seen *shown = wire_wait(payer, false, MESSAGE_REVEAL, &standing->operation.id);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = standing->lock.lock.id};
    unlock.witness = shown->revealed.witness;
    wire_do(payer, &unlock, NULL);
    (void)wire_operation(arena->world.payee, OPERATION_UNLOCK, NULL);
    wire_settle_down(payer);
    assert_int_equal(channel_own(payer->channel)->proof.transferred.units, standing->held);
    assert_int_equal(channel_peer(arena->world.payee->channel)->proof.transferred.units, 500);
}

/* The payment ends as it should: nothing that was tried has changed it. */
static void pays_out(struct arena *arena, const struct standing *standing)
{
    wire_reveal(arena->world.payee, &standing->id, secret);
    unlocks(arena, standing);
}

static void change_refused(struct arena *arena, struct operation change, uint64_t moved, enum code code)
{
    refused(arena->world.payer, forge(arena->world.payer, &change, 1, moved, 0), code);
}

/* ---- ids and places ---- */

static void id_does_not_grow(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation again = lock_of(arena, 500);
    again.lock_id = standing.lock.lock.id;
    refused(arena->world.payer, forge(arena->world.payer, &again, 1, 0, standing.held), CODE_LOCK_ID);
    again.lock_id = 0;
    refused(arena->world.payer, forge(arena->world.payer, &again, 1, 0, standing.held), CODE_LOCK_ID);
    pays_out(arena, &standing);
}

static void place_is_taken(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation again = lock_of(arena, 500);
    again.lock_id = standing.lock.lock.id + LOCKS_PER_STREAM_MAX;
    refused(arena->world.payer, forge(arena->world.payer, &again, 1, 0, standing.held), CODE_LOCK_ID);
    pays_out(arena, &standing);
}

static void two_on_one_place(struct arena *arena)
{
    struct operation two[2] = {lock_of(arena, 200), lock_of(arena, 200)};
    two[0].lock_id = 7;
    two[1].lock_id = 7 + LOCKS_PER_STREAM_MAX;
    uint64_t held = 2 * (200 + two[0].fee.units);
    refused(arena->world.payer, forge(arena->world.payer, two, 2, 0, held), CODE_LOCK_ID);
    two[1].lock_id = 7;
    refused(arena->world.payer, forge(arena->world.payer, two, 2, 0, held), CODE_LOCK_ID);
}

static void too_many_for_a_stream(struct arena *arena)
{
    static struct operation many[OPERATIONS_MAX];
    struct wire_client *payer = arena->world.payer;
    struct pending_lock touched;
    struct operation first = lock_of(arena, 100);
    wire_do(payer, &first, &touched); /* one; 1,024 more do not fit */
    wire_settle_down(payer);
    (void)payee_has(arena, OPERATION_LOCK, &first);
    uint64_t held = 0;
    for (size_t i = 0; i < 400; i++) {
        many[i] = first;
        many[i].id = wire_id(payer);
        many[i].amount.units = 1;
        many[i].fee.units = 0;
        many[i].lock_id =
            touched.lock.id + LOCKS_PER_STREAM_MAX - 399 + i; /* the last one's place is taken */
        held++;
    }
    refused(payer, forge(payer, many, 400, 0, held), CODE_LOCK_ID);
}

static void too_many_for_a_payer(struct arena *arena)
{
    for (unsigned i = 0; i < LOCKS_PER_PAYER; i++) {
        struct operation lock = lock_of(arena, 200);
        wire_do(arena->world.payer, &lock, NULL);
        (void)payee_has(arena, OPERATION_LOCK, &lock);
    }
    struct operation lock = lock_of(arena, 200);
    lock_fails(arena, &lock, CODE_LIMIT);
}

static void kind_unknown(struct arena *arena)
{
    struct operation lock = lock_of(arena, 200);
    lock.kind = 2;
    refused(arena->world.payer, forge(arena->world.payer, &lock, 1, 0, 200 + lock.fee.units), CODE_BODY);
}

/* ---- amounts and times ---- */

static void expired(struct arena *arena)
{
    struct operation lock = lock_of(arena, 200);
    lock.expiry = arena->stage->now - 1;
    lock_fails(arena, &lock, CODE_EXPIRED);
    lock = lock_of(arena, 200);
    lock.expiry = 0;
    lock_fails(arena, &lock, CODE_EXPIRED);
}

static void expires_too_soon(struct arena *arena)
{
    struct operation lock = lock_of(arena, 200);
    lock.expiry = arena->stage->now + 500;
    lock_fails(arena, &lock, CODE_EXPIRED);
}

static void never_expires(struct arena *arena)
{
    struct operation lock = lock_of(arena, 200);
    lock.expiry = arena->stage->now + 90000;
    lock_fails(arena, &lock, CODE_EXPIRED);
    lock = lock_of(arena, 200);
    lock.expiry = UINT64_MAX;
    lock_fails(arena, &lock, CODE_EXPIRED);
}

static void too_small(struct arena *arena)
{
    struct operation lock = lock_of(arena, 99);
    lock_fails(arena, &lock, CODE_AMOUNT);
}

static void too_large(struct arena *arena)
{
    struct operation lock = lock_of(arena, 20001);
    lock_fails(arena, &lock, CODE_AMOUNT);
}

static void held_sum_overflows(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation largest = lock_of(arena, AMOUNT_LIMIT - 1);
    largest.lock_id = standing.lock.lock.id + 1;
    refused(arena->world.payer, forge(arena->world.payer, &largest, 1, 0, 0), CODE_LOCKED);
    pays_out(arena, &standing);
}

/* What is locked is spent beside. */
static void held_is_spent(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    uint64_t most = DEPOSIT - DEPOSIT / 100 - standing.held, moved;
    struct operation pay = small_pay(arena, &moved);
    pay.fee.units = most - 20 + 1;
    refused(arena->world.payer, forge(arena->world.payer, &pay, 1, most + 1, 0), CODE_AVAILABLE);
    pays_out(arena, &standing);
}

/* ---- witnesses ---- */

static void unlock_with(struct arena *arena, const struct witness *witness, enum code code)
{
    struct standing standing = standing_lock(arena);
    struct operation unlock = {
        .type = OPERATION_UNLOCK, .lock_id = standing.lock.lock.id, .witness = *witness};
    change_refused(arena, unlock, standing.held, code);
    pays_out(arena, &standing);
}

static void wrong_witness(struct arena *arena)
{
    struct witness witness = secret_witness(wrong_secret);
    unlock_with(arena, &witness, CODE_WITNESS);
}

/* "Registered on the ledger", which it is not. It might be in a block that the hub has not seen: so it waits, and is
 * refused once the lock is over. */
static void empty_witness(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payer = arena->world.payer;
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = standing.lock.lock.id};
    struct forged forged = forge(payer, &unlock, 1, standing.held, 0);
    forged.proof.locked.units -= standing.held;
    forged.proof.locks_root = HASH_ZERO;
    struct hash channel = forged.channel;
    uint64_t nonce = forged.proof.nonce;
    forged_send(payer, &forged);
    arena_time_passes(arena, 3700);
    expect_error(payer, CODE_WITNESS, &channel, nonce);
    (void)wire_operation(arena->world.payee, OPERATION_EXPIRE, NULL);
}

/* An attestation for a lock on a secret. */
static void witness_of_the_other_kind(struct arena *arena)
{
    struct witness witness = {.length = WITNESS_ATTESTATION_BYTES};
    memcpy(witness.bytes, secret, sizeof secret);
    unlock_with(arena, &witness, CODE_WITNESS);
}

static void witness_of_any_length(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = standing.lock.lock.id};
    for (uint8_t length = 1; length <= WITNESS_BYTES_MAX; length = (uint8_t)(length + 23)) {
        unlock.witness = secret_witness(secret);
        unlock.witness.length = length;
        struct forged forged = forge(arena->world.payer, &unlock, 1, standing.held, 0);
        forged_send(arena->world.payer, &forged);
        const struct seen *seen = wire_expect(arena->world.payer, MESSAGE_ERROR);
        if (seen->message.error.code != CODE_BODY && seen->message.error.code != CODE_WITNESS)
            fail_msg("ERROR %s", code_name(seen->message.error.code));
    }
    pays_out(arena, &standing);
}

static void attestation_by_another(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct secret_key attester = key_of("the attester"), liar = key_of("a liar");
    struct address address = secret_key_address(&attester);
    struct hash event = {{3}}, condition = condition_of_attestation(&address, &event);
    struct operation lock = payment_of(payer, arena->world.payee, OPERATION_LOCK, 300, &condition);
    lock.kind = LOCK_ATTESTATION;
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    wire_settle_down(payer);
    (void)payee_has(arena, OPERATION_LOCK, &lock);
    struct hash digest = digest_attestation(&arena->stage->domain, &event);
    struct signature signature = key_sign(&liar, &digest);
    struct revealed item = {.id = payment_id_of_payee(&payer->channel->id, &lock.id)};
    item.witness.length = WITNESS_ATTESTATION_BYTES;
    memcpy(item.witness.bytes, address.bytes, 20);
    memcpy(item.witness.bytes + 20, event.bytes, 32);
    memcpy(item.witness.bytes + 52, signature.bytes, 64);
    struct message reveal = {.type = MESSAGE_REVEAL};
    reveal.reveal.channel = arena->world.payee->channel->id;
    reveal.reveal.items = &item;
    reveal.reveal.count = 1;
    link_send(arena->world.payee->link, &reveal);
    expect_code(arena->world.payee, CODE_WITNESS);
    signature = key_sign(&attester, &digest);
    memcpy(item.witness.bytes + 52, signature.bytes, 64);
    link_send(arena->world.payee->link, &reveal);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = pending.lock.id, .witness = item.witness};
    wire_do(payer, &unlock, NULL);
    (void)wire_operation(arena->world.payee, OPERATION_UNLOCK, NULL);
}

static void unlock_of_none(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation unlock = {.type = OPERATION_UNLOCK,
                               .lock_id = standing.lock.lock.id + LOCKS_PER_STREAM_MAX,
                               .witness = secret_witness(secret)};
    change_refused(arena, unlock, standing.held, CODE_NO_LOCK);
    pays_out(arena, &standing);
    unlock.lock_id = standing.lock.lock.id; /* a second time */
    change_refused(arena, unlock, standing.held, CODE_NO_LOCK);
}

/* ---- dropping ---- */

static void expire_before_its_time(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = standing.lock.lock.id};
    change_refused(arena, expire, 0, CODE_NOT_EXPIRED);
    pays_out(arena, &standing);
}

static void cancel_unfailed(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = standing.lock.lock.id};
    change_refused(arena, cancel, 0, CODE_NOT_FAILED);
    pays_out(arena, &standing);
}

/* The payer takes its lock back and spends the money at once, in one update: it stays frozen until the hub has
 * revoked. The lock here is one that the hub fails. */
static void cancel_and_spend(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct operation lock = lock_of(arena, 15000);
    lock.expiry = arena->stage->now + 500;
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    (void)wire_wait(payer, false, MESSAGE_FAIL, &lock.id);
    wire_settle_down(payer);
    uint64_t most = DEPOSIT - DEPOSIT / 100, moved;
    struct operation both[2] = {{.type = OPERATION_CANCEL, .lock_id = pending.lock.id},
                                small_pay(arena, &moved)};
    both[1].fee.units = most - 20;
    struct forged forged = forge(payer, both, 2, most, 0);
    forged.proof.locked.units = 0;
    forged.proof.locks_root = HASH_ZERO;
    refused(payer, forged, CODE_AVAILABLE);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
}

/* The payer cancels after the payee has revealed: too late. */
static void cancel_after_the_secret(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payer = arena->world.payer;
    wire_reveal(arena->world.payee, &standing.id, secret);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &standing.operation.id);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = standing.lock.lock.id};
    change_refused(arena, cancel, 0, CODE_NOT_FAILED);
    struct operation unlock = {
        .type = OPERATION_UNLOCK, .lock_id = standing.lock.lock.id, .witness = secret_witness(secret)};
    wire_do(payer, &unlock, NULL);
    (void)wire_operation(arena->world.payee, OPERATION_UNLOCK, NULL);
}

/* ---- what a payee tries ---- */

static void payee_shows_a_wrong_secret(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    wire_reveal(arena->world.payee, &standing.id, wrong_secret);
    expect_code(arena->world.payee, CODE_WITNESS);
    pays_out(arena, &standing);
}

static void payee_shows_to_another(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    wire_reveal(arena->world.payer, &standing.id, secret); /* the payer claims the payee's payment */
    expect_silence(arena->world.payer);
    pays_out(arena, &standing);
}

/* Both FAIL and the secret: the first counts. */
static void payee_fails_and_reveals(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payee = arena->world.payee;
    assert_true(channel_mark_failed(payee->channel, &standing.id));
    wire_fail(payee, &standing.id, CODE_INVOICE);
    wire_reveal(payee, &standing.id, secret);
    (void)wire_operation(payee, OPERATION_CANCEL, NULL);
    const struct seen *seen = wire_wait(arena->world.payer, false, MESSAGE_FAIL, &standing.operation.id);
    assert_int_equal(seen->failed.code, CODE_INVOICE);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = standing.lock.lock.id};
    wire_do(arena->world.payer, &cancel, NULL);
    (void)wire_expect(arena->world.payer, MESSAGE_REVOKE);
}

static void payee_reveals_then_fails(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    wire_reveal(arena->world.payee, &standing.id, secret);
    wire_fail(arena->world.payee, &standing.id, CODE_INVOICE);
    unlocks(arena, &standing);
}

/* The payee keeps the secret to itself until the lock has expired: the payer has its money back. */
static void payee_withholds(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payer = arena->world.payer;
    arena_time_passes(arena, 3700);
    (void)wire_operation(arena->world.payee, OPERATION_EXPIRE, NULL);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = standing.lock.lock.id};
    wire_do(payer, &expire, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
    wire_reveal(arena->world.payee, &standing.id, secret); /* now */
    expect_silence(arena->world.payee);
    assert_int_equal(channel_own(payer->channel)->proof.transferred.units, 0);
    assert_int_equal(channel_balance(payer->channel, SIDE_CLIENT), DEPOSIT);
}

/* In the last minutes a secret obliges nobody any more: only the ledger's registration would. */
static void payee_reveals_too_late(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payer = arena->world.payer;
    arena_time_passes(arena, 3600 - 90);
    wire_reveal(arena->world.payee, &standing.id, secret);
    expect_silence(arena->world.payee);
    arena_time_passes(arena, 200);
    (void)wire_operation(arena->world.payee, OPERATION_EXPIRE, NULL);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = standing.lock.lock.id};
    wire_do(payer, &expire, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
    assert_int_equal(channel_balance(payer->channel, SIDE_CLIENT), DEPOSIT);
}

static void revocation_from_the_future(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payee = arena->world.payee;
    struct message revoke = {.type = MESSAGE_REVOKE, .revoke = {payee->channel->id, 99, {{0}}}};
    struct hash digest = digest_revocation(&arena->stage->domain, &payee->channel->id, 99);
    revoke.revoke.signature = key_sign(&payee->key, &digest);
    link_send(payee->link, &revoke);
    expect_code(payee, CODE_NONCE);
    pays_out(arena, &standing);
}

static void revocation_by_another(struct arena *arena)
{
    struct standing standing = standing_lock(arena);
    struct wire_client *payee = arena->world.payee;
    struct message revoke = {.type = MESSAGE_REVOKE, .revoke = {payee->channel->id, 1, {{0}}}};
    struct hash digest = digest_revocation(&arena->stage->domain, &payee->channel->id, 1);
    revoke.revoke.signature = key_sign(&arena->world.payer->key, &digest);
    link_send(payee->link, &revoke);
    expect_code(payee, CODE_SIGNATURE);
    pays_out(arena, &standing);
}

const struct attack attacks_locks[] = {
    {"lock", "a lock whose id does not grow", "ERROR LOCK_ID", id_does_not_grow, false},
    {"lock", "a lock on a place that is taken", "ERROR LOCK_ID", place_is_taken, false},
    {"lock", "two locks on one place in one update", "ERROR LOCK_ID", two_on_one_place, false},
    {"lock", "400 locks of which one has no free place", "ERROR LOCK_ID", too_many_for_a_stream, false},
    {"lock", "more locks than a payer may have", "FAIL LIMIT", too_many_for_a_payer, false},
    {"lock", "a lock of an unknown kind", "ERROR BODY", kind_unknown, false},
    {"lock", "a lock that has expired, and one with expiry 0", "FAIL EXPIRED", expired, false},
    {"lock", "a lock that expires too soon", "FAIL EXPIRED", expires_too_soon, false},
    {"lock", "a lock that expires in 25 hours, and one never", "FAIL EXPIRED", never_expires, false},
    {"lock", "a lock below min_lock", "FAIL AMOUNT", too_small, false},
    {"lock", "a lock above max_lock", "FAIL AMOUNT", too_large, false},
    {"lock", "a lock that takes the held sum to 2^63", "ERROR LOCKED", held_sum_overflows, false},
    {"lock", "what is locked, spent beside", "ERROR AVAILABLE", held_is_spent, false},
    {"witness", "a secret that does not fit", "ERROR WITNESS", wrong_witness, false},
    {"witness", "no witness, and nothing registered", "waits; ERROR WITNESS at expiry", empty_witness, false},
    {"witness", "an attestation for a lock on a secret", "ERROR WITNESS", witness_of_the_other_kind, false},
    {"witness", "witnesses of odd lengths", "ERROR BODY or WITNESS", witness_of_any_length, false},
    {"witness", "an attestation that another has signed", "ERROR WITNESS", attestation_by_another, false},
    {"witness", "an unlock of no lock, and a second unlock", "ERROR NO_LOCK", unlock_of_none, false},
    {"payer", "expires a lock before its time", "ERROR NOT_EXPIRED", expire_before_its_time, false},
    {"payer", "cancels what nobody has failed", "ERROR NOT_FAILED", cancel_unfailed, false},
    {"payer", "cancels, and spends what is frozen", "ERROR AVAILABLE", cancel_and_spend, false},
    {"payer", "cancels after the secret was shown", "ERROR NOT_FAILED", cancel_after_the_secret, false},
    {"payer", "shows the secret for its payee's payment", "nothing happens", payee_shows_to_another, false},
    {"payee", "shows a wrong secret", "ERROR WITNESS", payee_shows_a_wrong_secret, false},
    {"payee", "fails a lock, then shows the secret", "FAIL INVOICE; not paid", payee_fails_and_reveals,
     false},
    {"payee", "shows the secret, then fails the lock", "paid; the FAIL is ignored", payee_reveals_then_fails,
     false},
    {"payee", "withholds the secret until the lock is over", "expired; the payer has all", payee_withholds,
     false},
    {"payee", "shows the secret in the last minutes", "expired; the payer has all", payee_reveals_too_late,
     false},
    {"payee", "revokes updates that do not exist yet", "ERROR NONCE", revocation_from_the_future, false},
    {"payee", "a revocation that another has signed", "ERROR SIGNATURE", revocation_by_another, false},
    {0},
};
