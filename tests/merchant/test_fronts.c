/* Whom a server in front may speak for, and that nobody else may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "merchant/fronts.h"

static struct fronts fronts_of(const char *text)
{
    struct fronts fronts;
    char message[200];
    if (!fronts_read(text, &fronts, message, sizeof(message)))
        fail_msg("%s", message);
    return fronts;
}

static void test_networks(void **state)
{
    static const struct {
        const char *fronts, *address;
        bool inside;
    } cases[] = {
        {NULL, "127.0.0.1", false},
        {"", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"10.1.2.3/8", "10.255.0.1", true},
        {"10.1.2.3/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.129", true},
        {"0.0.0.0/0", "203.0.113.5", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::1, 10.0.0.1", "10.0.0.1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.0.0.1", "unknown", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct fronts fronts = fronts_of(cases[i].fronts);
        if (fronts_have(&fronts, cases[i].address) != cases[i].inside)
            fail_msg("%s in %s", cases[i].address, cases[i].fronts);
    }
}

static void test_what_is_no_network(void **state)
{
    static const char *const texts[] = {"localhost", "10.0.0.1/33",    "10.0.0.1/",   "::1/129",
                                        "10.0.0/8",  "10.0.0.1/+8",    "10.0.0.1/8x", "1.1.1.1;",
                                        "/8",        "10.0.0.1,nobody"};
    char message[200], many[FRONTS_MAX * 8 + 16] = "";
    struct fronts fronts;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (fronts_read(texts[i], &fronts, message, sizeof(message)))
            fail_msg("%s is taken", texts[i]);
        assert_non_null(strstr(message, "--trusted-front: '"));
    }
    for (size_t i = 0; i <= FRONTS_MAX; i++)
        strcat(many, "1.1.1.1,");
    assert_false(fronts_read(many, &fronts, message, sizeof(message)));
}

static void test_whose_request_it_is(void **state)
{
    static const struct {
        const char *peer, *forwarded_for, *client;
    } cases[] = {
        {"127.0.0.1", NULL, "127.0.0.1"},
        {"127.0.0.1", "", "127.0.0.1"},
        {"127.0.0.1", "203.0.113.5", "203.0.113.5"},
        {"203.0.113.9", "203.0.113.5", "203.0.113.9"},        /* no front */
        {"127.0.0.1", "6.6.6.6, 203.0.113.5", "203.0.113.5"}, /* the client's own words come first */
        {"127.0.0.1", "6.6.6.6,203.0.113.5 ,\t10.0.0.7", "203.0.113.5"}, /* two fronts */
        {"127.0.0.1", "10.0.0.7,10.0.0.8", "10.0.0.7"},
        {"127.0.0.1", "6.6.6.6, nonsense", "127.0.0.1"},
        {"127.0.0.1", "6.6.6.6, nonsense, 10.0.0.7", "10.0.0.7"},
        {"127.0.0.1", "6.6.6.6,", "127.0.0.1"},
        {"127.0.0.1", "2001:db8::5", "2001:db8::5"},
        {"127.0.0.1", "203.0.113.5:4711", "127.0.0.1"},
        {"127.0.0.1", "0000000000000000000000000000000000000000000000000000000001", "127.0.0.1"},
    };
    struct fronts fronts = fronts_of("127.0.0.1,10.0.0.0/8");
    char client[FRONT_ADDRESS_SIZE];
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_string_equal(fronts_client(&fronts, cases[i].peer, cases[i].forwarded_for, client),
                            cases[i].client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_what_is_no_network),
        cmocka_unit_test(test_whose_request_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
