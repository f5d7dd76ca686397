/* The structs of IRillHub.sol as words; shared by the codec's files. */
#ifndef RILL_LEDGER_CONTRACT_PARTS_H
#define RILL_LEDGER_CONTRACT_PARTS_H

#include "ledger/abi.h"
#include "ledger/contract.h"

/* Static sizes in words. */
enum {
    KEY_WORDS = 3,
    PROOF_WORDS = 5,
    CLAIM_WORDS = 4,
    LOCK_WORDS = 5,
    ITEM_WORDS = KEY_WORDS + 6,
    FUND_WORDS = KEY_WORDS + 1
};

void put_key(struct buffer *out, const struct channel_key *key);
void put_proof(struct buffer *out, const struct balance_proof *proof);
void put_claim(struct buffer *out, const struct claim *claim);
void put_lock(struct buffer *out, const struct lock *lock);
struct channel_key get_key(struct abi_reader *reader);
struct balance_proof get_proof(struct abi_reader *reader);
struct claim get_claim(struct abi_reader *reader);
struct lock get_lock(struct abi_reader *reader);

/* The first four bytes of keccak256(signature), big-endian. */
uint32_t signature_selector(const char *signature);

#endif
