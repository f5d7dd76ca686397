/* An appointment: what a user of one side of a channel leaves with its tower, so that the tower can answer a
 * close for it (protocol.md, sections 5 and 9). One is kept per channel and side, the newest only.
 *
 *     APPOINT ─appointment_make (every signature, sum and root checked)─▶ struct appointment
 *         none held yet                       kept as it is
 *         higher nonce than held              appointment_replace: the new one, witnesses of locks still
 *                                             pending are kept
 *         same proof as held, or lower nonce  appointment_merge: newer revocation, Choice and witnesses
 *                                             are taken over
 *         same nonce, another proof           refused: NONCE
 */
#ifndef RILL_WATCHTOWER_APPOINTMENT_H
#define RILL_WATCHTOWER_APPOINTMENT_H

#include <uthash.h>

#include "channel/lock_set.h"
#include "crypto/typed.h"
#include "wire/message.h"

/* Channel id and side: how appointments are found. */
#define APPOINTMENT_ID_BYTES 33
struct appointment_id {
    uint8_t bytes[APPOINTMENT_ID_BYTES];
};

/* A lock of the counterparty's proof: the user is its receiver. */
struct held_lock {
    struct lock lock;
    struct witness witness; /* length 0: not known */
    /* What the ledger said of it last; not on disk, asked again at each look. */
    bool asked_registered, asked_unlocked;
    bool unlocked;
    uint64_t registered_at; /* 0: not registered */
};

struct appointment {
    struct appointment_id id;
    struct hash channel;
    struct channel_key key;
    enum side side; /* the user's */
    struct address user;
    struct balance_proof proof; /* the counterparty's; nonce 0: none */
    struct signature signature;
    struct hash digest; /* the proof's EIP-712 digest, zero if there is none */
    bool has_choice;    /* false: the hub's, towards a tower that setTower allows */
    struct signature choice;
    struct shown_revocation revocation; /* of the user's own stream, by the counterparty */
    struct held_lock *locks;            /* in the order they came */
    size_t lock_count;
    size_t bytes;           /* what it costs in memory, for the quotas */
    uint64_t register_from; /* when the next known witness must be registered; UINT64_MAX: never */
    UT_hash_handle hh;
};

/* What an appointment is judged by. */
struct appointment_rules {
    struct domain domain;
    struct address tower; /* this tower */
    struct address hub;
    uint64_t register_margin_s;
};

struct appointment_id appointment_id_make(const struct hash *channel, enum side side);

/* Builds one from an APPOINT of this user. Returns CODE_OK, or a code and one line in *why (static), *out
 * NULL: CHANNEL (the user is not a party), SIGNATURE (proof, Choice or revocation; no Choice from a client),
 * NONCE (a proof with nonce 0), TRANSFERRED, LOCKED (sums), ROOT (the locks do not make the proof's root),
 * WITNESS (malformed, or an attestation whose signature is not the attester's). Whether the hub may leave out
 * its Choice is the caller's to ask. */
enum code appointment_make(const struct appointment_rules *rules, const struct address *user,
                           const struct message *message, struct appointment **out,
                           const char **why) MUST_USE;
void appointment_free(struct appointment *appointment); /* NULL is allowed */

/* Takes over from `fresh` what is newer without touching the proof. Returns true if anything changed. */
bool appointment_merge(struct appointment *held, const struct appointment *fresh, uint64_t register_margin_s);
/* Puts the contents of `fresh` (freed) in the place of the older `held`, which stays in its table. A newer
 * revocation and the witnesses known for locks that are still pending are kept. */
void appointment_replace(struct appointment *held, struct appointment *fresh, uint64_t register_margin_s);

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
