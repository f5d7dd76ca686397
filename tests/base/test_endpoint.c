#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/endpoint.h"

static void assert_splits(const char *text, const char *expected_host, uint16_t expected_port)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port = 1;
    assert_true(endpoint_split(text, host, &port));
    assert_string_equal(host, expected_host);
    assert_int_equal(port, expected_port);
}

static void assert_refused(const char *text)
{
    char host[HOST_BYTES_MAX + 1] = "as it was";
    uint16_t port = 77;
    assert_false(endpoint_split(text, host, &port));
    assert_string_equal(host, "as it was");
    assert_int_equal(port, 77);
}

static void test_host_and_port(void **state)
{
    (void)state;
    assert_splits("127.0.0.1:9735", "127.0.0.1", 9735);
    assert_splits("hub.example.org:1", "hub.example.org", 1);
    assert_splits("[2001:db8::1]:65535", "[2001:db8::1]", 65535);
    assert_splits("localhost:0", "localhost", 0);
    assert_splits("localhost:00080", "localhost", 80);
}

static void test_other_texts_are_refused(void **state)
{
    (void)state;
    const char *texts[] = {"",           "localhost", ":9735",   "localhost:",      "localhost:65536",
                           "host:99999", "host:-1",   "host:+1", "localhost:80x",   "localhost: 80",
                           "host:80 ",   "host:0x50", "host:1.", "localhost:000080"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        assert_refused(texts[i]);
    assert_refused(NULL);
}

static void test_the_longest_host(void **state)
{
    (void)state;
    char text[HOST_BYTES_MAX + 8];
    memset(text, 'a', HOST_BYTES_MAX);
    memcpy(text + HOST_BYTES_MAX, ":80", 4);
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    assert_true(endpoint_split(text, host, &port));
    assert_int_equal(strlen(host), HOST_BYTES_MAX);
    assert_int_equal(port, 80);

    memcpy(text + HOST_BYTES_MAX, "a:80", 5);
    assert_refused(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_and_port),
        cmocka_unit_test(test_other_texts_are_refused),
        cmocka_unit_test(test_the_longest_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
