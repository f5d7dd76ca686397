#include "merchant/api.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/index.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "merchant/pages.h"
#include "merchant/public_address.h"
#include "merchant/routes.h"

#define STRANGERS_BURST_FACTOR 4

void api_init(struct api *api, uint32_t public_per_second)
{
    random_bytes(&api->strangers_seed, sizeof(api->strangers_seed));
    for (size_t i = 0; i < STRANGERS; i++)
        api->strangers[i] = (struct throttle){.per_second = public_per_second,
                                              .burst = public_per_second * STRANGERS_BURST_FACTOR};
}

/* ---- answers ---- */

void call_answer(struct call *call, int status, json_t *answer)
{
    ensure(answer != NULL);
    json_decref(call->answer);
    call->status = status;
    call->answer = answer;
}

bool call_fail(struct call *call, int status, const char *code, const char *format, ...)
{
    char message[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    call_answer(call, status, http_error_json(code, message));
    return false;
}

/* What went wrong with a request itself may be put right and sent again under the same key. */
static bool is_a_result(int status)
{
    return status < 300 || status == 409;
}

void call_commit(struct call *call)
{
    struct shop *shop = call->api->shop;
    if (call->keeps && is_a_result(call->status)) {
        char *text = json_dumps(call->answer, JSON_COMPACT | JSON_PRESERVE_ORDER);
        ensure(text != NULL);
        shop_answer_keep(shop, &call->name, &call->digest, (uint16_t)call->status, text);
        free(text);
    }
    shop_commit_wait(shop);
}

static void send_answer(struct call *call)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(call->request);
    if (call->status >= 400)
        call->api->refused++;
    if (call->status == 429)
        evhttp_add_header(headers, "Retry-After", "1");
    if (call->status == 401)
        evhttp_add_header(headers, "WWW-Authenticate", "Bearer");
    http_reply_json(call->request, call->status, call->answer);
    call->answer = NULL;
}

/* ---- who asks ---- */

/* Whom the limits count: a front's client, if one speaks for it. */
static void address_of(const struct call *call, char counted[COUNTED_ADDRESS_SIZE])
{
    const struct fronts *fronts = &call->api->fronts;
    const struct evkeyval *header;
    struct buffer list = {0};
    char *peer = NULL, client[FRONT_ADDRESS_SIZE];
    uint16_t port;
    counted[0] = '\0';
    evhttp_connection_get_peer(evhttp_request_get_connection(call->request), &peer, &port);
    if (peer == NULL)
        return;
    bool is_front = fronts_have(fronts, peer);
    for (header = evhttp_request_get_input_headers(call->request)->tqh_first; is_front && header != NULL;
         header = header->next.tqe_next)
        if (strcasecmp(header->key, "X-Forwarded-For") == 0)
            buffer_printf(&list, "%s%s", list.length > 0 ? "," : "", header->value);
    buffer_u8(&list, '\0');
    address_counted(fronts_client(fronts, peer, (const char *)list.data, client), counted);
    buffer_free(&list);
}

bool api_is_shared(const void *context, const char *address)
{
    return address_is_loopback(address) || fronts_have(&((const struct api *)context)->fronts, address);
}

bool call_address(const struct call *call, char counted[COUNTED_ADDRESS_SIZE])
{
    address_of(call, counted);
    return counted[0] != '\0' && !api_is_shared(call->api, counted);
}

/* Those without a key share buckets by their address: bounded, whoever comes. */
static bool stranger_may(struct call *call)
{
    struct api *api = call->api;
    char counted[COUNTED_ADDRESS_SIZE];
    uint64_t now = clock_monotonic_us();
    address_of(call, counted);
    uint64_t bucket = index_hash(api->strangers_seed, counted, strlen(counted));
    struct throttle *throttle = &api->strangers[bucket % STRANGERS];
    if (throttle_allows(throttle, now)) {
        throttle_take(throttle, now);
        return true;
    }
    api->throttled++;
    return call_fail(call, 429, "too_many_requests", "too many requests from your address: wait a second");
}

static bool authenticate(struct call *call)
{
    char message[400];
    struct api *api = call->api;
    const char *header = evhttp_find_header(evhttp_request_get_input_headers(call->request), "Authorization");
    if (!keys_refresh(api->keys, message, sizeof(message)))
        log_warn("%s; the keys read before stay good", message);
    call->key = keys_check(api->keys, header);
    if (call->key == NULL)
        return stranger_may(call) &&
               call_fail(call, 401, "unauthorized",
                         header == NULL
                             ? "send a key: Authorization: Bearer rk_…"
                             : "this key is unknown or revoked: `rill-merchantd keys list` shows which "
                               "there are");
    uint64_t now = clock_monotonic_us();
    if (!throttle_allows(&call->key->throttle, now)) {
        api->throttled++;
        return call_fail(call, 429, "too_many_requests", "this key has used up its rate: wait a second");
    }
    throttle_take(&call->key->throttle, now);
    http_keep(api->http, true);
    return true;
}

/* ---- the body ---- */

static bool read_body(struct call *call)
{
    json_error_t error;
    struct evbuffer *input = evhttp_request_get_input_buffer(call->request);
    size_t length = evbuffer_get_length(input);
    const char *type = evhttp_find_header(evhttp_request_get_input_headers(call->request), "Content-Type");
    if (length == 0) {
        call->body = json_object();
        return true;
    }
    if (type == NULL || strncasecmp(type, "application/json", 16) != 0 ||
        (type[16] != '\0' && type[16] != ';' && type[16] != ' '))
        return call_fail(call, 415, "unsupported_media_type",
                         "send JSON with Content-Type: application/json");
    const char *text = (const char *)evbuffer_pullup(input, -1);
    call->body = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (call->body == NULL)
        return call_fail(call, 400, "malformed_json", "the body is not JSON: line %d, column %d: %s",
                         error.line, error.column, error.text);
    if (!json_is_object(call->body))
        return call_fail(call, 400, "invalid_request", "the body is not a JSON object");
    return true;
}

/* ---- repeated requests ---- */

static void digest_of(struct call *call)
{
    struct buffer all = {0};
    struct evbuffer *input = evhttp_request_get_input_buffer(call->request);
    size_t length = evbuffer_get_length(input);
    buffer_printf(&all, "%d %s\n", (int)call->method, evhttp_request_get_uri(call->request));
    if (length > 0)
        buffer_append(&all, evbuffer_pullup(input, -1), length);
    call->digest = sha256(all.data, all.length);
    buffer_free(&all);
}

/* Returns false if an answer is left: the first result, or why there is none. */
static bool is_new(struct call *call, const struct route *route)
{
    const char *given =
        evhttp_find_header(evhttp_request_get_input_headers(call->request), "Idempotency-Key");
    struct buffer both = {0};
    if (given == NULL && route->needs_key)
        return call_fail(
            call, 400, "idempotency_key_missing",
            "this moves money: send an Idempotency-Key, new for each wish and the same when you repeat it");
    if (given == NULL)
        return true;
    if (given[0] == '\0' || strlen(given) > IDEMPOTENCY_KEY_MAX)
        return call_fail(call, 400, "invalid_request", "Idempotency-Key is empty or longer than %d bytes",
                         IDEMPOTENCY_KEY_MAX);
    buffer_printf(&both, "%s %s", call->key->id, given);
    call->name = sha256(both.data, both.length);
    buffer_free(&both);
    digest_of(call);
    const struct answer *answer = shop_answer_find(call->api->shop, &call->name);
    if (answer == NULL) {
        call->keeps = true;
        if (!shop_answer_fits(call->api->shop, HTTP_BODY_MAX))
            return call_fail(call, 429, "too_many_requests",
                             "too many results are remembered for Idempotency-Keys: wait, or send none");
        return true;
    }
    if (!hash_equal(&answer->request, &call->digest))
        return call_fail(call, 422, "idempotency_key_reused",
                         "this Idempotency-Key came with another request: use a new one for a new wish");
    evhttp_add_header(evhttp_request_get_output_headers(call->request), "Idempotency-Replayed", "true");
    call_answer(call, answer->status, json_loads(answer->body, 0, NULL));
    return false;
}

/* ---- from a request to its function ---- */

static bool split_path(struct call *call)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(call->request);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri != NULL ? evhttp_uri_get_query(uri) : NULL;
    if (path == NULL || path[0] != '/')
        return call_fail(call, 400, "bad_request", "the path does not begin with /");
    call->path = xstrdup(path + 1);
    char *rest = call->path, *part;
    while ((part = strsep(&rest, "/")) != NULL) {
        if (call->part_count == PATH_PARTS_MAX)
            return call_fail(call, 404, "not_found", "there is no such path: /openapi.json lists them");
        call->parts[call->part_count++] = part;
    }
    if (query == NULL)
        return true;
    call->has_query = evhttp_parse_query_str(query, &call->query) == 0;
    return call->has_query || call_fail(call, 400, "bad_request", "the query is not name=value&…");
}

/* NULL after call_fail. */
static const struct route *find_route(struct call *call)
{
    bool path_known = false;
    const struct route *route = route_find(call->method, call->parts, call->part_count, &path_known);
    if (route == NULL && path_known)
        (void)call_fail(call, 405, "method_not_allowed", "this path does not take this method");
    else if (route == NULL)
        (void)call_fail(call, 404, "not_found", "there is no such path: /openapi.json lists them");
    return route;
}

/* What needs no key: a route that says so, or a page. NULL: it is answered, or has failed. */
static const struct route *prepare_open(struct call *call, const struct route *route)
{
    if (!stranger_may(call))
        return NULL;
    call->taken = route == NULL && pages_serve(call->api->pages, call->request);
    return route;
}

/* NULL: it is answered, or has failed. */
static const struct route *prepare(struct call *call)
{
    char scope[KEY_SCOPES_SIZE];
    bool is_api = call->part_count > 0 && strcmp(call->parts[0], "v1") == 0;
    const struct route *route = is_api ? NULL : find_route(call);
    if (!is_api && (route == NULL || route->scope == 0))
        return prepare_open(call, route);
    if (!authenticate(call))
        return NULL;
    if (route == NULL && (route = find_route(call)) == NULL)
        return NULL;
    if ((call->key->scopes & route->scope) == 0) {
        (void)call_fail(call, 403, "forbidden", "this key lacks the scope '%s': make one that has it",
                        scopes_text(route->scope, scope));
        return NULL;
    }
    return read_body(call) && (!route->writes || is_new(call, route)) ? route : NULL;
}

static void call_free(struct call *call)
{
    json_decref(call->answer);
    json_decref(call->body);
    if (call->has_query)
        evhttp_clear_headers(&call->query);
    free(call->path);
}

void api_handle(void *context, struct evhttp_request *request)
{
    struct call call = {.api = context, .request = request, .method = evhttp_request_get_command(request)};
    call.api->requests++;
    if (call.api->stopping) {
        (void)call_fail(&call, 503, "stopping", "the server is stopping: try again in a moment");
    } else if (split_path(&call)) {
        const struct route *route = prepare(&call);
        if (route != NULL)
            route->run(&call);
        if (route != NULL && !call.taken)
            call_commit(&call);
    }
    if (!call.taken)
        send_answer(&call);
    call_free(&call);
}

/* ---- members and parameters ---- */

bool call_members(struct call *call, const char *const *names)
{
    const char *name;
    json_t *value;
    json_object_foreach(call->body, name, value)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], name) != 0)
            i++;
        if (names[i] == NULL)
            return call_fail(call, 400, "invalid_request",
                             "there is no member '%.60s' here: /openapi.json lists them", name);
    }
    return true;
}

bool call_text(struct call *call, const char *name, size_t bytes_max, const char **out)
{
    const json_t *value = json_object_get(call->body, name);
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return call_fail(call, 400, "invalid_request", "'%s' is not a string", name);
    if (json_string_length(value) > bytes_max ||
        strlen(json_string_value(value)) != json_string_length(value))
        return call_fail(call, 400, "invalid_request", "'%s' is longer than %zu bytes, or has a NUL", name,
                         bytes_max);
    *out = json_string_value(value);
    return true;
}

bool call_number(struct call *call, const char *name, uint64_t low, uint64_t high, uint64_t *out)
{
    const json_t *value = json_object_get(call->body, name);
    if (value == NULL || json_is_null(value))
        return true;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number < low || (uint64_t)number > high)
        return call_fail(call, 400, "invalid_request", "'%s' is not a whole number from %llu to %llu", name,
                         (unsigned long long)low, (unsigned long long)high);
    *out = (uint64_t)number;
    return true;
}

bool call_amount(struct call *call, const struct asset_info *asset, const char *name, const char *text,
                 uint64_t *units)
{
    struct amount amount;
    if (!amount_parse(text, asset->decimals, &amount) || amount_is_zero(amount))
        return call_fail(
            call, 400, "invalid_amount",
            "'%s' is not an amount: a decimal string above 0 with at most %u places, as \"12.5\"", name,
            asset->decimals);
    *units = amount.units;
    return true;
}

bool call_asset(struct call *call, const char *name, const struct asset_info **out)
{
    const struct session *session = call->api->session;
    const struct asset_info *found = NULL;
    uint8_t address[20];
    size_t matches = 0;
    bool by_address = name != NULL && hex_decode(name, address, sizeof(address));
    for (size_t i = 0; i < session->asset_count; i++) {
        const struct asset_info *asset = &session->assets[i];
        if (name == NULL || (by_address ? memcmp(address, asset->address, sizeof(address)) == 0
                                        : strcasecmp(name, asset->symbol) == 0)) {
            found = asset;
            matches++;
        }
    }
    if (session->asset_count == 0)
        return call_fail(call, 503, "assets_unknown",
                         "the hub's assets are not known yet: the ledger must be reached");
    if (matches != 1)
        return call_fail(call, 400, "invalid_asset",
                         matches == 0   ? "the hub does not serve this 'asset'"
                         : name == NULL ? "the hub serves several assets: name one in 'asset'"
                                        : "several assets have this symbol: give the address in 'asset'");
    *out = found;
    return true;
}

struct shop_invoice *call_invoice(struct call *call, const char *name)
{
    struct object_id id;
    struct shop_invoice *invoice =
        object_parse(PREFIX_INVOICE, name, &id) ? shop_invoice_find(call->api->shop, &id) : NULL;
    if (invoice == NULL)
        (void)call_fail(call, 404, "invoice_not_found", "there is no such invoice");
    return invoice;
}

const char *call_query(const struct call *call, const char *name)
{
    return call->has_query ? evhttp_find_header(&call->query, name) : NULL;
}

bool call_query_members(struct call *call, const char *const *names)
{
    const struct evkeyval *pair;
    if (!call->has_query)
        return true;
    TAILQ_FOREACH(pair, &call->query, next)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], pair->key) != 0)
            i++;
        if (names[i] == NULL)
            return call_fail(call, 400, "invalid_request", "there is no parameter '%.60s' here", pair->key);
    }
    return true;
}

bool call_query_number(struct call *call, const char *name, uint64_t low, uint64_t high, uint64_t *out)
{
    const char *text = call_query(call, name);
    struct amount number;
    if (text == NULL)
        return true;
    if (!amount_parse(text, 0, &number) || number.units < low || number.units > high)
        return call_fail(call, 400, "invalid_request", "'%s' is not a whole number from %llu to %llu", name,
                         (unsigned long long)low, (unsigned long long)high);
    *out = number.units;
    return true;
}

bool call_page(struct call *call, struct page *out)
{
    *out = (struct page){.until = INT64_MAX, .limit = PAGE_DEFAULT, .before = UINT64_MAX};
    return call_query_number(call, "since", 0, INT64_MAX - 1, &out->since) &&
           call_query_number(call, "until", 0, INT64_MAX - 1, &out->until) &&
           call_query_number(call, "limit", 1, PAGE_MAX, &out->limit) &&
           call_query_number(call, "cursor", 1, INT64_MAX - 1, &out->before);
}

json_t *page_next(uint64_t number)
{
    return number == 0 ? json_null() : json_sprintf("%llu", (unsigned long long)number);
}
