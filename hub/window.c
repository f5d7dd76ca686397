/* What of the own streams is on its way to a client: sent on its link, and not acknowledged.
 *
 *     signed ─▶ unsent ─▶ under way ─ACK─▶ forgotten (channel/kept.c)
 *                  ▲           │
 *                  └─ RESUME ──┘ on a new link: all that is not acknowledged, in order, byte for byte
 *
 * A link on which too much waits is dropped with all of it (wire/link.h), and what made it too much would come again on
 * the next one: whoever has a slow line would never get in. So there are never more bytes on their way than fit a link
 * well, however many updates the protocol's window and a journal hold. What does not fit goes out as ACKs come, before
 * anything new is signed.
 */
#include "base/ensure.h"
#include "hub/engine_state.h"

#define UPDATE_HEAD_BYTES 256 /* all that is not the body: rather too much */

_Static_assert(CLIENT_UNDER_WAY_BYTES_MAX <= UINT32_MAX / 2, "the count of bytes under way has room");
_Static_assert(UNACKNOWLEDGED_MAX <= UINT8_MAX, "the count of unsent updates has room");

static uint32_t bytes_of(const struct kept_update *kept)
{
    return (uint32_t)(UPDATE_HEAD_BYTES + kept->body_length);
}

static void add_under_way(struct hub_channel *channel, uint32_t bytes)
{
    channel->under_way += bytes;
    channel->client->under_way += bytes;
}

static void take_under_way(struct hub_channel *channel, uint32_t bytes)
{
    ensure(channel->under_way >= bytes && channel->client->under_way >= bytes);
    channel->under_way -= bytes;
    channel->client->under_way -= bytes;
}

static uint64_t unacknowledged(const struct channel *machine)
{
    return machine->streams[SIDE_HUB].proof.nonce - machine->acknowledged;
}

static void send_update(struct engine *engine, struct hub_channel *channel, uint64_t nonce)
{
    const struct kept_update *kept = channel_kept(channel->channel, nonce);
    ensure(kept != NULL);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update =
        (struct update){channel->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
    engine_emit(engine, channel->client->peer, &message);
    add_under_way(channel, bytes_of(kept));
}

/* What is unsent, as far as there is room. */
static void send_more(struct engine *engine, struct hub_channel *channel)
{
    const struct channel *machine = channel->channel;
    if (channel->unsent > unacknowledged(machine)) /* had on an earlier link, or the channel is closed */
        channel->unsent = (uint8_t)unacknowledged(machine);
    for (; channel->unsent > 0 && window_has_room(channel); channel->unsent--)
        send_update(engine, channel, machine->streams[SIDE_HUB].proof.nonce - channel->unsent + 1);
}

/* There is room again: for what this client's channels have unsent, then for what is still to be signed. */
static void wake(struct engine *engine, const struct client *client)
{
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client) {
        send_more(engine, at);
        if (at->due_head != NULL || at->held_head != NULL)
            engine_touch(engine, at);
    }
}

void window_begin(struct engine *engine, struct hub_channel *channel)
{
    ensure(channel->resumed && channel->under_way == 0);
    channel->unsent = (uint8_t)unacknowledged(channel->channel);
    send_more(engine, channel);
}

void window_end(struct client *client)
{
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client)
        at->under_way = at->unsent = 0;
    client->under_way = 0;
}

void window_sealed(struct engine *engine, struct hub_channel *channel)
{
    if (!channel->resumed)
        return;
    channel->unsent++;
    send_more(engine, channel);
}

/* Of those up to the nonce, those that left on this link. */
static uint32_t bytes_up_to(const struct hub_channel *channel, uint64_t nonce)
{
    const struct channel *machine = channel->channel;
    uint64_t sent = machine->streams[SIDE_HUB].proof.nonce - channel->unsent;
    uint32_t bytes = 0;
    for (uint64_t at = machine->acknowledged + 1; at <= nonce && at <= sent; at++)
        bytes += bytes_of(channel_kept(machine, at));
    return bytes;
}

enum code window_acknowledged(struct engine *engine, struct hub_channel *channel, uint64_t nonce)
{
    uint64_t before = channel->channel->acknowledged;
    bool was_open = channel_has_window(channel);
    uint32_t bytes = channel->resumed ? bytes_up_to(channel, nonce) : 0;
    enum code code = channel_acknowledged(channel->channel, nonce);
    if (code != CODE_OK || channel->channel->acknowledged == before)
        return code;
    take_under_way(channel, bytes);
    if (!was_open)
        wake(engine, channel->client);
    return CODE_OK;
}

void window_look(struct engine *engine, struct hub_channel *channel)
{
    if (channel->under_way == 0 || unacknowledged(channel->channel) > 0)
        return;
    take_under_way(channel, channel->under_way);
    wake(engine, channel->client);
}
