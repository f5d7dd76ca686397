/* Servers that send clients on to others: a client is served at one door, whichever it knocked at. */
#include "tests/wire/link_world.h"

/* A second server in the same loop, with an identity of its own, as another shard has it. */
struct doors {
    struct world *world;
    struct owner owner; /* of the second server */
    struct link_server *second;
    bool home_here;   /* clients of this world are the first server's */
    uint16_t sent_to; /* what the first one names; 0: the second one's port */
    const char *host;
    struct address asked; /* the client that the callback was asked about */
    size_t times_asked;
};

static struct doors doors;

static bool elsewhere(void *context, const struct address *client, char host[HOST_BYTES_MAX + 1],
                      uint16_t *port)
{
    assert_ptr_equal(context, &doors.world->server_owner);
    doors.asked = *client;
    doors.times_asked++;
    if (doors.home_here)
        return false;
    memcpy(host, doors.host, strlen(doors.host) + 1);
    *port = doors.sent_to != 0 ? doors.sent_to : link_server_port(doors.second);
    return true;
}

static void open_doors(struct world *world)
{
    char message[512];
    doors = (struct doors){.world = world, .host = "127.0.0.1", .owner = {.welcomes = true}};
    struct link_server_options options = server_options(world);
    options.identity = world->other_identity;
    doors.second =
        link_server_new(world->base, &options, &owner_callbacks, &doors.owner, message, sizeof message);
    assert_non_null(doors.second);
    options = server_options(world);
    options.elsewhere = elsewhere;
    start_server_with(world, &options);
}

static void close_doors(void)
{
    link_server_free(doors.second);
}

static void a_client_is_served_at_the_other_door(void **state)
{
    struct world *world = *state;
    open_doors(world);
    link_server_set_newcomers(world->server, 1, 1);
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == 1 && doors.owner.ready == 1);
    /* Who is sent elsewhere does not count as one that comes to nothing. */
    assert_true(throttle_allows(&world->server->newcomers, clock_monotonic_us()));
    assert_int_equal(doors.times_asked, 1);
    assert_true(address_equal(&doors.asked, &world->client));
    assert_true(address_equal(&doors.owner.peers[0], &world->client));
    send_ack(world->client_owner.links[0], 1);
    RUN_UNTIL(world, doors.owner.messages == 1);

    /* The first server has told its owner, once, and forgotten the link. */
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_SELF);
    assert_non_null(strstr(world->server_owner.reason, "redirected to 127.0.0.1 port"));
    assert_int_equal(world->server_owner.ready, 0);
    assert_int_equal(link_server_connections(world->server), 0);
    assert_int_equal(world->client_owner.closed, 0);
    link_close(world->client_owner.links[0]);
    RUN_UNTIL(world, doors.owner.closed == 1);
    close_doors();
}

static void a_client_that_is_home_stays(void **state)
{
    struct world *world = *state;
    open_doors(world);
    doors.home_here = true;
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == 1 && world->server_owner.ready == 1);
    assert_int_equal(doors.times_asked, 1);
    assert_int_equal(doors.owner.ready, 0);
    link_close(world->client_owner.links[0]);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    close_doors();
}

/* A name as long as any fits the frame, and does not confuse the client, which cannot find it. */
static void the_longest_host_name_arrives(void **state)
{
    struct world *world = *state;
    open_doors(world);
    char host[HOST_BYTES_MAX + 1];
    memset(host, 'x', HOST_BYTES_MAX);
    host[HOST_BYTES_MAX] = '\0';
    doors.host = host;
    struct raw *raw = raw_connect(world, link_server_port(world->server));
    RUN_UNTIL(world, raw->secured);
    raw_hello(raw, 1, &world->client);
    RUN_UNTIL(world, raw->frames == 1);
    assert_int_equal(raw->last.type, MESSAGE_REDIRECT);
    assert_int_equal(raw->last.redirect.host.length, HOST_BYTES_MAX);
    assert_int_equal(raw->last.redirect.port, link_server_port(doors.second));
    /* It is closed though the client says nothing; a silent peer is given a second. */
    RUN_UNTIL(world, raw->ended);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    close_doors();
}

/* Two servers that each say the other: the client does not turn round for ever. */
static void a_circle_of_doors_ends(void **state)
{
    struct world *world = *state;
    open_doors(world);
    doors.sent_to = link_server_port(world->server);
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_HANDSHAKE);
    assert_non_null(strstr(world->client_owner.reason, "redirected more than 3 times"));
    RUN_UNTIL(world, world->server_owner.closed == REDIRECTS_MAX + 1);
    assert_int_equal(doors.times_asked, REDIRECTS_MAX + 1);
    close_doors();
}

/* Whoever speaks another version, or says it is the hub, hears that first. */
static void only_a_good_hello_is_asked_about(void **state)
{
    struct world *world = *state;
    open_doors(world);
    const struct address *who[] = {&world->client, &world->hub};
    for (size_t i = 0; i < ARRAY_LENGTH(who); i++) {
        struct raw *raw = raw_connect(world, link_server_port(world->server));
        RUN_UNTIL(world, raw->secured);
        raw_hello(raw, i == 0 ? 2 : 1, who[i]);
        RUN_UNTIL(world, raw->ended);
        assert_int_equal(raw->last.type, MESSAGE_ERROR);
        raw_free(raw);
    }
    assert_int_equal(doors.times_asked, 0);
    RUN_UNTIL(world, world->server_owner.closed == ARRAY_LENGTH(who));
    close_doors();
}

/* A frame behind the HELLO of a client that is sent on is not worked off. */
static void what_follows_a_redirected_hello_is_not_heard(void **state)
{
    struct world *world = *state;
    open_doors(world);
    struct raw *raw = raw_connect(world, link_server_port(world->server));
    RUN_UNTIL(world, raw->secured);
    raw_hello(raw, 1, &world->client);
    raw_hello(raw, 1, &world->client);
    RUN_UNTIL(world, raw->ended);
    assert_int_equal(raw->frames, 1);
    assert_int_equal(raw->last.type, MESSAGE_REDIRECT);
    assert_int_equal(doors.times_asked, 1);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_SELF);
    close_doors();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_client_is_served_at_the_other_door),
        WORLD_TEST(a_client_that_is_home_stays),
        WORLD_TEST(the_longest_host_name_arrives),
        WORLD_TEST(a_circle_of_doors_ends),
        WORLD_TEST(only_a_good_hello_is_asked_about),
        WORLD_TEST(what_follows_a_redirected_hello_is_not_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
