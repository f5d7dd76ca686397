/* rill-towerd around the core: sockets, the ledger client, the journal, metrics, on one event loop.
 *
 *     start: journal, metrics ─▶ the ledger says hub, period, domain ─▶ recover (new: from which block)
 *            ─▶ listen, follow
 *     stop (SIGTERM, SIGINT): no new connections ─▶ journal durable, frames released ─▶ peers told ─▶ exit 0
 */
#ifndef RILL_WATCHTOWER_SHELL_H
#define RILL_WATCHTOWER_SHELL_H

#include "crypto/key.h"
#include "watchtower/tower.h"

struct shell_settings {
    const char *listen_host;
    uint16_t listen_port;
    const char *ledger_url;
    uint64_t chain_id; /* 0: the node's */
    struct address contract;
    uint32_t confirmations;
    uint32_t poll_ms;
    uint64_t max_fee_per_gas;
    const char *data; /* folder: journal/ and the TLS certificate */
    const char *http_host;
    uint16_t http_port;
    const char *port_file; /* gets "PORT HTTP-PORT" once the tower serves; NULL: none */
    uint32_t connections_max;
    uint64_t register_margin_s;
    struct tower_quotas quotas;
    struct secret_key key;
};

/* Runs until told to stop. Returns the exit code; what went wrong has been logged in one line. */
int shell_run(const struct shell_settings *settings);

#endif
