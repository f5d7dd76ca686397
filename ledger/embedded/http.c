#include "ledger/embedded/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define SWEEP_INTERVAL_MS 50

/* libevent's HTTP server neither limits its connections nor tells when one is gone. So a reference to each is
 * kept here: a connection that the server has freed has no callbacks any more. */
struct http {
    struct node *node;
    struct evhttp *server;
    struct evhttp_bound_socket *socket;
    struct event *sweep_timer; /* runs while the limit is reached */
    struct bufferevent **connections;
    unsigned connection_count, connections_max;
};

static bool connection_is_gone(struct bufferevent *connection)
{
    bufferevent_data_cb read, write;
    bufferevent_event_cb event;
    void *context;
    bufferevent_getcb(connection, &read, &write, &event, &context);
    return read == NULL && write == NULL && event == NULL;
}

static void connections_sweep(struct http *http, bool all)
{
    for (unsigned i = http->connection_count; i > 0; i--) {
        struct bufferevent *connection = http->connections[i - 1];
        if (!all && !connection_is_gone(connection))
            continue;
        http->connections[i - 1] = http->connections[--http->connection_count];
        bufferevent_decref(connection);
    }
}

static void connections_pause(struct http *http)
{
    const struct timeval interval = {0, SWEEP_INTERVAL_MS * 1000};
    evconnlistener_disable(evhttp_bound_socket_get_listener(http->socket));
    ensure(event_add(http->sweep_timer, &interval) == 0);
}

static void on_sweep(evutil_socket_t descriptor, short what, void *context)
{
    struct http *http = context;
    (void)descriptor;
    (void)what;
    connections_sweep(http, false);
    if (http->connection_count == http->connections_max)
        connections_pause(http);
    else
        evconnlistener_enable(evhttp_bound_socket_get_listener(http->socket));
}

static struct bufferevent *on_connection(struct event_base *base, void *context)
{
    struct http *http = context;
    struct bufferevent *connection = bufferevent_socket_new(base, -1, 0);
    if (connection == NULL)
        return NULL;
    connections_sweep(http, false);
    ensure(http->connection_count < http->connections_max);
    bufferevent_incref(connection);
    http->connections[http->connection_count++] = connection;
    if (http->connection_count == http->connections_max)
        connections_pause(http);
    return connection;
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct http *http = context;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    struct buffer answer = {0};
    size_t length = evbuffer_get_length(input);
    const char *text = length == 0 ? "" : (const char *)evbuffer_pullup(input, -1);
    node_answer(http->node, text, length, &answer);
    struct evbuffer *output = evbuffer_new();
    ensure(output != NULL && evbuffer_add(output, answer.data, answer.length) == 0);
    buffer_free(&answer);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evhttp_send_reply(request, HTTP_OK, NULL, output);
    evbuffer_free(output);
}

struct http *http_open(struct event_base *base, uint16_t port, unsigned connections_max, char *message,
                       size_t message_size)
{
    struct http *http = xcalloc(1, sizeof(*http));
    http->connections_max = connections_max;
    http->connections = xcalloc(connections_max, sizeof(struct bufferevent *));
    http->sweep_timer = evtimer_new(base, on_sweep, http);
    http->server = evhttp_new(base);
    ensure(http->server != NULL && http->sweep_timer != NULL && connections_max > 0);
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_POST);
    evhttp_set_max_body_size(http->server, NODE_REQUEST_BYTES_MAX);
    evhttp_set_max_headers_size(http->server, HTTP_HEADER_BYTES_MAX);
    evhttp_set_timeout(http->server, HTTP_IDLE_TIMEOUT_S);
    evhttp_set_bevcb(http->server, on_connection, http);
    evhttp_set_gencb(http->server, on_request, http);
    http->socket = evhttp_bind_socket_with_handle(http->server, "127.0.0.1", port);
    if (http->socket == NULL) {
        snprintf(message, message_size, "cannot listen on 127.0.0.1:%u: %s%s", port, strerror(errno),
                 errno == EADDRINUSE ? " (is another rill-ledgerd running? --port chooses another)" : "");
        http_close(http);
        return NULL;
    }
    return http;
}

void http_serve(struct http *http, struct node *node)
{
    http->node = node;
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    connections_sweep(http, true);
    event_free(http->sweep_timer);
    evhttp_free(http->server);
    free(http->connections);
    free(http);
}

uint16_t http_port(const struct http *http)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);
    ensure(getsockname(evhttp_bound_socket_get_fd(http->socket), (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}
