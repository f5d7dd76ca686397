/* An appointment: what a user of one side of a channel leaves with its tower, so that the tower can answer a
 * close for it (protocol.md, sections 5 and 9). One is kept per channel and side, the newest only.
 *
 *     APPOINT ─appointment_judge (every signature, sum and root checked)─▶ struct appointment_verdict
 *         none held yet                       kept as it is
 *         higher nonce than held              appointment_inherit: the new one takes its place, witnesses of
 *                                             locks still pending and a newer revocation are kept
 *         same proof as held, or lower nonce  appointment_merge: newer revocation, Choice and witnesses
 *                                             are taken over
 *         same nonce, another proof           refused: NONCE
 *
 * A tower may hold a million of them: what is not needed often is derived (digest, user) or behind a pointer.
 */
#ifndef RILL_WATCHTOWER_APPOINTMENT_H
#define RILL_WATCHTOWER_APPOINTMENT_H

#include "channel/lock_set.h"
#include "crypto/typed.h"
#include "wire/message.h"

/* A lock of the counterparty's proof: the user is its receiver. */
struct held_lock {
    struct lock lock;
    struct witness witness; /* length 0: not known */
    /* What the ledger said of it last; not on disk, asked again at each look. */
    bool asked_registered, asked_unlocked;
    bool unlocked;
    uint64_t registered_at; /* 0: not registered */
};

/* Of the user's own stream, by the counterparty. */
struct held_revocation {
    uint64_t min_nonce;
    struct signature signature;
};

struct appointment {
    struct channel_key key;
    struct hash channel;
    struct balance_proof proof; /* the counterparty's; nonce 0: none */
    struct signature signature;
    struct signature choice;            /* if has_choice */
    struct held_revocation *revocation; /* NULL: none */
    struct held_lock *locks;            /* in the order they came */
    uint64_t register_from; /* when the next known witness must be registered; UINT64_MAX: never */
    enum side side;         /* the user's */
    uint16_t lock_count;
    bool has_choice; /* false: the hub's, towards a tower that setTower allows */
};

/* What an appointment is judged by. */
struct appointment_rules {
    struct domain domain;
    struct address tower; /* this tower */
    struct address hub;
    uint64_t register_margin_s;
    const struct secret_key *key; /* the tower's, for receipts */
};

/* What is thought of one APPOINT. */
struct appointment_verdict {
    enum code code;
    const char *why;           /* static; "" with CODE_OK */
    struct appointment *fresh; /* CODE_OK: the owner's to keep or to free; else NULL */
    struct hash channel;
    uint64_t nonce; /* of its proof; 0: none */
    /* with CODE_OK */
    struct hash digest;       /* the proof's EIP-712 digest, zero if there is none */
    struct signature receipt; /* for this proof: to be revealed only once it is durable */
};

/* Judges an APPOINT of this user. Pure, and safe in any thread. Codes: LIMIT (too many locks or witnesses), CHANNEL
 * (the user is not a party), SIGNATURE (proof, Choice or revocation; no Choice from a client), NONCE (a proof with
 * nonce 0), TRANSFERRED, LOCKED (sums), ROOT (the locks do not make the proof's root), WITNESS (malformed, or an
 * attestation whose signature is not the attester's). Whether the hub may leave out its Choice is the caller's to
 * ask. */
void appointment_judge(const struct appointment_rules *rules, const struct address *user,
                       const struct message *message, struct appointment_verdict *out);
void appointment_free(struct appointment *appointment); /* NULL is allowed */

/* Takes over from `fresh` what is newer without touching the proof. Returns true if anything changed. */
bool appointment_merge(struct appointment *held, const struct appointment *fresh, uint64_t register_margin_s);
/* Gives `fresh`, of a higher nonce, what of `held` is still of use: a newer revocation, and the witnesses known for
 * locks that are still pending. */
void appointment_inherit(struct appointment *fresh, const struct appointment *held,
                         uint64_t register_margin_s);
/* Whether both hold the same proof of the same channel. */
bool appointment_same_proof(const struct appointment *a, const struct appointment *b);
/* What it costs in memory, for the quotas. */
size_t appointment_bytes(const struct appointment *appointment);
/* The user who left it. */
const struct address *appointment_user(const struct appointment *appointment, const struct address *hub);

/* The locks as a tree (lock_set_free it). NULL if they do not make the proof's root: only a bug or a bad
 * disk. */
struct lock_set *appointment_tree(const struct appointment *appointment);
struct held_lock *appointment_lock(struct appointment *appointment, uint64_t id);
/* Sets register_from anew from the locks' witnesses and what the ledger said; what expired before `now` is
 * past help. */
void appointment_schedule(struct appointment *appointment, uint64_t register_margin_s, uint64_t now);

/* KEPT: arrays live in *locks and *witnesses (free both) and in the appointment. */
struct message appointment_message(const struct appointment *appointment, struct shown_lock **locks,
                                   struct witness **witnesses);

#endif
