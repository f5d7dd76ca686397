#include "merchant/webhooks.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "merchant/render.h"
#include "merchant/webhook_flight.h"
#include "merchant/webhook_state.h"
#include "wire/https.h"

#define ADMITTED_A_TURN 200

static const uint32_t waits_s[] = {5, 30, 120, 600, 1800, 3600, 7200};

uint64_t webhook_backoff_s(uint32_t attempts)
{
    size_t step = attempts == 0 ? 0 : attempts - 1;
    return waits_s[step < ARRAY_LENGTH(waits_s) ? step : ARRAY_LENGTH(waits_s) - 1];
}

const char *webhook_signature(const char *secret, uint64_t unix_s, const char *body, size_t length,
                              char out[WEBHOOK_SIGNATURE_SIZE])
{
    char hex[65];
    struct buffer signed_text = {0};
    buffer_printf(&signed_text, "%" PRIu64 ".", unix_s);
    buffer_append(&signed_text, body, length);
    struct hash mac = hmac_sha256(secret, strlen(secret), signed_text.data, signed_text.length);
    buffer_free(&signed_text);
    hex_encode(mac.bytes, sizeof(mac.bytes), hex);
    snprintf(out, WEBHOOK_SIGNATURE_SIZE, "t=%" PRIu64 ",v1=%s", unix_s, hex);
    return out;
}

/* ---- deliveries and their lanes ---- */

static struct lane *lane_of(struct webhook *webhook, const struct object_id *subject)
{
    struct lane *lane;
    HASH_FIND(hh, webhook->lanes, subject, sizeof(*subject), lane);
    if (lane != NULL)
        return lane;
    lane = xcalloc(1, sizeof(*lane));
    lane->webhook = webhook;
    lane->subject = *subject;
    HASH_ADD(hh, webhook->lanes, subject, sizeof(lane->subject), lane);
    return lane;
}

static int by_place(const struct delivery *a, const struct delivery *b)
{
    return event_place_compare(&a->place, &b->place);
}

static void enter_lane(struct webhook *webhook, struct delivery *delivery)
{
    delivery->lane = lane_of(webhook, &delivery->subject);
    DL_INSERT_INORDER(delivery->lane->list, delivery, by_place);
    webhook->pending++;
}

static void leave_lane(struct webhook *webhook, struct delivery *delivery)
{
    struct lane *lane = delivery->lane;
    DL_DELETE(lane->list, delivery);
    delivery->lane = NULL;
    webhook->pending--;
    if (lane->list != NULL || lane->flight != NULL)
        return;
    HASH_DEL(webhook->lanes, lane);
    free(lane);
}

void webhook_put_delivery(struct webhook *webhook, struct delivery *delivery)
{
    HASH_ADD(hh, webhook->deliveries, place.number, sizeof(delivery->place.number), delivery);
    if (!delivery->dead) {
        enter_lane(webhook, delivery);
        return;
    }
    DL_APPEND(webhook->dead, delivery);
    webhook->dead_count++;
}

void webhook_drop_delivery(struct webhook *webhook, struct delivery *delivery)
{
    if (delivery->dead) {
        DL_DELETE(webhook->dead, delivery);
        webhook->dead_count--;
    } else {
        leave_lane(webhook, delivery);
    }
    HASH_DEL(webhook->deliveries, delivery);
    free(delivery);
}

/* ---- telling ---- */

static void bury(struct webhooks *webhooks, struct webhook *webhook, struct delivery *delivery)
{
    leave_lane(webhook, delivery);
    delivery->dead = true;
    DL_APPEND(webhook->dead, delivery);
    log_warn("web hook %s: an event was not taken for three days and is a dead letter now", webhook->url);
    if (++webhook->dead_count <= WEBHOOK_DEAD_MAX)
        return;
    webhook_write_delivery_gone(webhooks->shop, webhook, webhook->dead);
    webhook_drop_delivery(webhook, webhook->dead);
}

void webhook_judge(struct webhook *webhook, struct delivery *delivery, int status, const char *reason)
{
    struct webhooks *webhooks = webhook->webhooks;
    uint64_t now = shop_now(webhooks->shop);
    delivery->attempts++;
    delivery->status = (uint32_t)status;
    if (status >= 200 && status < 300) {
        webhooks->delivered++;
        webhook->failing = false;
        webhook_write_delivery_gone(webhooks->shop, webhook, delivery);
        webhook_drop_delivery(webhook, delivery);
        return;
    }
    webhooks->failed++;
    if (!webhook->failing)
        log_warn("web hook %s does not take its events (%s): they are told again", webhook->url, reason);
    webhook->failing = true;
    delivery->next_at = now + webhook_backoff_s(delivery->attempts);
    if (delivery->next_at > delivery->admitted + WEBHOOK_RETRY_S)
        bury(webhooks, webhook, delivery);
    webhook_write_delivery(webhooks->shop, webhook, delivery);
}

static void on_flight(void *context, int status, const char *reason)
{
    struct lane *lane = context;
    struct webhook *webhook = lane->webhook;
    struct webhooks *webhooks = webhook->webhooks;
    struct delivery *delivery = lane->flying;
    lane->flight = NULL; /* freed by whoever calls this */
    webhook->flights--;
    webhook_judge(webhook, delivery, status, reason);
    shop_commit(webhooks->shop);
    event_active(webhooks->work, EV_TIMEOUT, 0);
}

struct one_event {
    struct event_place place;
    char *json;
    size_t length;
};

static bool take_one(void *context, const struct shop_event *event)
{
    struct one_event *one = context;
    if (event->place.number != one->place.number)
        return event->place.number < one->place.number;
    one->json = xcalloc(1, event->length + 1);
    memcpy(one->json, event->json, event->length);
    one->length = event->length;
    return false;
}

static void launch(struct webhooks *webhooks, struct webhook *webhook, struct lane *lane)
{
    struct delivery *delivery = lane->list;
    char signature[WEBHOOK_SIGNATURE_SIZE], id[EVENT_TEXT_SIZE];
    struct one_event one = {.place = delivery->place};
    struct event_place before = {delivery->place.time, delivery->place.number - 1};
    struct target target;
    const char *trouble = target_parse(webhook->url, webhooks->allow, &target);
    if (!shop_events_after(webhooks->shop, &before, take_one, &one) || one.json == NULL)
        trouble = "the event is no longer on disk";
    if (trouble != NULL) {
        webhook_judge(webhook, delivery, 0, trouble);
    } else {
        webhook->flights++;
        lane->flying = delivery;
        lane->flight = flight_start(
            webhooks->base, webhooks->https, &target,
            webhook_signature(webhook->secret, shop_now(webhooks->shop), one.json, one.length, signature),
            event_text(&delivery->place, id), one.json, one.length, on_flight, lane);
    }
    free(one.json);
}

static void launch_due(struct webhooks *webhooks, struct webhook *webhook)
{
    uint64_t now = shop_now(webhooks->shop);
    struct lane *lane, *next;
    HASH_ITER(hh, webhook->lanes, lane, next)
    {
        if (webhook->flights >= WEBHOOK_FLIGHTS_MAX)
            return;
        if (lane->flight == NULL && lane->list->next_at <= now)
            launch(webhooks, webhook, lane);
    }
}

/* ---- admission ---- */

struct admission {
    struct webhooks *webhooks;
    struct webhook *webhook;
    size_t count;
    bool more;
};

static void admit_one(struct webhooks *webhooks, struct webhook *webhook, const struct shop_event *event)
{
    struct delivery *delivery;
    HASH_FIND(hh, webhook->deliveries, &event->place.number, sizeof(event->place.number), delivery);
    if (delivery != NULL && !delivery->dead)
        return;
    if (delivery != NULL)
        webhook_drop_delivery(webhook, delivery);
    delivery = xcalloc(1, sizeof(*delivery));
    delivery->place = event->place;
    delivery->subject = event->subject;
    delivery->admitted = shop_now(webhooks->shop);
    webhook_put_delivery(webhook, delivery);
    webhook_write_delivery(webhooks->shop, webhook, delivery);
}

static bool admit(void *context, const struct shop_event *event)
{
    struct admission *admission = context;
    struct webhook *webhook = admission->webhook;
    if (admission->count == ADMITTED_A_TURN || webhook->pending >= WEBHOOK_PENDING_MAX) {
        admission->more = webhook->pending < WEBHOOK_PENDING_MAX;
        return false;
    }
    admission->count++;
    webhook->cursor = event->place;
    if ((webhook->events >> event->type & 1u) != 0)
        admit_one(admission->webhooks, webhook, event);
    return true;
}

static void work(struct webhooks *webhooks)
{
    struct webhook *webhook;
    bool more = false;
    DL_FOREACH(webhooks->list, webhook)
    {
        struct admission admission = {.webhooks = webhooks, .webhook = webhook};
        if (!shop_events_after(webhooks->shop, &webhook->cursor, admit, &admission))
            log_error("web hook %s: events cannot be read from the disk", webhook->url);
        if (admission.count > 0)
            webhook_write(webhooks->shop, webhook);
        more = more || admission.more;
        launch_due(webhooks, webhook);
    }
    shop_commit(webhooks->shop);
    if (more)
        event_active(webhooks->work, EV_TIMEOUT, 0);
}

static void on_work(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    work(context);
}

void webhooks_published(struct webhooks *webhooks)
{
    if (webhooks->list != NULL)
        event_active(webhooks->work, EV_TIMEOUT, 0);
}

void webhooks_start(struct webhooks *webhooks)
{
    webhooks_published(webhooks);
}

void webhooks_tick(struct webhooks *webhooks)
{
    webhooks_published(webhooks);
}

/* ---- hooks ---- */

struct webhook *webhook_create(struct webhooks *webhooks, const char *url, uint32_t events, char *message,
                               size_t message_size)
{
    uint8_t secret[32];
    char hex[65];
    struct target target;
    const char *trouble = target_parse(url, webhooks->allow, &target);
    if (trouble == NULL && webhooks->count == WEBHOOKS_MAX)
        trouble = "there are as many web hooks as there may be: delete one first";
    if (trouble != NULL) {
        snprintf(message, message_size, "%s", trouble);
        return NULL;
    }
    struct webhook *webhook = webhook_new(webhooks, &(struct object_id){0});
    webhook->id = object_id_random();
    webhook->url = xstrdup(url);
    webhook->events = events;
    webhook->created = shop_now(webhooks->shop);
    webhook->cursor = webhooks->shop->last;
    random_bytes(secret, sizeof(secret));
    hex_encode(secret, sizeof(secret), hex);
    snprintf(webhook->secret, sizeof(webhook->secret), "whsec_%s", hex);
    bytes_wipe(secret, sizeof(secret));
    bytes_wipe(hex, sizeof(hex));
    webhook_write(webhooks->shop, webhook);
    return webhook;
}

struct webhook *webhook_new(struct webhooks *webhooks, const struct object_id *id)
{
    struct webhook *webhook = xcalloc(1, sizeof(*webhook));
    webhook->webhooks = webhooks;
    webhook->id = *id;
    DL_APPEND(webhooks->list, webhook);
    webhooks->count++;
    return webhook;
}

void webhook_free(struct webhook *webhook)
{
    struct lane *lane, *next_lane;
    struct delivery *delivery, *next;
    HASH_ITER(hh, webhook->lanes, lane, next_lane)
    {
        flight_free(lane->flight);
        HASH_DEL(webhook->lanes, lane);
        free(lane);
    }
    HASH_ITER(hh, webhook->deliveries, delivery, next)
    {
        HASH_DEL(webhook->deliveries, delivery);
        free(delivery);
    }
    DL_DELETE(webhook->webhooks->list, webhook);
    webhook->webhooks->count--;
    bytes_wipe(webhook->secret, sizeof(webhook->secret));
    free(webhook->url);
    free(webhook);
}

void webhook_delete(struct webhooks *webhooks, struct webhook *webhook)
{
    struct delivery *delivery, *next;
    HASH_ITER(hh, webhook->deliveries, delivery, next)
    {
        webhook_write_delivery_gone(webhooks->shop, webhook, delivery);
    }
    shop_write_gone(webhooks->shop, RECORD_WEBHOOK, &webhook->id);
    webhook_free(webhook);
}

struct webhook *webhook_find(const struct webhooks *webhooks, const struct object_id *id)
{
    struct webhook *webhook;
    DL_FOREACH(webhooks->list, webhook)
    {
        if (object_equal(&webhook->id, id))
            return webhook;
    }
    return NULL;
}

struct webhook *webhook_at(const struct webhooks *webhooks, size_t index)
{
    struct webhook *webhook;
    DL_FOREACH(webhooks->list, webhook)
    {
        if (index-- == 0)
            return webhook;
    }
    return NULL;
}

void webhook_replay(struct webhooks *webhooks, struct webhook *webhook, uint64_t since)
{
    struct event_place place = {since, 0};
    if (since > webhooks->shop->last.time)
        return;
    if (event_place_compare(&place, &webhook->cursor) < 0)
        webhook->cursor = place;
    webhook_write(webhooks->shop, webhook);
    webhooks_published(webhooks);
}

/* ---- looking ---- */

json_t *webhook_json(const struct webhook *webhook, bool with_secret)
{
    json_t *events = json_array();
    for (unsigned type = 0; type < EVENT_TYPES; type++)
        if ((webhook->events >> type & 1u) != 0)
            json_array_append_new(events, json_string(event_type_name((enum event_type)type)));
    json_t *object =
        json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "id", render_id(PREFIX_WEBHOOK, &webhook->id), "url",
                  webhook->url, "events", events, "created", (json_int_t)webhook->created, "pending",
                  (json_int_t)webhook->pending, "dead", (json_int_t)webhook->dead_count);
    ensure(object != NULL);
    if (with_secret)
        json_object_set_new(object, "secret", json_string(webhook->secret));
    return object;
}

static json_t *delivery_json(const struct delivery *delivery)
{
    char id[EVENT_TEXT_SIZE];
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:o, s:o}", "event", event_text(&delivery->place, id), "state",
        delivery->dead ? "dead" : "pending", "attempts", (json_int_t)delivery->attempts, "next_attempt",
        delivery->dead ? json_null() : render_time(delivery->next_at), "last_status",
        delivery->status != 0 ? json_integer((json_int_t)delivery->status) : json_null());
    ensure(object != NULL);
    return object;
}

json_t *webhook_deliveries_json(struct webhook *webhook, bool dead, size_t limit)
{
    json_t *list = json_array();
    HASH_SORT(webhook->deliveries, by_place);
    for (const struct delivery *each = webhook->deliveries; each != NULL; each = each->hh.next)
        if (each->dead == dead && json_array_size(list) < limit)
            json_array_append_new(list, delivery_json(each));
    return list;
}

struct webhooks_figures webhooks_figures(const struct webhooks *webhooks)
{
    const struct webhook *webhook;
    struct webhooks_figures figures = {
        .hooks = webhooks->count, .delivered = webhooks->delivered, .failed = webhooks->failed};
    DL_FOREACH(webhooks->list, webhook)
    {
        figures.pending += webhook->pending;
        figures.dead += webhook->dead_count;
    }
    return figures;
}

/* ---- life ---- */

struct webhooks *webhooks_new(struct event_base *base, struct shop *shop,
                              const struct webhooks_options *options, char *message, size_t message_size)
{
    struct webhooks *webhooks = xcalloc(1, sizeof(*webhooks));
    *webhooks = (struct webhooks){.base = base, .shop = shop};
    webhooks->allow = options->allow != NULL ? xstrdup(options->allow) : NULL;
    webhooks->https = https_client_open(options->authority, message, message_size);
    webhooks->work = event_new(base, -1, 0, on_work, webhooks);
    ensure(webhooks->work != NULL);
    if (webhooks->https == NULL) {
        webhooks_free(webhooks);
        return NULL;
    }
    shop->read_other = webhooks_read;
    shop->other_context = webhooks;
    return webhooks;
}

void webhooks_free(struct webhooks *webhooks)
{
    if (webhooks == NULL)
        return;
    while (webhooks->list != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        webhook_free(webhooks->list);
    event_free(webhooks->work);
    https_client_free(webhooks->https);
    free(webhooks->allow);
    free(webhooks);
}
