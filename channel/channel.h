/* The channel machine (protocol.md, section 3): what one side knows of a channel, what it may send, what it
 * must refuse. Pure: no I/O, no clock, no randomness; the hub, the wallet, the simulator and the fuzzers run
 * this code.
 *
 * Two streams, one per side; `self` is the side that runs this machine. Own stream:
 *
 *     channel_add (operations of a draft) ─▶ channel_seal (next nonce, signed, kept) ─▶ sent
 *         each applies whole or is refused and changes nothing       ─▶ channel_acknowledged (no longer kept)
 *
 * The peer's stream:
 *
 *     UPDATE ─▶ channel_receive ─▶ ACCEPTED | AGAIN (identical) | HELD (own ledger view lags) | REFUSED
 *
 * Settlement (section 8), at most one at a time:
 *     hub:    NONE ─propose─▶ PROPOSED ─signature─▶ SIGNED ─ledger/over─▶ NONE
 *                             PROPOSED ─refused─▶ NONE
 *     client: NONE ──────────sign────────────────▶ SIGNED ─ledger/over─▶ NONE
 *
 * Every function either applies whole or returns a named code and leaves the channel as it was. After every
 * change balanceC + balanceH = total holds and is asserted.
 */
#ifndef RILL_CHANNEL_CHANNEL_H
#define RILL_CHANNEL_CHANNEL_H

#include "base/code.h"
#include "base/record.h"
#include "channel/lock_set.h"
#include "crypto/key.h"
#include "crypto/lock.h"
#include "crypto/typed.h"

/* As on the ledger. On disk: do not renumber. */
enum channel_stage { STAGE_NONE = 0, STAGE_OPEN = 1, STAGE_CLOSING = 2, STAGE_CLOSED = 3 };

/* What the ledger says of a channel. */
struct channel_funds {
    struct amount total;
    int64_t base;  /* the client's net funds; negative for a merchant that has withdrawn earnings */
    uint32_t seq;  /* settlements so far */
    uint8_t stage; /* enum channel_stage */
};
/* After a deposit, by client and hub, and after a settlement that leaves the channel open. False, nothing changed: no contract
 * has such funds. */
bool funds_pay_in(struct channel_funds *funds, struct amount client, struct amount hub) MUST_USE;
bool funds_pay_out(struct channel_funds *funds, struct amount client, struct amount hub,
                   uint32_t seq) MUST_USE;

/* On disk: do not renumber. */
enum settlement_phase { SETTLEMENT_NONE = 0, SETTLEMENT_PROPOSED = 1, SETTLEMENT_SIGNED = 2 };

struct settlement {
    uint8_t phase; /* enum settlement_phase */
    bool close;
    uint32_t seq;
    struct amount client_out, hub_out;
    uint64_t deadline;
    struct signature signature; /* the client's, when SIGNED */
    bool said_dead;             /* client: the hub has said SETTLED 6 */
};

/* The sum of locks that update `nonce` dropped (expire, cancel): frozen until REVOKE(>= nonce). */
struct drop {
    uint64_t nonce;
    struct amount amount;
};

struct dropped {
    struct drop *drops; /* not revoked yet, oldest first */
    size_t drop_count, drop_capacity;
    struct amount frozen;   /* their sum */
    uint64_t revoked_nonce; /* the newest REVOKE of the stream's receiver; 0: none */
    struct signature revocation;
};

struct stream {
    struct balance_proof proof; /* the newest signed (own) or accepted (peer's) */
    struct signature signature;
    uint64_t last_lock_id;  /* the highest ever used, drafts included */
    struct lock_set *locks; /* pending, drafts included; NULL while there are none */
    struct amount locked;   /* their sum */
    struct dropped
        *dropped; /* NULL: no lock was ever dropped, nothing revoked; read it with stream_dropped */
};

/* An update of the own stream that the peer has not acknowledged yet. */
struct kept_update {
    struct balance_proof proof;
    struct signature signature;
    struct hash digest;    /* what was signed; zero for one read back from a journal */
    uint64_t last_lock_id; /* the stream's, with this update */
    struct lock *removed; /* the locks it took out: an older proof, which the peer may still show, has them */
    size_t removed_count;
    uint8_t slot; /* on disk: kept.c */
    size_t body_length;
    uint8_t body[];
};

struct draft; /* the operations of the own stream's next update */

/* A hub holds a million of these: what an idle channel does not need is behind a pointer. */
struct channel {
    struct channel_key key;
    struct hash id;
    enum side self;
    uint16_t reserve_bps; /* the terms' */
    bool stopped;         /* this side has submitted startClose: signs and accepts nothing more */
    uint8_t begun;        /* 1 << enum side: that side has signed; a journal must then have its stream */
    struct channel_funds funds;    /* by the own node, confirmed */
    struct channel_funds told;     /* client: by the hub (FUNDED, CHANNEL); hub: always equal to funds */
    struct stream streams[2];      /* by enum side */
    uint64_t acknowledged;         /* the peer has own updates up to this nonce */
    struct kept_ring *kept;        /* acknowledged < nonce <= own nonce; kept.c; NULL: none */
    struct settlement *settlement; /* NULL: none is under way; read it with channel_settlement */
    struct draft *draft;           /* NULL: nothing waits for channel_seal */
    struct public_key *peer_key;   /* NULL: not known yet; saves a recovery per signature */
    /* what changed since channel_write */
    uint16_t *dirty_places; /* side << 10 | place */
    uint32_t dirty_place_count, dirty_place_capacity;
    uint64_t written_nonce; /* kept updates up to this nonce have been written */
    bool dirty;             /* funds, told, stopped, reserve, settlement, begun */
    bool stream_dirty[2];   /* by enum side; of the own stream what no kept update says */
    bool recovering;        /* being read back: channel_recovered has not said yet that it is whole */
};

static inline const struct dropped *stream_dropped(const struct stream *stream)
{
    static const struct dropped nothing = {0};
    return stream->dropped == NULL ? &nothing : stream->dropped;
}

/* What a judgement needs to know of the world. */
struct channel_view {
    const struct domain *domain;
    uint64_t now; /* time of the newest confirmed block */
    uint64_t reveal_margin_s;
    struct address peer; /* who signs the peer's stream: the hub, or the client */
    /* Confirmed first registration of a condition, 0 if there is none. */
    uint64_t (*registered_at)(void *context, uint8_t kind, const struct hash *condition);
    void *context;
};

struct channel *channel_new(const struct channel_key *key, enum side self, uint16_t reserve_bps);
void channel_free(struct channel *channel); /* NULL is allowed */

/* Valid until the channel's next function that may end it; of phase NONE if none is under way. */
static inline const struct settlement *channel_settlement(const struct channel *channel)
{
    static const struct settlement none = {0};
    return channel->settlement == NULL ? &none : channel->settlement;
}
static inline struct stream *channel_own(struct channel *channel)
{
    return &channel->streams[channel->self];
}
static inline struct stream *channel_peer(struct channel *channel)
{
    return &channel->streams[side_other(channel->self)];
}

/* ---- what is whose ---- */

/* By signed and accepted proofs, drafts not counted. balance_client + balance_hub = total. */
wide channel_balance(const struct channel *channel, enum side side);
/* Section 3's availableC / availableH. The own side's with its draft counted; the peer's as it may be judged:
 * with the own newest signed proof. For a client's own side the smaller of what funds and told allow. */
wide channel_available(const struct channel *channel, enum side side);
/* reserve_bps of base where that is positive, rounded down. */
struct amount channel_reserve(const struct channel *channel);

/* ---- the ledger and the hub's word ---- */

/* The own node's confirmed state. A hub's told follows. A settlement that it shows as done (seq reached) ends
 * here; a client's once the hub has said so too. Returns true if a signed settlement is seen settled for the
 * first time. */
bool channel_set_funds(struct channel *channel, const struct channel_funds *funds);
/* Client: FUNDED or CHANNEL said so. What cannot be (a total of 2^63 or more) is ignored. */
void channel_set_told(struct channel *channel, const struct channel_funds *told);

/* ---- sending ---- */

/* Adds one operation to the draft. touched (may be NULL) gets the lock that an unlock, expire or cancel
 * removed, or that a lock added (with its id: for OPERATION_LOCK op->lock_id is ignored and chosen here).
 * Returns CODE_OK or, nothing changed: STATUS (not open, or stopped), LIMIT (draft full: operations, body
 * bytes; no free place for a lock; too many drops unrevoked), TRANSFERRED/LOCKED (sums reach 2^63), NO_LOCK,
 * WITNESS, NOT_EXPIRED, NOT_FAILED, AVAILABLE (the operation would take the own available amount below zero).
 */
enum code channel_add(struct channel *channel, const struct channel_view *view,
                      const struct operation *operation, struct pending_lock *touched) MUST_USE;
bool channel_has_draft(const struct channel *channel);
/* The operations waiting, for the caller to encode. Their memos are the draft's own copies. */
const struct operation *channel_draft(const struct channel *channel, size_t *count);
/* Forgets the draft: the stream is as its newest signed proof says. Nothing happens without one. */
void channel_drop_draft(struct channel *channel);
/* True if another update may be signed: a draft exists and fewer than UNACKNOWLEDGED_MAX are unacknowledged.
 */
bool channel_can_seal(const struct channel *channel);
/* Signs the draft as the next update, keeps it for resending, and clears the draft. The body is copied.
 * The bytes may leave only once the records that channel_write then gives are durable.
 * The result is valid until acknowledged. channel_can_seal must hold. */
const struct kept_update *channel_seal(struct channel *channel, const struct domain *domain,
                                       const struct secret_key *key, const uint8_t *body, size_t body_length);
/* The same where the body's keccak256 is at hand: whoever has many to seal hashes their bodies side by side. */
const struct kept_update *channel_seal_hashed(struct channel *channel, const struct domain *domain,
                                              const struct secret_key *key, const uint8_t *body,
                                              size_t body_length, const struct hash *body_hash);
/* ACK, or RESUME's "last nonce it received": forgets kept updates up to it. Above the own newest nonce:
 * NONCE. */
enum code channel_acknowledged(struct channel *channel, uint64_t nonce) MUST_USE;
/* The kept update with this nonce, NULL if acknowledged or never signed. */
const struct kept_update *channel_kept(const struct channel *channel, uint64_t nonce);
/* The receiver said FAIL for the lock that carries this payment id: returns it (now marked failed), NULL if
 * unknown. */
struct pending_lock *channel_fail_received(struct channel *channel, const struct payment_id *payment);
/* REVOKE from the receiver of the own stream. Lower or equal: OK, nothing. Above the newest nonce: NONCE.
 * Wrong signature: SIGNATURE. Else frees the drops up to it; *freed (may be NULL) gets their sum. */
enum code channel_revocation_received(struct channel *channel, const struct channel_view *view,
                                      uint64_t min_nonce, const struct signature *signature,
                                      struct amount *freed) MUST_USE;

/* ---- receiving ---- */

enum verdict {
    VERDICT_ACCEPTED, /* applied: journal it, then acknowledge */
    VERDICT_AGAIN,    /* identical to one accepted before: acknowledge again */
    VERDICT_HELD,     /* may be good by a newer view of the ledger, or after a REVOKE; code says what is
                       * missing: try again later */
    VERDICT_REFUSED   /* breaks a rule: code says which; nothing changed */
};
struct judgement {
    enum verdict verdict;
    enum code code;
    size_t operation;   /* index of the one at fault, when a rule about operations was broken */
    struct hash digest; /* ACCEPTED: what the peer has signed */
};
/* Judges an update in section 5's order: (channel is the caller's), status, nonce, body, signature,
 * operations in order, transferred, locked, root, available. `operations` is the decoded body; body_ok false
 * means it could not be decoded (BODY, judged in its place). touched: room for one per operation; gets each
 * lock added or removed. */
struct judgement channel_receive(struct channel *channel, const struct channel_view *view,
                                 const struct update *update, const struct operation *operations,
                                 size_t count, bool body_ok, struct pending_lock *touched) MUST_USE;
/* The nonce of the peer's newest update that dropped locks not revoked yet; 0: no REVOKE is owed. */
uint64_t channel_revocation_due(const struct channel *channel);
/* Signs REVOKE(min_nonce) over the peer's stream, frees its drops up to it. min_nonce in (revoked, newest].
 */
struct signature channel_revoke(struct channel *channel, const struct domain *domain,
                                const struct secret_key *key, uint64_t min_nonce);
/* As receiver of a lock: we say FAIL for it (durable before it leaves). Returns false if no lock carries the
 * id. */
bool channel_mark_failed(struct channel *channel, const struct payment_id *payment) MUST_USE;
/* The same for the lock with this id: a peer may lock twice under one payment id. */
bool channel_mark_lock_failed(struct channel *channel, uint64_t lock_id) MUST_USE;
/* A pending lock of a stream by the payment id it carries; NULL if none. */
struct pending_lock *channel_find_payment(const struct channel *channel, enum side stream,
                                          const struct payment_id *payment);

/* ---- settlement ---- */

/* Hub: starts one (seq = funds.seq + 1). hub_out counts from now. Refused: STATUS; SETTLE (one is under way,
 * or for a close something is locked, frozen, drafted or unacknowledged); AVAILABLE (an out is more than
 * available; for a close client_out must be balanceC and hub_out balanceH). */
enum code channel_propose(struct channel *channel, struct amount client_out, struct amount hub_out,
                          uint64_t deadline, bool close) MUST_USE;
/* Hub: SETTLE_SIGN. client_out counts from now. SETTLE: none such under way, or a wrong signature. */
enum code channel_settle_signed(struct channel *channel, const struct channel_view *view, uint32_t seq,
                                const struct signature *signature) MUST_USE;
/* Client: judges SETTLE_PROPOSE by section 8 and signs. wanted: what was asked for (0 if nothing);
 * wants_close. Refused with SETTLE, nothing changed. The signature may leave once written and durable. */
enum code channel_settle_sign(struct channel *channel, const struct channel_view *view,
                              const struct settlement *proposal, struct amount wanted, bool wants_close,
                              uint64_t settle_window_s, const struct secret_key *key,
                              struct signature *out) MUST_USE;
/* Client: a settlement that it has signed, and only the hub remembers: it binds all the same. None may be under
 * way; the caller has checked the signature. */
void channel_settle_adopt(struct channel *channel, const struct settlement *shown);
/* Client: the hub says that what was signed is dead (SETTLED 6), or its CHANNEL shows none or another: freed after its
 * deadline (channel_settle_expire); updates that depend on it are held until then. False: nothing new. */
bool channel_settle_said_dead(struct channel *channel);
/* Hub: the client refused (ERROR 60) what it had not signed, or an unsigned one's deadline has passed. */
void channel_settle_refused(struct channel *channel);
/* Frees a settlement that is dead: its deadline lies before the confirmed time and the ledger's seq has not
 * reached it (and, for a client, the hub has said SETTLED 6, see said). Returns true if it was freed. */
bool channel_settle_expire(struct channel *channel, uint64_t now);

/* ---- after a close ---- */

/* The locks of the own stream as the ledger has them by a claim: the newest proof's, or those of an older proof that
 * the peer showed since it had no newer one. NULL: the root is not one of a proof that the peer may lack. The caller
 * frees the set; of a lock that is pending no more it has only what the ledger needs to know. */
struct lock_set *channel_own_locks_at(const struct channel *channel, const struct hash *root) MUST_USE;
/* Of a channel that is closed on the ledger, and whose locks need no proving any more, only what it was is kept:
 * locks, unacknowledged updates, drops and revocations go, from the journal too (with the next channel_write). */
void channel_let_go(struct channel *channel);

/* ---- disk ---- */

/* Record types of channels in any journal (hub, wallet). On disk: do not renumber. */
enum channel_record {
    RECORD_CHANNEL = 1, /* key: channel id */
    RECORD_LOCK = 2,    /* key: channel id, side u8, place u16 */
                        /* 3: retired */
    RECORD_STREAM = 4,  /* key: channel id, side u8 */
    RECORD_KEPT = 5     /* key: channel id, slot u8; acknowledged ones are ignored when read */
};
/* Appends the records of all that changed since the last call. The draft is not state: it must be sealed or
 * lost. That a client has acknowledged something is not worth a record of its own to a hub: it goes with the
 * next update. */
void channel_write(struct channel *channel, struct buffer *batch);
/* The pending lock in the index-th place (below dirty_place_count) that has changed since the last channel_write; NULL:
 * there is none any more. */
const struct pending_lock *channel_changed_lock(const struct channel *channel, size_t index);
/* Marks everything for the next channel_write. */
void channel_write_all(struct channel *channel);
/* Applies a record read back; *channel is made by the first RECORD_CHANNEL of its id (self and reserve come
 * from it). Records may come in any order that a journal gives: newest last. Returns false for a malformed
 * record. After the last record channel_recovered checks the whole: sums, roots against the proofs, kept
 * updates. */
bool channel_read(struct channel **channel, const struct record *record) MUST_USE;
bool channel_recovered(struct channel *channel) MUST_USE;
/* The id of the channel a record of these types belongs to. */
bool channel_record_id(const struct record *record, struct hash *id) MUST_USE;

/* ---- a wallet that lost its disk ---- */

/* Takes a stream as the hub (or a tower) shows it, if newer than what is here. Every signature is checked,
 * sums and the root over `locks` too: SIGNATURE, ROOT, LOCKED, TRANSFERRED (2^63 or more, or less than what is here),
 * MALFORMED (a revocation above the proof, drops out of order). NONCE: not newer, and so not looked at further. */
enum code channel_restore_stream(struct channel *channel, const struct channel_view *view, enum side side,
                                 const struct address *signer, const struct stream *shown,
                                 const struct pending_lock *locks, size_t lock_count) MUST_USE;

#endif
