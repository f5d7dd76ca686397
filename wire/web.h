/* Streams of HTTP clients: TCP, or TLS whose server has proven its name by a certificate (docs/pay-per-request.md). Nothing
 * of Rill's own handshake: for web servers.
 */
#ifndef RILL_WIRE_WEB_H
#define RILL_WIRE_WEB_H

#include "base/bytes.h"

struct bufferevent;
struct event_base;
struct web_trust;

/* Whom to believe: the system's certificate authorities, or those of a PEM file. NULL, and one line in message, if they
 * cannot be read. Free after every stream that uses it. */
struct web_trust *web_trust_open(const char *ca_file, char *message, size_t message_size);
void web_trust_free(struct web_trust *trust);

struct web_stream;

/* Begins to connect. trust NULL: plain TCP. The stream's bufferevent tells the rest by the callbacks that are set on it
 * now: BEV_EVENT_CONNECTED once connected (and, with TLS, once the server's certificate is good for `host`),
 * BEV_EVENT_ERROR otherwise. Nothing is called before the loop runs. */
struct web_stream *web_stream_open(struct event_base *base, struct web_trust *trust, const char *host,
                                   uint16_t port);
struct bufferevent *web_stream_bufferevent(struct web_stream *stream);
/* Closes and frees, from within a callback too. NULL is allowed. */
void web_stream_free(struct web_stream *stream);
/* Why it failed, one line for a person; after BEV_EVENT_ERROR. */
const char *web_stream_trouble(const struct web_stream *stream);

#endif
