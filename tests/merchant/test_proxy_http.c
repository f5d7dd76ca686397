/* rill-merchantd proxy as HTTP: requests that two servers could read differently, headers that are not the client's to
 * set, bodies larger than memory, prices per KiB. */
#include "tests/merchant/proxy_world.h"

static void test_per_kib(void **state)
{
    struct proxy_world *world = *state;
    struct fetch_offer offer;
    /* Known by HEAD: 10 units, and 2 for each of three KiB. */
    char *payment = pay_for(world, "GET", "/kib/n/3000", &offer);
    assert_false(offer.budget);
    assert_int_equal(offer.units, 16);
    char *answer = ask(world, "GET", "/kib/n/3000", payment);
    assert_int_equal(strlen(body_of(answer)), 3000);
    free(answer);
    free(payment);
    /* Not said: a budget is offered, and charged by what is sent. */
    payment = pay_for(world, "GET", "/kib/chunk/100000", &offer);
    assert_true(offer.budget);
    free(payment);
    char *token = pay_for(world, "POST", "/.rill/budget?amountUnits=1000", NULL);
    answer = ask(world, "GET", "/kib/chunk/100000", token);
    assert_int_equal(status_of(answer), 200);
    assert_true(says(answer, "\r\n0\r\n\r\n"));
    free(answer);
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":794"); /* 10 + 98 x 2 */
    /* Length said, and too much for what is left: nothing is charged, the service's answer is not passed on. */
    expect(world, "GET", "/kib/n/1000000", token, 402, "\"budget_too_small\"");
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":794");
    /* Cut off at the budget: (794 - 10) / 2 KiB, and no end of the body. */
    answer = ask(world, "GET", "/kib/chunk/500000", token);
    assert_false(says(answer, "\r\n0\r\n\r\n"));
    size_t content = 0;
    for (const char *at = body_of(answer); *at != '\0'; at++)
        content += *at == 'x';
    assert_int_equal(content, 392 * 1024);
    free(answer);
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":0");
    free(token);
}

/* An answer that grew costs more than was paid: the receipt comes back, also where nothing better can be offered. */
static void test_grown(void **state)
{
    struct proxy_world *world = *state;
    char *payment = pay_for(world, "GET", "/kib/grown/5000", NULL);
    expect(world, "GET", "/kib/grown/5000", payment, 402, "Rill-Receipt: returned");
    free(payment);
    payment = pay_for(world, "GET", "/kib/grown/1000000000", NULL);
    for (int again = 0; again < 2; again++) /* more than the channel has room for */
        expect(world, "GET", "/kib/grown/1000000000", payment, 503, "Rill-Receipt: returned");
    free(payment);
}

static void test_smuggling(void **state)
{
    struct proxy_world *world = *state;
    static const char *const bad[] = {
        ("POST /free/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\nGET /paid HTTP/1.1\r\n"),
        "POST /free/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
        "POST /free/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "GET /free/a HTTP/1.1\nHost: h\n\n",
        "GET http://127.0.0.1/paid HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /free/../paid HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /free/%2e%2e/paid HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /free/..;/paid HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /free/%2f..%2fpaid HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET //free/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "get /free/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "Get /free/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        char *answer = raw(world, bad[i], strlen(bad[i]));
        if (status_of(answer) != 400)
            fail_msg("%s: %.200s", bad[i], answer);
        free(answer);
    }
    char *text = file_text(world->asked);
    assert_string_equal(text, "");
    free(text);
    /* The price is that of the path as any server reads it. */
    expect(world, "GET", "/%73ecret/a", NULL, 404, "not_offered");
    /* What follows a body that is not wanted is a request of its own, not part of one. */
    static const char two[] =
        "POST /paid HTTP/1.1\r\nHost: h\r\nContent-Length: 28\r\n\r\nGET /free/x HTTP/1.1\r\nA: b\r\n"
        "GET /free/y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    char *answer = raw(world, two, strlen(two));
    assert_int_equal(status_of(answer), 402);
    assert_int_equal(asked(world, "GET /free/x"), 0);
    assert_int_equal(asked(world, "GET /free/y"), 1);
    free(answer);
}

static void test_headers(void **state)
{
    struct proxy_world *world = *state;
    char *payment = pay_for(world, "GET", "/paid", NULL);
    char *answer =
        read_all(send_request(world, "GET", "/paid",
                              "Connection: x-private\r\nX-Private: 1\r\nRill-Paid-Units: 999\r\n"
                              "Rill_Paid_Units: 998\r\nx_payment: 1\r\nX-Forwarded-For: 6.6.6.6\r\n"
                              "X_Forwarded_For: 6.6.6.7\r\nx-forwarded-proto: gopher\r\n"
                              "X-Forwarded_Host: evil\r\nForwarded: for=6.6.6.8\r\n"
                              "Upgrade: websocket\r\nTE: trailers\r\nAccept: a/b\r\n",
                              payment));
    const char *seen = body_of(answer);
    assert_int_equal(status_of(answer), 200);
    assert_true(says(seen, "Rill-Paid-Units: 100\r\n"));
    assert_true(says(seen, "X-Forwarded-For: 127.0.0.1\r\n"));
    assert_true(says(seen, "X-Forwarded-Proto: http\r\n"));
    assert_true(says(seen, "Accept: a/b\r\n"));
    static const char *const hidden[] = {"999",    "998",       "x_payment", "X-PAYMENT", "X-Private",
                                         "6.6.6.", "websocket", "trailers",  "gopher",    "evil"};
    for (size_t i = 0; i < ARRAY_LENGTH(hidden); i++)
        if (says(seen, hidden[i]))
            fail_msg("the service sees %s in %s", hidden[i], seen);
    assert_true(says(answer, "Rill-Charged-Units: 100\r\n")); /* the proxy's, not the service's */
    assert_false(says(answer, "Rill-Charged-Units: 0\r\n"));
    free(answer);
    free(payment);
}

#define FRONT 0x7f000002 /* proxy_start says that it is one */

static char *ask_through_front(struct proxy_world *world, const char *target, const char *headers)
{
    struct buffer text = {0};
    int descriptor = connect_from(FRONT, world->proxy_port);
    buffer_printf(&text, "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n%s\r\n", target,
                  headers);
    write_all(descriptor, text.data, text.length);
    buffer_free(&text);
    return read_all(descriptor);
}

/* A server with TLS in front says for whom it asks, and is the only one to. */
static void test_trusted_front(void **state)
{
    struct proxy_world *world = *state;
    char *answer = ask_through_front(world, "/free/a",
                                     "X-Forwarded-For: 6.6.6.6, 203.0.113.5\r\nX_Forwarded_For: 6.6.6.7\r\n"
                                     "X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n");
    const char *seen = body_of(answer);
    assert_true(says(seen, "X-Forwarded-For: 203.0.113.5\r\n"));
    assert_true(says(seen, "X-Forwarded-Proto: https\r\n"));
    assert_false(says(seen, "6.6.6."));
    free(answer);
    answer = ask_through_front(world, "/paid", "X-Forwarded-Proto: https\r\n");
    assert_true(says(answer, "\"resource\":\"https://shop.example/paid\""));
    free(answer);
    answer = ask_through_front(world, "/free/b", "X-Forwarded-Proto: gopher\r\n");
    seen = body_of(answer);
    assert_true(says(seen, "X-Forwarded-For: 127.0.0.2\r\n"));
    assert_true(says(seen, "X-Forwarded-Proto: http\r\n"));
    free(answer);
}

static char *upload(struct proxy_world *world, const char *framing, bool chunked, size_t length)
{
    char head[512];
    int descriptor = connect_to(world->proxy_port);
    snprintf(head, sizeof(head), "GET /free/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n\r\n",
             framing);
    say(descriptor, head);
    for (size_t left = length, part; left > 0; left -= part) {
        part = left < 70000 ? left : 70000;
        snprintf(head, sizeof(head), "%zx\r\n", part);
        if (chunked)
            say(descriptor, head);
        say_many(descriptor, part);
        if (chunked)
            say(descriptor, "\r\n");
    }
    if (chunked)
        say(descriptor, "0\r\n\r\n");
    return read_all(descriptor);
}

/* Far more than is ever kept in memory, both ways, in every framing. */
static void test_large_bodies(void **state)
{
    struct proxy_world *world = *state;
    char *answer = upload(world, "Content-Length: 3000000", false, 3000000);
    assert_true(says(answer, " 3000000"));
    free(answer);
    answer = upload(world, "Transfer-Encoding: chunked\r\nExpect: 100-continue", true, 3000000);
    assert_true(strncmp(answer, "HTTP/1.1 100 ", 13) == 0);
    assert_true(says(answer, " 3000000"));
    free(answer);
    static const char *const targets[] = {"/n/5000000", "/chunk/5000000", "/close/5000000"};
    for (size_t i = 0; i < ARRAY_LENGTH(targets); i++) {
        char *payment = pay_for(world, "GET", targets[i], NULL);
        answer = ask(world, "GET", targets[i], payment);
        size_t content = 0;
        for (const char *at = body_of(answer); *at != '\0'; at++)
            content += *at == 'x';
        assert_int_equal(content, 5000000);
        if (i > 0)
            assert_true(says(answer, "\r\n0\r\n\r\n"));
        free(answer);
        free(payment);
    }
    answer = upload(world, "Transfer-Encoding: chunked", false, 200); /* not chunked at all */
    assert_int_equal(status_of(answer), 400);
    free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {PROXY_TEST(test_per_kib),       PROXY_TEST(test_grown),
                                       PROXY_TEST(test_smuggling),     PROXY_TEST(test_headers),
                                       PROXY_TEST(test_trusted_front), PROXY_TEST(test_large_bodies)};
    return cmocka_run_group_tests(tests, proxy_world_set_up, proxy_world_tear_down);
}
