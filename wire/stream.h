/* One TLS connection on a non-blocking socket: bytes in, bytes out, nothing of frames or events. Private to
 * wire/.
 *
 * What waits to be sent is one run of bytes. A flush makes TLS records of up to 16 KiB of it and gives each to
 * the kernel with one call, so that all the frames of a turn share a record. A receive fetches all that has
 * come of a record, its head and its content, with one call, and does not ask for more when that was less
 * than a full record. Buffers of an idle stream are given back, here and inside OpenSSL: it holds a kilobyte
 * or two beside OpenSSL's own state.
 */
#ifndef RILL_WIRE_STREAM_H
#define RILL_WIRE_STREAM_H

#include "base/buffer.h"
#include "wire/tls.h"

/* A receive stops when so much has come, whatever more there is: other streams have their turn. A whole frame
 * of the largest size comes in a few of these. */
#define STREAM_RECEIVE_BYTES_MAX (64 * 1024)

struct stream {
    int socket; /* -1: closed */
    SSL *ssl;   /* NULL: closed */
    struct buffer input, output;
    size_t read; /* bytes of the input that are done with */
    size_t sent; /* bytes of the output that have left */
    /* Of a stream that failed: */
    const char *tls_error; /* static text; NULL: it was not TLS */
    int system_error;      /* an errno; 0: the other side closed */
};

enum stream_result {
    STREAM_DONE,   /* for now: a receive waits for more to come, a flush has sent everything */
    STREAM_MORE,   /* a receive stopped at its limit: there may be more that the socket does not show */
    STREAM_READ,   /* goes on when the socket can be read */
    STREAM_WRITE,  /* goes on when the socket can be written */
    STREAM_ENDED,  /* the other side sends no more */
    STREAM_FAILED, /* see the stream's errors; it can only be closed */
};

/* Takes over a connected socket. */
void stream_open(struct stream *stream, int socket, SSL_CTX *context, bool server);
/* Frees all, closes the socket. Says nothing to the other side. */
void stream_close(struct stream *stream);

/* STREAM_DONE: TLS is up. The other side's first bytes may have come with its last ones of the handshake, so
 * a receive must follow. */
enum stream_result stream_handshake(struct stream *stream);

/* What has come goes to the end of the input. `spare` lends its memory to an input that has none. */
enum stream_result stream_receive(struct stream *stream, struct buffer *spare);
/* The input that is not done with. */
static inline const uint8_t *stream_input(const struct stream *stream, size_t *length)
{
    *length = stream->input.length - stream->read;
    return *length == 0 ? stream->input.data
                        : stream->input.data + stream->read; /* an empty one has no memory */
}
static inline void stream_consume(struct stream *stream, size_t length)
{
    stream->read += length;
}
/* After a run of reading: memory that is not needed goes back to `spare`; what is left is kept. */
void stream_settle(struct stream *stream, struct buffer *spare);

static inline size_t stream_output_bytes(const struct stream *stream)
{
    return stream->output.length - stream->sent;
}
/* Sends as much of the output as the kernel takes. */
enum stream_result stream_flush(struct stream *stream);

/* Says that no more comes: close_notify, then the end of the TCP stream. */
void stream_end_output(struct stream *stream);
/* Reads away what has come, unseen: unread bytes would turn the end of the stream into a reset. STREAM_DONE:
 * nothing more for now. */
enum stream_result stream_discard(struct stream *stream);

#endif
