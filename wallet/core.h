/* The wallet's core: what a client of a hub knows, signs, refuses and remembers (protocol.md, sections 3-5, 8, 9).
 *
 * Pure: no I/O, no clock, no randomness. The shell (wallet/rill.c), the simulator and the tests run this code. Inputs
 * note what happened; wallet_run then signs what can be signed, hands one batch to the journal and gives the messages
 * that may leave once that batch is durable. So whatever arrived since the last run shares one batch and one update.
 *
 *     payment out:  WAITING ─signed─▶ DIRECT ──secret──▶ PAID     DIRECT ─refund─▶ FAILED    DIRECT ─given up─▶ LOST
 *                              └────▶ LOCKED ──secret──▶ UNLOCKING ─signed─▶ PAID
 *                                     LOCKED ─FAIL─▶ DROPPING ─cancel signed─▶ DROPPED ─REVOKE─▶ FAILED
 *                                     LOCKED ─expired─▶ (expire signed) DROPPED
 *     payment in:   pay  ─good─▶ RECEIVED                         ─wrong─▶ REFUND_DUE ─signed─▶ REFUNDED
 *                   lock ─good─▶ REVEALED ─unlock─▶ RECEIVED      ─wrong─▶ REJECTED ─dropped─▶ DROPPED
 *                                REVEALED ─expired unregistered─▶ DROPPED
 *     Once the channel is closed, what the ledger pays for a lock ends either: PAID or FAILED, RECEIVED or DROPPED.
 */
#ifndef RILL_WALLET_CORE_H
#define RILL_WALLET_CORE_H

#include "channel/channel.h"
#include "ledger/client.h"
#include "ledger/evidence.h"
#include "wallet/payout_policy.h"
#include "wire/invoice.h"
#include "wire/message.h"

#define WALLET_TOWERS_MAX      4
#define WALLET_CHANNELS_MAX    1024          /* assets and salts of one wallet */
#define WALLET_WAITING_MAX     4096          /* payments asked for and not signed yet */
#define WALLET_INVOICES_MAX    1000000       /* issued, neither paid nor expired */
#define WALLET_HELD_BYTES_MAX  (1024 * 1024) /* updates kept until the own ledger view catches up */
#define WALLET_JOURNAL_VERSION 4

struct wallet_core;

/* What a wallet allows to be lost to a hub or payees that take direct payments and give no receipt. */
struct wallet_limits {
    uint64_t unsecured;           /* units of each asset, sum; 0: 16 times the hub's direct_limit */
    uint64_t unsecured_per_payee; /* 0: 4 times the hub's direct_limit */
};

struct wallet_core_options {
    struct secret_key key; /* copied, wiped on free */
    struct domain domain;
    struct address hub;
    uint32_t confirmations;            /* what the ledger's follower was told */
    uint64_t challenge_period_s;       /* the contract's; 0: not known yet, see wallet_challenge_period */
    char endpoint[HOST_BYTES_MAX + 8]; /* the hub's, for invoices */
    struct address towers[WALLET_TOWERS_MAX];
    size_t tower_count;
    struct wallet_limits limits;
    uint64_t history_max; /* finished payments and invoices remembered beyond the protocol's time; 0: none */
    uint64_t tower_silence_s; /* a tower silent for so long is dismissed; 0: 600 */
    uint64_t
        reveal_margin_s; /* so long before a lock's expiry its secret goes to the ledger, at the least; 0: 30 */
    bool recover;        /* take what hub and towers show of channels whose records were lost */
};

enum wallet_peer { WALLET_PEER_HUB = 0, WALLET_PEER_TOWER = 1 /* + index */ };

/* ---- payments ---- */

/* On disk: do not renumber. */
enum payment_out_state {
    OUT_WAITING = 0,
    OUT_DIRECT = 1,
    OUT_LOCKED = 2,
    OUT_UNLOCKING = 3,
    OUT_DROPPING = 4,
    OUT_DROPPED = 5,
    OUT_PAID = 6,
    OUT_FAILED = 7,
    OUT_LOST = 8
};
const char *payment_out_state_name(enum payment_out_state state);

/* On disk: do not renumber. */
enum payment_in_state {
    IN_REFUND_DUE = 1,
    IN_REFUNDED = 2,
    IN_RECEIVED = 3,
    IN_REVEALED = 4,
    IN_REJECTED = 5,
    IN_DROPPED = 6
};
const char *payment_in_state_name(enum payment_in_state state);

struct payment_out; /* core_state.h */
struct payment_in;

/* A payment as history shows it. */
/* The balance proof that moved a payment's money: for a locked one the lock's first, then the unlock's. All zero: not
 * known, as after a recovery. */
struct carrier {
    uint64_t nonce;
    uint64_t time; /* confirmed block time when it was signed or accepted */
    struct hash digest;
};

struct payment_view {
    bool outgoing;
    bool locked;
    uint8_t state; /* enum payment_out_state or payment_in_state */
    struct payment_id id;
    struct hash channel;
    struct address asset;
    struct address payee; /* outgoing */
    struct amount amount, fee;
    struct hash secret_hash;
    bool has_secret;
    uint8_t secret[32];       /* outgoing: the receipt */
    uint64_t expiry, created; /* Unix seconds */
    uint64_t code;            /* why it failed, enum code */
    struct carrier carrier;
    const char *memo; /* "" if none */
};

enum payment_mode { PAYMENT_AUTO, PAYMENT_DIRECT, PAYMENT_LOCKED };

struct payment_request {
    struct payment_id id; /* 16 random bytes */
    struct address payee, asset;
    struct amount amount;
    struct hash secret_hash;
    uint64_t expiry; /* the invoice's; 0: as soon as the terms allow */
    enum payment_mode mode;
    struct amount fee_max; /* 0: what the hub's terms say now; if they are not known yet, the amount */
    const char *memo;      /* NULL: none */
};

/* ---- what the user is told ---- */

enum wallet_news_type {
    WALLET_NEWS_READY, /* connected, synced, and the ledger is in view */
    WALLET_NEWS_PAID,  /* payment: has the secret */
    WALLET_NEWS_FAILED, /* payment: its code says why; OUT_FAILED: the money is back. Else RETURNED or PAID follows */
    WALLET_NEWS_RETURNED,   /* payment: told as failed, and now the hub cannot collect it any more */
    WALLET_NEWS_LOST,       /* a direct payment that nobody ever answered is written off */
    WALLET_NEWS_RECEIVED,   /* payment */
    WALLET_NEWS_FUNDS,      /* channel: what the ledger or the hub says of its funds changed */
    WALLET_NEWS_SETTLEMENT, /* channel, amount (client_out), close, outcome, code */
    WALLET_NEWS_CLOSE,      /* channel, step of a unilateral close, in text */
    WALLET_NEWS_CLOSED, /* channel: finished and all that could be claimed is; amount: what the close paid out */
    WALLET_NEWS_OPEN_REFUSED, /* asset, code: the hub does not open what was asked for */
    WALLET_NEWS_RECOVERED,    /* recover: every channel is taken over, or left with its reason */
    WALLET_NEWS_TROUBLE       /* text */
};
/* outcome of WALLET_NEWS_SETTLEMENT: SETTLED's 0-6, or one of these. */
#define WALLET_SETTLEMENT_REFUSED 100 /* by the hub: code */

struct wallet_news {
    enum wallet_news_type type;
    struct payment_view payment; /* memo is valid during the call */
    struct hash channel;
    struct address asset;
    struct amount amount;
    bool close;
    uint8_t outcome;
    uint64_t code;
    struct hash transaction;
    char text[TEXT_BYTES_MAX + 1];
};

/* ---- effects ----
 * `sequence`: of the journal, what must be durable before the effect may take place; it never falls. */
struct wallet_effects {
    /* Appends a batch; returns its sequence. */
    uint64_t (*append)(void *context, const uint8_t *batch, size_t length);
    /* To the hub or a tower (enum wallet_peer). The message is valid during the call. */
    void (*send)(void *context, uint64_t sequence, uint64_t peer, const struct message *message);
    /* A transaction to the contract; wallet_outcome follows, once, not from within this call. */
    void (*submit)(void *context, uint64_t sequence, uint64_t submission, const struct contract_call *call);
    /* Asks a view of the contract, newest block; wallet_answer follows, once, not from within this call. */
    void (*ask)(void *context, uint64_t question, const struct contract_call *view);
    void (*tell)(void *context, uint64_t sequence, const struct wallet_news *news);
    /* Stop (true) or go on reading from the hub. */
    void (*pause)(void *context, bool pause);
    /* The hub broke a rule that leaves no way on with this connection: drop it, connect again later. */
    void (*disconnect)(void *context, const char *why);
};

struct wallet_core *wallet_new(const struct wallet_core_options *options,
                               const struct wallet_effects *effects, void *context);
void wallet_free(struct wallet_core *core); /* NULL is allowed */

/* ---- recovery from the own journal ---- */

/* Every record, oldest first, then wallet_recovered. False: not understood, or a journal of another key, hub or
 * contract; message says why in one line. */
bool wallet_read(struct wallet_core *core, const struct record *record) MUST_USE;
bool wallet_recovered(struct wallet_core *core, char *message, size_t message_size) MUST_USE;
/* Block to follow the ledger from; 0 in a new wallet. */
uint64_t wallet_cursor(const struct wallet_core *core);

/* ---- inputs ---- */

void wallet_linked(struct wallet_core *core, const struct terms *terms, uint64_t channels);
void wallet_unlinked(struct wallet_core *core);
void wallet_message(struct wallet_core *core, const struct message *message);
void wallet_tower_linked(struct wallet_core *core, size_t tower);
void wallet_tower_unlinked(struct wallet_core *core, size_t tower);
void wallet_tower_message(struct wallet_core *core, size_t tower, const struct message *message);
/* An event of the contract; those of others' channels are ignored. */
void wallet_event(struct wallet_core *core, const struct contract_event *event);
/* The confirmed state of a channel of this client at the end of a block: for a wallet that joins a follower late. */
void wallet_channel_state(struct wallet_core *core, const struct channel_key *key,
                          const struct channel_funds *state, uint64_t block);
void wallet_head(struct wallet_core *core, const struct ledger_head *head);
void wallet_answer(struct wallet_core *core, uint64_t question, bool ok, const uint8_t *data, size_t length);
/* reverted: with LEDGER_REVERTED. LEDGER_OK with success false: mined, and reverted there. */
void wallet_outcome(struct wallet_core *core, uint64_t submission, enum ledger_error error, bool success,
                    enum contract_error reverted);
void wallet_challenge_period(struct wallet_core *core, uint64_t seconds);

/* Signs, journals and sends all that the inputs since the last run call for. To be called after each burst of inputs,
 * and when wallet_next_ms has come. now_ms: monotonic; unix_s: wall clock. */
void wallet_run(struct wallet_core *core, uint64_t now_ms, uint64_t unix_s);
/* When the next run is due (monotonic); UINT64_MAX: not before the next input. */
uint64_t wallet_next_ms(const struct wallet_core *core);

/* ---- commands: each applies whole or returns a code and changes nothing; wallet_run follows ---- */

/* Makes an invoice and promises its secret: nobody may see it before what the next run appends is durable, or a crash
 * could promise the secret twice. EXPIRED: lifetime_s is 0; LIMIT: too many a second (see core_invoices.c);
 * STATUS: the ledger is not in view yet, so there is no time; AMOUNT; BODY: the memo is too long or no UTF-8. */
enum code wallet_invoice(struct wallet_core *core, const struct address *asset, struct amount amount,
                         uint64_t lifetime_s, const char *memo, uint64_t unix_s,
                         struct invoice *out) MUST_USE;
/* Takes it back. INVOICE: there is none that could still be paid; PAID: a payment of it was accepted. */
enum code wallet_invoice_cancel(struct wallet_core *core, const struct hash *secret_hash) MUST_USE;
/* The secret of an invoice that a payment was accepted for; false if none was. */
bool wallet_invoice_receipt(const struct wallet_core *core, const struct hash *secret_hash,
                            uint8_t secret[32]) MUST_USE;
/* PAID (this secret hash was paid), DUPLICATE (a payment of it is under way, or the id was used), EXPIRED, PAYEE,
 * AMOUNT, CHANNEL (no channel of this asset), STATUS, AVAILABLE, LIMIT (max_unsecured, or too many waiting),
 * BODY (memo). What can only be judged with the hub's terms is judged when they are known: WALLET_NEWS_FAILED. */
enum code wallet_pay(struct wallet_core *core, const struct payment_request *request) MUST_USE;
/* Why the last wallet_pay was refused: one sentence, more to the point than the code's. */
const char *wallet_refusal(const struct wallet_core *core);
/* Asks the hub to pay out (WALLET_NEWS_SETTLEMENT tells the outcome). CHANNEL, SETTLE (one is wished for already),
 * STATUS, AMOUNT. */
enum code wallet_withdraw(struct wallet_core *core, const struct hash *channel,
                          struct amount amount) MUST_USE;
enum code wallet_close(struct wallet_core *core, const struct hash *channel) MUST_USE;
/* The payout that is wished for, or signed and not settled; zero: none. */
struct amount wallet_withdrawal(const struct wallet_core *core, const struct hash *channel);
/* Drops a wish that has not been signed yet. */
void wallet_withdraw_cancel(struct wallet_core *core, const struct hash *channel);
/* When payouts of an asset are asked for without further words; kept over restarts. AMOUNT: the policy makes no sense
 * (payout_policy_trouble); LIMIT. done_s is ignored: what was due before stays due if mode and minute stay. */
enum code wallet_set_payout_policy(struct wallet_core *core, const struct address *asset,
                                   const struct payout_policy *policy, uint64_t unix_s) MUST_USE;
/* False: none was ever set; *out is PAYOUT_MANUAL then. */
bool wallet_payout_policy(const struct wallet_core *core, const struct address *asset,
                          struct payout_policy *out);
/* Closes on the ledger without the hub. From now on nothing is signed or accepted for the channel. */
enum code wallet_dispute(struct wallet_core *core, const struct hash *channel) MUST_USE;
/* Asks the hub to open or fund a channel, once connected. */
enum code wallet_open_request(struct wallet_core *core, const struct address *asset,
                              struct amount inbound) MUST_USE;

/* ---- notes ---- */

#define WALLET_NOTE_OWNER_BYTES 8
#define WALLET_NOTE_BYTES_MAX   4096

/* Numbers are the owner's own. */
struct note_key {
    uint8_t owner[WALLET_NOTE_OWNER_BYTES];
    uint64_t number;
};
/* Lies in one batch with the payments asked for before the next run. */
void wallet_note_keep(struct wallet_core *core, const struct note_key *key, const void *bytes, size_t length);
/* The owner's up to this number; on disk some time later. */
void wallet_notes_forget(struct wallet_core *core, const struct note_key *until);
/* The owner's, by number; the visitor returns false to stop. */
void wallet_notes(struct wallet_core *core, const uint8_t owner[WALLET_NOTE_OWNER_BYTES],
                  bool (*visit)(void *context, uint64_t number, const void *bytes, size_t length),
                  void *context);

/* ---- looking ---- */

/* On disk: do not renumber. */
enum closed_by { CLOSED_BY_BOTH = 1, CLOSED_BY_CLIENT = 2, CLOSED_BY_HUB = 3 };

/* How a channel ended on the ledger. */
struct wallet_ending_view {
    struct hash id;
    struct address asset;
    enum closed_by by;
    uint64_t time;           /* of the block */
    struct amount to_client; /* paid out so far */
    struct amount
        penalty; /* closed by the hub: what the hub lost for it; by the client: what the client lost */
    bool done;   /* nothing is left to be claimed */
};

struct wallet_channel_view {
    struct hash id;
    struct channel_key key;
    uint8_t stage; /* enum channel_stage, by the own confirmed view */
    bool closing_seen;
    bool claiming; /* closed, and something of it may still be claimed */
    bool synced;
    struct amount total;
    struct amount balance;   /* the client's */
    struct amount available; /* what can be paid now */
    struct amount inbound;   /* what can be received now */
    struct amount locked;    /* pending outgoing locks */
    struct amount incoming;  /* pending incoming locks */
    struct amount frozen;
    struct amount reserve;
    struct amount unsecured;          /* direct payments without receipt */
    struct amount settling;           /* the client's out of a settlement under way */
    uint64_t nonce_client, nonce_hub; /* of the newest proofs, whose balances these are */
    const char *blocked;              /* NULL, or why nothing is signed for it */
};
/* Channels in the order they came, index from 0; false behind the last. */
bool wallet_channel_at(const struct wallet_core *core, size_t index,
                       struct wallet_channel_view *out) MUST_USE;
/* Ended channels in the same order; false behind the last. */
bool wallet_ending_at(const struct wallet_core *core, size_t index, struct wallet_ending_view *out) MUST_USE;
/* A close is being looked at, or a transaction of it (or a registration) is on its way: not a good moment to stop. */
bool wallet_close_is_busy(const struct wallet_core *core);
bool wallet_channel_find(const struct wallet_core *core, const struct hash *id,
                         struct wallet_channel_view *out) MUST_USE;
/* The channel that payments of an asset use: open, lowest salt. */
bool wallet_channel_of(const struct wallet_core *core, const struct address *asset,
                       struct wallet_channel_view *out) MUST_USE;
/* The lowest salt whose channel is not closed: where a deposit goes. */
uint64_t wallet_deposit_salt(const struct wallet_core *core, const struct address *asset);
/* Terms of the last connection; NULL before the first. */
const struct terms *wallet_terms(const struct wallet_core *core);
struct address wallet_address(const struct wallet_core *core);
bool wallet_is_ready(const struct wallet_core *core);
uint64_t wallet_ledger_time(const struct wallet_core *core); /* confirmed; 0: not in view yet */
/* Nothing signed is unacknowledged, nothing waits to be signed or sent. */
bool wallet_is_idle(const struct wallet_core *core);
/* Payments, oldest first, outgoing then incoming; return false to stop. */
typedef bool wallet_payment_visit(void *context, const struct payment_view *payment);
void wallet_history(const struct wallet_core *core, wallet_payment_visit *visit, void *context);
bool wallet_payment_find(const struct wallet_core *core, const struct payment_id *id,
                         struct payment_view *out) MUST_USE;
/* Receipt nonce of a tower for a channel, 0 if none. */
uint64_t wallet_tower_receipt(const struct wallet_core *core, size_t tower, const struct hash *channel);
/* The newest receipt with the proof it is for. False: there is none. */
bool wallet_tower_evidence(const struct wallet_core *core, size_t tower, const struct hash *channel,
                           struct evidence *out) MUST_USE;
/* The nonce of the hub's newest proof: what every tower should have. */
uint64_t wallet_tower_owed(const struct wallet_core *core, const struct hash *channel);

#endif
