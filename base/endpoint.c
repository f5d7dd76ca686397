#include "base/endpoint.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ensure.h"

bool endpoint_split(const char *text, char host[HOST_BYTES_MAX + 1], uint16_t *port)
{
    const char *colon = text == NULL ? NULL : strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    if (length == 0 || length > HOST_BYTES_MAX || colon[1] == '\0' || strlen(colon + 1) > 5)
        return false;
    unsigned value = 0;
    for (const char *at = colon + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return false;
        value = value * 10 + (unsigned)(*at - '0');
    }
    if (value > UINT16_MAX)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    *port = (uint16_t)value;
    return true;
}

uint16_t endpoint_bound_port(int socket)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t length = sizeof(address);
    ensure(getsockname(socket, &address.any, &length) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}
