/* Attacks on a live hub, ledger and tower: what the files of attacks share.
 *
 * The arena has the three programs as processes, an honest payer and payee that stay throughout, and for each attack
 * a fresh pair of attackers with money of their own. An attack says what is sent and what must come back; the arena
 * sees to it that nothing else changed: the honest pair's streams are at the hub as they know them, the hub has not
 * lost a unit, no unit of the contract's is unaccounted for, and the next honest payment goes through.
 */
#ifndef RILL_TESTS_ADVERSARY_ARENA_H
#define RILL_TESTS_ADVERSARY_ARENA_H

#include "tests/adversary/raw.h"
#include "tests/e2e/hub_pair.h"

struct balances {
    int64_t pool, clients, hub; /* of GET /balances: open channels only */
    int64_t contract;           /* units of the coin that the contract holds */
};

struct arena {
    struct world world;  /* the attackers: payer and payee */
    struct world honest; /* the victims */
    struct hub_stage *stage;
    struct process towerd;
    struct secret_key tower;
    uint16_t tower_port, tower_http_port;
    struct balances before;
    int64_t owed; /* what the hub may come to pay for earlier attacks: payments that it still carries */
};

struct attack {
    const char *kind;
    const char *sent;     /* by whom, and what */
    const char *answered; /* ERROR or FAIL code, refund, revert, closed link */
    void (*run)(struct arena *arena);
    bool disputes; /* leaves a channel that is closing or closed, whose units /balances does not count */
};

/* Lists end with an attack without `run`. */
extern const struct attack attacks_signatures[], attacks_streams[], attacks_locks[], attacks_payments[],
    attacks_settlements[], attacks_contract[], attacks_ledger[], attacks_handshake[], attacks_frames[],
    attacks_tower[];

/* ---- updates by hand ---- */

/* A payment of 20 units by the attacking payer, not sent yet; what it moves in all. */
struct operation small_pay(struct arena *arena, uint64_t *moved);
/* The signature that would be right. */
struct signature forged_sign(struct forged *forged, const struct domain *domain);
/* Sends it with any signature; it must be refused with this code. */
void refused_with(struct wire_client *client, struct forged *forged, const struct signature *signature,
                  enum code code);
/* A non-fatal ERROR with this code is next. */
void expect_code(struct wire_client *client, enum code code);
/* Everything that was sent has been looked at, and was answered with nothing but PONG. */
void expect_silence(struct wire_client *client);
/* The payee's leg of a payment of the attackers has come. */
const struct seen *payee_has(struct arena *arena, enum operation_type type,
                             const struct operation *operation);
struct witness secret_witness(const uint8_t secret[32]);
/* Sends the lock; it must fail with this code, and is taken back. */
void lock_fails(struct arena *arena, const struct operation *lock, enum code code);
/* Sends the payment; it must come back with this code. */
void pay_comes_back(struct arena *arena, const struct operation *pay, enum code code);

/* ---- the ledger ---- */

/* Sends the call; it must be refused with this error before it costs anything. */
void call_reverts(struct arena *arena, const struct secret_key *key, const struct contract_call *call,
                  enum contract_error error);
/* A channel as the ledger has it now. */
struct channel_state ledger_channel(struct arena *arena, const struct channel_key *key);
struct closing ledger_closing(struct arena *arena, const struct channel_key *key);
/* The ledger's time goes on, and the hub has seen it. */
void arena_time_passes(struct arena *arena, uint64_t seconds);
/* Blocks are made until it holds. */
void mine_until(struct arena *arena, bool (*holds)(void *context), void *context, const char *what);

/* ---- the arena ---- */

struct arena *arena_open(void);
void arena_close(struct arena *arena);
void arena_prepare(struct arena *arena);
void arena_verify(struct arena *arena, const struct attack *attack);
/* held: the attack came to nothing, so its attackers may serve for the next one. */
void arena_clear(struct arena *arena, bool held);

#endif
