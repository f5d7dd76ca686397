#include "tests/support/anvil_proxy.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/ensure.h"

#define METHODS_MAX 64
#define FORWARD_S   60
#define BAD_GATEWAY 502

struct proxy {
    struct event_base *base;
    struct evhttp *http;
    char url[64];
    uint16_t port;
    proxy_rule *rule;
    void *context;
    struct {
        char name[48];
        unsigned count;
    } methods[METHODS_MAX];
    unsigned count;
    bool is_forwarding;
    struct forward *waiting; /* in order */
};

/* A request on its way to the node. */
struct forward {
    struct forward *prev, *next;
    struct proxy *proxy;
    struct evhttp_request *request;
    uint16_t port;
    char *body;
};

static void forward_start(struct forward *forward);

unsigned proxy_under_way(const struct proxy *proxy)
{
    unsigned waiting;
    const struct forward *forward;
    DL_COUNT(proxy->waiting, forward, waiting);
    return waiting + proxy->is_forwarding;
}

static unsigned method_count(struct proxy *proxy, const char *method)
{
    proxy->count++;
    for (size_t i = 0; i < METHODS_MAX; i++) {
        if (proxy->methods[i].name[0] == '\0')
            snprintf(proxy->methods[i].name, sizeof proxy->methods[i].name, "%s", method);
        if (strcmp(proxy->methods[i].name, method) == 0)
            return ++proxy->methods[i].count;
    }
    abort(); /* more methods than any test asks for */
}

unsigned proxy_count(const struct proxy *proxy, const char *method)
{
    if (method == NULL)
        return proxy->count;
    for (size_t i = 0; i < METHODS_MAX; i++)
        if (strcmp(proxy->methods[i].name, method) == 0)
            return proxy->methods[i].count;
    return 0;
}

/* ---- forwarding ---- */

static void on_forwarded(struct evhttp_request *answer, void *context)
{
    struct forward *forward = context;
    int status = answer != NULL ? evhttp_request_get_response_code(answer) : 0;
    struct evbuffer *body = evbuffer_new();
    if (status != 0)
        evbuffer_add_buffer(body, evhttp_request_get_input_buffer(answer));
    evhttp_send_reply(forward->request, status != 0 ? status : BAD_GATEWAY, NULL, body);
    evbuffer_free(body);
    struct proxy *proxy = forward->proxy;
    proxy->is_forwarding = false;
    free(forward->body);
    free(forward);
    if (proxy->waiting == NULL)
        return;
    forward = proxy->waiting;
    DL_DELETE(proxy->waiting, forward);
    forward_start(forward);
}

static void forward_start(struct forward *forward)
{
    struct proxy *proxy = forward->proxy;
    struct evhttp_connection *connection =
        evhttp_connection_base_new(proxy->base, NULL, "127.0.0.1", forward->port);
    ensure(connection != NULL);
    evhttp_connection_set_timeout(connection, FORWARD_S);
    evhttp_connection_free_on_completion(connection);
    struct evhttp_request *out = evhttp_request_new(on_forwarded, forward);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(out);
    ensure(evhttp_add_header(headers, "Host", "127.0.0.1") == 0 &&
           evhttp_add_header(headers, "Connection", "close") == 0 &&
           evhttp_add_header(headers, "Content-Type", "application/json") == 0);
    evbuffer_add(evhttp_request_get_output_buffer(out), forward->body, strlen(forward->body));
    proxy->is_forwarding = true;
    ensure(evhttp_make_request(connection, out, EVHTTP_REQ_POST, "/") == 0);
}

/* Takes over the body. */
static void forward_to(struct proxy *proxy, struct evhttp_request *request, uint16_t port, char *body)
{
    struct forward *forward = xcalloc(1, sizeof *forward);
    *forward = (struct forward){.proxy = proxy, .request = request, .port = port, .body = body};
    if (proxy->is_forwarding)
        DL_APPEND(proxy->waiting, forward);
    else
        forward_start(forward);
}

/* ---- answering ---- */

static void answer(struct evhttp_request *request, const struct proxy_reply *reply, const json_t *id)
{
    struct evbuffer *body = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (reply->retry_after != NULL)
        evhttp_add_header(headers, "Retry-After", reply->retry_after);
    const char *content = reply->error != NULL ? reply->error : reply->result;
    if (content != NULL) {
        json_t *value = json_loads(content, JSON_DECODE_ANY, NULL);
        ensure(value != NULL);
        json_t *json =
            json_pack("{s:s, s:o}", "jsonrpc", "2.0", reply->error != NULL ? "error" : "result", value);
        json_object_set_new(json, "id", reply->without_id ? json_null() : json_deep_copy(id));
        char *text = json_dumps(json, JSON_COMPACT);
        evhttp_add_header(headers, "Content-Type", "application/json");
        evbuffer_add(body, text, strlen(text));
        free(text);
        json_decref(json);
    } else if (reply->text != NULL) {
        evbuffer_add(body, reply->text, strlen(reply->text));
    }
    evhttp_send_reply(request, reply->status, NULL, body);
    evbuffer_free(body);
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct proxy *proxy = context;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    char *body = xcalloc(1, length + 1);
    evbuffer_remove(input, body, length);
    json_t *json = json_loads(body, 0, NULL);
    ensure(json != NULL);
    const char *method = json_string_value(json_object_get(json, "method"));
    struct proxy_request asked = {.method = method,
                                  .params = json_object_get(json, "params"),
                                  .number = method_count(proxy, method),
                                  .since_us = clock_monotonic_us()};
    struct proxy_reply reply = {.port = proxy->port};
    if (proxy->rule != NULL)
        proxy->rule(proxy->context, &asked, &reply);
    if (reply.status != 0) {
        answer(request, &reply, json_object_get(json, "id"));
        free(body);
    } else {
        forward_to(proxy, request, reply.port, body);
    }
    json_decref(json);
}

/* ---- life ---- */

struct proxy *proxy_new(struct event_base *base, uint16_t port)
{
    struct proxy *proxy = xcalloc(1, sizeof *proxy);
    proxy->base = base;
    proxy->port = port;
    proxy->http = evhttp_new(base);
    evhttp_set_gencb(proxy->http, on_request, proxy);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(proxy->http, "127.0.0.1", 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    ensure(bound != NULL &&
           getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length) == 0);
    snprintf(proxy->url, sizeof proxy->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    return proxy;
}

void proxy_free(struct proxy *proxy)
{
    while (proxy_under_way(proxy) > 0)
        event_base_loop(proxy->base, EVLOOP_ONCE);
    evhttp_free(proxy->http);
    free(proxy);
}

const char *proxy_url(const struct proxy *proxy)
{
    return proxy->url;
}

void proxy_rule_set(struct proxy *proxy, proxy_rule *rule, void *context)
{
    proxy->rule = rule;
    proxy->context = context;
}

void proxy_port_set(struct proxy *proxy, uint16_t port)
{
    proxy->port = port;
}
