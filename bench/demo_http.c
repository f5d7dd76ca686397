/* HTTP on loopback, asked while the wallets' loop goes on: the hub's operator port, and the shop's API. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/demo.h"

#define ANSWER_S 10

struct question {
    demo_http_answer *answer;
    void *context;
};

static void on_answer(struct evhttp_request *request, void *context)
{
    struct question *question = context;
    int status = request == NULL ? 0 : evhttp_request_get_response_code(request);
    json_t *json = NULL;
    if (status != 0) {
        struct evbuffer *input = evhttp_request_get_input_buffer(request);
        size_t length = evbuffer_get_length(input);
        const char *body = (const char *)evbuffer_pullup(input, -1);
        if (length > 0)
            json = json_loadb(body, length, JSON_DECODE_ANY, NULL);
    }
    question->answer(question->context, status, json);
    json_decref(json);
    free(question);
}

static void put_body(struct evhttp_request *request, const json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    ensure(text != NULL);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evbuffer_add(evhttp_request_get_output_buffer(request), text, strlen(text));
    free(text);
}

void demo_http_headers(struct evhttp_request *request, const char *key)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    char bearer[DEMO_KEY_MAX + 16];
    evhttp_add_header(headers, "Host", "127.0.0.1");
    evhttp_add_header(headers, "Connection", "close");
    if (key == NULL)
        return;
    snprintf(bearer, sizeof(bearer), "Bearer %s", key);
    evhttp_add_header(headers, "Authorization", bearer);
    bytes_wipe(bearer, sizeof(bearer));
}

void demo_http_send(struct demo *demo, const struct demo_http *asked, demo_http_answer *answer, void *context)
{
    struct question *question = xcalloc(1, sizeof(*question));
    *question = (struct question){answer, context};
    struct evhttp_connection *connection =
        evhttp_connection_base_new(demo->base, NULL, "127.0.0.1", asked->port);
    struct evhttp_request *request = evhttp_request_new(on_answer, question);
    ensure(connection != NULL && request != NULL);
    evhttp_connection_set_timeout(connection, ANSWER_S);
    evhttp_connection_free_on_completion(connection);
    demo_http_headers(request, asked->key);
    if (asked->once != NULL)
        evhttp_add_header(evhttp_request_get_output_headers(request), "Idempotency-Key", asked->once);
    if (asked->body != NULL)
        put_body(request, asked->body);
    /* If it cannot even be asked, libevent frees the request without an answer: the one who waits says so. */
    if (evhttp_make_request(connection, request, asked->post ? EVHTTP_REQ_POST : EVHTTP_REQ_GET,
                            asked->path) != 0)
        demo_fail(demo, "port %u cannot be asked for %s", asked->port, asked->path);
}

/* ---- one question that is waited for ---- */

static struct {
    bool done;
    int status;
    json_t *json;
} current;

static void on_current(void *context, int status, json_t *json)
{
    (void)context;
    current.done = true;
    current.status = status;
    current.json = json_incref(json);
}

static bool answered(struct demo *demo, char *progress, size_t size)
{
    (void)demo;
    snprintf(progress, size, "no answer yet");
    return current.done;
}

json_t *demo_http_ask(struct demo *demo, const struct demo_http *asked, const char *whom)
{
    current.done = false;
    current.json = NULL;
    demo_http_send(demo, asked, on_current, NULL);
    if (!demo_wait(demo, answered, (ANSWER_S + 5) * 1000, whom))
        return NULL;
    if ((current.status == 200 || current.status == 201) && current.json != NULL)
        return current.json;
    const json_t *error = json_object_get(current.json, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    demo_fail(demo, "%s gives no good answer to %s (status %d%s%s)", whom, asked->path, current.status,
              message != NULL ? ": " : "", message != NULL ? message : "");
    json_decref(current.json);
    return NULL;
}

json_t *demo_ask_hub(struct demo *demo, const char *path, bool post)
{
    const struct demo_http asked = {.port = demo->hub_http_port, .path = path, .post = post};
    return demo_http_ask(demo, &asked, "the hub's operator port");
}
