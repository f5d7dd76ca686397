/* The hub's operator port, asked over HTTP while the wallets' loop goes on. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/demo.h"

struct question {
    bool done;
    int status; /* 0: no answer */
    json_t *json;
};
/* One question at a time. */
static struct question current;

static void on_answer(struct evhttp_request *request, void *context)
{
    struct question *question = context;
    question->done = true;
    if (request == NULL || evhttp_request_get_response_code(request) == 0)
        return;
    question->status = evhttp_request_get_response_code(request);
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    const char *body = (const char *)evbuffer_pullup(input, -1);
    if (length > 0)
        question->json = json_loadb(body, length, JSON_DECODE_ANY, NULL);
}

static bool answered(struct demo *demo, char *progress, size_t size)
{
    (void)demo;
    snprintf(progress, size, "no answer yet");
    return current.done;
}

json_t *demo_ask_hub(struct demo *demo, const char *path, bool post)
{
    current = (struct question){.done = false};
    struct evhttp_connection *connection =
        evhttp_connection_base_new(demo->base, NULL, "127.0.0.1", demo->hub_http_port);
    struct evhttp_request *request = evhttp_request_new(on_answer, &current);
    ensure(connection != NULL && request != NULL);
    evhttp_connection_set_timeout(connection, 10);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "127.0.0.1");
    evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
    bool asked =
        evhttp_make_request(connection, request, post ? EVHTTP_REQ_POST : EVHTTP_REQ_GET, path) == 0 &&
        demo_wait(demo, answered, 15000, "the hub's operator port");
    evhttp_connection_free(connection);
    if (asked && current.status == 200 && current.json != NULL)
        return current.json;
    json_decref(current.json);
    demo_fail(demo, "the hub's %s gives no good answer (status %d)", path, current.status);
    return NULL;
}
