#include "tests/support/slow_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"

#define BETWEEN_MS 20

/* At most wait_ms, -1: however long. False: the server is to end. */
static bool goes_on(const struct slow_server *server, int descriptor, int wait_ms)
{
    struct pollfd waited[] = {{.fd = server->ended, .events = POLLIN}, {.fd = descriptor, .events = POLLIN}};
    (void)poll(waited, descriptor < 0 ? 1 : 2, wait_ms);
    return (waited[0].revents & POLLIN) == 0;
}

static void answer(struct slow_server *server, int client)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                               "4000000\r\n\r\n";
    char request[4096];
    if (!goes_on(server, client, -1) || read(client, request, sizeof(request)) <= 0 ||
        send(client, head, strlen(head), MSG_NOSIGNAL) < 0)
        return;
    atomic_fetch_add(&server->answers, 1);
    while (goes_on(server, -1, BETWEEN_MS) && send(client, " ", 1, MSG_NOSIGNAL) == 1)
        continue;
}

static void *serve(void *context)
{
    struct slow_server *server = context;
    while (goes_on(server, server->listener, -1)) {
        int client = accept(server->listener, NULL, NULL);
        if (client < 0)
            continue;
        answer(server, client);
        close(client);
    }
    return NULL;
}

void slow_server_open(struct slow_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    atomic_init(&server->answers, 0);
    server->ended = eventfd(0, EFD_CLOEXEC);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ensure(server->ended >= 0 && server->listener >= 0);
    ensure(bind(server->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    ensure(listen(server->listener, 8) == 0);
    ensure(getsockname(server->listener, (struct sockaddr *)&address, &length) == 0);
    server->port = ntohs(address.sin_port);
    ensure(pthread_create(&server->thread, NULL, serve, server) == 0);
}

void slow_server_close(struct slow_server *server)
{
    ensure(eventfd_write(server->ended, 1) == 0);
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->ended);
}
