/* GET /history: past payments of a client, a page at a time. The disk is read on a thread of its own, so that the
 * loop goes on serving payments meanwhile. One at a time: whoever comes during another's gets 503.
 *
 *     request ──▶ job: thread reads the page ──▶ eventfd ──▶ the loop joins it and replies
 *                  └─ the connection goes: the answer is dropped
 */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "hub/history.h"
#include "hub/hub_state.h"
#include "hub/transfer.h"

/* ---- a request ---- */

static bool read_number(const char *text, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 19)
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0';
}

/* A cursor is the rest of the last key, behind its owner. */
static bool read_cursor(const char *text, struct history_request *out)
{
    out->has_after =
        hex_decode(text, out->after + RECORD_OWNER_BYTES, HISTORY_KEY_BYTES - RECORD_OWNER_BYTES);
    return out->has_after;
}

static const char *read_values(struct evkeyvalq *values, struct history_request *out)
{
    bool has_client = false;
    for (const struct evkeyval *value = values->tqh_first; value != NULL; value = value->next.tqe_next) {
        if (strcmp(value->key, "client") == 0) {
            has_client = hex_decode(value->value, out->client.bytes, sizeof(out->client.bytes));
        } else if (strcmp(value->key, "since") == 0) {
            if (!read_number(value->value, &out->since))
                return "since is not a time: Unix seconds";
        } else if (strcmp(value->key, "until") == 0) {
            if (!read_number(value->value, &out->until))
                return "until is not a time: Unix seconds";
        } else if (strcmp(value->key, "limit") == 0) {
            if (!read_number(value->value, &out->limit) || out->limit < 1 || out->limit > HISTORY_LIMIT_MAX)
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

struct history_job {
    struct hub *hub;
    struct evhttp_request *request; /* NULL: its connection went away */
    struct history_request asked;
    struct event *event;
    int done; /* eventfd */
    pthread_t thread;
    struct buffer text;
    bool good;
};

static void reply_error(struct evhttp_request *request, int code, const char *text)
{
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    evbuffer_add_printf(body, "{\"error\":\"%s\"}\n", text);
    http_reply(request, code, "application/json", body);
}

/* The shard of the client has what it paid and was paid. */
static struct journal *job_journal(const struct history_job *job)
{
    struct hub *hub = job->hub;
    return hub->shards[shard_of_client(&job->asked.client, hub->shard_count)].journal;
}

static void *job_run(void *context)
{
    struct history_job *job = context;
    job->good = history_page(job_journal(job), &job->asked, &job->text);
    ensure(eventfd_write(job->done, 1) == 0);
    return NULL;
}

/* Takes the request away from the job, whose end its connection then no longer has to tell. */
static struct evhttp_request *job_request(struct history_job *job)
{
    struct evhttp_request *request = job->request;
    job->request = NULL;
    if (request != NULL)
        evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    return request;
}

static void job_free(struct history_job *job)
{
    pthread_join(job->thread, NULL);
    job->hub->history_job = NULL;
    event_free(job->event);
    close(job->done);
    buffer_free(&job->text);
    free(job);
}

static void on_done(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct history_job *job = context;
    struct evhttp_request *request = job_request(job);
    if (request != NULL && !job->good) {
        reply_error(request, 503, "the archive cannot be read: the hub's log says why");
    } else if (request != NULL) {
        struct evbuffer *body = evbuffer_new();
        ensure(body != NULL && evbuffer_add(body, job->text.data, job->text.length) == 0);
        http_reply(request, 200, "application/json", body);
    }
    job_free(job);
}

static void on_gone(struct evhttp_connection *connection, void *context)
{
    (void)connection;
    struct history_job *job = context;
    job->request = NULL;
}

void http_on_history(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct history_request asked;
    const char *wrong = history_parse(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), &asked);
    if (wrong != NULL) {
        reply_error(request, 400, wrong);
        return;
    }
    if (hub->settings->history_days == 0) {
        reply_error(request, 404, "this hub shows no past payments: --history-days says for how long");
        return;
    }
    if (!hub->serving || hub->stopping || hub->history_job != NULL) {
        reply_error(request, 503,
                    hub->history_job != NULL ? "another page is being read: ask again"
                                             : "the hub is not serving");
        return;
    }
    struct history_job *job = xcalloc(1, sizeof(*job));
    *job = (struct history_job){.hub = hub, .request = request, .asked = asked};
    job->done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(job->done >= 0);
    job->event = event_new(hub->base, job->done, EV_READ, on_done, job);
    ensure(job->event != NULL && event_add(job->event, NULL) == 0);
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, job);
    hub->history_job = job;
    ensure(pthread_create(&job->thread, NULL, job_run, job) == 0);
}

void http_history_end(struct hub *hub)
{
    if (hub->history_job == NULL)
        return;
    (void)job_request(hub->history_job);
    job_free(hub->history_job);
}
