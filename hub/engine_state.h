/* The engine's inside: shared by the files hub/engine.c, clients.c, window.c, forward.c, due.c, finish.c, acks.c, outcomes.c,
 * ledger_view.c, ahead.c, dispute.c, remains.c, settle.c, rebalance.c, batch.c, submit.c, report.c, appoint.c, promises.c, recall.c, count.c
 * and engine_disk.c, and by their tests. */
#ifndef RILL_HUB_ENGINE_STATE_H
#define RILL_HUB_ENGINE_STATE_H

#include <uthash.h>

#include "base/index.h"
#include "base/slab.h"
#include "hub/engine.h"
#include "hub/history.h"
#include "hub/leaves.h"
#include "hub/payments.h"
#include "hub/transfer.h"
#include "settlement/demand.h"
#include "settlement/journal_root.h"
#include "settlement/plan.h"

/* Record types of the hub's journal beside the channels' 1-3 (channel/channel.h). On disk: do not renumber.
 */
enum hub_record {
    RECORD_PAYMENT = 16,      /* key: id on the payee's leg */
    RECORD_CURSOR = 17,       /* key: empty; block, time */
    RECORD_REGISTRATION = 18, /* key: kind, condition; time, witness */
    RECORD_ROOT = 19,         /* key: empty; the journal root so far, volume since the last batch */
    RECORD_POOL = 20,         /* key: asset; units */
    RECORD_BATCH = 21,        /* key: batch number; what a settled batch moved */
    RECORD_WANT = 22,         /* key: channel id; payout, close and inbound room that its client asked for */
    RECORD_ASSET = 23,        /* key: asset; listed in the contract: served with the settings' terms */
    RECORD_IDENTITY = 24,     /* key: empty; chain id, contract, hub: whose journal this is */
    RECORD_DISPUTE = 25,      /* key: channel id; a close that the ledger shows, confirmed */
    RECORD_PARCEL = 26, /* key: shard u16, number u64; transfers to it, not acknowledged (hub/transfer.h) */
    RECORD_SHARD_PAIR = 27, /* key: shard u16; the numbers of the last parcels to it and from it */
    RECORD_LIABILITIES =
        28,             /* key: empty, in the first shard; the newest statement of what is owed, as signed */
    RECORD_PROMISE = 29 /* key: channel id, tower; the tower's newest receipt, and the proof that it is for */
    /* 240, 248, in the archive: RECORD_HISTORY of hub/history.h; 241, 242: hub/leaves.h */
};

struct hub_channel;

struct client {
    struct address address;
    uint32_t under_way; /* bytes of updates sent on this link and not acknowledged, all channels (window.c) */
    uint64_t peer;      /* 0: offline */
    struct hub_channel *channels; /* those that were ever used first (clients.c) */
};

/* An update that the own ledger view cannot judge yet, or that waits for this side's window. */
struct held_update {
    struct update update;
    uint8_t *body;
    struct held_update *next;
};

/* A tower's newest receipt for a channel, and the client's proof that it is for; hub/promises.c. */
struct promise {
    struct signature receipt;
    struct balance_proof proof;
    struct signature signature;     /* the client's */
    struct hub_channel *next_dirty; /* of the tower's list of what is still to be written */
    bool is_dirty, is_over;         /* over: the next write removes it */
};

/* What one watchtower was told of a channel, and has answered; hub/appoint.c's. */
struct watch {
    uint64_t receipt_nonce;
    struct promise *promise;  /* NULL: none. It outlives a restart, receipt_nonce does not */
    uint64_t appoint_sent_ms; /* not answered yet; 0: none is */
    uint64_t refused_since_ms, refused_retry_ms;
    struct hub_channel *next_appoint, *next_refused;
    uint64_t next_ms;   /* not before, unless it is urgent */
    bool appoint_dirty; /* the tower should have more than it was sent */
    bool queued;
    bool tower_dismissed; /* for this channel */
};

/* A hub holds a million of these: what an idle channel does not need is behind a pointer. */
struct hub_channel {
    struct channel *channel;
    struct client *client;
    struct hub_channel *next_of_client;
    struct hub_channel *next; /* of engine->channels */
    bool announced : 1;       /* the client knows of it on this link */
    bool resumed : 1;         /* the client has said RESUME on this link: new updates go out */
    bool dirty : 1;           /* in the turn's list */
    bool funds_changed : 1;
    /* acks.c: an ACK is owed; the channel is in the list of those that wait. */
    bool ack_due : 1, ack_waits : 1;
    bool close_wanted : 1, want_dirty : 1;
    bool dispute_dirty : 1;
    /* A proposal of this link; a refusal names its seq alone, so no other is made meanwhile. */
    bool unanswered : 1;
    bool counted : 1;            /* by the count whose phase this is */
    bool used : 1;               /* it stands with the client's channels that were ever used */
    bool holds : 1;              /* in the engine's list of those that hold updates, or did */
    uint8_t unsent;              /* so many of the newest own updates have not left on this link yet */
    uint8_t held_count;          /* updates that wait in the list held_head */
    uint32_t answer_round;       /* the collection that waits for its signature: engine->settle_round + 1 */
    uint32_t due_count, waiting; /* in the list due_head; direct payments to this client among them */
    uint32_t unrevealed;         /* direct payments that are the client's, and whose secret has not come */
    float demand;                /* what comes to this client, units per second (settlement/demand.h) */
    uint32_t under_way;          /* as the client's: this channel's part */
    uint32_t held_bytes;         /* of updates held */
    uint64_t ack_nonce;          /* of the last one */
    uint64_t written; /* the batch that has all of it, unless it is dirty; 0: it was read from the journal */
    uint64_t suspended_block; /* a close was seen in this young block; 0: none */
    struct dispute *dispute;  /* NULL: nobody closes it */
    struct payment *due_head, *due_tail;
    struct payment *cancelling; /* those whose REVOKE is awaited */
    struct held_update *held_head, *held_tail;
    /* settlement */
    struct amount payout_wanted, inbound_wanted, fund_planned;
    struct amount
        room_floor; /* what the hub once gave this client to receive with: kept up, never called idle */
    struct amount passed_on; /* to this client since `demand` was last brought up to date */
    struct watch *watch;     /* one for each tower; NULL: none has been told of it */
};

/* What a finished close holds for locks; remains.c. */
struct remains {
    struct amount held[2];      /* by enum side, whose locks: not paid yet, as confirmed. On disk */
    struct amount to_hub;       /* paid out of it so far. On disk */
    struct lock_set *own_locks; /* the hub's as the ledger has them */
    bool is_looked_up;          /* so far as they can be known */
    uint8_t done[2][LOCKS_PER_STREAM_MAX / 8]; /* by place: paid. On disk */
    uint64_t closed_time;                      /* of its block. On disk */
    uint64_t retry_time;                       /* block time; after a failure no unlock before */
};

/* A unilateral close that the ledger shows, or that the operator wants. */
struct dispute {
    struct hub_channel *channel;
    struct dispute *next, *previous; /* of the engine's list */
    bool by_hub, known, confirmed;
    bool wanted, start_asked;  /* by the operator, until it is confirmed; startClose is under way */
    bool answered, void_asked; /* about what stands now */
    struct remains *remains;   /* NULL: not finished */
    struct claim first, of_client, of_hub; /* as the closer began; what stands, young blocks included */
    struct claim confirmed_claim;          /* what stands of the client's stream, confirmed: on disk */
    struct claim confirmed_of_hub;         /* the same of the hub's */
    uint64_t deadline, period;             /* the contract's challenge period */
    uint64_t voided_nonce, finish_next, start_next;
};

/* An unlock that is on its way. */
struct unlock_call {
    uint64_t number;
    struct hash channel;
    enum side stream;
    uint64_t lock_id;
};
#define UNLOCKS_OPEN_MAX 64

struct registration {
    struct condition_key key;
    uint64_t time;
    struct hash witness;
    struct registration *dirty_next;
    UT_hash_handle hh;
};

/* The contract's pool as followed. Each shard knows what its own channels and, the first one, deposits and
 * withdrawals did to it; what the others say is added in memory. */
struct pool {
    struct address asset;
    wide own, others;
    bool dirty;
    /* rebalance.c */
    struct outlook outlook;
    struct amount returned; /* by donors since the demand was last brought up to date */
    float returning;        /* units per second */
    uint64_t missing_said;  /* what the log was last told is missing */
};

/* A client that asked for a channel it does not have: one fund of the next batch. */
struct open_wish {
    struct channel_key key;
    struct amount inbound;
    struct amount fund_planned; /* by the batch in hand */
};
#define OPEN_WISHES_MAX       1024
#define APPOINTMENTS_OPEN_MAX 256
#define HELD_BYTES_MAX        ((size_t)64 << 20) /* updates held, all channels */

/* SETTLED's outcomes beside the ledger's reasons to skip (section 5). */
enum { SETTLED_FINAL = 0, SETTLED_DEAD = 6 };

#define SETTLE_CALLS_MAX 12 /* of one round, on their way at once: fewer than the ledger's client sends */
struct settle_receipt {
    struct hash transaction;
    uint64_t gas_used, gas_price;
};

enum settle_phase { SETTLE_IDLE, SETTLE_COLLECTING, SETTLE_QUEUED, SETTLE_SUBMITTED, SETTLE_FOLLOWING };

struct frame_mark {
    uint64_t peer;
    size_t offset, length;
};
struct call_mark {
    enum engine_call call;
    uint64_t reference;
    size_t offset, length;
};

/* An appointment that was sent and has no answer yet. */
struct appointed {
    struct hub_channel *channel;
    struct balance_proof proof; /* the client's; nonce 0: none yet */
    struct signature signature;
    struct hash digest;
};

/* A watchtower as the whole of the hub sees it; hub/appoint.c's. */
struct hub_tower {
    bool online, dismissed;
    bool unset_asked; /* setTower(…, false) is on its way */
    uint64_t silent_since_ms;
    struct appointed appointed[APPOINTMENTS_OPEN_MAX];
    size_t appointments_open;
    struct hub_channel *appoint_head, *appoint_tail, *refused;
    struct hub_channel *promises_dirty;
};

struct engine {
    struct engine_settings settings;
    struct engine_effects effects;
    struct address hub; /* own address */
    struct channel_view view;
    uint64_t now_ms;

    struct slab client_slab, channel_slab;
    struct index clients, clients_by_peer, channels_by_id; /* engine.c alone adds, finds and removes */
    struct hub_channel *channels, *channels_tail;          /* in the order in which they came */
    struct payments payments;
    struct shard_pair *pairs; /* one per shard; the own one stays empty */
    struct payment **looked;  /* room for outcome_time */
    size_t looked_count, looked_capacity;
    size_t ended_count;      /* of payments.dirty: whose end the batch in hand has */
    uint32_t register_round; /* rises when a registration failed */
    struct registration *registrations, *registrations_dirty;
    struct ledger_head head;
    uint64_t cursor;               /* the next block to read */
    bool head_known;               /* all that the node knew at the start has been read */
    struct contract_event *events; /* confirmed, of blocks whose head has not come yet */
    size_t event_count, event_capacity;
    struct dispute *disputes;
    struct unlock_call unlocks[UNLOCKS_OPEN_MAX];
    size_t unlock_count;
    uint64_t unlock_number; /* of the last one */
    bool recovered;
    bool identity_known; /* the journal says whose it is */
    const char *read_trouble;

    /* the turn: what the next flush writes and sends */
    struct buffer batch, frames, calls, body;
    struct buffer archive; /* the end of the batch: payments that leave the state */
    struct history_leads leads;
    struct {
        uint64_t peer;
        struct hash channel;
        struct revealed *items;
        size_t count;
    } reveal; /* the message that is open: the next item goes into it, any other message behind it */
    struct frame_mark *frame_marks;
    size_t frame_count, frame_capacity;
    struct call_mark *call_marks;
    size_t call_count, call_capacity;
    struct hub_channel **dirty;
    size_t dirty_count, dirty_capacity;
    struct hub_channel **acks; /* ACKs that wait; the first ack_old have waited half of their time */
    size_t ack_count, ack_old, ack_capacity;
    bool cursor_dirty, root_dirty, assets_dirty;
    uint64_t sequence, durable;    /* of the last batch written; of the last one on the disk */
    struct buffer passing;         /* room for a frame that goes ahead */
    bool went_ahead;               /* the last message: all that it told anybody */
    struct decoder *decoder;       /* of bodies */
    size_t held_count, held_bytes; /* updates held, all channels */
    struct hub_channel **holders;  /* the channels that hold them; some hold nothing any more */
    size_t holder_count, holder_capacity;
    size_t locks_later;           /* lock operations of the update in hand that are not judged yet */
    struct pending_lock *touched; /* room for one update's operations */
    /* Of its payments: their ids on the payees' legs, first those of the new ones, then of the unlocked ones; whether the
     * archive has a new one; the next one's number. */
    struct payment_id *payee_ids;
    bool *new_known;
    size_t payee_count, new_count, new_next, unlocked_next;
    /* Of its refunds: whether the archive has their payments' records, the payers' and the payees'; the next one's number. */
    bool *back_known[2];
    size_t back_next;

    /* settlement */
    struct journal_root root, root_since; /* of all since the last settled batch; since the one under way */
    bool root_taken;                      /* by a batch under way, as: */
    struct hash root_value;
    struct leaves leaves;                                    /* of the root, on their way to the archive */
    struct settle_receipt settle_receipts[SETTLE_CALLS_MAX]; /* the newest; their events may come later */
    size_t settle_receipt_count;                             /* that ever came */
    size_t settle_calls, settle_calls_open; /* of the round under way: sent, not answered yet */
    enum ledger_error settle_error;         /* of a call of it that failed; LEDGER_OK: none did */
    uint64_t settle_expire_time;
    uint64_t block_gas_limit; /* 0: not known */
    bool settle_too_large;    /* a call of this round was refused, or its estimate ran out of gas */
    unsigned settle_halvings; /* calls were refused: the next ones are that much smaller */
    uint64_t settle_begun_ms; /* when the round under way was planned */
    uint64_t settle_took_ms;  /* how long the last one took, from its plan to the own view */
    uint64_t
        demand_ms; /* when the demand of all channels was last brought up to date; 0: no time was told yet */
    uint32_t settle_requests; /* payouts and closes asked for since the last plan */
    struct pool pools[ASSETS_MAX];
    size_t pool_count;
    enum settle_phase settle_phase;
    uint64_t
        settle_block; /* the newest block of the round's calls; FOLLOWING: not confirmed in the own view yet */
    uint64_t settle_deadline_ms, settle_next_ms;
    bool settle_turn, settle_turn_asked; /* where there are shards: this one may settle; it has asked to */
    bool settle_again;        /* plan once more as soon as this batch is over, or the ledger is known */
    uint8_t settle_in_flight; /* so many calls may land that the own view does not have; in the journal */
    uint8_t
        settle_hidden; /* of them, those that a stop of the hub hid: as many must be mined to settle their fate */
    unsigned settle_failures;
    uint32_t settle_round; /* counts collections, see answer_round */
    size_t settle_unsigned;
    struct open_wish *wishes;
    size_t wish_count;
    uint64_t gross_units;                   /* completed since the last batch */
    struct batch_report building, *reports; /* by their numbers, newest last */
    size_t report_count, report_capacity;
    uint64_t *reports_gone; /* numbers that the next batch of the journal removes */
    size_t reports_gone_count, reports_gone_capacity;

    /* watchtowers */
    struct hub_tower towers[ENGINE_TOWERS_MAX];
    uint64_t appoint_look_ms;
    bool promises_due; /* they are written even if nothing else is */

    struct {
        bool active, phase; /* a channel whose `counted` is not the phase is still to be counted */
        struct hub_channel *next;
        struct engine_count *result; /* NULL: none is under way */
    } count;

    struct buffer statement; /* the newest of what is owed; nothing: none was made */
    bool statement_dirty;

    struct engine_figures figures;
    uint64_t errors_said;
};

/* acks.c */
/* The ACK that a channel owes, if any, as a message: it counts as told. */
bool ack_take(struct hub_channel *channel, struct message *ack) MUST_USE;
/* The same into the turn's frames. */
void ack_emit(struct engine *engine, struct hub_channel *channel);
/* An outcome leaves now: an ACK that waits goes before it. */
void ack_rides(struct engine *engine, struct hub_channel *channel);
/* The turn is done with the channel: the ACK leaves, or begins to wait. */
void ack_finish(struct engine *engine, struct hub_channel *channel, bool said_something);

/* ahead.c */
/* The payer is told of a direct payment's secret before the batch that notes it, if it is there to be told. */
void ahead_receipt(struct engine *engine, struct payment *payment, const struct witness *witness);
/* On the link that it has now. */
bool ahead_is_told(const struct payment *payment, const struct hub_channel *payer) MUST_USE;

/* window.c */
/* The client has said RESUME: what it has not acknowledged goes out again, as far as there is room for it. */
void window_begin(struct engine *engine, struct hub_channel *channel);
/* The link is gone, and what was on its way with it. */
void window_end(struct client *client);
/* An update was signed. */
void window_sealed(struct engine *engine, struct hub_channel *channel);
/* channel_acknowledged; what was waiting for room goes out, or may be signed. */
enum code window_acknowledged(struct engine *engine, struct hub_channel *channel, uint64_t nonce) MUST_USE;
/* The channel's end has taken away what was on its way: its client's other channels have the room. */
void window_look(struct engine *engine, struct hub_channel *channel);
/* Neither the channel nor its client has too much on its way. */
static inline bool window_has_room(const struct hub_channel *channel)
{
    return channel->under_way < CHANNEL_UNDER_WAY_BYTES_MAX &&
           channel->client->under_way < CLIENT_UNDER_WAY_BYTES_MAX;
}

/* finish.c */
/* One update for each channel of the turn's list whose draft has something; news of funds, ACKs that are due. */
void finish_channels(struct engine *engine);

/* engine.c */
/* A receipt for the payer. Those that follow each other to one channel are one message. */
void engine_emit_reveal(struct engine *engine, struct hub_channel *payer, const struct revealed *item);
const struct asset_terms *engine_terms(const struct engine *engine, const struct address *asset);
/* The asset is listed: from now on it is served. */
bool engine_add_asset(struct engine *engine, const struct address *asset);
struct hub_channel *engine_channel(const struct engine *engine, const struct hash *id);
void engine_touch(struct engine *engine, struct hub_channel *channel);
/* A proof was signed or accepted: the next batch's journal root has it. */
void engine_add_root(struct engine *engine, const struct hash *digest);
/* Frames of the turn, in order; nothing is sent to an offline peer (0). */
void engine_emit(struct engine *engine, uint64_t peer, const struct message *message);
void engine_emit_error(struct engine *engine, uint64_t peer, enum code code, const char *text,
                       const struct error_reference *reference);
void engine_emit_call(struct engine *engine, enum engine_call call, uint64_t reference,
                      const struct contract_call *arguments);
struct channel_view engine_view(const struct engine *engine, const struct hub_channel *channel);
struct registration *engine_registration(const struct engine *engine, uint8_t kind,
                                         const struct hash *condition);
struct registration *engine_add_registration(struct engine *engine, uint8_t kind,
                                             const struct hash *condition);
struct hub_channel *engine_add_channel(struct engine *engine, struct channel *channel);
/* NULL if it is not known; engine_client makes it known. */
struct client *engine_find_client(const struct engine *engine, const struct address *address);
struct client *engine_client(struct engine *engine, const struct address *address);
void engine_forget_client(struct engine *engine, struct client *client);
/* NULL if nobody is online under that number. */
struct client *engine_client_online(const struct engine *engine, uint64_t peer);
void engine_set_peer(struct engine *engine, struct client *client, uint64_t peer); /* 0: offline */
bool channel_is_usable(const struct hub_channel *channel);

/* clients.c */
void client_message_resume(struct engine *engine, struct client *client, const struct message *message);
void client_announce(struct engine *engine, struct hub_channel *channel);
/* The link must go: the client broke a limit. */
void client_drop(struct engine *engine, struct client *client, enum code code);
/* Has the channel come to be used since the last look? Then it goes to the front of its client's. */
void client_look(struct hub_channel *channel);
/* The same of all of a client's at once; when they are read back. */
void client_sort(struct client *client);
void client_forget_if_idle(struct engine *engine, struct client *client);

/* forward.c */
void forward_update(struct engine *engine, struct hub_channel *channel, const struct update *update);
/* Judges held updates again, in order, as far as it goes. */
void forward_held(struct engine *engine, struct hub_channel *channel);
/* The link is gone: the client will send them again. */
void forward_forget_held(struct engine *engine, struct hub_channel *channel);
/* The open channel of the asset that a payment to this client goes into, the one with the most room; NULL: none that is
 * found soon. */
struct hub_channel *forward_payee(const struct engine *engine, const struct address *payee,
                                  const struct address *asset);
/* A row for the payment, which is not in the archive, in no state yet (NULL: its id is in the table); then off towards
 * its payee (NULL: who is in another shard). */
struct payment *forward_begin(struct engine *engine, const struct leg *payer, const struct leg *payee,
                              const struct operation *operation);
void forward_go(struct engine *engine, struct payment *payment, struct hub_channel *payee, struct text memo);
/* LIMIT: as many direct payments as may be wait for this payee, or for its secrets. */
enum code forward_may_pay(const struct engine *engine, const struct hub_channel *payee) MUST_USE;
/* The payment is about to be written, or has been read back: its payee's count of those without a secret follows. */
void forward_count(const struct engine *engine, struct payment *payment, bool is_over);
/* It counts among them, unless it is over. */
bool forward_is_unrevealed(const struct payment *payment) MUST_USE;

/* due.c */
/* Puts what is due to a channel into its draft, as far as its window and its room go. Returns true if any
 * was. */
bool due_drain(struct engine *engine, struct hub_channel *channel);
void payment_set_due(struct engine *engine, struct payment *payment, enum payment_due due);
/* The same for a new payment and what is due first, whose channel is at hand. */
void payment_begin_due(struct engine *engine, struct hub_channel *payee, struct payment *payment);
/* Something is open to the client again: what could not be given to it may be now. */
void due_wake(struct engine *engine, const struct client *client);
/* What is to be given back into this channel and waits for room, or its client. */
struct amount due_refunds(struct hub_channel *channel);
/* Another update may be signed. */
bool channel_has_window(const struct hub_channel *channel);
/* channel_add, but nothing more is signed once a close was seen. */
enum code channel_add_operation(struct engine *engine, struct hub_channel *channel,
                                const struct operation *operation, struct pending_lock *touched) MUST_USE;

/* outcomes.c */
void emit_reveal(struct engine *engine, struct hub_channel *payer, const struct payment_id *id,
                 const struct witness *witness);
void emit_fail(struct engine *engine, struct hub_channel *payer, const struct payment_id *id, uint64_t code);
void outcome_reveal(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_fail(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_revoke(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_registered(struct engine *engine, const struct registration *registration);
void outcome_register_failed(struct engine *engine);
/* The payer's channel is closed with this lock in it: its witness, if one is known, goes to the ledger now. */
void outcome_register_held(struct engine *engine, const struct hub_channel *payer,
                           const struct pending_lock *lock);
void outcome_time(struct engine *engine);
void outcome_unlocked(struct engine *engine, struct payment *payment, const struct witness *witness);
/* The payment's end, on the payer's side. */
void payment_revealed(struct engine *engine, struct payment *payment, const struct witness *witness);
void payment_fail(struct engine *engine, struct payment *payment, enum code code);
void payment_refund(struct engine *engine, struct payment *payment, enum code code);
/* Anybody's number as a code to pass on; INVOICE if it means nothing. */
enum code outcome_code(uint64_t code);
void payment_schedule(struct engine *engine, struct payment *payment);
/* Nothing is due or hangs on it any more: it may go to the archive. */
bool payment_is_over(const struct engine *engine, const struct payment *payment);

/* recall.c */
/* A repeated id, or ids in RESUME, get the first outcome again. A refund is in the stream itself. */
void recall_outcome(struct engine *engine, struct hub_channel *payer, const struct payment_id *id);
void recall_outcomes(struct engine *engine, struct hub_channel *payer, const struct payment_id *ids,
                     size_t count);
/* Is one with this id on the payee's leg over? Asked by the payer's shard, or by the payee's (received). */
bool recall_is_known(const struct engine *engine, const struct payment_id *payee_id, bool received);
/* The same of all new ones of engine->payee_ids at once, for the payer's shard, into new_known. */
void recall_are_known(struct engine *engine);
/* Which refunds of an update the archive may have a payment for, asked at once: into back_known. */
void recall_backs(struct engine *engine, const struct operation *operations, size_t count);
/* A direct payment that its payee may send back, under way again if it was over; NULL: there is none of this id and
 * amount. is_known: whether the archive has a record of it, the payer's and (received) the payee's. */
struct payment *recall_of_payee(struct engine *engine, const struct hub_channel *payee,
                                const struct payment_id *id, struct amount amount, const bool is_known[2]);
/* The payer's half of a direct payment that the other shard refunds, likewise. */
struct payment *recall_half(struct engine *engine, const struct leg *payer);
void outcome_revoke_due(struct engine *engine, struct hub_channel *channel);
/* What another shard says of a payment whose other half is there. */
void outcome_of_other_half(struct engine *engine, struct payment *payment, enum transfer_type type,
                           enum code code, const struct witness *witness);

/* ledger_view.c */
/* Held updates may be judged again. */
void engine_touch_held(struct engine *engine);
void ledger_set_funds(struct engine *engine, struct hub_channel *channel, const struct channel_funds *funds);

/* dispute.c */
void dispute_started(struct engine *engine, struct hub_channel *channel, const struct contract_event *event);
void dispute_challenged(struct engine *engine, struct hub_channel *channel,
                        const struct contract_event *event);
void dispute_locks_voided(struct engine *engine, struct hub_channel *channel,
                          const struct contract_event *event);
void dispute_head(struct engine *engine);
/* Makes one; when it is read back. */
struct dispute *dispute_open(struct engine *engine, struct hub_channel *channel);
/* Closed with nothing left, or never happened. */
void dispute_over(struct engine *engine, struct hub_channel *channel);
void dispute_call_failed(struct engine *engine, enum engine_call call, uint64_t reference);
/* A close that the operator wanted before the hub stopped goes on. */
void dispute_recovered(struct engine *engine, struct hub_channel *channel);

/* remains.c */
void remains_finished(struct engine *engine, struct hub_channel *channel, const struct contract_event *event);
void remains_unlocked(struct engine *engine, struct hub_channel *channel, const struct contract_event *event);
/* Unlocks what is due by now. Ends the dispute once nothing is left to do. */
void remains_head(struct engine *engine, struct dispute *dispute);
void remains_call_done(struct engine *engine, uint64_t reference, enum ledger_error error,
                       const struct ledger_receipt *receipt);
void remains_free(struct remains *remains); /* NULL is allowed */
/* Within a dispute's record; NULL: there are none. */
void remains_write(const struct remains *remains, struct buffer *batch);
struct remains *remains_read(struct reader *reader);

/* settle.c */
void settle_request(struct engine *engine, struct hub_channel *channel, struct amount amount, bool close);
void settle_open_request(struct engine *engine, struct client *client, const struct address *asset,
                         struct amount inbound);
void settle_sign(struct engine *engine, struct hub_channel *channel, uint32_t seq,
                 const struct signature *signature);
void settle_refused(struct engine *engine, struct hub_channel *channel, uint64_t seq);
void settle_timeouts(struct engine *engine);
/* Plans a batch within this time. */
void settle_soon(struct engine *engine, uint64_t delay_ms);
/* Returns the room that was wished for; 0: there was none. */
struct amount settle_wish_over(struct engine *engine, const struct channel_key *key);
/* No Fund is sent while a signed close is alive (section 8): the client would get it with the rest. */
bool settle_may_fund(const struct hub_channel *channel);
struct pool *settle_pool(struct engine *engine, const struct address *asset);
void settle_pool_change(struct engine *engine, const struct address *asset, wide change);
/* What the pool has by all shards' word, within an amount's bounds. */
struct amount settle_pool_units(const struct pool *pool);

/* A want of the channel is to be written: it is among the turn's. */
void settle_want_changed(struct engine *engine, struct hub_channel *channel);

/* rebalance.c */
/* Brings what is known of demand up to date, if it is time; plans every asset, and asks for the signatures that takes. */
void rebalance_plan(struct engine *engine);
/* The ledger shows that it gave room up. */
void rebalance_returned(struct engine *engine, const struct hub_channel *channel, struct amount hub_out);

/* submit.c */
void settle_submit(struct engine *engine);
/* 0: not known (yet). */
void settle_head(struct engine *engine);
void settle_recovered(struct engine *engine);

/* report.c */
/* SETTLED to the client; event NULL: nothing on the ledger says so. */
void settle_say(struct engine *engine, struct hub_channel *channel, uint32_t seq, uint8_t outcome,
                const struct contract_event *event);
void settle_settled(struct engine *engine, struct hub_channel *channel, const struct contract_event *event);
void settle_skipped(struct engine *engine, const struct contract_event *event);
void settle_batch_settled(struct engine *engine, const struct contract_event *event);
/* Takes its place by its number: journals that were joined (reshard.c) hold them in no order. Returns where it is
 * until the next one is added; NULL if it is older than all that are kept. Where there are too many, the oldest leaves
 * the journal with the next batch. */
struct batch_report *settle_add_report(struct engine *engine, const struct batch_report *report);

/* count.c */
void count_channel(struct engine *engine, struct hub_channel *channel);
/* Its balances are about to change. */
static inline void count_before_change(struct engine *engine, struct hub_channel *channel)
{
    if (engine->count.active && channel->counted != engine->count.phase)
        count_channel(engine, channel);
}

/* promises.c */
/* What a tower was told of a channel; made if there is none yet. */
struct watch *promise_watch(const struct engine *engine, struct hub_channel *channel, size_t tower);
/* A good receipt has come for what was appointed. */
void promise_keep(struct engine *engine, const struct appointed *reason, size_t tower,
                  const struct signature *receipt);
/* The ledger shows the channel's end: what its towers promised is let go, but for what one of them has not kept. */
void promises_over(struct engine *engine, struct hub_channel *channel);
/* Into the turn's batch, if there is one, or if they have waited long enough. */
void promises_write(struct engine *engine);
bool promise_read(struct engine *engine, const struct record *record) MUST_USE;
void promises_free(const struct engine *engine, struct hub_channel *channel);

/* appoint.c */
void appoint_mark(struct engine *engine, struct hub_channel *channel);
void appoint_flush(struct engine *engine);
/* A revocation waits for the receipt: what is to be sent for this channel goes at once. */
void appoint_urgent(struct engine *engine, struct hub_channel *channel);
void appoint_receipt(struct engine *engine, size_t tower, const struct message *message);
void appoint_refused(struct engine *engine, size_t tower, const struct message *message);
void appoint_time(struct engine *engine);
/* The first time that is told. What was waiting for the tower before, at recovery, waits from now on. */
void appoint_time_begins(struct engine *engine, uint64_t now_ms);
void appoint_tower_set(struct engine *engine, const struct address *tower, bool allowed);
void appoint_set_tower_failed(struct engine *engine, uint64_t tower);
/* Each tower stands by everything up to the nonce, or counts no more. */
bool appoint_covers(const struct engine *engine, const struct hub_channel *channel, uint64_t nonce);

/* NULL, or what engine_check would stop at. */
const char *engine_contradiction(const struct engine *engine);
/* engine_disk.c */
/* The root's record where no batch is under way. */
void engine_write_root(struct buffer *batch, const struct leaves *leaves, const struct journal_root *root,
                       uint64_t gross_units);
/* A root record's start, as engine_write_root and every turn write it: what there is but for a batch under way. */
bool engine_read_root(struct reader *value, struct leaves *leaves, struct journal_root *root,
                      uint64_t *gross_units) MUST_USE;
/* What engine_write wrote is in a batch by now, engine->sequence; if it was nothing, in one before. */
void engine_written(struct engine *engine);
void engine_write(struct engine *engine);

#endif
