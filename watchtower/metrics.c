#include "watchtower/shell_state.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/ensure.h"

/* Where there is one contract its figures have no label; where there are several each has its name. */
static void put_label(struct evbuffer *out, const struct post *post)
{
    if (post->shell->settings->post_count > 1)
        evbuffer_add_printf(out, "{name=\"%s\"}", post->settings->name);
}

static void put_head(struct evbuffer *out, const char *name, const char *type, const char *help)
{
    evbuffer_add_printf(out, "# HELP rill_tower_%s %s\n# TYPE rill_tower_%s %s\n", name, help, name, type);
}

static void put(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    put_head(out, name, type, help);
    evbuffer_add_printf(out, "rill_tower_%s %" PRIu64 "\n", name, value);
}

/* What is read of a post at one time. */
struct sight {
    const struct post *post;
    struct tower_figures figures;
    struct store_figures store;
};

struct figure {
    const char *name, *type, *help;
    uint64_t (*read)(const struct sight *sight);
};

#define READ(name, expression)                                                                               \
    static uint64_t read_##name(const struct sight *sight)                                                   \
    {                                                                                                        \
        return (expression);                                                                                 \
    }
READ(users, sight->figures.users)
READ(appointments, sight->figures.appointments)
READ(bytes, sight->figures.bytes)
READ(watches, sight->figures.watches)
READ(in_flight, sight->figures.responses_in_flight)
READ(alarms, sight->figures.alarms)
READ(alarms_raised, sight->figures.alarms_raised)
READ(missed, sight->figures.missed)
READ(received, sight->figures.received)
READ(receipts, sight->figures.receipts)
READ(refused, sight->figures.refused)
READ(fetched, sight->figures.fetched)
READ(head, sight->figures.head)
READ(confirmed, sight->figures.confirmed)
READ(out_of_gas_money, sight->figures.out_of_gas_money)
READ(spent, (uint64_t)(sight->figures.spent_today_wei / 1000000000u))
READ(over_budget, sight->figures.over_budget)
READ(reorganised, sight->figures.reorganised)
READ(connections, HASH_COUNT(sight->post->connections))
READ(outbox, outbox_bytes(sight->post->outbox))
READ(judging, sight->post->judging)
READ(batches, sight->store.batches)
READ(journal_bytes, sight->store.bytes)
READ(syncs, sight->store.syncs)
READ(trouble, *ledger_trouble(sight->post->ledger) != '\0')
READ(serves, sight->post->serves)

static const struct figure figures_of_posts[] = {
    {"serves", "gauge", "1 once the ledger has been asked and users are served.", read_serves},
    {"users", "gauge", "Users with an appointment.", read_users},
    {"appointments", "gauge", "Appointments kept: one per channel and side.", read_appointments},
    {"appointment_bytes", "gauge", "Memory of all appointments.", read_bytes},
    {"watches", "gauge", "Channels that need attention.", read_watches},
    {"responses_in_flight", "gauge", "Transactions sent and not confirmed yet.", read_in_flight},
    {"alarms", "gauge", "Deadlines that are close with the answer not mined.", read_alarms},
    {"alarms_raised_total", "counter", "Alarms since start.", read_alarms_raised},
    {"missed_total", "counter", "Answers that came too late.", read_missed},
    {"over_budget_total", "counter", "Answers that had to wait for the budget.", read_over_budget},
    {"spent_today_gwei", "gauge", "Gas paid for in the ledger's day, by what was confirmed.", read_spent},
    {"reorganised_total", "counter", "Reorganisations below what was confirmed.", read_reorganised},
    {"appoint_received_total", "counter", "APPOINT messages.", read_received},
    {"receipts_total", "counter", "RECEIPT messages.", read_receipts},
    {"refused_total", "counter", "Messages answered with ERROR.", read_refused},
    {"fetched_total", "counter", "FETCH messages answered with KEPT.", read_fetched},
    {"ledger_head", "gauge", "Newest block seen.", read_head},
    {"ledger_confirmed", "gauge", "Newest confirmed block.", read_confirmed},
    {"ledger_trouble", "gauge", "1 while the ledger node gives no good answers.", read_trouble},
    {"out_of_gas_money", "gauge", "1 while the account cannot pay for gas.", read_out_of_gas_money},
    {"connections", "gauge", "Connections of users.", read_connections},
    {"outbox_bytes", "gauge", "Frames that wait for the disk.", read_outbox},
    {"judging", "gauge", "Messages that are being verified.", read_judging},
    {"journal_batches_total", "counter", "Batches appended to the journal.", read_batches},
    {"journal_bytes_total", "counter", "Bytes appended to the journal.", read_journal_bytes},
    {"journal_syncs_total", "counter", "Syncs of the journal.", read_syncs},
};

static void put_responses(struct evbuffer *out, const char *name, const char *help,
                          const struct sight *sights, size_t count, size_t offset)
{
    put_head(out, name, "counter", help);
    for (size_t i = 0; i < count; i++) {
        const uint64_t *values = (const uint64_t *)(const void *)((const char *)&sights[i].figures + offset);
        for (unsigned kind = 0; kind < RESPONSE_KIND_COUNT; kind++) {
            evbuffer_add_printf(out, "rill_tower_%s{kind=\"%s\"", name,
                                response_name((enum response_kind)kind));
            if (count > 1)
                evbuffer_add_printf(out, ",name=\"%s\"", sights[i].post->settings->name);
            evbuffer_add_printf(out, "} %" PRIu64 "\n", values[kind]);
        }
    }
}

static void put_posts(struct evbuffer *out, const struct sight *sights, size_t count)
{
    for (size_t i = 0; i < ARRAY_LENGTH(figures_of_posts); i++) {
        const struct figure *figure = &figures_of_posts[i];
        put_head(out, figure->name, figure->type, figure->help);
        for (size_t j = 0; j < count; j++) {
            evbuffer_add_printf(out, "rill_tower_%s", figure->name);
            put_label(out, sights[j].post);
            evbuffer_add_printf(out, " %" PRIu64 "\n", figure->read(&sights[j]));
        }
    }
    put_responses(out, "responses_sent_total", "Responses handed to the ledger client.", sights, count,
                  offsetof(struct tower_figures, sent));
    put_responses(out, "responses_confirmed_total", "Responses mined and confirmed.", sights, count,
                  offsetof(struct tower_figures, mined));
    put_responses(out, "responses_failed_total", "Responses refused, mostly because another was faster.",
                  sights, count, offsetof(struct tower_figures, failed));
}

static void put_webhook(struct evbuffer *out, const struct webhook *webhook)
{
    struct webhook_figures figures = webhook_figures(webhook);
    put(out, "alarm_posts_waiting", "gauge", "Alarms that --alarm-url has not taken yet.", figures.waiting);
    put(out, "alarm_posts_delivered_total", "counter", "Alarms that --alarm-url has taken.",
        figures.delivered);
    put(out, "alarm_posts_failed_total", "counter", "Tries that --alarm-url did not take.", figures.failed);
    put(out, "alarm_posts_dropped_total", "counter", "Alarms dropped because too many waited.",
        figures.dropped);
}

static void on_metrics(struct evhttp_request *request, void *context)
{
    struct shell *shell = context;
    static struct sight sights[POSTS_MAX];
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    for (size_t i = 0; i < shell->settings->post_count; i++) {
        const struct post *post = &shell->posts[i];
        sights[i] = (struct sight){.post = post, .store = store_figures(post->journal)};
        if (post->tower != NULL)
            sights[i].figures = tower_figures(post->tower);
    }
    put_posts(out, sights, shell->settings->post_count);
    if (shell->webhook != NULL)
        put_webhook(out, shell->webhook);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "text/plain; version=0.0.4");
    evhttp_send_reply(request, HTTP_OK, "OK", out);
    evbuffer_free(out);
}

/* What is not well with a post; "" if all is. */
static const char *complaint(const struct post *post, char *text, size_t size)
{
    const char *trouble = ledger_trouble(post->ledger);
    if (*trouble != '\0')
        return trouble;
    if (!post->serves)
        return post->waiting_for;
    struct tower_figures figures = tower_figures(post->tower);
    if (figures.out_of_gas_money)
        return "the tower's account cannot pay for gas";
    if (figures.alarms == 0)
        return "";
    snprintf(text, size, "%" PRIu64 " deadline(s) close with the answer not mined", figures.alarms);
    return text;
}

/* One line each for what is not well; "ok" if all is. */
static void on_health(struct evhttp_request *request, void *context)
{
    struct shell *shell = context;
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    for (size_t i = 0; i < shell->settings->post_count; i++) {
        char text[128];
        const char *line = complaint(&shell->posts[i], text, sizeof text);
        if (*line == '\0')
            continue;
        if (shell->settings->post_count > 1)
            evbuffer_add_printf(out, "%s: ", shell->posts[i].settings->name);
        evbuffer_add_printf(out, "%s\n", line);
    }
    bool good = evbuffer_get_length(out) == 0;
    if (good)
        evbuffer_add_printf(out, "ok\n");
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
    evhttp_send_reply(request, good ? HTTP_OK : HTTP_SERVUNAVAIL, good ? "OK" : "Service Unavailable", out);
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
