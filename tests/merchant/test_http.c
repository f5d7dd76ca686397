/* Whom the merchant's HTTP server lets in when many come: real sockets, from several addresses of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "merchant/http.h"
#include "merchant/limits.h"

#define ALL     64
#define PART    HTTP_ADDRESS_MIN /* an eighth of them is as much */
#define CLIENTS 96

struct world {
    struct event_base *base;
    struct http *http;
    const char *shared; /* behind this address are many */
    int clients[CLIENTS];
    size_t count;
};

static bool is_shared(const void *context, const char *address)
{
    const struct world *world = context;
    return world->shared != NULL && strcmp(world->shared, address) == 0;
}

/* GET /key has one; GET /long is one that gives way to nobody. */
static void on_request(void *context, struct evhttp_request *request)
{
    struct world *world = context;
    const char *path = evhttp_request_get_uri(request);
    if (strcmp(path, "/key") == 0)
        http_keep(world->http, true);
    if (strcmp(path, "/long") == 0)
        http_keep(world->http, false);
    http_reply_text(request, 200, "text/plain", "well", 4);
}

static struct world *world_new(const char *shared)
{
    char message[256];
    struct world *world = xcalloc(1, sizeof(*world));
    world->shared = shared;
    world->base = event_base_new();
    const struct http_options options = {.host = "127.0.0.1", .connections_max = ALL, .is_shared = is_shared};
    world->http = http_new(world->base, &options, on_request, world, message, sizeof(message));
    assert_non_null(world->http);
    return world;
}

static void world_free(struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        close(world->clients[i]);
    http_free(world->http);
    event_base_free(world->base);
    free(world);
}

static struct sockaddr_in at(const char *address, uint16_t port)
{
    struct sockaddr_in out = {.sin_family = AF_INET, .sin_port = htons(port)};
    ensure(inet_pton(AF_INET, address, &out.sin_addr) == 1);
    return out;
}

/* Connects from an address; it may wait in the kernel's queue. Returns its number. */
static size_t come(struct world *world, const char *from)
{
    struct sockaddr_in local = at(from, 0), server = at("127.0.0.1", http_port(world->http));
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ensure(client >= 0 && bind(client, (struct sockaddr *)&local, sizeof(local)) == 0);
    ensure(connect(client, (struct sockaddr *)&server, sizeof(server)) == 0 || errno == EINPROGRESS);
    assert_true(world->count < CLIENTS);
    world->clients[world->count] = client;
    return world->count++;
}

static void turn(struct world *world)
{
    ensure(event_base_loop(world->base, EVLOOP_ONCE) >= 0);
}

/* The server has closed it, or an answer is there. */
static bool is_closed(const struct world *world, size_t number)
{
    char byte;
    ssize_t length = recv(world->clients[number], &byte, 1, MSG_PEEK);
    return length == 0 || (length < 0 && errno != EAGAIN);
}

static bool is_answered(const struct world *world, size_t number)
{
    char bytes[12];
    ssize_t length = recv(world->clients[number], bytes, sizeof(bytes), MSG_PEEK);
    return length == (ssize_t)sizeof(bytes) && memcmp(bytes, "HTTP/1.1 200", sizeof(bytes)) == 0;
}

/* Asks, and waits for the answer. */
static void ask(struct world *world, size_t number, const char *path)
{
    char text[128], answer[1024];
    int length = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    ssize_t sent;
    while ((sent = send(world->clients[number], text, (size_t)length, MSG_NOSIGNAL)) < 0 && errno == EAGAIN)
        turn(world);
    assert_int_equal(sent, length);
    while (!is_answered(world, number)) {
        assert_false(is_closed(world, number));
        turn(world);
    }
    assert_true(recv(world->clients[number], answer, sizeof(answer), 0) > 0);
}

static size_t open_count(const struct world *world, size_t from, size_t to)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        count += !is_closed(world, i);
    return count;
}

/* Until so many of these are open, and the server has let go of the others. */
static void wait_open(struct world *world, size_t from, size_t to, size_t count)
{
    while (open_count(world, from, to) != count ||
           http_connections(world->http) != open_count(world, 0, world->count))
        turn(world);
}

static void one_address_has_its_part_and_the_oldest_give_way(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    for (size_t i = 0; i < PART; i++)
        ask(world, come(world, "127.0.0.2"), "/");
    ask(world, 0, "/"); /* not idle: it is the youngest now */
    for (size_t i = 0; i < 3; i++)
        ask(world, come(world, "127.0.0.2"), "/");
    size_t other = come(world, "127.0.0.3");
    ask(world, other, "/");
    wait_open(world, 0, PART + 3, PART);
    assert_false(is_closed(world, 0));
    for (size_t i = 1; i <= 3; i++)
        assert_true(is_closed(world, i));
    assert_false(is_closed(world, other));
    world_free(world);
}

static void connections_with_a_key_count_for_no_address(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    for (size_t i = 0; i < 2 * PART; i++)
        ask(world, come(world, "127.0.0.2"), "/key");
    for (size_t i = 0; i < PART + 1; i++)
        ask(world, come(world, "127.0.0.2"), "/");
    wait_open(world, 2 * PART, world->count, PART);
    assert_int_equal(open_count(world, 0, 2 * PART), 2 * PART);
    world_free(world);
}

/* What does not give way counts all the same: the next one of that address is let go. */
static void long_answers_count_for_their_address(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    for (size_t i = 0; i < PART; i++)
        ask(world, come(world, "127.0.0.2"), "/long");
    size_t late = come(world, "127.0.0.2");
    while (!is_closed(world, late))
        turn(world);
    wait_open(world, 0, PART, PART);
    world_free(world);
}

static void behind_a_shared_address_are_many(void **state)
{
    (void)state;
    struct world *world = world_new("127.0.0.2");
    for (size_t i = 0; i < 3 * PART; i++)
        ask(world, come(world, "127.0.0.2"), "/");
    for (size_t i = 0; i < PART + 1; i++)
        ask(world, come(world, "127.0.0.3"), "/");
    wait_open(world, 3 * PART, world->count, PART);
    assert_int_equal(open_count(world, 0, 3 * PART), 3 * PART);
    world_free(world);
}

static void when_all_are_taken_the_idle_give_way(void **state)
{
    (void)state;
    struct world *world = world_new("127.0.0.2");
    size_t keyed = come(world, "127.0.0.2"), stream = come(world, "127.0.0.2");
    ask(world, keyed, "/key");
    ask(world, stream, "/long");
    while (world->count < ALL - 1)
        ask(world, come(world, "127.0.0.2"), "/");
    size_t silent = come(world, "127.0.0.2"); /* the last place, and not a word */
    while (http_connections(world->http) < ALL)
        turn(world);
    for (size_t i = 0; i < ALL / HTTP_ROOM_PART; i++)
        ask(world, come(world, "127.0.0.2"), "/");
    assert_false(is_closed(world, keyed) || is_closed(world, stream) || is_closed(world, silent));
    assert_true(is_closed(world, 2)); /* idle longest */
    assert_true(http_connections(world->http) <= ALL);
    ask(world, keyed, "/key");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_address_has_its_part_and_the_oldest_give_way),
        cmocka_unit_test(connections_with_a_key_count_for_no_address),
        cmocka_unit_test(long_answers_count_for_their_address),
        cmocka_unit_test(behind_a_shared_address_are_many),
        cmocka_unit_test(when_all_are_taken_the_idle_give_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
