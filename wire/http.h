/* HTTP/1.1 messages (RFC 9112): heads and the framing of bodies, read strictly. Pure: bytes in, what they say out.
 *
 * For programs that stand between two parties: whoever reads a message otherwise than the next one does lets requests be
 * smuggled past it. So everything that two readers may take differently is refused: bare line feeds, folded headers,
 * white space before a colon, two lengths, a length beside a transfer coding, any coding but "chunked", paths that
 * another reader would resolve to another place.
 *
 *     head:  more ─▶ complete | refused (with the status to answer)
 *     body:  pieces ─▶ ended | refused
 */
#ifndef RILL_WIRE_HTTP_H
#define RILL_WIRE_HTTP_H

#include "base/buffer.h"
#include "base/limits.h"

#define HTTP_HEAD_BYTES_MAX 32768
#define HTTP_HEADERS_MAX    100
#define HTTP_LENGTH_MAX     ((uint64_t)1 << 53)

/* Inside the bytes that were read; not terminated. */
struct http_text {
    const char *data;
    size_t length;
};

struct http_header {
    struct http_text name, value;
};

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE /* answers only */
};

struct http_head {
    struct http_text method, target; /* of a request */
    struct http_text reason;         /* of an answer */
    unsigned status;                 /* of an answer; 0: a request */
    unsigned minor;                  /* HTTP/1.minor: 0 or 1 */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    enum http_framing framing;
    uint64_t body_length; /* HTTP_BODY_LENGTH */
    bool keep_alive;
    bool expects_continue;
};

enum http_result {
    HTTP_MORE,    /* the bytes end before it does */
    HTTP_DONE,    /* *used bytes are it */
    HTTP_REFUSED, /* malformed, or not taken here */
    HTTP_LARGE    /* longer than the limit */
};

/* Reads a request's head. Only the origin form of targets ("/path?query") is taken. */
enum http_result http_read_request(const char *bytes, size_t length, struct http_head *out,
                                   size_t *used) MUST_USE;
/* Reads an answer's head. no_body: the request was a HEAD. */
enum http_result http_read_answer(const char *bytes, size_t length, bool no_body, struct http_head *out,
                                  size_t *used) MUST_USE;

/* The only header of a name (any case): NULL if there is none, or more than one (*count says). count may be NULL. */
const struct http_text *http_find(const struct http_head *head, const char *name, size_t *count);
bool http_text_is(struct http_text text, const char *word);          /* exactly */
bool http_text_is_caseless(struct http_text text, const char *word); /* ASCII letters of either case */
/* True for headers that are about one connection (Connection, Keep-Alive, TE, Trailer, Transfer-Encoding, Upgrade,
 * Proxy-...), the ones that `connection` names, and the lengths: none of them is passed on. */
bool http_is_hop_header(const struct http_head *head, struct http_text name);

/* The path of a target, without its query, with needless percent encoding undone, for comparing with rules. False: it has
 * a dot segment, an encoded slash, backslash or NUL, an empty segment, or a broken encoding: two readers may differ. */
bool http_path(struct http_text target, char *out, size_t size) MUST_USE;

/* ---- bodies ---- */

struct http_body {
    enum http_framing framing;
    uint64_t left;    /* of the body, or of the chunk */
    uint8_t state;    /* of the chunked coding */
    uint8_t digits;   /* of a chunk's length so far */
    uint32_t skipped; /* bytes of extensions and trailers: limited */
    bool ended;
};

struct http_body http_body_of(const struct http_head *head);
/* Reads on: *used bytes are taken, of which *piece (inside bytes) is content; an empty piece with *used 0 means that more
 * bytes are needed. Returns false if the coding is broken. Call until ended, or nothing is used. */
bool http_body_read(struct http_body *body, const char *bytes, size_t length, size_t *used,
                    struct http_text *piece) MUST_USE;

/* The last bytes of the piece that was just read are to be read again: they were left where they are. */
void http_body_untake(struct http_body *body, size_t length);

/* "http://host:port/path?query" in its parts. False: not such a URL, or one with a user or a fragment. */
struct http_url {
    bool tls;
    char host[HOST_BYTES_MAX + 1]; /* without brackets */
    uint16_t port;
    char authority[HOST_BYTES_MAX + 10]; /* as a Host header has it: without the scheme's own port */
    char target[4096];                   /* "/path?query" */
};
bool http_url_read(const char *text, struct http_url *out) MUST_USE;

/* Base64 (RFC 4648, padded, no line ends). Encodes into out, which gets a NUL. */
void http_base64(struct buffer *out, const void *data, size_t length);
/* Decodes into out (room: 3/4 of the text). False on anything but the canonical form. */
bool http_base64_read(struct http_text text, uint8_t *out, size_t capacity, size_t *length) MUST_USE;

#endif
