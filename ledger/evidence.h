/* What a watchtower owes, in a form that anybody can check: its signed receipt for a proof, and the proof itself, held
 * against what the contract shows of the close. The judgement is pure.
 *
 * A tower has failed its user if all of this is so:
 *   - it signed Receipt(channel, nonce N, digest) for this contract, and the digest is that of a proof of the
 *     counterparty's with nonce N: it held what it takes to challenge;
 *   - the counterparty closed the channel by itself, no other tower can challenge any more, and the user did not
 *     answer itself (over the user's own answer no tower has a say);
 *   - what stands of the counterparty's stream falls short of that proof (evidence_falls_short).
 * Towers give no receipt for a channel that is being closed once the time to act on it is short (docs/watchtower.md),
 * so that such a receipt is never younger than the chance to use it.
 */
#ifndef RILL_LEDGER_EVIDENCE_H
#define RILL_LEDGER_EVIDENCE_H

#include <jansson.h>

#include "crypto/typed.h"
#include "ledger/contract.h"

struct evidence {
    uint64_t chain_id;
    struct address contract, tower;
    struct channel_key key;
    struct hash digest;         /* of the proof, as the receipt has it */
    struct signature receipt;   /* the tower's */
    struct balance_proof proof; /* the counterparty's */
    struct signature signature;
};

/* To be decref'd. */
json_t *evidence_json(const struct evidence *evidence);
/* False, and one line in *why, if it is no evidence. */
bool evidence_of_json(const json_t *json, struct evidence *out, const char **why) MUST_USE;

enum evidence_verdict {
    EVIDENCE_FAILED,   /* the tower has broken its promise */
    EVIDENCE_KEPT,     /* it has not: the channel is open, or ended as it should */
    EVIDENCE_NOT_OVER, /* being closed: there is still time */
    EVIDENCE_WORTHLESS /* the receipt or the proof is not what it says */
};

/* What stands of a stream after a close is less than a tower with this proof should have let stand: an older nonce; the same
 * one with anything else; or a newer one, which nobody has to have signed, that has transferred less. */
bool evidence_falls_short(const struct claim *stands, const struct balance_proof *promised) MUST_USE;

/* What the ledger says, at one block. */
struct evidence_ground {
    struct address hub;
    uint64_t challenge_period_s, now;
    struct channel_state state;
    struct closing closing;
    bool is_tower;  /* the contract knows the tower by setTower */
    bool was_tower; /* or may have known it once: then it may have had no Choice, and no authority now */
};

/* why: one static line. */
enum evidence_verdict evidence_judge(const struct evidence *evidence, const struct evidence_ground *ground,
                                     const char **why);

#endif
