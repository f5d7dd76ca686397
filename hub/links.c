/* The hub's connections: clients that came, and the one to its watchtower. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "hub/hub_state.h"

#define TOWER_RETRY_S 2

static struct peer *find(struct hub *hub, uint64_t handle)
{
    struct peer *peer;
    HASH_FIND(hh, hub->peers, &handle, sizeof(handle), peer);
    return peer;
}

void links_deliver(void *context, uint64_t handle, const uint8_t *frame, size_t length)
{
    struct hub *hub = context;
    if (handle == ENGINE_PEER_TOWER) {
        if (hub->tower_link != NULL)
            link_send_frame(hub->tower_link, frame, length);
        return;
    }
    struct peer *peer = find(hub, handle);
    if (peer != NULL)
        link_send_frame(peer->link, frame, length);
}

static void forget(struct hub *hub, struct peer *peer)
{
    link_set_user(peer->link, NULL);
    HASH_DELETE(hh, hub->peers, peer);
    free(peer);
}

void links_disconnect(struct hub *hub, uint64_t handle, enum code code)
{
    struct peer *peer = find(hub, handle);
    if (peer == NULL)
        return;
    struct link *link = peer->link;
    forget(hub, peer);
    link_send_error(link, code, NULL, true, NULL);
}

/* ---- clients ---- */

static void on_ready(void *context, struct link *link, const struct address *address,
                     const struct message *welcome)
{
    struct hub *hub = context;
    (void)welcome;
    struct peer *peer = xcalloc(1, sizeof(*peer));
    peer->handle = hub->next_handle++;
    peer->link = link;
    HASH_ADD(hh, hub->peers, handle, sizeof(peer->handle), peer);
    link_set_user(link, peer);
    engine_connected(hub->engine, peer->handle, address);
    hub_turn_soon(hub);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct hub *hub = context;
    struct peer *peer = link_user(link);
    if (peer == NULL)
        return; /* it has been replaced */
    engine_message(hub->engine, peer->handle, message);
    hub_turn_soon(hub);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct hub *hub = context;
    struct peer *peer = link_user(link);
    log_debug("a link closed (%d): %s", (int)why, reason);
    if (peer == NULL)
        return;
    uint64_t handle = peer->handle;
    forget(hub, peer);
    engine_disconnected(hub->engine, handle);
    hub_turn_soon(hub);
}

static void write_port_file(const struct hub *hub, uint16_t port)
{
    if (hub->settings->port_file == NULL)
        return;
    char temporary[4096];
    snprintf(temporary, sizeof(temporary), "%s.new", hub->settings->port_file);
    FILE *file = fopen(temporary, "w");
    if (file == NULL || fprintf(file, "%u %u\n", port, hub->http_port) < 0 || fclose(file) != 0 ||
        rename(temporary, hub->settings->port_file) != 0)
        log_warn("the port file %s could not be written", hub->settings->port_file);
}

bool links_listen(struct hub *hub)
{
    char host[HOST_BYTES_MAX + 1], message[512];
    uint16_t port;
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    if (!endpoint_split(hub->settings->listen, host, &port)) {
        hub_fail(hub, "--listen %s is not ADDRESS:PORT", hub->settings->listen);
        return false;
    }
    struct link_server_options options = {
        .host = host,
        .port = port,
        .identity = hub->identity,
        .key = hub->engine_settings.key,
        .domain = hub->engine_settings.domain,
        .connections_max = (uint32_t)hub->settings->connections_max,
    };
    hub->server = link_server_new(hub->base, &options, &callbacks, hub, message, sizeof(message));
    bytes_wipe(&options.key, sizeof(options.key));
    if (hub->server == NULL) {
        hub_fail(hub, "%s", message);
        return false;
    }
    log_info("serving wallets on %s:%u", host, link_server_port(hub->server));
    write_port_file(hub, link_server_port(hub->server));
    return true;
}

/* ---- the tower ---- */

static void on_tower_ready(void *context, struct link *link, const struct address *peer,
                           const struct message *welcome)
{
    struct hub *hub = context;
    (void)link;
    (void)peer;
    (void)welcome;
    log_info("the watchtower at %s is here", hub->settings->tower);
    engine_tower(hub->engine, true);
    hub_turn_soon(hub);
}

static void on_tower_message(void *context, struct link *link, const struct message *message)
{
    struct hub *hub = context;
    (void)link;
    engine_message(hub->engine, ENGINE_PEER_TOWER, message);
    hub_turn_soon(hub);
}

static void on_tower_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct hub *hub = context;
    (void)link;
    (void)why;
    log_warn("the watchtower at %s: %s; trying again", hub->settings->tower, reason);
    hub->tower_link = NULL;
    if (hub->stopping)
        return;
    engine_tower(hub->engine, false);
    hub_turn_soon(hub);
    const struct timeval pause = {TOWER_RETRY_S, 0};
    event_add(hub->tower_retry, &pause);
}

void tower_connect(struct hub *hub)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    static const struct link_callbacks callbacks = {
        .ready = on_tower_ready, .message = on_tower_message, .closed = on_tower_closed};
    if (hub->settings->tower == NULL || hub->tower_link != NULL || hub->stopping)
        return;
    if (!endpoint_split(hub->settings->tower, host, &port)) {
        hub_fail(hub, "--tower %s is not ADDRESS:PORT", hub->settings->tower);
        return;
    }
    struct link_client_options options = {
        .host = host,
        .port = port,
        .key = hub->engine_settings.key,
        .chain_id = hub->engine_settings.domain.chain_id,
        .contract = hub->settings->contract,
        .server = hub->engine_settings.tower,
        .tower = true,
        .agent = "rill-hubd",
    };
    hub->tower_link = link_connect(hub->base, &options, &callbacks, hub);
    bytes_wipe(&options.key, sizeof(options.key));
}

/* ---- the end ---- */

void links_stop(struct hub *hub)
{
    if (hub->server == NULL)
        return;
    link_server_stop(hub->server);
    struct peer *peer, *next;
    HASH_ITER(hh, hub->peers, peer, next)
    {
        struct link *link = peer->link;
        forget(hub, peer);
        link_send_error(link, CODE_STOPPING, NULL, true, NULL);
    }
}

void links_free(struct hub *hub)
{
    if (hub->tower_link != NULL)
        link_close(hub->tower_link);
    hub->tower_link = NULL;
    struct peer *peer, *next;
    HASH_ITER(hh, hub->peers, peer, next)
    forget(hub, peer);
    if (hub->server != NULL)
        link_server_free(hub->server);
}
