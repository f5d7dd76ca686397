/* What the files of the library behind include/rill.h share. */
#ifndef RILL_WALLET_SHELL_H
#define RILL_WALLET_SHELL_H

#include <sys/time.h>

#include "rill.h"
#include "store/journal.h"
#include "wallet/core_state.h"
#include "wire/link.h"
#include "wire/outbox.h"

/* ---- ledger_shared.c ---- */

struct ledger *rill_ledger_client(struct rill_ledger *ledger);
/* Seconds; 0: not known yet. */
uint64_t rill_ledger_challenge_period(const struct rill_ledger *ledger);
uint32_t rill_ledger_confirmations(const struct rill_ledger *ledger);
struct domain rill_ledger_domain(const struct rill_ledger *ledger);
/* The node has answered, and it is the ledger that was expected. */
bool rill_ledger_verified(const struct rill_ledger *ledger);
/* From now on the wallet's core gets events and heads. Returns false and one line if it would miss some. */
bool rill_ledger_attach(struct rill_ledger *ledger, struct rill_wallet *wallet, char *message,
                        size_t message_size);
void rill_ledger_detach(struct rill_ledger *ledger, struct rill_wallet *wallet);

/* ---- shell.c ---- */

/* Something that may happen once a journal sequence is durable. */
enum deferred_kind { DEFERRED_NEWS, DEFERRED_SUBMIT, DEFERRED_CALL };
struct deferred {
    enum deferred_kind kind;
    uint64_t sequence;
    uint64_t submission;
    struct contract_call call;
    struct hash merkle[LOCK_TREE_DEPTH];
    struct wallet_news *news;
    char *memo;
    void (*done)(void *context);
    void *context;
    struct deferred *next;
};
struct deferred_list {
    struct deferred *first, *last;
};

struct tower_link {
    struct rill_wallet *wallet;
    size_t index;
    char *host;
    uint16_t port;
    struct address address;
    struct link *link;
    bool ready;
    uint64_t generation;
    uint64_t ready_ms; /* since when; 0: not connected */
    uint32_t failures;
    struct event *retry;
};

struct rill_wallet {
    struct event_base *base;
    struct rill_ledger *ledger;
    struct wallet_core *core;
    struct rill_callbacks callbacks;
    void *context;
    struct secret_key key;
    struct address self;

    struct journal *journal; /* NULL: memory only */
    uint64_t appended;       /* memory only: the sequence, durable at once */
    struct outbox *outbox;
    struct deferred_list deferred; /* in the order of their sequences */
    struct deferred_list shown;    /* secrets that have come: told without waiting for the disk */
    struct event *wake;            /* the journal's descriptor */

    char *hub_host;
    uint16_t hub_port;
    char *agent;
    struct link *link;
    bool link_ready;
    uint64_t generation; /* of hub connections: frames of an older one never reach a newer */
    uint64_t ready_ms;   /* since when; 0: not connected */
    uint32_t failures;
    struct event *retry;
    struct tower_link towers[RILL_TOWERS_MAX];
    size_t tower_count;

    struct event *run;   /* made active by every input */
    struct event *timer; /* wallet_next_ms */
    bool run_wanted;
    unsigned busy; /* inside callbacks */
    bool closed;   /* free once not busy */
    char refusal[256];

    struct pending_call *calls; /* questions and transactions that are not answered yet */
    struct deposit *deposits;
    bool attached;
    UT_hash_handle hh; /* by address, among those of the ledger */
};

/* An input has been given: run soon. */
void rill_wallet_run_soon(struct rill_wallet *wallet);
void rill_wallet_trouble(struct rill_wallet *wallet, const char *text);
/* The same, from the next run: for whoever must not be called back now. */
void rill_wallet_trouble_soon(struct rill_wallet *wallet, const char *text);
/* Around anything that may call back: the wallet may be closed in it. */
void rill_wallet_enter(struct rill_wallet *wallet);
/* Returns false if the wallet is gone. */
bool rill_wallet_leave(struct rill_wallet *wallet);
/* done is called once what has been appended so far is durable. */
void rill_wallet_defer_call(struct rill_wallet *wallet, void (*done)(void *context), void *context);
struct timeval rill_timeval(uint64_t ms);

/* ---- shell_links.c ---- */

void rill_wallet_make_links(struct rill_wallet *wallet, const struct rill_options *options);
void rill_wallet_free_links(struct rill_wallet *wallet);
/* The ledger has been found to be the expected one: connect. */
void rill_wallet_ledger_ready(struct rill_wallet *wallet);
/* The hub's link is closed already: tells the core, and connects again later. */
void rill_wallet_lose_link(struct rill_wallet *wallet, const char *why);

/* ---- deposit.c ---- */

/* The wallet closes: deposits under way go on, but nobody is told. */
void rill_deposits_forget(struct rill_wallet *wallet);

/* ---- library.c ---- */

struct rill_payment rill_payment_of(const struct payment_view *view);
struct address rill_bytes_address(const uint8_t bytes[20]);
struct hash rill_bytes_hash(const uint8_t bytes[32]);

#endif
