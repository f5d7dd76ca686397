/* Updates whose signature is not the sender's over exactly this update, on this chain, contract, channel and stream. */
#include "tests/adversary/arena.h"

/* A good payment of the attacker's, with another signature than the good one. */
static struct forged good_pay(struct arena *arena)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    return forge(arena->world.payer, &pay, 1, moved, 0);
}

static void refused_signature(struct arena *arena, struct forged *forged, const struct signature *signature)
{
    refused_with(arena->world.payer, forged, signature, CODE_SIGNATURE);
}

static void strangers_key(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct secret_key stranger = key_of("stranger");
    forged.signer = &stranger;
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    refused_signature(arena, &forged, &signature);
}

static void other_chain(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct domain other = domain_make(arena->stage->domain.chain_id + 1, &arena->stage->contract);
    struct signature signature = forged_sign(&forged, &other);
    refused_signature(arena, &forged, &signature);
}

static void other_contract(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct address contract = arena->stage->contract;
    contract.bytes[19] ^= 1;
    struct domain other = domain_make(arena->stage->domain.chain_id, &contract);
    struct signature signature = forged_sign(&forged, &other);
    refused_signature(arena, &forged, &signature);
}

static void other_channel(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct hash own = forged.channel;
    forged.channel = arena->honest.payer->channel->id;
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    forged.channel = own;
    refused_signature(arena, &forged, &signature);
}

/* s' = n - s with the other parity is a signature of the same message too, in ECDSA; not here. */
static void high_s(struct arena *arena)
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
                                      0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
    struct forged forged = good_pay(arena);
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    uint8_t *s = signature.bytes + 32, parity = s[0] & 0x80;
    s[0] &= 0x7f;
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int digit = order[i] - s[i] - borrow;
        borrow = digit < 0;
        s[i] = (uint8_t)(digit & 0xff);
    }
    /* n - s needs its top bit, which the compact form uses for the parity: what fits is sent, in both forms. */
    assert_true(s[0] & 0x80 || s[0] == 0x7f);
    s[0] = (uint8_t)((s[0] & 0x7f) | (parity ^ 0x80));
    refused_signature(arena, &forged, &signature);
}

static void all_zero(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct signature signature = {{0}};
    refused_signature(arena, &forged, &signature);
}

static void out_of_range(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct signature signature;
    memset(signature.bytes, 0xff, sizeof signature.bytes);
    refused_signature(arena, &forged, &signature);
}

static void one_bit(struct arena *arena)
{
    for (size_t bit = 0; bit < 8 * 64; bit += 73) {
        struct forged forged = good_pay(arena);
        struct signature signature = forged_sign(&forged, &arena->stage->domain);
        signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused_signature(arena, &forged, &signature);
    }
}

static void body_swapped(struct arena *arena)
{
    struct forged forged = good_pay(arena), other = good_pay(arena);
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    buffer_free(&forged.body);
    forged.body = other.body;
    refused_signature(arena, &forged, &signature);
}

static void proof_changed(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    forged.proof.transferred.units--;
    refused_signature(arena, &forged, &signature);
}

/* What personal_sign would make: the digest behind a prefix. */
static void prefixed(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    struct buffer text = {0};
    (void)forged_sign(&forged, &arena->stage->domain);
    struct hash digest = digest_balance_proof(&arena->stage->domain, &forged.channel, &forged.proof);
    buffer_printf(&text, "%cEthereum Signed Message:\n32", 0x19);
    buffer_append(&text, digest.bytes, sizeof digest.bytes);
    digest = keccak256(text.data, text.length);
    buffer_free(&text);
    struct signature signature = key_sign(forged.signer, &digest);
    refused_signature(arena, &forged, &signature);
}

static void hubs_own_update(struct arena *arena)
{
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct wire_client *payee = arena->world.payee;
    wire_do(arena->world.payer, &pay, NULL);
    (void)payee_has(arena, OPERATION_PAY, &pay);
    link_send_frame(payee->link, payee->last_update.data, payee->last_update.length);
    expect_code(payee, CODE_SIGNATURE);
}

static void victims_update(struct arena *arena)
{
    struct wire_client *victim = arena->honest.payer, *payer = arena->world.payer;
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(victim, &pay, 1, moved, 0);
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    refused_with(payer, &forged, &signature, CODE_CHANNEL);
}

/* The victim's proof bytes under the attacker's channel. */
static void victims_proof_here(struct arena *arena)
{
    struct wire_client *victim = arena->honest.payer;
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(victim, &pay, 1, moved, 0);
    struct signature signature = forged_sign(&forged, &arena->stage->domain);
    forged.channel = arena->world.payer->channel->id;
    forged.proof.nonce = channel_own(arena->world.payer->channel)->proof.nonce + 1;
    refused_with(arena->world.payer, &forged, &signature, CODE_SIGNATURE);
}

static void receipt_as_proof(struct arena *arena)
{
    struct forged forged = good_pay(arena);
    (void)forged_sign(&forged, &arena->stage->domain);
    struct hash proof = digest_balance_proof(&arena->stage->domain, &forged.channel, &forged.proof);
    struct hash digest = digest_receipt(&arena->stage->domain, &forged.channel, forged.proof.nonce, &proof);
    struct signature signature = key_sign(forged.signer, &digest);
    refused_signature(arena, &forged, &signature);
}

const struct attack attacks_signatures[] = {
    {"signature", "an update signed by a stranger's key", "ERROR SIGNATURE", strangers_key, false},
    {"signature", "an update signed for another chain", "ERROR SIGNATURE", other_chain, false},
    {"signature", "an update signed for another contract", "ERROR SIGNATURE", other_contract, false},
    {"signature", "an update signed for another channel", "ERROR SIGNATURE", other_channel, false},
    {"signature", "the high-s twin of a good signature", "ERROR SIGNATURE", high_s, false},
    {"signature", "a signature of zeros", "ERROR SIGNATURE", all_zero, false},
    {"signature", "a signature with r and s out of range", "ERROR SIGNATURE", out_of_range, false},
    {"signature", "good signatures with one bit flipped", "ERROR SIGNATURE", one_bit, false},
    {"signature", "a body that is not the one signed for", "ERROR SIGNATURE", body_swapped, false},
    {"signature", "a sum changed after it was signed", "ERROR SIGNATURE", proof_changed, false},
    {"signature", "the digest signed as a personal message", "ERROR SIGNATURE", prefixed, false},
    {"signature", "a tower's Receipt in place of a proof", "ERROR SIGNATURE", receipt_as_proof, false},
    {"signature", "the hub's own update, sent back to it", "ERROR SIGNATURE", hubs_own_update, false},
    {"signature", "another client's update, for its channel", "ERROR CHANNEL", victims_update, false},
    {"signature", "another client's proof, for one's own channel", "ERROR SIGNATURE", victims_proof_here,
     false},
    {0},
};
