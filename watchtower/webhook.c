#include "watchtower/webhook.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/http_post.h"

#define TIMEOUT_MS    10000
#define ANSWER_MAX    65536
#define RETRY_S_FIRST 1
#define RETRY_S_MAX   60

struct webhook {
    struct event_base *base;
    struct evdns_base *names;
    struct http_target target;
    struct http_link *link;
    struct event *next;
    char *waiting[WEBHOOK_WAITING_MAX]; /* a ring, the oldest at `first` */
    size_t first, count;
    unsigned failures;
    bool first_is_sent; /* the oldest is under way */
    struct webhook_figures figures;
};

static void schedule(struct webhook *webhook, unsigned wait_s)
{
    const struct timeval wait = {wait_s, 0};
    event_add(webhook->next, &wait);
}

static void drop_first(struct webhook *webhook)
{
    free(webhook->waiting[webhook->first]);
    webhook->waiting[webhook->first] = NULL;
    webhook->first = (webhook->first + 1) % WEBHOOK_WAITING_MAX;
    webhook->count--;
}

static void not_taken(struct webhook *webhook, const char *why)
{
    unsigned wait_s = RETRY_S_FIRST;
    for (unsigned i = 0; i < webhook->failures && wait_s < RETRY_S_MAX; i++)
        wait_s *= 2;
    if (wait_s > RETRY_S_MAX)
        wait_s = RETRY_S_MAX;
    if (webhook->failures++ == 0)
        log_warn("the alarm could not be posted to --alarm-url: %s; it is tried again", why);
    webhook->figures.failed++;
    schedule(webhook, wait_s);
}

static void on_done(void *context, enum http_outcome outcome, const uint8_t *data, size_t length,
                    const char *text)
{
    struct webhook *webhook = context;
    (void)data;
    (void)length;
    int status = http_link_status(webhook->link);
    webhook->first_is_sent = false;
    if (outcome != HTTP_ANSWERED && !(outcome == HTTP_STATUS && status >= 200 && status < 300)) {
        not_taken(webhook, text != NULL ? text : "no answer");
        return;
    }
    if (webhook->failures > 0)
        log_info("alarms can be posted again");
    webhook->failures = 0;
    webhook->figures.delivered++;
    drop_first(webhook);
    schedule(webhook, 0);
}

static void on_next(evutil_socket_t descriptor, short events, void *context)
{
    struct webhook *webhook = context;
    (void)descriptor;
    (void)events;
    if (webhook->count == 0 || webhook->first_is_sent)
        return;
    const char *body = webhook->waiting[webhook->first];
    webhook->first_is_sent = http_link_post(webhook->link, body, strlen(body));
    if (!webhook->first_is_sent)
        not_taken(webhook, "the system would not let it connect");
}

struct webhook *webhook_new(struct event_base *base, const char *url, char *message, size_t message_size)
{
    struct webhook *webhook = xcalloc(1, sizeof *webhook);
    const char *wrong = http_target_parse(url, &webhook->target);
    if (wrong != NULL) {
        snprintf(message, message_size, "--alarm-url %.200s: %s", url, wrong);
        free(webhook);
        return NULL;
    }
    webhook->base = base;
    if (webhook->target.is_name) {
        webhook->names =
            evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        ensure(webhook->names != NULL);
    }
    webhook->link =
        http_link_new(base, webhook->names, &webhook->target, TIMEOUT_MS, ANSWER_MAX, on_done, webhook);
    webhook->next = evtimer_new(base, on_next, webhook);
    ensure(webhook->next != NULL);
    return webhook;
}

void webhook_free(struct webhook *webhook)
{
    if (webhook == NULL)
        return;
    http_link_free(webhook->link);
    if (webhook->names != NULL)
        evdns_base_free(webhook->names, 0);
    event_free(webhook->next);
    while (webhook->count > 0)
        drop_first(webhook);
    free(webhook);
}

/* Makes room; the one that is under way is not touched. */
static void drop_oldest(struct webhook *webhook)
{
    size_t at = webhook->first_is_sent ? 1 : 0;
    webhook->figures.dropped++;
    if (at == 0) {
        drop_first(webhook);
        return;
    }
    size_t second = (webhook->first + 1) % WEBHOOK_WAITING_MAX;
    free(webhook->waiting[second]);
    webhook->waiting[second] = webhook->waiting[webhook->first];
    webhook->waiting[webhook->first] = NULL;
    webhook->first = second;
    webhook->count--;
}

void webhook_post(struct webhook *webhook, json_t *alarm)
{
    char *body = json_dumps(alarm, JSON_COMPACT);
    ensure(body != NULL);
    json_decref(alarm);
    if (webhook->count == WEBHOOK_WAITING_MAX)
        drop_oldest(webhook);
    webhook->waiting[(webhook->first + webhook->count++) % WEBHOOK_WAITING_MAX] = body;
    if (webhook->count == 1)
        schedule(webhook, 0);
}

struct webhook_figures webhook_figures(const struct webhook *webhook)
{
    struct webhook_figures figures = webhook->figures;
    figures.waiting = webhook->count;
    return figures;
}
