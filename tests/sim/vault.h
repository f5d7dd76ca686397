/* The contract with its state, executed natively, and a way back: what one block changed can be undone.
 *
 * Apart from the rest of the simulator, since the ledger's records and a channel's have names in common. */
#ifndef RILL_TESTS_SIM_VAULT_H
#define RILL_TESTS_SIM_VAULT_H

#include "crypto/typed.h"
#include "ledger/contract.h"

#define VAULT_COIN_UNIT 1000000000u /* base units of the coin in one unit; the token's unit is 1 */
#define VAULT_PAST_MAX  64          /* blocks that can be undone, or looked behind */

struct vault;

struct vault_options {
    struct domain domain;
    struct address hub, token;
    uint64_t challenge_period;
    const struct address *people; /* who begins with a million units of coin and token each */
    size_t people_count;
};
struct vault *vault_new(const struct vault_options *options);
void vault_free(struct vault *vault);

struct vault_result {
    bool success;
    enum contract_error reverted;
    struct contract_event *events; /* free them; where it happened is the caller's to fill */
    size_t event_count;
};
struct vault_result vault_execute(struct vault *vault, const struct address *from, unsigned_wide value,
                                  uint64_t time, const uint8_t *data, size_t length);
/* A block ends here. */
void vault_seal(struct vault *vault);
/* Undoes the newest blocks. */
void vault_undo(struct vault *vault, uint64_t blocks);
/* Executes and forgets, in the state so many blocks ago. */
enum contract_error vault_view(struct vault *vault, uint64_t back, const struct address *from, uint64_t time,
                               const uint8_t *data, size_t length, struct buffer *output);

struct channel_state vault_channel(const struct vault *vault, const struct hash *channel);
uint64_t vault_units(const struct vault *vault, const struct address *who, const struct address *asset);
uint64_t vault_owed(const struct vault *vault, const struct address *who, const struct address *asset);
uint64_t vault_pool(const struct vault *vault, const struct address *asset);
/* What a closed channel still holds for the locks of a stream. */
uint64_t vault_held(const struct vault *vault, const struct hash *channel, bool of_client);
/* When the condition was first registered; 0: not yet. */
uint64_t vault_registered(const struct vault *vault, uint8_t kind, const struct hash *condition);
struct closing vault_closing(const struct vault *vault, const struct hash *channel);
bool vault_is_tower(const struct vault *vault, const struct address *tower);
/* NULL, or what does not add up. */
const char *vault_audit(const struct vault *vault);
struct vault_left {
    unsigned open, closing, held; /* channels; and those that hold something for locks */
};
struct vault_left vault_left(const struct vault *vault);

#endif
