/* Paths, URLs and base64, as HTTP has them. */
#include "wire/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/endpoint.h"
#include "base/ensure.h"

static bool is_unreserved(unsigned c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* "..", "." and what servers take for them: "..;x". */
static bool is_dots(const char *segment, size_t length)
{
    const char *semicolon = memchr(segment, ';', length);
    if (semicolon != NULL)
        length = (size_t)(semicolon - segment);
    return (length == 1 && segment[0] == '.') || (length == 2 && segment[0] == '.' && segment[1] == '.');
}

static bool segments_are_plain(const char *path)
{
    for (const char *at = path; *at == '/';) {
        const char *segment = at + 1;
        size_t length = strcspn(segment, "/");
        bool last = segment[length] == '\0';
        if ((length == 0 && !last) || is_dots(segment, length))
            return false;
        at = segment + length;
    }
    return true;
}

/* Undoes one percent encoding at *at; false: it may not be there. */
static bool put_encoded(const char *digits, char *out, size_t size, size_t *used)
{
    uint8_t byte;
    char two[3] = {digits[0], digits[1], '\0'};
    if (!hex_decode(two, &byte, 1) || byte == 0 || byte == '/' || byte == '\\' || byte == '%')
        return false;
    if (is_unreserved(byte)) {
        out[(*used)++] = (char)byte;
        return true;
    }
    *used += (size_t)snprintf(out + *used, size - *used, "%%%02X", byte);
    return true;
}

bool http_path(struct http_text target, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < target.length && target.data[i] != '?'; i++) {
        if (used + 4 > size || target.data[i] == '\\')
            return false;
        if (target.data[i] != '%') {
            out[used++] = target.data[i];
            continue;
        }
        if (i + 2 >= target.length || !put_encoded(target.data + i + 1, out, size, &used))
            return false;
        i += 2;
    }
    out[used] = '\0';
    return out[0] == '/' && segments_are_plain(out);
}

/* ---- URLs ---- */

static bool read_authority(const char *text, size_t length, struct http_url *out)
{
    char copy[HOST_BYTES_MAX + 10];
    if (length == 0 || length >= sizeof(copy) || memchr(text, '@', length) != NULL)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    uint16_t usual = out->tls ? 443 : 80;
    const char *colon = strrchr(copy, ':');
    bool has_port = colon != NULL && strchr(colon, ']') == NULL;
    out->port = usual;
    if (has_port && (!endpoint_split(copy, out->host, &out->port) || out->port == 0))
        return false;
    if (!has_port && length > HOST_BYTES_MAX)
        return false;
    if (!has_port)
        memcpy(out->host, copy, length + 1);
    if (out->port == usual)
        snprintf(out->authority, sizeof(out->authority), "%s", out->host);
    else
        snprintf(out->authority, sizeof(out->authority), "%s:%u", out->host, out->port);
    size_t host_length = strlen(out->host);
    if (out->host[0] == '[' && host_length > 2 && out->host[host_length - 1] == ']') {
        memmove(out->host, out->host + 1, host_length - 2);
        out->host[host_length - 2] = '\0';
    }
    for (char *c = out->authority; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    return out->host[0] != '\0';
}

bool http_url_read(const char *text, struct http_url *out)
{
    memset(out, 0, sizeof(*out));
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || *c == '#')
            return false;
    out->tls = strncasecmp(text, "https://", 8) == 0;
    if (!out->tls && strncasecmp(text, "http://", 7) != 0)
        return false;
    text += out->tls ? 8 : 7;
    size_t length = strcspn(text, "/?");
    if (!read_authority(text, length, out))
        return false;
    const char *rest = text + length;
    int written = snprintf(out->target, sizeof(out->target), "%s%s", rest[0] == '/' ? "" : "/", rest);
    return written > 0 && (size_t)written < sizeof(out->target);
}

/* ---- base64 ---- */

void http_base64(struct buffer *out, const void *data, size_t length)
{
    ensure(length < (size_t)1 << 24);
    uint8_t *at = buffer_extend(out, 4 * ((length + 2) / 3) + 1);
    EVP_EncodeBlock(at, data, (int)length);
}

bool http_base64_read(struct http_text text, uint8_t *out, size_t capacity, size_t *length)
{
    if (text.length == 0 || text.length % 4 != 0 || text.length / 4 * 3 > capacity)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] <= ' ')
            return false;
    int decoded = EVP_DecodeBlock(out, (const unsigned char *)text.data, (int)text.length);
    if (decoded < 0)
        return false;
    *length = (size_t)decoded;
    for (size_t i = text.length; i > 0 && text.length - i < 2 && text.data[i - 1] == '='; i--)
        (*length)--;
    struct buffer again = {0};
    http_base64(&again, out, *length);
    bool canonical = again.length == text.length + 1 && memcmp(again.data, text.data, text.length) == 0;
    buffer_free(&again);
    return canonical;
}
