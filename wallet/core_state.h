/* The core's memory, shared by the files core_*.c and nobody else. */
#ifndef RILL_WALLET_CORE_STATE_H
#define RILL_WALLET_CORE_STATE_H

#include <uthash.h>
#include <utlist.h>

#include "base/ensure.h"
#include "wallet/core.h"

/* Record types of a wallet's journal (1-3 are the channel's). On disk: do not renumber. docs/journal.md. */
enum wallet_record {
    RECORD_WALLET = 32,       /* key: none; whose journal it is */
    RECORD_CURSOR = 33,       /* key: none; next block, confirmed time */
    RECORD_BOOK = 34,         /* key: channel id; what the wallet knows of a channel beside its streams */
    RECORD_INVOICE = 35,      /* key: secret hash */
    RECORD_PAYMENT_OUT = 36,  /* key: payment id */
    RECORD_PAYMENT_IN = 37,   /* key: channel id, payment id */
    RECORD_REGISTRATION = 38, /* key: kind u8, condition */
    RECORD_RECEIPT = 39,      /* key: tower address, channel id */
    RECORD_COUNTER = 40,      /* key: none; the invoice counter */
    RECORD_TERMS = 41,        /* key: none; the times of the hub's last terms */
    RECORD_PAYOUT = 42,       /* key: asset; the policy of payouts that are asked for by themselves */
    RECORD_NOTE = 43          /* key: owner, number; the application's own */
};

struct wallet_channel;

/* ---- payments and invoices ---- */

struct payment_out {
    struct payment_id id;
    struct hash secret_hash;
    struct wallet_channel *channel;
    struct address payee;
    struct amount amount, fee;
    struct amount fee_max; /* while WAITING: never signed with more */
    uint64_t expiry;       /* as sent; while WAITING the invoice's, 0: none given */
    uint64_t created;
    uint64_t code;
    uint64_t lock_id;
    uint64_t drop_nonce; /* DROPPED: the update that dropped the lock */
    uint64_t met_ms; /* LOCKED: since when it is known that its secret was registered in time; 0: it is not */
    struct carrier carrier;
    uint8_t state; /* enum payment_out_state */
    uint8_t mode;  /* enum payment_mode; after WAITING direct or locked */
    bool has_secret;
    uint8_t secret[32];
    char *memo;                      /* NULL: none */
    struct payment_out *prev, *next; /* in the channel's list that its state names */
    UT_hash_handle hh;               /* by id */
    UT_hash_handle hh_secret;        /* by secret hash; a later try replaces a failed one */
};

struct wallet_note {
    struct note_key key;
    struct buffer bytes;
    UT_hash_handle hh;
};

struct payment_in_key {
    struct hash channel;
    struct payment_id id;
};
struct payment_in {
    struct payment_in_key key;
    struct wallet_channel *channel;
    struct hash secret_hash;
    struct amount amount;
    uint64_t expiry;
    uint64_t margin_s; /* of a lock: how long before its expiry the ledger is told, as known when it came */
    uint64_t created;
    uint64_t code;    /* why it was refused */
    uint64_t counter; /* of the invoice's secret; 0: not ours */
    struct carrier carrier;
    uint8_t state; /* enum payment_in_state */
    bool locked;
    bool revealing;         /* in the channel's `reveals` */
    struct amount repeated; /* came again under the same id: to be sent back */
    char *memo;
    struct payment_in *prev, *next;               /* in the channel's list that its state names */
    struct payment_in *repeat_prev, *repeat_next; /* in `repeats` while repeated is not zero */
    UT_hash_handle hh;
};

/* Of a channel. Anybody can send what goes back at once, and costs little or nothing for it. An id that comes again after
 * its first outcome is forgotten is refused again for what is wrong with it. */
#define REFUSED_KEPT_MAX 1024

struct invoice_issued {
    struct hash secret_hash;
    uint64_t counter;
    struct address asset;
    struct amount amount;
    uint64_t expiry;
    bool paid;
    UT_hash_handle hh;
};

/* What is at risk towards one payee. */
struct unsecured {
    struct address payee;
    struct amount amount;
    UT_hash_handle hh;
};

/* ---- the ledger ---- */

/* A condition that was met. */
struct registration {
    struct {
        uint8_t kind;
        struct hash condition;
    } key;
    uint64_t time;
    struct hash
        witness; /* wallet_registration_secret: not known if the ledger was asked for the time alone */
    bool kept;   /* in the journal: a lock of ours hangs on it */
    UT_hash_handle hh;
};
#define REGISTRATIONS_MAX 4096 /* that no lock hangs on */

/* What the ledger was asked of a condition that is not known as met. */
struct condition_check {
    struct {
        uint8_t kind;
        struct hash condition;
    } key;
    bool asking;
    uint64_t asked_time;   /* the confirmed time then */
    uint64_t absent_until; /* no block up to this time has met it; 0: not known */
    UT_hash_handle hh;
};
/* LAPSED: not met up to the expiry. UNKNOWN: too early to say, or the ledger is being asked. */
enum condition_fate { CONDITION_UNKNOWN, CONDITION_MET, CONDITION_LAPSED };

/* What a transaction of the core is for. */
enum duty_kind {
    DUTY_START_CLOSE,
    DUTY_CHALLENGE,
    DUTY_VOID,
    DUTY_FINISH,
    DUTY_UNLOCK,
    DUTY_REGISTER,
    DUTY_WITHDRAW_OWED
};
struct submission {
    uint64_t id;
    enum duty_kind kind;
    struct hash channel; /* all but register and withdraw-owed */
    struct hash subject;
    UT_hash_handle hh;
};
/* A duty under way, or one that failed and waits before it is tried again. */
struct duty {
    struct {
        uint32_t kind;
        struct hash subject;
    } key; /* channel, lock leaf, condition, or asset */
    bool in_flight, done;
    uint32_t failures;
    uint64_t not_before_ms;
    UT_hash_handle hh;
};

enum question_kind { ASK_CHANNEL, ASK_CLOSING, ASK_HELD, ASK_OWED, ASK_REGISTERED };
struct question {
    uint64_t id;
    enum question_kind kind;
    uint8_t lock_kind;   /* ASK_REGISTERED */
    struct hash channel; /* ASK_REGISTERED: the condition */
    struct address asset;
    UT_hash_handle hh;
};

/* A close that is watched: looked at on each new head until nothing is left to claim. */
enum watch_step { WATCH_REST, WATCH_ASKING, WATCH_ASK_CLOSING, WATCH_ASK_HELD, WATCH_ACT };
struct close_watch {
    bool active;
    enum watch_step step;
    uint64_t looked_head; /* newest head looked at */
    uint64_t looked_ms;
    uint64_t open_head;   /* head at which it was first found open again; 0: it is not */
    uint64_t closed_head; /* head at which it was first found closed with nothing left; 0: not yet */
    bool told_started, told_mismatch;
    const char *told; /* the newest step told */
    uint8_t status;   /* as last seen: */
    struct closing closing;
    struct amount held_client, held_hub;
    bool by_hub; /* who began it, as the ledger said */
};

/* How a channel ended on the ledger, for the history. On disk. */
struct channel_ending {
    uint8_t by;              /* enum closed_by; 0: it has not */
    uint64_t time;           /* of the block */
    struct amount to_client; /* paid out so far, unlocked locks included */
    struct amount
        penalty; /* by the hub's close from the hub to the client (the tower's bounty included), else from
                              * the client */
};

/* ---- a channel ---- */

struct held_update {
    struct update update;
    uint8_t *body;
    struct held_update *prev, *next;
};

/* A wish to settle; survives a restart. */
struct settlement_wish {
    bool active, close;
    bool by_policy; /* not the user's own */
    struct amount amount;
    bool asked;         /* on this connection */
    uint64_t ask_at_ms; /* not before */
};

/* What one tower has of a channel. */
struct tower_duty {
    uint64_t appointed; /* nonce of the newest APPOINT sent on this connection */
    bool in_flight;     /* APPOINT sent, RECEIPT not yet */
    struct hash digest; /* of what is in flight, as the two below */
    struct balance_proof proof;
    struct signature proof_signature;
    uint64_t sent_ms;
    uint32_t appointed_change; /* the channel's `change` it covered */
    uint64_t receipt_nonce;    /* newest RECEIPT */
    struct hash receipt_digest;
    struct signature receipt_signature;
    struct balance_proof
        receipt_proof; /* what it is for: evidence of what the tower owes; nonce 0: not kept */
    struct signature receipt_proof_signature;
    uint64_t silent_since_s; /* owes a receipt since (wall clock); 0: owes none */
    bool silence_written;
    bool dismissed;
    bool told_refusal;
    bool fetched;     /* FETCH sent on this connection, by a wallet that recovers, */
    bool newer_asked; /* or since the tower has signed for more than is known here */
};

/* What the hub showed of a channel while connecting. */
struct shown_channel {
    bool active;
    bool stream_done[2]; /* its LOCKS have come, or none will */
    struct shown_stream streams[2];
    struct shown_drop *drops[2];
    struct shown_lock *locks[2];
    size_t lock_count[2];
    struct shown_settlement settlement;
    struct channel_funds funds;
};

struct wallet_channel {
    struct hash id;
    struct channel *channel;
    bool synced;         /* CHANNEL and its LOCKS came on this connection, RESUME went */
    bool let_go;         /* while the journal is read: its records are gone */
    const char *blocked; /* why nothing may be signed, NULL if all is well */
    bool resume_send;
    uint64_t hub_nonce;        /* what the hub showed as its newest on this connection */
    uint64_t hub_expect_by_ms; /* until when the updates up to it should have come; 0: they have */
    uint64_t sent_nonce;       /* own updates up to it went out on this connection */
    bool offer_again; /* the hub took none of them: to it the channel is not open, as of this block */
    bool ack_due;
    uint32_t ack_count;
    uint64_t ack_since_ms;
    bool revoke_send;
    struct payment_in **reveals; /* to be sent */
    size_t reveal_count, reveal_capacity;
    struct failed *fails;
    size_t fail_count, fail_capacity;
    struct held_update *held;
    size_t held_bytes;
    bool held_retry; /* the own view or the hub's word has moved since they were judged */

    struct payment_out *waiting, *open,
        *due; /* WAITING | DIRECT, LOCKED, DROPPED | UNLOCKING, DROPPING, expired */
    struct payment_in *refunds, *revealed, *rejected; /* REFUND_DUE | REVEALED | REJECTED */
    struct payment_in *repeats;
    struct payment_in *refused; /* REFUNDED, or DROPPED and never ours to claim; oldest first */
    size_t refused_count;
    struct unsecured *payees;
    struct amount unsecured;

    struct settlement_wish wish;
    bool ask_send;
    bool answer_send;  /* to the newest proposal, of answer_seq: */
    bool answer_signs; /* it was signed, and the signature is sent if it still stands */
    uint32_t answer_seq;

    uint64_t mark_block; /* the newest event applied: */
    uint32_t mark_log;   /* nothing at or before it is applied again */
    uint64_t told_block;
    bool book_dirty;
    uint32_t change; /* rises with what a tower should know beside the hub's proof */

    bool closing_seen; /* an event said so, confirmed or not */
    bool dispute;      /* we want to close it alone */
    struct close_watch watch;
    struct channel_ending ending;
    struct tower_duty towers[WALLET_TOWERS_MAX];
    struct shown_channel shown;
    UT_hash_handle hh;
};

/* core_payout.c's: the policy of one asset. */
struct payout_of_asset {
    struct address asset;
    struct payout_policy policy;
    uint64_t not_before_ms; /* after one that came to nothing */
    struct payout_of_asset *prev, *next;
};

struct open_wish {
    struct address asset;
    struct amount inbound;
    bool sent;
    struct open_wish *prev, *next;
};

struct pending_error {
    uint64_t code;
    struct error_reference reference;
};

/* What towers gave back to a wallet that lost its disk. */
struct kept_appointment {
    size_t tower;
    struct hash channel;
    struct shown_proof proof;
    struct shown_revocation revocation;
    struct shown_lock *locks;
    size_t lock_count;
    struct kept_appointment *prev, *next;
};

struct wallet_core {
    struct wallet_core_options options;
    struct wallet_effects effects;
    void *context;
    struct address self;
    uint8_t invoice_seed[32];
    struct decoder *decoder;

    /* the journal */
    struct buffer batch;
    uint64_t appended;
    bool has_identity;
    bool read_failed;
    char read_message[160];

    /* the connection */
    bool linked, welcomed, paused;
    bool ready_told;
    uint64_t channels_expected, channels_shown;
    struct wallet_channel *showing; /* whose LOCKS are coming */
    /* A channel beyond the limit: its LOCKS are read past. */
    struct {
        bool active;
        struct hash id;
        bool stream_done[2];
    } passed;
    bool crowd_told; /* that there are such channels */
    bool has_terms;
    struct terms terms;
    /* The direct_limit that the hub first said for an asset: the default limits follow it down, never up. */
    struct pinned_limit {
        struct address asset;
        struct amount direct_limit;
    } pinned[ASSETS_MAX];
    size_t pinned_count;
    struct pending_error *errors;
    size_t error_count, error_capacity;
    struct wallet_news *news; /* told once the next batch is on its way */
    size_t news_count, news_capacity;
    const char *disconnect;
    uint64_t now_ms, unix_s;

    struct wallet_channel *channels;
    size_t channel_count;
    struct payment_out *outs, *outs_by_secret;
    struct payment_in *ins;
    struct invoice_issued *invoices;
    size_t invoices_open; /* of these, neither paid nor let go */
    size_t waiting_count;
    struct carrier carrier;       /* of what the update in hand brings */
    struct payment_out **drafted; /* what the draft in hand carries, for its carrier */
    size_t drafted_count, drafted_capacity;
    uint64_t counter;         /* last used */
    uint64_t invoices_looked; /* ledger time at which old ones were last let go */
    uint64_t register_look_s; /* wall clock at which locks that wait to be unlocked are next looked at */
    char refusal[160];

    /* the ledger */
    bool has_head;
    bool in_view; /* the story has been followed up to the present once: what is missing is missing */
    bool head_moved;
    struct ledger_head head;
    uint64_t block_ms; /* from block to block, on average; 0: not known yet */
    uint64_t cursor, cursor_written;
    struct registration *registrations;
    size_t registrations_loose;
    struct condition_check *checks;
    size_t checks_asking;
    struct submission *submissions;
    struct duty *duties;
    struct question *questions;
    uint64_t next_id;
    struct owed_asset {
        struct address asset;
        bool asking, due; /* a question is open; something is owed as last seen */
        uint64_t looked_head;
        unsigned empty_heads;
        struct owed_asset *prev, *next;
    } * owed;

    /* towers */
    bool tower_linked[WALLET_TOWERS_MAX];

    struct open_wish *opens;
    struct payout_of_asset *payouts;
    size_t payout_count;
    struct wallet_note *notes;
    struct buffer forgotten; /* records of notes that are gone: with the next batch */

    /* recovering */
    struct kept_appointment *kept;
    bool recover_told;
    bool recovered_alone; /* from the towers, without the hub */
    uint64_t fetch_awaited[WALLET_TOWERS_MAX];
    uint64_t recover_deadline_ms; /* 0: the towers have not been asked yet */
    uint64_t next_due_ms;
};

/* ---- core.c ---- */

struct wallet_channel *wallet_channel_by_id(const struct wallet_core *core, const struct hash *id);
/* Finds it or makes it, empty. At the limit, in the place of one that nobody has used: used says that this one is, by what
 * the hub shows; otherwise the lower salt goes first. NULL: there is no such place. */
struct wallet_channel *wallet_channel_make(struct wallet_core *core, const struct channel_key *key,
                                           bool used);
/* Says once that some channels are left alone. */
void wallet_crowd(struct wallet_core *core);
void wallet_channel_remove(struct wallet_core *core, struct wallet_channel *own);
struct channel_view wallet_view(struct wallet_core *core);
const struct asset_terms *wallet_asset_terms(const struct wallet_core *core, const struct address *asset);
/* Zero for an asset that was never seen. */
struct amount wallet_pinned_limit(const struct wallet_core *core, const struct address *asset);
void wallet_pin_limit(struct wallet_core *core, const struct address *asset, struct amount direct_limit);
void wallet_error(struct wallet_core *core, enum code code, const struct error_reference *reference);
struct error_reference wallet_reference(enum message_type type, const struct hash *channel, uint64_t nonce);
void wallet_tell(struct wallet_core *core, const struct wallet_news *news);
void wallet_trouble(struct wallet_core *core, const struct wallet_channel *own, const char *format, ...)
    PRINTF_LIKE(3, 4);
void wallet_tell_channel(struct wallet_core *core, enum wallet_news_type type,
                         const struct wallet_channel *own, const char *text);
/* The next run is wanted at this time at the latest. */
void wallet_due(struct wallet_core *core, uint64_t at_ms);
/* The channel may sign and accept. */
bool wallet_channel_live(const struct wallet_channel *own);

/* ---- core_link.c ---- */

void wallet_link_channel_shown(struct wallet_core *core, const struct message *message);
void wallet_link_locks_shown(struct wallet_core *core, const struct message *message);
/* RESUME has gone for all; called once every CHANNEL with its LOCKS has come (and, recovering, the towers' answers). */
void wallet_link_resume_all(struct wallet_core *core);
/* Whether the updates that the hub showed have come. */
void wallet_link_expect(struct wallet_core *core, struct wallet_channel *own);
/* In the run's sending part: RESUME, before all else of the channel. Returns whether it was sent. */
bool wallet_link_send_resume(struct wallet_core *core, struct wallet_channel *own);
void wallet_shown_clear(struct shown_channel *shown);
/* It has been shown, and all LOCKS of it have come. */
bool wallet_shown_whole(const struct shown_channel *shown);

/* ---- core_updates.c ---- */

void wallet_updates_received(struct wallet_core *core, const struct message *message);
void wallet_updates_retry_held(struct wallet_core *core, struct wallet_channel *own);
void wallet_updates_drop_held(struct wallet_core *core, struct wallet_channel *own);
/* Puts what waits into updates and signs them. */
void wallet_updates_sign(struct wallet_core *core, struct wallet_channel *own);

/* ---- core_payments.c ---- */

void wallet_payments_free(struct wallet_core *core);
void wallet_payment_out_write(struct wallet_core *core, const struct payment_out *payment);
/* Moves it to the state and its list, without the journal. */
void wallet_payment_out_move(struct wallet_core *core, struct payment_out *payment,
                             enum payment_out_state state);
/* The same, and the journal. */
void wallet_payment_out_set(struct wallet_core *core, struct payment_out *payment,
                            enum payment_out_state state);
void wallet_payment_out_fail(struct wallet_core *core, struct payment_out *payment, uint64_t code);
struct payment_out *wallet_payment_out_find(const struct wallet_core *core, const struct payment_id *id);
void wallet_payment_out_index(struct wallet_core *core, struct payment_out *payment);
void wallet_payment_out_list(struct payment_out *payment, bool add);
struct payment_view wallet_payment_out_view(const struct payment_out *payment);
/* Chooses mode, fee and expiry by the terms and the moment. CODE_OK, or why it cannot be sent. */
enum code wallet_payment_out_prepare(struct wallet_core *core, struct payment_out *payment,
                                     struct operation *operation);
void wallet_payments_secret_shown(struct wallet_core *core, struct wallet_channel *own,
                                  const struct revealed *item);
void wallet_payments_failed(struct wallet_core *core, struct wallet_channel *own, const struct failed *item);
void wallet_payments_refunded(struct wallet_core *core, struct wallet_channel *own,
                              const struct operation *operation);
void wallet_payments_revoked(struct wallet_core *core, struct wallet_channel *own);
/* Locks whose time has come, direct payments that nobody answered, and what may be forgotten. */
void wallet_payments_head(struct wallet_core *core);
/* A registered secret is a receipt, whoever registered it. */
void wallet_payments_registered(struct wallet_core *core, const struct registration *registration);
/* The ledger has said what became of a condition. */
void wallet_payments_fate_known(struct wallet_core *core, const struct hash *condition);
/* From this confirmed time on a lock that was not met is taken back. */
uint64_t wallet_payment_out_ends(const struct wallet_core *core, const struct payment_out *payment);
/* A lock on this secret was dropped and is not revoked: a close may still bring it back, and then it pays. */
bool wallet_payments_dropped_on(const struct wallet_core *core, const struct hash *secret_hash);
/* A close has decided over a lock. */
void wallet_payments_unlocked(struct wallet_core *core, struct wallet_channel *own,
                              const struct contract_event *event);
/* The channel is closed, and of its client's stream update `nonce` stood: a lock that was not in it is free again. */
void wallet_payments_closed(struct wallet_core *core, struct wallet_channel *own, uint64_t nonce);
void wallet_payments_stop(struct wallet_core *core, struct wallet_channel *own, uint64_t code);

/* ---- core_incoming.c ---- */

void wallet_payment_in_write(struct wallet_core *core, const struct payment_in *payment);
void wallet_payment_in_set(struct wallet_core *core, struct payment_in *payment, enum payment_in_state state);
struct payment_in *wallet_payment_in_find(const struct wallet_core *core, const struct hash *channel,
                                          const struct payment_id *id);
void wallet_payment_in_list(struct payment_in *payment, bool add);
void wallet_payment_in_index(struct wallet_core *core, struct payment_in *payment);
struct payment_view wallet_payment_in_view(const struct payment_in *payment);
bool wallet_payment_in_secret(const struct wallet_core *core, const struct payment_in *payment,
                              uint8_t secret[32]);
void wallet_incoming_pay(struct wallet_core *core, struct wallet_channel *own,
                         const struct operation *operation);
void wallet_incoming_lock(struct wallet_core *core, struct wallet_channel *own,
                          const struct operation *operation, const struct pending_lock *lock);
void wallet_incoming_lock_gone(struct wallet_core *core, struct wallet_channel *own,
                               const struct operation *operation, const struct pending_lock *lock);
/* What was to be said to the hub is not any more: the connection is over, or begins anew. */
void wallet_incoming_unsay(struct wallet_channel *own);
/* After a reconnect: reveals and fails again what was unanswered. */
void wallet_incoming_resume(struct wallet_core *core, struct wallet_channel *own);
/* Its secret goes to the hub with the next run, once however often it is asked for. */
void wallet_incoming_reveal(struct payment_in *payment);
/* Registers what was not unlocked in time. In the run's sending part. */
void wallet_incoming_register(struct wallet_core *core);
void wallet_incoming_forget(struct wallet_core *core);
/* Forgets the oldest of more than REFUSED_KEPT_MAX that were refused. */
void wallet_incoming_trim(struct wallet_core *core, struct wallet_channel *own);
/* A lock taken over from the hub's word that no record knows: ours to claim if its secret is. */
void wallet_incoming_restore(struct wallet_core *core, struct wallet_channel *own);

/* ---- core_invoices.c ---- */

void wallet_invoice_secret(const struct wallet_core *core, uint64_t counter, uint8_t secret[32]);
void wallet_invoice_write(struct wallet_core *core, const struct invoice_issued *invoice);
struct invoice_issued *wallet_invoice_find(const struct wallet_core *core, const struct hash *secret_hash);
void wallet_invoice_forget(struct wallet_core *core, struct invoice_issued *invoice);
void wallet_invoices_head(struct wallet_core *core);
/* Searches recent times for the counters whose secrets have these hashes; 0 where there is none. Takes up to a minute:
 * only for a wallet that lost its disk while payments were under way. */
void wallet_invoice_search(const struct wallet_core *core, const struct hash *conditions, uint64_t *counters,
                           size_t count);

/* ---- core_settle.c ---- */

void wallet_settle_proposed(struct wallet_core *core, const struct message *message);
void wallet_settle_shown(struct wallet_core *core, struct wallet_channel *own,
                         const struct shown_settlement *shown);
void wallet_settle_said(struct wallet_core *core, const struct message *message);
void wallet_settle_refused(struct wallet_core *core, const struct message *error);
void wallet_settle_head(struct wallet_core *core, struct wallet_channel *own);
void wallet_settle_found(struct wallet_core *core, struct wallet_channel *own,
                         const struct contract_event *event);
void wallet_settle_run(struct wallet_core *core, struct wallet_channel *own);
void wallet_settle_send(struct wallet_core *core, struct wallet_channel *own);

/* ---- core_payout.c ---- */

/* Finds the asset's or makes it, manual. NULL at the limit. */
struct payout_of_asset *wallet_payout_slot(struct wallet_core *core, const struct address *asset);
/* Asks for what the policies say is due. */
void wallet_payouts_run(struct wallet_core *core);
/* A payout that a policy had asked for came to nothing. */
void wallet_payout_failed(struct wallet_core *core, const struct wallet_channel *own);
void wallet_payouts_free(struct wallet_core *core);

/* ---- core_notes.c ---- */

/* Adds what was forgotten to a batch that is not empty. */
void wallet_notes_write(struct wallet_core *core);
bool wallet_note_read(struct wallet_core *core, const struct record *record);
void wallet_notes_free(struct wallet_core *core);

/* ---- core_conditions.c ---- */

uint64_t wallet_ledger_registered_at(void *context, uint8_t kind, const struct hash *condition);
struct registration *wallet_ledger_registration(const struct wallet_core *core, uint8_t kind,
                                                const struct hash *condition);
/* The secret that was registered. False: only that it was is known, and when. */
bool wallet_registration_secret(const struct registration *registration, uint8_t secret[32]) MUST_USE;
void wallet_condition_met(struct wallet_core *core, const struct contract_event *event);
/* What became of a lock's condition; asks the ledger where it must: then wallet_payments_fate_known follows, and held
 * updates are judged again. */
enum condition_fate wallet_condition_fate(struct wallet_core *core, uint8_t kind,
                                          const struct hash *condition, uint64_t expiry);
void wallet_condition_answer(struct wallet_core *core, uint8_t kind, const struct hash *condition, bool ok,
                             const uint8_t *data, size_t length);
/* Registrations that a new lock of the channel hangs on go into the batch; before its own records do. */
void wallet_conditions_keep(struct wallet_core *core, const struct wallet_channel *own);
/* Lets go what no longer matters. */
void wallet_conditions_head(struct wallet_core *core);
void wallet_conditions_free(struct wallet_core *core);

/* ---- core_ledger.c ---- */

/* IMPOSSIBLE: an amount of 2^63 or more, or less than nothing; the funds are as they were. */
enum funds_change { FUNDS_SAME, FUNDS_CHANGED, FUNDS_IMPOSSIBLE };
/* What a confirmed event of its channel does to funds. */
enum funds_change wallet_funds_apply(struct channel_funds *funds,
                                     const struct contract_event *event) MUST_USE;
/* Asks for the secret to be registered, once at a time. */
void wallet_ledger_register(struct wallet_core *core, const struct hash *condition, const uint8_t secret[32]);
void wallet_ledger_registration_write(struct wallet_core *core, struct registration *registration);
void wallet_ledger_free(struct wallet_core *core);
/* Submits unless the same duty is in flight, done, or failed a moment ago. Returns true if it was submitted. channel may
 * be NULL. */
bool wallet_duty_submit(struct wallet_core *core, enum duty_kind kind, const struct hash *subject,
                        const struct hash *channel, const struct contract_call *call);
bool wallet_duty_done(const struct wallet_core *core, enum duty_kind kind, const struct hash *subject);
void wallet_ask(struct wallet_core *core, enum question_kind kind, const struct hash *channel,
                const struct address *asset, const struct contract_call *view);

/* ---- core_close.c ---- */

void wallet_close_seen(struct wallet_core *core, struct wallet_channel *own);
void wallet_close_event(struct wallet_core *core, struct wallet_channel *own,
                        const struct contract_event *event);
/* The ledger shows it closed, confirmed. */
void wallet_close_ended(struct wallet_channel *own, enum closed_by by, struct amount to_client,
                        const struct contract_event *event);
void wallet_close_run(struct wallet_core *core, struct wallet_channel *own);
void wallet_close_answer(struct wallet_core *core, const struct question *question, bool ok,
                         const uint8_t *data, size_t length);
void wallet_owed_answer(struct wallet_core *core, const struct address *asset, bool ok, const uint8_t *data,
                        size_t length);
void wallet_owed_check(struct wallet_core *core, const struct address *asset);
void wallet_owed_run(struct wallet_core *core);

/* ---- core_towers.c ---- */

void wallet_towers_run(struct wallet_core *core, struct wallet_channel *own);
void wallet_towers_send(struct wallet_core *core, struct wallet_channel *own);
/* The highest nonce that every tower which counts has given a receipt for; UINT64_MAX without towers. */
uint64_t wallet_towers_covered(const struct wallet_core *core, const struct wallet_channel *own);
void wallet_receipt_write(struct wallet_core *core, const struct wallet_channel *own, size_t tower);

/* ---- core_recover.c ---- */

/* True if the channel as the hub or a tower shows it is ahead of what is here: its records were lost. */
bool wallet_recover_needed(const struct wallet_core *core, const struct wallet_channel *own);
/* Asks the towers for what they keep; without a hub, takes that over when the time is up. In each run. */
void wallet_recover_run(struct wallet_core *core);
/* A tower's KEPT, or its ERROR to a FETCH (message NULL). */
void wallet_recover_kept(struct wallet_core *core, size_t tower, const struct message *message);
/* What was asked of it is not answered any more. */
void wallet_recover_unlinked(struct wallet_core *core, size_t tower);
/* Answers of towers are still to come. */
bool wallet_recover_waiting(const struct wallet_core *core);
/* Takes over what hub and towers show of a channel; sets or clears `blocked`. */
void wallet_recover_channel(struct wallet_core *core, struct wallet_channel *own);
/* All channels that the hub shows are taken over, or left with their reason; now those that it does not show. */
void wallet_recover_done(struct wallet_core *core);
/* KEPT of a tower whose RECEIPT is above what is here: if its proof is, nothing more is signed. */
void wallet_recover_newer(struct wallet_core *core, struct wallet_channel *own,
                          const struct message *message);
void wallet_recover_free(struct wallet_core *core);

/* ---- core_disk.c ---- */

void wallet_disk_write_identity(struct wallet_core *core);
void wallet_disk_write_cursor(struct wallet_core *core);
void wallet_disk_write_counter(struct wallet_core *core);
void wallet_disk_write_terms(struct wallet_core *core);
void wallet_disk_write_book(struct wallet_core *core, const struct wallet_channel *own);
/* The records of a channel in which nothing was signed. */
void wallet_disk_forget_channel(struct wallet_core *core, const struct hash *id);
void wallet_disk_write_payout(struct wallet_core *core, const struct payout_of_asset *payout);

#endif
