/* GET /history: past payments of a client, a page at a time. */
#include <event2/keyvalq_struct.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/history.h"
#include "hub/http_job.h"
#include "hub/http_query.h"
#include "hub/hub_state.h"
#include "hub/transfer.h"

/* ---- a request ---- */

/* A cursor is the rest of the last key, behind its owner, and the number in its record. */
static bool read_cursor(const char *text, struct history_request *out)
{
    uint8_t cursor[HISTORY_CURSOR_BYTES];
    const size_t rest = HISTORY_KEY_BYTES - RECORD_OWNER_BYTES;
    out->has_after = hex_decode(text, cursor, sizeof(cursor));
    if (!out->has_after)
        return false;
    memcpy(out->after + RECORD_OWNER_BYTES, cursor, rest);
    out->after_number = load_be16(cursor + rest);
    return true;
}

static const char *read_values(struct evkeyvalq *values, struct history_request *out)
{
    bool has_client = false;
    for (const struct evkeyval *value = values->tqh_first; value != NULL; value = value->next.tqe_next) {
        if (strcmp(value->key, "client") == 0) {
            has_client = hex_decode(value->value, out->client.bytes, sizeof(out->client.bytes));
        } else if (strcmp(value->key, "since") == 0) {
            if (!http_read_number(value->value, &out->since))
                return "since is not a time: Unix seconds";
        } else if (strcmp(value->key, "until") == 0) {
            if (!http_read_number(value->value, &out->until))
                return "until is not a time: Unix seconds";
        } else if (strcmp(value->key, "limit") == 0) {
            if (!http_read_number(value->value, &out->limit) || out->limit < 1 ||
                out->limit > HISTORY_LIMIT_MAX)
                return "limit is not a number from 1 to 1000";
        } else if (strcmp(value->key, "cursor") == 0) {
            if (!read_cursor(value->value, out))
                return "cursor is not one of ours: take it from the last answer's next";
        } else {
            return "only client, since, until, limit and cursor can be given";
        }
    }
    if (!has_client)
        return "client=0x… is missing: the address whose payments are wanted";
    memcpy(out->after, out->client.bytes, sizeof(out->client.bytes));
    return NULL;
}

const char *history_parse(const char *query, struct history_request *out)
{
    struct evkeyvalq values = {0};
    *out = (struct history_request){.until = UINT64_MAX, .limit = HISTORY_LIMIT_USUAL};
    if (query == NULL || evhttp_parse_query_str(query, &values) != 0)
        return "client=0x… is missing: the address whose payments are wanted";
    const char *wrong = read_values(&values, out);
    evhttp_clear_headers(&values);
    return wrong;
}

/* ---- a page, beside the loop ---- */

struct history_work {
    struct journal *journal;
    struct history_request asked;
};

static int read_page(void *context, const _Atomic bool *gone, struct buffer *text)
{
    struct history_work *work = context;
    (void)gone; /* a page is short */
    if (history_page(work->journal, &work->asked, text))
        return 200;
    buffer_clear(text);
    return http_write_error(text, 503, "the archive cannot be read: the hub's log says why");
}

void http_on_history(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct history_request asked;
    const char *wrong = history_parse(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), &asked);
    if (wrong != NULL) {
        http_reply_error(request, 400, wrong);
        return;
    }
    if (hub->settings->history_days == 0) {
        http_reply_error(request, 404, "this hub shows no past payments: --history-days says for how long");
        return;
    }
    struct history_work *work = xmalloc(sizeof(*work));
    /* The shard of the client has what it paid and was paid. */
    *work =
        (struct history_work){hub->shards[shard_of_client(&asked.client, hub->shard_count)].journal, asked};
    http_job_start(hub, request, read_page, work);
}
