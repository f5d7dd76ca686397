/* The operator ports of hub and tower. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/world.h"

struct question {
    bool done;
    int status; /* 0: no answer */
    char *text;
};

static void on_answer(struct evhttp_request *request, void *context)
{
    struct question *question = context;
    question->done = true;
    if (request == NULL || evhttp_request_get_response_code(request) == 0)
        return;
    question->status = evhttp_request_get_response_code(request);
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    question->text = xcalloc(length + 1, 1);
    evbuffer_copyout(input, question->text, length);
}

static bool is_answered(void *context)
{
    return ((struct question *)context)->done;
}

char *world_ask_hub(struct world *world, const char *path)
{
    return world_ask_port(world, world->http_port, path);
}

char *world_ask_port(struct world *world, uint16_t port, const char *path)
{
    struct question question = {.done = false};
    struct evhttp_connection *connection = evhttp_connection_base_new(world->base, NULL, "127.0.0.1", port);
    struct evhttp_request *request = evhttp_request_new(on_answer, &question);
    ensure(connection != NULL && request != NULL);
    evhttp_connection_set_timeout(connection, 60);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "127.0.0.1");
    evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
    bool asked = evhttp_make_request(connection, request, EVHTTP_REQ_GET, path) == 0 &&
                 world_wait(world, is_answered, &question, 65000, "an answer of an operator port");
    evhttp_connection_free(connection);
    if (asked && question.status == 200 && question.text != NULL)
        return question.text;
    if (asked)
        world_fail(world, "%s gives no good answer (status %d)", path, question.status);
    free(question.text);
    return NULL;
}

bool metric_find(const char *metrics, const char *name, uint64_t *out)
{
    char wanted[96];
    size_t length = (size_t)snprintf(wanted, sizeof(wanted), "rill_%s ", name);
    for (const char *line = metrics; line != NULL && *line != '\0';) {
        if (strncmp(line, wanted, length) == 0) {
            *out = strtoull(line + length, NULL, 10);
            return true;
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return false;
}
