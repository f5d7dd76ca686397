#include "bench/http_service.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "wire/http.h"

static char answer[2048];
static size_t answer_length;

/* GET only: a head is a request. */
static void on_read(struct bufferevent *stream, void *context)
{
    (void)context;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t length;
    while ((length = evbuffer_get_length(input)) > 0) {
        struct http_head head;
        size_t used;
        const char *bytes = (const char *)evbuffer_pullup(input, -1);
        enum http_result result = http_read_request(bytes, length, &head, &used);
        if (result == HTTP_MORE)
            return;
        if (result != HTTP_DONE) {
            bufferevent_free(stream);
            return;
        }
        evbuffer_drain(input, used);
        bufferevent_write(stream, answer, answer_length);
    }
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    (void)what;
    (void)context;
    bufferevent_free(stream);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t socket, struct sockaddr *address,
                      int length, void *context)
{
    (void)listener;
    (void)address;
    (void)length;
    int on = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct bufferevent *stream = bufferevent_socket_new(context, socket, BEV_OPT_CLOSE_ON_FREE);
    ensure(stream != NULL);
    bufferevent_setcb(stream, on_read, NULL, on_event, NULL);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static _Noreturn void serve(int socket)
{
    struct event_base *base = event_base_new();
    ensure(base != NULL && evutil_make_socket_nonblocking(socket) == 0);
    answer_length = (size_t)snprintf(answer, sizeof(answer),
                                     "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n"
                                     "Content-Type: application/octet-stream\r\n\r\n");
    memset(answer + answer_length, 'x', 1024);
    answer_length += 1024;
    struct evconnlistener *listener =
        evconnlistener_new(base, on_accept, base, LEV_OPT_CLOSE_ON_FREE, 1024, socket);
    ensure(listener != NULL);
    event_base_dispatch(base);
    _exit(0);
}

bool http_service_start(struct child *child, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(descriptor, 1024) != 0)
        return false;
    *port = endpoint_bound_port(descriptor);
    fflush(NULL);
    snprintf(child->name, sizeof(child->name), "service");
    child->pid = fork();
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        signal(SIGPIPE, SIG_IGN);
        serve(descriptor);
    }
    close(descriptor);
    if (child->pid < 0)
        child->pid = 0;
    return child->pid != 0;
}
