/* Which addresses web hooks may go to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/bytes.h"
#include "merchant/public_address.h"

static bool is_public(const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&four);
    assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&six);
}

static void test_the_internet_is(void **state)
{
    static const char *const texts[] = {
        "1.1.1.1",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",   "100.128.0.0",
        "126.255.255.255", "128.0.0.1",       "169.253.255.255", "169.255.0.0",      "172.15.255.255",
        "172.32.0.0",      "192.167.255.255", "192.169.0.0",     "198.17.255.255",   "198.20.0.0",
        "223.255.255.255", "2606:4700::1111", "2a00::1",         "64:ff9b::1.1.1.1", "2002:101:101::1",
        "::ffff:1.1.1.1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        if (!is_public(texts[i]))
            fail_msg("%s is not taken for public", texts[i]);
}

static void test_what_is_nearer_is_not(void **state)
{
    static const char *const texts[] = {"0.0.0.0",
                                        "0.255.255.255",
                                        "10.0.0.0",
                                        "10.255.255.255",
                                        "100.64.0.0",
                                        "100.127.255.255",
                                        "127.0.0.1",
                                        "127.255.255.255",
                                        "169.254.169.254",
                                        "172.16.0.0",
                                        "172.31.255.255",
                                        "192.0.0.8",
                                        "192.0.2.1",
                                        "192.88.99.1",
                                        "192.168.0.0",
                                        "192.168.255.255",
                                        "198.18.0.1",
                                        "198.19.255.255",
                                        "198.51.100.1",
                                        "203.0.113.1",
                                        "224.0.0.1",
                                        "239.255.255.255",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "fe80::1",
                                        "fec0::1",
                                        "fc00::1",
                                        "fdff::1",
                                        "ff02::1",
                                        "2001:db8::1",
                                        "2001::1",
                                        "2001:1ff::1",
                                        "3fff::1",
                                        "100::1",
                                        "4000::1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:10.1.2.3",
                                        "64:ff9b::10.0.0.1",
                                        "2002:7f00:1::1",
                                        "2002:a00:1::1",
                                        "::127.0.0.1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        if (is_public(texts[i]))
            fail_msg("%s is taken for public", texts[i]);
}

static void test_what_is_no_address_is_not(void **state)
{
    struct sockaddr other = {.sa_family = AF_UNIX};
    (void)state;
    assert_false(address_is_public(&other));
}

static void test_limits_count_networks_of_ipv6(void **state)
{
    static const char *const cases[][2] = {{"192.0.2.7", "192.0.2.7"},
                                           {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
                                           {"2001:db8:1:2::9", "2001:db8:1:2::"},
                                           {"2001:db8:1:3::9", "2001:db8:1:3::"},
                                           {"::ffff:192.0.2.7", "::ffff:192.0.2.7"},
                                           {"unknown", "unknown"}};
    char text[COUNTED_ADDRESS_SIZE];
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_string_equal(address_counted(cases[i][0], text), cases[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_internet_is),
        cmocka_unit_test(test_what_is_nearer_is_not),
        cmocka_unit_test(test_what_is_no_address_is_not),
        cmocka_unit_test(test_limits_count_networks_of_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
