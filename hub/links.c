/* A shard's connections: the clients that came to it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/hub_state.h"
#include "hub/transfer.h"

static struct peer *find(struct shard *shard, uint64_t handle)
{
    struct peer *peer;
    HASH_FIND(hh, shard->peers, &handle, sizeof(handle), peer);
    return peer;
}

void links_deliver(void *context, uint64_t handle, const uint8_t *frame, size_t length)
{
    struct shard *shard = context;
    if (handle <= ENGINE_PEER_TOWER_LAST) {
        struct mail *mail = mail_new(MAIL_TOWER_FRAME, shard->index, frame, length);
        mail->number = handle - ENGINE_PEER_TOWER;
        mailbox_post(shard->hub->mailbox, mail);
        return;
    }
    struct peer *peer = find(shard, handle);
    if (peer != NULL)
        link_send_frame(peer->link, frame, length);
}

static void forget(struct shard *shard, struct peer *peer)
{
    link_set_user(peer->link, NULL);
    HASH_DELETE(hh, shard->peers, peer);
    free(peer);
}

void links_disconnect(struct shard *shard, uint64_t handle, enum code code)
{
    struct peer *peer = find(shard, handle);
    if (peer == NULL)
        return;
    struct link *link = peer->link;
    forget(shard, peer);
    link_send_error(link, code, NULL, true, NULL);
}

static void on_ready(void *context, struct link *link, const struct address *address,
                     const struct message *welcome)
{
    struct shard *shard = context;
    (void)welcome;
    if (shard->is_broken) {
        link_close(link);
        return;
    }
    struct peer *peer = xcalloc(1, sizeof(*peer));
    peer->handle = shard->next_handle++;
    peer->link = link;
    HASH_ADD(hh, shard->peers, handle, sizeof(peer->handle), peer);
    link_set_user(link, peer);
    engine_connected(shard->engine, peer->handle, address);
    shard_turn_soon(shard);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct shard *shard = context;
    struct peer *peer = link_user(link);
    if (peer == NULL)
        return; /* it has been replaced */
    /* A client may be dropped for what it says. */
    uint64_t handle = peer->handle, errors = engine_errors_said(shard->engine);
    engine_message(shard->engine, handle, message);
    if (engine_errors_said(shard->engine) != errors && (peer = find(shard, handle)) != NULL)
        link_charge(peer->link);
    if (!engine_can_wait(shard->engine)) /* else the next message ends the turn, or the tick */
        shard_turn_soon(shard);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct shard *shard = context;
    struct peer *peer = link_user(link);
    log_debug("a link closed (%d): %s", (int)why, reason);
    if (peer == NULL)
        return;
    uint64_t handle = peer->handle;
    forget(shard, peer);
    engine_disconnected(shard->engine, handle);
    shard_turn_soon(shard);
}

/* A client at the wrong door is told the right one. */
static bool on_elsewhere(void *context, const struct address *client, char host[HOST_BYTES_MAX + 1],
                         uint16_t *port)
{
    const struct shard *shard = context;
    struct hub *hub = shard->hub;
    uint32_t right = shard_of_client(client, hub->shard_count);
    if (right == shard->index)
        return false;
    snprintf(host, HOST_BYTES_MAX + 1, "%s", hub->public_host);
    *port = hub->shards[right].port;
    return true;
}

bool links_listen(struct shard *shard)
{
    char host[HOST_BYTES_MAX + 1], message[512];
    const struct hub *hub = shard->hub;
    uint16_t port;
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    ensure(endpoint_split(hub->settings->listen, host, &port)); /* hub.c has looked */
    struct link_server_options options = {
        .host = host,
        .port = shard->port,
        .identity = hub->identity,
        .key = hub->engine_settings.key,
        .domain = hub->engine_settings.domain,
        .connections_max = (uint32_t)hub->settings->connections_max,
        .elsewhere = hub->shard_count > 1 ? on_elsewhere : NULL,
    };
    shard->server = link_server_new(shard->base, &options, &callbacks, shard, message, sizeof(message));
    bytes_wipe(&options.key, sizeof(options.key));
    if (shard->server == NULL) {
        shard_fail(shard, "%s", message);
        return false;
    }
    shard->port = link_server_port(shard->server);
    log_info("serving wallets on %s:%u", host, shard->port);
    return true;
}

void links_stop(struct shard *shard)
{
    if (shard->server == NULL)
        return;
    link_server_stop(shard->server);
    struct peer *peer, *next;
    HASH_ITER(hh, shard->peers, peer, next)
    {
        struct link *link = peer->link;
        forget(shard, peer);
        link_send_error(link, CODE_STOPPING, NULL, true, NULL);
    }
}

void links_free(struct shard *shard)
{
    struct peer *peer, *next;
    HASH_ITER(hh, shard->peers, peer, next)
    forget(shard, peer);
    if (shard->server != NULL)
        link_server_free(shard->server);
    shard->server = NULL;
}
