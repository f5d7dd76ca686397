#include "watchtower/shell_state.h"

#include <stdlib.h>

#include "base/ensure.h"

/* Above this the frames that wait for the disk hold back those who cause them. */
#define OUTBOX_BYTES_MAX (16 * 1024 * 1024)

static bool must_wait(const struct shell *shell)
{
    return tower_busy(shell->tower) || outbox_bytes(shell->outbox) > OUTBOX_BYTES_MAX;
}

static void connection_forget(struct shell *shell, struct connection *connection)
{
    HASH_DEL(shell->connections, connection);
    HASH_DELETE(by_user, shell->users, connection);
    free(connection);
}

/* A newer connection of a user replaces the older one. */
static void replace_older(struct shell *shell, const struct address *user)
{
    struct connection *older;
    HASH_FIND(by_user, shell->users, user->bytes, sizeof user->bytes, older);
    if (older == NULL)
        return;
    struct link *link = older->link;
    link_set_user(link, NULL);
    connection_forget(shell, older);
    link_send_error(link, CODE_REPLACED, NULL, true, NULL);
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct shell *shell = context;
    static const struct terms no_terms; /* a tower has none */
    (void)welcome;
    replace_older(shell, peer);
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->number = ++shell->next_connection;
    connection->user = *peer;
    connection->link = link;
    HASH_ADD(hh, shell->connections, number, sizeof connection->number, connection);
    HASH_ADD(by_user, shell->users, user.bytes, sizeof connection->user.bytes, connection);
    link_set_user(link, connection);
    struct message message = {.type = MESSAGE_WELCOME};
    message.welcome.terms = &no_terms;
    link_send(link, &message);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct shell *shell = context;
    struct connection *connection = link_user(link);
    if (connection == NULL)
        return; /* replaced: it is being closed */
    if (message->type == MESSAGE_ERROR) {
        log_debug("a user says: %s %.*s", code_name(message->error.code), (int)message->error.text.length,
                  message->error.text.data);
        return;
    }
    uint64_t refused = tower_figures(shell->tower).refused;
    tower_message(shell->tower, connection->number, &connection->user, message);
    if (tower_figures(shell->tower).refused != refused)
        link_charge(link);
    if (must_wait(shell) && !connection->paused) {
        connection->paused = true;
        link_pause(link, true);
    }
    shell_flush(shell);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct shell *shell = context;
    struct connection *connection = link_user(link);
    char text[ADDRESS_TEXT_SIZE];
    if (connection != NULL) {
        log_debug("connection of %s closed: %s", address_text(&connection->user, text), reason);
        connection_forget(shell, connection);
    } else if (why != LINK_CLOSED_PEER && why != LINK_CLOSED_SELF) {
        log_debug("connection closed: %s", reason);
    }
}

bool peers_listen(struct shell *shell, const struct domain *domain, char *message, size_t message_size)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    const struct shell_settings *settings = shell->settings;
    struct link_server_options options = {.host = settings->listen_host,
                                          .port = settings->listen_port,
                                          .identity = shell->identity,
                                          .key = settings->key,
                                          .domain = *domain,
                                          .connections_max = settings->connections_max,
                                          .tower = true};
    shell->server = link_server_new(shell->base, &options, &callbacks, shell, message, message_size);
    bytes_wipe(&options.key, sizeof options.key);
    return shell->server != NULL;
}

void peers_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct shell *shell = context;
    struct connection *connection;
    HASH_FIND(hh, shell->connections, &peer, sizeof peer, connection);
    if (connection != NULL)
        link_send_frame(connection->link, frame, length);
}

void peers_resume(struct shell *shell)
{
    if (shell->tower == NULL || must_wait(shell))
        return;
    struct connection *connection, *next;
    HASH_ITER(hh, shell->connections, connection, next)
    {
        if (!connection->paused)
            continue;
        connection->paused = false;
        link_pause(connection->link, false);
    }
}

void peers_dismiss(struct shell *shell)
{
    struct connection *connection, *next;
    HASH_ITER(hh, shell->connections, connection, next)
    {
        link_send_error(connection->link, CODE_STOPPING, NULL, true, NULL);
    }
}

void peers_free(struct shell *shell)
{
    if (shell->server != NULL)
        link_server_free(shell->server);
    shell->server = NULL;
    struct connection *connection, *next;
    HASH_ITER(hh, shell->connections, connection, next)
    {
        connection_forget(shell, connection);
    }
}
