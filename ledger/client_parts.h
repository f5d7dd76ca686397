/* What the client's files share: the client itself, and the pulse that drives following and sending. */
#ifndef RILL_LEDGER_CLIENT_PARTS_H
#define RILL_LEDGER_CLIENT_PARTS_H

#include <event2/event.h>
#include <jansson.h>

#include "ledger/client.h"
#include "ledger/rpc.h"

/* Beyond options.tries, for the calls that prepare a transaction. */
#define LEDGER_SEND_MORE_TRIES 2

/* A block as eth_getBlockByNumber has it. */
struct block {
    uint64_t number, time;
    struct hash hash;
    uint64_t gas_limit;
    uint64_t base_fee; /* 0 where the chain has none */
    bool has_bloom;
    uint8_t bloom[256];
};

struct follower;
struct senders;

struct ledger {
    struct event_base *base;
    struct ledger_options options; /* with defaults filled in; url is a copy */
    char *url;
    struct rpc *rpc;
    bool stopped, free_later;

    struct event *pulse; /* the next look at the head */
    bool pulse_on, pulse_asking;
    unsigned pulse_failures;
    bool has_latest;
    struct block latest; /* the newest head the node has shown */
    uint64_t highest; /* the highest it has shown: behind one address there may be nodes of unequal height */
    char pulse_trouble[256];

    struct ledger_head head; /* as last given to the follower's owner */
    struct hash confirmed_hash;
    struct follower *follower; /* NULL: nobody follows */
    struct senders *senders;
};

/* False: not a block, or not block `number` (pass NULL for any). */
bool block_of_json(const json_t *json, const uint64_t *number, struct block *out) MUST_USE;
/* True if a block with this bloom may hold logs of the address; false is certain. */
bool block_may_log(const struct block *block, const struct address *address);
/* eth_getBlockByNumber without its transactions. */
void ledger_get_block(struct ledger *ledger, uint64_t number, rpc_done *done, void *context);

/* Asks for the head now and from then on every poll_ms. */
void pulse_start(struct ledger *ledger);
/* Asks at once, as when something is known to have happened. */
void pulse_now(struct ledger *ledger);

/* follow.c */
void follower_head(struct follower *follower, const struct block *latest);
const char *follower_trouble(const struct follower *follower);
void follower_free(struct follower *follower);

/* send.c */
struct senders *senders_new(struct ledger *ledger);
/* The head of each pulse, be it new or not. */
void senders_head(struct senders *senders, const struct block *latest);
bool senders_are_busy(const struct senders *senders);
const char *senders_trouble(const struct senders *senders);
/* Answers all LEDGER_STOPPED; after rpc_stop. */
void senders_stop(struct senders *senders);
void senders_free(struct senders *senders);

#endif
