#include "wire/http.h"

#include <string.h>
#include <strings.h>

static bool is_token(unsigned char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(others, c) != NULL);
}

static bool is_visible(unsigned char c)
{
    return c > ' ' && c < 0x7f;
}

static bool all(struct http_text text, bool (*is)(unsigned char c))
{
    for (size_t i = 0; i < text.length; i++)
        if (!is((unsigned char)text.data[i]))
            return false;
    return text.length > 0;
}

bool http_text_is(struct http_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

bool http_text_is_caseless(struct http_text text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.data, word, text.length) == 0;
}

static struct http_text trim(struct http_text text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = (struct http_text){text.data + 1, text.length - 1};
    while (text.length > 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

/* Cuts the next word off a comma list. */
static bool next_word(struct http_text *list, struct http_text *word)
{
    if (list->length == 0)
        return false;
    const char *comma = memchr(list->data, ',', list->length);
    size_t length = comma != NULL ? (size_t)(comma - list->data) : list->length;
    *word = trim((struct http_text){list->data, length});
    size_t taken = comma != NULL ? length + 1 : length;
    *list = (struct http_text){list->data + taken, list->length - taken};
    return true;
}

static bool list_has_text(struct http_text list, struct http_text word)
{
    struct http_text item;
    while (next_word(&list, &item))
        if (item.length == word.length && strncasecmp(item.data, word.data, word.length) == 0)
            return true;
    return false;
}

static bool list_has(struct http_text list, const char *word)
{
    return list_has_text(list, (struct http_text){word, strlen(word)});
}

const struct http_text *http_find(const struct http_head *head, const char *name, size_t *count)
{
    const struct http_text *found = NULL;
    size_t times = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        if (!http_text_is_caseless(head->headers[i].name, name))
            continue;
        found = &head->headers[i].value;
        times++;
    }
    if (count != NULL)
        *count = times;
    return times == 1 ? found : NULL;
}

bool http_is_hop_header(const struct http_head *head, struct http_text name)
{
    static const char *const names[] = {
        "connection",     "keep-alive",         "te",     "trailer",        "transfer-encoding",
        "upgrade",        "proxy-connection",   "expect", "content-length", "proxy-authenticate",
        "http2-settings", "proxy-authorization"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (http_text_is_caseless(name, names[i]))
            return true;
    for (size_t i = 0; i < head->header_count; i++)
        if (http_text_is_caseless(head->headers[i].name, "connection") &&
            list_has_text(head->headers[i].value, name))
            return true;
    return false;
}

/* ---- heads ---- */

/* The next line, without its CR LF. A line that ends otherwise is refused. */
static enum http_result next_line(const char *bytes, size_t length, size_t *at, struct http_text *line)
{
    const char *start = bytes + *at;
    const char *end = memchr(start, '\n', length - *at);
    if (end == NULL)
        return HTTP_MORE;
    if (end == start || end[-1] != '\r')
        return HTTP_REFUSED;
    *line = (struct http_text){start, (size_t)(end - start) - 1};
    *at += (size_t)(end - start) + 1;
    return memchr(line->data, '\r', line->length) == NULL && memchr(line->data, '\0', line->length) == NULL
               ? HTTP_DONE
               : HTTP_REFUSED;
}

static bool read_version(struct http_text text, unsigned *minor)
{
    bool known = http_text_is(text, "HTTP/1.1") || http_text_is(text, "HTTP/1.0");
    *minor = known && text.data[7] == '1' ? 1 : 0;
    return known;
}

static bool read_request_line(struct http_text line, struct http_head *out)
{
    const char *first = memchr(line.data, ' ', line.length);
    if (first == NULL)
        return false;
    out->method = (struct http_text){line.data, (size_t)(first - line.data)};
    const char *rest = first + 1;
    size_t left = line.length - out->method.length - 1;
    const char *second = memchr(rest, ' ', left);
    if (second == NULL)
        return false;
    out->target = (struct http_text){rest, (size_t)(second - rest)};
    return all(out->method, is_token) && out->method.length <= 24 && all(out->target, is_visible) &&
           out->target.data[0] == '/' && memchr(out->target.data, '#', out->target.length) == NULL &&
           read_version((struct http_text){second + 1, left - out->target.length - 1}, &out->minor);
}

static bool read_status_line(struct http_text line, struct http_head *out)
{
    if (line.length < 12 || !read_version((struct http_text){line.data, 8}, &out->minor) ||
        line.data[8] != ' ' || (line.length > 12 && line.data[12] != ' '))
        return false;
    for (size_t i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        out->status = out->status * 10 + (unsigned)(line.data[i] - '0');
    }
    if (line.length > 13)
        out->reason = (struct http_text){line.data + 13, line.length - 13};
    return out->status >= 100 && out->status <= 599;
}

static bool is_value(unsigned char c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static bool read_header(struct http_text line, struct http_head *out)
{
    const char *colon = memchr(line.data, ':', line.length);
    if (colon == NULL || out->header_count == HTTP_HEADERS_MAX)
        return false;
    size_t length = (size_t)(colon - line.data);
    struct http_header header = {{line.data, length},
                                 trim((struct http_text){colon + 1, line.length - length - 1})};
    out->headers[out->header_count++] = header;
    return all(header.name, is_token) && (header.value.length == 0 || all(header.value, is_value));
}

/* Digits only: no sign, no list of lengths that happen to agree. */
static bool read_length(struct http_text text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.length == 0 || text.length > 16)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return value <= HTTP_LENGTH_MAX;
}

static bool read_framing(struct http_head *head)
{
    size_t codings, lengths;
    const struct http_text *coding = http_find(head, "transfer-encoding", &codings);
    const struct http_text *length = http_find(head, "content-length", &lengths);
    if (codings > 1 || lengths > 1 || (codings > 0 && lengths > 0))
        return false;
    if (coding != NULL) {
        head->framing = HTTP_BODY_CHUNKED;
        return http_text_is_caseless(*coding, "chunked") && head->minor == 1;
    }
    if (length == NULL)
        return true;
    head->framing = HTTP_BODY_LENGTH;
    return read_length(*length, &head->body_length);
}

static void read_connection(struct http_head *head)
{
    head->keep_alive = head->minor == 1;
    for (size_t i = 0; i < head->header_count; i++) {
        if (!http_text_is_caseless(head->headers[i].name, "connection"))
            continue;
        if (list_has(head->headers[i].value, "close"))
            head->keep_alive = false;
        else if (head->minor == 0 && list_has(head->headers[i].value, "keep-alive"))
            head->keep_alive = true;
    }
}

static enum http_result read_head(const char *bytes, size_t length, struct http_head *out, size_t *used,
                                  bool (*first)(struct http_text line, struct http_head *out))
{
    struct http_text line;
    size_t at = 0, limit = length < HTTP_HEAD_BYTES_MAX ? length : HTTP_HEAD_BYTES_MAX;
    memset(out, 0, offsetof(struct http_head, headers));
    out->header_count = 0;
    out->framing = HTTP_BODY_NONE;
    out->body_length = 0;
    out->keep_alive = out->expects_continue = false;
    enum http_result result = next_line(bytes, limit, &at, &line);
    if (result == HTTP_DONE && !first(line, out))
        result = HTTP_REFUSED;
    while (result == HTTP_DONE) {
        result = next_line(bytes, limit, &at, &line);
        if (result == HTTP_DONE && line.length == 0)
            break;
        if (result == HTTP_DONE && !read_header(line, out))
            result = HTTP_REFUSED;
    }
    if (result == HTTP_MORE)
        return length >= HTTP_HEAD_BYTES_MAX ? HTTP_LARGE : HTTP_MORE;
    if (result != HTTP_DONE || !read_framing(out))
        return HTTP_REFUSED;
    read_connection(out);
    *used = at;
    return HTTP_DONE;
}

enum http_result http_read_request(const char *bytes, size_t length, struct http_head *out, size_t *used)
{
    enum http_result result = read_head(bytes, length, out, used, read_request_line);
    if (result != HTTP_DONE)
        return result;
    size_t hosts, expectations;
    const struct http_text *host = http_find(out, "host", &hosts);
    const struct http_text *expect = http_find(out, "expect", &expectations);
    if (hosts > 1 || (hosts == 0 && out->minor == 1) || (host != NULL && !all(*host, is_visible)))
        return HTTP_REFUSED;
    if (expectations > 0 && (expect == NULL || !http_text_is_caseless(*expect, "100-continue")))
        return HTTP_REFUSED;
    out->expects_continue = expectations > 0 && out->minor == 1;
    return HTTP_DONE;
}

enum http_result http_read_answer(const char *bytes, size_t length, bool no_body, struct http_head *out,
                                  size_t *used)
{
    enum http_result result = read_head(bytes, length, out, used, read_status_line);
    if (result != HTTP_DONE)
        return result;
    if (no_body || out->status < 200 || out->status == 204 || out->status == 304)
        out->framing = HTTP_BODY_NONE;
    else if (out->framing == HTTP_BODY_NONE)
        out->framing = HTTP_BODY_UNTIL_CLOSE;
    if (out->framing == HTTP_BODY_UNTIL_CLOSE)
        out->keep_alive = false;
    return HTTP_DONE;
}

/* ---- bodies ---- */

enum chunk_state {
    CHUNK_SIZE,      /* its digits */
    CHUNK_EXTENSION, /* after ';', up to the CR */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_START, /* a line begins: a CR ends the body */
    TRAILER,
    TRAILER_LF,
    BODY_LF
};
#define SKIPPED_MAX  8192
#define CHUNK_DIGITS 13 /* below 2^52 */

struct http_body http_body_of(const struct http_head *head)
{
    struct http_body body = {.framing = head->framing, .left = head->body_length};
    body.ended =
        head->framing == HTTP_BODY_NONE || (head->framing == HTTP_BODY_LENGTH && head->body_length == 0);
    if (head->framing != HTTP_BODY_LENGTH)
        body.left = 0;
    return body;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After the line of a chunk's length. */
static void size_read(struct http_body *body)
{
    body->digits = 0;
    body->state = body->left > 0 ? CHUNK_DATA : TRAILER_START;
}

static bool chunk_size(struct http_body *body, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        body->left = body->left * 16 + (uint64_t)digit;
        return ++body->digits <= CHUNK_DIGITS;
    }
    body->state = c == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
    return body->digits > 0 && (c == '\r' || c == ';');
}

/* A line whose content does not count: up to its CR. */
static bool skip(struct http_body *body, char c, enum chunk_state next)
{
    if (c == '\r')
        body->state = (uint8_t)next;
    else if (!is_value((unsigned char)c))
        return false;
    return ++body->skipped <= SKIPPED_MAX;
}

/* One byte of the coding, outside a chunk's content. */
static bool chunk_byte(struct http_body *body, char c)
{
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE:
        return chunk_size(body, c);
    case CHUNK_EXTENSION:
        return skip(body, c, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        size_read(body);
        return c == '\n';
    case CHUNK_DATA_CR:
        body->state = CHUNK_DATA_LF;
        return c == '\r';
    case CHUNK_DATA_LF:
        body->state = CHUNK_SIZE;
        body->left = 0;
        return c == '\n';
    case TRAILER_START:
        body->state = c == '\r' ? BODY_LF : TRAILER;
        return c == '\r' || (is_token((unsigned char)c) && ++body->skipped <= SKIPPED_MAX);
    case TRAILER:
        return skip(body, c, TRAILER_LF);
    case TRAILER_LF:
        body->state = TRAILER_START;
        return c == '\n';
    case BODY_LF:
        body->ended = true;
        return c == '\n';
    case CHUNK_DATA:
        break;
    }
    return false;
}

static void take(struct http_body *body, const char *bytes, size_t length, size_t *used,
                 struct http_text *piece)
{
    size_t count = length < body->left ? length : (size_t)body->left;
    *piece = (struct http_text){bytes, count};
    *used += count;
    body->left -= count;
}

void http_body_untake(struct http_body *body, size_t length)
{
    if (body->framing == HTTP_BODY_UNTIL_CLOSE || length == 0)
        return;
    body->ended = false;
    body->left += length;
    if (body->framing == HTTP_BODY_CHUNKED)
        body->state = CHUNK_DATA;
}

bool http_body_read(struct http_body *body, const char *bytes, size_t length, size_t *used,
                    struct http_text *piece)
{
    *used = 0;
    *piece = (struct http_text){bytes, 0};
    if (body->framing == HTTP_BODY_UNTIL_CLOSE) {
        *piece = (struct http_text){bytes, length};
        *used = length;
        return true;
    }
    if (body->framing == HTTP_BODY_LENGTH) {
        take(body, bytes, length, used, piece);
        body->ended = body->left == 0;
        return true;
    }
    while (*used < length && !body->ended) {
        if (body->state == CHUNK_DATA) {
            take(body, bytes + *used, length - *used, used, piece);
            if (body->left == 0)
                body->state = CHUNK_DATA_CR;
            return true;
        }
        if (!chunk_byte(body, bytes[(*used)++]))
            return false;
    }
    return true;
}
