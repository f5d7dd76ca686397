/* Messages of HTTP/1.1 from whoever sends them: heads, the framing of bodies, paths, URLs.
 *
 *     input: kind u8 (request, answer, answer to HEAD; path, URL, base64), how the body is cut u8, the message
 *
 * A head is one thing: no beginning of it is a head already, and what follows it changes nothing. A body is the same however
 * it comes in pieces. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "wire/http.h"

enum kind { KIND_REQUEST, KIND_ANSWER, KIND_ANSWER_TO_HEAD, KIND_PATH, KIND_URL, KIND_BASE64, KINDS };

static enum http_result read_head(enum kind kind, const char *bytes, size_t length, struct http_head *out,
                                  size_t *used)
{
    return kind == KIND_REQUEST ? http_read_request(bytes, length, out, used)
                                : http_read_answer(bytes, length, kind == KIND_ANSWER_TO_HEAD, out, used);
}

static void inside(struct http_text text, const char *bytes, size_t length)
{
    ensure(text.length == 0 || (text.data >= bytes && text.data + text.length <= bytes + length));
}

static void check_head(const struct http_head *head, enum kind kind, const char *bytes, size_t used)
{
    ensure(used <= HTTP_HEAD_BYTES_MAX && head->header_count <= HTTP_HEADERS_MAX && head->minor <= 1);
    ensure((kind == KIND_REQUEST) == (head->status == 0) && head->body_length <= HTTP_LENGTH_MAX);
    ensure(kind != KIND_REQUEST || (head->method.length > 0 && head->target.length > 0 &&
                                    head->target.data[0] == '/' && head->framing != HTTP_BODY_UNTIL_CLOSE));
    ensure(kind != KIND_ANSWER_TO_HEAD || head->framing == HTTP_BODY_NONE);
    inside(head->method, bytes, used);
    inside(head->target, bytes, used);
    inside(head->reason, bytes, used);
    for (size_t i = 0; i < head->header_count; i++) {
        struct http_header header = head->headers[i];
        inside(header.name, bytes, used);
        inside(header.value, bytes, used);
        ensure(header.name.length > 0 && memchr(header.name.data, ':', header.name.length) == NULL);
        ensure(memchr(header.value.data, '\n', header.value.length) == NULL &&
               memchr(header.value.data, '\r', header.value.length) == NULL &&
               memchr(header.value.data, '\0', header.value.length) == NULL);
        (void)http_is_hop_header(head, header.name);
    }
}

/* Reads it in pieces of so many bytes, 0: all that there is. Its content is appended; false: the coding is broken. */
static bool read_body(const struct http_head *head, const char *bytes, size_t length, size_t cut,
                      struct buffer *content, size_t *taken, bool *ended)
{
    struct http_body body = http_body_of(head);
    size_t at = 0, shown = cut == 0 || cut > length ? length : cut;
    bool good = true;
    while (good && !body.ended) {
        struct http_text piece = {NULL, 0};
        size_t used = 0;
        good = http_body_read(&body, bytes + at, shown - at, &used, &piece);
        if (!good)
            break;
        ensure(used <= shown - at && piece.length <= used);
        inside(piece, bytes + at, used);
        if (piece.length > 0)
            buffer_append(content, piece.data, piece.length);
        at += used;
        if (used > 0)
            continue;
        if (shown == length)
            break;
        shown = shown + cut < length ? shown + cut : length;
    }
    *taken = at;
    *ended = body.ended;
    return good;
}

static void check_body(const struct http_head *head, const char *bytes, size_t length, size_t cut)
{
    struct buffer whole = {0}, parts = {0};
    size_t taken, taken_in_parts;
    bool ended, ended_in_parts;
    bool good = read_body(head, bytes, length, 0, &whole, &taken, &ended);
    bool good_in_parts = read_body(head, bytes, length, cut, &parts, &taken_in_parts, &ended_in_parts);
    ensure(good == good_in_parts && ended == ended_in_parts);
    ensure(!good || (taken == taken_in_parts && whole.length == parts.length));
    ensure(parts.length <= whole.length || whole.length == 0 || !good);
    ensure(!good || whole.length == 0 || memcmp(whole.data, parts.data, whole.length) == 0);
    ensure(!ended || head->framing != HTTP_BODY_LENGTH || whole.length == head->body_length);
    buffer_free(&whole);
    buffer_free(&parts);
}

static void read_message(enum kind kind, uint8_t cut, const char *bytes, size_t length)
{
    static struct http_head head, again;
    size_t used = 0, used_again = 0;
    size_t shown = length < HTTP_HEAD_BYTES_MAX ? length : HTTP_HEAD_BYTES_MAX;
    enum http_result result = read_head(kind, bytes, shown, &head, &used);
    if (result != HTTP_DONE)
        return;
    ensure(used > 0 && used <= shown);
    check_head(&head, kind, bytes, used);
    char *exact = (char *)input_copy((const uint8_t *)bytes, used);
    ensure(read_head(kind, exact, used, &again, &used_again) == HTTP_DONE && used_again == used);
    ensure(again.header_count == head.header_count && again.framing == head.framing &&
           again.body_length == head.body_length && again.keep_alive == head.keep_alive);
    free(exact);
    size_t part = used > 1 ? cut * (used - 1) / 256 : 0;
    exact = (char *)input_copy((const uint8_t *)bytes, part);
    ensure(read_head(kind, exact, part, &again, &used_again) != HTTP_DONE);
    free(exact);
    check_body(&head, bytes + used, length - used, cut);
}

/* What is compared with prices: no second reading of it leads elsewhere. */
static void read_path(const char *bytes, size_t length)
{
    char path[512];
    if (!http_path((struct http_text){bytes, length}, path, sizeof(path)))
        return;
    ensure(path[0] == '/' && strlen(path) < sizeof(path) && strstr(path, "//") == NULL &&
           strstr(path, "/../") == NULL && strstr(path, "/./") == NULL && strchr(path, '\\') == NULL &&
           strchr(path, '?') == NULL);
}

static void read_url(const char *bytes, size_t length)
{
    static struct http_url url;
    char *text = xcalloc(length + 1, 1);
    memcpy(text, bytes, length);
    if (http_url_read(text, &url)) {
        ensure(url.host[0] != '\0' && url.target[0] == '/' && url.port != 0);
        ensure(strpbrk(url.target, " \r\n#") == NULL && strpbrk(url.authority, " \r\n@/") == NULL);
    }
    free(text);
}

static void read_base64(const char *bytes, size_t length)
{
    uint8_t *out = xmalloc(length + 1);
    size_t decoded;
    struct buffer again = {0};
    if (http_base64_read((struct http_text){bytes, length}, out, length + 1, &decoded)) {
        http_base64(&again, out, decoded);
        ensure(strlen((const char *)again.data) == length && memcmp(again.data, bytes, length) == 0);
    }
    buffer_free(&again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    enum kind kind = (enum kind)input_below(&input, KINDS);
    uint8_t cut = input_u8(&input);
    size_t length = input.left;
    char *bytes = (char *)input_copy(input.at, length);
    if (kind == KIND_PATH)
        read_path(bytes, length);
    else if (kind == KIND_URL)
        read_url(bytes, length);
    else if (kind == KIND_BASE64)
        read_base64(bytes, length);
    else
        read_message(kind, cut, bytes, length);
    free(bytes);
    return 0;
}
