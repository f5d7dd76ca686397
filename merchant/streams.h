/* Server-sent events: requests that stay open and are told what happens.
 *
 * A stream is a place in the story of events. Whenever something is published, and whenever the connection has drained, it
 * is told what comes after its place, as long as no more than STREAM_BUFFER_MAX bytes wait for it. A client that does not
 * read costs no more than that, and the story waits for it on disk.
 */
#ifndef RILL_MERCHANT_STREAMS_H
#define RILL_MERCHANT_STREAMS_H

#include <event2/http.h>

#include "merchant/shop.h"

struct streams;

/* connections: so many there may be of the server; streams have their part of them (merchant/limits.h). */
struct streams *streams_new(struct event_base *base, const struct shop *shop, size_t connections);
/* Ends them all. */
void streams_free(struct streams *streams);
size_t streams_count(const struct streams *streams);
/* Whose a stream is. */
struct stream_client {
    bool is_open;        /* anybody's: without what only the shop may see */
    const char *address; /* of anybody, as address_counted has it; NULL: nobody in particular */
};
/* There is no room for one more of this client. */
bool streams_full(const struct streams *streams, const struct stream_client *client);
/* Takes a request over. invoice: OBJECT_NONE for all events; after: the place that its client knows (NULL: only what comes
 * from now on). */
void streams_add(struct streams *streams, struct evhttp_request *request, const struct object_id *invoice,
                 const struct stream_client *client, const struct event_place *after);
/* There is something new. */
void streams_published(struct streams *streams);
/* Once a second. */
void streams_tick(struct streams *streams);

#endif
