#include "wallet/hub_http.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "ledger/quantity.h"

#define ANSWER_BYTES_MAX (4 * 1024 * 1024)
#define ANSWER_TIME_S    60 /* a proof in a large batch reads many leaves */

struct http_get {
    struct event_base *base;
    bool done;
    int status; /* 0: no answer */
    char *body;
};

static void on_answer(struct evhttp_request *request, void *argument)
{
    struct http_get *get = argument;
    get->done = true;
    if (request != NULL && evhttp_request_get_response_code(request) != 0) {
        struct evbuffer *input = evhttp_request_get_input_buffer(request);
        size_t length = evbuffer_get_length(input);
        get->status = evhttp_request_get_response_code(request);
        get->body = xcalloc(1, length + 1);
        evbuffer_copyout(input, get->body, length);
    }
    event_base_loopbreak(get->base);
}

int hub_http_check(const struct settings *settings, const char *flag, const char *http)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (endpoint_split(http, host, &port))
        return RILL_EXIT_OK;
    return command_fail(settings, RILL_EXIT_USAGE, "--%s '%s' is not HOST:PORT", flag, http);
}

char *hub_http_text(const char *http, const char *path, bool post, int *status)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    ensure(endpoint_split(http, host, &port));
    struct event_base *base = event_base_new();
    struct http_get get = {.base = base};
    ensure(base != NULL);
    struct evhttp_connection *connection = evhttp_connection_base_new(base, NULL, host, port);
    ensure(connection != NULL);
    evhttp_connection_set_timeout(connection, ANSWER_TIME_S);
    evhttp_connection_set_max_body_size(connection, ANSWER_BYTES_MAX);
    struct evhttp_request *request = evhttp_request_new(on_answer, &get);
    ensure(request != NULL);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", host);
    if (evhttp_make_request(connection, request, post ? EVHTTP_REQ_POST : EVHTTP_REQ_GET, path) == 0)
        while (!get.done && event_base_loop(base, EVLOOP_ONCE) == 0)
            continue;
    evhttp_connection_free(connection);
    event_base_free(base);
    *status = get.status;
    return get.body;
}

int hub_http_json(const struct settings *settings, const char *http, const char *path, bool post,
                  json_t **out)
{
    int status, code = RILL_EXIT_OK;
    char *body = hub_http_text(http, path, post, &status);
    if (body == NULL)
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", http);
    json_t *answer = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    free(body);
    if (status != 200 || answer == NULL) {
        const char *error = json_text_at(answer, "error");
        code = command_fail(settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s", http,
                            answer == NULL     ? "nothing that can be read"
                            : error[0] == '\0' ? "no, and not why"
                                               : error);
        json_decref(answer);
        return code;
    }
    *out = answer;
    return code;
}

const char *json_text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

uint64_t json_number_at(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value < 0 ? 0 : (uint64_t)value;
}

bool json_hash_at(const json_t *object, const char *name, struct hash *out)
{
    return hash_of_json(json_object_get(object, name), out);
}

bool json_address_at(const json_t *object, const char *name, struct address *out)
{
    return address_of_json(json_object_get(object, name), out);
}
