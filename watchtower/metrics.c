#include "watchtower/shell_state.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/ensure.h"

static void put(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    evbuffer_add_printf(out, "# HELP rill_tower_%s %s\n# TYPE rill_tower_%s %s\nrill_tower_%s %" PRIu64 "\n",
                        name, help, name, type, name, value);
}

static void put_responses(struct evbuffer *out, const char *name, const char *help,
                          const uint64_t values[RESPONSE_KIND_COUNT])
{
    evbuffer_add_printf(out, "# HELP rill_tower_%s %s\n# TYPE rill_tower_%s counter\n", name, help, name);
    for (unsigned kind = 0; kind < RESPONSE_KIND_COUNT; kind++)
        evbuffer_add_printf(out, "rill_tower_%s{kind=\"%s\"} %" PRIu64 "\n", name,
                            response_name((enum response_kind)kind), values[kind]);
}

static void put_tower(struct evbuffer *out, const struct tower_figures *figures)
{
    put(out, "users", "gauge", "Users with an appointment.", figures->users);
    put(out, "appointments", "gauge", "Appointments kept: one per channel and side.", figures->appointments);
    put(out, "appointment_bytes", "gauge", "Memory of all appointments.", figures->bytes);
    put(out, "watches", "gauge", "Channels that need attention.", figures->watches);
    put(out, "responses_in_flight", "gauge", "Transactions sent and not confirmed yet.",
        figures->responses_in_flight);
    put(out, "alarms", "gauge", "Deadlines that are close with the answer not mined.", figures->alarms);
    put(out, "alarms_raised_total", "counter", "Alarms since start.", figures->alarms_raised);
    put(out, "missed_total", "counter", "Answers that came too late.", figures->missed);
    put(out, "appoint_received_total", "counter", "APPOINT messages.", figures->received);
    put(out, "receipts_total", "counter", "RECEIPT messages.", figures->receipts);
    put(out, "refused_total", "counter", "Messages answered with ERROR.", figures->refused);
    put(out, "fetched_total", "counter", "FETCH messages answered with KEPT.", figures->fetched);
    put_responses(out, "responses_sent_total", "Responses handed to the ledger client.", figures->sent);
    put_responses(out, "responses_confirmed_total", "Responses mined and confirmed.", figures->mined);
    put_responses(out, "responses_failed_total", "Responses refused, mostly because another was faster.",
                  figures->failed);
    put(out, "ledger_head", "gauge", "Newest block seen.", figures->head);
    put(out, "ledger_confirmed", "gauge", "Newest confirmed block.", figures->confirmed);
    put(out, "out_of_gas_money", "gauge", "1 while the account cannot pay for gas.",
        figures->out_of_gas_money);
}

static void on_metrics(struct evhttp_request *request, void *context)
{
    struct shell *shell = context;
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    if (shell->tower != NULL) {
        struct tower_figures figures = tower_figures(shell->tower);
        put_tower(out, &figures);
    }
    put(out, "connections", "gauge", "Connections of users.", HASH_COUNT(shell->connections));
    put(out, "outbox_bytes", "gauge", "Frames that wait for the disk.", outbox_bytes(shell->outbox));
    struct store_figures store = store_figures(shell->journal);
    put(out, "journal_batches_total", "counter", "Batches appended to the journal.", store.batches);
    put(out, "journal_bytes_total", "counter", "Bytes appended to the journal.", store.bytes);
    put(out, "journal_syncs_total", "counter", "Syncs of the journal.", store.syncs);
    put(out, "ledger_trouble", "gauge", "1 while the ledger node gives no good answers.",
        *ledger_trouble(shell->ledger) != '\0');
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "text/plain; version=0.0.4");
    evhttp_send_reply(request, HTTP_OK, "OK", out);
    evbuffer_free(out);
}

/* One line: what is not well; "" if all is. */
static const char *complaint(const struct shell *shell, char *text, size_t size)
{
    const char *trouble = ledger_trouble(shell->ledger);
    if (*trouble != '\0')
        return trouble;
    if (shell->tower == NULL)
        return shell->waiting_for;
    struct tower_figures figures = tower_figures(shell->tower);
    if (figures.out_of_gas_money)
        return "the tower's account cannot pay for gas";
    if (figures.alarms == 0)
        return "";
    snprintf(text, size, "%" PRIu64 " deadline(s) close with the answer not mined", figures.alarms);
    return text;
}

static void on_health(struct evhttp_request *request, void *context)
{
    char text[128];
    const char *line = complaint(context, text, sizeof text);
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    evbuffer_add_printf(out, "%s\n", *line == '\0' ? "ok" : line);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
    if (*line == '\0')
        evhttp_send_reply(request, HTTP_OK, "OK", out);
    else
        evhttp_send_reply(request, HTTP_SERVUNAVAIL, "Service Unavailable", out);
    evbuffer_free(out);
}

bool metrics_listen(struct shell *shell, char *message, size_t message_size)
{
    shell->http = evhttp_new(shell->base);
    ensure(shell->http != NULL);
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(shell->http, shell->settings->http_host, shell->settings->http_port);
    if (bound == NULL) {
        snprintf(message, message_size, "metrics: cannot listen on %s:%u: %s (choose another --http)",
                 shell->settings->http_host, shell->settings->http_port, strerror(errno));
        return false;
    }
    shell->http_port = endpoint_bound_port(evhttp_bound_socket_get_fd(bound));
    evhttp_set_allowed_methods(shell->http, EVHTTP_REQ_GET);
    evhttp_set_max_headers_size(shell->http, 8192);
    evhttp_set_max_body_size(shell->http, 0);
    evhttp_set_timeout(shell->http, 10);
    evhttp_set_cb(shell->http, "/metrics", on_metrics, shell);
    evhttp_set_cb(shell->http, "/healthz", on_health, shell);
    return true;
}

void metrics_free(struct shell *shell)
{
    if (shell->http != NULL)
        evhttp_free(shell->http);
    shell->http = NULL;
}
