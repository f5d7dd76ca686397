/* Questions to daemons that answer badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/ensure.h"
#include "tests/support/slow_server.h"
#include "wallet/http_ask.h"

/* Without a limit for the whole of it this would take a day. */
static void test_an_answer_that_never_ends(void **state)
{
    (void)state;
    struct slow_server server;
    int status = 1;
    slow_server_open(&server);
    assert_null(http_ask_wait(
        &(struct http_question){.host = "127.0.0.1", .port = server.port, .path = "/", .timeout_ms = 300},
        &status));
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(&server.answers), 1);
    slow_server_close(&server);
}

struct giving_up {
    const struct slow_server *server;
    bool given_up;
};

static void give_up(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct giving_up *giving_up = context;
    giving_up->given_up = atomic_load(&giving_up->server->answers) > 0;
}

/* The caller's loop runs meanwhile, and what happens on it ends the waiting. */
static void test_giving_up(void **state)
{
    (void)state;
    struct slow_server server;
    struct giving_up giving_up = {.server = &server};
    struct event_base *base = event_base_new();
    struct event *timer = event_new(base, -1, EV_PERSIST, give_up, &giving_up);
    struct timeval often = {.tv_usec = 10000};
    int status = 1;
    slow_server_open(&server);
    ensure(timer != NULL && event_add(timer, &often) == 0);
    assert_null(http_ask_wait(&(struct http_question){.host = "127.0.0.1",
                                                      .port = server.port,
                                                      .path = "/",
                                                      .base = base,
                                                      .given_up = &giving_up.given_up},
                              &status));
    assert_true(giving_up.given_up);
    assert_int_equal(status, 0);
    event_free(timer);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    slow_server_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_that_never_ends),
        cmocka_unit_test(test_giving_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
