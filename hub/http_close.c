/* /close: what it would mean that the operator closes a channel without its client (GET), and doing it (POST). */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/hub_state.h"

struct asked {
    struct hash channel;
    bool found, acted;
    struct engine_close_look look;
};

static void look(const struct engine *engine, void *context)
{
    struct asked *asked = context;
    if (!asked->found)
        asked->found = engine_close_look(engine, &asked->channel, &asked->look);
}

static void close_it(struct engine *engine, void *context)
{
    struct asked *asked = context;
    asked->look.code = engine_close(engine, &asked->channel);
    asked->acted = true;
}

/* The only thing that can be asked with. */
static bool read_channel(const char *query, struct hash *out)
{
    struct evkeyvalq values = {0};
    bool good = false;
    if (query == NULL || evhttp_parse_query_str(query, &values) != 0)
        return false;
    for (const struct evkeyval *value = values.tqh_first; value != NULL; value = value->next.tqe_next)
        good = strcmp(value->key, "channel") == 0 && hex_decode(value->value, out->bytes, sizeof(out->bytes));
    evhttp_clear_headers(&values);
    return good;
}

static void refuse(struct evhttp_request *request, int code, const char *why)
{
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    evbuffer_add_printf(body, "{\"error\":\"%s\"}\n", why);
    http_reply(request, code, "application/json", body);
}

static const char *refusal(enum code code)
{
    return code == CODE_SETTLE ? "a settlement is under way in this channel: once it is over"
                               : "the channel is not open, or it is being closed already";
}

static void say(struct evhttp_request *request, const struct asked *asked, bool closing)
{
    const struct engine_close_look *seen = &asked->look;
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    evbuffer_add_printf(body,
                        "{\"closing\":%s,\"channel\":\"%s\",\"client\":\"%s\",\"asset\":\"%s\",\"online\":%s,"
                        "\"client_units\":%" PRId64 ",\"hub_units\":%" PRId64 ",\"locks\":%" PRIu64
                        ",\"locked_client\":%" PRIu64 ",\"locked_hub\":%" PRIu64 "}\n",
                        closing ? "true" : "false", hash_text(&asked->channel, (char[HASH_TEXT_SIZE]){0}),
                        address_text(&seen->client, (char[ADDRESS_TEXT_SIZE]){0}),
                        address_text(&seen->asset, (char[ADDRESS_TEXT_SIZE]){0}),
                        seen->is_online ? "true" : "false", (int64_t)seen->client_units,
                        (int64_t)seen->hub_units, seen->locks, seen->locked_client, seen->locked_hub);
    http_reply(request, 200, "application/json", body);
}

/* Said to be done only once a crash cannot undo it. */
static void close_now(struct hub *hub, uint32_t shard, struct evhttp_request *request, struct asked *asked)
{
    shard_act(&hub->shards[shard], close_it, asked);
    if (!asked->acted)
        refuse(request, 503, "the hub is stopping");
    else if (asked->look.code != CODE_OK)
        refuse(request, 409, refusal(asked->look.code));
    else
        say(request, asked, true);
}

void http_on_close(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct asked asked = {.found = false};
    uint32_t shard = 0;
    if (!read_channel(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), &asked.channel)) {
        refuse(request, 400, "channel=0x and 64 digits is missing: whose channel id it is");
        return;
    }
    for (; shard < hub->shard_count && !asked.found; shard += !asked.found)
        shard_ask(&hub->shards[shard], look, &asked);
    if (!hub->serving) {
        refuse(request, 503, "the hub does not serve yet");
    } else if (!asked.found) {
        refuse(request, 404, "this hub has no such channel");
    } else if (asked.look.code != CODE_OK) {
        refuse(request, 409, refusal(asked.look.code));
    } else if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        say(request, &asked, false);
    } else {
        close_now(hub, shard, request, &asked);
    }
}
