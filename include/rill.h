/* Rill for programs: a wallet of a Rill hub, on a libevent loop. For wallet makers, merchants, load generators.
 *
 *     struct rill_ledger *ledger = rill_ledger_new(base, &ledger_options);       one, shared by any number of wallets
 *     rill_ledger_wait(ledger, 10000);                                           or its `ready` callback
 *     struct rill_wallet *wallet = rill_open(base, &options, &callbacks, me, why, sizeof(why));
 *     … callbacks->ready … rill_pay(wallet, &request, id) … callbacks->paid, with the receipt …
 *     rill_close_handle(wallet); rill_ledger_free(ledger);
 *
 * Everything runs on the loop's thread; callbacks come from the loop, never from within a call, and may call anything
 * here, rill_close_handle included. Amounts are units of the asset (docs/wallet.md). Functions that can be refused
 * return 0, or one of the protocol's codes (rill_code_name), and then have changed nothing.
 */
#ifndef RILL_H
#define RILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct rill_ledger;
struct rill_wallet;

#define RILL_TOWERS_MAX       4
#define RILL_INVOICE_TEXT_MAX 2048
#define RILL_UNLIMITED        UINT64_MAX

/* ---- the ledger, followed once for all wallets that share it ---- */

struct rill_ledger_options {
    const char *url;        /* http://127.0.0.1:8545 */
    uint8_t contract[20];   /* the hub's contract */
    uint32_t confirmations; /* blocks before something counts */
    uint32_t poll_ms;       /* 0: 500 */
    uint64_t from_block;    /* where the contract's story begins; 0 is always right */
    /* What is known already, so that wallets can open while the ledger is away; zero: asked of the ledger. What the
     * ledger then says must agree, or nothing is connected. */
    uint64_t chain_id;
    uint8_t hub[20];
    /* May be NULL. Chain, hub and challenge period are known, and agree with what was expected. */
    void (*ready)(void *context, struct rill_ledger *ledger);
    void *context;
};
/* Starts without touching the network. */
struct rill_ledger *rill_ledger_new(struct event_base *base, const struct rill_ledger_options *options);
/* After every wallet that uses it. */
void rill_ledger_free(struct rill_ledger *ledger);
bool rill_ledger_is_ready(const struct rill_ledger *ledger);
/* Runs the loop until ready. Returns false when the time is up, or at once if the ledger is another one than expected:
 * rill_ledger_trouble says why. */
bool rill_ledger_wait(struct rill_ledger *ledger, uint32_t timeout_ms);
/* One line for a person; "" while all is well. */
const char *rill_ledger_trouble(const struct rill_ledger *ledger);
uint64_t rill_ledger_chain_id(const struct rill_ledger *ledger);
void rill_ledger_hub(const struct rill_ledger *ledger, uint8_t out[20]);
/* Time of the newest confirmed block; 0: not in view yet. */
uint64_t rill_ledger_time(const struct rill_ledger *ledger);

/* ---- opening ---- */

struct rill_tower {
    const char *host;
    uint16_t port;
    uint8_t address[20];
};

struct rill_options {
    uint8_t key[32];    /* secret; copied, wiped when closed */
    const char *folder; /* the wallet's journal; NULL: memory only, and a crash loses the wallet */
    struct rill_ledger *ledger;
    const char *hub_host; /* NULL: stay offline (looking only) */
    uint16_t hub_port;
    struct rill_tower towers[RILL_TOWERS_MAX];
    size_t tower_count;
    uint64_t
        max_unsecured; /* units that direct payments without a receipt may sum to, per asset; 0: 16 times the hub's
                                 limit for direct payments, as it first said it; RILL_UNLIMITED */
    uint64_t max_unsecured_per_payee; /* the same towards one payee; 0: 4 times */
    uint64_t
        reveal_margin_s; /* a locked payment to this wallet that is not unlocked so long before its expiry goes to the
                               * ledger, and one that leaves less than twice this is refused; the hub's own margin counts
                               * if it is longer, and four blocks of the ledger; 0: 30 */
    uint64_t history_max; /* finished payments kept longer than the protocol asks; 0: none */
    bool recover;         /* take over what hub and towers show of a wallet that lost its folder */
    const char *agent;    /* NULL: "rill/0.1" */
};

enum rill_mode { RILL_AUTO = 0, RILL_DIRECT = 1, RILL_LOCKED = 2 };

struct rill_payment {
    bool outgoing, locked;
    uint8_t id[16];
    uint8_t channel[32], asset[20];
    uint8_t payee[20]; /* outgoing */
    uint64_t amount, fee;
    uint8_t secret_hash[32];
    /* Outgoing: paid, and this is the receipt. Of one that is paid by what the ledger has, and that the hub does not show,
     * there may be none. */
    bool has_secret;
    uint8_t secret[32];
    uint64_t expiry, created; /* Unix seconds */
    bool is_final;
    const char *
        state; /* "waiting", "sent", "paid", "failing", "failed", "lost"; "received", "arriving", "refused", "sent back" */
    int code; /* why it failed; 0 if it did not */
    /* The balance proof that moved the money (of a locked payment the lock's, then the unlock's), signed by this wallet if
     * outgoing, else by the hub: its nonce, EIP-712 digest, and about when, in block time. Nonce 0: not known, as after a
     * recovery. `rill prove` shows where its digest lies in a settled batch. */
    uint64_t proof_nonce, proof_time;
    uint8_t proof_digest[32];
    const char *memo; /* valid during the call; UTF-8 of the payer's choice, control characters too */
};

struct rill_settlement {
    uint8_t channel[32], asset[20];
    uint64_t amount; /* paid out to the client */
    bool close;
    bool settled; /* false: refused (code), or its deadline passed (code 60) */
    int code;
    uint8_t transaction[32];
};

/* Any of them may be NULL. */
struct rill_callbacks {
    /* Connected, every channel is in step with the hub, and the ledger is in view. Again after each reconnect. */
    void (*ready)(void *context, struct rill_wallet *wallet);
    /* The connection is gone, or could not be made; it is tried again by itself. */
    void (*offline)(void *context, struct rill_wallet *wallet, const char *reason);
    /* The receipt has come, and is not on disk yet: `paid` follows once it is. For whoever only hands it on: after a crash
     * the hub shows it again, until the payment's expiry. */
    void (*secret)(void *context, struct rill_wallet *wallet, const struct rill_payment *payment);
    void (*paid)(void *context, struct rill_wallet *wallet, const struct rill_payment *payment);
    /* is_final: its money is back (or `state` says "lost"). Otherwise the lock has still to be given up by the hub, which may
     * collect it until then: `returned` follows, or `paid` after all. Only then is the money free. */
    void (*failed)(void *context, struct rill_wallet *wallet, const struct rill_payment *payment);
    void (*returned)(void *context, struct rill_wallet *wallet, const struct rill_payment *payment);
    void (*received)(void *context, struct rill_wallet *wallet, const struct rill_payment *payment);
    void (*funds)(void *context, struct rill_wallet *wallet, const uint8_t asset[20]);
    void (*settlement)(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement);
    /* The hub does not open or fund what rill_open_request asked for. */
    void (*open_refused)(void *context, struct rill_wallet *wallet, const uint8_t asset[20], int code,
                         const char *text);
    /* A close on the ledger goes on: one line; done: finished, and all that could be claimed is; paid_out: units. */
    void (*closing)(void *context, struct rill_wallet *wallet, const uint8_t channel[32], const char *text,
                    bool done, uint64_t paid_out);
    /* rill_options.recover: every channel is taken over, or left with its reason (trouble). */
    void (*recovered)(void *context, struct rill_wallet *wallet);
    void (*trouble)(void *context, struct rill_wallet *wallet, const char *text);
};

/* NULL, and one line in message, on failure: the folder is in use or damaged, belongs to another key, hub or ledger; the
 * key is none; the ledger's chain and hub are not known yet. */
struct rill_wallet *rill_open(struct event_base *base, const struct rill_options *options,
                              const struct rill_callbacks *callbacks, void *context, char *message,
                              size_t message_size);
/* Makes everything durable, closes the connection, frees. NULL is allowed. */
void rill_close_handle(struct rill_wallet *wallet);
void rill_address(const struct rill_wallet *wallet, uint8_t out[20]);
bool rill_is_ready(const struct rill_wallet *wallet);
/* Nothing signed is unacknowledged and nothing waits: a good moment to close the handle. */
bool rill_is_idle(const struct rill_wallet *wallet);

/* ---- payments ---- */

/* An invoice of this wallet, durable when this returns; 0 amount: the payer chooses. text: RILL_INVOICE_TEXT_MAX.
 * secret_hash may be NULL. */
int rill_invoice_create(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount,
                        uint64_t lifetime_s, const char *memo, char *text, uint8_t secret_hash[32]);

/* The same for many at once: nothing is durable when this returns, and nobody may see the text before
 * rill_when_durable has said so. */
int rill_invoice_draft(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount,
                       uint64_t lifetime_s, const char *memo, char *text, uint8_t secret_hash[32]);
/* done is called once, from the loop, when all that was asked of the wallet before is on disk; never, if the wallet is
 * closed first. */
void rill_when_durable(struct rill_wallet *wallet, void (*done)(void *context), void *context);
/* From now on no payment of it is accepted, and that is durable when this returns. 0; INVOICE: not one of this wallet's that
 * could still be paid; PAID: too late, a payment has been accepted. */
int rill_invoice_cancel(struct rill_wallet *wallet, const uint8_t secret_hash[32]);
/* The secret of an invoice of this wallet for which a payment was accepted (received, or arriving): what the payer has as
 * the receipt. False if none was, or if it ended more than a day ago. */
bool rill_invoice_receipt(const struct rill_wallet *wallet, const uint8_t secret_hash[32],
                          uint8_t secret[32]);

struct rill_invoice {
    uint8_t payee[20], asset[20], secret_hash[32];
    uint64_t amount; /* 0: the payer chooses */
    uint64_t expiry;
    char memo[257];
};
/* Reads an invoice, checks its signature and that it is for this wallet's ledger and hub. Returns false and one line in
 * message otherwise. */
bool rill_invoice_read(const struct rill_wallet *wallet, const char *text, struct rill_invoice *out,
                       char *message, size_t message_size);

struct rill_request {
    const char *
        invoice; /* then payee, asset, secret_hash and expiry come from it, and amount only where it leaves it open */
    uint8_t payee[20], asset[20], secret_hash[32];
    uint64_t amount;
    uint64_t expiry; /* Unix seconds; 0: as soon as the hub allows */
    enum rill_mode mode;
    uint64_t
        fee_max; /* units; 0: what the hub's terms say now, and no more should they change before it is sent; if they
                       * are not known yet, no more than the amount. Else `failed` with FEE */
    const char *memo; /* NULL: none */
};
/* 0: under way, `paid` or `failed` follows; id gets its 16 bytes (may be NULL). Else why it is refused: rill_refusal has
 * the sentence. */
int rill_pay(struct rill_wallet *wallet, const struct rill_request *request, uint8_t id[16]);
/* Why the last call was refused. */
const char *rill_refusal(const struct rill_wallet *wallet);

/* A note of the application's, kept with the wallet: it and the payments that are asked for before the loop goes on are on
 * disk in one write, so after a crash there are both or neither. owner: 8 bytes that no other program of this wallet uses;
 * number: the owner's own. length: 1 to 4096. False: this wallet has no folder, and nothing is kept. */
bool rill_note_keep(struct rill_wallet *wallet, const uint8_t owner[8], uint64_t number, const void *bytes,
                    size_t length);
/* The owner's up to this number are not needed any more. Costs no write; some may come back after a crash. */
void rill_notes_forget(struct rill_wallet *wallet, const uint8_t owner[8], uint64_t number);
/* The owner's, by number; the visitor returns false to stop, and must not keep or forget any. */
void rill_notes(struct rill_wallet *wallet, const uint8_t owner[8],
                bool (*visit)(void *context, uint64_t number, const void *bytes, size_t length),
                void *context);

/* Payments, outgoing then incoming, each oldest first; the visitor returns false to stop. */
typedef bool rill_visit(void *context, const struct rill_payment *payment);
void rill_history(const struct rill_wallet *wallet, rill_visit *visit, void *context);

/* How channels ended on the ledger, by index from 0; false behind the last. */
enum rill_closed_by { RILL_CLOSED_TOGETHER = 1, RILL_CLOSED_BY_WALLET = 2, RILL_CLOSED_BY_HUB = 3 };
struct rill_ending {
    uint8_t channel[32], asset[20];
    enum rill_closed_by by;
    uint64_t time;     /* of its block, Unix seconds */
    uint64_t paid_out; /* so far, locks that were claimed included */
    uint64_t
        penalty; /* what whoever closed it lost for a false claim; from the hub's the tower has its bounty */
    bool done;   /* all that could be claimed is; until then any loop that runs goes on with it */
};
bool rill_ending_at(const struct rill_wallet *wallet, size_t index, struct rill_ending *out);
/* A close is being looked at, or a transaction of it is on its way: not a good moment to close the handle. */
bool rill_close_is_busy(const struct rill_wallet *wallet);

/* ---- money ---- */

enum rill_stage { RILL_NONE = 0, RILL_OPEN = 1, RILL_CLOSING = 2, RILL_CLOSED = 3 };

struct rill_balance {
    uint8_t channel[32], asset[20];
    uint64_t salt;
    enum rill_stage stage; /* on the ledger, confirmed */
    bool closing_seen;     /* a close is under way, perhaps not confirmed yet */
    bool claiming;         /* closed, and something of it may still be claimed */
    bool synced;           /* in step with the hub on this connection */
    uint64_t total;        /* all that the channel holds */
    uint64_t balance;      /* what is this wallet's */
    uint64_t available;    /* what it can pay now */
    uint64_t inbound;      /* what it can receive now */
    uint64_t locked, incoming, frozen, reserve, unsecured, settling;
    uint64_t nonce_own, nonce_hub; /* of both sides' newest proofs, whose balances these are */
    const char *blocked;           /* NULL, or why nothing is signed for it */
};
/* Channels by index from 0; false behind the last. */
bool rill_balance_at(const struct rill_wallet *wallet, size_t index, struct rill_balance *out);
/* The open channel that payments in an asset use; false if there is none. */
bool rill_balance_of(const struct rill_wallet *wallet, const uint8_t asset[20], struct rill_balance *out);

/* The hub's terms for an asset; false before the first connection, or if it is not served. */
struct rill_terms {
    uint64_t base_fee, fee_ppm, direct_limit, min_lock, max_lock;
    uint16_t reserve_bps;
};
/* The assets the hub serves, by index from 0; false behind the last. */
bool rill_asset_at(const struct rill_wallet *wallet, size_t index, uint8_t asset[20]);
bool rill_terms_of(const struct rill_wallet *wallet, const uint8_t asset[20], struct rill_terms *out);

/* Pays out to this wallet's address on the ledger; the wish is durable when this returns, and `settlement` tells the
 * outcome. */
int rill_withdraw(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount);
/* Units of a payout that was asked for, by this call or by the policy, and has not ended; 0: none. */
uint64_t rill_withdrawal(const struct rill_wallet *wallet, const uint8_t asset[20]);

/* Payouts that the wallet asks for by itself, per asset: while it is connected, and as soon as it is again if it was
 * not at the moment. The policy is kept in the wallet's folder. A payout that comes to nothing is asked for anew a
 * minute later; `settlement` tells each outcome. */
enum rill_payout_mode {
    RILL_PAYOUT_MANUAL = 0,    /* never: rill_withdraw alone */
    RILL_PAYOUT_THRESHOLD = 1, /* as soon as `threshold` units can be paid out */
    RILL_PAYOUT_DAILY = 2      /* once a day at `minute`, if at least `threshold` units can be */
};
struct rill_payout_policy {
    enum rill_payout_mode mode;
    uint64_t
        threshold; /* units; above 0 for RILL_PAYOUT_THRESHOLD; 0 for RILL_PAYOUT_DAILY: whatever there is */
    uint64_t keep; /* units that stay in the channel, beside the reserve */
    uint16_t minute; /* RILL_PAYOUT_DAILY: minute of the day, UTC, 0-1439 */
};
/* 0, or AMOUNT: it makes no sense (rill_refusal has the sentence). Setting what is set already changes nothing, so a
 * program may do so at every start; a daily policy that is new waits for the next such minute. */
int rill_set_payout_policy(struct rill_wallet *wallet, const uint8_t asset[20],
                           const struct rill_payout_policy *policy);
/* RILL_PAYOUT_MANUAL where none was set. */
struct rill_payout_policy rill_payout_policy(const struct rill_wallet *wallet, const uint8_t asset[20]);

/* Closes the asset's channel together with the hub. */
int rill_close(struct rill_wallet *wallet, const uint8_t asset[20]);
/* Closes it on the ledger without the hub; `closing` tells each step. Keep the wallet open until it says done. */
int rill_dispute(struct rill_wallet *wallet, const uint8_t asset[20]);
/* Asks the hub to open a channel, or to put more of its own money in, so that this much can be received. */
int rill_open_request(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t inbound);

/* Deposits from this wallet's address on the ledger: the native coin, or approve and deposit of a token. done: once, with
 * ok, or false and one line. The channel counts it when both the hub and the own view have it confirmed: `funds`. */
typedef void rill_deposited(void *context, struct rill_wallet *wallet, bool ok, const char *text);
void rill_deposit(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount, rill_deposited *done,
                  void *context);
/* A deposit that was asked for still waits for what comes before it (a token's approve): if the handle is closed now, it
 * is never sent. */
bool rill_deposit_is_unsent(const struct rill_wallet *wallet);

/* ---- towers ---- */

/* The newest nonce of the hub's proofs that a tower has given its receipt for, by its index in the options; 0: none. */
uint64_t rill_tower_receipt(const struct rill_wallet *wallet, size_t tower, const uint8_t channel[32]);
bool rill_tower_is_connected(const struct rill_wallet *wallet, size_t tower);
/* The nonce of the hub's newest proof of a channel: what every tower should have a receipt for. */
uint64_t rill_tower_owed(const struct rill_wallet *wallet, const uint8_t channel[32]);
/* What a tower has signed for, with all that a third party needs to hold it against the ledger, as a JSON object in
 * text (`rill tower verify` reads it); to be freed with free(). NULL: it has given no receipt for this channel. */
char *rill_tower_evidence(const struct rill_wallet *wallet, size_t tower, const uint8_t channel[32]);

/* ---- names ---- */

const char *rill_code_name(int code); /* "AVAILABLE" */
const char *rill_code_text(int code); /* one sentence */

#endif
