/* The engine's inside: shared by the files hub/engine.c, clients.c, forward.c, outcomes.c, ledger_view.c,
 * settle.c, appoint.c and engine_disk.c, and by nobody else. */
#ifndef RILL_HUB_ENGINE_STATE_H
#define RILL_HUB_ENGINE_STATE_H

#include <uthash.h>

#include "hub/engine.h"
#include "hub/payments.h"
#include "settlement/journal_root.h"
#include "settlement/plan.h"

/* Record types of the hub's journal beside the channels' 1-3 (channel/channel.h). On disk: do not renumber.
 */
enum hub_record {
    RECORD_PAYMENT = 16,      /* key: payer's channel, id */
    RECORD_CURSOR = 17,       /* key: empty; block, time */
    RECORD_REGISTRATION = 18, /* key: kind, condition; time, witness */
    RECORD_ROOT = 19,         /* key: empty; the journal root so far, volume since the last batch */
    RECORD_POOL = 20,         /* key: asset; units */
    RECORD_BATCH = 21,        /* key: batch number; what a settled batch moved */
    RECORD_WANT = 22,         /* key: channel id; payout, close and inbound room that its client asked for */
    RECORD_IDENTITY = 24,     /* key: empty; chain id, contract, hub: whose journal this is */
    RECORD_ASSET = 23         /* key: asset; listed in the contract: served with the settings' terms */
};

struct hub_channel;

struct client {
    struct address address;
    uint64_t peer; /* 0: offline */
    struct hub_channel *channels;
    UT_hash_handle hh, hh_peer;
};

/* An update that the own ledger view cannot judge yet, or that waits for this side's window. */
struct held_update {
    struct update update;
    uint8_t *body;
    struct held_update *next;
};

struct hub_channel {
    struct channel *channel;
    struct client *client;
    struct hub_channel *next_of_client;
    UT_hash_handle hh;
    bool announced; /* the client knows of it on this link */
    bool resumed;   /* the client has said RESUME on this link: new updates go out */
    bool dirty;     /* in the turn's list */
    bool funds_changed;
    bool ack_due;
    uint64_t suspended_block; /* a close was seen in this young block; 0: none */
    uint64_t closed_seen_block;
    struct payment *due_head, *due_tail;
    struct payment *cancelling; /* those whose REVOKE is awaited */
    uint32_t waiting;           /* direct payments among them */
    struct held_update *held_head, *held_tail;
    uint32_t held_count;
    /* settlement */
    struct amount payout_wanted, inbound_wanted, fund_planned;
    struct amount
        room_floor; /* what the hub once gave this client to receive with: kept up, never called idle */
    bool close_wanted, want_dirty;
    struct amount passed_on; /* to this client since the last batch: the demand for room */
    /* watchtower */
    uint64_t appointed_nonce, receipt_nonce, appointed_revocation;
    bool appoint_dirty;
    struct hub_channel *next_appoint;
};

struct registration {
    struct registration_key {
        uint8_t kind;
        struct hash condition;
    } key;
    uint64_t time;
    struct hash witness;
    struct registration *dirty_next;
    UT_hash_handle hh;
};

struct pool {
    struct address asset;
    struct amount units;
    bool dirty;
};

/* A client that asked for a channel it does not have: one fund of the next batch. */
struct open_wish {
    struct channel_key key;
    struct amount inbound;
};
#define OPEN_WISHES_MAX 1024

/* What a settled batch did, for the operator's report. */
struct batch_report {
    uint64_t number, block, items, funds, skipped, gas_used;
    uint64_t gross_units, payout_units, returned_units, funded_units;
    struct hash transaction, root;
    bool dirty;
};

enum settle_phase { SETTLE_IDLE, SETTLE_COLLECTING, SETTLE_SUBMITTED, SETTLE_FOLLOWING };

struct frame_mark {
    uint64_t peer;
    size_t offset, length;
};
struct call_mark {
    enum engine_call call;
    uint64_t reference;
    size_t offset, length;
};

struct engine {
    struct engine_settings settings;
    struct engine_effects effects;
    struct address hub; /* own address */
    struct channel_view view;
    uint64_t now_ms;

    struct client *clients, *by_peer;
    struct hub_channel *channels;
    struct payments payments;
    struct registration *registrations, *registrations_dirty;
    struct ledger_head head;
    struct contract_event *events; /* confirmed, of blocks whose head has not come yet */
    size_t event_count, event_capacity;
    uint64_t cursor;    /* the next block to read */
    bool head_known;    /* the node has spoken since the start */
    bool funds_news;    /* some channel's funds changed since the last head */
    bool suspended_any; /* some channel has a close in a young block */
    bool recovered;
    bool identity_known; /* the journal says whose it is */
    const char *read_trouble;

    /* the turn: what the next flush writes and sends */
    struct buffer batch, frames, calls, body;
    struct frame_mark *frame_marks;
    size_t frame_count, frame_capacity;
    struct call_mark *call_marks;
    size_t call_count, call_capacity;
    struct hub_channel **dirty;
    size_t dirty_count, dirty_capacity;
    bool cursor_dirty, root_dirty, assets_dirty;
    uint64_t sequence;
    struct decoder *decoder;      /* of bodies */
    size_t held_count;            /* updates held, all channels */
    struct pending_lock *touched; /* room for one update's operations */

    /* settlement */
    struct journal_root root, root_submitted;
    struct hash last_settle_transaction;
    uint64_t last_settle_gas, settle_expire_time;
    struct pool pools[ASSETS_MAX];
    size_t pool_count;
    enum settle_phase settle_phase;
    uint64_t settle_block; /* FOLLOWING: the batch's block, not confirmed in the own view yet */
    uint64_t settle_deadline_ms, settle_next_ms;
    bool settle_again, settle_asked;
    size_t settle_unsigned;
    struct open_wish *wishes;
    size_t wish_count;
    uint64_t gross_units; /* completed since the last batch */
    struct batch_report building, *reports;
    size_t report_count, report_capacity;

    /* watchtower */
    bool tower_online, tower_dismissed;
    uint64_t tower_silent_since_ms;
    uint32_t appointments_open;
    struct hub_channel *appoint_head, *appoint_tail;

    struct engine_figures figures;
};

/* engine.c */
const struct asset_terms *engine_terms(const struct engine *engine, const struct address *asset);
/* The asset is listed: from now on it is served. */
bool engine_add_asset(struct engine *engine, const struct address *asset);
struct hub_channel *engine_channel(const struct engine *engine, const struct hash *id);
void engine_touch(struct engine *engine, struct hub_channel *channel);
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
struct client *engine_client(struct engine *engine, const struct address *address);
bool channel_is_usable(const struct hub_channel *channel);

/* clients.c */
void client_message_resume(struct engine *engine, struct client *client, const struct message *message);
void client_announce(struct engine *engine, struct hub_channel *channel);
void client_forget_if_idle(struct engine *engine, struct client *client);

/* forward.c */
void forward_update(struct engine *engine, struct hub_channel *channel, const struct update *update);
/* Judges held updates again, in order, as far as it goes. */
void forward_held(struct engine *engine, struct hub_channel *channel);
/* The link is gone: the client will send them again. */
void forward_forget_held(struct engine *engine, struct hub_channel *channel);
/* Puts what is due to a channel into its draft, as far as its window and its room go. Returns true if any
 * was. */
bool forward_due(struct engine *engine, struct hub_channel *channel);
void payment_set_due(struct engine *engine, struct payment *payment, enum payment_due due);

/* outcomes.c */
void outcome_reveal(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_fail(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_revoke(struct engine *engine, struct hub_channel *channel, const struct message *message);
void outcome_registered(struct engine *engine, const struct registration *registration);
void outcome_time(struct engine *engine);
void outcome_unlocked(struct engine *engine, struct payment *payment, const struct witness *witness);
void outcome_repeat(struct engine *engine, struct hub_channel *channel, const struct payment *payment);
/* The payment's end, on the payer's side. */
void payment_revealed(struct engine *engine, struct payment *payment, const struct witness *witness);
void payment_fail(struct engine *engine, struct payment *payment, enum code code);
void payment_refund(struct engine *engine, struct payment *payment, enum code code);
void payment_schedule(struct engine *engine, struct payment *payment);
void outcome_revoke_due(struct engine *engine, struct hub_channel *channel);

/* settle.c */
void settle_request(struct engine *engine, struct hub_channel *channel, struct amount amount, bool close);
void settle_open_request(struct engine *engine, struct client *client, const struct address *asset,
                         struct amount inbound);
void settle_sign(struct engine *engine, struct hub_channel *channel, uint32_t seq,
                 const struct signature *signature);
void settle_refused(struct engine *engine, struct hub_channel *channel, uint64_t seq);
void settle_settled(struct engine *engine, struct hub_channel *channel, const struct contract_event *event);
void settle_skipped(struct engine *engine, const struct contract_event *event);
void settle_batch_settled(struct engine *engine, const struct contract_event *event);
void settle_timeouts(struct engine *engine);
void settle_expire(struct engine *engine);
struct pool *settle_pool(struct engine *engine, const struct address *asset);
void settle_pool_change(struct engine *engine, const struct address *asset, wide change);

/* appoint.c */
void appoint_mark(struct engine *engine, struct hub_channel *channel);
void appoint_flush(struct engine *engine);
void appoint_receipt(struct engine *engine, const struct message *message);
void appoint_refused(struct engine *engine, const struct message *message);
/* The tower stands by everything up to the nonce, or counts no more. */
bool appoint_covers(const struct engine *engine, const struct hub_channel *channel, uint64_t nonce);

/* engine_disk.c */
void engine_write(struct engine *engine);

#endif
