/* The limits of rill-merchantd; all that a peer can make grow has one. */
#ifndef RILL_MERCHANT_LIMITS_H
#define RILL_MERCHANT_LIMITS_H

#include "base/limits.h"

/* Requests. */
#define HTTP_HEADERS_MAX      8192
#define HTTP_BODY_MAX         (32 * 1024)
#define HTTP_INPUT_MAX        (64 * 1024) /* read ahead of a connection: more than a head and a body */
#define HTTP_REQUEST_S        15          /* from its first byte to its last */
#define HTTP_IDLE_S           60
#define HTTP_ADDRESS_PART     8 /* one in so many connections may be one address's, without a key */
#define HTTP_ADDRESS_MIN      8
#define HTTP_ROOM_PART        8 /* all are taken: one in so many is freed at a time */
#define HTTP_ROOM_IDLE_S      1 /* who came or asked later than this ago is left */
#define PATH_PARTS_MAX        6
#define JSON_DEPTH_MAX        8
#define IDEMPOTENCY_KEY_MAX   255
#define IDEMPOTENCY_KEPT_S    (24 * 3600)
#define IDEMPOTENCY_BYTES_MAX ((size_t)256 << 20) /* of all first results that are remembered */

/* Objects. */
#define EXTERNAL_ID_BYTES_MAX    128
#define METADATA_ENTRIES_MAX     32
#define METADATA_KEY_BYTES_MAX   64
#define METADATA_VALUE_BYTES_MAX 512
#define INVOICE_LIFETIME_MAX_S   31622400
#define PAGE_MAX                 500
#define PAGE_DEFAULT             50
#define PAGE_LOOKED_AT_MAX       50000 /* entries that a filter passes by in one request */

/* Streams, of all connections: so many, of them without a key, of them of one address. What is left is for requests, and
 * for streams with a key. */
#define STREAMS_OF(connections)              ((connections)*3 / 4)
#define STREAMS_OPEN_OF(connections)         ((connections) / 2)
#define STREAMS_OPEN_OF_ADDRESS(connections) ((connections) / 16 < 4 ? 4 : (connections) / 16)

/* Events. */
#define EVENT_RING            1024
#define STREAM_BUFFER_MAX     (128 * 1024) /* waiting in a stream's connection: then it waits on disk */
#define STREAM_PING_S         10
#define STREAM_EVENTS_A_TURN  500
#define WEBHOOKS_MAX          32
#define WEBHOOK_URL_BYTES_MAX 1024
#define WEBHOOK_PENDING_MAX   1000 /* admitted and not delivered, of one webhook */
#define WEBHOOK_DEAD_MAX      10000
#define WEBHOOK_FLIGHTS_MAX   8 /* at once, of one webhook */
#define WEBHOOK_TIMEOUT_S     15
#define WEBHOOK_RETRY_S       (3 * 24 * 3600)
#define WEBHOOK_ANSWER_MAX    (64 * 1024)

/* Keys. */
#define API_KEYS_MAX 256

#endif
