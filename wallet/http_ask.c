#include "wallet/http_ask.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "wire/https.h"

#define ANSWER_BYTES_MAX (4 * 1024 * 1024)
#define TIMEOUT_MS                                                                                           \
    60000 /* a hub's proof in a large batch reads many leaves; a connection that is refused fails at once */

struct waiting {
    struct event_base *base;
    bool done, late;
    int status; /* 0: no answer */
    char *body;
};

static void on_answer(struct evhttp_request *request, void *argument)
{
    struct waiting *waiting = argument;
    waiting->done = true;
    if (request != NULL && evhttp_request_get_response_code(request) != 0) {
        struct evbuffer *input = evhttp_request_get_input_buffer(request);
        size_t length = evbuffer_get_length(input);
        waiting->status = evhttp_request_get_response_code(request);
        waiting->body = xcalloc(1, length + 1);
        evbuffer_copyout(input, waiting->body, length);
    }
    event_base_loopbreak(waiting->base);
}

static void on_late(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct waiting *waiting = argument;
    waiting->late = true;
    event_base_loopbreak(waiting->base);
}

/* libevent's time-outs are of silence only: with them a peer that sends a byte a second could hold the caller for ever. */
static void wait_for(struct waiting *waiting, const struct http_question *question)
{
    uint64_t limit_ms = question->timeout_ms != 0 ? question->timeout_ms : TIMEOUT_MS;
    struct timeval limit = {.tv_sec = (time_t)(limit_ms / 1000),
                            .tv_usec = (suseconds_t)(limit_ms % 1000 * 1000)};
    struct event *timer = evtimer_new(waiting->base, on_late, waiting);
    ensure(timer != NULL && event_add(timer, &limit) == 0);
    while (!waiting->done && !waiting->late && (question->given_up == NULL || !*question->given_up) &&
           event_base_loop(waiting->base, EVLOOP_ONCE) == 0)
        continue;
    event_free(timer);
}

static void ask(struct evhttp_connection *connection, const struct http_question *question,
                struct waiting *waiting)
{
    char host[HOST_BYTES_MAX + 8];
    struct evhttp_request *request = evhttp_request_new(on_answer, waiting);
    ensure(request != NULL);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    snprintf(host, sizeof(host), "%s:%u", question->host, question->port);
    evhttp_add_header(headers, "Host", host);
    if (question->authorization != NULL)
        evhttp_add_header(headers, "Authorization", question->authorization);
    if (question->body != NULL) {
        evhttp_add_header(headers, "Content-Type", "application/json");
        evbuffer_add(evhttp_request_get_output_buffer(request), question->body, strlen(question->body));
    }
    if (evhttp_make_request(connection, request, question->body != NULL ? EVHTTP_REQ_POST : EVHTTP_REQ_GET,
                            question->path) == 0)
        wait_for(waiting, question);
}

char *http_ask_wait(const struct http_question *question, int *status)
{
    char message[300];
    struct event_base *base = question->base != NULL ? question->base : event_base_new();
    struct waiting waiting = {.base = base};
    struct https_client *https =
        question->https ? https_client_open(question->authority, message, sizeof(message)) : NULL;
    ensure(base != NULL);
    *status = 0;
    if (question->https && https == NULL) {
        fprintf(stderr, "rill: %s\n", message);
        if (question->base == NULL)
            event_base_free(base);
        return NULL;
    }
    struct bufferevent *event = https != NULL ? https_client_connect(https, base, question->host)
                                              : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    ensure(event != NULL);
    struct evhttp_connection *connection =
        evhttp_connection_base_bufferevent_new(base, NULL, event, question->host, question->port);
    ensure(connection != NULL);
    evhttp_connection_set_timeout(connection, TIMEOUT_MS / 1000 + 1); /* its own ones are shorter */
    evhttp_connection_set_max_body_size(connection, ANSWER_BYTES_MAX);
    ask(connection, question, &waiting);
    evhttp_connection_free(connection);
    https_client_free(https);
    if (question->base == NULL)
        event_base_free(base);
    *status = waiting.status;
    return waiting.body;
}
