/* The hub's links to its watchtowers: one to each, which all shards use. */
#include "base/ensure.h"
#include "hub/hub_state.h"

#define TOWER_RETRY_S 2

static const char *place_of(const struct hub_tower_link *tower, char text[HOST_BYTES_MAX + 8])
{
    const struct hub_tower_place *place = &tower->hub->settings->towers[tower->index];
    snprintf(text, HOST_BYTES_MAX + 8, "%s:%u", place->host, place->port);
    return text;
}

static void tell_shards(const struct hub_tower_link *tower, bool connected)
{
    for (uint32_t i = 0; i < tower->hub->shard_count; i++) {
        struct mail *mail = mail_new(MAIL_TOWER, 0, NULL, 0);
        mail->number = tower->index;
        mail->flag = connected;
        mailbox_post(tower->hub->shards[i].mailbox, mail);
    }
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct hub_tower_link *tower = context;
    char place[HOST_BYTES_MAX + 8];
    (void)link;
    (void)peer;
    (void)welcome;
    log_info("the watchtower at %s is here", place_of(tower, place));
    tell_shards(tower, true);
}

/* Which shard it is for only the shards know, by the channel that it names. */
static void on_message(void *context, struct link *link, const struct message *message)
{
    struct hub_tower_link *tower = context;
    (void)link;
    if (message->type != MESSAGE_RECEIPT && message->type != MESSAGE_ERROR)
        return;
    for (uint32_t i = 0; i < tower->hub->shard_count; i++) {
        struct mail *mail = mail_new(MAIL_TOWER_MESSAGE, 0, NULL, 0);
        mail->number = tower->index;
        mail->message = *message;
        if (message->type == MESSAGE_ERROR)
            mail->message.error.text =
                (struct text){"", 0}; /* it lives in the frame, which does not travel */
        mailbox_post(tower->hub->shards[i].mailbox, mail);
    }
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct hub_tower_link *tower = context;
    char place[HOST_BYTES_MAX + 8];
    (void)link;
    (void)why;
    log_warn("the watchtower at %s: %s; trying again", place_of(tower, place), reason);
    tower->link = NULL;
    if (tower->hub->stopping)
        return;
    tell_shards(tower, false);
    const struct timeval pause = {TOWER_RETRY_S, 0};
    event_add(tower->retry, &pause);
}

static void connect_to(struct hub_tower_link *tower)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    struct hub *hub = tower->hub;
    if (tower->link != NULL || hub->stopping)
        return;
    struct link_client_options options = {
        .host = hub->settings->towers[tower->index].host,
        .port = hub->settings->towers[tower->index].port,
        .key = hub->engine_settings.key,
        .chain_id = hub->engine_settings.domain.chain_id,
        .contract = hub->settings->contract,
        .server = hub->engine_settings.towers[tower->index].address,
        .tower = true,
        .agent = "rill-hubd",
    };
    tower->link = link_connect(hub->base, &options, &callbacks, tower);
    bytes_wipe(&options.key, sizeof(options.key));
}

static void on_retry(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    connect_to(context);
}

void tower_connect_all(struct hub *hub)
{
    for (size_t i = 0; i < hub->engine_settings.tower_count; i++) {
        struct hub_tower_link *tower = &hub->towers[i];
        tower->hub = hub;
        tower->index = i;
        tower->retry = event_new(hub->base, -1, 0, on_retry, tower);
        ensure(tower->retry != NULL);
        connect_to(tower);
    }
}

void tower_send(struct hub *hub, uint64_t index, const uint8_t *frame, size_t length)
{
    ensure(index < ENGINE_TOWERS_MAX);
    struct hub_tower_link *tower = &hub->towers[index];
    if (tower->link != NULL)
        link_send_frame(tower->link, frame, length);
}

void tower_close_all(struct hub *hub)
{
    for (size_t i = 0; i < ENGINE_TOWERS_MAX; i++) {
        struct hub_tower_link *tower = &hub->towers[i];
        if (tower->link != NULL)
            link_close(tower->link);
        tower->link = NULL;
        if (tower->retry != NULL)
            event_free(tower->retry);
    }
}
