#include "watchtower/shell_state.h"

#include <stdlib.h>

#include "base/ensure.h"

/* Above this the frames that wait for the disk hold back those who cause them. */
#define OUTBOX_BYTES_MAX (16 * 1024 * 1024)
/* Above this many messages with the workers, too. */
#define JUDGING_MAX 1024

static bool must_wait(const struct post *post)
{
    return tower_busy(post->tower) || post->judging > JUDGING_MAX ||
           outbox_bytes(post->outbox) > OUTBOX_BYTES_MAX;
}

static void connection_forget(struct post *post, struct connection *connection)
{
    post->paused -= connection->paused;
    HASH_DEL(post->connections, connection);
    HASH_DELETE(by_user, post->users, connection);
    free(connection);
}

/* A newer connection of a user replaces the older one. */
static void replace_older(struct post *post, const struct address *user)
{
    struct connection *older;
    HASH_FIND(by_user, post->users, user->bytes, sizeof user->bytes, older);
    if (older == NULL)
        return;
    struct link *link = older->link;
    link_set_user(link, NULL);
    connection_forget(post, older);
    link_send_error(link, CODE_REPLACED, NULL, true, NULL);
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct post *post = context;
    static const struct terms no_terms; /* a tower has none */
    (void)welcome;
    replace_older(post, peer);
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->number = ++post->next_connection;
    connection->post = post;
    connection->user = *peer;
    connection->link = link;
    HASH_ADD(hh, post->connections, number, sizeof connection->number, connection);
    HASH_ADD(by_user, post->users, user.bytes, sizeof connection->user.bytes, connection);
    link_set_user(link, connection);
    struct message message = {.type = MESSAGE_WELCOME};
    message.welcome.terms = &no_terms;
    link_send(link, &message);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct post *post = context;
    struct connection *connection = link_user(link);
    if (connection == NULL)
        return; /* replaced: it is being closed */
    if (message->type == MESSAGE_ERROR) {
        log_debug("a user says: %s %.*s", code_name(message->error.code), (int)message->error.text.length,
                  message->error.text.data);
        return;
    }
    post->judging++;
    crew_put(post->shell->crew, &(struct crew_job){.owner = post,
                                                   .rules = tower_rules(post->tower),
                                                   .peer = connection->number,
                                                   .user = connection->user,
                                                   .message = *message});
    if (must_wait(post) && !connection->paused) {
        connection->paused = true;
        post->paused++;
        link_pause(link, true);
    }
}

void peers_charge(struct post *post, uint64_t before)
{
    struct connection *connection;
    if (tower_refused(post->tower) == before)
        return;
    HASH_FIND(hh, post->connections, &post->refused_peer, sizeof post->refused_peer, connection);
    if (connection != NULL)
        link_charge(connection->link);
}

void peers_judged(void *context, struct crew_job *job)
{
    struct post *post = job->owner;
    (void)context;
    post->judging--;
    if (post->shell->stopping)
        return; /* nothing is promised any more */
    uint64_t refused = tower_refused(post->tower);
    if (job->message.type == MESSAGE_APPOINT) {
        tower_appoint(post->tower, job->peer, &job->verdict);
        job->verdict.fresh = NULL;
    } else {
        tower_message(post->tower, job->peer, &job->user, &job->message);
    }
    peers_charge(post, refused);
    post_flush(post);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct post *post = context;
    struct connection *connection = link_user(link);
    char text[ADDRESS_TEXT_SIZE];
    if (connection != NULL) {
        log_debug("connection of %s closed: %s", address_text(&connection->user, text), reason);
        connection_forget(post, connection);
    } else if (why != LINK_CLOSED_PEER && why != LINK_CLOSED_SELF) {
        log_debug("connection closed: %s", reason);
    }
}

bool peers_listen(struct post *post, const struct domain *domain, char *message, size_t message_size)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    const struct shell_settings *settings = post->shell->settings;
    struct link_server_options options = {.host = post->settings->listen_host,
                                          .port = post->settings->listen_port,
                                          .identity = post->shell->identity,
                                          .key = settings->key,
                                          .domain = *domain,
                                          .connections_max = settings->connections_max,
                                          .tower = true};
    post->server = link_server_new(post->shell->base, &options, &callbacks, post, message, message_size);
    bytes_wipe(&options.key, sizeof options.key);
    return post->server != NULL;
}

void peers_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct post *post = context;
    struct connection *connection;
    HASH_FIND(hh, post->connections, &peer, sizeof peer, connection);
    if (connection != NULL)
        link_send_frame(connection->link, frame, length);
}

void peers_resume(struct post *post)
{
    if (post->paused == 0 || must_wait(post))
        return;
    struct connection *connection, *next;
    HASH_ITER(hh, post->connections, connection, next)
    {
        if (!connection->paused)
            continue;
        connection->paused = false;
        post->paused--;
        link_pause(connection->link, false);
    }
}

void peers_dismiss(struct post *post)
{
    struct connection *connection, *next;
    HASH_ITER(hh, post->connections, connection, next)
    {
        link_send_error(connection->link, CODE_STOPPING, NULL, true, NULL);
    }
}

void peers_free(struct post *post)
{
    if (post->server != NULL)
        link_server_free(post->server);
    post->server = NULL;
    struct connection *connection, *next;
    HASH_ITER(hh, post->connections, connection, next)
    {
        connection_forget(post, connection);
    }
}
