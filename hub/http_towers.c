/* GET /tower-evidence: what the hub's watchtowers have signed for in a channel, in the form that `rill tower verify` reads. */
#include <event2/buffer.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "hub/http_job.h"
#include "hub/http_query.h"
#include "hub/hub_state.h"

struct gathered {
    struct hash channel;
    size_t count;
    struct evidence evidence[ENGINE_TOWERS_MAX];
};

static void gather(const struct engine *engine, void *context)
{
    struct gathered *all = context;
    if (all->count == 0) /* a channel is in one shard */
        all->count = engine_tower_evidence(engine, &all->channel, all->evidence);
}

void http_on_tower_evidence(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct gathered all = {.count = 0};
    const struct http_value value = {"channel", all.channel.bytes, sizeof(all.channel.bytes), NULL, false};
    const char *wrong = http_read_query(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), &value,
                                        1, "only channel, 0x and 64 digits, can be given",
                                        "channel=0x and 64 digits is missing: whose channel id it is");
    if (wrong != NULL) {
        http_reply_error(request, 400, wrong);
        return;
    }
    if (hub->recovered < hub->shard_count) {
        http_reply_error(request, 503, "the hub does not serve yet");
        return;
    }
    for (uint32_t i = 0; i < hub->shard_count; i++)
        shard_ask(&hub->shards[i], gather, &all);
    json_t *list = json_array();
    for (size_t i = 0; i < all.count; i++)
        json_array_append_new(list, evidence_json(&all.evidence[i]));
    json_t *answer = json_pack("{s:o}", "evidence", list);
    char *text = json_dumps(answer, JSON_COMPACT);
    struct evbuffer *body = evbuffer_new();
    ensure(text != NULL && body != NULL);
    evbuffer_add_printf(body, "%s\n", text);
    free(text);
    json_decref(answer);
    http_reply(request, 200, "application/json", body);
}
