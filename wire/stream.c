#include "wire/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/ensure.h"

#define RECORD_BYTES_MAX SSL3_RT_MAX_PLAIN_LENGTH
/* What an output that is empty may keep, so that small frames need no allocation. */
#define OUTPUT_KEEP_BYTES 1024
#define SPARE_BYTES_MAX   (2 * STREAM_RECEIVE_BYTES_MAX)
#define DISCARDS_PER_TURN 64

void stream_open(struct stream *stream, int socket, SSL_CTX *context, bool server)
{
    *stream = (struct stream){.socket = socket, .ssl = SSL_new(context)};
    ensure(stream->ssl != NULL && SSL_set_fd(stream->ssl, socket) == 1);
    /* One read fetches a record's head and content. */
    SSL_set_read_ahead(stream->ssl, 1);
    if (server)
        SSL_set_accept_state(stream->ssl);
    else
        SSL_set_connect_state(stream->ssl);
}

void stream_close(struct stream *stream)
{
    SSL_free(stream->ssl);
    if (stream->socket >= 0)
        close(stream->socket);
    buffer_free(&stream->input);
    buffer_free(&stream->output);
    *stream = (struct stream){.socket = -1};
}

static enum stream_result stream_failed(struct stream *stream, int error)
{
    unsigned long code = ERR_get_error();
    stream->system_error = error;
    if (code != 0 && ERR_GET_LIB(code) != ERR_LIB_SYS) {
        const char *text = ERR_reason_error_string(code);
        stream->tls_error = text != NULL ? text : "unknown error";
    }
    ERR_clear_error();
    return STREAM_FAILED;
}

/* Why a call to OpenSSL did not do what it was asked. */
static enum stream_result result_of(struct stream *stream, int returned)
{
    int error = errno;
    switch (SSL_get_error(stream->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_READ;
    case SSL_ERROR_WANT_WRITE:
        return STREAM_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return STREAM_ENDED;
    case SSL_ERROR_SYSCALL:
        return stream_failed(stream, error);
    default:
        return stream_failed(stream, 0);
    }
}

/* Clearing costs more than looking, and there is nearly never anything to clear. */
static void forget_old_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

enum stream_result stream_handshake(struct stream *stream)
{
    forget_old_errors();
    int done = SSL_do_handshake(stream->ssl);
    return done == 1 ? STREAM_DONE : result_of(stream, done);
}

/* ---- input ---- */

static void swap(struct buffer *one, struct buffer *other)
{
    struct buffer between = *one;
    *one = *other;
    *other = between;
}

/* Room for a record at the input's end; what is done with makes place first. */
static uint8_t *room_for_record(struct stream *stream, struct buffer *spare)
{
    struct buffer *input = &stream->input;
    size_t left = input->length - stream->read;
    if (input->capacity < left + RECORD_BYTES_MAX && spare->capacity > input->capacity) {
        if (left > 0)
            buffer_append(spare, input->data + stream->read, left);
        swap(input, spare);
        buffer_clear(spare);
    } else if (stream->read > 0) {
        memmove(input->data, input->data + stream->read, left);
        input->length = left;
    }
    stream->read = 0;
    return buffer_extend(input, RECORD_BYTES_MAX);
}

enum stream_result stream_receive(struct stream *stream, struct buffer *spare)
{
    size_t received = 0;
    for (;;) {
        uint8_t *room = room_for_record(stream, spare);
        forget_old_errors();
        int length = SSL_read(stream->ssl, room, RECORD_BYTES_MAX);
        stream->input.length -= (size_t)(RECORD_BYTES_MAX - (length > 0 ? length : 0));
        if (length <= 0) {
            enum stream_result result = result_of(stream, length);
            return result == STREAM_READ ? STREAM_DONE : result;
        }
        received += (size_t)length;
        /* OpenSSL reads ahead as far as one full record: after a shorter one the socket is empty, or says
         * that it is not. */
        if (length < RECORD_BYTES_MAX && !SSL_has_pending(stream->ssl))
            return STREAM_DONE;
        if (received >= STREAM_RECEIVE_BYTES_MAX)
            return STREAM_MORE;
    }
}

void stream_settle(struct stream *stream, struct buffer *spare)
{
    struct buffer *input = &stream->input;
    size_t left = input->length - stream->read;
    if (input->capacity <= 4 * left)
        return; /* it is full enough to be kept as it is; or there is none */
    struct buffer kept = {0};
    if (left > 0)
        buffer_append(&kept, input->data + stream->read, left);
    buffer_clear(input);
    if (input->capacity > spare->capacity && input->capacity <= SPARE_BYTES_MAX)
        swap(input, spare);
    buffer_free(input);
    *input = kept;
    stream->read = 0;
}

/* ---- output ---- */

/* What has left makes place, so that a peer that never takes all of it does not make the output grow. */
static void make_room(struct stream *stream)
{
    struct buffer *output = &stream->output;
    size_t left = output->length - stream->sent;
    if (stream->sent <= left)
        return;
    memmove(output->data, output->data + stream->sent, left);
    output->length = left;
    stream->sent = 0;
}

enum stream_result stream_flush(struct stream *stream)
{
    struct buffer *output = &stream->output;
    while (stream->sent < output->length) {
        size_t left = output->length - stream->sent;
        forget_old_errors();
        int length = SSL_write(stream->ssl, output->data + stream->sent,
                               (int)(left < RECORD_BYTES_MAX ? left : RECORD_BYTES_MAX));
        if (length <= 0) {
            make_room(stream);
            return result_of(stream, length);
        }
        stream->sent += (size_t)length;
    }
    stream->sent = 0;
    buffer_clear(output);
    if (output->capacity > OUTPUT_KEEP_BYTES)
        buffer_free(output);
    return STREAM_DONE;
}

/* ---- the end ---- */

void stream_end_output(struct stream *stream)
{
    if (SSL_is_init_finished(stream->ssl) && !(SSL_get_shutdown(stream->ssl) & SSL_SENT_SHUTDOWN))
        (void)SSL_shutdown(stream->ssl);
    ERR_clear_error();
    (void)shutdown(stream->socket, SHUT_WR);
}

enum stream_result stream_discard(struct stream *stream)
{
    char scratch[4096];
    for (int i = 0; i < DISCARDS_PER_TURN; i++) {
        ssize_t length = recv(stream->socket, scratch, sizeof scratch, MSG_DONTWAIT);
        if (length == 0)
            return STREAM_ENDED;
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return errno == EAGAIN ? STREAM_DONE : STREAM_FAILED;
    }
    return STREAM_DONE;
}
