#include "wire/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/ensure.h"

struct resolve {
    void (*done)(void *context, const struct resolved *resolved);
    void *context;
    struct event *readable;
    int socket; /* our end; the thread owns the other and writes one struct resolved to it */
};

/* What the thread works on; its own, as it may outlive the asker. */
struct question {
    char *host;
    char port[8];
    int socket;
};

static void look_up(const char *host, const char *port, int flags, struct resolved *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;
    memset(out, 0, sizeof *out);
    out->error = getaddrinfo(host, port, &hints, &list);
    if (out->error != 0)
        return;
    for (const struct addrinfo *at = list; at != NULL && out->count < RESOLVED_MAX; at = at->ai_next) {
        if (at->ai_addrlen > sizeof out->addresses[0].address)
            continue;
        memcpy(&out->addresses[out->count].address, at->ai_addr, at->ai_addrlen);
        out->addresses[out->count++].length = at->ai_addrlen;
    }
    freeaddrinfo(list);
    if (out->count == 0)
        out->error = EAI_NONAME;
}

bool resolve_numeric(const char *host, uint16_t port, struct resolved *out)
{
    char text[8];
    snprintf(text, sizeof text, "%u", port);
    look_up(host, text, AI_NUMERICHOST | AI_NUMERICSERV, out);
    return out->error == 0;
}

static void *answer(void *argument)
{
    struct question *question = argument;
    struct resolved resolved;
    look_up(question->host, question->port, AI_NUMERICSERV, &resolved);
    /* A packet of its own: it arrives whole, or nobody waits for it any more. */
    (void)send(question->socket, &resolved, sizeof resolved, MSG_NOSIGNAL);
    close(question->socket);
    free(question->host);
    free(question);
    return NULL;
}

static void on_answer(evutil_socket_t socket, short what, void *argument)
{
    (void)what;
    struct resolve *resolve = argument;
    struct resolved resolved;
    ssize_t length = recv(socket, &resolved, sizeof resolved, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length != (ssize_t)sizeof resolved) {
        memset(&resolved, 0, sizeof resolved);
        resolved.error = EAI_SYSTEM;
    }
    event_del(resolve->readable);
    resolve->done(resolve->context, &resolved);
}

struct resolve *resolve_start(struct event_base *base, const char *host, uint16_t port,
                              void (*done)(void *context, const struct resolved *resolved), void *context)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return NULL;
    struct resolve *resolve = xcalloc(1, sizeof *resolve);
    resolve->done = done;
    resolve->context = context;
    resolve->socket = ends[0];
    resolve->readable = event_new(base, ends[0], EV_READ | EV_PERSIST, on_answer, resolve);
    ensure(resolve->readable != NULL && event_add(resolve->readable, NULL) == 0);

    struct question *question = xcalloc(1, sizeof *question);
    question->host = xstrdup(host);
    question->socket = ends[1];
    snprintf(question->port, sizeof question->port, "%u", port);
    pthread_t thread;
    pthread_attr_t attributes;
    ensure(pthread_attr_init(&attributes) == 0);
    ensure(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    if (pthread_create(&thread, &attributes, answer, question) != 0) {
        /* No thread to be had: our end sees the other closed, which is told as a failure. */
        close(question->socket);
        free(question->host);
        free(question);
    }
    pthread_attr_destroy(&attributes);
    return resolve;
}

void resolve_free(struct resolve *resolve)
{
    if (resolve == NULL)
        return;
    event_free(resolve->readable);
    close(resolve->socket);
    free(resolve);
}
