/* The watchtower's core: pure (no I/O, no clock, no randomness), so that the daemon, the tests and a
 * simulator run the same code. Inputs: messages of proven users, the ledger's events and heads, answers to
 * questions, outcomes of transactions, time. Effects: journal batches, messages tagged with what must be
 * durable first, questions, transactions.
 *
 * A channel with an appointment is quiet until something calls for attention; then it has a watch (watch.h):
 *
 *     quiet ──event of a close | a witness to register | closing when appointed──▶ watched
 *     watched: at each new head, event, outcome: LOOK (channel, closing, what the judgement needs), DECIDE
 *     decide:  closing: challenge, void, register, finish as judge.h says      closed: register, unlock
 *     nothing left, and the same for `confirmations` blocks: open ─▶ quiet     closed ─▶ appointments deleted
 *
 * What the tower decides rests on what it sees at that look, never on what it remembers having done: so a
 * restart, a missed block or a reorganisation needs no other path than the next look.
 */
#ifndef RILL_WATCHTOWER_TOWER_H
#define RILL_WATCHTOWER_TOWER_H

#include "base/log.h"
#include "base/record.h"
#include "ledger/client.h"
#include "watchtower/appointment.h"

struct tower;

struct tower_quotas {
    uint64_t users;             /* distinct users, the hub included */
    uint64_t channels_per_user; /* does not bind the hub */
    uint64_t bytes_per_user;    /* does not bind the hub */
    uint64_t bytes;             /* of all appointments; a quarter of it is not the hub's to fill */
};

struct tower_options {
    uint64_t chain_id;
    struct address contract;
    struct address hub;
    uint64_t challenge_period_s;
    uint32_t confirmations;
    unsigned_wide budget_response_wei; /* watchtower/budget.h; 0: no limit */
    unsigned_wide budget_day_wei;
    uint64_t register_margin_s; /* a known witness is registered this long before its lock expires */
    struct secret_key key;      /* signs receipts; copied, wiped on free */
    struct tower_quotas quotas;
};

/* Somebody must wake up. */
enum tower_alarm_kind {
    TOWER_ALARM_DEADLINE,    /* an answer is due, its deadline close, and it is not mined */
    TOWER_ALARM_MISSED,      /* an answer came too late */
    TOWER_ALARM_GAS_MONEY,   /* the account cannot pay for gas */
    TOWER_ALARM_BUDGET,      /* an answer waits for the next day's budget */
    TOWER_ALARM_REORGANISED, /* the ledger took back what was confirmed */
    TOWER_ALARM_BLIND,       /* the node has given no good answer for long */
    TOWER_ALARM_KIND_COUNT
};
const char *tower_alarm_name(enum tower_alarm_kind kind); /* "deadline" */

struct tower_alarm {
    enum tower_alarm_kind kind;
    const struct hash *channel; /* NULL: of no single one */
    const char *duty;           /* "challenge" …; NULL: none */
    uint64_t left_s;            /* DEADLINE: seconds to it, by the newest block */
    const char *line;           /* one line for a person */
};

struct tower_effects {
    /* Appends a batch to the journal; returns its sequence. */
    uint64_t (*append)(void *context, const uint8_t *batch, size_t length);
    /* Sends to a peer (the number that came with its message; it may be gone by now) once `sequence` is
     * durable. Tags never fall. */
    void (*send)(void *context, uint64_t sequence, uint64_t peer, const struct message *message);
    /* Asks the contract's view, against the newest block; tower_answer follows, once, not from within this
     * call. */
    void (*ask)(void *context, uint64_t question, const struct contract_call *view);
    /* Sends a transaction to the contract; tower_outcome follows, once, not from within this call. */
    void (*submit)(void *context, uint64_t submission, const struct contract_call *call,
                   const struct ledger_terms *terms);
    /* Something an operator should read. */
    void (*say)(void *context, enum log_level level, const char *line);
    /* An alarm, said once as it begins; its line has been given to `say` too. */
    void (*alarm)(void *context, const struct tower_alarm *alarm);
};

/* What a tower's transaction is for; also the index of its figures. */
enum response_kind {
    RESPONSE_CHALLENGE,
    RESPONSE_VOID,
    RESPONSE_REGISTER,
    RESPONSE_FINISH,
    RESPONSE_UNLOCK,
    RESPONSE_KIND_COUNT
};
const char *response_name(enum response_kind kind); /* "challenge" */

struct tower_figures {
    uint64_t users, appointments, bytes, watches;  /* now */
    uint64_t responses_in_flight, alarms;          /* now */
    uint64_t received, receipts, refused, fetched; /* since start */
    uint64_t sent[RESPONSE_KIND_COUNT], mined[RESPONSE_KIND_COUNT], failed[RESPONSE_KIND_COUNT];
    uint64_t alarms_raised, missed;
    unsigned_wide spent_today_wei; /* on gas, by what was confirmed */
    uint64_t over_budget;          /* answers that had to wait for the budget */
    uint64_t reorganised;          /* reorganisations below what was confirmed */
    uint64_t head, confirmed;
    bool out_of_gas_money; /* the last transaction was refused for lack of funds */
};

struct tower *tower_new(const struct tower_options *options, const struct tower_effects *effects,
                        void *context);
void tower_free(struct tower *tower); /* NULL is allowed */

/* Recovery: every record of the journal, oldest first, then tower_recovered. False: not understood, or not a
 * journal of this contract and key; message (of its size) says why in one line. */
bool tower_read(struct tower *tower, const struct record *record) MUST_USE;
bool tower_recovered(struct tower *tower, char *message, size_t message_size) MUST_USE;
/* From which block the ledger's events are still to be followed; false if the journal is new. before (NULL: not
 * wanted): the hash of the block before it as it was confirmed, zero if that is not known. */
bool tower_cursor(const struct tower *tower, uint64_t *block, struct hash *before);
/* A new journal: writes whose it is, and the block to follow from. */
void tower_begin(struct tower *tower, uint64_t block);

/* APPOINT and FETCH from a user whose address the handshake has proven; `peer` names its connection. */
void tower_message(struct tower *tower, uint64_t peer, const struct address *user,
                   const struct message *message);
/* The same for an APPOINT that was judged elsewhere, by tower_rules: takes the verdict's appointment over. */
const struct appointment_rules *tower_rules(const struct tower *tower);
void tower_appoint(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict);
/* How many messages were answered with ERROR. */
uint64_t tower_refused(const struct tower *tower);
void tower_event(struct tower *tower, const struct contract_event *event);
/* The ledger took back a confirmed block: what was seen up to it may be gone, and what took its place was not seen.
 * Every channel that is served is looked at anew, as if each had had an event. */
void tower_reorganised(struct tower *tower, uint64_t block);
/* confirmed_hash: of block head->confirmed_number; zero: not known. */
void tower_head(struct tower *tower, const struct ledger_head *head, const struct hash *confirmed_hash);
void tower_answer(struct tower *tower, uint64_t question, bool ok, const uint8_t *data, size_t length);
/* reverted: with LEDGER_REVERTED. LEDGER_OK with success false: mined, and reverted there. cost_wei: of the gas that
 * was paid for; 0 if it was never mined. */
void tower_outcome(struct tower *tower, uint64_t submission, enum ledger_error error, bool success,
                   enum contract_error reverted, unsigned_wide cost_wei);
/* The node gives no good answers, for so long: no deadline can be seen. An alarm. */
void tower_blind(struct tower *tower, uint64_t seconds, const char *why);
/* Monotonic milliseconds; about once a second. */
void tower_tick(struct tower *tower, uint64_t now_ms);

/* So many new appointments wait for the ledger's word that the owner should read no more of them for now. */
bool tower_busy(const struct tower *tower);
struct tower_figures tower_figures(const struct tower *tower);

#endif
