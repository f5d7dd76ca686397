/* What a run needs around it: a ledger, a contract with money in it, channels, a hub; all real processes on loopback, in a
 * folder that is removed afterwards.
 */
#ifndef RILL_BENCH_WORLD_H
#define RILL_BENCH_WORLD_H

#include <event2/event.h>
#include <jansson.h>

#include "bench/load.h"
#include "bench/spawn.h"
#include "ledger/client.h"

#define WORLD_PATH     512
#define WORLD_UNIT_WEI 1000000000u /* one unit of the native coin */

struct world {
    char folder[256], bin[256] /* the programs'; "": where this one is */, ledger_url[128];
    char message[1024]; /* why something returned false */
    bool interrupted;   /* Ctrl-C: every wait ends */
    uint64_t shards;    /* 0: the hub's default */
    struct event_base *base;
    struct event *interrupts[2];
    struct child ledgerd, hubd, towerd;
    struct secret_key hub_key;
    struct address hub, contract;
    struct ledger *ledger;
    uint16_t hub_port, http_port, tower_port, tower_http_port;
    struct secret_key tower_key;
    struct address tower;
    uint64_t pool, in_channels; /* units, by what was sent there */
    uint64_t channels;
    /* funds that wait for world_open_end */
    struct fund *funds;
    size_t fund_count, open_count, open_failed;
};

/* Writes why, and returns false. */
bool world_fail(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
/* A line on stderr about how it goes: on a terminal twice a second, else every five seconds. */
void world_progress(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
void world_progress_end(void);

/* A folder in `parent`, the ledger, the contract's asset listed. */
bool world_begin(struct world *world, const char *parent);
/* Ends all processes and removes the folder, unless it is to be kept. */
void world_end(struct world *world, bool keep);

/* ---- channels: before the hub starts, or while it runs ---- */

/* The pool gets this much more. */
bool world_add_pool(struct world *world, uint64_t units);
/* Opens a channel with the hub's money (many to a transaction), or with the client's own (deposit). */
bool world_open_funded(struct world *world, const struct channel_key *key, uint64_t units);
bool world_open_deposited(struct world *world, const struct channel_key *key, uint64_t units);
/* Everything is on the ledger. */
bool world_open_end(struct world *world);
/* The newest block's number. */
bool world_block(struct world *world, uint64_t *out);

/* ---- the hub ---- */

/* Starts it on its folder, a second time on the same journal, and waits until it serves (seconds: how long that took)
 * and knows every channel. */
bool world_start_hub(struct world *world, double *seconds);
bool world_stop_hub(struct world *world);
/* Asks its operator port. NULL, after world_fail, for no good answer; else to be freed. */
char *world_ask_hub(struct world *world, const char *path);
/* The same of the operator port of any of the processes. */
char *world_ask_port(struct world *world, uint16_t port, const char *path);
/* A figure of /metrics by its name without "rill_"; false if there is none. */
bool metric_find(const char *metrics, const char *name, uint64_t *out);

/* ---- a watchtower, bench/tower_world.c ---- */

/* The contract knows it by setTower: appointments of the hub need no Choice. Before it is started. */
bool world_make_tower(struct world *world);
/* Starts it on its folder, a second time on the same journal, and waits until it serves. */
bool world_start_tower(struct world *world, double *seconds);
bool world_stop_tower(struct world *world);
/* A figure of its /metrics, without "rill_tower_". */
bool world_ask_tower(struct world *world, const char *name, uint64_t *out);
/* Sends a call of the hub's and waits for it. */
bool world_call(struct world *world, const struct contract_call *call);
const char *world_path(const struct world *world, const char *name, char out[WORLD_PATH]);
const char *world_program(const struct world *world, const char *name, char out[WORLD_PATH]);

/* ---- waiting ---- */

/* Runs the loop until done() says so. False: time is up, a process has ended, or Ctrl-C. */
bool world_wait(struct world *world, bool (*done)(void *context), void *context, uint64_t timeout_ms,
                const char *what);
/* Runs the loop for so long. */
bool world_pause(struct world *world, uint64_t us);

/* The hub's books, the ledger's and the clients' say the same, to the unit: what all clients have by their own proofs is
 * `clients`. */
bool world_check_money(struct world *world, wide clients);

#endif
