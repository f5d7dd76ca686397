/* HTTP as proxies must read it: in one way only, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "wire/http.h"

static enum http_result request(const char *text, struct http_head *head)
{
    size_t used = 0;
    enum http_result result = http_read_request(text, strlen(text), head, &used);
    if (result == HTTP_DONE)
        assert_int_equal(used, strlen(text));
    return result;
}

static void test_requests(void **state)
{
    (void)state;
    struct http_head head;
    assert_int_equal(request("GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nX: \t y z \r\n\r\n", &head), HTTP_DONE);
    assert_true(http_text_is(head.method, "GET"));
    assert_true(http_text_is(head.target, "/a?b=c"));
    assert_true(http_text_is(*http_find(&head, "x", NULL), "y z"));
    assert_true(head.keep_alive);
    assert_int_equal(head.framing, HTTP_BODY_NONE);
    assert_int_equal(
        request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nConnection: a, Close\r\n\r\n", &head),
        HTTP_DONE);
    assert_int_equal(head.framing, HTTP_BODY_LENGTH);
    assert_int_equal(head.body_length, 12);
    assert_false(head.keep_alive);
    assert_int_equal(
        request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n",
                &head),
        HTTP_DONE);
    assert_int_equal(head.framing, HTTP_BODY_CHUNKED);
    assert_true(head.expects_continue);
    assert_int_equal(request("GET / HTTP/1.0\r\n\r\n", &head), HTTP_DONE);
    assert_false(head.keep_alive);
}

/* Each has been a way to smuggle a request past some proxy. */
static void test_requests_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\x0b"
         "chunked\r\n\r\n"),
        "GET / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        "G\tT / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nExpect: a miracle\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct http_head head;
        size_t used;
        if (http_read_request(bad[i], strlen(bad[i]), &head, &used) != HTTP_REFUSED)
            fail_msg("taken: %s", bad[i]);
    }
}

static void test_heads_in_parts(void **state)
{
    (void)state;
    static const char whole[] = "GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\nGET /b";
    size_t used, end = strlen(whole) - 6;
    struct http_head head;
    for (size_t length = 0; length < end; length++) {
        char *part = xmalloc(length + 1); /* of its own, so that reading past it is seen */
        memcpy(part, whole, length);
        assert_int_equal(http_read_request(part, length, &head, &used), HTTP_MORE);
        free(part);
    }
    assert_int_equal(http_read_request(whole, strlen(whole), &head, &used), HTTP_DONE);
    assert_int_equal(used, end);
    char *large = xcalloc(1, HTTP_HEAD_BYTES_MAX + 1);
    int written = snprintf(large, 64, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    memset(large + written, 'x', HTTP_HEAD_BYTES_MAX - (size_t)written);
    assert_int_equal(http_read_request(large, HTTP_HEAD_BYTES_MAX, &head, &used), HTTP_LARGE);
    free(large);
}

static void test_answers(void **state)
{
    (void)state;
    struct http_head head;
    size_t used;
    static const char plain[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                      bare[] = "HTTP/1.1 200\r\n\r\n",
                      none[] = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                      odd[] = "HTTP/1.1 2000 OK\r\n\r\n";
    assert_int_equal(http_read_answer(plain, strlen(plain), false, &head, &used), HTTP_DONE);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.framing, HTTP_BODY_LENGTH);
    assert_int_equal(http_read_answer(plain, strlen(plain), true, &head, &used), HTTP_DONE);
    assert_int_equal(head.framing, HTTP_BODY_NONE);
    assert_int_equal(http_read_answer(bare, strlen(bare), false, &head, &used), HTTP_DONE);
    assert_int_equal(head.framing, HTTP_BODY_UNTIL_CLOSE);
    assert_false(head.keep_alive);
    assert_int_equal(http_read_answer(none, strlen(none), false, &head, &used), HTTP_DONE);
    assert_int_equal(head.framing, HTTP_BODY_NONE);
    assert_int_equal(http_read_answer(odd, strlen(odd), false, &head, &used), HTTP_REFUSED);
}

/* Reads a chunked body in parts of `step`; "" in out[0] and false if it is refused. */
static bool read_chunked(const char *text, size_t step, char *out, size_t *used_in_all)
{
    struct http_body body = {.framing = HTTP_BODY_CHUNKED};
    size_t length = strlen(text), at = 0;
    while (!body.ended && at < length) {
        size_t part = length - at < step ? length - at : step, used;
        struct http_text piece;
        if (!http_body_read(&body, text + at, part, &used, &piece))
            return false;
        strncat(out, piece.data, piece.length);
        at += used;
    }
    *used_in_all = at;
    return body.ended;
}

static void test_chunked(void **state)
{
    (void)state;
    static const char text[] = "5;name=value\r\nhello\r\n00006\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET";
    for (size_t step = 1; step <= strlen(text); step++) {
        char out[64] = "";
        size_t used;
        assert_true(read_chunked(text, step, out, &used));
        assert_string_equal(out, "hello world");
        assert_int_equal(used, strlen(text) - 3);
    }
    static const char *const bad[] = {"5\nhello\r\n0\r\n\r\n",
                                      "5\r\nhelloX\r\n0\r\n\r\n",
                                      "-5\r\nhello\r\n",
                                      " 5\r\nhello\r\n",
                                      "0x5\r\nhello\r\n0\r\n\r\n",
                                      "5 \r\nhello\r\n",
                                      "\r\nhello\r\n",
                                      "5\r\nhello\r\n0\r\n\r",
                                      "fffffffffffffff\r\nhello",
                                      "5\r\nhello\r\n0\r\n x\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        char out[64] = "";
        size_t used;
        if (read_chunked(bad[i], 64, out, &used))
            fail_msg("taken: %s", bad[i]);
    }
}

/* What was left where it is comes again. */
static void test_untake(void **state)
{
    (void)state;
    struct http_body body = {.framing = HTTP_BODY_CHUNKED};
    struct http_text piece;
    size_t used;
    assert_true(http_body_read(&body, "5\r\nhello\r\n0\r\n\r\n", 15, &used, &piece));
    assert_int_equal(piece.length, 5);
    http_body_untake(&body, 3);
    assert_true(http_body_read(&body, "llo\r\n0\r\n\r\n", 10, &used, &piece));
    assert_int_equal(piece.length, 3);
    assert_true(http_body_read(&body, "\r\n0\r\n\r\n", 7, &used, &piece));
    assert_true(body.ended);
}

static void test_hop_headers(void **state)
{
    (void)state;
    struct http_head head;
    assert_int_equal(
        request("GET / HTTP/1.1\r\nHost: h\r\nConnection: x-mine, close\r\nX-Mine: 1\r\nX-Other: 2\r\n\r\n",
                &head),
        HTTP_DONE);
    assert_true(http_is_hop_header(&head, (struct http_text){"X-MINE", 6}));
    assert_true(http_is_hop_header(&head, (struct http_text){"Upgrade", 7}));
    assert_false(http_is_hop_header(&head, (struct http_text){"X-Other", 7}));
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path; /* NULL: refused */
    } cases[] = {{"/a/b?c/../d", "/a/b"},
                 {"/%61dmin", "/admin"},
                 {"/a%20b", "/a%20b"},
                 {"/a%c3%a9", "/a%C3%A9"},
                 {"/", "/"},
                 {"/a/", "/a/"},
                 {"/a/../b", NULL},
                 {"/a/%2e%2e/b", NULL},
                 {"/a/./b", NULL},
                 {"/a//b", NULL},
                 {"//a", NULL},
                 {"/a%2fb", NULL},
                 {"/a%5cb", NULL},
                 {"/a\\b", NULL},
                 {"/a%00", NULL},
                 {"/a%2", NULL},
                 {"/a%zz", NULL},
                 {"/a/..;x/b", NULL},
                 {"/%252e%252e/", NULL},
                 {"/..", NULL},
                 {"/...", "/..."}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char path[256];
        bool taken =
            http_path((struct http_text){cases[i].target, strlen(cases[i].target)}, path, sizeof(path));
        if (taken != (cases[i].path != NULL) || (taken && strcmp(path, cases[i].path) != 0))
            fail_msg("%s: %s", cases[i].target, taken ? path : "refused");
    }
}

static void test_urls(void **state)
{
    (void)state;
    struct http_url url;
    assert_true(http_url_read("http://Example.org:80/a?b", &url));
    assert_string_equal(url.authority, "example.org");
    assert_string_equal(url.target, "/a?b");
    assert_int_equal(url.port, 80);
    assert_true(http_url_read("https://[::1]:8443", &url));
    assert_true(url.tls);
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.authority, "[::1]:8443");
    assert_string_equal(url.target, "/");
    assert_true(http_url_read("http://h?x", &url));
    assert_string_equal(url.target, "/?x");
    static const char *const bad[] = {"ftp://h/",    "http://",          "http:///a",    "http://u@h/",
                                      "http://h:0/", "http://h:99999/",  "http://h/a b", "http://h/#f",
                                      "h/a",         "http://h/\r\nX: y"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(http_url_read(bad[i], &url));
}

static void test_base64(void **state)
{
    (void)state;
    for (size_t length = 1; length < 70; length++) {
        uint8_t data[70], back[72];
        struct buffer text = {0};
        size_t count;
        for (size_t i = 0; i < length; i++)
            data[i] = (uint8_t)(i * 37 + length);
        http_base64(&text, data, length);
        assert_true(http_base64_read((struct http_text){(const char *)text.data, text.length - 1}, back,
                                     sizeof(back), &count));
        assert_int_equal(count, length);
        assert_memory_equal(back, data, length);
        buffer_free(&text);
    }
    static const char *const bad[] = {"", "A", "AA=", "AB==", "AAA", "A A=", "AA==AA==", "AA*=", "A==="};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        uint8_t back[16];
        size_t count;
        if (http_base64_read((struct http_text){bad[i], strlen(bad[i])}, back, sizeof(back), &count))
            fail_msg("taken: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_requests_refused),
        cmocka_unit_test(test_heads_in_parts), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_chunked),        cmocka_unit_test(test_untake),
        cmocka_unit_test(test_hop_headers),    cmocka_unit_test(test_paths),
        cmocka_unit_test(test_urls),           cmocka_unit_test(test_base64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
