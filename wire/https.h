/* TLS for HTTP, on bufferevents: a server with a certificate from files, and a client that trusts what the system trusts.
 *
 * Rill's own links (wire/link.h) prove who they are by ledger keys; browsers and web hooks go by certificates.
 */
#ifndef RILL_WIRE_HTTPS_H
#define RILL_WIRE_HTTPS_H

#include "base/bytes.h"

struct bufferevent;
struct event_base;
struct https_server;
struct https_client;

/* A certificate chain and its key, PEM. NULL, and one line in message, if they cannot be used. */
struct https_server *https_server_open(const char *certificate, const char *key, char *message,
                                       size_t message_size);
void https_server_free(struct https_server *server); /* NULL is allowed */
/* A bufferevent that waits for its descriptor; closes it when freed. */
struct bufferevent *https_server_accept(struct https_server *server, struct event_base *base);

/* authority: a PEM file of further certificates to trust; NULL: the system's alone. */
struct https_client *https_client_open(const char *authority, char *message, size_t message_size);
void https_client_free(struct https_client *client);
/* A connection to be made to a host, whose certificate must be good for this name (or numeric address). */
struct bufferevent *https_client_connect(struct https_client *client, struct event_base *base,
                                         const char *host);

#endif
