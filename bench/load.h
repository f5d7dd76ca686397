/* The load: a process that plays many clients of one hub on one event loop.
 *
 * Each client is a real one to the hub: a TLS connection of its own, a channel machine (channel/) of its own, every
 * update signed with its own key, every update of the hub judged by all rules, its signature included, every receipt
 * held against its hash. It is lean where that is not the hub's work: its state is in memory only, and one reader of the
 * ledger serves all clients of the process.
 *
 * The bench gives its orders and reads the figures in shared memory:
 *
 *     CONNECTING ─all online─▶ AT_REST ─next round─▶ PAYING ─phase DRAIN, all payments ended─▶ AT_REST
 *                                 └─phase LEAVE─▶ the process ends         (anything wrong: FAILED, and why)
 */
#ifndef RILL_BENCH_LOAD_H
#define RILL_BENCH_LOAD_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/payment.h"
#include "bench/histogram.h"
#include "crypto/key.h"

/* Who pays whom in a round. */
enum load_pattern {
    LOAD_CASH_IN, /* the last player pays `amount` to each payer, once */
    LOAD_PAIRS,   /* payer i pays payee i, and nobody else */
    LOAD_MARKET,  /* each payer pays all payees in turn */
    LOAD_PEOPLE   /* payers pay payees (shops) and each other as people use a mobile-money service */
};

struct load_plan {
    enum load_pattern pattern;
    uint32_t payers;              /* the first players */
    uint32_t first_payee, payees; /* who is paid */
    uint32_t window;              /* payments under way per payer; PEOPLE: in all */
    uint32_t batch;               /* a payer makes new payments this many at a time */
    bool coalesce;                /* all that waits goes into one update; else each operation has its own */
    uint32_t locked_percent;      /* of the payments; PEOPLE: by the hub's direct limit instead */
    uint64_t amount;              /* units; PEOPLE: drawn */
    double rate;                  /* open loop: payments a second, whatever the hub does; 0: closed loop */
    uint64_t payments_max;        /* ends by itself after so many; 0: does not */
    uint64_t seed;
};

enum load_phase {
    LOAD_WARM_UP, /* or no round at all */
    LOAD_MEASURE, /* latencies are counted */
    LOAD_DRAIN,   /* no new payments */
    LOAD_LEAVE    /* close the connections and end */
};

enum load_state { LOAD_CONNECTING, LOAD_AT_REST, LOAD_PAYING, LOAD_FAILED };

/* What the clients of a process have, as their own channel machines and books say; written when all is at rest. */
struct load_money {
    wide balance, expected; /* sum over the clients: by signed proofs; by payments */
    uint64_t paid, fees, received;
    uint64_t total; /* of their channels */
};

struct load_share {
    /* the bench writes */
    _Atomic uint32_t round, phase;
    struct load_plan plan; /* read once when `round` rises */
    /* the load writes */
    _Atomic uint32_t state, round_done;
    _Atomic uint64_t online, started, paid, failed;
    _Atomic uint64_t signatures_made, signatures_checked, receipts_checked;
    struct load_money money;
    struct histogram latency; /* of the phase MEASURE */
    char trouble[400];
};

struct load_player {
    struct secret_key key;
    struct channel_key channel; /* of its channel; unused in a load without channels */
};

struct load_settings {
    const struct load_player *players;
    uint32_t player_count; /* with channels: the last one is the bank of CASH_IN */
    bool channels; /* each has one, and is ready once it has been shown; else being connected is enough */
    const char *hub_host;
    uint16_t hub_port;
    const char *ledger_url;
    uint64_t ledger_block; /* no channel of a player was opened before this block */
    struct address contract, hub;
};

/* Memory that a process started from here on shares with this one; it lives as long as the process. */
struct load_share *load_share_new(void);
/* Starts the process, which ends with its parent. 0: it cannot be started. The settings are copied by that. */
pid_t load_start(const struct load_settings *settings, struct load_share *share);

#endif
