/* Web hooks: make, list, delete, look at what they have not taken, tell again. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/webhooks.h"

#define ALL_EVENTS ((1u << EVENT_TYPES) - 1)

static struct webhook *webhook_named(struct call *call, const char *name)
{
    struct object_id id;
    struct webhook *webhook =
        object_parse(PREFIX_WEBHOOK, name, &id) ? webhook_find(call->api->webhooks, &id) : NULL;
    if (webhook == NULL)
        (void)call_fail(call, 404, "webhook_not_found", "there is no such web hook");
    return webhook;
}

static bool read_events(struct call *call, uint32_t *out)
{
    json_t *list = json_object_get(call->body, "events"), *entry;
    size_t index;
    *out = ALL_EVENTS;
    if (list == NULL || json_is_null(list))
        return true;
    *out = 0;
    json_array_foreach(list, index, entry)
    {
        const char *name = json_string_value(entry);
        unsigned type = name != NULL ? event_type_of(name) : EVENT_TYPES;
        if (type == EVENT_TYPES)
            return call_fail(call, 400, "invalid_request", "'events' names an event that there is not");
        *out |= 1u << type;
    }
    return *out != 0 ||
           call_fail(call, 400, "invalid_request", "'events' is not a list of at least one event's name");
}

void api_webhook_create(struct call *call)
{
    static const char *const members[] = {"url", "events", NULL};
    const char *url = NULL;
    char message[300];
    uint32_t events;
    if (!call_members(call, members) || !call_text(call, "url", WEBHOOK_URL_BYTES_MAX, &url) ||
        !read_events(call, &events))
        return;
    if (url == NULL) {
        (void)call_fail(call, 400, "invalid_request", "'url' is missing");
        return;
    }
    struct webhook *webhook = webhook_create(call->api->webhooks, url, events, message, sizeof(message));
    if (webhook == NULL)
        (void)call_fail(call, 400, "invalid_url", "%s", message);
    else
        call_answer(call, 201, webhook_json(webhook, true));
}

void api_webhook_list(struct call *call)
{
    const struct webhook *webhook;
    json_t *list = json_array();
    for (size_t i = 0; (webhook = webhook_at(call->api->webhooks, i)) != NULL; i++)
        json_array_append_new(list, webhook_json(webhook, false));
    call_answer(call, 200, json_pack("{s:o}", "webhooks", list));
}

void api_webhook_delete(struct call *call)
{
    struct webhook *webhook = webhook_named(call, call->parts[2]);
    if (webhook == NULL)
        return;
    webhook_delete(call->api->webhooks, webhook);
    call_answer(call, 200, json_pack("{s:s, s:b}", "id", call->parts[2], "deleted", true));
}

void api_webhook_deliveries(struct call *call)
{
    static const char *const parameters[] = {"state", "limit", NULL};
    struct webhook *webhook = webhook_named(call, call->parts[2]);
    const char *state = call_query(call, "state");
    uint64_t limit = PAGE_DEFAULT;
    if (webhook == NULL || !call_query_members(call, parameters) ||
        !call_query_number(call, "limit", 1, PAGE_MAX, &limit))
        return;
    if (state != NULL && strcmp(state, "dead") != 0 && strcmp(state, "pending") != 0)
        (void)call_fail(call, 400, "invalid_request", "'state' is pending or dead");
    else
        call_answer(
            call, 200,
            json_pack("{s:o}", "deliveries",
                      webhook_deliveries_json(webhook, state != NULL && strcmp(state, "dead") == 0, limit)));
}

void api_webhook_replay(struct call *call)
{
    static const char *const members[] = {"since", "webhook", NULL};
    const char *name = NULL;
    uint64_t since = UINT64_MAX;
    struct webhook *webhook = NULL;
    size_t count = 0;
    if (!call_members(call, members) || !call_text(call, "webhook", OBJECT_TEXT_SIZE, &name) ||
        !call_number(call, "since", 0, (uint64_t)1 << 40, &since))
        return;
    if (since == UINT64_MAX) {
        (void)call_fail(call, 400, "invalid_request", "'since' is missing: Unix seconds");
        return;
    }
    if (name != NULL && (webhook = webhook_named(call, name)) == NULL)
        return;
    struct webhook *each;
    for (size_t i = 0; (each = webhook_at(call->api->webhooks, i)) != NULL; i++) {
        if (webhook != NULL && webhook != each)
            continue;
        webhook_replay(call->api->webhooks, each, since);
        count++;
    }
    call_answer(call, 202, json_pack("{s:I}", "webhooks", (json_int_t)count));
}
