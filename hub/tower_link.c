/* The hub's one link to its watchtower, which all shards use. */
#include "base/ensure.h"
#include "hub/hub_state.h"

#define TOWER_RETRY_S 2

static void tell_shards(struct hub *hub, bool connected)
{
    hub_post_all(hub, MAIL_TOWER, connected);
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct hub *hub = context;
    (void)link;
    (void)peer;
    (void)welcome;
    log_info("the watchtower at %s is here", hub->settings->tower);
    tell_shards(hub, true);
}

/* Which shard it is for only the shards know, by the channel that it names. */
static void on_message(void *context, struct link *link, const struct message *message)
{
    struct hub *hub = context;
    (void)link;
    if (message->type != MESSAGE_RECEIPT && message->type != MESSAGE_ERROR)
        return;
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        struct mail *mail = mail_new(MAIL_TOWER_MESSAGE, 0, NULL, 0);
        mail->message = *message;
        if (message->type == MESSAGE_ERROR)
            mail->message.error.text =
                (struct text){"", 0}; /* it lives in the frame, which does not travel */
        mailbox_post(hub->shards[i].mailbox, mail);
    }
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct hub *hub = context;
    (void)link;
    (void)why;
    log_warn("the watchtower at %s: %s; trying again", hub->settings->tower, reason);
    hub->tower_link = NULL;
    if (hub->stopping)
        return;
    tell_shards(hub, false);
    const struct timeval pause = {TOWER_RETRY_S, 0};
    event_add(hub->tower_retry, &pause);
}

void tower_connect(struct hub *hub)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
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

void tower_send(struct hub *hub, const uint8_t *frame, size_t length)
{
    if (hub->tower_link != NULL)
        link_send_frame(hub->tower_link, frame, length);
}

void tower_close(struct hub *hub)
{
    if (hub->tower_link != NULL)
        link_close(hub->tower_link);
    hub->tower_link = NULL;
}
