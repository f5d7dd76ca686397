/* What the state holds, by record type: the typed side of state.h.
 *
 * | type                 | key                      | value |
 * | ---                  | ---                      | --- |
 * | RECORD_META          | empty                    | the parameters fixed at the first start (chain.c) |
 * | RECORD_BLOCK         | block number             | header, transactions, receipts, logs (block.c) |
 * | RECORD_CLOCK         | empty                    | offset of block time against the wall clock, s |
 * | RECORD_ACCOUNT       | address                  | coin balance, nonce |
 * | RECORD_TOKEN         | address                  | an ERC-20 token's name, symbol, decimals, supply |
 * | RECORD_TOKEN_BALANCE | token, owner             | balance |
 * | RECORD_ALLOWANCE     | token, owner, spender    | allowance |
 * | RECORD_ASSET         | asset                    | unit, pool, and the sums that conservation is checked with |
 * | RECORD_CHANNEL       | channel id               | asset, total, base, seq, status |
 * | RECORD_CLOSING       | channel id               | struct closing |
 * | RECORD_HELD          | channel id               | asset, held of the client's and of the hub's stream |
 * | RECORD_UNLOCKED      | channel id, stream, leaf | 1 |
 * | RECORD_OWED          | to, asset                | units |
 * | RECORD_TOWER         | address                  | allowed |
 * | RECORD_REGISTERED    | kind, condition          | time |
 * | RECORD_COUNTER       | enum counter             | number |
 * | RECORD_COINS         | empty                    | native coins issued at genesis, and burned since |
 *
 * Every load gives zeros where there is no record, as a storage slot does; integers are big-endian.
 */
#ifndef RILL_LEDGER_EMBEDDED_RECORDS_H
#define RILL_LEDGER_EMBEDDED_RECORDS_H

#include "ledger/contract.h"
#include "ledger/embedded/state.h"
#include "ledger/erc20.h"

/* On disk: do not renumber. */
enum record_type {
    RECORD_META = 1,
    RECORD_BLOCK = 2,
    RECORD_CLOCK = 3,
    RECORD_ACCOUNT = 10,
    RECORD_TOKEN = 11,
    RECORD_TOKEN_BALANCE = 12,
    RECORD_ALLOWANCE = 13,
    RECORD_ASSET = 20,
    RECORD_CHANNEL = 21,
    RECORD_CLOSING = 22,
    RECORD_HELD = 23,
    RECORD_UNLOCKED = 24,
    RECORD_OWED = 25,
    RECORD_TOWER = 26,
    RECORD_REGISTERED = 27,
    RECORD_COUNTER = 28,
    RECORD_COINS = 29
};
/* True for the types that live in the state map, not in the chain. */
bool record_is_state(uint8_t type);
/* True if key and value of a state's record, read back from a disk, are what its save writes. */
bool record_is_sound(const struct record *record);

/* On disk: do not renumber. */
enum counter { COUNTER_BATCHES = 1, COUNTER_TOKENS = 2 };
uint64_t counter_load(const struct state *state, enum counter which);
void counter_save(struct state *state, enum counter which, uint64_t value);

/* Balances of all accounts sum to issued - burned. */
struct coins {
    struct uint256 issued, burned; /* wei */
};
struct coins coins_load(const struct state *state);
void coins_save(struct state *state, const struct coins *coins);

struct account {
    struct uint256 balance; /* wei */
    uint64_t nonce;
};
struct account account_load(const struct state *state, const struct address *address);
void account_save(struct state *state, const struct address *address, const struct account *account);

struct token {
    char name[TOKEN_TEXT_MAX + 1];
    char symbol[TOKEN_TEXT_MAX + 1];
    uint8_t decimals;
    struct uint256 supply;
};
/* Returns false if no token has this address. */
bool token_load(const struct state *state, const struct address *address, struct token *out) MUST_USE;
bool token_exists(const struct state *state, const struct address *address);
void token_save(struct state *state, const struct address *address, const struct token *token);
struct uint256 token_balance_load(const struct state *state, const struct address *token,
                                  const struct address *owner);
void token_balance_save(struct state *state, const struct address *token, const struct address *owner,
                        struct uint256 balance);
struct uint256 allowance_load(const struct state *state, const struct address *token,
                              const struct address *owner, const struct address *spender);
void allowance_save(struct state *state, const struct address *token, const struct address *owner,
                    const struct address *spender, struct uint256 allowance);

/* A listed asset. In units: custody = pool + in_channels + in_held + in_owed after every call. */
struct asset_record {
    unsigned_wide unit; /* base units in one unit; 0: not listed */
    struct amount pool;
    unsigned_wide in_channels; /* sum of all channels' totals */
    unsigned_wide in_held;     /* sum of what is held for locks */
    unsigned_wide in_owed;     /* sum of what is owed */
    unsigned_wide custody;     /* deposits less payouts */
};
struct asset_record asset_load(const struct state *state, const struct address *asset);
void asset_save(struct state *state, const struct address *asset, const struct asset_record *record);

struct channel_state channel_load(const struct state *state, const struct hash *channel);
void channel_save(struct state *state, const struct hash *channel, const struct address *asset,
                  const struct channel_state *value);
struct closing closing_load(const struct state *state, const struct hash *channel);
void closing_save(struct state *state, const struct hash *channel, const struct closing *closing);

struct held {
    struct amount of_client, of_hub;
};
struct held held_load(const struct state *state, const struct hash *channel);
void held_save(struct state *state, const struct hash *channel, const struct address *asset,
               const struct held *held);

bool unlocked_load(const struct state *state, const struct hash *channel, enum side stream,
                   const struct hash *leaf);
void unlocked_save(struct state *state, const struct hash *channel, enum side stream,
                   const struct hash *leaf);

unsigned_wide owed_load(const struct state *state, const struct address *to, const struct address *asset);
void owed_save(struct state *state, const struct address *to, const struct address *asset,
               unsigned_wide units);

bool tower_load(const struct state *state, const struct address *tower);
void tower_save(struct state *state, const struct address *tower, bool allowed);

/* 0: never. */
uint64_t registered_load(const struct state *state, uint8_t kind, const struct hash *condition);
void registered_save(struct state *state, uint8_t kind, const struct hash *condition, uint64_t time);

/* Sums over all records, the slow and independent way; for start-up and tests. Returns NULL when everything
 * adds up, or one sentence that says what does not. `contract` is the hub contract's address. */
const char *records_audit(const struct state *state, const struct address *contract);

#endif
