#include "ledger/evidence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/key.h"

/* ---- as JSON ---- */

static void put_bytes(json_t *object, const char *name, const uint8_t *bytes, size_t length)
{
    char text[2 + 2 * 64 + 1] = "0x";
    ensure(length <= 64);
    hex_encode(bytes, length, text + 2);
    json_object_set_new(object, name, json_string(text));
}

/* As text: JSON's numbers are not safe above 2^53 everywhere. */
static void put_number(json_t *object, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    json_object_set_new(object, name, json_string(text));
}

json_t *evidence_json(const struct evidence *evidence)
{
    json_t *json = json_object(), *receipt = json_object(), *proof = json_object();
    struct hash channel = channel_id(&evidence->key);
    json_object_set_new(json, "type", json_string("rill tower evidence 1"));
    put_number(json, "chain_id", evidence->chain_id);
    put_bytes(json, "contract", evidence->contract.bytes, 20);
    put_bytes(json, "tower", evidence->tower.bytes, 20);
    put_bytes(json, "channel", channel.bytes, 32);
    put_bytes(json, "client", evidence->key.client.bytes, 20);
    put_bytes(json, "asset", evidence->key.asset.bytes, 20);
    put_number(json, "salt", evidence->key.salt);
    put_number(receipt, "nonce", evidence->proof.nonce);
    put_bytes(receipt, "proof_digest", evidence->digest.bytes, 32);
    put_bytes(receipt, "signature", evidence->receipt.bytes, 64);
    json_object_set_new(json, "receipt", receipt);
    put_number(proof, "nonce", evidence->proof.nonce);
    put_number(proof, "transferred", evidence->proof.transferred.units);
    put_number(proof, "locked", evidence->proof.locked.units);
    put_bytes(proof, "locks_root", evidence->proof.locks_root.bytes, 32);
    put_bytes(proof, "body_hash", evidence->proof.body_hash.bytes, 32);
    put_bytes(proof, "signature", evidence->signature.bytes, 64);
    json_object_set_new(json, "proof", proof);
    return json;
}

static bool get_bytes(const json_t *object, const char *name, uint8_t *out, size_t length)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && hex_decode(text, out, length);
}

static bool get_number(const json_t *object, const char *name, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(object, name));
    char again[24];
    if (text == NULL || *text < '0' || *text > '9')
        return false;
    *out = strtoull(text, NULL, 10);
    snprintf(again, sizeof(again), "%" PRIu64, *out);
    return strcmp(again, text) == 0;
}

static bool get_proof(const json_t *json, struct evidence *out)
{
    const json_t *proof = json_object_get(json, "proof");
    return get_number(proof, "nonce", &out->proof.nonce) &&
           get_number(proof, "transferred", &out->proof.transferred.units) &&
           get_number(proof, "locked", &out->proof.locked.units) &&
           get_bytes(proof, "locks_root", out->proof.locks_root.bytes, 32) &&
           get_bytes(proof, "body_hash", out->proof.body_hash.bytes, 32) &&
           get_bytes(proof, "signature", out->signature.bytes, 64);
}

bool evidence_of_json(const json_t *json, struct evidence *out, const char **why)
{
    const json_t *receipt = json_object_get(json, "receipt");
    const char *type = json_string_value(json_object_get(json, "type"));
    struct hash named;
    uint64_t nonce;
    memset(out, 0, sizeof(*out));
    *why = "this is no evidence of `rill tower prove`: its type is not 'rill tower evidence 1'";
    if (type == NULL || strcmp(type, "rill tower evidence 1") != 0)
        return false;
    *why = "a field of the evidence is missing or malformed";
    if (!get_number(json, "chain_id", &out->chain_id) ||
        !get_bytes(json, "contract", out->contract.bytes, 20) ||
        !get_bytes(json, "tower", out->tower.bytes, 20) || !get_bytes(json, "channel", named.bytes, 32) ||
        !get_bytes(json, "client", out->key.client.bytes, 20) ||
        !get_bytes(json, "asset", out->key.asset.bytes, 20) || !get_number(json, "salt", &out->key.salt) ||
        !get_number(receipt, "nonce", &nonce) || !get_bytes(receipt, "proof_digest", out->digest.bytes, 32) ||
        !get_bytes(receipt, "signature", out->receipt.bytes, 64) || !get_proof(json, out))
        return false;
    *why = "the evidence contradicts itself: the receipt's nonce is not the proof's, or the channel not the "
           "key's";
    struct hash channel = channel_id(&out->key);
    return nonce == out->proof.nonce && hash_equal(&channel, &named);
}

/* ---- judging ---- */

/* The side that the counterparty is, by who signed the proof. False: neither did. */
static bool counterparty_of(const struct evidence *evidence, const struct address *hub, enum side *side)
{
    *side = SIDE_HUB;
    if (signature_is_by(&evidence->signature, &evidence->digest, hub))
        return true;
    *side = SIDE_CLIENT;
    return signature_is_by(&evidence->signature, &evidence->digest, &evidence->key.client);
}

static const char *flaw(const struct evidence *evidence)
{
    struct domain domain = domain_make(evidence->chain_id, &evidence->contract);
    struct hash channel = channel_id(&evidence->key);
    struct hash digest = digest_balance_proof(&domain, &channel, &evidence->proof);
    if (evidence->proof.nonce == 0 || !hash_equal(&digest, &evidence->digest))
        return "the receipt is for another proof than the one shown";
    struct hash receipt = digest_receipt(&domain, &channel, evidence->proof.nonce, &digest);
    if (!signature_is_by(&evidence->receipt, &receipt, &evidence->tower))
        return "the receipt is not signed by the tower";
    return NULL;
}

static bool window_is_over(const struct evidence_ground *ground)
{
    return ground->state.status == CHANNEL_CLOSED ||
           (ground->now >= ground->closing.deadline &&
            ground->now - ground->closing.deadline >= ground->challenge_period_s / 8);
}

bool evidence_falls_short(const struct claim *stands, const struct balance_proof *promised)
{
    if (stands->nonce != promised->nonce)
        return stands->nonce < promised->nonce || stands->transferred.units < promised->transferred.units;
    return stands->transferred.units != promised->transferred.units ||
           stands->locked.units != promised->locked.units ||
           !hash_equal(&stands->locks_root, &promised->locks_root);
}

enum evidence_verdict evidence_judge(const struct evidence *evidence, const struct evidence_ground *ground,
                                     const char **why)
{
    const struct closing *closing = &ground->closing;
    enum side counterparty;
    *why = flaw(evidence);
    if (*why != NULL)
        return EVIDENCE_WORTHLESS;
    *why = "the proof is signed by neither side of the channel";
    if (!counterparty_of(evidence, &ground->hub, &counterparty))
        return EVIDENCE_WORTHLESS;
    *why = "nobody has closed the channel";
    if (ground->state.status != CHANNEL_CLOSING && ground->state.status != CHANNEL_CLOSED)
        return EVIDENCE_KEPT;
    *why = "the channel was closed by both sides together";
    if (closing->deadline == 0)
        return EVIDENCE_KEPT;
    *why = "the tower's user closed the channel, not the other side: there was nothing to challenge";
    if (closing->by_hub != (counterparty == SIDE_HUB))
        return EVIDENCE_KEPT;
    *why = "what stands is the proof that the tower promised, or a newer one";
    const struct claim *stands = closing->by_hub ? &closing->of_hub : &closing->of_client;
    if (!evidence_falls_short(stands, &evidence->proof))
        return EVIDENCE_KEPT;
    *why = "the tower's user answered the close itself, and no tower can override that";
    if (closing->by_partner)
        return EVIDENCE_KEPT;
    *why = "the tower's user is the hub, whose setTower allowed this tower once and does not now: it may "
           "have had "
           "no authority";
    if (counterparty == SIDE_CLIENT && !ground->is_tower && ground->was_tower)
        return EVIDENCE_KEPT;
    *why = "there is still time to challenge";
    if (!window_is_over(ground))
        return EVIDENCE_NOT_OVER;
    *why =
        "the tower had signed for a proof that says more than what the close ended with, and did not show it";
    return EVIDENCE_FAILED;
}
