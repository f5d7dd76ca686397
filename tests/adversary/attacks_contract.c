/* Transactions to the contract that someone else should not send, or not now; and closes with false claims while the
 * hub watches. */
#include "tests/adversary/arena.h"

#define CALL(...)                                                                                            \
    &(struct contract_call)                                                                                  \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static struct secret_key stranger(void)
{
    return key_of("a stranger on the ledger");
}

static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

/* The attacker's close, with this claim of its own stream and nothing of the hub's. */
static void start_close(struct arena *arena, const struct balance_proof *own)
{
    struct wire_client *payer = arena->world.payer;
    ledger_call_as(arena->stage, &payer->key,
                   CALL(.function = CONTRACT_START_CLOSE, .key = payer->channel_key, .own = claim_of(own)),
                   0);
}

/* ---- the hub's own functions ---- */

static void hubs_functions(struct arena *arena)
{
    struct secret_key key = stranger();
    struct address self = secret_key_address(&key);
    call_reverts(arena, &key, CALL(.function = CONTRACT_LIST_ASSET, .address = self, .unit = 1),
                 CONTRACT_NOT_HUB);
    call_reverts(arena, &key, CALL(.function = CONTRACT_WITHDRAW_POOL, .to = self, .amount = amount_of(1000)),
                 CONTRACT_NOT_HUB);
    call_reverts(arena, &key, CALL(.function = CONTRACT_SET_TOWER, .address = self, .flag = true),
                 CONTRACT_NOT_HUB);
}

static void nothing_owed(struct arena *arena)
{
    struct secret_key key = stranger();
    struct address self = secret_key_address(&key);
    call_reverts(arena, &key, CALL(.function = CONTRACT_WITHDRAW_OWED, .to = self), CONTRACT_NOTHING_OWED);
}

static void deposit_of_nothing(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_DEPOSIT, .key = payer->channel_key, .amount = amount_of(1000)),
                 CONTRACT_WRONG_VALUE);
    struct channel_key other = payer->channel_key;
    other.asset = (struct address){{0xee}};
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_DEPOSIT, .key = other, .amount = amount_of(1000)),
                 CONTRACT_ASSET_UNKNOWN);
    other = payer->channel_key;
    other.client = secret_key_address(&arena->stage->hub);
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_DEPOSIT, .key = other, .amount = amount_of(1000)),
                 CONTRACT_BAD_KEY);
}

/* ---- closes ---- */

static void close_by_a_stranger(struct arena *arena)
{
    struct secret_key key = stranger();
    call_reverts(arena, &key, CALL(.function = CONTRACT_START_CLOSE, .key = arena->honest.payer->channel_key),
                 CONTRACT_NOT_PARTY);
    call_reverts(arena, &arena->world.payer->key,
                 CALL(.function = CONTRACT_START_CLOSE, .key = arena->honest.payer->channel_key),
                 CONTRACT_NOT_PARTY);
}

/* A proof of the hub's stream that the client has signed itself: as if the hub had paid it everything. */
static void close_with_a_forged_proof(struct arena *arena)
{
    struct wire_client *payee = arena->world.payee;
    struct balance_proof forged = {.nonce = 9, .transferred = amount_of(ROOM)};
    struct hash digest = digest_balance_proof(&arena->stage->domain, &payee->channel->id, &forged);
    call_reverts(arena, &payee->key,
                 CALL(.function = CONTRACT_START_CLOSE, .key = payee->channel_key, .proof = forged,
                      .signature = key_sign(&payee->key, &digest)),
                 CONTRACT_BAD_SIGNATURE);
    /* And one that the hub signed, for another channel. */
    still_good(&arena->honest, 1);
    const struct stream *stream = channel_peer(arena->honest.payee->channel);
    call_reverts(arena, &payee->key,
                 CALL(.function = CONTRACT_START_CLOSE, .key = payee->channel_key, .proof = stream->proof,
                      .signature = stream->signature),
                 CONTRACT_BAD_SIGNATURE);
}

static void close_with_invented_locks(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct claim own = {.nonce = 5, .locked = amount_of(DEPOSIT + 1), .locks_root = {{1}}};
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_START_CLOSE, .key = payer->channel_key, .own = own),
                 CONTRACT_BAD_CLAIM);
    own = (struct claim){.nonce = 5,
                         .transferred = amount_of(AMOUNT_LIMIT - 1),
                         .locked = amount_of(AMOUNT_LIMIT - 1),
                         .locks_root = {{1}}};
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_START_CLOSE, .key = payer->channel_key, .own = own),
                 CONTRACT_BAD_CLAIM);
}

static bool is_challenged(void *context)
{
    struct arena *arena = context;
    return ledger_closing(arena, &arena->world.payer->channel_key).challenged;
}

/* The old claim, before anything was paid: the hub answers, and it is fraud. */
static void close_with_an_old_claim(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    still_good(&arena->world, 2000);
    start_close(arena, &(struct balance_proof){0});
    mine_until(arena, is_challenged, arena, "the hub's challenge");
    struct closing closing = ledger_closing(arena, &payer->channel_key);
    assert_true(closing.fraud && closing.by_partner);
    assert_int_equal(closing.of_client.transferred.units,
                     channel_own(payer->channel)->proof.transferred.units);
    /* A second start does not undo it, money put in does not either, and there is no hurrying. */
    call_reverts(arena, &payer->key, CALL(.function = CONTRACT_START_CLOSE, .key = payer->channel_key),
                 CONTRACT_BAD_STATUS);
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_DEPOSIT, .key = payer->channel_key, .amount = amount_of(1)),
                 CONTRACT_BAD_STATUS);
    call_reverts(arena, &payer->key, CALL(.function = CONTRACT_FINISH, .key = payer->channel_key),
                 CONTRACT_TOO_EARLY);
}

static void closing_takes_no_updates(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved;
    still_good(&arena->world, 20);
    struct operation pay = small_pay(arena, &moved);
    uint64_t closes = hub_figure(arena->stage, "closes_seen_total");
    start_close(arena, &channel_own(payer->channel)->proof);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (hub_figure(arena->stage, "closes_seen_total") == closes && clock_monotonic_us() < end_us) {
        mine(arena->stage);
        turn(arena->stage);
    }
    refused(payer, forge(payer, &pay, 1, moved, 0), CODE_STATUS);
}

/* An honest close of the attacker's, which others want to turn. */
static void challenges_by_others(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct secret_key key = stranger();
    still_good(&arena->world, 20);
    const struct balance_proof *newest = &channel_own(payer->channel)->proof;
    start_close(arena, newest);
    struct balance_proof worse = *newest;
    worse.nonce++;
    worse.transferred.units += 50000;
    struct hash digest = digest_balance_proof(&arena->stage->domain, &payer->channel->id, &worse);
    struct contract_call call = {.function = CONTRACT_CHALLENGE,
                                 .key = payer->channel_key,
                                 .proof = worse,
                                 .signature = key_sign(&key, &digest)};
    call_reverts(arena, &key, &call, CONTRACT_BAD_SIGNATURE);
    call_reverts(arena, &arena->stage->hub, &call, CONTRACT_BAD_SIGNATURE); /* nor may the hub make one up */
    call.proof = *newest;
    call.signature = channel_own(payer->channel)->signature;
    call_reverts(arena, &key, &call, CONTRACT_NOT_AUTHORISED);
    call_reverts(arena, &payer->key, &call, CONTRACT_NOT_AUTHORISED);
    call = (struct contract_call){
        .function = CONTRACT_VOID_LOCKS, .key = payer->channel_key, .flag = true, .min_nonce = 99};
    digest = digest_revocation(&arena->stage->domain, &payer->channel->id, 99);
    call.signature = key_sign(&payer->key, &digest); /* its own locks are not its own to void */
    call_reverts(arena, &payer->key, &call, CONTRACT_BAD_SIGNATURE);
}

static void locks_of_an_open_channel(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    struct contract_call call = {.function = CONTRACT_UNLOCK, .key = payer->channel_key, .flag = true};
    call.lock = (struct lock){.id = 1, .amount = amount_of(500), .expiry = 1};
    call_reverts(arena, &payer->key, &call, CONTRACT_BAD_STATUS);
    call_reverts(arena, &payer->key, CALL(.function = CONTRACT_CHALLENGE, .key = payer->channel_key),
                 CONTRACT_BAD_STATUS);
    call_reverts(arena, &payer->key,
                 CALL(.function = CONTRACT_VOID_LOCKS, .key = payer->channel_key, .min_nonce = 1),
                 CONTRACT_BAD_STATUS);
    call_reverts(arena, &payer->key, CALL(.function = CONTRACT_FINISH, .key = payer->channel_key),
                 CONTRACT_BAD_STATUS);
}

static void attestation_made_up(struct arena *arena)
{
    struct secret_key attester = key_of("the attester"), liar = stranger();
    struct hash event = {{7}}, digest = digest_attestation(&arena->stage->domain, &event);
    call_reverts(arena, &liar,
                 CALL(.function = CONTRACT_REGISTER_ATTESTATION, .address = secret_key_address(&attester),
                      .hash = event, .signature = key_sign(&liar, &digest)),
                 CONTRACT_BAD_SIGNATURE);
}

const struct attack attacks_contract[] = {
    {"contract", "the hub's functions, called by a stranger", "revert NotHub", hubs_functions, false},
    {"contract", "a withdrawal of what is not owed", "revert NothingOwed", nothing_owed, false},
    {"contract", "deposits without value, of no asset, for the hub",
     "revert WrongValue, AssetUnknown, BadKey", deposit_of_nothing, false},
    {"contract", "another's channel closed", "revert NotParty", close_by_a_stranger, false},
    {"close", "a proof of the hub's made up, or another channel's", "revert BadSignature",
     close_with_a_forged_proof, false},
    {"close", "invented locks over the closer's funds", "revert BadClaim", close_with_invented_locks, false},
    {"close", "an old claim while the hub watches", "challenged, fraud; BadStatus, TooEarly",
     close_with_an_old_claim, true},
    {"close", "an update after startClose", "ERROR STATUS", closing_takes_no_updates, true},
    {"close", "challenges and revocations by those without authority", "revert BadSignature, NotAuthorised",
     challenges_by_others, true},
    {"close", "unlock, challenge, voidLocks, finish of an open channel", "revert BadStatus",
     locks_of_an_open_channel, false},
    {"contract", "an attestation signed by another", "revert BadSignature", attestation_made_up, false},
    {0},
};
