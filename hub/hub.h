/* rill-hubd's shell: sockets, clocks, disk and the ledger client around the pure engine, one event loop a shard
 * and one for what they share. */
#ifndef RILL_HUB_HUB_H
#define RILL_HUB_HUB_H

#include "base/endpoint.h"
#include "base/options.h"
#include "hub/engine.h"

struct hub_settings {
    const char *data;        /* folder: journal/, journal-1/ …, tls/ */
    const char *listen;      /* "HOST:PORT" for wallets: the first shard's; the others' follow it */
    const char *public_host; /* where wallets reach the other shards; NULL: as --listen says */
    uint64_t shards;         /* 0: as the journal is made for, one a core if it is new */
    const char *http;        /* "HOST:PORT" for operators, loopback */
    const char *ledger_url;
    struct hub_tower_place {
        char host[HOST_BYTES_MAX + 1];
        uint16_t port;
    } towers[ENGINE_TOWERS_MAX]; /* where those of engine.towers are */
    uint64_t chain_id;           /* 0: as the node says */
    struct address contract;
    uint64_t contract_block; /* nothing before it is read */
    uint64_t confirmations;
    bool accept_reorganisation; /* go on although counted blocks are gone */
    uint64_t poll_ms;
    uint64_t max_fee_gwei; /* most that is ever offered for a unit of gas */
    uint64_t connections_max;
    uint64_t checkpoint_bytes;
    uint32_t history_days;         /* how long payments that are over can be looked up; 0: not at all */
    const char *port_file;         /* "PORT HTTP_PORT" is written there once both serve; NULL: nowhere */
    struct engine_settings engine; /* domain is filled by the shell */
};

/* Runs until SIGTERM or SIGINT, or until it must stop. Returns the exit code. */
int hub_run(const struct hub_settings *settings);

#endif
