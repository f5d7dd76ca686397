/* rill-towerd around the cores: sockets, ledger clients, journals, workers, metrics, on one event loop.
 *
 * One process serves any number of contracts, on one ledger or several. Each has a post: a core, a journal, a ledger
 * client that follows it, and a port (the handshake names chain and contract before the user has said anything, so
 * that a port is what tells them apart). What they share: the key, the TLS identity, the workers, the operator's port.
 *
 *     start: workers, operator's port ─▶ each post: journal ─▶ the ledger says hub, period, domain
 *            ─▶ recover (new: from which block) ─▶ listen, follow
 *     stop (SIGTERM, SIGINT): no new connections ─▶ journals durable, frames released ─▶ peers told ─▶ exit 0
 */
#ifndef RILL_WATCHTOWER_SHELL_H
#define RILL_WATCHTOWER_SHELL_H

#include "base/endpoint.h"
#include "crypto/key.h"
#include "watchtower/tower.h"

#define POSTS_MAX           64
#define POST_NAME_BYTES_MAX 32

/* One contract. */
struct post_settings {
    char name[POST_NAME_BYTES_MAX + 1]; /* of its journal's folder, in logs and metrics; "main": the first */
    const char *ledger_url;
    uint64_t chain_id; /* 0: the node's */
    struct address contract;
    uint32_t confirmations;
    char listen_host[HOST_BYTES_MAX + 1];
    uint16_t listen_port;
};

struct shell_settings {
    struct post_settings posts[POSTS_MAX];
    size_t post_count;
    uint32_t poll_ms;
    uint64_t max_fee_per_gas;
    unsigned_wide budget_response_wei, budget_day_wei;
    const char
        *data; /* folder: journal/ of the first post, NAME/journal/ of the others, the TLS certificate */
    const char *http_host;
    uint16_t http_port;
    const char *port_file; /* gets "PORT HTTP-PORT [PORT …]" once all posts serve; NULL: none */
    const char *alarm_url; /* alarms are posted there; NULL: not */
    uint32_t threads;      /* that verify and sign */
    uint32_t connections_max;
    uint64_t register_margin_s;
    struct tower_quotas quotas;
    struct secret_key key;
};

/* Runs until told to stop. Returns the exit code; what went wrong has been logged in one line. */
int shell_run(const struct shell_settings *settings);

#endif
