/* What a close pays (protocol.md, section 7): pure arithmetic in wide signed numbers. */
#ifndef RILL_LEDGER_EMBEDDED_CLOSING_H
#define RILL_LEDGER_EMBEDDED_CLOSING_H

#include "ledger/contract.h"

/* True if the claim that a receiver chose contradicts what the closer said of the same stream. */
bool closing_is_fraud(const struct claim *chosen, const struct claim *own);

/* The closer claims to have sent or locked more than it can have had. own_base: `base`, or `total - base`. */
bool closing_claim_is_bad(const struct claim *own, wide own_base, struct amount partner_transferred);

/* Whether the locks of a stream are void: its shown proof is older than what its receiver revoked. An own
 * claim that nobody challenged is not a shown proof. */
bool closing_is_void(const struct closing *closing, enum side stream);
/* The root that unlock proves against: zero where the locks are void. */
struct hash closing_root(const struct closing *closing, enum side stream);

struct payout {
    struct amount to_client, to_hub; /* free money, penalty included */
    struct amount held_client;       /* stays for the client's locks */
    struct amount held_hub;          /* stays for the hub's locks */
    struct amount penalty;           /* pool_pays included */
    struct amount bounty;            /* to the tower, out of the penalty */
    struct amount pool_pays; /* out of the free pool, where the hub's share did not cover what it hid */
};

/* Divides `total`. base: signed; pool: what is free; tower_is_victim: no bounty. The parts sum to total +
 * pool_pays: that is asserted. */
struct payout closing_settle(int64_t base, struct amount total, const struct closing *closing,
                             struct amount pool, uint16_t bounty_bps, bool tower_is_victim);

#endif
