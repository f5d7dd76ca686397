/* GET /prove: the path from a balance proof's digest to the journal root of a settled batch (hub/leaves.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/http_job.h"
#include "hub/http_query.h"
#include "hub/hub_state.h"
#include "hub/leaves.h"

struct prove_work {
    struct hash digest;
    uint64_t time;
    uint32_t count;
    struct journal *journals[SHARDS_MAX];
};

static const char *parse(const char *query, struct prove_work *out)
{
    const struct http_value values[] = {
        {"digest", out->digest.bytes, sizeof(out->digest.bytes), NULL, false},
        {"time", NULL, 0, &out->time, true},
    };
    return http_read_query(query, values, ARRAY_LENGTH(values),
                           "only digest, 32 bytes, and time, Unix seconds, can be given",
                           "digest=0x… is missing: the digest of the balance proof that is to be proven");
}

static void write_settled(const struct leaf_proof *proof, struct buffer *text)
{
    char root[HASH_TEXT_SIZE], transaction[HASH_TEXT_SIZE];
    buffer_printf(text,
                  ",\"state\":\"settled\",\"batch\":%" PRIu64 ",\"block\":%" PRIu64
                  ",\"transaction\":\"%s\",\"root\":\"%s\",\"position\":%" PRIu64 ",\"leaves\":%" PRIu64
                  ",\"path\":[",
                  proof->batch, proof->block, hash_text(&proof->transaction, transaction),
                  hash_text(&proof->root, root), proof->position, proof->leaves);
    for (size_t i = 0; i < proof->length; i++)
        buffer_printf(text, "%s\"%s\"", i == 0 ? "" : ",", hash_text(&proof->path[i], root));
    buffer_printf(text, "]}\n");
}

static int prove(void *context, const _Atomic bool *gone, struct buffer *text)
{
    struct prove_work *work = context;
    struct leaf_proof proof;
    char digest[HASH_TEXT_SIZE];
    enum leaf_state state = leaf_prove(work->journals, work->count, &work->digest, work->time, gone, &proof);
    switch (state) {
    case LEAF_SETTLED:
    case LEAF_WAITING:
        buffer_printf(text, "{\"digest\":\"%s\"", hash_text(&work->digest, digest));
        if (state == LEAF_SETTLED)
            write_settled(&proof, text);
        else
            buffer_printf(text, ",\"state\":\"waiting\"}\n");
        return 200;
    case LEAF_UNKNOWN:
        return http_write_error(text, 404,
                                "no balance proof of this digest was accepted or signed here in the days "
                                "that are kept");
    case LEAF_PRUNED:
        return http_write_error(text, 404, "the batch is too old: --history-days says what is kept");
    case LEAF_DAMAGED:
        return http_write_error(text, 503, "the archive cannot be read: the hub's log says why");
    case LEAF_STOPPED:
        break;
    }
    return http_write_error(text, 503, "the hub is stopping");
}

void http_on_prove(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct prove_work *work = xcalloc(1, sizeof(*work));
    const char *wrong = parse(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), work);
    if (wrong != NULL) {
        http_reply_error(request, 400, wrong);
        free(work);
        return;
    }
    work->count = hub->shard_count;
    for (uint32_t i = 0; i < hub->shard_count; i++)
        work->journals[i] = hub->shards[i].journal;
    http_job_start(hub, request, prove, work);
}
