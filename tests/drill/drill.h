/* Fraud drills: real programs (ledger, hub, towers, wallets), and somebody who cheats with real keys and old state.
 *
 * A drill has a ledger of its own: rill-ledgerd, or anvil with the Solidity contract (LEDGER=evm), then behind a proxy that
 * gives it one request at a time. Blocks come for each transaction and when the drill says so, time passes only when it
 * says so. What the honest side is due is worked out from the newest durable state of its channel before the fraud; what
 * it got, and what the fraud cost, are the ledger's own events, which must be to the unit what the formula of
 * docs/close_model.py makes of the claims (model.c).
 */
#ifndef RILL_TESTS_DRILL_H
#define RILL_TESTS_DRILL_H

#include "tests/e2e/hub_pair.h"
#include "tests/support/anvil_node.h"
#include "tests/support/anvil_proxy.h"

#define TOWERS_MAX 2
#define PERIOD     4000
#define WINDOW     (PERIOD + 3 * PERIOD / 8)
#define GAS_COINS  100000000u /* units of the coin that everybody has for gas */

struct tower {
    struct process process;
    struct secret_key key;
    char key_file[160], folder[160], log[160];
    uint16_t port;
};

/* What came of a drill: a row of the table. */
struct outcome {
    const char *honest;    /* who: "hub", "wallet" */
    uint64_t channels;     /* attacked */
    uint64_t due, got;     /* units of the honest side in them */
    uint64_t penalty, gas; /* what the cheater lost in units, and its gas */
    uint64_t blocks,
        longest; /* most answers: in how many blocks, and the fullest block's gas; 0: not counted */
};

struct drill_run {
    bool evm;
    bool blocks_by_hand;             /* transactions wait for mine() */
    unsigned block_interval_ms;      /* of the embedded ledger; 0: a block for each transaction */
    const char *tower_confirmations; /* NULL: 1 */
    struct hub_stage *stage;
    struct anvil anvil;
    struct proxy *proxy;
    struct tower towers[TOWERS_MAX];
    struct world pair; /* payer and payee by hand: who of them cheats, the drill says */
    char error_file[160], home[160];
    uint64_t mined_us; /* when a waiting wallet was last given a block */
    struct outcome outcome;
};

struct drill {
    const char *name;
    const char *fraud;  /* what is tried */
    const char *answer; /* what must come of it */
    void (*run)(struct drill_run *run);
    bool evm_only, embedded_only;
};
/* Ends with one without a name. */
extern const struct drill drills_client[], drills_hub[], drills_many[], drills_chain[];

/* ---- run.c: the programs ---- */

/* Ledger, `towers` towers, the first of which is the hub's (set in the contract), the hub, and the pair. */
void run_open(struct drill_run *run, unsigned towers);
/* The same without hub and pair. */
void run_open_ledger(struct drill_run *run);
void run_close(struct drill_run *run);
void tower_begin(struct drill_run *run, unsigned index);
void tower_kill(struct drill_run *run, unsigned index);
void hub_begin(struct drill_run *run);
/* Blocks are made until it holds. */
void mine_until(struct drill_run *run, bool (*holds)(struct drill_run *run, const struct channel_key *key),
                const struct channel_key *key, const char *what);
void fail_with_logs(struct drill_run *run, const char *what);

/* `rill` of the wallet in run->home: to its end; its output in out. */
int wallet_run(struct drill_run *run, char *out, size_t size, const char *const *words);
#define WALLET(run, out, ...) wallet_run(run, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})
/* The same in the background: what it prints first, up to a newline. */
void wallet_begin(struct drill_run *run, struct process *process, char *line, size_t size,
                  const char *const *words);
int wallet_end(struct drill_run *run, struct process *process);

/* ---- state.c: what stands, what came of it ---- */

struct closing closing_now(struct drill_run *run, const struct channel_key *key);
struct channel_state channel_now(struct drill_run *run, const struct channel_key *key);
bool is_challenged(struct drill_run *run, const struct channel_key *key);
bool is_voided(struct drill_run *run, const struct channel_key *key); /* locks of the hub's */
bool is_closed(struct drill_run *run, const struct channel_key *key);
bool nothing_is_held(struct drill_run *run, const struct channel_key *key);
struct claim claim_of(const struct balance_proof *proof);
/* Until some seconds before the lock expires, and then until somebody has registered the secret. */
void is_registered_in_time(struct drill_run *run, const uint8_t secret[32], uint64_t expiry,
                           uint64_t seconds_before);
/* Sends it as the cheat, whose gas is counted; cheat_begins does not wait for it, but counts *open down then. */
struct cheat_call {
    struct drill_run *run;
    unsigned *open;
};
void cheat_begins(struct cheat_call *sent, struct drill_run *run, const struct secret_key *key,
                  const struct contract_call *call, unsigned *open);
void cheat_sends(struct drill_run *run, const struct secret_key *key, const struct contract_call *call);
/* Closes with any claim of its own, and the other side's proof (nonce 0: none). */
void cheat_closes(struct drill_run *run, const struct secret_key *key, const struct channel_key *channel,
                  const struct claim *own, const struct shown_proof *partner);
/* The hub's or a client's share by the newest proofs of a channel; locks: `known` of the other side's will be paid. */
uint64_t due_of(const struct channel *channel, enum side side, uint64_t known);
/* The window passes, somebody finishes, and what is held for locks is unlocked. */
void carry_through(struct drill_run *run, const struct channel_key *key);
/* Holds the close against the formula, adds what came of it to the outcome. before: as it was when it was closed. */
void settle_accounts(struct drill_run *run, const struct channel_key *key, const struct channel_state *before,
                     enum side honest, uint64_t due);
/* The accounts of one of many. */
struct account {
    struct hash channel;
    uint64_t to_client, to_hub, held_client, held_hub, penalty, bounty, unlocked_client, unlocked_hub;
    bool finished;
    unsigned challenges, skipped, settled;
    uint64_t challenge_block;
};
/* All that the ledger says of these channels, from the first block on. */
void read_accounts(struct drill_run *run, struct account *accounts, size_t count);
void expect_by_formula(const struct closing *closing, const struct channel_state *before,
                       const struct account *account, const struct address *victim);

/* ---- history.c: payments before the fraud ---- */

struct old_state {
    struct claim own;           /* the client's stream */
    struct shown_proof partner; /* the hub's */
};
struct old_state state_of(struct wire_client *client);
/* All of it running with the hub's tower, three payments made, and the hub killed. Returns what the payer could claim after
 * the first. */
struct old_state paid_and_asleep(struct drill_run *run);
/* Direct payments of the pair, each of which the payee has. */
void pay_direct(struct drill_run *run, uint64_t units);
/* A locked payment of the pair that the payee has; the secret is {id, …}. Returns the payer's lock. */
struct pending_lock pay_locked(struct drill_run *run, uint64_t units, uint8_t secret[32],
                               struct payment_id *id);
/* When this returns the hub's tower has everything of the client's channel: the hub revokes a dropped lock only then. */
void tower_has_all(struct drill_run *run, struct wire_client *client);

/* ---- model.c: docs/close_model.py's payout, and section 7's penalty ---- */

struct model {
    uint64_t to_client, to_hub, held_client, held_hub, penalty, bounty;
};
struct model model_of(const struct closing *closing, const struct channel_state *before, uint16_t bounty_bps,
                      const struct address *victim);

#endif
