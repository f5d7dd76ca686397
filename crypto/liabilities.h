/* What a hub publishes of what it owes (docs/settlement-proofs.md): a signed statement with one summing Merkle tree per
 * asset over its clients' balances, and what a client shows to be given the path of its own leaf.
 *
 * No signed type is added to the protocol's for it. A statement is signed as Attestation(event id), whose event id is its
 * keccak256: nobody makes a lock on an event that is such a hash. A request is signed as Session with a challenge that no
 * hub gives and no certificate: it opens no connection. */
#ifndef RILL_CRYPTO_LIABILITIES_H
#define RILL_CRYPTO_LIABILITIES_H

#include "base/buffer.h"
#include "base/limits.h"
#include "crypto/sum_tree.h"
#include "crypto/typed.h"

struct liability {
    struct address asset;
    uint64_t channels;
    struct amount clients; /* sum of the clients' balances: the tree's */
    struct amount hub;     /* what of the same channels is the hub's own */
    struct amount
        in_transit; /* of that, what it has taken to pass on and has not passed on yet: never too little */
    struct hash root;
};

struct liabilities {
    uint64_t number;      /* 1, 2, … without gaps: two of one number are evidence against the hub */
    uint64_t block, time; /* the ledger as the hub has counted it: the newest confirmed block */
    struct hash previous; /* event id of the statement before; zero for the first */
    size_t asset_count;
    struct liability assets[ASSETS_MAX];
};

/* A client's leaf. Balances are by the newest proofs, whose nonces say which: locks count to who made them. */
struct liability_leaf {
    struct hash channel;
    struct amount balance;
    uint64_t nonce_client, nonce_hub;
    struct hash salt; /* so that nobody can look for a channel whose balance he guesses */
};

void liabilities_write(const struct liabilities *statement, struct buffer *out);
bool liabilities_read(struct reader *in, struct liabilities *out) MUST_USE;
struct hash liabilities_event(const struct liabilities *statement);
/* What the hub signs. */
struct hash liabilities_digest(const struct domain *domain, const struct liabilities *statement);
struct sum_node liabilities_leaf(const struct liability_leaf *leaf);
/* What the client of the channel signs to be shown its leaf in statement `number`. */
struct hash liabilities_request_digest(const struct domain *domain, const struct channel_key *key,
                                       uint64_t number);

#endif
