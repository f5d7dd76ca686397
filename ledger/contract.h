/* The contract of IRillHub.sol as C: its structures, calls, results, events and errors (protocol.md, sections
 * 6-8).
 *
 * Used from both sides: the client encodes calls and decodes results and logs, the embedded ledger decodes
 * calls and encodes results and logs. Every decoder is bounded and strict: malformed data gives false and
 * nothing else.
 */
#ifndef RILL_LEDGER_CONTRACT_H
#define RILL_LEDGER_CONTRACT_H

#include "base/buffer.h"
#include "base/payment.h"

/* `status` of a channel. On the ledger: do not renumber. */
enum channel_status { CHANNEL_NONE = 0, CHANNEL_OPEN = 1, CHANNEL_CLOSING = 2, CHANNEL_CLOSED = 3 };

/* Why settleBatch skipped an item or a fund (section 8). On the ledger: do not renumber. */
enum skip_reason { SKIP_STATUS = 1, SKIP_SIGNATURE = 2, SKIP_DEADLINE = 3, SKIP_AMOUNTS = 4, SKIP_POOL = 5 };

struct claim {
    uint64_t nonce;
    struct amount transferred;
    struct amount locked;
    struct hash locks_root;
};
struct channel_state {
    struct amount total;
    int64_t base;
    uint32_t seq;
    uint8_t status;
};
struct closing {
    bool by_hub, challenged, by_partner, fraud;
    uint64_t deadline;
    struct address tower;
    uint64_t min_nonce_of_client, min_nonce_of_hub;
    struct claim own, of_client, of_hub;
};
/* So many eighths of the challenge period after its deadline; at most UINT64_MAX. */
uint64_t close_time(const struct closing *closing, uint64_t challenge_period, unsigned eighths);
/* A lock that expires from here on could be met so late that no challenge brings it back: after the deadline, or, by a
 * registration in its last block, before it but seen and answered after it. The last eighth of the period is room for
 * that. */
uint64_t late_locks_from(uint64_t deadline, uint64_t challenge_period);
struct settle_item {
    struct channel_key key;
    struct amount client_out, hub_out;
    uint64_t deadline;
    bool close;
    struct signature signature;
};
struct fund {
    struct channel_key key;
    struct amount amount;
};

/* The functions, in the interface's order; the selector is keccak256(signature)[0..4]. */
enum contract_function {
    CONTRACT_HUB,
    CONTRACT_CHALLENGE_PERIOD,
    CONTRACT_BOUNTY_BPS,
    CONTRACT_DOMAIN_SEPARATOR,
    CONTRACT_UNIT,
    CONTRACT_POOL,
    CONTRACT_OWED,
    CONTRACT_IS_TOWER,
    CONTRACT_REGISTERED_AT,
    CONTRACT_CHANNEL,
    CONTRACT_CLOSING,
    CONTRACT_HELD,
    CONTRACT_UNLOCKED,
    CONTRACT_LIST_ASSET,
    CONTRACT_DEPOSIT_POOL,
    CONTRACT_WITHDRAW_POOL,
    CONTRACT_DEPOSIT,
    CONTRACT_SETTLE_BATCH,
    CONTRACT_SET_TOWER,
    CONTRACT_START_CLOSE,
    CONTRACT_CHALLENGE,
    CONTRACT_VOID_LOCKS,
    CONTRACT_FINISH,
    CONTRACT_REGISTER_SECRET,
    CONTRACT_REGISTER_ATTESTATION,
    CONTRACT_UNLOCK,
    CONTRACT_WITHDRAW_OWED,
    CONTRACT_FUNCTION_COUNT
};
/* "deposit((address,address,uint64),uint64)"; its first four hash bytes, big-endian. */
const char *contract_function_signature(enum contract_function function);
uint32_t contract_selector(enum contract_function function);

/* Arguments of any function; each uses the fields named like its parameters. A 128-bit value (unit, owed) is
 * wide. */
struct contract_call {
    enum contract_function function;
    struct channel_key key;
    struct address address; /* asset of listAsset/depositPool/withdrawPool/withdrawOwed/unit/pool, tower of
                               setTower/isTower, `to` of owed, attester */
    struct address to;      /* withdrawPool, withdrawOwed: to; owed: asset; challenge: tower */
    unsigned_wide unit;
    struct amount amount;
    bool flag;        /* setTower: allowed; voidLocks, unlock, unlocked: ofClient */
    uint8_t kind;     /* registeredAt */
    struct hash hash; /* condition, secret, event id, leaf, journalRoot */
    uint64_t min_nonce;
    struct balance_proof proof;
    struct signature signature; /* r, vs */
    struct signature choice;    /* challenge: choiceR, choiceVs */
    struct claim own;
    struct lock lock;
    const struct settle_item *items;
    size_t item_count;
    const struct fund *funds;
    size_t fund_count;
    const struct hash *merkle;
    size_t merkle_count;
};
#define SETTLE_ITEMS_MAX 4096 /* of items, and of funds, in one call that is decoded */

/* Appends selector and arguments. */
void contract_encode_call(struct buffer *out, const struct contract_call *call);
/* Reads calldata. Arrays are allocated; free with contract_call_free. False: unknown selector or malformed
 * (out-of- range integers, dirty padding, short data: what Solidity's decoder reverts on; trailing bytes are
 * allowed). */
bool contract_decode_call(const uint8_t *data, size_t length, struct contract_call *out) MUST_USE;
void contract_call_free(struct contract_call *call);

/* Results of views. */
void contract_encode_channel(struct buffer *out, const struct channel_state *state);
bool contract_decode_channel(const uint8_t *data, size_t length, struct channel_state *out) MUST_USE;
void contract_encode_closing(struct buffer *out, const struct closing *closing);
bool contract_decode_closing(const uint8_t *data, size_t length, struct closing *out) MUST_USE;
/* One static word (address, uint, bool, bytes32), right-aligned as the ABI has it. */
void contract_encode_word(struct buffer *out, unsigned_wide value);
bool contract_decode_word(const uint8_t *data, size_t length, size_t index, unsigned_wide *out) MUST_USE;
bool contract_decode_address(const uint8_t *data, size_t length, size_t index, struct address *out) MUST_USE;

/* Events. X(NAME, signature) in the interface's order. */
enum contract_event_type {
    EVENT_ASSET_LISTED,
    EVENT_POOL_DEPOSITED,
    EVENT_POOL_WITHDRAWN,
    EVENT_OPENED,
    EVENT_FUNDED,
    EVENT_SETTLED,
    EVENT_SETTLE_SKIPPED,
    EVENT_BATCH_SETTLED,
    EVENT_CLOSE_STARTED,
    EVENT_CHALLENGED,
    EVENT_LOCKS_VOIDED,
    EVENT_TOWER_SET,
    EVENT_FINISHED,
    EVENT_CONDITION_MET,
    EVENT_UNLOCKED,
    EVENT_OWED_RECORDED,
    EVENT_OWED_WITHDRAWN,
    EVENT_TOKEN_CREATED, /* ITokenFactory's */
    EVENT_TYPE_COUNT
};
const char *contract_event_signature(enum contract_event_type type);
const char *contract_event_name(enum contract_event_type type); /* "Settled" */
struct hash contract_event_topic(enum contract_event_type type);

/* One event; each type uses the fields named like its parameters. */
struct contract_event {
    enum contract_event_type type;
    struct hash channel;
    struct address address; /* asset of the asset and pool events; client of Opened; tower of Challenged and
                               TowerSet; to of OwedRecorded; owner of OwedWithdrawn; token */
    struct address
        other; /* from/to of the pool events; asset of Opened, OwedRecorded, OwedWithdrawn; issuer */
    struct address third; /* OwedWithdrawn: to */
    uint64_t salt;
    struct amount amount;      /* pool and owed events, Unlocked */
    unsigned_wide wide_amount; /* AssetListed: unit; OwedWithdrawn: amount */
    struct amount client_amount, hub_amount;
    uint32_t seq;
    struct amount client_out, hub_out;
    bool close, is_fund, by_hub, by_partner, is_fraud, of_client, allowed, to_receiver;
    uint8_t reason;
    uint64_t batch;
    struct hash root; /* BatchSettled: journalRoot */
    uint64_t deadline, min_nonce, lock_id;
    struct claim of_client_claim, of_hub_claim, proof;
    struct amount to_client, to_hub, held_client, held_hub, penalty, bounty;
    uint8_t kind;
    struct hash condition, witness;
    char symbol[32]; /* TokenCreated */
    uint8_t decimals;
    /* where it happened */
    uint64_t block;
    uint64_t block_time;
    struct hash block_hash, transaction;
    uint32_t log_index;
    bool confirmed; /* as deep as asked for; false: seen in a young block, may yet vanish */
};
/* A log as the ledger gives it: up to 4 topics and data. */
struct contract_log {
    struct address address;
    struct hash topics[4];
    size_t topic_count;
    const uint8_t *data;
    size_t data_length;
};
/* Fills the type's fields ("where it happened" is untouched). False: not an event of the interface, or
 * malformed. */
bool contract_decode_event(const struct contract_log *log, struct contract_event *out) MUST_USE;
/* topics and data of an event; data is appended to `data`. */
void contract_encode_event(const struct contract_event *event, struct hash topics[4], size_t *topic_count,
                           struct buffer *data);

/* Errors, in the interface's order. CONTRACT_OK first; CONTRACT_UNNAMED: reverted without one. */
enum contract_error {
    CONTRACT_OK,
    CONTRACT_UNNAMED,
    CONTRACT_NOT_HUB,
    CONTRACT_NOT_PARTY,
    CONTRACT_ASSET_UNKNOWN,
    CONTRACT_ASSET_ALREADY_LISTED,
    CONTRACT_WRONG_VALUE,
    CONTRACT_AMOUNT_TOO_LARGE,
    CONTRACT_BAD_KEY,
    CONTRACT_BAD_STATUS,
    CONTRACT_BAD_SIGNATURE,
    CONTRACT_BAD_CLAIM,
    CONTRACT_NOT_AUTHORISED,
    CONTRACT_NOT_NEWER,
    CONTRACT_TOO_EARLY,
    CONTRACT_TOO_LATE,
    CONTRACT_POOL_TOO_LOW,
    CONTRACT_BAD_LOCK_PROOF,
    CONTRACT_ALREADY_UNLOCKED,
    CONTRACT_NOT_UNLOCKABLE,
    CONTRACT_NOTHING_OWED,
    CONTRACT_TRANSFER_FAILED,
    CONTRACT_ERROR_COUNT
};
const char *contract_error_name(enum contract_error error); /* "BadStatus" */
const char *
contract_error_signature(enum contract_error error); /* "BadStatus(uint8)"; NULL for OK and UNNAMED */
uint32_t contract_error_selector(enum contract_error error);
/* The revert data; status is BadStatus's argument. */
void contract_encode_error(struct buffer *out, enum contract_error error, uint8_t status);
enum contract_error contract_decode_error(const uint8_t *data, size_t length, uint8_t *status);

#endif
