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
    unsigned count, looks;
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
    json_t *instead; /* answers to questions of a batch, in place of the node's; NULL: none */
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

unsigned proxy_looks(const struct proxy *proxy)
{
    return proxy->looks;
}

/* ---- forwarding ---- */

/* Puts the rule's answers in place of the node's. */
static void answers_replace(struct evbuffer *body, const json_t *instead)
{
    size_t length = evbuffer_get_length(body);
    json_t *answers = json_loadb((const char *)evbuffer_pullup(body, -1), length, 0, NULL);
    ensure(json_is_array(answers));
    for (size_t i = 0; i < json_array_size(answers); i++)
        for (size_t k = 0; k < json_array_size(instead); k++) {
            json_t *other = json_array_get(instead, k);
            if (json_equal(json_object_get(json_array_get(answers, i), "id"), json_object_get(other, "id")))
                json_array_set(answers, i, other);
        }
    char *text = json_dumps(answers, JSON_COMPACT);
    evbuffer_drain(body, length);
    evbuffer_add(body, text, strlen(text));
    free(text);
    json_decref(answers);
}

static void on_forwarded(struct evhttp_request *answer, void *context)
{
    struct forward *forward = context;
    int status = answer != NULL ? evhttp_request_get_response_code(answer) : 0;
    struct evbuffer *body = evbuffer_new();
    if (status != 0)
        evbuffer_add_buffer(body, evhttp_request_get_input_buffer(answer));
    if (status != 0 && forward->instead != NULL)
        answers_replace(body, forward->instead);
    evhttp_send_reply(forward->request, status != 0 ? status : BAD_GATEWAY, NULL, body);
    evbuffer_free(body);
    struct proxy *proxy = forward->proxy;
    proxy->is_forwarding = false;
    json_decref(forward->instead);
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

/* Takes over the body and the answers to give instead. */
static void forward_to(struct proxy *proxy, struct evhttp_request *request, uint16_t port, char *body,
                       json_t *instead)
{
    struct forward *forward = xcalloc(1, sizeof *forward);
    *forward =
        (struct forward){.proxy = proxy, .request = request, .port = port, .body = body, .instead = instead};
    if (proxy->is_forwarding)
        DL_APPEND(proxy->waiting, forward);
    else
        forward_start(forward);
}

/* ---- answering ---- */

/* The JSON-RPC answer to one question, with what the rule made of it. */
static json_t *answer_json(const struct proxy_reply *reply, const json_t *question)
{
    const char *content = reply->error != NULL ? reply->error : reply->result;
    json_t *value = json_loads(content, JSON_DECODE_ANY, NULL);
    ensure(value != NULL);
    json_t *json =
        json_pack("{s:s, s:o}", "jsonrpc", "2.0", reply->error != NULL ? "error" : "result", value);
    const json_t *id = json_object_get(question, "id");
    json_object_set_new(json, "id", reply->without_id ? json_null() : json_deep_copy(id));
    return json;
}

static void answer(struct evhttp_request *request, const struct proxy_reply *reply, const json_t *asked)
{
    struct evbuffer *body = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (reply->retry_after != NULL)
        evhttp_add_header(headers, "Retry-After", reply->retry_after);
    if (reply->error != NULL || reply->result != NULL) {
        json_t *json = answer_json(reply, asked);
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

/* Counts a question, and asks the rule about it. */
static void question_judge(struct proxy *proxy, const json_t *question, size_t place,
                           struct proxy_reply *reply)
{
    const char *method = json_string_value(json_object_get(question, "method"));
    const json_t *params = json_object_get(question, "params");
    struct proxy_request asked = {.method = method,
                                  .params = params,
                                  .number = method_count(proxy, method),
                                  .place = place,
                                  .since_us = clock_monotonic_us()};
    const char *tag = json_string_value(json_array_get(params, 0));
    proxy->looks += strcmp(method, "eth_getBlockByNumber") == 0 && tag != NULL && strcmp(tag, "latest") == 0;
    if (proxy->rule != NULL)
        proxy->rule(proxy->context, &asked, reply);
}

/* Answers a request, or lets the node do it. Takes over the body. */
static void reply_give(struct proxy *proxy, struct evhttp_request *request, const struct proxy_reply *reply,
                       const json_t *asked, char *body, json_t *instead)
{
    if (reply->status == 0) {
        forward_to(proxy, request, reply->port, body, instead);
        return;
    }
    answer(request, reply, asked);
    json_decref(instead);
    free(body);
}

/* A batch goes where the rule sends any of its questions, and is answered with what it makes of any; but what it
 * answers to one question in JSON is the answer to that question alone. */
static void batch_judge(struct proxy *proxy, const json_t *batch, struct proxy_reply *reply, json_t **instead)
{
    for (size_t i = 0; i < json_array_size(batch); i++) {
        const json_t *question = json_array_get(batch, i);
        struct proxy_reply one = {.port = proxy->port};
        question_judge(proxy, question, i, &one);
        bool is_json = one.error != NULL || one.result != NULL;
        if (one.status == 200 && is_json && !one.without_id) {
            *instead = *instead == NULL ? json_array() : *instead;
            json_array_append_new(*instead, answer_json(&one, question));
        } else if (one.status != 0) {
            *reply = one;
        } else if (one.port != proxy->port) {
            reply->port = one.port;
        }
    }
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct proxy *proxy = context;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    char *body = xcalloc(1, length + 1);
    evbuffer_remove(input, body, length);
    json_t *json = json_loads(body, 0, NULL), *instead = NULL;
    ensure(json != NULL);
    struct proxy_reply reply = {.port = proxy->port};
    if (json_is_array(json))
        batch_judge(proxy, json, &reply, &instead);
    else
        question_judge(proxy, json, 0, &reply);
    reply_give(proxy, request, &reply, json, body, instead);
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
